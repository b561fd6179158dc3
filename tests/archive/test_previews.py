"""Previews in files: what is written, what is refused, and that damage in them leaves the images as they were."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from cases_for_tests import one_test_of

from bbcompress.archive.container import ArchiveFile, ArchiveWriter
from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.index import encode_index
from bbcompress.archive.lone import LoneFile, build_lone, parse_lone
from bbcompress.archive.previews import decode_previews, encode_lone_preview, encode_previews, lone_preview
from bbcompress.archive.signature import MAGIC, PREFIX
from bbcompress.archive.thumbnail import read_preview
from bbcompress.errors import BBCError, FormatError, PreviewError
from bbcompress.wire import crc32, varint

PREVIEW = b"a preview of bytes"
LONE = Group(GroupHeader(fallback=True), b"\x01\x01\x01\x01\x05", lone=True)
BY_MODEL = Group(GroupHeader(model=b"abc", direct=1), b"message", lone=True)
LONGEST = 1 << 12


def archive(*segments: Sequence[Sequence[bytes | None]]) -> bytes:
    """Segments of groups whose images have these previews, each image one byte."""
    file = io.BytesIO()
    for previews in segments:
        writer = ArchiveWriter(file)
        for number, its in enumerate(previews):
            names = [f"{file.tell()}-{number}-{at}" for at in range(len(its))]
            items = [bytes([1, 1, 1, 1, number]) for _ in its]
            writer.add_group(Group.of_items(items), names, previews=its)
        writer.close()
    return file.getvalue()


SET = archive([[None, b"one", b"two"], [None], [b"three"]], [[b"four", None]])
IN_SET = [None, b"one", b"two", None, b"three", b"four", None]


def first(names: Sequence[str | None]) -> int:
    return 0


def opened(data: bytes, keep_going: bool = False) -> ArchiveFile:
    return ArchiveFile(io.BytesIO(data), keep_going=keep_going)


def test_previews_of_an_archive() -> None:
    file = opened(SET)
    assert file.image_count == 7 and [group.count for group in file.groups] == [3, 1, 1, 2]
    assert [file.preview(position) for position in range(7)] == IN_SET
    assert [len(file.read_group(number).items) for number in range(4)] == [3, 1, 1, 2]
    assert file.read_header(2).count == 1
    assert [file.locate(position)[0] for position in range(7)] == [0, 0, 0, 1, 2, 3, 3]
    accounting = file.accounting()
    assert accounting.total == len(SET)
    assert accounting.previews == sum(
        len(encode_previews(its)) for its in ([None, b"one", b"two"], [b"three"], [b"four", None])
    )
    for position, preview in enumerate(IN_SET):
        assert read_preview(io.BytesIO(SET), lambda _, at=position: at) == preview  # type: ignore[misc]
    with pytest.raises(IndexError):
        file.preview(7)


def test_previews_are_written_only_where_there_are_some() -> None:
    assert archive([[None, None]]) == archive([[None, None]])
    assert opened(archive([[None, None]])).accounting().previews == 0
    writer = ArchiveWriter(io.BytesIO())
    with pytest.raises(ValueError, match="1 previews for 2 images"):
        writer.add_group(Group.of_items([b"1", b"2"]), previews=[b"a"])
    for bad in (b"", bytes(LONGEST + 1)):
        with pytest.raises(FormatError, match="a preview has"):
            encode_previews([bad])
        with pytest.raises(FormatError, match="a preview has"):
            encode_lone_preview(bad)
    assert decode_previews(encode_previews([bytes(LONGEST)]), 1) == {0: bytes(LONGEST)}


def test_damage_in_the_previews_of_an_archive() -> None:
    """Each byte of them may be another one: all images are as they were, and so are the other previews."""
    start, block = len(PREFIX), len(encode_previews([None, b"one", b"two"]))
    groups = [opened(SET).read_group(number) for number in range(4)]
    for place in range(start, start + block):
        data = bytearray(SET)
        data[place] ^= 0x15
        file = opened(bytes(data))
        assert [file.read_group(number) for number in range(4)] == groups
        assert [file.preview(position) for position in range(3, 7)] == IN_SET[3:]
        with pytest.raises(PreviewError, match="the previews of a group are damaged"):
            file.preview(1)


def test_what_is_left_of_a_damaged_archive_has_its_previews() -> None:
    """Without an index a group has the previews that stand before it, and no others."""
    index = len(SET) - 20
    data = SET[:index] + bytes(byte ^ 0xFF for byte in SET[index:])
    with pytest.raises(FormatError):
        opened(data)
    file = opened(data, keep_going=True)
    found = [file.preview(position) for position in range(file.image_count)]
    assert found == IN_SET[: len(found)] and len(found) >= 5
    lost = bytearray(SET)
    first_group = len(PREFIX) + len(encode_previews([None, b"one", b"two"]))
    lost[first_group + 5] ^= 1  # the group behind the first previews; its index is lost as well
    for place in range(len(SET)):
        cut = bytes(lost[:place])
        try:
            file = opened(cut, keep_going=True)
        except BBCError:
            continue
        for number, entry in enumerate(file.groups):
            for at, position in enumerate(entry.positions):
                try:
                    item, preview = file.read_group(number).items[at], file.preview(position)
                except FormatError:
                    continue
                assert preview is None or (item[-1], preview) in [(0, b"one"), (0, b"two"), (2, b"three"), (0, b"four")]


def with_sizes(sizes: Sequence[tuple[int, int]]) -> bytes:
    """An archive whose index says so; its groups are not read."""
    images = sum(count for _, count in sizes)
    index = encode_index(sizes, None, range(images), None)
    size = len(index).to_bytes(4, "little")
    body = bytes(sum(length for length, _ in sizes))
    return b"".join([PREFIX, body, index, size, crc32(PREFIX, index, size)])


@one_test_of("sizes", [[(9, 0)], [(9, 1), (9, 0)], [(9, 0), (9, 0), (9, 1)], [(6, 0), (9, 1)]])
def test_previews_stand_before_a_group(sizes: list[tuple[int, int]]) -> None:
    with pytest.raises(FormatError):
        opened(with_sizes(sizes))
    assert opened(with_sizes([(9, 0), (9, 1)])).image_count == 1


def block(payload: bytes, start: int = 3, length: int | None = None) -> bytes:
    data = bytes([start]) + varint(len(payload) if length is None else length) + payload
    return data + crc32(data)


@one_test_of(
    "data",
    [
        b"",
        block(b"\0"),  # none
        block(b"\3" + b"\0\1" * 3 + b"abc"),  # more than images
        block(b"\1\2\1a"),  # of an image that the group does not have
        block(b"\2\1\1\0\1ab"),  # the same behind another one
        block(b"\1\0\0"),  # an empty one
        block(b"\1\0" + varint(LONGEST + 1) + bytes(LONGEST + 1)),
        block(b"\1\0\2a"),  # cut short
        block(b"\1\0\1ab"),  # and something behind it
        block(b"\1\0\1a", start=2),
        block(b"\1\0\1a", length=5),
        block(b"\1\0\1a")[:-1] + b"x",
    ],
)
def test_what_is_refused_of_previews(data: bytes) -> None:
    assert decode_previews(block(b"\2\0\1\0\1ab"), 2) == {0: b"a", 1: b"b"}
    with pytest.raises(PreviewError):
        decode_previews(data, 2)


@pytest.mark.parametrize("group", [LONE, BY_MODEL])
def test_the_preview_of_a_lone_image(group: Group) -> None:
    plain, data = build_lone(group), build_lone(group, preview=PREVIEW)
    assert data == MAGIC + encode_lone_preview(PREVIEW) + plain[len(MAGIC) :]
    assert parse_lone(data).payload == parse_lone(plain).payload
    file = LoneFile(data)
    assert file.preview(0) == PREVIEW == read_preview(io.BytesIO(data), first)
    assert LoneFile(plain).preview(0) is None is read_preview(io.BytesIO(plain), first)
    assert file.accounting().total == len(data) and file.accounting().previews == len(data) - len(plain)
    assert LoneFile(build_lone(group, preview=bytes(LONGEST))).preview(0) == bytes(LONGEST)
    with pytest.raises(IndexError):
        file.preview(1)


@pytest.mark.parametrize("group", [LONE, BY_MODEL])
def test_damage_in_the_preview_of_a_lone_image(group: Group) -> None:
    """Each byte may be another one, those of its length included."""
    data, payload = build_lone(group, preview=PREVIEW), parse_lone(build_lone(group)).payload
    block = len(encode_lone_preview(PREVIEW))
    for place in range(len(MAGIC) + 1, len(MAGIC) + block):
        for bits in (1, 0x80):
            changed = bytearray(data)
            changed[place] ^= bits
            file = LoneFile(bytes(changed))
            assert file.read_group(0).payload == payload
            if place < len(MAGIC) + 5:  # the other length counts
                assert file.preview(0) == PREVIEW
                continue
            with pytest.raises(PreviewError, match="the preview is damaged"):
                file.preview(0)
            with pytest.raises(PreviewError, match="the preview is damaged"):
                read_preview(io.BytesIO(changed), first)


@one_test_of(
    "head",
    [
        "00000000",
        "01100110",
        "03000400",
        "ff0fff0f",  # the file ends before it does
        "03",
    ],
)
def test_a_preview_whose_length_is_lost(head: str) -> None:
    """Nothing tells where the image begins."""
    with pytest.raises(FormatError, match="the length of its preview"):
        lone_preview(MAGIC + b"\7" + bytes.fromhex(head) + bytes(20))


def test_other_bytes_behind_an_image_with_a_preview() -> None:
    data = build_lone(LONE, preview=PREVIEW)
    for tail in (bytes(5), b"other"):
        file = LoneFile(data + tail)
        assert (file.tail.size, file.preview(0), file.accounting().total) == (5, PREVIEW, len(data) + 5)
