from __future__ import annotations

import gzip
import hashlib
import struct
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bbcompress.errors import DataError
from bbcompress.training import datasets
from bbcompress.training.pixels import PackedImages

TRAIN, TEST = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"


def idx(n: int) -> bytes:
    pixels = np.random.default_rng(n).integers(0, 256, (n, 4, 3), dtype=np.uint8)
    return b"\0\0\x08\x03" + struct.pack(">3I", n, 4, 3) + pixels.tobytes()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that a server on the loopback address gives out as the mirror: tiny files."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name, n in ((TRAIN, 7), (TEST, 2)):
        (folder / f"{name}.gz").write_bytes(gzip.compress(idx(n)))
        monkeypatch.setitem(datasets.MNIST_SHA256, name, hashlib.sha256(idx(n)).hexdigest())
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("BBC_MNIST_MIRROR", f"http://127.0.0.1:{server.server_port}")
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror where nothing listens."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), QuietHandler)
    monkeypatch.setenv("BBC_MNIST_MIRROR", f"http://127.0.0.1:{server.server_port}/")
    server.server_close()


@pytest.mark.parametrize("folder", [".", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.usefixtures("no_mirror")
def test_mnist_is_found(tmp_path: Path, folder: str, suffix: str) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name, n in ((TRAIN, 7), (TEST, 2)):
        content = gzip.compress(idx(n)) if suffix else idx(n)
        (tmp_path / folder / (name + suffix)).write_bytes(content)
    data = datasets.load("mnist", tmp_path)
    assert isinstance(data.train, np.ndarray) and isinstance(data.test, np.ndarray)
    assert data.train.shape == (7, 4, 3)
    assert data.test.shape == (2, 4, 3)
    assert data.train.tobytes() == idx(7)[16:]
    binary = datasets.load("mnist", tmp_path, binary=True)
    assert binary.binary
    assert isinstance(binary.train, np.ndarray)
    assert np.array_equal(binary.train, data.train > 127)
    assert binary.train.dtype == np.uint8


def test_mnist_is_downloaded_once(tmp_path: Path, mirror: Path) -> None:
    data = datasets.load("mnist", tmp_path / "data")
    assert (len(data.train), len(data.test)) == (7, 2)
    assert {p.name for p in (tmp_path / "data" / "mnist").iterdir()} == {f"{TRAIN}.gz", f"{TEST}.gz"}
    for path in mirror.iterdir():
        path.unlink()
    assert len(datasets.load("mnist", tmp_path / "data").train) == 7


@pytest.mark.parametrize("content", [gzip.compress(idx(8)), gzip.compress(idx(7))[:-9], b"not gzip", b""])
def test_a_wrong_download_leaves_nothing(tmp_path: Path, mirror: Path, content: bytes) -> None:
    (mirror / f"{TRAIN}.gz").write_bytes(content)
    with pytest.raises(DataError) as error:
        datasets.load("mnist", tmp_path / "data")
    assert "\n" not in str(error.value)
    assert f"put {TRAIN}.gz and {TEST}.gz into {tmp_path / 'data' / 'mnist'}" in str(error.value)
    assert not [p for p in (tmp_path / "data").rglob("*") if p.is_file()]


@pytest.mark.usefixtures("no_mirror")
def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"put {TRAIN}.gz and {TEST}.gz into") as error:
        datasets.load("mnist", tmp_path)
    assert "\n" not in str(error.value)


def test_a_missing_file_on_the_mirror(tmp_path: Path, mirror: Path) -> None:
    (mirror / f"{TEST}.gz").unlink()
    with pytest.raises(DataError, match="404"):
        datasets.load("mnist", tmp_path / "data")


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x01" + bytes(20), idx(3)[:-1], idx(3) + b"x", idx(0)])
def test_damaged_idx(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "file.gz").write_bytes(content)
    for name in ("file", "file.gz"):
        with pytest.raises(DataError):
            datasets.read_idx(tmp_path / name)


def test_directory(images: Path) -> None:
    (images / "notes.txt").write_text("not an image")
    data = datasets.load(str(images), "unused")
    assert data.name == "images"
    assert isinstance(data.train, np.ndarray) and isinstance(data.test, np.ndarray)
    assert (data.any_size, data.channels, data.shape) == (False, 1, (6, 5))
    assert data.train.shape == (27, 6, 5)
    assert data.test.shape == (3, 6, 5)
    assert np.array_equal(data.test[0], np.asarray(Image.open(images / "09.png")))
    assert np.array_equal(data.train[9], np.asarray(Image.open(images / "10.png")))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("L", (6, 6)), "different sizes"),
        (Image.new("RGB", (5, 6)), "grey"),
        (Image.new("I;16", (5, 6)), "mode I;16"),
        (Image.new("RGBA", (5, 6)), "mode RGBA"),
        (Image.new("P", (5, 6)), "mode P"),
        (None, "not an image of a known format"),
    ],
)
def test_directory_with_a_wrong_image(images: Path, image: Image.Image | None, message: str) -> None:
    if image is None:
        (images / "50.png").write_bytes(b"rubbish")
    else:
        image.save(images / "50.png")
    with pytest.raises(DataError, match=message) as error:
        datasets.load(str(images), "unused")
    assert "50.png" in str(error.value)
    assert "\n" not in str(error.value)


