"""What a photograph costs, as whole processes: benchmarks/results/speed.json.

    python benchmarks/speed.py [--photo FILE] [--before DIR] [--rounds N] [--large MEGAPIXELS [--photos DIR]]
                               [--out FILE]

`photograph`: 768x512 pixels from the middle of FILE are compressed, not verified, and decompressed, frozen, as by
default and at efforts 1 and 2, by as many threads as there are processors and by one (`-j 1`). `large`: an image of so
many megapixels, the same way but for the one thread; 0 leaves it out. It is a mosaic of the middles of the photographs
in DIR, or, without DIR, of FILE, its mirror images and noise, which the fallback may code best.
Of each command: seconds of the processor (user and system) and on the clock, the smallest of N rounds, and peak memory.
With `--before` the package in DIR, an earlier commit, does the same in turns with this one. Kernels are compiled before
and every file is read back and compared. JPEG XL and WebP by imagecodecs, where that is installed, do the same in
processes of their own. Take no photograph on which rates are reported: times depend on hardly more than the size.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment
from memory import repeat
from PIL import Image
from processes import cost

from bbcompress.images.formats.png.convert import write_png
from bbcompress.images.image import PixelImage
from bbcompress.images.read import read_image

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT = 768, 512
KINDS = [
    (kind + name, options, jobs)
    for name, jobs in (("", []), (", one thread", ["-j", "1"]))
    for kind, options in (("frozen", ["--no-learn"]), ("default", []), ("effort 1", ["-1"]), ("effort 2", ["-2"]))
]
"""Names of the ways, and their options of compressing and of threads."""
PEERS = {
    "JPEG XL effort 7": ("jpegxl", {"lossless": True, "effort": 7}),
    "JPEG XL effort 9": ("jpegxl", {"lossless": True, "effort": 9}),
    "WebP method 6": ("webp", {"lossless": True, "method": 6}),
}
PEER = """
import sys
import imagecodecs, numpy
from PIL import Image
name, options, source, packed, what = sys.argv[1:]
if what == "decode":
    getattr(imagecodecs, name + "_decode")(open(packed, "rb").read())
