"""GIF: its blocks followed, its pictures put together as they are seen, what it says beside them, and back.

Pillow decodes the indices of one picture at a time. How pictures lie on the screen and follow each other is done here:
Pillow makes up colours for what no picture covers, and its comments take time by the square of their length.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from bbcompress.errors import ImageError
from bbcompress.images.canvas import CLEAR, KEEP, RESTORE, Box, Canvas, without_alpha
from bbcompress.images.metadata import ICC, TEXT, XMP, Collector, Metadata, Record

_ICC_NAME, _XMP_NAME = b"ICCRGBG1012", b"XMP DataXMP"
_LOOP_NAMES = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_XMP_END = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
"""Makes the packet, whose bytes stand there as they are, look like blocks with lengths that end there."""

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_PLAIN_TEXT, _CONTROL, _COMMENT, _APPLICATION = 0x01, 0xF9, 0xFE, 0xFF
_APPLICATION_START = b"\xff\x0b"
_DISPOSALS = {2: CLEAR, 3: RESTORE}
_SQUARE = 49  # of the pixel aspect ratio, which is so much and 15 in 64ths
_COMMENT_KEY = b"Comment\0"

Bytes = npt.NDArray[np.uint8]
Pixels = npt.NDArray[Any]


@dataclass(frozen=True)
class Gif:
    """The parts of a GIF. width, height: of its screen, or of all pictures where these go beyond it.

    pictures: where the descriptor of each starts; ends: where its data ends; controls: 256 times the transparent index
    and 1 if there is one, with the disposal in bits 2 to 4. metadata, lost: as an image has them; a single one.
    """

    data: bytes
    width: int
    height: int
    pictures: array[int]
    ends: array[int]
    controls: array[int]
    metadata: Metadata
    lost: tuple[str, ...]

    def box(self, number: int) -> Box:
        """Where a picture lies."""
        return Box(*struct.unpack("<4H", self.data[self.pictures[number] + 1 : self.pictures[number] + 9]))

    def palette(self, number: int) -> bytes:
        """The colours of a picture: its own, or those of all. Empty for none."""
        place = self.pictures[number] + 10
        return self.data[place : place + _palette_bytes(self.data[place - 1])] or self.data[13 : _screen_end(self.data)]

    def transparent(self, number: int) -> int | None:
        """The index of a picture that is transparent."""
        control = self.controls[number]
        return control >> 8 if control & 1 else None

    def indices(self, number: int) -> Bytes:
        """The pixels of a picture by itself, (height, width). ImageError for damage."""
        box, place = self.box(number), self.pictures[number] + 9
        start = place + 1 + _palette_bytes(self.data[place])
        blocks, bits = self.data[start + 1 : self.ends[number]], self.data[start]
        interlaced = self.data[place] >> 6 & 1
        try:
            return np.asarray(Image.frombytes("L", (box.width, box.height), blocks, "gif", bits, interlaced))
        except ValueError as fault:
            raise ImageError("is cut short or damaged: a picture has not all of its pixels") from fault


class Picture(NamedTuple):
    """What is seen: an image of one of Pillow's modes, as `PixelImage` has it."""

    mode: str
    pixels: Pixels
    palette: bytes = b""
    transparency: bytes = b""
    lost: tuple[str, ...] = ()


