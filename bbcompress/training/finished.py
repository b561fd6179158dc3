"""Runs on the disk: which checkpoint is meant, its options, and what a finished run holds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from bbcompress.errors import ModelError
from bbcompress.training.architectures.registry import ARCHITECTURES
from bbcompress.training.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from bbcompress.training.checkpoints.log import save_json
from bbcompress.training.config import TrainingConfig, config_from_dict

FORMAT = 1
CHECKPOINTS = ("training.pt", "checkpoint.pt")
"""Of a run that is finished, and of one that is not."""
EXPORTED = "model.safetensors"


def stored_config(run: Path) -> TrainingConfig:
    """The configuration of a run: a directory or a checkpoint in it.

    Raises:
        ModelError: a model is missing or damaged.
        TrainingError: the options do not fit each other.
    """
    path = checkpoint_in(run)
    return config_from_dict(load_checkpoint(path)["config"], path)


def checkpoint_in(path: Path) -> Path:
    """The checkpoint meant by a file or the directory of a run.

    Raises:
        ModelError: a model is missing or damaged.
    """
    found = next((path / name for name in CHECKPOINTS if (path / name).exists()), None) if path.is_dir() else path
    if found is not None and found.name != EXPORTED:
        return found
    if (path / EXPORTED).exists() or path.name == EXPORTED:
        raise ModelError(
            f"{path}: an exported model, whose networks are of integers, not those that were trained: give the "
            "directory of its training run, which holds training.pt, or measure the model with bbc bench"
        )
    raise ModelError(f"{path}: holds no training checkpoint")


def load_trained(out_dir: str | Path) -> tuple[Any, Any, TrainingConfig, dict[str, Any]]:
    """A finished run: the model with the baseline encoder, that with the rha encoder, options and figures.

    Both models have the same decoder, float32 on the CPU.

    Raises:
        ModelError: a model is missing or damaged.
    """
    path = Path(out_dir) / "training.pt"
    state = load_checkpoint(path)
    config = config_from_dict(state["config"], path)
    models = []
    for encoder in ("baseline", "rha"):
        model = ARCHITECTURES[config.architecture].build(config, state["shape"])
        model.generative.load_state_dict(state["decoder"])
        model.encoder.load_state_dict(state[encoder])
        models.append(model.eval().requires_grad_(False))
    return models[0], models[1], config, dict(state["metrics"])


def state_of(
    config: TrainingConfig,
    source: str,
    shape: Any,
    seconds: dict[str, float],
    origin: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What every checkpoint of a run says.

    Args:
        source: the checkpoint that its decoder is from, or nothing.
        origin: the facts of the model that it began with (`Origin`), where there is one.
    """
    state = {"format": FORMAT, "config": asdict(config), "source": source, "shape": shape, "seconds": seconds}
    return state if origin is None else {**state, "origin": origin}


def save_finished(
    out: Path,
    config: TrainingConfig,
    source: str,
    shape: Any,
    networks: dict[str, dict[str, Tensor]],
    metrics: dict[str, Any],
    seconds: dict[str, float],
    origin: dict[str, Any] | None = None,
) -> None:
    """Write metrics.json and training.pt of a finished run.

    Args:
        networks: the weights of `decoder`, `baseline`, `rha`.
    """
    save_json(metrics, out / "metrics.json")
    state = {**state_of(config, source, shape, seconds, origin), **networks, "metrics": metrics}
    save_checkpoint(state, out / "training.pt", config.part_size)
