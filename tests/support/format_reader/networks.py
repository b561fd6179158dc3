"""Section "Networks" of docs/format.md: linear layers, forwards and backwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
GRADIENT_LIMIT = 2**30


@dataclass
class Layer:
    """Networks: a layer's integers and units; int64 holds all its sums."""

    weight: Array
    bias: Array
    weight_bits: int
    in_bits: int
    out_bits: Array
    relu: bool
    limit: int = 2**24
    stride: int = 1
    padding: int = 0
    transposed: bool = False

    @property
    def low(self) -> int:
        return 0 if self.relu else -self.limit


def rounded_shift(number: Array, bits: Array | int) -> Array:
    """Networks: floor(number * 2^-bits + 1/2)."""
    bits = np.asarray(bits)
    down = np.maximum(bits, 1)
    return np.where(bits > 0, (number + (1 << (down - 1))) >> down, number << np.maximum(-bits, 0))


def clamp(number: Array, limit: int) -> Array:
    """Networks: the nearest number within +-limit."""
    return np.clip(number, -limit, limit)


def parts(gradient: Array) -> tuple[Array, Array]:
    """Learning between batches: gradients: h and l."""
    high = (gradient + 2**14) >> 15
    return high, gradient - (high << 15)


def combined(high: Array, low: Array) -> Array:
    """Learning between batches: gradients: G of the sums of h x and of l x."""
    return high.astype(np.float64) * 2.0**15 + low.astype(np.float64)


def outputs_of(layer: Layer, sums: Array) -> Array:
    """Networks: y of the sums with the bias, the outputs along the last axis."""
    return np.clip(rounded_shift(sums, layer.in_bits + layer.weight_bits - layer.out_bits), layer.low, layer.limit)


def forward(layers: list[Layer], x: Array) -> list[Array]:
    """Networks: x (images, inputs), then the outputs of each layer."""
    values = [x]
    for layer in layers:
        values.append(outputs_of(layer, values[-1] @ layer.weight.T + layer.bias))
    return values


def backward(layers: list[Layer], values: list[Array], gradient: Array) -> Array:
    """Networks: backwards, of a gradient by the outputs, that by the inputs, in units of 2^-20."""
    for layer, outputs in zip(layers[::-1], values[:0:-1], strict=True):
        gradient = layer_backward(layer, outputs, gradient)
    return gradient


def layer_backward(layer: Layer, outputs: Array, gradient: Array) -> Array:
    """Networks: backwards, one layer."""
    gradient = np.where(outputs > layer.low, clamp(gradient, GRADIENT_LIMIT), 0)
    return clamp(rounded_shift(gradient @ layer.weight, layer.weight_bits), GRADIENT_LIMIT)
