"""PNG: its chunks checked strictly, its pixels inflated, filtered and written in bands of rows.

Pillow overlooks damage, cuts 16 bits a channel to 8, and copies all pixels several times on their way to numpy. Here it
only undoes and chooses the filters, of some rows at a time.
"""

from __future__ import annotations

import io
import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from bbcompress.errors import ImageError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

BAND_BYTES = 1 << 22
"""About so many bytes of pixels are filtered at a time."""

BEFORE_PALETTE, BEFORE_PIXELS, AFTER_PIXELS = range(3)
"""Where a chunk stands. Without a palette that the pixels use, all before the pixels is BEFORE_PALETTE."""

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
_WRITTEN = {
    "L": (0, 8),
    "I;16": (0, 16),
    "RGB": (2, 8),
    "RGB;16": (2, 16),
    "LA": (4, 8),
    "LA;16": (4, 16),
    "RGBA": (6, 8),
    "RGBA;16": (6, 16),
}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""PNG's interlacing: first column, first row, distance of the columns, of the rows."""

_BYTE_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_WORD_MODES = {6: "RGB", 8: "RGBA"}
"""Pillow's modes whose pixels have so many bytes, as these are and as the halves of 16-bit samples."""

MAX_CHUNKS = 1 << 12
"""Most chunks that are looked into beside those of the pixels; no image has so many records."""
_MAX_DROPPED = 32

_INFLATE_BYTES = 1 << 16  # zlib copies what it was given and did not need yet
_IDAT_BYTES = 1 << 20
_MOST_INFLATED = 1032
"""Bytes that one of deflate can become."""

Bytes = npt.NDArray[np.uint8]
Pixels = npt.NDArray[Any]


class Chunk(NamedTuple):
    """A chunk: its four-letter name, its content, and one of `BEFORE_PALETTE`, `BEFORE_PIXELS`, `AFTER_PIXELS`."""

    name: bytes
    body: bytes
    place: int


class Parts:
    """Parts of a file that belong together, as few bytes of memory each as there may be millions of them."""

    def __init__(self, data: bytes | memoryview, places: Iterable[int] = ()) -> None:
        """places: start and end of each."""
        self._view, self._places = memoryview(data), array("Q", places)

    def add(self, start: int, end: int) -> None:
        """One more part."""
        self._places.extend((start, end))

    def __len__(self) -> int:
        return len(self._places) // 2

    def __iter__(self) -> Iterator[memoryview]:
        return (self._view[a:b] for a, b in zip(self._places[::2], self._places[1::2], strict=True))

    def between(self, first: int, last: int) -> Parts:
        """Those from the first to the one before the last."""
        return Parts(self._view, self._places[2 * first : 2 * last])

    @property
    def size(self) -> int:
        """Bytes of all."""
        return sum(self._places[1::2]) - sum(self._places[::2])


@dataclass(frozen=True)
class Frames:
    """The chunks of an animation.

    Attributes:
        total, plays: of acTL.
        controls: the contents of fcTL, one after the other.
        starts: of each the number of the first part of its data.
        parts: these.
        shown: whether the image itself is the first frame.
        fault: whether they are not in order.
    """

    total: int
    plays: int
    controls: bytearray
    starts: array[int]
    parts: Parts
    shown: bool
    fault: bool


@dataclass(frozen=True)
class Png:
    """A PNG whose chunks are sound.

    Attributes:
        data: the parts of its zlib stream.
        palette: of an image with colour type 3.
        transparency: the tRNS chunk, None for none.
        chunks: the first `MAX_CHUNKS` of all others that are not needed for the pixels, in the order of the file.
        dropped: names of those behind these, and of what the last chunk holds.
        frames: the chunks of an animation, None for none.
        trailing: bytes behind its end.
    """

    width: int
    height: int
    bit_depth: int
    colour_type: int
    interlaced: bool
    data: Parts
    palette: bytes = b""
    transparency: bytes | None = None
    chunks: tuple[Chunk, ...] = ()
    dropped: tuple[str, ...] = ()
    frames: Frames | None = None
    trailing: int = 0

    @property
    def mode(self) -> str:
        """Pillow's name of the samples, of 16 bits a channel ours."""
        if self.colour_type == 0 and self.bit_depth == 1:
            return "1"
        if self.bit_depth == 16:
            return "I;16" if self.colour_type == 0 else f"{_MODES[self.colour_type]};16"
        return _MODES[self.colour_type]

    @property
    def samples(self) -> int:
        """Of a pixel."""
        return _SAMPLES[self.colour_type]

    @property
    def scale(self) -> int:
        """What the samples of `read_pixels` have been multiplied by: grey of 2 and 4 bits comes in 8."""
        return 255 // ((1 << self.bit_depth) - 1) if self.mode == "L" else 1

    @property
    def passes(self) -> tuple[tuple[int, int, int, int], ...]:
        """First column, first row, distance of the columns, of the rows, of the images that it is made of."""
        return _ADAM7 if self.interlaced else ((0, 0, 1, 1),)

    def row_bytes(self, columns: int) -> int:
        """Bytes of so many pixels side by side."""
        return (columns * self.bit_depth * self.samples + 7) // 8


