"""Backends give the same integers, and inexact ones are found out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from models_for_tests import sampled_images, tiny_vae
from torch_for_tests import every_backend, torch_backends

from bbcompress.codecs.refinement import refine
from bbcompress.errors import ModelError
from bbcompress.exact.backend import Backend, NumpyBackend, probe
from bbcompress.exact.distributions import LIKELIHOODS
from bbcompress.exact.layers import Network
from bbcompress.exact.tables import table
from bbcompress.models.mlp import ExactMLPVAE

NUMPY: Backend = NumpyBackend()
TABLES = ["sigmoid", "normal_cdf", "softplus", "sigmoid_of_rho", "inverse_scale", "scale_slope", "log2"]


@every_backend
def test_exact_backends_pass_the_probe(backend: Backend) -> None:
    probe(backend)


class Rounding(NumpyBackend):
    """Products as tensor cores or emulated float64 may give them."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype

    def matmul(self, left: Any, right: Any) -> Any:
        return (left.astype(self.dtype) @ right.astype(self.dtype)).astype(np.float64)


class RoundingResult(NumpyBackend):
    def matmul(self, left: Any, right: Any) -> Any:
        return (left @ right).astype(np.float32).astype(np.float64)


class LowBit(NumpyBackend):
    """One sum in a thousand off by the smallest step."""

    def matmul(self, left: Any, right: Any) -> Any:
        product = left @ right
        product.reshape(-1)[::1000] += 1
        return product


@pytest.mark.parametrize(
    "backend",
    [Rounding(np.float32), Rounding(np.float16), RoundingResult(), LowBit()],
    ids=["32", "16", "result", "bit"],
)
@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.filterwarnings("ignore:invalid value")
def test_inexact_backends_are_refused(backend: Backend) -> None:
    with pytest.raises(ModelError, match="not exact"):
        probe(backend)
    with pytest.raises(ModelError, match="not exact"):
        ExactMLPVAE(tiny_vae(), backend)


@torch_backends
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_networks(backend: Backend, likelihood: str) -> None:
    random = np.random.default_rng(1)
    weights = tiny_vae(likelihood, latents=5, hidden=33)
    x = random.integers(-(1 << 20), 1 << 20, (50, 5)).astype(float)
    gradient = random.integers(-(1 << 31), 1 << 31, (50, len(weights.decoder[-1].bias))).astype(float)
    results = []
    for each in (NUMPY, backend):
        network = Network(weights.decoder, each)
        y, tape = network.forward_with_tape(each.asarray(x))
        arrays = [y, *tape, network.backward(each.asarray(gradient), tape)]
        results.append([each.numpy(array) for array in arrays])
    for one, other in zip(*results, strict=True):
        assert other.dtype == np.float64
        assert np.array_equal(one, other)


@torch_backends
@pytest.mark.parametrize("name", TABLES)
def test_lookup(backend: Backend, name: str) -> None:
    index = np.random.default_rng(0).integers(0, len(table(name)), (30, 7))
    index[0, :2] = 0, len(table(name)) - 1
    for _ in range(2):  # the second from what the first has kept
        found = backend.numpy(backend.lookup(name, backend.asarray(index)))
        assert found.dtype == np.int64
        assert np.array_equal(found, table(name)[index])


@every_backend
def test_zeros(backend: Backend) -> None:
    zeros = backend.zeros((2, 3, 1))
    zeros[:, 1:] += backend.asarray(np.ones((2, 2, 1)))
    array = backend.numpy(zeros)
    assert array.dtype == np.float64
    assert array.tolist() == [[[0], [1], [1]]] * 2


@torch_backends
def test_elementwise(backend: Backend) -> None:
    random = np.random.default_rng(0)
    x = np.concatenate([random.normal(0, 100, 20_000), [-0.5, 0.5, -0.0, 1e-300, 5e-324, 1e15 + 0.5]])

    def results(each: Backend) -> list[Any]:
        a = each.asarray(x)
        positive = a * a
        arrays = [
            each.floor_(a + 0.5),
            each.clip_(a * 1.0, -3, 5),
            each.sqrt(positive),
            each.sqrt(positive + 0.3),
            each.sqrt(positive * 1e-9),
            1.0 / (positive + 1e-8),
            a / (each.sqrt(positive) + 1e-8),
            each.integers(each.floor_(a * 1.0)) >> 3,
            each.floats(each.integers(each.floor_(a * 1.0))),
        ]
        return [each.numpy(array) for array in arrays]

    assert results(NUMPY)[3].tolist() == [math.sqrt(v * v + 0.3) for v in x.tolist()]  # correctly rounded
    for one, other in zip(results(NUMPY), results(backend), strict=True):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


@torch_backends
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_likelihood_gradients(backend: Backend, likelihood: str) -> None:
    random = np.random.default_rng(0)
    kind = LIKELIHOODS[likelihood]
    x = random.integers(0, kind.levels, (20, 30)).astype(float)
    params = random.integers(-20_000, 300_000, (20, 30 * kind.parameters_per_pixel)).astype(float)
    one = kind.gradient(params, x, NUMPY)
    other = backend.numpy(kind.gradient(backend.asarray(params), backend.asarray(x), backend))
    assert np.array_equal(one, other)


@torch_backends
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_refinement(backend: Backend, likelihood: str) -> None:
    weights = tiny_vae(likelihood, hidden=20)
    x = sampled_images(weights, 25)
    posteriors = []
    for each in (NUMPY, backend):
        vae = ExactMLPVAE(weights, each)
        posteriors.append(refine(vae, x, "rha", 3, 20_000))
    for name in ("mu", "sigma"):
        one, other = (getattr(q, name) for q in posteriors)
        assert one.dtype == other.dtype == np.int64
        assert isinstance(other, np.ndarray)
        assert np.array_equal(one, other)


@one_test_of("side", [0, 1])
@one_test_of("bits", [8, 11, 16, 23])
def test_probe_refuses_float32_products_of_shortened_operands(bits: int, side: int) -> None:
    """TF32 keeps 11 bits of an operand, bfloat16 8, two pieces of it 16."""

    class Shortening(NumpyBackend):
        def matmul(self, left: Any, right: Any) -> Any:
            operands = [left, right]
            if left.dtype == np.float32:
                mantissa, exponent = np.frexp(operands[side])
                operands[side] = np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits).astype(np.float32)
            return operands[0] @ operands[1]

    with pytest.raises(ModelError, match="float32"):
        probe(Shortening())
