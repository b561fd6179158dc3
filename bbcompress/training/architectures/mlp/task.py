"""What a run of an `mlp` trains: whole grey images of one size."""

from __future__ import annotations

import torch

from bbcompress.errors import TrainingError
from bbcompress.models.base import ModelWeights
from bbcompress.training.architectures.base import DTYPES, Architecture, ImageTask, RunOptions
from bbcompress.training.architectures.mlp.export import export_mlp
from bbcompress.training.architectures.mlp.network import MLPVAE
from bbcompress.training.architectures.mlp.restore import restore_mlp
from bbcompress.training.datasets import Dataset
from bbcompress.training.distributed import ALONE, Share
from bbcompress.training.trainer import seeded_generator


class MLPTask(ImageTask):
    """The paper's MNIST VAE, for grey images of one size."""

    def __init__(self, config: RunOptions, data: Dataset, share: Share = ALONE) -> None:
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

    def restore(self, weights: ModelWeights) -> MLPVAE:
        model = self.build()
        restore_mlp(weights, (model, self.build()))
        return model


def build_mlp(config: RunOptions, shape: tuple[int, int]) -> MLPVAE:
    """The model of a configuration, with the random weights of its seed."""
    generator = seeded_generator(torch.device("cpu"), "weights", config.seed)
    latents = config.latents or (16 if config.binary else 32)
    return MLPVAE((shape[0], shape[1]), latents, config.hidden or 500, config.binary, generator)


def _complete(config: RunOptions) -> None:
    config.latents = config.latents or (16 if config.binary else 32)
    config.hidden = config.hidden or 500


ARCHITECTURE = Architecture("mlp", MLPTask, build_mlp, _complete, export_mlp, fine_tuning={"lr": 1e-4})
