"""Fixed-point convolutions: the counterpart of `layers` for images, an unfolded image and one exact matrix product.

Arrays are channels-last, (B, H, W, C), integers held in float64. The bounds of `layers` hold for all taps of a kernel
together: zeros of the padding only make sums smaller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ldexp
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bbcompress.errors import ModelError
from bbcompress.exact.backend import Array, Backend
from bbcompress.exact.layers import (
    ACTIVATION_LIMIT,
    EXACT_LIMIT,
    GRADIENT_LIMIT,
    prove_network,
    requantise,
    weight_gradient,
    with_bias_gradient,
)

MAX_KERNEL = 16
MAX_STRIDE = 4


@dataclass(frozen=True)
class ConvolutionWeights:
    """The integers of one convolution, y = clamp(round(W * x + b)).

    Attributes:
        weight: (outputs, inputs, k, k) integers in units of 2^-weight_bits, also where `transposed`.
        bias: (outputs,) in units of 2^-(in_bits + weight_bits).
        in_bits: fractional bits of the input.
        out_bits: (outputs,) fractional bits of each output.
        relu: whether outputs are clamped at 0 from below.
        limit: the magnitude at which outputs are clamped, in units of their grid.
        stride, padding, transposed: as in torch's conv2d and conv_transpose2d.
    """

    weight: npt.NDArray[np.int64]
    bias: npt.NDArray[np.int64]
    weight_bits: int
    in_bits: int
    out_bits: npt.NDArray[np.int64]
    relu: bool
    limit: int = ACTIVATION_LIMIT
    stride: int = 1
    padding: int = 0
    transposed: bool = False

    def prove(self, input_limit: int) -> None:
        """Prove that no product of this layer can leave the exact range.

        Args:
            input_limit: the largest magnitude of an input, in units of the input's grid.

        Raises:
            ModelError: a shape, a shift or a bound is broken.
        """
        outputs, inputs, kernel, across = self.weight.shape if self.weight.ndim == 4 else (0, 0, 0, 0)
        fits = self.bias.shape == self.out_bits.shape == (outputs,)
        if not outputs or not inputs or kernel != across or not fits:
            raise ModelError("a convolution's arrays do not fit together")
        if not (1 <= kernel <= MAX_KERNEL and 1 <= self.stride <= MAX_STRIDE and 0 <= self.padding < kernel):
            raise ModelError("a convolution's kernel, stride or padding is out of range")
        shifts = self.in_bits + self.weight_bits - self.out_bits
        if not (0 <= self.weight_bits <= 40 and 0 <= self.in_bits <= 24 and shifts.min() >= 0 and shifts.max() <= 52):
            raise ModelError("a convolution's fixed-point grids are out of range")
        # not by abs(): that of the least int64 is negative
        low, high = int(self.weight.min()), int(self.weight.max())
        if max(-low, high) >= 1 << 31 or max(outputs, inputs) > 1 << 20:
            raise ModelError("a convolution's weights are out of range")
        if not 1 <= self.limit <= ACTIVATION_LIMIT:
            raise ModelError("a convolution's clamp is out of range")
        # int64 sums of at most 2^20 channels * 2^8 taps below 2^31; the products are Python integers
        magnitude = np.abs(self.weight)
        forward = int(magnitude.sum(axis=(1, 2, 3)).max()) * input_limit + max(map(abs, self.bias.tolist()))
        backward = int(magnitude.sum(axis=(0, 2, 3)).max()) * GRADIENT_LIMIT
        if max(forward, backward) >= EXACT_LIMIT:
            raise ModelError("a convolution's sums can leave the range of exact float64 integers")


def unfold(x: Array, k: int, stride: int, padding: int, backend: Backend) -> Array:
    """The k x k patch of an image under each place of a convolution's grid.

    Returns (B, H', W', k k C), H' = (H + 2 padding - k) / stride + 1; the order in a patch is row, column, channel.

    Args:
        x: (B, H, W, C).

    Raises:
        ValueError: a side of x is too small, or has pixels left over at its end that no patch covers.
    """
    batch, height, width, channels = x.shape
    rows, columns = (_grid(side, k, stride, padding) for side in (height, width))
    patches = backend.zeros((batch, rows, columns, k, k, channels))
    for i, image_rows, grid_rows in _taps(height, rows, k, stride, padding):
        for j, image_columns, grid_columns in _taps(width, columns, k, stride, padding):
            patches[:, grid_rows, grid_columns, i, j] = x[:, image_rows, image_columns]
    return patches.reshape(batch, rows, columns, k * k * channels)


def fold(patches: Array, height: int, width: int, k: int, stride: int, padding: int, backend: Backend) -> Array:
    """The adjoint of `unfold`: patches are added where they overlap, (B, H', W', k k C) to (B, height, width, C).

    Raises:
        ValueError: patches of an image of height x width lie on another grid.
    """
    batch, rows, columns, size = patches.shape
    if (_grid(height, k, stride, padding), _grid(width, k, stride, padding)) != (rows, columns):
        raise ValueError(f"a grid of {rows} x {columns} patches is not that of an image of {height} x {width}")
    patches = patches.reshape(batch, rows, columns, k, k, size // (k * k))
    x = backend.zeros((batch, height, width, size // (k * k)))
    for i, image_rows, grid_rows in _taps(height, rows, k, stride, padding):
        for j, image_columns, grid_columns in _taps(width, columns, k, stride, padding):
            x[:, image_rows, image_columns] += patches[:, grid_rows, grid_columns, i, j]
    return x


def _grid(side: int, k: int, stride: int, padding: int) -> int:
    """Places of a convolution along a side of an image."""
    free = side + 2 * padding - k
    if side < 1 or free < 0 or free % stride:  # leftover pixels: an adjoint could not tell how many there were
        raise ValueError(f"a side of {side} does not suit a {k} x {k} kernel of stride {stride} and padding {padding}")
    return free // stride + 1


def _taps(side: int, places: int, k: int, stride: int, padding: int) -> Iterator[tuple[int, slice, slice]]:
    """For each tap along a side: its index, the pixels that it meets and the places of the grid where it meets them."""
    for tap in range(k):
        offset = tap - padding
        first = max(0, -(offset // stride))
        end = min(places, (side - 1 - offset) // stride + 1)
        if first < end:
            start = first * stride + offset
            yield tap, slice(start, start + (end - first - 1) * stride + 1, stride), slice(first, end)


class ExactConvolution:
    """One exact convolution on a backend, with its backward pass by the input."""

    def __init__(self, weights: ConvolutionWeights, backend: Backend) -> None:
        self._backend = backend
        self._outputs, self._inputs, self._kernel, _ = weights.weight.shape
        self._transposed = weights.transposed
        self.load(weights.weight, weights.bias)
        shift = weights.in_bits + weights.weight_bits - weights.out_bits
        self._scale = backend.asarray(np.ldexp(1.0, -shift))
        self._weight_scale = ldexp(1.0, -weights.weight_bits)  # as in `ExactLinear`
        self._low = 0 if weights.relu else -weights.limit
        self._high = weights.limit
        self._stride, self._padding = weights.stride, weights.padding
        self._pointwise = self._kernel == self._stride == 1  # a product, no patches

    def load(self, weight: npt.NDArray[Any], bias: npt.NDArray[Any]) -> None:
        """Take other integers, for which the bounds are proved, too."""
        if self._transposed:
            matrix = weight.transpose(1, 2, 3, 0).reshape(self._inputs, -1)
        else:
            matrix = weight.transpose(2, 3, 1, 0).reshape(-1, self._outputs)
        self._matrix = self._backend.asarray(matrix.astype(np.float64))
        self._bias = self._backend.asarray(bias.astype(np.float64))

    def forward(self, x: Array) -> Array:
        """(B, H, W, inputs) -> (B, H', W', outputs), integers in float64.

        H' = (H + 2 padding - k) / stride + 1, or (H - 1) stride - 2 padding + k if transposed.

        Raises:
            ValueError: a side is too small, or the stride does not divide it.
        """
        y = self._spread(x, self._matrix) if self._transposed else self._gather(x, self._matrix)
        y += self._bias
        return requantise(y, self._scale, self._low, self._high, self._backend)

    def forward_with_tape(self, x: Array) -> tuple[Array, Array]:
        """As `forward`, and what `backward` wants of it: the outputs again."""
        y = self.forward(x)
        return y, y

    def backward(self, gradient: Array, y: Array) -> Array:
        """(B, H', W', outputs) gradient by the outputs y of `forward` -> (B, H, W, inputs) gradient by its inputs.

        Both in units of 2^-20. Nothing flows through an output that stands at its lower clamp (ReLU's zero). The
        gradient is clamped first, as the proof has it: a likelihood's own may be larger.
        """
        return self._backward(self._clamped(gradient, y))

    def gradients(self, gradient: Array, x: Array, y: Array, found: list[npt.NDArray[np.float64]]) -> Array:
        """As `backward`; the gradient by weights and bias joins those `found`, (outputs, inputs k k + 1). x were the
        inputs."""
        gradient = self._clamped(gradient, y)
        outputs, inputs, k = self._outputs, self._inputs, self._kernel
        if self._transposed:  # the product is that of x with the patches that it adds up
            rows = x.reshape(-1, inputs)
            by_patches = weight_gradient(self._patches(gradient), rows, self._backend)
            by_weight = by_patches.reshape(k, k, outputs, inputs).transpose(2, 3, 0, 1)
        else:
            by_patches = weight_gradient(gradient.reshape(-1, outputs), self._patches(x), self._backend)
            by_weight = by_patches.reshape(outputs, k, k, inputs).transpose(0, 3, 1, 2)
        flat, by_outputs = by_weight.reshape(outputs, -1), gradient.reshape(-1, outputs)
        found.append(with_bias_gradient(flat, by_outputs, self._backend))
        return self._backward(gradient)

    def _clamped(self, gradient: Array, y: Array) -> Array:
        return self._backend.clip_(gradient * (y > self._low), -GRADIENT_LIMIT, GRADIENT_LIMIT)

    def _patches(self, x: Array) -> Array:
        """Rows of a product: the patch at each place of the coarser grid."""
        if not self._pointwise:
            x = unfold(x, self._kernel, self._stride, self._padding, self._backend)
        return x.reshape(-1, x.shape[-1])

    def _backward(self, gradient: Array) -> Array:
        matrix = self._matrix.T
        x_gradient = self._gather(gradient, matrix) if self._transposed else self._spread(gradient, matrix)
        return requantise(x_gradient, self._weight_scale, -GRADIENT_LIMIT, GRADIENT_LIMIT, self._backend)

    def _gather(self, x: Array, matrix: Array) -> Array:
        """Unfold and product: to the coarser grid."""
        if not self._pointwise:
            x = unfold(x, self._kernel, self._stride, self._padding, self._backend)
        return self._product(x, matrix)

    def _spread(self, x: Array, matrix: Array) -> Array:
        """Product and fold, the adjoint: to the finer grid."""
        patches = self._product(x, matrix)
        if self._pointwise:
            return patches
        height, width = ((n - 1) * self._stride - 2 * self._padding + self._kernel for n in x.shape[1:3])
        # Exact: what `fold` adds up are products of one sum that the proof bounds, over all channels and taps
        return fold(patches, height, width, self._kernel, self._stride, self._padding, self._backend)

    def _product(self, x: Array, matrix: Array) -> Array:
        batch, height, width, channels = x.shape
        y = self._backend.matmul(x.reshape(-1, channels), matrix)
        return y.reshape(batch, height, width, matrix.shape[1])


class _Stage(Protocol):
    """A step of a chain: its output and what its backward pass wants, and that pass."""

    def forward_with_tape(self, x: Array) -> tuple[Array, Any]: ...
    def backward(self, gradient: Array, tape: Any) -> Array: ...
    def gradients(self, gradient: Array, x: Array, tape: Any, found: list[npt.NDArray[np.float64]]) -> Array:
        """As `backward`; the gradients by weights join those found, the last layer's first. x was the input."""


class _ReLU:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def forward_with_tape(self, x: Array) -> tuple[Array, Array]:
        y = self._backend.clip_(x + 0.0, 0, ACTIVATION_LIMIT)  # of a copy; no activation is larger
        return y, y

    def backward(self, gradient: Array, tape: Array) -> Array:
        return gradient * (tape > 0)

    def gradients(self, gradient: Array, x: Array, tape: Array, found: list[npt.NDArray[np.float64]]) -> Array:
        return self.backward(gradient, tape)


class _ResidualBlock:
    """x -> clamp(x + narrow(wide(relu(x)))), at the magnitude at which narrow's own outputs are clamped."""

    def __init__(self, wide: ExactConvolution, narrow: ExactConvolution, limit: int, backend: Backend) -> None:
        self._backend = backend
        self._branch: list[_Stage] = [_ReLU(backend), wide, narrow]
        self._limit = limit

    def forward_with_tape(self, x: Array) -> tuple[Array, tuple[list[Any], Array]]:
        change, tape = _forward_with_tape(self._branch, x)
        y = self._backend.clip_(x + change, -self._limit, self._limit)
        return y, (tape, y)

    def backward(self, gradient: Array, tape: tuple[list[Any], Array]) -> Array:
        """As `Convolution.backward`: nothing flows where the sum stands at its lower clamp."""
        branch_tape, y = tape
        gradient = self._clamped(gradient, y)
        x_gradient = _backward(self._branch, gradient, branch_tape)
        x_gradient += gradient  # a sum of two; the layer or block before clamps it as its own backward pass begins
        return x_gradient

    def gradients(
        self, gradient: Array, x: Array, tape: tuple[list[Any], Array], found: list[npt.NDArray[np.float64]]
    ) -> Array:
        branch_tape, y = tape
        gradient = self._clamped(gradient, y)
        x_gradient = _gradients(self._branch, gradient, x, branch_tape, branch_tape, found)
        x_gradient += gradient
        return x_gradient

    def _clamped(self, gradient: Array, y: Array) -> Array:
        return self._backend.clip_(gradient * (y > -self._limit), -GRADIENT_LIMIT, GRADIENT_LIMIT)


class ResidualNetwork:
    """A chain of exact convolutions on a backend, some of which are residual blocks.

    layers[first_block + 2 i] and layers[first_block + 2 i + 1], i < blocks, are the wide and the narrow convolution of
    a block, x -> clamp(x + narrow(wide(relu(x)))); the last block is followed by a ReLU. Without blocks it is a plain
    chain. `prove_residual_network` says what such layers have to be.
    """

    def __init__(self, layers: Sequence[ConvolutionWeights], blocks: int, first_block: int, backend: Backend) -> None:
        self._layers = [ExactConvolution(weights, backend) for weights in layers]
        pairs = range(first_block, first_block + 2 * blocks, 2)
        end = first_block + 2 * blocks if blocks else len(layers)
        self._stages: list[_Stage] = [*self._layers[: first_block if blocks else end]]
        for wide, narrow in ((pair, pair + 1) for pair in pairs):
            block = _ResidualBlock(self._layers[wide], self._layers[narrow], layers[narrow].limit, backend)
            self._stages.append(block)
        if blocks:
            self._stages.append(_ReLU(backend))
        self._stages += self._layers[end:]

    def forward(self, x: Array) -> Array:
        """(B, H, W, inputs) -> (B, H', W', outputs), integers in float64 on the first layer's input and the last one's
        grids.

        Raises:
            ValueError: as `Convolution.forward`.
        """
        for stage in self._stages:
            x, _ = stage.forward_with_tape(x)
        return x

    def forward_with_tape(self, x: Array) -> tuple[Array, list[Any]]:
        """As `forward`, and what `backward` wants of every step."""
        return _forward_with_tape(self._stages, x)

    def backward(self, gradient: Array, tape: list[Any]) -> Array:
        """(B, H', W', outputs) gradient in units of 2^-20 -> (B, H, W, inputs) gradient by the network's input."""
        return _backward(self._stages, gradient, tape)

    def weight_gradients(self, gradient: Array, x: Array, tape: list[Any]) -> list[npt.NDArray[np.float64]]:
        """The gradient by weights and bias of each layer, (outputs, inputs k k + 1); x was the network's input."""
        outputs = [stage_tape[1] if isinstance(stage_tape, tuple) else stage_tape for stage_tape in tape]
        found: list[npt.NDArray[np.float64]] = []
        _gradients(self._stages, gradient, x, tape, outputs, found)
        return found[::-1]

    def load(self, integers: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]]) -> None:
        """Take other weights and biases of each layer."""
        for layer, (weight, bias) in zip(self._layers, integers, strict=True):
            layer.load(weight, bias)


