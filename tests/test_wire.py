"""Varints, the byte reader and packed blocks."""

import bz2

import pytest
from cases_for_tests import one_test_of
from hypothesis import given
from hypothesis import strategies as st

from bbcompress.errors import FormatError
from bbcompress.wire import VARINT_MAX, ByteReader, crc32, pack, unpack, unzigzag, varint, zigzag


@given(st.integers(0, VARINT_MAX))
def test_varint_round_trip(value: int) -> None:
    data = varint(value)
    reader = ByteReader(data + b"x")
    assert reader.varint() == value
    assert reader.rest() == b"x"
    assert len(data) == max(1, (value.bit_length() + 6) // 7)


@one_test_of("data", [b"", b"\x80", b"\x80\x00", b"\xff\x80\x00", b"\xff" * 9 + b"\x01", b"\x80" * 9, b"\xff" * 100])
def test_varint_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        ByteReader(data).varint()


def test_varint_known_bytes() -> None:
    assert [varint(n).hex() for n in (0, 1, 127, 128, 300, VARINT_MAX)] == [
        "00",
        "01",
        "7f",
        "8001",
        "ac02",
        "ff" * 8 + "7f",
    ]


def test_varint_limit() -> None:
    assert ByteReader(varint(1000)).varint(1000) == 1000
    with pytest.raises(FormatError, match="K is 1001"):
        ByteReader(varint(1001)).varint(1000, "K")
    for value in (-1, VARINT_MAX + 1):
        with pytest.raises(ValueError):
            varint(value)


@given(st.integers(-(1 << 61), 1 << 61))
def test_zigzag(value: int) -> None:
    assert unzigzag(zigzag(value)) == value


def test_zigzag_order() -> None:
    assert [zigzag(n) for n in (0, -1, 1, -2, 2)] == [0, 1, 2, 3, 4]


def test_reader_bounds() -> None:
    reader = ByteReader(b"abc")
    assert reader.take(2) == b"ab"
    for count in (2, 1 << 62, -1):
        with pytest.raises(FormatError):
            reader.take(count)
    with pytest.raises(FormatError):
        reader.finish()
    assert reader.byte() == ord("c")
    reader.finish()
    with pytest.raises(FormatError):
        reader.byte()


def test_crc() -> None:
    assert crc32(b"1234", b"56789") == 0xCBF43926.to_bytes(4, "little")


@given(st.binary(min_size=1, max_size=500))
def test_pack(data: bytes) -> None:
    packed = pack(data)
    assert len(packed) == len(bz2.compress(data)) - 10
    assert unpack(packed, len(data)) == data
    with pytest.raises(FormatError):
        unpack(packed, len(data) - 1)
    with pytest.raises(FormatError):
        unpack(packed + b"x", len(data))
    with pytest.raises(FormatError):
        unpack(packed[:-1], len(data))


def test_unpack_bomb_stops_at_the_limit() -> None:
    with pytest.raises(FormatError, match="more than"):
        unpack(pack(bytes(50_000_000)), 1000)
