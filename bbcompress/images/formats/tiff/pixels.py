"""The pixels of a TIFF: what its tags say of them, each kind that is not kept refused by its name, and reading them.

Only compressions are left to others, zlib and libtiff, and JPEG and fax as a whole. The order of bytes and bits,
differences (predictors), planes, tiles and depths are undone here, since Pillow changes or drops what it does not
expect.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bbcompress.errors import ImageError
from bbcompress.images.decoders import check_size
from bbcompress.images.formats.jpeg.file import MISSING_END, Jpeg, parse_jpeg, parse_tables
from bbcompress.images.formats.tiff import libtiff
from bbcompress.images.formats.tiff.codes import is_more, is_more_fax, is_more_to_ask
from bbcompress.images.formats.tiff.directory import (
    LONG,
    SHORT,
    UNDEFINED,
    Directory,
    Place,
    TiffFile,
    Tree,
    write_directory,
)
from bbcompress.images.formats.tiff.fax_kernels import DIFFERENCES, LINES, LINES_AND_DIFFERENCES, ROWS_ALONE
from bbcompress.images.metadata import names_of

Pixels = npt.NDArray[Any]

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR = 273, 277, 278, 279, 284
FAX_3, FAX_4, PREDICTOR, COLOUR_MAP = 292, 293, 317, 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, INK_SET = 322, 323, 324, 325, 332
EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES, SUBSAMPLING, POSITIONING = 338, 339, 347, 530, 531
SUBFILE_TYPE = 254
IMAGE_DEPTH, TILE_DEPTH = 32997, 32998
_PLACES_OF_OLD_JPEG = {513, 514, 519, 520, 521}
OF_OLD_JPEG = frozenset((512, 515, 517, 518)) | _PLACES_OF_OLD_JPEG
"""Tags of compression 6 alone, which newer JPEGs do without."""
_STREAM_OF_OLD_JPEG = 513, 514
QUANTISATION, HUFFMAN = 519, (520, 521)
"""Tags of these that point to tables."""

_REQUIRED = {
    WIDTH: "ImageWidth", HEIGHT: "ImageLength", PHOTOMETRIC: "PhotometricInterpretation", TILE_WIDTH: "TileWidth",
    TILE_HEIGHT: "TileLength",
}  # fmt: skip
LAYOUT = frozenset(
    (WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES)
) | {PLANAR, FAX_3, FAX_4, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, EXTRA_SAMPLES} | {
    SAMPLE_FORMAT, JPEG_TABLES, SUBSAMPLING, POSITIONING, 288, 289,
}  # fmt: skip
"""Tags of how the pixels stand in the file, which are not the image's: 288 and 289 tell of free bytes."""

NO_COMPRESSION, _LZW, OLD_JPEG, _JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS = 1, 5, 6, 7, 8, 32946, 32773
_FAX = (2, 3, 4)
_BY_LIBTIFF = {_LZW, _PACKBITS, 34925, 50000}
_JPEGS = {OLD_JPEG, _JPEG}
_WITH_PREDICTOR = {_LZW, _DEFLATE, _OLD_DEFLATE, 34925, 50000}
_READ = {NO_COMPRESSION, *_FAX, OLD_JPEG, _JPEG, _DEFLATE, _OLD_DEFLATE, *_BY_LIBTIFF}
_COMPRESSIONS = {
    9: "JBIG", 10: "JBIG", 32766: "NeXT", 32771: "CCITT with padding", 32809: "ThunderScan",
    32895: "IT8", 32896: "IT8", 32897: "IT8", 32898: "IT8", 32908: "Pixar film", 32909: "Pixar log", 32947: "DCS",
    33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34661: "JBIG", 34676: "LogLuv", 34677: "LogLuv",
    34712: "JPEG 2000", 34713: "Nikon NEF", 34887: "LERC", 34892: "lossy JPEG", 34925: "LZMA", 34926: "zstd",
    34927: "WebP", 34933: "PNG", 34934: "JPEG XR", 50000: "zstd", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
    65000: "PackBits of Kodak", 65535: "Pentax PEF", 22610: "JPEG XR",
}  # fmt: skip

