"""Segments of an archive whose end is not the end of a segment: what is whole, what follows it, and what is left of it.

docs/format.md, "The end of an archive".

What all of this costs is proportional to the size of the file. Every loop below pays `Effort` before each turn: a fixed
price for the turn, and a price for each byte that the turn reads, sums up or lists. Effort is a fixed multiple of the
file's size, and where it is spent the search ends with an error. So no file, however it is made, takes more than this
multiple. A file of groups and segments that lie one behind the other takes less than a third of it, since each byte is
read at most three times (as a header, for a checksum, in the search for a prefix) and a group has at least 7 bytes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import BinaryIO

from bbcompress.archive.embedded import MODEL_START, ModelPlace, is_beginning, model_at, model_before
from bbcompress.archive.header import GROUP_FLAGS
from bbcompress.archive.index import MIN_GROUP_BYTES, Index, decode_index, possible_indexes
from bbcompress.archive.names import MAX_LISTED, Budget
from bbcompress.archive.segments import (
    ADVICE,
    FOOTER_BYTES,
    HEADER_BYTES,
    MAX_INDEX_BYTES,
    Segment,
    list_model,
    read_exactly,
    read_group_start,
    read_index_at,
    read_segment,
    read_segments,
)
from bbcompress.archive.signature import ADDING, PREFIX
from bbcompress.errors import BBCError, FormatError
from bbcompress.limits import DEFAULT_LIMITS, Limits
from bbcompress.text import count_of
from bbcompress.wire import CRC_BYTES, ByteReader, CutShortError, crc32, varint

_WINDOW = 1 << 18
_EFFORT = 32
"""Effort for each byte of a file."""

_LEAST_EFFORT = 1 << 26
"""Effort for any file: one index may list so much, however small it is packed."""

_TURN = 32
"""What a turn of a loop costs, in bytes read: it takes some microseconds."""

_STRAY = 1 << 16
"""How far behind the last whole segment groups are looked for at every byte, and how long these may be."""

_STARTS = PREFIX, ADDING

_SEGMENT_START = re.compile(
    b"(?:" + b"|".join(map(re.escape, _STARTS)) + b")(?=[" + re.escape(GROUP_FLAGS) + b"])", re.DOTALL
)


class NoSegmentError(FormatError):
    """No segment of a file is whole."""


class Effort:
    """What a search in a file may cost, in bytes read."""

    def __init__(self, size: int) -> None:
        """size: of the file, in bytes."""
        self._left = _EFFORT * size + _LEAST_EFFORT

    def spend(self, amount: int) -> None:
        """Raises FormatError when it is too much."""
        self._left -= amount
        if self._left < 0:
            raise FormatError("the archive is damaged in too many places")


class TailKind(Enum):
    """What may stand behind the last whole segment."""

    NOTHING = "nothing"
    UNFINISHED = "unfinished"
    """The beginning of a segment, or of a model behind one, that was never finished."""

    PADDING = "padding"
    """Zero bytes."""

    UNKNOWN = "unknown"
    """Bytes that are not what is left of a segment."""


@dataclass(frozen=True)
class Tail:
    """What stands behind the last whole segment.

    Attributes:
        images: of an unfinished addition, as far as its groups are there.
    """

    kind: TailKind = TailKind.NOTHING
    size: int = 0
    images: int = 0


def refuse_unknown(tail: Tail) -> None:
    """Raises BBCError where nothing may be written in the place of what is behind an archive."""
    if tail.kind is TailKind.UNKNOWN:
        raise BBCError(f"behind the archive stand {tail.size} bytes that bbc does not know; nothing is added over them")


@dataclass
class Walk:
    """Groups one behind the other behind a prefix, as far as they say themselves how long they are.

    Attributes:
        groups: offset, length and images of each.
        sizes: what their index would list.
        end: where the last one ends.
        indexed: the number of groups behind which something begins as their index does, which is not whole.
        segment: the whole segment that they make, if their index and footer follow.
    """

    groups: list[tuple[int, int, int]] = field(default_factory=list)
    sizes: bytearray = field(default_factory=bytearray)
    end: int = 0
    indexed: int = 0
    segment: Segment | None = None
    segment_end: int = 0

    @property
    def images(self) -> int:
        """Images of the groups."""
        return sum(count for _, _, count in self.groups)

    def take(self, length: int, count: int) -> None:
        """One more group."""
        self.groups.append((self.end, length, count))
        self.sizes += varint(length) + varint(count)
        self.end += length

    def drop(self) -> None:
        """One group less."""
        self.end, length, count = self.groups.pop()
        del self.sizes[len(self.sizes) - len(varint(length) + varint(count)) :]


class _IndexState(Enum):
    """What begins where an index of the groups before would."""

    NONE = "none"
    PART = "part"  # it begins as the index, and goes on as none, or without its footer, or is cut
    WHOLE = "whole"


@dataclass(frozen=True)
class FoundIndex:
    """An index behind the groups that it lists; without times, where these are not there as a whole.

    Attributes:
        size: its bytes.
        footer: the one that would fit.
        there: what stands in its place, as far as the file goes.
        budget: what is left of it.
    """

    index: Index
    size: int
    footer: bytes
    there: bytes
    budget: Budget

    @property
    def is_checked(self) -> bool:
        """Whether three bytes of the checksum fit, or all four: of an index that is not as it was, one in 2^22 does."""
        return sum(a == b for a, b in zip(self.there[4:], self.footer[4:], strict=False)) >= CRC_BYTES - 1

    @property
    def is_denied(self) -> bool:
        """Whether there is a footer of an index as long as this one, and its checksum is that of another."""
        return len(self.there) == FOOTER_BYTES and self._says_length and not self.is_checked

    @property
    def likeliness(self) -> tuple[bool, bool, int]:
        """The larger, the likelier it is the index that was written."""
        return self.is_checked, self._says_length, self.size

    @property
    def _says_length(self) -> bool:
        return self.there[:4] == self.footer[:4]


class Search:
    """Looks for segments in a file without knowing where they end. See the module for what that may cost."""

    def __init__(self, file: BinaryIO, end: int, limits: Limits = DEFAULT_LIMITS) -> None:
        """end: the file's size in bytes."""
        self._file, self.end, self._limits = file, end, limits
        self.effort = Effort(end)
        self.budget = Budget()
        self._head = self._found = b""
        self._head_at = self._found_at = 0

    def head(self, offset: int, size: int) -> bytes:
        """So many bytes from there, or those up to the end of the file."""
        size = min(size, self.end - offset)
        place = offset - self._head_at
        if not 0 <= place <= len(self._head) - size:
            self._head_at, place = offset, 0
            self._head = read_exactly(self._file, offset, min(max(size, HEADER_BYTES[1]), self.end - offset))
            self.effort.spend(len(self._head))
        return self._head[place : place + size]

    def crc(self, offset: int, size: int, crc: int = 0) -> int:
        """CRC-32 of a part of the file, which goes on from `crc`."""
        self.effort.spend(size + _TURN)
        for start in range(offset, offset + size, _WINDOW):
            crc = zlib.crc32(read_exactly(self._file, start, min(_WINDOW, offset + size - start)), crc)
        return crc

    def next_prefix(self, start: int) -> int:
        """Where a prefix stands and behind it what a group may begin with, at `start` or behind it; the end of the file
        if nowhere. The bytes read are kept for the next call, so that calls of increasing `start` read each byte once.
        """
        self.effort.spend(_TURN)
        while start < self.end:
            if not self._found_at <= start < self._found_at + len(self._found):
                self._found_at = start
                self._found = read_exactly(self._file, start, min(_WINDOW, self.end - start))
                self.effort.spend(len(self._found))
            if place := _SEGMENT_START.search(self._found, start - self._found_at):
                return self._found_at + place.start()
            behind = self._found_at + len(self._found)
            if behind == self.end:
                break
            self._found, start = b"", max(start, behind - len(PREFIX))
        return self.end

    def group_at(self, offset: int) -> tuple[int, int]:
        """Images and length of the group that begins there, as it says itself; it may end behind the file.

        Raises:
            CutShortError: the file ends before its header. FormatError: no group begins there.
        """
        self.effort.spend(_TURN)
        flags = self.head(offset, 1)
        if not flags:
            raise CutShortError("the file ends before a group")
        if flags not in GROUP_FLAGS:
            raise FormatError("there is no group")
        for size in HEADER_BYTES:
            head = self.head(offset, size)
            if size > HEADER_BYTES[0]:
                self.effort.spend(len(head))
            try:
                header, length = read_group_start(head, self._limits)
                return 0 if header is None else header.count, length
            except CutShortError:
                if offset + len(head) == self.end:
                    raise
        raise FormatError("there is no group")

    def fits(self, offset: int, length: int) -> bool:
        """Whether the checksum of a group fits."""
        if length < MIN_GROUP_BYTES or offset + length > self.end:
            return False
        crc = self.crc(offset, length - CRC_BYTES)
        return read_exactly(self._file, offset + length - CRC_BYTES, CRC_BYTES) == crc.to_bytes(CRC_BYTES, "little")

    def has_group(self, offset: int) -> bool:
        """Whether a group begins there whose checksum fits."""
        with suppress(FormatError):
            _, length = self.group_at(offset)
            return self.fits(offset, length)
        return False

    def next_segment(self, start: int) -> int:
        """Where a segment begins whose first group has a checksum that fits, at `start` or behind it; else the end."""
        while (start := self.next_prefix(start)) < self.end:
            if self.has_group(start + len(PREFIX)):
                break
            start += 1
        return start

    def walk(self, start: int) -> Walk:
        """The groups of the segment that begins there.

        Raises:
            FormatError: the search takes too much effort.
        """
        found = Walk(end=start + len(PREFIX))
        while True:
            if found.groups:
                state, end = self._index_after(found)
                if state is _IndexState.WHOLE:
                    budget = copy(self.budget)
                    with suppress(FormatError):
                        segment = read_segment(self._file, end, budget)
                        if segment.start == start:
                            self.budget = budget
                            found.segment, found.segment_end = segment, end
                    return found
                if state is _IndexState.PART:
                    found.indexed = len(found.groups)
            try:
                images, length = self.group_at(found.end)
            except FormatError:
                return found
            if found.end + length > self.end:
                return found
            found.take(length, images)

    def shorten(self, walk: Walk) -> None:
        """Take groups off the end whose checksums do not fit, since a damaged index may look like groups; but not those
        behind which an index of them begins."""
        while walk.groups and walk.indexed != len(walk.groups) and not self.fits(*walk.groups[-1][:2]):
            walk.drop()

    def _index_after(self, groups: Walk) -> tuple[_IndexState, int]:
        """What begins behind the groups, and where its footer ends if it is a whole index of just these groups."""
        start, known = groups.end, varint(len(groups.groups))
        first = known + groups.sizes[: HEADER_BYTES[0]]
        here = self.head(start, len(first))
        if here != first[: len(here)] or not here:
            return _IndexState.NONE, 0
        known += bytes(groups.sizes)
        self.effort.spend(len(known))
        here = self.head(start, len(known))
        if here != known[: len(here)]:
            return _IndexState.NONE, 0
        for found in self._indexes_after(groups, len(known)):
            if found.there == found.footer:
                return _IndexState.WHOLE, start + found.size + FOOTER_BYTES
        return _IndexState.PART, 0

    def index_after(self, groups: Walk, stop: int) -> FoundIndex | None:
        """The index of just these groups that begins behind them, if it is there before `stop` as far as its positions,
        and no checksum denies it; else None. A checksum denies it if it does not fit, and the length before it, behind
        the index or at `stop`, says that it is that of an index which begins there."""
        known = varint(len(groups.groups)) + bytes(groups.sizes)
        self.effort.spend(len(known))
        if self.head(groups.end, len(known)) != known:
            return None
        found = max(self._indexes_after(groups, len(known)), key=lambda one: one.likeliness, default=None)
        if found is None or groups.end + found.size > stop:
            return None
        if not found.is_checked:
            self.effort.spend(_TURN)
            length = stop - FOOTER_BYTES - groups.end
            at_stop = read_exactly(self._file, stop - FOOTER_BYTES, 4) if length > 0 else b""
            if found.is_denied or at_stop == length.to_bytes(4, "little"):
                return None
        self.budget = found.budget
        self.list_groups(len(groups.groups))
        return found

    def list_groups(self, count: int) -> None:
        """Take so many groups from the budget.

        Raises:
            FormatError: the budget has fewer.
        """
        self.budget.groups -= count
        if self.budget.groups < 0:
            raise FormatError(f"the archive has more than {MAX_LISTED} groups")

    def _indexes_after(self, groups: Walk, known: int) -> list[FoundIndex]:
        """What the index of the groups may be that begins behind them; `known` bytes of it are their sizes."""
        most = min(MAX_INDEX_BYTES + FOOTER_BYTES, self.end - groups.end)
        size = max(256, 2 * known)
        while True:
            size = min(size, most)
            self.effort.spend(size)
            found, is_cut = self._indexes_in(read_exactly(self._file, groups.end, size), groups, known)
            if not is_cut or size == most:
                return found
            size *= 8

    def _indexes_in(self, data: bytes, groups: Walk, known: int) -> tuple[list[FoundIndex], bool]:
        """The same of some bytes, and whether more of the file are needed."""
        reader = ByteReader(data, "an index", known)
        sizes = [(length, count) for _, length, count in groups.groups]
        budget = copy(self.budget)
        found: list[FoundIndex] = []
        is_cut = False
        try:
            for index, end in possible_indexes(reader, sizes, budget):
                stated = end.to_bytes(4, "little")
                footer = stated + crc32(PREFIX, memoryview(data)[:end], stated)
                self.effort.spend(end)
                there = data[end : end + FOOTER_BYTES]
                found.append(FoundIndex(index, end, footer, there, copy(budget)))
                if there == footer:
                    return found, False
                is_cut |= len(there) < FOOTER_BYTES
        except CutShortError:
            is_cut = True
        except FormatError:
            pass
        finally:
            self.effort.spend(_listed(self.budget) - _listed(budget))
        return found, is_cut

    def has_index_before(self, end: int, floor: int) -> bool:
        """Whether the footer of an index whose checksum fits ends there, the index beginning behind `floor`."""
        self.effort.spend(_TURN)
        if end - FOOTER_BYTES <= floor:
            return False
        stated = int.from_bytes(read_exactly(self._file, end - FOOTER_BYTES, 4), "little")
        self.effort.spend(min(end - floor, stated))
        return read_index_at(self._file, end, floor) is not None

    def segment_before(self, end: int, floor: int) -> Segment | None:
        """The segment that ends there, whole but for its groups, and does not begin before `floor`; None if there is
        none."""
        if not self.has_index_before(end, floor):
            return None
        budget = copy(self.budget)
        try:
            segment = read_segment(self._file, end, budget, floor)
        except FormatError:
            return None
        finally:
            self.effort.spend(_listed(self.budget) - _listed(budget))
        self.budget = budget
        return segment

    def index_before(self, end: int, floor: int) -> tuple[Index, int] | None:
        """The index whose footer ends there, and where it begins, behind `floor`; None if there is none."""
        found = read_index_at(self._file, end, floor) if self.has_index_before(end, floor) else None
        if found is None:
            return None
        budget = copy(self.budget)
        try:
            index = decode_index(found[0], budget)
        except FormatError:
            return None
        finally:
            self.effort.spend(_listed(self.budget) - _listed(budget))
        self.budget = budget
        return index, found[1]

    def ends(self, start: int) -> Iterator[int]:
        """Where the last segment may end if zero bytes are behind it: its footer may end with some, too."""
        last = self.last_content(start)
        yield from range(last, min(last + FOOTER_BYTES, self.end) + 1)

    def last_content(self, start: int) -> int:
        """Where the zero bytes at the end of the file begin, not before `start`."""
        stop = self.end
        while stop > start:
            size = min(_WINDOW, stop - start)
            self.effort.spend(size)
            data = read_exactly(self._file, stop - size, size).rstrip(b"\0")
            if data:
                return stop - size + len(data)
            stop -= size
        return start

    def model_at(self, start: int, stop: int) -> ModelPlace | None:
        """The model that begins there and does not end behind `stop`; None if there is none.

        Raises:
            FormatError: there are more models than a file may have.
        """
        return self._model(model_at, start, stop)

    def model_before(self, end: int, floor: int) -> ModelPlace | None:
        """The model that ends there and does not begin before `floor`; None if there is none.

        Raises:
            FormatError: there are more models than a file may have.
        """
        return self._model(model_before, end, floor)

    def _model(
        self, look_up: Callable[[BinaryIO, int, int], ModelPlace | None], place: int, bound: int
    ) -> ModelPlace | None:
        """The model that is looked up, one of those that a file may have."""
        self.effort.spend(_TURN)
        found = look_up(self._file, place, bound)
        if found is not None:
            list_model(self.budget)
        return found

    def is_end(self, end: int, floor: int) -> bool:
        """Whether a segment or a model may end there that begins behind `floor`: there is its footer."""
        self.effort.spend(_TURN)
        return self.has_index_before(end, floor) or model_before(self._file, end, floor) is not None

    def begins_segment(self, start: int) -> bool:
        """Whether a segment begins there, or one that is being added."""
        return self.head(start, len(PREFIX)) in _STARTS

    def tail(self, start: int, is_finished: bool) -> Tail | None:
        """What stands behind the last whole segment and its models, from `start` on; None where it is what is left of a
        segment or a model that was finished once, or may be.

        Args:
            is_finished: whether that segment begins with the prefix: then all of its models were on the disk.
        """
        size = self.end - start
        if not size:
            return Tail()
        content_end = self.last_content(start)
        if content_end == start:
            return Tail(TailKind.PADDING, size)
        if any(self.is_end(end, start) for end in self.ends(start)):
            return None
        begin = self.head(start, len(PREFIX))
        is_model = is_beginning(self.head(start, min(len(MODEL_START), content_end - start)))
        is_unfinished = begin == ADDING or (is_model and not is_finished)
        if not is_unfinished:
            same = sum(a == b for a, b in zip(begin, PREFIX, strict=False))
            is_prefix = same > 1 or PREFIX.startswith(begin[: content_end - start])
            if is_prefix or is_model or self._has_stray_group(start):
                return None
        if self.next_segment(start + 1) < self.end:
            return None
        if is_unfinished:
            return Tail(TailKind.UNFINISHED, size, self.images_from(start))
        return Tail(TailKind.UNKNOWN, size)

    def images_from(self, start: int) -> int:
        """Images of the segment that begins there: those of its groups, as far as their checksums fit, and of the one
        behind these, where it would end behind the file. Of some other bytes 0."""
        if not self.begins_segment(start):
            return 0
        found = Walk(end=start + len(PREFIX))
        with suppress(FormatError):
            while not found.groups or self._index_after(found)[0] is _IndexState.NONE:
                images, length = self.group_at(found.end)
                if found.end + length > self.end:
                    return found.images + images
                if not self.fits(found.end, length):
                    break
                found.take(length, images)
        return found.images

    def _has_stray_group(self, start: int) -> bool:
        """Whether there is a group whose checksum fits, and no prefix before it, in the first bytes from there on."""
        for offset in range(start, min(start + _STRAY, self.end - MIN_GROUP_BYTES + 1)):
            with suppress(FormatError):
                _, length = self.group_at(offset)
                if length <= _STRAY and self.fits(offset, length):
                    return True
        return False


