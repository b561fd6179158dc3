"""Fixed-point layers: integer weights and activations held in float64, where a matrix product is exact.

Every partial sum of a product stays below 2^53, so order, blocking, threads, fused multiply-add, batch and device
cannot matter. The bound is proved per layer from its integers when a network is built, forwards and backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ldexp
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bbcompress.errors import ModelError
from bbcompress.exact.backend import Array, Backend

ACTIVATION_BITS = 12
"""Fractional bits of hidden activations."""
ACTIVATION_LIMIT = 1 << 24
"""Activations are clamped to this many units of their own grid."""
GRADIENT_BITS = 20
"""Fractional bits of gradients (nats per unit of whatever the gradient is by)."""
GRADIENT_UNIT = ldexp(1.0, -GRADIENT_BITS)
GRADIENT_LIMIT = 1 << 30
EXACT_LIMIT = 1 << 53
"""Integers up to here are float64 numbers."""
SINGLE_LIMIT = 1 << 24
"""Integers up to here are float32 numbers."""
WEIGHT_LIMIT = (1 << 31) - 1
"""The largest magnitude of a weight."""
MAX_GRADIENT_ROWS = 1 << 13
"""Most rows over which the gradient by weights is summed."""
_GRADIENT_PART = 15
"""Bits of the low part of a gradient."""


InputLimit = int | npt.NDArray[np.int64]


@dataclass(frozen=True)
class LinearWeights:
    """The integers of one linear layer, y = clamp(round(W x + b)).

    Attributes:
        weight: (outputs, inputs) integers in units of 2^-weight_bits.
        bias: (outputs,) in units of 2^-(in_bits + weight_bits).
        in_bits: fractional bits of the input.
        out_bits: (outputs,) fractional bits of each output.
        relu: whether outputs are clamped at 0 from below.
        limit: the magnitude at which outputs are clamped, in units of their grid.
    """

    weight: npt.NDArray[np.int64]
    bias: npt.NDArray[np.int64]
    weight_bits: int
    in_bits: int
    out_bits: npt.NDArray[np.int64]
    relu: bool
    limit: int = ACTIVATION_LIMIT

    def largest_sum(self, input_limit: InputLimit) -> int:
        """A bound of every partial sum of the forward product, in units of 2^-(in_bits + weight_bits)."""
        limits = np.broadcast_to(np.asarray(input_limit, np.int64), self.weight.shape[1])
        # Python integers do not overflow
        sums = (np.abs(self.weight).astype(object) * limits.astype(object)).sum(axis=1)
        largest: int = max(sums.tolist()) + max(map(abs, self.bias.tolist()))
        return largest

    def prove(self, input_limit: InputLimit) -> None:
        """Prove that no product of this layer can leave the exact range.

        Args:
            input_limit: the largest magnitude of an input, in units of the input's grid; one for all, or (inputs,).

        Raises:
            ModelError: a shape, a shift or a bound is broken.
        """
        outputs, inputs = self.weight.shape if self.weight.ndim == 2 else (0, 0)
        if not outputs or not inputs or self.bias.shape != (outputs,) or self.out_bits.shape != (outputs,):
            raise ModelError("a linear layer's arrays do not fit together")
        if not isinstance(input_limit, int) and input_limit.shape != (inputs,):
            raise ModelError("a network's layers do not fit together")
        shifts = self.in_bits + self.weight_bits - self.out_bits
        if not (0 <= self.weight_bits <= 40 and 0 <= self.in_bits <= 24 and shifts.min() >= 0 and shifts.max() <= 52):
            raise ModelError("a linear layer's fixed-point grids are out of range")
        # not by abs(): that of the least int64 is negative
        if max(-int(self.weight.min()), int(self.weight.max())) >= 1 << 31 or max(self.weight.shape) > 1 << 20:
            raise ModelError("a linear layer's weights are out of range")
        magnitude = np.abs(self.weight)
        if not 1 <= self.limit <= ACTIVATION_LIMIT:
            raise ModelError("a linear layer's clamp is out of range")
        # int64 sums of fewer than 2^20 terms below 2^31; the products are Python integers
        if isinstance(input_limit, int):
            forward = int(magnitude.sum(axis=1).max()) * input_limit + max(map(abs, self.bias.tolist()))
        else:
            forward = self.largest_sum(input_limit)
        backward = int(magnitude.sum(axis=0).max()) * GRADIENT_LIMIT
        if max(forward, backward) >= EXACT_LIMIT:
            raise ModelError("a linear layer's sums can leave the range of exact float64 integers")


class ExactLinear:
    """One exact linear layer on a backend, with its backward pass by the input."""

    def __init__(self, weights: LinearWeights, backend: Backend) -> None:
        self._backend = backend
        self.load(weights.weight, weights.bias)
        shift = weights.in_bits + weights.weight_bits - weights.out_bits
        self._scale = backend.asarray(np.ldexp(1.0, -shift))
        # not by **: in another rounding mode, which a program may have set, the C library's pow is not exact
        self._weight_scale = ldexp(1.0, -weights.weight_bits)
        self._low = 0 if weights.relu else -weights.limit
        self._high = weights.limit

    def load(self, weight: npt.NDArray[Any], bias: npt.NDArray[Any]) -> None:
        """Take other integers, for which the bounds are proved, too."""
        self._weight = self._backend.asarray(weight.astype(np.float64))
        self._bias = self._backend.asarray(bias.astype(np.float64))

    def forward(self, x: Array) -> Array:
        """(B, inputs) integers in float64 -> (B, outputs) integers in float64."""
        y = self._backend.matmul(x, self._weight.T)
        y += self._bias
        return requantise(y, self._scale, self._low, self._high, self._backend)

    def backward(self, gradient: Array, y: Array) -> Array:
        """(B, outputs) gradient by the outputs y of `forward` -> (B, inputs) gradient by its inputs.

        Both in units of 2^-20. Nothing flows through an output that stands at its lower clamp (ReLU's zero). The
        gradient is clamped first, as the proof has it: a likelihood's own may be larger.
        """
        return self._backward(self._clamped(gradient, y))

    def gradients(self, gradient: Array, x: Array, y: Array) -> tuple[Array, npt.NDArray[np.float64]]:
        """As `backward`, and the gradient by weights and bias, (outputs, inputs + 1); x were the inputs."""
        gradient = self._clamped(gradient, y)
        by_weight = weight_gradient(gradient, x, self._backend)
        return self._backward(gradient), with_bias_gradient(by_weight, gradient, self._backend)

    def _clamped(self, gradient: Array, y: Array) -> Array:
        return self._backend.clip_(gradient * (y > self._low), -GRADIENT_LIMIT, GRADIENT_LIMIT)

    def _backward(self, gradient: Array) -> Array:
        x_gradient = self._backend.matmul(gradient, self._weight)
        return requantise(x_gradient, self._weight_scale, -GRADIENT_LIMIT, GRADIENT_LIMIT, self._backend)


def weight_gradient(gradient: Array, x: Array, backend: Backend) -> npt.NDArray[np.float64]:
    """Gradient by weights, float64 (outputs, inputs): sums over rows of gradient times input.

    gradient: (rows, outputs), clamped, of at most `MAX_GRADIENT_ROWS` rows. x: (rows, inputs), or its patches.

    A gradient is 2^15 h + l, |h| <= 2^15, |l| <= 2^14, and an input is at most 2^24. So the sums of h x and of l x are
    at most 2^13 2^15 2^24 = 2^52: exact in any order. They are put together by one addition, which may round.
    """
    if len(gradient) > MAX_GRADIENT_ROWS:
        raise ValueError(f"{len(gradient)} rows are too many for exact sums")
    part = float(1 << _GRADIENT_PART)
    high = backend.floor_(gradient * (1.0 / part) + 0.5)
    low = gradient - high * part
    return backend.numpy(backend.matmul(high.T, x) * part + backend.matmul(low.T, x))


def with_bias_gradient(
    by_weight: npt.NDArray[np.float64], gradient: Array, backend: Backend
) -> npt.NDArray[np.float64]:
    """The gradient by weights (outputs, columns), and as a last column that by the bias: the sum over the rows of
    `gradient` (rows, outputs), clamped, of at most 2^22 rows."""
    return np.concatenate([by_weight, backend.numpy(gradient.sum(0))[:, None]], axis=1)


def requantise(total: Array, scale: Any, low: float, high: float, backend: Backend) -> Array:
    """floor(total * scale + 1/2), clamped, in place; scale is a power of two, so only the grid changes."""
    total *= scale
    total += 0.5
    return backend.clip_(backend.floor_(total), low, high)


class Network:
    """A chain of exact linear layers on a backend."""

    def __init__(self, layers: Sequence[LinearWeights], backend: Backend) -> None:
        self._layers = [ExactLinear(weights, backend) for weights in layers]

    def forward(self, x: Array) -> Array:
        """(B, inputs) -> (B, outputs), integers in float64 on the first layer's input and the last one's grids."""
        for layer in self._layers:
            x = layer.forward(x)
        return x

    def forward_with_tape(self, x: Array) -> tuple[Array, list[Array]]:
        """As `forward`, and the outputs of every layer for `backward`."""
        tape = []
        for layer in self._layers:
            x = layer.forward(x)
            tape.append(x)
        return x, tape

    def backward(self, gradient: Array, tape: list[Array]) -> Array:
        """(B, outputs) gradient in units of 2^-20 -> (B, inputs) gradient by the network's input."""
        for layer, y in zip(reversed(self._layers), reversed(tape), strict=True):
            gradient = layer.backward(gradient, y)
        return gradient

    def weight_gradients(self, gradient: Array, x: Array, tape: list[Array]) -> list[npt.NDArray[np.float64]]:
        """The gradient by weights and bias of each layer, (outputs, inputs + 1); x was the network's input."""
        found = []
        for layer, its_x, y in zip(reversed(self._layers), [*tape[-2::-1], x], reversed(tape), strict=True):
            gradient, by_weights = layer.gradients(gradient, its_x, y)
            found.append(by_weights)
        return found[::-1]

    def load(self, integers: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]]) -> None:
        """Take other weights and biases of each layer."""
        for layer, (weight, bias) in zip(self._layers, integers, strict=True):
            layer.load(weight, bias)


