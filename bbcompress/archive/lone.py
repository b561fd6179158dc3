"""Files of one image, and what may stand behind one. See docs/format.md, "Lone image"."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from bbcompress.archive.container import Accounting, check_magic, is_archive, lone_accounting, parse_lone
from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.search import Tail, TailKind
from bbcompress.archive.signature import MAGIC
from bbcompress.errors import FormatError
from bbcompress.limits import DEFAULT_LIMITS, Limits
from bbcompress.wire import ByteReader

T = TypeVar("T")

_CHECKED = zlib.crc32(bytes(4))
"""CRC-32 of any bytes with their own CRC-32 behind them."""

_SIDE = 1 << 10


class LeftOverError(FormatError):
    """The images agree with their checksum, but so many bytes of the message are left over."""

    def __init__(self, size: int, is_zero: bool = True) -> None:
        """size: bytes. is_zero: whether all of them are zero."""
        super().__init__(f"damaged: {size} bytes are left over behind the coded images")
        self.size, self.is_zero = size, is_zero


class OtherBytesError(FormatError):
    """The image of a file is whole, and bytes are behind it that are no part of it."""


@dataclass(frozen=True)
class LoneImage:
    """The file of one image, parsed.

    Attributes:
        tail: what stands behind it, as far as that can be said without decoding it.
    """

    group: Group
    size: int
    tail: Tail

    @staticmethod
    def parse(data: bytes, limits: Limits = DEFAULT_LIMITS) -> LoneImage:
        """From the bytes of a file. One of the fallback ends where its checksum fits; other bytes may follow.

        Raises:
            FormatError: as from `parse_lone`.
        """
        try:
            return LoneImage(parse_lone(data, limits), len(data), Tail())
        except FormatError:
            end = _end_of_fallback(data, limits)
            if end is None:
                raise
        padding = not data[end:].strip(b"\0")
        tail = Tail(TailKind.PADDING if padding else TailKind.UNKNOWN, len(data) - end)
        return LoneImage(parse_lone(data[:end], limits), len(data), tail)

    def decode(self, decode: Callable[[Group], T]) -> tuple[LoneImage, T]:
        """The file, and what `decode` makes of its group. Zeros behind a message are seen only here, and are in the
        `tail` then: the message is whole without them.

        Raises:
            FormatError: as from `decode`, of the whole group.
            OtherBytesError: bytes that are not all zero are behind the message, and their number is a multiple of 4,
                the size of a word; of another number it cannot be said.
        """
        try:
            return self, decode(self.group)
        except FormatError as error:
            if isinstance(error, LeftOverError) and not error.is_zero:
                raise OtherBytesError(
                    f"the file has {error.size} other bytes behind its image, which is whole without them: its first "
                    f"{self.size - error.size} bytes are the file of the image"
                ) from error
            found = None if self.group.header.fallback else _without_padding(self.group, error, decode)
            if found is None:
                raise
        group, result = found
        tail = Tail(TailKind.PADDING, len(self.group.payload) - len(group.payload))
        return replace(self, group=group, tail=tail), result

    def accounting(self) -> Accounting:
        """The bytes of the file by what they are for."""
        found = lone_accounting(self.size - self.tail.size, self.group)
        return replace(found, behind=self.tail.size)


def _without_padding(group: Group, error: FormatError, decode: Callable[[Group], T]) -> tuple[Group, T] | None:
    """The group whose message has zeros behind it, and what `decode` makes of it; None where there is no such message.

    Mostly a message's last byte is the last that is not zero. Else `decode` leaves zeros over if their number is a
    multiple of 4, the size of a word, which one of four ends makes it. A message begins with a check of 31 bits or
    more, and at most five ends are tried: of damaged files that end with zeros, less than one in 2^28 is taken for one
    with padding.

    Args:
        error: what `decode` said of the whole group.
    """
    payload = group.payload
    size, least = len(payload), len(payload.rstrip(b"\0"))
    ends = [size, least, *range(size - 1, max(least, size - 4), -1)] if least < size else []
    for end in ends:
        with suppress(FormatError):
            try:
                if end == size:
                    raise error
                found = replace(group, payload=payload[:end])
                return found, decode(found)
            except LeftOverError as left:
                if not left.is_zero:
                    continue
                found = replace(group, payload=payload[: end - left.size])
                return found, decode(found)
    return None


def _end_of_fallback(data: bytes, limits: Limits) -> int | None:
    """Where the file of a stored image ends that has other bytes behind it; None if that cannot be said for sure.

    Of n bytes, one beginning in 2^32 has a checksum that fits by chance.
    """
    check_magic(data)
    if is_archive(data) or not GroupHeader.decode_lone(ByteReader(data, "the file", len(MAGIC)), limits).fallback:
        return None
    ends = list(_checked_lengths(data))
    return ends[0] if len(ends) == 1 else None


def _checked_lengths(data: bytes) -> Iterator[int]:
    """The lengths of all beginnings of the bytes that end with the CRC-32 of what stands before it.

    A square of bytes at a time: `zlib` gives the checksum before each row, and the rows are gone through together.
    """
    table = _table()
    crc = 0
    for start in range(0, len(data), _SIDE * _SIDE):
        part = data[start : start + _SIDE * _SIDE]
        rows = -(-len(part) // _SIDE)
        before = np.empty(rows, np.uint32)
        for row in range(rows):
            before[row] = crc
            crc = zlib.crc32(part[row * _SIDE : (row + 1) * _SIDE], crc)
        square = np.frombuffer(part.ljust(rows * _SIDE, b"\0"), np.uint8).reshape(rows, _SIDE).T.copy()
        state = ~before
        found = []
        for column in range(min(_SIDE, len(part))):
            state = table[(state ^ square[column]) & np.uint32(255)] ^ (state >> np.uint32(8))
            found += [start + int(row) * _SIDE + column + 1 for row in np.flatnonzero(~state == _CHECKED)]
        yield from (length for length in sorted(found) if length <= len(data))


def _table() -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """What each low byte of the state of a CRC-32 becomes."""
    state = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        state = np.where(state & 1, state >> np.uint32(1) ^ np.uint32(0xEDB88320), state >> np.uint32(1))
    return state
