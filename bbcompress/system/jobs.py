"""Work over several processes: the same results in the same order as in one, whatever their number.

Processes are started afresh (never forked: numba's and BLAS' threads do not survive that), end with the one that
started them however that ends, and hold one task at a time.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

from bbcompress.errors import BBCError
from bbcompress.system import kernel_files
from bbcompress.system.signals import SIGNALS, held_back
from bbcompress.system.threads import limit_threads, processors, threads

Task = TypeVar("Task")
Result = TypeVar("Result")

Progress = Callable[[int], None]
Work = Callable[[Task, Progress], Result]
"""What is done with a task; it may tell of its progress."""

MOST_JOBS = 8
"""Most processes without being asked for more: each may take some hundred megabytes."""

MIN_COST = 1 << 18
"""Work, in sub-pixels, for which a process is worth the second that it takes to start."""

AHEAD = 2
"""Results that may wait for an earlier one, for each process."""

_GRACE = 5.0  # seconds for a process to end before it is killed

_PROGRESS, _DONE, _FAILED = range(3)


def default_jobs() -> int:
    """As many processes as there are processors, but few enough for the memory."""
    return min(MOST_JOBS, processors())


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection[Any, Any]
    task: int = -1


class Workers(Generic[Task, Result]):
    """Up to `count` processes, as a context manager; of 1 the work is done in this process."""

    def __init__(
        self, count: int, make: Callable[[], Work[Task, Result]], cost: Callable[[Task], int] = lambda _: MIN_COST
    ) -> None:
        """make: gives the work, in each process once, when the first task comes. It, the tasks and the results are
        pickled. cost: how much work a task is; what comes before two of at least `MIN_COST` is done in this process.
        """
        self._count = count
        self._make = make
        self._cost = cost
        self._work: Work[Task, Result] | None = None
        self._workers: list[_Worker] = []

    def __enter__(self) -> Workers[Task, Result]:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with held_back():
            for worker in self._workers:
                worker.connection.close()  # it is what an idle process waits at
                if kind is not None:
                    worker.process.kill()  # it has no files of its own, and does not hear other signals
            for worker in self._workers:
                worker.process.join(_GRACE)
                if worker.process.is_alive():
                    worker.process.kill()
                    worker.process.join()
            self._workers = []

    def map(self, tasks: Iterable[Task], progress: Progress | None = None) -> Iterator[Result]:
        """The results of the tasks, in their order; tasks are taken as processes become free.

        Args:
            progress: called with what the work tells.

        Raises:
            What the work raised, when its turn comes. BBCError where a process has gone.
        """
        tell = progress or _nobody
        left = iter(tasks)
        ahead: deque[Task] = deque()
        while not self._workers:
            ahead.extend(islice(left, min(2, self._count) - len(ahead)))
            if not ahead:
                return
            if len(ahead) == 2 and all(self._cost(task) >= MIN_COST for task in ahead):
                break
            self._work = self._work or self._make()
            yield self._work(ahead.popleft(), tell)
        yield from self._map_in_processes(ahead, left, tell)

    def _map_in_processes(self, ahead: deque[Task], left: Iterator[Task], tell: Progress) -> Iterator[Result]:
        results: dict[int, tuple[int, Any]] = {}
        yielded = sent = 0
        while True:
            if not ahead:  # taken while all are at work, so that none has to wait for it
                ahead.extend(islice(left, 1))
            if ahead and sent - yielded < AHEAD * self._count and (worker := self._idle()):
                _send(worker, sent, ahead.popleft())
                sent += 1
                continue
            if yielded in results:
                kind, value = results.pop(yielded)
                if kind == _FAILED:
                    raise value
                yielded += 1
                yield value
                continue
            if yielded == sent:
                return
            self._receive(results, tell)

    def _idle(self) -> _Worker | None:
        """A process without a task; a new one if there are not all of them yet."""
        for worker in self._workers:
            if worker.task < 0:
                return worker
        if len(self._workers) == self._count:
            return None
        context = multiprocessing.get_context("spawn")
        with held_back(), _signals_blocked():
            ours, its = context.Pipe()
            share = max(1, threads() // self._count)
            arguments = (its, self._make, share, kernel_files.place().path)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            its.close()
            self._workers.append(_Worker(process, ours))
        return self._workers[-1]

    def _receive(self, results: dict[int, tuple[int, Any]], tell: Progress) -> None:
        """Take in what the processes at work have to say, at least one thing."""
        busy = {worker.connection: worker for worker in self._workers if worker.task >= 0}
        for connection in wait(list(busy)):
            worker = busy[connection]  # type: ignore[index]
            try:
                kind, value = worker.connection.recv()
            except (EOFError, OSError):
                raise _gone() from None
            if kind == _PROGRESS:
                tell(value)
                continue
            results[worker.task] = kind, value
            worker.task = -1


def _send(worker: _Worker, number: int, task: object) -> None:
    worker.task = number
    try:
        worker.connection.send(task)
    except OSError:
        raise _gone() from None


def _gone() -> BBCError:
    return BBCError("a process that did a part of the work has ended; there may not be enough memory for so many jobs")


def _nobody(_: int) -> None:
    """Nobody wants to know."""


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Processes started within the block never see a Ctrl-C, SIGTERM or SIGHUP, which come to all processes of a
    terminal at once: the one that started them does, and ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # else it is started with the first process, and then unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(
    connection: Connection[Any, Any], make: Callable[[], Work[Any, Any]], threads: int, kernels: Path | None
) -> None:
    """What a process does: task after task, until nobody is there to send one.

    Args:
        kernels: where the process that started this one keeps compiled kernels; it may be a temporary directory.
    """
    from threadpoolctl import threadpool_limits

    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.getLogger("bbcompress").setLevel(logging.ERROR)
    limit_threads(threads)
    kernel_files.share(kernels)
    work: Work[Any, Any] | None = None
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            return
        try:
            if work is None:
                work = make()
            with threadpool_limits(threads):
                answer = _DONE, work(task, lambda done: connection.send((_PROGRESS, done)))
        except Exception as error:
            answer = _FAILED, error
        try:
            connection.send(answer)
        except OSError:
            return
        except Exception:  # it cannot be pickled
            connection.send((_FAILED, RuntimeError(repr(answer[1])[:200])))


def _end_with_parent() -> None:
    """End this process when the one that started it has ended: by SIGKILL it can tell nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
