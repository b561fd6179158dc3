"""What runs the work on shards: this process, or others behind the same interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from bbcompress.codecs.progress import Progress
from bbcompress.errors import BBCError

Task = TypeVar("Task")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs a function on tasks; which process takes which task, and when, changes no result.

    Attributes:
        jobs: processes that a function may start itself.
        goes_on: whether work may go on elsewhere when `run` is broken off.
    """

    jobs: int
    goes_on: bool

    def status(self) -> str:
        """What a progress bar says of it; empty for nothing."""

    def run(
        self,
        function: Callable[[Task, Progress | None], Result],
        tasks: Sequence[Task],
        weight: Callable[[Task], int],
        progress: Progress | None = None,
    ) -> Iterator[tuple[int, Result | BBCError]]:
        """The number of each task with its result, or the error that it raised, as they are done.

        Args:
            function: is pickled where other processes run it, as tasks and results are.
            weight: of a task, which `progress` is told in the end.

        Raises:
            BBCError: the engine itself is gone.
        """


class InProcess:
    """Runs one task after the other in this process."""

    goes_on = False

    def __init__(self, jobs: int = 1) -> None:
        self.jobs = jobs

    def status(self) -> str:
        """Nothing."""
        return ""

    def run(
        self,
        function: Callable[[Task, Progress | None], Result],
        tasks: Sequence[Task],
        weight: Callable[[Task], int],
        progress: Progress | None = None,
    ) -> Iterator[tuple[int, Result | BBCError]]:
        """As of `Engine`."""
        for number, task in enumerate(tasks):
            try:
                result: Result | BBCError = function(task, progress)
            except BBCError as error:
                result = error
            yield number, result
