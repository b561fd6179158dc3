"""Runs of local models on tiny data: figures, resuming, export, and the images that they take."""

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
from training_for_tests import Killer, write_images

from bbcompress.api import decompress
from bbcompress.cli import main
from bbcompress.errors import BBCError, TrainingError
from bbcompress.images.image import from_array
from bbcompress.models.checkpoint import load
from bbcompress.models.local import LocalWeights
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options
from bbcompress.training import export, run
from bbcompress.training.architectures.local import task as local_task
from bbcompress.training.architectures.local.objectives import TileHalfAsleep
from bbcompress.training.architectures.registry import ARCHITECTURES
from bbcompress.training.card import training_command
from bbcompress.training.config import TrainingConfig
from bbcompress.training.datasets import Dataset
from bbcompress.training.export import export_run
from bbcompress.training.finished import load_trained
from bbcompress.training.run import configure, train


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_task, "DREAMS", 12)


def config_of(folder: Path, **changes: Any) -> TrainingConfig:
    settings: dict[str, Any] = {
        "architecture": "local", "data": str(folder), "latents": 2, "hidden": 8, "epochs": 2, "encoder_epochs": 2,
        "batch": 2, "evaluate_every": 1, **ARCHITECTURES["local"].defaults, **changes,
    }  # fmt: skip
    return TrainingConfig(**settings)


def networks(out: Path) -> dict[str, torch.Tensor]:
    state = torch.load(out / "training.pt", weights_only=True)
    return {f"{part}.{k}": v for part in ("decoder", "baseline", "rha") for k, v in state[part].items()}


