"""Sharded archives, made in this process: the same bytes each time, read like one archive, and resumed."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from PIL import Image

import bbcompress
from bbcompress.archive import sharded
from bbcompress.archive.manifest import MANIFEST, Manifest
from bbcompress.codecs.progress import Progress
from bbcompress.errors import BBCError, FormatError, ImageError, OutputExistsError
from bbcompress.images.measure import estimated_pixels
from bbcompress.images.read import read_frames, read_image
from bbcompress.pipeline.options import Options
from bbcompress.pipeline.sharding.engine import InProcess
from bbcompress.pipeline.sharding.plan import cut, measure, measuring
from bbcompress.pipeline.sharding.run import ShardedPacking, ShardEvent
from bbcompress.pipeline.sharding.shard import Loading, ShardResult, make_shard
from bbcompress.pipeline.sharding.target import UNFINISHED
from bbcompress.pipeline.sources import find_images
from bbcompress.system import storage

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")

DIGITS = Path(__file__).resolve().parents[2] / "data" / "digits" / "binary"
NAMES = ("0.png", "1/0.png", "1/2.png", "1!.png", "1.png", "a.png", "b.png")
"""In the order in which shards have them."""

SHARD = 3 * 28 * 28
"""Pixels of three digits."""


class Backwards:
    """An engine that takes the last task first."""

    jobs = 1
    goes_on = False

    def status(self) -> str:
        return ""

    def run(
        self,
        function: Callable[[Any, Progress | None], Any],
        tasks: Sequence[Any],
        weight: Callable[[Any], int],
        progress: Progress | None = None,
    ) -> Iterator[tuple[int, Any]]:
        for number in reversed(range(len(tasks))):
            yield number, next(InProcess().run(function, [tasks[number]], weight))[1]


def put(names: Sequence[str] = NAMES, folder: str = "set") -> None:
    for number, name in enumerate(names):
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DIGITS / f"{number:04}.png", path)
        os.utime(path, (10**9, 10**9))


def pack(target: str = "out", engine: Any = None, **others: Any) -> tuple[ShardedPacking, list[ShardEvent]]:
    events: list[ShardEvent] = []
    loading = Loading(skip=others.pop("skip", None), frames=others.pop("frames", False))
    options = Options(effort=1, block_size=others.pop("block_size", None))
    given = {"shard_pixels": SHARD, **others}
    packing = ShardedPacking(["set"], target, options, loading, **given)
    packing.write(engine or InProcess(), events.append)
    return packing, events


def files(folder: str = "out") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_the_source_alone_decides_about_the_bytes() -> None:
    put()
    packing, events = pack()
    assert [event.status for event in events] == ["done"] * 3
    made = files()
    assert set(made) == {MANIFEST, "out-00000.bbc", "out-00001.bbc", "out-00002.bbc"}
    pack("out.bbc", Backwards())
    assert files("out.bbc") == made
    manifest = Manifest.decode(made[MANIFEST])
    assert [(shard.images, shard.first, shard.last) for shard in manifest.shards] == [
        (3, "0.png", "1/2.png"), (3, "1!.png", "a.png"), (1, "b.png", "b.png")]  # fmt: skip
    assert set(manifest.models.values()) == {"tiny-binary"}
    assert packing.summary.images == len(NAMES)
    assert packing.summary.size == sum(map(len, made.values()))
    for shard in manifest.shards:  # each is an archive of its own
        with bbcompress.open(f"out/{shard.file}") as archive:
            assert len(archive) == shard.images


def test_it_is_read_like_one_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    put()
    pack()
    monkeypatch.setattr(sharded, "OPEN_SHARDS", 1)
    for place in ("out", f"out/{MANIFEST}"):
        with bbcompress.open(place) as archive:
            assert list(archive) == list(NAMES)
            assert [archive.time(position) for position in range(len(archive))] == [10**9] * len(NAMES)
            assert dict(archive.images()) == {name: read_image(f"set/{name}") for name in NAMES}
            for position, name in reversed(list(enumerate(NAMES))):
                assert archive[name] == archive[position] == read_image(f"set/{name}")
            assert [name for name in ("", "1", "1/1.png", "0", "c.png", "00000") if name in archive] == []
            assert sorted(at for group in archive.groups for at in group) == list(range(len(NAMES)))
    written = bbcompress.extract("out", "back", only="1/*", format="png")
    assert sorted(map(str, written)) == [os.path.join("back", "1", name) for name in ("0.png", "2.png")]


def test_a_name_is_looked_for_in_one_shard() -> None:
    put()
    pack()
    for name in ("out-00000.bbc", "out-00002.bbc"):
        Path("out", name).unlink()
    with bbcompress.open("out") as archive:
        assert archive["1.png"] == read_image("set/1.png")
        assert "zz" not in archive and "-" not in archive
        with pytest.raises(FormatError, match=r"out-00002\.bbc cannot be read: No such file"):
            _ = archive["b.png"]


def test_an_image_that_cannot_be_read_is_in_the_manifest() -> None:
    put()
    Path("set/1/1.png").write_bytes(b"junk")
    Path("set/z.png").write_bytes(b"")
    packing, _ = pack(shard_pixels=28 * 28 + 1)
    manifest = packing.manifest
    assert manifest is not None
    assert [(one.name, one.reason) for one in manifest.unread] == [
        ("1/1.png", "is not an image of a known format"), ("z.png", "is empty")]  # fmt: skip
    assert manifest.image_count == len(NAMES)
    assert Manifest.decode(files()[MANIFEST]).unread == manifest.unread
    with pytest.raises(ImageError, match="known format"):
        pack("strict", skip=False)


def test_nothing_is_left_where_no_image_can_be_read() -> None:
    Path("set").mkdir()
    Path("set/a.png").write_bytes(b"junk")
    with pytest.raises(ImageError, match=r"no image can be read: a\.png: is not an image"):
        pack()
    assert not Path("out").exists()


def failing(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Shards of these names cannot be made."""

    def make(task: Any, progress: Progress | None = None) -> ShardResult:
        if task.plan.file in names:
            raise BBCError("no luck")
        return make_shard(task, progress)

    monkeypatch.setattr("bbcompress.pipeline.sharding.run.make_shard", make)


