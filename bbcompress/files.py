"""Files and folders: what to read, where to write, and writing so that nothing half-done is ever left."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from bbcompress.errors import BBCError, ImageError, OutputExistsError

SUFFIX = ".bbc"
STANDARD_STREAM = "-"
IMAGE_SUFFIXES = {".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".jpg", ".jpeg"}


def find_images(inputs: Sequence[str]) -> list[tuple[str, Path]]:
    """Name in the archive and path of every image of the inputs: files as they are, folders walked in sorted order.

    A file given by itself is named by its own name, one in a folder by its path relative to it.

    Raises:
        ImageError: an input does not exist, or a folder holds no image.
    """
    found: list[tuple[str, Path]] = []
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            inside = [p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
            if not inside:
                raise ImageError(f"{name}: there is no image in this folder")
            found += sorted((p.relative_to(path).as_posix(), p) for p in inside)
        elif path.exists():
            found.append((path.name, path))
        else:
            raise ImageError(f"{name}: no such file")
    return found


def refuse_existing(path: Path, force: bool) -> None:
    """Raises OutputExistsError if something is there that may not be overwritten."""
    if path.is_dir():
        raise OutputExistsError(f"{path} is a folder")
    if not force and (path.exists() or path.is_symlink()):
        raise OutputExistsError(f"{path} exists; --force overwrites it")


@contextmanager
def new_file(path: Path, force: bool) -> Iterator[BinaryIO]:
    """A binary file that gets its name when the block ends well, and is gone when it does not.

    Raises:
        OutputExistsError: as `refuse_existing`. BBCError: it cannot be written.
    """
    refuse_existing(path, force)
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            refuse_existing(path, force)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BBCError(f"{path}: cannot be written: {error.strerror or error}") from None


def write_file(path: Path, data: bytes, force: bool) -> None:
    """Write a whole file under the rules of `new_file`."""
    with new_file(path, force) as file:
        file.write(data)


class NewFolder:
    """Files for a folder, none of which is there before all of them are.

    They are written into a folder beside it, which is renamed if the folder is new; else each is moved in.
    """

    def __init__(self, folder: Path, force: bool) -> None:
        """Raises OutputExistsError if `folder` is a file."""
        if folder.exists() and not folder.is_dir():
            raise OutputExistsError(f"{folder} is a file, not a folder")
        self._folder, self._force = folder, force
        self._written: list[PurePosixPath] = []

    def __enter__(self) -> NewFolder:
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            self._staging = Path(
                tempfile.mkdtemp(prefix=f".{self._folder.name}.", suffix=".tmp", dir=self._folder.parent)
            )
        except OSError as error:
            raise BBCError(f"{self._folder}: cannot be written: {error.strerror or error}") from None
        return self

    def check(self, names: Sequence[str]) -> None:
        """Raises OutputExistsError if one of the files exists and may not be overwritten."""
        for name in names:
            refuse_existing(self._folder / name, self._force)

    def write(self, name: str, data: bytes) -> None:
        """Add a file; `name` is a relative path that the archive has checked. Raises BBCError."""
        path = self._staging / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise BBCError(f"{self._folder / name}: cannot be written: {error.strerror or error}") from None
        self._written.append(PurePosixPath(name))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._publish()
        finally:
            shutil.rmtree(self._staging, ignore_errors=True)

    def _publish(self) -> None:
        try:
            if not self._folder.exists():
                os.chmod(self._staging, 0o777 & ~_umask())
                os.replace(self._staging, self._folder)
                return
            root = self._folder.resolve()
            for name in self._written:
                target = self._folder / name
                refuse_existing(target, self._force)
                target.parent.mkdir(parents=True, exist_ok=True)
                if root not in (target.parent.resolve(), *target.parent.resolve().parents):
                    raise BBCError(f"{target} is outside of {self._folder} (a symbolic link)")
                os.replace(self._staging / name, target)
        except OSError as error:
            raise BBCError(f"{self._folder}: cannot be written: {error.strerror or error}") from None


def image_names(names: Sequence[str | None], suffix: str = ".png") -> list[str]:
    """A file name with the suffix for each image of an archive, all of them distinct: `a.jpg` becomes `a.png`, or
    `a.jpg.png` where there is an `a.png`; images without a name are numbered."""
    digits = max(5, len(str(len(names))))
    wanted = [f"{number:0{digits}}" if name is None else name for number, name in enumerate(names)]
    taken = {name.lower() for name in wanted if name.lower().endswith(suffix)}
    result = []
    for name in wanted:
        if not name.lower().endswith(suffix):
            short = str(PurePosixPath(name).with_suffix(suffix))
            name = short if short.lower() not in taken else name + suffix
            taken.add(name.lower())
        result.append(name)
    return result


def open_input(name: str) -> BinaryIO:
    """A seekable binary file; - is stdin. Raises OSError."""
    return io.BytesIO(read_standard_input()) if name == STANDARD_STREAM else Path(name).open("rb")


def read_standard_input() -> bytes:
    """All of stdin."""
    return sys.stdin.buffer.read()


def write_standard_output(data: bytes) -> None:
    """Bytes to stdout. Raises BBCError where it cannot be written."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise BBCError(f"standard output cannot be written: {error.strerror or error}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
