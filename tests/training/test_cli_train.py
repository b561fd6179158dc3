from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from bbcompress.cli import main
from bbcompress.cli.train import train
from bbcompress.system.signals import Terminated
from bbcompress.training import export, run
from bbcompress.training.architectures.registry import ARCHITECTURES
from bbcompress.training.config import TrainingConfig
from bbcompress.training.finished import load_trained
from bbcompress.training.objectives import OBJECTIVES
from bbcompress.training.trainer import Trainer

SMALL = [
    "--latents",
    "2",
    "--hidden",
    "4",
    "--batch",
    "9",
    "--epochs",
    "1",
    "--encoder-epochs",
    "1",
    "--threads",
    "1",
    "--no-report",
]


@pytest.fixture(autouse=True)
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "export_run", lambda *_: None)


def bbc(*args: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


def one_line(result: Result, words: str) -> bool:
    return result.exit_code == 1 and result.stderr.count("\n") == 1 and words in result.stderr


def test_train_then_everything_again(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    args = ["train", "--data", images, *SMALL, "-o", out, "-q"]
    result = bbc(*args, "--part-size", "1")
    assert (result.exit_code, result.output) == (0, "")
    assert len(list(out.glob("training.pt.*"))) == 1
    assert load_trained(out)[2].name == "images"
    assert one_line(bbc(*args), "bbc: error: ")
    assert bbc("train", "--resume", "-o", out).exit_code == 0
    assert one_line(bbc("train", "--resume", "-o", out, "--lr", "0.5"), "--lr contradicts")
    other = tmp_path / "other"
    assert bbc("train", "--from", out, "-o", other, "--alpha", "1", "--encoder-epochs", "1", "-q").exit_code == 0
    stored = load_trained(other)[2]
    assert (stored.alpha, stored.hidden, stored.data) == (1.0, 4, str(images))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_objective(objective: str, images: Path, tmp_path: Path) -> None:
    args = ["train", "--data", images, *SMALL, "--objective", objective, "-q"]
    result = bbc(*args, "-o", tmp_path / "run")
    assert (result.exit_code, result.output) == (0, "")
    stored = load_trained(tmp_path / "run")[2]
    assert stored.objective == objective
    assert bbc("train", "--resume", "-o", tmp_path / "run", "--objective", objective).exit_code == 0
    other = next(name for name in OBJECTIVES if name != objective)
    refused = bbc("train", "--resume", "-o", tmp_path / "run", "--objective", other)
    assert one_line(refused, "--objective contradicts")
    assert f"begun with {objective}" in refused.stderr


@pytest.mark.parametrize(("name", "registry"), [("objective", OBJECTIVES), ("architecture", ARCHITECTURES)])
def test_the_command_line_has_all_that_the_registries_have(name: str, registry: dict[str, object]) -> None:
    (option,) = (parameter for parameter in train.params if parameter.name == name)
    assert isinstance(option.type, click.Choice)
    assert tuple(option.type.choices) == tuple(registry)


def test_architectures_are_known_by_their_names() -> None:
    assert [architecture.name for architecture in ARCHITECTURES.values()] == list(ARCHITECTURES)
    with pytest.raises(KeyError):
        ARCHITECTURES["base"]


def test_the_default_is_binary_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    config, out = run.configure({}, None, resume=False, from_checkpoint=None)
    assert config == TrainingConfig(binary=True, name="mnist-binary")
    assert out == Path("runs/mnist-binary")
    config, out = run.configure({"data": "mnist", "name": "mine"}, None, resume=False, from_checkpoint=None)
    assert (config.binary, config.latents, out) == (False, 32, Path("runs/mine"))


@pytest.mark.parametrize(("signal", "status"), [(KeyboardInterrupt(), 130), (Terminated(15), 143)])
def test_interrupted(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signal: BaseException, status: int
) -> None:
    def interrupt(*_: object, **__: object) -> Any:
        raise signal

    out = tmp_path / "run"
    words = ["train", "--data", images, *SMALL, "-o", out, "-q"]
    told = f"bbc: go on with: bbc train --resume -o {out}\nbbc: interrupted\n"
    with monkeypatch.context() as patch:
        patch.setattr(run, "load", interrupt)
        result = bbc(*words)
    assert (result.exit_code, result.stderr) == (status, "bbc: interrupted\n")
    assert not out.exists()
    with monkeypatch.context() as patch:  # before there is a checkpoint
        patch.setattr("bbcompress.training.run._Run._save", interrupt)
        result = bbc(*words)
    anew = f"bbc: {out}: the run has no checkpoint yet; the same command begins it anew\nbbc: interrupted\n"
    assert (result.exit_code, result.stderr) == (status, anew)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", interrupt)
        result = bbc(*words)
    assert (result.exit_code, result.stderr) == (status, told)
    with monkeypatch.context() as patch:
        patch.setattr(export, "export_run", interrupt)
        result = bbc("train", "--resume", "-o", out, "-q")
    assert (result.exit_code, result.stderr) == (status, told)
    assert bbc("train", "--resume", "-o", out, "-q").exit_code == 0


def test_a_finished_run_is_not_trained_further(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert bbc("train", "--data", images, *SMALL, "-o", out, "-q").exit_code == 0
    for name in ("--epochs", "--encoder-epochs"):
        assert one_line(bbc("train", "--resume", "-o", out, name, "7"), f"{name}: {out} is a finished run (--epochs 1")
    assert bbc("train", "--resume", "-o", out, "--epochs", "1", "-q").exit_code == 0


def test_the_help_says_the_default_data() -> None:
    text = " ".join(bbc("train", "--help").stdout.split())
    assert "[default: binary MNIST; resnet: cifar10]" in text
    config, _ = run.configure({"architecture": "resnet"}, None, resume=False, from_checkpoint=None)
    assert config.data == "cifar10"


def test_errors(tmp_path: Path) -> None:
    assert one_line(bbc("train", "--data", tmp_path / "none", "-o", tmp_path / "run"), "no such data set")
    assert one_line(bbc("train", "--resume", "-o", tmp_path / "run"), "no such training checkpoint")
    (tmp_path / "rubbish.pt").write_bytes(b"rubbish")
    assert one_line(bbc("train", "--from", tmp_path / "rubbish.pt", "-o", tmp_path / "run"), "rubbish.pt")
    assert not (tmp_path / "run").exists()
    for words in (
        ["--objective", "sleep", "--alpha", "0.5"],
        ["--sigma", "0.1"],
        ["--objective", "elbo", "--samples", "prior"],
        ["--objective", "wake-sleep", "--architecture", "local"],
    ):
        refused = bbc("train", "--data", tmp_path, *words, "-o", tmp_path / "run")
        assert one_line(refused, f"{words[-2] if words[-2] != '--architecture' else '--objective'} ")
    for usage in (
        ["--objective", "dreaming"],
        ["--sigma", "-1"],
        ["--alpha", "2"],
        ["--epochs", "x"],
        ["--precision", "int8"],
        ["--part-size", "0"],
        ["--nonsense"],
        ["--from", "none"],
    ):
        assert bbc("train", *usage).exit_code == 2


def test_the_command_line_starts_without_torch() -> None:
    code = "import sys, bbcompress.cli; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    command = [sys.executable, "-m", "bbcompress", "--version"]
    version = subprocess.run(command, capture_output=True, text=True, check=True)
    assert version.stdout.startswith("bbc, version ")
