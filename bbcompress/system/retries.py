"""What fails now and then is tried again, a bounded number of times, after ever longer pauses."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from bbcompress.errors import BBCError

Result = TypeVar("Result")

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further try."""

_LASTING = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
_LASTING_NUMBERS = {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}


class StorageError(BBCError):
    """Storage failed again and again. It is never what is wrong with an image."""


def persistent(action: Callable[[], Result]) -> Result:
    """What an action gives. Where storage fails in it, it is done again from its beginning.

    Raises:
        StorageError: it failed each time. What the action raises, where trying again would not help.
    """
    for pause in (*PAUSES, None):
        try:
            return action()
        except (OSError, BBCError) as error:
            if not may_pass(error):
                raise
            if pause is None:
                raise StorageError(f"{error}; it was tried {len(PAUSES) + 1} times") from error
        time.sleep(pause)
    raise AssertionError


def may_pass(error: BaseException) -> bool:
    """Whether an error is one of storage or the network that may be gone at the next try: as itself, or behind an error
    that tells of it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and not isinstance(seen, BBCError):
            return not isinstance(seen, _LASTING) and seen.errno not in _LASTING_NUMBERS
        seen = seen.__cause__ or seen.__context__
    return False
