"""The ANS coder: round trips, agreement with a plain coder and with craystack, storage, its kernels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from hypothesis import given, settings
from hypothesis import strategies as st

from bbcompress.coder import ans_kernels, kernel_cache
from bbcompress.coder.ans import MAX_LANES, EmptyMessage, Message
from bbcompress.coder.ans_kernels import advance, peek
from bbcompress.coder.kernel_cache import kernel

ROOT = Path(__file__).parents[2]
LOW, HIGH = 1 << 31, (1 << 63) - 1  # the least and the greatest head
GOLDEN = json.loads((ROOT / "tests" / "golden" / "craystack_messages.json").read_text())


class PlainCoder:
    """The coder again, in plain Python integers, as slow and obvious as can be."""

    def __init__(self, heads: list[int], words: list[int]) -> None:
        self.heads, self.words = list(heads), list(words)

    def push(self, starts: list[int], freqs: list[int], precision: int) -> None:
        for i in reversed(range(len(starts))):
            lane = i % len(self.heads)
            head = self.heads[lane]
            grown = head // freqs[i] * 2**precision + head % freqs[i] + starts[i]
            if grown > HIGH:
                self.words.append(head % 2**32)
                head //= 2**32
                grown = head // freqs[i] * 2**precision + head % freqs[i] + starts[i]
            self.heads[lane] = grown

    def pop(self, cdfs: list[list[int]], precision: int) -> list[int]:
        symbols = []
        for i, cdf in enumerate(cdfs):
            lane = i % len(self.heads)
            rest, value = divmod(self.heads[lane], 2**precision)
            symbol = max(s for s in range(len(cdf) - 1) if cdf[s] <= value)
            head = (cdf[symbol + 1] - cdf[symbol]) * rest + value - cdf[symbol]
            if head < LOW:
                head = head * 2**32 + self.words.pop()
            self.heads[lane] = head
            symbols.append(symbol)
        return symbols

    def to_bytes(self) -> bytes:
        first = PlainCoder(self.heads[:1], self.words)
        for head in reversed(self.heads[1:]):
            payload = bin(head)[3:]  # the bits below the leading one
            for end in range(len(payload), 0, -16):
                chunk = payload[max(0, end - 16) : end]
                first.push([int(chunk, 2)], [1], len(chunk))
            first.push([len(payload) - 31], [1], 5)
        (head,), words = first.heads, [word.to_bytes(4, "little") for word in first.words]
        if head < 2**32:
            newest = words.pop() if words else b""
            return newest + head.to_bytes(4, "little") + b"".join(reversed(words))
        shortest = head.to_bytes(8, "little").rstrip(b"\0")
        return shortest + b"".join(reversed(words))


@kernel
def pop_known(heads: Any, words: Any, n_words: int, symbols: Any, starts: Any, freqs: Any, precision: int) -> int:
    """Pop known symbols by the contract; gives where peek's number lies in each interval."""
    lane = 0
    for i in range(symbols.size):
        symbols[i] = peek(heads[lane], precision) - starts[i]
        head, n_words = advance(heads[lane], words, n_words, starts[i], freqs[i], precision)
        if n_words < 0:
            return -1
        heads[lane] = head
        lane = (lane + 1) % heads.size
    return n_words


def as_ints(values: Any) -> Any:
    return np.array(values, np.int64)


heads_strategy = st.lists(
    st.one_of(st.sampled_from([LOW, LOW + 1, (1 << 32) - 1, 1 << 32, HIGH]), st.integers(LOW, HIGH)),
    min_size=1,
    max_size=9,
)
words_strategy = st.lists(st.integers(0, 2**32 - 1), max_size=30)
messages = st.builds(Message, heads_strategy, words_strategy)


