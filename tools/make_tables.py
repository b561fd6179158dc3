"""Make bbcompress/exact/tables.npz: the integer tables that stand in for every transcendental function.

    python tools/make_tables.py [OUT]

Nothing here is float arithmetic: `decimal` rounds exp and ln correctly at any precision, the normal CDF is its
all-positive series and the quantile Newton's method on that CDF, at 50 digits. The nearest integer to
value * 2^bits is therefore the same on every machine. Takes about a minute.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

DIGITS = 50
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
ONE, TWO = Decimal(1), Decimal(2)


def sigmoid(x: Decimal) -> Decimal:
    return ONE / (ONE + (-x).exp())


def softplus(x: Decimal) -> Decimal:
    return (ONE + x.exp()).ln()


def scale_slope(log_scale: Decimal) -> Decimal:
    """t / (e^t - 1) with t = exp(-log_scale), one level's width in units of the logistic's scale."""
    t = (-log_scale).exp()
    return t / (t.exp() - ONE)


def normal_density(x: Decimal) -> Decimal:
    return (-x * x / TWO).exp() / (TWO * PI).sqrt()


def normal_cdf(x: Decimal) -> Decimal:
    """Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/15 + ...) for x >= 0: every term is positive, nothing cancels."""
    term, total, k = x, x, 1
    while term > total.scaleb(-DIGITS) and term:
        k += 2
        term = term * x * x / k
        total += term
    return ONE / TWO + normal_density(x) * total


def normal_quantile(p: Decimal) -> Decimal:
    """Phi^-1(p) for p >= 1/2 by Newton's method; the float start decides how many steps, never the result."""
    x = Decimal(NormalDist().inv_cdf(float(p)))
    while True:
        step = (normal_cdf(x) - p) / normal_density(x)
        x -= step
        if abs(step) < Decimal(10) ** -(DIGITS // 2):
            return x


def fixed_point(value: Decimal, bits: int) -> int:
    return int((value * (1 << bits)).to_integral_value(rounding=ROUND_HALF_EVEN))


# name -> (function, first index, last index, step as a power of two, fractional bits of the value)
TABLES: dict[str, tuple[Callable[[Decimal], Decimal], int, int, int, int]] = {
    "sigmoid": (sigmoid, 0, 16 << 10, 10, 30),
    "normal_cdf": (normal_cdf, 0, 8 << 10, 10, 30),
    "normal_quantile": (normal_quantile, 1 << 14, (1 << 15) - 1, 15, 24),
    "softplus": (softplus, -10 << 10, 6 << 10, 10, 24),
    "inverse_scale": (lambda x: (-x).exp(), -1536, 7 << 10, 10, 24),
    "scale_slope": (scale_slope, -1536, 7 << 10, 10, 24),
    "log2": (lambda x: x.ln() / TWO.ln(), 1 << 12, 1 << 13, 12, 30),
    "exp_negative": (lambda x: (-x).exp(), 0, 16 << 10, 10, 30),
}


def entry(name: str, index: int) -> int:
    """The table's integer at `index`, recomputed."""
    function, _, _, step_bits, value_bits = TABLES[name]
    with localcontext() as context:
        context.prec = DIGITS + 10
        return fixed_point(function(Decimal(index) / (1 << step_bits)), value_bits)


def main() -> None:
    default = Path(__file__).resolve().parent.parent / "bbcompress" / "exact" / "tables.npz"
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    arrays: dict[str, Any] = {}
    for name, (_, first, last, _, _) in TABLES.items():
        arrays[name] = np.array([entry(name, i) for i in range(first, last + 1)], np.int32)
        print(f"{name}: {len(arrays[name])} entries, {arrays[name][0]} .. {arrays[name][-1]}")
    np.savez_compressed(out, **arrays)


if __name__ == "__main__":
    main()
