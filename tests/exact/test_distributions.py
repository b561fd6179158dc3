"""Integer distributions: intervals, round trips, how close they are to the real ones, gradients."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from cases_for_tests import one_test_of
from hypothesis import given
from hypothesis import strategies as st
from roundtrip import check_round_trip, random_message
from torch_for_tests import BACKENDS, needs_torch, torch

from bbcompress.coder.ans import EmptyMessage, Message
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import (
    LIKELIHOODS,
    PRECISION,
    EqualMassBins,
    ExactBernoulli,
    ExactChannelLogistic,
    ExactDiscretisedLogistic,
    ExactLikelihood,
    NormalPosterior,
    negative_log_likelihood,
)
from bbcompress.exact.layers import ACTIVATION_LIMIT, GRADIENT_BITS
from bbcompress.exact.tables import (
    LOG2_BITS,
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    LOGIT_LIMIT,
    MAX_PRIOR_BITS,
    bin_edges,
    code_length,
    table,
)

TOTAL = 1 << PRECISION
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


@given(outputs, outputs)
def test_levels_share_the_total(first: int, second: int) -> None:
    for likelihood in LIKELIHOODS.values():
        n = likelihood.levels
        values = [first, second][: likelihood.parameters_per_pixel]
        params = params_of(*(np.full(n, value) for value in values))
        check_partition(*likelihood.intervals(params, np.arange(n, dtype=np.uint8)[None]))


def posterior(bits: int, mu: Any, sigma: Any) -> NormalPosterior:
    return NormalPosterior(EqualMassBins(bits), np.atleast_2d(mu), np.atleast_2d(sigma))


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
@given(st.data())
def test_likelihood_round_trip(likelihood: ExactLikelihood, data: st.DataObject) -> None:
    n, d = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 7))
    lists = st.lists(outputs, min_size=n * d, max_size=n * d)
    columns = [np.reshape(data.draw(lists), (n, d)) for _ in range(likelihood.parameters_per_pixel)]
    params = np.concatenate(columns, axis=1).astype(np.float64)
    level = st.integers(0, likelihood.levels - 1)
    x = np.array(data.draw(st.lists(level, min_size=n * d, max_size=n * d)), np.uint8).reshape(n, d)
    message = random_message(data.draw(st.integers(1, 5)), words=40, seed=data.draw(st.integers(0, 99)))
    check_round_trip(
        message,
        lambda message, x: message.push(*likelihood.intervals(params, x), PRECISION),
        lambda message: likelihood.pop(message, params),
        x,
    )


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
    prior = EqualMassBins(bins.bits, latents)
    check_round_trip(message, prior.push, lambda message: prior.pop(message, n), z)


@likelihoods
def test_empty_messages_raise_and_stay(likelihood: ExactLikelihood) -> None:
    message = Message.empty(2)
    before = message.copy()
    params = np.zeros((3, 30 * likelihood.parameters_per_pixel))
    with pytest.raises(EmptyMessage):
        likelihood.pop(message, params)
    with pytest.raises(EmptyMessage):
        posterior(10, np.zeros(20, np.int64), np.full(20, 1 << 24)).pop(message)
    with pytest.raises(EmptyMessage):
        EqualMassBins(10, 20).pop(message, 1)
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


@one_test_of("logit", [-40.0, -15.9, -9.0, -1.5, -0.001, 0.0, 0.3, 2.0, 8.0, 14.0, 16.0, 40.0])
def test_bernoulli_is_close(logit: float) -> None:
    units = round(logit * 1024)
    _, frequencies = ExactBernoulli().intervals(params_of([units, units]), np.array([[0, 1]], np.uint8))
    p = logistic(units / 1024)
    np.testing.assert_allclose(frequencies / TOTAL, [1 - p, p], atol=1.01 * 2**-24 + 1.2e-7 * (abs(logit) > 16))


@one_test_of("mean", [-300.0, -0.5, 0.0, 17.3, 127.5, 254.9, 255.0, 400.0])
@one_test_of("log_scale", [-9.0, -1.5, -0.4, 0.0, 1.7, 3.0, 5.5, 7.0, 11.0])
def test_discretised_logistic_is_close(mean: float, log_scale: float) -> None:
    mean_units, u = round(mean * 1024), round(log_scale * 1024)
    params = params_of(np.full(256, mean_units), np.full(256, u))
    starts, frequencies = ExactDiscretisedLogistic().intervals(params, np.arange(256, dtype=np.uint8)[None])
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


@one_test_of("bits", [1, 5, 8, 12])
@one_test_of("mu", [-16.0, -3.1, -0.7, 0.0, 1.9, 16.0])
@one_test_of("index", [0, 5000, 11_000, -1])
def test_normal_posterior_is_close(bits: int, mu: float, index: int) -> None:
    n, sigma, mean = 1 << bits, int(sigma_table[index]), round(mu * (1 << 24))
    q = posterior(bits, np.full(n, mean), np.full(n, sigma))
    starts, _ = q.intervals(np.arange(n)[None])
    normal = NormalDist(mean / (1 << 24), sigma / (1 << 24))
    cdf = [0.0] + [normal.cdf(edge / (1 << 24)) for edge in bin_edges(bits).tolist()]
    np.testing.assert_allclose(starts / TOTAL, cdf, atol=n / TOTAL + 2e-7)


@likelihoods
def test_length_of_images(likelihood: ExactLikelihood) -> None:
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


def gradient_of(likelihood: ExactLikelihood, params: Any, x: Any) -> Any:
    before = params.copy()
    gradient = likelihood.gradient(params, np.array(x, np.float64), NumpyBackend())
    assert np.array_equal(params, before)
    assert gradient.shape == params.shape
    assert (gradient == np.floor(gradient)).all()
    return gradient * 2.0**-GRADIENT_BITS


def derivative(function: Any, x: float, step: float = 1e-5) -> float:
    return float(function(x + step) - function(x - step)) / (2 * step)


@one_test_of("logit", [-15.0, -3.0, -0.25, 0.0, 1.0, 7.0, 15.5])
def test_bernoulli_gradient(logit: float) -> None:
    units = round(logit * 1024)
    gradient = gradient_of(ExactBernoulli(), params_of([units, units]), [[0, 1]])[0]
    expected = [derivative(softplus, units / 1024), derivative(lambda v: softplus(-v), units / 1024)]
    np.testing.assert_allclose(gradient, expected, atol=2e-6)


def test_bernoulli_gradient_beyond_the_table() -> None:
    units = 40 << 10
    params = params_of([units, units, -units, -units])
    np.testing.assert_allclose(gradient_of(ExactBernoulli(), params, [[0, 1, 0, 1]])[0], [1, 0, 0, -1], atol=2e-6)


def logistic_length(level: int, o: float, u: float) -> float:
    """-log p of a level by the decoder's outputs o (the mean is 256 o) and u, the logarithm of the scale."""
    scale = math.exp(min(max(u, -1.5), 7.0))
    a, b = (level - 0.5 - 256 * o) / scale, (level + 0.5 - 256 * o) / scale
    if level == 0:
        return softplus(-b)
    if level == 255:
        return softplus(a)
    return softplus(-b) + softplus(a) - math.log(-math.expm1(a - b))  # S(b) - S(a) without cancellation


