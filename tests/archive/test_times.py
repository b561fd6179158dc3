"""Times: round trips, sizes, limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbcompress.archive import times as module
from bbcompress.archive.names import Budget
from bbcompress.archive.times import FIRST_TIME, LAST_TIME, decode_times, encode_times
from bbcompress.errors import FormatError
from bbcompress.wire import ByteReader


def decode(data: bytes, count: int, budget: Budget | None = None) -> list[int] | None:
    reader = ByteReader(data, "the index")
    times = decode_times(reader, count, budget or Budget())
    reader.finish()
    return None if times is None else list(times)


@given(st.lists(st.one_of(st.integers(FIRST_TIME, LAST_TIME), st.sampled_from([0, 1, 2**31])), min_size=1, max_size=60))
def test_round_trip(times: list[int]) -> None:
    assert decode(encode_times(times), len(times)) == times


@given(st.binary(max_size=60), st.integers(1, 20))
def test_any_bytes_give_allowed_times_or_an_error(data: bytes, count: int) -> None:
    for form in range(4):
        try:
            times = decode(bytes([form]) + data, count)
        except FormatError:
            continue
        assert times is not None
        assert len(times) == count
        assert all(FIRST_TIME <= time <= LAST_TIME for time in times)


def test_no_times_take_no_byte() -> None:
    assert encode_times(None) == b""
    assert decode(b"", 5) is None


def test_known_bytes() -> None:
    assert encode_times([3, 3, 3, 1]) == bytes.fromhex("01 06 03 03 01")


def test_sizes() -> None:
    """Files that were written at once cost nearly nothing, others one to three bytes each."""
    now = 1_800_000_000
    assert len(encode_times([now] * 100_000)) <= 10
    assert len(encode_times([now + number // 700 for number in range(100_000)])) <= 500
    assert len(encode_times([now + 40 * number + number * number % 37 for number in range(1000)])) <= 1000


@pytest.mark.parametrize("time", [FIRST_TIME - 1, LAST_TIME + 1])
def test_limits_of_a_time(time: int) -> None:
    with pytest.raises(FormatError, match="outside"):
        encode_times([0, time])


def test_limits_of_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = encode_times([7] * 9), encode_times(list(range(9)))
    budget = Budget()
    budget.times = 3
    assert decode(few, 9, budget) == [7] * 9
    with pytest.raises(FormatError, match="times"):
        decode(many, 9, budget)
    monkeypatch.setattr(module, "MAX_LISTED", 3)
    assert encode_times([7] * 9) == few
    with pytest.raises(FormatError, match="too many"):
        encode_times(list(range(9)))
