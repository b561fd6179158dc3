"""Integer distributions: intervals, round trips, how close they are to the real ones, gradients."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roundtrip import check_round_trip, random_message

from bbcompress.ans import EmptyMessage, Message
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import (
    LIKELIHOODS,
    PRECISION,
    Bernoulli,
    DiscretisedLogistic,
    EqualMassBins,
    Likelihood,
    NormalPosterior,
    negative_log_likelihood,
    push_likelihood,
)
from bbcompress.exact.layers import ACTIVATION_LIMIT, GRADIENT_BITS
from bbcompress.exact.tables import (
    LOG2_BITS,
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    LOGIT_LIMIT,
    MAX_PRIOR_BITS,
    bin_edges,
    table,
)

TOTAL = 1 << PRECISION
checked = settings(deadline=None)  # a first call compiles
likelihoods = pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS)
sigma_table = table("softplus")

outputs = st.one_of(  # of a decoder: anything up to its clamp, its usual range, and what is special
    st.integers(-ACTIVATION_LIMIT, ACTIVATION_LIMIT),
    st.integers(-20_000, 20_000),
    st.integers(0, 256 << 10),
    st.sampled_from(
        [0]
        + [sign * v for sign in (-1, 1) for v in (ACTIVATION_LIMIT, LOGIT_LIMIT, LOGIT_LIMIT + 1)]
        + [limit + d for limit in (LOG_SCALE_MIN, LOG_SCALE_MAX) for d in (-1, 0, 1)]
    ),
)
mus = st.one_of(
    st.sampled_from([-(16 << 24), 16 << 24, 0]), st.integers(-(16 << 24), 16 << 24), st.integers(-(3 << 24), 3 << 24)
)
sigmas = st.one_of(
    st.sampled_from([1, int(sigma_table[0]), int(sigma_table[-1])]),
    st.integers(0, len(sigma_table) - 1).map(lambda index: int(sigma_table[index])),
)


def params_of(*values: Any) -> np.ndarray[Any, Any]:
    """(1, outputs) as a decoder gives them."""
    return np.concatenate([np.atleast_1d(v) for v in values]).astype(np.float64)[None]


def check_partition(starts: Any, frequencies: Any, least: int = 1) -> None:
    assert starts[0] == 0
    assert (frequencies >= least).all()
    assert (starts[1:] == starts[:-1] + frequencies[:-1]).all()
    assert starts[-1] + frequencies[-1] == TOTAL


# Intervals


@checked
@given(outputs, outputs)
def test_levels_share_the_total(first: int, second: int) -> None:
    for likelihood in LIKELIHOODS.values():
        n = likelihood.levels
        values = [first, second][: likelihood.parameters_per_pixel]
        params = params_of(*(np.full(n, value) for value in values))
        check_partition(*likelihood.intervals(params, np.arange(n, dtype=np.uint8)[None]))


def posterior(bits: int, mu: Any, sigma: Any) -> NormalPosterior:
    return NormalPosterior(EqualMassBins(bits), np.atleast_2d(mu), np.atleast_2d(sigma))


@checked
@given(st.integers(1, MAX_PRIOR_BITS), mus, sigmas)
def test_bins_share_the_total(bits: int, mu: int, sigma: int) -> None:
    n = 1 << bits
    q = posterior(bits, np.full(n, mu), np.full(n, sigma))
    check_partition(*q.intervals(np.arange(n)[None]), least=0)


def test_far_bins_have_no_frequency() -> None:
    """A floor would be drawn now and then, and such a z costs hundreds of bytes."""
    _, frequencies = posterior(8, np.full(256, 0), np.full(256, 1 << 20)).intervals(np.arange(256)[None])
    assert (frequencies[:80] == 0).all() and (frequencies[-80:] == 0).all()


# Round trips


@likelihoods
@checked
@given(st.data())
def test_likelihood_round_trip(likelihood: Likelihood, data: st.DataObject) -> None:
    n, d = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 7))
    lists = st.lists(outputs, min_size=n * d, max_size=n * d)
    columns = [np.reshape(data.draw(lists), (n, d)) for _ in range(likelihood.parameters_per_pixel)]
    params = np.concatenate(columns, axis=1).astype(np.float64)
    level = st.integers(0, likelihood.levels - 1)
    x = np.array(data.draw(st.lists(level, min_size=n * d, max_size=n * d)), np.uint8).reshape(n, d)
    message = random_message(data.draw(st.integers(1, 5)), words=40, seed=data.draw(st.integers(0, 99)))
    check_round_trip(
        message,
        lambda message, x: push_likelihood(message, likelihood, params, x),
        lambda message: likelihood.pop(message, params),
        x,
    )


@checked
@given(st.data())
def test_posterior_and_prior_round_trip(data: st.DataObject) -> None:
    bins = EqualMassBins(data.draw(st.integers(1, MAX_PRIOR_BITS)))
    n, latents = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5))
    size = n * latents

    def drawn(values: st.SearchStrategy[int]) -> Any:
        return np.array(data.draw(st.lists(values, min_size=size, max_size=size))).reshape(n, latents)

    q = NormalPosterior(bins, drawn(mus), drawn(sigmas))
    message = random_message(data.draw(st.integers(1, 5)), words=40, seed=data.draw(st.integers(0, 99)))
    z = q.pop(message.copy())  # only what has been popped is pushed
    check_round_trip(message, q.push, NormalPosterior.pop.__get__(q), z, certain=True)
    check_round_trip(message, bins.push_prior, lambda message: bins.pop_prior(message, n, latents), z)


@likelihoods
def test_empty_messages_raise_and_stay(likelihood: Likelihood) -> None:
    message = Message.empty(2)
    before = message.copy()
    params = np.zeros((3, 30 * likelihood.parameters_per_pixel))
    with pytest.raises(EmptyMessage):
        likelihood.pop(message, params)
    with pytest.raises(EmptyMessage):
        posterior(10, np.zeros(20, np.int64), np.full(20, 1 << 24)).pop(message)
    with pytest.raises(EmptyMessage):
        EqualMassBins(10).pop_prior(message, 1, 20)
    assert message == before


def test_rows_of_a_posterior() -> None:
    q = posterior(8, [[1], [2], [3]], [[4], [5], [6]])
    assert q[1:].mu.tolist() == [[2], [3]]
    assert q[1:].sigma.tolist() == [[5], [6]]


# Against the real distributions


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@pytest.mark.parametrize("logit", [-40.0, -15.9, -9.0, -1.5, -0.001, 0.0, 0.3, 2.0, 8.0, 14.0, 16.0, 40.0])
def test_bernoulli_is_close(logit: float) -> None:
    units = round(logit * 1024)
    _, frequencies = Bernoulli().intervals(params_of([units, units]), np.array([[0, 1]], np.uint8))
    p = logistic(units / 1024)
    np.testing.assert_allclose(frequencies / TOTAL, [1 - p, p], atol=1.01 * 2**-24 + 1.2e-7 * (abs(logit) > 16))


@pytest.mark.parametrize("mean", [-300.0, -0.5, 0.0, 17.3, 127.5, 254.9, 255.0, 400.0])
@pytest.mark.parametrize("log_scale", [-9.0, -1.5, -0.4, 0.0, 1.7, 3.0, 5.5, 7.0, 11.0])
def test_discretised_logistic_is_close(mean: float, log_scale: float) -> None:
    mean_units, u = round(mean * 1024), round(log_scale * 1024)
    params = params_of(np.full(256, mean_units), np.full(256, u))
    starts, frequencies = DiscretisedLogistic().intervals(params, np.arange(256, dtype=np.uint8)[None])
    scale = math.exp(min(max(u / 1024, -1.5), 7.0))
    edges = [logistic((k - 0.5 - mean_units / 1024) / scale) for k in range(1, 256)]
    cdf = np.array([0.0, *edges, 1.0])
    # the logit's grid, and a frequency of 1 for each of 256 levels
    np.testing.assert_allclose(starts / TOTAL, cdf[:-1], atol=2**-10 / 4 + 2**-15)
    p, q = np.diff(cdf), frequencies / TOTAL
    likely = p > 1e-9
    loss = float(np.sum(p[likely] * np.log2(p[likely] / q[likely])))
    # a level's mass is a whole number of the logit's steps, about 2^10 / scale of them
    assert abs(loss) < 1e-4 + 0.13 * (scale / 1024) ** 2


@pytest.mark.parametrize("bits", [1, 5, 8, 12])
@pytest.mark.parametrize("mu", [-16.0, -3.1, -0.7, 0.0, 1.9, 16.0])
@pytest.mark.parametrize("index", [0, 5000, 11_000, -1])
def test_normal_posterior_is_close(bits: int, mu: float, index: int) -> None:
    n, sigma, mean = 1 << bits, int(sigma_table[index]), round(mu * (1 << 24))
    q = posterior(bits, np.full(n, mean), np.full(n, sigma))
    starts, _ = q.intervals(np.arange(n)[None])
    normal = NormalDist(mean / (1 << 24), sigma / (1 << 24))
    cdf = [0.0] + [normal.cdf(edge / (1 << 24)) for edge in bin_edges(bits).tolist()]
    np.testing.assert_allclose(starts / TOTAL, cdf, atol=n / TOTAL + 2e-7)


@likelihoods
def test_length_of_images(likelihood: Likelihood) -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, likelihood.levels, (5, 40)).astype(np.uint8)
    params = random.integers(0, 3000, (5, 40 * likelihood.parameters_per_pixel)).astype(float)
    lengths = negative_log_likelihood(likelihood, params, x)
    assert lengths.shape == (5,)
    assert lengths.dtype == np.int64
    for row in range(5):
        _, frequencies = likelihood.intervals(params[row : row + 1], x[row : row + 1])
        bits = -np.log2(frequencies / TOTAL).sum()
        assert abs(lengths[row] / (1 << LOG2_BITS) - bits) < 40 * 3e-8


# Gradients


def gradient_of(likelihood: Likelihood, params: Any, x: Any) -> Any:
    before = params.copy()
    gradient = likelihood.gradient(params, np.array(x, np.float64), NumpyBackend())
    assert np.array_equal(params, before)
    assert gradient.shape == params.shape
    assert (gradient == np.floor(gradient)).all()
    return gradient * 2.0**-GRADIENT_BITS


def derivative(function: Any, x: float, step: float = 1e-5) -> float:
    return float(function(x + step) - function(x - step)) / (2 * step)


@pytest.mark.parametrize("logit", [-15.0, -3.0, -0.25, 0.0, 1.0, 7.0, 15.5])
def test_bernoulli_gradient(logit: float) -> None:
    units = round(logit * 1024)
    gradient = gradient_of(Bernoulli(), params_of([units, units]), [[0, 1]])[0]
    expected = [derivative(softplus, units / 1024), derivative(lambda v: softplus(-v), units / 1024)]
    np.testing.assert_allclose(gradient, expected, atol=2e-6)


def test_bernoulli_gradient_beyond_the_table() -> None:
    units = 40 << 10
    params = params_of([units, units, -units, -units])
    np.testing.assert_allclose(gradient_of(Bernoulli(), params, [[0, 1, 0, 1]])[0], [1, 0, 0, -1], atol=2e-6)


def logistic_length(level: int, o: float, u: float) -> float:
    """-log p of a level by the decoder's outputs o (the mean is 256 o) and u, the logarithm of the scale."""
    scale = math.exp(min(max(u, -1.5), 7.0))
    a, b = (level - 0.5 - 256 * o) / scale, (level + 0.5 - 256 * o) / scale
    if level == 0:
        return softplus(-b)
    if level == 255:
        return softplus(a)
    return softplus(-b) + softplus(a) - math.log(-math.expm1(a - b))  # S(b) - S(a) without cancellation


