"""Direct coding: the choice of z, round trips."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models_for_tests import (
    noise_strips,
    random_images,
    sampled_images,
    sampled_strips,
    strips_of,
    tiny_local,
    tiny_vae,
)
from roundtrip import check_round_trip, random_message

from bbcompress.ans import EmptyMessage, Message
from bbcompress.codecs.direct import DirectCodec
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import LIKELIHOODS, negative_log_likelihood
from bbcompress.exact.tables import LOG2_BITS, bin_edges, bin_medians
from bbcompress.models.local import LocalVAE
from bbcompress.models.strips import Canvas, Strips
from bbcompress.models.vae import VAE, VAEWeights

likelihoods = pytest.mark.parametrize("likelihood", LIKELIHOODS)


def codec_of(weights: VAEWeights) -> DirectCodec:
    return DirectCodec(VAE(weights, NumpyBackend()))


def length(codec: DirectCodec, z: Any, x: Any) -> int:
    """-log2 p(x|z) for one z, by the public pieces alone, in units of 2^-20 bits."""
    bits = codec.vae.weights.direct_bits
    values = np.array([[bin_medians(b)[i] for b, i in zip(bits, z, strict=True)]])
    assert isinstance(codec.vae, VAE)
    return int(negative_log_likelihood(codec.vae.likelihood, codec.vae.decode(values), x)[0])


@likelihoods
@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("direct_bits", [(3, 3, 3, 3), (0, 1, 5, 8), (0, 0, 0, 0), (8, 8, 8, 8)])
def test_round_trip(likelihood: str, lanes: int, direct_bits: tuple[int, ...]) -> None:
    weights = replace(tiny_vae(likelihood), direct_bits=direct_bits)
    codec = codec_of(weights)
    for x in [*random_images(weights, 3)[:, None], *sampled_images(weights, 3)[:, None]]:
        check_round_trip(random_message(lanes), codec.push, codec.pop, x, pop_first=False)
        message = Message.empty(lanes)
        check_round_trip(message, codec.push, codec.pop, x, pop_first=False)


@likelihoods
def test_choice_is_a_local_optimum(likelihood: str) -> None:
    weights = tiny_vae(likelihood, latents=2, direct_bits=4)
    codec = codec_of(weights)
    best = 0
    for x in sampled_images(weights, 15)[:, None]:
        lengths = np.array([[length(codec, (i, j), x) for j in range(16)] for i in range(16)])
        i, j = codec.choose(x)[0]
        neighbours = [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
        for a, b in neighbours:
            if 0 <= a < 16 and 0 <= b < 16:
                assert lengths[i, j] <= lengths[a, b]
        best += int(lengths[i, j] == lengths.min())
    assert best >= 5  # and often the best of all


def test_both_encoders_are_tried() -> None:
    """With an encoder that is of no use, the other one's end is taken."""
    weights = tiny_vae(latents=3)
    images = sampled_images(weights, 20)[:, None]
    both = codec_of(weights)
    rha, baseline = (
        codec_of(replace(weights, encoders=dict.fromkeys(weights.encoders, weights.encoders[name])))
        for name in ("rha", "baseline")
    )
    won = [0, 0]
    for x in images:
        ends = [length(both, codec.choose(x)[0], x) for codec in (both, rha, baseline)]
        assert ends[0] == min(ends[1:])
        won[0] += ends[1] < ends[2]
        won[1] += ends[2] < ends[1]
    assert min(won) > 0


@likelihoods
def test_size_is_the_length_that_was_minimised(likelihood: str) -> None:
    weights = tiny_vae(likelihood)
    codec = codec_of(weights)
    message = random_message(words=0)
    bits = 0.0
    images = sampled_images(weights, 30)[:, None]
    before = message.content_bits
    for x in images:
        bits += length(codec, codec.choose(x)[0], x) / (1 << LOG2_BITS) + sum(weights.direct_bits)
        codec.push(message, x)
    assert abs(message.content_bits - before - bits) < 0.02 * bits + 2
    popped: list[Any] = [codec.pop(message) for _ in images]
    assert np.array_equal(np.concatenate(popped[::-1]), np.concatenate(images))


