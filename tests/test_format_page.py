"""docs/format.md against the package, by `format_reader`, a reader that was written from the page alone.

It reads every golden stream, and new ones with settings that the golden streams do not have. Its arithmetic is compared
with the package's where a stream would hardly show a difference. Last, a reader that takes one rule of the page
otherwise fails: so each of these rules is needed, and tested.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import io
import json
import re
import shutil
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from format_reader import coder, distributions, fallback, networks, png, refinement, tables
from format_reader.checkpoint import read_checkpoint
from format_reader.primitives import FormatError
from format_reader.reader import FormatReader
from format_reader.reader import Image as ReadImage
from format_reader.sharded import read_manifest
from models_for_tests import models_in, tiny_local, tiny_resnet, tiny_vae
from starts_for_tests import beginning

from bbcompress.archive.container import ArchiveWriter
from bbcompress.archive.embedded import EmbeddedModel, encode_block
from bbcompress.archive.manifest import Manifest, Shard, Unread
from bbcompress.codecs import blocks as package_blocks
from bbcompress.codecs import groups as package_groups
from bbcompress.codecs.fallback import codecs as package_fallback
from bbcompress.codecs.fallback import deep as package_deep
from bbcompress.codecs.fallback import items as package_items
from bbcompress.codecs.groups import encode_fallback, encode_images
from bbcompress.codecs.refinement import noise, posterior_of, refinements
from bbcompress.codecs.settings import CodingSettings
from bbcompress.coder.ans import Message
from bbcompress.errors import BBCError, ModelError
from bbcompress.exact import mixture_kernels
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import (
    EqualMassBins,
    ExactBernoulli,
    ExactChannelLogistic,
    ExactDiscretisedLogistic,
    NormalPosterior,
)
from bbcompress.exact.layers import EXACT_LIMIT as EXACT
from bbcompress.exact.layers import ExactLinear, LinearWeights
from bbcompress.exact.mixture import LogisticMixture
from bbcompress.images.image import PixelImage, from_array, samples_of
from bbcompress.images.kinds import kinds_of
from bbcompress.images.metadata import TEXT, Record
from bbcompress.images.read import read_image
from bbcompress.models.base import ModelWeights
from bbcompress.models.checkpoint import load, save
from bbcompress.models.registry import model_of
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options
from bbcompress.pipeline.reader import Reader
from bbcompress.wire import pack, varint

TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / "docs" / "format.md").read_text(encoding="utf-8")
STREAMS = TESTS / "golden" / "streams"
DATA = TESTS / "data"
SHIPPED = TESTS.parent / "models"
READER = TESTS / "support" / "format_reader"

NOT_READ: dict[str, str] = {}
"""Golden streams that the reader does not read, each with the reason."""

TINY = ("tiny-binary", "tiny-grey", "tiny-local", "tiny-resnet")


def strong(weights: Any, *numbers: int, network: str = "decoder", factor: int = 1) -> Any:
    """A model whose gradients reach their clamps: with larger weights in some layers of a network."""
    layers = list(getattr(weights, network))
    for number in numbers:
        layers[number] = replace(layers[number], weight=layers[number].weight * factor)
    return replace(weights, **{network: tuple(layers)})


def strong_local() -> Any:
    weights = tiny_local(1, tile=16, cell=16, stride=1)
    weights = replace(weights, heads=replace(weights.heads, weight=weights.heads.weight * 1024))
    weights = strong(weights, 1, network="trunk", factor=1024)
    of_features = weights.trunk[0].weight[:, -weights.features :]
    of_features[:] = np.sign(of_features) * 3  # or the clamp behind them would hide that of the sums
    return weights


RANDOM: dict[str, Callable[[], ModelWeights]] = {
    # Models of kinds that no golden stream has.
    "strong local": strong_local,
    "strong residual": lambda: strong(tiny_resnet(), 1, 2, 3, 4, 5, factor=8),
    "bits": lambda: tiny_local(1, binary=True),
    "centred bits": lambda: tiny_local(1, binary=True, centred=True),
    "levels, not centred": lambda: tiny_local(1, centred=False, tile=12),
    "fields": lambda: tiny_local(3, image=(8, 8), pool=2, cell=2),
}


@cache
def folder_of(model: str) -> Path:
    """The checkpoint of a test model, a shipped one or a random one."""
    if model in RANDOM:
        folder = Path(_folders.name) / model
        save(RANDOM[model](), folder)
        return folder
    return (DATA / "models" if model in TINY else SHIPPED) / model


_folders = tempfile.TemporaryDirectory()


@cache
def reader_of(*models: str) -> FormatReader:
    return FormatReader(map(folder_of, models))


def digits(kind: str, numbers: Sequence[int]) -> list[PixelImage]:
    return [read_image(DATA / "digits" / kind / f"{number:04}.png") for number in numbers]


def same(found: ReadImage, name: str | None, time: int | None, image: PixelImage) -> bool:
    """Whether the reader found that image, all of it."""
    picture = found.picture
    return (
        (found.name, found.time, found.metadata) == (name, time, [tuple(record) for record in image.metadata])
        and (picture.mode, picture.palette, picture.transparency) == (image.mode, image.palette, image.transparency)
        and picture.samples.dtype == image.pixels.dtype
        and np.array_equal(picture.samples, image.pixels)
    )


def check(data: bytes, models: Sequence[str] = TINY) -> None:
    """The format reader finds in a file what the package finds."""
    reader = Reader(io.BytesIO(data), models_in())
    images = dict(reader.images())
    found = reader_of(*models).read(data)
    assert len(found) == len(images)
    for position, one in enumerate(found):
        assert same(one, reader.names[position], reader.times[position], images[position])
        assert one.preview == reader.file.preview(position)


# Golden streams


def test_the_streams_that_are_not_read_exist() -> None:
    assert set(NOT_READ) <= {path.stem for path in STREAMS.glob("*.bbc")}


@pytest.mark.parametrize("name", sorted({path.stem for path in STREAMS.glob("*.bbc")} - set(NOT_READ)))
def test_golden_streams(name: str) -> None:
    check((STREAMS / f"{name}.bbc").read_bytes())


@pytest.mark.parametrize("name", ["lone-binary", "lone-metadata", "lone-local-strips", "lone-resnet-tile"])
def test_zeros_behind_a_lone_image(name: str) -> None:
    data = (STREAMS / f"{name}.bbc").read_bytes()
    for zeros in (1, 4, 6):
        check(data + bytes(zeros))
    for tail in (b"\1", b"\0\1\0"):
        with pytest.raises(FormatError):
            reader_of(*TINY).read(data + tail)


# New streams


def photo(height: int, width: int, channels: int, seed: int = 0) -> PixelImage:
    """A smooth picture with a little noise, from integers alone."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(seed).integers(0, 9, (height, width))
    planes = [2 * x + y + noise, 128 + x * y // 16 + noise // 2, 255 - 3 * y + x + noise]
    pixels = np.stack(planes, axis=2).astype(np.uint8)
    return from_array(pixels if channels == 3 else pixels[:, :, 0])


@cache
def package_model(model: str) -> Any:
    return model_of(load(folder_of(model)), NumpyBackend())


def coded(
    model: str, images: Sequence[PixelImage], lanes: int | None = None, starts: Sequence[int] = (), **settings: Any
) -> bytes:
    """An archive of one group that the model codes, also where the fallback is smaller.

    starts: how images begin, where the model learns, whatever is best for them.
    """
    vae = package_model(model)
    kind = next(kind for kind in kinds_of(images[0]) if kind.is_binary == (vae.weights.levels == 2))
    with pytest.MonkeyPatch.context() as patch:
        for module in (package_blocks, package_groups):
            if lanes:
                patch.setattr(module, "lanes_for", lambda *_: lanes)
        with beginning(starts):
            group = encode_images(vae, images, kind, CodingSettings(**settings))
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    writer.add_group(group)
    writer.close()
    return file.getvalue()


def cut(image: PixelImage) -> PixelImage:
    """A part of a digit, no whole number of tiles."""
    return replace(image, pixels=np.ascontiguousarray(image.pixels[7:24, 5:24]))


def two_levels(low: int, high: int) -> list[PixelImage]:
    return [from_array(np.where(i.pixels > 127, high, low).astype(np.uint8)) for i in digits("binary", range(4))]


BEGINNINGS = "learning, images that begin in all ways"
FRESH: dict[str, tuple[str, Callable[[], list[PixelImage]], dict[str, Any]]] = {
    # model, images, settings
    "every layer's gradient clamp": (
        "mnist-grey",
        lambda: digits("grey", range(3)),
        {"k": 60, "learning_rate": 1_000_000},
    ),
    "mnist-grey, K = 0": ("mnist-grey", lambda: digits("grey", range(5)), {}),
    "mode code 1": ("tiny-binary", lambda: [from_array(i.pixels > 127) for i in digits("binary", range(4))], {}),
    "mode code 2": ("tiny-binary", lambda: two_levels(90, 91), {"k": 1}),
    "mode code 2, one level": ("tiny-binary", lambda: two_levels(8, 8), {}),
    "lanes and batches": ("tiny-binary", lambda: digits("binary", range(40)), {"lanes": 5, "k": 2}),
    "bits, of one size": ("mnist-binary-local", lambda: digits("binary", range(3)), {"k": 2}),
    "bits": ("bits", lambda: [cut(i) for i in two_levels(0, 255)], {"k": 6, "lanes": 2}),
    "centred bits": ("centred bits", lambda: [cut(i) for i in two_levels(0, 255)], {"k": 6}),
    "levels, not centred": ("levels, not centred", lambda: [photo(26, 15, 1)], {"k": 5, "encoder": "baseline"}),
    "fields of patches": ("fields", lambda: [photo(8, 8, 3, seed) for seed in range(6)], {"k": 3, "lanes": 3}),
    "strips, tiles, lanes": (
        "tiny-local",
        lambda: [photo(25, 17, 3, 1), photo(25, 17, 3, 2)],
        {"k": 9, "lanes": 2},
    ),
    "sums of gradients": ("strong local", lambda: [photo(25, 17, 1)], {"k": 4}),
    "gradients of blocks": ("strong residual", lambda: [photo(25, 17, 3)], {"k": 4}),
    BEGINNINGS: (
        "tiny-local",
        lambda: [photo(17, 9, 3), photo(20, 26, 3, 1), photo(17, 9, 3, 2), photo(9, 17, 3, 3), photo(12, 12, 3, 4)],
        {"learn": True, "starts": (2, 0, 1, 2)},
    ),
    "learning between batches, steps, lanes": (
        "tiny-grey",
        lambda: digits("grey", range(14)),
        {"k": 2, "lanes": 3, "learn_between": True},
    ),
    "residual, learning, several sizes": (
        "tiny-resnet",
        lambda: [photo(17, 9, 3), photo(20, 26, 3, 1), photo(17, 9, 3, 2)],
        {"learn_between": True},
    ),
    "residual, learning with gradients at their clamps": (
        "strong residual",
        lambda: [photo(25, 17, 3, seed) for seed in range(3)],
        {"k": 1, "learn_between": True},
    ),
    "blocks of a side of their own": (
        "tiny-local",
        lambda: [photo(66, 70, 3), photo(66, 70, 3, 1)],
        {"k": 1, "block_side": 64},
    ),
    "blocks of a side of their own, learning": (
        "tiny-local",
        lambda: [photo(70, 66, 3), photo(9, 12, 3, 1), photo(66, 100, 3, 2)],
        {"learn": True, "block_side": 65, "starts": (2, 0)},
    ),
    "blocks of a side of their own, learning between batches": (
        "tiny-resnet",
        lambda: [photo(66, 70, 3), photo(66, 70, 3, 1)],
        {"learn_between": True, "block_side": 64},
    ),
    "residual, lanes": ("tiny-resnet", lambda: [photo(17, 9, 3)], {"k": 3, "lanes": 2, "learning_rate": 900_000}),
}


@cache
def fresh(name: str) -> tuple[str, list[PixelImage], bytes]:
    """Model, images and archive."""
    model, images, settings = FRESH[name]
    return model, images(), coded(model, images(), **settings)


@pytest.mark.parametrize("name", FRESH)
def test_new_streams(name: str) -> None:
    model, images, data = fresh(name)
    found = reader_of(model).read(data)
    assert len(found) == len(images)
    assert all(same(one, None, None, image) for one, image in zip(found, images, strict=True))


def lone(images: Sequence[PixelImage]) -> list[bytes]:
    compressor = Compressor(Options(model=DATA / "models"))
    return [compressor.lone(image)[0] for image in images]


@cache
def folded() -> bytes:
    """A lone image whose head takes four bytes: the newest word stands before it."""
    for number in range(12, 100):
        (data,) = lone(digits("grey", [number]))
        message = data[6:]
        if len(message) % 4 == 0 and int.from_bytes(message[:8], "little") >= 1 << 63:
            return data
    raise AssertionError("no image has such a message")


def test_a_short_head_stands_behind_the_newest_word() -> None:
    check(folded())


def test_messages_as_bytes() -> None:
    random = np.random.default_rng(0)
    short = 0
    for _ in range(300):
        lanes, words = int(random.integers(1, 5)), random.integers(0, 1 << 32, int(random.integers(0, 4)))
        heads = np.array([int(random.integers(1 << 31, 1 << int(random.integers(32, 63)))) for _ in range(lanes)])
        data = Message(heads, words).to_bytes()
        found = coder.Message(data, lanes)
        assert (found.heads, found.words) == (heads.tolist(), words.tolist())
        short += len(data) > 4 and len(data) % 4 == 0 and int.from_bytes(data[:8], "little") >= 1 << 63
    assert short > 3


# The container


def archive(*groups: dict[str, Any], images: Sequence[PixelImage]) -> bytes:
    """A segment whose groups store the images, those of each group in its turn."""
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    left = list(images)
    for lists in groups:
        count = len(lists["positions"]) if "positions" in lists else len(left)
        writer.add_group(encode_fallback(left[:count]), **lists)
        del left[:count]
    writer.close()
    return file.getvalue()


def pixel(level: int, *records: Record) -> PixelImage:
    return replace(from_array(np.array([[level]], np.uint8)), metadata=records)


def test_names_positions_and_times_in_every_form() -> None:
    images = [pixel(level % 256) for level in range(300)]
    order = np.random.default_rng(0).permutation(300).tolist()
    listed = [f"x{'y' * (n % 7)}/{n * n}\N{SNOWMAN}" for n in range(300)]
    numbered = [f"a/{n:03}.png" for n in range(297)] + ["b8.png", "b9.png", "b10.png"]
    far = [(-1) ** n * 7**n % (1 << 34) for n in range(300)]
    few = images[:3]
    files = [
        archive({"names": listed, "times": far}, images=images),
        archive({"names": numbered, "times": [5] * 299 + [-(1 << 35)]}, images=images),
        archive({"positions": order[:100]}, {"positions": order[100:]}, images=images),
        archive({"names": ["b", "ba", "a"], "positions": [2, 0, 1], "times": [1, (1 << 37) - 1, 0]}, images=few),
    ]
    for file in files:
        check(file)
    check(b"".join(files[1:3]) + files[3])


def test_metadata_plain_and_packed() -> None:
    title, long = Record(TEXT, b"Title\0a"), Record(TEXT, b"Comment\0" + b"abc" * 400)
    check(archive({}, images=[pixel(1, title), pixel(2), pixel(3, title)]))
    check(archive({}, images=[pixel(1, title, long), pixel(2, long)]))
    check(lone([pixel(1, long)])[0])


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a byte less": lambda data: data[:-1],
    "a bit of a group": lambda data: data[:9] + bytes([data[9] ^ 1]) + data[10:],
    "a bit of the index": lambda data: data[:-10] + bytes([data[-10] ^ 1]) + data[-9:],
    "another version": lambda data: b"\xbb\xc2" + data[2:],
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found(name: str) -> None:
    data = DAMAGE[name](archive({"names": ["a", "b"]}, images=[pixel(1), pixel(2)]))
    with pytest.raises(FormatError):
        reader_of().read(data)


def told(data: bytes) -> list[str | None] | None:
    """The names that the format reader finds, None where it refuses the file."""
    try:
        return [image.name for image in reader_of().read(data)]
    except FormatError:
        return None


def told_by_the_package(data: bytes) -> list[str | None] | None:
    try:
        reader = Reader(io.BytesIO(data), models_in())
        assert dict(reader.images()).keys() == set(range(len(reader.names)))
        return list(reader.names)
    except BBCError:
        return None


def test_the_end_of_an_archive() -> None:
    first = archive({"names": ["a", "b"], "times": [7, 8]}, images=[pixel(1), pixel(2)])
    second = archive(
        {"names": ["c"], "positions": [1]}, {"names": ["d"], "positions": [0]}, images=[pixel(3), pixel(4)]
    )
    ends = [bytes(n) for n in (1, 7, 8, 9, 600)]
    ends += [second[:n] + bytes(z) for n in range(len(second) + 1) for z in (0, 1, 40)]
    ends += [second[:n] + bytes([second[n] ^ 4]) + second[n + 1 :] for n in range(len(second))]
    ends += [second[:n] + second[n + 3 :] for n in range(3, len(second))]
    ends += [second[:n] + bytes(size) + second[n:] for n in range(3, len(second)) for size in (2, 512)]
    adding = b"\xbb\xc1\xfd" + second[3:]
    ends += [adding[:n] + end for n in range(1, len(adding) + 1) for end in (b"", bytes(40), b"??", second, adding)]
    model = encode_block(EmbeddedModel(bytes(32), b"", pack(b"weights")))
    ends += [model[:n] + bytes(z) for n in range(len(model) + 1) for z in (0, 1, 8, 40)]
    ends += [model[:n] + bytes([model[n] ^ 4]) + model[n + 1 :] for n in range(len(model))]
    ends += [model + second[:n] for n in range(len(second))] + [second + model, model + second + 2 * model]
    ends += [adding + model[:n] + bytes(z) for n in range(len(model) + 1) for z in (0, 40)]
    ends += [model + adding[:n] + model for n in range(len(adding))]
    ends += [64 * model, 65 * model, 40 * model + second + 24 * model, 40 * model + second + 25 * model]
    ends += [b"hello, world", b"\xbb\xc1 and more", b"\xbb", second[3:], second[4:], b"?" + second, b"x" * 99 + second]
    found = 0
    for end in ends:
        file = first + end
        names = told(file)
        assert names == told_by_the_package(file), end.hex(" ")
        found += names is not None
    assert 100 < found < len(ends)
    for cut in range(1, len(first)):
        assert told(first[:cut]) is None is told_by_the_package(first[:cut])


# Fallback items


def random_picture(mode: str, transparent: bool) -> PixelImage:
    random = np.random.default_rng(len(mode))
    samples = samples_of(mode)
    shape = (5, 7) if samples == 1 else (5, 7, samples)
    dtype, end = (np.uint16, 1 << 16) if mode.endswith(";16") else (np.uint8, 11 if mode == "P" else 256)
    pixels = random.integers(0, 2, shape).astype(bool) if mode == "1" else random.integers(0, end, shape).astype(dtype)
    transparency = b""
    if transparent:
        transparency = {"P": b"\1\2\3", "RGB": bytes([0, 1, 0, 2, 0, 3]), "RGB;16": b"abcdef", "1": b"\0\1"}.get(
            mode, b"\0\7"
        )
    return PixelImage(mode, pixels, bytes(range(33)) if mode == "P" else b"", transparency)


def test_every_codec_of_every_mode() -> None:
    encoders = [codec.encode for codec in package_fallback.CODECS.values()] + [package_items._encode_bytes]
    seen = set()
    for mode, code in package_fallback.MODE_CODES.items():
        for transparent in (False, True):
            if transparent and mode in ("LA", "RGBA", "CMYK", "LA;16", "RGBA;16"):
                continue
            image = random_picture(mode, transparent)
            for encode in encoders:
                try:
                    item = encode(image)
                except ValueError:
                    continue
                seen.add((item[0], code, transparent))
                picture = fallback.read_item(item)
                assert same(ReadImage(None, None, picture, []), None, None, image)
    flat = from_array(np.full((4, 3, 3), 0x1717, np.uint16))
    item = package_items._encode_bytes(flat)
    assert item[0] == fallback.DIFFERENCES
    assert np.array_equal(fallback.read_item(item).samples, flat.pixels)
    assert {codec for codec, _, _ in seen} == {fallback.RAW, fallback.PNG, fallback.WEBP, fallback.BYTES}
    assert {code for codec, code, _ in seen if codec == fallback.RAW} == set(range(11))


@pytest.mark.parametrize("shape", [(9, 11), (5, 6, 2), (60, 1), (1, 20, 3), (4, 5, 4)])
def test_deep(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of levels that are listed or not, a channel of one level, values that come again, and edges."""
    monkeypatch.setattr(package_deep, "LEAST_SAMPLES", 1)
    random = np.random.default_rng(7)
    noise = random.integers(0, 1 << 16, shape)
    few = random.integers(0, 3, shape).cumsum(axis=1) % 40 * 811 + 17
    slope = np.add(*np.ogrid[: shape[0], : shape[1]]).reshape(shape[:2] + (1,) * (len(shape) - 2)) * 90
    steep = slope + random.integers(0, 70, shape)
    mixed = np.where(random.random(shape) < 0.5, few, 65535)
    if len(shape) == 3:
        mixed[..., 1] = 5
        steep[..., -1] = steep[..., 0] // 2 + 1000
    for pixels in (noise, few, steep, mixed):
        image = from_array(pixels.astype(np.uint16))
        item = package_fallback.CODECS[package_fallback.DEEP].encode(image)
        assert same(ReadImage(None, None, fallback.read_item(item), []), None, None, image)
        for end in (item[:-1], item[:-5], item + b"\1") if pixels is few else ():
            try:
                found = fallback.read_item(end).samples
            except FormatError:  # a CRC tells of the other ends
                with pytest.raises(BBCError):
                    package_items.decode_item(end)
            else:
                assert np.array_equal(package_items.decode_item(end).pixels, found)


def png_item(mode: str, colour: int, depth: int, samples: Any, interlaced: bool, palette: bytes = b"") -> bytes:
    """A PNG item of unfiltered rows, which this package never writes."""
    height, width = samples.shape
    rows = b""
    for y, x, down, across in png.PASSES if interlaced else [(0, 0, 1, 1)]:
        for row in samples[y::down, x::across]:
            if row.size:
                bits = (row[:, None] >> np.arange(depth)[::-1]) & 1
                rows += b"\0" + np.packbits(bits.astype(np.uint8)).tobytes()

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    data = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    data += chunk(b"PLTE", palette) if palette else b""
    return bytes([fallback.PNG, package_fallback.MODE_CODES[mode]]) + data + chunk(b"IDAT", zlib.compress(rows))


@pytest.mark.parametrize("interlaced", [False, True])
def test_pngs_of_every_depth(interlaced: bool) -> None:
    samples = np.random.default_rng(1).integers(0, 1 << 16, (11, 13))
    kinds = [("1", 0, 1), ("L", 0, 2), ("L", 0, 4), ("L", 0, 8), ("I;16", 0, 16)]
    kinds += [("P", 3, depth) for depth in (1, 2, 4, 8)]
    for mode, colour, depth in kinds:
        item = png_item(mode, colour, depth, samples % (1 << depth), interlaced, bytes(768) if mode == "P" else b"")
        if mode == "P" and depth < 8:
            item = png_item(mode, colour, depth, samples % (1 << depth), interlaced, bytes(3 << depth))
        assert same(ReadImage(None, None, fallback.read_item(item), []), None, None, package_items.decode_item(item))


def test_bands() -> None:
    bits = np.random.default_rng(0).integers(0, 2, (4097, 4097)).astype(bool)
    rows = 4095
    data = b"".join(
        varint(len(item)) + item
        for item in (package_fallback.encode_raw(PixelImage("1", part)) for part in (bits[:rows], bits[rows:]))
    )
    item = bytes([fallback.BANDS, 0]) + b"".join(map(varint, (4097, 4097, rows))) + data
    assert np.array_equal(fallback.read_item(item).samples, bits)
    assert np.array_equal(package_items.decode_item(item).pixels, bits)


# Arithmetic


def integers(random: np.random.Generator, limit: int, shape: Any) -> Any:
    """Integers of all magnitudes up to the limit."""
    values = np.floor(np.exp(random.uniform(0, np.log(limit + 1), shape))) - 1
    return (values * random.choice([-1, 1], shape)).clip(-limit, limit).astype(np.int64)


def test_distributions() -> None:
    random = np.random.default_rng(0)
    n = 4000
    x = random.integers(0, 256, n)
    x[:600:2], x[1:600:2] = 0, 255
    bits = random.integers(0, 2, n)
    logits = integers(random, 1 << 24, n)
    backend = NumpyBackend()
    logistic = np.concatenate([integers(random, 1 << 24, n), integers(random, 12_000, n)])
    logistic[n : n + 2000] = np.resize([-1537, -1536, 7168, 7169], 2000)
    logistic[n // 4 : n] >>= 6
    cases: list[tuple[Any, Any, Any, Any]] = [
        (distributions.Bernoulli(), ExactBernoulli(), bits, logits),
        (distributions.DiscretisedLogistic(), ExactDiscretisedLogistic(), x, logistic),
    ]
    for mine, kind, levels, params in cases:
        starts, frequencies = kind.intervals(params[None].astype(float), levels[None])
        edges = mine.edges(params)
        assert np.array_equal(edges[np.arange(n), levels], starts)
        assert np.array_equal(edges[np.arange(n), levels + 1] - starts, frequencies)
        gradient = kind.gradient(params[None].astype(float), levels[None].astype(float), backend)
        assert np.array_equal(mine.gradient(params, levels), gradient[0])


def test_channel_logistic() -> None:
    random = np.random.default_rng(1)
    n = 4000
    params = integers(random, 1 << 24, (n, 9))
    params[:, 3:6] = integers(random, 9000, (n, 3))
    params[: n // 2, 6:] %= 1 << 13
    x = random.integers(0, 256, (n, 3))
    means, _, _ = distributions.channel_means(params.T, x.T)
    for channel in range(3):
        edges = distributions.logistic_edges(means[channel], params[:, 3 + channel])
        starts, _ = ExactChannelLogistic().intervals(params.astype(float), x, channel)
        assert np.array_equal(edges[np.arange(n), x[:, channel]], starts)
    gradient = ExactChannelLogistic().gradient(params.astype(float), x.astype(float), NumpyBackend())
    assert np.array_equal(distributions.channel_gradient(params.T[None], x.T[None])[0].T, gradient)


@pytest.mark.parametrize("components", [1, 5])
def test_mixtures(components: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(components)
    n = 150
    params = integers(random, 1 << 14, (n, 3 * components + 2))
    params[:10] = integers(random, 1 << 24, (10, 3 * components + 2))
    references, x = random.integers(0, 256, n), random.integers(0, 256, n)
    x[:40:2], x[1:40:2] = 0, 255
    edges = distributions.mixture_edges(params, references)
    starts, frequencies = LogisticMixture(components).intervals(params.astype(float), references, x)
    assert np.array_equal(edges[np.arange(n), x], starts)
    assert np.array_equal(edges[np.arange(n), x + 1] - starts, frequencies)
    gradient = LogisticMixture(components).gradient(params.astype(float), references, x)
    assert np.array_equal(distributions.mixture_gradient(params, references, x), gradient)
    # before they are rounded, too: there another order of operations would be seen
    unrounded = np.empty((n, params.shape[1]))
    monkeypatch.setattr(mixture_kernels, "rounded", lambda gradient: gradient)
    mixture_kernels.mixture_gradient._function(
        x, references, params.astype(float), *map(package_table, ("sigmoid", "exp_negative")), unrounded
    )
    assert np.array_equal(distributions.mixture_derivatives(params, references, x), unrounded)


def package_table(name: str) -> Any:
    from bbcompress.exact.tables import table

    return table(name)


@pytest.mark.parametrize("bits", [1, 9, 14])
def test_posteriors(bits: int) -> None:
    random = np.random.default_rng(bits)
    mu, rho = integers(random, 1 << 28, (3000, 1)), random.integers(-12_000, 8000, (3000, 1))
    z = random.integers(0, 1 << bits, (3000, 1))
    sigma = tables.softplus(rho)
    starts, frequencies = NormalPosterior(EqualMassBins(bits), mu, sigma).intervals(z)
    found = distributions.posterior_edges(mu[:, 0], sigma[:, 0], z[:, 0], bits)
    assert np.array_equal(found, starts)
    assert np.array_equal(distributions.posterior_edges(mu[:, 0], sigma[:, 0], z[:, 0] + 1, bits) - found, frequencies)


def test_layers_at_their_clamps() -> None:
    random = np.random.default_rng(0)
    for relu in (False, True):
        weights = LinearWeights(
            weight=random.integers(-900, 900, (40, 30)),
            bias=integers(random, 1 << 30, 40),
            weight_bits=11,
            in_bits=12,
            out_bits=np.repeat([12, 23, 0], [20, 10, 10]),
            relu=relu,
            limit=70_000,
        )
        layer = networks.Layer(weights.weight, weights.bias, 11, 12, weights.out_bits, relu, 70_000)
        exact = ExactLinear(weights, NumpyBackend())
        x = integers(random, 1 << 24, (50, 30))
        y = networks.forward([layer], x)[-1]
        assert np.array_equal(y, exact.forward(x.astype(float)))
        gradient = integers(random, 1 << 40, (50, 40))
        assert np.array_equal(networks.layer_backward(layer, y, gradient), exact.backward(gradient.astype(float), y))


class OfOneFunction:
    """A model for `refinements` whose encoder and gradient are given."""

    def __init__(self, mu: Any, rho: Any) -> None:
        self.backend, self.prior = NumpyBackend(), EqualMassBins(8)
        self.weights = tiny_vae(latents=mu.shape[1])
        self.mu, self.rho = mu, rho

    def prepare(self, x: Any) -> Any:
        return x

    def encode(self, x: Any, encoder: str) -> Any:
        return self.mu * 2.0**-16, self.rho * 2.0**-10

    def gradient(self, z: Any, x: Any, step: int) -> Any:
        grid = np.floor(z * 2.0**16 + 0.5).clip(-(2**20), 2**20).astype(np.int64)
        return gradient_of(grid, step) * 2.0**-20


def gradient_of(z: Any, step: int) -> Any:
    """Any integers that depend on z and the step."""
    return z * (step + 3) * 5 % 2_000_003 - 1_000_000


@pytest.mark.parametrize("rate", [1, 50_000, 1_000_000])
def test_k_steps(rate: int) -> None:
    random = np.random.default_rng(rate)
    mu, rho = integers(random, 1 << 20, (20, 4)), integers(random, 1 << 15, (20, 4))
    model: Any = OfOneFunction(mu, rho)
    steps = list(refinements(model, mu, "rha", 25, rate))
    found = list(refinement.steps(mu, rho, 25, rate, gradient_of))
    assert len(found) == len(steps)
    for mine, theirs in zip(found, steps, strict=True):
        assert all(map(np.array_equal, mine, theirs))
    last = posterior_of(model, *steps[-1])
    assert all(map(np.array_equal, refinement.refine(mu, rho, 25, rate, gradient_of), (last.mu, last.sigma)))


def test_noise() -> None:
    for step in (1, 2, 3, 4, 999, 1000):
        assert np.array_equal(refinement.noise(step, 300), noise(step, 300))


# Checkpoints


def test_checkpoints(tmp_path: Path) -> None:
    for folder in [*(DATA / "models").iterdir(), *SHIPPED.iterdir()]:
        assert read_checkpoint(folder).id.hex() == json.loads((folder / "card.json").read_text("utf-8"))["id"]


@pytest.mark.parametrize("direction", ["forwards", "backwards"])
def test_what_is_not_proved_is_refused(direction: str, tmp_path: Path) -> None:
    weights = tiny_vae()
    last, before = weights.decoder[-1], weights.decoder[-2]
    weight, bias = last.weight.copy(), last.bias.copy()
    if direction == "forwards":
        bias[0] = EXACT - 1 - int(np.abs(weight).sum(axis=1).max()) * before.limit
    else:
        most = (EXACT - 1) // (1 << 30)
        weight[0, 0] = most - np.abs(weight[1:, 0]).sum()
    largest = replace(weights, decoder=(*weights.decoder[:-1], replace(last, weight=weight, bias=bias)))
    save(largest, tmp_path / "fits")
    assert read_checkpoint(tmp_path / "fits").id == load(tmp_path / "fits").id
    (bias if direction == "forwards" else weight).flat[0] += 1
    save(largest, tmp_path / "wrong")
    with pytest.raises(ModelError, match="exact"):
        load(tmp_path / "wrong")
    with pytest.raises(FormatError, match="sums"):
        read_checkpoint(tmp_path / "wrong")


# The page


def headings() -> list[str]:
    return [line.lstrip("# ") for line in PAGE.splitlines() if re.match("##+ ", line)]


def test_manifests_of_sharded_archives() -> None:
    """Each byte that is another one is refused, and a rule that the sums do not cover."""
    shards = [
        Shard("set-00000.bbc", 3, 1, 30, 100, "0" * 64, "a.png", "b/z.png", ("1" * 64,), ("2" * 64,)),
        Shard("set-00001.bbc", 3, 1, 30, 100, "1" * 64, "b.png", "\u00fc\U0001f600.png"),
    ]
    unread = [Unread("bad.png", "is empty"), Unread("", "in/x: cannot be read")]
    data = Manifest("set", shards, unread, {"1" * 64: "tiny", "2" * 64: "other"}, {"effort": 5, "k": None}).encode()
    found = read_manifest(data)
    assert [shard["last"] for shard in found.shards] == [shard.last for shard in shards]
    assert [record["reason"] for record in found.unread] == [record.reason for record in unread]
    for place in range(len(data)):
        with pytest.raises(FormatError):
            read_manifest(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    lines = data.splitlines(keepends=True)
    body = b"".join([lines[0], lines[2], lines[1], *lines[3:-1]])
    with pytest.raises(FormatError, match="order"):
        read_manifest(body + b'{"sha256":"%s"}\n' % hashlib.sha256(body).hexdigest().encode())


def test_the_contents_list_every_section() -> None:
    contents = PAGE[: PAGE.index("\n## ")]
    listed = dict(re.findall(r"\[([^\]]+)\]\(#([^)]+)\)", contents))
    assert list(listed) == headings()
    for name, anchor in listed.items():
        assert anchor == re.sub("[^a-z0-9 -]", "", name.lower()).replace(" ", "-")
    assert set(re.findall(r"\(#([^)]+)\)", PAGE)) == set(listed.values())


def test_the_reader_follows_the_page() -> None:
    named = set()
    for path in READER.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert "bbcompress" not in re.findall(r"^(?:from|import) (\w+)", source, re.M)
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef):
                section = re.split("[:,.]", ast.get_docstring(node) or "")[0]
                assert section in headings() or path.name == "primitives.py", f"{path.name}, {node.name}: {section}"
                named.add(section)
            for method in node.body if isinstance(node, ast.ClassDef) else []:
                if isinstance(method, ast.FunctionDef):
                    named.add(re.split("[:,.]", ast.get_docstring(method) or "")[0])
    assert named >= set(headings()) - {"Two files, byte by byte"}


def test_kinds_modes_and_limits_are_the_code_s() -> None:
    from bbcompress import limits
    from bbcompress.archive import header, index, names
    from bbcompress.images import metadata

    records = PAGE[PAGE.index("\n## Metadata") : PAGE.index("\n## Fallback item")]
    rows = re.findall(r"^\| (\d+(?:, \d+)*) (?!bytes )[A-Za-z]", records, re.M)
    assert {int(kind) for row in rows for kind in row.split(",")} == {*metadata._NAMES, *metadata.CHUNKS}
    items = PAGE[PAGE.index("\n## Fallback item") : PAGE.index("\n## The coder")]
    modes = {mode: int(code, 16) for code, mode in re.findall(r"^\| ([0-9A-F]+) \| `([^`]+)` \|", items, re.M)}
    assert modes == package_fallback.MODE_CODES == dict(zip(fallback.MODES, range(11), strict=True))
    codes = re.findall(r"^\| (\d) \| (?:grey|bilevel|RGB)", PAGE, re.M)
    assert set(map(int, codes)) == {*header._KINDS, header._LEVELS_FOLLOW}
    for text in (
        f"K: varint, 1 .. {limits.MAX_K};",
        f"1 .. {header.MAX_LEARNING_RATE};",
        f"lanes, 1 .. {header.MAX_LANES} |",
        f"images, 1 .. 2^{header.MAX_GROUP_IMAGES.bit_length() - 1} |",
        f"each 1 .. 2^{limits.MAX_SIDE.bit_length() - 1}, their product",
        f"(2^{limits.MAX_PIXELS.bit_length() - 1} by default)",
        f"A group has at least {index.MIN_GROUP_BYTES} bytes",
        f"at most 2^{names.MAX_LISTED.bit_length() - 1} names, and 2^{names.MAX_LISTED_BYTES.bit_length() - 1} bytes",
        f"1 to {names.MAX_NAME_BYTES} bytes",
        f"at most 2^{metadata.MAX_BLOCK_RECORDS.bit_length() - 1} records",
        f"at most 2^{metadata.MAX_IMAGE_BYTES.bit_length() - 1} bytes, {metadata.RECORD_COST} added",
        f"at most 2^{metadata.MAX_RECORDS.bit_length() - 1}, and their numbers",
    ):
        assert text in " ".join(PAGE.split()), text


def test_the_two_files() -> None:
    example = PAGE[PAGE.index("\n## Two files") :]
    tables = re.split(r"\n\n(?!\|)", example)
    files = [
        bytes.fromhex("".join(re.findall(r"^\| ((?:[0-9A-F]{2} ?)+) \|", table, re.M)))
        for table in tables
        if "| bytes |" in table
    ]
    bits, levels = np.array([[True, False, True]]), np.array([[7, 200]], np.uint8)
    images = [from_array(levels), from_array(bits)]
    stored = archive({"names": ["a1.png", "a2.png"], "times": [1, 2]}, images=images)
    assert files == [(STREAMS / "lone-constant.bbc").read_bytes(), stored]
    for data in files:
        check(data)
    message = coder.Message(files[0][9:], 1)
    assert f"{message.heads[0]:012X}" in example
    assert all(f"{word:08X}" in example for word in message.words)


# Rules of the page, taken otherwise


CLAMP, FOLDED = "every layer's gradient clamp", "folded"
DEEP = "lone-fallback-deep-colours"
STRIPS, RESIDUAL = "strips, tiles, lanes", "residual, lanes"

OTHERWISE: dict[str, tuple[str, str, str, str]] = {
    # module, what stands there, what stands there instead, a stream that shows the difference
    "the check does not cover the side of blocks": (
        "header",
        'first = b"\\5" + cursor.data[start : cursor.at]',
        "first = bytes([group])",
        "lone-local-block-size",
    ),
    "layers do not clamp gradients": ("networks", "GRADIENT_LIMIT = 2**30", "GRADIENT_LIMIT = 2**50", CLAMP),
    "gradients flow at ReLU's zero": ("networks", "outputs > layer.low", "outputs >= layer.low", "binary-k3-rha"),
    "sums are cut": ("networks", "(number + (1 << (down - 1))) >> down", "number >> down", "binary-k0-rha"),
    "each image has noise of its own": (
        "refinement",
        "noise(k, mu.shape[1])",
        "noise(k, mu.size).reshape(mu.shape)",
        "binary-k3-rha",
    ),
    "odd steps change the sign": ("refinement", "-e if step % 2 == 0", "-e if step % 2 == 1", "binary-k3-rha"),
    "powers advance for mu and for rho": (
        "refinement",
        "p1, p2 = p1 * 0.9, p2 * 0.999",
        "p1, p2 = p1 * 0.9 * 0.9, p2 * 0.999 * 0.999",
        "binary-k3-rha",
    ),
    "top strips are pushed first": (
        "message",
        "reversed(range(0, height, side))",
        "range(0, height, side)",
        "local-k0-rha",
    ),
    "medians are cut": (
        "message",
        "rounded_shift(medians(bins, bits), 8)",
        "medians(bins, bits) >> 8",
        "binary-k0-rha",
    ),
    "a short head comes first": ("coder", "both >> 32, data[:4] + data[8:]", "both % 2**32, data[4:]", FOLDED),
    "the last chunk of a head is short": (
        "coder",
        "[bits % 16 or 16] + [16] * ((bits - 1) // 16)",
        "[16] * (bits // 16) + [bits % 16]",
        "grey-two-lanes",
    ),
    "posteriors are not interpolated": ("distributions", "* (t % 2**10) >> 10)", "* 0)", "binary-k0-rha"),
    "the mean is not cut": ("distributions", "((c[0] * red + 2**11) >> 12)", "((c[0] * red) >> 12)", "resnet-k0-rha"),
    "beyond the image rho is another": ("residual", "RHO_BEYOND = 554", "RHO_BEYOND = 555", RESIDUAL),
    "transposed convolutions are flipped": (
        "residual",
        "weight[:, :, i, j], x)",
        "weight[:, :, size - 1 - i, size - 1 - j], x)",
        "lone-resnet-tile",
    ),
    "latents go channel by channel": (
        "residual",
        "values.transpose(0, 2, 3, 1).reshape",
        "values.reshape",
        "resnet-k0-rha",
    ),
    "tiles are filled with black": ("residual", 'mode="edge"', 'mode="constant"', "resnet-k0-rha"),
    "pixels beyond the image have gradients": (
        "residual",
        "gradient[n, :, tile.height :], gradient[n, :, :, tile.width :] = 0, 0",
        "pass",
        "resnet-k2-rha",
    ),
    "inputs are times 64": (
        "local",
        "unit = 64 if self.binary else 1\n        parts",
        "unit = 64\n        parts",
        "lone-local-small",
    ),
    "the reference is cut": ("local", "(sum(beside) + len(beside) // 2)", "sum(beside)", "lone-local-small"),
    "patches are filled with black": ("local", 'mode="edge"', 'mode="constant"', STRIPS),
    "patches go channel by channel": ("local", "(0, 2, 1, 3, 4)", "(0, 2, 4, 1, 3)", STRIPS),
    "fields go column by column": (
        "local",
        "np.split(values,",
        "np.split(values.transpose(1, 0, 2),",
        "fields of patches",
    ),
    "steps go from the left": ("local", "key=lambda pixel: pixel[:3]", "key=lambda pixel: pixel[2]", STRIPS),
    "steps count from the image's top": ("local", "- first[tile.image]", "", STRIPS),
    "a step's columns are its rows": ("local", "a, b = step % stride,", "b, a = step % stride,", STRIPS),
    "sampled gradients are not scaled": ("local", "cells[n] * stride**2", "cells[n]", STRIPS),
    "sums over cells are not clamped": ("local", "2**34", "2**60", "sums of gradients"),
    "gradients into blocks are not clamped": (
        "residual",
        "narrow.limit, clamp(gradient, GRADIENT_LIMIT), 0)",
        "narrow.limit, gradient, 0)",
        "gradients of blocks",
    ),
    "halfway is the end": ("learning", "(self.p + other.p) * 0.5", "self.p", BEGINNINGS),
    "halfway has no moments": ("learning", "between = self.copy()", "between = other.copy()", BEGINNINGS),
    "what begins with the checkpoint keeps the powers": (
        "learning",
        "return checkpoint.copy()",
        "return State(checkpoint.copy().layers, self.p1, self.p2)",
        BEGINNINGS,
    ),
    "the third weights are taken anew in each column": ("deep", "elif x % 2 == 0:", "else:", DEEP),
    "ranges double at once": ("deep", "z = 2 * z if u > 1 else z", "z = 2 * z", DEEP),
    "the share of ones fades": ("deep", "max(1 / (self.n + 1.5), self.least)", "(1 / (self.n + 1.5))", DEEP),
    "values that come again are those to the left": (
        "deep",
        "for one, share in zip(self.beside,",
        "for one, share in zip(self.beside[:1] * 2,",
        DEEP,
    ),
    "a position is that less the one before": ("index", "positions[-1] + 1 if", "positions[-1] if", "mixed"),
}


@pytest.mark.parametrize("rule", OTHERWISE)
def test_a_reader_that_takes_a_rule_otherwise_fails(rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, here, instead, stream = OTHERWISE[rule]
    name = f"format_reader_{list(OTHERWISE).index(rule)}"
    copy = tmp_path / "tests" / "support" / name
    shutil.copytree(READER, copy, ignore=shutil.ignore_patterns(f"{module}.*.pyc"))  # byte code of all else is at hand
    source = (copy / f"{module}.py").read_text(encoding="utf-8")
    assert source.count(here) == 1
    (copy / f"{module}.py").write_text(source.replace(here, instead), encoding="utf-8")
    (tmp_path / "bbcompress" / "exact").mkdir(parents=True)
    shutil.copy(tables.PATH, tmp_path / "bbcompress" / "exact")
    monkeypatch.syspath_prepend(copy.parent)
    changed = importlib.import_module(f"{name}.reader")
    model, data = stream_of(stream)
    expected = images_of(stream)
    try:
        found = changed.FormatReader(map(folder_of, model)).read(data)
    except (changed.FormatError, ValueError, IndexError):
        pass
    else:
        pairs = zip(expected, found, strict=True)
        assert not all(np.array_equal(a.picture.samples, b.picture.samples) for a, b in pairs)
    for loaded in [loaded for loaded in sys.modules if loaded.startswith(name)]:
        monkeypatch.delitem(sys.modules, loaded)


def stream_of(name: str) -> tuple[tuple[str, ...], bytes]:
    """The models and bytes of a golden or new stream."""
    if name == FOLDED:
        return TINY, folded()
    if name in FRESH:
        model, _, data = fresh(name)
        return (model,), data
    return TINY, (STREAMS / f"{name}.bbc").read_bytes()


@cache
def images_of(name: str) -> list[ReadImage]:
    """What the reader finds in such a stream."""
    models, data = stream_of(name)
    return reader_of(*models).read(data)
