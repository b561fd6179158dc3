"""Where files are: paths of this machine, and URLs, which fsspec opens.

Importing this costs hardly anything: fsspec is imported when the first URL is opened. Credentials are the affair of its
libraries. None is printed: the text of a `Url` is without them, and so are the errors.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, NoReturn, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from bbcompress import arguments
from bbcompress.errors import NEEDS_REMOTE, BBCError, MissingFileError, OutputExistsError, unreadable
from bbcompress.system import output
from bbcompress.system.permissions import Permissions
from bbcompress.system.signals import held_back
from bbcompress.text import HIDDEN, redacted

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_URL = re.compile(r"[a-z][a-z0-9+.-]+(::|://)", re.IGNORECASE)
_LOCAL = ("file://", "local://")

CHAINED = "::"
"""Stands between the URLs of a chain, and so in no name of a file in a URL."""

ENDS_BYTES = 1 << 16
"""Bytes at the end of a file that are fetched at once: the indexes of most archives are in them."""

START_BYTES = 1 << 12
"""Bytes at its beginning that are fetched at once."""

MOST_AHEAD = 1 << 23
"""Most bytes that are fetched ahead where one read follows the other."""

PART_BYTES = 1 << 25
"""Bytes of a part of an upload. Smaller files are sent at once."""

_WEB = {"http", "https"}
_HOSTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "sftp", "ssh", "ftp", "hdfs", "http", "https"}
"""Schemes behind which a host, bucket or container stands before the path."""

_WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"}
"""Schemes whose objects appear whole."""

_CREATE = {"s3", "s3a", "gs", "gcs", "memory"}
"""Those that can be asked to write an object only where there is none."""

_PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs"),
    **dict.fromkeys(("sftp", "ssh"), "paramiko"),
    "hf": "huggingface_hub",
}
"""What fsspec needs for a scheme."""

_OF_EXTRA = {"aiohttp", "s3fs"}
"""Those that come with bbc's own extra."""