def parse_gif(data: bytes) -> Gif:
    """The parts of a GIF, as far as its blocks can be followed. ImageError for damage."""
    if len(data) < 13:
        raise ImageError("is cut short")
    pictures, ends, controls = array("Q"), array("Q"), array("q")
    collector = Collector()
    control, delayed = 0, False
    right, bottom = struct.unpack("<2H", data[6:10])
    place = _screen_end(data)
    while place < len(data) and data[place] != _TRAILER:
        if data[place] == _IMAGE and place + 10 <= len(data):
            left, top, width, height, flags = struct.unpack("<4HB", data[place + 1 : place + 10])
            right, bottom = max(right, left + width), max(bottom, top + height)
            if flags & 0x40:
                collector.lose("interlacing")
            if flags & 0x20:
                collector.lose("order of the palette")
            pictures.append(place)
            controls.append(control)
            control = 0
            place = _blocks_end(data, place + 11 + _palette_bytes(flags))
            if place > len(data):
                raise ImageError("is cut short")
            ends.append(place)
        elif data[place] == _EXTENSION and place + 2 <= len(data):
            label, start = data[place + 1], place + 2
            place = _blocks_end(data, start)
            if label == _CONTROL and data[start : start + 1] == b"\x04" and place <= len(data):
                flags, delay, index = struct.unpack("<BHB", data[start + 1 : start + 5])
                control = index << 8 | flags & 0x1D
                delayed |= delay > 0
            elif label == _PLAIN_TEXT:
                control = 0
            if place > len(data):
                collector.lose("what may be missing at the file's end")
            elif label != _CONTROL:
                _take(data, label, start, place, collector)
        elif data[place] == 0:  # between blocks some writers leave one that is empty
            place += 1
        else:
            break
    if not pictures:
        raise ImageError("is cut short or damaged: it has no picture")
    _finish(data, place, pictures, controls, delayed, collector)
    return Gif(data, right, bottom, pictures, ends, controls, collector.metadata, collector.names)


def _take(data: bytes, label: int, start: int, end: int, collector: Collector) -> None:
    """An extension as metadata, or its name among the lost."""
    name = data[start + 1 : start + 12] if data[start - 1 : start + 1] == _APPLICATION_START else b""
    if label == _COMMENT:
        collector.add(Record(TEXT, _COMMENT_KEY + b"".join(_blocks(data, start))))
    elif name == _XMP_NAME and data.endswith(_XMP_END, start, end):
        collector.add(Record(XMP, data[start + 12 : end - len(_XMP_END)]))
    elif name == _ICC_NAME:
        collector.add(Record(ICC, b"\0" + b"".join(_blocks(data, start + 12))))
    elif name in _LOOP_NAMES:
        collector.lose("loop count")
    else:
        known = {_PLAIN_TEXT: "plain text extension", _APPLICATION: "application data"}
        collector.lose(known.get(label, "extension of an unknown kind"))


def _finish(
    data: bytes, place: int, pictures: array[int], controls: array[int], delayed: bool, collector: Collector
) -> None:
    """What is known only when all blocks have been seen."""
    if place >= len(data):
        collector.lose("what may be missing at the file's end")
    elif place + 1 < len(data) or data[place] != _TRAILER:
        collector.lose("data behind the image")
    flags, background, aspect = data[10:13]
    own = _palette_bytes(data[pictures[0] + 9])
    if flags & 0x80 and flags & 0x08:
        collector.lose("order of the palette")
    if flags & 0x80 and own and len(pictures) == 1:
        collector.lose("palette of the screen")
    if aspect not in (0, _SQUARE):
        collector.lose("pixel aspect ratio")
    if len(pictures) == 1:
        if struct.unpack("<4H", data[pictures[0] + 1 : pictures[0] + 9]) != (0, 0, *struct.unpack("<2H", data[6:10])):
            collector.lose("place on the screen")
        if delayed:
            collector.lose("times of the frames")
        if controls[0] >> 2 & 7 > 1:
            collector.lose("disposal")
    if background and flags & 0x80:
        collector.lose("background")


