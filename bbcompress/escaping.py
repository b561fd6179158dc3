"""Text from files, such as a name or a tag, made safe for a terminal."""

from __future__ import annotations


def escaped(text: str) -> str:
    """The text as one line that a terminal prints and never obeys.

    Control characters, line ends, characters that turn the direction of writing or are invisible, and bytes that are no
    UTF-8 become escapes as Python has them, such as `\\x1b` and `\\u202e`. What is escaped already stays as it is.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
