"""What a model that comes with a file may take in memory: nobody has chosen to install it."""

from __future__ import annotations

from bbcompress.errors import LargeModelError
from bbcompress.exact.convolution import ConvolutionWeights
from bbcompress.models.base import ModelWeights
from bbcompress.models.local import LocalWeights

MAX_UNITS = 1 << 14
"""Outputs of a layer: some hundred images, or pixels, go through it at once."""

MAX_CHANNELS = 1 << 9
"""Outputs of a convolution at one place."""

UNITS_PER_PIXEL = 16
"""Outputs of a layer that runs on all tiles of a batch together, for each pixel of a tile."""

LEAST_LATENTS = 16


def refuse_large(weights: ModelWeights) -> None:
    """Raises LargeModelError for a model whose layers are far wider than models of its kind need.

    So memory is taken for what a file holds, not for what its model says. Those that bbc trains by itself are far below
    the limits.
    """
    pixels = weights.tile**2 if weights.shape is None else weights.shape[0] * weights.shape[1]
    if weights.latents > max(LEAST_LATENTS, pixels):
        raise _too_large(f"{weights.latents} latents for {pixels} pixels")
    for name, layers in weights.networks():
        most = MAX_UNITS
        if isinstance(weights, LocalWeights):
            if name.endswith(".patch"):
                most = UNITS_PER_PIXEL * weights.patch**2
            elif name == "decoder" or name.endswith(".head"):
                most = UNITS_PER_PIXEL * pixels
        for layer in layers:
            units = len(layer.weight)
            limit = MAX_CHANNELS if isinstance(layer, ConvolutionWeights) else most
            if units > limit:
                raise _too_large(f"a layer of {name} with {units} outputs, the limit is {limit}")


def _too_large(what: str) -> LargeModelError:
    return LargeModelError(f"it would take too much memory: {what}")