def logistic_derivatives(level: int, o: float, u: float) -> tuple[float, float]:
    """Of -log p by o and by u; at an end of u's range, the derivative of the side on which it is free."""
    inside = u + math.copysign(1e-4, -u) if u in (-1.5, 7.0) else u
    by_mean = derivative(lambda v: logistic_length(level, v, u), o, 1e-7)
    return by_mean, derivative(lambda v: logistic_length(level, o, v), inside)


def test_logistic_gradient() -> None:
    levels, means, log_scales = (
        grid.ravel()
        for grid in np.meshgrid(
            [0, 1, 20, 128, 254, 255],
            [-20.0, 0.0, 19.6, 130.0, 255.0, 300.0],
            [-3.0, -1.5, -1.0, 0.0, 2.0, 3.3, 6.0, 7.0, 8.0],
        )
    )
    mean_units, u_units = np.rint(means * 1024), np.rint(log_scales * 1024)
    o, u = mean_units * 2.0**-18, u_units / 1024
    gradient = gradient_of(ExactDiscretisedLogistic(), params_of(mean_units, u_units), [levels])[0]
    found = gradient.reshape(2, -1).T
    expected = np.array([logistic_derivatives(*case) for case in zip(levels.tolist(), o, u, strict=True)])
    width = 256 * np.exp(-np.clip(u, -1.5, 7.0))  # d(logit) by do; the logit's grid is 2^-10
    truncation = 2**-18 * 256 / width  # 18 bits of exp(-u) are used
    allowed = np.stack([2**-10 * width / 2 + 1e-4, np.full(len(u), 3e-3)], axis=1)
    allowed += np.stack([truncation, np.full(len(u), 3e-4)], axis=1) * np.abs(expected)
    wrong = np.abs(found - expected) >= allowed
    assert not wrong.any(), np.stack([levels, means, log_scales], axis=1)[wrong.any(axis=1)]


