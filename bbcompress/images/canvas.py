"""The canvas of an animation: what is seen when each picture changes a part of what was there before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]

KEEP, CLEAR, RESTORE = range(3)
"""What happens to the place of a picture before the next one: it stays, is cleared, or is as before the picture."""


class Box(NamedTuple):
    """Where a picture lies on the canvas, in pixels."""

    left: int
    top: int
    width: int
    height: int

    def of(self, pixels: Pixels) -> Pixels:
        """That part of a canvas, as a view."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]


class Canvas:
    """Pixels (height, width, ...), all of one value in the beginning."""

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike, blank: int = 0) -> None:
        """blank: what is there where nothing is."""
        self.pixels: Pixels = np.full(shape, blank, dtype)
        self._blank = blank
        self._disposal = KEEP
        self._box = Box(0, 0, 0, 0)
        self._before: Pixels | None = None

    def begin(self, box: Box, disposal: int) -> Pixels:
        """Prepare for the next picture: do what the one before asks for. Returns the place of the new one, a view."""
        if self._disposal == CLEAR:
            self._box.of(self.pixels)[...] = self._blank
        elif self._before is not None:
            self._box.of(self.pixels)[...] = self._before
        self._disposal, self._box = disposal, box
        place = box.of(self.pixels)
        self._before = place.copy() if disposal == RESTORE else None
        return place

    def converted(self, convert: Callable[[Pixels], Pixels]) -> Canvas:
        """The same canvas of other pixels, of which 0 is what nothing is."""
        pixels = convert(self.pixels)
        other = Canvas((0, *pixels.shape[1:]), pixels.dtype)
        other.pixels = pixels
        other._disposal, other._box = self._disposal, self._box
        other._before = None if self._before is None else convert(self._before)
        return other


def draw_over(place: Pixels, pixels: Pixels) -> None:
    """Draw pixels with alpha, which is the last sample, over a place of a canvas of the same samples.

    By the formula of PNG for alpha that is not multiplied into the colours, rounded to the nearest.
    """
    alpha = pixels[..., -1]
    most = np.iinfo(pixels.dtype).max
    opaque = alpha == most
    place[opaque] = pixels[opaque]
    mixed = (alpha > 0) & ~opaque
    if mixed.any():
        over, under = pixels[mixed].astype(np.uint64), place[mixed].astype(np.uint64)
        weight = over[:, -1:] * np.uint64(most)
        rest = (np.uint64(most) - over[:, -1:]) * under[:, -1:]
        total = weight + rest
        place[mixed] = np.concatenate(
            [
                (2 * (over[:, :-1] * weight + under[:, :-1] * rest) + total) // (2 * total),
                (2 * total + np.uint64(most)) // np.uint64(2 * most),
            ],
            axis=1,
        ).astype(pixels.dtype)


def without_alpha(pixels: Pixels) -> Pixels | None:
    """The colours alone of pixels of which all are opaque, (height, width) of one; None where some are not."""
    if not bool((pixels[..., -1] == np.iinfo(pixels.dtype).max).all()):
        return None
    colours = pixels[..., :-1]
    return np.ascontiguousarray(colours[..., 0] if colours.shape[-1] == 1 else colours)
