"""The codecs of the fallback that store the whole of an image: raw, PNG, lossless WebP, and that of samples of 16 bits;
a new one is an entry of `CODECS`. See docs/format.md.

PNG and WebP carry arrays, and the mode byte says of what: CMYK goes as RGBA; in WebP L as RGB, LA as RGBA.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from bbcompress.codecs.fallback.deep import decode_deep, encode_deep
from bbcompress.errors import FormatError
from bbcompress.images.formats.png.convert import write_png
from bbcompress.images.formats.png.file import PNG_SIGNATURE
from bbcompress.images.image import PixelImage, samples_of
from bbcompress.images.metadata import LEVELS
from bbcompress.images.read import read_image
from bbcompress.limits import MAX_SIDE
from bbcompress.wire import ByteReader, varint

RAW, PNG, WEBP, BANDS, BYTES, BYTE_DIFFERENCES, KEPT, DEEP = range(1, 9)

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

_OF_CODING = frozenset(
    ("bit depth", "data behind the pixels", "data in the chunk of the end", "interlacing", "unused bits of the rows")
)
"""Of what a PNG says those names that speak of how its pixels are coded; the number of levels does, too."""

_WEBP_MODES = ("L", "LA", "RGB", "RGBA", "CMYK")
_IEND = bytes.fromhex("0000000049454e44ae426082")


@dataclass(frozen=True)
class FallbackCodec:
    """A way to store the whole of an image.

    code: of its items, the first byte. name: what is told. encode: an item, with its codec and mode; BBCError, OSError
    or ValueError where it cannot hold the image. decode: what follows the codec and mode of an item, the mode, whether
    there is a transparency, and most pixels. size: width and height, as what follows these two bytes says.
    """

    code: int
    name: str
    encode: Callable[[PixelImage], bytes]
    decode: Callable[[ByteReader, str, bool, int], PixelImage]
    size: Callable[[ByteReader], tuple[int, int]]


def start_of(codec: int, image: PixelImage) -> bytes:
    """The first two bytes of an item: codec and mode."""
    return bytes([codec, MODE_CODES[image.mode] | HAS_TRANSPARENCY * bool(image.transparency)])


def mode_of(code: int) -> str:
    """The mode of a code. Raises FormatError."""
    mode = _MODES.get(code & ~HAS_TRANSPARENCY)
    if mode is None:
        raise FormatError("a stored image has a mode that this version does not know")
    return mode


def encode_raw(image: PixelImage) -> bytes:
    """The samples as they are, eight of a bilevel image in a byte, behind size, palette and transparency."""
    parts = [start_of(RAW, image), varint(image.width), varint(image.height)]
    if image.mode == "P":
        parts += [varint(len(image.palette) // 3), image.palette]
    if image.transparency:
        parts += [varint(len(image.transparency)), image.transparency]
    if image.mode == "1":
        pixels = np.packbits(image.pixels)  # the rows follow each other without padding
    else:
        pixels = image.pixels.astype(image.pixels.dtype.newbyteorder("<"), copy=False)
    return b"".join([*parts, pixels.tobytes()])


def decode_raw(reader: ByteReader, mode: str, transparent: bool, max_pixels: int) -> PixelImage:
    """Raises FormatError, ImageError."""
    width, height = _raw_size(reader)
    check_pixels(width, height, max_pixels)
    palette = reader.take(3 * reader.varint(256, "the number of colours")) if mode == "P" else b""
    transparency = reader.take(reader.varint(256, "the length of the transparency")) if transparent else b""
    data = reader.rest()
    samples = samples_of(mode)
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


def encode_png(image: PixelImage) -> bytes:
    """A PNG less its signature and its end chunk, which are constant."""
    carrier = PixelImage("RGBA", image.pixels) if image.mode == "CMYK" else image
    data = write_png(carrier, optimize=True)
    if not (data.startswith(PNG_SIGNATURE) and data.endswith(_IEND)):
        raise ValueError("not the PNG that we know")
    return start_of(PNG, image) + data[len(PNG_SIGNATURE) : -len(_IEND)]


def decode_png(reader: ByteReader, mode: str, transparent: bool, max_pixels: int) -> PixelImage:
    """Raises FormatError, ImageError."""
    data = reader.rest()
    carrier = _exactly(PNG_SIGNATURE + data + _IEND, "PNG", max_pixels)
    return PixelImage("CMYK", carrier.pixels) if mode == "CMYK" and carrier.mode == "RGBA" else carrier


def encode_webp(image: PixelImage, quality: int = 100) -> bytes:
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
    return start_of(WEBP, image) + reader.take(int.from_bytes(reader.take(4), "little"))


def decode_webp(reader: ByteReader, mode: str, transparent: bool, max_pixels: int) -> PixelImage:
    """Raises FormatError, ImageError."""
    if mode not in _WEBP_MODES:
        raise FormatError(f"a stored WebP cannot be of mode {mode}")
    stream = reader.rest()
    check_pixels(*webp_size(stream), max_pixels)
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


def webp_size(stream: bytes) -> tuple[int, int]:
    """Width and height of a VP8L bit stream. Raises FormatError."""
    if len(stream) < 5 or stream[0] != 0x2F:
        raise FormatError("a stored WebP does not begin with a header")
    sides = int.from_bytes(stream[1:5], "little")
    return (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1


def _exactly(data: bytes, form: str, max_pixels: int) -> PixelImage:
    image = read_image(data, f"its {form}", max_pixels, (form,))
    if {*image.lost} - _OF_CODING or any(record.kind != LEVELS for record in image.metadata):
        raise FormatError(f"a stored {form} has metadata")
    return image.without_metadata()


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raises FormatError where an image has more."""
    if width * height > max_pixels:
        raise FormatError(f"a stored image of {width}x{height} is above the limit of {max_pixels} pixels")


def _encode_deep(image: PixelImage) -> bytes:
    return encode_deep(start_of(DEEP, image), image)


def _decode_deep(reader: ByteReader, mode: str, transparent: bool, max_pixels: int) -> PixelImage:
    """Raises FormatError."""
    size = _raw_size(reader)
    check_pixels(*size, max_pixels)
    return decode_deep(reader, mode, transparent, size)


def _raw_size(reader: ByteReader) -> tuple[int, int]:
    return reader.varint(MAX_SIDE, "the width"), reader.varint(MAX_SIDE, "the height")


def _png_size(reader: ByteReader) -> tuple[int, int]:
    reader.take(8)  # the length and name of the header chunk
    return int.from_bytes(reader.take(4), "big"), int.from_bytes(reader.take(4), "big")


CODECS = {
    codec.code: codec
    for codec in (
        FallbackCodec(RAW, "raw", encode_raw, decode_raw, _raw_size),
        FallbackCodec(PNG, "PNG", encode_png, decode_png, _png_size),
        FallbackCodec(WEBP, "WebP", encode_webp, decode_webp, lambda reader: webp_size(reader.rest())),
        FallbackCodec(DEEP, "deep", _encode_deep, _decode_deep, _raw_size),
    )
}
"""By their codes."""
