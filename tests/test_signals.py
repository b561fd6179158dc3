"""Signals as exceptions: which come, when, and what is as before afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bbcompress.signals import SIGNALS, Terminated, held_back, termination_raises

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """As in a program started by a shell, whatever runs the tests; and nothing changes them for good."""
    before = [signal.getsignal(number) for number in SIGNALS]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    found = [signal.getsignal(number) for number in SIGNALS]
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)
    assert found == [signal.default_int_handler, signal.SIG_DFL]


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_sigterm_raises() -> None:
    with pytest.raises(Terminated), termination_raises():
        send(signal.SIGTERM)
        raise AssertionError("not reached")


def test_handlers_of_others_stay() -> None:
    for handler in (signal.SIG_IGN, lambda *_: None):
        signal.signal(signal.SIGTERM, handler)
        with termination_raises():
            assert signal.getsignal(signal.SIGTERM) == handler
            send(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_signals_are_held_back(number: int, error: type[BaseException]) -> None:
    reached = []
    with termination_raises():
        with pytest.raises(error):
            with held_back():
                send(number)
                send(number)
                with held_back():
                    send(number)
                reached.append("end")
            raise AssertionError("not reached")
        with pytest.raises(error):
            send(number)
    assert reached == ["end"]


def test_an_error_inside_gives_way_to_the_signal_that_came() -> None:
    with pytest.raises(KeyboardInterrupt), held_back():
        send(signal.SIGINT)
        raise ValueError
    with pytest.raises(ValueError), held_back():
        raise ValueError


def test_ignored_signals_stay_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with held_back():
        send(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_sigterm_without_a_handler_ends_the_process_at_once() -> None:
    code = (
        "import os, signal\nfrom bbcompress.signals import *\nwith held_back():\n os.kill(os.getpid(), signal.SIGTERM)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == -signal.SIGTERM


@pytest.mark.parametrize("context", [held_back, termination_raises])
def test_other_threads_may_use_them(context: Callable[[], Any]) -> None:
    reached = []

    def use() -> None:
        with context():
            reached.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert reached == [signal.SIG_DFL]
