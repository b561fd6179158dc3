"""Integer distributions: integer parameters to integer intervals of exact total, and their gradient tables.

A likelihood p(x|z) reads the decoder's outputs `params`, (B, outputs) integers in float64 on the grid `out_bits`. It
pushes and pops pixels, says how long they are, and gives the derivative of -log p by each parameter for K-step
refinement. The posterior q(z|x) and the prior p(z) live on the 2^P equal-mass bins of N(0, 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bbcompress.coder.ans import EmptyMessage, Message
from bbcompress.exact import distribution_kernels as kernels
from bbcompress.exact.backend import Array, Backend, NumpyBackend
from bbcompress.exact.layers import ACTIVATION_LIMIT, GRADIENT_BITS
from bbcompress.exact.tables import (
    ARGUMENT_BITS,
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    LOGIT_LIMIT,
    SIGMOID_BITS,
    VALUE_BITS,
    IntArray,
    bin_edges,
    bin_medians,
    code_length,
    table,
)

PRECISION = kernels.PRECISION
Intervals = tuple[IntArray, IntArray]
NumpyArray = np.ndarray[Any, Any]


class ExactLikelihood(Protocol):
    """An observation distribution over D pixels of `levels` levels, `parameters_per_pixel` * D outputs.

    Attributes:
        lane_subpixels: sub-pixels for which the writer gives a message a lane more: about one for each 4 to 20 KiB.
    """

    name: str
    levels: int
    parameters_per_pixel: int
    lane_subpixels: int

    def out_bits(self, dimensions: int) -> IntArray:
        """(outputs,) fractional bits that the decoder's last layer has to give."""

    def intervals(self, params: NumpyArray, x: NumpyArray) -> Intervals:
        """Starts and frequencies, (B * D,) each, of pixels x (B, D) out of 2^24."""

    def pop(self, message: Message, params: NumpyArray) -> NumpyArray:
        """Pop pixels, uint8 (B, D).

        Raises:
            EmptyMessage: the message does not hold so many symbols.
        """

    def gradient(self, params: Array, x: Array, backend: Backend) -> Array:
        """d(-log p(x|z))/d(params) in nats and units of 2^-20, (B, outputs); x is (B, D) in float64."""


def negative_log_likelihood(likelihood: ExactLikelihood, params: NumpyArray, x: NumpyArray) -> IntArray:
    """Coded size of each image in units of 2^-30 bits, (B,)."""
    _, frequencies = likelihood.intervals(params, x)
    lengths: IntArray = code_length(frequencies, PRECISION).reshape(len(x), -1).sum(axis=1)
    return lengths


def _flat(array: NumpyArray) -> IntArray:
    return np.ascontiguousarray(array, dtype=np.int64).reshape(-1)


class ExactBernoulli:
    """Pixels 0 and 1; the parameter is the logit of 1 in units of 2^-10."""

    name = "bernoulli"
    levels = 2
    parameters_per_pixel = 1
    lane_subpixels = 1 << 18

    def out_bits(self, dimensions: int) -> IntArray:
        return np.full(dimensions, ARGUMENT_BITS, np.int64)

    def _frequency_of_one(self, params: NumpyArray) -> IntArray:
        index = np.clip(_flat(params), -LOGIT_LIMIT, LOGIT_LIMIT) + LOGIT_LIMIT
        shift = SIGMOID_BITS - PRECISION
        frequency = (table("sigmoid").take(index) + (1 << (shift - 1))) >> shift
        return np.clip(frequency, 1, (1 << PRECISION) - 1, out=frequency)

    def intervals(self, params: NumpyArray, x: NumpyArray) -> Intervals:
        one = self._frequency_of_one(params)
        zero = (1 << PRECISION) - one
        is_one = _flat(x)
        return zero * is_one, np.where(is_one == 1, one, zero)

    def pop(self, message: Message, params: NumpyArray) -> NumpyArray:
        x = message.pop_bernoulli(self._frequency_of_one(params), PRECISION)
        return x.astype(np.uint8).reshape(params.shape)

    def gradient(self, params: Array, x: Array, backend: Backend) -> Array:
        """sigmoid(logit) - x."""
        index = backend.integers(params + LOGIT_LIMIT)
        index = backend.clip_(index, 0, 2 * LOGIT_LIMIT)
        probability = backend.lookup("sigmoid", index) >> (SIGMOID_BITS - GRADIENT_BITS)
        return backend.floats(probability) - x * float(1 << GRADIENT_BITS)


_LAST_LEVEL = 255


