"""Directories of images in a file of pixels: what is left out, what is held out, and what memory it takes."""

from __future__ import annotations

import errno
import gc
import os
import resource
import signal
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from bbcompress.api import pack
from bbcompress.cli import main
from bbcompress.errors import DataError
from bbcompress.training.architectures.local.network import Images, crops
from bbcompress.training.datasets import Dataset, binarise, load
from bbcompress.training.folder import Folder
from bbcompress.training.pixels import PackedImages, PixelFile


def write(folder: Path, name: str, *shape: int, levels: int = 256) -> None:
    random = np.random.default_rng(len(name) + sum(shape))
    pixels = random.integers(0, levels, shape) * (255 // (levels - 1))
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(folder / name)


def test_packed_images_are_those_that_were_written() -> None:
    random = np.random.default_rng(0)
    shapes: list[tuple[int, ...]] = [(5, 7), (4, 3, 3), (1, 1), (9, 2, 3), (1, 1, 3)]
    pictures = [random.integers(0, 256, shape).astype(np.uint8) for shape in shapes]
    file = PixelFile()
    starts = [file.append(picture) for picture in pictures]
    packed = PackedImages(file, starts, shapes)
    for images, expected in (
        (packed, pictures),
        (packed[1::2], pictures[1::2]),
        (packed[:1] + packed[4:], [pictures[0], pictures[4]]),
    ):
        assert len(images) == len(expected)
        assert all(np.array_equal(ours, its) for ours, its in zip(images, expected, strict=True))
    packed.let_go()
    assert np.array_equal(packed[3], pictures[3])
    assert not packed.flat.flags.owndata


@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_of_packed_images_are_those_of_images_in_memory(channels: int) -> None:
    random = np.random.default_rng(0)
    sizes = [(20, 9), (8, 8), (13, 30), (9, 11)]
    pictures = [random.integers(0, 256, (*size, channels)).astype(np.uint8) for size in sizes]
    file = PixelFile()
    shapes = [size if channels == 1 else (*size, channels) for size in sizes]
    packed = PackedImages(file, [file.append(picture) for picture in pictures], shapes)
    ours, its = Images(packed[::-1], 8), Images(pictures[::-1], 8)
    assert torch.equal(ours.tiles, its.tiles)
    found, expected = (crops(images, *images.locate(images.tiles, 8, None), 8) for images in (ours, its))
    assert torch.equal(found, expected)


def test_what_cannot_be_used_is_named_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(12):
        write(tmp_path, f"sub/{number:02}.png", 64, 70, 3)
    write(tmp_path, "grey.png", 80, 80)
    write(tmp_path, "alpha.png", 80, 80, 4)
    write(tmp_path, "small.png", 63, 200, 3)
    (tmp_path / "damaged.png").write_bytes(b"rubbish")
    (tmp_path / "notes.txt").write_text("not an image")
    data = load(str(tmp_path), "unused", any_size=True, leave_out=True)
    assert (len(data.train), len(data.test)) == (11, 1)
    assert data.channels == 3
    for name in ("grey.png", "alpha.png", "small.png", "damaged.png", "notes.txt"):
        assert name in caplog.text
    with pytest.raises(DataError):
        load(str(tmp_path), "unused", any_size=True)
    one = load(str(tmp_path), "unused", leave_out=True)
    assert one.shape == (64, 70, 3)


def test_few_images_have_one_held_out(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, f"{number}.png", 64, 64)
    data = load(str(tmp_path), "unused", any_size=True, leave_out=True)
    assert (len(data.train), len(data.test)) == (2, 1)
    assert np.array_equal(data.test[0], np.asarray(Image.open(tmp_path / "2.png")))
    with pytest.raises(DataError, match="at least 10"):
        load(str(tmp_path), "unused", any_size=True)
    (tmp_path / "1.png").unlink()
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError, match="1 image; at least 2 are needed"):
        load(str(tmp_path), "unused", any_size=True, leave_out=True)


def test_black_and_white(tmp_path: Path) -> None:
    for number in range(10):
        write(tmp_path, f"{number}.png", 8, 8, levels=2)
    assert Folder(tmp_path).is_binary
    write(tmp_path, "grey.png", 8, 8)
    assert not Folder(tmp_path).is_binary


