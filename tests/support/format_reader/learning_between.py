"""Section "Learning between batches" of docs/format.md."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .checkpoint import Checkpoint
from .header import Learning
from .message import Images, Tile
from .networks import Layer
from .primitives import check

Array = npt.NDArray[Any]
WEIGHT_LIMIT, BIAS_LIMIT, LIMIT = 2**31 - 1, 2**52, 2**53 - 2**40


def fits(layer: Layer, inputs_limit: int) -> bool:
    """Learning between batches: a step: whether a layer takes these integers. Python's integers do not overflow."""
    magnitude, bias = np.abs(layer.weight).astype(object), np.abs(layer.bias).astype(object)
    rows = magnitude.reshape(len(magnitude), -1).sum(axis=1)
    columns = magnitude.sum(axis=0).reshape(magnitude.shape[1], -1).sum(axis=1)
    return bool(inputs_limit * rows.max() + bias.max() <= LIMIT and 2**30 * columns.max() <= LIMIT)


def rounds(layer: Layer) -> bool:
    """Learning between batches: a step: whether its shifts are those of a model that learns."""
    shifts = layer.in_bits + layer.weight_bits - layer.out_bits
    return layer.weight_bits >= 1 and bool((shifts >= 1).all() and (shifts <= 40).all())


class Master:
    """Learning: what learns, here weights or biases of a layer."""

    def __init__(self, integers: Array, bits: int, gradient_bits: int, limit: int) -> None:
        self.bits, self.gradient_bits, self.limit = bits, gradient_bits, limit
        self.p = integers * 2.0**-bits
        self.m, self.v = np.zeros(integers.shape), np.zeros(integers.shape)

    def step(self, gradient: Array, a: float, c: float, s: float) -> Array:
        """Learning: a step."""
        g = (gradient * s) * 2.0**-self.gradient_bits
        self.m = self.m * 0.9 + g * (1 - 0.9)
        self.m[np.abs(self.m) < 2.0**-100] = 0
        self.v = self.v * 0.999 + (g * g) * (1 - 0.999)
        self.p = self.p - (self.m * a) / (np.sqrt(self.v * c) + 1e-8)
        return np.clip(np.floor(self.p * 2.0**self.bits + 0.5), -self.limit, self.limit).astype(np.int64)


class LearningBetween:
    """A model whose decoder learns; its layers are the message's own."""

    def __init__(self, model: Any, checkpoint: Checkpoint, learning: Learning) -> None:
        settings = checkpoint.settings
        check(checkpoint.architecture in ("mlp", "resnet"), "a model that does not learn between batches")
        places = settings["tile"] ** 2 // 4 if checkpoint.architecture == "resnet" else 1
        check(learning.unit * places <= 2**13, "a unit that is too large")
        self.learning, self.model = learning, model
        model.decoder = [replace(layer) for layer in checkpoint.networks["decoder"]]
        self.limits = [2**20] + [layer.limit for layer in model.decoder]
        check(all(map(rounds, model.decoder)), "a model that does not learn")
        check(all(map(fits, model.decoder, self.limits)), "a model that does not learn")
        self.masters = [
            (
                Master(layer.weight, layer.weight_bits, 20 + layer.in_bits, WEIGHT_LIMIT),
                Master(layer.bias, layer.in_bits + layer.weight_bits, 20, BIAS_LIMIT),
            )
            for layer in model.decoder
        ]
        self.p1 = self.p2 = 1.0

    def learn(self, x: Images, tiles: list[Tile]) -> None:
        """Learning between batches: steps of a batch."""
        mu, _ = self.model.encode(x, tiles)
        for first in range(0, len(tiles), self.learning.unit):
            rows = slice(first, first + self.learning.unit)
            z = np.clip(mu[rows], -(2**20), 2**20)
            self.step(self.model.weight_gradients(x, tiles[rows], z), len(z))

    def step(self, gradients: list[tuple[Array, Array]], n: int) -> None:
        """Learning between batches: a step."""
        self.p1, self.p2 = self.p1 * 0.9, self.p2 * 0.999
        a, c, s = (self.learning.rate * 1e-6) / (1 - self.p1), 1 / (1 - self.p2), 1 / n
        layers = self.model.decoder
        for number, (masters, by) in enumerate(zip(self.masters, gradients, strict=True)):
            weight, bias = (master.step(gradient, a, c, s) for master, gradient in zip(masters, by, strict=True))
            new = replace(layers[number], weight=weight, bias=bias)
            if fits(new, self.limits[number]):
                layers[number] = new
