"""Residual VAEs: independent of how tiles are batched and of the backend; what their weights have to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from cases_for_tests import one_test_of
from models_for_tests import noise_strips, sampled_strips, strips_of, tiny_resnet
from roundtrip import random_message

from bbcompress.errors import ModelError
from bbcompress.exact.backend import Backend, NumpyBackend
from bbcompress.exact.convolution import ConvolutionWeights
from bbcompress.exact.distributions import ExactChannelLogistic
from bbcompress.exact.layers import ACTIVATION_BITS
from bbcompress.exact.tables import RHO_MIN, VALUE_BITS, table
from bbcompress.limits import ENCODERS
from bbcompress.models import resnet
from bbcompress.models.base import RHO_BITS, Z_BITS, grid_of
from bbcompress.models.resnet import PIXEL_BITS, STRIDE, UNIT_RHO, Convolutions, ExactResNetVAE, ResNetWeights, Tiles
from bbcompress.models.strips import Canvas, Strips

MODELS: dict[str, tuple[ResNetWeights, tuple[int, int, int]]] = {
    # a model, and images: count, height, width
    "odd": (tiny_resnet(), (2, 13, 21)),
    "whole tiles": (tiny_resnet(seed=1), (2, 16, 24)),
    "one tile": (tiny_resnet(), (5, 8, 8)),
    "a part of a tile": (tiny_resnet(16), (3, 5, 13)),
    "one place": (tiny_resnet(4, channels=3, width=5, blocks=1), (2, 6, 7)),
    "long": (tiny_resnet(), (1, 3, 40)),
    "pixels": (tiny_resnet(), (3, 1, 1)),
    "deep": (tiny_resnet(blocks=3, width=4, channels=1), (1, 9, 8)),
}
models = pytest.mark.parametrize("name", MODELS)


def vae_of(name: str, backend: Backend | None = None) -> ExactResNetVAE:
    return ExactResNetVAE(MODELS[name][0], backend or NumpyBackend())


def images_of(name: str, seed: int = 0) -> Strips:
    """Of the model's own, the last one noise."""
    weights, shape = MODELS[name]
    strips = sampled_strips(weights, *shape, seed=seed)
    strips.canvas.inner[-1:] = noise_strips(weights, 1, *shape[1:], seed=seed).canvas.inner
    return strips


def empty_of(name: str) -> Strips:
    weights, shape = MODELS[name]
    return Strips.all_of(Canvas(*shape, weights.channels, weights.tile))


def latents_of(vae: ExactResNetVAE, x: Strips, seed: int = 0) -> Any:
    """Some z of x, in units of 2^-24."""
    bins = np.random.default_rng(seed).integers(0, 256, (x.row_count, vae.weights.latents))
    return vae.prior.values(bins)


def gradient_of(vae: ExactResNetVAE, z: Any, x: Strips) -> Any:
    """For z in units of 2^-24."""
    return vae.gradient(z * 2.0**-24, vae.prepare(x), 1)


def numbers_of(vae: ExactResNetVAE, z: Any, x: Strips) -> list[Any]:
    """All that a model says of x, one row for each tile."""
    return [*vae.encode(vae.prepare(x), "rha"), vae.lengths(z, x), gradient_of(vae, z, x)]


# Encoder, likelihood and gradient, whatever the batches are


