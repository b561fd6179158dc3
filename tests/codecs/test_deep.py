"""Samples of 16 bits coded by their neighbours: the same samples back, whatever they are; size; damage."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from bbcompress.codecs.fallback import deep, deep_kernels, items
from bbcompress.codecs.fallback.codecs import CODECS, DEEP, encode_png, encode_raw
from bbcompress.codecs.fallback.items import decode_item, encode_item, item_codec, item_size
from bbcompress.errors import FormatError
from bbcompress.images.image import PixelImage, from_array
from bbcompress.wire import pack, varint

MODES = {"I;16": 1, "LA;16": 2, "RGB;16": 3, "RGBA;16": 4}


def scan(height: int = 48, width: int = 40, samples: int = 1, depth: int = 4095) -> Any:
    """A smooth picture with noise."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(2).normal(0, 9, (height, width, samples))
    waves = [np.sin(y / (7 + n)) * np.cos(x / 9) + np.hypot(y, x) / 60 for n in range(samples)]
    pixels = (depth * (np.dstack(waves) + 1) / 4 + noise).clip(0, depth).astype(np.uint16)
    return pixels if samples > 1 else pixels[:, :, 0]


def coded(image: PixelImage) -> bytes:
    """The item, which gives the image again."""
    item = CODECS[DEEP].encode(image)
    assert item_size(item) == image.size
    assert item_codec(item) == "deep"
    assert decode_item(item) == image
    return item


@pytest.mark.parametrize("mode", MODES)
def test_smaller_than_what_else_there_is(mode: str) -> None:
    image = PixelImage(mode, scan(samples=MODES[mode]))
    item = encode_item(image)
    assert item == coded(image)
    assert len(item) < 0.9 * min(len(encode_png(image)), len(items._encode_bytes(image)))


