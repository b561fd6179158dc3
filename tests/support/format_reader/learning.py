"""Section "Learning" of docs/format.md: local models that learn from the images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .blocks import LONGEST, cuts
from .checkpoint import Checkpoint
from .coder import Message
from .distributions import Bernoulli, mixture_gradient
from .header import Learning
from .lattices import Colours, read_colours
from .local import Local
from .message import Coding, Images, Tile, read_message
from .networks import GRADIENT_LIMIT, Layer, clamp, forward, rounded_shift
from .primitives import Cursor, check, varint
from .several_sizes import read_sizes

Array = npt.NDArray[Any]
MOST_PIXELS = 2**24
INPUTS_LIMIT = 2**10
BIAS_LIMIT = 2**44


class Weights:
    """Learning: what learns: weights or biases of a layer."""

    def __init__(self, integers: Array, bits: int, gradient_bits: int, limit: int) -> None:
        self.bits, self.gradient_bits, self.limit = bits, gradient_bits, limit
        self.p = integers * 2.0**-bits
        self.m, self.v = np.zeros(integers.shape), np.zeros(integers.shape)
        check(bool((np.abs(integers) <= limit).all()), "a model that does not learn")

    def copy(self) -> Weights:
        """Learning: the path."""
        other = object.__new__(Weights)
        other.__dict__.update(self.__dict__)
        other.p, other.m, other.v = self.p.copy(), self.m.copy(), self.v.copy()
        return other

    def step(self, gradient: Array, a: float, c: float, s: float) -> Array:
        """Learning: a step: the new integers."""
        g = (gradient.astype(np.float64) * s) * 2.0**-self.gradient_bits
        self.m = self.m * 0.9 + g * (1 - 0.9)
        self.m[np.abs(self.m) < 2.0**-100] = 0
        self.v = self.v * 0.999 + (g * g) * (1 - 0.999)
        self.p = self.p - (self.m * a) / (np.sqrt(self.v * c) + 1e-8)
        return np.clip(np.floor(self.p * 2.0**self.bits + 0.5), -self.limit, self.limit).astype(np.int64)

    def halfway_to(self, other: Weights) -> Weights:
        """Learning: the path: 02."""
        between = self.copy()
        between.p = (self.p + other.p) * 0.5
        return between


@dataclass
class State:
    """Learning: the path: of each layer its weights and biases, and the powers."""

    layers: list[tuple[Weights, Weights]]
    p1: float = 1.0
    p2: float = 1.0

    def copy(self) -> State:
        """Learning: the path."""
        return State([(weight.copy(), bias.copy()) for weight, bias in self.layers], self.p1, self.p2)

    def begin(self, code: int, checkpoint: State) -> State:
        """Learning: the path: how an image begins that is not the first."""
        check(code <= 2, "a reserved way to begin")
        if code == 1:
            return checkpoint.copy()
        if code == 0:
            return self
        pairs = zip(self.layers, checkpoint.layers, strict=True)
        layers = [(w.halfway_to(w0), b.halfway_to(b0)) for (w, b), (w0, b0) in pairs]
        return State(layers, self.p1, self.p2)


class LearningLocal(Local):
    """A local model on its path; all of the pixels are popped at once."""

    def __init__(self, checkpoint: Checkpoint, learning: Learning) -> None:
        super().__init__(checkpoint, "rha")
        self.trunk, self.outputs = [replace(layer) for layer in self.trunk], [replace(layer) for layer in self.outputs]
        self.heads = replace(self.heads)
        self.learning = learning
        self.stride = 1
        self.colours: Colours | None = None
        """Of the block that is read, with the exceptions in it."""
        check(self.settings["image"] is None, "a model that does not learn")
        pixel = 64 if self.binary else 255
        channels = self.settings["channels"]
        references = channels if self.settings["centred"] else 0
        limits = np.concatenate(
            [
                np.full(24 * channels, pixel),
                np.full(references, max(pixel, 128)),
                np.full(self.settings["features"], self.decoder[-1].limit),
            ]
        )
        layers = []
        for layer in self.trunk:
            layers.append(self.weights(layer, limits))
            limits = np.full(len(layer.weight), layer.limit)
        layers.append(self.weights(self.heads, np.append(limits, np.full(channels - 1, pixel))))
        width = len(self.heads.weight) // channels
        for channel, layer in enumerate(self.outputs):
            limits = np.append(np.full(width, self.heads.limit), np.full(channel, pixel))
            layers.append(self.weights(layer, limits))
        self.state = State(layers)

    def weights(self, layer: Layer, limits: Array) -> tuple[Weights, Weights]:
        """Learning: a step: what learns of a layer, and its t."""
        check(int(limits.max()) <= INPUTS_LIMIT, "a model that does not learn")
        outputs = len(layer.weight)
        limit = min((2**52 - BIAS_LIMIT) // int(limits.sum()), 2**52 // (outputs * 2**30))
        weight = Weights(layer.weight, layer.weight_bits, 20 + layer.in_bits, limit)
        return weight, Weights(layer.bias, layer.in_bits + layer.weight_bits, 20, BIAS_LIMIT)

    def layers(self) -> list[Layer]:
        """Learning: what learns."""
        return [*self.trunk, self.heads, *self.outputs]

    def set_state(self, state: State) -> None:
        """Learning: the path: go on from here."""
        self.state = state
        for layer, (weight, bias) in zip(self.layers(), state.layers, strict=True):
            layer.weight = (
                np.floor(weight.p * 2.0**weight.bits + 0.5).clip(-weight.limit, weight.limit).astype(np.int64)
            )
            layer.bias = np.floor(bias.p * 2.0**bias.bits + 0.5).clip(-bias.limit, bias.limit).astype(np.int64)

    def pop_pixels(self, message: Message, x: Images, tiles: list[Tile], z: Array) -> None:
        """Learning: units: pop the pixels of a block, and learn from them."""
        features, (image,) = self.features(z), x
        steps: dict[int, list[tuple[int, int, Array]]] = {}
        for n, tile in enumerate(tiles):
            for y in range(tile.height):
                for column in range(tile.width):
                    cell = features[n, y // self.settings["cell"], column // self.settings["cell"]]
                    steps.setdefault(tile.x + column + 4 * (tile.y + y), []).append((tile.y + y, tile.x + column, cell))
        number, units, unit = 0, 0, []
        for step in sorted(steps):
            pixels = sorted(steps[step], key=lambda pixel: pixel[:2])
            inputs, references = (
                np.stack(part) for part in zip(*(self.inputs(image, *p) for p in pixels), strict=True)
            )
            trunk = forward(self.trunk, inputs)[-1]
            for channel in range(references.shape[1]):
                levels = np.stack([image[y, column] for y, column, _ in pixels]) - references
                levels[:, channel:] = 0
                parameters = self.parameters(trunk, levels)[channel][-1]
                for (y, column, _), edges in zip(pixels, self.edges(parameters, references[:, channel]), strict=True):
                    if channel == 2 and self.colours is not None:
                        edges = self.colours.restricted(edges, image[y, column], (y, column))
                    image[y, column, channel] = message.pop(number % len(message.heads), edges)
                    number += 1
            levels = np.stack([image[y, column] for y, column, _ in pixels])
            unit += list(zip(inputs, references, levels, strict=True))
            if len(unit) >= self.learning.unit or step == max(steps):
                if units % self.stride == 0:
                    self.learn(*(np.stack(part) for part in zip(*unit, strict=True)))
                units, unit = units + 1, []

    def learn(self, inputs: Array, references: Array, levels: Array) -> None:
        """Learning: gradients, and a step."""
        values = forward(self.trunk, inputs)
        channels = self.parameters(values[-1], levels - references)
        gradients, parts, width = [], [], len(self.heads.weight) // len(channels)
        for channel, (_, sees, parameters) in enumerate(channels):
            if self.binary:
                gradient = Bernoulli().gradient(parameters, levels)
            else:
                gradient = mixture_gradient(parameters, references[:, channel], levels[:, channel])
            gradients.append((gradient.T @ sees, gradient.sum(axis=0)))
            parts.append(passed_on(self.outputs[channel], gradient)[:, :width])
        unit = 64 if self.binary else 1
        others = unit * (levels - references)[:, :-1]
        gradient = np.where(channels[0][0] > 0, np.concatenate(parts, axis=1), 0)
        by_heads = gradient.T @ np.concatenate([values[-1], others], axis=1)
        for channel in range(len(channels)):
            by_heads[channel * width : (channel + 1) * width, values[-1].shape[1] + channel :] = 0
        by_trunk = []
        following = self.heads
        by_heads_bias = gradient.sum(axis=0)
        for layer, x, y in zip(self.trunk[::-1], values[-2::-1], values[:0:-1], strict=True):
            gradient = np.where(y > 0, passed_on(following, gradient)[:, : y.shape[1]], 0)
            by_trunk.append((gradient.T @ x, gradient.sum(axis=0)))
            following = layer
        self.step([*by_trunk[::-1], (by_heads, by_heads_bias), *gradients], len(inputs))

    def step(self, gradients: list[tuple[Array, Array]], n: int) -> None:
        """Learning: a step."""
        state = self.state
        state.p1, state.p2 = state.p1 * 0.9, state.p2 * 0.999
        a, c, s = (self.learning.rate * 1e-6) / (1 - state.p1), 1 / (1 - state.p2), 1 / n
        for layer, learns, by in zip(self.layers(), state.layers, gradients, strict=True):
            layer.weight, layer.bias = learns[0].step(by[0], a, c, s), learns[1].step(by[1], a, c, s)


def passed_on(layer: Layer, gradient: Array) -> Array:
    """Learning: gradients: h."""
    return clamp(rounded_shift(gradient @ layer.weight, layer.weight_bits), GRADIENT_LIMIT)


def read_learned(
    data: bytes, checkpoint: Checkpoint, learning: Learning, sizes: list[tuple[int, int]] | None, count: int,
    channels: int, checked: bytes, longest: int = LONGEST,
) -> list[Array]:  # fmt: skip
    """Learning: the payload. sizes: (height, width) of each image, None where the payload says them."""
    cursor = Cursor(data)
    if sizes is None:
        check(2 <= count <= 2**16, "the number of images of several sizes")
        sizes = [(height, width) for width, height in read_sizes(cursor, count, 2**24, 8)]
        check(len(set(sizes)) > 1, "images of several sizes that have one")
    check(count == 1 or sum(height * width for height, width in sizes) <= MOST_PIXELS, "too many pixels in a group")
    colours = read_colours(cursor, sizes, channels) if learning.lattices else [None] * len(sizes)
    checked += data[: cursor.at]
    check(checkpoint.architecture == "local", "a model that does not learn")
    check(count > 1 or not learning.starts, "how one image begins")
    model = LearningLocal(checkpoint, learning)
    shipped = model.state.copy()
    tile = checkpoint.settings["tile"]
    blocks = [
        [(y, x) for y in cuts(height, tile, longest) for x in cuts(width, tile, longest)] for height, width in sizes
    ]
    images, number, last = [], 0, sum(map(len, blocks)) - 1
    for (height, width), its_blocks, its_colours in zip(sizes, blocks, colours, strict=True):
        image = np.zeros((height, width, channels), np.int64)
        if learning.starts and number:
            model.set_state(model.state.begin(cursor.byte(), shipped))
        start = model.state
        for of_image, (rows, columns) in enumerate(its_blocks):
            model.stride = learning.stride if of_image else 1
            model.colours = its_colours and its_colours.within(rows, columns)
            model.set_state(start.copy() if of_image else start)
            lanes = cursor.varint(1, 1024)
            message = cursor.rest() if number == last else cursor.take(cursor.varint())
            block = np.zeros((rows.stop - rows.start, columns.stop - columns.start, channels), np.int64)
            strips = -(-len(block) // tile)
            coding = Coding(lanes, strips, [], 0, 0, together=True)
            read_message(message, coding, checkpoint, model, [block], checked + varint(number))
            image[rows, columns] = block
            if not of_image:
                start = model.state
            number += 1
        if its_colours is not None:
            image = its_colours.image_of(image)
            check(its_colours.fit(image), "an exception that is none")
        images.append(image)
    return images
