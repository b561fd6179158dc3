"""Groups: every number of images and lanes, layouts, and that damage is never taken for images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from models_for_tests import (
    empty_images,
    noise_strips,
    sampled_images,
    sampled_strips,
    strips_of,
    tiny_local,
    tiny_resnet,
    tiny_vae,
)

from bbcompress.codecs import group as group_module
from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.direct import DirectCodec
from bbcompress.codecs.group import Layout, decode_group, encode_group
from bbcompress.coder.ans import Message
from bbcompress.errors import FormatError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.models.base import ModelWeights
from bbcompress.models.mlp import ExactMLPVAE
from bbcompress.models.registry import model_of
from bbcompress.models.strips import Canvas, Strips

CONTEXT = b"a context"


def decoded(codec: BitsBack, layout: Layout, message: Message, context: bytes, n: int | None = None) -> Any:
    """The images of a group of an MLP, (N, H, W, 1)."""
    count = layout.direct + sum(layout.batches) if n is None else n
    found = empty_images(codec.model.weights, count)
    decode_group(codec, layout, message, context, found)
    return found.canvas.images


def codec_of(likelihood: str = "bernoulli", k: int = 1, **settings: Any) -> BitsBack:
    return BitsBack(ExactMLPVAE(tiny_vae(likelihood, **settings), NumpyBackend()), "rha", k, 5000)


def check_layout(layout: Layout, n: int, lanes: int) -> None:
    assert layout.lanes == lanes
    assert layout.direct >= 1
    assert layout.direct + sum(layout.batches) == n
    assert all(size >= 1 for size in layout.batches)


def test_the_same_images_give_the_same_message() -> None:
    codec = codec_of(k=2)
    x = sampled_images(codec.model.weights, 17)
    layout, message = encode_group(codec, x, 2, CONTEXT)
    for compute_batch in (1, 3, 1000):
        again, other = encode_group(replace(codec, compute_batch=compute_batch), x, 2, CONTEXT)
        assert again == layout
        assert other == message


def test_batches_grow_with_the_message() -> None:
    codec = codec_of("discretised_logistic", k=0)
    x = sampled_images(codec.model.weights, 100)
    layout, _ = encode_group(codec, x, 1, CONTEXT)
    check_layout(layout, 100, 1)
    assert layout.direct == 1
    assert len(layout.batches) > 1
    *growing, _ = layout.batches
    assert growing == sorted(growing)


def test_more_images_come_directly_where_the_first_batch_cannot_be_paid() -> None:
    # 2^14 bins and narrow posteriors take more bits than one small image leaves
    codec = codec_of(latents=8, prior_bits=14, direct_bits=1, k=0)
    x = sampled_images(codec.model.weights, 40)
    layout, message = encode_group(codec, x, 1, CONTEXT)
    check_layout(layout, 40, 1)
    assert layout.direct > 1
    assert layout.batches
    pixels = x.canvas.images
    assert np.array_equal(decoded(codec, layout, message, CONTEXT), pixels)
    some = strips_of(codec.model.weights, pixels[: layout.direct])
    few, message = encode_group(codec, some, 1, CONTEXT)
    assert few == Layout(1, layout.direct, ())
    assert np.array_equal(decoded(codec, few, message, CONTEXT), some.canvas.images)


def test_images_cost_less_together() -> None:
    codec = codec_of("discretised_logistic", k=0)
    x = sampled_images(codec.model.weights, 40)
    together = len(encode_group(codec, x, 1, CONTEXT)[1].to_bytes())
    images = [strips_of(codec.model.weights, pixels[None]) for pixels in x.canvas.images]
    alone = sum(len(encode_group(codec, image, 1, CONTEXT)[1].to_bytes()) for image in images)
    assert together < alone


# Damage


@pytest.fixture(scope="module")
def group() -> tuple[BitsBack, Any, Layout, Message]:
    codec = codec_of(k=1)
    x = sampled_images(codec.model.weights, 6)
    layout, message = encode_group(codec, x, 2, CONTEXT)
    assert layout.batches
    return codec, x.canvas.images, layout, message


Group = tuple[BitsBack, Any, Layout, Message]


def test_another_context(group: Group) -> None:
    codec, _, layout, message = group
    for context in (b"", b"a contexT", CONTEXT + b"\0"):
        with pytest.raises(FormatError, match="checksum"):
            decoded(codec, layout, message.copy(), context)


def test_another_codec(group: Group) -> None:
    codec, _, layout, message = group
    others = [
        replace(codec, encoder="baseline"),
        replace(codec, k=2),
        replace(codec, learning_rate=6000),
        replace(codec, model=ExactMLPVAE(tiny_vae(seed=1), NumpyBackend())),
    ]
    for other in others:
        with pytest.raises(FormatError, match="damaged"):
            decoded(other, layout, message.copy(), CONTEXT)


def test_another_layout(group: Group) -> None:
    codec, _, layout, message = group
    layouts = [
        Layout(2, 6, ()),
        Layout(2, 1, (5,)) if layout.batches != (5,) else Layout(2, 1, (2, 3)),
        replace(layout, direct=layout.direct + 1),
        replace(layout, batches=(*layout.batches, 1)),
        replace(layout, batches=layout.batches[:-1]),
    ]
    for other in layouts:
        with pytest.raises(FormatError, match="damaged"):
            decoded(codec, other, message.copy(), CONTEXT, 6)


def decode(group: Group, data: bytes) -> Any:
    """Images of a stored message, None where it is refused."""
    codec, _, layout, _ = group
    try:
        message = Message.from_bytes(data, layout.lanes)
    except ValueError:
        return None
    try:
        return decoded(codec, layout, message, CONTEXT)
    except FormatError as error:
        assert "\n" not in str(error)
        return None


def test_every_flipped_byte(group: Group) -> None:
    _, x, _, message = group
    data = message.to_bytes()
    assert np.array_equal(decode(group, data), x)
    for position in range(len(data)):
        for flip in (1 << position % 8, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[position] ^= flip
            images = decode(group, bytes(damaged))
            assert images is None or np.array_equal(images, x)


def test_every_length(group: Group) -> None:
    data = group[3].to_bytes()
    for length in range(len(data)):
        assert decode(group, data[:length]) is None
    for more in (b"\0", bytes(4), b"\xff" * 5):
        assert decode(group, data + more) is None


def test_a_message_that_ends_early(group: Group) -> None:
    codec, _, layout, message = group
    for words in (message.words[:0], message.words[1:]):
        with pytest.raises(FormatError, match="damaged"):
            decoded(codec, layout, Message(message.heads, words), CONTEXT)
    with pytest.raises(FormatError, match="too early"):
        decoded(codec, layout, Message.empty(2), CONTEXT)


def test_swapped_images_are_not_taken(group: Group) -> None:
    """The check is of the very pixels: a message of others with this one's check does not pass."""
    codec, x, _, _ = group
    for change in (x[::-1], np.where(np.arange(30).reshape(6, 5, 1) == 29, 1 - x, x)):
        layout, message = encode_group(codec, strips_of(codec.model.weights, change), 2, CONTEXT)
        found = decoded(codec, layout, message, CONTEXT)
        assert not np.array_equal(found, x)
        assert np.array_equal(found, change)


