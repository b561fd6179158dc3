"""Coding settings that are measured, not learned: bins of the latents, their grid for direct coding, K steps' rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.direct import DirectCodec
from bbcompress.codecs.rate import code_bits, draw, net_bits
from bbcompress.codecs.refinement import posterior_of, refinements
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import NormalPosterior
from bbcompress.exact.tables import VALUE_BITS
from bbcompress.limits import ENCODERS
from bbcompress.models.base import ModelWeights
from bbcompress.models.registry import model_of
from bbcompress.models.strips import Strips

PRIOR_BITS = (7, 8, 9, 10, 11, 12, 13, 14)
PRIOR_TOLERANCE = 1e-4  # of the rate: what fewer bits for the first images are worth
GRID_SCALES = (0.9, 1.0, 1.1, 1.2, 1.3, 1.45, 1.6, 2.0, 2.8)
LEARNING_RATES = (60_000, 50_000, 40_000, 30_000, 20_000, 15_000, 10_000, 7_000, 5_000, 3_000, 2_000, 1_000)
MOST_STEPS = 10
DIRECT_STRIPS = 24
"""On so many strips the last two grids of direct coding are compared: each takes a search of thousands of decodings."""
NumpyArray = np.ndarray[Any, Any]
W = TypeVar("W", bound=Any)


def calibrate(
    weights: W,
    x: Strips,
    direct: int = DIRECT_STRIPS,
    rates: Sequence[int] = LEARNING_RATES,
    refined: int | None = None,
) -> W:
    """The same networks with prior_bits, direct_bits and learning_rate measured on strips x.

    Args:
        direct: how many of them are coded directly at most to choose direct_bits.
        rates: those to choose the learning rate from.
        refined: on how many of them, None is all.
    """
    weights = replace(weights, prior_bits=choose_prior_bits(weights, x))
    weights = replace(weights, direct_bits=choose_direct_bits(weights, x[:direct]))
    return replace(weights, learning_rate=choose_learning_rate(weights, x[:refined], rates))


def usual_encoder(net_rate: Mapping[str, float]) -> str:
    """The encoder of the lower net rate on held-out images, which a card names: the model's usual one."""
    return min(ENCODERS, key=lambda name: net_rate[name])


def choose_prior_bits(weights: Any, x: Strips) -> int:
    """The fewest bits whose net rate is within a ten-thousandth of the best."""
    rates = {}
    for bits in PRIOR_BITS:
        limited = tuple(min(bits, b) for b in weights.direct_bits)
        rates[bits] = net_bits(_codec(replace(weights, prior_bits=bits, direct_bits=limited)), x, samples=4).mean()
    return min(bits for bits in PRIOR_BITS if rates[bits] <= min(rates.values()) * (1 + PRIOR_TOLERANCE))


def choose_direct_bits(weights: Any, x: Strips) -> tuple[int, ...]:
    """Bits of each latent on the coarse grid: log2 of scale / (geometric mean of sigma), rounded; the scale of the
    shortest code.

    A code's length is the end of a long search. So all scales are tried on the first strips only; the half that is
    better there goes on with twice as many, until one is left.
    """
    sigma = _codec(weights).posterior(x).sigma * 2.0**-VALUE_BITS
    precision = -np.log2(sigma).mean(axis=0)

    def grid(scale: float) -> tuple[int, ...]:
        return tuple(int(b) for b in np.clip(np.rint(precision + np.log2(scale)), 0, weights.prior_bits))

    grids = sorted({grid(scale) for scale in GRID_SCALES})
    codecs = {bits: DirectCodec(model_of(replace(weights, direct_bits=bits), NumpyBackend())) for bits in grids}
    lengths = dict.fromkeys(grids, 0.0)
    done = 0
    for halvings in reversed(range((len(grids) - 1).bit_length())):
        end = max(len(x) >> halvings, 1)
        for bits in grids:
            lengths[bits] += sum(codecs[bits].length(x[i : i + 1]) for i in range(done, end))
        grids = sorted(grids, key=lengths.__getitem__)[: (len(grids) + 1) // 2]
        done = end
    (best,) = grids
    return best


def choose_learning_rate(weights: Any, x: Strips, rates: Sequence[int] = LEARNING_RATES) -> int:
    """The highest rate, in units of 1e-6, at which every K up to 10 improves on the one before, for both encoders.

    Where there is none, that whose K = 10 is the best.
    """
    last = {}
    for rate in rates:
        curves = [rates_by_steps(weights, x, encoder, rate, MOST_STEPS) for encoder in ENCODERS]
        if all(map(_falls, curves)):
            return rate
        last[rate] = sum(curve[-1] for curve in curves)
    return min(last, key=lambda rate: last[rate])


def rates_by_steps(weights: Any, x: Strips, encoder: str, rate: int, steps: int) -> list[float]:
    """Mean net bits of a tile for K = 0, 1, ..., steps; the same random bits for each."""
    codec = _codec(weights)
    totals = np.zeros(steps + 1)
    for start in range(0, len(x), codec.compute_batch):
        part = x[start : start + codec.compute_batch]
        for k, state in enumerate(refinements(codec.model, part, encoder, steps, rate)):
            posterior: NormalPosterior = posterior_of(codec.model, *state)
            for seed in range(2):
                z = draw(posterior, np.random.default_rng([seed, start]))
                totals[k] += code_bits(codec, part, posterior, z).sum() / 2
    return list(totals / x.row_count)


def _falls(rates: Sequence[float]) -> bool:
    return all(after < before for before, after in pairwise(rates))


def _codec(weights: Any) -> BitsBack:
    return BitsBack(model_of(weights, NumpyBackend()), "rha", 0, weights.learning_rate)


def coding_settings(weights: ModelWeights) -> dict[str, Any]:
    """The calibrated settings, as a card has them."""
    return {
        "prior_bits": weights.prior_bits,
        "direct_bits": list(weights.direct_bits),
        "learning_rate": weights.learning_rate / 1e6,
    }
