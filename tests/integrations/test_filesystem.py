"""The file system `bbc` of fsspec: which files there are, what they hold, what is fetched, and what is refused."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from PIL import Image
from stores import Store, s3_store, web_store

import bbcompress as bbc
from bbcompress.cli import main
from bbcompress.errors import ReadOnlyError
from bbcompress.images.read import read_image
from bbcompress.integrations.filesystem import BBCFileSystem
from bbcompress.pipeline.reader import Reader
from bbcompress.system import storage

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")
DATA = Path(__file__).resolve().parents[1] / "data"
TIME = 1_600_000_000


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No file system is left of another test."""
    yield
    for system in BBCFileSystem._cache.values():
        system.close()
    BBCFileSystem.clear_instance_cache()


def image(shade: int, *shape: int) -> np.ndarray[Any, Any]:
    return np.full(shape, shade, np.uint8)


IMAGES = {
    "a.png": image(1, 5, 6),
    "deep/down/b.png": image(2, 5, 6, 3),
    "deep/c.webp": image(3, 5, 6, 3),
    "deep/d": image(4, 5, 6),
    "e.tif": image(5, 4, 4),
}
FILES = ["a.png", "deep/c.webp", "deep/d.png", "deep/down/b.png", "e.tif"]


@pytest.fixture
def archive() -> str:
    bbc.write("set.bbc", [(name, pixels, TIME) for name, pixels in IMAGES.items()], effort=1)
    return "set.bbc"


def test_fsspec_finds_it_by_its_entry_point(archive: str) -> None:
    assert fsspec.get_filesystem_class("bbc") is BBCFileSystem
    with fsspec.open(f"bbc://a.png::{archive}") as file:
        assert np.array_equal(np.asarray(Image.open(file)), IMAGES["a.png"])


def test_files_and_folders(archive: str) -> None:
    system = fsspec.filesystem("bbc", fo=archive)
    assert system.ls("", False) == ["a.png", "deep", "e.tif"] and system.ls("/deep/", False) == [
        "deep/c.webp",
        "deep/d.png",
        "deep/down",
    ]
    assert system.find("") == system.glob("**/*.*") == FILES
    assert list(system.walk("deep")) == [("deep", ["down"], ["c.webp", "d.png"]), ("deep/down", [], ["b.png"])]
    assert system.isdir("deep/down") and system.isfile("deep/d.png")
    assert not system.exists("deep/d") and not system.exists("a.png/b")
    assert system.info("a.png") == {"name": "a.png", "type": "file", "size": None, "mtime": TIME}
    assert system.info("deep") == {"name": "deep", "type": "directory", "size": 0}
    assert system.modified("a.png") == datetime.fromtimestamp(TIME, timezone.utc)
    assert system.ls("a.png") == [system.info("a.png")]


def test_what_files_hold(archive: str) -> None:
    system = fsspec.filesystem("bbc", fo=archive)
    for (name, pixels), path in zip(IMAGES.items(), ["a.png", "deep/down/b.png", *FILES[1:3], "e.tif"], strict=True):
        with system.open(path) as file:
            data = file.read()
            assert file.size == len(data) == system.info(path)["size"]
            assert np.array_equal(read_image(data).pixels, pixels), name
            assert file.seek(2) == 2 and file.read(2) == data[2:4]
        assert Image.open(io.BytesIO(data)).format == {".webp": "WEBP", ".tif": "TIFF"}.get(Path(path).suffix, "PNG")
    assert system.cat(["a.png", "e.tif"]).keys() == {"a.png", "e.tif"}
    assert system.cat_file("a.png", 1, -2) == system.cat("a.png")[1:-2]
    system.get("deep", "copy", recursive=True)
    assert {path.name for path in Path("copy").rglob("*.*")} == {"b.png", "c.webp", "d.png"}


def test_sizes_that_are_asked_for(archive: str) -> None:
    system = fsspec.filesystem("bbc", fo=archive, sizes=True)
    sizes = {info["name"]: info["size"] for info in system.ls("") if info["type"] == "file"}
    assert sizes == {path: len(system.cat(path)) for path in ("a.png", "e.tif")}
    assert system.du("") == sum(len(system.cat(path)) for path in FILES)


