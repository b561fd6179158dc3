"""Text for people: what stands in files made safe for a terminal, counts, warnings."""

from __future__ import annotations

import warnings
from collections.abc import Iterable


def escaped(text: str) -> str:
    """The text as one line that a terminal prints and never obeys.

    Control characters, line ends, characters that turn the direction of writing or are invisible, and bytes that are no
    UTF-8 become escapes as Python has them, such as `\\x1b` and `\\u202e`. What is escaped already stays as it is.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def count_of(count: int, what: str = "image") -> str:
    """1 image, 2 images."""
    return f"{count} {what}{'s' * (count != 1)}"


def warn_of(notes: Iterable[str], stacklevel: int = 4) -> None:
    """A warning for each note. stacklevel: as of `warnings.warn`, counted from here; 4 is the caller of a function
    whose arguments are `checked`, which calls this."""
    for note in notes:
        warnings.warn(escaped(note), stacklevel=stacklevel)