def read_pictures(gif: Gif) -> Iterator[Picture]:
    """What is seen after each picture: of mode P or L as long as indices of one palette say it, else RGB or RGBA.

    ImageError for damage. The caller has checked the size.
    """
    screen = Box(0, 0, gif.width, gif.height)
    alone = len(gif.pictures) == 1
    keys = {key for number in range(len(gif.pictures)) if (key := gif.transparent(number)) is not None}
    key = keys.pop() if len(keys) == 1 else None
    palette = None if keys else gif.palette(0)  # None: indices of one palette cannot say it
    canvas = Canvas((gif.height, gif.width), np.uint8, key or 0)
    if palette is None:
        canvas = Canvas((gif.height, gif.width, 4), np.uint8)
    uncovered = gif.box(0) != screen
    for number in range(len(gif.pictures)):
        box, transparent, own = gif.box(number), gif.transparent(number), gif.palette(number)
        if not box.width or not box.height:
            raise ImageError("is damaged: it has a picture without pixels")
        indices = gif.indices(number)
        as_key = key is not None and transparent is None and bool((indices == key).any())
        if palette is not None and (own != palette or as_key or (key is None and uncovered)):
            canvas = canvas.converted(_colours(palette, key).__getitem__) if number else _coloured(canvas)
            palette = None
        disposal = _DISPOSALS.get(gif.controls[number] >> 2 & 7, KEEP)
        uncovered = disposal == CLEAR or (disposal == RESTORE and number == 0)
        place = canvas.begin(box, disposal)
        drawn = np.ones(indices.shape, np.bool_) if transparent is None else indices != transparent
        if palette is not None:
            np.copyto(place, indices, where=drawn)
            yield _of_indices(canvas.pixels.copy(), palette, key, alone)
            continue
        np.copyto(place, _colours(own, None)[indices], where=drawn[:, :, None])
        opaque = without_alpha(canvas.pixels)
        seen, mode = (canvas.pixels.copy(), "RGBA") if opaque is None else (opaque, "RGB")
        yield Picture(mode, seen, lost=("palette",) if alone else ())


def _coloured(canvas: Canvas) -> Canvas:
    return Canvas((*canvas.pixels.shape, 4), np.uint8)


def _of_indices(pixels: Bytes, palette: bytes, key: int | None, always: bool) -> Picture:
    """An image of indices. always: its transparency is kept where no pixel has it, too."""
    used = int(pixels.max()) + 1
    if key is not None and not always and not bool((pixels == key).any()):
        key = None
    if _is_grey(palette):
        missing = ("palette, which the file lacks",) if not palette else ()
        return Picture("L", pixels, b"", b"" if key is None else struct.pack(">H", key), missing)
    needed = max(used, 0 if key is None else key + 1)
    lost = ("number of colours",) if 3 * needed > len(palette) else ()
    transparency = b"" if key is None else b"\xff" * key + b"\0"
    return Picture("P", pixels, palette.ljust(3 * needed, b"\0"), transparency, lost)


def _colours(palette: bytes, key: int | None) -> Pixels:
    """The colours (256, 4) of a palette; of none greys; the key's one is nothing."""
    colours = np.full((256, 4), 255, np.uint8)
    if palette:
        colours[:, :3] = np.frombuffer(palette.ljust(768, b"\0"), np.uint8).reshape(256, 3)
    else:
        colours[:, :3] = np.arange(256, dtype=np.uint8)[:, None]
    if key is not None:
        colours[key] = 0
    return colours


def _is_grey(palette: bytes) -> bool:
    """Whether the colour of each index is the grey of that number."""
    return palette == bytes(index // 3 for index in range(len(palette)))


def add_metadata(data: bytes, metadata: Metadata) -> bytes:
    """A GIF with what it can hold of the records. ImageError for a packet that it cannot hold."""
    extensions = []
    for kind, content in metadata:
        if kind == XMP:
            if b"\0" in content:
                raise ImageError("GIF cannot hold XMP with a NUL")
            extensions.append(bytes([_EXTENSION]) + _APPLICATION_START + _XMP_NAME + content + _XMP_END)
        elif kind == ICC:
            profile = content.partition(b"\0")[2]
            extensions.append(bytes([_EXTENSION]) + _APPLICATION_START + _ICC_NAME + _as_blocks(profile))
        elif kind == TEXT and content.startswith(_COMMENT_KEY):
            extensions.append(bytes([_EXTENSION, _COMMENT]) + _as_blocks(content[len(_COMMENT_KEY) :]))
    place = _screen_end(data)
    return data[:place] + b"".join(extensions) + data[place:]


def _as_blocks(content: bytes) -> bytes:
    parts = [content[place : place + 255] for place in range(0, len(content), 255)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


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
    """Where blocks end; behind the data's end if they do not."""
    while position < len(data) and data[position]:
        position += 1 + data[position]
    return position + 1
