"""Compiled loops of learning layers: one step of Adam, and the integers that follow from it.

Every operation on floats is one of IEEE 754, rounded by itself: nothing here may be contracted or reordered, which
numba and LLVM leave alone without fastmath.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bbcompress.coder.ans_kernels import Ints
from bbcompress.coder.kernel_cache import float_kernel

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
LEAST_MOMENT = 2.0**-100
"""A first moment smaller than this counts as 0: one that only fades would end among the denormal numbers, which are
slow."""
_ROWS = 8
"""Rows of a matrix at a time: few enough to stay in the processor's nearest memory."""
_KEPT1, _NEW1 = BETA1, 1.0 - BETA1
_KEPT2, _NEW2 = BETA2, 1.0 - BETA2


@float_kernel
def adam_step(
    master: Floats,
    first: Floats,
    second: Floats,
    gradient: Floats,
    exact: Floats,
    single: Singles,
    begin: int,
    rows: int,
    scales: Floats,
    units: Floats,
    clamps: Floats,
    limits: Ints,
    share: float,
    rate: float,
    correction: float,
) -> int:
    """One step of a layer whose matrix (rows, columns) begins at `begin` of the flat arrays; the largest sum of its
    integers' magnitudes times the `limits` of their inputs.

    A column's `units` turn its integer gradients into real ones, its `scales` the real weights into integers, which
    its `clamps` bound. share: 1 / pixels. rate: learning rate / (1 - beta1^t). correction: 1 / (1 - beta2^t).
    """
    columns = scales.size
    largest = 0
    for top in range(0, rows, _ROWS):
        start, count = begin + top * columns, min(_ROWS, rows - top)
        end = start + count * columns
        moved, m, v = gradient[start:end], first[start:end], second[start:end]
        w, q, small = master[start:end], exact[start:end], single[start:end]
        # several loops, so that each has few arrays and can be vectorised
        for i in range(count):
            row = moved[i * columns : (i + 1) * columns]
            for j in range(columns):
                row[j] = (row[j] * share) * units[j]
        for j in range(moved.size):
            m[j] = m[j] * _KEPT1 + moved[j] * _NEW1
            m[j] = m[j] if abs(m[j]) >= LEAST_MOMENT else 0.0
        for j in range(moved.size):
            v[j] = v[j] * _KEPT2 + (moved[j] * moved[j]) * _NEW2
        for j in range(moved.size):
            moved[j] = (m[j] * rate) / (np.sqrt(v[j] * correction) + EPSILON)
        for j in range(moved.size):
            w[j] = w[j] - moved[j]
        for i in range(count):
            row, integers = w[i * columns : (i + 1) * columns], q[i * columns : (i + 1) * columns]
            for j in range(columns):
                integers[j] = min(max(np.floor(row[j] * scales[j] + 0.5), -clamps[j]), clamps[j])
            total = 0
            for j in range(columns):
                total += abs(np.int64(integers[j])) * limits[j]
            largest = max(largest, total)
        for j in range(moved.size):
            small[j] = q[j]
    return largest
