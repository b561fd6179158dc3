"""WebP: its chunks, what it says beside the pixels, and what a decoder needs of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bbcompress.errors import ImageError
from bbcompress.images.metadata import EXIF, ICC, XMP, Collector, Metadata, Record

_EXIF_START = b"Exif\0\0"
_KINDS = {b"ICCP": ICC, b"EXIF": EXIF, b"XMP ": XMP}
_IMAGES = (b"VP8 ", b"VP8L")
_HEADER_BYTES = 12
_FRAME_BYTES = 16
"""Of an ANMF chunk before the chunks of its frame."""


@dataclass(frozen=True)
class Webp:
    """A WebP. image: its bytes as far as a decoder needs them. frames: 1 for what is not animated. metadata, lost: as
    an image has them."""

    width: int
    height: int
    image: bytes
    frames: int
    metadata: Metadata
    lost: tuple[str, ...]


def parse_webp(data: bytes) -> Webp:
    """The parts of a WebP. ImageError for damage."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data) + 1 or end < _HEADER_BYTES + 8:  # a last byte of padding may be missing
        raise ImageError("is cut short, or damaged: it has not the length that it says")
    end = min(end, len(data))
    collector = Collector()
    once: set[bytes] = set()
    size: tuple[int, int] | None = None
    frames = 0
    place = _HEADER_BYTES
    while place + 8 <= end:
        name, length = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        start, stop = place + 8, place + 8 + length
        if stop > end:
            raise ImageError("is cut short, or damaged: a chunk does not end")
        if name in once and name != b"ANMF":
            collector.lose(_chunk_name(name))
        elif name in (b"VP8X", *_IMAGES):
            size = size or _size(name, data[start : min(stop, start + 10)])
        elif name in _KINDS:
            _take(name, data[start:stop], collector)
        elif name == b"ANMF":
            frames += 1
            _look_into_frame(data, start + _FRAME_BYTES, stop, collector)
        elif name == b"ANIM":
            _take_animation(data[start:stop], collector)
        elif name != b"ALPH":
            collector.lose(_chunk_name(name))
        once.add(name) if len(once) < 1 << 10 else None
        place = stop + length % 2
    sound = min(place, end)  # what decoders can follow
    if sound < end:
        collector.lose("data behind the image")
    if size is None:
        raise ImageError("is damaged: it has no image")
    if end < len(data):
        collector.lose("data behind the image")
    if b"ANIM" in once and frames == 1:
        collector.lose("times of the frames")
    image = data if sound == len(data) else b"RIFF" + struct.pack("<I", sound - 8) + data[8:sound]
    return Webp(*size, image, max(1, frames), collector.metadata, collector.names)


def _size(name: bytes, body: bytes) -> tuple[int, int]:
    """Width and height that an image's first chunk says."""
    if name == b"VP8X" and len(body) >= 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if name == b"VP8 " and len(body) >= 10 and body[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", body[6:10])
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L" and len(body) >= 5 and body[0] == 0x2F:
        sides = int.from_bytes(body[1:5], "little")
        return (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1
    raise ImageError("is damaged: it has no size")


def _take(name: bytes, body: bytes, collector: Collector) -> None:
    if name == b"EXIF":
        body = body.removeprefix(_EXIF_START)
    if body:
        collector.add(Record(_KINDS[name], b"\0" + body if name == b"ICCP" else body))


def _take_animation(body: bytes, collector: Collector) -> None:
    if any(body[:4]):
        collector.lose("background")
    if any(body[4:6]):
        collector.lose("loop count")


def _look_into_frame(data: bytes, place: int, stop: int, collector: Collector) -> None:
    """Names the chunks of a frame that are none of its picture."""
    while place + 8 <= stop:
        name, length = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if name not in (b"ALPH", *_IMAGES):
            collector.lose(_chunk_name(name))
        place += 8 + length + length % 2


def _chunk_name(name: bytes) -> str:
    """What users call a chunk that is left out."""
    if name in _KINDS:
        return Record(_KINDS[name], b"").name
    text = name.decode("latin-1")
    return f"WebP chunk {text.rstrip() if text.isascii() and text.isprintable() else name.hex()}"
