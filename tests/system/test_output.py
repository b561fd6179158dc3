"""Writing so that nothing half-done is ever left, nothing outside a folder is touched, and nothing is lost."""

from __future__ import annotations

import errno
import io
import os
import pydoc
import re
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest import mock

import pytest

from bbcompress.errors import BBCError, OutputExistsError
from bbcompress.system.output import (
    NewFolder,
    new_file,
    open_to_add,
    refuse_existing,
    refuse_missing_folder,
    times_of,
    write_file,
    write_standard_output,
)
from bbcompress.system.permissions import Permissions
from bbcompress.system.signals import SIGNALS, Terminated, signals_raise
from bbcompress.system.temporary import TemporaryFile


def permissions_matter() -> bool:
    """Whether they stop this user; they do not stop root."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o500)
        try:
            (Path(folder) / "file").touch()
        except OSError:
            return True
    return False


needs_permissions = pytest.mark.skipif(not permissions_matter(), reason="permissions do not stop this user")


def listing(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder and below: contents of files, None for folders."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder with other things beside it, which stay as they are."""
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "file").write_bytes(b"beside")
    folder = tmp_path / "place"
    folder.mkdir()
    yield folder
    assert listing(tmp_path / "beside") == {"file": b"beside"}
    assert {path.name for path in tmp_path.iterdir()} == {"beside", "place"}


def one_line(caught: pytest.ExceptionInfo[BBCError]) -> str:
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


def full(*_: Any, **__: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# One file


def test_a_file_appears_whole(place: Path) -> None:
    path = place / "a.bbc"
    with new_file(path, force=False) as file:
        file.write(b"con")
        assert not path.exists()
        file.write(b"tents")
    assert listing(place) == {"a.bbc": b"contents"}


def test_a_file_has_the_usual_permissions(place: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_file(place / "a", b"", force=False)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((place / "a").stat().st_mode) == 0o640


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt, SystemExit, BBCError])
@pytest.mark.parametrize("force", [False, True])
def test_a_fault_leaves_nothing(fault: type[BaseException], force: bool, place: Path) -> None:
    if force:
        (place / "a").write_bytes(b"before")
    before = listing(place)
    with pytest.raises(fault), new_file(place / "a", force) as file:
        file.write(b"half")
        file.flush()
        raise fault
    assert listing(place) == before


def test_what_exists_is_overwritten_only_by_force(place: Path) -> None:
    path = place / "a"
    path.write_bytes(b"before")
    with pytest.raises(OutputExistsError, match="exists; overwrite=True") as caught:
        write_file(path, b"after", force=False)
    assert str(path) in one_line(caught)
    assert listing(place) == {"a": b"before"}
    write_file(path, b"after", force=True)
    assert listing(place) == {"a": b"after"}


def test_what_appears_meanwhile_is_not_overwritten(place: Path) -> None:
    with pytest.raises(OutputExistsError), new_file(place / "a", force=False) as file:
        file.write(b"ours")
        (place / "a").write_bytes(b"theirs")
    assert listing(place) == {"a": b"theirs"}


@pytest.mark.parametrize("force", [False, True])
def test_folders_and_devices_are_never_overwritten(force: bool, place: Path) -> None:
    with pytest.raises(OutputExistsError, match="is a folder"):
        write_file(place, b"", force)
    os.mkfifo(place / "pipe")
    with pytest.raises(OutputExistsError, match="not a regular file"):
        write_file(place / "pipe", b"", force)
    assert stat.S_ISFIFO((place / "pipe").stat().st_mode)


def test_a_link_is_replaced_not_followed(place: Path, tmp_path: Path) -> None:
    for name, target in (("link", tmp_path / "beside" / "file"), ("dangling", tmp_path / "missing")):
        (place / name).symlink_to(target)
        with pytest.raises(OutputExistsError):
            write_file(place / name, b"ours", force=False)
        write_file(place / name, b"ours", force=True)
        assert not (place / name).is_symlink()
    assert listing(place) == {"link": b"ours", "dangling": b"ours"}


