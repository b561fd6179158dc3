"""What a file is, by its first bytes: what is not read is named, and not read whole."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from cases_for_tests import one_test_of
from PIL import Image

from bbcompress.errors import ImageError
from bbcompress.images import read
from bbcompress.images.read import load_file, read_image
from bbcompress.images.signatures import START_BYTES, format_of


@one_test_of(
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
        (b"\xff\xd8", "a JPEG that is cut short"),
        (b"Pf\n1 1\n-1\n", "a PFM, whose samples are floating-point"),
        (b"PF4\n1 1\n-1\n", "a PFM, whose samples are floating-point"),
        (b"Ph\n1 1\n-1\n", "a PHM, whose samples are floating-point"),
        (b"P7 332\n#END_OF_COMMENTS\n", "a thumbnail of XV"),
        (b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiaf", "an AVIF image"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0heic", r"an HEIF image \(HEIC\)"),
        (b"\0\0\0\x14ftypjpx \0\0\0\0", "a JPEG 2000 image"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", r"a raw photograph of Canon \(CR3\)"),
        (b"\0\0\0\x0cJXS \r\n\x87\n", "a JPEG XS image"),
        (b"\x97JB2\r\n\x1a\n", "a JBIG2 image"),
        (b"GIF88a", "a GIF that is cut short, damaged or of an unknown version"),
        (b"FUJIFILMCCD-RAW 0201", "a camera's raw photograph"),
        (b"II\x1a\0\0\0HEAPCCDR", "a camera's raw photograph"),
        (b"FOVb\0\0\2\0", "a camera's raw photograph"),
        (b"\0MRM\0", "a camera's raw photograph"),
        (b"CI\x1a\0\0\0\0\0\0\0\x1a\0\0\0\x0c\0\0\0", "an icon or a pointer of OS/2"),
        (struct.pack("<IiiHHI", 40, 2, 2, 1, 24, 0), "a DIB"),
        (b"\1\xda\1\1", "an SGI image"),
        (b"\x59\xa6\x6a\x95", "a Sun raster image"),
        (b"#define picture_width 8", "an XBM image"),
        (b"/* made by hand */\n#define picture_width 8", "an XBM image"),
        (bytes(522) + b"\0\x11\2\xff", "a picture of QuickDraw"),
        (b"AT&TFORM\0\0\0\1DJVU", "a DjVu document"),
        (b"RIFF\0\0\0\0ACON", "an animated cursor"),
        (b"RIFF\0\0\0\0AVI LIST", "a video"),
        (b"\0\0\0\x08wide", "a video"),
        (b"\x1a\x45\xdf\xa3", "a video"),
        (b"\0\0\1\xba", "a video"),
        (b"FLV\1\5", "a video"),
        (b"OggS\0", "a video or a sound file"),
        (bytes(4) + b"\x11\xaf\1\0\x40\1\xc8\0\x08\0", "an FLI or FLC animation"),
        (b"\x89HDF\r\n\x1a\n", "scientific data"),
        (b"NRRD0004\n", "a medical image"),
        (bytes(344) + b"n+1\0", "a medical image"),
        (b"DanM", "an image of Microsoft Paint"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of Microsoft Office"),
        (bytes(257) + b"ustar", "a compressed file or an archive"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "an SVG drawing"),
        ("\ufeff<svg>".encode(), "an SVG drawing"),
        ("\ufeff<?xml version='1.0'?><svg>".encode("utf-16-le"), "an SVG drawing"),
        ("\ufeff\n<svg>".encode("utf-16-be"), "an SVG drawing"),
        (b"<?xml version='1.0'?>\n<!-- <html> by a program -->\n<?a b?><!-- two -->\n<svg:svg>", "an SVG drawing"),
        (b"<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN'><svg>", "an SVG drawing"),
        (b"<!DOCTYPE x [<!ENTITY a '>'>]>\n<svg width='1'>", "an SVG drawing"),
        (b"<!-- saved --><!doctype html><html>", "an HTML page"),
        (b"<?xml version='1.0'?><note>", "an XML file"),
    ],
)
def test_kinds_that_are_not_read_are_named(start: bytes, kind: str) -> None:
    with pytest.raises(ImageError, match=rf"x: is {kind}.* not supported") as caught:
        read_image(start + bytes(200), "x")
    assert "known format" not in str(caught.value)


def test_a_file_of_bbc_is_no_image() -> None:
    with pytest.raises(ImageError, match=r"^x: is a \.bbc file already, not an image; bbc decompress brings back its"):
        read_image(b"\xbb\xc1\1" + bytes(200), "x")


@one_test_of("mode", ["1", "L", "P", "LA", "RGB", "RGBA"])
def test_a_tga_is_known_without_a_signature(mode: str) -> None:
    out = io.BytesIO()
    Image.new(mode, (300, 2)).save(out, "TGA", compression=None if mode == "1" else "tga_rle")
    with pytest.raises(ImageError, match="is a TGA image"):
        read_image(out.getvalue())
    out.seek(0)
    for place in (2, 16):  # neither the kind nor the depth may be any number
        changed = out.getvalue()[:place] + b"\x77" + out.getvalue()[place + 1 :]
        with pytest.raises(ImageError, match="not an image of a known format"):
            read_image(changed)


def test_no_prologue_takes_long() -> None:
    """Of comments without end, of many, and of what is no XML, no more than the beginning is looked at."""
    for start in (b"<!--", b"<?xml", b"<!DOCTYPE a [", b"<!-- -->", b" \n", b"<!DOCTYPE ["):
        assert format_of(start * 100_000) is None
        with pytest.raises(ImageError, match=r"XML file|known format"):
            read_image(start * 100_000)


def test_what_is_nothing() -> None:
    for data in (b"hello", bytes(100), b"BM is a text", b"P6x", b"GIF", b"RIFF1234SOME", b"<note>", b"<svgx>"):
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
    monkeypatch.setattr(read, "MAX_FILE_BYTES", START_BYTES + 100)
    endless = Endless(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ImageError, match="has more than 4196 bytes"):
        load_file(io.BufferedReader(endless), "-")
    assert endless.given <= 2 * START_BYTES + 2 * io.DEFAULT_BUFFER_SIZE
