"""Exact models of the resnet as networks of torch, which training goes on from: the inverse of `quantise_resnet`.

An exact model holds no batch norm, which is folded into its convolutions. Each gets the statistics that its convolution
has on training images, and a scale and a shift that undo them: so the network says the same by these statistics, and
nearly the same by those of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from bbcompress.errors import TrainingError
from bbcompress.exact.layers import ACTIVATION_BITS, ACTIVATION_LIMIT
from bbcompress.models.base import ModelWeights
from bbcompress.models.resnet import ResNetWeights
from bbcompress.training.architectures.resnet.export import tile_of
from bbcompress.training.architectures.resnet.network import BATCH, CLAMP, CLAMPED, ResidualBlock, ResNetVAE
from bbcompress.training.quantisation.quantise import from_exact

IMAGES, AT_ONCE = 1000, 50
"""Training images that statistics are taken of, and how many go through the networks at once."""
LIMITS = {ACTIVATION_LIMIT: BATCH, round(CLAMP * 2**ACTIVATION_BITS): CLAMPED}
NumpyArray = np.ndarray[Any, Any]
Convolution = nn.Conv2d | nn.ConvTranspose2d


def restore_resnet(weights: ModelWeights, models: tuple[ResNetVAE, ResNetVAE], norm: str) -> None:
    """Give networks the numbers of an exact model: its decoder to both, and its encoders `baseline` and `rha`.

    Batch norms have no statistics then, but are the identity with a bias: see `take_statistics`.

    Args:
        norm: that of the networks, one of `NORMS`.

    Raises:
        TrainingError: the model is of another architecture or of other sizes, or its ReLUs end elsewhere.
    """
    if not isinstance(weights, ResNetWeights):
        raise TrainingError("not a resnet")
    shape = models[0].shape
    sizes = {
        "tile": (weights.tile, tile_of(shape)),
        "latents": (channels_of(weights), shape.latents),
        "width of hidden layers": (len(weights.decoder[0].bias), shape.width),
        "blocks": (weights.blocks, shape.blocks),
        "norm": (norm_of(weights), norm),
    }
    for name, (own, wanted) in sizes.items():
        if own != wanted:
            raise TrainingError(f"{name}: {own} in the model, {wanted} in this run")
    for model, encoder in zip(models, ("baseline", "rha"), strict=True):
        for network, layers in ((model.encoder, weights.encoders[encoder]), (model.decoder, weights.decoder)):
            pairs = list(convolutions(network))
            for (module, batch_norm), layer in zip(pairs, layers, strict=True):
                weight = np.ldexp(layer.weight.astype(np.float64), -layer.weight_bits)
                bias = np.ldexp(layer.bias.astype(np.float64), -(layer.weight_bits + layer.in_bits))
                if network is model.decoder and module is pairs[-1][0]:
                    from_exact(weight, bias, model.likelihood)
                _load(module, batch_norm, weight, bias)


def channels_of(weights: ResNetWeights) -> int:
    """Channels of z at each of its positions."""
    return weights.latents // weights.latent_side**2


def norm_of(weights: ResNetWeights) -> str:
    """Which of `NORMS` a model was trained with, by where its ReLUs end.

    Raises:
        TrainingError: with none of them.
    """
    limits = {layer.limit for _, layers in weights.networks() for layer in layers if layer.relu}
    if len(limits) != 1 or not limits <= set(LIMITS):
        raise TrainingError("its activations are clamped elsewhere than those of networks in training")
    return LIMITS[limits.pop()]


def convolutions(network: nn.Sequential) -> Iterator[tuple[Convolution, nn.BatchNorm2d | None]]:
    """Each convolution with the batch norm behind it, in the order of exact layers."""
    modules = list(network)
    for module, following in zip(modules, [*modules[1:], None], strict=True):
        if isinstance(module, ResidualBlock):
            yield module.wide, module.wide_norm
            yield module.narrow, module.narrow_norm
        elif isinstance(module, Convolution):
            yield module, following if isinstance(following, nn.BatchNorm2d) else None


@torch.no_grad()
def _load(module: Convolution, norm: nn.BatchNorm2d | None, weight: NumpyArray, bias: NumpyArray) -> None:
    if isinstance(module, nn.ConvTranspose2d):
        weight = weight.swapaxes(0, 1)
    module.weight.copy_(torch.from_numpy(weight.copy()))
    if norm is None:
        cast(Tensor, module.bias).copy_(torch.from_numpy(bias))
    else:
        cast(Tensor, norm.running_mean).zero_()
        cast(Tensor, norm.running_var).fill_(1 - norm.eps)
        norm.weight.fill_(1)
        norm.bias.copy_(torch.from_numpy(bias))


@torch.no_grad()
def take_statistics(model: ResNetVAE, rows: Tensor, generator: torch.Generator) -> None:
    """Give the batch norms of a restored model the statistics of images, rows of their sub-pixels (N, D), and scales
    and shifts with which the model stays what it is."""
    norms = [norm for network in (model.encoder, model.decoder) for _, norm in convolutions(network) if norm]
    sums: dict[nn.Module, Tensor] = {
        norm: torch.zeros(3, norm.num_features, dtype=torch.float64, device=rows.device) for norm in norms
    }

    def count(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double()
        of_channels = x.sum((0, 2, 3)), x.square().sum((0, 2, 3)), torch.full_like(sums[norm][2], x[:, 0].numel())
        sums[norm].add_(torch.stack(of_channels))

    training = model.training
    model.eval()
    handles = [norm.register_forward_pre_hook(count) for norm in norms]
    try:
        for start in range(0, min(len(rows), IMAGES), AT_ONCE):
            mu, sigma = model.encode(rows[start : start + AT_ONCE])
            noise = torch.randn(mu.shape, generator=generator, device=rows.device)
            model.decode(mu + sigma * noise)
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)
    for norm in norms:
        total, squares, count_of = sums[norm]
        mean = total / count_of
        variance = (squares / count_of - mean.square()).clamp_min(0)
        cast(Tensor, norm.running_mean).copy_(mean)
        cast(Tensor, norm.running_var).copy_(variance)
        norm.weight.copy_(torch.sqrt(variance + norm.eps))
        norm.bias.add_(mean)
