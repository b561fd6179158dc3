"""Layers that learn: that nothing leaves the exact range, Adam operation by operation, and its machine code."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from hypothesis import given
from hypothesis import strategies as st
from models_for_tests import random_linear, tiny_local

import bbcompress
from bbcompress.codecs.fallback import deep_kernels
from bbcompress.coder.kernel_cache import Kernel
from bbcompress.errors import ModelError
from bbcompress.exact import learning_kernels, mixture_kernels
from bbcompress.exact.layers import EXACT_LIMIT, GRADIENT_LIMIT, SINGLE_LIMIT, LinearWeights
from bbcompress.exact.learning import BIAS_CLAMP, INPUT_LIMIT, MAX_UNIT, LearningLayer, Parameters
from bbcompress.exact.learning_kernels import LEAST_MOMENT
from bbcompress.exact.tables import table
from bbcompress.models import learning_kernels as network_kernels
from bbcompress.models import unit_kernels
from bbcompress.models.learning_network import learning_layers
from bbcompress.models.network_kernels import relu_requantise

RATE = 500


def layer(outputs: int = 5, inputs: int = 9, limit: int = 255, seed: int = 0) -> LearningLayer:
    """A random layer with inputs up to limit."""
    weights = random_linear(np.random.default_rng(seed), inputs, 6, np.full(outputs, 6), True, 0.5, 9)
    return LearningLayer(replace(weights, limit=1023), np.full(inputs, limit, np.int64))


def gradients(parameters: Parameters, random: np.random.Generator, largest: int) -> None:
    """Integer gradients of up to `largest` in magnitude, a fifth of them 0."""
    for gradient in parameters.gradients[0]:
        gradient[:] = random.integers(-largest, largest, gradient.shape, endpoint=True)
        gradient[random.random(gradient.shape) < 0.2] = 0


# The proof


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, INPUT_LIMIT))
def test_no_sum_can_leave_the_exact_range(outputs: int, inputs: int, limit: int) -> None:
    weights = LinearWeights(
        np.zeros((outputs, inputs), np.int64), np.zeros(outputs, np.int64), 9, 6, np.full(outputs, 6), True, 1023
    )
    clamp = LearningLayer(weights, np.full(inputs, limit, np.int64)).weight_clamp
    # Python's integers, at the worst weights, inputs and gradients there may be
    assert inputs * limit * clamp + BIAS_CLAMP <= EXACT_LIMIT // 2
    assert outputs * GRADIENT_LIMIT * clamp <= EXACT_LIMIT // 2
    assert MAX_UNIT * GRADIENT_LIMIT * limit <= EXACT_LIMIT // 2
    # and it is the largest such number
    more = clamp + 1
    assert max(inputs * limit * more + BIAS_CLAMP, outputs * GRADIENT_LIMIT * more) > EXACT_LIMIT // 2


@pytest.mark.parametrize("rate", [1, RATE, 1_000_000])
def test_weights_stay_within_their_clamps_whatever_the_gradients(rate: int) -> None:
    one = layer(outputs=400)
    parameters, random = Parameters([one], rate), np.random.default_rng(1)
    largest = MAX_UNIT * GRADIENT_LIMIT * INPUT_LIMIT
    direction = random.choice([-largest, largest], parameters.gradients[0][0].shape)
    before = parameters._master.copy()
    for step in range(60):
        parameters.gradients[0][0][:] = direction if step % 20 else -direction
        parameters.step(1 if step % 2 else MAX_UNIT)
        assert (np.abs(parameters.exact[0]) <= one.clamps).all()
        assert (parameters.exact[0] == np.floor(parameters.exact[0])).all()
        assert np.isfinite(parameters._master).all()
        moved = np.abs(parameters._master - before).max()
        assert moved <= 73 * rate * 1e-6
        before = parameters._master.copy()
    assert (np.abs(parameters.exact[0]) == one.clamps).any() == (rate == 1_000_000)


def test_a_unit_may_not_have_more_pixels_than_the_proof_says() -> None:
    with pytest.raises(ValueError, match="too many"):
        Parameters([layer()], RATE).step(MAX_UNIT + 1)


def test_models_beyond_the_clamps_do_not_learn() -> None:
    good = layer()
    with pytest.raises(ModelError, match="activations"):
        LearningLayer(good.weights, np.full(9, INPUT_LIMIT + 1, np.int64))
    weight = good.weights.weight.copy()
    weight[2, 3] = -good.weight_clamp - 1
    with pytest.raises(ModelError, match="weights"):
        LearningLayer(replace(good.weights, weight=weight), good.limits)
    weight[2, 3] = -good.weight_clamp
    LearningLayer(replace(good.weights, weight=weight), good.limits)


def test_single_precision_exactly_where_the_bound_allows_it() -> None:
    parameters = Parameters([layer(limit=1000, seed=3)], 1_000_000)
    random, seen = np.random.default_rng(2), set()
    for _ in range(40):
        gradients(parameters, random, 1 << 30)
        parameters.step(100)
        largest = int((np.abs(parameters.exact[0]) * np.append(np.full(9, 1000), 1)).sum(axis=1).max())
        assert parameters.is_single[0] == (largest < SINGLE_LIMIT)
        assert np.array_equal(parameters.single[0], parameters.exact[0].astype(np.float32))
        seen.add(bool(parameters.is_single[0]))
    assert seen == {True, False}


# Adam


def reference_step(state: dict[str, Any], gradient: list[int], pixels: int) -> None:
    """docs/format.md, "Learning", in Python's floats, for one matrix given as lists by weight."""
    state["p1"], state["p2"] = state["p1"] * 0.9, state["p2"] * 0.999
    rate, correction = (RATE * 1e-6) / (1.0 - state["p1"]), 1.0 / (1.0 - state["p2"])
    share = 1.0 / pixels
    for k, total in enumerate(gradient):
        g = (total * share) * state["unit"][k]
        m = state["m"][k] * 0.9 + g * (1.0 - 0.9)
        state["m"][k] = m = m if abs(m) >= 2.0**-100 else 0.0
        state["v"][k] = v = state["v"][k] * 0.999 + (g * g) * (1.0 - 0.999)
        state["w"][k] -= (m * rate) / (math.sqrt(v * correction) + 1e-8)


