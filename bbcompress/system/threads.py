"""How many threads there may be at once: as many as processors, less where several processes or threads share the work;
and teams of threads, which work at one thing."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from queue import SimpleQueue
from typing import Any

_most: int | None = None
_own = threading.local()

_Work = Callable[[], None]


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(count: int | None) -> None:
    """From now on this process uses at most so many threads at once; None: as many as there are processors."""
    global _most
    _most = count


def limit_own_threads(count: int) -> None:
    """From now on what runs in this thread uses at most so many threads at once, itself counted."""
    _own.most = count


def threads() -> int:
    """Threads that may be used at once here: in this process, or in this thread where it has a limit of its own."""
    most = processors() if _most is None else min(_most, processors())
    return min(most, getattr(_own, "most", most))


class Team:
    """Threads that work at one thing together, many times: a context manager. One of them is the thread that calls.

    They sleep while there is nothing to do: to wake one takes some tens of microseconds.
    """

    def __init__(self, size: int, around: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """size: number of threads; there are fewer where the system allows no more. around: what the others work
        within, as their caller already does."""
        self.size = size
        self._around = around
        self._works: list[SimpleQueue[_Work | None]] = []
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()
        self._others: list[threading.Thread] = []

    def __enter__(self) -> Team:
        for _ in range(1, self.size):
            works: SimpleQueue[_Work | None] = SimpleQueue()
            other = threading.Thread(target=self._serve, args=(works,), daemon=True)
            try:
                other.start()
            except RuntimeError:  # the system allows no more
                break
            self._works.append(works)
            self._others.append(other)
        self.size = 1 + len(self._others)
        return self

    def __exit__(self, *_: object) -> None:
        for works in self._works:
            works.put(None)
        for other in self._others:
            other.join()

    def run(self, works: Sequence[_Work]) -> None:
        """Do at most `size` pieces of work at once, the first of them in this thread. All have ended when this returns
        or raises what one of them raised."""
        others = works[1:]
        for queue, work in zip(self._works, others, strict=False):
            queue.put(work)
        try:
            works[0]()
        finally:
            failed = [error for error in [self._ended.get() for _ in others] if error is not None]
        if failed:
            raise failed[0]

    def _serve(self, works: SimpleQueue[_Work | None]) -> None:
        limit_own_threads(1)
        try:
            with self._around():
                while (work := works.get()) is not None:
                    self._ended.put(_error_of(work))
        except BaseException as error:  # of the surroundings
            while works.get() is not None:
                self._ended.put(error)


def _error_of(work: _Work) -> BaseException | None:
    """Do the work; what it raises."""
    try:
        work()
    except BaseException as error:
        return error
    return None


class _SingleBLASThread:
    """The limit of `single_blas_thread`. Most BLAS have one number of threads for the whole process: how many blocks
    are inside, and what the numbers were before the first. Where OpenMP's threads are used each thread has a number of
    its own, which every block changes by itself.
    """

    def __init__(self) -> None:
        self._libraries: list[Any] | None = None
        self._lock = threading.Lock()
        self._inside = 0
        self._before: list[tuple[Any, int]] = []

    def enter(self) -> list[tuple[Any, int]]:
        """Begin a block; what `leave` is to be given."""
        with self._lock:
            if self._libraries is None:  # looking for them takes milliseconds, asking them microseconds
                from threadpoolctl import ThreadpoolController

                self._libraries = ThreadpoolController().select(user_api="blas").lib_controllers
            if not self._inside:
                self._before = _numbers([library for library in self._libraries if not _is_per_thread(library)])
                _set((library, 1) for library, _ in self._before)
            self._inside += 1
        own = _numbers([library for library in self._libraries if _is_per_thread(library)])
        _set((library, 1) for library, _ in own)
        return own

    def leave(self, own: list[tuple[Any, int]]) -> None:
        """End a block."""
        _set(own)
        with self._lock:
            if self._inside:  # else it began before this process was forked
                self._inside -= 1
                if not self._inside:
                    _set(self._before)

    def after_fork(self) -> None:
        """The process that forked goes on with its threads; of these the new one has only the one that forked."""
        self._lock = threading.Lock()
        if self._inside:
            self._inside = 0
            _set(self._before)


def _is_per_thread(library: Any) -> bool:
    return getattr(library, "threading_layer", None) == "openmp"


def _numbers(libraries: list[Any]) -> list[tuple[Any, int]]:
    """The libraries with the threads that each has, where it can say so."""
    found = [(library, library.get_num_threads()) for library in libraries]
    return [(library, number) for library, number in found if number is not None]


def _set(numbers: Iterable[tuple[Any, int]]) -> None:
    for library, number in numbers:
        # threadpoolctl lets only the first thread that asks change OpenBLAS; here all threads agree by the lock
        free = getattr(library, "clear_controlling_thread", None)
        if free is not None:
            free(force=True)
        library.set_num_threads(number)
        if free is not None:
            free(force=True)


_single = _SingleBLASThread()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_single.after_fork)


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Within the block the matrix products of this process take no threads of their own.

    Nearly all products of coding are small: threads cost them more than they give, and burn the processors while they
    wait for each other. Groups and blocks are what is shared out. Blocks may be nested, and may overlap in several
    threads: when the last one ends, the number of threads is again what it was before the first.
    """
    own = _single.enter()
    try:
        yield
    finally:
        _single.leave(own)
