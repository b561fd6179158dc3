"""BMP of all versions."""

from __future__ import annotations

from bbcompress.images.formats.registry import ImageFormat, later

FORMAT = ImageFormat(
    name="BMP",
    magic=rb"(BA.{12})?BM.{12}.[\0-\x04]\0\0",
    suffixes=(".bmp",),
    read=later(f"{__name__}.convert", "read"),
    written={"bmp": (".bmp",)},
    write=later(f"{__name__}.convert", "write"),
)
