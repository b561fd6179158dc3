"""What holds for every test: none sees what another has changed of its process."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# A machine may be slow, and a first call may compile a kernel: no property depends on time.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


@pytest.fixture(autouse=True)
def logger_as_imported() -> Iterator[None]:
    """The package's logger is as its import leaves it; what a command changes of it, for its notices, is undone.

    `setLevel` also empties the logger's memory of which levels are enabled; an assignment to `level` does not.
    """
    logger = logging.getLogger("bbcompress")
    handlers, level, propagate, disabled = logger.handlers, logger.level, logger.propagate, logger.disabled
    logger.handlers = list(handlers)
    yield
    logger.handlers, logger.propagate, logger.disabled = handlers, propagate, disabled
    logger.setLevel(level)
