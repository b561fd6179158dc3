"""Sections "Lone image", "Archive" and "Group" of docs/format.md."""

from __future__ import annotations

from dataclasses import dataclass, field

from .archive_end import ADDING, PREFIX, can_be_left_out, last_content, walk
from .embedded import Embedded, model_end, model_start, read_model
from .header import Header, read_group_header, read_prefix
from .index import read_index
from .metadata import Record, read_metadata
from .previews import read_previews, split_lone
from .primitives import Cursor, FormatError, check, crc


@dataclass
class Group:
    """Group: how its images are coded, and their bytes."""

    header: Header
    payload: bytes
    count: int = 1
    lanes: int = 1
    direct: int = 1
    batches: list[int] = field(default_factory=list)
    metadata: list[list[Record]] | None = None
    in_archive: bool = True
    suffix: str | None = None
    models: list[Embedded] = field(default_factory=list)
    previews: dict[int, bytes] = field(default_factory=dict)


@dataclass
class Segment:
    """Archive: the groups, and of each image position, name and time."""

    groups: list[Group]
    positions: list[int]
    names: list[bytes] | None
    times: list[int] | None
    models: list[Embedded] = field(default_factory=list)


def read_container(data: bytes) -> list[Segment]:
    """Archive: its segments, or a lone image as a segment of its own."""
    if read_prefix(Cursor(split_lone(data)[0]))[0] == "lone":
        lone = read_lone(data)
        return [Segment([lone], [0], None, None, lone.models)]
    return read_archive(data)


def read_lone(data: bytes) -> Group:
    """Lone image: the file as a group of one image."""
    data, preview = split_lone(data)
    cursor = Cursor(data)
    _, flags, extras = read_prefix(cursor)
    header = read_group_header(cursor, flags, id_bytes=3)
    most = 0 if header.fallback else 1 if header.parts is None else 2
    known = all(model.id.startswith(header.model) for model in extras.models)
    check(len(extras.models) <= most and known, "other models than the image's")
    check(not header.blocks or header.size is not None, "blocks of a lone image without its size")
    if header.fallback or header.parts is not None:
        check(crc(data[:-4]) == data[-4:], "the CRC of a lone image")
        cursor.data = data[:-4]
    metadata = read_metadata(cursor, 1) if header.metadata else None
    group = Group(
        header, cursor.rest(), metadata=metadata, in_archive=False, suffix=extras.suffix, models=extras.models
    )
    if preview is not None:
        group.previews = {0: preview}
    return group


def read_archive(data: bytes) -> list[Segment]:
    """The end of an archive: the segments; what is behind them is left out if it can be."""
    try:
        return read_segments(data)
    except FormatError:
        content = last_content(data)
    for end in range(content, min(content + 8, len(data) - 1) + 1):
        try:
            return read_segments(data[:end])
        except FormatError:
            pass
    whole, finished = 0, True
    while True:
        behind = model_end(data, whole) if whole else None
        if behind is not None:
            whole = behind
            continue
        if not data.startswith((PREFIX, ADDING) if whole else PREFIX, whole):
            break
        try:
            whole, finished = walk(data, whole), data.startswith(PREFIX, whole)
        except FormatError:
            break
    check(whole > 0 and can_be_left_out(data[whole:], finished), "an archive that is damaged")
    return read_segments(data[:whole])


def read_segments(data: bytes) -> list[Segment]:
    """Archive: segments, found from the end of the bytes."""
    check(len(data) > 0, "no segment")
    segments: list[Segment] = []
    models: list[Embedded] = []
    count_of_models = 0
    while data:
        start_of_model = model_start(data)
        if start_of_model is not None:
            count_of_models += 1
            check(count_of_models <= 64, "too many models")
            models.append(read_model(data[start_of_model:]))
            data = data[:start_of_model]
            continue
        check(len(data) >= 11, "an archive without a footer")
        length = int.from_bytes(data[-8:-4], "little")
        check(length <= 2**28 and length + 11 <= len(data), "the index is too long")
        index = data[-8 - length : -8]
        sizes, positions, names, times = read_index(index)
        start = len(data) - 8 - length - sum(size for size, _ in sizes) - 3
        check(start >= 0, "the groups are longer than the file")
        check(data[start : start + 3] in (PREFIX, ADDING), "no segment begins here")
        check(crc(PREFIX + index + data[-8:-4]) == data[-4:], "the CRC of an index")
        groups: list[Group] = []
        at, before = start + 3, b""
        for size, count in sizes:
            if count:
                groups.append(read_group(data[at : at + size]))
                check(groups[-1].count == count, "the images of a group")
                groups[-1].previews = read_previews(before, count) if before else {}
            before = b"" if count else data[at : at + size]
            at += size
        segments.insert(0, Segment(groups, positions, names, times, models))
        models = []
        data = data[:start]
    every = [name for segment in segments for name in segment.names or []]
    check(len(set(every)) == len(every), "two images of one name")
    return segments


def read_group(data: bytes) -> Group:
    """Group: one group, its CRC checked."""
    check(crc(data[:-4]) == data[-4:], "the CRC of a group")
    cursor = Cursor(data[:-4])
    group = read_group_start(cursor)
    header = group.header
    length = cursor.varint()
    check(cursor.at + length == len(cursor.data), "the length of a group")
    if header.metadata:
        group.metadata = read_metadata(cursor, group.count)
    group.payload = cursor.rest()
    return group


def read_group_start(cursor: Cursor) -> Group:
    """Group: group header, images and layout."""
    header = read_group_header(cursor, cursor.byte(), id_bytes=4)
    group = Group(header, b"", cursor.varint(1, 2**20))
    if not header.fallback and not header.blocks and header.parts is None:
        group.lanes, group.direct, group.batches = read_layout(cursor, group.count)
    return group


def read_layout(cursor: Cursor, count: int) -> tuple[int, int, list[int]]:
    """Group: lanes, images coded directly, and batches."""
    lanes, direct = cursor.varint(1, 1024), cursor.varint(0, count)
    batches: list[int] = []
    while direct + sum(batches) < count:
        batches.append(cursor.varint(1, count))
    check(direct + sum(batches) == count, "the batches of a group")
    return lanes, direct, batches
