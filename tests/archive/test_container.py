"""Lone images and archives as files: round trips, damage, hostile indexes, sizes."""

import io
import random
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from calls_for_tests import at_most
from cases_for_tests import one_test_of
from hypothesis import given
from hypothesis import strategies as st

from bbcompress.archive import container, segments
from bbcompress.archive.container import ArchiveFile, ArchiveWriter
from bbcompress.archive.file import is_archive
from bbcompress.archive.group import Group, join_items, split_items
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.index import encode_index
from bbcompress.archive.lone import LoneFile, build_lone, parse_lone
from bbcompress.archive.search import TailKind
from bbcompress.archive.segments import FOOTER_BYTES, MAX_INDEX_BYTES
from bbcompress.archive.signature import ADDING, PREFIX
from bbcompress.errors import BBCError, FormatError
from bbcompress.images.kinds import Kind
from bbcompress.wire import crc32, pack, varint

LONE = GroupHeader(model=b"abc", direct=1)
FALLBACK = GroupHeader(fallback=True)
GROUP = GroupHeader(model=b"abcd", count=5, direct=2, batches=(1, 2))

Written = tuple[GroupHeader, bytes, Sequence[str] | None, Sequence[int] | None]
Timed = tuple[GroupHeader, bytes, Sequence[str] | None, Sequence[int] | None, Sequence[int] | None]


def write(*groups: Written | Timed) -> bytes:
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    for header, payload, names, positions, *times in groups:
        writer.add_group(Group(header, payload), names, positions, *times)
    writer.close()
    return file.getvalue()


def content(data: bytes) -> Any:
    """All that a reader gets out of an archive."""
    reader = ArchiveFile(io.BytesIO(data))
    groups = []
    for number, entry in enumerate(reader.groups):
        names = None if entry.names is None else list(entry.names)
        groups.append((entry.count, names, list(entry.positions), reader.read_group(number)))
    return groups, list(reader.names)


def small_archive() -> bytes:
    header = replace(GROUP, kind=Kind("L", (3, 200)), k=4, learning_rate=5000, size=(28, 28))
    return write(
        (header, b"payload", [f"{n}.png" for n in (0, 2, 4, 6, 7)], [0, 2, 4, 6, 7]),
        (GroupHeader(count=3, fallback=True), join_items([b"a", b"", b"cc"]), ["x", "y/z", "é"], [5, 1, 3]),
    )


@one_test_of(
    ("header", "payload"),
    [
        (LONE, b"message"),
        (LONE, b""),
        (replace(LONE, k=4, size=(3, 4)), b"m"),
        (FALLBACK, b"item"),
        (FALLBACK, b""),
    ],
)
def test_lone_round_trip(header: GroupHeader, payload: bytes) -> None:
    group = Group(header, payload, lone=True)
    data = build_lone(group)
    assert not is_archive(data)
    assert parse_lone(data) == group
    accounting = LoneFile(data).accounting()
    assert accounting.total == len(data)
    assert accounting.payloads == len(payload)
    with pytest.raises(FormatError):
        ArchiveFile(io.BytesIO(data))


def test_lone_overhead() -> None:
    assert build_lone(Group(LONE, b"message")) == b"\xbb\xc1\x00abcmessage"
    costly = replace(LONE, kind=Kind("L", (3, 200)), encoder="baseline", k=1000)
    assert len(build_lone(Group(costly, b""))) <= 14
    assert len(build_lone(Group.of_items([b""]))) == 7


def test_lone_fallback_damage() -> None:
    data = build_lone(Group.of_items([b"an item"]))
    for end in range(len(data)):
        with pytest.raises(FormatError):
            parse_lone(data[:end])
    with pytest.raises(FormatError):
        parse_lone(data + b"\0")
    for place in range(len(data)):
        for pattern in (1, 2, 0x10, 0x80, 0xFF):
            damaged = data[:place] + bytes([data[place] ^ pattern]) + data[place + 1 :]
            try:
                header = parse_lone(damaged).header
            except FormatError:
                continue
            # Without the fallback flag the file is another model's: a message, which checks itself.
            assert place == 2 and not header.fallback


def test_a_lone_checksum_is_not_the_end_of_what_stands_before_it() -> None:
    group = Group(FALLBACK, b"", lone=True).described(varint(5 << 1) + b"block")
    body = build_lone(group)[:-4]
    with pytest.raises(FormatError, match="cut short"):
        parse_lone(body + crc32(body))  # the block's checksum would be the file's


