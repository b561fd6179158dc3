"""The table of other weights of shipped models, from results/weights.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markdown import table

RESULTS = Path(__file__).parent / "results" / "weights.json"


def weights() -> str:
    """Means over the photographs, and on how many of them a model is smaller with learning than the one above it."""
    found = json.loads(RESULTS.read_text())
    lines: list[list[str]] = []
    before: dict[str, Any] | None = None
    for name, row in found["models"].items():
        means = [f"{sum(row[way]) / len(row[way]):.4f}" for way in ("frozen", "learned")]
        pairs: list[tuple[float, float]] = (
            [] if before is None else list(zip(row["learned"], before["learned"], strict=True))
        )
        smaller = f"{sum(now < then for now, then in pairs)} of {len(pairs)}" if name.endswith("now") else ""
        lines.append([name, row["id"], *means, smaller])
        before = row
    width, height = found["crop"]
    names = ", ".join(Path(name).stem for name in found["photographs"])
    head = ["", "id", "bits, frozen", "bits, learning", "smaller with learning than before"]
    return f"{table(head, lines)}\n\nMiddles of {width} x {height} pixels at most of {names}."
