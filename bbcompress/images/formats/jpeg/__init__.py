"""JPEG, which is read only."""

from __future__ import annotations

from bbcompress.images.formats.registry import ImageFormat, Pictures


def _read(data: bytes, max_pixels: int) -> Pictures:
    from bbcompress.images.formats.jpeg.convert import read

    return read(data, max_pixels)


FORMAT = ImageFormat(
    name="JPEG",
    magic=rb"\xff\xd8\xff",
    suffixes=(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    read=_read,
)