def write_colours(folder: Path, *sizes: tuple[int, int]) -> None:
    """30 RGB images, in turn of these sizes (height, width)."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    for i in range(30):
        pixels = random.integers(0, 256, (*sizes[i % len(sizes)], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")


def test_directory_of_colours(tmp_path: Path) -> None:
    write_colours(tmp_path, (6, 5))
    data = datasets.load(str(tmp_path), "unused")
    assert isinstance(data.train, np.ndarray)
    assert (data.train.shape, data.channels, data.any_size) == ((27, 6, 5, 3), 3, False)
    assert np.array_equal(data.test[1], np.asarray(Image.open(tmp_path / "19.png")))
    with pytest.raises(DataError, match="binary"):
        datasets.load(str(tmp_path), "unused", binary=True)
    grey = datasets.load(str(tmp_path), "unused", grey=True)
    assert (grey.shape, grey.channels) == ((6, 5), 1)
    assert np.array_equal(grey.test[1], np.asarray(Image.open(tmp_path / "19.png").convert("L")))
    assert datasets.load(str(tmp_path), "unused", binary=True, grey=True).binary


def test_directory_of_any_sizes(tmp_path: Path) -> None:
    write_colours(tmp_path, (6, 5), (9, 2), (1, 1))
    with pytest.raises(DataError, match="different sizes"):
        datasets.load(str(tmp_path), "unused")
    data = datasets.load(str(tmp_path), "unused", any_size=True)
    assert isinstance(data.train, PackedImages) and isinstance(data.test, PackedImages)
    assert (data.any_size, data.channels, len(data.train), len(data.test)) == (True, 3, 27, 3)
    assert [image.shape for image in data.train[:4]] == [(6, 5, 3), (9, 2, 3), (1, 1, 3), (6, 5, 3)]
    assert np.array_equal(data.test[2], np.asarray(Image.open(tmp_path / "29.png")))
    assert {image.ndim for image in datasets.load(str(tmp_path), "unused", any_size=True, grey=True).train} == {2}
    assert datasets.load(str(tmp_path), "unused", binary=True, any_size=True, grey=True).binary
    with pytest.raises(DataError, match="only grey"):
        datasets.load(str(tmp_path), "unused", binary=True, any_size=True)
    Image.new("L", (5, 6)).save(tmp_path / "50.png")
    with pytest.raises(DataError, match="mixed"):
        datasets.load(str(tmp_path), "unused", any_size=True)


def test_directory_is_walked_as_compress_does_it(images: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Folders below it are read, too; what is left out is told."""
    (images / "more").mkdir()
    Image.new("L", (5, 6), 7).save(images / "more" / "last.bmp")
    (images / "notes.txt").write_text("not an image")
    data = datasets.load(str(images), "unused")
    assert data.train.shape == (28, 6, 5)  # type: ignore[union-attr]
    assert (data.train[-1] == 7).all()
    assert "notes.txt" in caplog.text


def test_no_directory_no_images_few_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such"):
        datasets.load(str(tmp_path / "none"), "unused")
    with pytest.raises(DataError, match="no image in this folder"):
        datasets.load(str(tmp_path), "unused")
    Image.new("L", (5, 5)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="at least 10"):
        datasets.load(str(tmp_path), "unused")


def test_cifar10(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 2, 32, 32, 3), dtype=np.uint8)
    for i, name in enumerate([f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]):
        rows = np.concatenate([np.full((2, 1), i, np.uint8), images[i].transpose(0, 3, 1, 2).reshape(2, -1)], 1)
        rows.tofile(folder / f"{name}.bin")
    data = datasets.load_cifar10(tmp_path)
    assert np.array_equal(data.train, images[:5].reshape(10, 32, 32, 3))
    assert np.array_equal(data.test, images[5])
    (folder / "data_batch_2.bin").write_bytes(b"short")
    with pytest.raises(DataError, match="data_batch_2"):
        datasets.load_cifar10(tmp_path)
    with pytest.raises(DataError, match="put data_batch_1"):
        datasets.load_cifar10(tmp_path / "none")
