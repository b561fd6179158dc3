"""How many threads there may be at once: as many as processors, less where several processes share the work."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_most: int | None = None
_own = threading.local()
"""What is true of one thread: `sharers`, the number of threads that share what there is, this one among them."""


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(count: int | None) -> None:
    """From now on this process uses at most so many threads at once; None: as many as there are processors."""
    global _most
    _most = count


def share_threads(sharers: int) -> None:
    """This thread is from now on one of so many that share the threads of the process."""
    _own.sharers = sharers


def threads() -> int:
    """Threads that may be used at once: of the process, or, of one that shares these, its share."""
    most = processors() if _most is None else min(_most, processors())
    return max(1, most // getattr(_own, "sharers", 1))


class ThreadLock:
    """A lock between the threads of a process. A process that is forked begins with a free one: the thread that held it
    is not among its own."""

    def __init__(self) -> None:
        self._free()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._free)

    def _free(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


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
