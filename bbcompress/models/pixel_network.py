"""The per-pixel network of `local` models: from a pixel's neighbourhood and its cell's features to its distributions.

All its numbers are integers on the grid of 2^-6. Most sums stay below 2^24, where float32 products are exact, and then
they are taken in float32; a layer whose sums may be larger works in float64. Either way the integers are the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ldexp
from typing import Any

import numpy as np

from bbcompress.errors import ModelError
from bbcompress.exact.backend import Array, Backend
from bbcompress.exact.layers import (
    EXACT_LIMIT,
    GRADIENT_LIMIT,
    SINGLE_LIMIT,
    ExactLinear,
    LinearWeights,
)
from bbcompress.exact.mixture import LocalLikelihood
from bbcompress.exact.tables import IntArray
from bbcompress.models.neighbourhood import LEFT, OFFSETS, UPPER
from bbcompress.models.network_kernels import gather, relu_requantise
from bbcompress.models.strips import Canvas

NumpyArray = np.ndarray[Any, Any]

PIXEL_BITS = 6
"""Fractional bits of everything that enters or leaves a layer, but for the parameters: a unit is 64 levels."""
BINARY_GAIN = 1 << PIXEL_BITS
"""A pixel of two levels is 0 or one whole unit."""
MIDDLE = 128
"""The reference of a pixel that has neither left nor upper neighbour."""
SUM_LIMIT = 1 << 34
"""Gradients summed over the pixels of a cell are clamped to this many units of 2^-20."""


def input_count(channels: int, centred: bool) -> int:
    """Inputs that come from pixels: the neighbours, and with references these as well."""
    return len(OFFSETS) * channels + (channels if centred else 0)


@dataclass(frozen=True)
class PixelNetworkWeights:
    """The integers of a pixel network, and what it has to know of its model.

    channels: 1 or 3. centred: inputs are relative to the pixel's reference. features: how many each pixel has from z,
    clamped to `feature_limit`. trunk, heads, outputs: see `PixelNetwork`. observation: the distribution of a sub-pixel.
    """

    channels: int
    centred: bool
    features: int
    feature_limit: int
    trunk: tuple[LinearWeights, ...]
    heads: LinearWeights
    outputs: tuple[LinearWeights, ...]
    observation: LocalLikelihood

    @property
    def binary(self) -> bool:
        """Whether pixels have two levels."""
        return self.observation.levels == 2

    @property
    def pixels(self) -> int:
        """Inputs that come from pixels."""
        return input_count(self.channels, self.centred)

    @property
    def pixel_limit(self) -> int:
        """The largest absolute value of a neighbour or an earlier channel as an input."""
        return BINARY_GAIN if self.binary else 255

    @property
    def input_limit(self) -> NumpyArray:
        """The largest absolute value of each input of the trunk, int64 (inputs,): neighbours, references, features."""
        references = self.channels if self.centred else 0
        counts = [self.pixels - references, references, self.features]
        limits = np.array([self.pixel_limit, max(self.pixel_limit, MIDDLE), self.feature_limit], np.int64)
        return np.repeat(limits, counts)

    def prove(self) -> None:
        """Prove that no sum of the network, forwards or backwards, can leave the exact range. Raises ModelError."""
        if not self.trunk or len(self.outputs) != self.channels:
            raise ModelError("the pixel network misses a layer")
        limit = self.input_limit
        for weights in self.trunk:
            _prove(weights, limit, relu=True)
            limit = np.full(len(weights.weight), weights.limit, np.int64)
        _prove(self.heads, np.append(limit, np.full(self.channels - 1, self.pixel_limit, np.int64)), relu=True)
        width, rest = divmod(len(self.heads.weight), self.channels)
        if rest or not width:
            raise ModelError("the pixel network's heads are not of one width")
        for channel in range(self.channels):  # no head may see its own channel or a later one
            if np.any(self.heads.weight[channel * width : (channel + 1) * width, len(limit) + channel :]):
                raise ModelError("a head of the pixel network sees a channel that is not decoded yet")
            inputs = np.repeat(np.array([self.heads.limit, self.pixel_limit], np.int64), [width, channel])
            _prove(self.outputs[channel], inputs, relu=False)
            if not np.array_equal(self.outputs[channel].out_bits, self.observation.out_bits()):
                raise ModelError("the pixel network's outputs are not on the grid that their distribution needs")
        if int(np.abs(self.trunk[0].weight[:, self.pixels :]).sum(axis=0).max()) * SUM_LIMIT >= EXACT_LIMIT:
            raise ModelError("the features' gradient can leave the range of exact float64 integers")


def _prove(weights: LinearWeights, limit: NumpyArray, relu: bool) -> None:
    weights.prove(limit)
    if weights.weight.shape[1] != len(limit) or weights.in_bits != PIXEL_BITS or weights.relu != relu:
        raise ModelError("the pixel network's layers do not fit together")
    if relu and np.any(weights.out_bits != PIXEL_BITS):
        raise ModelError("the pixel network's fixed-point grids do not fit together")


class _Layer:
    """One layer forwards, in float32 where that is proved to be exact; backwards by `ExactLinear`, in float64."""

    def __init__(self, weights: LinearWeights, input_limit: NumpyArray, backend: Backend) -> None:
        shift = weights.in_bits + weights.weight_bits - weights.out_bits
        self.single = weights.largest_sum(input_limit) < SINGLE_LIMIT
        if weights.relu and not shift.min():  # the half that is added before rounding down needs a bit
            self.single = False
        self.dtype = np.float32 if self.single else np.float64
        self._backend = backend
        self._weight = backend.asarray(np.ascontiguousarray(weights.weight.T.astype(self.dtype)))
        self.bias = backend.asarray(weights.bias.astype(self.dtype))
        self.scale = backend.asarray(np.ldexp(1.0, -shift))
        self.uniform_scale = float(np.ldexp(1.0, -int(shift[0])))
        self.limit = weights.limit
        self.linear = ExactLinear(weights, backend)

    def product(self, x: Array) -> Array:
        """W x, (N, outputs), without the bias."""
        return self._backend.matmul(self._backend.cast(x, self.dtype), self._weight)

    def relu(self, total: Array) -> Array:
        """The layer's outputs on its grid, float32, from the product."""
        return self.relu_part(total, slice(None))

    def relu_part(self, total: Array, columns: slice) -> Array:
        """The same for the product of some of the layer's outputs."""
        backend, bias = self._backend, self.bias[columns]
        if isinstance(total, np.ndarray) and self.single and relu_requantise.pays_for(len(total)):
            relu_requantise(total, bias, np.float32(self.uniform_scale), np.float32(self.limit))
            return total
        total += bias
        total *= self.uniform_scale
        total += 0.5
        return backend.cast(backend.clip_(backend.floor_(total), 0, self.limit), np.float32)

    def outputs(self, total: Array) -> Array:
        """Likewise of a layer without ReLU, float64."""
        total = self._backend.cast(total, np.float64)
        total += self.bias
        total *= self.scale
        total += 0.5
        return self._backend.clip_(self._backend.floor_(total), -self.limit, self.limit)


