"""What commands print: every line goes through here, so that no name or text of a file steers the terminal."""

from __future__ import annotations

import click

from bbcompress.text import escaped


def say(text: str, err: bool = False) -> None:
    """A line on stdout, or on stderr, its text escaped."""
    click.echo(escaped(text), err=err)


def tell(text: str) -> None:
    """A line of bbc on stderr."""
    say(f"bbc: {text}", err=True)


def size_of(size: float) -> str:
    """A size as people read it: 999 B, 1.2 kB, 34 kB, 5.6 MB; powers of a thousand, as of `ls --si`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5 or unit == "GB":
            return f"{size:.1f} {unit}" if unit != "B" and size < 9.95 else f"{size:.0f} {unit}"
        size /= 1000
    raise AssertionError


def human(*sizes: int) -> str:
    """Behind a size in bytes, or one that became another: the same as people read it; empty below 1000 bytes."""
    return f" ({' -> '.join(map(size_of, sizes))})" if max(sizes) >= 1000 else ""
