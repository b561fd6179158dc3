"""All architectures of exact models by name. A new one is a module beside this, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bbcompress.errors import ModelError
from bbcompress.exact.backend import Backend
from bbcompress.exact.convolution import ConvolutionWeights
from bbcompress.exact.layers import LinearWeights
from bbcompress.models import local, mlp, resnet
from bbcompress.models.base import Model, ModelWeights


@dataclass(frozen=True)
class Architecture:
    """weights: the type of its integers; its `from_settings` makes them of what a checkpoint holds. layer: the type of
    its networks' layers. model: from weights and a backend."""

    weights: Any
    layer: type[LinearWeights] | type[ConvolutionWeights]
    model: Callable[[Any, Backend], Model]


ARCHITECTURES = {
    mlp.ARCHITECTURE: Architecture(mlp.MLPWeights, LinearWeights, mlp.ExactMLPVAE),
    local.ARCHITECTURE: Architecture(local.LocalWeights, LinearWeights, local.ExactLocalVAE),
    resnet.ARCHITECTURE: Architecture(resnet.ResNetWeights, ConvolutionWeights, resnet.ExactResNetVAE),
}


def model_of(weights: ModelWeights, backend: Backend) -> Model:
    """The model of its integers on a backend.

    Raises:
        ModelError: the backend is not exact.
    """
    for architecture in ARCHITECTURES.values():
        if isinstance(weights, architecture.weights):
            return architecture.model(weights, backend)
    raise ModelError("a model of a kind that this version does not know")
