"""Archives of folders by the command line and from Python: times, one image, additions, damage, processes, crashes."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import bbcompress
from bbcompress import api
from bbcompress.archive.container import ArchiveFile, ArchiveWriter
from bbcompress.archive.group import Group, join_items
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.signature import ADDING
from bbcompress.archive.times import FIRST_TIME, LAST_TIME
from bbcompress.cli import main
from bbcompress.codecs import groups, ways
from bbcompress.codecs.kept import SourceFile
from bbcompress.errors import BBCError
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.metadata import TEXT, Record
from bbcompress.images.read import read_image
from bbcompress.pipeline import compressor
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.loader import ImageLoader
from bbcompress.pipeline.options import Item, Options, open_models
from bbcompress.pipeline.reader import Reader
from bbcompress.pipeline.sources import modified
from bbcompress.system import jobs

DATA = Path(__file__).resolve().parents[1] / "data"
MODELS = DATA / "models"
TIME = 1_500_000_000


pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="bbc")


def errors(result: Result) -> list[str]:
    """The lines on stderr, but for the notice that comes once."""
    return [line for line in result.stderr.splitlines() if not line.startswith("bbc: compiling kernels")]


def succeed(*arguments: str) -> str:
    result = run(*arguments)
    assert (result.exit_code, errors(result)) == (0, []), result.exception
    return result.stdout


def fail(*arguments: str) -> str:
    """Status 1, one line, nothing left behind; gives the line."""
    before = contents(Path())
    result = run(*arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    (line,) = errors(result)
    assert line.startswith("bbc: error: ")
    assert contents(Path()) == before
    return line


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def pixels(*folders: str) -> dict[str, PixelImage]:
    """The images of folders by their names in them."""
    return {name: read_image(data) for folder in folders for name, data in contents(Path(folder)).items()}


def digit(number: int, kind: str = "binary") -> PixelImage:
    return read_image(DATA / "digits" / kind / f"{number:04}.png")


def put_folder(name: str = "set", first: int = 0) -> list[str]:
    """Digits of two kinds and something else, each modified a minute after the one before; gives their names."""
    names = []
    for number in range(first, first + 6):
        kind = "grey" if number % 3 == 2 else "binary"
        path = Path(name) / ("deep/er" if number % 2 else ".") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DATA / "digits" / kind / f"{number:04}.png", path)
        os.utime(path, ns=(0, (TIME + 60 * number) * 10**9 + 987_654_321))
        names.append(path.relative_to(name).as_posix())
    return sorted(names)


def make_archive(groups: int = 3, images: int = 4) -> bytes:
    """An archive set.bbc of several groups, each of stored images of a size of its own."""
    file = io.BytesIO()
    random = np.random.default_rng(0)
    for group in range(groups):
        named = [
            Item(f"{group}-{place}.png", from_array(random.integers(0, 256, (3 + group, 5), np.uint8)), TIME + place)
            for place in range(images)
        ]
        Compressor().archive(named, file)
    Path("set.bbc").write_bytes(file.getvalue())
    return file.getvalue()


# Times and order


def test_names_order_and_times_come_back() -> None:
    names = put_folder()
    succeed("compress", "set", "-o", "set.bbc")
    succeed("decompress", "set.bbc", "-o", "out")
    assert pixels("out") == pixels("set")
    for name in names:
        assert Path("out", name).stat().st_mtime_ns == Path("set", name).stat().st_mtime_ns // 10**9 * 10**9
    with open("set.bbc", "rb") as file:
        reader = Reader(file)
        assert list(reader.names) == names
        assert [time for time in reader.times if time is not None] == [
            int(Path("set", name).stat().st_mtime) for name in names
        ]


@pytest.mark.parametrize(("seconds", "expected"), [(7, 7), (-7, -7), (1 << 62, LAST_TIME), (-(1 << 62), FIRST_TIME)])
def test_times_that_no_archive_can_say(seconds: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", lambda _: SimpleNamespace(st_mtime_ns=10**9 * seconds + 999_999_999))
        assert modified(Path("file")) == expected


def test_images_from_python_have_times_or_not() -> None:
    file = io.BytesIO()
    Compressor().archive([("a.png", digit(0))], file)
    assert list(Reader(file).times) == [None]
    file = io.BytesIO()
    Compressor().archive([Item("a.png", digit(0), 5), Item("b.png", digit(1), -5)], file)
    assert list(Reader(file).times) == [5, -5]
    with pytest.raises(BBCError, match="times"):
        Compressor().archive([Item("a.png", digit(0), 5), Item("b.png", digit(1))], io.BytesIO())


def test_many_waiting_images_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that are all of different sizes do not wait for others of their size without end."""
    monkeypatch.setattr(compressor, "WAITING_SUBPIXELS", 2000)
    images = [(f"{side}.png", from_array(np.zeros((side, 10, 4), np.uint8))) for side in range(2, 30)]
    images.append(("last.png", from_array(np.ones((29, 10, 4), np.uint8))))
    file = io.BytesIO()
    Compressor().archive(images, file)
    reader = Reader(file)
    assert list(reader.names) == [name for name, _ in images]
    assert dict(reader.images()) == dict(enumerate(image for _, image in images))


