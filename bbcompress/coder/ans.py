"""The ANS coder: a message is a stack of bits to which symbols are pushed and from which they are popped.

rANS with 64-bit heads in [2^31, 2^63), one per lane, and a stack of 32-bit words that the lanes share. A
symbol is an interval [start, start + freq) of [0, 2^precision). Heads, words and their order are those of
craystack (github.com/j-towns/craystack), so that the two read each other's messages. Everything here is
integer arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bbcompress.coder import ans_kernels as kernels
from bbcompress.coder.kernel_cache import Kernel

MAX_LANES = 1024
MAX_PRECISION = 24
HEAD_MIN = 1 << 31
HEAD_END = 1 << 63

_CHUNK = 16  # bits of a head that are folded at a time
_LENGTH_BITS = 5  # heads have 32 to 63 bits


class EmptyMessage(Exception):
    """A pop asked for more bits than the message holds."""


class Message:
    """A mutable ANS message of `lanes` heads and a stack of words.

    Arrays of N symbols are laid over the lanes in turn, symbol i on lane i mod lanes; N is any number. Pushes
    go from the last symbol to the first and pops from the first to the last, so `pop` after `push` of the
    same N gives the symbols in their order and restores the message exactly. A call that raises leaves the
    message as it was.
    """

    __slots__ = ("_heads", "_n_words", "_words")

    def __init__(self, heads: ArrayLike, words: ArrayLike = ()) -> None:
        """Message of the given heads, and words with the newest last; both are copied.

        Raises:
            ValueError: a head is outside [2^31, 2^63), a word outside [0, 2^32), or the number of lanes is bad.
        """
        heads = np.asarray(heads)
        if heads.ndim != 1 or heads.dtype.kind not in "iu":
            raise ValueError("heads must be a 1-D array of integers")
        _check_lanes(heads.size)
        if int(heads.min()) < HEAD_MIN or int(heads.max()) >= HEAD_END:
            raise ValueError("a head lies outside [2^31, 2^63)")
        self._heads: NDArray[np.uint64] = heads.astype(np.uint64)
        self._words: NDArray[np.uint32] = _as_words(words)
        self._n_words = self._words.size

    @classmethod
    def empty(cls, lanes: int, seeds: ArrayLike | None = None) -> Message:
        """Message with no words; `seeds` (31-bit integers, one per lane, default 0) are the heads' low bits.

        Raises:
            ValueError: the number of lanes is outside 1..1024, or seeds are bad.
        """
        _check_lanes(lanes)
        low = np.zeros(lanes, np.int64) if seeds is None else _as_ints(seeds, "seeds")
        if low.size != lanes or int(low.min()) < 0 or int(low.max()) >= HEAD_MIN:
            raise ValueError("seeds must be 31-bit integers, one per lane")
        return cls(low | HEAD_MIN)

    # Properties of the state

    @property
    def lanes(self) -> int:
        """Number of heads."""
        return self._heads.size

    @property
    def heads(self) -> NDArray[np.uint64]:
        """A copy of the heads."""
        return self._heads.copy()

    @property
    def words(self) -> NDArray[np.uint32]:
        """A copy of the words, newest last."""
        return self._words[: self._n_words].copy()

    @property
    def bits(self) -> int:
        """Size of `flatten()` in bits: 64 per lane and 32 per word."""
        return 64 * self.lanes + 32 * self._n_words

    @property
    def content_bits(self) -> int:
        """Bits of content: an empty message has none. Up to one bit per lane short of the truth."""
        return sum(int(h).bit_length() - 32 for h in self._heads) + 32 * self._n_words

    def copy(self) -> Message:
        """An independent message of the same state."""
        return Message(self._heads, self._words[: self._n_words])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return np.array_equal(self._heads, other._heads) and np.array_equal(self.words, other.words)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Message(lanes={self.lanes}, words={self._n_words})"

    # Push

    def push(self, starts: ArrayLike, freqs: ArrayLike, precision: int) -> None:
        """Push N symbols by their intervals [start, start + freq) of [0, 2^precision).

        Args:
            starts, freqs: integers, shape (N,).

        Raises:
            ValueError: the precision is outside 1..24, or an interval is empty or leaves [0, 2^precision).
        """
        precision = _check_precision(precision)
        starts, freqs = _as_ints(starts, "starts"), _as_ints(freqs, "freqs")
        if starts.size != freqs.size:
            raise ValueError("starts and freqs differ in length")
        self._reserve(starts.size)
        n_words = kernels.push.for_symbols(starts.size)(
            self._heads, self._words, self._n_words, starts, freqs, precision
        )
        if n_words < 0:
            raise ValueError("an interval is empty or leaves [0, 2^precision)")
        self._n_words = n_words

    def push_uniform(self, values: ArrayLike, bits: int) -> None:
        """Push integers in [0, 2^bits), shape (N,), 1 <= bits <= 24; raises ValueError for others."""
        values = _as_ints(values, "values")
        self.push(values, np.ones(values.size, np.int64), bits)

    def push_bernoulli(self, symbols: ArrayLike, freq1: ArrayLike, precision: int) -> None:
        """Push bits, shape (N,), that are 1 with probability freq1 / 2^precision; see `pop_bernoulli`.

        Raises:
            ValueError: a symbol is neither 0 nor 1, or its probability is 0.
        """
        precision = _check_precision(precision)
        symbols = _as_ints(symbols, "symbols")
        freq1 = _check_freq1(freq1, symbols.size, precision)
        if symbols.size and (int(symbols.min()) < 0 or int(symbols.max()) > 1):
            raise ValueError("symbols must be 0 or 1")
        freq0 = (1 << precision) - freq1
        self.push(symbols * freq0, np.where(symbols == 1, freq1, freq0), precision)

    # Pop

    def pop_with(self, kernel: Kernel, n: int, *args: Any) -> NDArray[np.int64]:
        """Pop n symbols with a pop kernel and its further arguments; the contract is in `ans_kernels`.

        The kernel gets `args` unchecked. Raises EmptyMessage, the message unchanged, where the words run out.
        """
        if n < 0:
            raise ValueError("the number of symbols is negative")
        symbols = np.empty(n, np.int64)
        heads = self._heads.copy()
        n_words = kernel.for_symbols(n)(heads, self._words, self._n_words, symbols, *args)
        if n_words < 0:
            raise EmptyMessage("the message holds fewer symbols than were asked for")
        self._heads, self._n_words = heads, n_words
        return symbols

    def poppable(self, kernel: Kernel, n: int, *args: Any) -> int:
        """How many of the n symbols of a `pop_with` the message holds; it is left as it was."""
        symbols = np.full(n, -1, np.int64)  # a kernel stops where words run out, symbols are not negative
        kernel.for_symbols(n)(self._heads.copy(), self._words, self._n_words, symbols, *args)
        missing = np.flatnonzero(symbols < 0)
        return int(missing[0]) if missing.size else n

    def pop_uniform(self, n: int, bits: int) -> NDArray[np.int64]:
        """Pop n integers in [0, 2^bits), 1 <= bits <= 24.

        Raises:
            EmptyMessage: the message does not hold so many symbols.
            ValueError: an argument is out of range.
        """
        return self.pop_with(kernels.pop_uniform, n, _check_precision(bits))

    def pop_bernoulli(self, freq1: ArrayLike, precision: int, first_lane: int = 0) -> NDArray[np.int64]:
        """Pop bits that are 1 with probability freq1 / 2^precision.

        Symbol 0 has the interval [0, 2^precision - freq1), symbol 1 the rest. Bit i is on lane (first_lane + i) mod
        lanes.

        Args:
            freq1: integers in [0, 2^precision], shape (N,).

        Raises:
            EmptyMessage: the message does not hold so many symbols.
            ValueError: an argument is out of range.
        """
        precision = _check_precision(precision)
        freq1 = _check_freq1(freq1, None, precision)
        first_lane = int(first_lane)
        return self.pop_with(kernels.pop_bernoulli, freq1.size, first_lane, freq1, precision)

    def pop_cdf(self, cdfs: ArrayLike, precision: int, n: int | None = None) -> NDArray[np.int64]:
        """Pop symbols of an alphabet of size A by tables of cumulative frequencies.

        Rows increase strictly from 0 to 2^precision; symbol s has the interval [cdf[s], cdf[s + 1]). Raises
        EmptyMessage, and ValueError for other tables and where n is missing for a shared one.

        Args:
            cdfs: integers, a row per symbol, shape (N, A + 1), or one row for all of n symbols, shape (A + 1,).
        """
        precision = _check_precision(precision)
        table = np.asarray(cdfs)
        if table.ndim not in (1, 2):
            raise ValueError("cdfs must have one or two dimensions")
        count = n if table.ndim == 1 else table.shape[0]
        if count is None or n not in (None, count):
            raise ValueError("n must be given for a shared table, and be the number of rows otherwise")
        width = table.shape[-1]
        table = _as_ints(table.reshape(-1), "cdfs").reshape(-1, width) if width else np.empty((0, 0), np.int64)
        if width < 2 or (table[:, 0] != 0).any() or (table[:, -1] != 1 << precision).any():
            raise ValueError("cumulative frequencies must run from 0 to 2^precision")
        if (table[:, 1:] <= table[:, :-1]).any():
            raise ValueError("cumulative frequencies must increase strictly")
        return self.pop_with(kernels.pop_cdf, count, table, precision)

    # Storage

    def flatten(self) -> NDArray[np.uint32]:
        """The message as craystack flattens it: high halves of the heads, low halves, words newest first."""
        high = (self._heads >> np.uint64(32)).astype(np.uint32)
        low = (self._heads & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        return np.concatenate([high, low, self._words[: self._n_words][::-1]])

    @classmethod
    def unflatten(cls, array: ArrayLike, lanes: int) -> Message:
        """The message of `lanes` heads that `flatten` gave; raises ValueError where it could not have."""
        _check_lanes(lanes)
        flat = _as_words(array)
        if flat.size < 2 * lanes:
            raise ValueError("too short for the heads of a message")
        high, low = flat[:lanes].astype(np.uint64), flat[lanes : 2 * lanes].astype(np.uint64)
        return cls((high << np.uint64(32)) | low, flat[2 * lanes :][::-1])

    def to_bytes(self) -> bytes:
        """The message in as few whole bytes as its state allows; `from_bytes` describes the format."""
        words = self._words[: self._n_words].tolist()
        head, *others = self._heads.tolist()
        for other in reversed(others):
            head = _fold(head, words, other)
        size = max(4, (head.bit_length() + 7) // 8)
        if size == 4 and words:  # see from_bytes: never below 2^63, unlike an 8-byte head
            head, size = (head << 32) | words.pop(), 8
        stored: int = head
        return stored.to_bytes(size, "little") + np.array(words[::-1], "<u4").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes, lanes: int) -> Message:
        """The message with these bytes and lanes. It has no other encoding: all others raise ValueError.

        All integers are little-endian. First comes the head of lane 0 in r bytes, the fewest that hold it but
        at least 4, then the words, newest first. r follows from the length n and the first 8 bytes:

        * n = 4: r = 4. n < 4: invalid.
        * n mod 4 = 1, 2, 3: r = 5, 6, 7.
        * n mod 4 = 0, n >= 8: r = 8 where the first 8 bytes, as an integer v, are below 2^63. Otherwise r =
          4, and v is head * 2^32 + newest word: the two are stored in the other order here. The head is at
          least 2^31, so v is at least 2^63 and the cases are distinct.

        The other heads were pushed onto lane 0, from the last lane to lane 1, and are popped from lane 1 on.
        A head of b + 32 bits pops as b, 5 bits uniform, then its b + 31 bits below the leading one, from high
        to low in uniform chunks: first the 1 to 16 bits that the division into 16-bit chunks leaves over,
        then 16 at a time.
        """
        _check_lanes(lanes)
        data = bytes(data)
        if len(data) < 4:
            raise ValueError("a message has at least 4 bytes")
        size = 4 if len(data) == 4 else 5 + (len(data) - 5) % 4
        head = int.from_bytes(data[:size], "little")
        words: list[int] = np.frombuffer(data, "<u4", offset=size)[::-1].tolist()
        if size == 8 and head >= HEAD_END:
            words.append(head & 0xFFFFFFFF)
            head >>= 32
        elif head < max(HEAD_MIN, 1 << 8 * (size - 1)) or head >= HEAD_END:
            raise ValueError("the message's head is out of range or not in its shortest form")
        heads = [head]
        for _ in range(lanes - 1):
            heads[0], other = _unfold(heads[0], words)
            heads.append(other)
        return cls(np.array(heads, np.uint64), np.array(words, np.uint32))

    def _reserve(self, more: int) -> None:
        """Make room for `more` words, doubling so that a message built by small pushes costs linear time."""
        need = self._n_words + more
        if need > self._words.size:
            grown = np.empty(max(need, 2 * self._words.size, 64), np.uint32)
            grown[: self._n_words] = self._words[: self._n_words]
            self._words = grown


# The fold works on one head and a list of words, newest last, in Python: lanes are few.


def _push_bits(head: int, words: list[int], value: int, bits: int) -> int:
    if head >= 1 << (63 - bits):
        words.append(head & 0xFFFFFFFF)
        head >>= 32
    return head << bits | value


def _pop_bits(head: int, words: list[int], bits: int) -> tuple[int, int]:
    value, head = head & ((1 << bits) - 1), head >> bits
    if head < HEAD_MIN:
        if not words:
            raise ValueError("the message is too short for its lanes")
        head = head << 32 | words.pop()
    return head, value


def _fold(head: int, words: list[int], other: int) -> int:
    """Push a head onto another one; returns the latter."""
    payload = other.bit_length() - 1
    for shift in range(0, payload, _CHUNK):
        bits = min(_CHUNK, payload - shift)
        head = _push_bits(head, words, other >> shift & ((1 << bits) - 1), bits)
    return _push_bits(head, words, payload - 31, _LENGTH_BITS)


def _unfold(head: int, words: list[int]) -> tuple[int, int]:
    """Undo `_fold`; returns both heads.

    Raises:
        ValueError: the words run out.
    """
    head, length = _pop_bits(head, words, _LENGTH_BITS)
    payload, other = length + 31, 1
    for shift in reversed(range(0, payload, _CHUNK)):
        bits = min(_CHUNK, payload - shift)
        head, chunk = _pop_bits(head, words, bits)
        other = other << bits | chunk
    return head, other


def _check_lanes(lanes: int) -> None:
    if not 1 <= lanes <= MAX_LANES:
        raise ValueError(f"the number of lanes must be 1 to {MAX_LANES}")


def _check_precision(precision: int) -> int:
    """The precision as a plain int, so that kernels see one type."""
    if not 1 <= precision <= MAX_PRECISION:
        raise ValueError(f"the precision must be 1 to {MAX_PRECISION} bits")
    return int(precision)


def _check_freq1(freq1: ArrayLike, size: int | None, precision: int) -> NDArray[np.int64]:
    freq1 = _as_ints(freq1, "freq1")
    if size not in (None, freq1.size):
        raise ValueError("symbols and freq1 differ in length")
    if freq1.size and (int(freq1.min()) < 0 or int(freq1.max()) > 1 << precision):
        raise ValueError("freq1 must lie in [0, 2^precision]")
    return freq1


def _as_ints(array: ArrayLike, name: str) -> NDArray[np.int64]:
    """1-D, int64, C-contiguous and writable: the one type that the kernels are compiled for."""
    given = np.asarray(array)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iub"):
        raise ValueError(f"{name} must be a 1-D array of integers")
    if given.dtype == np.uint64 and given.size and int(given.max()) >= 1 << 63:
        raise ValueError(f"{name} must fit in 63 bits")
    return np.require(given, np.int64, ["C", "A", "W"])


def _as_words(array: ArrayLike) -> NDArray[np.uint32]:
    """A new 1-D uint32 array."""
    given = np.asarray(array)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise ValueError("words must be a 1-D array of integers")
    if given.dtype != np.uint32 and given.size and (int(given.min()) < 0 or int(given.max()) >> 32):
        raise ValueError("a word lies outside [0, 2^32)")
    return given.astype(np.uint32, order="C")
