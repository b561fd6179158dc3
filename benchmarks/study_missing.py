"""What of the paper's study is not at the paper's size for lack of a GPU: each part is one command, which the tables
print in the place of its rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study_results import read

CARD = Path(__file__).parents[1] / "models" / "cifar10-resnet" / "card.json"
GREY_EPOCHS, GREY_ENCODER_EPOCHS = 1000, 300
CIFAR_EPOCHS, CIFAR_POINTS, CIFAR_ENCODER_EPOCHS, CIFAR_OPTIMAL_EPOCHS, SIGMAS = 500, 5, 100, 500, 6
TEST_SHARE = 0.2
"""Of CIFAR-10's test images in the number of its training images."""
SEEDS = 3
ALPHAS, AT = ("0", "0.25", "0.5", "0.75", "1"), ("100", "500", "1000")
OF_CIFAR = ("--train-vae", "--norm", "clamped", "--precision", "bfloat16")
Call = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Missing:
    """A part of the study that has not been run.

    name: of `study/missing.py`; what: its schedule, in words; calls: the scripts of `study/` with their options; there:
    whether its results are; seconds: how long it takes by steps that were measured, None where none was.
    """

    name: str
    what: str
    calls: tuple[Call, ...]
    there: Callable[[], bool]
    seconds: Callable[[], float | None] = lambda: None

    @property
    def command(self) -> str:
        """What runs it."""
        return f"python benchmarks/study/missing.py {self.name} --device cuda"

    @property
    def line(self) -> str:
        """Its line among what is missing."""
        seconds = self.seconds()
        if seconds is None:
            time = "no step of it was timed on a GPU"
        else:
            time = (
                f"about {seconds / 3600:.1f} hours of a GPU by the seconds in the card of `cifar10-resnet` (an H100 "
                "that was shared, batches of 200; none was timed on an H200)"
            )
        return f"* {self.what}: `{self.command}`; {time}."


def seconds_of_cifar() -> tuple[float, float]:
    """Of an epoch of the shipped VAE and of its half-asleep encoder, on a GPU, as its card says."""
    card: dict[str, Any] = json.loads(CARD.read_text())
    words = card["commands"][0].split()
    epochs = [int(words[words.index(option) + 1]) for option in ("--epochs", "--encoder-epochs")]
    seconds = [card["training"]["seconds"][phase] for phase in ("vae", "rha")]
    return seconds[0] / epochs[0], seconds[1] / epochs[1]


def seconds_of_study() -> float:
    """Of CIFAR-10's Figures 5, 6 and Table 1: the VAE, encoders and optimal inference at each of its points, and
    denoising, which encodes and decodes each image twice."""
    vae, encoder = seconds_of_cifar()
    at_points = CIFAR_POINTS * (CIFAR_ENCODER_EPOCHS + CIFAR_OPTIMAL_EPOCHS * TEST_SHARE)
    return CIFAR_EPOCHS * vae + SEEDS * encoder * (at_points + 2 * SIGMAS * CIFAR_ENCODER_EPOCHS)


def seconds_of_files() -> float:
    """Of the training for CIFAR-10's Figures 7 and 8."""
    vae, encoder = seconds_of_cifar()
    return SEEDS * (CIFAR_EPOCHS * vae + CIFAR_ENCODER_EPOCHS * encoder)


def _grey_is_there() -> bool:
    found = read("table1-grey")
    return found is not None and found["schedule"]["vae"]["epochs"] >= GREY_EPOCHS


def _grey_files_are_there() -> bool:
    found = read("figure7-grey")
    return found is not None and found["schedule"]["half_asleep"]["epochs"]["grey"] >= GREY_ENCODER_EPOCHS


def _cifar_is_there() -> bool:
    found = read("cifar10")
    return found is not None and found["results"]["vae"].get("norm") == "clamped"


MISSING = {
    part.name: part
    for part in (
        Missing(
            "grey",
            f"Figures 5, 6 and Table 1 of grey MNIST: VAE of {GREY_EPOCHS} epochs, Table 1's encoders of "
            f"{GREY_ENCODER_EPOCHS}",
            tuple((name, ("--pixels", "grey")) for name in ("figure5", "figure6", "table1")),
            _grey_is_there,
        ),
        Missing(
            "grey-files",
            f"Figures 7 and 8 of grey MNIST: half-asleep of {GREY_ENCODER_EPOCHS} epochs",
            tuple((name, ("--pixels", "grey")) for name in ("figure7", "figure8")),
            _grey_files_are_there,
        ),
        Missing(
            "figure4",
            f"Figure 4's grid: alpha of {', '.join(ALPHAS)} for VAEs of {', '.join(AT)} epochs",
            (("figure4", ("--alphas", *ALPHAS, "--at", *AT)),),
            lambda: read("figure4-grid") is not None,
        ),
        Missing(
            "cifar10",
            f"Figures 5, 6 and Table 1 of CIFAR-10: VAE of C = 256 whose ReLUs end at 8, {CIFAR_EPOCHS} epochs, "
            f"encoders of {CIFAR_ENCODER_EPOCHS}",
            (("cifar10", OF_CIFAR),),
            _cifar_is_there,
            seconds_of_study,
        ),
        Missing(
            "cifar10-files",
            f"Figures 7 and 8 of CIFAR-10: {SEEDS} such VAEs with an encoder each; the files are measured on the CPU",
            tuple((name, ("--pixels", "cifar10", *OF_CIFAR)) for name in ("figure7", "figure8")),
            lambda: read("figure7-cifar10") is not None,
            seconds_of_files,
        ),
    )
}


def not_run(name: str, cells: int) -> list[list[str]]:
    """The row of a table of so many cells that stands for a part; none where its results are there."""
    part = MISSING[name]
    return [] if part.there() else [["not run", f"`{part.command}`", *[""] * (cells - 2)]]


def missing() -> str:
    """All that has not been run."""
    lines = [part.line for part in MISSING.values() if not part.there()]
    words = (
        "There was no GPU for these. Each is one command, which goes on where it was interrupted (runs that are "
        "trained together begin anew), and writes its results and these tables:"
    )
    return "#### What has not been run\n\n" + "\n".join([words, "", *lines]) if lines else ""