# Strips

STRIPS: dict[str, tuple[ModelWeights, tuple[int, int, int]]] = {
    # a model, and images that suit it: count, height, width
    "mlp, binary": (tiny_vae(), (17, 6, 5)),
    "mlp, grey": (tiny_vae("discretised_logistic"), (3, 6, 5)),
    "mlp, one image": (tiny_vae(), (1, 6, 5)),
    "rgb": (tiny_local(), (2, 33, 9)),
    "grey": (tiny_local(channels=1, prior_bits=14, direct_bits=1, tile=4, latents=8), (1, 40, 11)),
    "binary": (tiny_local(channels=1, binary=True), (3, 9, 70)),
    "rgb, one size": (tiny_local(image=(8, 8), pool=2), (12, 8, 8)),
    "binary, one size": (tiny_local(channels=1, binary=True, image=(8, 8), cell=1), (12, 8, 8)),
    "rgb, one strip": (tiny_local(), (1, 5, 9)),
    "resnet": (tiny_resnet(), (2, 33, 13)),
    "resnet, one tile": (tiny_resnet(), (12, 7, 8)),
    "resnet, one strip": (tiny_resnet(), (1, 5, 9)),
}


def strips_codec(name: str, k: int = 0) -> BitsBack:
    return BitsBack(model_of(STRIPS[name][0], NumpyBackend()), "rha", k, 20_000)