@pytest.mark.parametrize("call", ["os.fsync", "os.replace", "os.open"])
@pytest.mark.parametrize("before", [None, b"before"])
def test_a_full_disk(call: str, before: bytes | None, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place / "a"
    if before is not None:
        path.write_bytes(before)
    monkeypatch.setattr(call, full)
    with pytest.raises(BBCError, match="No space left") as caught:
        write_file(path, b"contents", force=True)
    assert str(path) in one_line(caught)
    assert listing(place) == ({} if before is None else {"a": before})


@pytest.mark.parametrize("size", [10, 1 << 20])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_full_when_written(size: int, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, or only when the buffer is flushed."""
    make = TemporaryFile.__init__

    def make_full(temporary: TemporaryFile, folder: Path, private: bool) -> None:
        make(temporary, folder, private)
        os.dup2(full := os.open("/dev/full", os.O_RDWR), temporary.descriptor)
        os.close(full)

    monkeypatch.setattr(TemporaryFile, "__init__", make_full)
    with pytest.raises(BBCError, match="No space left") as caught:
        write_file(place / "a", b"x" * size, force=False)
    one_line(caught)
    assert listing(place) == {}


@pytest.mark.parametrize("error", [OSError("truncated"), OSError(errno.EIO, "read"), FileNotFoundError(2, "no", "in")])
def test_errors_of_other_files_are_not_told_as_of_this(error: OSError, place: Path) -> None:
    with pytest.raises(OSError) as caught, new_file(place / "a", force=False) as file:
        file.write(b"half")
        raise error
    assert caught.value is error
    assert listing(place) == {}


def test_errors_of_other_files_while_adding(place: Path) -> None:
    (place / "a").write_bytes(b"before")
    for error in (OSError("truncated"), FileNotFoundError(errno.ENOENT, "no", "in"), OSError(errno.EIO, "read", "in")):
        with pytest.raises(OSError) as caught, open_to_add(place / "a"):
            raise error
        assert caught.value is error


def test_errors_of_the_file_that_is_added_to(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    (place / "a").write_bytes(b"before")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BBCError, match="a: cannot be written: No space left"), open_to_add(place / "a") as file:
        os.fsync(file.fileno())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (100, 1 << 20):
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
        try:
            with pytest.raises(BBCError, match="cannot be written: File too large"), open_to_add(place / "a") as file:
                assert file.read() == b"before"
                file.write(b"x" * size)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        os.truncate(place / "a", 6)
    assert listing(place) == {"a": b"before"}


def test_a_folder_that_is_missing_or_no_folder(place: Path) -> None:
    (place / "file").write_bytes(b"file")
    for path in (place / "missing" / "a", place / "file" / "a"):
        with pytest.raises(BBCError, match="cannot be written") as caught:
            write_file(path, b"", force=False)
        assert str(path) in one_line(caught)
    assert listing(place) == {"file": b"file"}


@needs_permissions
def test_a_folder_that_may_not_be_written(place: Path) -> None:
    place.chmod(0o555)
    with pytest.raises(BBCError, match="cannot be written"):
        write_file(place / "a", b"", force=False)
    assert listing(place) == {}


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "字" * 85])
def test_the_longest_names(name: str, place: Path) -> None:
    """The temporary name is no longer than the name itself may be."""
    write_file(place / name, b"contents", force=False)
    assert listing(place) == {name: b"contents"}
    with NewFolder(place / "folder", force=False) as new:
        new.write(name, b"contents")
    (place / name).unlink()
    with NewFolder(place / name, force=False) as new:
        new.write(name, b"contents")
    assert listing(place / name) == {name: b"contents"}


def test_no_private_file_is_ever_readable_by_others(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even empty, when somebody could open it; and the process's umask, which all threads share, stays."""
    monkeypatch.setattr("os.umask", full)
    made: list[int] = []
    open_file = os.open

    def watched(path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        descriptor = open_file(path, flags, mode, **options)
        if flags & os.O_CREAT:
            made.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr("os.open", watched)
    with new_file(place / "a", False, Permissions(0o600, os.getgid())) as file:
        file.write(b"private")
    with new_file(place / "b", False, lambda: Permissions(0o640, os.getgid())) as file:
        file.write(b"of the group")
    assert made == [0o600, 0o600]
    assert [stat.S_IMODE((place / name).stat().st_mode) for name in "ab"] == [0o600, 0o640]
    for folder in (place / "new", place):
        with NewFolder(folder, True, Permissions(0o400, os.getgid())) as new:
            new.write("c", b"private")
            (staging,) = place.glob(".bbc-*")
            assert stat.S_IMODE(staging.stat().st_mode) == 0o700, "nobody gets to what is inside"
        assert stat.S_IMODE((folder / "c").stat().st_mode) == 0o400


def test_times_of_a_file(place: Path) -> None:
    times = 10**18 + 5, 10**18 + 7
    write_file(place / "a", b"contents", False, times=times)
    assert times_of(place / "a") == times
    write_file(place / "b", b"contents", False, times=(0, 10**30))  # which no system knows
    assert (place / "b").read_bytes() == b"contents"


class Recorder:
    """The calls that change what is on a disk, in their order; paths relative to a folder."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
        self.calls: list[tuple[str, ...]] = []
        self._place = place
        for name in ("replace", "link", "fsync"):
            self._record(monkeypatch, name, getattr(os, name))

    def _record(self, monkeypatch: pytest.MonkeyPatch, name: str, function: Any) -> None:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            paths = [os.readlink(f"/proc/self/fd/{x}") if isinstance(x, int) else x for x in arguments]
            self.calls.append((name, *(os.path.relpath(path, self._place) for path in paths)))
            return function(*arguments, **options)

        monkeypatch.setattr(os, name, wrapper)

    def named(self) -> list[tuple[str, ...]]:
        """The names of temporary files and folders replaced."""
        return [tuple(re.sub(r"\.bbc-[^/]*\.tmp", "tmp", path) for path in call) for call in self.calls]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_a_file_survives_a_power_failure(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First its contents are on the disk, then it gets its name, then the name is on the disk."""
    for force in (False, True):
        recorder = Recorder(monkeypatch, place)
        write_file(place / "a", b"contents", force)
        assert recorder.named() == [("fsync", "tmp"), ("replace" if force else "link", "tmp", "a"), ("fsync", ".")]
        monkeypatch.undo()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_survives_a_power_failure(exists: bool, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of each file, and of each folder that is made."""
    if exists:
        (place / "deep" / "out").mkdir(parents=True)
    recorder = Recorder(monkeypatch, place)
    with NewFolder(place / "deep" / "out", force=True) as new:
        for name in ("a", "x/y/b"):
            new.write(name, name.encode())
    calls = recorder.named()
    renames = [number for number, call in enumerate(calls) if call[0] == "replace"]
    before, after = calls[: renames[0]], calls[renames[-1] + 1 :]
    assert len(renames) == (2 if exists else 1)
    staging = "deep/out/tmp/files" if exists else "deep/tmp/files"
    assert {("fsync", f"{staging}/{name}") for name in ("a", "x/y/b")} <= set(before)
    synced = {path for _, path in after}
    if exists:
        assert synced == {"deep/out", "deep/out/x", "deep/out/x/y"}
    else:
        assert {("fsync", place) for place in (staging, f"{staging}/x", f"{staging}/x/y")} <= set(before)
        assert synced == {"deep", "."}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_folder_that_cannot_be_synced(number: int, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems refuse that; an error of the disk is told, though the file is there."""
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    (place / "there").mkdir()
    told = nullcontext() if number == errno.EINVAL else pytest.raises(BBCError, match="may not survive a power failure")
    with told:
        write_file(place / "a", b"contents", force=False)
    with told, NewFolder(place / "there", force=False) as new:
        new.write("a", b"contents")
    assert listing(place) == {"a": b"contents", "there": None, "there/a": b"contents"}


# A folder of files


def test_a_folder_appears_whole(place: Path) -> None:
    folder = place / "deep" / "out"
    with NewFolder(folder, force=False) as new:
        new.write("b.png", b"b")
        new.write("sub/a.png", b"a")
        assert not folder.exists()
    assert listing(place) == {
        "deep": None,
        "deep/out": None,
        "deep/out/b.png": b"b",
        "deep/out/sub": None,
        "deep/out/sub/a.png": b"a",
    }


def test_files_are_added_to_a_folder(place: Path) -> None:
    (place / "sub").mkdir()
    (place / "sub" / "other").write_bytes(b"other")
    with NewFolder(place, force=False) as new:
        new.check(["a.png", "sub/b.png"])
        new.write("a.png", b"a")
        new.write("sub/b.png", b"b")
        new.write("new/c.png", b"c")
        assert not (place / "a.png").exists()
    expected = {"a.png": b"a", "new": None, "new/c.png": b"c", "sub": None, "sub/b.png": b"b", "sub/other": b"other"}
    assert listing(place) == expected


def test_files_for_a_folder_that_exists_never_stand_beside_it(place: Path) -> None:
    """Beside it may be another file system, or a folder that may not be written, as / is."""
    with NewFolder(place, force=False) as new:
        new.write("a.png", b"a")
        assert {path.name for path in place.parent.iterdir()} == {"beside", "place"}
        assert any(path.name == "a.png" for path in place.rglob("*"))
    assert listing(place) == {"a.png": b"a"}


def test_an_empty_folder(place: Path) -> None:
    with NewFolder(place / "out", force=False):
        pass
    assert listing(place) == {"out": None}


@pytest.mark.parametrize("folder", [".", "out/../out", "out/"])
def test_other_ways_to_name_a_folder(folder: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "out").mkdir()
    monkeypatch.chdir(place)
    with NewFolder(Path(folder), force=False) as new:
        new.write("a.png", b"a")
    expected: dict[str, bytes | None] = {"a.png": b"a", "out": None}
    assert listing(place) == (expected if folder == "." else {"out": None, "out/a.png": b"a"})


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt, BBCError])
@pytest.mark.parametrize("folder", ["out", "deep/er/out", "there"])
def test_a_fault_leaves_no_folder(fault: type[BaseException], folder: str, place: Path) -> None:
    (place / "there").mkdir()
    (place / "there" / "a.png").write_bytes(b"before")
    before = listing(place)
    with pytest.raises(fault), NewFolder(place / folder, force=True) as new:
        new.write("a.png", b"a")
        new.write("sub/b.png", b"b")
        raise fault
    assert listing(place) == before


def test_existing_files_of_a_folder_are_overwritten_only_by_force(place: Path) -> None:
    (place / "b.png").write_bytes(b"before")
    for checked in (["a.png", "b.png"], []):
        with pytest.raises(OutputExistsError, match=r"b\.png exists"), NewFolder(place, force=False) as new:
            new.check(checked)
            new.write("a.png", b"a")
            new.write("new/c.png", b"c")
            new.write("b.png", b"b")
        assert listing(place) == {"b.png": b"before"}
    with NewFolder(place, force=True) as new:
        new.check(["b.png"])
        new.write("b.png", b"b")
    assert listing(place) == {"b.png": b"b"}


def test_a_name_twice_is_an_error(place: Path) -> None:
    with pytest.raises(BBCError), NewFolder(place / "out", force=True) as new:
        new.write("a.png", b"first")
        new.write("a.png", b"second")
    assert listing(place) == {}


def test_a_file_is_not_in_the_way_of_a_folder(place: Path) -> None:
    with NewFolder(place / "out", force=True) as new:
        new.write("a.png", b"first")
        assert new.write("a.png/b.png", b"second") == "a.png-2/b.png"
    assert listing(place) == {"out": None, "out/a.png": b"first", "out/a.png-2": None, "out/a.png-2/b.png": b"second"}


def test_times_of_files(place: Path) -> None:
    with NewFolder(place / "out", force=False) as new:
        for name, time in {"a.png": 1_000_000_000, "b.png": -86_400, "c/d.png": (1 << 37) - 1}.items():
            new.write(name, b"a", time)
        new.write("now.png", b"a")
    assert [(place / "out" / name).stat().st_mtime_ns for name in ("a.png", "b.png")] == [10**18, -86_400 * 10**9]
    assert (place / "out" / "now.png").stat().st_mtime > 1_700_000_000


def test_a_system_that_cannot_tell_names_apart(place: Path) -> None:
    """Where case does not count, a.png is there once A.png has been written; neither is lost."""
    with NewFolder(place / "out", force=False) as new:
        new.write("sub/A.png", b"first")
        (next(place.glob(".bbc-*")) / "files" / "sub" / "a.png").write_bytes(b"first, by its other name")
        assert new.write("sub/a.png", b"second") == "sub/a-2.png"
    assert (place / "out" / "sub" / "A.png").read_bytes() == b"first"
    assert (place / "out" / "sub" / "a-2.png").read_bytes() == b"second"


def test_a_system_that_takes_a_file_for_a_folder(place: Path) -> None:
    """Where case does not count, a.png is a file once A.png has been written, and cannot be a folder."""
    with NewFolder(place / "out", force=False) as new:
        new.write("sub/A.png", b"first")
        (next(place.glob(".bbc-*/**/A.png")).with_name("a.png")).write_bytes(b"first, by its other name")
        for name in ("b.png", "c/d.png", "c/e.png"):
            assert new.write(f"sub/a.png/{name}", name.encode()) == f"sub/a.png-2/{name}"
        assert new.write("sub/f.png", b"") == "sub/f.png"
    assert (place / "out" / "sub" / "a.png-2" / "c" / "e.png").read_bytes() == b"c/e.png"


def test_names_are_those_that_windows_can_hold_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with NewFolder(place / "out", force=False) as new:
        assert new.write("a:b.png", b"a") == "a:b.png"
        monkeypatch.setattr("bbcompress.system.output.windows_name", lambda name: name + "!")
        monkeypatch.setattr("bbcompress.system.output.os.name", "nt")
        written = new.write("other", b"b")
        monkeypatch.undo()
    assert written == "other!"
    assert (place / "out" / "other!").read_bytes() == b"b"


def test_a_file_is_no_folder(place: Path) -> None:
    (place / "file").write_bytes(b"file")
    with pytest.raises(OutputExistsError, match="not a folder"):
        NewFolder(place / "file", force=True)
    with pytest.raises(BBCError, match="cannot be written"), NewFolder(place / "file" / "out", force=True):
        pass
    assert listing(place) == {"file": b"file"}


def test_a_file_in_the_place_of_a_subfolder(place: Path) -> None:
    (place / "sub").write_bytes(b"file")
    with pytest.raises(BBCError) as caught, NewFolder(place, force=True) as new:
        new.write("a.png", b"a")
        new.write("sub/b.png", b"b")
    one_line(caught)
    assert listing(place) == {"sub": b"file"}


@pytest.mark.parametrize("name", ["link/a.png", "link/new/a.png", "link/file", "there/up/a.png"])
def test_links_are_no_way_out(name: str, place: Path, tmp_path: Path) -> None:
    (place / "link").symlink_to(tmp_path / "beside")
    (place / "there").mkdir()
    (place / "there" / "up").symlink_to("../..")
    for force in (False, True):
        with pytest.raises(BBCError) as caught, NewFolder(place, force) as new:
            new.write("first.png", b"first")
            new.write(name, b"escaped")
        one_line(caught)
    assert sorted(path.name for path in place.iterdir()) == ["link", "there"]


def test_links_inside_a_folder_and_to_it_are_followed(place: Path) -> None:
    (place / "real" / "sub").mkdir(parents=True)
    (place / "real" / "link").symlink_to("sub")
    (place / "folder").symlink_to("real")
    with NewFolder(place / "folder", force=False) as new:
        new.write("link/a.png", b"a")
        new.write("b.png", b"b")
    assert (place / "folder").is_symlink()
    assert (place / "real" / "sub" / "a.png").read_bytes() == b"a"
    assert (place / "real" / "b.png").read_bytes() == b"b"


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(place: Path, tmp_path: Path) -> None:
    (place / "a.png").symlink_to(tmp_path / "missing")
    with pytest.raises(OutputExistsError), NewFolder(place, force=False) as new:
        new.write("a.png", b"a")
    with NewFolder(place, force=True) as new:
        new.write("a.png", b"a")
    assert not (place / "a.png").is_symlink()


@pytest.mark.parametrize("call", ["os.open", "os.replace", "pathlib.Path.mkdir"])
@pytest.mark.parametrize("folder", ["out", "deep/out", "there"])
def test_a_full_disk_leaves_no_folder(call: str, folder: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "there").mkdir()
    with pytest.raises(BBCError, match="No space left") as caught, monkeypatch.context() as patch:
        patch.setattr(call, full)
        with NewFolder(place / folder, force=True) as new:
            new.write("sub/a.png", b"a")
    assert str(place / folder) in one_line(caught)
    assert listing(place) == {"there": None}


def failing_at(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    """Files cannot be renamed at these calls, counted from 1; that is by `os.replace` or as a new link."""
    calls = iter(range(1, 100))

    def wrapped(function: Any) -> Any:
        def wrapper(*arguments: Any, **options: Any) -> None:
            if "follow_symlinks" not in options and next(calls) in numbers:
                full()
            function(*arguments, **options)

        return wrapper

    for name in ("os.replace", "os.link"):
        monkeypatch.setattr(name, wrapped(getattr(os, name.removeprefix("os."))))


@pytest.mark.parametrize("call", range(1, 5))
@pytest.mark.parametrize("force", [False, True])
def test_files_are_moved_into_a_folder_all_or_none(
    force: bool, call: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file it is that cannot be moved."""
    (place / "other").write_bytes(b"other")
    if force:
        (place / "sub").mkdir()
        (place / "sub" / "b.png").write_bytes(b"before")
        (place / "c.png").symlink_to("missing")
        (place / "e.png").write_bytes(b"before")
    before = listing(place)
    with pytest.raises(BBCError, match="No space left"), NewFolder(place, force) as new:
        for name in ("a.png", "sub/b.png", "c.png", "e.png"):
            new.write(name, b"new")
        failing_at(monkeypatch, *((call,) if force else (call, call + 1)))
    assert listing(place) == before
    assert (place / "c.png").is_symlink() == force


@pytest.mark.parametrize("links", [True, False])
def test_what_cannot_be_taken_back_is_told(links: bool, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no links, what was replaced is gone; else it may be impossible to rename it."""
    names = [f"{number}.png" for number in range(6)]
    for name in names:
        (place / name).write_bytes(b"before")
    if not links:
        monkeypatch.setattr("os.link", full)
    with pytest.raises(BBCError) as caught, NewFolder(place, force=True) as new:
        for name in names:
            new.write(name, b"new")
        failing_at(monkeypatch, *range(5, 20 if links else 6))
    told = one_line(caught)
    assert "No space left on device; 4 of 6 files are changed already: 0.png, 1.png, 2.png, ..." in told
    assert [(place / name).read_bytes() for name in names] == [b"new"] * 4 + [b"before"] * 2
    assert len(list(place.iterdir())) == 6


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_full_when_a_folder_is_written(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_path = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: open_path(Path("/dev/full"), "wb"))
    with pytest.raises(BBCError, match="No space left") as caught, NewFolder(place / "out", force=True) as new:
        new.write("a.png", b"a")
    assert "a.png" in one_line(caught)
    assert listing(place) == {}


# Standard output


def test_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=out))
    write_standard_output(b"contents")
    assert out.getvalue() == b"contents"


def test_standard_output_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=_Full()))
    with pytest.raises(BBCError, match="No space left"):
        write_standard_output(b"contents")
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(BBCError, match="closed"):
        write_standard_output(b"contents")


