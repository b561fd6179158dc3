"""Distributions of single sub-pixels: intervals, round trips from any lane, against the real mixture, gradients."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roundtrip import random_message

from bbcompress.coder import kernel_cache
from bbcompress.coder.ans import EmptyMessage, Message
from bbcompress.exact import mixture_kernels
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import PRECISION, ExactBernoulli
from bbcompress.exact.layers import ACTIVATION_LIMIT, GRADIENT_BITS, GRADIENT_LIMIT
from bbcompress.exact.mixture import MAX_COMPONENTS, LocalBernoulli, LocalLikelihood, LogisticMixture
from bbcompress.exact.tables import LOGIT_LIMIT, table

TOTAL = 1 << PRECISION
LEVELS = np.arange(256)
KERNELS = ["mixture_intervals", "pop_mixture", "mixture_gradient"]
LIKELIHOODS: list[LocalLikelihood] = [LogisticMixture(1), LogisticMixture(5), LocalBernoulli()]
likelihoods = pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=["mixture1", "mixture5", "bernoulli"])

outputs = st.one_of(  # of a network: anything up to its clamp, its usual range, and what is special
    st.integers(-ACTIVATION_LIMIT, ACTIVATION_LIMIT),
    st.integers(-12_000, 12_000),
    st.sampled_from([0, -ACTIVATION_LIMIT, ACTIVATION_LIMIT, -1, 10_239, 10_240, 10_241, -LOGIT_LIMIT, LOGIT_LIMIT]),
)


def usual(random: np.random.Generator, n: int, components: int) -> Any:
    """(n, outputs) as a network may give them, point masses and clamped scales among them."""
    logits = random.normal(0, 1500, (n, components + 2))
    offsets = random.normal(0, 64, (n, components)) * random.choice([1, 10, 60], (n, 1))
    log_scales = random.uniform(-500, 11_000, (n, components))
    return np.round(np.concatenate([logits, offsets, log_scales], axis=1))


def likely_params(likelihood: LocalLikelihood, random: np.random.Generator, n: int) -> Any:
    if isinstance(likelihood, LogisticMixture):
        return usual(random, n, likelihood.components)
    return np.round(random.normal(0, 3000, (n, 1)))


def frequencies_of(row: Any, reference: int) -> tuple[Any, Any]:
    """Starts and frequencies of all levels under one row of parameters."""
    mixture = LogisticMixture((len(row) - 2) // 3)
    return mixture.intervals(np.tile(np.asarray(row, float), (256, 1)), np.full(256, reference), LEVELS)


# Intervals


def specified_cdf(row: list[int], reference: int) -> list[int]:
    """The cumulative frequencies in Python's integers, which cannot overflow."""
    components = (len(row) - 2) // 3
    exp, sigmoid = table("exp_negative").tolist(), table("sigmoid").tolist()
    logits = row[: components + 2]
    exps = [exp[min(max(logits) - a, 16 << 10)] for a in logits]
    weights = [e * ((1 << 24) - 256) // sum(exps) for e in exps]
    cdf = [0]
    for k in range(1, 256):
        total = 0
        for m in range(components):
            mean = 64 * reference + row[components + 2 + m]
            t = min(max(row[2 * components + 2 + m], 0), 10 << 10)
            logit = ((64 * k - 32 - mean) * exp[t]) >> 11
            logit = min(max(logit, -16 << 20), (16 << 20) - 1)
            low, high = sigmoid[(logit >> 10) + (16 << 10)], sigmoid[(logit >> 10) + (16 << 10) + 1]
            total += weights[m] * (low + ((high - low) * (logit & 1023) >> 10))
        cdf.append(k + weights[components] + (total >> 30))
    return [*cdf, 1 << 24]


@given(st.integers(1, 3).flatmap(lambda m: st.lists(outputs, min_size=3 * m + 2, max_size=3 * m + 2)), st.data())
def test_levels_share_the_total_as_specified(row: list[int], data: st.DataObject) -> None:
    reference = data.draw(st.integers(0, 255))
    starts, frequencies = frequencies_of(row, reference)
    assert starts.dtype == frequencies.dtype == np.int64
    assert (frequencies >= 1).all()
    assert [*starts.tolist(), starts[-1] + frequencies[-1]] == specified_cdf(row, reference)
    assert (starts[1:] == starts[:-1] + frequencies[:-1]).all()


@pytest.mark.parametrize("components", [1, 5, MAX_COMPONENTS])
def test_random_mixtures_are_as_specified(components: int) -> None:
    random = np.random.default_rng(components)
    for row in usual(random, 5, components):
        reference = int(random.integers(256))
        starts, _ = frequencies_of(row, reference)
        assert starts.tolist() == specified_cdf([int(v) for v in row], reference)[:-1]


def test_components_without_a_weight() -> None:
    """Sixteen nats below two point masses nothing is left of 2^24."""
    low = -ACTIVATION_LIMIT
    starts, frequencies = frequencies_of([low, low, 0, 0, 64, 64, 0, 0], 100)
    assert (frequencies[1:-1] == 1).all()
    assert abs(int(frequencies[0]) - int(frequencies[-1])) <= 4
    message = random_message(2)
    params = np.tile(np.array([low, low, 0, 0, 64, 64, 0, 0], float), (30, 1))
    x = LogisticMixture(2).pop(message, 0, params, np.full(30, 100))
    assert set(x.tolist()) == {0, 255}
    message.push(starts[x], frequencies[x], PRECISION)
    assert message == random_message(2)


GOLDEN_PARAMS = np.array(
    [
        [512, -300, -4096, -5000, -64, 1000, 3000, 5500],
        [0, 0, -9000, -9000, 0, 0, -1, 10240],
        [-(1 << 24), 1 << 24, 0, 0, 1 << 24, -(1 << 24), 1 << 24, -(1 << 24)],
        [100, 2000, 1500, -200, 700, -13, 4000, 4700],
    ],
    np.float64,
)
GOLDEN_REFERENCES = np.array([100, 7, 128, 250])
GOLDEN = [  # levels, starts, frequencies: never to change
    ([98, 7, 0, 255], [1270768, 4193362, 0, 12785948], [2642085, 8390246, 16776954, 3991268]),
    ([0, 8, 255, 251], [0, 12583608, 16777208, 10410592], [126942, 3048, 8, 695600]),
]
GOLDEN_GRADIENT = [
    [-315098, 303882, 7934, 3282, 70938783, 158716, -39602, -24398],
    [-523987, 523827, 80, 80, 0, 0, 0, 381],
    [0, 0, 0, 0, 0, 242, 0, 0],
    [-272706, 139351, 341062, -207707, -231323, -7116242, 23268, -522946],
]


@pytest.mark.parametrize(("x", "starts", "frequencies"), GOLDEN)
def test_golden_intervals(x: list[int], starts: list[int], frequencies: list[int]) -> None:
    found = LogisticMixture(2).intervals(GOLDEN_PARAMS, GOLDEN_REFERENCES, np.array(x))
    assert [array.tolist() for array in found] == [starts, frequencies]


def test_golden_gradient() -> None:
    gradient = LogisticMixture(2).gradient(GOLDEN_PARAMS, GOLDEN_REFERENCES, np.array(GOLDEN[0][0]))
    assert gradient.tolist() == GOLDEN_GRADIENT


def test_bernoulli_is_that_of_whole_images() -> None:
    random = np.random.default_rng(0)
    params, x = random.integers(-20_000, 20_000, (50, 1)).astype(float), random.integers(0, 2, 50)
    ours, theirs = LocalBernoulli(), ExactBernoulli()
    references = np.zeros(50, np.int64)
    assert np.array_equal(ours.intervals(params, references, x), theirs.intervals(params, x[:, None]))
    gradient = theirs.gradient(params, x[:, None].astype(float), NumpyBackend())
    assert np.array_equal(ours.gradient(params, references, x), gradient)
    assert ours.out_bits().tolist() == [10]
    one, other = Message.empty(3, [1, 2, 3]), Message.empty(3, [1, 2, 3])
    for message, likelihood_x in ((one, x), (other, 1 - x)):
        message.push(*ours.intervals(params, references, likelihood_x), PRECISION)
    assert np.array_equal(ours.pop(one, 0, params, references), x)
    assert np.array_equal(theirs.pop(other, params)[:, 0], 1 - x)


# Round trips


@likelihoods
@given(st.data())
def test_pops_from_any_lane_undo_one_push(likelihood: LocalLikelihood, data: st.DataObject) -> None:
    n, lanes = data.draw(st.integers(0, 8)), data.draw(st.integers(1, 5))
    size = n * likelihood.outputs
    params = np.reshape(data.draw(st.lists(outputs, min_size=size, max_size=size)), (n, likelihood.outputs))
    level = st.integers(0, likelihood.levels - 1)
    references, x = (np.array(data.draw(st.lists(level, min_size=n, max_size=n)), np.int64) for _ in range(2))
    before = random_message(lanes, words=40, seed=data.draw(st.integers(0, 99)))
    message = before.copy()
    message.push(*likelihood.intervals(params, references, x), PRECISION)
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, n), max_size=3))), n]
    for start, stop in pairwise(cuts):
        first_lane = start + data.draw(st.integers(-1, 1)) * lanes
        popped = likelihood.pop(message, first_lane, params[start:stop], references[start:stop])
        assert popped.dtype == np.int64
        assert popped.tolist() == x[start:stop].tolist()
    assert message == before


