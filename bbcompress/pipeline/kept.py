"""Values that are kept as long as there is room for them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Values by number, each of some size. Above a limit of all sizes those go that were not asked for for longest; the
    last one put in stays, whatever its size."""

    def __init__(self, limit: int) -> None:
        """limit: of the sum of all sizes."""
        self._limit = limit
        self._values: OrderedDict[int, tuple[T, int]] = OrderedDict()
        self._size = 0

    def get(self, number: int) -> T | None:
        """The value of that number, None if there is none."""
        if number not in self._values:
            return None
        self._values.move_to_end(number)
        return self._values[number][0]

    def put(self, number: int, value: T, size: int) -> T:
        """Keep a value, which is given back."""
        if number in self._values:
            self._size -= self._values.pop(number)[1]
        self._values[number] = value, size
        self._size += size
        while self._size > self._limit and len(self._values) > 1:
            self._size -= self._values.popitem(last=False)[1][1]
        return value

    def clear(self) -> None:
        """Forget all."""
        self._values.clear()
        self._size = 0
