"""The tables of the two gaps, from results/gaps.json."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from markdown import table

RESULTS = Path(__file__).parent / "results" / "gaps.json"


def gaps() -> str:
    """What the paper's models lose from training to test images, and what their files take."""
    found = json.loads(RESULTS.read_text())
    return "\n\n".join([of_elbo(list(found.values())), of_files(list(found.values()))])


def of_elbo(rows: list[dict[str, Any]]) -> str:
    """Negative ELBOs in bits per sub-pixel, and the two gaps between them."""
    return table(
        [
            "",
            "images",
            "training, optimal inference",
            "test, optimal inference",
            "test, encoder",
            "generative gap",
            "inference gap",
        ],
        [
            [
                row["title"],
                str(row["images"]),
                *(f"{row[name]:.4f}" for name in ("train, optimal", "test, optimal", "test, encoder")),
                f"{row['generative gap']:.4f} ± {row['its standard error']:.4f}",
                f"{row['inference gap']:.4f}",
            ]
            for row in rows
        ],
    )


def of_files(rows: list[dict[str, Any]]) -> str:
    """Files, what each thing that is added changes, and which share of the inference gap all but learning win back."""
    names = list(rows[0]["files"])
    lines = []
    for row in rows:
        sizes = [row["files"][name] for name in names]
        changes = [f"{after:.4f} ({after - before:+.4f})" for before, after in pairwise(sizes)]
        closed = (sizes[0] - sizes[-2]) / row["inference gap"]
        lines.append([row["title"], f"{sizes[0]:.4f}", *changes, f"{closed:.0%}"])
    return table(["files", *names, "of the inference gap, won back without learning"], lines)
