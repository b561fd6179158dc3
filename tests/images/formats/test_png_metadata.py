"""PNG's chunks as records of metadata and back: nothing is lost that a reader could miss."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from cases_for_tests import one_test_of
from hypothesis import given
from hypothesis import strategies as st
from image_strategies import image_metadata

from bbcompress.errors import ImageError
from bbcompress.images import metadata
from bbcompress.images.formats.png.convert import write_png
from bbcompress.images.formats.png.file import PNG_SIGNATURE, parse_png
from bbcompress.images.formats.png.metadata import chunks_of, read_metadata
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.metadata import (
    CHUNK_AFTER,
    CHUNK_BEFORE_PALETTE,
    CHUNK_BEFORE_PIXELS,
    EXIF,
    ICC,
    INTERNATIONAL_TEXT,
    LEVELS,
    PER_INCH,
    TEXT,
    XMP,
    Metadata,
    Record,
    resolution,
)
from bbcompress.images.read import read_image
from bbcompress.wire import varint

BEFORE = [(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))]
PIXELS = [(b"IDAT", zlib.compress(bytes(4)))]


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    out = PNG_SIGNATURE
    for kind, body in (*chunks, (b"IEND", b"")):
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return out


def of(*chunks: tuple[bytes, bytes]) -> Metadata:
    """The records of a PNG with these chunks before its pixels; what is written of them is read back the same."""
    image = read_image(png(*BEFORE, *chunks, *PIXELS))
    assert image.lost == ()
    if image.metadata:
        assert read_image(write_png(image)) == image
    return image.metadata


ZIPPED = zlib.compress(b"what it says")


@one_test_of(
    ("chunk", "record"),
    [
        ((b"tEXt", b"Author\0me"), Record(TEXT, b"Author\0me")),
        ((b"zTXt", b"Author\0\0" + ZIPPED), Record(TEXT, b"Author\0what it says")),
        ((b"iTXt", b"Author\0\0\0de\0Autor\0ich"), Record(INTERNATIONAL_TEXT, b"Author\0de\0Autor\0ich")),
        ((b"iTXt", b"A\0\1\0de\0Autor\0" + ZIPPED), Record(INTERNATIONAL_TEXT, b"A\0de\0Autor\0what it says")),
        ((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"), Record(XMP, b"<x/>")),
        ((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + ZIPPED), Record(XMP, b"what it says")),
        ((b"iTXt", b"XML:com.adobe.xmp\0\0\0en\0\0<x/>"), Record(INTERNATIONAL_TEXT, b"XML:com.adobe.xmp\0en\0\0<x/>")),
        ((b"iCCP", b"ICC Profile\0\0" + ZIPPED), Record(ICC, b"\0what it says")),
        ((b"iCCP", b"sRGB IEC\0\0" + ZIPPED), Record(ICC, b"sRGB IEC\0what it says")),
        ((b"eXIf", b"MM\0*"), Record(EXIF, b"MM\0*")),
        ((b"pHYs", struct.pack(">IIB", 11811, 11811, 1)), resolution(PER_INCH, (300, 1), (300, 1))),
        ((b"pHYs", struct.pack(">IIB", 1, 1, 0)), resolution(metadata.PIXEL_ASPECT, (1, 1), (1, 1))),
        ((b"pHYs", struct.pack(">IIB", 5, 7, 1)), resolution(metadata.PER_METRE, (5, 1), (7, 1))),
        ((b"sBIT", b"\5\6\5"), Record(CHUNK_BEFORE_PALETTE, b"sBIT\5\6\5")),
        ((b"juNk", b"safe to copy"), Record(CHUNK_BEFORE_PALETTE, b"juNksafe to copy")),
        ((b"PLTE", b"abc"), Record(CHUNK_BEFORE_PALETTE, b"PLTEabc")),
    ],
)
def test_chunks(chunk: tuple[bytes, bytes], record: Record) -> None:
    assert of(chunk) == (record,)


@one_test_of(
    "chunk",
    [
        (b"tEXt", b"no end"),
        (b"tEXt", b"\0"),
        (b"tEXt", b"x" * 80 + b"\0text"),
        (b"zTXt", b"Author\0\1" + ZIPPED),
        (b"zTXt", b"Author\0\0" + ZIPPED[:-1]),
        (b"zTXt", b"Author\0\0" + ZIPPED + b"!"),
        (b"iTXt", b"Author\0\0\0de\0Autor"),
        (b"iTXt", b"Author\0\2\0de\0Autor\0text"),
        (b"iTXt", b"Author\0\1\0de\0Autor\0no zlib"),
        (b"iCCP", b"\0\0" + ZIPPED),
        (b"iCCP", b"name\0\0no zlib"),
        (b"pHYs", bytes(8)),
        (b"pHYs", struct.pack(">IIB", 0, 5, 1)),
        (b"pHYs", struct.pack(">IIB", 5, 5, 2)),
        (b"gAMA", b""),
    ],
)
def test_chunks_that_break_the_rules_stay_as_they_are(chunk: tuple[bytes, bytes]) -> None:
    assert of(chunk) == (Record(CHUNK_BEFORE_PALETTE, b"".join(chunk)),)


def test_text_that_grows_too_large_stays_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bbcompress.images.formats.png.metadata.MAX_IMAGE_BYTES", 1000)
    bomb = b"A\0\0" + zlib.compress(bytes(2000))
    assert of((b"zTXt", bomb)) == (Record(CHUNK_BEFORE_PALETTE, b"zTXt" + bomb),)


def test_places_and_order() -> None:
    """What stands before the palette, behind it, behind the pixels; each kind in the file's order."""
    header = (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 3, 0, 0, 0))
    before = [(b"gAMA", b"1234"), (b"tEXt", b"B\0first")]
    between = [(b"hIST", b"12"), (b"bKGD", b"\0"), (b"tEXt", b"A\0second")]
    after = [(b"tIME", b"1234567"), (b"tEXt", b"C\0third"), (b"juNk", b"")]
    colours = [(b"PLTE", b"abc"), (b"tRNS", b"\5")]
    image = read_image(png(header, *before, *colours, *between, (b"IDAT", zlib.compress(bytes(2))), *after))
    assert image.metadata == (
        Record(TEXT, b"B\0first"),
        Record(TEXT, b"A\0second"),
        Record(TEXT, b"C\0third"),
        Record(CHUNK_BEFORE_PALETTE, b"gAMA1234"),
        Record(CHUNK_BEFORE_PIXELS, b"hIST12"),
        Record(CHUNK_BEFORE_PIXELS, b"bKGD\0"),
        Record(CHUNK_AFTER, b"tIME1234567"),
        Record(CHUNK_AFTER, b"juNk"),
        Record(LEVELS, b"\xff\1"),
    )
    written = write_png(image)
    assert read_image(written) == image
    names = [written[place : place + 4] for place in range(len(written) - 3)]
    order = [names.index(name) for name in (b"gAMA", b"PLTE", b"hIST", b"bKGD", b"IDAT", b"tIME", b"IEND")]
    assert order == sorted(order)
    assert names.index(b"PLTE") < names.index(b"tEXt") < names.index(b"IDAT")