@st.composite
def intervals(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    """starts, freqs, precision, with frequencies 1, 2^precision - 1 and 2^precision well represented."""
    precision = draw(st.integers(1, 24))
    total = 1 << precision
    n = draw(st.integers(0, 40))
    freq = st.one_of(st.sampled_from([1, total - 1, total]), st.integers(1, total))
    freqs = draw(st.lists(freq, min_size=n, max_size=n))
    starts = [draw(st.one_of(st.sampled_from([0, total - f]), st.integers(0, total - f))) for f in freqs]
    return starts, freqs, precision


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[list[int]], int]:
    """A few tables of cumulative frequencies of one alphabet, and their precision."""
    precision = draw(st.integers(1, 24))
    size = draw(st.integers(1, min(6, 1 << precision)))
    inner = st.lists(st.integers(1, (1 << precision) - 1), min_size=size - 1, max_size=size - 1, unique=True)
    n = draw(st.integers(1, 30))
    return [[0, *sorted(draw(inner)), 1 << precision] for _ in range(n)], precision


# Round trips, and the plain coder


@given(messages, intervals())
def test_push_agrees_with_plain_coder(message: Message, symbols: tuple[list[int], list[int], int]) -> None:
    plain = PlainCoder(message.heads.tolist(), message.words.tolist())
    message.push(*symbols)
    plain.push(*symbols)
    assert message.heads.tolist() == plain.heads
    assert message.words.tolist() == plain.words


@given(messages, intervals())
def test_pop_undoes_push(message: Message, symbols: tuple[list[int], list[int], int]) -> None:
    before = message.copy()
    starts, freqs, precision = symbols
    message.push(starts, freqs, precision)
    offsets = message.pop_with(pop_known, len(starts), as_ints(starts), as_ints(freqs), precision)
    assert ((offsets >= 0) & (offsets < freqs)).all()
    assert message == before


@given(messages, tables())
def test_pop_cdf(message: Message, given_tables: tuple[list[list[int]], int]) -> None:
    cdfs, precision = given_tables
    before = message.copy()
    plain = PlainCoder(message.heads.tolist(), message.words.tolist())
    try:
        symbols = message.pop_cdf(cdfs, precision)
    except EmptyMessage:
        assert message == before
        with pytest.raises(IndexError):
            plain.pop(cdfs, precision)
        return
    assert symbols.tolist() == plain.pop(cdfs, precision)
    assert message.heads.tolist() == plain.heads
    assert message.words.tolist() == plain.words
    table = np.array(cdfs)
    rows = np.arange(len(cdfs))
    starts = table[rows, symbols]
    message.push(starts, table[rows, symbols + 1] - starts, precision)
    assert message == before


@given(messages, st.data())
def test_bernoulli(message: Message, data: st.DataObject) -> None:
    before = message.copy()
    precision = data.draw(st.integers(1, 24))
    total = 1 << precision
    freq = st.one_of(st.sampled_from([0, 1, total - 1, total]), st.integers(0, total))
    freq1 = data.draw(st.lists(freq, max_size=40))
    symbols = [data.draw(st.integers(0, 1)) if 0 < f < total else int(f > 0) for f in freq1]
    message.push_bernoulli(symbols, freq1, precision)
    assert message.pop_bernoulli(freq1, precision).tolist() == symbols
    assert message == before
    # The convention, by a table: 0 lies below 1.
    inside = [f for f in freq1 if 0 < f < total]
    if inside:
        try:
            popped = message.pop_bernoulli(inside, precision)
        except EmptyMessage:
            assert message == before
            return
        assert (popped == before.pop_cdf([[0, total - f, total] for f in inside], precision)).all()
        assert message == before


@given(messages, st.integers(1, 24), st.data())
def test_uniform(message: Message, bits: int, data: st.DataObject) -> None:
    before = message.copy()
    values = data.draw(st.lists(st.integers(0, (1 << bits) - 1), max_size=40))
    message.push_uniform(values, bits)
    assert message.pop_uniform(len(values), bits).tolist() == values
    assert message == before
    try:
        popped = message.pop_uniform(5, bits)
    except EmptyMessage:
        assert message == before
    else:
        message.push_uniform(popped, bits)
        assert message == before


