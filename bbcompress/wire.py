"""Byte primitives of the format: varints, a bounds-checked reader, checksums, bounded bzip2 blocks."""

from __future__ import annotations

import bz2
import zlib

from bbcompress.errors import FormatError

VARINT_BYTES = 9
"""Longest varint; 9 groups of 7 bits hold every integer below 2^63."""

VARINT_MAX = (1 << 63) - 1

CRC_BYTES = 4
"""Of a checksum."""

# A bzip2 stream of level 9 with at least one byte of data always starts so; left out of packed blocks.
_BZIP2_START = bytes.fromhex("425a6839314159265359")


def varint(value: int) -> bytes:
    """Unsigned LEB128 of an integer in [0, 2^63): 7 bits a byte, low ones first. Else ValueError."""
    if not 0 <= value <= VARINT_MAX:
        raise ValueError(f"{value} does not fit a varint")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value: int) -> int:
    """Signed to unsigned, small to small: 0, -1, 1, -2, ... become 0, 1, 2, 3, ..."""
    return 2 * value if value >= 0 else -2 * value - 1


def unzigzag(value: int) -> int:
    """The inverse of `zigzag`."""
    return value >> 1 if value & 1 == 0 else -(value >> 1) - 1


def crc32(*parts: bytes | memoryview) -> bytes:
    """CRC-32 (that of zlib and PNG) of the parts' concatenation, as 4 bytes, little-endian."""
    value = 0
    for part in parts:
        value = zlib.crc32(part, value)
    return value.to_bytes(4, "little")


def pack(data: bytes) -> bytes:
    """Compress at least one byte with bzip2, less the stream's ten constant bytes.

    bzip2 and not zlib, because Pythons come with zlibs (zlib, zlib-ng, ...) that write different bytes.
    """
    packed = bz2.compress(data, 9)
    if not packed.startswith(_BZIP2_START):
        raise ValueError("nothing to pack")
    return packed[len(_BZIP2_START) :]


def unpack(packed: bytes, limit: int) -> bytes:
    """What `pack` was given; FormatError for more than `limit` bytes, before these are produced."""
    stream = bz2.BZ2Decompressor()
    try:
        data = stream.decompress(_BZIP2_START + packed, limit + 1)
    except (OSError, ValueError) as fault:
        raise FormatError("a packed block is damaged") from fault
    if len(data) > limit:
        raise FormatError(f"a packed block holds more than the {limit} bytes that it may")
    if not stream.eof or stream.unused_data:
        raise FormatError("a packed block is damaged")
    return data


class CutShortError(FormatError):
    """Bytes end before what is read from them does."""


class ByteReader:
    """Reads forwards through bytes; whatever would go past the end raises CutShortError, a FormatError.

    `what` names in errors the thing that is read.
    """

    def __init__(self, data: bytes, what: str = "the file", position: int = 0) -> None:
        self.data = data
        self.what = what
        self.position = position

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.position

    def byte(self) -> int:
        """The next byte."""
        if self.position >= len(self.data):
            raise CutShortError(f"{self.what} is cut short")
        value = self.data[self.position]
        self.position += 1
        return value

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if not 0 <= count <= self.remaining:
            raise CutShortError(f"{self.what} is cut short")
        self.position += count
        return self.data[self.position - count : self.position]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.remaining)

    def varint(self, limit: int = VARINT_MAX, name: str = "a number") -> int:
        """The next varint, in its shortest form and at most `limit`."""
        value = 0
        for index in range(VARINT_BYTES):
            group = self.byte()
            value |= (group & 0x7F) << (7 * index)
            if group < 0x80:
                if group == 0 and index:
                    raise FormatError(f"{self.what}: {name} is not in its shortest form")
                if value > limit:
                    raise FormatError(f"{self.what}: {name} is {value}, the limit is {limit}")
                return value
        raise FormatError(f"{self.what}: {name} is longer than {VARINT_BYTES} bytes")

    def finish(self) -> None:
        """Check that nothing is left."""
        if self.remaining:
            raise FormatError(f"{self.what} has {self.remaining} bytes too many")
