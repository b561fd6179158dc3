"""Netpbm files as images, and back."""

from __future__ import annotations

from collections.abc import Iterator

from bbcompress.errors import ImageError
from bbcompress.images.decoders import check_size
from bbcompress.images.formats.netpbm.file import can_hold, parse_netpbm, parse_picture, read_pixels, write_file
from bbcompress.images.formats.registry import Pictures
from bbcompress.images.image import PixelImage
from bbcompress.images.metadata import names_of


def read(data: bytes, max_pixels: int) -> Pictures:
    """As `ImageFormat.read`."""
    starts, behind = parse_netpbm(data)

    def pictures() -> Iterator[PixelImage]:
        for start in starts:
            picture = parse_picture(data, start)
            check_size(picture.width, picture.height, max_pixels)
            pixels, more = read_pixels(data, picture)
            lost = {*picture.lost, *behind, *more}
            yield PixelImage(picture.mode, pixels, b"", b"", tuple(sorted(lost)), picture.metadata)

    return Pictures(len(starts), pictures())


_HELD = {"pbm": ("1",), "pgm": ("L", "I;16"), "ppm": ("RGB", "RGB;16")}
"""The modes of each kind."""


def write(image: PixelImage, kind: str) -> bytes:
    """A PBM, PGM or PPM.

    Raises:
        ImageError: the format cannot hold the image.
    """
    if image.mode not in _HELD[kind]:
        raise ImageError(f"{kind.upper()} cannot hold {image.mode}")
    others = [record for record in image.metadata if not can_hold(record)]
    if image.transparency or others:
        names = names_of(others) + ("transparency",) * bool(image.transparency)
        raise ImageError(f"{kind.upper()} cannot hold {', '.join(names)}")
    return write_file(image.pixels, image.metadata)