@dataclass(frozen=True)
class Url:
    """A URL of fsspec. Its text, and all that is printed of it, is without passwords and tokens.

    address: as it was given. options: of its file system, where a program gives any.
    """

    address: str = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __str__(self) -> str:
        return redacted(self.address)

    def __repr__(self) -> str:
        return f"Url({str(self)!r})"

    @property
    def scheme(self) -> str:
        """That of the file itself: of a chain as `zip://a.png::s3://b/c.zip` the first."""
        return self.address.partition(":")[0].lower()

    @property
    def _link(self) -> tuple[str, str, str]:
        """What stands before the file in a chain, the URL of the file itself, and what stands behind it."""
        links = self.address.split(CHAINED)
        number = next(number for number, link in enumerate(links) if "://" in link)
        before, after = links[:number], links[number + 1 :]
        return "".join(f"{link}::" for link in before), links[number], "".join(f"::{link}" for link in after)

    @property
    def name(self) -> str:
        """The last part of its path; empty where it has only the name of a host or a bucket."""
        link = self._link[1]
        path = unquote(urlsplit(link).path) if self.scheme in _WEB else link.partition("://")[2]
        if self.scheme in _HOSTS and self.scheme not in _WEB:
            path = path.partition("/")[2]
        return path.rstrip("/").rpartition("/")[2]

    @property
    def parts(self) -> tuple[str, ...]:
        """The host or bucket, without a user, and the names of its path."""
        link = self._link[1].partition("://")[2]
        if self.scheme in _WEB:
            link = f"{urlsplit(self._link[1]).netloc}{unquote(urlsplit(self._link[1]).path)}"
        host, slash, path = link.partition("/")
        return tuple(part for part in f"{host.rpartition('@')[2]}{slash}{path}".split("/") if part)

    @property
    def is_chain(self) -> bool:
        """Whether it names several file systems, one in the other."""
        return CHAINED in self.address

    @property
    def suffix(self) -> str:
        """Of its name, with the point."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> Url:
        """What its name stands in."""
        before, link, after = self._link
        return replace(self, address=f"{before}{link.partition('?')[0].rstrip('/').rpartition('/')[0]}{after}")

    def has(self, other: Url) -> bool:
        """Whether another one lies in this one or below it."""
        before, link, after = self._link
        return other._link[::2] == (before, after) and other._link[1].startswith(f"{link.rstrip('/')}/")

    def __truediv__(self, name: str) -> Url:
        before, link, after = self._link
        return replace(self, address=f"{before}{link.rstrip('/')}/{name}{after}")


Place = Path | Url
"""Where a file or a folder is."""


def is_url(text: object) -> bool:
    """Whether this is a URL, not a path: `scheme://...`, where no file of this machine has just that name."""
    if not isinstance(text, str) or "://" not in text or _URL.match(text) is None:
        return False
    return text.startswith(_LOCAL) or not os.path.lexists(text)


def place_of(text: str | os.PathLike[str]) -> Place:
    """The place that a text stands for. `file://` URLs are paths of this machine."""
    if not isinstance(text, str) or not is_url(text):
        return Path(text)
    if text.startswith(_LOCAL) and CHAINED not in text:
        path = text.partition("://")[2]
        return Path(path[1:] if os.name == "nt" and path[2:3] == ":" else path)
    return Url(text)


def local_path(text: str) -> Path:
    """The path of this machine that a text stands for. Raises BBCError where it is a URL of another place."""
    place = place_of(text)
    if isinstance(place, Url):
        raise BBCError(f"{place}: this is written into folders of this machine alone")
    return place


def address_of(place: Place) -> str:
    """The text of which `place_of` makes the place. It may have secrets: it is no text for people."""
    return place.address if isinstance(place, Url) else str(place)


def argument(name: str, value: object) -> Place:
    """The place that a Python program gives. Raises BBCError where it is none."""
    arguments.path(name, value)
    return place_of(cast(str, value))


class Found(NamedTuple):
    """A file in a folder. name: its path in the folder, with `/`. size: in bytes; None where that is not known.
    modified: when, in whole seconds since 1970; None where that is not known."""

    name: str
    place: Place
    size: int | None
    modified: int | None


def open_to_read(place: Place) -> BinaryIO:
    """A seekable binary file. Of a URL only what is read is fetched; a file of a server that cannot send parts is
    fetched whole, onto the disk where it is large.

    Raises:
        BBCError: it cannot be read. MissingFileError: it is not there.
    """
    if isinstance(place, Path):
        try:
            return place.open("rb")
        except OSError as error:
            raise unreadable(place, error) from error
    with _reported(place, "read"):
        system, path = _system_of(place)
        system.invalidate_cache()  # of listings: the file may be another one by now
        # What is fetched is decided here: caches of file systems fetch blocks of megabytes around what is read.
        file = system.open(path, "rb", cache_type="none")
        _refuse_folder(getattr(file, "details", None))
        size = getattr(file, "size", None)
        if size is None or not file.seekable():
            return _fetched(file)
        return _RemoteFile(file, int(size), place)


def read_bytes(place: Place) -> bytes:
    """All bytes of a file. Raises as `open_to_read`."""
    if isinstance(place, Url) and (size := look_up(place).size) is not None:
        with _reported(place, "read"):
            system, path = _system_of(place)
            data: bytes = system.cat_file(path)
        if len(data) != size:
            system.invalidate_cache()  # the size may be that of a listing from before the file was replaced
            if len(data) != look_up(place).size:
                raise BBCError(f"{place}: was changed while it was read")
        return data
    with open_to_read(place) as file:
        return file.read()


def is_folder(place: Place) -> bool:
    """Whether there is a folder, or objects whose names begin so. A URL of the web is one where it ends with `/`.

    A path that cannot be looked at is none: whoever opens it learns why.

    Raises:
        BBCError: that cannot be found out of a URL.
    """
    if isinstance(place, Path):
        return os.path.isdir(place)
    if place.scheme in _WEB:
        return place.address.partition("?")[0].endswith("/")
    with _reported(place, "read"):
        system, path = _system_of(place)
        system.invalidate_cache()
        try:
            return bool(system.info(path)["type"] == "directory")  # `isdir` would list all of it
        except FileNotFoundError:
            return False


def exists(place: Place) -> bool:
    """Whether there is a file or folder.

    Raises:
        BBCError: that cannot be found out.
    """
    if isinstance(place, Path):
        return os.path.lexists(place)
    with _reported(place, "read"):
        system, path = _system_of(place)
        system.invalidate_cache()
        try:
            system.info(path)
        except FileNotFoundError:
            return False
        return True


def is_missing(path: Path) -> bool:
    """Whether there is nothing at a path. Not where it cannot be looked at: whoever opens it learns why."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def list_folder(place: Place) -> list[Found]:
    """The files of a folder and of those below it, by their names in sorted order.

    Raises:
        BBCError: the folder cannot be listed. MissingFileError: it is not there.
    """
    if isinstance(place, Path):
        return _list_paths(place)
    if place.scheme in _WEB:
        raise BBCError(f"{place}: a folder of a web server cannot be listed: name its files")
    with _reported(place, "read"):
        system, path = _system_of(place)
        system.invalidate_cache()
        root = path.rstrip("/") + "/"
        found = [
            Found(name[len(root) :], place / name[len(root) :], entry.get("size"), _modified(entry))
            for name, entry in system.find(path, detail=True).items()
            if name.startswith(root) and not name.endswith("/")
        ]
        if not found and not system.exists(path):
            raise FileNotFoundError
        return sorted(found, key=lambda one: one.name)


