"""BMP files as images, and back."""

from __future__ import annotations

from collections.abc import Iterator

from bbcompress.errors import ImageError
from bbcompress.images.formats.bmp.file import read_image, write_image
from bbcompress.images.formats.registry import Pictures
from bbcompress.images.image import PixelImage


def read(data: bytes, max_pixels: int) -> Pictures:
    """As `ImageFormat.read`."""

    def pictures() -> Iterator[PixelImage]:
        found = read_image(data, max_pixels)
        yield PixelImage(found.mode, found.pixels, found.palette, b"", found.lost, found.metadata)

    return Pictures(1, pictures())


def write(image: PixelImage, kind: str) -> bytes:
    """A BMP.

    Raises:
        ImageError: the format cannot hold the image.
    """
    if image.mode not in ("1", "L", "P", "RGB", "RGBA") or image.transparency:
        raise ImageError(f"BMP cannot hold {image.mode}" + " with a transparency" * bool(image.transparency))
    return write_image(image.mode, image.pixels, image.palette, image.metadata)
