"""Ctrl-C, SIGTERM and SIGHUP as exceptions, held back where one would leave a file or folder behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

_ENDING = (signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))
"""Signals that end a process which does not handle them. SIGHUP says that the terminal is closed."""

SIGNALS = (signal.SIGINT, *_ENDING)


class Terminated(BaseException):
    """SIGTERM or SIGHUP came; to be treated as a KeyboardInterrupt is. number: of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def termination_raises() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `Terminated` within the block; one that somebody ignores (as nohup does SIGHUP) or
    handles already does what it did."""
    ours: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():
        ours = [number for number in _ENDING if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated(number)


@contextmanager
def held_back() -> Iterator[None]:
    """What would be raised for a signal within the block is raised when it has ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
    arrived: list[int] = []
    try:
        for number in handlers:
            signal.signal(number, lambda number, frame: arrived.append(number))
        yield
    finally:
        _restore(handlers)
        if arrived:
            handlers[signal.Signals(arrived[0])](arrived[0], None)


def _restore(handlers: Mapping[signal.Signals, Callable[..., Any]]) -> None:
    """Set all handlers, also where one that is set already raises meanwhile; that is raised in the end."""
    left = list(handlers.items())
    raised: BaseException | None = None
    while left:
        try:
            while left:
                signal.signal(*left[-1])
                left.pop()
        except BaseException as error:
            raised = error
    if raised is not None:
        raise raised
