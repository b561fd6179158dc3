"""The options of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bbcompress.errors import ModelError, TrainingError
from bbcompress.training.architectures.base import DTYPES, PHASE_VAE
from bbcompress.training.architectures.registry import ARCHITECTURES
from bbcompress.training.objectives import ELBO, OBJECTIVES, REVERSE_HALF_ASLEEP

NOT_STATED = "not stated"
SAMPLES = ("prior", "aggregate")
OBJECTIVE_OPTIONS = ("alpha", "sigma")
"""Options that only some objectives have."""
OF_DECODER = (
    "architecture",
    "data",
    "binary",
    "any_size",
    "grey",
    "leave_out",
    "latents",
    "hidden",
    "blocks",
    "norm",
    "fast",
)
"""What a run with `--from` takes from the earlier run."""


@dataclass
class TrainingConfig:
    """The options of a training run.

    Attributes:
        architecture: `mlp` or `resnet` (the paper's) or `local`.
        data: `mnist`, `cifar10` or a directory.
        any_size, grey: of a directory's images, see `load`.
        latents: None is 16, but 32 for an mlp of grey images, and 4 channels for a resnet.
        hidden: None is 500 for an mlp, 256 channels for a resnet and the preset's width for a local model.
        blocks: residual blocks in each network of a resnet, None is 2.
        fast: of a local model for images of any size, whether it has a third of the products or less.
        norm: of a resnet, `batch` or, as None is, `clamped`: batch norm whose ReLUs end at 8.
        objective: one of `OBJECTIVES`, of phase rha, but wake-sleep is of phase vae.
        samples: where the z of model samples come from, `prior` or `aggregate`, the posteriors of training images.
        alpha: share of model samples (of wake-sleep in phase rha), or of noisy images in denoising, None is 0.5.
        sigma: of the noise in denoising, for pixels scaled to [0, 1], None is 0.1; both are None where the objective
            does not have them.
        keep_every: after so many epochs of phase vae a copy of the checkpoint is kept, 0 is never.
        part_size: most MiB in each part of a checkpoint, 0 is one file.
        average: decay a step of the averaged weights, 0 is off.
        init: the model that the run begins with, a name or a folder; empty for random weights.
        decay: let the learning rates fall to nothing, which local models need.
        compile: use torch.compile.
        threads: None leaves torch's choice.
        minutes: how long the run may take, in place of epochs; None is as many epochs as are asked for.
        leave_out: leave out images of a directory that cannot be used, and name them.
        evaluate_every: epochs, 0 is never.
        licence: of the model, as its card says it.
    """

    architecture: str = "mlp"
    data: str = "mnist"
    data_dir: str = "data"
    binary: bool = False
    any_size: bool = False
    grey: bool = False
    latents: int | None = None
    hidden: int | None = None
    blocks: int | None = None
    norm: str | None = None
    fast: bool | None = None
    objective: str = REVERSE_HALF_ASLEEP
    samples: str = "prior"
    alpha: float | None = None
    sigma: float | None = None
    epochs: int = 100
    encoder_epochs: int = 100
    lr: float = 3e-4
    encoder_lr: float = 3e-4
    batch: int = 100
    average: float = 0.999
    init: str = ""
    decay: bool = False
    compile: bool = False
    precision: str = "float32"
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None
    evaluate_every: int = 5
    keep_every: int = 0
    part_size: int = 0
    minutes: float | None = None
    leave_out: bool = False
    name: str = ""
    licence: str = NOT_STATED

    def __post_init__(self) -> None:
        """Fill in what follows from the rest.

        Raises:
            TrainingError: a value makes no sense.
        """
        if self.architecture not in ARCHITECTURES:
            raise TrainingError(f"--architecture cannot be {self.architecture}")
        if self.objective not in OBJECTIVES:
            raise TrainingError(f"--objective cannot be {self.objective}")
        self._refuse_options_of_others()
        ARCHITECTURES[self.architecture].complete(self)
        self._complete_objective()
        wrong = [
            name
            for name, right in {
                "latents": self.latents is None or self.latents >= 1,
                "hidden": self.hidden is None or self.hidden >= 1,
                "blocks": self.blocks is None or self.blocks >= 1,
                "samples": self.samples in SAMPLES,
                "keep_every": self.keep_every >= 0,
                "part_size": self.part_size >= 0,
                "alpha": self.alpha is None or 0 <= self.alpha <= 1,
                "sigma": self.sigma is None or 0 <= self.sigma < math.inf,
                "epochs": self.epochs >= 0,
                "encoder_epochs": self.encoder_epochs >= 0,
                "minutes": self.minutes is None or 0 < self.minutes < math.inf,
                "lr": self.lr > 0,
                "encoder_lr": self.encoder_lr > 0,
                "batch": self.batch >= 1,
                "average": 0 <= self.average < 1,
                "precision": self.precision in DTYPES,
                "threads": self.threads is None or self.threads >= 1,
            }.items()
            if not right
        ]
        if wrong:
            raise TrainingError(f"{option(wrong[0])} cannot be {getattr(self, wrong[0])}")

    def _refuse_options_of_others(self) -> None:
        """Raises TrainingError for an option that only other architectures have."""
        own = ARCHITECTURES[self.architecture].own
        for other in ARCHITECTURES.values():
            for name in other.own:
                if name not in own and getattr(self, name) is not None:
                    raise TrainingError(f"{option(name)} is for --architecture {other.name}")

    def _complete_objective(self) -> None:
        """Fill in the options that the objective has.

        Raises:
            TrainingError: an option is one of another objective.
        """
        usual = OBJECTIVES[self.objective].options
        for name in OBJECTIVE_OPTIONS:
            if name not in usual:
                if getattr(self, name) is not None:
                    raise TrainingError(f"{option(name)} is not for --objective {self.objective}")
            elif getattr(self, name) is None:
                setattr(self, name, usual[name])

    def objective_in(self, phase: str) -> str:
        """What is trained by in phase `vae` or `rha`: one of `OBJECTIVES`."""
        of_both = OBJECTIVES[self.objective].of_both
        if phase == PHASE_VAE:
            return self.objective if of_both else ELBO
        return REVERSE_HALF_ASLEEP if of_both else self.objective

    def differences(self, other: TrainingConfig, among: tuple[str, ...]) -> list[str]:
        """Those of the fields that differ from another configuration's."""
        return [name for name in among if getattr(self, name) != getattr(other, name)]


def option(field: str) -> str:
    """The command line's name of a field."""
    return "--" + field.replace("_", "-")


def usual_options(architecture: str, init: str) -> dict[str, Any]:
    """The options of an architecture whose defaults are not those of `TrainingConfig`.

    Args:
        init: the model that the run begins with, or nothing.
    """
    known = ARCHITECTURES.get(architecture)
    if known is None:
        return {}
    return {**known.defaults, **(known.fine_tuning if init else {})}


def usual_name(config: TrainingConfig, only_encoder: bool) -> str:
    """The name of a model that is given none.

    Args:
        only_encoder: it has the decoder of another run.
    """
    data = config.data if config.data in ("mnist", "cifar10") else Path(config.data).resolve().name
    parts = {
        f"-{config.architecture}": config.architecture != "mlp",
        "-binary": config.binary,
        "-rha": only_encoder and config.objective == REVERSE_HALF_ASLEEP,
        f"-{config.objective}": config.objective != REVERSE_HALF_ASLEEP,
    }
    return data + "".join(part for part, wanted in parts.items() if wanted)


def config_from_dict(values: dict[str, Any], source: Path) -> TrainingConfig:
    """The configuration stored in `source`, also by an earlier version that lacked some options.

    Raises:
        ModelError: the configuration is not one of this version.
    """
    architecture = ARCHITECTURES.get(values.get("architecture", ""))
    try:
        return TrainingConfig(**{**(architecture.earlier if architecture else {}), **values})
    except TypeError as error:
        raise ModelError(f"{source}: made by another version of bbc") from error
