"""Arrays as scientists have them, small, and the models that code them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bbcompress.images.read import read_image

DATA = Path(__file__).resolve().parents[1] / "data"


def digits(count: int) -> np.ndarray[Any, Any]:
    """A stack (z, y, x) of digits, uint8."""
    return np.stack([read_image(DATA / "digits" / "grey" / f"{number:04}.png").pixels for number in range(count)])


def photograph(height: int, width: int) -> np.ndarray[Any, Any]:
    """A part (y, x, c) of a photograph, uint8."""
    return read_image(DATA / "photos" / "landscape.png").pixels[40 : 40 + height, 60 : 60 + width, :3]


def microscopy(planes: int, height: int, width: int) -> np.ndarray[Any, Any]:
    """A stack (z, y, x) as a microscope with a camera of 12 bits takes it, uint16: cells out of focus, shot noise."""
    random = np.random.default_rng(3)
    z, y, x = np.ogrid[:planes, :height, :width]
    light = np.zeros((planes, height, width))
    for _ in range(12):
        at = random.uniform(0, (planes, height, width))
        spread = 2 + np.abs(z - at[0])
        light = light + 900 / spread * np.exp(-((y - at[1]) ** 2 + (x - at[2]) ** 2) / (2 * spread**2))
    return np.minimum(random.poisson(light + 20) + 100, 4095).astype(np.uint16)
