"""Animated PNG: its pictures as they are seen, in the mode of the file where that can say them."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from cases_for_tests import one_test_of

from bbcompress.errors import ImageError
from bbcompress.images.formats.png.file import PNG_SIGNATURE
from bbcompress.images.metadata import LEVELS, Record
from bbcompress.images.read import read_frames, read_image

Chunk = tuple[bytes, bytes]


def png(*chunks: Chunk) -> bytes:
    out = PNG_SIGNATURE
    for kind, body in (*chunks, (b"IEND", b"")):
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return out


def header(colour: int, width: int = 2, height: int = 1, depth: int = 8) -> Chunk:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)


def control(number: int, width: int = 2, left: int = 0, disposal: int = 0, blend: int = 0, top: int = 0) -> Chunk:
    return b"fcTL", struct.pack(">IIIIIHHBB", number, width, 1, left, top, 1, 10, disposal, blend)


def pixels(*row: int) -> bytes:
    return zlib.compress(bytes([0, *row]))


def frames(number: int, *row: int) -> Chunk:
    return b"fdAT", struct.pack(">I", number) + pixels(*row)


def animation(total: int, plays: int = 0) -> Chunk:
    return b"acTL", struct.pack(">II", total, plays)


def seen(data: bytes) -> list[tuple[str, object]]:
    return [(image.mode, image.pixels.tolist()) for image in read_frames(data)]


RED, BLUE, NONE = [255, 0, 0], [0, 0, 255], [0, 0, 0, 0]


def test_frames_without_transparency_keep_the_mode() -> None:
    first = header(2), animation(2), control(0), (b"IDAT", pixels(*RED, *RED))
    data = png(*first, control(1, 1, 1), frames(2, *BLUE))
    assert seen(data) == [("RGB", [[RED, RED]]), ("RGB", [[RED, BLUE]])]
    assert [image.lost for image in read_frames(data)] == 2 * [("times of the frames",)]
    with pytest.raises(ImageError, match="animated"):
        read_image(data)
    grey = png(header(0), animation(2, 3), control(0), (b"IDAT", pixels(1, 2)), control(1, 1), frames(2, 9))
    assert seen(grey) == [("L", [[1, 2]]), ("L", [[9, 2]])]
    assert {image.lost for image in read_frames(grey)} == {("loop count", "times of the frames")}
    wide = png(
        header(0, depth=16), animation(2), control(0), (b"IDAT", pixels(1, 2, 3, 4)), control(1, 1), frames(2, 0, 7)
    )
    assert seen(wide) == [("I;16", [[258, 772]]), ("I;16", [[7, 772]])]
    bits = png(header(0, depth=1), animation(2), control(0), (b"IDAT", pixels(0x40)), control(1, 1), frames(2, 0x80))
    assert seen(bits) == [("1", [[False, True]]), ("1", [[True, True]])]
    nibbles = png(header(0, depth=4), animation(2), control(0), (b"IDAT", pixels(0x1F)), control(1, 1), frames(2, 0x20))
    assert seen(nibbles) == [("L", [[17, 255]]), ("L", [[34, 255]])]
    assert {image.metadata for image in read_frames(nibbles)} == {(Record(LEVELS, b"\x0f"),)}
    colours = (b"PLTE", bytes(range(9)))
    indices = png(
        header(3), colours, animation(2), control(0), (b"IDAT", pixels(0, 1)), control(1, 1, 1, blend=1), frames(2, 2)
    )
    assert seen(indices) == [("P", [[0, 1]]), ("P", [[0, 2]])]
    assert {image.palette for image in read_frames(indices)} == {colours[1]}


def test_disposal_blending_and_alpha() -> None:
    """By the formulas of the specification."""
    cleared = png(
        header(2), animation(3), control(0), (b"IDAT", pixels(*RED, *RED)), control(1, 1, 1, 1), frames(2, *BLUE),
        control(3, 1), frames(4, 1, 2, 3),
    )  # fmt: skip
    assert seen(cleared) == [("RGB", [[RED, RED]]), ("RGB", [[RED, BLUE]]), ("RGBA", [[[1, 2, 3, 255], NONE]])]
    restored = png(
        header(2), animation(3), control(0), (b"IDAT", pixels(*RED, *RED)), control(1, 1, 1, 2), frames(2, *BLUE),
        control(3, 1), frames(4, 1, 2, 3),
    )  # fmt: skip
    assert seen(restored)[2] == ("RGB", [[[1, 2, 3], RED]])
    alpha = png(
        header(6), animation(3), control(0), (b"IDAT", pixels(100, 0, 0, 255, 0, 0, 0, 0)),
        control(1, blend=1), frames(2, 0, 200, 0, 128, 0, 0, 9, 64), control(3), frames(4, 0, 0, 0, 0, 1, 2, 3, 4),
    )  # fmt: skip
    assert [mode for mode, _ in seen(alpha)] == ["RGBA"] * 3
    assert [rows for _, rows in seen(alpha)] == [
        [[[100, 0, 0, 255], NONE]],
        [[[50, 100, 0, 255], [0, 0, 9, 64]]],
        [[NONE, [1, 2, 3, 4]]],
    ]
    key = png(
        header(0),
        (b"tRNS", b"\0\7"),
        animation(2),
        control(0),
        (b"IDAT", pixels(7, 1)),
        control(1, blend=1),
        frames(2, 5, 7),
    )
    assert seen(key) == [("LA", [[[7, 0], [1, 255]]]), ("LA", [[[5, 255], [1, 255]]])]
    palette = png(
        header(3), (b"PLTE", bytes([*RED, *BLUE])), (b"tRNS", b"\0"), animation(2), control(0),
        (b"IDAT", pixels(1, 1)), control(1, blend=1), frames(2, 0, 1),
    )  # fmt: skip
    assert seen(palette) == 2 * [("RGBA", [[[*BLUE, 255], [*BLUE, 255]]])]


def test_an_image_that_is_no_frame_comes_first() -> None:
    data = png(header(2), animation(1), (b"IDAT", pixels(*RED, *RED)), control(0), frames(1, *BLUE, *BLUE))
    assert seen(data) == [("RGB", [[RED, RED]]), ("RGB", [[BLUE, BLUE]])]


def test_data_behind_the_pixels_of_a_frame_are_named_with_it() -> None:
    """Behind the end of a frame's zlib stream, or in it; of the first one, of others, of an image that is no frame."""
    behind, times = "data behind the pixels", "times of the frames"
    idat, fdat = (b"IDAT", pixels(*RED, *RED)), frames(2, *BLUE, *BLUE)
    for alpha in ((), ((b"tRNS", bytes(6)),)):
        for more in (b"secret", b"\0"):
            first = animation(2), control(0), (idat[0], idat[1] + more), control(1), fdat
            second = animation(2), control(0), idat, control(1), (fdat[0], fdat[1] + more)
            apart = animation(1), (idat[0], idat[1] + more), control(0), frames(1, *BLUE, *BLUE)
            for chunks, names in ((first, [[behind, times], [times]]), (second, [[times], [behind, times]]),
                                  (apart, [[behind, times], [times]])):  # fmt: skip
                assert [list(image.lost) for image in read_frames(png(header(2), *alpha, *chunks))] == names
    longer = animation(2), control(0), idat, control(1), frames(2, *BLUE, *BLUE, 1)
    assert [list(image.lost) for image in read_frames(png(header(2), *longer))] == [[times], [behind, times]]


