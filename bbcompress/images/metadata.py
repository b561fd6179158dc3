"""What image files say beside the pixels, in one form for all formats: records of a kind and bytes.

docs/format.md, "Metadata". A record is kept as the file had it; only what formats write differently has a form of our
own: the resolution, and texts without their compression.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from bbcompress.errors import FormatError
from bbcompress.wire import CRC_BYTES, ByteReader, crc32, pack, unpack, varint

ICC, EXIF, XMP, TEXT, INTERNATIONAL_TEXT, RESOLUTION = range(1, 7)
CHUNKS = CHUNK_BEFORE_PALETTE, CHUNK_BEFORE_PIXELS, CHUNK_AFTER = 7, 8, 9
LEVELS = 11
"""Kinds of records."""

PIXEL_ASPECT, PER_METRE, PER_INCH = range(3)
"""Units of a resolution."""

MAX_RECORDS = 1 << 12
MAX_IMAGE_BYTES = 1 << 24
"""Most records of an image, and most bytes of them with `RECORD_COST` for each."""

INTERLACED_ROWS = "order of interlaced rows"
OF_PACKING = frozenset((INTERLACED_ROWS,))
"""Names of what is left out and says only how the pixels are packed. Most programs interlace every GIF."""

MAX_NAMES = 32
"""Most names of what is left out of an image."""

RECORD_COST = 16
"""Bytes that a record counts beside its own, so that many empty ones are not for nothing."""

MAX_BLOCK_BYTES = 1 << 25
MAX_BLOCK_RECORDS = 1 << 21
"""Most bytes of a group's block, unpacked, and most records of its images together."""

_MAX_RATIO = 100 * ((1 << 32) - 1)  # of what counts by the centimetre in 32 bits
_METRES_PER_INCH = 254, 10_000  # a fraction
PROFILE_NAME = b"ICC Profile"
"""That of a profile in a PNG whose record has none."""
XMP_KEYWORD = b"XML:com.adobe.xmp"
"""What stands for XMP among the international texts of a PNG."""
_KEYWORD_BYTES = 79
_LANGUAGE_BYTES = 1 << 12

_NAMES = {
    ICC: "ICC profile",
    EXIF: "EXIF",
    XMP: "XMP",
    TEXT: "text",
    INTERNATIONAL_TEXT: "text",
    RESOLUTION: "resolution",
    LEVELS: "number of levels",
}
_CHUNK_NAMES = {
    b"bKGD": "background",
    b"cHRM": "colour space",
    b"cICP": "colour space",
    b"cLLI": "colour space",
    b"gAMA": "colour space",
    b"hIST": "histogram",
    b"iCCP": "ICC profile",
    b"iTXt": "text",
    b"mDCV": "colour space",
    b"PLTE": "suggested palette",
    b"pHYs": "resolution",
    b"sBIT": "significant bits",
    b"sPLT": "suggested palette",
    b"sRGB": "colour space",
    b"tEXt": "text",
    b"tIME": "time",
    b"zTXt": "text",
}
_PIXEL_CHUNKS = {b"tRNS", b"acTL", b"fcTL", b"fdAT"}
"""Ancillary PNG chunks that are no metadata."""


class Record(NamedTuple):
    """One thing that a file says beside its pixels.

    kind: ICC: name, NUL, profile (the name is empty for `ICC Profile`). EXIF: its TIFF structure. XMP: the packet.
        TEXT: keyword, NUL, text, both Latin-1; a comment of JPEG or GIF has the keyword `Comment`. INTERNATIONAL_TEXT:
        keyword in Latin-1, NUL, language, NUL, keyword, NUL, text in UTF-8. RESOLUTION: see `resolution`.
        LEVELS: see `levels_record`. The others: the name of a PNG chunk, four bytes, and its content.
    """

    kind: int
    data: bytes

    @property
    def name(self) -> str:
        """What users call it."""
        if self.kind in CHUNKS:
            return _CHUNK_NAMES.get(self.data[:4], f"PNG chunk {self.data[:4].decode('ascii')}")
        return _NAMES[self.kind]

    @property
    def cost(self) -> int:
        """Bytes that it counts."""
        return len(self.data) + RECORD_COST


