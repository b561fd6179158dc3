"""Several files in one command, and sources that are deleted: what may go wrong, and what must stay."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_for_tests import errors, run
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from PIL import Image

from bbcompress.images.read import read_image
from bbcompress.pipeline import compressor, extraction
from bbcompress.pipeline.removal import Removal

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")
DIGITS = Path(__file__).resolve().parents[1] / "data" / "digits" / "binary"

links = pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")


def put(*names: str) -> None:
    """Digits, each another one."""
    for number, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DIGITS / f"{number:04}.png", name)


def there() -> set[str]:
    return {path.as_posix() for path in Path().rglob("*") if not path.is_dir()}


def test_each_input_becomes_a_file() -> None:
    put("a.png", "sub/b.png", "set/c.png", "set/d.png")
    before = there()
    result = run("compress", "a.png", "sub/b.png", "set")
    assert there() - before == {"a.bbc", "sub/b.bbc", "set.bbc"}
    lines = result.stdout.splitlines()
    assert [line.partition("  ")[0] for line in lines] == ["a.png -> a.bbc", "sub/b.png -> sub/b.bbc", "set -> set.bbc",
                                                           "3 files"]  # fmt: skip
    run("decompress", "a.bbc", "sub/b.bbc", "set.bbc", "--output-dir", "new/back")
    for one, other in (("a", "a"), ("sub/b", "b"), ("set/c", "set/c"), ("set/d", "set/d")):
        assert read_image(f"{one}.png") == read_image(f"new/back/{other}.png")


def test_an_archive_where_one_is_asked_for() -> None:
    put("a.png", "b.png", "folder.v2/c.png")
    run("compress", "a.png", "b.png", "-o", "set.bbc")
    assert [entry["name"] for entry in json.loads(run("list", "set.bbc", "--json").stdout)] == ["a.png", "b.png"]
    piped = run("compress", "a.png", "b.png", "-c")
    assert piped.stdout_bytes == Path("set.bbc").read_bytes()
    run("compress", "folder.v2", "--output-dir", "out")
    assert Path("out/folder.v2.bbc").exists()
    os.chdir("folder.v2")
    assert "has no name to call the archive by" in errors(run("compress", ".", status=1))[0]
    run("compress", ".", "--output-dir", "../out", "-f")


def test_an_existing_folder_is_one_to_write_into() -> None:
    put("a.png")
    Path("out").mkdir()
    run("compress", "a.png", "-o", "out")
    run("decompress", "out/a.bbc", "-o", "out")
    assert there() == {"a.png", "out/a.bbc", "out/a.png"}
    assert run("compress", "a.png", "-c", "-q").stdout_bytes == Path("out/a.bbc").read_bytes()
    shown = run("decompress", "out/a.bbc", "-c", "-q").stdout_bytes
    assert read_image(shown) == read_image("a.png")


def test_a_file_in_the_place_of_a_folder_is_named() -> None:
    put("a.png", "set/b.png")
    run("compress", "a.png", "set")
    before = there()
    for option, words in (("--output-dir", "made"), ("-o", "written")):
        result = run("decompress", "set.bbc", option, "new/../a.png/x/y", status=1)
        assert errors(result) == [f"bbc: error: new/../a.png/x/y: cannot be {words}: new/../a.png is not a folder"]
        assert there() == before and not Path("new").exists()


def test_one_bad_file_does_not_stop_the_others() -> None:
    put("a.png", "c.png")
    Path("b.png").write_bytes(b"no image")
    long = f"{'long' * 100}.png"
    result = run("compress", "a.png", "b.png", "no.png", long, "c.png", "--rm", status=1)
    assert [line.partition(": ")[2].partition(":")[0] for line in errors(result)] == ["error"] * 3
    assert "b.png: is not an image" in errors(result)[0] and "no.png" in errors(result)[1]
    assert long in errors(result)[2]
    assert there() == {"a.bbc", "b.png", "c.bbc"}
    Path("b.bbc").write_bytes(b"no file of bbc")
    for command in ("test", "info", "list"):
        result = run(command, "a.bbc", "b.bbc", "c.bbc", status=1)
        assert "a.bbc" in result.stdout and "c.bbc" in result.stdout
        (line,) = errors(result)
        assert line.startswith("bbc: error: b.bbc: ")
    for command in ("info", "list"):
        result = run(command, "a.bbc", "b.bbc", "c.bbc", "--json", status=1)
        assert [entry["file"] for entry in json.loads(result.stdout)] == ["a.bbc", "c.bbc"]
        assert json.loads(run(command, "b.bbc", "none.bbc", "--json", status=1).stdout) == []
        assert run(command, "b.bbc", "--json", status=1).stdout == ""
    result = run("decompress", "a.bbc", "b.bbc", "b.png", "c.bbc", status=1)
    assert "b.png does not end with .bbc" in errors(result)[0] and "b.bbc: " in errors(result)[1]
    assert read_image("c.png") == read_image(DIGITS / "0001.png")


def test_an_output_that_stands_where_inputs_do() -> None:
    """As of cjxl and cp."""
    put("a.png")
    result = run("compress", "a.png", "out.bbc", status=1)
    assert errors(result) == ["bbc: error: out.bbc: no such file; -o names an output"]
    assert there() == {"a.png", "a.bbc"}


def test_all_are_bad() -> None:
    """A folder that was made for them is gone."""
    Path("a.png").write_bytes(b"no image")
    for name in ("b.png", "a.png"):
        run("compress", name, "a.png", "--output-dir", "new/out", status=1)
        assert there() == {"a.png"} and not Path("new").exists()


def test_deleted_once_it_is_written() -> None:
    put("a.png", "b.png", "set/c.png", "set/d.png")
    run("compress", "a.png", "b.png", "-k")
    run("compress", "a.png", "b.png", "set", "-f", "--rm")
    assert there() == {"a.bbc", "b.bbc", "set.bbc"} and Path("set").is_dir()
    run("decompress", "a.bbc", "b.bbc", "set.bbc", "--rm")
    assert there() == {"a.png", "b.png", "set/c.png", "set/d.png"}
    assert read_image("set/d.png") == read_image(DIGITS / "0003.png")
    run("compress", "set", "a.png", "-o", "all.bbc", "--rm")
    assert there() == {"all.bbc", "b.png"}


def test_nothing_is_deleted_that_did_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    put("a.png", "set/b.png")
    monkeypatch.setattr(compressor, "decode_images", lambda *_: [])
    for source in ("a.png", "set"):
        assert "the pixels did not come back" in errors(run("compress", source, "--rm", status=1))[0]
    assert {"a.png", "set/b.png"} == there()


def test_what_is_on_the_disk_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be other than what was verified in memory."""
    put("a.png")
    monkeypatch.setattr("bbcompress.pipeline.packing.write_file", lambda path, data, *_: path.write_bytes(data[:-1]))
    (line,) = errors(run("compress", "a.png", "--rm", status=1))
    assert "a.bbc: is not on the disk as it was written" in line
    assert "a.png" in there()


