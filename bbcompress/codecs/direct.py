"""Direct coding: z is chosen, not popped, so that an image needs no bits to be there before it.

The code length of an image is -log2 p(x|z) plus a fixed number of bits for each latent, on a latent grid that is
coarser than the prior's. The search for z is the writer's affair: a reader only looks z up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bbcompress.ans import Message
from bbcompress.exact.distribution_kernels import pop_bits
from bbcompress.exact.distributions import (
    PRECISION,
    negative_log_likelihood,
    push_likelihood,
)
from bbcompress.exact.tables import LOG2_BITS, VALUE_BITS, IntArray, bin_edges, bin_medians
from bbcompress.models.vae import ENCODERS, VAE

NumpyArray = np.ndarray[Any, Any]


class DirectCodec:
    """A VAE as a codec of single images x, uint8 (1, D), with z on the coarse grid of the model's `direct_bits`."""

    def __init__(self, vae: VAE) -> None:
        self.vae = vae
        self._bits = np.array(vae.weights.direct_bits, np.int64)
        self._grids = [bin_medians(int(bits)) for bits in self._bits]

    def push(self, message: Message, x: NumpyArray) -> None:
        """Choose z and push x, then z."""
        z = self.choose(x)
        push_likelihood(message, self.vae.likelihood, self.vae.decode(self._values(z)), x)
        message.push((z << (PRECISION - self._bits)).reshape(-1), (1 << (PRECISION - self._bits)), PRECISION)

    def pop(self, message: Message) -> NumpyArray:
        """Pop one image, uint8 (1, D). Raises EmptyMessage."""
        z = message.pop_with(pop_bits, len(self._bits), self._bits).reshape(1, -1)
        return self.vae.likelihood.pop(message, self.vae.decode(self._values(z)))

    def choose(self, x: NumpyArray) -> IntArray:
        """The grid's z, (1, Z), of a locally shortest code: no step of one latent makes it shorter.

        Starts at the posterior mean of each encoder and takes the better end.
        """
        return self._shortest(x)[0]

    def length(self, x: NumpyArray) -> float:
        """Bits that x (1, D) takes."""
        return self._shortest(x)[1] / (1 << LOG2_BITS) + int(self._bits.sum())

    def _shortest(self, x: NumpyArray) -> tuple[IntArray, int]:
        pixels = self.vae.pixels(x)
        ends = []
        for encoder in ENCODERS:
            mu, _ = self.vae.encode(pixels, encoder)
            values = np.floor(self.vae.backend.numpy(mu) * 2.0**VALUE_BITS)[0]
            start = [np.searchsorted(bin_edges(int(b)), v, "right") for b, v in zip(self._bits, values, strict=True)]
            ends.append(self._descend(np.array([start], np.int64), x))
        return min(ends, key=lambda end: end[1])

    def _descend(self, z: IntArray, x: NumpyArray) -> tuple[IntArray, int]:
        """The end of the steepest descent from z by steps of one latent, and its length in units of 2^-30 bits."""
        length = int(self._lengths(z, x)[0])
        while True:
            neighbours = self._neighbours(z)
            if not len(neighbours):  # no latent has bits
                return z, length
            lengths = self._lengths(neighbours, x)
            best = int(lengths.argmin())
            if lengths[best] >= length:
                return z, length
            z, length = neighbours[best : best + 1], int(lengths[best])

    def _neighbours(self, z: IntArray) -> IntArray:
        """All grid points, (N, Z), that differ from z (1, Z) by one step in one latent."""
        steps = np.eye(len(self._bits), dtype=np.int64)
        neighbours = np.concatenate([z + steps, z - steps])
        inside = ((neighbours >= 0) & (neighbours < 1 << self._bits)).all(axis=1)
        return neighbours[inside]

    def _lengths(self, z: IntArray, x: NumpyArray) -> IntArray:
        """-log2 p(x|z) for x (1, D) and each of z (N, Z), in units of 2^-30 bits; those of z are all the same."""
        params = self.vae.decode(self._values(z))
        return negative_log_likelihood(self.vae.likelihood, params, np.repeat(x, len(z), axis=0))

    def _values(self, z: IntArray) -> IntArray:
        """Values of grid points z (N, Z), in units of 2^-24."""
        return np.stack([grid[z[:, latent]] for latent, grid in enumerate(self._grids)], axis=1)
