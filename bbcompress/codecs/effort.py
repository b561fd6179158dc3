"""Effort: which ways of coding are tried, by one number from 1 to 9.

Efforts 1 and 2 are for speed: a quick model, where there is one, stands in for the one that lies beside it. Effort 2
lets it learn from the images by coarse steps where that saves a share that is worth the time of readers. So do efforts
3 and 4 with the usual models. Effort 5, the default, learns by fine steps wherever that saves a byte. Every effort
codes without learning, too, and takes what learns only where that is smaller; efforts 3 to 5 leave out the coding
without learning where a trial leaves no doubt. The codec for samples of 16 bits learns as it goes and takes as long: it
is tried from effort 3 on. From effort 6 on each tries all that the one below it tries, and more. So more effort is
never larger. Three parts of that are no law, but were measured: where coarse steps save as much as efforts 3 and 4 ask
for, fine steps save more; where a trial leaves no doubt, learning pays; and quick models take more bytes than those
that they stand in for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Any

from bbcompress.codecs.settings import CodingRequest, CodingSettings
from bbcompress.limits import LEAST_EFFORT, MOST_EFFORT, OTHER_ENCODER

LEARNING_EFFORT = 3
"""From this effort on it is tried whether learning between batches pays."""
_PLAIN = CodingSettings()
_COARSE = CodingSettings(learn=True, learn_rate=500, learn_unit=512)
_QUICK = CodingSettings(learn=True, learn_rate=500, learn_unit=256)
"""With a quick model smaller steps cost hardly more time. The fewer steps there are, the longer they had better be."""
_FINE = CodingSettings(learn=True)


@dataclass(frozen=True)
class Plan:
    """What is tried.

    Attributes:
        frozen: ways without learning, the usual one first. They are also those of models that cannot learn.
        learned: ways of models that can learn.
        least_expected: learning is tried where a trial expects that it saves more than this share of the bytes.
        least_gain: the share of the bytes that learning has to save to be taken.
        sure_gain: where a trial expects that learning saves at least this share of photographs, nothing is coded
            without it.
        every_model: whether all models that fit are tried on all images. A sample may decide else.
        one_model: whether of few images only the preferred model is tried.
        must_learn: whether models that can learn do so in all ways.
        fast: whether quick models stand in for the others where there are some, and learning is tried with them alone.
        deep: whether the fallback tries its codec for samples of 16 bits.
    """

    frozen: tuple[CodingSettings, ...]
    learned: tuple[CodingSettings, ...] = ()
    least_expected: float = 0.0
    least_gain: float = 0.0
    sure_gain: float = inf
    every_model: bool = False
    one_model: bool = False
    must_learn: bool = False
    fast: bool = False
    deep: bool = True

    def and_also(self, frozen: tuple[CodingSettings, ...], learned: tuple[CodingSettings, ...]) -> Plan:
        """The plan with more ways."""
        return replace(self, frozen=self.frozen + frozen, learned=self.learned + learned)


def _ladder() -> dict[int, Plan]:
    plans = {
        1: Plan((_PLAIN,), one_model=True, fast=True, deep=False),
        2: Plan((_PLAIN,), (_QUICK,), 0.02, 0.02, fast=True, deep=False),
        3: Plan((_PLAIN,), (_COARSE,), 0.02, 0.02, sure_gain=0.1),
        4: Plan((_PLAIN,), (_COARSE,), 0.005, 0.005, sure_gain=0.1),
        5: Plan((_PLAIN,), (_FINE,), sure_gain=0.05),
    }
    slow = replace(_FINE, learn_rate=350, learn_unit=64)
    plans[6] = replace(plans[5], sure_gain=inf).and_also((replace(_PLAIN, encoder=OTHER_ENCODER),), (slow,))
    plans[7] = plans[6].and_also((replace(_PLAIN, k=4),), (replace(slow, encoder=OTHER_ENCODER),))
    plans[8] = plans[7].and_also((replace(_PLAIN, k=10),), (replace(slow, learn_rate=250, k=10),))
    nine = plans[8].and_also(
        (replace(_PLAIN, encoder=OTHER_ENCODER, k=10),),
        (_COARSE, replace(slow, encoder=OTHER_ENCODER, k=10), replace(_FINE, encoder=OTHER_ENCODER, k=10)),
    )
    plans[9] = replace(nine, least_expected=-inf, every_model=True)
    return plans


LADDER = _ladder()
"""What each effort tries where nothing else is asked for. K is 0 up to effort 6: with 4 steps photographs gain 0.5 % in
1.5 times the time, digits 0.6 % in 25 times (benchmarks/default_steps.py)."""
assert list(LADDER) == list(range(LEAST_EFFORT, MOST_EFFORT + 1))


def plan_for(request: CodingRequest) -> Plan:
    """What is tried for a request: the plan of its effort, with what the request names in place of that in all ways."""
    plan = LADDER[request.effort]
    frozen = _asked(plan.frozen, request)
    if request.learn is False:
        return replace(plan, frozen=frozen, learned=())
    if request.learn:
        learned = _asked(plan.learned or (_COARSE,), request)
        return replace(plan, frozen=frozen, learned=learned, must_learn=True)
    return replace(plan, frozen=frozen, learned=_asked(plan.learned, request))


def _asked(ways: tuple[CodingSettings, ...], request: CodingRequest) -> tuple[CodingSettings, ...]:
    """The ways with what the request names in place of their own, each once."""
    names = ("encoder", "k", "learning_rate", "block_side")
    named: dict[str, Any] = {name: value for name in names if (value := getattr(request, name)) is not None}
    named["learn_between"] = False if request.learn is None and request.effort < LEARNING_EFFORT else request.learn
    return tuple(dict.fromkeys(replace(way, **named) for way in ways))
