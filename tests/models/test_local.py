"""Local models: independent of how strips are batched and of the backend; what their weights have to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from models_for_tests import noise_strips, sampled_strips, strips_of, tiny_local, with_layers
from roundtrip import random_message

from bbcompress.errors import ModelError
from bbcompress.exact.backend import Backend, NumpyBackend
from bbcompress.exact.layers import LinearWeights
from bbcompress.limits import ENCODERS
from bbcompress.models import local
from bbcompress.models.base import RHO_BITS, Z_BITS
from bbcompress.models.local import ExactLocalVAE, LocalWeights
from bbcompress.models.strips import Canvas, Strips

MODELS: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    # settings, and images that suit them: count, height, width
    "rgb": ({}, (2, 19, 21)),
    "grey": ({"channels": 1, "cell": 8}, (3, 8, 17)),
    "binary": ({"channels": 1, "binary": True}, (2, 17, 9)),
    "rgb, one size": ({"image": (8, 8), "pool": 2}, (9, 8, 8)),
    "binary, one size": ({"channels": 1, "binary": True, "image": (8, 8), "cell": 1}, (9, 8, 8)),
    "rgb, float64": ({"weight_bits": 16}, (1, 9, 21)),
    "rgb, tiny": ({}, (3, 1, 5)),
}
models = pytest.mark.parametrize("name", MODELS)


def vae_of(name: str, backend: Backend | None = None, **more: Any) -> ExactLocalVAE:
    return ExactLocalVAE(tiny_local(**MODELS[name][0], **more), backend or NumpyBackend())


def images_of(vae: ExactLocalVAE, name: str, seed: int = 0) -> Strips:
    """Of the model's own, the last one noise."""
    strips = sampled_strips(vae.weights, *MODELS[name][1], seed=seed)
    strips.canvas.inner[-1:] = noise_strips(vae.weights, 1, *MODELS[name][1][1:], seed=seed).canvas.inner
    return strips


def latents_of(vae: ExactLocalVAE, x: Strips, seed: int = 0) -> Any:
    """Some z of x, in units of 2^-24."""
    bins = np.random.default_rng(seed).integers(0, 256, (x.row_count, vae.weights.latents))
    return vae.prior.values(bins)


def parts_of(x: Strips, size: int) -> list[Strips]:
    return [x[start : start + size] for start in range(0, len(x), size)]


# Encoder, likelihood and gradient, whatever the batches are


