"""The file system `bbc` of fsspec: the images of an archive as files.

fsspec finds it by its entry point: `fsspec.open("bbc://a.png::s3://bucket/set.bbc")` reads an image of an archive, and
whatever library takes URLs of fsspec reads archives with it.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NoReturn

from bbcompress import arguments
from bbcompress.api import limits_of
from bbcompress.errors import NEEDS_REMOTE, BBCError, ReadOnlyError
from bbcompress.images.formats.registry import image_suffixes
from bbcompress.limits import MAX_PIXELS, READER_K
from bbcompress.pipeline.extraction import as_file, suffix_of
from bbcompress.pipeline.kept import Kept
from bbcompress.pipeline.names import list_names, number_name
from bbcompress.pipeline.options import open_models
from bbcompress.pipeline.reader import Reader
from bbcompress.pipeline.sources import open_place
from bbcompress.system.storage import Place, Url, place_of

try:
    from fsspec.archive import AbstractArchiveFileSystem
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"the file system bbc {NEEDS_REMOTE}", name=error.name) from error

KEPT_BYTES = 1 << 26
"""Most bytes of the files that are kept once they are made, beside the last one."""

FileInfo = dict[str, Any]


class _File(io.BytesIO):
    """A file that was made, with its size, as readers of fsspec look for it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.size = len(data)


class _Members:
    """The files and folders of an archive.

    An image has the name that it has in the archive; one whose name is not that of an image file has `.png` behind it.
    """

    def __init__(self, reader: Reader, stem: str) -> None:
        """stem: of the name of a lone image. Raises BBCError where there are too many."""
        self.positions: dict[str, int] = {}
        self.folders: dict[str, dict[str, bool]] = {"": {}}
        """By the path of each folder the names in it, and whether they are folders."""
        if not reader.is_archive:
            self._add(f"{stem}{suffix_of(reader, 0, None, reader.file.suffix)}", 0)
            return
        others = []
        for position, name in enumerate(list_names(reader.names)):
            if name is not None and is_image_name(name):
                self._add(name, position)
            else:
                others.append((name or number_name(position, reader.image_count), position))
        for name, position in others:
            path, tries = f"{name}.png", 1
            while path in self.positions or path in self.folders:
                tries += 1
                path = f"{name}-{tries}.png"
            self._add(path, position)

    def _add(self, path: str, position: int) -> None:
        self.positions[path] = position
        is_folder = False
        while True:
            folder, _, name = path.rpartition("/")
            known = folder in self.folders
            self.folders.setdefault(folder, {})[name] = is_folder
            if known:
                return
            path, is_folder = folder, True


def is_image_name(name: str) -> bool:
    """Whether a name is that of an image file, by its suffix."""
    return PurePosixPath(name).suffix.lower() in image_suffixes()


class _Opened:
    """An archive, opened.

    Attributes:
        version: what tells whether another file has taken its place.
        sizes: of the files that were made, by their positions.
    """

    def __init__(self, file: BinaryIO, reader: Reader, version: object) -> None:
        self.file, self.reader, self.version = file, reader, version
        self.members: _Members | None = None
        self.sizes: dict[int, int] = {}
        self.made: Kept[bytes] = Kept(KEPT_BYTES)