class ExactDiscretisedLogistic:
    """Levels 0..255 under a logistic in pixel levels; its mass outside goes to levels 0 and 255.

    The first D outputs are means in units of 256 levels * 2^-18 (so 2^-10 levels), the next D the logarithms of
    the scales (in levels) in units of 2^-10, clamped to [-1.5, 7].
    """

    name = "discretised_logistic"
    levels = 256
    parameters_per_pixel = 2
    lane_subpixels = 1 << 15
    MEAN_BITS = ARGUMENT_BITS + 8

    def out_bits(self, dimensions: int) -> IntArray:
        return np.repeat(np.array([self.MEAN_BITS, ARGUMENT_BITS], np.int64), dimensions)

    def _parameters(self, params: NumpyArray) -> tuple[IntArray, IntArray]:
        d = params.shape[1] // 2
        return _flat(params[:, :d]), _flat(params[:, d:])

    def intervals(self, params: NumpyArray, x: NumpyArray) -> Intervals:
        means, log_scales = self._parameters(params)
        starts, frequencies = np.empty(x.size, np.int64), np.empty(x.size, np.int64)
        kernels.logistic_intervals.for_symbols(x.size)(
            _flat(x), means, log_scales, table("sigmoid"), table("inverse_scale"), starts, frequencies
        )
        return starts, frequencies

    def pop(self, message: Message, params: NumpyArray) -> NumpyArray:
        means, log_scales = self._parameters(params)
        tables = (table("sigmoid"), table("inverse_scale"))
        x = message.pop_with(kernels.pop_logistic, means.size, means, log_scales, *tables)
        return x.astype(np.uint8).reshape(len(params), -1)

    def gradient(self, params: Array, x: Array, backend: Backend) -> Array:
        """By o (mean = 256 o) and by the log scale."""
        d = params.shape[1] // 2
        mean, u = backend.integers(params[:, :d]), backend.integers(params[:, d:])
        by_mean, by_log_scale = _logistic_gradient(mean, u, backend.integers(x), backend)
        gradient = backend.empty_like(params)
        gradient[:, :d] = backend.floats(by_mean)
        gradient[:, d:] = backend.floats(by_log_scale)
        return gradient


def _logistic_gradient(mean: Array, log_scale: Array, level: Array, backend: Backend) -> tuple[Array, Array]:
    """d(-log p) of levels under their discretised logistics, in nats and units of 2^-20; int64 arrays of one shape.

    By o (mean = 256 o) and by the log scale u, with b, a the standardised edges of level x and S the logistic
    function: 256 exp(-u) (S(-b) - S(a)) and b S(-b) - a S(a) + t / (e^t - 1), t = exp(-u); the terms of an edge at
    infinity are zero there.
    """
    clamped = backend.clip_(log_scale - LOG_SCALE_MIN, 0, LOG_SCALE_MAX - LOG_SCALE_MIN)
    free = clamped == log_scale - LOG_SCALE_MIN
    inverse = backend.lookup("inverse_scale", clamped)
    half = 1 << (ARGUMENT_BITS - 1)
    centred = (level << ARGUMENT_BITS) - mean
    b = ((centred + half) * inverse) >> VALUE_BITS
    a = ((centred - half) * inverse) >> VALUE_BITS
    one = 1 << SIGMOID_BITS
    inner_b = backend.integers(level < _LAST_LEVEL)
    inner_a = backend.integers(level > 0)
    # S(-b) and S(a), zero where that edge is at infinity
    above = (one - _sigmoid(b, backend)) * inner_b
    below = _sigmoid(a, backend) * inner_a
    by_mean = ((above - below) * (inverse >> 6)) >> (SIGMOID_BITS + VALUE_BITS - 6 - GRADIENT_BITS - 8)
    slope = backend.lookup("scale_slope", clamped) * inner_a * inner_b
    shift = SIGMOID_BITS + ARGUMENT_BITS - GRADIENT_BITS
    by_log_scale = ((b * above - a * below) >> shift) + (slope >> (VALUE_BITS - GRADIENT_BITS))
    return by_mean, by_log_scale * backend.integers(free)


def _sigmoid(logit: Array, backend: Backend) -> Array:
    index = backend.clip_(logit + LOGIT_LIMIT, 0, 2 * LOGIT_LIMIT)
    return backend.lookup("sigmoid", index)


LIKELIHOODS: dict[str, ExactLikelihood] = {kind.name: kind for kind in (ExactBernoulli(), ExactDiscretisedLogistic())}


