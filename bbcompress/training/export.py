"""Export of a finished run: torch modules become exact layers, and what that costs is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bbcompress.models.base import ModelWeights
from bbcompress.models.checkpoint import save
from bbcompress.training.architectures.registry import ARCHITECTURES
from bbcompress.training.card import describe_run
from bbcompress.training.finished import load_trained


def export_run(out_dir: str | Path, data_dir: str | None = None) -> ModelWeights:
    """Turn a finished run into an exact checkpoint in the same folder, calibrated, with its card.

    Args:
        data_dir: where mnist or cifar10 lie now; None is where they lay in training.

    Raises:
        ModelError: the run is not finished, or a network cannot be made exact. DataError: its data are gone.
    """
    out = Path(out_dir)
    baseline, rha, config, metrics = load_trained(out)
    config = replace(config, data_dir=data_dir or config.data_dir)
    about: dict[str, Any] = {**describe_run(out, config), "training": metrics}
    weights = ARCHITECTURES[config.architecture].export(out, baseline, rha, config, about)
    save(weights, out)
    return weights