def look_up(place: Place) -> Found:
    """What is known of a single file. Raises as `open_to_read`."""
    if isinstance(place, Path):
        try:
            status = place.stat()
        except OSError as error:
            raise unreadable(place, error) from error
        return Found(place.name, place, status.st_size, status.st_mtime_ns // 10**9)
    with _reported(place, "read"):
        system, path = _system_of(place)
        entry = system.info(path)
        _refuse_folder(entry)
        return Found(place.name, place, entry.get("size"), _modified(entry))


def _refuse_folder(entry: object) -> None:
    """Raises FileNotFoundError where what a store says is not of a file: some open folders as files without bytes."""
    if isinstance(entry, Mapping) and entry.get("type") == "directory":
        raise FileNotFoundError


def refuse_existing(place: Place, force: bool) -> None:
    """Raises OutputExistsError if something is there that may not be overwritten, a folder even by force; BBCError
    where nothing can be written there."""
    if isinstance(place, Path):
        output.refuse_existing(place, force)
        return
    if place.scheme in _WEB or place.is_chain:
        what = "the web" if place.scheme in _WEB else "a chain of file systems"
        raise BBCError(f"{place}: cannot be written: {what} is read alone")
    if place.address.endswith("/") or not place.name:
        raise OutputExistsError(f"{place} is a folder: name the file to write")
    if not force and exists(place):
        raise output.existing(place)


def refuse_target(place: Place, force: bool) -> None:
    """Raises what `refuse_existing` does, and BBCError where there is no folder for it: before anything is done in
    vain."""
    if isinstance(place, Path):
        output.refuse_target(place, force)
    else:
        refuse_existing(place, force)


def refuse_source(place: Place, source: Place, what: str) -> None:
    """Raises as `output.refuse_source` does."""
    if isinstance(place, Path) and isinstance(source, Path):
        output.refuse_source(place, source, what)
    elif place == source:
        raise OutputExistsError(f"{place} is the {what}, and the output")


@contextmanager
def new_file(
    place: Place, force: bool, permissions: Permissions | Callable[[], Permissions | None] | None = None
) -> Iterator[BinaryIO]:
    """A binary file that is there when the block ends well, and is not when it does not.

    Of a path it is that of `output.new_file`. That of a URL can only be written, front to back. It is sent in parts of
    `PART_BYTES`, of which the store makes an object at the end; permissions are those of the store.

    Raises:
        OutputExistsError: as `refuse_existing`. BBCError: it cannot be written.
    """
    if isinstance(place, Path):
        with output.new_file(place, force, permissions) as file:
            yield file
        return
    refuse_existing(place, force)
    upload = _Upload(place, force)
    try:
        yield upload
        with held_back():
            upload.finish()
    except BaseException:
        with held_back():
            upload.abort()
        raise


def remove(place: Place) -> None:
    """Delete a file, which need not be there.

    Raises:
        BBCError: it cannot be deleted.
    """
    if isinstance(place, Path):
        try:
            place.unlink(missing_ok=True)
        except OSError as error:
            raise BBCError(f"{place}: cannot be deleted: {error.strerror or error}") from error
        return
    with _reported(place, "deleted"):
        system, path = _system_of(place)
        with suppress(FileNotFoundError):
            system.rm_file(path)
        system.invalidate_cache()


class _RemoteFile(io.RawIOBase, BinaryIO):
    """A file of which only what is read is fetched, in few requests.

    Its beginning and its end are fetched at once. Where one read follows the other, ever more is fetched ahead.
    """

    def __init__(self, file: Any, size: int, url: Url) -> None:
        super().__init__()
        self._file, self._size, self._url = file, size, url
        self._position = 0
        self._parts: dict[int, bytes] = {}  # by what is kept: the beginning, the end, what was fetched last
        self._last_end = -1
        self._ahead = 0

    @property
    def name(self) -> str:
        return str(self._url)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return self.read()

    def read(self, size: int | None = -1, /) -> bytes:
        start = min(self._position, self._size)
        stop = self._size if size is None or size < 0 else min(start + size, self._size)
        data = self._kept(start, stop)
        if data is None:
            data = self._fetch_around(start, stop)
        self._position = self._last_end = stop
        return data

    def _kept(self, start: int, stop: int) -> bytes | None:
        """Bytes that were fetched before; None where some were not."""
        for first, data in self._parts.items():
            if first <= start and stop <= first + len(data):
                return data[start - first : stop - first]
        return b"" if start == stop else None

    def _fetch_around(self, start: int, stop: int) -> bytes:
        """The bytes, fetched with what is likely to be read next."""
        tail = max(0, self._size - ENDS_BYTES)
        if tail == 0:
            first, last = 0, self._size
        elif stop <= START_BYTES:
            first, last = 0, START_BYTES
        elif start >= tail:
            first, last = tail, self._size
        else:
            follows = 0 <= start - self._last_end <= ENDS_BYTES and self._last_end > START_BYTES
            self._ahead = min(max(2 * self._ahead, ENDS_BYTES), MOST_AHEAD) if follows else 0
            first, last = start, min(stop + self._ahead, self._size)
            ends = (0, tail)
            self._parts = {at: data for at, data in self._parts.items() if at in ends}
        data = self._fetch(first, last)
        if last - first <= MOST_AHEAD + self._ahead:
            self._parts[first] = data
        return data[start - first : stop - first]

    def _fetch(self, start: int, stop: int) -> bytes:
        with _reported(self._url, "read"):
            try:
                self._file.seek(start)
                data: bytes = self._file.read(stop - start)
            except ValueError as error:
                if self._url.scheme not in _WEB or "range" not in str(error):
                    raise
                system, path = _system_of(self._url)  # the server sends no parts, though it did not say so
                self._file = _fetched(system.open(path, "rb", block_size=0))
                self._file.seek(start)
                data = self._file.read(stop - start)
        if len(data) != stop - start:
            raise BBCError(f"{self._url}: cannot be read: it ends before the size that its server names")
        return data

    def close(self) -> None:
        if not self.closed:
            self._parts.clear()
            self._file.close()
        super().close()


class _Upload(io.RawIOBase, BinaryIO):
    """A file on its way to where a URL says. What fits into a part is sent at once; else the store gets parts."""

    def __init__(self, url: Url, force: bool) -> None:
        super().__init__()
        self._url, self._force = url, force
        self._buffer = bytearray()
        self._count = 0
        self._stream: Any = None
        with self._errors():
            self._system, self._path = _system_of(url)
        folder, slash, name = self._path.rpartition("/")
        self._is_whole = url.scheme in _WHOLE
        self._target = self._path if self._is_whole else f"{folder}{slash}.{name}.{os.urandom(4).hex()}.part"
        self._part_bytes = sys.maxsize if self._is_whole and url.scheme == "memory" else PART_BYTES

    @property
    def name(self) -> str:
        return str(self._url)

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._count

    def write(self, data: ReadableBuffer, /) -> int:
        view = memoryview(data).cast("B")
        self._buffer += view
        self._count += len(view)
        if len(self._buffer) > self._part_bytes:
            with self._errors():
                if self._stream is None:
                    settings = {"autocommit": False} if self._is_whole else {}
                    self._stream = self._system.open(self._target, "wb", block_size=self._part_bytes, **settings)
                self._stream.write(self._buffer)
            self._buffer = bytearray()
        return len(view)

    def finish(self) -> None:
        """Let the object appear. Raises BBCError, OutputExistsError."""
        refuse_existing(self._url, self._force)
        with self._errors():
            if self._stream is None:
                self._put(bytes(self._buffer))
            else:
                self._stream.write(self._buffer)
                self._stream.close()
                if self._is_whole:
                    self._stream.commit()
            if not self._is_whole:
                if self._force and self._system.exists(self._path):
                    self._system.rm_file(self._path)
                self._system.mv(self._target, self._path)
            self._system.invalidate_cache()

    def _put(self, data: bytes) -> None:
        """Send all at once; where another was quicker, and may not be replaced, that fails if the store can tell."""
        if not self._force and self._url.scheme in _CREATE:
            try:
                self._system.pipe_file(self._target, data, mode="create")
                return
            except FileExistsError:
                raise
            except OSError:  # not all servers that speak S3 know this condition
                pass
        self._system.pipe_file(self._target, data)

    def abort(self) -> None:
        """Take back what was sent."""
        self._buffer = bytearray()
        if self._stream is not None and self._is_whole:
            with suppress(Exception):
                self._stream.discard()
            self._stream.closed = True  # else it would be sent when it is collected
        elif self._stream is not None:
            with suppress(Exception):
                self._stream.close()
        if not self._is_whole:
            with suppress(Exception):
                self._system.rm_file(self._target)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with _reported(self._url, "written"):
            yield


def _fetched(file: Any) -> BinaryIO:
    """A file that can only be read from its beginning, as a file on the disk that is gone when it is closed."""
    with file:
        local = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            while part := file.read(1 << 20):
                local.write(part)
            local.seek(0)
        except BaseException:
            local.close()
            raise
        return local


def _system_of(url: Url) -> tuple[Any, str]:
    """The file system of a URL and the path in it, as fsspec has them. Raises what it raises."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise BBCError(f"{url} {NEEDS_REMOTE}") from None
    with _needs(url):
        system, path = url_to_fs(url.address, **url.options)
    return system, path


@contextmanager
def _needs(url: Url) -> Iterator[None]:
    """What fsspec says of a scheme, as one line."""
    try:
        yield
    except ImportError as error:
        schemes = [link.partition("://")[0].lower() for link in url.address.split(CHAINED)]
        package = next((_PACKAGES[scheme] for scheme in schemes if scheme in _PACKAGES), None)
        if package is None:
            raise BBCError(f"{url} needs a package: {_first_line(error, url)}") from None
        wanted = "'bbcompress[remote]'" if package in _OF_EXTRA else package
        raise BBCError(f"{url} needs {package}: pip install {wanted}") from None
    except ValueError as error:
        if not str(error).startswith("Protocol not known"):
            raise
        raise BBCError(f"{url}: there is no such kind of URL as {url.scheme}://, nor such a file") from None


@contextmanager
def _reported(url: Url, done: str) -> Iterator[None]:
    """Whatever goes wrong, as one line about the URL, without the errors of libraries, which may tell secrets.

    Args:
        done: `read`, `written` or `deleted`.
    """
    try:
        yield
    except (BBCError, MemoryError):
        raise
    except Exception as raised:  # libraries raise nearly anything
        if done == "written" and isinstance(raised, FileExistsError):
            raise output.existing(url) from None
        error = _told_by(raised)
        kind = MissingFileError if isinstance(error, FileNotFoundError) else BBCError
        raise kind(f"{url}: cannot be {done}: {_reason(error, url)}") from None


def _told_by(error: Exception) -> Exception:
    """The error that says why. fsspec takes all that goes wrong with the web for files that are missing."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or not isinstance(cause, Exception):
        return error
    status = getattr(cause, "status", None)
    says_more = isinstance(cause, OSError) or (isinstance(status, int) and status != 404)
    return _told_by(cause) if says_more else error


def _reason(error: Exception, url: Url) -> str:
    """Why something failed, in few words."""
    text, kind = _first_line(error, url), type(error).__name__
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError):
        bucket = "bucket" in text.lower() and "exist" in text.lower()
        return "there is no such bucket" if bucket else "there is no such file"
    if isinstance(error, PermissionError) or status in (401, 403):
        return "permission denied"
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "a file stands in the place of its folder"
    if "Credential" in kind or "Credential" in text:
        return "no credentials were found for it, or wrong ones: see the documentation of its library"
    if isinstance(status, int):
        return f"the server answers with status {status}"
    if isinstance(error, TimeoutError | ConnectionError) or "Timeout" in kind or "Connect" in kind:
        return f"the network fails: {text or kind}"
    return text or kind