KINDS = (((), np.bool_), ((), np.uint8), ((2,), np.uint8), ((3,), np.uint8), ((4,), np.uint8), ((), np.uint16))


@st.composite
def items(draw: st.DrawFn, first: int) -> list[Item]:
    """Images of several modes, sizes and contents, with names of several kinds and times."""
    made = []
    for number in range(first, first + draw(st.integers(1, 6))):
        channels, dtype = draw(st.sampled_from(KINDS))
        height, width = draw(st.sampled_from([(1, 1), (28, 28), (3, 5), (2, 40)]))
        most = 2 if dtype == np.bool_ else draw(st.sampled_from([2, 200]))
        random = np.random.default_rng(draw(st.integers(0, 9)))
        pixels: np.ndarray[Any, Any] = random.integers(0, most, (height, width, *channels)).astype(dtype)
        name = draw(st.sampled_from(["{}.png", "a/{:04}.tiff", "é{}", "{}/b"])).format(number)
        made.append(Item(name, from_array(pixels), draw(st.integers(FIRST_TIME, LAST_TIME))))
    return made


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items(0), items(100))
def test_round_trip_of_any_images_and_what_is_added(images: list[Item], added: list[Item]) -> None:
    file = io.BytesIO()
    Compressor().archive(images, file)
    alone = file.getvalue()
    Compressor().add(added, ArchiveFile(file), file)
    assert file.getvalue().startswith(alone)
    reader, every = Reader(file), [*images, *added]
    assert list(reader.names) == [item.name for item in every]
    assert list(reader.times) == [item.time for item in every]
    assert dict(reader.images()) == {position: item.image for position, item in enumerate(every)}
    for position, item in enumerate(every):
        assert item.name is not None
        assert reader.file.find(item.name) == position
    for entry, item in zip(reader.entries(), every, strict=True):
        assert (entry.name, entry.size, entry.mode) == (item.name, item.image.size, item.image.mode)
    assert reader.read(len(every) - 1) == every[-1].image


# One image


def test_list() -> None:
    names = put_folder()
    succeed("compress", "set", "-o", "set.bbc")
    rows = json.loads(succeed("list", "set.bbc", "--json"))
    assert [row["name"] for row in rows] == names
    assert {(row["width"], row["height"], row["mode"]) for row in rows} == {(28, 28, "L")}
    assert {row["coder"] for row in rows} == {"tiny-binary", "tiny-grey"}
    assert rows[0]["time"] == "2017-07-14T02:40:00Z"
    lines = succeed("list", "set.bbc", "--only", "deep/*").splitlines()
    assert [line.split()[-1] for line in lines] == [name for name in names if name.startswith("deep")]
    assert lines[0].split() == ["28x28", "L", "tiny-binary", "-", "-", "2017-07-14T02:41:00Z", "deep/er/1.png"]


def test_list_of_what_models_that_are_gone_have_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    put_folder()
    succeed("compress", "set", "-o", "set.bbc")
    monkeypatch.setenv("BBC_MODELS", "")
    rows = json.loads(succeed("list", "set.bbc", "--json"))
    assert {(row["width"], row["mode"]) for row in rows} == {(None, None)}
    assert all("not installed" in row["coder"] for row in rows)


