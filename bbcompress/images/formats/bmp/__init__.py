"""BMP of all versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bbcompress.images.formats.registry import ImageFormat, Pictures

if TYPE_CHECKING:
    from bbcompress.images.image import PixelImage


def _read(data: bytes, max_pixels: int) -> Pictures:
    from bbcompress.images.formats.bmp.convert import read

    return read(data, max_pixels)


def _write(image: PixelImage, kind: str) -> bytes:
    from bbcompress.images.formats.bmp.convert import write

    return write(image)


FORMAT = ImageFormat(
    name="BMP",
    magic=rb"(BA.{12})?BM.{12}.[\0-\x04]\0\0",
    suffixes=(".bmp",),
    read=_read,
    written={"bmp": (".bmp",)},
    write=_write,
)
