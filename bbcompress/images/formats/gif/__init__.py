"""GIF, animated too; one picture is written."""

from __future__ import annotations

from bbcompress.images.formats.registry import ImageFormat, later

FORMAT = ImageFormat(
    name="GIF",
    magic=rb"GIF8[79]a",
    suffixes=(".gif",),
    read=later(f"{__name__}.convert", "read"),
    written={"gif": (".gif",)},
    write=later(f"{__name__}.convert", "write"),
)
