"""Where exact layers run: numpy on a CPU, or torch tensors on any device. Both give the same integers.

A backend offers only operations whose result is fixed by IEEE 754 or by integer arithmetic, one at a time. The
in-place ones (trailing underscore) return their first argument.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bbcompress.errors import ModelError
from bbcompress.exact.tables import table

if TYPE_CHECKING:
    import torch

Array = Any
"""A float64 or int64 array of the backend: `numpy.ndarray` or `torch.Tensor`."""


class Backend(Protocol):
    """The operations that exact arithmetic needs beyond + - * / >> and comparisons."""

    def asarray(self, array: np.ndarray[Any, Any]) -> Array: ...
    def numpy(self, array: Array) -> np.ndarray[Any, Any]: ...
    def matmul(self, left: Array, right: Array) -> Array: ...
    def floor_(self, array: Array) -> Array: ...
    def clip_(self, array: Array, low: float, high: float) -> Array: ...
    def sqrt(self, array: Array) -> Array: ...
    def integers(self, array: Array) -> Array: ...
    def floats(self, array: Array) -> Array: ...
    def empty_like(self, array: Array) -> Array: ...
    def zeros(self, shape: tuple[int, ...]) -> Array: ...
    def cast(self, array: Array, dtype: type[Any]) -> Array:
        """The array in float32 or float64; where a backend has only float64, in that."""

    def hstack(self, left: Array, right: Array) -> Array: ...
    def lookup(self, name: str, index: Array) -> Array: ...


class NumpyBackend:
    """float64 and int64 numpy arrays; importing it costs nothing beyond numpy."""

    def asarray(self, array: np.ndarray[Any, Any]) -> Array:
        return np.ascontiguousarray(array)

    def numpy(self, array: Array) -> np.ndarray[Any, Any]:
        return np.asarray(array)

    def matmul(self, left: Array, right: Array) -> Array:
        return left @ right

    def floor_(self, array: Array) -> Array:
        return np.floor(array, out=array)

    def clip_(self, array: Array, low: float, high: float) -> Array:
        return np.clip(array, low, high, out=array)

    def sqrt(self, array: Array) -> Array:
        return np.sqrt(array)

    def integers(self, array: Array) -> Array:
        return array.astype(np.int64)

    def floats(self, array: Array) -> Array:
        return array.astype(np.float64)

    def empty_like(self, array: Array) -> Array:
        return np.empty_like(array)

    def zeros(self, shape: tuple[int, ...]) -> Array:
        return np.zeros(shape)

    def cast(self, array: Array, dtype: type[Any]) -> Array:
        return array.astype(dtype, copy=False)

    def hstack(self, left: Array, right: Array) -> Array:
        return np.concatenate([left, right], axis=1)

    def lookup(self, name: str, index: Array) -> Array:
        return table(name).take(index)


class TorchBackend:
    """float64 and int64 torch tensors on `device`; emulated float64 is found out by `probe`.

    There is no float32 here: what torch makes of its products is for the program around to say, at any time and for all
    threads (TF32, bfloat16, autocast). float64 products are left alone by all of these.
    """

    def __init__(self, device: str = "cpu") -> None:
        import torch

        self._torch = torch
        self.device = torch.device(device)
        self._tables: dict[str, torch.Tensor] = {}

    def __reduce__(self) -> tuple[type[TorchBackend], tuple[str]]:
        return TorchBackend, (str(self.device),)

    def asarray(self, array: np.ndarray[Any, Any]) -> Array:
        tensor = self._torch.from_numpy(np.array(array, order="C")).to(self.device)
        return self.floats(tensor) if tensor.is_floating_point() else tensor

    def numpy(self, array: Array) -> np.ndarray[Any, Any]:
        return np.asarray(array.cpu().numpy())

    def matmul(self, left: Array, right: Array) -> Array:
        return left @ right

    def floor_(self, array: Array) -> Array:
        return array.floor_()

    def clip_(self, array: Array, low: float, high: float) -> Array:
        return array.clamp_(low, high)

    def sqrt(self, array: Array) -> Array:
        if self.device.type == "cpu":  # torch asks MKL there, which is off by an ulp for one number in a hundred
            return self._torch.from_numpy(np.sqrt(array.numpy()))
        return self._torch.sqrt(array)

    def integers(self, array: Array) -> Array:
        return array.to(self._torch.int64)

    def floats(self, array: Array) -> Array:
        return array.to(self._torch.float64)

    def empty_like(self, array: Array) -> Array:
        return self._torch.empty_like(array)

    def zeros(self, shape: tuple[int, ...]) -> Array:
        return self._torch.zeros(shape, dtype=self._torch.float64, device=self.device)

    def cast(self, array: Array, dtype: type[Any]) -> Array:
        return self.floats(array)

    def hstack(self, left: Array, right: Array) -> Array:
        return self._torch.cat([left, right], dim=1)

    def lookup(self, name: str, index: Array) -> Array:
        if name not in self._tables:
            self._tables[name] = self._torch.from_numpy(table(name)).to(self.device)
        return self._tables[name][index]


def probe(backend: Backend) -> None:
    """Compare a float64 product whose sums come near 2^53 with the same product in int64, and quotients and roots
    with numpy's, which IEEE 754 fixes.

    Raises:
        ModelError: the backend's arithmetic is not exact (emulated float64, TF32): nothing may be coded with it.
    """
    left, right = _probe_operands()
    product = backend.numpy(backend.matmul(backend.asarray(left.astype(float)), backend.asarray(right.astype(float))))
    if not np.array_equal(product, (left @ right).astype(np.float64)):
        raise ModelError("this machine's float64 matrix product is not exact; nothing can be coded with it")
    single = np.eye(*right.shape, dtype=np.int64)
    # sums below 2^24: of many short numbers, and of one with all 24 bits, which TF32 and pieces of bfloat16 shorten
    for a, b in ((left & 255, right & 127), (left | 1 << 23, single), (single.T, left.T | 1 << 23)):
        operands = (backend.asarray(operand.astype(np.float32)) for operand in (a, b))
        if not np.array_equal(backend.numpy(backend.matmul(*operands)), (a @ b).astype(np.float32)):
            raise ModelError("this machine's float32 matrix product is not exact; nothing can be coded with it")
    values = np.abs(product.reshape(-1)) * 1e-9 + np.arange(product.size)
    a, b = backend.asarray(values), backend.asarray(values[::-1].copy())
    quotient, root = backend.numpy(a / b), backend.numpy(backend.sqrt(a))
    if not (np.array_equal(quotient, values / values[::-1]) and np.array_equal(root, np.sqrt(values))):
        raise ModelError("this machine's float64 arithmetic is not that of IEEE 754; nothing can be coded with it")


@lru_cache(maxsize=1)
def _probe_operands() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Odd operands with 2^53 - 2^46 < |sums| < 2^53: each of the low bits has to survive."""
    rows, inner, columns = 37, 512, 29
    index = np.arange(rows * inner, dtype=np.int64).reshape(rows, inner)
    left = (1 << 24) - 1 - 2 * (index * 2654435761 % 4096)
    index = np.arange(inner * columns, dtype=np.int64).reshape(inner, columns)
    right = (1 << 20) - 1 - 2 * (index * 40503 % 2048)
    return left, right
