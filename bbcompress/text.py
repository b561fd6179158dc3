"""Text for people: what stands in files made safe for a terminal, counts, warnings."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence

HIDDEN = "***"
"""What stands in messages in place of passwords and tokens."""

SOME = 3
"""Things that a line names, of all that it counts, unless it says otherwise."""

_USER = re.compile(
    r"\b([a-z][a-z0-9+.-]{0,30})://(?:[^\s/?#:@]*:(?!\d+/|:)(?:(?!::|://)[^\s@])*|[^\s/?#:@]*)@", re.IGNORECASE
)
_QUERY = re.compile(r"(://[^\s?'\"]*\?)([^\s'\"]*?)(?=[:;,]?(?:[\s'\"]|::|$))")
_OPEN_USERS = {"abfs", "abfss", "adl", "az", "bbc", "wasb", "wasbs"}
"""Schemes in which `@` stands behind the name of a container, or in a name."""


def redacted(text: str) -> str:
    """The text without the passwords and tokens of the URLs in it: users and passwords, and the values of queries."""
    if "://" not in text:
        return text
    text = _USER.sub(lambda found: found[0] if found[1].lower() in _OPEN_USERS else f"{found[1]}://{HIDDEN}@", text)
    return _QUERY.sub(lambda found: found[1] + "&".join(map(_without_value, found[2].split("&"))), text)


def _without_value(field: str) -> str:
    """A field of a query, of which only the name is left."""
    name, equals, _ = field.partition("=")
    return f"{name}={HIDDEN}" if equals else HIDDEN * bool(field)


def escaped(text: str) -> str:
    """The text as one line that a terminal prints and never obeys, and that tells no secrets.

    Control characters, line ends, characters that turn the direction of writing or are invisible, and bytes that are no
    UTF-8 become escapes as Python has them, such as `\\x1b` and `\\u202e`. What is escaped already stays as it is. URLs
    are `redacted`.
    """
    text = redacted(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def some_of(things: Sequence[object], most: int = SOME, between: str = ", ") -> str:
    """The first of some things, and an ellipsis where there are more: a, b, c, ..."""
    return between.join([*map(str, things[:most]), *["..."] * (len(things) > most)])


def count_of(count: int, what: str = "image") -> str:
    """1 image, 2 images."""
    return f"{count} {what}{'s' * (count != 1)}"


def warn_of(notes: Iterable[str], stacklevel: int = 4) -> None:
    """A warning for each note. stacklevel: as of `warnings.warn`, counted from here; 4 is the caller of a function
    whose arguments are `checked`, which calls this."""
    for note in notes:
        warnings.warn(escaped(note), stacklevel=stacklevel)
