"""The commands on sharded archives: what is printed, and what is said of damage and of wrong use."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from cli_for_tests import errors, run
from click.testing import CliRunner, Result
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401

from bbcompress.archive.manifest import MANIFEST, Manifest
from bbcompress.cli import main
from bbcompress.errors import BBCError
from bbcompress.images.read import read_image
from bbcompress.pipeline.sharding.shard import make_shard

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")
DIGITS = Path(__file__).resolve().parents[1] / "data" / "digits" / "binary"


def put(*names: str) -> None:
    for number, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DIGITS / f"{number:04}.png", name)


def sharded(*options: str, status: int = 0) -> Result:
    """Four digits, two to a shard."""
    put("set/a.png", "set/b.png", "set/c.png", "set/d.png")
    return run("compress", "set", "-o", "out.bbc", "--shard-size", "1600", "-1", *options, status=status)


def test_pictures_of_its_images() -> None:
    sharded()
    assert run("explain", "out.bbc", "--only", "c.png").stdout.startswith("c.png in out.bbc: 28x28 L, ")
    run("thumbnail", "out.bbc", "--only", "d*", "-o", "d.png")
    assert read_image("d.png").size == (28, 28)
    assert run("sheet", "out.bbc").stdout.startswith("out.bbc -> out.html  4 images")


def test_the_commands_take_it_for_one_archive() -> None:
    line = sharded().stdout
    assert line.startswith("set -> out.bbc  2 shards, 4 images  ")
    assert [row.split()[-1] for row in run("list", "out.bbc").stdout.splitlines()] == [
        "a.png",
        "b.png",
        "c.png",
        "d.png",
    ]
    assert run("list", f"out.bbc/{MANIFEST}").stdout == run("list", "out.bbc").stdout
    assert run("test", "out.bbc").stdout.splitlines()[-1] == "out.bbc: 4 images, all as they were"
    found = json.loads(run("info", "out.bbc", "--json").stdout)
    size = sum(path.stat().st_size for path in Path("out.bbc").iterdir())
    assert (found["images"], found["bytes"], sum(found["parts"].values())) == (4, size, size)
    assert [(shard["file"], shard["images"]) for shard in found["shards"]] == [
        ("out-00000.bbc", 2), ("out-00001.bbc", 2)]  # fmt: skip
    assert found["settings"]["shard_pixels"] == 1600
    assert "  shard out-00001.bbc: 2 images" in run("info", "out.bbc").stdout
    run("decompress", "out.bbc")
    assert all(read_image(f"out/{name}.png") == read_image(f"set/{name}.png") for name in "abcd")
    run("decompress", "out.bbc", "-o", "some", "--only", "c.png")
    assert [path.name for path in Path("some").iterdir()] == ["c.png"]


def test_json_is_a_line_for_each_shard() -> None:
    put("set/x.png")
    Path("set/x.png").write_bytes(b"junk")
    lines = [json.loads(line) for line in sharded("--json", status=1).stdout.splitlines()]
    assert [(line["shard"], line["status"], line["images"], line["unread"]) for line in lines[:-1]] == [
        ("out-00000.bbc", "done", 2, 0), ("out-00001.bbc", "done", 2, 1)]  # fmt: skip
    assert all(line["seconds"] > 0 and line["bytes"] > 0 and line["error"] is None for line in lines[:-1])
    last = lines[-1]
    assert (last["ok"], last["shards"], last["images"]) == (True, 2, 4)
    assert last["skipped"] == ["x.png: is not an image of a known format"]
    assert last["bytes_after"] == sum(path.stat().st_size for path in Path("out.bbc").iterdir())
    again = json.loads(run("compress", "set", "-o", "out.bbc", "--shard-size", "9", "--json", status=1).stdout)
    assert (again["ok"], again["error"]) == (False, "out.bbc holds a sharded archive; --force replaces it")


def test_strict_ends_the_run_in_one_line() -> None:
    put("set/x.png")
    Path("set/x.png").write_bytes(b"junk")
    assert errors(sharded("--strict", status=1))[-1].startswith(
        "bbc: error: out-00001.bbc: set/x.png: is not an image of a known format; out.bbc has 1 shard so far"
    )


def test_damage_is_named_and_the_rest_comes_out() -> None:
    sharded()
    Path("out.bbc/out-00000.bbc").unlink()
    missing = "the shard out-00000.bbc cannot be read: No such file or directory"
    assert errors(run("list", "out.bbc", status=1)) == [f"bbc: error: out.bbc: {missing}"]
    assert errors(run("decompress", "out.bbc", status=1)) == [f"bbc: error: out.bbc: {missing}"]
    assert not Path("out").exists()
    lines = errors(run("test", "out.bbc", status=1))
    assert lines[0].startswith(f"bbc: {missing}; ")
    assert lines[-1] == "bbc: error: out.bbc: damaged: a shard, and 1 of 2 groups that were found"
    run("decompress", "out.bbc", "--keep-going", status=1)
    assert sorted(path.name for path in Path("out").iterdir()) == ["c.png", "d.png"]


def test_a_whole_shard_of_another_archive_is_found_by_its_names_or_its_checksum() -> None:
    """Another one of the same size, images and groups, too: no other images are taken for those of the manifest."""
    sharded()
    Path("out.bbc/out-00001.bbc").rename("its.bbc")
    shutil.copy("out.bbc/out-00000.bbc", "out.bbc/out-00001.bbc")
    size = Path("its.bbc").stat().st_size
    with Path("out.bbc/out-00001.bbc").open("ab") as file:
        file.write(bytes(max(0, size - file.tell())))  # which is allowed behind an archive
    manifest = Manifest.decode(Path("out.bbc", MANIFEST).read_bytes())
    swapped = replace(manifest.shards[1], bytes=Path("out.bbc/out-00001.bbc").stat().st_size)
    Path("out.bbc", MANIFEST).write_bytes(replace(manifest, shards=[manifest.shards[0], swapped]).encode())
    line = "out-00001.bbc: it has other names than the manifest says"
    for command in ("list", "decompress", "info"):
        assert errors(run(command, "out.bbc", status=1)) == [f"bbc: error: out.bbc: {line}"]
    run("decompress", "out.bbc", "--keep-going", "-o", "left", status=1)
    assert sorted(path.name for path in Path("left").iterdir()) == ["a.png", "b.png"]

    put("other/c.png", "other/d.png")  # other pixels of the same names
    run("compress", "other", "-o", "out.bbc/out-00001.bbc", "-1", "-f")
    swapped = replace(swapped, bytes=Path("out.bbc/out-00001.bbc").stat().st_size)
    Path("out.bbc", MANIFEST).write_bytes(replace(manifest, shards=[manifest.shards[0], swapped]).encode())
    assert (
        "all images are as they were, but out-00001.bbc is not the file that the manifest names"
        in errors(run("test", "out.bbc", status=1))[-1]
    )


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (("compress", "set", "--shard-size", "9"), 2, "say with -o which one to write"),
        (("compress", "-", "-o", "out", "--shard-size", "9"), 2, "a folder made of files"),
        (("compress", "set", "-o", "-", "--resume"), 2, "a folder made of files"),
        (("compress", "set", "-o", "out", "--shard-size", "0"), 2, "--shard-size"),
        (("compress", "set", "-o", "out", "--shard-size", "9", "--rm"), 2, "--rm deletes nothing where a"),
        (("compress", "no", "-o", "out", "--shard-size", "9"), 1, "no: no such file"),
        (("list", "set"), 1, "set: is a folder, and holds no manifest.jsonl"),
        (("decompress", "out.bbc", "--rm"), 1, "--rm deletes a file, and a sharded archive is several"),
        (("compress", "out.bbc"), 1, "there is no image in this folder"),
        (("add", "out.bbc", "set/a.png"), 1, "out.bbc: nothing can be added to a sharded archive"),
        (("add", f"out.bbc/{MANIFEST}", "set/a.png"), 1, "nothing can be added to a sharded archive"),
        (("explain", "out.bbc"), 1, "it holds 4 images: name one by --only NAME"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line(arguments: tuple[str, ...], status: int, reason: str) -> None:
    sharded("-q")
    before = sorted(Path().rglob("*"))
    (line,) = errors(run(*arguments, status=status))
    assert line.startswith("bbc: error: ") and reason in line
    assert sorted(Path().rglob("*")) == before


def test_a_manifest_on_stdin_is_refused() -> None:
    sharded("-q")
    result = CliRunner().invoke(main, ["list", "-"], input=Path("out.bbc", MANIFEST).read_bytes(), prog_name="bbc")
    assert errors(result) == ["bbc: error: -: the file is a manifest of shards: give its path, or that of its folder"]


def test_an_interruption_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    make = make_shard
    calls = []

    def interrupted(task: object, progress: object = None) -> object:
        calls.append(task)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return make(task, progress)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("bbcompress.pipeline.sharding.run.make_shard", interrupted)
        result = sharded(status=130)
    assert errors(result) == ["bbc: out.bbc has 1 shard so far; --resume goes on from there", "bbc: interrupted"]
    lines = [
        json.loads(line)
        for line in run("compress", "set", "-o", "out.bbc", "--resume", "-1", "--json").stdout.splitlines()
    ]
    assert [line.get("status") for line in lines] == ["resumed", "done", None]
    run("test", "out.bbc", "-q")


def test_a_full_disk_leaves_no_half_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise BBCError("out.bbc/out-00000.bbc: cannot be written: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("bbcompress.system.output._publish_file", full)
        lines = errors(sharded(status=1))
    assert "No space left on device" in lines[-1]
    assert not Path("out.bbc").exists()