def test_a_shard_that_fails_does_not_stop_the_others_and_is_made_on_resuming(monkeypatch: pytest.MonkeyPatch) -> None:
    put()
    pack("whole")
    expected = {name.replace("whole", "out"): data for name, data in files("whole").items()}
    with monkeypatch.context() as patch:
        failing(patch, "out-00001.bbc")
        with pytest.raises(BBCError, match=r"out-00001\.bbc: no luck; out has 2 shards so far") as caught:
            pack()
    assert "--resume" in caught.value.for_command_line
    assert not Path("out", MANIFEST).exists()
    with pytest.raises(BBCError, match="holds no manifest"):
        bbcompress.open("out")
    with pytest.raises(OutputExistsError, match="unfinished"):
        pack()
    before = Path("out/out-00000.bbc").stat()
    _, events = pack(resume=True, shard_pixels=None)
    assert [(event.status, event.file) for event in events] == [
        ("resumed", "out-00000.bbc"), ("resumed", "out-00002.bbc"), ("done", "out-00001.bbc")]  # fmt: skip
    assert Path("out/out-00000.bbc").stat() == before
    made = files()
    assert {name: data for name, data in made.items() if name != MANIFEST} == {
        name: data for name, data in expected.items() if name != MANIFEST
    }
    assert made[MANIFEST].splitlines()[0] == expected[MANIFEST].splitlines()[0].replace(b'"whole"', b'"out"')


