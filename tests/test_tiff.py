"""TIFF: 16 bits a channel, orientation, metadata; what Pillow would change in silence is refused."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from bbcompress import tiff
from bbcompress.errors import ImageError
from bbcompress.images import PixelImage, from_array, read_frames, read_image
from bbcompress.metadata import EXIF, ICC, PER_INCH, PER_METRE, PIXEL_ASPECT, TEXT, XMP, Metadata, Record, resolution
from bbcompress.writers import write_image

Tags = dict[int, tuple[int, Sequence[int] | bytes]]
SIZES = {1: "B", 3: "H", 4: "I", 5: "I", 7: "B"}


def made(pixels: npt.NDArray[Any], more: Tags | None = None, order: Literal["<", ">"] = "<", deflated: bool = False,
         base: int = 0) -> bytes:  # fmt: skip
    """A TIFF by hand, in either byte order: header, pixels, values, directory. base: where it stands in the file."""
    height, width, samples = pixels.shape
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if deflated else data
    out = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4)) + data
    bits = 8 * pixels.itemsize
    tags: Tags = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits] * samples),
        259: (3, [8 if deflated else 1]),
        262: (3, [2 if samples > 2 else 1]),
        273: (4, [base + 8]),
        277: (3, [samples]),
        278: (4, [height]),
        279: (4, [len(data)]),
        **({338: (3, [2])} if samples in (2, 4) else {}),
        **(more or {}),
    }
    entries = b""
    for tag, (form, values) in sorted(tags.items()):
        packed = bytes(values) if form in (1, 7) else struct.pack(f"{order}{len(values)}{SIZES[form]}", *values)
        count = len(values) // (2 if form == 5 else 1)
        if len(packed) > 4:
            place = len(out)
            out += packed
            packed = struct.pack(f"{order}I", base + place)
        entries += struct.pack(f"{order}HHI", tag, form, count) + packed.ljust(4, b"\0")
    out[4:8] = struct.pack(f"{order}I", len(out))
    out += struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    return bytes(out)


def noise(samples: int, height: int = 7, width: int = 5, dtype: type[np.integer[Any]] = np.uint16) -> npt.NDArray[Any]:
    top = np.iinfo(dtype).max + 1
    return np.random.default_rng(samples).integers(0, top, (height, width, samples)).astype(dtype)


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_16_bits_a_channel(
    samples: int, deflated: bool, order: Literal["<", ">"], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = noise(samples)
    data = made(pixels, order=order, deflated=deflated)
    assert read_image(data) == from_array(pixels)
    monkeypatch.setattr("bbcompress.images.BAND_PIXELS", 10)
    assert read_image(data) == from_array(pixels)


@pytest.mark.parametrize("order", "<>")
def test_16_bits_of_grey(order: Literal["<", ">"]) -> None:
    pixels = noise(1)
    assert read_image(made(pixels, order=order)) == from_array(pixels[:, :, 0])


@pytest.mark.parametrize(
    ("pixels", "more", "reason"),
    [
        (noise(4), {338: (3, [1])}, "multiplied by alpha|mode RGBA"),
        (noise(4, dtype=np.uint8), {338: (3, [1])}, "multiplied by alpha"),
        (noise(4), {338: (3, [0])}, "more samples|16 bits"),
        (noise(4), {262: (3, [5]), 338: (3, [])}, "16 bits per sample in mode CMYK"),
        (noise(3), {284: (3, [2])}, "16 bits per sample in mode RGB"),
        (noise(1), {262: (3, [0])}, "0 is white"),
        (noise(2), {}, "known format"),
    ],
)
def test_refused(pixels: npt.NDArray[Any], more: Tags, reason: str) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(made(pixels, more), "x.tif")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_untouched(orientation: int, samples: int) -> None:
    """The pixels stay as the file has them, and so does the tag, though Pillow turns them."""
    for dtype in (np.uint8, np.uint16):
        pixels = noise(samples, dtype=dtype)
        image = read_image(made(pixels, {274: (3, [orientation])}))
        np.testing.assert_array_equal(image.pixels.reshape(pixels.shape), pixels)
        data, _ = write_image(image, "tiff")
        assert read_image(data) == image
        if orientation == 1:
            assert image.metadata == ()
            continue
        ((kind, block),) = image.metadata
        exif = Image.Exif()
        exif.load(block)
        assert (kind, dict(exif)) == (EXIF, {274: orientation})
        if samples == 3 and dtype == np.uint8:  # other programs turn what comes back as they turned the source
            seen = [ImageOps.exif_transpose(Image.open(io.BytesIO(file))) for file in (
                made(pixels, {274: (3, [orientation])}), data, write_image(image, "png")[0])]  # fmt: skip
            assert len({one.tobytes() for one in seen}) == 1


@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_in_xmp_is_untouched(orientation: int) -> None:
    packet = f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    pixels = noise(3, dtype=np.uint8)
    image = read_image(made(pixels, {700: (1, packet)}))
    assert image == replace(from_array(pixels), metadata=(Record(XMP, packet),))
    for form in ("png", "tiff", "webp"):
        assert read_image(write_image(image, form)[0]) == image


INCHES = (3, [2])


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({34675: (7, b"profile")}, (Record(ICC, b"\0profile"),)),
        ({700: (1, b"<x/>")}, (Record(XMP, b"<x/>"),)),
        ({282: (5, [300, 1]), 283: (5, [300, 1])}, (resolution(PER_INCH, (300, 1), (300, 1)),)),
        ({282: (5, [720090, 10000]), 283: (5, [72, 1]), 296: INCHES},
         (resolution(PER_INCH, (72009, 1000), (72, 1)),)),
        ({282: (5, [118, 1]), 283: (5, [119, 1]), 296: (3, [3])}, (resolution(PER_METRE, (11800, 1), (11900, 1)),)),
        ({282: (5, [(1 << 32) - 1, 7]), 283: (5, [1, 9]), 296: (3, [3])},
         (resolution(PER_METRE, (100 * ((1 << 32) - 1), 7), (100, 9)),)),
        ({282: (5, [4, 1]), 283: (5, [3, 1]), 296: (3, [1])}, (resolution(PIXEL_ASPECT, (4, 1), (3, 1)),)),
        ({282: (5, [1, 1]), 283: (5, [1, 1]), 296: (3, [1])}, ()),
        ({296: INCHES}, ()),
    ],
)  # fmt: skip
def test_metadata(tags: Tags, expected: Metadata) -> None:
    image = read_image(made(noise(3, dtype=np.uint8), tags))
    assert (image.metadata, image.lost) == (expected, ())
    for form in ("png", "tiff"):
        assert read_image(write_image(image, form)[0]) == image


def test_descriptive_tags_become_exif() -> None:
    picture = Image.open(io.BytesIO(made(noise(3, dtype=np.uint8))))
    exif = Image.Exif()
    exif[271], exif[306] = "maker", "2001:02:03 04:05:06"
    exif.get_ifd(0x8769)[0x9003] = "2000:01:01 00:00:00"
    exif[0x8769] = exif.get_ifd(0x8769)
    out = io.BytesIO()
    picture.save(out, "TIFF", exif=exif)
    image = read_image(out.getvalue())
    ((kind, block),) = image.metadata
    found = Image.Exif()
    found.load(block)
    assert kind == EXIF and dict(found)[271] == "maker" and found.get_ifd(0x8769) == {0x9003: "2000:01:01 00:00:00"}
    for form in ("png", "tiff", "webp"):
        assert read_image(write_image(image, form)[0]) == image


@pytest.mark.parametrize(
    ("tag", "name"), [(301, "colour space"), (318, "colour space"), (34377, "Photoshop data"), (50000, "TIFF tags")]
)
def test_what_is_left_out_is_named(tag: int, name: str) -> None:
    assert read_image(made(noise(3, dtype=np.uint8), {tag: (3, [1, 2, 3])})).lost == (name,)


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ({282: (5, [0, 1]), 283: (5, [1, 1])}, "resolution"),
        ({282: (5, [1, 0]), 283: (5, [1, 1])}, "resolution"),
        ({282: (5, [1, 1])}, "resolution"),
        ({282: (5, [1, 1]), 283: (5, [1, 1]), 296: (3, [7])}, "resolution"),
        ({34675: (3, [1, 2])}, "ICC profile"),
        ({34675: (4, [1, 2])}, "ICC profile"),
    ],
)
def test_what_is_of_another_kind_than_it_should_be_is_named(tags: Tags, name: str) -> None:
    image = read_image(made(noise(3, dtype=np.uint8), tags))
    assert (image.metadata, image.lost) == ((), (name,))


def test_exif_that_cannot_be_written_again_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise TypeError

    monkeypatch.setattr(Image.Exif, "tobytes", fail)
    image = read_image(made(noise(3, dtype=np.uint8), {274: (3, [3])}))
    assert (image.metadata, image.lost) == ((), ("EXIF",))


def test_our_own_tag_is_checked() -> None:
    image = PixelImage("L", np.zeros((2, 2), np.uint8), metadata=(Record(TEXT, b"Title\0it"),))
    data, _ = write_image(image, "tiff")
    assert read_image(data) == image
    place = data.index(b"Title\0it")
    with pytest.raises(ImageError, match="metadata is damaged"):
        read_image(data[:place] + b"X" + data[place + 1 :])


def test_pages() -> None:
    """Each page is an image of its own kind, of 16 bits as well."""
    out = io.BytesIO()
    pages = [Image.fromarray(noise(3, dtype=np.uint8)), Image.fromarray(noise(1, dtype=np.uint8)[:, :, 0])]
    pages[0].save(out, "TIFF", save_all=True, append_images=pages[1:])
    with pytest.raises(ImageError, match="several pages, 2 of them"):
        read_image(out.getvalue())
    assert list(read_frames(out.getvalue())) == [from_array(np.asarray(page)) for page in pages]
    first, second = made(noise(3)), noise(4)
    start = len(first) + int.from_bytes(made(second)[4:8], "little")
    both = first[:-4] + start.to_bytes(4, "little") + made(second, base=len(first))
    assert list(read_frames(both)) == [from_array(noise(3)), from_array(second)]


def test_large_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "_STRIP_BYTES", 20)
    for samples in (1, 3, 4):
        image = from_array(noise(samples).squeeze())
        assert read_image(write_image(image, "tiff")[0]) == image
