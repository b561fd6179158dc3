"""K-step refinement: K Adam steps on the posterior of each image alone (Algorithm 2 of the paper, Eqs. 20 and 21).

The decoder of a file repeats the very same steps once it knows x. Gradients run back through the exact decoder; the
rest is float64, one IEEE operation at a time, so that no machine may differ in a bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import ldexp

import numpy as np
import numpy.typing as npt

from bbcompress.exact.backend import Array, Backend
from bbcompress.exact.distributions import NormalPosterior
from bbcompress.exact.learning import RATE_UNIT
from bbcompress.exact.learning_kernels import BETA1, BETA2, EPSILON
from bbcompress.exact.tables import (
    QUANTILE_BITS,
    RHO_MAX,
    RHO_MIN,
    SIGMOID_BITS,
    VALUE_BITS,
    VALUE_UNIT,
    IntArray,
    bin_medians,
)
from bbcompress.models.base import RHO_BITS, Model
from bbcompress.models.strips import Strips

_NOISE_BITS = QUANTILE_BITS - 1
_SIGMOID_UNIT = ldexp(1.0, -SIGMOID_BITS)


def refine(vae: Model, x: Strips, encoder: str, k: int, learning_rate: int) -> NormalPosterior:
    """q(z|x) of images x after K Adam steps up the ELBO from the encoder's output.

    Args:
        k: K, 0 for the encoder's own posterior.
        learning_rate: in units of 1e-6.
    """
    (last,) = deque(refinements(vae, x, encoder, k, learning_rate), maxlen=1)
    return posterior_of(vae, *last)


def refinements(vae: Model, x: Strips, encoder: str, k: int, learning_rate: int) -> Iterator[tuple[Array, Array]]:
    """(mu, rho), float64 (rows, Z) both, of q(z|x) after 0, 1, ..., K steps; sigma = softplus(rho)."""
    backend = vae.backend
    prepared = vae.prepare(x)
    mu, rho = vae.encode(prepared, encoder)
    yield mu, rho
    adam_mu, adam_rho = Adam(learning_rate, mu, backend), Adam(learning_rate, rho, backend)
    for step in range(1, k + 1):
        epsilon = backend.asarray(noise(step, vae.weights.latents))
        index = _rho_index(rho, backend)
        sigma = backend.floats(backend.lookup("softplus", index)) * VALUE_UNIT
        by_z = vae.gradient(mu + sigma * epsilon, prepared, step)
        by_mu = mu + by_z  # KL(q || N(0, 1)) adds mu and sigma - 1/sigma
        by_sigma = sigma - 1.0 / sigma + by_z * epsilon
        by_rho = by_sigma * (backend.floats(backend.lookup("sigmoid_of_rho", index)) * _SIGMOID_UNIT)
        mu = adam_mu.step(mu, by_mu)
        rho = adam_rho.step(rho, by_rho)
        yield mu, rho


def _rho_index(rho: Array, backend: Backend) -> Array:
    grid = backend.floor_(rho * float(1 << RHO_BITS) + 0.5)
    return backend.integers(backend.clip_(grid, RHO_MIN, RHO_MAX) - RHO_MIN)


def posterior_of(vae: Model, mu: Array, rho: Array) -> NormalPosterior:
    """The posterior on the integers' grid, from float64 mu and rho (rows, Z)."""
    backend = vae.backend
    limit = 16 << VALUE_BITS
    grid = backend.clip_(backend.floor_(mu * float(1 << VALUE_BITS) + 0.5), -limit, limit)
    sigma = backend.lookup("softplus", _rho_index(rho, backend))
    return NormalPosterior(vae.prior, backend.numpy(backend.integers(grid)), backend.numpy(sigma))


class Adam:
    """Adam (Kingma and Ba, Algorithm 1) on the parameters of many images, each as if alone."""

    def __init__(self, learning_rate: int, like: Array, backend: Backend) -> None:
        self._backend = backend
        self._rate = learning_rate * RATE_UNIT
        self._first = like * 0.0
        self._second = like * 0.0
        self._beta1_power = self._beta2_power = 1.0

    def step(self, parameters: Array, gradient: Array) -> Array:
        """The parameters after one step against the gradient."""
        self._beta1_power *= BETA1
        self._beta2_power *= BETA2
        self._first = self._first * BETA1 + gradient * (1.0 - BETA1)
        self._second = self._second * BETA2 + gradient * gradient * (1.0 - BETA2)
        # divisors are arrays: torch on CUDA multiplies by a rounded reciprocal of a Python number
        first = self._first / self._backend.asarray(np.array([1.0 - self._beta1_power]))
        second = self._second / self._backend.asarray(np.array([1.0 - self._beta2_power]))
        return parameters - first * self._rate / (self._backend.sqrt(second) + EPSILON)


def noise(step: int, latents: int) -> npt.NDArray[np.float64]:
    """(latents,) standard normal noise of step 1, 2, ..., a function of (step, latent) alone.

    Steps come in antithetic pairs: an even step has the noise of the one before with the other sign, so that what is
    odd in the noise cancels from the pair's gradients. A counter-based hash (the finaliser of SplitMix64, Steele et
    al. 2014) picks one of 2^14 equal-mass medians for each latent.
    """
    pair = (step + 1) // 2
    medians: IntArray = bin_medians(_NOISE_BITS)
    picks = [_hash(pair << 32 | latent) >> (64 - _NOISE_BITS) for latent in range(latents)]
    sign = 1.0 if step % 2 else -1.0
    return medians[picks].astype(np.float64) * (sign * VALUE_UNIT)


def _hash(counter: int) -> int:
    mask = (1 << 64) - 1
    state = (counter * 0x9E3779B97F4A7C15) & mask
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
    return state ^ (state >> 31)
