"""GIF files as images, and back."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

from bbcompress.errors import ImageError
from bbcompress.images.decoders import check_size
from bbcompress.images.formats.gif.file import add_metadata, parse_gif, read_pictures
from bbcompress.images.formats.registry import Pictures
from bbcompress.images.image import PixelImage
from bbcompress.images.pillow import bare_pillow


def read(data: bytes, max_pixels: int) -> Pictures:
    """As :meth:`ImageFormat.read`."""
    source = parse_gif(data)
    check_size(source.width, source.height, max_pixels)

    def pictures() -> Iterator[PixelImage]:
        for mode, pixels, palette, transparency, lost in read_pictures(source):
            names = {*source.lost, *lost, *(["times of the frames"] if len(source.pictures) > 1 else [])}
            pixels.flags.writeable = False
            yield PixelImage(mode, pixels, palette, transparency, tuple(sorted(names)), source.metadata)

    return Pictures(len(source.pictures), pictures())


def write(image: PixelImage) -> bytes:
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
    return add_metadata(out.getvalue(), image.metadata)
