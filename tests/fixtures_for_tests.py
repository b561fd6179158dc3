"""Fixtures that several test modules import: what commands and archives start from."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

MODELS = Path(__file__).resolve().parent / "data" / "models"


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


@pytest.fixture
def own_notices() -> Iterator[None]:
    """What commands change of the logger for notices is undone."""
    logger = logging.getLogger("bbcompress")
    handlers, level = logger.handlers, logger.level
    yield
    logger.handlers = handlers
    logger.setLevel(level)
