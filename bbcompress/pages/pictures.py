"""Images and maps of numbers as small pictures for pages and figures."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

NumpyArray = np.ndarray[Any, Any]

_ANCHORS = "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4"
"""Of the colours of a map: inferno, whose lightness grows evenly (van der Walt and Smith, CC0)."""


def colours() -> NumpyArray:
    """The colours of 256 levels from few to many, uint8 (256, 3), no two alike."""
    anchors = np.array([list(bytes.fromhex(anchor)) for anchor in _ANCHORS.split()])
    places = np.linspace(0, len(anchors) - 1, 256)
    found: NumpyArray = np.stack([np.interp(places, range(len(anchors)), channel) for channel in anchors.T], axis=1)
    return np.round(found).astype(np.uint8)


@dataclass(frozen=True)
class HeatMap:
    """Numbers of pixels as levels of colour, uint8 (H, W); 255 stands for `most` or more."""

    levels: NumpyArray
    most: float

    @classmethod
    def of(cls, values: NumpyArray, share: float = 99.5) -> HeatMap:
        """Of values, none of which is below 0, (H, W). share: per cent of the pixels that have colours of their own;
        the few above them would leave the others dark."""
        most = float(np.percentile(values, share)) or float(values.max()) or 1.0
        return cls(np.clip(np.round(values * (255 / most)), 0, 255).astype(np.uint8), most)

    def picture(self) -> Image.Image:
        """The map in its colours."""
        picture = Image.fromarray(self.levels, "L")
        picture.putpalette(colours().tobytes())
        return picture


def legend() -> Image.Image:
    """The colours of a map in one row."""
    return HeatMap(np.arange(256, dtype=np.uint8)[None], 1.0).picture()


def averaged(values: NumpyArray, most_side: int) -> NumpyArray:
    """Values (H, W) as means of squares of pixels, so that no side is above the limit."""
    factor = -(-max(values.shape) // most_side)
    if factor <= 1:
        return values
    rows, columns = (np.arange(0, side, factor) for side in values.shape)
    sums = np.add.reduceat(np.add.reduceat(values, rows, axis=0, dtype=np.float64), columns, axis=1)
    counts = [np.diff(np.append(starts, side)) for starts, side in zip((rows, columns), values.shape, strict=True)]
    means: NumpyArray = sums / (counts[0][:, None] * counts[1])
    return means


def fitted(picture: Image.Image, most_side: int, least_side: int = 1) -> Image.Image:
    """A picture with no side above the limit, and whole pixels repeated where both are far below the other one."""
    longest = max(picture.size)
    if longest > most_side:
        size = [max(1, round(side * most_side / longest)) for side in picture.size]
        return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    factor = least_side // longest
    if factor > 1:
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    return picture


def png(picture: Image.Image) -> bytes:
    """A picture as PNG."""
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def webp(picture: Image.Image, quality: int = 80) -> bytes:
    """A picture as lossy WebP."""
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=quality, method=2)
    return out.getvalue()