@one_test_of("data", [b"", b"\xbb", b"\xbb\xc1", b"PNG", b"\xbb\xc2\x00abc", b"\xbb\xc1\x01abc", b"\xbb\xc1\x03abc"])
def test_not_a_lone_image(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_lone(data)


def test_other_versions_are_named() -> None:
    with pytest.raises(FormatError, match="version 2"):
        parse_lone(b"\xbb\xc2\x00abc")
    with pytest.raises(FormatError, match="version 2"):
        ArchiveFile(io.BytesIO(b"\xbb\xc2\x01" + small_archive()[3:]))


@given(st.lists(st.binary(max_size=200), max_size=9))
def test_items(items: list[bytes]) -> None:
    payload = join_items(items)
    assert split_items(payload, len(items)) == items
    with pytest.raises(FormatError):
        split_items(payload, len(items) + 1)
    with pytest.raises(FormatError):
        split_items(payload + b"\0", len(items))


@given(
    st.lists(st.tuples(st.integers(1, 40), st.binary(max_size=300), st.booleans()), min_size=1, max_size=6),
    st.sampled_from(["no names", "numbers", "words"]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_archive_round_trip(
    plan: list[tuple[int, bytes, bool]], naming: str, shuffled: bool, chance: random.Random
) -> None:
    total = sum(count for count, _, _ in plan)
    order = list(range(total))
    if shuffled:
        chance.shuffle(order)
    every = [f"{n}.png" for n in range(total)] if naming == "numbers" else [f"{n}/{n * n % 7}x" for n in range(total)]
    groups: list[Written] = []
    expected = []
    first = 0
    for count, payload, fallback in plan:
        header = GroupHeader(count=count, fallback=True)
        if not fallback:
            header = GroupHeader(count=count, model=b"abcd", direct=count - count // 2, batches=(1,) * (count // 2))
        positions = order[first : first + count]
        names = None if naming == "no names" else [every[place] for place in positions]
        groups.append((header, payload, names, positions if shuffled else None))
        expected.append((count, names, positions, Group(header, payload)))
        first += count
    data = write(*groups)
    assert is_archive(data)
    assert content(data) == (expected, [None] * total if naming == "no names" else every)
    accounting = ArchiveFile(io.BytesIO(data)).accounting()
    assert accounting.total == len(data)
    assert accounting.payloads == sum(len(payload) for _, payload, _ in plan)


def test_segments_one_behind_the_other() -> None:
    one, two = small_archive(), write((GROUP, b"more", None, None))
    three = write((replace(GROUP, count=2, batches=()), b"x", ["p", "q"], [1, 0]))
    groups, names = content(one + two + three)
    assert [group[2] for group in groups] == [[0, 2, 4, 6, 7], [5, 1, 3], [8, 9, 10, 11, 12], [14, 13]]
    assert [group[1] for group in groups][2:] == [None, ["p", "q"]]
    assert names == ["0.png", "y/z", "2.png", "é", "4.png", "x", "6.png", "7.png"] + [None] * 5 + ["q", "p"]
    reader = ArchiveFile(io.BytesIO(one + two + three))
    assert reader.image_count == 15
    assert reader.accounting().total == len(one + two + three)
    assert reader.names[-3:] == (None, "q", "p")
    with pytest.raises(FormatError, match="two images"):
        ArchiveFile(io.BytesIO(three + two + three))


def test_damage_in_any_segment() -> None:
    parts = [write((GROUP, b"p", None, None)), write((GROUP, b"q", None, None))]
    data = b"".join(parts)
    for place in range(len(data)):
        with pytest.raises(FormatError):
            content(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
    for end in range(len(parts[0])):
        with pytest.raises(FormatError):
            content(data[:end])
    assert content(parts[0]) == content(data[: len(parts[0])])
    for end in range(len(parts[0]) + 1, len(data)):
        with pytest.raises(FormatError, match=f"behind its first 5 images stand {end - len(parts[0])} bytes"):
            content(data[:end])


def being_added(segment: bytes) -> bytes:
    """A segment as it is before it is finished."""
    return ADDING + segment[len(PREFIX) :]


def test_an_addition_that_was_broken_off() -> None:
    """Whatever stands behind its first bytes: groups, a part of its index, zeros, or other bytes."""
    first, second = small_archive(), write((GROUP, b"q", None, None), (GROUP, b"r", None, None))
    group = len(PREFIX) + len(FIVE)
    for size in range(len(PREFIX), len(second)):
        for end in (b"", bytes(1), bytes(600), b"rubbish"):
            reader = ArchiveFile(io.BytesIO(first + being_added(second)[:size] + end))
            assert reader.tail.kind is TailKind.UNFINISHED
            assert reader.unfinished == size + len(end)
            if not end and size > group + 10:
                assert reader.tail.images == 10
    assert content(first + being_added(second)) == content(first + second)  # nothing is missing but the last write
    assert content(first + being_added(second) + second) == content(first + second + second)
    for size in range(len(PREFIX), len(second)):  # another archive was put behind it
        with pytest.raises(FormatError, match="damaged"):
            content(first + being_added(second)[:size] + second)
    with pytest.raises(FormatError, match="not an archive"):
        content(being_added(first))


def test_damage_before_other_segments_is_never_taken_for_an_unfinished_end() -> None:
    parts = [small_archive(), write((GROUP, b"q", None, None)), write((GROUP, b"r", None, None))]
    data = b"".join(parts)
    for tail in (b"", parts[2][:3], parts[2][:20], parts[2][:-1]):
        for place in range(len(parts[0]), len(parts[0]) + len(parts[1])):
            damaged = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :] + tail
            with pytest.raises(FormatError):
                content(damaged)


def test_size_of_an_index_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    data = small_archive()
    monkeypatch.setattr(container, "MAX_INDEX_BYTES", 9)
    monkeypatch.setattr(segments, "MAX_INDEX_BYTES", 9)
    with pytest.raises(FormatError, match="damaged"):
        ArchiveFile(io.BytesIO(data))
    with pytest.raises(FormatError, match="too large for one segment"):
        small_archive()


def test_appending_writes_behind() -> None:
    file = io.BytesIO(small_archive())
    file.seek(0, io.SEEK_END)
    writer = ArchiveWriter(file)
    writer.add_group(Group(GROUP, b"more"))
    writer.close()
    assert file.getvalue() == small_archive() + write((GROUP, b"more", None, None))


class _OnlyWrite:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def test_written_front_to_back() -> None:
    file = _OnlyWrite()
    writer = ArchiveWriter(file)  # type: ignore[arg-type]
    writer.add_group(Group(GROUP, b"payload"))
    before = file.data
    writer.close()
    assert file.data.startswith(before)
    assert content(file.data) == content(write((GROUP, b"payload", None, None)))


def test_damage_anywhere() -> None:
    data = small_archive()
    whole = content(data)
    wrong = [data[:end] for end in range(len(data))]
    wrong += [data[start:] for start in range(1, len(data))]
    wrong += [extra + data for extra in (b"\0", PREFIX, data[:20])]
    for place in range(len(data)):
        for pattern in (1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0xFF, 0x55):
            wrong.append(data[:place] + bytes([data[place] ^ pattern]) + data[place + 1 :])
    for damaged in wrong:
        with pytest.raises(FormatError):
            content(damaged)
    assert content(data) == whole


def test_damage_in_one_group_leaves_the_others() -> None:
    data = bytearray(small_archive())
    reader = ArchiveFile(io.BytesIO(data))
    second = reader.groups[1]
    data[second.offset + 5] ^= 1
    reader = ArchiveFile(io.BytesIO(data))
    assert reader.read_group(0).payload == b"payload"
    with pytest.raises(FormatError, match="group 1 is damaged"):
        reader.read_group(1)


def test_errors_are_one_line() -> None:
    data = small_archive()
    for place in range(len(data)):
        with pytest.raises(FormatError) as caught:
            content(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        assert len(str(caught.value).splitlines()) == 1


def segment(groups: bytes, index: bytes) -> bytes:
    """A segment with right checksums, whatever it says."""
    size = len(index).to_bytes(4, "little")
    return PREFIX + groups + index + size + crc32(PREFIX, index, size)


def checked(group: bytes) -> bytes:
    return group + crc32(group)


FIVE = checked(GROUP.encode_group() + b"\x01p")
NO_NAMES = b"\0\0"
IN_ORDER = b"\0"


def entry(length: int, count: int) -> bytes:
    return varint(length) + varint(count)


def packed(data: bytes) -> bytes:
    block = pack(data)
    return varint(len(block)) + block


FIVE_ENTRY = b"\x01" + entry(len(FIVE), 5)

HOSTILE: dict[str, Callable[[], bytes]] = {
    "no groups": lambda: segment(b"", b"\0" + NO_NAMES),
    "a group without images": lambda: segment(FIVE, b"\x01" + entry(len(FIVE), 0) + NO_NAMES),
    "too many images in a group": lambda: segment(FIVE, b"\x01" + entry(len(FIVE), (1 << 20) + 1) + NO_NAMES),
    "2^40 images in a group": lambda: segment(FIVE, b"\x01" + entry(len(FIVE), 1 << 40) + NO_NAMES),
    "2^63 - 1 images in a group": lambda: segment(FIVE, b"\x01" + entry(len(FIVE), (1 << 63) - 1) + NO_NAMES),
    "2^63 images in a group": lambda: segment(FIVE, b"\x01" + varint(len(FIVE)) + b"\x80" * 9 + b"\x01" + NO_NAMES),
    "2^63 - 1 groups": lambda: segment(FIVE, varint((1 << 63) - 1) + NO_NAMES),
    "2^62 groups": lambda: segment(FIVE, varint(1 << 62) + NO_NAMES),
    "groups longer than the file": lambda: segment(FIVE, b"\x01" + entry(1 << 40, 5) + NO_NAMES),
    "groups shorter than the segment": lambda: segment(FIVE, b"\x01" + entry(len(FIVE) - 1, 5) + NO_NAMES),
    "another number of images": lambda: segment(FIVE, b"\x01" + entry(len(FIVE), 6) + NO_NAMES),
    "an index with a rest": lambda: segment(FIVE, FIVE_ENTRY + NO_NAMES + b"\0"),
    "times with a rest": lambda: segment(FIVE, FIVE_ENTRY + NO_NAMES + b"\1\x02\x05\0"),
    "times in an unknown form": lambda: segment(FIVE, FIVE_ENTRY + NO_NAMES + b"\3\x02\x05"),
    "a time too few": lambda: segment(FIVE, FIVE_ENTRY + NO_NAMES + b"\1\x02\x04"),
    "a time too many": lambda: segment(FIVE, FIVE_ENTRY + NO_NAMES + b"\1\x02\x06"),
    "a time of no image": lambda: segment(FIVE, FIVE_ENTRY + NO_NAMES + b"\1\x02\x00\x02\x05"),
    "a time of 2^62": lambda: segment(FIVE, FIVE_ENTRY + NO_NAMES + b"\1" + varint((1 << 63) - 1) + b"\x05"),
    "a time before year 881": lambda: segment(FIVE, FIVE_ENTRY + NO_NAMES + b"\1" + varint((1 << 36) + 1) + b"\x05"),
    "packed times with a rest": lambda: segment(FIVE, FIVE_ENTRY + NO_NAMES + b"\2" + packed(bytes(6))),
    "a bomb of times": lambda: segment(FIVE, FIVE_ENTRY + NO_NAMES + b"\2" + packed(bytes(50_000_000))),
    "2^23 times": lambda: segment(
        FIVE * 8, varint(8) + entry(len(FIVE), 1 << 20) * 8 + NO_NAMES + b"\2" + packed(bytes(1 << 23))
    ),
    "2^22 + 1 groups": lambda: segment(b"", varint((1 << 22) + 1) + entry(7, 1) * ((1 << 22) + 1) + NO_NAMES),
    "an index cut short": lambda: segment(FIVE, FIVE_ENTRY),
    "a group without bytes": lambda: segment(b"", b"\x01" + entry(0, 5) + NO_NAMES),
    "a group with a rest": lambda: segment(
        checked(GROUP.encode_group() + b"\x01pp"), b"\x01" + entry(len(FIVE) + 1, 5) + NO_NAMES
    ),
    "a payload longer than its group": lambda: segment(
        checked(GROUP.encode_group() + varint(1 << 40)), b"\x01" + entry(len(FIVE) + 4, 5) + NO_NAMES
    ),
    "more than 2^31 images": lambda: segment(FIVE * 2049, varint(2049) + entry(len(FIVE), 1 << 20) * 2049 + NO_NAMES),
    "a name twice": lambda: segment(FIVE, FIVE_ENTRY + b"\x02" + b"\x00\x01a" + b"\x01\x00" * 4 + IN_ORDER),
    "runs with a name twice": lambda: segment(
        FIVE, FIVE_ENTRY + b"\x01" + b"\0\0\0\x01\x03" + b"\0\0\0\x03\x02" + IN_ORDER
    ),
    "a path out": lambda: segment(FIVE, FIVE_ENTRY + b"\x01" + b"\x03../\0\0\x01\x05" + IN_ORDER),
    "an absolute path": lambda: segment(FIVE, FIVE_ENTRY + b"\x01" + b"\x01/\0\0\x01\x05" + IN_ORDER),
    "a position twice": lambda: segment(FIVE, FIVE_ENTRY + b"\0\x01" + b"\0\0\0\0\x01"),
    "a position outside": lambda: segment(FIVE, FIVE_ENTRY + b"\0\x01" + b"\x02\0\0\0\0"),
    "a negative position": lambda: segment(FIVE, FIVE_ENTRY + b"\0\x01" + b"\x01\0\0\0\0"),
    "too few positions": lambda: segment(FIVE, FIVE_ENTRY + b"\0\x01" + b"\0\0\0\0"),
    "an unknown order": lambda: segment(FIVE, FIVE_ENTRY + b"\0\x03"),
    "packed positions with a rest": lambda: segment(FIVE, FIVE_ENTRY + b"\0\x02" + packed(b"\x08\x03\x03\x03\x03\0")),
    "a bomb of positions": lambda: segment(FIVE, FIVE_ENTRY + b"\0\x02" + packed(bytes(50_000_000))),
    "a bomb of names": lambda: segment(FIVE, FIVE_ENTRY + b"\x03" + packed(bytes(50_000_000)) + IN_ORDER),
    "2^30 listed names": lambda: segment(
        FIVE * 1024, varint(1024) + entry(len(FIVE), 1 << 20) * 1024 + b"\x03" + packed(b"\0\1a") + IN_ORDER
    ),
    "2^23 listed positions": lambda: segment(
        FIVE * 8, varint(8) + entry(len(FIVE), 1 << 20) * 8 + b"\0\x02" + packed(bytes(1 << 23))
    ),
    "an index longer than any": lambda: PREFIX + b"x" * 50 + (MAX_INDEX_BYTES + 1).to_bytes(4, "little") + b"crc!",
}


def test_segment_helper_makes_good_ones() -> None:
    good = segment(FIVE, FIVE_ENTRY + NO_NAMES)
    assert good == write((GROUP, b"p", None, None))
    content(segment(FIVE, FIVE_ENTRY + b"\x01" + b"\0\0\0\x01\x03" + b"\0\0\0\x04\x02" + IN_ORDER))
    assert content(segment(FIVE, FIVE_ENTRY + b"\0\x02" + packed(b"\x08\x03\x03\x03\x03")))[0][0][2] == [
        4,
        3,
        2,
        1,
        0,
    ]


@one_test_of("name", HOSTILE)
def test_hostile(name: str) -> None:
    data = HOSTILE[name]()
    tracemalloc.start()
    try:
        with pytest.raises(FormatError), at_most(2_000_000):
            content(data)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000 + 20 * len(data)
    finally:
        tracemalloc.stop()


def test_claimed_images_are_not_listed() -> None:
    """Numbered names and images in order cost nothing, however many they are said to be."""
    data = segment(
        FIVE * 2048,
        varint(2048) + entry(len(FIVE), 1 << 20) * 2048 + b"\x01" + b"\x01a\x04.png\0\0" + varint(1 << 31) + IN_ORDER,
    )
    tracemalloc.start()
    try:
        reader = ArchiveFile(io.BytesIO(data))
        assert reader.image_count == 1 << 31
        assert reader.names[-1] == f"a{(1 << 31) - 1}.png"
        names = reader.groups[7].names
        assert names is not None
        assert names[5] == f"a{7 * (1 << 20) + 5}.png"
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_times_of_many_claimed_images_are_not_listed() -> None:
    times = b"\x01" + b"\x02" + varint(1 << 31)
    data = segment(FIVE * 2048, varint(2048) + entry(len(FIVE), 1 << 20) * 2048 + NO_NAMES + times)
    tracemalloc.start()
    try:
        reader = ArchiveFile(io.BytesIO(data))
        assert reader.times[-1] == 1
        group = reader.groups[7]
        assert group.times is not None
        assert group.times[5] == 1
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


# Times, names and places


def test_times_come_back_by_position() -> None:
    groups: list[Timed] = [
        (replace(GROUP, count=2, batches=()), b"p", ["c", "a"], [2, 0], [-5, 1 << 36]),
        (replace(GROUP, count=2, batches=()), b"q", ["b", "d"], [1, 3], [7, 7]),
    ]
    data = write(*groups)
    reader = ArchiveFile(io.BytesIO(data + small_archive()))
    assert list(reader.names)[:4] == ["a", "b", "c", "d"]
    assert list(reader.times) == [1 << 36, 7, -5, 7] + [None] * 8
    assert [None if g.times is None else list(g.times) for g in reader.groups] == [[-5, 1 << 36], [7, 7], None, None]
    accounting = reader.accounting()
    assert accounting.total == len(data) + len(small_archive())
    assert accounting.times == 1 + 6 + 1 + 6 + 1 + 1 + 1 + 1 + 1


def test_a_file_without_times_is_as_it_was() -> None:
    assert small_archive() == write(
        (replace(GROUP, kind=Kind("L", (3, 200)), k=4, learning_rate=5000, size=(28, 28)), b"payload",
         [f"{n}.png" for n in (0, 2, 4, 6, 7)], [0, 2, 4, 6, 7], None),
        (GroupHeader(count=3, fallback=True), join_items([b"a", b"", b"cc"]), ["x", "y/z", "é"], [5, 1, 3], None),
    )  # fmt: skip
    assert ArchiveFile(io.BytesIO(small_archive())).accounting().times == 0


def test_names_and_positions_are_found() -> None:
    three = write((replace(GROUP, count=2, batches=()), b"x", ["p", "q"], [1, 0]))
    runs = write((GROUP, b"r", [f"{n:03}.png" for n in range(998, 1003)], None))
    reader = ArchiveFile(io.BytesIO(small_archive() + write((GROUP, b"more", None, None)) + three + runs))
    for position, name in enumerate(reader.names):
        number, place = reader.locate(position)
        assert reader.groups[number].positions[place] == position
        if name is not None:
            assert reader.find(name) == position
    for name in ("", "0", "8.png", "00.png", "997.png", "0998.png", "1003.png", "é ", "x/"):
        assert reader.find(name) is None
    with pytest.raises(IndexError):
        reader.locate(reader.image_count)


# Additions that were broken off, and salvage


def test_headers_of_any_length_are_found() -> None:
    """A group of many batches, whose header is longer than what is read at first, before an end that is broken off."""
    header = replace(GROUP, count=20_000, direct=0, batches=(1,) * 20_000)
    data = write((header, b"p", None, None))
    assert content(data + being_added(data)) == content(data + data)
    assert content(data + being_added(data)[:-1]) == content(data)
    assert ArchiveFile(io.BytesIO(data)).read_header(0) == header


def test_a_segment_is_added_to_what_is_there() -> None:
    data = small_archive()
    file = io.BytesIO(data)
    reader = ArchiveFile(file)
    synced: list[int] = []
    file.seek(0, io.SEEK_END)

    def sync() -> None:
        synced.append(file.tell())
        assert file.getvalue()[len(data) :].startswith(ADDING)

    writer = ArchiveWriter(file, after=reader, sync=sync)
    with pytest.raises(BBCError, match="already"):
        writer.add_group(Group(GROUP, b"more"), ["new", "2.png", "n", "o", "p"])
    writer.add_group(Group(GROUP, b"more"), ["new", "3.png", "n", "o", "p"])
    before_index = file.tell()
    writer.close()
    assert synced == [len(data) + len(PREFIX), before_index, file.tell()]
    assert file.tell() == len(file.getvalue())
    assert file.getvalue()[len(data) :].startswith(PREFIX)
    assert list(ArchiveFile(file).names)[8:] == ["new", "3.png", "n", "o", "p"]


def test_adding_finishes_what_lacks_only_its_last_write() -> None:
    """The prefix is on the disk before anything is added, so a later cut is damage, and no addition that broke off."""
    first, second = small_archive(), write((GROUP, b"q", None, None))
    file = io.BytesIO(first + being_added(second) + being_added(second))
    reader = ArchiveFile(file)
    file.seek(0, io.SEEK_END)
    synced: list[bytes] = []
    writer = ArchiveWriter(file, after=reader, sync=lambda: synced.append(file.getvalue()))
    assert synced == [first + second + second, first + second + second + ADDING]
    writer.add_group(Group(GROUP, b"q"))
    writer.close()
    assert file.getvalue() == first + second + second + second
    assert ArchiveFile(file).being_added == []
    with pytest.raises(FormatError, match="damaged"):
        ArchiveFile(io.BytesIO(synced[0][:-1]))


def test_limits_are_those_of_the_whole_file() -> None:
    file = io.BytesIO(small_archive())
    reader = ArchiveFile(file)
    reader.budget.names = 4
    file.seek(0, io.SEEK_END)
    writer = ArchiveWriter(file, after=reader)
    writer.add_group(Group(GROUP, b"more"), ["new", "3.png", "n", "o", "p"])
    with pytest.raises(FormatError, match="names"):
        writer.close()


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


def test_salvage_brings_out_every_group_that_is_whole() -> None:
    """Whatever byte is damaged: all groups but the one that it is in, and the names of all other segments."""
    parts = [small_archive(), write((GROUP, b"q", None, None)), write((GROUP, b"r", ["s", "t", "u", "v", "w"], None))]
    data = b"".join(parts)
    good = ArchiveFile(io.BytesIO(data))
    payloads = [good.read_group(number) for number in range(4)]
    segment_of = [0, 0, 1, 2]
    starts = [0, len(parts[0]), len(parts[0]) + len(parts[1]), len(data)]
    for place in range(len(data)):
        reader = ArchiveFile(io.BytesIO(flipped(data, place)), keep_going=True)
        found = {}
        for number, entry in enumerate(reader.groups):
            try:
                found[entry.offset] = (reader.read_group(number), entry.names and list(entry.names))
            except FormatError:
                continue
        for number, entry in enumerate(good.groups):
            if entry.offset <= place < entry.offset + entry.length:
                assert entry.offset not in found
                continue
            header, names = found[entry.offset]
            assert header == payloads[number]
            first, last = starts[segment_of[number]], starts[segment_of[number] + 1]
            if not first <= place < last or (found[entry.offset][1] is not None):
                assert names == (None if entry.names is None else list(entry.names))


def test_groups_of_several_sizes_that_do_not_learn_are_found() -> None:
    """The search knows them as groups: in whole segments with other bytes behind, in the rest, and in damaged files."""
    header = GroupHeader(model=b"abcd", count=2, blocks=True)
    assert header.is_mixed
    part = write((header, b"payload", ["a", "b"], None))
    for tail, kind in ((b"hello", TailKind.UNKNOWN), (being_added(part)[:-1], TailKind.UNFINISHED)):
        reader = ArchiveFile(io.BytesIO(part + tail))
        assert reader.tail.kind is kind
        assert reader.read_group(0).payload == b"payload"
    cut = ArchiveFile(io.BytesIO(part[:-FOOTER_BYTES]), keep_going=True)
    assert cut.read_group(0).payload == b"payload"
    group = part[len(PREFIX) : len(PREFIX) + ArchiveFile(io.BytesIO(part)).groups[0].length]
    for rest in (group, b"other" + PREFIX + group):  # what is left of a finished segment, or may be
        with pytest.raises(FormatError, match="damaged"):
            ArchiveFile(io.BytesIO(small_archive() + rest))


def test_an_index_names_the_groups_that_stand_before_it() -> None:
    """Bytes were lost, or came in, in one of several groups. Those behind that place have their names; those before it
    may be of another segment, and have none; the others are told of."""
    names = [["a"], ["b", "c"], ["d"], ["e", "f", "g"]]
    groups = [
        (GroupHeader(count=len(its), fallback=True), join_items([bytes([n]) * 40 for _ in its]), its, None)
        for n, its in enumerate(names)
    ]
    before, data = write((FALLBACK, join_items([b"x"]), ["x"], None)), write(*groups)
    second = ArchiveFile(io.BytesIO(data)).groups[1]
    for start in (b"", before):
        at = second.offset + 9
        for changed in (data[:at] + data[at + 21 :], data[:at] + b"junk" * 5 + data[at:]):
            with pytest.raises(FormatError, match="damaged"):
                ArchiveFile(io.BytesIO(start + changed))
            reader = ArchiveFile(io.BytesIO(start + changed), keep_going=True)
            found = {}
            for number, entry in enumerate(reader.groups):
                key = tuple(reader.names[position] or "-" for position in entry.positions)
                with suppress(FormatError):
                    found[key] = reader.read_group(number).payload
            assert found.pop(("x",), None) == (join_items([b"x"]) if start else None)
            assert found == {("-",): groups[0][1], ("d",): groups[2][1], ("e", "f", "g"): groups[3][1]}
            assert [len(positions) for positions in reader.without_index] == [1]
            assert {"a", "b", "c"} <= set(reader.names)


def test_equal_groups_of_two_segments_do_not_get_each_others_names() -> None:
    """What is cut out begins in one segment and ends in the next, whose groups are as long as those of the first.
    (Where just as many bytes are cut out as a segment has, nothing in the format tells it.)"""
    parts = [
        write(*[(FALLBACK, join_items([f"{segment}{n}".encode() * 20]), [f"{segment}{n}.png"], None) for n in range(3)])
        for segment in range(2)
    ]
    data = b"".join(parts)
    for start in range(3, len(parts[0])):
        for end in range(len(parts[0]) + 3 + start % 7, len(data), 7):
            if end - start == len(parts[0]):
                continue
            try:
                reader = ArchiveFile(io.BytesIO(data[:start] + data[end:]), keep_going=True)
            except FormatError:
                continue
            for number, entry in enumerate(reader.groups):
                with suppress(FormatError):
                    (item,) = split_items(reader.read_group(number).payload, 1)
                    assert reader.names[entry.positions[0]] in (None, f"{item[:2].decode()}.png")


def test_names_that_occur_twice_are_no_reason_not_to_bring_them_out() -> None:
    one = small_archive()
    with pytest.raises(FormatError, match="two images"):
        ArchiveFile(io.BytesIO(one + one))
    reader = ArchiveFile(io.BytesIO(one + one), keep_going=True)
    assert (reader.image_count, reader.duplicate is not None, reader.fault) == (16, True, None)


def test_salvage_of_what_is_no_archive() -> None:
    for data in (b"", b"\xbb", bytes(100), b"hello, world", PREFIX, PREFIX * 20, random.Random(5).randbytes(5000)):
        with pytest.raises(FormatError):
            ArchiveFile(io.BytesIO(data), keep_going=True)


def test_salvage_of_two_damaged_segments() -> None:
    parts = [small_archive(), write((GROUP, b"q", None, None)), write((GROUP, b"r", ["s", "t", "u", "v", "w"], None))]
    data = flipped(parts[0], len(parts[0]) - 1) + b"rubbish" + flipped(parts[1], len(parts[1]) - 9) + parts[2]
    with pytest.raises(FormatError):
        ArchiveFile(io.BytesIO(data))
    reader = ArchiveFile(io.BytesIO(data), keep_going=True)
    payloads = [reader.read_group(number).payload for number in range(4)]
    assert payloads == [b"payload", join_items([b"a", b"", b"cc"]), b"q", b"r"]
    names = list(ArchiveFile(io.BytesIO(parts[0])).names)  # one byte of the footer is damaged
    assert list(reader.names) == names + [None] * 5 + ["s", "t", "u", "v", "w"]
    assert ([*map(list, reader.without_index)], reader.unchecked_index) == ([list(range(8, 13))], [])
    assert reader.fault is not None
    index_bytes = len(parts[1]) - reader.groups[2].length
    assert reader.unread == FOOTER_BYTES + len(b"rubbish") + index_bytes - len(PREFIX)


def test_an_index_that_looks_like_a_group_is_none() -> None:
    """One fallback group of one image: its index could be a fallback group by its numbers."""
    one = write((GroupHeader(fallback=True), join_items([b"a"]), ["a.png"], None))
    data = one + write((GroupHeader(fallback=True), join_items([b"b"]), ["b.png"], None))
    for place in range(len(one), len(data)):
        for pattern in range(1, 256):
            damaged = data[:place] + bytes([data[place] ^ pattern]) + data[place + 1 :]
            try:
                reader = ArchiveFile(io.BytesIO(damaged))
            except FormatError:
                continue
            assert reader.image_count == 2
            if (place, pattern) == (len(one) + 2, PREFIX[2] ^ ADDING[2]):  # the one byte that does not matter
                assert reader.read_group(1).payload == join_items([b"b"])
                continue  # else the group alone is damaged, and says so
            with pytest.raises(FormatError):
                reader.read_group(1)


@one_test_of(
    "unit",
    [
        PREFIX + b"\x01\x01" + varint(50_000),  # segments in segments, each with a group as long as half of the file
        PREFIX + b"\x01\x01\x00crc!",
        b"\x01\x01\x00crc!" * 3 + PREFIX[:2],
        b"\x01\x01\x01\xbb\xc1\x01\x01\x01\x01",
        varint(1 << 20) * 3 + PREFIX,
    ],
)
def test_a_search_that_would_not_end(unit: bytes) -> None:
    data = small_archive() + PREFIX + unit * (50_000 // len(unit))
    for keep_going in (False, True):
        try:
            with at_most(100 * len(data)):
                reader = ArchiveFile(io.BytesIO(data), keep_going=keep_going)
        except FormatError:
            continue
        assert reader.read_group(0).payload == b"payload"


@given(st.binary(max_size=300))
def test_any_bytes_behind_an_archive(tail: bytes) -> None:
    """They are an error, or an unfinished addition that begins as one, or told of as something else."""
    data = small_archive()
    try:
        reader = ArchiveFile(io.BytesIO(data + tail))
    except FormatError:
        return
    assert reader.tail.size == len(tail)
    assert (reader.tail.kind is TailKind.UNFINISHED) == (tail[: len(ADDING)] == ADDING)
    assert (reader.tail.kind is TailKind.PADDING) == (tail.strip(b"\0") == b"" != tail)
    assert content(data + tail) == content(data)
    assert reader.accounting().total == len(data + tail)


def test_opening_does_not_read_the_groups() -> None:
    class Counting(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.count += len(data)
            return data

    file = Counting(write(*[(GROUP, bytes(100_000), None, None)] * 9))
    reader = ArchiveFile(file)
    assert file.count < 200
    assert reader.read_group(4) == Group(GROUP, bytes(100_000))
    assert file.count < 101_000


def test_sizes() -> None:
    header = GroupHeader(count=1000, model=b"abcd", direct=3, batches=(7, 30, 100, 860))
    accounting = ArchiveFile(
        io.BytesIO(write((header, bytes(13_000), [f"{n:04d}.png" for n in range(1000)], None)))
    ).accounting()
    assert accounting.names <= 16
    assert accounting.total - accounting.payloads <= 55


def test_writer_refuses() -> None:
    def add(**change: Any) -> None:
        arguments: dict[str, Any] = {
            "group": Group(GROUP, b"p"),
            "names": list("abcde"),
            "positions": None,
        }
        writer.add_group(**{**arguments, **change})

    file = io.BytesIO()
    writer = ArchiveWriter(file)
    with pytest.raises(ValueError):
        writer.close()
    for names in (list("abcda"), ["a", "b", "c", "d", "../e"], ["a", "b", "c", "d", "\udcff"]):
        with pytest.raises(BBCError):
            add(names=names)
    with pytest.raises(ValueError):
        add(names=list("abcd"))
    with pytest.raises(ValueError):
        add(positions=[0])
    with pytest.raises(FormatError):
        add(group=Group(replace(GROUP, lanes=0), b"p"))
    assert file.getvalue() == PREFIX
    add()
    unlike: list[dict[str, Any]] = [{"names": None}, {"names": list("fghij"), "positions": range(5, 10)}]
    for change in unlike:
        with pytest.raises(ValueError):
            add(**change)
    with pytest.raises(BBCError, match="two images have the name 'e'"):
        add(names=list("efghi"))
    add(names=list("fghij"))
    writer.close()
    with pytest.raises(ValueError):
        add(names=list("klmno"))
    assert content(file.getvalue())[1] == list("abcdefghij")


def test_writer_wants_a_permutation() -> None:
    writer = ArchiveWriter(io.BytesIO())
    writer.add_group(Group(GROUP, b"p"), None, [0, 1, 2, 3, 5])
    with pytest.raises(ValueError):
        writer.close()


@one_test_of("order", [1, -1])
@one_test_of(("one", "other"), [("x.png", "x.png/inner.png"), ("x", "x/y/z"), ("f/12", "f/12/a.png"), ("n8", "n8/7")])
def test_no_name_is_the_folder_of_another(one: str, other: str, order: int) -> None:
    """Neither in one group, nor in two of a segment, nor in two segments, whose names are listed or numbered."""
    single = replace(GROUP, count=1, direct=1, batches=())
    first, second = (one, other)[::order]
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    message = f"{one!r} cannot stand beside {other!r}"
    with pytest.raises(BBCError, match=message):
        writer.add_group(Group(replace(GROUP, count=2, direct=2, batches=()), b""), [first, second])
    writer.add_group(Group(single, b""), [first])
    with pytest.raises(BBCError, match=message):
        writer.add_group(Group(single, b""), [second])
    writer.add_group(Group(single, b""), [f"b{second}"])
    writer.close()
    for before in (file.getvalue(), write((single, b"", [first], None))):
        file = io.BytesIO(before)
        reader = ArchiveFile(file)
        file.seek(0, io.SEEK_END)
        adder = ArchiveWriter(file, after=reader)
        with pytest.raises(BBCError, match=message):
            adder.add_group(Group(single, b""), [second])
        adder.add_group(Group(single, b""), [f"c{second}"])
        adder.close()
        assert ArchiveFile(file).names[-1] == f"c{second}"


def test_a_part_of_a_name_is_no_longer_than_a_file_s() -> None:
    """What is written is refused above 255 bytes; what is there already is read."""
    single = replace(GROUP, count=1, direct=1, batches=())
    good = ["x" * 255, f"{'é' * 127}/{'é' * 127}.", "/".join("d" * 2000)]
    for name in good:
        assert list(ArchiveFile(io.BytesIO(write((single, b"", [name], None)))).names) == [name]
    for name in ("x" * 256, f"{'é' * 128}/a", f"a/{'日' * 85}x", "/".join(["d" * 256] * 3)):
        writer = ArchiveWriter(io.BytesIO())
        with pytest.raises(BBCError, match="a part that is longer than 255 bytes"):
            writer.add_group(Group(single, b""), [name])
        index = encode_index([(len(checked(single.encode_group() + b"\0")), 1)], [name], range(1), None)
        older = segment(checked(single.encode_group() + b"\0"), index)
        assert list(ArchiveFile(io.BytesIO(older)).names) == [name]