def parse_png(data: bytes) -> Png:
    """The parts of a PNG.

    Raises:
        ImageError: the file is damaged anywhere, also where Pillow overlooks it.
    """
    view = memoryview(data)
    position = len(PNG_SIGNATURE)
    fields: tuple[int, ...] = ()
    palette = kind = b""
    transparency: bytes | None = None
    compressed = Parts(data)
    animation = _FramesParser(data)
    chunks: list[Chunk] = []
    dropped: set[str] = set()
    place = BEFORE_PALETTE
    while kind != b"IEND":
        before = kind
        start = data[position : position + 8]
        length = int.from_bytes(start[:4], "big")
        kind = start[4:]
        if len(start) < 8 or position + 12 + length > len(data):
            raise ImageError("is cut short")
        end = position + 8 + length
        body = view[position + 8 : end]
        if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(data[end : end + 4], "big"):
            raise ImageError("is damaged: a checksum does not fit")
        if (kind == b"IHDR") != (not fields):
            raise ImageError("is damaged: it does not begin with a header, or has two")
        if kind == b"IHDR":
            fields = _parse_header(body)
        elif kind == b"PLTE":
            if palette or place == AFTER_PIXELS or not 3 <= length <= 768 or length % 3 or fields[3] in (0, 4):
                raise ImageError("is damaged: its palette has a wrong length or place, or it has two")
            if fields[3] == 3:
                palette, place = bytes(body), BEFORE_PIXELS
            else:  # a suggestion for screens of few colours
                chunks.append(Chunk(kind, bytes(body), place))
        elif kind == b"IDAT":
            if place == AFTER_PIXELS and before != b"IDAT":
                raise ImageError("is damaged: other chunks are between its pixels")
            compressed.add(position + 8, end)
            place = AFTER_PIXELS
        elif kind == b"tRNS":
            if transparency is not None or place == AFTER_PIXELS or (fields[3] == 3 and not palette):
                raise ImageError("is damaged: it has two transparencies, or one in a wrong place")
            transparency = bytes(body)
        elif kind in _ANIMATION:
            animation.take(kind, position + 8, end, place)
        elif kind == b"IEND":
            if length:
                dropped.add("data in the chunk of the end")
        else:
            if not kind.isalpha():
                raise ImageError("is damaged: it has a chunk without a name")
            if not kind[0] & 0x20:
                raise ImageError(f"needs the PNG chunk {kind.decode('ascii')}, which is not supported")
            if len(chunks) < MAX_CHUNKS:
                chunks.append(Chunk(kind, bytes(body), place))
            elif len(dropped) < _MAX_DROPPED:
                dropped.add(f"PNG chunk {kind.decode('ascii')}")
        position = end + 4
    if place != AFTER_PIXELS:
        raise ImageError("is damaged: it has no pixels")
    width, height, bit_depth, colour_type, interlaced = fields
    if colour_type == 3 and not palette:
        raise ImageError("is damaged: it has no palette")
    return Png(
        width,
        height,
        bit_depth,
        colour_type,
        bool(interlaced),
        compressed,
        palette,
        transparency,
        tuple(chunks),
        tuple(sorted(dropped)),
        animation.frames(),
        len(data) - position,
    )


_ANIMATION = frozenset((b"acTL", b"fcTL", b"fdAT"))
_CONTROL_BYTES = 26  # of fcTL


