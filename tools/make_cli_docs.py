"""Make docs/cli.md from the commands themselves; a test holds that it is what this makes.

python tools/make_cli_docs.py [OUT]
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from bbcompress.cli import main as bbc
from bbcompress.cli.help import EXIT_STATUSES, SECTIONS, groups_of

DEFAULT = Path(__file__).resolve().parents[1] / "docs" / "cli.md"

HEAD = """# The commands of bbc

<!-- Made by tools/make_cli_docs.py. Change the commands (bbcompress/cli) and run it again. -->

`bbc help COMMAND` says the same, and so does the manual page. `bbc completion` makes a shell complete commands,
options, models and files. An error is one line on stderr.

| exit status | |
|---|---|
""" + "\n".join(f"| {status} | {meaning} |" for status, meaning in EXIT_STATUSES)


def main() -> None:
    if len(sys.argv) > 2:
        raise SystemExit(__doc__)
    out = Path(sys.argv[1]) if len(sys.argv) == 2 else DEFAULT
    out.write_text("\n\n".join(page()) + "\n", encoding="utf-8")


def page() -> Iterator[str]:
    """The parts of the page, between which there are empty lines."""
    yield HEAD
    with click.Context(bbc, info_name="bbc", **bbc.context_settings) as context:
        names = bbc.list_commands(context)
        commands = [(name, command) for name in names if (command := bbc.get_command(context, name)) is not None]
        lines = {name: command.get_short_help_str(limit=1000) for name, command in commands}
        for heading, members in SECTIONS.items():
            yield f"{heading}:"
            yield "\n".join(f"* [`{name}`](#bbc-{name}): {escaped(lines[name])}" for name in members)
        for name, command in commands:
            with click.Context(command, info_name=name, parent=context) as inner:
                yield from section(command, inner)


def section(command: click.Command, context: click.Context) -> Iterator[str]:
    """A command: its usage, what it does, its options."""
    yield f"## {context.command_path}"
    yield f"    {' '.join([context.command_path, *command.collect_usage_pieces(context)])}"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):  # click's word for lines as they are
            yield "\n".join(f"    {line}" for line in paragraph.splitlines()[1:])
        else:
            yield escaped(paragraph)
    for heading, records in groups_of(command, context):
        yield f"{heading}:"
        yield "\n".join(f"* `{names}`: {escaped(text)}" for names, text in records)
    for name, inner in command.commands.items() if isinstance(command, click.Group) else ():
        with click.Context(inner, info_name=name, parent=context) as its_context:
            yield from section(inner, its_context)


def escaped(text: str) -> str:
    """Text in one line, without what Markdown takes for marks."""
    return re.sub(r"([*_<`])", r"\\\1", " ".join(text.split()))


if __name__ == "__main__":
    main()
