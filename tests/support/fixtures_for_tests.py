"""What several test modules import: fixtures of what commands and archives start from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from models_for_tests import MODELS
from models_for_tests import models_in as models_in

from bbcompress.images.image import PixelImage
from bbcompress.pipeline import compressor, reader


@pytest.fixture
def tiny_models(no_models: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny models, and no others, are installed; files do not carry them by default, as if they came with bbc."""
    monkeypatch.setenv("BBC_MODELS", str(MODELS))
    monkeypatch.setattr("bbcompress.models.zoo.Zoo.is_shipped", lambda *_: True)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def decode_by(monkeypatch: pytest.MonkeyPatch, decode: Callable[..., list[PixelImage] | None]) -> None:
    """Let `decode` decode groups, in place of `decode_images`, wherever that is done."""
    for module, name in ((compressor, "decode_images"), (reader, "decode_content")):
        monkeypatch.setattr(module, name, decode)


def calibrate_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of an exported mlp are calibrated on a few images and one rate, which takes seconds otherwise."""
    from bbcompress.training.architectures.mlp import export

    quick = partial(export.calibrate, direct=1, rates=(20_000,), refined=1)  # type: ignore[attr-defined]
    monkeypatch.setattr(export, "calibrate", lambda weights, x, *_, **__: quick(weights, x[:4]))


@pytest.fixture
def quick_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """`calibrate_quickly`, for a test."""
    calibrate_quickly(monkeypatch)
