"""The `local` model in exact arithmetic: what its checkpoint holds, and its networks on a backend.

A VAE whose likelihood of a sub-pixel rests on the tile's z, on the pixels around that come before it and on the pixel's
channels before it. Encoding sees all pixels at once; decoding goes along a wavefront (`models/strips.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bbcompress.coder.ans import Message
from bbcompress.errors import ModelError
from bbcompress.exact.backend import Array, Backend, NumpyBackend
from bbcompress.exact.distributions import PRECISION
from bbcompress.exact.lattices import Restriction
from bbcompress.exact.layers import GRADIENT_UNIT, LinearWeights, Network, prove_network
from bbcompress.exact.learning import Parameters
from bbcompress.exact.mixture import LocalBernoulli, LocalLikelihood, LogisticMixture
from bbcompress.exact.tables import IntArray, code_length
from bbcompress.lazy import cached_property
from bbcompress.limits import ENCODERS
from bbcompress.models.base import (
    RHO_BITS,
    RHO_UNIT,
    SEARCHED_SUBPIXELS,
    Z_BITS,
    Z_LIMIT,
    Z_UNIT,
    Layers,
    Model,
    NumpyArray,
    PixelLengths,
    SharedWeights,
    check_coding_settings,
    check_outputs,
    grid_of,
)
from bbcompress.models.learning_network import LearningCoder, learning_layers, pays_for
from bbcompress.models.pixel_network import PIXEL_BITS, PixelNetwork, PixelNetworkWeights
from bbcompress.models.strips import Strips

ARCHITECTURE = "local"
MAX_TILE = 256
MAX_FEATURES = 1024
MAX_MIXTURES = 64
CHUNK = 1 << 9
"""Pixels that go through the network at once: what they need fits in a processor's cache. A choice of speed."""
GRADIENT_TILES = 32
"""Tiles whose gradient is taken at once; likewise."""


