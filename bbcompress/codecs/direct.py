"""Direct coding: z is chosen, not popped, so that an image needs no bits to be there before it.

The code length of an image is -log2 p(x|z) plus a fixed number of bits for each latent, on a latent grid that is
coarser than the prior's. The search for z is the writer's affair: a reader only looks z up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bbcompress.codecs.costs import CanvasCosts
from bbcompress.codecs.refinement import Adam
from bbcompress.coder.ans import Message
from bbcompress.exact.distributions import CoarseBins
from bbcompress.exact.tables import LOG2_BITS, VALUE_BITS, VALUE_UNIT, IntArray
from bbcompress.limits import ENCODERS, USUAL_ENCODER
from bbcompress.models.base import Model, PixelLikelihood, encoder_of
from bbcompress.models.strips import Strips

NumpyArray = np.ndarray[Any, Any]

DESCENT_LATENTS = 64
"""With more latents the search is by gradients: trying steps of each one would take too long."""
GRADIENT_STEPS = 60
GRADIENT_RATE = 20_000
"""Learning rate of a search by gradients, in units of 1e-6."""


class DirectCodec:
    """A model as a codec of one strip x, with z on the coarse grid of its `direct_bits`."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.prior = CoarseBins(model.weights.direct_bits)
        self._row_bits = sum(model.weights.direct_bits)

    def push(self, message: Message, x: Strips, z: IntArray | None = None) -> None:
        """Push x, then z. z: (rows, Z) of the grid; None for what `choose` finds."""
        z = self.choose(x) if z is None else z
        self.likelihood(z).push(message, x)
        self.prior.push(message, z)

    def middle_lengths(self, x: Strips) -> NumpyArray:
        """Bits that each tile of strips x takes with z in the `middle` of the prior, float64 (rows,)."""
        bits: NumpyArray = self.likelihood(self.middle(x)).lengths(x) / float(1 << LOG2_BITS) + self._row_bits
        return bits

    def middle(self, x: Strips) -> IntArray:
        """The grid points in the middle of the prior, (rows, Z)."""
        return self.prior.nearest(np.zeros((x.row_count, self.model.weights.latents)))

    def pop(self, message: Message, x: Strips, costs: CanvasCosts | None = None) -> None:
        """Pop into strips that were pushed at once, whose costs are taken up where they are asked for.

        Raises:
            EmptyMessage: the message does not hold so many symbols.
        """
        z = self.prior.pop(message, x.row_count)
        self.likelihood(z).pop(message, x)
        if costs is not None:
            costs.add(self.likelihood(z).pixel_lengths(x), np.full(len(z), float(self._row_bits)))

    def likelihood(self, z: IntArray) -> PixelLikelihood:
        """p(x|z) for the grid's z (rows, Z)."""
        return self.model.likelihood(self.prior.values(z))

    def choose(self, x: Strips) -> IntArray:
        """The grid's z, (rows, Z).

        For a small image that of a short code: the search starts at the posterior mean of each encoder and takes the
        better end. Of few latents no step of one then makes the code shorter; for many Adam steps follow the gradient
        at the nearest grid point, the best of which is taken. Else what is nearest to the mean.
        """
        return self._shortest(x)[0] if self._is_searched(x) else self._start(x, self._usual_encoder)

    def length(self, x: Strips) -> float:
        """Bits that a strip takes."""
        if self._is_searched(x):
            length = self._shortest(x)[1]
        else:
            length = int(self.likelihood(self._start(x, self._usual_encoder)).lengths(x).sum())
        return length / (1 << LOG2_BITS) + self._row_bits * x.row_count

    @property
    def _usual_encoder(self) -> str:
        return encoder_of(self.model.weights.card, USUAL_ENCODER)

    def _is_searched(self, x: Strips) -> bool:
        subpixels = x.pixel_count * x.canvas.channels
        return x.whole_tile is not None and subpixels <= self.model.weights.searched_subpixels

    def _start(self, x: Strips, encoder: str) -> IntArray:
        """The grid points at the posterior means, (rows, Z)."""
        mu, _ = self.model.encode(self.model.prepare(x), encoder)
        return self._nearest(self.model.backend.numpy(mu))

    def _nearest(self, points: NumpyArray) -> IntArray:
        """The grid points whose cells points (rows, Z), in units of 1, lie in."""
        return self.prior.nearest(np.floor(points * float(1 << VALUE_BITS)))

    def _shortest(self, x: Strips) -> tuple[IntArray, int]:
        if self.model.weights.latents > DESCENT_LATENTS:
            ends = [self._follow_gradient(x, encoder) for encoder in ENCODERS]
        else:
            ends = [self._descend(self._start(x, encoder), x) for encoder in ENCODERS]
        return min(ends, key=lambda end: end[1])

    def _follow_gradient(self, x: Strips, encoder: str) -> tuple[IntArray, int]:
        """The best grid point that Adam comes by from the posterior mean, and its length in units of 2^-30 bits."""
        backend, prepared = self.model.backend, self.model.prepare(x)
        point, _ = self.model.encode(prepared, encoder)
        adam = Adam(GRADIENT_RATE, point, backend)
        found: list[tuple[int, IntArray]] = []
        for step in range(GRADIENT_STEPS + 1):
            z = self._nearest(backend.numpy(point))
            found.append((int(self._lengths(z, x)[0]), z))
            values = backend.asarray(self.prior.values(z) * VALUE_UNIT)
            point = adam.step(point, self.model.gradient(values, prepared, step))
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
        steps = np.eye(self.model.weights.latents, dtype=np.int64)
        neighbours = np.concatenate([z + steps, z - steps])
        inside = ((neighbours >= 0) & (neighbours < 1 << self.prior.bits)).all(axis=1)
        return neighbours[inside]

    def _lengths(self, z: IntArray, x: Strips) -> IntArray:
        """-log2 p(x|z) for one image x and each of z (N, Z), in units of 2^-30 bits; those of z are all the same."""
        lengths: IntArray = self.model.candidate_lengths(self.prior.values(z), x)
        return lengths
