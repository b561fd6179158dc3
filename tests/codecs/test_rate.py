"""The net rate is what messages grow by."""

from __future__ import annotations

import numpy as np
import pytest
from models_for_tests import sampled_images, tiny_vae
from roundtrip import random_message

from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.rate import code_bits, draw, net_bits
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import LIKELIHOODS, EqualMassBins, NormalPosterior
from bbcompress.exact.tables import bin_medians
from bbcompress.models.mlp import ExactMLPVAE


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("k", [0, 5])
def test_net_bits_are_what_a_message_grows_by(likelihood: str, k: int) -> None:
    codec = BitsBack(ExactMLPVAE(tiny_vae(likelihood, hidden=20), NumpyBackend()), "rha", k, 20_000)
    x = sampled_images(codec.model.weights, 200)
    totals = [net_bits(codec, x, seed=seed).sum() for seed in range(12)]
    growths = []
    for seed in range(6):
        message = random_message(words=5000, seed=seed)
        before = message.content_bits
        codec.push(message, x)
        growths.append(message.content_bits - before)
    spread = np.std(totals, ddof=1)
    assert spread < 0.03 * np.mean(totals)
    assert abs(np.mean(growths) - np.mean(totals)) < 5 * spread * (1 / 12 + 1 / 6) ** 0.5 + 2


def test_samples_are_averaged() -> None:
    codec = BitsBack(ExactMLPVAE(tiny_vae(), NumpyBackend()), "rha", 0, 5000)
    x = sampled_images(codec.model.weights, 10)
    one, many = net_bits(codec, x), net_bits(codec, x, samples=200)
    assert one.shape == many.shape == (10,)
    assert one.dtype == np.float64
    assert np.array_equal(one, net_bits(codec, x))
    assert not np.array_equal(one, net_bits(codec, x, seed=1))
    single = np.array([net_bits(codec, x, seed=seed) for seed in range(60)])
    error = single.std(axis=0) * (1 / 60 + 1 / 200) ** 0.5
    assert (np.abs(single.mean(axis=0) - many) < 5 * error).all()


def test_code_bits_are_those_of_a_given_z() -> None:
    codec = BitsBack(ExactMLPVAE(tiny_vae(), NumpyBackend()), "rha", 1, 5000)
    x = sampled_images(codec.model.weights, 50)
    q = codec.posterior(x)
    message = random_message(words=2000)
    z = q.pop(message.copy())
    before = message.content_bits
    codec.push(message, x)
    assert abs(code_bits(codec, x, q, z).sum() - (message.content_bits - before)) < 3


def test_draws_have_the_posteriors_moments() -> None:
    n = 20_000
    mu, sigma = round(0.7 * (1 << 24)), round(0.4 * (1 << 24))
    q = NormalPosterior(EqualMassBins(10), np.full((n, 1), mu), np.full((n, 1), sigma))
    z = draw(q, np.random.default_rng(0))
    values = bin_medians(10)[z] / (1 << 24)
    assert values.shape == (n, 1)
    assert abs(values.mean() - 0.7) < 0.02
    assert abs(values.std() - 0.4) < 0.02
