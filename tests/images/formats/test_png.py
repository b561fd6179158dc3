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
from cases_for_tests import one_test_of
from PIL import Image

from bbcompress.errors import ImageError
from bbcompress.images.formats.png import file as png
from bbcompress.images.formats.png.file import PNG_SIGNATURE, can_write, parse_png, read_pixels, write_pixels

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
        assert not read_pixels(parsed).any()
    for rows in (301, 400):
        parsed = parse_png(make(1000, rows, 0, stream))
        with pytest.raises(ImageError, match="before its last pixel"):
            read_pixels(parsed)


@pytest.mark.parametrize("mode", MODES)
def test_cut_short(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "BAND_BYTES", 100)
    colour, samples = MODES[mode]
    rows = np.random.default_rng(0).integers(0, 4, (9, 1 + 11 * samples), np.uint8)
    stream = zlib.compress(rows.tobytes())
    read_pixels(parse_png(make(11, 9, colour, stream[:-4])))  # the stream's own checksum is not looked at
    for end in range(2, len(stream) - 8):
        with pytest.raises(ImageError, match="before its last pixel"):
            read_pixels(parse_png(make(11, 9, colour, stream[:end])))


KINDS = [(colour, depth) for colour, depths in png._DEPTHS.items() for depth in depths]


def filtered(samples: npt.NDArray[Any], depth: int, chance: np.random.Generator) -> bytes:
    """Rows of samples (height, width, samples) as bytes behind random filters: the definition in PNG, byte by byte."""
    step = max(1, depth * samples.shape[2] // 8)
    before = [0] * 10_000
    out = b""
    for row in samples.reshape(len(samples), -1):
        digits = "".join(f"{int(value):0{depth}b}" for value in row)
        digits += "0" * (-len(digits) % 8)
        values = [int(digits[place : place + 8], 2) for place in range(0, len(digits), 8)]
        kind = int(chance.integers(5))
        coded = []
        for place, value in enumerate(values):
            left = values[place - step] if place >= step else 0
            corner = before[place - step] if place >= step else 0
            above = before[place]
            paeth = min((left, above, corner), key=lambda guess: abs(left + above - corner - guess))
            coded.append((value - (0, left, above, (left + above) // 2, paeth)[kind]) % 256)
        out += bytes([kind, *coded])
        before = values
    return out


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_every_kind(colour: int, depth: int, interlaced: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every colour type and depth, small odd sizes, interlaced or not, whole and in bands."""
    chance = np.random.default_rng(depth)
    count = png._SAMPLES[colour]
    for height, width in ((1, 1), (2, 3), (5, 4), (7, 9), (8, 8), (9, 33), (33, 5)):
        samples = chance.integers(0, 1 << depth, (height, width, count))
        passes = png._ADAM7 if interlaced else [(0, 0, 1, 1)]
        parts = [samples[top::down, left::right] for left, top, right, down in passes]
        rows = b"".join(filtered(part, depth, chance) for part in parts if part.size)
        data = make(width, height, colour, zlib.compress(rows), 2, depth, interlaced)
        if colour == 3:
            palette = chance.bytes(3 << depth)
            body = struct.pack(">I", len(palette)) + b"PLTE" + palette
            data = data[:33] + body + struct.pack(">I", zlib.crc32(body[4:])) + data[33:]
        parsed = parse_png(data)
        for band in (1, 20, 1 << 22):
            monkeypatch.setattr(png, "BAND_BYTES", band)
            pixels = read_pixels(parsed)
            assert not pixels.flags.writeable
            np.testing.assert_array_equal(pixels.reshape(samples.shape), samples * parsed.scale)
        assert pixels.dtype == (np.bool_ if (colour, depth) == (0, 1) else np.uint16 if depth == 16 else np.uint8)
        if depth < 16 or colour == 0:
            np.testing.assert_array_equal(pixels, by_pillow(data))


def test_refused() -> None:
    for colour, depth, reason in ((5, 8, "kind of colour is unknown"), (2, 4, "4 bits a sample"), (0, 3, "3 bits")):
        with pytest.raises(ImageError, match=reason):
            parse_png(make(3, 3, colour, b"", depth=depth))
    for kind in (5, 255):
        for colour, depth in ((0, 8), (2, 16)):
            with pytest.raises(ImageError, match="unknown filter"):
                read_pixels(parse_png(make(1, 1, colour, zlib.compress(bytes([kind, *bytes(8)])), depth=depth)))
    with pytest.raises(ImageError, match="cannot be inflated"):
        read_pixels(parse_png(make(1, 1, 0, b"no zlib")))
    with pytest.raises(ImageError, match="interlacing"):
        parse_png(make(1, 1, 0, b"", interlaced=2))
    for size in ((0, 1), (1, 0), (1 << 31, 1)):
        with pytest.raises(ImageError, match="no size"):
            parse_png(make(*size, 0, b""))


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


HEADER = {colour: chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, colour, 0, 0, 0)) for colour in png._SAMPLES}
DATA, END = chunk(b"IDAT", zlib.compress(bytes(9))), chunk(b"IEND")
PALETTE = chunk(b"PLTE", b"abc")


@one_test_of(
    ("parts", "reason"),
    [
        ([HEADER[0], END], "no pixels"),
        ([HEADER[0], DATA], "cut short"),
        ([DATA, END], "begin with a header"),
        ([HEADER[0], HEADER[0], DATA, END], "two"),
        ([chunk(b"IHDR", bytes(12)), DATA, END], "13 bytes"),
        ([HEADER[3], DATA, END], "no palette"),
        ([HEADER[3], chunk(b"PLTE"), DATA, END], "its palette"),
        ([HEADER[3], chunk(b"PLTE", bytes(4)), DATA, END], "its palette"),
        ([HEADER[3], chunk(b"PLTE", bytes(771)), DATA, END], "its palette"),
        ([HEADER[3], PALETTE, PALETTE, DATA, END], "its palette"),
        ([HEADER[3], DATA, PALETTE, END], "its palette"),
        ([HEADER[0], PALETTE, DATA, END], "its palette"),
        ([HEADER[0], DATA, chunk(b"tIME", bytes(7)), DATA, END], "between its pixels"),
        ([HEADER[0], chunk(b"ABCD"), DATA, END], "not supported"),
        ([HEADER[0], chunk(b"a1CD"), DATA, END], "without a name"),
        ([HEADER[0], DATA, END[:-1]], "cut short"),
        ([HEADER[0], DATA, END[:-1] + b"!"], "checksum"),
    ],
)
def test_chunks_out_of_place(parts: list[bytes], reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        parse_png(PNG_SIGNATURE + b"".join(parts))


def test_pixels_that_so_few_data_cannot_be() -> None:
    """Nothing is allocated for them."""
    parsed = parse_png(make(1 << 30, 1 << 30, 6, zlib.compress(bytes(5)), depth=16))
    with pytest.raises(ImageError, match="before its last pixel"):
        read_pixels(parsed)


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


@pytest.mark.parametrize("band", [1, 700, 1 << 20])
@pytest.mark.parametrize("mode", ["I;16", "LA;16", "RGB;16", "RGBA;16"])
def test_writing_16_bits(mode: str, band: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read back, whatever the filters, and these make it small."""
    monkeypatch.setattr(png, "BAND_BYTES", band)
    samples = {"I;16": 1, "LA;16": 2, "RGB;16": 3, "RGBA;16": 4}[mode]
    y, x = np.mgrid[:60, :50]
    pixels = np.dstack([(x * x * 9 + k * y * 300) % 65536 for k in range(samples)]).astype(np.uint16)
    pixels[:20] += np.random.default_rng(0).integers(0, 3000, pixels[:20].shape, dtype=np.uint16)
    pixels = pixels[:, :, 0] if samples == 1 else pixels
    data = write_pixels(mode, pixels, b"")
    parsed = parse_png(data)
    assert parsed.mode == mode
    np.testing.assert_array_equal(read_pixels(parsed), pixels)
    rows = zlib.decompress(b"".join(parsed.data))
    assert len(set(rows[:: 1 + 100 * samples])) > 2
    assert len(data) < 0.6 * pixels.nbytes
    if mode == "I;16":
        np.testing.assert_array_equal(by_pillow(data), pixels)


def test_modes_that_pillow_writes_whole() -> None:
    assert not any(map(can_write, ("1", "P", "CMYK")))
