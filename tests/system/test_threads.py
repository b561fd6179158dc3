"""Threads: what a process may use, and that coding leaves BLAS' threads alone, in this process and afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from costs_for_tests import check_cost
from threadpoolctl import threadpool_info, threadpool_limits

from bbcompress.system.threads import ThreadLock, limit_threads, processors, single_blas_thread, threads

HERE = Path(__file__).resolve().parents[1]


def blas_threads() -> set[int]:
    """The number of threads of each BLAS that is loaded."""
    return {int(library["num_threads"]) for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture
def two_blas_threads() -> Iterator[None]:
    """Two threads, as a program around may have set."""
    np.ones((2, 2)) @ np.ones((2, 2))  # BLAS is there
    with threadpool_limits(2, user_api="blas"):
        if blas_threads() != {2}:
            pytest.skip("this BLAS has no threads to be limited")
        yield


def test_limit_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bbcompress.system.threads._most", None)
    assert threads() == processors()
    limit_threads(1)
    assert threads() == 1
    limit_threads(None)
    assert threads() == processors()


def test_blas_threads_are_given_back(two_blas_threads: None) -> None:
    with single_blas_thread():
        assert blas_threads() == {1}
        with single_blas_thread():
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == {2}
    with pytest.raises(ValueError, match="inside"), single_blas_thread():
        raise ValueError("inside")
    assert blas_threads() == {2}


def test_blas_threads_are_given_back_by_the_last_of_several_threads(two_blas_threads: None) -> None:
    """The one that began first ends first: what it found must not be taken for the other's."""
    inside, end = threading.Event(), threading.Event()

    def other() -> None:
        with single_blas_thread():
            inside.set()
            end.wait(60)

    thread = threading.Thread(target=other)
    with single_blas_thread():
        thread.start()
        assert inside.wait(60)
    assert blas_threads() == {1}
    end.set()
    thread.join()
    assert blas_threads() == {2}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_blas_threads_are_given_back_in_a_fork(two_blas_threads: None) -> None:
    with single_blas_thread():
        child = os.fork()
        if not child:
            os._exit(0 if blas_threads() == {2} else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert blas_threads() == {1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_lock_is_free_in_a_fork() -> None:
    """Another thread holds it, which the new process does not have."""
    lock, held, done = ThreadLock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if not child:
        signal.alarm(60)
        with lock:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


def seconds(k: int, **environment: str) -> list[float]:
    """Processor seconds of coding an image of one block, and of decoding it, in a process of its own."""
    kept = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    path = os.pathsep.join([str(HERE.parent), *filter(None, [kept.get("PYTHONPATH")])])
    worker = [sys.executable, str(HERE / "support" / "threads_worker.py"), str(k)]
    output = subprocess.check_output(worker, env={**kept, **environment, "PYTHONPATH": path}, text=True, timeout=300)
    *times, coder = output.split()
    assert coder == "photo"
    return [float(time) for time in times]


@pytest.mark.skipif(processors() < 2, reason="a single processor has no threads to spare")
@pytest.mark.parametrize("k", [0, 8])
def test_blas_threads_cost_nothing(k: int) -> None:
    """Coding and decoding take hardly more processor time than where BLAS is told to have one thread."""
    check_cost(lambda: seconds(k), lambda: seconds(k, OPENBLAS_NUM_THREADS="1"), 2)