@dataclass(frozen=True)
class LocalWeights(SharedWeights):
    """The integers of a local model, proved to be exact when made.

    Attributes:
        channels: 1 or 3.
        mixtures: components of the mixture of logistics; 0 for Bernoulli pixels of two levels.
        tile: side of the square that one z describes.
        image: (height, width) where all images have one size, that of a tile; None for any size.
        cell: side of the squares of a tile that share features.
        features: how many each has.
        patch: side of the encoder's patches.
        pool: the means of pool x pool fields of patches go on.
        centred: whether neighbours and means are relative to the pixel's reference.
        stride: a K step's gradient looks at every stride-th row and column of large images.
        prior_bits, direct_bits, learning_rate, card: as in `MLPWeights`.
        decoder: z to features.
        trunk, heads, outputs: see `PixelNetwork`.
        encoders: by name, the layers for patches and those behind the means.

    Raises:
        ModelError: a part is missing, does not fit, or breaks a bound of exact arithmetic.
    """

    channels: int
    mixtures: int
    tile: int
    image: tuple[int, int] | None
    cell: int
    features: int
    patch: int
    pool: int
    centred: bool
    stride: int
    prior_bits: int
    direct_bits: tuple[int, ...]
    learning_rate: int
    decoder: Layers
    trunk: Layers
    heads: LinearWeights
    outputs: Layers
    encoders: Mapping[str, tuple[Layers, Layers]]
    card: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.channels not in (1, 3) or (self.channels == 3 and not self.mixtures):
            raise ModelError("the model's channels are out of range")
        sizes = (self.tile, self.cell, self.features, self.patch, self.pool, self.stride)
        if min(sizes) < 1 or self.tile > MAX_TILE or self.features > MAX_FEATURES or self.stride > self.tile:
            raise ModelError("the model's sizes are out of range")
        if not 0 <= self.mixtures <= MAX_MIXTURES:
            raise ModelError("the model's sizes are out of range")
        if self.image not in (None, (self.tile, self.tile)):
            raise ModelError("the model's images are not of the size of a tile")
        if self.tile % self.cell or self.tile % (self.patch * self.pool) or (self.image is None and self.pool != 1):
            raise ModelError("the model's cells or patches do not fill its tile")
        check_coding_settings(self)
        prove_network(self.decoder, self.latents, Z_LIMIT)
        if self.decoder[0].in_bits != Z_BITS:
            raise ModelError("the decoder's input is not on the grid of z")
        check_outputs(self.decoder, np.full(self.cells**2 * self.features, PIXEL_BITS, np.int64))
        self.pixel_network.prove()
        posterior_bits = np.repeat(np.array([Z_BITS, RHO_BITS], np.int64), self.latents)
        for patch_layers, head_layers in self.encoders.values():
            prove_network(patch_layers, self.channels * self.patch**2, self.levels - 1)
            last = patch_layers[-1]
            prove_network(head_layers, len(last.weight) * self.pool**2, last.limit)
            if patch_layers[0].in_bits != 0 or not last.relu or np.any(last.out_bits != head_layers[0].in_bits):
                raise ModelError("an encoder's parts do not fit together")
            check_outputs(head_layers, posterior_bits)

    @property
    def pixel_network(self) -> PixelNetworkWeights:
        """What the per-pixel network is made of."""
        return PixelNetworkWeights(
            channels=self.channels,
            centred=self.centred,
            features=self.features,
            feature_limit=self.decoder[-1].limit,
            trunk=self.trunk,
            heads=self.heads,
            outputs=self.outputs,
            observation=self.observation,
        )

    @property
    def observation(self) -> LocalLikelihood:
        """The distribution of a sub-pixel."""
        return LogisticMixture(self.mixtures) if self.mixtures else LocalBernoulli()

    @property
    def likelihood(self) -> str:
        """Its name."""
        return self.observation.name

    @property
    def levels(self) -> int:
        """Levels of a sub-pixel."""
        return self.observation.levels

    @property
    def shape(self) -> tuple[int, int] | None:
        """(height, width) of its images, None for any."""
        return self.image

    @property
    def searched_subpixels(self) -> int:
        """z hardly counts in larger images."""
        return SEARCHED_SUBPIXELS

    @property
    def dimensions(self) -> int:
        """Sub-pixels of a whole tile."""
        return self.tile**2 * self.channels

    @property
    def cells(self) -> int:
        """Cells a side of a tile."""
        return self.tile // self.cell

    @classmethod
    def from_settings(
        cls, settings: Mapping[str, Any], network: Callable[[str], tuple[Any, ...]], shared: Mapping[str, Any]
    ) -> LocalWeights:
        """The weights of a checkpoint.

        Args:
            settings: as `settings` gives them. network: the layers of a network by its name. shared: the arguments that
                all architectures have.

        Raises:
            ModelError, or LookupError, TypeError or ValueError for settings that are none.
        """
        image = settings["image"]
        names = ("channels", "mixtures", "tile", "cell", "features", "patch", "pool", "stride")
        numbers: dict[str, Any] = {name: int(settings[name]) for name in names}
        (heads,) = network("heads")
        return cls(
            **numbers,
            image=None if image is None else (int(image[0]), int(image[1])),
            centred=bool(settings["centred"]),
            trunk=network("trunk"),
            heads=heads,
            outputs=network("outputs"),
            encoders={name: (network(f"encoder.{name}.patch"), network(f"encoder.{name}.head")) for name in ENCODERS},
            **shared,
        )

    def networks(self) -> list[tuple[str, Layers]]:
        """Name and layers of each network, in the order of the id."""
        networks = [("decoder", self.decoder), ("trunk", self.trunk)]
        networks += [("heads", (self.heads,)), ("outputs", self.outputs)]
        for name in ENCODERS:
            patch_layers, head_layers = self.encoders[name]
            networks += [(f"encoder.{name}.patch", patch_layers), (f"encoder.{name}.head", head_layers)]
        return networks

    def settings(self) -> dict[str, Any]:
        """Everything but the weights that coding depends on, as JSON values."""
        return {
            "architecture": ARCHITECTURE,
            "channels": self.channels,
            "mixtures": self.mixtures,
            "tile": self.tile,
            "image": None if self.image is None else list(self.image),
            "cell": self.cell,
            "features": self.features,
            "patch": self.patch,
            "pool": self.pool,
            "centred": self.centred,
            "stride": self.stride,
            "prior_bits": self.prior_bits,
            "direct_bits": list(self.direct_bits),
            "learning_rate": self.learning_rate,
            "networks": {name: [grid_of(weights) for weights in layers] for name, layers in self.networks()},
        }


