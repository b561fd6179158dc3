"""Matrix products that compiled loops ask of numpy's own BLAS, without Python between them.

Between two products of a unit of pixels there are some microseconds of work. From Python each call takes as long, and
of two threads one waits for the other at each. So loops that have several products call OpenBLAS by its address. Where
numpy has another library there is no such address, and numpy's `matmul` does the same products.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from bbcompress.coder.kernel_cache import builtin, compiles, inline
from bbcompress.exact.tables import IntArray

NumpyArray = np.ndarray[Any, Any]

PLAIN, TRANSPOSED = 111, 112
"""How a product takes an operand, in the numbers of CBLAS."""
_ROWS_FIRST = 101


@cache
def products() -> IntArray | None:
    """The addresses of the products in float32 and in float64, and whether they take integers of 64 bits; None where
    there are none that give what numpy gives."""
    from threadpoolctl import ThreadpoolController

    if not compiles():
        return None
    for library in ThreadpoolController().select(internal_api="openblas").lib_controllers:
        found = _products_of(library.dynlib)
        if found is not None:
            return found
    return None


def _products_of(library: ctypes.CDLL) -> IntArray | None:
    for prefix in ("scipy_", ""):
        for suffix in ("64_", ""):
            try:
                names = (f"{prefix}{name}{suffix}" for name in ("cblas_sgemm", "cblas_dgemm", "openblas_get_config"))
                single, double, config = (getattr(library, name) for name in names)
            except AttributeError:
                continue
            config.restype = ctypes.c_char_p
            is_wide = b"USE64BITINT" in (config() or b"")
            if _agrees(single, np.float32, is_wide) and _agrees(double, np.float64, is_wide):
                addresses = [ctypes.cast(function, ctypes.c_void_p).value for function in (single, double)]
                return np.array([*addresses, is_wide], np.int64)
    return None


def _agrees(function: Any, dtype: type[Any], is_wide: bool) -> bool:
    """Whether a function gives what numpy gives of small integers, of which every sum is exact."""
    integer = ctypes.c_int64 if is_wide else ctypes.c_int32
    number = ctypes.c_float if dtype is np.float32 else ctypes.c_double
    operand = [ctypes.c_void_p, integer]
    function.argtypes = [ctypes.c_int] * 3 + [integer] * 3 + [number, *operand, *operand, number, *operand]
    function.restype = None
    left, right = np.arange(15, dtype=dtype).reshape(3, 5), np.arange(10, dtype=dtype).reshape(2, 5)
    result = np.full((3, 2), np.nan, dtype)
    places = (left.ctypes.data, 5, right.ctypes.data, 5)
    function(_ROWS_FIRST, PLAIN, TRANSPOSED, 3, 2, 5, 1.0, *places, 0.0, result.ctypes.data, 2)
    return np.array_equal(result, left @ right.T)


@inline
def place(array: NumpyArray, element: int) -> int:
    """The address of an element of an array in memory order."""
    return np.int64(array.ctypes.data) + array.itemsize * element  # type: ignore[return-value]


@builtin
def gemm_single(numba: Any) -> Any:
    """result = left right in float32.

    Its arguments: the function's address, whether it takes integers of 64 bits, how it takes left and right, rows and
    columns of the result, their inner length, and of left, right and result the address and how far rows are apart.
    """
    return _gemm(numba, "FloatType")


@builtin
def gemm_double(numba: Any) -> Any:
    """The same in float64."""
    return _gemm(numba, "DoubleType")


def _gemm(numba: Any, kind: str) -> Any:
    def codegen(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        from llvmlite import ir

        address, wide, left_as, right_as, rows, columns, inner, a, lda, b, ldb, c, ldc = arguments
        number, word, pointer = getattr(ir, kind)(), ir.IntType(32), ir.IntType(8).as_pointer()
        with builder.if_else(builder.icmp_signed("!=", wide, wide.type(0))) as branches:
            for branch, bits in zip(branches, (64, 32), strict=True):
                with branch:
                    integer = ir.IntType(bits)
                    kinds = [word] * 3 + [integer] * 3 + [number, pointer, integer, pointer, integer, number, pointer]
                    function = ir.FunctionType(ir.VoidType(), [*kinds, integer]).as_pointer()
                    whole = [
                        value if bits == 64 else builder.trunc(value, integer)
                        for value in (rows, columns, inner, lda, ldb, ldc)
                    ]
                    left, right, result = (builder.inttoptr(at, pointer) for at in (a, b, c))
                    as_given = [word(_ROWS_FIRST), builder.trunc(left_as, word), builder.trunc(right_as, word)]
                    operands = [number(1.0), left, whole[3], right, whole[4], number(0.0), result, whole[5]]
                    builder.call(builder.inttoptr(address, function), [*as_given, *whole[:3], *operands])
        return context.get_dummy_value()

    def gemm(  # numba reads the names of its parameters
        typing: Any, address: Any, wide: Any, left_as: Any, right_as: Any, rows: Any, columns: Any, inner: Any,
        left: Any, left_pitch: Any, right: Any, right_pitch: Any, result: Any, result_pitch: Any,
    ) -> Any:  # fmt: skip
        return numba.types.void(*[numba.types.int64] * 13), codegen

    return numba.extending.intrinsic(gemm)
