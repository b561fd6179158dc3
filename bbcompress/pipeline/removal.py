"""Deleting sources whose file is written: only those that are regular files, are whole in it and did not change."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

_State = tuple[int, ...]


class Removal:
    """Sources, as they were before they were read, to be deleted once what was made of them is on the disk."""

    def __init__(self) -> None:
        self._states: dict[Path, _State] = {}

    def take(self, path: Path) -> None:
        """Take down how a file is, before it is read. Raises OSError."""
        self._states[path] = _state(path)

    def remove(self, paths: Sequence[Path], kept: Mapping[Path, str]) -> list[str]:
        """Delete files that were taken down; gives a line for each that stays, which says why.

        kept: reasons not to delete a file.
        """
        lines = []
        for path in paths:
            reason = kept.get(path) or self._remove(path)
            if reason is not None:
                lines.append(f"{path}: {reason}")
        return lines

    def _remove(self, path: Path) -> str | None:
        """Delete a file, or say why not."""
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                return "is a symbolic link" if path.is_symlink() else "is not a regular file"
            if self._states.get(path) != _state(path):
                return "was changed after it was read"
            path.unlink()
        except OSError as error:
            return f"cannot be deleted: {error.strerror or error}"
        return None


def _state(path: Path) -> _State:
    """What is other where a file is another, or was written to. Raises OSError."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
