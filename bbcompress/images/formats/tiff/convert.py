"""TIFF files as images, and back."""

from __future__ import annotations

from bbcompress.errors import ImageError
from bbcompress.images.formats.registry import Pictures
from bbcompress.images.formats.tiff.file import TiffImage, TiffReader, can_write, write_pixels
from bbcompress.images.image import PixelImage


def read(data: bytes, max_pixels: int) -> Pictures:
    """As `ImageFormat.read`."""
    source = TiffReader(data, max_pixels)
    return Pictures(len(source), (_as_image(source.read(number)) for number in range(len(source))))


def _as_image(page: TiffImage) -> PixelImage:
    return PixelImage(page.mode, page.pixels, page.palette, b"", page.lost, page.metadata)


def write(image: PixelImage, kind: str) -> bytes:
    """A deflated TIFF.

    Raises:
        ImageError: the image has a transparency, or something that TIFF or its readers do not know.
    """
    if image.transparency:
        raise ImageError("TIFF cannot hold the transparency")
    if not can_write(image.mode):
        raise ImageError(f"TIFF cannot hold {image.mode}")
    return write_pixels(image.mode, image.pixels, image.palette, image.metadata)