@one_test_of("lanes", [1, 7, 64, MAX_LANES])
@one_test_of("n", [0, 1, 63, 64, 65, 5000])
def test_any_number_of_symbols(lanes: int, n: int) -> None:
    rng = np.random.default_rng(lanes + n)
    message = Message.empty(lanes, rng.integers(0, LOW, lanes))
    before = message.copy()
    cdf = np.array([0, 1, 1001, 1004, 65536])
    symbols = rng.integers(0, 4, n)
    message.push(cdf[symbols], np.diff(cdf)[symbols], 16)
    assert Message.from_bytes(message.to_bytes(), lanes) == message
    assert (message.pop_cdf(cdf, 16, n) == symbols).all()
    assert message == before


def test_many_pushes_grow_the_words() -> None:
    message, plain = Message.empty(3), PlainCoder([LOW] * 3, [])
    for i in range(300):
        message.push([i, 5, 9, 1], [1, 1, 1, 1], 24)
        plain.push([i, 5, 9, 1], [1, 1, 1, 1], 24)
    assert message.words.tolist() == plain.words
    assert message.bits == 3 * 64 + 32 * len(plain.words)
    assert abs(message.content_bits - 300 * 4 * 24) <= 3


def test_certain_symbols_cost_nothing() -> None:
    message = Message([LOW, HIGH], [7])
    before = message.copy()
    message.push([0] * 100, [1 << 24] * 100, 24)
    assert message == before
    assert message.pop_cdf([0, 1 << 24], 24, 100).tolist() == [0] * 100
    assert message == before


def test_rate() -> None:
    rng = np.random.default_rng(0)
    n, total = 100_000, 1 << 16
    freq1 = rng.integers(1, total, n)
    symbols = rng.integers(0, total, n) < freq1
    information = -np.log2(np.where(symbols, freq1, total - freq1) / total).sum()
    for lanes in (1, 4):
        message = Message.empty(lanes)
        message.push_bernoulli(symbols, freq1, 16)
        assert abs(message.content_bits / information - 1) < 1e-4
        # The first head's 32 bits, 36 for each further one (31 and the length), whole bytes.
        assert 0 <= 8 * len(message.to_bytes()) - message.content_bits <= 32 + 36 * (lanes - 1) + 8
        if lanes == 1:
            assert 0 <= 8 * len(message.to_bytes()) / information - 1 < 1e-3


# Errors


