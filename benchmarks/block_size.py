"""What smaller blocks cost in bytes, and what of them is decoded to get a region: results/block-size.json.

    python benchmarks/block_size.py --photo FILE

The middle of a photograph is coded without and with learning, in blocks of several sides. From each file a region is
decoded, which lies within one block of every side, and not in the first one, from which the others learn.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment

from bbcompress.images.image import from_array
from bbcompress.images.read import read_image
from bbcompress.images.region import Decoded, Region
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options
from bbcompress.pipeline.reader import Reader

RESULTS = Path(__file__).resolve().parent / "results"
WIDTH, HEIGHT = 1024, 680
SIDES = (1024, 512, 256, 128)
REGION = Region(912, 530, 96, 96)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, required=True)
    args = parser.parse_args()
    start = environment()
    pixels = read_image(args.photo).pixels
    if pixels.shape[0] < HEIGHT or pixels.shape[1] < WIDTH:
        parser.error(f"{args.photo} has less than {WIDTH}x{HEIGHT} pixels")
    top, left = ((side - part) // 2 for side, part in zip(pixels.shape[:2], (HEIGHT, WIDTH), strict=True))
    image = from_array(np.ascontiguousarray(pixels[top : top + HEIGHT, left : left + WIDTH]))
    rows = []
    for learn in (False, True):
        for side in SIDES:
            options = Options(model="photo", learn=learn, block_size=side, verify=False)
            data, _ = Compressor(options).lone(image)
            reader, decoded = Reader(io.BytesIO(data)), Decoded()
            begin = time.process_time()
            if reader.read_region(0, REGION, decoded=decoded) != image.region(REGION):
                raise SystemExit("the region is another one")
            row: dict[str, Any] = {"learn": learn, "side": side, "bytes": len(data)}
            row |= {"blocks": decoded.parts, "decoded_blocks": decoded.touched + decoded.learned_from}
            row |= {"decoded": decoded.decoded_pixels / decoded.pixels, "seconds": time.process_time() - begin}
            rows.append(row)
            print(row, flush=True)
    found = {"environment": start, "photograph": args.photo.name, "width": WIDTH, "height": HEIGHT, "rows": rows}
    out = RESULTS / "block-size.json"
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written: {out}")


if __name__ == "__main__":
    main()
