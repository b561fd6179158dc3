"""Section "Primitives" of docs/format.md."""

from __future__ import annotations

import bz2
import zlib

PACKED_START = bytes.fromhex("425A6839314159265359")


class FormatError(Exception):
    """The page does not allow these bytes."""


class EndOfData(FormatError):
    """The bytes end before what they begin."""


def check(condition: bool, message: str) -> None:
    """Refuse what the page does not allow."""
    if not condition:
        raise FormatError(message)


def crc(data: bytes) -> bytes:
    """Primitives: CRC, as u32."""
    return zlib.crc32(data).to_bytes(4, "little")


def unzigzag(number: int) -> int:
    """Primitives: zigzag."""
    return number // 2 if number % 2 == 0 else -(number + 1) // 2


class Cursor:
    """Bytes, read from the front."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if not 0 <= count <= len(self.data) - self.at:
            raise EndOfData("the data ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self.data) - self.at)

    def byte(self) -> int:
        """One byte, as a number."""
        return self.take(1)[0]

    def varint(self, low: int = 0, high: int = 2**63 - 1) -> int:
        """Primitives: a varint, within its limits."""
        number, shift = 0, 0
        while True:
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            check(shift < 63, "a varint of more than nine bytes")
        check(byte > 0 or shift == 7, "a varint that is not the shortest")
        check(low <= number <= high, f"{number} is not within {low} .. {high}")
        return number

    def packed(self, most: int) -> bytes:
        """Primitives: a packed block."""
        return unpack(self.take(self.varint()), most)

    def end(self) -> None:
        """Nothing may follow."""
        check(self.at == len(self.data), "bytes behind the end")


def unpack(data: bytes, most: int) -> bytes:
    """Primitives: the bzip2 stream of a packed block."""
    stream = bz2.BZ2Decompressor()
    try:
        content = stream.decompress(PACKED_START + data, most + 1)
    except OSError as error:
        raise FormatError("a packed block is damaged") from error
    check(len(content) <= most, "a packed block is too long")
    check(stream.eof and not stream.unused_data, "a packed block does not end with its stream")
    return content


def varint(number: int) -> bytes:
    """Primitives: a varint, written."""
    data = bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])