class PixelNetwork:
    """Inputs -> trunk (ReLU layers) -> a hidden layer for each channel, its head -> the channel's parameters.

    A head and its outputs also see the earlier channels of the pixel, less their references.
    """

    def __init__(self, weights: PixelNetworkWeights, backend: Backend) -> None:
        self._backend = backend
        self.channels = weights.channels
        self._centred = weights.centred
        self._gain = BINARY_GAIN if weights.binary else 1
        self._pixels = weights.pixels
        self._features = weights.features
        self._observation = weights.observation
        pixel_limit, limit = weights.pixel_limit, weights.input_limit
        self._trunk = []
        for layer in weights.trunk:
            self._trunk.append(_Layer(layer, limit, backend))
            limit = np.full(len(layer.weight), layer.limit, np.int64)
        self._split = len(limit)
        self._heads = _Layer(weights.heads, np.append(limit, np.full(self.channels - 1, pixel_limit)), backend)
        self._width = len(weights.heads.weight) // self.channels
        across = weights.heads.weight[:, self._split :].T.astype(self._heads.dtype)
        main = weights.heads.weight[:, : self._split].T.astype(self._heads.dtype)
        self._across = [
            backend.asarray(np.ascontiguousarray(across[:c, self._columns(c)])) for c in range(self.channels)
        ]
        self._heads_main = backend.asarray(np.ascontiguousarray(main))
        self._outputs = [
            _Layer(layer, np.repeat(np.array([weights.heads.limit, pixel_limit]), [self._width, c]), backend)
            for c, layer in enumerate(weights.outputs)
        ]
        self._head_backward = [ExactLinear(_columns_of(layer, self._width), backend) for layer in weights.outputs]
        self._heads_backward = ExactLinear(_columns_of(weights.heads, self._split), backend)
        self._first_features = backend.asarray(
            np.ascontiguousarray(weights.trunk[0].weight[:, self._pixels :].astype(np.float64))
        )
        self._first_scale = ldexp(1.0, -weights.trunk[0].weight_bits)

    def _columns(self, channel: int) -> slice:
        return slice(channel * self._width, (channel + 1) * self._width)

    # Inputs

    def context(
        self, canvas: Canvas, indices: IntArray, features: NumpyArray | None = None, cells: IntArray | None = None
    ) -> tuple[NumpyArray, IntArray]:
        """Inputs, float32 (N, inputs), and references, int64 (C, N), of pixels.

        A neighbour outside the image counts as the reference; the reference is the mean, rounded up, of left and upper
        neighbour, the one that exists, or 128. Where the model is not centred both are 0. features: (cells, F) with the
        pixels' cells fill the last columns; without them these are left as they are.
        """
        inputs = np.empty((len(indices), self._pixels + self._features), np.float32)
        references = np.empty((self.channels, len(indices)), np.int64)
        gather.for_symbols(len(indices))(
            canvas.flat,
            indices,
            canvas.offsets,
            int(self._centred),
            self._gain,
            LEFT,
            UPPER,
            MIDDLE,
            inputs,
            references,
        )
        if features is not None:
            inputs[:, self._pixels :] = features[cells]
        return inputs, references

    def no_channels(self, n: int) -> NumpyArray:
        """Room for what n pixels' heads see of earlier channels, float32 (n, C)."""
        return np.zeros((n, self.channels), np.float32)

    def add_channel(self, earlier: NumpyArray, channel: int, levels: IntArray, references: IntArray) -> None:
        """Write a channel that is known now."""
        earlier[:, channel] = (levels - references) * self._gain

    # Forwards

    def heads_of(self, inputs: NumpyArray) -> Array:
        """The heads' sums without earlier channels, (N, C * width)."""
        x = self._backend.asarray(inputs)
        for layer in self._trunk:
            x = layer.relu(layer.product(x))
        return self._backend.matmul(self._backend.cast(x, self._heads.dtype), self._heads_main)

    def parameters(self, heads: Array, channel: int, earlier: NumpyArray) -> NumpyArray:
        """The channel's parameters, float64 (N, outputs)."""
        hidden = self._hidden(heads, channel, earlier)
        return self._backend.numpy(self._parameters(hidden, channel, earlier))

    def _hidden(self, heads: Array, channel: int, earlier: NumpyArray) -> Array:
        columns = self._columns(channel)
        total = heads[:, columns]
        if channel:
            seen = self._backend.asarray(earlier[:, :channel].astype(self._heads.dtype))
            total = total + self._backend.matmul(seen, self._across[channel])
        else:
            total = total + 0
        return self._heads.relu_part(total, columns)

    def _parameters(self, hidden: Array, channel: int, earlier: NumpyArray) -> Array:
        layer = self._outputs[channel]
        x = hidden
        if channel:
            x = self._backend.hstack(hidden, self._backend.asarray(np.ascontiguousarray(earlier[:, :channel])))
        return layer.outputs(layer.product(x))

    # Backwards

    def feature_gradient(
        self,
        inputs: NumpyArray,
        references: IntArray,
        levels: IntArray,
        features: NumpyArray,
        cells: IntArray,
        factor: int,
    ) -> tuple[IntArray, NumpyArray]:
        """The cells of pixels, and d(-log p)/d(features) summed over the pixels of each, float64 (found, F).

        The pixels are sorted by cell; features: (N, F) of each pixel's cell. Gradients are in units of 2^-20; sums are
        multiplied by `factor` and clamped.
        """
        backend = self._backend
        inputs[:, self._pixels :] = features
        tape = [backend.asarray(inputs)]
        for layer in self._trunk:
            tape.append(layer.relu(layer.product(tape[-1])))
        heads = backend.matmul(backend.cast(tape[-1], self._heads.dtype), self._heads_main)
        earlier = self.no_channels(len(inputs))
        by_hidden, hiddens = [], []
        for channel in range(self.channels):
            hidden = self._hidden(heads, channel, earlier)
            params = self._parameters(hidden, channel, earlier)
            by_params = self._observation.gradient(backend.numpy(params), references[channel], levels[channel])
            by_hidden.append(self._head_backward[channel].backward(backend.asarray(by_params), params))
            hiddens.append(hidden)
            self.add_channel(earlier, channel, levels[channel], references[channel])
        gradient = self._heads_backward.backward(_hstack(backend, by_hidden), _hstack(backend, hiddens))
        for layer, y in zip(self._trunk[:0:-1], tape[:1:-1], strict=True):
            gradient = layer.linear.backward(gradient, y)
        first = backend.numpy(gradient * (tape[1] > 0))
        np.clip(first, -GRADIENT_LIMIT, GRADIENT_LIMIT, out=first)
        begins = np.flatnonzero(np.diff(cells, prepend=-1))
        sums = np.add.reduceat(first, begins, axis=0) * float(factor)
        np.clip(sums, -SUM_LIMIT, SUM_LIMIT, out=sums)
        by_features = backend.numpy(backend.matmul(backend.asarray(sums), self._first_features))
        by_features = np.floor(by_features * self._first_scale + 0.5)
        return cells[begins], np.clip(by_features, -GRADIENT_LIMIT, GRADIENT_LIMIT)


def _columns_of(layer: LinearWeights, count: int) -> LinearWeights:
    """The layer's first inputs alone, for the backward pass."""
    return replace(layer, weight=np.ascontiguousarray(layer.weight[:, :count]))


def _hstack(backend: Backend, arrays: list[Array]) -> Array:
    result = arrays[0]
    for array in arrays[1:]:
        result = backend.hstack(result, array)
    return result
