"""Progress of a training run on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bbcompress.text import escaped


class Reporter:
    """Progress on stderr: a bar on a terminal, a line an epoch elsewhere, nothing when quiet."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def open(self) -> None:
        """Show the bar where there is a terminal."""
        if self._console.is_terminal and not self._quiet:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                TextColumn("{task.fields[bpd]}"), TextColumn("{task.fields[test]}"), console=self._console,
            )  # fmt: skip
            self._bar.start()

    def close(self) -> None:
        """Give the terminal back."""
        if self._bar is not None:
            self._bar.stop()

    def begin(self, phase: str, total: int, done: int) -> None:
        """A phase of `total` steps starts, `done` of which are behind it."""
        if self._bar is not None:
            for task in self._bar.task_ids:
                self._bar.remove_task(task)
            self._task = self._bar.add_task(phase, total=total, completed=done, bpd="", test="")

    @property
    def wants_steps(self) -> bool:
        """Whether step() shows anything."""
        return self._bar is not None

    def step(self, done: int, bpd: float) -> None:
        """`done` steps of the phase are behind; bpd is the epoch's running mean."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, bpd=f"{bpd:.4f} bpd")

    def tested(self, bpd: float) -> None:
        """The bar shows the last figure of held-out images from now on."""
        if self._bar is not None:
            self._bar.update(self._task, test=f"held-out {bpd:.4f}")

    def line(self, text: str) -> None:
        """A plain line, above the bar if there is one."""
        if not self._quiet:
            self._console.print(escaped(text), markup=False)


@contextmanager
def reporting(quiet: bool = False) -> Iterator[Reporter]:
    """A reporter whose bar ends with the block."""
    reporter = Reporter(quiet)
    reporter.open()
    try:
        yield reporter
    finally:
        reporter.close()


# --- Training ------------------------------------------------------------------------------------
