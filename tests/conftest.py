"""What holds for every test: none sees what another has changed of its process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from process_state import STATES

# A machine may be slow, and a first call may compile a kernel: no property depends on time.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """What a test changes of its process, and does not undo, is undone. Warnings are pytest's own to undo."""
    before = [read() for read, _ in STATES]
    yield
    for (read, write), state in zip(STATES, before, strict=True):
        if state != {} and read() != state:
            write(state)