def test_every_operation_is_the_one_of_the_format() -> None:
    one = layer()
    parameters, random = Parameters([one], RATE), np.random.default_rng(4)
    rows, columns = one.shape
    state: dict[str, Any] = {"p1": 1.0, "p2": 1.0, "m": [0.0] * rows * columns, "v": [0.0] * rows * columns}
    state["w"] = (one.matrix / one.scales).reshape(-1).tolist()
    master = parameters._views(parameters._master)[0]
    state["unit"] = np.tile(one.units, rows).tolist()
    for step in range(30):
        gradients(parameters, random, 1 << (10 + step))
        integers = [int(value) for value in parameters.gradients[0][0].reshape(-1)]
        parameters.step(97 + step)
        reference_step(state, integers, 97 + step)
        assert master.reshape(-1).tolist() == state["w"]
        grid = [math.floor(w * s + 0.5) for w, s in zip(state["w"], np.tile(one.scales, rows).tolist(), strict=True)]
        assert parameters.exact[0].reshape(-1).tolist() == grid


def test_a_moment_that_only_fades_becomes_zero() -> None:
    parameters = Parameters([layer()], RATE)
    parameters.gradients[0][0][:] = 1
    parameters.step(4096)
    least = []
    for _ in range(800):
        parameters.gradients[0][0][:] = 0
        parameters.step(4096)
        least.append(float(np.abs(parameters._first).min()))
    assert least[0] >= LEAST_MOMENT
    assert least[-1] == 0.0
    assert not any(0 < moment < LEAST_MOMENT for moment in least)


def test_a_copy_goes_its_own_way() -> None:
    layers = learning_layers(tiny_local().pixel_network)
    parameters, random = Parameters(layers, RATE), np.random.default_rng(5)
    gradients(parameters, random, 1 << 20)
    parameters.step(128)
    copy = parameters.copy()
    kept = [matrix.copy() for matrix in parameters.exact]
    gradients(copy, random, 1 << 20)
    copy.step(128)
    assert all(np.array_equal(a, b) for a, b in zip(parameters.exact, kept, strict=True))
    for matrix, other in zip(parameters.gradients[0], copy.gradients[0], strict=True):
        matrix[:] = 0
        other[:] = 0
    again = parameters.copy()
    parameters.step(128)
    again.step(128)
    assert np.array_equal(parameters._master, again._master)
    assert not np.array_equal(parameters._master, copy._master)


