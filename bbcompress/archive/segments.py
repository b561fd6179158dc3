"""Segments of an archive in a file: read from their footers, or walked through from the front. See docs/format.md."""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, takewhile
from typing import BinaryIO

import numpy as np

from bbcompress.archive.header import GroupHeader
from bbcompress.archive.index import MIN_GROUP_BYTES, Index, decode_index, encode_sizes
from bbcompress.archive.names import Budget, Picked
from bbcompress.errors import FormatError
from bbcompress.images import MAX_PIXELS
from bbcompress.wire import VARINT_BYTES, ByteReader, crc32, varint

MAGIC = b"\xbb\xc1"
"""The hex digits of the name, then of the version, 1."""

PREFIX = MAGIC + b"\x01"
"""What every segment of an archive begins with."""

MAX_INDEX_BYTES = 1 << 28
"""Most bytes of a segment's index; so that a wrong length never makes a reader take all of a large file."""

CRC_BYTES = 4
FOOTER_BYTES = 4 + CRC_BYTES

_HEADER_BYTES = 1 << 12
_LONGEST_HEADER_BYTES = 1 << 23  # 2^20 batches of one or two bytes each, and what stands before them
_WINDOW = 1 << 20
_HEADER_EFFORT = 16


@dataclass(frozen=True)
class GroupEntry:
    """What the index says of a group.

    offset, length: where its bytes stand in the file.
    count: its images.
    names: theirs, None where the segment has no names.
    positions: of its images in the archive, counted from 0.
    times: when they were modified, seconds since 1970; None where the segment has no times.
    """

    offset: int
    length: int
    count: int
    names: Sequence[str] | None
    positions: Sequence[int]
    times: Sequence[int] | None = None


@dataclass(frozen=True)
class Segment:
    """A segment: its first byte and its index, of `index_bytes` bytes in the file."""

    start: int
    index: Index
    index_bytes: int

    @cached_property
    def _firsts(self) -> list[int]:
        """The number of images before each group."""
        return [0, *accumulate(count for _, count in self.index.sizes)]

    @cached_property
    def _order(self) -> Sequence[int]:
        """Which image of the groups stands at each position."""
        positions = self.index.positions
        if isinstance(positions, range):
            return positions
        order = array("Q", bytes(8 * len(positions)))
        for place, position in enumerate(positions):
            order[position] = place
        return order

    def groups(self, first: int) -> Iterator[GroupEntry]:
        """The groups of the segment, whose first image has position `first` in the archive."""
        index = self.index
        offset, done = self.start + len(PREFIX), 0
        for length, count in index.sizes:
            its = index.positions[done : done + count]
            names = None if index.names is None else Picked(index.names, its)
            times = None if index.times is None else Picked(index.times, its)
            yield GroupEntry(offset, length, count, names, _shift(its, first), times)
            offset += length
            done += count

    def place(self, position: int) -> tuple[int, int]:
        """The group, counted in the segment, that holds the image of a position, and which image of it that is."""
        place = self._order[position]
        group = bisect_right(self._firsts, place) - 1
        return group, place - self._firsts[group]


def _shift(positions: Sequence[int], by: int) -> Sequence[int]:
    if by == 0:
        return positions
    if isinstance(positions, range):
        return range(positions.start + by, positions.stop + by)
    return array("Q", (position + by for position in positions))


def read_exactly(file: BinaryIO, offset: int, size: int) -> bytes:
    """So many bytes of a file. Raises FormatError where it ends before them."""
    file.seek(offset)
    data = file.read(size)
    if len(data) != size:
        raise FormatError("the file is cut short")
    return data


def read_segment(file: BinaryIO, end: int, budget: Budget) -> Segment:
    """The segment whose last byte stands before `end`, from its footer. Raises FormatError."""
    fault = FormatError("the archive is damaged, cut short or followed by other data")
    index_end = end - FOOTER_BYTES
    if index_end < len(PREFIX):
        raise fault
    footer = read_exactly(file, index_end, FOOTER_BYTES)
    index_size = int.from_bytes(footer[:4], "little")
    if index_size > min(index_end - len(PREFIX), MAX_INDEX_BYTES):
        raise fault
    data = read_exactly(file, index_end - index_size, index_size)
    if footer[4:] != crc32(PREFIX, data, footer[:4]):
        raise fault
    index = decode_index(data, budget)
    start = index_end - index_size - index.group_bytes - len(PREFIX)
    if start < 0 or read_exactly(file, start, len(PREFIX)) != PREFIX:
        raise FormatError("the archive is damaged: a segment does not begin where its index says")
    return Segment(start, index, index_size)