@pytest.mark.parametrize("change", ["record", "file", "source"])
def test_a_shard_is_made_again_where_it_is_not_what_the_record_says(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put()
    with monkeypatch.context() as patch:
        failing(patch, "out-00002.bbc")
        with pytest.raises(BBCError):
            pack()
    record = Path("out", UNFINISHED, "00001.json")
    if change == "record":
        record.write_bytes(record.read_bytes().replace(b'"images":3', b'"images":2'))
        record.write_bytes(record.read_bytes()[:-2])
    elif change == "file":
        with Path("out/out-00001.bbc").open("ab") as file:
            file.write(b"\0")
    else:
        shutil.copy(DIGITS / "0009.png", "set/1.png")
    _, events = pack(resume=True)
    assert [(event.status, event.file) for event in events] == [
        ("resumed", "out-00000.bbc"), ("done", "out-00001.bbc"), ("done", "out-00002.bbc")]  # fmt: skip
    with bbcompress.open("out") as archive:
        assert archive["1.png"] == read_image("set/1.png")


def test_other_settings_are_not_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    put()
    failing(monkeypatch, "out-00002.bbc")
    with pytest.raises(BBCError):
        pack()
    with pytest.raises(BBCError, match=f"other settings: shard_pixels was {SHARD}, and is 10 now"):
        pack(resume=True, shard_pixels=10)
    with pytest.raises(BBCError, match="frames was False, and is True now"):
        pack(resume=True, frames=True)
    with pytest.raises(BBCError, match="block_size was None, and is 64 now"):
        pack(resume=True, block_size=64)
    with pytest.raises(BBCError, match="no luck"):  # of the usual size settings say nothing
        pack(resume=True, block_size=1024)
    with pytest.raises(BBCError, match="no luck"):
        pack(force=True, block_size=64)
    with pytest.raises(BBCError, match="block_size was 64, and is None now"):
        pack(resume=True)
    with pytest.raises(BBCError, match="no luck"):
        pack(force=True)
    assert len(files_of(UNFINISHED)) == 4  # of two shards, the settings, the lock


def files_of(folder: str) -> list[str]:
    return sorted(path.name for path in Path("out", folder).iterdir())


def test_force_leaves_no_shard_of_before() -> None:
    put()
    pack(shard_pixels=1)
    assert len(files()) == len(NAMES) + 1
    with pytest.raises(OutputExistsError, match="holds a sharded archive"):
        pack()
    pack(force=True)
    assert len(files()) == 3 + 1


def test_what_the_target_may_not_be() -> None:
    put()
    Path("file").touch()
    Path("full").mkdir()
    Path("full/x").touch()
    for target, kind, reason in (
        ("file", OutputExistsError, "is a file"),
        ("full", OutputExistsError, "holds other files, such as x"),
        ("set/out", OutputExistsError, "would lie in set"),
        ("no/out", BBCError, "there is no folder no"),
        ("a\\b" if sys.platform != "win32" else ".x", BBCError, "names of shards cannot begin so"),
    ):
        with pytest.raises(kind, match=reason):
            pack(target)
    assert sorted(path.name for path in Path().iterdir()) == ["file", "full", "set"]


def test_only_one_command_writes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    put()

    def make(task: Any, progress: Progress | None = None) -> ShardResult:
        with pytest.raises(BBCError, match="another command is writing it"):
            pack(resume=True)
        return make_shard(task, progress)

    monkeypatch.setattr("bbcompress.pipeline.sharding.run.make_shard", make)
    pack()
    assert Path("out", MANIFEST).exists()


@pytest.mark.skipif(os.name == "nt", reason="needs permissions")
def test_nobody_else_reads_what_is_made_of_private_images() -> None:
    put()
    Path("set/a.png").chmod(0o600)
    pack()
    modes = {path.name: path.stat().st_mode & 0o777 for path in Path("out").iterdir()}
    assert modes[MANIFEST] == modes["out-00001.bbc"] == 0o600 != modes["out-00000.bbc"]
    (written,) = bbcompress.extract("out", "back", only="b.png")
    assert written.stat().st_mode & 0o777 == 0o600


def test_cutting() -> None:
    put()
    found = find_images(["set"])
    (task,) = measuring(found, False)
    measured = measure(task)
    assert [one.name for one in measured] == list(NAMES)
    assert {one.pixels for one in measured} == {28 * 28}
    cuts = {pixels: [len(plan.sources) for plan in cut(measured, "x", pixels, {})] for pixels in (1, SHARD, 10**9)}
    assert cuts == {1: [1] * 7, SHARD: [3, 3, 1], 10**9: [7]}
    one, other = cut(measured, "x", 10**9, {"k": 1}), cut(measured, "x", 10**9, {"k": 2})
    assert one[0].digest != other[0].digest  # it is of the settings, too


def test_estimates_are_exact_for_good_files_and_sizes_for_others() -> None:
    folder = DIGITS.parents[1]
    compared = 0
    for path in (*folder.glob("pngsuite/*.png"), *folder.glob("kept/*"), *folder.glob("photos/*"), Path(__file__)):
        size = path.stat().st_size
        with path.open("rb") as file:
            found = estimated_pixels(file, size)
            file.seek(0)
            of_all = estimated_pixels(file, size, frames=True)
        with suppress(ImageError):
            images = list(read_frames(path))
            assert (found, of_all) == (
                images[0].width * images[0].height, sum(image.width * image.height for image in images))  # fmt: skip
            compared += 1
            continue
        assert found == of_all == size or path.suffix == ".png"
    assert compared > 100


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("options", [{"lossless": True}, {"lossless": False}, {"exif": b"Exif\0\0ab"}])
def test_the_header_of_a_webp_is_enough(mode: str, options: dict[str, Any]) -> None:
    file = io.BytesIO()
    Image.new(mode, (37, 23), 3).save(file, "WEBP", **options)
    start = io.BytesIO(file.getvalue()[:30])
    assert estimated_pixels(start, 9) == 37 * 23


def test_what_the_manifest_says_otherwise_is_damage() -> None:
    put()
    pack()
    shutil.copytree("out", "mixed")
    shutil.copy("mixed/out-00000.bbc", "mixed/out-00001.bbc")
    with (
        pytest.raises(FormatError, match=r"out-00001\.bbc: it has \d+ bytes, the manifest says"),
        bbcompress.open("mixed") as archive,
    ):
        _ = archive["1.png"]
    lines = Path("out", MANIFEST).read_bytes().splitlines()
    assert json.loads(lines[1])["sha256"] != json.loads(lines[2])["sha256"]


class Failing:
    """Storage of fsspec's memory that fails again and again: each operation `often` times before it is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, often: int) -> None:
        from fsspec.implementations.memory import MemoryFileSystem

        self.failed: Counter[str] = Counter()
        self._often = often
        for name in ("info", "cat_file", "pipe_file", "open", "rm_file", "find"):
            monkeypatch.setattr(MemoryFileSystem, name, self._failing(name, getattr(MemoryFileSystem, name)))
        monkeypatch.setattr("bbcompress.system.retries.time.sleep", lambda _: None)

    def _failing(self, name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        left = Counter[str]()

        def act(system: Any, path: str, *given: Any, **named: Any) -> Any:
            left[path] += 1
            if left[path] <= self._often:
                self.failed[name] += 1
                raise TimeoutError("no answer")
            return operation(system, path, *given, **named)

        return act


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's file system in memory, empty before and after."""
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def test_urls_are_sources_and_targets(memory: Any) -> None:
    put()
    for name in NAMES:
        memory.pipe_file(f"/in/{name}", Path("set", name).read_bytes())
    loading, events = Loading(), list[ShardEvent]()
    packing = ShardedPacking(["memory://in"], "memory://deep/out.bbc", Options(effort=1), loading, SHARD)
    packing.write(InProcess(), events.append)
    pack()
    assert sorted(memory.find("/deep")) == [f"/deep/out.bbc/{name}" for name in sorted(files())]
    for name in ("out-00000.bbc", "out-00002.bbc"):  # times are those of the store
        assert abs(memory.size(f"/deep/out.bbc/{name}") - Path("out", name).stat().st_size) < 50
    with bbcompress.open("memory://deep/out.bbc") as archive:
        assert dict(archive.images()) == {name: read_image(f"set/{name}") for name in NAMES}
    with pytest.raises(OutputExistsError, match="holds a sharded archive"):
        ShardedPacking(["memory://in"], "memory://deep/out.bbc", Options(effort=1), loading, SHARD)
    with pytest.raises(OutputExistsError, match="would lie in memory://in"):
        ShardedPacking(["memory://in"], "memory://in/out", Options(effort=1), loading, SHARD)
    with pytest.raises(BBCError, match="the web is read alone"):
        ShardedPacking(["memory://in"], "https://example.org/out", Options(effort=1), loading, SHARD)
    again = ShardedPacking(["memory://in"], "memory://deep/out.bbc", Options(effort=1), loading, 10**6, force=True)
    again.write(InProcess(), events.append)
    assert sorted(memory.find("/deep")) == ["/deep/out.bbc/manifest.jsonl", "/deep/out.bbc/out-00000.bbc"]


def test_storage_that_fails_now_and_then_costs_nothing(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put()
    for name in NAMES:
        memory.pipe_file(f"/in/{name}", Path("set", name).read_bytes())
    with monkeypatch.context() as patch:
        failures = Failing(patch, 2)
        packing = ShardedPacking(["memory://in"], "memory://out", Options(effort=1), Loading(), SHARD)
        manifest = packing.write(InProcess(), lambda _: None)
    assert failures.failed["open"] and failures.failed["cat_file"] and failures.failed["pipe_file"]
    assert (manifest.image_count, manifest.unread) == (len(NAMES), [])
    with bbcompress.open("memory://out") as archive:
        assert dict(archive.images()) == {name: read_image(f"set/{name}") for name in NAMES}


def test_storage_that_fails_for_good_ends_the_run_which_is_resumed(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put()
    options, failing_name = Options(effort=1), "out-00001.bbc"
    send = storage.new_file

    @contextmanager
    def refused(place: Any, *given: Any) -> Iterator[Any]:
        if place.name == failing_name:
            raise TimeoutError("no answer")
        with send(place, *given) as file:
            yield file

    monkeypatch.setattr("bbcompress.system.retries.time.sleep", lambda _: None)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "new_file", refused)
        with pytest.raises(
            BBCError, match=r"out-00001\.bbc: no answer; it was tried 5 times; memory://out has 2 shards"
        ):
            ShardedPacking(["set"], "memory://out", options, Loading(), SHARD).write(InProcess(), lambda _: None)
    assert not memory.exists("/out/manifest.jsonl") and not memory.exists(f"/out/{failing_name}")
    events: list[ShardEvent] = []
    ShardedPacking(["set"], "memory://out", options, Loading(), None, resume=True).write(InProcess(), events.append)
    assert [event.status for event in events] == ["resumed", "resumed", "done"]
    pack("out")
    assert {name.removeprefix("/out/"): memory.cat_file(name) for name in memory.find("/out")} == files()


def test_names_that_urls_cannot_have_are_not_taken_for_others(memory: Any) -> None:
    """`b.png::a.png` in a URL would be b.png in another file system, and so would be such a name of a shard."""
    put()
    memory.pipe_file("/in/b.png", Path("set/b.png").read_bytes())
    memory.pipe_file("/in/b.png::a.png", Path("set/a.png").read_bytes())
    packing = ShardedPacking(["memory://in"], "memory://out", Options(effort=1), Loading(), SHARD)
    manifest = packing.write(InProcess(), lambda _: None)
    assert manifest.image_count == 1
    assert [str(one) for one in manifest.unread] == [
        "memory://in: 'b.png::a.png' cannot be read: no URL has :: in a name"
    ]
    elsewhere = Manifest("bb::", [replace(manifest.shards[0], file="bb::-00000.bbc")], [], manifest.models, {})
    memory.pipe_file("/out/manifest.jsonl", elsewhere.encode())
    with pytest.raises(FormatError, match=r"the shard bb::-00000\.bbc cannot be read: no URL has ::"):
        _ = bbcompress.open("memory://out")["b.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for() -> None:
    put()
    pack()
    Path("out/out-00000.bbc").unlink()
    os.mkfifo("out/out-00000.bbc")
    with (
        bbcompress.open("out") as archive,
        pytest.raises(FormatError, match=r"out-00000\.bbc cannot be read: it is no"),
    ):
        _ = archive["0.png"]
    Path("out", MANIFEST).unlink()
    os.mkfifo(f"out/{MANIFEST}")
    with pytest.raises(BBCError, match="holds no manifest"):
        bbcompress.open("out")
