"""Files and folders: what to read, where to write, and writing so that nothing half-done is ever left."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NoReturn

from bbcompress.errors import BBCError, ImageError, OutputExistsError
from bbcompress.signals import held_back

SUFFIX = ".bbc"
STANDARD_STREAM = "-"
MAX_NAMES = 1 << 22
_TEMPORARY = ".bbc-"
IMAGE_SUFFIXES = {".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".jpg", ".jpeg"}


def find_images(inputs: Sequence[str]) -> list[tuple[str, Path]]:
    """Name in the archive and path of every image of the inputs: files as they are, folders walked in sorted order.

    A file given by itself is named by its own name, one in a folder by its path relative to it.

    Raises:
        ImageError: an input does not exist, or a folder cannot be read or holds no image.
    """
    found: list[tuple[str, Path]] = []
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            inside = [p for p in _walk(path) if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
            if not inside:
                raise ImageError(f"{name}: there is no image in this folder")
            found += sorted((p.relative_to(path).as_posix(), p) for p in inside)
        elif path.exists():
            found.append((path.name, path))
        else:
            raise ImageError(f"{name}: no such file")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    """The files in a folder and those below it. Raises ImageError where one cannot be listed: none is left out."""

    def fail(error: OSError) -> NoReturn:
        raise ImageError(f"{error.filename}: cannot be read: {error.strerror or error}")

    for place, _, files in os.walk(folder, onerror=fail):
        yield from (Path(place) / name for name in files)


def refuse_existing(path: Path, force: bool) -> None:
    """Raises OutputExistsError if something is there that may not be overwritten, a folder or device even by force."""
    if path.is_dir():
        raise OutputExistsError(f"{path} is a folder")
    if path.exists() and not path.is_file():
        raise OutputExistsError(f"{path} is not a regular file")
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
        temporary = None
        try:
            with held_back():
                descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY, suffix=".tmp", dir=path.parent)
            with os.fdopen(descriptor, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            refuse_existing(path, force)
            os.replace(temporary, path)
        except BaseException:
            if temporary is not None:
                with held_back():
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

    They are written into a folder beside it, which is renamed; where the folder exists, into one inside it (beside
    it may be another file system), and each is moved in.
    """

    def __init__(self, folder: Path, force: bool) -> None:
        """Raises OutputExistsError if `folder` is a file."""
        if folder.exists() and not folder.is_dir():
            raise OutputExistsError(f"{folder} is a file, not a folder")
        self._folder, self._force = folder, force
        self._written: list[PurePosixPath] = []
        self._made: list[Path] = []
        self._temporary: list[Path] = []

    def __enter__(self) -> NewFolder:
        try:
            place = self._folder if self._folder.is_dir() else self._folder.parent
            with held_back():
                self._make_folders(place)
                self._staging = Path(tempfile.mkdtemp(prefix=_TEMPORARY, suffix=".tmp", dir=place))
                self._temporary.append(self._staging)
        except BaseException as error:
            self._clean_up()
            if not isinstance(error, OSError):
                raise
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
            with path.open("xb") as file:
                file.write(data)
        except OSError as error:
            raise BBCError(f"{self._folder / name}: cannot be written: {error.strerror or error}") from None
        self._written.append(PurePosixPath(name))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                with held_back():  # all files appear or none
                    self._publish()
                    self._made = []
        finally:
            self._clean_up()

    def _publish(self) -> None:
        try:
            if not self._folder.exists():
                os.chmod(self._staging, 0o777 & ~_umask())
                os.replace(self._staging, self._folder)
                return
            root = self._folder.resolve()
            targets = [self._folder / name for name in self._written]
            for target in targets:  # all of them, before the first is moved or a folder is made
                refuse_existing(target, self._force)
                place = target.parent.resolve()
                if root not in (place, *place.parents):
                    raise BBCError(f"{target} is outside of {self._folder} (a symbolic link)")
            for target in targets:
                self._make_folders(target.parent)
            for name, target in zip(self._written, targets, strict=True):
                os.replace(self._staging / name, target)
        except OSError as error:
            raise BBCError(f"{self._folder}: cannot be written: {error.strerror or error}") from None

    def _make_folders(self, folder: Path) -> None:
        """Make a folder and those above it; `_clean_up` takes back the ones that are still empty."""
        missing = [place for place in (folder, *folder.parents) if not place.is_dir()]
        for place in reversed(missing):
            place.mkdir(exist_ok=True)
            self._made.append(place)

    def _clean_up(self) -> None:
        with held_back():
            for place in self._temporary:
                shutil.rmtree(place, ignore_errors=True)
            for place in reversed(self._made):
                with suppress(OSError):
                    place.rmdir()


def list_names(names: Sequence[str | None]) -> list[str | None]:
    """The names, in memory. Raises BBCError for so many as only a forged archive claims; a few bytes can."""
    if len(names) > MAX_NAMES:
        raise BBCError(f"there are {len(names)} images; at most {MAX_NAMES} can be listed")
    return list(names)


def image_names(names: Sequence[str | None], suffix: str = ".png") -> list[str]:
    """A file name with the suffix for each image of an archive, all of them distinct: `a.jpg` becomes `a.png`, or
    `a.jpg.png` where there is an `a.png`, or `a.jpg-2.png`; images without a name are numbered."""
    digits = max(5, len(str(len(names))))
    wanted = [f"{number:0{digits}}" if name is None else name for number, name in enumerate(list_names(names))]
    taken = {name.lower() for name in wanted if name.lower().endswith(suffix)}
    result = []
    for name in wanted:
        if not name.lower().endswith(suffix):
            whole = name
            name = str(PurePosixPath(name).with_suffix(suffix))
            tries = 1
            while name.lower() in taken:
                name = f"{whole}{'' if tries == 1 else f'-{tries}'}{suffix}"
                tries += 1
            taken.add(name.lower())
        result.append(name)
    return result


def open_input(name: str) -> BinaryIO:
    """A seekable binary file; - is stdin. Raises OSError, BBCError."""
    if name == STANDARD_STREAM:
        return io.BytesIO(read_standard_input())
    file = Path(name).open("rb")  # noqa: SIM115
    if file.seekable():
        return file
    with file:
        return io.BytesIO(file.read())


def read_standard_input() -> bytes:
    """All of stdin. Raises BBCError where it is closed."""
    if sys.stdin is None:  # so Python has it when it was closed at the start
        raise BBCError("standard input is closed")
    return sys.stdin.buffer.read()


def write_standard_output(data: bytes) -> None:
    """Bytes to stdout. Raises BBCError where it cannot be written."""
    if sys.stdout is None:
        raise BBCError("standard output is closed")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise BBCError(f"standard output cannot be written: {error.strerror or error}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
