"""URLs and paths: what is one, what is read and written, and what errors say of them."""

from __future__ import annotations

import io
import random
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest
from stores import Request, Store, s3_store, web_store

from bbcompress.errors import BBCError, MissingFileError, OutputExistsError
from bbcompress.system import storage
from bbcompress.system.storage import Url, place_of
from bbcompress.text import escaped, redacted


@pytest.fixture
def memory() -> Iterator[str]:
    """A folder of fsspec's memory, empty."""
    yield "memory://tests"
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def put(address: str, data: bytes, force: bool = False) -> None:
    with storage.new_file(place_of(address), force) as file:
        file.write(data)


@pytest.mark.parametrize(
    "text", ["s3://bucket/a.bbc", "https://host/a.bbc?x=1", "memory://a.bbc", "zip://a.png::s3://b/c.zip", "GS://b/c"]
)
def test_url(text: str) -> None:
    place = place_of(text)
    assert isinstance(place, Url) and place.address == text


@pytest.mark.parametrize(
    "text", ["a.png", "C:\\a.png", "C://a.png", "a::b.png", "dir/s3://b/c", "./s3://b/c", "s3:/b/c"]
)
def test_paths_are_no_urls(text: str) -> None:
    assert place_of(text) == Path(text)


def test_file_that_is_called_like_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(place_of("odd://name"), Url)
    Path("odd:").mkdir()
    Path("odd:/name").write_bytes(b"here")
    assert storage.read_bytes(place_of("odd://name")) == b"here"


def test_file_urls_are_paths(tmp_path: Path) -> None:
    assert place_of(f"file://{tmp_path}/a.bbc") == tmp_path / "a.bbc"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("s3://bucket/x/y.tar.bbc", "y.tar.bbc"),
        ("s3://bucket", ""),
        ("s3://bucket/", ""),
        ("memory://y.bbc", "y.bbc"),
        ("https://host/x/y%20z.bbc?q=/a/b", "y z.bbc"),
        ("zip://a/b.png::s3://b/x.zip", "b.png"),
        ("simplecache::s3://b/x.bbc", "x.bbc"),
    ],
)
def test_names(address: str, name: str) -> None:
    assert Url(address).name == name


def test_joined() -> None:
    assert Url("zip://a::s3://b/x.zip") / "c.png" == Url("zip://a/c.png::s3://b/x.zip")


@pytest.mark.parametrize(
    "text",
    [
        "https://user:hush@host/a",
        "https://hush@host/a",
        "s3://user:hu/sh@bucket/a",
        "https://host/a?X-Amz-Signature=hush&b=hu/sh",
        "https://host/a?hush",
        "bbc://a.png::https://user:hush@host/set.bbc?sig=hush: no such file",
        "error at 'https://host/?sig=hush', and more",
    ],
)
def test_secrets_are_not_told(text: str) -> None:
    for told in (redacted(text), escaped(text), str(Url(text)), repr(Url(text)), str(BBCError(text))):
        assert "hush" not in told and "hu/sh" not in told
        assert "host" in told or "bucket" in told


@pytest.mark.parametrize(
    "text",
    ["s3://bucket/a@2x.png", "https://host:80/a@2x.png", "abfs://box@account/a", "bbc://a@2x.png::set.bbc", "a@b"],
)
def test_what_is_no_secret_is_told(text: str) -> None:
    assert redacted(text) == text


def test_written_and_read(memory: str) -> None:
    data = random.Random(0).randbytes(300_000)
    put(f"{memory}/a/b.bbc", data)
    place = place_of(f"{memory}/a/b.bbc")
    assert storage.read_bytes(place) == data
    assert storage.exists(place) and storage.is_folder(place_of(memory)) and not storage.is_folder(place)
    (found,) = storage.list_folder(place_of(memory))
    assert (found.name, found.place, found.size) == ("a/b.bbc", place, len(data))
    assert found.modified == storage.look_up(place).modified is not None


