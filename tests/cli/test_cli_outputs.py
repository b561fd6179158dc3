"""Permissions and times of what commands write, and what ends a command."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_for_tests import run
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from PIL import Image

pytestmark = [
    pytest.mark.usefixtures("tiny_models", "empty_folder", "usual_umask"),
    pytest.mark.skipif(sys.platform == "win32", reason="needs permissions"),
]

LONG_AGO = 1_000_000_000


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def put(name: str, mode: int = 0o644, time: int = LONG_AGO, value: int = 7) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), value).save(name)
    os.chmod(name, mode)
    os.utime(name, (time, time))


def mode(name: str) -> int:
    return stat.S_IMODE(os.stat(name).st_mode)


def time(name: str) -> int:
    return int(os.stat(name).st_mtime)


@pytest.mark.parametrize(
    ("given", "expected"), [(0o600, 0o600), (0o640, 0o640), (0o664, 0o664), (0o400, 0o400), (0o4755, 0o644)]
)
def test_a_lone_image_keeps_permissions_and_time(given: int, expected: int) -> None:
    """As gzip, xz and zstd have it, there and back; nothing becomes what can be executed, or run as another user."""
    put("a.png", given)
    os.utime("a.png", ns=(123, LONG_AGO * 10**9 + 123_456_000))
    run("compress", "a.png")
    run("compress", "a.png", "-o", "b.bbc")
    os.utime("b.bbc", (5, 5))
    os.chmod("b.bbc", 0o604)
    run("decompress", "a.bbc", "-o", "back.png")
    run("decompress", "b.bbc")
    assert (mode("a.bbc"), mode("back.png"), mode("b.png")) == (expected, expected, 0o604)
    assert os.stat("a.bbc").st_mtime_ns == os.stat("back.png").st_mtime_ns == LONG_AGO * 10**9 + 123_456_000
    assert time("b.png") == 5


def test_what_replaces_a_file_gets_those_of_its_source() -> None:
    put("a.png", 0o600)
    Path("a.bbc").write_bytes(b"readable by all")
    os.chmod("a.bbc", 0o666)
    run("compress", "a.png", "-f")
    assert mode("a.bbc") == 0o600


def test_an_archive_has_the_permissions_that_all_images_share() -> None:
    put("set/a.png", 0o664)
    put("set/b.png", 0o644, LONG_AGO + 1)
    run("compress", "set", "-o", "public.bbc")
    assert mode("public.bbc") == 0o644
    assert time("public.bbc") > LONG_AGO + 1
    put("set/c/d.png", 0o600, LONG_AGO + 2)
    run("compress", "set", "-o", "private.bbc")
    assert mode("private.bbc") == 0o600
    Path("there").mkdir()
    for folder in ("new", "there"):
        run("decompress", "private.bbc", "-o", folder)
        names = [f"{folder}/{name}" for name in ("a.png", "b.png", "c/d.png")]
        assert [(mode(name), time(name)) for name in names] == [(0o600, LONG_AGO + number) for number in range(3)]
        assert mode(f"{folder}/c") == 0o755
    run("decompress", "public.bbc")
    assert mode("public/a.png") == 0o644


def test_what_comes_through_pipes_has_the_usual_permissions() -> None:
    put("a.png", 0o600)
    run("compress", "-", "-o", "a.bbc", data=Path("a.png").read_bytes())
    assert mode("a.bbc") == 0o644
    run("decompress", "-", "-o", "b.png", data=Path("a.bbc").read_bytes())
    assert mode("b.png") == 0o644
    assert time("b.png") > LONG_AGO


def test_adding_a_private_image_makes_an_archive_private(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything of it is there; and if it is not added after all, the archive is as it was."""
    from bbcompress.archive.container import ArchiveWriter

    put("a.png")
    put("b.png", 0o644)
    put("c.png", 0o600)
    run("compress", "a.png", "b.png", "-o", "set.bbc")
    os.chmod("set.bbc", 0o664)
    put("d.png", 0o666)
    result = run("add", "set.bbc", "d.png")
    assert (mode("set.bbc"), result.stderr) == (0o664, "")
    seen: list[int] = []
    add_group = ArchiveWriter.add_group

    def watched(*arguments: Any, **options: Any) -> int:
        seen.append(mode("set.bbc"))
        return add_group(*arguments, **options)

    before = Path("set.bbc").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(ArchiveWriter, "add_group", watched)
        patch.setattr(ArchiveWriter, "close", interrupt)
        run("add", "set.bbc", "c.png", status=130)
    assert (seen, mode("set.bbc"), Path("set.bbc").read_bytes()) == ([0o600], 0o664, before)
    result = run("add", "set.bbc", "c.png")
    assert mode("set.bbc") == 0o600
    note = "bbc: note: set.bbc has mode 600 now, since not all who could read it may read c.png\n"
    assert result.stderr == note


@pytest.mark.parametrize(
    ("command", "option", "source"),
    [("compress", "-o", "a.png"), ("explain", "-o", "a.png"), ("explain", "--html", "a"),
     ("decompress", "-o", "a"), ("sheet", "-o", "a"), ("thumbnail", "-o", "a")],
)  # fmt: skip
def test_no_command_replaces_the_file_that_it_reads(command: str, option: str, source: str) -> None:
    """By no name of it: as it is, by a link, as a URL."""
    put("a.png")
    run("compress", "a.png", "-o", "a")
    before = Path(source).read_bytes()
    os.link(source, "link")
    for name in (source, "link", f"file://{Path(source).resolve()}"):
        for other in (source, "link", f"file://{Path(source).resolve()}"):
            assert "and the output" in run(command, name, option, other, "-f", status=1).stderr
    assert Path(source).read_bytes() == before


@pytest.mark.parametrize("command", ["sheet", "thumbnail"])
@pytest.mark.parametrize("name", [".", "..", "/"])
def test_what_has_no_name_gives_none_to_an_output(command: str, name: str) -> None:
    result = run(command, name, status=1)
    assert list(Path().iterdir()) == []
    assert result.stderr == f"bbc: error: {name} has no name to call a file by; name it with -o\n"


def test_a_folder_by_its_url_is_one_to_write_into() -> None:
    put("a.png")
    Path("out").mkdir()
    folder = f"file://{Path('out').resolve()}"
    run("compress", "a.png", "-o", folder)
    run("decompress", "out/a.bbc", "-o", folder)
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.bbc", "a.png"]


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt
