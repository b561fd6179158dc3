"""JPEG: its segments, of which kind it is, what it says beside the pixels, and what a decoder needs of it."""

from __future__ import annotations

import io
import re
import struct
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from bbcompress.errors import ImageError
from bbcompress.images.decoders import check_size
from bbcompress.images.formats.jpeg.scans import ScanReader
from bbcompress.images.metadata import (
    EXIF,
    ICC,
    PER_INCH,
    PER_METRE,
    PIXEL_ASPECT,
    TEXT,
    XMP,
    Collector,
    Metadata,
    Record,
    resolution,
)

_EXIF_START = b"Exif\0\0"
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_XMP_START = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_XMP_START = b"http://ns.adobe.com/xmp/extension/\0"
_ICC_START = b"ICC_PROFILE\0"
_MPF_START = b"MPF\0"
_MPF_PICTURES = 0xB002
_LONGEST_START = 40

_EOI, _SOS, _DNL, _DHP, _EXP, _COM, _JPEG_LS = 0xD9, 0xDA, 0xDC, 0xDE, 0xDF, 0xFE, 0xF7
_APP0, _APP15 = 0xE0, 0xEF
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))
"""Markers without a segment: TEM, RST0 to RST7, SOI."""

_NO_FRAME = frozenset((0xC4, 0xC8, 0xCC))
"""Of C0 to CF those that begin no frame: DHT, JPG, DAC."""

_READ_FRAMES = frozenset((0xC0, 0xC1, 0xC2))
"""Baseline, extended and progressive, with Huffman codes."""

_ARITHMETIC = frozenset((0xC9, 0xCA))

_OF_PIXELS = frozenset((*range(0xC0, 0xD0), 0xDA, 0xDB, 0xDC, 0xDD))
"""Segments that a decoder needs."""

_TABLES = frozenset((0xC4, 0xDB, 0xDD, _EOI))
"""What a JPEG without an image needs: DHT, DQT, DRI."""

_WITHOUT_USE = frozenset((0xC8, 0xCC, 0xDC))
"""JPG, which is reserved, DAC and DNL, which a decoder of Huffman codes and known heights has no use for."""

_END = bytes((0xFF, _EOI))
MISSING_END = "what may be missing at the file's end"
"""Named where a JPEG has no marker at its end."""

_FILL = re.compile(rb"\xff+")
_SCAN_END = re.compile(rb"\xff[^\0\xd0-\xd7\xff]", re.DOTALL)


@dataclass
class Jpeg:
    """A JPEG. image: its bytes as far as a decoder needs them. metadata, lost: as an image has them."""

    width: int
    height: int
    image: bytes
    metadata: Metadata
    lost: tuple[str, ...]


@dataclass(frozen=True)
class JpegTables:
    """What a JPEG without an image says for others. scans: follows none yet. lost: names of what else it holds."""

    scans: ScanReader
    lost: tuple[str, ...]


@dataclass
class _Found:
    """What is gathered on the way through the segments."""

    samples: Collection[int]
    collector: Collector = field(default_factory=Collector)
    exif: list[bytes] = field(default_factory=list)
    profile: list[tuple[int, int, int, int]] = field(default_factory=list)
    once: set[str] = field(default_factory=set)
    scans: ScanReader = field(default_factory=ScanReader)
    size: tuple[int, int] | None = None
    further: list[tuple[int, int]] = field(default_factory=list)


def parse_tables(data: bytes) -> JpegTables:
    """The tables of a JPEG without an image, which many may share.

    Raises:
        ImageError: one is damaged.
    """
    scans, collector = ScanReader(), Collector()
    for marker, _, body, stop in _segments(data, collector):
        scans.segment(marker, memoryview(data)[body:stop])
        if marker not in _TABLES or (marker == _EOI and stop < len(data)):
            collector.lose("data beside its JPEG tables")
    return JpegTables(scans, collector.names)


def parse_jpeg(
    data: bytes, max_pixels: int, tables: JpegTables | None = None, samples: Collection[int] = (1, 3, 4)
) -> Jpeg:
    """The parts of a JPEG whose scans have all pixels, which no decoder needs to make up.

    tables: those that count for this one, too. samples: how many of a pixel are supported.

    Raises:
        ImageError: it is damaged or cut short, has more than `max_pixels`, or is of a kind that is not supported,
            which it names.
    """
    found = _Found(samples)
    used = array("Q", [0, 2])  # starts and ends of what a decoder needs
    end, view = len(data), memoryview(data)
    if tables is not None:
        found.scans = tables.scans.with_tables()
        found.collector.lost.update(tables.lost)
    for marker, start, body, stop in _segments(data, found.collector):
        needed = marker in (*(_OF_PIXELS - _WITHOUT_USE), _EOI) or _is_needed(data, marker, body, stop)
        if marker == _EOI:
            end = stop
        elif marker in _OF_PIXELS - _WITHOUT_USE:
            _check(data, marker, body, stop, max_pixels, found)
            found.scans.segment(marker, view[body:stop])
        elif marker in (_DHP, _EXP):
            raise ImageError("is a hierarchical JPEG, which is not supported")
        elif marker == _JPEG_LS:
            raise ImageError("is a JPEG-LS image, which is not supported")
        elif _APP0 <= marker <= _APP15 or marker == _COM:
            _take(data, marker, body, stop, found)
        elif marker != _DNL or data[body:stop] != struct.pack(">H", found.size[1] if found.size else 0):
            found.collector.lose("segments of unknown kinds")
        if needed and used[-1] == start:
            used[-1] = stop
        elif needed:
            used.extend((start, stop))
    if found.size is None:
        raise ImageError("is cut short or damaged: it has no frame")
    if not found.scans.finish():
        found.collector.lose("detail that may be missing in its scans")
    if found.scans.extra:
        found.collector.lose("data between the segments")
    _finish(data, end, found)
    image = _joined(data, used)
    if not image.endswith(_END):
        image += _END
    return Jpeg(*found.size, image, found.collector.metadata, found.collector.names)


