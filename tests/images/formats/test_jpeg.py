"""Each thing that a JPEG can hold: kept, or named, or refused by its kind."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from bbcompress.errors import ImageError
from bbcompress.images.image import read_image
from bbcompress.images.metadata import EXIF, ICC, TEXT, XMP, Record

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 17, 3), dtype=np.uint8))
MISSING_END = "what may be missing at the file's end"


def saved(picture: Image.Image = PICTURE, form: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


PLAIN = saved()


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(body)) + body


def with_segments(*segments: bytes, data: bytes = PLAIN) -> bytes:
    return data[:2] + b"".join(segments) + data[2:]


def frame(marker: int, bits: int = 8, height: int = 8, components: int = 1) -> bytes:
    parts = b"".join(bytes([number + 1, 0x11, 0]) for number in range(components))
    return segment(marker, struct.pack(">BHHB", bits, height, 8, components) + parts)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (frame(0xC1, 12), "a JPEG of 12 bits"),
        (frame(0xC0, 12), "a JPEG of 12 bits"),
        (frame(0xC3), "a lossless JPEG of 8 bits"),
        (frame(0xC3, 16), "a lossless JPEG of 16 bits"),
        (frame(0xCB), "a lossless JPEG"),
        (frame(0xC5), "a hierarchical JPEG"),
        (frame(0xCE), "a hierarchical JPEG"),
        (frame(0xC0) + frame(0xC0), "hierarchical JPEG, or has several frames"),
        (frame(0xC0, height=0), "its height only behind the pixels"),
        (frame(0xC0, components=2), "a JPEG of 2 samples"),
        (b"", "no frame"),
        (segment(0xC0, b"\x08"), "no size"),
    ],
)
def test_kinds_that_are_not_read_are_named(file: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_image(b"\xff\xd8" + file + b"\xff\xd9", "x.jpg")


def test_kinds_that_are_read() -> None:
    """Baseline, progressive, grey and CMYK: the pixels that Pillow's decoder gives."""
    pictures = {"grey": PICTURE.convert("L"), "CMYK": PICTURE.convert("CMYK"), "colour": PICTURE}
    for picture in pictures.values():
        for options in ({}, {"progressive": True}, {"restart_marker_rows": 1}, {"keep_rgb": True}):
            data = saved(picture, **options)
            image = read_image(data)
            np.testing.assert_array_equal(image.pixels, np.asarray(Image.open(io.BytesIO(data))))
            assert (image.metadata, image.lost) == ((), ())


def test_arithmetic_coding_is_named() -> None:
    for marker in (0xC9, 0xCA):
        with pytest.raises(ImageError, match="an arithmetically coded JPEG"):
            read_image(b"\xff\xd8" + frame(marker) + b"\xff\xd9")


def test_what_is_behind_the_image_is_named() -> None:
    """A motion photo's video; and what a file may lack that does not end."""
    assert read_image(PLAIN + b"\0\0\0\x18ftypmp42" + bytes(100)).lost == ("data behind the image",)
    assert read_image(PLAIN + b"\0").lost == ("data behind the image",)
    assert read_image(PLAIN).lost == ()
    assert read_image(PLAIN[:2] + b"\xff\xff\xff" + PLAIN[2:]).lost == ()  # fill bytes
    assert read_image(PLAIN[:20] + b"junk" + PLAIN[20:]).lost == ("data between the segments",)


def test_what_is_left_out_is_named() -> None:
    thumbnail = bytearray(PLAIN)
    thumbnail[18:20] = b"\1\1"
    icc = b"ICC_PROFILE\0"
    cases = {
        "thumbnail": segment(0xE0, b"JFXX\0\x13\2\2" + bytes(12)),
        "extended XMP": segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40)),
        "FlashPix data": segment(0xE2, b"FPXR\0" + bytes(9)),
        "Photoshop data": segment(0xED, b"Photoshop 3.0\x008BIM\4\4\0\0\0\0\0\0"),
        "application data": segment(0xEB, b"JP\0\1"),
        "ICC profile": segment(0xE2, icc + b"\1\2" + b"A" * 100),
        "EXIF": 2 * segment(0xE1, b"Exif\0\0MM\0*"),
        "XMP": 2 * segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"),
        "resolution": segment(0xE0, b"JFIF\0\1\1\3\0\5\0\5\0\0"),
    }
    for name, added in cases.items():
        image = read_image(with_segments(added))
        assert set(image.lost) - {"application data"} == {name} - {"application data"} or name in image.lost, name
    assert read_image(with_segments(segment(0xE2, icc + b"\1\1A"), segment(0xE2, icc + b"\1\1A"))).lost == (
        "ICC profile",
    )
    jfif = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\1\1abc")
    assert read_image(PLAIN[:2] + jfif + PLAIN[20:]).lost == ("thumbnail",)


def test_what_is_kept() -> None:
    """A profile in parts, out of order; EXIF over two segments; comments with their bytes, between the scans too."""
    parts = [
        segment(0xE2, b"ICC_PROFILE\0" + bytes([number, 3]) + part)
        for number, part in ((2, b"b"), (3, b"c"), (1, b"a"))
    ]
    exif = segment(0xE1, b"Exif\0\0MM\0*begin"), segment(0xE1, b"Exif\0\0end")
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
    comments = segment(0xFE, b"one \xff\0"), segment(0xFE, b"")
    image = read_image(with_segments(*parts, *exif, xmp, *comments))
    assert image.lost == ()
    assert image.metadata == (
        Record(ICC, b"\0abc"),
        Record(EXIF, b"MM\0*beginend"),
        Record(XMP, b"<x/>"),
        Record(TEXT, b"Comment\0one \xff\0"),
        Record(TEXT, b"Comment\0"),
    )
    progressive = saved(progressive=True)
    second = progressive.index(b"\xff\xda", progressive.index(b"\xff\xda") + 2)
    late = progressive[:second] + segment(0xFE, b"late") + progressive[second:]
    assert read_image(late).metadata == (Record(TEXT, b"Comment\0late"),)


def test_adobes_transforms() -> None:
    """What the samples mean is left to the decoder, which needs the segment."""
    data = PLAIN[:2] + segment(0xEE, b"Adobe\0\x64\0\0\0\0\0") + PLAIN[20:]  # transform 0: RGB
    image = read_image(data)
    np.testing.assert_array_equal(image.pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert (image.pixels != read_image(PLAIN).pixels).any()
    assert image.lost == ()


def test_further_pictures_are_named() -> None:
    both = saved(form="MPO", save_all=True, append_images=[PICTURE])
    assert read_image(both).lost == ("further pictures",)
    assert read_image(both + b"video").lost == ("data behind the image", "further pictures")
    assert read_image(both + bytes(9)).lost == ("further pictures",)  # padding


def test_what_pillow_is_told_to_make_up_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert read_image(PLAIN).lost == ()
    for end in range(len(PLAIN) // 2, len(PLAIN) - 1, 37):
        with pytest.raises(ImageError, match="cut short"):
            read_image(PLAIN[:end])
