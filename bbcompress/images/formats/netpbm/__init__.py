"""Netpbm's PBM, PGM, PPM and PAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bbcompress.images.formats.registry import ImageFormat, Pictures

if TYPE_CHECKING:
    from bbcompress.images.image import PixelImage


def _read(data: bytes, max_pixels: int) -> Pictures:
    from bbcompress.images.formats.netpbm.convert import read

    return read(data, max_pixels)


def _write(image: PixelImage, kind: str) -> bytes:
    from bbcompress.images.formats.netpbm.convert import write

    return write(image, kind)


FORMAT = ImageFormat(
    name="PPM",
    magic=rb"P[1-7fF][\s#]",
    suffixes=(".ppm", ".pgm", ".pbm", ".pnm", ".pam"),
    read=_read,
    written={"ppm": (".ppm", ".pnm"), "pgm": (".pgm",), "pbm": (".pbm",)},
    write=_write,
    read_back=False,
)
