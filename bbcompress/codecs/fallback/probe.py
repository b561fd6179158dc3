"""A quick look at an image, which says whether the whole fallback can be worth its time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bbcompress.codecs.fallback.codecs import WEBP_SIDE, encode_webp
from bbcompress.images.image import PixelImage

PROBE_MARGIN = 1.07
"""What the probe finds, less the repeated share, is at most so many times the whole fallback; measured by
benchmarks/fallback_probe.py."""

SIMPLE_BITS = 1.5
"""Below so many bits a pixel, as drawings and plain gradients have, a probe says too little: all is tried."""

PROBE_QUALITY = 30
"""WebP's effort in a probe; from 26 on it finds what a screenshot repeats nearby."""

PROBE_PIXELS = 1 << 22
PROBE_BANDS = 16
"""Of larger images so many bands, with so many pixels in all, are probed."""


@dataclass(frozen=True)
class Probe:
    """What a quick look says of an image.

    size: about the bytes of a WebP made with little effort. repeated: share of the pixels that begin a row of 8, not
    all of them alike, which stands elsewhere in the image too: what only more effort finds.
    """

    size: float
    repeated: float
    pixels: int

    @property
    def least(self) -> float:
        """The fewest bytes that the whole fallback may take."""
        simple = 8 * self.size < SIMPLE_BITS * self.pixels
        return 0 if simple else self.size * (1 - self.repeated) / PROBE_MARGIN


def least_size(image: PixelImage) -> float:
    """The fewest bytes that :func:`encode_item` may take, found in a fraction of its time; 0 where nothing is known."""
    probed = probe(image)
    return 0 if probed is None else probed.least


def may_be_smaller(image: PixelImage, size: int) -> bool:
    """Whether :func:`encode_item` may take fewer bytes than `size`. If not, it does not."""
    return least_size(image) < size


def probe(image: PixelImage) -> Probe | None:
    """A quick look at an image; None where WebP, which looks, cannot hold it."""
    pixels = image.width * image.height
    width = min(image.width, WEBP_SIDE)
    if pixels <= PROBE_PIXELS:
        starts, rows = [0], image.height
    else:
        rows = max(1, PROBE_PIXELS // (PROBE_BANDS * image.width))
        bands = min(PROBE_BANDS, image.height // rows)
        starts = [number * (image.height - rows) // (bands - 1) for number in range(bands)] if bands > 1 else [0]
    size, looked, windows = 0, 0, []
    for start in starts:
        for top in range(start, start + rows, WEBP_SIDE):
            band = replace(image, pixels=image.pixels[top : min(top + WEBP_SIDE, start + rows), :width])
            try:
                size += len(encode_webp(band, PROBE_QUALITY))
            except (OSError, ValueError):
                return None
            looked += band.width * band.height
            windows.append(_windows(band.pixels))
    found = np.sort(np.concatenate(windows))
    repeated = float(np.count_nonzero(found[1:] == found[:-1]) / looked)
    return Probe(size * pixels / looked, repeated, pixels)


def _windows(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """A hash of every row of 8 pixels that are not all alike."""
    hashed: npt.NDArray[np.uint64] = np.zeros((len(pixels), pixels.shape[1]), np.uint64)
    for sample in pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1):
        hashed = hashed << np.uint64(8) | sample
    alike = np.ones((len(hashed), max(0, hashed.shape[1] - 7)), np.bool_)
    for place in range(1, 8):
        alike &= hashed[:, place : place + alike.shape[1]] == hashed[:, : alike.shape[1]]
    for reach in (1, 2, 4):
        hashed ^= hashed >> np.uint64(29)
        hashed *= np.uint64(0x9E3779B97F4A7C15)
        hashed = hashed[:, :-reach] * np.uint64(0xD6E8FEB86659FD93) + (
            hashed[:, reach:] ^ hashed[:, reach:] >> np.uint64(32)
        )
    return hashed[~alike]
