"""Images as models see them: a canvas with a margin, its rows of tiles (strips), and the order of decoding.

A strip is a row of tiles of one image: the unit that is coded directly or joins a batch. Strips are numbered as they
are pushed: image after image, and in each image from the bottom to the top, so that what is popped first are the tops
of images and every pixel finds its neighbourhood decoded, whatever the batches are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import isqrt
from typing import Any

import numpy as np

from bbcompress.exact.tables import IntArray
from bbcompress.lazy import cached_property
from bbcompress.models.neighbourhood import OFFSETS, RADIUS

NumpyArray = np.ndarray[Any, Any]

SLOPE = RADIUS + 1
"""Pixels of equal x + 4 y do not see each other."""
OUTSIDE = -1
"""What the margin holds."""


class Canvas:
    """N images with a margin around each: rows above, columns on both sides. Here they are of one size.

    heights, widths: of each image, in pixels. downs, acrosses: its strips, and the tiles of each of these.
    """

    def __init__(self, count: int, height: int, width: int, channels: int, tile: int) -> None:
        """All pixels 0."""
        self.height, self.width = height, width
        self.down, self.across = -(-height // tile), -(-width // tile)
        """Strips of an image, and tiles of a strip."""
        pitch = width + 2 * RADIUS
        padded = np.full((count, height + RADIUS, pitch, channels), OUTSIDE, np.int16)
        self.inner = padded[:, RADIUS:, RADIUS : RADIUS + width]
        """(N, H, W, C): a view of the pixels themselves."""
        self.inner[:] = 0
        origins = (np.arange(count, dtype=np.int64) * (height + RADIUS) + RADIUS) * pitch + RADIUS
        self._lay_out([(height, width)] * count, channels, tile, padded.reshape(-1), pitch, origins)

    def _lay_out(
        self,
        sizes: Sequence[tuple[int, int]],
        channels: int,
        tile: int,
        flat: NumpyArray,
        pitch: int,
        origins: IntArray,
    ) -> None:
        """sizes: (height, width) of each image. flat: rows of `pitch` pixels. origins: number of each one's first pixel
        among these."""
        self.count, self.channels, self.tile = len(sizes), channels, tile
        self.flat, self.pitch, self._origins = flat, pitch, origins
        self.heights, self.widths = [height for height, _ in sizes], [width for _, width in sizes]
        self.downs, self.acrosses = [-(-h // tile) for h in self.heights], [-(-w // tile) for w in self.widths]
        self.first_strips = [0, *accumulate(self.downs)]
        """The number of each image's first strip, and of all."""
        self._first_rows = [0, *accumulate(d * a for d, a in zip(self.downs, self.acrosses, strict=True))]
        self.offsets = np.array([(dy * pitch + dx) * channels for dy, dx in OFFSETS], np.int64)
        """Where a pixel's neighbours are in `flat`, from the pixel's place on."""

    @classmethod
    def of(cls, images: NumpyArray, tile: int) -> Canvas:
        """The canvas of images (N, H, W, C) of levels."""
        count, height, width, channels = images.shape
        canvas = Canvas(count, height, width, channels, tile)
        canvas.inner[:] = images
        return canvas

    @property
    def images(self) -> NumpyArray:
        """The pixels, uint8 (N, H, W, C)."""
        return self.inner.astype(np.uint8)

    def image(self, number: int) -> NumpyArray:
        """The pixels of one image, (H, W, C): a view."""
        return self.part(self.flat.reshape(-1, self.channels), number)

    def part(self, values: NumpyArray, number: int) -> NumpyArray:
        """What belongs to an image, (H, W, ...), of values that stand in the order of `flat`, one for each pixel: a
        view."""
        rows = values.reshape(-1, self.pitch, *values.shape[1:])
        top, left = divmod(int(self._origins[number]), self.pitch)
        return rows[top : top + self.heights[number], left : left + self.widths[number]]

    def levels(self) -> bytes:
        """The pixels of all images one behind the other, a byte for each sub-pixel."""
        return self.images.tobytes()

    def image_of(self, strip: int) -> int:
        """The image that a strip is of."""
        return bisect_right(self.first_strips, strip) - 1

    def rows_before(self, strip: int) -> int:
        """Rows of z of all strips before this one: their tiles."""
        image = min(self.image_of(strip), self.count - 1)
        return self._first_rows[image] + (strip - self.first_strips[image]) * self.acrosses[image]

    def indices(self, image: Any, y: Any, x: Any) -> IntArray:
        """Where pixels are in `flat`."""
        indices: IntArray = (self._origins[image] + y * self.pitch + x) * self.channels
        return indices

    def levels_at(self, indices: IntArray) -> IntArray:
        """Levels of the pixels at `indices`, int64 (C, N)."""
        levels: IntArray = self.flat[indices[None] + np.arange(self.channels)[:, None]].astype(np.int64)
        return levels

    def set_levels(self, indices: IntArray, channel: int, levels: IntArray) -> None:
        """Write one channel of the pixels at `indices`."""
        self.flat[indices + channel] = levels


