"""Algorithm 1 and 2 as a codec: round trips, and independence of compute batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models_for_tests import (
    coding,
    noise_strips,
    rows_of,
    sampled_images,
    sampled_strips,
    tiny_local,
    tiny_resnet,
    tiny_vae,
)
from roundtrip import check_round_trip, random_message

from bbcompress.codecs.bitsback import BitsBack
from bbcompress.coder.ans import EmptyMessage, Message
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import LIKELIHOODS, PRECISION
from bbcompress.limits import ENCODERS
from bbcompress.models import mlp as mlp_module
from bbcompress.models.base import ModelWeights
from bbcompress.models.mlp import ExactMLPVAE
from bbcompress.models.registry import model_of
from bbcompress.models.strips import Canvas, Strips


def codec_of(likelihood: str = "bernoulli", k: int = 0, encoder: str = "rha", **settings: Any) -> BitsBack:
    return BitsBack(ExactMLPVAE(tiny_vae(likelihood, **settings), NumpyBackend()), encoder, k, 5000)


def test_the_order_of_algorithm_1() -> None:
    """Pop z ~ q(z|x), push x ~ p(x|z), push z ~ p(z)."""
    codec = codec_of(k=2)
    x = sampled_images(codec.model.weights, 4)
    message, plain = random_message(2), random_message(2)
    codec.push(message, x)
    z = codec.posterior(x).pop(plain)
    assert isinstance(codec.model, ExactMLPVAE)
    params = codec.model.decode(codec.model.prior.values(z))
    plain.push(*codec.model.distribution.intervals(params, rows_of(x)), PRECISION)
    plain.push_uniform(z.ravel(), codec.model.weights.prior_bits)
    assert message == plain


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("compute_batch", [1, 3, 10, 1000])
def test_decode_batches_change_no_number(likelihood: str, compute_batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = codec_of(likelihood, 3, hidden=40)
    other = replace(codec, compute_batch=compute_batch)
    x = sampled_images(codec.model.weights, 10)
    one, two = codec.posterior(x), other.posterior(x)
    assert np.array_equal(one.mu, two.mu)
    assert np.array_equal(one.sigma, two.sigma)
    z = np.random.default_rng(0).integers(0, 256, (10, 4))
    lengths = codec.model.lengths(codec.model.prior.values(z), x)
    monkeypatch.setattr(mlp_module, "DECODE_BATCH", compute_batch)
    assert np.array_equal(other.model.lengths(codec.model.prior.values(z), x), lengths)


def test_a_given_posterior_is_used() -> None:
    codec = codec_of(k=2)
    x = sampled_images(codec.model.weights, 5)
    message, other = random_message(), random_message()
    codec.push(message, x[1:], codec.posterior(x)[1:])
    codec.push(other, x[1:])
    assert message == other


def test_settings_matter() -> None:
    """Otherwise the tests above would not see them ignored."""
    codec = codec_of(k=2)
    x = sampled_images(codec.model.weights, 5)
    mus = [codec.posterior(x).mu]
    for change in ({"k": 1}, {"k": 3}, {"learning_rate": 5001}, {"encoder": "baseline"}):
        mus.append(replace(codec, **change).posterior(x).mu)
    assert len({mu.tobytes() for mu in mus}) == 5


# Strips

STRIPS: dict[str, tuple[ModelWeights, tuple[int, int, int]]] = {
    # a model, and images that suit it: count, height, width
    "mlp, binary": (tiny_vae(), (6, 6, 5)),
    "mlp, grey": (tiny_vae("discretised_logistic"), (6, 6, 5)),
    "mlp, one image": (tiny_vae(), (1, 6, 5)),
    "rgb": (tiny_local(), (2, 17, 9)),
    "grey": (tiny_local(channels=1), (1, 20, 11)),
    "binary": (tiny_local(channels=1, binary=True), (2, 9, 13)),
    "rgb, one size": (tiny_local(image=(8, 8), pool=2), (5, 8, 8)),
    "binary, one size": (tiny_local(channels=1, binary=True, image=(8, 8), cell=1), (5, 8, 8)),
    "rgb, tiny": (tiny_local(), (3, 2, 1)),
    "resnet": (tiny_resnet(), (2, 13, 21)),
    "resnet, one tile": (tiny_resnet(16), (5, 7, 16)),
    "resnet, tiny": (tiny_resnet(), (3, 2, 1)),
}


def strips_codec(name: str, k: int = 0, encoder: str = "rha") -> BitsBack:
    return BitsBack(model_of(STRIPS[name][0], NumpyBackend()), encoder, k, 20_000)


def weights_of(codec: BitsBack) -> Any:
    return codec.model.weights


def empty_strips(codec: BitsBack, name: str) -> Strips:
    weights = weights_of(codec)
    return Strips.all_of(Canvas(*STRIPS[name][1], weights.channels, weights.tile))


@pytest.mark.parametrize("name", STRIPS)
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(("k", "lanes"), [(0, 1), (2, 3)])
def test_round_trip(name: str, encoder: str, k: int, lanes: int) -> None:
    codec = strips_codec(name, k, encoder)
    for draw in (noise_strips, sampled_strips):
        x = draw(codec.model.weights, *STRIPS[name][1])
        check_round_trip(*coding(codec, x, random_message(lanes, words=9000)), pop_first=False)


@pytest.mark.parametrize("name", ["mlp, grey", "rgb", "binary", "rgb, one size", "resnet", "resnet, one tile"])
@pytest.mark.parametrize("k", [0, 2])
def test_batches_of_strips_are_popped_in_the_other_order(name: str, k: int) -> None:
    """Each with the pixels above it decoded before, whatever the compute batch is."""
    codec = strips_codec(name, k)
    x = sampled_strips(weights_of(codec), *STRIPS[name][1])
    message = random_message(2, words=9000)
    before = message.copy()
    for start, end in ((0, 1), (1, 3), (3, len(x))):
        codec.push(message, x[start:end])
    found = empty_strips(codec, name)
    for start, end in ((3, len(x)), (1, 3), (0, 1)):
        replace(codec, compute_batch=1).pop(message, found[start:end])
    assert np.array_equal(found.canvas.images, x.canvas.images)
    assert message == before


@pytest.mark.parametrize("name", ["mlp, binary", "mlp, grey", "rgb", "resnet"])
@pytest.mark.parametrize("compute_batch", [1, 2, 1000])
def test_compute_batches_of_strips_change_no_number(name: str, compute_batch: int) -> None:
    codec = strips_codec(name, 3)
    x = sampled_strips(weights_of(codec), *STRIPS[name][1])
    one, two = codec.posterior(x), replace(codec, compute_batch=compute_batch).posterior(x)
    assert one.mu.shape == (x.row_count, codec.model.weights.latents)
    assert np.array_equal(one.mu, two.mu)
    assert np.array_equal(one.sigma, two.sigma)


@pytest.mark.parametrize("name", ["mlp, binary", "rgb", "resnet"])
def test_strips_need_bits_for_each_tile(name: str) -> None:
    codec = strips_codec(name)
    x = sampled_strips(weights_of(codec), *STRIPS[name][1])
    message = Message.empty(3, [1, 2, 3])
    before = message.copy()
    with pytest.raises(EmptyMessage):
        codec.push(message, x)
    assert message == before
    with pytest.raises(EmptyMessage):
        codec.pop(message, empty_strips(codec, name))
