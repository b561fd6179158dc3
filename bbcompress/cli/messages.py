"""What commands print: every line goes through here, so that no name or text of a file steers the terminal."""

from __future__ import annotations

import click

from bbcompress.escaping import escaped


def say(text: str, err: bool = False) -> None:
    """A line on stdout, or on stderr, its text escaped."""
    click.echo(escaped(text), err=err)


def tell(text: str) -> None:
    """A line of bbc on stderr."""
    say(f"bbc: {text}", err=True)
