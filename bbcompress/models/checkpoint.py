"""Checkpoints: `model.safetensors` (the integers and settings of a model) and `card.json`, in a folder or as bytes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from bbcompress.errors import ModelError
from bbcompress.exact.convolution import ConvolutionWeights
from bbcompress.exact.layers import ACTIVATION_LIMIT, LinearWeights
from bbcompress.models import mlp
from bbcompress.models.base import ModelWeights, NumpyArray
from bbcompress.models.registry import ARCHITECTURES
from bbcompress.system.signals import held_back

WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "card.json"
MAX_BYTES = 64 << 20
MAX_CARD_BYTES = 1 << 20
FORMAT = "bbc-model-1"
_LENGTH_BYTES = 8
"""Of the header of a safetensors file."""
_CARD_KEY = "card"
_TYPES = (np.int8, np.int16, np.int32)


def save(weights: ModelWeights, folder: Path) -> None:
    """Write a checkpoint; weights are stored in 8 or 16 bits where they fit.

    Weights and card get their names when both are written whole: what ends it before leaves the folder's old ones.

    Raises:
        OSError: the operating system reports an error.
    """
    from safetensors.numpy import save as to_bytes

    tensors = {}
    for network, layers in weights.networks():
        for index, layer in enumerate(layers):
            tensors[f"{network}.{index}.weight"] = layer.weight.astype(_smallest(layer.weight))
            tensors[f"{network}.{index}.bias"] = layer.bias.astype(np.int64)
    metadata = {"format": FORMAT, "settings": json.dumps(weights.settings(), sort_keys=True)}
    card = json.dumps({**weights.card, "id": weights.id.hex()}, indent=2, ensure_ascii=False)
    contents = {WEIGHTS_FILE: to_bytes(tensors, metadata), CARD_FILE: f"{card}\n".encode()}
    folder.mkdir(parents=True, exist_ok=True)
    temporary = {name: folder / f".{name}.{os.getpid()}" for name in contents}
    try:
        for name, content in contents.items():
            with temporary[name].open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # before it gets its name
        with held_back():  # new weights beside an old card are damaged to `load`
            for name in contents:
                os.replace(temporary[name], folder / name)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


def load(folder: Path) -> ModelWeights:
    """Read a checkpoint and prove its bounds.

    Raises:
        ModelError: it is missing, no checkpoint of a model, damaged, or breaks a bound of exact arithmetic.
    """
    return parse(*read_files(folder), str(folder / WEIGHTS_FILE), str(folder / CARD_FILE))


def read_files(folder: Path) -> tuple[bytes, bytes]:
    """The files of a checkpoint: weights and card, which is empty where there is none.

    Raises:
        ModelError: the weights are missing, or a file is too large or cannot be read.
    """
    path = folder / WEIGHTS_FILE
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path} is too large for a model")
        return path.read_bytes(), _read_card(folder)
    except OSError as error:
        raise ModelError(f"no model at {folder}: {error.strerror or error}") from None


def read_checkpoint_file(path: Path) -> tuple[bytes, bytes]:
    """Weights and card of a checkpoint's file, wherever it lies: the card is beside `model.safetensors`, or as
    `with_card` has put it into the file; empty where there is none.

    Raises:
        ModelError: it is no safetensors file, damaged or too large. OSError: the operating system reports an error.
    """
    if path.name == WEIGHTS_FILE and (path.parent / CARD_FILE).exists():
        return read_files(path.parent)
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{path} is too large for a model")
    weights = path.read_bytes()
    card = _tensors(weights, str(path))[1].get(_CARD_KEY, "").encode()
    if len(card) > MAX_CARD_BYTES:
        raise ModelError(f"{path} is too large for a card")
    return weights, card


def with_card(weights: bytes, card: bytes) -> bytes:
    """The weights as a file that has its card in itself; no tensor and no setting changes, and so not the id.

    Args:
        weights: the bytes of a sound file. card: those of its card.
    """
    size = int.from_bytes(weights[:_LENGTH_BYTES], "little")
    header = json.loads(weights[_LENGTH_BYTES : _LENGTH_BYTES + size])
    header["__metadata__"][_CARD_KEY] = card.decode()
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)  # as the library aligns what follows
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text + weights[_LENGTH_BYTES + size :]


def parse(weights: bytes, card: bytes, name: str, card_name: str) -> ModelWeights:
    """The model of the files of a checkpoint, its bounds proved.

    Args:
        card: empty for none. name, card_name: what errors call the files.

    Raises:
        ModelError: they are no checkpoint, damaged, or break a bound of exact arithmetic.
    """
    about = parse_card(card, card_name)
    tensors, metadata = _tensors(weights, name)
    if metadata.get("format") != FORMAT:
        raise ModelError(f"{name} is no checkpoint that this version of bbc reads")
    try:
        model = _assemble(json.loads(metadata["settings"]), tensors, about)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelError(f"{name} is damaged: {error}") from None
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from None
    if about.get("id", model.id.hex()) != model.id.hex():
        raise ModelError(f"{name} is damaged: it is not the model that its card names")
    return model


def read_card(folder: Path) -> dict[str, Any]:
    """The model's card, empty if it has none.

    Raises:
        ModelError: the model is damaged. OSError: the operating system reports an error.
    """
    return parse_card(_read_card(folder), str(folder / CARD_FILE))


def parse_card(data: bytes, name: str) -> dict[str, Any]:
    """What a card says; nothing where there is none.

    Args:
        data: of the file, empty for none. name: what errors call it.

    Raises:
        ModelError: it is damaged.
    """
    if not data:
        return {}
    try:
        card = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise ModelError(f"{name} is damaged") from None
    if not isinstance(card, dict):
        raise ModelError(f"{name} is damaged")
    return card


def _read_card(folder: Path) -> bytes:
    """The file of the card, empty where there is none."""
    path = folder / CARD_FILE
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            raise ModelError(f"{path} is too large for a card")
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    if not data:
        raise ModelError(f"{path} is damaged")
    return data


def _tensors(data: bytes, name: str) -> tuple[dict[str, NumpyArray], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        ModelError: it is none, or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    try:
        tensors = from_bytes(data)  # which checks the header
        size = int.from_bytes(data[:_LENGTH_BYTES], "little")
        header = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + size])
    except (SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{name} is damaged or no safetensors file") from error
    return tensors, header.get("__metadata__") or {}


def _assemble(settings: dict[str, Any], tensors: dict[str, NumpyArray], card: dict[str, Any]) -> ModelWeights:
    name = settings.get("architecture", mlp.ARCHITECTURE)
    if name not in ARCHITECTURES:
        raise ModelError(f"a model of the architecture {name!r}, which this version does not know")
    architecture = ARCHITECTURES[name]

    def network(name: str) -> tuple[Any, ...]:
        layers = settings["networks"][name]
        return tuple(_layer(architecture.layer, layer, name, index, tensors) for index, layer in enumerate(layers))

    shared = {
        "prior_bits": int(settings["prior_bits"]),
        "direct_bits": tuple(int(bits) for bits in settings["direct_bits"]),
        "learning_rate": int(settings["learning_rate"]),
        "decoder": network("decoder"),
        "card": card,
    }
    weights: ModelWeights = architecture.weights.from_settings(settings, network, shared)
    return weights


def _layer(
    kind: type[LinearWeights] | type[ConvolutionWeights],
    grid: dict[str, Any],
    network: str,
    index: int,
    tensors: dict[str, NumpyArray],
) -> LinearWeights | ConvolutionWeights:
    integers = _integers(grid, network, index, tensors)
    if kind is LinearWeights:
        return LinearWeights(**integers)
    return ConvolutionWeights(
        **integers,
        stride=int(grid["stride"]),
        padding=int(grid["padding"]),
        transposed=bool(grid["transposed"]),
    )


def _integers(grid: dict[str, Any], network: str, index: int, tensors: dict[str, NumpyArray]) -> dict[str, Any]:
    """What layers of all kinds have, by the names of their fields."""
    weight, bias = tensors[f"{network}.{index}.weight"], tensors[f"{network}.{index}.bias"]
    if weight.dtype not in _TYPES or bias.dtype != np.int64 or list(weight.shape) != grid["shape"]:
        raise ValueError(f"{network}, layer {index}, has another type or shape than it says")
    if bias.shape != weight.shape[:1]:  # now: a weight of no bytes may claim any number of outputs, a bias may not
        raise ValueError(f"{network}, layer {index}, has not a bias for each output")
    runs = grid["out_bits"]
    if sum(int(count) for _, count in runs) != weight.shape[0] or min(int(count) for _, count in runs) < 0:
        raise ValueError(f"{network}, layer {index}, has grids that do not fit its outputs")
    return {
        "weight": weight.astype(np.int64),
        "bias": bias,
        "weight_bits": int(grid["weight_bits"]),
        "in_bits": int(grid["in_bits"]),
        "out_bits": np.concatenate([np.full(int(count), int(bits), np.int64) for bits, count in runs]),
        "relu": bool(grid["relu"]),
        "limit": int(grid.get("limit", ACTIVATION_LIMIT)),
    }


def _smallest(array: NumpyArray) -> type[Any]:
    for kind in _TYPES:
        if np.abs(array).max() <= np.iinfo(kind).max:
            return kind
    raise ModelError("a weight does not fit in 32 bits")
