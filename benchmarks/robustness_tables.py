"""The tables of files that were tried, whole, damaged and forged: from results/{files-suite,faults}.json."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from markdown import table

RESULTS = Path(__file__).parent / "results"
Results = dict[str, Any]

GROUPS = {
    "bas": "basic kinds",
    "bg": "background",
    "c": "chunks beside the pixels",
    "e": "EXIF",
    "f": "filters",
    "g": "gamma",
    "o": "order of chunks",
    "p": "palettes",
    "s": "odd sizes",
    "t": "transparency",
    "z": "compression",
    "Png": "logo",
    "x": "invalid",
}
"""The beginnings of PngSuite's names, the longest first where several fit."""

OUTCOMES = {"refused": "refused", "exact": "exact", "beginning": "first segments", "another sound file": "other images"}
BAD = ("wrong", "crashed", "over 20 s", "over 500 MB")


def robustness() -> str:
    """All that stands between the markers."""
    suites = json.loads((RESULTS / "files-suite.json").read_text())
    faults = json.loads((RESULTS / "faults.json").read_text())
    parts = [png_suite(suites), invalid(suites), *(foreign(suites, name) for name in suites["suites"] if name != SUITE)]
    return "\n\n".join([*parts, by_fault(faults), by_file(faults)])


SUITE = "PngSuite"


def png_suite(suites: Results) -> str:
    """PngSuite by what its files are made for."""
    groups: dict[str, list[Results]] = {name: [] for name in GROUPS.values()}
    for row in suites["suites"][SUITE]["rows"]:
        start = max((start for start in GROUPS if row["name"].startswith(start)), key=len)
        groups[GROUPS[start]].append(row)
    rows = []
    for name, found in groups.items():
        kept = [row for row in found if row["outcome"] == "kept"]
        coders = Counter(row["coder"] for row in kept)
        rows.append([
            name, *counts(found), str(sum(row["seen"] is True for row in found)), str(sum(r["size"] for r in kept)),
            str(sum(row["coded_size"] for row in kept)), ", ".join(f"{c} {n}" for c, n in coders.most_common()),
        ])  # fmt: skip
    head = ["PngSuite", "files", "kept exactly", "refused", "wrong", "pixels as another program's"]
    head += ["bytes of PNG", "bytes of .bbc", "coded with"]
    note = "Each file by itself, with its metadata; all of them are in `results/files-suite.json`. "
    note += machine(suites["suites"][SUITE])
    return f"### Test images of others\n\n{table(head, rows)}\n\n{note}"


def machine(suite: Results) -> str:
    """What it ran with."""
    found = suite["environment"]
    packages = ", ".join(f"{name} {number}" for name, number in found["packages"].items())
    return f"{found['processor']}, Python {found['python']}, {packages}; commit {found['commit']}."


def counts(rows: list[Results]) -> list[str]:
    """Files, and how many of them were kept, refused, wrong."""
    found = Counter(row["outcome"] for row in rows)
    return [str(len(rows)), *(str(found[outcome]) for outcome in ("kept", "refused", "wrong"))]


def invalid(suites: Results) -> str:
    """PngSuite's invalid files, and the lines that refuse them."""
    rows = [[r["name"], r["why"]] for r in suites["suites"][SUITE]["rows"] if r["outcome"] == "refused"]
    return table(["invalid file", "refused: it ..."], rows)


def foreign(suites: Results, name: str) -> str:
    """Another folder of images, by the suffix of their names, and why files were refused."""
    by_suffix: dict[str, list[Results]] = {}
    rows = suites["suites"][name]["rows"]
    for row in rows:
        by_suffix.setdefault(Path(row["name"]).suffix.lower(), []).append(row)
    body = [
        [suffix, *counts(found), str(sum(row["frames"] > 1 for row in found))] for suffix, found in by_suffix.items()
    ]
    body.append(["all", *counts(rows), str(sum(row["frames"] > 1 for row in rows))])
    head = [f"{name}'s images", "files", "kept exactly", "refused", "wrong", "with frames or pages (`--frames`)"]
    reasons = Counter(reason(row["why"]) for row in rows if row["outcome"] == "refused")
    named = "; ".join(f"{why} ({count})" for why, count in reasons.most_common())
    seen = sum(row["seen"] is True for row in rows)
    coders = Counter(row["coder"] for row in rows if row["outcome"] == "kept")
    note = f"Of {seen} PNG files libpng, by itself, reads the same pixels. Coded with: "
    note += ", ".join(f"{coder} {count}" for coder, count in coders.most_common()) + ". Images of more than "
    note += f"{suites['suites'][name]['max_pixels']} pixels were refused here. Refused: it {named}."
    return f"{table(head, body)}\n\n{note}"


def reason(why: str) -> str:
    """A line without the numbers and words of one file."""
    return re.sub(r"\d+", "N", why.partition(" (")[0].partition(":")[0]).strip()


def by_fault(faults: Results) -> str:
    """Damaged files by what was done to them."""
    rows = [[fault, *outcomes(found)] for fault, found in faults["by_fault"].items()]
    total: Counter[str] = Counter()
    for found in faults["by_fault"].values():
        total.update(found)
    rows.append(["all", *outcomes(total)])
    note = f"{faults['tried']} damaged files in {faults['cpu_seconds']} processor seconds; the process took at most "
    note += f"{faults['peak_MB']} MB. *Other images*: of a forged file that is a sound one of these."
    return f"### Damaged and forged files\n\n{table(['fault', *HEAD], rows)}\n\n{note}"


def by_file(faults: Results) -> str:
    """The same by file."""
    rows = [[name, str(found["bytes"]), *outcomes(found)] for name, found in faults["by_file"].items()]
    return table(["file", "bytes", *HEAD], rows)


HEAD = ["tried", *OUTCOMES.values(), *BAD]


def outcomes(found: Results) -> list[str]:
    """The cells of a row."""
    numbers = [int(found.get(outcome, 0)) for outcome in (*OUTCOMES, *BAD)]
    return [str(sum(numbers)), *map(str, numbers)]
