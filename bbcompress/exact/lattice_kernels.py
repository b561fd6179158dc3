"""Compiled loops of colour lattices: which colours they have, and mixtures of logistics restricted to those."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bbcompress.coder.ans_kernels import Heads, Ints, Words, advance, peek
from bbcompress.coder.kernel_cache import inline, kernel
from bbcompress.exact.distribution_kernels import PRECISION
from bbcompress.exact.mixture_kernels import (
    OFFSET_BITS,
    Floats,
    level_interval,
    prepare,
    saturation,
)

Bytes = NDArray[np.uint8]

_TOTAL = 1 << PRECISION
_LEVELS = 256

_FAR, _FURTHER = 1 << 20, 16
"""A distance above all others, and how much further is looked for something nearer than that."""


@kernel
def fill_lattice(
    luma: Ints, red: Ints, green_blue: Ints, green_red: Ints, blue: Ints, shift: int, allowed: Bytes
) -> None:
    """Set the bit of each colour that the conversion makes of 8-bit Y, Cb and Cr, in `allowed` (65537, 32): row
    256 R + G, bit B mod 8 of byte floor(B / 8). The last row, of exceptions, gets all bits."""
    for byte in range(allowed.shape[1]):
        allowed[-1, byte] = 255
    for v in range(256):
        for u in range(256):
            green = green_blue[u] + green_red[v]
            for y in range(256):
                r = min(max((luma[y] + red[v]) >> shift, 0), 255)
                g = min(max((luma[y] + green) >> shift, 0), 255)
                b = min(max((luma[y] + blue[u]) >> shift, 0), 255)
                allowed[(r << 8) + g, b >> 3] |= 1 << (b & 7)


@kernel
def find_outside(pixels: Bytes, allowed: Bytes, found: Ints) -> int:
    """Fill `found` with the numbers of the pixels (N, 3) whose colours are not allowed; how many there are, or one more
    than `found` has room for."""
    count = 0
    for i in range(pixels.shape[0]):
        r, g, b = int(pixels[i, 0]), int(pixels[i, 1]), int(pixels[i, 2])
        if not (allowed[(r << 8) + g, b >> 3] >> (b & 7)) & 1:
            if count == found.size:
                return count + 1
            found[count] = i
            count += 1
    return count


@inline
def first_reaching(luma: Ints, sum_: int) -> int:
    """The first Y whose luma is at least so much, 256 if none is."""
    low, high = 0, luma.size
    while low < high:
        middle = (low + high) >> 1
        if luma[middle] < sum_:
            low = middle + 1
        else:
            high = middle
    return low


@inline
def narrow(luma: Ints, chroma: int, shift: int, level: int, first: int, last: int) -> tuple[int, int]:
    """Of the Y `first` .. `last`, those that make a level with what chroma adds."""
    if level > 0:
        first = max(first, first_reaching(luma, (level << shift) - chroma))
    if level < _LEVELS - 1:
        last = min(last, first_reaching(luma, ((level + 1) << shift) - chroma) - 1)
    return first, last


@kernel
def find_coordinates(
    pixels: Bytes,
    exceptional: Bytes,
    luma: Ints,
    red: Ints,
    green_blue: Ints,
    green_red: Ints,
    blue: Ints,
    shift: int,
    red_of: Ints,
    blue_of: Ints,
    grey_u: int,
    grey_v: int,
    budget: int,
    found: Bytes,
) -> int:
    """Fill in Y, Cb and Cr (H, W, 3) of pixels (H, W, 3) that are on the lattice, of several those nearest to the mean
    of the left and the upper neighbour's; of exceptional pixels, (H, W), that mean.

    Args:
        red_of, blue_of: (256, 256), the chroma that makes a level, 1 .. 254, with each Y; -1 where none does.
        grey_u, grey_v: the chroma of greys.
        budget: how many pairs of chroma may be tried for colours whose red or blue is 0 or 255.

    Returns:
        What is left of the budget; -1 where it did not suffice.
    """
    for y in range(pixels.shape[0]):
        for x in range(pixels.shape[1]):
            expected_y, expected_u, expected_v = 128, 128, 128
            if x and y:
                expected_y = (int(found[y, x - 1, 0]) + int(found[y - 1, x, 0])) >> 1
                expected_u = (int(found[y, x - 1, 1]) + int(found[y - 1, x, 1])) >> 1
                expected_v = (int(found[y, x - 1, 2]) + int(found[y - 1, x, 2])) >> 1
            elif x:
                expected_y, expected_u, expected_v = (
                    int(found[y, x - 1, 0]),
                    int(found[y, x - 1, 1]),
                    int(found[y, x - 1, 2]),
                )
            elif y:
                expected_y, expected_u, expected_v = (
                    int(found[y - 1, x, 0]),
                    int(found[y - 1, x, 1]),
                    int(found[y - 1, x, 2]),
                )
            best, best_y, best_u, best_v = 1 << 30, expected_y, expected_u, expected_v
            if not exceptional[y, x]:
                r, g, b = int(pixels[y, x, 0]), int(pixels[y, x, 1]), int(pixels[y, x, 2])
                if 0 < r < _LEVELS - 1 and 0 < b < _LEVELS - 1:
                    for luminance in range(_LEVELS):
                        u, v = blue_of[b, luminance], red_of[r, luminance]
                        if u >= 0 and v >= 0:
                            green = (luma[luminance] + green_blue[u] + green_red[v]) >> shift
                            if min(max(green, 0), _LEVELS - 1) == g:
                                away = (luminance - expected_y) ** 2 + (u - expected_u) ** 2 + (v - expected_v) ** 2
                                if away < best:
                                    best, best_y, best_u, best_v = away, luminance, u, v
                else:
                    radius, most = 0, _LEVELS
                    while radius < most:
                        for u in range(max(expected_u - radius, 0), min(expected_u + radius, _LEVELS - 1) + 1):
                            on_side = abs(u - expected_u) == radius
                            step = 1 if on_side or radius == 0 else 2 * radius
                            for v in range(expected_v - radius, expected_v + radius + 1, step):
                                if 0 <= v < _LEVELS:
                                    budget -= 1
                                    first, last = narrow(luma, red[v], shift, r, 0, _LEVELS - 1)
                                    first, last = narrow(luma, blue[u], shift, b, first, last)
                                    first, last = narrow(luma, green_blue[u] + green_red[v], shift, g, first, last)
                                    if first <= last:
                                        # planes that leave 0 .. 255, and so jump, are a last resort
                                        low = max(first, grey_v - v, grey_u - u)
                                        high = min(last, _LEVELS - 1 + grey_v - v, _LEVELS - 1 + grey_u - u)
                                        away = 0 if low <= high else _FAR
                                        if low > high:
                                            low, high = first, last
                                        luminance = min(max(expected_y, low), high)
                                        away += (luminance - expected_y) ** 2
                                        away += (u - expected_u) ** 2 + (v - expected_v) ** 2
                                        if away < best:
                                            best, best_y, best_u, best_v = away, luminance, u, v
                        if budget < 0:
                            return -1
                        radius += 1
                        if best < _FAR:
                            most = radius
                        elif best < 1 << 30:
                            most = min(most, radius + _FURTHER)
            found[y, x, 0], found[y, x, 1], found[y, x, 2] = best_y, best_u, best_v
    return budget


@kernel
def fill_colours(
    coordinates: Bytes, luma: Ints, red: Ints, green_blue: Ints, green_red: Ints, blue: Ints, shift: int
) -> None:
    """Put the colours of Y, Cb and Cr, (N, 3), in their places."""
    for i in range(coordinates.shape[0]):
        y, u, v = int(coordinates[i, 0]), int(coordinates[i, 1]), int(coordinates[i, 2])
        coordinates[i, 0] = min(max((luma[y] + red[v]) >> shift, 0), 255)
        coordinates[i, 1] = min(max((luma[y] + green_blue[u] + green_red[v]) >> shift, 0), 255)
        coordinates[i, 2] = min(max((luma[y] + blue[u]) >> shift, 0), 255)


@inline
def weigh(
    params: Floats,
    i: int,
    reference: int,
    row: int,
    allowed: Bytes,
    sigmoid: Ints,
    exp_negative: Ints,
    exps: Ints,
    packed: Ints,
    masses: Ints,
) -> int:
    """Fill in the masses of all levels under mixture i, 0 of those that the row does not allow; their sum. Each row
    allows a level.

    Where all components' logits are clamped on the same side, a level has the mass 1.

    Args:
        exps, packed: scratch, as of `prepare`.
    """
    size, low_weight = prepare(params, i, reference, exp_negative, exps, packed)
    first, last = _LEVELS << OFFSET_BITS, 0
    for m in range(0, size, 3):
        reach = saturation(packed[m + 2])
        first = min(first, packed[m + 1] - reach)
        last = max(last, packed[m + 1] + reach)
    # edges e with e * 64 - 32 outside first..last are clamped; a level has the edges level and level + 1
    near, far = (first >> OFFSET_BITS) - 1, (last >> OFFSET_BITS) + 1
    total = 0
    for level in range(_LEVELS):
        masses[level] = 0
        if (allowed[row, level >> 3] >> (level & 7)) & 1:
            mass = 1
            if level == 0 or level == _LEVELS - 1 or near <= level <= far:
                start, end = level_interval(level, packed, size, low_weight, sigmoid)
                mass = end - start
            masses[level] = mass
            total += mass
    return total


@kernel
def restricted_intervals(
    levels: Ints,
    references: Ints,
    params: Floats,
    rows: Ints,
    allowed: Bytes,
    sigmoid: Ints,
    exp_negative: Ints,
    starts: Ints,
    freqs: Ints,
) -> None:
    """Fill in start and frequency of each level, which its row allows, under its mixture restricted to that."""
    components = (params.shape[1] - 2) // 3
    exps, packed = np.empty(components + 2, np.int64), np.empty(3 * components, np.int64)
    masses = np.empty(_LEVELS, np.int64)
    for i in range(levels.size):
        total = weigh(params, i, references[i], rows[i], allowed, sigmoid, exp_negative, exps, packed, masses)
        below = 0
        for level in range(levels[i]):
            below += masses[level]
        starts[i] = (below << PRECISION) // total
        freqs[i] = ((below + masses[levels[i]]) << PRECISION) // total - starts[i]


@kernel
def pop_restricted(
    heads: Heads,
    words: Words,
    n_words: int,
    symbols: Ints,
    first_lane: int,
    references: Ints,
    params: Floats,
    rows: Ints,
    allowed: Bytes,
    sigmoid: Ints,
    exp_negative: Ints,
) -> int:
    """Pop levels that `restricted_intervals` codes, symbol i from lane (first_lane + i) mod lanes."""
    components = (params.shape[1] - 2) // 3
    exps, packed = np.empty(components + 2, np.int64), np.empty(3 * components, np.int64)
    masses = np.empty(_LEVELS, np.int64)
    lane = first_lane % heads.size
    for i in range(symbols.size):
        total = weigh(params, i, references[i], rows[i], allowed, sigmoid, exp_negative, exps, packed, masses)
        value = peek(heads[lane], PRECISION)
        wanted = ((value + 1) * total + _TOTAL - 1) >> PRECISION  # the first level whose end reaches it
        level, end = 0, masses[0]
        while end < wanted:
            level += 1
            end += masses[level]
        start = ((end - masses[level]) << PRECISION) // total
        head, n_words = advance(heads[lane], words, n_words, start, (end << PRECISION) // total - start, PRECISION)
        if n_words < 0:
            return -1
        symbols[i] = level
        heads[lane] = head
        lane += 1
        if lane == heads.size:
            lane = 0
    return n_words
