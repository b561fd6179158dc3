"""Files and folders from Python: the bytes and the files that the commands write, and their errors."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cases_for_tests import one_test_of
from click.testing import CliRunner
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401

import bbcompress as bbc
from bbcompress.cli import main

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")

DIGITS = Path(__file__).resolve().parents[1] / "data" / "digits"


def put(folder: str, *names: str) -> None:
    """Binary digits in a folder."""
    Path(folder).mkdir(parents=True)
    for number, name in enumerate(names):
        path = Path(folder, name)
        path.parent.mkdir(exist_ok=True)
        shutil.copy(DIGITS / "binary" / f"{number:04}.png", path)


def command(*arguments: str) -> None:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 0, result.output


def content(folder: str) -> dict[str, tuple[bytes, float]]:
    """What is in a folder, by path: bytes and times."""
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime) for path in files}


def test_python_packs_and_extracts_as_the_commands_do() -> None:
    put("set", "a.png", "b/c.png", "d.png")
    put("more", "e.png")
    command("compress", "set", "more", "-o", "command.bbc", "-K", "2")
    summary = bbc.pack(["set", Path("more")], "python.bbc", k=2)
    assert Path("python.bbc").read_bytes() == Path("command.bbc").read_bytes()
    assert (summary.images, summary.size) == (4, Path("python.bbc").stat().st_size)
    command("decompress", "command.bbc", "-o", "command")
    written = bbc.extract("python.bbc", "python")
    assert content("python") == content("command")
    assert written == [Path("python", name) for name in ("set/a.png", "set/b/c.png", "set/d.png", "more/e.png")]
    assert bbc.extract(Path("python.bbc"), "some", only="c.png", format="TIFF") == [Path("some", "set/b/c.tiff")]


def test_a_single_image_is_the_file_of_one() -> None:
    put("set", "a.png")
    command("compress", "set/a.png", "-o", "command.bbc")
    bbc.pack("set/a.png", "a.bbc")
    assert Path("a.bbc").read_bytes() == Path("command.bbc").read_bytes()
    assert bbc.extract("a.bbc", "back") == [Path("back", "a.png")]
    assert bbc.read_image(Path("back/a.png")) == bbc.read_image(Path("set/a.png"))


def test_python_calls_a_lone_image_as_the_command_does() -> None:
    put("set", "a.png")
    shutil.move("set/a.png", "set/a.TIFF")
    for stem in ("b.c", "b.d"):
        bbc.pack("set/a.TIFF", f"{stem}.bbc")
        bbc.extract(f"{stem}.bbc", "python")
    command("decompress", "b.c.bbc", "b.d.bbc", "--output-dir", "command")
    assert sorted(content("python")) == sorted(content("command")) == ["b.c.TIFF", "b.d.TIFF"]


def test_what_cannot_be_read() -> None:
    put("set", "a.png", "b.png")
    Path("set/b.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"skipped: set.b\.png"):
        assert bbc.pack("set", "set.bbc").images == 1
    for arguments in ({"skip_unreadable": False}, {"skip_unreadable": None, "frames": 3}):
        with pytest.raises(bbc.BBCError):
            bbc.pack("set", "other.bbc", **arguments)
    assert not Path("other.bbc").exists()
    with pytest.raises(bbc.ImageError, match=r"^set.b\.png"):
        bbc.pack("set/b.png", "other.bbc")


def test_what_is_there_stays() -> None:
    put("set", "a.png")
    bbc.pack("set", "set.bbc")
    bbc.extract("set.bbc", "back")
    before = content(".")
    for refused in (lambda: bbc.pack("set", "set.bbc"), lambda: bbc.extract("set.bbc", "back")):
        with pytest.raises(bbc.OutputExistsError, match="overwrite=True"):
            refused()
    assert content(".") == before
    bbc.pack("set", "set.bbc", overwrite=True)
    bbc.extract("set.bbc", "back", overwrite=True)
    assert content(".").keys() == before.keys()
    with pytest.raises(bbc.OutputExistsError, match="is the image, and the output"):
        bbc.pack("set/a.png", "set/a.png", overwrite=True)


@one_test_of("paths", [[], None, 3, b"set", [3], [""]])
def test_paths_that_are_none(paths: object) -> None:
    with pytest.raises(bbc.BBCError):
        bbc.pack(paths, "set.bbc")  # type: ignore[arg-type]
    assert content(".") == {}


def test_arguments_of_extract() -> None:
    put("set", "a.png")
    bbc.pack("set", "set.bbc")
    for arguments in ({"only": "b*"}, {"only": [3]}, {"format": "jpeg"}, {"format": 7}, {"jobs": 0}, {"strip": 1}):
        with pytest.raises(bbc.BBCError):
            bbc.extract("set.bbc", "back", **arguments)
    with pytest.raises(bbc.BBCError, match="cannot be read"):
        bbc.extract("none.bbc", "back")
    with pytest.raises(bbc.FormatError):
        bbc.extract("set/a.png", "back")
    assert not Path("back").exists()
