"""Small photographs: bytes of squares of few pixels in one archive and each by itself, frozen and learning.

    python benchmarks/small_photographs.py NAME=FOLDER ... --photos DIR [--out RESULT.json]

Each FOLDER holds a checkpoint of a model for photographs, for example one of an earlier commit (`git archive COMMIT`);
each photograph gives nine squares of each size, spread over it. All files are read back and compared. The results are
benchmarks/results/small-photographs.json.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from pathlib import Path
from typing import Any

from machine import environment

from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.read import read_image
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options, open_models
from bbcompress.pipeline.reader import Reader

RESULTS = Path(__file__).resolve().parent / "results" / "small-photographs.json"
SIDES = 32, 48, 64, 96
ACROSS = 3
WAYS = {"frozen": False, "learning": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    paths = sorted(args.photos.iterdir())
    found: dict[str, Any] = {"environment": environment(), "photographs": [path.name for path in paths], "models": {}}
    for name, _, folder in (words.partition("=") for words in args.models):
        found["models"][name] = {}
        for side in SIDES:
            images = [square for path in paths for square in squares(read_image(path), side)]
            row = {way: sizes(folder, images, learn) for way, learn in WAYS.items()}
            found["models"][name][side] = {"squares": len(images), **row}
            print(name, side, row, flush=True)
    args.out.write_text(json.dumps(found, indent=1) + "\n")


def squares(photograph: PixelImage, side: int) -> list[PixelImage]:
    """Squares of a photograph, their corners on a grid from edge to edge; it has at least as many pixels a side."""
    height, width = photograph.pixels.shape[:2]
    tops, lefts = ([(length - side) * step // (ACROSS - 1) for step in range(ACROSS)] for length in (height, width))
    return [from_array(photograph.pixels[top : top + side, left : left + side]) for top in tops for left in lefts]


def sizes(folder: str, images: list[PixelImage], learn: bool) -> dict[str, float]:
    """Bytes of one archive of the images and of a file of each, and the processor seconds that both took to write."""
    models = open_models(folder)
    compressor = Compressor(Options(learn=learn), models)
    file = io.BytesIO()
    start = time.process_time()
    compressor.archive([(None, image) for image in images], file)
    middle = time.process_time()
    lone = [compressor.lone(image)[0] for image in images]
    end = time.process_time()
    back = dict(Reader(file, models).images())
    if [back[position] for position in range(len(images))] != images:
        raise AssertionError("the archive's images did not come back")
    for content, image in zip(lone, images, strict=True):
        if dict(Reader(io.BytesIO(content), models).images())[0] != image:
            raise AssertionError("an image did not come back")
    return {
        "archive": len(file.getvalue()),
        "files": sum(map(len, lone)),
        "archive_seconds": round(middle - start, 1),
        "files_seconds": round(end - middle, 1),
    }


if __name__ == "__main__":
    main()
