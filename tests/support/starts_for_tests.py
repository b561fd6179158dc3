"""Groups that learn whose images are coded as a test says, also small ones, whatever is best for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from unittest.mock import patch

from bbcompress.codecs import learned


@contextmanager
def beginning(starts: Sequence[int]) -> Iterator[None]:
    """In here the images of a group but the first begin so, over and over; as always where `starts` is empty."""
    if not starts:
        yield
        return
    left = cycle(map(learned.Start, starts))
    with patch.object(learned, "LEAST_START_PIXELS", 0), patch.object(learned, "_best_start", lambda *_: next(left)):
        yield


@contextmanager
def by_planes(planes: bool | None) -> Iterator[None]:
    """In here images on a lattice are coded by its planes, or with blue restricted; as always where it is None."""
    if planes is None:
        yield
        return
    with patch.object(learned, "_takes_less_by_planes", lambda *_: planes):
        yield
