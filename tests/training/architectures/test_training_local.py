"""The torch side of local models: what goes in, the mixture, sampling, presets, and that export keeps the numbers."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from cases_for_tests import one_test_of
from local_for_tests import SHAPE, SHAPES, model_of, noise, shapes, smooth

from bbcompress.errors import TrainingError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.mixture import LogisticMixture
from bbcompress.models.local import MAX_TILE, ExactLocalVAE
from bbcompress.models.neighbourhood import OFFSETS
from bbcompress.models.pixel_network import PixelNetwork
from bbcompress.models.strips import Canvas, Strips
from bbcompress.training.architectures.local import network
from bbcompress.training.architectures.local.export import float_bits, quantise_local
from bbcompress.training.architectures.local.network import (
    Images,
    LocalShape,
    crops,
    gather,
    sample_tiles,
)
from bbcompress.training.architectures.local.presets import preset
from bbcompress.training.distributed import ALONE, Share
from bbcompress.training.likelihoods import LogisticMixture as Mixture

# Layers


def test_a_clamped_relu_has_the_gradient_of_a_clamp() -> None:
    x = torch.linspace(-3, 20, 2001, dtype=torch.float64).requires_grad_()
    gradients = []
    for activation in (network.clamped_relu, lambda y: y.clamp(0, network.ACTIVATION_TOP)):
        (gradient,) = torch.autograd.grad((activation(x) * torch.arange(2001)).sum(), x)
        gradients.append(gradient)
    torch.testing.assert_close(*gradients)
    assert torch.equal(network.clamped_relu(x), x.clamp(0, network.ACTIVATION_TOP))


# Tiles


def test_tiles_cover_images() -> None:
    images = Images(noise(SHAPE, (20, 9), (3, 5), (8, 8), (13, 30)), 8)
    assert images.tiles.shape[1] == 3
    number, y, x = images.locate(images.tiles, 8, None)
    assert set(number.tolist()) == {0, 1, 2, 3}
    for n, (height, width) in enumerate([(20, 9), (3, 5), (8, 8), (13, 30)]):
        own = number == n
        assert ((y[own] >= 0) & (y[own] <= max(height - 8, 0))).all()
        assert ((x[own] >= 0) & (x[own] <= max(width - 8, 0))).all()
    generator = torch.Generator().manual_seed(0)
    moved = torch.stack([torch.stack(images.locate(images.tiles, 8, generator)) for _ in range(200)])
    last = images.tiles[:, 0] == 3
    assert moved[:, 1, last].min() == 0
    assert moved[:, 1, last].max() == 5
    assert moved[:, 2, last].max() == 22


def test_crops_go_on_beyond_an_edge() -> None:
    pictures = noise(SHAPE, (3, 5), (20, 9))
    images = Images(pictures, 8)
    found = crops(images, torch.tensor([0, 1]), torch.tensor([0, 12]), torch.tensor([0, 1]), 8).numpy()
    assert np.array_equal(found[0], np.pad(pictures[0], ((0, 5), (0, 3), (0, 0)), mode="edge"))
    assert np.array_equal(found[1], pictures[1][12:20, 1:9])


# Inputs


@shapes
def test_gather_is_what_it_says(kind: str) -> None:
    shape = SHAPES[kind]
    pictures = noise(shape, (4, 7), (1, 1), (9, 3), (1, 6), (5, 1))
    images = Images(pictures, 8)
    where = [(n, y, x) for n, p in enumerate(pictures) for y in range(p.shape[0]) for x in range(p.shape[1])]
    number, y, x = (torch.tensor(column) for column in zip(*where, strict=True))
    context, references, levels = gather(images, number, y, x, shape)
    assert context.shape == (len(where), shape.inputs)
    gain = 1.0 if shape.binary else 64.0
    for row, (n, top, left) in enumerate(where):
        picture = pictures[n].astype(int)
        assert levels[row].tolist() == picture[top, left].tolist()
        near = []
        if left:
            near.append(picture[top, left - 1])
        if top:
            near.append(picture[top - 1, left])
        if not shape.centred:
            reference = np.zeros(shape.channels, int)
        elif near:
            reference = np.floor(np.mean(near, axis=0) + 0.5).astype(int)
        else:
            reference = np.full(shape.channels, 128)
        assert references[row].tolist() == reference.tolist()
        expected: list[float] = []
        for dy, dx in OFFSETS:
            inside = top + dy >= 0 and 0 <= left + dx < picture.shape[1]
            expected += ((picture[top + dy, left + dx] - reference) / gain if inside else 0 * reference).tolist()
        if shape.centred:
            expected += ((reference - 128) / gain).tolist()
        assert context[row].tolist() == pytest.approx(expected)


@shapes
def test_inputs_are_those_of_the_exact_network(kind: str) -> None:
    shape = SHAPES[kind]
    (picture,) = noise(shape, (8, 8))
    model = model_of(shape)
    network = PixelNetwork(quantise_local(model, model).pixel_network, NumpyBackend())
    strips = Strips.all_of(Canvas.of(picture[None], 8))
    wave = strips.wavefront(shape.cell)
    exact, exact_references = network.context(strips.canvas, wave.indices)
    rows, columns = np.divmod(wave.indices // shape.channels, strips.canvas.pitch)
    number, y, x = (torch.from_numpy(a) for a in (np.zeros_like(rows), rows - 3, columns - 3))
    context, references, _ = gather(Images([picture], 8), number, y, x, shape)
    assert np.array_equal(context.numpy() * 64, exact[:, : shape.inputs])
    assert np.array_equal(references.numpy().T, exact_references)


# The mixture


def mixture_params(n: int, m: int, seed: int) -> Any:
    """(n, 3 m + 2) integers as a network's outputs on the exact grids."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1500, (n, m + 2))
    offsets = random.normal(0, 2000, (n, m))
    log_scales = random.uniform(-500, 11_000, (n, m))
    return np.round(np.concatenate([logits, offsets, log_scales], axis=1))


