"""Reading and writing images exactly, and refusing what would not be exact."""

import io
import struct
import sys
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import workloads
from cases_for_tests import one_test_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, PngImagePlugin

from bbcompress.errors import ImageError
from bbcompress.images import image as images
from bbcompress.images.formats.png import file as png_module
from bbcompress.images.formats.png.convert import write_png
from bbcompress.images.formats.tiff.convert import write as write_tiff
from bbcompress.images.image import PixelImage, binary_view, from_array, two_levels
from bbcompress.images.metadata import Record, names_of
from bbcompress.images.read import read_frames, read_image
from bbcompress.images.write import write_image

SHAPES = {
    "1": (np.bool_, ()),
    "L": (np.uint8, ()),
    "LA": (np.uint8, (2,)),
    "RGB": (np.uint8, (3,)),
    "RGBA": (np.uint8, (4,)),
    "I;16": (np.uint16, ()),
    "LA;16": (np.uint16, (2,)),
    "RGB;16": (np.uint16, (3,)),
    "RGBA;16": (np.uint16, (4,)),
}
PILLOW_MODES = [mode for mode in SHAPES if mode == "I;16" or not mode.endswith(";16")]


@st.composite
def array_images(draw: st.DrawFn) -> tuple[str, npt.NDArray[Any]]:
    mode = draw(st.sampled_from(list(SHAPES)))
    dtype, samples = SHAPES[mode]
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 12))) + samples
    return mode, draw(arrays.arrays(dtype, shape))