def test_clamped_log_scales_get_no_gradient() -> None:
    us = [LOG_SCALE_MIN - 1, LOG_SCALE_MIN, LOG_SCALE_MAX, LOG_SCALE_MAX + 1, -ACTIVATION_LIMIT, ACTIVATION_LIMIT]
    params = params_of(np.full(6, 100 << 10), us)
    by_scale = gradient_of(ExactDiscretisedLogistic(), params, [[90] * 6])[0, 6:]
    assert (by_scale != 0).tolist() == [False, True, True, False, False, False]


def test_gradients_of_extreme_outputs_do_not_overflow() -> None:
    extremes = [-ACTIVATION_LIMIT, ACTIVATION_LIMIT]
    means, us, levels = np.meshgrid(extremes, [LOG_SCALE_MIN, 0, LOG_SCALE_MAX], [0, 1, 254, 255])
    params = params_of(means.ravel(), us.ravel())
    gradient = gradient_of(ExactDiscretisedLogistic(), params, levels.reshape(1, -1))[0]
    for i, (mean, u, level) in enumerate(zip(means.ravel(), us.ravel(), levels.ravel(), strict=True)):
        toward = -1 if mean < level << 10 else 1  # the mean has to move to the level
        edge = (level == 0 and mean < 0) or (level == 255 and mean > 0)
        expected = 0 if edge else toward * 256 * math.exp(-u / 1024)
        assert abs(gradient[i] - expected) < 1e-3 * abs(expected) + 0.3


# A pixel's channels

CHANNELS = ExactChannelLogistic()
coefficients = st.one_of(outputs, st.integers(-2 << 12, 2 << 12))
pixel_params = st.tuples(*[outputs] * 6, *[coefficients] * 3)


def moderate_pixels(n: int, seed: int = 0) -> tuple[Any, Any]:
    """Parameters and levels of pixels as a trained model has them."""
    random = np.random.default_rng(seed)
    means = random.integers(0, 256 << 10, (n, 3))
    params = np.concatenate(
        [means, random.integers(-1 << 10, 5 << 10, (n, 3)), random.integers(-1 << 12, 1 << 12, (n, 3))], axis=1
    )
    x = np.clip((means >> 10) + random.integers(-30, 31, (n, 3)), 0, 255)
    return params, x


