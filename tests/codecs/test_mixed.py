"""Groups of small images of several sizes: round trips, layouts, sizes, and that damage is never taken for pixels."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from models_for_tests import noise_strips, sampled_strips, tiny_local, tiny_resnet

from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.codecs import mixed
from bbcompress.codecs.bitsback import codec_of
from bbcompress.codecs.blocks import context_of, encode_layout
from bbcompress.codecs.group import encode_strips_together
from bbcompress.codecs.mixed import arrange, decode_mixed, encode_mixed, encode_sizes, mixed_sizes
from bbcompress.codecs.settings import CodingSettings
from bbcompress.errors import FormatError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.limits import Limits
from bbcompress.models.base import encoder_of
from bbcompress.models.local import LocalWeights
from bbcompress.models.registry import model_of
from bbcompress.models.resnet import ResNetWeights
from bbcompress.models.strips import MixedCanvas, Strips
from bbcompress.wire import ByteReader

Weights = LocalWeights | ResNetWeights

SIZES = [(5, 9), (1, 1), (8, 8), (17, 3), (3, 20), (8, 8), (12, 1)]
MODELS: dict[str, Weights] = {
    "rgb": tiny_local(prior_bits=10, direct_bits=1),
    "grey": tiny_local(channels=1),
    "binary": tiny_local(channels=1, binary=True),
    "resnet": tiny_resnet(),
}
SETTINGS = [CodingSettings(), CodingSettings("baseline", 2, 20_000)]


def drawn(weights: Weights) -> list[Any]:
    """An image of the model of each size, one of them noise, uint8 (H, W, C)."""
    images = [sampled_strips(weights, 1, *size, seed=n).canvas.images[0] for n, size in enumerate(SIZES)]
    images[3] = noise_strips(weights, 1, *SIZES[3]).canvas.images[0]
    return images


def header_of(weights: Weights, **settings: Any) -> GroupHeader:
    return GroupHeader(count=len(SIZES), model=weights.id[:4], **settings)


@one_test_of("name", MODELS)
@one_test_of("settings", SETTINGS)
@one_test_of("direct", [1, 3, len(SIZES)])
def test_round_trip(name: str, settings: CodingSettings, direct: int) -> None:
    weights = MODELS[name]
    vae, images = model_of(weights, NumpyBackend()), drawn(weights)
    encoder = encoder_of(weights.card, settings.encoder)
    header = header_of(weights, encoder=encoder, k=settings.k, learning_rate=settings.learning_rate)
    told: list[int] = []
    group = encode_mixed(vae, weights, images, header, settings, told.append, direct)
    assert sum(told) == sum(height * width for height, width in SIZES)
    assert group.header.is_mixed
    assert mixed_sizes(group) == [(width, height) for height, width in SIZES]
    reader = ByteReader(group.header.encode_group() + b"rest")
    read = GroupHeader.decode_group(reader)
    assert reader.rest() == b"rest"
    for compute_batch in (1, 128):
        found = decode_mixed(vae, weights, replace(group, header=read), compute_batch)
        assert all(np.array_equal(image, other) for image, other in zip(images, found, strict=True))
    again = encode_mixed(vae, weights, images, group.header, replace(settings, compute_batch=1), None, direct)
    assert again == group


def test_damage_is_found() -> None:
    weights = MODELS["rgb"]
    vae, images = model_of(weights, NumpyBackend()), drawn(weights)
    group = encode_mixed(vae, weights, images, header_of(weights), SETTINGS[0])
    for position in [*range(60), *range(60, len(group.payload), 9), len(group.payload) - 1]:
        damaged = bytearray(group.payload)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(FormatError, match="damaged"):
            decode_mixed(vae, weights, replace(group, payload=bytes(damaged)), 128)
    with pytest.raises(FormatError, match="damaged"):  # it is of this very header
        decode_mixed(vae, weights, replace(group, header=replace(group.header, encoder="baseline")), 128)


def test_the_check_covers_the_sizes() -> None:
    """The same pixels, in the same number, as images of other shapes."""
    weights = MODELS["grey"]
    vae = model_of(weights, NumpyBackend())
    images = [np.zeros((2, 3, 1), np.uint8), np.zeros((4, 4, 1), np.uint8)]
    header = replace(header_of(weights), count=2)
    group = encode_mixed(vae, weights, images, header, SETTINGS[0])
    sizes = encode_sizes([(3, 2), (4, 4)])
    assert group.payload.startswith(sizes)
    strips = Strips.all_of(MixedCanvas.holding([image.reshape(-1, *image.shape[1:]) for image in images], weights.tile))
    header = replace(header, blocks=True)
    codec = codec_of(vae, header, 128)
    layout, message = encode_strips_together(codec, strips, 1, 1, context_of(weights, header))  # without the sizes
    with pytest.raises(FormatError, match="checksum"):
        decode_mixed(vae, weights, Group(header, sizes + encode_layout(layout) + message.to_bytes()), 128)


def group_of(sizes: bytes, count: int) -> Group:
    return Group(GroupHeader(count=count, blocks=True), sizes)


def test_sizes() -> None:
    several = [(1, 1), (1024, 1), (1, 1024), (300, 2)]
    assert mixed_sizes(group_of(encode_sizes(several), 4)) == several
    many = [(28, 28), (28, 29)] * 2000
    assert len(encode_sizes(many)) < 200
    assert mixed_sizes(group_of(encode_sizes(many), len(many))) == many


@one_test_of(
    ("data", "count", "what"),
    [
        (encode_sizes([(3, 2), (4, 4)]), 3, "cut short"),
        (encode_sizes([(3, 2)]), 1, "1 images"),
        (encode_sizes([(3, 2)] * 2), 2, "all the same"),
        (encode_sizes([(3, 0), (1, 1)]), 2, "side of 0"),
        (encode_sizes([(1025, 1), (1, 1)]), 2, "limit is 1024"),
        (encode_sizes([(101, 100), (1, 1)]), 2, "limit of 10000 pixels"),
        (encode_sizes([(100, 100)] * 1700 + [(1, 1)]), 1701, "limit of 16777216"),
        (b"\2" + encode_sizes([(3, 2), (4, 4)])[1:], 2, "form"),
        (b"", 2, "cut short"),
        (encode_sizes([(28, 28), (28, 29)] * 2000), 3999, "more than the|too many"),
    ],
)
def test_sizes_that_are_refused(data: bytes, count: int, what: str) -> None:
    with pytest.raises(FormatError, match=what):
        mixed_sizes(group_of(data, count), Limits(10_000))


def test_arrange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images whose posterior is poor are coded directly, and come first."""
    vae = model_of(MODELS["rgb"], NumpyBackend())
    images = drawn(MODELS["rgb"])
    poor = {2, 5}

    def bits(_: Any, asked: Any, __: Any) -> Any:
        direct = [90.0 if any(image is images[number] for number in poor) else 110.0 for image in asked]
        return np.full(len(asked), 100.0), np.array(direct)

    monkeypatch.setattr(mixed, "model_bits", bits)
    monkeypatch.setattr(mixed, "SUBPIXEL_BITS", 10**6)  # the poor ones suffice
    assert arrange(vae, images, SETTINGS[0]) == ([2, 5, 0, 1, 3, 4, 6], 2)
    assert arrange(vae, images, SETTINGS[1]) == ([1, 0, 2, 3, 4, 5, 6], 1)  # the smallest
    poor.clear()
    assert arrange(vae, images, SETTINGS[0]) == ([1, 0, 2, 3, 4, 5, 6], 1)
    monkeypatch.setattr(mixed, "SUBPIXEL_BITS", 0.5)  # two are not enough
    order, direct = arrange(vae, images, SETTINGS[0])
    assert direct > 2
    assert sorted(order) == list(range(7))
    assert max(images[number].size for number in order[:direct]) <= min(images[n].size for n in order[direct:])


def test_a_forged_group_takes_little_memory() -> None:
    """Flat images and tall ones: the shelves that they stand on take twice their room, and one shelf, at most."""
    sizes = [(1, 1)] * 3000 + [(1024, 1), (1, 1024)] * 20
    canvas = MixedCanvas(sizes, 3, 64)
    room = sum((height + 3) * (width + 6) * 3 for height, width in sizes)
    highest = (1024 + 3) * canvas.pitch * 3
    assert canvas.flat.size < 2 * room + highest


def test_header_of_a_lone_image_needs_a_size() -> None:
    header = GroupHeader(count=1, model=bytes(4), blocks=True)
    for encode in (header.encode_lone, header.encode_group):
        with pytest.raises(FormatError, match="size"):
            encode()
    lone = bytearray(GroupHeader(count=1, model=bytes(4), blocks=True, size=(3, 4)).encode_lone())
    lone[0] &= ~(1 << 6)  # the size's flag, behind the bit that a lone image has
    with pytest.raises(FormatError, match="says no size"):
        GroupHeader.decode_lone(ByteReader(io.BytesIO(lone).getvalue()))