def noise(mode: str, height: int = 7, width: int = 11) -> npt.NDArray[Any]:
    dtype, samples = SHAPES[mode]
    top = 2 if mode == "1" else 65536 if mode.endswith(";16") else 256
    return np.random.default_rng(0).integers(0, top, (height, width, *samples)).astype(dtype)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def png(
    width: int,
    height: int,
    depth: int,
    colour: int,
    rows: bytes,
    *more: tuple[bytes, bytes],
    interlace: int = 0,
) -> bytes:
    """A PNG made by hand, with chunks `more` before the data."""
    out = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    for kind, body in ((b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return out


@given(array_images())
def test_png_round_trip(case: tuple[str, npt.NDArray[Any]]) -> None:
    mode, array = case
    image = from_array(array)
    assert image.mode == mode
    data = write_png(image)
    back = read_image(data)
    assert back == image
    assert back.mode == mode and back.pixels.dtype == array.dtype
    np.testing.assert_array_equal(back.pixels, array)
    assert write_png(back) == data
    if mode in PILLOW_MODES:
        assert Image.open(io.BytesIO(data)).mode == mode
    assert write_image(image) == (data, ".png")


@one_test_of("colours", [1, 2, 3, 4, 5, 16, 17, 255, 256])
@one_test_of("transparency", [b"", b"\x00", b"\xff\x00", b"\x80", bytes(range(250))])
def test_palette_round_trip(colours: int, transparency: bytes) -> None:
    chance = np.random.default_rng(colours)
    pixels = chance.integers(0, colours, (9, 13)).astype(np.uint8)
    if colours == 255 or len(transparency) > colours:
        pixels[:] = 0  # the palette stays as it was, used or not
    image = PixelImage("P", pixels, chance.bytes(3 * colours), transparency[:colours].rstrip(b"\xff"))
    assert read_image(write_png(image)) == image


@one_test_of(
    ("mode", "key"),
    [("1", b"\0\0"), ("1", b"\0\1"), ("L", b"\0\7"), ("I;16", b"\1\7"), ("RGB", b"\0\1\0\2\0\3")],
)
def test_colour_key_round_trip(mode: str, key: bytes) -> None:
    image = PixelImage(mode, noise(mode), b"", key)
    assert not image.plain
    assert read_image(write_png(image)) == image
    assert image != from_array(noise(mode))


def test_low_bit_depths_of_grey() -> None:
    image = read_image(png(4, 1, 2, 0, b"\x00\x1b", (b"tRNS", b"\0\2")))
    assert image.pixels.tolist() == [[0, 85, 170, 255]]
    assert image.transparency == b"\0\xaa"
    assert read_image(png(2, 1, 4, 0, b"\x00\x5f")).pixels.tolist() == [[0x55, 0xFF]]
    assert read_image(png(8, 1, 1, 0, b"\x00\xa5", (b"tRNS", b"\0\1"))).transparency == b"\0\1"


FORMAT_MODES = {
    "PNG": PILLOW_MODES,
    "TIFF": PILLOW_MODES,
    "BMP": ["1", "L", "RGB"],
    "PPM": ["1", "L", "RGB", "I;16"],
    "WEBP": ["1", "L", "LA", "RGB", "RGBA"],
    "GIF": ["1", "L"],
}


@one_test_of(("form", "mode"), [(form, mode) for form, modes in FORMAT_MODES.items() for mode in modes])
def test_lossless_formats(form: str, mode: str) -> None:
    array = noise(mode)
    data = saved(Image.fromarray(array), form, **({"lossless": True, "exact": True} if form == "WEBP" else {}))
    image = read_image(data)
    if image.mode == mode:
        np.testing.assert_array_equal(image.pixels, array)
    else:  # WebP holds grey as colour, GIF one bit in a palette
        np.testing.assert_array_equal(
            np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")),
            np.asarray(Image.fromarray(array).convert("RGBA")),
        )
    assert read_image(write_png(image)) == image


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg(mode: str) -> None:
    array = np.tile(np.arange(48, dtype=np.uint8), (32, 1))
    if mode != "L":
        array = np.dstack([array] * (3 if mode == "RGB" else 4))
    data = saved(Image.frombytes(mode, (48, 32), array.tobytes()), "JPEG")
    image = read_image(data)
    assert image.mode == mode
    np.testing.assert_array_equal(image.pixels, np.asarray(Image.open(io.BytesIO(data))))
    written, suffix = write_image(image)
    assert suffix == (".tiff" if mode == "CMYK" else ".png")
    assert read_image(written) == image
    if mode == "CMYK":
        with pytest.raises(ImageError, match="CMYK"):
            write_png(image)


@one_test_of("mode", [mode for mode in SHAPES if mode != "LA;16"])
def test_tiff(mode: str) -> None:
    image = from_array(noise(mode))
    assert read_image(write_tiff(image, "tiff")) == image
    assert write_tiff(image, "tiff") == write_tiff(image, "tiff")


def test_tiff_refuses_palettes() -> None:
    with pytest.raises(ImageError, match="TIFF cannot hold a palette of 5 colours"):
        write_tiff(PixelImage("P", noise("L") % 4, bytes(15)), "tiff")


def test_gif_first_frame_keeps_palette_and_transparency() -> None:
    source = Image.frombytes("P", (4, 2), bytes([0, 1, 2, 3, 3, 2, 1, 0]))
    source.putpalette(bytes(range(50, 62)))
    image = read_image(saved(source, "GIF", transparency=2))
    assert (image.mode, image.transparency) == ("P", b"\xff\xff\x00")
    assert image.palette[:12] == bytes(range(50, 62))
    assert read_image(write_png(image)) == image


def test_big_endian_tiff() -> None:
    array = noise("I;16")
    entries = [(256, 11), (257, 7), (258, 16), (259, 1), (262, 1), (273, 122), (277, 1), (278, 7), (279, 154)]
    data = b"MM\0\x2a\0\0\0\x08" + struct.pack(">H", 9)
    data += b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in entries) + bytes(4)
    image = read_image(data + array.astype(">u2").tobytes())
    assert image == from_array(array)


def test_pgm_of_16_bits() -> None:
    array = noise("I;16")
    image = read_image(b"P5\n11 7\n65535\n" + array.astype(">u2").tobytes())
    assert image == from_array(array)
    assert read_image(b"P2\n2 1\n65535\n1 65535\n").pixels.tolist() == [[1, 65535]]
    assert read_image(b"P2\n2 1\n15\n1 15\n").pixels.tolist() == [[17, 255]]


def refused(data: bytes, match: str, **options: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=match) as caught:
            read_image(data, "x.png", **options)
    assert str(caught.value).startswith("x.png: ")
    assert len(str(caught.value).splitlines()) == 1


def test_samples_that_would_be_rounded_are_refused() -> None:
    refused(b"P6\n1 1\n1000\n" + bytes(6), "up to 1000")
    refused(b"P5\n1 1\n4095\n" + bytes(2), "up to 4095")
    refused(b"P5\n1 1\n100\n" + bytes(1), "up to 100")
    entries = [(256, 1), (257, 1), (258, 122), (259, 1), (262, 2), (273, 128), (277, 3), (278, 1), (279, 6)]
    tiff = b"II\x2a\0\x08\0\0\0" + struct.pack("<H", 9)
    tiff += b"".join(struct.pack("<HHII", tag, 3, 3 if tag == 258 else 1, value) for tag, value in entries)
    tiff += bytes(4) + struct.pack("<3H", 16, 16, 16) + bytes(6)
    Image.open(io.BytesIO(tiff)).load()
    assert read_image(tiff).mode == "RGB;16"


def test_samples_that_would_be_dropped_are_refused() -> None:
    entries = [
        (256, 1),
        (257, 1),
        (258, 134),
        (259, 1),
        (262, 2),
        (273, 142),
        (277, 4),
        (278, 1),
        (279, 4),
        (338, 0),
    ]
    tiff = b"II\x2a\0\x08\0\0\0" + struct.pack("<H", 10)
    tiff += b"".join(struct.pack("<HHII", tag, 3, 4 if tag == 258 else 1, value) for tag, value in entries)
    tiff += bytes(4) + struct.pack("<4H", 8, 8, 8, 8) + bytes(4)
    assert Image.open(io.BytesIO(tiff)).mode == "RGB"
    refused(tiff, "4 samples a pixel, more than its colours")


def test_modes_that_cannot_be_kept_are_named() -> None:
    refused(saved(Image.new("F", (3, 3)), "TIFF"), "a TIFF of 32-bit floats")
    refused(saved(Image.new("I", (3, 3)), "TIFF"), "a TIFF of 32-bit signed integers")
    refused(saved(Image.new("LAB", (3, 3)), "TIFF"), "a TIFF of CIELAB colours")
    refused(b"Pf\n1 1\n-1.0\n" + bytes(4), "a PFM, whose samples are floating-point")


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_frames_are_refused(form: str) -> None:
    frames = [Image.new("RGB", (9, 9), (40 * n, 0, 9)) for n in range(3)]
    refused(saved(frames[0], form, save_all=True, append_images=frames[1:]), "animated or has several pages")


def test_what_is_no_image_is_refused() -> None:
    refused(b"", "is empty")
    refused(b"hello", "not an image")
    refused(b"\x89PNG\r\n\x1a\n", "cut short")
    refused(saved(Image.new("L", (16, 16)), "ICO"), "an icon")  # smaller ones Pillow 11.0 leaves out of the file
    refused(png(0, 5, 8, 0, b""), ".")
    refused(png(2, 2, 8, 0, b"\0\0\0"), ".")
    refused(write_png(from_array(noise("L"))), "not an image", formats=("WEBP",))


def test_paths(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(write_png(from_array(noise("L"))))
    assert read_image(path) == read_image(str(path)) == from_array(noise("L"))
    for wrong in (tmp_path / "b.png", tmp_path, str(path) + "\0"):
        with pytest.raises(ImageError, match="cannot be read") as caught:
            read_image(wrong)
        assert len(str(caught.value).splitlines()) == 1


@one_test_of("form", ["PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP"])
def test_cut_short(form: str) -> None:
    """Every image cut short is refused, or is the same where only bytes behind the pixels are gone."""
    source = Image.fromarray(noise("RGB", 40, 40)) if form != "GIF" else Image.fromarray(noise("L", 40, 40))
    options = {"lossless": True} if form == "WEBP" else {}
    data = saved(source, form, **options)
    whole = read_image(data)
    refused_ends = []
    for end in range(0, len(data), 1 + len(data) // 150):
        try:
            image = read_image(data[:end], "x")
        except ImageError as fault:
            assert len(str(fault).splitlines()) == 1
            refused_ends.append(end)
        else:
            assert image == whole
    assert len(refused_ends) > 140 * len(data) // (150 * (1 + len(data) // 150)) * 0.9


@one_test_of("missing", [1, 8, 100])
@one_test_of("interlace", [0, 1])
@one_test_of("size", [(5, 3), (8, 8), (1, 1), (13, 30), (2, 1)])
def test_png_without_all_of_its_pixels(size: tuple[int, int], interlace: int, missing: int) -> None:
    """Pillow itself makes the missing pixels black."""
    width, height = size
    passes = [
        (8, 8, 0, 0),
        (8, 8, 4, 0),
        (4, 8, 0, 4),
        (4, 4, 2, 0),
        (2, 4, 0, 2),
        (2, 2, 1, 0),
        (1, 2, 0, 1),
    ]
    if not interlace:
        passes = [(1, 1, 0, 0)]
    rows = b""
    for across, down, left, top in passes:
        columns = len(range(left, width, across))
        rows += (b"\0" + b"\x07" * (3 * columns)) * (len(range(top, height, down)) if columns else 0)
    assert (
        read_image(png(width, height, 8, 2, rows, interlace=interlace)).pixels.tolist() == [[[7] * 3] * width] * height
    )
    refused(png(width, height, 8, 2, rows[:-missing], interlace=interlace), "cut short")


def test_damaged_png_is_refused_wherever() -> None:
    """Pillow itself does not look at the checksum of the pixels."""
    data = write_png(from_array(noise("L", 40, 40)))
    for place in range(8, len(data), 7):
        refused(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :], ".")


def test_max_pixels_and_pillows_own_limit() -> None:
    before = Image.MAX_IMAGE_PIXELS
    for form in ("PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG"):
        data = saved(Image.new("L", (100, 100)), form)
        assert read_image(data, max_pixels=10_000).size == (100, 100)
        for limit in (9_999, 100):
            refused(data, f"more pixels than the limit of {limit}", max_pixels=limit)
    for side in (10_000, 16_000):  # Pillow alone would warn of the first and refuse the second
        refused(png(side, side, 1, 0, b""), "before its last pixel")
    refused(png(1 << 20, 1 << 20, 8, 0, b""), "more pixels than the limit of 268435456")
    assert before == Image.MAX_IMAGE_PIXELS


def test_read_is_silent_above_pillows_limit() -> None:
    data = png(10_000, 9_500, 1, 0, bytes(1251 * 9_500))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(data).size == (10_000, 9_500)


def test_pillows_warnings_are_not_shown() -> None:
    data = png(1, 1, 8, 0, b"\x00\x05", (b"acTL", bytes(8)))
    with pytest.warns(UserWarning, match="Invalid APNG"):
        Image.open(io.BytesIO(data))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(data).pixels.tolist() == [[5]]


def test_metadata_is_named() -> None:
    picture = Image.fromarray(noise("RGB"))
    assert read_image(saved(picture, "PNG")).metadata == ()
    assert read_image(saved(picture, "JPEG")).metadata == ()
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "me")
    exif = Image.Exif()
    exif[271] = "maker"
    data = saved(picture, "PNG", pnginfo=text, exif=exif, icc_profile=b"profile" * 30, dpi=(300, 300))
    image = read_image(data)
    assert names_of(image.metadata) == ("EXIF", "ICC profile", "resolution", "text")
    assert image.without_metadata() == from_array(noise("RGB")) != image
    for form in ("JPEG", "WEBP"):
        assert names_of(read_image(saved(picture, form, exif=exif)).metadata) == ("EXIF",)


@one_test_of(
    "array",
    [
        np.zeros((3, 3), np.float32),
        np.zeros((3, 3), np.int64),
        np.zeros((3, 3, 5), np.uint8),
        np.zeros((3, 3, 5), np.uint16),
        np.zeros((2, 3, 3, 3), np.uint8),
        np.zeros(3, np.uint8),
        np.zeros((0, 3), np.uint8),
        np.zeros((3, 0, 3), np.uint8),
    ],
)
def test_arrays_that_are_no_image(array: npt.NDArray[Any]) -> None:
    with pytest.raises(ImageError):
        from_array(array)


def test_images_keep_their_pixels() -> None:
    array = noise("L")
    image = from_array(array)
    array[0, 0] ^= 1
    assert image.pixels[0, 0] != array[0, 0]
    with pytest.raises(ValueError):
        image.pixels[0, 0] = 1
    assert (image.width, image.height, image.size, image.samples) == (11, 7, (11, 7), 77)
    assert from_array(noise("RGB")).samples == 231


@one_test_of(
    ("mode", "palette", "transparency"),
    [
        ("L", b"abc", b""),
        ("L", b"", b"a"),
        ("LA", b"", b"ab"),
        ("P", b"", b""),
        ("P", b"abcd", b""),
        ("P", bytes(6), b"abc"),
    ],
)
def test_palettes_that_do_not_fit(mode: str, palette: bytes, transparency: bytes) -> None:
    pixels = noise("LA") if mode == "LA" else np.zeros((2, 2), np.uint8)
    with pytest.raises(ImageError):
        PixelImage(mode, pixels, palette, transparency)


@one_test_of(
    ("values", "levels"),
    [
        ([0, 255], (0, 255)),
        ([0], (0, 255)),
        ([255], (0, 255)),
        ([7], (7, 7)),
        ([7, 200], (7, 200)),
        ([0, 1], (0, 1)),
        ([254, 255], (254, 255)),
        ([0, 1, 2], None),
        ([0, 254, 255], None),
    ],
)
def test_two_levels(values: list[int], levels: tuple[int, int] | None) -> None:
    pixels = np.resize(np.array(values, np.uint8), (3, 5))
    assert two_levels(pixels) == levels
    image = from_array(pixels)
    view = binary_view(image)
    if view is None:
        assert levels is None
        return
    assert view.levels == levels and view.bits.dtype == np.uint8 and view.bits.max() <= 1
    assert view.image() == image
    if values == [255]:
        assert view.bits.all()


def test_binary_view_of_other_modes() -> None:
    image = from_array(noise("1"))
    view = binary_view(image)
    assert view is not None and view.levels == (0, 1) and view.mode == "1"
    assert view.image() == image
    read = binary_view(read_image(write_png(image)))
    assert read is not None
    np.testing.assert_array_equal(read.bits, view.bits)
    assert binary_view(from_array(np.zeros((3, 3, 3), np.uint8))) is None
    assert binary_view(PixelImage("L", np.zeros((3, 3), np.uint8), b"", b"\0\0")) is None
    assert binary_view(PixelImage("P", np.zeros((3, 3), np.uint8), b"abc")) is None


# Large images


def small_bands(monkeypatch: pytest.MonkeyPatch, pixels: int, size: int) -> None:
    monkeypatch.setattr(images, "BAND_PIXELS", pixels)
    monkeypatch.setattr(png_module, "BAND_BYTES", size)


@pytest.mark.parametrize(("pixels", "size"), [(1, 1), (20, 70), (76, 1000)])
@pytest.mark.parametrize(("form", "mode"), [(form, mode) for form, modes in FORMAT_MODES.items() for mode in modes])
def test_reading_in_bands(form: str, mode: str, pixels: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.fromarray(noise(mode)), form, **({"lossless": True} if form == "WEBP" else {}))
    whole = read_image(data)
    small_bands(monkeypatch, pixels, size)
    image = read_image(data)
    assert image == whole
    np.testing.assert_array_equal(image.pixels, whole.pixels)
    assert image.pixels.dtype == whole.pixels.dtype and not image.pixels.flags.writeable


@pytest.mark.parametrize("mode", SHAPES)
def test_writing_in_bands(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    array = noise(mode, 50, 40) if mode == "1" else noise(mode, 50, 40) // 16
    key = {"1": b"\0\1", "L": b"\0\7", "I;16": b"\1\7", "RGB": b"\0\1\0\2\0\3"}.get(mode, b"")
    for image in (from_array(array), PixelImage(mode, array, b"", key)):
        whole = write_png(image)
        with monkeypatch.context() as patch:
            small_bands(patch, 1, 500)
            written = write_png(image)
            assert read_image(written) == read_image(whole) == image
        assert read_image(written) == image
        if mode in PILLOW_MODES:
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(written))), array)
        assert len(written) <= 1.02 * len(whole)


