"""Exact `local` models as networks of torch, which training goes on from: the inverse of `export.quantise_local`.

The hidden layers of the per-pixel network may be wider than the model's. What the model knows is kept: units that it
lacks begin with random weights, and nothing behind them listens to them yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, cast

import numpy as np
import numpy.typing as npt
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
        shape: what the run trains; its per-pixel network may be wider.

    Raises:
        TrainingError: the model is of another architecture, of other sizes, or clamps its activations elsewhere.
    """
    if not isinstance(weights, LocalWeights):
        raise TrainingError("not a local model")
    found = shape_of(weights, shape.mixtures)
    for field in fields(LocalShape):
        own, wanted = getattr(found, field.name), getattr(shape, field.name)
        if field.name in _MAY_GROW and _fits_in(own, wanted):
            continue
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
_MAY_GROW = ("trunk", "head")


def _fits_in(own: int | tuple[int, ...], wanted: int | tuple[int, ...]) -> bool:
    """Whether hidden layers are as wide or wider, and as many."""
    few, many = np.atleast_1d(own), np.atleast_1d(wanted)
    return len(few) == len(many) and bool((few <= many).all())


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
    for layer, known in zip(_linears(model.trunk), weights.trunk, strict=True):
        _load_units(layer, *floats_of(known))
    heads, bias = floats_of(weights.heads)
    last, width = len(weights.trunk[-1].bias), len(bias) // s.channels
    (layer,) = _linears(model.heads)
    _load_units(
        layer, heads[:, :last], bias, rows=np.concatenate([np.arange(width) + c * s.head for c in range(s.channels)])
    )
    for channel in range(1, s.channels):
        across = heads[channel * width : (channel + 1) * width, last : last + channel]
        cast(Tensor, model.across[channel].weight)[:width] = torch.from_numpy(across).float()
    for channel, (layer, output) in enumerate(zip(_linears(model.outputs), weights.outputs, strict=True)):
        columns = np.append(np.arange(width), s.head + np.arange(channel))
        _load_units(layer, *floats_of(output), columns=columns)


def _linears(modules: Iterable[nn.Module]) -> list[nn.Linear]:
    return [module for module in modules if isinstance(module, nn.Linear)]


def _load_units(
    layer: nn.Linear,
    weight: npt.NDArray[np.float64],
    bias: npt.NDArray[np.float64],
    rows: npt.NDArray[np.int64] | None = None,
    columns: npt.NDArray[np.int64] | None = None,
) -> None:
    """Give units `rows` of a layer, the first ones, these weights of the inputs `columns`, the first ones, and none of
    the others."""
    to = torch.arange(len(bias)) if rows is None else torch.from_numpy(rows)
    of = torch.arange(weight.shape[1]) if columns is None else torch.from_numpy(columns)
    layer.weight[to] = 0.0
    layer.weight[to[:, None], of] = torch.from_numpy(weight).float()
    layer.bias[to] = torch.from_numpy(bias).float()


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