class BBCFileSystem(AbstractArchiveFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The images of a file of bbc as files, which are only read. They are made when they are opened: files that are
    kept as they are, such as JPEGs, are these; other images are as `bbc decompress` writes them, mostly PNG.

    An open archive is kept, with the group that was read last, so that its other images take no time. Where a file of
    this machine is replaced, it is opened again; of what a URL names, `invalidate_cache` does that.
    """

    protocol = "bbc"
    root_marker = ""
    cachable = True

    def __init__(
        self,
        fo: Any = "",
        target_protocol: str | None = None,
        target_options: Mapping[str, Any] | None = None,
        model: str | Path | None = None,
        device: str = "cpu",
        max_pixels: int = MAX_PIXELS,
        max_steps: int = READER_K,
        sizes: bool = False,
        **options: Any,
    ) -> None:
        """fo: the archive: its path, its URL, or a seekable binary file, which is not closed here.
        target_protocol, target_options: of its file system, as fsspec gives them for chains of URLs.
        model, device, max_pixels, max_steps: as of `bbcompress.open`.
        sizes: `info` makes an image's file, so that its size is known; else the size is None until the file was made
            for another reason. FUSE needs it, other readers do not.

        Raises:
            BBCError: there is no archive, or an argument is wrong.
        """
        super().__init__(**options)
        self.fo = fo
        self._opened: _Opened | None = None
        self._lock, self._process = threading.RLock(), os.getpid()
        self._choice = arguments.model(model), device
        self._limits = limits_of(max_pixels, max_steps)
        self._sizes = arguments.flag("sizes", sizes)
        self._place: Place | None = None
        if not isinstance(fo, str | os.PathLike):
            arguments.binary_file(fo)
        elif not os.fspath(fo):
            raise BBCError("bbc:// needs an archive: bbc://NAME::ARCHIVE.bbc")
        elif target_protocol in (None, "file", "local"):
            self._place = place_of(fo)
        else:
            address = str(fo) if "://" in str(fo) else f"{target_protocol}://{fo}"
            self._place = Url(address, dict(target_options or {}))

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        stripped = super()._strip_protocol(path)
        return stripped.lstrip("/") if isinstance(stripped, str) else stripped

    @contextmanager
    def _archive(self) -> Iterator[_Opened]:
        """The archive, in the block for this thread alone. Raises BBCError, FormatError, ModelError."""
        with self._alone():
            version = _version_of(self._place)
            if self._opened is not None and self._opened.version != version:
                self.close()
            if self._opened is None:
                file = self.fo if self._place is None else open_place(self._place)
                try:
                    reader = Reader(file, open_models(*self._choice), self._limits)
                except BBCError as error:
                    if self._place is None:
                        raise
                    file.close()
                    raise error.of(str(self._place)) from None
                self._opened = _Opened(file, reader, version)
            yield self._opened

    def _alone(self) -> threading.RLock:
        """The lock of this process."""
        if self._process != os.getpid():
            # A thread that is not here may hold the other, and both processes would move the place in one file.
            self._lock, self._process, self._opened = threading.RLock(), os.getpid(), None
        return self._lock

    def _members(self) -> _Members:
        with self._archive() as opened:
            if opened.members is None:
                own = str(getattr(self.fo, "name", "image")) if self._place is None else self._place.stem
                opened.members = _Members(opened.reader, PurePosixPath(own).stem if self._place is None else own)
            return opened.members

    def _position(self, path: str) -> int | None:
        """The position of the image of a file; None where there is no such file."""
        with self._archive() as opened:
            if opened.members is None and opened.reader.is_archive and is_image_name(path):
                position = opened.reader.file.find(path)  # for one file they are not all listed
                if position is not None:
                    return position
            return self._members().positions.get(path)

    def info(self, path: str, **_: Any) -> FileInfo:
        """What is known of a file or folder: `name`, `type`, `size`, and `mtime` in seconds since 1970 where the
        archive says it. Raises FileNotFoundError."""
        path = self._strip_protocol(path)
        position = self._position(path)
        if position is not None:
            return self._info(path, position)
        if path in self._members().folders:
            return _folder(path)
        raise FileNotFoundError(path)

    def _info(self, path: str, position: int) -> FileInfo:
        with self._archive() as opened:
            if self._sizes and position not in opened.sizes:
                self._made(path, position)
            found = {"name": path, "type": "file", "size": opened.sizes.get(position)}
            time = opened.reader.times[position]
        return found if time is None else {**found, "mtime": time}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """The files and folders in a folder, by their names in sorted order. Raises FileNotFoundError."""
        path = self._strip_protocol(path)
        members = self._members()
        if path not in members.folders:
            if path not in members.positions:
                raise FileNotFoundError(path)
            return [self._info(path, members.positions[path])] if detail else [path]
        inside = sorted(members.folders[path].items())
        names = [f"{path}/{name}" if path else name for name, _ in inside]
        if not detail:
            return names
        kinds = (is_folder for _, is_folder in inside)
        return [
            _folder(name) if is_folder else self._info(name, members.positions[name])
            for name, is_folder in zip(names, kinds, strict=True)
        ]

    def modified(self, path: str) -> datetime:
        """When an image was modified. Raises FileNotFoundError, also where the archive does not say it."""
        time = self.info(path).get("mtime")
        if time is None:
            raise FileNotFoundError(f"{path}: the archive has no time of it")
        return datetime.fromtimestamp(time, timezone.utc)

    def _open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> _File:
        """The file of an image, made of it.

        Raises:
            FileNotFoundError: there is none. ReadOnlyError: it is to be written. FormatError, ModelError, LimitError:
            the image cannot be decoded.
        """
        if mode != "rb":
            self._refuse(path)
        path = self._strip_protocol(path)
        position = self._position(path)
        if position is None:
            if path in self._members().folders:
                raise IsADirectoryError(path)
            raise FileNotFoundError(path)
        return _File(self._made(path, position))

    def _made(self, path: str, position: int) -> bytes:
        """The bytes of the file of an image."""
        with self._archive() as opened:
            data = opened.made.get(position)
            if data is None:
                try:
                    content = opened.reader.read_content(position)
                    data = as_file(content, PurePosixPath(path).suffix, None, strip=False).data
                except BBCError as error:
                    raise error.of(path if self._place is None else f"{self._place}: {path}") from None
                opened.made.put(position, data, len(data))
                opened.sizes[position] = len(data)
            return data

    def invalidate_cache(self, path: str | None = None) -> None:
        """Open the archive again for the next call."""
        self.close()

    def close(self) -> None:
        """Close the archive, unless it was given as an open file, and forget what was made."""
        with self._alone():
            opened, self._opened = self._opened, None
            if opened is not None and self._place is not None:
                opened.file.close()

    def __del__(self) -> None:
        if self.__dict__.get("_opened") is not None:
            self.close()

    def _refuse(self, path: Any, *_: Any, **__: Any) -> NoReturn:
        """Raises ReadOnlyError."""
        raise ReadOnlyError(f"{path}: the file system bbc is only read; bbc compress makes archives, and bbc add adds")

    mkdir = makedirs = rmdir = rm_file = rm = _rm = touch = cp_file = mv = pipe_file = put_file = _refuse


def _folder(path: str) -> FileInfo:
    return {"name": path, "type": "directory", "size": 0}


def _version_of(place: Place | None) -> object:
    """What is another where another file has taken the place of one on this machine."""
    if not isinstance(place, Path):
        return None
    try:
        status = place.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
