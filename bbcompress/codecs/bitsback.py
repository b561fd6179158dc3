"""Bits-back coding of whole batches of images: Algorithm 1 of the paper, and with K > 0 its Algorithm 2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bbcompress.ans import Message
from bbcompress.codecs.refinement import refine
from bbcompress.exact.distributions import NormalPosterior, push_likelihood
from bbcompress.models.vae import VAE

NumpyArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class BitsBack:
    """A VAE as a codec of batches of images x, uint8 (B, D); `push` and `pop` undo each other.

    encoder: whose posterior is used. steps: K. learning_rate: of the K steps, in units of 1e-6. compute_batch: how many
    images go through the networks at once; a choice of speed that changes no number.
    """

    vae: VAE
    encoder: str
    steps: int
    learning_rate: int
    compute_batch: int = 128

    def push(self, message: Message, x: NumpyArray, posterior: NormalPosterior | None = None) -> None:
        """Compression of x, whose `posterior` may have been computed before.

        Raises:
            EmptyMessage: the message does not hold the bits of z; it is as it was.
        """
        q = posterior or self.posterior(x)
        z = q.pop(message)  # draw z ~ q(z|x) from the stack
        push_likelihood(message, self.vae.likelihood, self.parameters(z), x)  # encode x ~ p(x|z)
        self.vae.bins.push_prior(message, z)  # encode z ~ p(z)

    def pop(self, message: Message, n: int) -> NumpyArray:
        """Decompression of n images, (n, D). Raises EmptyMessage where a damaged message ends early."""
        z = self.vae.bins.pop_prior(message, n, self.vae.weights.latents)  # decode z ~ p(z)
        x = self.vae.likelihood.pop(message, self.parameters(z))  # decode x ~ p(x|z)
        self.posterior(x).push(message, z)  # give z back: encode z ~ q(z|x)
        return x

    def posterior(self, x: NumpyArray) -> NormalPosterior:
        """q(z|x) of images x (B, D), K steps from the encoder's output."""
        parts = [
            refine(self.vae, self.vae.pixels(x[rows]), self.encoder, self.steps, self.learning_rate)
            for rows in self._compute_batches(len(x))
        ]
        mu, sigma = np.concatenate([q.mu for q in parts]), np.concatenate([q.sigma for q in parts])
        return NormalPosterior(self.vae.bins, mu, sigma)

    def parameters(self, z: NumpyArray) -> NumpyArray:
        """Parameters of p(x|z), (B, outputs), for bins z (B, Z)."""
        values = self.vae.bins.medians(z)
        return np.concatenate([self.vae.decode(values[rows]) for rows in self._compute_batches(len(z))])

    def _compute_batches(self, n: int) -> Iterator[slice]:
        for start in range(0, n, self.compute_batch):
            yield slice(start, start + self.compute_batch)
