"""How many threads there may be at once: as many as processors, less where several processes share the work."""

from __future__ import annotations

import os

_most: int | None = None


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(count: int) -> None:
    """From now on this process uses at most so many threads at once."""
    global _most
    _most = count


def threads() -> int:
    """Threads that this process may use at once."""
    return processors() if _most is None else min(_most, processors())
