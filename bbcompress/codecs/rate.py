"""Net rate: the ELBO of a codec's own integers, beside which a file's size is judged."""

from __future__ import annotations

from typing import Any

import numpy as np

from bbcompress.ans import Message
from bbcompress.codecs.bitsback import BitsBack
from bbcompress.exact.distributions import PRECISION, NormalPosterior, negative_log_likelihood
from bbcompress.exact.tables import LOG2_BITS, code_length

NumpyArray = np.ndarray[Any, Any]


def net_bits(codec: BitsBack, x: NumpyArray, samples: int = 1, seed: int = 0) -> NumpyArray:
    """-ELBO (Eqs. 19 and 21) of images x (B, D) in bits, float64 (B,): the mean over `samples` draws of z ~ q(z|x)."""
    posterior = codec.posterior(x)
    random = np.random.default_rng(seed)
    total = np.zeros(len(x))
    for _ in range(samples):
        total += code_bits(codec, x, posterior, draw(posterior, random))
    return total / samples


def code_bits(codec: BitsBack, x: NumpyArray, posterior: NormalPosterior, z: NumpyArray) -> NumpyArray:
    """-log2 p(x|z) - log2 p(z) + log2 q(z|x) of images x (B, D) with bins z (B, Z), float64 (B,)."""
    _, frequencies = posterior.intervals(z)
    back = code_length(frequencies, PRECISION).reshape(len(x), -1).sum(axis=1)
    forth = negative_log_likelihood(codec.vae.likelihood, codec.parameters(z), x)
    bits: NumpyArray = (forth - back) / float(1 << LOG2_BITS) + codec.vae.bins.bits * z.shape[1]
    return bits


def draw(posterior: NormalPosterior, random: np.random.Generator) -> NumpyArray:
    """A draw of bins z (B, Z) from q(z|x): what it pops from a message of random bits."""
    words = random.integers(1 << 32, size=posterior.mu.size + 2, dtype=np.uint32)
    return posterior.pop(Message([1 << 31], words))
