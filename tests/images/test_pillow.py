"""Images of ours as Pillow's and back: every mode, palettes, transparency, metadata, and what is refused."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from hypothesis import given, settings
from image_strategies import images
from PIL import Image, PngImagePlugin

from bbcompress.errors import ImageError
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.metadata import (
    CHUNK_BEFORE_PALETTE,
    EXIF,
    ICC,
    INTERNATIONAL_TEXT,
    RESOLUTION,
    TEXT,
    XMP,
    Record,
)
from bbcompress.images.pillow import PILLOW_MODES, from_pillow, to_pillow
from bbcompress.images.read import read_image
from bbcompress.images.write import write_image

RANDOM = np.random.default_rng(5)


def noise(mode: str) -> PixelImage:
    if mode == "1":
        return from_array(RANDOM.integers(0, 2, (7, 13)).astype(np.bool_))
    if mode == "P":
        return PixelImage("P", RANDOM.integers(0, 5, (7, 13)).astype(np.uint8), RANDOM.bytes(15), b"\x00\xff\x80")
    if mode == "I;16":
        return from_array(RANDOM.integers(0, 1 << 16, (7, 13)).astype(np.uint16))
    samples = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,), "CMYK": (4,)}[mode]
    return PixelImage(mode, RANDOM.integers(0, 256, (7, 13, *samples)).astype(np.uint8))


def with_metadata(*records: Record) -> PixelImage:
    return PixelImage("RGB", noise("RGB").pixels, metadata=tuple(sorted(records, key=lambda record: record.kind)))


@one_test_of("mode", PILLOW_MODES)
def test_every_mode_of_pillow_and_back(mode: str) -> None:
    image = noise(mode)
    made = to_pillow(image)
    assert made.mode == mode and made.size == (13, 7)
    assert np.array_equal(np.asarray(made), image.pixels)
    assert from_pillow(made) == image


@pytest.mark.parametrize(
    ("mode", "key", "stands_for"),
    [("1", b"\0\1", 255), ("L", b"\0\x20", 32), ("I;16", b"\x12\x34", 0x1234), ("RGB", b"\0\1\0\2\0\3", (1, 2, 3))],
)
def test_a_transparent_value(mode: str, key: bytes, stands_for: object) -> None:
    image = PixelImage(mode, noise(mode).pixels, transparency=key)
    made = to_pillow(image)
    assert made.info["transparency"] == stands_for
    assert from_pillow(made) == image


def test_pillow_sees_the_transparency_of_a_palette_as_in_a_png() -> None:
    image = noise("P")
    by_pillow = Image.open(io.BytesIO(write_image(image)[0]))
    assert by_pillow.convert("RGBA").tobytes() == to_pillow(image).convert("RGBA").tobytes()


@pytest.mark.parametrize("mode", ["LA;16", "RGB;16", "RGBA;16"])
def test_modes_that_pillow_lacks_are_refused(mode: str) -> None:
    samples = {"LA;16": 2, "RGB;16": 3, "RGBA;16": 4}[mode]
    image = from_array(np.zeros((2, 3, samples), np.uint16))
    with pytest.raises(ImageError, match=f"no images of mode {mode}"):
        to_pillow(image)


@one_test_of("mode", ["F", "I", "HSV", "YCbCr", "LAB", "PA", "La", "RGBa", "RGBX"])
def test_modes_that_are_not_ours_are_refused(mode: str) -> None:
    with pytest.raises(ImageError, match=f"mode {mode} are not supported"):
        from_pillow(Image.new(mode, (3, 2)))


def test_big_endian_samples_of_16_bits() -> None:
    pixels = np.array([[1, 256, 65535]], np.uint16)
    assert from_pillow(Image.frombytes("I;16B", (3, 1), pixels.astype(">u2").tobytes())) == from_array(pixels)


def test_a_palette_of_colours_with_alpha() -> None:
    made = to_pillow(noise("RGBA")).quantize(6)
    made.putpalette([1, 2, 3, 0, 4, 5, 6, 128, 7, 8, 9, 255] * 2, "RGBA")
    image = from_pillow(made)
    assert image.mode == "P" and image.palette[:9] == bytes(range(1, 10)) and image.transparency[:2] == b"\x00\x80"
    assert to_pillow(image).convert("RGBA").tobytes() == made.convert("RGBA").tobytes()


def test_a_png_of_16_bits_a_channel_is_not_taken_as_8() -> None:
    data, _ = write_image(from_array(RANDOM.integers(0, 1 << 16, (4, 4, 3)).astype(np.uint16)))
    with pytest.raises(ImageError, match="16 bits a channel"):
        from_pillow(Image.open(io.BytesIO(data)))


METADATA = {
    "ICC": Record(ICC, b"\0" + bytes(range(200))),
    "EXIF": Record(EXIF, b"II*\0\x08\0\0\0\0\0\0\0\0\0"),
    "XMP": Record(XMP, b"<x:xmpmeta/>"),
    "text": Record(TEXT, b"Title\0caf\xe9"),
    "text of any language": Record(INTERNATIONAL_TEXT, "Title\0ja\0題\0本文".encode()),
    "dpi": Record(RESOLUTION, b"\2\x48\1\x48\1"),
    "pixels a metre": Record(RESOLUTION, b"\1\x03\1\x05\1"),
    "aspect": Record(RESOLUTION, b"\0\2\1\1\1"),
    "gamma": Record(CHUNK_BEFORE_PALETTE, b"gAMA" + struct.pack(">I", 45455)),
    "sRGB": Record(CHUNK_BEFORE_PALETTE, b"sRGB\2"),
    "chromaticity": Record(CHUNK_BEFORE_PALETTE, b"cHRM" + struct.pack(">8I", *range(31270, 31278))),
}


@one_test_of("name", METADATA)
def test_metadata_goes_into_info_as_from_a_png_and_comes_back(name: str) -> None:
    image = with_metadata(METADATA[name])
    by_pillow = Image.open(io.BytesIO(write_image(image)[0]))
    by_pillow.load()
    made = to_pillow(image)
    assert made.info and from_pillow(by_pillow) == image
    for key, value in made.info.items():
        assert by_pillow.info[key] == (pytest.approx(value, rel=1e-3) if isinstance(value, tuple) else value)
    if "text" not in name:  # which Pillow's own images carry, but no plain ones
        assert from_pillow(made) == image


GIVEN: dict[str, tuple[dict[str, Any], Record | None]] = {
    "another profile": ({"icc_profile": b"other"}, Record(ICC, b"\0other")),
    "no profile": ({"icc_profile": None}, None),
    "an Exif object": ({"icc_profile": None, "exif": Image.Exif()}, Record(EXIF, Image.Exif().tobytes()[6:])),
    "a comment": ({"icc_profile": None, "comment": "such"}, Record(TEXT, b"Comment\0such")),
    "a comment of other letters": (
        {"icc_profile": None, "comment": "本"}, Record(INTERNATIONAL_TEXT, "Comment\0\0\0本".encode())
    ),
    "dpi that are none": ({"icc_profile": None, "dpi": (0, float("nan"))}, None),
    "dpi of another type": ({"icc_profile": None, "dpi": "300"}, None),
}  # fmt: skip


@one_test_of("case", GIVEN)
def test_what_is_given_counts_in_place_of_info(case: str) -> None:
    given, record = GIVEN[case]
    made = to_pillow(with_metadata(METADATA["ICC"]))
    assert from_pillow(made, given).metadata == (() if record is None else (record,))


def test_too_much_metadata_is_named() -> None:
    made = to_pillow(noise("L"))
    made.info["xmp"] = bytes(1 << 24)
    image = from_pillow(made)
    assert image.lost == ("XMP",) and image.metadata == ()


def test_a_jpeg_that_pillow_opened_as_we_read_it() -> None:
    file = io.BytesIO()
    comment = {"comment": b"as it was", "dpi": (72, 72), "icc_profile": b"profile"}
    to_pillow(noise("RGB")).save(file, "JPEG", **comment)
    image = read_image(file.getvalue())
    assert {record.kind for record in image.metadata} == {ICC, TEXT, RESOLUTION}
    assert from_pillow(Image.open(file)) == image


def test_texts_of_a_png_with_language() -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("Title", "本文", "ja", "題")
    chunks.add_text("Author", "me")
    file = io.BytesIO()
    to_pillow(noise("L")).save(file, "PNG", pnginfo=chunks)
    assert from_pillow(Image.open(file)).metadata == read_image(file.getvalue()).metadata


@settings(max_examples=60)
@given(images())
def test_any_image_with_any_metadata(image: PixelImage) -> None:
    """Of metadata that Pillow has a name for, what is there once comes back."""
    if image.mode not in PILLOW_MODES:
        with pytest.raises(ImageError):
            to_pillow(image)
        return
    back = from_pillow(to_pillow(image))
    assert back.without_metadata() == image.without_metadata()
    for kind in (EXIF, XMP):
        there = [record for record in image.metadata if record.kind == kind]
        if len(there) == 1 and there[0].data and not there[0].data.startswith(b"Exif\0\0"):
            assert [record for record in back.metadata if record.kind == kind] == there


@one_test_of("key", ["transparency", "dpi", "exif", "icc_profile", "gamma", "comment", "xmp"])
def test_texts_are_not_taken_for_something_else(key: str) -> None:
    image = with_metadata(Record(TEXT, key.encode() + b"\0such"))
    made = to_pillow(image)
    assert made.info == {} and from_pillow(made).metadata == ()
