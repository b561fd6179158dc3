"""Archives: segments of groups, each with an index and checksums. See docs/format.md."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from copy import copy
from itertools import accumulate
from typing import BinaryIO, TypeVar

from bbcompress.archive.embedded import MAX_MODELS, EmbeddedModel, encode_block
from bbcompress.archive.file import Accounting, BBCFile, check_magic
from bbcompress.archive.group import Group, take_metadata
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.index import decode_index, encode_index, is_permutation
from bbcompress.archive.names import (
    Budget,
    FolderFinder,
    Lazy,
    NameFinder,
    find_duplicate,
    new_name_fault,
    span_of_names,
)
from bbcompress.archive.previews import decode_previews, encode_previews
from bbcompress.archive.salvage import salvage
from bbcompress.archive.search import NoSegmentError, Tail, TailKind, open_segments
from bbcompress.archive.segments import (
    FOOTER_BYTES,
    HEADER_BYTES,
    MAX_INDEX_BYTES,
    GroupEntry,
    Segment,
    read_exactly,
    read_group_start,
    read_segments,
)
from bbcompress.archive.signature import ADDING, PREFIX
from bbcompress.archive.times import span_of
from bbcompress.errors import BBCError, FormatError
from bbcompress.lazy import cached_property
from bbcompress.limits import DEFAULT_LIMITS, Limits
from bbcompress.wire import CRC_BYTES, ByteReader, CutShortError, crc32, varint

MAX_ARCHIVE_IMAGES = 1 << 31

Item = TypeVar("Item")


class ArchiveWriter:
    """Writes one segment of an archive, front to back: alone an archive, behind an archive an addition to it.

    The file is complete once `close` has returned; it is neither flushed nor closed here. Only an addition's is
    seeked: its first bytes say that it is being added, until all of it is on the disk. Whole segments before it that
    still say so get their prefix first.
    """

    def __init__(
        self,
        file: BinaryIO,
        limits: Limits = DEFAULT_LIMITS,
        after: ArchiveFile | None = None,
        sync: Callable[[], object] = lambda: None,
    ) -> None:
        """after: the archive that the segment is added to; together they keep the limits, and no name occurs twice.
        sync: called when what was written has to be on the disk before the rest is, so that a crash leaves no footer
        without its groups.
        """
        self._file = file
        self._limits = limits
        self._after = after
        self._sync = sync
        self._sizes: list[tuple[int, int]] = []  # bytes, images
        self._names: list[str] | None = None
        self._taken: set[str] = set()
        self._folders: dict[str, str] = {}  # each with a name that is in it
        self._positions: list[int] | None = None
        self._times: list[int] | None = None
        self._image_count = 0
        self._models: list[bytes] = []
        self._closed = False
        self._start = 0 if after is None else file.tell()
        if after is not None and after.being_added:
            self._finish(after.being_added)
            sync()
        file.write(PREFIX if after is None else ADDING)
        sync()

    def add_group(
        self,
        group: Group,
        names: Sequence[str] | None = None,
        positions: Sequence[int] | None = None,
        times: Sequence[int] | None = None,
        *,
        previews: Sequence[bytes | None] | None = None,
    ) -> int:
        """Write one group, and the previews of its images before it; the bytes that these take.

        names: relative POSIX paths, one for each image; all groups of a segment have names, or none has.
        positions: of each image in the segment, from 0; None in all groups when they stand in order.
        times: when each was modified, whole seconds since 1970; all groups of a segment have times, or none has.
        previews: of each image, None for none.

        BBCError for a name that is not allowed or occurs twice, FormatError for a header outside the limits;
        nothing is written then. ValueError where the arguments do not fit each other.
        """
        if self._closed:
            raise ValueError("the segment is closed")
        count = group.header.count
        self._check_lists(count, names, positions, times)
        before = 0 if self._after is None else self._after.image_count
        if before + self._image_count + count > MAX_ARCHIVE_IMAGES:
            raise FormatError(f"an archive holds at most {MAX_ARCHIVE_IMAGES} images")
        if previews is not None and len(previews) != count:
            raise ValueError(f"{len(previews)} previews for {count} images")
        before_it = encode_previews(previews) if previews is not None and any(previews) else b""
        length = varint(len(group.metadata) + len(group.payload))
        data = b"".join([group.header.encode_group(self._limits), length, group.metadata, group.payload])
        self._take_names(names or ())
        if not self._sizes:
            self._names = None if names is None else []
            self._positions = None if positions is None else []
            self._times = None if times is None else []
        if names is not None and self._names is not None:
            self._names += names
        if positions is not None and self._positions is not None:
            self._positions += positions
        if times is not None and self._times is not None:
            self._times += times
        if before_it:
            self._sizes.append((len(before_it), 0))
            self._file.write(before_it)
        self._sizes.append((len(data) + CRC_BYTES, count))
        self._image_count += count
        self._file.write(data)
        self._file.write(crc32(data))
        return len(before_it)

    def add_model(self, model: EmbeddedModel) -> None:
        """Let a model stand behind the segment, once that is closed.

        Raises:
            FormatError: the file has as many as it may have.
        """
        if self._closed:
            raise ValueError("the segment is closed")
        if len(self._models) + (0 if self._after is None else len(self._after.models)) >= MAX_MODELS:
            raise FormatError(f"an archive carries at most {MAX_MODELS} models")
        self._models.append(encode_block(model))

    def close(self) -> None:
        """Write the index, the footer and the models, and of an addition the prefix that says that it is finished.

        ValueError without groups or a permutation as positions.
        """
        if self._closed:
            return
        if not self._sizes:
            raise ValueError("an archive needs at least one group")
        names, times = self._names, self._times
        positions: Sequence[int] = range(self._image_count)
        if self._positions is not None:
            if not is_permutation(self._positions):
                raise ValueError("the positions must be 0, 1, 2, ... in any order, each once")
            positions = self._positions
            order = sorted(range(self._image_count), key=positions.__getitem__)
            names = None if names is None else [names[index] for index in order]
            times = None if times is None else [times[index] for index in order]
        index = encode_index(self._sizes, names, positions, times)
        if len(index) > MAX_INDEX_BYTES:
            raise FormatError(f"the index of {self._image_count} images is too large for one segment")
        if self._after is not None:
            decode_index(index, copy(self._after.budget))  # the limits are those of the whole file
        size = len(index).to_bytes(4, "little")
        self._sync()
        self._file.write(index + size + crc32(PREFIX, index, size))
        for model in self._models:
            self._file.write(model)
        if self._after is not None:
            self._sync()
            self._finish([self._start])
        self._closed = True

    def _finish(self, starts: Iterable[int]) -> None:
        """Write the prefix of the segments that begin there, and are whole."""
        end = self._file.tell()
        for start in starts:
            self._file.seek(start)
            self._file.write(PREFIX)
        self._file.seek(end)

    def _check_lists(
        self,
        count: int,
        names: Sequence[str] | None,
        positions: Sequence[int] | None,
        times: Sequence[int] | None,
    ) -> None:
        given, had = (names, positions, times), (self._names, self._positions, self._times)
        for values in given:
            if values is not None and len(values) != count:
                raise ValueError(f"{len(values)} names, positions or times for {count} images")
        if self._sizes and [values is None for values in given] != [values is None for values in had]:
            raise ValueError("names, positions and times are given for all groups of a segment or for none")

    def _take_names(self, names: Sequence[str]) -> None:
        new: set[str] = set()
        folders: dict[str, str] = {}
        for name in names:
            if fault := new_name_fault(name):
                raise BBCError(f"{name[:80]!r} cannot be a name in an archive: it {fault}")
            if name in self._taken or name in new:
                raise BBCError(f"two images have the name {name[:80]!r}")
            if self._after is not None and self._after.find(name) is not None:
                raise BBCError(f"the archive has an image of the name {name[:80]!r} already")
            inside = self._folders.get(name) or folders.get(name)
            if inside is None and self._after is not None:
                inside = self._after.find_inside(name)
            if inside is not None:
                raise both_file_and_folder(name, inside)
            new.add(name)
            folder = name.rpartition("/")[0]
            while folder and folder not in self._folders and folder not in folders:
                there = folder in self._taken or folder in new
                if there or (self._after is not None and self._after.find(folder) is not None):
                    raise both_file_and_folder(folder, name)
                folders[folder] = name
                folder = folder.rpartition("/")[0]
        self._taken |= new
        self._folders |= folders


class ArchiveFile(BBCFile):
    """An archive in a seekable file, which stays open and is not closed here.

    Opening reads the indexes, from the last segment to the first, and no group; where the file does not end with a
    segment, the headers of all groups, and the checksums of those behind the last whole segment. `groups` are in the
    order of the file. Each can be read by itself, however damaged the others are.

    Attributes:
        budget: what more segments may still make a reader list.
    """

    is_archive = True

    def __init__(self, file: BinaryIO, limits: Limits = DEFAULT_LIMITS, keep_going: bool = False) -> None:
        """Names may occur twice.

        Args:
            keep_going: where the file is damaged as a whole, salvage what groups are found.

        Raises:
            FormatError: the file is not an archive from its first byte on, to which was added: where it is damaged, or
                holds something else.
        """
        self._file = file
        self._limits = limits
        self._end = end = file.seek(0, os.SEEK_END)
        start = self._read(0, min(end, len(PREFIX)))
        self.tail = Tail()
        self.budget = Budget()
        nameless = unchecked = frozenset[int]()
        try:
            check_magic(start)
            if start != PREFIX:
                raise FormatError("the file is not an archive, but that of a lone image")
            segments = self._open()
        except FormatError as fault:
            if not keep_going:
                raise
            self.budget = Budget()
            left = salvage(file, end, limits)
            segments, nameless, unchecked, self.unread = left.segments, left.nameless, left.unchecked, left.unread
            self.models = left.models
            self.fault = str(fault)
        else:
            self.models = tuple(place for segment in segments for place in segment.models)
        if not segments:
            raise FormatError(self.fault or "the file is empty")
        self._segments = segments
        self._nameless, self._unchecked = nameless, unchecked
        self._starts = [0, *accumulate(segment.index.image_count for segment in segments)]
        if self.image_count > MAX_ARCHIVE_IMAGES:
            raise FormatError(f"the archive claims {self.image_count} images, the limit is {MAX_ARCHIVE_IMAGES}")
        self.duplicate = find_duplicate(segment.index.names for segment in segments if segment.index.names is not None)
        if self.duplicate is not None and not keep_going:
            raise FormatError(f"two images of the archive have the name {self.duplicate[:80]!r}")
        pairs = list(zip(self._starts, segments, strict=False))
        every = [group for first, segment in pairs for group in segment.groups(first)]
        self.groups = [group for group in every if group.count]
        self._preview_entries = [group for group in every if not group.count]
        self._first_groups = [0, *accumulate(segment.group_count for segment in segments)]
        self._previews: tuple[int, dict[int, bytes]] | None = None  # of the group that was asked for last
        self._finder: NameFinder | None = None
        self._folder_finder: FolderFinder | None = None

    def _open(self) -> list[Segment]:
        """The segments, and `tail` and `budget`.

        Raises:
            FormatError: the file is damaged or above a limit.
        """
        try:
            return read_segments(self._file, self._end, self.budget)
        except FormatError as fault:
            self.budget = Budget()
            try:
                segments, self.tail = open_segments(self._file, self._end, self._limits, self.budget)
            except NoSegmentError:
                raise fault from None
            return segments

    @property
    def unfinished(self) -> int:
        """Bytes at the end of the file that belong to an addition that was broken off."""
        return self.tail.size if self.tail.kind is TailKind.UNFINISHED else 0

    @property
    def content_end(self) -> int:
        """Where an addition begins: behind the last whole segment."""
        return self._end - self.tail.size

    @property
    def being_added(self) -> list[int]:
        """Where those whole segments begin that say that they are being added: they lack their last write."""
        return [segment.start for segment in self._segments if not segment.is_finished]

    @property
    def without_index(self) -> Sequence[range]:
        """As of `BBCFile`."""
        return self._positions_of(self._nameless)

    @property
    def unchecked_index(self) -> Sequence[range]:
        """As of `BBCFile`."""
        return self._positions_of(self._unchecked)

    def _positions_of(self, segments: Iterable[int]) -> list[range]:
        return [range(*self._starts[number : number + 2]) for number in sorted(segments)]

    @property
    def image_count(self) -> int:
        """Images in the archive."""
        return self._starts[-1]

    @cached_property
    def names(self) -> Sequence[str | None]:
        """As of `BBCFile`; each is made when it is asked for."""
        return _Joined([(segment.index.names, segment.index.image_count) for segment in self._segments])

    @cached_property
    def times(self) -> Sequence[int | None]:
        """As of `BBCFile`."""
        return _Joined([(segment.index.times, segment.index.image_count) for segment in self._segments])

    @property
    def name_span(self) -> tuple[str, str] | None:
        """As of `BBCFile`; numbered names are not listed for it."""
        lists = [segment.index.names for segment in self._segments]
        return None if None in lists else span_of_names([names for names in lists if names is not None])

    @property
    def time_span(self) -> tuple[int, int] | None:
        """As of `BBCFile`; no time of an image is listed for it."""
        spans = [span_of(segment.index.times) for segment in self._segments if segment.index.times is not None]
        return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None

    def find(self, name: str) -> int | None:
        """As of `BBCFile`. The first call makes a table of all names."""
        if self._finder is None:
            pairs = zip(self._starts, self._segments, strict=False)
            self._finder = NameFinder((start, s.index.names) for start, s in pairs if s.index.names is not None)
        return self._finder.find(name)

    def find_inside(self, folder: str) -> str | None:
        """The name of an image in the folder of that name, None if there is none. The first call sorts all names."""
        if self._folder_finder is None:
            names = (segment.index.names for segment in self._segments)
            self._folder_finder = FolderFinder(some for some in names if some is not None)
        return self._folder_finder.find(folder)

    def locate(self, position: int) -> tuple[int, int]:
        """As of `BBCFile`."""
        position = range(self.image_count)[position]
        number = bisect_right(self._starts, position) - 1
        group, index = self._segments[number].locate(position - self._starts[number])
        return self._first_groups[number] + group, index

    def read_group(self, number: int) -> Group:
        """As of `BBCFile`."""
        entry = self.groups[number]
        what = f"group {number}"
        data = self._read(entry.offset, entry.length)
        body = data[:-CRC_BYTES]
        if data[-CRC_BYTES:] != crc32(body):
            raise FormatError(f"{what} is damaged: its checksum does not fit")
        reader = ByteReader(body, what)
        header = GroupHeader.decode_group(reader, self._limits)
        if header.count != entry.count:
            raise FormatError(f"{what} holds {header.count} images, the index says {entry.count}")
        length = reader.varint(reader.remaining, "the length of the payload")
        if length != reader.remaining:
            raise FormatError(f"{what} has a payload of another length than it says")
        metadata = take_metadata(reader) if header.has_metadata else b""
        return Group(header, reader.rest(), metadata)

    def read_header(self, number: int) -> GroupHeader:
        """As of `BBCFile`; the payload is not read."""
        entry = self.groups[number]
        for size in HEADER_BYTES:
            head = self._read(entry.offset, min(size, entry.length))
            with suppress(CutShortError):
                header, length = read_group_start(head, self._limits)
                if header is not None and (header.count, length) == (entry.count, entry.length):
                    return header
                break
        raise FormatError(f"group {number} is damaged")

    @cached_property
    def _previews_at(self) -> dict[int, GroupEntry]:
        """The entries of previews by where they end in the file: the group of their images begins there."""
        return {entry.offset + entry.length: entry for entry in self._preview_entries}

    def preview(self, position: int) -> bytes | None:
        """As of `BBCFile`. The previews of its group are read, and kept for the next call."""
        number, index = self.locate(position)
        if self._previews is None or self._previews[0] != number:
            group = self.groups[number]
            entry = self._previews_at.get(group.offset)
            found = {} if entry is None else decode_previews(self._read(entry.offset, entry.length), group.count)
            self._previews = number, found
        return self._previews[1].get(index)

    def accounting_of(self, metadata: int, payloads: int) -> Accounting:
        """As of `BBCFile`."""
        segments, groups = len(self._segments), len(self.groups)
        names = sum(segment.index.name_bytes for segment in self._segments)
        times = sum(segment.index.time_bytes for segment in self._segments)
        return Accounting(
            prefix=len(PREFIX) * segments,
            group_headers=sum(group.length for group in self.groups) - metadata - payloads - CRC_BYTES * groups,
            metadata=metadata,
            payloads=payloads,
            checksums=CRC_BYTES * groups,
            names=names,
            times=times,
            index=sum(segment.index_bytes for segment in self._segments) - names - times,
            footer=FOOTER_BYTES * segments,
            models=sum(place.length for place in self.models),
            previews=sum(entry.length for entry in self._preview_entries),
            unfinished=self.unfinished,
            behind=self.tail.size - self.unfinished,
        )

    def _read(self, offset: int, size: int) -> bytes:
        if offset + size > self._end:  # before memory is taken for it
            raise FormatError("the file is cut short")
        return read_exactly(self._file, offset, size)


class _Joined(Lazy[Item | None]):
    """What the images of several segments have, one behind the other; None for each image of a segment without."""

    def __init__(self, parts: Sequence[tuple[Sequence[Item] | None, int]]) -> None:
        self._parts = parts
        self._ends = list(accumulate(count for _, count in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def _at(self, index: int) -> Item | None:
        part = bisect_right(self._ends, index)
        items, count = self._parts[part]
        return None if items is None else items[index - self._ends[part] + count]


def both_file_and_folder(name: str, inside: str) -> BBCError:
    """What is wrong with two names of which one would be a file and the folder of the other."""
    return BBCError(f"the image {name[:80]!r} cannot stand beside {inside[:160]!r}: a file is no folder")
