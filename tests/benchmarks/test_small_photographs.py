"""The benchmark of small photographs: squares from edge to edge, read back in one archive and by themselves."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from bbcompress.images.read import read_image
from bbcompress.models.shipped import shipped_model_folders

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "tests" / "data" / "photos" / "landscape.png"


def test_squares_reach_the_edges_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = importlib.import_module("small_photographs")
    photograph = read_image(PHOTO)
    squares = benchmark.squares(photograph, 24)
    assert len(squares) == 9 and {square.pixels.shape for square in squares} == {(24, 24, 3)}
    assert np.array_equal(squares[0].pixels, photograph.pixels[:24, :24])
    assert np.array_equal(squares[-1].pixels, photograph.pixels[-24:, -24:])
    folder = next(str(folder) for folder in shipped_model_folders() if folder.name == "photo-fast")
    found = benchmark.sizes(folder, squares[:3], True)
    assert 0 < found["archive"] < found["files"] < 3 * 24 * 24 * 3
