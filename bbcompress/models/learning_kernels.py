"""Compiled loops of the pixel network on the processor: what stands between its products, forwards and backwards.

Between two products there is one call of one of these, as a wavefront has thousands of steps. A layer's matrix is
(inputs + 1, outputs) here, and its last row is the bias, whose input is 1. Rows of arrays are pixels of a unit: where
a call is about some of them, `row` is the first and `count` their number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bbcompress.coder.ans_kernels import Ints
from bbcompress.coder.kernel_cache import inline, kernel
from bbcompress.exact.layers import GRADIENT_LIMIT
from bbcompress.models.network_kernels import Levels, Singles, reference_of

Floats = NDArray[np.float64]

_LIMIT = float(GRADIENT_LIMIT)


# Inputs


@inline
def gather_rows(
    flat: Levels,
    indices: Ints,
    cells: Ints,
    begin: int,
    end: int,
    offsets: Ints,
    settings: Ints,
    features: Singles,
    inputs: Singles,
    references: Ints,
    row: int,
) -> None:
    """What `gather_inputs` fills in.

    Neighbours that stand side by side in the canvas are taken at once, and all inputs of a pixel in one loop that can
    be vectorised.
    """
    channels, neighbours = references.shape[0], offsets.size
    centred, gain, left, upper, middle = settings[0], np.int32(settings[1]), settings[2], settings[3], settings[4]
    columns, runs = neighbours * channels, 0
    firsts, lengths = np.empty(neighbours, np.int64), np.empty(neighbours, np.int64)
    for k in range(neighbours):
        if k and offsets[k] == offsets[k - 1] + channels:
            lengths[runs - 1] += channels
        else:
            firsts[runs], lengths[runs] = offsets[k], channels
            runs += 1
    values, known = np.empty(columns, np.int32), np.zeros(columns, np.int32)
    for i in range(begin, end):
        index, r = indices[i], row + i - begin
        at = 0
        for run in range(runs):
            first = index + firsts[run]
            side, beside = flat[first : first + lengths[run]], values[at : at + lengths[run]]
            for j in range(side.size):
                beside[j] = side[j]
            at += lengths[run]
        if centred:
            for c in range(channels):
                reference = reference_of(int(values[left * channels + c]), int(values[upper * channels + c]), middle)
                references[c, r] = reference
                inputs[r, columns + c] = reference - middle
                for k in range(neighbours):
                    known[k * channels + c] = reference
        else:
            for c in range(channels):
                references[c, r] = 0
        target = inputs[r, :columns]
        for j in range(columns):
            value = (values[j] - known[j]) * gain
            target[j] = value if values[j] >= 0 else np.int32(0)
        others, given = inputs[r, columns + (channels if centred else 0) :], features[cells[i]]
        for j in range(given.size):
            others[j] = given[j]


@kernel
def gather_inputs(
    flat: Levels,
    indices: Ints,
    cells: Ints,
    begin: int,
    end: int,
    offsets: Ints,
    settings: Ints,
    features: Singles,
    inputs: Singles,
    references: Ints,
    row: int,
) -> None:
    """Fill in the inputs (rows, at least inputs) and references (C, rows) of the pixels `begin` to `end` of `indices`
    and `cells`, from `row` on.

    settings: whether the inputs are centred, the gain of pixels, the numbers of the left and the upper neighbour, the
    reference of a pixel that has neither. Columns as `network_kernels.gather` has them, then the cell's features.
    """
    gather_rows(flat, indices, cells, begin, end, offsets, settings, features, inputs, references, row)


@kernel
def know_levels(
    flat: Levels,
    indices: Ints,
    begin: int,
    row: int,
    count: int,
    gain: int,
    references: Ints,
    levels: Ints,
    seen: Floats,
) -> None:
    """The levels of `count` pixels of the canvas from `begin` on into `levels` (C, rows), and less their references
    into what later channels see of them, `seen` (rows, C), from `row` on."""
    channels = references.shape[0]
    for i in range(count):
        for c in range(channels):
            level = np.int64(flat[indices[begin + i] + c])
            levels[c, row + i] = level
            seen[row + i, c] = (level - references[c, row + i]) * gain


# Forwards


@inline
def relu_row(total: Any, scale: Any, half: Any, zero: Any, limit: Any, out: Singles) -> None:
    """clamp(floor(total * scale + 1/2), 0, limit) of a row into `out`. All that is given has one type, float32 or
    float64, in which that is done."""
    for j in range(total.size):
        out[j] = min(max(np.floor(total[j] * scale + half), zero), limit)


@kernel
def relu_single(total: Singles, row: int, count: int, outputs: int, scale: float, limit: float) -> None:
    """`relu_row` in place of the first columns of `total` (rows, at least outputs): sums below 2^24, powers of two."""
    half, zero = np.float32(0.5), np.float32(0.0)
    for i in range(row, row + count):
        of_row = total[i, :outputs]
        relu_row(of_row, scale, half, zero, limit, of_row)


@kernel
def relu_double(total: Floats, row: int, scale: float, limit: float, out: Singles) -> None:
    """The same of float64 sums (N, outputs), into the rows of `out` (rows, at least outputs) from `row` on."""
    for i in range(total.shape[0]):
        relu_row(total[i], scale, 0.5, 0.0, limit, out[row + i])


@inline
def hidden_row(
    total: Floats, weight: Floats, seen: Floats, row: int, channel: int, scale: float, limit: float, out: Floats
) -> None:
    """A channel's hidden outputs, and what else its own layer takes, into `out` (C, rows, width + C): earlier channels,
    then 1.

    total: the heads' sums (rows, C width) of the trunk's outputs and biases. weight: the heads' matrix for earlier
    channels (C - 1, C width). seen (rows, C): the earlier channels.
    """
    channels = out.shape[0]
    width = out.shape[2] - channels
    first = channel * width
    hidden = out[channel, row]
    for j in range(width):
        hidden[j] = total[row, first + j]
    for c in range(channel):
        value = seen[row, c]
        for j in range(width):
            hidden[j] += weight[c, first + j] * value
        hidden[width + c] = value
    for j in range(width):
        hidden[j] = min(max(np.floor(hidden[j] * scale + 0.5), 0.0), limit)
    hidden[width + channel] = 1.0


@kernel
def hidden_layer(
    total: Floats,
    weight: Floats,
    seen: Floats,
    row: int,
    count: int,
    begin: int,
    end: int,
    scale: float,
    limit: float,
    out: Floats,
) -> None:
    """`hidden_row` of `count` pixels from `row` on, and of the channels `begin` to `end`."""
    for r in range(row, row + count):
        for channel in range(begin, end):
            hidden_row(total, weight, seen, r, channel, scale, limit, out)


@inline
def output_row(total: Floats, row: int, scales: Floats, limit: float) -> None:
    """A channel's outputs of one pixel, in place of its layer's sums in row `row`."""
    for j in range(scales.size):
        total[row, j] = min(max(np.floor(total[row, j] * scales[j] + 0.5), -limit), limit)


@kernel
def output_layer(total: Floats, row: int, count: int, scales: Floats, limit: float) -> None:
    """`output_row` of `count` pixels from `row` on."""
    for r in range(row, row + count):
        output_row(total, r, scales, limit)


@kernel
def set_channel(
    flat: Levels,
    indices: Ints,
    begin: int,
    row: int,
    channel: int,
    gain: int,
    symbols: Ints,
    references: Ints,
    levels: Ints,
    seen: Floats,
) -> None:
    """Write the levels of one channel of pixels from `begin` on into the canvas, into `levels` (C, rows), and less
    their references into what later channels see of them."""
    for i in range(symbols.size):
        r = row + i
        flat[indices[begin + i] + channel] = symbols[i]
        levels[channel, r] = symbols[i]
        seen[r, channel] = (symbols[i] - references[channel, r]) * gain


# Backwards


@inline
def backward_row(total: Floats, scale: float, active: Singles, out: Floats) -> None:
    """clamp(floor(total * scale + 1/2), -2^30, 2^30) of a row into `out`, and 0 where the layer's output, in `active`
    (at least as long), stands at 0."""
    for j in range(total.size):
        value = min(max(np.floor(total[j] * scale + 0.5), -_LIMIT), _LIMIT)
        out[j] = value if active[j] > 0 else 0.0


@kernel
def backward_layer(total: Floats, active: Singles, row: int, count: int, scale: float) -> None:
    """`backward_row` in place of (rows, outputs) from `row` on."""
    for i in range(row, row + count):
        backward_row(total[i], scale, active[i], total[i])


@kernel
def backward_heads(parts: Floats, hidden: Floats, row: int, count: int, scales: Floats, total: Floats) -> None:
    """The same of the heads' outputs into `total` (rows, C width), whose gradients stand channel after channel in
    `parts` (C, rows, width), as `hidden` (C, rows, at least width) does; a scale for each channel."""
    channels, width = parts.shape[0], parts.shape[2]
    for i in range(row, row + count):
        for c in range(channels):
            backward_row(parts[c, i], scales[c], hidden[c, i], total[i, c * width : (c + 1) * width])
