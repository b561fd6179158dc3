"""Images as local models see them: a canvas with a margin, its rows of tiles (strips), and the order of decoding.

A strip is a row of tiles of one image: the unit that is coded directly or joins a batch. Strips are numbered as they
are pushed: image after image, and in each image from the bottom to the top, so that what is popped first are the tops
of images and every pixel finds its neighbourhood decoded, whatever the batches are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from bbcompress.exact.tables import IntArray
from bbcompress.models.neighbourhood import OFFSETS, RADIUS

NumpyArray = np.ndarray[Any, Any]

SLOPE = RADIUS + 1
"""Pixels of equal x + 4 y do not see each other."""
OUTSIDE = -1
"""What the margin holds."""


class Canvas:
    """N images of one size with a margin around each: rows above, columns on both sides."""

    def __init__(self, count: int, height: int, width: int, channels: int, tile: int) -> None:
        """All pixels 0."""
        self.count, self.height, self.width, self.channels, self.tile = count, height, width, channels, tile
        self.down, self.across = -(-height // tile), -(-width // tile)
        """Strips of an image, and tiles of a strip."""
        self.pitch = width + 2 * RADIUS
        padded = np.full((count, height + RADIUS, self.pitch, channels), OUTSIDE, np.int16)
        self.inner = padded[:, RADIUS:, RADIUS : RADIUS + width]
        """(N, H, W, C): a view of the pixels themselves."""
        self.inner[:] = 0
        self.flat = padded.reshape(-1)
        self.offsets = np.array([(dy * self.pitch + dx) * channels for dy, dx in OFFSETS], np.int64)
        """Where a pixel's neighbours are in `flat`, from the pixel's place on."""

    @classmethod
    def of(cls, images: NumpyArray, tile: int) -> Canvas:
        """The canvas of images (N, H, W, C) of levels."""
        count, height, width, channels = images.shape
        canvas = cls(count, height, width, channels, tile)
        canvas.inner[:] = images
        return canvas

    @property
    def images(self) -> NumpyArray:
        """The pixels, uint8 (N, H, W, C)."""
        return self.inner.astype(np.uint8)

    def places(self, image: Any, y: Any, x: Any) -> IntArray:
        """Where pixels are in `flat`."""
        places: IntArray = ((image * (self.height + RADIUS) + y + RADIUS) * self.pitch + x + RADIUS) * self.channels
        return places

    def levels_at(self, places: IntArray) -> IntArray:
        """Levels of the pixels at `places`, int64 (C, N)."""
        levels: IntArray = self.flat[places[None] + np.arange(self.channels)[:, None]].astype(np.int64)
        return levels

    def set_levels(self, places: IntArray, channel: int, levels: IntArray) -> None:
        """Write one channel of the pixels at `places`."""
        self.flat[places + channel] = levels


@dataclass(frozen=True)
class Pixels:
    """Pixels of a canvas: `places` in it and their `cells` (tile * cells^2 + cell in the tile), (N,) both.

    bounds: (steps + 1,) where the steps of a wavefront begin, and their end.
    """

    places: IntArray
    cells: IntArray
    bounds: IntArray


@dataclass(frozen=True)
class Strips:
    """The strips `first` to `last` of a canvas, in the order in which they are pushed."""

    canvas: Canvas
    first: int
    last: int
    _waves: dict[int, Pixels] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def all_of(cls, canvas: Canvas) -> Strips:
        """Every strip."""
        return cls(canvas, 0, canvas.count * canvas.down)

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, rows: slice) -> Strips:
        first, last, step = rows.indices(len(self))
        if step != 1:
            raise ValueError("strips stand one after the other")
        if (first, last) == (0, len(self)):
            return self
        return Strips(self.canvas, self.first + first, self.first + max(first, last))

    @property
    def latent_rows(self) -> int:
        """Rows of z that each strip has: its tiles."""
        return self.canvas.across

    @property
    def pixel_count(self) -> int:
        """Pixels of all strips."""
        return sum(bottom - top for _, top, bottom, _ in self.regions) * self.canvas.width

    @cached_property
    def regions(self) -> list[tuple[int, int, int, int]]:
        """(image, top, bottom, strip at the top) of the rows of each image that the strips cover."""
        canvas, regions = self.canvas, []
        strip = self.first
        while strip < self.last:
            image, below = divmod(strip, canvas.down)
            end = min(self.last, (image + 1) * canvas.down)
            lowest, highest = canvas.down - 1 - below, canvas.down - (end - image * canvas.down)
            regions.append((image, highest * canvas.tile, min((lowest + 1) * canvas.tile, canvas.height), end - 1))
            strip = end
        return regions

    def tiles(self) -> Iterator[NumpyArray]:
        """The pixels of the tiles in order, (n, h, w, C) int16: runs of tiles of equal size at a time."""
        canvas, tile = self.canvas, self.canvas.tile
        if canvas.down == canvas.across == 1:
            yield canvas.inner[self.first : self.last]
            return
        for strip in range(self.first, self.last):
            image, below = divmod(strip, canvas.down)
            top = (canvas.down - 1 - below) * tile
            band = canvas.inner[image, top : top + tile]
            whole = canvas.width // tile
            if whole:
                yield band[:, : whole * tile].reshape(len(band), whole, tile, -1).transpose(1, 0, 2, 3)
            if whole * tile < canvas.width:
                yield band[None, :, whole * tile :]

    def wavefront(self, cell: int) -> Pixels:
        """All pixels in the order of decoding: by x + 4 (y - first row of the image's region), then image, then y."""
        if cell not in self._waves:
            self._waves[cell] = self._wavefront(cell)
        return self._waves[cell]

    def _wavefront(self, cell: int) -> Pixels:
        canvas = self.canvas
        orders: dict[int, tuple[IntArray, IntArray, IntArray]] = {}
        places, cells, steps = [], [], []
        for image, top, bottom, strip in self.regions:
            height = bottom - top
            if height not in orders:
                y, x = np.divmod(np.arange(height * canvas.width), canvas.width)
                step = x + SLOPE * y
                order = np.argsort(step, kind="stable")
                orders[height] = step[order], y[order], x[order]
            step, y, x = orders[height]
            places.append(canvas.places(image, top + y, x))
            cells.append(self._cells(strip, y, x, cell))
            steps.append(step)
        all_places, all_cells, step = np.concatenate(places), np.concatenate(cells), np.concatenate(steps)
        if len(self.regions) > 1:
            order = np.argsort(step, kind="stable")
            all_places, all_cells, step = all_places[order], all_cells[order], step[order]
        counts = np.bincount(step)
        bounds = np.concatenate([[0], np.cumsum(counts[counts > 0])]).astype(np.int64)
        return Pixels(all_places, all_cells, bounds)

    def _cells(self, strip: int, y: IntArray, x: IntArray, cell: int) -> IntArray:
        """Cells of pixels y rows below the top of `strip`, at column x."""
        canvas, tile = self.canvas, self.canvas.tile
        side = tile // cell
        tiles = (strip - y // tile - self.first) * canvas.across + x // tile
        return tiles * side * side + (y % tile) // cell * side + (x % tile) // cell

    def sampled(self, stride: int, step: int, cell: int, tiles: int) -> Iterator[Pixels]:
        """Pixels of every stride-th row and column, sorted by cell, about `tiles` tiles at a time.

        Row y and column x of a tile count where y mod stride = a, x mod stride = b, with a = step mod stride and
        b = floor(step / stride) mod stride.
        """
        canvas = self.canvas
        a, b = step % stride, step // stride % stride
        parts: list[tuple[IntArray, IntArray]] = []
        waiting = 0
        for image, top, bottom, strip in self.regions:
            rows = np.arange(top, bottom)
            columns = np.arange(canvas.width)
            rows = rows[rows % canvas.tile % stride == a] - top
            columns = columns[columns % canvas.tile % stride == b]
            y, x = np.repeat(rows, len(columns)), np.tile(columns, len(rows))
            parts.append((canvas.places(image, top + y, x), self._cells(strip, y, x, cell)))
            waiting += len(y)
            if waiting * stride * stride >= tiles * canvas.tile**2:
                yield from self._by_cell(parts)
                parts, waiting = [], 0
        yield from self._by_cell(parts)

    @staticmethod
    def _by_cell(parts: list[tuple[IntArray, IntArray]]) -> Iterator[Pixels]:
        if not parts:
            return
        places, cells = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        order = np.argsort(cells, kind="stable")
        if len(order):
            yield Pixels(places[order], cells[order], np.array([0, len(order)], np.int64))


Images = NumpyArray | Strips
"""What codecs take: images as rows of pixels, uint8 (B, D), or strips."""


def latent_rows(x: Images) -> int:
    """Rows of z of each image or strip."""
    return x.latent_rows if isinstance(x, Strips) else 1
