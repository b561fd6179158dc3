"""The metadata of files that Pillow reads, as records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from PIL import Image

from bbcompress import gif
from bbcompress.metadata import (
    EXIF,
    ICC,
    PER_INCH,
    PER_METRE,
    PIXEL_ASPECT,
    TEXT,
    XMP,
    Metadata,
    Record,
    resolution,
    within_limits,
)

_EXIF_START = b"Exif\0\0"
_XMP_START = b"http://ns.adobe.com/xap/1.0/\0"
_READ_SEGMENTS = {
    "APP0": (b"JFIF", b"JFXX"),
    "APP1": (_EXIF_START, _XMP_START),
    "APP2": (b"ICC_PROFILE\0", b"MPF\0"),
    "APP14": (b"Adobe",),
}
"""Application segments of JPEG that are read, here or by Pillow, by how they begin."""

_SEGMENT_NAMES = {"APP1": "extended XMP", "APP13": "Photoshop data"}


def read_metadata(file: Image.Image, data: bytes) -> tuple[Metadata, tuple[str, ...]]:
    """The records of a file, not loaded yet, and the names of what is left out. data: all of its bytes."""
    lost: set[str] = set()
    records = tuple(_shared(file))
    if file.format in ("JPEG", "MPO"):
        records += tuple(_of_jpeg(file, lost))
    if file.format == "GIF":
        records += tuple(gif.read_metadata(data))
    if file.format == "GIF" and isinstance(comment := file.info.get("comment"), bytes):
        records += (_comment(comment),)
    kept, too_much = within_limits(records)
    return kept, tuple(sorted({*lost, *too_much}))


def _shared(file: Image.Image) -> Iterable[Record]:
    """What Pillow has under the same names for JPEG and WebP."""
    info = file.info
    if isinstance(profile := info.get("icc_profile"), bytes) and profile:
        yield Record(ICC, b"\0" + profile)
    if isinstance(exif := info.get("exif"), bytes) and exif:
        yield Record(EXIF, exif.removeprefix(_EXIF_START))
    if isinstance(packet := info.get("xmp"), bytes) and packet:
        yield Record(XMP, packet)


def _of_jpeg(file: Image.Image, lost: set[str]) -> Iterable[Record]:
    segments: Any = getattr(file, "applist", [])
    for name, content in segments:
        if name == "COM":
            yield _comment(content)
        elif not content.startswith(_READ_SEGMENTS.get(name, ())):
            lost.add(_SEGMENT_NAMES.get(name, "application data"))
    unit = {0: PIXEL_ASPECT, 1: PER_INCH, 2: PER_METRE}.get(file.info.get("jfif_unit", -1))
    density = file.info.get("jfif_density")
    if unit is not None and density and not (unit == PIXEL_ASPECT and density[0] == density[1]):
        factor = 100 if unit == PER_METRE else 1  # JPEG counts by the centimetre
        if record := resolution(unit, (density[0] * factor, 1), (density[1] * factor, 1)):
            yield record


def _comment(content: bytes) -> Record:
    return Record(TEXT, b"Comment\0" + content)
