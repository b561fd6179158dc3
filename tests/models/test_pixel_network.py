"""The per-pixel network: against a plain integer reference, forwards and backwards, and what its proof refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from models_for_tests import noise_strips, tiny_local

from bbcompress.errors import ModelError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.layers import GRADIENT_LIMIT, LinearWeights
from bbcompress.models import network_kernels
from bbcompress.models.local import LocalWeights
from bbcompress.models.neighbourhood import LEFT, OFFSETS, UPPER
from bbcompress.models.pixel_network import BINARY_GAIN, MIDDLE, PIXEL_BITS, SUM_LIMIT, PixelNetwork
from bbcompress.models.strips import Canvas, Strips

KINDS: dict[str, dict[str, Any]] = {
    "rgb": {},
    "grey": {"channels": 1},
    "binary": {"channels": 1, "binary": True},
    "rgb from levels": {"centred": False},
    "binary, centred": {"channels": 1, "binary": True, "centred": True},
    "rgb in float64": {"weight_bits": 16},
    "binary in float64": {"channels": 1, "binary": True, "weight_bits": 16},
}
kinds = pytest.mark.parametrize("kind", KINDS)


def network_of(weights: LocalWeights) -> PixelNetwork:
    return PixelNetwork(weights.pixel_network, NumpyBackend())


def sample(weights: LocalWeights, seed: int = 0) -> tuple[Strips, Any]:
    """Noise, two images, and random features of its cells."""
    strips = noise_strips(weights, 2, 11, 13, seed)
    cells = strips.row_count * weights.cells**2
    random = np.random.default_rng(seed)
    limit = weights.decoder[-1].limit
    return strips, random.integers(-limit, limit + 1, (cells, weights.features)).astype(np.float32)


# The reference: Python integers and int64


def plain_inputs(weights: LocalWeights, strips: Strips) -> tuple[Any, Any, Any]:
    """Inputs (N, inputs), references (N, C) and levels (N, C) of all pixels in the order of the wavefront, int64."""
    canvas = strips.canvas
    gain = 1 if weights.mixtures else BINARY_GAIN
    inputs, all_references, levels = [], [], []
    for index in strips.wavefront(weights.cell).indices.tolist():
        around = np.array(
            [[int(canvas.flat[index + offset + c]) for c in range(canvas.channels)] for offset in canvas.offsets]
        )
        references = []
        for c in range(canvas.channels):
            known = [v for v in (around[LEFT, c], around[UPPER, c]) if v >= 0]
            reference = (sum(known) + len(known) - 1) // len(known) if known else MIDDLE
            references.append(reference if weights.centred else 0)
        relative = np.where(around >= 0, (around - references) * gain, 0)
        more = [r - MIDDLE for r in references] if weights.centred else []
        inputs.append([*relative.ravel().tolist(), *more])
        all_references.append(references)
        levels.append([int(canvas.flat[index + c]) for c in range(canvas.channels)])
    return np.array(inputs), np.array(all_references), np.array(levels)


def plain_layer(layer: LinearWeights, x: Any) -> Any:
    """clamp(floor((W x + b) / 2^shift + 1/2)), all in int64."""
    shift = layer.in_bits + layer.weight_bits - layer.out_bits
    total = x.astype(np.int64) @ layer.weight.T + layer.bias
    rounded = np.where(shift > 0, (total + (1 << shift >> 1)) >> shift, total)
    return np.clip(rounded, 0 if layer.relu else -layer.limit, layer.limit)


def plain_parameters(weights: LocalWeights, inputs: Any, references: Any, levels: Any) -> list[Any]:
    """The parameters of each channel (N, outputs), int64, for inputs with features."""
    x = inputs
    for layer in weights.trunk:
        x = plain_layer(layer, x)
    gain = 1 if weights.mixtures else BINARY_GAIN
    earlier = (levels - references) * gain
    width = len(weights.heads.weight) // weights.channels
    hidden = plain_layer(weights.heads, np.concatenate([x, earlier[:, : weights.channels - 1]], axis=1))
    return [
        plain_layer(
            weights.outputs[c], np.concatenate([hidden[:, c * width : (c + 1) * width], earlier[:, :c]], axis=1)
        )
        for c in range(weights.channels)
    ]


# Inputs


@kinds
def test_inputs(kind: str) -> None:
    weights = tiny_local(**KINDS[kind])
    strips, features = sample(weights)
    wave = strips.wavefront(weights.cell)
    inputs, references = network_of(weights).context(strips.canvas, wave.indices, features, wave.cells)
    plain, plain_references, levels = plain_inputs(weights, strips)
    assert inputs.dtype == np.float32
    assert references.dtype == np.int64
    assert np.array_equal(inputs[:, : plain.shape[1]], plain)
    assert np.array_equal(inputs[:, plain.shape[1] :], features[wave.cells])
    assert np.array_equal(references, plain_references.T)
    assert np.array_equal(strips.canvas.levels_at(wave.indices), levels.T)


@one_test_of("image", [(1, 1), (1, 5), (5, 1)])
@one_test_of("channels", [1, 3])
def test_inputs_of_tiny_images(image: tuple[int, int], channels: int) -> None:
    weights = tiny_local(channels=channels)
    strips = noise_strips(weights, 2, *image)
    inputs, references = network_of(weights).context(strips.canvas, strips.wavefront(4).indices)
    plain, plain_references, _ = plain_inputs(weights, strips)
    assert np.array_equal(inputs[:, : plain.shape[1]], plain)
    assert np.array_equal(references, plain_references.T)
    assert (references[:, 0] == MIDDLE).all()


def test_later_pixels_are_not_seen() -> None:
    """Whatever has not been decoded yet may hold anything."""
    weights = tiny_local()
    strips, features = sample(weights)
    wave = strips.wavefront(weights.cell)
    network = network_of(weights)
    inputs, references = network.context(strips.canvas, wave.indices, features, wave.cells)
    canvas = Canvas(2, 11, 13, 3, 8)
    for begin, end in zip(wave.bounds, wave.bounds[1:], strict=False):
        found, own = network.context(canvas, wave.indices[begin:end], features, wave.cells[begin:end])
        assert np.array_equal(found, inputs[begin:end])
        assert np.array_equal(own, references[:, begin:end])
        for channel, levels in enumerate(strips.canvas.levels_at(wave.indices[begin:end])):
            canvas.set_levels(wave.indices[begin:end], channel, levels)


# Forwards


def parameters_of(weights: LocalWeights, strips: Strips, features: Any, rows: slice = slice(None)) -> list[Any]:
    """The parameters that the network gives, channel by channel."""
    network = network_of(weights)
    wave = strips.wavefront(weights.cell)
    inputs, references = network.context(strips.canvas, wave.indices[rows], features, wave.cells[rows])
    levels = strips.canvas.levels_at(wave.indices[rows])
    heads = network.heads_of(inputs)
    earlier = network.no_channels(len(inputs))
    found = []
    for channel in range(weights.channels):
        found.append(network.parameters(heads, channel, earlier))
        network.add_channel(earlier, channel, levels[channel], references[channel])
    return found


@kinds
@pytest.mark.parametrize("seed", [0, 1])
def test_forward_is_that_of_integers(kind: str, seed: int) -> None:
    weights = tiny_local(**KINDS[kind], seed=seed)
    strips, features = sample(weights, seed)
    wave = strips.wavefront(weights.cell)
    inputs, references, levels = plain_inputs(weights, strips)
    inputs = np.concatenate([inputs, features[wave.cells].astype(np.int64)], axis=1)
    expected = plain_parameters(weights, inputs, references, levels)
    found = parameters_of(weights, strips, features)
    for channel, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.dtype == np.float64
        assert np.array_equal(one, other), channel
        assert len(np.unique(one[:, 0])) > 10  # the pixels matter


def test_earlier_channels_matter() -> None:
    weights = tiny_local()
    strips, features = sample(weights)
    before = parameters_of(weights, strips, features)
    strips.canvas.inner[..., 0] = 255 - strips.canvas.inner[..., 0]
    network = network_of(weights)
    wave = strips.wavefront(weights.cell)
    last = slice(len(wave.indices) - 1, None)  # no other pixel sees it
    after = parameters_of(weights, strips, features, last)
    strips.canvas.inner[..., 0] = 255 - strips.canvas.inner[..., 0]
    inputs, references = network.context(strips.canvas, wave.indices[last], features, wave.cells[last])
    heads, earlier = network.heads_of(inputs), network.no_channels(1)
    assert np.array_equal(network.parameters(heads, 0, earlier), before[0][last])
    for channel, level in ((0, 1), (1, 200)):
        network.add_channel(earlier, channel, np.array([level]), references[channel])
    assert not np.array_equal(network.parameters(heads, 1, earlier), before[1][last])
    assert not np.array_equal(after[1], before[1][last])


@kinds
def test_batches_change_nothing(kind: str) -> None:
    weights = tiny_local(**KINDS[kind])
    strips, features = sample(weights)
    together = parameters_of(weights, strips, features)
    for size in (1, 37):
        for begin in range(0, len(together[0]), size * 5):
            rows = slice(begin, begin + size)
            for one, other in zip(parameters_of(weights, strips, features, rows), together, strict=True):
                assert np.array_equal(one, other[rows])


def scaled(layer: LinearWeights, bits: int) -> LinearWeights:
    """The same layer on a grid so much finer."""
    return replace(layer, weight=layer.weight << bits, bias=layer.bias << bits, weight_bits=layer.weight_bits + bits)


@pytest.mark.parametrize("kind", ["rgb", "grey", "binary"])
def test_single_and_double_precision_give_the_same(kind: str) -> None:
    weights = tiny_local(**KINDS[kind])
    wide = replace(
        weights,
        trunk=tuple(scaled(layer, 6) for layer in weights.trunk),
        heads=scaled(weights.heads, 6),
        outputs=tuple(scaled(layer, 6) for layer in weights.outputs),
    )
    strips, features = sample(weights)
    assert [layer.single for layer in layers_of(network_of(weights))] == [True] * len(layers_of(network_of(weights)))
    assert not any(layer.single for layer in layers_of(network_of(wide)))
    for one, other in zip(parameters_of(weights, strips, features), parameters_of(wide, strips, features), strict=True):
        assert np.array_equal(one, other)


@kinds
def test_inputs_stay_within_the_limits_that_the_proof_takes(kind: str) -> None:
    weights = tiny_local(**KINDS[kind])
    strips, features = sample(weights)
    wave = strips.wavefront(4)
    network = network_of(weights)
    for level in (None, 0, weights.levels - 1):
        if level is not None:
            strips.canvas.inner[:] = level
        inputs, _ = network.context(strips.canvas, wave.indices, features, wave.cells)
        assert (np.abs(inputs) <= weights.pixel_network.input_limit).all()


def layers_of(network: PixelNetwork) -> list[Any]:
    return [*network._trunk, network._heads, *network._outputs]


# Sums up to the limit of float32


def largest_weights(shift: int, limit: int) -> LocalWeights:
    """A grey model without hidden structure whose heads' sums come as near to 2^24 as is allowed."""
    weights = tiny_local(channels=1, trunk=(4,), head=4)
    heads = weights.heads
    trunk = (replace(weights.trunk[0], limit=limit),)
    weight = np.zeros_like(heads.weight)
    weight[:, 0] = (1 << 14) - 1
    bias = np.array([(1 << 24) - 1 - limit * ((1 << 14) - 1) - lower for lower in (0, 1, 2, 5)])
    assert bias.min() > 0
    return replace(
        weights, trunk=trunk, heads=replace(heads, weight=weight, bias=bias, weight_bits=shift, limit=1 << 24)
    )


