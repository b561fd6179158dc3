"""Direct coding: the choice of z, round trips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models_for_tests import (
    coding,
    empty_images,
    noise_strips,
    random_images,
    rows_of,
    sampled_images,
    sampled_strips,
    singles,
    tiny_local,
    tiny_resnet,
    tiny_vae,
)
from roundtrip import check_round_trip, random_message
from torch_for_tests import TORCH_BACKENDS

from bbcompress.codecs import direct
from bbcompress.codecs.direct import DirectCodec
from bbcompress.coder.ans import EmptyMessage, Message
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import LIKELIHOODS, negative_log_likelihood
from bbcompress.exact.tables import LOG2_BITS, bin_edges, bin_medians
from bbcompress.limits import ENCODERS
from bbcompress.models.local import ExactLocalVAE
from bbcompress.models.mlp import ExactMLPVAE, MLPWeights
from bbcompress.models.registry import model_of
from bbcompress.models.strips import Canvas, Strips

likelihoods = pytest.mark.parametrize("likelihood", LIKELIHOODS)


def codec_of(weights: MLPWeights) -> DirectCodec:
    return DirectCodec(ExactMLPVAE(weights, NumpyBackend()))


def length(codec: DirectCodec, z: Any, x: Any) -> int:
    """-log2 p(x|z) for one z, by the public pieces alone, in units of 2^-20 bits."""
    bits = codec.model.weights.direct_bits
    values = np.array([[bin_medians(b)[i] for b, i in zip(bits, z, strict=True)]])
    assert isinstance(codec.model, ExactMLPVAE)
    return int(negative_log_likelihood(codec.model.distribution, codec.model.decode(values), rows_of(x))[0])


@likelihoods
@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("direct_bits", [(3, 3, 3, 3), (0, 1, 5, 8), (0, 0, 0, 0), (8, 8, 8, 8)])
def test_round_trip(likelihood: str, lanes: int, direct_bits: tuple[int, ...]) -> None:
    weights = replace(tiny_vae(likelihood), direct_bits=direct_bits)
    codec = codec_of(weights)
    for seed in range(3):
        for x in (random_images(weights, 1, seed), sampled_images(weights, 1, seed)):
            for message in (random_message(lanes), Message.empty(lanes)):
                check_round_trip(*coding(codec, x, message), pop_first=False)


@likelihoods
def test_choice_is_a_local_optimum(likelihood: str) -> None:
    weights = tiny_vae(likelihood, latents=2, direct_bits=4)
    codec = codec_of(weights)
    best = 0
    for x in singles(sampled_images(weights, 15)):
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
    images = singles(sampled_images(weights, 20))
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
    images = sampled_images(weights, 30)
    before = message.content_bits
    for x in singles(images):
        bits += length(codec, codec.choose(x)[0], x) / (1 << LOG2_BITS) + sum(weights.direct_bits)
        codec.push(message, x)
    assert abs(message.content_bits - before - bits) < 0.02 * bits + 2
    popped = empty_images(weights, 30)
    for x in reversed(singles(popped)):
        codec.pop(message, x)
    assert np.array_equal(popped.canvas.images, images.canvas.images)


@likelihoods
def test_length(likelihood: str) -> None:
    codec = codec_of(tiny_vae(likelihood))
    for x in singles(sampled_images(codec.model.weights, 5)):
        bits = length(codec, codec.choose(x)[0], x) / (1 << LOG2_BITS) + sum(codec.model.weights.direct_bits)
        assert codec.length(x) == pytest.approx(bits)


def test_choice_is_the_same_again() -> None:
    weights = tiny_vae()
    x = sampled_images(weights, 1)
    assert np.array_equal(codec_of(weights).choose(x), codec_of(weights).choose(x))


def test_empty_message_raises() -> None:
    with pytest.raises(EmptyMessage):
        codec_of(tiny_vae()).pop(Message.empty(2), empty_images(tiny_vae(), 1))


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
    return DirectCodec(ExactLocalVAE(tiny_local(**LOCAL[name][0], **more), NumpyBackend()))


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("direct_bits", [(3, 3, 3), (0, 1, 8), (0, 0, 0)])
def test_round_trip_of_a_strip(name: str, lanes: int, direct_bits: tuple[int, ...]) -> None:
    weights = replace(tiny_local(**LOCAL[name][0]), direct_bits=direct_bits)
    codec = DirectCodec(ExactLocalVAE(weights, NumpyBackend()))
    height, width = LOCAL[name][1]
    for draw in (noise_strips, sampled_strips):
        x = draw(weights, 1, height, width)
        images = x.canvas.images
        if len(x) == 1:
            for message in (random_message(lanes), Message.empty(lanes)):
                check_round_trip(*coding(codec, x, message), pop_first=False)
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
    vae, bits = codec.model, codec.model.weights.direct_bits
    grid = bin_medians(2)
    for seed in range(5):
        x = sampled_strips(vae.weights, 1, *LOCAL[name][1], seed=seed)
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
    x = sampled_strips(codec.model.weights, 1, *LOCAL[name][1])[:1]
    mu, _ = codec.model.encode(x, "rha")
    chosen = codec.choose(x)
    assert chosen.shape == (2, 3)
    means = np.floor(mu * 2.0**24)
    edges = [-(1 << 40), *bin_edges(3).tolist(), 1 << 40]
    for z, mean in zip(chosen.ravel(), means.ravel(), strict=True):
        assert edges[z] <= mean < edges[z + 1]
    expected = codec.model.lengths(bin_medians(3)[chosen], x).sum() / (1 << LOG2_BITS) + 2 * 9
    assert codec.length(x) == pytest.approx(expected)


# Models of many latents: the search by gradients

MANY = tiny_resnet(32)
MANY_LATENTS: dict[str, tuple[Any, tuple[int, int]]] = {
    # a model, and an image that is one tile of it
    "whole tile": (MANY, (32, 32)),
    "a part of a tile": (MANY, (19, 30)),
    "one pixel": (MANY, (1, 1)),
    "no bits": (replace(MANY, direct_bits=(0, 3) * 64), (9, 12)),
}
many = pytest.mark.parametrize("name", MANY_LATENTS)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "GRADIENT_STEPS", 12)


def start_lengths(codec: DirectCodec, x: Any) -> list[int]:
    """Code length of x at the grid point of each encoder's mean, in units of 2^-30 bits."""
    vae, found = codec.model, []
    for encoder in ENCODERS:
        mu, _ = vae.encode(vae.prepare(x), encoder)
        means = np.floor(vae.backend.numpy(mu) * 2.0**24)
        z = [np.searchsorted(bin_edges(bits), means[:, i], "right") for i, bits in enumerate(vae.weights.direct_bits)]
        found.append(int(vae.lengths(medians(vae.weights, np.stack(z, axis=1)), x)[0]))
    return found