_MORE = "data behind the pixels"
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _MASK, _CMYK, _YCBCR = range(7)
_PHOTOMETRICS = {
    8: "CIELAB colours", 9: "ICCLAB colours", 10: "ITULAB colours", 32803: "a colour filter array (raw photograph)",
    32844: "LogL samples", 32845: "LogLuv colours", 34892: "linear raw samples", 51177: "a depth map",
}  # fmt: skip
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _MASK: 1, _CMYK: 4, _YCBCR: 3}
_ALPHA, _ASSOCIATED_ALPHA = 2, 1
_COREL = 999  # what an old program writes for alpha

# What the samples mean, how many there are, and their bits; the mode of the image.
_MODES = {
    (_BLACK_IS_ZERO, 1, 1): "1",
    (_BLACK_IS_ZERO, 1, 2): "L",
    (_BLACK_IS_ZERO, 1, 4): "L",
    (_BLACK_IS_ZERO, 1, 8): "L",
    (_BLACK_IS_ZERO, 1, 16): "I;16",
    (_BLACK_IS_ZERO, 2, 8): "LA",
    (_BLACK_IS_ZERO, 2, 16): "LA;16",
    (_RGB, 3, 8): "RGB",
    (_RGB, 4, 8): "RGBA",
    (_RGB, 3, 16): "RGB;16",
    (_RGB, 4, 16): "RGBA;16",
    (_PALETTE, 1, 1): "P",
    (_PALETTE, 1, 2): "P",
    (_PALETTE, 1, 4): "P",
    (_PALETTE, 1, 8): "P",
    (_MASK, 1, 1): "1",
    (_CMYK, 4, 8): "CMYK",
    (_YCBCR, 3, 8): "RGB",
}
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]


