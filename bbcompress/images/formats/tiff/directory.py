"""The directories of a TIFF, classic or BigTIFF: their tags as they stand in the file, and such directories written.

EXIF is a TIFF without pixels, so that this reads and writes it, too. What is read of a file is counted: directories
that share their bytes cost no more than a few times the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bbcompress.errors import ImageError

BYTE, ASCII, SHORT, LONG, RATIONAL, SIGNED_BYTE, UNDEFINED, SIGNED_SHORT, SIGNED_LONG = range(1, 10)
SIGNED_RATIONAL, FLOAT, DOUBLE, IFD, LONG8, SIGNED_LONG8, IFD8 = 10, 11, 12, 13, 16, 17, 18
"""Types of values."""

EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD = 34665, 34853, 40965
"""Tags that point to directories that describe the image."""

# Of each type: bytes of a value, and of the numbers that it consists of.
_SIZES = {
    BYTE: (1, 1), ASCII: (1, 1), SHORT: (2, 2), LONG: (4, 4), RATIONAL: (8, 4), SIGNED_BYTE: (1, 1), UNDEFINED: (1, 1),
    SIGNED_SHORT: (2, 2), SIGNED_LONG: (4, 4), SIGNED_RATIONAL: (8, 4), FLOAT: (4, 4), DOUBLE: (8, 8), IFD: (4, 4),
    LONG8: (8, 8), SIGNED_LONG8: (8, 8), IFD8: (8, 8),
}  # fmt: skip
_UNSIGNED = {BYTE, SHORT, LONG, IFD, LONG8, IFD8}
_CLASSIC, _BIG = 42, 43
_TIMES_THE_FILE = 4
"""How often the bytes of a file may be read as directories, values or pixels: files may share some."""
_FREE_BYTES = 1 << 16

Place = tuple[int, int]
"""Where bytes stand in the file: from, to."""


class Entry(NamedTuple):
    """A tag's values: their type, how many there are, and where they stand in the file."""

    form: int
    length: int
    place: int

    @property
    def size(self) -> int | None:
        """Bytes of the values; None for an unknown type."""
        sizes = _SIZES.get(self.form)
        return None if sizes is None else sizes[0] * self.length


class Directory(NamedTuple):
    """The tags of an image in a TIFF.

    Attributes:
        twice: tags that stand there again; the first counts; the others are `again`.
        place: its bytes.
    """

    entries: Mapping[int, Entry]
    twice: frozenset[int]
    place: Place
    again: tuple[Entry, ...]


