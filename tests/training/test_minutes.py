"""Runs that have a time in place of epochs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from training_for_tests import Killer, Time, write_images

from bbcompress.bench import worth as worths
from bbcompress.bench.worth import Worth
from bbcompress.cli import main
from bbcompress.cli import train as command
from bbcompress.errors import TrainingError
from bbcompress.models.checkpoint import load
from bbcompress.training import automatic, export, run
from bbcompress.training import trainer as trainers
from bbcompress.training.architectures.local import task as local_task
from bbcompress.training.architectures.local.network import LocalVAE
from bbcompress.training.architectures.registry import ARCHITECTURES
from bbcompress.training.clock import Clock
from bbcompress.training.config import TrainingConfig
from bbcompress.training.datasets import Dataset
from bbcompress.training.distributed import Share
from bbcompress.training.quantisation.samples import QUICK_IMAGES
from bbcompress.training.reporter import Reporter
from bbcompress.training.run import configure, train
from bbcompress.training.trained import open_run
from bbcompress.training.trainer import LAST_RATE, ROUND_STEPS, Trainer


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


def test_the_learning_rate_follows_the_time(time: Time) -> None:
    time.step = 0.5
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


def test_time_that_was_spent_is_not_spent_again(time: Time) -> None:
    time.step = 0.5
    trainer, _, _ = a_trainer(Clock(100.0))
    trainer.run_epoch(Reporter(quiet=True))
    state = trainer.state_dict()
    spent = state["clock"]["spent"]
    assert spent > 20
    time.step = 0.0
    other, _, _ = a_trainer(Clock(7.0))
    other.load_state_dict(state)
    assert other.clock is not None
    assert (other.clock.seconds, other.clock.spent) == (100.0, spent)


@pytest.mark.parametrize(("minutes", "slowness"), [(1, 0.3), (1, 1), (2, 1), (3, 3), (10, 1), (10, 3), (30, 3)])
def test_the_whole_command_ends_in_time(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, time: Time, minutes: int, slowness: float
) -> None:
    """Reading, training, export, report and verdict together, on machines of which one is fifteen times as slow as
    another. Of each part the seconds are those that a real run took for photographs."""
    time.step = 0.0
    parts: dict[str, float] = {}

    def takes(where: Any, name: str, seconds: float, instead: Any = None) -> None:
        original = getattr(where, name) if instead is None else instead

        def later(*arguments: Any, **options: Any) -> Any:
            time.now += seconds * slowness
            parts[name] = parts.get(name, 0.0) + seconds * slowness
            return original(*arguments, **options)

        monkeypatch.setattr(where, name, later)

    def measure(run: Path, data: Dataset, folder: Path, seconds: float) -> Worth:
        time.now += 0.7 * slowness * max(seconds, worths.LEAST_PIXELS / worths.PIXELS_A_SECOND)
        return Worth(1, 1, 1, 1, {worths.NEW: 1, worths.SHIPPED: 1}, 1, 0.0)

    takes(automatic, "choose_options", 15.0 / slowness)
    takes(Trainer, "_step", 0.115, lambda trainer, rows, generator: torch.zeros(()))
    takes(local_task.LocalTask, "figures", 0.6, lambda task, model, samples, generator: {"bpd": 2.0, "kl_bpd": 0.1})
    takes(local_task, "sample_tiles", 5.0 / slowness)
    takes(export, "export_run", 11.0, lambda *_: None)
    takes(command, "report_at_end", 12.0 + 0.5 * max(minutes, 4), lambda *_: None)
    monkeypatch.setattr(worths, "measure_worth", measure)
    words = ["train", colours, "--minutes", minutes, "--latents", "2", "--hidden", "8", "-o", tmp_path, "--batch", "32"]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    assert set(parts) >= {"choose_options", "_step", "figures", "export_run", "report_at_end"}
    assert time.now < 60 * minutes
    assert time.now > 0.6 * 60 * minutes  # and most of it is used
    assert (tmp_path / "worth.json").exists()


def test_a_run_and_its_model(colours: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["train", "--data", colours, "--architecture", "local", "--latents", "2", "--hidden", "8", "--minutes"]
    words += ["0.05", "--batch", "4", "--threads", "1", "-o", out]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    weights = load(out)
    assert abs(weights.card["exact_arithmetic_loss"]) < 0.02
    assert len(weights.card["net_rate_by_K"]["rha"]) == 11
    assert "--minutes 0.05" in weights.card["commands"][0]
    log = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    assert any("test_bpd" in line for line in log)
    worth = json.loads((out / "worth.json").read_text())
    assert set(worth["sizes"]) >= {"this model", "the installed models", "PNG", "WebP"}
    assert "worth keeping" in result.stderr
    assert "bbc compress" in result.stderr.splitlines()[-1]
    assert " left" in result.stderr


def test_the_second_encoder_is_kept_where_it_gains(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, time: Time
) -> None:
    """The test says how much better the encoder is on held-out images, once it has learnt anything."""
    begun: list[torch.Tensor] = []
    gain = 0.0

    def figures(task: local_task.LocalTask, model: LocalVAE, *_: Any) -> dict[str, float]:
        weights = torch.nn.utils.parameters_to_vector(model.encoder.parameters()).detach()
        if any(weight.requires_grad for weight in model.generative.parameters()):  # phase vae, and its result
            begun[:] = [weights]
        return {"bpd": 5.0 if torch.equal(weights, begun[0]) else 5.0 - gain}

    monkeypatch.setattr(local_task, "LEAST_DREAMS", 1)
    monkeypatch.setattr(trainers, "ROUND_STEPS", 1)
    monkeypatch.setattr(run, "ENCODER_SHARE", 0.7)
    monkeypatch.setattr(local_task.LocalTask, "figures", figures)
    epochs = []
    for gain in (-0.1, 0.0, 0.1):
        time.now = 0.0
        out = tmp_path / f"gain {gain}"
        metrics = train(config_of(colours), out, quiet=True)
        log = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
        epochs.append(sum(line["phase"] == "rha" for line in log))
        state = torch.load(out / "training.pt", weights_only=True)
        same = all(torch.equal(state["baseline"][name], state["rha"][name]) for name in state["rha"])
        assert same == (gain <= 0)
        assert (metrics["baseline_test_bpd"], metrics["rha_test_bpd"]) == (5.0, 5.0 - max(gain, 0))
    assert 0 < epochs[0] == epochs[1] < epochs[2]  # what gains nothing is given up early


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
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Killer(killed_in, patch)
        train(config_of(colours), tmp_path / "run", quiet=True, save_seconds=0)
    spent = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)["spent"]
    config, out = configure({}, tmp_path / "run", True, None)
    clock = Clock()
    metrics = train(config, out, resume=True, quiet=True, clock=clock)
    assert metrics["baseline_test_bpd"] < 9
    assert (clock.seconds, clock.spent > spent > 0) == (3.0, True)


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
        run._train(config_of(colours), tmp_path / "run", False, None, True, 60.0, Share(0, 2), Clock(), None)
    assert not (tmp_path / "run").exists()


def test_a_run_that_left_images_out_is_evaluated_on_the_others(colours: Path, tmp_path: Path) -> None:
    (colours / "damaged.png").write_bytes(b"rubbish")
    Image.new("RGBA", (8, 8)).save(colours / "alpha.png")
    train(config_of(colours, leave_out=True, encoder_epochs=0), tmp_path / "run", quiet=True)
    found = open_run(tmp_path / "run", quiet=True)
    assert (len(found.train), len(found.test)) == (18, 2)


def test_an_mlp_is_calibrated_on_few_images(tmp_path: Path) -> None:
    """In a run that has a time the search for settings must not outlast it."""
    folder = write_images(tmp_path / "grey", 400, 1, (5, 4))
    out = tmp_path / "run"
    config = config_of(folder, architecture="mlp", decay=False, minutes=0.02)
    train(config, out, quiet=True)
    card = export.export_run(out).card
    assert card["evaluated_on"] == f"{QUICK_IMAGES} held-out images"
