"""Run a part of the study that has not been run for lack of a GPU, and write its tables.

    python benchmarks/study/missing.py PART [--device cuda] [--quick] [options of the scripts]

The parts, and the scripts and options that each stands for, are in benchmarks/study_missing.py. All other options go to
each script. Then benchmarks/tables.py writes the tables of benchmarks/README.md; with --quick or --out they are printed
alone.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # before a package `markdown`

import study_results  # noqa: E402
import study_tables  # noqa: E402
from study_missing import MISSING  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=MISSING)
    parser.add_argument("--quick", action="store_true", help="a few epochs on a hundred images, never to be quoted")
    parser.add_argument("--runs", type=Path, help="runs/study if not given, with --quick runs/study-quick")
    parser.add_argument("--out", type=Path, help="for results; benchmarks/results, with --quick RUNS/results")
    args, others = parser.parse_known_args()
    runs = args.runs or Path("runs") / ("study-quick" if args.quick else "study")
    out = args.out or (runs / "results" if args.quick else HERE.parent / "results")
    shared = ["--runs", str(runs), "--out", str(out), *(["--quick"] if args.quick else []), *others]
    for script, options in MISSING[args.part].calls:
        command = [str(HERE / f"{script}.py"), *options, *shared]
        print(shlex.join(command), file=sys.stderr, flush=True)
        if (ended := subprocess.run([sys.executable, *command]).returncode) != 0:
            sys.exit(ended)
    if args.quick or args.out:
        study_results.RESULTS = out
        print(study_tables.study())
    else:
        subprocess.run([sys.executable, str(HERE.parent / "tables.py")], check=True)


if __name__ == "__main__":
    main()
