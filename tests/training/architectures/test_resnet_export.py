import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models_for_tests import strips_of
from torch import nn

from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import ExactChannelLogistic
from bbcompress.exact.layers import ACTIVATION_BITS, ACTIVATION_LIMIT, EXACT_LIMIT, GRADIENT_LIMIT
from bbcompress.exact.tables import VALUE_BITS
from bbcompress.models.resnet import ExactResNetVAE
from bbcompress.training.architectures.registry import ARCHITECTURES
from bbcompress.training.architectures.resnet import export as export_resnet
from bbcompress.training.architectures.resnet.export import (
    figures,
    folded,
    quantise_resnet,
    test_curve,
    training_log,
)
from bbcompress.training.architectures.resnet.network import BATCH, CLAMP, CLAMPED, NORMS, ResNetShape, ResNetVAE
from bbcompress.training.card import training_command
from bbcompress.training.checkpoints.checkpoint import save_checkpoint
from bbcompress.training.config import TrainingConfig
from bbcompress.training.quantisation.quantise import quantise_convolution

test_curve.__test__ = False  # type: ignore[attr-defined]


def trained(image: tuple[int, int] = (8, 8), seed: int = 0, norm: str = CLAMPED) -> ResNetVAE:
    """A small model whose statistics of batch norm are those of some images, in evaluation mode."""
    model = ResNetVAE(ResNetShape(image, 6, latents=2, blocks=2), torch.Generator().manual_seed(seed), norm)
    x = torch.from_numpy(images(20, image, seed).reshape(20, -1))
    with torch.no_grad():
        for layer in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            layer.weight.uniform_(0.5, 2.0, generator=torch.Generator().manual_seed(seed))
            layer.bias.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(seed))
        for _ in range(60):
            model.decode(model.encode(x)[0])
    return model.eval()


def images(count: int, image: tuple[int, int], seed: int = 0) -> np.ndarray[Any, Any]:
    """Smooth noise, uint8 (count, H, W, 3)."""
    noise = np.random.default_rng(seed).normal(0, 30, (count, *image, 3))
    return np.clip(120 + np.cumsum(noise, axis=2) / 2, 0, 255).astype(np.uint8)


@torch.no_grad()
def test_exact_networks_are_those_of_training() -> None:
    model = trained()
    weights = quantise_resnet(model, model)
    exact = ExactResNetVAE(weights, NumpyBackend())
    x = images(5, (8, 8))
    mu, rho = exact.encode(exact.prepare(strips_of(weights, x)), "rha")
    expected_mu, expected_sigma = model.encode(torch.from_numpy(x.reshape(5, -1)))
    np.testing.assert_allclose(mu, expected_mu.numpy(), atol=2e-3)
    np.testing.assert_allclose(np.log1p(np.exp(rho)), expected_sigma.numpy(), atol=2e-3)
    z = np.rint(mu * 2.0**VALUE_BITS).astype(np.int64)
    lengths = exact.lengths(z, strips_of(weights, x)) / 2.0**30
    nats = -model.likelihood.log_prob(model.decode(torch.from_numpy(mu).float()), torch.from_numpy(x.reshape(5, -1)))
    np.testing.assert_allclose(lengths, nats.numpy() / np.log(2), rtol=1e-3)


@torch.no_grad()
def test_the_clamp_is_that_of_training() -> None:
    models = {norm: trained(norm=norm) for norm in NORMS}
    for model in models.values():  # as if the statistics were those of other images
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.weight.mul_(8)
    x = images(5, (8, 8))
    found = {}
    for name, model in models.items():
        weights = quantise_resnet(model, model)
        limits = [layer.limit for layer in (*weights.encoders["rha"], *weights.decoder) if layer.relu]
        of_relu = round(CLAMP * 2**ACTIVATION_BITS) if name == CLAMPED else ACTIVATION_LIMIT
        assert limits == [of_relu] * 6
        exact = ExactResNetVAE(weights, NumpyBackend())
        found[name], _ = exact.encode(exact.prepare(strips_of(weights, x)), "rha")
        expected = model.encode(torch.from_numpy(x.reshape(5, -1)))[0].clamp(-256, 256)  # as any output is
        np.testing.assert_allclose(found[name], expected, rtol=1e-2, atol=0.1)
    assert np.abs(found[CLAMPED]).max() < 0.5 * np.abs(found[BATCH]).max()


def test_the_encoders_are_told_apart() -> None:
    one, other = trained(seed=1), trained(seed=2)
    weights = quantise_resnet(one, other)
    assert not np.array_equal(weights.encoders["baseline"][0].weight, weights.encoders["rha"][0].weight)
    same = quantise_resnet(one, one)
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(weights.decoder, same.decoder, strict=True))
    assert np.array_equal(weights.encoders["baseline"][0].weight, same.encoders["baseline"][0].weight)