def read_segments(file: BinaryIO, end: int, budget: Budget) -> list[Segment]:
    """The segments that lie one behind the other from the first byte up to `end`. Raises FormatError."""
    segments: list[Segment] = []
    while end:
        segments.append(read_segment(file, end, budget))
        end = segments[-1].start
    segments.reverse()
    return segments


def read_group_start(
    file: BinaryIO, offset: int, end: int, max_pixels: int = MAX_PIXELS
) -> tuple[GroupHeader, int] | None:
    """The header of the group that begins at `offset`, and how long it says it is; its checksum is not looked at.

    None where no group can begin there, or it would not end at `end` or before.
    """
    for most in (_HEADER_BYTES, _LONGEST_HEADER_BYTES):
        size = min(most, end - offset)
        if size < MIN_GROUP_BYTES:
            return None
        reader = ByteReader(read_exactly(file, offset, size), "a group")
        with suppress(FormatError):
            header = GroupHeader.decode_group(reader, max_pixels)
            payload = reader.varint(end, "the length of the payload")
            length = reader.position + payload + CRC_BYTES
            return (header, length) if offset + length <= end else None
        if reader.remaining > VARINT_BYTES:  # it was not for want of bytes
            return None
    return None


class Effort:
    """What a search for segments may cost, in bytes looked at: files can be made in which it would never end."""

    def __init__(self, size: int) -> None:
        """size: of the file."""
        self._left = 16 * size + _WINDOW

    def spend(self, amount: int) -> None:
        """Raises FormatError when it is too much."""
        self._left -= amount
        if self._left < 0:
            raise FormatError("the archive is damaged in too many places")


@dataclass(frozen=True)
class Walk:
    """What was found from the front: the groups (offset, bytes, images) as far as they say, where they end, and the
    end of their segment's footer, None where it is not whole."""

    groups: tuple[tuple[int, int, int], ...]
    groups_end: int
    end: int | None


def walk_segment(file: BinaryIO, start: int, end: int, max_pixels: int, effort: Effort) -> Walk:
    """Find the groups of the segment that begins at `start` without its index, by what they say of their lengths.

    Raises FormatError where that takes too much effort.
    """
    groups: list[tuple[int, int, int]] = []
    offset = start + len(PREFIX)
    while True:
        if groups and (footer_end := _end_of_index(file, offset, end, groups, effort)):
            return Walk(tuple(groups), offset, footer_end)
        effort.spend(_HEADER_EFFORT)
        found = read_group_start(file, offset, end, max_pixels)
        if found is None:
            break
        header, length = found
        groups.append((offset, length, header.count))
        offset += length
    while groups and not _fits(file, *groups[-1][:2], effort):  # a damaged index may look like groups
        offset = groups.pop()[0]
    return Walk(tuple(groups), offset, None)


def _fits(file: BinaryIO, offset: int, length: int, effort: Effort) -> bool:
    """Whether the checksum of a group fits."""
    effort.spend(length)
    data = read_exactly(file, offset, length)
    return data[-CRC_BYTES:] == crc32(memoryview(data)[:-CRC_BYTES])


def _end_of_index(
    file: BinaryIO, start: int, end: int, groups: Sequence[tuple[int, int, int]], effort: Effort
) -> int | None:
    """The end of the footer of the index that begins at `start`; None if none of just these groups does."""
    sizes = [(length, count) for _, length, count in groups[:1]]
    first = varint(len(groups)) + encode_sizes(sizes)[1:]
    if start + len(first) > end or read_exactly(file, start, len(first)) != first:
        return None
    effort.spend(len(groups))
    known = encode_sizes([(length, count) for _, length, count in groups])
    if start + len(known) > end or read_exactly(file, start, len(known)) != known:
        return None
    end = min(end, start + MAX_INDEX_BYTES + FOOTER_BYTES)
    crc, done = zlib.crc32(PREFIX), start
    for window in range(start + len(known), end - FOOTER_BYTES + 1, _WINDOW):
        data = np.frombuffer(read_exactly(file, window, min(_WINDOW + 3, end - CRC_BYTES - window)), np.uint8)
        effort.spend(len(data))
        byte = data.astype(np.uint32)
        lengths = byte[:-3] | byte[1:-2] << 8 | byte[2:-1] << 16 | byte[3:] << 24
        for place in np.flatnonzero(lengths == np.arange(window - start, window - start + len(lengths))):
            footer = window + int(place)
            while done < footer:
                part = read_exactly(file, done, min(_WINDOW, footer - done))
                crc, done = zlib.crc32(part, crc), done + len(part)
            size, checksum = read_exactly(file, footer, 4), read_exactly(file, footer + 4, CRC_BYTES)
            if checksum == zlib.crc32(size, crc).to_bytes(CRC_BYTES, "little"):
                return footer + FOOTER_BYTES
    return None


