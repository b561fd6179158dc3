"""The group of all commands, and how they end."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click
from click.exceptions import Exit

from bbcompress.cli.help import (
    EXAMPLES,
    EXIT_STATUSES,
    SECTIONS,
    Command,
    command_meant,
    format_headed,
    in_context,
    option_meant,
)
from bbcompress.cli.messages import tell
from bbcompress.errors import BBCError
from bbcompress.system.interrupt import SIGNALLED
from bbcompress.system.signals import SIGINT, Terminated, signals_raise
from bbcompress.version import __version__


class CommandGroup(click.Group):
    """Commands, of which a wrong one is answered with the near one."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with in_context(ctx):
            return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            ctx.fail(f"there is no command {args[0]!r}{command_meant(args[0], list(self.commands))}")
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        format_headed(self, ctx, formatter)
        self.format_commands(ctx, formatter)


class Group(CommandGroup):
    """Reports errors as one line on stderr and an exit status; docs/cli.md has the list."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the help; a command without a place there stands last."""
        known = [name for names in SECTIONS.values() for name in names if name in self.commands]
        return [*known, *sorted(set(self.commands) - set(known))]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, lines in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{name:10}", line) for name, line in lines.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for command, meaning in EXAMPLES:
                formatter.write(f"{'':{formatter.current_indent}}{command}\n")
                with formatter.indentation():
                    formatter.write_text(meaning)
        with formatter.section("Exit status"):
            formatter.write_dl([(status, meaning.replace("`", "")) for status, meaning in EXIT_STATUSES])

    def make_context(self, *arguments: Any, **settings: Any) -> click.Context:
        with _reported():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        with _reported(), signals_raise(), _warnings_told():
            return super().invoke(ctx)


@contextmanager
def _reported() -> Iterator[None]:
    """What goes wrong within the block is told, and is an `Exit` then, which click makes the exit status of."""
    try:
        yield
    except click.UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # of click 8.2 on: the help, where nothing is asked for
            raise
        tell(f"error: {_one_line(error)}")
        raise Exit(error.exit_code) from None
    except BBCError as error:
        tell(f"error: {error.for_command_line}")
        raise Exit(error.exit_code) from None
    except OSError as error:
        if error.errno == errno.EPIPE:  # click ends quietly then
            raise
        place = f"{error.filename}: " if error.filename else _of_stream(error)
        tell(f"error: {place}{error.strerror or error}")
        _forget_what_cannot_be_written()
        raise Exit(1) from None
    except MemoryError:
        tell("error: there is not enough memory")
        raise Exit(1) from None
    except (KeyboardInterrupt, Terminated) as error:
        with suppress(OSError):  # the terminal may be gone
            tell("interrupted")
        raise Exit(SIGNALLED + (error.number if isinstance(error, Terminated) else SIGINT)) from None
    except Exception as error:
        library = _not_imported(error)
        if library is None:
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        tell(f"error: {library} cannot be imported: {reason}")
        raise Exit(1) from None


@contextmanager
def _warnings_told() -> Iterator[None]:
    """Warnings, as of a library about a variable of the environment, are one line each."""
    show = warnings.showwarning

    def tell_of(message: Warning | str, *_: Any, **__: Any) -> None:
        lines = [line for line in str(message).splitlines() if line.strip()]
        tell(f"warning: {lines[0] if lines else type(message).__name__}")

    warnings.showwarning = tell_of
    try:
        yield
    finally:
        warnings.showwarning = show


_PLAIN = {
    "is not a valid integer range": "is not a whole number",
    "is not a valid float range": "is not a number",
    "requires an argument": "needs a value behind it",
}
"""Words of click, and what they mean."""


def _one_line(error: click.UsageError) -> str:
    """What is wrong in how a command was called, and where to read on."""
    if isinstance(error, click.NoSuchOption):
        options = [] if error.ctx is None else [name for its in error.ctx.command.params for name in its.opts]
        text = f"there is no option {error.option_name}{option_meant(error.option_name, options)}"
    else:
        text = " ".join(error.format_message().split()).rstrip(".")
    for words, meaning in _PLAIN.items():
        text = text.replace(words, meaning)
    where = "" if error.ctx is None else f" (try '{error.ctx.command_path} --help')"
    return f"{text[:1].lower()}{text[1:]}{where}"


def _not_imported(error: Exception) -> str | None:
    """The library of others in whose import an error was raised: it may be missing, or not like a variable of the
    environment. None where it was raised elsewhere."""
    trace, names = error.__traceback__, []
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "<module>":
            names.append(str(trace.tb_frame.f_globals.get("__name__", "")))
        trace = trace.tb_next
    if isinstance(error, ImportError):
        names.append(error.name or "")
    packages = [name.partition(".")[0] for name in names]
    return next((package for package in packages if package not in ("", "__main__", "bbcompress")), None)


def _of_stream(error: OSError) -> str:
    """What a message of an error says before it that was raised where click prints, and so names no file; empty for
    others."""
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_name == "echo" and frame.f_globals.get("__name__") == "click.utils":
            return f"standard {'error' if frame.f_locals.get('err') else 'output'} cannot be written: "
        trace = trace.tb_next
    return ""


def _forget_what_cannot_be_written() -> None:
    """Where stdout cannot be written, what is left of it is dropped: Python would try once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):  # it may be no file of the system
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
    except (AttributeError, ValueError):  # it is closed
        pass


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="bbc")
def main() -> None:
    """Compress images without loss by variational auto-encoders and bits-back coding.

    `bbc help COMMAND` says all of a command.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that its encoding lacks is no reason to fail
            stream.reconfigure(errors="backslashreplace")
