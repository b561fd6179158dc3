"""Products by their addresses: taken only where they are numpy's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from bbcompress.coder.kernel_cache import compiles
from bbcompress.exact import blas


def test_openblas_has_products() -> None:
    if not compiles() or "openblas" not in {library["internal_api"] for library in threadpool_info()}:
        pytest.skip("there is no OpenBLAS that compiled loops could call")
    found = blas.products()
    assert found is not None
    single, double, is_wide = found.tolist()
    assert single != double
    assert is_wide in (0, 1)


class Product:
    """A function that gives the product of `blas._agrees`, but for an error."""

    def __init__(self, dtype: type[Any], error: float) -> None:
        self.number, self.error = np.ctypeslib.as_ctypes_type(dtype), error

    def __call__(self, *arguments: Any) -> None:
        result = np.ctypeslib.as_array((self.number * 6).from_address(arguments[12]))
        result[:] = (np.arange(15.0).reshape(3, 5) @ np.arange(10.0).reshape(2, 5).T).reshape(-1) + self.error


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_function_that_gives_another_product_is_refused(dtype: type[Any]) -> None:
    assert blas._agrees(Product(dtype, 0.0), dtype, True)
    assert not blas._agrees(Product(dtype, 1.0), dtype, True)
    assert not blas._agrees(lambda *_: None, dtype, False)  # it gives none


def test_a_library_without_such_functions_has_no_products() -> None:
    assert blas._products_of(SimpleNamespace()) is None  # type: ignore[arg-type]
