"""Runs that begin with an exact model: what they start from, refuse, say of it, and how they go on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from local_for_tests import SHAPE, model_of
from PIL import Image
from training_for_tests import Killer

from bbcompress.cli import main
from bbcompress.errors import TrainingError
from bbcompress.models.checkpoint import load, save
from bbcompress.training.architectures.local import task as local_task
from bbcompress.training.architectures.local.export import quantise_local
from bbcompress.training.architectures.local.presets import preset
from bbcompress.training.architectures.mlp.export import quantise
from bbcompress.training.architectures.mlp.network import MLPVAE
from bbcompress.training.card import describe_run, training_command
from bbcompress.training.export import export_run
from bbcompress.training.run import configure, train
from bbcompress.training.trainer import Trainer


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_task, "DREAMS", 12)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of images of 8 x 8 pixels, of random weights."""
    shape = preset((8, 8), 3, False, 2, 8).shape
    weights = quantise_local(model_of(shape, 0), model_of(shape, 1))
    card = {"name": "first", "data": "their images", "data_licence": "CC0", "licence": "MIT"}
    object.__setattr__(weights, "card", card)
    save(weights, tmp_path / "first")
    return tmp_path / "first"


def given(colours: Path, model: Path, **others: Any) -> dict[str, Any]:
    return {"data": str(colours), "init": str(model), "epochs": 2, "encoder_epochs": 1, "batch": 6, **others}


def test_the_options_are_those_of_the_model(colours: Path, model: Path, tmp_path: Path) -> None:
    config, _ = configure({"data": str(colours), "init": str(model)}, tmp_path, False, None)
    assert (config.architecture, config.any_size, config.binary) == ("local", False, False)
    assert (config.latents, config.hidden, config.decay) == (2, 8, True)
    fresh, _ = configure({"data": str(colours), "architecture": "local"}, tmp_path, False, None)
    assert config.lr < fresh.lr
    again, _ = configure({"data": str(colours), "init": str(model), "lr": 0.01}, tmp_path, False, None)
    assert again.lr == 0.01


