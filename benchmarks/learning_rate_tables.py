"""The table of rates of learning, from results/learning-rate.json."""

from __future__ import annotations

import json
from pathlib import Path

from markdown import table

RESULTS = Path(__file__).parent / "results" / "learning-rate.json"


def learning_rates() -> str:
    """Bits per sub-pixel by folder and rate."""
    found = json.loads(RESULTS.read_text())
    rows = [
        [f"{folder['photographs']} {name}", f"{int(rate) / 1e6:g}", f"{alone:.4f}", f"{folder['row'][rate]:.4f}"]
        for name, folder in found["folders"].items()
        for rate, alone in folder["alone"].items()
    ]
    return table(["photographs", "rate", "bits, each alone", "bits, in a row"], rows)
