"""Section "Residual models" of docs/format.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .checkpoint import Checkpoint
from .coder import Message
from .distributions import channel_gradient, channel_means, logistic_edges
from .message import Images, Tile
from .networks import GRADIENT_LIMIT, Layer, clamp, combined, outputs_of, parts, rounded_shift

Array = npt.NDArray[Any]
RHO_BEYOND = 554


class Residual:
    """A residual model, for the tiles of images."""

    def __init__(self, checkpoint: Checkpoint, encoder: str) -> None:
        self.side: int = checkpoint.settings["tile"]
        self.blocks: int = checkpoint.settings["blocks"]
        self.decoder = checkpoint.networks["decoder"]
        self.encoder = checkpoint.networks[f"encoder.{encoder}"]

    def pop_pixels(self, message: Message, x: Images, tiles: list[Tile], z: Array) -> None:
        """Residual models: order: the red of all pixels, then the green, then the blue, each one call of the coder."""
        parameters = self.decode(z)[-1]
        pixels = [(n, y, column) for n, t in enumerate(tiles) for y in range(t.height) for column in range(t.width)]
        for channel in range(3):
            for number, (n, row, column) in enumerate(pixels):
                tile = tiles[n]
                pixel = x[tile.image][tile.y + row, tile.x + column]
                means, u, _ = channel_means(parameters[n, :, row, column], pixel)
                edges = logistic_edges(means[channel], u[channel])
                pixel[channel] = message.pop(number % len(message.heads), edges)

    def encode(self, x: Images, tiles: list[Tile]) -> tuple[Array, Array]:
        """Residual models: encoder."""
        value = 2 * self.filled(x, tiles) - 255
        first, second, *blocks, last = self.encoder
        value = convolve(second, convolve(first, value))
        for wide, narrow in zip(blocks[::2], blocks[1::2], strict=True):
            value = residual(wide, narrow, value)[-1]
        mu, rho = np.split(convolve(last, np.maximum(value, 0)), 2, axis=1)
        corners = 4 * np.arange(self.side // 4)
        for n, tile in enumerate(tiles):
            beyond = (corners >= tile.height)[:, None] | (corners >= tile.width)
            mu[n, :, beyond], rho[n, :, beyond] = 0, RHO_BEYOND
        return latent_order(mu), latent_order(rho)

    def filled(self, x: Images, tiles: list[Tile]) -> Array:
        """Residual models: tiles, filled up to their side, (tiles, channels, side, side)."""
        arrays = []
        for tile in tiles:
            part = x[tile.image][tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
            part = np.pad(part, [(0, self.side - tile.height), (0, self.side - tile.width), (0, 0)], mode="edge")
            arrays.append(part.transpose(2, 0, 1))
        return np.stack(arrays)

    def decode(self, z: Array) -> list[Any]:
        """Residual models: decoder: its values one after the other, the last the nine parameters of each pixel."""
        places = self.side // 4
        first, *blocks, up, last = self.decoder
        value = convolve(first, z.reshape(len(z), places, places, -1).transpose(0, 3, 1, 2))
        inner = []
        for wide, narrow in zip(blocks[::2], blocks[1::2], strict=True):
            inner.append(residual(wide, narrow, value))
            value = inner[-1][-1]
        positive = np.maximum(value, 0)
        middle = convolve(up, positive)
        return [inner, positive, middle, convolve(last, middle)]

    def gradient(self, x: Images, tiles: list[Tile], z: Array, step: int) -> Array:
        """Residual models: gradient."""
        return self.backwards(x, tiles, z, [])

    def weight_gradients(self, x: Images, tiles: list[Tile], z: Array) -> list[tuple[Array, Array]]:
        """Learning between batches: gradients, of each layer."""
        found: list[tuple[Array, Array]] = []
        self.backwards(x, tiles, z, found)
        return found[::-1]

    def backwards(self, x: Images, tiles: list[Tile], z: Array, found: list[tuple[Array, Array]]) -> Array:
        """Residual models: gradient. Gradients by weights join those found, the last layer's first."""

        def back(layer: Layer, outputs: Array, gradient: Array, inputs: Array) -> Array:
            clamped = np.where(outputs > layer.low, clamp(gradient, GRADIENT_LIMIT), 0)
            by_weight = combined(*(by_convolution(layer, part, inputs) for part in parts(clamped)))
            found.append((by_weight, clamped.sum(axis=(0, 2, 3))))
            return convolve_backward(layer, outputs, gradient, inputs.shape)

        inner, positive, middle, parameters = self.decode(z)
        first, *blocks, up, last = self.decoder
        pixels = self.filled(x, tiles)
        gradient = channel_gradient(parameters, pixels)
        for n, tile in enumerate(tiles):
            gradient[n, :, tile.height :], gradient[n, :, :, tile.width :] = 0, 0
        gradient = back(last, parameters, gradient, middle)
        gradient = back(up, middle, gradient, positive)
        gradient = np.where(positive > 0, gradient, 0)
        for (value, wide_out, narrow_out, out), wide, narrow in list(
            zip(inner, blocks[::2], blocks[1::2], strict=True)
        )[::-1]:
            gradient = np.where(out > -narrow.limit, clamp(gradient, GRADIENT_LIMIT), 0)
            h = back(narrow, narrow_out, gradient, wide_out)
            h = back(wide, wide_out, h, np.maximum(value, 0))
            gradient = gradient + np.where(value > 0, h, 0)
        places = self.side // 4
        first_out = inner[0][0] if inner else positive
        inputs = z.reshape(len(z), places, places, -1).transpose(0, 3, 1, 2)
        return latent_order(back(first, first_out, gradient, inputs))


