"""Networks that learn between batches: exact gradients by weights, and integers that never leave the exact range."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models_for_tests import tiny_resnet, tiny_vae
from torch_for_tests import BACKENDS

from bbcompress.errors import ModelError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.batch_learning import SUM_LIMIT, NetworkParameters
from bbcompress.exact.convolution import ResidualNetwork
from bbcompress.exact.layers import (
    ACTIVATION_LIMIT,
    GRADIENT_LIMIT,
    MAX_GRADIENT_ROWS,
    Network,
    weight_gradient,
    with_bias_gradient,
)
from bbcompress.models.base import Z_LIMIT

VAE, RESNET = tiny_vae("discretised_logistic"), tiny_resnet()
NUMPY = NumpyBackend()


def test_gradients_by_weights_are_exact_at_their_bounds() -> None:
    """The sums of the two parts of the gradient reach 2^52, and no bit of them is lost."""
    random = np.random.default_rng(0)
    gradient = GRADIENT_LIMIT - random.integers(0, 1 << 12, (MAX_GRADIENT_ROWS, 3))
    gradient[:, 1] *= -1
    x = ACTIVATION_LIMIT - random.integers(0, 1 << 8, (MAX_GRADIENT_ROWS, 2))
    found = weight_gradient(gradient.astype(float), x.astype(float), NUMPY)
    high = (gradient + (1 << 14)) >> 15
    low = gradient - (high << 15)
    sums = (high.astype(object).T @ x.astype(object), low.astype(object).T @ x.astype(object))
    assert max(abs(total) for total in sums[0].ravel()) > 1 << 51
    expected = [
        [float(int(h) << 15) + float(int(part)) for h, part in zip(*rows, strict=True)]
        for rows in zip(*sums, strict=True)
    ]
    assert found.tolist() == expected
    whole = with_bias_gradient(found, gradient.astype(float), NUMPY)
    assert np.array_equal(whole, np.column_stack([expected, gradient.sum(axis=0)]))
    with pytest.raises(ValueError, match="too many"):
        weight_gradient(np.ones((MAX_GRADIENT_ROWS + 1, 1)), np.ones((MAX_GRADIENT_ROWS + 1, 1)), NUMPY)


def gradients(network: str, backend: Any) -> list[Any]:
    """By weights and bias of each layer, of a random gradient."""
    random = np.random.default_rng(1)
    if network == "linear":
        x = random.integers(-Z_LIMIT, Z_LIMIT, (7, VAE.latents)).astype(float)
        linear = Network(VAE.decoder, backend)
        y, tape = linear.forward_with_tape(backend.asarray(x))
        gradient = random.integers(-(1 << 32), 1 << 32, y.shape).astype(float)
        return linear.weight_gradients(backend.asarray(gradient), backend.asarray(x), tape)
    side = RESNET.latent_side
    x = random.integers(-Z_LIMIT, Z_LIMIT, (3, side, side, RESNET.latents // side**2)).astype(float)
    residual = ResidualNetwork(RESNET.decoder, RESNET.blocks, 1, backend)
    outputs, tapes = residual.forward_with_tape(backend.asarray(x))
    gradient = random.integers(-(1 << 22), 1 << 22, tuple(outputs.shape)).astype(float)
    return residual.weight_gradients(backend.asarray(gradient), backend.asarray(x), tapes)


@pytest.mark.parametrize("network", ["linear", "residual"])
@pytest.mark.parametrize("device", BACKENDS)
def test_gradients_are_the_same_on_every_backend(network: str, device: str) -> None:
    expected = gradients(network, NUMPY)
    found = gradients(network, BACKENDS[device])
    assert len(found) == len(VAE.decoder if network == "linear" else RESNET.decoder)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert all(part.any() for part in expected)


def test_gradients_of_a_residual_network_against_differences() -> None:
    """The slope of a sum of outputs by each of some weights: every kind of convolution, within blocks and outside."""
    random = np.random.default_rng(2)
    side = RESNET.latent_side
    x = random.integers(-(2 << 16), 2 << 16, (2, side, side, RESNET.latents // side**2)).astype(float)
    network = ResidualNetwork(RESNET.decoder, RESNET.blocks, 1, NUMPY)
    y, tape = network.forward_with_tape(x)
    of_outputs = random.integers(-50, 51, y.shape).astype(float) * (1 << 14)
    units = np.ldexp(1.0, -np.asarray(RESNET.decoder[-1].out_bits))
    found = network.weight_gradients(of_outputs, x, tape)
    slopes, expected = [], []
    for number, layer in enumerate(RESNET.decoder):
        for flat in random.choice(layer.weight.size, 12, replace=False):
            ends, step = [], 1 << (layer.weight_bits - 6)
            for sign in (1, -1):
                weight = layer.weight.copy()
                weight.reshape(-1)[flat] += sign * step
                layers = [*RESNET.decoder]
                layers[number] = replace(layer, weight=weight)
                moved = ResidualNetwork(layers, RESNET.blocks, 1, NUMPY).forward(x)
                ends.append((moved * units * of_outputs).sum())
            slopes.append((ends[0] - ends[1]) / (2 * step * 2.0**-layer.weight_bits))
            columns = layer.weight[0].size
            expected.append(found[number][flat // columns, flat % columns] * 2.0**-layer.in_bits)
    assert np.corrcoef(slopes, expected)[0, 1] > 0.98
    assert 0.9 < np.dot(slopes, expected) / np.dot(slopes, slopes) < 1.1


def largest_sums(parameters: NetworkParameters) -> int:
    """Of all layers, forwards and backwards, in Python's integers."""
    limits, most = [Z_LIMIT, *(layer.limit for layer in VAE.decoder)], 0
    for (weight, bias), limit in zip(parameters.integers, limits, strict=False):
        magnitude = np.abs(weight.astype(np.int64)).astype(object)
        forwards = magnitude.sum(axis=1).max() * limit + max(abs(int(b)) for b in bias)
        most = max(most, forwards, magnitude.sum(axis=0).max() * GRADIENT_LIMIT)
    return int(most)


