"""Who may read and write what is made of files: nobody who could not read these."""

from __future__ import annotations

import logging
import os
import stat
import sys
from pathlib import Path

import pytest
from cases_for_tests import one_test_of

from bbcompress.system import permissions
from bbcompress.system.output import Tightened
from bbcompress.system.permissions import Permissions, allow, permissions_of, shared, tighten

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs permissions")

OURS, OTHER = 100, 101


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@one_test_of(
    ("bits", "in_its_group", "in_another"),
    [
        (0o600, 0o600, 0o600),
        (0o644, 0o644, 0o644),
        (0o640, 0o640, 0o600),  # the other group's members could not read it
        (0o664, 0o664, 0o644),
        (0o606, 0o606, 0o600),  # its group's members, who are others then, could not
        (0o666, 0o666, 0o666),
        (0o444, 0o444, 0o444),
    ],
)
def test_bits_by_group(bits: int, in_its_group: int, in_another: int) -> None:
    assert Permissions(bits, OURS).for_group(OURS) == in_its_group
    assert Permissions(bits, OURS).for_group(OTHER) == in_another
    assert Permissions(bits, None).for_group(OURS) == in_another


def test_what_several_files_share() -> None:
    private, group, public = (Permissions(bits, OURS) for bits in (0o600, 0o640, 0o644))
    assert shared(public, group) == group
    assert shared(group, private) == private
    assert shared(None, group) == shared(group, None) == group
    assert shared(None, None) is None
    elsewhere = shared(group, Permissions(0o664, OTHER))
    assert elsewhere is not None
    assert elsewhere.for_group(OURS) == elsewhere.for_group(OTHER) == 0o600


def test_permissions_of_files(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    for mode, bits in ((0o7777, 0o666), (0o4755, 0o644), (0o600, 0o600), (0o000, 0o000)):
        path.chmod(mode)
        assert permissions_of(path) == Permissions(bits, path.stat().st_gid)
    os.mkfifo(tmp_path / "pipe")
    assert permissions_of(tmp_path / "pipe") is None
    with pytest.raises(FileNotFoundError):
        permissions_of(tmp_path / "missing")


def test_an_access_list_is_no_groups_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group's bits bound what the list allows to anybody; the group itself may have none."""
    path = tmp_path / "a"
    path.touch(0o660)
    monkeypatch.setattr("os.listxattr", lambda path: ["user.comment", "system.posix_acl_access"], raising=False)
    found = permissions_of(path)
    assert found is not None
    assert found.for_group(path.stat().st_gid) == 0o600


def test_an_archive_is_tightened_for_good_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    path.chmod(0o755)
    group = path.stat().st_gid
    with path.open("r+b") as file, Tightened(file, path) as tightened:
        tightened.to(Permissions(0o666, group), "wide.png")
        assert tightened.note() is None
        tightened.to(None, "stdin")
        assert mode_of(path) == 0o755
    with pytest.raises(ValueError), path.open("r+b") as file, Tightened(file, path) as tightened:
        tightened.to(Permissions(0o600, group), "private.png")
        assert mode_of(path) == 0o600
        raise ValueError
    assert mode_of(path) == 0o755
    with path.open("r+b") as file, Tightened(file, path) as tightened:
        tightened.to(Permissions(0o600, group), "private.png")
        tightened.to(Permissions(0o644, group), "wide.png")
    assert mode_of(path) == 0o600
    note = f"{path} has mode 600 now, since not all who could read it may read private.png"
    assert tightened.note() == note


def test_a_file_system_without_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What goes there is readable by all; that is told, and is no error."""
    path = tmp_path / "a"
    path.touch()
    path.chmod(0o644)

    def refuse(descriptor: int, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.fchmod", refuse)
    with caplog.at_level(logging.WARNING), path.open("r+b") as file:
        allow(file.fileno(), Permissions(0o644, path.stat().st_gid), path)
        assert not caplog.records
        assert not tighten(file.fileno(), Permissions(0o600, path.stat().st_gid), path)
    (record,) = caplog.records
    assert "a: its permissions cannot be set to 600 (Operation not permitted)" in record.getMessage()
    assert record.name == permissions.__name__