@pytest.mark.parametrize("m", [1, 5])
def test_mixture_is_the_exact_one(m: int) -> None:
    """Of every level, within what docs/format.md allows the integers; the shares sum to 1."""
    n = 30
    params = mixture_params(n, m, m)
    reference = np.random.default_rng(9).integers(0, 256, n)
    rows, levels = np.repeat(np.arange(n), 256), np.tile(np.arange(256), n)
    _, frequencies = LogisticMixture(m).intervals(params[rows], reference[rows], levels)
    exact = frequencies.reshape(n, 256) / 2.0**24
    units = np.ldexp(1.0, -LogisticMixture(m).out_bits())
    values = torch.from_numpy(params * units)[torch.from_numpy(rows)]
    log_p = Mixture.log_prob(values, torch.from_numpy(reference[rows]).double(), torch.from_numpy(levels).double())
    found = log_p.exp().numpy().reshape(n, 256)
    assert np.abs(found - exact).max() < 3e-5
    likely = exact > 1e-3
    assert np.abs(np.log(found[likely] / exact[likely])).max() < 0.02
    assert np.abs(found.sum(axis=1) - 1).max() < 2e-5  # each level has a floor of 2^-24
    single = Mixture.log_prob(
        values.float(), torch.from_numpy(reference[rows]).float(), torch.from_numpy(levels).float()
    )
    torch.testing.assert_close(single.double(), log_p, atol=2e-3, rtol=2e-3)


def test_mixture_has_a_gradient_everywhere() -> None:
    params = torch.from_numpy(mixture_params(400, 3, 0) * np.ldexp(1.0, -LogisticMixture(3).out_bits())).float()
    params.requires_grad_()
    random = torch.Generator().manual_seed(0)
    level, reference = (torch.randint(256, (400,), generator=random).float() for _ in range(2))
    log_p = Mixture.log_prob(params, reference, level)
    (gradient,) = torch.autograd.grad(log_p.sum(), params)
    assert torch.isfinite(log_p).all() and torch.isfinite(gradient).all()
    assert log_p.min() >= -24 * math.log(2) - 1e-3


# Sampling


@pytest.mark.parametrize(("level", "bias"), [(0, (8.0, 0.0)), (255, (0.0, 8.0)), (None, (-9.0, -9.0))])
def test_samples_have_the_mixtures_masses(level: int | None, bias: tuple[float, float]) -> None:
    n = 30_000
    row = torch.tensor([1.0, 0.0, *bias, 0.3, -0.5, 4.0, 5.0])
    params, reference = row.expand(n, -1), torch.full((n,), 100.0)
    draws = network._sample_levels(params, reference, False, torch.Generator().manual_seed(0))
    share = torch.bincount(draws.long(), minlength=256) / n
    p = Mixture.log_prob(params[:256], reference[:256], torch.arange(256).float()).exp()
    assert (share - p).abs().max() < 0.01
    if level is not None:
        assert share[level] > 0.98


def test_binary_samples() -> None:
    logits = torch.tensor([[1.5]]).expand(20_000, 1)
    draws = network._sample_levels(logits, torch.zeros(20_000), True, torch.Generator().manual_seed(0))
    assert draws.mean().item() == pytest.approx(torch.sigmoid(torch.tensor(1.5)).item(), abs=0.015)


