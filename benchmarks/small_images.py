"""Small images of many sizes against as many of one: processor seconds to compress and to read, and bytes.

    python benchmarks/small_images.py [RESULT.json]

The images are cut from the photograph of the tests. One process without BLAS' threads of its own, compiled before.
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

from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.read import read_image
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.reader import Reader

PHOTO = Path(__file__).resolve().parents[1] / "tests" / "data" / "photos" / "landscape.png"

CASES = [  # images, their one side, and the sides of the others
    (20, 28, (16, 32)),
    (200, 28, (16, 32)),
    (60, 72, (16, 128)),
]


def crops(count: int, least: int, most: int, seed: int = 0) -> list[PixelImage]:
    """Pieces of the photograph with sides from `least` to `most` pixels."""
    pixels, random = read_image(PHOTO).pixels, np.random.default_rng(seed)
    pieces = []
    for _ in range(count):
        height, width = random.integers(least, most + 1, 2)
        top, left = random.integers(0, pixels.shape[0] - height + 1), random.integers(0, pixels.shape[1] - width + 1)
        pieces.append(from_array(pixels[top : top + height, left : left + width]))
    return pieces


def measured(compressor: Compressor, images: list[PixelImage]) -> dict[str, float]:
    """Processor seconds to compress the images and to read them, their bytes, and bits a sub-pixel."""
    file = io.BytesIO()
    start = time.process_time()
    summary = compressor.archive([(None, image) for image in images], file)
    middle = time.process_time()
    found = dict(Reader(file).images())
    end = time.process_time()
    if [found[position] for position in range(len(images))] != images:
        raise AssertionError("the pixels did not come back")
    return {
        "compress": round(middle - start, 2),
        "read": round(end - middle, 2),
        "bytes": summary.size,
        "bits_per_subpixel": round(summary.bits_per_dimension, 3),
    }


def main() -> None:
    """Print the table, and write it where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", metavar="RESULT.json")
    args = parser.parse_args()
    compressor = Compressor()
    for images in (crops(2, 16, 32), crops(60, 72, 72)[:8]):  # all kernels are compiled
        measured(compressor, images)
    results: list[dict[str, Any]] = []
    for count, side, sides in CASES:
        one, many = measured(compressor, crops(count, side, side)), measured(compressor, crops(count, *sides))
        ratio = {name: round(many[name] / one[name], 2) for name in ("compress", "read")}
        results.append({"images": count, "side": side, "sides": sides, "one": one, "many": many, "ratio": ratio})
        print(json.dumps(results[-1]), flush=True)
    if args.out:
        args.out.write_text(json.dumps({"environment": environment(), "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
