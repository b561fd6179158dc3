"""PPM and PGM: the samples that Pillow would scale with rounding or cut to 8 bits, and a writer."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from bbcompress.errors import ImageError

Pixels = npt.NDArray[Any]

_TOKEN = re.compile(rb"(?:\s|#[^\r\n]*)*([^\s#]+)")
_COLOUR = {b"P3", b"P6"}
_WITHOUT_MAXIMUM = {b"P1", b"P4", b"Pf"}


def check_samples(data: bytes) -> bool:
    """Whether it is colour of 16 bits, which :func:`read_colour` reads.

    ImageError where Pillow would scale the samples with rounding.
    """
    kind, _, _, maximum, _ = _header(data)
    if kind in _WITHOUT_MAXIMUM:
        return False
    full = 255 if maximum <= 255 else 65535
    if maximum < 1 or full % maximum:
        raise ImageError(f"counts its samples up to {maximum}, which is not supported")
    return kind in _COLOUR and full > 255


def read_colour(data: bytes) -> Pixels:
    """The pixels (height, width, 3), uint16, of what :func:`check_samples` says is colour of 16 bits.

    ImageError for damage. The caller has checked the size.
    """
    kind, width, height, maximum, start = _header(data)
    count = width * height * 3
    if kind == b"P6":
        samples = data[start + 1 : start + 1 + 2 * count]
        if len(samples) < 2 * count:
            raise ImageError("is cut short")
        pixels = np.frombuffer(samples, ">u2").astype(np.uint16)
    else:
        numbers = re.sub(rb"#[^\r\n]*", b"", data[start:]).split(None, count)[:count]
        if len(numbers) < count or any(not number.isdigit() or len(number) > 5 for number in numbers):
            raise ImageError("is cut short or damaged")
        wide = np.array(numbers, np.uint32)
        if wide.max() > maximum:
            raise ImageError(f"has samples above {maximum}")
        pixels = wide.astype(np.uint16)
    if pixels.max() > maximum:
        raise ImageError(f"has samples above {maximum}")
    return (pixels * np.uint16(65535 // maximum)).reshape(height, width, 3)


def write(pixels: Pixels) -> bytes:
    """A PBM, PGM or PPM: of bool (height, width), of uint8 or uint16 (height, width) or (height, width, 3)."""
    height, width = pixels.shape[:2]
    if pixels.dtype == np.bool_:
        return b"P4\n%d %d\n" % (width, height) + np.packbits(~pixels, axis=1).tobytes()
    start = b"P%d\n%d %d\n%d\n" % (5 if pixels.ndim == 2 else 6, width, height, np.iinfo(pixels.dtype).max)
    return start + pixels.astype(pixels.dtype.newbyteorder(">"), copy=False).tobytes()


def _header(data: bytes) -> tuple[bytes, int, int, int, int]:
    """The kind, width, height, largest sample (0 where there is none), and where the header ends."""
    tokens: list[bytes] = []
    place = 0
    while len(tokens) < (3 if tokens and tokens[0] in _WITHOUT_MAXIMUM else 4):
        match = _TOKEN.match(data, place, place + 65536)
        if match is None:
            raise ImageError("is cut short")
        tokens.append(match[1])
        place = match.end()
    if any(not token.isdigit() or len(token) > 18 for token in tokens[1:]):
        raise ImageError("is damaged: its header has something that is no number")
    numbers = [int(token) for token in tokens[1:]]
    return tokens[0], numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else 0, place