@pytest.mark.parametrize("shift", [0, 5, 14, 20])
def test_sums_up_to_the_limit_of_single_precision(shift: int) -> None:
    weights = largest_weights(shift, 1000)
    network = network_of(weights)
    random = np.random.default_rng(0)
    x = random.integers(900, 1001, (6000, 4))
    x[:10] = 1000
    expected = plain_layer(weights.heads, x)
    for rows in (slice(0, 10), slice(None)):  # by numpy, and by the compiled loop
        assert network._heads.single == (shift > 0)
        product = network._heads.product(x[rows].astype(np.float32))
        assert np.array_equal(network._heads.relu(product), expected[rows])


# Kernels


@one_test_of("channels", [1, 3])
@one_test_of(("centred", "gain"), [(1, 1), (0, 1), (0, 64)])
def test_gather_interpreted_is_gather_compiled(channels: int, centred: int, gain: int) -> None:
    weights = tiny_local(channels=channels)
    strips = noise_strips(weights, 2, 9, 10)
    canvas, indices = strips.canvas, strips.wavefront(8).indices
    results = []
    for function in (network_kernels.gather, network_kernels.gather.for_symbols(0)):
        inputs = np.full((len(indices), 25 * channels + 2), 7, np.float32)
        references = np.full((channels, len(indices)), -5, np.int64)
        function(canvas.flat, indices, canvas.offsets, centred, gain, LEFT, UPPER, MIDDLE, inputs, references)
        results.append((inputs, references))
    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])
    written = (len(OFFSETS) + centred) * channels
    assert (results[0][0][:, written:] == 7).all()  # the features' place


