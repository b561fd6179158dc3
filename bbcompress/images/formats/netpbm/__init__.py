"""Netpbm's PBM, PGM, PPM and PAM."""

from __future__ import annotations

from bbcompress.images.formats.registry import ImageFormat, later

FORMAT = ImageFormat(
    name="PPM",
    magic=rb"P[1-7fF][\s#]",
    suffixes=(".ppm", ".pgm", ".pbm", ".pnm", ".pam"),
    read=later(f"{__name__}.convert", "read"),
    written={"ppm": (".ppm", ".pnm"), "pgm": (".pgm",), "pbm": (".pbm",)},
    write=later(f"{__name__}.convert", "write"),
    read_back=False,
)
