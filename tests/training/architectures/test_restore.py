"""Exact models as networks of torch again: they say what the integers say, and give the same integers when exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from local_for_tests import SHAPES, model_of, noise, shapes, smooth
from models_for_tests import MODELS
from PIL import Image

from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.rate import draw
from bbcompress.errors import TrainingError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.tables import VALUE_BITS
from bbcompress.limits import ENCODERS
from bbcompress.models.checkpoint import load
from bbcompress.models.local import ExactLocalVAE, LocalWeights
from bbcompress.models.mlp import MLPWeights
from bbcompress.models.shipped import shipped_model_folders
from bbcompress.models.strips import Canvas, Strips
from bbcompress.training.architectures.local.export import float_bits, largest_activations, quantise_local
from bbcompress.training.architectures.local.presets import preset
from bbcompress.training.architectures.local.restore import restore_local, shape_of
from bbcompress.training.architectures.mlp.export import quantise
from bbcompress.training.architectures.mlp.network import MLPVAE
from bbcompress.training.architectures.mlp.restore import restore_mlp
from bbcompress.training.architectures.resnet.export import quantise_resnet
from bbcompress.training.architectures.resnet.network import NORMS, ResNetShape, ResNetVAE
from bbcompress.training.architectures.resnet.restore import convolutions, restore_resnet, take_statistics

PHOTOS = Path(__file__).parents[2] / "data/photos"


def shipped(name: str) -> LocalWeights:
    weights = load(next(folder for folder in shipped_model_folders() if folder.name == name))
    assert isinstance(weights, LocalWeights)
    return weights


def same_integers(one: LocalWeights, other: LocalWeights) -> bool:
    return all(
        np.array_equal(a.weight * 2.0**-a.weight_bits, b.weight * 2.0**-b.weight_bits)
        and np.array_equal(a.bias * 2.0 ** -(a.weight_bits + a.in_bits), b.bias * 2.0 ** -(b.weight_bits + b.in_bits))
        for (_, its), (_, others) in zip(one.networks(), other.networks(), strict=True)
        for a, b in zip(its, others, strict=True)
    )


@shapes
def test_what_is_restored_is_exported_as_it_was(kind: str) -> None:
    """Also where hidden units were scaled to fill their range."""
    shape = SHAPES[kind]
    models = model_of(shape, 0), model_of(shape, 1)
    x = Strips.all_of(Canvas.of(np.stack(smooth(shape, *[(8, 8)] * 4)), 8))
    weights = quantise_local(*models, largest_activations(models[0], x))
    restored = restore_local(weights, shape)
    assert shape_of(weights, shape.mixtures) == shape
    assert same_integers(quantise_local(*restored), weights)
    tiles = torch.from_numpy(np.stack(noise(shape, *[(8, 8)] * 5)))
    for model, original in zip(restored, models, strict=True):
        for ours, its in zip(model.encode(tiles), original.encode(tiles), strict=True):
            torch.testing.assert_close(ours, its, atol=4e-3, rtol=4e-3)


@pytest.mark.parametrize(("name", "file"), [("photo", "landscape.png"), ("grey", "grey.png")])
def test_shipped_models_say_in_float_what_they_say_in_integers(name: str, file: str) -> None:
    weights = shipped(name)
    models = restore_local(weights, preset(None, weights.channels, False, None, None).shape)
    pixels = np.asarray(Image.open(PHOTOS / file))
    pixels = pixels[: len(pixels) // 64 * 64, : pixels.shape[1] // 64 * 64]  # whole tiles
    x = Strips.all_of(Canvas.of(pixels.reshape(1, *pixels.shape[:2], -1), weights.tile))
    vae = ExactLocalVAE(weights, NumpyBackend())
    again = ExactLocalVAE(quantise_local(*models), NumpyBackend())
    for encoder, model in zip(ENCODERS[::-1], models, strict=True):
        codec = BitsBack(vae, encoder, 0, weights.learning_rate)
        z = codec.model.prior.values(draw(codec.posterior(x), np.random.default_rng(0)))
        exact = vae.lengths(z, x).sum() / 2**30
        loss = abs(exact / float_bits(model, x, z * 2.0**-VALUE_BITS) - 1)
        assert loss < weights.card["exact_arithmetic_loss"]
        assert again.lengths(z, x).sum() / 2**30 == pytest.approx(exact, rel=1e-4)
        mu, rho = vae.encode(x, encoder)
        expected_mu, expected_sigma = model.encode(torch.from_numpy(np.concatenate(list(x.tiles()))))
        np.testing.assert_allclose(mu, expected_mu.detach().numpy(), atol=4e-3)
        np.testing.assert_allclose(np.logaddexp(0, rho), expected_sigma.detach().numpy(), atol=4e-3)


@shapes
def test_wider_hidden_layers_say_at_first_what_the_model_says(kind: str) -> None:
    """And all that is new takes part in what is learned."""
    shape = SHAPES[kind]
    models = model_of(shape, 0), model_of(shape, 1)
    wider = replace(shape, trunk=tuple(width + 5 for width in shape.trunk), head=shape.head + 16)
    same, wide = (restore_local(quantise_local(*models), each)[0] for each in (shape, wider))
    draw = torch.Generator().manual_seed(0)
    context, features = (torch.randn(40, size, generator=draw) for size in (shape.inputs, shape.features))
    levels = torch.randint(2 if shape.binary else 256, (40, shape.channels), generator=draw)
    references = torch.zeros_like(levels) if shape.binary else levels + 3
    expected = same.log_likelihood(context, references, levels, features)
    found = wide.log_likelihood(context, references, levels, features)
    torch.testing.assert_close(found, expected)
    outputs = [layer.weight for layer in wide.outputs if isinstance(layer, torch.nn.Linear)]
    for gradient in torch.autograd.grad(found.sum(), outputs):
        assert (gradient[:, shape.head : wider.head] != 0).any()


def test_other_sizes_are_refused() -> None:
    weights = shipped("photo")
    shape = preset(None, 3, False, None, None).shape
    others = {
        "latents: 16 in the model, 8 in this run": replace(shape, latents=8),
        "width of hidden layers: 160x160 in the model, 96x96 in this run": replace(shape, trunk=(96, 96)),
        "width of hidden layers: 160x160 in the model, 200x96 in this run": replace(shape, trunk=(200, 96)),
        "width of hidden layers: 160x160 in the model, 160x160x160 in this run": replace(shape, trunk=(160, 160, 160)),
        "head: 64 in the model, 32 in this run": replace(shape, head=32),
        "channels: 3 in the model, 1 in this run": replace(shape, channels=1),
        "binary pixels: no in the model, yes in this run": replace(shape, binary=True),
        "tile: 64 in the model, 32 in this run": replace(shape, tile=32, image=(32, 32)),
        "size of images: any in the model, 64x64 in this run": replace(shape, image=(64, 64)),
    }
    for message, other in others.items():
        with pytest.raises(TrainingError, match=f"^{message}$"):
            restore_local(weights, other)
    clamped = replace(weights, heads=replace(weights.heads, limit=512))
    with pytest.raises(TrainingError, match="clamped"):
        restore_local(clamped, shape)
    with pytest.raises(TrainingError, match="not a local model"):
        restore_local(load(MODELS / "tiny-grey"), shape)


@pytest.mark.parametrize("binary", [True, False])
def test_an_mlp_is_restored(binary: bool) -> None:
    baseline, rha = (MLPVAE((5, 4), 3, 7, binary, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    rha.decoder = baseline.decoder
    weights = quantise(baseline, rha)
    models = MLPVAE((5, 4), 3, 7, binary), MLPVAE((5, 4), 3, 7, binary)
    restore_mlp(weights, models)
    again = quantise(models[0], models[1])
    assert again.id == weights.id
    assert isinstance(again, MLPWeights)
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 2 if binary else 256, (6, 20)).astype(np.uint8))
    for model, original in zip(models, (baseline, rha), strict=True):
        mu, _ = original.encode(x)
        torch.testing.assert_close(model.encode(x)[0], mu, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(model.decode(mu), original.decode(mu), atol=1e-3, rtol=1e-3)
    with pytest.raises(TrainingError, match="latents: 3 in the model, 4 in this run"):
        restore_mlp(weights, (MLPVAE((5, 4), 4, 7, binary), models[1]))
    with pytest.raises(TrainingError, match="not an mlp"):
        restore_mlp(load(MODELS / "tiny-local"), models)


RESNET = ResNetShape((8, 8), 6, 2, 2)


def trained_resnet(seed: int, norm: str, x: torch.Tensor) -> ResNetVAE:
    """Of random weights, scales and shifts, with the statistics of images."""
    generator = torch.Generator().manual_seed(seed)
    model = ResNetVAE(RESNET, generator, norm)
    with torch.no_grad():
        for network in (model.encoder, model.decoder):
            for _, batch_norm in convolutions(network):
                if batch_norm is not None:
                    batch_norm.weight.uniform_(0.5, 2, generator=generator)
                    batch_norm.bias.uniform_(-1, 1, generator=generator)
        for _ in range(60):
            model.decode(model.encode(x)[0])
    return model.eval()


@pytest.mark.parametrize("norm", NORMS)
def test_a_resnet_is_restored(norm: str) -> None:
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (30, 192)).astype(np.uint8))
    baseline, rha = (trained_resnet(seed, norm, x) for seed in (0, 1))
    rha.decoder = baseline.decoder
    weights = quantise_resnet(baseline, rha)
    models = ResNetVAE(RESNET, norm=norm), ResNetVAE(RESNET, norm=norm)
    restore_resnet(weights, models, norm)
    for model in models:
        take_statistics(model, x, torch.Generator().manual_seed(2))
        model.eval()
    again = quantise_resnet(*models)
    for (_, its), (_, others) in zip(weights.networks(), again.networks(), strict=True):
        for one, other in zip(its, others, strict=True):
            assert np.array_equal(one.weight, other.weight) and one.limit == other.limit
            np.testing.assert_allclose(
                one.bias, other.bias, rtol=1e-5, atol=2.0 ** (one.weight_bits + one.in_bits - 18)
            )
    for model, original in zip(models, (baseline, rha), strict=True):
        mu, _ = original.encode(x)
        torch.testing.assert_close(model.encode(x)[0], mu, atol=0.02, rtol=0.01)
        torch.testing.assert_close(model.decode(mu), original.decode(mu), atol=0.02, rtol=0.01)
        model.train()  # by the statistics of a batch, here of all images, it says the same
        torch.testing.assert_close(model.encode(x)[0], mu, atol=0.02, rtol=0.01)
        model.eval()


def test_other_sizes_of_a_resnet_are_refused() -> None:
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (30, 192)).astype(np.uint8))
    baseline = trained_resnet(0, "clamped", x)
    weights = quantise_resnet(baseline, baseline)
    others = {
        "tile: 8 in the model, 16 in this run": replace(RESNET, image=(16, 16)),
        "latents: 2 in the model, 3 in this run": replace(RESNET, latents=3),
        "width of hidden layers: 6 in the model, 7 in this run": replace(RESNET, width=7),
        "blocks: 2 in the model, 1 in this run": replace(RESNET, blocks=1),
    }
    for message, shape in others.items():
        with pytest.raises(TrainingError, match=f"^{message}$"):
            restore_resnet(weights, (ResNetVAE(shape), ResNetVAE(shape)), "clamped")
    models = ResNetVAE(RESNET), ResNetVAE(RESNET)
    with pytest.raises(TrainingError, match=r"^norm: clamped in the model, batch in this run$"):
        restore_resnet(weights, models, "batch")
    with pytest.raises(TrainingError, match="not a resnet"):
        restore_resnet(load(MODELS / "tiny-local"), models, "clamped")
    first, *rest = weights.decoder
    elsewhere = replace(weights, decoder=(first, replace(rest[0], limit=rest[0].limit // 2), *rest[1:]))
    with pytest.raises(TrainingError, match="clamped elsewhere"):
        restore_resnet(elsewhere, models, "clamped")
