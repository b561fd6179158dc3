"""The table of other shapes of the pixel network, from results/shapes.json and shapes-long.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markdown import table

RESULTS = Path(__file__).parent / "results"
RUNS = "shapes", "shapes-long"
BASE = "photo's shape", "photo's shape, another seed"
WAYS = "frozen", "learned"
SECONDS = "exact, seconds a megapixel"


def shapes() -> str:
    """Of a short training of all shapes and a longer one of some: their rates and costs, the quickest first, and what
    two seeds of one shape differ by."""
    runs = [json.loads((RESULTS / f"{name}.json").read_text()) for name in RUNS]
    return "\n\n".join(f"{plane(found['shapes'])}\n\n{seeds(found)}" for found in runs)


def mean(row: dict[str, Any], way: str) -> float:
    """Bits per sub-pixel of the measured photographs together, which are of one size."""
    return float(sum(row[way]) / len(row[way]))


def plane(rows: dict[str, Any]) -> str:
    """Each shape's cost, and its rates against the mean of the seeds of photo's shape."""
    base = {way: sum(mean(rows[name], way) for name in BASE) / len(BASE) for way in WAYS}
    lines = []
    for name, row in sorted(rows.items(), key=lambda item: (item[1][SECONDS], mean(item[1], "learned"))):
        rates = [f"{mean(row, way):.4f} ({100 * (mean(row, way) / base[way] - 1):+.2f} %)" for way in WAYS]
        beaten = any(
            other[SECONDS] <= row[SECONDS] and mean(other, "learned") < mean(row, "learned") for other in rows.values()
        )
        lines.append([name, str(row["multiply-adds"]), f"{row[SECONDS]:.1f}", *rates, "" if beaten else "yes"])
    head = ["", "multiply-adds a pixel", "s a megapixel, learning", "bits, frozen", "bits, learning"]
    return table([*head, "none is as quick and smaller"], lines)


def seeds(found: dict[str, Any]) -> str:
    """The schedule, and the difference of the two seeds."""
    rows, schedule = found["shapes"], found["schedule"]
    apart = [100 * abs(mean(rows[BASE[1]], way) / mean(rows[BASE[0]], way) - 1) for way in WAYS]
    height, width = found["measured crop"]
    return (
        f"{schedule['steps']} steps of {schedule['pixels a step']} pixels of {found['trained on']} photographs, rate "
        f"{schedule['rate']:g} at its peak and none at the end (a cosine); {width} x {height} pixels of each of "
        f"{len(found['measured'])} held-out photographs. The two seeds of photo's shape differ by {apart[0]:.2f} % "
        f"frozen and {apart[1]:.2f} % with learning."
    )
