"""PPM and PGM of 16 bits, plain and raw; what Pillow would round is refused."""

from dataclasses import replace

import numpy as np
import pytest
from cases_for_tests import one_test_of
from PIL import Image

from bbcompress.errors import ImageError
from bbcompress.images.formats.netpbm import file as netpbm
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.metadata import TEXT, Record, names_of
from bbcompress.images.read import read_frames, read_image
from bbcompress.images.write import write_image

COLOURS = np.random.default_rng(0).integers(0, 65536, (3, 5, 3)).astype(np.uint16)


def commented(image: PixelImage, *comments: bytes) -> PixelImage:
    return replace(image, metadata=tuple(Record(TEXT, b"Comment\0" + comment) for comment in comments))


def test_colour_of_16_bits() -> None:
    image, raw = from_array(COLOURS), COLOURS.astype(">u2").tobytes()
    assert read_image(b"P6\n5 3\n65535\n" + raw) == image
    found = read_image(b"P6 # one\n#two\r5 3 #\n65535 " + raw + b"more")
    assert found == commented(image, b" one", b"two", b"") and found.lost == ("data behind the image",)
    plain = b" ".join(str(value).encode() for value in COLOURS.flat)
    assert read_image(b"P3\n5 3\n65535\n" + plain) == image
    found = read_image(b"P3\n5 3 65535 # so\n" + plain.replace(b" ", b"\n# and\n", 1))
    assert found == commented(image, b" so", b" and")
    assert read_image(netpbm.write_file(COLOURS)) == image


def test_fewer_levels_are_spread_evenly() -> None:
    image = read_image(b"P6 2 1 257 " + np.array([0, 1, 257, 256, 2, 3], ">u2").tobytes())
    assert image.pixels.tolist() == [[[0, 255, 65535], [65280, 510, 765]]]
    with pytest.raises(ImageError, match="samples above 257"):
        read_image(b"P6 1 1 257 " + np.array([0, 1, 258], ">u2").tobytes())
    with pytest.raises(ImageError, match="samples above 257"):
        read_image(b"P3 1 1 257 0 1 258")


