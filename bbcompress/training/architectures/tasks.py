"""What a run trains: data, model and objectives of each architecture, behind one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bbcompress.errors import TrainingError
from bbcompress.training.architectures.local import Images, LocalShape, LocalVAE, sample_tiles
from bbcompress.training.architectures.local_objectives import TileELBO, TileHalfAsleep, evaluate_tiles
from bbcompress.training.architectures.local_presets import preset
from bbcompress.training.architectures.mlp import MLPVAE
from bbcompress.training.architectures.resnet import STRIDE, ResNetShape, ResNetVAE
from bbcompress.training.datasets import Dataset
from bbcompress.training.distributed import ALONE, Share
from bbcompress.training.objectives import (
    DENOISING,
    ELBO,
    REVERSE_SLEEP,
    SLEEP,
    WAKE_SLEEP,
    ImageVAE,
    bits_per_dimension,
    denoising,
    evaluate,
    negative_elbo,
    reverse_half_asleep,
    sleep,
    wake_sleep,
)
from bbcompress.training.trainer import Loss, seeded_generator

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
TEST_TILES = 2000
"""About so many held-out tiles of local models are looked at."""
DREAMS = 2048
"""Most tiles that a local model dreams, once, for its half-asleep phase (no more than the data have): pixel by pixel is
too slow for fresh ones."""

ALPHAS = {ELBO: 0.0, REVERSE_SLEEP: 1.0}
"""Objectives that are reverse half-asleep ones of a fixed alpha."""

Objective = tuple[Loss, Callable[[float], None] | None]
"""A loss, and what has to be told the training's progress before each step."""


class Task(ABC):
    """What a run trains, on one of several processes or the only one.

    config: the run's `TrainingConfig`. data: the rows that a trainer shuffles. unit: from nats of a loss to bits per
    dimension.
    """

    config: Any
    data: Tensor
    unit: float

    @property
    @abstractmethod
    def shape(self) -> Any:
        """What a checkpoint says of the model's sizes, a plain value."""

    @abstractmethod
    def build(self) -> Any:
        """A model with random weights: a module with `encoder` and `generative` parts."""

    def of_both(self, model: Any) -> Objective:
        """The objective of phase vae: the ELBO, unless the run's is wake-sleep."""
        return self.elbo(model)

    def of_encoder(self, model: Any) -> Objective:
        """The objective of phase rha: the run's, after wake-sleep reverse half-asleep; the caller has frozen the
        generative part."""
        return self.half_asleep(model, ALPHAS.get(self.config.objective, self.config.alpha))

    @abstractmethod
    def elbo(self, model: Any) -> Objective:
        """The ELBO, for both networks."""

    @abstractmethod
    def half_asleep(self, model: Any, alpha: float) -> Objective:
        """Reverse half-asleep inference, for the encoder."""

    @abstractmethod
    def figures(self, model: Any, samples: int, generator: torch.Generator) -> dict[str, float]:
        """Bits per dimension of the held-out images: `bpd`, perhaps parts of it."""


class ImageTask(Task):
    """A VAE of whole images on rows of their sub-pixels."""

    def __init__(self, config: Any, data: Dataset, share: Share) -> None:
        self.config = config
        self.share = share
        self.data, self.test_data = (_rows(pixels, config.device) for pixels in (data.train, data.test))
        self.unit = bits_per_dimension(self.data.shape[1])

    @property
    def _aggregate(self) -> bool:
        return bool(self.config.samples == "aggregate")

    def of_both(self, model: Any) -> Objective:
        if self.config.objective != WAKE_SLEEP:
            return self.elbo(model)
        model.train()
        return partial(wake_sleep, model, aggregate=self._aggregate, share=self.share), None

    def of_encoder(self, model: Any) -> Objective:
        model.eval()  # as in half_asleep
        if self.config.objective == SLEEP:
            return partial(sleep, model, aggregate=self._aggregate, share=self.share), None
        if self.config.objective == DENOISING:
            alpha, sigma = self.config.alpha, self.config.sigma
            return partial(denoising, model, alpha=alpha, sigma=sigma, share=self.share), None
        return super().of_encoder(model)

    def elbo(self, model: Any) -> Objective:
        model.train()
        return partial(negative_elbo, model, share=self.share), None

    def half_asleep(self, model: Any, alpha: float) -> Objective:
        model.eval()  # the statistics of batch norm are those of the data, not of a mixture with dreams
        return partial(reverse_half_asleep, model, alpha=alpha, aggregate=self._aggregate, share=self.share), None

    def figures(self, model: ImageVAE, samples: int, generator: torch.Generator) -> dict[str, float]:
        return {"bpd": evaluate(model, self.test_data, samples, generator)}


class MLPTask(ImageTask):
    """The paper's MNIST VAE, for grey images of one size."""

    def __init__(self, config: Any, data: Dataset, share: Share = ALONE) -> None:
        if data.any_size or data.channels != 1:
            raise TrainingError("the mlp is for grey images of one size; others need --architecture local")
        super().__init__(config, data, share)
        self._shape = (int(data.shape[0]), int(data.shape[1]))

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def build(self) -> MLPVAE:
        model = build_mlp(self.config, self._shape)
        model.compute_dtype = DTYPES[self.config.precision]
        return model.to(self.config.device)


