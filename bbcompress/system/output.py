"""Writing files and folders so that nothing half-done is ever left."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from bbcompress.errors import BBCError, MissingFileError, OutputExistsError
from bbcompress.system.locks import try_lock, unlock
from bbcompress.system.permissions import Permissions, allow, tighten
from bbcompress.system.signals import held_back
from bbcompress.system.temporary import TemporaryFile, TemporaryFolder, remove_left_behind
from bbcompress.system.windows import windows_name
from bbcompress.text import some_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_DISK_FAULTS = {errno.EIO, errno.ENOSPC, errno.EDQUOT}
"""Errors of a disk. Others, of the sync of a folder, say that the file system knows no such thing."""

PNG, HTML = "image/png", "text/html"
"""MIME types of files that are written."""

_SYNCING_THREADS = 8
"""Files that are synced at once: file systems then write their journal once for several."""

_CLOSES_FIRST = os.name == "nt"
"""Whether only closed files can be renamed."""


def refuse_existing(path: Path, force: bool) -> None:
    """Raises OutputExistsError if something is there that may not be overwritten, a folder or device even by force;
    BBCError where that cannot be found out."""
    try:
        mode = os.lstat(path).st_mode
        with suppress(OSError):  # a link that leads nowhere
            mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        raise BBCError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISDIR(mode):
        raise OutputExistsError(f"{path} is a folder")
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise OutputExistsError(f"{path} is not a regular file")
    if not force:
        raise existing(path)


def existing(place: object) -> OutputExistsError:
    """The error of an output that is there, and that force would replace."""
    return OutputExistsError(f"{place} exists", python="overwrite=True replaces it", command="--force overwrites it")


def refuse_other_kind(target: Path, kind: str, what: str) -> None:
    """Raises BBCError where the name of a file says that it is of another MIME type. what: is written, as the beginning
    of the message."""
    from mimetypes import guess_type

    if (guess_type(target.name)[0] or kind) != kind:  # desktops ask for names without a suffix
        raise BBCError(f"{target}: {what}, and its name says something else")


def refuse_target(path: Path, force: bool) -> None:
    """Raises BBCError where a file that shall be written at the end could not be, so that nothing is done in vain."""
    refuse_missing_folder(path)
    refuse_existing(path, force)


def refuse_source(path: Path, source: Path, what: str) -> None:
    """Raises OutputExistsError where the file to be written is the one that is read, by whatever names and links.

    Args:
        what: the source is called.
    """
    with suppress(OSError, ValueError):
        if os.path.samefile(path, source):
            raise OutputExistsError(f"{path} is the {what}, and the output")


def refuse_missing_folder(path: Path) -> None:
    """Raises BBCError where the folder in which a file is to be written is not there, or is no folder."""
    folder = path.parent
    try:
        is_folder = stat.S_ISDIR(os.stat(folder).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(f"{path}: cannot be written: there is no folder {folder}") from None
    except (OSError, ValueError):  # it may be there all the same; where it is opened more is known
        return
    if not is_folder:
        raise BBCError(f"{path}: cannot be written: {folder} is not a folder")


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
def _reported(path: Path, kind: type[OSError] = OSError) -> Iterator[None]:
    """Errors of the system, as one line that says which file cannot be written."""
    try:
        yield
    except kind as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            refuse_missing_folder(path)
        why = MissingFileError if isinstance(error, FileNotFoundError) else BBCError
        raise why(f"{path}: cannot be written: {error.strerror or error}") from None


Times = tuple[int, int]
"""When a file was last read and modified, in nanoseconds since 1970."""


def times_of(path: Path) -> Times:
    """Raises OSError."""
    status = path.stat()
    return status.st_atime_ns, status.st_mtime_ns


@contextmanager
def new_file(
    path: Path,
    force: bool,
    permissions: Permissions | Callable[[], Permissions | None] | None = None,
    times: Times | None = None,
) -> Iterator[BinaryIO]:
    """A binary file that gets its name when the block ends well, and is gone when it does not.

    Whenever the process is killed, or the power fails, the name stands for the whole new file or for what it stood for
    before; for the new one, and on the disk, when this has ended. Errors of other files in the block stay as they are.

    Args:
        permissions: of the file, or what gives them in the end; None for what the process's umask allows. Before the
            end only its owner may read it where there are any.
        times: of the file; None for now.

    Raises:
        OutputExistsError: as `refuse_existing`. BBCError: it cannot be written.
    """
    refuse_existing(path, force)
    remove_left_behind(path.parent)
    temporary: TemporaryFile | None = None
    try:
        with _reported(path), held_back():
            temporary = TemporaryFile(path.parent, private=permissions is not None)
        with _reported(path, _OutputError), io.BufferedRandom(_Output(temporary.descriptor, "r+b")) as file:
            yield file
            with _reported(path):
                file.flush()
                allow(file.fileno(), permissions() if callable(permissions) else permissions, path)
                if times is not None:
                    _set_times(file.fileno(), temporary.path, times)
                os.fsync(file.fileno())
                if not _CLOSES_FIRST:  # for as long as it is open it is locked, and nobody takes it for left behind
                    _publish_file(temporary.path, path, force)
        if _CLOSES_FIRST:
            with _reported(path):
                _publish_file(temporary.path, path, force)
    except BaseException:
        if temporary is not None:
            with _reported(path), held_back():
                temporary.remove()
        raise


def write_file(
    path: Path, data: bytes, force: bool, permissions: Permissions | None = None, times: Times | None = None
) -> None:
    """Write a whole file under the rules of `new_file`."""
    with new_file(path, force, permissions, times) as file:
        file.write(data)


def _set_times(descriptor: int, path: Path, times: Times) -> None:
    with suppress(OSError, OverflowError):  # a system may know no such year
        os.utime(descriptor if os.utime in os.supports_fd else path, ns=times)


def _publish_file(temporary: Path, path: Path, force: bool) -> None:
    with held_back():
        refuse_existing(path, force)
        _give_name(temporary, path, force)
        try:
            _sync_folder(path.parent)
        except OSError as error:
            reason = error.strerror or error
            raise BBCError(f"{path}: is written, but it may not survive a power failure: {reason}") from None


def _give_name(temporary: Path, path: Path, force: bool) -> None:
    """Rename a file; what has the name is replaced by force alone.

    Raises:
        OSError: the operating system reports an error.
        OutputExistsError: an output exists and may not be overwritten.
    """
    if not force:
        try:
            os.link(temporary, path)  # which replaces nothing, as a rename would
            with suppress(OSError):
                os.unlink(temporary)
            return
        except FileExistsError:
            refuse_existing(path, force)
        except OSError:  # there are no links here
            refuse_existing(path, force)
    os.replace(temporary, path)


def _sync_folder(folder: Path) -> None:
    """The names of the files in a folder are on the disk.

    Raises:
        OSError: the disk has an error; file systems that cannot sync a folder, and folders that may not be read, are
            none.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in _DISK_FAULTS:
            raise
    finally:
        os.close(descriptor)


