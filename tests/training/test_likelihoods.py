"""The distributions that are trained: each is that of its exact twin."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bbcompress.exact.distributions import ExactBernoulli, ExactChannelLogistic, ExactDiscretisedLogistic
from bbcompress.exact.mixture import LogisticMixture as ExactMixture
from bbcompress.exact.registry import DISTRIBUTIONS
from bbcompress.exact.tables import code_length
from bbcompress.training.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    ChannelLogistic,
    DiscretisedLogistic,
    LogisticMixture,
)
from bbcompress.training.quantisation.quantise import to_exact

Array = np.ndarray[Any, Any]
Twins = tuple[torch.Tensor, Array]
"""Of N draws from a trained distribution: log p in nats (N,), and what the exact one takes, in bits (N,)."""


def lengths(intervals: tuple[Array, Array]) -> Array:
    return code_length(intervals[1], 24) / 2.0**30


def rounded(values: torch.Tensor, out_bits: Array) -> Array:
    """Outputs (N, parameters) on their exact grid."""
    return np.rint(np.ldexp(values.numpy().astype(np.float64), out_bits))


def of_exact(values: torch.Tensor, likelihood: Any, out_bits: Array) -> Array:
    """Outputs (N, parameters) as the export makes a decoder give them: through its last layer."""
    weight, bias = np.eye(values.shape[1]), np.zeros(values.shape[1])
    to_exact(weight, bias, likelihood)
    return rounded(torch.from_numpy(values.double().numpy() @ weight.T + bias), out_bits)


def bernoulli(random: torch.Generator) -> Twins:
    kind, exact = Bernoulli(), ExactBernoulli()
    values = 3 * torch.randn(N, 1, generator=random)
    x = kind.sample(values, random)
    params = of_exact(values, kind, exact.out_bits(1))
    return kind.log_prob(values, x), lengths(exact.intervals(params, x.numpy()))


def discretised_logistic(random: torch.Generator) -> Twins:
    kind, exact = DiscretisedLogistic(), ExactDiscretisedLogistic()
    values = torch.cat([torch.rand(N, 1, generator=random), 2 * torch.randn(N, 1, generator=random) - 4], 1)
    x = kind.sample(values, random)
    params = of_exact(values, kind, exact.out_bits(1))
    return kind.log_prob(values, x), lengths(exact.intervals(params, x.numpy()))


def channel_logistic(random: torch.Generator) -> Twins:
    kind, exact = ChannelLogistic((1, 1)), ExactChannelLogistic()
    values = torch.randn(N, 9, generator=random)
    x = kind.sample(values[:, :, None, None], random)
    params = of_exact(values, kind, exact.out_bits())
    return kind.log_prob(values[:, :, None, None], x), exact.lengths(params, x.numpy()) / 2.0**30


def logistic_mixture(random: torch.Generator) -> Twins:
    exact = ExactMixture(3)
    scales = 4 + 2 * torch.randn(N, 3, generator=random)
    values = torch.cat([torch.randn(N, 8, generator=random), scales], 1)
    references = torch.randint(256, (N,), generator=random).float()
    x = LogisticMixture.sample(values, references, random)
    params = rounded(values, exact.out_bits())  # the narrowest logistics show the grid of their means
    values = torch.from_numpy(np.ldexp(params, -exact.out_bits())).float()
    found = lengths(exact.intervals(params, references.numpy(), x.numpy()))
    return LogisticMixture.log_prob(values, references, x), found


N = 20_000
TWINS: dict[str, Callable[[torch.Generator], Twins]] = {
    kind.__name__: kind for kind in (bernoulli, discretised_logistic, channel_logistic, logistic_mixture)
}


def test_every_distribution_has_a_twin() -> None:
    assert set(DISTRIBUTIONS) == set(LIKELIHOODS) == set(TWINS)
    for name, kind in DISTRIBUTIONS.items():
        assert kind.name == LIKELIHOODS[name].name == name


@pytest.mark.parametrize("name", TWINS)
def test_what_is_trained_is_what_is_coded(name: str) -> None:
    """Draws from the trained distribution cost in exact arithmetic what it says, one by one and on the whole."""
    log_p, exact = TWINS[name](torch.Generator().manual_seed(0))
    floating = -log_p.double().numpy() / math.log(2)
    np.testing.assert_allclose(2.0**-exact, 2.0**-floating, atol=2e-3)
    assert abs(exact.sum() / floating.sum() - 1) < 1e-3
    assert exact.mean() > 0.1


def logistic_params(mean: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    return torch.cat([mean / 255, log_scale - math.log(255)], dim=1)


def test_logistic_sums_to_one() -> None:
    mean, log_scale = torch.cartesian_prod(
        torch.tensor([-400.0, 0.0, 3.3, 127.5, 255.0, 700.0]), torch.tensor([-9.0, -1.5, 0.0, 3.0, 7.0, 20.0])
    ).double()[:, :, None].unbind(1)  # fmt: skip
    x = torch.arange(256).repeat(len(mean)).view(-1, 1)
    params = logistic_params(mean, log_scale).repeat_interleave(256, 0)
    total = DiscretisedLogistic().log_prob(params, x).exp().view(-1, 256).sum(1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-9)


def test_logistic_matches_the_naive_formula_in_float64() -> None:
    generator = torch.Generator().manual_seed(1)
    mean = 255 * torch.rand(200, 1, generator=generator, dtype=torch.float64)
    log_scale = 1 + 4 * torch.rand(200, 1, generator=generator, dtype=torch.float64)
    x = (mean + 3 * log_scale.exp() * torch.randn(200, 1, generator=generator, dtype=torch.float64)).round()
    x = x.clamp(0, 255)
    upper = torch.where(x == 255, math.inf, (x + 0.5 - mean) / log_scale.exp())
    lower = torch.where(x == 0, -math.inf, (x - 0.5 - mean) / log_scale.exp())
    naive = (torch.sigmoid(upper) - torch.sigmoid(lower)).log().sum(1)
    params = logistic_params(mean, log_scale)
    torch.testing.assert_close(DiscretisedLogistic().log_prob(params, x), naive, rtol=1e-9, atol=1e-9)
    float32 = DiscretisedLogistic().log_prob(params.float(), x.to(torch.uint8))
    torch.testing.assert_close(float32, naive.float(), rtol=1e-4, atol=1e-4)


def test_logistic_gradient_is_finite_and_points_to_the_level() -> None:
    x, mean, log_scale = torch.cartesian_prod(
        torch.tensor([0.0, 100.0, 255.0]), torch.tensor([-1e6, -300.0, 99.9, 600.0, 1e6]),
        torch.tensor([-1.5, 0.0, 7.0]),
    )[:, :, None].unbind(1)  # fmt: skip
    params = logistic_params(mean, log_scale).requires_grad_()
    log_p = DiscretisedLogistic().log_prob(params, x)
    (gradient,) = torch.autograd.grad(log_p.sum(), params)
    assert torch.isfinite(log_p).all() and torch.isfinite(gradient).all()
    beyond_edge = ((x == 0) & (mean < 0)) | ((x == 255) & (mean > 255))
    pulled = ((mean - x).abs() > 10) & ~beyond_edge
    assert pulled.sum() >= 24
    assert (gradient[:, :1].sign() == (x - mean).sign())[pulled].all()


def test_logistic_samples_have_the_masses_of_the_levels() -> None:
    n = 40000
    params = logistic_params(torch.full((n, 1), 250.0), torch.full((n, 1), 1.0))
    likelihood = DiscretisedLogistic()
    draws = likelihood.sample(params, torch.Generator().manual_seed(0))
    assert draws.dtype == torch.uint8
    share = torch.bincount(draws[:, 0].long(), minlength=256) / n
    p = likelihood.log_prob(params[:256], torch.arange(256).view(-1, 1)).exp()
    assert (share - p).abs().max() < 0.01


def test_bernoulli() -> None:
    logits = torch.tensor([[0.0, 2.0, -90.0]])
    likelihood = Bernoulli()
    log_p = likelihood.log_prob(logits, torch.tensor([[1, 0, 1]], dtype=torch.uint8))
    assert log_p.item() == pytest.approx(-math.log(2) - math.log1p(math.exp(2)) - 90)
    draws = likelihood.sample(logits.expand(20000, 3), torch.Generator().manual_seed(0))
    assert draws.dtype == torch.uint8
    torch.testing.assert_close(draws.float().mean(0), torch.sigmoid(logits[0]), atol=0.015, rtol=0)
