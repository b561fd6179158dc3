"""Which files are read."""

from __future__ import annotations

import errno
import io
import os
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bbcompress.errors import BBCError, ImageError, OutputExistsError
from bbcompress.pipeline import sources as files
from bbcompress.pipeline.sources import (
    LeftOut,
    Skipped,
    find_images,
    open_input,
    read_file,
)
from bbcompress.system.temporary import TemporaryFolder


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
    assert find_images([str(tmp_path / "in")]) == [(name, tmp_path / "in" / name, False) for name in expected]
    found = find_images([str(tmp_path / "alone.xyz"), str(tmp_path / "in" / "a")])
    assert [(source.name, source.given) for source in found] == [
        ("alone.xyz", True),
        ("a/b/c.tiff", False),
        ("a/z.JPG", False),
    ]


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
    assert [source.name for source in found] == ["a.png", "c.png", "sub/b.png", "sub/d.png"]
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
    names = ["link/a.png", "link/c.png", "link/sub/b.png", "link/sub/d.png", "link.png"]
    assert [source.name for source in given] == names


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names_of(*inputs: Any, **options: Any) -> list[str]:
    return [source.name for source in find_images([str(one) for one in inputs], **options)]


def test_names_of_several_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders go in under their own names, as in zip and 7z, and under those above where these are alike."""
    put(tmp_path, "a1/x.png", "a1/s/y.png", "b1/x.png", "one/a1/x.png", "w/z.png")
    monkeypatch.chdir(tmp_path)
    assert names_of("a1") == ["s/y.png", "x.png"]
    assert names_of("a1", "b1") == ["a1/s/y.png", "a1/x.png", "b1/x.png"]
    assert names_of("a1/", "./b1/.", tmp_path / "w" / "z.png") == ["a1/s/y.png", "a1/x.png", "b1/x.png", "z.png"]
    assert names_of("one/a1", "a1") == ["one/a1/x.png", f"{tmp_path.name}/a1/s/y.png", f"{tmp_path.name}/a1/x.png"]
    assert names_of(tmp_path / "a1", "b1/x.png", "a1/x.png") == ["a1/s/y.png", "a1/x.png", "b1/x.png"]
    assert names_of("a1/x.png", "b1/x.png") == ["a1/x.png", "b1/x.png"]
    monkeypatch.chdir("w")
    assert names_of("../a1", "../b1/../one") == ["a1/s/y.png", "a1/x.png", "one/a1/x.png"]
    name = tmp_path.name
    rest = ["a1/s/y.png", "a1/x.png", "b1/x.png", "one/a1/x.png"]
    assert names_of(".", "..") == ["w/z.png", *(f"{name}/{one}" for one in rest)]
    assert names_of("..", ".") == [*(f"{name}/{one}" for one in rest), f"{name}/w/z.png"]
    assert names_of("..") == [*rest, "w/z.png"]
    monkeypatch.chdir("/")
    assert names_of(str(tmp_path / "w").lstrip("/"), "tmp/../" + str(tmp_path / "w")) == ["z.png"]


def test_what_several_inputs_reach_is_taken_once(tmp_path: Path) -> None:
    put(tmp_path, "a/x.png", "a/s/y.png")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "copy.png").symlink_to("x.png")
    a = tmp_path / "a"
    for inputs, expected, repeated in (
        ((a, f"{a}/"), ["copy.png", "s/y.png", "x.png"], 0),
        ((a, a / "s"), ["a/copy.png", "a/s/y.png", "a/x.png"], 1),
        ((a / "s", a), ["s/y.png", "a/copy.png", "a/x.png"], 1),
        ((a / "x.png", a / "x.png", tmp_path / "link" / "x.png"), ["x.png"], 2),
        ((a / "x.png", a), ["x.png", "a/copy.png", "a/s/y.png"], 1),
        ((a / "x.png", a / "copy.png"), ["x.png", "copy.png"], 0),
    ):
        left_out = LeftOut()
        assert names_of(*inputs, left_out=left_out) == expected
        assert len(left_out.repeated) == repeated
    assert "reached by several inputs and taken once: " in next(iter(left_out_of(a, a / "s").lines()))
    twice = left_out_of(a, a / ".." / a.name)
    assert list(twice.lines()) == [f"1 folder given again and taken once: {a / '..' / a.name}"]
    # A folder and a link to it have names of their own, and the images are those of one folder.
    assert names_of(a, tmp_path / "link") == ["a/copy.png", "a/s/y.png", "a/x.png"]


def left_out_of(*inputs: Path) -> LeftOut:
    left_out = LeftOut()
    find_images([str(one) for one in inputs], left_out)
    return left_out


def test_names_that_no_archive_takes(tmp_path: Path) -> None:
    put(tmp_path, "x/a/i.png", "q/x/a/i.png", "r/a/i.png", "x/b.png", "q/x/b.png/i.png", "r/b.png/i.png")
    x, q, r = tmp_path / "x", tmp_path / "q" / "x", tmp_path / "r"
    with pytest.raises(ImageError, match=r"have the name 'x/a/i\.png': .*/x/a/i\.png and .*q/x/a/i\.png") as caught:
        names_of(x, q / "a", r / "a")
    one_line(caught)
    message = r"x/b\.png would be 'x/b\.png' in the archive, and .*i\.png 'x/b\.png/i\.png': a file is no folder"
    with pytest.raises(ImageError, match=message) as caught:
        names_of(x, q / "b.png", r / "b.png")
    one_line(caught)
    for name, reason in ((b"\xff.png", "is not UTF-8"), (b"back\\slash.png", "has a NUL or a backslash")):
        folder = put(tmp_path / reason, "good.png")
        with open(os.fsencode(folder) + b"/" + name, "wb"):
            pass
        with pytest.raises(ImageError, match=reason) as caught:
            find_images([str(folder)])
        one_line(caught).encode()
        skipped = Skipped()
        assert names_of(folder, skipped=skipped) == ["good.png"]
        assert reason in skipped.some()
        odd = os.fsdecode(os.fsencode(tmp_path) + b"/" + name)
        put(Path(odd), "a.png")
        assert names_of(odd) == ["a.png"]
        with pytest.raises(ImageError, match=reason):
            names_of(odd, folder, skipped=Skipped())


def test_what_cannot_be_read_is_skipped_where_it_may_be() -> None:
    error = ImageError("a.png: is empty")
    for asked, given, skips in (
        (None, False, True),
        (None, True, False),
        (True, True, True),
        (True, False, True),
        (False, False, False),
        (False, True, False),
    ):
        skipped = Skipped(asked)
        try:
            skipped.take(error, given, "; more")
        except ImageError as raised:
            assert (raised, skips) == (error, False)
        assert skipped.reasons == ["a.png: is empty; more"] * skips
    skipped = Skipped()
    for number in range(5):
        skipped.take(ImageError(f"{number}.png: is empty"), False)
    assert skipped.some() == "0.png: is empty; 1.png: is empty; 2.png: is empty; ..."


def test_the_output_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put(tmp_path / "in", "a.png", "old.bbc", "s/b.png")
    monkeypatch.chdir(folder)
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "link.bbc").symlink_to(folder / "a.png")
    os.link(folder / "a.png", tmp_path / "hard.bbc")
    for output in ("a.png", folder / "a.png", "../in/s/../a.png", "../link/a.png", "../link.bbc", "../hard.bbc"):
        for inputs in ((".",), ("a.png", "s"), (folder,), (tmp_path / "link",)):
            with pytest.raises(OutputExistsError, match="is one of the images, and the output"):
                names_of(*inputs, output=Path(output))
    for output, others in (("old.bbc", []), ("../link/old.bbc", []), ("new.bbc", ["old.bbc"]), ("../x", ["old.bbc"])):
        left_out = LeftOut()
        assert names_of(".", output=Path(output), left_out=left_out) == ["a.png", "s/b.png"]
        assert left_out.files == others
    with pytest.raises(OutputExistsError):
        names_of("old.bbc", ".", output=Path("../link/old.bbc"))


def test_a_deep_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deeper than functions can call each other."""
    monkeypatch.chdir(tmp_path)
    for _ in range(1200):
        os.mkdir("d")
        os.chdir("d")
    Path("a.png").touch()
    monkeypatch.chdir(tmp_path)
    assert names_of(".") == ["d/" * 1200 + "a.png"]
    for _ in range(1200):
        os.chdir("d")
    for _ in range(1200):
        with suppress(FileNotFoundError):
            os.remove("a.png")
        os.chdir("..")
        os.rmdir("d")


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"before")
    assert read_file(path, "it") == b"before"
    stats = os.fstat

    def changed(descriptor: int) -> Any:
        result = stats(descriptor)
        with path.open("ab") as file:
            file.write(b"more")
        return result

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", changed)
        with pytest.raises(ImageError, match="it: was changed while it was read"):
            read_file(path, "it")
    for other, reason in (
        (tmp_path / "missing.png", "No such file"),
        (tmp_path, "Is a directory"),
        (Path("a\0"), "null"),
    ):
        with pytest.raises(ImageError, match=f"it: cannot be read: .*{reason}"):
            read_file(other, "it")


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
    skipped = Skipped()
    assert names_of(tmp_path, skipped=skipped) == ["a.png"]
    assert "sub: cannot be read: Permission denied" in skipped.some()
    with pytest.raises(ImageError, match="sub: cannot be read"):  # it was given by itself
        names_of(tmp_path / "sub", tmp_path, skipped=Skipped())


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


def test_temporary_folders_are_no_input(tmp_path: Path) -> None:
    """What `bbc decompress` is bringing out, or was when it was killed, is no image of the folder yet."""
    folder = TemporaryFolder(tmp_path)
    (folder.files / "b.png").touch()
    (tmp_path / "a.png").touch()
    assert [source.name for source in find_images([str(tmp_path)])] == ["a.png"]
    folder.remove()
