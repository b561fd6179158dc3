"""The table of small photographs, from results/small-photographs.json."""

from __future__ import annotations

import json
from pathlib import Path

from markdown import table

RESULTS = Path(__file__).parent / "results" / "small-photographs.json"


def small_photographs() -> str:
    """Bytes by size of the squares and by model."""
    found = json.loads(RESULTS.read_text())
    sides = next(iter(found["models"].values()))
    rows = [
        [
            f"{sides[side]['squares']} of {side} x {side}",
            model,
            *(str(row[side][way][kind]) for kind in ("archive", "files") for way in ("frozen", "learning")),
        ]
        for side in sides
        for model, row in found["models"].items()
    ]
    ways = [f"{kind}, {way}" for kind in ("one archive", "a file each") for way in ("frozen", "learning")]
    return table(["squares", "", *ways], rows)
