"""Ctrl-C, SIGTERM and SIGHUP as exceptions, held back where one would leave a file or folder behind."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from bbcompress.system.interrupt import leave

_ENDING = (signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))
"""Signals that end a process which does not handle them. SIGHUP says that the terminal is closed."""

AGAIN = 0.02
"""Seconds after which a signal comes again that came where it cannot be raised."""

SIGINT = signal.SIGINT
SIGNALS = (SIGINT, *_ENDING)


class Terminated(BaseException):
    """SIGTERM or SIGHUP came; to be treated as a KeyboardInterrupt is.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def signals_raise() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP raise `Terminated`, and Ctrl-C KeyboardInterrupt where it would `leave`; one
    that somebody ignores (as nohup does SIGHUP) or handles already does what it did."""
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in SIGNALS}
        before = {number: found[number] for number in _ENDING if found[number] == signal.SIG_DFL}
        if found[signal.SIGINT] is leave:
            before[signal.SIGINT] = leave
    try:
        for number in before:
            signal.signal(number, _interrupt if number == SIGINT else _terminate)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals_left() -> Iterator[None]:
    """Within a block of `signals_raise` SIGTERM and SIGHUP are left to a library that handles them itself, and waits
    where Python's handlers are not called until it returns."""
    raising = [number for number in _ENDING if signal.getsignal(number) is _terminate]
    try:
        for number in raising:
            signal.signal(number, signal.SIG_DFL)
        yield
    finally:
        for number in raising:
            signal.signal(number, _terminate)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, or come again."""
    if not _comes_again(number, frame):
        raise KeyboardInterrupt


def _terminate(number: int, frame: FrameType | None) -> None:
    """Raise `Terminated`, or come again."""
    if not _comes_again(number, frame):
        raise Terminated(number)


def _comes_again(number: int, frame: FrameType | None) -> bool:
    """Let a signal come again where it cannot be raised, and say so.

    That is in an import and in what LLVM calls, where it may be printed and forgotten; and where numba takes or gives
    back its lock, which would stay taken, and another thread would wait for it for ever.
    """
    if not _is_at_a_lock(frame):
        while frame is not None and not _is_deaf(frame.f_code.co_filename):
            frame = frame.f_back
        if frame is None:
            return False
    _thread.start_new_thread(_again, (number,))  # a Thread would take a lock that the frame may hold
    return True


def _is_deaf(file: str) -> bool:
    return file.startswith("<frozen importlib") or "llvmlite" in file


def _is_at_a_lock(frame: FrameType | None) -> bool:
    """Whether numba's lock is being taken or given back: in its own code, or in that of a context of numba's."""
    if frame is not None and frame.f_code.co_filename.endswith("compiler_lock.py"):
        return True
    inside = frame
    while frame is not None and frame.f_code.co_filename == contextlib.__file__:
        frame = frame.f_back
    return frame is not inside and frame is not None and f"{os.sep}numba{os.sep}" in frame.f_code.co_filename


def _again(number: int) -> None:
    time.sleep(AGAIN)
    _thread.interrupt_main(signal.Signals(number))


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
