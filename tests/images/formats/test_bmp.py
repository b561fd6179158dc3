"""BMP: every version of its headers, its depths, masks, runs, palettes and metadata; what is not kept is named."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from bbcompress.errors import ImageError
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.metadata import ICC, PER_INCH, PER_METRE, Record, resolution
from bbcompress.images.read import read_frames, read_image
from bbcompress.images.write import write_image

WIDTH, HEIGHT = 5, 3
COLOURS = [(10 * n, 255 - n, 7 * n) for n in range(16)]


def made(
    body: bytes,
    bits: int = 24,
    *,
    header: int = 40,
    compression: int = 0,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    colours: Sequence[tuple[int, ...]] = (),
    used: int | None = None,
    important: int = 0,
    per_metre: tuple[int, int] = (0, 0),
    masks: Sequence[int] = (),
    more: bytes = b"",
    gap: bytes = b"",
    offset: int | None = None,
    planes: int = 1,
    reserved: int = 0,
) -> bytes:
    """A BMP by hand. body: its rows, bottom up. masks: behind the first 40 bytes. more: behind these, in the header."""
    if header == 12:
        start = struct.pack("<IHHHH", 12, *size, planes, bits)
    else:
        number = len(colours) if used is None else used
        fields = (header, *size, planes, bits, compression, 0, *per_metre, number, important)
        start = struct.pack("<IiiHHIIIIII", *fields)[:header] + struct.pack(f"<{len(masks)}I", *masks)
        start += (more + bytes(max(0, header - len(start) - len(more)))) if header > 40 else b""
    table = b"".join(bytes(colour[2::-1]) + bytes(colour[3:] or ([0] if header > 12 else [])) for colour in colours)
    place = 14 + len(start) + len(table) + len(gap) if offset is None else offset
    file = struct.pack("<2sIII", b"BM", 14 + len(start) + len(table) + len(gap) + len(body), reserved, place)
    return file + start + table + gap + body


def rows_of(values: npt.NDArray[Any], bits: int) -> bytes:
    """Numbers of so many bits as rows, padded to four bytes, bottom up."""
    out = b""
    for row in values[::-1].tolist():
        if bits < 8:
            text = "".join(f"{value:0{bits}b}" for value in row)
            packed = int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")
        else:
            packed = b"".join(value.to_bytes(bits // 8, "little") for value in row)
        out += packed + bytes(-len(packed) % 4)
    return out


def numbers(top: int, height: int = HEIGHT, width: int = WIDTH) -> npt.NDArray[Any]:
    return np.random.default_rng(top).integers(0, top, (height, width))


PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
BODY = rows_of(PIXELS[..., 0].astype(int) << 16 | PIXELS[..., 1].astype(int) << 8 | PIXELS[..., 2], 24)


def test_all_headers() -> None:
    """Core, OS/2 2 short and long, info, V2, V3, V4 and V5; rows from the bottom or the top."""
    for header in (12, 16, 40, 52, 56, 64, 108, 124):
        assert read_image(made(BODY, header=header)) == from_array(PIXELS)
        if header > 12:
            assert read_image(made(BODY, header=header, size=(WIDTH, -HEIGHT))) == from_array(PIXELS[::-1])
        assert list(read_frames(made(BODY, header=header))) == [from_array(PIXELS)]


def test_palettes() -> None:
    for bits in (1, 2, 4, 8):
        top = min(16, 1 << bits)
        values = numbers(top)
        values[0, 0] = top - 1
        for header in (12, 40, 124):
            for count in {top, 1 << bits} if header > 12 else {1 << bits}:
                colours = [(*COLOURS[n % 16][:2], n) for n in range(count)]
                image = read_image(made(rows_of(values, bits), bits, header=header, colours=colours))
                palette = b"".join(map(bytes, colours))
                assert image == PixelImage("P", values.astype(np.uint8), palette) and not image.lost
                assert read_image(made(rows_of(values, bits), bits, header=header, colours=colours, used=0)) == image
                assert read_image(write_image(image, "bmp")[0]) == image


def test_greys_and_bilevel() -> None:
    """Only whole palettes of greys are samples; Pillow takes some small ones so, too, and reads other pixels."""
    greys = [(n, n, n) for n in range(256)]
    values = numbers(256)
    assert read_image(made(rows_of(values, 8), 8, colours=greys)) == from_array(values.astype(np.uint8))
    bits = numbers(2)
    black_white = [(0, 0, 0), (255, 255, 255)]
    assert read_image(made(rows_of(bits, 1), 1, colours=black_white)) == from_array(bits > 0)
    white_black = read_image(made(rows_of(bits, 1), 1, colours=black_white[::-1]))
    assert white_black == PixelImage("P", bits.astype(np.uint8), b"\xff\xff\xff\0\0\0")
    small = numbers(16)
    for depth in (4, 8):
        image = read_image(made(rows_of(small, depth), depth, colours=greys[:16]))
        assert image == PixelImage("P", small.astype(np.uint8), bytes(n for n in range(16) for _ in range(3)))
    assert read_image(made(rows_of(bits, 8), 8, colours=black_white)).mode == "P"


def test_palettes_that_are_odd_are_named() -> None:
    values = numbers(16)
    values[0, 0] = 15
    short = read_image(made(rows_of(values, 4), 4, colours=COLOURS[:9]))
    assert short.lost == ("colours that the palette lacks (black now)",)
    assert short.palette == b"".join(map(bytes, COLOURS[:9])) + bytes(3 * 7)
    long = read_image(made(rows_of(values, 4), 4, colours=[*COLOURS, (1, 2, 3)]))
    assert long.lost == ("data before the pixels",) and len(long.palette) == 48
    fourth = read_image(made(rows_of(values, 4), 4, colours=[(*colour, 9) for colour in COLOURS]))
    assert fourth.lost == ("fourth bytes of the palette",)
    full = made(rows_of(values, 4), 4, colours=[(*colour, 255) for colour in COLOURS])
    assert read_image(full) == read_image(made(rows_of(values, 4), 4, colours=COLOURS)) and not read_image(full).lost
    greys = read_image(
        made(rows_of(values, 8), 8, colours=[(n, n, n, n) for n in range(256)])
    )  # as Pillow 11 writes it
    assert greys.mode == "L" and not greys.lost
    assert read_image(made(rows_of(values, 4), 4, colours=COLOURS, important=3)).lost == (
        "number of important colours",
    )
    assert read_image(made(rows_of(values, 4), 4, colours=COLOURS, important=16)).lost == ()
    assert read_image(made(BODY, colours=COLOURS)).lost == ("suggested palette",)
    unsaid = made(rows_of(values, 4), 4, colours=COLOURS, offset=54)
    assert read_image(unsaid) == read_image(made(rows_of(values, 4), 4, colours=COLOURS))


def test_the_fourth_byte() -> None:
    """Where any is not 0 they are alpha, as other programs take them."""
    values = numbers(1 << 32).astype(np.uint32)
    alpha = np.stack([(values >> shift & 255).astype(np.uint8) for shift in (16, 8, 0, 24)], axis=-1)
    plain = (0xFF0000, 0xFF00, 0xFF)
    forms: list[dict[str, Any]] = [{}, {"header": 108}, {"header": 124}, {"compression": 3, "masks": plain}]
    for form in forms:
        image = read_image(made(rows_of(values, 32), 32, **form))
        assert image == from_array(alpha) and not image.lost
        assert read_image(write_image(image, "bmp")[0]) == read_image(write_image(image, "png")[0]) == image
        opaque = read_image(made(rows_of(values & 0xFFFFFF, 32), 32, **form))
        assert opaque == from_array(alpha[..., :3]) and not opaque.lost
    said = read_image(made(rows_of(values, 32), 32, header=56, compression=3, masks=(*plain, 0)))
    assert said == from_array(alpha[..., :3]) and said.lost == ("unused bits of the pixels",)
    for pixels in (np.zeros_like(alpha), np.full_like(alpha, 255)):
        image = from_array(pixels)
        assert read_image(write_image(image, "bmp")[0]) == image


MASKS: list[tuple[int, tuple[int, ...]]] = [
    (16, (0x7C00, 0x3E0, 0x1F)),
    (16, (0xF800, 0x7E0, 0x1F)),
    (16, (0x7C00, 0x3E0, 0x1F, 0x8000)),
    (16, (0xF00, 0xF0, 0xF, 0xF000)),
    (16, (0xF0, 0xF000, 0xF00)),
    (16, (0xE0, 0x1C, 0x3)),
    (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
    (32, (0xFF000000, 0xFF0000, 0xFF00)),
    (32, (0xFF000000, 0xFF00, 0xFF, 0xFF0000)),
    (32, (0x1F0000, 0xFC00, 0x3F)),
]


def test_masks() -> None:
    for bits, masks in MASKS:
        whole = 0
        for mask in masks:
            whole |= mask
        values = numbers(1 << bits) & whole
        values[0, 0] = whole
        depths = [mask.bit_count() for mask in masks]
        parts = [(values & mask) // (mask & -mask) for mask in masks]
        expected = np.stack(
            [np.floor(part * 255 / ((1 << depth) - 1) + 0.5) for part, depth in zip(parts, depths, strict=True)],
            axis=-1,
        ).astype(np.uint8)
        name = () if set(depths) <= {2, 4, 8} else (f"depth of the samples ({', '.join(map(str, depths))} bits)",)
        headers = [(56, 3, (*masks, 0)[:4]), (124, 3, (*masks, 0)[:4])]
        headers += [(40, 6, masks)] if len(masks) == 4 else [(40, 3, masks), (52, 3, masks)]
        for header, compression, stored in headers:
            image = read_image(made(rows_of(values, bits), bits, header=header, compression=compression, masks=stored))
            assert image == from_array(expected) and image.lost == name
    values = numbers(1 << 16)
    values[0, 0] = 0x8000
    five = read_image(made(rows_of(values, 16), 16))
    assert five.lost == ("depth of the samples (5, 5, 5 bits)", "unused bits of the pixels")
    usual = made(BODY, 24, compression=3, masks=(0xFF0000, 0xFF00, 0xFF))
    assert read_image(usual) == from_array(PIXELS)
    zeros = made(rows_of(numbers(1 << 24), 32), 32, header=56, compression=3, masks=(0, 0, 0, 0))
    assert read_image(zeros).mode == "RGB"


RUNS_8 = b"\3\1\2\2\0\0" + b"\0\5\1\2\3\4\5\0\0\0" + b"\5\7\0\1"
RUNS_4 = b"\3\x12\2\x34\0\0" + b"\0\5\x12\x34\x50\0\0\0" + b"\5\x77\0\1"


def test_runs() -> None:
    eight = read_image(made(RUNS_8, 8, compression=1, colours=COLOURS))
    assert eight.pixels.tolist() == [[7] * 5, [1, 2, 3, 4, 5], [1, 1, 1, 2, 2]] and eight.lost == ()
    four = read_image(made(RUNS_4, 4, compression=2, colours=COLOURS))
    assert four.pixels.tolist() == [[7] * 5, [1, 2, 3, 4, 5], [1, 2, 1, 3, 4]] and four.lost == ()
    assert read_image(made(RUNS_8[:-2], 8, compression=1, colours=COLOURS)) == eight  # nothing is left to say
    skips = b"\0\2\1\1" + b"\2\3\0\1"
    skipped = read_image(made(skips, 8, compression=1, colours=COLOURS))
    assert skipped.pixels.tolist() == [[0] * 5, [0, 3, 3, 0, 0], [0] * 5]
    assert skipped.lost == ("pixels that are not drawn (of colour 0 now)",)
    for runs, bits, place in ((RUNS_8, 8, RUNS_8.index(b"\0\5") + 7), (RUNS_4, 4, RUNS_4.index(b"\0\5") + 4),
                              (RUNS_4, 4, RUNS_4.index(b"\0\5") + 5)):  # fmt: skip
        hidden = runs[:place] + bytes([runs[place] | 9]) + runs[place + 1 :]
        image = read_image(made(hidden, bits, compression=1 if bits == 8 else 2, colours=COLOURS))
        assert image.lost == ("bytes between the runs",) and image.pixels.tolist()[1] == [1, 2, 3, 4, 5]
    outside = read_image(made(b"\7\1\0\0\5\2\0\0\5\3\0\1", 8, compression=1, colours=COLOURS))
    assert outside.pixels.tolist() == [[3] * 5, [2] * 5, [1] * 5] and outside.lost == ("pixels outside the image",)
    for end in range(1, len(RUNS_8) - 2):
        with pytest.raises(ImageError, match="is cut short"):
            read_image(made(RUNS_8[:end], 8, compression=1, colours=COLOURS))
    with pytest.raises(ImageError, match="do not end at the last row"):
        read_image(made(b"\0\2\0\4" + RUNS_8, 8, compression=1, colours=COLOURS))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"compression": 4, "bits": 0}, r"compression 4 \(JPEG\)"),
    ({"compression": 5, "bits": 0}, r"compression 5 \(PNG\)"),
    ({"compression": 11, "bits": 32}, r"compression 11 \(CMYK\)"),
    ({"compression": 77}, "compression 77"),
    ({"compression": 3, "header": 64, "bits": 1}, r"compression 3 \(Huffman codes\)"),
    ({"compression": 4, "header": 64}, r"compression 4 \(24-bit runs\)"),
    ({"bits": 64}, "64 bits a pixel"),
    ({"bits": 8, "compression": 2, "colours": COLOURS}, "8 bits a pixel and compression 2"),
    ({"bits": 8, "compression": 1, "size": (5, -3), "colours": COLOURS}, "runs from top to bottom"),
    ({"header": 44}, "a header of 44 bytes"),
    ({"planes": 3}, "3 planes"),
    ({"bits": 32, "compression": 3, "masks": (0x3FF00000, 0xFFC00, 0x3FF)}, "10 bits a sample"),
    ({"bits": 32, "compression": 3, "masks": (0xF0F, 0xF0, 0xF000)}, "masks that are not of bits side by side"),
    ({"bits": 16, "compression": 3, "masks": (0xFF0000, 0xFF00, 0xFF)}, "masks that are not of bits side by side"),
    ({"bits": 32, "compression": 3, "masks": (0xFF, 0xFF, 0xFF00)}, "masks that overlap or are empty"),
    ({"bits": 32, "compression": 3, "masks": (0xFF, 0xFF00, 0)}, "masks that overlap or are empty"),
    ({"bits": 24, "compression": 3, "masks": (0xFF, 0xFF00, 0xFF0000)}, "24 bits a pixel and masks of its own"),
]


def test_kinds_that_are_not_kept_are_refused_by_name() -> None:
    for form, reason in REFUSED:
        with pytest.raises(ImageError, match=f"^x.bmp: is a BMP of {reason}, which is not supported$"):
            read_image(made(bytes(100), **form), "x.bmp")
    with pytest.raises(ImageError, match="is an array of bitmaps of OS/2"):
        read_image(b"BA" + bytes(12) + made(BODY))


def test_what_is_damaged_is_told_in_a_line() -> None:
    whole = made(BODY)
    for end in (3, 17, 20, 53, 60, len(whole) - 2):
        with pytest.raises(ImageError, match=r"^the image: is "):
            read_image(whole[:end])
    assert read_image(whole[:-1]) == from_array(PIXELS)  # the last row's padding
    forms: list[tuple[dict[str, Any], str]] = [
        ({"size": (0, 3)}, "it is empty"),
        ({"size": (-5, 3)}, "it is empty"),
        ({"size": (5, 0)}, "it is empty"),
        ({"offset": 30}, "inside its header"),
        ({"bits": 8, "offset": 57}, "no palette"),
        ({"size": (1 << 15, 1 << 14)}, "more pixels than the limit"),
    ]
    for form, reason in forms:
        with pytest.raises(ImageError, match=reason):
            read_image(made(BODY, **form))


def test_metadata() -> None:
    dpi = resolution(PER_INCH, (300, 1), (300, 1))
    assert dpi is not None
    image = read_image(made(BODY, per_metre=(11811, 11811)))
    assert image == replace(from_array(PIXELS), metadata=(dpi,)) and not image.lost
    assert read_image(made(BODY, per_metre=(11811, 0))).lost == ("resolution",)
    for form in ("bmp", "png", "tiff"):
        assert read_image(write_image(image, form)[0]) == image
    for negative in ((-11811, 11811), (11811, -1), (-(1 << 31), -1)):  # the fields are signed
        image = read_image(made(BODY, per_metre=(negative[0] & 0xFFFFFFFF, negative[1] & 0xFFFFFFFF)))
        assert (image.metadata, image.lost) == ((), ("resolution",))
    huge = resolution(PER_METRE, (3_000_000_001, 1), (3_000_000_001, 1))
    assert huge is not None
    with pytest.raises(ImageError, match="lose or change: resolution"):
        write_image(replace(from_array(PIXELS), metadata=(huge,)), "bmp")


def test_colour_spaces() -> None:
    for header in (108, 124):
        for kind, rest, lost in (
            (b"BGRs", bytes(48), ()),
            (b" niW", bytes(48), ()),
            (bytes(4), bytes(48), ()),
            (bytes(4), b"\1" * 48, ("colour space",)),
            (b"KNIL", bytes(48), ("colour space",)),
            (b"what", bytes(48), ("colour space",)),
        ):
            data = made(BODY, header=header, masks=[0] * 4, more=kind + rest)
            image = read_image(data)
            assert image == from_array(PIXELS) and image.lost == lost
    intent = made(BODY, header=124, masks=[0] * 4, more=b"BGRs" + bytes(48) + struct.pack("<I", 2))
    assert read_image(intent).lost == ("rendering intent",)


def test_embedded_profiles() -> None:
    profile = bytes(range(1, 200))
    for behind in (True, False):
        place = 124 + (len(BODY) if behind else 0)
        more = b"DEBM" + bytes(48) + struct.pack("<IIII", 4, place, len(profile), 0)
        gap, body = (b"", BODY + profile) if behind else (profile, BODY)
        data = made(body, header=124, masks=[0] * 4, more=more, gap=gap)
        image = read_image(data)
        assert image == replace(from_array(PIXELS), metadata=(Record(ICC, b"\0" + profile),)) and not image.lost
        assert read_image(data + b"more").lost == ("data behind the image",)
        for mode in (image, replace(image, mode="RGBA", pixels=np.dstack([PIXELS, PIXELS[..., :1]]))):
            assert read_image(write_image(mode, "bmp")[0]) == mode
    cut = made(BODY, header=124, masks=[0] * 4, more=b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 9999, 9, 0))
    assert read_image(cut).lost == ("ICC profile",)


def test_what_stands_beside_the_pixels_is_named() -> None:
    assert read_image(made(BODY) + bytes(50)).lost == read_image(made(BODY, gap=bytes(50))).lost == ()
    assert read_image(made(BODY) + b"PK\3\4" * 500).lost == ("data behind the image",)
    assert read_image(made(BODY, gap=b"PK\3\4")).lost == ("data before the pixels",)
    assert read_image(made(RUNS_8 + b"PK", 8, compression=1, colours=COLOURS)).lost == ("data behind the image",)
    assert read_image(made(BODY, reserved=5)).lost == ("header fields",)
    assert read_image(made(BODY, header=64, more=b"\1")).lost == ("header fields",)
    assert read_image(made(BODY, header=124, masks=[0] * 4, more=b"BGRs" + bytes(63) + b"\1")).lost == (
        "header fields",
    )
    for masks, lost in (([0xFF0000, 0xFF00, 0xFF, 0xFF000000], ()), ([1, 2, 3, 4], ("header fields",))):
        assert read_image(made(BODY, header=56, masks=masks)).lost == lost  # bit fields that are none
    padded = bytearray(BODY)
    padded[-1] = 1
    assert read_image(made(bytes(padded))).lost == ("bytes between the rows",)
    bits = bytearray(rows_of(numbers(2), 1))
    bits[0] |= 1
    assert read_image(made(bytes(bits), 1, colours=COLOURS[:2])).lost == ("bytes between the rows",)


def test_files_of_pillow_and_for_pillow() -> None:
    picture = Image.fromarray(PIXELS)
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        source = picture.convert(mode) if mode != "P" else picture.quantize(7)
        out = io.BytesIO()
        source.save(out, "BMP", dpi=(300, 300))
        image = read_image(out.getvalue())
        assert image.lost == () and len(image.metadata) == 1 and image.mode == mode
        np.testing.assert_array_equal(image.pixels, np.asarray(source))
        written = Image.open(io.BytesIO(write_image(image, "bmp")[0]))
        np.testing.assert_array_equal(np.asarray(written.convert("RGBA")), np.asarray(source.convert("RGBA")))
