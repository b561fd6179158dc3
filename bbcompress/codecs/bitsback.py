"""Bits-back coding of whole batches of images: Algorithm 1 of the paper, and with K > 0 its Algorithm 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bbcompress.archive.header import GroupHeader
from bbcompress.codecs.costs import CanvasCosts, row_bits
from bbcompress.codecs.refinement import refine
from bbcompress.coder.ans import Message
from bbcompress.errors import ModelError
from bbcompress.exact.distributions import PRECISION, NormalPosterior
from bbcompress.exact.tables import code_length
from bbcompress.models.base import LearningModel, Model, PixelLikelihood
from bbcompress.models.decoder_learning import DecoderLearning
from bbcompress.models.strips import Strips

NumpyArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class BitsBack:
    """A model as a codec of batches of images x; `push` and `pop` undo each other.

    x are strips of a canvas.

    Attributes:
        encoder: whose posterior is used.
        k: K, how many steps refine the posterior.
        learning_rate: of the K steps, in units of 1e-6.
        compute_batch: how many strips go through the encoder at once; a choice of speed that changes no number.
        learning: where the model learns between batches; then it is the learning's own.
    """

    model: Model
    encoder: str
    k: int
    learning_rate: int
    compute_batch: int = 128
    learning: DecoderLearning | None = None

    def learn(self, x: Strips) -> None:
        """Learn from a batch whose pixels are known, where the model does."""
        if self.learning is not None:
            self.learning.learn(x, self.encoder)

    def push(self, message: Message, x: Strips, posterior: NormalPosterior | None = None) -> None:
        """Compression of x, whose `posterior` may have been computed before.

        Raises:
            EmptyMessage: the message does not hold the bits of z; it is as it was.
        """
        q = posterior or self.posterior(x)
        z = q.pop(message)  # draw z ~ q(z|x) from the stack
        self.likelihood(z).push(message, x)  # encode x ~ p(x|z)
        self.model.prior.push(message, z)  # encode z ~ p(z)

    def pop(self, message: Message, x: Strips, costs: CanvasCosts | None = None) -> None:
        """Decompression into the strips x, whose costs are taken up where they are asked for.

        Raises:
            EmptyMessage: a message ends early.
        """
        z = self.model.prior.pop(message, x.row_count)  # decode z ~ p(z)
        self.likelihood(z).pop(message, x)  # decode x ~ p(x|z)
        q = self.posterior(x)
        q.push(message, z)  # give z back: encode z ~ q(z|x)
        if costs is not None:
            self._tell(costs, x, z, q)

    def _tell(self, costs: CanvasCosts, x: Strips, z: NumpyArray, q: NormalPosterior) -> None:
        """The bits of x and z, less those that were given back."""
        given_back = row_bits(code_length(q.intervals(z)[1], PRECISION).reshape(z.shape))
        costs.add(self.likelihood(z).pixel_lengths(x), z.shape[1] * self.model.prior.bits - given_back)

    def posterior(self, x: Strips) -> NormalPosterior:
        """q(z|x) of images x, K steps from the encoder's output."""
        parts = [
            refine(self.model, x[start : start + self.compute_batch], self.encoder, self.k, self.learning_rate)
            for start in range(0, len(x), self.compute_batch)
        ]
        mu, sigma = np.concatenate([q.mu for q in parts]), np.concatenate([q.sigma for q in parts])
        return NormalPosterior(self.model.prior, mu, sigma)

    def likelihood(self, z: NumpyArray) -> PixelLikelihood:
        """p(x|z) for bins z (rows, Z)."""
        return self.model.likelihood(self.model.prior.values(z))


def codec_of(model: Model, header: GroupHeader, compute_batch: int) -> BitsBack:
    """The codec of a message of a group, with this header; where the model learns, of one message alone.

    Raises:
        ModelError, ValueError: the model does not learn so between batches.
    """
    rate, learning = header.learning_rate or model.weights.learning_rate, header.learning
    if learning is None or not learning.batches:
        return BitsBack(model, header.encoder, header.k, rate, compute_batch)
    if not isinstance(model, LearningModel):
        raise ModelError("the model cannot learn between batches")
    own = DecoderLearning(model, learning.rate, learning.unit)
    return BitsBack(own.model, header.encoder, header.k, rate, compute_batch, own)