@pytest.mark.parametrize("level", [0, 1, 20, 128, 254, 255])
@pytest.mark.parametrize("mean", [-20.0, 0.0, 19.6, 130.0, 255.0, 300.0])
@pytest.mark.parametrize("log_scale", [-3.0, -1.5, -1.0, 0.0, 2.0, 3.3, 6.0, 7.0, 8.0])
def test_logistic_gradient(level: int, mean: float, log_scale: float) -> None:
    mean_units, u_units = round(mean * 1024), round(log_scale * 1024)
    o, u = mean_units * 2.0**-18, u_units / 1024
    by_mean, by_scale = gradient_of(DiscretisedLogistic(), params_of([mean_units], [u_units]), [[level]])[0]
    expected = derivative(lambda v: logistic_length(level, v, u), o, 1e-7)
    width = 256 * math.exp(-min(max(u, -1.5), 7.0))  # d(logit) by do; the logit's grid is 2^-10
    truncation = 2**-18 * 256 / width  # 18 bits of exp(-u) are used
    assert abs(by_mean - expected) < 2**-10 * width / 2 + 1e-4 + truncation * abs(expected)
    if log_scale in (-1.5, 7.0):  # the kink itself: the side on which it is free
        inside = u + math.copysign(1e-4, -log_scale)
        expected = derivative(lambda v: logistic_length(level, o, v), inside)
    else:
        expected = derivative(lambda v: logistic_length(level, o, v), u)
    assert abs(by_scale - expected) < 3e-3 + 3e-4 * abs(expected)