def test_requantise_interpreted_is_requantise_compiled() -> None:
    random = np.random.default_rng(0)
    total = random.integers(-(1 << 23), 1 << 23, (50, 9)).astype(np.float32)
    bias = random.integers(-(1 << 20), 1 << 20, 9).astype(np.float32)
    scale, limit = np.float32(2.0**-12), np.float32(1023)
    results = []
    for function in (network_kernels.relu_requantise, network_kernels.relu_requantise.for_symbols(0)):
        results.append(total.copy())
        function(results[-1], bias, scale, limit)
    assert np.array_equal(results[0], results[1])
    exact = (total.astype(np.int64) + bias.astype(np.int64) + (1 << 11)) >> 12
    assert np.array_equal(results[0], np.clip(exact, 0, 1023))


# Backwards


def plain_backward(layer: LinearWeights, gradient: Any, y: Any, inputs: int) -> Any:
    """By the first inputs of a layer, int64: as `Linear.backward` says."""
    gradient = np.where(y > (0 if layer.relu else -layer.limit), gradient, 0)
    gradient = np.clip(gradient, -GRADIENT_LIMIT, GRADIENT_LIMIT)
    total = gradient @ layer.weight[:, :inputs]
    return np.clip((total + (1 << layer.weight_bits >> 1)) >> layer.weight_bits, -GRADIENT_LIMIT, GRADIENT_LIMIT)


