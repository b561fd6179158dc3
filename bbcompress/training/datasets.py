"""Data sets as uint8 numpy arrays: MNIST, CIFAR-10 and directories of grey images."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import logging
import os
import struct
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bbcompress.errors import DataError
from bbcompress.system.storage import Place, place_of
from bbcompress.training.checkpoints.atomic import replacing
from bbcompress.training.folder import Folder
from bbcompress.training.pixels import PackedImages, Pixels

_log = logging.getLogger(__name__)

MNIST_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_SHA256 = {  # of the uncompressed file
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
}
DOWNLOAD_TIMEOUT = 30.0  # seconds without a byte
MAX_FILE = 1 << 26  # bytes; no file of MNIST comes near it
BINARY_THRESHOLD = 127
LEAST_SIDE = 64
"""Of images of any size: that of the tiles that models of them are trained on."""


@dataclass(frozen=True)
class Dataset:
    """Training and held-out images.

    Attributes:
        train, test: uint8, (N, H, W) for grey and binary images, (N, H, W, 3) for colour; of images of any size
            sequences of (H, W) or (H, W, 3).
        binary: the pixels are 0 and 1 (else levels 0..255).
    """

    name: str
    train: Pixels | Sequence[Pixels]
    test: Pixels | Sequence[Pixels]
    binary: bool = False

    @property
    def any_size(self) -> bool:
        """Whether the images differ in size."""
        return not isinstance(self.train, np.ndarray)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image, the first one where they differ."""
        return self.train[0].shape

    @property
    def channels(self) -> int:
        """3 for colour, else 1."""
        return 3 if len(self.shape) == 3 else 1


def load(
    name_or_dir: str,
    data_dir: str | Path,
    binary: bool = False,
    quiet: bool = False,
    any_size: bool = False,
    grey: bool = False,
    leave_out: bool = False,
    place: Path | None = None,
) -> Dataset:
    """Read `mnist` (from data_dir, downloaded when it is not there), `cifar10` (from data_dir), or a directory or
    archive of images.

    Args:
        binary: x = 1 where the grey level is above 127, else 0.
        any_size: the directory's images may differ in size.
        grey: colour images of a directory become grey.
        leave_out: images of a directory that cannot be used are left out and named.
        place: where the pixels of a directory's images lie meanwhile; None is the system's temporary folder.

    Raises:
        DataError: the data cannot be found, read or used.
    """
    if name_or_dir == "mnist":
        data = load_mnist(data_dir, quiet)
    elif name_or_dir == "cifar10":
        data = load_cifar10(data_dir)
    else:
        data = load_directory(place_of(name_or_dir), any_size, grey, leave_out, place, None if quiet else _log.warning)
    return binarise(data) if binary else data


def binarise(data: Dataset) -> Dataset:
    """The same images with pixels 1 where the level is above 127, else 0.

    Raises:
        DataError: they have colours, or the file of their pixels cannot be written.
    """
    if data.channels != 1:
        raise DataError(f"{data.name}: only grey images can be made binary (--grey makes colour images grey)")
    train, test = data.train, data.test
    if isinstance(train, PackedImages) and isinstance(test, PackedImages):
        both = (train + test).mapped(_above_threshold)  # in one file
        return Dataset(data.name, both[: len(train)], both[len(train) :], binary=True)
    return Dataset(data.name, _above_threshold(np.asarray(train)), _above_threshold(np.asarray(test)), binary=True)


def _above_threshold(pixels: Pixels) -> Pixels:
    return (pixels > BINARY_THRESHOLD).astype(np.uint8)


# --- MNIST ---------------------------------------------------------------------------------------


def load_mnist(data_dir: str | Path, quiet: bool = False) -> Dataset:
    """MNIST in LeCun's IDX layout, (60000, 28, 28) and (10000, 28, 28) grey.

    Looked for, with or without .gz, in data_dir, data_dir/mnist and data_dir/MNIST/raw. What is missing is downloaded
    into data_dir/mnist from BBC_MNIST_MIRROR or a public mirror, and its SHA-256 checked.

    Raises:
        DataError: the data cannot be read.
    """
    root = Path(data_dir)
    train, test = (read_idx(_find_mnist(root, name) or _download_mnist(root, name, quiet)) for name in MNIST_SHA256)
    if train.shape[1:] != test.shape[1:]:
        raise DataError(f"{root}: MNIST's training and test images differ in size")
    return Dataset("mnist", train, test)