def test_what_speaks_of_the_file_is_left_out_and_named() -> None:
    data = png(*BEFORE, (b"prIV", b"unsafe to copy"), (b"dSIG", b""), *PIXELS) + b"more"
    image = read_image(data)
    assert image.metadata == ()
    assert image.lost == ("PNG chunk dSIG", "PNG chunk prIV", "data behind the image")
    one_frame = png(*BEFORE, (b"acTL", struct.pack(">II", 1, 0)), (b"fcTL", bytes(26)), *PIXELS)
    assert read_image(one_frame).lost == ("animation",)
    assert read_image(one_frame).metadata == ()


@one_test_of(("depth", "scaled"), [(1, 1), (2, 3 * 85), (4, 7 * 17), (8, 0x307), (16, 0x307)])
def test_background_of_grey_is_scaled_as_the_pixels_are(depth: int, scaled: int) -> None:
    header = (b"IHDR", struct.pack(">IIBBBBB", 1, 1, depth, 0, 0, 0, 0))
    value = 1 if depth == 1 else 0x307
    metadata, lost = read_metadata(parse_png(png(header, (b"bKGD", struct.pack(">H", value)), *PIXELS)))
    assert lost == ()
    levels = (Record(LEVELS, bytes([(1 << depth) - 1])),) if depth in (2, 4) else ()
    assert metadata == (Record(CHUNK_BEFORE_PALETTE, b"bKGD" + struct.pack(">H", scaled)), *levels)


@one_test_of(
    ("unit", "x", "seen"),
    [
        (PER_INCH, (72009, 1000), struct.pack(">IIB", 2835, 2835, 1)),
        (metadata.PER_METRE, (5, 2), struct.pack(">IIB", 3, 3, 1)),
        (metadata.PIXEL_ASPECT, (1, 2), None),
        (PER_INCH, (1, 1000), None),
        (metadata.PER_METRE, (1 << 33, 1), None),
    ],
)
def test_a_resolution_that_png_says_only_about(unit: int, x: tuple[int, int], seen: bytes | None) -> None:
    """A chunk of our own has it exactly; where the usual one is near, others see that."""
    record = resolution(unit, x, x)
    assert record is not None
    chunks = list(chunks_of((record,)))
    assert [chunk.body for chunk in chunks] == [record.data] if seen is None else [seen, record.data]
    image = PixelImage("L", np.zeros((1, 1), np.uint8), metadata=(record,))
    assert read_image(write_png(image)) == image


