import math

import pytest
import torch

from bbcompress.training.likelihoods import Bernoulli, DiscretisedLogistic


def logistic_params(mean: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    return torch.cat([mean / 255, log_scale - math.log(255)], dim=1)


@pytest.mark.parametrize("mean", [-400.0, 0.0, 3.3, 127.5, 255.0, 700.0])
@pytest.mark.parametrize("log_scale", [-9.0, -1.5, 0.0, 3.0, 7.0, 20.0])
def test_logistic_sums_to_one(mean: float, log_scale: float) -> None:
    x = torch.arange(256).view(-1, 1)
    params = logistic_params(torch.full((256, 1), mean).double(), torch.full((256, 1), log_scale).double())
    assert DiscretisedLogistic().log_prob(params, x).exp().sum().item() == pytest.approx(1, abs=1e-9)


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


@pytest.mark.parametrize("x", [0, 100, 255])
@pytest.mark.parametrize("mean", [-1e6, -300.0, 99.9, 600.0, 1e6])
@pytest.mark.parametrize("log_scale", [-1.5, 0.0, 7.0])
def test_logistic_gradient_is_finite_and_points_to_the_level(x: int, mean: float, log_scale: float) -> None:
    params = logistic_params(torch.tensor([[mean]]), torch.tensor([[log_scale]])).requires_grad_()
    log_p = DiscretisedLogistic().log_prob(params, torch.tensor([[x]]))
    (gradient,) = torch.autograd.grad(log_p.sum(), params)
    assert torch.isfinite(log_p).all() and torch.isfinite(gradient).all()
    beyond_edge = (x == 0 and mean < 0) or (x == 255 and mean > 255)
    if abs(mean - x) > 10 and not beyond_edge:
        assert gradient[0, 0].sign() == math.copysign(1, x - mean)


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