Metadata = tuple[Record, ...]
"""An image's records, ordered by kind; of one kind in the order of the file."""


def names_of(records: Iterable[Record]) -> tuple[str, ...]:
    """What users call the records, each name once."""
    return tuple(sorted({record.name for record in records}))


class Collector:
    """Gathers what a file says beside its pixels, within the limits of an image.

    lost: the names of what is left out.
    """

    def __init__(self) -> None:
        self.lost: set[str] = set()
        self._kept: list[Record] = []
        self._cost = 0

    def add(self, record: Record) -> None:
        """One more record, or its name among the lost where an image cannot have it."""
        cost = self._cost + record.cost
        if cost > MAX_IMAGE_BYTES or len(self._kept) == MAX_RECORDS or _record_fault(record):
            self.lost.add(record.name)
        else:
            self._kept.append(record)
            self._cost = cost

    def lose(self, name: str) -> None:
        """One more thing that is left out. Of many different names only some are remembered: a file may invent them."""
        self.lost.add(name if len(self.lost) < MAX_NAMES else "more of unknown kinds")

    @property
    def metadata(self) -> Metadata:
        """The records, in order."""
        return tuple(sorted(self._kept, key=lambda record: record.kind))

    @property
    def names(self) -> tuple[str, ...]:
        """Of what is left out, in order."""
        return tuple(sorted(self.lost))


def within_limits(records: Iterable[Record]) -> tuple[Metadata, tuple[str, ...]]:
    """Those records, in order, that an image can have, and the names of the others, which are not held."""
    collector = Collector()
    for record in records:
        collector.add(record)
    return collector.metadata, collector.names


def fault(metadata: Metadata) -> str | None:
    """Why these may not be the records of an image, None if they may."""
    return _list_fault(metadata) or next((reason for record in metadata if (reason := _record_fault(record))), None)


def _list_fault(metadata: Metadata) -> str | None:
    if len(metadata) > MAX_RECORDS or sum(record.cost for record in metadata) > MAX_IMAGE_BYTES:
        return f"is of more than {MAX_RECORDS} records or {MAX_IMAGE_BYTES >> 20} MiB"
    if any(after.kind < before.kind for before, after in pairwise(metadata)):
        return "is not in order"
    if sum(record.kind == RESOLUTION for record in metadata) > 1:
        return "has two resolutions"
    if sum(record.kind == LEVELS for record in metadata) > 1:
        return "has two numbers of levels"
    return None


def _record_fault(record: Record) -> str | None:
    kind, data = record
    if kind in CHUNKS:
        name = data[:4]
        if len(name) < 4 or not name.isalpha() or name in _PIXEL_CHUNKS or (name[0] < 0x60 and name != b"PLTE"):
            return "has a PNG chunk that is none of metadata"
        return None
    if kind not in _NAMES:
        return f"is of a kind, {kind}, that this version does not know"
    if kind == RESOLUTION:
        try:
            return None if resolution(*parse_resolution(record)) == record else "has a resolution in another form"
        except FormatError:
            return "has a damaged resolution"
    if kind == LEVELS:
        try:
            return None if levels_of(record) in _MAXIMA else "has a number of levels that no format has"
        except FormatError:
            return "has a damaged number of levels"
    if kind == ICC and _ends(data, _KEYWORD_BYTES) is None:
        return "has an ICC profile whose name is too long"
    if kind == ICC and data.endswith(b"\0") and data.count(b"\0") == 1:
        return "has an empty ICC profile"
    if kind == ICC and data.startswith(PROFILE_NAME + b"\0"):
        return "has an ICC profile in another form"
    if kind == INTERNATIONAL_TEXT and data.startswith(XMP_KEYWORD + b"\0\0\0"):
        return "has XMP in another form"
    if kind == TEXT and not _ends(data, _KEYWORD_BYTES):
        return "has a text without keyword"
    if kind == INTERNATIONAL_TEXT and not _ends(data, _KEYWORD_BYTES, _LANGUAGE_BYTES, _LANGUAGE_BYTES):
        return "has a text without keyword or language"
    return None


