"""Layers whose weights learn while an image is coded, in arithmetic that every machine repeats to the bit.

What decodes pixels may learn from them: after each unit of pixels that both sides know, the weights take a step of Adam
along the gradient of the unit's code length. Reader and writer take the same steps, so that no bit is spent on them.

*What is exact.* A layer's weights exist twice: as master weights, real numbers in float64, and as the integers
floor(w 2^b + 1/2) on the checkpoint's grid, clamped to the layer's `clamp`. Whatever is coded, and every gradient,
comes from the integers. A gradient by a weight is the sum over a unit's pixels of an integer gradient times an integer
input, a matrix product. The step is a fixed chain of float64 operations on each weight, each rounded by itself.

*The proof.* Let a layer have m outputs and n inputs of magnitudes at most a_1, ..., a_n, and let A = a_1 + ... + a_n.
Gradients are clamped to G = 2^30 before each product, and a unit has at most N = 2^12 pixels.

- Backwards: each partial sum is at most m clamp G. Forwards: clamp A + bias clamp. `weight_clamp` is the largest number
  with which the first is at most 2^52 and the second, the bias clamp being 2^44, at most 2^52, too. So no partial
  sum reaches 2^53, and the half that is added before rounding down is exact, whatever the weights are within the clamp.
- Gradients by weights: each partial sum is at most N G max a_k. Layers have max a_k <= 2^10 (else the model does not
  learn), so that is at most 2^52; by biases, whose input is 1, less.
  (A header's `unit` is at most 2^11, and the last step of a unit has fewer than 2^9 pixels, as a block is at most 1279
  pixels wide.)
- Pixels, features and activations never exceed the a_k, because they are clamped or are levels.
- The step: |first| / sqrt(second) is bounded, as for any Adam with beta1^2 < beta2, by
  (1 - beta1) / sqrt((1 - beta2) (1 - beta1^2 / beta2)) < 7.3. The corrections change that by less than a factor of 10.
  So a weight moves by less than 73 learning rates a step: finitely far. Integers are clamped after that.

So nothing leaves the exact range whatever the pixels are. A unit's gradient may be taken in parts, by several threads:
these are exact integers, and so is their sum, whose bound is that of the whole unit. float32 for a layer's forward
product is a choice of speed: `Parameters` keeps the largest sum that the current integers allow, and a layer at or
above 2^24 works in float64. Compiled loops may choose again by the largest activation that there is: with h in place
of a limit of a, no sum is above h / a of the largest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from bbcompress.errors import ModelError
from bbcompress.exact.layers import GRADIENT_BITS, GRADIENT_LIMIT, SINGLE_LIMIT, LinearWeights
from bbcompress.exact.learning_kernels import BETA1, BETA2, adam_layers
from bbcompress.exact.tables import IntArray
from bbcompress.system.team import Team

NumpyArray = np.ndarray[Any, Any]

MAX_UNIT = 1 << 12
"""Most pixels of a unit."""
INPUT_LIMIT = 1 << 10
"""The largest magnitude of an input of a layer that learns."""
BIAS_CLAMP = 1 << 44
RATE_UNIT = 1e-6
"""Of learning rates in files."""
_SUM_LIMIT = 1 << 52


@dataclass(frozen=True)
class LearningLayer:
    """One layer as its checkpoint has it, and the largest magnitude of each of its inputs, int64 (inputs,).

    Its matrix here is (outputs, inputs + 1): the last column is the bias, whose input is 1.

    Raises:
        ModelError: the layer cannot learn: an input may be too large, or a weight is beyond the clamp.
    """

    weights: LinearWeights
    limits: IntArray

    def __post_init__(self) -> None:
        if int(self.limits.max()) > INPUT_LIMIT or self.weight_clamp < 1:
            raise ModelError("the model cannot learn: its activations are too large")
        if (np.abs(self.matrix) > self.clamps).any():
            raise ModelError("the model cannot learn: its weights are too large")

    @property
    def weight_clamp(self) -> int:
        """The largest magnitude of a weight with which no sum can leave the exact range."""
        outputs = len(self.weights.weight)
        forwards = (_SUM_LIMIT - BIAS_CLAMP) // int(self.limits.sum())
        return min(forwards, _SUM_LIMIT // (outputs * GRADIENT_LIMIT))

    @property
    def shape(self) -> tuple[int, int]:
        """Of its matrix."""
        outputs, inputs = self.weights.weight.shape
        return outputs, inputs + 1

    @property
    def matrix(self) -> IntArray:
        """The checkpoint's integers."""
        return np.concatenate([self.weights.weight, self.weights.bias[:, None]], axis=1)

    @property
    def clamps(self) -> NumpyArray:
        """The largest magnitude of each column's integers, float64."""
        inputs = len(self.limits)
        return np.append(np.full(inputs, float(self.weight_clamp)), float(BIAS_CLAMP))

    @property
    def scales(self) -> NumpyArray:
        """Integers a unit of each column, float64: powers of two."""
        bits = np.append(np.full(len(self.limits), self.weights.weight_bits), self.weights.weight_bits + self.in_bits)
        scales: NumpyArray = np.ldexp(1.0, bits)
        return scales

    @property
    def units(self) -> NumpyArray:
        """What a unit of each column's integer gradient is, float64: powers of two."""
        bits = np.append(np.full(len(self.limits), GRADIENT_BITS + self.in_bits), GRADIENT_BITS)
        units: NumpyArray = np.ldexp(1.0, -bits)
        return units

    @property
    def in_bits(self) -> int:
        """Fractional bits of its inputs."""
        return self.weights.in_bits


