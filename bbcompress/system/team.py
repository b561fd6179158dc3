"""Threads that share small pieces of work, thousands of times a second.

`codecs.blocks.at_once` gives each thread a block, which takes seconds. A step of a block takes a millisecond, and its
parts have to be handed over in a small share of that. So all waiting is done by one queue of CPython's own, which is
written in C.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from queue import Empty, SimpleQueue
from threading import Thread

from bbcompress.system.threads import ThreadLock

Task = Callable[[], object]

NAME = "bbc team"
"""Of threads that help others."""
MOST_THREADS = 4
"""Most threads of a team: a step has too few rows for more."""


class _Helpers:
    """How many threads of this process help others."""

    def __init__(self) -> None:
        self._lock, self.count = ThreadLock(), 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._none)

    def _none(self) -> None:
        self.count = 0

    def add(self, wanted: int) -> int:
        """Add so many, less those there are already; how many."""
        with self._lock:
            added = max(0, wanted - self.count)
            self.count += added
        return added

    def end(self, added: int) -> None:
        with self._lock:
            self.count = max(0, self.count - added)


_helpers = _Helpers()


class Team:
    """The thread that makes it, and others that help it, until the end of a `with` block.

    The thread itself does what no other has begun when it comes to it. So others that are late, because the machine is
    busy, cost no more than they would have saved. What tasks compute must not depend on the thread.
    """

    def __init__(self, size: int, around: Callable[[], AbstractContextManager[object]]) -> None:
        """size: most threads, this one among them; there are no more than `MOST_THREADS`, and fewer while others help
        other teams. around: makes the context in which the others work."""
        self.size = min(size, MOST_THREADS)
        """Threads that there are, within the block."""
        self._around = around
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._results: SimpleQueue[BaseException | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._added = 0

    def __enter__(self) -> Team:
        self._added = _helpers.add(self.size - 1)
        for _ in range(self._added):
            thread = Thread(target=self._help, name=NAME, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no more threads to give
                break
            self._threads.append(thread)
        self.size = 1 + len(self._threads)
        return self

    def __exit__(self, *error: object) -> None:
        _helpers.end(self._added)
        while self._take() is not None:  # what is left after an error
            pass
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def shares(self, count: int, least: int) -> list[tuple[int, int]]:
        """(begin, end) of about equal shares of so many things, for each thread one, but of at least `least` things
        where they are several."""
        parts = max(1, min(self.size, count // least))
        ends = [count * part // parts for part in range(parts + 1)]
        return list(pairwise(ends))

    def run(self, tasks: Sequence[Task]) -> None:
        """Do all tasks, in any order and at once.

        Raises:
            What a task raises; others may then be undone, or in work until the `with` block ends. The team is of no
            more use after that.
        """
        mine, *others = tasks
        for other in others:
            self._tasks.put(other)
        mine()
        away = len(others)
        while away and (left := self._take()) is not None:
            left()
            away -= 1
        for _ in range(away):
            error = self._results.get()
            if error is not None:
                raise error

    def _take(self) -> Task | None:
        """A task that no thread has begun."""
        try:
            return self._tasks.get_nowait()
        except Empty:
            return None

    def _help(self) -> None:
        try:
            with self._around():
                while (task := self._tasks.get()) is not None:
                    self._results.put(_error_of(task))
        except BaseException as error:  # of the context: the tasks stay for others
            self._results.put(error)


def _error_of(task: Task) -> BaseException | None:
    """Do a task, and say what it raised."""
    try:
        task()
    except BaseException as error:
        return error
    return None