class TiffFile:
    """The bytes of a TIFF, and what reading them may still cost."""

    def __init__(self, data: bytes) -> None:
        """Raises ImageError where this is no TIFF's header."""
        self.data = data
        self._left = _TIMES_THE_FILE * len(data) + _FREE_BYTES
        if not is_tiff(data):
            raise ImageError("is not a TIFF")
        self.order = "<" if data[:2] == b"II" else ">"
        self.big = _BIG in data[2:4]
        self._form = "Q" if self.big else "I"
        if self.big and data[4:8] != struct.pack(f"{self.order}HH", 8, 0):
            raise ImageError("is a BigTIFF of an unknown kind")
        (self._first,) = self._unpack(self._form, 8 if self.big else 4)

    def charge(self, size: int) -> None:
        """Count bytes that are read.

        Raises:
            ImageError: more bytes are read than a file can need.
        """
        self._left -= size
        if self._left < 0:
            raise ImageError("is damaged: too many of its directories or strips share the same bytes")

    def places(self) -> Iterator[int]:
        """Where the directories stand, one image in each. A chain that comes back to one of them ends there."""
        place, seen = self._first, set[int]()
        while place and place not in seen:
            seen.add(place)
            yield place
            (place,) = self._unpack(self._form, self._entries(place)[1])
        if not seen:
            raise ImageError("is a TIFF without an image")

    def _entries(self, place: int) -> tuple[int, int]:
        """Where the entries of a directory begin and end."""
        form = "Q" if self.big else "H"
        (count,) = self._unpack(form, place)
        start = place + struct.calcsize(form)
        return start, start + count * self._entry_bytes

    @property
    def _entry_bytes(self) -> int:
        return 20 if self.big else 12

    def directory(self, place: int) -> Directory:
        """The directory that stands there."""
        start, end = self._entries(place)
        pointer = struct.calcsize(self._form)
        if end > len(self.data):
            raise ImageError("is cut short or damaged: a directory ends behind the file")
        self.charge(end - start)
        entries: dict[int, Entry] = {}
        twice, again = set(), []
        for at in range(start, end, self._entry_bytes):
            tag, form, count = self._unpack(f"HH{self._form}", at)
            at += 4 + pointer
            entry = Entry(form, count, at)
            if entry.size is not None and entry.size > pointer:
                entry = Entry(form, count, self._unpack(self._form, at)[0])
            if tag in entries:
                twice.add(tag)
                again.append(entry)
            entries.setdefault(tag, entry)
        return Directory(entries, frozenset(twice), (place, end + pointer), tuple(again))

    def bytes_of(self, entry: Entry) -> bytes | None:
        """The values in little-endian order; None where their type is unknown, or they are not in the file."""
        if not entry.size or entry.place + entry.size > len(self.data):
            return None
        self.charge(entry.size)
        values = self.data[entry.place : entry.place + entry.size]
        item = _SIZES[entry.form][1]
        if self.order == ">" and item > 1:
            return np.frombuffer(values, f">u{item}").astype(f"<u{item}").tobytes()
        return values

    def numbers(self, entry: Entry) -> npt.NDArray[Any] | None:
        """Values that are whole numbers from 0; None for others, and where they are not in the file."""
        values = self.bytes_of(entry) if entry.form in _UNSIGNED else None
        return None if values is None else np.frombuffer(values, f"<u{_SIZES[entry.form][0]}")

    def _unpack(self, form: str, place: int) -> tuple[Any, ...]:
        form = self.order + form
        if place + struct.calcsize(form) > len(self.data):
            raise ImageError("is cut short or damaged: it points to bytes behind its end")
        return struct.unpack_from(form, self.data, place)


def is_tiff(data: bytes) -> bool:
    """Whether a file begins as a TIFF, classic or BigTIFF; some programs turn the number behind the order round."""
    return data[:2] in (b"II", b"MM") and sorted(data[2:4]) in ([0, _CLASSIC], [0, _BIG])


Values = tuple[int, bytes]
"""A tag's type, and its values in little-endian order."""


@dataclass
class Tree:
    """Tags, and the directories that some of them point to."""

    tags: dict[int, Values] = field(default_factory=dict)
    directories: dict[int, Tree] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tags or self.directories)

    def numbers(self, tag: int) -> list[int] | None:
        """Values of a tag that are whole numbers from 0; None where there are none."""
        form, values = self.tags.get(tag, (0, b""))
        return np.frombuffer(values, f"<u{_SIZES[form][0]}").tolist() if form in _UNSIGNED else None


def write_directory(out: bytearray, tree: Tree) -> int:
    """Append a directory to a file, with its values and the directories that it points to; return its place.

    The file is a classic TIFF in little-endian order.

    Raises:
        ImageError: the file becomes larger than the format allows.
    """
    out += bytes(len(out) % 2)
    place = len(out)
    tags: dict[int, Values | Tree] = {**tree.tags, **tree.directories}
    out += struct.pack("<H", len(tags)) + bytes(12 * len(tags) + 4)
    for number, (tag, content) in enumerate(sorted(tags.items(), key=lambda item: item[0])):
        if isinstance(content, Tree):
            form, values = LONG, struct.pack("<I", write_directory(out, content))
        else:
            form, values = content
        count = len(values) // _SIZES[form][0]
        if len(values) > 4:
            out += bytes(len(out) % 2)
            if len(out) + len(values) >= 1 << 32:
                raise ImageError("is too large for a TIFF")
            values, start = struct.pack("<I", len(out)), values
            out += start
        at = place + 2 + 12 * number
        out[at : at + 12] = struct.pack("<HHI", tag, form, count) + values.ljust(4, b"\0")
    return place


def write_structure(tree: Tree) -> bytes:
    """A TIFF of tags alone, as EXIF is one: the same bytes for the same tags."""
    out = bytearray(b"II*\0\x08\0\0\0")
    write_directory(out, tree)
    return bytes(out)