@pytest.mark.parametrize("shape", [(256, 1), (1, 256), (2, 128), (130, 2), (17, 19, 4), (16, 16, 2)])
def test_any_samples_come_back(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    for pixels in (
        random.integers(0, 65536, shape),
        random.choice([0, 1, 65534, 65535], shape),
        random.integers(0, 9, shape) * 7000,
        np.zeros(shape),
        np.full(shape, 65535),
        np.cumsum(np.ones(shape), axis=1) * 60000 % 65536,
        np.where(random.random(shape) < 0.01, 65535, 3),
    ):
        coded(from_array(pixels.astype(np.uint16)))


def test_levels_that_do_not_occur_cost_nothing() -> None:
    """But for a list of them, which is short where they are regular."""
    narrow = scan(depth=900)
    size = len(coded(from_array(narrow)))
    levels = np.sort(np.random.default_rng(3).choice(65536, 901, replace=False)).astype(np.uint16)
    for stretched, list_size in ((narrow * 16 + 5, 150), (narrow * 60, 150), (levels[narrow], 1000)):
        assert len(coded(from_array(stretched))) < size + list_size


def test_values_that_come_again_cost_little() -> None:
    blocks = np.random.default_rng(4).integers(0, 60000, (24, 20)).repeat(2, 0).repeat(2, 1).astype(np.uint16)
    assert len(coded(from_array(blocks))) < 0.4 * 2 * 48 * 40
    assert len(coded(from_array(np.where(scan() > 2500, scan(), 0).astype(np.uint16)))) < len(coded(from_array(scan())))


def test_what_is_not_coded() -> None:
    for image in (
        from_array(scan(9, 9)),
        PixelImage("I;16", scan(), transparency=b"\0\1"),
        from_array(scan().astype(np.uint8)),
        from_array(np.zeros((1, deep.MAX_WIDTH + 1), np.uint16)),
    ):
        with pytest.raises(ValueError, match="the "):
            CODECS[DEEP].encode(image)
        assert decode_item(encode_item(image)) == image
    noise = from_array(np.random.default_rng(0).integers(0, 65536, (60, 60), dtype=np.uint16))
    assert len(encode_item(noise)) == len(encode_raw(noise)) < len(coded(noise)) < 1.02 * len(encode_raw(noise))


def test_an_end_that_is_too_early_or_too_late_is_damage() -> None:
    """Of the last four bytes only the checksum of the file tells: without them it may be another image."""
    item = coded(from_array(scan(20, 18)))
    for end in range(len(item) - 4):
        with pytest.raises(FormatError):
            decode_item(item[:end])
    for more in (b"\0", bytes(9)):
        with pytest.raises(FormatError):
            decode_item(item + more)


START = bytes([DEEP, 6]) + varint(20) + varint(18)


@pytest.mark.parametrize(
    "data",
    [
        START + b"\2",
        START + b"\0" + varint(65535) + b"\1\0",
        START + b"\0\0\3\4",
        START + b"\1\3" + (lambda packed: varint(len(packed)) + packed)(pack(b"\0\0\0")) + b"\0",
        START + b"\1\1" + (lambda packed: varint(len(packed)) + packed)(pack(varint(65535) + b"\0")) + b"\0",
        bytes([DEEP, 1]) + START[2:] + b"\0\0\0\0",
        bytes([DEEP, 0x86]) + START[2:] + b"\0\0\0\0",
        bytes([DEEP, 6]) + varint(deep.MAX_WIDTH + 1) + b"\1\0\0\0\0",
        bytes([DEEP, 6]) + varint(0) + b"\1\0\0\0\0",
        bytes([DEEP, 6]) + varint(1 << 13) + varint(1 << 13) + b"\0\0\0\0",
    ],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode_item(data)


def test_one_level_takes_no_bits() -> None:
    assert decode_item(START + b"\0\7\0\0") == from_array(np.full((18, 20), 7, np.uint16))
    with pytest.raises(FormatError, match="stored image"):
        decode_item(START + b"\0\7\0\0\1")


def test_sums_are_exact_at_the_largest_values() -> None:
    """Of a box that slides over rows of the largest values there are, and which is empty again behind them."""
    reach, size, width = deep_kernels.FIRST_REACH, deep_kernels.FIRST + 1, 30
    largest = (1 << 16) - 1
    signs = np.where(np.random.default_rng(0).random((reach + 1, size)) < 0.5, -1, 1)
    rows = np.repeat((signs * largest)[:, None], width, 1)
    columns, box = np.zeros((width, size, size), np.int64), np.zeros((size, size), np.int64)
    for row in rows[:-1]:
        for x in range(width):
            deep_kernels.add(columns[x], row[x], 1, size)
    for x in range(reach):
        deep_kernels.add_sums(box, columns[x], 1, size)
    for x in range(20):
        deep_kernels.slide(box, columns, rows[-1], x, reach, size)
    exact = sum(np.outer(sign, sign).astype(object) for sign in signs[:-1]) * (2 * reach + 1)
    exact = (exact + np.outer(signs[-1], signs[-1]).astype(object) * reach) * largest**2
    assert box.tolist() == np.tril(exact).tolist()
    samples = (2 * reach + 1) * (reach + 1)  # a row more than the box has, which a column has for a moment
    assert box[0, 0] < samples * largest**2 < 1 << 39
    assert largest**2 / (1 - 0.998) < 1 << 41


@pytest.mark.parametrize("values", [1, 2, 60])
@pytest.mark.parametrize("largest", [0, 1, 65535])
def test_least_squares_always_have_an_answer(values: int, largest: int) -> None:
    """Where the sums are those of fewer samples than there are weights, or of one again and again."""
    size = deep_kernels.THIRD + 3
    random = np.random.default_rng(values)
    samples = random.choice([-largest, largest], (values, size + 1)).repeat(84 // values, 0)
    sums = samples.T @ samples
    for share, least, kind in ((0.002, 2.0, np.int64), (0.001, 1.0, np.float64)):
        weights = np.full(size, np.nan)  # which would stay where there is none
        deep_kernels.fit(sums.astype(kind), size, share, least, np.zeros((size, size)), np.zeros(size), weights)
        assert (np.abs(weights) <= 2).all()


def test_a_reader_takes_little_memory_for_each_sample() -> None:
    """An item of a few bytes may speak of 2^24 pixels."""
    item = bytes([DEEP, 6]) + varint(1 << 11) + varint(1 << 11) + b"\0\7\0\0"
    tracemalloc.start()
    try:
        assert (decode_item(item).pixels == 7).all()
        assert tracemalloc.get_traced_memory()[1] < 14 * (1 << 22)
    finally:
        tracemalloc.stop()
