"""Section "The end of an archive" of docs/format.md."""

from __future__ import annotations

from .embedded import begins_model, model_start
from .header import read_group_header
from .index import read_positions
from .names import read_names
from .previews import GROUP
from .primitives import Cursor, FormatError, check, crc, varint
from .times import read_times

PREFIX = bytes.fromhex("BBC101")
ADDING = bytes.fromhex("BBC1FD")


def footer_of(data: bytes) -> bytes:
    """Archive: the footer of an index."""
    length = len(data).to_bytes(4, "little")
    return length + crc(PREFIX + data + length)


def group_length(data: bytes, start: int) -> tuple[int, int]:
    """The end of an archive: images and length of the group that begins there, as it says itself.

    Raises FormatError where none does.
    """
    cursor = Cursor(data, start)
    if data[start : start + 1] == bytes([GROUP]):
        cursor.byte()
        length = cursor.varint()
        return 0, cursor.at + length + 4 - start
    header = read_group_header(cursor, cursor.byte(), id_bytes=4)
    images = cursor.varint(1, 2**20)
    if not header.fallback and not header.blocks:
        cursor.varint(1, 1024)
        left = images - cursor.varint(0, images)
        while left:
            left -= cursor.varint(1, left)
    length = cursor.varint()
    return images, cursor.at + length + 4 - start


def group_fits(data: bytes, start: int, most: int = 2**63) -> bool:
    """The end of an archive: whether a group of at most so many bytes begins there whose CRC fits."""
    try:
        _, length = group_length(data, start)
    except FormatError:
        return False
    group = data[start : start + length]
    return len(group) == length <= most and crc(group[:-4]) == group[-4:]


def index_end(data: bytes, start: int, sizes: list[tuple[int, int]]) -> int | None:
    """The end of an archive: where the footer ends of the index of these groups that begins there.

    None where none does. Raises FormatError where one begins so and is not whole.
    """
    known = varint(len(sizes)) + b"".join(varint(length) + varint(images) for images, length in sizes)
    if data[start : start + len(known)] != known:
        return None
    cursor, count = Cursor(data, start + len(known)), sum(images for images, _ in sizes)
    read_names(cursor, count)
    read_positions(cursor, count)
    for has_times in (False, True):
        if has_times:
            read_times(cursor, count)
        if data[cursor.at : cursor.at + 8] == footer_of(data[start : cursor.at]):
            return cursor.at + 8
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


def can_be_left_out(rest: bytes, finished: bool) -> bool:
    """The end of an archive: whether the rest is padding, an unfinished addition or unknown bytes.

    finished: whether the last whole segment begins with the prefix.
    """
    end = last_content(rest)
    if not end:
        return True
    ends = [rest[:stop] for stop in range(end, min(end + 8, len(rest)) + 1)]
    if any(ends_with_index(some) or model_start(some) is not None for some in ends) or has_segment(rest, 1):
        return False
    model = begins_model(rest, end)
    if rest.startswith(ADDING) or (model and not finished):
        return True
    if model:
        return False
    same = sum(a == b for a, b in zip(rest, PREFIX, strict=False))
    stray = any(group_fits(rest, start, 2**16) for start in range(min(len(rest), 2**16)))
    return same < 2 and not PREFIX.startswith(rest[:end]) and not stray


def ends_with_index(data: bytes) -> bool:
    """The end of an archive: whether the bytes end with an index and a footer whose CRC fits."""
    length = int.from_bytes(data[-8:-4], "little")
    if not 0 < length <= len(data) - 8:
        return False
    return footer_of(data[-8 - length : -8]) == data[-8:]


def has_segment(rest: bytes, start: int) -> bool:
    """The end of an archive: whether a segment begins there or behind it, with a group whose CRC fits."""
    places = [at for at in range(start, len(rest)) if rest.startswith((PREFIX, ADDING), at)]
    return any(group_fits(rest, at + len(PREFIX)) for at in places)
