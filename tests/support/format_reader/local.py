"""Section "Local models" of docs/format.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .checkpoint import Checkpoint
from .coder import Message
from .distributions import Bernoulli, mixture_edges, mixture_gradient
from .message import Images, Tile
from .networks import GRADIENT_LIMIT, backward, clamp, forward, layer_backward, rounded_shift

Array = npt.NDArray[Any]
NEIGHBOURS = [(dy, dx) for dy in range(-3, 1) for dx in range(-3, 4) if (dy, dx) < (0, 0)]


class Local:
    """A local model, for the tiles of images."""

    def __init__(self, checkpoint: Checkpoint, encoder: str) -> None:
        self.settings = checkpoint.settings
        self.binary = self.settings["mixtures"] == 0
        networks = checkpoint.networks
        self.decoder, self.trunk, self.outputs = networks["decoder"], networks["trunk"], networks["outputs"]
        (self.heads,) = networks["heads"]
        self.patch, self.head = networks[f"encoder.{encoder}.patch"], networks[f"encoder.{encoder}.head"]

    def pop_pixels(self, message: Message, x: Images, tiles: list[Tile], z: Array) -> None:
        """Local models: order: step after step, all one call of the coder."""
        features = self.features(z)
        first = {tile.image: min(t.y for t in tiles if t.image == tile.image) for tile in tiles}
        steps: dict[int, list[tuple[int, int, int, Array]]] = {}
        for n, tile in enumerate(tiles):
            for y in range(tile.height):
                for column in range(tile.width):
                    cell = features[n, y // self.settings["cell"], column // self.settings["cell"]]
                    place = tile.image, tile.y + y, tile.x + column
                    step = place[2] + 4 * (place[1] - first[tile.image])
                    steps.setdefault(step, []).append((*place, cell))
        number = 0
        for step in sorted(steps):
            pixels = sorted(steps[step], key=lambda pixel: pixel[:3])
            inputs, reference = zip(*(self.inputs(x[pixel[0]], *pixel[1:]) for pixel in pixels), strict=True)
            trunk = forward(self.trunk, np.stack(inputs))[-1]
            for channel in range(len(reference[0])):
                levels = np.stack([x[image][y, column] for image, y, column, _ in pixels]) - np.stack(reference)
                levels[:, channel:] = 0
                parameters = self.parameters(trunk, levels)[channel][-1]
                every = self.edges(parameters, np.stack(reference)[:, channel])
                for (image, y, column, _), edges in zip(pixels, every, strict=True):
                    x[image][y, column, channel] = message.pop(number % len(message.heads), edges)
                    number += 1

    def features(self, z: Array) -> Array:
        """Local models: features: (tiles, rows of cells, columns of cells, features)."""
        cells = -(-self.settings["tile"] // self.settings["cell"])
        return forward(self.decoder, z)[-1].reshape(len(z), cells, cells, -1)

    def inputs(self, x: Array, y: int, column: int, cell: Array) -> tuple[Array, Array]:
        """Local models: neighbourhood: the inputs of a pixel, and its channels' references."""
        _, width, channels = x.shape

        def exists(dy: int, dx: int) -> bool:
            return y + dy >= 0 and 0 <= column + dx < width

        reference = np.zeros(channels, np.int64)
        if self.settings["centred"]:
            beside = [x[y + dy, column + dx] for dy, dx in [(0, -1), (-1, 0)] if exists(dy, dx)]
            reference = (sum(beside) + len(beside) // 2) // len(beside) if beside else reference + 128
        unit = 64 if self.binary else 1
        parts = [
            unit * (x[y + dy, column + dx] - reference) if exists(dy, dx) else 0 * reference for dy, dx in NEIGHBOURS
        ]
        if self.settings["centred"]:
            parts.append(reference - 128)
        return np.concatenate([*parts, cell]), reference

    def parameters(self, trunk: Array, levels: Array) -> list[list[Array]]:
        """Local models: network: of each channel the part of the heads, what its layer sees, and the parameters."""
        channels = levels.shape[1]
        unit = 64 if self.binary else 1
        heads = forward([self.heads], np.concatenate([trunk, unit * levels[:, : channels - 1]], axis=1))[-1]
        values = []
        for channel, part in enumerate(np.split(heads, channels, axis=1)):
            sees = np.concatenate([part, unit * levels[:, :channel]], axis=1)
            values.append([heads, *forward([self.outputs[channel]], sees)])
        return values

    def edges(self, parameters: Array, reference: Array) -> Array:
        """Local models: the distribution of a channel."""
        if self.binary:
            return Bernoulli().edges(parameters[:, 0])
        return mixture_edges(parameters, reference)

    def encode(self, x: Images, tiles: list[Tile]) -> tuple[Array, Array]:
        """Local models: encoder."""
        side, fields, rows = self.settings["patch"], self.settings["pool"], []
        for tile in tiles:
            pixels = x[tile.image][tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
            pixels = np.pad(pixels, [(0, -tile.height % side), (0, -tile.width % side), (0, 0)], mode="edge")
            down, across = pixels.shape[0] // side, pixels.shape[1] // side
            patches = pixels.reshape(down, side, across, side, -1).transpose(0, 2, 1, 3, 4).reshape(down * across, -1)
            values = forward(self.patch, patches)[-1].reshape(down, across, -1)
            means = []
            for part in np.split(values, fields, axis=0):
                for field in np.split(part, fields, axis=1):
                    n = field.shape[0] * field.shape[1]
                    means.append((2 * field.sum(axis=(0, 1)) + n) // (2 * n))
            rows.append(np.concatenate(means))
        mu, rho = np.split(forward(self.head, np.stack(rows))[-1], 2, axis=1)
        return mu, rho

    def gradient(self, x: Images, tiles: list[Tile], z: Array, step: int) -> Array:
        """Local models: gradient."""
        decoded = forward(self.decoder, z)
        features = self.features(z)
        side = self.settings["cell"]
        cells = np.zeros((*features.shape[:3], len(self.trunk[0].weight)), np.int64)
        for n, tile in enumerate(tiles):
            stride = self.settings["stride"]
            if min(x[tile.image].shape[:2]) < self.settings["tile"]:
                stride = 1
            a, b = step % stride, step // stride % stride
            pixels = [(y, c) for y in range(a, tile.height, stride) for c in range(b, tile.width, stride)]
            if not pixels:
                continue
            sums = self.pixel_gradients(x[tile.image], tile, features[n], pixels)
            for (y, column), of_pixel in zip(pixels, sums, strict=True):
                cells[n, y // side, column // side] += of_pixel
            cells[n] = clamp(cells[n] * stride**2, 2**34)
        first = self.trunk[0]
        weight = first.weight[:, -features.shape[3] :]
        by_features = clamp(rounded_shift(cells @ weight, first.weight_bits), GRADIENT_LIMIT)
        return backward(self.decoder, decoded, by_features.reshape(len(z), -1))

    def pixel_gradients(self, x: Array, tile: Tile, features: Array, pixels: list[tuple[int, int]]) -> Array:
        """Local models: gradient: that by the sums of the trunk's first layer, of each pixel."""
        side = self.settings["cell"]
        of_pixels = [
            self.inputs(x, tile.y + y, tile.x + column, features[y // side, column // side]) for y, column in pixels
        ]
        inputs, reference = (np.stack(part) for part in zip(*of_pixels, strict=True))
        levels = np.stack([x[tile.y + y, tile.x + column] for y, column in pixels])
        trunk = forward(self.trunk, inputs)
        channels = self.parameters(trunk[-1], levels - reference)
        parts = []
        for channel, (heads, _, parameters) in enumerate(channels):
            if self.binary:
                gradient = Bernoulli().gradient(parameters, levels)
            else:
                gradient = mixture_gradient(parameters, reference[:, channel], levels[:, channel])
            back = layer_backward(self.outputs[channel], parameters, gradient)
            parts.append(back[:, : heads.shape[1] // len(channels)])
        gradient = layer_backward(self.heads, channels[0][0], np.concatenate(parts, axis=1))
        gradient = gradient[:, : trunk[-1].shape[1]]
        gradient = backward(self.trunk[1:], trunk[1:], gradient)
        return np.where(trunk[1] > 0, clamp(gradient, GRADIENT_LIMIT), 0)
