"""Images that no model codes, or none codes smaller: raw, PNG or lossless WebP. See docs/format.md.

PNG and WebP carry arrays, and the mode byte says of what: CMYK goes as RGBA; in WebP L as RGB, LA as RGBA. Samples of
16 bits may be stored as two images, one of their high and one of their low bytes, which of photographs are a quarter
smaller than a PNG. Large images are cut into bands of rows, each an item of its own, so that a codec never needs more
memory than for one band.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bbcompress.codecs.progress import Progress
from bbcompress.errors import BBCError, FormatError, ImageError
from bbcompress.images.formats.png.convert import write_png
from bbcompress.images.formats.png.file import PNG_SIGNATURE
from bbcompress.images.image import PixelImage
from bbcompress.images.metadata import LEVELS
from bbcompress.images.read import read_image
from bbcompress.limits import MAX_PIXELS, MAX_SIDE
from bbcompress.wire import ByteReader, varint

RAW, PNG, WEBP, BANDS, BYTES, BYTE_DIFFERENCES = range(1, 7)

CODEC_NAMES = {RAW: "raw", PNG: "PNG", WEBP: "WebP"}

MAX_ITEM_PIXELS = 1 << 24
"""Most pixels of raw, PNG and WebP; what has more is cut into bands. WebP takes a few bytes for any number of pixels of
one colour, so this alone bounds what a forged item makes a reader allocate."""

BAND_PIXELS = 1 << 22
"""About so many pixels are in a band; a choice of the writer."""

MODE_CODES = {
    "1": 0,
    "L": 1,
    "LA": 2,
    "P": 3,
    "RGB": 4,
    "RGBA": 5,
    "I;16": 6,
    "CMYK": 7,
    "LA;16": 8,
    "RGB;16": 9,
    "RGBA;16": 10,
}
_MODES = {code: mode for mode, code in MODE_CODES.items()}

HAS_TRANSPARENCY = 0x80
"""Added to the mode code of images with a transparency, which PNG holds itself and raw lists."""

WEBP_SIDE = 16383
"""Longest side that WebP can have, in pixels."""

PROBE_MARGIN = 1.07
"""What the probe finds, less the repeated share, is at most so many times the whole fallback; measured by
benchmarks/fallback_probe.py."""

SIMPLE_BITS = 1.5
"""Below so many bits a pixel, as drawings and plain gradients have, a probe says too little: all is tried."""

PROBE_QUALITY = 30
"""WebP's effort in a probe; from 26 on it finds what a screenshot repeats nearby."""

PROBE_PIXELS = 1 << 22
PROBE_BANDS = 16
"""Of larger images so many bands, with so many pixels in all, are probed."""

_OF_CODING = frozenset(
    ("bit depth", "data behind the pixels", "data in the chunk of the end", "interlacing", "unused bits of the rows")
)
"""Of what a PNG says those names that speak of how its pixels are coded; the number of levels does, too."""