def test_reads_are_those_of_a_file(memory: str) -> None:
    data = random.Random(1).randbytes(200_000)
    put(f"{memory}/a", data)
    draw = random.Random(2)
    with storage.open_to_read(place_of(f"{memory}/a")) as file, io.BytesIO(data) as own:
        for _ in range(300):
            offset, size = draw.randrange(210_000), draw.choice((0, 3, 100, 5000, 70_000, -1))
            whence = draw.choice((0, 0, 2))
            offset = -min(offset, len(data)) if whence == 2 else offset
            assert file.seek(offset, whence) == own.seek(offset, whence)
            assert file.read(size) == own.read(size)
            if draw.random() < 0.5:
                assert file.read(1000) == own.read(1000)


def test_what_is_there_is_not_replaced(memory: str) -> None:
    put(f"{memory}/a", b"one")
    with pytest.raises(OutputExistsError, match="exists; overwrite=True replaces it"):
        put(f"{memory}/a", b"two")
    put(f"{memory}/a", b"two", force=True)
    assert storage.read_bytes(place_of(f"{memory}/a")) == b"two"


def test_what_comes_meanwhile_is_not_replaced(memory: str) -> None:
    with pytest.raises(OutputExistsError), storage.new_file(place_of(f"{memory}/a"), False) as file:
        file.write(b"mine")
        put(f"{memory}/a", b"another's")
    assert storage.read_bytes(place_of(f"{memory}/a")) == b"another's"


def test_nothing_is_left_of_what_fails(memory: str) -> None:
    with pytest.raises(KeyError), storage.new_file(place_of(f"{memory}/a"), False) as file:
        file.write(b"one")
        raise KeyError
    assert not storage.exists(place_of(f"{memory}/a"))


