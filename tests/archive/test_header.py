"""Group headers of lone images and of archives."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from cases_for_tests import one_test_of
from hypothesis import given
from hypothesis import strategies as st

from bbcompress.archive.header import GROUP_FLAGS, GroupHeader, Learning
from bbcompress.archive.previews import GROUP_OF_PREVIEWS
from bbcompress.errors import FormatError
from bbcompress.images.kinds import BILEVEL, BINARY, COLOUR, GREY, Kind
from bbcompress.limits import Limits
from bbcompress.wire import ByteReader, varint

explicit = st.tuples(st.integers(0, 255), st.integers(0, 255)).map(lambda pair: (min(pair), max(pair)))
kinds = st.one_of(
    st.none(),
    st.sampled_from([BINARY, BILEVEL, GREY, COLOUR]),
    explicit.map(lambda levels: Kind("L", levels)),
)
shared: dict[str, Any] = {
    "kind": kinds,
    "encoder": st.sampled_from(["rha", "baseline"]),
    "size": st.none() | st.tuples(st.integers(1, 1 << 14), st.integers(1, 1 << 14)),
}


@st.composite
def model_headers(draw: st.DrawFn, lone: bool) -> GroupHeader:
    values: dict[str, Any] = {name: draw(values) for name, values in shared.items()}
    k = draw(st.sampled_from([0, 1, 4, 127, 128, 1000]))
    rate = draw(st.none() | st.integers(1, 1_000_000)) if k else None
    blocks = draw(st.booleans()) if values["size"] is not None else False
    direct = 1 if lone else draw(st.integers(0, 100))
    batches = () if lone else tuple(draw(st.lists(st.integers(1, 1000), min_size=not direct, max_size=9)))
    count = direct + sum(batches)
    if blocks:
        direct, batches = 0, ()
    return GroupHeader(
        count=count,
        blocks=blocks,
        model=draw(st.binary(min_size=3 if lone else 4, max_size=3 if lone else 4)),
        k=k,
        learning_rate=rate,
        block_side=draw(st.none() | st.integers(64, 1023)) if blocks else None,
        lanes=1 if lone or blocks else draw(st.integers(1, 1024)),
        direct=direct,
        batches=batches,
        has_metadata=draw(st.booleans()),
        **values,
    )


@given(model_headers(lone=True))
def test_lone_round_trip(header: GroupHeader) -> None:
    reader = ByteReader(header.encode_lone() + b"rest")
    assert GroupHeader.decode_lone(reader) == header
    assert reader.rest() == b"rest"


@given(model_headers(lone=False))
def test_group_round_trip(header: GroupHeader) -> None:
    reader = ByteReader(header.encode_group() + b"rest")
    assert GroupHeader.decode_group(reader) == header
    assert reader.rest() == b"rest"


@given(st.binary(max_size=40))
def test_any_bytes_give_a_header_or_an_error(data: bytes) -> None:
    for decode, encode in (
        (GroupHeader.decode_lone, GroupHeader.encode_lone),
        (GroupHeader.decode_group, GroupHeader.encode_group),
    ):
        reader = ByteReader(data)
        try:
            header = decode(reader)
        except FormatError:
            continue
        assert encode(header) == data[: reader.position]


def test_a_search_knows_groups_by_all_flags_that_they_may_begin_with() -> None:
    """Also those of groups of several sizes that do not learn."""
    mixed = GroupHeader(model=b"abcd", count=3, blocks=True)
    headers = [GroupHeader(count=3, fallback=True), GroupHeader(count=3, parts="LA")]
    for blocks in (mixed, replace(mixed, size=(3, 3)), replace(mixed, blocks=False, direct=3),
                   replace(mixed, blocks=False, direct=3, size=(3, 3))):  # fmt: skip
        for kind in (None, GREY):
            with suppress(FormatError):  # only blocks learn
                learning = replace(blocks, kind=kind, learning=Learning(1, 1))
                headers += [learning] if learning.encode_group() else []
            for k, rate in ((0, None), (1, None), (1, 1)):
                for encoder in ("rha", "baseline"):
                    headers.append(replace(blocks, kind=kind, encoder=encoder, k=k, learning_rate=rate))
    headers.append(replace(mixed, size=(3, 3), block_side=64))
    every = [replace(header, has_metadata=has) for header in headers for has in (False, True)]
    known = {header.encode_group()[0] for header in every}
    assert sorted(known | {GROUP_OF_PREVIEWS}) == list(GROUP_FLAGS)


BETWEEN = Learning(20, 16, batches=True)


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("size", [None, (28, 300)])
@pytest.mark.parametrize(("encoder", "k", "rate"), [("rha", 0, None), ("baseline", 3, None), ("baseline", 300, 7)])
def test_learning_between_batches(blocks: bool, size: Any, encoder: str, k: int, rate: int | None) -> None:
    header = replace(GROUP, learning=BETWEEN, size=size, encoder=encoder, k=k, learning_rate=rate, kind=COLOUR)
    if blocks:
        header = replace(header, blocks=True, direct=0, batches=())
    data = header.encode_group()
    assert data[0] == 0x43 | 0x20 * (size is not None)
    assert GroupHeader.decode_group(ByteReader(data)) == header


def test_reserved_ways_of_learning_are_refused_as_such() -> None:
    for way in set(range(256)) - {1, 2, 3, 5, 7}:
        with pytest.raises(FormatError, match="does not know"):
            GroupHeader.decode_group(ByteReader(b"\x41abcd\x14\x10\x01" + bytes([way]) + b"\x00\x05\x01\x05"))


@pytest.mark.parametrize(
    ("lattices", "starts", "way"), [(False, False, 1), (True, False, 3), (False, True, 5), (True, True, 7)]
)
def test_ways_of_learning_by_units(lattices: bool, starts: bool, way: int) -> None:
    learning = Learning(500, 128, 4, lattices=lattices, starts=starts)
    assert learning.encode()[-1] == way
    assert Learning.decode(ByteReader(learning.encode())) == learning


def test_learning_between_batches_has_no_images_that_begin_anew() -> None:
    with pytest.raises(FormatError, match="begin anew"):
        replace(GROUP, learning=replace(BETWEEN, starts=True)).validate()


def test_learning_between_batches_names_no_colours() -> None:
    with pytest.raises(FormatError, match="lattices"):
        replace(GROUP, learning=replace(BETWEEN, lattices=True)).validate()


def test_learning_between_batches_byte_by_byte() -> None:
    header = replace(GROUP, learning=BETWEEN, encoder="baseline", k=3)
    assert header.encode_group() == b"\x41abcd\x14\x10\x01\x02\x0c\x03\x05\x01\x02\x01\x02"
    lone = GroupHeader(model=b"abc", blocks=True, size=(9, 7), learning=BETWEEN)
    assert lone.encode_lone() == b"\xc2abc\x09\x07\x14\x10\x01\x02\x40"
    assert GroupHeader.decode_lone(ByteReader(lone.encode_lone())) == lone


@pytest.mark.parametrize(
    "data",
    [
        b"\x41abcd\x14\x10\x02\x02\x00\x05\x01\x05",  # a stride
        b"\x41abcd\x14\x10\x01\x04\x00\x05\x01\x05",  # a reserved way
        b"\x41abcd\x14\x00\x01\x02\x00\x05\x01\x05",  # a unit of 0
        b"\x41abcd\x00\x10\x01\x02\x00\x05\x01\x05",  # a rate of 0
        b"\x41abcd\x14\x10\x01\x02\x10\x05\x05\x01\x05",  # a learning rate without K
        b"\x41abcd\x14\x10\x01\x02\x01\x05\x01\x05",  # other coding flags
        b"\x41abcd\x14\x10\x01\x02\x02\x05\x01\x05",
        b"\x41abcd\x14\x10\x01\x02\x20\x05\x01\x05",
        b"\x41abcd\x14\x10\x01\x02\x80\x05\x01\x05",
        b"\x41abcd\x14\x10\x01\x02\x08\x00\x05\x01\x05",  # K = 0
        b"\x45abcd\x14\x10\x01\x02\x00\x05\x01\x05",  # the encoder in the group flags
        b"\x41abcd\x14\x10\x01\x02\x00\x01\x01\x01",  # a single image without blocks
        b"\x41abcd\x14\x10\x01\x02\x40\x01",  # a single image of several sizes
    ],
)
def test_learning_between_batches_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        GroupHeader.decode_group(ByteReader(data))


def test_a_lone_image_without_blocks_is_not_learned_from() -> None:
    with pytest.raises(FormatError, match="no batches"):
        replace(LONE, learning=BETWEEN).encode_lone()
    with pytest.raises(FormatError, match="no batches"):
        GroupHeader.decode_lone(ByteReader(b"\x82abc\x14\x10\x01\x02\x00"))


def test_fallback() -> None:
    assert GroupHeader(fallback=True).encode_lone() == b"\x02"
    assert GroupHeader(fallback=True, count=300).encode_group() == b"\x01\xac\x02"
    assert GroupHeader.decode_group(ByteReader(b"\x01\xac\x02")) == GroupHeader(fallback=True, count=300)
    assert GroupHeader.decode_lone(ByteReader(b"\x02")) == GroupHeader(fallback=True)


def test_metadata_is_announced() -> None:
    """Its block stands behind the header; a lone image takes a byte more, as its flags do not fit the prefix."""
    for count, encoded in ((1, b"\x81\x01"), (2, b"\x81\x02")):
        header = GroupHeader(fallback=True, count=count, has_metadata=True)
        assert header.encode_group() == encoded
        assert GroupHeader.decode_group(ByteReader(encoded)) == header
    lone = GroupHeader(fallback=True, has_metadata=True)
    assert lone.encode_lone() == b"\x03\x81"
    assert GroupHeader.decode_lone(ByteReader(b"\x03\x81")) == lone
    for data in (b"\x03\x01", b"\x05\x81", b"\x03\x83", b"\x03", b"\x81\x02"):
        with pytest.raises(FormatError):
            GroupHeader.decode_lone(ByteReader(data))


LONE = GroupHeader(model=b"abc", direct=1)
GROUP = GroupHeader(model=b"abcd", count=5, direct=2, batches=(1, 2))


def test_defaults_cost_a_flag_byte_and_the_id() -> None:
    assert LONE.encode_lone() == b"\x00abc"
    assert replace(LONE, k=4).encode_lone() == b"\x10abc\x04"
    assert GROUP.encode_group() == b"\x00abcd\x05\x01\x02\x01\x02"
    everything = replace(LONE, kind=Kind("L", (1, 9)), encoder="baseline", k=10, learning_rate=128, size=(28, 300))
    assert everything.encode_lone().hex() == "7c" + b"abc".hex() + "020109" + "0a" + "8001" + "1c" + "ac02"


@one_test_of(
    "change",
    [
        {"count": 0},
        {"count": (1 << 20) + 1, "direct": (1 << 20) + 1, "batches": ()},
        {"model": b""},
        {"encoder": "other"},
        {"k": 1001},
        {"k": -1},
        {"learning_rate": 5000},
        {"k": 1, "learning_rate": 0},
        {"k": 1, "learning_rate": 1_000_001},
        {"size": (0, 1)},
        {"size": (1, (1 << 24) + 1)},
        {"size": (1 << 15, 1 << 14)},
        {"lanes": 0},
        {"lanes": 1025},
        {"direct": 6},
        {"direct": -1},
        {"batches": (3, 0)},
        {"batches": (1, 1)},
        {"batches": (1, 2, 1)},
        {"batches": (4, -1)},
        {"fallback": True},
        {"kind": Kind("RGB", (0, 1))},
        {"kind": Kind("RGBA", None)},
        {"block_side": 64},
        *({"blocks": True, "size": (9, 9), "direct": 0, "batches": (), "block_side": side} for side in (0, 63, 1024)),
        {"blocks": True, "direct": 0, "batches": (), "block_side": 64},
        {"blocks": True},
        {"blocks": True, "size": (9, 9)},
        {"blocks": True, "size": (9, 9), "direct": 0},
        {"blocks": True, "size": (9, 9), "direct": 0, "batches": (), "lanes": 2},
        {"blocks": True, "size": None, "direct": 0, "batches": (), "count": 1},
        {"kind": Kind("L", (3, 256))},
        {"kind": Kind("L", (3, 2))},
    ],
)
def test_refused_on_writing(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        replace(GROUP, **change).encode_group()


def test_lone_images_are_single() -> None:
    changes: list[dict[str, Any]] = [{"lanes": 2}, {"count": 2, "direct": 2}, {"direct": 0, "batches": (1,)}]
    for change in changes:
        with pytest.raises(FormatError):
            replace(LONE, **change).encode_lone()
    with pytest.raises(FormatError):
        LONE.encode_group()


@one_test_of(
    "data",
    [
        b"",
        b"\x40abcd\x01\x01\x01",  # blocks without a size
        b"\x60abcd\x09\x00\x01",  # blocks of a height of 0
        b"\x60abcd\x09\x09\x00",  # blocks of no images
        b"\x41\x01",  # a fallback of blocks
        b"\x03\x01",  # a fallback with a kind
        b"\x10abcd\x05\x01\x01\x01",  # a learning rate without K
        b"\x08abcd\x00\x01\x01\x01",  # K = 0
        b"\x08abcd\xe9\x07\x01\x01\x01",  # K = 1001
        b"\x18abcd\x01\x00\x01\x01\x01",  # a learning rate of 0
        b"\x18abcd\x01\xc1\x84\x3d\x01\x01\x01",  # 1000001
        b"\x02abcd\x05\x01\x01\x01",  # a reserved mode code
        b"\x02abcd\x02\x09\x08\x01\x01\x01",  # levels out of order
        b"\x02abcd\x02\x00\xff\x01\x01\x01",  # levels that have a code
        b"\x20abcd\x00\x05\x01\x01\x01",  # a width of 0
        b"\x20abcd" + varint((1 << 24) + 1) + b"\x05\x01\x01\x01",
        b"\x20abcd" + varint(1 << 15) + varint(1 << 14) + b"\x01\x01\x01",  # above 2^28 pixels
        b"\x00abcd\x00\x01\x00",  # no images
        b"\x00abcd" + varint((1 << 20) + 1) + b"\x01\x00",
        b"\x00abcd" + varint(1 << 40) + b"\x01\x00",
        b"\x00abcd\x01\x00\x01",  # no lanes
        b"\x00abcd\x01\x81\x08\x01",  # 1025 lanes
        b"\x00abcd\x01\x01\x02",  # more direct images than images
        b"\x00abcd\x05\x01\x01\x00\x04",  # a batch of 0
        b"\x00abcd\x05\x01\x01\x05",  # a batch too large
        b"\x00abcd\x05\x01\x01\x03",  # batches cut short
        b"\x01\x00",  # a fallback without images
        b"\x05\x00\x60abcd\x09\x09\x01",  # blocks of no side
        b"\x05\x3f\x60abcd\x09\x09\x01",  # of 63
        b"\x05" + varint(1024) + b"\x60abcd\x09\x09\x01",  # of the usual side
        b"\x05\x40\xe0abcd\x09\x09\x01",  # metadata in the flags behind the side
        b"\x05\x40\x05\x40\x60abcd\x09\x09\x01",  # a side twice
        b"\x05\x40\x20abcd\x09\x09\x01\x01\x01",  # a side without blocks
        b"\x05\x40\x40abcd\x02",  # of a message of several sizes
        b"\x05\x40\x01\x01",  # of the fallback
        b"\x05\x40\x21\x05\x01",  # of images in parts
        b"\x05\x40\x03\x01",  # of previews
        b"\x05\x40\x41abcd\x14\x10\x01\x02\x00\x05\x01\x05",  # of what learns between batches without blocks
        b"\x05\x40\x41abcd\x14\x10\x01\x02\x40\x05",  # likewise, of several sizes
        b"\x05\x40",  # cut short
        b"\x07\x40\x60abcd\x09\x09\x01",  # with another flag
    ],
)
def test_refused_on_reading(data: bytes) -> None:
    with pytest.raises(FormatError):
        GroupHeader.decode_group(ByteReader(data))


def test_a_group_of_blocks_has_no_layout() -> None:
    blocks = replace(GROUP, blocks=True, size=(300, 7), direct=0, batches=())
    assert blocks.encode_group() == b"\x60abcd\xac\x02\x07\x05"
    assert replace(blocks, kind=COLOUR, k=3, encoder="baseline").encode_group() == (b"\x6eabcd\x04\x03\xac\x02\x07\x05")
    lone = replace(blocks, model=b"abc", count=1)
    assert lone.encode_lone() == b"\xc0abc\xac\x02\x07"
    assert GroupHeader.decode_lone(ByteReader(lone.encode_lone())) == lone


def test_a_side_of_blocks_stands_before_the_flags() -> None:
    """And the flag of metadata stands before it."""
    cut = replace(GROUP, blocks=True, size=(300, 7), direct=0, batches=(), block_side=128)
    assert cut.encode_group() == b"\x05\x80\x01\x60abcd\xac\x02\x07\x05"
    lone = replace(cut, model=b"abc", count=1, block_side=64)
    assert lone.encode_lone() == b"\x0a\x40\x60abc\xac\x02\x07"
    described = replace(lone, has_metadata=True)
    assert described.encode_lone() == b"\x03\x85\x40\x60abc\xac\x02\x07"
    by_units = replace(cut, learning=Learning(500, 128))
    assert by_units.encode_group() == b"\x05\x80\x01\x61abcd\xac\x02\x07\xf4\x03\x80\x01\x01\x01\x05"
    several = replace(by_units, size=None)
    between = replace(cut, learning=BETWEEN)
    assert between.encode_group() == b"\x05\x80\x01\x61abcd\xac\x02\x07\x14\x10\x01\x02\x40\x05"
    for header in (cut, by_units, several, between):
        for has in (False, True):
            header = replace(header, has_metadata=has)
            assert GroupHeader.decode_group(ByteReader(header.encode_group())) == header
    for header in (lone, described):
        assert GroupHeader.decode_lone(ByteReader(header.encode_lone())) == header


def test_max_pixels() -> None:
    header = replace(GROUP, size=(100, 100))
    assert GroupHeader.decode_group(ByteReader(header.encode_group()), Limits(10_000)) == header
    with pytest.raises(FormatError, match="9999 pixels"):
        GroupHeader.decode_group(ByteReader(header.encode_group()), Limits(9_999))
