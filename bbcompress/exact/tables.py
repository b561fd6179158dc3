"""The integer tables that stand in for exp, log, softplus, the logistic function, the normal CDF and its quantile.

`tables.npz` is committed data made by tools/make_tables.py. An entry is the nearest integer to value * 2^bits; an
index is an integer on the argument's own grid. Arguments outside a table's range take its end value.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import resources
from math import ldexp

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

SIGMOID_BITS = 30
"""Fractional bits of `sigmoid`, `normal_cdf` and `exp_negative`."""
VALUE_BITS = 24
"""Fractional bits of `normal_quantile`, `softplus`, `inverse_scale` and `scale_slope`."""
VALUE_UNIT = ldexp(1.0, -VALUE_BITS)
LOG2_BITS = 30
"""Fractional bits of `log2`, hence of code lengths in bits."""

ARGUMENT_BITS = 10
"""Fractional bits of the argument of all tables but `normal_quantile` and `log2`."""
LOGIT_LIMIT = 16 << ARGUMENT_BITS
NORMAL_LIMIT = 8 << ARGUMENT_BITS
RHO_MIN, RHO_MAX = -10 << ARGUMENT_BITS, 6 << ARGUMENT_BITS
LOG_SCALE_MIN, LOG_SCALE_MAX = -1536, 7 << ARGUMENT_BITS
EXP_NEGATIVE_LIMIT = 16 << ARGUMENT_BITS

QUANTILE_BITS = 15
"""`normal_quantile` is tabulated at j / 2^15."""
MAX_PRIOR_BITS = QUANTILE_BITS - 1
"""With at most 2^14 equal-mass bins, edges and medians of all bins are entries of `normal_quantile`."""


@lru_cache(maxsize=1)
def _stored() -> dict[str, IntArray]:
    with resources.files(__package__).joinpath("tables.npz").open("rb") as file, np.load(file) as data:
        return {name: data[name].astype(np.int64) for name in data.files}


@cache
def table(name: str) -> IntArray:
    """The whole table `name` as a contiguous int64 array; the symmetric ones are mirrored to negative arguments.

    `sigmoid`: index l + LOGIT_LIMIT for a logit of l / 2^10. `normal_cdf`: index t + NORMAL_LIMIT. `softplus`: index
    rho - RHO_MIN. `inverse_scale` (exp(-u)) and `scale_slope` (t / (e^t - 1) with t = exp(-u)): index
    u - LOG_SCALE_MIN. `normal_quantile`: index j - 2^14 for j / 2^15 >= 1/2 (see `bin_edges`, `bin_medians`).
    `sigmoid_of_rho`: the derivative of softplus on softplus's own index. `log2`: index m for 1 + m / 2^12.
    `exp_negative` (exp(-v), at least 121 / 2^30): index v for v / 2^10 in [0, 16], at most EXP_NEGATIVE_LIMIT.
    """
    stored = _stored()
    if name in ("sigmoid", "normal_cdf"):
        half = stored[name]
        return np.concatenate([(1 << SIGMOID_BITS) - half[:0:-1], half])
    if name == "sigmoid_of_rho":
        return np.ascontiguousarray(table("sigmoid")[RHO_MIN + LOGIT_LIMIT : RHO_MAX + LOGIT_LIMIT + 1])
    return stored[name]


def _quantile(numerators: IntArray) -> IntArray:
    """Phi^-1(numerators / 2^15) in units of 2^-24."""
    half = 1 << (QUANTILE_BITS - 1)
    mirrored = np.abs(numerators - half)
    return np.sign(numerators - half) * table("normal_quantile")[mirrored]


@cache
def bin_medians(bits: int) -> IntArray:
    """(2^bits,) medians of the 2^bits equal-mass bins of N(0, 1), in units of 2^-24."""
    return _quantile(np.arange(1, 2 << bits, 2, dtype=np.int64) << (QUANTILE_BITS - 1 - bits))


@cache
def bin_edges(bits: int) -> IntArray:
    """(2^bits - 1,) inner edges of the 2^bits equal-mass bins of N(0, 1), in units of 2^-24."""
    return _quantile(np.arange(1, 1 << bits, dtype=np.int64) << (QUANTILE_BITS - bits))


def code_length(frequencies: IntArray, precision: int) -> IntArray:
    """-log2(frequency / 2^precision) in units of 2^-30 bits, elementwise, from integers alone.

    The table is interpolated linearly: within 3e-8 bits of the truth.

    Args:
        frequencies: at least 1 and at most 2^24.
    """
    frequencies = np.asarray(frequencies, np.int64)
    exponent = np.frexp(frequencies.astype(np.float64))[1].astype(np.int64) - 1
    mantissa = (frequencies << (24 - exponent)) - (1 << 24)
    index, fraction = mantissa >> 12, mantissa & 0xFFF
    values = table("log2")
    low = values[index]
    log2 = low + (((values[np.minimum(index + 1, 1 << 12)] - low) * fraction) >> 12)
    length: IntArray = ((precision - exponent) << LOG2_BITS) - log2
    return length
