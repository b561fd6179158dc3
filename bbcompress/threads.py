"""How many threads there may be at once: as many as processors, less where several processes share the work."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

from threadpoolctl import threadpool_limits

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


def few_threads(images: int, any_size: bool) -> AbstractContextManager[object]:
    """Without BLAS' threads for groups of several images of a model of one size: its products are small, and threads
    slow them down. Models of any size have large ones, and share out their blocks themselves."""
    return threadpool_limits(1, user_api="blas") if images > 1 and not any_size else nullcontext()
