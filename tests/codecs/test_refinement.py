"""K-step refinement: against torch's autograd and Adam in float64, and each image alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from models_for_tests import (
    coding,
    noise_strips,
    random_images,
    rows_of,
    sampled_images,
    sampled_strips,
    strips_of,
    tiny_resnet,
    tiny_vae,
)
from roundtrip import check_round_trip
from torch_for_tests import needs_torch, torch

from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.rate import net_bits
from bbcompress.codecs.refinement import Adam, noise, refine
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import LIKELIHOODS, NormalPosterior
from bbcompress.exact.tables import RHO_MAX, RHO_MIN, VALUE_BITS, table
from bbcompress.limits import MAX_K
from bbcompress.models.base import Z_BITS, Layers
from bbcompress.models.mlp import ExactMLPVAE, MLPWeights
from bbcompress.models.resnet import UNIT_RHO, ExactResNetVAE
from bbcompress.models.strips import Strips

likelihoods = pytest.mark.parametrize("likelihood", LIKELIHOODS)


def vae_of(likelihood: str = "bernoulli", **settings: Any) -> ExactMLPVAE:
    return ExactMLPVAE(tiny_vae(likelihood, **settings), NumpyBackend())


def refined(vae: ExactMLPVAE, x: Any, k: int, rate: int = 5000, encoder: str = "rha") -> NormalPosterior:
    return refine(vae, x, encoder, k, rate)


def equal(one: NormalPosterior, other: NormalPosterior) -> bool:
    return np.array_equal(one.mu, other.mu) and np.array_equal(one.sigma, other.sigma)


@likelihoods
def test_zero_steps_are_the_encoders_output(likelihood: str) -> None:
    vae = vae_of(likelihood)
    x = sampled_images(vae.weights, 20)
    mu, rho = vae.encode(vae.prepare(x), "rha")
    q = refined(vae, x, 0)
    assert np.array_equal(q.mu, mu * (1 << 24))
    index = np.clip(rho * 1024, RHO_MIN, RHO_MAX).astype(int) - RHO_MIN
    assert np.array_equal(q.sigma, table("softplus")[index])
    assert equal(q, refined(vae, x, 0, rate=1))


@likelihoods
@pytest.mark.parametrize("k", [1, 4])
def test_each_image_is_refined_as_if_alone(likelihood: str, k: int) -> None:
    vae = vae_of(likelihood, hidden=40)
    x = sampled_images(vae.weights, 11)
    together = refined(vae, x, k)
    others = random_images(vae.weights, 7).canvas.images
    neighbours = refined(vae, strips_of(vae.weights, np.concatenate([others, x.canvas.images[::-1]])), k)
    for row in range(11):
        alone = refined(vae, x[row : row + 1], k)
        assert equal(alone, together[row : row + 1])
        assert equal(alone, neighbours[17 - row : 18 - row])


# The float reference


def run_float(layers: Layers, h: torch.Tensor) -> torch.Tensor:
    for weights in layers:
        scale = 2.0**-weights.weight_bits
        weight = torch.from_numpy(weights.weight).double() * scale
        h = h @ weight.T + torch.from_numpy(weights.bias).double() * scale * 2.0**-weights.in_bits
        h = torch.relu(h) if weights.relu else h
    return h


def float_length(weights: MLPWeights, params: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """-log p(x|z) in nats, summed over everything."""
    if weights.likelihood == "bernoulli":
        return torch.nn.functional.binary_cross_entropy_with_logits(params, x, reduction="sum")
    o, u = params.chunk(2, dim=1)
    u = u.clamp(-1.5, 7)
    softplus = torch.nn.functional.softplus
    a, b = (x - 0.5 - 256 * o) * torch.exp(-u), (x + 0.5 - 256 * o) * torch.exp(-u)
    inner = softplus(-b) + softplus(a) - torch.log(-torch.expm1(-torch.exp(-u)))
    return torch.where(x == 0, softplus(-b), torch.where(x == 255, softplus(a), inner)).sum()


def float_refine(vae: ExactMLPVAE, x: Strips, k: int, rate: int) -> tuple[Any, Any]:
    start = vae.encode(vae.prepare(x), "rha")
    mu, rho = (torch.from_numpy(np.array(part)).requires_grad_() for part in start)
    adam = torch.optim.Adam([mu, rho], lr=rate * 1e-6)
    for step in range(1, k + 1):
        adam.zero_grad()
        sigma = torch.nn.functional.softplus(rho)
        z = mu + sigma * torch.from_numpy(noise(step, vae.weights.latents))
        length = float_length(vae.weights, run_float(vae.weights.decoder, z), torch.from_numpy(rows_of(x)).double())
        divergence = (0.5 * (mu * mu + sigma * sigma - 1) - torch.log(sigma)).sum()
        (length + divergence).backward()  # type: ignore[no-untyped-call]
        adam.step()
    return mu.detach().numpy(), torch.nn.functional.softplus(rho).detach().numpy()


@needs_torch
@likelihoods
@pytest.mark.parametrize(("k", "rate"), [(1, 5000), (2, 20_000), (10, 20_000)])
def test_agrees_with_float_adam(likelihood: str, k: int, rate: int) -> None:
    vae = vae_of(likelihood, hidden=20)
    x = sampled_images(vae.weights, 40)
    q = refined(vae, x, k, rate)
    mu, sigma = float_refine(vae, x, k, rate)
    moved = k * rate * 1e-6
    errors = np.concatenate([q.mu * 2.0**-24 - mu, q.sigma * 2.0**-24 - sigma], axis=1)
    # rho counts in units of 2^-10; a gradient near 0 may have the other sign: one step's difference, rarely
    assert np.median(np.abs(errors)) < 0.01 * moved + 2**-11
    assert np.quantile(np.abs(errors), 0.97) < 0.05 * moved + 2**-10
    assert np.abs(errors).max() <= 2.01 * moved
    start = refined(vae, x, 0)
    assert np.median(np.abs(q.mu - start.mu)) * 2.0**-24 > 0.3 * moved


@needs_torch
def test_adam_is_adam() -> None:
    random = np.random.default_rng(0)
    start = random.normal(size=(3, 5))
    tensor = torch.from_numpy(start.copy()).requires_grad_()
    reference = torch.optim.Adam([tensor], lr=0.02)
    adam, parameters = Adam(20_000, start, NumpyBackend()), start
    for _ in range(50):
        gradient = random.normal(size=(3, 5)) * random.choice([0, 1e-9, 1, 1e6], size=(3, 5))
        tensor.grad = torch.from_numpy(gradient)
        reference.step()
        parameters = adam.step(parameters, gradient)
        np.testing.assert_allclose(parameters, tensor.detach().numpy(), rtol=1e-9, atol=1e-9)


@likelihoods
def test_the_elbo_gets_better_with_every_k(likelihood: str) -> None:
    vae = vae_of(likelihood, latents=6, hidden=20)
    x = sampled_images(vae.weights, 60)
    rates = [net_bits(BitsBack(vae, "rha", k, 20_000), x, samples=8).mean() for k in (0, 5, 20, 60)]
    assert (np.diff(rates) < 0).all(), rates
    assert rates[-1] < 0.97 * rates[0], rates


@likelihoods
@pytest.mark.parametrize("seed", [0, 1])
def test_wild_steps_stay_in_range(likelihood: str, seed: int) -> None:
    """The largest learning rate and images unlike the model's: no overflow, nothing that cannot be coded."""
    vae = vae_of(likelihood, seed=seed)
    x = random_images(vae.weights, 4)
    with np.errstate(all="raise", under="ignore"):
        q = refined(vae, x, 60, 1_000_000)
    assert np.abs(q.mu).max() <= 16 << 24
    assert q.sigma.min() >= 1
    codec = BitsBack(vae, "rha", 60, 1_000_000)
    check_round_trip(*coding(codec, x), pop_first=False)


