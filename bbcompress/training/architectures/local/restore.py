"""Exact `local` models as networks of torch, which training goes on from: the inverse of `export.quantise_local`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, cast

import torch
from torch import Tensor, nn

from bbcompress.errors import TrainingError
from bbcompress.models.base import Layers, ModelWeights
from bbcompress.models.local import LocalWeights
from bbcompress.models.pixel_network import PIXEL_BITS
from bbcompress.training.architectures.local.export import PIXEL_LIMIT
from bbcompress.training.architectures.local.network import (
    CONSTANT_MIDDLE,
    FEATURE_LIMIT,
    PIXEL_UNIT,
    LocalShape,
    LocalVAE,
)
from bbcompress.training.quantisation.quantise import floats_of, load_linears


def restore_local(weights: ModelWeights, shape: LocalShape) -> tuple[LocalVAE, LocalVAE]:
    """The networks of an exact model, float32, with its encoders `baseline` and `rha`; both have the one decoder.

    Args:
        shape: what the run trains.

    Raises:
        TrainingError: the model is of another architecture, of other sizes, or clamps its activations elsewhere.
    """
    if not isinstance(weights, LocalWeights):
        raise TrainingError("not a local model")
    found = shape_of(weights, shape.mixtures)
    for field in fields(LocalShape):
        own, wanted = getattr(found, field.name), getattr(shape, field.name)
        if own != wanted:
            what = _CALLED.get(field.name, field.name)
            raise TrainingError(f"{what}: {_shown(own)} in the model, {_shown(wanted)} in this run")
    limits = {layer.limit for layer in (*weights.trunk, weights.heads)}
    if limits != {PIXEL_LIMIT} or weights.decoder[-1].limit != FEATURE_LIMIT * (1 << PIXEL_BITS):
        raise TrainingError("its activations are clamped elsewhere than those of networks in training")
    models = LocalVAE(shape), LocalVAE(shape)
    for model, encoder in zip(models, ("baseline", "rha"), strict=True):
        _load_generative(model, weights)
        _load_encoder(model, *weights.encoders[encoder])
    return models


_CALLED = {
    "binary": "binary pixels",
    "image": "size of images",
    "trunk": "width of hidden layers",
    "centred": "levels relative to a reference",
}
"""What messages call some of a shape's fields."""


def _shown(value: Any) -> str:
    if value is None:
        return "any"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


@torch.no_grad()
def _load_generative(model: LocalVAE, weights: LocalWeights) -> None:
    s = model.shape
    load_linears(model.decoder, map(floats_of, weights.decoder))
    load_linears(model.trunk, map(floats_of, weights.trunk))
    heads, bias = floats_of(weights.heads)
    load_linears(model.heads, [(heads[:, : s.trunk[-1]], bias)])
    for channel in range(1, s.channels):
        rows = slice(channel * s.head, (channel + 1) * s.head)
        across = heads[rows, s.trunk[-1] : s.trunk[-1] + channel]
        cast(Tensor, model.across[channel].weight).copy_(torch.from_numpy(across))
    for layer, output in zip(model.outputs, weights.outputs, strict=True):
        load_linears(nn.Sequential(layer), [floats_of(output)])


def _load_encoder(model: LocalVAE, patch_layers: Layers, encoder_layers: Layers) -> None:
    linears = [floats_of(layer) for layer in patch_layers]
    if not model.shape.binary:  # pixels come scaled, and about a middle
        weight, bias = linears[0]
        bias += weight.sum(axis=1) * CONSTANT_MIDDLE
        weight *= PIXEL_UNIT
    load_linears(model.patch_layers, linears)
    load_linears(model.encoder_layers, map(floats_of, encoder_layers))


def shape_of(weights: LocalWeights, mixtures: int = 0) -> LocalShape:
    """The sizes of an exact model.

    Args:
        mixtures: of a model of binary pixels, which has none.
    """
    patch_layers, encoder_layers = weights.encoders["baseline"]
    return LocalShape(
        channels=weights.channels,
        binary=not weights.mixtures,
        tile=weights.tile,
        image=weights.image,
        latents=weights.latents,
        cell=weights.cell,
        features=weights.features,
        decoder=_widths(weights.decoder[:-1]),
        trunk=_widths(weights.trunk),
        head=len(weights.heads.bias) // weights.channels,
        mixtures=weights.mixtures or mixtures,
        patch=weights.patch,
        pool=weights.pool,
        patch_hidden=_widths(patch_layers),
        encoder_hidden=_widths(encoder_layers[:-1]),
        centred=weights.centred,
    )


def _widths(layers: Layers) -> tuple[int, ...]:
    return tuple(len(layer.bias) for layer in layers)