def _listed(budget: Budget) -> int:
    """What is left of a budget, all kinds together."""
    return budget.groups + budget.names + budget.name_bytes + budget.positions + budget.times


def open_segments(file: BinaryIO, end: int, limits: Limits, budget: Budget) -> tuple[list[Segment], Tail]:
    """The segments of an archive that does not end as one, and what is behind them.

    Args:
        budget: what they list is taken from it.

    Raises:
        FormatError: the archive is damaged: no segment is whole, or behind the last whole one is what may be left of
            another that was finished.
    """
    search = Search(file, end, limits)
    for last in search.ends(0):
        trial = copy(budget)
        if last < end:
            with suppress(FormatError):
                segments = read_segments(file, last, trial)
                if segments:
                    budget.become(trial)
                    return segments, Tail(TailKind.PADDING, end - last)
    whole: list[Segment] = []
    start = 0
    while True:
        if whole and (place := search.model_at(start, end)) is not None:
            whole[-1] = replace(whole[-1], models=(*whole[-1].models, place))
            start = place.end
            continue
        walk = search.walk(start) if search.begins_segment(start) else Walk()
        if walk.segment is None:
            break
        whole.append(walk.segment)
        start = walk.segment_end
    if not whole:
        raise NoSegmentError("no segment of the archive is whole")
    tail = search.tail(start, whole[-1].is_finished)
    if tail is None:
        images = sum(segment.index.image_count for segment in whole)
        seen = search.images_from(start)
        raise FormatError(
            f"the archive is damaged: behind its first {count_of(images)} stand {end - start} bytes that are not whole"
            + (f", with {count_of(seen)} as far as can be seen" if seen else ""),
            command=ADVICE,
        )
    budget.become(search.budget)
    return whole, tail
