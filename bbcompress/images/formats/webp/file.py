"""WebP: its chunks, what it says beside the pixels, and what a decoder needs of it."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bbcompress.errors import ImageError
from bbcompress.images.metadata import EXIF, ICC, XMP, Collector, Metadata, Record

Lose = Callable[[str], None]
"""Takes the name of something that is left out."""

_EXIF_START = b"Exif\0\0"
_KINDS = {b"ICCP": ICC, b"EXIF": EXIF, b"XMP ": XMP}
_IMAGES = (b"VP8 ", b"VP8L")
_HEADER_BYTES = 12
_EXTENDED_BYTES = 10
_ANIMATION_BYTES = 6
_FRAME_BYTES = 16
"""Of an ANMF chunk before the chunks of its frame."""

_ALPHA, _ANIMATED = 0x10, 0x02
_RESERVED = 0xC1
"""Flags of a VP8X chunk."""

_FRAME_RESERVED = 0xFC
_ALPHA_RESERVED = 0xC0
_VP8L_ALPHA = 0x10
"""The bit, of the byte behind the first four, by which a VP8L image says that it has alpha."""

_SCALES = 0xC0
"""Bits of the upper bytes of a VP8 image's sides: by how much it should be enlarged."""

_NO_PICTURE = "is cut short or damaged: it has no image"


@dataclass(frozen=True)
class Picture:
    """A picture by itself. name: of its chunk, whose content is `body`. alpha: the content of its ALPH chunk, None for
    none."""

    name: bytes
    body: bytes
    alpha: bytes | None
    width: int
    height: int

    @property
    def says_alpha(self) -> bool:
        """Whether it says that pixels may be transparent."""
        return self.alpha is not None or (self.name == b"VP8L" and bool(self.body[4] & _VP8L_ALPHA))

    def chunks(self) -> bytes:
        """As the chunks of a file or frame, for a decoder that gives all alpha that the codes have."""
        body = self.body
        if self.name == b"VP8L":  # the bit is a hint, but decoders go by it
            body = body[:4] + bytes((body[4] | _VP8L_ALPHA,)) + body[5:]
        if self.alpha is None:
            return _chunk(self.name, body)
        start = bytes(flags & ~_ALPHA_RESERVED for flags in self.alpha[:1])  # which decoders ought to pass over
        return _chunk(b"ALPH", start + self.alpha[1:]) + _chunk(self.name, body)

    def file(self, alpha: bool) -> bytes:
        """As a WebP of its own, which has alpha as it is asked for, or as a picture without needs none."""
        if not alpha:
            return _riff(self.chunks())
        return _riff(_extended(_ALPHA, self.width, self.height), self.chunks())


@dataclass(frozen=True)
class Webp:
    """A WebP.

    single: the picture of what is not animated. frames: where the ANMF chunks of an animation start. animation: the
    content of its ANIM chunk. says_alpha: whether it says that pixels may be transparent. metadata, lost: as an image
    has them.
    """

    data: bytes
    width: int
    height: int
    single: Picture | None
    frames: array[int]
    animation: bytes
    says_alpha: bool
    metadata: Metadata
    lost: tuple[str, ...]

    @property
    def count(self) -> int:
        """Of its pictures."""
        return 1 if self.single is not None else len(self.frames)

    @property
    def may_have_alpha(self) -> bool:
        """Whether a decoder has to be asked for alpha: what a file says of it may be wrong."""
        return self.says_alpha or self.single is None or self.single.name == b"VP8L" or self.single.says_alpha

    def picture(self, number: int) -> Picture:
        """A picture by itself, which of an animation may be smaller than what is seen."""
        return self.single if self.single is not None else _frame(self.data, self.frames[number], _ignored)

    def image(self) -> bytes:
        """What a decoder needs of the file."""
        if self.single is not None:
            return self.single.file(self.may_have_alpha)
        chunks = [_extended(_ANIMATED | _ALPHA, self.width, self.height), _chunk(b"ANIM", self.animation)]
        for number, start in enumerate(self.frames):
            place = self.data[start + 8 : start + 8 + _FRAME_BYTES]
            chunks.append(_chunk(b"ANMF", place + self.picture(number).chunks()))
        return _riff(*chunks)


