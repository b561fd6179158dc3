"""Exact convolutions against plain integers and torch, residual networks, and what the proofs refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from hypothesis import assume, given
from hypothesis import strategies as st
from torch_for_tests import BACKENDS, TORCH_BACKENDS, needs_torch, torch, torch_backends

from bbcompress.errors import ModelError
from bbcompress.exact.backend import Backend, NumpyBackend
from bbcompress.exact.convolution import (
    ConvolutionWeights,
    ExactConvolution,
    ResidualNetwork,
    fold,
    prove_residual_network,
    unfold,
)
from bbcompress.exact.layers import ACTIVATION_BITS, ACTIVATION_LIMIT, EXACT_LIMIT, GRADIENT_BITS, GRADIENT_LIMIT

NUMPY: Backend = NumpyBackend()
Ints = Any


def layer(weight: Any, bias: Any = None, out_bits: Any = 0, **fields: Any) -> ConvolutionWeights:
    weight = np.array(weight, np.int64)
    bias = np.zeros(len(weight), np.int64) if bias is None else np.array(bias, np.int64)
    out_bits = np.broadcast_to(np.array(out_bits, np.int64), (len(weight),)).copy()
    defaults = {"weight_bits": 0, "in_bits": 0, "relu": False}
    return ConvolutionWeights(weight, bias, out_bits=out_bits, **(defaults | fields))


def random_layer(
    random: np.random.Generator, inputs: int, outputs: int, k: int, largest: int, **fields: Any
) -> ConvolutionWeights:
    weight = random.integers(-largest, largest + 1, (outputs, inputs, k, k))
    return layer(weight, random.integers(-largest, largest + 1, outputs), **fields)


# Plain integers


def sizes(sides: tuple[int, int], k: int, stride: int, padding: int, transposed: bool) -> tuple[int, int]:
    """Sides of the output."""
    if transposed:
        height, width = ((n - 1) * stride - 2 * padding + k for n in sides)
    else:
        height, width = ((n + 2 * padding - k) // stride + 1 for n in sides)
    return height, width


def plain_sums(x: Ints, weight: Ints, sides: tuple[int, int], stride: int, padding: int, transposed: bool) -> Ints:
    """The sums of a convolution in int64, tap by tap and place by place; sides: those of the output."""
    k = weight.shape[2]
    totals = np.zeros((len(x), *sides, len(weight)), np.int64)
    coarse, fine = (x.shape[1:3], sides) if transposed else (sides, x.shape[1:3])
    for row, column, i, j in np.ndindex(coarse[0], coarse[1], k, k):
        place, tap = (row, column), (row * stride + i - padding, column * stride + j - padding)
        if 0 <= tap[0] < fine[0] and 0 <= tap[1] < fine[1]:
            source, target = (place, tap) if transposed else (tap, place)
            totals[:, target[0], target[1]] += x[:, source[0], source[1]] @ weight[:, :, i, j].T
    return totals


def rounded(totals: Ints, shift: Any, low: int, high: int) -> Ints:
    """floor(total / 2^shift + 1/2) and the clamp, in integers."""
    half = np.left_shift(1, shift) >> 1
    return np.clip((totals + half) >> shift, low, high)


def plain_forward(weights: ConvolutionWeights, x: Ints) -> Ints:
    geometry = weights.stride, weights.padding, weights.transposed
    sides = sizes(x.shape[1:3], weights.weight.shape[2], *geometry)
    totals = plain_sums(x, weights.weight, sides, *geometry) + weights.bias
    shift = weights.in_bits + weights.weight_bits - weights.out_bits
    return rounded(totals, shift, 0 if weights.relu else -weights.limit, weights.limit)


def plain_backward(weights: ConvolutionWeights, gradient: Ints, y: Ints, sides: tuple[int, int]) -> Ints:
    kept = np.clip(gradient, -GRADIENT_LIMIT, GRADIENT_LIMIT) * (y > (0 if weights.relu else -weights.limit))
    adjoint = weights.weight.transpose(1, 0, 2, 3)
    totals = plain_sums(kept, adjoint, sides, weights.stride, weights.padding, not weights.transposed)
    return rounded(totals, weights.weight_bits, -GRADIENT_LIMIT, GRADIENT_LIMIT)


@st.composite
def geometries(draw: st.DrawFn) -> tuple[int, int, int, tuple[int, int], tuple[int, int]]:
    """Kernel, stride, padding, and the sides of the finer and the coarser image."""
    k, stride = draw(st.integers(1, 7)), draw(st.integers(1, 4))
    padding = draw(st.integers(0, k - 1))
    coarse = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    fine = sizes(coarse, k, stride, padding, True)
    assume(min(fine) >= 1)
    return k, stride, padding, fine, coarse


@given(geometries(), st.booleans(), st.data())
def test_agrees_with_plain_integers(
    geometry: tuple[int, int, int, tuple[int, int], tuple[int, int]], transposed: bool, data: st.DataObject
) -> None:
    """From small numbers to the very bounds, on both backends."""
    k, stride, padding, fine, coarse = geometry
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    batch, inputs, outputs = (int(n) for n in random.integers(1, 4, 3))
    weight_bits, in_bits = data.draw(st.integers(0, 20)), data.draw(st.integers(0, 16))
    weights = ConvolutionWeights(
        random.integers(-1, 2, (outputs, inputs, k, k)) * (1 << data.draw(st.integers(0, 16))) // 3,
        random.integers(-1, 2, outputs) << data.draw(st.integers(0, 48)),
        weight_bits,
        in_bits,
        random.integers(0, weight_bits + in_bits + 1, outputs),
        relu=data.draw(st.booleans()),
        limit=1 << data.draw(st.integers(3, 24)),
        stride=stride,
        padding=padding,
        transposed=transposed,
    )
    weights.prove(ACTIVATION_LIMIT)
    sides, y_sides = (coarse, fine) if transposed else (fine, coarse)
    limit = 1 << data.draw(st.integers(0, 24))
    x = random.integers(-limit, limit + 1, (batch, *sides, inputs))
    limit = 1 << data.draw(st.integers(0, 31))
    gradient = random.integers(-limit, limit + 1, (batch, *y_sides, outputs))
    expected = plain_forward(weights, x)
    assert expected.shape == (batch, *y_sides, outputs)
    back = plain_backward(weights, gradient, expected, sides)
    for backend in BACKENDS.values():
        convolution = ExactConvolution(weights, backend)
        y = convolution.forward(backend.asarray(x.astype(float)))
        assert backend.numpy(y).dtype == np.float64
        assert np.array_equal(backend.numpy(y), expected)
        x_gradient = convolution.backward(backend.asarray(gradient.astype(float)), y)
        assert np.array_equal(backend.numpy(x_gradient), back)


# torch


def torch_convolution(weights: ConvolutionWeights, x: torch.Tensor) -> torch.Tensor:
    """Channels first, in real numbers."""
    scale = 2.0**-weights.weight_bits
    weight = torch.from_numpy(weights.weight).double() * scale
    bias = torch.from_numpy(weights.bias).double() * scale * 2.0**-weights.in_bits
    if weights.transposed:
        y = torch.nn.functional.conv_transpose2d(x, weight.transpose(0, 1), bias, weights.stride, weights.padding)
    else:
        y = torch.nn.functional.conv2d(x, weight, bias, weights.stride, weights.padding)
    return torch.relu(y) if weights.relu else y


def channels_first(x: Any) -> torch.Tensor:
    return torch.from_numpy(np.asarray(x, np.float64)).permute(0, 3, 1, 2)


def channels_last(x: torch.Tensor) -> Any:
    return x.detach().permute(0, 2, 3, 1).numpy()


@needs_torch
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    ("k", "stride", "padding", "fine"),
    [
        (1, 1, 0, (4, 3)),
        (1, 2, 0, (5, 3)),
        (3, 1, 1, (5, 6)),
        (4, 2, 1, (8, 6)),
        (5, 3, 2, (10, 7)),
        (2, 4, 0, (6, 10)),
    ],
)
def test_agrees_with_torch_and_its_gradient(
    k: int, stride: int, padding: int, fine: tuple[int, int], relu: bool, transposed: bool
) -> None:
    random = np.random.default_rng(0)
    weights = random_layer(random, 4, 5, k, 9, relu=relu, stride=stride, padding=padding, transposed=transposed)
    sides = sizes(fine, k, stride, padding, False) if transposed else fine
    x = random.integers(-50, 51, (3, *sides, 4)).astype(float)
    convolution = ExactConvolution(weights, NUMPY)
    y = convolution.forward(x)
    inputs = channels_first(x).requires_grad_()
    expected = torch_convolution(weights, inputs)
    assert np.array_equal(y, channels_last(expected))
    assert np.abs(y).max() > 500

    gradient = random.integers(-50, 51, y.shape).astype(float)
    expected.backward(channels_first(gradient))  # type: ignore[no-untyped-call]
    back = convolution.backward(gradient, y)
    assert inputs.grad is not None
    assert np.array_equal(back, channels_last(inputs.grad))
    if not relu:  # <W x, g> = <x, W* g>
        assert ((y - weights.bias) * gradient).sum() == (x * back).sum() != 0


# Patches


def test_unfold_has_rows_columns_channels() -> None:
    x = np.arange(1.0, 19).reshape(1, 3, 3, 2)
    patches = unfold(x, 2, 1, 0, NUMPY)
    assert patches.shape == (1, 2, 2, 8)
    assert patches[0, 0, 1].tolist() == [3, 4, 5, 6, 9, 10, 11, 12]
    padded = unfold(x, 3, 2, 1, NUMPY)
    assert padded[0, 1, 0].tolist() == [0, 0, 7, 8, 9, 10, 0, 0, 13, 14, 15, 16, *[0] * 6]


@given(geometries(), st.integers(0, 99))
def test_fold_is_the_adjoint_of_unfold(
    geometry: tuple[int, int, int, tuple[int, int], tuple[int, int]], seed: int
) -> None:
    k, stride, padding, fine, coarse = geometry
    random = np.random.default_rng(seed)
    x = random.integers(-9, 10, (2, *fine, 3)).astype(float)
    patches = random.integers(-9, 10, (2, *coarse, k * k * 3)).astype(float)
    unfolded, folded = unfold(x, k, stride, padding, NUMPY), fold(patches, *fine, k, stride, padding, NUMPY)
    assert unfolded.shape == patches.shape
    assert folded.shape == x.shape
    assert (unfolded * patches).sum() == (x * folded).sum()
    for backend in TORCH_BACKENDS.values():
        assert np.array_equal(backend.numpy(unfold(backend.asarray(x), k, stride, padding, backend)), unfolded)
        assert np.array_equal(backend.numpy(fold(backend.asarray(patches), *fine, k, stride, padding, backend)), folded)


def test_taps_that_meet_no_pixel() -> None:
    x = np.array([[1.0, 2], [3, 4]]).reshape(1, 2, 2, 1)
    patches = unfold(x, 6, 2, 2, NUMPY)
    assert patches.reshape(6, 6)[2:4, 2:4].tolist() == [[1, 2], [3, 4]]
    assert patches.sum() == 10
    assert np.array_equal(fold(patches, 2, 2, 6, 2, 2, NUMPY), x)


@one_test_of(("height", "width"), [(5, 4), (4, 5), (1, 4), (4, 1), (0, 4)])
def test_sides_that_the_stride_does_not_divide(height: int, width: int) -> None:
    convolution = ExactConvolution(layer(np.ones((1, 1, 4, 4)), stride=2, padding=1), NUMPY)
    assert convolution.forward(np.ones((1, 4, 4, 1))).shape == (1, 2, 2, 1)
    with pytest.raises(ValueError, match="a side of"):
        convolution.forward(np.ones((1, height, width, 1)))


def test_transposed_convolutions_of_no_pixels() -> None:
    convolution = ExactConvolution(layer(np.ones((1, 1, 2, 2)), padding=1, transposed=True), NUMPY)
    assert convolution.forward(np.ones((1, 2, 2, 1))).shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match="a side of"):
        convolution.forward(np.ones((1, 1, 2, 1)))


def test_patches_of_another_image() -> None:
    with pytest.raises(ValueError, match="a grid of"):
        fold(np.ones((1, 2, 2, 9)), 4, 5, 3, 1, 0, NUMPY)


# Layers


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_inputs_are_left_alone(k: int, transposed: bool) -> None:
    random = np.random.default_rng(0)
    convolution = ExactConvolution(random_layer(random, 2, 2, k, 9, padding=k // 2, transposed=transposed), NUMPY)
    x, gradient = (random.integers(-9, 10, (1, 4, 4, 2)).astype(float) for _ in range(2))
    before = x.copy(), gradient.copy()
    y = convolution.forward(x)
    y_before = y.copy()
    convolution.backward(gradient, y)
    assert np.array_equal(x, before[0])
    assert np.array_equal(gradient, before[1])
    assert np.array_equal(y, y_before)


def test_clamps_and_relu() -> None:
    x = np.array([-(1 << 24), -1.0, 0, 1, 1 << 24]).reshape(1, 5, 1, 1)
    one = [[[[3]]]]
    assert ExactConvolution(layer(one), NUMPY).forward(x).ravel().tolist() == [-(1 << 24), -3, 0, 3, 1 << 24]
    assert ExactConvolution(layer(one, relu=True, limit=100), NUMPY).forward(x).ravel().tolist() == [0, 0, 0, 3, 100]


def test_nothing_flows_back_through_a_lower_clamp() -> None:
    gradient = np.full((1, 4, 1, 1), 7.0)
    y = np.array([-100.0, 0, 1, 100]).reshape(1, 4, 1, 1)
    for relu, expected in ((False, [0, 7, 7, 7]), (True, [0, 0, 7, 7])):
        convolution = ExactConvolution(layer([[[[1]]]], relu=relu, limit=100), NUMPY)
        assert convolution.backward(gradient, y).ravel().tolist() == expected


def test_gradients_beyond_the_limit_are_clamped_before_the_product() -> None:
    weights = layer([[[[1 << 21]]], [[[-(1 << 21)]]], [[[1]]]], weight_bits=20)
    weights.prove(1)
    gradient = np.array([1 << 36, 1 << 30, 5 << 20], np.float64).reshape(1, 1, 1, 3)
    assert ExactConvolution(weights, NUMPY).backward(gradient, np.ones((1, 1, 1, 3))).tolist() == [[[[5]]]]


# What the proof refuses

SOUND = layer(
    [[[[3, -4], [5, 6]]], [[[1, 0], [0, 1]]]], [1, -2], weight_bits=3, in_bits=2, out_bits=[5, 0], stride=2, padding=1
)


def test_sound_layer_is_proved() -> None:
    SOUND.prove(ACTIVATION_LIMIT)
    replace(SOUND, weight=np.ones((2, 1, 16, 16), np.int64), stride=4, padding=15).prove(1)


@one_test_of(
    "change",
    [
        {"weight": np.zeros((2, 2), np.int64)},
        {"weight": np.zeros((3, 1, 2, 2), np.int64)},
        {"weight": np.zeros((0, 1, 2, 2), np.int64)},
        {"weight": np.zeros((2, 0, 2, 2), np.int64)},
        {"weight": np.zeros((2, 1, 0, 0), np.int64)},
        {"weight": np.zeros((2, 1, 2, 3), np.int64)},
        {"weight": np.zeros((2, 1, 17, 17), np.int64)},
        {"weight": np.full((2, 1, 2, 2), 1 << 31)},
        {"weight": np.full((2, 1, 2, 2), -(1 << 31))},
        {"weight": np.full((2, 1, 2, 2), -(1 << 63))},
        {"bias": np.zeros(3, np.int64)},
        {"bias": np.zeros((2, 1), np.int64)},
        {"bias": np.array([EXACT_LIMIT, 0])},
        {"bias": np.array([0, -EXACT_LIMIT])},
        {"bias": np.array([0, -(1 << 63)])},
        {"out_bits": np.array([5], np.int64)},
        {"out_bits": np.array([6, 0])},
        {"out_bits": np.array([5, -48])},
        {"weight_bits": -1},
        {"weight_bits": 41},
        {"in_bits": -1},
        {"in_bits": 25, "weight_bits": 3},
        {"stride": 0},
        {"stride": 5},
        {"padding": -1},
        {"padding": 2},
        {"limit": 0},
        {"limit": ACTIVATION_LIMIT + 1},
    ],
)
def test_broken_layers_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"^a convolution's"):
        replace(SOUND, **change).prove(1)


@pytest.mark.parametrize("transposed", [False, True])
def test_forward_bound_is_sharp(transposed: bool) -> None:
    weight = np.full((1, 256, 2, 2), 1 << 20)
    weight[0, ::2] *= -1
    weight[0, 3, 1, 0] -= 1  # |w| sums to 2^30 - 1
    limit = 1 << 23
    bias = EXACT_LIMIT - ((1 << 30) - 1) * limit
    layer(weight, [bias - 1], transposed=transposed).prove(limit)
    layer(weight, [1 - bias], transposed=transposed).prove(limit)
    for broken in (bias, -bias):
        with pytest.raises(ModelError, match="sums"):
            layer(weight, [broken], transposed=transposed).prove(limit)
    with pytest.raises(ModelError, match="sums"):
        layer(weight, [bias - 1], transposed=transposed).prove(limit + 1)


def test_backward_bound_is_sharp() -> None:
    weight = np.full((2, 1, 2, 2), -(1 << 20))
    weight[1, 0, 0, 1] += 1  # |w| sums to 2^23 - 1
    layer(weight).prove(1)
    weight[1, 0, 0, 1] -= 1
    with pytest.raises(ModelError, match="sums"):
        layer(weight).prove(1)


# Residual networks

Layers = tuple[ConvolutionWeights, ...]
HALVING: dict[str, Any] = {"stride": 2, "padding": 1}


def integer_layers(
    random: np.random.Generator, decoder: bool = False, blocks: int = 2, width: int = 4
) -> tuple[Layers, int]:
    """An encoder's or a decoder's layers of small integers on the grid 2^0, and the first block's index."""
    pairs = []
    for _ in range(blocks):
        pairs.append(random_layer(random, width, width, 3, 1, relu=True, padding=1))
        pairs.append(random_layer(random, width, width, 1, 1))
    if decoder:
        before = [random_layer(random, 2, width, 1, 3)]
        behind = [
            random_layer(random, width, width, 4, 1, relu=True, transposed=True, **HALVING),
            random_layer(random, width, 9, 4, 1, transposed=True, **HALVING),
        ]
    else:
        before = [
            random_layer(random, 3, width, 4, 2, relu=True, **HALVING),
            random_layer(random, width, width, 4, 1, **HALVING),
        ]
        behind = [random_layer(random, width, 4, 1, 3)]
    return (*before, *pairs, *behind), len(before)