def exact_channel_means(params: Any, x: Any) -> list[int]:
    """The three means of one pixel in Python integers."""
    m, c = [int(v) for v in params[:3]], [int(v) for v in params[6:]]
    red, green = (int(x[i]) * 1024 - m[i] for i in range(2))
    means = [m[0], m[1] + (c[0] * red + 2048) // 4096, m[2] + (c[1] * red + c[2] * green + 2048) // 4096]
    return [min(max(mean, -ACTIVATION_LIMIT), ACTIVATION_LIMIT) for mean in means]


@given(pixel_params, st.tuples(*[st.integers(0, 255)] * 3))
def test_channels_are_logistics_about_their_means(params: tuple[int, ...], x: tuple[int, ...]) -> None:
    """All 256 levels of each channel, which share the total."""
    means = exact_channel_means(params, x)
    for channel in range(3):
        rows = np.tile(x, (256, 1))
        rows[:, channel] = np.arange(256)
        starts, frequencies = CHANNELS.intervals(np.tile(params, (256, 1)), rows, channel)
        check_partition(starts, frequencies)
        logistic_params = params_of(np.full(256, means[channel]), np.full(256, params[3 + channel]))
        expected = ExactDiscretisedLogistic().intervals(logistic_params, np.arange(256)[None])
        assert np.array_equal(starts, expected[0])
        assert np.array_equal(frequencies, expected[1])


@given(st.data())
def test_channel_round_trip(data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 4))
    dtype = data.draw(st.sampled_from([np.float64, np.int64, np.int32]))
    params = np.array(data.draw(st.lists(pixel_params, min_size=n, max_size=n)), dtype).reshape(n, 9)
    level = st.integers(0, 255)
    x = np.array(data.draw(st.lists(level, min_size=3 * n, max_size=3 * n)), np.uint8).reshape(n, 3)
    message = random_message(data.draw(st.integers(1, 5)), words=40, seed=data.draw(st.integers(0, 99)))
    check_round_trip(
        message,
        lambda message, x: CHANNELS.push(message, params, x),
        lambda message: CHANNELS.pop(message, params),
        x,
    )
    assert CHANNELS.pop(message, params).dtype == np.uint8


@one_test_of("words", range(0, 41, 4))
def test_channels_of_too_short_a_message(words: int) -> None:
    """Whichever channel runs out, the message is as it was."""
    params, _ = moderate_pixels(100)
    message = random_message(2, words=words)
    before = message.copy()
    with pytest.raises(EmptyMessage):
        CHANNELS.pop(message, params)
    assert message == before


def test_lengths_are_what_a_push_adds() -> None:
    params, x = moderate_pixels(2000)
    message = random_message(4, words=10)
    before = message.copy()
    CHANNELS.push(message, params, x)
    lengths = CHANNELS.lengths(params, x)
    assert lengths.shape == (2000,)
    assert lengths.dtype == np.int64
    added = message.bits - before.bits + np.log2(message.heads).sum() - np.log2(before.heads).sum()
    assert abs(lengths.sum() / (1 << LOG2_BITS) - added) < 0.5
    parts = [code_length(CHANNELS.intervals(params, x, channel)[1], PRECISION) for channel in range(3)]
    assert np.array_equal(lengths, sum(parts))
    assert np.array_equal(CHANNELS.lengths(params[5:9], x[5:9]), lengths[5:9])


def test_channel_out_bits() -> None:
    assert CHANNELS.out_bits().tolist() == [18, 18, 18, 10, 10, 10, 12, 12, 12]


