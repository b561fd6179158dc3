"""The time that a run, or a part of it, may take."""

from __future__ import annotations

import math
import time


class Clock:
    """Seconds that may be spent; those that an interrupted run has spent count, those between two sessions do not.

    Attributes:
        seconds: how many there are.
    """

    def __init__(self, seconds: float = math.inf, spent: float = 0.0) -> None:
        self.seconds = seconds
        self._before = spent
        self._started = time.monotonic()

    def count(self, seconds: float) -> None:
        """Take seconds as spent that were spent before it was made."""
        self._before += seconds

    @property
    def spent(self) -> float:
        """Seconds since it was made, and before."""
        return self._before + time.monotonic() - self._started

    @property
    def left(self) -> float:
        """Seconds, not below 0."""
        return max(self.seconds - self.spent, 0.0)

    @property
    def share(self) -> float:
        """How much of the time is spent, 0 to 1."""
        return min(self.spent / self.seconds, 1.0) if self.seconds > 0 else 1.0
