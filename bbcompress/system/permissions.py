"""Who may read and write a file: taken from the files that it is made of, as gzip, xz and zstd do.

Only bits to read and to write are taken over, never those to execute or set-user-id, and never the owner or the group.
"""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)

_READ_WRITE = 0o666
_ACCESS_LIST = "system.posix_acl_access"


@dataclass(frozen=True)
class Permissions:
    """bits: of a file's mode, to read and to write. group: whose the bits of the group are; None where there is no one
    such group."""

    bits: int
    group: int | None

    def __and__(self, other: Permissions) -> Permissions:
        """What both allow."""
        if self.group == other.group:
            return Permissions(self.bits & other.bits, self.group)
        return Permissions(self.for_group(None) & other.for_group(None), None)

    def for_group(self, group: int | None) -> int:
        """The bits for a file of that group. Of another group than ours nobody is to get more than before: neither that
        group, nor ours, which then are others."""
        if group is not None and group == self.group:
            return self.bits
        all_others = self.bits & self.bits >> 3 & 0o6
        return self.bits & 0o600 | all_others << 3 | all_others


def permissions_of(path: str | Path) -> Permissions | None:
    """Those of a file. None for what is no regular file, and where the system has no such permissions.

    Raises:
        OSError: it cannot be looked at.
    """
    status = os.stat(path)
    if os.name != "posix" or not stat.S_ISREG(status.st_mode):
        return None
    return Permissions(status.st_mode & _READ_WRITE, None if _has_access_list(path) else status.st_gid)


def shared(permissions: Permissions | None, others: Permissions | None) -> Permissions | None:
    """What both allow; None allows all."""
    return permissions & others if permissions and others else permissions or others


def _has_access_list(path: str | Path) -> bool:
    """Whether a list says more about who may read the file; the group's bits then bound the list."""
    try:
        return hasattr(os, "listxattr") and _ACCESS_LIST in os.listxattr(path)
    except OSError:
        return False


def allow(descriptor: int, permissions: Permissions | None, path: Path) -> None:
    """Give an open file the permissions, if there are any. Some file systems have none; a warning says so where the
    file can then be read by more users."""
    if permissions is None:
        return
    status = os.fstat(descriptor)
    bits = permissions.for_group(status.st_gid)
    try:
        os.fchmod(descriptor, bits)
    except OSError as error:
        if status.st_mode & ~bits & _READ_WRITE:
            reason = error.strerror or error
            _log.warning("warning: %s: its permissions cannot be set to %03o (%s)", path, bits, reason)


def tighten(descriptor: int, permissions: Permissions | None, path: Path) -> bool:
    """Take from an open file what `permissions` do not allow; whether anything changes."""
    if permissions is None:
        return False
    status = os.fstat(descriptor)
    own = status.st_mode & _READ_WRITE
    bits = own & permissions.for_group(status.st_gid)
    if bits == own:
        return False
    allow(descriptor, Permissions(bits, status.st_gid), path)
    return os.fstat(descriptor).st_mode & _READ_WRITE != own
