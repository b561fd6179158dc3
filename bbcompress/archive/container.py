"""The container: lone images, archives of segments of groups, index, checksums. See docs/format.md."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import BinaryIO

from bbcompress.archive.header import MAX_GROUP_IMAGES, GroupHeader
from bbcompress.archive.names import (
    MAX_LISTED,
    Budget,
    Lazy,
    PickedNames,
    decode_names,
    encode_names,
    find_duplicate,
    name_fault,
)
from bbcompress.errors import BBCError, FormatError
from bbcompress.images import MAX_PIXELS
from bbcompress.wire import ByteReader, crc32, pack, unpack, unzigzag, varint, zigzag

MAGIC = b"\xbb\xc1"
"""The hex digits of the name, then of the version, 1."""

PREFIX = MAGIC + b"\x01"
"""What every segment of an archive begins with."""

MAX_ARCHIVE_IMAGES = 1 << 31
MAX_INDEX_BYTES = 1 << 28
"""Most bytes of a segment's index; so that a wrong length never makes a reader take all of a large file."""

_CRC = 4
_FOOTER = 4 + _CRC

_IN_ORDER, _LISTED, _PACKED = range(3)
_POSITION_BYTES = 4  # a position's varint is no longer: twice MAX_LISTED is below 2^28


@dataclass(frozen=True)
class GroupEntry:
    """What the index says of a group.

    offset, length: where its bytes stand in the file.
    count: its images.
    names: theirs, None where the segment has no names.
    positions: of its images in the archive, counted from 0.
    """

    offset: int
    length: int
    count: int
    names: Sequence[str] | None
    positions: Sequence[int]


@dataclass(frozen=True)
class Accounting:
    """Bytes of a file by what they are for; they add up to its size."""

    prefix: int = 0
    group_headers: int = 0
    payloads: int = 0
    checksums: int = 0
    names: int = 0
    index: int = 0
    footer: int = 0

    @property
    def total(self) -> int:
        """The file's size."""
        return sum(asdict(self).values())


@dataclass(frozen=True)
class _Segment:
    groups: tuple[GroupEntry, ...]  # positions and names of this segment alone
    names: Sequence[str] | None
    image_count: int
    name_bytes: int
    index_bytes: int


def is_archive(data: bytes) -> bool:
    """Whether a file that begins with `data` (3 bytes are enough) says that it is an archive."""
    return data[: len(PREFIX)] == PREFIX


def build_lone(header: GroupHeader, payload: bytes, max_pixels: int = MAX_PIXELS) -> bytes:
    """The file of one image: `payload` is its message, or a fallback's item. FormatError for a bad header."""
    start = MAGIC + header.encode_lone(max_pixels)
    return b"".join([start, payload, crc32(start, payload) if header.fallback else b""])


