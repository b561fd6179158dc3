"""Signals as exceptions: which come, when, and what is as before afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from bbcompress.system.interrupt import interrupts_leave, leave
from bbcompress.system.signals import SIGNALS, Terminated, held_back, signals_raise

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """As in a program started by a shell, whatever runs the tests; and nothing changes them for good."""
    before = [signal.getsignal(number) for number in SIGNALS]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in SIGNALS[1:]:
        signal.signal(number, signal.SIG_DFL)
    yield
    found = [signal.getsignal(number) for number in SIGNALS]
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)
    assert found == [signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL]


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_ends_a_process_raises(number: int) -> None:
    with pytest.raises(Terminated) as caught, signals_raise():
        send(number)
        raise AssertionError("not reached")
    assert caught.value.number == number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_handlers_of_others_stay(number: int) -> None:
    """So `nohup bbc` survives the end of its terminal."""
    for handler in (signal.SIG_IGN, lambda *_: None):
        signal.signal(number, handler)
        with signals_raise():
            assert signal.getsignal(number) == handler
            send(number)
            with held_back():
                send(number)
    signal.signal(number, signal.SIG_DFL)


def test_all_handlers_are_back_whatever_comes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal may come between two handlers that are set again."""
    set_handler = signal.signal
    sent: list[int] = []

    def interrupted(number: int, handler: Any) -> Any:
        result = set_handler(number, handler)
        if not sent and callable(signal.getsignal(signal.SIGINT)):
            sent.append(number)
            send(signal.SIGINT)
        return result

    with signals_raise():
        before = [signal.getsignal(number) for number in SIGNALS]
        with pytest.raises(KeyboardInterrupt), held_back():
            monkeypatch.setattr("signal.signal", interrupted)
        monkeypatch.undo()
        assert sent
        assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated), (signal.SIGHUP, Terminated)],
)
def test_signals_are_held_back(number: int, error: type[BaseException]) -> None:
    reached = []
    with signals_raise():
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
        "import os, signal\nfrom bbcompress.system.signals import *\n"
        "with held_back():\n os.kill(os.getpid(), signal.SIGTERM)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == -signal.SIGTERM


def test_ctrl_c_outside_of_a_command_ends_the_process_at_once() -> None:
    """So it does while the command line is imported; inside of a command it raises."""
    code = (
        "import os, signal\nfrom bbcompress.system.interrupt import interrupts_leave, leave\ninterrupts_leave()\n"
        "from bbcompress.system.signals import signals_raise\n"
        "try:\n with signals_raise():\n  os.kill(os.getpid(), signal.SIGINT)\n"
        "except KeyboardInterrupt:\n print('raised', signal.getsignal(signal.SIGINT) is leave, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGINT)\nprint('not reached', flush=True)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "raised True\n", "")


def test_ctrl_c_of_others_stays() -> None:
    interrupts_leave()
    assert signal.getsignal(signal.SIGINT) is leave
    for handler in (signal.SIG_IGN, lambda *_: None):
        signal.signal(signal.SIGINT, handler)
        interrupts_leave()
        with signals_raise():
            assert signal.getsignal(signal.SIGINT) is handler
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_waits_for_the_end_of_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside of one it may be swallowed by a callback, or leave half a module."""
    text = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nfor _ in range(1000):\n    pass\nend = 'reached'\n"
    (tmp_path / "sends_ctrl_c.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    signal.signal(signal.SIGINT, leave)
    with pytest.raises(KeyboardInterrupt), signals_raise():
        assert import_module("sends_ctrl_c").end == "reached"
        time.sleep(5)
        raise AssertionError("not reached")
    assert signal.getsignal(signal.SIGINT) is leave
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
@pytest.mark.parametrize("inner", ["numba/core/compiler_lock.py", contextlib.__file__])
def test_signals_wait_while_numba_takes_its_lock(number: int, error: type[BaseException], inner: str) -> None:
    """Raised there, one would leave the lock taken: another thread waited for it for ever."""
    scope: dict[str, Any] = {"os": os, "number": number, "done": []}
    take = "def take():\n    os.kill(os.getpid(), number)\n    for _ in range(1000): pass\n    done.append('taken')"
    for text, file in ((take, inner), ("def compile():\n    take()", "/lib/numba/core/dispatcher.py")):
        exec(compile(text, file.replace("/", os.sep), "exec"), scope)
    signal.signal(signal.SIGINT, leave)
    with pytest.raises(error), signals_raise():
        scope["compile"]()
        time.sleep(5)
        raise AssertionError("not reached")
    assert scope["done"] == ["taken"]
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("context", [held_back, signals_raise])
def test_other_threads_may_use_them(context: Callable[[], Any]) -> None:
    reached = []

    def use() -> None:
        with context():
            reached.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert reached == [signal.SIG_DFL]