def _forward_with_tape(stages: Sequence[_Stage], x: Array) -> tuple[Array, list[Any]]:
    tapes = []
    for stage in stages:
        x, tape = stage.forward_with_tape(x)
        tapes.append(tape)
    return x, tapes


def _backward(stages: Sequence[_Stage], gradient: Array, tapes: list[Any]) -> Array:
    for stage, tape in zip(reversed(stages), reversed(tapes), strict=True):
        gradient = stage.backward(gradient, tape)
    return gradient


def _gradients(
    stages: Sequence[_Stage],
    gradient: Array,
    x: Array,
    tapes: list[Any],
    outputs: list[Array],
    found: list[npt.NDArray[np.float64]],
) -> Array:
    """As `_backward`, with the gradients by weights. outputs: of each stage."""
    inputs = [*outputs[-2::-1], x]
    for stage, its_x, tape in zip(reversed(stages), inputs, reversed(tapes), strict=True):
        gradient = stage.gradients(gradient, its_x, tape, found)
    return gradient


def prove_residual_network(
    layers: Sequence[ConvolutionWeights], blocks: int, first_block: int, inputs: int, input_limit: int
) -> None:
    """Prove the bounds of a whole `ResidualNetwork`: each layer's, that each layer's grid and width are the next one's,
    and that blocks are residual blocks on one grid.

    Args:
        inputs: channels of the network's input.
        input_limit: the largest magnitude of the network's input, in units of its grid.

    Raises:
        ModelError: as `ConvolutionWeights.prove`, or the layers do not fit together.
    """
    prove_network(layers, inputs, input_limit)
    if blocks:
        _check_blocks(layers, blocks, first_block)


def _check_blocks(layers: Sequence[ConvolutionWeights], blocks: int, first_block: int) -> None:
    behind = first_block + 2 * blocks
    if blocks < 0 or first_block < 1 or behind > len(layers):
        raise ModelError("a network's residual blocks are not among its layers")
    for wide in layers[first_block:behind:2]:
        kernel = wide.weight.shape[2]
        if not wide.relu or wide.transposed or wide.stride != 1 or kernel != 2 * wide.padding + 1:
            raise ModelError("a residual block's first layer does not keep its places, or has no ReLU")
    for narrow in layers[first_block + 1 : behind : 2]:
        if narrow.transposed or narrow.stride != 1 or narrow.weight.shape[2] != 1:
            raise ModelError("a residual block's second layer is not a 1 x 1 convolution")
    width, bits = layers[first_block].weight.shape[1], layers[first_block].in_bits
    for stream in layers[first_block - 1 : behind : 2]:
        if stream.relu or stream.weight.shape[0] != width or not np.all(stream.out_bits == bits):
            raise ModelError("a network's residual blocks do not share one width and grid, without ReLU")
