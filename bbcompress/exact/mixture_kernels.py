"""Compiled loops of the local models' distributions: mixtures of discretised logistics, and bits, from any lane on.

A local model pops the sub-pixels of an image in many calls, each of which goes on at the lane where the last ended.

A sub-pixel's row of parameters holds, for M components, 3 M + 2 integers in float64: logits a_0, ..., a_{M-1}, a_low,
a_high in units of 2^-10; offsets o_0, ..., o_{M-1} of the means from a reference level in units of 2^-6 levels; and
log scales t_0, ..., t_{M-1} in units of 2^-10. Component m is the logistic distribution of mean 64 reference + o_m
(in units of 2^-6 levels) and scale 2^-5 exp(t_m) levels, t_m clamped to [0, 10]; a_low and a_high are the logits of
point masses at levels 0 and 255. With all parameters at most 2^24 in magnitude nothing here leaves int64.
"""

from __future__ import annotations

from math import ldexp

import numpy as np
from numpy.typing import NDArray

from bbcompress.coder.ans_kernels import Heads, Ints, Words, advance, peek
from bbcompress.coder.kernel_cache import inline, kernel
from bbcompress.exact.distribution_kernels import PRECISION
from bbcompress.exact.layers import GRADIENT_BITS, GRADIENT_LIMIT
from bbcompress.exact.tables import ARGUMENT_BITS, EXP_NEGATIVE_LIMIT, LOGIT_LIMIT, SIGMOID_BITS

Floats = NDArray[np.float64]

OFFSET_BITS = 6
"""Fractional bits of offsets and means in levels."""
LOG_SCALE_END = 10 << ARGUMENT_BITS
"""The largest t; the smallest is 0."""
_TOTAL = 1 << PRECISION
_LEVELS = 256
_SHARED = _TOTAL - _LEVELS  # each level has 1 of the total for certain
_HALF = 1 << (OFFSET_BITS - 1)  # of a level
_FRACTION_BITS = 10  # of a logit beyond the sigmoid table's grid: interpolated
_FRACTION = (1 << _FRACTION_BITS) - 1
_POSITION_LIMIT = LOGIT_LIMIT << _FRACTION_BITS
# distance (2^-6 levels) * exp(-t) (2^-30) * 2^5 to a logit in units of 2^-20
_POSITION_SHIFT = OFFSET_BITS + SIGMOID_BITS - 5 - (ARGUMENT_BITS + _FRACTION_BITS)

_NEXT = np.uint64(1)
# Indices that cannot be negative are unsigned where it matters: of others numba asks whether they count from the end.

_ONE = 1 << SIGMOID_BITS
_UNIT = ldexp(1.0, -SIGMOID_BITS)
_POSITION_UNIT = ldexp(1.0, -(ARGUMENT_BITS + _FRACTION_BITS))
_FLOOR = ldexp(1.0, -PRECISION)
_INVERSE_SCALE_UNIT = ldexp(1.0, 5 - SIGMOID_BITS)  # of exp(-t) as the reciprocal of a scale in levels
_OFFSET_UNIT = 64.0  # levels by which an offset's derivative is taken
_GRADIENT_END = float(GRADIENT_LIMIT)
_GRADIENT_SCALE = float(1 << GRADIENT_BITS)


@inline
def exponentials(params: Floats, i: int, exp_negative: Ints, exps: Ints) -> int:
    """Fill `exps` with exp(a - max a) of row i's M + 2 logits in units of 2^-30, each at least 121; their sum."""
    largest = float(params[i, 0])
    for j in range(1, exps.size):
        largest = max(largest, float(params[i, j]))
    total = 0
    for j in range(exps.size):
        exps[j] = exp_negative[np.uint64(min(int(largest - params[i, j]), EXP_NEGATIVE_LIMIT))]
        total += exps[j]
    return total


@inline
def component(params: Floats, i: int, m: int, reference: int, exp_negative: Ints) -> tuple[int, int]:
    """Component m's mean in units of 2^-6 levels, and its exp(-t) in units of 2^-30."""
    components = (params.shape[1] - 2) // 3
    mean = (reference << OFFSET_BITS) + int(params[i, components + 2 + m])
    log_scale = int(params[i, 2 * components + 2 + m])
    return mean, int(exp_negative[np.uint64(min(max(log_scale, 0), LOG_SCALE_END))])


