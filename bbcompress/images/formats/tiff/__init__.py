"""TIFF of any number of pages; one is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bbcompress.images.formats.registry import ImageFormat, Pictures

if TYPE_CHECKING:
    from bbcompress.images.image import PixelImage


def _read(data: bytes, max_pixels: int) -> Pictures:
    from bbcompress.images.formats.tiff.convert import read

    return read(data, max_pixels)


def _write(image: PixelImage, kind: str) -> bytes:
    from bbcompress.images.formats.tiff.convert import write

    return write(image)


FORMAT = ImageFormat(
    name="TIFF",
    magic=rb"II(\*\0|\0\*|\+\0)|MM(\0\*|\*\0|\0\+)",
    suffixes=(".tiff", ".tif"),
    read=_read,
    written={"tiff": (".tiff", ".tif")},
    write=_write,
)