def test_no_step_leaves_the_exact_range() -> None:
    """At the largest rate weights move by one and more a step: layers keep what they have, and go on when they can."""
    parameters = NetworkParameters(VAE.decoder, Z_LIMIT, 1_000_000)
    kept = 0
    for step in range(400):
        before = parameters.integers
        sign = 1 if step < 200 else -1
        parameters.step(
            [sign * np.full((len(w.weight), w.weight.shape[1] + 1), 2.0**60) for w in VAE.decoder], 1 + step % 3
        )
        assert largest_sums(parameters) <= SUM_LIMIT
        kept += sum(np.array_equal(a[0], b[0]) for a, b in zip(before, parameters.integers, strict=True))
    assert 20 < kept < 1200
    assert not any(
        np.array_equal(a[0], layer.weight) for a, layer in zip(parameters.integers, VAE.decoder, strict=True)
    )


def test_no_weight_is_taken_at_its_clamp_by_a_huge_gradient() -> None:
    parameters = NetworkParameters(VAE.decoder, Z_LIMIT, 1)
    gradient = [np.full((len(w.weight), w.weight.shape[1] + 1), 2.0**67) for w in VAE.decoder]
    parameters.step([part.copy() for part in gradient], 1)
    for (weight, bias), layer in zip(parameters.integers, VAE.decoder, strict=True):
        assert np.abs(weight - layer.weight).max() <= 1
        assert np.abs(bias - layer.bias).max() <= 2 ** (layer.in_bits + layer.weight_bits) * 1.1e-6 + 1


def test_models_whose_sums_are_too_large_do_not_learn() -> None:
    first = VAE.decoder[0]
    for change in ({"weight_bits": 0}, {"bias": first.bias + (SUM_LIMIT - 1)}, {"weight_bits": 41}):
        with pytest.raises(ModelError, match="cannot learn"):
            NetworkParameters([replace(first, **change)], Z_LIMIT, 1)
    NetworkParameters([first], Z_LIMIT, 1)