@inline
def share_of(part: int, total: int) -> int:
    """part / total of 2^24 - 256, rounded down."""
    return int(np.uint64(part * _SHARED) // np.uint64(total))


@inline
def prepare(params: Floats, i: int, reference: int, exp_negative: Ints, exps: Ints, packed: Ints) -> tuple[int, int]:
    """Fill `packed` with weight, mean and exp(-t) of each of row i's components that has a weight at all.

    Weights are out of 2^24 - 256, rounded down; what they leave goes to level 255 with its own point mass. Returns the
    filled size of `packed` (3 M,) and the weight of level 0's point mass.

    Args:
        exps: scratch, (M + 2,).
    """
    components = exps.size - 2
    total = exponentials(params, i, exp_negative, exps)
    size = 0
    for m in range(components):
        weight = share_of(exps[m], total)
        if weight > 0:
            packed[size] = weight
            packed[size + 1], packed[size + 2] = component(params, i, m, reference, exp_negative)
            size += 3
    return size, share_of(exps[components], total)


@inline
def position(edge: int, mean: int, inverse: int) -> int:
    """The logit of a component's CDF below level `edge`, in units of 2^-20 and clamped to +-16."""
    logit = (((edge << OFFSET_BITS) - _HALF - mean) * inverse) >> _POSITION_SHIFT
    return min(max(logit, -_POSITION_LIMIT), _POSITION_LIMIT - 1)


@inline
def saturation(inverse: int) -> int:
    """From how far from its mean on, in units of 2^-6 levels, a component's logit is clamped."""
    return (_POSITION_LIMIT << _POSITION_SHIFT) // inverse + 1


@inline
def interpolated(logit: int, sigmoid: Ints) -> int:
    """The logistic function of a `position`, in units of 2^-30: the mirrored table, linearly interpolated."""
    index = np.uint64((logit >> _FRACTION_BITS) + LOGIT_LIMIT)
    low = sigmoid[index]
    return int(low + (((sigmoid[index + _NEXT] - low) * (logit & _FRACTION)) >> _FRACTION_BITS))


@inline
def inner_cdf(edge: int, packed: Ints, size: int, low_weight: int, sigmoid: Ints) -> int:
    """Cumulative frequency below level `edge` in 1..255 of what `prepare` gave.

    It increases strictly: the weighted sum does not fall, and 1 is added for each level.
    """
    total = 0
    for m in range(0, size, 3):
        mean, inverse = packed[np.uint64(m + 1)], packed[np.uint64(m + 2)]
        total += packed[np.uint64(m)] * interpolated(position(edge, mean, inverse), sigmoid)
    return edge + low_weight + (total >> SIGMOID_BITS)


@inline
def level_interval(level: int, packed: Ints, size: int, low_weight: int, sigmoid: Ints) -> tuple[int, int]:
    """Where the interval of a level begins, and its end, under what `prepare` gave."""
    start, end = 0, _TOTAL
    if level > 0:
        start = inner_cdf(level, packed, size, low_weight, sigmoid)
    if level < _LEVELS - 1:
        end = inner_cdf(level + 1, packed, size, low_weight, sigmoid)
    return start, end


@inline
def find_level(value: int, packed: Ints, size: int, low_weight: int, sigmoid: Ints) -> tuple[int, int, int]:
    """The level whose interval under what `prepare` gave holds `value`, where that begins, and its end.

    The search goes up or down from the heaviest component's mean by doubling steps and then halves what is left. Any
    other search finds the same level.
    """
    edge, heaviest = 0, 0
    for m in range(0, size, 3):
        if packed[m] > heaviest:
            heaviest = packed[m]
            edge = (packed[m + 1] >> OFFSET_BITS) + 1  # the one nearest to the mean
    edge = min(max(edge, 1), _LEVELS - 1)
    low, high, start, end, step = 0, _LEVELS, 0, _TOTAL, 1
    while high - low > 1:
        below = inner_cdf(edge, packed, size, low_weight, sigmoid)
        if below <= value:
            low, start = edge, below
        else:
            high, end = edge, below
        if low == 0 and high > step:
            edge = high - step
            step += step
        elif high == _LEVELS and low + step < _LEVELS:
            edge = low + step
            step += step
        else:
            edge = (low + high) >> 1
    return low, start, end


@kernel
def mixture_intervals(
    levels: Ints, references: Ints, params: Floats, sigmoid: Ints, exp_negative: Ints, starts: Ints, freqs: Ints
) -> None:
    """Fill in start and frequency of each level under its mixture."""
    components = (params.shape[1] - 2) // 3
    exps, packed = np.empty(components + 2, np.int64), np.empty(3 * components, np.int64)
    for i in range(levels.size):
        size, low_weight = prepare(params, i, references[i], exp_negative, exps, packed)
        start, end = level_interval(levels[i], packed, size, low_weight, sigmoid)
        starts[i] = start
        freqs[i] = end - start


@kernel
def pop_mixture(
    heads: Heads,
    words: Words,
    n_words: int,
    symbols: Ints,
    first_lane: int,
    references: Ints,
    params: Floats,
    sigmoid: Ints,
    exp_negative: Ints,
) -> int:
    """Pop levels 0..255, symbol i from lane (first_lane + i) mod lanes."""
    components = (params.shape[1] - 2) // 3
    exps, packed = np.empty(components + 2, np.int64), np.empty(3 * components, np.int64)
    lane = first_lane % heads.size
    for i in range(symbols.size):
        size, low_weight = prepare(params, i, references[i], exp_negative, exps, packed)
        level, start, end = find_level(peek(heads[lane], PRECISION), packed, size, low_weight, sigmoid)
        head, n_words = advance(heads[lane], words, n_words, start, end - start, PRECISION)
        if n_words < 0:
            return -1
        symbols[i] = level
        heads[lane] = head
        lane += 1
        if lane == heads.size:
            lane = 0
    return n_words


@inline
def rounded(gradient: float) -> float:
    """To the grid of gradients, and clamped."""
    units = np.floor(gradient * _GRADIENT_SCALE + 0.5)
    return float(min(max(units, -_GRADIENT_END), _GRADIENT_END))


@inline
def gradient_row(
    level: int,
    reference: int,
    params: Floats,
    i: int,
    sigmoid: Ints,
    exp_negative: Ints,
    exps: Ints,
    shares: Floats,
    masses: Floats,
    out: Floats,
    o: int,
) -> None:
    """Fill in row o of `out` as `mixture_gradient` has it, by row i of `params`.

    Args:
        exps, shares, masses: scratch, (M + 2,).
    """
    components = exps.size - 2
    total = float(exponentials(params, i, exp_negative, exps))
    p = _FLOOR
    for m in range(components):
        mean, inverse = component(params, i, m, reference, exp_negative)
        low_logit, high_logit = position(level, mean, inverse), position(level + 1, mean, inverse)
        low, high, low_density, high_density = 0, _ONE, 0.0, 0.0
        if level > 0:
            low = interpolated(low_logit, sigmoid)
            probability = float(low) * _UNIT
            low_density = probability * (1.0 - probability)
        if level < _LEVELS - 1:
            high = interpolated(high_logit, sigmoid)
            probability = float(high) * _UNIT
            high_density = probability * (1.0 - probability)
        share = float(exps[m]) / total
        shares[m] = share
        masses[m] = share * (float(high - low) * _UNIT)
        p += masses[m]
        # the numerators; p is not known yet
        inverse_scale = float(inverse) * _INVERSE_SCALE_UNIT
        out[o, components + 2 + m] = _OFFSET_UNIT * ((share * (high_density - low_density)) * inverse_scale)
        turn = float(high_logit) * _POSITION_UNIT * high_density - float(low_logit) * _POSITION_UNIT * low_density
        out[o, 2 * components + 2 + m] = share * turn
    for j in range(2):
        m = components + j
        shares[m] = float(exps[m]) / total
        masses[m] = shares[m] if level == j * (_LEVELS - 1) else 0.0
        p += masses[m]
    modelled = 1.0 - _FLOOR / p  # the part of p that the logits share out
    for m in range(components + 2):
        out[o, m] = rounded(shares[m] * modelled - masses[m] / p)
    for m in range(components + 2, 2 * components + 2):
        out[o, m] = rounded(out[o, m] / p)
    for m in range(2 * components + 2, 3 * components + 2):
        free = 0.0 <= params[i, m] <= LOG_SCALE_END
        out[o, m] = rounded(out[o, m] / p) if free else 0.0


@kernel
def mixture_gradient(
    levels: Ints, references: Ints, params: Floats, sigmoid: Ints, exp_negative: Ints, out: Floats
) -> None:
    """Fill in d(-ln p)/d(params), (N, 3 M + 2), in nats and units of 2^-20 by units of 1, of 64 levels and of 1.

    p is 2^-24 + sum of pi_m (S_m(x + 1) - S_m(x)) + the point mass at x. A logistic's density is taken as S (1 - S)
    where its logit is clamped too, so that a level far away still draws the mean. One IEEE operation at a time.
    """
    components = (params.shape[1] - 2) // 3
    exps = np.empty(components + 2, np.int64)
    shares, masses = np.empty(components + 2, np.float64), np.empty(components + 2, np.float64)
    for i in range(levels.size):
        gradient_row(levels[i], references[i], params, i, sigmoid, exp_negative, exps, shares, masses, out, i)
