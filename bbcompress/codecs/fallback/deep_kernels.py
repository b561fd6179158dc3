"""The compiled loop of the codec for samples of 16 bits. See docs/format.md, "Deep".

Everything is 64-bit integers, or float64 made of these by single IEEE operations, in the order of the page.

*The proof.* Ranks are from 0 to 2^16 - 1, so the magnitudes of values are below 2^16, and those of products below 2^32.

- A box has at most 13 * 6 + 6 samples, and for a moment a column has one row more: sums are below 13 * 7 * 2^32 < 2^39,
  exact as integers and as float64. Faded sums are below 2^32 / (1 - 0.998) < 2^41.
- A matrix of sums has no negative eigenvalue, and the ridge is at least 1 / 1000 of the mean of its diagonal: so the
  quotient of its eigenvalues is below 22000, no pivot comes near 0, and all weights and predictions are finite.
- Whatever bits a reader finds, a distance stays below `count`, so samples are from 0 to the top of their channel.
"""

from __future__ import annotations

from math import ldexp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bbcompress.coder.kernel_cache import inline, kernel

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Shorts = NDArray[np.uint16]

MISSING = 4
"""Bytes behind the end that a reader takes for zeros."""

LEAST_SHARE, LEAST_SUM = ldexp(1.0, -30), ldexp(1.0, -100)
"""Shares are no smaller, and smaller sums are 0: processors are slow with denormal numbers."""

FIRST, SECOND, THIRD = 10, 6, 18
"""Neighbours that each of the least-squares predictors sees; `NEIGHBOURS` has them in order."""
FIRST_REACH, SECOND_REACH = 6, 3
"""Rows above, and columns to the left and right, that the first two learn from."""
NEIGHBOURS: Ints = np.array(
    [(0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-2, 1), (-1, -2), (-1, 2), (-2, -1), (-2, 2), (-2, -2),
     (0, -3), (-3, 0), (-3, 1), (-3, -1), (-1, 3), (-1, -3)], np.int64
)  # fmt: skip
"""Rows and columns from a sample to those that predict it."""
_AROUND = 6
"""The first of these, to the left, above, left above, right above, two to the left, two above, are its contexts."""
_REACH = 3
"""Rows and columns as far as neighbours reach."""
_ROWS = 4
"""Rows that are kept: those that neighbours reach, and that of now."""

_PREDICTORS = 5
"""Three by least squares, the median predictor, and what these agree on."""
_COUNTED, _CONSTANT, _REPEATED = 5, 6, 7
_INPUTS = 9
"""Of a mixer: what each predictor says, the share of ones in the context, a constant, and two of repeated values."""
_DECISIONS = 40
_OF_BITS = 24
"""Kinds of decisions, those of bits inside a range from this one on."""
_SPREADS = 16
_PATTERNS = 1024


@inline
def squash(x: float, sigmoid: Floats) -> float:
    """The logistic function."""
    t = (min(max(x, -15.99), 15.99) + 16.0) * 1024.0
    i = int(t)
    return sigmoid[i] + (sigmoid[i + 1] - sigmoid[i]) * (t - i)  # type: ignore[no-any-return]


@inline
def stretched(p: float, stretch: Floats) -> float:
    """The inverse of `squash`, of a probability from 0 to 1."""
    return stretch[min(int(p * 65536.0), 65535)]  # type: ignore[no-any-return]


@inline
def neighbour(rows: Any, y: int, x: int, down: int, right: int, none: Any) -> Any:
    """What stands so many rows and columns from (y, x), in an array of the last `_ROWS` rows, each in its turn."""
    width = rows.shape[1]
    if y + down < 0 or (down == 0 and x + right < 0):
        if down < 0 and x > 0:
            return rows[y % _ROWS, x - 1]
        if y > 0:
            return rows[(y - 1) % _ROWS, 0]
        return rows[0, x - 1] if x > 0 else none
    return rows[(y + down) % _ROWS, min(max(x + right, 0), width - 1)]


@inline
def gather(rows: Any, y: int, x: int, neighbours: Ints, count: int, none: Any, out: Any) -> None:
    """The first of the neighbours of (y, x), so many."""
    if y >= _REACH and _REACH <= x < rows.shape[1] - _REACH:  # all are there
        for j in range(count):
            out[j] = rows[(y + neighbours[j, 0]) % _ROWS, x + neighbours[j, 1]]
    else:
        for j in range(count):
            out[j] = neighbour(rows, y, x, neighbours[j, 0], neighbours[j, 1], none)


