"""Compiled loops of the local models' network: gathering neighbourhoods, and requantisation after a product."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bbcompress.coder.ans_kernels import Ints
from bbcompress.coder.kernel_cache import inline, kernel

Singles = NDArray[np.float32]
Levels = NDArray[np.int16]


@inline
def reference_of(left: int, upper: int, middle: int) -> int:
    """The reference of a pixel with these levels to the left and above; below 0 where there is none."""
    if left >= 0 and upper >= 0:
        return (left + upper + 1) >> 1
    if left >= 0:
        return left
    if upper >= 0:
        return upper
    return middle


@inline
def gather_pixel(
    flat: Levels,
    index: int,
    offsets: Ints,
    centred: int,
    gain: int,
    left: int,
    upper: int,
    middle: int,
    inputs: Singles,
    references: Ints,
    row: int,
) -> None:
    """Fill in a row of inputs and a column of references, as `gather` has them, of the pixel at `index`."""
    channels, neighbours = references.shape[0], offsets.size
    for c in range(channels):
        reference = 0
        if centred:
            a = int(flat[index + offsets[left] + c])
            b = int(flat[index + offsets[upper] + c])
            reference = reference_of(a, b, middle)
            inputs[row, neighbours * channels + c] = reference - middle
        references[c, row] = reference
        for k in range(neighbours):
            value = int(flat[index + offsets[k] + c])
            if value >= 0:
                inputs[row, k * channels + c] = (value - reference) * gain
            else:
                inputs[row, k * channels + c] = 0


@kernel
def gather(
    flat: Levels,
    indices: Ints,
    offsets: Ints,
    centred: int,
    gain: int,
    left: int,
    upper: int,
    middle: int,
    inputs: Singles,
    references: Ints,
) -> None:
    """Fill in the inputs (N, at least 24 C (+ C)) and references (C, N) of the pixels at `indices` of a canvas.

    Inputs are neighbour after neighbour with their channels, less the reference and times the gain, then, if centred,
    the references less `middle`. left, upper: the numbers of these two neighbours.
    """
    for i in range(indices.size):
        gather_pixel(flat, indices[i], offsets, centred, gain, left, upper, middle, inputs, references, i)


@kernel
def relu_requantise(total: Singles, bias: Singles, scale: float, limit: float) -> None:
    """In place clamp(floor((total + bias) * scale + 1/2), 0, limit), (N, outputs): sums below 2^24, powers of two."""
    half = np.float32(0.5)
    zero = np.float32(0.0)
    for i in range(total.shape[0]):
        for j in range(total.shape[1]):
            value = np.floor((total[i, j] + bias[j]) * scale + half)
            total[i, j] = min(max(value, zero), limit)
