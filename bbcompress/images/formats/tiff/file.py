"""TIFF: its images one by one, with their metadata; and a writer that leaves nothing out.

Tags that are neither of the pixels nor an ICC profile, XMP or the resolution are one record, EXIF, which is a TIFF
structure itself: so other formats can hold them, and a TIFF gets them back as its own tags.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bbcompress.errors import FormatError, ImageError
from bbcompress.images.formats.tiff.directory import (
    ASCII,
    BYTE,
    EXIF_IFD,
    GPS_IFD,
    IFD,
    IFD8,
    INTEROPERABILITY_IFD,
    LONG,
    LONG8,
    RATIONAL,
    SHORT,
    SIGNED_LONG8,
    UNDEFINED,
    Directory,
    Entry,
    TiffFile,
    Tree,
    Values,
    write_directory,
    write_structure,
)
from bbcompress.images.formats.tiff.pixels import (
    BITS,
    COLOUR_MAP,
    COMPRESSION,
    EXTRA_SAMPLES,
    HEIGHT,
    HUFFMAN,
    INK_SET,
    LAYOUT,
    NO_COMPRESSION,
    OF_OLD_JPEG,
    OLD_JPEG,
    PHOTOMETRIC,
    QUANTISATION,
    ROWS_PER_STRIP,
    SAMPLES,
    STRIP_BYTES,
    STRIP_OFFSETS,
    SUBFILE_TYPE,
    TILE_BYTES,
    TILE_OFFSETS,
    WIDTH,
    Layout,
    read_chunks,
    read_layout,
    read_pixels,
)
from bbcompress.images.metadata import (
    EXIF,
    ICC,
    LEVELS,
    MAX_IMAGE_BYTES,
    PER_INCH,
    PER_METRE,
    PIXEL_ASPECT,
    RECORD_COST,
    RESOLUTION,
    TEXT,
    XMP,
    Metadata,
    Record,
    decode_metadata,
    encode_metadata,
    levels_of,
    levels_record,
    lowest,
    names_of,
    parse_resolution,
    resolution,
    within_limits,
)

Pixels = npt.NDArray[Any]

_DESCRIPTION = 270
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_XMP, _ICC = 700, 34675
_ALL_METADATA = 65212
"""A tag of ours, of those that TIFF leaves to anyone: all records, where its own tags cannot hold them."""
_ALL_METADATA_START = b"bbc metadata 1\0"

_RESOLUTION_TAGS = {_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT}
_INCHES = SHORT, b"\2\0"
_SUB_IFDS, _GLOBAL_IFD, _LSM = 330, 400, 34412
_MOST_SUB_IFDS = 64
"""Bytes of the tag: further pictures are not looked at to find out what kind of file it is."""
_DNG_VERSION, _COLOUR_FILTERS, _LINEAR_RAW = 50706, 32803, 34892
_JPEG_START, _JPEG_BYTES = 513, 514
_FREE_START, _FREE_BYTES = 288, 289
_NOT_CARRIED = {
    _SUB_IFDS: "further images",
    **dict.fromkeys(range(33628, 33632), "further images"),  # MetaMorph's stacks have theirs behind the first
    _JPEG_START: "thumbnail",
    _JPEG_BYTES: "thumbnail",
    **dict.fromkeys((512, *range(515, 522), _GLOBAL_IFD, _LSM), "TIFF tags"),
}
"""Tags that point into their file, and what is lost with them."""

_OF_YCBCR = {529, 532}
_OF_SAMPLES = {280, 281, 290, 291, 301, 336, 340, 341, 342}
"""Tags that speak of the samples' values, which are not true any more where these are scaled or turned round."""
_NAMES = {
    **dict.fromkeys((290, 291, 301, 318, 319, 342, 529, 532), "colour space"),
    33723: "IPTC",
    34377: "Photoshop data",
    37724: "Photoshop layers",
    EXIF_IFD: "EXIF",
    GPS_IFD: "EXIF",
    INTEROPERABILITY_IFD: "EXIF",
}
_YCBCR, _MASK, _MASK_SUBFILE = 6, 4, 4
_DIRECTORIES = (EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD)
_TEXT_TAGS = {
    b"Title": 269, b"Description": _DESCRIPTION, b"Comment": _DESCRIPTION, b"Software": 305, b"Author": 315,
    b"Copyright": 33432,
}  # fmt: skip
"""Tags that say what texts of a PNG with these keywords do."""
_IMAGEJ = re.compile(rb"ImageJ=[^\0]*?\nimages=(\d{1,9})[\n\r\0]")
_IMAGEJ_BYTES = 1 << 10
_GAP_BYTES, _HEADER_BYTES = 32, 8
_TABLE_BYTES = 64


