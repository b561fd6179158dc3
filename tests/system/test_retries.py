"""What is tried again, and how often."""

from __future__ import annotations

import errno

import pytest

from bbcompress.errors import BBCError, ImageError
from bbcompress.system import retries
from bbcompress.system.retries import StorageError, may_pass, persistent


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that are made, in no time."""
    made: list[float] = []
    monkeypatch.setattr("bbcompress.system.retries.time.sleep", made.append)
    return made


def told(error: BaseException) -> BBCError:
    """An error that tells of another one, which it hides."""
    try:
        try:
            raise error
        except BaseException:
            raise ImageError("told") from None
    except ImageError as found:
        return found


def failing(*errors: BaseException) -> list[BaseException]:
    return list(errors)


def act(left: list[BaseException]) -> str:
    if left:
        raise left.pop(0)
    return "done"


def test_storage_that_fails_now_and_then_is_tried_again(pauses: list[float]) -> None:
    left = failing(TimeoutError("no answer"), told(ConnectionResetError()), OSError(errno.ETIMEDOUT, "late"))
    assert persistent(lambda: act(left)) == "done"
    assert pauses == [0.5, 1.0, 2.0]


def test_the_tries_are_bounded(pauses: list[float]) -> None:
    left = failing(*[TimeoutError("no answer")] * 9)
    with pytest.raises(StorageError, match="no answer; it was tried 5 times"):
        persistent(lambda: act(left))
    assert pauses == list(retries.PAUSES) and len(left) == 4


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError(), PermissionError(), OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "disk"),
     ImageError("is damaged"), told(FileNotFoundError()), told(ValueError()), IsADirectoryError()],
)  # fmt: skip
def test_what_stays_wrong_is_raised_at_once(error: Exception, pauses: list[float]) -> None:
    assert not may_pass(error)
    with pytest.raises(type(error)):
        persistent(lambda: act([error]))
    assert pauses == []
