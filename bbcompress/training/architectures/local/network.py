"""The `local` VAE in torch: a decoder that sees z's features and each pixel's causal neighbourhood.

Training never runs over whole images: a batch is a number of tiles, and of each a number of random pixels whose
neighbourhoods are gathered from the image. The encoder sees whole tiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bbcompress.models.neighbourhood import LEFT, OFFSETS, UPPER
from bbcompress.training.architectures.mlp.network import initialise_linear, linear
from bbcompress.training.distributed import ALONE, Share, from_all
from bbcompress.training.likelihoods import LogisticMixture
from bbcompress.training.pixels import PackedImages

Array = npt.NDArray[np.uint8]

ACTIVATION_TOP = 15.984375
"""Hidden activations are clamped to [0, this], the largest number of ten bits on their exact grid of 2^-6."""
FEATURE_LIMIT = 8.0
"""Features of z are clamped to +-this."""
PIXEL_UNIT = 64.0
"""Levels a unit of the networks' inputs."""
CONSTANT_MIDDLE = 128
LET_GO_EVERY = 1024
"""Tiles that are looked at before the memory of their images is let go."""


@dataclass(frozen=True)
class LocalShape:
    """The sizes of a local model.

    channels: 1 or 3. binary: two levels (Bernoulli), else 256 (mixture of `mixtures` logistics). tile: side in pixels
    of the square that one z describes. image: (height, width) where all images have one size, a tile each; None for
    any. cell: side of the squares in a tile that share features; features: how many. decoder: hidden widths from z to
    features. trunk: hidden widths of the per-pixel network; head: hidden width of each channel's own part. patch: side
    of the encoder's patches, of which `pool` x `pool` means go on; patch_hidden, encoder_hidden: its widths before and
    after.
    centred: whether neighbours and means are relative to the pixel's reference (mean of left and upper).
    """

    channels: int
    binary: bool
    tile: int
    image: tuple[int, int] | None
    latents: int
    cell: int
    features: int
    decoder: tuple[int, ...]
    trunk: tuple[int, ...]
    head: int
    mixtures: int
    patch: int
    pool: int
    patch_hidden: tuple[int, ...]
    encoder_hidden: tuple[int, ...]
    centred: bool

    @property
    def cells(self) -> int:
        """Cells a side of a tile."""
        return self.tile // self.cell

    @property
    def inputs(self) -> int:
        """Inputs of the per-pixel network that come from pixels."""
        return len(OFFSETS) * self.channels + (self.channels if self.centred else 0)

    @property
    def outputs(self) -> int:
        """Parameters of one sub-pixel."""
        return 1 if self.binary else 3 * self.mixtures + 2


