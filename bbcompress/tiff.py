"""TIFF: what Pillow would change in silence, 16 bits a channel, metadata; and a writer that leaves nothing out."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bbcompress.errors import FormatError, ImageError
from bbcompress.metadata import (
    EXIF,
    ICC,
    PER_INCH,
    PER_METRE,
    PIXEL_ASPECT,
    RESOLUTION,
    XMP,
    Metadata,
    Record,
    decode_metadata,
    encode_metadata,
    lowest,
    names_of,
    parse_resolution,
    resolution,
)

Pixels = npt.NDArray[Any]

_BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _EXTRA_SAMPLES = 258, 262, 274, 277, 338
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_XMP, _ICC, _EXIF_IFD, _GPS_IFD = 700, 34675, 34665, 34853

_ALL_METADATA = 65212
"""A tag of ours, of those that TIFF leaves to anyone: all records, where its own tags cannot hold them."""
_ALL_METADATA_START = b"bbc metadata 1\0"

_DESCRIPTIVE = frozenset((269, 270, 271, 272, 274, 285, 305, 306, 315, 316, 18246, 33432, *range(40091, 40096)))
"""Tags of TIFF that EXIF has as well, beside the IFDs of EXIF and GPS."""

_OF_PIXELS = frozenset(
    (*range(254, 260), 262, *range(263, 267), 273, *range(277, 282), 284, *range(288, 294), 297, 317, *range(320, 326))
) | {332, 334, 338, 339, 340, 341, 347, *range(512, 522), *range(529, 533)}
_OF_METADATA = {_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _XMP, _ICC, _EXIF_IFD, _GPS_IFD, _ALL_METADATA}

_LOST = {301: "colour space", 318: "colour space", 319: "colour space", 33723: "IPTC", 34377: "Photoshop data"}
"""Names of what other tags say."""

_RAW_16 = {"RGB;16L", "RGB;16B", "RGBA;16L", "RGBA;16B"}


def check_tiff(file: Image.Image) -> None:
    """Refuse what Pillow would not give as it is: samples that it leaves out, cuts to 8 bits or computes anew."""
    tags: Any = getattr(file, "tag_v2", {})
    bits = tags.get(_BITS, (1,))
    deepest = max(bits if isinstance(bits, tuple) else (bits,))
    if deepest > 8 and file.mode[0] not in "IF" and raw_mode_16(file) is None:
        raise ImageError(f"has {deepest} bits per sample in mode {file.mode}, which is not supported")
    if tags.get(_SAMPLES, 1) > len(file.getbands()):
        raise ImageError("has more samples per pixel than its colours and alpha, which is not supported")
    extra = tags.get(_EXTRA_SAMPLES, ())
    if 1 in (extra if isinstance(extra, tuple) else (extra,)):
        raise ImageError("has colours that are multiplied by alpha, which is not supported")
    if deepest > 8 and tags.get(_PHOTOMETRIC) == 0:
        raise ImageError(f"has {deepest} bits per sample of which 0 is white, which is not supported")


def raw_mode_16(file: Image.Image) -> str | None:
    """The mode in which Pillow reads samples of 16 bits to throw away half of each; None where it does not."""
    raw_modes = {tile.args if isinstance(tile.args, str) else tile.args[0] for tile in getattr(file, "tile", [])}
    if len(raw_modes) != 1 or getattr(file, "tag_v2", {}).get(284, 1) != 1:
        return None
    raw = str(raw_modes.pop())
    if raw.endswith(";16N"):
        raw = raw[:-1] + ("L" if sys.byteorder == "little" else "B")
    return raw if raw in _RAW_16 else None


def take_low_bytes(file: Image.Image) -> None:
    """Make a file of 16 bits a sample, not loaded yet, give the low byte of each, not the high one."""
    raw = raw_mode_16(file)
    if raw is None:
        raise ImageError("has samples of a kind that is not supported")
    other = raw[:-1] + ("B" if raw.endswith("L") else "L")
    tiles: Any = file
    tiles.tile = [
        tile._replace(args=other if isinstance(tile.args, str) else (other, *tile.args[1:])) for tile in tiles.tile
    ]


def orientation_of(file: Image.Image) -> int:
    """The orientation that a file not loaded yet asks for, by a tag or in XMP, 1 to 8; Pillow turns the pixels by it as
    it loads them."""
    value = file.getexif().get(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def turned_back(pixels: Pixels, orientation: int) -> Pixels:
    """The pixels as the file has them, of those that have been turned by its orientation."""
    if orientation in (2, 3):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4):
        pixels = pixels[::-1]
    if orientation in (5, 7):
        pixels = pixels.swapaxes(0, 1)
    if orientation == 7:
        pixels = pixels[::-1, ::-1]
    if orientation in (6, 8):
        pixels = np.rot90(pixels, 1 if orientation == 6 else -1)
    return pixels


def read_metadata(file: Image.Image) -> tuple[Metadata, tuple[str, ...]]:
    """The records of a TIFF not loaded yet, and the names of what is left out."""
    tags: Any = getattr(file, "tag_v2", {})
    ours = tags.get(_ALL_METADATA)
    if isinstance(ours, bytes) and ours.startswith(_ALL_METADATA_START):
        try:
            (metadata,) = decode_metadata(ours[len(_ALL_METADATA_START) :], 1)
        except FormatError as fault:
            raise ImageError(str(fault)) from fault
        return metadata, ()
    records: list[Record] = []
    lost = {_LOST.get(tag, "TIFF tags") for tag in tags if tag not in _DESCRIPTIVE | _OF_PIXELS | _OF_METADATA}
    for kind, tag, start in ((ICC, _ICC, b"\0"), (XMP, _XMP, b"")):
        if tag in tags:
            value = tags[tag]
            if isinstance(value, bytes):
                records.append(Record(kind, start + value))
            else:
                lost |= set(names_of([Record(kind, b"")]))
    try:
        if exif := _exif(file, tags):
            records.append(Record(EXIF, exif))
    except Exception:  # Pillow writes again what it read, and raises nearly anything on what it does not expect
        lost.add("EXIF")
    if _X_RESOLUTION in tags or _Y_RESOLUTION in tags:
        record, says_nothing = _resolution(tags)
        if record is not None:
            records.append(record)
        elif not says_nothing:
            lost.add("resolution")
    return tuple(records), tuple(sorted(lost))


def _resolution(tags: Any) -> tuple[Record | None, bool]:
    """The record of the resolution, if there is one; whether the tags say only that pixels are square."""
    unit = {1: PIXEL_ASPECT, 2: PER_INCH, 3: PER_METRE}.get(tags.get(_RESOLUTION_UNIT, 2))
    x, y = _ratio(tags.get(_X_RESOLUTION)), _ratio(tags.get(_Y_RESOLUTION))
    if unit is None or x is None or y is None:
        return None, False
    if unit == PIXEL_ASPECT and x == y:
        return None, True
    factor = 100 if unit == PER_METRE else 1  # TIFF counts by the centimetre
    return resolution(unit, (x[0] * factor, x[1]), (y[0] * factor, y[1])), False


def _ratio(value: Any) -> tuple[int, int] | None:
    try:
        return int(value.numerator), int(value.denominator)
    except (AttributeError, TypeError, ValueError):
        return None


def _exif(file: Image.Image, tags: Any) -> bytes:
    """The tags that describe the image, as a JPEG or PNG has them; empty for none."""
    exif = Image.Exif()
    for tag in _DESCRIPTIVE & set(tags):
        if (tag, tags[tag]) != (_ORIENTATION, 1):
            exif[tag] = tags[tag]
    for ifd in (_EXIF_IFD, _GPS_IFD):
        if ifd in tags:
            exif.get_ifd(ifd).update(file.getexif().get_ifd(ifd))
            exif[ifd] = exif.get_ifd(ifd)
    return exif.tobytes().removeprefix(b"Exif\0\0") if len(exif) else b""


# Of each mode: the meaning of the samples, and of the one that is none of the colour.
_WRITTEN = {
    "1": (1, ()),
    "L": (1, ()),
    "I;16": (1, ()),
    "LA": (1, (2,)),
    "P": (3, ()),
    "RGB": (2, ()),
    "RGB;16": (2, ()),
    "RGBA": (2, (2,)),
    "RGBA;16": (2, (2,)),
    "CMYK": (5, ()),
}
_STRIP_BYTES = 1 << 20
_SHORT, _LONG, _RATIONAL, _UNDEFINED, _BYTE = 3, 4, 5, 7, 1
_FORMS = {_SHORT: "H", _LONG: "I", _RATIONAL: "I"}


def can_write(mode: str) -> bool:
    """Whether :func:`write_pixels` writes images of that mode."""
    return mode in _WRITTEN


def write_pixels(mode: str, pixels: Pixels, palette: bytes, metadata: Metadata) -> bytes:
    """A deflated TIFF. palette: 256 colours, for mode P. ImageError for more than 4 GiB."""
    photometric, extra = _WRITTEN[mode]
    height, width = pixels.shape[:2]
    samples = pixels.size // (height * width)
    bits = 1 if mode == "1" else 8 * pixels.itemsize
    out = io.BytesIO()
    out.write(b"II\x2a\0" + bytes(4))
    rows = max(1, _STRIP_BYTES // ((width * samples * bits + 7) // 8))
    offsets, lengths = [], []
    for top in range(0, height, rows):
        strip = pixels[top : top + rows]
        if mode == "1":
            data = np.packbits(strip, axis=1).tobytes()
        else:
            data = strip.astype(strip.dtype.newbyteorder("<"), copy=False).tobytes()
        offsets.append(out.tell())
        lengths.append(out.write(zlib.compress(data, 6)))
    tags: dict[int, tuple[int, Sequence[int] | bytes]] = {
        256: (_LONG, [width]),
        257: (_LONG, [height]),
        258: (_SHORT, [bits] * samples),
        259: (_SHORT, [8]),
        262: (_SHORT, [photometric]),
        273: (_LONG, offsets),
        277: (_SHORT, [samples]),
        278: (_LONG, [rows]),
        279: (_LONG, lengths),
    }
    if extra:
        tags[338] = (_SHORT, extra)
    if mode == "P":
        tags[320] = (_SHORT, [257 * palette[3 * index + colour] for colour in range(3) for index in range(256)])
    _write_tags(out, tags | _metadata_tags(metadata))
    return out.getvalue()


def _metadata_tags(metadata: Metadata) -> dict[int, tuple[int, Sequence[int] | bytes]]:
    """Tags for the records; where TIFF's own cannot give them back, ours beside them."""
    tags: dict[int, tuple[int, Sequence[int] | bytes]] = {}
    whole = len({record.kind for record in metadata}) == len(metadata)
    for record in metadata:
        if record.kind == ICC:
            name, _, profile = record.data.partition(b"\0")
            tags[_ICC] = (_UNDEFINED, profile)
            whole &= not name
        elif record.kind == XMP:
            tags[_XMP] = (_BYTE, record.data)
        elif record.kind == RESOLUTION:
            unit, x, y = parse_resolution(record)
            if unit == PER_METRE:
                x, y = lowest(x[0], 100 * x[1]), lowest(y[0], 100 * y[1])
            fits = max(*x, *y) < 1 << 32
            whole &= fits and unit != PIXEL_ASPECT
            if fits:
                tags[_X_RESOLUTION], tags[_Y_RESOLUTION] = (_RATIONAL, x), (_RATIONAL, y)
                tags[_RESOLUTION_UNIT] = (_SHORT, [{PIXEL_ASPECT: 1, PER_INCH: 2, PER_METRE: 3}[unit]])
        else:
            whole = False
            if record.kind == EXIF and (orientation := _exif_orientation(record.data)) is not None:
                tags[_ORIENTATION] = (_SHORT, [orientation])
    if not whole:
        tags[_ALL_METADATA] = (_UNDEFINED, _ALL_METADATA_START + encode_metadata([metadata]))
    return tags


def _exif_orientation(data: bytes) -> int | None:
    """The orientation that EXIF names, None for none."""
    exif = Image.Exif()
    try:
        exif.load(data)
    except (SyntaxError, ValueError, struct.error):  # it is no TIFF structure
        return None
    value = exif.get(_ORIENTATION)
    return value if value in range(1, 9) else None


def _write_tags(out: io.BytesIO, tags: dict[int, tuple[int, Sequence[int] | bytes]]) -> None:
    """The values that do not fit the directory, then it, then its place at the start."""
    entries = []
    for tag, (form, values) in sorted(tags.items()):
        data = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{_FORMS[form]}", *values)
        count = len(values) // (2 if form == _RATIONAL else 1)
        if len(data) > 4:
            out.write(bytes(out.tell() % 2))
            place = out.tell()
            out.write(data)
            data = _offset(place)
        entries.append(struct.pack("<HHI", tag, form, count) + data.ljust(4, b"\0"))
    out.write(bytes(out.tell() % 2))
    directory = out.tell()
    out.write(struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))
    out.seek(4)
    out.write(_offset(directory))


def _offset(place: int) -> bytes:
    if place >= 1 << 32:
        raise ImageError("is too large for a TIFF")
    return place.to_bytes(4, "little")