def _ends(data: bytes, *limits: int) -> int | None:
    """Where the first of some parts ends, each with a NUL behind it and no longer than its limit; None if one does not.

    Only so much is looked at: a text may be long, and be that of many images.
    """
    ends = [-1]
    for limit in limits:
        ends.append(data.find(b"\0", ends[-1] + 1, ends[-1] + 2 + limit))
        if ends[-1] < 0:
            return None
    return ends[1]


def resolution(unit: int, x: tuple[int, int], y: tuple[int, int]) -> Record | None:
    """The record of so many pixels (numerator, denominator) a unit across and down; None for what is none.

    PNG and BMP count whole pixels a metre. What these are, rounded, for whole pixels an inch, is kept as pixels an
    inch, whoever says it; so 300 dpi of a JPEG come back from a PNG.
    """
    if any(not 0 < value <= _MAX_RATIO for value in (*x, *y)) or unit not in (PIXEL_ASPECT, PER_METRE, PER_INCH):
        return None
    (x_over, x_under), (y_over, y_under) = (lowest(*ratio) for ratio in (x, y))
    if unit == PER_METRE and x_under == y_under == 1:
        metre, inch = _METRES_PER_INCH
        inches = [_nearest(value * metre, inch) for value in (x_over, y_over)]
        if [_nearest(value * inch, metre) for value in inches] == [x_over, y_over]:
            unit, (x_over, y_over) = PER_INCH, inches
    numbers = (unit, x_over, x_under, y_over, y_under)
    return Record(RESOLUTION, b"".join(map(varint, numbers)))


def parse_resolution(record: Record) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """The arguments of `resolution`.

    Raises:
        FormatError: the bytes are no such record.
    """
    reader = ByteReader(record.data, "a resolution")
    unit, x_over, x_under, y_over, y_under = (reader.varint(_MAX_RATIO) for _ in range(5))
    reader.finish()
    return unit, (x_over, x_under), (y_over, y_under)


_MAXIMA = frozenset(
    [value for value in range(1, 256) if 255 % value == 0]
    + [value for value in range(257, 65535) if 65535 % value == 0]
)  # fmt: skip
"""The largest samples that files of fewer levels than ours have: such as are spread evenly."""


def levels_record(mode: str, maximum: int) -> Record | None:
    """The record of samples of which the file's largest is this and ours 255, or 65535 for modes of 16 bits, so that
    ours are so many times the file's; in mode P indices, the same in both. None where the two are the same.
    """
    same = mode != "P" and maximum == (65535 if mode.endswith(";16") else 255)
    return None if same else Record(LEVELS, varint(maximum))


def levels_of(record: Record) -> int:
    """The largest sample that the file of a record of `levels_record` can have.

    Raises:
        FormatError: the bytes are no such record.
    """
    reader = ByteReader(record.data, "a number of levels")
    maximum = reader.varint(65535)
    reader.finish()
    return maximum


def depth_of_colours(count: int) -> int:
    """The least depth of a PNG's indices of so many colours."""
    return next(depth for depth in (1, 2, 4, 8) if count <= 1 << depth or depth == 8)


def depth_of_levels(mode: str, maximum: int) -> int | None:
    """The depth, if not the usual one, of a PNG's samples up to a maximum in that mode; None where there is none."""
    return {"L": {3: 2, 15: 4}, "P": {1: 1, 3: 2, 15: 4, 255: 8}}.get(mode, {}).get(maximum)


