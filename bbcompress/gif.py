"""GIF's application extensions that carry an ICC profile or XMP, which Pillow neither reads nor writes."""

from __future__ import annotations

from collections.abc import Iterator

from bbcompress.errors import ImageError
from bbcompress.metadata import ICC, XMP, Metadata, Record

_ICC_NAME, _XMP_NAME = b"ICCRGBG1012", b"XMP DataXMP"
_XMP_END = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
"""Makes the packet, whose bytes stand there as they are, look like blocks with lengths that end there."""

_EXTENSION, _IMAGE = 0x21, 0x2C
_APPLICATION = b"\xff\x0b"


def read_metadata(data: bytes) -> Iterator[Record]:
    """The ICC profiles and XMP packets of a GIF, as far as its blocks can be followed."""
    position = _screen_end(data)
    while position + 1 < len(data) and data[position] in (_EXTENSION, _IMAGE):
        if data[position] == _IMAGE:
            flags = data[position + 9] if position + 9 < len(data) else 0
            position = _blocks_end(data, position + 11 + _palette_bytes(flags))
            continue
        name = data[position + 3 : position + 14] if data[position + 1 : position + 3] == _APPLICATION else b""
        start = position + 3 + len(name) if name else position + 2
        position = _blocks_end(data, start)
        if name == _XMP_NAME and data[:position].endswith(_XMP_END):
            yield Record(XMP, data[start : position - len(_XMP_END)])
        elif name == _ICC_NAME:
            yield Record(ICC, b"\0" + b"".join(_blocks(data, start)))


def add_metadata(data: bytes, metadata: Metadata) -> bytes:
    """A GIF with the ICC profiles and XMP packets among the records. ImageError for a packet that GIF cannot hold."""
    extensions = b""
    for kind, content in metadata:
        if kind == XMP:
            if b"\0" in content:
                raise ImageError("GIF cannot hold XMP with a NUL")
            extensions += bytes([_EXTENSION]) + _APPLICATION + _XMP_NAME + content + _XMP_END
        elif kind == ICC:
            profile = content.partition(b"\0")[2]
            parts = [profile[place : place + 255] for place in range(0, len(profile), 255)]
            blocks = b"".join(bytes([len(part)]) + part for part in parts)
            extensions += bytes([_EXTENSION]) + _APPLICATION + _ICC_NAME + blocks + b"\0"
    place = _screen_end(data)
    return data[:place] + extensions + data[place:]


def _screen_end(data: bytes) -> int:
    """Where the header ends, with the colours that all images share."""
    return 13 + _palette_bytes(data[10] if len(data) > 10 else 0)


def _palette_bytes(flags: int) -> int:
    return 3 * (2 << (flags & 7)) if flags & 0x80 else 0


def _blocks(data: bytes, position: int) -> Iterator[bytes]:
    """The contents of blocks, each behind its length, up to one of length 0."""
    while position < len(data) and data[position]:
        yield data[position + 1 : position + 1 + data[position]]
        position += 1 + data[position]


def _blocks_end(data: bytes, position: int) -> int:
    return position + sum(1 + len(block) for block in _blocks(data, position)) + 1
