"""What every model owes the codecs: one suite over all architectures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from models_for_tests import coding, noise_strips, sampled_strips, tiny_local, tiny_resnet, tiny_vae
from roundtrip import check_round_trip, random_message
from torch_for_tests import torch_backends

from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.direct import DirectCodec
from bbcompress.codecs.refinement import refine
from bbcompress.errors import ModelError
from bbcompress.exact.backend import Backend, NumpyBackend
from bbcompress.limits import ENCODERS
from bbcompress.models.base import LearningModel, Model, ModelWeights
from bbcompress.models.checkpoint import load, save
from bbcompress.models.local import ExactLocalVAE
from bbcompress.models.registry import model_of
from bbcompress.models.strips import Canvas, Strips

MODELS: dict[str, tuple[ModelWeights, tuple[int, int, int]]] = {
    # a model, and images that suit it: count, height, width
    "mlp, binary": (tiny_vae(), (5, 6, 5)),
    "mlp, grey": (tiny_vae("discretised_logistic"), (5, 6, 5)),
    "local, rgb": (tiny_local(), (2, 17, 9)),
    "local, binary, one size": (tiny_local(channels=1, binary=True, image=(8, 8), cell=1), (5, 8, 8)),
    "resnet": (tiny_resnet(), (2, 13, 21)),
}
every_model = pytest.mark.parametrize("name", MODELS)
SHAPES: dict[str, tuple[ModelWeights, tuple[int, int, int]]] = {
    # where a backend might take another way: grids and sizes of images
    "local, grey in one cell": (tiny_local(channels=1, cell=8), (3, 8, 17)),
    "local, binary": (tiny_local(channels=1, binary=True), (2, 17, 9)),
    "local, rgb of one size": (tiny_local(image=(8, 8), pool=2), (9, 8, 8)),
    "local, float64": (tiny_local(weight_bits=16), (1, 9, 21)),
    "local, tiny images": (tiny_local(), (3, 1, 5)),
    "resnet, whole tiles": (tiny_resnet(seed=1), (2, 16, 24)),
    "resnet, a part of a tile": (tiny_resnet(16), (3, 5, 13)),
    "resnet, one place": (tiny_resnet(4, channels=3, width=5, blocks=1), (2, 6, 7)),
    "resnet, long images": (tiny_resnet(), (1, 3, 40)),
    "resnet, pixels": (tiny_resnet(), (3, 1, 1)),
    "resnet, deep": (tiny_resnet(blocks=3, width=4, channels=1), (1, 9, 8)),
}


def model_and_images(name: str, noise: bool = False) -> tuple[Model, Strips]:
    weights, shape = MODELS[name]
    return model_of(weights, NumpyBackend()), (noise_strips if noise else sampled_strips)(weights, *shape)


def values_of(model: Model, x: Strips, seed: int = 0) -> Any:
    bins = np.random.default_rng(seed).integers(0, 1 << model.prior.bits, (x.row_count, model.weights.latents))
    return model.prior.values(bins)


@every_model
@pytest.mark.parametrize("noise", [False, True])
def test_round_trip_of_the_likelihood(name: str, noise: bool) -> None:
    """A message grows by the lengths that the model says."""
    model, x = model_and_images(name, noise)
    likelihood = model.likelihood(values_of(model, x))
    message = random_message(2, words=9000)
    before = message.content_bits
    likelihood.push(message, x)
    bits = likelihood.lengths(x).sum() / 2.0**30
    assert abs(message.content_bits - before - bits) < 2 + 1e-3 * bits
    check_round_trip(*coding(likelihood, x, random_message(3, words=9000)), pop_first=False)


@every_model
def test_lengths_by_pixel(name: str) -> None:
    """Each pixel is there once, in its tile, and those of a tile take what the tile takes."""
    model, x = model_and_images(name)
    likelihood = model.likelihood(values_of(model, x))
    found = likelihood.pixel_lengths(x)
    assert np.array_equal(found.by_row(x.row_count), likelihood.lengths(x))
    canvas = x.canvas
    everywhere = np.concatenate([
        canvas.part(np.arange(len(canvas.flat) // canvas.channels), number).ravel() for number in range(canvas.count)
    ])  # fmt: skip
    assert np.array_equal(np.sort(found.indices), np.sort(everywhere) * canvas.channels)


@every_model
def test_round_trip_of_the_prior(name: str) -> None:
    model, x = model_and_images(name)
    z = np.random.default_rng(0).integers(0, 1 << model.prior.bits, (x.row_count, model.weights.latents))
    check_round_trip(random_message(2), model.prior.push, lambda message: model.prior.pop(message, len(z)), z)


@every_model
@pytest.mark.parametrize("k", [0, 2])
def test_round_trip_of_the_codecs(name: str, k: int) -> None:
    model, x = model_and_images(name)
    codec = BitsBack(model, "rha", k, 20_000)
    check_round_trip(*coding(codec, x), pop_first=False)
    check_round_trip(*coding(DirectCodec(model), x[:1]), pop_first=False) if len(x) == 1 else None


@every_model
def test_no_number_depends_on_the_compute_batch(name: str) -> None:
    model, x = model_and_images(name)
    z = values_of(model, x)
    ends, values = x.row_ends, z * 2.0**-24
    together = [
        *model.encode(model.prepare(x), "rha"),
        model.gradient(values, model.prepare(x), 1),
        model.lengths(z, x),
    ]
    for strip in range(len(x)):
        part, rows = x[strip : strip + 1], slice(ends[strip], ends[strip + 1])
        alone = [*model.encode(model.prepare(part), "rha"), model.gradient(values[rows], model.prepare(part), 1)]
        for one, all_of_them in zip(alone, together, strict=False):
            assert np.array_equal(one, all_of_them[rows])
        assert np.array_equal(model.lengths(z[rows], part), together[3][rows])


@torch_backends
@one_test_of("name", [*MODELS, *SHAPES])
def test_torch_gives_the_same(backend: Backend, name: str) -> None:
    weights, shape = (MODELS | SHAPES)[name]
    plain, other = model_of(weights, NumpyBackend()), model_of(weights, backend)
    x = sampled_strips(weights, *shape)
    x.canvas.inner[-1:] = noise_strips(weights, 1, *shape[1:]).canvas.inner
    z = values_of(plain, x)

    def same(one: Any, two: Any) -> bool:
        return np.array_equal(one, two if isinstance(two, np.ndarray) else backend.numpy(two))

    for encoder in ENCODERS:
        both = plain.encode(plain.prepare(x), encoder), other.encode(other.prepare(x), encoder)
        assert all(same(*pair) for pair in zip(*both, strict=True))
    assert same(plain.lengths(z, x), other.lengths(z, x))
    by_z = other.gradient(backend.asarray(z * 2.0**-24), other.prepare(x), 1)
    assert same(plain.gradient(z * 2.0**-24, plain.prepare(x), 1), by_z)
    first, second = (refine(model, x, "rha", 3, 20_000) for model in (plain, other))
    assert np.array_equal(first.mu, second.mu) and np.array_equal(first.sigma, second.sigma)
    message, again = random_message(2), random_message(2)
    plain.likelihood(z).push(message, x)
    other.likelihood(z).push(again, x)
    assert message == again
    empty = Strips.all_of(Canvas(*shape, weights.channels, weights.tile))
    other.likelihood(z).pop(message, empty)
    assert np.array_equal(empty.canvas.images, x.canvas.images)
    assert message == random_message(2)


class Coarse(NumpyBackend):
    def matmul(self, left: Any, right: Any) -> Any:
        return (left.astype(np.float32) @ right.astype(np.float32)).astype(left.dtype)


@every_model
def test_a_backend_that_is_not_exact_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="not exact"):
        model_of(MODELS[name][0], Coarse())


@every_model
def test_gradient_against_finite_differences(name: str) -> None:
    """The slope of the exact code lengths, every pixel counted, over a step that is large to the grid of features."""
    model, x = model_and_images(name)
    if getattr(model.weights, "stride", 1) > 1:
        model = model_of(replace(model.weights, stride=1), NumpyBackend())  # type: ignore[type-var]
    z = values_of(model, x)
    gradient = model.gradient(z * 2.0**-24, model.prepare(x), 0)
    step = 1 << 20
    slopes = np.zeros(z.shape)
    for latent in range(z.shape[1]):
        moved = np.zeros_like(z)
        moved[:, latent] = step
        bits = (model.lengths(z + moved, x) - model.lengths(z - moved, x)) * 2.0**-30
        slopes[:, latent] = bits * np.log(2) / (2 * step * 2.0**-24)
    assert np.corrcoef(gradient.ravel(), slopes.ravel())[0, 1] > 0.98
    assert 0.85 < (gradient * slopes).sum() / (slopes * slopes).sum() < 1.15


@every_model
def test_gradients_by_weights_are_sums_over_rows(name: str) -> None:
    """Of models whose decoder learns; each has as many as its layer has integers, and not all are 0."""
    model, x = model_and_images(name)
    if not isinstance(model, LearningModel):
        assert isinstance(model, ExactLocalVAE)  # whose pixel network learns
        return
    z = np.floor(values_of(model, x) * 2.0**-8)
    prepared, rows = model.prepare(x), x.row_count
    together = model.weight_gradients(z, prepared, slice(0, rows))
    alone = [model.weight_gradients(z, prepared, slice(row, row + 1)) for row in range(rows)]
    for number, (found, layer) in enumerate(zip(together, model.decoder_layers, strict=True)):
        assert found.shape == (len(layer.weight), layer.weight[0].size + 1)
        assert found.any()
        assert np.array_equal(found, sum(parts[number] for parts in alone))


@every_model
def test_gradient_by_biases_against_differences(name: str) -> None:
    """The slope of the exact code lengths along the gradient by the biases of the last layer."""
    model, x = model_and_images(name)
    if not isinstance(model, LearningModel):
        return
    values = values_of(model, x)
    found = model.weight_gradients(np.floor(values * 2.0**-8), model.prepare(x), slice(0, x.row_count))[-1][:, -1]
    layer, lengths = model.decoder_layers[-1], []
    along = found / np.abs(found).max()
    for sign in (1, -1):
        moved = model.with_own_decoder()
        integers = [(each.weight, each.bias) for each in model.decoder_layers]
        step = np.round(sign * along * 2.0 ** (layer.in_bits + layer.weight_bits - 6))
        integers[-1] = layer.weight, layer.bias + step
        moved.load_decoder(integers)
        lengths.append(int(moved.lengths(values, x).sum()) * 2.0**-30 * np.log(2))
    slope = (lengths[0] - lengths[1]) / (2 * 2.0**-6)
    assert 0.85 < slope / (found @ along * 2.0**-20) < 1.15
    assert model.lengths(values, x).sum() != moved.lengths(values, x).sum()


def bound_breakers(weights: ModelWeights) -> list[dict[str, Any]]:
    """Changes of a model, each of which takes sums of a layer out of the exact range."""
    changes = []
    for change in ({"bias": 1 << 53}, {"weight": (1 << 31) - 1}):
        (field, value), decoder = *change.items(), list(weights.decoder)  # type: ignore[attr-defined]
        decoder[0] = replace(decoder[0], **{field: np.full_like(getattr(decoder[0], field), value)})
        changes.append({"decoder": tuple(decoder)})
    return changes


@every_model
def test_weights_that_break_a_bound_are_refused(name: str) -> None:
    weights: Any = MODELS[name][0]
    for change in bound_breakers(weights):
        with pytest.raises(ModelError, match="sums"):
            replace(weights, **change)


@every_model
def test_checkpoint_keeps_every_integer(name: str, tmp_path: Path) -> None:
    weights = MODELS[name][0]
    save(weights, tmp_path)
    again = load(tmp_path)
    assert again.id == weights.id
    assert type(again) is type(weights)
    assert again.settings() == weights.settings()


@every_model
def test_id_is_of_all_that_coding_depends_on(name: str) -> None:
    """Not of the card, and the same whenever it is asked for."""
    weights: Any = MODELS[name][0]
    assert replace(weights, card={"name": "other"}).id == weights.id
    changes: list[dict[str, Any]] = [{"prior_bits": 9}, {"learning_rate": 5001}]
    changes.append({"direct_bits": (2, *weights.direct_bits[1:])})
    changes.append({"encoders": dict(zip(weights.encoders, reversed(weights.encoders.values()), strict=True))})
    layers = list(weights.decoder)
    nudged = layers[-1].bias.copy()
    nudged[-1] += 1
    changes.append({"decoder": (*layers[:-1], replace(layers[-1], bias=nudged))})
    ids = {replace(weights, **change).id for change in changes}
    assert len(ids | {weights.id}) == len(changes) + 1