@likelihoods
@pytest.mark.parametrize("lanes", [1, 2, 7])
def test_push_undoes_pops(likelihood: LocalLikelihood, lanes: int) -> None:
    """What is popped from random bits has the distribution's own rare levels among it."""
    random = np.random.default_rng(lanes)
    n = 3000
    params, references = likely_params(likelihood, random, n), random.integers(0, likelihood.levels, n)
    before = random_message(lanes, words=4000)
    message = before.copy()
    x = np.concatenate(
        [likelihood.pop(message, start, params[start:][:70], references[start:][:70]) for start in range(0, n, 70)]
    )
    assert len(set(x.tolist())) > 0.8 * likelihood.levels
    message.push(*likelihood.intervals(params, references, x), PRECISION)
    assert message == before


@likelihoods
def test_empty_messages_raise_and_stay(likelihood: LocalLikelihood) -> None:
    message = Message.empty(2)
    params = np.zeros((90, likelihood.outputs))
    with pytest.raises(EmptyMessage):
        likelihood.pop(message, 1, params, np.zeros(90, np.int64))
    assert message == Message.empty(2)


# Kernels


def everything(random: np.random.Generator) -> list[Any]:
    """All that the kernels compute, for ordinary and extreme parameters."""
    results = []
    for likelihood in LIKELIHOODS:
        n = 200
        params, references = likely_params(likelihood, random, n), random.integers(0, likelihood.levels, n)
        extreme = random.integers(0, 10, params.shape) == 0
        params[extreme] = random.choice([-ACTIVATION_LIMIT, ACTIVATION_LIMIT], int(extreme.sum()))
        message = random_message(3, words=500)
        x = likelihood.pop(message, 2, params, references)
        x[::3] = random.integers(0, likelihood.levels, len(x[::3]))
        results += [x, message.flatten(), *likelihood.intervals(params, references, x)]
        results.append(likelihood.gradient(params, references, x))
    return results