class Parameters:
    """The weights of some layers on their way: master weights, moments, and the integers of now.

    exact, single: for each layer its integers (outputs, inputs + 1) in float64 and float32, the latter only to be used
    where `is_single` says that: where the largest sum that they allow, `largest`, is small enough. gradients: for each
    part of a unit, and of these for each layer, where its integer gradient is to be put before `step`, which adds them
    up. `flat_exact`, `flat_single` and `flat_gradients` hold these one after the other, from `begins` on.
    In memory their rows are the inputs, and the biases come last: products forwards are faster so, and the biases of a
    layer stand side by side.
    """

    def __init__(self, layers: Sequence[LearningLayer], rate: int) -> None:
        """rate: learning rate in units of 1e-6."""
        self.layers = list(layers)
        self.rate = rate
        sizes = [rows * columns for rows, columns in (layer.shape for layer in layers)]
        self.begins = np.cumsum([0, *sizes])
        self._outputs = np.array([layer.shape[0] for layer in layers], np.int64)
        self._rows: dict[int, list[IntArray]] = {}
        self._limits = np.concatenate([np.append(layer.limits, 1) for layer in layers]).astype(np.float64)
        self._columns = [
            np.array([values[[0, -1]] for values in of_all])
            for of_all in zip(*((layer.scales, layer.units, layer.clamps) for layer in layers), strict=True)
        ]
        shifts = [(layer.in_bits + layer.weights.weight_bits - layer.weights.out_bits).min() for layer in layers]
        self._rounds = np.array(shifts) > 0
        total = int(self.begins[-1])
        self.flat_exact, self.flat_single = np.empty(total), np.empty(total, np.float32)
        self._master, self._first, self._second = np.empty(total), *np.zeros((2, total))
        self.exact, self.single = self._views(self.flat_exact), self._views(self.flat_single)
        self.expect_parts(1)
        self.is_single = np.zeros(len(layers), np.bool_)
        self.largest = np.zeros(len(layers))
        self._beta1_power = self._beta2_power = 1.0
        for number, layer in enumerate(layers):
            self._set(number, layer.matrix)
            self._views(self._master)[number][:] = layer.matrix / layer.scales

    def _views(self, flat: NumpyArray) -> list[NumpyArray]:
        """A matrix of each layer, (outputs, inputs + 1)."""
        return [
            flat[begin:end].reshape(-1, outputs).T
            for begin, end, outputs in zip(self.begins, self.begins[1:], self._outputs, strict=False)
        ]

    def expect_parts(self, parts: int) -> None:
        """Have room for the gradients of so many parts of a unit."""
        self.flat_gradients = np.zeros((parts, len(self._master)))
        self.gradients = [self._views(flat) for flat in self.flat_gradients]

    def _set(self, number: int, integers: NumpyArray) -> None:
        """Let a layer have these integers."""
        self.exact[number][:] = self.single[number][:] = integers
        self.largest[number] = (np.abs(integers) * np.append(self.layers[number].limits, 1)).sum(axis=1).max()
        self._choose()

    def _choose(self) -> None:
        # the half that is added before rounding down needs a bit
        self.is_single[:] = (self.largest < SINGLE_LIMIT) & self._rounds

    def copy(self) -> Parameters:
        """Independent parameters of the same state."""
        copy = object.__new__(Parameters)
        copy.__dict__.update(self.__dict__)
        copy.flat_exact, copy.flat_single, copy._master = (
            self.flat_exact.copy(),
            self.flat_single.copy(),
            self._master.copy(),
        )
        copy._first, copy._second = self._first.copy(), self._second.copy()
        copy.exact, copy.single = copy._views(copy.flat_exact), copy._views(copy.flat_single)
        copy.expect_parts(1)
        copy.is_single, copy.largest = self.is_single.copy(), self.largest.copy()
        return copy

    def halfway_to(self, other: Parameters) -> Parameters:
        """Parameters whose master weights are the means of these and of others', of the same layers; the rest of the
        state is as here."""
        mean = self.copy()
        mean._master[:] = (self._master + other._master) * 0.5
        masters = mean._views(mean._master)
        for number, (layer, master) in enumerate(zip(self.layers, masters, strict=True)):
            mean._set(number, np.clip(np.floor(master * layer.scales + 0.5), -layer.clamps, layer.clamps))
        return mean

    def step(self, pixels: int, parts: int = 1, team: Team | None = None) -> None:
        """One step of Adam against the gradients of a unit of so many pixels, at most `MAX_UNIT`, in so many parts.

        team: shares the work; the weights are the same.
        """
        if pixels > MAX_UNIT:
            raise ValueError(f"{pixels} pixels are too many for exact sums")
        self._beta1_power *= BETA1
        self._beta2_power *= BETA2
        share = 1.0 / pixels
        rate = (self.rate * RATE_UNIT) / (1.0 - self._beta1_power)
        correction = 1.0 / (1.0 - self._beta2_power)
        shares = self._shares(1 if team is None else team.size)
        sums = np.zeros((len(shares), len(self.layers), int(self._outputs.max())))
        tasks = [
            partial(
                adam_layers,
                self._master,
                self._first,
                self._second,
                self.flat_gradients[:parts],
                self.flat_exact,
                self.flat_single,
                self.begins,
                self._outputs,
                self._limits,
                *self._columns,
                share,
                rate,
                correction,
                *places,
            )
            for places in zip(shares, sums, strict=True)
        ]
        if team is None:
            tasks[0]()
        else:
            team.run(tasks)
        self.largest[:] = sums.sum(axis=0).max(axis=1)
        self._choose()

    def _shares(self, count: int) -> list[IntArray]:
        """For each of so many threads the rows of each layer whose step it takes, (layers, 2): about equally many
        weights."""
        if count not in self._rows:
            ends = [len(self._master) * number // count for number in range(count + 1)]
            rows = np.diff(self.begins) // self._outputs
            cuts = [np.clip((end - self.begins[:-1]) // self._outputs, 0, rows) for end in ends]
            self._rows[count] = [np.stack(both, axis=1) for both in pairwise(cuts)]
        return self._rows[count]
