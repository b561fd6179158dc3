"""Images of any size as blocks: where they lie, round trips, layouts, and that damage is never taken for pixels."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from hypothesis import given
from hypothesis import strategies as st
from models_for_tests import noise_strips, sampled_strips, tiny_local, tiny_resnet
from PIL import Image

from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.codecs import blocks
from bbcompress.codecs.blocks import MOST_LANES, blocks_of, decode_blocks, encode_blocks, lanes_for
from bbcompress.codecs.groups import decode_images, encode_images
from bbcompress.codecs.settings import CodingSettings
from bbcompress.errors import FormatError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.mixture import LogisticMixture
from bbcompress.images.image import PixelImage
from bbcompress.images.kinds import COLOUR, GREY
from bbcompress.limits import ENCODERS, OTHER_ENCODER
from bbcompress.models.base import Model, encoder_of
from bbcompress.models.local import ExactLocalVAE, LocalWeights
from bbcompress.models.registry import model_of
from bbcompress.models.resnet import ResNetWeights
from bbcompress.wire import ByteReader, varint

Weights = LocalWeights | ResNetWeights

SIDE = 16
"""The longest side of a block here: two tiles."""

PHOTO = Path(__file__).resolve().parents[1] / "data" / "photos" / "landscape.png"

SIZES = [(1, 1), (1, 17), (40, 1), (3, 5), (8, 8), (16, 16), (17, 16), (8, 33), (33, 17)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_SIDE", SIDE)


def header_of(weights: Weights, count: int, **settings: Any) -> GroupHeader:
    return GroupHeader(count=count, model=weights.id[:4], **settings)


def drawn(weights: Weights, n: int, height: int, width: int) -> list[Any]:
    """Images of the model, one of them noise where there are several."""
    images = sampled_strips(weights, n, height, width).canvas.images
    if n > 1:
        images[-1] = noise_strips(weights, 1, height, width).canvas.images[0]
    return list(images)


RGB, BINARY, RESNET = tiny_local(), tiny_local(channels=1, binary=True), tiny_resnet()
MODELS: dict[str, Weights] = {"rgb": RGB, "grey": tiny_local(channels=1), "binary": BINARY, "resnet": RESNET}
VAES = {name: model_of(weights, NumpyBackend()) for name, weights in MODELS.items()}
coloured = pytest.mark.parametrize("name", ["rgb", "resnet"])


def encoded(name: str, images: list[Any], told: list[int] | None = None, **settings: Any) -> tuple[GroupHeader, bytes]:
    coding = CodingSettings(**settings)
    header = header_of(MODELS[name], len(images), encoder=encoder_of(MODELS[name].card, coding.encoder), k=coding.k)
    progress = None if told is None else told.append
    group = encode_blocks(VAES[name], MODELS[name], images, header, coding, progress)
    return group.header, group.payload


def decoded(name: str, header: GroupHeader, payload: bytes, batch: int = 128, told: list[int] | None = None) -> Any:
    progress = None if told is None else told.append
    return decode_blocks(VAES[name], MODELS[name], Group(header, payload), batch, progress)


# Where blocks lie


@given(st.integers(1, 100), st.integers(1, 100), st.sampled_from([1, 2, 4, 8, 16]))
def test_blocks_cover_each_pixel_once(height: int, width: int, tile: int) -> None:
    covered = np.zeros((height, width), int)
    found = list(blocks_of(height, width, tile))
    for block in found:
        assert 1 <= block.height <= SIDE
        assert 1 <= block.width <= SIDE
        assert block.top % tile == block.left % tile == 0
        block.of(covered)[...] += 1
        assert block.of(covered).shape == (block.height, block.width)
    assert (covered == 1).all()
    assert [block.number for block in found] == list(range(len(found)))
    assert [(b.top, b.left) for b in found] == sorted((b.top, b.left) for b in found)
    assert len(found) == len({b.top for b in found}) * len({b.left for b in found})
    if SIDE % tile == 0:  # as few as can be
        assert len({block.top for block in found}) == -(-height // SIDE)
        assert len({block.left for block in found}) == -(-width // SIDE)


@one_test_of(
    ("length", "sides"),
    [(1, [1]), (16, [16]), (17, [16, 1]), (25, [16, 9]), (33, [16, 16, 1]), (40, [16, 16, 8]), (48, [16, 16, 16])],
)
def test_sides_of_blocks(length: int, sides: list[int]) -> None:
    assert [block.width for block in blocks_of(3, length, 8)] == sides
    assert [block.height for block in blocks_of(length, 3, 8)] == sides


def test_sides_are_even_where_tiles_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_SIDE", 1024)
    assert [block.width for block in blocks_of(5, 1030, 64)] == [576, 454]
    assert [block.width for block in blocks_of(5, 2100, 64)] == [704, 704, 692]
    assert [block.width for block in blocks_of(5, 1024, 64)] == [1024]


# Round trips


@one_test_of("name", MODELS)
@one_test_of(("height", "width"), SIZES)
@one_test_of("count", [1, 2])
def test_round_trip(name: str, height: int, width: int, count: int) -> None:
    images = drawn(MODELS[name], count, height, width)
    k = 2 if height < 20 else 0
    told: list[int] = []
    header, payload = encoded(name, images, told, k=k)
    assert (header.size, header.blocks, header.count) == ((width, height), True, count)
    pieces = len(list(blocks_of(height, width, 8)))
    assert (len(told), sum(told)) == (pieces, count * height * width)
    assert header.k == (k if count > 1 or height > 8 else 0)
    told.clear()
    found = decoded(name, header, payload, 1, told)
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.stack(images))
    assert (len(told), sum(told)) == (pieces, count * height * width)
    assert GroupHeader.decode_group(ByteReader(header.encode_group())) == header
    flat = [image[:, :, 0] for image in images] if MODELS[name].channels == 1 else images
    assert encoded(name, flat, k=k, compute_batch=1) == (header, payload)


@coloured
@pytest.mark.parametrize("encoder", ["rha", "baseline"])
def test_settings_matter(name: str, encoder: str) -> None:
    images = drawn(MODELS[name], 2, 20, 9)
    plain = encoded(name, images)
    header, payload = encoded(name, images, encoder=encoder, k=1)
    assert (header.encoder, header.k) == (encoder, 1)
    assert payload != plain[1]
    assert np.array_equal(decoded(name, header, payload), np.stack(images))


@pytest.mark.parametrize(("card", "usual", "other"), [({}, *ENCODERS), ({"encoder": "baseline"}, *ENCODERS[::-1])])
def test_the_card_names_the_usual_encoder(card: dict[str, str], usual: str, other: str) -> None:
    """And "other" means the one that it does not name; a card of an earlier version names none."""
    vae = model_of(replace(RGB, card=card), NumpyBackend())
    images = [PixelImage("RGB", image.astype(np.uint8)) for image in drawn(RGB, 2, 20, 9)]

    def group(**settings: Any) -> Group:
        return encode_images(vae, images, COLOUR, CodingSettings(**settings))

    by_name = {name: group(encoder=name) for name in ENCODERS}
    assert by_name["rha"].payload != by_name["baseline"].payload
    assert group() == by_name[usual] and group(encoder=OTHER_ENCODER) == by_name[other]
    learned = {name: group(encoder=name, learn=True).payload for name in ENCODERS}
    assert (
        group(learn=True).payload == learned[usual]
        and group(encoder=OTHER_ENCODER, learn=True).payload == learned[other]
    )


@coloured
def test_a_lone_strip_has_no_encoder(name: str) -> None:
    """Blocks of one strip are coded directly: their header does not speak of an encoder."""
    (image,) = drawn(MODELS[name], 1, 8, 40)
    header, _ = encoded(name, [image], encoder="baseline", k=3)
    assert (header.encoder, header.k, header.learning_rate) == ("rha", 0, None)
    assert encoded(name, [image], encoder="baseline", k=3) == encoded(name, [image])


@pytest.mark.parametrize(("count", "encoder", "k"), [(1, "rha", 0), (3, "rha", 2), (3, "baseline", 2)])
def test_photographs(count: int, encoder: str, k: int) -> None:
    """Which the random models code badly, but as they are."""
    photo = np.array(Image.open(PHOTO))
    images = [photo[50 * i : 50 * i + 35, 20 : 20 + 39] for i in range(count)]
    for name in ("rgb", "resnet"):
        header, payload = encoded(name, images, encoder=encoder, k=k)
        assert np.array_equal(decoded(name, header, payload, 1), np.stack(images))


def test_lanes() -> None:
    assert lanes_for(RGB, 1) == 1
    assert lanes_for(RGB, 2 << 16) == 2
    assert lanes_for(BINARY, 2 << 16) == 1
    assert lanes_for(RESNET, 2 << 16) == 4
    assert lanes_for(RGB, 1 << 40) == MOST_LANES


def test_lanes_stand_in_the_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogisticMixture, "lane_subpixels", 100)
    images = drawn(RGB, 2, 17, 9)
    header, payload = encoded("rgb", images)
    assert payload[0] == 2 * 16 * 9 * 3 // 100
    assert np.array_equal(decoded("rgb", header, payload), np.stack(images))


# Damage


Blocks = tuple[str, GroupHeader, bytes, Any]
STRIPS = [4, 4, 4, 4, 2, 2]
"""Of each block."""


@pytest.fixture(scope="module", params=["rgb", "resnet"])
def group(request: pytest.FixtureRequest) -> Blocks:
    """Six blocks of two images: a model's name, header, payload, pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_SIDE", SIDE)
        images = drawn(MODELS[request.param], 2, 33, 17)
        header, payload = encoded(request.param, images)
    return request.param, header, payload, np.stack(images)