def parse_webp(data: bytes) -> Webp:
    """The parts of a WebP. ImageError for damage."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data) + 1 or end < _HEADER_BYTES + 8:  # a last byte of padding may be missing
        raise ImageError("is cut short, or damaged: it has not the length that it says")
    collector = Collector()
    if end < len(data):
        collector.lose("data behind the image")
    extended: bytes | None = None
    animated = False
    animation: bytes | None = None
    frames, parts = array("Q"), _Parts()
    once: set[bytes] = set()
    for name, start, stop in _chunks(data, _HEADER_BYTES, min(end, len(data)), collector.lose):
        if name == b"VP8X" and start == _HEADER_BYTES + 8:
            extended = data[start:stop]
            animated = _take_extended(extended, collector)
        elif animated and name == b"ANMF":
            picture = _frame(data, start - 8, collector.lose)
            _check_frame(picture, data[start : start + _FRAME_BYTES], _canvas(extended or b""), collector)
            frames.append(start - 8)
        elif animated and name == b"ANIM" and animation is None:
            animation = data[start:stop]
            _name_of_animation(animation, collector)
        elif name in _KINDS and name not in once:
            once.add(name)
            _take(name, data[start:stop], collector)
        elif animated or not parts.take(name, data, start, stop):
            collector.lose(_chunk_name(name))
    if animated and not frames:
        raise ImageError(_NO_PICTURE)
    if len(frames) == 1:
        collector.lose("times of the frames")
    single = None if animated else parts.picture(collector.lose)
    if single is not None and extended is not None and (single.width, single.height) != _canvas(extended):
        raise ImageError("is damaged: its image has not the size that it says")
    width, height = (single.width, single.height) if single is not None else _canvas(extended or b"")
    says_alpha = bool(extended[0] & _ALPHA) if extended else single is not None and single.says_alpha
    content = (animation or b"").ljust(_ANIMATION_BYTES, b"\0")[:_ANIMATION_BYTES]
    return Webp(data, width, height, single, frames, content, says_alpha, collector.metadata, collector.names)


class _Parts:
    """Gathers the chunks of one picture."""

    def __init__(self) -> None:
        self._image: tuple[bytes, bytes] | None = None
        self._alpha: bytes | None = None

    def take(self, name: bytes, data: bytes, start: int, stop: int) -> bool:
        """Whether the chunk of that content is a part of the picture: alpha comes first, and nothing comes twice."""
        if self._image is not None or (name == b"ALPH" and self._alpha is not None):
            return False
        if name == b"ALPH":
            self._alpha = data[start:stop]
        elif name in _IMAGES:
            self._image = name, data[start:stop]
        return name == b"ALPH" or name in _IMAGES

    def picture(self, lose: Lose) -> Picture:
        """The picture, when all chunks have been seen."""
        if self._image is None:
            raise ImageError(_NO_PICTURE)
        (name, body), alpha = self._image, self._alpha
        width, height = _size(name, body)
        if alpha is not None and name == b"VP8L":  # which has alpha of its own
            lose(_chunk_name(b"ALPH"))
            alpha = None
        if alpha and alpha[0] & _ALPHA_RESERVED:
            lose("reserved bits")
        if name == b"VP8 " and (body[7] | body[9]) & _SCALES:
            lose("scaling of the image")
        return Picture(name, body, alpha, width, height)


def _chunks(data: bytes, place: int, stop: int, lose: Lose) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk: its name, and where its content starts and ends. ImageError for one that does not end."""
    while place + 8 <= stop:
        start = place + 8
        end = start + int.from_bytes(data[place + 4 : start], "little")
        if end > stop:
            raise ImageError("is cut short, or damaged: a chunk does not end")
        yield data[place : place + 4], start, end
        place = end + (end - start) % 2
        if any(data[end : min(place, stop)]):
            lose("bytes between the chunks")
    if place < stop:
        lose("data behind the image")


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _riff(*chunks: bytes) -> bytes:
    content = b"".join((b"WEBP", *chunks))
    return b"RIFF" + struct.pack("<I", len(content)) + content


