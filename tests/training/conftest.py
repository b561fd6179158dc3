"""Tiny data and runs: 27 + 3 images of 6 x 5 grey pixels, networks 8 wide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from training_for_tests import Time, write_images

from bbcompress.training import clock, run
from bbcompress.training.config import TrainingConfig


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The clock of every run: how many steps one makes in its time, and when it saves, does not rest on the machine."""
    time = Time(0.005)
    for module in (clock, run):
        monkeypatch.setattr(module, "time", time)
    return time


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A directory of images."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(30):
        pixels = np.clip(rng.normal(60 + 100 * (i % 2), 40, (6, 5)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A directory of 18 + 2 small colour images."""
    return write_images(tmp_path / "colours", 20, 3, (8, 8))


@pytest.fixture
def config(images: Path) -> TrainingConfig:
    """A run of 2 + 2 epochs of 7 steps."""
    return TrainingConfig(
        data=str(images), latents=3, hidden=8, epochs=2, encoder_epochs=2, lr=3e-3, batch=4, evaluate_every=1
    )
