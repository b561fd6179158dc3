"""Direct coding: z is chosen, not popped, so that an image needs no bits to be there before it.

The code length of an image is -log2 p(x|z) plus a fixed number of bits for each latent, on a latent grid that is
coarser than the prior's. The search for z is the writer's affair: a reader only looks z up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bbcompress.codecs.refinement import Adam
from bbcompress.coder.ans import Message
from bbcompress.exact.distribution_kernels import pop_bits
from bbcompress.exact.distributions import PRECISION
from bbcompress.exact.tables import LOG2_BITS, VALUE_BITS, IntArray, bin_edges, bin_medians
from bbcompress.limits import ENCODERS
from bbcompress.models.base import Model
from bbcompress.models.strips import Strips

NumpyArray = np.ndarray[Any, Any]

DESCENT_LATENTS = 64
"""With more latents the search is by gradients: trying steps of each one would take too long."""
GRADIENT_STEPS = 60
GRADIENT_RATE = 20_000
"""Learning rate of a search by gradients, in units of 1e-6."""


class DirectCodec:
    """A model as a codec of one strip x, with z on the coarse grid of its `direct_bits`."""

    def __init__(self, vae: Model) -> None:
        self.vae = vae
        self._bits = np.array(vae.weights.direct_bits, np.int64)
        self._grids = [bin_medians(int(bits)) for bits in self._bits]

    def push(self, message: Message, x: Strips) -> None:
        """Choose z and push x, then z."""
        self._push(message, self.choose(x), x)

    def _push(self, message: Message, z: IntArray, x: Strips) -> None:
        bits = np.tile(self._bits, len(z))
        self.vae.push_pixels(message, self._values(z), x)
        message.push((z.reshape(-1) << (PRECISION - bits)), (1 << (PRECISION - bits)), PRECISION)

    def push_middle(self, message: Message, x: Strips) -> None:
        """Push strips x in one push, each z in the middle of the prior: without a search."""
        self._push(message, self._nearest(np.zeros((x.row_count, len(self._bits)))), x)

    def middle_lengths(self, x: Strips) -> NumpyArray:
        """Bits that each tile of strips x takes in `push_middle`, float64 (rows,)."""
        z = self._nearest(np.zeros((x.row_count, len(self._bits))))
        bits: NumpyArray = self.vae.lengths(self._values(z), x) / float(1 << LOG2_BITS) + int(self._bits.sum())
        return bits

    def pop(self, message: Message, x: Strips) -> None:
        """Pop into strips that were pushed at once. Raises EmptyMessage."""
        bits = np.tile(self._bits, x.row_count)
        z = message.pop_with(pop_bits, len(bits), bits).reshape(x.row_count, -1)
        self.vae.pop_pixels(message, self._values(z), x)

    def choose(self, x: Strips) -> IntArray:
        """The grid's z, (rows, Z).

        For a small image that of a short code: the search starts at the posterior mean of each encoder and takes the
        better end. Of few latents no step of one then makes the code shorter; for many Adam steps follow the gradient
        at the nearest grid point, the best of which is taken. Else what is nearest to the mean.
        """
        return self._shortest(x)[0] if self._is_searched(x) else self._start(x, ENCODERS[0])

    def length(self, x: Strips) -> float:
        """Bits that a strip takes."""
        if self._is_searched(x):
            length = self._shortest(x)[1]
        else:
            length = int(self.vae.lengths(self._values(self._start(x, ENCODERS[0])), x).sum())
        return length / (1 << LOG2_BITS) + int(self._bits.sum()) * x.row_count

    def _is_searched(self, x: Strips) -> bool:
        subpixels = x.pixel_count * x.canvas.channels
        return x.whole_tile is not None and subpixels <= self.vae.weights.searched_subpixels

    def _start(self, x: Strips, encoder: str) -> IntArray:
        """The grid points at the posterior means, (rows, Z)."""
        mu, _ = self.vae.encode(self.vae.prepare(x), encoder)
        return self._nearest(self.vae.backend.numpy(mu))

    def _nearest(self, points: NumpyArray) -> IntArray:
        """The grid's cells in which points (rows, Z) lie, (rows, Z)."""
        values = np.floor(points * 2.0**VALUE_BITS)
        columns = [np.searchsorted(bin_edges(int(b)), v, "right") for b, v in zip(self._bits, values.T, strict=True)]
        return np.stack(columns, axis=1).astype(np.int64)

    def _shortest(self, x: Strips) -> tuple[IntArray, int]:
        if len(self._bits) > DESCENT_LATENTS:
            ends = [self._follow_gradient(x, encoder) for encoder in ENCODERS]
        else:
            ends = [self._descend(self._start(x, encoder), x) for encoder in ENCODERS]
        return min(ends, key=lambda end: end[1])

    def _follow_gradient(self, x: Strips, encoder: str) -> tuple[IntArray, int]:
        """The best grid point that Adam comes by from the posterior mean, and its length in units of 2^-30 bits."""
        backend, prepared = self.vae.backend, self.vae.prepare(x)
        point, _ = self.vae.encode(prepared, encoder)
        adam = Adam(GRADIENT_RATE, point, backend)
        found: list[tuple[int, IntArray]] = []
        for step in range(GRADIENT_STEPS + 1):
            z = self._nearest(backend.numpy(point))
            found.append((int(self._lengths(z, x)[0]), z))
            values = backend.asarray(self._values(z) * 2.0**-VALUE_BITS)
            point = adam.step(point, self.vae.gradient(values, prepared, step))
        length, z = min(found, key=lambda end: end[0])
        return z, length

    def _descend(self, z: IntArray, x: Strips) -> tuple[IntArray, int]:
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

    def _lengths(self, z: IntArray, x: Strips) -> IntArray:
        """-log2 p(x|z) for one image x and each of z (N, Z), in units of 2^-30 bits; those of z are all the same."""
        lengths: IntArray = self.vae.candidate_lengths(self._values(z), x)
        return lengths

    def _values(self, z: IntArray) -> IntArray:
        """Values of grid points z (N, Z), in units of 2^-24."""
        return np.stack([grid[z[:, latent]] for latent, grid in enumerate(self._grids)], axis=1)
