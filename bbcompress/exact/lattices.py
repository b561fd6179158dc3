"""Colour lattices: the colours that a known conversion makes of 8-bit luma and chroma, and no others.

An RGB image that once was a JPEG, a lossy WebP, a frame of a video or an image of a Photo CD, and whose pixels have not
been altered since, has only colours that the decoder's conversion from Y, Cb and Cr can make: a quarter of all, or
less. Given red and green of a pixel, that leaves some levels of blue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bbcompress.exact import lattice_kernels as kernels
from bbcompress.exact.tables import IntArray
from bbcompress.lazy import cached_property

NumpyArray = np.ndarray[Any, Any]

EXCEPTION = 1 << 16
"""The row, of those that say which levels are allowed, that allows all."""

TRIES = 64
"""So many pairs of Cb and Cr are tried for a pixel, in the mean of an image, to find the planes."""

_LEVELS = np.arange(256, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Lattice:
    """The colours that a conversion makes of Y, Cb and Cr, 0 .. 255 each.

    R = floor((luma[Y] + red[Cr]) / 2^shift)
    G = floor((luma[Y] + green_blue[Cb] + green_red[Cr]) / 2^shift)
    B = floor((luma[Y] + blue[Cb]) / 2^shift), all clamped to 0 .. 255.
    """

    code: int
    name: str
    shift: int
    luma: IntArray
    red: IntArray
    green_blue: IntArray
    green_red: IntArray
    blue: IntArray
    grey: tuple[int, int] = (128, 128)
    """Cb and Cr of greys."""

    @cached_property
    def allowed(self) -> NumpyArray:
        """Which levels of blue there are, uint8 (65537, 32): row 256 R + G, bit B mod 8 of byte floor(B / 8). The last
        row allows all."""
        rows = np.zeros((EXCEPTION + 1, 32), np.uint8)
        kernels.fill_lattice(*self._tables, rows)
        return rows

    @cached_property
    def size(self) -> int:
        """How many colours it has."""
        return int(np.unpackbits(self.allowed[:-1]).sum())

    def excludes(self, pixels: NumpyArray) -> NumpyArray:
        """Which of a few pixels, uint8 (N, 3), have a colour that it surely has not, bool (N,), without `allowed`.

        What it says of a pixel whose red and blue are not clamped is exact: for each Y one Cr makes such a red, if any,
        and one Cb such a blue. Of others it does not say that.
        """
        r, g, b = pixels.astype(np.int64).T
        v, u = _inverse(self.luma, self.red, self.shift)[r], _inverse(self.luma, self.blue, self.shift)[b]
        green = ((self.luma + self.green_blue[u] + self.green_red[v]) >> self.shift).clip(0, 255)
        found = ((v >= 0) & (u >= 0) & (green == g[:, None])).any(axis=1)
        free = (r > 0) & (r < 255) & (b > 0) & (b < 255)
        excluded: NumpyArray = free & ~found
        return excluded

    def outside(self, pixels: NumpyArray, most: int) -> IntArray | None:
        """The numbers of the pixels, uint8 (..., 3), that have another colour, ascending; None if more than `most`."""
        found = np.empty(most, np.int64)
        count = kernels.find_outside(np.ascontiguousarray(pixels).reshape(-1, 3), self.allowed, found)
        return found[:count] if count <= most else None

    def planes(self, pixels: NumpyArray, exceptions: IntArray) -> NumpyArray | None:
        """The image of the lattice's own coordinates of an image, uint8 (H, W, 3) both, of which only pixels with these
        numbers have other colours; None where it would take too long to find them.

        Its planes are, modulo 256, Y + Cr - `grey[1]`, Y and Y + Cb - `grey[0]`: they resemble red, green and blue.
        """
        exceptional = np.zeros(pixels.shape[:2], np.uint8)
        exceptional.reshape(-1)[exceptions] = 1
        red_of, blue_of = _inverse(self.luma, self.red, self.shift), _inverse(self.luma, self.blue, self.shift)
        found = np.empty(pixels.shape, np.uint8)
        left = kernels.find_coordinates(
            np.ascontiguousarray(pixels),
            exceptional,
            *self._tables,
            red_of,
            blue_of,
            *self.grey,
            TRIES * exceptional.size,
            found,
        )
        if left < 0:
            return None
        y, u, v = found[..., 0], found[..., 1], found[..., 2]
        return np.stack([y + (v - np.uint8(self.grey[1])), y, y + (u - np.uint8(self.grey[0]))], axis=-1)

    def colours(self, planes: NumpyArray) -> NumpyArray:
        """The image, uint8 (H, W, 3), of which these are the planes."""
        first, y, last = planes[..., 0], planes[..., 1], planes[..., 2]
        found = np.stack([y, last - y + np.uint8(self.grey[0]), first - y + np.uint8(self.grey[1])], axis=-1)
        kernels.fill_colours(found.reshape(-1, 3), *self._tables)
        return found

    @property
    def _tables(self) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray, int]:
        return self.luma, self.red, self.green_blue, self.green_red, self.blue, self.shift


def _inverse(luma: IntArray, chroma: IntArray, shift: int) -> IntArray:
    """Of red or blue, the chroma (256, 256) that makes a level, 1 .. 254, of each Y; -1 where none does."""
    found = np.full((256, 256), -1, np.int64)
    found[((luma[:, None] + chroma) >> shift).clip(0, 255), _LEVELS[:, None]] = _LEVELS
    return found


def _libjpeg() -> Lattice:
    """JFIF's conversion as libjpeg rounds it (jdcolor.c), which nearly all decoders of JPEG do."""
    x = _LEVELS - 128
    return Lattice(1, "JPEG", 16, _LEVELS << 16, 91881 * x + 32768, -22554 * x + 32768, -46802 * x, 116130 * x + 32768)