@one_test_of(
    "data",
    [
        b"P6\n5 3\n65535\n" + bytes(89),
        b"P3\n2 1\n65535\n1 2 3 4 5",
        b"P3\n1 1\n65535\n1 2 x",
        b"P3\n1 1\n65535\n1 2 -3",
        b"P3\n1 1\n65535\n1 2 999999",
        b"P3\n1 1\n65535\n1 2 70000",
        b"P6\n1 1\n",
        b"P6\n1\n",
        b"P6\n1 1\n65536\n" + bytes(6),
        b"P6\n1 1\n0\n" + bytes(6),
        b"P6\n99999999 99999999\n65535\n" + bytes(6),
        b"P6\n1 1\n" + b"9" * 30 + b"\n" + bytes(6),
        b"P6\n0 1\n65535\n",
        b"P6 " + b"#" * 100_000,
    ],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(data, "x.ppm")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("form", ["P5", "P6", "P4"])
def test_written(form: str) -> None:
    pixels = {"P4": COLOURS[..., 0] > 30_000, "P5": COLOURS[..., 1] // 257, "P6": COLOURS // 257}[form]
    pixels = pixels if form == "P4" else pixels.astype(np.uint8)
    data = netpbm.write_file(pixels)
    assert data.startswith(form.encode())
    image = read_image(data)
    assert image == (PixelImage("1", pixels) if form == "P4" else from_array(pixels))
    assert image.pixels.tolist() == np.asarray(Image.fromarray(pixels)).tolist()


@one_test_of(
    ("data", "mode", "pixels"),
    [
        (b"P1 3 1 010", "1", [[True, False, True]]),
        (b"P1\n3 1\n0 1\n0", "1", [[True, False, True]]),
        (b"P4 3 1\n\x40", "1", [[True, False, True]]),
        (b"P2 2 1 255 7 200", "L", [[7, 200]]),
        (b"P5 2 1 255 \7\xc8", "L", [[7, 200]]),
        (b"P5 1 1 65535 \1\2", "I;16", [[258]]),
        (b"P3 1 1 255 1 2 3", "RGB", [[[1, 2, 3]]]),
        (b"P6 1 1 255 \1\2\3", "RGB", [[[1, 2, 3]]]),
    ],
)
def test_all_kinds(data: bytes, mode: str, pixels: object) -> None:
    image = read_image(data)
    assert (image.mode, image.pixels.tolist(), image.metadata, image.lost) == (mode, pixels, (), ())


def pam(tuple_type: str, depth: int, maximum: int, samples: bytes, comment: str = "") -> bytes:
    lines = f"P7\n{comment}WIDTH 1\nHEIGHT 1\nDEPTH {depth}\nMAXVAL {maximum}\nTUPLTYPE {tuple_type}\nENDHDR\n"
    return lines.encode() + samples


@one_test_of(
    ("data", "mode", "pixel"),
    [
        (pam("BLACKANDWHITE", 1, 1, b"\1"), "1", True),
        (pam("GRAYSCALE", 1, 255, b"\7"), "L", 7),
        (pam("GRAYSCALE", 1, 65535, b"\1\2"), "I;16", 258),
        (pam("RGB", 3, 255, b"abc"), "RGB", [97, 98, 99]),
        (pam("GRAYSCALE_ALPHA", 2, 255, b"ab"), "LA", [97, 98]),
        (pam("RGB_ALPHA", 4, 255, b"abcd"), "RGBA", [97, 98, 99, 100]),
        (pam("RGB_ALPHA", 4, 65535, b"\0a\0b\0c\0d"), "RGBA;16", [97, 98, 99, 100]),
    ],
)
def test_pam(data: bytes, mode: str, pixel: object) -> None:
    image = read_image(data)
    assert (image.mode, image.pixels[0, 0].tolist(), image.metadata) == (mode, pixel, ())
    assert read_image(data.replace(b"P7\n", b"P7\n# by me\n")) == commented(image, b" by me")


@one_test_of(
    ("data", "reason"),
    [
        (b"P5 1 1 4095 \0\0", "counts its samples up to 4095"),
        (b"P2 1 1 100 5", "counts its samples up to 100"),
        (pam("CMYK", 4, 255, b"abcd"), "a PAM of 4 samples a pixel and tuple type CMYK"),
        (pam("RGB", 4, 255, b"abcd"), "a PAM of 4 samples a pixel and tuple type RGB"),
        (pam("GRAYSCALE", 2, 255, b"ab"), "a PAM of 2 samples a pixel"),
        (b"P7 332\n80 60 255\n", "a thumbnail of XV"),
        (b"PF\n1 1\n-1\n" + bytes(12), "a PFM"),
        (b"P5 2 1 15 \x0f\x10", "samples above 15"),
        (b"P1 2 1 02", "in the place of a sample"),
        (b"P2 2 1 15 1 x", "in the place of a sample"),
        (b"P2 2 1 15 1", "cut short"),
        (b"P5 2 1 255 a", "cut short"),
        (b"P4 9 2 \0\0\0", "cut short"),
        (b"P4 0 2 ", "no pixels"),
    ],
)
def test_what_is_not_read_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_image(data)


def test_unused_bits_of_rows_are_named() -> None:
    for row, lost in ((b"\x40", ()), (b"\x41", ("unused bits of the rows",)), (b"\x5f", ("unused bits of the rows",))):
        image = read_image(b"P4 3 2\n" + b"\x40" + row)
        assert (image.pixels.tolist(), image.lost) == ([[True, False, True]] * 2, lost)
    assert read_image(b"P4 8 1\n\xff").lost == ()


def test_fewer_levels_come_back() -> None:
    for data, form in ((b"P5\n2 1\n15\n\1\17", "pgm"), (b"P6\n1 1\n257\n\0\1\1\1\0\0", "ppm")):
        image = read_image(data)
        assert names_of(image.metadata) == ("number of levels",)
        for other in (form, "png", "tiff"):
            assert read_image(write_image(image, other)[0]) == image
        assert write_image(image, form)[0] == data
    assert read_image(b"P5\n2 1\n15\n\1\17").pixels.tolist() == [[17, 255]]


def test_comments_come_back() -> None:
    image = read_image(b"P6\n# taken at 52.5N\n1 1\n255#so\nabc")
    assert image.metadata == commented(image, b" taken at 52.5N", b"so").metadata
    assert image.pixels.tolist() == [[[97, 98, 99]]]
    assert read_image(write_image(image, "ppm")[0]) == image
    assert read_image(write_image(image)[0]) == image
    with pytest.raises(ImageError, match="PPM cannot hold text"):
        write_image(commented(image, b"two\nlines"), "ppm")


def test_several_pictures_and_what_is_behind_them() -> None:
    one, two = b"P5 1 1 255 a", b"P6\n#x\n1 1\n65535\nabcdef"
    with pytest.raises(ImageError, match="several pages, 3 of them"):
        read_image(one + two + one)
    images = list(read_frames(one + two + one + b"P"))
    assert [image.mode for image in images] == ["L", "RGB;16", "L"]
    assert {image.lost for image in images} == {("data behind the image",)}
    assert names_of(images[1].metadata) == ("text",)
    for plain in (b"P2 1 1 255 7", b"P1 1 1 0"):
        assert read_image(plain + b"\n \n# end\n").lost == ()
        assert read_image(plain + b" 1").lost == ("data behind the image",)


def test_plain_samples_over_the_edges_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netpbm, "_PLAIN_BLOCK", 7)
    values = np.random.default_rng(0).integers(0, 256, 300)
    text = b" ".join(b"%03d#c%d\n" % (value, value) if value % 7 == 0 else b"%d" % value for value in values)
    assert read_image(b"P2 300 1 255 " + text).pixels[0].tolist() == values.tolist()
    bits = b"".join(b"%d" % (value % 2) for value in values)
    assert read_image(b"P1 300 1 " + bits).pixels[0].tolist() == [value % 2 == 0 for value in values]


def test_headers_of_pam() -> None:
    """Words are apart by any white space, and the last line is one word."""
    usual = b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nTUPLTYPE GRAYSCALE\nENDHDR\n\7"
    for other in (usual.replace(b" ", b"\t"), usual.replace(b" ", b" \t  "), usual.replace(b"\n", b"\r\n")):
        assert read_image(other) == read_image(usual)
    with pytest.raises(ImageError, match="header has an unknown line"):
        read_image(usual.replace(b"ENDHDR", b"ENDHDR more"))
