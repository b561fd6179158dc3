"""The command line: what each command does and prints, and one line for everything that can go wrong."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fixtures_for_tests import decode_by, empty_folder, tiny_models  # noqa: F401
from PIL import Image, PngImagePlugin

import bbcompress
from bbcompress import __version__, api
from bbcompress.archive import container
from bbcompress.archive.container import ArchiveWriter
from bbcompress.archive.group import Group, join_items
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.lone import build_lone
from bbcompress.archive.names import name_fault
from bbcompress.cli import main, progress
from bbcompress.codecs.fallback.codecs import CODECS, PNG
from bbcompress.codecs.fallback.items import encode_item, item_codec
from bbcompress.codecs.groups import decode_images
from bbcompress.errors import BBCError, ImageError
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.read import read_image, read_pictures
from bbcompress.limits import Limits
from bbcompress.pipeline import compressor, loader
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options
from bbcompress.pipeline.reader import Reader
from bbcompress.system.threads import threads

DATA = Path(__file__).resolve().parents[1] / "data"
MODELS = DATA / "models"
BINARY_ID = "641adb16"
NOTICE = "bbc: compiling kernels"
"""The first run on a machine says so; no part of what is tested here."""

LINE = re.compile(
    r"(?P<source>.+) -> (?P<target>.+)  (?P<before>\d+) -> (?P<after>\d+) bytes  (?P<ratio>\d+\.\d\d)x  "
    r"(?P<rate>\d+\.\d{4}) bits/dim  \((?P<coders>.+)\)\n"
)


def permissions_matter() -> bool:
    """Whether they stop this user; they do not stop root."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o500)
        try:
            (Path(folder) / "file").touch()
        except OSError:
            return True
    return False


needs_permissions = pytest.mark.skipif(not permissions_matter(), reason="permissions do not stop this user")


pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")


def run(*arguments: str, data: bytes | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=data, prog_name="bbc")


README_NOTE = "bbc: note: 1 file left out, no image or not named as one: set/readme.txt\n"
"""Of a folder as `put_folder` makes it."""


def errors(result: Result) -> str:
    """What was printed on stderr, but for the notice and the note of what every folder here has."""
    lines = result.stderr.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(NOTICE) and line != README_NOTE)


def succeed(*arguments: str, data: bytes | None = None) -> str:
    """Run a command that works and has nothing to complain of; gives what it printed."""
    result = run(*arguments, data=data)
    assert (result.exit_code, errors(result)) == (0, ""), result.exception
    return result.stdout


def fail(*arguments: str, data: bytes | None = None) -> str:
    """Run a command that cannot work: status 1, nothing on stdout, one line, nothing left behind; gives the line."""
    before = listing()
    result = run(*arguments, data=data)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)  # no traceback
    assert result.stdout_bytes == b""
    line = errors(result)
    assert re.fullmatch(r"bbc: error: .+\n", line), line
    assert listing() == before
    return line


def misuse(*arguments: str) -> str:
    """Run a command that is used wrongly: status 2, one line that says where to read on, nothing left behind."""
    before = listing()
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout_bytes == b""
    assert re.fullmatch(r"bbc: error: [^\n]+ \(try 'bbc [a-z ]*--help'\)\n", result.stderr), result.stderr
    assert listing() == before
    return result.stderr


def listing(folder: str | Path = ".") -> dict[str, bytes | None]:
    """Everything in a folder and below, temporary files too: contents of files, None for all else."""

    def content(path: Path) -> bytes | None:
        readable = os.access(path, os.R_OK) and path.is_file() and not path.is_symlink()
        return path.read_bytes() if readable else None

    paths = sorted(Path(folder).rglob("*"))
    return {path.relative_to(folder).as_posix(): content(path) for path in paths}


def digit(kind: str = "binary", number: int = 0) -> Path:
    return DATA / "digits" / kind / f"{number:04}.png"


def put_digit(name: str = "digit.png", kind: str = "binary", number: int = 0) -> bytes:
    """A sample digit in the working directory; gives the file."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(digit(kind, number), name)
    return Path(name).read_bytes()


def put_folder() -> list[str]:
    """A folder of digits, a photo and what is no image; gives the names of its images."""
    names = ["1.png", "10.png", "2.png", "grey/a.png", "photo.png", "é.png"]
    for number, name in enumerate(names):
        if name != "photo.png":
            put_digit(f"set/{name}", *(("grey", 0) if "/" in name else ("binary", number)))
    photo = np.random.default_rng(0).integers(0, 9, (5, 6, 3)).astype(np.uint8)
    Image.fromarray(photo).save("set/photo.png")
    Path("set/readme.txt").write_text("no image")
    return names


def same_images(folder: str, other: str, names: list[str]) -> bool:
    return all(read_image(Path(folder) / name) == read_image(Path(other) / name) for name in names)


def description(file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(succeed("info", file, "--json"))
    return found


def lone_file(name: str = "digit.bbc", number: int = 0) -> bytes:
    """The compressed file of a digit, alone in the working directory."""
    Path(name).write_bytes(api.compress(read_image(digit(number=number))))
    return Path(name).read_bytes()


def archive_file(name: str = "set.bbc", *names: str, count: int = 3) -> bytes:
    """An archive of digits, with these names."""
    labels = list(names) or [f"{number}.png" for number in range(count)]
    file = io.BytesIO()
    images = [(label, read_image(digit(number=number))) for number, label in enumerate(labels)]
    Compressor().archive(images, file)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(file.getvalue())
    return file.getvalue()


# The commands


def test_commands() -> None:
    images = {"compress", "decompress", "add", "list", "info", "test"}
    assert set(main.commands) > images | {"models", "train", "evaluate", "bench", "completion", "doctor", "help"}
    assert succeed("--version") == f"bbc, version {__version__}\n"
    for command in ["", *main.commands]:
        for option in ("-h", "--help"):
            assert "Usage: bbc" in succeed(*command.split(), option)


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["compress"], ["decompress"], ["info"], ["test"], ["models", "a"], ["compress", "-x"]],
)
def test_wrong_use(arguments: list[str]) -> None:
    misuse(*arguments)


# compress


def test_compress_an_image() -> None:
    original = put_digit()
    line = succeed("compress", "digit.png")
    files = listing()
    assert set(files) == {"digit.bbc", "digit.png"}
    assert files["digit.png"] == original
    coded = files["digit.bbc"]
    assert coded is not None
    found = LINE.fullmatch(line)
    assert found, line
    assert found.groupdict() == {
        "source": "digit.png",
        "target": "digit.bbc",
        "before": str(len(original)),
        "after": str(len(coded)),
        "ratio": f"{len(original) / len(coded):.2f}",
        "rate": f"{8 * len(coded) / 784:.4f}",
        "coders": "tiny-binary",
    }


@pytest.mark.parametrize(
    ("name", "target"), [("a.b.png", "a.b.bbc"), ("noext", "noext.bbc"), ("sub/é ü.png", "sub/é ü.bbc")]
)
def test_the_file_stands_beside_the_image(name: str, target: str) -> None:
    put_digit(name)
    succeed("compress", name)
    assert set(listing()) - {"sub"} == {name, target}


def test_compress_to_another_name() -> None:
    put_digit()
    Path("out").mkdir()
    succeed("compress", "digit.png", "-o", "out/other.name")
    succeed("compress", "digit.png", "--output", "second")
    files = listing()
    assert set(files) == {"digit.png", "out", "out/other.name", "second"}
    assert files["second"] == files["out/other.name"]


def test_compress_a_folder() -> None:
    names = put_folder()
    line = succeed("compress", "set", "-o", "set.bbc")
    found = LINE.fullmatch(line)
    assert found, line
    size = sum((Path("set") / name).stat().st_size for name in names)
    subpixels = 5 * 784 + 90
    after = Path("set.bbc").stat().st_size
    assert (found["source"], found["before"], found["after"]) == ("set", str(size), str(after))
    assert found["rate"] == f"{8 * after / subpixels:.4f}"
    codec = item_codec(encode_item(read_image("set/photo.png")))
    assert found["coders"] == f"1 by fallback {codec}, 4 by tiny-binary, 1 by tiny-grey"
    assert description("set.bbc")["names"] == names
    succeed("decompress", "set.bbc", "-o", "back")
    assert same_images("set", "back", names)
    assert len(listing("back")) == len(names) + 1  # and the folder `grey`


def test_compress_several_inputs() -> None:
    put_folder()
    put_digit("x/b.png", number=3)
    put_digit("c.png", "grey")
    line = succeed("compress", "x/b.png", "set/grey", "c.png", "-o", "all.bbc", "-K", "1")
    assert line.startswith("3 inputs -> all.bbc")
    assert description("all.bbc")["names"] == ["b.png", "grey/a.png", "c.png"]
    succeed("decompress", "all.bbc")
    for name, source in (("b.png", "x/b.png"), ("grey/a.png", "set/grey/a.png"), ("c.png", "c.png")):
        assert read_image(f"all/{name}") == read_image(source)


def test_folders_of_the_same_names() -> None:
    """Each under its own name, as zip and 7z have them; one by itself without."""
    for folder, number in (("a1", 0), ("b1", 1), ("deep/a1", 2)):
        put_digit(f"{folder}/x.png", number=number)
    succeed("compress", "a1", "b1", "-o", "ab.bbc")
    assert description("ab.bbc")["names"] == ["a1/x.png", "b1/x.png"]
    assert errors(run("compress", "a1", "a1/", "-o", "a.bbc")) == "bbc: note: 1 folder given again and taken once: a1\n"
    assert description("a.bbc")["names"] == ["x.png"]
    here = Path().resolve().name
    succeed("compress", "a1", "deep/a1", "-o", "aa.bbc")
    assert description("aa.bbc")["names"] == [f"{here}/a1/x.png", "deep/a1/x.png"]
    succeed("decompress", "ab.bbc")
    assert read_image("ab/b1/x.png") == read_image(digit(number=1))


def test_what_cannot_be_read_in_a_folder_is_skipped() -> None:
    """The others go in; each is named, and the status says that not all are there."""
    names = put_folder()
    put_empty("set/empty.png")()
    Path("set/._1.png").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(60))
    Path("set/grey/cut.png").write_bytes(digit().read_bytes()[:-20])
    result = run("compress", "set", "-o", "set.bbc", "-q")
    skipped = [line.partition(": ")[2] for line in errors(result).splitlines()]
    assert (result.exit_code, result.stdout) == (1, "")
    assert skipped[0].startswith("skipped: set/._1.png: is an AppleDouble file")
    assert skipped[1] == "skipped: set/empty.png: is empty"
    assert skipped[2].startswith("skipped: set/grey/cut.png: ")
    assert description("set.bbc")["names"] == sorted(names)
    put_digit("new.png", "grey")
    result = run("add", "set.bbc", "new.png", "set/empty.png", "no.png", "--skip-unreadable")
    assert result.exit_code == 1
    assert result.stdout.startswith("3 inputs -> set.bbc") and result.stdout.endswith(")  2 files skipped\n")
    assert errors(result) == "bbc: skipped: no.png: no such file\nbbc: skipped: set/empty.png: is empty\n"
    assert description("set.bbc")["names"] == [*sorted(names), "new.png"]
    before = Path("set.bbc").read_bytes()
    line = fail("add", "set.bbc", "set/empty.png", "no.png", "--skip-unreadable")
    assert line == "bbc: error: no image can be read: no.png: no such file; set/empty.png: is empty\n"
    assert Path("set.bbc").read_bytes() == before
    (result,) = [run("compress", "set", "-o", "-", "-q")]
    assert (result.exit_code, errors(result).count("skipped: ")) == (1, 3)
    assert Reader(io.BytesIO(result.stdout_bytes)).image_count == len(names)


def test_an_animation_that_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first pictures are taken, and it is told that these are not all."""
    put_digit("set/a.png")
    pictures = [Image.new("RGB", (9, 9), (40 * n, 0, 9)) for n in range(3)]
    pictures[0].save("set/b.gif", save_all=True, append_images=pictures[1:])
    pictures_of = read_pictures

    def cut(data: bytes, label: str, most: int) -> tuple[int, Iterator[PixelImage]]:
        def images() -> Iterator[PixelImage]:
            yield from found
            if label.endswith("gif"):
                raise ImageError(f"{label}: is cut short")

        count, found = pictures_of(data, label, most)
        return count, images()

    monkeypatch.setattr(loader, "read_pictures", cut)
    result = run("compress", "set", "-o", "set.bbc", "--frames")
    assert result.exit_code == 1
    assert errors(result).endswith("bbc: skipped: set/b.gif: is cut short; its first 3 pictures are taken\n")
    assert description("set.bbc")["names"] == ["a.png", "b.gif/0000.png", "b.gif/0001.png", "b.gif/0002.png"]
    for options in (["--skip-unreadable"], []):
        assert "b.gif: is cut short" in fail("compress", "set/b.gif", "-o", "b.bbc", "--frames", *options)
        assert "b.gif: is cut short" in fail("compress", "set/b.gif", "-o", "b.bbc", *options)  # nor is it kept