@dataclass
class _FramesParser:
    """Gathers the chunks of an animation."""

    data: bytes
    total: tuple[int, int] | None = None
    controls: bytearray = field(default_factory=bytearray)
    starts: array[int] = field(default_factory=lambda: array("Q"))
    sequence: int = 0
    shown: bool = False
    fault: bool = False
    met: bool = False

    def __post_init__(self) -> None:
        self.parts = Parts(self.data)

    def take(self, kind: bytes, start: int, end: int, place: int) -> None:
        """One more chunk.

        Args:
            start, end: of its content.
        """
        self.met = True
        if kind == b"acTL":
            self.fault |= self.total is not None or place == AFTER_PIXELS or end - start != 8
            self.total = self.total or struct.unpack(">II", self.data[start : start + 8].ljust(8, b"\0"))
            return
        self.fault |= end - start < 4 or int.from_bytes(self.data[start : start + 4], "big") != self.sequence
        self.sequence += 1
        if kind == b"fcTL":
            self.fault |= end - start != _CONTROL_BYTES or (place != AFTER_PIXELS and self.shown)
            self.shown |= place != AFTER_PIXELS
            self.controls += self.data[start:end].ljust(_CONTROL_BYTES, b"\0")[:_CONTROL_BYTES]
            self.starts.append(len(self.parts))
        else:
            self.fault |= place != AFTER_PIXELS or not self.starts or (self.shown and len(self.starts) == 1)
            self.parts.add(min(start + 4, end), end)

    def frames(self) -> Frames | None:
        """The animation, if there is a chunk of one."""
        if not self.met:
            return None
        total, plays = self.total or (0, 0)
        return Frames(total, plays, self.controls, self.starts, self.parts, self.shown, self.fault)


def _parse_header(body: memoryview) -> tuple[int, ...]:
    """Width, height, bit depth, colour type, interlacing."""
    if len(body) != 13:
        raise ImageError("is damaged: its header does not have 13 bytes")
    width, height, bit_depth, colour_type, compression, filtering, interlaced = struct.unpack(">IIBBBBB", body)
    if colour_type not in _SAMPLES:
        raise ImageError("is damaged: its kind of colour is unknown")
    if bit_depth not in _DEPTHS[colour_type]:
        raise ImageError(f"is damaged: it has {bit_depth} bits a sample, which its kind of colour does not allow")
    if compression or filtering or interlaced > 1:
        raise ImageError("has an unknown method of compression, filtering or interlacing")
    if not (0 < width < 1 << 31 and 0 < height < 1 << 31):
        raise ImageError("is damaged: it has no size")
    return width, height, bit_depth, colour_type, interlaced


def read_pixels(png: Png, left_out: set[str] | None = None) -> Pixels:
    """The pixels, (height, width) or (height, width, samples), read-only: bool for 1 bit of grey, uint16 for 16 bits,
    else uint8; grey of 2 and 4 bits times `scale`.

    Args:
        left_out: gets a name where there is more in the data than the pixels.

    Raises:
        ImageError: the data end before the last pixel, or they are damaged.
    """
    dtype = np.bool_ if png.mode == "1" else np.uint16 if png.bit_depth == 16 else np.uint8
    if png.height * png.row_bytes(png.width) > _MOST_INFLATED * (1 + png.data.size):
        raise ImageError("is cut short: its data end before its last pixel")
    pixels = np.empty((png.height, png.width, png.samples), dtype)
    stream = _Inflater(png.data)
    for left, top, right, down in png.passes:
        if _read_pass(png, stream, pixels[top::down, left::right]) and left_out is not None:
            left_out.add("unused bits of the rows")
    if left_out is not None and stream.has_more():
        left_out.add("data behind the pixels")
    pixels.flags.writeable = False
    return pixels[:, :, 0] if png.samples == 1 else pixels


