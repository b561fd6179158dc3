"""The contract of a model: what its weights say of themselves, and what codecs ask of its networks on a backend."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ldexp
from typing import Any, Protocol

import numpy as np

from bbcompress.coder.ans import Message
from bbcompress.errors import ModelError
from bbcompress.exact.backend import Array, Backend, probe
from bbcompress.exact.batch_learning import NetworkParameters
from bbcompress.exact.convolution import ConvolutionWeights
from bbcompress.exact.distributions import EqualMassBins
from bbcompress.exact.layers import ACTIVATION_LIMIT, MAX_GRADIENT_ROWS, LinearWeights
from bbcompress.exact.tables import ARGUMENT_BITS, MAX_PRIOR_BITS, VALUE_BITS, IntArray
from bbcompress.lazy import cached_property
from bbcompress.limits import ENCODERS, OTHER_ENCODER, USUAL_ENCODER
from bbcompress.models.strips import Canvas, Strips

Layers = tuple[LinearWeights, ...]
AnyWeights = LinearWeights | ConvolutionWeights
NumpyArray = np.ndarray[Any, Any]

Z_BITS = 16
"""Fractional bits of z where it enters the decoder, and of mu where it leaves an encoder."""
Z_UNIT = ldexp(1.0, -Z_BITS)
Z_LIMIT = 16 << Z_BITS
"""|z| is clamped to 16: beyond any of the bins."""
SEARCHED_SUBPIXELS = 1 << 12
"""Larger images are not searched by models that code each pixel: their z hardly counts, and a search takes long."""
RHO_BITS = ARGUMENT_BITS
"""Fractional bits of rho, sigma = softplus(rho)."""
RHO_UNIT = ldexp(1.0, -RHO_BITS)


class ModelWeights(Protocol):
    """What all kinds of models have: see `MLPWeights`.

    shape: (height, width) of its images, None for any. tile: side of the squares that each have a z, in pixels.
    searched_subpixels: most sub-pixels of an image of one tile for which direct coding searches a z.
    """

    @property
    def prior_bits(self) -> int: ...
    @property
    def direct_bits(self) -> tuple[int, ...]: ...
    @property
    def learning_rate(self) -> int: ...
    @property
    def encoders(self) -> Mapping[str, Any]: ...
    @property
    def card(self) -> Mapping[str, Any]: ...
    @property
    def shape(self) -> tuple[int, int] | None: ...
    @property
    def tile(self) -> int: ...
    @property
    def searched_subpixels(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def levels(self) -> int: ...
    @property
    def likelihood(self) -> str: ...
    @property
    def latents(self) -> int: ...
    @property
    def dimensions(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def id(self) -> bytes: ...
    def networks(self) -> Sequence[tuple[str, Sequence[AnyWeights]]]: ...
    def settings(self) -> dict[str, Any]: ...


class Model(ABC):
    """A model on a backend, as codecs see it: encoders of q(z|x), `prior` p(z) and `likelihood` p(x|z).

    x are images: strips of a canvas. z, mu and rho have a row for each of their tiles, (rows, Z).
    """

    backend: Backend

    def __init__(self, weights: ModelWeights, backend: Backend) -> None:
        """Raises ModelError if the backend's products are not exact."""
        probe(backend)
        self.backend = backend
        self.prior = EqualMassBins(weights.prior_bits, weights.latents)

    @property
    @abstractmethod
    def weights(self) -> ModelWeights:
        """The model's integers."""

    def likelihood(self, values: NumpyArray) -> PixelLikelihood:
        """p(x|z) for values of z, (rows, Z) in units of 2^-24."""
        return PixelLikelihood(self, values)

    @abstractmethod
    def prepare(self, x: Strips) -> Any:
        """x in the form that `encode` and `gradient` take."""

    @abstractmethod
    def encode(self, x: Any, encoder: str) -> tuple[Array, Array]:
        """Mean (units of 1) and rho of q(z|x), float64 (rows, Z) both."""

    @abstractmethod
    def gradient(self, z: Array, x: Any, step: int) -> Array:
        """d(-log p(x|z))/dz in nats, (rows, Z), for K step `step`."""

    @abstractmethod
    def push_pixels(self, message: Message, z: NumpyArray, x: Strips) -> None:
        """Push x under p(x|z), z (rows, Z) in units of 2^-24."""

    @abstractmethod
    def pop_pixels(self, message: Message, z: NumpyArray, x: Strips) -> None:
        """Pop x under p(x|z), z (rows, Z) in units of 2^-24, into its canvas.

        Raises:
            EmptyMessage: the message does not hold so many symbols.
        """

    @abstractmethod
    def lengths(self, z: NumpyArray, x: Strips) -> IntArray:
        """-log2 p(x|z) of each row of z, in units of 2^-30 bits."""

    @abstractmethod
    def pixel_lengths(self, z: NumpyArray, x: Strips) -> PixelLengths:
        """-log2 p(x|z) of each pixel; z (rows, Z) in units of 2^-24."""

    def candidate_lengths(self, z: NumpyArray, x: Strips) -> IntArray:
        """-log2 p(x|z) of a strip that is a whole image of one tile for each z (N, Z), (N,), in units of 2^-30 bits."""
        image = x.whole_tile
        if image is None:
            raise ValueError("the strip is no whole image of one tile")
        return self.lengths(z, Strips.all_of(Canvas.of(np.repeat(image, len(z), axis=0), x.canvas.tile)))

    def _points(self, z: Array) -> Array:
        """z (rows, Z), in units of 1, on the grid of the decoder's input."""
        backend = self.backend
        return backend.clip_(backend.floor_(z * float(1 << Z_BITS) + 0.5), -Z_LIMIT, Z_LIMIT)

    def _inputs(self, z: NumpyArray) -> Array:
        """z (rows, Z), in units of 2^-24, on the grid of the decoder's input, float64."""
        grid = (z + (1 << (VALUE_BITS - 1 - Z_BITS))) >> (VALUE_BITS - Z_BITS)
        return self.backend.asarray(grid.astype(np.float64))