def plain_gradient(weights: LocalWeights, inputs: Any, references: Any, levels: Any, cells: Any, factor: int) -> Any:
    """The gradient by the features of each cell, int64, by an independent pass; inputs with features."""
    tape = [inputs]
    for layer in weights.trunk:
        tape.append(plain_layer(layer, tape[-1]))
    gain = 1 if weights.mixtures else BINARY_GAIN
    earlier = (levels - references) * gain
    width = len(weights.heads.weight) // weights.channels
    hidden = plain_layer(weights.heads, np.concatenate([tape[-1], earlier[:, : weights.channels - 1]], axis=1))
    params = plain_parameters(weights, inputs, references, levels)
    by_hidden = []
    for c in range(weights.channels):
        by_params = weights.observation.gradient(params[c].astype(float), references[:, c], levels[:, c])
        by_hidden.append(plain_backward(weights.outputs[c], by_params.astype(np.int64), params[c], width))
    gradient = plain_backward(weights.heads, np.concatenate(by_hidden, axis=1), hidden, tape[-1].shape[1])
    for layer, y in zip(weights.trunk[:0:-1], tape[:1:-1], strict=True):
        gradient = plain_backward(layer, gradient, y, layer.weight.shape[1])
    first = weights.trunk[0]
    gradient = np.clip(np.where(tape[1] > 0, gradient, 0), -GRADIENT_LIMIT, GRADIENT_LIMIT)
    found = np.unique(cells)
    sums = np.stack([gradient[cells == cell].sum(axis=0) * factor for cell in found])
    sums = np.clip(sums, -SUM_LIMIT, SUM_LIMIT)
    total = sums @ first.weight[:, inputs.shape[1] - weights.features :]
    rounded = (total + (1 << first.weight_bits >> 1)) >> first.weight_bits
    return found, np.clip(rounded, -GRADIENT_LIMIT, GRADIENT_LIMIT)


