"""The paper's CIFAR-10 VAE in exact arithmetic: what its checkpoint holds, and its networks on a backend.

Fully convolutional residual networks over tiles of an image, each with a z of its own; a pixel's channels are linear in
the earlier ones. Images of any size are cut into tiles, those at the right and lower edges filled up with the pixels of
the edge.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bbcompress.coder.ans import Message
from bbcompress.errors import ModelError
from bbcompress.exact.backend import Array, Backend
from bbcompress.exact.convolution import ConvolutionWeights, ResidualNetwork, prove_residual_network
from bbcompress.exact.distributions import ExactChannelLogistic
from bbcompress.exact.layers import GRADIENT_UNIT
from bbcompress.exact.tables import IntArray
from bbcompress.limits import ENCODERS
from bbcompress.models.base import (
    RHO_BITS,
    RHO_UNIT,
    SEARCHED_SUBPIXELS,
    Z_BITS,
    Z_LIMIT,
    Z_UNIT,
    LearningModel,
    NumpyArray,
    PixelLengths,
    SharedWeights,
    check_coding_settings,
    check_outputs,
    grid_of,
)
from bbcompress.models.strips import Pixels, Strips

ARCHITECTURE = "resnet"
STRIDE = 4
"""Pixels a side of an image for each position of z."""
MAX_TILE = 256
MAX_BLOCKS = 64
CHANNELS = 3
PIXEL_BITS = 7
"""Fractional bits of the encoder's input: 2 x - 255, that is (x - 127.5) / 64. The middle of the levels is 0, which
convolutions pad with."""
PIXEL_LIMIT = 255
UNIT_RHO = 554
"""The rho, on its grid, whose sigma comes nearest to 1."""
TILES = 32
"""Tiles that go through a network at once; a choice of speed that changes no number."""

Convolutions = tuple[ConvolutionWeights, ...]


@dataclass(frozen=True)
class ResNetWeights(SharedWeights):
    """The integers of a residual VAE, proved to be exact when made.

    The latents of a tile are in the order of positions, row by row, and at each of its channels.

    Attributes:
        tile: side, in pixels, of the square that one z describes.
        blocks: residual blocks in each network.
        prior_bits, direct_bits, learning_rate, card: as in `MLPWeights`.
        decoder: a 1x1 convolution, the blocks, two transposed convolutions.
        encoders: by name, two convolutions, the blocks, a 1x1 convolution.

    Raises:
        ModelError: a part is missing, does not fit, or breaks a bound of exact arithmetic.
    """

    tile: int
    blocks: int
    prior_bits: int
    direct_bits: tuple[int, ...]
    learning_rate: int
    decoder: Convolutions
    encoders: Mapping[str, Convolutions]
    card: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not STRIDE <= self.tile <= MAX_TILE or self.tile % STRIDE or not 1 <= self.blocks <= MAX_BLOCKS:
            raise ModelError("the model's sizes are out of range")
        check_coding_settings(self)
        if self.latents % self.latent_side**2:
            raise ModelError("the model's latents do not fill its positions")
        channels = self.latents // self.latent_side**2
        prove_residual_network(self.decoder, self.blocks, 1, channels, Z_LIMIT)
        if self.decoder[0].in_bits != Z_BITS:
            raise ModelError("the decoder's input is not on the grid of z")
        check_outputs(self.decoder, ExactChannelLogistic().out_bits())
        _check_scaling(self.decoder, self.blocks, 1, transposed=True)
        posterior_bits = np.repeat(np.array([Z_BITS, RHO_BITS], np.int64), channels)
        for layers in self.encoders.values():
            prove_residual_network(layers, self.blocks, 2, CHANNELS, PIXEL_LIMIT)
            if layers[0].in_bits != PIXEL_BITS:
                raise ModelError("an encoder's input is not on the grid of pixels")
            check_outputs(layers, posterior_bits)
            _check_scaling(layers, self.blocks, 2, transposed=False)

    @property
    def latent_side(self) -> int:
        """Positions of z a side of a tile."""
        return self.tile // STRIDE

    @property
    def searched_subpixels(self) -> int:
        """z hardly counts in larger images."""
        return SEARCHED_SUBPIXELS

    @property
    def channels(self) -> int:
        """3: its images are RGB."""
        return CHANNELS

    @property
    def levels(self) -> int:
        """Levels of a sub-pixel."""
        return ExactChannelLogistic.levels

    @property
    def likelihood(self) -> str:
        """Its name."""
        return ExactChannelLogistic.name

    @property
    def shape(self) -> None:
        """Its images may have any size."""
        return None

    @property
    def dimensions(self) -> int:
        """Sub-pixels of a whole tile."""
        return self.tile**2 * CHANNELS

    @classmethod
    def from_settings(
        cls, settings: Mapping[str, Any], network: Callable[[str], tuple[Any, ...]], shared: Mapping[str, Any]
    ) -> ResNetWeights:
        """The weights of a checkpoint.

        Args:
            settings: as `settings` gives them. network: the layers of a network by its name. shared: the arguments that
                all architectures have.

        Raises:
            ModelError, or LookupError, TypeError or ValueError for settings that are none.
        """
        return cls(
            tile=int(settings["tile"]),
            blocks=int(settings["blocks"]),
            encoders={name: network(f"encoder.{name}") for name in ENCODERS},
            **shared,
        )

    def networks(self) -> list[tuple[str, Convolutions]]:
        """Name and layers of each network, in the order of the id."""
        return [("decoder", self.decoder)] + [(f"encoder.{name}", self.encoders[name]) for name in ENCODERS]

    def settings(self) -> dict[str, Any]:
        """Everything but the weights that coding depends on, as JSON values."""
        return {
            "architecture": ARCHITECTURE,
            "tile": self.tile,
            "blocks": self.blocks,
            "prior_bits": self.prior_bits,
            "direct_bits": list(self.direct_bits),
            "learning_rate": self.learning_rate,
            "networks": {name: [grid_of(weights) for weights in layers] for name, layers in self.networks()},
        }


def _check_scaling(layers: Convolutions, blocks: int, first_block: int, transposed: bool) -> None:
    """Raises ModelError unless the layers outside the blocks are two that halve the sides and a 1x1 convolution behind
    them or, transposed, one and two that double the sides.
    """
    pointwise, scaling = (False, 1, 1, 0), (transposed, 2, 4, 1)
    expected = [pointwise, scaling, scaling] if transposed else [scaling, scaling, pointwise]
    outside = [*layers[:first_block], *layers[first_block + 2 * blocks :]]
    if [(layer.transposed, layer.stride, layer.weight.shape[2], layer.padding) for layer in outside] != expected:
        raise ModelError("a network's layers are not those of a residual VAE")


@dataclass(frozen=True)
class Tiles:
    """Whole tiles of pixels: levels, uint8 (N, T, T, 3), and where they are of the image, bool (N, T, T)."""

    levels: NumpyArray
    inside: NumpyArray

    @classmethod
    def of(cls, x: Strips) -> Tiles:
        """The tiles of strips; what lies beyond the image repeats its edge."""
        side = x.canvas.tile
        levels, inside = [], []
        for run in x.tiles():
            count, height, width = run.shape[:3]
            levels.append(np.pad(run, ((0, 0), (0, side - height), (0, side - width), (0, 0)), mode="edge"))
            seen = np.zeros((count, side, side), np.bool_)
            seen[:, :height, :width] = True
            inside.append(seen)
        return cls(np.concatenate(levels).astype(np.uint8), np.concatenate(inside))

    def __len__(self) -> int:
        return len(self.levels)


class ExactResNetVAE(LearningModel):
    """A residual VAE on a backend. Images are `Strips`; z, mu and rho have one row for each of their tiles."""

    def __init__(self, weights: ResNetWeights, backend: Backend) -> None:
        """Raises ModelError if the backend's products are not exact."""
        super().__init__(weights, backend)
        self._weights = weights
        self.distribution = ExactChannelLogistic()
        self.decoder = ResidualNetwork(weights.decoder, weights.blocks, 1, backend)
        self._encoders: dict[str, ResidualNetwork] = {}

    @property
    def weights(self) -> ResNetWeights:
        """The model's integers."""
        return self._weights

    def prepare(self, x: Strips) -> Tiles:
        """What `encode` and `gradient` take."""
        return Tiles.of(x)

    def encode(self, x: Tiles, encoder: str) -> tuple[Array, Array]:
        """Mean (units of 1) and rho of q(z|x), float64 (tiles, Z) both.

        Where a position of z lies beyond the image the posterior is the prior, which costs nothing.
        """
        weights, backend = self.weights, self.backend
        if encoder not in self._encoders:
            self._encoders[encoder] = ResidualNetwork(weights.encoders[encoder], weights.blocks, 2, backend)
        channels = weights.latents // weights.latent_side**2
        mu, rho = np.empty((2, len(x), weights.latents))
        for rows in _chunks(len(x)):
            pixels = backend.asarray(2.0 * x.levels[rows] - 255.0)
            outputs = backend.numpy(self._encoders[encoder].forward(pixels))
            seen = x.inside[rows, ::STRIDE, ::STRIDE, None]
            mu[rows] = np.where(seen, outputs[..., :channels], 0.0).reshape(-1, weights.latents)
            rho[rows] = np.where(seen, outputs[..., channels:], UNIT_RHO).reshape(-1, weights.latents)
        return backend.asarray(mu * Z_UNIT), backend.asarray(rho * RHO_UNIT)

    def gradient(self, z: Array, x: Tiles, step: int) -> Array:
        """d(-log p(x|z))/dz in nats, (tiles, Z), by the exact backward pass of the decoder; the same for every step."""
        grid = self._points(z)
        gradients = self.backend.empty_like(grid)
        for rows in _chunks(len(x)):
            params, tape = self.decoder.forward_with_tape(self._grid(grid[rows]))
            by_z = self.decoder.backward(self._by_parameters(params, x, rows), tape)
            gradients[rows] = by_z.reshape(-1, self.weights.latents) * GRADIENT_UNIT
        return gradients

    def _by_parameters(self, params: Array, x: Tiles, rows: slice) -> Array:
        """The gradient by the likelihood's parameters of some tiles, of the shape of `params`."""
        backend = self.backend
        levels = backend.asarray(x.levels[rows].reshape(-1, CHANNELS).astype(np.float64))
        inside = backend.asarray(x.inside[rows].reshape(-1, 1).astype(np.float64))
        by_params = self.distribution.gradient(params.reshape(len(levels), -1), levels, backend) * inside
        return by_params.reshape(params.shape)

    @property
    def learning_rates(self) -> tuple[int, ...]:
        """Chosen on training images, as they are and with red and blue exchanged."""
        return 3, 10

    @property
    def gradient_rows(self) -> int:
        """The places of the finest grid on which a layer's product is taken: half a tile's pixels across and down."""
        return (self.weights.tile // 2) ** 2

    @property
    def decoder_layers(self) -> Convolutions:
        """All of them."""
        return self.weights.decoder

    def with_own_decoder(self) -> ExactResNetVAE:
        """The same model with a decoder of its own, as the checkpoint has it."""
        model = copy.copy(self)
        model.decoder = ResidualNetwork(self.weights.decoder, self.weights.blocks, 1, self.backend)
        return model

    def load_decoder(self, integers: Sequence[tuple[NumpyArray, NumpyArray]]) -> None:
        """Take other weights and biases of the decoder."""
        self.decoder.load(integers)

    def weight_gradients(self, z: Array, x: Tiles, rows: slice) -> list[NumpyArray]:
        """The gradient of -ln p(x|z) by weights and bias of each layer of the decoder, summed over tiles."""
        grid = self._grid(z[rows])
        params, tape = self.decoder.forward_with_tape(grid)
        return self.decoder.weight_gradients(self._by_parameters(params, x, rows), grid, tape)

    def push_pixels(self, message: Message, z: NumpyArray, x: Strips) -> None:
        """Push x under p(x|z), z (tiles, Z) in units of 2^-24: the pixels inside, tile after tile, row by row."""
        pixels = _raster(x)
        self.distribution.push(message, self._parameters(z)[pixels.cells], x.canvas.levels_at(pixels.indices).T)

    def pop_pixels(self, message: Message, z: NumpyArray, x: Strips) -> None:
        """Pop x under p(x|z), z (tiles, Z) in units of 2^-24, into the canvas of x.

        Raises:
            EmptyMessage: the message does not hold so many symbols.
        """
        pixels = _raster(x)
        levels = self.distribution.pop(message, self._parameters(z)[pixels.cells])
        for channel in range(CHANNELS):
            x.canvas.set_levels(pixels.indices, channel, levels[:, channel])

    def lengths(self, z: NumpyArray, x: Strips) -> IntArray:
        """-log2 p(x|z) of each tile, (tiles,), in units of 2^-30 bits; z (tiles, Z) in units of 2^-24."""
        return self.pixel_lengths(z, x).by_row(len(z))

    def pixel_lengths(self, z: NumpyArray, x: Strips) -> PixelLengths:
        """-log2 p(x|z) of each pixel; z (tiles, Z) in units of 2^-24."""
        pixels = _raster(x)
        lengths = self.distribution.lengths(self._parameters(z)[pixels.cells], x.canvas.levels_at(pixels.indices).T)
        return PixelLengths(pixels.indices, pixels.cells // self.weights.tile**2, lengths)

    def _parameters(self, z: NumpyArray) -> NumpyArray:
        """The likelihood's parameters of all pixels of tiles, int32 (tiles * T^2, 9), for z in units of 2^-24."""
        size = self.weights.tile**2
        params = np.empty((len(z) * size, ExactChannelLogistic.parameters_per_pixel), np.int32)
        for rows in _chunks(len(z)):
            outputs = self.decoder.forward(self._grid(self._inputs(z[rows])))
            part = slice(rows.start * size, min(rows.stop, len(z)) * size)
            params[part] = self.backend.numpy(outputs).reshape(-1, params.shape[1])
        return params

    def _grid(self, z: Array) -> Array:
        """z (tiles, Z) as the decoder's input, (tiles, T / 4, T / 4, channels)."""
        side = self.weights.latent_side
        return z.reshape(len(z), side, side, -1)


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, TILES):
        yield slice(start, start + TILES)


def _raster(x: Strips) -> Pixels:
    """All pixels of strips, tile after tile, row by row; `cells` number them so over whole tiles."""
    (pixels,) = x.sampled(1, 0, 1, x.row_count + 1)
    return pixels
