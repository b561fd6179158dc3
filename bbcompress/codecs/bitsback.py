"""Bits-back coding of whole batches of images: Algorithm 1 of the paper, and with K > 0 its Algorithm 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bbcompress.codecs.refinement import refine
from bbcompress.coder.ans import Message
from bbcompress.exact.distributions import NormalPosterior
from bbcompress.models.base import Model
from bbcompress.models.strips import Strips

NumpyArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class BitsBack:
    """A model as a codec of batches of images x; `push` and `pop` undo each other.

    encoder: whose posterior is used. steps: K. learning_rate: of the
    K steps, in units of 1e-6. compute_batch: how many images or strips go through the encoder at once; a choice of
    speed that changes no number.
    """

    vae: Model
    encoder: str
    steps: int
    learning_rate: int
    compute_batch: int = 128

    def push(self, message: Message, x: Strips, posterior: NormalPosterior | None = None) -> None:
        """Compression of x, whose `posterior` may have been computed before.

        Raises:
            EmptyMessage: the message does not hold the bits of z; it is as it was.
        """
        q = posterior or self.posterior(x)
        z = q.pop(message)  # draw z ~ q(z|x) from the stack
        self.vae.push_pixels(message, self.values(z), x)  # encode x ~ p(x|z)
        self.vae.bins.push_prior(message, z)  # encode z ~ p(z)

    def pop(self, message: Message, x: Strips) -> None:
        """Decompression into the strips x. Raises EmptyMessage where a message ends early."""
        z = self.vae.bins.pop_prior(message, x.row_count, self.vae.weights.latents)  # decode z ~ p(z)
        self.vae.pop_pixels(message, self.values(z), x)  # decode x ~ p(x|z)
        self.posterior(x).push(message, z)  # give z back: encode z ~ q(z|x)

    def posterior(self, x: Strips) -> NormalPosterior:
        """q(z|x) of images x, K steps from the encoder's output."""
        parts = [
            refine(self.vae, x[start : start + self.compute_batch], self.encoder, self.steps, self.learning_rate)
            for start in range(0, len(x), self.compute_batch)
        ]
        mu, sigma = np.concatenate([q.mu for q in parts]), np.concatenate([q.sigma for q in parts])
        return NormalPosterior(self.vae.bins, mu, sigma)

    def values(self, z: NumpyArray) -> NumpyArray:
        """Values of bins z (rows, Z), in units of 2^-24."""
        values: NumpyArray = self.vae.bins.medians(z)
        return values
