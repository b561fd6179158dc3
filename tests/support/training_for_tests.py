"""Images, interruptions and a clock for tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bbcompress.training.reporter import Reporter
from bbcompress.training.trainer import Trainer


def write_images(folder: Path, n: int, channels: int, *sizes: tuple[int, int]) -> Path:
    """Smooth pictures with some noise, in turn of these sizes (height, width)."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(n):
        height, width = sizes[i % len(sizes)]
        y, x = np.mgrid[0:height, 0:width]
        plane = 80 + 9 * (i % 5) + 3 * x + 2 * y
        pixels = plane[:, :, None] % 200 + random.integers(0, 9, (height, width, channels))
        Image.fromarray(pixels.astype(np.uint8).squeeze()).save(folder / f"{i:02}.png")
    return folder


class Time:
    """A clock whose hand moves when it is looked at, by `step` seconds: what rests on it is the same on every machine.

    It stands in place of the module `time`.
    """

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


class Killer:
    """Interrupts training in its n-th epoch, counted over both phases, before the checkpoint of it."""

    def __init__(self, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = n
        self.original = Trainer.run_epoch
        monkeypatch.setattr(Trainer, "run_epoch", lambda trainer, reporter: self.run_epoch(trainer, reporter))

    def run_epoch(self, trainer: Trainer, reporter: Reporter) -> float:
        self.left -= 1
        bpd = self.original(trainer, reporter)
        if self.left == 0:
            raise KeyboardInterrupt
        return bpd