def _libwebp() -> Lattice:
    """BT.601 of limited range as libwebp rounds it (dsp/yuv.h)."""

    def high(factor: int) -> IntArray:
        return (_LEVELS * factor) >> 8

    return Lattice(2, "WebP", 6, high(19077), high(26149) - 14234, 8708 - high(6419), -high(13320), high(33050) - 17685)


def _libyuv() -> Lattice:
    """JFIF's conversion as libyuv rounds it (row_common.cc), by which libavif decodes AVIF of full range."""
    x = _LEVELS - 128
    return Lattice(3, "AVIF", 6, (_LEVELS * 257 * 16320) >> 16, 90 * x + 32, 32 - 22 * x, -46 * x, 113 * x + 32)


def _photo_ycc() -> Lattice:
    """The PhotoYCC of Photo CD by the constants that Kodak published: luma is 1.3584 Y, the differences from it are
    1.8215 (C2 - 137) for red and 2.2179 (C1 - 156) for blue. Green takes 0.194 and 0.509 of the integers below them."""
    u, v = 22179 * (_LEVELS - 156), 18215 * (_LEVELS - 137)

    def scaled(ten_thousandths: IntArray) -> IntArray:
        return (ten_thousandths * 65536 + 5000) // 10000

    green_blue, green_red = scaled(-1940 * (u // 10000)), scaled(-5090 * (v // 10000))
    luma = scaled(13584 * _LEVELS)
    return Lattice(4, "Photo CD", 16, luma, scaled(v), green_blue, green_red, scaled(u), (156, 137))


def _libswscale(
    code: int, name: str, black: int, luma: int, red: int, green_red: int, green_blue: int, blue: int
) -> Lattice:
    """What FFmpeg's libswscale makes of subsampled video on x86, as OpenCV and PyAV do by it: each term, of factors in
    units of 2^-13, is rounded down by itself."""

    def term(offset: int, factor: int) -> IntArray:
        return ((_LEVELS - offset) * 8 * factor) >> 16

    return Lattice(
        code, name, 0, term(black, luma), term(128, red), term(128, -green_blue), term(128, -green_red), term(128, blue)
    )


LATTICES = {
    lattice.code: lattice
    for lattice in (
        _libjpeg(),
        _libwebp(),
        _libyuv(),
        _photo_ycc(),
        _libswscale(5, "video, BT.601", 16, 9539, 13075, 6660, 3209, 16525),
        _libswscale(6, "video, BT.709", 16, 9539, 14686, 4366, 1747, 17305),
        _libswscale(7, "video, BT.601 of full range", 0, 8192, 11485, 5850, 2819, 14516),
        _libswscale(8, "video, BT.709 of full range", 0, 8192, 12901, 3835, 1535, 15201),
    )
}
"""The lattices that files name, by their codes."""


@dataclass(frozen=True, eq=False)
class Restriction:
    """What is known of the colours of pixels: the rows `allowed` of their lattice, and which of them are exceptions,
    bool (N,)."""

    allowed: NumpyArray
    exceptional: NumpyArray

    def rows(self, red: IntArray, green: IntArray, begin: int) -> IntArray:
        """The rows of the pixels from `begin` on that have these levels."""
        return np.where(self.exceptional[begin : begin + len(red)], EXCEPTION, (red << 8) + green)