def per_metre(record: Record) -> tuple[int, int] | None:
    """Whole pixels a metre across and down, below 2^32, that are read back as this record; None where none are."""
    numbers = nearly_per_metre(record)
    same = numbers is not None and resolution(PER_METRE, (numbers[0], 1), (numbers[1], 1)) == record
    return numbers if same else None


def nearly_per_metre(record: Record) -> tuple[int, int] | None:
    """The nearest whole pixels a metre, below 2^32; None where there are none."""
    unit, *ratios = parse_resolution(record)
    factor = _METRES_PER_INCH if unit == PER_INCH else (1, 1)
    x, y = (_nearest(over * factor[1], under * factor[0]) for over, under in ratios)
    return (x, y) if unit != PIXEL_ASPECT and min(x, y) > 0 and max(x, y) < 1 << 32 else None


def lowest(over: int, under: int) -> tuple[int, int]:
    """A fraction in lowest terms."""
    common = math.gcd(over, under)
    return over // common, under // common


def _nearest(over: int, under: int) -> int:
    """The whole number nearest to a fraction."""
    return (2 * over + under) // (2 * under)


def encode_metadata(images: Sequence[Metadata]) -> bytes:
    """The block of a group's images' records; empty if there are none. FormatError above the limits."""
    if not any(images):
        return b""
    numbers: dict[Record, int] = {}
    listed = bytearray()
    for metadata in images:
        listed += varint(len(metadata))
        for record in metadata:
            listed += varint(numbers.setdefault(record, len(numbers)))
    body = bytearray(varint(len(numbers)))
    for record in numbers:
        body += varint(record.kind) + varint(len(record.data)) + record.data
    body += listed
    if len(body) > MAX_BLOCK_BYTES or sum(map(len, images)) > MAX_BLOCK_RECORDS:
        raise FormatError(f"the metadata of {len(images)} images is too much for one group")
    plain, packed = bytes(body), pack(bytes(body))
    start = varint(2 * len(packed) + 1) + packed if len(packed) < len(plain) else varint(2 * len(plain)) + plain
    return start + crc32(plain)


def decode_metadata(block: bytes, count: int) -> tuple[Metadata, ...]:
    """The records of each of `count` images.

    Raises:
        FormatError: the block is damaged or breaks a rule of the format.
    """
    reader = ByteReader(block, "the metadata")
    length = reader.varint(2 * reader.remaining + 1, "its length")
    data = reader.take(length >> 1)
    if length & 1:
        data = unpack(data, MAX_BLOCK_BYTES)
    if len(data) > MAX_BLOCK_BYTES or reader.take(CRC_BYTES) != crc32(data):
        raise FormatError("the metadata is damaged")
    reader.finish()
    inner = ByteReader(data, "the metadata")
    records = []
    for _ in range(inner.varint(min(inner.remaining, MAX_BLOCK_RECORDS), "the number of records")):
        kind = inner.varint(LEVELS, "a kind of metadata")
        record = Record(kind, inner.take(inner.varint(inner.remaining, "the length of a record")))
        if reason := _record_fault(record):
            raise FormatError(f"the metadata {reason}")
        records.append(record)
    images = []
    used = 0  # records are numbered as they are first used
    left = MAX_BLOCK_RECORDS
    for _ in range(count):
        metadata = []
        for _ in range(inner.varint(min(left, MAX_RECORDS), "the number of an image's records")):
            number = inner.varint(min(used, len(records) - 1), "a record's number")
            used += number == used
            metadata.append(records[number])
        left -= len(metadata)
        if reason := _list_fault(tuple(metadata)):
            raise FormatError(f"the metadata {reason}")
        images.append(tuple(metadata))
    inner.finish()
    if used < len(records) or not records:
        raise FormatError("the metadata has a record of no image")
    return tuple(images)
