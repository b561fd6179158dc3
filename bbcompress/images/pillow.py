"""Images of ours as Pillow's and back, with what both can say beside the pixels."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from bbcompress import arguments
from bbcompress.errors import BBCError, ImageError
from bbcompress.images.decoders import pixels_in
from bbcompress.images.image import MODES, PixelImage, Pixels
from bbcompress.images.metadata import (
    CHUNK_BEFORE_PALETTE,
    CHUNKS,
    EXIF,
    ICC,
    INTERNATIONAL_TEXT,
    PER_INCH,
    PER_METRE,
    PIXEL_ASPECT,
    RESOLUTION,
    TEXT,
    XMP,
    XMP_KEYWORD,
    Metadata,
    Record,
    parse_resolution,
    resolution,
    within_limits,
)

PILLOW_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")
"""Modes of ours that Pillow has."""

_EXIF_START = b"Exif\0\0"
_COMMENT = "Comment"
_MEANT = {
    "aspect", "background", "bbox", "chromaticity", "comment", "compression", "default_image", "disposal", "dpi",
    "duration", "exif", "gamma", "icc_profile", "interlace", "loop", "name", "srgb", "timestamp", "transparency",
    "xmp",
}  # fmt: skip
"""Names in `info` that mean something to Pillow; a text of such a keyword is in `text` alone."""

_METRES_PER_INCH = 0.0254
_MOST_UNDER = 1 << 16  # denominator of a resolution that Pillow gives as a float
_CHUNK_UNIT = 100_000  # of PNG's gamma and chromaticities


def bare_pillow(image: PixelImage) -> Image.Image:
    """Pixels and palette as an image of Pillow.

    Raises:
        ValueError: Pillow lacks the image's mode.
    """
    if image.mode == "1":
        return Image.frombytes("1", image.size, np.packbits(image.pixels, axis=1))
    little_endian = image.pixels.astype(image.pixels.dtype.newbyteorder("<"), copy=False)
    made = Image.frombytes(image.mode, image.size, little_endian)
    if image.mode == "P":
        made.putpalette(image.palette, "RGB")
    return made


@arguments.checked
def to_pillow(image: PixelImage) -> Image.Image:
    """The image as one of Pillow: mode, palette, transparency (`info["transparency"]`), and the metadata in `info`.

    Raises:
        ImageError: Pillow has no images of the mode: LA, RGB and RGBA of 16 bits a sample.
    """
    if not isinstance(image, PixelImage):
        raise ImageError(f"a {type(image).__name__} is no PixelImage")
    check_mode(image.mode)
    made = bare_pillow(image)
    made.info.update(info_of(image.metadata))
    if image.transparency:
        made.info["transparency"] = transparency_of(image)
    return made


def check_mode(mode: str) -> None:
    """Raises ImageError for modes of ours that Pillow lacks."""
    if mode not in PILLOW_MODES:
        raise ImageError(f"Pillow has no images of mode {mode}; bbcompress.open() gives the pixels as an array")


def transparency_of(image: PixelImage) -> bytes | int | tuple[int, ...]:
    """What Pillow has as `info["transparency"]` of an image that has one."""
    if image.mode == "P":
        return image.transparency
    key = struct.unpack(f">{len(image.transparency) // 2}H", image.transparency)
    if image.mode == "1":
        return 255 * int(key[0])
    return key if image.mode == "RGB" else int(key[0])


@arguments.checked
def from_pillow(image: Image.Image, given: Mapping[str, Any] | None = None) -> PixelImage:
    """An image of Pillow as one of ours: its pixels as Pillow has them, palette, transparency, and of `info` the ICC
    profile, EXIF, XMP, resolution, comment, gamma, sRGB and chromaticities; of PNGs that Pillow opened also the texts.

    Of several frames it is the current one. Pillow loads PNGs of 16 bits a channel as 8; one that is not loaded yet is
    refused, and `read_image` reads it exactly.

    Args:
        given: under the names of `info`, what counts in place of what `info` says; None leaves it out.

    Raises:
        ImageError: the mode, palette or transparency is of a kind that is not supported, or Pillow cannot load the
            pixels. FormatError, ModelError: it is an opened .bbc file, whose pixels cannot be decoded.
    """
    if not isinstance(image, Image.Image):
        raise ImageError(f"a {type(image).__name__} is no image of Pillow")
    if not all(image.size):
        raise ImageError(f"an image of {image.width}x{image.height} is empty")
    if image.mode != "I;16" and any(str(part[3]).endswith(";16B") for part in getattr(image, "tile", ())):
        raise ImageError("is of 16 bits a channel, which Pillow reads as 8; bbcompress.read_image() reads it exactly")
    _load(image)
    if image.mode == "P" and image.palette is not None and image.palette.mode == "RGBA":
        plain = _of_alpha_palette(image)
    else:
        plain = pixels_of(image)
    metadata, lost = within_limits(_records(dict(image.info) | dict(given or {}), _texts(image)))
    return PixelImage(plain.mode, plain.pixels, plain.palette, plain.transparency, lost, metadata)


def _load(image: Image.Image) -> None:
    """Let Pillow read the pixels of a file that it has only opened.

    Raises:
        ImageError: Pillow cannot read them.
    """
    try:
        image.load()
    except (BBCError, MemoryError):
        raise
    except Exception as error:  # its readers raise nearly anything on damaged files
        place = getattr(image, "filename", "") or "the image"
        closed = getattr(image, "fp", image) is None  # Pillow's own error has no words then
        reason = " ".join(str(error).split())[:120] or ("its file is closed" if closed else type(error).__name__)
        raise ImageError(f"{place}: cannot be read: {reason}") from error


def _of_alpha_palette(image: Image.Image) -> PixelImage:
    """Pixels of a palette of colours with alpha, as Pillow makes them of RGBA: colours and their transparency."""
    colours = np.frombuffer(bytes(image.getpalette("RGBA") or []), np.uint8).reshape(-1, 4)[:256]
    pixels = np.asarray(image)
    if int(pixels.max()) >= len(colours):
        raise ImageError("the palette does not fit the pixels")
    return PixelImage("P", pixels, colours[:, :3].tobytes(), colours[:, 3].tobytes().rstrip(b"\xff"))


def info_of(metadata: Metadata) -> dict[str, Any]:
    """The metadata as Pillow's readers put it into `info`: bytes, numbers, and texts under their keywords."""
    info: dict[str, Any] = {key: text for key, text in texts_of(metadata).items() if key not in _MEANT}
    for kind, data in metadata:
        if kind == ICC:
            info["icc_profile"] = data.partition(b"\0")[2]
        elif kind == EXIF:
            info["exif"] = _EXIF_START + data
        elif kind == XMP:
            info["xmp"] = data
        elif kind == RESOLUTION:
            info.update(_info_of_resolution(Record(kind, data)))
        elif kind in CHUNKS:
            info.update(_info_of_chunk(data[:4], data[4:]))
    return info