def test_clamped_log_scales_get_no_gradient() -> None:
    us = [LOG_SCALE_MIN - 1, LOG_SCALE_MIN, LOG_SCALE_MAX, LOG_SCALE_MAX + 1, -ACTIVATION_LIMIT, ACTIVATION_LIMIT]
    params = params_of(np.full(6, 100 << 10), us)
    by_scale = gradient_of(DiscretisedLogistic(), params, [[90] * 6])[0, 6:]
    assert (by_scale != 0).tolist() == [False, True, True, False, False, False]


def test_gradients_of_extreme_outputs_do_not_overflow() -> None:
    extremes = [-ACTIVATION_LIMIT, ACTIVATION_LIMIT]
    means, us, levels = np.meshgrid(extremes, [LOG_SCALE_MIN, 0, LOG_SCALE_MAX], [0, 1, 254, 255])
    params = params_of(means.ravel(), us.ravel())
    gradient = gradient_of(DiscretisedLogistic(), params, levels.reshape(1, -1))[0]
    for i, (mean, u, level) in enumerate(zip(means.ravel(), us.ravel(), levels.ravel(), strict=True)):
        toward = -1 if mean < level << 10 else 1  # the mean has to move to the level
        edge = (level == 0 and mean < 0) or (level == 255 and mean > 0)
        expected = 0 if edge else toward * 256 * math.exp(-u / 1024)
        assert abs(gradient[i] - expected) < 1e-3 * abs(expected) + 0.3
