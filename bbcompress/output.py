"""Writing files and folders so that nothing half-done is ever left."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from bbcompress.errors import BBCError, OutputExistsError
from bbcompress.file_names import windows_name
from bbcompress.signals import held_back

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

_TEMPORARY = ".bbc-"


def refuse_existing(path: Path, force: bool) -> None:
    """Raises OutputExistsError if something is there that may not be overwritten, a folder or device even by force."""
    if path.is_dir():
        raise OutputExistsError(f"{path} is a folder")
    if path.exists() and not path.is_file():
        raise OutputExistsError(f"{path} is not a regular file")
    if not force and (path.exists() or path.is_symlink()):
        raise OutputExistsError(f"{path} exists; --force overwrites it")


class _OutputError(OSError):
    """What an operation on an `_Output` raises: in a block that works on it, the errors of other files come up, too."""


@contextmanager
def _of_output() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _OutputError(error.errno, error.strerror or str(error)) from error


class _Output(io.FileIO):
    """A file that is written, below its buffer; its errors are `_OutputError`."""

    def write(self, data: ReadableBuffer, /) -> int:
        with _of_output():
            return super().write(data)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        with _of_output():
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with _of_output():
            return super().readall()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        with _of_output():
            return super().seek(offset, whence)

    def truncate(self, size: int | None = None, /) -> int:
        with _of_output():
            return super().truncate(size)


@contextmanager
def _told_of(path: Path, kind: type[OSError] = OSError) -> Iterator[None]:
    """Errors of the system, as one line that says which file cannot be written."""
    try:
        yield
    except kind as error:
        raise BBCError(f"{path}: cannot be written: {error.strerror or error}") from None


@contextmanager
def new_file(path: Path, force: bool) -> Iterator[BinaryIO]:
    """A binary file that gets its name when the block ends well, and is gone when it does not.

    Errors of other files in the block stay as they are.

    Raises:
        OutputExistsError: as `refuse_existing`. BBCError: it cannot be written.
    """
    refuse_existing(path, force)
    temporary = None
    try:
        with _told_of(path), held_back():
            descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY, suffix=".tmp", dir=path.parent)
        with _told_of(path, _OutputError), io.BufferedRandom(_Output(descriptor, "r+b")) as file:
            yield file
            with _told_of(path):
                file.flush()
                os.fsync(file.fileno())
        with _told_of(path):
            os.chmod(temporary, 0o666 & ~_umask())
            refuse_existing(path, force)
            os.replace(temporary, path)
    except BaseException:
        if temporary is not None:
            with _told_of(path), held_back():
                Path(temporary).unlink(missing_ok=True)
        raise


def write_file(path: Path, data: bytes, force: bool) -> None:
    """Write a whole file under the rules of `new_file`."""
    with new_file(path, force) as file:
        file.write(data)


class NewFolder:
    """Files for a folder, none of which is there before all of them are.

    They are written into a folder beside it, which is renamed; where the folder exists, into one inside it (beside
    it may be another file system), and each is moved in, or, where one cannot be, none. What they replace is kept in a
    folder of its own until all are there.
    """

    def __init__(self, folder: Path, force: bool) -> None:
        """Raises OutputExistsError if `folder` is a file."""
        if folder.exists() and not folder.is_dir():
            raise OutputExistsError(f"{folder} is a file, not a folder")
        self._folder, self._force = folder, force
        self._written: dict[str, str] = {}  # names as asked for, as written
        self._subfolders: set[Path] = set()
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
        if self._folder.is_dir():
            for name in names:
                refuse_existing(self._folder / name, self._force)

    def write(self, name: str, data: bytes, time: int | None = None) -> str:
        """Add a file; `name` is a relative path that the archive has checked, `time` when it was modified, in seconds
        since 1970. Gives its name in the folder: another one where the system takes `name` for that of a file written
        before (as it does where case does not count), or cannot hold it. Raises BBCError.
        """
        if name in self._written:
            raise BBCError(f"{self._folder / name}: there are two files of this name")
        whole = windows_name(name) if os.name == "nt" else name
        written, tries = whole, 1
        try:
            while not self._create(written, data, time):
                tries += 1
                pure = PurePosixPath(whole)
                written = pure.with_name(f"{pure.stem}-{tries}{pure.suffix}").as_posix()
        except OSError as error:
            raise BBCError(f"{self._folder / name}: cannot be written: {error.strerror or error}") from None
        self._written[name] = written
        return written

    def _create(self, name: str, data: bytes, time: int | None) -> bool:
        """Write a file unless there is one."""
        path = self._staging / name
        if path.parent not in self._subfolders:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._subfolders.add(path.parent)
        try:
            with path.open("xb") as file:
                file.write(data)
        except FileExistsError:
            return False
        if time is not None:
            with suppress(OSError, OverflowError):  # a system may know no such year
                os.utime(path, (time, time))
        return True

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
            names = list(self._written.values())
            inside: set[Path] = set()
            for name in names:  # all of them, before the first is moved or a folder is made
                target = self._folder / name
                refuse_existing(target, self._force)
                if target.parent not in inside:
                    place = target.parent.resolve()
                    if root not in (place, *place.parents):
                        raise BBCError(f"{target} is outside of {self._folder} (a symbolic link)")
                    inside.add(target.parent)
            for parent in inside:
                self._make_folders(parent)
            self._move_in(names)
        except OSError as error:
            raise BBCError(f"{self._folder}: cannot be written: {error.strerror or error}") from None

    def _move_in(self, names: Sequence[str]) -> None:
        """Move the files to where they belong, and what is there aside; all moves are taken back where one fails."""
        aside: Path | None = None
        moves: list[tuple[Path, Path]] = []
        try:
            for number, name in enumerate(names):
                target = self._folder / name
                if self._force and os.path.lexists(target):
                    if aside is None:
                        aside = Path(tempfile.mkdtemp(prefix=_TEMPORARY, suffix=".tmp", dir=self._folder))
                        self._temporary.append(aside)
                    os.replace(target, aside / str(number))
                    moves.append((target, aside / str(number)))
                os.replace(self._staging / name, target)
                moves.append((self._staging / name, target))
        except BaseException as error:
            if _taken_back(moves) or aside is None:
                raise
            self._temporary.remove(aside)  # it holds what cannot be brought back
            reason = getattr(error, "strerror", None) or error
            raise BBCError(f"{self._folder}: cannot be written: {reason}; what was there is in {aside}") from error

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


def _taken_back(moves: Sequence[tuple[Path, Path]]) -> bool:
    """Rename files back, the last first, as far as that goes; whether all of them are where they were."""
    whole = True
    for before, now in reversed(moves):
        try:
            os.replace(now, before)
        except OSError:
            whole = False
    return whole


_SYNC_FAULTS = {errno.EIO, errno.ENOSPC, errno.EDQUOT}
"""What a sync or a cut of a descriptor raises, which `_Output` does not see; errors of other files have their names."""


@contextmanager
def open_to_add(path: Path) -> Iterator[BinaryIO]:
    """An archive to read and to add to, locked against others who would. Errors of other files in the block stay as
    they are.

    Raises:
        BBCError: it is not there, cannot be written, is no regular file, or is locked.
    """
    if path.exists() and not path.is_file():
        raise BBCError(f"{path} is not a regular file")
    with _told_of(path):
        raw = _Output(path, "r+b")
    with _told_of(path, _OutputError), io.BufferedRandom(raw) as file:
        with _told_of(path):
            _lock(file, path)
            if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                raise BBCError(f"{path}: was replaced by another file; try again")
        try:
            yield file
        except OSError as error:
            if error.filename is None and error.errno in _SYNC_FAULTS:
                raise _OutputError(error.errno, error.strerror) from error
            raise


def _lock(file: BinaryIO, path: Path) -> None:
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BBCError(f"{path}: something is being added to it already; try again later") from None


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
