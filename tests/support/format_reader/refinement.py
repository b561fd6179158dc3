"""Section "K steps" of docs/format.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .networks import clamp
from .tables import medians, sigmoid, softplus

Array = npt.NDArray[Any]


def noise(step: int, latents: int) -> Array:
    """K steps: e of each latent of an image."""
    h = (np.uint64((step + 1) // 2 << 32) + np.arange(latents, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    h = h ^ (h >> np.uint64(31))
    e = medians((h >> np.uint64(50)).astype(np.int64), 14) * 2.0**-24
    return -e if step % 2 == 0 else e


def refine(
    mu: Array, rho: Array, count: int, rate: int, gradient: Callable[[Array, int], Array]
) -> tuple[Array, Array]:
    """K steps: mu and sigma in units of 2^-24, of what the encoder gives, (tiles, latents).

    gradient(z, k) runs the decoder on z in units of 2^-16 and the gradient of step k back to it.
    """
    *_, (last_mu, last_rho) = steps(mu, rho, count, rate, gradient)
    return clamp(np.floor(last_mu * 2.0**24 + 0.5).astype(np.int64), 2**28), softplus(on_grid(last_rho))


def on_grid(rho: Array) -> Array:
    """K steps: q, rho in units of 2^-10."""
    return np.floor(rho * 2.0**10 + 0.5).clip(-10 * 2**10, 6 * 2**10).astype(np.int64)


def steps(
    mu: Array, rho: Array, count: int, rate: int, gradient: Callable[[Array, int], Array]
) -> Iterator[tuple[Array, Array]]:
    """K steps: mu and rho as numbers after 0, 1, ..., K steps."""
    mu, rho = mu * 2.0**-16, rho * 2.0**-10
    yield mu, rho
    adam_mu, adam_rho = Adam(rate, mu), Adam(rate, rho)
    p1, p2 = 1.0, 1.0
    for k in range(1, count + 1):
        e, q = noise(k, mu.shape[1]), on_grid(rho)
        sigma, s = softplus(q) * 2.0**-24, sigmoid(q) * 2.0**-30
        z = mu + sigma * e
        h = gradient(np.floor(z * 2.0**16 + 0.5).clip(-(2**20), 2**20).astype(np.int64), k)
        g = h * 2.0**-20
        g_mu, g_rho = mu + g, ((sigma - 1 / sigma) + g * e) * s
        p1, p2 = p1 * 0.9, p2 * 0.999
        mu, rho = adam_mu.step(mu, g_mu, p1, p2), adam_rho.step(rho, g_rho, p1, p2)
        yield mu, rho


class Adam:
    """K steps: the moments of mu or of rho."""

    def __init__(self, rate: int, like: Array) -> None:
        self.rate, self.m, self.v = rate * 1e-6, np.zeros(like.shape), np.zeros(like.shape)

    def step(self, parameter: Array, g: Array, p1: float, p2: float) -> Array:
        """K steps: a parameter after a step against its gradient."""
        self.m = self.m * 0.9 + g * (1 - 0.9)
        self.v = self.v * 0.999 + (g * g) * (1 - 0.999)
        moved: Array = parameter - ((self.m / (1 - p1)) * self.rate) / (np.sqrt(self.v / (1 - p2)) + 1e-8)
        return moved
