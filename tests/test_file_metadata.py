"""Metadata of JPEG, WebP and GIF: in one form with that of PNG, and back from it."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from PIL import Image

from bbcompress.errors import ImageError
from bbcompress.images.formats.gif import file as gif
from bbcompress.images.image import PixelImage
from bbcompress.images.metadata import EXIF, ICC, PER_INCH, PER_METRE, PIXEL_ASPECT, TEXT, XMP, Record, resolution
from bbcompress.images.read import read_image
from bbcompress.images.write import write_image

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8))
PROFILE = bytes(range(256)) * 300  # more than a segment of JPEG holds
PACKET = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def saved(form: str, picture: Image.Image = PICTURE, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def exif() -> tuple[bytes, Record]:
    block = Image.Exif()
    block[0x0112], block[271] = 6, "maker"
    data = block.tobytes()
    return data, Record(EXIF, data.removeprefix(b"Exif\0\0"))


def comes_back(image: PixelImage, *forms: str) -> None:
    for form in forms:
        assert read_image(write_image(image, form)[0]) == image


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_what_jpeg_and_webp_have_in_common(form: str) -> None:
    block, record = exif()
    image = read_image(saved(form, exif=block, icc_profile=PROFILE, xmp=PACKET))
    assert image.metadata == (Record(ICC, b"\0" + PROFILE), record, Record(XMP, PACKET))
    assert image.lost == ()
    assert image.size == (7, 9)  # not turned, whatever the orientation says
    comes_back(image, "png", "tiff", "webp")


@one_test_of(
    ("unit", "density", "expected"),
    [
        (1, (300, 300), resolution(PER_INCH, (300, 1), (300, 1))),
        (2, (118, 119), resolution(PER_METRE, (11800, 1), (11900, 1))),
        (0, (4, 3), resolution(PIXEL_ASPECT, (4, 1), (3, 1))),
        (0, (1, 1), None),
        (1, (0, 0), None),
    ],
)
def test_density_of_jpeg(unit: int, density: tuple[int, int], expected: Record | None) -> None:
    data = bytearray(saved("JPEG"))
    place = data.index(b"JFIF\0") + 7
    data[place : place + 5] = struct.pack(">BHH", unit, *density)
    image = read_image(bytes(data))
    assert image.metadata == (() if expected is None else (expected,))
    comes_back(image, "png", "tiff")


def with_segments(*segments: tuple[int, bytes]) -> bytes:
    data = saved("JPEG")
    added = b"".join(bytes([0xFF, marker]) + struct.pack(">H", 2 + len(body)) + body for marker, body in segments)
    return data[:2] + added + data[2:]


def test_comments_of_jpeg() -> None:
    image = read_image(with_segments((0xFE, b"one"), (0xFE, b"two \xff")))
    assert image.metadata == (Record(TEXT, b"Comment\0one"), Record(TEXT, b"Comment\0two \xff"))
    comes_back(image, "png", "tiff")


@pytest.mark.parametrize(
    ("marker", "body", "name"),
    [
        (0xED, b"Photoshop 3.0\0", "Photoshop data"),
        (0xE1, b"http://ns.adobe.com/xmp/extension/\0rest", "extended XMP"),
        (0xEB, b"anything", "application data"),
    ],
)
def test_segments_that_are_left_out_are_named(marker: int, body: bytes, name: str) -> None:
    assert read_image(with_segments((marker, body))).lost == (name,)


def test_gif() -> None:
    picture = PICTURE.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    image = read_image(saved("GIF", picture, comment=b"hello"))
    assert image.metadata == (Record(TEXT, b"Comment\0hello"),)
    comes_back(image, "png", "gif")


def test_extensions_of_gif() -> None:
    picture = PICTURE.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    data = saved("GIF", picture)
    packet = b"!\xff\x0bXMP DataXMP" + PACKET + b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    profile = b"!\xff\x0bICCRGBG1012\xff" + PROFILE[:255] + b"\x02ab\0"
    other = b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0" + b"!\x01\x02ab\0"
    place = 13 + 3 * (2 << (data[10] & 7))
    expected = (Record(ICC, b"\0" + PROFILE[:255] + b"ab"), Record(XMP, PACKET))
    for end in (place, len(data) - 1):  # before the image or behind it
        file = data[:end] + other + packet + profile + data[end:]
        image = read_image(file)
        assert (image.metadata, image.lost) == (expected, ("loop count", "plain text extension"))
        comes_back(image, "png", "gif")
    for end in range(len(file)):
        with suppress(ImageError):
            gif.parse_gif(file[:end])
    with pytest.raises(ImageError, match="XMP with a NUL"):  # it would end its blocks
        write_image(replace(image, metadata=(Record(XMP, bytes(300)),)), "gif")


def test_a_block_that_no_format_allows_is_named() -> None:
    """The limit of an image: what is above it would not be read back."""
    image = read_image(saved("WEBP", xmp=bytes(1 << 24)))
    assert image.metadata == () and image.lost == ("XMP",)
    half = bytes(1 << 23)
    image = read_image(saved("WEBP", xmp=half, icc_profile=half))
    assert image.metadata == (Record(ICC, b"\0" + half),) and image.lost == ("XMP",)
