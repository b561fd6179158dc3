"""Section "Colour lattices" of docs/format.md."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .primitives import Cursor, check

Array = npt.NDArray[Any]


def tables(code: int) -> tuple[int, Array, Array, Array, Array, Array]:
    """Colour lattices: s, L, r, b, e and f."""
    n = np.arange(256)
    u = v = n - 128
    if code == 1:
        s, luma, r, b = 16, 2**16 * n, 91881 * v + 32768, 116130 * u + 32768
        e, f = -22554 * u + 32768, -46802 * v
    elif code == 2:
        s, luma, r, b = 6, 19077 * n // 256, 26149 * n // 256 - 14234, 33050 * n // 256 - 17685
        e, f = 8708 - 6419 * n // 256, -(13320 * n // 256)
    elif code == 3:
        s, luma, r, b = 6, 4194240 * n // 2**16, 90 * v + 32, 113 * u + 32
        e, f = 32 - 22 * u, -46 * v
    elif code == 4:
        t, w = 18215 * (n - 137), 22179 * (n - 156)
        s, luma, r, b, e, f = (
            16,
            *((65536 * x + 5000) // 10000 for x in (13584 * n, t, w, -1940 * (w // 10000), -5090 * (t // 10000))),
        )
    else:
        black, luma_factor, red, blue, from_u, from_v = {
            5: (16, 9539, 13075, 16525, -3209, -6660),
            6: (16, 9539, 14686, 17305, -1747, -4366),
            7: (0, 8192, 11485, 14516, -2819, -5850),
            8: (0, 8192, 12901, 15201, -1535, -3835),
        }[code]
        s, luma, r, b = 0, 8 * luma_factor * (n - black) // 2**16, 8 * red * v // 2**16, 8 * blue * u // 2**16
        e, f = 8 * from_u * u // 2**16, 8 * from_v * v // 2**16
    return s, luma, r, b, e, f


@cache
def lattice(code: int) -> Array:
    """Colour lattices: bool (256, 256, 256) by R, G, B."""
    s, luma, r, b, e, f = tables(code)
    there = np.zeros((256, 256, 256), np.bool_)
    for y in range(256):
        red = ((luma[y] + r) // 2**s).clip(0, 255)[None, :]
        green = ((luma[y] + e[:, None] + f[None, :]) // 2**s).clip(0, 255)
        blue = ((luma[y] + b) // 2**s).clip(0, 255)[:, None]
        there[red, green, blue] = True
    return there


@dataclass
class Colours:
    """Colour lattices: the lattice of an image or a block, and the rows and columns of the exceptions, with their
    colours where planes are coded."""

    code: int
    exceptions: dict[tuple[int, int], Array | None]
    planes: bool

    def within(self, rows: slice, columns: slice) -> Colours:
        """Of a block of the image."""
        moved = {
            (y - rows.start, x - columns.start): colour
            for (y, x), colour in self.exceptions.items()
            if rows.start <= y < rows.stop and columns.start <= x < columns.stop
        }
        return Colours(self.code, moved, self.planes)

    def restricted(self, edges: Array, pixel: Array, place: tuple[int, int]) -> Array:
        """Colour lattices: the edges of the levels of blue."""
        if self.planes or place in self.exceptions:
            return edges
        possible = lattice(self.code)[pixel[0], pixel[1]]
        if not possible.any():
            possible = np.ones(256, np.bool_)
        sums = np.concatenate([[0], np.cumsum(np.where(possible, np.diff(edges), 0))])
        scaled: Array = sums * 2**24 // sums[-1]
        return scaled

    def image_of(self, coded: Array) -> Array:
        """Colour lattices: the image, of what the blocks hold."""
        if not self.planes:
            return coded
        s, luma, r, b, e, f = tables(self.code)
        d, c = (156, 137) if self.code == 4 else (128, 128)
        p, q, t = np.moveaxis(coded, 2, 0)
        cr, cb = (p - q + c) % 256, (t - q + d) % 256
        image = np.stack([luma[q] + r[cr], luma[q] + e[cb] + f[cr], luma[q] + b[cb]], axis=2) // 2**s
        colours: Array = image.clip(0, 255)
        for place, colour in self.exceptions.items():
            colours[place] = colour
        return colours

    def fit(self, image: Array) -> bool:
        """Colour lattices: whether all exceptions are off the lattice."""
        return not any(lattice(self.code)[tuple(image[place])] for place in self.exceptions)


def read_colours(cursor: Cursor, sizes: list[tuple[int, int]], channels: int) -> list[Colours | None]:
    """Colour lattices: what the payload says."""
    check(channels == 3, "colours of a model that has none")
    colours: list[Colours | None] = []
    for height, width in sizes:
        code = cursor.byte()
        check(code <= 8 or 17 <= code <= 24, "a reserved lattice")
        if not code:
            colours.append(None)
            continue
        places, last = [], -1
        for _ in range(cursor.varint(0, height * width // 256)):
            last += cursor.varint() + 1
            check(last < height * width, "an exception outside the image")
            places.append(divmod(last, width))
        planes = code > 16
        listed = (
            np.frombuffer(cursor.take(3 * len(places)), np.uint8).reshape(-1, 3) if planes else [None] * len(places)
        )
        colours.append(Colours(code % 16, dict(zip(places, listed, strict=True)), planes))
    check(any(colours), "no image has a lattice")
    return colours