def test_list_of_other_files() -> None:
    Path("a.bbc").write_bytes(api.compress(digit(0)))
    size = Path("a.bbc").stat().st_size - 2
    words = ["28x28", "L", "tiny-binary", str(size), "B", f"{784 / size:.2f}x", "-", "(image", "0)"]
    assert succeed("list", "a.bbc").split() == words
    (row,) = json.loads(succeed("list", "a.bbc", "--json"))
    assert (row["bytes"], row["raw_bytes"], row["metadata"]) == (size, 784, [])
    file = io.BytesIO()
    Compressor().archive([(None, digit(0)), (None, from_array(np.zeros((3, 4, 4), np.uint8)))], file)
    Path("b.bbc").write_bytes(file.getvalue())
    assert [line.split()[:3] for line in succeed("list", "b.bbc").splitlines()] == [
        ["28x28", "L", "tiny-binary"],
        ["4x3", "RGBA", "fallback"],
    ]
    assert "  fallback WebP  " in succeed("list", "b.bbc")
    annotated = replace(digit(1), metadata=(Record(TEXT, b"Title\0A digit"),))
    Compressor().archive([("a", digit(0)), ("b", annotated)], file := io.BytesIO())
    Path("d.bbc").write_bytes(file.getvalue())
    assert [row["metadata"] for row in json.loads(succeed("list", "d.bbc", "--json"))] == [[], ["text"]]
    assert [line.endswith("  b  [text]") for line in succeed("list", "d.bbc").splitlines()] == [False, True]
    Compressor().archive([("a\x1b[2J.png", digit(0))], file := io.BytesIO())
    Path("c.bbc").write_bytes(file.getvalue())
    assert succeed("list", "c.bbc").endswith("a\\x1b[2J.png\n")


def test_list_of_a_damaged_group() -> None:
    data = bytearray(make_archive(2))
    data[3] |= 2  # flags that contradict each other
    Path("set.bbc").write_bytes(data)
    rows = json.loads(succeed("list", "set.bbc", "--json"))
    assert [row["coder"] for row in rows] == [None] * 4 + ["fallback raw"] * 4
    assert [row["name"] for row in rows][:2] == ["0-0.png", "0-1.png"]


def test_decompress_only() -> None:
    names = put_folder()
    succeed("compress", "set", "-o", "set.bbc")
    assert succeed("decompress", "set.bbc", "-o", "some", "--only", "1.png", "--only", "deep/er/[35].png").endswith(
        "some  3 images\n"
    )
    assert sorted(contents(Path("some"))) == ["deep/er/1.png", "deep/er/3.png", "deep/er/5.png"]
    succeed("decompress", "set.bbc", "-o", "all", "--only", "*")
    assert sorted(contents(Path("all"))) == names
    assert "'7.png'" in fail("decompress", "set.bbc", "-o", "none", "--only", "1.png", "--only", "7.png")
    Path("a.bbc").write_bytes(api.compress(digit(0)))
    assert "lone image" in fail("decompress", "a.bbc", "--only", "a*")


def test_only_takes_images_without_names_by_their_number() -> None:
    file = io.BytesIO()
    Compressor().archive([(None, digit(number)) for number in range(3)], file)
    Path("set.bbc").write_bytes(file.getvalue())
    succeed("decompress", "set.bbc", "-o", "out", "--only", "0000[12]")
    assert sorted(contents(Path("out"))) == ["00001.png", "00002.png"]


