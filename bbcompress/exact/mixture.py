"""Integer distributions of single sub-pixels, for the local models: a mixture of logistics, and a Bernoulli.

A local model's network gives each sub-pixel a row of outputs, integers in float64 on the grid `out_bits`, and takes a
level that is known already, such as a neighbour's, for its `reference`. An image is decoded in many pops, each from
the lane on which the last one ended: together they undo one push of all sub-pixels in the order of decoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bbcompress.coder.ans import Message
from bbcompress.exact import mixture_kernels as kernels
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import PRECISION, ExactBernoulli, Intervals, NumpyArray
from bbcompress.exact.lattice_kernels import pop_restricted, restricted_intervals
from bbcompress.exact.tables import ARGUMENT_BITS, IntArray, table

MAX_COMPONENTS = 256


class LocalLikelihood(Protocol):
    """The distribution of a sub-pixel of `levels` levels by `outputs` outputs of a network and a reference level.

    N sub-pixels have params (N, outputs) float64, integers of at most 2^24 in magnitude, and references and levels x
    (N,), integers in [0, levels). Methods raise ValueError where these shapes do not fit together.
    """

    @property
    def name(self) -> str: ...
    @property
    def levels(self) -> int: ...
    @property
    def outputs(self) -> int: ...

    def out_bits(self) -> IntArray:
        """(outputs,) fractional bits that a network's last layer has to give."""

    def intervals(self, params: NumpyArray, references: NumpyArray, x: NumpyArray) -> Intervals:
        """Starts and frequencies, (N,) each, of levels x out of 2^24."""

    def pop(self, message: Message, first_lane: int, params: NumpyArray, references: NumpyArray) -> IntArray:
        """Pop N levels, int64 (N,), the i-th from lane (first_lane + i) mod lanes.

        Raises:
            EmptyMessage: the message does not hold so many symbols.
        """

    def gradient(self, params: NumpyArray, references: NumpyArray, x: NumpyArray) -> NumpyArray:
        """d(-log p(x))/d(params) in nats and units of 2^-20, float64 (N, outputs): by the outputs as real numbers,
        of which `out_bits` are the fractional bits."""


@dataclass(frozen=True)
class LogisticMixture:
    """Levels 0..255 under a mixture of logistics, with point masses at 0 and 255 (`LocalLikelihood`).

    After PixelCNN++ (Salimans et al., 2017, arXiv:1701.05517): a level has a logistic's mass from half a level below it
    to half a level above, levels 0 and 255 the tails as well. The outputs are, for M components, M + 2 logits in nats
    (the last two are the point masses', at 0 and at 255), M offsets of the means from the reference in units of 64
    levels, and M log scales t: a scale is exp(t) / 32 levels, t clamped to [0, 10]. Frequencies are within 256 / 2^24
    of the real mixture's probabilities, and at least 1 / 2^24, which costs 2.2e-5 bits.
    """

    components: int

    name = "logistic_mixture"
    levels = 256
    lane_subpixels = 1 << 16

    def __post_init__(self) -> None:
        if not 1 <= self.components <= MAX_COMPONENTS:
            raise ValueError(f"a mixture has 1 to {MAX_COMPONENTS} components")

    @property
    def outputs(self) -> int:
        return 3 * self.components + 2

    def out_bits(self) -> IntArray:
        m = self.components
        offset_bits = kernels.OFFSET_BITS + 6  # of units of 64 levels
        return np.repeat(np.array([ARGUMENT_BITS, offset_bits, ARGUMENT_BITS], np.int64), [m + 2, m, m])

    def intervals(self, params: NumpyArray, references: NumpyArray, x: NumpyArray) -> Intervals:
        params, references, x = _checked(self.outputs, params, references, x)
        starts, frequencies = np.empty(x.size, np.int64), np.empty(x.size, np.int64)
        kernels.mixture_intervals.for_symbols(x.size)(x, references, params, *mixture_tables(), starts, frequencies)
        return starts, frequencies

    def pop(self, message: Message, first_lane: int, params: NumpyArray, references: NumpyArray) -> IntArray:
        params, references = _checked(self.outputs, params, references)
        return message.pop_with(
            kernels.pop_mixture, references.size, int(first_lane), references, params, *mixture_tables()
        )

    def intervals_within(
        self, params: NumpyArray, references: NumpyArray, x: NumpyArray, rows: NumpyArray, allowed: NumpyArray
    ) -> Intervals:
        """The same, where only the levels are possible that rows (N,) of `allowed` say (`lattices.Lattice`)."""
        params, references, x, rows = _checked(self.outputs, params, references, x, rows)
        starts, frequencies = np.empty((2, x.size), np.int64)
        restricted_intervals(x, references, params, rows, allowed, *mixture_tables(), starts, frequencies)
        return starts, frequencies

    def pop_within(
        self,
        message: Message,
        first_lane: int,
        params: NumpyArray,
        references: NumpyArray,
        rows: NumpyArray,
        allowed: NumpyArray,
    ) -> IntArray:
        """The same, where only those levels are possible. Raises EmptyMessage."""
        params, references, rows = _checked(self.outputs, params, references, rows)
        tables = mixture_tables()
        return message.pop_with(
            pop_restricted, references.size, int(first_lane), references, params, rows, allowed, *tables
        )

    def gradient(self, params: NumpyArray, references: NumpyArray, x: NumpyArray) -> NumpyArray:
        params, references, x = _checked(self.outputs, params, references, x)
        gradient = np.empty_like(params)
        kernels.mixture_gradient.for_symbols(x.size)(x, references, params, *mixture_tables(), gradient)
        return gradient


@dataclass(frozen=True)
class LocalBernoulli:
    """Levels 0 and 1 (`LocalLikelihood`); the only output is the logit of 1, references are ignored."""

    name = "bernoulli"
    levels = 2
    outputs = 1

    def out_bits(self) -> IntArray:
        return ExactBernoulli().out_bits(1)

    def intervals(self, params: NumpyArray, references: NumpyArray, x: NumpyArray) -> Intervals:
        params, _, x = _checked(1, params, references, x)
        return ExactBernoulli().intervals(params, x)

    def pop(self, message: Message, first_lane: int, params: NumpyArray, references: NumpyArray) -> IntArray:
        params, references = _checked(1, params, references)
        _, frequency_of_one = ExactBernoulli().intervals(params, np.ones_like(references))
        return message.pop_bernoulli(frequency_of_one, PRECISION, first_lane)

    def gradient(self, params: NumpyArray, references: NumpyArray, x: NumpyArray) -> NumpyArray:
        params, _, x = _checked(1, params, references, x)
        gradient: NumpyArray = ExactBernoulli().gradient(params, x[:, None].astype(np.float64), NumpyBackend())
        return gradient


def mixture_tables() -> tuple[IntArray, IntArray]:
    """The tables that the kernels of a mixture take."""
    return table("sigmoid"), table("exp_negative")


def _checked(outputs: int, params: NumpyArray, *levels: NumpyArray) -> tuple[Any, ...]:
    """The arrays of the one type that the kernels are compiled for, if their shapes are those of N sub-pixels."""
    if params.ndim != 2 or params.shape[1] != outputs or any(array.shape != params.shape[:1] for array in levels):
        raise ValueError("parameters, references and levels of a local likelihood do not fit together")
    return (_of_type(params, np.float64), *(_of_type(array, np.int64) for array in levels))


def _of_type(array: NumpyArray, dtype: type[Any]) -> NumpyArray:
    if array.dtype == dtype and array.flags.carray:  # np.require takes ten times as long to say so
        return array
    return np.require(array, dtype, ["C", "A", "W"])
