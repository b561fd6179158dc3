import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from bbcompress.training.architectures import MLPVAE
from bbcompress.training.distributed import Share
from bbcompress.training.objectives import (
    bits_per_dimension,
    elbo,
    evaluate,
    gaussian_kl,
    negative_elbo,
    resample,
    reverse_half_asleep,
    sample_model,
)


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


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(1, 10),
    size=st.integers(1, 4),
    alpha=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    aggregate=st.booleans(),
)
def test_the_mean_of_shares_is_the_loss_of_one_process(rows: int, size: int, alpha: float, aggregate: bool) -> None:
    model = MLPVAE((4, 4), 3, 8, binary=False)
    x = torch.randint(256, (rows, 16), dtype=torch.uint8, generator=seeded(9))
    losses, generators = [], []
    for share in (Share(), *(Share(rank, size) for rank in range(size))):
        generators.append(seeded())
        losses.append(reverse_half_asleep(model, x, alpha, generators[-1], aggregate, share).item())
    assert sum(losses[1:]) / size == pytest.approx(losses[0], rel=1e-5)
    # what is drawn next is the same as well
    assert len({torch.rand(1, generator=generator).item() for generator in generators}) == 1
