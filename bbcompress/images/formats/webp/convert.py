"""WebP files as images, and back."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from PIL import WebPImagePlugin

from bbcompress.errors import ImageError
from bbcompress.images.canvas import without_alpha
from bbcompress.images.decoders import check_size, opened
from bbcompress.images.formats.registry import Pictures
from bbcompress.images.formats.webp.codes import has_more
from bbcompress.images.formats.webp.file import Picture, parse_webp
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

    def decode(picture: Picture) -> bytes | None:
        try:
            with opened(WebPImagePlugin.WebPImageFile, _SlowStart(picture.file(alpha=True)), max_pixels) as file:
                return _digest(image_of(file))
        except (OSError, EOFError, ValueError, SyntaxError):
            return None

    def pictures() -> Iterator[PixelImage]:
        with opened(WebPImagePlugin.WebPImageFile, _SlowStart(source.image()), max_pixels) as file:
            for number in range(source.count):
                lost = {*source.lost, *(["times of the frames"] if source.count > 1 else [])}
                file.seek(number)
                image = image_of(file)
                known = _digest(image) if source.single is not None and image.mode == "RGBA" else None
                if has_more(source.picture(number), decode, known):
                    lost.add("data behind the pixels")
                if not source.says_alpha and image.mode == "RGBA":
                    opaque = without_alpha(image.pixels)
                    if opaque is not None:
                        image = replace(image, mode="RGB", pixels=opaque)
                    else:
                        lost.add("flag that nothing is transparent")
                yield replace(image, metadata=source.metadata, lost=tuple(sorted(lost)))

    return Pictures(source.count, pictures())


def _digest(image: PixelImage) -> bytes:
    """Equal for equal pixels."""
    return blake2b(image.pixels.data).digest()


def write(image: PixelImage, kind: str) -> bytes:
    """A lossless WebP, colours under alpha 0 kept. ImageError for what it cannot hold."""
    if image.mode not in ("RGB", "RGBA") or image.transparency:
        raise ImageError(f"WebP cannot hold {image.mode}" + " with a transparent colour" * bool(image.transparency))
    options: dict[str, Any] = {}
    for record, data in image.metadata:
        if record == ICC:
            options["icc_profile"] = data.partition(b"\0")[2]
        elif record in (EXIF, XMP):
            options["exif" if record == EXIF else "xmp"] = data
    out = io.BytesIO()
    try:
        bare_pillow(image).save(out, "WEBP", lossless=True, exact=True, method=4, quality=100, **options)
    except ValueError as error:  # its sides are limited
        raise ImageError("WebP cannot hold an image of this size") from error
    return out.getvalue()
