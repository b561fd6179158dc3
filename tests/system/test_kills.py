"""Processes killed at every moment of writing: each file is old or new, and the next run removes what they left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from PIL import Image

from bbcompress.system import temporary
from bbcompress.system.output import NewFolder, write_file
from bbcompress.system.temporary import is_temporary

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")

CHANGING = ("open", "mkdir", "replace", "link", "unlink", "rmdir", "fsync", "fchmod", "close")
"""Calls of `os` between which a process is killed."""

MOST = 500


def killed_at(moment: int, work: Callable[[], object]) -> bool:
    """Whether a child process that does some work was killed, at the call of that number."""
    child = os.fork()
    if child == 0:
        calls = iter(range(1, MOST))

        def wrapped(function: Any) -> Any:
            def wrapper(*arguments: Any, **options: Any) -> Any:
                if next(calls) == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **options)

            return wrapper

        for name in CHANGING:
            setattr(os, name, wrapped(getattr(os, name)))
        temporary._searched.clear()
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def contents(folder: Path) -> dict[str, bytes]:
    """All files but temporary ones."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not any(is_temporary(part) for part in path.parts)
    }


def left_behind(folder: Path) -> int:
    return sum(is_temporary(path.name) for path in folder.rglob("*"))


@pytest.mark.parametrize("force", [False, True])
def test_a_file(force: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.bbc"
    states, left, moment = set(), 0, 0
    killed = True
    while killed:
        path.unlink(missing_ok=True)
        if force:
            path.write_bytes(b"old")
        moment += 1
        killed = killed_at(moment, lambda: write_file(path, b"new", force))
        found = contents(tmp_path)
        states.add(found.get("a.bbc"))
        assert found in ([{"a.bbc": b"old"}, {"a.bbc": b"new"}] if force else [{}, {"a.bbc": b"new"}])
        left += left_behind(tmp_path)
        temporary._searched.clear()
        write_file(tmp_path / "other", b"", True)
        (tmp_path / "other").unlink()
        assert left_behind(tmp_path) == 0
    assert states == {b"old" if force else None, b"new"}
    assert 5 < moment < MOST
    assert left >= 2


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder(exists: bool, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    names = ["a.png", "sub/b.png", "sub/c.png", "new/d.png"]
    if exists:
        (folder / "sub").mkdir(parents=True)

    def work() -> None:
        with NewFolder(folder, force=True) as new:
            for name in names:
                new.write(name, b"new")

    mixed = left = moment = 0
    killed = True
    while killed:
        if exists:
            for name in names[:3]:
                (folder / name).write_bytes(b"old")
            (folder / "new" / "d.png").unlink(missing_ok=True)
        moment += 1
        killed = killed_at(moment, work)
        found = contents(tmp_path)
        if exists:
            assert all(found.pop(f"out/{name}") in (b"old", b"new") for name in names[:3]), "one is missing, or neither"
            assert found in ({}, {"out/new/d.png": b"new"})
            mixed += len({(folder / name).read_bytes() for name in names[:3]}) > 1
        else:
            assert found in ({}, {f"out/{name}": b"new" for name in names}), "all of them, or none"
        left += left_behind(tmp_path)
        temporary._searched.clear()
        if killed and not exists and folder.exists():
            for name in names:
                (folder / name).unlink()
            for place in (folder / "sub", folder / "new", folder):
                place.rmdir()
        with NewFolder(folder, force=True):
            pass
        if not exists and killed:
            folder.rmdir()
        assert left_behind(tmp_path) == 0
    assert 20 < moment < MOST
    assert left > 10
    assert bool(mixed) == exists


@pytest.mark.usefixtures("tiny_models", "empty_folder")
def test_the_next_command_removes_what_a_killed_one_left() -> None:
    """It waits for its second image, a pipe; another that still waits is left alone."""
    Image.new("L", (8, 8), 7).save("a.png")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def command(*arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "bbcompress", *arguments, "-q"], env=env)

    pipes, children = [], []
    for pipe in ("b.png", "c.png"):
        os.mkfifo(pipe)
        children.append(command("compress", "a.png", pipe, "-o", f"{pipe}.bbc"))
        pipes.append(os.open(pipe, os.O_WRONLY))  # waits until somebody reads it
    assert left_behind(Path()) == 2
    children[0].send_signal(signal.SIGKILL)
    children[0].wait()
    assert left_behind(Path()) == 2
    assert command("compress", "a.png").wait() == 0
    assert left_behind(Path()) == 1, "that of the second stays"
    children[1].send_signal(signal.SIGTERM)
    assert children[1].wait() == 128 + signal.SIGTERM
    for descriptor in pipes:
        os.close(descriptor)
    assert sorted(path.name for path in Path().iterdir()) == ["a.bbc", "a.png", "b.png", "c.png"]