def medians(weights: Any, z: Any) -> Any:
    """Values of grid points z (N, Z), in units of 2^-24."""
    return np.stack([bin_medians(bits)[z[:, i]] for i, bits in enumerate(weights.direct_bits)], axis=1)


@many
@pytest.mark.usefixtures("few_steps")
def test_round_trip_of_many_latents(name: str) -> None:
    weights, shape = MANY_LATENTS[name]
    codec = DirectCodec(model_of(weights, NumpyBackend()))
    for draw in (noise_strips, sampled_strips):
        check_round_trip(*coding(codec, draw(weights, 1, *shape), random_message(2)), pop_first=False)


@many
@pytest.mark.usefixtures("few_steps")
def test_gradients_find_a_code_that_is_no_longer(name: str) -> None:
    weights, shape = MANY_LATENTS[name]
    codec = DirectCodec(model_of(weights, NumpyBackend()))
    for draw in (noise_strips, sampled_strips):
        x = draw(weights, 1, *shape)
        z = codec.choose(x)
        assert z.shape == (1, 128)
        assert ((z >= 0) & (z < 1 << np.array(weights.direct_bits))).all()
        found = int(codec.model.lengths(medians(weights, z), x)[0])
        assert found <= min(start_lengths(codec, x))
        assert codec.length(x) == pytest.approx(found / (1 << LOG2_BITS) + sum(weights.direct_bits))