class MixedCanvas(Canvas):
    """A canvas of images of several sizes. They stand side by side on shelves, the highest first, which leaves little
    room unused whatever the sizes are; all rows of the canvas have one length, as neighbours are found by it."""

    def __init__(self, sizes: Sequence[tuple[int, int]], channels: int, tile: int) -> None:
        """All pixels 0.

        Args:
            sizes: (height, width) of each image.
        """
        area = sum((height + RADIUS) * (width + 2 * RADIUS) for height, width in sizes)
        pitch = max(isqrt(area), max(width for _, width in sizes) + 2 * RADIUS)
        origins = np.empty(len(sizes), np.int64)
        top = left = bottom = 0
        for number in sorted(range(len(sizes)), key=lambda number: -sizes[number][0]):
            height, width = sizes[number]
            if left + width + 2 * RADIUS > pitch:
                top, left = bottom, 0
            bottom = max(bottom, top + height + RADIUS)
            origins[number] = (top + RADIUS) * pitch + left + RADIUS
            left += width + 2 * RADIUS
        self._lay_out(sizes, channels, tile, np.full(bottom * pitch * channels, OUTSIDE, np.int16), pitch, origins)
        for number in range(len(sizes)):
            self.image(number)[:] = 0

    @classmethod
    def holding(cls, images: Sequence[NumpyArray], tile: int) -> MixedCanvas:
        """The canvas of images (H, W, C) of levels."""
        canvas = cls([image.shape[:2] for image in images], images[0].shape[2], tile)
        for number, image in enumerate(images):
            canvas.image(number)[:] = image
        return canvas

    def levels(self) -> bytes:
        """As of any canvas."""
        return b"".join(self.image(number).astype(np.uint8).tobytes() for number in range(self.count))


