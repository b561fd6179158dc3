"""Export of a finished run: torch modules become exact layers, and what that costs is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bbcompress.models.base import ModelWeights
from bbcompress.models.checkpoint import save
from bbcompress.system.threads import single_blas_thread
from bbcompress.training.architectures.registry import ARCHITECTURES
from bbcompress.training.card import describe_run
from bbcompress.training.datasets import Dataset
from bbcompress.training.finished import load_trained
from bbcompress.training.run import load_for


def export_run(
    out_dir: str | Path, data_dir: str | None = None, dataset: Callable[[], Dataset] | None = None
) -> ModelWeights:
    """Turn a finished run into an exact checkpoint in the same folder, calibrated, with its card.

    Args:
        data_dir: where mnist or cifar10 lie now; None is where they lay in training.
        dataset: gives the run's data, if they are loaded elsewhere.

    Raises:
        ModelError: the run is not finished, or a network cannot be made exact. DataError: its data are gone.
    """
    out = Path(out_dir)
    baseline, rha, config, metrics = load_trained(out)
    config = replace(config, data_dir=data_dir or config.data_dir)
    about: dict[str, Any] = {**describe_run(out, config), "training": metrics}
    data = dataset() if dataset is not None else load_for(config, out, quiet=True)
    with single_blas_thread():
        weights = ARCHITECTURES[config.architecture].export(out, baseline, rha, config, about, data)
    save(weights, out)
    return weights
