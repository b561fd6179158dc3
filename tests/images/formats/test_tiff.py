"""TIFF: 16 bits a channel, orientation, metadata; what Pillow would change in silence is refused."""

from __future__ import annotations

import io
import os
import signal
import struct
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pytest
from cases_for_tests import one_test_of
from PIL import Image, ImageOps

from bbcompress.errors import ImageError
from bbcompress.images.formats.tiff import file as tiff
from bbcompress.images.formats.tiff import libtiff
from bbcompress.images.formats.tiff.directory import TiffFile
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.metadata import (
    EXIF,
    ICC,
    PER_INCH,
    PER_METRE,
    PIXEL_ASPECT,
    TEXT,
    XMP,
    Metadata,
    Record,
    encode_metadata,
    levels_record,
    resolution,
)
from bbcompress.images.read import read_frames, read_image
from bbcompress.images.write import write_image

Tags = dict[int, tuple[int, Sequence[float] | bytes]]
SIZES = {3: "H", 4: "I", 5: "I", 8: "h", 11: "f", 12: "d", 13: "I", 16: "Q"}


def made(
    pixels: npt.NDArray[Any],
    more: Tags | None = None,
    order: Literal["<", ">"] = "<",
    deflated: bool = False,
    base: int = 0,
    big: bool = False,
    without: Sequence[int] = (),
    strips: Sequence[bytes] = (),
) -> bytes:
    """A TIFF by hand, in either byte order: header, pixels, values, directory.

    base: where it stands in the file. big: a BigTIFF. without: tags that are left out. strips: in place of the pixels.
    """
    height, width, samples = pixels.shape
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    blocks = strips or [zlib.compress(data) if deflated else data]
    pointer = "Q" if big else "I"
    start = (b"+\0\x08\0\0\0" if order == "<" else b"\0+\0\x08\0\0") if big else (b"*\0" if order == "<" else b"\0*")
    out = bytearray((b"II" if order == "<" else b"MM") + start)
    head = len(out)
    out += bytes(struct.calcsize(pointer))
    offsets = []
    for block in blocks:
        offsets.append(base + len(out))
        out += block
    tags: Tags = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8 * pixels.itemsize] * samples),
        259: (3, [8 if deflated else 1]),
        262: (3, [2 if samples > 2 else 1]),
        273: (4, offsets),
        277: (3, [samples]),
        278: (4, [height]),
        279: (4, [len(block) for block in blocks]),
        **({338: (3, [2])} if samples in (2, 4) else {}),
        **(more or {}),
    }
    if 322 in tags:
        tags[324], tags[325] = tags.pop(273), tags.pop(279)
        del tags[278]
    tags = {tag: value for tag, value in tags.items() if tag not in without and len(value[1])}
    entries = b""
    for tag, (form, values) in sorted(tags.items()):
        packed = (
            bytes(cast(Any, values))
            if form in (1, 2, 7)
            else struct.pack(f"{order}{len(values)}{SIZES[form]}", *values)
        )
        count = len(values) // (2 if form == 5 else 1)
        if len(packed) > struct.calcsize(pointer):
            place = len(out)
            out += packed
            packed = struct.pack(order + pointer, base + place)
        entries += struct.pack(f"{order}HH{pointer}", tag, form, count) + packed.ljust(struct.calcsize(pointer), b"\0")
    struct.pack_into(order + pointer, out, head, base + len(out))
    out += struct.pack(order + ("Q" if big else "H"), len(tags)) + entries + bytes(struct.calcsize(pointer))
    return bytes(out)


