"""PNG without copies: its chunks checked strictly, its pixels inflated and written in bands of rows.

Pillow overlooks damage, holds three samples in four bytes, and copies all pixels twice more on their way to numpy. Here
it only undoes and chooses the filters, of some rows at a time.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from bbcompress.errors import ImageError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

BAND_BYTES = 1 << 22
"""About so many bytes of pixels are filtered at a time."""

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_COLOUR_TYPES = {"L": 0, "RGB": 2, "LA": 4, "RGBA": 6}
_MODES = {colour_type: mode for mode, colour_type in _COLOUR_TYPES.items()}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""PNG's interlacing: first column, first row, distance of the columns, of the rows."""

_INFLATE_BYTES = 1 << 16  # zlib copies what it was given and did not need yet
_IDAT_BYTES = 1 << 20

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Png:
    """A PNG whose chunks are sound; `data` are the parts of its zlib stream."""

    width: int
    height: int
    bit_depth: int
    colour_type: int
    interlaced: bool
    data: tuple[memoryview, ...]

    @property
    def mode(self) -> str | None:
        """Pillow's name of the samples where :func:`read_pixels` reads them."""
        return _MODES.get(self.colour_type) if self.bit_depth == 8 and not self.interlaced else None


def parse_png(data: bytes) -> Png:
    """The parts of a PNG. ImageError for damage, which Pillow overlooks, and for 16-bit colour, which it cuts to 8."""
    view = memoryview(data)
    position = len(PNG_SIGNATURE)
    header = b""
    kind = b""
    compressed = []
    while kind != b"IEND":
        start = data[position : position + 8]
        length = int.from_bytes(start[:4], "big")
        kind = start[4:]
        if len(start) < 8 or position + 12 + length > len(data):
            raise ImageError("is cut short")
        end = position + 8 + length
        body = view[position + 8 : end]
        if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(data[end : end + 4], "big"):
            raise ImageError("is damaged: a checksum does not fit")
        if not header:
            if kind != b"IHDR" or length != 13:
                raise ImageError("is damaged: it does not begin with a header")
            header = bytes(body)
        if kind == b"IDAT":
            compressed.append(body)
        position = end + 4
    width, height, bit_depth, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if bit_depth == 16 and colour_type != 0:
        raise ImageError("has 16 bits per colour channel, which is not supported")
    if colour_type not in _SAMPLES:
        raise ImageError("is damaged: it has no known kind of colour")
    return Png(width, height, bit_depth, colour_type, bool(interlaced), tuple(compressed))


def check_length(png: Png) -> None:
    """ImageError where it has less data than pixels, which Pillow would make black."""
    expected = 0
    for left, top, right, down in _ADAM7 if png.interlaced else ((0, 0, 1, 1),):
        columns, rows = -((left - png.width) // right), -((top - png.height) // down)
        if columns > 0 and rows > 0:
            expected += rows * (1 + (columns * png.bit_depth * _SAMPLES[png.colour_type] + 7) // 8)
    for _ in _inflate(png, expected, 1 << 20):
        pass


def read_pixels(png: Png) -> Bytes:
    """The pixels of a PNG with a `mode`, (height, width) or (height, width, samples), read-only.

    ImageError where there are fewer data than pixels, ValueError for other damage.
    """
    mode, samples = _MODES[png.colour_type], _SAMPLES[png.colour_type]
    pixels = np.empty((png.height, png.width * samples), np.uint8)
    stride = 1 + png.width * samples
    rows = _band_rows(stride)
    top = 0
    before = bytes(stride)  # a row of black; later the last row of the band above, unfiltered
    for filtered in _inflate(png, png.height * stride, rows * stride):
        count = len(filtered) // stride
        stream = zlib.compress(before + filtered, 0)
        band = Image.frombytes(mode, (png.width, count + 1), stream, "zip", mode, 0)
        pixels[top : top + count] = np.asarray(band)[1:].reshape(count, -1)
        top += count
        before = b"\0" + pixels[top - 1].tobytes()
    pixels.flags.writeable = False
    return pixels if samples == 1 else pixels.reshape(png.height, png.width, samples)


def can_write(mode: str) -> bool:
    """Whether :func:`write_pixels` writes images of that mode."""
    return mode in _COLOUR_TYPES


def write_pixels(mode: str, pixels: Bytes, transparency: bytes) -> bytes:
    """A PNG of the samples that Pillow would write. transparency: the tRNS chunk, empty for none."""
    height, width = pixels.shape[:2]
    out = io.BytesIO()
    out.write(PNG_SIGNATURE)
    _write_chunk(out, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[mode], 0, 0, 0))
    if transparency:
        _write_chunk(out, b"tRNS", transparency)
    deflate = zlib.compressobj(6, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
    stride = 1 + width * _SAMPLES[_COLOUR_TYPES[mode]]
    rows = _band_rows(stride)
    waiting = bytearray()
    for top in range(0, height, rows):
        above = 1 if top else 0  # filters look at the row above
        band = pixels[top - above : top + rows]
        picture = Image.frombytes(mode, (width, len(band)), band.tobytes())
        filtered = zlib.decompress(picture.tobytes("zip", mode, False, 0, -1, b""))
        waiting += deflate.compress(memoryview(filtered)[above * stride :])
        if len(waiting) >= _IDAT_BYTES:
            _write_chunk(out, b"IDAT", bytes(waiting))
            waiting.clear()
    _write_chunk(out, b"IDAT", bytes(waiting) + deflate.flush())
    _write_chunk(out, b"IEND", b"")
    return out.getvalue()


def _band_rows(stride: int) -> int:
    return max(1, BAND_BYTES // stride)


def _write_chunk(out: io.BytesIO, kind: bytes, body: bytes) -> None:
    out.write(struct.pack(">I", len(body)) + kind)
    out.write(body)
    out.write(struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))))


def _inflate(png: Png, size: int, step: int) -> Iterator[bytearray]:
    """The first `size` bytes of the zlib stream, in pieces of `step` bytes. ImageError where there are fewer."""
    stream = zlib.decompressobj()
    pieces = (
        part[place : place + _INFLATE_BYTES] for part in png.data for place in range(0, len(part), _INFLATE_BYTES)
    )
    left: bytes | memoryview = b""
    while size > 0:
        out = bytearray()
        wanted = min(step, size)
        while len(out) < wanted:
            left = left or next(pieces, b"")
            more = stream.decompress(left, wanted - len(out))  # also without input there may be more
            if not (more or left) or (stream.eof and len(out) + len(more) < wanted):
                raise ImageError("is cut short: it has less data than pixels")
            out += more
            left = stream.unconsumed_tail
        size -= wanted
        yield out
