"""Each thing that a WebP can hold: kept, or named, or refused."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
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
EXTENDED = chunk(b"VP8X", struct.pack("<I", 0x2C) + (6).to_bytes(3, "little") + (8).to_bytes(3, "little"))
ANIM, LOOPING = chunk(b"ANIM", bytes(6)), chunk(b"ANIM", b"\1\2\3\4\5\0")


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


@pytest.mark.parametrize(
    ("data", "lost"),
    [
        (saved() + b"PK", ("data behind the image",)),
        (riff(STREAM, b"abc"), ("data behind the image",)),
        (riff(EXTENDED, STREAM, chunk(b"PSAI", b"secret")), ("WebP chunk PSAI",)),
        (riff(EXTENDED, STREAM, chunk(b"\0\xff\n\x1b", b"")), ("WebP chunk 00ff0a1b",)),
        (riff(EXTENDED, STREAM, 2 * chunk(b"XMP ", b"<x/>")), ("XMP",)),
        (riff(EXTENDED, 2 * chunk(b"ICCP", b"x"), STREAM), ("ICC profile",)),
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
    with pytest.raises(ImageError, match="no image"):
        read_image(riff(chunk(b"EXIF", b"")))