@pytest.mark.filterwarnings("ignore::UserWarning")  # which say what pixels alone would lack
def test_kept_files_are_as_they_were() -> None:
    Path("in").mkdir()
    shutil.copy(DATA / "kept" / "two-frames.gif", "in/moves.gif")  # which no other file holds
    shutil.copy(DATA / "digits" / "grey" / "0000.png", "in/digit.png")
    bbc.pack("in", "set.bbc")
    bbc.pack("in/moves.gif", "lone.bbc")
    bbc.pack("in/digit.png", "digit.bbc")
    for name, path in (("set", "moves.gif"), ("lone", "lone.gif")):
        assert fsspec.filesystem("bbc", fo=f"{name}.bbc").cat(path) == Path("in/moves.gif").read_bytes()
    for name, paths in (("set", ["digit.png", "moves.gif"]), ("lone", ["lone.gif"]), ("digit", ["digit.png"])):
        assert fsspec.filesystem("bbc", fo=f"{name}.bbc").ls("", False) == paths


def test_names_that_images_lack() -> None:
    names = ["x", "x.png", "y.txt", "x.png-2", "z/x"]
    bbc.write("set.bbc", {name: image(shade, 4, 4) for shade, name in enumerate(names)}, effort=1)
    system = fsspec.filesystem("bbc", fo="set.bbc")
    shown = ["x-2.png", "x.png", "y.txt.png", "x.png-2.png", "z/x.png"]
    assert system.find("") == sorted(shown)
    assert [read_image(system.cat(path)).pixels[0, 0] for path in shown] == [0, 1, 2, 3, 4]
    bbc.write("numbers.bbc", [(None, image(shade, 4, 4)) for shade in range(2)], effort=1)
    assert fsspec.filesystem("bbc", fo="numbers.bbc").find("") == ["00000.png", "00001.png"]


def test_a_sharded_archive() -> None:
    Path("in").mkdir()
    for number in range(3):
        shutil.copy(DATA / "digits" / "grey" / f"{number:04}.png", "in")
    result = CliRunner().invoke(main, ["compress", "in", "-o", "out", "--shard-size", "1000"])
    assert result.exit_code == 0, result.output
    system = fsspec.filesystem("bbc", fo="out")
    assert system.find("") == ["0000.png", "0001.png", "0002.png"]
    assert read_image(system.cat("0002.png")) == read_image("in/0002.png")


def test_an_archive_that_is_replaced_is_opened_again(archive: str) -> None:
    system = fsspec.filesystem("bbc", fo=archive)
    before = system.cat("a.png")
    bbc.write(archive, {"a.png": image(9, 5, 6), "new.png": image(1, 2, 2)}, effort=1, overwrite=True)
    assert system.find("") == ["a.png", "new.png"]
    assert read_image(system.cat("a.png")).pixels[0, 0] == 9 and system.cat("a.png") != before


def test_open_file_as_the_archive(archive: str) -> None:
    with open(archive, "rb") as file:
        system = fsspec.filesystem("bbc", fo=file)
        assert system.find("") == FILES and np.array_equal(read_image(system.cat("a.png")).pixels, IMAGES["a.png"])
        system.close()
        assert not file.closed


def test_pickled_and_in_threads(archive: str) -> None:
    system = fsspec.filesystem("bbc", fo=os.path.abspath(archive))
    files = {path: system.cat(path) for path in FILES}
    again = pickle.loads(pickle.dumps(system))
    assert {path: again.cat(path) for path in FILES} == files
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(system.cat, FILES * 5)) == list(files.values()) * 5


def test_what_a_thread_reads_no_other_closes(archive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system = fsspec.filesystem("bbc", fo=archive)
    read, others = Reader.read_content, list[threading.Thread]()

    def interrupted(reader: Reader, position: int) -> Any:
        others.append(threading.Thread(target=system.invalidate_cache))
        others[-1].start()
        others[-1].join(0.2)  # it waits for the lock, or is quick
        return read(reader, position)

    monkeypatch.setattr(Reader, "read_content", interrupted)
    assert np.array_equal(read_image(system.cat("a.png")).pixels, IMAGES["a.png"])
    for other in others:
        other.join()
    assert len(others) == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda system: system.open("new.png", "wb"),
        lambda system: system.open("a.png", "ab"),
        lambda system: system.pipe("new.png", b""),
        lambda system: system.put("set.bbc", "new.png"),
        lambda system: system.touch("new.png"),
        lambda system: system.rm("a.png"),
        lambda system: system.mv("a.png", "b.png"),
        lambda system: system.cp("a.png", "b.png"),
        lambda system: system.mkdir("new"),
        lambda system: system.makedirs("new"),
        lambda system: system.rmdir("deep"),
    ],
)
def test_it_is_only_read(archive: str, write: Callable[[Any], object]) -> None:
    before = Path(archive).read_bytes()
    with pytest.raises(ReadOnlyError, match="the file system bbc is only read; bbc compress makes archives"):
        write(fsspec.filesystem("bbc", fo=archive))
    assert Path(archive).read_bytes() == before


