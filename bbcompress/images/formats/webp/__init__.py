"""WebP, animated too; one picture is written."""

from __future__ import annotations

from bbcompress.images.formats.registry import ImageFormat, later

FORMAT = ImageFormat(
    name="WEBP",
    magic=rb"RIFF.{4}WEBP",
    suffixes=(".webp",),
    read=later(f"{__name__}.convert", "read"),
    written={"webp": (".webp",)},
    write=later(f"{__name__}.convert", "write"),
)