class LayerWeights(Protocol):
    """What a chain is of: `LinearWeights`, or convolutions; weight is (outputs, inputs, ...)."""

    @property
    def weight(self) -> npt.NDArray[np.int64]: ...
    @property
    def bias(self) -> npt.NDArray[np.int64]: ...
    @property
    def weight_bits(self) -> int: ...
    @property
    def in_bits(self) -> int: ...
    @property
    def out_bits(self) -> npt.NDArray[np.int64]: ...
    @property
    def limit(self) -> int: ...
    def prove(self, input_limit: Any) -> None: ...


def prove_network(layers: Sequence[LayerWeights], inputs: int, input_limit: InputLimit) -> None:
    """Prove the bounds of a whole chain: each layer's, and that each layer's grid and width are the next one's.

    Raises:
        ModelError: as `prove` of a layer, or the layers do not fit together.
    """
    if not layers:
        raise ModelError("a network has no layers")
    width, limit = inputs, input_limit
    for index, weights in enumerate(layers):
        weights.prove(limit)
        if weights.weight.shape[1] != width:
            raise ModelError("a network's layers do not fit together")
        if index and not np.all(layers[index - 1].out_bits == weights.in_bits):
            raise ModelError("a network's fixed-point grids do not fit together")
        width, limit = weights.weight.shape[0], weights.limit
