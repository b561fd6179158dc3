"""Code lengths by other weights are those of the codec."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bbcompress.codecs.learned import RATE, UNIT, strips_and_features
from bbcompress.exact.arithmetic import exact_arithmetic
from bbcompress.exact.backend import NumpyBackend
from bbcompress.models.checkpoint import load
from bbcompress.models.local import ExactLocalVAE, LocalWeights
from bbcompress.models.shipped import shipped_model_folders

ROOT = Path(__file__).resolve().parents[2]
FAST, GREY = (
    next(folder for folder in shipped_model_folders() if folder.name == name) for name in ("photo-fast", "grey")
)


@pytest.mark.parametrize("folder", [FAST, GREY], ids=lambda folder: folder.name)
def test_frozen_weights_learn_from_no_unit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from the first one, either: one step makes photographs several per cent larger."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    weights, pixels = load(folder), np.asarray(Image.open(ROOT / "tests/data/photos/landscape.png"))[:64, :64]
    assert isinstance(weights, LocalWeights)
    found = importlib.import_module("weights").bits(weights, pixels)
    own = pixels if weights.channels == 3 else np.asarray(Image.fromarray(pixels).convert("L"))
    vae = ExactLocalVAE(weights, NumpyBackend())
    x, features = strips_and_features(vae, own)
    expected = []
    with exact_arithmetic():
        for unit in (
            pixels.shape[0] * pixels.shape[1],
            UNIT,
        ):  # a unit of all pixels is learned from when all are coded
            coder = vae.learning_coder(vae.parameters(RATE), unit)
            expected.append(float(coder.pixel_lengths(features, x).sum()) / 2**30 / own.size)
    assert [found["frozen"], found["learned"]] == pytest.approx(expected, abs=1e-5)
