"""What is measured: which encoders, with which K, how often."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

from bbcompress.errors import BBCError
from bbcompress.limits import ENCODERS, MAX_K
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
        """How the archive of one row is compressed."""
        return Options(self.model, k, encoder, self.learning_rate, verify=False)


def parse_k(text: str) -> tuple[int, ...]:
    """The numbers of a list of numbers and ranges such as `0..10,20`, ascending, each once. Raises BBCError."""
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,9})\s*(?:\.\.\s*([0-9]{1,9})\s*)?", part)
        if match is None:
            raise BBCError(f"-K {text}: give numbers and ranges, such as 0..10 or 0,1,5 or 0..10,20")
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise BBCError(f"-K {text}: the range {part.strip()} ends before it begins")
        if last > MAX_K:
            raise BBCError(f"-K {text}: K must be 0 to {MAX_K}")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def parse_encoders(text: str) -> tuple[str, ...]:
    """The encoders of a list such as `baseline,rha`, each once. Raises BBCError."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in ENCODERS:
            raise BBCError(f"--encoders {text}: there is no encoder {name!r}; choose from {','.join(ENCODERS)}")
    return names
