"""Section "Tables" of docs/format.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
PATH = Path(__file__).resolve().parents[3] / "bbcompress" / "exact" / "tables.npz"
TABLES = {name: table.astype(np.int64) for name, table in np.load(PATH).items()}


def sigmoid(logit: Array) -> Array:
    """Tables: S, of a logit in units of 2^-10, in units of 2^-30."""
    return from_negative("sigmoid", logit)


def normal_cdf(t: Array) -> Array:
    """Tables: Phi, likewise."""
    return from_negative("normal_cdf", t)


def from_negative(name: str, argument: Array) -> Array:
    """Tables: S(-l) = 2^30 - S(l)."""
    table = TABLES[name]
    value = table[np.minimum(np.abs(argument), len(table) - 1)]
    mirrored: Array = np.where(argument < 0, 2**30 - value, value)
    return mirrored


def normal_quantile(j: Array) -> Array:
    """Tables: Phi^-1(j / 2^15), odd about j = 2^14, in units of 2^-24."""
    value: Array = np.sign(j - 2**14) * TABLES["normal_quantile"][np.abs(j - 2**14)]
    return value


def softplus(rho: Array) -> Array:
    """Tables: softplus, of rho in units of 2^-10, in units of 2^-24."""
    value: Array = TABLES["softplus"][np.clip(rho, -10 * 2**10, 6 * 2**10) + 10 * 2**10]
    return value


def inverse_scale(u: Array) -> Array:
    """Tables: e^-u, of u in units of 2^-10, in units of 2^-24."""
    value: Array = TABLES["inverse_scale"][np.clip(u, -1536, 7 * 2**10) + 1536]
    return value


def scale_slope(u: Array) -> Array:
    """Tables: t / (e^t - 1), t = e^-u, likewise."""
    value: Array = TABLES["scale_slope"][np.clip(u, -1536, 7 * 2**10) + 1536]
    return value


def exp_negative(t: Array) -> Array:
    """Tables: E(t) = e^-t, of t in units of 2^-10, in units of 2^-30."""
    value: Array = TABLES["exp_negative"][np.clip(t, 0, 2**14)]
    return value


def medians(bins: Array, bits: Array | int) -> Array:
    """Tables: the median of bin i of 2^bits, in units of 2^-24."""
    return normal_quantile((2 * bins + 1) << (14 - bits))


def edge(i: Array, bits: int) -> Array:
    """Tables: the lower edge of bin i > 0 of 2^bits, in units of 2^-24."""
    return normal_quantile(i << (15 - bits))
