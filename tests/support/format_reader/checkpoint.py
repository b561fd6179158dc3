"""Section "Checkpoints" of docs/format.md."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .networks import Layer
from .primitives import check
from .proofs import prove

DTYPES = {"I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}
MLP = ["decoder", "encoder.rha", "encoder.baseline"]
LOCAL = ["decoder", "trunk", "heads", "outputs"]
LOCAL += ["encoder.rha.patch", "encoder.rha.head", "encoder.baseline.patch", "encoder.baseline.head"]


@dataclass
class Checkpoint:
    """Checkpoints: the settings, the networks, the id."""

    settings: dict[str, Any]
    networks: dict[str, list[Layer]]
    id: bytes

    @property
    def architecture(self) -> str:
        return str(self.settings.get("architecture", "mlp"))


def read_safetensors(data: bytes) -> tuple[dict[str, str], dict[str, Any]]:
    """Checkpoints: metadata and tensors of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8 : 8 + length])
    metadata, tensors = entries.pop("__metadata__"), {}
    for name, entry in entries.items():
        begin, end = entry["data_offsets"]
        tensor = np.frombuffer(data[8 + length + begin : 8 + length + end], DTYPES[entry["dtype"]])
        tensors[name] = tensor.reshape(entry["shape"]).astype(np.int64)
    return metadata, tensors


def read_checkpoint(folder: Path) -> Checkpoint:
    """Checkpoints: a checkpoint and its id."""
    return parse_checkpoint((folder / "model.safetensors").read_bytes())


def parse_checkpoint(data: bytes) -> Checkpoint:
    """Checkpoints: the weights and their id."""
    metadata, tensors = read_safetensors(data)
    check(metadata["format"] == "bbc-model-1", "a checkpoint of another format")
    settings = json.loads(metadata["settings"])
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    networks = {}
    for name in LOCAL if settings.get("architecture") == "local" else MLP:
        layers = []
        for number, grids in enumerate(settings["networks"][name]):
            weight, bias = tensors[f"{name}.{number}.weight"], tensors[f"{name}.{number}.bias"]
            digest.update(weight.astype("<i8").tobytes() + bias.astype("<i8").tobytes())
            layers.append(read_layer(grids, weight, bias))
        networks[name] = layers
    prove(settings, networks)
    return Checkpoint(settings, networks, digest.digest())


def read_layer(grids: dict[str, Any], weight: Any, bias: Any) -> Layer:
    """Checkpoints: a layer's grids."""
    check(list(weight.shape) == grids["shape"], "the shape of a layer")
    return Layer(
        weight=weight,
        bias=bias,
        weight_bits=grids["weight_bits"],
        in_bits=grids["in_bits"],
        out_bits=np.concatenate([np.full(count, bits) for bits, count in grids["out_bits"]]),
        relu=grids["relu"],
        limit=grids.get("limit", 2**24),
        stride=grids.get("stride", 1),
        padding=grids.get("padding", 0),
        transposed=grids.get("transposed", False),
    )
