"""Section "Distributions" of docs/format.md, with their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .coder import Message
from .tables import edge, exp_negative, inverse_scale, normal_cdf, scale_slope, sigmoid

Array = npt.NDArray[Any]
TOTAL = 2**24


class Bernoulli:
    """Distributions: Bernoulli: parameters (sub-pixels)."""

    levels = 2

    def edges(self, parameters: Array) -> Array:
        """Distributions: Bernoulli, the start of each level, and the end, (sub-pixels, 3)."""
        ones = np.clip((sigmoid(parameters) + 2**5) >> 6, 1, TOTAL - 1)
        return np.stack([0 * ones, TOTAL - ones, 0 * ones + TOTAL], axis=-1)

    def gradient(self, parameters: Array, x: Array) -> Array:
        """Distributions: Bernoulli, the gradient."""
        return (sigmoid(parameters) >> 10) - (x << 20)


class DiscretisedLogistic:
    """Distributions: discretised logistic: parameters (2 sub-pixels), the means first."""

    levels = 256

    def edges(self, parameters: Array) -> Array:
        """Distributions: discretised logistic, the start of each level, and the end, (sub-pixels, 257)."""
        mean, u = np.split(parameters, 2)
        return logistic_edges(mean, u)

    def gradient(self, parameters: Array, x: Array) -> Array:
        """Distributions: discretised logistic, the gradient; parameters (images, 2 sub-pixels)."""
        mean, u = np.split(parameters, 2, axis=-1)
        by_mean, by_u = logistic_gradient(mean, u, x)
        return np.concatenate([by_mean, by_u], axis=-1)


def logistic_edges(mean: Array, u: Array) -> Array:
    """Distributions: discretised logistic: F, along a new last axis."""
    k = np.arange(257)
    logit = ((1024 * k - 512 - mean[..., None]) * inverse_scale(u)[..., None]) >> 24
    edges = k + (sigmoid(logit) * (TOTAL - 256) >> 30)
    edges[..., 0], edges[..., 256] = 0, TOTAL
    return edges


def logistic_gradient(mean: Array, u: Array, x: Array) -> tuple[Array, Array]:
    """Distributions: discretised logistic, the gradient by the mean and by the log scale."""
    c, e = 1024 * x - mean, inverse_scale(u)
    b, a = ((c + 512) * e) >> 24, ((c - 512) * e) >> 24
    above = np.where(x == 255, 0, 2**30 - sigmoid(b))
    below = np.where(x == 0, 0, sigmoid(a))
    by_mean = ((above - below) * (e >> 6)) >> 20
    slope = np.where((x == 0) | (x == 255), 0, scale_slope(u) >> 4)
    by_u = ((b * above - a * below) >> 20) + slope
    return by_mean, np.where((u < -1536) | (u > 7 * 2**10), 0, by_u)


def channel_means(parameters: Array, x: Array) -> tuple[Array, Array, Array]:
    """Distributions: channel logistic: the means that count, log scales and coefficients; (9, ...) and (3, ...)."""
    m, u, c = parameters[:3], parameters[3:6], parameters[6:]
    red, green = 1024 * x[0] - m[0], 1024 * x[1]
    second = np.clip(m[1] + ((c[0] * red + 2**11) >> 12), -(2**24), 2**24)
    third = np.clip(m[2] + ((c[1] * red + c[2] * (green - m[1]) + 2**11) >> 12), -(2**24), 2**24)
    return np.stack([m[0], second, third]), u, c


def channel_gradient(parameters: Array, x: Array) -> Array:
    """Distributions: channel logistic, the gradient; parameters (tiles, 9, ...), x (tiles, 3, ...)."""
    of_tiles = []
    for p, levels in zip(parameters, x, strict=True):
        means, u, c = channel_means(p, levels)
        g, by_u = logistic_gradient(means, u, levels)
        red, green = 1024 * levels[0] - p[0], 1024 * levels[1] - p[1]
        by_m = [g[0] - ((c[0] * g[1] + c[1] * g[2]) >> 12), g[1] - ((c[2] * g[2]) >> 12), g[2]]
        by_c = [(g[1] * red) >> 18, (g[2] * red) >> 18, (g[2] * green) >> 18]
        of_tiles.append(np.stack([*by_m, *by_u, *by_c]))
    return np.stack(of_tiles)


def posterior_edges(mu: Array, sigma: Array, i: Array, bits: int) -> Array:
    """Distributions: posterior of one latent: F(i)."""
    inner = np.clip(i, 1, 2**bits - 1)
    t = np.clip(((edge(inner, bits) - mu) << 20) // sigma, -8 * 2**20, 8 * 2**20 - 1)
    a = t >> 10
    c = normal_cdf(a) + ((normal_cdf(a + 1) - normal_cdf(a)) * (t % 2**10) >> 10)
    return np.where(i == 0, 0, np.where(i == 2**bits, TOTAL, c >> 6))


def push_posterior(message: Message, mu: Array, sigma: Array, bins: Array, bits: int) -> None:
    """The message: a batch, push the bins under q(z|x) in one call of the coder."""
    starts = posterior_edges(mu, sigma, bins, bits)
    ends = posterior_edges(mu, sigma, bins + 1, bits)
    for i in reversed(range(len(bins))):
        message.push(i % len(message.heads), int(starts[i]), int(ends[i] - starts[i]))


def mixture_edges(parameters: Array, reference: Array) -> Array:
    """Distributions: mixture of M discretised logistics: (sub-pixels, 257)."""
    a, o, t, m = mixture_parts(parameters)
    e = exp_negative(np.minimum(a.max(axis=1, keepdims=True) - a, 2**14))
    w = e * (TOTAL - 256) // e.sum(axis=1, keepdims=True)
    k = np.arange(257)
    s = smooth_sigmoid(mixture_logits(k, reference[:, None, None], o[:, :, None], t[:, :, None]))
    edges: Array = k + w[:, m, None] + ((w[:, :m, None] * s).sum(axis=1) >> 30)
    edges[:, 0], edges[:, 256] = 0, TOTAL
    return edges


def mixture_parts(parameters: Array) -> tuple[Array, Array, Array, int]:
    """Distributions: mixture: logits, offsets, log scales, M."""
    m = (parameters.shape[1] - 2) // 3
    t = parameters[:, 2 * m + 2 :]
    return parameters[:, : m + 2], parameters[:, m + 2 : 2 * m + 2], t, m


def mixture_logits(k: Array, reference: Array, o: Array, t: Array) -> Array:
    """Distributions: mixture: l, in units of 2^-20."""
    scale = exp_negative(np.clip(t, 0, 10 * 2**10))
    logit: Array = ((64 * k - 32 - 64 * reference - o) * scale) >> 11
    return np.clip(logit, -(2**24), 2**24 - 1)


def smooth_sigmoid(logit: Array) -> Array:
    """Distributions: mixture: S_m of a logit in units of 2^-20."""
    q = logit >> 10
    value: Array = sigmoid(q) + ((sigmoid(q + 1) - sigmoid(q)) * (logit % 2**10) >> 10)
    return value


def mixture_gradient(parameters: Array, reference: Array, x: Array) -> Array:
    """Distributions: mixture, the gradient by its parameters, in units of 2^-20."""
    gradient = np.floor(mixture_derivatives(parameters, reference, x) * 2.0**20 + 0.5)
    return np.clip(gradient, -(2**30), 2**30).astype(np.int64)


def mixture_derivatives(parameters: Array, reference: Array, x: Array) -> Array:
    """Distributions: mixture, the gradient before it is rounded."""
    a, o, t, m = mixture_parts(parameters)
    e = exp_negative(np.minimum(a.max(axis=1, keepdims=True) - a, 2**14))
    pi = e / e.sum(axis=1, keepdims=True)
    refer, level = reference[:, None], x[:, None]
    upper_logit, lower_logit = mixture_logits(level + 1, refer, o, t), mixture_logits(level, refer, o, t)
    upper = np.where(level == 255, 2**30, smooth_sigmoid(upper_logit))
    lower = np.where(level == 0, 0, smooth_sigmoid(lower_logit))
    mass = (upper - lower) * 2.0**-30
    p = np.full(len(x), 2.0**-24)
    for i in range(m):
        p = p + pi[:, i] * mass[:, i]
    low, high = np.where(x == 0, pi[:, m], 0.0), np.where(x == 255, pi[:, m + 1], 0.0)
    p = ((p + low) + high)[:, None]
    r = np.concatenate([pi[:, :m] * mass, low[:, None], high[:, None]], axis=1) / p
    by_a = pi * (1 - 2.0**-24 / p) - r
    upper_value, lower_value = upper * 2.0**-30, lower * 2.0**-30
    upper_slope = upper_value * (1 - upper_value)
    lower_slope = lower_value * (1 - lower_value)
    by_o = 64 * ((pi[:, :m] * (upper_slope - lower_slope)) * (exp_negative(np.clip(t, 0, 10240)) * 2.0**-25)) / p
    u, v = upper_logit * 2.0**-20, lower_logit * 2.0**-20
    by_t = (pi[:, :m] * (u * upper_slope - v * lower_slope)) / p
    by_t = np.where((t < 0) | (t > 10240), 0.0, by_t)
    return np.concatenate([by_a, by_o, by_t], axis=1)
