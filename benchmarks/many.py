"""Archives of very many tiny images: time and memory of compress, list, decompress --only and decompress.

    python benchmarks/many.py [--counts 10000,30000,100000] [--data DIR] [--json FILE]

MNIST digits as PNG files of 28x28, grey and thresholded ones in turn in stretches of 1000, repeated under other names.
Each command is a process of its own; its memory is that of this process and of the largest that it started itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment

from bbcompress.images.formats.png.convert import write_png
from bbcompress.images.image import from_array
from bbcompress.system.output import write_file
from bbcompress.system.threads import processors
from bbcompress.training import datasets

RESULTS = Path(__file__).resolve().parent / "results" / "many.json"
STRETCH = 1000

MEASURE = """
import json, resource, sys, time
from bbcompress.cli import main
begin = time.perf_counter()
try:
    main(sys.argv[1:], prog_name="bbc")
except SystemExit as end:
    status = end.code
own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
with open("/proc/self/status") as file:  # getrusage counts what this process was forked from, too
    own = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
cpu = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps([time.perf_counter() - begin, cpu, own, children]), file=sys.stderr)
sys.exit(status)
"""


def make_files(folder: Path, count: int, digits: np.ndarray[Any, Any]) -> int:
    """Write `count` PNG files; gives their bytes."""
    size = 0
    coded: dict[tuple[int, bool], bytes] = {}
    for number in range(count):
        which, grey = number % len(digits), number // STRETCH % 2 == 1
        if (which, grey) not in coded:
            pixels = digits[which]
            coded[which, grey] = write_png(from_array(pixels if grey else (pixels > 127).astype(np.uint8) * 255))
        data = coded[which, grey]
        path = folder / f"{number // STRETCH:03}" / f"{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        size += len(data)
    return size


def measure(*arguments: str) -> dict[str, float]:
    """Run a command: wall-clock and processor seconds, most memory (MiB) of its main process and of another."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise SystemExit(f"bbc {' '.join(arguments)}: {done.stderr}")
    wall, cpu, own, children = json.loads(done.stderr.splitlines()[-1])
    return {
        "seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2),
        "MiB": round(own / 1024, 1),
        "MiB_of_another": round(children / 1024, 1),
    }


def row(count: int, digits: np.ndarray[Any, Any], jobs: int) -> dict[str, Any]:
    """All commands on `count` images."""
    with tempfile.TemporaryDirectory() as place:
        folder, archive = Path(place) / "in", Path(place) / "set.bbc"
        png = make_files(folder, count, digits)
        figures = {
            "compress": measure("compress", str(folder), "-o", str(archive), "-j", str(jobs), "-q"),
            "list": measure("list", str(archive)),
            "decompress --only": measure(
                "decompress", str(archive), "--only", f"{count // 2:06}.png", "-o", str(Path(place) / "one"), "-q"
            ),
            "decompress": measure("decompress", str(archive), "-o", str(Path(place) / "out"), "-j", str(jobs), "-q"),
        }
        for path in folder.rglob("*.png"):
            if path.read_bytes() != (Path(place) / "out" / path.relative_to(folder)).read_bytes():
                raise SystemExit(f"{path} did not come back")
        return {"images": count, "png_bytes": png, "bytes": archive.stat().st_size, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="10000,30000,100000")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where MNIST lies")
    parser.add_argument("--jobs", type=int, default=processors())
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    digits = np.asarray(datasets.load_mnist(options.data).train)
    begin = time.monotonic()
    report = {
        "environment": environment(),
        "jobs": options.jobs,
        "rows": [row(int(count), digits, options.jobs) for count in options.counts.split(",")],
    }
    report["seconds_in_all"] = round(time.monotonic() - begin)
    write_file(options.json, (json.dumps(report, indent=2) + "\n").encode(), force=True)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
