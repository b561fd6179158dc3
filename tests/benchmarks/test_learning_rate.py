"""Rates of learning are measured of photographs alone, and in a row that learns on."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from bbcompress.images.read import read_image
from bbcompress.models.checkpoint import load
from bbcompress.models.shipped import shipped_model_folders

ROOT = Path(__file__).resolve().parents[2]


def test_a_row_learns_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = importlib.import_module("learning_rate")
    pixels = read_image(ROOT / "tests" / "data" / "photos" / "landscape.png").pixels
    weights = load(next(folder for folder in shipped_model_folders() if folder.name == "photo-fast"))
    crops = [pixels[:48, left : left + 48] for left in (0, 48)]
    alone, row = (benchmark.bits(weights, crops, 300, in_row) for in_row in (False, True))
    first, second = (benchmark.bits(weights, [crop], 300, True) for crop in crops)
    assert alone == pytest.approx((first + second) / 2)
    assert row < alone
    assert benchmark.bits(weights, crops, 100, False) != alone
