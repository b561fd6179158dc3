"""Which files are read."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bbcompress import files
from bbcompress.errors import BBCError, ImageError
from bbcompress.files import (
    LeftOut,
    find_images,
    open_input,
)


def one_line(caught: pytest.ExceptionInfo[BBCError]) -> str:
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


# Input


def test_folders_are_walked_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.JPG", "a/b/c.tiff", "a.webp", "B.png", "no.txt", "png", ".hidden.png", "a/no.bbc"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "in" / "folder.png").mkdir()
    (tmp_path / "in" / "folder.png" / "no.md").touch()
    (tmp_path / "alone.xyz").touch()
    expected = [".hidden.png", "B.png", "a.webp", "a/b/c.tiff", "a/z.JPG", "b.png"]
    assert find_images([str(tmp_path / "in")]) == [(name, tmp_path / "in" / name) for name in expected]
    found = find_images([str(tmp_path / "alone.xyz"), str(tmp_path / "in" / "a")])
    assert [name for name, _ in found] == ["alone.xyz", "b/c.tiff", "z.JPG"]


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "in"
    outside.mkdir()
    (folder / "sub").mkdir(parents=True)
    for path in (outside / "secret.png", folder / "a.png", folder / "sub" / "b.png", folder / "notes.txt"):
        path.touch()
    (folder / "c.png").symlink_to(folder / "a.png")
    (folder / "sub" / "d.png").symlink_to("../a.png")
    (folder / "e.png").symlink_to(outside / "secret.png")
    (folder / "up").symlink_to(folder)
    (folder / "f.png").symlink_to(folder / "missing.png")
    (folder / "g.png").symlink_to("g.png")
    os.mkfifo(folder / "pipe.png")
    left_out = LeftOut()
    found = find_images([str(folder)], left_out)
    assert [name for name, _ in found] == ["a.png", "c.png", "sub/b.png", "sub/d.png"]
    assert sorted(Path(path).name for path in left_out.links) == ["e.png", "up"]
    assert sorted(Path(path).name for path in left_out.files) == ["f.png", "g.png", "notes.txt", "pipe.png"]
    lines = list(left_out.lines())
    assert [line.partition(": ")[0] for line in lines] == [
        "4 files left out, no image or not named as one",
        "2 files left out, a link to a folder or out of its own",
    ]
    assert [line.endswith(", ...") for line in lines] == [True, False]
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "link.png").symlink_to(outside / "secret.png")
    given = find_images([str(tmp_path / "link"), str(tmp_path / "link.png")])
    assert [name for name, _ in given] == ["a.png", "c.png", "sub/b.png", "sub/d.png", "link.png"]


def test_names_that_no_archive_takes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").touch()
    (tmp_path / "x.png").touch()
    with pytest.raises(ImageError, match=r"have the name 'x\.png': .*a/x\.png and .*x\.png"):
        find_images([str(tmp_path / "a"), str(tmp_path / "x.png")])
    for name, reason in ((b"\xff.png", "is not UTF-8"), (b"back\\slash.png", "has a NUL or a backslash")):
        folder = tmp_path / reason
        folder.mkdir()
        with open(os.fsencode(folder) + b"/" + name, "wb"):
            pass
        with pytest.raises(ImageError, match=reason) as caught:
            find_images([str(folder)])
        one_line(caught).encode()


def test_inputs_that_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "no.txt").touch()
    with pytest.raises(ImageError, match="no image in this folder"):
        find_images([str(tmp_path)])
    with pytest.raises(ImageError, match="no such file"):
        find_images([str(tmp_path / "no.txt"), str(tmp_path / "missing.png")])


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its images would be left out of the archive, and nobody would know."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.png").touch()
    scan = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path).name == "sub":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr("os.scandir", scandir)
    with pytest.raises(ImageError, match="sub: cannot be read") as caught:
        find_images([str(tmp_path)])
    one_line(caught)


def test_input_from_a_pipe_can_be_read_from_any_place(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"contents")
    os.close(writing)
    with open_input(f"/dev/fd/{reading}") as file:
        assert file.read(3) == b"con"
        file.seek(0)
        assert file.read() == b"contents"
    os.close(reading)
    (tmp_path / "file").write_bytes(b"contents")
    with open_input(str(tmp_path / "file")) as file:
        assert file.seekable()
    with pytest.raises(OSError, match="missing"):
        open_input(str(tmp_path / "missing"))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"contents")))
    with open_input("-") as file:
        assert file.seekable()
        assert file.read() == b"contents"
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(BBCError, match="closed"):
        files.read_standard_input()
