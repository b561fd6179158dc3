"""Checkpoints: what is saved is loaded, and nothing damaged is."""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from models_for_tests import tiny_local, tiny_resnet, tiny_vae
from safetensors.numpy import save_file

from bbcompress.errors import ModelError
from bbcompress.exact.distributions import LIKELIHOODS
from bbcompress.models.base import ModelWeights
from bbcompress.models.checkpoint import (
    CARD_FILE,
    FORMAT,
    MAX_BYTES,
    MAX_CARD_BYTES,
    WEIGHTS_FILE,
    load,
    read_card,
    save,
)

WEIGHTS = tiny_vae()


def check_refused(folder: Path, reason: str = "") -> None:
    """Loading fails with one line that names the file."""
    with pytest.raises(ModelError) as caught:
        load(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    assert reason in message


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(WEIGHTS, tmp_path)
    return tmp_path


def contents(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors and settings of a checkpoint, to be changed and written back."""
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS_FILE, "np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(file.metadata()["settings"])


def write(folder: Path, tensors: dict[str, Any], settings: Any, form: str = FORMAT) -> None:
    (folder / CARD_FILE).unlink(missing_ok=True)
    text = settings if isinstance(settings, str) else json.dumps(settings)
    save_file(tensors, folder / WEIGHTS_FILE, {"format": form, "settings": text})


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_round_trip(tmp_path: Path, likelihood: str) -> None:
    weights = replace(tiny_vae(likelihood, direct_bits=2), card={"name": "tiny é", "rate": 0.5})
    save(weights, tmp_path / "deep" / "folder")
    loaded = load(tmp_path / "deep" / "folder")
    assert loaded.id == weights.id
    assert loaded.settings() == weights.settings()
    for (_, one), (_, other) in zip(weights.networks(), loaded.networks(), strict=True):
        for a, b in zip(one, other, strict=True):
            assert np.array_equal(a.weight, b.weight)
            assert np.array_equal(a.bias, b.bias)
            assert np.array_equal(a.out_bits, b.out_bits)
            assert (a.weight_bits, a.in_bits, a.relu) == (b.weight_bits, b.in_bits, b.relu)
            assert b.weight.dtype == b.bias.dtype == b.out_bits.dtype == np.int64
    assert loaded.card == {"name": "tiny é", "rate": 0.5, "id": weights.id.hex()}
    assert sorted(p.name for p in (tmp_path / "deep" / "folder").iterdir()) == [CARD_FILE, WEIGHTS_FILE]


def test_wide_weights_take_32_bits(tmp_path: Path) -> None:
    last = WEIGHTS.decoder[-1]
    weight = last.weight.copy()
    weight[0, 0], weight[1, 1] = 1 << 15, -(1 << 21)
    weights = replace(WEIGHTS, decoder=(*WEIGHTS.decoder[:-1], replace(last, weight=weight)))
    save(weights, tmp_path)
    assert load(tmp_path).id == weights.id
    tensors, _ = contents(tmp_path)
    assert tensors["decoder.2.weight"].dtype == np.int32
    assert tensors["decoder.1.weight"].dtype == np.int16


def test_narrow_weights_take_8_bits(tmp_path: Path) -> None:
    last = WEIGHTS.decoder[-1]
    for edge, dtype in ((127, np.int8), (128, np.int16)):
        weight = np.clip(last.weight, -127, 127)
        weight[0, 0] = -edge
        weights = replace(WEIGHTS, decoder=(*WEIGHTS.decoder[:-1], replace(last, weight=weight)))
        save(weights, tmp_path)
        assert contents(tmp_path)[0]["decoder.2.weight"].dtype == dtype
        assert load(tmp_path).id == weights.id


def test_saving_again_replaces(folder: Path) -> None:
    other = tiny_vae(seed=1)
    save(other, folder)
    assert load(folder).id == other.id


@pytest.mark.parametrize("when", ["weights", "card", "names"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_ends_saving_leaves_the_old_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch, when: str, error: type[BaseException]
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    left = {"weights": 1, "card": 2, "names": 1}[when]

    def ending(*_: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise error

    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(os, "replace" if when == "names" else "fsync", ending)
        save(tiny_vae(seed=1), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert load(folder).id == WEIGHTS.id


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_weights_and_card_get_their_names_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tiny_vae(seed=1)
    rename = os.replace

    def interrupted(source: Path, target: Path) -> None:
        rename(source, target)
        signal.raise_signal(signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, "replace", interrupted)
            save(other, folder)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert load(folder).id == other.id
    assert sorted(path.name for path in folder.iterdir()) == [CARD_FILE, WEIGHTS_FILE]


def test_without_a_card(folder: Path) -> None:
    (folder / CARD_FILE).unlink()
    assert load(folder).id == WEIGHTS.id
    assert load(folder).card == {}


def test_the_tool_that_writes_these_tests_writes_sound_files(folder: Path) -> None:
    write(folder, *contents(folder))
    assert load(folder).id == WEIGHTS.id


# Damage to the file


def test_missing(tmp_path: Path) -> None:
    check_refused(tmp_path / "nowhere", "no model at")
    check_refused(tmp_path, "no model at")
    (tmp_path / WEIGHTS_FILE).mkdir()
    check_refused(tmp_path)


def test_truncated_at_every_length(folder: Path) -> None:
    path = folder / WEIGHTS_FILE
    data = path.read_bytes()
    for length in [*range(0, len(data), 61), len(data) - 1]:
        path.write_bytes(data[:length])
        check_refused(folder, "damaged")
    path.write_bytes(data + b"\0")
    check_refused(folder, "damaged")


def test_flipped_bits(folder: Path) -> None:
    """Each byte of the header, and a sample of the data: the card's id shows them all."""
    path = folder / WEIGHTS_FILE
    data = path.read_bytes()
    header = 8 + struct.unpack("<Q", data[:8])[0]
    random = np.random.default_rng(0)
    for position in [*range(0, header, 7), *random.integers(header, len(data), 150).tolist()]:
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            loaded = load(folder)
        except ModelError as error:
            assert "\n" not in str(error)
        else:  # the header's padding or white space: nothing that counts
            assert loaded.id == WEIGHTS.id


def test_no_safetensors_file(folder: Path) -> None:
    for data in (b"", b"hello", bytes(1000), b"\xff" * 1000, b"\x89PNG\r\n\x1a\n" * 100):
        (folder / WEIGHTS_FILE).write_bytes(data)
        check_refused(folder, "damaged or no safetensors file")


def test_huge_file(folder: Path) -> None:
    with (folder / WEIGHTS_FILE).open("r+b") as file:
        file.truncate(MAX_BYTES + 1)
    check_refused(folder, "too large")


def test_another_format(folder: Path) -> None:
    tensors, settings = contents(folder)
    write(folder, tensors, settings, "bbc-model-2")
    check_refused(folder, "no checkpoint that this version")
    save_file(tensors, folder / WEIGHTS_FILE)
    check_refused(folder, "no checkpoint that this version")


def test_card_names_another_model(folder: Path) -> None:
    card = json.loads((folder / CARD_FILE).read_text())
    others: list[Any] = [tiny_vae(seed=1).id.hex(), "", None, 5, [], {}]
    for other in others:
        (folder / CARD_FILE).write_text(json.dumps({**card, "id": other}))
        check_refused(folder, "not the model that its card names")


def test_a_card_that_is_too_large(folder: Path) -> None:
    with (folder / CARD_FILE).open("r+b") as file:
        file.truncate(MAX_CARD_BYTES + 1)
    check_refused(folder, "too large")


@one_test_of("text", [b"", b"{", b"[]", b"5", b"\xff\xfe", b'{"name": "a}', b"[" * 100_000])
def test_damaged_card(folder: Path, text: bytes) -> None:
    (folder / CARD_FILE).write_bytes(text)
    check_refused(folder, "damaged")
    with pytest.raises(ModelError, match="damaged"):
        read_card(folder)


Header = dict[str, Any]


def reach_into_the_next(header: Header) -> None:
    header["decoder.1.weight"]["data_offsets"][1] += 8


def lie_on_another(header: Header) -> None:
    header["decoder.1.weight"]["data_offsets"] = header["decoder.0.weight"]["data_offsets"]


def run_backwards(header: Header) -> None:
    header["decoder.1.weight"]["data_offsets"].reverse()


def reach_out_of_the_file(header: Header) -> None:
    header["decoder.1.weight"]["data_offsets"] = [1 << 62, (1 << 62) + 128]


def huge_shape(header: Header) -> None:
    header["decoder.1.weight"]["shape"] = [1 << 62, 1 << 62]


def shape_that_overflows(header: Header) -> None:
    header["decoder.1.weight"]["shape"] = [1 << 32, 1 << 32, 0]


def negative_shape(header: Header) -> None:
    header["decoder.1.weight"]["shape"] = [-8, -8]


def shape_of_no_integers(header: Header) -> None:
    header["decoder.1.weight"]["shape"] = [8.5, "8"]


def metadata_of_no_strings(header: Header) -> None:
    header["__metadata__"]["settings"] = {"shape": [28, 28]}


def metadata_of_another_kind(header: Header) -> None:
    header["__metadata__"] = [1, 2, 3]


@one_test_of(
    "change",
    [
        reach_into_the_next, lie_on_another, run_backwards, reach_out_of_the_file, huge_shape, shape_that_overflows,
        negative_shape, shape_of_no_integers, metadata_of_no_strings, metadata_of_another_kind,
    ],
)  # fmt: skip
def test_forged_headers(folder: Path, change: Callable[[Header], None]) -> None:
    save(WEIGHTS, folder)
    path = folder / WEIGHTS_FILE
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    check_refused(folder, "damaged")


@pytest.mark.parametrize("size", [1, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1])
def test_lengths_of_headers_that_are_none(folder: Path, size: int) -> None:
    path = folder / WEIGHTS_FILE
    path.write_bytes(struct.pack("<Q", size) + path.read_bytes()[8:])
    check_refused(folder, "damaged")


def test_headers_that_nest(folder: Path) -> None:
    for text in (b"[" * 100_000, b'{"a":' * 100_000, b'{"__metadata__":' + b"[" * 100_000):
        (folder / WEIGHTS_FILE).write_bytes(struct.pack("<Q", len(text)) + text)
        check_refused(folder, "damaged")


def test_tensors_of_no_bytes_that_claim_many_rows(folder: Path) -> None:
    """A shape with a 0 in it may claim any number of outputs: nothing is made for them."""
    for rows in (1 << 26, 1 << 40, 1 << 62):
        tensors, settings = contents(folder)
        tensors["decoder.1.weight"] = np.zeros((0, 0), np.int8)
        settings["networks"]["decoder"][1] |= {"shape": [rows, 0], "out_bits": [[12, rows]]}
        write(folder, tensors, settings)
        path = folder / WEIGHTS_FILE
        data = path.read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8 : 8 + size])
        header["decoder.1.weight"]["shape"] = [rows, 0]
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
        tracemalloc.start()
        try:
            check_refused(folder)
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()


