import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from bbcompress.training.architectures.mlp.network import MLPVAE
from bbcompress.training.distributed import Share
from bbcompress.training.objectives import (
    bits_per_dimension,
    denoising,
    elbo,
    evaluate,
    gaussian_kl,
    negative_elbo,
    normal_log_prob,
    resample,
    reverse_half_asleep,
    reverse_sleep,
    sample_model,
    sleep,
    wake,
    wake_sleep,
)

Array = np.ndarray[Any, Any]
ENCODER_LOSSES: dict[str, Callable[..., Tensor]] = {
    "elbo": negative_elbo,
    "sleep": sleep,
    "sleep, aggregate": partial(sleep, aggregate=True),
    "reverse_sleep": reverse_sleep,
    "reverse_half_asleep": partial(reverse_half_asleep, alpha=0.5),
    "denoising": partial(denoising, alpha=0.5, sigma=0.3),
}
SHARED_LOSSES: dict[str, Callable[..., Tensor]] = {
    **ENCODER_LOSSES,
    "wake": wake,
    "wake_sleep": wake_sleep,
    "wake_sleep, aggregate": partial(wake_sleep, aggregate=True),
    **{
        f"reverse_half_asleep, {alpha}, {aggregate}": partial(reverse_half_asleep, alpha=alpha, aggregate=aggregate)
        for alpha in (0.0, 0.3, 0.5, 1.0)
        for aggregate in (False, True)
    },
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model() -> MLPVAE:
    return MLPVAE((4, 4), 3, 8, binary=False)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randint(256, (10, 16), dtype=torch.uint8, generator=seeded(9))


def test_kl_is_torchs() -> None:
    mu, sigma = torch.randn(5, 3, generator=seeded()), torch.rand(5, 3, generator=seeded()) + 0.01
    expected = kl_divergence(Normal(mu, sigma), Normal(torch.zeros(()), torch.ones(()))).sum(1)
    torch.testing.assert_close(gaussian_kl(mu, sigma), expected)


def test_elbo_is_likelihood_minus_kl_and_evaluate_its_mean(model: MLPVAE, x: torch.Tensor) -> None:
    value = elbo(model, x, seeded()).item()
    mu, sigma = model.encode(x)
    params = model.decode(mu + sigma * torch.randn(10, 3, generator=seeded()))
    by_hand = (model.likelihood.log_prob(params, x) - gaussian_kl(mu, sigma)).mean().item()
    assert value == pytest.approx(by_hand)
    assert evaluate(model, x, 1, seeded()) == pytest.approx(-value * bits_per_dimension(16), rel=1e-6)


def test_evaluation_is_always_in_float32(model: MLPVAE, x: torch.Tensor) -> None:
    exact = evaluate(model, x, 2, seeded(), batch=3)
    model.compute_dtype = torch.bfloat16
    assert evaluate(model, x, 2, seeded(), batch=3) == exact
    assert model.compute_dtype == torch.bfloat16


def test_alpha_0_is_plain_encoder_training(model: MLPVAE, x: torch.Tensor) -> None:
    loss = reverse_half_asleep(model, x, 0.0, seeded())
    assert torch.equal(loss, negative_elbo(model, x, seeded()))


def test_alpha_1_sees_no_data(model: MLPVAE, x: torch.Tensor) -> None:
    losses = [reverse_half_asleep(model, rows, 1.0, seeded()) for rows in (x, 255 - x)]
    assert torch.equal(*losses)
    generator = seeded()
    dreams = sample_model(model, 10, generator, x.device)
    assert torch.equal(losses[0], negative_elbo(model, dreams, generator))


def test_half_of_a_half_asleep_batch_is_data(model: MLPVAE, x: torch.Tensor) -> None:
    generator = seeded()
    dreams = sample_model(model, 5, generator, x.device)
    mixed = negative_elbo(model, torch.cat([x[5:], dreams]), generator)
    assert torch.equal(reverse_half_asleep(model, x, 0.5, seeded()), mixed)


def test_gradients_pass_through_the_frozen_decoder(model: MLPVAE, x: torch.Tensor) -> None:
    model.decoder.requires_grad_(False)
    reverse_half_asleep(model, x, 0.5, seeded()).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in model.decoder.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())


def test_aggregate_dreams_come_from_the_posteriors_of_the_replaced_rows(model: MLPVAE, x: torch.Tensor) -> None:
    generator = seeded()
    dreams = resample(model, x[:5], generator)
    mixed = negative_elbo(model, torch.cat([x[5:], dreams]), generator)
    assert torch.equal(reverse_half_asleep(model, x, 0.5, seeded(), aggregate=True), mixed)
    mu, sigma = model.encode(x[:5])
    z = mu + sigma * torch.randn(5, 3, generator=(generator := seeded()))
    assert torch.equal(dreams, model.likelihood.sample(model.decode(z), generator))


