"""The paper's MNIST VAE in exact arithmetic: what its checkpoint holds, and its networks on a backend."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bbcompress.coder.ans import Message
from bbcompress.errors import ModelError
from bbcompress.exact.backend import Array, Backend
from bbcompress.exact.distributions import LIKELIHOODS, PRECISION, ExactLikelihood, negative_log_likelihood
from bbcompress.exact.layers import GRADIENT_UNIT, Network, prove_network
from bbcompress.exact.tables import IntArray, code_length
from bbcompress.limits import ENCODERS
from bbcompress.models.base import (
    RHO_BITS,
    RHO_UNIT,
    Z_BITS,
    Z_LIMIT,
    Z_UNIT,
    Layers,
    LearningModel,
    NumpyArray,
    PixelLengths,
    SharedWeights,
    check_coding_settings,
    check_outputs,
    grid_of,
)
from bbcompress.models.strips import Strips

ARCHITECTURE = "mlp"
DECODE_BATCH = 128
"""Images that go through the decoder at once; a choice of speed that changes no number."""


@dataclass(frozen=True)
class MLPWeights(SharedWeights):
    """The integers of a model, proved to be exact when made.

    Attributes:
        shape: (height, width) of its images.
        likelihood: name in `LIKELIHOODS`.
        prior_bits: log2 of the number of equal-mass bins of each latent.
        direct_bits: the same for each latent of a directly coded image.
        learning_rate: of K-step refinement, in units of 1e-6.
        encoders: by name, pixels to (mu, rho).
        card: what people should know of the model; no part of its id.

    Raises:
        ModelError: a part is missing, does not fit, or breaks a bound of exact arithmetic.
    """

    shape: tuple[int, int]
    likelihood: str
    prior_bits: int
    direct_bits: tuple[int, ...]
    learning_rate: int
    decoder: Layers
    encoders: Mapping[str, Layers]
    card: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.likelihood not in LIKELIHOODS:
            raise ModelError(f"the model's likelihood {self.likelihood!r} is not known")
        if not all(1 <= side <= 1 << 12 for side in self.shape):
            raise ModelError("the model's image size is out of range")
        check_coding_settings(self)
        likelihood = LIKELIHOODS[self.likelihood]
        prove_network(self.decoder, self.latents, Z_LIMIT)
        check_outputs(self.decoder, likelihood.out_bits(self.dimensions))
        if self.decoder[0].in_bits != Z_BITS:
            raise ModelError("the decoder's input is not on the grid of z")
        posterior_bits = np.repeat(np.array([Z_BITS, RHO_BITS], np.int64), self.latents)
        for layers in self.encoders.values():
            prove_network(layers, self.dimensions, likelihood.levels - 1)
            check_outputs(layers, posterior_bits)
            if layers[0].in_bits != 0:
                raise ModelError("an encoder's input is not on the grid of pixels")

    @property
    def tile(self) -> int:
        """Side of a square that holds an image: each is one tile, and has a z of its own."""
        return max(self.shape)

    @property
    def searched_subpixels(self) -> int:
        """z is searched for in images of any size."""
        return self.dimensions

    @property
    def channels(self) -> int:
        """1: its images are grey or of two levels."""
        return 1

    @property
    def levels(self) -> int:
        """Levels of a pixel."""
        return LIKELIHOODS[self.likelihood].levels

    @property
    def dimensions(self) -> int:
        """D, the number of sub-pixels of an image."""
        return self.shape[0] * self.shape[1]

    @classmethod
    def from_settings(
        cls, settings: Mapping[str, Any], network: Callable[[str], tuple[Any, ...]], shared: Mapping[str, Any]
    ) -> MLPWeights:
        """The weights of a checkpoint.

        Args:
            settings: as `settings` gives them. network: the layers of a network by its name. shared: the arguments that
                all architectures have.

        Raises:
            ModelError, or LookupError, TypeError or ValueError for settings that are none.
        """
        height, width = (int(side) for side in settings["shape"])
        return cls(
            shape=(height, width),
            likelihood=str(settings["likelihood"]),
            encoders={name: network(f"encoder.{name}") for name in ENCODERS},
            **shared,
        )

    def networks(self) -> list[tuple[str, Layers]]:
        """Name and layers of each network, in the order of the id."""
        return [("decoder", self.decoder)] + [(f"encoder.{name}", self.encoders[name]) for name in ENCODERS]

    def settings(self) -> dict[str, Any]:
        """Everything but the weights that coding depends on, as JSON values."""
        return {
            "shape": list(self.shape),
            "likelihood": self.likelihood,
            "prior_bits": self.prior_bits,
            "direct_bits": list(self.direct_bits),
            "learning_rate": self.learning_rate,
            "networks": {name: [grid_of(weights) for weights in layers] for name, layers in self.networks()},
        }


class ExactMLPVAE(LearningModel):
    """A model on a backend: encoder, decoder, likelihood and prior of Algorithms 1 and 2."""

    def __init__(self, weights: MLPWeights, backend: Backend) -> None:
        """Raises ModelError if the backend's products are not exact."""
        super().__init__(weights, backend)
        self._weights = weights
        self.distribution: ExactLikelihood = LIKELIHOODS[weights.likelihood]
        self.decoder = Network(weights.decoder, backend)
        self._encoders: dict[str, Network] = {}

    @property
    def weights(self) -> MLPWeights:
        """The model's integers."""
        return self._weights

    def prepare(self, x: Strips) -> Array:
        """Images x as the float64 (B, D) that networks take."""
        return self.backend.asarray(_rows(x).astype(np.float64))

    def encode(self, x: Array, encoder: str) -> tuple[Array, Array]:
        """Mean (units of 1) and rho of q(z|x), float64 (B, Z) both, for pixels x (B, D)."""
        if encoder not in self._encoders:
            self._encoders[encoder] = Network(self.weights.encoders[encoder], self.backend)
        outputs = self._encoders[encoder].forward(x)
        latents = self.weights.latents
        return outputs[:, :latents] * Z_UNIT, outputs[:, latents:] * RHO_UNIT

    def decode(self, z: NumpyArray) -> NumpyArray:
        """The likelihood's parameters (B, outputs) for z (B, Z) int64 in units of 2^-24."""
        return self.backend.numpy(self.decoder.forward(self._inputs(z)))

    def gradient(self, z: Array, x: Array, step: int) -> Array:
        """d(-log p(x|z))/dz in nats, (B, Z), by the exact backward pass of the decoder; the same for every step."""
        params, tape = self.decoder.forward_with_tape(self._points(z))
        gradient = self.distribution.gradient(params, x, self.backend)
        return self.decoder.backward(gradient, tape) * GRADIENT_UNIT

    @property
    def learning_rates(self) -> tuple[int, ...]:
        """Chosen on training digits, as they are and mirrored."""
        return 20, 200

    @property
    def gradient_rows(self) -> int:
        """One: an image is a row of each product."""
        return 1

    @property
    def decoder_layers(self) -> Layers:
        """All of them."""
        return self.weights.decoder

    def with_own_decoder(self) -> ExactMLPVAE:
        """The same model with a decoder of its own, as the checkpoint has it."""
        model = copy.copy(self)
        model.decoder = Network(self.weights.decoder, self.backend)
        return model

    def load_decoder(self, integers: Sequence[tuple[NumpyArray, NumpyArray]]) -> None:
        """Take other weights and biases of the decoder."""
        self.decoder.load(integers)

    def weight_gradients(self, z: Array, x: Array, rows: slice) -> list[NumpyArray]:
        """The gradient of -ln p(x|z) by weights and bias of each layer of the decoder, summed over rows."""
        params, tape = self.decoder.forward_with_tape(z[rows])
        gradient = self.distribution.gradient(params, x[rows], self.backend)
        return self.decoder.weight_gradients(gradient, z[rows], tape)

    def push_pixels(self, message: Message, z: NumpyArray, x: Strips) -> None:
        """Push images x under p(x|z), z (B, Z) in units of 2^-24."""
        message.push(*self.distribution.intervals(self._parameters(z), _rows(x)), PRECISION)

    def pop_pixels(self, message: Message, z: NumpyArray, x: Strips) -> None:
        """Pop images under p(x|z), z (B, Z) in units of 2^-24, into the canvas of x.

        Raises:
            EmptyMessage: the message does not hold so many symbols.
        """
        pixels = x.canvas.inner[x.first : x.last]
        pixels[:] = self.distribution.pop(message, self._parameters(z)).reshape(pixels.shape)

    def lengths(self, z: NumpyArray, x: Strips) -> IntArray:
        """-log2 p(x|z) of each image, (B,), in units of 2^-30 bits; z (B, Z) in units of 2^-24."""
        return negative_log_likelihood(self.distribution, self._parameters(z), _rows(x))

    def pixel_lengths(self, z: NumpyArray, x: Strips) -> PixelLengths:
        """-log2 p(x|z) of each pixel; z (B, Z) in units of 2^-24."""
        _, frequencies = self.distribution.intervals(self._parameters(z), _rows(x))
        height, width = self.weights.shape
        images, y, columns = np.ogrid[x.first : x.last, :height, :width]
        indices = x.canvas.indices(images, y, columns).reshape(-1)
        rows = np.repeat(np.arange(len(x)), self.weights.dimensions)
        return PixelLengths(indices, rows, code_length(frequencies, PRECISION))

    def candidate_lengths(self, z: NumpyArray, x: Strips) -> IntArray:
        """-log2 p(x|z) of one image x for each z (N, Z), (N,), in units of 2^-30 bits."""
        rows = np.repeat(_rows(x), len(z), axis=0)
        return negative_log_likelihood(self.distribution, self._parameters(z), rows)

    def _parameters(self, z: NumpyArray) -> NumpyArray:
        return np.concatenate([self.decode(z[i : i + DECODE_BATCH]) for i in range(0, len(z), DECODE_BATCH)])


def _rows(x: Strips) -> NumpyArray:
    """Images, each one strip, as rows of pixels, int16 (B, D)."""
    return x.canvas.inner[x.first : x.last].reshape(len(x), -1)
