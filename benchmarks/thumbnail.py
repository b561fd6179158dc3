"""How long a thumbnail of an image of 24 megapixels takes: `bbc thumbnail` as a whole process, from the file's preview.

    python benchmarks/thumbnail.py [--runs N] [-o FILE.json]

The image is drawn, and kept as its JPEG, so that the file is made in seconds; what is behind a preview is not read.
Beside it are measured the start of Python, and the import of the two libraries that the command needs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from machine import environment
from PIL import Image

import bbcompress

RESULTS = Path(__file__).resolve().parent / "results" / "thumbnail.json"
WIDTH, HEIGHT = 6000, 4000
SIDE = 256
COMMANDS = {
    "Python alone": ["-c", ""],
    "with click and Pillow": ["-c", "import click; from PIL import Image, PngImagePlugin, WebPImagePlugin"],
    "bbc thumbnail": ["-m", "bbcompress", "thumbnail", "photo.bbc", "-s", str(SIDE), "-o", "out.png", "-f", "-q"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="of each command, in turns")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"environment": environment(), "pixels": WIDTH * HEIGHT, "runs": arguments.runs}
    with tempfile.TemporaryDirectory() as folder:
        result["file_bytes"] = _make(Path(folder))
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
        for number in range(arguments.runs + 1):
            for name, command in COMMANDS.items():
                found = _run(command, folder)
                if number:  # the first run writes the byte code
                    seconds[name].append(found)
        with Image.open(Path(folder, "out.png")) as picture:
            result["thumbnail"] = picture.size
    result["load_after"], result["nice"] = os.getloadavg()[0], os.nice(0)
    result["seconds"] = {name: _figures(runs) for name, runs in seconds.items()}
    print(json.dumps(result["seconds"], indent=1))
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")


def _make(folder: Path) -> int:
    """Write photo.bbc; its size in bytes."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(0).integers(0, 8, (HEIGHT, WIDTH, 3))
    pixels = (np.stack([x // 25, y // 17, (x + y) // 42], axis=2) + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "photo.jpg", quality=92)
    bbcompress.pack([str(folder / "photo.jpg")], folder / "photo.bbc", effort=1, preview=True)
    return (folder / "photo.bbc").stat().st_size


def _run(command: list[str], folder: str) -> tuple[float, float]:
    """Seconds by the clock, and of the processor, of a process that may keep its byte code."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, start = _processor_seconds(), perf_counter()
    subprocess.run([sys.executable, *command], cwd=folder, env=variables, check=True)
    return perf_counter() - start, _processor_seconds() - before


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _figures(runs: list[tuple[float, float]]) -> dict[str, float]:
    clock, processor = zip(*runs, strict=True)
    return {
        "clock_least": round(min(clock), 3),
        "clock_median": round(median(clock), 3),
        "processor_least": round(min(processor), 3),
        "processor_median": round(median(processor), 3),
    }


if __name__ == "__main__":
    main()
