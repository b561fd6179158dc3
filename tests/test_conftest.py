"""A test that a command ran before sees the package's notices all the same."""

from __future__ import annotations

import logging

import pytest

from bbcompress.cli.progress import set_up_notices

LOGGER = logging.getLogger("bbcompress.pipeline")


def test_a_command_silences_notices() -> None:
    set_up_notices(quiet=True)
    LOGGER.warning("is not told")  # and the logger remembers that warnings are not enabled
    assert not LOGGER.isEnabledFor(logging.WARNING)


def test_notices_are_told_after_it(caplog: pytest.LogCaptureFixture) -> None:
    LOGGER.warning("is told")
    assert caplog.messages == ["is told"]
