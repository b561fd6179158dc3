"""PPM and PGM of 16 bits, plain and raw; what Pillow would round is refused."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bbcompress import netpbm
from bbcompress.errors import ImageError
from bbcompress.images import PixelImage, from_array, read_image
from bbcompress.metadata import TEXT, Record

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
    assert read_image(netpbm.write(COLOURS)) == image


def test_fewer_levels_are_spread_evenly() -> None:
    image = read_image(b"P6 2 1 257 " + np.array([0, 1, 257, 256, 2, 3], ">u2").tobytes())
    assert image.pixels.tolist() == [[[0, 255, 65535], [65280, 510, 765]]]
    with pytest.raises(ImageError, match="samples above 257"):
        read_image(b"P6 1 1 257 " + np.array([0, 1, 258], ">u2").tobytes())
    with pytest.raises(ImageError, match="samples above 257"):
        read_image(b"P3 1 1 257 0 1 258")


@pytest.mark.parametrize(
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
    data = netpbm.write(pixels)
    assert data.startswith(form.encode())
    image = read_image(data)
    assert image == (PixelImage("1", pixels) if form == "P4" else from_array(pixels))
    assert image.pixels.tolist() == np.asarray(Image.fromarray(pixels)).tolist()
