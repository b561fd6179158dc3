"""Powers of two on the coding path: integers shifted, or `ldexp`, which are the same in every rounding mode.

A module may be imported, and a model built, while the program around has set another one; C's `pow` then is not exact.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bbcompress

PACKAGE = Path(bbcompress.__file__).parent
PLACES = ("coder", "exact", "models", "codecs")
ALLOWED = {"exact/arithmetic.py"}
"""Its powers are only about as large as they are written: they tell rounding modes apart."""
FUNCTIONS = {"exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "pow", "power", "float_power", "tanh", "erf"}


def inexact_in(source: str) -> list[str]:
    """Powers of or to a number that may be a float, and functions that IEEE 754 does not fix."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            base, exponent = node.left, node.right
            is_square = isinstance(exponent, ast.Constant) and isinstance(exponent.value, int)
            if not is_square or (isinstance(base, ast.Constant) and isinstance(base.value, float)):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Attribute) and node.attr in FUNCTIONS:
            found.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.module in ("math", "numpy"):
            found += [alias.name for alias in node.names if alias.name in FUNCTIONS]
    return found


@pytest.mark.parametrize("source", ["x * 2.0**-BITS", "2.0**100", "x**0.5", "np.exp(x)", "from math import log"])
def test_control(source: str) -> None:
    assert inexact_in(source)


def test_no_float_is_raised_to_a_power() -> None:
    files = [path for place in PLACES for path in sorted((PACKAGE / place).rglob("*.py"))]
    assert len(files) > 40
    found = {path.relative_to(PACKAGE).as_posix(): inexact_in(path.read_text("utf-8")) for path in files}
    assert {name: what for name, what in found.items() if what and name not in ALLOWED} == {}
