"""What K = 4 refinement steps gain over none, and what they cost, on every shipped model: whole files, both directions.

    python benchmarks/default_steps.py [--data-dir DIR] [--photos DIR] [--steps K ...] [--out FILE]

DIR of --data-dir holds MNIST and CIFAR-10, DIR of --photos the held-out photographs. Models of digits code the first
1000 test images as one archive, models of CIFAR-10 the first 100, models of photographs the middle of each photograph,
each a file of its own. Everything is read back and compared. Times are processor seconds of one process, which has
compiled its loops before, with one BLAS thread. A run goes on where the last one ended: what the results file has of a
model and K stays.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment
from threadpoolctl import threadpool_limits

import bbcompress as bbc
from bbcompress.models.zoo import InstalledModel, Zoo
from bbcompress.system.threads import limit_threads
from bbcompress.training.datasets import load_cifar10, load_mnist

DIGITS, THUMBNAILS, SIDE = 1000, 100, 512
NumpyArray = np.ndarray[Any, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--photos", type=Path, default=Path("photos/val"))
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 4])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "default-steps.json")
    args = parser.parse_args()
    results: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {"models": {}}
    results["sample"] = {"digits": DIGITS, "cifar10": THUMBNAILS, "side of a photograph": SIDE}
    limit_threads(1)
    for entry in Zoo().entries:
        rows = results["models"].setdefault(entry.name, {})
        files = files_of(entry, args)
        for steps in args.steps:
            if rows.get(f"K={steps}", {}).get("id") == entry.id.hex():
                continue
            with threadpool_limits(1):
                measured([files[0][:2]], entry, steps)  # compiles what it takes
                rows[f"K={steps}"] = {"id": entry.id.hex(), **measured(files, entry, steps), **environment()}
            args.out.write_text(json.dumps(results, indent=1) + "\n")
            print(entry.name, f"K={steps}", rows[f"K={steps}"]["bytes"], flush=True)
    print(table(results["models"], args.steps))


def files_of(entry: InstalledModel, args: argparse.Namespace) -> list[list[NumpyArray]]:
    """The images of each file that a model is measured on."""
    binary = entry.input_spec["likelihood"] == "bernoulli"
    if entry.input_spec["shape"] == [28, 28]:
        digits = np.asarray(load_mnist(args.data_dir).test[:DIGITS])
        return [list((digits > 127) * np.uint8(255) if binary else digits)]
    if str(entry.card.get("data")).startswith("cifar10"):
        return [list(np.asarray(load_cifar10(args.data_dir).test[:THUMBNAILS]))]
    grey = entry.input_spec["channels"] == 1
    return [[middle(path, grey)] for path in sorted(args.photos.iterdir())]


def middle(path: Path, grey: bool) -> NumpyArray:
    """The middle of a photograph, uint8 (SIDE, SIDE) or (SIDE, SIDE, 3) where it is not smaller."""
    image = bbc.to_pillow(bbc.read_image(path)).convert("L" if grey else "RGB")
    pixels = np.asarray(image)
    top, left = (max(0, (side - SIDE) // 2) for side in pixels.shape[:2])
    return pixels[top : top + SIDE, left : left + SIDE]


def measured(files: Sequence[Sequence[NumpyArray]], entry: InstalledModel, steps: int) -> dict[str, Any]:
    """Bytes of the files, sub-pixels, and processor seconds to write and to read them. Ends where pixels differ."""
    size = subpixels = 0
    compress = decompress = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "measured.bbc"
        for images in files:
            start = time.process_time()
            named = [(None, image) for image in images]
            summary = bbc.write(path, named, k=steps, overwrite=True, model=entry.folder, verify=False)
            middle = time.process_time()
            with bbc.open(path) as archive:
                back = [image.pixels for _, image in archive.images()]
            decompress += time.process_time() - middle
            compress += middle - start
            if not all(np.array_equal(one, other) for one, other in zip(images, back, strict=True)):
                raise AssertionError(f"{entry.name} K={steps}: the pixels did not come back")
            size += summary.size
            subpixels += summary.subpixels
    return {
        "bytes": size,
        "subpixels": subpixels,
        "rate": 8 * size / subpixels,
        "compress_seconds": round(compress, 3),
        "decompress_seconds": round(decompress, 3),
    }


def table(models: dict[str, Any], steps: Sequence[int]) -> str:
    """A Markdown table: rates, and what the last K of `steps` gains and costs against the first."""
    first, last = f"K={steps[0]}", f"K={steps[-1]}"
    lines = [
        f"| model | {first}, bits per sub-pixel | {last} | bytes | compress, s | decompress, s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, rows in sorted(models.items()):
        a, b = rows[first], rows[last]
        times = [f"{a[f'{what}_seconds']:.1f} to {b[f'{what}_seconds']:.1f}" for what in ("compress", "decompress")]
        gain = f"{100 * (b['bytes'] / a['bytes'] - 1):+.2f} %"
        lines.append(f"| {name} | {a['rate']:.4f} | {b['rate']:.4f} | {gain} | {times[0]} | {times[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