def _sync_file(path: Path) -> None:
    """What is in a file is on the disk.

    Raises:
        OSError: the operating system reports an error.
    """
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_files(paths: Sequence[Path]) -> None:
    """What is in some files is on the disk.

    Raises:
        OSError: the operating system reports an error.
    """
    if not paths:
        return
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(min(_SYNCING_THREADS, len(paths)))
    try:
        for _ in pool.map(_sync_file, paths):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def make_folders(folder: Path, made: list[Path]) -> None:
    """Make a folder and those above it, as far as they are missing.

    Args:
        made: gets each that is made, the outer ones first, for whoever takes back those that stay empty.

    Raises:
        OSError: one cannot be made.
    """
    for place in (*reversed(folder.parents), folder):
        if os.path.isdir(place):
            continue
        try:
            place.mkdir()
        except FileExistsError:
            if not os.path.isdir(place):  # else another process was faster
                raise NotADirectoryError(errno.ENOTDIR, f"{place} is not a folder") from None
        else:
            made.append(place)


class NewFolder:
    """Files for a folder, none of which is there before all of them are written.

    They are written into a folder beside it, which is renamed; where the folder exists, into one inside it (beside
    it may be another file system), and each is renamed. A process that is killed while it does so leaves each file old
    or new, none half written and none missing. Where one cannot be renamed, all are as they were before.
    """

    def __init__(self, folder: Path, force: bool, permissions: Permissions | None = None) -> None:
        """permissions: of the files; None for what the process's umask allows. Raises OutputExistsError if `folder` is
        a file."""
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise OutputExistsError(f"{folder} is a file, not a folder")
        self._folder, self._force, self._permissions = folder, force, permissions
        self._written: dict[str, str] = {}  # names as asked for, as written
        self._subfolders: set[Path] = set()
        self._made: list[Path] = []
        self._temporary: TemporaryFolder | None = None

    def __enter__(self) -> NewFolder:
        remove_left_behind(self._folder.parent)
        remove_left_behind(self._folder)
        try:
            place = self._folder if self._folder.is_dir() else self._folder.parent
            with held_back():
                make_folders(place, self._made)
                self._temporary = TemporaryFolder(place)
                self._staging = self._temporary.files
        except BaseException as error:
            self._clean_up()
            if not isinstance(error, OSError):
                raise
            raise BBCError(f"{self._folder}: cannot be written: {error.strerror or error}") from None
        return self

    def check(self, names: Sequence[str]) -> None:
        """Raises OutputExistsError if one of the files exists and may not be overwritten."""
        if os.path.isdir(self._folder):
            for name in names:
                refuse_existing(self._folder / name, self._force)

    def write(self, name: str, data: bytes, time: int | None = None) -> str:
        """Add a file; `name` is a relative path that the archive has checked, `time` when it was modified, in seconds
        since 1970. Gives its name in the folder: another one where the system takes `name` for that of a file
        written before (as it does where case does not count), or cannot hold it.

        Raises:
            BBCError: an argument is not allowed, or the work cannot be done.
        """
        if name in self._written:
            raise BBCError(f"{self._folder / name}: there are two files of this name")
        whole = self._with_free_folders(windows_name(name) if os.name == "nt" else name)
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

    def _with_free_folders(self, name: str) -> str:
        """The name, with other folders where a file stands in the place of one: where case does not count, one may."""
        folder, slash, last = name.rpartition("/")
        if not slash or self._staging / folder in self._subfolders:
            return name
        parts = folder.split("/")
        for number, part in enumerate(parts):
            tries = 1
            while (self._staging / "/".join(parts[: number + 1])).is_file():
                tries += 1
                parts[number] = f"{part}-{tries}"
        return "/".join([*parts, last])

    def _create(self, name: str, data: bytes, time: int | None) -> bool:
        """Write a file unless there is one."""
        path = self._staging / name
        if path.parent not in self._subfolders:
            path.parent.mkdir(parents=True, exist_ok=True)
            below = path.parent.relative_to(self._staging)
            self._subfolders.update(self._staging / folder for folder in (below, *below.parents))
        try:
            with path.open("xb") as file:
                file.write(data)
                file.flush()
                allow(file.fileno(), self._permissions, self._folder / name)
                if time is not None:
                    _set_times(file.fileno(), path, (time * 10**9, time * 10**9))
        except FileExistsError:
            return False
        return True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                with _reported(self._folder):
                    _sync_files([self._staging / name for name in self._written.values()])
                with held_back():  # all files appear or none
                    self._publish()
        finally:
            self._clean_up()

    def _publish(self) -> None:
        with _reported(self._folder):
            if not self._folder.exists():
                for place in self._staged_folders():
                    _sync_folder(place)
                os.replace(self._staging, self._folder)
                changed = {self._folder.parent}
            else:
                changed = self._move_in(self._targets())
        changed.update(place.parent for place in self._made)
        self._made = []
        try:
            for place in changed:
                _sync_folder(place)
        except OSError as error:
            reason = error.strerror or error
            raise BBCError(f"{self._folder}: is written, but it may not survive a power failure: {reason}") from None

    def _staged_folders(self) -> list[Path]:
        """The folder in which the files are, and all below it."""
        return [Path(place) for place, _, _ in os.walk(self._staging)]

    def _targets(self) -> list[tuple[str, Path]]:
        """Where each file belongs. Raises BBCError before the first is moved or a folder is made."""
        root = self._folder.resolve()
        targets = [(name, self._folder / name) for name in self._written.values()]
        inside: set[Path] = set()
        for _, target in targets:
            refuse_existing(target, self._force)
            if target.parent not in inside:
                place = target.parent.resolve()
                if root not in (place, *place.parents):
                    raise BBCError(f"{target} is outside of {self._folder} (a symbolic link)")
                inside.add(target.parent)
        for parent in inside:
            make_folders(parent, self._made)
        return targets

    def _move_in(self, targets: Sequence[tuple[str, Path]]) -> set[Path]:
        """Rename the files to where they belong; all of that is taken back where one fails. Gives their folders."""
        kept: dict[Path, Path | None] = {}  # what was replaced, under which other name it is kept
        moved: list[tuple[Path, Path]] = []
        try:
            for number, (name, target) in enumerate(targets):
                if self._force and os.path.lexists(target):
                    kept[target] = self._kept(target, number)
                _give_name(self._staging / name, target, self._force)
                moved.append((self._staging / name, target))
        except BaseException as error:
            remain = [target for source, target in reversed(moved) if not _taken_back(source, target, kept)]
            if not remain:
                raise
            reason = getattr(error, "strerror", None) or error
            names = some_of([target.relative_to(self._folder) for target in reversed(remain)])
            changed = f"{len(remain)} of {len(targets)} files are changed already: {names}"
            raise BBCError(f"{self._folder}: cannot be written: {reason}; {changed}") from error
        return {target.parent for _, target in moved}

    def _kept(self, target: Path, number: int) -> Path | None:
        """A second name for what is to be replaced, under which it can be brought back; None where there are none."""
        assert self._temporary is not None
        before = self._temporary.path / "before"
        try:
            before.mkdir(exist_ok=True)
            os.link(target, before / str(number), follow_symlinks=False)
        except (OSError, NotImplementedError):
            return None
        return before / str(number)

    def _clean_up(self) -> None:
        with held_back():
            if self._temporary is not None:
                self._temporary.remove()
            for place in reversed(self._made):
                with suppress(OSError):
                    place.rmdir()


