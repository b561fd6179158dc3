"""Compiled loops of the pixel network of a mixture of logistics, its products within: a unit of pixels in few calls.

They do what `learning_network.UnitNetwork` does by numpy's `matmul` and the loops of `learning_kernels`. `blas` is what
`exact.blas.products` gives. `layers` has a row for each layer of the trunk, then one for the heads: how many inputs it
has (without those of earlier channels), how many outputs, and where in the flat arrays `inputs` (float32, each with the
input of the biases) and `sums` (float64) its rows begin. `weights` and `singles` are all layers' matrices, in float64
and in float32, each beginning where `begins` says.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bbcompress.coder.ans_kernels import Heads, Ints, Words, advance, peek
from bbcompress.coder.kernel_cache import compiled_kernel, inline
from bbcompress.exact.blas import PLAIN, TRANSPOSED, gemm_double, gemm_single, place
from bbcompress.exact.distribution_kernels import PRECISION
from bbcompress.exact.layers import SINGLE_LIMIT
from bbcompress.exact.mixture_kernels import find_level, gradient_row, level_interval, prepare
from bbcompress.models.learning_kernels import backward_row, gather_rows, hidden_row, output_row, relu_row
from bbcompress.models.network_kernels import Levels, Singles

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_SINGLE_LIMIT = float(SINGLE_LIMIT)
_HALF, _ZERO = np.float32(0.5), np.float32(0.0)


@inline
def widen(inputs: Singles, begin: int, pitch: int, columns: int, row: int, count: int, doubles: Floats) -> None:
    """Copy `count` rows of `inputs`, which stand `pitch` apart from `begin` on, into the rows of `doubles` from `row`
    on."""
    for r in range(count):
        wide, given = doubles[row + r], inputs[begin + r * pitch : begin + r * pitch + columns]
        for j in range(columns):
            wide[j] = given[j]


@compiled_kernel
def forward_rows(
    flat: Levels,
    indices: Ints,
    cells: Ints,
    begin: int,
    end: int,
    offsets: Ints,
    settings: Ints,
    features: Singles,
    row: int,
    references: Ints,
    blas: Ints,
    layers: Ints,
    begins: Ints,
    is_single: Flags,
    largest: Floats,
    scales: Floats,
    limits: Floats,
    weights: Floats,
    singles: Singles,
    inputs: Singles,
    sums: Floats,
    doubles: Floats,
    single_sums: Singles,
    heads_sums: Floats,
) -> None:
    """Inputs and references of the pixels `begin` to `end` of a wavefront, from `row` on, and from these the heads'
    sums of the trunk's outputs and biases, into `heads_sums` (rows, C width).

    largest: the largest sum that the integers of each layer allow. doubles, single_sums: scratch.
    """
    count, rows, heads = end - begin, references.shape[1], layers.shape[0] - 1
    first = inputs[: rows * (layers[0, 0] + 1)].reshape(rows, layers[0, 0] + 1)
    gather_rows(flat, indices, cells, begin, end, offsets, settings, features, first, references, row)
    for layer in range(heads):
        inner, outputs, pitch = layers[layer, 0] + 1, layers[layer, 1], layers[layer + 1, 0] + 1
        x, out = layers[layer, 2] + row * inner, layers[layer + 1, 2] + row * pitch
        scale, limit = scales[layer], limits[layer]
        if is_single[layer]:
            gemm_single(
                blas[0],
                blas[2],
                PLAIN,
                PLAIN,
                count,
                outputs,
                inner,
                place(inputs, x),
                inner,
                place(singles, begins[layer]),
                outputs,
                place(inputs, out),
                pitch,
            )
            short, short_limit = np.float32(scale), np.float32(limit)
            for r in range(count):
                active = inputs[out + r * pitch : out + r * pitch + outputs]
                relu_row(active, short, _HALF, _ZERO, short_limit, active)
        else:
            widen(inputs, x, inner, inner, row, count, doubles)
            at = layers[layer, 3] + row * outputs
            gemm_double(
                blas[1],
                blas[2],
                PLAIN,
                PLAIN,
                count,
                outputs,
                inner,
                place(doubles, row * doubles.shape[1]),
                doubles.shape[1],
                place(weights, begins[layer]),
                outputs,
                place(sums, at),
                outputs,
            )
            for r in range(count):
                active = inputs[out + r * pitch : out + r * pitch + outputs]
                relu_row(sums[at + r * outputs : at + (r + 1) * outputs], scale, 0.5, 0.0, limit, active)
    inner, outputs = layers[heads, 0], layers[heads, 1]
    x, bias = layers[heads, 2] + row * (inner + 1), begins[heads + 1] - outputs
    highest = np.int32(0)
    for r in range(count):
        active = inputs[x + r * (inner + 1) : x + r * (inner + 1) + inner]
        for j in range(inner):
            highest = max(highest, np.int32(active[j]))
    # every sum is at most its share of the largest one that the layer's limit of inputs allows
    if largest[heads] * highest < _SINGLE_LIMIT * limits[heads - 1]:
        gemm_single(
            blas[0],
            blas[2],
            PLAIN,
            PLAIN,
            count,
            outputs,
            inner,
            place(inputs, x),
            inner + 1,
            place(singles, begins[heads]),
            outputs,
            place(single_sums, row * outputs),
            outputs,
        )
        for r in range(row, row + count):
            for j in range(outputs):
                heads_sums[r, j] = np.float64(single_sums[r, j]) + weights[bias + j]
    else:
        widen(inputs, x, inner + 1, inner, row, count, doubles)
        gemm_double(
            blas[1],
            blas[2],
            PLAIN,
            PLAIN,
            count,
            outputs,
            inner,
            place(doubles, row * doubles.shape[1]),
            doubles.shape[1],
            place(weights, begins[heads]),
            outputs,
            place(heads_sums, row * outputs),
            outputs,
        )
        for r in range(row, row + count):
            for j in range(outputs):
                heads_sums[r, j] += weights[bias + j]


@inline
def channel_sums(
    blas: Ints,
    layers: Ints,
    begins: Ints,
    weights: Floats,
    heads_sums: Floats,
    seen: Floats,
    row: int,
    count: int,
    channel: int,
    scale: float,
    limit: float,
    hidden: Floats,
    params: Floats,
) -> None:
    """What a channel's layer takes, into `hidden`, and its sums, into `params` (C, rows, outputs).

    scale, limit: of the heads.
    """
    heads, channels, outputs = layers.shape[0] - 1, hidden.shape[0], params.shape[2]
    inner = hidden.shape[2] - channels + channel + 1
    columns = layers[heads, 1]
    across = begins[heads + 1] - channels * columns
    by_seen = weights[across : across + (channels - 1) * columns].reshape(channels - 1, columns)
    for r in range(row, row + count):
        hidden_row(heads_sums, by_seen, seen, r, channel, scale, limit, hidden)
    gemm_double(
        blas[1],
        blas[2],
        PLAIN,
        PLAIN,
        count,
        outputs,
        inner,
        place(hidden, (channel * hidden.shape[1] + row) * hidden.shape[2]),
        hidden.shape[2],
        place(weights, begins[heads + 1 + channel]),
        outputs,
        place(params, (channel * params.shape[1] + row) * outputs),
        outputs,
    )


@compiled_kernel
def interval_rows(
    blas: Ints,
    layers: Ints,
    begins: Ints,
    weights: Floats,
    heads_sums: Floats,
    seen: Floats,
    row: int,
    count: int,
    scale: float,
    limit: float,
    hidden: Floats,
    params: Floats,
    output_scales: Floats,
    output_limits: Floats,
    references: Ints,
    levels: Ints,
    channels: int,
    sigmoid: Ints,
    exp_negative: Ints,
    starts: Words,
    freqs: Words,
    order: Ints,
) -> None:
    """Start and frequency of the level of each of `count` pixels from `row` on in the first `channels`, to where
    `order` (C, rows) says.

    scale, limit: of the heads. output_scales (C, outputs), output_limits (C,): of the channels' layers.
    """
    components = (params.shape[2] - 2) // 3
    exps, packed = np.empty(components + 2, np.int64), np.empty(3 * components, np.int64)
    for channel in range(channels):
        channel_sums(blas, layers, begins, weights, heads_sums, seen, row, count, channel, scale, limit, hidden, params)
        total = params[channel]
        for r in range(row, row + count):
            output_row(total, r, output_scales[channel], output_limits[channel])
            size, low_weight = prepare(total, r, references[channel, r], exp_negative, exps, packed)
            start, end = level_interval(levels[channel, r], packed, size, low_weight, sigmoid)
            starts[order[channel, r]] = start
            freqs[order[channel, r]] = end - start


@compiled_kernel
def pop_rows(
    heads: Heads,
    words: Words,
    n_words: int,
    symbols: Ints,
    first_lane: int,
    blas: Ints,
    layers: Ints,
    begins: Ints,
    weights: Floats,
    heads_sums: Floats,
    seen: Floats,
    row: int,
    count: int,
    scale: float,
    limit: float,
    hidden: Floats,
    params: Floats,
    output_scales: Floats,
    output_limits: Floats,
    references: Ints,
    levels: Ints,
    gain: int,
    flat: Levels,
    indices: Ints,
    begin: int,
    sigmoid: Ints,
    exp_negative: Ints,
) -> int:
    """A pop kernel: the levels of `count` pixels of a wavefront from `begin` on, in the rows from `row` on, by their
    first channel, then by the second, and so on.

    They are popped as `mixture_kernels.pop_mixture` does, and written where `learning_kernels.set_channel` writes them.
    """
    components = (params.shape[2] - 2) // 3
    exps, packed = np.empty(components + 2, np.int64), np.empty(3 * components, np.int64)
    lane = first_lane % heads.size
    for channel in range(symbols.size // count):
        channel_sums(blas, layers, begins, weights, heads_sums, seen, row, count, channel, scale, limit, hidden, params)
        total = params[channel]
        for i in range(count):
            r = row + i
            output_row(total, r, output_scales[channel], output_limits[channel])
            reference = references[channel, r]
            size, low_weight = prepare(total, r, reference, exp_negative, exps, packed)
            level, start, end = find_level(peek(heads[lane], PRECISION), packed, size, low_weight, sigmoid)
            head, n_words = advance(heads[lane], words, n_words, start, end - start, PRECISION)
            if n_words < 0:
                return -1
            heads[lane] = head
            lane += 1
            if lane == heads.size:
                lane = 0
            symbols[channel * count + i] = level
            flat[indices[begin + i] + channel] = level
            levels[channel, r] = level
            seen[r, channel] = (level - reference) * gain
    return n_words


@compiled_kernel
def backward_rows(
    blas: Ints,
    layers: Ints,
    begins: Ints,
    weights: Floats,
    row: int,
    count: int,
    params: Floats,
    references: Ints,
    levels: Ints,
    sigmoid: Ints,
    exp_negative: Ints,
    seen: Floats,
    hidden: Floats,
    by_params: Floats,
    by_hidden: Floats,
    inputs: Singles,
    sums: Floats,
    doubles: Floats,
    scales: Floats,
    output_scales: Floats,
    gradient: Floats,
) -> None:
    """The gradients by all weights, into `gradient`, of -ln p of `count` pixels from `row` on.

    by_params (rows, outputs), by_hidden (C, rows, width), sums, doubles: scratch. scales, output_scales: of gradients
    by the inputs of layers, and of each channel's own.
    """
    heads, channels, outputs = layers.shape[0] - 1, hidden.shape[0], params.shape[2]
    width = hidden.shape[2] - channels
    components = (outputs - 2) // 3
    exps = np.empty(components + 2, np.int64)
    shares, masses = np.empty(components + 2, np.float64), np.empty(components + 2, np.float64)
    at = layers[heads, 3]
    of_heads = sums[at : at + hidden.shape[1] * channels * width].reshape(hidden.shape[1], channels * width)
    for channel in range(channels):
        for r in range(row, row + count):
            gradient_row(
                levels[channel, r],
                references[channel, r],
                params[channel],
                r,
                sigmoid,
                exp_negative,
                exps,
                shares,
                masses,
                by_params,
                r,
            )
        weight = begins[heads + 1 + channel]
        gemm_double(
            blas[1],
            blas[2],
            TRANSPOSED,
            PLAIN,
            width + channel + 1,
            outputs,
            count,
            place(hidden, (channel * hidden.shape[1] + row) * hidden.shape[2]),
            hidden.shape[2],
            place(by_params, row * outputs),
            outputs,
            place(gradient, weight),
            outputs,
        )
        gemm_double(
            blas[1],
            blas[2],
            PLAIN,
            TRANSPOSED,
            count,
            width,
            outputs,
            place(by_params, row * outputs),
            outputs,
            place(weights, weight),
            outputs,
            place(by_hidden, (channel * hidden.shape[1] + row) * width),
            width,
        )
        scale = output_scales[channel]
        for r in range(row, row + count):
            out = of_heads[r, channel * width : (channel + 1) * width]
            backward_row(by_hidden[channel, r], scale, hidden[channel, r], out)
    for back in range(heads + 1):
        layer = heads - back
        inner, outer = layers[layer, 0], layers[layer, 1]
        x, of_layer = layers[layer, 2] + row * (inner + 1), layers[layer, 3] + row * outer
        others = channels - 1 if layer == heads else 0  # earlier channels, which the heads see
        widen(inputs, x, inner + 1, inner, row, count, doubles)
        for r in range(row, row + count):
            for c in range(others):
                doubles[r, inner + c] = seen[r, c]
            doubles[r, inner + others] = 1.0
        gemm_double(
            blas[1],
            blas[2],
            TRANSPOSED,
            PLAIN,
            inner + others + 1,
            outer,
            count,
            place(doubles, row * doubles.shape[1]),
            doubles.shape[1],
            place(sums, of_layer),
            outer,
            place(gradient, begins[layer]),
            outer,
        )
        if layer:
            below = layers[layer - 1, 3] + row * inner
            gemm_double(
                blas[1],
                blas[2],
                PLAIN,
                TRANSPOSED,
                count,
                inner,
                outer,
                place(sums, of_layer),
                outer,
                place(weights, begins[layer]),
                outer,
                place(sums, below),
                inner,
            )
            scale = scales[layer]
            for r in range(count):
                total = sums[below + r * inner : below + (r + 1) * inner]
                backward_row(total, scale, inputs[x + r * (inner + 1) : x + r * (inner + 1) + inner], total)
    across = begins[heads] + layers[heads, 0] * layers[heads, 1]
    for channel in range(channels - 1):  # a head does not see its own channel or a later one
        first = across + channel * channels * width
        for j in range((channel + 1) * width):
            gradient[first + j] = 0.0