def test_what_the_model_knows_is_there_and_stays(
    colours: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first step the networks are those of the model; no step is made with a KL of less weight, or with
    neighbourhoods left out."""
    config, out = configure(given(colours, model), tmp_path / "run", False, None)
    first: list[list[torch.Tensor]] = []
    original = Trainer.run_epoch

    def run_epoch(trainer: Trainer, reporter: Any) -> float:
        first.append([p.detach().clone() for p in trainer.parameters])
        if trainer.phase == "vae":
            assert trainer.before_step is None
            assert trainer.loss.warmth == 1.0  # type: ignore[attr-defined]
        return original(trainer, reporter)

    monkeypatch.setattr(Trainer, "run_epoch", run_epoch)
    train(config, out, quiet=True)
    shape = preset((8, 8), 3, False, 2, 8).shape
    expected = model_of(shape, 0)
    for ours, its in zip(first[0], expected.parameters(), strict=True):
        if ours.shape != (64, 1):  # the first channel has none before it, and no integers for them
            torch.testing.assert_close(ours, its, atol=0.03, rtol=0.01)


def test_the_card_says_what_it_began_with(colours: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["train", "--data", colours, "--init", model, "--epochs", "1", "--encoder-epochs", "0", "--batch", "6"]
    words += ["--licence", "all rights reserved", "--threads", "1", "-o", out, "-q"]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert (result.exit_code, result.output) == (0, "")
    card = json.loads((out / "card.json").read_text())
    first = load(model)
    assert card["init"] == {
        "name": "first", "id": first.id.hex(), "data": "their images", "data_licence": "CC0", "licence": "MIT",
    }  # fmt: skip
    assert (card["licence"], card["data_licence"]) == ("all rights reserved", "the user's own")
    assert "--init runs/first" in card["commands"][0]  # a place of this machine is nobody else's
    second = tmp_path / "second"
    words[words.index("--init") + 1] = out
    words[words.index("-o") + 1] = second
    words.remove("--licence")
    words.remove("all rights reserved")
    assert CliRunner().invoke(main, [str(word) for word in words]).exit_code == 0
    card = json.loads((second / "card.json").read_text())
    assert card["licence"] == "not stated"
    assert card["init"]["init"]["name"] == "first"  # the whole chain
    assert card["init"]["licence"] == "all rights reserved"


@pytest.mark.parametrize("killed_in", [1, 2, 3])
def test_an_interrupted_run_goes_on_without_the_model(
    colours: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: int
) -> None:
    config, out = configure(given(colours, model), tmp_path / "killed", False, None)
    train(config, tmp_path / "whole", quiet=True)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Killer(killed_in, patch)
        train(config, out, quiet=True, save_seconds=0)
    shutil.rmtree(model)
    again, _ = configure({}, out, True, None)
    assert again == config
    train(again, out, resume=True, quiet=True)
    a, b = (torch.load(folder / "training.pt", weights_only=True) for folder in (out, tmp_path / "whole"))
    assert a["origin"] == b["origin"]
    for part in ("decoder", "baseline", "rha"):
        assert all(torch.equal(a[part][name], b[part][name]) for name in a[part])
    assert describe_run(out, config)["init"]["name"] == "first"


def test_what_cannot_be_begun_with(colours: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def refused(words: str, **others: Any) -> None:
        with pytest.raises(TrainingError, match=words) as caught:
            config, _ = configure(given(colours, model, **others), out, False, None)
            train(config, out, quiet=True)
        assert "\n" not in str(caught.value)
        assert not out.exists()

    refused("latents: 2 in the model, 3 in this run", latents=3)
    refused("width of hidden layers: 8x8 in the model, 7x7 in this run", hidden=7)
    refused(f"--init {tmp_path / 'none'}: there is no model", init=str(tmp_path / "none"))
    refused("--init cifar10-resnet-small: tile: 32 in the model, 8 in this run", init="cifar10-resnet-small")
    refused("mlp is for grey images", init="mnist-grey")
    refused("not a local model", init="mnist-grey", architecture="local", any_size=False, latents=2, hidden=8)
    (model.parent / "models").mkdir()
    shutil.copytree(model, model.parent / "models/a")
    shutil.copytree(model, model.parent / "models/b")
    refused("a folder of 2 models", init=str(model.parent / "models"))
    (model / "model.safetensors").write_bytes(b"rubbish")
    refused("damaged")
    grey = tmp_path / "grey"
    save(quantise_local(model_of(SHAPE, 0), model_of(SHAPE, 1)), grey)
    refused("in the model", init=str(grey), any_size=False)


def test_a_run_with_wider_layers_begins_with_what_the_model_knows(colours: Path, model: Path, tmp_path: Path) -> None:
    config, out = configure(given(colours, model, hidden=20), tmp_path / "run", False, None)
    train(config, out, quiet=True)
    weights = export_run(out)
    assert {len(layer.bias) for layer in dict(weights.networks())["trunk"]} == {20}
    assert describe_run(out, config)["init"]["id"] == load(model).id.hex()


def test_from_and_init_exclude_each_other(colours: Path, model: Path, tmp_path: Path) -> None:
    config, out = configure(given(colours, model), tmp_path / "run", False, None)
    train(config, out, quiet=True)
    with pytest.raises(TrainingError, match="exclude"):
        train(config, tmp_path / "other", from_checkpoint=out, quiet=True)


def test_an_mlp_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(random.integers(0, 256, (5, 4)).astype(np.uint8)).save(folder / f"{i:02}.png")
    networks = [MLPVAE((5, 4), 3, 7, False, torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    save(quantise(networks[0], networks[1]), tmp_path / "first")
    config, out = configure(
        given(folder, tmp_path / "first", epochs=1, encoder_epochs=0, lr=1e-9), tmp_path / "run", False, None
    )
    assert (config.architecture, config.latents, config.hidden) == ("mlp", 3, 7)
    train(config, out, quiet=True)
    state = torch.load(out / "training.pt", weights_only=True)
    for name, tensor in networks[0].decoder.state_dict().items():
        torch.testing.assert_close(state["decoder"][name], tensor, atol=1e-4, rtol=1e-3)
    assert "--init runs/first" in training_command(config)


def test_a_resnet_goes_on(colours: Path, tmp_path: Path) -> None:
    sizes = {"architecture": "resnet", "hidden": 6, "latents": 2, "blocks": 1, "norm": "batch", "batch": 6}
    earlier, first = configure(
        {"data": str(colours), **sizes, "epochs": 2, "encoder_epochs": 0, "lr": 1e-3}, tmp_path / "first", False, None
    )
    train(earlier, first, quiet=True)
    export_run(first, "data")
    config, out = configure(given(colours, first, epochs=1, encoder_epochs=0, lr=1e-9), tmp_path / "run", False, None)
    assert {name: getattr(config, name) for name in sizes} == sizes
    fresh, _ = configure({"data": str(colours), **sizes}, tmp_path, False, None)
    usual, _ = configure({"data": str(colours), "init": str(first)}, tmp_path, False, None)
    assert usual.lr < fresh.lr
    metrics = train(config, out, quiet=True)
    export_run(out, "data")
    before, after = (load(folder).card["net_rate"]["baseline"] for folder in (first, out))
    assert after == pytest.approx(before, rel=0.02)  # statistics are those of batches now
    assert metrics["baseline_test_bpd"] == pytest.approx(after, rel=0.02)
    assert load(out).card["init"]["id"] == load(first).id.hex()
