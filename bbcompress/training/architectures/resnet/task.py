"""What a run of a `resnet` trains: whole colour images of one size."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from bbcompress.errors import TrainingError
from bbcompress.models.base import ModelWeights
from bbcompress.training.architectures.base import DTYPES, Architecture, ImageTask, RunOptions
from bbcompress.training.architectures.resnet.export import export_resnet
from bbcompress.training.architectures.resnet.network import BATCH, CLAMPED, NORMS, STRIDE, ResNetShape, ResNetVAE
from bbcompress.training.architectures.resnet.restore import restore_resnet, take_statistics
from bbcompress.training.datasets import Dataset
from bbcompress.training.distributed import ALONE, Share
from bbcompress.training.trainer import seeded_generator


class ResNetTask(ImageTask):
    """The paper's CIFAR-10 VAE, for colour images of one size."""

    def __init__(self, config: RunOptions, data: Dataset, share: Share = ALONE) -> None:
        if data.any_size or data.channels != 3:
            raise TrainingError("the resnet is for colour images of one size; others need --architecture local")
        height, width = data.shape[:2]
        if height % STRIDE or width % STRIDE:
            raise TrainingError(f"the resnet needs images whose sides are multiples of {STRIDE}")
        if config.compile and share.size > 1:  # what it makes of a batch norm that talks to others aborts
            raise TrainingError("--compile is for training by one process: without torchrun")
        super().__init__(config, data, share)
        self._shape = ResNetShape(
            (int(height), int(width)), config.hidden or 0, config.latents or 0, config.blocks or 0
        )

    @property
    def shape(self) -> dict[str, Any]:
        return asdict(self._shape)

    def build(self) -> ResNetVAE:
        model = build_resnet(self.config, self.shape)
        model.compute_dtype = DTYPES[self.config.precision]
        if self.config.compile:
            model.compile_networks()
        return model.to(self.config.device)

    def restore(self, weights: ModelWeights) -> ResNetVAE:
        model = self.build()
        restore_resnet(weights, (model, self.build()), self.config.norm or CLAMPED)
        take_statistics(model, self.data, seeded_generator(self.data.device, "statistics", self.config.seed))
        return model


def build_resnet(config: RunOptions, shape: dict[str, Any]) -> ResNetVAE:
    """The model of those sizes, with the random weights of the configuration's seed."""
    height, width = shape["image"]
    generator = seeded_generator(torch.device("cpu"), "weights", config.seed)
    return ResNetVAE(ResNetShape(**{**shape, "image": (height, width)}), generator, config.norm or CLAMPED)


def _complete(config: RunOptions) -> None:
    config.latents, config.hidden, config.blocks = config.latents or 4, config.hidden or 256, config.blocks or 2
    config.norm = config.norm or CLAMPED
    if config.norm not in NORMS:
        raise TrainingError(f"--norm cannot be {config.norm}, but {' or '.join(NORMS)}")


PAPER = {
    "data": "cifar10",
    "epochs": 500,
    "lr": 5e-4,
    "encoder_lr": 1e-5,
    "samples": "aggregate",
    "keep_every": 100,
}
"""The schedule of the paper."""

ARCHITECTURE = Architecture(
    "resnet", ResNetTask, build_resnet, _complete, export_resnet, PAPER, ("blocks", "norm"), optimal_lr=1e-5,
    fine_tuning={"lr": 1e-4}, earlier={"norm": BATCH},
)  # fmt: skip
