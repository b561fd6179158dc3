"""tools/train_through_learning.py codes crops as the codec does, and moves the weights that they begin with."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bbcompress.codecs.learned import RATE, UNIT, strips_and_features
from bbcompress.exact.arithmetic import exact_arithmetic
from bbcompress.models.checkpoint import load
from bbcompress.models.local import LocalWeights
from bbcompress.models.shipped import shipped_model_folders
from bbcompress.training.architectures.local.restore import restore_local, shape_of

ROOT = Path(__file__).parents[1]
PHOTOGRAPH = ROOT / "tests/data/photos/landscape.png"
sys.path.insert(0, str(ROOT / "tools"))

import train_through_learning as tool  # noqa: E402


@pytest.fixture(scope="module")
def weights() -> LocalWeights:
    found = load(next(folder for folder in shipped_model_folders() if folder.name == "photo-fast"))
    assert isinstance(found, LocalWeights)
    return found


def crops_of(weights: LocalWeights) -> tool.Crops:
    return tool.Crops(weights, [np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))], np.random.default_rng(0))


@pytest.mark.parametrize("learns", [False, True])
def test_a_crop_is_coded_as_by_the_codec(weights: LocalWeights, learns: bool) -> None:
    pixels = np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))[:64, :72]
    crops = crops_of(weights)
    network = tool.PixelNetwork(restore_local(weights, shape_of(weights))[0])
    crop, rows = tool.Crop(crops.vae, crops.shape, np.ascontiguousarray(pixels)), network.start.clone()[None]
    assert crop.units * UNIT == pixels[..., 0].size
    adam, nats = tool.Adam(rows), 0.0
    while not crop.done:
        leaf = rows.clone().requires_grad_()
        mean = network.nats(leaf, *(values[None] for values in crop.unit())).sum()
        nats += mean.item() * UNIT
        if learns:
            (gradient,) = torch.autograd.grad(mean, leaf)
            rows = rows + adam.change(gradient, RATE * 1e-6)
    x, features = strips_and_features(crops.vae, pixels)
    with exact_arithmetic():
        coder = crops.vae.learning_coder(crops.vae.parameters(RATE), UNIT, int(learns))
        bits = float(coder.lengths(features, x).sum()) / 2**30
    assert nats / math.log(2) == pytest.approx(bits, rel=0.003)


def test_crops_are_pieces_of_the_picture(weights: LocalWeights) -> None:
    crops = crops_of(weights)
    units = [crops.draw().units for _ in range(40)]
    low, high = np.array(tool.AREAS) // UNIT
    assert low - 1 <= min(units) < 2 * low and max(units) <= high
    assert len(set(units)) > 20


def test_training_makes_what_is_learned_smaller(weights: LocalWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that were disturbed are mended, and the same steps give the same weights."""
    ticks = iter(range(10**6))
    monkeypatch.setattr("time.process_time", lambda: next(ticks))
    monkeypatch.setattr(tool, "STREAMS", 4)
    network = tool.PixelNetwork(restore_local(weights, shape_of(weights))[0])
    network.start += 0.02 * torch.randn(network.start.shape, generator=torch.Generator().manual_seed(0))
    found, steps = tool.train_through(network, crops_of(weights), 40, 1e-3)

    def nats(row: torch.Tensor) -> float:
        crop = crops_of(weights).draw()
        with torch.no_grad():
            return sum(float(network.nats(row[None], *(v[None] for v in crop.unit()))) for _ in range(crop.units))

    assert steps == 39
    assert nats(found) < 0.99 * nats(network.start)


def test_a_model_is_trained_and_written(
    weights: LocalWeights, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, photos, out = (
        next(f for f in shipped_model_folders() if f.name == "photo-fast"),
        tmp_path / "p",
        tmp_path / "out",
    )
    photos.mkdir()
    for number in range(10):
        Image.open(PHOTOGRAPH).convert("RGB").resize((300 + number, 260)).save(photos / f"{number}.png")
    monkeypatch.setattr(tool, "SIDE", 1)
    monkeypatch.setattr(sys, "argv", ["tool", str(folder), str(photos), str(out), "--seconds", "0.2"])
    tool.main()
    assert "steps of 32 x 128 pixels" in capsys.readouterr().out
    found = load(out)
    assert isinstance(found, LocalWeights) and found.id != weights.id
    assert found.direct_bits == weights.direct_bits
    assert found.card["evaluated_on"] == "1 held-out images of 64x64" and found.card["name"] == "photo-fast"


def test_a_model_of_another_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = next(folder for folder in shipped_model_folders() if folder.name == "mnist-binary")
    monkeypatch.setattr(sys, "argv", ["tool", str(other), str(tmp_path), str(tmp_path / "out"), "--seconds", "1"])
    with pytest.raises(SystemExit, match="not a local model for images of any size"):
        tool.main()