def _extended(flags: int, width: int, height: int) -> bytes:
    """A VP8X chunk."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return _chunk(b"VP8X", struct.pack("<I", flags) + sides)


def _canvas(extended: bytes) -> tuple[int, int]:
    """Width and height that a VP8X chunk says."""
    return int.from_bytes(extended[4:7], "little") + 1, int.from_bytes(extended[7:10], "little") + 1


def _size(name: bytes, body: bytes) -> tuple[int, int]:
    """Width and height that a picture's chunk says."""
    if name == b"VP8 " and len(body) >= 10 and body[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", body[6:10])
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L" and len(body) >= 5 and body[0] == 0x2F:
        sides = int.from_bytes(body[1:5], "little")
        return (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1
    raise ImageError("is damaged: it has no size")


def _take_extended(extended: bytes, collector: Collector) -> bool:
    """What a VP8X chunk says beside its size; whether there is an animation."""
    if len(extended) < _EXTENDED_BYTES:
        raise ImageError("is damaged: it has no size")
    if extended[0] & _RESERVED or any(extended[1:4]):
        collector.lose("reserved bits")
    if len(extended) > _EXTENDED_BYTES:
        collector.lose(_chunk_name(b"VP8X"))
    return bool(extended[0] & _ANIMATED)


def _take(name: bytes, body: bytes, collector: Collector) -> None:
    if name == b"EXIF":
        body = body.removeprefix(_EXIF_START)
    if body:
        collector.add(Record(_KINDS[name], b"\0" + body if name == b"ICCP" else body))


def _name_of_animation(body: bytes, collector: Collector) -> None:
    if any(body[:4]):
        collector.lose("background")
    if any(body[4:6]):
        collector.lose("loop count")
    if len(body) != _ANIMATION_BYTES:
        collector.lose(_chunk_name(b"ANIM"))


def _frame(data: bytes, place: int, lose: Lose) -> Picture:
    """The picture of the ANMF chunk there."""
    start = place + 8
    parts = _Parts()
    stop = start + int.from_bytes(data[place + 4 : start], "little")
    for name, begin, end in _chunks(data, start + _FRAME_BYTES, stop, lose):
        if not parts.take(name, data, begin, end):
            lose(_chunk_name(name))
    return parts.picture(lose)


def _check_frame(picture: Picture, place: bytes, canvas: tuple[int, int], collector: Collector) -> None:
    """Refuse a frame that is not of the size that its ANMF chunk says, or lies outside of the canvas."""
    left, top, width, height = (int.from_bytes(place[at : at + 3], "little") for at in (0, 3, 6, 9))
    if (picture.width, picture.height) != (width + 1, height + 1):
        raise ImageError("is damaged: a picture has not the size that it says")
    if 2 * left + picture.width > canvas[0] or 2 * top + picture.height > canvas[1]:
        raise ImageError("is damaged: a picture of its animation lies outside of it")
    if place[15] & _FRAME_RESERVED:
        collector.lose("reserved bits")


def _ignored(name: str) -> None:
    """For what has been named before."""


def _chunk_name(name: bytes) -> str:
    """What users call a chunk that is left out."""
    if name in _KINDS:
        return Record(_KINDS[name], b"").name
    text = name.decode("latin-1")
    return f"WebP chunk {text.rstrip() if text.isascii() and text.isprintable() else name.hex()}"
