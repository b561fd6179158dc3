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
from bbcompress.images.metadata import ICC, INTERLACED_ROWS, TEXT, XMP, Collector, Metadata, Record

_ICC_NAME, _XMP_NAME = b"ICCRGBG1012", b"XMP DataXMP"
_LOOP_NAMES = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_XMP_END = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
"""Makes the packet, whose bytes stand there as they are, look like blocks with lengths that end there."""

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_PLAIN_TEXT, _CONTROL, _COMMENT, _APPLICATION = 0x01, 0xF9, 0xFE, 0xFF
_APPLICATION_START = b"\xff\x0b"
_DISPOSALS = {2: CLEAR, 3: RESTORE}
_OWN_PALETTE, _INTERLACED, _SORTED, _RESERVED = 0x80, 0x40, 0x20, 0x18
"""Bits of a picture's descriptor."""

_CONTROL_TRANSPARENT, _CONTROL_INPUT, _CONTROL_RESERVED = 0x01, 0x02, 0xE0
_CONTROL_BYTES = 4
_SQUARE = 49  # of the pixel aspect ratio, which is so much and 15 in 64ths
_COMMENT_KEY = b"Comment\0"

_TAIL = 8
"""So many bytes of a picture's data are decoded one by one, to see where the pixels end."""

_CODE_BITS = 12
"""Most bits of a code of LZW."""

_MAX_SIDE = 65535
_ALL_GREYS = bytes(value for value in range(256) for _ in range(3))

Bytes = npt.NDArray[np.uint8]
Pixels = npt.NDArray[Any]


@dataclass(frozen=True)
class Gif:
    """The parts of a GIF.

    Attributes:
        width, height: of its screen, or of all pictures where these go beyond it.
        pictures: where the descriptor of each starts.
        ends: where the data of each ends.
        controls: 256 times the transparent index and 1 if there is one, with the disposal in bits 2 to 4.
        metadata, lost: as an image has them; a single one.
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

    def indices(self, number: int) -> tuple[Bytes, bool]:
        """The pixels of a picture by itself, (height, width), and whether there is more in its data.

        Raises:
            ImageError: the file is damaged.
        """
        box, place = self.box(number), self.pictures[number] + 9
        start = place + 1 + _palette_bytes(self.data[place])
        content, bits = b"".join(_blocks(self.data, start + 1)), self.data[start]
        image = Image.new("L", (box.width, box.height))
        decoder = Image._getdecoder("L", "gif", (bits, self.data[place] >> 6 & 1))
        decoder.setimage(image.im, (0, 0, box.width, box.height))
        head = len(content) - min(len(content), _TAIL)
        used = head
        done, fault = decoder.decode(_as_blocks(content[:head])[:-1])
        while done >= 0 and used < len(content):
            done, fault = decoder.decode(bytes((1, content[used])))
            used += 1
        if done >= 0 or fault:
            raise ImageError("is cut short or damaged: a picture lacks pixels")
        return np.asarray(image), _has_more(content[used - 1 :], bits)


def _has_more(rest: bytes, bits: int) -> bool:
    """Whether data of LZW, from the byte in which the last pixel's code ends, is more than the code of the end."""
    if len(rest) > 1 + 2 * _CODE_BITS // 8:
        return True
    clear, end = 1 << bits, (1 << bits) + 1
    for used in range(1, 9):
        left = int.from_bytes(rest, "little") >> used
        if left in (0, end) or any(left == clear | end << width for width in range(bits + 1, _CODE_BITS + 1)):
            return False
    return True


class Picture(NamedTuple):
    """What is seen: an image of one of Pillow's modes, as `PixelImage` has it."""

    mode: str
    pixels: Pixels
    palette: bytes = b""
    transparency: bytes = b""
    lost: tuple[str, ...] = ()


