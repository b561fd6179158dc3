"""The residual VAE, its task and its runs, on 27 + 3 colour images of 8 x 12 pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from training_for_tests import Killer

from bbcompress.errors import TrainingError
from bbcompress.training import run
from bbcompress.training.architectures.resnet.network import CLAMP, CLAMPED, ClampedReLU, ResNetShape, ResNetVAE
from bbcompress.training.architectures.resnet.task import ResNetTask
from bbcompress.training.card import training_commands
from bbcompress.training.checkpoints.checkpoint import load_checkpoint
from bbcompress.training.config import TrainingConfig
from bbcompress.training.datasets import Dataset, load
from bbcompress.training.finished import load_trained, stored_config
from bbcompress.training.objectives import evaluate
from bbcompress.training.reporter import Reporter
from bbcompress.training.run import configure, train
from bbcompress.training.trainer import Trainer, seeded_generator


@pytest.fixture
def config(tmp_path: Path) -> TrainingConfig:
    """A run of 2 + 2 epochs of 7 steps."""
    folder = tmp_path / "colours"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(30):
        pixels = np.clip(rng.normal((40 + 5 * i, 100, 90), 40, (8, 12, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return TrainingConfig(
        "resnet", str(folder), hidden=6, latents=2, blocks=1, epochs=2, encoder_epochs=2, lr=3e-3, encoder_lr=3e-3,
        batch=4, evaluate_every=1, samples="aggregate",
    )  # fmt: skip


def task_of(config: TrainingConfig) -> ResNetTask:
    return ResNetTask(config, load(config.data, config.data_dir, quiet=True))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def buffers_of(model: nn.Module) -> list[Tensor]:
    return [buffer for buffer in model.buffers() if buffer.is_floating_point()]


def statistics(model: nn.Module) -> list[Tensor]:
    return [buffer.clone() for buffer in buffers_of(model)]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) > 0 and all(map(torch.equal, one, other))


def test_sizes_and_order_of_places_and_pixels() -> None:
    model = ResNetVAE(ResNetShape((8, 12), 6, latents=2, blocks=1)).eval()
    x = torch.randint(256, (5, 8 * 12 * 3), dtype=torch.uint8, generator=seeded())
    mu, sigma = model.encode(x)
    assert mu.shape == sigma.shape == (5, model.latents) == (5, 2 * 3 * 2)
    assert (sigma > 0).all()
    assert model.decode(mu).shape == (5, 9, 8, 12)
    alone = ResNetVAE(ResNetShape((8, 12), 6, latents=2, blocks=1)).eval()
    torch.testing.assert_close(alone.encode(x[3:4])[0], mu[3:4])
    # each latent's own place: z at the lower right corner moves the pixels there, not those of the upper left one
    z = torch.zeros(2, 2, 3, 2)
    z[1, -1, -1] = 9
    params = model.decode(z.flatten(1))
    moved = (params[0] != params[1]).any(0)
    assert moved[-1, -1]
    assert not moved[0, 0]


def test_bfloat16_is_near_and_its_outputs_are_float32() -> None:
    model = ResNetVAE(ResNetShape((8, 8), 6, blocks=1)).eval()
    x = torch.randint(256, (5, 192), dtype=torch.uint8, generator=seeded())
    exact = model.encode(x)[0]
    model.compute_dtype = torch.bfloat16
    rounded = model.encode(x)[0]
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    ("shape", "words"),
    [((8, 8), "colour images"), ((8, 6, 3), "multiples of 4"), ((10, 8, 3), "multiples of 4"), (None, "colour images")],
)
def test_refused_data(config: TrainingConfig, shape: tuple[int, ...] | None, words: str) -> None:
    if shape is None:
        images: Any = [np.zeros((8, 8, 3), np.uint8), np.zeros((12, 8, 3), np.uint8)]
    else:
        images = np.zeros((5, *shape), np.uint8)
    with pytest.raises(TrainingError, match=words):
        ResNetTask(config, Dataset("d", images, images))


def test_norms(config: TrainingConfig) -> None:
    assert config.norm == CLAMPED
    clamped, batch = (task_of(replace(config, norm=norm)).build() for norm in (CLAMPED, "batch"))
    ends = [m for m in clamped.modules() if isinstance(m, ClampedReLU)]
    assert len(ends) == 2 + 2  # behind the outer batch norm of each network, and in a block of each
    assert not any(isinstance(m, ClampedReLU) for m in batch.modules())
    assert clamped.state_dict().keys() == batch.state_dict().keys()
    assert ends[0](torch.tensor([-1.0, 3.0, 100.0])).tolist() == [0, 3, CLAMP]
    with pytest.raises(TrainingError, match="--norm cannot be group, but clamped or batch"):
        replace(config, norm="group")
    with pytest.raises(TrainingError, match="--norm is for --architecture resnet"):
        TrainingConfig(norm="batch")


def test_an_image_far_from_all_others_does_not_explode(config: TrainingConfig) -> None:
    x = torch.full((1, 8 * 12 * 3), 255, dtype=torch.uint8)
    z = []
    for norm in (CLAMPED, "batch"):
        model = task_of(replace(config, norm=norm, blocks=4)).build().eval()
        for buffer in buffers_of(model):  # means and variances as of images that hardly differ
            buffer.mul_(1e-3)
        z.append(model.encode(x)[0].abs().max().item())
    assert z[0] < 1e-3 * z[1]


def test_a_run_from_before_there_were_norms(config: TrainingConfig, tmp_path: Path) -> None:
    train(replace(config, norm="batch", name="old"), tmp_path / "old", quiet=True)
    state = load_checkpoint(tmp_path / "old" / "training.pt")
    del state["config"]["norm"]
    torch.save(state, tmp_path / "old" / "training.pt")
    assert stored_config(tmp_path / "old").norm == "batch"
    baseline, *_ = load_trained(tmp_path / "old")
    assert not any(isinstance(m, ClampedReLU) for m in baseline.modules())
    (command,) = training_commands(tmp_path / "old")
    assert "--norm batch" in command
    # an encoder has the norm of its decoder
    later, _ = configure({}, tmp_path / "new", resume=False, from_checkpoint=tmp_path / "old")
    assert later.norm == "batch"


def test_samples_prior_or_aggregate(config: TrainingConfig) -> None:
    def losses(samples: str) -> list[float]:
        task = task_of(replace(config, samples=samples))
        loss, _ = task.half_asleep(task.build(), 1.0)
        return [loss(rows, generator=seeded()).item() for rows in (task.data, 255 - task.data)]

    prior, aggregate = losses("prior"), losses("aggregate")
    assert prior[0] == prior[1]
    assert aggregate[0] != aggregate[1]
    with pytest.raises(TrainingError, match="--samples"):
        replace(config, samples="posterior")


def test_phase_vae_moves_the_statistics_and_phase_rha_does_not(config: TrainingConfig) -> None:
    task = task_of(config)
    model = task.build()
    before = statistics(model)
    loss, _ = task.elbo(model)
    first = loss(task.data[:4], generator=seeded()).item()
    after = statistics(model)
    assert not any(map(torch.equal, before, after))
    assert loss(task.data[:4], generator=seeded()).item() == first  # its batch's own statistics are used
    loss, _ = task.half_asleep(model, 0.5)
    before = statistics(model)
    frozen = loss(task.data[:4], generator=seeded()).item()
    assert same(statistics(model), before)
    buffers_of(model.encoder)[0].add_(1)
    assert loss(task.data[:4], generator=seeded()).item() != frozen


@pytest.mark.parametrize("objective", ["elbo", "sleep", "reverse-sleep", "denoising"])
def test_no_objective_of_the_encoder_moves_the_statistics(config: TrainingConfig, objective: str) -> None:
    task = task_of(replace(config, objective=objective, alpha=None))
    model = task.build()
    task.elbo(model)
    loss, _ = task.of_encoder(model)
    before = statistics(model)
    first = loss(task.data[:4], generator=seeded()).item()
    assert same(statistics(model), before)
    buffers_of(model.encoder)[0].add_(1)
    assert loss(task.data[:4], generator=seeded()).item() != first


@pytest.mark.parametrize("samples", ["prior", "aggregate"])
def test_dreams_of_wake_sleep_do_not_move_the_statistics(config: TrainingConfig, samples: str) -> None:
    task = task_of(replace(config, objective="wake-sleep", samples=samples))
    model, by_elbo = task.build(), task.build()
    loss, _ = task.of_both(model)
    loss(task.data[:4], generator=seeded())
    assert model.training
    task.elbo(by_elbo)[0](task.data[:4], generator=seeded())
    assert same(statistics(model), statistics(by_elbo))


def test_evaluation_uses_the_running_statistics(config: TrainingConfig) -> None:
    task = task_of(config)
    model = task.build()
    model.train()
    before = statistics(model)
    whole = evaluate(model, task.data, 1, seeded())
    # the same noise in other batches; a batch's own statistics would differ by more than 0.1
    assert evaluate(model, task.data, 1, seeded(), batch=2) == pytest.approx(whole, abs=1e-2)
    assert same(statistics(model), before)
    assert model.training
    for buffer in buffers_of(model):
        buffer.add_(1)
    assert evaluate(model, task.data, 1, seeded()) != pytest.approx(whole, abs=1e-3)


def test_a_run(config: TrainingConfig, tmp_path: Path) -> None:
    out = tmp_path / "run"
    metrics = train(config, out, quiet=True)
    baseline, rha, stored, _ = load_trained(out)
    assert stored == config
    # what phase rha changes: the encoder's weights, no statistics, nothing of the decoder
    assert same(statistics(baseline), statistics(rha))
    assert same(list(baseline.decoder.parameters()), list(rha.decoder.parameters()))
    assert not any(map(torch.equal, baseline.encoder.parameters(), rha.encoder.parameters()))
    task = task_of(config)
    generator = seeded_generator(torch.device("cpu"), "final")
    assert task.figures(rha, run.FINAL_SAMPLES, generator)["bpd"] == metrics["rha_test_bpd"]


def test_averages_include_the_statistics(config: TrainingConfig) -> None:
    task = task_of(config)
    model = task.build()
    loss, _ = task.elbo(model)
    after: list[list[Tensor]] = []  # so many steps

    def recording(batch: Tensor, *, generator: torch.Generator) -> Tensor:
        after.append(statistics(model))
        return loss(batch, generator=generator)

    trainer = Trainer(
        model.parameters(), recording, task.data, phase="vae", lr=1e-3, batch=4, average=0.9, buffers=buffers_of(model)
    )
    for _ in range(3):  # 21 steps, after 8 and 16 of which averages are taken
        trainer.run_epoch(Reporter(quiet=True))
    expected = [
        torch.lerp(torch.lerp(first, eighth, 1 - 2 / 11), last, 1 - 3 / 12)
        for first, eighth, last in zip(after[7], after[8], after[16], strict=True)
    ]
    raw = statistics(model)
    with trainer.averaged():
        torch.testing.assert_close(statistics(model), expected)
    assert same(statistics(model), raw)
    assert not any(map(torch.equal, raw, expected))
    trainer.use_averages()
    torch.testing.assert_close(statistics(model), expected)


@pytest.mark.parametrize("killed_in", [2, 4])
def test_resume_is_bit_for_bit_statistics_included(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: int
) -> None:
    train(config, tmp_path / "whole", quiet=True)
    out = tmp_path / "killed"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Killer(killed_in, patch)
        train(config, out, quiet=True, save_seconds=0)
    train(config, out, resume=True, quiet=True)
    one, other = (load_checkpoint(folder / "training.pt") for folder in (tmp_path / "whole", out))
    for part in ("decoder", "baseline", "rha"):
        floats = {name for name, value in one[part].items() if value.is_floating_point()}
        assert any(name.endswith("running_var") for name in floats)
        assert all(torch.equal(one[part][name], other[part][name]) for name in floats)
    assert one["metrics"]["rha_test_bpd"] == other["metrics"]["rha_test_bpd"]


def test_a_kept_checkpoint_can_be_gone_on_from(config: TrainingConfig, tmp_path: Path) -> None:
    train(replace(config, epochs=3, encoder_epochs=0, keep_every=2), tmp_path / "three", quiet=True)
    train(config, tmp_path / "two", quiet=True)
    train(config, tmp_path / "from", from_checkpoint=tmp_path / "three" / "epoch-0002.pt", quiet=True)
    for one, other in zip(load_trained(tmp_path / "two")[:2], load_trained(tmp_path / "from")[:2], strict=True):
        assert same(statistics(one), statistics(other))
        assert same(list(one.parameters()), list(other.parameters()))
