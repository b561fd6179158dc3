"""How the cost of each reader's worst inputs grows: processor seconds of n and of 2n, a process each.

    python benchmarks/scaling.py [--only TEXT] [-o FILE.json]
    python benchmarks/scaling.py --table BEFORE.json AFTER.json

The inputs are those of tests/support/workloads.py. To measure another commit with the same inputs, set PYTHONPATH to
a checkout of it; give the file another name then.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import environment

import bbcompress

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from workloads import WORKLOADS, Workload, cost  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "scaling.json"
SECONDS = 120
"""A run that takes longer is ended."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="workloads whose names contain this")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    parser.add_argument("--one", nargs=2, metavar=("NUMBER", "N"), help=argparse.SUPPRESS)
    parser.add_argument("--table", nargs=2, type=Path, metavar=("BEFORE", "AFTER"), help="print two results")
    arguments = parser.parse_args()
    if arguments.table:
        print(_table(*(json.loads(path.read_text())["rows"] for path in arguments.table)))
        return
    if arguments.one:
        number, n = map(int, arguments.one)
        with tempfile.TemporaryDirectory() as folder:
            print(cost(WORKLOADS[number], n, Path(folder) / "work"))
        return
    rows = []
    for number, workload in enumerate(WORKLOADS):
        if arguments.only in workload.name:
            rows.append(_row(number, workload))
            print(*rows[-1].values(), sep="  ", flush=True)
    result = {"environment": environment(), "measured": _measured_commit(), "rows": rows}
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")


def _table(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> str:
    """Processor seconds at n and 2n, and their ratio, of both; inputs that one of them lacks have no figures there."""
    lines = ["| input | n | before: n, 2n | ratio | after: n, 2n | ratio |", "|---|---|---|---|---|---|"]
    earlier = {row["input"]: row for row in before}
    for row in after:
        cells = [row["input"], f"{row['n']} {row['unit']}"]
        for one in (earlier.get(row["input"]), row):
            cells += ["", ""] if one is None else [f"{one['once']}, {one['twice']}", str(one["ratio"] or "")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _measured_commit() -> str:
    """The commit of the package that is measured, which may be another checkout's than this script's."""
    package = Path(bbcompress.__file__).parent
    command = ["git", "-C", str(package), "log", "-1", "--format=%h %s"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def _row(number: int, workload: Workload) -> dict[str, Any]:
    once, twice = (_cost_in_a_process(number, factor * workload.n) for factor in (1, 2))
    ratio = twice / once if isinstance(once, float) and isinstance(twice, float) and once else None
    return {"input": workload.name, "n": workload.n, "unit": workload.unit, "once": once, "twice": twice,
            "ratio": None if ratio is None else round(ratio, 2)}  # fmt: skip


def _cost_in_a_process(number: int, n: int) -> float | str:
    command = [sys.executable, __file__, "--one", str(number), str(n)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"over {SECONDS} s"
    if done.returncode:
        return done.stderr.strip().splitlines()[-1][:80] if done.stderr.strip() else f"status {done.returncode}"
    return round(float(done.stdout), 4)


if __name__ == "__main__":
    main()