def test_interpreted_and_compiled_kernels_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for limit in (-1, 1 << 30):
        monkeypatch.setattr(kernel_cache, "MAX_INTERPRETED", limit)
        for name in KERNELS:
            monkeypatch.setattr(getattr(mixture_kernels, name), "_compiled", None)
        results.append(everything(np.random.default_rng(0)))
        for name in KERNELS:
            assert (getattr(mixture_kernels, name)._compiled is None) == (limit > 0)
    for one, other in zip(*results, strict=True):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


def test_kernels_have_one_specialisation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_cache, "MAX_INTERPRETED", -1)
    for likelihood in LIKELIHOODS:
        params: Any = np.zeros((4, likelihood.outputs), np.float32)
        levels: Any = np.array([0, 1, 0, 1], np.uint8)
        frozen = params.astype(np.float64)
        frozen.flags.writeable = False
        for given_params in (params, frozen, np.asfortranarray(params.astype(np.float64)), frozen.astype(np.int64)):
            for given_levels in (levels, np.repeat(levels.astype(np.int64), 2)[::2]):
                likelihood.intervals(given_params, given_levels, given_levels)
                likelihood.gradient(given_params, given_levels, given_levels)
                likelihood.pop(random_message(2), np.int32(1), given_params, given_levels)  # type: ignore[arg-type]
    for name in KERNELS:
        assert len(getattr(mixture_kernels, name)._compiled.signatures) == 1, name


