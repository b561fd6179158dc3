"""JPEG files as images."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace

from PIL import JpegImagePlugin

from bbcompress.images.decoders import opened
from bbcompress.images.formats.jpeg.file import parse_jpeg
from bbcompress.images.formats.registry import Pictures
from bbcompress.images.image import PixelImage
from bbcompress.images.pillow import image_of


def read(data: bytes, max_pixels: int) -> Pictures:
    """As `ImageFormat.read`."""
    source = parse_jpeg(data, max_pixels)

    def pictures() -> Iterator[PixelImage]:
        with opened(JpegImagePlugin.JpegImageFile, io.BytesIO(source.image), max_pixels) as file:
            yield replace(image_of(file), metadata=source.metadata, lost=source.lost)

    return Pictures(1, pictures())
