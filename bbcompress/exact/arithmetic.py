"""The arithmetic that exact layers rest on, whatever the program around has set for its own.

IEEE 754 leaves a rounding mode to the program, and processors may take denormal numbers for zero. Both are settings of
a thread, and a foreign library may change them merely by being loaded (GCC's `-ffast-math` does). The integers of the
products do not feel it, the quotients and roots of the K steps do.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from bbcompress.errors import BBCError
from bbcompress.system.threads import single_blas_thread

_ROOM = 256
"""Bytes that hold a floating-point environment of the C library, `fenv_t`, of any platform: it takes 8 to 32."""

_numbers = [1.0, 1.5 * 2.0**-53, 2.0**-1022, 0.5, 5e-324, 2.0**1000]
"""A list, so that no compiler works with them beforehand."""


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Within the block this thread rounds to the nearest and knows denormal numbers, numpy raises nothing of its own,
    and matrix products take one thread. Afterwards all is as it was.

    Raises:
        BBCError: another library has changed the processor's arithmetic, and it cannot be set back.
    """
    # numpy's defaults but for `invalid`: the processor's flag says nothing of products whose operands are finite
    # integers and whose sums are proved to stay below 2^53
    flags = np.errstate(divide="warn", over="warn", under="ignore", invalid="ignore")
    with _usual_environment(), flags, single_blas_thread():
        yield


def is_usual() -> bool:
    """Whether this thread rounds to the nearest and knows denormal numbers."""
    one, above_half, least_normal, half, denormal, large = _numbers
    nearest = one + above_half > one and -one - above_half < -one  # the one fails downwards and to zero, the other up
    return nearest and least_normal * half != 0.0 and denormal * large != 0.0


@contextmanager
def _usual_environment() -> Iterator[None]:
    if is_usual():
        yield
        return
    library, usual = _environments()
    before = ctypes.create_string_buffer(_ROOM)
    if library is None or library.fegetenv(before) or library.fesetenv(usual) or not is_usual():
        raise BBCError("another library has changed this processor's arithmetic; nothing can be coded with it")
    try:
        yield
    finally:
        library.fesetenv(before)


@lru_cache(maxsize=1)
def _environments() -> tuple[Any, ctypes.c_void_p | None]:
    """The C library, None where it has no such functions, and its FE_DFL_ENV."""
    for name in (None, "libm.so.6", "ucrtbase"):
        try:
            library = ctypes.CDLL(name)
            functions = library.fegetenv, library.fesetenv
        except (OSError, AttributeError, TypeError):
            continue
        functions[1].argtypes = [ctypes.c_void_p]
        try:
            usual = ctypes.addressof(ctypes.c_char.in_dll(library, "_FE_DFL_ENV"))  # of macOS
        except ValueError:
            usual = -1  # of glibc and musl
        return library, ctypes.c_void_p(usual)
    return None, None
