"""Ctrl-C before a command begins and after it has ended, when there is nothing to be brought in order."""

from __future__ import annotations

import os

# Not from `signal`: while that is imported, with all that it imports, Ctrl-C would end in a traceback.
from _signal import SIGINT, default_int_handler, getsignal, signal  # type: ignore[import-not-found]

SIGNALLED = 128
"""Exit status of what a signal ends, with the signal's number added, as shells have it."""


def leave(number: int, frame: object) -> None:
    """End the process at once and without a word."""
    os._exit(SIGNALLED + number)


def interrupts_leave() -> None:
    """Ctrl-C does so from now on, unless the process ignores or handles it."""
    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, leave)
