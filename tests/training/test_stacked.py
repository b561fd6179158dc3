"""Runs trained as one: the same functions and gradients as each by itself, and what a run leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from bbcompress.errors import OutputExistsError, TrainingError
from bbcompress.training.architectures.mlp.network import MLPVAE
from bbcompress.training.checkpoints.checkpoint import load_checkpoint
from bbcompress.training.config import TrainingConfig
from bbcompress.training.datasets import Dataset
from bbcompress.training.evaluation import EvaluationOptions, evaluate_run
from bbcompress.training.finished import load_trained
from bbcompress.training.objectives import denoising, elbo_per_image, evaluate, negative_elbo, reverse_half_asleep
from bbcompress.training.reporter import Reporter
from bbcompress.training.stacked import (
    Member,
    StackedLinear,
    StackedTrainer,
    StackedVAE,
    evaluate_each,
    optimal_encoders,
    train_together,
)
from bbcompress.training.trained import open_run
from bbcompress.training.trainer import seeded_generator

CPU = torch.device("cpu")
SHAPE = (4, 5)


def models(count: int, binary: bool = True) -> list[MLPVAE]:
    return [MLPVAE(SHAPE, 3, 7, binary, torch.Generator().manual_seed(seed)) for seed in range(count)]


def digits(count: int = 30, binary: bool = True) -> Dataset:
    levels = np.random.default_rng(0).integers(256, size=(count, *SHAPE), dtype=np.uint8)
    images = (levels > 127).astype(np.uint8) if binary else levels
    return Dataset("noise", images, images[: count // 3], binary)


def rows(data: Dataset) -> torch.Tensor:
    return torch.from_numpy(np.asarray(data.train).reshape(len(data.train), -1))


def config(**options: Any) -> TrainingConfig:
    values: dict[str, Any] = {"binary": True, "hidden": 7, "latents": 3, "average": 0.0, "batch": 8, "epochs": 2}
    return TrainingConfig(**(values | {"encoder_epochs": 0, "evaluate_every": 1, "threads": 1} | options))


@pytest.mark.parametrize("binary", [True, False])
def test_members_are_what_they_are_alone(binary: bool) -> None:
    alone = models(3, binary)
    stack = StackedVAE(alone)
    x = rows(digits(5, binary))
    seen = x.repeat_interleave(3, 0)
    noise = torch.randn(15, 3, generator=torch.Generator().manual_seed(1))
    loss = elbo_per_image(stack, seen, noise)
    loss.mean().backward()  # type: ignore[no-untyped-call]
    for number, model in enumerate(alone):
        expected = elbo_per_image(model, x, noise[number::3])
        torch.testing.assert_close(loss[number::3], expected)
        expected.mean().backward()  # type: ignore[no-untyped-call]
        first = cast(StackedLinear, stack.encoder[0])
        assert first.weight.grad is not None
        gradient = first.weight.grad[number].T * 3  # of the mean over all members
        torch.testing.assert_close(gradient, model.encoder[0].weight.grad, rtol=1e-4, atol=1e-6)
        other = models(4, binary)[3]
        stack.unstack(number, other)
        assert all(map(torch.equal, other.parameters(), model.parameters()))


def test_dreams_are_half_of_each_members_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = StackedVAE(models(3))
    seen: list[torch.Tensor] = []
    encode = stack.encode

    def watched(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(x)
        return encode(x)

    monkeypatch.setattr(stack, "encode", watched)
    marked = torch.full((4 * 3, 20), 7, dtype=torch.uint8)
    reverse_half_asleep(stack, marked, 0.5, torch.Generator().manual_seed(0))
    is_data = (seen[0] == 7).all(1)
    assert [int(is_data[number::3].sum()) for number in range(3)] == [2, 2, 2]


def test_each_member_has_its_sigma() -> None:
    alone = models(2)
    x = rows(digits(6))
    generator = torch.Generator().manual_seed(0)
    sigma = torch.tensor([0.0, 0.7]).repeat(6)[:, None]
    both = denoising(StackedVAE(alone), x.repeat_interleave(2, 0), 0.5, sigma, generator)
    generator.manual_seed(0)
    noise = torch.randn(12, 3, generator=generator)
    eps = torch.randn(12, 20, generator=generator)
    losses = []
    for number, (model, value) in enumerate(zip(alone, (0.0, 0.7), strict=True)):
        noisy = x + value * eps[number::2]
        terms = (elbo_per_image(model, x, noise[number::2], inputs) for inputs in (noisy, None))
        losses.append(-sum(terms).mean() / 2)  # type: ignore[union-attr]
    assert both.item() == pytest.approx(sum(loss.item() for loss in losses) / 2, rel=1e-5)


def test_evaluation_is_that_of_each() -> None:
    alone = models(3)
    data = rows(digits())
    together = evaluate_each(StackedVAE(alone), data, 2, seeded_generator(CPU, "test"))
    for model, bpd in zip(alone, together, strict=True):
        assert bpd == pytest.approx(evaluate(model, data, 2, seeded_generator(CPU, "test")), rel=1e-6)


def test_every_member_sees_every_image_once_an_epoch() -> None:
    stack = StackedVAE(models(3))
    images = torch.arange(10)[:, None].repeat(1, 20).to(torch.uint8)
    seen: list[torch.Tensor] = []

    def loss(batch: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        seen.append(batch[:, 0].view(-1, 3))
        return negative_elbo(stack, (batch > 4).to(torch.uint8), generator)

    trainer = StackedTrainer(stack, stack, loss, images, 0, phase="vae", lr=1e-3, batch=4)
    trainer.run_epoch(Reporter(quiet=True))
    orders = torch.cat(seen).T.tolist()
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_steps_are_those_of_each_alone() -> None:
    """Adam divides by the gradient's size, so the factor of the mean over members must not matter."""
    alone = models(1)[0]
    stack = StackedVAE([alone, alone])
    x = rows(digits(16))
    trainer = StackedTrainer(
        stack, stack, lambda batch, generator: -elbo_per_image(stack, batch, torch.zeros(len(batch), 3)).mean(), x, 0,
        phase="vae", lr=1e-3, batch=16,
    )  # fmt: skip
    optimiser = torch.optim.Adam(alone.parameters(), lr=1e-3)
    for _ in range(5):
        optimiser.zero_grad()
        loss = -elbo_per_image(alone, x, torch.zeros(16, 3)).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        trainer.run_epoch(Reporter(quiet=True))
    member = models(1)[0]
    stack.unstack(1, member)
    for found, expected in zip(member.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_runs_are_left_as_by_train(tmp_path: Path) -> None:
    data = digits()
    vaes = [Member(config(seed=seed, keep_every=1), tmp_path / f"vae{seed}") for seed in range(2)]
    train_together(vaes, data, quiet=True)
    starts = [member.out / "epoch-0001.pt" for member in vaes]
    options = {"epochs": 1, "encoder_epochs": 2, "objective": "denoising", "encoder_lr": 1e-3}
    encoders = [
        Member(config(seed=number, sigma=0.3 * number, **options), tmp_path / f"encoder{number}", start)
        for number, start in enumerate(starts)
    ]
    train_together(encoders, data, quiet=True)
    for vae, encoder, start in zip(vaes, encoders, starts, strict=True):
        begun = open_run(start, dataset=data)
        assert (begun.phase, begun.epoch) == ("vae", 1)
        baseline, rha, stored, metrics = load_trained(encoder.out)
        assert stored == encoder.config
        for model in (baseline, rha):
            assert all(map(torch.equal, model.decoder.parameters(), begun.models["baseline"].generative.parameters()))
        assert all(map(torch.equal, baseline.encoder.parameters(), begun.models["baseline"].encoder.parameters()))
        assert not torch.equal(rha.encoder[0].weight, baseline.encoder[0].weight)
        lines = [json.loads(line) for line in (encoder.out / "train.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2]
        figures = evaluate_run(encoder.out, EvaluationOptions(samples=50), True, data)["encoders"]
        for name in ("baseline", "rha"):
            assert metrics[f"{name}_test_bpd"] == pytest.approx(figures[name]["test"]["bpd"], abs=0.05)
        assert lines[-1]["test_bpd"] == pytest.approx(metrics["rha_test_bpd"], abs=0.1)
        assert load_checkpoint(vae.out / "training.pt")["metrics"]["together"] == 2


def test_optimal_inference_is_better_and_leaves_the_models(tmp_path: Path) -> None:
    alone = models(2)
    before = [parameter.clone() for model in alone for parameter in model.parameters()]
    data = rows(digits())
    optimal = optimal_encoders(alone, data, 20, 1e-2, batch=10, quiet=True)
    assert all(map(torch.equal, before, (p for model in alone for p in model.parameters())))
    bpd = partial(evaluate, data=data, samples=4)
    for model, better in zip(alone, optimal, strict=True):
        assert all(map(torch.equal, model.decoder.parameters(), better.decoder.parameters()))
        figures = [bpd(m, generator=seeded_generator(CPU, "test")) for m in (model, better)]
        assert figures[1] < figures[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lr": 1e-4}, "differ in lr"),
        ({"epochs": 3}, "differ in epochs"),
        ({"binary": False}, "differ in binary"),
    ],
)
def test_runs_that_do_not_go_together(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    members = [Member(config(), tmp_path / "a"), Member(replace(config(), **change), tmp_path / "b")]
    with pytest.raises(TrainingError, match=words):
        train_together(members, digits())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"average": 0.9}, {"decay": True}, {"encoder_epochs": 1}])
def test_runs_that_are_not_trained_together(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="trained together"):
        train_together([Member(config(**options), tmp_path / "a")], digits())


def test_no_members_are_trained_at_once() -> None:
    train_together([], digits(), quiet=True)


@pytest.mark.parametrize("name", ["training.pt", "checkpoint.pt"])
def test_runs_that_are_there_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / name).write_bytes(b"old")
    with pytest.raises(OutputExistsError, match="b: holds a run already"):
        train_together([Member(config(), tmp_path / "a"), Member(config(), tmp_path / "b")], digits(), quiet=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["b", name]


def test_kept_checkpoints_in_parts(tmp_path: Path) -> None:
    train_together([Member(config(keep_every=1, part_size=1), tmp_path)], digits(), quiet=True)
    for name in ("training.pt", "epoch-0001.pt", "epoch-0002.pt"):
        assert len(list(tmp_path.glob(f"{name}.*"))) == 1
