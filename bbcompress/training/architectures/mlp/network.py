"""The VAE of the paper's MNIST experiments (its Section 4), for grey or binary images of one size."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from bbcompress.training.architectures.base import run_network
from bbcompress.training.likelihoods import Bernoulli, DiscretisedLogistic


class MLPVAE(nn.Module):
    """VAE with two hidden layers in each network, for images (H, W) of binary or grey pixels.

    encoder: (B, D) pixels in [0, 1] to (B, 2 Z): mu, then rho; the posterior is N(mu, softplus(rho)^2).
    decoder: (B, Z) to (B, D * parameters_per_pixel), the likelihood's parameters. D = H * W.
    compute_dtype: torch.bfloat16 runs the matrix products of both networks in it; their outputs are float32.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        latents: int,
        hidden: int = 500,
        binary: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        """Random weights from `generator` (one of seed 0 if None)."""
        super().__init__()
        self.shape = shape
        self.latents = latents
        self.hidden = hidden
        self.binary = binary
        self.dimensions = shape[0] * shape[1]
        self.likelihood: Bernoulli | DiscretisedLogistic = Bernoulli() if binary else DiscretisedLogistic()
        self.compute_dtype = torch.float32
        outputs = self.dimensions * self.likelihood.parameters_per_pixel
        self.encoder = _mlp(self.dimensions, hidden, 2 * latents)
        self.decoder = _mlp(latents, hidden, outputs)
        self._initialise(generator or torch.Generator().manual_seed(0))

    def _initialise(self, generator: torch.Generator) -> None:
        """torch's own initialisation of linear layers, from an explicit generator."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                initialise_linear(layer, generator)
        self.likelihood.initialise(cast(nn.Linear, self.decoder[-1]).bias)

    @property
    def generative(self) -> nn.Sequential:
        """What p(x|z) needs."""
        return self.decoder

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z|x), (B, Z) both, for levels x (B, D) of any dtype."""
        pixels = x.to(torch.float32)
        if not self.binary:
            pixels = pixels / 255
        mu, rho = run_network(self.encoder, pixels, self.compute_dtype).chunk(2, dim=1)
        return mu, F.softplus(rho)

    def decode(self, z: Tensor) -> Tensor:
        """Parameters of p(x|z), float32 (B, D * parameters_per_pixel), for z (B, Z)."""
        return run_network(self.decoder, z, self.compute_dtype)


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(linear(inputs, hidden), nn.ReLU(), linear(hidden, hidden), nn.ReLU(), linear(hidden, outputs))


def linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """An uninitialised layer: its weights come from an explicit generator later, not from torch's global one."""
    layer: nn.Linear = skip_init(nn.Linear, inputs, outputs, bias=bias)  # type: ignore[no-untyped-call]
    return layer


def initialise_linear(layer: nn.Linear, generator: torch.Generator) -> None:
    """torch's own initialisation of a linear layer, from an explicit generator."""
    bound = 1 / math.sqrt(layer.in_features)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    if layer.bias is not None:
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