def test_images_are_read_back_before_their_file_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    put("a.png", "set/b.png")
    run("compress", "a.png", "set", "--rm")
    other = read_image(DIGITS / "0007.png")
    monkeypatch.setattr(extraction, "write_image", lambda image, form: ((DIGITS / "0007.png").read_bytes(), ".png"))
    assert other != read_image(DIGITS / "0000.png")
    result = run("decompress", "a.bbc", "set.bbc", "--rm", status=1)
    assert sum("did not come back from its .png file" in line for line in errors(result)) == 2
    assert there() == {"a.bbc", "set.bbc"}


def test_two_of_one_name() -> None:
    """Where the second would replace the first, nothing is done."""
    put("a.png", "x/a.png", "y/b.png")
    Image.new("L", (8, 8), 3).save("a.bmp")
    before = there()
    for options in (["a.png", "a.bmp"], ["a.png", "x/a.png", "--output-dir", "out"]):
        (line,) = errors(run("compress", *options, "--rm", "-f", status=1))
        assert "would both become" in line and there() == before
    run("compress", "a.png", "x/a.png", "--rm")
    (line,) = errors(run("decompress", "a.bbc", "x/a.bbc", "--output-dir", "out", "--rm", "-f", status=1))
    assert "would both become" in line
    assert {"a.bbc", "x/a.bbc"} < there() and not Path("out").exists()


@links
def test_two_of_one_place_through_links() -> None:
    put("x/a.png", "z/a.png")
    Path("y").symlink_to("z")
    Path("out").mkdir()
    Path("same").symlink_to("out")
    (line,) = errors(run("compress", "x/a.png", "y/a.png", "--output-dir", "same", "--rm", "-f", status=1))
    assert "would both become" in line
    result = run("compress", "z/a.png", "y/a.png", "--rm")
    assert errors(result) == ["bbc: note: 1 input given again and taken once: y/a.png"]
    assert there() == {"x/a.png", "z/a.bbc"}
    put("A/a.png", "B/a.png")
    run("compress", "A", "B", "--rm")
    Path("A").rmdir()
    Path("A").symlink_to("B")
    (line,) = errors(run("decompress", "A.bbc", "B.bbc", "--rm", "-f", status=1))
    assert "would both become" in line and {"A.bbc", "B.bbc"} < there()


