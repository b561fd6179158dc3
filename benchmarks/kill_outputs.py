"""`bbc compress --force` and `bbc decompress --force` killed (SIGKILL) at random moments: is a file lost or half?

    python benchmarks/kill_outputs.py [--kills 60] [--seed 0] [--json FILE]

After each kill every file must be old or new. The next run, which is let finish, must leave no temporary file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from machine import environment
from PIL import Image

from bbcompress.system.output import write_file

RESULTS = Path(__file__).resolve().parent / "results" / "kill-outputs.json"
FILES = 300
"""Images of an archive; so many that a kill falls now and then between two that are given their names."""


@dataclass
class Outcome:
    """kills: in which the process was at work. lost: with a file missing. broken: with one neither old nor new. mixed:
    with old and new files beside each other. left: with temporary files left. still_left: the same after the next run.
    """

    kills: int = 0
    lost: int = 0
    broken: int = 0
    mixed: int = 0
    left: int = 0
    still_left: int = 0


def run(arguments: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "bbcompress", *arguments, "-q"], cwd=folder)


def left_in(folder: Path) -> int:
    return len(list(folder.rglob(".bbc-*")))


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def kill(arguments: Sequence[str], place: Path, names: Sequence[str], moments: random.Random, outcome: Outcome) -> None:
    """One try in a folder in which all files are old."""
    old = {name: (place / name).read_bytes() for name in names}
    begin = {name: (place / name).stat().st_ino for name in names}
    process = run(arguments, place)
    while process.poll() is None and not left_in(place):
        time.sleep(0.001)
    if moments.random() < 0.5:  # any moment, or shortly behind the first change of a name
        time.sleep(moments.uniform(0, 0.6))
    else:
        while process.poll() is None and _inode(place / names[0]) == begin[names[0]]:
            pass
        time.sleep(moments.uniform(0, 0.01))
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGKILL)
    process.wait()
    outcome.kills += 1
    outcome.left += left_in(place) > 0
    found = {name: (place / name).read_bytes() if (place / name).exists() else None for name in names}
    run(arguments, place).wait()
    new = {name: (place / name).read_bytes() for name in names}
    outcome.lost += None in found.values()
    outcome.broken += any(data not in (None, old[name], new[name]) for name, data in found.items())
    outcome.mixed += len({data == new[name] for name, data in found.items()}) > 1
    outcome.still_left += left_in(place) > 0


def tries(kind: str, kills: int, seed: int) -> Outcome:
    """kind: what is killed, `lone`, `archive` or `folder`."""
    generator, moments, outcome = np.random.default_rng(seed), random.Random(seed), Outcome()
    with tempfile.TemporaryDirectory() as made:
        source = Path(made) / "source"
        source.mkdir()
        for number in range(FILES):
            Image.fromarray(generator.integers(0, 256, (8, 8), np.uint8)).save(source / f"{number:03}.png")
        Image.fromarray(generator.integers(0, 256, (300, 400, 3), np.uint8)).save(Path(made) / "lone.png")
        run(["compress", str(source), "-o", "set.bbc"], Path(made)).wait()
        place = Path(made) / "place"
        names = [f"{number:03}.png" for number in range(FILES)] if kind == "folder" else ["old.bbc"]
        arguments = {
            "lone": ["compress", "../lone.png", "-o", "old.bbc", "-f"],
            "archive": ["compress", "../source", "-o", "old.bbc", "-f"],
            "folder": ["decompress", "../set.bbc", "-o", ".", "-f"],
        }[kind]
        for _ in range(kills):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            for name in names:
                (place / name).write_bytes(b"old")
            kill(arguments, place, names, moments, outcome)
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    found = {"environment": environment(), "tries_of_each": options.kills, "seed": options.seed}
    outcomes = {kind: asdict(tries(kind, options.kills, options.seed)) for kind in ("lone", "archive", "folder")}
    write_file(options.json, (json.dumps({**found, "outcomes": outcomes}, indent=1) + "\n").encode(), force=True)
    print(json.dumps(outcomes, indent=1))
    if any(outcome["lost"] or outcome["broken"] or outcome["still_left"] for outcome in outcomes.values()):
        raise SystemExit("a file was lost, or something is left behind")


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
