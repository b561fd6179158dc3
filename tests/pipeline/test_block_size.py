"""A block size that a writer chooses: the same images come back, of every way in which images are cut into blocks."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from models_for_tests import models_in, sampled_strips, tiny_local, tiny_resnet
from PIL import Image

import bbcompress as bbc
from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader, Learning
from bbcompress.cli import main
from bbcompress.codecs import blocks, choose, learned, ways
from bbcompress.errors import BBCError, FormatError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.region import Decoded, Region
from bbcompress.models.checkpoint import save
from bbcompress.models.local import ExactLocalVAE
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options
from bbcompress.pipeline.reader import Reader

HEIGHT, WIDTH, SIDE = 66, 70, 64
WEIGHTS: dict[str, Any] = {"rgb": tiny_local(), "grey": tiny_local(channels=1), "residual": tiny_resnet()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of models for any size."""
    place = tmp_path_factory.mktemp("models")
    for name, weights in WEIGHTS.items():
        save(replace(weights, card={"name": name}), place / name)
    return place


@pytest.fixture(autouse=True)
def no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a model codes badly is coded by it all the same."""
    monkeypatch.setattr(ways.ByFallback, "may_win", lambda *_: False)
    monkeypatch.setattr(choose, "fallback_wins", lambda _, images, *__: [False] * len(images))


def drawn(name: str, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> PixelImage:
    pixels = sampled_strips(WEIGHTS[name], 1, height, width, seed=seed).canvas.images[0]
    return from_array(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])


def once_a_jpeg() -> PixelImage:
    file = io.BytesIO()
    Image.fromarray(drawn("rgb").pixels).save(file, "JPEG", quality=92)
    return from_array(np.array(Image.open(file).convert("RGB")))


def with_alpha(seed: int = 0) -> PixelImage:
    alpha = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 1)).astype(np.uint8)
    return from_array(np.concatenate([drawn("rgb", seed=seed).pixels, alpha], axis=2))


CASES: dict[str, tuple[str, Callable[[], list[PixelImage]], dict[str, Any]]] = {
    # model, images, options
    "colours": ("rgb", lambda: [drawn("rgb")], {"learn": False}),
    "colours, K steps": ("rgb", lambda: [drawn("rgb", seed=n) for n in range(2)], {"k": 1, "learn": False}),
    "grey": ("grey", lambda: [drawn("grey")], {"learn": False}),
    "residual": ("residual", lambda: [drawn("residual")], {"learn": False}),
    "residual, learning": ("residual", lambda: [drawn("residual", seed=n) for n in range(2)], {"learn": True}),
    "learning": ("rgb", lambda: [drawn("rgb")], {"learn": True}),
    "learning, grey": ("grey", lambda: [drawn("grey")], {"learn": True}),
    "learning, several sizes": (
        "rgb",
        lambda: [drawn("rgb"), drawn("rgb", 9, 12, 1), drawn("rgb", WIDTH, HEIGHT, 2)],
        {"learn": True},
    ),
    "learning, what was a JPEG": ("rgb", lambda: [once_a_jpeg()], {"learn": True}),
    "in parts": ("rgb", lambda: [with_alpha()], {"learn": False}),
    "in parts, learning": ("rgb", lambda: [with_alpha(), with_alpha(1)], {"learn": True}),
    "its model in the file": ("rgb", lambda: [drawn("rgb")], {"learn": True, "embed_model": True}),
}


def sides_in(described: dict[str, Any]) -> list[int | None]:
    """Of each group that a model codes, the block size that `bbc info` tells."""
    found: list[int | None] = []
    for group in described["groups"]:
        parts = [its for part in group.get("parts", ()) for its in part]
        found += sides_in({"groups": parts}) if parts else [group.get("block_size")]
    return found


def packed(images: list[PixelImage], model: Path, alone: bool, side: int | None, **options: Any) -> bytes:
    """A file of one image, or an archive."""
    compressor = Compressor(Options(model=model, block_size=side, **options))
    if alone:
        return compressor.lone(images[0])[0]
    file = io.BytesIO()
    compressor.archive([(None, image) for image in images], file)
    return file.getvalue()


def reader_of(data: bytes, model: Path) -> Reader:
    return Reader(io.BytesIO(data), models_in(model))


REGION = Region(WIDTH - 3, HEIGHT - 20, 3, 4)


COMBINATIONS = [
    (case, alone) for case in CASES for alone in (True, False) if (case, alone) != ("residual, learning", True)
]
"""Of all but a lone image of few strips, which is coded directly and has no batches to learn between."""


@pytest.mark.parametrize(("case", "alone"), COMBINATIONS)
def test_what_is_cut_comes_back(case: str, alone: bool, folder: Path) -> None:
    """All of it, and a region of it. `info` tells the side."""
    name, make, options = CASES[case]
    model, images = folder / name, make()
    images = images[:1] if alone else images
    whole, data = (packed(images, model, alone, side, **options) for side in (None, SIDE))
    assert set(sides_in(reader_of(whole, model).describe())) == {None}
    described = reader_of(data, model).describe()
    assert SIDE in sides_in(described)
    if case.startswith("learning, what was"):
        assert described["groups"][0]["learning"]["lattices"]
    assert ("learning" in str(described)) == bool(options["learn"])
    found = dict(reader_of(data, model).images())
    assert [found[position] for position in range(len(images))] == images
    decoded = {}
    for file in (whole, data):
        counted = Decoded()
        assert reader_of(file, model).read_region(0, REGION, decoded=counted) == images[0].region(REGION)
        decoded[file] = counted.decoded_pixels
    assert decoded[data] < decoded[whole]


@pytest.mark.parametrize("learn", [False, True])
def test_a_region_decodes_the_blocks_that_it_touches(learn: bool, folder: Path) -> None:
    """With learning the first block, too, which is smaller as well; and damage elsewhere does not matter."""
    image, model = drawn("rgb"), folder / "rgb"
    data = packed([image], model, True, SIDE, learn=learn)
    decoded = Decoded()
    assert reader_of(data, model).read_region(0, REGION, decoded=decoded) == image.region(REGION)
    # Two by two blocks of 40 x 40 pixels and less, of which the region touches the last.
    assert (decoded.touched, decoded.learned_from, decoded.parts) == (1, learn, 4)
    assert decoded.decoded_pixels == 26 * 30 + learn * 40 * 40
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1  # in the second block or the third
    reader = reader_of(bytes(damaged), model)
    assert reader.read_region(0, REGION) == image.region(REGION)
    with pytest.raises(FormatError):
        dict(reader.images())


def test_the_usual_side_is_not_said(folder: Path) -> None:
    """Nor is one that makes the same blocks: such files are what they are without a word."""
    for learn in (False, True):
        images, model = [drawn("rgb"), drawn("rgb", 9, 12, 1)], folder / "rgb"
        usual = packed(images, model, False, None, learn=learn)
        for side in (1024, 100, 72):
            assert packed(images, model, False, side, learn=learn) == usual


def test_small_images_are_in_one_message_up_to_the_side(folder: Path) -> None:
    """A larger image would be decoded with all others."""
    images = [drawn("rgb", 20, width, width) for width in (20, 64, 66)]
    for side, expected in ((None, {3}), (66, {3}), (64, {1, 2})):
        data = packed(images, folder / "rgb", False, side, learn=False)
        assert {group["images"] for group in reader_of(data, folder / "rgb").describe()["groups"]} == expected


# What says so


@pytest.mark.usefixtures("empty_folder", "tiny_models")
def test_commands_and_python_make_the_same_file() -> None:
    Image.fromarray(drawn("rgb").pixels).save("a.png")
    run("compress", "a.png", "--block-size", "64", "-m", "tiny-local")
    assert Path("a.bbc").read_bytes() == bbc.compress("a.png", model="tiny-local", block_size=64)
    assert ", block size 64" in run("info", "a.bbc").stdout
    assert json.loads(run("info", "a.bbc", "--json").stdout)["groups"][0]["block_size"] == 64
    run("compress", "a.png", "--block-size", "64", "-m", "tiny-local", "-o", "set", "--shard-size", "9999", "-q")
    assert ", block size 64" in run("info", "set").stdout


@pytest.mark.usefixtures("empty_folder")
def test_what_is_no_block_size() -> None:
    Image.fromarray(drawn("rgb").pixels).save("a.png")
    for side in ("63", "1025", "-1", "x", "64.5"):
        assert "--block-size" in run("compress", "a.png", "--block-size", side, status=2).stderr
    for value in (63, 1025, 0, True, 64.5, "64"):
        with pytest.raises(BBCError, match="block_size"):
            bbc.compress("a.png", block_size=value)  # type: ignore[arg-type]
    assert sorted(Path().iterdir()) == [Path("a.png")]


def run(*arguments: str, status: int = 0) -> Any:
    result = CliRunner().invoke(main, arguments, prog_name="bbc")
    assert result.exit_code == status, result.output
    return result


# Forged files


@pytest.mark.parametrize("learn", [False, True])
def test_more_blocks_than_bytes_are_refused_before_they_are_listed(
    learn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header of some bytes may say 2^20 blocks."""
    vae = ExactLocalVAE(WEIGHTS["rgb"], NumpyBackend())
    header = GroupHeader(model=vae.weights.id[:4], size=(1 << 24, 1), blocks=True, block_side=64)
    header = replace(header, learning=Learning(500, 128) if learn else None)
    monkeypatch.setattr(blocks, "blocks_of", None)
    monkeypatch.setattr(learned, "blocks_of", None)
    with pytest.raises(FormatError, match="has 262144 blocks, and ends before them"):
        if learn:
            learned.decode_learned(vae, Group(header, bytes(1 << 20)))
        else:
            blocks.decode_blocks(vae, vae.weights, Group(header, bytes(1 << 20)), 128)


@pytest.mark.parametrize("learn", [False, True])
def test_another_side_is_refused(learn: bool, folder: Path) -> None:
    """The check of each block covers it, also where the blocks would be the same."""
    data = packed([drawn("rgb")], folder / "rgb", False, SIDE, learn=learn)
    place = data.index(bytes([5, SIDE])) + 1
    for side in (65, 69, 70, 127):
        forged = bytearray(data)
        forged[place] = side
        with pytest.raises(FormatError):
            dict(reader_of(bytes(forged), folder / "rgb").images())