def parts_of(payload: bytes, strips: list[int]) -> list[tuple[int, int, int]]:
    """Of each block, where its layout begins, its message begins and ends."""
    reader = ByteReader(payload)
    parts = []
    for number, left in enumerate(strips):
        begin = reader.position
        reader.varint(1 << 20)
        left -= reader.varint(1 << 20)
        while left:
            left -= reader.varint(1 << 20)
        size = reader.varint(1 << 20) if number < len(strips) - 1 else len(payload) - reader.position
        parts.append((begin, reader.position, reader.position + size))
        reader.take(size)
    return parts


def test_what_a_payload_is(group: Blocks) -> None:
    _, header, payload, _ = group
    parts = parts_of(payload, STRIPS)
    assert parts[-1][2] == len(payload)
    assert parts[0][0] == 0
    for (_, _, end), (begin, _, _) in itertools.pairwise(parts):
        assert end == begin
    assert header.encode_group()[5:] == bytes([17, 33, 2])


def refused(name: str, header: GroupHeader, payload: bytes, pixels: Any) -> bool:
    """Whether a payload is an error of one line; else it has to give the very pixels."""
    try:
        found = decoded(name, header, payload)
    except FormatError as error:
        assert "\n" not in str(error)
        return True
    assert np.array_equal(found, pixels)
    return False


