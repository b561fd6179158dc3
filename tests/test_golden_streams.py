"""Files of the format's first version, which every later version reads; today's writer still makes their very bytes."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from models_for_tests import models_in

import bbcompress
from bbcompress.archive.group import Group
from bbcompress.archive.manifest import MANIFEST, Manifest, Unread
from bbcompress.images.image import PixelImage
from bbcompress.images.read import read_image
from bbcompress.models.zoo import Zoo
from bbcompress.pipeline.reader import Reader

GOLDEN = Path(__file__).resolve().parent / "golden"
STREAMS: dict[str, dict[str, Any]] = json.loads((GOLDEN / "streams" / "streams.json").read_text(encoding="utf-8"))
DATA = Path(__file__).resolve().parent / "data"
MAX_BYTES = 124_000


def script(name: str) -> ModuleType:
    """One of the scripts in tests/golden, which is no package."""
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """The script that made the streams."""
    return script("make_streams")


def stream(name: str) -> bytes:
    return (GOLDEN / "streams" / f"{name}.bbc").read_bytes()


def content(data: bytes) -> list[tuple[str | None, PixelImage]]:
    """Names and images by position."""
    reader = Reader(io.BytesIO(data), models_in())
    images = dict(reader.images())
    return [(name, images[position]) for position, name in enumerate(reader.names)]


def model_coded(data: bytes) -> list[Group]:
    """The groups whose bytes do not depend on the release of Pillow."""
    file = Reader(io.BytesIO(data), models_in()).file
    if not file.is_archive:
        return []
    groups = [file.read_group(number) for number in range(len(file.groups))]
    return [group for group in groups if not group.header.fallback]


def test_the_list_is_complete() -> None:
    assert {path.stem for path in (GOLDEN / "streams").glob("*.bbc")} == set(STREAMS)
    assert sum(len(stream(name)) for name in STREAMS) < MAX_BYTES


@pytest.mark.parametrize("name", STREAMS)
def test_the_very_pixels_come_out(name: str, maker: ModuleType) -> None:
    found = content(stream(name))
    assert len(found) == sum(STREAMS[name]["segments"] or [1])
    if STREAMS[name]["digits"]:
        kind, first, end = STREAMS[name]["digits"]
        digits = [read_image(DATA / "digits" / kind / f"{number:04}.png") for number in range(first, end)]
        assert [image for _, image in found] == digits
    assert maker.fingerprint(found) == STREAMS[name]["sha256"]


WRITTEN_OTHERWISE = {"local-mixed", "lone-constant", "resnet-k0-baseline", "resnet-several-sizes"}
"""Archives whose small images of several sizes now come into one group, or for each the fallback is taken, and an image
of one colour of which the fallback is the smaller file, headers included."""


@pytest.mark.parametrize("name", sorted(set(STREAMS) - WRITTEN_OTHERWISE))
def test_the_very_bytes_are_written(name: str, maker: ModuleType) -> None:
    data = stream(name)
    left = iter(content(data))
    segments = [[next(left) for _ in range(count)] for count in STREAMS[name]["segments"] or [1]]
    again = maker.write(segments, not STREAMS[name]["segments"], STREAMS[name]["options"])
    assert model_coded(again) == model_coded(data)
    coders = {group["model"] for group in Reader(io.BytesIO(data), models_in()).describe()["groups"]}
    if "fallback" not in coders:
        assert again == data


def test_the_streams_use_all_of_the_format() -> None:
    headers = [group.header for name in STREAMS for group in model_coded(stream(name))]
    assert {(header.encoder, header.k > 0) for header in headers} == {
        ("rha", False),
        ("rha", True),
        ("baseline", False),
        ("baseline", True),
    }
    assert any(header.learning_rate for header in headers)
    assert any(header.lanes > 1 for header in headers)
    assert any(header.has_metadata for header in headers)
    assert any(len(header.batches) > 3 for header in headers)
    assert {None if header.kind is None else header.kind[0] for header in headers} == {None, "1", "L"}
    blocks = [header for header in headers if header.blocks]
    assert {header.size for header in blocks} >= {(30, 20), (1030, 2)}
    assert {header.k > 0 for header in blocks} == {False, True}
    assert any(header.count > 1 for header in blocks)
    assert {(header.block_side, header.learning is not None) for header in headers if header.block_side} == {
        (100, True)
    }
    assert any(header.learning and not header.learning.batches for header in headers)
    between = [header for header in headers if header.learning and header.learning.batches]
    assert {(header.encoder, header.k) for header in between} == {("rha", 0), ("rha", 1), ("baseline", 2)}
    models = {id_prefix: Zoo(DATA / "models").named(id_prefix)[0].name for id_prefix in {h.model for h in headers}}
    assert set(models.values()) == {"tiny-binary", "tiny-grey", "tiny-local", "tiny-resnet"}
    assert {models[header.model] for header in between} == {"tiny-binary", "tiny-grey", "tiny-resnet"}
    residual = [header for header in blocks if models[header.model] == "tiny-resnet"]
    assert {(header.encoder, header.k > 0) for header in residual} == {
        ("rha", False),
        ("rha", True),
        ("baseline", False),
        ("baseline", True),
    }
    assert {header.size for header in residual if header.count > 1} == {(21, 13), None}
    assert {models[header.model] for header in blocks if header.is_mixed} == {"tiny-local", "tiny-resnet"}
    items = [item for stem in STREAMS for item in content(stream(stem))]
    assert {record.kind for _, image in items for record in image.metadata} == {*range(1, 10), 11}
    assert {image.mode for _, image in items} > {"P", "RGBA", "I;16", "LA;16", "RGB;16"}
    files = [Reader(io.BytesIO(stream(stem)), models_in()).file for stem in STREAMS]
    assert {file.is_archive for file in files if file.models} == {True, False}
    names = {name for name, _ in items}
    assert None in names
    assert any(name and not name.isascii() for name in names)


def test_the_script_makes_what_it_says(maker: ModuleType) -> None:
    assert set(maker.LONE) | set(maker.ARCHIVES) == set(STREAMS)
    for name, (options, segments) in maker.ARCHIVES.items():
        items = [item for segment in segments for item in segment]
        assert STREAMS[name]["options"] == options
        assert STREAMS[name]["sha256"] == maker.fingerprint(items)
    for name, item in maker.LONE.items():
        assert STREAMS[name]["sha256"] == maker.fingerprint([item])


def test_the_sharded_archive_is_read_and_written_as_ever(tmp_path: Path, no_models: None) -> None:
    """Its images come out by the models in its shards alone, and the writer makes its shards and its manifest again."""
    maker, there = script("make_sharded"), GOLDEN / "sharded"
    shutil.copytree(there, tmp_path / "read")
    with bbcompress.open(tmp_path / "read") as archive:
        found = list(archive.images())
    assert found == [(name, read_image(maker.IMAGE)) for name in maker.NAMES]
    manifest = Manifest.decode((there / MANIFEST).read_bytes())
    assert [shard.images for shard in manifest.shards] == [1, 2]
    assert list(manifest.unread) == [Unread(*maker.UNREAD)]
    assert all(shard.carried == shard.models == tuple(manifest.models) for shard in manifest.shards)

    maker.write(tmp_path / "sharded")
    again = Manifest.decode((tmp_path / "sharded" / MANIFEST).read_bytes())
    assert replace(again, settings=manifest.settings).encode() == (there / MANIFEST).read_bytes()
    assert {**again.settings, **manifest.settings, "bbc": bbcompress.__version__} == again.settings
    for shard in manifest.shards:
        assert (tmp_path / "sharded" / shard.file).read_bytes() == (there / shard.file).read_bytes()
