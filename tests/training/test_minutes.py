"""Runs that have a time in place of epochs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from bbcompress.cli import main
from bbcompress.errors import TrainingError
from bbcompress.models.checkpoint import load
from bbcompress.training import clock as clocks
from bbcompress.training import run
from bbcompress.training import trainer as trainers
from bbcompress.training.architectures.local import task as local_task
from bbcompress.training.architectures.registry import ARCHITECTURES
from bbcompress.training.clock import Clock
from bbcompress.training.config import TrainingConfig
from bbcompress.training.distributed import Share
from bbcompress.training.reporter import Reporter
from bbcompress.training.run import configure, train
from bbcompress.training.trained import open_run
from bbcompress.training.trainer import LAST_RATE, ROUND_STEPS, Trainer


class Time:
    """A clock whose hand moves when it is looked at."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    folder = tmp_path / "colours"
    folder.mkdir()
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:8, 0:8]
    for i in range(20):
        pixels = (80 + 9 * (i % 5) + 3 * x + 2 * y)[:, :, None] + random.integers(0, 9, (8, 8, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:02}.png")
    return folder


def config_of(folder: Path, **changes: Any) -> TrainingConfig:
    settings: dict[str, Any] = {
        "architecture": "local", "data": str(folder), "latents": 2, "hidden": 8, "batch": 4, "minutes": 0.05,
        "name": "colours", "evaluate_every": 1, **ARCHITECTURES["local"].defaults, **changes,
    }  # fmt: skip
    return TrainingConfig(**settings)


def a_trainer(clock: Clock) -> tuple[Trainer, list[float], list[float]]:
    weight = torch.nn.Parameter(torch.ones(1))
    rates: list[float] = []
    told: list[float] = []

    def loss(batch: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        rates.append(trainer.optimiser.param_groups[0]["lr"])
        return (weight * batch).square().mean()

    trainer = Trainer(
        [weight], loss, torch.ones(3, 1), phase="vae", lr=1.0, batch=2, clock=clock, before_step=told.append
    )
    return trainer, rates, told


def test_the_learning_rate_follows_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "time", Time(0.5))
    trainer, rates, told = a_trainer(Clock(120.0))
    reporter = Reporter(quiet=True)
    epochs = 0
    while trainer.clock is not None and trainer.clock.left:
        trainer.run_epoch(reporter)
        epochs += 1
    assert 1 < epochs < 6
    assert trainer.steps == len(rates) < epochs * ROUND_STEPS  # the last round ends when the time does
    peak = max(range(len(rates)), key=lambda step: rates[step])
    assert rates[peak] > 0.9
    assert told[peak] < 0.1
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert LAST_RATE <= rates[-1] < 0.05


def test_time_that_was_spent_is_not_spent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "time", Time(0.5))
    trainer, _, _ = a_trainer(Clock(100.0))
    trainer.run_epoch(Reporter(quiet=True))
    state = trainer.state_dict()
    spent = state["clock"]["spent"]
    assert spent > 20
    monkeypatch.setattr(clocks, "time", Time(0.0))
    other, _, _ = a_trainer(Clock(7.0))
    other.load_state_dict(state)
    assert other.clock is not None
    assert (other.clock.seconds, other.clock.spent) == (100.0, spent)


def test_a_run_and_its_model(colours: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["train", "--data", colours, "--architecture", "local", "--latents", "2", "--hidden", "8", "--minutes"]
    words += ["0.1", "--batch", "4", "--threads", "1", "-o", out]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    weights = load(out)
    assert abs(weights.card["exact_arithmetic_loss"]) < 0.02
    assert "--minutes 0.1" in weights.card["commands"][0]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["seconds"]["vae"] < 6
    log = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    assert any("test_bpd" in line for line in log)
    worth = json.loads((out / "worth.json").read_text())
    assert set(worth["sizes"]) >= {"this model", "the installed models", "PNG", "WebP"}
    assert "worth keeping" in result.stderr
    assert "bbc compress" in result.stderr.splitlines()[-1]
    assert " left" in result.stderr


def test_an_encoder_that_gains_nothing_is_not_kept(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_task, "LEAST_DREAMS", 1)
    config = config_of(colours, minutes=0.1, encoder_lr=0.5)  # so fast that it only unlearns
    train(config, tmp_path / "run", quiet=True)
    log = (tmp_path / "run/train.jsonl").read_text()
    assert '"phase": "rha"' in log
    state = torch.load(tmp_path / "run/training.pt", weights_only=True)
    assert all(torch.equal(state["baseline"][name], state["rha"][name]) for name in state["rha"])
    assert state["metrics"]["rha_test_bpd"] == state["metrics"]["baseline_test_bpd"]


def test_no_time_for_a_second_encoder(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_task, "LEAST_DREAMS", 10_000_000)
    train(config_of(colours), tmp_path / "run", quiet=True)
    log = (tmp_path / "run/train.jsonl").read_text()
    assert '"phase": "rha"' not in log


@pytest.mark.parametrize("killed_in", [1, 2])
def test_an_interrupted_run_goes_on_with_what_time_is_left(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: int
) -> None:
    monkeypatch.setattr(trainers, "ROUND_STEPS", 3)
    left, original = [killed_in], Trainer.run_epoch

    def run_epoch(trainer: Trainer, reporter: Reporter) -> float:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return original(trainer, reporter)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "run_epoch", run_epoch)
        train(config_of(colours), tmp_path / "run", quiet=True, save_seconds=0)
    config, out = configure({}, tmp_path / "run", True, None)
    metrics = train(config, out, resume=True, quiet=True)
    assert metrics["baseline_test_bpd"] < 9


def test_options_that_exclude_each_other(colours: Path, tmp_path: Path) -> None:
    for given, words in (
        ({"epochs": 3}, "--minutes and --epochs"),
        ({"encoder_epochs": 3}, "--encoder-epochs can only be 0"),
        ({"minutes": -1.0}, "--minutes cannot be"),
        ({"minutes": float("inf")}, "--minutes cannot be"),
    ):
        with pytest.raises(TrainingError, match=words):
            configure({"data": str(colours), "architecture": "local", "minutes": 1.0, **given}, tmp_path, False, None)
    assert replace(config_of(colours), encoder_epochs=0).encoder_epochs == 0


def test_several_processes_have_no_common_clock(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="one process"):
        run._train(config_of(colours), tmp_path / "run", False, None, True, 60.0, Share(0, 2), 0.0, None)
    assert not (tmp_path / "run").exists()


def test_a_run_that_left_images_out_is_evaluated_on_the_others(colours: Path, tmp_path: Path) -> None:
    (colours / "damaged.png").write_bytes(b"rubbish")
    Image.new("RGBA", (8, 8)).save(colours / "alpha.png")
    train(config_of(colours, leave_out=True, encoder_epochs=0), tmp_path / "run", quiet=True)
    found = open_run(tmp_path / "run", quiet=True)
    assert (len(found.train), len(found.test)) == (18, 2)
