"""Where bytes may end that have their CRC-32 behind them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

_CHECKED = zlib.crc32(bytes(4))
"""CRC-32 of any bytes with their own CRC-32 behind them."""

_SIDE = 1 << 10


def checked_lengths(data: bytes) -> Iterator[int]:
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
