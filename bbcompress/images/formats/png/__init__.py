"""PNG, animated too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bbcompress.images.formats.registry import ImageFormat, Pictures

if TYPE_CHECKING:
    from bbcompress.images.image import PixelImage


def _read(data: bytes, max_pixels: int) -> Pictures:
    from bbcompress.images.formats.png.convert import read

    return read(data, max_pixels)


def _write(image: PixelImage, kind: str) -> bytes:
    from bbcompress.images.formats.png.convert import write_png

    return write_png(image)


FORMAT = ImageFormat(
    name="PNG",
    magic=rb"\x89PNG\r\n\x1a\n",
    suffixes=(".png", ".apng"),
    read=_read,
    written={"png": (".png",)},
    write=_write,
    read_back=False,
)
