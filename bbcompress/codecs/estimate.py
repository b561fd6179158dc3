"""About how many bits a model takes for an image, by squares of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from bbcompress.codecs.mixed import model_bits
from bbcompress.codecs.settings import CodingSettings
from bbcompress.models.base import Model

NumpyArray = np.ndarray[Any, Any]

SQUARES_ACROSS = 3
SQUARE_SIDE = 96
"""Of an image so many rows of so many squares, of so many pixels a side, are looked at."""


def estimated_bits(pixels: NumpyArray, model: Model, settings: CodingSettings) -> float:
    """About the bits that a model takes for an image, (H, W) or (H, W, C) as it codes it, without learning; 0 where
    that is not known."""
    if model.weights.shape is not None:
        return 0
    height, width = pixels.shape[:2]
    tops, lefts = (
        np.linspace(0, max(side - SQUARE_SIDE, 0), SQUARES_ACROSS).astype(int).tolist() for side in (height, width)
    )
    squares = [pixels[top : top + SQUARE_SIDE, left : left + SQUARE_SIDE] for top in tops for left in lefts]
    bits = float(model_bits(model, squares, settings)[0].sum())
    return bits * pixels.size / sum(square.size for square in squares)