@pytest.mark.parametrize("n", [3, 40, 43])
def test_processes_draw_the_tiles_that_one_draws(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each its share of the batches, of which there may be fewer than processes."""
    model = model_of(SHAPES["rgb"])

    def drawn(share: Share) -> list[Any]:
        return sample_tiles(model, n, torch.Generator().manual_seed(0), batch=10, share=share)

    alone = drawn(ALONE)
    parts: list[Any] = []

    def only_own(own: list[Any]) -> list[Any]:
        parts.append(own)
        return [[np.zeros((0, 8, 8, 3))] * 9] * 3

    with monkeypatch.context() as patch:
        patch.setattr(network, "from_all", only_own)
        for rank in range(3):
            drawn(Share(rank, 3))
    monkeypatch.setattr(network, "from_all", lambda own: parts)
    assert [len(part) for part in parts] == [len(range(rank, -(-n // 10), 3)) for rank in range(3)]
    for rank in range(3):
        assert all(np.array_equal(*pair) for pair in zip(drawn(Share(rank, 3)), alone, strict=True))


@pytest.mark.parametrize("kind", ["rgb", "grey from levels", "binary"])
def test_sampled_tiles_have_the_models_rate(kind: str) -> None:
    """What the model draws for a z costs, by the model itself, its entropy: the rate is the mean of -log p of draws
    from the same distributions, pixel by pixel."""
    shape = SHAPES[kind]
    model = model_of(shape)
    tiles = sample_tiles(model, 60, torch.Generator().manual_seed(0), batch=25)
    assert len(tiles) == 60
    assert all(tile.shape == (8, 8, shape.channels) and tile.dtype == np.uint8 for tile in tiles)
    again = sample_tiles(model, 60, torch.Generator().manual_seed(0), batch=25)
    assert all(np.array_equal(*pair) for pair in zip(tiles, again, strict=True))
    # z is one of few: take a model that does not depend on it
    for layer in model.decoder:
        if isinstance(layer, torch.nn.Linear):
            layer.weight.zero_()
    tiles = sample_tiles(model, 200, torch.Generator().manual_seed(1))
    images = Images(tiles, 8)
    y, x = (torch.from_numpy(a.ravel()) for a in np.indices((8, 8)))
    features = model.features(torch.zeros(1, 2))[0]
    cells = (y // shape.cell) * shape.cells + x // shape.cell
    rates, entropies = [], []
    for number in range(200):
        context, references, levels = gather(images, torch.full_like(y, number), y, x, shape)
        log_p = model.log_likelihood(context, references, levels, features[cells])
        rates.append(-log_p.mean().item())
        first = model.parameters_of(model.trunk_of(context, features[cells]), 0, levels[:, :0].float())
        if shape.channels == 1:
            entropies.append(entropy(shape, first, references[:, 0]))
    if shape.channels == 1:
        error = np.std(np.array(rates) - entropies) / 200**0.5
        assert abs(np.mean(rates) - np.mean(entropies)) < 5 * error
    assert 0 < np.mean(rates) < 6 * shape.channels


def entropy(shape: LocalShape, params: torch.Tensor, references: torch.Tensor) -> float:
    """Mean entropy in nats of the distributions of pixels."""
    if shape.binary:
        p = torch.sigmoid(params[:, 0].double())
        return float(-(p * p.log() + (1 - p) * (1 - p).log()).mean())
    levels = torch.arange(256).float().repeat(len(params))
    log_p = Mixture.log_prob(params.repeat_interleave(256, 0), references.repeat_interleave(256), levels)
    return float(-(log_p.exp() * log_p).sum() / len(params))


# The model


@shapes
def test_shapes(kind: str) -> None:
    shape = SHAPES[kind]
    model = model_of(shape)
    tiles = torch.zeros(3, 8, 8, shape.channels, dtype=torch.uint8)
    mu, sigma = model.encode(tiles)
    assert mu.shape == sigma.shape == (3, 2)
    assert (sigma > 0).all()
    features = model.features(mu)
    assert features.shape == (3, shape.cells**2, 3)
    assert model.features(1e6 * torch.ones(1, 2)).abs().max() == network.FEATURE_LIMIT
    assert not torch.equal(next(model.parameters()), next(model_of(shape, 1).parameters()))
    names = {id(p) for part in (model.encoder, model.generative) for p in part.parameters()}
    assert names == {id(p) for p in model.parameters()}


def test_earlier_channels_alone_are_seen() -> None:
    model = model_of(SHAPE)
    images = Images(smooth(SHAPE, (8, 8)), 8)
    y, x = (torch.from_numpy(a.ravel()) for a in np.indices((8, 8)))
    context, _, _ = gather(images, torch.zeros_like(y), y, x, SHAPE)
    heads = model.trunk_of(context, torch.zeros(64, 3))
    for channel in range(3):
        earlier = torch.full((64, channel), 0.5)
        before = model.parameters_of(heads, channel, earlier)
        assert before.shape == (64, 8)
        for c in range(channel):
            changed = earlier.clone()
            changed[:, c] += 1
            assert not torch.allclose(model.parameters_of(heads, channel, changed), before)


# Presets


PRESETS: list[tuple[tuple[int, int] | None, int, bool]] = [
    (None, 3, False),
    (None, 1, False),
    (None, 1, True),
    ((28, 28), 1, True),
    ((28, 28), 1, False),
    ((32, 32), 3, False),
    ((20, 20), 3, False),
    ((8, 8), 3, False),
]


@one_test_of(("image", "channels", "binary"), PRESETS)
def test_presets_can_be_exported(image: tuple[int, int] | None, channels: int, binary: bool) -> None:
    chosen = preset(image, channels, binary, 5, 24)
    shape = chosen.shape
    assert (shape.image, shape.channels, shape.binary, shape.latents) == (image, channels, binary, 5)
    assert set(shape.trunk) == {24}
    assert chosen.samples >= 1
    model = model_of(shape)
    weights = quantise_local(model, model)
    assert (weights.image, weights.channels, weights.levels) == (image, channels, 2 if binary else 256)
    assert weights.tile == shape.tile <= MAX_TILE
    assert preset(image, channels, binary, None, None).shape.latents >= 1


@one_test_of(
    ("image", "channels", "binary"),
    [
        (None, 3, True),
        ((28, 28), 3, True),
        ((28, 20), 1, False),
        ((30, 30), 1, False),
        ((30, 30), 3, False),
        ((260, 260), 1, False),
    ],
)
def test_images_without_a_preset(image: tuple[int, int] | None, channels: int, binary: bool) -> None:
    with pytest.raises(TrainingError) as caught:
        preset(image, channels, binary, None, None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_quick_preset_has_a_third_of_the_products_at_most(channels: int) -> None:
    usual, fast = preset(None, channels, False).shape, preset(None, channels, False, fast=True).shape
    assert products(fast) <= products(usual) / 3
    assert (fast.tile, fast.latents, fast.features) == (usual.tile, usual.latents, usual.features)
    assert preset(None, channels, False, width=24, fast=True).shape.trunk == (24, 24)
    with pytest.raises(TrainingError, match="--fast is for images of any size"):
        preset((32, 32), channels, False, fast=True)


def products(shape: LocalShape) -> int:
    """Of the per-pixel network, for one pixel."""
    widths = [shape.inputs + shape.features, *shape.trunk, shape.channels * shape.head]
    return sum(a * b for a, b in pairwise(widths)) + shape.channels * shape.head * shape.outputs


# Export


@shapes
@pytest.mark.parametrize("seed", [0, 1])
def test_exact_code_lengths_are_those_in_float(kind: str, seed: int) -> None:
    shape = SHAPES[kind]
    model = model_of(shape, seed)
    weights = quantise_local(model, model)
    size = (8, 8) if shape.image else (21, 19)
    x = Strips.all_of(Canvas.of(np.stack(smooth(shape, *[size] * 4)), 8))
    vae = ExactLocalVAE(weights, NumpyBackend())
    z = vae.prior.values(np.random.default_rng(seed).integers(0, 1 << weights.prior_bits, (x.row_count, 2)))
    exact = vae.lengths(z, x).sum() / 2**30
    assert exact == pytest.approx(float_bits(model, x, z * 2.0**-24), rel=0.01)


@shapes
def test_exact_encoder_is_that_in_float(kind: str) -> None:
    shape = SHAPES[kind]
    baseline, rha = model_of(shape, 0), model_of(shape, 1)
    weights = quantise_local(baseline, rha)
    pictures = np.stack(noise(shape, *[(8, 8)] * 9))
    x = Strips.all_of(Canvas.of(pictures, 8))
    vae = ExactLocalVAE(weights, NumpyBackend())
    for name, model in (("baseline", baseline), ("rha", rha)):
        mu, rho = vae.encode(x, name)
        expected_mu, expected_sigma = model.encode(torch.from_numpy(pictures))
        np.testing.assert_allclose(mu, expected_mu.numpy(), atol=4e-3)
        np.testing.assert_allclose(np.logaddexp(0, rho), expected_sigma.numpy(), atol=4e-3)