def gradient_of(weights: LocalWeights, strips: Strips, features: Any, factor: int = 1) -> tuple[Any, Any]:
    network = network_of(weights)
    (pixels,) = strips.sampled(1, 0, weights.cell, 10_000)
    inputs, references = network.context(strips.canvas, pixels.indices)
    levels = strips.canvas.levels_at(pixels.indices)
    return network.feature_gradient(inputs, references, levels, features[pixels.cells], pixels.cells, factor)


@kinds
@pytest.mark.parametrize("factor", [1, 16])
def test_gradient_is_that_of_integers(kind: str, factor: int) -> None:
    weights = tiny_local(**KINDS[kind])
    strips, features = sample(weights)
    wave = strips.wavefront(weights.cell)
    inputs, references, levels = plain_inputs(weights, strips)
    inputs = np.concatenate([inputs, features[wave.cells].astype(np.int64)], axis=1)
    cells, expected = plain_gradient(weights, inputs, references, levels, wave.cells, factor)
    found, gradient = gradient_of(weights, strips, features, factor)
    assert np.array_equal(found, cells)
    assert np.array_equal(gradient, expected)
    assert (gradient != 0).mean() > 0.5


@pytest.mark.parametrize("kind", ["rgb", "grey", "binary", "rgb from levels"])
def test_gradient_is_that_of_finite_differences(kind: str) -> None:
    """Of the code length itself, by steps of a feature of a cell: the exact numbers are rounded, so over many cells."""
    weights = tiny_local(**KINDS[kind], weight_bits=14, features=2)
    strips = noise_strips(weights, 3, 16, 16)
    if kind.startswith("rgb") or kind == "grey":  # smooth images: noise is far from any mean
        y, x = np.mgrid[0:16, 0:16]
        strips.canvas.inner[:] = (100 + 3 * x + 2 * y)[None, :, :, None] + np.arange(3)[:, None, None, None] * 20
    cells = strips.row_count * weights.cells**2
    features = np.random.default_rng(0).integers(-60, 61, (cells, 2)).astype(np.float32)
    found, gradient = gradient_of(weights, strips, features)
    assert np.array_equal(found, np.arange(cells))
    wave = strips.wavefront(weights.cell)
    inputs, references, levels = plain_inputs(weights, strips)

    def nats(features: Any) -> Any:
        """-log p(x) of each cell."""
        whole = np.concatenate([inputs, features[wave.cells].astype(np.int64)], axis=1)
        total = np.zeros(cells)
        for c, params in enumerate(plain_parameters(weights, whole, references, levels)):
            _, frequencies = weights.observation.intervals(params.astype(float), references[:, c], levels[:, c])
            np.add.at(total, wave.cells, -np.log(frequencies / 2**24))
        return total

    step = 8
    for feature in range(2):
        change = np.zeros_like(features)
        change[:, feature] = step
        slope = (nats(features + change) - nats(features - change)) / (2 * step * 2.0**-PIXEL_BITS)
        own = gradient[:, feature] * 2.0**-20
        assert np.corrcoef(own, slope)[0, 1] > 0.95
        assert abs(np.polyfit(slope, own, 1)[0] - 1) < 0.1


