"""Every format that is written: the same image back, or one line that says what it would lose."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from cases_for_tests import one_test_of
from hypothesis import given, settings
from hypothesis import strategies as st
from image_strategies import MODES, SAMPLES, images
from PIL import Image

from bbcompress.errors import ImageError
from bbcompress.images.formats.registry import default_kind, kind_of, written_kinds
from bbcompress.images.image import PixelImage
from bbcompress.images.metadata import EXIF, ICC, PER_INCH, TEXT, XMP, Record, resolution
from bbcompress.images.read import read_image
from bbcompress.images.write import write_image

FORMATS = tuple(written_kinds())


@settings(max_examples=300)
@given(images(), st.sampled_from([None, *FORMATS]))
def test_the_same_image_or_a_reason(image: PixelImage, form: str | None) -> None:
    try:
        data, suffix = write_image(image, form)
    except ImageError as error:
        assert form != default_kind(image.mode)
        assert len(str(error).splitlines()) == 1
        return
    assert suffix == f".{form or default_kind(image.mode)}"
    assert read_image(data) == image
    assert write_image(image, form)[0] == data


HELD = {
    "png": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "LA;16", "RGB;16", "RGBA;16"],
    "tiff": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "LA;16", "RGB;16", "RGBA;16"],
    "webp": ["RGB", "RGBA"],
    "bmp": ["1", "L", "P", "RGB", "RGBA"],
    "gif": ["P", "L"],
    "ppm": ["RGB", "RGB;16"],
    "pgm": ["L", "I;16"],
    "pbm": ["1"],
}


def example(mode: str, height: int = 13, width: int = 9) -> PixelImage:
    """An image that uses all of its mode."""
    chance = np.random.default_rng(0)
    samples = SAMPLES.get(mode, 1)
    shape = (height, width, samples) if samples > 1 else (height, width)
    top = 2 if mode == "1" else 65536 if mode.endswith(";16") else 256
    dtype = np.bool_ if mode == "1" else np.uint16 if mode.endswith(";16") else np.uint8
    palette = chance.bytes(768) if mode == "P" else b""
    return PixelImage(mode, chance.integers(0, top, shape).astype(dtype), palette)


@one_test_of("form", FORMATS)
@one_test_of("mode", MODES)
def test_what_each_format_holds(mode: str, form: str) -> None:
    image = example(mode)
    if mode in HELD[form]:
        assert read_image(write_image(image, form)[0]) == image
        return
    with pytest.raises(ImageError, match=rf"{form.upper()}|WebP|mode {mode}") as caught:
        write_image(image, form)
    instead = "TIFF" if mode == "CMYK" else "PNG"
    assert f"; {instead} can hold it" in str(caught.value) or instead.lower() == form


def test_other_programs_see_the_same() -> None:
    """Pillow reads the pixels from what we write ourselves."""
    for mode in ("1", "L", "LA", "RGB", "RGBA", "CMYK", "I;16", "P"):
        image = example(mode)
        seen = Image.open(io.BytesIO(write_image(image, "tiff")[0]))
        assert seen.mode == mode
        np.testing.assert_array_equal(np.asarray(seen), image.pixels)
    for form, mode in (("ppm", "RGB"), ("pgm", "L"), ("pgm", "I;16"), ("pbm", "1")):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(write_image(example(mode), form)[0]))),
                                      example(mode).pixels)  # fmt: skip


DPI = resolution(PER_INCH, (300, 1), (300, 1))
ODD_DPI = resolution(PER_INCH, (72009, 1000), (72009, 1000))
assert DPI is not None and ODD_DPI is not None
PROFILE, NAMED_PROFILE = Record(ICC, b"\0profile"), Record(ICC, b"mine\0profile")
PACKET, BLOCK = Record(XMP, b"<x:xmpmeta/>"), Record(EXIF, b"II*\0\x08\0\0\0\0\0\0\0\0\0")
COMMENT, TITLE = Record(TEXT, b"Comment\0one\nof several"), Record(TEXT, b"Title\0it")
ALL = (PROFILE, BLOCK, PACKET, COMMENT, DPI)


@one_test_of(
    ("form", "metadata", "lost"),
    [
        ("png", ALL, ""),
        ("tiff", ALL, ""),
        ("tiff", (NAMED_PROFILE, ODD_DPI), ""),
        ("png", (NAMED_PROFILE,), ""),
        ("png", (ODD_DPI,), ""),
        ("webp", (PROFILE, BLOCK, PACKET), ""),
        ("webp", (NAMED_PROFILE,), "lose or change: ICC profile; PNG can hold it"),
        ("webp", ALL, "lose or change: resolution, text; PNG can hold it"),
        ("bmp", (DPI,), ""),
        ("bmp", (ODD_DPI,), "lose or change: resolution; PNG can hold it"),
        ("bmp", ALL, "lose or change: EXIF, XMP, text"),
        ("ppm", (DPI,), "PPM cannot hold resolution"),
    ],
)
def test_metadata(form: str, metadata: tuple[Record, ...], lost: str) -> None:
    image = replace(example("RGB"), metadata=metadata)
    if not lost:
        assert read_image(write_image(image, form)[0]) == image
        return
    with pytest.raises(ImageError) as caught:
        write_image(image, form)
    assert lost in str(caught.value)
    assert read_image(write_image(image.without_metadata(), form)[0]) == image.without_metadata()


def test_comments_of_gif() -> None:
    image = replace(example("P"), metadata=(PROFILE, PACKET, COMMENT))
    assert read_image(write_image(image, "gif")[0]) == image
    others: list[tuple[Record, ...]] = [(TITLE,), (COMMENT, TITLE), (BLOCK,), (NAMED_PROFILE,)]
    for metadata in others:
        with pytest.raises(ImageError, match="lose or change"):
            write_image(replace(image, metadata=metadata), "gif")


def test_details_that_a_format_loses() -> None:
    """What only reading it back shows."""
    opaque = replace(example("RGBA"), pixels=np.full((3, 3, 4), 255, np.uint8))
    short = PixelImage("P", np.zeros((3, 3), np.uint8), bytes(range(9)))
    for image, form, lost in (
        (opaque, "webp", "mode RGBA"),
        (PixelImage("P", short.pixels, bytes(768), b"\x80"), "gif", "transparency"),
    ):
        with pytest.raises(ImageError, match=f"lose or change: {lost}; PNG can hold it"):
            write_image(image, form)
    for form in ("TIFF", "GIF"):
        with pytest.raises(ImageError, match=f"{form} cannot hold a palette of 3 colours"):
            write_image(short, form.lower())


def test_colours_under_alpha_zero_stay() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., :3] = np.arange(64).reshape(8, 8, 1)
    image = PixelImage("RGBA", pixels)
    for form in ("png", "webp", "tiff"):
        assert read_image(write_image(image, form)[0]) == image


def test_sides_that_a_format_does_not_have() -> None:
    wide = example("RGB", 1, 16384)
    with pytest.raises(ImageError, match="WebP cannot hold an image of this size; PNG can hold it"):
        write_image(wide, "webp")
    with pytest.raises(ImageError, match="GIF cannot hold an image of this size"):
        write_image(example("L", 1, 65536), "gif")


def test_the_default_is_png_where_it_can() -> None:
    assert default_kind("RGB") == "png"
    assert default_kind("CMYK") == "tiff"
    image = replace(example("CMYK"), metadata=ALL)
    data, suffix = write_image(image)
    assert suffix == ".tiff" and read_image(data) == image


def test_suffixes() -> None:
    assert {kind_of(suffix) for suffix in (".tif", "TIFF", ".tiff")} == {"tiff"}
    assert kind_of(".pnm") == "ppm"
    assert [kind_of(f".{form}") for form in FORMATS] == list(FORMATS)
    assert kind_of(".jpg") is kind_of("") is None
