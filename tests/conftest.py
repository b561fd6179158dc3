"""What holds for every test: none sees what another has changed of its process."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


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
