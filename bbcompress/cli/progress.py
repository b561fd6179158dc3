"""What commands tell while they work."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bbcompress.text import escaped

if TYPE_CHECKING:
    from bbcompress.codecs.progress import Progress

BAR_AFTER = 0.5
"""Seconds of work after which a progress bar appears."""


class _Escaping(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return escaped(super().format(record))


def set_up_notices(quiet: bool) -> None:
    """Notices of the library, such as that kernels are being compiled, as lines of ours."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Escaping("bbc: %(message)s"))
    logger = logging.getLogger("bbcompress")
    logger.handlers = [handler]
    logger.setLevel(logging.ERROR if quiet else logging.WARNING)


@contextmanager
def progress(
    title: str, quiet: bool, total: Callable[[], int | None], note: Callable[[], str] | None = None
) -> Iterator[Progress | None]:
    """On a terminal, a progress bar as soon as the work turns out to be long; yields what tells it of pixels done.

    total: gives how many there are, as far as is known; it is asked again and again. note: what else the bar says.
    """
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    bar = _Bar(title, total, note)
    try:
        yield bar.advance
    finally:
        bar.close()


class _Bar:
    """Share done, pixels a second, time left. A timer makes it appear: the work may take long to tell of a pixel."""

    def __init__(self, title: str, total: Callable[[], int | None], note: Callable[[], str] | None) -> None:
        self._title, self._total, self._note = title, total, note
        self._done = 0
        self._begin = time.monotonic()
        self._show: Callable[[], None] | None = None
        self._hide: Callable[[], None] | None = None
        self._timer = threading.Timer(BAR_AFTER, self._appear)
        self._timer.daemon = True
        self._timer.start()

    def advance(self, pixels: int) -> None:
        """So many more are done."""
        self._done += pixels
        if self._show is not None:
            self._show()

    def close(self) -> None:
        """The bar is gone, or never comes."""
        self._timer.cancel()
        self._timer.join()
        if self._hide is not None:
            self._hide()

    def _appear(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = ("{task.description}", BarColumn(), "{task.percentage:>3.0f} %", "{task.fields[rate]}", "left:")
        bar = Progress(
            *(TextColumn(column) if isinstance(column, str) else column for column in columns),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        task = bar.add_task(self._title, total=None, rate="")

        def show() -> None:
            total = self._total()
            rate = self._done / (time.monotonic() - self._begin)
            text = f"{rate / 1e6:.2f} Mpixel/s" if rate >= 1e5 else f"{rate / 1e3:.2f} kpixel/s"
            if self._note is not None:
                text = f"{text}  {self._note()}"
            bar.update(task, completed=self._done, total=max(total, self._done) if total else None, rate=text)

        bar.start()
        self._hide = bar.stop
        self._show = show
        show()
