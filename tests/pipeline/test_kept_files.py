"""No file is larger than what came in: files that are kept as they are, by every door, and back under their names."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from PIL import Image

import bbcompress
from bbcompress.archive.container import ArchiveFile
from bbcompress.cli import main
from bbcompress.codecs.kept import SourceFile
from bbcompress.images.read import read_first, read_image
from bbcompress.pipeline import compressor, extraction
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.names import image_names
from bbcompress.pipeline.options import Item

TWO_FRAMES = (Path(__file__).resolve().parents[1] / "data" / "kept" / "two-frames.gif").read_bytes()
TIME = 1_000_000_000

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="bbc")


def succeed(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def write(name: str, form: str, mode: str = "RGB", side: int = 64, **options: Any) -> bytes:
    """An image file that is smaller than its pixels without loss, or not, by the format."""
    y, x = np.mgrid[0:side, 0:side]
    noise = np.random.default_rng(len(name)).normal(0, 12, (side, side, 3))
    waves = np.stack([128 + 90 * np.sin(x / 9), 128 + 90 * np.cos(y / 13), (x + y) % 256], 2)
    Path(name).parent.mkdir(exist_ok=True)
    image = Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8)).convert(mode)
    image.save(name, form, **options)
    os.utime(name, (TIME, TIME))
    return Path(name).read_bytes()


@pytest.mark.parametrize(
    "name", ["photo.jpg", "photo.JPG", "photo.jpeg", "two.dots.jpg", "photo", "wrong.png", "a.dat"]
)
def test_a_photograph_alone(name: str) -> None:
    data = write(name, "JPEG", quality=80)
    succeed("compress", name, "-o", "x.bbc")
    assert len(data) < Path("x.bbc").stat().st_size <= len(data) + 40
    succeed("decompress", "x.bbc")
    back = Path("x" + Path(name).suffix)
    assert back.read_bytes() == data and int(back.stat().st_mtime) == TIME
    succeed("test", "x.bbc")
    with bbcompress.open("x.bbc") as file:
        assert next(file.images())[1] == read_image(data)
    assert np.array_equal(bbcompress.decompress(Path("x.bbc").read_bytes()), read_image(data).pixels)
    if name == "wrong.png":
        return
    listed = json.loads(succeed("list", "--json", "x.bbc"))
    assert (listed[0]["coder"], listed[0]["mode"]) == ("kept JPEG", "RGB")
    assert f"kept as it is: JPEG, {len(data)} bytes" in succeed("info", "x.bbc")


def test_pixels_and_strip_code_the_pixels() -> None:
    data = write("a.jpg", "JPEG", quality=60, comment=b"hello")
    for option in ("--pixels", "--strip"):
        result = run("compress", "a.jpg", "-f", option)
        assert result.exit_code == 0 and "a JPEG's pixels are kept" in result.stderr
        assert Path("a.bbc").stat().st_size > len(data)
        succeed("decompress", "-f", "a.bbc")
        assert np.array_equal(read_image("a.png").pixels, read_image(data).pixels)


def test_other_kinds_may_be_asked_for_when_it_comes_back() -> None:
    data = write("a.jpg", "JPEG", quality=60, comment=b"hello")
    Path("b").mkdir()
    succeed("compress", "a.jpg", "-o", "b/a.bbc")
    assert "only the .bbc file has" not in succeed("decompress", "b/a.bbc", "-o", "b/a.png")
    assert read_image("b/a.png") == read_image(data)
    for name in ("b/other.jpeg", "b/no-suffix"):
        succeed("decompress", "b/a.bbc", "-o", name)
        assert Path(name).read_bytes() == data
    succeed("decompress", "b/a.bbc", "--strip", "-f")
    assert read_image("b/a.png") == read_image(data).without_metadata()
    assert not Path("b/a.jpg").exists()
    succeed("decompress", "b/a.bbc", "--format", "webp", "--strip")
    assert np.array_equal(read_image("b/a.webp").pixels, read_image(data).pixels)
    assert run("decompress", "b/a.bbc", "-o", "b/a.gif").exit_code == 1
    assert run("decompress", "b/a.bbc", "-c", "-q").stdout_bytes == data


def test_metadata_is_stripped_in_the_format_that_the_name_says() -> None:
    for name, form in (("a.webp", "WEBP"), ("b.jpg", "JPEG")):
        data = write(name, form, quality=60)
        succeed("compress", name, "-o", "x.bbc", "-f")
        out = f"out-{name}"
        result = run("decompress", "x.bbc", "--strip", "-o", out)
        if form == "JPEG":  # which is not written
            assert result.exit_code == 1 and "images are written as" in result.stderr and not Path(out).exists()
        else:
            assert read_image(out, formats=[form]) == read_image(data)


def test_kept_files_that_are_written_as_others_are_not_deleted() -> None:
    Path("two.gif").write_bytes(TWO_FRAMES)
    write("set/a.jpg", "JPEG", quality=60)
    for name in ("two.gif", "set"):
        succeed("compress", name, "-o", "x.bbc", "-f")
        result = run("decompress", "x.bbc", "--rm", "--format", "png", "-f")
        assert result.exit_code == 1 and "keeps the files of 1 image as they are" in result.stderr
        assert ("only the .bbc file has the further pictures of 1 image" in result.stderr) == (name == "two.gif")
        succeed("decompress", "x.bbc", "--rm", "-f")
        assert not Path("x.bbc").exists()


def test_a_file_named_as_one_of_bbc_comes_back_as_what_it_is() -> None:
    data = write("photo.bbc", "JPEG", quality=60)
    succeed("compress", "photo.bbc", "-o", "x.bbc")
    succeed("decompress", "x.bbc")
    assert Path("x.jpg").read_bytes() == data


def test_kept_files_of_many_suffixes_share_one_list_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    data = write("photo.jpg", "JPEG", side=16, quality=30)
    images = [Item(f"scan.{number:04}", read_image(data), None, SourceFile(data, True)) for number in range(40)]
    with open("x.bbc", "wb") as file:
        Compressor().archive(images, file)
    count: Counter[str] = Counter()

    def counted(name: str, function: Any) -> Any:
        def call(*given: Any) -> Any:
            count[name] += 1
            return function(*given)

        return call

    monkeypatch.setattr(extraction, "image_names", counted("lists", image_names))
    monkeypatch.setattr(ArchiveFile, "read_group", counted("groups", ArchiveFile.read_group))
    written = bbcompress.extract("x.bbc", "out")
    assert [path.name for path in written] == [item.name for item in images]
    assert {path.read_bytes() for path in written} == {data}
    assert 0 < count["lists"] <= 2 and 0 < count["groups"] <= 3


def test_groups_are_as_long_as_those_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    data = write("plain.png", "PNG", side=16)
    image = read_image(data)
    monkeypatch.setattr(compressor, "GROUP_SUBPIXELS", 4 * image.samples)
    for file in (None, SourceFile(data)):
        out = io.BytesIO()
        Compressor().archive([Item(None, image, None, file)] * 8, out)
        assert len(Compressor().reader(out).groups) == 2
    monkeypatch.setattr(compressor, "GROUP_SUBPIXELS", 4 * len(TWO_FRAMES))  # which has fewer pixels
    out = io.BytesIO()
    Compressor().archive([Item(None, read_first(TWO_FRAMES, "it")[0], None, SourceFile(TWO_FRAMES, True))] * 8, out)
    assert len(Compressor().reader(out).groups) == 2


def folder() -> dict[str, bytes]:
    """Files of many kinds by their names."""
    files = {
        "set/photo.JPG": write("set/photo.JPG", "JPEG", quality=80),
        "set/small.webp": write("set/small.webp", "WEBP", quality=50),
        "set/two.gif": TWO_FRAMES,
        "set/plain.png": write("set/plain.png", "PNG"),
        "set/exact.webp": write("set/exact.webp", "WEBP", lossless=True),
        "set/scan.tif": write("set/scan.tif", "TIFF", mode="L"),
        "set/indexed.bmp": write("set/indexed.bmp", "BMP", mode="L"),
    }
    Path("set/two.gif").write_bytes(TWO_FRAMES)
    os.utime("set/two.gif", (TIME, TIME))
    return files


def test_archives_give_the_very_files_and_the_formats_back() -> None:
    files = folder()
    result = run("compress", "set", "-o", "set.bbc")
    assert result.exit_code == 0 and "two.gif has 2 pictures and is kept as it is" in result.stderr
    assert Path("set.bbc").stat().st_size < sum(map(len, files.values()))
    assert set(bbcompress.extract("set.bbc", "out")) == {Path("out") / Path(name).name for name in files}
    for name, data in files.items():
        back = Path("out") / Path(name).name
        assert int(back.stat().st_mtime) == TIME
        if Path(name).stem in ("photo", "small", "two"):
            assert back.read_bytes() == data
        else:
            assert read_image(back) == read_image(data)
            assert read_image(back, formats=[Image.open(io.BytesIO(data)).format or ""])
    with bbcompress.open("set.bbc") as archive:
        assert archive["two.gif"] == read_first(TWO_FRAMES, "it")[0]
        assert archive["photo.JPG"] == read_image("set/photo.JPG")
    succeed("test", "set.bbc")
    assert "kept WEBP" in succeed("list", "set.bbc")
    succeed("decompress", "set.bbc", "-o", "pngs", "--format", "png")
    assert {path.suffix for path in Path("pngs").iterdir()} == {".png"}
    assert run("decompress", "set.bbc", "-o", "out").exit_code == 1  # they are there


def test_added_files_and_their_removal() -> None:
    write("first.png", "PNG")
    succeed("compress", "first.png", "-o", "set.bbc", "--pixels")
    Path("one").mkdir()
    write("one/first.png", "PNG")
    bbcompress.pack("one", "grown.bbc")
    data = write("more.jpg", "JPEG", quality=70)
    succeed("add", "grown.bbc", "more.jpg")
    succeed("decompress", "grown.bbc", "-o", "out", "--only", "more*")
    assert Path("out/more.jpg").read_bytes() == data
    succeed("compress", "more.jpg", "--rm")
    assert not Path("more.jpg").exists()
    succeed("decompress", "more.bbc", "--rm")
    assert Path("more.jpg").read_bytes() == data and not Path("more.bbc").exists()


def test_what_is_damaged_is_not_kept() -> None:
    data = write("cut.jpg", "JPEG", quality=80)
    Path("cut.jpg").write_bytes(data[: len(data) // 2])
    result = run("compress", "cut.jpg")
    assert result.exit_code == 1 and "cut.jpg" in result.stderr and not Path("cut.bbc").exists()


def test_damage_to_kept_files_is_found_and_the_others_come_out() -> None:
    folder()
    succeed("compress", "set", "-o", "set.bbc")
    data = Path("set.bbc").read_bytes()
    place = data.index(TWO_FRAMES) + 20
    Path("bad.bbc").write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    assert run("test", "bad.bbc").exit_code == 1
    assert run("decompress", "bad.bbc", "-o", "out").exit_code == 1 and not Path("out").exists()
    assert run("decompress", "bad.bbc", "-o", "out", "--keep-going").exit_code == 1
    assert Path("out/plain.png").exists() and not Path("out/two.gif").exists()
    Path("headless.bbc").write_bytes(data[:-60])  # without an index: the files have numbers for names
    run("decompress", "headless.bbc", "-o", "numbers", "--keep-going")
    assert {path.suffix for path in Path("numbers").iterdir()} >= {".jpg", ".webp", ".gif", ".png"}


def test_from_python() -> None:
    data = write("a.jpg", "JPEG", quality=80)
    made = bbcompress.compress("a.jpg")
    assert len(made) <= len(data) + 40
    Path("a.bbc").write_bytes(made)
    Path("out").mkdir()
    assert bbcompress.extract("a.bbc", "out")[0].read_bytes() == data
    with pytest.warns(UserWarning, match="a JPEG's pixels are kept"):
        pixels = bbcompress.compress(Path("a.jpg"), pixels=True)
    for big in (pixels, bbcompress.compress(read_image("a.jpg"))):
        assert len(big) > len(data)
        assert np.array_equal(bbcompress.decompress(big), read_image(data).pixels)
    summary = bbcompress.pack("a.jpg", "b.bbc")
    assert summary.coders == {"kept JPEG": 1} and summary.kept == [0]


def test_the_limit_of_pixels_holds_for_kept_files() -> None:
    write("a.jpg", "JPEG", quality=80)
    succeed("compress", "a.jpg")
    for command in (["decompress", "a.bbc", "-o", "b.jpg"], ["test", "a.bbc"]):
        result = run(*command, "--max-pixels", "4095")
        assert result.exit_code == 1 and result.stderr.endswith("limit of 4095 pixels\n")


def test_lone_images_come_back_in_their_format() -> None:
    for name, form in (("a.webp", "WEBP"), ("b.tif", "TIFF"), ("c.png", "PNG")):
        data = write(name, form, lossless=True) if form == "WEBP" else write(name, form)
        os.rename(name, f"source-{name}")
        succeed("compress", f"source-{name}", "-o", f"{Path(name).stem}.bbc")
        succeed("decompress", f"{Path(name).stem}.bbc")
        assert read_image(name, formats=[form]) == read_image(data)