# Machine code

BYTES = np.zeros(1, np.uint8)
FLOATS, INTS = np.zeros(1), np.zeros(1, np.int64)
MATRIX, SINGLES = np.zeros((1, 1)), np.zeros((1, 1), np.float32)
CUBE, LEVELS = np.zeros((1, 1, 1)), np.zeros((1, 1), np.int64)
OF_CHANNELS = (
    *(INTS, LEVELS, INTS, FLOATS, MATRIX, MATRIX, 0, 1, 1.0, 1.0, CUBE, CUBE, MATRIX, FLOATS, LEVELS, LEVELS),
)
KERNELS: dict[str, tuple[Kernel, tuple[Any, ...]]] = {
    "mixture_gradient": (
        mixture_kernels.mixture_gradient,
        (INTS, INTS, np.zeros((1, 5)), table("sigmoid"), table("exp_negative"), np.zeros((1, 5))),
    ),
    "adam_layers": (
        learning_kernels.adam_layers,
        (
            *(FLOATS, FLOATS, FLOATS, MATRIX, FLOATS, np.zeros(1, np.float32), INTS, INTS, FLOATS, *[MATRIX] * 3),
            *(0.1, 0.1, 0.1, LEVELS, MATRIX),
        ),
    ),
    "hidden_layer": (network_kernels.hidden_layer, (MATRIX, MATRIX, MATRIX, 0, 1, 0, 1, 1.0, 1.0, CUBE)),
    "output_layer": (network_kernels.output_layer, (MATRIX, 0, 1, FLOATS, 1.0)),
    "forward_rows": (
        unit_kernels.forward_rows,
        (
            *(np.zeros(1, np.int16), INTS, INTS, 0, 1, INTS, INTS, SINGLES, 0, LEVELS, INTS, LEVELS, INTS),
            *(np.zeros(1, np.bool_), *[FLOATS] * 4, *[np.zeros(1, np.float32)] * 2, FLOATS, MATRIX, SINGLES, MATRIX),
        ),
    ),
    "pop_rows": (
        unit_kernels.pop_rows,
        (
            *(np.zeros(1, np.uint64), np.zeros(1, np.uint32), 0, INTS, 0, *OF_CHANNELS),
            *(1, np.zeros(1, np.int16), INTS, 0, INTS, INTS),
        ),
    ),
    "backward_rows": (
        unit_kernels.backward_rows,
        (
            *(INTS, LEVELS, INTS, FLOATS, 0, 1, CUBE, LEVELS, LEVELS, INTS, INTS, MATRIX, CUBE, MATRIX, CUBE),
            *(np.zeros(1, np.float32), FLOATS, MATRIX, FLOATS, FLOATS, FLOATS),
        ),
    ),
    "backward_layer": (network_kernels.backward_layer, (MATRIX, SINGLES, 0, 1, 1.0)),
    "backward_heads": (network_kernels.backward_heads, (CUBE, CUBE, 0, 1, FLOATS, MATRIX)),
    "relu_double": (network_kernels.relu_double, (MATRIX, 0, 1.0, 1.0, SINGLES)),
    "relu_single": (network_kernels.relu_single, (SINGLES, 0, 1, 1, np.float32(1), np.float32(1))),
    "code": (deep_kernels.code, (np.zeros((1, 1, 1), np.uint16), INTS, INTS, BYTES, 1, LEVELS, FLOATS, FLOATS)),
    "relu_requantise": (relu_requantise, (SINGLES, np.zeros(1, np.float32), np.float32(1), np.float32(1))),
}
WITHOUT_PRODUCTS = {
    *("gather", "gather_inputs", "know_levels", "set_channel"),
    *("mixture_intervals", "pop_mixture", "restricted_intervals", "pop_restricted"),
}
"""Kernels whose floats are only made of integers, compared, and subtracted from one another."""
BY_OTHERS = {"interval_rows"}
"""Kernels whose operations on floats all are those of helpers that others, here `pop_rows`, have as well."""
TARGETS = {
    "haswell": "x86_64-unknown-linux-gnu",
    "neoverse-n1": "aarch64-unknown-linux-gnu",
    "apple-m1": "arm64-apple-darwin",
}
FUSED = re.compile(r"\b(fmadd|fmsub|fnmadd|fnmsub|fmla|fmls|vfn?m(?:add|sub)\w*)\b")


