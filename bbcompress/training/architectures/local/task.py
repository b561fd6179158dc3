"""What a run of a `local` model trains: tiles of images, of one size or of any."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from bbcompress.errors import TrainingError
from bbcompress.models.base import ModelWeights
from bbcompress.training.architectures.base import (
    DTYPES,
    PHASE_RHA,
    Architecture,
    Criterion,
    RunOptions,
    Task,
)
from bbcompress.training.architectures.local.export import export_local
from bbcompress.training.architectures.local.network import Images, LocalShape, LocalVAE, sample_tiles
from bbcompress.training.architectures.local.objectives import TileELBO, TileHalfAsleep, evaluate_tiles
from bbcompress.training.architectures.local.presets import preset
from bbcompress.training.architectures.local.restore import restore_local
from bbcompress.training.datasets import Dataset
from bbcompress.training.distributed import ALONE, Share
from bbcompress.training.objectives import OBJECTIVES, bits_per_dimension
from bbcompress.training.trainer import seeded_generator

TEST_TILES = 2000
"""About so many held-out tiles of local models are looked at."""
DREAMS = 2048
"""Most tiles that a local model dreams, once, for its half-asleep phase (no more than the data have): pixel by pixel is
too slow for fresh ones."""

LEAST_DREAMS = 16
"""With fewer the half-asleep phase is not begun where time is short."""


class LocalTask(Task):
    """A local model on tiles."""

    def __init__(self, config: RunOptions, data: Dataset, share: Share = ALONE) -> None:
        if config.compile and share.size > 1:
            raise TrainingError("--compile is for training by one process: without torchrun")
        if config.device != "cpu":
            raise TrainingError("local models are trained on the CPU for now: --device cpu")
        self.config = config
        self.share = share
        one_size = not data.any_size
        image = (int(data.shape[0]), int(data.shape[1])) if one_size else None
        channels = 3 if data.channels == 3 else 1
        self.preset = preset(image, channels, data.binary, config.latents, config.hidden, bool(config.fast))
        tile = self.preset.shape.tile
        if not one_size and min(min(image.shape[:2]) for part in (data.train, data.test) for image in part) < tile:
            raise TrainingError(f"images of any size must have {tile} pixels a side at least to be trained on")
        self.images = Images(data.train, tile)
        self.test_images = Images(data.test, tile)
        self.look_at_fewer(TEST_TILES)
        self.data = self.images.tiles
        self.dreams = min(DREAMS, len(self.data))
        self.unit = bits_per_dimension(tile * tile * channels)

    @property
    def shape(self) -> dict[str, Any]:
        return asdict(self.preset.shape)

    def build(self) -> LocalVAE:
        return self._prepared(build_local(self.config, self.shape))

    def _prepared(self, model: LocalVAE) -> LocalVAE:
        model.compute_dtype = DTYPES[self.config.precision]
        if self.config.compile:
            model.compile_likelihood()
        return model

    def restore(self, weights: ModelWeights) -> LocalVAE:
        model, _ = restore_local(weights, self.preset.shape)
        return self._prepared(model)

    def of_both(self, model: LocalVAE) -> Criterion:
        return self.elbo(model)

    def of_encoder(self, model: LocalVAE) -> Criterion:
        share = OBJECTIVES[self.config.objective_in(PHASE_RHA)].share
        if share is None:
            raise TrainingError(f"local models are not trained by {self.config.objective}")
        return self.half_asleep(model, share(self.config))

    def elbo(self, model: LocalVAE) -> Criterion:
        loss = TileELBO(model, self.images, self.preset.samples, self.share)
        return loss, None if self.config.init else loss.set_progress  # a model that knows much has no need to warm up

    def half_asleep(self, model: LocalVAE, alpha: float) -> Criterion:
        generator = seeded_generator(torch.device("cpu"), "dreams", self.config.seed)
        dreams = sample_tiles(model, self.dreams, generator, share=self.share) if alpha else []
        loss = TileHalfAsleep(model, self.images, dreams, self.preset.samples, alpha, self.share)
        return loss, None

    def afford(self, rows: float) -> bool:
        """A dream is drawn pixel by pixel, of a row some pixels are trained on."""
        self.dreams = min(self.dreams, int(rows * self.preset.samples / self.preset.shape.tile**2))
        return self.dreams >= LEAST_DREAMS

    def look_at_fewer(self, rows: int) -> None:
        every = max(1, len(self.test_images.tiles) // rows)
        self.test_images.tiles = self.test_images.tiles[::every]

    def figures(self, model: LocalVAE, samples: int, generator: torch.Generator) -> dict[str, float]:
        pixels = samples * 2 * self.preset.samples
        bpd, kl = evaluate_tiles(model, self.test_images, pixels, generator)
        return {"bpd": bpd, "kl_bpd": kl}


def build_local(config: RunOptions, shape: dict[str, Any]) -> LocalVAE:
    """The model of those sizes, with the random weights of the configuration's seed."""
    generator = seeded_generator(torch.device("cpu"), "weights", config.seed)
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in shape.items()}
    return LocalVAE(LocalShape(**values), generator)


def _complete(config: RunOptions) -> None:
    if not config.decay:
        raise TrainingError("local models need --decay: their objective warms up with the schedule")
    if OBJECTIVES[config.objective].share is None:
        raise TrainingError(f"--objective {config.objective} is for --architecture mlp and resnet")
    if config.samples != "prior":
        raise TrainingError(f"--samples cannot be {config.samples}")


ARCHITECTURE = Architecture(
    "local",
    LocalTask,
    build_local,
    _complete,
    export_local,
    {"decay": True, "lr": 2e-3, "encoder_lr": 5e-4},
    own=("fast",),
    fine_tuning={"lr": 5e-4},
)
