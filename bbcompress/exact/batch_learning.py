"""A network whose weights learn between batches, in arithmetic that every machine repeats to the bit.

As in `learning`, weights exist twice: as master weights in float64, which Adam moves by single IEEE operations, and as
integers on the checkpoint's grid, which code. But here inputs may be as large as 2^24: a clamp of each weight that kept
every sum exact would be too small. So the sums are measured.

*The proof.* After each step, let a layer's integers be such that max_j (sum_k |W_jk|) A + max_j |b_j| <= S, A being the
largest magnitude of an input, and max_k (sum_j |W_jk|) 2^30 <= S, where S = 2^53 - 2^40. Then every partial sum,
forwards and backwards, is at most S. Before it is rounded down, half a unit of the coarser grid is added: 2^(s - 1) of
the sum's units, 1 <= s <= 40 (else the model does not learn). So that is exact, too. A layer whose new integers do not
hold to this keeps those that it has, until a later step's do. So the integers that code always hold to it, whatever
the pixels are. `layers.weight_gradient` has the proof for gradients by weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bbcompress.errors import ModelError
from bbcompress.exact.layers import GRADIENT_BITS, GRADIENT_LIMIT, WEIGHT_LIMIT, LayerWeights
from bbcompress.exact.learning import RATE_UNIT
from bbcompress.exact.learning_kernels import BETA1, BETA2, adam_layers

NumpyArray = np.ndarray[Any, Any]
Integers = list[tuple[NumpyArray, NumpyArray]]
"""Weight and bias of each layer."""

SUM_LIMIT = (1 << 53) - (1 << 40)
MAX_SHIFT = 40
BIAS_LIMIT = 1 << 52


class _Layer:
    """A layer's matrix, flat: the weights (outputs, columns), then the biases; with its moments."""

    def __init__(self, weights: LayerWeights, input_limit: int) -> None:
        """Raises ModelError where the layer cannot learn: its sums may be too large."""
        self.shape = weights.weight.shape
        outputs, self._inputs = self.shape[:2]
        self._input_limit = float(input_limit)
        self._split = weights.weight.size
        self.integers = np.append(weights.weight, weights.bias).astype(np.float64)
        size, bits = len(self.integers), weights.weight_bits + weights.in_bits
        no_limits = np.zeros(size // outputs)  # the sums of `fits` are others
        self._places = np.array([0, size], np.int64), np.array([outputs], np.int64), no_limits
        self._rows = np.array([[0, size // outputs]], np.int64)
        self._scales = np.ldexp(1.0, [[weights.weight_bits, bits]])
        self._units = np.ldexp(1.0, [[-GRADIENT_BITS - weights.in_bits, -GRADIENT_BITS]])
        self._clamps = np.array([[float(WEIGHT_LIMIT), float(BIAS_LIMIT)]])
        self._master = self.integers / np.repeat(self._scales, [self._split, outputs])
        self._first, self._second, self._gradient = np.zeros((3, size))
        self._single = np.empty(size, np.float32)
        shifts = bits - weights.out_bits
        rounds = min(weights.weight_bits, int(shifts.min())) >= 1 and int(shifts.max()) <= MAX_SHIFT
        if not rounds or not self.fits(self.integers):
            raise ModelError("the model cannot learn: its sums are too large")

    def fits(self, integers: NumpyArray) -> bool:
        """Whether all sums are at most `SUM_LIMIT`. Those that are not may be rounded here, but do not become smaller
        than that."""
        weight, bias = np.abs(integers[: self._split]).reshape(self.shape[0], -1), np.abs(integers[self._split :])
        forwards = weight.sum(axis=1).max() * self._input_limit + bias.max()
        backwards = weight.sum(axis=0).reshape(self._inputs, -1).sum(axis=1).max() * float(GRADIENT_LIMIT)
        return bool(max(forwards, backwards) <= SUM_LIMIT)

    def step(self, gradient: NumpyArray, share: float, rate: float, correction: float) -> None:
        """Move on, and take the new integers where they fit."""
        self._gradient[: self._split].reshape(len(gradient), -1)[:] = gradient[:, :-1]
        self._gradient[self._split :] = gradient[:, -1]
        found = np.empty_like(self.integers)
        adam_layers(
            self._master,
            self._first,
            self._second,
            self._gradient[None],
            found,
            self._single,
            *self._places,
            self._scales,
            self._units,
            self._clamps,
            share,
            rate,
            correction,
            self._rows,
            np.empty((1, self.shape[0])),
        )
        if self.fits(found):
            self.integers = found

    @property
    def weight(self) -> NumpyArray:
        """Of the checkpoint's shape, in int32."""
        return self.integers[: self._split].astype(np.int32).reshape(self.shape)

    @property
    def bias(self) -> NumpyArray:
        """In float64."""
        return self.integers[self._split :].copy()


class NetworkParameters:
    """The weights of a network on their way: master weights, moments, and the integers of now."""

    def __init__(self, layers: Sequence[LayerWeights], input_limit: int, rate: int) -> None:
        """input_limit: largest magnitude of the network's input. rate: of learning, in units of 1e-6.

        Raises:
            ModelError: a layer cannot learn.
        """
        limits = [input_limit, *(layer.limit for layer in layers)]
        self._layers = [_Layer(layer, limit) for layer, limit in zip(layers, limits, strict=False)]
        self._rate = rate
        self._beta1_power = self._beta2_power = 1.0

    def step(self, gradients: Sequence[NumpyArray], count: int) -> None:
        """One step of Adam against the gradients by each layer's matrix, float64 (outputs, columns), in their units and
        summed over `count` rows of z."""
        self._beta1_power *= BETA1
        self._beta2_power *= BETA2
        rate = (self._rate * RATE_UNIT) / (1.0 - self._beta1_power)
        correction = 1.0 / (1.0 - self._beta2_power)
        for layer, gradient in zip(self._layers, gradients, strict=True):
            layer.step(gradient, 1.0 / count, rate, correction)

    @property
    def integers(self) -> Integers:
        """Those of now: weight, of the checkpoint's shape, in int32, and bias in float64."""
        return [(layer.weight, layer.bias) for layer in self._layers]