def test_many_steps_are_allowed() -> None:
    vae = vae_of()
    x = sampled_images(vae.weights, 1)
    assert refined(vae, x, MAX_K).sigma.min() >= 1


# Tiles of a residual VAE


def resnet(**settings: Any) -> ExactResNetVAE:
    return ExactResNetVAE(tiny_resnet(**settings), NumpyBackend())


@pytest.mark.parametrize("k", [0, 3])
def test_each_tile_is_refined_as_if_alone(k: int) -> None:
    """Of images that are whole tiles each is an image of its own as well."""
    vae = resnet()
    images = sampled_strips(vae.weights, 2, 16, 24).canvas.images
    together = refine(vae, strips_of(vae.weights, images), "rha", k, 20_000)
    row = 0
    for image in images:
        for top in (8, 0):  # strips from the bottom to the top
            for left in (0, 8, 16):
                tile = image[None, top : top + 8, left : left + 8]
                alone = refine(vae, strips_of(vae.weights, tile), "rha", k, 20_000)
                assert equal(alone, together[row : row + 1])
                row += 1
    assert row == len(together.mu)


def test_places_beyond_the_image_start_at_the_prior() -> None:
    """And the gradient moves them: pixels of the image are near."""
    vae = resnet()
    x = noise_strips(vae.weights, 1, 5, 3)
    start, moved = (refine(vae, x, "rha", k, 20_000) for k in (0, 2))
    beyond = np.array([False, True, False, True]).repeat(2)
    assert (start.mu[0, beyond] == 0).all()
    assert (start.sigma[0, beyond] == table("softplus")[UNIT_RHO - RHO_MIN]).all()
    assert (start.mu[0, ~beyond] != 0).all()
    assert (moved.mu[0] != start.mu[0]).all()