def test_what_cannot_be_read(archive: str) -> None:
    system = fsspec.filesystem("bbc", fo=archive)
    for path in ("no.png", "deep/no", "a.png/b"):
        for call in (system.open, system.info, system.ls, system.cat):
            with pytest.raises(FileNotFoundError):
                call(path)
    with pytest.raises(IsADirectoryError):
        system.open("deep")
    with pytest.raises(bbc.BBCError, match="bbc:// needs an archive"):
        fsspec.open("bbc://a.png").open()
    with pytest.raises(FileNotFoundError, match=r"no\.bbc: cannot be read: No such file"):
        fsspec.open("bbc://a.png::no.bbc").open()
    Path("no.bbc").write_bytes(b"something else")
    with pytest.raises(bbc.FormatError, match=r"no\.bbc: the file is not a \.bbc file"):
        fsspec.open("bbc://a.png::no.bbc").open()
    data = bytearray(Path(archive).read_bytes())
    data[20] ^= 1
    Path("bad.bbc").write_bytes(data)
    with pytest.raises(bbc.FormatError, match=r"bad\.bbc: a\.png: "):
        fsspec.filesystem("bbc", fo="bad.bbc").cat("a.png")


@pytest.fixture(scope="module")
def s3() -> Iterator[Store]:
    with s3_store() as store:
        yield store


def test_on_s3(s3: Store) -> None:
    noise = np.random.default_rng(0).integers(0, 1 << 16, (250, 250), np.uint16)
    digits = {f"{number}.png": read_image(DATA / "digits" / "grey" / f"{number:04}.png") for number in range(3)}
    bbc.write(f"{s3.url}/set.bbc", {**digits, "noise.png": noise}, effort=1)
    s3.requests.clear()
    with fsspec.open(f"bbc://1.png::{s3.url}/set.bbc") as file:
        assert read_image(file.read()) == digits["1.png"]
    assert [request.method for request in s3.requests] == ["HEAD", "GET", "GET"]
    assert s3.sent == storage.START_BYTES + storage.ENDS_BYTES < noise.nbytes
    for number in range(3):  # by one file system, which has them already
        with fsspec.open(f"bbc://{number}.png::{s3.url}/set.bbc") as file:
            assert read_image(file.read()) == digits[f"{number}.png"]
    assert len(s3.requests) == 3
    files = fsspec.open_files(f"bbc://*.png::{s3.url}/set.bbc")
    assert [file.path for file in files] == ["0.png", "1.png", "2.png", "noise.png"] and len(s3.requests) == 3
    with fsspec.open(f"bbc://noise.png::{s3.url}/set.bbc") as file:
        assert np.array_equal(np.asarray(Image.open(file)), noise)
    assert len(s3.requests) == 4
    with pytest.raises(FileNotFoundError, match=r"s3://photos/no\.bbc: cannot be read: there is no such file"):
        fsspec.open(f"bbc://a.png::{s3.url}/no.bbc").open()


def test_on_the_web_and_with_options(archive: str) -> None:
    with web_store({"set.bbc": Path(archive).read_bytes()}) as web:
        url = f"bbc://a.png::{web.url}/set.bbc?token=hush"
        for options in ({}, {"http": {"client_kwargs": {"headers": {"X-Key": "hush"}}}}):
            with fsspec.open(url, **options) as file:
                assert np.array_equal(np.asarray(Image.open(file)), IMAGES["a.png"])
        web.refuse = lambda method, path: True
        BBCFileSystem.clear_instance_cache()
        with pytest.raises(bbc.BBCError, match=r"set.bbc\?token=\*\*\*: cannot be read: permission denied"):
            fsspec.open(url).open()
