"""The codec of numcodecs: its contract, orders in memory, arrays of zarr's format 2."""

from __future__ import annotations

import json
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays_for_tests import digits, microscopy
from cases_for_tests import one_test_of
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from models_for_tests import MODELS

import bbcompress as bbc

numcodecs = pytest.importorskip("numcodecs")

from bbcompress.integrations.numcodecs import BBC  # noqa: E402

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")

DIGIT = digits(1)[0]
COLOURS = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


def test_it_is_found_and_configured() -> None:
    codec = numcodecs.get_codec({"id": "bbc", "effort": 3, "model": "tiny-grey", "k": 2, "learn": False})
    assert codec == BBC(3, "tiny-grey", 2, False) != BBC(3, "tiny-grey", 1, False)
    config = json.loads(json.dumps(codec.get_config()))
    identity = json.loads((MODELS / "tiny-grey" / "card.json").read_text())["id"]
    assert config["id"] == "bbc" and config["models"] == [{"name": "tiny-grey", "id": identity}]
    assert numcodecs.get_codec(config) == codec == pickle.loads(pickle.dumps(codec))
    assert eval(repr(codec)) == codec and "model='tiny-grey'" in repr(codec)
    with pytest.raises(bbc.CallError, match="there is no option 'level'; there are effort, model, k, learn"):
        numcodecs.get_codec({"id": "bbc", "level": 3})


@one_test_of(
    ("chunk", "samples_first"),
    [
        (DIGIT, False),
        (DIGIT[None], False),
        (microscopy(1, 9, 8), False),
        (COLOURS, False),
        (np.dstack([COLOURS, COLOURS[:, :, :1]]), False),
        (np.asfortranarray(DIGIT), False),
        (np.asfortranarray(COLOURS), True),
        (COLOURS.transpose(2, 0, 1).copy(), True),
        (COLOURS.transpose(2, 0, 1).copy().astype(np.uint16)[None, None] * 99, True),
        (DIGIT, True),
        (DIGIT.tobytes() and memoryview(DIGIT), False),
    ],
)
def test_what_comes_back_is_what_was_in_memory(chunk: Any, samples_first: bool) -> None:
    codec, memory = BBC(effort=1, samples_first=samples_first), np.asarray(chunk).tobytes(order="A")
    data = codec.encode(chunk)
    assert isinstance(data, bytes) and data[:2] == b"\xbb\xc1"
    for given in (data, bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        back = codec.decode(given)
        assert back.dtype == np.asarray(chunk).dtype and back.tobytes() == memory
    out: Any
    for out in (np.empty_like(np.asarray(chunk)), bytearray(len(memory)), np.zeros(len(memory), np.uint8)):
        assert np.shares_memory(codec.decode(data, out=out), np.asarray(out))
        assert np.asarray(out).tobytes(order="A") == memory
    with pytest.raises(bbc.BBCError, match=f"of {len(memory)} bytes does not fit into an output of 3"):
        codec.decode(data, out=bytearray(3))


@one_test_of(
    ("chunk", "options", "line"),
    [
        (b"1234", {}, r"takes chunks \(y, x\), .* not \(4,\)"),
        (np.zeros((9, 9, 9), np.uint8), {}, r"not \(9, 9, 9\)"),
        (np.zeros((9, 9), np.int8), {}, "not int8"),
        (np.zeros((9, 9), ">u2"), {}, "in the byte order of this machine, not >u2"),
        (np.zeros((9, 9), object), {}, "not object"),
        (np.zeros((9, 18), np.uint8)[:, ::2], {}, "contiguous in memory"),
        (np.zeros((3, 9, 9), np.uint8), {}, "are the first axis in memory: .* with samples_first=True"),
        (np.zeros((9, 9, 3), np.uint8, order="F"), {}, "are the first axis in memory: .* with samples_first=True"),
        (np.zeros((9, 9, 3), np.uint8), {"samples_first": True}, "are the last axis .* with samples_first=False"),
        (np.zeros((9, 9), np.uint8), {"model": "tiny-local"}, "codes no chunks of 9x9 pixels of 1 sample"),
        (np.zeros((9, 9), np.uint16), {"model": "tiny-local"}, "does not code uint16"),
    ],
)
def test_what_is_refused(chunk: Any, options: dict[str, Any], line: str) -> None:
    with pytest.raises(bbc.ImageError, match=line):
        BBC(**options).encode(chunk)


def test_what_is_damaged_is_an_error() -> None:
    data = bytearray(BBC().encode(DIGIT))
    data[-1] ^= 1
    with pytest.raises(bbc.FormatError, match=f"a chunk of {len(data)} bytes: .*damaged"):
        BBC().decode(data)
    with pytest.raises(bbc.FormatError, match="a chunk of 3 bytes: "):
        BBC().decode(b"abc")


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_format_2(order: Any) -> None:
    zarr = pytest.importorskip("zarr", minversion="3.1")
    stack = microscopy(3, 20, 30)
    for samples_first, shape, values in ((False, (1, 16, 16), stack), (order == "F", (16, 16, 3), stack.T)):
        codec = BBC(effort=4, samples_first=samples_first)
        made = zarr.create_array(
            "a", shape=values.shape, chunks=shape, dtype="u2", zarr_format=2, compressors=codec, filters=None,
            order=order, overwrite=True,
        )  # fmt: skip
        made[...] = values
        back = zarr.open_array("a", mode="r+")
        assert back.metadata.compressor == codec
        assert json.loads(Path("a/.zarray").read_text())["compressor"] == codec.get_config()
        assert np.array_equal(back[...], values)
        back[1:3, 4:9] = 77
        assert (back[1:3, 4:9] == 77).all() and np.array_equal(back[3:], values[3:])
    refused = zarr.create_array("b", shape=(9,), chunks=(9,), dtype="u1", zarr_format=2, compressors=BBC())
    with pytest.raises(bbc.ImageError, match=r"not \(9,\)"):
        refused[...] = 1


def test_without_numcodecs_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("numcodecs", "numcodecs.abc"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "bbcompress.integrations.numcodecs")
    with pytest.raises(ModuleNotFoundError, match=re.escape("pip install 'bbcompress[zarr]'")):
        import bbcompress.integrations.numcodecs  # noqa: F401