# Sound safetensors files that are no models


@pytest.mark.parametrize("name", ["decoder.0.weight", "decoder.2.bias", "encoder.rha.1.weight"])
def test_missing_tensor(folder: Path, name: str) -> None:
    tensors, settings = contents(folder)
    del tensors[name]
    write(folder, tensors, settings)
    check_refused(folder, name)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "u2", "i8", "?"])
def test_wrong_type_of_weights(folder: Path, dtype: str) -> None:
    tensors, settings = contents(folder)
    tensors["decoder.1.weight"] = tensors["decoder.1.weight"].astype(dtype)
    write(folder, tensors, settings)
    check_refused(folder, "another type or shape")


@pytest.mark.parametrize("dtype", ["f8", "i4", "i2", "u8"])
def test_wrong_type_of_biases(folder: Path, dtype: str) -> None:
    tensors, settings = contents(folder)
    tensors["encoder.baseline.1.bias"] = tensors["encoder.baseline.1.bias"].astype(dtype)
    write(folder, tensors, settings)
    check_refused(folder, "another type or shape")


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F8_E5M2", "F4", "C64", "I16x"])
def test_types_that_numpy_does_not_have(folder: Path, dtype: str) -> None:
    path = folder / WEIGHTS_FILE
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    header["decoder.1.weight"]["dtype"] = dtype
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    check_refused(folder)


