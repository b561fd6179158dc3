"""WebP files as images, and back."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from PIL import WebPImagePlugin

from bbcompress.errors import ImageError
from bbcompress.images.decoders import check_size, opened
from bbcompress.images.formats.registry import Pictures
from bbcompress.images.formats.webp.file import parse_webp
from bbcompress.images.image import PixelImage
from bbcompress.images.metadata import EXIF, ICC, XMP
from bbcompress.images.pillow import bare_pillow, image_of


class _SlowStart(io.BytesIO):
    """Gives less than is asked for at first, as a pipe may: of so few bytes Pillow's WebP reads no size, which it would
    compare with its limit."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(16 if self.tell() == 0 and size == 30 else size)


def read(data: bytes, max_pixels: int) -> Pictures:
    """As :meth:`ImageFormat.read`."""
    source = parse_webp(data)
    check_size(source.width, source.height, max_pixels)

    def pictures() -> Iterator[PixelImage]:
        with opened(WebPImagePlugin.WebPImageFile, _SlowStart(source.image), max_pixels) as file:
            lost = tuple(sorted({*source.lost, *(["times of the frames"] if source.frames > 1 else [])}))
            for number in range(source.frames):
                file.seek(number)
                yield replace(image_of(file), metadata=source.metadata, lost=lost)

    return Pictures(source.frames, pictures())


def write(image: PixelImage) -> bytes:
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