@dataclass(frozen=True)
class Pixels:
    """Pixels of a canvas: `indices` in it and their `cells` (tile * cells^2 + cell in the tile), (N,) both.

    Attributes:
        bounds: (steps + 1,) where the steps of a wavefront begin, and their end.
        stride: they are of every stride-th row and column.
    """

    indices: IntArray
    cells: IntArray
    bounds: IntArray
    stride: int = 1

    def popped(self, channels: int, steps: slice = slice(None)) -> IntArray:
        """When each sub-pixel of a wavefront, or of some of its steps, is popped, (C, N): all pixels of a step by their
        first channel, then by the second, and so on."""
        first, last, _ = steps.indices(len(self.bounds) - 1)
        bounds = self.bounds[first : last + 1]
        sizes = np.diff(bounds)
        begin, size = np.repeat(bounds[:-1], sizes), np.repeat(sizes, sizes)
        pixels = np.arange(bounds[0], bounds[-1])
        order: IntArray = np.arange(channels)[:, None] * size + (begin * (channels - 1) + pixels)
        return order


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
        return cls(canvas, 0, canvas.first_strips[-1])

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, rows: slice) -> Strips:
        first, last, step = rows.indices(len(self))
        if step != 1:
            raise ValueError("strips stand one after the other")
        if (first, last) == (0, len(self)):
            return self
        return Strips(self.canvas, self.first + first, self.first + max(first, last))

    @cached_property
    def row_ends(self) -> IntArray:
        """(strips + 1,) rows of z of all strips before each, and of all."""
        rows = [self.canvas.rows_before(strip) for strip in range(self.first, self.last + 1)]
        return np.array(rows, np.int64) - rows[0]

    @property
    def row_count(self) -> int:
        """Rows of z of all strips."""
        return self.canvas.rows_before(self.last) - self.canvas.rows_before(self.first)

    @property
    def pixel_count(self) -> int:
        """Pixels of all strips."""
        return sum((bottom - top) * self.canvas.widths[image] for image, top, bottom, _ in self.regions)

    @property
    def whole_tile(self) -> NumpyArray | None:
        """The pixels (1, H, W, C) where this is a single image of one tile, else None."""
        image = self.canvas.image_of(self.first)
        if len(self) != 1 or (self.canvas.downs[image], self.canvas.acrosses[image]) != (1, 1):
            return None
        return self.canvas.image(image)[None]

    @cached_property
    def regions(self) -> list[tuple[int, int, int, int]]:
        """(image, top, bottom, strip at the top) of the rows of each image that the strips cover."""
        canvas, regions = self.canvas, []
        strip, image = self.first, canvas.image_of(self.first)
        while strip < self.last:
            first, down = canvas.first_strips[image], canvas.downs[image]
            end = min(self.last, first + down)
            lowest, highest = down - 1 - (strip - first), down - (end - first)
            top, bottom = highest * canvas.tile, min((lowest + 1) * canvas.tile, canvas.heights[image])
            regions.append((image, top, bottom, end - 1))
            strip, image = end, image + 1
        return regions

    def tiles(self) -> Iterator[NumpyArray]:
        """The pixels of the tiles in order, (n, h, w, C) int16: runs of tiles of equal size at a time."""
        canvas, tile = self.canvas, self.canvas.tile
        if not isinstance(canvas, MixedCanvas) and canvas.down == canvas.across == 1:
            yield canvas.inner[self.first : self.last]
            return
        for image, first, bottom, _ in self.regions:
            pixels, whole = canvas.image(image), canvas.widths[image] // tile
            for top in reversed(range(first, bottom, tile)):
                band = pixels[top : top + tile]
                if whole:
                    yield band[:, : whole * tile].reshape(len(band), whole, tile, -1).transpose(1, 0, 2, 3)
                if whole * tile < canvas.widths[image]:
                    yield band[None, :, whole * tile :]

    def wavefront(self, cell: int) -> Pixels:
        """All pixels in the order of decoding: by x + 4 (y - first row of the image's region), then image, then y."""
        if cell not in self._waves:
            self._waves[cell] = self._wavefront(cell)
        return self._waves[cell]

    def _wavefront(self, cell: int) -> Pixels:
        canvas = self.canvas
        orders: dict[tuple[int, int], tuple[NumpyArray, NumpyArray, NumpyArray]] = {}
        indices, cells, steps = [], [], []
        for image, top, bottom, strip in self.regions:
            size = height, width = bottom - top, canvas.widths[image]
            if size not in orders:
                orders[size] = _wavefront_of(height, width)
            step, y, x = orders[size]
            indices.append(canvas.indices(image, top + y.astype(np.int64), x))
            cells.append(self._cells(image, strip, y, x, cell))
            steps.append(step)
        if len(self.regions) == 1:
            all_places, all_cells, step = indices[0], cells[0], steps[0]
        else:
            all_places, all_cells, step = np.concatenate(indices), np.concatenate(cells), np.concatenate(steps)
            order = np.argsort(step, kind="stable")
            all_places, all_cells, step = all_places[order], all_cells[order], step[order]
        counts = np.bincount(step)
        bounds = np.concatenate([[0], np.cumsum(counts[counts > 0])]).astype(np.int64)
        return Pixels(all_places, all_cells, bounds)

    def _cells(self, image: int, strip: int, y: NumpyArray, x: NumpyArray, cell: int) -> IntArray:
        """Cells of pixels y rows below the top of `strip` of an image, at column x."""
        canvas, tile = self.canvas, self.canvas.tile
        side = tile // cell
        rows = canvas.rows_before(strip) - canvas.rows_before(self.first)
        cells: NumpyArray = rows - y // tile * canvas.acrosses[image] + x // tile
        if side > 1:
            cells = cells * (side * side) + (y % tile) // cell * side + (x % tile) // cell
        numbers: IntArray = cells.astype(np.int64, copy=False)
        return numbers

    def sampled(self, stride: int, step: int, cell: int, tiles: int, least: int = 0) -> Iterator[Pixels]:
        """Pixels of every stride-th row and column, sorted by cell, about `tiles` tiles at a time.

        Row y and column x of a tile count where y mod stride = a, x mod stride = b, with a = step mod stride and
        b = floor(step / stride) mod stride. Images with a side below `least` have a stride of 1.
        """
        canvas = self.canvas
        parts: list[tuple[IntArray, IntArray]] = []
        waiting, its_stride = 0, stride
        for image, top, bottom, strip in self.regions:
            large = min(canvas.heights[image], canvas.widths[image]) >= least
            before, its_stride = its_stride, stride if large else 1
            if its_stride != before:
                yield from self._by_cell(parts, before)
                parts, waiting = [], 0
            a, b = step % its_stride, step // its_stride % its_stride
            rows = np.arange(top, bottom)
            columns = np.arange(canvas.widths[image])
            rows = rows[rows % canvas.tile % its_stride == a] - top
            columns = columns[columns % canvas.tile % its_stride == b]
            y, x = np.repeat(rows, len(columns)), np.tile(columns, len(rows))
            parts.append((canvas.indices(image, top + y, x), self._cells(image, strip, y, x, cell)))
            waiting += len(y)
            if waiting * its_stride**2 >= tiles * canvas.tile**2:
                yield from self._by_cell(parts, its_stride)
                parts, waiting = [], 0
        yield from self._by_cell(parts, its_stride)

    @staticmethod
    def _by_cell(parts: list[tuple[IntArray, IntArray]], stride: int) -> Iterator[Pixels]:
        if not parts:
            return
        indices, cells = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        order = np.argsort(cells, kind="stable")
        if len(order):
            yield Pixels(indices[order], cells[order], np.array([0, len(order)], np.int64), stride)


def _wavefront_of(height: int, width: int) -> tuple[NumpyArray, NumpyArray, NumpyArray]:
    """Of the pixels of a rectangle in the order of decoding, (N,): step, y and x.

    Integers are as short as they can be: a block of a large image has a million pixels.
    """
    last = width - 1 + SLOPE * (height - 1)
    steps = np.arange(0, SLOPE * height, SLOPE)[:, None] + np.arange(width)
    step = steps.astype(np.min_scalar_type(last)).reshape(-1)
    order = np.argsort(step, kind="stable")
    y, x = np.divmod(order.astype(np.int32) if order.size <= np.iinfo(np.int32).max else order, np.int32(width))
    return step[order], y, x
