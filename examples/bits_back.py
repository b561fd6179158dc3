"""Bits-back coding in forty lines: a latent variable costs what it tells, no more.

    python examples/bits_back.py

Each x is a level 0..255, drawn from a mixture of four humps; which hump it came from is its latent z. Who codes x by z
has to code z as well: log2 p(z) bits more than x needs. Bits-back coding first pops z from the message, as if q(z|x)
had pushed it, and so gets -log2 q(z|x) bits back; the reader pushes them again once it knows x. What is left is
-log2 p(x).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bbcompress.coder.ans import Message

Array = np.ndarray[Any, Any]
PRECISION, COUNT = 16, 5_000
LEVELS, PLACES, WIDTHS = np.arange(256), np.array([40, 90, 150, 200]), np.array([30, 25, 40, 20])


def cumulated(p: Array) -> Array:
    """Probabilities (N, A) as integers that sum to 2^16, none of them 0: what the coder takes, cumulated from 0."""
    frequencies = 1 + np.floor(p * ((1 << PRECISION) - p.shape[1])).astype(np.int64)
    frequencies[:, -1] += (1 << PRECISION) - frequencies.sum(axis=1)
    return np.concatenate([np.zeros((len(p), 1), np.int64), frequencies.cumsum(axis=1)], axis=1)


def push(message: Message, cdfs: Array, symbols: Array) -> None:
    """Code symbols (N,), each by its row of cumulated frequencies."""
    starts, ends = (np.take_along_axis(cdfs, symbols[:, None] + end, axis=1)[:, 0] for end in (0, 1))
    message.push(starts, ends - starts, PRECISION)


humps = np.exp(-0.5 * ((LEVELS - PLACES[:, None]) / WIDTHS[:, None]) ** 2)
humps /= humps.sum(axis=1, keepdims=True)  # p(x|z), (4, 256)
posteriors = (humps / humps.sum(axis=0)).T  # q(z|x) = p(z|x), (256, 4): the best there is
prior, likelihood, posterior = cumulated(np.full((1, 4), 0.25)), cumulated(humps), cumulated(posteriors)

rng = np.random.default_rng(0)
x = np.array([rng.choice(256, p=humps[z]) for z in rng.integers(0, 4, COUNT)])

message = Message.empty(lanes=1)
message.push_uniform(rng.integers(0, 1 << 16, COUNT // 8), 16)  # the first z need bits to be drawn from
before = message.content_bits
for one in x[:, None]:
    z = message.pop_cdf(posterior[one], PRECISION)  # draw z ~ q(z|x) from the message
    push(message, likelihood[z], one)  # code x ~ p(x|z)
    push(message, prior, z)  # code z ~ p(z)
coded = message.content_bits

back = []
for _ in x:
    z = message.pop_cdf(prior, PRECISION)
    one = message.pop_cdf(likelihood[z], PRECISION)
    push(message, posterior[one], z)  # give the bits back
    back.append(one[0])

assert np.array_equal(back[::-1], x) and message.content_bits == before
print(f"bits-back coding: {(coded - before) / COUNT:.4f} bits a level")
print(f"-log2 p(x):       {-np.log2(humps.mean(axis=0))[x].mean():.4f}")
print(f"coding z as well: {2 + (posteriors * -np.log2(humps).T).sum(axis=1)[x].mean():.4f}")