def test_alpha_1_with_aggregate_sees_the_data_through_z_alone(model: MLPVAE, x: torch.Tensor) -> None:
    losses = [reverse_half_asleep(model, rows, 1.0, seeded(), aggregate=True) for rows in (x, 255 - x)]
    assert not torch.equal(*losses)
    with torch.no_grad():
        next(model.encoder.parameters()).zero_()
    losses = [reverse_half_asleep(model, rows, 1.0, seeded(), aggregate=True) for rows in (x, 255 - x)]
    assert torch.equal(*losses)


# --- Sleep, denoising, wake-sleep ----------------------------------------------------------------


def network(layers: nn.Sequential, inputs: Array) -> Array:
    """What a network of linear layers and ReLU gives, in float64."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            weight, bias = (p.detach().double().numpy() for p in (layer.weight, layer.bias))
            inputs = inputs @ weight.T + bias
        else:
            inputs = np.maximum(inputs, 0)
    return inputs


def posterior(model: MLPVAE, levels: Array) -> tuple[Array, Array]:
    mu, rho = np.split(network(model.encoder, levels / 255), 2, axis=1)
    return mu, np.log1p(np.exp(rho))


def negative_elbos(model: MLPVAE, levels: Array, seen: Array, noise: Array) -> Array:
    """KL(q(z|seen) || p(z)) - log p(levels|z) in nats, float64 (B,)."""
    mu, sigma = posterior(model, seen)
    mean, log_scale = np.split(network(model.decoder, mu + sigma * noise), 2, axis=1)
    mean, scale = 255 * mean, 255 * np.exp(log_scale)
    upper = np.where(levels < 255, 1 / (1 + np.exp(-(levels + 0.5 - mean) / scale)), 1)
    lower = np.where(levels > 0, 1 / (1 + np.exp(-(levels - 0.5 - mean) / scale)), 0)
    kl = 0.5 * (mu**2 + sigma**2 - 1) - np.log(sigma)
    return np.asarray(kl.sum(1) - np.log(upper - lower).sum(1))


def negative_log_posteriors(model: MLPVAE, levels: Array, z: Array) -> Array:
    """-log q(z|levels) in nats, float64 (B,)."""
    mu, sigma = posterior(model, levels)
    density = np.exp(-0.5 * ((z - mu) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    return np.asarray(-np.log(density).sum(1))


def float64(*tensors: Tensor) -> list[Array]:
    return [tensor.double().numpy() for tensor in tensors]


def test_normal_log_prob_is_torchs() -> None:
    z, mu = torch.randn(2, 5, 3, generator=seeded())
    sigma = torch.rand(5, 3, generator=seeded()) + 0.01
    expected = Normal(mu, sigma).log_prob(z).sum(1)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(normal_log_prob(z, mu, sigma), expected)
    assert torch.isfinite(normal_log_prob(z, z, torch.zeros(()))).all()


def test_sleep_is_of_samples_of_the_model(model: MLPVAE, x: Tensor) -> None:
    loss = sleep(model, x, generator := seeded())
    z = torch.randn(10, 3, generator=(by_hand := seeded()))
    dreams = model.likelihood.sample(model.decode(z), by_hand)
    expected = negative_log_posteriors(model, *float64(dreams, z)).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(loss, sleep(model, 255 - x, seeded()))
    assert torch.equal(torch.rand(1, generator=generator), torch.rand(1, generator=by_hand))


def test_aggregate_sleep_is_of_samples_by_the_posteriors_of_the_data(model: MLPVAE, x: Tensor) -> None:
    loss = sleep(model, x, seeded(), aggregate=True)
    mu, sigma = model.encode(x)
    z = (mu + sigma * torch.randn(10, 3, generator=(by_hand := seeded()))).detach()
    dreams = model.likelihood.sample(model.decode(z), by_hand)
    assert loss.item() == pytest.approx(negative_log_posteriors(model, *float64(dreams, z)).mean(), rel=1e-5)
    # z is a constant
    by_hand_loss = -normal_log_prob(z, *model.encode(dreams)).mean()
    for gradients in zip(
        *(torch.autograd.grad(value, list(model.encoder.parameters())) for value in (loss, by_hand_loss)), strict=True
    ):
        torch.testing.assert_close(*gradients)


class LinearGaussian(nn.Module):
    """p(z) = N(0, 1), p(x|z) = N(2 z, 1), so p(z|x) = N(0.4 x, 0.2); q(z|x) = N(slope x, exp(log_sigma)^2)."""

    latents = dimensions = 1
    compute_dtype = torch.float32

    def __init__(self) -> None:
        super().__init__()
        self.slope, self.log_sigma = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
        self.likelihood: Any = self

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.slope * x, self.log_sigma.exp().expand_as(x)

    def decode(self, z: Tensor) -> Tensor:
        return 2 * z

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        return params + torch.randn(params.shape, generator=generator)


def test_the_optimum_of_sleep_is_the_true_posterior() -> None:
    model, generator = LinearGaussian(), seeded()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    x = torch.zeros(1000, 1)
    for _ in range(150):
        optimiser.zero_grad()
        sleep(model, x, generator).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert model.slope.item() == pytest.approx(0.4, abs=0.02)
    assert model.log_sigma.exp().item() == pytest.approx(math.sqrt(0.2), abs=0.02)


@pytest.mark.parametrize("aggregate", [False, True])
def test_reverse_sleep_is_half_asleep_of_alpha_1(model: MLPVAE, x: Tensor, aggregate: bool) -> None:
    loss = reverse_sleep(model, x, seeded(), aggregate)
    assert torch.equal(loss, reverse_half_asleep(model, x, 1.0, seeded(), aggregate))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_denoising_shows_noise_to_the_encoder_alone(model: MLPVAE, x: Tensor, alpha: float) -> None:
    loss = denoising(model, x, alpha, 0.8, generator := seeded())
    noise = torch.randn(10, 3, generator=(by_hand := seeded()))
    eps = torch.randn(10, 16, generator=by_hand)
    levels, z_noise, x_noise = float64(x, noise, eps)
    noisy = negative_elbos(model, levels, levels + 255 * 0.8 * x_noise, z_noise)
    clean = negative_elbos(model, levels, levels, z_noise)
    assert loss.item() == pytest.approx((alpha * noisy + (1 - alpha) * clean).mean(), rel=1e-5)
    assert abs(noisy.mean() - clean.mean()) > 1e-4 * clean.mean()  # seen by the comparison
    assert torch.equal(torch.rand(1, generator=generator), torch.rand(1, generator=by_hand))


def test_denoising_of_binary_pixels_has_noise_of_their_range() -> None:
    model = MLPVAE((4, 4), 3, 8, binary=True)
    x = torch.randint(2, (10, 16), dtype=torch.uint8, generator=seeded(9))
    noise = torch.randn(10, 3, generator=(by_hand := seeded()))
    mu, sigma = model.encode(x + 0.2 * torch.randn(10, 16, generator=by_hand))
    expected = gaussian_kl(mu, sigma) - model.likelihood.log_prob(model.decode(mu + sigma * noise), x)
    torch.testing.assert_close(denoising(model, x, 1.0, 0.2, seeded()), expected.mean())


def test_denoising_without_noise_is_wake(model: MLPVAE, x: Tensor) -> None:
    torch.testing.assert_close(denoising(model, x, 0.3, 0.0, seeded()), negative_elbo(model, x, seeded()))


@pytest.mark.parametrize("loss", ENCODER_LOSSES.values(), ids=ENCODER_LOSSES)
def test_encoder_losses_leave_a_frozen_decoder(model: MLPVAE, x: Tensor, loss: Callable[..., Tensor]) -> None:
    model.decoder.requires_grad_(False)
    loss(model, x, generator=seeded()).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in model.decoder.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())


def test_sleep_moves_no_decoder_that_is_not_frozen(model: MLPVAE, x: Tensor) -> None:
    for aggregate in (False, True):
        sleep(model, x, seeded(), aggregate).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in model.decoder.parameters())


def test_wake_is_the_negative_elbo_for_the_decoder_alone(model: MLPVAE, x: Tensor) -> None:
    loss = wake(model, x, seeded())
    assert torch.equal(loss, negative_elbo(model, x, seeded()))
    gradients = torch.autograd.grad(negative_elbo(model, x, seeded()), list(model.decoder.parameters()))
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in model.encoder.parameters())
    for parameter, gradient in zip(model.decoder.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("aggregate", [False, True])
def test_wake_sleep_moves_each_network_by_its_own_loss(model: MLPVAE, x: Tensor, aggregate: bool) -> None:
    generator = seeded()
    of_decoder = wake(model, x, generator)
    of_encoder = sleep(model, x, generator, aggregate)
    expected = [
        *torch.autograd.grad(of_encoder, list(model.encoder.parameters())),
        *torch.autograd.grad(of_decoder, list(model.decoder.parameters())),
    ]
    loss = wake_sleep(model, x, seeded(), aggregate)
    assert torch.equal(loss, of_decoder + of_encoder)
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = [*model.encoder.parameters(), *model.decoder.parameters()]
    for parameter, gradient in zip(parameters, expected, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradient)


# --- Shares --------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(rows=st.integers(1, 10), size=st.integers(1, 4), loss=st.sampled_from(sorted(SHARED_LOSSES)))
def test_the_mean_of_shares_is_the_loss_of_one_process(rows: int, size: int, loss: str) -> None:
    model = MLPVAE((4, 4), 3, 8, binary=False)
    x = torch.randint(256, (rows, 16), dtype=torch.uint8, generator=seeded(9))
    losses, generators = [], []
    for share in (Share(), *(Share(rank, size) for rank in range(size))):
        generators.append(seeded())
        losses.append(SHARED_LOSSES[loss](model, x, generator=generators[-1], share=share).item())
    assert sum(losses[1:]) / size == pytest.approx(losses[0], rel=1e-5)
    # what is drawn next is the same as well
    assert len({torch.rand(1, generator=generator).item() for generator in generators}) == 1
