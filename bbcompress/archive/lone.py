"""Files of one image, and what may stand behind one. See docs/format.md, "Lone image"."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bbcompress.archive.container import Accounting, check_magic, is_archive, lone_accounting, parse_lone
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.search import Tail, TailKind
from bbcompress.archive.signature import MAGIC
from bbcompress.errors import FormatError
from bbcompress.images import MAX_PIXELS
from bbcompress.wire import ByteReader

_CHECKED = zlib.crc32(bytes(4))
"""CRC-32 of any bytes with their own CRC-32 behind them."""

_SIDE = 1 << 10


@dataclass(frozen=True)
class LoneImage:
    """The file of one image, parsed. tail: what stands behind it, as far as that can be said without decoding it."""

    header: GroupHeader
    payload: bytes
    size: int
    tail: Tail

    @staticmethod
    def parse(data: bytes, max_pixels: int = MAX_PIXELS) -> LoneImage:
        """From the bytes of a file. One of the fallback ends where its checksum fits; other bytes may follow.

        FormatError as from `parse_lone`.
        """
        try:
            return LoneImage(*parse_lone(data, max_pixels), len(data), Tail())
        except FormatError:
            end = _end_of_fallback(data, max_pixels)
            if end is None:
                raise
        padding = not data[end:].strip(b"\0")
        tail = Tail(TailKind.PADDING if padding else TailKind.UNKNOWN, len(data) - end)
        return LoneImage(*parse_lone(data[:end], max_pixels), len(data), tail)

    def accounting(self) -> Accounting:
        """The bytes of the file by what they are for."""
        found = lone_accounting(self.size - self.tail.size, self.header, self.payload)
        return replace(found, behind=self.tail.size)


def _end_of_fallback(data: bytes, max_pixels: int) -> int | None:
    """Where the file of a stored image ends that has other bytes behind it; None if that cannot be said for sure.

    Of n bytes, one beginning in 2^32 has a checksum that fits by chance.
    """
    check_magic(data)
    if is_archive(data) or not GroupHeader.decode_lone(ByteReader(data, "the file", len(MAGIC)), max_pixels).fallback:
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
