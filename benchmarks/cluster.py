"""Sharded archives by 1, 2 and 4 processes of a local cluster, beside `--jobs`, and resuming after a kill.

    python benchmarks/cluster.py [--data DIR] [--photos DIR] [--digits N] [--crops N] [-o FILE.json]

Digits are those of MNIST as PNG files, photographs are crops. The photographs are so many that one worker is at work
for about a minute: what a worker takes before it makes its first shard, and to load models and kernels for it, is a
figure of its own, and hardly counts in the time from the first shard's beginning to the last one's end. Other programs
may load the machine: so there are processor seconds of all processes beside those of the clock, and the share of the
time in which workers were at work. The whole takes some seven minutes on two quiet processors.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from machine import environment

from bbcompress.images.formats.png.convert import write_png
from bbcompress.images.image import from_array
from bbcompress.images.read import read_image
from bbcompress.pipeline.sharding.plan import Measured, cut
from bbcompress.pipeline.sources import Source
from bbcompress.training import datasets

PACKAGES = ("bbcompress", "numpy", "numba", "pillow", "dask", "distributed")
WORKERS = (1, 2, 4)
CROP = 192
DIGITS, SHARD_DIGITS = 800, 50
CROPS, SHARD_CROPS = 36, 1
WARM_UP = 2
"""Shards that are made before anything is timed: kernels are compiled, and files in memory."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where MNIST lies")
    parser.add_argument("--photos", type=Path, default=Path("photos/val"), help="photographs, of which crops are taken")
    parser.add_argument("--digits", type=int, default=DIGITS, help="how many")
    parser.add_argument("--crops", type=int, default=CROPS, help="how many pieces of photographs")
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).parent / "results" / "cluster.json")
    args = parser.parse_args()
    results: dict[str, Any] = {"environment": environment(PACKAGES), "workloads": {}}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        digits, crops = folder / "digits", folder / "crops"
        put_digits(digits, args.data, args.digits)
        put_crops(crops, args.photos, args.crops)
        for name, source, pixels in (
            ("digits", digits, SHARD_DIGITS * 28 * 28),
            ("photographs", crops, SHARD_CROPS * CROP * CROP),
        ):
            print(name, flush=True)
            results["workloads"][name] = measured(source, pixels, folder)
            args.out.write_text(json.dumps(results, indent=1) + "\n")
    results["requests"] = requests()
    results["client_bytes_an_image"] = client_bytes()
    results["environment"]["load_after"] = os.getloadavg()[0]
    args.out.write_text(json.dumps(results, indent=1) + "\n")


def put_digits(folder: Path, data: Path, count: int) -> None:
    """Digits of MNIST as PNG files."""
    folder.mkdir()
    for number, pixels in enumerate(datasets.load("mnist", data).test[:count]):
        (folder / f"{number:05}.png").write_bytes(write_png(from_array(pixels)))