def test_one_frame_is_an_image() -> None:
    for changed, lost in ((control(0, disposal=1), ("disposal or blending", "times of the frames")),
                          (control(0, blend=1), ("disposal or blending", "times of the frames")),
                          (control(0, 1), ("animation",)), (control(0, left=1), ("animation",)),
                          (control(0, disposal=3), ("animation",))):  # fmt: skip
        assert read_image(png(header(2), animation(1), changed, (b"IDAT", pixels(*RED, *RED)))).lost == lost
    one = png(header(2), animation(1), control(0), (b"IDAT", pixels(*RED, *RED)))
    assert read_image(one).lost == ("times of the frames",)
    stray = png(header(2), control(0), (b"IDAT", pixels(*RED, *RED)))
    assert read_image(stray).lost == ("animation",)


@one_test_of(
    ("chunks", "reason"),
    [
        ((animation(2), control(0), (b"IDAT", pixels(*RED, *RED))), "2 pictures there are 1"),
        (
            (animation(2), control(0), (b"IDAT", pixels(*RED, *RED)), control(2), frames(3, *RED)),
            "missing or in a wrong order",
        ),
        ((animation(2), control(0), (b"IDAT", pixels(*RED, *RED)), control(1, 2, 1), frames(2, *RED)), "outside"),
        ((animation(2), control(0), (b"IDAT", pixels(*RED, *RED)), control(1), frames(2, *RED)), "cut short"),
        ((animation(2), control(0), (b"IDAT", pixels(*RED, *RED)), control(1, disposal=3), frames(2, *RED)), "outside"),
    ],
)
def test_what_is_damaged_is_refused(chunks: tuple[Chunk, ...], reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        list(read_frames(png(header(2), *chunks)))


def test_a_frame_of_many_parts() -> None:
    stream = pixels(*RED, *BLUE)
    parts = [(b"fdAT", struct.pack(">I", 2 + place) + stream[place : place + 1]) for place in range(len(stream))]
    data = png(header(2), animation(2), control(0), (b"IDAT", pixels(*RED, *RED)), control(1), *parts)
    assert seen(data)[1] == ("RGB", [[RED, BLUE]])


def test_rounding_of_blended_colours() -> None:
    """Against the same in rational numbers, 16 bits too."""
    from fractions import Fraction

    from bbcompress.images.canvas import draw_over

    chance = np.random.default_rng(0)
    for dtype in (np.uint8, np.uint16):
        most = int(np.iinfo(dtype).max)
        under: npt.NDArray[np.generic] = chance.integers(0, most + 1, (1, 300, 2)).astype(dtype)
        over = chance.integers(0, most + 1, (1, 300, 2)).astype(dtype)
        place = under.copy()
        draw_over(place, over)
        for (f, fa), (b, ba), (c, ca) in zip(over[0].tolist(), under[0].tolist(), place[0].tolist(), strict=True):
            alpha = Fraction(fa, most) + (1 - Fraction(fa, most)) * Fraction(ba, most)
            colour = (
                (f * Fraction(fa, most) + b * (1 - Fraction(fa, most)) * Fraction(ba, most)) / alpha if alpha else 0
            )
            if 0 < fa < most:
                assert abs(ca - alpha * most) <= Fraction(1, 2) and abs(c - colour) <= Fraction(1, 2)
