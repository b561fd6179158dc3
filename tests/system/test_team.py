"""Threads that share small pieces of work: what they do, and what becomes of errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest

from bbcompress.codecs.blocks import at_once
from bbcompress.system.team import MOST_THREADS, NAME, Team
from bbcompress.system.threads import limit_threads, threads

WAIT = 60.0
"""Seconds for an event that is bound to come."""


def helpers() -> int:
    """Threads of teams that there are: those that other tests left are none of theirs."""
    return [thread.name for thread in threading.enumerate()].count(NAME)


@pytest.mark.parametrize("size", [1, 2, MOST_THREADS + 2])
def test_all_is_done_and_no_thread_is_left(size: int) -> None:
    done: list[int] = []
    with Team(size, nullcontext) as team:
        assert helpers() == min(size, MOST_THREADS) - 1
        for number in range(50):
            team.run([lambda n=number, k=k: done.append(10 * n + k) for k in range(3)])  # type: ignore[misc]
            assert len(done) == 3 * (number + 1)
    assert sorted(done) == [10 * n + k for n in range(50) for k in range(3)]
    assert helpers() == 0


def test_teams_of_a_process_share_the_helpers() -> None:
    with Team(3, nullcontext) as first, Team(2, nullcontext) as second, Team(4, nullcontext) as third:
        assert [team.size for team in (first, second, third)] == [3, 1, 2]
        assert second.shares(100, 1) == [(0, 100)]
    with Team(2, nullcontext) as team:
        assert team.size == 2


def test_another_thread_takes_a_part() -> None:
    begun, places = threading.Event(), []

    @contextmanager
    def around() -> Iterator[None]:
        places.append("in")
        yield
        places.append("out")

    with Team(2, around) as team:
        team.run([lambda: begun.wait(WAIT), begun.set])
        assert begun.is_set()
        assert places == ["in"]
    assert places == ["in", "out"]


def test_an_error_of_another_thread_comes_to_the_one_that_asked() -> None:
    begun = threading.Event()

    def fail() -> None:
        begun.set()
        raise ValueError("in the other")

    with pytest.raises(ValueError, match="in the other"), Team(2, nullcontext) as team:
        team.run([lambda: begun.wait(WAIT), fail])
    assert helpers() == 0


def test_after_an_error_nothing_more_is_begun() -> None:
    done: list[int] = []
    with pytest.raises(ZeroDivisionError), Team(1, nullcontext) as team:
        team.run([lambda: 1 // 0, lambda: done.append(1)])
    assert not done


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_what_is_in_work_is_waited_for(error: type[BaseException]) -> None:
    begun, end = threading.Event(), threading.Event()

    def fail() -> None:
        begun.wait(WAIT)
        threading.Timer(0.01, end.set).start()
        raise error

    def wait() -> None:
        begun.set()
        end.wait(WAIT)

    with pytest.raises(error), Team(2, nullcontext) as team:
        team.run([fail, wait])
    assert end.is_set()
    assert not any(thread.name == "bbc team" for thread in threading.enumerate())


def test_without_others_one_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def around() -> AbstractContextManager[None]:
        raise ValueError("not here")

    done: list[int] = []
    with Team(2, around) as team:
        team._threads[0].join()
        team.run([lambda: done.append(0), lambda: done.append(1)])
    monkeypatch.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("no more threads")))
    with Team(2, nullcontext) as team:
        team.run([lambda: done.append(2), lambda: done.append(3)])
    assert done == [0, 1, 2, 3]


def test_shares() -> None:
    team = Team(3, nullcontext)
    assert team.size == 3
    assert team.shares(100, 10) == [(0, 33), (33, 66), (66, 100)]
    assert team.shares(29, 10) == [(0, 14), (14, 29)]
    assert team.shares(9, 10) == [(0, 9)]


def test_threads_that_work_on_blocks_share_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bbcompress.system.threads.processors", lambda: 5)
    monkeypatch.setattr("bbcompress.system.threads._most", None)
    assert list(at_once(lambda _: threads(), [1, 2], 1)) == [2, 2]
    assert threads() == 5
    limit_threads(2)
    assert list(at_once(lambda _: threads(), [1, 2, 3], 1)) == [1, 1, 1]
    limit_threads(None)
