"""Compiled loops of the integer distributions: cumulative frequencies from parameters, and pops that search them."""

from __future__ import annotations

from bbcompress.coder.ans_kernels import Heads, Ints, Words, advance, peek
from bbcompress.coder.kernel_cache import inline, kernel
from bbcompress.exact.tables import (
    ARGUMENT_BITS,
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    LOGIT_LIMIT,
    NORMAL_LIMIT,
    SIGMOID_BITS,
    VALUE_BITS,
)

PRECISION = 24
"""Bits of the total frequency of every distribution but the uniform one."""
_TOTAL = 1 << PRECISION
_LEVELS = 256
_FRACTION_BITS = 10  # of a normal CDF's argument beyond its table's grid: interpolated
_T_BITS = ARGUMENT_BITS + _FRACTION_BITS


@inline
def logistic_cdf(edge: int, mean: int, inverse_scale: int, sigmoid: Ints) -> int:
    """Cumulative frequency below level `edge` in 0..256; at least 1 between neighbours.

    mean: in units of 2^-10 levels; inverse_scale: 2^-24 per level; sigmoid: the mirrored table.
    """
    if edge <= 0:
        return 0
    if edge >= _LEVELS:
        return _TOTAL
    distance = (edge << ARGUMENT_BITS) - (1 << (ARGUMENT_BITS - 1)) - mean
    logit = (distance * inverse_scale) >> VALUE_BITS
    logit = min(max(logit, -LOGIT_LIMIT), LOGIT_LIMIT)
    return edge + int((sigmoid[logit + LOGIT_LIMIT] * (_TOTAL - _LEVELS)) >> SIGMOID_BITS)


@inline
def log_scale_index(log_scale: int) -> int:
    """Where a log scale stands in its tables, clamped to their range."""
    return min(max(log_scale, LOG_SCALE_MIN), LOG_SCALE_MAX) - LOG_SCALE_MIN


@kernel
def logistic_intervals(
    levels: Ints, means: Ints, log_scales: Ints, sigmoid: Ints, inverse: Ints, starts: Ints, freqs: Ints
) -> None:
    """Fill in start and frequency of each level under its discretised logistic."""
    for i in range(levels.size):
        inverse_scale = inverse[log_scale_index(log_scales[i])]
        starts[i] = logistic_cdf(levels[i], means[i], inverse_scale, sigmoid)
        freqs[i] = logistic_cdf(levels[i] + 1, means[i], inverse_scale, sigmoid) - starts[i]


@kernel
def pop_logistic(
    heads: Heads,
    words: Words,
    n_words: int,
    symbols: Ints,
    means: Ints,
    log_scales: Ints,
    sigmoid: Ints,
    inverse: Ints,
) -> int:
    """Pop levels 0..255, a binary search of the computed CDF for each."""
    lane = 0
    for i in range(symbols.size):
        inverse_scale = inverse[log_scale_index(log_scales[i])]
        value = peek(heads[lane], PRECISION)
        low, high, start, end = 0, _LEVELS, 0, _TOTAL
        while high - low > 1:
            middle = (low + high) >> 1
            below = logistic_cdf(middle, means[i], inverse_scale, sigmoid)
            if below <= value:
                low, start = middle, below
            else:
                high, end = middle, below
        head, n_words = advance(heads[lane], words, n_words, start, end - start, PRECISION)
        if n_words < 0:
            return -1
        symbols[i] = low
        heads[lane] = head
        lane += 1
        if lane == heads.size:
            lane = 0
    return n_words


@inline
def normal_bin_cdf(edge: int, mu: int, sigma: int, edges: Ints, normal_cdf: Ints) -> int:
    """Cumulative frequency of N(mu, sigma^2) below bin `edge`; far bins have none.

    A posterior needs no floor: a bin is only ever pushed where it has been popped, and the far bins of a floor, drawn
    once in some thousand images, would cost hundreds of bytes each. mu, sigma and edges: in units of 2^-24. The CDF's
    table is interpolated linearly.
    """
    bins = edges.size + 1
    if edge <= 0:
        return 0
    if edge >= bins:
        return _TOTAL
    t = ((edges[edge - 1] - mu) << _T_BITS) // sigma
    t = min(max(t, -(NORMAL_LIMIT << _FRACTION_BITS)), (NORMAL_LIMIT << _FRACTION_BITS) - 1)
    index = (t >> _FRACTION_BITS) + NORMAL_LIMIT
    fraction = t & ((1 << _FRACTION_BITS) - 1)
    low = normal_cdf[index]
    probability = low + (((normal_cdf[index + 1] - low) * fraction) >> _FRACTION_BITS)
    return int(probability >> (SIGMOID_BITS - PRECISION))


@kernel
def normal_intervals(
    symbols: Ints, mus: Ints, sigmas: Ints, edges: Ints, normal_cdf: Ints, starts: Ints, freqs: Ints
) -> None:
    """Fill in start and frequency of each bin under its normal distribution."""
    for i in range(symbols.size):
        starts[i] = normal_bin_cdf(symbols[i], mus[i], sigmas[i], edges, normal_cdf)
        freqs[i] = normal_bin_cdf(symbols[i] + 1, mus[i], sigmas[i], edges, normal_cdf) - starts[i]


@kernel
def pop_normal(
    heads: Heads,
    words: Words,
    n_words: int,
    symbols: Ints,
    mus: Ints,
    sigmas: Ints,
    edges: Ints,
    normal_cdf: Ints,
) -> int:
    """Pop bins of normal distributions, a binary search of the computed CDF for each."""
    lane = 0
    for i in range(symbols.size):
        value = peek(heads[lane], PRECISION)
        low, high, start, end = 0, edges.size + 1, 0, _TOTAL
        while high - low > 1:
            middle = (low + high) >> 1
            below = normal_bin_cdf(middle, mus[i], sigmas[i], edges, normal_cdf)
            if below <= value:
                low, start = middle, below
            else:
                high, end = middle, below
        head, n_words = advance(heads[lane], words, n_words, start, end - start, PRECISION)
        if n_words < 0:
            return -1
        symbols[i] = low
        heads[lane] = head
        lane += 1
        if lane == heads.size:
            lane = 0
    return n_words


@kernel
def pop_bits(heads: Heads, words: Words, n_words: int, symbols: Ints, bits: Ints) -> int:
    """Pop numbers in [0, 2^bits[i]), all equally likely, as pushed with frequency 2^(24 - bits[i])."""
    lane = 0
    for i in range(symbols.size):
        shift = PRECISION - bits[i]
        value = peek(heads[lane], PRECISION) >> shift
        head, n_words = advance(heads[lane], words, n_words, value << shift, 1 << shift, PRECISION)
        if n_words < 0:
            return -1
        symbols[i] = value
        heads[lane] = head
        lane += 1
        if lane == heads.size:
            lane = 0
    return n_words
