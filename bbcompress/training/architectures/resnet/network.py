"""The paper's CIFAR-10 VAE (its Sections 4 and 5): a fully convolutional residual network over colour images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bbcompress.training.architectures.base import run_network
from bbcompress.training.distributed import BatchNorm2d
from bbcompress.training.likelihoods import ChannelLogistic

STRIDE = 4
"""Pixels a side of an image for each position of z: two convolutions of stride 2."""
INPUT_UNIT = 64.0
"""Levels a unit of the encoder's input."""
BATCH_NORM_MOMENTUM = 0.05
"""Share of a batch in the running statistics, which evaluation and export use."""
CLAMPED, BATCH = "clamped", "batch"
NORMS = (CLAMPED, BATCH)
"""Batch norm with ReLUs behind it that end at `CLAMP`, or without an end."""
CLAMP = 8.0
"""Some eight deviations of a channel, since those of batch norm's outputs are near 1. Images that the model suits do
not come so far. In training the statistics of a batch bound what one image can reach; the running ones do not, and each
layer makes what one image has too much larger (benchmarks/study/norms.py)."""


@dataclass(frozen=True)
class ResNetShape:
    """The sizes of a residual VAE.

    Attributes:
        image: (height, width) of the training images, multiples of 4.
        width: C, channels of the hidden layers.
        latents: channels of z at each of its (height / 4) x (width / 4) positions.
        blocks: residual blocks in each network.
    """

    image: tuple[int, int]
    width: int = 256
    latents: int = 4
    blocks: int = 2

    @property
    def latent_sides(self) -> tuple[int, int]:
        """Height and width of z."""
        return self.image[0] // STRIDE, self.image[1] // STRIDE


class ClampedReLU(nn.ReLU):
    """ReLU that ends at `CLAMP`."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape, which it keeps."""
        return input.clamp(0, CLAMP)


class ResidualBlock(nn.Module):
    """x + f(x), f being ReLU, 3x3, batch norm, ReLU, 1x1, batch norm; the ReLU behind batch norm is that of `norm`."""

    def __init__(self, width: int, norm: str = CLAMPED) -> None:
        super().__init__()
        self.wide = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.wide_norm = _norm(width)
        self.relu = _relu(norm)
        self.narrow = nn.Conv2d(width, width, 1, bias=False)
        self.narrow_norm = _norm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        hidden = self.relu(self.wide_norm(self.wide(F.relu(x))))
        return x + cast(Tensor, self.narrow_norm(self.narrow(hidden)))


def _norm(width: int) -> BatchNorm2d:
    return BatchNorm2d(width, momentum=BATCH_NORM_MOMENTUM)


def _relu(norm: str) -> nn.ReLU:
    """What follows batch norm."""
    return ClampedReLU() if norm == CLAMPED else nn.ReLU()


class ResNetVAE(nn.Module):
    """Residual VAE for RGB images, with a logistic likelihood whose channels are linear in the earlier ones.

    encoder: (B, 3, H, W) scaled pixels to (B, 2 L, H / 4, W / 4): mu, then rho. decoder: (B, L, H / 4, W / 4) to
    (B, 9, H, W), the parameters of `ChannelLogistic`. Rows of x are the pixels in the order height, width, channel,
    and so are those of z. compute_dtype: torch.bfloat16 runs both networks in it; their outputs are float32.
    """

    def __init__(self, shape: ResNetShape, generator: torch.Generator | None = None, norm: str = CLAMPED) -> None:
        """Random weights from `generator` (one of seed 0 if None); norm: one of `NORMS`."""
        super().__init__()
        self.shape = shape
        self.latents = shape.latents * shape.latent_sides[0] * shape.latent_sides[1]
        self.dimensions = shape.image[0] * shape.image[1] * 3
        self.likelihood = ChannelLogistic(shape.image)
        self.compute_dtype = torch.float32
        width, blocks = shape.width, [ResidualBlock(shape.width, norm) for _ in range(2 * shape.blocks)]
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1, bias=False), _norm(width), _relu(norm),
            nn.Conv2d(width, width, 4, stride=2, padding=1),
            *blocks[: shape.blocks], nn.ReLU(),
            nn.Conv2d(width, 2 * shape.latents, 1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv2d(shape.latents, width, 1),
            *blocks[shape.blocks :], nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False), _norm(width), _relu(norm),
            nn.ConvTranspose2d(width, self.likelihood.parameters_per_pixel, 4, stride=2, padding=1),
        )  # fmt: skip
        self._initialise(generator or torch.Generator().manual_seed(0))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _initialise(self, generator: torch.Generator) -> None:
        """torch's own initialisation of convolutions, from an explicit generator."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                bound = 1 / math.sqrt(layer.weight[0].numel())
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                if layer.bias is not None:
                    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)

    def compile_networks(self) -> None:
        """Run both networks through torch.compile from now on, which needs a C++ compiler, or Triton on a GPU."""
        self.encoder.compile()
        self.decoder.compile()

    @property
    def generative(self) -> nn.Sequential:
        """What p(x|z) needs."""
        return self.decoder

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z|x), (B, Z) both, for levels x (B, D) of any dtype."""
        pixels = x.view(-1, *self.shape.image, 3).permute(0, 3, 1, 2).to(torch.float32)
        outputs = run_network(self.encoder, (pixels - 127.5) / INPUT_UNIT, self.compute_dtype).permute(0, 2, 3, 1)
        mu, rho = outputs.chunk(2, dim=3)
        return mu.flatten(1), F.softplus(rho.flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        """Parameters of p(x|z), float32 (B, 9, H, W), for z (B, Z)."""
        grid = z.view(-1, *self.shape.latent_sides, self.shape.latents).permute(0, 3, 1, 2)
        return run_network(self.decoder, grid, self.compute_dtype)
