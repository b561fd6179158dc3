"""What is left of a damaged archive. See docs/format.md, "The end of an archive", and `search` for what it may cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import BinaryIO

from bbcompress.archive.embedded import ModelPlace
from bbcompress.archive.index import Index
from bbcompress.archive.search import Search, Walk
from bbcompress.archive.segments import Segment
from bbcompress.archive.signature import PREFIX
from bbcompress.limits import DEFAULT_LIMITS, Limits


class _State(Enum):
    """What is known of the index of a segment."""

    GOOD = "good"
    UNCHECKED = "unchecked"
    LOST = "lost"


_Found = tuple[Segment, _State]

_Group = tuple[int, int, int]
"""Offset, length, images."""


@dataclass(frozen=True)
class Salvage:
    """What is left of a damaged archive.

    Attributes:
        segments: in the order of the file.
        nameless: numbers of those whose index is lost.
        unchecked: numbers of those whose index is there, but not its checksum, so that nothing tells a wrong name or
            time.
        unread: bytes of which nothing could be made.
        models: that stand behind segments.
    """

    segments: list[Segment]
    nameless: frozenset[int]
    unchecked: frozenset[int]
    unread: int
    models: tuple[ModelPlace, ...] = ()


def salvage(file: BinaryIO, end: int, limits: Limits = DEFAULT_LIMITS) -> Salvage:
    """What is left of a damaged archive: its whole segments; of those whose index is whole the groups that stand where
    it says, counted from its end; of those whose footer alone is damaged the groups that stand before their index; of
    others the groups, without names.

    Checksums tell which groups are as they were.

    Raises:
        FormatError: the search takes too much effort.
    """
    search = Search(file, end, limits)
    last = next((stop for stop in search.ends(0) if search.is_end(stop, 0)), end)
    found: list[_Found] = []
    models: list[ModelPlace] = []
    unread = end - last
    start = 0
    while start < last:
        if (place := search.model_at(start, last)) is not None:
            models.append(place)
            start = place.end
            continue
        walk = search.walk(start) if search.begins_segment(start) else Walk(end=start)
        if walk.segment is not None and walk.segment_end <= last:
            found.append((walk.segment, _State.GOOD))
            start = walk.segment_end
            continue
        search.shorten(walk)
        stop = min(search.next_segment(max(walk.end, start + 1)), last)
        if (listed := _with_its_index(search, start, walk, stop)) is not None:
            found.append(listed)
            start = walk.end + listed[0].index_bytes
            continue
        some, its_models, used = _salvage_between(search, start, stop, walk)
        found += some
        models += its_models
        unread += stop - start - used
        start = stop
    lost, unchecked = (
        frozenset(number for number, (_, its) in enumerate(found) if its is state)
        for state in (_State.LOST, _State.UNCHECKED)
    )
    return Salvage([segment for segment, _ in found], lost, unchecked, unread, tuple(models))


def _salvage_between(search: Search, start: int, stop: int, walk: Walk) -> tuple[list[_Found], list[ModelPlace], int]:
    """The segments between `start`, where the groups of `walk` are, and `stop`, each with what is known of its index;
    the models there; and how many of the bytes they take."""
    behind: list[Segment] = []
    models: list[ModelPlace] = []
    end = stop
    while end > start:
        if (place := search.model_before(end, start)) is not None:
            models.insert(0, place)
            end = place.start
        elif (segment := search.segment_before(end, start)) is not None:
            behind.append(segment)
            end = segment.start
        else:
            break
    used = stop - end
    found = [(segment, _State.GOOD) for segment in reversed(behind)]
    groups = list(walk.groups)
    if (indexed := search.index_before(end, start)) is not None:
        index, index_start = indexed
        used += end - index_start
        numbers = {offset: number for number, (offset, _, _) in enumerate(groups)}
        segment, good, size = _placed(search, start, index, index_start, numbers)
        groups = [group for group in groups if group[0] not in good and search.fits(*group[:2])]
        found.insert(0, (segment, _State.GOOD))
        used += size
        end = index_start
    groups = [group for group in groups if group[0] + group[1] <= end]
    if any(count for _, _, count in groups):
        found.insert(0, (_nameless(search, start, groups), _State.LOST))
        used += sum(length for _, length, _ in groups)
    if found and end > start and search.begins_segment(start):
        used += len(PREFIX)
    return found, models, used


def _with_its_index(search: Search, start: int, walk: Walk, stop: int) -> _Found | None:
    """The segment that begins at `start`, where its index is there, before `stop`, and its footer is not."""
    if not walk.groups or walk.indexed != len(walk.groups):
        return None
    listed = search.index_after(walk, stop)
    if listed is None:
        return None
    state = _State.GOOD if listed.is_checked else _State.UNCHECKED
    return Segment(start, listed.index, listed.size), state


def _nameless(search: Search, start: int, groups: Sequence[_Group]) -> Segment:
    """A segment of groups whose index is lost."""
    search.list_groups(len(groups))
    sizes = tuple((length, count) for _, length, count in groups)
    positions = range(sum(count for _, count in sizes))
    return Segment(start, Index(sizes, positions, None, None, 0, 0), 0, tuple(offset for offset, _, _ in groups))


def _placed(
    search: Search, start: int, index: Index, index_start: int, numbers: Mapping[int, int]
) -> tuple[Segment, set[int], int]:
    """The segment of an index, its groups counted backwards from it. Groups that are not there as they were stay in it,
    to be told of as lost, each in the place where it would be, as far as that is behind `start`.

    Where bytes were lost or came in, groups before that place are not where this looks for them. What they say of
    themselves does not tell whether they are of this segment or of one before it, so they get no names. A group in the
    right place gets none either where it has another number, counted from the beginning.

    Gives the segment, the offsets of the groups that are as they were, and their bytes.

    Args:
        numbers: of the groups that were found from the beginning, by their offsets.
    """
    offsets: list[int] = []
    sizes: list[tuple[int, int]] = []
    good: set[int] = set()
    used = 0
    at = index_start - index.group_bytes
    for number, (length, count) in enumerate(index.sizes):
        begin, end = max(at, start), max(at + length, start)
        if numbers.get(at, number) != number:
            end = begin
        elif at >= start and search.fits(at, length):
            good.add(at)
            used += length
        offsets.append(begin)
        sizes.append((end - begin, count))
        at += length
    return Segment(start, replace(index, sizes=tuple(sizes)), 0, tuple(offsets)), good, used
