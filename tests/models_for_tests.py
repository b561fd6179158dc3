"""Small random models, made from integers without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bbcompress.exact.distributions import LIKELIHOODS
from bbcompress.exact.layers import ACTIVATION_BITS, LinearWeights
from bbcompress.models.vae import ENCODERS, RHO_BITS, Z_BITS, Layers, VAEWeights

WEIGHT_BITS = 14


def random_linear(
    random: np.random.Generator, inputs: int, in_bits: int, out_bits: Any, relu: bool, largest: float
) -> LinearWeights:
    """A layer of uniform weights of magnitude up to `largest`, and biases of up to a tenth of a unit."""
    limit = round(largest * (1 << WEIGHT_BITS))
    shift = in_bits + WEIGHT_BITS
    return LinearWeights(
        weight=random.integers(-limit, limit + 1, (len(out_bits), inputs)),
        bias=random.integers(-(1 << shift) // 10, (1 << shift) // 10 + 1, len(out_bits)),
        weight_bits=WEIGHT_BITS,
        in_bits=in_bits,
        out_bits=np.asarray(out_bits, np.int64),
        relu=relu,
    )


def random_layers(
    random: np.random.Generator, inputs: int, hidden: Sequence[int], in_bits: int, out_bits: Any, first: float
) -> Layers:
    """A ReLU network that keeps the variance of its activations; `first` scales its first weights."""
    layers = []
    for index, bits in enumerate([*(np.full(width, ACTIVATION_BITS) for width in hidden), out_bits]):
        largest = (first if index == 0 else 2.0) / inputs**0.5
        layers.append(random_linear(random, inputs, in_bits, bits, index < len(hidden), largest))
        inputs, in_bits = len(bits), ACTIVATION_BITS
    return tuple(layers)


def tiny_vae(
    likelihood: str = "bernoulli",
    shape: tuple[int, int] = (6, 5),
    latents: int = 4,
    hidden: int = 8,
    seed: int = 0,
    prior_bits: int = 8,
    direct_bits: int = 3,
) -> VAEWeights:
    """A random VAE whose latents matter: logits of about +-4, or means all over the levels at scales of e^3."""
    random = np.random.default_rng(seed)
    dimensions, levels = shape[0] * shape[1], LIKELIHOODS[likelihood].levels
    posterior_bits = np.repeat([Z_BITS, RHO_BITS], latents)
    out_bits = LIKELIHOODS[likelihood].out_bits(dimensions)
    encoders = {}
    for name in ENCODERS:
        layers = random_layers(random, dimensions, [hidden, hidden], 0, posterior_bits, 3 / (levels - 1))
        layers[-1].bias[latents:] -= 1 << (ACTIVATION_BITS + WEIGHT_BITS)  # softplus(-1) = 0.3
        encoders[name] = layers
    decoder = random_layers(random, latents, [hidden, hidden], Z_BITS, out_bits, 2.0)
    if likelihood == "bernoulli":
        decoder[-1].weight[:] *= 3
    else:  # means around 0.5 (of 256 levels), log-scales around 3
        decoder[-1].weight[:dimensions] >>= 2
        decoder[-1].bias[:dimensions] += 1 << (ACTIVATION_BITS + WEIGHT_BITS - 1)
        decoder[-1].bias[dimensions:] += 3 << (ACTIVATION_BITS + WEIGHT_BITS)
        decoder[-1].weight[dimensions:] >>= 2
    return VAEWeights(
        shape=shape,
        likelihood=likelihood,
        prior_bits=prior_bits,
        direct_bits=(direct_bits,) * latents,
        learning_rate=5000,
        decoder=decoder,
        encoders=encoders,
        card={"name": "tiny"},
    )


def random_images(weights: VAEWeights, n: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Noise as images of the model, uint8 (n, D)."""
    levels = LIKELIHOODS[weights.likelihood].levels
    return np.random.default_rng(seed).integers(0, levels, (n, weights.dimensions)).astype(np.uint8)


def sampled_images(weights: VAEWeights, n: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Images that the model itself has drawn, z ~ p(z), x ~ p(x|z), uint8 (n, D)."""
    from roundtrip import random_message

    from bbcompress.exact.backend import NumpyBackend
    from bbcompress.models.vae import VAE

    vae = VAE(weights, NumpyBackend())
    message = random_message(words=n * (weights.latents + weights.dimensions) + 10, seed=seed)
    z = vae.bins.medians(vae.bins.pop_prior(message, n, weights.latents))
    return vae.likelihood.pop(message, vae.decode(z))
