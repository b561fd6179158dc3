"""Peak memory and time of `bbc compress`, `test` and `decompress` on one large image.

    python benchmarks/memory.py [--megapixels N] [--model MODEL] [--verify] [-o FILE.json]

The image is RGB, smooth with noise, as hard as a photograph; it is drawn and checked in processes of their own, since a
process inherits the peak of the one that starts it. A run keeps what the results file says of other sizes and models.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment
from processes import cost

from bbcompress.images.formats.png.convert import write_png
from bbcompress.images.image import PixelImage
from bbcompress.images.read import read_image

BBC = [sys.executable, "-m", "bbcompress"]
BAND = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=24)
    parser.add_argument("--photo", type=Path, help="a photograph to make the image of: repeated, mirrored, with noise")
    parser.add_argument("--model", help="as `bbc -m`; the default for such images if not given")
    parser.add_argument(
        "--verify", action="store_true", help="let compress decode what it wrote, as it does by default"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).parent / "results" / "memory.json")
    parser.add_argument("--draw", nargs=2, metavar=("FILE", "PIXELS"), help=argparse.SUPPRESS)
    parser.add_argument("--compare", nargs=2, metavar=("FILE", "FILE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.draw:
        (draw if args.photo is None else partial(repeat, args.photo))(Path(args.draw[0]), int(args.draw[1]))
        return
    if args.compare:
        sys.exit(read_image(args.compare[0]) != read_image(args.compare[1]))

    drawing = ["--photo", str(args.photo)] if args.photo else []
    row = measure(round(args.megapixels * 1e6), ["-m", args.model] if args.model else [], args.verify, drawing)
    results: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    name = f"{args.megapixels:g} megapixels, {args.model or 'default'}{', verified' * args.verify}"
    name += ", of a photograph" * bool(args.photo)
    results[name] = {**row, "environment": environment()}
    print(json.dumps({name: row}, indent=1))
    args.out.write_text(json.dumps(results, indent=1) + "\n")


def measure(pixels: int, model: list[str], verify: bool, drawing: list[str]) -> dict[str, Any]:
    """Sizes, and of each command seconds and peak memory."""
    this = [sys.executable, __file__]
    with tempfile.TemporaryDirectory() as folder:
        source, packed, back = (str(Path(folder) / name) for name in ("image.png", "image.bbc", "back.png"))
        small = str(Path(folder) / "small.png")
        run([*this, "--draw", source, str(pixels), *drawing])
        run([*this, "--draw", small, "1"])
        first = [*BBC, "compress", source, "-o", packed, *model, *([] if verify else ["--no-verify"])]
        commands = {
            "one pixel": [*BBC, "compress", small, "-o", str(Path(folder) / "small.bbc"), *model],
            "compress": first,
            "test": [*BBC, "test", packed, *model],
            "decompress": [*BBC, "decompress", packed, "-o", back, *model],
        }
        measured = {name: run(command) for name, command in commands.items()}
        run([*this, "--compare", source, back])
        return {
            "pixel_bytes": 3 * pixels,
            "png_bytes": Path(source).stat().st_size,
            "bbc_bytes": Path(packed).stat().st_size,
            "coder": measured["compress"].pop("printed").rpartition("(")[2].strip(" )\n"),
            "commands": {name: {k: v for k, v in row.items() if k != "printed"} for name, row in measured.items()},
        }


def run(command: list[str]) -> dict[str, Any]:
    """Seconds and peak resident memory in MiB of a process, and what it prints. Ends the benchmark where it fails."""
    with tempfile.TemporaryFile("w+") as out:
        found = cost(command, stdout=out)
        out.seek(0)
        return {"seconds": found["clock_s"], "peak_mib": found["peak_mib"], "printed": out.read()}


def draw(path: Path, pixels: int) -> None:
    """An image of about so many pixels, 3:2, in bands that differ."""
    height = max(1, round((pixels / 1.5) ** 0.5))
    width = max(1, pixels // height)
    image = np.empty((height, width, 3), np.uint8)
    x = np.arange(width, dtype=np.float32)[None, :, None]
    for top in range(0, height, BAND):
        chance = np.random.default_rng(top)
        y = np.arange(top, min(top + BAND, height), dtype=np.float32)[:, None, None]
        waves = 120 + 60 * np.sin(x / 310 + y / 700 + np.arange(3)) + 40 * np.cos(x / 90 - y / 150)
        noise = chance.normal(0, 3, (len(y), width, 1)) + chance.normal(0, 1.5, (len(y), width, 3))
        image[top : top + len(y)] = (waves + noise).clip(0, 255)
    image.flags.writeable = False
    path.write_bytes(write_png(PixelImage("RGB", image)))


def repeat(photo: Path, path: Path, pixels: int) -> None:
    """An image of about so many pixels, 3:2: the photograph and its mirror images side by side, with noise."""
    piece = read_image(photo).pixels
    height = max(1, round((pixels / 1.5) ** 0.5))
    width = max(1, pixels // height)
    piece = np.concatenate([piece, piece[:, ::-1]], axis=1)
    piece = np.concatenate([piece, piece[::-1]])
    times = (-(-height // piece.shape[0]), -(-width // piece.shape[1]), 1)
    image = np.tile(piece, times)[:height, :width].astype(np.int16)
    image += np.random.default_rng(0).integers(-2, 3, image.shape, np.int16)
    path.write_bytes(write_png(PixelImage("RGB", image.clip(0, 255).astype(np.uint8))))


if __name__ == "__main__":
    main()
