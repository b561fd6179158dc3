"""Threads: what a process may use, and that coding leaves BLAS' threads alone, in this process and afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from bbcompress.system.threads import (
    Team,
    limit_own_threads,
    limit_threads,
    processors,
    single_blas_thread,
    threads,
)

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


def test_a_thread_may_have_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bbcompress.system.threads.processors", lambda: 8)
    found: list[int] = []

    def other() -> None:
        for most in (3, 20):
            limit_own_threads(most)
            found.append(threads())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert found == [3, 8]
    assert threads() == 8


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_team_works_at_once_and_sleeps_otherwise(size: int) -> None:
    before, barrier, done = threading.active_count(), threading.Barrier(size), [0] * size

    def work(number: int) -> None:
        barrier.wait(60)
        done[number] += 1
        assert number == 0 or threads() == 1  # nothing below it is shared out again

    with Team(size) as team:
        assert threading.active_count() == before + size - 1
        for _ in range(100):
            team.run([partial(work, number) for number in range(size)])
        spent = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - spent < 0.1
        team.run([partial(done.append, 7)])  # by its first thread alone
    assert done == [100] * size + [7]
    assert threading.active_count() == before


def test_a_team_raises_when_all_have_ended() -> None:
    ended: list[int] = []

    def work(number: int) -> None:
        if number == 1:
            raise ValueError("one of them")
        time.sleep(0.05)
        ended.append(number)

    with Team(3) as team:
        for _ in range(2):
            with pytest.raises(ValueError, match="one of them"):
                team.run([partial(work, number) for number in range(3)])
        assert sorted(ended) == [0, 0, 2, 2]
        with pytest.raises(ValueError, match="one of them"):
            team.run([partial(work, number) for number in (1, 0, 2)])
        assert len(ended) == 6


def test_a_team_works_within_the_surroundings_of_its_caller() -> None:
    inside: list[str] = []

    @contextmanager
    def around() -> Iterator[None]:
        inside.append("begun")
        yield
        inside.append("ended")

    with Team(3, around) as team:
        team.run([lambda: None] * 3)
        assert inside == ["begun"] * 2
    assert inside == ["begun"] * 2 + ["ended"] * 2


def test_a_team_raises_where_there_are_no_such_surroundings() -> None:
    @contextmanager
    def around() -> Iterator[None]:
        raise OSError("none")
        yield

    with Team(2, around) as team:
        for _ in range(2):
            with pytest.raises(OSError, match="none"):
                team.run([lambda: None] * 2)


def test_a_team_is_smaller_where_the_system_allows_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with Team(4) as team:
        assert team.size == 1
        team.run([lambda: None])


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
    for _ in range(3):  # a busy machine may disturb one of the two
        with_threads, without = seconds(k), seconds(k, OPENBLAS_NUM_THREADS="1")
        if all(more < 2 * less for more, less in zip(with_threads, without, strict=True)):
            return
    pytest.fail(f"coding and decoding: {with_threads} s with threads, {without} s without")