def latent_order(values: Array) -> Array:
    """Residual models: row, column, channel."""
    return values.transpose(0, 2, 3, 1).reshape(len(values), -1)


def residual(wide: Layer, narrow: Layer, value: Array) -> list[Array]:
    """Residual models: a residual block; its input, the outputs of wide and narrow, its output."""
    wide_out = convolve(wide, np.maximum(value, 0))
    narrow_out = convolve(narrow, wide_out)
    return [value, wide_out, narrow_out, clamp(value + narrow_out, narrow.limit)]


def convolve(layer: Layer, x: Array) -> Array:
    """Residual models: a convolution or a transposed one, of (tiles, channels, height, width)."""
    if layer.transposed:
        height, width = (layer.stride * (n - 1) - 2 * layer.padding + layer.weight.shape[2] for n in x.shape[2:])
        sums = spread(layer.weight, x, layer.stride, layer.padding, height, width)
    else:
        sums = gather(layer.weight, x, layer.stride, layer.padding)
    sums = sums + layer.bias[:, None, None]
    return outputs_of(layer, sums.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def convolve_backward(layer: Layer, outputs: Array, gradient: Array, shape: tuple[int, ...]) -> Array:
    """Residual models: backwards through a convolution; shape is that of its inputs."""
    gradient = np.where(outputs > layer.low, clamp(gradient, GRADIENT_LIMIT), 0)
    turned = layer.weight.transpose(1, 0, 2, 3)
    if layer.transposed:
        sums = gather(turned, gradient, layer.stride, layer.padding)
    else:
        sums = spread(turned, gradient, layer.stride, layer.padding, *shape[2:])
    return clamp(rounded_shift(sums, layer.weight_bits), GRADIENT_LIMIT)


def by_convolution(layer: Layer, gradient: Array, x: Array) -> Array:
    """Learning between batches: the sums of gradients times inputs, for each weight."""
    size, stride, edge = layer.weight.shape[2], layer.stride, layer.padding
    coarse, fine = (x, gradient) if layer.transposed else (gradient, x)
    height, width = coarse.shape[2:]
    padded = np.pad(fine, [(0, 0), (0, 0), (edge, edge), (edge, edge)])
    sums = np.zeros(layer.weight.shape, np.int64)
    for i in range(size):
        for j in range(size):
            met = padded[:, :, i : i + stride * height : stride, j : j + stride * width : stride][:, :, :height, :width]
            pair = (met, coarse) if layer.transposed else (coarse, met)
            sums[:, :, i, j] = np.einsum("nohw,nchw->oc", *pair)
    return sums


def gather(weight: Array, x: Array, stride: int, padding: int) -> Array:
    """Residual models: the sums over the patch around each place, with 0 outside."""
    size = weight.shape[2]
    height, width = ((n + 2 * padding - size) // stride + 1 for n in x.shape[2:])
    padded = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    sums = np.zeros((len(x), len(weight), height, width), np.int64)
    for i in range(size):
        for j in range(size):
            taken = padded[:, :, i : i + stride * height : stride, j : j + stride * width : stride]
            taken = taken[:, :, :height, :width]
            sums += np.einsum("oc,nchw->nohw", weight[:, :, i, j], taken)
    return sums


def spread(weight: Array, x: Array, stride: int, padding: int, height: int, width: int) -> Array:
    """Residual models: the sums of a transposed convolution, of a given size."""
    size = weight.shape[2]
    rows, columns = stride * (x.shape[2] - 1) + size, stride * (x.shape[3] - 1) + size
    sums = np.zeros((len(x), len(weight), max(rows, height + padding), max(columns, width + padding)), np.int64)
    for i in range(size):
        for j in range(size):
            part = sums[:, :, i : i + rows - size + 1 : stride, j : j + columns - size + 1 : stride]
            part += np.einsum("oc,nchw->nohw", weight[:, :, i, j], x)
    return sums[:, :, padding : padding + height, padding : padding + width]
