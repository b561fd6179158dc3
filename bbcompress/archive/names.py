"""Names of the images of a segment: what a name may be, numbered runs, front coding, duplicates.

docs/format.md, "Names". Numbered names are never listed in memory: a few bytes can stand for millions.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TypeVar, overload

from bbcompress.archive.embedded import MAX_MODELS
from bbcompress.errors import FormatError
from bbcompress.wire import ByteReader, pack, unpack, varint

MAX_NAME_BYTES = 4096
MAX_PART_BYTES = 255
"""Of a name that is written: no usual file system can hold more, so the image could not come out under its name."""

MAX_LISTED = 1 << 22
"""Most groups of an archive, and most images with listed names, listed positions, times of their own: each takes
memory in the reader."""

MAX_LISTED_BYTES = 1 << 26
"""Most bytes of all listed names of an archive together."""

MAX_DIGITS = 18
MAX_NUMBER = 10**MAX_DIGITS - 1

_NONE, _NUMBERED, _LISTED, _PACKED = range(4)

_DIGITS = frozenset("0123456789")

Item = TypeVar("Item", covariant=True)


def name_fault(name: str) -> str | None:
    """Why `name` may not stand in an archive, None if it may: names are relative POSIX paths to one file."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    if not name:
        return "is empty"
    if size > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    if "\0" in name or "\\" in name:
        return "has a NUL or a backslash"
    if name.startswith("/"):
        return "is an absolute path"
    if re.match("[A-Za-z]:", name):
        return "begins as a drive of Windows"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "has a part that is empty, '.' or '..'"
    return None


def new_name_fault(name: str) -> str | None:
    """The same of a name that is to be written. Archives that are there may have names that no file can have."""
    if fault := name_fault(name):
        return fault
    if any(len(part.encode()) > MAX_PART_BYTES for part in name.split("/")):
        return f"has a part that is longer than {MAX_PART_BYTES} bytes"
    return None


def name_key(name: str) -> str:
    """By what names are sorted: a slash is the least of all characters, so that what is in a folder stands directly
    behind a file of the folder's name."""
    return name.replace("/", "\0")


@dataclass(frozen=True)
class Run:
    """`count` names: prefix, a number counted up from `first`, suffix.

    `digits` is the least number of digits, filled up with zeros; 0 for no zeros.
    """

    prefix: str
    suffix: str
    digits: int
    first: int
    count: int

    def __getitem__(self, index: int) -> str:
        return f"{self.prefix}{self.first + index:0{self.digits}d}{self.suffix}"

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """The run's numbers as (length in digits, lowest, highest), for each length that occurs."""
        low, last = self.first, self.first + self.count - 1
        while low <= last:
            length = max(len(str(low)), self.digits)
            high = min(last, 10**length - 1)
            yield length, low, high
            low = high + 1


class Lazy(Sequence[Item]):
    """A sequence of items made when asked for; slices are tuples."""

    def _at(self, index: int) -> Item:
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return tuple(self._at(i) for i in range(len(self))[index])
        return self._at(range(len(self))[index])