def intermediate_code(kernel: Kernel, arguments: tuple[Any, ...]) -> str:
    """The kernel in the language of LLVM, for a processor that is not named.

    It is compiled here even where it is kept, as what is kept is machine code alone. Other tests load what is compiled.
    """
    numba = importlib.import_module("numba")
    compiled: Any = kernel._for_numba()
    compiled._cache.load_overload = lambda *_: None
    compiled.compile(tuple(numba.typeof(argument) for argument in arguments))
    code = next(iter(compiled.inspect_llvm().values()))
    code = re.sub(r'target datalayout = ".*"\n|"target-(cpu|features)"="[^"]*"', "", code)
    # counting references, in operations of the processor at hand
    return re.sub(r"(%\S+ = )(?:tail )?call i8 @llvm\.x86\.atomic[^\n]*", r"\1add i8 0, 0", code)


def fused_operations(code: str, targets: Iterable[str] = TARGETS) -> dict[str, int]:
    """How many fused multiply-adds the machine code of a kernel has for each target."""
    llvm = importlib.import_module("llvmlite.binding")
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    found = {}
    for processor in targets:
        triple = TARGETS[processor]
        module = llvm.parse_assembly(re.sub(r'target triple = ".*"', f'target triple = "{triple}"', code))
        machine = llvm.Target.from_triple(triple).create_target_machine(cpu=processor, opt=3)
        found[processor] = len(FUSED.findall(machine.emit_assembly(module)))
    return found


@one_test_of("name", list(KERNELS))
def test_no_multiplication_is_fused_with_an_addition(name: str) -> None:
    """The control: each kernel has some that are, once the compiler may: for one target, the smallest for all."""
    numba = importlib.import_module("numba")
    if numba.config.DISABLE_JIT:
        pytest.skip("nothing is compiled")
    code = intermediate_code(*KERNELS[name])
    assert not any(fused_operations(code).values())
    targets = TARGETS if name == "relu_single" else ("haswell",)
    assert all(fused_operations(re.sub(r"= (fmul|fadd|fsub) ", r"= \1 contract ", code), targets).values())


def test_no_kernel_of_floats_is_left_out() -> None:
    package, found = Path(bbcompress.__file__).parent, set()
    for path in package.rglob("*kernels.py"):
        module = importlib.import_module(".".join(("bbcompress", *path.relative_to(package).with_suffix("").parts)))
        for name, kernel in vars(module).items():
            if isinstance(kernel, Kernel) and kernel._function.__module__ == module.__name__:
                types = set(kernel._function.__annotations__.values())
                found |= {name} if types & {"Floats", "Singles", "float"} else set()
    assert {name.partition(" ")[0] for name in KERNELS} | WITHOUT_PRODUCTS | BY_OTHERS == found


def test_layers_in_blocks_interpreted_as_compiled_and_in_parts_as_whole() -> None:
    """Of several layers with rows and matrices that fill no blocks; by one thread, by three, and of two gradients."""
    results = []
    for step in (learning_kernels.adam_layers, learning_kernels.adam_layers._function):
        for threads, parts in ((1, 1), (3, 1), (1, 2)):
            random = np.random.default_rng(6)
            parameters = Parameters([layer(outputs=3), layer(outputs=70, inputs=5, seed=1)], RATE)
            arrays = [random.normal(0, scale, parameters._master.size) for scale in (1, 1e-3, 1e-3)]
            arrays[2] **= 2
            gradient = np.floor(random.normal(0, 1e6, parameters._master.size))[None]
            if parts == 2:
                share = np.floor(random.normal(0, 1e6, gradient.shape))
                gradient = np.concatenate([gradient - share, share])
            integers = np.empty(gradient.shape[1]), np.empty(gradient.shape[1], np.float32)
            places = parameters.begins, parameters._outputs, parameters._limits
            sums = np.empty((threads, 2, 70))
            for rows, of_rows in zip(parameters._shares(threads), sums, strict=True):
                step(*arrays, gradient, *integers, *places, *parameters._columns, 1 / 97, 0.003, 1.7, rows, of_rows)
            totals = sums.sum(axis=0)
            results.append([array.tobytes() for array in (*arrays, *integers, totals[0, :3], totals[1])])
    assert all(result == results[0] for result in results)
