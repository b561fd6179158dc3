"""Compiled loops of the ANS coder, and the helpers from which other modules build pop kernels.

State. `heads`: uint64 array, one per lane, each in [2^31, 2^63). `words`: uint32 array whose first `n_words`
entries are the stack, newest last. Symbol i of a call is on lane i mod lanes. Push goes through the symbols
from last to first, pop from first to last.

Pop kernels. Every distribution has its own, one compiled call for all symbols of a pop:

    @kernel
    def pop_mine(heads, words, n_words, symbols, ...) -> n_words

It reads one symbol into each entry of `symbols` (int64), in order, and returns the new number of words, or -1
as soon as the words run out. `Message.pop_with(pop_mine, n, ...)` calls it with a copy of the heads and
commits the result; the kernel may write to `heads` and `symbols` only. A loop body is three steps: `peek`
gives a number in [0, 2^precision), the kernel finds the symbol whose interval [start, start + freq) holds it,
`advance` takes the symbol off. `pop_bernoulli` below is the example; `search` finds an interval in a table of
cumulative frequencies.

The kernels trust their arguments: callers check them. In numba int64 with uint64 gives float64, so heads meet
only uint64: the helpers take and give int64 at their borders and convert inside.

Layout of heads and words after craystack (github.com/j-towns/craystack), rANS after Duda, arXiv:1311.2540.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bbcompress.coder.kernel_cache import inline, kernel

Heads = NDArray[np.uint64]
Words = NDArray[np.uint32]
Ints = NDArray[np.int64]

_ONE = np.uint64(1)
_WORD = np.uint64(32)
_LOW = np.uint64(1 << 31)  # heads lie in [_LOW, _LOW << 32)


@inline
def peek(head: np.uint64, precision: int) -> int:
    """The number in [0, 2^precision) that names the next symbol of this head."""
    return np.int64(head & ((_ONE << np.uint64(precision)) - _ONE))  # type: ignore[return-value]


@inline
def advance(
    head: np.uint64, words: Words, n_words: int, start: int, freq: int, precision: int
) -> tuple[np.uint64, int]:
    """Take the symbol with interval [start, start + freq) off a head: the new head and number of words.

    The number is -1, and the head of no use, where a word is needed and there is none. One is always enough.
    """
    bits = np.uint64(precision)
    within = (head & ((_ONE << bits) - _ONE)) - np.uint64(start)
    head = np.uint64(freq) * (head >> bits) + within
    if head < _LOW:
        n_words -= 1
        if n_words >= 0:
            head = (head << _WORD) | np.uint64(words[n_words])
    return head, n_words


@inline
def search(cdf: Ints, value: int) -> int:
    """The s with cdf[s] <= value < cdf[s + 1]. `cdf` increases strictly, from 0 to beyond `value`."""
    low = 0
    high = cdf.size - 1
    while high - low > 1:
        middle = (low + high) >> 1
        if cdf[middle] <= value:
            low = middle
        else:
            high = middle
    return low


@kernel
def pop_bernoulli(
    heads: Heads, words: Words, n_words: int, symbols: Ints, first_lane: int, freq1: Ints, precision: int
) -> int:
    """Pop bits; bit i is 1 with probability freq1[i] / 2^precision, on the upper end of the interval.

    Bit i is on lane (first_lane + i) mod lanes.
    """
    total = np.int64(1) << precision
    lane = first_lane % heads.size
    for i in range(symbols.size):
        head = heads[lane]
        border = total - freq1[i]
        symbol = 0 if peek(head, precision) < border else 1
        if symbol == 0:
            head, n_words = advance(head, words, n_words, 0, border, precision)
        else:
            head, n_words = advance(head, words, n_words, border, freq1[i], precision)
        if n_words < 0:
            return -1
        symbols[i] = symbol
        heads[lane] = head
        lane += 1
        if lane == heads.size:
            lane = 0
    return n_words


@kernel
def pop_uniform(heads: Heads, words: Words, n_words: int, symbols: Ints, bits: int) -> int:
    """Pop numbers in [0, 2^bits), all equally likely."""
    lane = 0
    for i in range(symbols.size):
        value = peek(heads[lane], bits)
        head, n_words = advance(heads[lane], words, n_words, value, 1, bits)
        if n_words < 0:
            return -1
        symbols[i] = value
        heads[lane] = head
        lane += 1
        if lane == heads.size:
            lane = 0
    return n_words


@kernel
def pop_cdf(heads: Heads, words: Words, n_words: int, symbols: Ints, cdfs: Ints, precision: int) -> int:
    """Pop symbols by tables of cumulative frequencies: row i of `cdfs` for symbol i, or one row for all."""
    step = 0 if cdfs.shape[0] == 1 else 1
    lane = 0
    for i in range(symbols.size):
        cdf = cdfs[i * step]
        symbol = search(cdf, peek(heads[lane], precision))
        start = cdf[symbol]
        head, n_words = advance(heads[lane], words, n_words, start, cdf[symbol + 1] - start, precision)
        if n_words < 0:
            return -1
        symbols[i] = symbol
        heads[lane] = head
        lane += 1
        if lane == heads.size:
            lane = 0
    return n_words


@kernel
def push(heads: Heads, words: Words, n_words: int, starts: Ints, freqs: Ints, precision: int) -> int:
    """Push symbols by their intervals, in place; the new number of words.

    Where an interval is invalid, -1 and nothing is done. `words` has room for one more word per symbol.
    """
    total = np.int64(1) << precision
    valid = True
    for i in range(starts.size):
        # In this order no sum is formed that could overflow.
        valid &= (starts[i] >= 0) & (freqs[i] >= 1) & (starts[i] <= total - freqs[i])
    if not valid:
        return -1
    bits = np.uint64(precision)
    limit = (_LOW >> bits) << _WORD
    lane = starts.size % heads.size
    for i in range(starts.size - 1, -1, -1):
        lane = (lane if lane > 0 else heads.size) - 1
        head = heads[lane]
        freq = np.uint64(freqs[i])
        if head >= limit * freq:
            words[n_words] = np.uint32(head & np.uint64(0xFFFFFFFF))
            n_words += 1
            head >>= _WORD
        quotient = head // freq
        heads[lane] = (quotient << bits) + (head - quotient * freq) + np.uint64(starts[i])
    return n_words