def same(one: Path, other: Path) -> bool:
    a, b = networks(one), networks(other)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_small_data_are_not_outnumbered_by_dreams(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_task, "DREAMS", 1000)
    data = Dataset("few", np.zeros((3, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.uint8))
    task = local_task.LocalTask(config_of(colours), data)
    loss, _ = task.half_asleep(task.build(), 0.5)
    assert isinstance(loss, TileHalfAsleep)
    assert loss.dreams is not None
    assert len(loss.dreams.images.tiles) == 3


@pytest.mark.parametrize("killed_in", [1, 3])
def test_resume_gives_the_same(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: int) -> None:
    config = config_of(colours)
    metrics = train(config, tmp_path / "whole", quiet=True)
    assert {"baseline_test_bpd", "rha_test_bpd", "baseline_test_kl_bpd"} <= metrics.keys()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Killer(killed_in, patch)
        train(config, tmp_path / "killed", quiet=True, save_seconds=0)
    train(config, tmp_path / "killed", resume=True, quiet=True)
    assert same(tmp_path / "whole", tmp_path / "killed")
    baseline, rha, stored, _ = load_trained(tmp_path / "killed")
    assert stored == config
    assert torch.equal(next(baseline.decoder.parameters()), next(rha.decoder.parameters()))
    assert not torch.equal(next(baseline.encoder.parameters()), next(rha.encoder.parameters()))


def test_train_export_compress(colours: Path, tmp_path: Path) -> None:
    """`bbc train --architecture local`, its exact model's figures, and images coded with it."""
    out = tmp_path / "run"
    words = ["train", "--architecture", "local", "--data", colours, "--latents", "2", "--hidden", "8", "--batch", "6"]
    words += ["--epochs", "12", "--encoder-epochs", "2", "--threads", "1", "-o", out, "-q"]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert (result.exit_code, result.output) == (0, "")
    weights = load(out)
    assert isinstance(weights, LocalWeights)
    assert (weights.image, weights.channels, weights.latents) == ((8, 8), 3, 2)
    card = weights.card
    assert (card["shape"], card["channels"], card["likelihood"]) == ([8, 8], 3, "logistic_mixture")
    assert abs(card["exact_arithmetic_loss"]) < 0.01
    assert set(card["net_rate"]) == set(card["kl"]) == {"rha", "baseline"}
    assert -0.1 < card["kl"]["rha"] < card["net_rate"]["rha"] < 9  # one draw for two images
    metrics = json.loads((out / "metrics.json").read_text())
    assert card["net_rate"]["baseline"] == pytest.approx(metrics["baseline_test_bpd"], rel=0.1)
    assert len(card["net_rate_by_K"]["rha"]) == 11
    (command,) = card["commands"]
    assert "None" not in command
    assert "--architecture local" in command
    image = from_array(np.asarray(Image.open(colours / "09.png")))
    data, _ = Compressor(Options(model=out)).lone(image)
    assert np.array_equal(decompress(data, out), image.pixels)
    assert CliRunner().invoke(main, ["train", "--resume", "-o", str(out), "-q"]).exit_code == 0
    assert load(out).id == weights.id


def test_images_of_any_size(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "grey", 10, 1, (64, 70), (65, 64))
    out = tmp_path / "run"
    config = config_of(folder, any_size=True, fast=True, epochs=1, encoder_epochs=1, batch=4)
    assert "--fast" in training_command(config).split()
    train(config, out, quiet=True)
    export_run(out)
    weights = load(out)
    assert isinstance(weights, LocalWeights)
    assert (weights.shape, weights.channels, weights.levels) == (None, 1, 256)
    assert (weights.card["fast"], len(weights.heads.bias)) == (True, 32)
    assert configure({"data": str(folder), "init": str(out)}, tmp_path / "other", False, None)[0].fast
    assert weights.card["shape"] is None
    assert abs(weights.card["exact_arithmetic_loss"]) < 0.01
    for pixels in (np.asarray(Image.open(folder / "02.png")), np.asarray(Image.open(folder / "01.png"))[:9, :20]):
        data, _ = Compressor(Options(model=out, k=1)).lone(from_array(pixels))
        assert np.array_equal(decompress(data, out), pixels)


def test_only_local_models_are_quick() -> None:
    with pytest.raises(TrainingError, match="--fast is for --architecture local"):
        TrainingConfig(fast=True)


def test_images_smaller_than_a_tile_are_refused(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "grey", 10, 1, (64, 70), (9, 200))
    with pytest.raises(TrainingError, match="64"):
        train(config_of(folder, any_size=True), tmp_path / "run", quiet=True)


def test_colour_and_sizes_that_an_architecture_refuses(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="local"):
        train(replace(config_of(colours), architecture="mlp", decay=False), tmp_path / "a", quiet=True)
    sizes = write_images(tmp_path / "sizes", 10, 1, (8, 8), (9, 8))
    with pytest.raises(TrainingError, match="local"):
        train(TrainingConfig(data=str(sizes), any_size=True), tmp_path / "b", quiet=True)
    with pytest.raises(BBCError, match="different sizes"):
        train(config_of(sizes), tmp_path / "c", quiet=True)
    with pytest.raises(TrainingError, match="decay"):
        config_of(colours, decay=False)
    assert not any((tmp_path / name).exists() and any((tmp_path / name).iterdir()) for name in "abc")


@pytest.mark.parametrize(
    "changes",
    [{}, {"lr": 3e-4}, {"encoder_lr": 1e-4, "latents": 8}, {"epochs": 7, "binary": True, "hidden": 96}],
    ids=str,
)
def test_command_of_a_local_run_makes_it_again(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"architecture": "local", "data": "mnist", **changes}
    config, _ = configure(given, tmp_path, resume=False, from_checkpoint=None)
    found: list[TrainingConfig] = []
    monkeypatch.setattr(run, "train", lambda config, *_, **__: found.append(config))
    monkeypatch.setattr(export, "export_run", lambda *_: None)
    words = training_command(config).split()
    result = CliRunner().invoke(main, [*words[1:], "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert found == [config]


def test_from_an_earlier_run(colours: Path, tmp_path: Path) -> None:
    """Options that are not given, the schedule among them, are those of local models."""
    train(config_of(colours), tmp_path / "first", quiet=True)
    config, out = configure({"encoder_epochs": 1}, tmp_path / "second", False, tmp_path / "first")
    assert (config.architecture, config.decay, config.hidden) == ("local", True, 8)
    train(config, out, from_checkpoint=tmp_path / "first", quiet=True)
    a, b = networks(tmp_path / "first"), networks(out)
    assert all(torch.equal(a[k], b[k]) for k in a if not k.startswith("rha"))