@models
def test_chunks_change_no_number(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vae = vae_of(name)
    x = images_of(vae, name)
    z = latents_of(vae, x)
    lengths, gradient = vae.lengths(z, x), vae.gradient(z * 2.0**-24, x, 1)
    message = random_message(3)
    vae.push_pixels(message, z, x)
    for chunk, tiles in ((1 << 20, 1000), (37, 1)):
        monkeypatch.setattr(local, "CHUNK", chunk)
        monkeypatch.setattr(local, "GRADIENT_TILES", tiles)
        assert np.array_equal(vae.lengths(z, x), lengths)
        assert np.array_equal(vae.gradient(z * 2.0**-24, x, 1), gradient)
        other = random_message(3)
        vae.push_pixels(other, z, x)
        assert other == message


@models
def test_compiled_loops_and_separate_products_say_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vae = vae_of(name)
    x = images_of(vae, name)
    z = latents_of(vae, x)
    found = []
    for pays in (True, False):
        monkeypatch.setattr(local, "pays_for", lambda pixels, pays=pays: pays)
        assert (vae._compiled(x, 1) is not None) == pays
        message = random_message(3)
        vae.push_pixels(message, z, x)
        pushed = message.copy()
        pixels = x.canvas.inner.copy()
        x.canvas.inner[:] = 0
        vae.pop_pixels(message, z, x)
        assert np.array_equal(x.canvas.inner, pixels)
        assert message == random_message(3)
        found.append((pushed, vae.lengths(z, x).tolist()))
    assert found[0] == found[1]


@models
def test_what_is_below_does_not_matter(name: str) -> None:
    """A strip is coded by its own pixels and those above: what a reader has."""
    vae = vae_of(name)
    x = images_of(vae, name)
    top = x[len(x) - 1 :]
    z = latents_of(vae, top)
    found = [*vae.encode(top, "rha"), vae.lengths(z, top), vae.gradient(z * 2.0**-24, top, 1)]
    image, begin, end, _ = top.regions[0]
    canvas = Canvas.of(255 - x.canvas.images if vae.weights.mixtures else 1 - x.canvas.images, x.canvas.tile)
    canvas.inner[image, begin:end] = x.canvas.inner[image, begin:end]
    again = Strips(canvas, top.first, top.last)
    for one, other in zip(
        found,
        [*vae.encode(again, "rha"), vae.lengths(z, again), vae.gradient(z * 2.0**-24, again, 1)],
        strict=True,
    ):
        assert np.array_equal(one, other)


def test_what_is_above_does() -> None:
    vae = vae_of("rgb")
    x = images_of(vae, "rgb")
    lowest = x[:1]
    z = latents_of(vae, lowest)
    before = vae.lengths(z, lowest)
    x.canvas.inner[0, :16] = 255 - x.canvas.inner[0, :16]
    assert (vae.lengths(z, lowest) != before).all()


def test_tiles_see_each_other() -> None:
    """A change left of a tile's edge changes the lengths of its right neighbour."""
    vae = vae_of("rgb")
    x = images_of(vae, "rgb")
    z = latents_of(vae, x)
    before = vae.lengths(z, x)
    x.canvas.inner[0, 0, 7] = 255 - x.canvas.inner[0, 0, 7]
    changed = vae.lengths(z, x) != before
    assert np.flatnonzero(changed).tolist() == [6, 7]  # of the topmost of three strips of three tiles


@models
def test_everything_matters(name: str) -> None:
    """Otherwise the tests above would not see it ignored."""
    vae = vae_of(name)
    x = images_of(vae, name)
    z, other = latents_of(vae, x), latents_of(vae, x, seed=1)
    assert (vae.lengths(z, x) != vae.lengths(other, x)).mean() > 0.9
    mu, rho = vae.encode(x, "rha")
    assert not np.array_equal(mu, vae.encode(x, "baseline")[0])
    assert not np.array_equal(mu, vae.encode(images_of(vae, name, seed=1), "rha")[0])
    assert (np.abs(mu) < 16).all() and (np.abs(rho) < 16).all()
    first, second = (vae.gradient(z * 2.0**-24, x, step) for step in (1, 2))
    assert (first != 0).mean() > 0.4  # strips of one row have none of the pixels of step 1
    sampled = vae.weights.stride > 1 and min(x.canvas.height, x.canvas.width) >= vae.weights.tile
    assert np.array_equal(first, second) != sampled


def test_the_gradient_of_large_images_is_sampled() -> None:
    """The mean over all steps of a stride is that over all pixels, but for rounding."""
    x = images_of(vae_of("rgb"), "rgb")
    sampled, whole = vae_of("rgb", stride=4), vae_of("rgb", stride=1)
    z = latents_of(whole, x) * 2.0**-24
    mean = np.mean([sampled.gradient(z, x, step) for step in range(3, 19)], axis=0)
    full = whole.gradient(z, x, 1)
    assert np.abs(mean - full).max() < 0.01 * np.abs(full).max()
    assert np.abs(sampled.gradient(z, x, 1) - full).max() > 0.05 * np.abs(full).max()


@pytest.mark.parametrize("name", ["rgb", "grey", "binary", "binary, one size"])
def test_gradient_is_that_of_finite_differences(name: str) -> None:
    vae = vae_of(name, stride=1, weight_bits=14)
    count, height, width = MODELS[name][1]
    draw = noise_strips if name == "binary" else sampled_strips  # which draws hardly any 0
    x = draw(vae.weights, 3 * count, height, width)
    z = latents_of(vae, x) // 2  # features at their upper clamp would let the gradient through
    found = vae.gradient(z * 2.0**-24, x, 1)
    step = 1 << 19  # 1/32
    slopes = np.zeros(found.shape)
    for latent in range(vae.weights.latents):
        change = np.zeros_like(z)
        change[:, latent] = step
        nats = (vae.lengths(z + change, x) - vae.lengths(z - change, x)) * (np.log(2) / 2**30)
        slopes[:, latent] = nats / (2 * step * 2.0**-24)
    assert np.corrcoef(found.ravel(), slopes.ravel())[0, 1] > 0.9  # the code length has kinks
    assert abs(np.polyfit(slopes.ravel(), found.ravel(), 1)[0] - 1) < 0.15


# The encoder against plain integers


def plain_chain(layers: tuple[LinearWeights, ...], x: Any) -> Any:
    for layer in layers:
        shift = layer.in_bits + layer.weight_bits - layer.out_bits
        total = x @ layer.weight.T + layer.bias
        x = np.where(shift > 0, (total + (1 << shift >> 1)) >> shift, total)
        x = np.clip(x, 0 if layer.relu else -layer.limit, layer.limit)
    return x


@models
@pytest.mark.parametrize("encoder", ENCODERS)
def test_encoder_is_that_of_integers(name: str, encoder: str) -> None:
    """Patches, edges repeated where a tile is cut; rounded means of fields; the rest."""
    vae = vae_of(name)
    weights = vae.weights
    x = images_of(vae, name)
    side, pool = weights.patch, weights.pool
    patch_layers, head_layers = weights.encoders[encoder]
    rows = []
    for tile in (tile.astype(np.int64) for part in x.tiles() for tile in part):
        height, width = tile.shape[:2]
        down, across = -(-height // side), -(-width // side)
        y = np.minimum(np.arange(down * side), height - 1)
        z = np.minimum(np.arange(across * side), width - 1)
        whole = tile[y[:, None], z[None, :]]
        fields: dict[tuple[int, int], list[Any]] = {}
        for i in range(down):
            for j in range(across):
                patch = whole[i * side : (i + 1) * side, j * side : (j + 1) * side].reshape(1, -1)
                fields.setdefault((i * pool // down, j * pool // across), []).append(
                    plain_chain(patch_layers, patch)[0]
                )
        means = [(2 * np.sum(field, axis=0) + len(field)) // (2 * len(field)) for _, field in sorted(fields.items())]
        rows.append(plain_chain(head_layers, np.concatenate(means)[None])[0])
    mu, rho = vae.encode(x, encoder)
    expected = np.array(rows)
    assert np.array_equal(mu * 2.0**Z_BITS, expected[:, : weights.latents])
    assert np.array_equal(rho * 2.0**RHO_BITS, expected[:, weights.latents :])


# Pushing and popping


@pytest.mark.parametrize("name", ["rgb, one size", "rgb, tiny"])
def test_candidate_lengths_are_those_of_each_z(name: str) -> None:
    vae = vae_of(name)
    x = images_of(vae, name)
    for unit in range(len(x)):
        part = x[unit : unit + 1]
        z = np.concatenate([latents_of(vae, part, seed) for seed in range(5)])
        expected = [vae.lengths(z[i : i + 1], part)[0] for i in range(5)]
        assert vae.candidate_lengths(z, part).tolist() == expected


def test_features_are_rounded_and_clamped() -> None:
    vae = vae_of("rgb")
    weights = vae.weights
    z = np.array([[0, 0, 0], [127, 0, 0], [128, 0, 0], [16 << 24, -(16 << 24), 16 << 24]])
    found = vae.features(z)
    assert found.dtype == np.float32
    assert found.shape == (4 * weights.cells**2, weights.features)
    tiles = found.reshape(4, -1)
    assert np.array_equal(tiles[0], tiles[1])  # less than half a unit of the decoder's grid
    grid = (z + 128) >> 8
    assert np.array_equal(tiles, plain_chain(weights.decoder, grid))
    assert np.abs(tiles).max() == weights.decoder[-1].limit


# What the weights have to be


WEIGHTS = tiny_local()
ONE_SIZE = tiny_local(image=(8, 8), pool=2)
BINARY = tiny_local(channels=1, binary=True)


def test_facts() -> None:
    assert (WEIGHTS.channels, WEIGHTS.levels, WEIGHTS.likelihood, WEIGHTS.shape) == (3, 256, "logistic_mixture", None)
    assert (BINARY.channels, BINARY.levels, BINARY.likelihood) == (1, 2, "bernoulli")
    assert (ONE_SIZE.shape, ONE_SIZE.dimensions, ONE_SIZE.cells, ONE_SIZE.latents) == ((8, 8), 192, 2, 3)
    assert WEIGHTS.name == "tiny-local"
    assert replace(WEIGHTS, card={}).name == WEIGHTS.id.hex()[:8]


@one_test_of(
    ("weights", "change", "reason"),
    [
        (WEIGHTS, {"channels": 2}, "channels"),
        (WEIGHTS, {"channels": 0}, "channels"),
        (WEIGHTS, {"mixtures": 0}, "channels"),
        (WEIGHTS, {"mixtures": 65}, "sizes"),
        (WEIGHTS, {"mixtures": -1}, "sizes"),
        (WEIGHTS, {"tile": 0}, "sizes|tile"),
        (WEIGHTS, {"tile": 512}, "sizes"),
        (WEIGHTS, {"stride": 0}, "sizes"),
        (WEIGHTS, {"stride": 9}, "sizes"),
        (WEIGHTS, {"features": 0}, "sizes"),
        (WEIGHTS, {"features": 1025}, "sizes"),
        (WEIGHTS, {"features": 4}, "grid|fit"),
        (WEIGHTS, {"image": (8, 9)}, "size of a tile"),
        (WEIGHTS, {"image": (16, 16)}, "size of a tile"),
        (WEIGHTS, {"cell": 3}, "fill"),
        (WEIGHTS, {"cell": 0}, "sizes|fill"),
        (WEIGHTS, {"cell": -4}, "sizes|fill|grid"),
        (WEIGHTS, {"cell": 8}, "grid|fit"),
        (WEIGHTS, {"patch": 3}, "fill"),
        (WEIGHTS, {"patch": 0}, "sizes|fill"),
        (WEIGHTS, {"patch": -4}, "sizes|fill"),
        (WEIGHTS, {"patch": 8}, "fit"),
        (WEIGHTS, {"pool": 2}, "fill"),
        (WEIGHTS, {"pool": 0}, "sizes|fill"),
        (ONE_SIZE, {"pool": -2}, "sizes|fill"),
        (ONE_SIZE, {"image": None}, "fill"),
        (ONE_SIZE, {"pool": 1}, "fit"),
        (WEIGHTS, {"prior_bits": 15}, "prior"),
        (WEIGHTS, {"direct_bits": (3, 3)}, "fit"),
        (WEIGHTS, {"direct_bits": ()}, "direct"),
        (WEIGHTS, {"learning_rate": 0}, "learning rate"),
        (WEIGHTS, {"decoder": ()}, "no layers"),
        (WEIGHTS, {"encoders": {"rha": WEIGHTS.encoders["rha"]}}, "encoders"),
        (WEIGHTS, {"encoders": {**WEIGHTS.encoders, "rha": ((), WEIGHTS.encoders["rha"][1])}}, "no layers"),
        (WEIGHTS, {"encoders": {**WEIGHTS.encoders, "rha": (WEIGHTS.encoders["rha"][0], ())}}, "no layers"),
        (WEIGHTS, {"encoders": {**WEIGHTS.encoders, "rha": WEIGHTS.encoders["rha"][::-1]}}, "fit"),
        (WEIGHTS, {"encoders": {**WEIGHTS.encoders, "rha": BINARY.encoders["rha"]}}, "fit"),
        (BINARY, {"mixtures": 2}, "grid|fit"),
    ],
)
def test_what_does_not_fit_is_refused(weights: LocalWeights, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        replace(weights, **change)


NETWORKS = [name for name, _ in WEIGHTS.networks()]
LAYERS = [(name, index) for name, layers in WEIGHTS.networks() for index in range(len(layers))]


def test_networks_have_names_and_an_order() -> None:
    assert NETWORKS == [
        "decoder", "trunk", "heads", "outputs",
        "encoder.rha.patch", "encoder.rha.head", "encoder.baseline.patch", "encoder.baseline.head",
    ]  # fmt: skip


@one_test_of(("network", "index"), LAYERS)
def test_broken_bounds_are_refused(network: str, index: int) -> None:
    own = dict(WEIGHTS.networks())[network][index]
    with pytest.raises(ModelError, match="sums"):
        with_layers(WEIGHTS, network, index, bias=np.full_like(own.bias, 1 << 53))


@one_test_of("network", ["decoder", "encoder.rha.patch", "encoder.baseline.head"])
@one_test_of("change", ["in_bits", "out_bits", "relu"])
def test_networks_on_other_grids_are_refused(network: str, change: str) -> None:
    layers = dict(WEIGHTS.networks())[network]
    changes: dict[str, tuple[int, dict[str, Any]]] = {
        "in_bits": (0, {"in_bits": layers[0].in_bits + 1}),
        "out_bits": (len(layers) - 1, {"out_bits": layers[-1].out_bits - 1}),
        "relu": (len(layers) - 1, {"relu": not layers[-1].relu}),
    }
    index, fields = changes[change]
    with pytest.raises(ModelError, match=r"grid|fit"):
        with_layers(WEIGHTS, network, index, **fields)


# The id


def nudged(array: Any) -> Any:
    array = array.copy()
    array.flat[0] += 1
    return array


CHANGES: dict[str, Callable[[], LocalWeights]] = {
    "prior bits": lambda: replace(WEIGHTS, prior_bits=9),
    "direct bits": lambda: replace(WEIGHTS, direct_bits=(3, 3, 2)),
    "learning rate": lambda: replace(WEIGHTS, learning_rate=1),
    "stride": lambda: replace(WEIGHTS, stride=4),
    "encoders swapped": lambda: replace(
        WEIGHTS, encoders={"rha": WEIGHTS.encoders["baseline"], "baseline": WEIGHTS.encoders["rha"]}
    ),
    "feature limit": lambda: with_layers(WEIGHTS, "decoder", 1, limit=511),
    "activation limit": lambda: with_layers(WEIGHTS, "heads", 0, limit=1000),
    "one size": lambda: replace(WEIGHTS, image=(8, 8)),
}
for _name, _index in LAYERS:
    for _field in ("weight", "bias"):
        CHANGES[f"{_name}.{_index}.{_field}"] = lambda n=_name, i=_index, f=_field: with_layers(  # type: ignore[misc]
            WEIGHTS, n, i, **{f: nudged(getattr(dict(WEIGHTS.networks())[n][i], f))}
        )


def test_id_changes_with_every_integer() -> None:
    ids = {make().id for make in CHANGES.values()}
    assert len(ids) == len(CHANGES)
    assert WEIGHTS.id not in ids
    assert tiny_local().id == WEIGHTS.id
    assert replace(WEIGHTS, card={"name": "other"}).id == WEIGHTS.id


def test_id_is_fixed() -> None:
    """Files name models by it: no release may come to another one for the same integers."""
    assert fixed_model().id.hex() == FIXED_ID


def fixed_model() -> LocalWeights:
    """A model of plain small integers, not of a random generator's."""

    def layer(outputs: list[int], inputs: int, in_bits: int, relu: bool, limit: int = 100) -> LinearWeights:
        weight = np.arange(len(outputs) * inputs).reshape(len(outputs), inputs) % 5 - 2
        return LinearWeights(weight, np.arange(len(outputs)) - 1, 12, in_bits, np.array(outputs), relu, limit)

    encoder = (layer([12, 12], 16, 0, True),), (layer([Z_BITS, RHO_BITS], 2, 12, False),)
    return LocalWeights(
        channels=1, mixtures=1, tile=4, image=None, cell=4, features=1, patch=4, pool=1, centred=True, stride=2,
        prior_bits=4, direct_bits=(2,), learning_rate=7, decoder=(layer([6], 1, Z_BITS, False),),
        trunk=(layer([6, 6], 26, 6, True),), heads=layer([6, 6], 2, 6, True),
        outputs=(layer([10, 10, 10, 12, 10], 2, 6, False),), encoders={"rha": encoder, "baseline": encoder},
    )  # fmt: skip


FIXED_ID = "6eb38fe2b67c4973f09b54b5c180ae722898167fb596f18ff8436345f05ca227"


def test_strips_of_the_tests_are_images() -> None:
    images = np.zeros((2, 9, 9, 3), np.uint8)
    assert np.array_equal(strips_of(WEIGHTS, images).canvas.images, images)