else:
    pixels = numpy.asarray(Image.open(source))
    open(packed, "wb").write(getattr(imagecodecs, name + "_encode")(pixels, **eval(options)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--before", type=Path, help="a checkout of an earlier commit")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=float, default=24, help="megapixels")
    parser.add_argument("--photos", type=Path, help="a folder of photographs, of which the large image is made")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "speed.json")
    args = parser.parse_args()
    packages = {"now": HERE.parent} | ({"before": args.before} if args.before else {})
    results: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.rounds:
            source = folder / "photograph.png"
            source.write_bytes(write_png(PixelImage("RGB", middle(args.photo))))
            rows = in_turns(folder, source, packages, args.rounds) | peers(folder, source, args.rounds)
            results["photograph"] = {"environment": environment(), "rounds": args.rounds, "rows": rows}
            args.out.write_text(json.dumps(results, indent=1) + "\n")
        if args.large:
            source = folder / "large.png"
            if args.photos:
                source.write_bytes(write_png(PixelImage("RGB", mosaic(args.photos, round(args.large * 1e6)))))
            else:
                repeat(args.photo, source, round(args.large * 1e6))
            rows = in_turns(folder, source, {"now": HERE.parent}, 1, KINDS[:4])
            name = f"large, {args.large:g} megapixels" + ", a mosaic" * bool(args.photos)
            results[name] = {"environment": environment(), "rows": rows}
            args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


def middle(photo: Path) -> Any:
    """The middle of a photograph, uint8 (HEIGHT, WIDTH, 3)."""
    pixels = read_image(photo).pixels
    top, left = (pixels.shape[0] - HEIGHT) // 2, (pixels.shape[1] - WIDTH) // 2
    if min(top, left) < 0 or pixels.ndim != 3:
        sys.exit(f"{photo} is not RGB of at least {WIDTH}x{HEIGHT} pixels")
    return pixels[top : top + HEIGHT, left : left + WIDTH].copy()


def mosaic(folder: Path, pixels: int) -> Any:
    """The middles of photographs side by side, row by row, uint8 (H, W, 3): about so many pixels, 3:2."""
    height = max(1, round((pixels / 1.5) ** 0.5))
    width = max(1, pixels // height)
    image = np.empty((height, width, 3), np.uint8)
    places = itertools.product(range(0, height, HEIGHT), range(0, width, WIDTH))
    photos = [photo for photo in sorted(folder.iterdir()) if is_large(photo)]
    if not photos:
        sys.exit(f"{folder} has no photographs in RGB of at least {WIDTH}x{HEIGHT} pixels")
    for (top, left), photo in zip(places, itertools.cycle(photos), strict=False):
        place = image[top : top + HEIGHT, left : left + WIDTH]
        place[:] = middle(photo)[: place.shape[0], : place.shape[1]]
    image.flags.writeable = False
    return image


def is_large(photo: Path) -> bool:
    """Whether a file is RGB of at least WIDTH x HEIGHT pixels."""
    with Image.open(photo) as image:
        return image.mode == "RGB" and image.width >= WIDTH and image.height >= HEIGHT


def in_turns(
    folder: Path, source: Path, packages: dict[str, Path], rounds: int, kinds: Sequence[Any] = KINDS
) -> dict[str, Any]:
    """For each package and each of the `KINDS`: bytes, and costs of both directions."""
    rows: dict[str, Any] = {}
    for number in range(rounds):
        for name, package in packages.items():
            bbc = [sys.executable, "-m", "bbcompress"]
            for kind, options, jobs in kinds:
                packed, back = folder / "image.bbc", folder / "back.png"
                compress = [*bbc, "compress", "-f", "--no-verify", *options, *jobs, str(source), "-o", str(packed)]
                decompress = [*bbc, "decompress", "-f", *jobs, str(packed), "-o", str(back)]
                if not number:  # of what is slow at first, kernels are compiled, and checkpoints and files read
                    small = folder / "small.png"
                    small.write_bytes(write_png(PixelImage("RGB", middle_of(source))))
                    for command in (
                        [*bbc, "compress", "-f", "--no-verify", *options, str(small), "-o", str(packed)],
                        [*bbc, "decompress", "-f", str(packed), "-o", str(back)],
                    ):
                        cost_with(package, command)
                row = rows.setdefault(f"{kind}, {name}", {})
                keep_least(row, "compress", cost_with(package, compress))
                keep_least(row, "decompress", cost_with(package, decompress))
                if read_image(back) != read_image(source):
                    sys.exit(f"{kind}, {name}: other pixels came back")
                row["bytes"] = packed.stat().st_size
    return rows


def middle_of(source: Path) -> Any:
    """A piece that takes the same kernels."""
    return read_image(source).pixels[:192, :192].copy()


def peers(folder: Path, source: Path, rounds: int) -> dict[str, Any]:
    """The same of others' codecs, by imagecodecs; none where it is not installed."""
    rows: dict[str, Any] = {}
    if importlib.util.find_spec("imagecodecs") is None:
        return rows
    for name, (codec, options) in PEERS.items():
        packed, row = folder / "image.peer", rows.setdefault(name, {})
        command = [sys.executable, "-c", PEER, codec, repr(options), str(source), str(packed)]
        for _ in range(rounds):
            keep_least(row, "compress", cost_with(folder, [*command, "encode"]))
            keep_least(row, "decompress", cost_with(folder, [*command, "decode"]))
        row["bytes"] = packed.stat().st_size
    return rows


def cost_with(package: Path, command: list[str]) -> dict[str, float]:
    """What a process costs, with the package in a folder."""
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))  # where peers may be
    return cost(command, cwd=package, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL)


def keep_least(row: dict[str, Any], name: str, found: dict[str, float]) -> None:
    """Keep the least of each cost of a command."""
    kept = row.setdefault(name, found)
    row[name] = {key: min(value, kept[key]) for key, value in found.items()}


if __name__ == "__main__":
    main()