def parse_lone(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[GroupHeader, bytes]:
    """The header and payload of the file of one image.

    A fallback's checksum is verified; a message carries its own. FormatError for anything else.
    """
    _check_magic(data)
    if data[2] & 1:
        raise FormatError("the file is an archive, not a lone image")
    reader = ByteReader(data, "the file", len(MAGIC))
    header = GroupHeader.decode_lone(reader, max_pixels)
    if not header.fallback:
        return header, reader.rest()
    body = reader.take(max(reader.remaining - _CRC, 0))
    if reader.take(_CRC) != crc32(memoryview(data)[:-_CRC]):
        raise FormatError("the file is damaged: its checksum does not fit")
    return header, body


def lone_accounting(data: bytes, max_pixels: int = MAX_PIXELS) -> Accounting:
    """The bytes of the file of one image by what they are for. FormatError as from :func:`parse_lone`."""
    header, payload = parse_lone(data, max_pixels)
    checksum = _CRC if header.fallback else 0
    rest = len(data) - len(PREFIX) - len(payload) - checksum
    return Accounting(prefix=len(PREFIX), group_headers=rest, payloads=len(payload), checksums=checksum)


def join_items(items: Sequence[bytes]) -> bytes:
    """The payload of a fallback group: its items, each with its length."""
    return b"".join(varint(len(item)) + item for item in items)


def split_items(payload: bytes, count: int) -> list[bytes]:
    """The `count` items of a fallback group's payload. FormatError where it does not hold just these."""
    reader = ByteReader(payload, "a fallback group")
    items = []
    for _ in range(count):
        items.append(reader.take(reader.varint(reader.remaining, "the length of an image")))
    reader.finish()
    return items


class ArchiveWriter:
    """Writes one segment of an archive, front to back: alone an archive, behind an archive an addition to it.

    The file is complete once :meth:`close` has returned; it is neither seeked, flushed nor closed here.
    """

    def __init__(self, file: BinaryIO, max_pixels: int = MAX_PIXELS) -> None:
        self._file = file
        self._max_pixels = max_pixels
        self._groups: list[tuple[int, int]] = []  # bytes, images
        self._names: list[str] | None = None
        self._taken: set[str] = set()
        self._positions: list[int] | None = None
        self._image_count = 0
        self._closed = False
        file.write(PREFIX)

    def add_group(
        self,
        header: GroupHeader,
        payload: bytes,
        names: Sequence[str] | None = None,
        positions: Sequence[int] | None = None,
    ) -> None:
        """Write one group of `header.count` images.

        names: relative POSIX paths, one for each image; all groups of a segment have names, or none has.
        positions: of each image in the segment, from 0; None in all groups when they stand in order.

        BBCError for a name that is not allowed or occurs twice, FormatError for a header outside the limits;
        nothing is written then. ValueError where the arguments do not fit each other.
        """
        if self._closed:
            raise ValueError("the segment is closed")
        self._check_lists(header.count, names, positions)
        if self._image_count + header.count > MAX_ARCHIVE_IMAGES:
            raise FormatError(f"an archive holds at most {MAX_ARCHIVE_IMAGES} images")
        data = header.encode_group(self._max_pixels) + varint(len(payload)) + payload
        self._take_names(names or ())
        if not self._groups:
            self._names = None if names is None else []
            self._positions = None if positions is None else []
        if names is not None and self._names is not None:
            self._names += names
        if positions is not None and self._positions is not None:
            self._positions += positions
        self._groups.append((len(data) + _CRC, header.count))
        self._image_count += header.count
        self._file.write(data)
        self._file.write(crc32(data))

    def close(self) -> None:
        """Write the index and the footer. ValueError without groups or a permutation as positions."""
        if self._closed:
            return
        if not self._groups:
            raise ValueError("an archive needs at least one group")
        positions: Sequence[int] = range(self._image_count)
        if self._positions is not None:
            if not _is_permutation(self._positions):
                raise ValueError("the positions are not each of 0, 1, ... once")
            positions = self._positions
        names = self._names
        if names is not None:
            names = [name for _, name in sorted(zip(positions, names, strict=True))]
        parts = [varint(len(self._groups))]
        parts += [varint(length) + varint(count) for length, count in self._groups]
        parts += [encode_names(names), _encode_positions(positions)]
        index = b"".join(parts)
        if len(index) > MAX_INDEX_BYTES:
            raise FormatError(f"the index of {self._image_count} images is too large for one segment")
        size = len(index).to_bytes(4, "little")
        self._file.write(index + size + crc32(PREFIX, index, size))
        self._closed = True

    def _check_lists(self, count: int, names: Sequence[str] | None, positions: Sequence[int] | None) -> None:
        for values in (names, positions):
            if values is not None and len(values) != count:
                raise ValueError(f"{len(values)} names or positions for {count} images")
        if not self._groups:
            return
        if (names is None, positions is None) != (self._names is None, self._positions is None):
            raise ValueError("names and positions are given for all groups of a segment or for none")

    def _take_names(self, names: Sequence[str]) -> None:
        new: set[str] = set()
        for name in names:
            if fault := name_fault(name):
                raise BBCError(f"{name[:80]!r} cannot be a name in an archive: it {fault}")
            if name in self._taken or name in new:
                raise BBCError(f"two images have the name {name[:80]!r}")
            new.add(name)
        self._taken |= new


class ArchiveReader:
    """Reads an archive from a seekable file, which stays open and is not closed here.

    Opening reads the indexes, from the last segment to the first, and no group. `groups` are in the order of
    the file. Each can be read by itself, however damaged the others are.
    """

    def __init__(self, file: BinaryIO, max_pixels: int = MAX_PIXELS) -> None:
        """FormatError where the file is not an archive from its first byte to its last."""
        self._file = file
        self._max_pixels = max_pixels
        end = file.seek(0, os.SEEK_END)
        start = self._read(0, min(end, len(PREFIX)))
        _check_magic(start)
        if not is_archive(start):
            raise FormatError("the file is not an archive")
        budget = Budget()
        segments: list[_Segment] = []
        while end:
            segments.append(self._read_segment(end, budget))
            end = segments[-1].groups[0].offset - len(PREFIX)
        segments.reverse()
        self._segments = segments
        self._starts = [0, *accumulate(segment.image_count for segment in segments)]
        if self.image_count > MAX_ARCHIVE_IMAGES:
            raise FormatError(f"the archive claims {self.image_count} images, the limit is {MAX_ARCHIVE_IMAGES}")
        name = find_duplicate(segment.names for segment in segments if segment.names is not None)
        if name is not None:
            raise FormatError(f"two images of the archive have the name {name[:80]!r}")
        self.groups: list[GroupEntry] = []
        for first, segment in zip(self._starts, segments, strict=False):
            for group in segment.groups:
                self.groups.append(replace(group, positions=_shift(group.positions, first)))

    @property
    def image_count(self) -> int:
        """Images in the archive."""
        return self._starts[-1]

    @property
    def names(self) -> Sequence[str | None]:
        """The names of all images by position, made when asked for; None for images without names."""
        return _ArchiveNames([(segment.names, segment.image_count) for segment in self._segments])

    def read_group(self, number: int) -> tuple[GroupHeader, bytes]:
        """The header and payload of one of `groups`, its checksum verified. FormatError if it is damaged."""
        entry = self.groups[number]
        what = f"group {number}"
        if entry.length < _CRC:
            raise FormatError(f"{what} is cut short")
        data = self._read(entry.offset, entry.length)
        body = data[:-_CRC]
        if data[-_CRC:] != crc32(body):
            raise FormatError(f"{what} is damaged: its checksum does not fit")
        reader = ByteReader(body, what)
        header = GroupHeader.decode_group(reader, self._max_pixels)
        if header.count != entry.count:
            raise FormatError(f"{what} holds {header.count} images, the index says {entry.count}")
        payload = reader.take(reader.varint(reader.remaining, "the length of the payload"))
        reader.finish()
        return header, payload

    def accounting(self) -> Accounting:
        """The bytes of the file by what they are for; reads every group. FormatError where one is damaged."""
        payloads = sum(len(self.read_group(number)[1]) for number in range(len(self.groups)))
        segments, groups = len(self._segments), len(self.groups)
        names = sum(segment.name_bytes for segment in self._segments)
        return Accounting(
            prefix=len(PREFIX) * segments,
            group_headers=sum(group.length for group in self.groups) - payloads - _CRC * groups,
            payloads=payloads,
            checksums=_CRC * groups,
            names=names,
            index=sum(segment.index_bytes for segment in self._segments) - names,
            footer=_FOOTER * segments,
        )

    def _read(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise FormatError("the file is cut short")
        return data

    def _read_segment(self, end: int, budget: Budget) -> _Segment:
        """The segment whose last byte stands before `end`."""
        fault = FormatError("the archive is damaged, cut short or followed by other data")
        index_end = end - _FOOTER
        if index_end < len(PREFIX):
            raise fault
        footer = self._read(index_end, _FOOTER)
        index_size = int.from_bytes(footer[:4], "little")
        if index_size > min(index_end - len(PREFIX), MAX_INDEX_BYTES):
            raise fault
        index = self._read(index_end - index_size, index_size)
        if footer[4:] != crc32(PREFIX, index, footer[:4]):
            raise fault
        reader = ByteReader(index, "the index")
        sizes = []
        for _ in range(reader.varint(reader.remaining, "the number of groups")):
            length = reader.varint(end, "the length of a group")
            sizes.append((length, reader.varint(MAX_GROUP_IMAGES, "the number of images")))
        start = index_end - index_size - sum(length for length, _ in sizes) - len(PREFIX)
        if not sizes or any(count < 1 for _, count in sizes):
            raise FormatError("the archive has no groups, or one without images")
        if start < 0 or self._read(start, len(PREFIX)) != PREFIX:
            raise FormatError("the archive is damaged: a segment does not begin where its index says")
        image_count = sum(count for _, count in sizes)
        before_names = reader.position
        names = decode_names(reader, image_count, budget)
        name_bytes = reader.position - before_names
        positions = _decode_positions(reader, image_count, budget)
        reader.finish()
        groups = []
        offset, first = start + len(PREFIX), 0
        for length, count in sizes:
            its = positions[first : first + count]
            picked = None if names is None else PickedNames(names, its)
            groups.append(GroupEntry(offset, length, count, picked, its))
            offset += length
            first += count
        return _Segment(tuple(groups), names, image_count, name_bytes, index_size)


class _ArchiveNames(Lazy[str | None]):
    """The names of several segments one after the other, None for each image of a segment without."""

    def __init__(self, parts: Sequence[tuple[Sequence[str] | None, int]]) -> None:
        self._parts = parts
        self._ends = list(accumulate(count for _, count in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def _at(self, index: int) -> str | None:
        place = bisect_right(self._ends, index)
        names, count = self._parts[place]
        return None if names is None else names[index - self._ends[place] + count]


def _shift(positions: Sequence[int], by: int) -> Sequence[int]:
    if by == 0:
        return positions
    if isinstance(positions, range):
        return range(positions.start + by, positions.stop + by)
    return array("Q", (position + by for position in positions))


def _is_permutation(positions: Sequence[int]) -> bool:
    seen = bytearray(len(positions))
    for position in positions:
        if not 0 <= position < len(seen) or seen[position]:
            return False
        seen[position] = 1
    return True


def _encode_positions(positions: Sequence[int]) -> bytes:
    """One byte where images stand in order, else how far each position is from the one that would follow."""
    if positions == range(len(positions)) or all(place == index for index, place in enumerate(positions)):
        return bytes([_IN_ORDER])
    if len(positions) > MAX_LISTED:
        raise FormatError(f"{len(positions)} images are too many to stand in an order of their own")
    expected = [0, *(position + 1 for position in positions)]
    listed = b"".join(varint(zigzag(here - there)) for here, there in zip(positions, expected, strict=False))
    packed = pack(listed)
    return min(bytes([_LISTED]) + listed, bytes([_PACKED]) + varint(len(packed)) + packed, key=len)


def _decode_positions(reader: ByteReader, count: int, budget: Budget) -> Sequence[int]:
    """The position of each of the segment's `count` images, group by group. FormatError if no permutation."""
    form = reader.byte()
    if form == _IN_ORDER:
        return range(count)
    if form not in (_LISTED, _PACKED):
        raise FormatError(f"{reader.what} lists positions in a form that this version does not know")
    if count > budget.positions:
        raise FormatError(f"{reader.what} lists more than {MAX_LISTED} positions")
    budget.positions -= count
    if form == _LISTED:
        return _list_positions(reader, count)
    packed = reader.take(reader.varint(reader.remaining, "the length of the positions"))
    inner = ByteReader(unpack(packed, _POSITION_BYTES * count), "the list of positions")
    positions = _list_positions(inner, count)
    inner.finish()
    return positions


def _list_positions(reader: ByteReader, count: int) -> Sequence[int]:
    positions = array("Q")
    expected = 0
    for _ in range(count):
        position = expected + unzigzag(reader.varint(2 * count, "a position"))
        if not 0 <= position < count:
            raise FormatError(f"{reader.what} has a position outside the segment")
        positions.append(position)
        expected = position + 1
    if not _is_permutation(positions):
        raise FormatError(f"{reader.what} has a position twice")
    return positions


def _check_magic(data: bytes) -> None:
    if len(data) < len(PREFIX) or data[0] != MAGIC[0] or data[1] >> 4 != MAGIC[1] >> 4:
        raise FormatError("the file is not a .bbc file")
    if data[1] != MAGIC[1]:
        raise FormatError(f"the file is of format version {data[1] & 15}, this program reads version 1")
