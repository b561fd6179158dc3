"""PNG files as images, and back."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from bbcompress.errors import ImageError
from bbcompress.images.decoders import check_size
from bbcompress.images.formats.png.animation import Apng, parse_apng, read_pictures
from bbcompress.images.formats.png.file import Png, add_chunks, can_write, parse_png, read_pixels, write_pixels
from bbcompress.images.formats.png.metadata import chunks_of, depth_of, names_of_frames, read_metadata
from bbcompress.images.formats.registry import Pictures
from bbcompress.images.image import BAND_PIXELS, KEY_BYTES, PixelImage, Pixels
from bbcompress.images.metadata import CHUNKS, LEVELS, Metadata, Record, depth_of_colours, names_of
from bbcompress.images.pillow import bare_pillow, filled_up


def read(data: bytes, max_pixels: int) -> Pictures:
    """As `ImageFormat.read`."""
    source = parse_png(data)
    check_size(source.width, source.height, max_pixels)
    animation = parse_apng(source)
    if animation is not None:
        return Pictures(animation.count, _frames(animation))
    return Pictures(1, map(_image, [source]))


def _frames(animation: Apng) -> Iterator[PixelImage]:
    source = animation.source
    found, lost = read_metadata(source)
    for pixels, native, behind in read_pictures(animation):
        mode = source.mode if native else _mode_of(pixels)
        metadata = found if mode == source.mode else tuple(filter(_is_of_any_mode, found))
        names = {*lost, *names_of(set(found) - set(metadata)), *animation.lost, *behind}
        palette = b""
        if mode == "P":
            palette, metadata = _palette(source, pixels, metadata, names)
        yield PixelImage(mode, pixels, palette, b"", tuple(sorted(names)), metadata)


def _is_of_any_mode(record: Record) -> bool:
    """Whether what a PNG says means the same when its pixels become others."""
    return record.kind != LEVELS and (record.kind not in CHUNKS or record.data[:4] in _OF_ANY_MODE)


_OF_ANY_MODE = frozenset(b"cHRM cICP cLLI gAMA mDCV oFFs pCAL sCAL sRGB sTER tIME".split())


def _image(source: Png) -> PixelImage:
    names: set[str] = set()
    pixels = read_pixels(source, names)
    metadata, lost = read_metadata(source)
    palette = b""
    if source.mode == "P":
        palette, metadata = _palette(source, pixels, metadata, names)
    transparency, left_out = _transparency(source, len(palette) // 3)
    names.update(lost, left_out, names_of_frames(source))
    return PixelImage(source.mode, pixels, palette, transparency, tuple(sorted(names)), metadata)


def _palette(source: Png, pixels: Pixels, metadata: Metadata, names: set[str]) -> tuple[bytes, Metadata]:
    """The palette, filled up where pixels use more, and the metadata that fits it.

    Args:
        names: gets what is not kept.
    """
    palette, filled = filled_up(source.palette, pixels)
    if filled:
        names.add("number of colours")
    colours = len(palette) // 3
    usual = depth_of_colours(colours)
    if colours > 1 << source.bit_depth or usual == source.bit_depth:
        metadata = tuple(record for record in metadata if record.kind != LEVELS)
        if usual != source.bit_depth:
            names.add("bit depth")
    return palette, metadata


def _transparency(source: Png, colours: int) -> tuple[bytes, tuple[str, ...]]:
    """The tRNS chunk as PixelImage has it, and the names of what is left out."""
    mode, stored = source.mode, source.transparency
    if stored is None:
        return b"", ()
    if mode == "P":
        lost = ("transparency of colours that are none",) if len(stored) > colours or not stored else ()
        return stored[:colours], lost
    if mode not in KEY_BYTES:
        return b"", ("transparent colour beside alpha",)
    if len(stored) != KEY_BYTES[mode]:
        raise ImageError("is damaged: its transparency chunk does not hold a colour of its kind")
    found = struct.unpack(f">{len(stored) // 2}H", stored)
    values = [value & (1 << source.bit_depth) - 1 for value in found]
    unused = ("unused bits of the transparency",) if list(found) != values else ()
    return struct.pack(f">{len(values)}H", *(value * source.scale for value in values)), unused


def _mode_of(pixels: Pixels) -> str:
    """The mode of pixels of colours, with alpha or without."""
    samples = pixels.shape[2] if pixels.ndim > 2 else 1
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[samples]
    return mode if pixels.dtype == np.uint8 else "I;16" if mode == "L" else f"{mode};16"


def write(image: PixelImage, kind: str) -> bytes:
    """As `ImageFormat.write`."""
    return write_png(image)


def write_png(image: PixelImage, optimize: bool = False) -> bytes:
    """A PNG that reads back as the same image; the same bytes each time.

    Args:
        optimize: smaller and slower; needs more memory.

    Raises:
        ImageError: the image is CMYK.
    """
    if image.mode == "CMYK":
        raise ImageError("PNG cannot hold CMYK")
    depth = depth_of(image.mode, image.transparency, image.metadata)
    level = 9 if optimize else 6
    if depth is not None:
        key = _divided(image.transparency, 255 // ((1 << depth) - 1)) if image.mode == "L" else image.transparency
        data = write_pixels(image.mode, image.pixels, key, level, depth, image.palette)
    elif can_write(image.mode) and (
        image.mode not in _PILLOW_MODES or (not optimize and image.width * image.height > BAND_PIXELS)
    ):
        data = write_pixels(image.mode, image.pixels, image.transparency, level)
    else:
        data = _by_pillow(image, optimize)
    return add_chunks(data, chunks_of(image.metadata, depth)) if image.metadata else data


def _divided(transparency: bytes, by: int) -> bytes:
    return struct.pack(">H", struct.unpack(">H", transparency)[0] // by) if transparency else b""


_PILLOW_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def _by_pillow(image: PixelImage, optimize: bool) -> bytes:
    out = io.BytesIO()
    transparency: bytes | int | tuple[int, ...] | None = None
    if image.mode == "P":
        transparency = image.transparency or None
    elif image.transparency:
        key = struct.unpack(f">{len(image.transparency) // 2}H", image.transparency)
        transparency = key if image.mode == "RGB" else key[0]
    options: dict[str, Any] = {} if transparency is None else {"transparency": transparency}
    bare_pillow(image).save(out, "PNG", optimize=optimize, **options)
    return out.getvalue()