def test_black_and_white_of_any_size(tmp_path: Path) -> None:
    for number in range(10):
        write(tmp_path, f"{number}.png", 64 + number, 70, levels=2)
    data = load(str(tmp_path), "unused", binary=True, any_size=True)
    assert data.binary
    assert isinstance(data.train, PackedImages)
    assert isinstance(data.test, PackedImages)
    for ours, number in zip([*data.train, *data.test], range(10), strict=True):
        assert np.array_equal(ours * 255, np.asarray(Image.open(tmp_path / f"{number}.png")))
    assert (data.train + data.test)[9].shape == (73, 70)  # they are in one file
    colours = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(DataError, match="only grey images can be made binary"):
        binarise(Dataset("colours", colours, colours))


class FullDisk:
    """A file on a disk with room for some bytes; it takes what fits, as a system does."""

    def __init__(self, room: int) -> None:
        self.room, self.closed = room, False

    def write(self, data: memoryview) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = min(self.room, len(data))
        self.room -= written
        return written

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("room", [0, 5, 64 * 70])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    for number in range(10):
        write(tmp_path / "images", f"{number}.png", 64, 70)
    file = FullDisk(room)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: file)
    monkeypatch.chdir(tmp_path)
    for words in (["images"], ["--data", "images", "--architecture", "local", "--any-size", "--minutes", "1"]):
        result = CliRunner().invoke(main, ["train", *words, "-o", "run"])
        assert (result.exit_code, result.stderr) == (
            1, "bbc: error: .: the pixels cannot be written there: No space left on device\n",
        )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_what_could_not_be_written_is_not_written_again(tmp_path: Path) -> None:
    """A file that is closed says nothing more."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    file = PixelFile(tmp_path)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
        with pytest.raises(DataError, match="cannot be written there: File too large"):
            file.append(np.zeros((10, 12), np.uint8))
        del file
        gc.collect()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)


def test_the_size_of_a_large_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        write(tmp_path, f"{number}.png", 100, 100, 3)
    told: list[str] = []
    Folder(tmp_path, tell=told.append, place=tmp_path)
    assert told == []
    monkeypatch.setattr("bbcompress.training.folder.LARGE", 100_000)
    before = set(tmp_path.iterdir())
    Folder(tmp_path, tell=told.append, place=tmp_path)
    (line,) = told
    assert "10 images" in line
    assert "0 MB" in line
    assert str(tmp_path) in line
    assert set(tmp_path.iterdir()) == before  # the file has no name


def test_memory_does_not_grow_with_the_directory(tmp_path: Path) -> None:
    """What is allocated for twice the images, from their files to tiles of them, is hardly more."""
    side, peaks = 256, []
    for count in (20, 40):
        folder = tmp_path / str(count)
        for number in range(count):
            write(folder, f"{number:03}.png", side, side, 3)
        tracemalloc.start()
        data = load(str(folder), "unused", any_size=True)
        images = Images(data.train, 64)
        for first in range(0, len(images.tiles), 16):
            rows = images.tiles[first : first + 16]
            crops(images, *images.locate(rows, 64, None), 64)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 5 * side * side * 3  # of 20 more images


@pytest.mark.usefixtures("no_models")
def test_an_archive_gives_the_images_of_the_directory_that_it_was_made_of(tmp_path: Path) -> None:
    for number in range(10):
        write(tmp_path / "set", f"{number}.png", 12 + number % 3, 11, 3)
    write(tmp_path / "set", "z.png", 9, 9)  # another kind: its group comes elsewhere in the archive
    (tmp_path / "set" / "alpha.png").write_bytes(b"")
    Image.new("RGBA", (3, 3), 7).save(tmp_path / "set" / "alpha.png")
    pack(str(tmp_path / "set"), tmp_path / "set.bbc", effort=1)
    arguments = ["compress", str(tmp_path / "set"), "-o", str(tmp_path / "shards"), "--shard-size", "500", "-q", "-1"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    before = set(tmp_path.rglob("*"))
    for path in (tmp_path / "set.bbc", tmp_path / "shards"):
        found, expected = (Folder(one, leave_out=True, place=tmp_path) for one in (path, tmp_path / "set"))
        assert [(image.name, image.shape) for image in found.images] == [
            (image.name, image.shape) for image in expected.images]  # fmt: skip
        for ours, its in zip(found.split(True), expected.split(True), strict=True):
            assert all(np.array_equal(*pair) for pair in zip(ours, its, strict=True))
        with pytest.raises(DataError, match=r"alpha\.png: not an 8-bit grey or RGB image \(mode RGBA\)"):
            Folder(path)
    assert set(tmp_path.rglob("*")) == before
    (tmp_path / "set.bbc").write_bytes((tmp_path / "set.bbc").read_bytes()[:-3])
    with pytest.raises(DataError, match=r"set\.bbc: "):
        Folder(tmp_path / "set.bbc")