@inline
def add(sums: Ints, values: Ints, sign: int, size: int) -> None:
    """Add the products of all pairs of so many values, or take them off."""
    for i in range(size):
        value = sign * values[i]
        for j in range(i + 1):
            sums[i, j] += value * values[j]


@inline
def add_sums(sums: Ints, others: Ints, sign: int, size: int) -> None:
    """Add other sums, or take them off."""
    for i in range(size):
        for j in range(i + 1):
            sums[i, j] += sign * others[i, j]


@inline
def slide(box: Ints, columns: Ints, row: Ints, x: int, reach: int, size: int) -> None:
    """Move a box of sums, of the columns of the rows above and of the row so far, on to column x."""
    width = len(columns)
    if x + reach < width:
        add_sums(box, columns[x + reach], 1, size)
    if x > reach:
        add_sums(box, columns[x - reach - 1], -1, size)
        add(box, row[x - reach - 1], -1, size)
    if x > 0:
        add(box, row[x - 1], 1, size)


@inline
def solve(matrix: Floats, right: Floats, size: int, weights: Floats) -> None:
    """Solve for the weights by Cholesky's method, in place of the matrix; they stay where that is singular."""
    for i in range(size):
        for j in range(i + 1):
            s = matrix[i, j]
            for k in range(j):
                s -= matrix[i, k] * matrix[j, k]
            if i == j:
                if s <= 1e-9:
                    return
                matrix[i, i] = np.sqrt(s)
            else:
                matrix[i, j] = s / matrix[j, j]
    for i in range(size):
        s = right[i]
        for k in range(i):
            s -= matrix[i, k] * weights[k]
        weights[i] = s / matrix[i, i]
    for i in range(size - 1, -1, -1):
        s = weights[i]
        for k in range(i + 1, size):
            s -= matrix[k, i] * weights[k]
        weights[i] = s / matrix[i, i]


@inline
def fit(sums: Any, size: int, share: float, least: float, matrix: Floats, right: Floats, weights: Floats) -> None:
    """The weights of so many values that by least squares over these sums predict the value before them. A ridge, a
    share of the mean of the diagonal and at least so much, is added to that."""
    trace = 0.0
    for i in range(size):
        trace += sums[i + 1, i + 1]
    ridge = share * trace / size + least
    for i in range(size):
        right[i] = sums[i + 1, 0]
        for j in range(i + 1):
            matrix[i, j] = sums[i + 1, j + 1]
        matrix[i, i] += ridge
    solve(matrix, right, size, weights)


@inline
def weighed(weights: Floats, values: Ints, size: int) -> float:
    """The values but the first, which is what is predicted, by their weights."""
    p = 0.0
    for i in range(size):
        p += weights[i] * values[i + 1]
    return p


@inline
def code_bit(state: Ints, data: Bytes, bit: int, p: int, encoding: int) -> int:
    """Write a bit, or read one; p / 2^16 is the probability of 1. state: low and high end of the interval, the bytes
    read, how many bytes are read or written."""
    low, high = state[0], state[1]
    width = high - low
    middle = low + (width >> 16) * p + (((width & 0xFFFF) * p) >> 16)
    if not encoding:
        bit = 1 if state[2] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while (low ^ high) >> 24 == 0:
        if encoding:
            if state[3] < data.size:
                data[state[3]] = high >> 24
        else:
            byte = data[state[3]] if state[3] < data.size else 0
            state[2] = ((state[2] << 8) | byte) & 0xFFFFFFFF
        state[3] += 1
        low = (low << 8) & 0xFFFFFFFF
        high = ((high << 8) & 0xFFFFFFFF) | 255
    state[0], state[1] = low, high
    return bit


@inline
def update(shares: Floats, counts: Ints, at: int, bit: int, least: float) -> None:
    """Move the share of ones in a context on."""
    counts[at] += 1
    share = shares[at] + (bit - shares[at]) * max(1.0 / (counts[at] + 1.5), least)
    shares[at] = max(share, LEAST_SHARE)


