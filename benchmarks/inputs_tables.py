"""The table of more inputs of the pixel network, from results/local-inputs.json."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

from markdown import table

RESULTS = Path(__file__).parent / "results" / "local-inputs.json"
TITLES = {
    "exact": "shipped, the exact codec",
    "shipped": "shipped, in floats",
    "control": "control: trained on, no new inputs",
    "errors": "own errors",
    "least squares": "least squares",
    "both": "both",
    "through learning": "no new inputs, trained through learning",
}


def inputs() -> str:
    """Bits per sub-pixel without and with learning, and the time that the predictions take."""
    found = json.loads(RESULTS.read_text())
    return f"{rates(found)}\n\n{times(found)}"


def rates(found: dict[str, Any]) -> str:
    """Means of each origin's photographs, against the control where that can be, and multiply-adds a pixel."""
    means = {origin: mean for origin, mean in found["mean"].items() if mean}
    counts = {origin: sum(row["origin"] == origin for row in found["rows"]) for origin in means}
    rows = []
    for name, title in TITLES.items():
        if name not in next(iter(means.values()))["learned"]:
            continue
        row = [title, str(found["multiply-adds"].get(name, ""))]
        for mean in means.values():
            for way in ("frozen", "learned"):
                value, control = mean[way][name], mean[way]["control"]
                change = "" if name in ("exact", "shipped", "control") else f" ({100 * (value / control - 1):+.2f} %)"
                row.append(f"{value:.4f}{change}")
        rows.append(row)
    head = [f"{count} {origin}, {way}" for origin, count in counts.items() for way in ("frozen", "learning")]
    return table(["", "multiply-adds a pixel", *head], rows)


def times(found: dict[str, Any]) -> str:
    """Processor seconds a megapixel of the least squares, and of the exact codec that learns, on the middle image."""
    own, codec = (
        median(1e6 * row[name] / (row["size"][0] * row["size"][1]) for row in found["rows"])
        for name in ("least squares, seconds", "exact, learned, seconds")
    )
    return (
        f"Least squares take {own:.1f} processor seconds a megapixel, and the exact codec, which learns, {codec:.1f}: "
        f"{100 * own / codec:.0f} %."
    )