def test_metadata_and_palettes_of_large_images(monkeypatch: pytest.MonkeyPatch) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "me")
    small_bands(monkeypatch, 1, 1)
    image = read_image(saved(Image.fromarray(noise("RGB")), "PNG", pnginfo=text))
    assert names_of(image.metadata) == ("text",)
    palette = PixelImage("P", noise("L") % 64, bytes(range(192)), b"\x05")
    assert read_image(write_png(palette)) == palette
    grey = png(8, 1, 1, 0, b"\x00\xa5", (b"tRNS", b"\0\1"))
    assert read_image(grey).transparency == b"\0\1"
    refused(
        saved(Image.new("RGB", (9, 9)), "PNG", save_all=True, append_images=[Image.new("RGB", (9, 9), 1)]), "animated"
    )


def test_a_large_png_without_all_of_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    small_bands(monkeypatch, 1, 30)
    test_png_without_all_of_its_pixels()
    rows = (b"\0" + b"\x07" * 15) * 3 + (b"\0" + b"\x07" * 15) * 6
    assert read_image(png(5, 9, 8, 2, rows)).pixels.tolist() == [[[7] * 3] * 5] * 9
    for end in range(len(rows)):
        refused(png(5, 9, 8, 2, rows[:end]), "cut short")


def test_damaged_large_png_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_png(from_array(noise("RGB", 40, 40)))
    small_bands(monkeypatch, 1, 300)
    for place in range(8, len(data), 37):
        refused(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :], ".")
    refused(png(2, 2, 8, 0, b"\x05\1\2\0\1\2"), ".")  # there is no filter 5
    refused(data, "more pixels than the limit of 1599", max_pixels=1599)


