"""Properties that are computed once, without a lock that a fork would leave held."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass

import pytest

from bbcompress.lazy import cached_property


@dataclass(frozen=True)
class Doubled:
    number: int

    @cached_property
    def twice(self) -> list[int]:
        """A new list each time that it is computed."""
        return [2 * self.number]


def test_computed_once_and_without_a_lock() -> None:
    one, other = Doubled(3), Doubled(4)
    assert one.twice == [6] and other.twice == [8]
    assert one.twice is one.twice
    assert Doubled.twice.__doc__ == "A new list each time that it is computed."
    assert not hasattr(vars(Doubled)["twice"], "lock")


class Slow:
    """Its property is being computed, in a thread, until the test lets it end."""

    def __init__(self) -> None:
        self.begun, self.end = threading.Event(), threading.Event()

    @cached_property
    def value(self) -> int:
        self.begun.set()
        assert self.end.wait(60)
        return 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_while_a_thread_computes_one_hangs_nowhere() -> None:
    """With a lock, as Python had it before 3.12, the child would wait for a thread that it does not have: for the same
    property of any object of the class."""
    slow, other = Slow(), Slow()
    other.end.set()
    thread = threading.Thread(target=lambda: slow.value)
    thread.start()
    assert slow.begun.wait(60)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if other.value == 7 else 2
        finally:
            os._exit(status)
    try:
        found = _status_of(child)
    finally:
        slow.end.set()
        thread.join()
    assert found == 0
    assert slow.value == 7


def _status_of(child: int) -> int | None:
    """The exit status of a child; None, once it is killed, where it hangs."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