class ExactChannelLogistic:
    """RGB levels 0..255 under logistics, the mean of a channel being linear in the channels before it.

    Rows are pixels: params (P, 9), integers of at most 2^24 in magnitude, and levels x (P, 3). The columns are three
    means m in units of 2^-10 levels (256 levels * 2^-18), three logarithms of scales (in levels) in units of 2^-10,
    clamped to [-1.5, 7], and three coefficients c in units of 2^-12. Given the pixel's levels r, g the means are
    m_R, m_G + c_0 (r - m_R) and m_B + c_1 (r - m_R) + c_2 (g - m_G), clamped to 2^24 units. A channel has the intervals
    of `ExactDiscretisedLogistic`.
    """

    name = "channel_logistic"
    levels = 256
    parameters_per_pixel = 9
    lane_subpixels = 1 << 15
    channels = 3
    COEFFICIENT_BITS = 12

    def out_bits(self) -> IntArray:
        """(9,) fractional bits that the decoder's last layer has to give."""
        bits = [ExactDiscretisedLogistic.MEAN_BITS, ARGUMENT_BITS, self.COEFFICIENT_BITS]
        return np.repeat(np.array(bits, np.int64), self.channels)

    def intervals(self, params: NumpyArray, x: NumpyArray, channel: int) -> Intervals:
        """Starts and frequencies, (P,) each, of a channel's levels out of 2^24, given the channels before it."""
        params, x = params.astype(np.int64), x.astype(np.int64)
        mean = self._mean(params, x, channel, NumpyBackend())
        row = np.concatenate([mean, params[:, self.channels + channel]])[None]
        return ExactDiscretisedLogistic().intervals(row, x[:, channel])

    def push(self, message: Message, params: NumpyArray, x: NumpyArray) -> None:
        """Push pixels x (P, 3): all their blue, then their green, then their red."""
        for channel in reversed(range(self.channels)):
            message.push(*self.intervals(params, x, channel), PRECISION)

    def pop(self, message: Message, params: NumpyArray) -> NumpyArray:
        """Pop pixels, uint8 (P, 3). Raises EmptyMessage, the message as it was."""
        params = params.astype(np.int64)
        x = np.zeros((len(params), self.channels), np.int64)
        tables = (table("sigmoid"), table("inverse_scale"))
        for channel in range(self.channels):
            mean = self._mean(params, x, channel, NumpyBackend())
            log_scale = _flat(params[:, self.channels + channel])
            try:
                x[:, channel] = message.pop_with(kernels.pop_logistic, len(x), _flat(mean), log_scale, *tables)
            except EmptyMessage:
                for popped in reversed(range(channel)):
                    message.push(*self.intervals(params, x, popped), PRECISION)
                raise
        return x.astype(np.uint8)

    def lengths(self, params: NumpyArray, x: NumpyArray) -> IntArray:
        """Coded size of each pixel in units of 2^-30 bits, (P,)."""
        lengths = np.zeros(len(x), np.int64)
        for channel in range(self.channels):
            lengths += code_length(self.intervals(params, x, channel)[1], PRECISION)
        return lengths

    def gradient(self, params: Array, x: Array, backend: Backend) -> Array:
        """d(-log p(x|z))/d(params) in nats and units of 2^-20, float64 (P, 9), for levels x (P, 3) in float64.

        By o (m = 256 o), by the log scales and by the coefficients. With g_k the derivative by channel k's mean: by
        m_R g_R - c_0 g_G - c_1 g_B, by m_G g_G - c_2 g_B, by m_B g_B, by c_0 g_G (r - m_R), by c_1 g_B (r - m_R) and
        by c_2 g_B (g - m_G). The clamp of the means lets it pass.
        """
        params, x = backend.integers(params), backend.integers(x)
        by_mean, by_log_scale = [], []
        for channel in range(self.channels):
            mean = self._mean(params, x, channel, backend)
            derivatives = _logistic_gradient(mean, params[:, self.channels + channel], x[:, channel], backend)
            by_mean.append(derivatives[0])
            by_log_scale.append(derivatives[1])
        c0, c1, c2 = (params[:, 2 * self.channels + i] for i in range(3))
        red, green = self._residual(params, x, 0), self._residual(params, x, 1)
        g_red, g_green, g_blue = by_mean
        # |g| <= 256 e^1.5 < 2^11 nats, 2^31 units; c <= 2^24 and residuals < 2^25: products are below 2^56
        columns = [
            g_red - ((c0 * g_green + c1 * g_blue) >> self.COEFFICIENT_BITS),
            g_green - ((c2 * g_blue) >> self.COEFFICIENT_BITS),
            g_blue,
            *by_log_scale,
            (g_green * red) >> ExactDiscretisedLogistic.MEAN_BITS,
            (g_blue * red) >> ExactDiscretisedLogistic.MEAN_BITS,
            (g_blue * green) >> ExactDiscretisedLogistic.MEAN_BITS,
        ]
        gradient = backend.zeros((len(columns[0]), self.parameters_per_pixel))
        for i, column in enumerate(columns):
            gradient[:, i] = backend.floats(column)
        return gradient

    def _mean(self, params: Array, x: Array, channel: int, backend: Backend) -> Array:
        """A channel's mean in int64, (P,), by the levels x (P, 3) of the channels before it."""
        mean = params[:, channel]
        if not channel:
            return mean
        first = 2 * self.channels + channel - 1  # G has one coefficient, B the next two
        # Residuals are below 2^25 and coefficients at most 2^24: each product is below 2^49
        shift = 1 << (self.COEFFICIENT_BITS - 1)
        for earlier in range(channel):
            shift = shift + params[:, first + earlier] * self._residual(params, x, earlier)
        return backend.clip_(mean + (shift >> self.COEFFICIENT_BITS), -ACTIVATION_LIMIT, ACTIVATION_LIMIT)

    def _residual(self, params: Array, x: Array, channel: int) -> Array:
        """x - m of a channel, in units of 2^-10 levels."""
        return (x[:, channel] << ARGUMENT_BITS) - params[:, channel]