def test_two_resolutions() -> None:
    first, second = (b"pHYs", struct.pack(">IIB", 5, 5, 1)), (b"pHYs", struct.pack(">IIB", 9, 9, 1))
    image = read_image(png(*BEFORE, first, second, *PIXELS))
    assert image.metadata == (resolution(metadata.PER_METRE, (5, 1), (5, 1)),)
    assert image.lost == ("resolution",)


@given(image_metadata, st.sampled_from(["1", "L", "P", "RGB", "RGBA;16"]))
def test_round_trip(found: Metadata, mode: str) -> None:
    """Any records come back from it, whatever the image."""
    arrays = {
        "1": np.ones((2, 3), np.bool_),
        "L": np.ones((2, 3), np.uint8),
        "RGB": np.ones((2, 3, 3), np.uint8),
        "RGBA;16": np.ones((2, 3, 4), np.uint16),
    }
    image = PixelImage("P", arrays["L"], bytes(6)) if mode == "P" else from_array(arrays[mode])
    if mode != "P":  # there is no place between palette and pixels without one
        found = tuple(record for record in found if record.kind != CHUNK_BEFORE_PIXELS)
    image = PixelImage(image.mode, image.pixels, image.palette, metadata=found)
    assert read_image(write_png(image)) == image


def indices(depth: int, colours: int, *more: tuple[bytes, bytes], row: bytes = b"\0\0") -> bytes:
    """A PNG of two pixels of a palette."""
    header = (b"IHDR", struct.pack(">IIBBBBB", 2, 1, depth, 3, 0, 0, 0))
    return png(header, (b"PLTE", bytes(range(3 * colours))), *more, (b"IDAT", zlib.compress(b"\0" + row)))


def depth_of(data: bytes) -> int:
    return data[24]


def test_depth_and_levels_come_back() -> None:
    for depth in (1, 2, 4, 8):
        for colours in (1, 2, 3, 4, 5, 16):
            if colours <= 1 << depth:
                data = indices(depth, colours, row=bytes(2 if depth == 8 else 1))
                image = read_image(data)
                assert image.lost == ()
                assert depth_of(write_png(image)) == depth and read_image(write_png(image)) == image
        header = (b"IHDR", struct.pack(">IIBBBBB", 2, 1, depth, 0, 0, 0, 0))
        more = (b"tRNS", b"\0\1"), (b"bKGD", b"\0\1")
        data = png(
            header,
            *more,
            (b"IDAT", zlib.compress(bytes([0, 0xD2 & 0xFF00 >> min(8, 2 * depth)]) + b"\0" * (depth == 8))),
        )
        image = read_image(data)
        written = write_png(image)
        assert depth_of(written) == depth and read_image(written) == image and image.lost == ()
        assert all(name + body in written for name, body in more)
    wide = np.arange(90, dtype=np.uint8).reshape(9, 10) % 16 * 17
    image = PixelImage("L", wide, metadata=(Record(LEVELS, b"\x0f"),))
    assert read_image(write_png(image)) == image
    odd = PixelImage("L", wide, b"", b"\0\5", metadata=(Record(LEVELS, b"\x0f"),))  # no depth of 4 says that key
    assert depth_of(write_png(odd)) == 8 and read_image(write_png(odd)) == odd


@one_test_of(
    ("mode", "pixels", "maximum"),
    [
        ("L", [[1]], 15), ("L", [[17]], 255), ("L", [[17]], 16), ("L", [[0]], 257), ("I;16", [[0]], 15),
        ("I;16", [[1]], 257), ("1", [[True]], 1), ("P", [[0]], 1), ("P", [[0]], 7), ("CMYK", [[[0, 0, 0, 0]]], 15),
    ],
)  # fmt: skip
def test_levels_that_are_not_those_of_the_pixels(mode: str, pixels: list[list[object]], maximum: int) -> None:
    dtype = {"1": np.bool_, "I;16": np.uint16}.get(mode, np.uint8)
    record = Record(LEVELS, varint(maximum))
    with pytest.raises(ImageError, match="levels"):
        PixelImage(mode, np.array(pixels, dtype), bytes(6) if mode == "P" else b"", metadata=(record,))


