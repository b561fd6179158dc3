"""Objectives of local models: warm-up, context dropout, estimates on some pixels, dreams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from bbcompress.training.architectures.local.network import Images, LocalShape, LocalVAE
from bbcompress.training.architectures.local.objectives import (
    FIRST_DROPOUT,
    FIRST_KL_WEIGHT,
    WARM_UP,
    TileELBO,
    TileHalfAsleep,
    evaluate_tiles,
)
from bbcompress.training.distributed import ALONE, Share

SHAPE = LocalShape(
    channels=1, binary=False, tile=8, image=None, latents=2, cell=4, features=3, decoder=(6,), trunk=(8,), head=5,
    mixtures=2, patch=4, pool=1, patch_hidden=(5,), encoder_hidden=(), centred=True,
)  # fmt: skip


def pictures(n: int, size: int = 20, seed: int = 0) -> list[Any]:
    y, x = np.mgrid[0:size, 0:size]
    noise = np.random.default_rng(seed).integers(-8, 9, (n, size, size))
    return list((100 + 2 * x + y + noise).astype(np.uint8)[..., None])


@pytest.fixture
def model() -> LocalVAE:
    return LocalVAE(SHAPE, torch.Generator().manual_seed(0)).requires_grad_(False)


@pytest.fixture
def images() -> Images:
    return Images(pictures(6), 8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_progress_and_weights(model: LocalVAE, images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """KL weight and dropout go from their first values to 1 and 0 in the warm-up; without a schedule they are there."""
    objective = TileELBO(model, images, 5)
    seen = []

    def terms(rows: Any, generator: Any, dropout: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(dropout)
        return torch.tensor([10.0, 20.0]), torch.tensor([2.0, 4.0])

    monkeypatch.setattr(objective, "terms", terms)
    assert objective(images.tiles, generator=generator()).item() == 18
    losses = []
    for progress in (0.0, WARM_UP / 2, WARM_UP, 1.0):
        objective.set_progress(progress)
        losses.append(objective(images.tiles, generator=generator()).item())
    middle = FIRST_KL_WEIGHT + (1 - FIRST_KL_WEIGHT) / 2
    assert losses == pytest.approx([15 + 3 * FIRST_KL_WEIGHT, 15 + 3 * middle, 18, 18])
    assert seen == pytest.approx([0, FIRST_DROPOUT, FIRST_DROPOUT / 2, 0, 0])


def test_estimates_are_those_of_all_pixels(model: LocalVAE, images: Images) -> None:
    few, many = TileELBO(model, images, 4), TileELBO(model, images, 6000)
    rows = images.tiles[:3]
    expected = many.terms(rows, generator(), move=False)
    draws = [few.terms(rows, generator(seed), move=False) for seed in range(150)]
    nll = torch.stack([draw[0] for draw in draws])
    assert torch.allclose(draws[0][1], expected[1])  # the KL is no estimate
    error = (nll.std(0) + 1e-3) * 150**-0.5
    assert ((nll.mean(0) - expected[0]).abs() < 5 * error + 0.02 * expected[0]).all()
    assert (expected[0] > 64).all()  # nats of a tile of 64 pixels, not of a pixel


def test_dropped_context_costs(model: LocalVAE, images: Images) -> None:
    """Whole tiles lose their neighbours, so many as are asked for."""
    objective = TileELBO(model, images, 20)
    contexts: list[torch.Tensor] = []
    plain = model.log_likelihood

    def recording(context: torch.Tensor, *rest: Any) -> torch.Tensor:
        contexts.append(context)
        return plain(context, *rest)

    model.log_likelihood = recording  # type: ignore[method-assign,assignment]
    rows = images.tiles.repeat(20, 1)
    objective.terms(rows, generator(), move=False)
    whole = contexts.pop().view(len(rows), -1)
    for share in (0.0, 0.6, 1.0):
        objective.terms(rows, generator(), dropout=share, move=False)
        found = contexts.pop().view(len(rows), -1)  # of the very same pixels
        dropped = (found == 0).all(1)
        assert torch.equal(found[~dropped], whole[~dropped])
        assert dropped.float().mean().item() == pytest.approx(share, abs=0.06)


def test_tiles_move_only_in_training(model: LocalVAE, images: Images) -> None:
    objective = TileELBO(model, images, 30)
    kls = {
        move: {objective.terms(images.tiles[:1], generator(seed), move=move)[1].item() for seed in range(9)}
        for move in (True, False)
    }
    assert len(kls[False]) == 1
    assert len(kls[True]) > 1


@pytest.mark.parametrize(("alpha", "dreamed"), [(0.0, 0), (0.5, 4), (0.25, 2), (1.0, 8)])
def test_half_asleep_mixes_dreams(
    model: LocalVAE, images: Images, alpha: float, dreamed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = TileHalfAsleep(model, images, pictures(3, 8, seed=1) if alpha else [], 5, alpha)
    counts = {"data": 0, "dreams": 0}

    def call(objective: TileELBO, rows: torch.Tensor, *, generator: Any) -> torch.Tensor:
        name = "data" if objective is loss.data else "dreams"
        counts[name] += len(rows)
        return torch.tensor(10.0 if name == "data" else 2.0)

    monkeypatch.setattr(TileELBO, "__call__", call)
    value = loss(images.tiles[:8], generator=generator()).item()
    assert counts == {"data": 8 - dreamed, "dreams": dreamed}
    assert value == pytest.approx(10 - dreamed)


@pytest.mark.parametrize("rows", [1, 4, 7])  # of fewer than there are processes some have none
@pytest.mark.parametrize("alpha", [None, 0.0, 0.5, 1.0])
def test_the_mean_over_processes_is_the_loss_of_one(
    model: LocalVAE, images: Images, alpha: float | None, rows: int
) -> None:
    def loss(share: Share) -> float:
        criterion: TileELBO | TileHalfAsleep
        if alpha is None:
            criterion = TileELBO(model, images, 5, share)
            criterion.set_progress(WARM_UP / 3)
        else:
            criterion = TileHalfAsleep(model, images, pictures(3, 8), 5, alpha, share)
        return criterion(images.tiles[:rows], generator=generator()).item()

    for size in (2, 3):
        losses = [loss(Share(rank, size)) for rank in range(size)]
        assert np.mean(losses) == pytest.approx(loss(ALONE), rel=1e-5)


def test_half_asleep_trains_the_encoder_alone(images: Images) -> None:
    model = LocalVAE(SHAPE, generator())
    model.generative.requires_grad_(False)
    loss = TileHalfAsleep(model, images, pictures(3, 8), 20, 0.5)(images.tiles, generator=generator())
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in model.generative.parameters())
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.encoder.parameters())
    assert any(p.grad is not None and (p.grad != 0).any() for p in model.encoder.parameters())


def test_evaluation(model: LocalVAE, images: Images) -> None:
    model.compute_dtype = torch.bfloat16
    bpd, kl = evaluate_tiles(model, images, 500, generator(), batch=4)
    assert model.compute_dtype == torch.bfloat16
    model.compute_dtype = torch.float32
    nll, kls = TileELBO(model, images, 500).terms(images.tiles, generator(1), move=False)
    unit = 1 / (64 * np.log(2))
    assert kl == pytest.approx(kls.mean().item() * unit, rel=1e-4)
    assert bpd == pytest.approx((nll + kls).mean().item() * unit, rel=0.03)
    assert 0 < kl < bpd < 12
