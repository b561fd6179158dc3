"""Make docs/bbc.1, the manual page, from the commands themselves; a test holds that it is what this makes.

python tools/make_man_page.py [OUT]
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from bbcompress.cli import main as bbc
from bbcompress.cli.help import ENVIRONMENT, EXAMPLES, EXIT_STATUSES, groups_of

DEFAULT = Path(__file__).resolve().parents[1] / "docs" / "bbc.1"


def main() -> None:
    if len(sys.argv) > 2:
        raise SystemExit(__doc__)
    out = Path(sys.argv[1]) if len(sys.argv) == 2 else DEFAULT
    out.write_text("\n".join(page()) + "\n", encoding="utf-8")


def page() -> Iterator[str]:
    """The lines of the page, in the language of man."""
    yield '.\\" Made by tools/make_man_page.py. Change the commands (bbcompress/cli) and run it again.'
    yield ".TH BBC 1"
    yield from (".SH NAME", "bbc \\- compress images without loss")
    yield from (".SH SYNOPSIS", ".B bbc", ".I COMMAND", "[\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]")
    yield ".SH DESCRIPTION"
    yield from paragraphs(bbc.help or "")
    with click.Context(bbc, info_name="bbc", **bbc.context_settings) as context:
        for name in bbc.list_commands(context):
            command = bbc.commands[name]
            with click.Context(command, info_name=name, parent=context) as inner:
                yield from section(command, inner)
    yield ".SH EXIT STATUS"
    yield from items((status, meaning.replace("`", "")) for status, meaning in EXIT_STATUSES)
    yield ".SH ENVIRONMENT"
    yield from items(ENVIRONMENT)
    yield ".SH EXAMPLES"
    yield from items(EXAMPLES)


def section(command: click.Command, context: click.Context) -> Iterator[str]:
    """A command: its usage, what it does, its options."""
    yield f".SH {escaped(context.command_path.upper())}"
    yield f"\\fB{escaped(' '.join([context.command_path, *command.collect_usage_pieces(context)]))}\\fR"
    yield ".PP"
    yield from paragraphs(command.help or "")
    for heading, records in groups_of(command, context):
        yield f'.SS "{heading}"'
        yield from items(records)
    for name, inner in command.commands.items() if isinstance(command, click.Group) else ():
        with click.Context(inner, info_name=name, parent=context) as its_context:
            yield from section(inner, its_context)


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a docstring."""
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        if number:
            yield ".PP"
        if paragraph.startswith("\b"):  # click's word for lines as they are
            yield from (".nf", *map(escaped, paragraph.splitlines()[1:]), ".fi")
        else:
            yield escaped(" ".join(paragraph.split()))


def items(pairs: Iterator[tuple[str, str]] | list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> Iterator[str]:
    """Words, and what each means."""
    for word, meaning in pairs:
        yield from (".TP", f"\\fB{escaped(word)}\\fR", escaped(" ".join(meaning.split())))


def escaped(text: str) -> str:
    """Text without what man takes for its own."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    main()
