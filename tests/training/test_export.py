"""Export of runs of the mlp, and the command lines in a card."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cases_for_tests import one_test_of
from click.testing import CliRunner
from PIL import Image

from bbcompress.cli import main
from bbcompress.models.checkpoint import load
from bbcompress.models.mlp import MLPWeights
from bbcompress.training.card import training_command, training_commands
from bbcompress.training.config import TrainingConfig
from bbcompress.training.finished import load_trained
from bbcompress.training.run import train


def test_colour_images_made_grey(tmp_path: Path) -> None:
    folder = tmp_path / "colours"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(random.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(folder / f"{i:02}.png")
    out = tmp_path / "run"
    words = ["train", "--architecture", "mlp", "--data", folder, "--grey", "--latents", "2", "--hidden", "8"]
    words += ["--epochs", "1", "--encoder-epochs", "1", "--batch", "6", "--threads", "1", "-o", out, "-q"]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert (result.exit_code, result.output) == (0, "")
    weights = load(out)
    assert isinstance(weights, MLPWeights)
    assert weights.shape == (6, 5)
    assert weights.card["data"].endswith("colours, as grey")


@one_test_of(
    ("source", "words"),
    [
        ("runs/one", "--from runs/one"),
        ("runs/one/training.pt", "--from runs/one/training.pt"),
        ("runs/one/epoch-0100.pt", "--from runs/one/epoch-0100.pt"),
        ("/home/somebody/one/training.pt", "--from runs/one"),
        ("/home/somebody/one", "--from runs/one"),
        ("../elsewhere/one/epoch-0100.pt", "--from runs/one/epoch-0100.pt"),
    ],
)
def test_the_command_line_names_no_place_of_one_machine(source: str, words: str) -> None:
    command = training_command(TrainingConfig(name="two"), source)
    assert command == f"bbc train {words} --data mnist --name two"
    for objective, second in (("reverse-half-asleep", "rha"), ("sleep", "sleep")):
        command = training_command(TrainingConfig(name="one", objective=objective), source)
        assert command.endswith(f" --name one --out runs/one-{second}")
    unnamed = training_command(TrainingConfig(), source.replace("one", "mnist-rha"))
    assert unnamed.endswith("--data mnist --out runs/mnist-rha-rha")


def test_the_command_line_of_a_run_by_itself_names_no_directory() -> None:
    assert training_command(TrainingConfig(name="one")) == "bbc train --data mnist --name one"


@pytest.mark.parametrize(("name", "file"), [("", ""), ("same", "training.pt"), ("", "epoch-0001.pt")])
def test_commands_of_a_card_run_as_they_stand(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: str
) -> None:
    """Three runs, each for the decoder of the one before, that lie in places of this machine."""
    config = replace(config, name=name, evaluate_every=0, keep_every=1, epochs=1, encoder_epochs=1)
    runs = [tmp_path / "a" / "run", tmp_path / "b" / "run", tmp_path / "c"]
    train(config, runs[0], quiet=True)
    train(replace(config, alpha=1.0), runs[1], from_checkpoint=runs[0] / file, quiet=True)
    train(replace(config, objective="sleep", alpha=None), runs[2], from_checkpoint=runs[1], quiet=True)
    commands = training_commands(runs[2])
    assert not any(str(run) in command for run in runs for command in commands)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for command in commands:
        result = CliRunner().invoke(main, [*shlex.split(command)[1:], "-q"])
        assert (result.exit_code, result.output) == (0, "")
    found = {load_trained(out)[2].alpha: out for out in Path("runs").iterdir()}
    assert found.keys() == {0.5, 1.0, None}
    for before, alpha in zip(runs, (0.5, 1.0, None), strict=True):
        for one, other in zip(load_trained(before)[:2], load_trained(found[alpha])[:2], strict=True):
            assert all(map(torch.equal, one.parameters(), other.parameters()))