@pytest.mark.usefixtures("few_steps")
def test_the_best_point_on_the_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the last, to which steps that are too long may lead."""
    monkeypatch.setattr(direct, "GRADIENT_RATE", 1_000_000)
    codec = DirectCodec(model_of(MANY, NumpyBackend()))
    measure, tried = codec._lengths, []

    def measured(z: Any, x: Any) -> Any:
        tried.append(int(measure(z, x)[0]))
        return np.array(tried[-1:])

    monkeypatch.setattr(codec, "_lengths", measured)
    x = sampled_strips(MANY, 1, 19, 30)
    found = int(codec.model.lengths(medians(MANY, codec.choose(x)), x)[0])
    ways = np.array(tried).reshape(len(ENCODERS), -1)
    assert found == ways.min()
    assert (ways[:, -1] > ways.min(axis=1)).all()


def test_gradients_find_a_code_that_is_much_shorter() -> None:
    """All steps of them, on an image of the model's own."""
    codec = DirectCodec(model_of(MANY, NumpyBackend()))
    x = sampled_strips(MANY, 1, 32, 32)
    found = int(codec.model.lengths(medians(MANY, codec.choose(x)), x)[0])
    assert found < 0.95 * min(start_lengths(codec, x))


@pytest.mark.usefixtures("few_steps")
def test_both_encoders_are_starts_of_gradients() -> None:
    codecs = [
        DirectCodec(model_of(replace(MANY, encoders=dict.fromkeys(ENCODERS, MANY.encoders[name])), NumpyBackend()))
        for name in ENCODERS
    ]
    both = DirectCodec(model_of(MANY, NumpyBackend()))
    won = [0, 0]
    for seed in range(6):
        x = noise_strips(MANY, 1, 5, 9, seed) if seed % 2 else sampled_strips(MANY, 1, 5, 9, seed)
        ends = [codec.length(x) for codec in codecs]
        assert both.length(x) == min(ends)
        won[ends.index(min(ends))] += 1
    assert min(won) > 0


@many
@pytest.mark.usefixtures("few_steps")
def test_choice_among_many_latents_is_the_same_everywhere(name: str) -> None:
    weights, shape = MANY_LATENTS[name]
    x = sampled_strips(weights, 1, *shape)
    first = DirectCodec(model_of(weights, NumpyBackend())).choose(x)
    for backend in TORCH_BACKENDS.values():
        assert np.array_equal(DirectCodec(model_of(weights, backend)).choose(x), first)


def recorded(name: str, function: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    """The function, which notes its name when it is called."""

    def call(*given: Any) -> Any:
        calls.append(name)
        return function(*given)

    return call


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize(("latents", "by_gradients"), [(64, False), (65, True)])
def test_number_of_latents_decides_how_to_search(
    latents: int, by_gradients: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = codec_of(tiny_vae(latents=latents, direct_bits=1))
    called: list[str] = []
    for name in ("_descend", "_follow_gradient"):
        monkeypatch.setattr(codec, name, recorded(name, getattr(codec, name), called))
    x = sampled_images(codec.model.weights, 1)
    check_round_trip(*coding(codec, x), pop_first=False)
    assert set(called) == {"_follow_gradient" if by_gradients else "_descend"}


@pytest.mark.parametrize("shape", [(33, 5), (5, 33)])
def test_images_of_several_tiles_are_not_searched(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("searched")

    codec = DirectCodec(model_of(MANY, NumpyBackend()))
    monkeypatch.setattr(codec, "_follow_gradient", fail)
    x = sampled_strips(MANY, 1, *shape)
    message = random_message(words=100)
    before = message.copy()
    for unit in range(len(x)):
        codec.push(message, x[unit : unit + 1])
    found = Strips.all_of(Canvas(1, *shape, 3, 32))
    for unit in reversed(range(len(x))):
        codec.pop(message, found[unit : unit + 1])
    assert np.array_equal(found.canvas.images, x.canvas.images)
    assert message == before
