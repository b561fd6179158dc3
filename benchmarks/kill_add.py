"""`bbc add` killed again and again (SIGKILL, at random moments): is an image of a finished addition ever lost?

    python benchmarks/kill_add.py [--kills 200] [--json FILE]

After each kill the archive is opened and every image that a finished `bbc add` (one that ended with 0) brought must
come back exactly, as must all that it had before. The next addition begins behind what the kill left.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from machine import environment

from bbcompress.archive.search import TailKind
from bbcompress.images.formats.png.convert import write_png
from bbcompress.images.image import PixelImage, from_array
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options
from bbcompress.pipeline.reader import Reader
from bbcompress.system.output import write_file

RESULTS = Path(__file__).resolve().parent / "results" / "kill-add.json"
SIDE = 28
GROUP = 16
"""Images of two levels of an addition; there are some of other kinds and sizes, so that it has several groups."""

ROUND = 25
"""Additions to an archive before another is begun."""


@dataclass
class Outcome:
    """What happened. `killed_late`: kills by which the archive had grown already."""

    kills: int = 0
    killed_late: int = 0
    adds_finished: int = 0
    images_added: int = 0
    images_lost: int = 0
    images_wrong: int = 0
    not_opened: int = 0
    unfinished_ends: int = 0


def images(generator: np.random.Generator, number: int) -> dict[str, PixelImage]:
    """Images for addition `number`, with their names: of two levels, grey and colour."""
    made: dict[str, PixelImage] = {}
    for place in range(GROUP):
        level = generator.integers(0, 256, (SIDE, SIDE), np.uint8)
        made[f"{number}/bit-{place}.png"] = from_array((level > 240).astype(np.uint8) * 255)
        if place % 4 == 0:
            made[f"{number}/grey-{place}.png"] = from_array(level)
            made[f"{number}/colour-{place}.png"] = from_array(generator.integers(0, 256, (3 + place, 4, 3), np.uint8))
    return made


def kill_loop(kills: int, seed: int, jobs: int, place: Path) -> Outcome:
    """Additions to archives in the folder `place`, most of them killed; a new archive now and then."""
    generator, moments, outcome = np.random.default_rng(seed), random.Random(seed), Outcome()
    archive, folder = place / "set.bbc", place / "new"
    expected: dict[str, PixelImage] = {}
    usual = 0.0  # seconds that an addition takes
    number = 0
    while outcome.kills < kills:
        if number % ROUND == 0:
            expected = images(generator, number)
            with archive.open("wb") as file:
                Compressor(Options()).archive(list(expected.items()), file)
        number += 1
        new = images(generator, number)
        for name, image in new.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(write_png(image))
        before = archive.stat().st_size
        begin = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "bbcompress", "add", str(archive), str(folder), "-j", str(jobs), "-q"],
            stdout=subprocess.DEVNULL,
        )
        if usual:
            wait(process, archive, usual, moments)
        else:  # the first of all is let finish
            process.wait()
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if process.returncode == 0:
            usual = time.monotonic() - begin
            outcome.adds_finished += 1
            outcome.images_added += len(new)
            expected.update(new)
        elif process.returncode == -signal.SIGKILL:
            outcome.kills += 1
            outcome.killed_late += archive.stat().st_size != before
        else:
            raise SystemExit(f"bbc add ended with {process.returncode}")
        check(archive, expected, new, outcome)
        shutil.rmtree(folder)
    return outcome


def wait(process: subprocess.Popen[bytes], archive: Path, usual: float, moments: random.Random) -> None:
    """Wait till the process is to be killed, or has ended: any moment, or shortly behind one at which the file grew."""
    deadline = time.monotonic() + usual * moments.uniform(0, 1.3)
    growths = moments.choice([0, 1, 1, 2, 2, 3, 4])
    size = archive.stat().st_size
    while process.poll() is None and (growths or time.monotonic() < deadline):
        time.sleep(0.0002)
        now = archive.stat().st_size
        growths -= growths > 0 and now != size
        if now != size and not growths:
            deadline = min(deadline, time.monotonic() + moments.choice([0, 0.001, 0.01, 0.1]))
        size = now


def check(archive: Path, expected: dict[str, PixelImage], new: dict[str, PixelImage], outcome: Outcome) -> None:
    """Count what is not as it must be. A killed addition is there as a whole or not at all."""
    try:
        with archive.open("rb") as file:
            reader = Reader(file)
            outcome.unfinished_ends += reader.tail.kind is TailKind.UNFINISHED
            names = reader.names
            found = {names[position]: image for position, image in reader.images()}
    except Exception:
        outcome.not_opened += 1
        outcome.images_lost += len(expected)
        return
    if any(name in found for name in new):  # it was killed behind its last byte
        expected.update(new)
    outcome.images_lost += sum(name not in found for name in expected)
    outcome.images_wrong += sum(name in found and found[name] != image for name, image in expected.items())
    outcome.images_wrong += sum(name not in expected for name in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    logging.getLogger("bbcompress").setLevel(logging.ERROR)  # of every unfinished end
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        outcome = kill_loop(options.kills, options.seed, options.jobs, Path(place))
    report = {"environment": environment(), "seed": options.seed, "jobs": options.jobs}
    report |= {**asdict(outcome), "seconds": round(time.monotonic() - begin)}
    write_file(options.json, (json.dumps(report, indent=2) + "\n").encode(), force=True)
    print(json.dumps(report, indent=2))
    if outcome.images_lost or outcome.images_wrong or outcome.not_opened:
        raise SystemExit("images were lost")


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