class NumberedNames(Lazy[str]):
    """The names of some runs, one run after the other."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = tuple(runs)
        self._ends = tuple(accumulate(run.count for run in runs))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _at(self, index: int) -> str:
        place = bisect_right(self._ends, index)
        run = self.runs[place]
        return run[index - self._ends[place] + run.count]


class Picked(Lazy[Item]):
    """The items at some positions of another sequence."""

    def __init__(self, items: Sequence[Item], positions: Sequence[int]) -> None:
        self._items = items
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    def _at(self, index: int) -> Item:
        return self._items[self._positions[index]]


class Budget:
    """What reading an archive may still list in memory: groups, names, their bytes, positions, times, models."""

    def __init__(self) -> None:
        self.groups = MAX_LISTED
        self.names = MAX_LISTED
        self.name_bytes = MAX_LISTED_BYTES
        self.positions = MAX_LISTED
        self.times = MAX_LISTED
        self.models = MAX_MODELS

    def become(self, other: Budget) -> None:
        """Take what is left of another one."""
        self.__dict__.update(other.__dict__)


def encode_names(names: Sequence[str] | None) -> bytes:
    """The names section, in its smallest form, of names already checked. FormatError above the limits."""
    if names is None:
        return bytes([_NONE])
    forms = []
    runs = _find_runs(names)
    if runs is not None:
        forms.append(bytes([_NUMBERED]) + b"".join(map(_encode_run, runs)))
    size = sum(len(name.encode()) for name in names)
    if len(names) <= MAX_LISTED and size <= MAX_LISTED_BYTES:
        listed = _front_code(names)
        packed = pack(listed)
        forms.append(bytes([_LISTED]) + listed)
        forms.append(bytes([_PACKED]) + varint(len(packed)) + packed)
    if not forms:
        raise FormatError(f"{len(names)} images with names of {size} bytes are too many for one archive")
    return min(forms, key=len)


def decode_names(reader: ByteReader, count: int, budget: Budget) -> Sequence[str] | None:
    """Read the names section of a segment with `count` images. Each name is checked, but not for duplicates.

    FormatError for a name that is not allowed, and for what is damaged or above the limits.
    """
    form = reader.byte()
    if form == _NONE:
        return None
    if form == _NUMBERED:
        runs, left = [], count
        while left:
            runs.append(_decode_run(reader, left))
            left -= runs[-1].count
        return NumberedNames(runs)
    if form not in (_LISTED, _PACKED):
        raise FormatError(f"{reader.what} lists names in a form that this version does not know")
    if count > budget.names:
        raise FormatError(f"{reader.what} lists more than {MAX_LISTED} names")
    budget.names -= count
    if form == _LISTED:
        return _front_decode(reader, count, budget)
    packed = reader.take(reader.varint(name="the length of the names"))
    # Front coding adds at most two varints of two bytes to a name.
    limit = min(budget.name_bytes, count * MAX_NAME_BYTES) + 4 * count
    inner = ByteReader(unpack(packed, limit), "the list of names")
    names = _front_decode(inner, count, budget)
    inner.finish()
    return names


def span_of_names(lists: Iterable[Sequence[str]]) -> tuple[str, str]:
    """The least and the greatest name of all lists together, by `name_key`; there is at least one. Numbered names are
    not listed."""
    names: list[str] = []
    for some in lists:
        runs = some.runs if isinstance(some, NumberedNames) else ()
        ends = (run[number - run.first] for run in runs for _, low, high in run.spans() for number in (low, high))
        names += ends if runs else (min(some, key=name_key), max(some, key=name_key))
    return min(names, key=name_key), max(names, key=name_key)


def find_duplicate(lists: Iterable[Sequence[str]]) -> str | None:
    """A name that occurs twice in all lists together, None if none does. Numbered names are not listed."""
    spans: dict[tuple[str, str, int], list[tuple[int, int]]] = {}
    listed: set[str] = set()
    for names in lists:
        if isinstance(names, NumberedNames):
            for run in names.runs:
                for length, low, high in run.spans():
                    spans.setdefault((run.prefix, run.suffix, length), []).append((low, high))
            continue
        for name in names:
            if name in listed:
                return name
            listed.add(name)
    for (prefix, suffix, length), ranges in spans.items():
        ranges.sort()
        for (_, end), (low, _) in pairwise(ranges):
            if low <= end:
                return f"{prefix}{low:0{length}d}{suffix}"
    if spans:
        for name in listed:
            if parts := _split_number(name):
                prefix, digits, suffix = parts
                ranges = spans.get((prefix, suffix, len(digits)), [])
                number = int(digits)
                place = bisect_right(ranges, (number, MAX_NUMBER)) - 1
                if place >= 0 and number <= ranges[place][1]:
                    return name
    return None


class NameFinder:
    """Where a name stands in some lists, one behind the other; numbered names are computed, not listed."""

    def __init__(self, lists: Iterable[tuple[int, Sequence[str]]]) -> None:
        """lists: each with the position of its first name; no name occurs twice in them."""
        self._listed: dict[str, int] = {}
        self._spans: dict[tuple[str, str, int], list[tuple[int, int, int]]] = {}  # lowest, highest, position
        for start, names in lists:
            if not isinstance(names, NumberedNames):
                self._listed.update((name, start + place) for place, name in enumerate(names))
                continue
            for run in names.runs:
                for length, low, high in run.spans():
                    span = (low, high, start + low - run.first)
                    self._spans.setdefault((run.prefix, run.suffix, length), []).append(span)
                start += run.count
        for spans in self._spans.values():
            spans.sort()

    def find(self, name: str) -> int | None:
        """The position of a name, None where it is in no list."""
        if name in self._listed:
            return self._listed[name]
        if parts := _split_number(name):
            prefix, digits, suffix = parts
            spans, number = self._spans.get((prefix, suffix, len(digits)), []), int(digits)
            place = bisect_right(spans, (number, MAX_NUMBER, 0)) - 1
            if place >= 0 and number <= spans[place][1]:
                return spans[place][2] + number - spans[place][0]
        return None


class FolderFinder:
    """Which of some names is in a folder; numbered names are computed, not listed."""

    def __init__(self, lists: Iterable[Sequence[str]]) -> None:
        names: list[str] = []
        self._runs: dict[tuple[str, int], list[tuple[str, int, int]]] = {}  # prefix, digits: suffix, lowest, highest
        self._looked_up: dict[tuple[str, int, str], tuple[list[int], list[tuple[int, str]]]] = {}
        for some in lists:
            if not isinstance(some, NumberedNames):
                names += (name for name in some if "/" in name)
                continue
            for run in some.runs:
                if "/" in run.prefix:
                    names.append(run[0])  # it stands for all: the folders before the number are the same
                if "/" in run.suffix:
                    for length, low, high in run.spans():
                        self._runs.setdefault((run.prefix, length), []).append((run.suffix, low, high))
        # A slash as the least of all characters puts the names in a folder one behind the other.
        self._sorted = sorted(map(name_key, names))

    def find(self, folder: str) -> str | None:
        """A name in the folder, however deep; None where there is none."""
        inside = name_key(f"{folder}/")
        place = bisect_right(self._sorted, inside)
        if place < len(self._sorted) and self._sorted[place].startswith(inside):
            return self._sorted[place].replace("\0", "/")
        parts = _split_number(folder)
        if parts is None or (parts[0], len(parts[1])) not in self._runs:
            return None
        lows, highs = self._numbers_of(parts[0], len(parts[1]), parts[2])
        place = bisect_right(lows, int(parts[1])) - 1
        if place < 0 or int(parts[1]) > highs[place][0]:
            return None
        return folder + highs[place][1][len(parts[2]) :]

    def _numbers_of(self, prefix: str, length: int, rest: str) -> tuple[list[int], list[tuple[int, str]]]:
        """The runs whose names are in folders `prefix`, number, `rest`: the lowest number of each, counted up, and the
        highest of all runs so far with the suffix of its run."""
        key = prefix, length, rest
        if key not in self._looked_up:
            runs = sorted((low, high, suffix) for suffix, low, high in self._runs[key[:2]])
            runs = [run for run in runs if run[2].startswith(f"{rest}/")]
            highs = accumulate(((high, suffix) for _, high, suffix in runs), max)
            self._looked_up[key] = [low for low, _, _ in runs], list(highs)
        return self._looked_up[key]


def _split_number(name: str) -> tuple[str, str, str] | None:
    """What is before a name's last number, its digits, the rest; None without a number or for a long one.

    Always the last number, so that a name belongs to one prefix and suffix only.
    """
    end = len(name)
    while end and name[end - 1] not in _DIGITS:
        end -= 1
    start = end
    while start and name[start - 1] in _DIGITS:
        start -= 1
    return (name[:start], name[start:end], name[end:]) if 0 < end - start <= MAX_DIGITS else None


def _find_runs(names: Sequence[str]) -> list[Run] | None:
    """The names as runs, as long as possible; None where a name has no number."""
    runs: list[Run] = []
    for name in names:
        if runs and runs[-1].first + runs[-1].count <= MAX_NUMBER and name == runs[-1][runs[-1].count]:
            runs[-1] = replace(runs[-1], count=runs[-1].count + 1)
            continue
        parts = _split_number(name)
        if parts is None:
            return None
        prefix, number, suffix = parts
        digits = len(number) if number.startswith("0") and len(number) > 1 else 0
        runs.append(Run(prefix, suffix, digits, int(number), 1))
    return runs


def _encode_run(run: Run) -> bytes:
    prefix, suffix = run.prefix.encode(), run.suffix.encode()
    numbers = varint(run.digits) + varint(run.first) + varint(run.count)
    return varint(len(prefix)) + prefix + varint(len(suffix)) + suffix + numbers


def _decode_run(reader: ByteReader, left: int) -> Run:
    prefix = _text(reader.take(reader.varint(MAX_NAME_BYTES, "a name's length")), reader)
    suffix = _text(reader.take(reader.varint(MAX_NAME_BYTES, "a name's length")), reader)
    digits = reader.varint(MAX_DIGITS, "the number of digits")
    first = reader.varint(MAX_NUMBER, "the first number")
    count = reader.varint(left, "the length of a run")
    if count == 0 or first + count - 1 > MAX_NUMBER or digits == 1:
        raise FormatError(f"{reader.what} has a run of names that counts wrongly")
    if prefix[-1:] in _DIGITS or not _DIGITS.isdisjoint(suffix):
        raise FormatError(f"{reader.what} has a run of names that does not count the last number of the name")
    run = Run(prefix, suffix, digits, first, count)
    for name in (run[0], run[count - 1]):  # those between differ only in their digits
        _check(name, reader)
    return run


def _front_code(names: Sequence[str]) -> bytes:
    """Each name as: bytes shared with the name before, bytes that follow, these."""
    out = bytearray()
    before = b""
    for name in names:
        data = name.encode()
        shared = 0
        for a, b in zip(before, data, strict=False):
            if a != b:
                break
            shared += 1
        out += varint(shared) + varint(len(data) - shared) + data[shared:]
        before = data
    return bytes(out)


def _front_decode(reader: ByteReader, count: int, budget: Budget) -> tuple[str, ...]:
    names = []
    before = b""
    for _ in range(count):
        shared = reader.varint(len(before), "a name's shared part")
        before = before[:shared] + reader.take(reader.varint(MAX_NAME_BYTES, "a name's length"))
        budget.name_bytes -= len(before)
        if budget.name_bytes < 0:
            raise FormatError(f"{reader.what} lists names of more than {MAX_LISTED_BYTES} bytes")
        names.append(_check(_text(before, reader), reader))
    return tuple(names)


def _text(data: bytes, reader: ByteReader) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise FormatError(f"{reader.what} has a name that is not UTF-8") from None


def _check(name: str, reader: ByteReader) -> str:
    if fault := name_fault(name):
        raise FormatError(f"{reader.what} has a name that {fault}: {name[:80]!r}")
    return name
