"""Temporary files and folders beside what is written, and finding those that killed processes left behind.

While a process needs one it holds a lock, on the file, or on the file `lock` in the folder. So what is not locked was
left behind. Names say which machine made them: a lock may not be seen by other machines on a network file system.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from bbcompress.system.locks import try_lock, unlock

_log = logging.getLogger(__name__)

_PREFIX, _SUFFIX = ".bbc-", ".tmp"
_LOCK = "lock"
_TRIES = 100
_FLAGS = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_PATTERN = re.compile(rf"{re.escape(_PREFIX)}[0-9a-f]{{8}}-[0-9a-f]{{16}}{re.escape(_SUFFIX)}")

_searched: set[tuple[int, int]] = set()
"""Folders in which this process has looked for what was left behind, by device and inode."""


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is one that a process of bbc works on, or left behind."""
    return _PATTERN.fullmatch(name) is not None


class TemporaryFile:
    """A new file, open to read and write, and locked; whoever makes it closes the descriptor, and removes it."""

    def __init__(self, folder: Path, private: bool) -> None:
        """private: only its owner may read it; else all whom the process's umask allows. Raises OSError."""
        mode = 0o600 if private else 0o666
        for _ in range(_TRIES):
            self.path = folder / _new_name()
            try:
                self.descriptor = os.open(self.path, _FLAGS | os.O_CREAT | os.O_EXCL, mode)
            except FileExistsError:
                continue
            if _held(self.descriptor, self.path):
                return
            os.close(self.descriptor)
        raise FileExistsError(f"no temporary file can be made in {folder}")

    def remove(self) -> None:
        """Remove it, unless it has another name by now.

        Raises:
            OSError: the operating system reports an error.
        """
        self.path.unlink(missing_ok=True)


class TemporaryFolder:
    """A new folder that only its owner may look into, with a subfolder `files` of the usual permissions."""

    def __init__(self, place: Path) -> None:
        """Raises OSError."""
        for _ in range(_TRIES):
            self.path = place / _new_name()
            try:
                self.path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            try:
                self._lock = os.open(self.path / _LOCK, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
            except FileNotFoundError:  # somebody took the empty folder for one that was left behind
                continue
            except BaseException:
                with suppress(OSError):
                    self.path.rmdir()
                raise
            if not _held(self._lock, self.path / _LOCK):
                os.close(self._lock)
                continue
            self.files = self.path / "files"
            try:
                self.files.mkdir()
            except BaseException:
                self.remove()
                raise
            return
        raise FileExistsError(f"no temporary folder can be made in {place}")

    def remove(self) -> None:
        """Remove it with all that is in it, as far as that goes."""
        with suppress(OSError):
            _empty(self.path)
        with suppress(OSError):
            unlock(self._lock)
        if os.name == "nt":  # which removes no open file
            os.close(self._lock)
        with suppress(OSError):
            (self.path / _LOCK).unlink()
        if os.name != "nt":
            os.close(self._lock)
        with suppress(OSError):
            self.path.rmdir()


def remove_left_behind(folder: Path) -> None:
    """Remove what processes that were killed left in a folder: once a process, for a folder may be large.

    What a process still works on stays, as does what is another machine's or another user's, and whatever has another
    name than ours. Nothing is raised.
    """
    try:
        found = os.stat(folder)
        place = found.st_dev, found.st_ino
        if place in _searched:
            return
        _searched.add(place)
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if is_temporary(entry.name)]
    except OSError:
        return
    for name in names:
        with suppress(OSError):
            if name.startswith(f"{_PREFIX}{_machine()}-") and _removed(folder / name):
                _log.info("%s was left by a process that was killed, and is removed", folder / name)


def _removed(path: Path) -> bool:
    """Remove a temporary file or folder if nobody works on it.

    Raises:
        OSError: the operating system reports an error.
    """
    found = path.lstat()
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        return False
    if stat.S_ISREG(found.st_mode):
        return _removed_unlocked(path, lambda: None)
    if not stat.S_ISDIR(found.st_mode):
        return False
    lock = path / _LOCK
    if lock.exists() and not _removed_unlocked(lock, lambda: _empty(path)):
        return False
    path.rmdir()  # if it is empty: it may be new, and its maker about to lock it; that one then takes another
    return True


def _removed_unlocked(path: Path, first: Callable[[], object]) -> bool:
    """Do something, then remove a file, if nobody has locked it; what comes first is done with it locked.

    Raises:
        OSError: the operating system reports an error.
    """
    if os.name == "nt":  # there an open file cannot be removed, which is as good as a lock
        path.unlink()
        first()
        return True
    try:
        descriptor = os.open(path, _FLAGS)
    except PermissionError:  # it was given the permissions of a file that cannot be written
        descriptor = os.open(path, _FLAGS & ~os.O_RDWR | os.O_RDONLY)
    try:
        if not try_lock(descriptor) or not _is_at(descriptor, path):
            return False
        first()
        path.unlink()
    finally:
        os.close(descriptor)
    return True


def _held(descriptor: int, path: Path) -> bool:
    """Lock a file that was just made; False if somebody was faster, who takes it for one that was left behind."""
    try:
        locked = try_lock(descriptor)
    except OSError:  # there are no locks here, and so nobody removes it
        return True
    return locked and _is_at(descriptor, path)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False


def _empty(folder: Path) -> None:
    """Remove all that is in a temporary folder but its lock, as far as that goes."""
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            import shutil  # which takes longer to import than a small file to write

            shutil.rmtree(entry.path, ignore_errors=True)
        elif entry.name != _LOCK:
            with suppress(OSError):
                os.unlink(entry.path)


def _new_name() -> str:
    return f"{_PREFIX}{_machine()}-{os.urandom(8).hex()}{_SUFFIX}"


@cache
def _machine() -> str:
    """Eight digits that stand for this machine."""
    try:
        number = Path("/etc/machine-id").read_text()
    except (OSError, UnicodeDecodeError):
        number = ""
    name = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    return f"{zlib.crc32(f'{name}|{number}'.encode(errors='replace')):08x}"
