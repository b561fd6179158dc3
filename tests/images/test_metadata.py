"""Records of metadata: limits, their block, resolutions in one form."""

from __future__ import annotations

from typing import Any

import pytest
from cases_for_tests import one_test_of
from hypothesis import given
from hypothesis import strategies as st
from image_strategies import LARGEST, image_metadata

from bbcompress.archive.group import take_metadata
from bbcompress.errors import FormatError
from bbcompress.images import metadata
from bbcompress.images.metadata import (
    CHUNK_AFTER,
    CHUNK_BEFORE_PALETTE,
    EXIF,
    ICC,
    INTERNATIONAL_TEXT,
    PER_INCH,
    PER_METRE,
    PIXEL_ASPECT,
    PROFILE_NAME,
    RESOLUTION,
    TEXT,
    XMP,
    XMP_KEYWORD,
    Metadata,
    Record,
    decode_metadata,
    encode_metadata,
    fault,
    names_of,
    parse_resolution,
    per_metre,
    resolution,
)
from bbcompress.wire import ByteReader, crc32, pack, varint


def decoded(block: bytes, count: int) -> tuple[Metadata, ...]:
    reader = ByteReader(block + b"rest")
    assert take_metadata(reader) == block
    assert reader.rest() == b"rest"
    return decode_metadata(block, count)


@given(st.lists(image_metadata, min_size=1, max_size=5), st.booleans())
def test_round_trip(images: list[Metadata], twice: bool) -> None:
    images = images * (1 + twice)
    assert not any(map(fault, images))
    block = encode_metadata(images)
    if not any(images):
        assert block == b""
        return
    assert decoded(block, len(images)) == tuple(images)
    for count in (len(images) - 1, len(images) + 1):
        with pytest.raises(FormatError):
            decode_metadata(block, count)


def test_what_a_block_costs() -> None:
    """A short one is not packed; what several images have in common stands once."""
    dpi = resolution(PER_INCH, (300, 1), (300, 1))
    assert dpi is not None
    content = bytes.fromhex("01060702ac0201ac02010100")
    assert encode_metadata([(dpi,)]) == bytes([2 * len(content)]) + content + crc32(content)
    profile = Record(ICC, b"\0" + bytes(range(256)) * 12)
    one, hundred = (len(encode_metadata([(profile, dpi)] * count)) for count in (1, 100))
    assert one < 800
    assert hundred < one + 60


def block(content: bytes, packed: bool = False, checksum: bytes | None = None) -> bytes:
    body = pack(content) if packed else content
    return varint(2 * len(body) + packed) + body + (crc32(content) if checksum is None else checksum)


def listed(*found: tuple[int, bytes]) -> bytes:
    return varint(len(found)) + b"".join(varint(kind) + varint(len(data)) + data for kind, data in found)


GOOD = listed((EXIF, b"x"), (TEXT, b"a\0b")) + b"\2\0\1"


def test_the_hand_made_block_is_good() -> None:
    for packed in (False, True):
        assert decoded(block(GOOD, packed), 1) == ((Record(EXIF, b"x"), Record(TEXT, b"a\0b")),)


@one_test_of(
    "content",
    [
        b"",
        listed(),
        listed() + b"\0",
        listed((EXIF, b"x")) + b"\0",  # of no image
        listed((EXIF, b"x"), (XMP, b"")) + b"\1\0",
        listed((EXIF, b"x"), (XMP, b"")) + b"\2\1\0",  # not numbered in order
        listed((EXIF, b"x"), (EXIF, b"y"), (EXIF, b"z")) + b"\4\0\0\2\1",
        listed((XMP, b""), (EXIF, b"x")) + b"\2\0\1",  # kinds that decrease
        listed((EXIF, b"x")) + b"\1\1",
        listed((EXIF, b"x")) + b"\1",
        GOOD + b"\0",
        GOOD[:-1],
        varint(1 << 40) + b"\2\0",
        listed((EXIF, b"x")) + varint(1 << 40) + b"\0",
        varint(1) + varint(EXIF) + varint(1 << 40),
        *(
            listed((kind, data)) + b"\1\0"
            for kind, data in [
                (0, b""),
                (10, b""),
                (ICC, b""),
                (ICC, b"x" * 80 + b"\0"),
                (TEXT, b"no end"),
                (TEXT, b"\0without keyword"),
                (TEXT, b"x" * 80 + b"\0"),
                (INTERNATIONAL_TEXT, b"a\0b\0c"),
                (INTERNATIONAL_TEXT, b"\0b\0c\0d"),
                (INTERNATIONAL_TEXT, b"a\0" + b"b" * 4097 + b"\0c\0d"),
                (RESOLUTION, b""),
                (RESOLUTION, b"\1\1\1\1"),
                (RESOLUTION, b"\1\1\1\1\1\1"),
                (RESOLUTION, b"\3\1\1\1\1"),
                (RESOLUTION, b"\1\2\2\1\1"),  # not in lowest terms
                (RESOLUTION, b"\1\0\1\1\1"),
                (RESOLUTION, b"\1\1\0\1\1"),
                (RESOLUTION, b"\1" + (varint(11811) + b"\1") * 2),  # is 300 an inch
                (CHUNK_BEFORE_PALETTE, b"gAM"),
                (CHUNK_BEFORE_PALETTE, b"IDATx"),
                (CHUNK_BEFORE_PALETTE, b"IHDRx"),
                (CHUNK_BEFORE_PALETTE, b"tRNSx"),
                (CHUNK_AFTER, b"acTLx"),
                (CHUNK_AFTER, b"a.TLx"),
            ]
        ),
        listed((RESOLUTION, b"\2\1\1\1\1"), (RESOLUTION, b"\2\3\1\1\1")) + b"\2\0\1",
    ],
)
def test_blocks_that_break_a_rule(content: bytes) -> None:
    for packed in (False, True) if content else (False,):
        with pytest.raises(FormatError) as caught:
            decode_metadata(block(content, packed), 1)
        assert len(str(caught.value).splitlines()) == 1


