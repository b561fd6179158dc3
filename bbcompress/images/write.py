"""Images as files of lossless formats, from which the same image is read, with its metadata; or not at all."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from bbcompress.errors import ImageError
from bbcompress.images.formats import bmp, gif, netpbm, png, tiff
from bbcompress.images.formats.png_metadata import chunks_of, depth_of
from bbcompress.images.image import BAND_PIXELS, PixelImage, read_image
from bbcompress.images.metadata import EXIF, ICC, XMP, names_of
from bbcompress.images.pillow import bare_pillow

PNG, TIFF, WEBP, BMP, GIF, PPM, PGM, PBM = "png", "tiff", "webp", "bmp", "gif", "ppm", "pgm", "pbm"
FORMATS = (PNG, TIFF, WEBP, BMP, GIF, PPM, PGM, PBM)
"""Formats that are written; each is also the suffix of its files."""

_OTHER_SUFFIXES = {"tif": TIFF, "pnm": PPM}
_NETPBM_MODES = {PBM: ("1",), PGM: ("L", "I;16"), PPM: ("RGB", "RGB;16")}


def format_of(suffix: str) -> str | None:
    """The format of files with that suffix, a point before it or not; None where it is not written."""
    name = suffix.lower().removeprefix(".")
    name = _OTHER_SUFFIXES.get(name, name)
    return name if name in FORMATS else None


def default_format(mode: str | None) -> str:
    """PNG, or TIFF for images of a mode that PNG cannot hold, which is CMYK. None: it is not known, and so not that."""
    return TIFF if mode == "CMYK" else PNG


def write_image(image: PixelImage, form: str | None = None) -> tuple[bytes, str]:
    """The image as a file, and its suffix. form: one of `FORMATS`, None for the default.

    ImageError where the format would lose anything of it, metadata included: one line that says what.
    """
    chosen = form or default_format(image.mode)
    try:
        data = _WRITERS[chosen](image)
        if chosen not in (PNG, PPM, PGM, PBM):
            _check(image, data)
    except ImageError as error:
        instead = default_format(image.mode)
        hint = f"; {instead.upper()} can hold it" if instead != chosen else ""
        raise ImageError(f"{error}{hint}") from error
    return data, f".{chosen}"


def write_png(image: PixelImage, optimize: bool = False) -> bytes:
    """A PNG that reads back as the same image; the same bytes each time.

    optimize: smaller and slower; needs more memory. ImageError for CMYK.
    """
    if image.mode == "CMYK":
        raise ImageError("PNG cannot hold CMYK")
    depth = depth_of(image.mode, image.transparency, image.metadata)
    level = 9 if optimize else 6
    if depth is not None:
        key = _divided(image.transparency, 255 // ((1 << depth) - 1)) if image.mode == "L" else image.transparency
        data = png.write_pixels(image.mode, image.pixels, key, level, depth, image.palette)
    elif png.can_write(image.mode) and (
        image.mode not in _PILLOW_MODES or (not optimize and image.width * image.height > BAND_PIXELS)
    ):
        data = png.write_pixels(image.mode, image.pixels, image.transparency, level)
    else:
        data = _png_by_pillow(image, optimize)
    return png.add_chunks(data, chunks_of(image.metadata, depth)) if image.metadata else data


def _divided(transparency: bytes, by: int) -> bytes:
    return struct.pack(">H", struct.unpack(">H", transparency)[0] // by) if transparency else b""


_PILLOW_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def _png_by_pillow(image: PixelImage, optimize: bool) -> bytes:
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


def write_tiff(image: PixelImage) -> bytes:
    """A deflated TIFF. ImageError for a transparency, and for what TIFF or its readers do not know."""
    if image.transparency:
        raise ImageError("TIFF cannot hold the transparency")
    if not tiff.can_write(image.mode):
        raise ImageError(f"TIFF cannot hold {image.mode}")
    return tiff.write_pixels(image.mode, image.pixels, image.palette, image.metadata)


def write_webp(image: PixelImage) -> bytes:
    """A lossless WebP, colours under alpha 0 kept. ImageError for what it cannot hold."""
    if image.mode not in ("RGB", "RGBA") or image.transparency:
        raise ImageError(f"WebP cannot hold {image.mode}" + " with a transparent colour" * bool(image.transparency))
    options: dict[str, Any] = {}
    for kind, data in image.metadata:
        if kind == ICC:
            options["icc_profile"] = data.partition(b"\0")[2]
        elif kind in (EXIF, XMP):
            options["exif" if kind == EXIF else "xmp"] = data
    out = io.BytesIO()
    try:
        bare_pillow(image).save(out, "WEBP", lossless=True, exact=True, method=4, quality=100, **options)
    except ValueError as error:  # its sides are limited
        raise ImageError("WebP cannot hold an image of this size") from error
    return out.getvalue()


def write_bmp(image: PixelImage) -> bytes:
    """A BMP. ImageError for what it cannot hold."""
    if image.mode not in ("1", "L", "P", "RGB", "RGBA") or image.transparency:
        raise ImageError(f"BMP cannot hold {image.mode}" + " with a transparency" * bool(image.transparency))
    return bmp.write_image(image.mode, image.pixels, image.palette, image.metadata)


def write_gif(image: PixelImage) -> bytes:
    """A GIF of one frame. ImageError for what it cannot hold."""
    if image.mode not in ("P", "L"):
        raise ImageError(f"GIF cannot hold {image.mode}")
    options: dict[str, Any] = {}
    if image.mode == "P" and image.transparency:
        options["transparency"] = len(image.transparency) - 1
    out = io.BytesIO()
    try:
        bare_pillow(image).save(out, "GIF", optimize=False, **options)
    except (ValueError, OverflowError, struct.error) as error:
        raise ImageError("GIF cannot hold an image of this size") from error
    return gif.add_metadata(out.getvalue(), image.metadata)


def _netpbm_writer(form: str) -> Callable[[PixelImage], bytes]:
    def write(image: PixelImage) -> bytes:
        if image.mode not in _NETPBM_MODES[form]:
            raise ImageError(f"{form.upper()} cannot hold {image.mode}")
        others = [record for record in image.metadata if not netpbm.can_hold(record)]
        if image.transparency or others:
            names = names_of(others) + ("transparency",) * bool(image.transparency)
            raise ImageError(f"{form.upper()} cannot hold {', '.join(names)}")
        return netpbm.write(image.pixels, image.metadata)

    return write


def _check(image: PixelImage, data: bytes) -> None:
    """ImageError where a file that was written is not the image any more: it says what would be lost."""
    form = ("TIFF", "WEBP", "BMP", "GIF")
    try:
        back = read_image(data, "this format", image.width * image.height, form)
    except ImageError as error:
        raise ImageError(f"this format cannot hold the image ({error})") from error
    if back == image:
        return
    lost = set(names_of(set(image.metadata) ^ set(back.metadata)))
    if back.mode != image.mode:
        lost.add(f"mode {image.mode}")
    elif back.transparency != image.transparency:
        lost.add("transparency")
    elif back.palette != image.palette:
        lost.add("palette")
    elif back.pixels.shape != image.pixels.shape or not np.array_equal(back.pixels, image.pixels):
        lost.add("pixels")
    raise ImageError(f"this format would lose or change: {', '.join(sorted(lost or {'metadata'}))}")


_WRITERS: dict[str, Callable[[PixelImage], bytes]] = {
    PNG: write_png,
    TIFF: write_tiff,
    WEBP: write_webp,
    BMP: write_bmp,
    GIF: write_gif,
    **{form: _netpbm_writer(form) for form in (PPM, PGM, PBM)},
}