class Counting(io.BytesIO):
    """Counts the bytes that are read."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def test_an_image_is_read_with_its_group_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressor, "GROUP_SUBPIXELS", 50_000)
    random = np.random.default_rng(0)
    images = {f"{number}.png": from_array(random.integers(0, 256, (50, 50), np.uint8)) for number in range(100)}
    file = Counting()
    Compressor().archive(list(images.items()), file)
    file.count = 0
    reader = Reader(file)
    assert len(reader.file.groups) == 5
    assert reader.read(42) == images["42.png"]
    assert 50_000 < file.count < 60_000
    before = file.count
    assert reader.read(43) == images["43.png"]
    assert reader.read(44) == images["44.png"]
    assert file.count == before
    assert reader.file.find("99.png") == 99
    assert reader.file.find("100.png") is None
    with pytest.raises(IndexError):
        reader.read(100)
    lone = Reader(io.BytesIO(api.compress(digit(0))))
    assert lone.read(0) == digit(0)
    assert lone.file.find("0") is None
    with pytest.raises(IndexError):
        lone.read(1)


# Additions


def test_add() -> None:
    names = put_folder()
    more = put_folder("more", 6)
    succeed("compress", "set", "-o", "set.bbc")
    before = Path("set.bbc").read_bytes()
    line = succeed("add", "set.bbc", "more")
    assert line.startswith("more -> set.bbc")
    assert Path("set.bbc").read_bytes().startswith(before)
    succeed("decompress", "set.bbc", "-o", "out")
    assert pixels("out") == pixels("set", "more")
    assert [row["name"] for row in json.loads(succeed("list", "set.bbc", "--json"))] == names + more
    assert Path("out", more[0]).stat().st_mtime == Path("more", more[0]).stat().st_mtime // 1


def test_what_is_not_added() -> None:
    put_folder()
    succeed("compress", "set", "-o", "set.bbc")
    shutil.copy("set/0.png", "new.png")
    Path("broken.png").write_bytes(b"no image")
    Path("lone.bbc").write_bytes(api.compress(digit(0)))
    assert "'0.png' in set.bbc already" in fail("add", "set.bbc", "new.png", "set/0.png")
    assert "broken.png" in fail("add", "set.bbc", "new.png", "broken.png")
    assert "not an archive" in fail("add", "lone.bbc", "new.png")
    assert "bbc compress makes" in fail("add", "missing.bbc", "new.png")
    assert "not a .bbc file" in fail("add", "broken.png", "new.png")
    assert "no image" in fail("add", "set.bbc", str(DATA / "models"))
    os.mkfifo("pipe.bbc")
    assert "not a regular file" in fail("add", "pipe.bbc", "new.png")


@pytest.mark.parametrize("command", ["compress", "add"])
def test_a_file_that_vanishes_while_it_is_read(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, not the archive, which is what it was; unless the others go in without it."""
    put_folder()
    put_folder("more", 6)
    succeed("compress", "set", "-o", "set.bbc")
    target = ["set.bbc", "more"] if command == "add" else ["more", "-o", "new.bbc"]
    target.append("--no-skip-unreadable")

    def vanished(path: Path) -> int:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

    with monkeypatch.context() as patch:
        patch.setattr("bbcompress.pipeline.packing.modified", vanished)
        assert fail(command, *target) == "bbc: error: more/10.png: cannot be read: No such file or directory"
    read = ImageLoader.read

    def too_late(loader: ImageLoader, source: Path, label: str) -> Iterator[tuple[PixelImage, SourceFile | None]]:
        if source.name == "10.png":
            source.unlink(missing_ok=True)
        return read(loader, source, label)

    before = Path("set.bbc").read_bytes()
    monkeypatch.setattr(ImageLoader, "read", too_late)
    result = run(command, *target)
    assert errors(result) == ["bbc: error: more/10.png: cannot be read: No such file or directory"]
    assert Path("set.bbc").read_bytes() == before and not Path("new.bbc").exists()
    shutil.copy("more/6.png", "more/10.png")
    result = run(command, *target[:-1])
    assert (result.exit_code, result.stdout.count("1 file skipped")) == (1, 1)
    assert errors(result) == ["bbc: skipped: more/10.png: cannot be read: No such file or directory"]
    names = Reader(io.BytesIO(Path("set.bbc" if command == "add" else "new.bbc").read_bytes())).names
    assert len(names) == (11 if command == "add" else 5) and "10.png" not in names


