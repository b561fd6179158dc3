"""What is left of a damaged archive. See docs/format.md, "The end of an archive", and `search` for what it may cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from bbcompress.archive.index import Index
from bbcompress.archive.names import MAX_LISTED
from bbcompress.archive.search import Search, Walk
from bbcompress.archive.segments import Segment
from bbcompress.archive.signature import PREFIX
from bbcompress.errors import FormatError
from bbcompress.images import MAX_PIXELS

_Group = tuple[int, int, int]
"""Offset, length, images."""


@dataclass(frozen=True)
class Salvage:
    """What is left of a damaged archive.

    segments: in the order of the file. nameless: numbers of those whose index is lost. unread: bytes of which nothing
    could be made.
    """

    segments: list[Segment]
    nameless: frozenset[int]
    unread: int


def salvage(file: BinaryIO, end: int, max_pixels: int = MAX_PIXELS) -> Salvage:
    """What is left of a damaged archive: its whole segments; of those whose index is whole the groups that stand where
    it says, counted from the segment's beginning or from its end; of others the groups, without names.

    Checksums tell which groups are as they were. Raises FormatError where that takes too much effort.
    """
    search = Search(file, end, max_pixels)
    last = next((stop for stop in search.ends(0) if search.has_index_before(stop, 0)), end)
    found: list[tuple[Segment, bool]] = []
    unread = end - last
    start = 0
    while start < last:
        walk = search.walk(start) if search.head(start, len(PREFIX)) == PREFIX else Walk(end=start)
        if walk.segment is not None and walk.segment_end <= last:
            found.append((walk.segment, True))
            start = walk.segment_end
            continue
        while walk.groups and not search.fits(*walk.groups[-1][:2]):  # a damaged index may look like groups
            walk.end = walk.groups.pop()[0]
        stop = min(search.next_segment(max(walk.end, start + 1)), last)
        some, used = _salvage_between(search, start, stop, walk)
        found += some
        unread += stop - start - used
        start = stop
    segments = [segment for segment, _ in found]
    return Salvage(segments, frozenset(n for n, (_, has_index) in enumerate(found) if not has_index), unread)


def _salvage_between(search: Search, start: int, stop: int, walk: Walk) -> tuple[list[tuple[Segment, bool]], int]:
    """The segments between `start`, where the groups of `walk` are, and `stop`, each with whether it has an index; and
    how many of the bytes they take."""
    behind: list[Segment] = []
    end = stop
    while end > start and (segment := search.segment_before(end, start)) is not None:
        behind.append(segment)
        end = segment.start
    used = stop - end
    found = [(segment, True) for segment in reversed(behind)]
    groups = list(walk.groups)
    if (indexed := search.index_before(end, start)) is not None:
        index, index_start = indexed
        used += end - index_start
        offsets, sizes, good = _places(search, start, index, index_start)
        index = replace(index, sizes=sizes)
        groups = [group for group in groups if group[0] not in good and search.fits(*group[:2])]
        if offsets is None:  # which group is which cannot be said
            groups = sorted([*groups, *((at, *size) for at, size in good.items())])
        else:
            found.insert(0, (Segment(start, index, 0, offsets), True))
            used += sum(length for length, _ in good.values())
        end = index_start
    groups = [group for group in groups if group[0] + group[1] <= end]
    if groups:
        found.insert(0, (_nameless(search, start, groups), False))
        used += sum(length for _, length, _ in groups)
    if found and end > start and search.head(start, len(PREFIX)) == PREFIX:
        used += len(PREFIX)
    return found, used


def _nameless(search: Search, start: int, groups: Sequence[_Group]) -> Segment:
    """A segment of groups whose index is lost."""
    search.budget.groups -= len(groups)
    if search.budget.groups < 0:
        raise FormatError(f"the archive has more than {MAX_LISTED} groups")
    sizes = tuple((length, count) for _, length, count in groups)
    positions = range(sum(count for _, count in sizes))
    return Segment(start, Index(sizes, positions, None, None, 0, 0), 0, tuple(offset for offset, _, _ in groups))


def _places(
    search: Search, start: int, index: Index, index_start: int
) -> tuple[tuple[int, ...] | None, tuple[tuple[int, int], ...], dict[int, tuple[int, int]]]:
    """Where the groups of an index are: as far behind the segment's beginning, or before the index, as it says. Those
    whose checksums fit in neither place stay where the index says, as far as that is before it, to be told of as lost.

    Gives their offsets, their lengths and images, and the same of those that are as they were by offset. No offsets
    where one place may be that of two groups: between them, some others have been lost.
    """
    offsets: list[int] = []
    sizes: list[tuple[int, int]] = []
    good: dict[int, tuple[int, int]] = {}
    owner: dict[int, int] = {}
    front, back = start + len(PREFIX), index_start - index.group_bytes
    sure = True
    for number, (length, count) in enumerate(index.sizes):
        at = None
        for place in {front, back}:
            if place >= start and place + length <= index_start and search.fits(place, length):
                sure = sure and owner.setdefault(place, number) == number
                good[place] = length, count
                at = place
        if at is None:
            at = min(front, index_start)
            sizes.append((min(length, index_start - at), count))
        else:
            sizes.append((length, count))
        offsets.append(at)
        front += length
        back += length
    return (tuple(offsets) if sure else None), tuple(sizes), good
