"""TIFF of any number of pages; one is written."""

from __future__ import annotations

from bbcompress.images.formats.registry import ImageFormat, later

FORMAT = ImageFormat(
    name="TIFF",
    magic=rb"II(\*\0|\0\*|\+\0)|MM(\0\*|\*\0|\0\+)",
    suffixes=(".tiff", ".tif"),
    read=later(f"{__name__}.convert", "read"),
    written={"tiff": (".tiff", ".tif")},
    write=later(f"{__name__}.convert", "write"),
)