def _first_line(error: Exception, url: Url) -> str:
    """What an error says, without the secrets of the URL."""
    text = str(getattr(error, "strerror", None) or error).partition("\n")[0][:200]
    secrets = [value for value in url.options.values() if isinstance(value, str)]
    for link in url.address.split(CHAINED):
        parts = urlsplit(link)
        secrets += [*parts.netloc.rpartition("@")[0].split(":"), *(value for _, value in parse_qsl(parts.query))]
    for secret in secrets:
        if len(secret) > 3:
            text = text.replace(secret, HIDDEN).replace(unquote(secret), HIDDEN)
    return text


def _modified(entry: dict[str, Any]) -> int | None:
    """When a file was modified, as its store says it: by one name or another, as a number, a text or a time."""
    for key in ("LastModified", "last_modified", "modified", "mtime", "updated", "created"):
        value = entry.get(key)
        if isinstance(value, str):
            with suppress(ValueError):
                value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, datetime):
            value = value.replace(tzinfo=value.tzinfo or timezone.utc).timestamp()
        if isinstance(value, int | float) and not isinstance(value, bool):
            return int(value)
    return None


def _list_paths(folder: Path) -> list[Found]:
    found = []
    try:
        for place, _, names in os.walk(folder, onerror=_raise):
            for name in names:
                path = Path(place, name)
                status = path.stat()
                when = status.st_mtime_ns // 10**9
                found.append(Found(path.relative_to(folder).as_posix(), path, status.st_size, when))
    except OSError as error:
        raise unreadable(folder, error) from None
    return sorted(found, key=lambda one: one.name)


def _raise(error: OSError) -> NoReturn:
    raise error
