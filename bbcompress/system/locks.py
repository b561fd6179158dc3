"""Locks on open files: between processes, and given up when the file is closed, however the process ends."""

from __future__ import annotations

import errno
import os
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

msvcrt: Any
try:
    import msvcrt
except ImportError:  # all other systems
    msvcrt = None

_LOCKED_BYTE = 0x7FFF_FFFE
"""The byte that is locked on Windows, where nobody else can read a locked byte. It lies behind the end of all but very
large files (there may be a lock behind the end), and it is the last byte that `msvcrt.locking` reaches."""

_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


def try_lock(descriptor: int) -> bool:
    """Lock an open file until it is closed, without waiting. False if it is locked already, by whomever.

    Raises:
        OSError: the file system has no locks.
    """
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
    if msvcrt is not None:
        return _locking(descriptor, msvcrt.LK_NBLCK)
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def unlock(descriptor: int) -> None:
    """Give up a lock before the file is closed: Windows may take its time to do so after that."""
    if fcntl is None and msvcrt is not None:
        _locking(descriptor, msvcrt.LK_UNLCK)


def _locking(descriptor: int, mode: int) -> bool:
    """`msvcrt.locking` of the one byte; the position in the file stays. False where somebody else has locked it."""
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, mode, 1)
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        return False
    finally:
        os.lseek(descriptor, position, os.SEEK_SET)
    return True