def test_transparency_of_all_kinds() -> None:
    """All opaque, with a part of 255s behind, none at all; what breaks the rules is named or refused."""
    for stored in (b"\xff" * 4, b"\1\xff\xff", b"\xff\0"):
        image = read_image(indices(8, 4, (b"tRNS", stored)))
        assert (image.transparency, image.lost) == (stored, ())
        assert b"tRNS" + stored in write_png(image)
    for stored in (b"", b"\1" * 5):
        assert read_image(indices(8, 4, (b"tRNS", stored))).lost == ("transparency of colours that are none",)
    alpha = (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 6, 0, 0, 0))
    beside = png(alpha, (b"tRNS", bytes(6)), (b"IDAT", zlib.compress(bytes(5))))
    assert read_image(beside).lost == ("transparent colour beside alpha",)
    grey = (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(2)))
    image = read_image(png(grey[0], (b"tRNS", b"\1\7"), grey[1]))
    assert (image.transparency, image.lost) == (b"\0\7", ("unused bits of the transparency",))
    key = (b"tRNS", b"\0\7")
    for wrong in ((grey[0], key, key, grey[1]), (grey[0], grey[1], key)):
        with pytest.raises(ImageError, match="two transparencies, or one in a wrong place"):
            read_image(png(*wrong))


def test_palettes_that_are_odd() -> None:
    image = read_image(indices(1, 3, row=b"\0"))
    assert (len(image.palette), image.lost) == (9, ("bit depth",))
    image = read_image(indices(8, 2, row=b"\0\2"))
    assert (image.palette, image.lost) == (bytes(range(6)) + bytes(3), ("number of colours",))


def test_how_the_pixels_are_packed() -> None:
    header = (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 1))
    assert read_image(png(header, *PIXELS)).lost == ("interlacing",)
    stream = zlib.compress(bytes(4))
    for more in (stream + b"!", zlib.compress(bytes(5))):
        assert read_image(png(*BEFORE, (b"IDAT", more))).lost == ("data behind the pixels",)
    assert read_image(png(*BEFORE, (b"IDAT", stream[:-4]))).lost == ()  # without a checksum of its own


def test_what_is_hidden_in_rows_and_in_the_end_is_named() -> None:
    """Bits behind a row's last pixel, of any pass of an interlaced image, and the content of IEND."""
    for interlaced, rows in ((0, bytes([0, 0xA0, 0, 0xA0])), (1, bytes([0, 0x80, 0, 0, 0, 0x80, 0, 0xA0]))):
        header = (b"IHDR", struct.pack(">IIBBBBB", 3, 2, 1, 0, 0, 0, interlaced))
        plain = ("interlacing",) * interlaced
        for place in [at for at in range(len(rows)) if rows[at]]:
            changed = rows[:place] + bytes([rows[place] | 1]) + rows[place + 1 :]
            for stream, lost in ((rows, plain), (changed, (*plain, "unused bits of the rows"))):
                assert read_image(png(header, (b"IDAT", zlib.compress(stream)))).lost == lost
    data = png(*BEFORE, *PIXELS)[:-12]
    end = b"\0\0\0\6IENDsecret" + struct.pack(">I", zlib.crc32(b"IENDsecret"))
    assert read_image(data + end).lost == ("data in the chunk of the end",)


def test_all_chunks_of_the_third_edition_come_back() -> None:
    """Each where it stood: bytes for bytes."""
    names = b"cHRM cICP cLLI gAMA mDCV sBIT sRGB bKGD hIST sPLT oFFs sCAL pCAL sTER tIME".split()
    for name in names:
        chunk = (name, b"any bytes of " + name)
        before = read_image(png(*BEFORE, chunk, *PIXELS))
        behind = read_image(png(*BEFORE, *PIXELS, chunk))
        for image, kind in ((before, CHUNK_BEFORE_PALETTE), (behind, CHUNK_AFTER)):
            assert (image.metadata, image.lost) == ((Record(kind, b"".join(chunk)),), ())
            assert read_image(write_png(image)) == image


def test_unknown_chunks() -> None:
    with pytest.raises(ImageError, match="needs the PNG chunk ABCD, which is not supported"):
        read_image(png(*BEFORE, (b"ABCD", b""), *PIXELS))
    many = [(b"te" + bytes([65 + number // 26, 97 + number % 26]), b"") for number in range(3)]
    assert len(read_image(png(*BEFORE, *many, *PIXELS)).metadata) == 3


def test_more_chunks_than_an_image_can_have() -> None:
    """Those that are too many are named, few of many names, and take no memory."""
    names = [bytes([97 + n // 676 % 26, 97 + n // 26 % 26, 65 + n % 26]) + b"x" for n in range(5000)]
    image = read_image(png(*BEFORE, *((name, b"") for name in names), *PIXELS))
    assert len(image.metadata) == 4096
    assert 1 <= len(image.lost) <= 40
