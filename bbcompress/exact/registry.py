"""All observation distributions by name. A new one is a class in a module beside this, its twin for training in
`training/likelihoods.py`, a line in each registry, and its case in the test that compares them all with their twins."""

from __future__ import annotations

from typing import Protocol

from bbcompress.exact.distributions import ExactBernoulli, ExactChannelLogistic, ExactDiscretisedLogistic
from bbcompress.exact.mixture import LogisticMixture


class Distribution(Protocol):
    """What all distributions say, whatever their parameters look like.

    lane_subpixels: sub-pixels for which the writer gives a message a lane more.
    """

    name: str
    levels: int
    lane_subpixels: int


DISTRIBUTIONS: dict[str, type[Distribution]] = {
    kind.name: kind for kind in (ExactBernoulli, ExactDiscretisedLogistic, ExactChannelLogistic, LogisticMixture)
}
"""`LocalBernoulli` is `ExactBernoulli` for single sub-pixels, so that both have one name."""
