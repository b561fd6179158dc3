"""Canvases, strips and the wavefront: their order, and that decoding finds every neighbour decoded."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from hypothesis import given, settings
from hypothesis import strategies as st

from bbcompress.models.neighbourhood import LEFT, OFFSETS, RADIUS, UPPER
from bbcompress.models.strips import OUTSIDE, SLOPE, Canvas, Strips

SIZES = [(1, 1), (1, 9), (9, 1), (3, 5), (8, 8), (9, 17), (20, 12)]
every_size = settings(max_examples=60)
sides = st.integers(1, 21)


def numbered(count: int, height: int, width: int, channels: int = 1, tile: int = 8) -> Canvas:
    """A canvas whose pixels are all different, as far as int16 goes."""
    canvas = Canvas(count, height, width, channels, tile)
    canvas.inner[:] = np.arange(canvas.inner.size).reshape(canvas.inner.shape)
    return canvas


def pixels_at(canvas: Canvas, indices: Any) -> list[tuple[int, int, int]]:
    """(image, y, x) of places, by division."""
    image, rest = np.divmod(np.asarray(indices) // canvas.channels, (canvas.height + RADIUS) * canvas.pitch)
    y, x = np.divmod(rest, canvas.pitch)
    return list(zip(image.tolist(), (y - RADIUS).tolist(), (x - RADIUS).tolist(), strict=True))


def strip_of(canvas: Canvas, image: int, y: int) -> int:
    """The number of the strip of a row: images in order, each from the bottom to the top."""
    return image * canvas.down + canvas.down - 1 - y // canvas.tile


# The canvas


@one_test_of(("height", "width"), SIZES)
@one_test_of("channels", [1, 3])
def test_canvas(height: int, width: int, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, height, width, channels)).astype(np.uint8)
    canvas = Canvas.of(images, 8)
    assert canvas.images.dtype == np.uint8
    assert np.array_equal(canvas.images, images)
    assert (canvas.down, canvas.across) == (-(-height // 8), -(-width // 8))
    n, y, x = (a.ravel() for a in np.indices(images.shape[:3]))
    indices = canvas.indices(n, y, x)
    assert np.array_equal(canvas.levels_at(indices), images.reshape(-1, channels).T)
    assert canvas.levels_at(indices).dtype == np.int64
    for offset, (dy, dx) in zip(canvas.offsets, OFFSETS, strict=True):
        for c in range(channels):
            found = canvas.flat[indices + offset + c]
            inside = (y + dy >= 0) & (x + dx >= 0) & (x + dx < width)
            assert (found[~inside] == OUTSIDE).all()
            assert np.array_equal(found[inside], images[n[inside], y[inside] + dy, x[inside] + dx, c])
    canvas.set_levels(indices, channels - 1, np.zeros(len(indices), np.int64))
    assert not canvas.images[..., -1].any()
    assert np.array_equal(canvas.images[..., :-1], images[..., :-1])
    assert (canvas.flat == OUTSIDE).sum() == canvas.flat.size - images.size


def test_neighbourhood() -> None:
    assert len(OFFSETS) == len(set(OFFSETS)) == 24
    assert list(OFFSETS) == sorted(OFFSETS)
    assert all(dy < 0 or (dy == 0 and dx < 0) for dy, dx in OFFSETS)
    assert {max(abs(dy), abs(dx)) for dy, dx in OFFSETS} == {1, 2, 3}
    assert (OFFSETS[LEFT], OFFSETS[UPPER]) == ((0, -1), (-1, 0))


# Strips


def test_order_of_strips() -> None:
    """Image after image; in each from the bottom to the top; the tiles of a strip from left to right."""
    canvas = numbered(2, 20, 12)
    strips = Strips.all_of(canvas)
    assert (len(strips), strips.canvas.across, strips.row_count) == (6, 2, 12)
    tiles = [tile for part in strips.tiles() for tile in part]
    expected = []
    for image in range(2):
        for top, bottom in ((16, 20), (8, 16), (0, 8)):
            expected += [canvas.inner[image, top:bottom, left : left + 8] for left in (0, 8)]
    assert len(tiles) == len(expected) == 12
    assert all(np.array_equal(*pair) for pair in zip(tiles, expected, strict=True))


@one_test_of(("height", "width"), SIZES)
def test_parts_of_strips_have_their_tiles(height: int, width: int) -> None:
    strips = Strips.all_of(numbered(3, height, width, 2))
    tiles = [tile.tolist() for part in strips.tiles() for tile in part]
    rows = strips.canvas.across
    assert len(tiles) == len(strips) * rows
    pixels = 0
    for start in range(len(strips)):
        for end in range(start, len(strips) + 1):
            part = strips[start:end]
            assert (len(part), part.row_count) == (end - start, (end - start) * rows)
            assert part.canvas is strips.canvas
            assert [t.tolist() for p in part.tiles() for t in p] == tiles[start * rows : end * rows]
            if end == start + 1:
                pixels += part.pixel_count
    assert pixels == strips.pixel_count == 3 * height * width


def test_slices() -> None:
    strips = Strips.all_of(numbered(2, 20, 12))
    assert strips[:] is strips
    part = strips[1:5]
    assert (part.first, part.last) == (1, 5)
    assert (part[1:3].first, part[1:3].last) == (2, 4)
    assert len(strips[4:2]) == 0
    assert (part[2:100].first, part[2:100].last) == (3, 5)
    with pytest.raises(ValueError, match="one after the other"):
        strips[::2]
    with pytest.raises(ValueError, match="one after the other"):
        strips[::-1]


def test_regions() -> None:
    """Rows of images that strips cover, with the strip at their top."""
    strips = Strips.all_of(numbered(3, 20, 12))
    assert strips.regions == [(0, 0, 20, 2), (1, 0, 20, 5), (2, 0, 20, 8)]
    assert strips[1:2].regions == [(0, 8, 16, 1)]
    assert strips[0:2].regions == [(0, 8, 20, 1)]
    assert strips[2:4].regions == [(0, 0, 8, 2), (1, 16, 20, 3)]
    assert strips[1:8].regions == [(0, 0, 16, 2), (1, 0, 20, 5), (2, 8, 20, 7)]
    assert strips[3:3].regions == []


@every_size
@given(st.integers(1, 3), sides, sides, st.sampled_from([1, 4, 8]), st.data())
def test_regions_are_the_rows_of_the_strips(
    count: int, height: int, width: int, tile: int, data: st.DataObject
) -> None:
    canvas = Canvas(count, height, width, 1, tile)
    strips = Strips.all_of(canvas)
    first = data.draw(st.integers(0, len(strips)))
    part = strips[first : data.draw(st.integers(first, len(strips)))]
    rows = [(image, y) for image, top, bottom, _ in part.regions for y in range(top, bottom)]
    covered = [(n, y) for n in range(count) for y in range(height) if part.first <= strip_of(canvas, n, y) < part.last]
    assert sorted(rows) == covered
    assert all(strip_of(canvas, image, top) == strip for image, top, _, strip in part.regions)


# The wavefront


def batches_of(strips: Strips, data: st.DataObject) -> list[Strips]:
    """The strips, cut into batches in the order in which they are pushed."""
    cuts = data.draw(st.sets(st.integers(1, max(len(strips) - 1, 1)), max_size=4))
    bounds = [0, *sorted(cut for cut in cuts if cut < len(strips)), len(strips)]
    return [strips[a:b] for a, b in itertools.pairwise(bounds)]


@every_size
@given(
    st.integers(1, 3),
    sides,
    sides,
    st.sampled_from([(1, 1), (4, 2), (8, 8), (8, 4)]),
    st.sampled_from([1, 3]),
    st.data(),
)
def test_every_neighbour_is_decoded_before(
    count: int, height: int, width: int, tile_and_cell: tuple[int, int], channels: int, data: st.DataObject
) -> None:
    tile, cell = tile_and_cell
    canvas = Canvas(count, height, width, channels, tile)
    decoded: set[tuple[int, int, int]] = set()
    for part in reversed(batches_of(Strips.all_of(canvas), data)):
        wave = part.wavefront(cell)
        assert wave.bounds[0] == 0
        assert wave.bounds[-1] == len(wave.indices) == len(wave.cells) == part.pixel_count
        assert (np.diff(wave.bounds) > 0).all()
        pixels = pixels_at(canvas, wave.indices)
        for begin, end in zip(wave.bounds, wave.bounds[1:], strict=False):
            step = pixels[begin:end]
            for image, y, x in step:
                for dy, dx in OFFSETS:
                    if y + dy >= 0 and 0 <= x + dx < width:
                        assert (image, y + dy, x + dx) in decoded
            decoded.update(step)
    assert len(decoded) == count * height * width


@one_test_of(("height", "width"), SIZES)
def test_order_of_the_wavefront(height: int, width: int) -> None:
    """By x + 4 (y - first row of the image's region), then image, then y: what docs/format.md says."""
    canvas = Canvas(3, height, width, 1, 8)
    strips = Strips.all_of(canvas)
    for first in range(len(strips)):
        for last in range(first + 1, len(strips) + 1):
            part = strips[first:last]
            pixels = [
                (x + SLOPE * (y - top), image, y, x)
                for image, top, bottom, _ in part.regions
                for y in range(top, bottom)
                for x in range(width)
            ]
            wave = part.wavefront(8)
            assert pixels_at(canvas, wave.indices) == [pixel[1:] for pixel in sorted(pixels)]
            sizes = np.unique([pixel[0] for pixel in pixels], return_counts=True)[1]
            assert np.array_equal(np.diff(wave.bounds), sizes)


def plain_cell(part: Strips, image: int, y: int, x: int, cell: int) -> int:
    """The cell of a pixel: those of the strips' tiles one after the other, row by row in each."""
    canvas = part.canvas
    side = canvas.tile // cell
    tile = (strip_of(canvas, image, y) - part.first) * canvas.across + x // canvas.tile
    return (tile * side + y % canvas.tile // cell) * side + x % canvas.tile // cell


Finder = Callable[[Strips, int], Iterator[Any]]
FINDERS: dict[str, Finder] = {
    "wavefront": lambda part, cell: iter([part.wavefront(cell)]),
    "sampled": lambda part, cell: part.sampled(1, 0, cell, 1),
}


@one_test_of("finder", FINDERS)
@one_test_of("cell", [1, 2, 4, 8])
@one_test_of(("height", "width"), SIZES)
def test_cells(finder: str, cell: int, height: int, width: int) -> None:
    strips = Strips.all_of(Canvas(2, height, width, 3, 8))
    for part in (strips, strips[1:], strips[: len(strips) - 1], strips[1:2]):
        for pixels in FINDERS[finder](part, cell):
            where = pixels_at(part.canvas, pixels.indices)
            assert pixels.cells.tolist() == [plain_cell(part, image, y, x, cell) for image, y, x in where]
            assert pixels.cells.max() < part.row_count * (8 // cell) ** 2


def test_wavefronts_are_kept() -> None:
    strips = Strips.all_of(numbered(1, 9, 9))
    assert strips.wavefront(8) is strips.wavefront(8)
    assert strips.wavefront(4) is not strips.wavefront(8)
    assert not np.array_equal(strips.wavefront(4).cells, strips.wavefront(8).cells)


# The pixels of a K step


@one_test_of("stride", [1, 2, 3, 4])
@one_test_of("tiles", [1, 2, 100])
@one_test_of(("height", "width"), SIZES)
def test_sampled_pixels_cover_all_in_turn(stride: int, tiles: int, height: int, width: int) -> None:
    strips = Strips.all_of(Canvas(2, height, width, 1, 8))
    for part in (strips, strips[1:], strips[:1]):
        found: list[tuple[int, int, int]] = []
        for step in range(5, 5 + stride**2):
            cells = []
            for pixels in part.sampled(stride, step, 4, tiles):
                assert pixels.bounds.tolist() == [0, len(pixels.indices)]
                assert (np.diff(pixels.cells) >= 0).all()
                cells += np.unique(pixels.cells).tolist()
                where = pixels_at(part.canvas, pixels.indices)
                a, b = step % stride, step // stride % stride
                assert {(y % 8 % stride, x % 8 % stride) for _, y, x in where} <= {(a, b)}
                found += where
            assert len(cells) == len(set(cells))  # no cell is cut in two
        covered = pixels_at(part.canvas, part.wavefront(8).indices)
        assert sorted(found) == sorted(covered)


def test_sampled_pixels_do_not_depend_on_the_batch() -> None:
    strips = Strips.all_of(Canvas(2, 20, 12, 1, 8))
    for step in range(4):
        together = {p for pixels in strips.sampled(2, step, 8, 32) for p in pixels.indices.tolist()}
        alone = [
            p
            for strip in range(len(strips))
            for pixels in strips[strip : strip + 1].sampled(2, step, 8, 32)
            for p in pixels.indices.tolist()
        ]
        assert len(alone) == len(set(alone))
        assert set(alone) == together