def test_flipped_bytes(group: Blocks) -> None:
    name, header, payload, pixels = group
    parts = parts_of(payload, STRIPS)
    indices = {p for begin, data, end in parts for p in [*range(begin, data + 6), *range(data, end, 97), end - 1]}
    for number, index in enumerate(sorted(indices)):
        damaged = bytearray(payload)
        damaged[index] ^= (0x01, 0xFF)[number % 2]
        assert refused(name, header, bytes(damaged), pixels), index


def test_cut_and_longer_payloads(group: Blocks) -> None:
    name, header, payload, pixels = group
    parts = parts_of(payload, STRIPS)
    for index in sorted({0, *(p for part in parts for at in part for p in (at - 1, at, at + 1))}):
        if 0 <= index < len(payload):
            assert refused(name, header, payload[:index], pixels), index
    for more in (b"\0", bytes(4), b"\xff" * 9):
        assert refused(name, header, payload + more, pixels)


def test_swapped_blocks(group: Blocks) -> None:
    """A block's message says which block it is."""
    name, header, payload, pixels = group
    parts = parts_of(payload, STRIPS)
    first, third = (payload[parts[i][0] : parts[i][2]] for i in (0, 2))
    between = payload[parts[0][2] : parts[2][0]]
    assert refused(name, header, third + between + first + payload[parts[2][2] :], pixels)
    again, other = encoded(name, [np.zeros((16, 32, 3), np.uint8)])  # two blocks of the same pixels
    (begin, _, end), (_second, _, _) = parts_of(other, [2, 2])
    assert not refused(name, again, other, np.zeros((1, 16, 32, 3)))
    own = other[begin:end]
    assert refused(name, again, own + own, np.zeros((1, 16, 32, 3)))


@pytest.mark.parametrize(
    "change",
    [
        {"size": (33, 17)},
        {"size": (17, 32)},
        {"size": (17, 34)},
        {"size": (16, 33)},
        {"size": (17, 1 << 14)},
        {"count": 1},
        {"count": 3},
        {"count": 1 << 20},
        {"k": 1},
        {"encoder": "baseline"},
        {"kind": GREY},
    ],
)
def test_other_headers(group: Blocks, change: dict[str, Any]) -> None:
    name, header, payload, pixels = group
    assert refused(name, replace(header, **change), payload, pixels)


