"""Section "The end of an archive" of docs/format.md."""

from __future__ import annotations

from .header import read_group_header
from .index import read_positions
from .names import read_names
from .primitives import Cursor, EndOfData, FormatError, check, crc, varint
from .times import read_times

PREFIX = bytes.fromhex("BBC101")


class CutIndex(EndOfData):
    """An index that is as it would be written, up to the end of the file."""


def footer_of(data: bytes) -> bytes:
    """Archive: the footer of an index."""
    length = len(data).to_bytes(4, "little")
    return length + crc(PREFIX + data + length)


def group_length(data: bytes, start: int) -> tuple[int, int]:
    """The end of an archive: images and length of the group that begins there, as it says itself.

    Raises EndOfData where its header would end behind the file.
    """
    cursor = Cursor(data, start)
    header = read_group_header(cursor, cursor.byte(), id_bytes=4)
    images = cursor.varint(1, 2**20)
    if not header.fallback and not header.blocks:
        cursor.varint(1, 1024)
        left = images - cursor.varint(0, images)
        while left:
            left -= cursor.varint(1, left)
    length = cursor.varint()
    return images, cursor.at + length + 4 - start


def group_fits(data: bytes, start: int) -> bool:
    """The end of an archive: whether a group begins there whose CRC fits."""
    try:
        _, length = group_length(data, start)
    except FormatError:
        return False
    group = data[start : start + length]
    return len(group) == length and crc(group[:-4]) == group[-4:]


def index_end(data: bytes, start: int, sizes: list[tuple[int, int]]) -> int | None:
    """The end of an archive: where the footer ends of the index of these groups that begins there.

    None where none does. Raises EndOfData where it would end behind the file, FormatError where it is another thing.
    """
    known = varint(len(sizes)) + b"".join(varint(length) + varint(images) for images, length in sizes)
    here = data[start : start + len(known)]
    if not here or here != known[: len(here)]:
        return None
    if len(here) < len(known):
        raise CutIndex("an index that is cut short")
    cursor, count = Cursor(data, start + len(known)), sum(images for images, _ in sizes)
    read_names(cursor, count)
    read_positions(cursor, count)
    for has_times in (False, True):
        if has_times:
            read_times(cursor, count)
        footer = footer_of(data[start : cursor.at])
        there = data[cursor.at : cursor.at + 8]
        if there == footer:
            return cursor.at + 8
        if len(there) < 8 and there == footer[: len(there)]:
            raise CutIndex("a footer that is cut short")
    raise FormatError("an index without its footer")


def walk(data: bytes, start: int) -> int:
    """The end of an archive: where the segment that begins there ends; FormatError where it is not whole."""
    sizes: list[tuple[int, int]] = []
    at = start + len(PREFIX)
    while True:
        end = index_end(data, at, sizes) if sizes else None
        if end is not None:
            return end
        sizes.append(group_length(data, at))
        at += sizes[-1][1]
        check(at <= len(data), "a group that would end behind the file")


def last_content(data: bytes) -> int:
    """The end of an archive: where the zero bytes at its end begin."""
    return len(data.rstrip(b"\0"))


def can_be_left_out(rest: bytes) -> bool:
    """The end of an archive: whether the rest is padding, an unfinished addition or unknown bytes."""
    end = last_content(rest)
    if not end:
        return True
    if any(ends_with_index(rest[:stop]) for stop in range(end, min(end + 8, len(rest)) + 1)):
        return False
    if rest.startswith(PREFIX) or PREFIX.startswith(rest):
        return is_unfinished(rest)
    same = sum(a == b for a, b in zip(rest, PREFIX, strict=False))
    stray = any(group_fits(rest, start) for start in range(min(len(rest), 2**16)))
    return same < 2 and not stray and not has_segment(rest, 0)


def ends_with_index(data: bytes) -> bool:
    """The end of an archive: whether the bytes end with an index and a footer whose CRC fits."""
    length = int.from_bytes(data[-8:-4], "little")
    if not 0 < length <= len(data) - 8:
        return False
    return footer_of(data[-8 - length : -8]) == data[-8:]


def has_segment(rest: bytes, start: int) -> bool:
    """The end of an archive: whether there is a prefix with a group behind it whose CRC fits."""
    place = rest.find(PREFIX, start)
    while place >= 0:
        if group_fits(rest, place + len(PREFIX)):
            return True
        place = rest.find(PREFIX, place + 1)
    return False


def is_unfinished(rest: bytes) -> bool:
    """The end of an archive: whether the rest is an unfinished addition."""
    sizes: list[tuple[int, int]] = []
    at = len(PREFIX)
    while last_content(rest) > at:
        try:
            if sizes and (index_end(rest, at, sizes) is not None or says_length(rest, at, sizes, at)):
                return False
        except CutIndex:
            break
        except EndOfData:
            if says_length(rest, at, sizes, at):
                return False
            break
        except FormatError:
            return False
        try:
            size = group_length(rest, at)
        except EndOfData:
            break
        except FormatError:
            return False
        if at + size[1] > len(rest):
            if says_length(rest, at, sizes, at + size[1]):
                return False
            break
        if not group_fits(rest, at):
            return False
        sizes.append(size)
        at += size[1]
    return not has_segment(rest, at)


def says_length(rest: bytes, at: int, sizes: list[tuple[int, int]], index: int) -> bool:
    """The end of an archive: whether the rest ends with a footer, behind `at`, that says about the length of an index
    that begins at `index`."""
    stated = int.from_bytes(rest[-8:-4], "little")
    moved = abs(index + stated + 8 - len(rest))
    near = moved <= 8 or (moved <= 2**16 and moved % 512 == 0)
    listed = sum(len(varint(size)) + len(varint(images)) for images, size in sizes)
    return len(rest) - 8 > at and stated > listed and near
