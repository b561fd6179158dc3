"""Locks on open files: one at a time, given up with the file; on Windows by a byte that nobody reads."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bbcompress.system import locks
from bbcompress.system.locks import try_lock, unlock


def test_a_file_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with (tmp_path / "a").open("r+b") as first, (tmp_path / "a").open("r+b") as second:
        assert try_lock(first.fileno())
        assert not try_lock(second.fileno())
        first.close()
        assert try_lock(second.fileno())


class Windows:
    """`msvcrt` as far as it is used: byte ranges, locked by a descriptor against all others."""

    LK_UNLCK, LK_NBLCK = 0, 2

    def __init__(self) -> None:
        self.locked: dict[tuple[int, int], int] = {}
        self.fault: int | None = None

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        assert count == 1
        assert position + count <= (1 << 31) - 1, "the C function takes a position of 31 bits"
        if self.fault is not None:
            raise OSError(self.fault, os.strerror(self.fault))
        place = os.fstat(descriptor).st_ino, position
        if mode == self.LK_NBLCK:
            if self.locked.setdefault(place, descriptor) != descriptor:
                raise PermissionError(errno.EACCES, "Permission denied")
        elif self.locked.pop(place, None) != descriptor:
            raise PermissionError(errno.EACCES, "Permission denied")


def test_locks_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = Windows()
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "msvcrt", windows)
    (tmp_path / "a").write_bytes(b"contents")
    with (tmp_path / "a").open("r+b", buffering=0) as first, (tmp_path / "a").open("r+b", buffering=0) as second:
        first.seek(3)
        assert try_lock(first.fileno())
        assert not try_lock(second.fileno())
        assert first.read() == b"tents", "the position is as it was"
        ((_, position),) = windows.locked
        assert position >= 8, "nobody else can read a byte that is locked"
        unlock(first.fileno())
        assert try_lock(second.fileno())
        unlock(second.fileno())
        assert not windows.locked
        windows.fault = errno.EINVAL
        with pytest.raises(OSError, match="Invalid"):
            try_lock(first.fileno())
    assert (tmp_path / "a").read_bytes() == b"contents"


def test_a_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "msvcrt", None)
    with (tmp_path / "a").open("wb") as file:
        with pytest.raises(OSError, match="not implemented"):
            try_lock(file.fileno())
        unlock(file.fileno())


def test_an_archive_that_is_added_to_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bbcompress.errors import BBCError
    from bbcompress.system.output import open_to_add

    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "msvcrt", Windows())
    path = tmp_path / "a"
    path.write_bytes(b"contents")
    with open_to_add(path) as file:
        with pytest.raises(BBCError, match="something is being added to it already"), open_to_add(path):
            pass
        assert path.read_bytes() == file.read() == b"contents", "others read it meanwhile"
        file.write(b", and more")
    with open_to_add(path) as file:
        assert file.read() == b"contents, and more"