@one_test_of("payload", [b"", b"\0\1", b"\1\1\0", b"\1\1\5", b"\1\5", varint(1025) + b"\1", b"\1\4\xff\xff\x7f"])
def test_layouts_that_make_no_sense(payload: bytes) -> None:
    header = replace(header_of(RGB, 2), size=(9, 16), blocks=True)
    with pytest.raises(FormatError, match="damaged"):
        decoded("rgb", header, payload + bytes(40))


def test_groups_above_the_limit() -> None:
    most = replace(header_of(RGB, 1 << 10), size=(1 << 7, 1 << 7), blocks=True)
    with pytest.raises(FormatError, match="above the limit"):
        decoded("rgb", most, bytes(100))


def test_a_header_without_a_size() -> None:
    with pytest.raises(FormatError, match="size"):
        decoded("rgb", header_of(RGB, 1), bytes(100))


# In groups of images


class OneModel:
    """A `Models` of one model."""

    def __init__(self, name: str) -> None:
        self.zoo = self
        self.built: Model = VAES[name]

    def named(self, prefix: bytes) -> list[Any]:
        assert self.built.weights.id.startswith(prefix)
        return [None]

    def model(self, entry: Any) -> Model:
        return self.built


@coloured
def test_images_of_a_group(name: str) -> None:
    images = [PixelImage("RGB", image) for image in drawn(MODELS[name], 2, 20, 9)]
    told: list[int] = []
    group = encode_images(VAES[name], images, COLOUR, CodingSettings(), told.append)
    header = group.header
    assert (header.kind, header.blocks, sum(told)) == (None, True, 2 * 20 * 9)
    models: Any = OneModel(name)
    assert decode_images(group, models) == images
    for kind in (GREY, None):
        other = replace(header, kind=kind, blocks=kind is not None, direct=0 if kind else 2)
        with pytest.raises(FormatError, match="damaged"):
            decode_images(replace(group, header=other), models)


def test_models_of_one_size_do_not_code_blocks() -> None:
    weights = tiny_local(image=(8, 8), pool=2)
    models: Any = OneModel("rgb")
    models.built = ExactLocalVAE(weights, NumpyBackend())
    header = replace(header_of(weights, 2), size=(8, 8), blocks=True)
    with pytest.raises(FormatError, match="does not code blocks"):
        decode_images(Group(header, bytes(100)), models)


def test_the_limit_of_pixels_is_for_others_to_check() -> None:
    """A user may set it higher than it is by default."""
    weights = tiny_local()
    large, small = (header_of(weights, 1, size=(1 << side, 1 << 14), blocks=True) for side in (15, 14))
    assert len(blocks.context_of(weights, large)) == len(blocks.context_of(weights, small))


@pytest.mark.parametrize(
    ("most", "pixels", "at_a_time"),
    [
        (1, 1, 1),
        (2, 1, 2),
        (8, 1, 3),
        (8, blocks.BLOCKS_MEMORY // blocks.PIXEL_MEMORY // 2, 2),
        (8, blocks.BLOCKS_MEMORY // blocks.PIXEL_MEMORY + 1, 1),
    ],
)
def test_blocks_at_once(most: int, pixels: int, at_a_time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there are threads and memory for."""
    monkeypatch.setattr("bbcompress.system.threads.processors", lambda: most)
    lock, inside, most_inside = threading.Lock(), 0, 0
    full = threading.Event()

    def work(number: int) -> int:
        nonlocal inside, most_inside
        with lock:
            inside += 1
            most_inside = max(most_inside, inside)
            if inside == at_a_time:
                full.set()
        assert full.wait(60)
        time.sleep(0.02)
        with lock:
            inside -= 1
        return number

    assert list(blocks.at_once(work, range(3), pixels)) == [0, 1, 2]
    assert most_inside == at_a_time


class Parts(list[int]):
    """Counts how many were taken."""

    taken = 0

    def __iter__(self) -> Iterator[int]:
        for part in super().__iter__():
            self.taken += 1
            yield part


def test_few_blocks_wait_for_their_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image may have a quarter of a million, each of which would take some kilobytes while it waits."""
    monkeypatch.setattr("bbcompress.system.threads.processors", lambda: 2)
    parts = Parts(range(1000))
    results = blocks.at_once(str, parts, 1)
    assert next(results) == "0" and parts.taken <= 2 * blocks.AHEAD + 1
    assert [*results] == [str(part) for part in range(1, 1000)]


def test_memory_of_blocks_bounds_how_many_are_in_work() -> None:
    """Of whole blocks fewer than `MOST_THREADS` fit, and at least four."""
    fit = blocks.BLOCKS_MEMORY // (blocks.PIXEL_MEMORY * 1024**2)
    assert 4 <= fit < blocks.MOST_THREADS
