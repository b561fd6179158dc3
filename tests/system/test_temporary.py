"""Temporary files and folders: what killed processes left is removed, what others work on or own is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bbcompress.system import locks, temporary
from bbcompress.system.temporary import TemporaryFile, TemporaryFolder, is_temporary, remove_left_behind

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")

PROGRAM = """
import sys
from pathlib import Path
from bbcompress.system.temporary import TemporaryFile, TemporaryFolder
file = TemporaryFile(Path(sys.argv[1]), private=True)
folder = TemporaryFolder(Path(sys.argv[1]))
(folder.files / "sub").mkdir()
(folder.files / "sub" / "a.png").write_bytes(b"contents")
print("there", flush=True)
sys.stdin.read()
"""


def search(folder: Path) -> list[str]:
    """What is there after a process that has not looked into the folder yet has removed what was left behind."""
    temporary._searched.clear()
    remove_left_behind(folder)
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def other(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that works in the folder."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_what_a_killed_process_left_is_removed(other: subprocess.Popen[str], tmp_path: Path) -> None:
    assert len(search(tmp_path)) == 2, "somebody works on them"
    assert all(is_temporary(path.name) for path in tmp_path.iterdir())
    assert (next(tmp_path.glob(".bbc-*/files")) / "sub" / "a.png").read_bytes() == b"contents"
    end(other)
    assert search(tmp_path) == []


def test_it_may_have_any_permissions(other: subprocess.Popen[str], tmp_path: Path) -> None:
    (file,) = (path for path in tmp_path.iterdir() if path.is_file())
    file.chmod(0o444)
    end(other)
    assert search(tmp_path) == []


def test_what_only_looks_like_it_stays(tmp_path: Path) -> None:
    ours = TemporaryFile(tmp_path, private=False)
    os.close(ours.descriptor)
    name = ours.path.name
    others = [name.replace(temporary._machine(), "00000000"), f"x{name}", f"{name}x", ".bbc-12345678.tmp", ".bbc-.tmp"]
    for other in others:
        (tmp_path / other).touch()
    linked = tmp_path / f".bbc-{temporary._machine()}-{'0' * 16}.tmp"
    (tmp_path / "precious").mkdir()
    linked.symlink_to("precious")
    full = tmp_path / f".bbc-{temporary._machine()}-{'1' * 16}.tmp"
    full.mkdir()  # it has no lock, as no folder of ours that holds anything
    (full / "precious").touch()
    assert search(tmp_path) == sorted([*others, "precious", linked.name, full.name])


def test_what_is_another_users_stays(
    other: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(other)
    user = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: user + 1)
    assert len(search(tmp_path)) == 2
    monkeypatch.undo()
    assert search(tmp_path) == []


def test_removing_them_that_was_killed_itself(other: subprocess.Popen[str], tmp_path: Path) -> None:
    """At any moment: a part of the folder is gone, or all but its lock, or the lock, too."""
    end(other)
    (file,) = (path for path in tmp_path.iterdir() if path.is_file())
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    file.unlink()
    (folder / "files" / "sub" / "a.png").unlink()
    assert search(tmp_path) == []
    folder.mkdir()
    assert search(tmp_path) == []


def test_a_new_one_that_is_taken_for_one_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between making it and locking it; whoever makes it sees that, and makes another."""
    lock = locks.try_lock
    calls: list[int] = []

    def late(descriptor: int) -> bool:
        calls.append(descriptor)
        if len(calls) == 1:
            monkeypatch.setattr(temporary, "try_lock", lock)
            assert search(tmp_path) == []
            monkeypatch.setattr(temporary, "try_lock", late)
        return lock(descriptor)

    monkeypatch.setattr(temporary, "try_lock", late)
    file = TemporaryFile(tmp_path, private=True)
    assert os.path.samestat(os.fstat(file.descriptor), os.stat(file.path))
    os.close(file.descriptor)
    file.remove()
    calls.clear()
    folder = TemporaryFolder(tmp_path)
    assert len(calls) == 2
    assert search(tmp_path) == [folder.path.name]
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_searched_once(tmp_path: Path) -> None:
    """A program that writes many files into a folder must not list it again and again."""
    assert search(tmp_path) == []
    file = TemporaryFile(tmp_path, private=True)
    os.close(file.descriptor)
    remove_left_behind(tmp_path)
    assert file.path.exists()
    assert search(tmp_path) == []
    remove_left_behind(tmp_path / "missing")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows there whether a process still works on a file: it stays."""

    def refuse(_: int) -> bool:
        raise OSError("no locks")

    monkeypatch.setattr(temporary, "try_lock", refuse)
    file, folder = TemporaryFile(tmp_path, private=True), TemporaryFolder(tmp_path)
    os.close(file.descriptor)
    assert search(tmp_path) == sorted([file.path.name, folder.path.name])
    folder.remove()
    assert search(tmp_path) == [file.path.name]