def test_the_elbo_of_a_residual_vae_gets_better() -> None:
    vae = resnet()
    x = sampled_strips(vae.weights, 2, 13, 21)
    rates = [net_bits(BitsBack(vae, "rha", k, 20_000), x, samples=8).mean() for k in (0, 5, 20)]
    assert (np.diff(rates) < 0).all(), rates
    assert rates[-1] < 0.97 * rates[0], rates


# The noise

FIXED_NOISE = [  # of steps 1, 2, 3 and 1000, in units of 2^-24: every file with K > 0 depends on it
    [11093100, -10099732, 22109495, 4306408],
    [-11093100, 10099732, -22109495, -4306408],
    [-355527, 11067561, -2466556, 2065049],
    [15227474, -14870539, -26736374, -23762170],
]


def test_noise_is_fixed() -> None:
    assert [(noise(step, 4) * (1 << 24)).tolist() for step in (1, 2, 3, MAX_K)] == FIXED_NOISE


def test_noise_is_a_function_of_step_and_latent() -> None:
    assert np.array_equal(noise(3, 50)[:7], noise(3, 7))
    assert not np.array_equal(noise(3, 7), noise(5, 7))
    assert noise(1, 5).dtype == np.float64


def test_noise_is_normal_and_antithetic() -> None:
    grid = np.stack([noise(step, 64) for step in range(1, 401)])
    assert np.array_equal(grid[1::2], -grid[::2])
    odd = grid[::2]
    assert abs(odd.mean()) < 0.03
    assert abs(odd.std() - 1) < 0.03
    assert abs((odd**3).mean()) < 0.1
    assert abs((odd**4).mean() - 3) < 0.3
    assert abs((odd[1:] * odd[:-1]).mean()) < 0.05
    assert abs((odd[:, 1:] * odd[:, :-1]).mean()) < 0.05
    assert np.abs(np.corrcoef(odd.T) - np.eye(64)).max() < 0.4


def test_the_grid_of_mu_loses_nothing() -> None:
    assert Z_BITS <= VALUE_BITS