class Images:
    """Images of any sizes, uint8 (H, W, C) each, in one flat tensor, and the tiles that cover them."""

    def __init__(self, images: Array | Sequence[Array], tile: int) -> None:
        """images: (H, W) or (H, W, C); packed ones stay where they are."""
        shapes = images.shapes if isinstance(images, PackedImages) else [image.shape for image in images]
        channels = shapes[0][2] if len(shapes[0]) == 3 else 1
        self.heights = torch.tensor([shape[0] for shape in shapes])
        self.widths = torch.tensor([shape[1] for shape in shapes])
        self._packed = images if isinstance(images, PackedImages) else None
        self._looked_at = 0
        if isinstance(images, PackedImages):
            self.pixels = torch.from_numpy(images.flat.reshape(-1, channels))
            self.starts = torch.tensor(images.starts) // channels
        else:
            self.pixels = torch.from_numpy(np.concatenate([image.reshape(-1, channels) for image in images]))
            areas = self.heights * self.widths
            self.starts = torch.cumsum(areas, 0) - areas
        rows = []
        for number, (height, width) in enumerate(shape[:2] for shape in shapes):
            y, x = (np.arange(0, max(side - tile // 2, 1), tile) for side in (height, width))
            grid = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
            rows.append(np.insert(grid, 0, number, axis=1))
        self.tiles = torch.from_numpy(np.concatenate(rows))
        """(N, 3) image, y, x of whole tiles; near an edge they are moved inside."""

    def locate(self, rows: Tensor, tile: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """Image number, y and x, (B,) each, of tiles `rows`, moved at random by half a tile if there is a generator."""
        self._looked_at += len(rows)
        if self._packed is not None and self._looked_at >= LET_GO_EVERY:
            self._packed.let_go()
            self._looked_at = 0
        number, y, x = rows.unbind(1)
        if generator is not None:
            jitter = torch.randint(-(tile // 2), tile // 2 + 1, (2, len(rows)), generator=generator)
            y, x = y + jitter[0], x + jitter[1]
        y = torch.minimum(y, self.heights[number] - tile).clamp_min(0)
        x = torch.minimum(x, self.widths[number] - tile).clamp_min(0)
        return number, y, x


class LocalVAE(nn.Module):
    """VAE whose likelihood of a pixel rests on z, on the neighbourhood and on the channels before."""

    def __init__(self, shape: LocalShape, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.latents = shape.latents
        self.compute_dtype = torch.float32
        self.gather = gather
        s = shape
        self.patch_layers = _layers(s.channels * s.patch**2, *s.patch_hidden)
        self.encoder_layers = _layers(s.patch_hidden[-1] * s.pool**2, *s.encoder_hidden, 2 * s.latents)
        self.decoder = _layers(s.latents, *s.decoder, s.cells**2 * s.features)
        self.trunk = _layers(s.inputs + s.features, *s.trunk)
        self.heads = _layers(s.trunk[-1], s.channels * s.head)
        self.across = nn.ModuleList(linear(max(c, 1), s.head, bias=False) for c in range(s.channels))
        self.across[0].requires_grad_(False)  # the first channel has none before it: never used
        self.outputs = nn.ModuleList(linear(s.head + c, s.outputs) for c in range(s.channels))
        generator = generator or torch.Generator().manual_seed(0)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                initialise_linear(module, generator)
        self._initialise_outputs()

    @property
    def encoder(self) -> nn.ModuleList:
        """What only the posterior needs."""
        return nn.ModuleList([self.patch_layers, self.encoder_layers])

    @property
    def generative(self) -> nn.ModuleList:
        """What p(x|z) needs."""
        return nn.ModuleList([self.decoder, self.trunk, self.heads, self.across, self.outputs])

    @torch.no_grad()
    def _initialise_outputs(self) -> None:
        s = self.shape
        for channel, layer in enumerate(self.outputs):
            layer = cast(nn.Linear, layer)
            layer.weight *= 0.1
            layer.bias.zero_()
            if s.binary:
                continue
            m = s.mixtures
            layer.bias[m : m + 2] = -4.0
            spread = torch.linspace(-1, 1, m)
            layer.bias[m + 2 : 2 * m + 2] = 0.1 * spread if s.centred else 2 + 1.5 * spread
            layer.bias[2 * m + 2 :] = math.log((4 if s.centred else 30) / LogisticMixture.SMALLEST_SCALE)
            if channel:
                layer.weight[m + 2 : 2 * m + 2, -1] += 0.8 if s.centred else 0.0

    def compile_likelihood(self) -> None:
        """Run what a training step spends its time on through torch.compile."""
        self.log_likelihood = torch.compile(self.log_likelihood)  # type: ignore[method-assign]
        self.gather = torch.compile(gather)

    # Encoder

    def encode(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z|x), (B, Z) both, for tiles (B, T, T, C) of levels."""
        s = self.shape
        x = tiles.float() if s.binary else (tiles.float() - CONSTANT_MIDDLE) / PIXEL_UNIT
        side = s.tile // s.patch
        x = x.view(len(x), side, s.patch, side, s.patch, s.channels).permute(0, 1, 3, 2, 4, 5)
        x = self._relu_chain(self.patch_layers, x.reshape(len(tiles), side, side, s.patch**2 * s.channels))
        per = side // s.pool
        x = x.view(len(x), s.pool, per, s.pool, per, s.patch_hidden[-1]).float().mean(dim=(2, 4)).flatten(1)
        mu, rho = self._chain(self.encoder_layers, x).float().chunk(2, dim=1)
        return mu, F.softplus(rho)

    # Decoder

    def features(self, z: Tensor) -> Tensor:
        """(B, cells^2, features) for z (B, Z)."""
        f = self._chain(self.decoder, z).float().view(len(z), self.shape.cells**2, self.shape.features)
        return f.clamp(-FEATURE_LIMIT, FEATURE_LIMIT)

    def trunk_of(self, context: Tensor, features: Tensor) -> Tensor:
        """The heads' pre-activations, (N, C * head), for inputs (N, inputs) and features (N, F)."""
        h = self._relu_chain(self.trunk, torch.cat([context, features], dim=1))
        return self._chain(self.heads, h)

    def parameters_of(self, heads: Tensor, channel: int, earlier: Tensor) -> Tensor:
        """(N, outputs) float32 of one channel; earlier: (N, channel) earlier channels less their references, scaled."""
        s = self.shape
        h = heads[:, channel * s.head : (channel + 1) * s.head].float()
        if channel:
            h = h + cast(Tensor, self.across[channel](earlier))
        h = clamped_relu(h)
        return cast(Tensor, self.outputs[channel](torch.cat([h, earlier], dim=1)))

    def log_likelihood(self, context: Tensor, references: Tensor, levels: Tensor, features: Tensor) -> Tensor:
        """log p of pixels in nats, (N,).

        context: (N, inputs); references, levels: (N, C) in levels; features: (N, F).
        """
        heads = self.trunk_of(context, features)
        earlier = (levels.float() - references) / PIXEL_UNIT
        total = torch.zeros(len(levels))
        for channel in range(self.shape.channels):
            params = self.parameters_of(heads, channel, earlier[:, :channel])
            if self.shape.binary:
                total = total - F.binary_cross_entropy_with_logits(params[:, 0], levels[:, 0].float(), reduction="none")
            else:
                total = total + LogisticMixture.log_prob(params, references[:, channel], levels[:, channel].float())
        return total

    def _chain(self, network: nn.Sequential, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.compute_dtype == torch.bfloat16):
            return cast(Tensor, network(x))

    def _relu_chain(self, network: nn.Sequential, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.compute_dtype == torch.bfloat16):
            return clamped_relu(network(x))


class _ClampedReLU(torch.autograd.Function):
    """Backwards it looks at the output, which the next layer keeps anyhow: a mask of truth values that autograd would
    keep takes the compiled loops longer than the layer's products do."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clamp(0, ACTIVATION_TOP)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        passed: Tensor = gradient * ((y > 0) & (y < ACTIVATION_TOP))
        return passed


def clamped_relu(x: Tensor) -> Tensor:
    """ReLU with a top, of any shape; no gradient where it is 0 or at the top."""
    return cast(Tensor, _ClampedReLU.apply(x))  # type: ignore[no-untyped-call]


class Clamp(nn.Module):
    """ReLU with a top, so that activations stay on the exact grid."""

    def forward(self, x: Tensor) -> Tensor:
        return clamped_relu(x)


def _layers(*widths: int) -> nn.Sequential:
    """Linear layers with clamped ReLUs between them, none after the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [linear(inputs, outputs), Clamp()]
    return nn.Sequential(*layers[:-1])


def gather(images: Images, number: Tensor, y: Tensor, x: Tensor, shape: LocalShape) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (N, inputs), references (N, C) and levels (N, C) of pixels y, x of images `number`, (N,) each.

    A neighbour outside the image counts as the reference; the reference is the rounded mean of left and upper
    neighbour, the one that exists, or 128; without `centred` both are 0.
    """
    offsets = torch.tensor(OFFSETS)
    width = images.widths[number]
    start = images.starts[number] + y * width + x
    ny, nx = y[:, None] + offsets[:, 0], x[:, None] + offsets[:, 1]
    valid = (ny >= 0) & (nx >= 0) & (nx < width[:, None])
    index = torch.where(valid, start[:, None] + offsets[:, 0] * width[:, None] + offsets[:, 1], start[:, None])
    values = images.pixels[index].int()
    levels = images.pixels[start].int()
    context, references = inputs_of(values, valid, shape)
    return context, references, levels


def inputs_of(values: Tensor, valid: Tensor, shape: LocalShape) -> tuple[Tensor, Tensor]:
    """Inputs (N, inputs) and references (N, C) for neighbours (N, 24, C), those that are `valid` (N, 24)."""
    gain = PIXEL_UNIT if not shape.binary else 1.0
    if not shape.centred:
        return (values * valid[:, :, None]).flatten(1).float() / gain, torch.zeros(len(values), shape.channels)
    left, upper = values[:, LEFT], values[:, UPPER]
    has_left, has_upper = valid[:, LEFT, None], valid[:, UPPER, None]
    references = torch.where(has_left & has_upper, (left + upper + 1) >> 1, torch.where(has_left, left, upper))
    references = torch.where(has_left | has_upper, references, CONSTANT_MIDDLE)
    relative = torch.where(valid[:, :, None], values - references[:, None], 0)
    inputs = torch.cat([relative.flatten(1), references - CONSTANT_MIDDLE], dim=1)
    return inputs.float() / PIXEL_UNIT, references.float()


def crops(images: Images, number: Tensor, y: Tensor, x: Tensor, tile: int) -> Tensor:
    """Tiles (B, T, T, C) of levels at y, x of images `number`; beyond an image its last row and column go on."""
    rows = torch.minimum(y[:, None] + torch.arange(tile), images.heights[number][:, None] - 1)
    columns = torch.minimum(x[:, None] + torch.arange(tile), images.widths[number][:, None] - 1)
    index = rows[:, :, None] * images.widths[number][:, None, None] + columns[:, None, :]
    return images.pixels[images.starts[number][:, None, None] + index]


SLOPE = 4
"""Pixels of equal x + 4 y do not see each other."""


@torch.no_grad()
def sample_tiles(
    model: LocalVAE, n: int, generator: torch.Generator, batch: int = 256, share: Share = ALONE
) -> list[Array]:
    """n tiles drawn from the model by ancestral sampling, uint8 (T, T, C) each, as if each were an image.

    Each batch has a seed of its own, so that it does not matter which of several processes draws it; all get all tiles.
    """
    starts = range(0, n, batch)
    seeds = torch.randint(1 << 32, (len(starts),), generator=generator).tolist()
    own = []
    for i in range(share.rank, len(starts), share.size):
        of_batch = torch.Generator().manual_seed(seeds[i])
        z = torch.randn(min(batch, n - starts[i]), model.latents, generator=of_batch)
        own.append(_sample_batch(model, model.features(z), of_batch))
    drawn = from_all(own)
    return [tile for i in range(len(starts)) for tile in drawn[i % share.size][i // share.size]]


def _sample_batch(model: LocalVAE, features: Tensor, generator: torch.Generator) -> Array:
    shape, tile, n = model.shape, model.shape.tile, len(features)
    canvas = torch.zeros(n, tile, tile, shape.channels, dtype=torch.int32)
    offsets = torch.tensor(OFFSETS)
    for step in range(tile + SLOPE * (tile - 1)):
        y = torch.arange(max(0, -(-(step - tile + 1) // SLOPE)), min(tile - 1, step // SLOPE) + 1)
        x = step - SLOPE * y
        ny, nx = y[:, None] + offsets[:, 0], x[:, None] + offsets[:, 1]
        valid = (ny >= 0) & (nx >= 0) & (nx < tile)
        values = canvas[:, ny.clamp_min(0), nx.clamp(0, tile - 1)].flatten(0, 1)
        context, references = inputs_of(values, valid.repeat(n, 1), shape)
        cell = (y // shape.cell) * shape.cells + x // shape.cell
        heads = model.trunk_of(context, features[:, cell].flatten(0, 1))
        levels = torch.zeros(len(context), shape.channels)
        for channel in range(shape.channels):
            earlier = (levels[:, :channel] - references[:, :channel]) / PIXEL_UNIT
            params = model.parameters_of(heads, channel, earlier)
            levels[:, channel] = _sample_levels(params, references[:, channel], shape.binary, generator)
        canvas[:, y, x] = levels.int().view(n, len(y), -1)
    return canvas.to(torch.uint8).numpy()


def _sample_levels(params: Tensor, reference: Tensor, binary: bool, generator: torch.Generator) -> Tensor:
    """One draw for each row of params, float (N,)."""
    if binary:
        noise = torch.rand(len(params), generator=generator)
        return (noise < torch.sigmoid(params[:, 0])).float()
    return LogisticMixture.sample(params, reference, generator)
