"""What is measured: which encoders, with which K, how often."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

from bbcompress.errors import BBCError
from bbcompress.limits import ENCODERS, LEAST_EFFORT, MAX_K, MOST_EFFORT
from bbcompress.pipeline.options import Options


@dataclass(frozen=True)
class Schedule:
    """What is measured: each of `encoders` with each K of `k`, `repeats` times; the rest as in `Options`.

    Raises:
        BBCError: a value is out of range.
    """

    encoders: tuple[str, ...] = ("baseline", "rha")
    k: tuple[int, ...] = tuple(range(11))
    model: str | None = None
    learning_rate: float | None = None
    repeats: int = 1

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise BBCError("the number of repeats must be at least 1")
        for encoder, k in product(self.encoders, self.k):
            self.options(encoder, k)

    def options(self, encoder: str, k: int) -> Options:
        """How the archive of one row is compressed: without learning, as K and encoders hardly matter with it."""
        return Options(self.model, k, encoder, self.learning_rate, learn=False, verify=False, embed_model=False)


def parse_k(text: str) -> tuple[int, ...]:
    """The numbers of a list of numbers and ranges such as `0..10,20`, ascending, each once. Raises BBCError."""
    return _numbers("-K", "K", text, 0, MAX_K, "0..10 or 0,1,5 or 0..10,20")


def parse_efforts(text: str) -> tuple[int, ...]:
    """The efforts of a list such as `1..5,9`, ascending, each once. Raises BBCError."""
    return _numbers("--efforts", "an effort", text, LEAST_EFFORT, MOST_EFFORT, "1..9 or 1,3,5")


def _numbers(option: str, what: str, text: str, least: int, most: int, examples: str) -> tuple[int, ...]:
    """The numbers of a list of numbers and ranges, ascending, each once; the other arguments are for messages.

    Raises:
        BBCError: the text is no such list, or a number is not in `least` to `most`.
    """
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,9})\s*(?:\.\.\s*([0-9]{1,9})\s*)?", part)
        if match is None:
            raise BBCError(f"{option} {text}: give numbers and ranges, such as {examples}")
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise BBCError(f"{option} {text}: the range {part.strip()} ends before it begins")
        if first < least or last > most:
            raise BBCError(f"{option} {text}: {what} must be {least} to {most}")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def parse_encoders(text: str) -> tuple[str, ...]:
    """The encoders of a list such as `baseline,rha`, each once. Raises BBCError."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in ENCODERS:
            raise BBCError(f"--encoders {text}: there is no encoder {name!r}; choose from {','.join(ENCODERS)}")
    return names