def weights_of(codec: BitsBack) -> Any:
    return codec.model.weights


def empty_strips(codec: BitsBack, name: str) -> Strips:
    return Strips.all_of(Canvas(*STRIPS[name][1], weights_of(codec).channels, weights_of(codec).tile))


def drawn(codec: BitsBack, name: str, noise: bool = False) -> Strips:
    return (noise_strips if noise else sampled_strips)(weights_of(codec), *STRIPS[name][1])


@one_test_of("name", STRIPS)
@one_test_of(("k", "lanes"), [(0, 1), (2, 1), (0, 3)])
def test_round_trip(name: str, k: int, lanes: int) -> None:
    codec = strips_codec(name, k)
    for noise in (False, True):
        x = drawn(codec, name, noise)
        layout, message = encode_group(codec, x, lanes, CONTEXT)
        check_layout(layout, len(x), lanes)
        assert (len(x) == 1) == (not layout.batches)
        stored = Message.from_bytes(message.to_bytes(), lanes)
        found = empty_strips(codec, name)
        decode_group(codec, layout, stored, CONTEXT, found)
        assert np.array_equal(found.canvas.images, x.canvas.images)
        again, other = encode_group(replace(codec, compute_batch=1), x, lanes, CONTEXT)
        assert again == layout
        assert other == message


LAYOUTS = [(10, ()), (4, (6,)), (3, (1, 6)), (7, (1, 1, 1)), (2, (3, 3, 2))]


@one_test_of("name", ["rgb", "resnet"])
@one_test_of(("direct", "batches"), LAYOUTS)
@one_test_of("k", [0, 2])
def test_every_layout_of_strips_decodes(name: str, direct: int, batches: tuple[int, ...], k: int) -> None:
    """What another writer may choose: the batches cut images, tops and bottoms join."""
    codec = strips_codec(name, k)
    x = drawn(codec, name)
    pixels = np.ascontiguousarray(x.canvas.images)
    message = Message.empty(2, group_module.check_of(x, 2, CONTEXT))
    for unit in range(direct):
        DirectCodec(codec.model).push(message, x[unit : unit + 1])
    done = direct
    for size in batches:
        codec.push(message, x[done : done + size])
        done += size
    assert done == len(x) == 10
    found = empty_strips(codec, name)
    decode_group(codec, Layout(2, direct, batches), message, CONTEXT, found)
    assert np.array_equal(found.canvas.images, pixels)


@pytest.fixture(scope="module", params=["rgb, one size", "resnet, one tile"])
def strips(request: pytest.FixtureRequest) -> tuple[BitsBack, str, Strips, Layout, Message]:
    codec = strips_codec(request.param, 1)
    x = drawn(codec, request.param)
    layout, message = encode_group(codec, x, 2, CONTEXT)
    assert layout.batches
    return codec, request.param, x, layout, message


def test_damaged_strips(strips: tuple[BitsBack, str, Strips, Layout, Message]) -> None:
    codec, name, x, layout, message = strips
    data = message.to_bytes()
    for position in range(0, len(data), len(data) // 60):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        try:
            stored = Message.from_bytes(bytes(damaged), 2)
        except ValueError:
            continue
        with pytest.raises(FormatError, match="damaged"):
            decode_group(codec, layout, stored, CONTEXT, empty_strips(codec, name))
    for other in (replace(layout, direct=layout.direct + 1, batches=layout.batches[:-1]), Layout(2, len(x), ())):
        with pytest.raises(FormatError, match="damaged"):
            decode_group(codec, other, message.copy(), CONTEXT, empty_strips(codec, name))
    with pytest.raises(FormatError, match="damaged"):
        decode_group(codec, layout, message.copy(), b"other", empty_strips(codec, name))
