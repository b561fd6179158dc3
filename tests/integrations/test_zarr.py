"""The codec of zarr 3: layouts, partial chunks, shards, metadata, models that are missing, damage, threads."""

from __future__ import annotations

import itertools
import json
import pickle
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays_for_tests import digits, microscopy
from cases_for_tests import one_test_of
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from models_for_tests import MODELS, sampled_strips
from PIL import Image

import bbcompress as bbc
from bbcompress.integrations import chunks
from bbcompress.integrations.chunks import Layout
from bbcompress.models.checkpoint import load
from bbcompress.models.registry import model_of
from bbcompress.models.zoo import Zoo
from bbcompress.pipeline.reader import Reader

zarr = pytest.importorskip("zarr", minversion="3.1")

from bbcompress.integrations.zarr import BBCCodec  # noqa: E402

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")

STACK = digits(3)


@pytest.fixture(autouse=True)
def models_are_looked_for() -> Iterator[None]:
    """No test sees the models of another."""
    chunks._models_of.cache_clear()
    yield
    chunks._models_of.cache_clear()


def written(array: np.ndarray[Any, Any], chunk_shape: tuple[int, ...], path: str = "a", **options: Any) -> Any:
    """An array of zarr with these values, opened anew."""
    given = {name: options.pop(name) for name in ("shards", "filters", "fill_value") if name in options}
    made = zarr.create_array(
        path, shape=array.shape, chunks=chunk_shape, dtype=array.dtype, serializer=BBCCodec(**options),
        compressors=None, **given,
    )  # fmt: skip
    made[...] = array
    return zarr.open_array(path, mode="r+")


def chunk_files(path: str = "a") -> list[Path]:
    return sorted(file for file in (Path(path) / "c").rglob("*") if file.is_file())


def test_zarr_finds_the_codec() -> None:
    assert zarr.registry.get_codec_class("bbc") is BBCCodec
    made = zarr.create_array(
        "a", shape=(9, 8), chunks=(9, 8), dtype="u1", compressors=None,
        serializer={"name": "bbc", "configuration": {"effort": 2}},
    )  # fmt: skip
    assert made.metadata.codecs == (BBCCodec(effort=2),)


