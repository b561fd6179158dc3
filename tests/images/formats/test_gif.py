"""Each thing that a GIF can hold: kept, or named, or refused; what is seen of its pictures."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest
from cases_for_tests import one_test_of
from PIL import GifImagePlugin, Image, ImageFile

from bbcompress.errors import ImageError
from bbcompress.images.image import PixelImage
from bbcompress.images.metadata import ICC, INTERLACED_ROWS, TEXT, XMP, Metadata, Record
from bbcompress.images.read import read_frames, read_image
from bbcompress.images.write import write_image

PALETTE = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
OTHER = bytes(range(12))
MISSING_END = "what may be missing at the file's end"
TRAILER = b";"


def lzw(indices: npt.NDArray[np.uint8]) -> bytes:
    """Indices below 4, each a code of 3 bits, with a clear code before each two so that codes stay so long."""
    codes = []
    for place, index in enumerate(indices.ravel().tolist()):
        codes += [4] * (place % 2 == 0) + [index]
    bits = "".join(f"{code:03b}" for code in reversed([*codes, 5]))
    packed = int(bits, 2).to_bytes((len(bits) + 7) // 8, "little")
    blocks = (packed[place : place + 255] for place in range(0, len(packed), 255))
    return b"\2" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def picture(
    rows: Iterable[Iterable[int]],
    left: int = 0,
    top: int = 0,
    palette: bytes = b"",
    key: int | None = None,
    disposal: int = 0,
    delay: int = 0,
    flags: int = 0,
) -> bytes:
    indices = np.array(rows, np.uint8)
    control = b""
    if key is not None or disposal or delay:
        control = b"!\xf9\4" + struct.pack("<BHB", disposal << 2 | (key is not None), delay, key or 0) + b"\0"
    height, width = indices.shape
    flags |= 0x81 if palette else 0
    return control + b"," + struct.pack("<4HB", left, top, width, height, flags) + palette + lzw(indices)


def gif(
    *parts: bytes,
    size: tuple[int, int] = (2, 2),
    palette: bytes = PALETTE,
    background: int = 0,
    aspect: int = 0,
    flags: int = 0,
    end: bytes = TRAILER,
) -> bytes:
    flags |= 0xF1 if palette else 0
    return b"GIF89a" + struct.pack("<HHBBB", *size, flags, background, aspect) + palette + b"".join(parts) + end


SQUARE = [[0, 1], [2, 3]]
STILL = picture(SQUARE)


def test_a_picture() -> None:
    image = read_image(gif(STILL))
    assert (image.mode, image.palette, image.pixels.tolist(), image.lost) == ("P", PALETTE, SQUARE, ())
    assert read_image(b"GIF87a" + gif(STILL)[6:]) == image
    assert read_image(gif(picture(SQUARE, palette=OTHER), palette=b"")).palette == OTHER
    transparent = read_image(gif(picture(SQUARE, key=2)))
    assert transparent == PixelImage("P", image.pixels, PALETTE, b"\xff\xff\0")
    assert read_image(gif(picture([[1, 1], [1, 1]], key=3))).transparency == b"\xff\xff\xff\0"
    rows = [[row % 4] for row in range(11)]
    order = [*range(0, 11, 8), *range(4, 11, 8), *range(2, 11, 4), *range(1, 11, 2)]
    interlaced = read_image(gif(picture([rows[row] for row in order], flags=0x40), size=(1, 11)))
    assert (interlaced.pixels.tolist(), interlaced.lost) == (rows, (INTERLACED_ROWS,))


def test_palettes_that_are_odd() -> None:
    grey = bytes(index // 3 for index in range(12))
    assert read_image(gif(STILL, palette=grey)) == PixelImage("L", np.array(SQUARE, np.uint8))
    none = read_image(gif(STILL, palette=b""))
    assert (none.mode, none.lost) == ("L", ("palette, which the file lacks",))
    short = gif(STILL, palette=b"")
    short = short[:10] + b"\x80" + short[11:13] + PALETTE[:6] + short[13:]
    image = read_image(short)
    assert (image.palette, image.lost) == (PALETTE[:6] + bytes(6), ("number of colours",))


def extension(label: int, *blocks: bytes) -> bytes:
    return b"!" + bytes([label]) + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


@one_test_of(
    ("data", "lost"),
    [
        (gif(STILL, end=b";PK\3\4"), ("data behind the image",)),
        (gif(STILL, end=b"x"), ("data behind the image",)),
        (gif(STILL, end=b""), (MISSING_END,)),
        (gif(STILL, b"!\xfe\5cut", end=b""), (MISSING_END,)),
        (gif(extension(0xFF, b"NETSCAPE2.0", b"\1\0\0"), STILL), ("loop count",)),
        (gif(extension(0xFF, b"MYAPPLIC1.0", b"hello"), STILL), ("application data",)),
        (gif(extension(0x01, bytes(12), b"hello"), STILL), ("plain text extension",)),
        (gif(extension(0x77, b"hello"), STILL), ("extension of an unknown kind",)),
        (gif(STILL, aspect=0x63), ("pixel aspect ratio",)),
        (gif(STILL, aspect=49), ()),  # square
        (gif(STILL, background=2), ("background",)),
        (gif(STILL, flags=8), ("order of the palette",)),
        (gif(picture(SQUARE, flags=0x20)), ("order of the palette",)),
        (gif(picture(SQUARE, palette=PALETTE), palette=OTHER), ("palette of the screen",)),
        (gif(picture(SQUARE, delay=5)), ("times of the frames",)),
        (gif(picture(SQUARE, disposal=2)), ("disposal",)),
        (gif(b"\0", STILL, b"\0"), ()),  # empty blocks between the others
    ],
)
def test_what_is_left_out_is_named(data: bytes, lost: tuple[str, ...]) -> None:
    image = read_image(data)
    assert (image.lost, image.pixels.tolist()) == (lost, SQUARE)


CONTROL = b"!\xf9\4\0\0\0\0\0"
PROFILE = extension(0xFF, b"ICCRGBG1012", b"profile")
PACKET = b"!\xff\x0bXMP DataXMP<x/>\1" + bytes(range(255, -1, -1)) + b"\0"


@one_test_of(
    ("data", "lost"),
    [
        (gif(b"!\xf9\4\2\0\0\0\0", STILL), ("user input flag",)),
        (gif(b"!\xf9\4\x20\0\0\0\0", STILL), ("reserved bits",)),
        (gif(b"!\xf9\4\0\0\0\xff\0", STILL), ()),  # as ImageMagick fills the index of no transparency
        (gif(picture(SQUARE, disposal=5)), ("disposal",)),
        (gif(CONTROL, STILL), ()),
        (gif(CONTROL, CONTROL, STILL), ("graphic control extension without a picture",)),
        (gif(CONTROL, extension(0xFE), CONTROL, STILL), ("graphic control extension without a picture",)),
        (gif(STILL, CONTROL), ("graphic control extension without a picture",)),
        (gif(extension(0xF9, bytes(4), b"more"), STILL), ("extension of an unknown kind",)),
        (gif(extension(0xF9, b"abc"), STILL), ("extension of an unknown kind",)),
        (gif(extension(0xF9), STILL), ("extension of an unknown kind",)),
        (gif(picture(SQUARE, flags=0x10)), ("reserved bits",)),
        (gif(PROFILE, PROFILE, STILL), ("ICC profile",)),
        (gif(PACKET, STILL, PACKET), ("XMP",)),
        (gif(picture(SQUARE, palette=OTHER), palette=b"", background=3), ("background",)),
    ],
)
def test_what_extensions_say(data: bytes, lost: tuple[str, ...]) -> None:
    image = read_image(data)
    assert (image.lost, image.pixels.tolist()) == (lost, SQUARE)
    assert [record.kind for record in image.metadata if record.kind != TEXT] == (
        [ICC] if PROFILE in data else [XMP] if PACKET in data else []
    )


def of_data(bits: int, codes: str, *more: bytes, size: tuple[int, int] = (2, 2)) -> bytes:
    """A GIF of one picture with these bits of LZW, the first one last, and further bytes behind them."""
    packed = int(codes.replace(" ", ""), 2).to_bytes((len(codes.replace(" ", "")) + 7) // 8, "little") + b"".join(more)
    return gif(b"," + struct.pack("<4HBB", 0, 0, *size, 0, bits) + bytes([len(packed)]) + packed + b"\0", size=size)


def test_data_behind_the_pixels() -> None:
    """Behind the code of the end, or in its place; whatever the widths of codes and where in a byte they end."""
    codes = "011 010 100 001 000 100"  # backwards: clear, 0, 1, clear, 2, 3
    behind = ("data behind the pixels",)
    for end in ("", "101", "101 100"):  # none, and one behind another clear code
        for more in (b"", b"\0", b"\0\0"):
            assert read_image(of_data(2, end + codes, more)).lost == ()
        for more in (b"secret", b"\x40", b"\0\x80", b"\0\0\0\0"):
            assert read_image(of_data(2, end + codes, more)).lost == behind
    assert read_image(of_data(2, "101 001 010 100" + codes)).lost == behind  # two more pixels
    blocks = STILL[:-1] + b"\6secret\0"
    assert read_image(gif(blocks)).lost == behind
    assert [image.lost for image in read_frames(gif(STILL, blocks))] == [
        ("times of the frames",),
        ("data behind the pixels", "times of the frames"),
    ]
    chance = np.random.default_rng(0)
    for colours in (2, 4, 7, 256):
        for side in (1, 2, 3, 17, 80):
            pixels = chance.integers(0, colours, (side, side + 1), dtype=np.uint8)
            out = io.BytesIO()
            Image.fromarray(pixels).save(out, "GIF", interlace=0)
            data = out.getvalue()
            assert read_image(data).lost == ()
            assert read_image(data[:-2] + b"\3\1\2\3\0;").lost == behind


def test_a_gif_that_is_written_is_what_was_read() -> None:
    """Palettes of any power of two, transparent indices, greys, extensions; other programs see the same."""
    chance = np.random.default_rng(0)
    grey = bytes(value for value in range(256) for _ in range(3))
    records: Metadata = (Record(ICC, b"\0profile"), Record(XMP, b"<x/>"), Record(TEXT, b"Comment\0one"))
    for colours in (2, 4, 8, 16, 32, 64, 128, 256):
        pixels = chance.integers(0, colours, (33, 20), dtype=np.uint8)
        for palette in (chance.bytes(3 * colours), grey[: 3 * colours]):
            for key in (None, 0, colours - 1):
                mode = "L" if palette in grey else "P"
                alpha = b"" if key is None else struct.pack(">H", key) if mode == "L" else b"\xff" * key + b"\0"
                image = PixelImage(mode, pixels, palette if mode == "P" else b"", alpha, metadata=records)
                data = write_image(image, "gif")[0]
                assert read_image(data) == image and read_image(data).lost == ()
                seen = Image.open(io.BytesIO(data))
                assert seen.info.get("transparency") == key
                np.testing.assert_array_equal(
                    np.asarray(seen.convert("RGB")), np.frombuffer(palette, np.uint8).reshape(-1, 3)[pixels]
                )
    for data in (gif(STILL), gif(picture(SQUARE, key=2)), gif(STILL, palette=grey[:12]),
                 gif(picture(SQUARE, key=1), palette=grey[:12])):  # fmt: skip
        image = read_image(data)
        assert read_image(write_image(image, "gif")[0]) == image
    for count in (1, 3, 255):
        with pytest.raises(ImageError, match=f"GIF cannot hold a palette of {count} colours.*; PNG can hold it"):
            write_image(PixelImage("P", np.zeros((2, 2), np.uint8), chance.bytes(3 * count)), "gif")


def test_comments() -> None:
    """Each is one, however long, before the picture or behind it; they are written and read again."""
    long = bytes(range(256)) * 3
    image = read_image(
        gif(extension(0xFE, b"one"), STILL, extension(0xFE, long[:255], long[255:510], long[510:765], long[765:]))
    )
    assert image.metadata == (Record(TEXT, b"Comment\0one"), Record(TEXT, b"Comment\0" + long))
    assert read_image(write_image(image, "png")[0]) == image
    whole = PixelImage("P", image.pixels, bytes(768), metadata=image.metadata)
    assert read_image(write_image(whole, "gif")[0]) == whole


def test_a_picture_smaller_than_the_screen() -> None:
    """What it does not cover is transparent: by its own index, or as alpha."""
    image = read_image(gif(picture([[0]], left=1, key=3)))
    assert image.pixels.tolist() == [[3, 0], [3, 3]]
    assert (image.transparency, image.lost) == (b"\xff\xff\xff\0", ("place on the screen",))
    image = read_image(gif(picture([[0]], left=1)))
    assert image.pixels.tolist() == [[[0] * 4, [255, 0, 0, 255]], [[0] * 4] * 2]
    assert image.lost == ("palette", "place on the screen")
    beyond = read_image(gif(picture(SQUARE, left=1)))  # no pixel of it is cut off
    assert beyond.size == (3, 2)


RED, GREEN, BLUE = ([*PALETTE[3 * index : 3 * index + 3], 255] for index in range(3))
CLEAR = [0] * 4


def seen(data: bytes) -> list[tuple[str, list[object]]]:
    return [(image.mode, image.pixels.tolist()) for image in read_frames(data)]


def test_frames_of_one_palette_stay_indices() -> None:
    first, second = picture([[0, 0]]), picture([[1, 3]], key=3)
    assert seen(gif(first, second, size=(2, 1))) == [("P", [[0, 0]]), ("P", [[1, 0]])]
    images = list(read_frames(gif(first, second, size=(2, 1))))
    assert {image.transparency for image in images} == {b""}
    assert {image.lost for image in images} == {("times of the frames",)}
    restored = gif(first, picture([[1]], left=1, disposal=3), picture([[2]]), size=(2, 1))
    assert seen(restored) == [("P", [[0, 0]]), ("P", [[0, 1]]), ("P", [[2, 0]])]
    cleared = gif(first, picture([[1]], left=1, key=3, disposal=2), picture([[2]]), size=(2, 1))
    assert seen(cleared) == [("P", [[0, 0]]), ("P", [[0, 1]]), ("P", [[2, 3]])]
    assert [image.transparency for image in read_frames(cleared)] == [b"", b"", b"\xff\xff\xff\0"]


def test_frames_of_other_palettes_are_colours() -> None:
    first = picture([[0, 0]])
    other = picture([[1]], left=1, palette=PALETTE[::-1])
    third, fourth = PALETTE[::-1][3:6], PALETTE[:3]
    assert seen(gif(first, other, size=(2, 1))) == [("P", [[0, 0]]), ("RGB", [[[*fourth], [*third]]])]
    cleared = gif(first, picture([[1]], left=1, disposal=2), picture([[2]]), size=(2, 1))
    assert seen(cleared) == [("P", [[0, 0]]), ("P", [[0, 1]]), ("RGBA", [[BLUE, CLEAR]])]
    keys = gif(picture([[0, 3]], key=3), picture([[2, 1]], key=2), size=(2, 1))  # index 3 is a colour, too
    assert seen(keys) == [("RGBA", [[RED, CLEAR]]), ("RGB", [[RED[:3], GREEN[:3]]])]
    conflict = gif(picture([[0, 0]]), picture([[3, 1]]), picture([[1, 3]], key=3), size=(2, 1))
    assert [mode for mode, _ in seen(conflict)] == ["P", "RGB", "RGB"]


def test_what_the_program_sets_in_pillow_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    data = gif(STILL)
    image = read_image(data)
    monkeypatch.setattr(GifImagePlugin, "LOADING_STRATEGY", GifImagePlugin.LoadingStrategy.RGB_ALWAYS)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    assert read_image(data) == image
    with pytest.raises(ImageError, match="a picture lacks pixels"):
        read_image(gif(b",\0\0\0\0\2\0\2\0\0" + lzw(np.zeros((1, 1), np.uint8))))


def test_what_is_damaged_is_refused() -> None:
    data = gif(extension(0xFE, b"one"), STILL, STILL)
    for end in range(6, len(data)):
        try:
            assert all(image.lost for image in read_frames(data[:end]))
        except ImageError as error:
            assert "\n" not in str(error)
    for bad, reason in (
        (gif(), "no picture"),
        (gif(b",\0\0\0\0\0\0\1\0\0\2\0"), "without pixels"),
    ):
        with pytest.raises(ImageError, match=reason):
            read_image(bad)
    out = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(out, "GIF")
    assert read_image(out.getvalue()).lost == ()
