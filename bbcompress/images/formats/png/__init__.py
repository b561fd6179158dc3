"""PNG, animated too."""

from __future__ import annotations

from bbcompress.images.formats.registry import ImageFormat, later

FORMAT = ImageFormat(
    name="PNG",
    magic=rb"\x89PNG\r\n\x1a\n",
    suffixes=(".png", ".apng"),
    read=later(f"{__name__}.convert", "read"),
    written={"png": (".png",)},
    write=later(f"{__name__}.convert", "write"),
    read_back=False,
)
