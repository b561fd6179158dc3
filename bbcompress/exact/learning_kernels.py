"""Compiled loops of learning layers: one step of Adam, and the integers that follow from it.

Every operation on floats is one of IEEE 754, rounded by itself: nothing here may be contracted or reordered, which
numba and LLVM leave alone without fastmath.
"""

from __future__ import annotations

from math import ldexp

import numpy as np
from numpy.typing import NDArray

from bbcompress.coder.ans_kernels import Ints
from bbcompress.coder.kernel_cache import float_kernel, inline

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
LEAST_MOMENT = ldexp(1.0, -100)
"""A first moment smaller than this counts as 0: one that only fades would end among the denormal numbers, which are
slow."""
_BLOCK = 64
"""Weights at a time where they stand in a row."""
_KEPT1, _NEW1 = BETA1, 1.0 - BETA1
_KEPT2, _NEW2 = BETA2, 1.0 - BETA2


@inline
def adam_block(
    gradient: Floats,
    first: Floats,
    second: Floats,
    master: Floats,
    exact: Floats,
    single: Singles,
    moved: Floats,
    scale: float,
    unit: float,
    clamp: float,
    share: float,
    rate: float,
    correction: float,
) -> None:
    """The step of `_BLOCK` weights of one grid; moved: scratch.

    Several loops, so that each has few arrays and can be vectorised, of a length that the compiler knows: the processor
    works at the quotients of one while it does the sums of the next.
    """
    for j in range(_BLOCK):
        moved[j] = (gradient[j] * share) * unit
    for j in range(_BLOCK):
        first[j] = first[j] * _KEPT1 + moved[j] * _NEW1
        first[j] = first[j] if abs(first[j]) >= LEAST_MOMENT else 0.0
    for j in range(_BLOCK):
        second[j] = second[j] * _KEPT2 + (moved[j] * moved[j]) * _NEW2
    for j in range(_BLOCK):
        moved[j] = (first[j] * rate) / (np.sqrt(second[j] * correction) + EPSILON)
    for j in range(_BLOCK):
        master[j] = master[j] - moved[j]
    for j in range(_BLOCK):
        exact[j] = min(max(np.floor(master[j] * scale + 0.5), -clamp), clamp)
    for j in range(_BLOCK):
        single[j] = exact[j]


@float_kernel
def adam_layers(
    master: Floats,
    first: Floats,
    second: Floats,
    gradients: Floats,
    exact: Floats,
    single: Singles,
    begins: Ints,
    outputs: Ints,
    limits: Floats,
    scales: Floats,
    units: Floats,
    clamps: Floats,
    share: float,
    rate: float,
    correction: float,
    rows: Ints,
    sums: Floats,
) -> None:
    """One step of Adam of some rows of several layers, whose matrices stand one after the other and are transposed,
    (inputs + 1, outputs): all weights of a layer, then its biases.

    gradients: (parts, weights), integers that are to be added. begins: where each layer begins, and the end. outputs:
    how many biases each has. scales, units, clamps: (layers, 2), of a layer's weights and of its biases: `units` turn
    integer gradients into real ones, `scales` real weights into integers, which `clamps` bound. share: 1 / pixels.
    rate: learning rate / (1 - beta1^t). correction: 1 / (1 - beta2^t). rows: (layers, 2), the first of the rows of each
    layer that are to be done, and their end. limits: of the rows of all layers, one after the other; those of biases,
    the last of each layer, are 1; 0 where no sums are wanted. sums: (layers, at least outputs), for each output the sum
    of its integers' magnitudes in these rows times the limits of their inputs, below 2^53 and so exact.
    """
    moved, summed = np.empty(_BLOCK), np.empty(_BLOCK)
    few, few_single = np.zeros((5, _BLOCK)), np.zeros(_BLOCK, np.float32)
    row = 0
    for layer in range(outputs.size):
        columns, end = outputs[layer], begins[layer + 1]
        of_rows = begins[layer] + rows[layer, 1] * columns
        for kind in range(2):  # weights, biases
            begin = end - columns if kind else begins[layer]
            begin = max(begin, begins[layer] + rows[layer, 0] * columns)
            stop = min(end if kind else end - columns, of_rows)
            scale, unit, clamp = scales[layer, kind], units[layer, kind], clamps[layer, kind]
            while begin + _BLOCK <= stop:
                to = begin + _BLOCK
                for j in range(_BLOCK):
                    summed[j] = gradients[0, begin + j]
                for part in range(1, gradients.shape[0]):
                    for j in range(_BLOCK):
                        summed[j] += gradients[part, begin + j]
                adam_block(
                    summed,
                    first[begin:to],
                    second[begin:to],
                    master[begin:to],
                    exact[begin:to],
                    single[begin:to],
                    moved,
                    scale,
                    unit,
                    clamp,
                    share,
                    rate,
                    correction,
                )
                begin = to
            left = max(stop - begin, 0)
            for j in range(left):  # the rest goes through blocks of its own
                few[0, j] = 0.0
                for part in range(gradients.shape[0]):
                    few[0, j] += gradients[part, begin + j]
                few[1, j], few[2, j], few[3, j] = first[begin + j], second[begin + j], master[begin + j]
            if left:
                adam_block(
                    few[0],
                    few[1],
                    few[2],
                    few[3],
                    few[4],
                    few_single,
                    moved,
                    scale,
                    unit,
                    clamp,
                    share,
                    rate,
                    correction,
                )
            for j in range(left):
                first[begin + j], second[begin + j], master[begin + j] = few[1, j], few[2, j], few[3, j]
                exact[begin + j], single[begin + j] = few[4, j], few_single[j]
        of_layer = sums[layer]
        for j in range(columns):
            of_layer[j] = 0.0
        for number in range(rows[layer, 0], rows[layer, 1]):
            start, limit = begins[layer] + number * columns, limits[row + number]
            integers = exact[start : start + columns]
            for j in range(columns):
                of_layer[j] += abs(integers[j]) * limit
        row += (end - begins[layer]) // columns
