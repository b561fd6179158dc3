"""Direct coding: the choice of z, round trips."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models_for_tests import random_images, sampled_images, tiny_vae
from roundtrip import check_round_trip, random_message

from bbcompress.ans import EmptyMessage, Message
from bbcompress.codecs.direct import DirectCodec
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import LIKELIHOODS, negative_log_likelihood
from bbcompress.exact.tables import LOG2_BITS, bin_medians
from bbcompress.models.vae import VAE, VAEWeights

likelihoods = pytest.mark.parametrize("likelihood", LIKELIHOODS)


def codec_of(weights: VAEWeights) -> DirectCodec:
    return DirectCodec(VAE(weights, NumpyBackend()))


def length(codec: DirectCodec, z: Any, x: Any) -> int:
    """-log2 p(x|z) for one z, by the public pieces alone, in units of 2^-20 bits."""
    bits = codec.vae.weights.direct_bits
    values = np.array([[bin_medians(b)[i] for b, i in zip(bits, z, strict=True)]])
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
    assert np.array_equal(np.concatenate([codec.pop(message) for _ in images][::-1]), np.concatenate(images))


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
