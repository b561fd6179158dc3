"""What one test changes of its process no other test sees, such as a command that silences the package's notices."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from calls_for_tests import at_most
from cases_for_tests import one_test_of
from costs_for_tests import check_cost
from PIL import Image, ImageFile
from process_state import STATES, process_kept
from threadpoolctl import threadpool_limits

from bbcompress.cli.progress import set_up_notices

LOGGER = logging.getLogger("bbcompress.pipeline")


def test_a_command_silences_notices() -> None:
    set_up_notices(quiet=True)
    LOGGER.warning("is not told")  # and the logger remembers that warnings are not enabled
    assert not LOGGER.isEnabledFor(logging.WARNING)


def test_notices_are_told_after_it(caplog: pytest.LogCaptureFixture) -> None:
    LOGGER.warning("is told")
    assert caplog.messages == ["is told"]


def test_what_a_test_changes_is_undone(tmp_path: Path) -> None:
    before = [read() for read, _ in STATES]
    with process_kept():
        set_up_notices(quiet=True)
        os.chdir(tmp_path)
        os.umask(0o123)
        os.environ["LEFT_BEHIND"] = "x"
        os.environ.pop("PATH", None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Image.MAX_IMAGE_PIXELS = 7
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        np.seterr(all="ignore")
        random.seed(1)
        np.random.seed(1)
        sys.path.append("left behind")
        threadpool_limits(1)
        assert [read() for read, _ in STATES] != before
    assert [read() for read, _ in STATES] == before


@pytest.fixture(scope="module")
def silenced() -> None:
    """A command that a whole module needs once."""
    set_up_notices(quiet=True)


@pytest.mark.usefixtures("silenced")
def test_fixtures_of_a_module_silence_no_test(caplog: pytest.LogCaptureFixture) -> None:
    LOGGER.warning("is told")
    assert caplog.messages == ["is told"]


@one_test_of("number", [1, 2, 3])
@one_test_of(("word", "size"), [("a", 1), ("bc", 2)])
def test_cases_of_one_test(tmp_path: Path, number: int, word: str, size: int) -> None:
    """Each once, with the fixtures that pytest gives."""
    assert len(word) == size
    with (tmp_path / "seen").open("a+") as file:
        file.write(f"{number}{word} ")
        file.seek(0)
        seen = file.read().split()
    assert len(seen) == len(set(seen)) == 2 * (number - 1) + size


def test_every_case_that_fails_is_named() -> None:
    @one_test_of("divisor", [2, 0, 4, 3])
    def halves(divisor: int) -> None:
        if divisor == 3:
            pytest.fail("not allowed")
        assert 8 / divisor == 4, "not a half"

    with pytest.raises(AssertionError, match="3 of 4 cases fail") as caught:
        halves()
    _, *failed = str(caught.value).splitlines()
    assert [line.split(":")[:2] for line in failed] == [
        ["divisor=0", " ZeroDivisionError"],
        ["divisor=4", " AssertionError"],
        ["divisor=3", " Failed"],
    ]
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_bound_of_calls_ends_what_would_not_end() -> None:
    with at_most(1000):
        [len(()) for _ in range(500)]
    with pytest.raises(pytest.fail.Exception, match="more than 1000 calls"), at_most(1000):
        while True:
            len(())
    assert sys.getprofile() is None


def test_of_costs_the_least_count() -> None:
    """A cost that a busy machine raises is measured again; one that is too high every time is refused."""
    dear, cheap = iter([(3.0, 5.0), (5.0, 3.0)]), iter([(2.0, 2.0), (2.0, 2.0)])
    check_cost(lambda: next(dear), lambda: next(cheap), 2)
    assert list(dear) == list(cheap) == []
    with pytest.raises(pytest.fail.Exception, match="not below 2 times"):
        check_cost(lambda: (3.0, 4.0), lambda: (2.0, 2.0), 2)
