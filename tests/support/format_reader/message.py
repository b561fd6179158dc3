"""Section "The message" of docs/format.md: bits-back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .checkpoint import Checkpoint
from .coder import Message
from .distributions import push_posterior
from .networks import rounded_shift
from .primitives import check
from .refinement import refine
from .tables import medians

Array = npt.NDArray[Any]


@dataclass
class Tile:
    """The message: a tile of an image (or block), of an MLP model all of the image; all numbers are of pixels."""

    image: int
    y: int
    x: int
    height: int
    width: int


Images = Sequence[Array]
"""Of each image (or block) its levels, (height, width, channels)."""


class Model(Protocol):
    """What an architecture says of tiles of images."""

    def pop_pixels(self, message: Message, x: Images, tiles: list[Tile], z: Array) -> None:
        """Pop the tiles' pixels from p(x|z) into x; z (tiles, latents) in units of 2^-16."""

    def encode(self, x: Images, tiles: list[Tile]) -> tuple[Array, Array]:
        """What the encoder gives: mu in units of 2^-16, rho in units of 2^-10, (tiles, latents)."""

    def gradient(self, x: Images, tiles: list[Tile], z: Array, step: int) -> Array:
        """The gradient of -ln p(x|z) by z in step k, in units of 2^-20."""


@dataclass
class Coding:
    """The message: what its header says."""

    lanes: int
    direct: int
    batches: list[int]
    steps: int
    rate: int
    together: bool = False
    learn: Callable[[Images, list[Tile]], None] | None = None


Begin = Callable[[], tuple[Model, Callable[[Images, list[Tile]], None] | None]]
"""The model as a message begins with it, and how it learns from a batch, if it does."""


def read_message(data: bytes, coding: Coding, checkpoint: Checkpoint, model: Model, x: Images, checked: bytes) -> None:
    """The message: pop all strips into x, of zeros, and check what is left of the message."""
    message = Message(data, coding.lanes)
    units = strips(x, checkpoint)
    check(coding.direct + sum(coding.batches) == len(units), "the number of strips")
    ends = list(accumulate([coding.direct, *coding.batches]))
    for first, end in list(pairwise(ends))[::-1]:
        tiles = [tile for unit in units[first:end] for tile in unit]
        pop_batch(message, coding, checkpoint.settings, model, x, tiles)
        if coding.learn is not None:
            coding.learn(x, tiles)
    directly = units[: coding.direct]
    if coding.together and directly:
        directly = [[tile for unit in directly for tile in unit]]
    for tiles in directly[::-1]:
        pop_direct(message, checkpoint.settings, model, x, tiles)
    check(not message.words, "words that are left")
    pixels = b"".join(image.astype(np.uint8).tobytes() for image in x)
    numbers = np.frombuffer(hashlib.shake_128(checkpoint.id + checked + pixels).digest(4 * coding.lanes), "<u4")
    check(message.heads == [2**31 + int(number) % 2**31 for number in numbers], "the heads that are left")


def strips(x: Images, checkpoint: Checkpoint) -> list[list[Tile]]:
    """The message: the strips in the order in which they were pushed, each the tiles from left to right."""
    units = []
    for image, pixels in enumerate(x):
        height, width, _ = pixels.shape
        side = checkpoint.settings.get("tile", max(height, width))
        for y in reversed(range(0, height, side)):
            row = [
                Tile(image, y, left, min(side, height - y), min(side, width - left)) for left in range(0, width, side)
            ]
            units.append(row)
    return units


def pop_batch(
    message: Message, coding: Coding, settings: dict[str, Any], model: Model, x: Images, tiles: list[Tile]
) -> None:
    """The message: a batch."""
    latents, bits = len(settings["direct_bits"]), settings["prior_bits"]
    bins = np.array([message.pop_uniform(i % coding.lanes, bits) for i in range(len(tiles) * latents)])
    model.pop_pixels(message, x, tiles, latent_inputs(bins.reshape(-1, latents), bits))
    mu, rho = model.encode(x, tiles)
    mu, sigma = refine(mu, rho, coding.steps, coding.rate, lambda z, step: model.gradient(x, tiles, z, step))
    push_posterior(message, mu.ravel(), sigma.ravel(), bins, bits)


def pop_direct(message: Message, settings: dict[str, Any], model: Model, x: Images, tiles: list[Tile]) -> None:
    """The message: a direct unit."""
    bits = np.tile(settings["direct_bits"], len(tiles))
    bins = np.array([message.pop_bin(i % len(message.heads), int(b)) for i, b in enumerate(bits)])
    model.pop_pixels(message, x, tiles, latent_inputs(bins, bits).reshape(len(tiles), -1))


def latent_inputs(bins: Array, bits: Array | int) -> Array:
    """The message: the decoder's inputs, of the bins' medians."""
    return rounded_shift(medians(bins, bits), 8)