class LearningModel(Model):
    """A model whose decoder, as a whole, may learn between batches of images."""

    @cached_property
    def largest_unit(self) -> int:
        """Most rows of z from which a step may be taken, so that gradients by weights are exact; 0 where the decoder
        cannot learn."""
        try:
            NetworkParameters(self.decoder_layers, Z_LIMIT, 1)
        except ModelError:
            return 0
        return MAX_GRADIENT_ROWS // self.gradient_rows

    @property
    @abstractmethod
    def learning_rates(self) -> tuple[int, ...]:
        """Rates of learning that a writer tries, in units of 1e-6: for images of the model's own kind first."""

    @property
    @abstractmethod
    def gradient_rows(self) -> int:
        """Most rows over which a gradient by weights is summed for one row of z."""

    @property
    @abstractmethod
    def decoder_layers(self) -> Sequence[AnyWeights]:
        """The checkpoint's layers of the decoder, whose input is z."""

    @abstractmethod
    def with_own_decoder(self) -> LearningModel:
        """The same model with a decoder of its own, as the checkpoint has it."""

    @abstractmethod
    def load_decoder(self, integers: Sequence[tuple[NumpyArray, NumpyArray]]) -> None:
        """Take other weights and biases of the decoder."""

    @abstractmethod
    def weight_gradients(self, z: Array, x: Any, rows: slice) -> list[NumpyArray]:
        """The gradient of -ln p(x|z), in units of 2^-20, by weights and bias of each layer of the decoder, summed over
        some rows: float64 (outputs, columns + 1). z: (rows, Z) in units of 2^-16. x: as `prepare` gives it."""


@dataclass(frozen=True)
class PixelLengths:
    """-log2 p(x|z) of pixels: `lengths` in units of 2^-30 bits, of the pixels at `indices` in the canvas, in tiles
    whose z are the `rows`; (pixels,) all."""

    indices: IntArray
    rows: IntArray
    lengths: IntArray

    def by_row(self, count: int) -> IntArray:
        """Of all pixels of each of so many rows of z, (rows,)."""
        totals = np.zeros(count, np.int64)
        np.add.at(totals, self.rows, self.lengths)
        return totals