@pytest.mark.parametrize("fails", [False, True])
def test_stores_whose_files_grow_get_another_name_first(
    memory: str, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a server of SFTP: the file is renamed when it is whole."""
    monkeypatch.setattr(storage, "_WHOLE", set())
    monkeypatch.setattr(storage, "PART_BYTES", 1000)
    put(f"{memory}/a", b"old")
    with suppress(KeyError), storage.new_file(place_of(f"{memory}/a"), True) as file:
        for _ in range(10):
            file.write(bytes(500))
        (part, _) = sorted(found.name for found in storage.list_folder(place_of(memory)))
        assert part.startswith(".a.") and storage.read_bytes(place_of(f"{memory}/a")) == b"old"
        if fails:
            raise KeyError
    assert storage.read_bytes(place_of(f"{memory}/a")) == (b"old" if fails else bytes(5000))
    assert [found.name for found in storage.list_folder(place_of(memory))] == ["a"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://no/a", "memory://no/a: cannot be read: there is no such file"),
        ("nope://a/b?t=hush", r"nope://a/b\?t=\*\*\*: there is no such kind of URL as nope://"),
    ],
)
def test_what_cannot_be_read(address: str, message: str) -> None:
    with pytest.raises(BBCError, match=message) as caught:
        storage.open_to_read(place_of(address))
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_what_is_below_a_file_cannot_be_read_and_is_not_to_be_overwritten(memory: str) -> None:
    put(f"{memory}/a", b"")
    with pytest.raises(BBCError, match="a/b: cannot be read: a file stands in the place of its folder"):
        storage.open_to_read(place_of(f"{memory}/a/b"))


def test_folder_that_is_not_there(memory: str) -> None:
    with pytest.raises(MissingFileError, match="there is no such file"):
        storage.list_folder(place_of(f"{memory}/no"))


@pytest.mark.parametrize("address", ["https://host/a.bbc", "zip://a.bbc::memory://b.zip"])
def test_what_is_only_read(address: str) -> None:
    with pytest.raises(BBCError, match=r"cannot be written: .* is read alone"):
        put(address, b"")


@pytest.mark.parametrize(
    ("missing", "address", "message"),
    [
        ("fsspec.core", "s3://b/k", r"needs fsspec and its libraries: pip install 'bbcompress\[remote\]'"),
        ("s3fs", "s3://b/missing", r"needs s3fs: pip install 'bbcompress\[remote\]'"),
        ("gcsfs", "gs://b/k", "needs gcsfs: pip install gcsfs"),
    ],
)
def test_what_is_not_installed(missing: str, address: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.registry import _registry

    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(_registry, Url(address).scheme, raising=False)
    with pytest.raises(BBCError, match=message):
        storage.open_to_read(place_of(address))


@pytest.fixture(scope="module")
def s3() -> Iterator[Store]:
    with s3_store() as store:
        yield store


@pytest.fixture
def asked(s3: Store) -> Iterator[list[Request]]:
    """The requests of a test."""
    s3.requests.clear()
    yield s3.requests
    s3.refuse = lambda method, path: False


def said(requests: Sequence[Request]) -> list[str]:
    """Methods and queries, without the numbers of an upload."""
    queries = (re.sub(r"=\w+", "", request.path.partition("?")[2]) for request in requests)
    return [f"{request.method} {query}".strip() for request, query in zip(requests, queries, strict=True)]


def test_s3(s3: Store, asked: list[Request]) -> None:
    data = random.Random(0).randbytes(300_000)
    put(f"{s3.url}/a/b.bbc", data)
    place = place_of(f"{s3.url}/a/b.bbc")
    assert storage.read_bytes(place) == data
    assert [request.path for request in asked if request.method == "PUT"] == ["/photos/a/b.bbc"]
    assert storage.exists(place) and storage.is_folder(place_of(f"{s3.url}/a")) and not storage.is_folder(place)
    (found,) = storage.list_folder(place_of(f"{s3.url}/a"))
    assert (found.name, found.place, found.size) == ("b.bbc", place, len(data))
    with pytest.raises(OutputExistsError):
        put(f"{s3.url}/a/b.bbc", b"")


def test_few_requests(s3: Store, asked: list[Request]) -> None:
    data = random.Random(0).randbytes(2_000_000)
    put(f"{s3.url}/few", data)
    asked.clear()
    with storage.open_to_read(place_of(f"{s3.url}/few")) as file:
        for offset, size in ((0, 3), (-8, 8), (-5000, 4992), (-60_000, 100), (1, 2)):
            file.seek(offset, 0 if offset >= 0 else 2)
            assert file.read(size) == data[offset:][:size]
        assert said(asked) == ["HEAD", "GET", "GET"] and s3.sent == storage.START_BYTES + storage.ENDS_BYTES
        asked.clear()
        file.seek(500_000)
        assert file.read(20_000) == data[500_000:520_000]
        assert (len(asked), s3.sent) == (1, 20_000)  # a group by itself: no byte more
        while file.read(10_000):  # one after the other: fewer and fewer requests
            pass
        assert len(asked) <= 8 and s3.sent < len(data)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """Uploads are cut into the smallest parts that S3 takes."""
    monkeypatch.setattr(storage, "PART_BYTES", 5 << 20)
    return 5 << 20


def test_upload_in_parts(s3: Store, asked: list[Request], small_parts: int) -> None:
    data = random.Random(0).randbytes(small_parts) * 3
    with storage.new_file(place_of(f"{s3.url}/large"), False) as file:
        for start in range(0, len(data), 1 << 20):
            file.write(data[start : start + (1 << 20)])
        assert file.tell() == len(data)
    assert sum("partNumber" in request.path for request in asked) == 3
    assert storage.read_bytes(place_of(f"{s3.url}/large")) == data


@pytest.mark.parametrize("reason", [KeyError, KeyboardInterrupt])
def test_upload_that_fails_is_taken_back(
    s3: Store, asked: list[Request], small_parts: int, reason: type[BaseException]
) -> None:
    with pytest.raises(reason), storage.new_file(place_of(f"{s3.url}/broken"), False) as file:
        for _ in range(12):
            file.write(bytes(1 << 20))
        raise reason
    assert not storage.exists(place_of(f"{s3.url}/broken"))
    assert [line for line in said(asked) if line.startswith("DELETE")] == ["DELETE uploadId"]
    assert fsspec.filesystem("s3").call_s3("list_multipart_uploads", Bucket="photos").get("Uploads", []) == []


def test_upload_that_the_store_refuses_is_taken_back(s3: Store, asked: list[Request], small_parts: int) -> None:
    s3.refuse = lambda method, path: method == "POST" and "uploadId" in path
    with pytest.raises(BBCError, match="broken: cannot be written: permission denied"):
        put(f"{s3.url}/broken", bytes(2 * small_parts))
    s3.refuse = lambda method, path: False
    assert not storage.exists(place_of(f"{s3.url}/broken"))
    assert fsspec.filesystem("s3").call_s3("list_multipart_uploads", Bucket="photos").get("Uploads", []) == []


def test_what_s3_refuses(s3: Store, asked: list[Request]) -> None:
    put(f"{s3.url}/there", b"x")
    with pytest.raises(MissingFileError, match=r"^s3://photos/no: cannot be read: there is no such file$"):
        storage.open_to_read(place_of(f"{s3.url}/no"))
    for call in (storage.open_to_read, storage.list_folder):
        with pytest.raises(MissingFileError, match=r"^s3://nobody/no: cannot be read: there is no such bucket$"):
            call(place_of("s3://nobody/no"))
    with pytest.raises(BBCError, match=r"^s3://nobody/no: cannot be written: there is no such bucket$"):
        put("s3://nobody/no", b"")
    s3.refuse = lambda method, path: True
    for look in (storage.open_to_read, storage.read_bytes, storage.exists, storage.is_folder, storage.look_up):
        with pytest.raises(BBCError, match=r"^s3://photos/there: cannot be read: permission denied$") as caught:
            look(place_of(f"{s3.url}/there"))
        assert "TESTS" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(BBCError, match=r"^s3://photos/there: cannot be written: permission denied$"):
        put(f"{s3.url}/there", b"", force=True)


def test_a_file_that_is_replaced_is_seen(s3: Store) -> None:
    for data in (b"one", b"another"):
        put(f"{s3.url}/set/a.bbc", data, force=True)
        (found,) = storage.list_folder(place_of(f"{s3.url}/set"))
        fsspec.filesystem("s3").call_s3("put_object", Bucket="photos", Key="set/a.bbc", Body=b"by somebody else")
        assert storage.read_bytes(found.place) == b"by somebody else"
        with storage.open_to_read(found.place) as file:
            assert file.read() == b"by somebody else"


@pytest.mark.parametrize(("ranges", "sizes"), [(True, True), (False, True), (False, False)])
def test_web(ranges: bool, sizes: bool) -> None:
    data = random.Random(0).randbytes(500_000)
    with web_store({"a/b.bbc": data}, ranges, sizes) as web:
        place = place_of(f"{web.url}/a/b.bbc?token=hush")
        assert place.name == "b.bbc" and not storage.is_folder(place)
        with storage.open_to_read(place) as file:
            for offset, size in ((0, 3), (250_000, 1000), (499_000, 1000), (490_000, 2000), (499_999, 9), (500_000, 1)):
                file.seek(offset)
                assert file.read(size) == data[offset : offset + size]
            assert file.seek(0, 2) == len(data)
        bound = storage.START_BYTES + storage.ENDS_BYTES + 1000
        assert web.sent <= bound if ranges else web.sent >= len(data)
        assert storage.read_bytes(place) == data
        with pytest.raises(MissingFileError, match="there is no such file"):
            storage.open_to_read(place_of(f"{web.url}/no"))
        web.refuse = lambda method, path: True
        with pytest.raises(BBCError, match=r"b.bbc\?token=\*\*\*: cannot be read: permission denied") as caught:
            storage.read_bytes(place)
        assert "hush" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(BBCError, match="the network fails") as caught:  # nobody listens there any more
        storage.read_bytes(place)
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_folder_of_the_web() -> None:
    assert storage.is_folder(place_of("https://host/a/"))
    with pytest.raises(BBCError, match="a folder of a web server cannot be listed: name its files"):
        storage.list_folder(place_of("https://host/a/"))