@torch.no_grad()
def test_batch_norm_is_folded() -> None:
    model = trained().double()
    weight, bias, module, relu = next(folded(model.encoder))
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.relu(model.encoder[1](model.encoder[0](x)))
    alone = nn.functional.conv2d(x, torch.from_numpy(weight), torch.from_numpy(bias), stride=2, padding=1)
    assert relu
    assert module is model.encoder[0]
    torch.testing.assert_close(torch.relu(alone), expected)


def test_what_relu_follows() -> None:
    model = trained()
    encoder, decoder = (
        [relu is not None for *_, relu in folded(network)] for network in (model.encoder, model.decoder)
    )
    assert encoder == [True, False, True, False, True, False, False]
    assert decoder == [False, True, False, True, False, True, False]


def test_weights_fill_16_bits_as_far_as_gradients_allow() -> None:
    module = nn.Conv2d(2, 3, 3, padding=1)
    random = np.random.default_rng(0)
    for scale in (1e-3, 1.0, 300.0):
        weight = random.uniform(-scale, scale, (3, 2, 3, 3))
        layer = quantise_convolution(weight, np.zeros(3), module, 12, np.full(3, 12), relu=False)
        assert np.abs(layer.weight).max() <= (1 << 15) - 1
        assert int(np.abs(layer.weight).sum(axis=(0, 2, 3)).max()) * GRADIENT_LIMIT < EXACT_LIMIT
        np.testing.assert_allclose(layer.weight * 2.0**-layer.weight_bits, weight, atol=2.0**-layer.weight_bits)
        finer = quantise_convolution(weight / 2, np.zeros(3), module, 12, np.full(3, 12), relu=False)
        assert finer.weight_bits == layer.weight_bits + 1


def test_images_that_are_not_square() -> None:
    model = trained((8, 12))
    weights = quantise_resnet(model, model)
    assert (weights.tile, weights.latents) == (8, 2 * 2 * 2)
    found = figures(weights, {"baseline": model, "rha": model}, strips_of(weights, images(4, (8, 12))))
    assert "exact_arithmetic_loss" not in found
    assert 0 < found["net_rate"]["rha"] < 16


def test_figures() -> None:
    baseline, rha = trained(seed=1), trained(seed=2)
    weights = quantise_resnet(baseline, baseline)
    found = figures(weights, {"baseline": baseline, "rha": rha}, strips_of(weights, images(8, (8, 8))))
    assert abs(found["exact_arithmetic_loss"]["baseline"]) < 0.02
    assert found["exact_arithmetic_loss"]["rha"] != found["exact_arithmetic_loss"]["baseline"]  # of another network
    assert 0 < found["kl"]["rha"] < found["net_rate"]["rha"]
    assert [len(rates) for rates in found["net_rate_by_K_first_2_strips"].values()] == [11, 11]
    assert found["evaluated_on"] == "first 8 held-out images"


def test_the_log_begins_with_that_of_the_run_before(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    lines = {
        first: [{"phase": "vae", "epoch": 1, "test_bpd": 5.0}, {"phase": "rha", "epoch": 1, "test_bpd": 4.9}],
        second: [{"phase": "rha", "epoch": 1, "test_bpd": 4.8, "test_bpd_averaged": 4.7}, {"phase": "rha", "epoch": 2}],
    }
    for run, source in ((first, ""), (second, str(first))):
        run.mkdir()
        (run / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[run]))
        save_checkpoint({"format": 1, "source": source}, run / "training.pt")
    assert training_log(second) == [lines[first][0], *lines[second]]
    assert test_curve(training_log(second)) == {"vae": [[1, 5.0]], "rha": [[1, 4.7]]}
    assert training_log(first) == lines[first]


def test_uncalibrated_settings_are_sound() -> None:
    model = trained()
    weights = quantise_resnet(model, model)
    assert weights.learning_rate == export_resnet.PAPER_LEARNING_RATE
    assert np.array_equal(weights.decoder[-1].out_bits, ExactChannelLogistic().out_bits())


@pytest.mark.parametrize("side", [4, 260])
def test_tiles_stay_within_the_limit(side: int) -> None:
    shape = ResNetShape((side, side), 2, latents=1, blocks=1)
    model = ResNetVAE(shape).eval()
    assert quantise_resnet(model, model).tile == min(side, 256)


def test_a_command_line_says_what_makes_the_model() -> None:
    usual = {**ARCHITECTURES["resnet"].defaults, "architecture": "resnet"}
    assert training_command(TrainingConfig(**usual)) == "bbc train --data cifar10 --architecture resnet"
    change = {"hidden": 64, "keep_every": 7, "part_size": 15, "threads": 1, "samples": "prior"}
    other = TrainingConfig(**{**usual, **change})
    assert training_command(other).split()[6:] == ["--hidden", "64", "--samples", "prior"]
    batch = TrainingConfig(**{**usual, "norm": "batch"})
    assert training_command(batch).split()[6:] == ["--norm", "batch"]