def test_empty_message_raises_and_stays() -> None:
    message = Message([LOW + 12345, HIGH, LOW], [1, 2, 3])
    before = message.copy()
    total = 1 << 20
    with pytest.raises(EmptyMessage):
        message.pop_uniform(100, 20)
    with pytest.raises(EmptyMessage):
        message.pop_bernoulli([total // 2] * 200, 20)
    with pytest.raises(EmptyMessage):
        message.pop_cdf([0, 1, 2, total], 20, 10_000_000)
    assert message == before
    with pytest.raises(EmptyMessage):
        Message.empty(1).pop_uniform(1, 1)
    assert Message.empty(1).pop_uniform(0, 1).size == 0


@one_test_of(
    ("starts", "freqs", "precision"),
    [
        ([0], [0], 8),
        ([0], [-1], 8),
        ([-1], [1], 8),
        ([256], [1], 8),
        ([0], [257], 8),
        ([2**63 - 1], [2**63 - 1], 8),
        ([0, 1, 255], [1, 255, 2], 8),
        ([0], [1], 0),
        ([0], [1], 25),
        ([0, 1], [1], 8),
        ([0.5], [1], 8),
        ([2**63], [1], 8),
        ([[0]], [[1]], 8),
    ],
)
def test_bad_push(starts: Any, freqs: Any, precision: int) -> None:
    message = Message([LOW, HIGH], [1])
    before = message.copy()
    with pytest.raises(ValueError):
        message.push(starts, freqs, precision)
    assert message == before


def test_bad_arguments() -> None:
    message = Message([HIGH], [1, 2, 3])
    before = message.copy()
    bad_calls: list[tuple[Any, ...]] = [
        (message.pop_cdf, [0, 5, 5, 256], 8, 1),
        (message.pop_cdf, [1, 5, 256], 8, 1),
        (message.pop_cdf, [0, 5, 255], 8, 1),
        (message.pop_cdf, [0, 300, 256], 8, 1),
        (message.pop_cdf, [0, 256], 8),
        (message.pop_cdf, [[0, 256]], 8, 2),
        (message.pop_cdf, [0], 8, 1),
        (message.pop_cdf, [], 8, 1),
        (message.pop_cdf, 7, 8, 1),
        (message.pop_cdf, [0, 256], 8, -1),
        (message.pop_bernoulli, [257], 8),
        (message.pop_bernoulli, [-1], 8),
        (message.pop_uniform, 1, 25),
        (message.pop_uniform, -1, 8),
        (message.push_bernoulli, [2], [5], 8),
        (message.push_bernoulli, [1], [0], 8),
        (message.push_bernoulli, [0], [256], 8),
        (message.push_bernoulli, [0, 1], [5], 8),
        (message.push_uniform, [256], 8),
        (message.push_uniform, [-1], 8),
        (Message, [LOW - 1]),
        (Message, [HIGH + 1]),
        (Message, []),
        (Message, [LOW] * (MAX_LANES + 1)),
        (Message, [LOW], [1 << 32]),
        (Message, [LOW], [-1]),
        (Message.empty, 0),
        (Message.empty, 2, [1]),
        (Message.empty, 1, [LOW]),
        (Message.unflatten, [LOW], 1),
        (Message.unflatten, [0, LOW - 1], 1),
        (Message.unflatten, [LOW, 0], 1),
        (Message.from_bytes, bytes(3), 1),
    ]
    for function, *args in bad_calls:
        with pytest.raises(ValueError):
            function(*args)
    assert message == before


# Storage


@given(messages)
def test_flatten(message: Message) -> None:
    flat = message.flatten()
    assert flat.dtype == np.uint32 and 32 * flat.size == message.bits
    assert Message.unflatten(flat, message.lanes) == message


@given(messages)
def test_to_bytes(message: Message) -> None:
    data = message.to_bytes()
    assert data == PlainCoder(message.heads.tolist(), message.words.tolist()).to_bytes()
    assert Message.from_bytes(data, message.lanes) == message
    assert 8 * len(data) <= message.content_bits + 32 + 36 * (message.lanes - 1) + 8


@settings(max_examples=1000)
@given(st.binary(max_size=48), st.integers(1, 5))
def test_bytes_are_canonical(data: bytes, lanes: int) -> None:
    try:
        message = Message.from_bytes(data, lanes)
    except ValueError:
        return
    assert message.to_bytes() == data


def test_bytes_of_every_length_of_head() -> None:
    accepted = 0
    for head_bits in range(1, 65):
        for head in {1 << (head_bits - 1), (1 << head_bits) - 1}:
            for size in range(4, 9):
                if head >> 8 * size:
                    continue
                for n_words in range(3):
                    data = head.to_bytes(size, "little") + bytes(4 * n_words)
                    try:
                        message = Message.from_bytes(data, 1)
                    except ValueError:
                        continue
                    accepted += 1
                    assert message.to_bytes() == data
    assert accepted > 150


def test_known_bytes() -> None:
    assert Message.empty(1).to_bytes() == bytes.fromhex("00000080")
    assert Message([0x81234567]).to_bytes() == bytes.fromhex("67452381")
    assert Message([0x81234567], [1, 0xA]).to_bytes() == bytes.fromhex("0a00000067452381" + "01000000")
    assert Message([0x123456789A], [1, 0xA]).to_bytes() == bytes.fromhex("9a78563412" + "0a000000" + "01000000")
    assert Message([HIGH], [5]).to_bytes() == bytes.fromhex("ffffffffffffff7f" + "05000000")
    # The fold: 31 zero bits and length 0 onto lane 0, then again.
    assert Message.empty(2).to_bytes() == ((LOW << 36) >> 32).to_bytes(5, "little") + bytes(4)


# craystack


@one_test_of("case", GOLDEN)
def test_craystack_messages(case: dict[str, Any]) -> None:
    first, last = (np.frombuffer(bytes.fromhex(case[key]), ">u4") for key in ("first", "last"))
    message = Message.unflatten(first, case["lanes"])
    for precision, starts, freqs in case["steps"]:
        message.push(starts, freqs, precision)
    assert message.flatten().tolist() == last.tolist()

    message = Message.unflatten(last, case["lanes"])
    for precision, starts, freqs in reversed(case["steps"]):
        offsets = message.pop_with(pop_known, len(starts), as_ints(starts), as_ints(freqs), precision)
        assert ((offsets >= 0) & (offsets < freqs)).all()
    assert message.flatten().tolist() == first.tolist()


# Kernels


def test_kernels_have_one_specialisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the callers pass: other types would be compiled, cached and loaded apart."""
    monkeypatch.setattr(kernel_cache, "MAX_INTERPRETED", -1)
    backing = np.arange(24, dtype=np.int32)[::-3] // 8
    backing.flags.writeable = False
    message = Message.unflatten(np.array([LOW >> 1, LOW >> 1, 5, 5, 1, 2, 3], ">u4"), 2)
    inputs: list[Any] = [[0, 1, 2], (1,), np.array([1, 2], np.uint8), backing, np.array([], np.int64)]
    precision: Any
    for values, precision in zip(inputs, [5, np.int8(5), np.uint64(5), np.int32(5), np.int64(5)], strict=True):
        freqs = np.frombuffer(np.ones(len(values), "<i8").tobytes(), "<i8")
        message.push(values, freqs, precision)
        message.push_uniform(values, precision)
        message.push_bernoulli(np.asarray(values) > 1, freqs.astype(np.uint16), precision)
        message = Message.from_bytes(message.to_bytes(), 2)
        message.pop_bernoulli(freqs, precision)
        message.pop_uniform(1, precision)
        message.pop_cdf(np.array([[0, 1, 256], [0, 7, 256]], np.uint16).T.copy().T, 8)
        message = message.copy()
    for name in ("push", "pop_uniform", "pop_bernoulli", "pop_cdf"):
        assert len(getattr(ans_kernels, name)._compiled.signatures) == 1, name


def test_interpreted_and_compiled_kernels_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    freq1 = rng.integers(1, 1 << 24, 500)
    bits = rng.integers(0, 2, 500)
    messages = []
    for limit in (-1, 1 << 30):
        monkeypatch.setattr(kernel_cache, "MAX_INTERPRETED", limit)
        for loop in (ans_kernels.push, ans_kernels.pop_bernoulli):
            monkeypatch.setattr(loop, "_compiled", None)
        message = Message.empty(3, [5, 6, 7])
        message.push_bernoulli(bits, freq1, 24)
        messages.append(message.copy())
        assert message.pop_bernoulli(freq1, 24).tolist() == bits.tolist()
        assert message == Message.empty(3, [5, 6, 7])
        assert (ans_kernels.push._compiled is None) == (limit > 0)
    assert messages[0] == messages[1]


@one_test_of("lanes", [1, 3])
@one_test_of("kind", ["bernoulli", "uniform", "cdf"])
def test_poppable_is_as_many_as_can_be_popped(kind: str, lanes: int) -> None:
    """One more is too many, and the message is left as it was."""
    n, precision = 40, 12
    freq1 = np.linspace(1, (1 << precision) - 1, n).astype(np.int64)
    cdf = np.array([0, 1, 900, 1000, 1 << precision], np.int64)

    def arguments(count: int) -> tuple[Any, ...]:
        if kind == "bernoulli":
            return ans_kernels.pop_bernoulli, count, 0, freq1[:count], precision
        if kind == "uniform":
            return ans_kernels.pop_uniform, count, precision
        return ans_kernels.pop_cdf, count, cdf[None], precision

    counts = set()
    for words in range(5):
        message = Message(np.full(lanes, LOW + 12345), np.arange(words) * 987654321 % (1 << 32))
        before = message.copy()
        most = message.poppable(*arguments(n))
        assert message == before
        message.copy().pop_with(*arguments(most))
        if most < n:
            with pytest.raises(EmptyMessage):
                message.copy().pop_with(*arguments(most + 1))
        counts.add(most)
    assert len(counts) > 1
