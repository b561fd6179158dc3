"""Algorithm 1 and 2 as a codec: round trips, and independence of compute batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models_for_tests import random_images, sampled_images, tiny_vae
from roundtrip import check_round_trip, random_message

from bbcompress.ans import EmptyMessage, Message
from bbcompress.codecs.bitsback import BitsBack
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import LIKELIHOODS, push_likelihood
from bbcompress.models.vae import ENCODERS, VAE


def codec_of(likelihood: str = "bernoulli", steps: int = 0, encoder: str = "rha", **settings: Any) -> BitsBack:
    return BitsBack(VAE(tiny_vae(likelihood, **settings), NumpyBackend()), encoder, steps, 5000)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize(("n", "lanes"), [(1, 1), (6, 3)])
def test_round_trip(likelihood: str, encoder: str, steps: int, n: int, lanes: int) -> None:
    codec = codec_of(likelihood, steps, encoder)
    for x in (random_images(codec.vae.weights, n), sampled_images(codec.vae.weights, n)):
        check_round_trip(random_message(lanes), codec.push, lambda message: codec.pop(message, n), x, pop_first=False)


def test_popped_images_are_bytes() -> None:
    codec = codec_of()
    message = random_message()
    codec.push(message, sampled_images(codec.vae.weights, 2))
    x = codec.pop(message, 2)
    assert x.dtype == np.uint8
    assert x.shape == (2, 30)


def test_the_order_of_algorithm_1() -> None:
    """Pop z ~ q(z|x), push x ~ p(x|z), push z ~ p(z)."""
    codec = codec_of(steps=2)
    x = sampled_images(codec.vae.weights, 4)
    message, plain = random_message(2), random_message(2)
    codec.push(message, x)
    z = codec.posterior(x).pop(plain)
    push_likelihood(plain, codec.vae.likelihood, codec.parameters(z), x)
    plain.push_uniform(z.ravel(), codec.vae.weights.prior_bits)
    assert message == plain


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("compute_batch", [1, 3, 10, 1000])
def test_compute_batches_change_no_number(likelihood: str, compute_batch: int) -> None:
    codec = codec_of(likelihood, 3, hidden=40)
    other = replace(codec, compute_batch=compute_batch)
    x = sampled_images(codec.vae.weights, 10)
    one, two = codec.posterior(x), other.posterior(x)
    assert np.array_equal(one.mu, two.mu)
    assert np.array_equal(one.sigma, two.sigma)
    z = np.random.default_rng(0).integers(0, 256, (10, 4))
    assert np.array_equal(codec.parameters(z), other.parameters(z))
    message = random_message(2)
    before = message.copy()
    codec.push(message, x)
    assert np.array_equal(other.pop(message, 10), x)
    assert message == before


def test_a_given_posterior_is_used() -> None:
    codec = codec_of(steps=2)
    x = sampled_images(codec.vae.weights, 5)
    message, other = random_message(), random_message()
    codec.push(message, x[1:], codec.posterior(x)[1:])
    codec.push(other, x[1:])
    assert message == other


def test_settings_matter() -> None:
    """Otherwise the tests above would not see them ignored."""
    codec = codec_of(steps=2)
    x = sampled_images(codec.vae.weights, 5)
    mus = [codec.posterior(x).mu]
    for change in ({"steps": 1}, {"steps": 3}, {"learning_rate": 5001}, {"encoder": "baseline"}):
        mus.append(replace(codec, **change).posterior(x).mu)
    assert len({mu.tobytes() for mu in mus}) == 5


def test_messages_that_are_too_short_stay() -> None:
    codec = codec_of(steps=1)
    x = sampled_images(codec.vae.weights, 5)
    message = Message.empty(3, [1, 2, 3])
    before = message.copy()
    with pytest.raises(EmptyMessage):
        codec.push(message, x)
    assert message == before
    with pytest.raises(EmptyMessage):
        codec.pop(message, 5)
