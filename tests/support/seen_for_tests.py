"""Images as they are seen: what another program's reading of a file can be compared with."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from bbcompress.images.image import PixelImage


def rgba(image: PixelImage) -> npt.NDArray[Any]:
    """The image as it is seen, without its background: (height, width, 4), uint8, of 16-bit samples uint16."""
    pixels = image.pixels
    top = 65535 if pixels.dtype == np.uint16 else 255
    if image.mode == "P":
        alpha = np.full((len(image.palette) // 3, 1), 255, np.uint8)
        alpha[: len(image.transparency), 0] = list(image.transparency)
        return np.hstack([np.frombuffer(image.palette, np.uint8).reshape(-1, 3), alpha])[pixels]
    channels = pixels.reshape(*pixels.shape[:2], -1)
    alpha = np.full((*pixels.shape[:2], 1), top, np.uint16 if top > 255 else np.uint8)
    if image.transparency:
        key = struct.unpack(f">{len(image.transparency) // 2}H", image.transparency)
        alpha[(channels == np.array(key)).all(axis=2)] = 0
    if image.mode == "1":
        channels = channels.astype(np.uint8) * 255
    if channels.shape[2] in (2, 4):
        channels, alpha = channels[:, :, :-1], channels[:, :, -1:]
    return np.dstack([channels.repeat(3, axis=2) if channels.shape[2] == 1 else channels, alpha])
