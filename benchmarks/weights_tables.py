"""The tables of other weights of shipped models, from results/weights.json, -through.json and -further.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markdown import table

RESULTS = Path(__file__).parent / "results"


def weights(name: str = "weights") -> str:
    """Means over the photographs, and on how many of them a model is smaller with learning than the first of its name,
    which ends at the comma."""
    found = json.loads((RESULTS / f"{name}.json").read_text())
    lines: list[list[str]] = []
    firsts: dict[str, Any] = {}
    for model, row in found["models"].items():
        means = [f"{sum(row[way]) / len(row[way]):.4f}" for way in ("frozen", "learned")]
        first = firsts.setdefault(model.partition(",")[0], row)
        pairs = list(zip(row["learned"], first["learned"], strict=True))
        smaller = f"{sum(now < then for now, then in pairs)} of {len(pairs)}" if row is not first else ""
        lines.append([model, row["id"], *means, smaller])
    width, height = found["crop"]
    names = ", ".join(Path(name).stem for name in found["photographs"])
    head = ["", "id", "bits, frozen", "bits, learning", "smaller with learning than before"]
    return f"{table(head, lines)}\n\nMiddles of {width} x {height} pixels at most of {names}."