@pytest.mark.parametrize(
    ("shape", "chunk_shape", "dtype"),
    [
        ((20, 30), (16, 16), "u1"),
        ((20, 30), (16, 16), "u2"),
        ((20, 30, 3), (16, 30, 3), "u1"),
        ((20, 30, 3), (16, 30, 1), "u2"),
        ((20, 30, 4), (16, 16, 4), "u1"),
        ((3, 20, 30), (3, 16, 16), "u1"),
        ((4, 20, 30), (2, 16, 30), "u2"),
        ((3, 20, 30), (1, 20, 30), "u1"),
        ((2, 2, 3, 20, 30), (1, 1, 3, 20, 30), "u2"),
        ((2, 2, 1, 20, 30), (1, 1, 1, 16, 20), "u1"),
        ((2, 20, 30, 3), (1, 20, 30, 3), "u1"),
    ],
)
def test_every_layout_comes_back(shape: tuple[int, ...], chunk_shape: tuple[int, ...], dtype: str) -> None:
    """Also where chunks at the edges are not full, and where parts of chunks are read and written."""
    array = (np.arange(np.prod(shape)).reshape(shape) * 7 % 251).astype(dtype)
    back = written(array, chunk_shape, effort=1)
    assert np.array_equal(back[...], array)
    part = tuple(slice(length // 3, length // 3 + 5) for length in shape)
    array[part] = 9
    back[part] = 9
    assert np.array_equal(back[part], array[part]) and np.array_equal(back[...], array)
    assert np.array_equal(back.oindex[..., [2, 0]], array[..., [2, 0]])


def test_a_chunk_is_a_file_of_bbc() -> None:
    written(STACK, (1, 28, 28))
    coders: list[str | None] = []
    for file, digit in zip(chunk_files(), STACK, strict=True):
        assert np.array_equal(bbc.decompress(file.read_bytes()), digit)
        with file.open("rb") as opened:
            coders += [entry.coder for entry in Reader(opened).entries()]
    assert coders == ["tiny-grey", "fallback WebP", "tiny-grey"]


def test_the_metadata_name_the_models() -> None:
    back = written(STACK, (1, 28, 28), model="tiny-grey", effort=4, k=1, learn=False)
    identity = json.loads((MODELS / "tiny-grey" / "card.json").read_text())["id"]
    (codec,) = json.loads(Path("a/zarr.json").read_text())["codecs"]
    named = [{"name": "tiny-grey", "id": identity}]
    expected = {"effort": 4, "model": "tiny-grey", "k": 1, "learn": False, "models": named}
    assert codec == {"name": "bbc", "configuration": expected}
    assert back.metadata.codecs == (BBCCodec(effort=4, model="tiny-grey", k=1, learn=False),)
    default = {model.name for model in BBCCodec().coder.models}
    assert default == {entry.name for entry in Zoo().entries if entry.is_default}
    assert written(microscopy(1, 9, 9), (1, 9, 9), "b").metadata.codecs[0].coder.models == ()  # no model codes 16 bits


def test_microscopy_is_read_by_dask_and_from_shards() -> None:
    stack = microscopy(4, 40, 50)
    back = written(stack, (1, 20, 25), shards=(2, 40, 50))
    assert np.array_equal(back[1:3, 5:30, 7], stack[1:3, 5:30, 7]) and np.array_equal(back[...], stack)
    size = sum(file.stat().st_size for file in chunk_files())
    assert len(chunk_files()) == 2 and size < 0.62 * stack.nbytes
    array = pytest.importorskip("dask.array")
    lazy = array.from_zarr(back)
    assert lazy.chunksize in ((1, 20, 25), (2, 40, 50))
    assert np.array_equal(lazy.max(axis=0).compute(scheduler="threads"), stack.max(axis=0))
    array.to_zarr(array.from_array(stack, chunks=(1, 40, 50)), zarr.create_array(
        "b", shape=stack.shape, chunks=(1, 40, 50), dtype=stack.dtype, serializer=BBCCodec(), compressors=None
    ))  # fmt: skip
    assert np.array_equal(zarr.open_array("b", mode="r")[...], stack)


def test_of_a_part_of_a_chunk_no_more_blocks_are_decoded_than_it_takes() -> None:
    """So damage in another block is not seen."""
    pixels = sampled_strips(load(MODELS / "tiny-local"), 1, 70, 66).canvas.images[0].astype(np.uint8)
    back = written(pixels, pixels.shape, model="tiny-local", learn=False, block_size=64)
    assert json.loads(Path("a/zarr.json").read_text())["codecs"][0]["configuration"]["block_size"] == 64
    (file,) = chunk_files()
    data = bytearray(file.read_bytes())
    data[-20] ^= 1  # in the last of 2 x 2 blocks of 40 x 40 pixels and less
    file.write_bytes(data)
    assert np.array_equal(back[3:30:2, 8:40], pixels[3:30:2, 8:40])
    assert np.array_equal(back[69, :40, 1], pixels[69, :40, 1])
    assert np.array_equal(back.oindex[[60, 41], 3:39], pixels[[60, 41], 3:39])
    assert np.array_equal(back.vindex[[60, 2], [39, 2], [0, 2]], pixels[[60, 2], [39, 2], [0, 2]])
    for selection in (np.s_[41, 40], np.s_[...], np.s_[20:50, 20:50]):
        with pytest.raises(bbc.FormatError, match="damaged"):
            back[selection]


INDICES: tuple[Any, ...] = (0, 5, slice(0, 6), slice(1, 5, 3), np.array([4, 1, 1]), np.array([2]))


@one_test_of(
    ("shape", "first"),
    [((6, 7), False), ((6, 7, 3), False), ((3, 6, 7), True), ((1, 6, 7), True), ((1, 1, 6, 7, 2), False)],
)
def test_parts_of_chunks(shape: tuple[int, ...], first: bool) -> None:
    """The selection of the least rectangle is that of the chunk."""
    layout = Layout.of(shape, first)
    chunk = np.arange(np.prod(shape)).reshape(shape)
    rows = len(shape) - (2 if first or len(shape) == 2 else 3)
    for of_rows, of_columns in itertools.product(INDICES, INDICES):
        selection: list[Any] = [slice(None)] * len(shape)
        selection[rows : rows + 2] = of_rows, of_columns
        if all(np.size(index) > 1 and not isinstance(index, slice) for index in (of_rows, of_columns)):
            selection[rows] = np.reshape(of_rows, (-1, 1))
        part = layout.part(tuple(selection), shape)
        assert part is not None
        region = [slice(None)] * rows
        region += [slice(part.region.top, part.region.top + part.region.height)]
        region += [slice(part.region.left, part.region.left + part.region.width)]
        small = chunk[tuple(region)]
        assert small.shape == part.shape
        try:
            expected = chunk[tuple(selection)]
        except IndexError:  # of lengths that numpy does not join
            continue
        assert np.array_equal(small[part.selection], expected)
    others: list[Any] = [
        -1,
        slice(2, 2),
        slice(5, 1, -1),
        np.zeros(6, bool),
        np.zeros(0, int),
        np.array([-1]),
        7,
        None,
        0.5,
        ...,
    ]
    for other in others:
        selection = [slice(None)] * len(shape)
        selection[rows] = other
        assert layout.part(tuple(selection), shape) is None
    for none in (None, slice(None), (), (slice(None),) * (len(shape) - 1)):
        assert layout.part(none, shape) is None


@pytest.mark.parametrize(
    "damage", [lambda: bbc.compress(np.zeros((29, 28), np.uint8), max_pixels=9999), lambda: bbc.compress(STACK[0, :14])]
)
def test_a_chunk_of_another_size_is_no_chunk_for_a_part_of_it_either(damage: Any) -> None:
    back = written(STACK, (1, 28, 28))
    Path("a/c/0/0/0").write_bytes(damage())
    with pytest.raises(bbc.FormatError, match=r"chunk .*a/c/0/0/0: "):
        back[0, :2, :2]


def test_chunks_that_were_never_written_have_the_fill_value() -> None:
    back = written(np.full((20, 20), 7, np.uint8), (10, 10), fill_value=7)
    assert chunk_files() == []
    back[:3, :3] = 1
    assert len(chunk_files()) == 1 and back[2, 2] == 1 and back[9, 9] == back[19, 19] == 7


def test_groups_with_consolidated_metadata_and_filters() -> None:
    group = zarr.create_group("g")
    stack = microscopy(2, 12, 15)
    made = group.create_array(
        "transposed", shape=(12, 15, 2), chunks=(12, 15, 1), dtype="u2", serializer=BBCCodec(), compressors=None,
        filters=[zarr.codecs.TransposeCodec(order=(2, 0, 1))],
    )  # fmt: skip
    made[...] = stack.transpose(1, 2, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the specification of zarr 3 does not have it yet
        zarr.consolidate_metadata("g")
    opened = zarr.open_consolidated("g")
    assert opened["transposed"].metadata.codecs[-1] == made.metadata.codecs[-1]
    assert np.array_equal(opened["transposed"][...], stack.transpose(1, 2, 0))


def test_values_of_the_other_byte_order_are_written_as_what_they_mean() -> None:
    stack = microscopy(1, 9, 14)
    back = written(np.zeros_like(stack), (1, 9, 14))
    back[...] = stack.astype(">u2")
    assert np.array_equal(zarr.open_array("a", mode="r")[...], stack)


@pytest.mark.parametrize(
    ("shape", "chunk_shape", "dtype", "options", "line"),
    [
        ((9, 9), (9, 9), "i2", {}, "the codec bbc takes uint8 and uint16 in the byte order of this machine, not int16"),
        ((9, 9), (9, 9), "f4", {}, "not float32"),
        ((9, 9), (9, 9), "bool", {}, "not bool"),
        ((9, 9), (9, 9), ">u2", {}, "in the byte order of this machine, not >u2"),
        ((9,), (9,), "u1", {}, r"takes chunks \(y, x\), .* not \(9,\)"),
        ((9, 9, 9), (9, 9, 9), "u1", {}, r"with c from 1 to 4, not \(9, 9, 9\)"),
        ((2, 3, 9, 9), (2, 3, 9, 9), "u1", {}, r"not \(2, 3, 9, 9\)"),
        ((1 << 25, 2), (1 << 25, 2), "u1", {}, "33554432x2 pixels is too large"),
        ((9, 9), (9, 9), "u1", {"model": "tiny-local"}, "tiny-local codes no chunks of 9x9 pixels of 1 sample"),
        ((9, 9), (9, 9), "u2", {"model": "tiny-local"}, "tiny-local does not code uint16"),
        ((9, 9), (9, 9), "u1", {"model": "absent"}, "there is no model absent; installed: "),
        ((9, 9), (9, 9), "u1", {"effort": 10}, "effort must be a whole number from 1 to 9, not 10"),
        ((9, 9), (9, 9), "u1", {"k": 101}, "k must be a whole number from 0 to 100, not 101"),
        ((9, 9), (9, 9), "u1", {"learn": 1}, "learn must be True or False, not 1"),
        ((9, 9), (9, 9), "u1", {"models": [{"name": "x", "id": "12"}]}, "cannot take a model of name 'x' and id '12'"),
        ((9, 9), (9, 9), "u1", {"level": 3}, "there is no option 'level'; there are effort, model, k, learn, models"),
    ],
)
def test_what_is_refused_when_an_array_is_made(
    shape: tuple[int, ...], chunk_shape: tuple[int, ...], dtype: str, options: dict[str, Any], line: str
) -> None:
    with pytest.raises(bbc.BBCError, match=line) as caught:
        zarr.create_array(
            "a", shape=shape, chunks=chunk_shape, dtype=dtype, serializer=BBCCodec(**options), compressors=None
        )
    assert "\n" not in str(caught.value)
    assert not [path for path in Path().rglob("*") if path.is_file()]


def test_chunks_of_a_shard_are_refused() -> None:
    """When the first one is written; since zarr 3.2 when the array is made."""
    with pytest.raises(bbc.ImageError, match=r"not \(9, 9, 9\)"):
        zarr.create_array(
            "a",
            shape=(9, 9, 9),
            chunks=(9, 9, 9),
            shards=(9, 9, 9),
            dtype="u1",
            serializer=BBCCodec(),
            compressors=None,
        )[...] = 5
    assert not (Path("a") / "c").exists()


def test_an_array_is_read_in_another_process_unless_its_model_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(MODELS / "tiny-grey", "models/mine")
    card = json.loads(Path("models/mine/card.json").read_text())
    Path("models/mine/card.json").write_text(json.dumps({**card, "name": "mine", "default": False}))
    written(STACK, (1, 28, 28), model="models/mine")
    program = "import zarr; print(int(zarr.open_array('a', mode='r')[...].sum()))"
    monkeypatch.setenv("BBC_MODELS", "models")
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout == f"{STACK.sum()}\n", found.stderr
    monkeypatch.setenv("BBC_MODELS", str(MODELS / "tiny-binary"))
    chunks._models_of.cache_clear()
    line = f"the model mine with id {card['id'][:8]}..., which is not installed: bbc models add installs it"
    opened = zarr.open_array("a", mode="r+")  # its metadata are read without it
    with pytest.raises(bbc.MissingModelError, match=re.escape(line)) as caught:
        opened[0]
    assert "a/c/0/0/0: " in str(caught.value)
    with pytest.raises(bbc.MissingModelError, match=re.escape(line)):
        opened[1] = STACK[0]
    monkeypatch.setenv("BBC_MODELS", "models")  # as when it is installed meanwhile
    assert np.array_equal(opened[...], STACK)


def test_no_other_model_than_those_of_the_metadata_is_used() -> None:
    written(STACK, (1, 28, 28))
    place = Path("a/zarr.json")
    metadata = json.loads(place.read_text())
    models = metadata["codecs"][0]["configuration"]["models"]
    metadata["codecs"][0]["configuration"]["models"] = [one for one in models if one["name"] != "tiny-grey"]
    place.write_text(json.dumps(metadata))
    with pytest.raises(bbc.FormatError, match="that the metadata of its array do not name"):
        zarr.open_array("a", mode="r")[0]


def test_a_model_that_a_chunk_carries_is_not_used() -> None:
    written(STACK, (1, 28, 28))
    chunk_files()[0].write_bytes(bbc.compress(STACK[0], model=MODELS / "tiny-grey", embed_model=True))
    assert np.array_equal(zarr.open_array("a", mode="r")[0], STACK[0])  # it is the one that is named, and installed


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda data: data[:-6] + b"######", "damaged"),
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: data[:3] + bytes([data[3] ^ 255]) + data[4:], "that the metadata of its array do not name"),
        (lambda data: data + b"\0\0\0\0", "4 bytes are left over behind"),
        (lambda data: b"", "not a .bbc file"),
        (lambda data: bbc.compress(STACK[0, :14]), "an image of 28x14 pixels of mode L, not a chunk"),
        (lambda data: bbc.compress(np.zeros((29, 28), np.uint8)), "above the limit of 784 pixels"),
        (lambda data: bbc.compress(np.dstack([STACK[0]] * 3)), "of mode RGB, not a chunk"),
        (lambda data: bbc.compress(STACK[0].astype(np.uint16)), "of mode I;16, not a chunk"),
        (lambda data: bbc.compress(STACK[0] > 9), "an image of mode 1"),
        (lambda data: _kept(), "keeps a file of another format"),
        (lambda data: _archive(), "an archive, not a lone image"),
    ],
)
def test_an_error_names_the_chunk_that_is_damaged(damage: Any, line: str) -> None:
    back = written(STACK, (1, 28, 28))
    file = Path("a/c/0/0/0")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(bbc.FormatError, match=line) as caught:
        back[...]
    assert re.match(r"chunk .*a/c/0/0/0: ", str(caught.value)) and "\n" not in str(caught.value)
    assert np.array_equal(back[1:], STACK[1:])
    with pytest.raises(bbc.FormatError, match=r"a chunk \(1, 28, 28\): "):  # zarr does not say which, where it writes
        back[0, :3] = 0