def parse_gif(data: bytes) -> Gif:
    """The parts of a GIF, as far as its blocks can be followed.

    Raises:
        ImageError: the file is damaged.
    """
    if len(data) < 13:
        raise ImageError("is cut short")
    pictures, ends, controls = array("Q"), array("Q"), array("q")
    collector = Collector()
    control, waiting, delayed = 0, False, False
    once: set[bytes] = set()
    right, bottom = struct.unpack("<2H", data[6:10])
    place = _screen_end(data)
    while place < len(data) and data[place] != _TRAILER:
        if data[place] == _IMAGE and place + 10 <= len(data):
            left, top, width, height, flags = struct.unpack("<4HB", data[place + 1 : place + 10])
            right, bottom = max(right, left + width), max(bottom, top + height)
            if flags & _INTERLACED:
                collector.lose(INTERLACED_ROWS)
            if flags & _SORTED:
                collector.lose("order of the palette")
            if flags & _RESERVED:
                collector.lose("reserved bits")
            pictures.append(place)
            controls.append(control)
            control, waiting = 0, False
            place = _blocks_end(data, place + 11 + _palette_bytes(flags))
            if place > len(data):
                raise ImageError("is cut short")
            ends.append(place)
        elif data[place] == _EXTENSION and place + 2 <= len(data):
            label, start = data[place + 1], place + 2
            place = _blocks_end(data, start)
            if place > len(data):
                collector.lose("what may be missing at the file's end")
            if label == _CONTROL and place <= len(data):
                if waiting:
                    collector.lose("graphic control extension without a picture")
                waiting = True
                if data[start] < _CONTROL_BYTES or place < start + _CONTROL_BYTES + 2:
                    collector.lose("extension of an unknown kind")
                    continue
                flags, delay, index = struct.unpack("<BHB", data[start + 1 : start + 5])
                control = index << 8 | flags & 0x1D
                delayed |= delay > 0
                _name_of_control(flags, collector)
                if place > start + _CONTROL_BYTES + 2:
                    collector.lose("extension of an unknown kind")
            elif label == _PLAIN_TEXT:
                control, waiting = 0, False
            if place <= len(data) and label != _CONTROL:
                _take(data, label, start, place, once, collector)
        elif data[place] == 0:  # between blocks some writers leave one that is empty
            place += 1
        else:
            break
    if not pictures:
        raise ImageError("is cut short or damaged: it has no picture")
    if waiting:
        collector.lose("graphic control extension without a picture")
    _finish(data, place, pictures, controls, delayed, collector)
    return Gif(data, right, bottom, pictures, ends, controls, collector.metadata, collector.names)


def _name_of_control(flags: int, collector: Collector) -> None:
    """What a graphic control extension says beside its time, disposal and transparent index."""
    if flags & _CONTROL_INPUT:
        collector.lose("user input flag")
    if flags & _CONTROL_RESERVED:
        collector.lose("reserved bits")
    if flags >> 2 & 7 > max(_DISPOSALS):
        collector.lose("disposal")


def _take(data: bytes, label: int, start: int, end: int, once: set[bytes], collector: Collector) -> None:
    """An extension as metadata, or its name among the lost.

    Args:
        once: names of those of which there is only one.
    """
    name = data[start + 1 : start + 12] if data[start - 1 : start + 1] == _APPLICATION_START else b""
    if label == _COMMENT:
        collector.add(Record(TEXT, _COMMENT_KEY + b"".join(_blocks(data, start))))
    elif name == _XMP_NAME and data.endswith(_XMP_END, start, end):
        _add_first(Record(XMP, data[start + 12 : end - len(_XMP_END)]), once, name, collector)
    elif name == _ICC_NAME:
        _add_first(Record(ICC, b"\0" + b"".join(_blocks(data, start + 12))), once, name, collector)
    elif name in _LOOP_NAMES:
        collector.lose("loop count")
    else:
        known = {_PLAIN_TEXT: "plain text extension", _APPLICATION: "application data"}
        collector.lose(known.get(label, "extension of an unknown kind"))


def _add_first(record: Record, once: set[bytes], name: bytes, collector: Collector) -> None:
    if name in once:
        collector.lose(record.name)
    else:
        once.add(name)
        collector.add(record)


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
    if background:
        collector.lose("background")


def read_pictures(gif: Gif) -> Iterator[Picture]:
    """What is seen after each picture: of mode P or L as long as indices of one palette say it, else RGB or RGBA.

    The caller has checked the size.

    Raises:
        ImageError: the file is damaged.
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
        indices, more = gif.indices(number)
        behind = ("data behind the pixels",) * more
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
            picture = _of_indices(canvas.pixels.copy(), palette, key, alone)
            yield picture._replace(lost=picture.lost + behind)
            continue
        np.copyto(place, _colours(own, None)[indices], where=drawn[:, :, None])
        opaque = without_alpha(canvas.pixels)
        seen, mode = (canvas.pixels.copy(), "RGBA") if opaque is None else (opaque, "RGB")
        yield Picture(mode, seen, lost=("palette",) * alone + behind)


def _coloured(canvas: Canvas) -> Canvas:
    return Canvas((*canvas.pixels.shape, 4), np.uint8)


def _of_indices(pixels: Bytes, palette: bytes, key: int | None, always: bool) -> Picture:
    """An image of indices.

    Args:
        always: its transparency is kept where no pixel has it, too.
    """
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


def write_picture(mode: str, pixels: Pixels, palette: bytes, transparency: bytes, metadata: Metadata) -> bytes:
    """A GIF of one picture, of modes L and P, with what it can hold of the records.

    Args:
        palette, transparency: as `PixelImage` has them; of an alpha of mode P the last colour is taken as transparent.

    Raises:
        ImageError: a GIF cannot hold the size, the number of colours or a packet.
    """
    height, width = pixels.shape
    colours = _ALL_GREYS if mode == "L" else palette
    depth = (len(colours) // 3 - 1).bit_length()
    if max(width, height) > _MAX_SIDE:
        raise ImageError("GIF cannot hold an image of this size")
    if not 1 <= depth <= 8 or len(colours) != 3 << depth:
        raise ImageError(f"GIF cannot hold a palette of {len(colours) // 3} colours, which is no power of two")
    screen = struct.pack("<HHBBB", width, height, _OWN_PALETTE | 7 << 4 | depth - 1, 0, 0)
    control = b""
    if transparency:
        key = len(transparency) - 1 if mode == "P" else struct.unpack(">H", transparency)[0]
        control = struct.pack("<4BHBB", _EXTENSION, _CONTROL, _CONTROL_BYTES, _CONTROL_TRANSPARENT, 0, key, 0)
    bits = max(2, depth)
    coded = Image.fromarray(pixels).tobytes("gif", "L", bits, 0)
    descriptor = struct.pack("<B4HBB", _IMAGE, 0, 0, width, height, 0, bits)
    parts = (b"GIF89a", screen, colours, *_extensions(metadata), control, descriptor, coded, bytes((0, _TRAILER)))
    return b"".join(parts)


def _extensions(metadata: Metadata) -> Iterator[bytes]:
    """Those of the records that GIF has extensions for."""
    for kind, content in metadata:
        if kind == XMP:
            if b"\0" in content:
                raise ImageError("GIF cannot hold XMP with a NUL")
            yield bytes([_EXTENSION]) + _APPLICATION_START + _XMP_NAME + content + _XMP_END
        elif kind == ICC:
            profile = content.partition(b"\0")[2]
            yield bytes([_EXTENSION]) + _APPLICATION_START + _ICC_NAME + _as_blocks(profile)
        elif kind == TEXT and content.startswith(_COMMENT_KEY):
            yield bytes([_EXTENSION, _COMMENT]) + _as_blocks(content[len(_COMMENT_KEY) :])


def _as_blocks(content: bytes) -> bytes:
    parts = [content[place : place + 255] for place in range(0, len(content), 255)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def _screen_end(data: bytes) -> int:
    """Where the header ends, with the colours that all images share."""
    return 13 + _palette_bytes(data[10] if len(data) > 10 else 0)


def _palette_bytes(flags: int) -> int:
    return 3 * (2 << (flags & 7)) if flags & _OWN_PALETTE else 0


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