def traced_peak(action: Callable[[], object]) -> int:
    tracemalloc.start()
    action()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_for_large_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is allocated beside a compressed file and the pixels stays below a tenth of the pixels."""
    array = np.zeros((1000, 1500, 3), np.uint8)
    array[::7, ::5] = noise("RGB", 143, 300)
    image, same = from_array(array), from_array(array)
    small_bands(monkeypatch, 1 << 14, 1 << 15)
    slack = array.nbytes // 10
    data = write_png(image)
    assert traced_peak(lambda: read_image(data)) < array.nbytes + len(data) + slack
    assert traced_peak(lambda: write_png(image)) < 2.5 * len(data) + slack
    assert traced_peak(lambda: image == same) < slack
    grey = from_array(np.where(array[:, :, 0] > 9, 200, 7).astype(np.uint8))
    assert traced_peak(lambda: two_levels(grey.pixels)) < slack
    for form in ("BMP", "PPM", "TIFF"):
        file = saved(Image.fromarray(array), form)
        assert traced_peak(lambda data=file: read_image(data)) < array.nbytes + len(file) + slack, form  # type: ignore[misc]


def test_memory_for_many_small_parts() -> None:
    """What a file says in a few bytes each, millions of times, takes no more than some times the file."""
    files: dict[str, Callable[[int], bytes]] = {
        "PNG, parts of the pixels": lambda n: workloads.png_of(n, b"IDAT"),
        "PNG, chunks": lambda n: workloads.png_of(n, b"unKn"),
        "JPEG, comments": lambda n: workloads.jpeg_of(n, b"\xff\xfe\0\2"),
        "JPEG, segments between others": lambda n: workloads.jpeg_of(n, b"\xff\xec\0\2\xff\xdd\0\4\0\0"),
        "GIF, comments": lambda n: workloads.gif_of(n, b"!\xfe\1a\0"),
        "WebP, chunks": lambda n: workloads.webp_of(n, b"ABCD\0\0\0\0"),
    }
    fixed = 2 << 20  # the most records that an image can have, reached below the first number of parts
    for name, make in files.items():
        few, many = make(5_000), make(10_000)
        first, second = (traced_peak(workloads.reading(data)) for data in (few, many))
        assert first < 5 * len(few) + fixed, name
        assert second - first < 5 * (len(many) - len(few)), name


def test_differences_are_found_in_every_band(monkeypatch: pytest.MonkeyPatch) -> None:
    small_bands(monkeypatch, 20, 1)
    array = noise("RGB")
    for place in range(array.size):
        other = array.copy()
        other.flat[place] ^= 1
        assert from_array(other) != from_array(array)
    grey = np.zeros((7, 11), np.uint8)
    grey[0, 0] = 9
    for place in range(1, grey.size):
        other = grey.copy()
        other.flat[place] = 5
        assert two_levels(other) is None


@pytest.mark.parametrize(
    ("mode", "records", "reason"),
    [
        ("L", ((8, b"hIST"),), "behind a palette"),
        ("P", ((7, b"PLTEabc"),), "suggested palette"),
        ("L", ((7, b"gAM"),), "none of metadata"),
        ("L", ((7, b"gAMA"), (2, b"")), "not in order"),
    ],
)
def test_metadata_that_is_not_of_the_image(mode: str, records: tuple[tuple[int, bytes], ...], reason: str) -> None:
    palette = bytes(3) if mode == "P" else b""
    with pytest.raises(ImageError, match=reason):
        PixelImage(mode, np.zeros((1, 1), np.uint8), palette, metadata=tuple(Record(*record) for record in records))


# Animations and pages


def animation(form: str, **options: Any) -> bytes:
    """Twenty frames, of which each changes a part."""
    frames = [Image.new("RGB", (30, 20), (9, 9, 99))]
    for number in range(1, 20):
        frames.append(frames[-1].copy())
        frames[-1].paste((12 * number, 255 - number, 7), (number, number // 2, number + 5, number // 2 + 4))
    return saved(frames[0], form, save_all=True, append_images=frames[1:], lossless=True, **options)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_frames_as_they_are_seen(form: str) -> None:
    data = animation(form)
    found = list(read_frames(data))
    with Image.open(io.BytesIO(data)) as file:
        assert len(found) == 20
        for number, image in enumerate(found):
            file.seek(number)
            seen = Image.open(io.BytesIO(write_png(image)))
            assert seen.convert("RGBA").tobytes() == file.convert("RGBA").tobytes()
            assert image.lost == (() if form == "TIFF" else ("times of the frames",))
    assert list(read_frames(write_png(found[3]))) == [found[3]]


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_frames_cost_no_more_than_themselves(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is decoded once: later ones do not begin at the first again."""
    seeks: list[int] = []
    data = animation(form)
    opened = Image.open

    def watched(*args: Any, **options: Any) -> Image.Image:
        seeks.append(1)
        return opened(*args, **options)

    monkeypatch.setattr(Image, "open", watched)
    assert len(list(read_frames(data))) == 20
    assert len(seeks) <= 2


