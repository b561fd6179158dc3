"""A prediction of each channel by least squares over a window of decoded pixels, for `local_inputs.py`.

A pixel's level less its reference, the rounded mean of left and upper neighbour, is predicted from some neighbours and,
of the channels before, from the pixel itself, all less their channel's reference. The weights are those that fit the
pixels of a window best, all of which the wavefront x + 4 y has decoded. This is a prototype in floats: a format would
need integers.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

NumpyArray = np.ndarray[Any, Any]

OWN = ((0, -1), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-2, 1))
"""(dy, dx) of the neighbours in the channel itself. The upper one would say what the left one says: their mean is 0."""
EARLIER = ((0, 0), (0, -1))
"""Of those in each channel before."""
ASIDE, AHEAD = 8, 3
"""The window: the pixels of all rows above from `ASIDE` columns before to `AHEAD` behind, and those `ASIDE` before. The
wavefront has decoded no more than three columns further in the row above."""
DECAY = 7 / 8
"""The weight of a row to that of the row below it. Integers can do it: s less s / 8, rounded down."""
RIDGE = 16.0
"""What is added to the squares, in levels: weights become small where a window says nothing."""
MIDDLE = 128


def inputs_of(pixels: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
    """What levels are predicted from, and then the level itself, less their references: float64 (C, H, W, taps + 1), of
    which a channel's own come first and the last `taps + 1 - used` are 0; and references (C, H, W).

    pixels: uint8 (H, W, C).
    """
    height, width, channels = pixels.shape
    levels = np.moveaxis(pixels.astype(np.int32), 2, 0)
    left, upper = np.roll(levels, 1, 2), np.roll(levels, 1, 1)
    references = (left + upper + 1) >> 1
    references[:, 0, :], references[:, :, 0] = left[:, 0, :], upper[:, :, 0]
    references[:, 0, 0] = MIDDLE
    most = len(OWN) + len(EARLIER) * (channels - 1)
    found = np.zeros((channels, height, width, most + 1))
    for channel in range(channels):
        taps = [(channel, *offset) for offset in OWN]
        taps += [(earlier, *offset) for earlier in range(channel) for offset in EARLIER]
        for number, (of, dy, dx) in enumerate(taps):
            found[channel, :, :, number] = _moved(levels[of], dy, dx, references[of]) - references[of]
        found[channel, :, :, -1] = levels[channel] - references[channel]
    return found, references


def _moved(levels: NumpyArray, dy: int, dx: int, outside: NumpyArray) -> NumpyArray:
    """The neighbours of all pixels at an offset; where there is none, what `outside` has."""
    height, width = levels.shape
    moved = outside.copy()
    rows, columns = slice(-dy, height), slice(max(0, -dx), width - max(0, dx))
    moved[rows, columns] = levels[: height + dy, max(0, dx) : width - max(0, -dx)]
    return moved


def predictions(pixels: NumpyArray) -> tuple[NumpyArray, NumpyArray, NumpyArray]:
    """Predictions less the reference, float32 (H, W, C), of pixels, uint8 (H, W, C): before anything is known of the
    pixel, and when its earlier channels are; and level less the latter."""
    found, _ = inputs_of(pixels)
    channels = len(found)
    before, after = np.empty(pixels.shape), np.empty(pixels.shape)
    for channel in range(channels):
        taps = len(OWN) + len(EARLIER) * channel
        own = np.concatenate([found[channel, :, :, :taps], found[channel, :, :, -1:]], axis=2)
        weights = fitted(np.ascontiguousarray(own), ASIDE, AHEAD, DECAY, RIDGE)
        after[:, :, channel] = (weights * own[:, :, :-1]).sum(axis=2)
        for earlier in range(channel):  # the channel's level counts as what was predicted
            own[:, :, len(OWN) + len(EARLIER) * earlier] = before[:, :, earlier]
        before[:, :, channel] = (weights * own[:, :, :-1]).sum(axis=2)
    errors = np.moveaxis(found[..., -1], 0, 2) - after
    return before.astype(np.float32), after.astype(np.float32), errors.astype(np.float32)


@numba.njit(cache=False, fastmath=True)
def fitted(x: NumpyArray, aside: int, ahead: int, decay: float, ridge: float) -> NumpyArray:
    """The weights of each pixel, (H, W, taps), for its inputs and target, (H, W, taps + 1)."""
    height, width, n = x.shape
    m = n * (n + 1) // 2
    columns = np.zeros((width, m))
    window, row = np.empty(m), np.empty(m)
    out = np.empty((height, width, n - 1))
    factor, solved = np.empty((n - 1, n - 1)), np.empty(n - 1)
    for y in range(height):
        if y:
            columns *= decay
            for c in range(width):
                _add(columns[c], x[y - 1, c], 1.0)
        window[:] = 0.0
        row[:] = 0.0
        for c in range(min(ahead, width)):
            window += columns[c]
        for c in range(width):
            if c + ahead < width:
                window += columns[c + ahead]
            if c > aside:
                window -= columns[c - aside - 1]
                _add(row, x[y, c - aside - 1], -1.0)
            if c:
                _add(row, x[y, c - 1], 1.0)
            _solve(window, row, n - 1, ridge, factor, solved, out[y, c])
    return out


@numba.njit(inline="always", fastmath=True)
def _add(sums: NumpyArray, values: NumpyArray, sign: float) -> None:
    k = 0
    for i in range(len(values)):
        v = sign * values[i]
        for j in range(i + 1):
            sums[k + j] += v * values[j]
        k += i + 1


@numba.njit(inline="always", fastmath=True)
def _solve(
    window: NumpyArray,
    row: NumpyArray,
    n: int,
    ridge: float,
    factor: NumpyArray,
    solved: NumpyArray,
    out: NumpyArray,
) -> None:
    """By Cholesky's factors of the lower triangle, whose row n is the right side."""
    k = 0
    for i in range(n):
        for j in range(i + 1):
            total = window[k + j] + row[k + j]
            for p in range(j):
                total -= factor[i, p] * factor[j, p]
            factor[i, j] = np.sqrt(total + ridge) if i == j else total / factor[j, j]
        k += i + 1
    for i in range(n):
        total = window[k + i] + row[k + i]
        for p in range(i):
            total -= factor[i, p] * solved[p]
        solved[i] = total / factor[i, i]
    for i in range(n - 1, -1, -1):
        total = solved[i]
        for p in range(i + 1, n):
            total -= factor[p, i] * out[p]
        out[i] = total / factor[i, i]
