"""Compiled loops of a pixel network that learns: between the matrix products forwards and backwards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bbcompress.coder.ans_kernels import Ints
from bbcompress.coder.kernel_cache import kernel
from bbcompress.exact.layers import GRADIENT_LIMIT
from bbcompress.models.network_kernels import Levels, Singles, gather_pixel

Floats = NDArray[np.float64]

_LIMIT = float(GRADIENT_LIMIT)


@kernel
def gather_inputs(
    flat: Levels,
    indices: Ints,
    cells: Ints,
    begin: int,
    end: int,
    row: int,
    offsets: Ints,
    settings: Ints,
    features: Singles,
    inputs: Singles,
    exact: Floats,
    references: Ints,
) -> None:
    """Fill in the inputs, (rows, inputs + 1) with a last column of 1, and references (C, rows) of the pixels
    `begin` to `end` of `indices` and `cells`, from row `row` on.

    settings: whether the inputs are centred, the gain of pixels, the numbers of the left and the upper neighbour, the
    reference of a pixel that has neither. Columns as `network_kernels.gather` has them, then the cell's features.
    """
    channels, neighbours = references.shape[0], offsets.size
    centred, gain, left, upper, middle = settings[0], settings[1], settings[2], settings[3], settings[4]
    pixels = neighbours * channels + (channels if centred else 0)
    last = inputs.shape[1] - 1
    for i in range(begin, end):
        r = row + i - begin
        gather_pixel(flat, indices[i], offsets, centred, gain, left, upper, middle, inputs, references, r)
        cell = cells[i]
        for j in range(last - pixels):
            inputs[r, pixels + j] = features[cell, j]
        inputs[r, last] = 1
        for j in range(last + 1):
            exact[r, j] = inputs[r, j]


@kernel
def relu_single(
    total: Singles, out: Singles, exact: Floats, row: int, count: int, width: int, scale: float, limit: float
) -> None:
    """clamp(floor(total * scale + 1/2), 0, limit) of float32 sums below 2^24 (count, width) into the rows from `row` on
    of both outputs. scale, limit: float32."""
    half = np.float32(0.5)
    zero = np.float32(0.0)
    for i in range(count):
        for j in range(width):
            value = min(max(np.floor(total[i, j] * scale + half), zero), limit)
            out[row + i, j] = value
            exact[row + i, j] = value


@kernel
def relu_double(
    total: Floats, out: Singles, exact: Floats, row: int, count: int, width: int, scale: float, limit: float
) -> None:
    """The same of float64 sums."""
    for i in range(count):
        for j in range(width):
            value = min(max(np.floor(total[i, j] * scale + 0.5), 0.0), limit)
            out[row + i, j] = value
            exact[row + i, j] = value


@kernel
def head_layer(
    total: Floats,
    weight: Floats,
    seen: Floats,
    out: Floats,
    row: int,
    count: int,
    channel: int,
    width: int,
    scale: float,
    limit: float,
) -> None:
    """A channel's hidden outputs, with what its last layer sees beside them: rows of `out` (rows, width + channel + 1).

    total: (count, C width) sums without earlier channels. weight: the heads' integers (C width, columns), whose
    columns before the last C are of the trunk's outputs. seen: rows whose columns before the last hold the earlier
    channels.
    """
    split = weight.shape[1] - (total.shape[1] // width)
    first = channel * width
    for i in range(count):
        r = row + i
        for j in range(width):
            value = float(total[i, first + j])
            for c in range(channel):
                value += weight[first + j, split + c] * seen[r, split + c]
            out[r, j] = min(max(np.floor(value * scale + 0.5), 0.0), limit)
        for c in range(channel):
            out[r, width + c] = seen[r, split + c]
        out[r, width + channel] = 1.0


@kernel
def output_layer(total: Floats, row: int, count: int, scales: Floats, limit: float) -> None:
    """In place clamp(floor(total * scale + 1/2), -limit, limit) of rows."""
    for i in range(row, row + count):
        for j in range(scales.size):
            total[i, j] = min(max(np.floor(total[i, j] * scales[j] + 0.5), -limit), limit)


@kernel
def set_channel(
    flat: Levels,
    indices: Ints,
    begin: int,
    row: int,
    channel: int,
    gain: int,
    levels: Ints,
    references: Ints,
    known: Ints,
    column: int,
    seen: Singles,
    exact: Floats,
) -> None:
    """Write the levels of one channel of pixels from `begin` on into the canvas, into `known` (C, rows) and, unless
    column is negative, less their references into that column of what later channels see."""
    for i in range(levels.size):
        r = row + i
        flat[indices[begin + i] + channel] = levels[i]
        known[channel, r] = levels[i]
        if column >= 0:
            value = (levels[i] - references[channel, r]) * gain
            seen[r, column] = value
            exact[r, column] = value


@kernel
def know_levels(
    flat: Levels,
    indices: Ints,
    begin: int,
    count: int,
    row: int,
    gain: int,
    references: Ints,
    known: Ints,
    column: int,
    seen: Singles,
    exact: Floats,
) -> None:
    """The levels of pixels of the canvas into `known`, and less their references into what later channels see, from
    `column` on; then a 1."""
    channels = references.shape[0]
    for i in range(count):
        r = row + i
        for c in range(channels):
            level = np.int64(flat[indices[begin + i] + c])
            known[c, r] = level
            if c < channels - 1:
                seen[r, column + c] = (level - references[c, r]) * gain
                exact[r, column + c] = (level - references[c, r]) * gain
        seen[r, column + channels - 1] = 1
        exact[r, column + channels - 1] = 1


@kernel
def backward_layer(total: Floats, active: Floats, first: int, count: int, width: int, scale: float) -> None:
    """In place clamp(floor(total * scale + 1/2), -2^30, 2^30) of columns `first` to `first + width` of rows, and 0
    where the layer's output, in the first columns of `active`, stands at 0."""
    for i in range(count):
        for j in range(width):
            value = min(max(np.floor(total[i, first + j] * scale + 0.5), -_LIMIT), _LIMIT)
            total[i, first + j] = value if active[i, j] > 0.0 else 0.0