class TiffImage(NamedTuple):
    """An image of a TIFF: what `PixelImage` has under the same names."""

    mode: str
    pixels: Pixels
    palette: bytes
    metadata: Metadata
    lost: tuple[str, ...]


class TiffReader:
    """Reads the images of a TIFF, each at no more than its own cost."""

    def __init__(self, data: bytes, max_pixels: int) -> None:
        """Raises ImageError where the directories cannot be followed."""
        self._file = TiffFile(data)
        self._places = list(self._file.places())
        self._max_pixels = max_pixels
        if _is_raw_photograph(self._file, self._places):
            raise ImageError("is a camera's raw photograph, which is not supported")

    def __len__(self) -> int:
        return len(self._places)

    def read(self, number: int) -> TiffImage:
        """One of the images.

        Raises:
            ImageError: the file is damaged, or of a kind that would not be kept; the message names the kind.
        """
        file = self._file
        directory = file.directory(self._places[number])
        layout = read_layout(file, directory, self._max_pixels)
        if number == 0:
            self._check_stack(directory, layout)
        chunks = read_chunks(file, directory, layout)
        palette, carried = _palette(file, directory, layout)
        lost: set[str] = set()
        if carried is not None and carried:
            lost.add("16-bit colours of the palette (except in TIFF)")
        if number == 0 and _unreferenced(file.data):
            lost.add("data that no tag points to")
        if layout.alpha_unsaid:
            lost.add("unstated meaning of the fourth sample")
        metadata = _read_metadata(file, directory, layout, carried is not None or layout.mode != "P", lost)
        pixels = read_pixels(file, directory, layout, chunks, lost)
        kept, too_much = within_limits(metadata)
        return TiffImage(layout.mode, pixels, palette, kept, tuple(sorted({*lost, *too_much})))

    def _check_stack(self, directory: Directory, layout: Layout) -> None:
        """Refuse stacks of ImageJ in one directory.

        ImageJ does not compress those. So a TIFF that is written of one of several images can keep its description.

        Raises:
            ImageError: the file is a stack of images of which all but the first have no directory.
        """
        entry = directory.entries.get(_DESCRIPTION)
        text = b"" if entry is None else self._file.data[entry.place : entry.place + min(entry.length, _IMAGEJ_BYTES)]
        found = _IMAGEJ.match(text)
        if found is not None and int(found[1]) > len(self) and layout.compression == NO_COMPRESSION:
            raise ImageError(f"is a TIFF of an ImageJ stack ({int(found[1])} images, not all in directories), "
                             "which is not supported")  # fmt: skip


def _is_raw_photograph(file: TiffFile, places: Sequence[int]) -> bool:
    """Whether a TIFF is what a camera's sensor saw, with small pictures beside it: DNG, CR2, NEF and their like."""
    if file.data[8:10] == b"CR" or not places:
        return file.data[8:10] == b"CR"
    first = file.directory(places[0])
    if _DNG_VERSION in first.entries:
        return True
    entry = first.entries.get(_SUB_IFDS)
    inner = None if entry is None or entry.length > _MOST_SUB_IFDS else file.numbers(entry)
    for place in [] if inner is None else inner.tolist():
        with suppress(ImageError):
            entry = file.directory(place).entries.get(PHOTOMETRIC)
            values = None if entry is None or entry.length > _MOST_SUB_IFDS else file.numbers(entry)
            if values is not None and values.tolist() in ([_COLOUR_FILTERS], [_LINEAR_RAW]):
                return True
    return False


def _palette(file: TiffFile, directory: Directory, layout: Layout) -> tuple[bytes, bool | None]:
    """The colours of mode P. Beside them None where a TIFF that is written has the same colour map, else whether that
    says more than the colours."""
    if layout.mode != "P":
        return b"", None
    entry = directory.entries.get(COLOUR_MAP)
    values = None if entry is None else file.numbers(entry)
    if values is None or len(values) != 3 << layout.bits or int(values.max()) > 0xFFFF:
        raise ImageError("is damaged: it has no colour map, or one of another size than its samples need")
    wide = values.astype(np.uint16)
    colours = _colours_of(wide)
    if np.array_equal(wide, 257 * colours.astype(np.uint16)):
        more = None
    else:
        more = bool(wide.max() > 0xFF and (wide & 0xFF).any() and not np.array_equal(wide, 257 * (wide >> 8)))
    return colours.reshape(3, -1).T.tobytes(), more