def _joined(data: bytes, places: array[int]) -> bytes:
    """The parts of a file that start and end there, one behind the other."""
    if len(places) == 2 and places[1] == len(data):
        return data
    view, out = memoryview(data), io.BytesIO()  # grows in place; to join slices takes an object for each
    for start, end in zip(places[::2], places[1::2], strict=True):
        out.write(view[start:end])
    return out.getvalue()


def _segments(data: bytes, collector: Collector) -> Iterator[tuple[int, int, int, int]]:
    """Each segment up to the end of the image: its marker, where it starts, where its content starts and ends.

    The content of a start of scan goes on to the next marker that is no part of it.
    """
    place = 2
    while place < len(data):
        fill = _FILL.match(data, place)
        if fill is None or fill.end() == len(data) or data[fill.end()] == 0:
            next_place = data.find(b"\xff", (fill.end() if fill else place) + 1)
            collector.lose("data between the segments")
            place = len(data) if next_place < 0 else next_place
            continue
        start, place = fill.end() - 1, fill.end() + 1
        marker = data[place - 1]
        if marker == _EOI:
            yield marker, start, place, place
            return
        if marker in _ALONE:
            collector.lose("data between the segments")
            continue
        length = int.from_bytes(data[place : place + 2], "big")
        if length < 2 or place + length > len(data):
            raise ImageError("is cut short or damaged: a segment does not end")
        stop = place + length
        if marker == _SOS:
            scan_end = _SCAN_END.search(data, stop)
            stop = scan_end.start() if scan_end else len(data)
        yield marker, start, place + 2, stop
        place = stop
    collector.lose(MISSING_END)


def _is_needed(data: bytes, marker: int, body: int, stop: int) -> bool:
    """Whether it is an application segment that says what the samples mean."""
    start = data[body : body + 5]
    return (marker == _APP0 and start == b"JFIF\0") or (marker == 0xEE and start == b"Adobe")


def _check(data: bytes, marker: int, body: int, stop: int, max_pixels: int, found: _Found) -> None:
    """Refuse the frames that are not supported; take the size of the one that is. Refuse headers of a wrong length."""
    if marker == _SOS and int.from_bytes(data[body - 2 : body], "big") != 6 + 2 * data[body]:
        raise ImageError("is damaged: the header of a scan has a wrong length")
    if not 0xC0 <= marker <= 0xCF or marker in _NO_FRAME:
        return
    if found.size is not None:
        raise ImageError("is a hierarchical JPEG, or has several frames, which is not supported")
    if stop - body < 6:
        raise ImageError("is damaged: its frame has no size")
    bits, height, width, components = struct.unpack(">BHHB", data[body : body + 6])
    if marker in _ARITHMETIC:
        raise ImageError("is an arithmetically coded JPEG, which is not supported")
    if marker not in _READ_FRAMES:
        kind = "lossless" if marker in (0xC3, 0xC7, 0xCB, 0xCF) else "hierarchical"
        raise ImageError(f"is a {kind} JPEG of {bits} bits a sample, which is not supported")
    if bits != 8:
        raise ImageError(f"is a JPEG of {bits} bits a sample, which is not supported")
    if height == 0:
        raise ImageError("is a JPEG that says its height only behind the pixels (DNL), which is not supported")
    if width == 0:
        raise ImageError("is damaged: it has no width")
    if components not in found.samples:
        raise ImageError(f"is a JPEG of {components} samples a pixel, which is not supported")
    check_size(width, height, max_pixels)
    if stop - body != 6 + 3 * components:
        raise ImageError("is damaged: the header of its frame has a wrong length")
    found.size = width, height
    found.scans.frame(marker, width, height, memoryview(data)[body + 6 : stop])


