"""Exact layers against plain integers, and what the proof refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from hypothesis import given
from hypothesis import strategies as st
from models_for_tests import random_layers
from torch_for_tests import needs_torch, torch

from bbcompress.errors import ModelError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.layers import (
    ACTIVATION_BITS,
    ACTIVATION_LIMIT,
    EXACT_LIMIT,
    GRADIENT_BITS,
    GRADIENT_LIMIT,
    ExactLinear,
    LinearWeights,
    Network,
    prove_network,
)

BACKEND = NumpyBackend()
Rows = list[list[int]]


def layer(
    weight: Any, bias: Any = None, weight_bits: int = 0, in_bits: int = 0, out_bits: Any = 0, relu: bool = False
) -> LinearWeights:
    weight = np.array(weight, np.int64)
    bias = np.zeros(len(weight), np.int64) if bias is None else np.array(bias, np.int64)
    out_bits = np.broadcast_to(np.array(out_bits, np.int64), (len(weight),)).copy()
    return LinearWeights(weight, bias, weight_bits, in_bits, out_bits, relu)


def rounded(total: int, shift: int, low: int, high: int) -> int:
    """floor(total / 2^shift + 1/2) and the clamp, in integers."""
    return min(max((2 * total + (1 << shift)) >> (shift + 1), low), high)


def plain_forward(weights: LinearWeights, x: Rows) -> Rows:
    low = 0 if weights.relu else -ACTIVATION_LIMIT
    rows = []
    for row in x:
        ys = []
        for w, b, bits in zip(weights.weight.tolist(), weights.bias.tolist(), weights.out_bits.tolist(), strict=True):
            total = sum(p * q for p, q in zip(w, row, strict=True)) + b
            ys.append(rounded(total, weights.in_bits + weights.weight_bits - bits, low, ACTIVATION_LIMIT))
        rows.append(ys)
    return rows


def plain_backward(weights: LinearWeights, gradient: Rows, y: Rows) -> Rows:
    low = 0 if weights.relu else -ACTIVATION_LIMIT
    rows = []
    for gs, ys in zip(gradient, y, strict=True):
        clamped = [min(max(g, -GRADIENT_LIMIT), GRADIENT_LIMIT) for g in gs]
        kept = [g if v > low else 0 for g, v in zip(clamped, ys, strict=True)]
        totals = [sum(w * g for w, g in zip(ws, kept, strict=True)) for ws in weights.weight.T.tolist()]
        rows.append([rounded(total, weights.weight_bits, -GRADIENT_LIMIT, GRADIENT_LIMIT) for total in totals])
    return rows


def run_forward(weights: LinearWeights, x: Any) -> Any:
    return ExactLinear(weights, BACKEND).forward(np.array(x, np.float64))


def run_backward(weights: LinearWeights, gradient: Any, y: Any) -> Any:
    return ExactLinear(weights, BACKEND).backward(np.array(gradient, np.float64), np.array(y, np.float64))


@st.composite
def layers_with_inputs(draw: st.DrawFn) -> tuple[LinearWeights, Rows, Rows]:
    """A layer that is proved, inputs, and gradients by its outputs; from small to the very bounds."""
    outputs, inputs, batch = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    weight_bits, in_bits = draw(st.integers(0, 20)), draw(st.integers(0, 16))
    largest = 1 << draw(st.integers(0, 20))

    def rows(n: int, width: int, limit: int) -> Any:
        values = st.one_of(st.integers(-limit, limit), st.sampled_from([-limit, 0, limit]))
        return draw(st.lists(st.lists(values, min_size=width, max_size=width), min_size=n, max_size=n))

    weights = layer(
        rows(outputs, inputs, largest),
        rows(1, outputs, 1 << draw(st.integers(0, 48)))[0],
        weight_bits,
        in_bits,
        [draw(st.integers(0, weight_bits + in_bits)) for _ in range(outputs)],
        draw(st.booleans()),
    )
    weights.prove(ACTIVATION_LIMIT)
    x = rows(batch, inputs, 1 << draw(st.integers(0, 24)))
    gradient = rows(batch, outputs, 1 << draw(st.integers(0, 31)))
    return weights, x, gradient


@given(layers_with_inputs())
def test_agrees_with_plain_integers(case: tuple[LinearWeights, Rows, Rows]) -> None:
    weights, x, gradient = case
    y = run_forward(weights, x)
    assert y.dtype == np.float64
    assert y.astype(object).tolist() == plain_forward(weights, x)
    assert run_backward(weights, gradient, y).astype(object).tolist() == plain_backward(
        weights, gradient, y.astype(int).tolist()
    )


def test_halves_round_up() -> None:
    weights = layer([[1]], weight_bits=1)
    x = [[-5], [-3], [-2], [-1], [0], [1], [2], [3], [5]]  # in halves
    assert run_forward(weights, x)[:, 0].tolist() == [-2, -1, -1, 0, 0, 1, 1, 2, 3]
    y = np.ones((9, 1))
    assert run_backward(weights, x, y)[:, 0].tolist() == [-2, -1, -1, 0, 0, 1, 1, 2, 3]


def test_clamps_and_relu() -> None:
    x = [[-(1 << 24)], [-1], [0], [1], [1 << 24]]
    assert run_forward(layer([[3]]), x)[:, 0].tolist() == [-(1 << 24), -3, 0, 3, 1 << 24]
    assert run_forward(layer([[3]], relu=True), x)[:, 0].tolist() == [0, 0, 0, 3, 1 << 24]


def test_nothing_flows_back_through_a_lower_clamp() -> None:
    gradient = [[7]] * 4
    y = [[-(1 << 24)], [0], [1], [1 << 24]]
    assert run_backward(layer([[1]]), gradient, y)[:, 0].tolist() == [0, 7, 7, 7]
    assert run_backward(layer([[1]], relu=True), gradient, y)[:, 0].tolist() == [0, 0, 7, 7]


def test_gradients_beyond_the_limit_are_clamped_before_the_product() -> None:
    # the proof takes |gradient| <= 2^30; a likelihood's own gradient may be larger
    weights = layer([[1 << 21], [-(1 << 21)], [1]], weight_bits=20)
    weights.prove(1)
    gradient = [[1 << 36, 1 << 30, 5 << 20]]
    assert run_backward(weights, gradient, np.ones((1, 3))).tolist() == [[5]]


@pytest.mark.parametrize("relu", [False, True])
def test_rows_do_not_depend_on_their_batch(relu: bool) -> None:
    random = np.random.default_rng(0)
    weights = layer(
        random.integers(-(1 << 14), 1 << 14, (113, 257)),
        random.integers(-(1 << 30), 1 << 30, 113),
        weight_bits=20,
        in_bits=12,
        out_bits=14,
        relu=relu,
    )
    weights.prove(ACTIVATION_LIMIT)
    linear = ExactLinear(weights, BACKEND)
    x = random.integers(-(1 << 24), 1 << 24, (40, 257)).astype(float)
    gradient = random.integers(-(1 << 30), 1 << 30, (40, 113)).astype(float)
    y = linear.forward(x)
    back = linear.backward(gradient, y)
    assert y.astype(object).tolist() == plain_forward(weights, x.astype(int).tolist())
    for size in (1, 3, 37):
        for start in range(0, 40, size):
            rows = slice(start, start + size)
            assert np.array_equal(linear.forward(x[rows]), y[rows])
            assert np.array_equal(linear.backward(gradient[rows], y[rows]), back[rows])


def test_inputs_are_left_alone() -> None:
    linear = ExactLinear(layer([[3]]), BACKEND)
    x, gradient, y = np.array([[5.0]]), np.array([[2.0]]), np.array([[15.0]])
    linear.forward(x)
    linear.backward(gradient, y)
    assert (x, gradient, y) == (np.array([[5.0]]), np.array([[2.0]]), np.array([[15.0]]))


# What the proof refuses

SOUND = layer([[3, -4], [5, 6]], [1, -2], weight_bits=3, in_bits=2, out_bits=[5, 0])


def test_sound_layer_is_proved() -> None:
    SOUND.prove(ACTIVATION_LIMIT)


@one_test_of(
    "change",
    [
        {"weight": np.zeros((2, 2, 1), np.int64)},
        {"weight": np.zeros((3, 2), np.int64)},
        {"weight": np.zeros((0, 2), np.int64)},
        {"weight": np.zeros((2, 0), np.int64)},
        {"weight": np.array([[1 << 31, 0], [0, 0]])},
        {"weight": np.array([[-(1 << 31), 0], [0, 0]])},
        {"weight": np.array([[-(1 << 63), 0], [0, 0]])},
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
    ],
)
def test_broken_layers_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"^a linear layer's"):
        replace(SOUND, **change).prove(ACTIVATION_LIMIT)


def test_forward_bound_is_sharp() -> None:
    weight = [[1 << 21, -(1 << 21)] * 255 + [1 << 21, 1 - (1 << 21)]]  # |w| sums to 2^30 - 1
    limit = 1 << 23
    bias = EXACT_LIMIT - ((1 << 30) - 1) * limit
    assert bias > 0
    layer(weight, [bias - 1]).prove(limit)
    layer(weight, [1 - bias]).prove(limit)
    for broken in (bias, -bias):
        with pytest.raises(ModelError, match="sums"):
            layer(weight, [broken]).prove(limit)
    with pytest.raises(ModelError, match="sums"):
        layer(weight, [bias - 1]).prove(limit + 1)


def test_backward_bound_is_sharp() -> None:
    column = [[1 << 22], [-(1 << 22) + 1]]  # |w| sums to 2^23 - 1
    layer(column).prove(1)
    with pytest.raises(ModelError, match="sums"):
        layer([*column, [1]]).prove(1)


def test_networks_have_to_fit_together() -> None:
    first = layer([[1, 2], [3, 4], [5, 6]], weight_bits=2, in_bits=1, out_bits=2, relu=True)
    second = layer([[1, 2, 3]], weight_bits=2, in_bits=2, out_bits=1)
    prove_network([first, second], 2, 1)
    with pytest.raises(ModelError, match="no layers"):
        prove_network([], 2, 1)
    with pytest.raises(ModelError, match="do not fit together"):
        prove_network([first, second], 3, 1)
    with pytest.raises(ModelError, match="do not fit together"):
        prove_network([first, replace(second, weight=np.array([[1, 2]]))], 2, 1)
    with pytest.raises(ModelError, match="grids do not fit"):
        prove_network([first, replace(second, in_bits=3)], 2, 1)
    with pytest.raises(ModelError, match="grids do not fit"):
        prove_network([replace(first, out_bits=np.array([2, 2, 1])), second], 2, 1)


def test_later_layers_take_clamped_activations() -> None:
    first = layer([[1]] * 512)
    second = layer([[1 << 21] * 512])
    second.prove(1)
    with pytest.raises(ModelError, match="sums"):
        prove_network([first, second], 1, 1)


# Gradients


@needs_torch
def test_backward_is_the_gradient() -> None:
    random = np.random.default_rng(3)
    out_bits = np.full(5, 10)
    layers = random_layers(random, 6, [9], 16, out_bits, 2.0)
    network = Network(layers, BACKEND)
    x = random.integers(-(2 << 16), 2 << 16, (20, 6)).astype(float)
    gradient = random.integers(-(1 << 20), 1 << 20, (20, 5)).astype(float)
    y, tape = network.forward_with_tape(x)
    assert np.array_equal(y, network.forward(x))

    inputs = torch.from_numpy(x * 2.0**-16).requires_grad_()
    h = inputs
    for weights in layers:
        scale = 2.0**-weights.weight_bits
        h = (
            h @ (torch.from_numpy(weights.weight).double() * scale).T
            + torch.from_numpy(weights.bias).double() * scale * 2.0**-weights.in_bits
        )
        h = torch.relu(h) if weights.relu else h
    np.testing.assert_allclose(y * 2.0**-10, h.detach().numpy(), atol=2**-10)
    (h * torch.from_numpy(gradient * 2.0**-GRADIENT_BITS)).sum().backward()  # type: ignore[no-untyped-call]
    assert inputs.grad is not None
    back = network.backward(gradient, tape) * 2.0**-GRADIENT_BITS
    # a hidden unit within half a unit of zero may be on in one and off in the other: none here
    np.testing.assert_allclose(back, inputs.grad.numpy(), atol=20 * 2.0**-GRADIENT_BITS)
    assert np.abs(back).max() > 0.5
    assert ACTIVATION_BITS == 12  # the grids that the tolerances are for
