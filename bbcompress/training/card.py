"""The card of a model: how it was made, of what, under which licence, by which commands."""

from __future__ import annotations

import csv
import platform
import shlex
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from bbcompress.training.architectures.base import PHASE_RHA
from bbcompress.training.checkpoints.checkpoint import load_checkpoint
from bbcompress.training.config import TrainingConfig, config_from_dict, option, usual_name, usual_options
from bbcompress.training.objectives import REVERSE_HALF_ASLEEP
from bbcompress.version import __version__

NOT_OF_THE_MODEL = ("data", "data_dir", "threads", "device", "evaluate_every", "keep_every", "part_size")
"""Options that a card's command line does without, or names by itself."""
DATA_NOTES = {
    "mnist": "MNIST, 60000 training images (LeCun, Cortes, Burges; CC BY-SA 3.0)",
    "cifar10": "CIFAR-10, 50000 training images (Krizhevsky, 2009)",
}


def describe_run(out: Path, config: TrainingConfig) -> dict[str, Any]:
    """What a card says of how a model was made."""
    folder = Path(config.data)
    origin = load_checkpoint(out / "training.pt").get("origin")
    credits = image_credits(folder) if folder.is_dir() else {}
    return {
        "name": config.name,
        "default": True,
        "data": config.data + (", binary (grey > 127)" if config.binary else ", as grey" if config.grey else ""),
        "data_licence": DATA_NOTES.get(config.data, "see data_credits" if credits else "the user's own"),
        **({"data_credits": credits} if credits else {}),
        "licence": config.licence,
        **({"init": origin} if origin else {}),
        **describe_objective(config),
        "commands": training_commands(out),
        "made_with": {
            "bbc": __version__,
            "torch": torch.__version__,
            "machine": platform.machine(),
        },
    }


def describe_objective(config: TrainingConfig) -> dict[str, str]:
    """`objective`: what the encoder `rha` was trained by, such as `denoising (alpha 0.5, sigma 0.1)`, and before it
    `wake-sleep` where both networks were by it; nothing if all is as usual."""
    options = asdict(config)
    # neither has it where a run that was begun with an older bbc, and has its classes, is exported by this module
    if options.get("objective") == getattr(TrainingConfig, "objective", None):
        return {}
    second = config.objective_in(PHASE_RHA)
    steps = [config.objective] if config.objective != second else []
    if config.encoder_epochs:
        of_it = [f"{name} {options[name]:g}" for name in ("alpha", "sigma") if options[name] is not None]
        steps.append(second + (f" ({', '.join(of_it)})" if of_it else ""))
    return {"objective": ", then ".join(steps)} if steps else {}


def image_credits(folder: Path) -> dict[str, dict[str, int]]:
    """Images of a directory by source and licence, from the columns `split`, `source` and `licence` of a MANIFEST.csv
    beside it whose split has the directory's name; empty without one."""
    manifest = folder.resolve().parent / "MANIFEST.csv"
    credits: dict[str, dict[str, int]] = {}
    if manifest.is_file():
        with manifest.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row.get("split") == folder.resolve().name:
                    licences = credits.setdefault(row.get("source") or "unknown", {})
                    licence = row.get("licence") or "unknown"
                    licences[licence] = licences.get(licence, 0) + 1
    return credits


def training_commands(run: Path) -> list[str]:
    """The command lines that made a finished run, that of the run which it went on from first: one after the other they
    can be run as they stand, wherever these runs lay."""
    chain: list[tuple[TrainingConfig, str]] = []
    folder: Path | None = run
    while folder is not None:
        path = folder / "training.pt"
        state = load_checkpoint(path)
        chain.insert(0, (config_from_dict(state["config"], path), state["source"]))
        earlier = _folder_and_file(state["source"])[0]
        folder = earlier if state["source"] and (earlier / "training.pt").exists() else None
    files = [_folder_and_file(source)[1] for _, source in chain]
    commands: list[str] = []
    written: list[str] = []
    for number, ((config, source), file) in enumerate(zip(chain, files, strict=True)):
        start = str(PurePosixPath(written[-1], file)) if written else source
        target = _folder(config, start, written)
        keeps = number + 1 < len(files) and files[number + 1] != ""
        commands.append(training_command(config, start, target, keeps))
        written.append(target)
    return commands


def training_command(config: TrainingConfig, source: str = "", out: str = "", keeps: bool = False) -> str:
    """The command line of one run: the options that differ from the defaults.

    Args:
        source: what `--from` named.
        out: the run's directory, none is `runs/NAME`, or another one if the source is there.
        keeps: whether the copies of its checkpoint are needed.
    """
    start = _portable(source)
    out = out or _folder(config, start)
    usual = TrainingConfig(data=config.data, binary=config.binary)
    words = ["bbc", "train", *(["--from", start] if start else []), "--data", config.data]
    if config.architecture != "mlp":
        usual = TrainingConfig(
            **{
                **usual_options(config.architecture, config.init),
                "data": config.data,
                "architecture": config.architecture,
                "binary": config.binary,
            }
        )
        words += ["--architecture", config.architecture]
    for name in (f.name for f in fields(config)):
        value = getattr(config, name)
        left_out = name in NOT_OF_THE_MODEL and not (keeps and name == "keep_every")
        if left_out or value in (None, getattr(usual, name)):
            continue
        if name == "init":
            value = _portable(value)
        words += [option(name)] if value is True else [option(name), str(value)]
    if config.binary and "--binary" not in words:
        words.append("--binary")
    if out != _usual_folder(config, start):
        words += ["--out", out]
    return shlex.join(words)


def _folder_and_file(source: str) -> tuple[Path, str]:
    """The directory of the run that `--from` named, and the name of the checkpoint in it, none for training.pt."""
    path = Path(source)
    if path.suffix != ".pt":
        return path, ""
    return path.parent, "" if path.name == "training.pt" else path.name


def _portable(source: str) -> str:
    """What `--from` named, as another machine may have it: a place elsewhere becomes one in `runs`."""
    path = Path(source)
    if not path.is_absolute() and ".." not in path.parts:
        return source
    folder, file = _folder_and_file(source)
    return str(PurePosixPath("runs", folder.name, file))


def _usual_folder(config: TrainingConfig, start: str) -> str:
    """The directory of a run that is given none."""
    return f"runs/{config.name or usual_name(config, bool(start))}"


def _folder(config: TrainingConfig, start: str, others: Sequence[str] = ()) -> str:
    """The directory of a run: its usual one, but neither that of its `start` nor one of the others."""
    folder = _usual_folder(config, start)
    second = config.objective_in(PHASE_RHA)
    while folder in (*others, _folder_and_file(start)[0].as_posix()):
        folder += "-rha" if second == REVERSE_HALF_ASLEEP else f"-{second}"
    return folder
