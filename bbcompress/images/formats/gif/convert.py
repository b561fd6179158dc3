"""GIF files as images, and back."""

from __future__ import annotations

from collections.abc import Iterator

from bbcompress.errors import ImageError
from bbcompress.images.decoders import check_size
from bbcompress.images.formats.gif.file import parse_gif, read_pictures, write_picture
from bbcompress.images.formats.registry import Pictures
from bbcompress.images.image import PixelImage


def read(data: bytes, max_pixels: int) -> Pictures:
    """As `ImageFormat.read`."""
    source = parse_gif(data)
    check_size(source.width, source.height, max_pixels)

    def pictures() -> Iterator[PixelImage]:
        for mode, pixels, palette, transparency, lost in read_pictures(source):
            names = {*source.lost, *lost, *(["times of the frames"] if len(source.pictures) > 1 else [])}
            pixels.flags.writeable = False
            yield PixelImage(mode, pixels, palette, transparency, tuple(sorted(names)), source.metadata)

    return Pictures(len(source.pictures), pictures())


def write(image: PixelImage, kind: str) -> bytes:
    """A GIF of one frame.

    Raises:
        ImageError: the format cannot hold the image.
    """
    if image.mode not in ("P", "L"):
        raise ImageError(f"GIF cannot hold {image.mode}")
    return write_picture(image.mode, image.pixels, image.palette, image.transparency, image.metadata)