def _take(data: bytes, marker: int, body: int, stop: int, found: _Found) -> None:
    """An application segment or comment as metadata, or its name among the lost."""
    collector = found.collector
    start = data[body : min(stop, body + _LONGEST_START)]
    if marker == _COM:
        collector.add(Record(TEXT, b"Comment\0" + data[body:stop]))
    elif marker == 0xE0 and start.startswith(b"JFIF\0") and _first("JFIF", found):
        _take_density(start, stop - body, collector)
    elif marker == 0xE0 and start.startswith(b"JFXX\0"):
        collector.lose("thumbnail")
    elif marker == 0xE1 and start.startswith(_EXIF_START):
        part = data[body + len(_EXIF_START) : stop]
        if not found.exif or not part.startswith(_TIFF_STARTS):  # a long one is in several segments
            found.exif.append(part)
        else:
            collector.lose("EXIF")
    elif marker == 0xE1 and start.startswith(_XMP_START):
        if _first("XMP", found):
            collector.add(Record(XMP, data[body + len(_XMP_START) : stop]))
        else:
            collector.lose("XMP")
    elif marker == 0xE1 and start.startswith(_EXTENDED_XMP_START):
        collector.lose("extended XMP")
    elif marker == 0xE2 and start.startswith(_ICC_START) and stop - body >= 14 and len(found.profile) < 256:
        found.profile.append((data[body + 12], data[body + 13], body + 14, stop))
    elif marker == 0xE2 and start.startswith(_ICC_START):
        collector.lose("ICC profile")
    elif marker == 0xE2 and start.startswith(_MPF_START) and _first("MPF", found):
        found.further = _further_pictures(data, body + 4, stop)
        collector.lose("further pictures" if found.further else "application data")
    elif marker == 0xE2 and start.startswith(b"FPXR\0"):
        collector.lose("FlashPix data")
    elif marker == 0xED:
        collector.lose("Photoshop data")
    elif not (marker == 0xEE and start.startswith(b"Adobe") and stop - body == 12 and _first("Adobe", found)):
        collector.lose("application data")


def _first(name: str, found: _Found) -> bool:
    """Whether a segment of the kind is the first of the file."""
    first = name not in found.once
    found.once.add(name)
    return first


def _take_density(body: bytes, size: int, collector: Collector) -> None:
    """The density of a JFIF segment of so many bytes, of which these are the first."""
    if len(body) < 12:
        collector.lose("resolution")
        return
    thumbnail = 3 * body[12] * body[13] if len(body) >= 14 else 0
    if thumbnail:
        collector.lose("thumbnail")
    if size > 14 + thumbnail:
        collector.lose("application data")
    unit, *density = struct.unpack(">BHH", body[7:12])
    kind = {0: PIXEL_ASPECT, 1: PER_INCH, 2: PER_METRE}.get(unit)
    if (kind == PIXEL_ASPECT and density[0] == density[1]) or not any(density):
        return
    factor = 100 if kind == PER_METRE else 1  # JPEG counts by the centimetre
    record = None if kind is None else resolution(kind, (density[0] * factor, 1), (density[1] * factor, 1))
    if record is None:
        collector.lose("resolution")
    else:
        collector.add(record)


def _finish(data: bytes, end: int, found: _Found) -> None:
    """What is known only when all segments have been seen."""
    collector = found.collector
    if found.exif:
        exif = b"".join(found.exif)
        if exif:
            collector.add(Record(EXIF, exif))
    if found.profile:
        parts = {number: (start, stop) for number, _, start, stop in found.profile}
        count = len(found.profile)
        if all(total == count for _, total, _, _ in found.profile) and sorted(parts) == list(range(1, count + 1)):
            profile = b"".join(data[start:stop] for _, (start, stop) in sorted(parts.items()))
            collector.add(Record(ICC, b"\0" + profile))
        else:
            collector.lose("ICC profile")
    for start, stop in sorted(found.further):
        if _says_something(data, end, min(start, len(data)), bool(found.further)):
            break
        end = max(end, stop)
    if _says_something(data, end, len(data), bool(found.further)):
        collector.lose("data behind the image")


def _says_something(data: bytes, start: int, stop: int, padded: bool) -> bool:
    """Whether there are bytes; between several pictures zeros are padding."""
    return start < stop and not (padded and data.count(b"\0", start, stop) == stop - start)


def _further_pictures(data: bytes, start: int, stop: int) -> list[tuple[int, int]]:
    """Where the pictures beside the first start and end, as a multi-picture segment says; empty for none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[start : start + 4])
    if order is None or stop - start < 8:
        return []
    (place,) = struct.unpack(f"{order}I", data[start + 4 : start + 8])
    entries = data[start + place : stop]
    count = struct.unpack(f"{order}H", entries[:2])[0] if len(entries) >= 2 else 0
    for number in range(min(count, (len(entries) - 2) // 12)):
        tag, _, size, offset = struct.unpack(f"{order}HHII", entries[2 + 12 * number : 14 + 12 * number])
        if tag == _MPF_PICTURES:
            listed = data[start + offset : min(stop, start + offset + size)]
            pictures = [struct.unpack(f"{order}III", listed[p : p + 12]) for p in range(0, len(listed) - 15, 16)]
            return [(start + at, start + at + length) for _, length, at in pictures[1:] if at and length]
    return []