_WEBP_MODES = ("L", "LA", "RGB", "RGBA", "CMYK")
_BYTE_MODES = {"I;16": "L", "LA;16": "LA", "RGB;16": "RGB", "RGBA;16": "RGBA"}
_IEND = bytes.fromhex("0000000049454e44ae426082")
_SAMPLES = {"LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "LA;16": 2, "RGB;16": 3, "RGBA;16": 4}


def encode_item(image: PixelImage, progress: Progress | None = None) -> bytes:
    """The image, without metadata, in the fewest bytes of what codecs there are, above `MAX_ITEM_PIXELS` in bands.

    Only what decodes to the same image is taken. ImageError where nothing does.
    """
    image = image.without_metadata()
    if image.width * image.height > MAX_ITEM_PIXELS:
        return _encode_bands(image, progress)
    item = _encode_whole(image)
    if progress is not None:
        progress(image.width * image.height)
    return item


def png_item(image: PixelImage) -> bytes:
    """The image as a PNG, or raw where PNG cannot hold it: quickly, and hardly ever the fewest bytes."""
    try:
        return _encode_png(image.without_metadata())
    except (BBCError, OSError, ValueError):
        return _encode_raw(image)


def _encode_whole(image: PixelImage) -> bytes:
    candidates = [_encode_raw(image)]
    for encode in (_encode_png, _encode_webp, _encode_bytes):
        try:
            candidates.append(encode(image))
        except (
            BBCError,
            OSError,
            ValueError,
        ):  # this codec cannot hold the image, or was not built into Pillow
            continue
    for item in sorted(candidates, key=len):
        try:
            if decode_item(item, image.width * image.height) == image:
                return item
        except FormatError:
            continue
    raise ImageError(f"an image of mode {image.mode} and {image.width}x{image.height} pixels cannot be stored")


@dataclass(frozen=True)
class Probe:
    """What a quick look says of an image.

    size: about the bytes of a WebP made with little effort. repeated: share of the pixels that begin a row of 8, not
    all of them alike, which stands elsewhere in the image too: what only more effort finds.
    """

    size: float
    repeated: float
    pixels: int

    @property
    def least(self) -> float:
        """The fewest bytes that the whole fallback may take."""
        simple = 8 * self.size < SIMPLE_BITS * self.pixels
        return 0 if simple else self.size * (1 - self.repeated) / PROBE_MARGIN


def least_size(image: PixelImage) -> float:
    """The fewest bytes that :func:`encode_item` may take, found in a fraction of its time; 0 where nothing is known."""
    probed = probe(image)
    return 0 if probed is None else probed.least


def may_be_smaller(image: PixelImage, size: int) -> bool:
    """Whether :func:`encode_item` may take fewer bytes than `size`. If not, it does not."""
    return least_size(image) < size


def probe(image: PixelImage) -> Probe | None:
    """A quick look at an image; None where WebP, which looks, cannot hold it."""
    pixels = image.width * image.height
    width = min(image.width, WEBP_SIDE)
    if pixels <= PROBE_PIXELS:
        starts, rows = [0], image.height
    else:
        rows = max(1, PROBE_PIXELS // (PROBE_BANDS * image.width))
        bands = min(PROBE_BANDS, image.height // rows)
        starts = [number * (image.height - rows) // (bands - 1) for number in range(bands)] if bands > 1 else [0]
    size, looked, windows = 0, 0, []
    for start in starts:
        for top in range(start, start + rows, WEBP_SIDE):
            band = replace(image, pixels=image.pixels[top : min(top + WEBP_SIDE, start + rows), :width])
            try:
                size += len(_encode_webp(band, PROBE_QUALITY))
            except (OSError, ValueError):
                return None
            looked += band.width * band.height
            windows.append(_windows(band.pixels))
    found = np.sort(np.concatenate(windows))
    repeated = float(np.count_nonzero(found[1:] == found[:-1]) / looked)
    return Probe(size * pixels / looked, repeated, pixels)


def _windows(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """A hash of every row of 8 pixels that are not all alike."""
    hashed: npt.NDArray[np.uint64] = np.zeros((len(pixels), pixels.shape[1]), np.uint64)
    for sample in pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1):
        hashed = hashed << np.uint64(8) | sample
    alike = np.ones((len(hashed), max(0, hashed.shape[1] - 7)), np.bool_)
    for place in range(1, 8):
        alike &= hashed[:, place : place + alike.shape[1]] == hashed[:, : alike.shape[1]]
    for reach in (1, 2, 4):
        hashed ^= hashed >> np.uint64(29)
        hashed *= np.uint64(0x9E3779B97F4A7C15)
        hashed = hashed[:, :-reach] * np.uint64(0xD6E8FEB86659FD93) + (
            hashed[:, reach:] ^ hashed[:, reach:] >> np.uint64(32)
        )
    return hashed[~alike]


def decode_item(item: bytes, max_pixels: int = MAX_PIXELS, progress: Progress | None = None) -> PixelImage:
    """The image of an item. FormatError for anything that :func:`encode_item` does not write.

    The size is checked against `max_pixels` before anything is decoded.
    """
    if item[:1] == bytes([BANDS]):
        return _decode_bands(ByteReader(item, "a stored image"), max_pixels, progress)
    image = _decode_whole(ByteReader(item, "a stored image"), min(max_pixels, MAX_ITEM_PIXELS))
    if progress is not None:
        progress(image.width * image.height)
    return image


def item_size(item: bytes) -> tuple[int, int]:
    """Width and height that an item says it has; nothing is decoded. FormatError where it says none."""
    reader = ByteReader(item, "a stored image")
    codec = reader.take(2)[0]
    if codec in (RAW, BANDS):
        return reader.varint(MAX_SIDE, "the width"), reader.varint(MAX_SIDE, "the height")
    if codec == PNG:
        reader.take(8)  # the length and name of the header chunk
        return int.from_bytes(reader.take(4), "big"), int.from_bytes(reader.take(4), "big")
    if codec == WEBP:
        return _webp_size(reader.rest())
    if codec in (BYTES, BYTE_DIFFERENCES):
        part = reader.take(reader.varint(reader.remaining, "the length of the high bytes"))
        if part[:1] in (bytes([RAW]), bytes([PNG]), bytes([WEBP])):
            return item_size(part)
    raise FormatError("a stored image is of a codec that this version does not know")


def item_codec(item: bytes) -> str:
    """What stores the image of an item: raw, PNG or WebP, or two of them where its parts differ; nothing is decoded.

    FormatError where it is damaged.
    """
    return " and ".join(sorted(_codecs_of(item, (*CODEC_NAMES, BYTES, BYTE_DIFFERENCES, BANDS))))


def _codecs_of(item: bytes, allowed: Sequence[int]) -> set[str]:
    reader = ByteReader(item, "a stored image")
    codec = reader.take(2)[0]
    found: set[str] = set()
    if codec not in allowed:
        raise FormatError("a stored image is of a codec that this version does not know")
    if codec in CODEC_NAMES:
        return {CODEC_NAMES[codec]}
    if codec == BANDS:
        reader.varint(MAX_SIDE, "the width")
        reader.varint(reader.varint(MAX_SIDE, "the height"), "the height of a band")
        while reader.remaining:
            band = reader.take(reader.varint(reader.remaining, "the length of a band"))
            found |= _codecs_of(band, (*CODEC_NAMES, BYTES, BYTE_DIFFERENCES))
        return found
    high = reader.take(reader.varint(reader.remaining, "the length of the high bytes"))
    return _codecs_of(high, tuple(CODEC_NAMES)) | _codecs_of(reader.rest(), tuple(CODEC_NAMES))


def item_mode(item: bytes) -> str:
    """The mode that an item says its image has; nothing is decoded. FormatError where it says none."""
    return _mode(ByteReader(item, "a stored image").take(2)[1])


def _mode(code: int) -> str:
    mode = _MODES.get(code & ~HAS_TRANSPARENCY)
    if mode is None:
        raise FormatError("a stored image has a mode that this version does not know")
    return mode


def _decode_whole(reader: ByteReader, max_pixels: int) -> PixelImage:
    codec, code = reader.byte(), reader.byte()
    mode = _mode(code)
    decode = _DECODERS.get(codec)
    if decode is None:
        raise FormatError("a stored image is of a codec that this version does not know")
    try:
        image = decode(reader, mode, bool(code & HAS_TRANSPARENCY), max_pixels)
    except ImageError as fault:
        raise FormatError(f"a stored image is damaged: {fault}") from fault
    if (image.mode, bool(image.transparency)) != (mode, bool(code & HAS_TRANSPARENCY)):
        raise FormatError("a stored image is not of the mode that it says")
    return image


def _encode_bands(image: PixelImage, progress: Progress | None) -> bytes:
    rows = max(1, BAND_PIXELS // image.width)
    out = io.BytesIO()  # grows in place
    out.write(_start(BANDS, image) + varint(image.width) + varint(image.height) + varint(rows))
    for top in range(0, image.height, rows):
        band = PixelImage(image.mode, image.pixels[top : top + rows], image.palette, image.transparency)
        item = _encode_whole(band)
        out.write(varint(len(item)) + item)
        if progress is not None:
            progress(band.width * band.height)
    return out.getvalue()


def _decode_bands(reader: ByteReader, max_pixels: int, progress: Progress | None) -> PixelImage:
    start = reader.take(2)
    width, height = reader.varint(MAX_SIDE, "the width"), reader.varint(MAX_SIDE, "the height")
    _check_pixels(width, height, max_pixels)
    rows = reader.varint(height, "the height of a band")
    if width * height <= MAX_ITEM_PIXELS or rows < 1 or (rows > 1 and rows * width > MAX_ITEM_PIXELS):
        raise FormatError(f"a stored image of {width}x{height} pixels may not be cut into bands of {rows} rows")
    first: PixelImage | None = None
    for top in range(0, height, rows):
        shape = (min(rows, height - top), width)
        item = reader.take(reader.varint(reader.remaining, "the length of a band"))
        if item[1:2] != start[1:]:
            raise FormatError("a band of a stored image is not of the image's mode")
        band = _decode_whole(ByteReader(item, "a band of a stored image"), shape[0] * shape[1])
        if band.pixels.shape[:2] != shape:
            raise FormatError(f"a band of a stored image has {band.width}x{band.height} pixels")
        if first is None:  # only now: what is no image costs no memory
            first = band
            pixels = np.empty((height, *band.pixels.shape[1:]), band.pixels.dtype)
        if (band.palette, band.transparency) != (first.palette, first.transparency):
            raise FormatError("the bands of a stored image differ in palette or transparency")
        pixels[top : top + shape[0]] = band.pixels
        if progress is not None:
            progress(shape[0] * shape[1])
    reader.finish()
    pixels.flags.writeable = False
    return replace(band, pixels=pixels)


def _start(codec: int, image: PixelImage) -> bytes:
    return bytes([codec, MODE_CODES[image.mode] | HAS_TRANSPARENCY * bool(image.transparency)])


def _encode_raw(image: PixelImage) -> bytes:
    parts = [_start(RAW, image), varint(image.width), varint(image.height)]
    if image.mode == "P":
        parts += [varint(len(image.palette) // 3), image.palette]
    if image.transparency:
        parts += [varint(len(image.transparency)), image.transparency]
    if image.mode == "1":
        pixels = np.packbits(image.pixels)  # the rows follow each other without padding
    else:
        pixels = image.pixels.astype(image.pixels.dtype.newbyteorder("<"), copy=False)
    return b"".join([*parts, pixels.tobytes()])


def _decode_raw(reader: ByteReader, mode: str, transparent: bool, max_pixels: int) -> PixelImage:
    width, height = reader.varint(MAX_SIDE, "the width"), reader.varint(MAX_SIDE, "the height")
    _check_pixels(width, height, max_pixels)
    palette = reader.take(3 * reader.varint(256, "the number of colours")) if mode == "P" else b""
    transparency = reader.take(reader.varint(256, "the length of the transparency")) if transparent else b""
    data = reader.rest()
    samples = _SAMPLES.get(mode, 1)
    bits = width * height * samples * (1 if mode == "1" else 16 if mode.endswith(";16") else 8)
    if len(data) != (bits + 7) // 8:
        raise FormatError(f"a stored image of {width}x{height} pixels has {len(data)} bytes")
    if mode == "1":
        flat = np.unpackbits(np.frombuffer(data, np.uint8)).astype(np.bool_)
        if flat[bits:].any():
            raise FormatError("a stored image has bits behind its last pixel")
        pixels = flat[:bits]
    elif mode.endswith(";16"):
        pixels = np.frombuffer(data, "<u2").astype(np.uint16)
    else:
        pixels = np.frombuffer(data, np.uint8)
    return PixelImage(mode, pixels.reshape(height, width, *([samples] if samples > 1 else [])), palette, transparency)


def _encode_png(image: PixelImage) -> bytes:
    """A PNG less its signature and its end chunk, which are constant."""
    carrier = PixelImage("RGBA", image.pixels) if image.mode == "CMYK" else image
    data = write_png(carrier, optimize=True)
    if not (data.startswith(PNG_SIGNATURE) and data.endswith(_IEND)):
        raise ValueError("not the PNG that we know")
    return _start(PNG, image) + data[len(PNG_SIGNATURE) : -len(_IEND)]


def _decode_png(reader: ByteReader, mode: str, transparent: bool, max_pixels: int) -> PixelImage:
    data = reader.rest()
    carrier = _exactly(PNG_SIGNATURE + data + _IEND, "PNG", max_pixels)
    return PixelImage("CMYK", carrier.pixels) if mode == "CMYK" and carrier.mode == "RGBA" else carrier


def _encode_webp(image: PixelImage, quality: int = 100) -> bytes:
    """The VP8L bit stream of a lossless WebP; the container around it follows from it. quality: the effort."""
    if max(image.size) > WEBP_SIDE or not image.plain or image.mode not in _WEBP_MODES:
        raise ValueError("WebP does not hold such images")
    pixels = image.pixels
    if image.mode == "L":
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    elif image.mode == "LA":
        pixels = pixels[:, :, [0, 0, 0, 1]]
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", lossless=True, exact=True, method=4, quality=quality)
    data = out.getvalue()
    reader = ByteReader(data, "a WebP", 8)
    if reader.take(8) != b"WEBPVP8L":
        raise ValueError("not the WebP that we know")
    return _start(WEBP, image) + reader.take(int.from_bytes(reader.take(4), "little"))


def _decode_webp(reader: ByteReader, mode: str, transparent: bool, max_pixels: int) -> PixelImage:
    if mode not in _WEBP_MODES:
        raise FormatError(f"a stored WebP cannot be of mode {mode}")
    stream = reader.rest()
    _check_pixels(*_webp_size(stream), max_pixels)
    chunk = b"WEBPVP8L" + struct.pack("<I", len(stream)) + stream + b"\0" * (len(stream) % 2)
    carrier = _exactly(b"RIFF" + struct.pack("<I", len(chunk)) + chunk, "WEBP", max_pixels)
    pixels = carrier.pixels
    if mode in ("L", "LA"):
        if not np.array_equal(pixels[:, :, :1].repeat(2, axis=2), pixels[:, :, 1:3]):
            raise FormatError("a stored grey image has colours")
        pixels = pixels[:, :, 0] if mode == "L" else pixels[:, :, [0, -1]]
    if mode in ("LA", "RGBA", "CMYK") and carrier.mode == "RGB":
        # WebP leaves out an alpha that is opaque everywhere.
        colours = pixels[:, :, :1] if mode == "LA" else pixels
        pixels = np.concatenate([colours, np.full((*colours.shape[:2], 1), 255, np.uint8)], axis=2)
    return PixelImage(mode, pixels)


def _encode_bytes(image: PixelImage) -> bytes:
    """The high bytes of 16-bit samples as an image of 8 bits, then the low ones, or what these differ by."""
    if not image.mode.endswith(";16") or not image.plain:
        raise ValueError("the samples have one byte, or a transparency of two")
    mode = _BYTE_MODES[image.mode]
    high, low = (image.pixels >> 8).astype(np.uint8), image.pixels.astype(np.uint8)
    codec = BYTES
    if np.array_equal(high, low):  # 8 bits, spread over 16
        codec, low = BYTE_DIFFERENCES, np.zeros_like(low)
    part = _encode_whole(PixelImage(mode, high))
    return _start(codec, image) + varint(len(part)) + part + _encode_whole(PixelImage(mode, low))


def _decode_bytes(reader: ByteReader, mode: str, transparent: bool, max_pixels: int) -> PixelImage:
    if mode not in _BYTE_MODES or transparent:
        raise FormatError(f"a stored image of mode {mode} has no two images of bytes")
    high_item = reader.take(reader.varint(reader.remaining, "the length of the high bytes"))
    start = bytes([MODE_CODES[_BYTE_MODES[mode]]])
    parts = []
    for item in (high_item, reader.rest()):
        if item[:1] not in (bytes([RAW]), bytes([PNG]), bytes([WEBP])) or item[1:2] != start:
            raise FormatError("the bytes of a stored image are not stored as an image of bytes")
        parts.append(_decode_whole(ByteReader(item, "the bytes of a stored image"), max_pixels).pixels)
    high, low = parts
    if high.shape != low.shape:
        raise FormatError("the high and low bytes of a stored image are of different sizes")
    return PixelImage(mode, high.astype(np.uint16) << 8 | low)


def _decode_differences(reader: ByteReader, mode: str, transparent: bool, max_pixels: int) -> PixelImage:
    stored = _decode_bytes(reader, mode, transparent, max_pixels)
    high = stored.pixels >> 8
    return replace(stored, pixels=high << 8 | (stored.pixels + high & 0xFF))


def _webp_size(stream: bytes) -> tuple[int, int]:
    if len(stream) < 5 or stream[0] != 0x2F:
        raise FormatError("a stored WebP does not begin with a header")
    sides = int.from_bytes(stream[1:5], "little")
    return (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1


def _exactly(data: bytes, form: str, max_pixels: int) -> PixelImage:
    image = read_image(data, f"its {form}", max_pixels, (form,))
    if {*image.lost} - _OF_CODING or any(record.kind != LEVELS for record in image.metadata):
        raise FormatError(f"a stored {form} has metadata")
    return image.without_metadata()


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise FormatError(f"a stored image of {width}x{height} is above the limit of {max_pixels} pixels")


_DECODERS: dict[int, Callable[[ByteReader, str, bool, int], PixelImage]] = {
    RAW: _decode_raw,
    PNG: _decode_png,
    WEBP: _decode_webp,
    BYTES: _decode_bytes,
    BYTE_DIFFERENCES: _decode_differences,
}