@likelihoods
def test_length(likelihood: str) -> None:
    codec = codec_of(tiny_vae(likelihood))
    for x in sampled_images(codec.vae.weights, 5)[:, None]:
        bits = length(codec, codec.choose(x)[0], x) / (1 << LOG2_BITS) + sum(codec.vae.weights.direct_bits)
        assert codec.length(x) == pytest.approx(bits)


def test_choice_is_the_same_again() -> None:
    weights = tiny_vae()
    x = sampled_images(weights, 1)
    assert np.array_equal(codec_of(weights).choose(x), codec_of(weights).choose(x))


def test_empty_message_raises() -> None:
    with pytest.raises(EmptyMessage):
        codec_of(tiny_vae()).pop(Message.empty(2))


# Strips of local models

LOCAL: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    # settings, and an image that suits them
    "rgb": ({}, (17, 9)),
    "grey, searched": ({"channels": 1}, (7, 8)),
    "binary": ({"channels": 1, "binary": True}, (9, 13)),
    "rgb, one size": ({"image": (8, 8), "pool": 2}, (8, 8)),
    "one pixel": ({}, (1, 1)),
}


def local_codec(name: str, **more: Any) -> DirectCodec:
    return DirectCodec(LocalVAE(tiny_local(**LOCAL[name][0], **more), NumpyBackend()))


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("direct_bits", [(3, 3, 3), (0, 1, 8), (0, 0, 0)])
def test_round_trip_of_a_strip(name: str, lanes: int, direct_bits: tuple[int, ...]) -> None:
    weights = replace(tiny_local(**LOCAL[name][0]), direct_bits=direct_bits)
    codec = DirectCodec(LocalVAE(weights, NumpyBackend()))
    height, width = LOCAL[name][1]

    def push(message: Message, images: Any) -> None:
        codec.push(message, strips_of(weights, images))

    def pop(message: Message) -> Any:
        popped = codec.pop(message, Strips.all_of(Canvas(1, height, width, weights.channels, 8)))
        assert isinstance(popped, Strips)
        return popped.canvas.images

    for draw in (noise_strips, sampled_strips):
        x = draw(weights, 1, height, width)
        images = x.canvas.images
        if len(x) == 1:
            for message in (random_message(lanes), Message.empty(lanes)):
                check_round_trip(message, push, pop, images, pop_first=False)
            continue
        message = random_message(lanes)
        before = message.copy()
        for unit in range(len(x)):
            codec.push(message, x[unit : unit + 1])
        found = Strips.all_of(Canvas(1, height, width, weights.channels, 8))
        for unit in reversed(range(len(x))):
            codec.pop(message, found[unit : unit + 1])
        assert np.array_equal(found.canvas.images, images)
        assert message == before


@pytest.mark.parametrize("name", ["grey, searched", "rgb, one size"])
def test_choice_for_a_small_image_is_a_local_optimum(name: str) -> None:
    codec = local_codec(name, direct_bits=2)
    vae, bits = codec.vae, codec.vae.weights.direct_bits
    grid = bin_medians(2)
    for seed in range(5):
        x = sampled_strips(vae.weights, 1, *LOCAL[name][1], seed=seed)  # type: ignore[arg-type]
        cube = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        lengths = vae.candidate_lengths(grid[cube], x)
        chosen = codec.choose(x)
        assert chosen.shape == (1, 3)
        near = np.abs(cube - chosen).sum(axis=1)
        assert lengths[near == 0] <= lengths[near == 1].min()
        assert codec.length(x) == pytest.approx(lengths[near == 0][0] / (1 << LOG2_BITS) + sum(bits))


@pytest.mark.parametrize("name", ["rgb", "binary"])
def test_of_larger_images_the_posterior_mean_is_taken(name: str) -> None:
    codec = local_codec(name)
    x = sampled_strips(codec.vae.weights, 1, *LOCAL[name][1])[:1]  # type: ignore[arg-type]
    mu, _ = codec.vae.encode(x, "rha")
    chosen = codec.choose(x)
    assert chosen.shape == (2, 3)
    means = np.floor(mu * 2.0**24)
    edges = [-(1 << 40), *bin_edges(3).tolist(), 1 << 40]
    for z, mean in zip(chosen.ravel(), means.ravel(), strict=True):
        assert edges[z] <= mean < edges[z + 1]
    expected = codec.vae.lengths(bin_medians(3)[chosen], x).sum() / (1 << LOG2_BITS) + 2 * 9
    assert codec.length(x) == pytest.approx(expected)
