"""The integer tables against their definitions, and code lengths."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import random
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from statistics import NormalDist
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from cases_for_tests import one_test_of

from bbcompress.exact import tables
from bbcompress.exact.tables import LOG2_BITS, MAX_PRIOR_BITS, bin_edges, bin_medians, code_length, table

HASHES = {  # of the stored arrays' int32 little-endian bytes: never to change
    "sigmoid": "48b3033f8778f95a2eafc40c949d339c56c6abddd7af0f0de52f818b1651fd64",
    "normal_cdf": "7999d570910eda9eef4f537ce5352c8ae625055c70b571599e6357c187c7a492",
    "normal_quantile": "ff7d2de8f8977e9f56142c12d46fab0d04093e55273935ad2fb8b2a1947dfe2a",
    "softplus": "9fb18da50e4511bd33866fbca5eee16faef0295d5fd45b0a24eccddca99add7e",
    "inverse_scale": "52d5372cd896223120915d0e470e2afa5da4f9c9c9523fce5088535f7b604ead",
    "scale_slope": "45069308649f819fc7a9dac45b72598b63656aa4521748583082b83405f897b7",
    "log2": "c4cbad5929be84ef9f105f16bcee3b33a33c7a1a93c19869e21bde74d4d6c0cc",
    "exp_negative": "3db16f73a3c12782d89b66fe1b52236b72fd7a5e98cb318d2b7e6b3ed5a9af3c",
}
# each table as a float function of its argument, another way than the tool goes
FLOAT_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "normal_cdf": NormalDist().cdf,
    "normal_quantile": NormalDist().inv_cdf,
    "softplus": lambda x: math.log1p(math.exp(x)),
    "inverse_scale": lambda x: math.exp(-x),
    "scale_slope": lambda x: math.exp(-x) / math.expm1(math.exp(-x)),
    "log2": math.log2,
    "exp_negative": lambda x: math.exp(-x),
}


def load_tool() -> ModuleType:
    path = Path(__file__).parents[2] / "tools" / "make_tables.py"
    spec = importlib.util.spec_from_file_location("make_tables", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_tables = load_tool()


def stored(name: str) -> npt.NDArray[np.int32]:
    with resources.files("bbcompress.exact").joinpath("tables.npz").open("rb") as file, np.load(file) as data:
        return np.array(data[name])


def test_there_are_no_other_tables() -> None:
    assert set(make_tables.TABLES) == set(HASHES)
    with resources.files("bbcompress.exact").joinpath("tables.npz").open("rb") as file, np.load(file) as data:
        assert set(data.files) == set(HASHES)


@one_test_of("name", HASHES)
def test_hashes(name: str) -> None:
    array = stored(name)
    assert array.dtype == np.int32
    assert hashlib.sha256(array.astype("<i4").tobytes()).hexdigest() == HASHES[name]


@one_test_of("name", HASHES)
def test_entries_are_those_of_the_tool(name: str) -> None:
    array = stored(name)
    _, first, last, step_bits, value_bits = make_tables.TABLES[name]
    assert len(array) == last - first + 1
    sample = [first, first + 1, (first + last) // 2, last - 1, last]
    sample += random.Random(name).sample(range(first, last + 1), 20)
    for index in sample:
        assert array[index - first] == make_tables.entry(name, index)
        value = FLOAT_FUNCTIONS[name](index / (1 << step_bits))
        assert abs(int(array[index - first]) - value * (1 << value_bits)) < 0.51


@one_test_of("name", [*HASHES, "sigmoid_of_rho"])
def test_monotony(name: str) -> None:
    steps = np.diff(table(name))
    assert (steps <= 0).all() if name in ("inverse_scale", "exp_negative") else (steps >= 0).all()
    assert table(name).dtype == np.int64
    assert table(name).flags.c_contiguous


@pytest.mark.parametrize("name", ["sigmoid", "normal_cdf"])
def test_mirrored(name: str) -> None:
    whole, half = table(name), stored(name).astype(np.int64)
    assert len(whole) == 2 * len(half) - 1
    assert (whole[len(half) - 1 :] == half).all()
    assert (whole + whole[::-1] == 1 << tables.SIGMOID_BITS).all()


def test_sigmoid_of_rho_is_the_derivative_of_softplus() -> None:
    softplus, slope = table("softplus"), table("sigmoid_of_rho")
    assert len(softplus) == len(slope) == tables.RHO_MAX - tables.RHO_MIN + 1
    step = 2.0**-tables.ARGUMENT_BITS
    difference = (softplus[2:] - softplus[:-2]) * 2.0**-tables.VALUE_BITS / (2 * step)
    np.testing.assert_allclose(slope[1:-1] * 2.0**-tables.SIGMOID_BITS, difference, atol=1e-4)


@one_test_of("bits", [1, 2, 3, 8, 10, MAX_PRIOR_BITS])
def test_bins(bits: int) -> None:
    edges, medians, n = bin_edges(bits), bin_medians(bits), 1 << bits
    assert edges.shape == (n - 1,)
    assert medians.shape == (n,)
    merged = np.empty(2 * n - 1, np.int64)
    merged[::2], merged[1::2] = medians, edges
    assert (np.diff(merged) > 0).all()
    assert (merged == -merged[::-1]).all()
    for index in {0, 1, n // 2 - 1, n // 2, n - 2} | set(random.Random(bits).choices(range(n - 1), k=50)):
        if 0 <= index < n - 1:
            assert abs(edges[index] * 2.0**-24 - NormalDist().inv_cdf((index + 1) / n)) < 1e-6
            assert abs(medians[index] * 2.0**-24 - NormalDist().inv_cdf((index + 0.5) / n)) < 1e-6


def test_one_bin() -> None:
    assert bin_edges(0).size == 0
    assert bin_medians(0).tolist() == [0]


def test_code_length() -> None:
    powers = [1 << k for k in range(25)]
    near = [p + d for p in powers for d in (-2, -1, 1, 2)]
    drawn = np.exp2(np.random.default_rng(0).uniform(0, 24, 2000)).astype(int).tolist()
    frequencies = [f for f in powers + near + drawn if 1 <= f <= 1 << 24]
    lengths = code_length(np.array(frequencies), 24)
    for frequency, length in zip(frequencies, lengths.tolist(), strict=True):
        excess = length / (1 << LOG2_BITS) - (24 - math.log2(frequency))
        assert -(2.0**-30) <= excess <= 3e-8, frequency  # the table's rounding; linear interpolation
    assert code_length(np.array([1, 1 << 24]), 24).tolist() == [24 << LOG2_BITS, 0]
    assert code_length(np.array([1 << k for k in range(9)]), 8).tolist() == [k << LOG2_BITS for k in range(8, -1, -1)]
