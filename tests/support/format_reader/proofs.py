"""The proofs of section "Checkpoints" of docs/format.md: no sum can leave the exact range of float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .networks import Layer
from .primitives import check

Array = npt.NDArray[Any]
EXACT = 2**53


def prove(settings: dict[str, Any], networks: dict[str, list[Layer]]) -> None:
    """Checkpoints: proofs. Raises FormatError where one fails."""
    architecture = settings.get("architecture", "mlp")
    prove_chain(networks["decoder"], 2**20)
    if architecture == "local":
        prove_local(settings, networks)
        return
    largest = 255 if architecture == "resnet" or settings["likelihood"] == "discretised_logistic" else 1
    prove_chain(networks["encoder.rha"], largest)
    prove_chain(networks["encoder.baseline"], largest)


def prove_local(settings: dict[str, Any], networks: dict[str, list[Layer]]) -> None:
    """Checkpoints: proofs of a local model's networks."""
    binary, channels = settings["mixtures"] == 0, settings["channels"]
    pixel, features, trunk = 64 if binary else 255, settings["features"], networks["trunk"]
    inputs = trunk[0].weight.shape[1] - features
    prove_chain(trunk, np.repeat([pixel, networks["decoder"][-1].limit], [inputs, features]))
    (heads,) = networks["heads"]
    width = trunk[-1].weight.shape[0]
    prove_layer(heads, np.repeat([trunk[-1].limit, pixel], [width, channels - 1]))
    for channel, layer in enumerate(networks["outputs"]):
        prove_layer(layer, np.repeat([heads.limit, pixel], [len(heads.weight) // channels, channel]))
    for encoder in ("rha", "baseline"):
        patch, head = networks[f"encoder.{encoder}.patch"], networks[f"encoder.{encoder}.head"]
        prove_chain(patch, 1 if binary else 255)
        prove_chain(head, patch[-1].limit)
    check(int(np.abs(trunk[0].weight[:, inputs:]).sum(axis=0).max()) * 2**34 < EXACT, "the features' gradient")


def prove_chain(layers: list[Layer], largest: int | Array) -> None:
    """Checkpoints: proofs of a chain of layers; largest: the magnitude of its inputs."""
    for number, layer in enumerate(layers):
        check(not number or bool((layers[number - 1].out_bits == layer.in_bits).all()), "units that do not fit")
        prove_layer(layer, largest)
        largest = layer.limit


def prove_layer(layer: Layer, largest: int | Array) -> None:
    """Checkpoints: proofs of one layer, forwards and backwards."""
    magnitude = np.abs(layer.weight).reshape(*layer.weight.shape[:2], -1).sum(axis=2)
    limits = np.broadcast_to(np.asarray(largest), magnitude.shape[1]).tolist()
    shifts = layer.in_bits + layer.weight_bits - layer.out_bits
    check(shifts.min() >= 0 and shifts.max() <= 52, "a shift")
    check(int(np.abs(layer.weight).max()) < 2**31, "a weight")
    if len(set(limits)) == 1:
        forwards = int(magnitude.sum(axis=1).max()) * limits[0]
    else:
        forwards = max(sum(w * x for w, x in zip(row, limits, strict=True)) for row in magnitude.tolist())
    check(forwards + int(np.abs(layer.bias).max()) < EXACT, "the sums of a layer")
    check(int(magnitude.sum(axis=0).max()) * 2**30 < EXACT, "the backward sums of a layer")
