"""Modification times of the images of a segment: whole seconds since 1970. See docs/format.md, "Times"."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import accumulate, groupby

from bbcompress.archive.names import MAX_LISTED, Budget, Lazy
from bbcompress.errors import FormatError
from bbcompress.wire import ByteReader, pack, unpack, unzigzag, varint, zigzag

FIRST_TIME = -(1 << 35)
LAST_TIME = (1 << 37) - 1
"""The years 881 to 6325: what every system's calendar can take."""

_RUNS, _PACKED = 1, 2
_TIME_BYTES = 6  # of a difference's varint: twice 2^38 is below 2^42


class TimeRuns(Lazy[int]):
    """Times of which each stands for so many images: pairs of a time and a number."""

    def __init__(self, runs: Sequence[tuple[int, int]]) -> None:
        self._times = array("q", (time for time, _ in runs))
        self._ends = array("Q", accumulate(count for _, count in runs))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _at(self, index: int) -> int:
        return self._times[bisect_right(self._ends, index)]


def utc(time: int) -> str:
    """A time as ISO 8601 has it, in UTC."""
    return (datetime(1970, 1, 1) + timedelta(seconds=time)).isoformat() + "Z"


def span_of(times: Sequence[int]) -> tuple[int, int]:
    """The first and the last of times, of which there is at least one."""
    every = times._times if isinstance(times, TimeRuns) else times
    return min(every), max(every)


def encode_times(times: Sequence[int] | None) -> bytes:
    """The times section, in its smaller form; empty where there are no times. FormatError above the limits."""
    if times is None:
        return b""
    for time in times:
        _check(time, "the archive")
    runs = [(time, sum(1 for _ in equal)) for time, equal in groupby(times)]
    forms = []
    if len(runs) <= MAX_LISTED:
        before = [0, *(time for time, _ in runs)]
        pairs = (varint(zigzag(time - last)) + varint(count) for (time, count), last in zip(runs, before, strict=False))
        forms.append(bytes([_RUNS]) + b"".join(pairs))
    if len(times) <= MAX_LISTED:
        packed = pack(b"".join(varint(zigzag(time - last)) for time, last in zip(times, [0, *times], strict=False)))
        forms.append(bytes([_PACKED]) + varint(len(packed)) + packed)
    if not forms:
        raise FormatError(f"{len(times)} images with a time of their own are too many for one archive")
    return min(forms, key=len)


def decode_times(reader: ByteReader, count: int, budget: Budget) -> Sequence[int] | None:
    """Read the times section of a segment with `count` images; None where the index ends before it.

    Raises:
        FormatError: the section is damaged or above the limits.
    """
    if not reader.remaining:
        return None
    form = reader.byte()
    if form == _RUNS:
        return _read_runs(reader, count, budget)
    if form != _PACKED:
        raise FormatError(f"{reader.what} lists times in a form that this version does not know")
    _spend(reader, budget, count)
    packed = reader.take(reader.varint(name="the length of the times"))
    inner = ByteReader(unpack(packed, _TIME_BYTES * count), "the list of times")
    times = array("q")
    time = 0
    for _ in range(count):
        time = _check(time + unzigzag(inner.varint(name="a time")), inner.what)
        times.append(time)
    inner.finish()
    return times


def _read_runs(reader: ByteReader, count: int, budget: Budget) -> TimeRuns:
    runs = []
    time, left = 0, count
    while left:
        _spend(reader, budget, 1)
        time = _check(time + unzigzag(reader.varint(name="a time")), reader.what)
        images = reader.varint(left, "the number of images of a time")
        if not images:
            raise FormatError(f"{reader.what} has a time of no image")
        runs.append((time, images))
        left -= images
    return TimeRuns(runs)


def _spend(reader: ByteReader, budget: Budget, count: int) -> None:
    if count > budget.times:
        raise FormatError(f"{reader.what} lists more than {MAX_LISTED} times")
    budget.times -= count


def _check(time: int, what: str) -> int:
    if not FIRST_TIME <= time <= LAST_TIME:
        raise FormatError(f"{what} has a time outside the years 881 to 6325")
    return time
