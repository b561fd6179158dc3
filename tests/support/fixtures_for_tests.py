"""What several test modules import: fixtures of what commands and archives start from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bbcompress.codecs import groups
from bbcompress.images.image import PixelImage
from bbcompress.pipeline import compressor, reader

MODELS = Path(__file__).resolve().parents[1] / "data" / "models"


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
    for module in (compressor, groups, reader):
        monkeypatch.setattr(module, "decode_images", decode)