@dataclass(frozen=True)
class EqualMassBins:
    """The prior p(z) of latents on their grid: 2^bits bins of N(0, 1) of equal mass, so a uniform distribution."""

    bits: int
    latents: int = 1

    def values(self, z: NumpyArray) -> IntArray:
        """Values (medians) of bins z, in units of 2^-24."""
        return bin_medians(self.bits).take(z)

    def push(self, message: Message, z: NumpyArray) -> None:
        """Push bins z (rows, Z)."""
        message.push_uniform(_flat(z), self.bits)

    def pop(self, message: Message, rows: int) -> IntArray:
        """Pop bins, (rows, Z).

        Raises:
            EmptyMessage: the message does not hold so many symbols.
        """
        return message.pop_uniform(rows * self.latents, self.bits).reshape(rows, self.latents)


class CoarseBins:
    """The prior p(z) of latents whose grids differ: 2^b bins of N(0, 1) of equal mass for a latent of b bits."""

    def __init__(self, bits: Sequence[int]) -> None:
        """bits: b of each latent, 0 to 24."""
        self.bits = np.array(bits, np.int64)
        self._medians = [bin_medians(int(b)) for b in self.bits]

    def values(self, z: NumpyArray) -> IntArray:
        """Values (medians) of bins z (rows, Z), in units of 2^-24."""
        return np.stack([medians[z[:, latent]] for latent, medians in enumerate(self._medians)], axis=1)

    def nearest(self, values: NumpyArray) -> IntArray:
        """The bins in which values (rows, Z) in units of 2^-24 lie."""
        columns = [np.searchsorted(bin_edges(int(b)), v, "right") for b, v in zip(self.bits, values.T, strict=True)]
        return np.stack(columns, axis=1).astype(np.int64)

    def push(self, message: Message, z: NumpyArray) -> None:
        """Push bins z (rows, Z)."""
        shift = PRECISION - np.tile(self.bits, len(z))
        message.push(_flat(z) << shift, 1 << shift, PRECISION)

    def pop(self, message: Message, rows: int) -> IntArray:
        """Pop bins, (rows, Z).

        Raises:
            EmptyMessage: the message does not hold so many symbols.
        """
        bits = np.tile(self.bits, rows)
        return message.pop_with(kernels.pop_bits, len(bits), bits).reshape(rows, -1)


@dataclass(frozen=True)
class NormalPosterior:
    """q(z|x) on the equal-mass bins: mu, sigma (B, Z) int64 in units of 2^-24, sigma >= 1."""

    bins: EqualMassBins
    mu: IntArray
    sigma: IntArray

    def __getitem__(self, rows: slice) -> NormalPosterior:
        return NormalPosterior(self.bins, self.mu[rows], self.sigma[rows])

    def _tables(self) -> tuple[IntArray, IntArray]:
        return bin_edges(self.bins.bits), table("normal_cdf")

    def pop(self, message: Message) -> IntArray:
        """Pop one bin for each latent, (B, Z).

        Raises:
            EmptyMessage: the message does not hold so many symbols.
        """
        z = message.pop_with(kernels.pop_normal, self.mu.size, _flat(self.mu), _flat(self.sigma), *self._tables())
        return z.reshape(self.mu.shape)

    def poppable(self, message: Message) -> int:
        """How many of the B images' latents the message holds; it is left as it was."""
        n, latents = self.mu.shape
        parameters = (_flat(self.mu), _flat(self.sigma), *self._tables())
        return int(message.poppable(kernels.pop_normal, n * latents, *parameters) // latents)

    def intervals(self, z: NumpyArray) -> Intervals:
        """Starts and frequencies, (B * Z,) each, of bins z (B, Z) out of 2^24."""
        starts, frequencies = np.empty(z.size, np.int64), np.empty(z.size, np.int64)
        kernels.normal_intervals.for_symbols(z.size)(
            _flat(z), _flat(self.mu), _flat(self.sigma), *self._tables(), starts, frequencies
        )
        return starts, frequencies

    def push(self, message: Message, z: NumpyArray) -> None:
        """Push bins z (B, Z)."""
        message.push(*self.intervals(z), PRECISION)