@likelihoods
def test_shapes_that_do_not_fit_are_refused(likelihood: LocalLikelihood) -> None:
    params, levels = np.zeros((4, likelihood.outputs)), np.zeros(4, np.int64)
    shapes: list[tuple[Any, Any, Any]] = [
        (params[:, 1:], levels, levels),
        (np.zeros((4, likelihood.outputs + 1)), levels, levels),
        (params[0], levels, levels),
        (params, levels[1:], levels),
        (params, levels, levels[1:]),
        (params, levels, levels[:, None]),
    ]
    for given_params, references, x in shapes:
        with pytest.raises(ValueError, match="do not fit"):
            likelihood.intervals(given_params, references, x)
        with pytest.raises(ValueError, match="do not fit"):
            likelihood.gradient(given_params, references, x)
        if x.shape == levels.shape:
            with pytest.raises(ValueError, match="do not fit"):
                likelihood.pop(random_message(2), 0, given_params, references)


@pytest.mark.parametrize("components", [0, -1, MAX_COMPONENTS + 1])
def test_number_of_components(components: int) -> None:
    with pytest.raises(ValueError, match="components"):
        LogisticMixture(components)


def test_outputs() -> None:
    mixture = LogisticMixture(3)
    assert mixture.outputs == 11
    assert mixture.out_bits().tolist() == [10] * 5 + [12] * 3 + [10] * 3
    assert mixture.out_bits().dtype == np.int64
    assert (mixture.name, mixture.levels) == ("logistic_mixture", 256)
    assert (LocalBernoulli().name, LocalBernoulli().levels, LocalBernoulli().outputs) == ("bernoulli", 2, 1)


# Against the real mixture


def logistic(x: Any) -> Any:
    tail = np.exp(-np.abs(x))
    return np.where(x > 0, 1 / (1 + tail), tail / (1 + tail))


def real_probabilities(row: Any, reference: int) -> Any:
    """(256,) by the outputs as real numbers: logits, offsets / 64 levels, log scales."""
    components = (len(row) - 2) // 3
    logits, offsets, log_scales = np.split(row, [components + 2, 2 * components + 2])
    weights = np.exp(logits - logits.max())
    weights /= weights.sum()
    scales = np.exp(np.clip(log_scales, 0, 10)) / 32
    edges = logistic((np.arange(1, 256)[:, None] - 0.5 - reference - 64 * offsets) / scales)
    cdf = np.concatenate([np.zeros((1, components)), edges, np.ones((1, components))])
    p: Any = np.diff(cdf, axis=0) @ weights[:-2]
    p[0] += weights[-2]
    p[255] += weights[-1]
    return p


@pytest.mark.parametrize("components", [1, 2, 5])
def test_mixture_is_close(components: int) -> None:
    random = np.random.default_rng(components)
    unit = np.ldexp(1.0, -LogisticMixture(components).out_bits())
    for row in usual(random, 150, components):
        reference = int(random.integers(256))
        starts, frequencies = frequencies_of(row, reference)
        p, q = real_probabilities(row * unit, reference), frequencies / TOTAL
        # 256 of the total for 256 levels
        np.testing.assert_allclose(q, p, atol=257 / TOTAL)
        np.testing.assert_allclose(starts / TOTAL, np.cumsum(p) - p, atol=257 / TOTAL)
        possible = p > 0
        loss = float(np.sum(p[possible] * np.log2(p[possible] / q[possible])))
        assert -1e-9 < loss < 2.3e-5


# Gradients


