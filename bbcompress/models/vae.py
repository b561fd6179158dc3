"""A variational auto-encoder in exact arithmetic: what a checkpoint holds, and its networks on a backend."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from bbcompress.errors import ModelError
from bbcompress.exact.backend import Array, Backend, probe
from bbcompress.exact.distributions import LIKELIHOODS, EqualMassBins, Likelihood
from bbcompress.exact.layers import LinearWeights, Network, prove_network
from bbcompress.exact.tables import ARGUMENT_BITS, MAX_PRIOR_BITS

Layers = tuple[LinearWeights, ...]
NumpyArray = np.ndarray[Any, Any]

ENCODERS = ("rha", "baseline")
Z_BITS = 16
"""Fractional bits of z where it enters the decoder, and of mu where it leaves an encoder."""
Z_LIMIT = 16 << Z_BITS
"""|z| is clamped to 16: beyond any of the bins."""
RHO_BITS = ARGUMENT_BITS
"""Fractional bits of rho, sigma = softplus(rho)."""


@dataclass(frozen=True)
class VAEWeights:
    """The integers of a model, proved to be exact when made.

    shape: (height, width) of its images. likelihood: name in `LIKELIHOODS`. prior_bits: log2 of the number of
    equal-mass bins of each latent. direct_bits: the same for each latent of a directly coded image. learning_rate: of
    K-step refinement, in units of 1e-6. encoders: by name, pixels to (mu, rho). card: what people should know of the
    model; no part of its id.

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
        if not 1 <= self.prior_bits <= MAX_PRIOR_BITS or not 1 <= self.learning_rate <= 1_000_000:
            raise ModelError("the model's prior or learning rate is out of range")
        if not self.direct_bits or not all(0 <= bits <= self.prior_bits for bits in self.direct_bits):
            raise ModelError("the model's direct coding is out of range")
        if set(self.encoders) != set(ENCODERS):
            raise ModelError(f"the model needs the encoders {' and '.join(ENCODERS)}")
        likelihood = LIKELIHOODS[self.likelihood]
        prove_network(self.decoder, self.latents, Z_LIMIT)
        _check_outputs(self.decoder, likelihood.out_bits(self.dimensions))
        if self.decoder[0].in_bits != Z_BITS:
            raise ModelError("the decoder's input is not on the grid of z")
        posterior_bits = np.repeat(np.array([Z_BITS, RHO_BITS], np.int64), self.latents)
        for layers in self.encoders.values():
            prove_network(layers, self.dimensions, likelihood.levels - 1)
            _check_outputs(layers, posterior_bits)
            if layers[0].in_bits != 0:
                raise ModelError("an encoder's input is not on the grid of pixels")

    @property
    def latents(self) -> int:
        """Z, the number of latents of an image."""
        return len(self.direct_bits)

    @property
    def dimensions(self) -> int:
        """D, the number of sub-pixels of an image."""
        return self.shape[0] * self.shape[1]

    @property
    def name(self) -> str:
        """The model's name, from its card."""
        return str(self.card.get("name", self.id.hex()[:8]))

    @cached_property
    def id(self) -> bytes:
        """SHA-256 of every integer that coding depends on; a file names its model by the first bytes of it."""
        digest = hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode())
        for _, layers in self.networks():
            for weights in layers:
                for array in (weights.weight, weights.bias):
                    digest.update(np.ascontiguousarray(array, "<i8").tobytes())
        return digest.digest()

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
            "networks": {name: [_grid(weights) for weights in layers] for name, layers in self.networks()},
        }


def _grid(weights: LinearWeights) -> dict[str, Any]:
    """Shape and fixed-point grids of a layer; out_bits as runs [bits, outputs]."""
    changes = np.flatnonzero(np.diff(weights.out_bits)) + 1
    runs = [[int(run[0]), len(run)] for run in np.split(weights.out_bits, changes)]
    return {
        "shape": list(weights.weight.shape),
        "weight_bits": weights.weight_bits,
        "in_bits": weights.in_bits,
        "out_bits": runs,
        "relu": weights.relu,
    }


def _check_outputs(layers: Layers, out_bits: NumpyArray) -> None:
    if not np.array_equal(layers[-1].out_bits, out_bits) or layers[-1].relu:
        raise ModelError("a network's outputs are not on the grid that their distribution needs")


class VAE:
    """A model on a backend: encoder, decoder, likelihood and prior of Algorithms 1 and 2."""

    def __init__(self, weights: VAEWeights, backend: Backend) -> None:
        """Raises ModelError if the backend's products are not exact."""
        probe(backend)
        self.weights = weights
        self.backend = backend
        self.likelihood: Likelihood = LIKELIHOODS[weights.likelihood]
        self.bins = EqualMassBins(weights.prior_bits)
        self.decoder = Network(weights.decoder, backend)
        self._encoders: dict[str, Network] = {}

    def pixels(self, x: NumpyArray) -> Array:
        """Images x, (B, D) integers, as the float64 that networks take."""
        return self.backend.asarray(x.astype(np.float64))

    def encode(self, x: Array, encoder: str) -> tuple[Array, Array]:
        """Mean (units of 1) and rho of q(z|x), float64 (B, Z) both, for pixels x (B, D)."""
        if encoder not in self._encoders:
            self._encoders[encoder] = Network(self.weights.encoders[encoder], self.backend)
        outputs = self._encoders[encoder].forward(x)
        latents = self.weights.latents
        return outputs[:, :latents] * 2.0**-Z_BITS, outputs[:, latents:] * 2.0**-RHO_BITS

    def decode(self, z: NumpyArray) -> NumpyArray:
        """The likelihood's parameters (B, outputs) for z (B, Z) int64 in units of 2^-24."""
        grid = (z + (1 << (23 - Z_BITS))) >> (24 - Z_BITS)
        return self.backend.numpy(self.decoder.forward(self.backend.asarray(grid.astype(np.float64))))
