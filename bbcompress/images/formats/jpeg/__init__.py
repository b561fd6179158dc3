"""JPEG, which is read only."""

from __future__ import annotations

from bbcompress.images.formats.registry import ImageFormat, later

FORMAT = ImageFormat(
    name="JPEG",
    magic=rb"\xff\xd8\xff",
    suffixes=(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    read=later(f"{__name__}.convert", "read"),
)
