"""PNG in bands: every filter over every edge, any split of the data, what is cut short."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from bbcompress import png
from bbcompress.errors import ImageError
from bbcompress.png import PNG_SIGNATURE, can_write, check_length, parse_png, read_pixels, write_pixels

MODES = {"L": (0, 1), "LA": (4, 2), "RGB": (2, 3), "RGBA": (6, 4)}


def make(
    width: int, height: int, colour: int, stream: bytes, cuts: int = 0, depth: int = 8, interlaced: int = 0
) -> bytes:
    """A PNG of a zlib stream, in so many chunks and one more, some of them empty."""
    places = sorted(random.Random(cuts).choices(range(len(stream) + 1), k=cuts))
    parts = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    out = PNG_SIGNATURE
    for kind, body in ((b"IHDR", header), *((b"IDAT", part) for part in parts), (b"IEND", b"")):
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return out


def by_pillow(data: bytes) -> npt.NDArray[Any]:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("band", [1, 50, 200, 10_000])
@pytest.mark.parametrize("mode", MODES)
def test_filters(mode: str, band: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows with random filters and bytes: the same pixels as Pillow gives, however they are cut."""
    monkeypatch.setattr(png, "BAND_BYTES", band)
    colour, samples = MODES[mode]
    chance = np.random.default_rng(samples)
    rows = chance.integers(0, 256, (40, 1 + 13 * samples), np.uint8)
    rows[:, 0] = chance.integers(0, 5, 40)
    stream = zlib.compress(rows.tobytes())
    for cuts in (0, 1, 30):
        data = make(13, 40, colour, stream, cuts)
        parsed = parse_png(data)
        assert parsed.mode == mode
        np.testing.assert_array_equal(read_pixels(parsed), by_pillow(data))
        check_length(parsed)


@pytest.mark.parametrize("step", [1, 7, 1 << 16])
def test_output_that_waits_when_the_input_is_used_up(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes for many rows; in the end zlib has taken all of them and still holds back pixels."""
    monkeypatch.setattr(png, "BAND_BYTES", 5000)
    monkeypatch.setattr(png, "_INFLATE_BYTES", step)
    small = zlib.compress(bytes(11 * 300), 1)[:-4]  # without its checksum; the last byte holds many rows
    with monkeypatch.context() as patch:
        patch.setattr(png, "BAND_BYTES", 1)
        assert not read_pixels(parse_png(make(10, 300, 0, small))).any()
    stream = zlib.compress(bytes(1001 * 300))
    for end in (None, -4):  # with and without its own checksum
        parsed = parse_png(make(1000, 300, 0, stream[:end]))
        check_length(parsed)
        assert not read_pixels(parsed).any()
    for rows in (301, 400):
        parsed = parse_png(make(1000, rows, 0, stream))
        for read in (read_pixels, check_length):
            with pytest.raises(ImageError, match="less data than pixels"):
                read(parsed)


@pytest.mark.parametrize("mode", MODES)
def test_cut_short(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "BAND_BYTES", 100)
    colour, samples = MODES[mode]
    rows = np.random.default_rng(0).integers(0, 4, (9, 1 + 11 * samples), np.uint8)
    stream = zlib.compress(rows.tobytes())
    read_pixels(parse_png(make(11, 9, colour, stream[:-4])))  # the stream's own checksum is not looked at
    for end in range(2, len(stream) - 8):
        with pytest.raises(ImageError, match="less data than pixels"):
            read_pixels(parse_png(make(11, 9, colour, stream[:end])))


@pytest.mark.parametrize(("colour", "depth", "interlaced"), [(3, 8, 0), (0, 1, 0), (0, 16, 0), (2, 8, 1)])
def test_kinds_that_pillow_reads_whole(colour: int, depth: int, interlaced: int) -> None:
    assert parse_png(make(3, 3, colour, b"", depth=depth, interlaced=interlaced)).mode is None


def test_refused() -> None:
    for colour, depth, reason in ((2, 16, "16 bits per colour channel"), (5, 8, "no known kind of colour")):
        with pytest.raises(ImageError, match=reason):
            parse_png(make(3, 3, colour, b"", depth=depth))
    for filter_kind in (5, 255):
        with pytest.raises(ValueError):
            read_pixels(parse_png(make(1, 1, 0, zlib.compress(bytes([filter_kind, 0])))))


@pytest.mark.parametrize("band", [1, 700, 1 << 20])
@pytest.mark.parametrize("mode", MODES)
def test_writing(mode: str, band: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow reads it, and the filters are those that Pillow chooses for the whole image."""
    monkeypatch.setattr(png, "BAND_BYTES", band)
    monkeypatch.setattr(png, "_IDAT_BYTES", 100)
    samples = MODES[mode][1]
    y, x = np.mgrid[:60, :50]
    pixels = np.dstack([(x * x // 9 + k * y) % 256 for k in range(samples)]).astype(np.uint8)
    pixels = pixels[:, :, 0] if samples == 1 else pixels
    assert can_write(mode)
    data = write_pixels(mode, pixels, b"")
    np.testing.assert_array_equal(by_pillow(data), pixels)
    np.testing.assert_array_equal(read_pixels(parse_png(data)), pixels)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    filtered = [zlib.decompress(b"".join(parse_png(file).data)) for file in (data, out.getvalue())]
    assert filtered[0] == filtered[1]
    assert len({filtered[0][start] for start in range(0, len(filtered[0]), 1 + 50 * samples)}) > 1


def test_modes_that_pillow_writes_whole() -> None:
    assert not any(map(can_write, ("1", "P", "I;16", "CMYK")))
