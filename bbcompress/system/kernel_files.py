"""Where compiled kernels are kept: a directory of this user alone, and in it files that carry a digest.

A file of a compiled kernel holds machine code, and Python unpickles it: whoever can write it decides what is run. Two
things may have happened to such a file, and each has its own remedy.

* An accident: a dying disk, a power cut, a killed process, a full disk. Each file ends with a SHA-256 digest of what
  stands before it, of its own name and of all that the machine code depends on. The file is read once, the digest of
  these very bytes is compared, and only then are they unpickled. A file that does not fit counts as missing. The
  digest has no key, so that anybody can compute it: it does not protect from other people.
* Another user: `ownership` checks that nobody else can write in the directory, nor exchange it. It lies in
  `NUMBA_CACHE_DIR` where that is set, else in the user's cache directory. Where neither is private and can be written
  it is a temporary one with a name that nobody can guess, which is removed at the end. A directory of kernels that is
  not private is replaced by a new one where the directory that holds it is private.

A file gets its name by a rename when it is written whole. So two processes may write the same file at once, and a third
may read it meanwhile: each sees one of the whole files.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import re
import shutil
import stat
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bbcompress.system.ownership import NotPrivateError, is_private_file, private_directory

FOLDER = "bbcompress"
SUFFIX = ".nbc"
"""Of a compiled kernel's file."""

MAX_BYTES = 64 << 20
"""Of a file; kernels have some hundred kilobytes."""

DAY = 86400
KEPT_UNUSED = 30 * DAY
"""Seconds after which a directory that no process has used is removed."""

_TEMPORARY = "bbcompress-kernels-"
_DIGEST_BYTES = hashlib.sha256().digest_size
_REMOVED = r"(\.removed-[0-9a-f]{32})?"
_OF_A_VERSION = re.compile(r"numba-[0-9A-Za-z.+]+-[0-9a-f]{16}" + _REMOVED)
_TEMPORARY_ONE = re.compile(_TEMPORARY + "[0-9A-Za-z_]{8}" + _REMOVED)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """A directory for compiled kernels."""

    path: Path | None
    """None: there is none that is safe."""

    fault: str | None = None
    """Why kernels are lost at the end of this process; None where they are kept."""


_shared: Path | None = None


def share(path: Path | None) -> None:
    """Let this process use the place of the one that started it, which may be temporary; it is checked all the same."""
    global _shared
    _shared = path


@functools.cache
def place() -> Place:
    """The directory in which each version of the kernels has one of its own; the same at each call.

    Never raises; imports nothing slow.
    """
    faults = []
    if _shared is not None:
        with contextlib.suppress(NotPrivateError, OSError, RuntimeError):
            return Place(private_directory(_shared))
    for base in (os.environ.get("NUMBA_CACHE_DIR"), _user_cache()):
        if not base:
            continue
        path = Path(base).absolute() / FOLDER
        try:
            path = _renewed(path)
            if os.access(path, os.W_OK | os.X_OK) or _holds_kernels(path):
                return Place(path)
            faults.append(f"{path} cannot be written")
        except NotPrivateError as error:
            faults.append(str(error))
        except (OSError, RuntimeError, ValueError) as error:
            faults.append(f"{path} cannot be made: {getattr(error, 'strerror', None) or error}")
    return Place(_temporary(), "; ".join(dict.fromkeys(faults)) or "there is no home directory")


def directory(name: str) -> Place:
    """The directory for the kernels of one version, made where it is missing.

    Its time of modification says when it was used last. Once a day that is brought up to date, and directories that
    have not been used for long are removed.
    """
    base = place()
    if base.path is None:
        return base
    path = base.path / name
    try:
        path = _renewed(path)
        if not 0 <= time.time() - path.stat().st_mtime < DAY or next(path.iterdir(), None) is None:
            with contextlib.suppress(OSError):  # of a read-only file system
                os.utime(path)
                remove_unused(base.path, _OF_A_VERSION)
                _remove_unfinished(path)
    except NotPrivateError as error:
        return Place(None, str(error))
    except OSError as error:
        return Place(None, f"{path} cannot be made: {error.strerror or error}")
    return Place(path, base.fault)


def read(path: Path, key: bytes) -> bytes | None:
    """What `write` stored under this path and key; None where there is nothing, or nothing that can be trusted."""
    try:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(path, flags), "rb") as file:
            info = os.fstat(file.fileno())
            if not is_private_file(info) or info.st_size > MAX_BYTES:
                _log.info("%s is not a file of this user alone, or too large; it is not used", path)
                return None
            data = file.read(info.st_size)  # as many: the buffer has room for all that is asked for
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.info("%s cannot be read: %s", path, error.strerror or error)
        return None
    content, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if digest != _digest(path, key, content):
        _log.info("%s is damaged; the kernel is compiled anew", path)
        return None
    return content


