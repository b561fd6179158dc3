"""What a run needs to know of an architecture: its options, the model, and what it is trained on and by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bbcompress.errors import TrainingError
from bbcompress.models.base import ModelWeights
from bbcompress.training.datasets import Dataset
from bbcompress.training.distributed import Share
from bbcompress.training.objectives import (
    ELBO,
    OBJECTIVES,
    ImageVAE,
    bits_per_dimension,
    evaluate,
    half_asleep_loss,
)
from bbcompress.training.trainer import Loss

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Of matrix products."""

PHASE_VAE = "vae"
PHASE_RHA = "rha"
"""Phases of a run: both networks, then a second encoder for the decoder, which is frozen."""

Criterion = tuple[Loss, Callable[[float], None] | None]
"""A loss, and what has to be told the training's progress before each step."""


class RunOptions(Protocol):
    """The options of a run that architectures read; those of `TrainingConfig`."""

    name: str
    data: str
    data_dir: str
    any_size: bool
    grey: bool
    leave_out: bool
    minutes: float | None
    binary: bool
    latents: int | None
    hidden: int | None
    blocks: int | None
    norm: str | None
    fast: bool | None
    objective: str
    samples: str
    alpha: float | None
    sigma: float | None
    init: str
    decay: bool
    compile: bool
    precision: str
    seed: int
    device: str

    def objective_in(self, phase: str) -> str: ...


class Task(ABC):
    """What a run trains, on one of several processes or the only one.

    Attributes:
        config: the options of the run.
        data: the rows that a trainer shuffles.
        unit: from nats of a loss to bits per dimension.
    """

    config: RunOptions
    data: Tensor
    unit: float

    @property
    @abstractmethod
    def shape(self) -> Any:
        """What a checkpoint says of the model's sizes, a plain value."""

    @abstractmethod
    def build(self) -> Any:
        """A model with random weights: a module with `encoder` and `generative` parts."""

    def restore(self, weights: ModelWeights) -> Any:
        """The model of exact weights, its encoder `baseline`.

        Raises:
            TrainingError: the architecture has no such way, or the model is another than what the run trains.
        """
        raise TrainingError("models of this architecture cannot be trained further")

    @abstractmethod
    def of_both(self, model: Any) -> Criterion:
        """The loss of phase vae: the ELBO, unless the run's objective trains both networks."""

    @abstractmethod
    def of_encoder(self, model: Any) -> Criterion:
        """The loss of phase rha: that of the run's objective, after wake-sleep reverse half-asleep; the caller has
        frozen the generative part."""

    @abstractmethod
    def elbo(self, model: Any) -> Criterion:
        """The ELBO, for both networks."""

    @abstractmethod
    def half_asleep(self, model: Any, alpha: float) -> Criterion:
        """Reverse half-asleep inference, for the encoder."""

    def afford(self, rows: float) -> bool:
        """Whether phase rha is worth beginning, and how much it prepares: the time of so many rows of a training may
        go into that. What is prepared for it otherwise takes as long as it takes."""
        return rows >= 1

    def look_at_fewer(self, rows: int) -> None:  # noqa: B027
        """Take figures of about so many held-out rows, where there are more."""

    @abstractmethod
    def figures(self, model: Any, samples: int, generator: torch.Generator) -> dict[str, float]:
        """Bits per dimension of the held-out images: `bpd`, perhaps parts of it."""


@dataclass(frozen=True)
class Architecture:
    """An architecture as a run knows it.

    name: that on the command line.
    task: what a run of it trains, from the run's options, its data and the process's share.
    build: a model with the random weights of the run's seed, from the run's options and what a checkpoint says of the
        sizes.
    complete: fills in the options that follow from others. It raises TrainingError for what the architecture lacks.
    export: the exact model of a finished run, calibrated, with its card: from the run's directory, its model with the
        encoders `baseline` and `rha`, its options, what the card says beside figures, and
        its data.
    defaults: the options whose defaults differ from those of `TrainingConfig`.
    own: the options that only some architectures have, of those that this one has.
    optimal_lr: the learning rate of optimal inference (`bbc evaluate --optimal`).
    fine_tuning: what of these defaults is otherwise in a run that begins with a model.
    earlier: what runs had that were made before there were these options.
    """

    name: str
    task: Callable[[Any, Dataset, Share], Task]
    build: Callable[[Any, Any], Any]
    complete: Callable[[RunOptions], None]
    export: Callable[[Path, Any, Any, Any, dict[str, Any], Dataset], ModelWeights]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    own: tuple[str, ...] = ()
    optimal_lr: float = 5e-4
    fine_tuning: Mapping[str, Any] = field(default_factory=dict)
    earlier: Mapping[str, Any] = field(default_factory=dict)


class ImageTask(Task):
    """A VAE of whole images on rows of their sub-pixels."""

    def __init__(self, config: RunOptions, data: Dataset, share: Share) -> None:
        self.config = config
        self.share = share
        self.data, self.test_data = (_rows(pixels, config.device) for pixels in (data.train, data.test))
        self.unit = bits_per_dimension(self.data.shape[1])

    def of_both(self, model: Any) -> Criterion:
        model.train()
        return self._loss(model, PHASE_VAE)

    def of_encoder(self, model: Any) -> Criterion:
        model.eval()  # as in half_asleep
        return self._loss(model, PHASE_RHA)

    def _loss(self, model: Any, phase: str) -> Criterion:
        return OBJECTIVES[self.config.objective_in(phase)].loss(model, self.config, self.share), None

    def elbo(self, model: Any) -> Criterion:
        model.train()
        return OBJECTIVES[ELBO].loss(model, self.config, self.share), None

    def half_asleep(self, model: Any, alpha: float) -> Criterion:
        model.eval()  # the statistics of batch norm are those of the data, not of a mixture with dreams
        return half_asleep_loss(model, alpha, self.config, self.share), None

    def figures(self, model: ImageVAE, samples: int, generator: torch.Generator) -> dict[str, float]:
        return {"bpd": evaluate(model, self.test_data, samples, generator)}


def run_network(network: nn.Module, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """A network's outputs, float32, with its matrix products in `dtype`."""
    if dtype == torch.float32:
        return network(inputs)  # type: ignore[no-any-return]
    with torch.autocast(inputs.device.type, dtype=dtype, cache_enabled=False):
        outputs: Tensor = network(inputs)
    return outputs.float()


def _rows(pixels: Any, device: str) -> Tensor:
    """Images as rows of their sub-pixels, on the device."""
    return torch.from_numpy(pixels.reshape(len(pixels), -1).copy()).to(device)