@dataclass(frozen=True)
class PixelLikelihood:
    """p(x|z) of a model for values of z, (rows, Z) in units of 2^-24; x are strips with a tile for each row."""

    model: Model
    values: NumpyArray

    def push(self, message: Message, x: Strips) -> None:
        """Push the pixels of x."""
        self.model.push_pixels(message, self.values, x)

    def pop(self, message: Message, x: Strips) -> None:
        """Pop pixels into the canvas of x.

        Raises:
            EmptyMessage: the message does not hold so many symbols.
        """
        self.model.pop_pixels(message, self.values, x)

    def lengths(self, x: Strips) -> IntArray:
        """-log2 p(x|z) of each row, in units of 2^-30 bits."""
        return self.model.lengths(self.values, x)

    def pixel_lengths(self, x: Strips) -> PixelLengths:
        """-log2 p(x|z) of each pixel."""
        return self.model.pixel_lengths(self.values, x)


class SharedWeights:
    """What the weights of all models answer alike."""

    @property
    def latents(self: ModelWeights) -> int:
        """Z, the number of latents of a tile."""
        return len(self.direct_bits)

    @property
    def name(self: ModelWeights) -> str:
        """The model's name, from its card."""
        return str(self.card.get("name", self.id.hex()[:8]))

    @cached_property
    def id(self: ModelWeights) -> bytes:
        """SHA-256 of every integer that coding depends on; a file names its model by the first bytes of it."""
        return hash_of(self)


def check_coding_settings(weights: ModelWeights) -> None:
    """Raises ModelError where prior, direct coding, learning rate or encoders are out of range or missing."""
    if not 1 <= weights.prior_bits <= MAX_PRIOR_BITS or not 1 <= weights.learning_rate <= 1_000_000:
        raise ModelError("the model's prior or learning rate is out of range")
    if not weights.direct_bits or not all(0 <= bits <= weights.prior_bits for bits in weights.direct_bits):
        raise ModelError("the model's direct coding is out of range")
    if set(weights.encoders) != set(ENCODERS):
        raise ModelError(f"the model needs the encoders {' and '.join(ENCODERS)}")


def encoder_of(card: Mapping[str, Any], asked: str) -> str:
    """The encoder of a model with this card that is asked for by name, or as its `USUAL_ENCODER` or `OTHER_ENCODER`.

    A card that names none, as of a model of an earlier version, means the first of `ENCODERS`.
    """
    if asked not in (USUAL_ENCODER, OTHER_ENCODER):
        return asked
    usual = ENCODERS[1] if card.get("encoder") == ENCODERS[1] else ENCODERS[0]
    return usual if asked == USUAL_ENCODER else next(name for name in ENCODERS if name != usual)


def hash_of(weights: ModelWeights) -> bytes:
    """SHA-256 of a model's settings and integers: its id."""
    digest = hashlib.sha256(json.dumps(weights.settings(), sort_keys=True).encode())
    for _, layers in weights.networks():
        for layer in layers:
            for array in (layer.weight, layer.bias):
                digest.update(np.ascontiguousarray(array, "<i8").tobytes())
    return digest.digest()


def grid_of(weights: AnyWeights) -> dict[str, Any]:
    """Shape, fixed-point grids and, of a convolution, geometry of a layer; out_bits as runs [bits, outputs]."""
    changes = np.flatnonzero(np.diff(weights.out_bits)) + 1
    runs = [[int(run[0]), len(run)] for run in np.split(weights.out_bits, changes)]
    more: dict[str, Any] = {} if weights.limit == ACTIVATION_LIMIT else {"limit": weights.limit}
    if isinstance(weights, ConvolutionWeights):
        more |= {"stride": weights.stride, "padding": weights.padding, "transposed": weights.transposed}
    return {
        "shape": list(weights.weight.shape),
        "weight_bits": weights.weight_bits,
        "in_bits": weights.in_bits,
        "out_bits": runs,
        "relu": weights.relu,
        **more,
    }


def check_outputs(layers: Sequence[AnyWeights], out_bits: NumpyArray) -> None:
    """Raises ModelError where a network's last layer is not linear with outputs on these grids."""
    if not np.array_equal(layers[-1].out_bits, out_bits) or layers[-1].relu:
        raise ModelError("a network's outputs are not on the grid that their distribution needs")