def texts_of(metadata: Metadata) -> dict[str, str]:
    """The texts by their keywords, as the `text` of Pillow's PNGs is; of one keyword the last."""
    texts: dict[str, str] = {}
    for kind, data in metadata:
        if kind == TEXT:
            key, _, value = data.partition(b"\0")
            texts[key.decode("latin-1")] = value.decode("latin-1")
        elif kind == INTERNATIONAL_TEXT:
            key, language, translated, text = data.split(b"\0", 3)
            parts = (part.decode("utf-8", "replace") for part in (text, language, translated))
            texts[key.decode("latin-1")] = PngImagePlugin.iTXt(*parts)
    return texts


def _info_of_resolution(record: Record) -> dict[str, Any]:
    unit, x, y = parse_resolution(record)
    if unit == PIXEL_ASPECT:
        return {"aspect": (x[0] * y[1], y[0] * x[1])}
    factor = _METRES_PER_INCH if unit == PER_METRE else 1
    return {"dpi": (x[0] / x[1] * factor, y[0] / y[1] * factor)}


def _info_of_chunk(name: bytes, body: bytes) -> dict[str, Any]:
    if name == b"gAMA" and len(body) == 4:
        return {"gamma": struct.unpack(">I", body)[0] / _CHUNK_UNIT}
    if name == b"cHRM" and len(body) == 32:
        return {"chromaticity": tuple(value / _CHUNK_UNIT for value in struct.unpack(">8I", body))}
    if name == b"sRGB" and len(body) == 1:
        return {"srgb": body[0]}
    return {}


def _texts(image: Image.Image) -> dict[str, str]:
    texts = getattr(image, "text", None)
    return texts if isinstance(texts, dict) else {}


def _records(info: Mapping[Any, Any], texts: Mapping[str, str]) -> Iterator[Record]:
    """What is said under the names that Pillow's readers and writers use. Other values are no metadata of ours."""
    if (profile := _as_bytes(info.get("icc_profile"))) is not None:
        yield Record(ICC, b"\0" + profile)
    exif = info.get("exif")
    if (block := _as_bytes(exif.tobytes() if isinstance(exif, Image.Exif) else exif)) is not None:
        yield Record(EXIF, block.removeprefix(_EXIF_START))
    xmp = info.get("xmp")
    if (packet := _as_bytes(xmp.encode() if isinstance(xmp, str) else xmp)) is not None:
        yield Record(XMP, packet)
    for key, value in texts.items():
        if key != XMP_KEYWORD.decode("ascii"):
            yield _text(key, value)
    if (comment := info.get("comment")) and isinstance(comment, bytes | str) and _COMMENT not in texts:
        yield _text(_COMMENT, comment.decode("latin-1") if isinstance(comment, bytes) else comment)
    if (record := _resolution(info)) is not None:
        yield record
    yield from _colour_chunks(info)


def _as_bytes(value: object) -> bytes | None:
    """What there is of it; None for nothing."""
    return value if isinstance(value, bytes) and value else None


