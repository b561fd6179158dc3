"""Commands and functions of Python whose files are URLs: on S3, on the web and in fsspec's memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from cli_for_tests import run
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from stores import Store, s3_store, web_store

import bbcompress as bbc
from bbcompress.images.read import read_image
from bbcompress.system import retries, storage

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")
DIGITS = Path(__file__).resolve().parents[1] / "data" / "digits" / "grey"


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    with s3_store() as store:
        yield store


@pytest.fixture
def s3(server: Store) -> Iterator[Store]:
    """The store, whose bucket is empty, and the digits in the folder `set`."""
    Path("set").mkdir()
    for number in range(3):
        shutil.copy(DIGITS / f"{number:04}.png", f"set/{number}.png")
    server.requests.clear()
    yield server
    server.refuse = lambda method, path: False
    system = fsspec.filesystem("s3")
    system.invalidate_cache()
    for name in system.find("photos"):
        system.rm_file(name)


def refused(*arguments: str, status: int = 1) -> str:
    """The one line that a command ends with."""
    before = sorted(Path().rglob("*"))
    (line,) = run(*arguments, status=status).stderr.splitlines()
    assert sorted(Path().rglob("*")) == before
    return line.removeprefix("bbc: error: ")


def names_of(store: Store) -> list[str]:
    return [found.name for found in storage.list_folder(storage.place_of(store.url))]


def test_to_a_store_and_back(s3: Store) -> None:
    assert run("compress", "set", "-o", f"{s3.url}/sets/a.bbc").stdout.startswith("set -> s3://photos/sets/a.bbc  ")
    run("compress", "set/0.png", "set/1.png", "--output-dir", f"{s3.url}/each")
    run("compress", "set/2.png", "-o", f"{s3.url}/each/")
    assert names_of(s3) == ["each/0.bbc", "each/1.bbc", "each/2.bbc", "sets/a.bbc"]
    assert [line.split()[-1] for line in run("list", f"{s3.url}/sets/a.bbc").stdout.splitlines()] == [
        "0.png", "1.png", "2.png"
    ]  # fmt: skip
    assert "archive, 3 images" in run("info", f"{s3.url}/sets/a.bbc").stdout
    assert "3 images, all as they were" in run("test", f"{s3.url}/sets/a.bbc").stdout
    run("decompress", f"{s3.url}/sets/a.bbc", f"{s3.url}/each/0.bbc")  # into the current folder
    run("decompress", f"{s3.url}/each/0.bbc", "-o", f"{s3.url}/0.png")
    run("decompress", f"{s3.url}/each/2.bbc", "-o", f"{s3.url}/each/")
    assert "each/2.png" in names_of(s3)
    for number in range(3):
        assert read_image(f"a/{number}.png") == read_image(f"set/{number}.png")
    assert (
        read_image("0.png")
        == read_image("set/0.png")
        == read_image(storage.read_bytes(storage.Url("s3://photos/0.png")))
    )


def test_a_sharded_archive_of_a_store_is_read_by_its_folder(s3: Store) -> None:
    """The library of S3 opens a folder as an empty file. Names may have characters that mean something in URLs."""
    target = f"{s3.url}/deep/o#u t%20.bbc"
    run("compress", "set", "-o", target, "--shard-size", "1600", "-1")
    for place in (target, f"{target}/", f"{target}/manifest.jsonl"):
        rows = run("list", place).stdout.splitlines()
        assert [row.split()[-1] for row in rows] == ["0.png", "1.png", "2.png"]
    run("decompress", target, "-o", "back")
    with bbc.open(target) as archive:
        assert archive["2.png"] == read_image("back/2.png") == read_image("set/2.png")
    assert refused("list", f"{s3.url}/deep").endswith(
        "deep: is a folder, and holds no manifest.jsonl of a sharded archive"
    )
    with pytest.raises(bbc.MissingFileError, match="there is no such file"):
        storage.read_bytes(storage.place_of(f"{s3.url}/deep"))


def test_from_a_store(s3: Store) -> None:
    for number in range(3):
        with storage.new_file(storage.Url(f"{s3.url}/deep/down/{number}.png"), False) as file:
            file.write(Path(f"set/{number}.png").read_bytes())
    with storage.new_file(storage.Url(f"{s3.url}/deep/down/note.txt"), False) as file:
        file.write(b"no image")
    s3.requests.clear()
    result = run("compress", f"{s3.url}/deep")
    assert "1 file left out, no image or not named as one: s3://photos/deep/down/note.txt" in result.stderr
    assert sum(request.path.endswith(".png") and request.method == "GET" for request in s3.requests) == 3
    assert len(s3.requests) < 20
    run("compress", f"{s3.url}/deep/down/0.png", f"{s3.url}/deep/down/1.png", "set", "-o", "all.bbc")
    with bbc.open("deep.bbc") as archive, bbc.open("all.bbc") as others:
        assert list(archive) == ["down/0.png", "down/1.png", "down/2.png"]
        assert list(others) == ["0.png", "1.png", "set/0.png", "set/1.png", "set/2.png"]
        assert archive["down/2.png"] == others["set/2.png"] == read_image("set/2.png")
        assert archive.time(0) == storage.look_up(storage.Url(f"{s3.url}/deep/down/0.png")).modified


def test_python(s3: Store) -> None:
    url = f"{s3.url}/set.bbc"
    bbc.pack("set", url)
    with pytest.raises(bbc.OutputExistsError):
        bbc.pack("set", url)
    assert [path.as_posix() for path in bbc.extract(url, "back")] == ["back/0.png", "back/1.png", "back/2.png"]
    with bbc.open(url) as archive:
        images = dict(archive)
    assert images["1.png"] == read_image("set/1.png")
    bbc.write(f"{s3.url}/written.bbc", images)
    with bbc.open(f"{s3.url}/written.bbc") as archive:
        assert dict(archive) == images
    with storage.new_file(storage.Url(f"{s3.url}/1.png"), False) as file:
        file.write(Path("set/1.png").read_bytes())
    lone = f"{s3.url}/lone.bbc"
    with storage.new_file(storage.Url(lone), False) as file:
        file.write(bbc.compress(f"{s3.url}/1.png"))
    with bbc.open(lone) as archive:
        assert dict(archive) == {"lone": images["1.png"]}


def test_one_image_takes_its_group_alone(s3: Store) -> None:
    noise = np.random.default_rng(0).integers(0, 1 << 16, (250, 250), np.uint16)
    digits = {f"{number}.png": read_image(f"set/{number}.png") for number in range(3)}
    bbc.write(f"{s3.url}/mixed.bbc", {**digits, "noise.png": noise}, effort=1)
    s3.requests.clear()
    with bbc.open(f"{s3.url}/mixed.bbc") as archive:
        assert [list(group) for group in archive.groups] == [[0, 1, 2], [3]]
        assert [request.method for request in s3.requests] == ["HEAD", "GET", "GET"]
        assert s3.sent == storage.START_BYTES + storage.ENDS_BYTES
        assert archive["1.png"] == digits["1.png"]  # its group is in the beginning
        assert len(s3.requests) == 3
        s3.requests.clear()
        assert np.array_equal(archive["noise.png"].pixels, noise)
        assert len(s3.requests) == 1 and noise.nbytes <= s3.sent < 1.01 * noise.nbytes
        s3.requests.clear()
        assert np.array_equal(archive["noise.png"].pixels, noise) and s3.requests == []


def test_from_the_web() -> None:
    bbc.pack([str(DIGITS / f"{number:04}.png") for number in range(3)], "set.bbc")
    files = {"set.bbc": Path("set.bbc").read_bytes(), "0.png": (DIGITS / "0000.png").read_bytes()}
    with web_store(files) as web:
        url = f"{web.url}/set.bbc?token=hush"
        result = run("decompress", "--json", url)
        assert json.loads(result.stdout)["file"] == f"{web.url}/set.bbc?token=***"
        assert read_image("set/0000.png") == read_image(DIGITS / "0000.png")
        run("compress", f"{web.url}/0.png?token=hush")
        assert "hush" not in run("info", "--json", url).stdout + run("list", url).output + run("test", url).output
        assert b"hush" not in Path("0.bbc").read_bytes()
        with bbc.open("0.bbc") as archive:
            assert archive["0"] == read_image(DIGITS / "0000.png")
        line = refused("compress", str(DIGITS / "0000.png"), "-o", f"{web.url}/new.bbc")
        assert line == f"{web.url}/new.bbc: cannot be written: the web is read alone"
        assert "a folder of a web server cannot be listed" in refused("compress", f"{web.url}/", "-o", "x.bbc")
        line = refused("decompress", f"{web.url}/no.bbc?token=hush")
        assert line == f"{web.url}/no.bbc?token=***: cannot be read: there is no such file"


def test_what_is_refused(s3: Store) -> None:
    run("compress", "set", "-o", f"{s3.url}/set.bbc")
    with storage.new_file(storage.Url(f"{s3.url}/raw/0.png"), False) as file:
        file.write(Path("set/0.png").read_bytes())
    there = names_of(s3)
    assert refused("compress", "set", "-o", f"{s3.url}/set.bbc") == "s3://photos/set.bbc exists; --force overwrites it"
    assert "nothing can be added to what a URL names" in refused("add", f"{s3.url}/set.bbc", "set")
    assert "images are written into folders of this machine alone" in refused(
        "decompress", f"{s3.url}/set.bbc", "-o", f"{s3.url}/back"
    )
    for arguments in (("compress", "set", "-o", f"{s3.url}/b.bbc"), ("decompress", f"{s3.url}/set.bbc")):
        assert "--rm deletes files of this machine" in refused(*arguments, "--rm", status=2)
    assert "would lie in s3://photos/raw" in refused("compress", f"{s3.url}/raw", "-o", f"{s3.url}/raw/b.bbc")
    assert "use .bbc" in refused("compress", "set", "-o", f"{s3.url}/b.png")
    assert refused("list", f"{s3.url}/no.bbc") == "s3://photos/no.bbc: cannot be read: there is no such file"
    assert refused("compress", f"{s3.url}/no.png") == "s3://photos/no.png: cannot be read: there is no such file"
    assert refused("info", "s3://nobody/a.bbc") == "s3://nobody/a.bbc: cannot be read: there is no such bucket"
    s3.refuse = lambda method, path: method == "PUT"
    assert refused("compress", "set", "-o", f"{s3.url}/new.bbc") == (
        "s3://photos/new.bbc: cannot be written: permission denied"
    )
    s3.refuse = lambda method, path: False
    assert names_of(s3) == there
    with pytest.raises(bbc.BBCError, match="nothing can be added"):
        bbc.add(f"{s3.url}/set.bbc", {})
    with pytest.raises(bbc.BBCError, match="folders of this machine"):
        bbc.extract(f"{s3.url}/set.bbc", f"{s3.url}/back")


def test_an_image_that_cannot_be_read_leaves_nothing(s3: Store) -> None:
    Path("set/0.png").write_bytes(b"no PNG")
    refused("compress", "set/0.png", "set/1.png", "-o", f"{s3.url}/set.bbc")
    assert names_of(s3) == []


def test_a_network_that_fails_is_tried_again_and_leaves_out_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "PAUSES", (0.0, 0.0))
    left = [1]
    read = storage.read_bytes

    def failing(place: storage.Place) -> bytes:
        if left[0]:
            left[0] -= 1
            raise bbc.BBCError("the network fails") from ConnectionResetError()
        return read(place)

    monkeypatch.setattr(storage, "read_bytes", failing)
    with web_store({"0.png": (DIGITS / "0000.png").read_bytes()}) as web:
        run("compress", f"{web.url}/0.png")
        left[0] = 3
        line = refused("compress", f"{web.url}/0.png", "-o", "other.bbc", "--skip-unreadable")
    assert line == "the network fails; it was tried 3 times"


def test_damage_is_told(s3: Store) -> None:
    bbc.pack("set", "set.bbc")
    data = bytearray(Path("set.bbc").read_bytes())
    data[20] ^= 1
    with storage.new_file(storage.Url(f"{s3.url}/set.bbc"), False) as file:
        file.write(data)
    assert "s3://photos/set.bbc: damaged" in run("test", f"{s3.url}/set.bbc", status=1).stderr


def test_pages(s3: Store) -> None:
    run("compress", "set/0.png", "-o", f"{s3.url}/a.bbc")
    run("sheet", f"{s3.url}/a.bbc")
    assert Path("a.html").exists()
    assert '"file": "s3://photos/a.bbc"' in run("explain", "--json", f"{s3.url}/a.bbc").stdout
    run("thumbnail", f"{s3.url}/a.bbc")
    assert Path("a-thumbnail.png").exists()
    for command, option in (("sheet", "-o"), ("thumbnail", "-o"), ("explain", "-o"), ("explain", "--html")):
        line = refused(command, f"{s3.url}/a.bbc", option, "s3://user:hush@photos/a")
        assert line == "s3://***@photos/a: this is written into folders of this machine alone"
    for command in ("list", "info", "test", "sheet", "explain", "thumbnail", "decompress"):
        assert "hush" not in refused(command, "http://user:hush@127.0.0.1:1/a.bbc?key=hush")