def finished_part(file: BinaryIO, end: int, max_pixels: int = MAX_PIXELS) -> int:
    """Where the last whole segment ends, looked for from the front, if what follows can be the beginning of another.

    0 if there is none, or if what follows was finished once, has a segment behind it or is something else: then the
    file is damaged.
    """
    whole, effort = 0, Effort(end)
    while True:
        start = read_exactly(file, whole, min(len(PREFIX), end - whole))
        if not PREFIX.startswith(start):
            return 0
        walk = walk_segment(file, whole, end, max_pixels, effort)
        if walk.end is None:
            break
        whole = walk.end
    good = list(takewhile(lambda group: _fits(file, *group[:2], effort), walk.groups))
    rest = sum(good[-1][:2]) if good else whole + len(start)
    damaged = good and _was_finished(file, rest, end)
    return 0 if damaged or _has_segment(file, rest, end, max_pixels, effort) else whole


def _has_segment(file: BinaryIO, start: int, end: int, max_pixels: int, effort: Effort) -> bool:
    """Whether a segment begins somewhere from `start` on: then what lies before it was finished."""
    while (start := _next_prefix(file, start, end)) < end:
        if walk_segment(file, start, end, max_pixels, effort).groups:
            return True
        start += 1
    return False


def _was_finished(file: BinaryIO, index: int, end: int) -> bool:
    """Whether a segment whose index begins there has a footer, at which only its length or its checksum is wrong."""
    size = end - FOOTER_BYTES - index
    if not 0 <= size <= MAX_INDEX_BYTES:
        return False
    data, footer = read_exactly(file, index, size), read_exactly(file, index + size, FOOTER_BYTES)
    stated = size.to_bytes(4, "little")
    return footer[:4] == stated or footer[4:] == crc32(PREFIX, data, stated)


def salvage(file: BinaryIO, end: int, max_pixels: int = MAX_PIXELS) -> tuple[list[Segment], int]:
    """What is left of a damaged archive: its whole segments, of others their groups, as segments without names, and
    the number of bytes of which nothing could be made.

    Groups are found by what they say of their lengths; their checksums tell which are as they were. Raises FormatError
    where that takes too much effort.
    """
    budget = Budget()
    behind: list[Segment] = []
    while end and (segment := _try_segment(file, end, budget)):
        behind.append(segment)
        end = segment.start
    found: list[Segment] = []
    start = unread = 0
    effort = Effort(end)
    while start < end:
        walk = walk_segment(file, start, end, max_pixels, effort)
        whole = _try_segment(file, walk.end, budget) if walk.end is not None else None
        if walk.end is not None and whole is not None and whole.start == start:
            found.append(whole)
            start = walk.end
            continue
        if walk.groups:
            sizes = tuple((length, count) for _, length, count in walk.groups)
            positions = range(sum(count for _, count in sizes))
            found.append(Segment(start, Index(sizes, positions, None, None, 0, 0), 0))
        else:
            unread += min(len(PREFIX), end - start)
        rest = max(walk.groups_end, start + 1)
        start = _next_prefix(file, rest, end)
        unread += start - rest
    return found + behind[::-1], unread


def _try_segment(file: BinaryIO, end: int, budget: Budget) -> Segment | None:
    with suppress(FormatError):
        return read_segment(file, end, budget)
    return None


def _next_prefix(file: BinaryIO, start: int, end: int) -> int:
    """Where the next segment may begin, at `start` or behind it; `end` if nowhere."""
    while start < end:
        data = read_exactly(file, start, min(_WINDOW, end - start))
        place = data.find(PREFIX)
        if place >= 0:
            return start + place
        start += max(1, len(data) - len(PREFIX) + 1)
    return end