def lengths(rows: Any, reference: int, level: int) -> Any:
    """-ln p of a level by each of some rows of real outputs."""
    return np.array([-np.log(real_probabilities(row, reference)[level] + 2.0**-24) for row in rows])


@pytest.mark.parametrize("components", [1, 2, 5])
def test_mixture_gradient(components: int) -> None:
    random = np.random.default_rng(10 + components)
    mixture = LogisticMixture(components)
    unit = np.ldexp(1.0, -mixture.out_bits())
    scale = np.repeat([1.0, 64 * 32, 16], [components + 2, components, components])  # d(logit) by an output, at most
    step = 1e-3 * unit
    seen = np.zeros(mixture.outputs, bool)
    for row in usual(random, 100, components):
        log_scales = row[2 * components + 2 :]
        log_scales[np.isin(log_scales, [0, 10 << 10])] += 1  # off the kinks
        reference = int(random.integers(256))
        level = int(np.clip(reference + random.normal(0, 10), 0, 255)) if random.integers(3) else 255 * (reference % 2)
        p = real_probabilities(row * unit, reference)[level]
        if p < 1e-5:
            continue
        gradient = mixture.gradient(row[None], np.array([reference]), np.array([level]))[0]
        assert (gradient == np.floor(gradient)).all()
        rows = row * unit + np.diag(step)
        expected = (lengths(rows, reference, level) - lengths(2 * row * unit - rows, reference, level)) / (2 * step)
        limit = GRADIENT_LIMIT * 2.0**-GRADIENT_BITS
        expected = np.clip(expected, -limit, limit)
        # the CDF ends at a logit of 16, 1.1e-7 from 0 and 1
        tolerance = 2e-4 + 1e-4 * np.abs(expected) + 1.2e-7 * scale / p
        assert (np.abs(gradient * 2.0**-GRADIENT_BITS - expected) < tolerance).all()
        seen |= np.abs(expected) > 10 * tolerance
    assert seen.all()


def test_logit_gradients_of_unlikely_levels() -> None:
    """Moving all logits together changes nothing, at p = 2^-24 neither."""
    row = np.array([0.0, 300, -9000, -9000, 64, 640, 1000, 2000])
    for level in (3, 50, 200):
        gradient = LogisticMixture(2).gradient(row[None], np.array([100]), np.array([level]))[0]
        assert abs(gradient[:4].sum()) <= 4


def test_clamped_log_scales_get_no_gradient() -> None:
    ts = np.array([-ACTIVATION_LIMIT, -1, 0, 1, 10_239, 10_240, 10_241, ACTIVATION_LIMIT], np.float64)
    params = np.stack([np.zeros(8), np.full(8, -4096.0), np.full(8, -4096.0), np.full(8, 20.0), ts], axis=1)
    by_t = LogisticMixture(1).gradient(params, np.full(8, 77), np.full(8, 77))[:, 4]
    assert (by_t != 0).tolist() == [False, False, True, True, True, True, False, False]


def test_gradients_draw_far_means_and_are_clamped() -> None:
    far = float(ACTIVATION_LIMIT)
    params = np.array([[0, -9000, -9000, offset, t] for t in (0, 10_240) for offset in (-far, far)])
    for level, reference in ((0, 255), (100, 0), (255, 0)):
        gradient = LogisticMixture(1).gradient(params, np.full(4, reference), np.full(4, level))
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient) <= GRADIENT_LIMIT).all()
    steep = np.array([[564.0, -1307, 2772, 46, 125], [564.0, -1307, 2772, -46, 125]])  # 1808 nats by 64 levels
    gradient = LogisticMixture(1).gradient(steep, np.full(2, 226), np.full(2, 226))
    assert gradient[:, 3].tolist() == [GRADIENT_LIMIT, -GRADIENT_LIMIT]
    # at the ends the tail's slope is left, which says where the mean has to go
    one = LogisticMixture(1).gradient(np.array([[0, -9000.0, -9000, 640, 0]]), np.array([0]), np.array([0]))[0]
    assert one[3] > 0
    other = LogisticMixture(1).gradient(np.array([[0, -9000.0, -9000, -640, 0]]), np.array([255]), np.array([255]))[0]
    assert other[3] < 0