@models
@pytest.mark.parametrize("tiles", [1, 3, 1000])
def test_tiles_at_once_change_no_number(name: str, tiles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vae, x = vae_of(name), images_of(name)
    z = latents_of(vae, x)
    before = numbers_of(vae, z, x)
    message, other = random_message(3), random_message(3)
    start = message.copy()
    vae.push_pixels(message, z, x)
    monkeypatch.setattr(resnet, "TILES", tiles)
    for one, two in zip(before, numbers_of(vae, z, x), strict=True):
        assert np.array_equal(one, two)
    vae.push_pixels(other, z, x)
    assert other == message
    empty = empty_of(name)
    vae.pop_pixels(message, z, empty)
    assert np.array_equal(empty.canvas.images, x.canvas.images)
    assert message == start


@models
def test_everything_matters(name: str) -> None:
    """Otherwise the tests above would not see it ignored."""
    vae, x = vae_of(name), images_of(name)
    z, other = latents_of(vae, x), latents_of(vae, x, seed=1)
    assert (vae.lengths(z, x) != vae.lengths(other, x)).all()
    mu, rho = vae.encode(vae.prepare(x), "rha")
    baseline = vae.encode(vae.prepare(x), "baseline")
    assert not np.array_equal(mu, baseline[0])
    assert not np.array_equal(rho, baseline[1])
    assert (np.abs(mu) < 16).all() and (np.abs(rho) < 16).all()
    assert (gradient_of(vae, z, x) != 0).mean() > 0.8
    for channel in range(3):
        changed = Canvas.of(x.canvas.images, x.canvas.tile)
        changed.inner[..., channel] = 255 - changed.inner[..., channel]
        again = Strips.all_of(changed)
        assert (vae.lengths(z, again) != vae.lengths(z, x)).all()
        assert not np.array_equal(vae.encode(vae.prepare(again), "rha")[0], mu)
        assert not np.array_equal(gradient_of(vae, z, again), gradient_of(vae, z, x))


@pytest.mark.parametrize("name", ["odd", "one place"])
def test_every_latent_of_a_whole_tile_matters(name: str) -> None:
    vae, x = vae_of(name), images_of(name)
    z = latents_of(vae, x)
    before, tile = vae.lengths(z, x), x.row_count - x.canvas.across  # of the last strip, the topmost
    for latent in range(vae.weights.latents):
        change = z.copy()
        change[tile, latent] += 1 << 24
        assert np.flatnonzero(vae.lengths(change, x) != before).tolist() == [tile]


def test_tiles_do_not_see_each_other() -> None:
    vae, x = vae_of("odd"), images_of("odd")
    z = latents_of(vae, x)
    before = numbers_of(vae, z, x)
    x.canvas.inner[0, 0, 7] = 255 - x.canvas.inner[0, 0, 7]
    for one, two in zip(before, numbers_of(vae, z, x), strict=True):
        changed = (one != two).reshape(len(one), -1).any(axis=1)
        assert np.flatnonzero(changed).tolist() == [3]  # of the upper one of two strips of three tiles


# Against plain integers and real numbers


def plain_convolution(layer: ConvolutionWeights, x: Any) -> Any:
    """A layer's output (H', W', outputs) for one image (H, W, inputs), in int64, tap by tap."""
    height, width = x.shape[:2]
    k, stride, padding = layer.weight.shape[2], layer.stride, layer.padding
    outputs = len(layer.weight)
    if layer.transposed:
        whole = np.zeros(((height - 1) * stride + k, (width - 1) * stride + k, outputs), np.int64)
        for y, z in np.ndindex(height, width):
            patch = np.einsum("oikl,i->klo", layer.weight, x[y, z])
            whole[y * stride : y * stride + k, z * stride : z * stride + k] += patch
        total = whole[padding : len(whole) - padding, padding : whole.shape[1] - padding]
    else:
        padded = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
        down, across = ((side + 2 * padding - k) // stride + 1 for side in (height, width))
        total = np.zeros((down, across, outputs), np.int64)
        for y, z in np.ndindex(down, across):
            patch = padded[y * stride : y * stride + k, z * stride : z * stride + k]
            total[y, z] = np.einsum("oikl,kli->o", layer.weight, patch)
    shift = layer.in_bits + layer.weight_bits - layer.out_bits
    total = (total + layer.bias + (1 << shift >> 1)) >> shift
    return np.clip(total, 0 if layer.relu else -layer.limit, layer.limit)


def plain_network(layers: Convolutions, blocks: int, first_block: int, x: Any) -> Any:
    for layer in layers[:first_block]:
        x = plain_convolution(layer, x)
    for block in range(first_block, first_block + 2 * blocks, 2):
        wide, narrow = layers[block : block + 2]
        change = plain_convolution(narrow, plain_convolution(wide, np.maximum(x, 0)))
        x = np.clip(x + change, -narrow.limit, narrow.limit)
    x = np.maximum(x, 0)
    for layer in layers[first_block + 2 * blocks :]:
        x = plain_convolution(layer, x)
    return x


def plain_tiles(x: Strips) -> list[Any]:
    """Pixels (h, w, 3) of each tile, in the order of rows of z: from the lowest strip of an image to its topmost."""
    canvas, found = x.canvas, []
    for image in canvas.images.astype(np.int64):
        for top in reversed(range(0, canvas.height, canvas.tile)):
            for left in range(0, canvas.width, canvas.tile):
                found.append(image[top : top + canvas.tile, left : left + canvas.tile])
    return found


@models
@pytest.mark.parametrize("encoder", ENCODERS)
def test_encoder_is_that_of_integers(name: str, encoder: str) -> None:
    """Of whole tiles, the pixels of the image's edge repeated; where a place's pixels are beyond it the prior."""
    vae, x = vae_of(name), images_of(name)
    weights = vae.weights
    channels = weights.latents // weights.latent_side**2
    mu, rho = vae.encode(vae.prepare(x), encoder)
    mu = mu.reshape(-1, weights.latent_side, weights.latent_side, channels) * 2.0**Z_BITS
    rho = rho.reshape(-1, weights.latent_side, weights.latent_side, channels) * 2.0**RHO_BITS
    tiles = plain_tiles(x)
    assert len(tiles) == len(mu)
    for row, tile in enumerate(tiles):
        y, z = (np.minimum(np.arange(weights.tile), side - 1) for side in tile.shape[:2])
        outputs = plain_network(weights.encoders[encoder], weights.blocks, 2, 2 * tile[y[:, None], z] - 255)
        down, across = (-(-side // STRIDE) for side in tile.shape[:2])
        assert np.array_equal(mu[row, :down, :across], outputs[:down, :across, :channels])
        assert np.array_equal(rho[row, :down, :across], outputs[:down, :across, channels:])
        beyond = np.ones((weights.latent_side, weights.latent_side), np.bool_)
        beyond[:down, :across] = False
        assert (mu[row, beyond] == 0).all()
        assert (rho[row, beyond] == UNIT_RHO).all()


@models
def test_likelihood_is_that_of_integers(name: str) -> None:
    vae, x = vae_of(name), images_of(name)
    weights = vae.weights
    z = latents_of(vae, x)
    lengths = vae.lengths(z, x)
    assert lengths.dtype == np.int64
    for row, tile in enumerate(plain_tiles(x)):
        latent_side = ((z[row] + 128) >> 8).reshape(weights.latent_side, weights.latent_side, -1)
        params = plain_network(weights.decoder, weights.blocks, 1, latent_side)
        height, width = tile.shape[:2]
        inside = params[:height, :width].reshape(-1, 9)
        assert lengths[row] == ExactChannelLogistic().lengths(inside, tile.reshape(-1, 3)).sum()


def drawn_near_z(name: str) -> tuple[ExactResNetVAE, Strips, Any]:
    """A model, images and z, in units of 2^-24, from near which they are drawn.

    Of others some pixels would be so unlikely that they have the least frequency there is: no gradient sees that.
    """
    vae, x = vae_of(name), empty_of(name)
    z = latents_of(vae, x)
    message = random_message(words=10_000)
    vae.pop_pixels(message, z, x)
    return vae, x, z + np.random.default_rng(1).integers(-1 << 21, 1 << 21, z.shape)


@pytest.mark.parametrize("name", ["odd", "whole tiles", "a part of a tile", "one place"])
def test_gradient_is_that_of_finite_differences(name: str) -> None:
    vae, x, z = drawn_near_z(name)
    found = gradient_of(vae, z, x)
    step = 1 << 20  # 1/16, a whole number of units of the decoder's grid
    slopes = np.zeros(found.shape)
    for latent in range(vae.weights.latents):
        change = np.zeros_like(z)
        change[:, latent] = step
        nats = (vae.lengths(z + change, x) - vae.lengths(z - change, x)) * (np.log(2) / 2**30)
        slopes[:, latent] = nats / (2 * step * 2.0**-24)
    assert np.corrcoef(found.ravel(), slopes.ravel())[0, 1] > 0.985  # the code length has kinks
    assert abs(np.polyfit(slopes.ravel(), found.ravel(), 1)[0] - 1) < 0.05


def float_layer(layer: ConvolutionWeights, x: torch.Tensor) -> torch.Tensor:
    scale = 2.0**-layer.weight_bits
    weight = torch.from_numpy(layer.weight).double() * scale
    bias = torch.from_numpy(layer.bias).double() * scale * 2.0**-layer.in_bits
    if layer.transposed:
        weight = weight.transpose(0, 1)
        x = torch.nn.functional.conv_transpose2d(x, weight, bias, layer.stride, layer.padding)
    else:
        x = torch.nn.functional.conv2d(x, weight, bias, layer.stride, layer.padding)
    return torch.relu(x) if layer.relu else x


def float_length(weights: ResNetWeights, z: torch.Tensor, x: Tiles) -> torch.Tensor:
    """-log p(x|z) in nats, summed over the pixels of the image, by real numbers."""
    h = z.reshape(len(z), weights.latent_side, weights.latent_side, -1).permute(0, 3, 1, 2)
    first, *layers = weights.decoder
    h = float_layer(first, h)
    for block in range(weights.blocks):
        wide, narrow = layers[2 * block : 2 * block + 2]
        h = h + float_layer(narrow, float_layer(wide, torch.relu(h)))
    h = torch.relu(h)
    for layer in layers[2 * weights.blocks :]:
        h = float_layer(layer, h)
    means, log_scales, c = h.permute(0, 2, 3, 1).chunk(3, dim=3)
    levels = torch.from_numpy(x.levels).double()
    red, green, _ = (levels - 256 * means).unbind(3)
    shift = torch.stack([torch.zeros_like(red), c[..., 0] * red, c[..., 1] * red + c[..., 2] * green], 3)
    centred = levels - 256 * means - shift
    inverse = torch.exp(-log_scales.clamp(-1.5, 7.0))
    upper = torch.nn.functional.softplus(-(centred + 0.5) * inverse)
    lower = torch.nn.functional.softplus((centred - 0.5) * inverse)
    width = torch.log(-torch.expm1(-inverse))
    above, below = levels > 0, levels < 255
    nats = torch.where(below, upper, 0.0) + torch.where(above, lower, 0.0) - torch.where(above & below, width, 0.0)
    return nats[torch.from_numpy(x.inside)].sum()


@models
def test_gradient_is_that_of_real_numbers(name: str) -> None:
    vae, x, z = drawn_near_z(name)
    reference = torch.from_numpy(z * 2.0**-24).requires_grad_()
    length = float_length(vae.weights, reference, vae.prepare(x))
    length.backward()  # type: ignore[no-untyped-call]
    assert reference.grad is not None
    expected = reference.grad.numpy()
    errors = np.abs(gradient_of(vae, z, x) - expected)
    assert errors.mean() < 3e-3 * np.abs(expected).mean()
    assert errors.max() < 0.05 * np.abs(expected).max()  # a ReLU may be on the other side
    bits = vae.lengths(z, x).sum() / 2**30
    assert abs(bits - float(length.detach()) / np.log(2)) < 1e-3 * bits


# Pushing and popping


@pytest.mark.parametrize("name", ["one tile", "a part of a tile", "pixels"])
def test_candidate_lengths_are_those_of_each_z(name: str) -> None:
    vae, x = vae_of(name), images_of(name)
    for unit in range(len(x)):
        part = x[unit : unit + 1]
        z = np.concatenate([latents_of(vae, part, seed) for seed in range(5)])
        expected = [vae.lengths(z[i : i + 1], part)[0] for i in range(5)]
        assert vae.candidate_lengths(z, part).tolist() == expected
        assert len(set(expected)) == 5


# What lies beyond an image


def test_tiles_repeat_the_images_edge() -> None:
    x = noise_strips(tiny_resnet(), 2, 13, 21)
    tiles = Tiles.of(x)
    assert len(tiles) == 2 * 2 * 3
    assert (tiles.levels.shape, tiles.levels.dtype) == ((12, 8, 8, 3), np.uint8)
    assert (tiles.inside.shape, tiles.inside.dtype) == ((12, 8, 8), np.bool_)
    for row, tile in enumerate(plain_tiles(x)):
        height, width = tile.shape[:2]
        y, z = (np.minimum(np.arange(8), side - 1) for side in (height, width))
        assert np.array_equal(tiles.levels[row], tile[y[:, None], z])
        assert tiles.inside[row].sum() == height * width
        assert tiles.inside[row, :height, :width].all()


@pytest.mark.parametrize("name", ["odd", "a part of a tile", "long", "pixels"])
def test_pixels_beyond_the_image_have_no_gradient(name: str) -> None:
    vae, x = vae_of(name), images_of(name)
    z = latents_of(vae, x)
    tiles = vae.prepare(x)
    noise = np.random.default_rng(0).integers(0, 256, tiles.levels.shape).astype(np.uint8)
    other = Tiles(np.where(tiles.inside[..., None], tiles.levels, noise), tiles.inside)
    assert not np.array_equal(other.levels, tiles.levels)
    assert np.array_equal(vae.gradient(z * 2.0**-24, other, 1), gradient_of(vae, z, x))
    nothing = Tiles(tiles.levels, np.zeros_like(tiles.inside))
    assert not vae.gradient(z * 2.0**-24, nothing, 1).any()


@pytest.mark.parametrize(("height", "width"), [(5, 3), (1, 1), (8, 6), (7, 8)])
def test_an_image_is_coded_as_if_its_edge_were_part_of_it(height: int, width: int) -> None:
    """The posterior at the places that it has is that of the larger image."""
    vae = vae_of("one tile")
    x = noise_strips(vae.weights, 1, height, width)
    pads = ((0, 0), (0, 8 - height), (0, 8 - width), (0, 0))
    whole = strips_of(vae.weights, np.pad(x.canvas.images, pads, mode="edge"))
    seen = np.zeros((2, 2, 2), np.bool_)
    seen[: -(-height // 4), : -(-width // 4)] = True
    for one, other in zip(vae.encode(vae.prepare(x), "rha"), vae.encode(vae.prepare(whole), "rha"), strict=True):
        assert np.array_equal(one[:, seen.ravel()], other[:, seen.ravel()])


def test_unit_rho_is_that_of_a_sigma_nearest_to_1() -> None:
    distance = np.abs(table("softplus").astype(np.int64) - (1 << VALUE_BITS))
    assert int(distance.argmin()) + RHO_MIN == UNIT_RHO


# What the weights have to be

WEIGHTS = tiny_resnet()
DECODER, RHA = WEIGHTS.decoder, WEIGHTS.encoders["rha"]


def with_layer(network: str, index: int, **change: Any) -> ResNetWeights:
    """`WEIGHTS` with one layer of a network, named as in `ResNetWeights.networks`, changed."""
    layers = list(dict(WEIGHTS.networks())[network])
    layers[index] = replace(layers[index], **change)
    return with_network(network, tuple(layers))


def with_network(network: str, layers: Convolutions) -> ResNetWeights:
    if network == "decoder":
        return replace(WEIGHTS, decoder=layers)
    return replace(WEIGHTS, encoders={**WEIGHTS.encoders, network.removeprefix("encoder."): layers})


def test_facts() -> None:
    assert (WEIGHTS.channels, WEIGHTS.levels, WEIGHTS.likelihood, WEIGHTS.shape) == (3, 256, "channel_logistic", None)
    assert (WEIGHTS.tile, WEIGHTS.latent_side, WEIGHTS.latents, WEIGHTS.dimensions) == (8, 2, 8, 192)
    wide = tiny_resnet(32, channels=1)
    assert (wide.tile, wide.latent_side, wide.latents, wide.dimensions) == (32, 8, 64, 3072)
    assert WEIGHTS.name == "tiny-resnet"
    assert replace(WEIGHTS, card={}).name == WEIGHTS.id.hex()[:8]
    assert WEIGHTS.settings()["architecture"] == "resnet"


@one_test_of(
    ("change", "reason"),
    [
        ({"tile": 0}, "sizes"),
        ({"tile": -8}, "sizes"),
        ({"tile": 2}, "sizes"),
        ({"tile": 10}, "sizes"),
        ({"tile": 260}, "sizes"),
        ({"tile": 16}, "fill"),
        ({"tile": 4}, "fit"),
        ({"blocks": 0}, "sizes"),
        ({"blocks": -1}, "sizes"),
        ({"blocks": 65}, "sizes"),
        ({"blocks": 1}, "block|layers"),
        ({"blocks": 3}, "block"),
        ({"prior_bits": 15}, "prior"),
        ({"learning_rate": 0}, "learning rate"),
        ({"direct_bits": ()}, "direct"),
        ({"direct_bits": (9,) * 8}, "direct"),
        ({"direct_bits": (3,) * 7}, "fill"),
        ({"direct_bits": (3,) * 9}, "fill"),
        ({"direct_bits": (3,) * 4}, "fit"),
        ({"direct_bits": (3,) * 12}, "fit"),
        ({"encoders": {"rha": RHA}}, "encoders"),
        ({"encoders": {"rha": RHA, "baseline": RHA, "third": RHA}}, "encoders"),
        ({"decoder": ()}, "no layers"),
        ({"encoders": {"rha": RHA, "baseline": ()}}, "no layers"),
        ({"decoder": RHA}, "fit"),
        ({"encoders": {"rha": RHA, "baseline": DECODER}}, "fit"),
        ({"encoders": {"rha": RHA, "baseline": tiny_resnet(channels=1).encoders["rha"]}}, "grid"),
        ({"decoder": tiny_resnet(width=5).decoder[:1] + DECODER[1:]}, "fit"),
        ({"decoder": DECODER[:-1]}, "grid"),
        ({"decoder": DECODER[:-2] + DECODER[-1:]}, "residual VAE"),
        ({"decoder": DECODER[:-1] + DECODER[-2:]}, "residual VAE"),
        ({"encoders": {"rha": RHA, "baseline": RHA[:1] + RHA}}, "fit"),
        ({"encoders": {"rha": RHA, "baseline": RHA[1:]}}, "fit"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        replace(WEIGHTS, **change)


LAYERS = [(name, index) for name, layers in WEIGHTS.networks() for index in range(len(layers))]
layers_of_all = one_test_of(("network", "index"), LAYERS)


def test_networks_have_names_and_an_order() -> None:
    assert [(name, len(layers)) for name, layers in WEIGHTS.networks()] == [
        ("decoder", 7),
        ("encoder.rha", 7),
        ("encoder.baseline", 7),
    ]


@layers_of_all
def test_broken_bounds_are_refused(network: str, index: int) -> None:
    own = dict(WEIGHTS.networks())[network][index]
    with pytest.raises(ModelError, match="sums"):
        with_layer(network, index, bias=np.full_like(own.bias, 1 << 53))
    with pytest.raises(ModelError, match="sums"):
        with_layer(network, index, weight=np.full_like(own.weight, 1 << 30))


@layers_of_all
@one_test_of("change", [{"stride": 3}, {"stride": 0}, {"padding": 99}, {"padding": -1}, {"transposed": None}])
def test_layers_of_another_geometry_are_refused(network: str, index: int, change: dict[str, Any]) -> None:
    """No tile comes out of these at its size, or only by luck."""
    own = dict(WEIGHTS.networks())[network][index]
    if "transposed" in change:
        change = {"transposed": not own.transposed}
    with pytest.raises(ModelError, match=r"residual|geometry|out of range"):
        with_layer(network, index, **change)


@layers_of_all
def test_kernels_of_another_size_are_refused(network: str, index: int) -> None:
    own = dict(WEIGHTS.networks())[network][index]
    size = own.weight.shape[2] + 1
    weight = np.ones((*own.weight.shape[:2], size, size), np.int64)
    with pytest.raises(ModelError, match="residual"):
        with_layer(network, index, weight=weight)


@pytest.mark.parametrize("network", ["decoder", "encoder.rha"])
def test_scaling_layers_are_two(network: str) -> None:
    layers = dict(WEIGHTS.networks())[network]
    inner = 5 if network == "decoder" else 1  # the one of 6 channels on both sides
    kept = {"weight": np.ones((6, 6, 3, 3), np.int64), "padding": 1, "stride": 1, "transposed": False}
    with pytest.raises(ModelError, match="those of a residual"):
        with_layer(network, inner, **kept)
    end = 6 if network == "decoder" else 1
    third = replace(layers[inner], relu=True)
    with pytest.raises(ModelError, match="residual"):
        with_network(network, (*layers[:end], third, *layers[end:]))


@one_test_of("network", ["decoder", "encoder.rha", "encoder.baseline"])
@one_test_of("change", ["in_bits", "out_bits", "relu", "bits of one output"])
def test_networks_on_other_grids_are_refused(network: str, change: str) -> None:
    layers = dict(WEIGHTS.networks())[network]
    one = layers[-1].out_bits.copy()
    one[-1] -= 1
    changes: dict[str, tuple[int, dict[str, Any]]] = {
        "in_bits": (0, {"in_bits": layers[0].in_bits + 1}),
        "out_bits": (len(layers) - 1, {"out_bits": layers[-1].out_bits - 1}),
        "relu": (len(layers) - 1, {"relu": True}),
        "bits of one output": (len(layers) - 1, {"out_bits": one}),
    }
    index, fields = changes[change]
    with pytest.raises(ModelError, match="grid"):
        with_layer(network, index, **fields)


# The id


def nudged(array: Any) -> Any:
    array = array.copy()
    array.flat[0] += 1
    return array


def with_kernels_of_5() -> ResNetWeights:
    """The first wide convolution with a rim of zeros: the same function by other integers."""
    wide = DECODER[1]
    weight = np.pad(wide.weight, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return with_layer("decoder", 1, weight=weight, padding=2)


CHANGES: dict[str, Callable[[], ResNetWeights]] = {
    "prior bits": lambda: replace(WEIGHTS, prior_bits=9),
    "direct bits": lambda: replace(WEIGHTS, direct_bits=(3,) * 7 + (2,)),
    "learning rate": lambda: replace(WEIGHTS, learning_rate=1),
    "encoders swapped": lambda: replace(
        WEIGHTS, encoders={"rha": WEIGHTS.encoders["baseline"], "baseline": WEIGHTS.encoders["rha"]}
    ),
    "tile": lambda: replace(WEIGHTS, tile=16, direct_bits=(3,) * 32),
    "blocks": lambda: tiny_resnet(blocks=1),
    "limit": lambda: with_layer("decoder", 0, limit=1 << 20),
    "kernels": with_kernels_of_5,
    "relu": lambda: with_layer("decoder", 5, relu=False),
}
for _name, _index in LAYERS:
    for _field in ("weight", "bias"):
        CHANGES[f"{_name}.{_index}.{_field}"] = lambda n=_name, i=_index, f=_field: with_layer(  # type: ignore[misc]
            n, i, **{f: nudged(getattr(dict(WEIGHTS.networks())[n][i], f))}
        )


def test_id_changes_with_every_integer() -> None:
    ids = {make().id for make in CHANGES.values()}
    assert len(ids) == len(CHANGES)
    assert WEIGHTS.id not in ids
    assert tiny_resnet().id == WEIGHTS.id
    assert replace(WEIGHTS, card={"name": "other"}).id == WEIGHTS.id


@pytest.mark.parametrize("setting", ["stride", "padding", "transposed"])
def test_id_has_the_geometry_of_every_layer(setting: str) -> None:
    """None but one geometry is allowed now; a later version that allows others still tells them apart."""
    for _, layers in WEIGHTS.networks():
        for layer in layers:
            changed = replace(layer, **{setting: getattr(layer, setting) + 1})
            assert grid_of(changed) != grid_of(layer)
    networks = WEIGHTS.settings()["networks"]
    assert all(setting in grid for grids in networks.values() for grid in grids)


def fixed_model() -> ResNetWeights:
    """A model of plain small integers, not of a random generator's."""

    def layer(bits: list[int], inputs: int, k: int, in_bits: int = ACTIVATION_BITS, **more: Any) -> ConvolutionWeights:
        weight = np.arange(len(bits) * inputs * k * k).reshape(len(bits), inputs, k, k) % 5 - 2
        bias = np.arange(len(bits)) - 1
        return ConvolutionWeights(weight, bias, 12, in_bits, np.array(bits), **{"relu": False, **more})

    hidden = [ACTIVATION_BITS] * 2
    scaling = {"stride": 2, "padding": 1}
    block = layer(hidden, 2, 3, relu=True, padding=1), layer(hidden, 2, 1)
    up = {**scaling, "transposed": True}
    encoder = (
        layer(hidden, 3, 4, PIXEL_BITS, relu=True, **scaling),
        layer(hidden, 2, 4, **scaling),
        *block,
        layer([Z_BITS, RHO_BITS], 2, 1),
    )
    return ResNetWeights(
        tile=4, blocks=1, prior_bits=4, direct_bits=(2,), learning_rate=7,
        decoder=(
            layer(hidden, 1, 1, Z_BITS), *block, layer(hidden, 2, 4, relu=True, limit=100, **up),
            layer(ExactChannelLogistic().out_bits().tolist(), 2, 4, **up),
        ),
        encoders={"rha": encoder, "baseline": encoder},
    )  # fmt: skip


FIXED_ID = "4e4d507d27664625e35685ebe2e5f37392b407f2bc8b842ac0a437e8cf13b130"


def test_id_is_fixed() -> None:
    """Files name models by it: no release may come to another one for the same integers."""
    assert fixed_model().id.hex() == FIXED_ID
