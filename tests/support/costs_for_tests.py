"""Two costs in processor time, compared such that a busy machine does not decide."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

ATTEMPTS = 4
FLOOR = 0.01
"""Seconds below which a cost is taken as this: clocks are no finer, nor are caches steadier."""


def check_cost(dear: Callable[[], Sequence[float]], cheap: Callable[[], Sequence[float]], factor: float) -> None:
    """Fail unless each cost of `dear` is below the factor times that of `cheap`.

    They are measured in turn, again where that does not hold, and of each cost the least counts: what else the machine
    does only adds to it.
    """
    most, least = [math.inf], [math.inf]
    for attempt in range(ATTEMPTS):
        found, base = dear(), cheap()
        most = [*found] if not attempt else [*map(min, most, found)]
        least = [*base] if not attempt else [*map(min, least, base)]
        if all(more < factor * max(less, FLOOR) for more, less in zip(most, least, strict=True)):
            return
    pytest.fail(f"{most} s of processor time are not below {factor:g} times {least} s")