def put_crops(folder: Path, photos: Path, count: int) -> None:
    """A piece of each photograph, the middle first, as PNG files."""
    folder.mkdir()
    paths = sorted(path for path in photos.iterdir() if path.is_file())
    for number in range(count):
        pixels = read_image(paths[number % len(paths)]).pixels
        top, left = ((side - CROP) // (2 + number // len(paths)) for side in pixels.shape[:2])
        crop = pixels[top : top + CROP, left : left + CROP].copy()
        (folder / f"{number:05}.png").write_bytes(write_png(from_array(crop)))


def measured(source: Path, shard_pixels: int, folder: Path) -> dict[str, Any]:
    """What each way to compress the files takes."""
    options = ["--shard-size", str(shard_pixels), "--json"]
    common = ["compress", str(source), *options]
    few = [str(path) for path in sorted(source.iterdir())[: WARM_UP * shard_pixels // pixels_of(source)]]
    run(["compress", *few, *options, "-j", "1"], folder / "warm-up")
    first = run([*common, "-j", "1"], folder / "first")
    rows: dict[str, Any] = {"images": first["images"], "shards": first["shards"], "pixels": first["pixels"]}
    rows["bytes_before"], rows["bytes"] = first["bytes_before"], first["bytes_after"]
    rows["manifest_bytes"] = (folder / "first" / "manifest.jsonl").stat().st_size
    rows["--jobs 1"] = timing(first)
    rows["--jobs 2"] = timing(run([*common, "-j", "2"], folder / "jobs2"))
    for workers in WORKERS:
        target = folder / f"workers{workers}"
        rows[f"{workers} workers"] = timing(run([*common, "--cluster", "local", "-j", str(workers)], target), workers)
        if contents(target) != contents(folder / "first"):
            sys.exit(f"{target} has other bytes than those of one process")
    one = rows["1 workers"]
    for workers in WORKERS[1:]:  # with processors of their own the workers would take as long as they do processor work
        row = rows[f"{workers} workers"]
        row["efficiency"] = round(one["warm_seconds_a_shard"] / row["warm_seconds_a_shard"] * row["busy"], 3)
        row["efficiency_by_clock"] = round(one["span"] / (workers * row["span"]), 3)
    rows["resumed"] = resumed(common, folder / "killed")
    for made in folder.iterdir():
        if made != source and made.name not in ("digits", "crops"):
            subprocess.run(["rm", "-r", str(made)], check=True)
    return rows


def pixels_of(folder: Path) -> int:
    """Pixels of each of the images of a folder, which are of one size."""
    image = read_image(min(folder.iterdir()))
    return image.width * image.height


def requests() -> dict[str, Any]:
    """The requests to an S3 store that a source and a target there take: for each image, for each shard, and else."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "support"))
    from stores import s3_store

    from bbcompress.pipeline.options import Options
    from bbcompress.pipeline.sharding.engine import InProcess
    from bbcompress.pipeline.sharding.run import ShardedPacking
    from bbcompress.pipeline.sharding.shard import Loading
    from bbcompress.system import storage

    counted: dict[tuple[int, int], Counter[str]] = {}
    with s3_store() as store:
        for images, shards in ((8, 2), (8, 4), (16, 4)):
            place = f"{store.url}/{images}-{shards}"
            for number in range(images):
                pixels = np.random.default_rng(number).integers(0, 256, (28, 28)).astype(np.uint8)
                with storage.new_file(storage.place_of(f"{place}/{number:02}.png"), True) as file:
                    file.write(write_png(from_array(pixels)))
            store.requests.clear()
            size = images // shards * 28 * 28
            ShardedPacking([place], f"{place}.bbc", Options(effort=1), Loading(), size).write(
                InProcess(), lambda _: None
            )
            counted[images, shards] = Counter(request.method for request in store.requests)
    found: dict[str, Any] = {}
    for method in sorted({name for counts in counted.values() for name in counts}):
        few, more, all_of_them = (counted[key][method] for key in ((8, 2), (8, 4), (16, 4)))
        an_image, a_shard = (all_of_them - more) / 8, (more - few) / 2
        found[method] = {"an_image": an_image, "a_shard": a_shard, "else": few - 8 * an_image - 2 * a_shard}
    return found


def client_bytes() -> int:
    """Bytes of memory that an image takes in the process that runs the command: its name, place, size and plan."""
    count = 20_000
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    sources = [Source(f"a/{number:09}.png", Path(f"/data/photos/a/{number:09}.png"), False) for number in range(count)]
    measured = [
        Measured(name, str(path), given, 784, 500, 10**18 + at) for at, (name, path, given) in enumerate(sources)
    ]
    plans = cut(measured, "photos", 1 << 26, {})
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return size // sum(len(plan.sources) for plan in plans)


def contents(target: Path) -> list[bytes]:
    """The shards."""
    return [path.read_bytes() for path in sorted(target.glob("*.bbc"))]


def run(arguments: Sequence[str], target: Path, kill_after: int | None = None) -> dict[str, Any]:
    """Run a command that prints lines of JSON; what it said at the end, and when which shard was done.

    Args:
        kill_after: shards, after which it gets SIGKILL.
    """
    command = [sys.executable, "-m", "bbcompress", *arguments, "-o", str(target)]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    events: list[dict[str, Any]] = []
    peak = 0
    assert process.stdout is not None
    for line in process.stdout:
        events.append({**json.loads(line), "at": time.perf_counter() - begin})
        peak = max(peak, peak_of_children(process.pid))
        if kill_after is not None and len(events) == kill_after:
            process.kill()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode and kill_after is None:
        sys.exit(f"{' '.join(command)}: status {process.returncode}")
    last = events.pop() if kill_after is None else {}
    return {
        **last,
        "pixels": sum(event["pixels"] for event in events),
        "events": events,
        "wall": time.perf_counter() - begin,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_mib": round(peak / 1024),
    }


def timing(found: dict[str, Any], workers: int = 1) -> dict[str, Any]:
    """Seconds of the clock and of processors of a run, all of it and from the first shard's beginning on.

    `begin`: seconds of the clock before any shard is begun: Python, the list of files, the scheduler and the workers.
    `first_shard_more`: how many more the first shard of a worker takes, for models and kernels. `busy`: the share of
    the time, from the beginning of the first shard to the end of the last, in which the workers were at work on shards.
    `shard_seconds`: of the clock, of all shards together; `shard_processor_seconds`: of the processes that made them,
    which hardly depends on what else the machine does; `warm_seconds_a_shard`: the median of the same, which is of a
    shard that is not the first of a worker.
    """
    done = [event for event in found["events"] if event["status"] == "done"]
    begin = min(event["at"] - event["seconds"] for event in done)
    span = max(event["at"] for event in done) - begin
    work, processor = (sum(event[name] for event in done) for name in ("seconds", "processor_seconds"))
    warm = median(event["processor_seconds"] for event in done)  # few are the first of a worker
    started = sorted(done, key=lambda event: float(event["at"] - event["seconds"]))
    firsts, others = ([event["seconds"] for event in some] for some in (started[:workers], started[workers:]))
    return {
        "seconds": round(found["wall"], 2),
        "processor_seconds": round(found["cpu"], 2),
        "begin": round(begin, 2),
        "first_shard_more": round(median(firsts) - median(others), 2) if others else None,
        "span": round(span, 2),
        "shard_seconds": round(work, 2),
        "shard_processor_seconds": round(processor, 2),
        "warm_seconds_a_shard": round(warm, 4),
        "busy": round(work / (workers * span), 3),
        "images_per_second": round(found["images"] / span, 2),
        "peak_mib_of_a_process": found["peak_mib"],
        "load": round(os.getloadavg()[0], 2),
    }


def resumed(common: Sequence[str], target: Path) -> dict[str, Any]:
    """A run by two workers is killed in the middle, and resumed."""
    arguments = [*common, "--cluster", "local", "-j", "2"]
    killed = run(arguments, target, kill_after=4)
    again = run([*arguments, "--resume"], target)
    kept = [event for event in again["events"] if event["status"] == "resumed"]
    done = [event for event in again["events"] if event["status"] == "done"]
    return {
        "done_before_the_kill": len(killed["events"]),
        "kept": len(kept),
        "made": len(done),
        "seconds_to_the_first_kept": round(min(event["at"] for event in kept), 2),
        "seconds_to_the_first_new_work": round(min(event["at"] - event["seconds"] for event in done), 2),
        "seconds": round(again["wall"], 2),
        "processor_seconds": round(again["cpu"], 2),
    }


def peak_of_children(pid: int) -> int:
    """The largest peak of resident memory of the processes below one, in KiB."""
    peaks = [0]
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{parent}/status").read_text().splitlines()
            peaks.append(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")))
    return max(peaks)


if __name__ == "__main__":
    main()
