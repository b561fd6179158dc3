"""Each thing that a WebP can hold: kept, or named, or refused."""

from __future__ import annotations

import base64
import io
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from PIL import Image

from bbcompress.errors import ImageError
from bbcompress.images.metadata import EXIF, ICC, XMP, Record
from bbcompress.images.read import read_frames, read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8)


def saved(mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(PIXELS[:, :, : len(mode)]).save(out, "WEBP", **{"lossless": True, "exact": True, **options})
    return out.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def riff(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


STREAM = saved()[12:]
LOSSY = saved("RGBA", lossless=False)
"""Begins with a VP8X chunk, and has an ALPH chunk before the VP8 chunk."""

PARTITIONS = base64.b64decode(
    b"UklGRnAAAABXRUJQVlA4IGQAAADwBACdASoFACEAPmUqkUWkIqGapABAJkS0gAnAC2AdwF+AfYB1/5NdQFnjoKOPG8AAGgAA/vxYX/9/u+hb"
    b"KKcmF6IOmVq8WI9ef0EAAAD2/almadQ2pUnDdyURQz6Fsm04AAAA"
)
"""A VP8 image whose coefficients are in two partitions."""

EXTENDED = chunk(b"VP8X", struct.pack("<I", 0x2C) + (6).to_bytes(3, "little") + (8).to_bytes(3, "little"))
ANIM, LOOPING = chunk(b"ANIM", bytes(6)), chunk(b"ANIM", b"\1\2\3\4\5\0")


def parts(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a file by their names."""
    found, place = {}, 12
    while place < len(data):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        found[data[place : place + 4]] = data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2
    return found


def anmf(*chunks: bytes) -> bytes:
    place = bytes(6) + (6).to_bytes(3, "little") + (8).to_bytes(3, "little") + b"\x64\0\0\0"
    return chunk(b"ANMF", place + b"".join(chunks))


def test_pixels() -> None:
    """Lossless, with alpha and without, colours under alpha 0 too; of lossy ones those that the decoder gives."""
    for mode in ("RGB", "RGBA"):
        image = read_image(saved(mode))
        assert (image.mode, image.lost) == (mode, ())
        np.testing.assert_array_equal(image.pixels, PIXELS[:, :, : len(mode)])
        lossy = saved(mode, lossless=False)
        np.testing.assert_array_equal(read_image(lossy).pixels, np.asarray(Image.open(io.BytesIO(lossy))))


def test_what_is_kept() -> None:
    records = (Record(ICC, b"\0profile"), Record(EXIF, b"MM\0*"), Record(XMP, b"<x/>"))
    more = chunk(b"EXIF", b"Exif\0\0MM\0*"), chunk(b"XMP ", b"<x/>")
    image = read_image(riff(EXTENDED, chunk(b"ICCP", b"profile"), STREAM, *more))
    assert (image.metadata, image.lost) == (records, ())


@one_test_of(
    ("data", "lost"),
    [
        (saved() + b"PK", ("data behind the image",)),
        (riff(STREAM, b"abc"), ("data behind the image",)),
        (riff(EXTENDED, STREAM, chunk(b"PSAI", b"secret")), ("WebP chunk PSAI",)),
        (riff(EXTENDED, STREAM, chunk(b"\0\xff\n\x1b", b"")), ("WebP chunk 00ff0a1b",)),
        (riff(EXTENDED, STREAM, 2 * chunk(b"XMP ", b"<x/>")), ("XMP",)),
        (riff(EXTENDED, 2 * chunk(b"ICCP", b"x"), STREAM), ("ICC profile",)),
        (riff(EXTENDED, STREAM, STREAM), ("WebP chunk VP8L",)),
        (riff(EXTENDED, STREAM, EXTENDED), ("WebP chunk VP8X",)),
        (riff(EXTENDED[:4] + b"\x0c" + EXTENDED[5:] + b"PK", STREAM), ("WebP chunk VP8X",)),
        (riff(EXTENDED[:8] + b"\x40" + EXTENDED[9:], STREAM), ("reserved bits",)),
        (riff(EXTENDED[:10] + b"\1" + EXTENDED[11:], STREAM), ("reserved bits",)),
        (riff(EXTENDED, chunk(b"ALPH", b"\0" + bytes(63)), STREAM), ("WebP chunk ALPH",)),
        (riff(EXTENDED, STREAM, chunk(b"ALPH", b"\0" + bytes(63))), ("WebP chunk ALPH",)),
        (riff(EXTENDED, STREAM, b"ICCP\1\0\0\0pK"), ("bytes between the chunks",)),
        (riff(EXTENDED, LOOPING, STREAM, anmf(STREAM)), ("WebP chunk ANIM", "WebP chunk ANMF")),
        (
            riff(EXTENDED[:8] + b"\2" + EXTENDED[9:], ANIM, STREAM, anmf(STREAM)),
            ("WebP chunk VP8L", "times of the frames"),
        ),
        (
            riff(EXTENDED[:8] + b"\2" + EXTENDED[9:], chunk(b"ANIM", bytes(8)), anmf(STREAM, STREAM, b"abc")),
            ("WebP chunk ANIM", "WebP chunk VP8L", "data behind the image", "times of the frames"),
        ),
        (
            riff(EXTENDED[:8] + b"\2" + EXTENDED[9:], ANIM, anmf(STREAM)[:23] + b"\x80" + anmf(STREAM)[24:]),
            ("reserved bits", "times of the frames"),
        ),
        (riff(EXTENDED[:8] + b"\2" + EXTENDED[9:], ANIM, anmf(STREAM)), ("times of the frames",)),
        (
            riff(EXTENDED[:8] + b"\2" + EXTENDED[9:], LOOPING, anmf(STREAM, chunk(b"MORE", b""))),
            ("WebP chunk MORE", "background", "loop count", "times of the frames"),
        ),
    ],
)
def test_what_is_left_out_is_named(data: bytes, lost: tuple[str, ...]) -> None:
    image = read_image(data)
    assert image.lost == lost
    np.testing.assert_array_equal(image.pixels[..., :3], PIXELS[..., :3])


def test_frames() -> None:
    data = riff(EXTENDED[:8] + b"\2" + EXTENDED[9:], LOOPING, anmf(STREAM), anmf(STREAM))
    with pytest.raises(ImageError, match="animated"):
        read_image(data)
    images = list(read_frames(data))
    assert [image.lost for image in images] == 2 * [("background", "loop count", "times of the frames")]


def test_what_is_damaged_is_refused() -> None:
    data = saved()
    for end in range(12, len(data) - 1):
        with pytest.raises(ImageError):
            read_image(data[:end])
    for size in (0, 8, len(data) + 100, (1 << 32) - 1):  # a RIFF of another length
        with pytest.raises(ImageError, match=r"cut short|no image"):
            read_image(data[:4] + struct.pack("<I", size) + data[8:])
    animated = EXTENDED[:8] + b"\2" + EXTENDED[9:]
    for chunks in (
        [chunk(b"EXIF", b"")],
        [EXTENDED],
        [EXTENDED, ANIM, anmf(STREAM)],  # frames do not count without the flag
        [animated, ANIM, STREAM],
        [animated, ANIM, anmf()],
    ):
        with pytest.raises(ImageError, match="no image"):
            read_image(riff(*chunks))
    other = EXTENDED[:12] + b"\7" + EXTENDED[13:]
    for chunks in ([other, STREAM], [animated, ANIM, anmf(saved(quality=1)[12:]).replace(b"\6\0\0\x08", b"\6\0\0\7")]):
        with pytest.raises(ImageError, match="size that it says"):
            read_image(riff(*chunks))
    with pytest.raises(ImageError, match="outside"):
        read_image(riff(animated, ANIM, anmf(STREAM)[:8] + b"\1" + anmf(STREAM)[9:]))


def test_data_behind_the_pixels() -> None:
    """In each part whose codes have an end of their own; libwebp says nothing of it."""
    lossless, lossy = parts(saved("RGBA")), parts(LOSSY)
    raw = {**lossy, b"ALPH": b"\0" + PIXELS[:, :, 3].tobytes()}
    first = int.from_bytes(lossy[b"VP8 "][:3], "little")
    body = lossy[b"VP8 "]
    longer = (
        (first + (4 << 5)).to_bytes(3, "little") + body[3 : 10 + (first >> 5)] + b"hide" + body[10 + (first >> 5) :]
    )
    assert read_image(riff(*(chunk(*part) for part in raw.items()))).lost == ()
    for found, name, content in (
        (lossless, b"VP8L", lossless[b"VP8L"] + b"hid"),
        (lossy, b"VP8 ", body + b"hide"),
        (lossy, b"VP8 ", longer),
        (lossy, b"ALPH", lossy[b"ALPH"] + b"hid"),
        (raw, b"ALPH", raw[b"ALPH"] + b"h"),
    ):
        sound = riff(*(chunk(*part) for part in found.items()))
        image = read_image(riff(*(chunk(*part) for part in {**found, name: content}.items())))
        assert (image.mode, image.lost) == ("RGBA", ("data behind the pixels",))
        np.testing.assert_array_equal(image.pixels, np.asarray(Image.open(io.BytesIO(sound))))
    animated = EXTENDED[:8] + b"\2" + EXTENDED[9:]
    data = riff(animated, ANIM, anmf(STREAM), anmf(chunk(b"VP8L", parts(saved())[b"VP8L"] + b"hid")))
    images = list(read_frames(data))
    assert [image.lost for image in images] == [
        ("times of the frames",), ("data behind the pixels", "times of the frames")]  # fmt: skip


def test_lossless_codes_that_are_cut_are_refused() -> None:
    """Of lossless codes libwebp makes up the last ones, whose bits are not there."""
    made_up = 0
    for seed in range(40):
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 9, 4), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "WEBP", lossless=True, exact=True)
        body = parts(out.getvalue())[b"VP8L"]
        for cut in range(1, 6):
            data = riff(chunk(b"VP8L", body[:-cut]))
            try:
                image = read_image(data)
            except ImageError:
                with suppress(OSError):
                    made_up += bool((np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")) != pixels).any())
            else:
                np.testing.assert_array_equal(image.pixels, pixels)
    assert made_up


def test_data_in_each_partition() -> None:
    """The coefficients of a VP8 image may be in several; of all but the last the size is before the first."""
    body = parts(PARTITIONS)[b"VP8 "]
    sizes = 10 + (int.from_bytes(body[:3], "little") >> 5)
    assert read_image(PARTITIONS).lost == ()
    first = int.from_bytes(body[sizes : sizes + 3], "little")
    start = body[:sizes] + (first + 4).to_bytes(3, "little")
    inside = start + body[sizes + 3 : sizes + 3 + first] + b"hide" + body[sizes + 3 + first :]
    for content in (inside, body + b"hide"):
        image = read_image(riff(chunk(b"VP8 ", content)))
        assert image.lost == ("data behind the pixels",)
        np.testing.assert_array_equal(image.pixels, np.asarray(Image.open(io.BytesIO(PARTITIONS))))


def test_nothing_is_named_of_what_an_encoder_writes() -> None:
    """An encoder ends its codes with a few more bytes than are needed."""
    random = np.random.default_rng(3)
    for number in range(60):
        height, width = random.integers(1, 40, 2)
        pixels = [
            random.integers(0, 256, (height, width, 4), dtype=np.uint8),
            np.full((height, width, 4), number, np.uint8),
            (np.add.outer(np.arange(height), np.arange(width))[:, :, None] * (3, 5, 1, 7)).astype(np.uint8),
        ][number % 3]
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "WEBP", lossless=number % 2 == 0, quality=number, alpha_quality=number)
        image = read_image(out.getvalue())
        assert image.lost == ()
        np.testing.assert_array_equal(image.pixels, np.asarray(Image.open(out)))


def test_alpha_that_is_denied() -> None:
    """A picture has the alpha that its codes have, whatever flags say of it; these are named where they are wrong."""
    body = bytearray(parts(saved("RGBA"))[b"VP8L"])
    body[4] &= 0xEF
    lossy = parts(LOSSY)
    for data in (
        riff(chunk(b"VP8L", bytes(body))),
        riff(EXTENDED, saved("RGBA")[12:]),
        riff(EXTENDED, chunk(b"ALPH", lossy[b"ALPH"]), chunk(b"VP8 ", lossy[b"VP8 "])),
        riff(EXTENDED[:8] + b"\2" + EXTENDED[9:], ANIM, anmf(saved("RGBA")[12:])),
    ):
        image = read_image(data)
        assert image.mode == "RGBA" and "flag that nothing is transparent" in image.lost
        np.testing.assert_array_equal(image.pixels[..., 3], PIXELS[..., 3])
    claimed = read_image(riff(EXTENDED[:8] + b"\x10" + EXTENDED[9:], STREAM))
    assert (claimed.mode, claimed.lost) == ("RGBA", ())


def test_hints_of_lossy_images_and_of_alpha_are_named() -> None:
    lossy = parts(LOSSY)
    body = bytearray(lossy[b"VP8 "])
    body[7] |= 0x40
    alpha = bytes([lossy[b"ALPH"][0] | 0x40]) + lossy[b"ALPH"][1:]
    for name, content, lost in (
        (b"VP8 ", bytes(body), "scaling of the image"),
        (b"ALPH", alpha, "reserved bits"),
    ):
        image = read_image(riff(*(chunk(*part) for part in {**lossy, name: content}.items())))
        assert image.lost == (lost,)
        np.testing.assert_array_equal(image.pixels, np.asarray(Image.open(io.BytesIO(LOSSY))))