def noise(samples: int, height: int = 7, width: int = 5, dtype: type[np.integer[Any]] = np.uint16) -> npt.NDArray[Any]:
    size = height * width * samples * np.dtype(dtype).itemsize
    return np.frombuffer(np.random.default_rng(samples).bytes(size), dtype).reshape(height, width, samples)


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_16_bits_a_channel(
    samples: int, deflated: bool, order: Literal["<", ">"], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = noise(samples)
    data = made(pixels, order=order, deflated=deflated)
    assert read_image(data) == from_array(pixels)
    monkeypatch.setattr("bbcompress.images.image.BAND_PIXELS", 10)
    assert read_image(data) == from_array(pixels)


@pytest.mark.parametrize("order", "<>")
def test_16_bits_of_grey(order: Literal["<", ">"]) -> None:
    pixels = noise(1)
    assert read_image(made(pixels, order=order)) == from_array(pixels[:, :, 0])


GREY, RGB = noise(1, dtype=np.uint8), noise(3, dtype=np.uint8)
REFUSED: list[tuple[npt.NDArray[Any], Tags, str]] = [
    (noise(4), {338: (3, [1])}, "colours that are multiplied by alpha"),
    (noise(4, dtype=np.uint8), {338: (3, [1])}, "colours that are multiplied by alpha"),
    (noise(2, dtype=np.uint8), {338: (3, [1])}, "colours that are multiplied by alpha"),
    (noise(4), {338: (3, [0])}, "4 samples a pixel, more than its colours and alpha"),
    (noise(2), {338: (3, [])}, "2 samples a pixel, more than its colours and alpha"),
    (noise(5, dtype=np.uint8), {338: (3, [2, 0])}, "5 samples a pixel, more than its colours and alpha"),
    (noise(2, dtype=np.uint8), {262: (3, [3])}, "2 samples a pixel|a palette with alpha"),
    (noise(5, dtype=np.uint8), {262: (3, [5]), 338: (3, [2])}, "CMYK with alpha of 8 bits"),
    (noise(4), {262: (3, [5]), 338: (3, [])}, "CMYK of 16 bits a sample"),
    (noise(4, dtype=np.uint8), {262: (3, [5]), 338: (3, []), 332: (3, [2])}, "inks that are not CMYK"),
    (noise(1), {262: (3, [3])}, "a palette of 16 bits a sample"),
    (GREY, {339: (3, [2])}, "8-bit signed integers"),
    (noise(1), {339: (3, [2])}, "16-bit signed integers"),
    (noise(1, dtype=np.uint32), {}, "grey of 32 bits a sample"),
    (noise(1, dtype=np.uint32), {339: (3, [2])}, "32-bit signed integers"),
    (noise(1), {339: (3, [3])}, r"16-bit floats \(half floats\)"),
    (noise(1, dtype=np.uint32), {339: (3, [3])}, "32-bit floats"),
    (noise(3, dtype=np.uint32), {339: (3, [3] * 3)}, "32-bit floats"),
    (noise(1, dtype=np.uint64), {339: (3, [3])}, "64-bit floats"),
    (noise(1, dtype=np.uint32), {339: (3, [5])}, "32-bit complex integers"),
    (noise(1, dtype=np.uint64), {339: (3, [6])}, "64-bit complex floats"),
    (GREY, {339: (3, [4])}, "8-bit samples of no stated format"),
    (RGB, {339: (3, [1, 1, 2])}, "samples of several formats"),
    (GREY, {258: (3, [10])}, "grey of 10 bits a sample"),
    (GREY, {258: (3, [12])}, "grey of 12 bits a sample"),
    (GREY, {258: (3, [14])}, "grey of 14 bits a sample"),
    (GREY, {258: (3, [24])}, "grey of 24 bits a sample"),
    (RGB, {258: (3, [4] * 3)}, "RGB of 4 bits a sample"),
    (RGB, {258: (3, [5, 6, 5])}, r"samples of unequal depth \(5, 6, 5 bits\)"),
    (RGB, {262: (3, [6])}, "YCbCr samples without JPEG"),
    (RGB, {262: (3, [8])}, "CIELAB colours"),
    (RGB, {262: (3, [9])}, "ICCLAB colours"),
    (RGB, {262: (3, [10])}, "ITULAB colours"),
    (GREY, {262: (3, [32803])}, "a colour filter array"),
    (noise(1), {262: (3, [32844])}, "LogL samples"),
    (noise(3), {262: (3, [32845])}, "LogLuv colours"),
    (noise(3), {262: (3, [34892])}, "linear raw samples"),
    (GREY, {262: (3, [77])}, "photometric interpretation 77"),
    (GREY, {262: (3, [4])}, "a mask of 8 bits a sample"),
    (GREY, {259: (3, [4])}, "grey of 8 bits a sample and compression 4"),
    (noise(1), {259: (3, [7])}, "grey of 16 bits a sample and compression 7"),
    (RGB, {259: (3, [7]), 284: (3, [2])}, "JPEG in separate planes"),
    (GREY, {259: (3, [8]), 317: (3, [3])}, "predictor 3"),
    (GREY, {317: (3, [2])}, "predictor 2 with compression 1"),
    (GREY, {259: (3, [32773]), 317: (3, [2])}, "predictor 2 with compression 32773"),
    (GREY, {258: (3, [1]), 259: (3, [8]), 317: (3, [2])}, "predictor 2 with compression 8 and 1 bits"),
    (GREY, {32997: (4, [3])}, "a volume, of several images in depth"),
    (GREY, {32998: (4, [2])}, "a volume, of several images in depth"),
    (GREY, {270: (2, b"ImageJ=1.53t\nimages=12\nslices=12\n\0")}, r"an ImageJ stack \(12 images"),
]  # fmt: skip


COMPRESSIONS = {
    9: "JBIG", 32766: "NeXT", 32771: "CCITT with padding", 32809: "ThunderScan", 32908: "Pixar film",
    32909: "Pixar log", 34661: "JBIG", 34676: "LogLuv", 34712: "JPEG 2000", 33003: "JPEG 2000", 34887: "LERC",
    34892: "lossy JPEG", 50001: "WebP", 50002: "JPEG XL",
}  # fmt: skip


def test_compressions_that_are_not_read_are_named() -> None:
    for number, name in COMPRESSIONS.items():
        with pytest.raises(ImageError, match=rf"is a TIFF of compression {number} \({name}\), which is not supported"):
            read_image(made(GREY, {259: (3, [number])}))
    with pytest.raises(ImageError, match="is a TIFF of compression 12345, which is not supported"):
        read_image(made(GREY, {259: (3, [12345])}))


def test_kinds_that_are_not_kept_are_refused_by_name() -> None:
    for pixels, more, reason in REFUSED:
        for big in (False, True):
            with pytest.raises(
                ImageError, match=rf"^x.tif: is a TIFF of (.*({reason})|{reason}).*not supported$"
            ) as caught:
                read_image(made(pixels, more, big=big), "x.tif")
            assert len(str(caught.value).splitlines()) == 1


DAMAGED: list[tuple[Tags | tuple[int, ...], str]] = [
    ({256: (4, [0])}, "it is empty"),
    ({256: (5, [1, 1])}, "tag 256 does not hold a single whole number"),
    ({256: (3, [5, 5])}, "tag 256 does not hold a single whole number"),
    ({258: (3, [8, 8])}, "does not say how many bits"),
    ({277: (3, [2])}, "more than its colours"),
    ({277: (3, [3]), 262: (3, [5])}, "fewer samples a pixel than its colours"),
    ({266: (3, [3])}, "order of its samples"),
    ({284: (3, [0])}, "order of its samples"),
    ({273: (4, [1 << 20])}, "strips or tiles are missing"),
    ({279: (4, [34])}, "too few bytes"),
    ({279: (4, [0])}, "strips or tiles are missing"),
    ({273: (4, [8, 8])}, ""),
    ({278: (4, [3])}, "strips or tiles are missing"),
    ({262: (3, [3])}, "no colour map"),
    ({262: (3, [3]), 320: (3, [0] * 12)}, "no colour map, or one of another size"),
    ({322: (4, [0]), 323: (4, [0])}, "tiles have a size"),
    ({322: (4, [16]), 323: (4, [16])}, "too few bytes"),
    ({322: (4, [4]), 323: (4, [16])}, "strips or tiles are missing"),
    ((256,), r"lacks the TIFF tag 256 \(ImageWidth\), without which"),
    ((262,), r"is a TIFF that lacks the TIFF tag 262 \(PhotometricInterpretation\), without which"),
    ((273,), "strips or tiles are missing"),
]  # fmt: skip


def test_what_is_damaged_is_told_in_a_line() -> None:
    for change, reason in DAMAGED:
        data = made(GREY, change) if isinstance(change, dict) else made(GREY, without=change)
        if not reason:
            read_image(data)
            continue
        with pytest.raises(ImageError, match=f"x.tif: .*{reason}"):
            read_image(data, "x.tif")
    data = made(RGB, deflated=True)
    for end in range(1, len(data), 7):
        with pytest.raises(ImageError, match=r"^the image: is "):
            read_image(data[:end])
    two = made(GREY)
    place = two.index(struct.pack("<HHI", 262, 3, 1))
    twice = two[:place] + two[place - 12 : place] + two[place + 12 :]
    with pytest.raises(ImageError, match=r"lacks|twice"):
        read_image(twice)


@one_test_of("samples", [1, 3])
@one_test_of("orientation", range(1, 9))
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


@one_test_of(
    ("tags", "expected"),
    [
        ({34675: (7, b"profile")}, (Record(ICC, b"\0profile"),)),
        ({700: (1, b"<x/>")}, (Record(XMP, b"<x/>"),)),
        ({282: (5, [300, 1]), 283: (5, [300, 1]), 296: INCHES}, (resolution(PER_INCH, (300, 1), (300, 1)),)),
        ({282: (5, [72009, 1000]), 283: (5, [72, 1]), 296: INCHES},
         (resolution(PER_INCH, (72009, 1000), (72, 1)),)),
        ({282: (5, [118, 1]), 283: (5, [119, 1]), 296: (3, [3])}, (resolution(PER_METRE, (11800, 1), (11900, 1)),)),
        ({282: (5, [(1 << 32) - 1, 7]), 283: (5, [1, 9]), 296: (3, [3])},
         (resolution(PER_METRE, (100 * ((1 << 32) - 1), 7), (100, 9)),)),
        ({282: (5, [4, 1]), 283: (5, [3, 1]), 296: (3, [1])}, (resolution(PIXEL_ASPECT, (4, 1), (3, 1)),)),
        ({296: INCHES}, ()),
    ],
)  # fmt: skip
def test_metadata(tags: Tags, expected: Metadata) -> None:
    image = read_image(made(noise(3, dtype=np.uint8), tags))
    assert (image.metadata, image.lost) == (expected, ())
    for form in ("png", "tiff"):
        assert read_image(write_image(image, form)[0]) == image


@one_test_of(
    ("tags", "expected"),
    [
        ({282: (5, [300, 1]), 283: (5, [300, 1])}, resolution(PER_INCH, (300, 1), (300, 1))),
        ({282: (5, [11811, 100]), 283: (5, [11811, 100]), 296: (3, [3])}, resolution(PER_INCH, (300, 1), (300, 1))),
        ({282: (5, [720000, 10000]), 283: (5, [72, 1]), 296: INCHES}, resolution(PER_INCH, (72, 1), (72, 1))),
        ({282: (3, [72]), 283: (3, [72]), 296: INCHES}, resolution(PER_INCH, (72, 1), (72, 1))),
        ({282: (5, [1, 1]), 283: (5, [1, 1]), 296: (3, [1])}, None),
        ({282: (5, [2, 1]), 283: (5, [2, 1]), 296: (3, [1])}, None),
        ({282: (5, [0, 1]), 283: (5, [1, 1]), 296: INCHES}, None),
        ({282: (5, [1, 0]), 283: (5, [1, 1]), 296: INCHES}, None),
        ({282: (5, [1, 1])}, None),
        ({282: (5, [1, 1]), 283: (5, [1, 1]), 296: (3, [7])}, None),
        ({296: (3, [3])}, None),
    ],
)
def test_a_resolution_comes_back_as_it_is_written(tags: Tags, expected: Record | None) -> None:
    """As the same fractions and unit, of the same types, beside the record by which other formats know it."""
    image = read_image(made(RGB, tags))
    assert image.lost == () and image.metadata[1:] == (() if expected is None else (expected,))
    data = write_image(image, "tiff")[0]
    assert read_image(data) == read_image(write_image(image, "png")[0]) == image
    file, original = (TiffFile(one) for one in (data, made(RGB, tags)))
    for tag in (282, 283, 296):
        entry, before = (one.directory(next(one.places())).entries.get(tag) for one in (file, original))
        assert (entry is None) == (before is None) == (tag not in tags)
        if entry is not None and before is not None:
            assert (entry.form, file.bytes_of(entry)) == (before.form, original.bytes_of(before))
    both = replace(image, metadata=(image.metadata[0], cast(Record, resolution(PER_INCH, (5, 1), (5, 1)))))
    assert read_image(write_image(both, "tiff")[0]) == both


def test_colour_maps_of_grey_and_colours_come_back() -> None:
    """They mean nothing, and some programs write them."""
    for pixels in (GREY, RGB, noise(1)):
        image = read_image(made(pixels, {320: (3, list(range(768)))}))
        assert image.lost == () and [record.kind for record in image.metadata] == [EXIF]
        data = write_image(image, "tiff")[0]
        assert read_image(data) == image and all_tags(data)[320] == tuple(range(768))


def test_tags_that_stand_there_twice_are_named() -> None:
    data = made(GREY, {270: (2, b"the first text\0"), 271: (2, b"the second text\0")})
    twice = data.replace(struct.pack("<HH", 271, 2), struct.pack("<HH", 270, 2))
    image = read_image(twice)
    assert image.lost == ("TIFF tags",)
    assert all_tags(write_image(image, "tiff")[0])[270] == "the first text"


def test_a_predictor_of_no_meaning_is_named() -> None:
    fax = made(GREY, {258: (3, [1]), 259: (3, [4]), 317: (3, [2])}, strips=[b"\xff"])
    assert read_image(fax).lost == ("predictor that its compression has no use for",)


def test_a_stack_of_imagej_comes_back_image_by_image() -> None:
    text: Tags = {270: (2, b"ImageJ=1.53t\nimages=2\nslices=2\n\0")}
    images = list(read_frames(two_pages(made(GREY, text), lambda base: made(GREY, base=base))))
    for image in images:
        assert read_image(write_image(image, "tiff")[0]) == image
    assert all_tags(write_image(images[0], "tiff")[0])[270] == "ImageJ=1.53t\nimages=2\nslices=2\n"


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


NAMED: list[tuple[npt.NDArray[Any], Tags, str]] = [
    (RGB, {330: (4, [8])}, "further images"),
    (RGB, {50000: (13, [8])}, "further images"),
    (GREY, {33629: (5, [1, 1, 2, 2, 3, 3])}, "further images"),
    (RGB, {513: (4, [8]), 514: (4, [2])}, "thumbnail"),
    (RGB, {519: (4, [8])}, "TIFF tags"),
    (RGB, {400: (4, [8])}, "TIFF tags"),
    (RGB, {34412: (1, [1, 2, 3])}, "TIFF tags"),
    (RGB, {34665: (4, [1 << 30])}, "EXIF"),
    (RGB, {34665: (2, b"what")}, "EXIF"),
    (RGB, {65212: (7, b"of another program")}, "TIFF tags"),
    (GREY, {262: (3, [0]), 290: (3, [2])}, "colour space"),
    (GREY, {262: (3, [0]), 281: (3, [77])}, "TIFF tags"),
    (noise(4, dtype=np.uint8), {338: (3, [])}, "unstated meaning of the fourth sample"),
    (noise(4, dtype=np.uint8), {338: (3, [999])}, "unstated meaning of the fourth sample"),
]  # fmt: skip


def test_what_is_left_out_is_named() -> None:
    for pixels, tags, name in NAMED:
        image = read_image(made(pixels, tags))
        assert (image.lost, image.metadata) == ((name,), ())
    data = made(RGB, {50000: (7, b"more than fits")})
    cut = data.replace(struct.pack("<HHI", 50000, 7, 14), struct.pack("<HHI", 50000, 7, 1 << 20))
    assert set(read_image(cut).lost) == {"TIFF tags", "data that no tag points to"}
    unknown = data.replace(struct.pack("<HHI", 50000, 7, 14), struct.pack("<HHI", 50000, 99, 14))
    assert read_image(unknown).lost == ("TIFF tags", "data that no tag points to")


def test_bytes_that_no_tag_points_to_are_named() -> None:
    data = made(RGB, {270: (2, b"with a value beside the directory\0")})
    assert read_image(data).lost == read_image(data + bytes(100)).lost == ()
    assert read_image(data + b"PK\3\4" * 500).lost == ("data that no tag points to",)
    hidden = made(RGB, {279: (4, [7 * 5 * 3]), 700: (1, b"<x/> ")}, strips=[RGB.tobytes() + b"hidden"])
    assert read_image(hidden).lost == ("data that no tag points to",)
    pages = two_pages(data, lambda base: made(GREY, base=base))
    assert [image.lost for image in read_frames(pages)] == [(), ()]
    assert [image.lost for image in read_frames(pages + b"more")] == [("data that no tag points to",), ()]


def test_raw_photographs_are_refused_as_what_they_are() -> None:
    """What is seen in them without a camera's software is a small picture beside the photograph."""
    behind = len(made(GREY, {330: (4, [0])}))
    inner = made(GREY, base=behind)
    place = struct.unpack("<I", made(GREY, {262: (3, [32803])}, base=behind)[4:8])[0]
    with_photograph = made(GREY, {330: (4, [place])}) + made(GREY, {262: (3, [32803])}, base=behind)
    inside = made(GREY, base=16)
    cr2 = b"II*\0" + inside[4:8] + b"CR\2\0" + bytes(4) + inside
    for raw in (made(GREY, {50706: (7, b"\1\4\0\0")}), with_photograph, cr2):
        with pytest.raises(ImageError, match=r"^x.tif: is a camera's raw photograph, which is not supported$"):
            read_image(raw, "x.tif")
    preview = made(GREY, {330: (4, [struct.unpack("<I", inner[4:8])[0]])}) + inner
    assert read_image(preview).lost == ("further images",)


def test_metadata_above_the_limit_is_named() -> None:
    image = read_image(made(GREY, {40_000 + number: (7, bytes(1 << 20)) for number in range(20)}))
    assert image.lost == ("TIFF tags",)
    assert 10 < sum(len(record.data) for record in image.metadata) >> 20 < 17


def two_pages(first: bytes, second: Callable[[int], bytes]) -> bytes:
    """A TIFF of two images, each made by hand."""
    other = second(len(first))
    return first[:-4] + other[4:8] + bytes(8) + other[8:]


def all_tags(data: bytes) -> dict[int, object]:
    """The tags of a TIFF as Pillow reads them, those of its EXIF and GPS, too."""
    with Image.open(io.BytesIO(data)) as file:
        found: dict[int, object] = dict(cast(Any, file).tag_v2)
        exif = file.getexif()
        for tag in (0x8769, 0x8825):
            if tag in found:
                found[tag] = dict(exif.get_ifd(tag))
        return found


TEXTS: Tags = {
    tag: (2, f"text of {tag}\0".encode())
    for tag in (269, 270, 271, 272, 285, 305, 306, 315, 316, 333, 337, 32781, 33432, 42112)
}
OTHERS: Tags = {
    254: (4, [2]), 255: (3, [3]), 263: (3, [2]), 264: (3, [8]), 280: (3, [3]), 281: (3, [200]), 286: (5, [1, 2]),
    291: (3, list(range(256))), 297: (3, [3, 9]), 301: (3, list(range(256))), 318: (5, [1, 3, 1, 3]),
    319: (5, list(range(1, 13))), 321: (3, [10, 240]), 340: (3, [3]), 343: (1, b"clip"), 532: (5, list(range(1, 13))),
    33550: (12, [1.5, 2.5, 0]), 33922: (12, [0, 0, 0, 100, 200, 0]), 33723: (7, b"\x1c\x02iptc"),
    34377: (7, b"8BIM\x04\x04\0\0\0\0\0\0"), 34735: (3, [1, 1, 0, 0]), 34736: (12, [6378137]),
    34737: (2, b"WGS 84|\0"), 37724: (7, b"layers"), 42113: (2, b"-9999\0"), 50838: (4, [4, 8]), 50839: (1, b"IJIJ"),
    65000: (11, [0.5, 1.5]), 65001: (8, [-1, 2, -3]),
}  # fmt: skip


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
def test_tags_come_back_as_these_tags(order: Literal["<", ">"], big: bool) -> None:
    """All that other programs write beside the pixels: of the specification, GeoTIFF, Photoshop, ImageJ, private."""
    data = made(GREY, TEXTS | OTHERS, order, big=big)
    image = read_image(data)
    assert image.lost == () and [record.kind for record in image.metadata] == [EXIF]
    back = write_image(image, "tiff")[0]
    assert read_image(back) == image
    written, read = all_tags(back), all_tags(made(GREY, TEXTS | OTHERS))
    assert 65212 not in written
    assert {tag: written[tag] for tag in TEXTS | OTHERS} == {tag: read[tag] for tag in TEXTS | OTHERS}
    for form in ("png", "tiff"):  # other formats have them in EXIF, from which a TIFF gets them again
        again = read_image(write_image(image, form)[0])
        assert again == image and write_image(again, "tiff")[0] == back


def test_tags_that_say_nothing_are_no_metadata() -> None:
    tags: Tags = {254: (4, [0]), 255: (3, [1]), 263: (3, [1]), 274: (3, [1]), 280: (3, [0]), 281: (3, [255])}
    assert read_image(made(GREY, tags)) == from_array(GREY[..., 0])
    inks: Tags = {262: (3, [5]), 332: (3, [1]), 334: (3, [4]), 336: (3, [0, 255])}
    pixels = noise(4, dtype=np.uint8)
    assert read_image(made(pixels, inks, without=[338])) == PixelImage("CMYK", pixels)


def exif_of_a_camera() -> bytes:
    """As a JPEG has it: big-endian, with EXIF and GPS, a resolution, sizes, and a thumbnail."""
    exif = Image.Exif()
    exif.endian = ">"
    exif[271], exif[306], exif[274], exif[256], exif[282], exif[283], exif[296] = "maker", "2001", 6, 9, 72.0, 72.0, 2
    exif.get_ifd(0x8769)[0x9003] = "2000:01:01 00:00:00"
    exif[0x8769] = exif.get_ifd(0x8769)
    exif.get_ifd(0x8825)[1] = "N"
    exif[0x8825] = exif.get_ifd(0x8825)
    return exif.tobytes().removeprefix(b"Exif\0\0")


def test_exif_of_a_jpeg_can_be_read_by_others_and_comes_back_as_it_was() -> None:
    block = exif_of_a_camera()
    for pixels in (RGB, noise(4, dtype=np.uint8)):
        image = replace(from_array(pixels), metadata=(Record(EXIF, block),))
        data = write_image(image, "tiff")[0]
        assert read_image(data) == image
        tags = all_tags(data)
        assert (tags[271], tags[306], tags[274], tags[282], tags[256]) == ("maker", "2001", 6, 72, 5)
        assert tags[0x8769] == {0x9003: "2000:01:01 00:00:00"} and tags[0x8825] == {1: "N"}
    not_exif = replace(from_array(RGB), metadata=(Record(EXIF, b"II*\0nothing of the kind"),))
    assert read_image(write_image(not_exif, "tiff")[0]) == not_exif


def test_texts_of_a_png_can_be_read_by_others() -> None:
    texts = {269: "Title", 270: "Description", 305: "Software", 315: "Author", 33432: "Copyright"}
    metadata = tuple(Record(TEXT, f"{key}\0about {key}".encode()) for key in (*texts.values(), "Comment", "Other"))
    image = replace(from_array(RGB), metadata=(*metadata, Record(TEXT, b"Title\0with\0a NUL")))
    data = write_image(image, "tiff")[0]
    assert read_image(data) == image
    tags = all_tags(data)
    assert {tag: tags[tag] for tag in texts} == {tag: f"about {key}" for tag, key in texts.items()}
    comment = replace(image, metadata=(Record(EXIF, exif_of_a_camera()), Record(TEXT, b"Comment\0of a JPEG")))
    assert all_tags(write_image(comment, "tiff")[0])[270] == "of a JPEG"


def test_our_own_copy_of_metadata_that_others_have_changed_counts_no_more() -> None:
    image = replace(from_array(RGB), metadata=(Record(EXIF, exif_of_a_camera()),))
    data = write_image(image, "tiff")[0]
    place = data.index(b"maker\0")
    changed = read_image(data[:place] + b"other" + data[place + 5 :])
    assert changed.lost == ("metadata that another program has changed since bbc wrote it",)
    exif = Image.Exif()
    exif.load(changed.metadata[0].data)
    assert exif[271] == "other" and exif.get_ifd(0x8769) == {0x9003: "2000:01:01 00:00:00"}


def test_a_file_of_an_earlier_version_is_read() -> None:
    """It had all of EXIF in the tag of ours, and the orientation alone as TIFF's own."""
    metadata = (Record(EXIF, exif_of_a_camera()), Record(TEXT, b"Title\0it"))
    ours = b"bbc metadata 1\0" + encode_metadata([metadata])
    image = read_image(made(RGB, {274: (3, [6]), 65212: (7, ours)}))
    assert image == replace(from_array(RGB), metadata=metadata) and not image.lost


def test_metadata_of_more_than_the_limit_is_named() -> None:
    tags: Tags = {270: (2, b"small\0"), 34377: (7, bytes(1 << 24)), 50000: (7, bytes(1 << 23))}
    image = read_image(made(RGB, tags))
    assert image.lost == ("Photoshop data",) and len(image.metadata[0].data) > 1 << 23
    assert read_image(write_image(image, "tiff")[0]) == image


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ({34675: (3, [1, 2])}, "ICC profile"),
        ({34675: (4, [1, 2])}, "ICC profile"),
    ],
)
def test_what_is_of_another_kind_than_it_should_be_is_named(tags: Tags, name: str) -> None:
    image = read_image(made(noise(3, dtype=np.uint8), tags))
    assert (image.metadata, image.lost) == ((), (name,))


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
    both = two_pages(made(noise(3)), lambda base: made(noise(4), base=base))
    assert list(read_frames(both)) == [from_array(noise(3)), from_array(noise(4))]