def test_metadata_of_animations() -> None:
    exif = Image.Exif()
    exif[271] = "maker"
    for form in ("PNG", "WEBP"):
        found = list(read_frames(animation(form, exif=exif)))
        assert {names_of(image.metadata) for image in found} == {("EXIF",)}
    text = PngImagePlugin.PngInfo()
    text.add(b"gAMA", bytes(4))
    (first, *_) = read_frames(animation("PNG", pnginfo=text))
    assert (first.metadata, first.lost) == ((Record(7, b"gAMA" + bytes(4)),), ("times of the frames",))


def test_limits_and_damage_of_animations() -> None:
    for form in ("GIF", "PNG", "WEBP", "TIFF"):
        data = animation(form)
        with pytest.raises(ImageError, match="limit of 599"):
            next(read_frames(data, "x", 599))
        with pytest.raises(ImageError) as caught:
            list(read_frames(data[: len(data) // 2], "x"))
        assert str(caught.value).startswith("x: ") and len(str(caught.value).splitlines()) == 1
    with pytest.raises(ImageError, match="2 pictures there are 0"):
        next(read_frames(png(1, 1, 16, 2, bytes(7), (b"acTL", struct.pack(">II", 2, 0)))))


@pytest.mark.skipif(sys.platform == "win32", reason="files are not sparse by themselves there")
def test_files_larger_than_any_image_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + bytes(20))
        file.truncate(50 << 30)
    with pytest.raises(ImageError, match="has more than 4294967296 bytes"):
        read_image(path)