@kernel
def code(
    samples: Shorts,
    tops: Ints,
    means: Ints,
    data: Bytes,
    encoding: int,
    neighbours: Ints,
    sigmoid: Floats,
    stretch: Floats,
) -> int:
    """Code samples, (C, H, W), each from 0 to the top of its channel, into bytes, or fill them in from bytes.

    means: what stands for a sample before the first. neighbours: `NEIGHBOURS`. sigmoid, stretch: tables.

    Returns how many bytes were written, or wanted to be where there is no room for more; how many were read, with those
    behind the end, or -1 where these are more than `MISSING`, or the last bytes are not those that are written.
    """
    channels, height, width = samples.shape
    state = np.array([0, 0xFFFFFFFF, 0, 0], np.int64)
    if not encoding:
        for _ in range(4):
            byte = data[state[3]] if state[3] < data.size else 0
            state[2] = (state[2] << 8) | byte
            state[3] += 1
    rows = FIRST_REACH + 1
    wide = THIRD + channels
    seen = np.zeros((channels, rows, width, wide), np.int64)
    columns_1 = np.zeros((channels, width, FIRST + channels, FIRST + channels), np.int64)
    columns_2 = np.zeros((channels, width, SECOND + channels, SECOND + channels), np.int64)
    box_1 = np.zeros((channels, FIRST + channels, FIRST + channels), np.int64)
    box_2 = np.zeros((channels, SECOND + channels, SECOND + channels), np.int64)
    faded = np.zeros((channels, wide, wide))
    weights = np.zeros((channels, 3, wide))
    matrix, right = np.zeros((wide, wide)), np.zeros(wide)
    recent = np.zeros((channels, _ROWS, width), np.int64)
    errors = np.zeros((channels, _PREDICTORS, _ROWS, width))
    same = np.zeros((channels, _ROWS, width), np.int64)
    near, flags_near, errors_near = np.zeros(THIRD, np.int64), np.zeros(_AROUND, np.int64), np.zeros(_AROUND)
    shares = np.full((channels, 4, _PATTERNS), 0.1)
    share_counts = np.zeros((channels, 4, _PATTERNS), np.int64)
    ones = np.full((channels, _DECISIONS * _SPREADS), 0.5)
    one_counts = np.zeros((channels, _DECISIONS * _SPREADS), np.int64)
    mixers_1 = np.zeros((channels, _DECISIONS, _INPUTS))
    mixers_2 = np.zeros((channels, _DECISIONS * _SPREADS, _INPUTS))
    for j in range(_INPUTS):
        mixers_1[:, :, j] = 0.22 if j < _PREDICTORS else 0.0 if j == _CONSTANT else 0.1
        mixers_2[:, :, j] = mixers_1[0, 0, j]
    predicted, spread, slope = np.zeros(_PREDICTORS), np.zeros(_PREDICTORS), np.zeros(_PREDICTORS)
    inputs = np.zeros(_INPUTS)
    deviations = np.zeros(channels, np.int64)
    for y in range(height):
        for c in range(channels):
            box_1[c, :, :] = 0
            box_2[c, :, :] = 0
            for x in range(min(FIRST_REACH, width)):
                add_sums(box_1[c], columns_1[c, x], 1, FIRST + c + 1)
            for x in range(min(SECOND_REACH, width)):
                add_sums(box_2[c], columns_2[c, x], 1, SECOND + c + 1)
        for x in range(width):
            for c in range(channels):
                top = tops[c]
                if top == 0:
                    continue
                row = seen[c, y % rows]
                gather(recent[c], y, x, neighbours, THIRD, means[c], near)
                west, north, north_west, north_east = near[0], near[1], near[2], near[3]
                reference = (west + north + 1) >> 1
                values = row[x]
                for j in range(c):
                    values[1 + j] = deviations[j]
                for j in range(THIRD):
                    values[1 + c + j] = near[j] - reference

                # Five predictions, and how far those near by were off.
                slide(box_1[c], columns_1[c], row, x, FIRST_REACH, FIRST + c + 1)
                slide(box_2[c], columns_2[c], row, x, SECOND_REACH, SECOND + c + 1)
                fit(box_1[c], FIRST + c, 0.002, 2.0, matrix, right, weights[c, 0])
                fit(box_2[c], SECOND + c, 0.002, 2.0, matrix, right, weights[c, 1])
                if x % 2 == 0:
                    fit(faded[c], THIRD + c, 0.001, 1.0, matrix, right, weights[c, 2])
                predicted[0] = reference + weighed(weights[c, 0], values, FIRST + c)
                predicted[1] = reference + weighed(weights[c, 1], values, SECOND + c)
                predicted[2] = reference + weighed(weights[c, 2], values, THIRD + c)
                predicted[3] = min(max(west + north - north_west, min(west, north)), max(west, north))
                total, mean = 0.0, 0.0
                for j in range(_PREDICTORS):
                    if j == _PREDICTORS - 1:
                        predicted[j] = mean / total
                    predicted[j] = min(max(predicted[j], 0.0), float(top))
                    gather(errors[c, j], y, x, neighbours, _AROUND, top / 64.0 + 1.0, errors_near)
                    t = 2.0 * errors_near[0] + 2.0 * errors_near[1]
                    for i in range(2, _AROUND):
                        t += errors_near[i]
                    spread[j] = t / 8.0
                    slope[j] = 1.0 / (spread[j] * 0.72 + 0.06)
                    share = 1.0 / (spread[j] + 0.1)
                    share *= share
                    share *= share
                    total += share
                    mean += share * predicted[j]
                centre = int(np.floor(predicted[4] + 0.5))
                level, t = 0, spread[4]
                while t > 0.25 and level < _SPREADS - 1:
                    t *= 0.5
                    level += 1
                start_size, t = 1, spread[4] * 0.5
                while t >= 2.0 and start_size < 1 << 14:
                    t *= 0.5
                    start_size *= 2

                # How often the value to the left, or above, comes again in such a place.
                flags, flag_rows = 0, same[c]
                if west == north_west:
                    flags |= 4
                if north == north_west:
                    flags |= 8
                if north == north_east:
                    flags |= 16
                if west == near[4]:
                    flags |= 32
                if north == near[5]:
                    flags |= 64
                if west == north:
                    flags |= 128
                place = flags + (x & 1) * 2 + (y & 1)
                gather(flag_rows, y, x, neighbours, _AROUND, 0, flags_near)
                pattern = flags_near[0] + 4 * flags_near[1] + 16 * flags_near[2] + 64 * flags_near[3]
                pattern += 256 * flags_near[5]

                sample: Any = np.int64(samples[c, y, x])
                upwards = 1 if sample >= centre else 0
                stage = 0
                if centre == 0:
                    upwards, stage = 1, 1
                count = top - centre + 1 if upwards else centre
                distance = sample - centre if upwards else centre - 1 - sample
                first, size, steps, half = 0, start_size, 0, 0
                while True:
                    if stage == 1 and first + size >= count:
                        stage = 2
                    if stage == 2:
                        half = size >> 1
                        while half > 0 and first + half >= count:
                            half >>= 1
                        if half == 0:
                            break
                    end = count if stage == 1 else min(first + 2 * half, count)
                    middle = first + (size if stage == 1 else half)
                    if stage == 0:
                        low, edge, high = 0, centre, top + 1
                        bit, decision = upwards, 0
                    else:
                        if upwards:
                            low, edge, high = centre + first, centre + middle, centre + end
                        else:
                            low, edge, high = centre - end, centre - middle, centre - first
                        bit = 1 if distance >= middle else 0
                        decision = 1 + min(steps, 20)
                        if stage == 2:
                            decision, t_half = _OF_BITS, half
                            while t_half > 1:
                                t_half >>= 1
                                decision += 1
                    above = upwards == 1 or stage == 0
                    at_low, at_edge, at_high, part = 0.0, 0.0, 1.0, 0.0
                    for j in range(_PREDICTORS):
                        at_low = squash((low - 0.5 - predicted[j]) * slope[j], sigmoid) if low > 0 else 0.0
                        at_edge = squash((edge - 0.5 - predicted[j]) * slope[j], sigmoid)
                        at_high = squash((high - 0.5 - predicted[j]) * slope[j], sigmoid) if high <= top else 1.0
                        part = at_high - at_edge if above else at_edge - at_low
                        inputs[j] = stretched((part + 1e-7) / (at_high - at_low + 2e-7), stretch)
                    for j in range(2):
                        at = place if j == 0 else pattern
                        left = shares[c, 2 * j, at]
                        over = shares[c, 2 * j + 1, at] * (1.0 - left) if west != north else 0.0
                        whole = (1.0 - left - over) * (at_high - at_low)
                        chosen = (1.0 - left - over) * part
                        if low <= west < high:
                            whole += left
                            if (west >= edge) == above:
                                chosen += left
                        if low <= north < high:
                            whole += over
                            if (north >= edge) == above:
                                chosen += over
                        inputs[_REPEATED + j] = stretched((chosen + 1e-7) / (whole + 2e-7), stretch)
                    context = decision * _SPREADS + level
                    inputs[_COUNTED] = stretched(ones[c, context], stretch)
                    inputs[_CONSTANT] = 0.3
                    mixer_1, mixer_2 = mixers_1[c, decision], mixers_2[c, context]
                    dot_1, dot_2 = 0.0, 0.0
                    for j in range(_INPUTS):
                        dot_1 += mixer_1[j] * inputs[j]
                        dot_2 += mixer_2[j] * inputs[j]
                    p = int(squash((dot_1 + dot_2) * 0.5, sigmoid) * 65536.0)
                    bit = code_bit(state, data, bit, min(max(p, 1), 65535), encoding)
                    rate_1 = (bit - squash(dot_1, sigmoid)) * 0.02
                    rate_2 = (bit - squash(dot_2, sigmoid)) * 0.02
                    for j in range(_INPUTS):
                        mixer_1[j] += rate_1 * inputs[j]
                        mixer_2[j] += rate_2 * inputs[j]
                    update(ones[c], one_counts[c], context, bit, 0.004)
                    if stage == 0:
                        upwards, stage = bit, 1
                        count = top - centre + 1 if upwards else centre
                        distance = sample - centre if upwards else centre - 1 - sample
                    elif stage == 1:
                        if bit:
                            first += size
                            if steps > 0:
                                size *= 2
                            steps += 1
                        else:
                            stage = 2
                    else:
                        if bit:
                            first += half
                        size = half
                if not encoding:
                    if state[3] > data.size + MISSING:
                        return -1
                    sample = centre + first if upwards else centre - 1 - first
                    samples[c, y, x] = sample
                recent[c, y % _ROWS, x] = sample

                # What is learned from the sample.
                deviations[c] = sample - reference
                values[0] = deviations[c]
                for j in range(_PREDICTORS):
                    errors[c, j, y % _ROWS, x] = abs(sample - predicted[j])
                flag_rows[y % _ROWS, x] = (1 if sample == west else 0) + (2 if sample == north else 0)
                is_left = 1 if sample == west else 0
                update(shares[c, 0], share_counts[c, 0], place, is_left, 0.008)
                update(shares[c, 2], share_counts[c, 2], pattern, is_left, 0.008)
                if not is_left and west != north:
                    is_over = 1 if sample == north else 0
                    update(shares[c, 1], share_counts[c, 1], place, is_over, 0.008)
                    update(shares[c, 3], share_counts[c, 3], pattern, is_over, 0.008)
                sums = faded[c]
                for i in range(THIRD + c + 1):
                    for j in range(i + 1):
                        s = sums[i, j] * 0.998 + float(values[i] * values[j])
                        sums[i, j] = s if abs(s) >= LEAST_SUM else 0.0
        for c in range(channels):
            for x in range(width):
                add(columns_1[c, x], seen[c, y % rows, x], 1, FIRST + c + 1)
                add(columns_2[c, x], seen[c, y % rows, x], 1, SECOND + c + 1)
                if y >= FIRST_REACH:
                    add(columns_1[c, x], seen[c, (y - FIRST_REACH) % rows, x], -1, FIRST + c + 1)
                if y >= SECOND_REACH:
                    add(columns_2[c, x], seen[c, (y - SECOND_REACH) % rows, x], -1, SECOND + c + 1)
    # The last bytes are those of the number of the interval that ends with the most zeros.
    last = state[1]
    for bits in range(33):
        if (state[1] >> bits) << bits < state[0]:
            break
        last = (state[1] >> bits) << bits
    if not encoding:
        return state[3] if state[2] == last else -1
    for shift in range(24, -1, -8):
        if state[3] < data.size:
            data[state[3]] = (last >> shift) & 255
        state[3] += 1
    return state[3]  # type: ignore[no-any-return]