def _taken_back(source: Path, target: Path, kept: dict[Path, Path | None]) -> bool:
    """Rename a file back, and what it replaced to where it was, if that was kept; whether that could be done."""
    try:
        if target not in kept:
            os.replace(target, source)
        elif (before := kept[target]) is not None:
            os.replace(before, target)
        else:
            return False
    except OSError:
        return False
    return True


@contextmanager
def open_to_add(path: Path) -> Iterator[BinaryIO]:
    """An archive to read and to add to, locked against others who would. Errors of other files in the block stay as
    they are.

    Raises:
        BBCError: it is not there, cannot be written, is no regular file, or is locked.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise BBCError(f"{path} is not a regular file")
    remove_left_behind(path.parent)
    with _reported(path):
        raw = _Output(path, "r+b")
    with _reported(path, _OutputError), io.BufferedRandom(raw) as file:
        with _reported(path):
            _lock(file, path)
            if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                raise BBCError(f"{path}: was replaced by another file; try again")
        try:
            yield file
        except OSError as error:
            if error.filename is None and error.errno in _DISK_FAULTS:
                raise _OutputError(error.errno, error.strerror) from error
            raise
        finally:
            with suppress(OSError):
                unlock(file.fileno())


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        locked = try_lock(file.fileno())
    except OSError as error:
        raise BBCError(f"{path}: cannot be locked, so nothing is added to it: {error.strerror or error}") from None
    if not locked:
        raise BBCError(f"{path}: something is being added to it already; try again later")


class Tightened:
    """An open file from which permissions are taken, for good if the block ends well."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._before = self._mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        self._because: str | None = None

    def to(self, permissions: Permissions | None, because: str) -> None:
        """Take what these do not allow.

        Args:
            because: what needs that; the last for which something changed is kept.
        """
        if tighten(self._file.fileno(), permissions, self._path):
            self._because = because
            self._mode = stat.S_IMODE(os.fstat(self._file.fileno()).st_mode)

    def note(self) -> str | None:
        """What the user should know, None if nothing changed."""
        if self._because is None:
            return None
        return f"{self._path} has mode {self._mode:03o} now, since not all who could read it may read {self._because}"

    def __enter__(self) -> Tightened:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._because is not None:
            with held_back(), suppress(OSError):
                os.fchmod(self._file.fileno(), self._before)


def write_standard_output(data: bytes) -> None:
    """Bytes to stdout.

    Raises:
        BBCError: it cannot be written.
    """
    if sys.stdout is None:
        raise BBCError("standard output is closed")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise BBCError(f"standard output cannot be written: {error.strerror or error}") from None
