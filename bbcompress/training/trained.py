"""A trained model and images to evaluate it on, from the checkpoint of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bbcompress.errors import ModelError, TrainingError
from bbcompress.training.architectures.base import PHASE_RHA, PHASE_VAE
from bbcompress.training.architectures.local.network import Images, LocalVAE, crops
from bbcompress.training.architectures.local.task import TEST_TILES, LocalTask
from bbcompress.training.architectures.registry import ARCHITECTURES
from bbcompress.training.checkpoints.checkpoint import load_checkpoint
from bbcompress.training.config import TrainingConfig, config_from_dict
from bbcompress.training.datasets import Dataset
from bbcompress.training.distributed import ALONE
from bbcompress.training.finished import checkpoint_in
from bbcompress.training.pixels import PackedImages
from bbcompress.training.run import load_for, refuse_device
from bbcompress.training.trainer import copy_all, weights_of

BASELINE, RHA = "baseline", "rha"
FINISHED = "finished"
PIXELS_AT_ONCE = 1 << 16  # of a local model


class Observation(Protocol):
    """p(x|z), as far as bounds need it."""

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """log p(x|z) in nats, (B,), for what decode(z) gave and x (B, ...)."""


class TrainedVAE(Protocol):
    """What is evaluated: an `ImageVAE`, or a local model as `TileVAE`; x are rows that its likelihood understands."""

    latents: int
    dimensions: int

    @property
    def compute_dtype(self) -> torch.dtype: ...
    @compute_dtype.setter
    def compute_dtype(self, dtype: torch.dtype) -> None: ...
    @property
    def training(self) -> bool: ...
    @property
    def likelihood(self) -> Observation: ...
    @property
    def encoder(self) -> nn.Module: ...
    @property
    def generative(self) -> nn.Module: ...
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]: ...
    def decode(self, z: Tensor) -> Tensor: ...
    def train(self, mode: bool = True) -> object: ...


# --- Local models --------------------------------------------------------------------------------


class TileVAE:
    """A local model as a VAE of whole tiles: x are rows of `images.tiles`, (B, 3), the likelihood is that of all their
    pixels given what each one's neighbourhood holds."""

    def __init__(self, model: LocalVAE, images: Images) -> None:
        self.model = model
        self.images = images
        self.latents = model.latents
        self.dimensions = model.shape.tile**2 * model.shape.channels

    @property
    def compute_dtype(self) -> torch.dtype:
        """That of the model's matrix products."""
        return self.model.compute_dtype

    @compute_dtype.setter
    def compute_dtype(self, dtype: torch.dtype) -> None:
        self.model.compute_dtype = dtype

    @property
    def training(self) -> bool:
        """The module's mode."""
        return self.model.training

    def train(self, mode: bool = True) -> object:
        """Set the module's mode."""
        return self.model.train(mode)

    @property
    def encoder(self) -> nn.Module:
        """What only the posterior needs."""
        return self.model.encoder

    @property
    def generative(self) -> nn.Module:
        """What p(x|z) needs."""
        return self.model.generative

    @property
    def likelihood(self) -> Observation:
        """This object: p(x|z) depends on the images around the tiles."""
        return self

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z|x), (B, Z) both, for tiles x (B, 3)."""
        tile = self.model.shape.tile
        return self.model.encode(crops(self.images, *self.images.locate(x, tile, None), tile))

    def decode(self, z: Tensor) -> Tensor:
        """The features of z (B, Z): (B, cells^2, features)."""
        return self.model.features(z)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """log p(x|z) in nats, (B,), for features (B, cells^2, features) and tiles x (B, 3)."""
        at_once = max(1, PIXELS_AT_ONCE // self.model.shape.tile**2)
        starts = range(0, len(x), at_once)
        return torch.cat([self._log_prob(params[i : i + at_once], x[i : i + at_once]) for i in starts])

    def _log_prob(self, features: Tensor, rows: Tensor) -> Tensor:
        shape = self.model.shape
        number, y, x = self.images.locate(rows, shape.tile, None)
        pixel = torch.arange(shape.tile**2)
        dy, dx = pixel // shape.tile, pixel % shape.tile
        cell = (dy // shape.cell) * shape.cells + dx // shape.cell
        context, references, levels = self.model.gather(
            self.images,
            number.repeat_interleave(len(pixel)),
            (y[:, None] + dy).flatten(),
            (x[:, None] + dx).flatten(),
            shape,
        )
        log_p = self.model.log_likelihood(context, references, levels, features[:, cell].flatten(0, 1))
        return log_p.view(len(rows), -1).sum(1)


# --- Runs -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainedRun:
    """A checkpoint of a run, and images.

    Attributes:
        models: by encoder, `baseline` and, where there is one, `rha`, with the same decoder.
        phase: `vae` or `rha`, in which the checkpoint was written, or `finished`.
        epoch: of that phase.
        train, test: rows for the models.
    """

    checkpoint: Path
    config: TrainingConfig
    phase: str
    epoch: int
    models: dict[str, TrainedVAE]
    data: str
    train: Tensor
    test: Tensor


def open_run(
    path: str | Path,
    *,
    data: str | None = None,
    data_dir: str | None = None,
    images: int | None = None,
    device: str = "cpu",
    quiet: bool = False,
    dataset: Dataset | None = None,
) -> TrainedRun:
    """The models of a run and images for them, on the device.

    Args:
        path: the directory of a run, or a checkpoint in it, be it one within phase `vae`.
        data, data_dir: None is the run's own.
        dataset: these data, if they are loaded already.
        images: at most so many of each part, the first ones.

    Raises:
        ModelError: there is no checkpoint of a run.
        DataError: the images cannot be read.
        TrainingError: the images are of another size.
    """
    checkpoint = checkpoint_in(Path(path))
    state = load_checkpoint(checkpoint)
    try:
        config = config_from_dict(state["config"], checkpoint)
        phase = str(state.get("phase", FINISHED))
        epoch = int(state["trainer"]["epoch"]) if "trainer" in state else config.epochs
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(checkpoint) from error
    refuse_device(device)
    here = replace(
        config, data=data or config.data, data_dir=data_dir or config.data_dir, device=device,
        precision="float32", compile=False,
    )  # fmt: skip
    dataset = dataset or load_for(here, checkpoint.parent, quiet)
    task: Any = ARCHITECTURES[here.architecture].task(here, dataset, ALONE)
    if json.dumps(task.shape) != json.dumps(state.get("shape")):
        raise TrainingError(f"{checkpoint}: was trained on images of another size than those of {here.data}")
    built = task.build(), task.build()
    try:
        networks = _networks(state, *built)
    except (KeyError, TypeError, AttributeError, RuntimeError, ModelError) as error:
        raise _damaged(checkpoint) from error
    for network in networks.values():
        network.eval().requires_grad_(False)
    models: dict[str, TrainedVAE] = networks
    if isinstance(task, LocalTask):
        pictures, train, test = _tiles(dataset, task)
        models = {name: TileVAE(network, pictures) for name, network in networks.items()}
    else:
        train, test = task.data, task.test_data
    return TrainedRun(checkpoint, config, phase, epoch, models, here.data, train[:images], test[:images])


def _damaged(checkpoint: Path) -> ModelError:
    return ModelError(f"{checkpoint}: not a training checkpoint of this version, or a damaged one")


def _networks(state: dict[str, Any], baseline: Any, rha: Any) -> dict[str, Any]:
    """Fill modules with the networks of a checkpoint, averaged weights where there are such; gives those that it has,
    by encoder."""
    if "decoder" in state:
        for model, encoder in ((baseline, BASELINE), (rha, RHA)):
            model.generative.load_state_dict(state["decoder"])
            model.encoder.load_state_dict(state[encoder])
        return {BASELINE: baseline, RHA: rha}
    learnt = state["trainer"]["averages"] or state["trainer"]["parameters"]
    if state["phase"] == PHASE_VAE:
        copy_all(weights_of(baseline), learnt)
        return {BASELINE: baseline}
    if state["phase"] != PHASE_RHA:
        raise KeyError(state["phase"])
    for model in (baseline, rha):
        model.load_state_dict(state["baseline"])
    copy_all(weights_of(rha.encoder), learnt)
    return {BASELINE: baseline, RHA: rha}


def _tiles(data: Dataset, task: LocalTask) -> tuple[Images, Tensor, Tensor]:
    """All images, and rows of `tiles` of training and test images: some 2000 each at most, evenly from all."""
    if isinstance(data.train, PackedImages) and isinstance(data.test, PackedImages):
        images = Images(data.train + data.test, task.preset.shape.tile)
    else:
        images = Images([*data.train, *data.test], task.preset.shape.tile)
    of_train = images.tiles[:, 0] < len(data.train)
    train, test = (_thinned(images.tiles[chosen]) for chosen in (of_train, ~of_train))
    return images, train, test


def _thinned(tiles: Tensor) -> Tensor:
    return tiles[:: max(1, len(tiles) // TEST_TILES)]