class ExactLocalVAE(Model):
    """A local model on a backend. Images are `Strips`; z, mu and rho have one row for each of their tiles."""

    def __init__(self, weights: LocalWeights, backend: Backend) -> None:
        """Raises ModelError if the backend's products are not exact."""
        super().__init__(weights, backend)
        self._weights = weights
        self.observation = weights.observation
        self.decoder = Network(weights.decoder, backend)
        self.network = PixelNetwork(weights.pixel_network, backend)
        self._encoders: dict[str, tuple[Network, Network]] = {}

    @property
    def weights(self) -> LocalWeights:
        """The model's integers."""
        return self._weights

    # The posterior

    def prepare(self, x: Strips) -> Strips:
        """What `encode` and `gradient` take."""
        return x

    def encode(self, x: Strips, encoder: str) -> tuple[Array, Array]:
        """Mean (units of 1) and rho of q(z|x), float64 (tiles, Z) both."""
        weights, backend = self.weights, self.backend
        if encoder not in self._encoders:
            patch_layers, head_layers = weights.encoders[encoder]
            self._encoders[encoder] = Network(patch_layers, backend), Network(head_layers, backend)
        patch_network, head_network = self._encoders[encoder]
        means = []
        for tile in x.tiles():
            patches = backend.asarray(_patches(tile, weights.patch).astype(np.float64))
            means.append(_field_means(backend.numpy(patch_network.forward(patches)), weights.pool))
        outputs = head_network.forward(backend.asarray(np.concatenate(means)))
        latents = weights.latents
        return outputs[:, :latents] * Z_UNIT, outputs[:, latents:] * RHO_UNIT

    def gradient(self, z: Array, x: Strips, step: int) -> Array:
        """d(-log p(x|z))/dz in nats, (tiles, Z), of z (tiles, Z), by the exact backward pass of both networks.

        Estimated on every stride-th row and column of blocks as large as a tile; which ones, the step says.
        """
        backend = self.backend
        features, tape = self.decoder.forward_with_tape(self._points(z))
        rows = backend.numpy(features).reshape(-1, self.weights.features).astype(np.float32)
        tile, stride = self.weights.tile, self.weights.stride
        by_features = np.zeros(rows.shape)
        for pixels in x.sampled(stride, step, self.weights.cell, GRADIENT_TILES, tile):
            context, references = self.network.context(x.canvas, pixels.indices)
            levels = x.canvas.levels_at(pixels.indices)
            found, sums = self.network.feature_gradient(
                context, references, levels, rows[pixels.cells], pixels.cells, pixels.stride**2
            )
            by_features[found] = sums
        flat = backend.asarray(by_features.reshape(len(backend.numpy(features)), -1))
        return self.decoder.backward(flat, tape) * GRADIENT_UNIT

    # The likelihood

    def features(self, z: NumpyArray) -> NumpyArray:
        """Features of cells, float32 (tiles * cells^2, F), for z (tiles, Z) in units of 2^-24."""
        outputs = self.decoder.forward(self._inputs(z))
        return self.backend.numpy(outputs).reshape(-1, self.weights.features).astype(np.float32)

    def push_pixels(self, message: Message, z: NumpyArray, x: Strips) -> None:
        """Push x under p(x|z), z (tiles, Z) in units of 2^-24: in one push, in the order of the wavefront."""
        coder = self._compiled(x, CHUNK)
        if coder is not None:
            coder.push(message, self.features(z), x)
            return
        starts, frequencies = self._intervals(z, x)
        message.push(starts, frequencies, PRECISION)

    def pop_pixels(self, message: Message, z: NumpyArray, x: Strips) -> None:
        """Pop x under p(x|z), z (tiles, Z) in units of 2^-24, into the canvas of x.

        Raises:
            EmptyMessage: the message does not hold so many symbols.
        """
        coder = self._compiled(x, 1)
        if coder is not None:
            coder.pop(message, self.features(z), x)
            return
        wave = x.wavefront(self.weights.cell)
        features = self.features(z)
        lane, canvas, network = 0, x.canvas, self.network
        for begin, end in zip(wave.bounds[:-1].tolist(), wave.bounds[1:].tolist(), strict=True):
            indices = wave.indices[begin:end]
            context, references = network.context(canvas, indices, features, wave.cells[begin:end])
            heads = network.heads_of(context)
            earlier = network.no_channels(end - begin)
            for channel in range(self.weights.channels):
                params = network.parameters(heads, channel, earlier)
                reference = references[channel]
                levels = self.observation.pop(message, lane, params, reference)
                lane = (lane + end - begin) % message.lanes
                canvas.set_levels(indices, channel, levels)
                network.add_channel(earlier, channel, levels, reference)

    def _compiled(self, x: Strips, unit: int) -> LearningCoder | None:
        """The coder that learns, told not to: it takes the least time for all but a few pixels. Units of at least so
        many pixels go through it. None for few, on other backends, and where the model's numbers are beyond it.
        """
        if not isinstance(self.backend, NumpyBackend) or self._frozen is None or not pays_for(x.pixel_count):
            return None
        return self.learning_coder(self._frozen, unit, 0)

    @cached_property
    def _frozen(self) -> Parameters | None:
        try:
            return self.parameters(1)
        except ModelError:
            return None

    # Learning

    @cached_property
    def learns(self) -> bool:
        """Whether the pixel network can learn while it codes images of any size."""
        return self.weights.image is None and self._frozen is not None

    def parameters(self, rate: int) -> Parameters:
        """The shipped weights, from which the pixel network learns; rate in units of 1e-6.

        Raises:
            ModelError: the model cannot learn.
        """
        return Parameters(learning_layers(self.weights.pixel_network), rate)

    def learning_coder(
        self, parameters: Parameters, unit: int, stride: int = 1, restriction: Restriction | None = None
    ) -> LearningCoder:
        """A coder of pixels with weights that begin as `parameters` are."""
        return LearningCoder(self.weights.pixel_network, self.weights.cell, parameters, unit, stride, restriction)

    def lengths(self, z: NumpyArray, x: Strips) -> IntArray:
        """-log2 p(x|z) of each tile, (tiles,), in units of 2^-30 bits; z (tiles, Z) in units of 2^-24."""
        return self.pixel_lengths(z, x).by_row(len(z))

    def pixel_lengths(self, z: NumpyArray, x: Strips, coder: LearningCoder | None = None) -> PixelLengths:
        """-log2 p(x|z) of each pixel; z (tiles, Z) in units of 2^-24.

        coder: what codes the pixels where the network learns; it learns from them.
        """
        wave = x.wavefront(self.weights.cell)
        coder = coder or self._compiled(x, CHUNK)
        if coder is not None:
            lengths = coder.pixel_lengths(self.features(z), x)
        else:
            lengths = np.empty(len(wave.indices), np.int64)
            for rows, _, frequencies in self._chunks(z, x):
                by_channel = code_length(frequencies, PRECISION).reshape(self.weights.channels, -1)
                lengths[rows] = by_channel.sum(axis=0)
        return PixelLengths(wave.indices, wave.cells // self.weights.cells**2, lengths)

    def _intervals(self, z: NumpyArray, x: Strips) -> tuple[IntArray, IntArray]:
        """Start and frequency of all sub-pixels of x in the order in which they are popped."""
        wave, channels = x.wavefront(self.weights.cell), self.weights.channels
        count = len(wave.indices)
        starts, frequencies = np.empty(count * channels, np.int64), np.empty(count * channels, np.int64)
        popped = wave.popped(channels)
        for rows, begun, wide in self._chunks(z, x):
            order = popped[:, rows].ravel()
            starts[order] = begun
            frequencies[order] = wide
        return starts, frequencies

    def _chunks(self, z: NumpyArray, x: Strips) -> Any:
        """Slices of the wavefront's pixels, with start and frequency of their sub-pixels, channel after channel."""
        wave = x.wavefront(self.weights.cell)
        features = self.features(z)
        network = self.network
        for begin in range(0, len(wave.indices), CHUNK):
            rows = slice(begin, begin + CHUNK)
            indices = wave.indices[rows]
            context, references = network.context(x.canvas, indices, features, wave.cells[rows])
            levels = x.canvas.levels_at(indices)
            heads = network.heads_of(context)
            earlier = network.no_channels(len(indices))
            parts = []
            for channel in range(self.weights.channels):
                params = network.parameters(heads, channel, earlier)
                parts.append(self.observation.intervals(params, references[channel], levels[channel]))
                network.add_channel(earlier, channel, levels[channel], references[channel])
            yield rows, np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _patches(tile: NumpyArray, side: int) -> NumpyArray:
    """(patches, side * side * C) patches of tiles (n, h, w, C), tile after tile, row by row.

    Where a side of the tiles is no multiple of the patch's, their last row or column is repeated.
    """
    n, height, width, channels = tile.shape
    tile = np.pad(tile, ((0, 0), (0, -height % side), (0, -width % side), (0, 0)), mode="edge")
    down, across = tile.shape[1] // side, tile.shape[2] // side
    patches = tile.reshape(n, down, side, across, side, channels).transpose(0, 1, 3, 2, 4, 5)
    return patches.reshape(n, down, across, -1)


def _field_means(outputs: NumpyArray, pool: int) -> NumpyArray:
    """(n, pool * pool * width) rounded means of patches' outputs (n, down, across, width) over pool x pool fields."""
    n, down, across, width = outputs.shape
    fields = outputs.reshape(n, pool, down // pool, pool, across // pool, width)
    sums = fields.sum(axis=(2, 4)).reshape(n, -1)
    count = np.array([float(down // pool * (across // pool))])
    means: NumpyArray = np.floor(sums / count + 0.5)
    return means