@dataclass(frozen=True)
class Layout:
    """How the pixels of an image stand in a file, of a kind that is read.

    photometric: what the samples mean, as the tag counts it. alpha_unsaid: the file has a fourth sample and does not
    say that it is alpha. chunk: width and height of a strip or tile. planes: parts of the file, of whole images each.
    """

    mode: str
    width: int
    height: int
    bits: int
    samples: int
    compression: int
    photometric: int
    reversed_bits: bool
    predictor: bool
    chunk: tuple[int, int]
    tiled: bool
    planes: int
    alpha_unsaid: bool

    @property
    def row_bytes(self) -> int:
        """Of a row of a strip or tile."""
        return (self.chunk[0] * (self.samples // self.planes) * self.bits + 7) // 8

    @property
    def grid(self) -> tuple[int, int]:
        """Strips or tiles across and down, of a plane."""
        return -(-self.width // self.chunk[0]), -(-self.height // self.chunk[1])

    @property
    def scaled(self) -> bool:
        """Whether the samples are others than in the file: of fewer bits, or of which 0 was white."""
        return (self.mode == "L" and self.bits < 8) or self.photometric == _WHITE_IS_ZERO


def _refused(kind: str) -> ImageError:
    return ImageError(f"is a TIFF of {kind}, which is not supported")


def _number(file: TiffFile, directory: Directory, tag: int, default: int | None, most: int = (1 << 32) - 1) -> int:
    """The value of a tag that has one."""
    entry = directory.entries.get(tag)
    if entry is None:
        if default is None:
            raise ImageError(
                f"is a TIFF that lacks the TIFF tag {tag} ({_REQUIRED[tag]}), without which it cannot be read"
            )
        return default
    values = file.numbers(entry)
    if values is None or len(values) != 1 or int(values[0]) > most:
        raise ImageError(f"is damaged: its TIFF tag {tag} does not hold a single whole number")
    return int(values[0])


def _several(file: TiffFile, directory: Directory, tag: int, default: list[int], most: int) -> list[int]:
    entry = directory.entries.get(tag)
    if entry is None:
        return default
    values = file.numbers(entry) if entry.length <= most else None
    if values is None:
        raise ImageError(f"is damaged: its TIFF tag {tag} does not hold numbers, or too many of them")
    return [int(value) for value in values]


def read_layout(file: TiffFile, directory: Directory, max_pixels: int) -> Layout:
    """What the tags say of the pixels. ImageError that names it for every kind that would not be kept."""
    if directory.twice & LAYOUT:
        raise ImageError(f"is damaged: it has the TIFF tag {min(directory.twice & LAYOUT)} twice")

    def number(tag: int, default: int | None = None) -> int:
        return _number(file, directory, tag, default)

    compression = number(COMPRESSION, 1)
    if compression not in _READ:
        name = _COMPRESSIONS.get(compression)
        raise _refused(f"compression {compression}" + f" ({name})" * bool(name))
    width, height = number(WIDTH), number(HEIGHT)
    if not width or not height:
        raise ImageError("is damaged: it is empty")
    check_size(width, height, max_pixels)
    if number(IMAGE_DEPTH, 1) > 1 or number(TILE_DEPTH, 1) > 1:
        raise _refused("a volume, of several images in depth")
    samples = number(SAMPLES, 1)
    bits = _several(file, directory, BITS, [1], 1 << 16)
    if not 1 <= samples <= 1 << 16 or len(bits) not in (1, samples):
        raise ImageError("is damaged: it does not say how many bits its samples have")
    _check_format(file, directory, samples, bits)
    photometric = number(PHOTOMETRIC)
    if photometric not in _COLOURS:
        raise _refused(_PHOTOMETRICS.get(photometric, f"photometric interpretation {photometric}"))
    if len(set(bits)) > 1:
        raise _refused(f"samples of unequal depth ({', '.join(map(str, bits[:8]))} bits)")
    alpha_unsaid = _check_samples(file, directory, samples, photometric)
    mode = _mode(photometric, samples, bits[0], compression)
    if photometric == _CMYK and number(INK_SET, 1) != 1:
        raise _refused("inks that are not CMYK")
    fill_order, planar, predictor = number(FILL_ORDER, 1), number(PLANAR, 1), number(PREDICTOR, 1)
    if fill_order not in (1, 2) or planar not in (1, 2):
        raise ImageError("is damaged: the order of its samples or of their bits is unknown")
    if compression in (*_FAX, *_JPEGS):  # to which the tag means nothing
        predictor = 1
    if predictor != 1 and compression not in _WITH_PREDICTOR:  # some programs take differences then, and some do not
        raise _refused(f"predictor {predictor} with compression {compression}")
    if predictor != 1 and (predictor != 2 or bits[0] < 8):
        raise _refused(f"predictor {predictor} with compression {compression} and {bits[0]} bits a sample")
    if planar == 2 and samples > 1 and compression in _JPEGS:
        raise _refused("JPEG in separate planes")
    tiled = TILE_OFFSETS in directory.entries or TILE_WIDTH in directory.entries
    if tiled:
        chunk = number(TILE_WIDTH), number(TILE_HEIGHT)
        if not min(chunk) or chunk[0] * bits[0] % 8:
            raise ImageError("is damaged: its tiles have a size that they cannot have")
    else:
        chunk = width, min(height, number(ROWS_PER_STRIP, height) or height)
    layout = Layout(
        mode, width, height, bits[0], samples, compression, photometric, fill_order == 2, predictor == 2, chunk, tiled,
        samples if planar == 2 else 1, alpha_unsaid,
    )  # fmt: skip
    across, down = layout.grid
    if tiled and across * chunk[0] * down * chunk[1] > 2 * max_pixels:
        raise ImageError(f"has tiles of more pixels than the limit of {max_pixels}")
    return layout


def _check_format(file: TiffFile, directory: Directory, samples: int, bits: list[int]) -> None:
    """ImageError for samples that are not unsigned numbers."""
    formats = set(_several(file, directory, SAMPLE_FORMAT, [1], 1 << 16))
    depth = f"{bits[0]}-bit " if len(set(bits)) == 1 else ""
    if len(formats) > 1:
        raise _refused("samples of several formats")
    (form,) = formats
    if form != 1:
        half = " (half floats)" if (form, bits[0]) == (3, 16) else ""
        names = {2: "signed integers", 3: f"floats{half}", 4: "samples of no stated format", 5: "complex integers",
                 6: "complex floats"}  # fmt: skip
        raise _refused(depth + names.get(form, f"samples of format {form}"))


def _check_samples(file: TiffFile, directory: Directory, samples: int, photometric: int) -> bool:
    """Whether a fourth sample is alpha without being said to be. ImageError for other samples that are no colours."""
    extra = _several(file, directory, EXTRA_SAMPLES, [], 1 << 16)
    colours = _COLOURS[photometric]
    if samples < colours:
        raise ImageError("is damaged: it has fewer samples a pixel than its colours need")
    if _ASSOCIATED_ALPHA in extra:
        raise _refused("colours that are multiplied by alpha")
    if photometric == _RGB and samples == 4 and extra in ([], [_COREL]):
        return True
    if samples == colours + 1 and extra == [_ALPHA]:
        return False
    if samples != colours or extra:
        raise _refused(f"{samples} samples a pixel, more than its colours and alpha")
    return False


def _mode(photometric: int, samples: int, bits: int, compression: int) -> str:
    """The mode of the image. ImageError for none."""
    if photometric == _YCBCR and compression not in _JPEGS:
        raise _refused("YCbCr samples without JPEG")
    key = (_BLACK_IS_ZERO if photometric == _WHITE_IS_ZERO else photometric, samples, bits)
    jpeg = compression not in _JPEGS or (bits == 8 and photometric != _PALETTE)
    if compression == OLD_JPEG:
        jpeg = photometric == _YCBCR  # Pillow decodes no other
    if key not in _MODES or not jpeg or (compression in _FAX and key[1:] != (1, 1)):
        names = {_RGB: "RGB", _PALETTE: "a palette", _MASK: "a mask", _CMYK: "CMYK", _YCBCR: "YCbCr"}
        what = names.get(photometric, "grey") + " with alpha" * (samples > _COLOURS[photometric])
        raise _refused(f"{what} of {bits} bits a sample" + f" and compression {compression}" * (key in _MODES))
    return _MODES[key]


@dataclass(frozen=True)
class Chunks:
    """Where the strips or tiles of an image stand, plane after plane."""

    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    more: bool = False
    """Whether there are more of them than the image needs."""

    def places(self) -> Iterator[Place]:
        """From, to, of each."""
        return ((start, start + length) for start, length in zip(self.offsets.tolist(), self.lengths.tolist(),
                                                                 strict=True))  # fmt: skip


def read_chunks(file: TiffFile, directory: Directory, layout: Layout) -> Chunks:
    """Where the strips or tiles are. ImageError where some are missing or not in the file."""
    tags = (TILE_OFFSETS, TILE_BYTES) if layout.tiled else (STRIP_OFFSETS, STRIP_BYTES)
    across, down = layout.grid
    count = across * down * layout.planes
    numbers, more = [], False
    for tag in tags:
        entry = directory.entries.get(tag)
        values = None if entry is None else file.numbers(entry)
        if values is None and tag == tags[1] and layout.compression == NO_COMPRESSION and entry is None:
            values = _raw_lengths(layout)  # some old programs leave it out, and nothing else can be meant
        if values is None or len(values) < count or int(values.max()) > len(file.data):
            raise ImageError("is cut short or damaged: strips or tiles are missing")
        more |= bool(values[count:].any())
        numbers.append(values[:count].astype(np.int64))
    offsets, lengths = numbers
    if int(offsets.min()) < 8 or int(lengths.min()) < 1 or int((offsets + lengths).max()) > len(file.data):
        raise ImageError("is cut short or damaged: strips or tiles are missing")
    file.charge(int(lengths.sum()))
    return Chunks(offsets, lengths, more)


def _raw_lengths(layout: Layout) -> Pixels:
    return np.tile(_rows_of(layout) * layout.row_bytes, layout.planes)


def _rows_of(layout: Layout) -> npt.NDArray[np.int64]:
    """Rows of each strip or tile of a plane."""
    across, down = layout.grid
    rows = np.full((down, across), layout.chunk[1], np.int64)
    if not layout.tiled:
        rows[-1] = layout.height - (down - 1) * layout.chunk[1]
    return rows.reshape(-1)


def _strips(file: TiffFile, layout: Layout, chunks: Chunks) -> list[bytes]:
    """The bytes of strips or tiles, with the first bit of each first."""
    strips = [file.data[start:end] for start, end in chunks.places()]
    if layout.reversed_bits:
        strips = [_REVERSED[np.frombuffer(strip, np.uint8)].tobytes() for strip in strips]
    return strips


def read_pixels(file: TiffFile, directory: Directory, layout: Layout, chunks: Chunks, lost: set[str]) -> Pixels:
    """The pixels, as an image of the layout's mode has them. lost: gets names of what strips or tiles hold beside them.
    ImageError for damage."""
    if chunks.more:
        lost.add(_MORE)
    if not layout.predictor and _number(file, directory, PREDICTOR, 1) != 1:
        lost.add("predictor that its compression has no use for")
    if layout.compression in _JPEGS:
        pixels = _jpeg(file, directory, layout, chunks, lost)
    elif layout.compression in _FAX:
        pixels = _fax(file, directory, layout, chunks, lost)
    else:
        pixels = _samples(file, layout, chunks, lost)
    if layout.photometric == _WHITE_IS_ZERO:
        pixels = ~pixels if layout.samples == 1 else np.stack((~pixels[..., 0], pixels[..., 1]), axis=-1)
    return pixels


def _samples(file: TiffFile, layout: Layout, chunks: Chunks, lost: set[str]) -> Pixels:
    """The samples as the file has them, but those of grey of 2 or 4 bits, which are scaled to 8."""
    planes = [_plane(file, layout, part, lost) for part in _parts(layout, chunks)]
    if len(planes) == 1:
        return planes[0][..., 0] if layout.samples == 1 else planes[0]
    return np.concatenate(planes, axis=-1)


def _parts(layout: Layout, chunks: Chunks) -> list[Chunks]:
    size = len(chunks.offsets) // layout.planes
    return [
        Chunks(chunks.offsets[start : start + size], chunks.lengths[start : start + size])
        for start in range(0, size * layout.planes, size)
    ]


def _plane(file: TiffFile, layout: Layout, chunks: Chunks, lost: set[str]) -> Pixels:
    """The samples (height, width, samples) of a plane."""
    across = layout.grid[0]
    read = _by_libtiff if layout.compression in _BY_LIBTIFF else _by_zlib
    rows = read(file, layout, chunks, lost)
    rows = rows.reshape(len(rows), across, layout.row_bytes)
    samples = layout.samples // layout.planes
    if layout.bits < 8:
        return _unpacked(rows.reshape(len(rows), -1)[: layout.height], layout)[:, : layout.width, None]
    if layout.bits == 16:
        wide = rows.view(f"{file.order}u2")
        rows = wide.astype(np.uint16, copy=False)
    rows = rows.reshape(len(rows), across, layout.chunk[0], samples)
    if layout.predictor:
        rows = np.add.accumulate(rows, axis=2, dtype=rows.dtype)
    return rows.reshape(len(rows), -1, samples)[: layout.height, : layout.width]


def _unpacked(rows: Pixels, layout: Layout) -> Pixels:
    """Samples of fewer than 8 bits, one each: of mode 1 as bool, of a palette its indices, of grey scaled to 8 bits."""
    if layout.bits == 1:
        bits = np.unpackbits(rows, axis=1, count=None)
        return bits.view(np.bool_) if layout.mode == "1" else bits
    per_byte = 8 // layout.bits
    unpacked = np.empty((*rows.shape, per_byte), np.uint8)
    for number in range(per_byte):
        unpacked[..., number] = rows >> (8 - layout.bits * (number + 1)) & (1 << layout.bits) - 1
    if layout.mode == "L":
        unpacked *= 255 // ((1 << layout.bits) - 1)
    return unpacked.reshape(len(rows), -1)


def _by_zlib(file: TiffFile, layout: Layout, chunks: Chunks, lost: set[str]) -> Pixels:
    """The rows of a plane (rows, bytes of all tiles) that is deflated or not compressed at all."""
    across, down = layout.grid
    chunk_rows, row_bytes = layout.chunk[1], layout.row_bytes
    size = chunk_rows * row_bytes
    height = down * chunk_rows if layout.tiled else layout.height
    view = memoryview(file.data)
    last = size if layout.tiled else (height - (down - 1) * chunk_rows) * row_bytes
    follow = bool(np.all(chunks.offsets[1:] == chunks.offsets[:-1] + size)) and across == 1
    enough = bool(np.all(chunks.lengths[:-1] == size)) and int(chunks.lengths[-1]) == last
    if layout.compression == NO_COMPRESSION and follow and enough:  # all rows stand there one behind the other
        start = int(chunks.offsets[0])
        rows = np.frombuffer(view[start : start + (down - 1) * size + last], np.uint8).reshape(height, row_bytes)
        return _REVERSED[rows] if layout.reversed_bits else rows
    rows = np.empty((height, across, row_bytes), np.uint8)
    for number, (start, end) in enumerate(chunks.places()):
        top = number // across * chunk_rows
        expected = min(chunk_rows, height - top) * row_bytes
        content = view[start:end]
        if layout.reversed_bits:
            content = memoryview(_REVERSED[np.frombuffer(content, np.uint8)].tobytes())
        if layout.compression != NO_COMPRESSION:
            content = memoryview(_inflated(content, expected, lost))
        if len(content) < expected:
            raise ImageError("is cut short or damaged: a strip or tile has too few bytes")
        if len(content) > expected and any(content[expected:]):
            lost.add(_MORE)
        block = np.frombuffer(content[:expected], np.uint8).reshape(-1, row_bytes)
        rows[top : top + len(block), number % across] = block
    return rows.reshape(height, -1)


def _inflated(content: memoryview, expected: int, lost: set[str]) -> bytes:
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(content, expected)
        more = b"" if stream.eof else stream.decompress(stream.unconsumed_tail, 1)
        if not more and not stream.eof:
            raise ImageError("is cut short or damaged: a strip or tile does not end")
        if more or stream.unused_data.strip(b"\0"):
            lost.add(_MORE)
    except zlib.error as error:
        raise ImageError("is damaged: a strip or tile cannot be inflated") from error
    return inflated


def _by_libtiff(file: TiffFile, layout: Layout, chunks: Chunks, lost: set[str]) -> Pixels:
    """The rows of a plane (rows, bytes of all tiles) whose compression libtiff undoes: as grey of so many bytes."""
    across, down = layout.grid
    height = down * layout.chunk[1] if layout.tiled else layout.height
    tags = {
        WIDTH: across * layout.row_bytes,
        HEIGHT: height,
        BITS: 8,
        COMPRESSION: layout.compression,
        PHOTOMETRIC: _BLACK_IS_ZERO,
        FILL_ORDER: 2 if layout.reversed_bits else 1,
        SAMPLES: 1,
        PREDICTOR: 1,
    }
    mode, pixels = _decoded(file, layout, chunks, tags, layout.row_bytes)

    def holds(strip: bytes, size: int) -> bool:
        one = Chunks(np.zeros(1, np.int64), np.array([len(strip)], np.int64))
        row = {**tags, WIDTH: size, HEIGHT: 1, FILL_ORDER: 1}
        try:
            _decoded(file, replace(layout, chunk=(size, 1), tiled=False), one, row, size, [strip])
        except ImageError:
            return False
        return True

    sizes, strips = (_rows_of(layout) * layout.row_bytes).tolist(), _strips(file, layout, chunks)
    if is_more(layout.compression, strips, sizes, holds):
        lost.add(_MORE)
    if is_more_to_ask(layout.compression, strips):
        lost.add("data that strips may hold behind the pixels")
    if mode != "L" or pixels.shape != (height, across * layout.row_bytes):
        raise ImageError("is of a kind that Pillow decodes wrongly")
    return pixels


def _fax(file: TiffFile, directory: Directory, layout: Layout, chunks: Chunks, lost: set[str]) -> Pixels:
    tags = {
        WIDTH: layout.width,
        HEIGHT: layout.height,
        BITS: 1,
        COMPRESSION: layout.compression,
        PHOTOMETRIC: _BLACK_IS_ZERO,
        FILL_ORDER: 2 if layout.reversed_bits else 1,
        SAMPLES: 1,
        FAX_3: _number(file, directory, FAX_3, 0),
        FAX_4: _number(file, directory, FAX_4, 0),
    }
    mode, pixels = _decoded(file, layout, chunks, tags, layout.chunk[0])
    differences = LINES_AND_DIFFERENCES if tags[FAX_3] & 1 else LINES
    kind = {2: ROWS_ALONE, 3: differences, 4: DIFFERENCES}[layout.compression]
    if is_more_fax(kind, layout.chunk[0], _strips(file, layout, chunks), _rows_of(layout).tolist()):
        lost.add(_MORE)
    if mode != "1" or pixels.shape != (layout.height, layout.width):
        raise ImageError("is of a kind that Pillow decodes wrongly")
    if layout.mode == "P":
        return pixels.view(np.uint8)
    return pixels


def _jpeg(file: TiffFile, directory: Directory, layout: Layout, chunks: Chunks, lost: set[str]) -> Pixels:
    tags: dict[int, int | list[int] | bytes] = {
        WIDTH: layout.width,
        HEIGHT: layout.height,
        BITS: [8] * layout.samples,
        COMPRESSION: layout.compression,
        PHOTOMETRIC: _BLACK_IS_ZERO if layout.mode[0] == "L" else layout.photometric,
        SAMPLES: layout.samples,
        SUBSAMPLING: _several(file, directory, SUBSAMPLING, [2, 2], 2),
    }
    if layout.mode in ("LA", "RGBA"):
        tags[EXTRA_SAMPLES] = [_ALPHA]
    if (entry := directory.entries.get(JPEG_TABLES)) is not None:
        tables = file.bytes_of(entry)
        if tables is None:
            raise ImageError("is damaged: its JPEG tables are missing")
        tags[JPEG_TABLES] = tables
    strips = None
    if layout.compression == _JPEG:
        strips = _check_jpegs(file, layout, chunks, tags.get(JPEG_TABLES, b""), lost)
    if layout.compression == OLD_JPEG:
        tags |= {tag: _several(file, directory, tag, [], 1 << 8) for tag in OF_OLD_JPEG & directory.entries.keys()}
        place = [_several(file, directory, tag, [0], 1)[0] for tag in _STREAM_OF_OLD_JPEG]
        _check_old_jpeg(file, layout, chunks, place[0], sum(place), lost)
    mode, pixels = _decoded(file, layout, chunks, tags, layout.chunk[0], strips)
    expected = (layout.height, layout.width, layout.samples)[: 2 + (layout.samples > 1)]
    if mode != layout.mode or pixels.shape != expected:
        raise ImageError("is of a kind that Pillow decodes wrongly")
    return pixels


def _check_jpegs(file: TiffFile, layout: Layout, chunks: Chunks, tables: Any, lost: set[str]) -> list[bytes] | None:
    """ImageError for strips or tiles that lack pixels, which a decoder fills up. lost: gets names of what else is in
    them. Returns the strips without that, if there is any: a decoder may refuse what has no meaning."""
    most = 4 * layout.chunk[0] * layout.chunk[1]  # some have a last strip that is as high as the others
    shared = parse_tables(tables) if tables else None
    strips = []
    beside = False
    for (start, end), rows in zip(chunks.places(), _rows_of(layout).tolist(), strict=True):
        jpeg = parse_jpeg(file.data[start:end], most, shared, (layout.samples,))
        _check_jpeg(jpeg, layout.chunk[0], rows, lost)
        beside |= bool(set(jpeg.lost) - {MISSING_END})
        strips.append(jpeg.image)
    return strips if beside else None


def _check_old_jpeg(file: TiffFile, layout: Layout, chunks: Chunks, start: int, end: int, lost: set[str]) -> None:
    """The same for a JPEG of compression 6, if all of it stands in one place; of one in parts it is named that this is
    not known."""
    parts = chunks.offsets, chunks.offsets + chunks.lengths
    if int(parts[0].min()) < start or int(parts[1].max()) > end or file.data[start : start + 2] != b"\xff\xd8":
        lost.add("what may be missing in its JPEG data")
        return
    found = parse_jpeg(file.data[start:end], 4 * layout.width * layout.height, None, (layout.samples,))
    _check_jpeg(found, layout.width, layout.height, lost)


def _check_jpeg(found: Jpeg, width: int, rows: int, lost: set[str]) -> None:
    if found.width != width or found.height < rows:
        raise ImageError("is cut short or damaged: a strip or tile has another size than it should have")
    if found.height > rows:
        lost.add(_MORE)
    lost.update({*found.lost, *names_of(found.metadata)} - {MISSING_END, "resolution"})


def _decoded(
    file: TiffFile,
    layout: Layout,
    chunks: Chunks,
    tags: dict[int, Any],
    chunk_width: int,
    strips: list[bytes] | None = None,
) -> tuple[str, Pixels]:
    """What libtiff makes of the strips or tiles, under these tags, which stand in a directory behind them. strips: what
    it gets in place of those of the file."""
    lengths = chunks.lengths
    out = bytearray(b"II*\0" + bytes(4))
    if _PLACES_OF_OLD_JPEG & tags.keys():  # which name places in the file
        out += file.data[8:]
        offsets = chunks.offsets
    elif strips is not None:
        out += b"".join(strips)
        lengths = np.array([len(strip) for strip in strips], np.int64)
        offsets = 8 + np.cumsum(lengths) - lengths
    else:  # the strips alone: of many pages each costs no more than itself
        out += b"".join(file.data[start:end] for start, end in chunks.places())
        offsets = 8 + np.cumsum(chunks.lengths) - chunks.lengths
    if layout.tiled:
        tags = {**tags, TILE_WIDTH: chunk_width, TILE_HEIGHT: layout.chunk[1]}
    else:
        tags = {**tags, ROWS_PER_STRIP: layout.chunk[1]}
    tree = Tree({})
    for tag, value in tags.items():
        if isinstance(value, bytes):
            tree.tags[tag] = (UNDEFINED, value)
        elif isinstance(value, list) and tag in _PLACES_OF_OLD_JPEG:
            tree.tags[tag] = (LONG, struct.pack(f"<{len(value)}I", *value))
        elif isinstance(value, list):
            tree.tags[tag] = (SHORT, struct.pack(f"<{len(value)}H", *value))
        else:
            tree.tags[tag] = (LONG, struct.pack("<I", value)) if tag in (WIDTH, HEIGHT, ROWS_PER_STRIP, TILE_WIDTH,
                TILE_HEIGHT, FAX_3, FAX_4) else (SHORT, struct.pack("<H", value))  # fmt: skip
    pair = (TILE_OFFSETS, TILE_BYTES) if layout.tiled else (STRIP_OFFSETS, STRIP_BYTES)
    for tag, numbers in zip(pair, (offsets, lengths), strict=True):
        tree.tags[tag] = (LONG, numbers.astype("<u4").tobytes())
    if len(out) >= 1 << 31:
        raise ImageError("is a compressed TIFF of more than 2 GiB, which is not supported")
    if libtiff.lacks(layout.compression):
        name = _COMPRESSIONS.get(layout.compression)
        raise ImageError(f"is a TIFF of compression {layout.compression}" + f" ({name})" * bool(name)
                         + ", which this installation of Pillow lacks")  # fmt: skip
    place = write_directory(out, tree)
    out[4:8] = struct.pack("<I", place)
    return libtiff.decode(bytes(out))