def change_shape(tensors: dict[str, Any], settings: dict[str, Any]) -> None:
    tensors["decoder.1.weight"] = tensors["decoder.1.weight"][:, :-1].copy()


def change_bias(tensors: dict[str, Any], settings: dict[str, Any]) -> None:
    tensors["decoder.1.bias"] = tensors["decoder.1.bias"][:-1].copy()


def change_rank(tensors: dict[str, Any], settings: dict[str, Any]) -> None:
    tensors["decoder.1.weight"] = np.zeros((), np.int16)
    settings["networks"]["decoder"][1]["shape"] = []


def break_forward(tensors: dict[str, Any], settings: dict[str, Any]) -> None:
    tensors["decoder.1.bias"][3] = 1 << 53


def break_lowest_bias(tensors: dict[str, Any], settings: dict[str, Any]) -> None:
    tensors["decoder.1.bias"][3] = -(1 << 63)


def break_backward(tensors: dict[str, Any], settings: dict[str, Any]) -> None:
    tensors["decoder.1.weight"] = np.full((8, 8), 1 << 20, np.int32)


def lowest_weight(tensors: dict[str, Any], settings: dict[str, Any]) -> None:
    tensors["decoder.1.weight"] = np.full((8, 8), -(1 << 31), np.int32)


def setting(*path: Any, value: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(tensors: dict[str, Any], settings: dict[str, Any]) -> None:
        at: Any = settings
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    change.__name__ = f"{'.'.join(map(str, path))}={str(value)[:30]}"
    return change


LAYER = ("networks", "decoder", 1)
CHANGES = [
    change_shape,
    change_bias,
    change_rank,
    break_forward,
    break_lowest_bias,
    break_backward,
    lowest_weight,
    setting("shape", value=[6]),
    setting("shape", value=[6, 5, 1]),
    setting("shape", value="6"),
    setting("shape", value=None),
    setting("shape", value=[6, 6]),
    setting("shape", value=[1e999, 1]),
    setting("likelihood", value="normal"),
    setting("likelihood", value=None),
    setting("prior_bits", value=None),
    setting("prior_bits", value="ten"),
    setting("prior_bits", value=10**40),
    setting("direct_bits", value=[]),
    setting("direct_bits", value=5),
    setting("direct_bits", value=[3] * 5),
    setting("learning_rate", value=-1),
    setting("networks", value=None),
    setting("networks", value=[]),
    setting("networks", "decoder", value=[]),
    setting("networks", "decoder", value={}),
    setting("networks", "encoder.rha", value=None),
    setting(*LAYER, value={}),
    setting(*LAYER, value=5),
    setting(*LAYER, "weight_bits", value=-3),
    setting(*LAYER, "weight_bits", value=10**40),
    setting(*LAYER, "weight_bits", value=None),
    setting(*LAYER, "in_bits", value=11),
    setting(*LAYER, "in_bits", value=10**20),
    setting(*LAYER, "out_bits", value=[]),
    setting(*LAYER, "out_bits", value=[[12, 7]]),
    setting(*LAYER, "out_bits", value=[[12]]),
    setting(*LAYER, "out_bits", value=[[10**30, 8]]),
    setting(*LAYER, "out_bits", value=[[12, 10**14], [12, 8 - 10**14]]),
    setting(*LAYER, "out_bits", value=[[12, 9], [12, -1]]),
    setting(*LAYER, "shape", value=[8]),
    setting("prior_bits", value=float("nan")),
    setting("learning_rate", value=float("inf")),
    setting("shape", value=[float("nan"), 5]),
    setting(*LAYER, "weight_bits", value=float("nan")),
    setting(*LAYER, "out_bits", value=[[float("nan"), 8]]),
    setting(*LAYER, "limit", value=float("-inf")),
    setting(*LAYER, "limit", value=10**400),
]


@one_test_of("change", CHANGES)
def test_what_is_no_model(tmp_path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    save(WEIGHTS, tmp_path)
    tensors, settings = contents(tmp_path)
    change(tensors, settings)
    write(tmp_path, tensors, settings)
    check_refused(tmp_path)


@one_test_of("text", ["", "{", "[]", "5", "null", "[" * 100_000, '{"a":' * 100_000, "9" * 100_000])
def test_settings_that_are_none(folder: Path, text: str) -> None:
    save(WEIGHTS, folder)
    tensors, _ = contents(folder)
    write(folder, tensors, text)
    check_refused(folder, "damaged")


def test_settings_that_are_missing(folder: Path) -> None:
    tensors, _ = contents(folder)
    (folder / CARD_FILE).unlink()
    save_file(tensors, folder / WEIGHTS_FILE, {"format": FORMAT})
    check_refused(folder, "damaged")


# Models of other kinds

LOCAL, RESNET = tiny_local(), tiny_resnet()
OTHER: dict[str, ModelWeights] = {
    "rgb": LOCAL,
    "binary": tiny_local(channels=1, binary=True),
    "one size": tiny_local(image=(8, 8), pool=2),
    "float64": tiny_local(channels=1, weight_bits=16, stride=3),
    "resnet": RESNET,
    "larger resnet": tiny_resnet(16, width=5, channels=3, blocks=1),
}
NETWORKS = ("decoder", "trunk", "heads", "outputs", "encoders", "card")
one_of_each = pytest.mark.parametrize("kind", ["rgb", "resnet"])


@pytest.mark.parametrize("kind", OTHER)
def test_round_trip_of_other_kinds(tmp_path: Path, kind: str) -> None:
    weights: Any = OTHER[kind]
    save(weights, tmp_path)
    loaded: Any = load(tmp_path)
    assert type(loaded) is type(weights)
    assert loaded.id == weights.id
    assert loaded.settings() == weights.settings()
    for field in fields(weights):
        if field.name not in NETWORKS:
            own, other = getattr(weights, field.name), getattr(loaded, field.name)
            assert (own, type(own)) == (other, type(other)), field.name
    for (name, one), (_, two) in zip(weights.networks(), loaded.networks(), strict=True):
        for a, b in zip(one, two, strict=True):
            assert type(a) is type(b)
            for part in fields(a):
                own, other = getattr(a, part.name), getattr(b, part.name)
                assert np.array_equal(own, other), (name, part.name)
                assert type(own) is type(other), (name, part.name)
    assert loaded.card == {**weights.card, "id": weights.id.hex()}


@one_of_each
def test_truncated_of_other_kinds(tmp_path: Path, kind: str) -> None:
    save(OTHER[kind], tmp_path)
    path = tmp_path / WEIGHTS_FILE
    data = path.read_bytes()
    for length in [*range(0, len(data), 211), len(data) - 1]:
        path.write_bytes(data[:length])
        check_refused(tmp_path, "damaged")


@one_of_each
def test_flipped_bits_of_other_kinds(tmp_path: Path, kind: str) -> None:
    save(OTHER[kind], tmp_path)
    path = tmp_path / WEIGHTS_FILE
    data = path.read_bytes()
    header = 8 + struct.unpack("<Q", data[:8])[0]
    random = np.random.default_rng(0)
    refused = 0
    for position in [*range(0, header, 17), *random.integers(header, len(data), 60).tolist()]:
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            loaded = load(tmp_path)
        except ModelError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert loaded.id == OTHER[kind].id
    assert refused > 60


@one_test_of(
    ("kind", "name"),
    [
        ("rgb", "trunk.1.weight"),
        ("rgb", "heads.0.bias"),
        ("rgb", "outputs.0.weight"),
        ("rgb", "encoder.rha.patch.0.weight"),
        *(("resnet", f"decoder.{index}.weight") for index in range(7)),
        ("resnet", "decoder.3.bias"),
        ("resnet", "encoder.rha.6.bias"),
        ("resnet", "encoder.baseline.0.weight"),
    ],
)
def test_missing_tensor_of_other_kinds(tmp_path: Path, kind: str, name: str) -> None:
    save(OTHER[kind], tmp_path)
    tensors, settings = contents(tmp_path)
    del tensors[name]
    write(tmp_path, tensors, settings)
    check_refused(tmp_path, name)


@one_test_of(
    ("kind", "path"),
    [
        *(("rgb", (name,)) for name in ("channels", "mixtures", "tile", "image", "cell", "features", "patch", "pool")),
        *(("rgb", (name,)) for name in ("centred", "stride")),
        *(("resnet", (name,)) for name in ("tile", "blocks", "prior_bits", "direct_bits", "learning_rate", "networks")),
        *(("resnet", ("networks", name)) for name in ("decoder", "encoder.rha", "encoder.baseline")),
        *(
            ("resnet", ("networks", "decoder", 5, name))
            for name in ("stride", "padding", "transposed", "shape", "weight_bits", "in_bits", "out_bits", "relu")
        ),
    ],
)
def test_settings_that_are_missing_of_other_kinds(tmp_path: Path, kind: str, path: tuple[Any, ...]) -> None:
    save(OTHER[kind], tmp_path)
    tensors, settings = contents(tmp_path)
    at: Any = settings
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    write(tmp_path, tensors, settings)
    check_refused(tmp_path, "damaged")


def see_later_channels(tensors: dict[str, Any], settings: dict[str, Any]) -> None:
    tensors["heads.0.weight"][0, -1] = 1


def break_single(tensors: dict[str, Any], settings: dict[str, Any]) -> None:
    tensors["trunk.0.bias"][0] = 1 << 53


def two_heads(tensors: dict[str, Any], settings: dict[str, Any]) -> None:
    settings["networks"]["heads"] *= 2
    tensors["heads.1.weight"], tensors["heads.1.bias"] = tensors["heads.0.weight"], tensors["heads.0.bias"]


LOCAL_CHANGES = [
    see_later_channels,
    break_single,
    two_heads,
    setting("architecture", value="global"),
    setting("architecture", value=None),
    setting("channels", value=2),
    setting("channels", value="three"),
    setting("channels", value=None),
    setting("mixtures", value=0),
    setting("mixtures", value=-1),
    setting("mixtures", value=10**30),
    setting("tile", value=0),
    setting("tile", value=-8),
    setting("tile", value=10**30),
    setting("tile", value=16),
    setting("image", value=[8]),
    setting("image", value=[8, 9]),
    setting("image", value=[None, None]),
    setting("image", value=8),
    setting("cell", value=0),
    setting("cell", value=-4),
    setting("cell", value=2),
    setting("features", value=10**9),
    setting("features", value=0),
    setting("patch", value=0),
    setting("patch", value=-4),
    setting("pool", value=0),
    setting("pool", value=2),
    setting("stride", value=0),
    setting("stride", value=9),
    setting("stride", value=[]),
    setting("centred", value=False),
    setting("prior_bits", value=99),
    setting("direct_bits", value=[3] * 4),
    setting("networks", "heads", value=[]),
    setting("networks", "trunk", value=[]),
    setting("networks", "outputs", value=[]),
    setting("networks", "encoder.rha.patch", value=[]),
    setting("networks", "encoder.rha.head", value=[]),
    setting("networks", "trunk", 0, "limit", value=0),
    setting("networks", "trunk", 0, "limit", value=10**30),
    setting("networks", "trunk", 0, "in_bits", value=7),
    setting("networks", "trunk", 0, "relu", value=False),
    setting("networks", "decoder", 1, "limit", value=1 << 25),
]


@one_test_of("change", LOCAL_CHANGES)
def test_what_is_no_local_model(tmp_path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    save(LOCAL, tmp_path)
    tensors, settings = contents(tmp_path)
    change(tensors, settings)
    write(tmp_path, tensors, settings)
    check_refused(tmp_path)


def break_forward_of_resnet(tensors: dict[str, Any], settings: dict[str, Any]) -> None:
    tensors["decoder.2.bias"][0] = 1 << 53


def break_backward_of_resnet(tensors: dict[str, Any], settings: dict[str, Any]) -> None:
    tensors["decoder.1.weight"] = np.full((6, 6, 3, 3), 1 << 18, np.int32)


def matrix_for_kernel(tensors: dict[str, Any], settings: dict[str, Any]) -> None:
    tensors["decoder.0.weight"] = tensors["decoder.0.weight"].reshape(6, 2)
    settings["networks"]["decoder"][0]["shape"] = [6, 2]


def oblong_kernel(tensors: dict[str, Any], settings: dict[str, Any]) -> None:
    tensors["decoder.1.weight"] = tensors["decoder.1.weight"][:, :, :2].copy()
    settings["networks"]["decoder"][1]["shape"] = [6, 6, 2, 3]


def one_layer_more(tensors: dict[str, Any], settings: dict[str, Any]) -> None:
    settings["networks"]["decoder"].insert(6, settings["networks"]["decoder"][5])
    for part in ("weight", "bias"):
        tensors[f"decoder.7.{part}"] = tensors[f"decoder.6.{part}"]
        tensors[f"decoder.6.{part}"] = tensors[f"decoder.5.{part}"]


WIDE, DOUBLING = ("networks", "decoder", 1), ("networks", "decoder", 5)
HALVING = ("networks", "encoder.rha", 0)
RESNET_CHANGES = [
    break_forward_of_resnet,
    break_backward_of_resnet,
    matrix_for_kernel,
    oblong_kernel,
    one_layer_more,
    setting("architecture", value="global"),
    setting("architecture", value="local"),
    setting("architecture", value=None),
    setting("tile", value=0),
    setting("tile", value=-8),
    setting("tile", value=6),
    setting("tile", value=16),
    setting("tile", value=10**30),
    setting("tile", value=None),
    setting("tile", value=[8]),
    setting("blocks", value=0),
    setting("blocks", value=1),
    setting("blocks", value=3),
    setting("blocks", value=10**30),
    setting("blocks", value="two"),
    setting("prior_bits", value=99),
    setting("direct_bits", value=[3] * 4),
    setting("direct_bits", value=[3] * 7),
    setting("direct_bits", value=[]),
    setting("direct_bits", value=[10**30] * 8),
    setting("learning_rate", value=0),
    setting("networks", "decoder", value=[]),
    setting("networks", "decoder", value=None),
    setting("networks", "encoder.baseline", value=[]),
    setting(*WIDE, "stride", value=2),
    setting(*WIDE, "padding", value=0),
    setting(*WIDE, "transposed", value=True),
    setting(*WIDE, "relu", value=False),
    setting(*WIDE, "limit", value=0),
    setting(*WIDE, "limit", value=1 << 25),
    setting(*WIDE, "in_bits", value=11),
    setting(*DOUBLING, "stride", value=0),
    setting(*DOUBLING, "stride", value=-2),
    setting(*DOUBLING, "stride", value=1),
    setting(*DOUBLING, "stride", value=4),
    setting(*DOUBLING, "stride", value=10**30),
    setting(*DOUBLING, "stride", value=None),
    setting(*DOUBLING, "stride", value=[2]),
    setting(*DOUBLING, "padding", value=-1),
    setting(*DOUBLING, "padding", value=0),
    setting(*DOUBLING, "padding", value=3),
    setting(*DOUBLING, "padding", value=99),
    setting(*DOUBLING, "padding", value="same"),
    setting(*DOUBLING, "transposed", value=False),
    setting(*DOUBLING, "out_bits", value=[[12, 5]]),
    setting(*DOUBLING, "shape", value=[6, 6, 4]),
    setting(*HALVING, "stride", value=0),
    setting(*HALVING, "stride", value=1),
    setting(*HALVING, "padding", value=99),
    setting(*HALVING, "transposed", value=True),
    setting(*HALVING, "in_bits", value=6),
]


@one_test_of("change", RESNET_CHANGES)
def test_what_is_no_resnet(tmp_path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    save(RESNET, tmp_path)
    tensors, settings = contents(tmp_path)
    change(tensors, settings)
    write(tmp_path, tensors, settings)
    check_refused(tmp_path)