class ResNetTask(ImageTask):
    """The paper's CIFAR-10 VAE, for colour images of one size."""

    def __init__(self, config: Any, data: Dataset, share: Share = ALONE) -> None:
        if data.any_size or data.channels != 3:
            raise TrainingError("the resnet is for colour images of one size; others need --architecture local")
        height, width = data.shape[:2]
        if height % STRIDE or width % STRIDE:
            raise TrainingError(f"the resnet needs images whose sides are multiples of {STRIDE}")
        if config.compile and share.size > 1:  # what it makes of a batch norm that talks to others aborts
            raise TrainingError("--compile is for training by one process: without torchrun")
        super().__init__(config, data, share)
        self._shape = ResNetShape((int(height), int(width)), config.hidden, config.latents, config.blocks)

    @property
    def shape(self) -> dict[str, Any]:
        return asdict(self._shape)

    def build(self) -> ResNetVAE:
        model = build_resnet(self.shape, self.config.seed)
        model.compute_dtype = DTYPES[self.config.precision]
        if self.config.compile:
            model.compile_networks()
        return model.to(self.config.device)


class LocalTask(Task):
    """A local model on tiles."""

    def __init__(self, config: Any, data: Dataset, share: Share = ALONE) -> None:
        if share.size > 1:
            raise TrainingError("local models are trained by one process: without torchrun")
        if config.device != "cpu":
            raise TrainingError("local models are trained on the CPU for now: --device cpu")
        self.config = config
        one_size = not data.any_size
        image = (int(data.shape[0]), int(data.shape[1])) if one_size else None
        channels = 3 if data.channels == 3 else 1
        self.preset = preset(image, channels, data.binary, config.latents, config.hidden)
        tile = self.preset.shape.tile
        if not one_size and min(min(image.shape[:2]) for image in (*data.train, *data.test)) < tile:
            raise TrainingError(f"images of any size must have {tile} pixels a side at least to be trained on")
        self.images = Images(_with_channels(data.train, channels), tile)
        self.test_images = Images(_with_channels(data.test, channels), tile)
        every = max(1, len(self.test_images.tiles) // TEST_TILES)
        self.test_images.tiles = self.test_images.tiles[::every]
        self.data = self.images.tiles
        self.unit = bits_per_dimension(tile * tile * channels)

    @property
    def shape(self) -> dict[str, Any]:
        return asdict(self.preset.shape)

    def build(self) -> LocalVAE:
        model = build_local(self.shape, self.config.seed)
        model.compute_dtype = DTYPES[self.config.precision]
        if self.config.compile:
            model.compile_likelihood()
        return model

    def elbo(self, model: LocalVAE) -> Objective:
        loss = TileELBO(model, self.images, self.preset.samples)
        return loss, loss.set_progress

    def half_asleep(self, model: LocalVAE, alpha: float) -> Objective:
        generator = seeded_generator(torch.device("cpu"), "dreams", self.config.seed)
        dreams = sample_tiles(model, min(DREAMS, len(self.data)), generator) if alpha else []
        loss = TileHalfAsleep(model, self.images, dreams, self.preset.samples, alpha)
        return loss, None

    def figures(self, model: LocalVAE, samples: int, generator: torch.Generator) -> dict[str, float]:
        pixels = samples * 2 * self.preset.samples
        bpd, kl = evaluate_tiles(model, self.test_images, pixels, generator)
        return {"bpd": bpd, "kl_bpd": kl}


def _rows(pixels: Any, device: str) -> Tensor:
    """Images as rows of their sub-pixels, on the device."""
    return torch.from_numpy(pixels.reshape(len(pixels), -1).copy()).to(device)


def _with_channels(images: Any, channels: int) -> list[Any]:
    """Each image as (H, W, C)."""
    return [image.reshape(*image.shape[:2], channels) for image in images]


TASKS: dict[str, Callable[[Any, Dataset, Share], Task]] = {"mlp": MLPTask, "resnet": ResNetTask, "local": LocalTask}


def build_mlp(config: Any, shape: tuple[int, int]) -> MLPVAE:
    """The model of a configuration, with the random weights of its seed."""
    generator = seeded_generator(torch.device("cpu"), "weights", config.seed)
    latents = config.latents or (16 if config.binary else 32)
    return MLPVAE((shape[0], shape[1]), latents, config.hidden or 500, config.binary, generator)


def build_resnet(shape: dict[str, Any], seed: int) -> ResNetVAE:
    """The model of those sizes, with the random weights of the seed."""
    height, width = shape["image"]
    generator = seeded_generator(torch.device("cpu"), "weights", seed)
    return ResNetVAE(ResNetShape(**{**shape, "image": (height, width)}), generator)


def build_local(shape: dict[str, Any], seed: int) -> LocalVAE:
    """The model of those sizes, with the random weights of the seed."""
    generator = seeded_generator(torch.device("cpu"), "weights", seed)
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in shape.items()}
    return LocalVAE(LocalShape(**values), generator)