def _colours_of(wide: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """The colour map's values as 8 bits. Where none is above 255, an old program meant them so, as readers assume."""
    return (wide if int(wide.max()) <= 0xFF else wide >> 8).astype(np.uint8)


def _unreferenced(data: bytes) -> bool:
    """Whether there are bytes, other than 0, that no directory and no tag of any points to."""
    file = TiffFile(data)
    starts: list[Any] = [np.zeros(1, np.int64)]
    ends: list[Any] = [np.full(1, 16 if file.big else 8, np.int64)]
    left = list(file.places())[::-1]
    seen = set(left)
    while left:
        try:
            directory = file.directory(left.pop())
        except ImageError:
            continue
        entries = directory.entries
        places = [directory.place]
        places += [(one.place, one.place + one.size) for one in (*entries.values(), *directory.again) if one.size]
        known = np.array([place for place in places if max(place) <= len(data)], np.int64).reshape(-1, 2)
        starts.append(known[:, 0])
        ends.append(known[:, 1])
        for start_tag, length_tag in ((STRIP_OFFSETS, STRIP_BYTES), (TILE_OFFSETS, TILE_BYTES),
                                      (_JPEG_START, _JPEG_BYTES), (_FREE_START, _FREE_BYTES)):  # fmt: skip
            if start_tag in entries:
                start, end = _extents(file, entries[start_tag], entries.get(length_tag))
                starts.append(start)
                ends.append(end)
        known = _tables(file, directory)
        starts.append(known[:, 0])
        ends.append(known[:, 1])
        for tag in (_SUB_IFDS, _GLOBAL_IFD, *_DIRECTORIES):
            numbers = file.numbers(entries[tag]) if tag in entries else None
            for number in [] if numbers is None else numbers.tolist():
                if number not in seen:
                    seen.add(number)
                    left.append(number)
    start, end = np.concatenate(starts), np.concatenate(ends)
    order = np.argsort(start, kind="stable")
    start, covered = start[order], np.maximum.accumulate(end[order])
    gaps = np.flatnonzero(start[1:] > covered[:-1])
    firsts, lasts = covered[gaps].tolist(), start[gaps + 1].tolist()
    return any(not _is_empty(data, *gap) for gap in zip((*firsts, int(covered[-1])), (*lasts, len(data)), strict=True))


def _is_empty(data: bytes, start: int, end: int) -> bool:
    """Whether bytes are 0, or the header of another TIFF, whose images are this one's now: so Pillow joins them."""
    if data.count(0, start, end) == end - start:
        return True
    content = data[start:end].strip(b"\0") if end - start <= _GAP_BYTES else b""
    return len(content) <= _HEADER_BYTES and content.startswith((b"II*", b"MM\0*"))


def _tables(file: TiffFile, directory: Directory) -> Any:
    """From, to, of the tables of an old JPEG."""
    places = []
    for tag in (QUANTISATION, *HUFFMAN):
        numbers = file.numbers(directory.entries[tag]) if tag in directory.entries else None
        for start in [] if numbers is None else numbers[:4].tolist():
            if start + _TABLE_BYTES <= len(file.data):
                size = _TABLE_BYTES if tag == QUANTISATION else 16 + sum(file.data[start : start + 16])
                places.append((start, min(start + size, len(file.data))))
    return np.array(places, np.int64).reshape(-1, 2)


def _extents(file: TiffFile, offsets: Entry, lengths: Entry | None) -> tuple[Any, Any]:
    """From, to, of the strips, or whatever else two tags of a file tell of; without lengths to the end of the file."""
    nothing = np.zeros(0, np.int64)
    start = file.numbers(offsets)
    length = None if lengths is None else file.numbers(lengths)
    if start is None or (lengths is not None and (length is None or len(length) < len(start))):
        return nothing, nothing
    size = len(file.data)
    start = np.minimum(start, size).astype(np.int64)
    if length is None:
        return start, np.full(len(start), size, np.int64)
    return start, start + np.minimum(length[: len(start)], size).astype(np.int64)


def _read_metadata(
    file: TiffFile, directory: Directory, layout: Layout, keep_map: bool, lost: set[str]
) -> list[Record]:
    """The records of an image.

    Args:
        keep_map: whether its colour map is one of what they tell.
        lost: gets names.
    """
    left_out = set(LAYOUT) | (set() if keep_map else {COLOUR_MAP})
    if layout.scaled:
        left_out |= _OF_SAMPLES
        lost |= {_name_of(tag) for tag in _OF_SAMPLES & directory.entries.keys()
                 if not _is_default(tag, _tree_value(file, directory, tag), layout.bits)}  # fmt: skip
    if layout.compression == OLD_JPEG:
        left_out |= OF_OLD_JPEG
    if layout.photometric == _YCBCR:
        left_out |= _OF_YCBCR
        lost |= {_name_of(tag) for tag in _OF_YCBCR & directory.entries.keys()
                 if not _is_usual_ycbcr(_tree_value(file, directory, tag))}  # fmt: skip
    if layout.mode == "CMYK":
        left_out.add(INK_SET)
    if layout.photometric == _MASK:
        lost.add("role as a transparency mask")
        left_out.add(SUBFILE_TYPE)
    tree = _read_tree(file, directory, left_out, layout.bits, lost)
    ours = tree.tags.pop(_ALL_METADATA, None)
    if ours is not None and ours[1].startswith(_ALL_METADATA_START):
        try:
            (metadata,) = decode_metadata(ours[1][len(_ALL_METADATA_START) :], 1)
        except FormatError as fault:
            raise ImageError(f"is damaged: it has metadata as bbc writes it, but {fault}") from fault
        if _is_part(tree, _metadata_tree(metadata, layout.bits)[0]):
            return list(metadata)
        lost.add("metadata that another program has changed since bbc wrote it")
    elif ours is not None:
        lost.add(_name_of(_ALL_METADATA))
    levels = levels_record("L", (1 << layout.bits) - 1) if layout.mode == "L" else None
    return _records(tree, lost) + ([] if levels is None else [levels])


def _tree_value(file: TiffFile, directory: Directory, tag: int) -> tuple[int, bytes]:
    entry = directory.entries[tag]
    return entry.form, file.bytes_of(entry) or b""


def _is_part(part: Tree, whole: Tree) -> bool:
    """Whether all that one tree says stands in the other, as well."""
    return all(whole.tags.get(tag) == value for tag, value in part.tags.items()) and all(
        _is_part(directory, whole.directories.get(tag, Tree())) for tag, directory in part.directories.items()
    )


def _read_tree(file: TiffFile, directory: Directory, left_out: Collection[int], bits: int, lost: set[str]) -> Tree:
    """The tags of a directory that can stand in another file.

    Args:
        lost: gets names of those that cannot.
    """
    tree = Tree()
    lost |= {_name_of(tag) for tag in directory.twice if tag not in left_out}
    for tag, entry in directory.entries.items():
        if tag in left_out:
            continue
        if tag in _DIRECTORIES:
            inner = _read_inner(file, entry, tag, lost)
            if inner:
                tree.directories[tag] = inner
        elif tag in _NOT_CARRIED or entry.form in (IFD, IFD8):
            lost.add(_NOT_CARRIED.get(tag, "further images"))
        else:
            values = file.bytes_of(entry) if entry.form not in (LONG8, SIGNED_LONG8) else None
            if values is None:
                lost.add(_name_of(tag))
            elif not _is_default(tag, (entry.form, values), bits):
                tree.tags[tag] = (entry.form, values)
    return tree


def _read_inner(file: TiffFile, entry: Entry, tag: int, lost: set[str]) -> Tree | None:
    """The directory of EXIF, GPS or interoperability; None where it is damaged or stands where it should not."""
    numbers = file.numbers(entry)
    try:
        directory = None if numbers is None or len(numbers) != 1 else file.directory(int(numbers[0]))
    except ImageError:
        directory = None
    nested = set() if directory is None else set(_DIRECTORIES) & directory.entries.keys()
    if directory is None or nested - ({INTEROPERABILITY_IFD} if tag == EXIF_IFD else set()):
        lost.add("EXIF")
        return None
    return _read_tree(file, directory, (), 0, lost)


def _name_of(tag: int) -> str:
    return _NAMES.get(tag, "TIFF tags")


def _is_default(tag: int, value: tuple[int, bytes], bits: int) -> bool:
    """Whether a tag of an image, of so many bits a sample, says what is so without it."""
    defaults = {SUBFILE_TYPE: [0], 255: [1], 263: [1], 274: [1], 280: [0], 281: [(1 << bits) - 1], 334: [4],
                336: [0, (1 << bits) - 1]}  # fmt: skip
    if not bits or tag not in defaults:
        return False
    numbers = Tree({tag: value}).numbers(tag)
    expected = defaults[tag]
    return bool(numbers) and numbers == expected * (1 if tag not in (280, 281) else len(numbers or ()))


def _is_usual_ycbcr(value: tuple[int, bytes]) -> bool:
    """Whether it says of YCbCr what JPEG's decoders assume: the luma of ITU-R BT.601, and samples of full range."""
    form, values = value
    if form != RATIONAL or len(values) % 8:
        return False
    numbers = np.frombuffer(values, "<u4").reshape(-1, 2).astype(float)
    if not numbers[:, 1].all():
        return False
    ratios = numbers[:, 0] / numbers[:, 1]
    return any(
        len(usual) == len(ratios) and bool(np.allclose(ratios, usual, atol=1e-4))
        for usual in ((0.299, 0.587, 0.114), (0, 255, 128, 255, 128, 255))
    )


def _records(tree: Tree, lost: set[str]) -> list[Record]:
    """The records that tags say; takes the tags of the ICC profile, XMP and the resolution out of them.

    Tags of a resolution that is written in another way (11811 by 100 a centimetre, which is 300 an inch), or is none,
    stay among the others beside its record.
    """
    records = []
    for kind, tag, start in ((ICC, _ICC, b"\0"), (XMP, _XMP, b"")):
        if tag in tree.tags:
            form, values = tree.tags.pop(tag)
            record = Record(kind, start + values)
            if form in (BYTE, UNDEFINED):
                records.append(record)
            else:
                lost.update(names_of([record]))
    found, whole = _stated_resolution(tree.tags)
    if found is not None:
        records.append(found)
    if whole:
        tree.tags = {tag: value for tag, value in tree.tags.items() if tag not in _RESOLUTION_TAGS}
    room = MAX_IMAGE_BYTES - sum(record.cost for record in records) - RECORD_COST
    while tree and (over := len(write_structure(tree)) - room) > 0:
        largest = sorted(tree.tags, key=lambda tag: len(tree.tags[tag][1]), reverse=True)
        if not largest:
            lost.add("EXIF")
            tree = Tree()
        for tag in largest:  # at once, or many tags would be written anew for each
            if over <= 0:
                break
            lost.add(_name_of(tag))
            over -= len(tree.tags.pop(tag)[1])
    if tree:
        records.append(Record(EXIF, write_structure(tree)))
    return records


def _ratio(value: tuple[int, bytes] | None) -> tuple[int, int] | None:
    """A positive fraction of a tag that has one."""
    if value is None:
        return None
    form, values = value
    if form == RATIONAL and len(values) == 8:
        over, under = struct.unpack("<II", values)
        return over, under
    numbers = Tree({0: value}).numbers(0)
    return (numbers[0], 1) if numbers and len(numbers) == 1 else None


def _resolution(units: list[int] | None, x: tuple[int, int] | None, y: tuple[int, int] | None) -> Record | None:
    """The record of the resolution; None where the tags state none, or only that pixels are square."""
    unit = {1: PIXEL_ASPECT, 2: PER_INCH, 3: PER_METRE}.get(units[0]) if units and len(units) == 1 else None
    if unit is None or x is None or y is None or (unit == PIXEL_ASPECT and x == y):
        return None
    factor = 100 if unit == PER_METRE else 1  # TIFF counts by the centimetre
    return resolution(unit, (x[0] * factor, x[1]), (y[0] * factor, y[1]))


def _stated_resolution(tags: Mapping[int, Values]) -> tuple[Record | None, bool]:
    """The record of the resolution that tags state, and whether the tags say no more than the record."""
    stated = {tag: tags[tag] for tag in _RESOLUTION_TAGS if tag in tags}
    units = Tree(stated).numbers(_RESOLUTION_UNIT) if _RESOLUTION_UNIT in stated else [2]
    found = _resolution(units, _ratio(stated.get(_X_RESOLUTION)), _ratio(stated.get(_Y_RESOLUTION)))
    if found is None:
        return None, not stated or stated == {_RESOLUTION_UNIT: _INCHES}
    return found, stated == _resolution_tags(found)


def _resolution_tags(record: Record) -> dict[int, Values]:
    """The tags that state a resolution; none where its numbers are too large."""
    unit, x, y = parse_resolution(record)
    if unit == PER_METRE:
        x, y = lowest(x[0], 100 * x[1]), lowest(y[0], 100 * y[1])
    if max(*x, *y) >= 1 << 32:
        return {}
    number = {PIXEL_ASPECT: 1, PER_INCH: 2, PER_METRE: 3}[unit]
    return {
        _X_RESOLUTION: (RATIONAL, struct.pack("<II", *x)),
        _Y_RESOLUTION: (RATIONAL, struct.pack("<II", *y)),
        _RESOLUTION_UNIT: (SHORT, struct.pack("<H", number)),
    }


# Of each mode: the meaning of the samples, and of the one that is none of the colour.
_WRITTEN = {
    "1": (1, ()),
    "L": (1, ()),
    "I;16": (1, ()),
    "LA": (1, (2,)),
    "LA;16": (1, (2,)),
    "P": (3, ()),
    "RGB": (2, ()),
    "RGB;16": (2, ()),
    "RGBA": (2, (2,)),
    "RGBA;16": (2, (2,)),
    "CMYK": (5, ()),
}
_PALETTE_BITS = {2: 1, 4: 2, 16: 4, 256: 8}
"""Bits of an index into a palette of so many colours."""
_LEVELS_BITS = {3: 2, 15: 4}
"""Bits of grey of so many levels, one more than this."""
_STRIP_BYTES = 1 << 20


def can_write(mode: str) -> bool:
    """Whether `write_pixels` writes images of that mode."""
    return mode in _WRITTEN


def write_pixels(mode: str, pixels: Pixels, palette: bytes, metadata: Metadata) -> bytes:
    """A deflated TIFF.

    Args:
        palette: the colours, for mode P.

    Raises:
        ImageError: the file would exceed 4 GiB, or the palette has a number of colours that no depth has.
    """
    photometric, extra = _WRITTEN[mode]
    height, width = pixels.shape[:2]
    samples = pixels.size // (height * width)
    bits = 1 if mode == "1" else 8 * pixels.itemsize
    if mode == "P":
        if len(palette) // 3 not in _PALETTE_BITS:
            raise ImageError(f"TIFF cannot hold a palette of {len(palette) // 3} colours")
        bits = _PALETTE_BITS[len(palette) // 3]
    maximum = next((levels_of(record) for record in metadata if record.kind == LEVELS), 255)
    step = 1
    if mode == "L" and maximum in _LEVELS_BITS:
        bits, step = _LEVELS_BITS[maximum], 255 // maximum
    tree, whole = _metadata_tree(metadata, bits)
    if mode == "P":
        tree.tags[COLOUR_MAP], same = _colour_map(palette, tree.tags.get(COLOUR_MAP))
        whole &= same
    whole &= step == 1 or not tree.tags.keys() & _OF_SAMPLES
    if not whole:
        tree.tags[_ALL_METADATA] = (UNDEFINED, _ALL_METADATA_START + encode_metadata([metadata]))
    out = bytearray(b"II*\0" + bytes(4))
    rows = max(1, _STRIP_BYTES // ((width * samples * bits + 7) // 8))
    offsets, lengths = [], []
    for top in range(0, height, rows):
        strip = pixels[top : top + rows]
        packed = zlib.compress(_packed(strip if step == 1 else strip // np.uint8(step), bits), 6)
        offsets.append(len(out))
        lengths.append(len(packed))
        out += packed
    if len(out) >= 1 << 32:
        raise ImageError("is too large for a TIFF")
    tags: dict[int, tuple[int, list[int]]] = {
        WIDTH: (LONG, [width]),
        HEIGHT: (LONG, [height]),
        BITS: (SHORT, [bits] * samples),
        COMPRESSION: (SHORT, [8]),
        PHOTOMETRIC: (SHORT, [photometric]),
        STRIP_OFFSETS: (LONG, offsets),
        SAMPLES: (SHORT, [samples]),
        ROWS_PER_STRIP: (LONG, [rows]),
        STRIP_BYTES: (LONG, lengths),
    }
    if extra:
        tags[EXTRA_SAMPLES] = (SHORT, list(extra))
    tree.tags |= {
        tag: (form, struct.pack(f"<{len(numbers)}{'H' if form == SHORT else 'I'}", *numbers))
        for tag, (form, numbers) in tags.items()
    }
    place = write_directory(out, tree)
    if place >= 1 << 32:
        raise ImageError("is too large for a TIFF")
    out[4:8] = place.to_bytes(4, "little")
    return bytes(out)


def _packed(strip: Pixels, bits: int) -> bytes:
    """The bytes of some rows, with so many bits a sample."""
    if bits in (2, 4):
        per_byte = 8 // bits
        padded = np.zeros((len(strip), -(-strip.shape[1] // per_byte) * per_byte), np.uint8)
        padded[:, : strip.shape[1]] = strip
        parts = padded.reshape(len(strip), -1, per_byte)
        shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
        return bytes(np.bitwise_or.reduce(parts << shifts, axis=2).astype(np.uint8))
    if bits == 1:
        return bytes(np.packbits(strip, axis=1))
    return strip.astype(strip.dtype.newbyteorder("<"), copy=False).tobytes()


def _colour_map(palette: bytes, stated: tuple[int, bytes] | None) -> tuple[tuple[int, bytes], bool]:
    """The colour map of a palette: the one that the metadata tell of, if it is of these colours. Whether it is that."""
    colours = np.frombuffer(palette, np.uint8).reshape(-1, 3).T.reshape(-1)
    if stated is not None:
        form, values = stated
        wide = np.frombuffer(values, "<u2") if form == SHORT else np.zeros(0, np.uint16)
        if len(wide) == len(colours) and np.array_equal(_colours_of(wide.astype(np.uint16)), colours):
            return stated, True
    return (SHORT, (257 * colours.astype("<u2")).astype("<u2").tobytes()), stated is None


def _metadata_tree(metadata: Metadata, bits: int) -> tuple[Tree, bool]:
    """Tags for the records, of an image of so many bits a sample; whether these are read back from them."""
    tree = Tree()
    told: Record | None = None
    whole = len({record.kind for record in metadata}) == len(metadata)
    for record in metadata:
        if record.kind == EXIF:
            described, same = _exif_tree(record.data, bits)
            whole &= same
            tree.tags = described.tags | tree.tags
            tree.directories |= described.directories
        elif record.kind == ICC:
            name, _, profile = record.data.partition(b"\0")
            tree.tags[_ICC] = (UNDEFINED, profile)
            whole &= not name
        elif record.kind == XMP:
            tree.tags[_XMP] = (BYTE, record.data)
            whole &= bool(record.data)
        elif record.kind == RESOLUTION:
            told = record
        elif record.kind == LEVELS:
            whole &= levels_of(record) == (1 << bits) - 1
        else:
            whole = False
            if record.kind == TEXT and (text := _text_tag(record.data)) is not None:
                tree.tags.setdefault(*text)
    has_own = bool(tree.tags.keys() & _RESOLUTION_TAGS)
    if not has_own or _stated_resolution(tree.tags) != (told, False):  # else EXIF states the same in its own way
        if told is not None:
            tree.tags = {tag: value for tag, value in tree.tags.items() if tag not in _RESOLUTION_TAGS}
            tree.tags |= _resolution_tags(told)
            whole &= _stated_resolution(tree.tags) == (told, True)
        whole &= not has_own
    return tree, whole


def _text_tag(data: bytes) -> tuple[int, tuple[int, bytes]] | None:
    """A tag, for other programs, of a text of a PNG, or a comment; None where TIFF has none of its meaning."""
    keyword, _, text = data.partition(b"\0")
    tag = _TEXT_TAGS.get(keyword)
    return None if tag is None or b"\0" in text else (tag, (ASCII, text + b"\0"))


def _exif_tree(data: bytes, bits: int) -> tuple[Tree, bool]:
    """The tags of EXIF that can stand in a TIFF, the resolution, too; whether they are read back as these bytes."""
    try:
        file = TiffFile(data)
        place = next(file.places())
        directory = file.directory(place)
        tree = _read_tree(file, directory, LAYOUT | {_ICC, _XMP, _ALL_METADATA}, bits, set())
    except ImageError:  # it is no TIFF structure
        return Tree(), False
    same = not tree.tags.keys() & {_XMP, _ICC, _ALL_METADATA} and write_structure(tree) == data
    return tree, same
