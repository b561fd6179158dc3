"""Segments of an archive in a file, read from their footers. See docs/format.md."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import BinaryIO

from bbcompress.archive.embedded import MAX_MODELS, ModelPlace, model_before
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.index import Index, decode_index
from bbcompress.archive.names import Budget, Picked
from bbcompress.archive.previews import GROUP_OF_PREVIEWS
from bbcompress.archive.signature import ADDING, PREFIX
from bbcompress.errors import FormatError
from bbcompress.lazy import cached_property
from bbcompress.limits import DEFAULT_LIMITS, Limits
from bbcompress.wire import CRC_BYTES, ByteReader, crc32

MAX_INDEX_BYTES = 1 << 28
"""Most bytes of a segment's index; so that a wrong length never makes a reader take all of a large file."""

ADVICE = "bbc decompress --keep-going brings out what is not damaged"

FOOTER_BYTES = 4 + CRC_BYTES

MAX_GROUP_BYTES = 1 << 36
"""More than any group has: one image of 2^28 pixels of 8 bytes, or 2^24 sub-pixels, and their metadata."""

HEADER_BYTES = tuple(1 << bits for bits in (6, 9, 12, 15, 18, 21, 23))
"""How many bytes are tried, one after the other, as the beginning of a group: 2^20 batches take most of the last."""


@dataclass(frozen=True)
class GroupEntry:
    """What the index says of a group.

    Attributes:
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
    """A segment: its first byte and its index, of `index_bytes` bytes in the file.

    is_finished: whether it begins with the prefix; else what added it ended before its last write.
    offsets: where its groups stand in the file of a damaged one; None where they stand one behind the other, behind the
        prefix.
    models: that stand behind it.
    """

    start: int
    index: Index
    index_bytes: int
    offsets: tuple[int, ...] | None = None
    is_finished: bool = True
    models: tuple[ModelPlace, ...] = ()

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
        for index, position in enumerate(positions):
            order[position] = index
        return order

    def groups(self, first: int) -> Iterator[GroupEntry]:
        """The groups of the segment, whose first image has position `first` in the archive; previews are groups without
        images."""
        index = self.index
        offset, done = self.start + len(PREFIX), 0
        for number, (length, count) in enumerate(index.sizes):
            if self.offsets is not None:
                offset = self.offsets[number]
            its = index.positions[done : done + count]
            names = None if index.names is None else Picked(index.names, its)
            times = None if index.times is None else Picked(index.times, its)
            yield GroupEntry(offset, length, count, names, shifted(its, first), times)
            offset += length
            done += count

    @cached_property
    def _numbers(self) -> list[int]:
        """The number of groups with images before each group."""
        return [0, *accumulate(int(count > 0) for _, count in self.index.sizes)]

    @property
    def group_count(self) -> int:
        """Groups that have images."""
        return self._numbers[-1]

    def locate(self, position: int) -> tuple[int, int]:
        """The group that holds the image of a position, counted among those of the segment that have images, and which
        image of it that is."""
        index = self._order[position]
        group = bisect_right(self._firsts, index) - 1
        return self._numbers[group], index - self._firsts[group]


def shifted(positions: Sequence[int], by: int) -> Sequence[int]:
    """Positions that are counted from another one."""
    if by == 0:
        return positions
    if isinstance(positions, range):
        return range(positions.start + by, positions.stop + by)
    return array("Q", (position + by for position in positions))


def read_exactly(file: BinaryIO, offset: int, size: int) -> bytes:
    """So many bytes of a file.

    Raises:
        FormatError: the file ends before them.
    """
    file.seek(offset)
    data = file.read(size)
    if len(data) != size:
        raise FormatError("the file is cut short")
    return data


def read_segment(file: BinaryIO, end: int, budget: Budget, floor: int = 0) -> Segment:
    """The segment whose last byte stands before `end`, from its footer.

    Raises:
        FormatError: there is no such segment, or it would begin before `floor`.
    """
    found = read_index_at(file, end, floor + len(PREFIX))
    if found is None:
        raise FormatError("the archive is damaged, cut short or followed by other data", command=ADVICE)
    data, index_start = found
    index = decode_index(data, budget)
    start = index_start - index.group_bytes - len(PREFIX)
    begin = b"" if start < floor else read_exactly(file, start, len(PREFIX))
    if begin not in (PREFIX, ADDING):
        raise FormatError("the archive is damaged: a segment does not begin where its index says", command=ADVICE)
    return Segment(start, index, len(data), is_finished=begin == PREFIX)


def read_segments(file: BinaryIO, end: int, budget: Budget) -> list[Segment]:
    """The segments that lie one behind the other from the first byte up to `end`.

    Raises:
        FormatError: the file is damaged or above a limit.
    """
    segments: list[Segment] = []
    while end:
        models: list[ModelPlace] = []
        while (place := model_before(file, end, len(PREFIX))) is not None:
            list_model(budget)
            models.insert(0, place)
            end = place.start
        segments.append(replace(read_segment(file, end, budget), models=tuple(models)))
        end = segments[-1].start
    segments.reverse()
    return segments


def list_model(budget: Budget) -> None:
    """Take a model from the budget.

    Raises:
        FormatError: it has none.
    """
    budget.models -= 1
    if budget.models < 0:
        raise FormatError(f"the archive has more than {MAX_MODELS} models")


def read_group_start(head: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[GroupHeader | None, int]:
    """The header of the group whose first bytes these are, None of previews, which are a group without images; and how
    long it says it is. Its checksum is not looked at.

    Raises:
        CutShortError: the bytes end before its header. FormatError: no group begins so.
    """
    reader = ByteReader(head, "a group")
    header = None
    if head[:1] == bytes([GROUP_OF_PREVIEWS]):
        reader.byte()
    else:
        header = GroupHeader.decode_group(reader, limits)
    payload = reader.varint(MAX_GROUP_BYTES, "the length of the payload")
    return header, reader.position + payload + CRC_BYTES


def read_index_at(file: BinaryIO, end: int, floor: int) -> tuple[bytes, int] | None:
    """The bytes of the index whose footer ends at `end`, and where it begins; None unless its checksum fits and it
    begins at `floor` or behind it."""
    index_end = end - FOOTER_BYTES
    if index_end <= floor:
        return None
    footer = read_exactly(file, index_end, FOOTER_BYTES)
    size = int.from_bytes(footer[:4], "little")
    if not 0 < size <= min(index_end - floor, MAX_INDEX_BYTES):
        return None
    data = read_exactly(file, index_end - size, size)
    return (data, index_end - size) if footer[4:] == crc32(PREFIX, data, footer[:4]) else None