def test_additions_exclude_each_other() -> None:
    fcntl = pytest.importorskip("fcntl")
    put_folder()
    succeed("compress", "set", "-o", "set.bbc")
    shutil.copy("set/0.png", "new.png")
    with open("set.bbc", "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "already" in fail("add", "set.bbc", "new.png")
    succeed("add", "set.bbc", "new.png")


@pytest.mark.parametrize("fault", [KeyboardInterrupt, MemoryError, BBCError])
def test_an_addition_that_fails_leaves_the_archive(fault: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    put_folder()
    put_folder("more", 6)
    succeed("compress", "set", "-o", "set.bbc")
    encode, calls = groups.encode_images, []

    def fails(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise fault
        return encode(*arguments)

    monkeypatch.setattr(ways, "encode_images", fails)
    before = Path("set.bbc").read_bytes()
    assert run("add", "set.bbc", "more").exit_code != 0
    assert len(calls) == 2
    assert Path("set.bbc").read_bytes() == before


def test_an_addition_without_room(tmp_path: Path) -> None:
    """A limit on the size of files, as a full disk is: the archive is what it was."""
    resource = pytest.importorskip("resource")
    random = np.random.default_rng(0)
    Compressor().archive([("a.png", digit(0))], file := io.BytesIO())
    Path("set.bbc").write_bytes(file.getvalue())
    images = [Item(f"{n}.png", from_array(random.integers(0, 256, (90, 90), np.uint8))) for n in range(9)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for most in (len(file.getvalue()) + 1, len(file.getvalue()) + 9000, len(file.getvalue()) + 72_500):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
        try:
            stream = open("set.bbc", "r+b")  # noqa: SIM115
            with pytest.raises(OSError):
                Compressor().add(images, ArchiveFile(stream), stream)
            with suppress(OSError):
                stream.close()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert Path("set.bbc").read_bytes() == file.getvalue()


def test_an_unfinished_addition_is_left_out_and_then_replaced() -> None:
    put_folder()
    put_folder("more", 6)
    succeed("compress", "set", "-o", "set.bbc")
    before = Path("set.bbc").read_bytes()
    succeed("add", "set.bbc", "more")
    whole = Path("set.bbc").read_bytes()
    for end in (len(before) + 3, len(before) + 30, len(whole) - 1):
        Path("set.bbc").write_bytes(before + ADDING + whole[len(before) + 3 : end])
        read = run("decompress", "set.bbc", "-o", f"out{end}")
        assert read.exit_code == 0
        assert f"bbc: {end - len(before)} bytes of an unfinished addition" in read.stderr
        assert pixels(f"out{end}") == pixels("set")
        assert run("test", "set.bbc", "-q").exit_code == 1
        added = run("add", "set.bbc", "more")
        assert added.exit_code == 0
        assert f"{end - len(before)} bytes of an unfinished addition are cut off" in added.stderr
        assert Path("set.bbc").read_bytes() == whole


def test_an_addition_that_fails_leaves_the_one_before_finished() -> None:
    put_folder()
    put_folder("more", 6)
    succeed("compress", "set", "-o", "set.bbc")
    before = len(Path("set.bbc").read_bytes())
    succeed("add", "set.bbc", "more")
    whole = Path("set.bbc").read_bytes()
    Path("set.bbc").write_bytes(whole[:before] + ADDING + whole[before + 3 :])
    Path("last").mkdir()
    Path("last/bad.png").write_bytes(b"\x89PNG")
    assert run("add", "set.bbc", "last").exit_code == 1
    assert Path("set.bbc").read_bytes() == whole


def test_a_finished_addition_that_is_cut_is_damage() -> None:
    """It is refused with a line that says what is concerned, nothing is added over it, and what is there comes out."""
    put_folder()
    put_folder("more", 6)
    succeed("compress", "set", "-o", "set.bbc")
    before = Path("set.bbc").read_bytes()
    count = len(pixels("set"))
    succeed("add", "set.bbc", "more")
    whole = Path("set.bbc").read_bytes()
    added = pixels("more")
    for end in (len(before) + 1, len(before) + 30, len(whole) - 20, len(whole) - 8, len(whole) - 5, len(whole) - 1):
        cut = whole[:end]
        Path("set.bbc").write_bytes(cut)
        line = f"the archive is damaged: behind its first {count} images stand {end - len(before)} bytes"
        for command in (["decompress", "set.bbc", "-o", "out"], ["list", "set.bbc"], ["add", "set.bbc", "more"]):
            error = fail(*command)
            assert line in error
            assert "--keep-going" in error
        assert Path("set.bbc").read_bytes() == cut
        out = f"out{end}"
        result = run("decompress", "set.bbc", "-o", out, "--keep-going")
        assert result.exit_code == 1
        assert line in result.stderr
        found = pixels(out)
        for name, image in pixels("set").items():
            assert found.pop(name) == image
        if end >= len(whole) - 8:
            assert found == added
            assert ("not checked" in result.stderr) == (end < len(whole) - 1)
            assert "lost" not in result.stderr.replace("checksum is lost", "")
        assert run("test", "set.bbc", "-q").exit_code == 1


# Damage


def test_keep_going() -> None:
    data = bytearray(make_archive())
    with Path("set.bbc").open("rb") as file:
        second = ArchiveFile(file).groups[1]
    data[second.offset + 9] ^= 1
    Path("set.bbc").write_bytes(data)
    assert "--keep-going" in fail("decompress", "set.bbc", "-o", "out")
    result = run("decompress", "set.bbc", "-o", "out", "--keep-going")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == "set.bbc -> out  8 images\n"
    assert errors(result) == [
        "bbc: group 1 is lost (group 1 is damaged: its checksum does not fit)",
        *(f"bbc: lost: 1-{place}.png" for place in range(4)),
    ]
    assert sorted(contents(Path("out"))) == [f"{group}-{place}.png" for group in (0, 2) for place in range(4)]
    tested = run("test", "set.bbc")
    assert tested.exit_code == 1
    assert tested.stdout.splitlines() == [f"group {group}: 4 images, as they were" for group in (0, 2)]
    assert tested.stderr.splitlines()[-1] == "bbc: error: set.bbc: damaged: 1 of 3 groups"
    # What is whole can be taken out without a word of the rest.
    assert succeed("decompress", "set.bbc", "-o", "third", "--only", "2-*").endswith("4 images\n")


def test_keep_going_without_an_index() -> None:
    data = bytearray(make_archive())
    with Path("set.bbc").open("rb") as file:
        last = ArchiveFile(file).groups[2]
    data[last.offset + last.length + 2] ^= 1
    Path("set.bbc").write_bytes(data)
    assert "damaged" in fail("decompress", "set.bbc", "-o", "out")
    assert "damaged" in fail("list", "set.bbc")
    result = run("decompress", "set.bbc", "-o", "out", "--keep-going")
    assert result.exit_code == 1
    assert "bbc: names are lost: those of 4 images (8 to 11), whose index is damaged" in errors(result)
    whole = [f"{group}-{place}.png" for group in range(2) for place in range(4)]
    assert sorted(contents(Path("out"))) == sorted([*whole, *(f"000{number:02}.png" for number in range(8, 12))])
    assert errors(run("test", "set.bbc"))[-1] == (
        "bbc: error: set.bbc: damaged: a prefix, index or footer, but no group that was found"
    )
    data[12] ^= 1
    Path("set.bbc").write_bytes(data)
    assert errors(run("test", "set.bbc"))[-1] == (
        "bbc: error: set.bbc: damaged: a prefix, index or footer, and 1 of 3 groups that were found"
    )
    Path("set.bbc").write_bytes(b"\xbb\xc1\x01" + bytes(100))
    fail("decompress", "set.bbc", "-o", "none", "--keep-going")


@pytest.mark.parametrize(("tail", "status"), [(bytes(512), 0), (b"a line\n", 1)])
def test_bytes_behind_an_archive(tail: bytes, status: int) -> None:
    """Every command tells of them, and reads the archive; zeros alone are no reason to doubt it."""
    data = make_archive(2)
    Path("set.bbc").write_bytes(data + tail)
    line = f"bbc: {len(tail)} bytes behind the archive{', all zero,' * (status == 0)} are passed over"
    for command in (["list"], ["info"], ["decompress", "-o", "out"], ["decompress", "--keep-going", "-o", "kept"]):
        result = run(command[0], "set.bbc", *command[1:])
        assert (result.exit_code, errors(result)) == (0, [line])
    assert json.loads(run("info", "set.bbc", "--json").stdout)["parts"]["behind"] == len(tail)
    assert len(contents(Path("out"))) == 8 and contents(Path("out")) == contents(Path("kept"))
    tested = run("test", "set.bbc")
    assert tested.exit_code == status
    assert errors(tested)[0] == line and len(errors(tested)) == 1 + status
    bbcompress.register_pillow()
    with bbcompress.open("set.bbc") as archive, Image.open("set.bbc") as frames:
        assert len(archive) == 8
        frames.seek(7)
    put_folder()
    added = run("add", "set.bbc", "set")
    assert added.exit_code == status
    if status:
        assert "nothing is added" in errors(added)[0]
        assert Path("set.bbc").read_bytes() == data + tail
        with pytest.raises(BBCError, match="nothing is added"):
            bbcompress.add("set.bbc", {"new.png": digit(0)})
        return
    assert errors(added)[0] == "bbc: note: 512 bytes behind the archive, all zero, are cut off"
    assert Path("set.bbc").read_bytes().startswith(data + b"\xbb\xc1\x01")
    assert len(json.loads(succeed("list", "set.bbc", "--json"))) == 14


def test_bytes_behind_a_lone_image() -> None:
    """A stored one has its end where its checksum fits; behind a model's message only zeros can be told from it."""
    image = from_array(np.random.default_rng(0).integers(0, 256, (9, 5, 4), np.uint8))
    for tail in (bytes(512), b"a line\n" * 9):
        Path("stored.bbc").write_bytes(api.compress(image) + tail)
        result = run("decompress", "stored.bbc", "-o", "stored.png", "--force")
        assert result.exit_code == 0 and f"bbc: {len(tail)} bytes behind the image" in result.stderr
        assert read_image(Path("stored.png").read_bytes()) == image
        bbcompress.register_pillow()
        with Image.open("stored.bbc") as opened:
            assert opened.size == (5, 9)
        assert run("info", "stored.bbc").exit_code == 0
        Path("coded.bbc").write_bytes(api.compress(digit(0)) + tail)
        if tail.strip(b"\0"):
            assert "cut short or followed by other bytes" in fail("test", "coded.bbc")
            continue
        line = f"bbc: {len(tail)} bytes behind the image, all zero, are passed over"
        result = run("test", "coded.bbc")
        assert (result.exit_code, errors(result)) == (0, [line])
        assert result.stdout == "coded.bbc: 1 image, as it was\n"
        result = run("decompress", "coded.bbc", "-o", "coded.png")
        assert (result.exit_code, errors(result)) == (0, [line])
        assert read_image(Path("coded.png").read_bytes()) == digit(0)
        assert np.array_equal(api.decompress(Path("coded.bbc").read_bytes()), digit(0).pixels)


def test_a_file_of_something_else_is_not_read_whole() -> None:
    with open("zeros.bbc", "wb") as file:
        file.truncate(1 << 26)
    tracemalloc.start()
    try:
        assert "not a .bbc file" in fail_of_size("test", "zeros.bbc")
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def fail_of_size(*arguments: str) -> str:
    """As `fail`, without a look at what is in the files."""
    result = run(*arguments)
    assert result.exit_code == 1
    (line,) = errors(result)
    return line


def test_archives_one_behind_the_other_whose_names_are_the_same() -> None:
    """No writer makes them; --keep-going brings all images out, and tells of it."""
    data = make_archive(1)
    Path("set.bbc").write_bytes(data + data)
    assert "two images" in fail("decompress", "set.bbc", "-o", "out")
    result = run("decompress", "set.bbc", "-o", "out", "--keep-going")
    assert result.exit_code == 1 and "two images have the name" in result.stderr
    assert len(contents(Path("out"))) == 8
    assert "two images have one name" in errors(run("test", "set.bbc"))[-1]


def test_nothing_to_keep() -> None:
    data = bytearray(make_archive(1))
    data[20] ^= 1
    Path("set.bbc").write_bytes(data)
    assert "nothing can be brought out" in fail("decompress", "set.bbc", "-o", "out", "--keep-going")


# Processes


@pytest.fixture
def always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MIN_COST", 1)


@pytest.mark.usefixtures("always_worth_it", "tiny_models")
def test_any_number_of_jobs_gives_the_same() -> None:
    put_folder()
    for number in range(3):
        Path(f"set/odd{number}.png").write_bytes((DATA / "digits" / "grey" / "0000.png").read_bytes())
        image = np.random.default_rng(number).integers(0, 256, (9 + number, 8, 4)).astype(np.uint8)
        Image.fromarray(image).save(f"set/noise{number}.png")
    images = [(path.name, read_image(path)) for path in sorted(Path("set").rglob("*.png"))]
    files = []
    for count in (1, 3):
        file = io.BytesIO()
        Compressor(Options(jobs=count, model=MODELS)).archive(images, file)
        files.append(file.getvalue())
    assert files[0] == files[1]
    alone = list(Reader(io.BytesIO(files[0]), open_models(MODELS)).each(_shape))
    together = list(Reader(io.BytesIO(files[0]), open_models(MODELS)).each(_shape, jobs=3))
    assert len(together) >= 3
    assert alone == together
    damaged = bytearray(files[0])
    damaged[30] ^= 1
    found = list(Reader(io.BytesIO(damaged), open_models(MODELS)).each(_shape, jobs=2))
    assert [done.error is None for done in found] == [False] + [True] * (len(found) - 1)
    assert found[1:] == together[1:]


def _shape(image: PixelImage) -> tuple[int, ...]:
    return image.pixels.shape


def test_groups_that_lie_about_their_images() -> None:
    """Their checksums fit; they are damaged groups, as others, with several jobs too."""
    writer = ArchiveWriter(file := io.BytesIO())
    for item in (b"", b"\x01\x01\x80", b"\x02\x01" + bytes(30), b"\x09\x01"):
        writer.add_group(Group(GroupHeader(fallback=True), join_items([item])))
    writer.close()
    for count in (1, 2):
        found = list(Reader(file).each(_shape, jobs=count))
        assert [done.error is None for done in found] == [False] * 4


@pytest.mark.usefixtures("always_worth_it")
def test_errors_of_processes_are_one_line() -> None:
    put_folder()
    assert "no model nowhere" in fail("compress", "set", "-o", "set.bbc", "-j", "2", "-m", "nowhere")
    make_archive()
    assert "ppm" in fail("decompress", "set.bbc", "-o", "out", "-j", "2", "--format", "ppm").lower()


def test_limits_of_pixels() -> None:
    put_folder()
    assert "limit of 783" in fail("compress", "set", "-o", "set.bbc", "--max-pixels", "783")
    succeed("compress", "set", "-o", "set.bbc", "--max-pixels", "784")
    make_archive()
    for command in (["decompress", "-o", "out"], ["test", "-q"]):
        assert run(*command, "set.bbc", "--max-pixels", "14").exit_code == 1
    assert not Path("out").exists()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(bbcompress.__file__).resolve().parents[1]), "BBC_MODELS": str(MODELS)}


def test_a_few_additions_that_are_killed() -> None:
    """As benchmarks/kill_add.py does at length: what a finished addition brought is never lost."""
    put_folder()
    put_folder("more", 6)
    succeed("compress", "set", "-o", "set.bbc")
    before = Path("set.bbc").read_bytes()
    late = 0
    for delay in (0, 0, 0.001, 0.004):
        Path("set.bbc").write_bytes(before)
        process = subprocess.Popen(
            [sys.executable, "-m", "bbcompress", "add", "set.bbc", "more", "-q"], env=environment()
        )
        while process.poll() is None and Path("set.bbc").stat().st_size == len(before):
            time.sleep(0.0005)
        time.sleep(delay)
        process.kill()
        process.wait()
        late += Path("set.bbc").stat().st_size > len(before)
        with open("set.bbc", "rb") as file:
            reader = Reader(file)
            found = {reader.names[position]: image for position, image in reader.images()}
        assert len(found) in (6, 12)
        for name, data in contents(Path("set")).items():
            assert found[name] == read_image(data)
    assert late


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_addition_that_is_interrupted(number: signal.Signals, status: int) -> None:
    """Some groups are in the archive then, and more are to come: its last image is a pipe to which nobody writes."""
    put_folder()
    succeed("compress", "set", "-o", "set.bbc")
    before = contents(Path())
    for place in range(3):
        image = np.random.default_rng(place).integers(0, 256, (1200 + place, 1200, 3)).astype(np.uint8)
        Image.fromarray(image).save(f"large{place}.png", compress_level=0)
    os.mkfifo("pipe.png")
    process = subprocess.Popen(
        [sys.executable, "-m", "bbcompress", "add", "set.bbc", *sorted(map(str, Path().glob("*.png"))), "-j", "2"],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells ignore it for what is behind an &
    )
    while process.poll() is None and Path("set.bbc").stat().st_size == len(before["set.bbc"]):
        time.sleep(0.01)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, printed = process.communicate(timeout=300)
    assert (process.returncode, printed.splitlines()[-1:]) == (status, ["bbc: interrupted"])
    assert Path("set.bbc").read_bytes() == before["set.bbc"]