def _read_pass(png: Png, stream: _Inflater, target: Pixels) -> bool:
    """Fills a part of the pixels. Returns whether bits are set behind the last pixel of a row."""
    height, width = target.shape[:2]
    unused = -width * png.bit_depth * png.samples % 8
    more = False
    row_bytes = png.row_bytes(width)
    rows = _band_rows(1 + row_bytes)
    before = bytes(1 + row_bytes)  # a row of black; later the last row of the band above, unfiltered
    for top in range(0, height if width else 0, rows):
        count = min(rows, height - top)
        filtered = stream.read(count * (1 + row_bytes))
        band = _unfilter(before + filtered, count + 1, max(1, png.bit_depth * png.samples // 8))[1:]
        before = b"\0" + band[-1].tobytes()
        more |= unused > 0 and bool((band[:, -1] & np.uint8((1 << unused) - 1)).any())
        target[top : top + count] = _samples(png, band, width)
    return more


def _unfilter(data: bytes | bytearray, rows: int, step: int) -> Bytes:
    """The bytes (rows, bytes) of rows that each begin with the number of a filter.

    Args:
        step: bytes of a pixel.
    """
    stream = zlib.compress(data, 0)
    size = ((len(data) // rows - 1) // step, rows)
    try:
        if step in _BYTE_MODES:
            mode = _BYTE_MODES[step]
            return np.asarray(Image.frombytes(mode, size, stream, "zip", mode, 0)).reshape(rows, -1)
        # Pillow has 8 bits a channel. It undoes the filters on all bytes and then takes one of each two.
        mode = _WORD_MODES[step]
        halves = [Image.frombytes(mode, size, stream, "zip", f"{mode};16{half}", 0) for half in "BL"]
    except ValueError as fault:
        raise ImageError("is damaged: a row has an unknown filter") from fault
    return np.stack([np.asarray(half).reshape(rows, -1) for half in halves], axis=2).reshape(rows, -1)


def _samples(png: Png, band: Bytes, width: int) -> Pixels:
    """The samples (rows, width, samples) of rows of bytes."""
    if png.bit_depth == 16:
        return band.view(">u2").reshape(len(band), width, -1)
    if png.bit_depth == 8:
        return band.reshape(len(band), width, -1)
    bits = np.unpackbits(band, axis=1).reshape(len(band), -1, png.bit_depth)
    values = bits @ (1 << np.arange(png.bit_depth - 1, -1, -1)).astype(np.uint8)
    return (values[:, :width] * np.uint8(png.scale))[:, :, None]


def can_write(mode: str) -> bool:
    """Whether `write_pixels` writes images of that mode."""
    return mode in _WRITTEN


def write_pixels(
    mode: str, pixels: Pixels, transparency: bytes, level: int = 6, depth: int | None = None, palette: bytes = b""
) -> bytes:
    """A PNG of the samples; of 8 bits the one that Pillow would write.

    Args:
        transparency: the tRNS chunk, empty for none.
        level: zlib's.
        depth: for mode L 2 or 4, where the pixels are so many times 85 or 17; for mode P any of its own.
        palette: of mode P.
    """
    height, width = pixels.shape[:2]
    colour_type, bit_depth = _WRITTEN.get(mode, (3, 8))
    bit_depth = depth or bit_depth
    step = max(1, _SAMPLES[colour_type] * bit_depth // 8)
    out = io.BytesIO()
    out.write(PNG_SIGNATURE)
    _write_chunk(out, b"IHDR", struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0))
    if palette:
        _write_chunk(out, b"PLTE", palette)
    if transparency:
        _write_chunk(out, b"tRNS", transparency)
    deflate = zlib.compressobj(level, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
    stride = 1 + (width * _SAMPLES[colour_type] * bit_depth + 7) // 8
    rows = _band_rows(stride)
    waiting = bytearray()
    for top in range(0, height, rows):
        above = 1 if top else 0  # filters look at the row above
        band = pixels[top - above : top + rows]
        if depth is not None:
            filtered = _packed(band if palette else band // np.uint8(255 // ((1 << depth) - 1)), depth)
        elif bit_depth == 16:
            filtered = _filter(np.ascontiguousarray(band, ">u2").view(np.uint8), step).tobytes()
        else:
            picture = Image.frombytes(mode, (width, len(band)), band.tobytes())
            filtered = zlib.decompress(picture.tobytes("zip", mode, False, 0, -1, b""))
        waiting += deflate.compress(memoryview(filtered)[above * stride :])
        if len(waiting) >= _IDAT_BYTES:
            _write_chunk(out, b"IDAT", bytes(waiting))
            waiting.clear()
    _write_chunk(out, b"IDAT", bytes(waiting) + deflate.flush())
    _write_chunk(out, b"IEND", b"")
    return out.getvalue()


def _packed(rows: Pixels, depth: int) -> bytes:
    """Rows of samples of so many bits, each behind the number of no filter, which is best for them."""
    bits = np.unpackbits(rows, axis=1).reshape(*rows.shape, 8)[:, :, 8 - depth :]
    packed = np.packbits(bits.reshape(len(rows), -1), axis=1)
    return np.concatenate([np.zeros((len(rows), 1), np.uint8), packed], axis=1).tobytes()


def _filter(samples: Bytes, step: int) -> Bytes:
    """Rows of bytes, each behind the number of the filter after which it is smallest, as one array.

    Smallest is, as in libpng, the sum of the bytes as signed numbers without their signs.
    """
    rows = samples.reshape(len(samples), -1)
    left, above, corner = np.zeros((3, *rows.shape), np.uint8)
    left[:, step:] = rows[:, :-step]
    above[1:] = rows[:-1]
    corner[:, step:] = above[:, :-step]
    a, b, c = (part.astype(np.int16) for part in (left, above, corner))
    by_a, by_b, by_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    paeth = np.where((by_a <= by_b) & (by_a <= by_c), left, np.where(by_b <= by_c, above, corner))
    average = (a + b >> 1).astype(np.uint8)
    best = np.zeros((len(rows), 1 + rows.shape[1]), np.uint8)
    costs = np.full(len(rows), np.iinfo(np.int64).max)
    guesses: list[Bytes] = [np.zeros_like(rows), left, above, average, paeth]
    for number, guess in enumerate(guesses):
        filtered = rows - guess
        cost = np.minimum(filtered, -filtered).sum(axis=1, dtype=np.int64)
        better = cost < costs
        costs[better] = cost[better]
        best[better, 0] = number
        best[better, 1:] = filtered[better]
    return best.reshape(-1)


def add_chunks(data: bytes, chunks: Iterable[Chunk]) -> bytes:
    """A PNG with further chunks, each in its place behind those that are there.

    Args:
        data: a PNG made here or by Pillow.
    """
    starts = [len(PNG_SIGNATURE) + 25]  # behind the header
    while data[starts[-1] + 4 : starts[-1] + 8] != b"IDAT":
        starts.append(starts[-1] + 12 + int.from_bytes(data[starts[-1] : starts[-1] + 4], "big"))
    edges = [0, starts[0], starts[-1], len(data) - 12]
    added = [io.BytesIO() for _ in range(3)]
    for name, body, place in chunks:
        _write_chunk(added[place], name, body)
    parts = [data[a:b] + more.getvalue() for a, b, more in zip(edges, edges[1:], added, strict=False)]
    return b"".join([*parts, data[edges[-1] :]])


def _band_rows(stride: int) -> int:
    return max(1, BAND_BYTES // stride)


def _write_chunk(out: io.BytesIO, kind: bytes, body: bytes) -> None:
    out.write(struct.pack(">I", len(body)) + kind)
    out.write(body)
    out.write(struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))))


class _Inflater:
    """Reads a zlib stream that lies in several parts."""

    def __init__(self, parts: Iterable[memoryview]) -> None:
        self._stream = zlib.decompressobj()
        self._pieces = self._cut(parts)
        self._left: bytes | memoryview = b""

    @staticmethod
    def _cut(parts: Iterable[memoryview]) -> Iterator[memoryview]:
        for part in parts:
            for place in range(0, len(part), _INFLATE_BYTES):
                yield part[place : place + _INFLATE_BYTES]

    def read(self, size: int) -> bytearray:
        """The next `size` bytes.

        Raises:
            ImageError: the data end early or are damaged.
        """
        out = bytearray()
        while len(out) < size:
            self._left = self._left or next(self._pieces, b"")
            try:
                more = self._stream.decompress(self._left, size - len(out))  # also without input there may be more
            except zlib.error as fault:
                raise ImageError("is damaged: its pixels cannot be inflated") from fault
            if not (more or self._left) or (self._stream.eof and len(out) + len(more) < size):
                raise ImageError("is cut short: its data end before its last pixel")
            out += more
            self._left = self._stream.unconsumed_tail
        return out

    def has_more(self) -> bool:
        """Whether there is more than the stream and its checksum, which may be missing: those of chunks are right."""
        while not self._stream.eof:
            self._left = self._left or next(self._pieces, b"")
            try:
                if self._stream.decompress(self._left, 1):
                    return True
            except zlib.error:
                return False
            if not self._left:
                return False
            self._left = self._stream.unconsumed_tail
        return bool(self._stream.unused_data) or any(map(len, self._pieces))
