"""The group of all commands, and how they end."""

from __future__ import annotations

import errno
import signal
import sys
from contextlib import suppress
from typing import Any

import click

from bbcompress.cli.messages import tell
from bbcompress.errors import BBCError
from bbcompress.escaping import escaped
from bbcompress.system.signals import Terminated, termination_raises
from bbcompress.version import __version__

SIGNALLED = 128
"""Exit status of what a signal ends, with the signal's number added, as shells have it."""


class Group(click.Group):
    """Reports errors of bbc as one line on stderr and exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with termination_raises():
                return super().invoke(ctx)
        except click.ClickException as error:  # one of use: some of click's own lines quote arguments as they are
            error.message = escaped(error.message)  # type: ignore[misc]
            raise
        except BBCError as error:
            tell(f"error: {error.for_command_line}")
            ctx.exit(error.exit_code)
        except OSError as error:
            if error.errno == errno.EPIPE:  # click ends quietly then
                raise
            place = f"{error.filename}: " if error.filename else ""
            tell(f"error: {place}{error.strerror or error}")
            ctx.exit(1)
        except MemoryError:
            tell("error: there is not enough memory")
            ctx.exit(1)
        except (KeyboardInterrupt, Terminated) as error:
            with suppress(OSError):  # the terminal may be gone
                tell("interrupted")
            ctx.exit(SIGNALLED + (error.number if isinstance(error, Terminated) else signal.SIGINT))


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="bbc")
def main() -> None:
    """Compress images without loss by variational auto-encoders and bits-back coding."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that its encoding lacks is no reason to fail
            stream.reconfigure(errors="backslashreplace")
