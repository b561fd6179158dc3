"""WebP, animated too; one picture is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bbcompress.images.formats.registry import ImageFormat, Pictures

if TYPE_CHECKING:
    from bbcompress.images.image import PixelImage


def _read(data: bytes, max_pixels: int) -> Pictures:
    from bbcompress.images.formats.webp.convert import read

    return read(data, max_pixels)


def _write(image: PixelImage, kind: str) -> bytes:
    from bbcompress.images.formats.webp.convert import write

    return write(image)


FORMAT = ImageFormat(
    name="WEBP",
    magic=rb"RIFF.{4}WEBP",
    suffixes=(".webp",),
    read=_read,
    written={"webp": (".webp",)},
    write=_write,
)