def _text(key: str, value: str) -> Record:
    name = key.encode("latin-1", "replace")
    if not isinstance(value, PngImagePlugin.iTXt):
        try:
            return Record(TEXT, name + b"\0" + value.encode("latin-1"))
        except UnicodeEncodeError:
            pass
    parts = (getattr(value, "lang", None), getattr(value, "tkey", None), value)
    encoded = ((part or "").encode("utf-8", "replace") for part in parts)
    return Record(INTERNATIONAL_TEXT, b"\0".join((name, *encoded)))


def _resolution(info: Mapping[Any, Any]) -> Record | None:
    if (pair := _numbers(info.get("dpi"), 2)) is not None:
        metres = [value / _METRES_PER_INCH for value in pair]
        if all(value != round(value) for value in pair) and all(abs(value - round(value)) < 1e-6 for value in metres):
            return resolution(PER_METRE, (round(metres[0]), 1), (round(metres[1]), 1))  # as a PNG says it
        x, y = (Fraction(value).limit_denominator(_MOST_UNDER).as_integer_ratio() for value in pair)
        return resolution(PER_INCH, x, y)
    if (pair := _numbers(info.get("aspect"), 2)) is not None:
        x, y = (Fraction(value).limit_denominator(_MOST_UNDER).as_integer_ratio() for value in pair)
        return resolution(PIXEL_ASPECT, x, y)
    return None


def _colour_chunks(info: Mapping[Any, Any]) -> Iterator[Record]:
    numbers = _numbers(info.get("chromaticity"), 8)
    for name, values in ((b"cHRM", numbers), (b"gAMA", _numbers((info.get("gamma"),), 1))):
        whole = [round(value * _CHUNK_UNIT) for value in values or ()]
        if whole and all(0 <= value < 1 << 32 for value in whole):
            yield Record(CHUNK_BEFORE_PALETTE, name + struct.pack(f">{len(whole)}I", *whole))
    if isinstance(intent := info.get("srgb"), int) and 0 <= intent < 256:
        yield Record(CHUNK_BEFORE_PALETTE, b"sRGB" + bytes([intent]))


def _numbers(value: object, count: int) -> tuple[float, ...] | None:
    """So many finite numbers, as any type of theirs; None for anything else."""
    if not isinstance(value, tuple | list) or len(value) != count:
        return None
    try:
        numbers = tuple(float(number) for number in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def image_of(file: Image.Image) -> PixelImage:
    """The image of a file that Pillow has opened, without its metadata."""
    if file.mode not in MODES:
        raise ImageError(f"is of mode {file.mode}, which is not supported")
    return _with_colours(file, file.mode, pixels_in(file, MODES[file.mode][0]))


def pixels_of(image: Image.Image) -> PixelImage:
    """Pixels, palette and transparency of an image that Pillow has in memory or has opened, without its metadata.

    ImageError, one line, for modes that are not supported.
    """
    mode = "I;16" if image.mode.startswith("I;16") else image.mode
    if mode not in MODES:
        raise ImageError(f"images of mode {mode} are not supported; Pillow's convert() makes others of them")
    return _with_colours(image, mode, pixels_in(image, MODES[mode][0]))


def _with_colours(file: Image.Image, mode: str, pixels: Pixels) -> PixelImage:
    """The image of these pixels, with palette and transparency as Pillow has them."""
    palette = _palette(file, pixels) if mode == "P" else b""
    transparency = _transparency(mode, file.info.get("transparency"), len(palette) // 3)
    return PixelImage(mode, pixels, palette, transparency)


def _palette(file: Image.Image, pixels: Pixels) -> bytes:
    if file.palette is None or file.palette.mode != "RGB":
        raise ImageError("has a palette of a kind that is not supported")
    return filled_up(bytes(file.getpalette("RGB") or [])[: 3 * 256], pixels)[0]


def filled_up(palette: bytes, pixels: Pixels) -> tuple[bytes, bool]:
    """A palette, filled up with black to the colours that the pixels use, and whether that was needed."""
    filled = palette.ljust(3 * (int(pixels.max()) + 1), b"\0")
    return filled, len(filled) > len(palette)


def _transparency(mode: str, value: object, colours: int) -> bytes:
    """Pillow's `info["transparency"]` as PixelImage has it."""
    if value is None:
        return b""
    if mode == "P":
        alpha = b"\xff" * value + b"\0" if isinstance(value, int) else value
        if isinstance(alpha, bytes):
            return alpha[:colours]
    elif mode == "RGB" and isinstance(value, tuple) and len(value) == 3:
        return struct.pack(">3H", *(sample & 0xFF for sample in value))
    elif mode in ("1", "L") and isinstance(value, int):
        return struct.pack(">H", int(value != 0) if mode == "1" else value & 0xFF)
    elif mode == "I;16" and isinstance(value, int):
        return struct.pack(">H", value & 0xFFFF)
    raise ImageError("has a transparency of a kind that is not supported")
