"""Samples of 16 bits, each coded by what its neighbours predict: the codec `deep` of the fallback. See docs/format.md.

Samples are coded as ranks among the levels that occur, or can occur, in their channel: scanners and detectors use few
of the 65536 levels, and files that were scaled leave gaps between them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from bbcompress.codecs.fallback.deep_kernels import MISSING, NEIGHBOURS, code
from bbcompress.errors import FormatError
from bbcompress.exact.arithmetic import exact_arithmetic
from bbcompress.exact.distributions import PRECISION
from bbcompress.exact.tables import LOG2_BITS, LOGIT_LIMIT, SIGMOID_BITS, code_length, table
from bbcompress.images.image import MODES, PixelImage, samples_of
from bbcompress.wire import ByteReader, pack, unpack, varint

NumpyArray = np.ndarray[Any, Any]

MAX_WIDTH = 1 << 14
"""Most pixels in a row: each takes a few kilobytes of memory."""

LEAST_SAMPLES = 256
"""Images of fewer are not worth loading the compiled loop."""

_ALL, _LISTED = range(2)
_LEVEL_BYTES = 3
"""Most bytes of a level in a list: a varint of at most 65535."""
_AROUND = 32
"""Levels on each side by which it is told how densely levels are used."""


def encode_deep(start: bytes, image: PixelImage) -> bytes:
    """The item of an image, behind the two bytes that it begins with. ValueError where there can be none."""
    if not image.mode.endswith(";16") or not image.plain:
        raise ValueError("the samples have 8 bits, or there is a transparency")
    if image.width > MAX_WIDTH or image.samples < LEAST_SAMPLES:
        raise ValueError("the image is too wide, or too small")
    planes = image.pixels.reshape(image.height, image.width, -1).transpose(2, 0, 1)
    parts = [start, varint(image.width), varint(image.height)]
    ranks, tops, means = np.empty(planes.shape, np.uint16), [], []
    for plane, its_ranks in zip(planes, ranks, strict=True):
        levels, used = _levels(plane)
        parts.append(used)
        if len(levels) == levels[-1] - levels[0] + 1:
            np.subtract(plane, plane.dtype.type(levels[0]), out=its_ranks)
        else:
            its_ranks[:] = np.searchsorted(levels, plane)
        tops.append(len(levels) - 1)
        means.append(int(its_ranks.sum()) // plane.size)
        parts.append(varint(means[-1]))
    data = np.zeros(3 * image.samples + 64, np.uint8)
    with exact_arithmetic():
        size = code(ranks, np.array(tops), np.array(means), data, 1, NEIGHBOURS, *_tables())
    if size > data.size:
        raise ValueError("the samples become larger")
    coded = data[:size].tobytes()
    return b"".join([*parts, coded[:-MISSING], coded[-MISSING:].rstrip(b"\0")])


def decode_deep(reader: ByteReader, mode: str, transparent: bool, size: tuple[int, int]) -> PixelImage:
    """The image of what follows its size, which was checked. Raises FormatError."""
    width, height = size
    if not mode.endswith(";16") or transparent or width > MAX_WIDTH or not width * height:
        raise FormatError(f"a stored image of mode {mode} and {width}x{height} pixels is not coded by its neighbours")
    levels, means = [], []
    for _ in range(samples_of(mode)):
        levels.append(_read_levels(reader))
        means.append(reader.varint(len(levels[-1]) - 1, "the mean of a channel"))
    data = np.frombuffer(reader.rest(), np.uint8)
    ranks = np.zeros((len(levels), height, width), np.uint16)
    tops = np.array([len(its) - 1 for its in levels])
    with exact_arithmetic():
        read = code(ranks, tops, np.array(means), data.copy(), 0, NEIGHBOURS, *_tables())
    missing = read - data.size
    if not 0 <= missing <= MISSING or (missing < MISSING and not data[-1]):
        raise FormatError("the samples of a stored image end too early, or too late")
    pixels = np.empty((height, width, len(levels)), MODES[mode][0])
    for channel, its in enumerate(levels):
        pixels[:, :, channel] = its.astype(pixels.dtype)[ranks[channel]]
    return PixelImage(mode, pixels if len(levels) > 1 else pixels[:, :, 0])


def _levels(plane: NumpyArray) -> tuple[NumpyArray, bytes]:
    """The levels of a channel, in order, and their bytes: those that occur, where a list of them is worth its bytes, or
    all from the lowest to the highest."""
    used = np.unique(plane).astype(np.int64)
    low, high = int(used[0]), int(used[-1])
    span = high - low + 1
    every = np.arange(low, high + 1)
    of_all = bytes([_ALL]) + varint(low) + varint(high - low)
    if len(used) == span:
        return every, of_all
    listed = pack(b"".join(map(varint, [low, *(np.diff(used) - 1).tolist()])))
    of_used = bytes([_LISTED]) + varint(len(used) - 1) + varint(len(listed)) + listed
    counts = np.bincount(plane.ravel(), minlength=high + 1)[low:]
    sums = np.pad((counts > 0).astype(np.int64), (_AROUND + 1, _AROUND)).cumsum()
    width = 2 * _AROUND + 1
    around = (sums[width:] - sums[:-width])[counts > 0]
    bits = code_length(around, PRECISION) - int(code_length(np.array(width), PRECISION))  # -log2 of the share in use
    gain = int((counts[counts > 0] * bits).sum()) >> LOG2_BITS
    return (used, of_used) if gain > 8 * len(of_used) else (every, of_all)


def _read_levels(reader: ByteReader) -> NumpyArray:
    """The levels of a channel, in order. Raises FormatError."""
    form = reader.byte()
    if form == _ALL:
        low = reader.varint(65535, "the lowest level")
        return np.arange(low, low + reader.varint(65535 - low, "the number of levels") + 1)
    if form != _LISTED:
        raise FormatError("a stored image lists its levels in a form that this version does not know")
    count = reader.varint(65535, "the number of levels") + 1
    packed = reader.take(reader.varint(reader.remaining, "the length of the levels"))
    listed = ByteReader(unpack(packed, _LEVEL_BYTES * count), "a list of levels")
    steps = [listed.varint(65535, "a level") for _ in range(count)]
    listed.finish()
    levels = np.cumsum(np.array(steps) + 1) - 1
    if levels[-1] > 65535:
        raise FormatError("a stored image has levels above 65535")
    return levels


@cache
def _tables() -> tuple[NumpyArray, NumpyArray]:
    """The logistic function at -16, -16 + 2^-10, ..., 16; its inverse at (2 i + 1) / 2^17."""
    sigmoid = table("sigmoid")
    middles = (2 * np.arange(1 << 16) + 1) << (SIGMOID_BITS - 17)
    inverse = np.searchsorted(sigmoid, middles) - LOGIT_LIMIT
    return np.ldexp(sigmoid.astype(np.float64), -SIGMOID_BITS), np.ldexp(inverse.astype(np.float64), -10)
