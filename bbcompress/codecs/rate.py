"""Net rate: the ELBO of a codec's own integers, beside which a file's size is judged."""

from __future__ import annotations

from typing import Any

import numpy as np

from bbcompress.codecs.bitsback import BitsBack
from bbcompress.coder.ans import Message
from bbcompress.exact.distributions import PRECISION, NormalPosterior
from bbcompress.exact.tables import LOG2_BITS, code_length
from bbcompress.models.strips import Strips

NumpyArray = np.ndarray[Any, Any]


def net_bits(codec: BitsBack, x: Strips, samples: int = 1, seed: int = 0) -> NumpyArray:
    """-ELBO (Eqs. 19 and 21) of each tile of strips x, in bits, float64 (rows,): the mean over
    `samples` draws of z ~ q(z|x)."""
    posterior = codec.posterior(x)
    random = np.random.default_rng(seed)
    total = np.zeros(len(posterior.mu))
    for _ in range(samples):
        total += code_bits(codec, x, posterior, draw(posterior, random))
    return total / samples


def code_bits(codec: BitsBack, x: Strips, posterior: NormalPosterior, z: NumpyArray) -> NumpyArray:
    """-log2 p(x|z) - log2 p(z) + log2 q(z|x) of the tiles of x with bins z (rows, Z), float64 (rows,)."""
    _, frequencies = posterior.intervals(z)
    back = code_length(frequencies, PRECISION).reshape(len(z), -1).sum(axis=1)
    forth = codec.likelihood(z).lengths(x)
    bits: NumpyArray = (forth - back) / float(1 << LOG2_BITS) + codec.model.prior.bits * z.shape[1]
    return bits


def draw(posterior: NormalPosterior, random: np.random.Generator) -> NumpyArray:
    """A draw of bins z (B, Z) from q(z|x): what it pops from a message of random bits."""
    words = random.integers(1 << 32, size=posterior.mu.size + 2, dtype=np.uint32)
    return posterior.pop(Message([1 << 31], words))
