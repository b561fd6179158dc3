"""What the messages of a group spend on each pixel of its images, found while they are decoded.

A pixel that is decoded with probability p takes -log2 p bits, whatever the lanes do. A z that is decoded takes its
prior's bits, less those that it gives back where it is drawn from q(z|x). What a message has beside these is the check
that it begins with, its lanes, and the rounding of the coder: a reader needs them for no pixel in particular.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bbcompress.archive.group import Group
from bbcompress.exact.tables import LOG2_BITS, IntArray
from bbcompress.models.base import PixelLengths
from bbcompress.models.strips import Canvas, Strips

NumpyArray = np.ndarray[Any, Any]

CHECK_BITS = 31
"""Of the hash of pixels and context, in each lane of a message."""

_UNIT = 1.0 / (1 << LOG2_BITS)


class CanvasCosts:
    """Bits of each pixel of a canvas: `pixels` by p(x|z), and `latents`, those of its tile's z spread evenly."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self.pixels, self.latents = np.zeros((2, len(canvas.flat) // canvas.channels), np.float32)

    def add(self, found: PixelLengths, row_bits: NumpyArray) -> None:
        """Pixels that are decoded. row_bits: that the z of each of their tiles takes, float64 (rows,)."""
        places = found.indices // self._canvas.channels
        self.pixels[places] = found.lengths * _UNIT
        counts = np.bincount(found.rows, minlength=len(row_bits))
        self.latents[places] = (row_bits / np.maximum(counts, 1))[found.rows]

    def of_image(self, number: int) -> tuple[NumpyArray, NumpyArray]:
        """Both of an image, (H, W)."""
        return self._canvas.part(self.pixels, number), self._canvas.part(self.latents, number)


@dataclass(frozen=True)
class ImageCosts:
    """Bits that each pixel of an image takes, float32 (H, W), by p(x|z) and for its z."""

    pixels: NumpyArray
    latents: NumpyArray

    @classmethod
    def unknown(cls, height: int, width: int) -> ImageCosts:
        """Of an image that is not decoded yet."""
        return cls(*np.zeros((2, height, width), np.float32))

    @property
    def pixel_bits(self) -> float:
        """Of all pixels, by p(x|z)."""
        return float(self.pixels.sum(dtype=np.float64))

    @property
    def latent_bits(self) -> float:
        """Of all z, less the bits that they give back."""
        return float(self.latents.sum(dtype=np.float64))


@dataclass
class GroupCosts:
    """What a group's messages spend, filled in by the decoder that gets it.

    Attributes:
        images: of each image; empty where they are stored without a model, or coded in parts.
        message_bytes, lanes: of all messages together, of which there are `messages`.
        symbols: sub-pixels and latents of all of them.
        parts: of images in parts, what each group of these spends.
    """

    images: list[ImageCosts] = field(default_factory=list)
    messages: int = 0
    message_bytes: int = 0
    lanes: int = 0
    symbols: int = 0
    parts: list[PartCosts] = field(default_factory=list)

    def begin(self, sizes: Sequence[tuple[int, int]], messages: Sequence[tuple[int, int]], symbols: int) -> None:
        """The images of sizes (height, width) are to be decoded, from messages of so many lanes and bytes each."""
        self.images = [ImageCosts.unknown(height, width) for height, width in sizes]
        self.lanes, self.message_bytes = (sum(numbers) for numbers in zip(*messages, strict=True))
        self.messages, self.symbols = len(messages), symbols

    def take_canvas(self, found: CanvasCosts, x: Strips, latents: int, lanes: int, message_bytes: int) -> None:
        """All images of a canvas x, which were decoded from one message by a model of so many latents."""
        canvas = x.canvas
        symbols = x.pixel_count * canvas.channels + 2 * x.row_count * latents
        self.begin(list(zip(canvas.heights, canvas.widths, strict=True)), [(lanes, message_bytes)], symbols)
        self.images = [ImageCosts(*map(np.array, found.of_image(number))) for number in range(canvas.count)]

    @property
    def bits(self) -> float:
        """Of all pixels and z."""
        return sum(image.pixel_bits + image.latent_bits for image in self.images)

    @property
    def overhead_bits(self) -> float:
        """What the messages take beside that: their checks, lanes and rounding."""
        return 8 * self.message_bytes - self.bits

    @property
    def stated_overhead(self) -> tuple[float, float]:
        """The least and the most that this is by the format: in each lane 31 bits of the check and less than one beside
        it, 5 bits for the length of each lane's state and less than one that is lost there, less than a byte that fills
        each message up; and what the coder wastes, 1e-5 bits a symbol in the mean."""
        least = CHECK_BITS * self.lanes
        return least, least + 7 * self.lanes + 8 * self.messages + 1e-5 * self.symbols


@dataclass(frozen=True)
class PartCosts:
    """What a group spends that holds a part of some images: the part's number, such as 0 for colours, the group, and
    the positions of the images."""

    number: int
    group: Group
    positions: Sequence[int]
    costs: GroupCosts


def bits_by_image(group: Group, costs: GroupCosts) -> NumpyArray:
    """Bits that each image of a group takes alone, float64 (images,): of its pixels and z, or of its item."""
    if group.header.fallback:
        return np.array([8.0 * len(item) for item in group.items])
    if group.header.parts is None:
        return np.array([image.pixel_bits + image.latent_bits for image in costs.images])
    bits = np.zeros(group.header.count)
    for part in costs.parts:
        bits[np.asarray(part.positions, np.int64)] += bits_by_image(part.group, part.costs)
    return bits


def row_bits(lengths: IntArray) -> NumpyArray:
    """Bits of each row, from lengths (rows, N) in units of 2^-30 bits."""
    bits: NumpyArray = lengths.sum(axis=1) * _UNIT
    return bits