def write(path: Path, key: bytes, content: bytes) -> None:
    """Store bytes under a path, in place of what is there. Raises OSError; what was there is whole then."""
    descriptor, temporary = tempfile.mkstemp(prefix=f"{path.name}.tmp.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.write(_digest(path, key, content))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def kernels(path: Path) -> Iterator[Path]:
    """The files of compiled kernels in a directory."""
    with contextlib.suppress(OSError):
        yield from sorted(path.glob(f"*{SUFFIX}"))


def remove_unused(base: Path, pattern: re.Pattern[str]) -> None:
    """Remove the directories in `base` with names of the pattern that no process has used for `KEPT_UNUSED` seconds.

    Links are neither followed nor removed. A process that begins to use one at this moment finds it whole or gone, and
    compiles anew in the second case: it is renamed before anything of it is removed.
    """
    with contextlib.suppress(OSError), os.scandir(base) as entries:
        for entry in list(entries):
            with contextlib.suppress(OSError):
                match = pattern.fullmatch(entry.name)
                info = entry.stat(follow_symlinks=False)
                if match is None or not stat.S_ISDIR(info.st_mode) or not _is_ours(info):
                    continue
                path = Path(entry.path)
                if match[1] is None:
                    if time.time() - info.st_mtime < KEPT_UNUSED:
                        continue
                    path = path.rename(base / f"{entry.name}.removed-{uuid.uuid4().hex}")
                _log.info("%s has not been used for a month and is removed", entry.path)
                shutil.rmtree(path, ignore_errors=True)


def _renewed(path: Path) -> Path:
    """The private directory, a new one where what is there is not private but lies in a private directory itself.

    Raises:
        NotPrivateError: as `private_directory` does.
        OSError: as `private_directory` does.
    """
    try:
        return private_directory(path)
    except NotPrivateError as error:
        parent = private_directory(path.parent)
        _log.info("%s; it is replaced by a new one", error)
        aside = (parent / path.name).rename(parent / f"{path.name}.removed-{uuid.uuid4().hex}")
        if aside.is_symlink():
            aside.unlink()
        else:
            shutil.rmtree(aside, ignore_errors=True)  # what other users own may stay
        return private_directory(path)


def _remove_unfinished(path: Path) -> None:
    """Remove what processes left behind that were killed while they wrote, a day ago or more."""
    for temporary in path.glob(f"*{SUFFIX}.tmp.*"):
        with contextlib.suppress(OSError):
            if time.time() - temporary.lstat().st_mtime > DAY:
                temporary.unlink()


def _digest(path: Path, key: bytes, content: bytes) -> bytes:
    """Of the names and the key as well: a file that was put in the place of another does not fit."""
    digest = hashlib.sha256()
    for part in (path.parent.name.encode(), path.name.encode(), key):
        digest.update(hashlib.sha256(part).digest())
    digest.update(content)
    return digest.digest()


def _user_cache() -> Path | None:
    """The user's cache directory by the system's convention; None where there is no home directory."""
    try:
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            return Path(local) if local else Path.home() / "AppData" / "Local"
        xdg = os.environ.get("XDG_CACHE_HOME", "")
        if sys.platform != "darwin" and os.path.isabs(xdg):
            return Path(xdg)
        home = Path.home()
        if not home.is_dir():  # it is not for us to make it
            return None
        return home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
    except (OSError, RuntimeError):
        return None


def _holds_kernels(path: Path) -> bool:
    """Whether kernels lie in a directory that cannot be written, as in an image of a machine."""
    return next(path.glob(f"numba-*/*{SUFFIX}"), None) is not None


def _temporary() -> Path | None:
    """A directory for this process and those that it starts; None where no temporary directory is safe."""
    from multiprocessing.util import Finalize

    made = None
    try:
        made = Path(tempfile.mkdtemp(prefix=_TEMPORARY))
        # At the end of this process, also where it is one of multiprocessing's, which end without atexit; but never at
        # the end of one that was forked from it.
        Finalize(None, shutil.rmtree, args=(made, True), exitpriority=-100)
        path = private_directory(made)
        remove_unused(path.parent, _TEMPORARY_ONE)  # those of processes that were killed
        return path
    except (NotPrivateError, OSError) as error:
        _log.info("there is no temporary directory for compiled kernels: %s", error)
        if made is not None:
            with contextlib.suppress(OSError):
                made.rmdir()
        return None


def _is_ours(info: os.stat_result) -> bool:
    return sys.platform == "win32" or info.st_uid == os.geteuid()