def test_a_transparency_mask_is_named() -> None:
    bits = np.packbits(GREY[..., 0] > 99, axis=1).tobytes()
    mask: Tags = {258: (3, [1]), 262: (3, [4]), 254: (4, [4])}
    both = two_pages(made(RGB), lambda base: made(GREY, mask, base=base, strips=[bits]))
    image, second = read_frames(both)
    assert image == from_array(RGB) and second == from_array(GREY[..., 0] > 99)
    assert (image.lost, second.lost) == ((), ("role as a transparency mask",))


def test_directories_that_go_round_end() -> None:
    data = bytearray(made(GREY))
    data[-4:] = data[4:8]
    assert read_image(bytes(data)) == from_array(GREY[..., 0])
    data[-4:] = (1 << 30).to_bytes(4, "little")
    with pytest.raises(ImageError, match="it points to bytes behind its end"):
        read_image(bytes(data))


def in_order(data: bytes, order: str) -> bytes:
    """Bytes of a strip, with their bits turned round if that is the order."""
    return data if order == "1" else bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)


@pytest.mark.parametrize("order", "<>")
def test_depths_and_orders_of_bits(order: Literal["<", ">"]) -> None:
    """Grey of 1 to 16 bits, of which 0 is black or white, in both orders of bits: white stays white."""
    for bits in (1, 2, 4, 8, 16):
        top = (1 << bits) - 1
        values = np.random.default_rng(bits).integers(0, top + 1, (7, 5))
        row_bytes = -(-5 * bits // 8)
        packed = b""
        for row in values.tolist():
            if bits == 16:
                packed += struct.pack(f"{order}5H", *row)
            else:
                text = "".join(f"{value:0{bits}b}" for value in row).ljust(8 * row_bytes, "0")
                packed += int(text, 2).to_bytes(row_bytes, "big")
        expected = values == 1 if bits == 1 else values.astype(np.uint16) if bits == 16 else values * (255 // top)
        dtype = {1: np.bool_, 16: np.uint16}.get(bits, np.uint8)
        for white in (0, 1):
            seen = expected if white else (~expected if bits == 1 else (255 if bits < 16 else top) - expected)
            for fill in "12":
                tags: Tags = {258: (3, [bits]), 262: (3, [white]), 266: (3, [int(fill)])}
                strip = in_order(packed, fill)
                image = read_image(made(GREY, tags, order, strips=[strip]))
                np.testing.assert_array_equal(image.pixels, np.asarray(seen).astype(dtype), strict=True)
                levels = levels_record("L", top) if bits in (2, 4) else None
                assert not image.lost and image.metadata == (() if levels is None else (levels,))
                for form in ("png", "tiff"):
                    assert read_image(write_image(image, form)[0]) == image
                if levels is not None:
                    assert cast(Any, all_tags(write_image(image, "tiff")[0]))[258] == (bits,)
                deflated = made(GREY, tags | {259: (3, [8])}, order, strips=[in_order(zlib.compress(packed), fill)])
                assert read_image(deflated) == image
        if bits < 16:
            palette = np.random.default_rng(9).integers(0, 256, (top + 1, 3)).astype(np.uint8)
            palette[0] = 255
            tags = {258: (3, [bits]), 262: (3, [3]), 320: (3, (257 * palette.T.astype(int)).reshape(-1).tolist())}
            image = read_image(made(GREY, tags, order, strips=[packed]))
            assert image == PixelImage("P", values.astype(np.uint8), palette.tobytes()) and not image.lost
            assert read_image(write_image(image, "tiff")[0]) == image


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_planes_tiles_and_differences(dtype: type[np.integer[Any]], order: Literal["<", ">"]) -> None:
    height, width, tile = 37, 21, 16
    for samples in (1, 2, 3, 4):
        pixels = noise(samples, height, width, dtype)
        image = from_array(pixels[..., 0] if samples == 1 else pixels)
        padded = np.zeros((48, 32, samples), dtype)
        padded[:height, :width] = pixels
        for planes in (1, samples):
            tiled, stripped = [], []
            for plane in np.split(padded, planes, axis=2):
                tiled += [plane[y : y + tile, x : x + tile] for y in range(0, 48, tile) for x in range(0, 32, tile)]
                stripped += [plane[y : min(y + 10, height), :width] for y in range(0, height, 10)]
            for differences in (False, True):
                for blocks, tags in ((tiled, {322: (3, [tile]), 323: (3, [tile])}), (stripped, {278: (3, [10])})):
                    more: Tags = {**tags, 284: (3, [2 if planes > 1 else 1]), 317: (3, [2 if differences else 1])}
                    strips = []
                    for block in blocks:
                        if differences:
                            block = np.diff(block, axis=1, prepend=np.zeros((len(block), 1, block.shape[2]), dtype))
                        strips.append(block.astype(block.dtype.newbyteorder(order)).tobytes())
                    if differences:
                        strips, more[259] = [zlib.compress(strip) for strip in strips], (3, [32946])
                    for big in (False, True):
                        assert read_image(made(pixels, more, order, big=big, strips=strips)) == image


FAX = ("tiff_ccitt", "group3", "group4")


def test_compressions_are_those_of_pillow() -> None:
    """What others undo: fax, LZW, PackBits, JPEG, LZMA, zstd; by strips, with differences where they have them."""
    ramp = np.add.outer(np.arange(300), np.arange(50)) // 7 % 256
    wide = np.stack([ramp, 255 - ramp, ramp // 2, ramp], axis=-1).astype(np.uint8)
    pictures = {
        "1": Image.fromarray(wide[..., 0] > 20),
        "L": Image.fromarray(wide[..., 0]),
        "LA": Image.fromarray(np.ascontiguousarray(wide[..., :2])),
        "RGB": Image.fromarray(np.ascontiguousarray(wide[..., :3])),
        "RGBA": Image.fromarray(wide),
        "CMYK": Image.frombytes("CMYK", (50, 300), wide.tobytes()),
        "I;16": Image.fromarray(ramp.astype(np.uint16) * 200),
    }
    done = set()
    for mode, picture in pictures.items():
        for compression in (*FAX, "tiff_lzw", "packbits", "tiff_deflate", "jpeg", "lzma", "zstd"):
            if compression in FAX and mode != "1":
                continue
            if compression == "jpeg" and mode in ("1", "I;16"):
                continue
            for differences in (1, 2) if mode != "1" and compression in ("tiff_lzw", "lzma", "zstd") else (1,):
                out = io.BytesIO()
                try:
                    picture.save(out, "TIFF", compression=compression, strip_size=2000, tiffinfo={317: differences})
                except OSError:  # this Pillow's libtiff lacks it
                    continue
                image = read_image(out.getvalue())
                np.testing.assert_array_equal(image.pixels, np.asarray(Image.open(io.BytesIO(out.getvalue()))))
                assert image.mode == mode and image.lost == ()
                done.add(compression)
    assert done >= {"tiff_ccitt", "group3", "group4", "tiff_lzw", "packbits", "tiff_deflate", "jpeg"}


def strip_of(picture: Image.Image, compression: str) -> bytes | None:
    """The one strip of a picture; None where this Pillow's libtiff lacks the compression."""
    out = io.BytesIO()
    try:
        picture.save(out, "TIFF", compression=compression, strip_size=1 << 20)
    except OSError:
        return None
    tags = all_tags(out.getvalue())
    ((start,), (length,)) = cast(Any, tags[273]), cast(Any, tags[279])
    return out.getvalue()[start : start + length]


NUMBERS = {"tiff_lzw": 5, "packbits": 32773, "tiff_deflate": 8, "lzma": 34925, "zstd": 50000, "raw": 1}
BEHIND = ("data behind the pixels",)


def test_old_lzw_may_hold_more_behind_its_pixels() -> None:
    """Its codes have the last bit of a byte first, and only libtiff follows them: so it is named that there may be."""
    pixels = np.arange(60, dtype=np.uint8).reshape(6, 10, 1)
    codes = [256, *range(60), 7, 8, 257]
    strip = sum(code << 9 * number for number, code in enumerate(codes)).to_bytes(9 * len(codes) // 8 + 1, "little")
    image = read_image(made(pixels, {259: (3, [5])}, strips=[strip]))
    assert image == from_array(pixels)
    assert image.lost == ("data that strips may hold behind the pixels",)


@pytest.mark.parametrize("size", [(20, 30), (300, 200)])
def test_strips_that_are_cut_are_refused_and_what_is_behind_them_is_named(size: tuple[int, int]) -> None:
    """Small ones are followed by the interpreter, large ones by compiled loops."""
    height, width = size
    pixels = (np.add.outer(np.arange(height), np.arange(width)) // 7 % 256).astype(np.uint8)
    pixels[::3] = np.random.default_rng(0).integers(0, 256, pixels[::3].shape)
    done = set()
    for name, number in NUMBERS.items():
        strip = strip_of(Image.fromarray(pixels), name)
        if strip is None:
            continue
        done.add(name)
        for fill in "12" if name != "raw" else "1":

            def file(content: bytes, rows: int = height, number: int = number, fill: str = fill) -> bytes:
                tags: Tags = {259: (3, [number]), 266: (3, [int(fill)])}
                return made(pixels[:rows, :, None], tags, strips=[in_order(content, fill)])

            image = read_image(file(strip))
            assert image == from_array(pixels) and image.lost == ()
            assert read_image(file(strip + bytes(9))).lost == ()
            longer = read_image(file(strip + b"hidden"))
            assert longer == image and longer.lost == BEHIND
            lower = read_image(file(strip, height - 1))
            assert lower == from_array(pixels[:-1]) and lower.lost == BEHIND
            for end in (len(strip) - 4, len(strip) // 2, 7):
                with pytest.raises(ImageError, match="damaged"):
                    read_image(file(strip[:end]))
    assert done >= {"tiff_lzw", "packbits", "tiff_deflate"}


def test_many_frames_of_zstd_are_not_all_asked_for_their_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that libtiff writes do not say how many bytes they hold."""
    row = np.arange(30, dtype=np.uint8)[None]
    strip = strip_of(Image.fromarray(row), "zstd")
    if strip is None:
        pytest.skip("this Pillow has no zstd")
    data = made(np.repeat(row, 3, axis=0)[:, :, None], {259: (3, [50000]), 278: (3, [1])}, strips=3 * [strip])
    assert read_image(data).lost == ()
    monkeypatch.setattr("bbcompress.images.formats.tiff.codes._MOST_ASKED", 2)
    assert read_image(data).lost == ("data that strips may hold behind the pixels",)


def test_fax_that_lacks_rows_is_refused_and_what_is_behind_it_is_named() -> None:
    """libtiff makes the rows white that a strip lacks."""
    generator = np.random.default_rng(2)
    ramp = (np.add.outer(np.arange(30), np.arange(131)) // 9 % 2).astype(bool)
    wide = np.zeros((3, 9000), bool)
    wide[1] = True
    pictures = [ramp, wide, generator.random((20, 37)) < 0.5, np.zeros((5, 8), bool), generator.random((300, 90)) < 0.1]
    kinds: list[tuple[str, int, dict[int, int]]] = [
        ("tiff_ccitt", 2, {}), ("group3", 3, {}), ("group3", 3, {292: 1}), ("group4", 4, {}),
    ]  # fmt: skip
    for bits in pictures:
        for name, number, options in kinds:
            out = io.BytesIO()
            Image.fromarray(bits).save(out, "TIFF", compression=name, strip_size=1 << 20, tiffinfo=options)
            found = all_tags(out.getvalue())
            ((start,), (length,)) = cast(Any, found[273]), cast(Any, found[279])
            strip = out.getvalue()[start : start + length]
            for fill in "12":
                tags: Tags = {258: (3, [1]), 259: (3, [number]), 266: (3, [int(fill)])}
                tags |= {tag: (4, [value]) for tag, value in options.items()}

                def file(content: bytes, rows: int, tags: Tags = tags, fill: str = fill) -> bytes:
                    return made(np.zeros((rows, bits.shape[1], 1), np.uint8), tags, strips=[in_order(content, fill)])  # noqa: B023

                image = read_image(file(strip, len(bits)))
                assert image == from_array(bits) and image.lost == ()
                assert read_image(file(strip + bytes(5), len(bits))).lost == ()
                assert read_image(file(strip + b"hidden", len(bits))).lost == BEHIND
                if name != "group3" and len(bits) > 1:
                    assert read_image(file(strip, len(bits) - 1)).lost == BEHIND
                with pytest.raises(ImageError, match=r"lacks pixels|cannot be decoded"):
                    read_image(file(strip, len(bits) + 1))
                last = len(strip) - (0, 0, 0, 9, 4)[number]
                for end in range(1, last, max(11, last // 12)):
                    with pytest.raises(ImageError, match=r"lacks pixels|cannot be decoded"):
                        read_image(file(strip[:end], len(bits)))


def test_more_strips_than_needed_are_named() -> None:
    data = made(GREY, {273: (4, [8, 8]), 279: (4, [35, 35])})
    assert read_image(data) == from_array(GREY[..., 0]) and read_image(data).lost == BEHIND
    assert read_image(made(GREY, {273: (4, [8, 0]), 279: (4, [35, 0])})).lost == ()


BESIDE = ("data beside its JPEG tables",)


def test_jpegs_of_strips_are_followed() -> None:
    """A strip that lacks pixels is refused, as libtiff fills it up with grey; what it holds beside them is named."""
    pixels = np.resize(RGB, (40, 48, 3))
    jpeg = io.BytesIO()
    Image.fromarray(pixels).save(jpeg, "JPEG", quality=90, subsampling=0, comment=b"")
    strip = jpeg.getvalue()
    tags: Tags = {259: (3, [7]), 262: (3, [6]), 530: (3, [1, 1])}
    image = read_image(made(pixels, tags, strips=[strip]))
    assert image.lost == ()
    for cut in (strip[: len(strip) // 2], strip[: len(strip) // 2] + b"\xff\xd9", strip[:-3]):
        Image.open(io.BytesIO(made(pixels, tags, strips=[cut]))).load()
        with pytest.raises(ImageError, match="the codes of a scan do not give its pixels"):
            read_image(made(pixels, tags, strips=[cut]))
    comment = strip[:2] + b"\xff\xfe\0\5one" + strip[2:]
    for more, name in ((strip + b"more", "data behind the image"), (comment, "text")):
        named = read_image(made(pixels, tags, strips=[more]))
        assert named == image and named.lost == (name,)
    for segment in (b"\xff\xf0\0\5one", b"\xff\xfd\0\5one", b"\xff\xc8\0\5one"):  # which libjpeg refuses
        named = read_image(made(pixels, tags, strips=[strip[:20] + segment + strip[20:]]))
        assert named == image and named.lost == ("segments of unknown kinds",)
    named = read_image(made(pixels, tags, strips=[strip[:2] + strip]))
    assert named == image and named.lost == ("data between the segments",)
    tables = b"\xff\xd8\xff\xdb\0\x43\3" + bytes(range(1, 65)) + b"\xff\xd9"
    for content, lost in ((tables, ()), (comment[:9] + tables[2:], BESIDE), (tables + b"more", BESIDE)):
        named = read_image(made(pixels, {**tags, 347: (7, list(content))}, strips=[strip]))
        assert named == image and named.lost == lost
    assert read_image(made(pixels[:-3], tags, strips=[strip])).lost == BEHIND
    for other in (pixels[:, :-1], np.concatenate((pixels, pixels[:3]))):
        with pytest.raises(ImageError, match=r"another size than it should have|more pixels than"):
            read_image(made(other, tags, strips=[strip]))


def test_ycbcr_as_jpeg() -> None:
    """Its pixels are those of libtiff; what else is said of its colours is named, but for what is usual."""
    out = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(np.resize(RGB, (40, 50, 3))))
    picture.convert("YCbCr").save(out, "TIFF", compression="jpeg", strip_size=4000)
    image = read_image(out.getvalue())
    np.testing.assert_array_equal(image.pixels, np.asarray(Image.open(out)))
    assert image.mode == "RGB" and image.lost == () and image.metadata == ()
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=90, subsampling=0)
    seen = from_array(np.asarray(Image.open(jpeg)))
    usual: Tags = {
        529: (5, [299, 1000, 587, 1000, 114, 1000]),
        532: (5, [0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1]),
    }
    base: Tags = {259: (3, [7]), 262: (3, [6]), 530: (3, [1, 1])}
    pixels = np.zeros((40, 50, 3), np.uint8)
    assert read_image(made(pixels, base | usual, strips=[jpeg.getvalue()])) == seen
    other: Tags = {
        529: (5, [2125, 10000, 7154, 10000, 721, 10000]),
        532: (5, [16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1]),
    }
    for tag, value in other.items():
        image = read_image(made(pixels, {**base, tag: value}, strips=[jpeg.getvalue()]))
        assert image == seen and image.lost == ("colour space",)


def test_a_compression_that_pillow_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert libtiff.lacks(12345) and not libtiff.lacks(5)
    monkeypatch.setattr(libtiff, "lacks", lambda compression: compression == 50000)
    with pytest.raises(ImageError, match=r"compression 50000 \(zstd\), which this installation of Pillow lacks"):
        read_image(made(GREY, {259: (3, [50000])}))


def test_old_jpeg() -> None:
    picture = Image.fromarray(np.ascontiguousarray(np.resize(RGB, (40, 50, 3))))
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=90, subsampling=0)
    stream = jpeg.getvalue()
    more: Tags = {259: (3, [6]), 262: (3, [6]), 512: (3, [1]), 513: (4, [8]), 514: (4, [len(stream)]), 530: (3, [1, 1])}
    image = read_image(made(np.zeros((40, 50, 3), np.uint8), more, strips=[stream]))
    assert image == from_array(np.asarray(Image.open(jpeg))) and image.lost == ()
    cut = stream[: len(stream) // 2]
    with pytest.raises(ImageError, match="the codes of a scan do not give its pixels"):
        read_image(made(np.zeros((40, 50, 3), np.uint8), {**more, 514: (4, [len(cut)])}, strips=[cut]))
    parts = read_image(made(np.zeros((40, 50, 3), np.uint8), {**more, 514: (4, [])}, strips=[stream]))
    assert parts == image and parts.lost == ("what may be missing in its JPEG data",)
    with pytest.raises(ImageError, match="grey of 8 bits a sample and compression 6"):
        read_image(made(GREY, {259: (3, [6])}))
    with pytest.raises(ImageError, match="RGB of 8 bits a sample and compression 6"):
        read_image(made(RGB, {259: (3, [6])}))


def test_colour_maps_of_8_and_16_bits() -> None:
    colours = np.random.default_rng(0).integers(0, 256, 768)
    palette = colours.reshape(3, 256).T.astype(np.uint8).tobytes()
    low = np.random.default_rng(1).integers(0, 256, 768)
    for wide, name in ((colours, ()), (256 * colours, ()), (257 * colours, ()),
                       (256 * colours + low, ("16-bit colours of the palette (except in TIFF)",))):  # fmt: skip
        image = read_image(made(GREY, {262: (3, [3]), 320: (3, wide.tolist())}))
        assert (image.mode, image.palette, image.lost) == ("P", palette, name)
        back = write_image(image, "tiff")[0]
        assert list(cast(tuple[int, ...], all_tags(back)[320])) == wide.tolist()
        assert read_image(back) == read_image(write_image(image, "png")[0]) == image
    other = replace(image, palette=palette[::-1])  # what the metadata tell of the palette is not of this one
    back = write_image(other, "tiff")[0]
    assert read_image(back) == other
    assert read_image(write_image(replace(image, mode="L", palette=b""), "tiff")[0]).mode == "L"


def test_grey_with_alpha_of_16_bits() -> None:
    for order in ("<", ">"):
        image = read_image(made(noise(2), order=cast(Any, order)))
        assert image == from_array(noise(2)) and image.mode == "LA;16"
        assert read_image(write_image(image, "tiff")[0]) == image


@pytest.mark.skipif(libtiff._setter() is None, reason="libtiff is inside of Pillow's module, out of reach")
def test_errors_of_libtiff_are_not_written(capfd: pytest.CaptureFixture[str]) -> None:
    """In any thread; and its handler is as it was before."""
    out = io.BytesIO()
    Image.fromarray(noise(1, 64, 64, np.uint8)[..., 0]).save(out, "TIFF", compression="tiff_lzw")
    data = bytearray(out.getvalue())
    data[40:80] = b"\xff" * 40
    fax = made(GREY, {258: (3, [1]), 259: (3, [4])}, strips=[bytes(80)])
    refused: list[str] = []

    def read(file: bytes) -> None:
        for _ in range(5):
            try:
                read_image(file)
            except ImageError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=read, args=(file,)) for file in 3 * [bytes(data), fax]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == 30 * ["the image: is damaged: its pixels cannot be decoded"]
    assert capfd.readouterr().err == ""
    with pytest.raises(OSError), Image.open(io.BytesIO(bytes(data))) as file:
        file.load()
    assert "tempfile.tif" in capfd.readouterr().err  # what other users of Pillow see has not changed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_processes_read_at_once() -> None:
    """Also where another thread of their parent decodes, and holds the lock, at that moment."""
    out = io.BytesIO()
    pixels = noise(1, 64, 64, np.uint8)[..., 0]
    Image.fromarray(pixels).save(out, "TIFF", compression="tiff_lzw")
    damaged = bytearray(out.getvalue())
    damaged[40:80] = b"\xff" * 40
    read_image(out.getvalue())

    def child() -> int:
        for _ in range(20):
            if read_image(out.getvalue()) != from_array(pixels):
                return 1
            with pytest.raises(ImageError, match="damaged"):
                read_image(bytes(damaged))
        return 0

    children = []
    with libtiff._errors_of_libtiff(), libtiff._silence._lock:
        for _ in range(2):
            if (process := os.fork()) == 0:
                status = 2
                try:
                    status = child()
                finally:
                    os._exit(status)
            children.append(process)
    ended: dict[int, int] = {}
    deadline = time.monotonic() + 300
    while len(ended) < 2 and time.monotonic() < deadline:
        for process in set(children) - ended.keys():
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                ended[process] = status
        time.sleep(0.01)
    for process in set(children) - ended.keys():
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    assert list(ended.values()) == [0, 0]
    assert read_image(out.getvalue()) == from_array(pixels)


@pytest.mark.skipif(libtiff._setter() is None, reason="libtiff is inside of Pillow's module, out of reach")
def test_errors_that_libtiff_only_tells_of_are_errors() -> None:
    """It goes on behind a bad code word, and Pillow gives what comes of it."""
    strip = bytes.fromhex(
        "80b1a42bdd16215518ee166d43aedfd045d8eb0f0d6ac11963747ac8fabf77255f6cf6da068b9ab2478b0138b175940bc4cb2e"
    )
    data = made(np.zeros((7, 40, 1), np.uint8), {258: (3, [1]), 259: (3, [4])}, strips=[strip + b"\xd1\xe8\x92"])
    Image.open(io.BytesIO(data)).load()
    with pytest.raises(ImageError, match="its pixels cannot be decoded"):
        read_image(data)


def test_bytes_that_are_shared_too_often_are_refused() -> None:
    strip = zlib.compress(bytes(5), 0) + bytes(5000)
    data = made(noise(1, 2000, 5, np.uint8), {259: (3, [8]), 278: (3, [1])}, strips=[strip])
    assert data
    count = 2000
    tags: Tags = {259: (3, [8]), 278: (3, [1]), 273: (4, [8] * count), 279: (4, [len(strip)] * count)}
    with pytest.raises(ImageError, match="share the same bytes"):
        read_image(made(noise(1, count, 5, np.uint8), tags, strips=[strip]))


def test_large_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "_STRIP_BYTES", 20)
    for samples in (1, 3, 4):
        image = from_array(noise(samples).squeeze())
        assert read_image(write_image(image, "tiff")[0]) == image