class _Full(io.BytesIO):
    def flush(self) -> None:
        full()


def test_refusing_what_exists(tmp_path: Path) -> None:
    """A folder or a device also by force, a link by what it leads to; nothing where nothing is."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for name, target in (("to nothing", "missing"), ("to a file", "file"), ("to a folder", "folder"), ("loop", "loop")):
        (tmp_path / name).symlink_to(target)
    for name in ("missing", "file/missing", "missing/missing"):
        refuse_existing(tmp_path / name, force=False)
    for name in ("file", "to nothing", "to a file", "loop"):
        with pytest.raises(OutputExistsError, match=f"{name} exists; overwrite=True replaces it"):
            refuse_existing(tmp_path / name, force=False)
        refuse_existing(tmp_path / name, force=True)
    for path, words in ((tmp_path / "folder", "is a folder"), (tmp_path / "to a folder", "is a folder"),
                        (Path(os.devnull), "is not a regular file")):  # fmt: skip
        with pytest.raises(OutputExistsError, match=words):
            refuse_existing(path, force=True)
    with pytest.raises(BBCError, match="cannot be written"):
        refuse_existing(tmp_path / ("long" * 100), force=True)


# Signals


def sends(function: Any, number: int) -> Any:
    """The function, with a signal as soon as it has done its work, before anybody has its result."""

    def wrapper(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        os.kill(os.getpid(), number)
        return result

    return wrapper


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("call", ["os.open", "os.fsync", "os.fchmod", "pathlib.Path.unlink"])
def test_a_signal_at_any_moment_leaves_no_file(
    number: int, call: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, name = call.rpartition(".")
    monkeypatch.setattr(call, sends(getattr(pydoc.locate(module), name), number))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with (
            pytest.raises((KeyboardInterrupt, Terminated)),
            signals_raise(),
            new_file(place / "a", False, Permissions(0o600, os.getgid())) as file,
        ):
            file.write(b"contents")
            if call == "pathlib.Path.unlink":
                raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, before)
    assert listing(place) == {}


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("call", ["os.open", "pathlib.Path.mkdir", "renaming", "shutil.rmtree"])
def test_a_signal_at_any_moment_leaves_all_or_nothing(
    number: int, existing: bool, call: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = place / "deep" / "er"
    if existing:
        target.mkdir(parents=True)
    start = listing(place)
    renaming = call == "renaming"
    if renaming:  # by a link, which replaces nothing, or of the whole folder
        call = "os.link" if existing else "os.replace"
    module, _, name = call.rpartition(".")
    monkeypatch.setattr(call, sends(getattr(pydoc.locate(module), name), number))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with (
            pytest.raises((KeyboardInterrupt, Terminated)),
            signals_raise(),
            NewFolder(target, force=False) as new,
        ):
            new.write("a", b"a")
            new.write("b", b"b")
            if call == "shutil.rmtree":
                raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, before)
    whole = {**start, "deep": None, "deep/er": None, "deep/er/a": b"a", "deep/er/b": b"b"}
    assert listing(place) == (whole if renaming else start)


def test_a_folder_that_is_missing_or_is_none_or_cannot_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, words in (("no", "there is no folder"), ("no/no", "there is no folder"),
                        ("file", "is not a folder"), ("file/no", "there is no folder")):  # fmt: skip
        for check in (refuse_missing_folder, lambda path: write_file(path, b"", False)):
            with pytest.raises(BBCError, match=f"a: cannot be written: .*{words}"):
                check(tmp_path / name / "a")
    refuse_missing_folder(tmp_path / "a")
    refuse_missing_folder(tmp_path / ("long" * 100) / "a")
    with mock.patch("os.stat", side_effect=PermissionError):
        refuse_missing_folder(tmp_path / "a")
