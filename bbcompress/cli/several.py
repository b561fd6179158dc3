"""Several files in one command: what goes wrong with one does not stop the others, and the exit status says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from bbcompress.cli.messages import tell
from bbcompress.errors import BBCError
from bbcompress.text import redacted


class Several:
    """The files of a command, one after the other."""

    def __init__(self, files: Sequence[str]) -> None:
        self._files = files
        self.alone = len(files) == 1
        self._failed = False

    @contextmanager
    def one(self, file: str) -> Iterator[None]:
        """What goes wrong with this file is told, and its block ends there; where it is alone it is raised."""
        try:
            yield
        except (BBCError, click.UsageError) as error:
            if self.alone:
                raise
            line = error.for_command_line if isinstance(error, BBCError) else error.format_message()
            tell(f"error: {line if redacted(file) in line else f'{file}: {line}'}")
            self.fail()
        except MemoryError:
            if self.alone:
                raise
            tell(f"error: {file}: there is not enough memory")
            self.fail()

    @contextmanager
    def recorded(self, found: list[dict[str, Any]] | None, **facts: Any) -> Iterator[dict[str, Any]]:
        """An entry for a file, which is one of `found`: it says at the end whether all went well, and else why not. A
        block that ends well may have put an `error` into it, where a part was not done.

        found: of a command that prints JSON; None where errors are raised, and the entry is nobody's.
        """
        told = {name: _told(value) for name, value in facts.items()}
        entry = {**told, "ok": False, "error": None}
        if found is None:
            yield entry
            return
        found.append(entry)
        try:
            yield entry
            entry["ok"] = entry["error"] is None
        except BBCError as error:
            entry["error"] = error.for_command_line
            self.fail()

    def print_json(self, found: Sequence[Any], alone: bool | None = None) -> None:
        """Print the entries as a list, or the one of the only file by itself, where it has one.

        alone: whether there is only one output; None where there is one for each file.
        """
        if not (self.alone if alone is None else alone):
            click.echo(json.dumps(found, indent=2))
        elif found:
            click.echo(json.dumps(found[0], indent=2))

    def that_allow(self, check: Callable[[str], object]) -> list[str]:
        """The files of which a check raises nothing."""
        good = []
        for file in self._files:
            with self.one(file):
                check(file)
                good.append(file)
        return good

    def fail(self) -> None:
        """The exit status of the command will be 1."""
        self._failed = True

    def end_if_alone(self) -> None:
        """End the command where this was its only file: a usage of one file is one of the whole command."""
        if self.alone:
            self.end()

    def end(self) -> None:
        """End the command."""
        if self._failed:
            click.get_current_context().exit(1)


def _told(value: Any) -> Any:
    """A fact, without the passwords and tokens of URLs."""
    if isinstance(value, list):
        return [_told(one) for one in value]
    return redacted(value) if isinstance(value, str) else value