def test_an_archive_does_not_lie_in_what_it_holds() -> None:
    put_digit("folder/a.png")
    put_digit("folder/below/b.png")
    Path("link").symlink_to("folder/below")
    for target in ("folder/set.bbc", "folder/below/set.bbc", "link/set.bbc"):
        result = run("compress", "folder", "-o", target)
        assert result.exit_code == 1 and "would lie in folder, which is being compressed" in errors(result)
    assert sorted(path.name for path in Path("folder").rglob("*") if path.is_file()) == ["a.png", "b.png"]


def test_a_folder_is_no_name_for_a_file() -> None:
    put_digit("a.png")
    result = run("compress", "a.png", "-o", "new/")
    assert result.exit_code == 1 and "new/ is a folder" in errors(result)
    assert not Path("new").exists()


def test_names_that_cannot_be_kept_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is a file and what is a folder, in an archive of names as other programs may have them."""
    put_digit("src/x.png/inner.png")
    put_digit("src/x.bmp", number=1)
    succeed("compress", "src", "-o", "a.bbc")
    succeed("decompress", "a.bbc", "-o", "as they were")
    assert set(listing("as they were")) == {"x.bmp", "x.png", "x.png/inner.png"}
    result = run("decompress", "a.bbc", "-o", "back", "--format", "png")
    assert errors(result) == "bbc: note: 1 image could not have the own name with the new suffix: x.bmp is x.bmp.png\n"
    assert result.stdout == "a.bbc -> back  2 images\n"
    assert set(listing("back")) == {"x.bmp.png", "x.png", "x.png/inner.png"}
    images = [(name, read_image(digit(number=number))) for number, name in enumerate(["x", "x/y", "x" * 300, "x/y/z"])]
    monkeypatch.setattr(container, "new_name_fault", name_fault)  # as older writers have it
    with open("b.bbc", "wb") as file:
        for image in images:  # each a segment of its own, joined by no writer of ours
            Compressor().archive([image], file)
    result = run("decompress", "b.bbc", "-o", "b", "--format", "bmp")
    assert result.exit_code == 0
    assert errors(result).endswith(f": {'x' * 300} is {'x' * 251}.bmp\n")
    assert set(listing("b")) == {"x.bmp", "x", "x/y.bmp", "x/y", "x/y/z.bmp", f"{'x' * 251}.bmp"}


def test_compress_pipes() -> None:
    original = put_digit()
    result = run("compress", "-", data=original)
    assert result.exit_code == 0
    coded = result.stdout_bytes
    assert LINE.fullmatch(errors(result))
    assert "- -> stdout" in errors(result)
    for arguments in (["digit.png", "-o", "-"], ["-", "-o", "-"]):
        result = run("compress", *arguments, "-q", data=original)
        assert (result.exit_code, result.stdout_bytes, errors(result)) == (0, coded, "")
    succeed("compress", "-", "-o", "out.bbc", data=original)
    assert listing() == {"digit.png": original, "out.bbc": coded}
    result = run("decompress", "-", "-q", data=coded)
    assert (result.exit_code, errors(result)) == (0, "")
    assert read_image(result.stdout_bytes) == read_image("digit.png")
    assert "1 image" in succeed("test", "-", data=coded)
    assert json.loads(succeed("info", "-", "--json", data=coded))["bytes"] == len(coded)


def test_an_archive_to_stdout_and_from_stdin() -> None:
    put_folder()
    result = run("compress", "set", "-o", "-")
    assert result.exit_code == 0
    succeed("compress", "set", "-o", "set.bbc")
    assert Path("set.bbc").read_bytes() == result.stdout_bytes
    succeed("decompress", "-", "-o", "back", data=result.stdout_bytes)
    assert Path("back/grey/a.png").exists()


def test_quiet() -> None:
    put_digit()
    assert succeed("compress", "-q", "digit.png") == ""
    assert succeed("decompress", "--quiet", "digit.bbc", "-o", "back.png") == ""
    assert succeed("test", "-q", "digit.bbc") == ""
    assert "exists" in fail("compress", "-q", "digit.png")


def test_compress_the_same_twice() -> None:
    put_folder()
    succeed("compress", "set", "-o", "a.bbc", "-K", "2")
    succeed("compress", "set", "-o", "b.bbc", "-K", "2")
    assert Path("a.bbc").read_bytes() == Path("b.bbc").read_bytes()


def test_nothing_is_overwritten_without_force() -> None:
    original = put_digit()
    Path("digit.bbc").write_bytes(b"precious")
    assert "digit.bbc exists" in fail("compress", "digit.png")
    assert "digit.png is the image, and the output" in fail("compress", "digit.png", "-o", "digit.png")
    assert "digit.bbc exists" in fail("compress", "digit.png", "-o", ".")
    assert "noise.jxl: bbc compress writes files of bbc" in fail("compress", "digit.png", "-o", "noise.jxl")
    succeed("compress", "digit.png", "--force")
    succeed("compress", "digit.png", "-f")
    assert listing()["digit.bbc"] != b"precious"
    assert "digit.png exists" in fail("decompress", "digit.bbc")
    Path("digit.png").write_bytes(b"precious")
    succeed("decompress", "digit.bbc", "--force")
    assert read_image("digit.png") == read_image(original)


def test_the_output_is_looked_at_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    put_folder()
    Path("set.bbc").touch()
    monkeypatch.setattr("bbcompress.pipeline.compressor.Compressor", None)
    fail("compress", "set", "-o", "set.bbc")


def test_choices_of_coding() -> None:
    for number in range(12):
        put_digit(f"set/{number}.png", number=number)
    choices = (["-K", "2"], ["--steps", "2", "--encoder", "baseline"], ["-K", "2", "--lr", "0.25"], ["-K", "0"])
    for number, choice in enumerate(choices):
        succeed("compress", "set", "-o", f"{number}.bbc", "--no-verify", *choice)
    groups = [description(f"{number}.bbc")["groups"][0] for number in range(4)]
    assert [(group["K"], group["encoder"]) for group in groups] == [(2, "rha"), (2, "baseline"), (2, "rha"), (0, "rha")]
    assert len({Path(f"{number}.bbc").read_bytes() for number in range(4)}) == 4
    for number in range(4):
        succeed("decompress", f"{number}.bbc", "-q")
        assert same_images("set", str(number), [f"{number}.png" for number in range(12)])


@pytest.mark.parametrize("how", ["folder", "directory", "name"])
def test_a_chosen_model(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = put_digit()
    if how != "name":
        monkeypatch.delenv("BBC_MODELS")
    model = {"folder": str(MODELS / "tiny-grey"), "directory": str(MODELS), "name": "tiny-grey"}[how]
    expected = "tiny-binary" if how == "directory" else "tiny-grey"
    photo = np.random.default_rng(0).integers(0, 65536, (5, 6)).astype(np.uint16)
    Image.fromarray(photo).save("photo.png")
    unfit = run("compress", "photo.png", "-m", model)
    what = f"none of the models in {model} fits" if how == "directory" else "the model tiny-grey does not fit"
    assert errors(unfit) == f"bbc: note: {what} the image, of another kind or size\n"
    assert unfit.stdout.endswith("(fallback raw)\n")
    assert f"({expected})" in succeed("compress", "digit.png", "-m", model)
    assert expected in succeed("info", "digit.bbc", "--model", model)
    assert "1 image, as it was" in succeed("test", "digit.bbc", "-m", model)
    succeed("decompress", "digit.bbc", "-o", "back.png", "-m", model)
    assert read_image("back.png") == read_image(original)


def test_what_no_model_fits_is_stored_and_the_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    put_folder()
    codec = item_codec(encode_item(read_image("set/photo.png")))
    assert f"(fallback {codec})" in succeed("compress", "set/photo.png")
    assert "fallback" in succeed("info", "set/photo.bbc")
    monkeypatch.setenv("BBC_MODELS", os.pathsep.join(["missing", "set"]))
    result = run("compress", "set/1.png")
    assert "(fallback " in result.stdout
    assert errors(result).splitlines() == [
        "bbc: BBC_MODELS names missing: there is no such folder",
        "bbc: BBC_MODELS names set: there is no model in it",
    ]


def test_binary() -> None:
    put_folder()
    succeed("compress", "--binary", "set/1.png")
    assert "--binary" in fail("compress", "--binary", "set/grey/a.png")
    assert "--binary" in fail("compress", "--binary", "set/photo.png")
    assert "grey/a.png" in fail("compress", "--binary", "set", "-o", "set.bbc")


def test_other_kinds_of_image_files() -> None:
    pixels = read_image(digit()).pixels
    kinds = {
        "bilevel.png": Image.fromarray(pixels > 127),
        "levels.bmp": Image.fromarray(np.where(pixels > 127, 90, 7).astype(np.uint8)),
        "grey.pgm": Image.open(digit("grey")),
        "palette.gif": Image.fromarray(pixels).convert("P"),
        "deep.png": Image.fromarray(pixels.astype(np.uint16) * 257),
        "colour.webp": Image.fromarray(np.stack([pixels, pixels, pixels // 2], axis=2)),
    }
    for name, image in kinds.items():
        image.save(name, **({"lossless": True} if name.endswith(".webp") else {"interlace": 0}))
        succeed("compress", name)
        target = str(Path(name).with_suffix(".bbc"))
        succeed("decompress", target, "-o", "back.png", "-f")
        assert read_image("back.png") == read_image(name)


def test_metadata_that_is_not_kept_is_noted() -> None:
    about = PngImagePlugin.PngInfo()
    about.add(b"prIV", b"of the file, not of the image")
    for name in ("a.png", "b.png"):
        Image.open(digit()).save(name, pnginfo=about)
    result = run("compress", "a.png")
    assert result.exit_code == 0
    assert errors(result) == "bbc: note: PNG chunk prIV of 1 image not kept\n"
    result = run("compress", "a.png", "b.png", "-o", "set.bbc")
    assert errors(result) == "bbc: note: PNG chunk prIV of 2 images not kept\n"
    assert run("compress", "a.png", "-q", "-f").output == ""


@pytest.mark.parametrize("many", [False, True])
def test_the_output_is_verified(many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    put_folder()
    other = PixelImage("L", read_image(digit(number=7)).pixels)
    decode_by(monkeypatch, lambda group, *_: [other] * group.header.count)
    arguments = ["set", "-o", "set.bbc"] if many else ["set/1.png"]
    assert "did not come back" in fail("compress", *arguments)
    succeed("compress", "--no-verify", *arguments)


# decompress


def test_decompress_an_image() -> None:
    lone_file()
    assert succeed("decompress", "digit.bbc") == "digit.bbc -> digit.png  28x28 L\n"
    assert set(listing()) == {"digit.bbc", "digit.png"}
    assert read_image("digit.png") == read_image(digit())
    with Image.open("digit.png") as image:
        assert image.format == "PNG"
    succeed("decompress", "digit.bbc", "-o", "other.PNG")
    assert Path("other.PNG").read_bytes() == Path("digit.png").read_bytes()


def test_decompress_to_stdout() -> None:
    lone_file()
    result = run("decompress", "digit.bbc", "-o", "-")
    assert result.exit_code == 0
    assert errors(result) == "digit.bbc -> stdout  28x28 L\n"
    assert read_image(result.stdout_bytes) == read_image(digit())


def test_decompress_to_other_formats() -> None:
    photo = read_image(DATA / "photos" / "landscape.png")
    Path("photo.bbc").write_bytes(api.compress(photo))
    for name in ("a.png", "a.webp", "a.tif", "a.TIFF", "a.bmp", "a.ppm"):
        assert run("decompress", "photo.bbc", "-o", name).exit_code == 0
        assert read_image(name) == photo
    assert run("decompress", "photo.bbc", "--format", "webp").exit_code == 0
    assert Path("photo.webp").read_bytes() == Path("a.webp").read_bytes()
    assert run("decompress", "photo.bbc", "--format", "ppm", "-o", "-").stdout_bytes == Path("a.ppm").read_bytes()
    assert "images are written as bmp, gif, " in fail("decompress", "photo.bbc", "-o", "photo.jpg")
    assert "its name says webp" in fail("decompress", "photo.bbc", "-o", "b.webp", "--format", "png")
    assert "GIF cannot hold RGB; PNG can hold it" in fail("decompress", "photo.bbc", "-o", "photo.gif")
    assert not Path("photo.gif").exists()


def test_an_archive_to_another_format() -> None:
    run("compress", str(digit()), str(digit(number=1)), "-o", "set.bbc")
    assert run("decompress", "set.bbc", "--format", "pgm").exit_code == 0
    for number in range(2):
        assert read_image(f"set/{number:04}.pgm") == read_image(digit(number=number))
    assert "WebP cannot hold L" in fail("decompress", "set.bbc", "--format", "webp", "-o", "other")
    assert not Path("other").exists()


def with_text(name: str) -> None:
    about = PngImagePlugin.PngInfo()
    about.add_text("Author", "me")
    Image.open(digit()).save(name, pnginfo=about, dpi=(300, 300))


def test_metadata_comes_back_and_can_be_stripped() -> None:
    with_text("a.png")
    assert errors(run("compress", "a.png")) == ""
    parts = json.loads(run("info", "a.bbc", "--json").stdout)["parts"]
    assert parts["metadata"] == Path("a.bbc").stat().st_size - len(api.compress(read_image(digit()))) - 1
    assert run("decompress", "a.bbc", "-o", "back.png").exit_code == 0
    assert read_image("back.png") == read_image("a.png")
    assert "PGM cannot hold resolution, text" in fail("decompress", "a.bbc", "-o", "a.pgm")
    result = run("decompress", "a.bbc", "-o", "a.pgm", "--strip")
    assert errors(result) == "bbc: note: stripped from 1 image: resolution, text\n"
    assert read_image("a.pgm") == read_image(digit())
    result = run("compress", "a.png", "--strip", "-f")
    assert errors(result) == "bbc: note: stripped from 1 image: resolution, text\n"
    assert Path("a.bbc").read_bytes() == api.compress(read_image(digit()))
    with_text("b.png")
    result = run("compress", "a.png", "b.png", str(digit()), "-o", "set.bbc", "--strip")
    assert errors(result) == "bbc: note: stripped from 2 images: resolution, text\n"
    run("compress", "a.png", "b.png", str(digit()), "-o", "set.bbc", "-f")
    assert errors(run("decompress", "set.bbc")) == ""
    assert read_image("set/a.png") == read_image("a.png")
    result = run("decompress", "set.bbc", "-f", "--strip")
    assert errors(result) == "bbc: note: stripped from 2 images: resolution, text\n"
    assert read_image("set/a.png") == read_image(digit())


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_frames(form: str) -> None:
    source = f"moving.{form.lower()}"
    frames = [Image.new("RGB", (9, 9), (40 * n, 0, 9)) for n in range(3)]
    frames[0].save(source, form, save_all=True, append_images=frames[1:], lossless=True)
    assert "3 of them; --frames takes each" in fail("compress", source, "--pixels")
    assert not Path("moving.bbc").exists()
    result = run("compress", source, "-o", "whole.bbc")
    assert result.exit_code == 0 and "has 3 pictures and is kept as it is" in errors(result)
    succeed("decompress", "whole.bbc", "-o", f"whole.{form.lower()}")
    assert Path(f"whole.{form.lower()}").read_bytes() == Path(source).read_bytes()
    result = run("compress", source, "--frames")
    assert result.exit_code == 0
    assert ("times of the frames of 3 images not kept" in errors(result)) == (form != "TIFF")
    Path("more").mkdir()
    shutil.copy(source, "more")
    shutil.copy(digit(), "more/still.png")
    assert run("compress", "more", "--frames", "-o", "more.bbc").exit_code == 0
    for archive, names in (("moving", {source}), ("more", {source, "still.png"})):
        assert run("decompress", f"{archive}.bbc", "-o", f"{archive}-back").exit_code == 0
        assert set(map(str, os.listdir(f"{archive}-back"))) == names
        for number, frame in enumerate(frames):
            back = read_image(f"{archive}-back/{source}/{number:04}.png")
            again = Image.open(f"{archive}-back/{source}/{number:04}.png").convert("RGB")
            assert again.tobytes() == frame.tobytes() and back.size == (9, 9)
    Image.open(digit()).save("still.gif")
    assert run("compress", "still.gif", "--frames").exit_code == 0
    assert not Reader(io.BytesIO(Path("still.bbc").read_bytes())).is_archive


def test_a_jpeg_that_was_smaller() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save("a.jpg", quality=20)
    before = Path("a.jpg").stat().st_size
    assert errors(run("compress", "a.jpg", "-o", "kept.bbc")) == ""
    assert before < Path("kept.bbc").stat().st_size <= before + 40
    result = run("compress", "a.jpg", "--pixels")
    after = Path("a.bbc").stat().st_size
    line = f"bbc: warning: a.jpg: {after} bytes are more than before ({before}): a JPEG's pixels are kept\n"
    assert errors(result) == line
    Image.fromarray(noise).save("b.jpg", quality=20)
    assert "2 JPEGs are among the images" in errors(run("compress", "a.jpg", "b.jpg", "-o", "set.bbc", "--pixels"))
    Image.new("RGB", (400, 400)).save("plain.jpg", quality=100)
    assert errors(run("compress", "plain.jpg")) == ""


CMYK = PixelImage("CMYK", np.arange(48, dtype=np.uint8).reshape(3, 4, 4))


def test_a_file_of_another_suffix_is_not_in_the_way() -> None:
    Path("a.bbc").write_bytes(api.compress(CMYK))
    Compressor().archive([("b.tif", CMYK), ("c.png", read_image(digit()))], file := io.BytesIO())
    Path("set.bbc").write_bytes(file.getvalue())
    for name in ("a.png", "set/b.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"another")
    succeed("decompress", "a.bbc")
    succeed("decompress", "set.bbc")
    assert read_image("a.tiff") == read_image("set/b.tif") == CMYK
    assert Path("a.png").read_bytes() == Path("set/b.png").read_bytes() == b"another"
    Path("set/c.png").unlink()
    assert "set/b.tif exists" in fail("decompress", "set.bbc")
    assert "a.tiff exists" in fail("decompress", "a.bbc")


def test_cmyk_comes_back_as_tiff() -> None:
    image = CMYK
    Path("a.bbc").write_bytes(api.compress(image))
    succeed("decompress", "a.bbc")
    assert read_image("a.tiff") == image
    file = io.BytesIO()
    Compressor().archive([("x.tiff", image), ("x.png", from_array(image.pixels))], file)
    Path("set.bbc").write_bytes(file.getvalue())
    succeed("decompress", "set.bbc")
    assert set(listing("set")) == {"x.png", "x.tiff"}
    assert read_image("set/x.tiff") == image


def test_a_suffix_comes_back_as_it_was() -> None:
    """Even where that is all in which names differ; whatever the image is written as."""
    put_digit("set/a.png", number=0)
    if Path("set/A.png").exists():
        pytest.skip("case does not count here")
    put_digit("set/a.PNG", number=1)
    put_digit("set/sub/photo.PNG", number=2)
    names = ["a.PNG", "a.png", "sub/photo.PNG"]
    assert run("compress", "set", "-o", "set.bbc").exit_code == 0
    for number, arguments in enumerate(([], ["--format", "png"], ["--only", "*"])):
        assert run("decompress", "set.bbc", "-o", f"back{number}", *arguments).exit_code == 0
        assert set(listing(f"back{number}")) == {*names, "sub"}
        assert same_images("set", f"back{number}", names)
    cmyk = [(name, CMYK) for name in ("a.TIFF", "a.tiff", "a.PNG", "a.png")]
    Compressor().archive(cmyk, file := io.BytesIO())
    Path("cmyk.bbc").write_bytes(file.getvalue())
    assert run("decompress", "cmyk.bbc").exit_code == 0
    assert set(listing("cmyk")) == {"a.TIFF", "a.tiff", "a.PNG.tiff", "a.png-2.tiff"}


def test_decompress_an_archive() -> None:
    archive_file("set.bbc", "b.png", "deep/er/a.jpg", "c")
    assert succeed("decompress", "set.bbc") == "set.bbc -> set  3 images\n"
    assert set(listing("set")) == {"b.png", "deep", "deep/er", "deep/er/a.png", "c.png"}
    assert set(listing()) == {"set.bbc", "set", *(f"set/{name}" for name in listing("set"))}
    for number, name in enumerate(["b.png", "deep/er/a.png", "c.png"]):
        assert read_image(Path("set") / name) == read_image(digit(number=number))


def test_decompress_an_archive_without_names() -> None:
    file = io.BytesIO()
    Compressor().archive([(None, read_image(digit(number=number))) for number in range(2)], file)
    Path("set.bbc").write_bytes(file.getvalue())
    succeed("decompress", "set.bbc")
    assert set(listing("set")) == {"00000.png", "00001.png"}


def test_decompress_into_a_folder_that_exists() -> None:
    archive_file("set.bbc", "a.png", "sub/b.png")
    Path("out/sub").mkdir(parents=True)
    Path("out/other.png").write_bytes(b"other")
    succeed("decompress", "set.bbc", "-o", "out")
    assert set(listing("out")) == {"a.png", "other.png", "sub", "sub/b.png"}
    assert "--force" in fail("decompress", "set.bbc", "-o", "out")
    Path("out/a.png").unlink()
    assert "out/sub/b.png exists" in fail("decompress", "set.bbc", "-o", "out")
    assert not Path("out/a.png").exists()
    Path("out/sub/b.png").write_bytes(b"old")
    succeed("decompress", "set.bbc", "-o", "out", "--force")
    assert read_image("out/sub/b.png") == read_image(digit(number=1))
    assert Path("out/other.png").read_bytes() == b"other"


def test_what_exists_is_found_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    archive_file("set.bbc", "a.png", "b.jpg")
    lone_file()
    put_digit()
    put_digit("set/b.png")

    def fault(*_: Any) -> None:
        raise BBCError("too late")

    Path("cmyk.bbc").write_bytes(api.compress(CMYK))
    decode_by(monkeypatch, fault)
    assert "set/b.png exists" in fail("decompress", "set.bbc")
    assert "digit.png exists" in fail("decompress", "digit.bbc")
    Path("cmyk.tiff").touch()
    assert "cmyk.tiff exists" in fail("decompress", "cmyk.bbc")


def forged_archive(*names: str) -> None:
    """An archive with names that our writer refuses."""
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    writer._take_names = lambda names: None  # type: ignore[method-assign]
    items = join_items([encode_item(from_array(np.zeros((1, 1), np.uint8)))] * len(names))
    writer.add_group(Group(GroupHeader(count=len(names), fallback=True), items), names)
    writer.close()
    Path("forged.bbc").write_bytes(file.getvalue())


@pytest.mark.parametrize("name", ["../a.png", "/tmp/a.png", "x/../../a.png", "..", "a\\..\\b.png", "C:/a.png", "x/./y"])
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    forged_archive("fine.png", name)
    assert "forged.bbc" in fail("decompress", "forged.bbc", "-o", "deep/out")
    before = listing()
    tested = run("test", "forged.bbc")
    assert tested.exit_code == 1
    assert "forged.bbc: damaged" in tested.stderr
    assert listing() == before


def test_no_link_leads_out_of_the_folder() -> None:
    archive_file("set.bbc", "a.png", "link/b.png", "link/new/c.png")
    Path("elsewhere").mkdir()
    Path("out").mkdir()
    Path("out/link").symlink_to("../elsewhere")
    assert "symbolic link" in fail("decompress", "set.bbc", "-o", "out")
    assert "symbolic link" in fail("decompress", "set.bbc", "-o", "out", "--force")
    assert listing("elsewhere") == {}


def test_an_archive_of_a_billion_images_is_not_unpacked() -> None:
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    for _ in range(64):
        writer.add_group(Group(GroupHeader(count=1 << 20, fallback=True), b""))
    writer.close()
    Path("many.bbc").write_bytes(file.getvalue())
    assert "67108864 images" in fail("decompress", "many.bbc")
    assert "67108864 images" in fail("info", "many.bbc", "--json")


# info, test, models


def test_info() -> None:
    size = len(lone_file())
    text = succeed("info", "digit.bbc")
    assert text.startswith(f"digit.bbc: lone image, 1 image, {size} bytes\n")
    assert "1 image by tiny-binary" in text
    archive_file(count=12)
    text = succeed("info", "set.bbc")
    assert text.startswith("set.bbc: archive, 12 images")
    assert re.search(
        r"12 images by tiny-binary: \d+ bytes, \d+ coded directly, the rest with encoder rha, K = 0\n", text
    )
    listed = re.findall(
        r"^  (?:prefix|group headers|payloads|checksums|names|index|footer) +(\d+)$", text, re.MULTILINE
    )
    assert sum(map(int, listed)) == Path("set.bbc").stat().st_size


def test_info_as_json() -> None:
    archive_file("set.bbc", "a", "ü.png")
    found = description("set.bbc")
    assert (found["file"], found["format"], found["archive"], found["images"]) == ("set.bbc", 1, True, 2)
    assert found["names"] == ["a", "ü.png"]
    assert sum(found["parts"].values()) == found["bytes"] == Path("set.bbc").stat().st_size
    (group,) = found["groups"]
    assert set(group) == {"model", "images", "bytes", "encoder", "K", "direct", "batches", "lanes"}
    lone_file()
    assert description("digit.bbc")["names"] == [None]
    assert description("digit.bbc")["archive"] is False


def test_info_of_images_above_the_usual_limit() -> None:
    size, most = (1 << 15, 1 << 14), 1 << 29
    lone = GroupHeader(model=bytes.fromhex(BINARY_ID)[:3], size=size, direct=1)
    Path("lone.bbc").write_bytes(build_lone(Group(lone, bytes(9)), Limits(most)))
    writer = ArchiveWriter(file := io.BytesIO(), Limits(most))
    writer.add_group(Group(GroupHeader(model=bytes.fromhex(BINARY_ID), size=size, count=2, direct=2), bytes(9)))
    writer.close()
    Path("set.bbc").write_bytes(file.getvalue())
    for name in ("lone.bbc", "set.bbc"):
        assert "limit" in fail("info", name)
        assert "by tiny-binary" in succeed("info", name, "--max-pixels", str(most))


def test_info_needs_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    lone_file()
    monkeypatch.setenv("BBC_MODELS", "")
    assert "1 image by 641adb... (not installed)" in succeed("info", "digit.bbc")


def test_test() -> None:
    lone_file()
    assert succeed("test", "digit.bbc") == "digit.bbc: 1 image, as it was\n"
    data = bytearray(archive_file())
    before = listing()
    ok = "group 0: 3 images, as they were\nset.bbc: 3 images, all as they were\n"
    assert succeed("test", "set.bbc") == ok
    assert succeed("test", "set.bbc", "-q") == ""
    assert listing() == before
    data[20] ^= 1
    Path("set.bbc").write_bytes(data)
    tested = run("test", "set.bbc")
    assert (tested.exit_code, tested.stdout) == (1, "")
    assert errors(tested).splitlines() == [
        "bbc: group 0 is lost (group 0 is damaged: its checksum does not fit)",
        *(f"bbc: lost: {number}.png" for number in range(3)),
        "bbc: error: set.bbc: damaged: 1 of 1 groups",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes that break")
def test_models_to_a_reader_that_has_gone() -> None:
    """It is no fault of the models."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run([sys.executable, "-m", "bbcompress", "models"], stdout=closed, stderr=subprocess.PIPE)
    assert b"tiny" not in done.stderr
    assert b"Traceback" not in done.stderr