@links
def test_links_are_not_deleted_nor_what_they_lead_to() -> None:
    put("a.png", "set/b.png")
    Path("link.png").symlink_to("a.png")
    Path("set/link.png").symlink_to("b.png")
    result = run("compress", "link.png", "set", "--rm", status=1)
    assert errors(result) == [f"bbc: not deleted: {name}: is a symbolic link" for name in ("link.png", "set/link.png")]
    assert there() == {"a.png", "link.png", "link.bbc", "set.bbc", "set/link.png"}
    Path("file.bbc").symlink_to("link.bbc")
    assert errors(run("decompress", "file.bbc", "--rm", status=1)) == ["bbc: not deleted: file.bbc: is a symbolic link"]
    assert {"file.bbc", "file.png", "link.bbc"} < there()


def test_an_output_is_no_input() -> None:
    put("a.png", "a.bbc")
    result = run("compress", "a.png", "a.bbc", "-f", status=1)
    assert "a.bbc is the image, and the output" in errors(result)[0]
    assert "a.bbc is one of the inputs, and an output" in errors(result)[1]
    assert Path("a.bbc").read_bytes() == (DIGITS / "0001.png").read_bytes()


def test_a_file_that_changes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    put("a.png")
    monkeypatch.setattr(compressor, "_note_of_k", lambda *_: put("b/x.png", "a.png"))
    assert errors(run("compress", "a.png", "--rm", status=1)) == [
        "bbc: not deleted: a.png: was changed after it was read"
    ]
    assert Path("a.png").read_bytes() == (DIGITS / "0001.png").read_bytes()


def test_files_of_which_more_would_be_lost() -> None:
    photo = np.random.default_rng(0).integers(0, 9, (16, 16, 3)).astype(np.uint8)
    Path("in").mkdir()
    Image.fromarray(photo).save("in/a.jpg")
    Image.fromarray(photo).save("in/b.png")
    Path("in/notes.txt").write_text("mine")
    result = run("compress", "./in", "--rm", status=1)
    assert errors(result)[-1] == "bbc: not deleted: in/a.jpg: is a JPEG, of which only the pixels are kept"
    assert there() == {"in.bbc", "in/a.jpg", "in/notes.txt"}
    result = run("compress", "./in/a.jpg", "--rm", status=1)
    assert {"in/a.jpg", "in/a.bbc"} < there()


def test_a_file_with_something_behind_it_is_not_deleted() -> None:
    put("set/a.png")
    run("compress", "set", "--rm")
    with open("set.bbc", "ab") as file:
        file.write(bytes(5))
    result = run("decompress", "set.bbc", "--rm", status=1)
    assert errors(result)[-1] == "bbc: not deleted: set.bbc: has 5 bytes behind its images"
    assert there() == {"set.bbc", "set/a.png"}


def test_what_was_never_looked_at_stays() -> None:
    put("a.png")
    assert Removal().remove([Path("a.png")], {}) == ["a.png: was changed after it was read"]
    assert Path("a.png").exists()


def test_verbose_says_what_was_tried() -> None:
    put("a.png", "b.png")
    Image.new("RGBA", (5, 5), (1, 2, 3, 4)).save("c.png")
    lines = errors(run("compress", "a.png", "c.png", "-v"))
    assert lines[0].startswith("bbc: tried: a.png: 1 image: tiny-binary ") and lines[0].endswith(
        "; tiny-binary is taken"
    )
    assert "fallback" in lines[0] and " bytes" in lines[0]
    assert lines[1].startswith("bbc: tried: c.png: 1 image: no model fits; fallback ")
    run("compress", "a.png", "-o", "set.bbc")
    assert errors(run("compress", "b.png", "-q", "-v")) == errors(run("compress", "a.png", "-f")) == []


def test_info_says_how_much_smaller() -> None:
    """Than the pixels: a bit each of two levels, eight and sixteen of others."""
    put("set/a.png")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)).save("set/b.png", dpi=(300, 300))
    Image.fromarray(rng.integers(0, 65536, (3, 4)).astype(np.uint16)).save("set/c.png")
    run("compress", "set")
    size = Path("set.bbc").stat().st_size
    totals = json.loads(run("info", "set.bbc", "--json").stdout)["totals"]
    first = read_image("set/a.png")
    bits = first.samples * (1 if first.mode == "1" else 8) + 5 * 7 * 3 * 8 + 12 * 16
    assert totals["raw_bytes"] == (bits + 7) // 8 and totals["ratio"] == pytest.approx(bits / 8 / size)
    assert totals["bits_per_dimension"] == pytest.approx(8 * size / (784 + 105 + 12))
    (name,) = totals["metadata"]
    assert totals["metadata"][name] == 1
    text = run("info", "set.bbc").stdout
    assert f"{totals['ratio']:.2f}x, " in text and f"  metadata: {name} of 1 image\n" in text