def channel_lengths(o: torch.Tensor, u: torch.Tensor, c: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """-log p of pixels (P, 3) in nats, by real numbers."""
    m = 256 * o
    red, green, _ = (x - m).unbind(1)
    shift = torch.stack([torch.zeros_like(red), c[:, 0] * red, c[:, 1] * red + c[:, 2] * green], 1)
    centred = x - m - shift
    inverse = torch.exp(-u.clamp(-1.5, 7.0))
    upper = torch.nn.functional.softplus(-(centred + 0.5) * inverse)
    lower = torch.nn.functional.softplus((centred - 0.5) * inverse)
    width = torch.log(-torch.expm1(-inverse))
    above, below = x > 0, x < 255
    return torch.where(below, upper, 0.0) + torch.where(above, lower, 0.0) - torch.where(above & below, width, 0.0)


@needs_torch
def test_channel_gradient_is_that_of_torch() -> None:
    params, x = moderate_pixels(3000)
    before = params.copy()
    gradient = CHANNELS.gradient(params.astype(float), x.astype(float), NumpyBackend())
    assert gradient.dtype == np.float64
    assert np.array_equal(gradient, np.floor(gradient))
    assert np.array_equal(params, before)
    o, u, c = (
        torch.from_numpy(params[:, 3 * i : 3 * i + 3] * 2.0**-bits).requires_grad_()
        for i, bits in enumerate((18, 10, 12))
    )
    channel_lengths(o, u, c, torch.from_numpy(x).double()).sum().backward()  # type: ignore[no-untyped-call]
    assert o.grad is not None and u.grad is not None and c.grad is not None
    # The tables' grid of logits is 2^-10, a rounded mean's 2^-10 levels: d(-log p)/dm is off by what that moves it
    inverse = np.exp(-params[:, 3:6] / 1024)
    by_mean = 256 * inverse * (2.0**-10 + 2.0**-11 * inverse)
    residual = np.abs(x - params[:, :3] / 1024)
    coefficient = np.abs(params[:, 6:]) / 4096
    tolerance = np.empty((len(x), 9))
    tolerance[:, 0] = by_mean[:, 0] + coefficient[:, 0] * by_mean[:, 1] + coefficient[:, 1] * by_mean[:, 2]
    tolerance[:, 1] = by_mean[:, 1] + coefficient[:, 2] * by_mean[:, 2]
    tolerance[:, 2] = by_mean[:, 2]
    tolerance[:, 3:6] = 3e-3 * (1 + residual.max(axis=1, keepdims=True) * inverse)
    tolerance[:, 6] = by_mean[:, 1] * residual[:, 0] / 256
    tolerance[:, 7] = by_mean[:, 2] * residual[:, 0] / 256
    tolerance[:, 8] = by_mean[:, 2] * residual[:, 1] / 256
    expected = np.concatenate([o.grad.numpy(), u.grad.numpy(), c.grad.numpy()], axis=1)
    errors = np.abs(gradient * 2.0**-GRADIENT_BITS - expected)
    assert (errors <= tolerance + 1e-4 + 1e-4 * np.abs(expected)).all()
    assert (np.median(np.abs(expected), axis=0) > 20 * np.median(tolerance, axis=0)).all()


def test_channel_gradient_of_the_first_mean_alone() -> None:
    """Without coefficients, three of `ExactDiscretisedLogistic`."""
    params, x = moderate_pixels(200)
    params[:, 6:] = 0
    gradient = CHANNELS.gradient(params, x, NumpyBackend())
    logistic = ExactDiscretisedLogistic().gradient(params[:, :6].astype(float), x.astype(float), NumpyBackend())
    assert np.array_equal(gradient[:, :6], logistic)


@given(pixel_params, st.tuples(*[st.integers(0, 255)] * 3))
def test_channel_gradient_does_not_overflow(params: tuple[int, ...], x: tuple[int, ...]) -> None:
    """The chain rule in Python integers, from the derivatives of single logistics; the same on torch tensors."""
    means = exact_channel_means(params, x)
    logistic = ExactDiscretisedLogistic().gradient(params_of(means, params[3:6]), np.array([x], float), NumpyBackend())
    g_red, g_green, g_blue, *by_log_scale = (int(v) for v in logistic[0])
    m, (c0, c1, c2) = params[:3], params[6:]
    red, green = x[0] * 1024 - m[0], x[1] * 1024 - m[1]
    expected = [
        g_red - (c0 * g_green + c1 * g_blue) // 4096,
        g_green - c2 * g_blue // 4096,
        g_blue,
        *by_log_scale,
        g_green * red // (1 << 18),
        g_blue * red // (1 << 18),
        g_blue * green // (1 << 18),
    ]
    for backend in BACKENDS.values():
        rows, levels = (backend.asarray(np.array([values], np.float64)) for values in (params, x))
        gradient = backend.numpy(CHANNELS.gradient(rows, levels, backend))
        assert gradient.dtype == np.float64
        assert gradient[0].astype(object).tolist() == expected
