"""Networks of torch to exact layers: the nearest integers on the finest grid that stays exact."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from bbcompress.exact.convolution import ConvolutionWeights
from bbcompress.exact.layers import ACTIVATION_BITS, ACTIVATION_LIMIT, EXACT_LIMIT, GRADIENT_LIMIT, LinearWeights
from bbcompress.models.base import Layers
from bbcompress.training.likelihoods import Likelihood
from bbcompress.training.objectives import ImageVAE

NumpyArray = np.ndarray[Any, Any]

WEIGHT_LIMIT = (1 << 15) - 1
MAX_WEIGHT_BITS = 30
DEFAULT_PRIOR_BITS = 10
DEFAULT_DIRECT_BITS = 3
DEFAULT_LEARNING_RATE = 5000  # the paper's 5e-3


def finest_weight_bits(weight: NumpyArray) -> int:
    """Fractional bits of weights (outputs, inputs, ...): the most with which the largest fits 16 bits and the backward
    sums, over all but the inputs, stay exact."""
    largest = float(np.abs(weight).max()) or 1.0
    per_input = float(np.abs(weight).sum(axis=(0, *range(2, weight.ndim))).max()) or 1.0
    bits = min(math.log2(WEIGHT_LIMIT / largest), math.log2(0.99 * EXACT_LIMIT / GRADIENT_LIMIT / per_input))
    return min(math.floor(bits), MAX_WEIGHT_BITS)


def quantise_linear(
    weight: NumpyArray, bias: NumpyArray, in_bits: int, out_bits: NumpyArray, relu: bool, limit: int = ACTIVATION_LIMIT
) -> LinearWeights:
    """Nearest integers of a layer's float64 weights, 16 bits each, on the finest grid where the largest fits and where
    the backward sums stay exact."""
    return LinearWeights(**_integers(weight, bias, in_bits, out_bits), relu=relu, limit=limit)


def quantise_convolution(
    weight: NumpyArray,
    bias: NumpyArray,
    module: nn.Conv2d | nn.ConvTranspose2d,
    in_bits: int,
    out_bits: NumpyArray,
    relu: bool,
    limit: int = ACTIVATION_LIMIT,
) -> ConvolutionWeights:
    """The same of a convolution's weights (outputs, inputs, k, k).

    Args:
        module: says stride, padding and direction.
    """
    return ConvolutionWeights(
        **_integers(weight, bias, in_bits, out_bits),
        relu=relu,
        limit=limit,
        stride=int(module.stride[0]),
        padding=int(module.padding[0]),
        transposed=isinstance(module, nn.ConvTranspose2d),
    )


def _integers(weight: NumpyArray, bias: NumpyArray, in_bits: int, out_bits: NumpyArray) -> dict[str, Any]:
    """What layers of both kinds have, with weights on their finest grid."""
    weight_bits = finest_weight_bits(weight)
    return {
        "weight": np.rint(np.ldexp(weight, weight_bits)).astype(np.int64),
        "bias": np.rint(np.ldexp(bias, weight_bits + in_bits)).astype(np.int64),
        "weight_bits": weight_bits,
        "in_bits": in_bits,
        "out_bits": out_bits.astype(np.int64),
    }


def to_exact(weight: NumpyArray, bias: NumpyArray, likelihood: Likelihood) -> None:
    """Have a decoder's last layer, changed in place, give the parameters of the likelihood's exact twin: the outputs
    are all pixels' first parameters, then their second ones, and so on."""
    gain, offset = np.repeat(np.array(likelihood.to_exact), len(bias) // len(likelihood.to_exact), axis=0).T
    weight *= gain.reshape(-1, *[1] * (weight.ndim - 1))
    bias *= gain
    bias += offset


def from_exact(weight: NumpyArray, bias: NumpyArray, likelihood: Likelihood) -> None:
    """The inverse of `to_exact`, likewise in place."""
    gain, offset = np.repeat(np.array(likelihood.to_exact), len(bias) // len(likelihood.to_exact), axis=0).T
    weight /= gain.reshape(-1, *[1] * (weight.ndim - 1))
    bias -= offset
    bias /= gain


def quantise_network(
    linears: list[tuple[NumpyArray, NumpyArray]],
    in_bits: int,
    out_bits: NumpyArray,
    hidden_limit: int = ACTIVATION_LIMIT,
    limit: int = ACTIVATION_LIMIT,
) -> Layers:
    """Exact layers of a chain of (weight, bias) with ReLU between them; the limits clamp hidden units and outputs."""
    layers = []
    for index, (weight, bias) in enumerate(linears):
        last = index == len(linears) - 1
        bits = out_bits if last else np.full(len(bias), ACTIVATION_BITS, np.int64)
        layers.append(quantise_linear(weight, bias, in_bits, bits, not last, limit if last else hidden_limit))
        in_bits = ACTIVATION_BITS
    return tuple(layers)


def linears_of(network: nn.Sequential) -> list[tuple[NumpyArray, NumpyArray]]:
    """Copies of weight and bias, float64, of each linear layer."""
    return [
        (module.weight.detach().double().numpy().copy(), module.bias.detach().double().numpy().copy())
        for module in network
        if isinstance(module, nn.Linear)
    ]


def floats_of(layer: LinearWeights) -> tuple[NumpyArray, NumpyArray]:
    """Weight and bias, float64, of an exact linear layer: the numbers that its integers stand for."""
    return (
        np.ldexp(layer.weight.astype(np.float64), -layer.weight_bits),
        np.ldexp(layer.bias.astype(np.float64), -(layer.weight_bits + layer.in_bits)),
    )


@torch.no_grad()
def load_linears(network: nn.Sequential, linears: Iterable[tuple[NumpyArray, NumpyArray]]) -> None:
    """Give each linear layer its weight and bias: the inverse of `linears_of`."""
    modules = (module for module in network if isinstance(module, nn.Linear))
    for module, (weight, bias) in zip(modules, linears, strict=True):
        module.weight.copy_(torch.from_numpy(weight))
        module.bias.copy_(torch.from_numpy(bias))


@torch.no_grad()
def float_code_bits(model: ImageVAE, x: NumpyArray, z: NumpyArray) -> NumpyArray:
    """-log2 p(x|z) - log2 p(z) + log2 q(z|x) of images x (N, D) at z (N, Z) by the float32 networks, (N,)."""
    parts = []
    for start in range(0, len(x), 500):
        pixels = torch.from_numpy(x[start : start + 500].copy())
        latents = torch.from_numpy(z[start : start + 500].astype(np.float32))
        mu, sigma = model.encode(pixels)
        nats = -model.likelihood.log_prob(model.decode(latents), pixels).double()
        nats += _log_normal(latents, mu, sigma) - _log_normal(latents, torch.zeros(()), torch.ones(()))
        parts.append(nats.numpy() / math.log(2))
    return np.concatenate(parts)


def _log_normal(z: torch.Tensor, mu: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """log N(z; mu, sigma^2) in nats, summed over the latents, without the constant; float64 (B,)."""
    return (-0.5 * ((z - mu) / sigma).double().square() - torch.log(sigma.double())).sum(1)
