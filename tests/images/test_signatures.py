"""What a file is, by its first bytes: what is not read is named, and not read whole."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from bbcompress.errors import ImageError
from bbcompress.images import image as images
from bbcompress.images.image import load_file, read_image
from bbcompress.images.signatures import START_BYTES, format_of


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\0\0\0\x1cftypavif", "an AVIF image"),
        (b"\0\0\0\x1cftypheic", "an HEIF image"),
        (b"\0\0\0\x1cftypmif1", "an HEIF image"),
        (b"\0\0\0\x1cftypisom", "a video"),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL image"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
        (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
        (b"II\xbc\1", "a JPEG XR image"),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"gimp xcf v011", "a GIMP document"),
        (b"\0\0\1\0\1\0\x10\x10", "an icon"),
        (b"\0\0\2\0\1\0\x10\x10", "a cursor"),
        (b"icns\0\0", "an Apple icon"),
        (b"DDS |\0\0\0", "a DDS texture"),
        (b"qoif\0\0", "a QOI image"),
        (b"\x76\x2f\x31\x01", "an OpenEXR image"),
        (b"#?RADIANCE\n", "a Radiance HDR image"),
        (b"SIMPLE  =    T", "a FITS image"),
        (bytes(128) + b"DICM", "a DICOM file"),
        (b"\x8aMNG\r\n\x1a\n", "an MNG animation"),
        (b"\x8bJNG\r\n\x1a\n", "a JNG image"),
        (b"%PDF-1.7", "a PDF document"),
        (b"%!PS-Adobe", "a PostScript document"),
        (b"<?xml version='1.0'?>\n<svg>", "an SVG drawing"),
        (b"/* XPM */", "an XPM image"),
        (b"\x0a\5\1\x08", "a PCX image"),
        (b"BPG\xfb", "a BPG image"),
        (b"FLIF44", "a FLIF image"),
        (b"PK\3\4", "a compressed file"),
        (b"\xbb\xc1\1", "a .bbc file"),
        (b"\xff\xd8", "a JPEG that is cut short"),
        (b"Pf\n1 1\n-1\n", "a PFM, whose samples are floating-point"),
    ],
)
def test_kinds_that_are_not_read_are_named(start: bytes, kind: str) -> None:
    with pytest.raises(ImageError, match=rf"x: is {kind}.* not supported") as caught:
        read_image(start + bytes(200), "x")
    assert "known format" not in str(caught.value)


def test_what_is_nothing() -> None:
    for data in (b"hello", bytes(100), b"BM is a text", b"P6x", b"GIF90a", b"RIFF1234WAVE"):
        assert format_of(data) is None
        with pytest.raises(ImageError, match="not an image of a known format"):
            read_image(data)


class Endless(io.RawIOBase):
    """Zeros behind a start, without end, as /dev/zero has them."""

    def __init__(self, start: bytes = b"") -> None:
        self.start, self.given = start, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self.start[self.given : self.given + len(buffer)].ljust(len(buffer), b"\0")
        buffer[:] = part
        self.given += len(buffer)
        return len(buffer)


def test_only_the_beginning_is_read_of_what_is_no_image(tmp_path: Path) -> None:
    endless = Endless()
    with pytest.raises(ImageError, match="known format"):
        load_file(io.BufferedReader(endless), "-")
    assert endless.given <= START_BYTES + io.DEFAULT_BUFFER_SIZE
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(1 << 40)  # more than any memory
    with pytest.raises(ImageError, match=r"sparse\.png: is not an image of a known format"):
        read_image(tmp_path / "sparse.png")


def test_most_bytes_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_FILE_BYTES", START_BYTES + 100)
    endless = Endless(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ImageError, match="has more than 4196 bytes"):
        load_file(io.BufferedReader(endless), "-")
    assert endless.given <= 2 * START_BYTES + 2 * io.DEFAULT_BUFFER_SIZE
