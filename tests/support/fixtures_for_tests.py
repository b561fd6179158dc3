"""What several test modules import: fixtures of what commands and archives start from."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from bbcompress.exact.backend import NumpyBackend
from bbcompress.images.image import PixelImage
from bbcompress.models.cache import Models
from bbcompress.models.zoo import Zoo
from bbcompress.pipeline import compressor, reader

MODELS = Path(__file__).resolve().parents[1] / "data" / "models"


@cache
def models_in(folder: Path = MODELS) -> Models:
    """The models of a folder, and those that are installed, on the CPU, each loaded once for all tests of a process."""
    return Models(Zoo(folder), NumpyBackend())


@pytest.fixture
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny models, and no others, are installed."""
    monkeypatch.setenv("BBC_MODELS", str(MODELS))
    monkeypatch.setattr("bbcompress.models.zoo.shipped_model_folders", lambda: [])


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def decode_by(monkeypatch: pytest.MonkeyPatch, decode: Callable[..., list[PixelImage] | None]) -> None:
    """Let `decode` decode groups, in place of `decode_images`, wherever that is done."""
    for module, name in ((compressor, "decode_images"), (reader, "decode_content")):
        monkeypatch.setattr(module, name, decode)
