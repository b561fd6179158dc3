"""The results of the paper's study, and what the paper has in their places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
KINDS = {"binary": "binary MNIST", "grey": "grey MNIST", "cifar10": "CIFAR-10"}
PAPER_TABLE1 = {
    "binary": {"VAE": 0.200, "0.1": 0.195, "0.2": 0.192, "0.4": 0.191, "0.8": 0.196, "1": 0.201, "ours": 0.187},
    "grey": {"VAE": 1.543, "0.1": 1.527, "0.2": 1.519, "0.4": 1.515, "0.8": 1.545, "1": 1.550, "ours": 1.513},
    "cifar10": {"VAE": 4.592, "0.1": 4.591, "0.2": 4.598, "0.4": 4.614, "0.8": 4.651, "1": 4.667, "ours": 4.572},
}
"""The paper's Table 1, which has no 0.6."""
PAPER_CATCHING_UP = {"binary": (7, 1.167), "cifar10": (8, 0.462)}
"""The paper's Figure 8: the K with which the baseline reaches half-asleep at K = 0, and its extra time to compress."""
HALF_ASLEEP = "reverse half-asleep"
FIGURE3 = ("figure3", "figure3-long")
FIGURE4 = ("figure4", "figure4-short")
Results = dict[str, Any]


def read_file(name: str) -> Results | None:
    """What a file of results holds, None where there is none."""
    path = RESULTS / name
    return dict(json.loads(path.read_text())) if path.exists() else None


def read(name: str) -> Results | None:
    """The results of a script, None where there are none."""
    return read_file(f"study-{name}.json")


def by_kind(figure: str) -> list[tuple[str, Results, Results, str]]:
    """For each kind of pixels that has a figure: what its file says, its results there, and the file's name."""
    found = []
    for pixels in KINDS:
        for name in (f"{figure}-{pixels}", figure):
            file = read(name)
            if file is not None and pixels in file["results"]:
                found.append((pixels, file, file["results"][pixels], name))
                break
        else:
            file = read(pixels)
            if file is not None and figure in file["results"]:
                found.append((pixels, file, file["results"][figure], pixels))
    return found


def show(spread: Results, digits: int = 4) -> str:
    """Mean and, where there is one, sample standard deviation."""
    mean = f"{spread['mean']:.{digits}f}"
    return mean if spread["deviation"] is None else f"{mean} ± {spread['deviation']:.{digits}f}"