def read_idx(path: Path) -> Pixels:
    """Images of an IDX file of unsigned bytes in three dimensions, gzipped if the name ends in .gz."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = _gunzip(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if len(content) < 16 or content[:4] != b"\0\0\x08\x03":
        raise DataError(f"{path}: not an IDX file of images")
    n, height, width = struct.unpack(">3I", content[4:16])
    if len(content) != 16 + n * height * width or not n * height * width:
        raise DataError(f"{path}: {len(content)} bytes do not hold {n} images of {width}x{height}")
    return np.frombuffer(content, np.uint8, offset=16).reshape(n, height, width)


def _gunzip(content: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise OSError(f"more than {MAX_FILE} bytes")
    return data


def _find_mnist(root: Path, name: str) -> Path | None:
    for folder in (root, root / "mnist", root / "MNIST" / "raw"):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def _download_mnist(root: Path, name: str, quiet: bool) -> Path:
    """Download one file into root/mnist; it has its name only once it is whole and correct."""
    mirror = os.environ.get("BBC_MNIST_MIRROR") or MNIST_MIRROR
    url = f"{mirror.rstrip('/')}/{name}.gz"
    folder = root / "mnist"
    try:
        content = _fetch(url, quiet)
        digest = hashlib.sha256(_gunzip(content)).hexdigest()
        if digest != MNIST_SHA256[name]:
            raise OSError(f"wrong checksum {digest}")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.gz"
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except (OSError, EOFError, ValueError, zlib.error, http.client.HTTPException) as error:
        wanted = " and ".join(f"{file}.gz" for file in MNIST_SHA256)
        raise DataError(f"MNIST: {url} failed ({error}); put {wanted} into {folder}") from error
    return path


def _fetch(url: str, quiet: bool) -> bytes:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    chunks: list[bytes] = []
    size = 0
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        console=console, disable=quiet or not console.is_terminal,
    )  # fmt: skip
    with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT) as reply, bar:
        length = reply.headers.get("Content-Length", "")
        task = bar.add_task(url.rsplit("/", 1)[-1], total=int(length) if length.isdigit() else None)
        while chunk := reply.read(1 << 16):
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_FILE:
                raise OSError(f"more than {MAX_FILE} bytes")
            bar.update(task, completed=size)
    return b"".join(chunks)


# --- CIFAR-10 ------------------------------------------------------------------------------------


def load_cifar10(data_dir: str | Path) -> Dataset:
    """CIFAR-10 in its binary layout, (50000, 32, 32, 3) and (10000, 32, 32, 3), RGB.

    Looked for in data_dir and data_dir/cifar-10-batches-bin.

    Raises:
        DataError: the data cannot be read.
    """
    root = Path(data_dir)
    folder = next((f for f in (root, root / "cifar-10-batches-bin") if (f / "test_batch.bin").is_file()), None)
    if folder is None:
        wanted = "data_batch_1.bin ... data_batch_5.bin and test_batch.bin"
        raise DataError(f"CIFAR-10 is not here: put {wanted} into {root / 'cifar-10-batches-bin'}")
    train = np.concatenate([read_cifar10(folder / f"data_batch_{i}.bin") for i in range(1, 6)])
    return Dataset("cifar10", train, read_cifar10(folder / "test_batch.bin"))


def read_cifar10(path: Path) -> Pixels:
    """Images (N, 32, 32, 3) of one file of CIFAR-10's binary layout: a label byte, then 3 planes each."""
    try:
        rows = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if not len(rows) or len(rows) % 3073:
        raise DataError(f"{path}: {len(rows)} bytes are not rows of 3073")
    planes = rows.reshape(-1, 3073)[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


# --- A directory of images -----------------------------------------------------------------------


def load_directory(
    folder: Place,
    any_size: bool = False,
    grey: bool = False,
    leave_out: bool = False,
    place: Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> Dataset:
    """The images of a directory or archive, every 10th of them held out; see `Folder`.

    Args:
        any_size: they may differ in size; then their pixels stay in a file.
        grey, leave_out, place, tell: see `Folder`.

    Raises:
        DataError: a missing directory, too few images, an image that cannot be read or is of another kind, mixed sizes
            (unless asked for) and mixed kinds, or the file of pixels cannot be written.
    """
    return of_folder(Folder(folder, grey, leave_out, place, tell), any_size)


def of_folder(found: Folder, any_size: bool) -> Dataset:
    """The data set of a directory's images.

    Raises:
        DataError: too few images, or images of different sizes where that is not asked for.
    """
    train, test = found.split(any_size, LEAST_SIDE)
    return Dataset(found.name, train, test)
