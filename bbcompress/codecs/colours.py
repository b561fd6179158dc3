"""Which colours an image can have: the lattice of a known decoder, but for listed pixels. See docs/format.md.

What is coded is the image of the lattice's own coordinates, luma and chroma, by planes that resemble red, green and
blue. Where these would take long to find, blue is restricted to the levels that can occur.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bbcompress.errors import FormatError
from bbcompress.exact.lattices import LATTICES, Lattice
from bbcompress.exact.tables import IntArray
from bbcompress.wire import ByteReader, varint

NumpyArray = np.ndarray[Any, Any]

LEAST_PIXELS = 256
"""A writer says nothing of images with fewer: it gains too little."""
EXCEPTION_SHARE = 256
"""Of so many pixels one may be an exception."""
SAMPLE, MOST_EXCLUDED = 256, 32
"""Where a lattice has not the colours of more than so many pixels of a sample, the image is not looked through: that
takes a table of all its colours, and so a tenth of a second."""

_NO_PIXELS, _NO_COLOURS = np.zeros(0, np.int64), np.zeros((0, 3), np.uint8)


PLANES = 16
"""What is added to the code of a lattice whose planes are coded in place of red, green and blue."""


@dataclass(frozen=True, eq=False, slots=True)
class Colours:
    """The lattice of an image so wide, and the numbers of the pixels that are not on it: row by row, ascending.

    Attributes:
        true: the colours of the exceptions, uint8 (N, 3), where the lattice's planes are coded in place of the image;
            else None, and blue is restricted.
    """

    lattice: Lattice
    exceptions: IntArray
    width: int
    true: NumpyArray | None = None

    @property
    def restricts(self) -> bool:
        """Whether the levels of blue are restricted."""
        return self.true is None

    def moved(self, image: NumpyArray) -> tuple[Colours, NumpyArray]:
        """An image, uint8 (H, W, 3), by the planes of its lattice, where these can be had in little time; else as it
        is. And what is then to be said of its colours."""
        planes = self.lattice.planes(image, self.exceptions)
        if planes is None:
            return self, image
        return replace(self, true=image.reshape(-1, 3)[self.exceptions]), planes

    def image_of(self, planes: NumpyArray, top: int = 0, left: int = 0) -> NumpyArray:
        """The image, or the rectangle of it, uint8 (H, W, 3) both, of which these are the planes; itself where blue is
        restricted."""
        if self.true is None:
            return planes
        image = self.lattice.colours(planes)
        y, x, within = self._within(top, left, *image.shape[:2])
        image[y, x] = self.true[within]
        return image

    def fit(self, image: NumpyArray) -> bool:
        """Whether all exceptions of an image, uint8 (H, W, 3), are. Other pixels of one that was decoded are on the
        lattice: whatever red and green are, it has a level of blue."""
        if not len(self.exceptions):
            return True
        outside = self.lattice.outside(image.reshape(-1, 3)[self.exceptions], len(self.exceptions))
        return outside is not None and len(outside) == len(self.exceptions)

    def exceptions_in(self, top: int, left: int, height: int, width: int) -> tuple[IntArray, IntArray]:
        """Rows and columns, in a rectangle of the image, of the exceptions that lie there."""
        return self._within(top, left, height, width)[:2]

    def _within(self, top: int, left: int, height: int, width: int) -> tuple[IntArray, IntArray, NumpyArray]:
        """The same, and which of all exceptions these are."""
        y, x = np.divmod(self.exceptions, self.width)
        y, x = y - top, x - left
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        return y[inside], x[inside], inside


def colours_of(image: NumpyArray) -> Colours | None:
    """What can be said of the colours of an image, uint8 (H, W) or (H, W, C); None where they may be any.

    Of several lattices the one with the fewest exceptions is taken, and of these the one with the fewest colours.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.shape[0] * image.shape[1] < LEAST_PIXELS:
        return None
    best: Colours | None = None
    sample, most = _sample(image), image.shape[0] * image.shape[1] // EXCEPTION_SHARE
    for lattice in LATTICES.values():
        if np.count_nonzero(lattice.excludes(sample)) > MOST_EXCLUDED:
            continue
        outside = lattice.outside(image, most)
        if outside is None:
            continue
        if best is None or (len(outside), lattice.size) < (len(best.exceptions), best.lattice.size):
            best, most = Colours(lattice, outside, image.shape[1]), len(outside)
    return best


def _sample(image: NumpyArray) -> NumpyArray:
    """Pixels from all over an image (H, W, 3), in different columns, (`SAMPLE`, 3)."""
    step, numbers = image.shape[0] * image.shape[1] // SAMPLE, np.arange(SAMPLE)
    y, x = np.divmod(numbers * step + numbers * 37 % step, image.shape[1])
    pixels: NumpyArray = image[y, x]
    return pixels


def encode_colours(colours: Sequence[Colours | None]) -> bytes:
    """For each image a lattice's code, 0 for none, the number of exceptions, the gaps between these, and their colours
    where planes are coded."""
    parts = []
    for image in colours:
        if image is None:
            parts.append(varint(0))
            continue
        gaps = np.diff(image.exceptions, prepend=-1) - 1
        code = image.lattice.code + (0 if image.true is None else PLANES)
        parts += map(varint, [code, len(gaps), *gaps.tolist()])
        if image.true is not None:
            parts.append(image.true.tobytes())
    return b"".join(parts)


def read_colours(reader: ByteReader, sizes: Sequence[tuple[int, int]]) -> list[Colours | None]:
    """Read what `encode_colours` wrote of images of these sizes (height, width). Raises FormatError."""
    colours: list[Colours | None] = []
    for height, width in sizes:
        code = reader.byte()
        if not code:
            colours.append(None)
            continue
        lattice, with_planes = LATTICES.get(code % PLANES), code >= PLANES
        if lattice is None or code >= 2 * PLANES:
            raise FormatError(f"{reader.what}: the lattice of colours {code} is not known to this version")
        pixels, last, exceptions = height * width, -1, []
        for _ in range(reader.varint(pixels // EXCEPTION_SHARE, "the number of exceptions")):
            last += 1 + reader.varint(pixels - last - 2, "the place of an exception")
            exceptions.append(last)
        numbers = np.array(exceptions, np.int64) if exceptions else _NO_PIXELS
        true = None
        if with_planes:
            listed = reader.take(3 * len(exceptions))
            true = np.frombuffer(listed, np.uint8).reshape(-1, 3) if listed else _NO_COLOURS
        colours.append(Colours(lattice, numbers, width, true))
    if not any(colours):
        raise FormatError(f"{reader.what}: no image has a lattice of colours")
    return colours