def test_models() -> None:
    lines = succeed("models").splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["tiny-binary", BINARY_ID],
        ["tiny-grey", "dce8d0b5"],
        ["tiny-local", "e75b7552"],
        ["tiny-resnet", "3a876914"],
    ]
    assert lines[2].endswith("(only with -m)")
    assert "mnist, binary" in lines[0]
    assert "0.3277 bits/dim" in lines[0]
    assert "0.2 MB" in lines[0]
    assert len({line.index(" bits/dim") for line in lines}) == len({line.index(" MB") for line in lines}) == 1
    facts = json.loads(succeed("models", "--json"))
    assert [one["name"] for one in facts] == ["tiny-binary", "tiny-grey", "tiny-local", "tiny-resnet"]
    assert facts[0]["id"].startswith(BINARY_ID) and facts[0]["net_rate"] == pytest.approx(0.3277, abs=1e-4)
    assert not facts[2]["default"]


def test_test_as_json() -> None:
    put_digit()
    lone_file()
    good = json.loads(succeed("test", "digit.bbc", "--json"))
    assert good == {"file": "digit.bbc", "ok": True, "images": 1, "error": None}
    Path("bad.bbc").write_bytes(Path("digit.bbc").read_bytes()[:-2])
    result = run("test", "bad.bbc", "--json")
    assert result.exit_code == 1 and not json.loads(result.stdout)["ok"]
    result = run("test", "digit.bbc", "bad.bbc", "none.bbc", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1 and [one["ok"] for one in found] == [True, False, False]
    assert all(one["error"] for one in found[1:])


def test_models_tells_the_rate_of_the_usual_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(MODELS / "tiny-binary", "m/a")
    shutil.copytree(MODELS / "tiny-binary", "m/of a longer name than most")
    rates = {"rha": 0.25, "baseline": 0.125}
    for path, encoder in zip(sorted(Path("m").iterdir()), ("baseline", "rha"), strict=True):
        (path / "card.json").write_text(json.dumps({"net_rate": rates, "encoder": encoder, "data": "d"}))
    monkeypatch.setenv("BBC_MODELS", "m")
    first, second = succeed("models").splitlines()
    assert "d  0.1250 bits/dim" in first and "d  0.2500 bits/dim" in second
    assert first.index("bits/dim") == second.index("bits/dim")


@pytest.mark.parametrize("card", [{"net_rate": 3, "name": None, "data": None}, {"net_rate": {"rha": "x"}}, {}])
def test_models_with_an_odd_card(card: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(MODELS / "tiny-binary", "m/odd")
    Path("m/odd/card.json").write_text(json.dumps({"default": False, **card}))
    monkeypatch.setenv("BBC_MODELS", "m")
    line = succeed("models")
    assert line.split()[:2] == ["odd", BINARY_ID]
    assert "? bits/dim" in line
    assert line.endswith("(only with -m)\n")


def test_models_of_which_one_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(MODELS, "m")
    Path("m/tiny-binary/card.json").write_text("{")
    monkeypatch.setenv("BBC_MODELS", "m")
    result = run("models")
    assert result.exit_code == 0
    assert result.stdout.startswith("tiny-grey")
    assert errors(result) == f"bbc: {Path('m/tiny-binary/card.json')} is damaged\n"
    monkeypatch.setenv("BBC_MODELS", "")
    assert succeed("models") == ""


# What goes wrong


def put_empty(name: str) -> Callable[[], None]:
    """Gives a function that makes an empty file."""

    def make() -> None:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()

    return make


def put_link(name: str, target: str) -> Path:
    Path(name).symlink_to(target)
    return Path(name)


BROKEN: dict[str, tuple[Callable[[], Any], list[str], str]] = {
    # What is there, the command, and what the line has to say.
    "missing image": (lambda: None, ["compress", "no.png"], "no.png"),
    "missing image among others": (put_digit, ["compress", "digit.png", "no.png", "-o", "s.bbc"], "no.png"),
    "missing file": (lambda: None, ["decompress", "no.bbc"], "no.bbc: cannot be read"),
    "missing file, info": (lambda: None, ["info", "no.bbc"], "no.bbc: cannot be read"),
    "missing file, test": (lambda: None, ["test", "no.bbc"], "no.bbc: cannot be read"),
    "name too long": (lambda: None, ["compress", "x" * 400 + ".png"], "too long"),
    "name too long, decompress": (lambda: None, ["decompress", "x" * 400 + ".bbc"], "too long"),
    "output name too long": (put_digit, ["compress", "digit.png", "-o", "x" * 400], "too long"),
    "empty image": (put_empty("a.png"), ["compress", "a.png"], "a.png: is empty"),
    "empty file": (put_empty("a.bbc"), ["decompress", "a.bbc"], "a.bbc: "),
    "empty file, info": (put_empty("a.bbc"), ["info", "a.bbc"], "a.bbc: "),
    "no image": (lambda: Path("a.png").write_text("hello\n" * 9), ["compress", "a.png"], "a.png: is not an image"),
    "broken image": (
        lambda: Path("a.png").write_bytes(digit().read_bytes()[:-20]),
        ["compress", "a.png"],
        "a.png: ",
    ),
    "broken image in a folder": (
        lambda: [put_folder(), Path("set/3.png").write_bytes(digit().read_bytes()[:-20])],
        ["compress", "set", "-o", "set.bbc", "--no-skip-unreadable"],
        "set/3.png: ",
    ),
    "broken images alone in a folder": (
        lambda: [put_empty("set/a.png")(), put_empty("set/b.png")()],
        ["compress", "set", "-o", "set.bbc"],
        "no image can be read: set/a.png: is empty; set/b.png: is empty",
    ),
    "a broken image that was given, among others": (
        lambda: [put_digit(), put_empty("a.png")()],
        ["compress", "digit.png", "a.png", "-o", "set.bbc"],
        "a.png: is empty",
    ),
    "a broken image that was given alone": (
        put_empty("a.png"),
        ["compress", "a.png", "--skip-unreadable"],
        "a.png: is empty",
    ),
    "the output is the image": (
        put_digit,
        ["compress", "digit.png", "-o", "./digit.png", "-f"],
        "digit.png is the image, and the output",
    ),
    "the output is the image by a link": (
        lambda: [put_digit(), put_link("link.bbc", "digit.png")],
        ["compress", "digit.png", "-o", "link.bbc", "-f"],
        "link.bbc is the image, and the output",
    ),
    "the output of an image of a suffix of ours": (
        lambda: put_digit("digit.bbc"),
        ["compress", "digit.bbc", "-f"],
        "digit.bbc is the image, and the output",
    ),
    "the output is one of the images": (
        put_folder,
        ["compress", "set/1.png", "set/2.png", "-o", "set/../set/2.png", "-f"],
        "set/2.png: bbc compress writes files of bbc",
    ),
    "the plot is one of the images": (
        put_folder,
        ["bench", "set", "--plot", "set/grey/../1.png", "-f"],
        "set/1.png is one of the images, and an output",
    ),
    "the archive is among what is added": (
        lambda: [put_digit(), archive_file("set/a.png")],
        ["add", "set/a.png", "digit.png", "set"],
        "set/a.png is one of the images, and the output",
    ),
    "the file is the output": (
        lambda: [lone_file("x.png")],
        ["decompress", "x.png", "-o", "./x.png", "-f"],
        "x.png is the file, and the output",
    ),
    "the file is one of the outputs": (
        lambda: [archive_file("set/1.png")],
        ["decompress", "set/1.png", "-o", "set", "-f"],
        "set/1.png is the file, and one of the outputs",
    ),
    "the file is the folder": (
        lambda: [archive_file("x.bbc")],
        ["decompress", "x.bbc", "-o", "x.bbc", "-f"],
        "x.bbc is a file",
    ),
    "a name that is the folder of another": (
        lambda: [archive_file("set.bbc", "x.png/inner.png"), put_digit("x.png")],
        ["add", "set.bbc", "x.png"],
        "x.png: the image 'x.png' cannot stand beside 'x.png/inner.png'",
    ),
    "dangling link": (lambda: Path("a.png").symlink_to("no"), ["compress", "a.png"], "a.png: cannot be read"),
    "text file": (
        lambda: Path("a.bbc").write_text("hello\n"),
        ["decompress", "a.bbc"],
        "a.bbc: the file is not a .bbc",
    ),
    "text file, test": (
        lambda: Path("a.bbc").write_text("hello\n"),
        ["test", "a.bbc"],
        "a.bbc: the file is not a .bbc",
    ),
    "image as file": (put_digit, ["info", "digit.png"], "digit.png: the file is not a .bbc"),
    "truncated file": (
        lambda: Path("a.bbc").write_bytes(lone_file("b.bbc")[:-3]),
        ["decompress", "a.bbc"],
        "a.bbc: ",
    ),
    "truncated archive": (
        lambda: Path("a.bbc").write_bytes(archive_file()[:-3]),
        ["decompress", "a.bbc"],
        "a.bbc: the archive is damaged, cut short",
    ),
    "later version": (lambda: Path("a.bbc").write_bytes(b"\xbb\xc2\0"), ["info", "a.bbc"], "version 2"),
    "folder as file": (lambda: Path("a.bbc").mkdir(), ["decompress", "a.bbc"], "a.bbc: is a folder"),
    "folder without images": (
        put_empty("set/a.txt"),
        ["compress", "set", "-o", "set.bbc"],
        "set: there is no image",
    ),
    "names twice": (
        lambda: [put_digit("x/a/i.png"), put_digit("q/x/a/i.png"), put_digit("r/a/i.png")],
        ["compress", "x", "q/x/a", "r/a", "-o", "set.bbc"],
        "two images have the name 'x/a/i.png'",
    ),
    "no such model": (put_digit, ["compress", "digit.png", "-m", "no"], "installed: tiny-binary, tiny-grey, tiny-"),
    "no such model, decompress": (lone_file, ["decompress", "digit.bbc", "-m", "no"], "there is no model no"),
    "no such model, models": (lambda: None, ["models", "-m", "no"], "there is no model no"),
    "output exists": (
        lambda: [put_digit(), put_empty("digit.bbc")()],
        ["compress", "digit.png"],
        "digit.bbc exists; --force",
    ),
    "output is a device": (put_digit, ["compress", "digit.png", "-o", os.devnull, "-f"], "not a regular file"),
    "folder is a file": (
        lambda: [archive_file(), put_empty("out")()],
        ["decompress", "set.bbc", "-o", "out", "-f"],
        "out is a file",
    ),
    "output folder is missing": (
        put_digit,
        ["compress", "digit.png", "-o", "no/a.bbc"],
        "no/a.bbc: cannot be written: there is no folder no",
    ),
    "output folder is a file": (put_digit, ["compress", "digit.png", "-o", "digit.png/a"], "cannot be written"),
    "binary": (lambda: put_digit("a.png", "grey"), ["compress", "a.png", "--binary"], "--binary"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_one_line_says_what_is_wrong(case: str) -> None:
    prepare, arguments, reason = BROKEN[case]
    prepare()
    assert reason in fail(*arguments)


BLAMED: dict[str, tuple[Callable[[], Any], list[str], str]] = {
    # What is there, the command, and how the line begins: with what it is about.
    "output exists": (
        lambda: [lone_file(), put_digit()],
        ["decompress", "digit.bbc"],
        "digit.png exists; --force",
    ),
    "output cannot be written": (lone_file, ["decompress", "digit.bbc", "-o", "no/a.png"], "no/a.png: cannot be"),
    "output is of no format": (lone_file, ["decompress", "digit.bbc", "-o", "a.xyz"], "a.xyz: images are written as"),
    "file in a folder exists": (
        lambda: [archive_file(), put_digit("set/1.png")],
        ["decompress", "set.bbc"],
        "set/1.png exists; --force",
    ),
    "folder is a file": (lambda: [archive_file(), put_empty("set")()], ["decompress", "set.bbc"], "set is a file"),
    "no such model": (lone_file, ["decompress", "digit.bbc", "-m", "no"], "there is no model no; installed"),
    "no such model, list": (archive_file, ["list", "set.bbc", "-m", "no"], "there is no model no; installed"),
    "no such device": (lone_file, ["decompress", "digit.bbc", "--device", "xyz"], "device xyz "),
    "damaged model": (
        lambda: [put_digit(), broken_model("broken")],
        ["compress", "digit.png", "-m", "broken"],
        "broken/card.json is damaged",
    ),
    "model that is missing": (
        lambda: Path("a.bbc").write_bytes(lone_of_no_model()),
        ["decompress", "a.bbc"],
        "a.bbc: this file needs the model with id 616263",
    ),
    "damaged file": (lambda: Path("a.bbc").write_bytes(archive_file()[:-3]), ["info", "a.bbc"], "a.bbc: the archive "),
    "damaged file, add": (
        lambda: [put_digit(), Path("a.bbc").write_bytes(b"\xbb\xc1\x01")],
        ["add", "a.bbc", "digit.png"],
        "a.bbc: ",
    ),
    "no such image": (archive_file, ["decompress", "set.bbc", "--only", "x"], "set.bbc: no image has a name that fits"),
    "no such image, list": (archive_file, ["list", "set.bbc", "--only", "x"], "set.bbc: no image has a name that fits"),
    "only of a lone image": (lone_file, ["decompress", "digit.bbc", "--only", "x"], "digit.bbc: --only is for"),
    "format that cannot hold the image": (
        lambda: put_lone("a.bbc", CMYK),
        ["decompress", "a.bbc", "-o", "a.gif"],
        "a.bbc: GIF cannot hold CMYK",
    ),
    "format that cannot hold one of the images": (
        lambda: put_archive("a.bbc", ("x.png", read_image(digit())), ("y\x1b.png", CMYK)),
        ["decompress", "a.bbc", "--format", "png"],
        r"a.bbc: y\x1b.png: PNG cannot hold CMYK",
    ),
    "image that is not allowed": (
        lambda: put_digit("a.png", "grey"),
        ["compress", "a.png", "--binary"],
        "a.png: the image is not grey of two levels",
    ),
    "input while adding": (
        lambda: [archive_file(), put_empty("a.png")()],
        ["add", "set.bbc", "a.png"],
        "a.png: is empty",
    ),
}


def broken_model(name: str) -> int:
    shutil.copytree(MODELS / "tiny-binary", name)
    return Path(name, "card.json").write_text("{")


def lone_of_no_model() -> bytes:
    return build_lone(Group(GroupHeader(model=b"abc", direct=1), b"message"))


def put_lone(name: str, image: PixelImage) -> None:
    Path(name).write_bytes(api.compress(image))


def put_archive(name: str, *images: tuple[str, PixelImage]) -> None:
    Compressor().archive(images, file := io.BytesIO())
    Path(name).write_bytes(file.getvalue())


@pytest.mark.parametrize("case", BLAMED)
def test_the_right_file_is_named(case: str) -> None:
    prepare, arguments, beginning = BLAMED[case]
    prepare()
    assert fail(*arguments).startswith(f"bbc: error: {beginning}")


MISUSED: dict[str, tuple[list[str], str]] = {
    "K too large": (["compress", "digit.png", "-K", "1001"], "1001"),
    "K negative": (["compress", "digit.png", "-K", "-1"], "-1"),
    "K no number": (["compress", "digit.png", "-K", "x"], "'x'"),
    "rate": (["compress", "digit.png", "--lr", "0"], "--lr"),
    "encoder": (["compress", "digit.png", "--encoder", "x"], "'x'"),
    "several files to one": (["decompress", "x.bbc", "y.bbc", "-o", "x"], "--output-dir DIR"),
    "stdout and a file": (["compress", "digit.png", "-c", "-o", "x"], "exclude each other"),
    "stdout, then deleted": (["compress", "digit.png", "-c", "--rm"], "may never arrive"),
    "stdin, deleted": (["compress", "-", "-o", "x", "--rm"], "stdin is none"),
    "not verified, then deleted": (["compress", "digit.png", "--rm", "--no-verify"], "--rm and --no-verify"),
    "stripped, then deleted": (["compress", "digit.png", "--rm", "--strip"], "--rm and --strip"),
    "some, then deleted": (["decompress", "set.bbc", "--rm", "--only", "1*"], "--rm and --only"),
    "damaged, then deleted": (["decompress", "set.bbc", "--rm", "--keep-going"], "--rm and --keep-going"),
    "stdin among several": (["compress", "digit.png", "-", "-o", "x"], "one of several"),
    "other suffix": (["decompress", "x.data"], "does not end with .bbc"),
    "empty output": (["compress", "digit.png", "-o", ""], "the path is empty"),
    "empty output, decompress": (["decompress", "set.bbc", "-o", ""], "the path is empty"),
    "empty input": (["compress", "", "-o", "x"], "the path is empty"),
    "one empty input": (["compress", "digit.png", "", "-o", "x"], "the path is empty"),
    "empty archive": (["add", "", "digit.png"], "the path is empty"),
    "empty file": (["list", ""], "the path is empty"),
    "empty model": (["compress", "digit.png", "-m", ""], "the path is empty"),
    "empty folder to mount in": (["mount", "set.bbc", ""], "the path is empty"),
    "empty folder of runs": (["runs", ""], "the path is empty"),
    "empty folder of a run": (["train", "-o", ""], "the path is empty"),
    "empty folder of events": (["report", "run", "--tensorboard", ""], "the path is empty"),
    "empty file of JSON": (["bench", "digit.png", "--json", ""], "the path is empty"),
    "archive to stdout": (["decompress", "set.bbc", "-o", "-"], "which folder"),
}


@pytest.mark.parametrize("case", MISUSED)
def test_wrong_options_are_a_matter_of_use(case: str) -> None:
    put_digit()
    archive_file()
    lone_file("x.data")
    arguments, reason = MISUSED[case]
    assert reason in misuse(*arguments)


def test_stdin_that_is_no_image() -> None:
    assert "-: is empty" in fail("compress", "-", data=b"")
    assert "-: is not an image" in fail("compress", "-", data=b"hello, world")
    assert "-: the file is not a .bbc" in fail("decompress", "-", "-o", "x.png", data=b"hello")


def test_missing_and_wrong_models(monkeypatch: pytest.MonkeyPatch) -> None:
    lone_file()
    archive_file()
    for place in ("", str(MODELS / "tiny-grey")):
        monkeypatch.setenv("BBC_MODELS", place)
        for file, needed in (("digit.bbc", "641adb..."), ("set.bbc", "641adb16...")):
            for command in ("decompress", "test"):
                line = fail(command, file)
                assert file in line
                assert needed in line
                assert "-m" in line
    fail("decompress", "digit.bbc", "-m", str(MODELS / "tiny-grey"))
    succeed("decompress", "digit.bbc", "-m", str(MODELS / "tiny-binary"))


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "card", "folder as card", "other card"])
def test_a_broken_model_folder(damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_digit()
    lone_file("other.bbc")
    monkeypatch.delenv("BBC_MODELS")
    shutil.copytree(MODELS / "tiny-binary", "m")
    weights, card = Path("m/model.safetensors"), Path("m/card.json")
    data = bytearray(weights.read_bytes())
    if damage == "cut":
        weights.write_bytes(data[:-50])
    elif damage == "empty":
        weights.write_bytes(b"")
    elif damage == "flipped":
        data[-2000] ^= 4
        weights.write_bytes(data)
    elif damage == "card":
        card.write_bytes(b"\xff{")
    elif damage == "folder as card":
        card.unlink()
        card.mkdir()
    else:
        shutil.copy(MODELS / "tiny-grey" / "card.json", card)
    assert "m/" in fail("compress", "digit.png", "-m", "m")
    line = fail("decompress", "other.bbc", "-m", "m")
    assert ("needs the model with id 641adb..." if damage == "other card" else "m/") in line


@needs_permissions
def test_what_may_not_be_read_or_written(tmp_path: Path) -> None:
    put_digit()
    put_digit("set/a.png")
    put_digit("set/sub/b.png")
    Path("digit.png").chmod(0)
    Path("set/sub").chmod(0)
    try:
        assert "digit.png: cannot be read" in fail("compress", "digit.png")
        assert "set/sub: cannot be read" in fail("compress", "set", "-o", "set.bbc")
        assert "Permission denied" in fail("compress", "set/sub/b.png")
        Path("set").chmod(0)
        assert "Permission denied" in fail("compress", "set/a.png", "-o", "set.bbc")
        assert "cannot be read: Permission denied" in fail("decompress", "set/a.bbc")
    finally:
        Path("set").chmod(0o755)
        Path("set/sub").chmod(0o755)
    Path("digit.png").chmod(0o644)
    tmp_path.chmod(0o555)
    try:
        assert "cannot be written" in fail("compress", "digit.png")
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.parametrize("command", ["compress", "compress set", "decompress", "decompress set"])
def test_an_output_folder_that_may_not_be_written(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    put_folder()
    put_digit()
    lone_file("other.bbc")
    archive_file("archive.bbc")
    monkeypatch.setattr("bbcompress.system.temporary._new_name", refuse)
    arguments = {
        "compress": ["compress", "digit.png"],
        "compress set": ["compress", "set", "-o", "set.bbc"],
        "decompress": ["decompress", "other.bbc"],
        "decompress set": ["decompress", "archive.bbc"],
    }
    assert "cannot be written: Permission denied" in fail(*arguments[command])


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EIO, "Input/output error"), BBCError("a reason")])
def test_faults_from_deep_inside(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    put_digit()
    lone_file("other.bbc")
    archive_file("set.bbc")

    def fault(*_: Any, **__: Any) -> None:
        raise error

    decode_by(monkeypatch, fault)
    for arguments in (
        ["compress", "digit.png"],
        ["decompress", "other.bbc"],
        ["decompress", "set.bbc"],
        ["test", "set.bbc"],
    ):
        fail(*arguments)


# Ctrl-C


def interrupting(function: Callable[..., Any], call: int) -> Callable[..., Any]:
    """The function, with Ctrl-C pressed when it is called so many times."""
    calls = iter(range(1, 1000))

    def wrapper(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call:
            raise KeyboardInterrupt
        return function(*arguments, **options)

    return wrapper


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize(
    "arguments",
    [
        ["compress", "digit.png"],
        ["compress", "set", "-o", "new.bbc"],
        ["compress", "set", "-o", "old.bbc", "-f"],
        ["decompress", "many.bbc"],
        ["decompress", "many.bbc", "-o", "deep/er"],
        ["decompress", "many.bbc", "-o", "set", "-f"],
        ["test", "many.bbc"],
    ],
)
def test_interrupted(call: int, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if arguments == ["compress", "digit.png"] and call == 2:
        return  # a lone image is coded, and verified, once
    monkeypatch.setattr(compressor, "GROUP_SUBPIXELS", 784)
    put_folder()
    put_digit()
    archive_file("many.bbc")
    Path("old.bbc").write_bytes(b"old")
    decode_by(monkeypatch, interrupting(decode_images, call))
    before = listing()
    result = run(*arguments)
    assert (result.exit_code, result.stdout, errors(result)) == (130, "", "bbc: interrupted\n")
    assert isinstance(result.exception, SystemExit)
    assert listing() == before


# A terminal, and processes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_progress_bar_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "BAR_AFTER", 0)
    monkeypatch.setenv("COLUMNS", "120")
    for stream, quiet, shown in ((Terminal(), False, True), (Terminal(), True, False), (io.StringIO(), False, False)):
        monkeypatch.setattr("sys.stderr", stream)
        with progress.progress("compress", quiet, lambda: 8_000_000) as advance:
            assert (advance is not None) == shown
            if advance is not None:
                wait_for(lambda stream=stream: "compress" in stream.getvalue())  # type: ignore[misc]
                advance(1_000_000)
                wait_for(lambda stream=stream: "12 %" in stream.getvalue())  # type: ignore[misc]
                advance(3_000_000)
                wait_for(lambda stream=stream: "50 %" in stream.getvalue())  # type: ignore[misc]
        if shown:
            assert re.search(r"\d\.\d\d Mpixel/s +left: .*\d:\d\d:\d\d", stream.getvalue())
        else:
            assert not stream.getvalue()
    monkeypatch.setattr("sys.stderr", None)
    with progress.progress("compress", False, lambda: 2) as advance:
        assert advance is None


def test_no_progress_bar_for_what_is_soon_done(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with pytest.raises(KeyError), progress.progress("compress", False, lambda: None) as advance:
        assert advance is not None
        advance(5)
        raise KeyError
    assert terminal.getvalue() == ""
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("arguments", "pixels"),
    [
        (["compress", "set", "-o", "new.bbc"], 5 * 784 + 30),
        (["compress", "set/photo.png"], 30),
        (["decompress", "set.bbc"], 5 * 784 + 30),
        (["decompress", "photo.bbc"], 30),
        (["test", "set.bbc"], 5 * 784 + 30),
    ],
)
def test_every_pixel_advances_the_bar(arguments: list[str], pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    put_folder()
    succeed("compress", "set", "-o", "set.bbc")
    succeed("compress", "set/photo.png", "-o", "photo.bbc")
    shutil.move("set", "set-") if arguments[0] == "decompress" else None
    told = []
    totals = []

    class Bar:
        def __init__(self, title: str, total: Callable[[], int | None], note: Callable[[], str] | None) -> None:
            assert (title, note) == (arguments[0], None)
            self.total = total

        def advance(self, done: int) -> None:
            told.append(done)

        def close(self) -> None:
            totals.append(self.total())

    monkeypatch.setattr(progress, "_Bar", Bar)
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    succeed(*arguments)
    assert sum(told) == pixels
    (expected,) = totals
    assert expected == pixels or arguments[-1] == "set.bbc"  # stored images say their size, digits do not


def wait_for(ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not ready():
        assert time.monotonic() < deadline, "it never happens"
        time.sleep(0.01)


def process(*arguments: str, shell: str = "", data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run bbc in a process of its own, with redirections in the words of the shell; -m names the tiny models."""
    command = ["sh", "-c", f'"$@" {shell}', "sh", sys.executable, "-m", "bbcompress", *arguments]
    return subprocess.run(command, input=data, capture_output=True, timeout=300, env=environment())


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(bbcompress.__file__).resolve().parents[1])}


def process_errors(result: subprocess.CompletedProcess[bytes]) -> list[str]:
    return [line for line in result.stderr.decode().splitlines() if not line.startswith(NOTICE)]


def test_through_pipes() -> None:
    model = ["-m", str(MODELS / "tiny-binary")]
    coded = process("compress", "-", *model, data=digit().read_bytes())
    assert (coded.returncode, len(process_errors(coded))) == (0, 1)
    decoded = process("decompress", "-", *model, "-q", shell="| cat", data=coded.stdout)
    assert (decoded.returncode, decoded.stderr) == (0, b"")
    assert read_image(decoded.stdout) == read_image(digit())


def test_names_that_a_stream_cannot_encode(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are escaped, and what was done counts."""
    put_digit("日本.png")
    assert run("compress", "日本.png", "日本.png", "-o", "日本.png").exit_code == 1
    archive_file("set.bbc", "日本.png")
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    listed = process("list", "set.bbc")
    assert (listed.returncode, process_errors(listed)) == (0, [])
    assert listed.stdout.endswith(rb"  \u65e5\u672c.png" + os.linesep.encode())
    coded = process("compress", "日本.png")
    assert (coded.returncode, process_errors(coded)) == (0, [])
    assert coded.stdout.startswith(rb"\u65e5\u672c.png -> \u65e5\u672c.bbc")
    shown = process("decompress", "日本.bbc", "-o", "-", "-q")
    assert read_image(shown.stdout) == read_image(digit())


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="needs names of any bytes")
def test_a_name_that_is_no_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    name = os.fsdecode(b"caf\xe9.png")
    put_digit(name)
    coded = process("compress", name)
    assert (coded.returncode, process_errors(coded)) == (0, [])
    assert coded.stdout.startswith(rb"caf\udce9.png -> caf\udce9.bbc")
    assert process("test", os.fsdecode(b"caf\xe9.bbc")).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("arguments", "shell", "reason"),
    [
        (["compress", "digit.png", "-q", "-o", "-"], "> /dev/full", "standard output cannot be written: No space left"),
        (["info", "digit.bbc"], "> /dev/full", "standard output cannot be written: No space left"),
        (["list", "digit.bbc"], "> /dev/full", "standard output cannot be written: No space left"),
        (["list", "digit.bbc", "--json"], "> /dev/full", "standard output cannot be written: No space left"),
        (["--help"], "> /dev/full", "standard output cannot be written: No space left"),
        (["compress", "--help"], "> /dev/full", "standard output cannot be written: No space left"),
        (["compress", "-"], "<&-", "standard input is closed"),
        (["decompress", "digit.bbc", "-o", "-"], ">&-", "standard output is closed"),
    ],
)
def test_streams_that_cannot_be_used(arguments: list[str], shell: str, reason: str) -> None:
    put_digit()
    lone_file()
    before = listing()
    result = process(*arguments, shell=shell)
    assert result.returncode == 1
    (line,) = process_errors(result)
    assert line.startswith("bbc: error: ")
    assert reason in line
    assert listing() == before


def test_variables_that_libraries_do_not_like(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says which library ends the command, or warns."""
    put_digit("photo.png")
    for name, value, status, line in (
        ("NUMBA_NUM_THREADS", "0", 1, "bbc: error: numba cannot be imported: ValueError: Number of threads"),
        ("NUMBA_CPU_FEATURES", "fast", 1, "bbc: error: NUMBA_CPU_FEATURES must be a list such as"),
        ("PILLOW_ALIGNMENT", "7", 0, "bbc: warning: PILLOW_ALIGNMENT: alignment should be"),
    ):
        monkeypatch.setenv(name, value)
        result = process("compress", "photo.png", "-f")
        monkeypatch.delenv(name)
        (found,) = process_errors(result)
        assert (result.returncode, found.startswith(line)) == (status, True), found


def open_for_reader(pipe: str) -> int:
    """A named pipe, open for writing once somebody reads it."""
    deadline = time.monotonic() + 300
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < deadline, "nobody reads the pipe"
            time.sleep(0.01)


def started(*arguments: str) -> subprocess.Popen[str]:
    """A process of bbc that signals can end, as they cannot where tests run in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "bbcompress", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def handles_signals(child: subprocess.Popen[str]) -> bool:
    """Whether a process of bbc has come to its commands; before, while Python starts, a signal just ends it."""
    status = Path(f"/proc/{child.pid}/status").read_text()
    caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(caught >> signal.SIGTERM - 1 & 1)


def temporary_files() -> list[Path]:
    return list(Path().rglob(".bbc-*"))


def check_interrupted(child: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send the signal; the process ends with its status and one line."""
    try:
        child.send_signal(number)
        out, err = child.communicate(timeout=300)
    finally:
        child.kill()
    lines = [line for line in err.splitlines() if not line.startswith(NOTICE)]
    assert (child.returncode, out, lines) == (128 + number, "", ["bbc: interrupted"])


needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes and signals")


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_interrupted(number: signal.Signals) -> None:
    """While an archive is being written: it waits for its second image, a pipe."""
    put_digit("a.png")
    os.mkfifo("b.png")
    child = started("compress", "a.png", "b.png", "-o", "set.bbc")
    pipe = open_for_reader("b.png")
    assert temporary_files()
    check_interrupted(child, number)
    os.close(pipe)
    assert set(listing()) == {"a.png", "b.png"}


def large_image(name: str) -> None:
    """Above the size that is stored in one piece, and too wide for WebP, so that no single call takes long."""
    noise = np.random.default_rng(0).integers(0, 256, (16_400, 1024), dtype=np.uint8)
    Image.fromarray(noise.reshape(1024, 16_400)).save(name, compress_level=0)


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_long_work_that_is_interrupted(number: signal.Signals) -> None:
    """Coding a large image: alone, and among others, whose archive is there already and stays as it was."""
    large_image("large.png")
    put_digit("digit.png")
    Path("old.bbc").write_bytes(b"old")
    before = set(listing())
    child = started("compress", "digit.png", "large.png", "-o", "old.bbc", "-f")
    wait_for(temporary_files)
    time.sleep(0.3)
    check_interrupted(child, number)
    assert set(listing()) == before
    assert Path("old.bbc").read_bytes() == b"old"
    child = started("compress", "large.png")
    if Path("/proc/self/status").exists():
        wait_for(lambda: handles_signals(child))
    time.sleep(0.8)
    check_interrupted(child, number)
    assert set(listing()) == before


@pytest.fixture(scope="module")
def large_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of a large image, which takes long to unpack."""
    folder = tmp_path_factory.mktemp("large")
    large_image(str(folder / "large.png"))
    with pytest.MonkeyPatch.context() as patch, open(folder / "large.bbc", "w+b") as file:
        patch.setenv("BBC_MODELS", str(MODELS))
        patch.setattr("bbcompress.models.zoo.shipped_model_folders", lambda: [])
        patch.setattr("bbcompress.codecs.fallback.items.BAND_PIXELS", 1 << 24)
        patch.setitem(CODECS, PNG, replace(CODECS[PNG], encode=lambda image: b"x" * 99_999_999))
        Compressor(Options(verify=False)).archive([("a/large.png", read_image(folder / "large.png"))], file)
    return folder / "large.bbc"


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("target", ["new", "deep/er", "old"])
def test_unpacking_that_is_interrupted(number: signal.Signals, target: str, large_archive: Path) -> None:
    Path("old").mkdir()
    before = set(listing())
    child = started("decompress", str(large_archive), "-o", target)
    wait_for(temporary_files)
    check_interrupted(child, number)
    assert set(listing()) == before


@pytest.mark.parametrize(("options", "expected"), [((), 8), (("-j", "0"), 8), (("-j", "1"), 1), (("-T", "3"), 3)])
def test_jobs_are_also_a_limit_of_threads(
    options: tuple[str, ...], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a command runs, and no longer."""
    monkeypatch.setattr("bbcompress.system.threads.processors", lambda: 8)
    found: list[int] = []

    def noting(function: Any) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            found.append(threads())
            return function(*args, **kwargs)

        return noted

    monkeypatch.setattr(Compressor, "lone", noting(Compressor.lone))
    monkeypatch.setattr(Reader, "each_content", noting(Reader.each_content))
    Image.new("L", (9, 7), 3).save(tmp_path / "image.png")
    assert run("compress", *options, str(tmp_path / "image.png")).exit_code == 0
    assert run("decompress", *options, "-f", str(tmp_path / "image.bbc")).exit_code == 0
    assert found == [expected, expected]
    assert threads() == 8
