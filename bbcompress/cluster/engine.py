"""The engine of dask.distributed: a cluster that is there, or one that is started for a command on this machine."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, TypeVar

from bbcompress.codecs.progress import Progress
from bbcompress.errors import NEEDS_CLUSTER, BBCError
from bbcompress.system.threads import limit_threads
from bbcompress.text import redacted

Task = TypeVar("Task")
Result = TypeVar("Result")

LOCAL = "local"
"""In place of an address: a cluster is started on this machine, and ends with the command."""

AHEAD = 2
"""Tasks that a worker has at a time: the next one is there when it has done one."""

TRIES = 3
"""Workers that may be lost with a task before it fails: it may be the task that kills them."""

CONNECT_SECONDS = 10
WORKER_SECONDS = 60
CLOSE_SECONDS = 3
"""How long a scheduler is waited for, a first worker, and the end of either."""

_ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss|inproc)://[^/\s@]+(/\S*)?")

_SETTINGS = {
    "distributed.scheduler.allowed-failures": TRIES - 1,
    # What a task takes is memory that no worker could write to its disk: to wait or to spill frees nothing.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.profile.enabled": False,  # which looks at the stack every 10 milliseconds
    "distributed.admin.tick.interval": "500ms",
    "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s",
    "distributed.admin.tick.limit": "1h",  # compiled loops hold the interpreter for seconds, which is no fault
}


class DaskEngine:
    """Runs tasks on a cluster of dask.distributed, as a context manager.

    A task whose worker is lost goes to another one. Workers take one task at a time, whatever their threads are.

    Attributes:
        jobs: 1, since the processes are those of the cluster.
        goes_on: workers end what they have begun.
    """

    jobs = 1
    goes_on = True

    def __init__(self, address: str, processes: int = 1) -> None:
        """address: of the scheduler, such as `tcp://host:8786`, or `LOCAL`. processes: of a local cluster.

        Raises:
            BBCError: dask.distributed is not installed, or there is no scheduler or no worker.
        """
        try:
            import dask
            import distributed
        except ImportError:
            raise BBCError(f"--cluster {NEEDS_CLUSTER}") from None
        if address != LOCAL and _ADDRESS.fullmatch(address) is None:
            raise BBCError(f"{redacted(address)!r} is no address of a cluster, such as tcp://host:8786 or {LOCAL}")
        self._address, self._processes = address, processes
        self._distributed: Any = distributed
        self._config = dask.config
        self._levels: dict[logging.Logger, int] = {}
        self._client: Any = None
        self._cluster: Any = None

    def __enter__(self) -> DaskEngine:
        self._levels = _silence()
        try:
            self._connect()
        except BaseException:
            self._close()
            raise
        return self

    def _connect(self) -> None:
        with self._config.set(_SETTINGS):
            where = self._address
            try:
                if where == LOCAL:
                    self._cluster = self._distributed.LocalCluster(
                        n_workers=self._processes,
                        threads_per_worker=1,
                        processes=True,
                        dashboard_address="127.0.0.1:0",  # nobody looks at it; None is port 8787
                        silence_logs=logging.CRITICAL,
                    )
                    where = self._cluster.scheduler_address
                self._client = self._distributed.Client(where, timeout=CONNECT_SECONDS, set_as_default=False)
                self._client.wait_for_workers(1, timeout=WORKER_SECONDS)
            except (OSError, RuntimeError, ValueError) as error:  # TimeoutError is an OSError
                if self._client is not None:
                    raise BBCError(f"{where}: the cluster has no workers") from None
                raise BBCError(f"{where}: there is no scheduler of dask ({_line(error)})") from None

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        with _quiet():
            for closed in (self._client, self._cluster):
                if closed is not None:
                    with suppress(Exception):  # a scheduler may be gone
                        closed.close(timeout=CLOSE_SECONDS)
            if self._cluster is not None:  # one whose scheduler is gone closes later, in a thread of its own
                self._cluster.status = self._distributed.Status.closed
        self._client = self._cluster = None
        for logger, level in self._levels.items():
            logger.setLevel(level)

    def status(self) -> str:
        """How many workers there are."""
        with suppress(Exception):
            count = len(self._client.nthreads())
            return f"{count} worker{'s' * (count != 1)}"
        return ""

    def run(
        self,
        function: Callable[[Task, Progress | None], Result],
        tasks: Sequence[Task],
        weight: Callable[[Task], int],
        progress: Progress | None = None,
    ) -> Iterator[tuple[int, Result | BBCError]]:
        """As of `Engine`. Tasks go to the cluster as workers become free."""
        waiting = iter(enumerate(tasks))
        numbers: dict[Any, int] = {}
        completed = self._distributed.as_completed(loop=self._client.loop)
        try:
            while True:
                with self._known_scheduler():
                    room = AHEAD * max(1, len(self._client.nthreads())) - len(numbers)
                    for number, task in islice(waiting, max(room, 0)):
                        with _quiet():  # it warns of large tasks, which lists of names are
                            future = self._client.submit(_work, function, task, pure=False)
                        numbers[future] = number
                        completed.add(future)
                    if not numbers:
                        return
                    future = next(completed)
                    result = self._result(future)
                number = numbers.pop(future)
                future.release()
                if progress is not None and not isinstance(result, BBCError):
                    progress(weight(tasks[number]))
                yield number, result
        finally:
            with suppress(Exception), _quiet():
                self._client.cancel(list(numbers), force=True)

    def _result(self, future: Any) -> Any:
        """What a task gave; its error where that is about the task. Raises BBCError where the scheduler is gone."""
        if future.status == "cancelled":
            raise self._gone()
        error = future.exception() if future.status == "error" else None
        if error is None:
            return future.result()
        if isinstance(error, BBCError):
            return error
        if type(error).__name__ == "KilledWorker":
            return BBCError(f"{TRIES} workers ended while they made it; there may not be enough memory for one")
        if isinstance(error, ImportError):
            return BBCError(f"a worker cannot import what it needs ({_line(error)}): install bbcompress there, too")
        return BBCError(f"{type(error).__name__} on a worker: {_line(error)}")

    @contextmanager
    def _known_scheduler(self) -> Iterator[None]:
        """Whatever is raised since the scheduler is gone, as one line that says so."""
        try:
            yield
        except (OSError, CancelledError, RuntimeError, StopIteration) as error:
            raise self._gone(error) from None
        except Exception as error:
            if "Cancelled" not in type(error).__name__:
                raise
            raise self._gone(error) from None

    def _gone(self, error: BaseException | None = None) -> BBCError:
        reason = f" ({_line(error)})" if error is not None and str(error) else ""
        return BBCError(f"{self._address}: the scheduler is gone{reason}")


_at_work = threading.Lock()


def _work(function: Callable[[Any, Progress | None], Any], task: Any) -> Any:
    """Run on a worker: one task at a time, with as many threads as the worker has."""
    from distributed import get_worker

    logging.getLogger("bbcompress").setLevel(logging.ERROR)
    with _at_work:
        limit_threads(get_worker().state.nthreads)
        return function(task, None)


def _silence() -> dict[logging.Logger, int]:
    """Let dask log nothing: results say what failed. Gives the loggers, and their levels before."""
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    for logger in levels:
        logger.setLevel(logging.CRITICAL + 1)
    return levels


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _line(error: BaseException) -> str:
    """What an error of another library says, in short."""
    return " ".join(str(error).split())[:160] or type(error).__name__