# What is refused


def changed(weights: LocalWeights, name: str, **change: Any) -> LocalWeights:
    """The model with one layer changed; name: trunk0, trunk1, heads, outputs2."""
    if name == "heads":
        return replace(weights, heads=replace(weights.heads, **change))
    field, index = name[:-1], int(name[-1])
    layers = list(getattr(weights, field))
    layers[index] = replace(layers[index], **change)
    parts: dict[str, Any] = {field: tuple(layers)}
    return replace(weights, **parts)


LAYERS = ["trunk0", "trunk1", "heads", "outputs0", "outputs2"]
WEIGHTS = tiny_local()


def layer(name: str) -> LinearWeights:
    found: LinearWeights = WEIGHTS.heads if name == "heads" else getattr(WEIGHTS, name[:-1])[int(name[-1])]
    return found


@one_test_of("name", LAYERS)
def test_broken_bounds_are_refused(name: str) -> None:
    bias = layer(name).bias
    with pytest.raises(ModelError, match="sums"):
        changed(WEIGHTS, name, bias=np.full_like(bias, -(1 << 53)))
    changed(WEIGHTS, name, bias=np.full_like(bias, 1 << 50))  # which float64 takes
    with pytest.raises(ModelError, match="sums"):
        changed(WEIGHTS, name, weight=np.where(layer(name).weight != 0, 1 << 30, 0))


CHANGES: dict[str, Callable[[LinearWeights], dict[str, Any]]] = {
    "relu": lambda own: {"relu": not own.relu},
    "in_bits": lambda own: {"in_bits": 7},
    "more out_bits": lambda own: {"out_bits": own.out_bits + 1},
    "fewer out_bits": lambda own: {"out_bits": own.out_bits - 1},
    "inputs": lambda own: {"weight": own.weight[:, 1:]},
    "rows": lambda own: {"weight": own.weight[1:]},
    "outputs": lambda own: {"weight": own.weight[1:], "bias": own.bias[1:], "out_bits": own.out_bits[1:]},
    "no limit": lambda own: {"limit": 0},
    "a larger limit": lambda own: {"limit": (1 << 24) + 1},
    "weight_bits": lambda own: {"weight_bits": 41},
}


@one_test_of("name", LAYERS)
@one_test_of("change", CHANGES)
def test_layers_that_do_not_fit_are_refused(name: str, change: str) -> None:
    with pytest.raises(ModelError):
        changed(WEIGHTS, name, **CHANGES[change](layer(name)))


@pytest.mark.parametrize(("head", "sees"), [(0, 0), (0, 1), (1, 1)])
def test_heads_that_see_what_is_not_decoded_are_refused(head: int, sees: int) -> None:
    weight = WEIGHTS.heads.weight.copy()
    weight[head * 5 + 3, 6 + sees] = 1
    with pytest.raises(ModelError, match="not decoded yet"):
        changed(WEIGHTS, "heads", weight=weight)


@one_test_of(
    ("change", "reason"),
    [
        ({"trunk": ()}, "misses a layer"),
        ({"outputs": WEIGHTS.outputs[:2]}, "misses a layer"),
        ({"outputs": (*WEIGHTS.outputs, WEIGHTS.outputs[0])}, "misses a layer"),
        ({"outputs": WEIGHTS.outputs[::-1]}, "fit"),
        ({"mixtures": 3}, "grid"),
        ({"centred": False}, "fit"),
    ],
)
def test_networks_that_do_not_fit_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        replace(WEIGHTS, **change)


def test_the_gradient_by_features_has_a_bound_of_its_own() -> None:
    weight = WEIGHTS.trunk[0].weight.copy()
    weight[:, -1] = 0
    weight[0, -1] = (1 << 19) - 1
    changed(WEIGHTS, "trunk0", weight=weight)
    weight[1, -1] = 1
    with pytest.raises(ModelError, match="features' gradient"):
        changed(WEIGHTS, "trunk0", weight=weight)