def test_damaged_blocks() -> None:
    for packed in (False, True):
        whole = block(GOOD, packed)
        for data in (*(whole[:end] for end in range(len(whole))), whole + b"\0", block(GOOD, packed, bytes(4))):
            with pytest.raises(FormatError):
                decode_metadata(data, 1)
    for end in range(len(block(GOOD))):
        with pytest.raises(FormatError):
            take_metadata(ByteReader(block(GOOD)[:end]))


def test_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    big = block(listed((EXIF, bytes(5000))) + b"\1\0", packed=True)
    assert len(big) < 100
    decode_metadata(big, 1)
    monkeypatch.setattr(metadata, "MAX_BLOCK_BYTES", 5000)
    with pytest.raises(FormatError, match="more than the 5000 bytes"):
        decode_metadata(big, 1)
    with pytest.raises(FormatError, match="too much for one group"):
        encode_metadata([(Record(EXIF, bytes(5000)),)])
    monkeypatch.undo()
    monkeypatch.setattr(metadata, "MAX_BLOCK_RECORDS", 3)
    many = block(listed((EXIF, b"")) + b"\2\0\0" * 2, packed=True)
    with pytest.raises(FormatError, match="the limit is 1"):
        decode_metadata(many, 2)


def test_limits_of_an_image() -> None:
    assert fault((Record(EXIF, b""),) * metadata.MAX_RECORDS) is None
    for records_of_one in (
        (Record(EXIF, b""),) * (metadata.MAX_RECORDS + 1),
        (Record(EXIF, bytes(metadata.MAX_IMAGE_BYTES)),),
    ):
        reason = fault(records_of_one)
        assert reason is not None and "16 MiB" in reason
        with pytest.raises(FormatError):
            decode_metadata(encode_metadata([records_of_one]), 1)


@pytest.mark.parametrize("name", [b"", b"mine"])
def test_an_empty_profile_is_none(name: bytes) -> None:
    assert fault((Record(ICC, name + b"\0"),)) == "has an empty ICC profile"
    assert fault((Record(ICC, name + b"\0\0"),)) is None


def test_what_a_png_says_otherwise_has_no_second_form() -> None:
    assert fault((Record(ICC, PROFILE_NAME + b"\0profile"),)) == "has an ICC profile in another form"
    assert fault((Record(INTERNATIONAL_TEXT, XMP_KEYWORD + b"\0\0\0packet"),)) == "has XMP in another form"
    assert fault((Record(INTERNATIONAL_TEXT, XMP_KEYWORD + b"\0en\0\0packet"),)) is None


def test_names() -> None:
    found = [Record(ICC, b"\0p"), Record(CHUNK_AFTER, b"juNkx"), Record(TEXT, b"a\0"), Record(TEXT, b"b\0")]
    assert names_of(found) == ("ICC profile", "PNG chunk juNk", "text")


# Resolutions


@one_test_of("dpi", [1, 72, 96, 127, 150, 300, 600, 65535])
def test_whole_dots_an_inch_survive_png(dpi: int) -> None:
    record = resolution(PER_INCH, (dpi, 1), (dpi, 1))
    assert record is not None
    metres = per_metre(record)
    assert metres == (round(dpi / 0.0254), round(dpi / 0.0254))
    assert resolution(PER_METRE, (metres[0], 1), (metres[1], 1)) == record


@given(st.integers(1, (1 << 32) - 1), st.integers(1, (1 << 32) - 1))
def test_all_of_png_survives(x: int, y: int) -> None:
    record = resolution(PER_METRE, (x, 1), (y, 1))
    assert record is not None
    assert per_metre(record) == (x, y)


def test_what_a_number_a_metre_cannot_say() -> None:
    cases: list[Any] = [(PER_INCH, (72009, 1000), (72, 1)), (PIXEL_ASPECT, (4, 1), (3, 1)), (PER_METRE, (1, 2), (1, 2))]
    for unit, x, y in cases:
        record = resolution(unit, x, y)
        assert record is not None
        assert per_metre(record) is None
        assert parse_resolution(record) == (unit, x, y)
    assert resolution(PER_INCH, (600, 2), (300, 1)) == resolution(PER_INCH, (300, 1), (300, 1))


@one_test_of("numbers", [(0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1), (LARGEST + 1, 1, 1, 1), (-1, 1, 1, 1)])
def test_what_is_no_resolution(numbers: tuple[int, int, int, int]) -> None:
    a, b, c, d = numbers
    assert resolution(PER_INCH, (a, b), (c, d)) is None
    assert resolution(3, (1, 1), (1, 1)) is None
