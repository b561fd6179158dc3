"""Sections "Prefix" and "Group header" of docs/format.md."""

from __future__ import annotations

from dataclasses import dataclass, field

from .embedded import Embedded
from .primitives import Cursor, FormatError, check, crc

NAME = bytes.fromhex("BBC1")


@dataclass
class Kind:
    """Group header: what the levels of the model's images mean."""

    code: int
    low: int = 0
    high: int = 255


@dataclass
class Learning:
    """Group header: how the model learns. coding: coding flags, where it learns between batches."""

    rate: int
    unit: int
    stride: int
    coding: int | None = None
    lattices: bool = False
    starts: bool = False


@dataclass
class Extras:
    """Lone image: the extras; what is not there is None."""

    suffix: str | None = None
    models: list[Embedded] = field(default_factory=list)


@dataclass
class Header:
    """Group header; what does not stand in it is None."""

    flags: int
    side: int | None = None
    model: bytes = b""
    kind: Kind | None = None
    encoder: str = "rha"
    steps: int = 0
    rate: int | None = None
    size: tuple[int, int] | None = None
    learning: Learning | None = None
    parts: int | None = None
    checked: bytes = b""
    """The bytes behind the id, as far as they stand in the file: the message's check covers them."""
    first: bytes = b""
    """The bytes before the id, without bit 7."""

    @property
    def fallback(self) -> bool:
        return self.flags & 0x61 == 1

    @property
    def blocks(self) -> bool:
        if self.learning is not None and self.learning.coding is not None:
            return bool(self.learning.coding & 0x40)
        return bool(self.flags & 0x40)

    @property
    def cut(self) -> bool:
        """Whether the images are cut into blocks."""
        by_units = self.learning is not None and self.learning.coding is None
        return self.blocks and (by_units or self.size is not None)

    @property
    def metadata(self) -> bool:
        return bool(self.flags & 0x80)


def read_prefix(cursor: Cursor) -> tuple[str, int, Extras]:
    """Prefix: "archive" or "lone", a lone image's group flags, and its extras."""
    check(cursor.take(2) == NAME, "no .bbc file of version 1")
    flags = cursor.byte()
    if flags == 1:
        return "archive", 0, Extras()
    if flags == 5:
        extras = read_extras(cursor)
        return "lone", cursor.byte(), extras
    if flags == 3:
        group = cursor.byte()
        check(bool(group & 0x80), "a lone image with metadata has bit 7")
        return "lone", group, Extras()
    check(flags % 2 == 0, "reserved flags")
    return "lone", flags >> 1, Extras()


def read_extras(cursor: Cursor) -> Extras:
    """Lone image: the extras."""
    what = cursor.byte()
    check(what in (1, 2, 3), "reserved extras")
    suffix = read_suffix(cursor) if what & 1 else None
    count = cursor.varint(1, 2) if what & 2 else 0
    models = [Embedded(cursor.take(cursor.varint(33, 2**24 + 2**21))) for _ in range(count)]
    covered = cursor.data[: cursor.at]
    check(cursor.take(4) == crc(covered), "the CRC of the extras")
    return Extras(suffix, models)


def read_suffix(cursor: Cursor) -> str:
    """Lone image: the suffix."""
    data = cursor.take(cursor.varint(0, 255))
    try:
        suffix = data.decode()
    except UnicodeDecodeError as error:
        raise FormatError("a suffix that is no UTF-8") from error
    check(suffix == "" or (suffix[0] == "." and len(suffix) > 1), "a suffix without its point")
    check(not set(suffix[1:]) & set("./\\\0"), "a suffix that no name can have")
    return suffix


def read_group_header(cursor: Cursor, flags: int, id_bytes: int) -> Header:
    """Group header, behind its flags: the side of blocks, if there is one."""
    if flags & 0x7F != 5:
        header = read_group_flags(cursor, flags, id_bytes)
        header.first = bytes([flags & 0x7F])
        return header
    start = cursor.at
    side, group = cursor.varint(64, 1023), cursor.byte()
    first = b"\5" + cursor.data[start : cursor.at]
    check(not group & 0x80 and group != 5, "flags behind a side of blocks")
    header = read_group_flags(cursor, group, id_bytes)
    check(header.cut, "a side of blocks of images that are not cut into any")
    header.side, header.first, header.flags = side, first, group | flags & 0x80
    return header


def read_group_flags(cursor: Cursor, flags: int, id_bytes: int) -> Header:
    """Group header: group flags."""
    header = Header(flags)
    if header.fallback:
        check(flags & 0x7E == 0, "flags of a fallback group")
        return header
    check(not flags & 1 or flags & 0x1C == 0, "flags of a group that learns")
    if flags & 0x21 == 0x21 and not flags & 0x40:
        check(flags & 0x5E == 0, "flags of a group in parts")
        header.parts = cursor.byte()
        check(header.parts in (2, 5), "a mode that has no parts")
        return header
    header.model = cursor.take(id_bytes)
    start = cursor.at
    if flags & 2:
        header.kind = read_kind(cursor)
    read_posterior(cursor, flags, header)
    if flags & 0x20:
        width, height = cursor.varint(1, 2**24), cursor.varint(1, 2**24)
        check(width * height <= 2**28, "too many pixels")
        header.size = width, height
    if flags & 1:
        header.learning = Learning(cursor.varint(1, 1000000), cursor.varint(1, 2**11), cursor.varint(1, 2**10))
        way = cursor.byte()
        check(way in (1, 2, 3, 5, 7), "a reserved way of learning")
        header.learning.lattices, header.learning.starts = way in (3, 7), way >= 5
        if way == 2:
            header.learning.coding = coding = cursor.byte()
            check(header.learning.stride == 1 and not coding & ~0x5C, "coding flags")
            read_posterior(cursor, coding, header)
    header.checked = cursor.data[start : cursor.at]
    return header


def read_posterior(cursor: Cursor, flags: int, header: Header) -> None:
    """Group header: encoder, K, learning rate."""
    if flags & 4:
        header.encoder = "baseline"
    if flags & 8:
        header.steps = cursor.varint(1, 1000)
    if flags & 0x10:
        check(header.steps > 0, "a learning rate without steps")
        header.rate = cursor.varint(1, 1000000)


def read_kind(cursor: Cursor) -> Kind:
    """Group header: a mode code."""
    code = cursor.byte()
    check(code <= 4, "a reserved mode code")
    if code != 2:
        return Kind(code)
    low, high = cursor.take(2)
    check(low <= high and (low, high) != (0, 255), "levels of mode code 2")
    return Kind(code, low, high)