def _kept() -> bytes:
    """A file of bbc that keeps a JPEG as it is."""
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (28, 28)).astype(np.uint8)).save("x.jpg", quality=10)
    return bbc.compress("x.jpg")


def _archive() -> bytes:
    bbc.write("set.bbc", {"a.png": STACK[0]})
    return Path("set.bbc").read_bytes()


def test_a_chunk_of_a_shard_is_named_by_its_place() -> None:
    back = written(STACK, (1, 28, 28), shards=(3, 28, 28))
    (file,) = chunk_files()
    data = bytearray(file.read_bytes())
    data[4] ^= 255
    file.write_bytes(data)
    with pytest.raises(bbc.FormatError, match=r"chunk \(0, 0, 0\) of a shard: "):
        back[...]


def test_threads_load_a_model_once_and_write_what_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def counted(weights: Any, backend: Any) -> Any:
        loaded.append(weights.id)
        return real(weights, backend)

    real = model_of
    monkeypatch.setattr("bbcompress.models.cache.model_of", counted)
    stack = digits(12)
    with zarr.config.set({"async.concurrency": 8, "codec_pipeline.batch_size": 3}):
        back = written(stack, (1, 28, 28))
        assert np.array_equal(back[...], stack)
    assert len(loaded) == len(set(loaded)) >= 1
    by_threads = [file.read_bytes() for file in chunk_files()]
    with zarr.config.set({"async.concurrency": 1}):
        written(stack, (1, 28, 28), "b")
    assert [file.read_bytes() for file in chunk_files("b")] == by_threads


def test_the_codec_travels_to_other_processes() -> None:
    codec = BBCCodec(effort=3, model="tiny-grey")
    assert pickle.loads(pickle.dumps(codec)) == codec
    assert BBCCodec.from_dict(codec.to_dict()) == codec != BBCCodec(effort=3)
    assert eval(repr(codec)) == codec
    assert hash(codec) == hash(BBCCodec(effort=3, model="tiny-grey"))
    with pytest.raises(bbc.BBCError, match="no configuration of the codec bbc"):
        BBCCodec.from_dict({"name": "zstd", "configuration": {}})


def test_without_zarr_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("zarr", "zarr.abc", "zarr.abc.codec"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "bbcompress.integrations.zarr")
    with pytest.raises(ModuleNotFoundError, match=re.escape("pip install 'bbcompress[zarr]'")):
        import bbcompress.integrations.zarr  # noqa: F401