def torch_network(layers: Layers, blocks: int, first_block: int, x: torch.Tensor) -> torch.Tensor:
    for weights in layers[:first_block]:
        x = torch_convolution(weights, x)
    behind = first_block + 2 * blocks
    for index in range(first_block, behind, 2):
        hidden = torch_convolution(layers[index], torch.relu(x))
        x = x + torch_convolution(layers[index + 1], hidden)
    x = torch.relu(x) if blocks else x
    for weights in layers[behind:]:
        x = torch_convolution(weights, x)
    return x


@needs_torch
@pytest.mark.parametrize("decoder", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_residual_network_agrees_with_torch(decoder: bool, blocks: int) -> None:
    random = np.random.default_rng(blocks)
    layers, first_block = integer_layers(random, decoder, blocks)
    inputs, side = (2, 3) if decoder else (3, 12)
    prove_residual_network(layers, blocks, first_block, inputs, 50)
    network = ResidualNetwork(layers, blocks, first_block, NUMPY)
    x = random.integers(-9, 10, (5, side, side, inputs)).astype(float)
    x_before = x.copy()
    y, tape = network.forward_with_tape(x)
    assert np.array_equal(network.forward(x), y)
    real = channels_first(x).requires_grad_()
    expected = torch_network(layers, blocks, first_block, real)
    assert np.array_equal(y, channels_last(expected))
    assert 100 < np.abs(y).max() < ACTIVATION_LIMIT

    gradient = random.integers(-3, 4, y.shape).astype(float)
    expected.backward(channels_first(gradient))  # type: ignore[no-untyped-call]
    for _ in range(2):  # it leaves the tape as it was
        back = network.backward(gradient, tape)
        assert real.grad is not None
        assert np.array_equal(back, channels_last(real.grad))
    assert 100 < np.abs(back).max() < GRADIENT_LIMIT
    assert np.array_equal(x, x_before)


def test_residual_network_ends_in_its_blocks() -> None:
    """No layer behind the last ReLU, and gradients beyond the limit."""
    layers = (layer([[[[1]]]]), layer(np.zeros((1, 1, 3, 3)), relu=True, padding=1), layer([[[[1]]]]))
    prove_residual_network(layers, 1, 1, 1, 100)
    network = ResidualNetwork(layers, 1, 1, NUMPY)
    x = np.array([-3.0, 0, 3]).reshape(1, 3, 1, 1)
    y, tape = network.forward_with_tape(x)
    assert y.ravel().tolist() == [0, 0, 3]
    gradient = np.full((1, 3, 1, 1), -(2.0**40))
    assert network.backward(gradient, tape).ravel().tolist() == [0, 0, -GRADIENT_LIMIT]


def block(wide: int, narrow: int, limit: int, bias: int = 0) -> Layers:
    """One block on one channel, 1 x 1 kernels."""
    return (
        layer([[[[1]]]]),
        layer([[[[wide]]]], relu=True),
        layer([[[[narrow]]]], [bias], limit=limit),
        layer([[[[1]]]]),
    )


def test_sums_of_a_block_are_clamped() -> None:
    x = np.array([-60.0, -5, 0, 10, 20, 60]).reshape(1, 6, 1, 1)

    def outputs(layers: Layers) -> Any:
        prove_residual_network(layers, 1, 1, 1, 100)
        network = ResidualNetwork(layers, 1, 1, NUMPY)
        y, tape = network.forward_with_tape(x)
        return y.ravel().tolist(), network.backward(np.full(x.shape, 7.0), tape).ravel().tolist()

    assert outputs(block(1, 2, 50)) == ([0, 0, 0, 30, 50, 50], [0, 0, 0, 21, 21, 21])
    # the branch stands at -50, and then the sum does as well
    assert outputs(block(1, -9, 50)) == ([0, 0, 0, 0, 0, 10], [0, 0, 0, 0, 0, 7])
    # nothing flows through the branch where the sum is on but its input is not
    assert outputs(block(1, 1, 50, bias=20)) == ([0, 15, 20, 40, 50, 50], [0, 7, 7, 14, 14, 14])


def test_gradient_is_clamped_where_it_joins() -> None:
    layers = block(1, 1, 50)
    network = ResidualNetwork(layers, 1, 1, NUMPY)
    _, tape = network.forward_with_tape(np.ones((1, 1, 1, 1)))
    for gradient, expected in ((GRADIENT_LIMIT // 2, GRADIENT_LIMIT), (GRADIENT_LIMIT, GRADIENT_LIMIT)):
        for sign in (-1, 1):
            assert network.backward(np.full((1, 1, 1, 1), float(sign * gradient)), tape).item() == sign * expected


def test_gradient_is_clamped_where_it_forks() -> None:
    layers = block(1, -1, 50, bias=20)[:3]
    network = ResidualNetwork(layers, 1, 1, NUMPY)
    y, tape = network.forward_with_tape(np.ones((1, 1, 1, 1)))
    assert y.item() == 20
    # both ways take what is left of it, and cancel
    assert network.backward(np.full((1, 1, 1, 1), 2.0**40), tape).item() == 0


def test_nothing_flows_back_through_the_lower_clamp_of_a_sum() -> None:
    _, wide, narrow, last = block(1, 1, 50, bias=-30)
    layers = (layer([[[[1]]]]), wide, narrow, wide, replace(narrow, bias=np.array([80]), limit=100), last)
    network = ResidualNetwork(layers, 2, 1, NUMPY)
    x = np.array([-40.0, -20, -19]).reshape(1, 3, 1, 1)
    y, tape = network.forward_with_tape(x)
    assert y.ravel().tolist() == [30, 30, 31]  # from -50, -50 and -49 between the blocks
    assert network.backward(np.full(x.shape, 7.0), tape).ravel().tolist() == [0, 0, 7]


def fixed_point_layers(random: np.random.Generator, decoder: bool, blocks: int) -> tuple[Layers, int]:
    """Weights in units of 2^-14 that keep the size of activations, hidden activations in units of 2^-12."""
    layers = []
    integers, first_block = integer_layers(random, decoder, blocks, width=6)
    for index, weights in enumerate(integers):
        outputs, inputs, k, _ = weights.weight.shape
        taps = k // 2 if weights.transposed else k
        largest = round((1.5 if index < first_block else 1.0) / (inputs * taps * taps) ** 0.5 * (1 << 14))
        in_bits = (16 if decoder else 0) if index == 0 else ACTIVATION_BITS
        layers.append(
            replace(
                weights,
                weight=random.integers(-largest, largest + 1, weights.weight.shape),
                bias=random.integers(-1 << 11, 1 << 11, (outputs,)) * (1 << in_bits),
                weight_bits=14,
                in_bits=in_bits,
                out_bits=np.full(outputs, 10 if index == len(integers) - 1 else ACTIVATION_BITS),
            )
        )
    return tuple(layers), first_block


def fixed_point_case(decoder: bool, batch: int) -> tuple[Layers, int, Any]:
    random = np.random.default_rng(int(decoder))
    layers, first_block = fixed_point_layers(random, decoder, 2)
    limit, shape = (3 << 16, (batch, 2, 2, 2)) if decoder else (255, (batch, 8, 8, 3))
    prove_residual_network(layers, 2, first_block, shape[3], limit)
    low = -limit if decoder else 0
    return layers, first_block, random.integers(low, limit + 1, shape).astype(float)


@needs_torch
@pytest.mark.parametrize("decoder", [False, True], ids=["encoder", "decoder"])
def test_residual_network_is_close_to_real_numbers(decoder: bool) -> None:
    layers, first_block, x = fixed_point_case(decoder, 20)
    network = ResidualNetwork(layers, 2, first_block, NUMPY)
    y, tape = network.forward_with_tape(x)
    gradient = np.random.default_rng(2).integers(-(1 << 20), 1 << 20, y.shape).astype(float)
    back = network.backward(gradient, tape)
    real = (channels_first(x) * 2.0 ** -layers[0].in_bits).requires_grad_()
    expected = torch_network(layers, 2, first_block, real)
    expected.backward(channels_first(gradient * 2.0**-GRADIENT_BITS))  # type: ignore[no-untyped-call]
    assert real.grad is not None
    np.testing.assert_allclose(y * 2.0**-10, channels_last(expected), atol=3 * 2.0**-10)
    assert np.abs(y).max() > 1 << 10
    # a unit within rounding of zero may be on in one and off in the other: few are
    differences = np.abs(back * 2.0**-GRADIENT_BITS - channels_last(real.grad))
    assert np.quantile(differences, 0.9) < 2.0**-14
    assert np.quantile(np.abs(channels_last(real.grad)), 0.5) > 0.01


@torch_backends
@pytest.mark.parametrize("decoder", [False, True], ids=["encoder", "decoder"])
def test_backends_and_batches_agree(backend: Backend, decoder: bool) -> None:
    layers, first_block, x = fixed_point_case(decoder, 40)
    random = np.random.default_rng(3)
    reference = ResidualNetwork(layers, 2, first_block, NUMPY)
    y, tape = reference.forward_with_tape(x)
    gradient = random.integers(-(1 << 31), 1 << 31, y.shape).astype(float)
    back = reference.backward(gradient, tape)
    for each in (NUMPY, backend):
        network = ResidualNetwork(layers, 2, first_block, each)
        for size in (1, 37, 40):
            for start in range(0, 40, size):
                rows = slice(start, start + size)
                part, part_tape = network.forward_with_tape(each.asarray(x[rows]))
                assert np.array_equal(each.numpy(part), y[rows])
                part_back = network.backward(each.asarray(gradient[rows]), part_tape)
                assert np.array_equal(each.numpy(part_back), back[rows])


def test_empty_batches() -> None:
    layers, first_block, x = fixed_point_case(True, 0)
    network = ResidualNetwork(layers, 2, first_block, NUMPY)
    y, tape = network.forward_with_tape(x)
    assert y.shape == (0, 8, 8, 9)
    assert network.backward(y, tape).shape == x.shape


# What the proof of a residual network refuses

ENCODER, FIRST_BLOCK = integer_layers(np.random.default_rng(0))


def changed(index: int, **fields: Any) -> Layers:
    return (*ENCODER[:index], replace(ENCODER[index], **fields), *ENCODER[index + 1 :])


def test_sound_residual_networks_are_proved() -> None:
    prove_residual_network(ENCODER, 2, FIRST_BLOCK, 3, 255)
    prove_residual_network(ENCODER, 1, FIRST_BLOCK, 3, 255)  # the second pair is a plain one
    prove_residual_network(ENCODER, 0, 0, 3, 255)
    prove_residual_network(ENCODER[:-1], 2, FIRST_BLOCK, 3, 255)


GEOMETRY_OF_WIDE = "first layer does not keep"
GEOMETRY_OF_NARROW = "second layer is not"
STREAM = "do not share one width and grid"


@one_test_of(
    ("layers", "blocks", "first_block", "match"),
    [
        ((), 0, 0, "no layers"),
        (ENCODER, 3, FIRST_BLOCK, "not among"),
        (ENCODER, -1, FIRST_BLOCK, "not among"),
        (ENCODER, 2, 0, "not among"),
        (ENCODER, 2, -2, "not among"),
        (ENCODER, 1, FIRST_BLOCK + 1, GEOMETRY_OF_WIDE),
        (changed(2, relu=False), 2, FIRST_BLOCK, GEOMETRY_OF_WIDE),
        (changed(4, padding=0), 2, FIRST_BLOCK, GEOMETRY_OF_WIDE),
        (changed(4, padding=2), 2, FIRST_BLOCK, GEOMETRY_OF_WIDE),
        (changed(4, stride=2), 2, FIRST_BLOCK, GEOMETRY_OF_WIDE),
        (changed(4, transposed=True), 2, FIRST_BLOCK, GEOMETRY_OF_WIDE),
        (changed(3, stride=2), 2, FIRST_BLOCK, GEOMETRY_OF_NARROW),
        (changed(5, transposed=True), 2, FIRST_BLOCK, GEOMETRY_OF_NARROW),
        (changed(5, weight=np.ones((4, 4, 3, 3), np.int64), padding=1), 2, FIRST_BLOCK, GEOMETRY_OF_NARROW),
        (changed(1, relu=True), 2, FIRST_BLOCK, STREAM),
        (changed(3, relu=True), 2, FIRST_BLOCK, STREAM),
        (changed(5, relu=True), 2, FIRST_BLOCK, STREAM),
        (changed(0, in_bits=1, out_bits=np.ones(4, np.int64)), 2, FIRST_BLOCK, "grids do not fit"),
        (changed(5, in_bits=1, weight_bits=1), 2, FIRST_BLOCK, "grids do not fit"),
        (changed(5, weight_bits=1, out_bits=np.array([0, 0, 0, 1])), 2, FIRST_BLOCK, "grids do not fit"),
        (changed(5, weight_bits=1, out_bits=np.array([0, 0, 0, 1]))[:-1], 2, FIRST_BLOCK, STREAM),
        (changed(5, weight_bits=1, out_bits=np.ones(4, np.int64))[:-1], 2, FIRST_BLOCK, STREAM),
        (changed(2, weight=np.ones((4, 3, 3, 3), np.int64)), 2, FIRST_BLOCK, "layers do not fit"),
        (ENCODER[1:], 2, FIRST_BLOCK - 1, "layers do not fit"),
        (changed(4, limit=0), 2, FIRST_BLOCK, "clamp"),
        (changed(4, weight=np.full((4, 4, 3, 3), 1 << 20)), 2, FIRST_BLOCK, "sums"),
    ],
)
def test_broken_residual_networks_are_refused(layers: Layers, blocks: int, first_block: int, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        prove_residual_network(layers, blocks, first_block, 3, 255)


def test_streams_of_another_width_are_refused() -> None:
    narrow = random_layer(np.random.default_rng(0), 4, 5, 1, 3)
    with pytest.raises(ModelError, match=STREAM):
        prove_residual_network((*ENCODER[:5], narrow), 2, FIRST_BLOCK, 3, 255)


def test_later_layers_take_clamped_activations() -> None:
    first = layer([[[[1]]]] * 512)
    second = layer(np.full((1, 512, 1, 1), 1 << 21))
    second.prove(1)
    with pytest.raises(ModelError, match="sums"):
        prove_residual_network([first, second], 0, 0, 1, 1)
    prove_residual_network([replace(first, limit=1 << 22), second], 0, 0, 1, 1)
