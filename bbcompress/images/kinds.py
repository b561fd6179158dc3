"""Kinds of images as models know them: what is coded of an image, and the image that it becomes again."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from bbcompress.images.image import PixelImage, binary_view

NumpyArray = np.ndarray[Any, Any]


class Kind(NamedTuple):
    """What a model-coded image is beside its size.

    `mode` is Pillow's; `levels` are the two values that a pixel can have (low, high), None for all 256.
    """

    mode: str
    levels: tuple[int, int] | None

    @property
    def channels(self) -> int:
        """Samples of a pixel."""
        return 3 if self.mode == "RGB" else 1

    @property
    def is_binary(self) -> bool:
        """Whether a sample has two levels, not 256."""
        return self.levels is not None

    def is_coded_as(self, other: Kind) -> bool:
        """Whether the models of one kind code the other, too."""
        return (self.channels, self.is_binary) == (other.channels, other.is_binary)

    def pixels(self, image: PixelImage) -> NumpyArray:
        """What a model codes of an image of the kind: bits or levels, uint8 (height, width[, channels])."""
        if self.levels is None:
            return image.pixels
        view = binary_view(image)
        if view is None:
            raise ValueError("the image has more than two levels")
        return view.bits

    def image(self, pixels: NumpyArray) -> PixelImage:
        """The image of what a model has decoded, (height, width, channels)."""
        if self.channels > 1:
            return PixelImage(self.mode, pixels.astype(np.uint8, copy=False))
        pixels = pixels[:, :, 0]
        if self.mode == "1":
            return PixelImage("1", pixels.astype(np.bool_))
        if self.levels is None:
            return PixelImage(self.mode, pixels.astype(np.uint8))
        return PixelImage(self.mode, np.array(self.levels, np.uint8)[pixels])

    @staticmethod
    def default(channels: int, levels: int) -> Kind:
        """The kind of the images of a model where a header names none."""
        if levels == 2:
            return BINARY
        return COLOUR if channels == 3 else GREY


BINARY = Kind("L", (0, 255))
"""Grey images of the values 0 and 255; the default of binary models."""

BILEVEL = Kind("1", (0, 1))
"""Images of Pillow's mode 1."""

GREY = Kind("L", None)
"""Grey images of 256 levels; the default of grey models."""

COLOUR = Kind("RGB", None)
"""RGB images of 256 levels a channel; the default of colour models."""


def kinds_of(image: PixelImage) -> list[Kind]:
    """What an image is to the models that can code it, the best of them first; nothing where none can."""
    kinds = []
    if (view := binary_view(image)) is not None:
        kinds.append(BILEVEL if view.mode == "1" else Kind(view.mode, view.levels))
    if image.plain and image.mode in ("L", "RGB"):
        kinds.append(GREY if image.mode == "L" else COLOUR)
    return kinds
