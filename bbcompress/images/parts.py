"""Images whose parts are images of other modes: colours, or grey, and alpha."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bbcompress.errors import ImageError
from bbcompress.images.image import MODES, PixelImage, samples_of

PARTS = {"LA": ("L", "L"), "RGBA": ("RGB", "L")}
"""The modes of the parts of each mode that has some, in the order of its samples."""


def parts_of(image: PixelImage) -> list[PixelImage]:
    """The parts of an image of such a mode, without metadata: all samples, also those of pixels that cannot be seen."""
    parts, first = [], 0
    for mode in PARTS[image.mode]:
        samples = samples_of(mode)
        pixels = image.pixels[..., first] if samples == 1 else image.pixels[..., first : first + samples]
        parts.append(PixelImage(mode, pixels))
        first += samples
    return parts


def joined(mode: str, parts: Sequence[PixelImage]) -> PixelImage:
    """The image that has these parts.

    Raises:
        ImageError: they are not the parts of an image of the mode, or of different sizes.
    """
    if tuple(part.mode for part in parts) != PARTS[mode] or not all(part.plain for part in parts):
        raise ImageError(f"parts of modes {', '.join(part.mode for part in parts)} are no image of mode {mode}")
    if len({part.size for part in parts}) > 1:
        raise ImageError("the parts of an image have different sizes")
    pixels = np.empty((*parts[0].pixels.shape[:2], samples_of(mode)), MODES[mode][0])
    first = 0
    for part in parts:
        samples = samples_of(part.mode)
        pixels[..., first : first + samples] = part.pixels.reshape(*part.pixels.shape[:2], samples)
        first += samples
    pixels.flags.writeable = False
    return PixelImage(mode, pixels)
