"""Whether other users of the machine could have written what lies at a path; needed before code is loaded from there.

The rule is that of ssh for keys, with an exception for sticky directories such as /tmp: each directory from the root
down to the path belongs to root or to this user, and only its owner may write in it. In a sticky directory others may
add entries, but not rename or remove this user's. Symbolic links are followed one by one; each has to belong to root
or to this user, and so have the directories that it lies in. The last directory belongs to this user and nobody else
may write in it. What stands after such a check cannot be exchanged later except by this user and root, so there is no
gap between the check and the use.

Windows has access control lists instead, which Python does not show. There a path counts as this user's where it lies
in the user's profile, which Windows lets nobody else write.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from pathlib import Path

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_MAX_LINKS = 40  # as on Linux


class NotPrivateError(Exception):
    """Another user could have written what lies at a path."""


def private_directory(path: Path) -> Path:
    """Make the directory, and those that it lies in, with mode 0700 where they are missing; check all of them.

    Returns:
        The path without symbolic links: use this one from now on.

    Raises:
        NotPrivateError: others could write there; the message says which directory it is. Nothing was made.
        OSError: the directory cannot be made.
    """
    if sys.platform == "win32":
        resolved = _in_profile(path)
        resolved.mkdir(parents=True, exist_ok=True)
        return resolved
    missing: list[str] = []
    while True:
        try:
            there = _checked(path, own=not missing)
            break
        except FileNotFoundError:
            missing.append(path.name)
            path = path.parent
    if not missing:
        return there
    for name in reversed(missing):
        there /= name
        with contextlib.suppress(FileExistsError):  # another process was faster; it is checked below like all else
            there.mkdir(mode=0o700)
    return _checked(there, own=True)


def is_private_file(info: os.stat_result) -> bool:
    """Whether it is a regular file of this user that nobody else may write; `info` is that of the open file."""
    if not stat.S_ISREG(info.st_mode):
        return False
    return sys.platform == "win32" or (info.st_uid == os.geteuid() and not info.st_mode & _OTHERS_MAY_WRITE)


def _checked(path: Path, own: bool) -> Path:
    """The path of an existing directory without symbolic links.

    Args:
        own: the directory has to be this user's, and nobody else may write in it; otherwise it may be root's or sticky,
            as those that it lies in.

    Raises:
        NotPrivateError: others could write what lies there.
        OSError: it does not exist, is no directory, or cannot be looked at.
    """
    here, info, links = os.sep, os.lstat(os.sep), 0
    _check_on_the_way(here, info)
    names = _names(os.fspath(path.absolute()))
    while names:
        name = names.pop()
        step = os.path.dirname(here) if name == os.pardir else os.path.join(here, name)
        entry = os.lstat(step)
        if stat.S_ISLNK(entry.st_mode):
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), step)
            if entry.st_uid not in (0, os.geteuid()):
                raise NotPrivateError(f"{step} is a link of another user")
            target = os.readlink(step)
            here = os.sep if os.path.isabs(target) else here
            names += _names(target)
            continue
        if not stat.S_ISDIR(entry.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), step)
        _check_on_the_way(step, entry)
        here, info = step, entry
    if own and info.st_uid != os.geteuid():
        raise NotPrivateError(f"{here} belongs to another user")
    if own and info.st_mode & _OTHERS_MAY_WRITE:
        raise NotPrivateError(f"{here} can be written by other users")
    return Path(here)


def _check_on_the_way(path: str, info: os.stat_result) -> None:
    """Raises NotPrivateError where others could exchange what lies in the directory."""
    if info.st_uid not in (0, os.geteuid()):
        raise NotPrivateError(f"{path} belongs to another user")
    if info.st_mode & _OTHERS_MAY_WRITE and not info.st_mode & stat.S_ISVTX:
        raise NotPrivateError(f"{path} can be written by other users")


def _names(path: str) -> list[str]:
    """The names of a path, last first."""
    return [name for name in reversed(path.split(os.sep)) if name not in ("", os.curdir)]


def _in_profile(path: Path) -> Path:
    resolved = path.resolve()
    if not resolved.is_relative_to(Path.home().resolve()):
        raise NotPrivateError(f"{path} is not in this user's profile")
    return resolved
