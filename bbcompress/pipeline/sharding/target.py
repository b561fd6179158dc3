"""The folder into which a sharded archive is written, and what is recorded there until it is finished."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from bbcompress.archive.manifest import MANIFEST, json_line, parse_line
from bbcompress.archive.signature import SUFFIX
from bbcompress.errors import BBCError, MissingFileError, OutputExistsError
from bbcompress.system import storage
from bbcompress.system.locks import try_lock, unlock
from bbcompress.system.output import new_file, refuse_missing_folder, write_file
from bbcompress.system.permissions import Permissions, permissions_of, shared
from bbcompress.system.retries import persistent
from bbcompress.system.storage import Place, Url, place_of
from bbcompress.system.temporary import is_temporary

UNFINISHED = "unfinished"
"""The folder in the target that holds a record for each shard that is there, until the manifest is."""

AT_ONCE = 16
"""Requests to a store that are under way at a time, where many records are read or deleted."""

_SETTINGS, _LOCK = "settings.json", "lock"
_RECORD = re.compile(r"(\d{5,7})\.json")


class Target:
    """A folder, or a URL, for shards and their manifest. Every file appears as a whole, or not at all."""

    def __init__(self, address: str) -> None:
        """address: the path or URL of the folder."""
        self.address = address
        self._folder: Place = place_of(address)
        self._lock: int | None = None
        self._made = self._is_ours = False

    def __str__(self) -> str:
        return str(self._folder)

    @property
    def place(self) -> Place:
        """The folder."""
        return self._folder

    @property
    def name(self) -> str:
        """With which the names of the shards begin."""
        folder = self._folder
        return (folder.name if isinstance(folder, Url) else folder.resolve().name).removesuffix(SUFFIX)

    @property
    def _records(self) -> Place:
        return self._folder / UNFINISHED

    def check(self, force: bool, resume: bool) -> None:
        """Raises OutputExistsError where there is something that may not be overwritten, and is not to be resumed;
        BBCError where nothing can be written."""
        folder = self._folder
        if isinstance(folder, Url):
            storage.refuse_existing(folder / MANIFEST, True)
        elif os.path.exists(folder) and not os.path.isdir(folder):
            raise OutputExistsError(f"{self} is a file, and the shards need a folder")
        else:
            refuse_missing_folder(folder)
        if force:
            return
        there = self._names()
        if MANIFEST in there:
            raise OutputExistsError(f"{self} holds a sharded archive", command="--force replaces it")
        if any(name.startswith(f"{UNFINISHED}/") for name in there):
            if not resume:
                advice = "--resume goes on with it, --force begins anew"
                raise OutputExistsError(f"{self} holds an unfinished sharded archive", command=advice)
        elif there:
            raise OutputExistsError(f"{self} holds other files, such as {min(there)}: shards need a new folder")

    def _names(self) -> list[str]:
        """The files in the folder and below it, by their paths in it; none where there is no folder."""
        return [name for name, _ in self._listed()]

    def _listed(self) -> list[tuple[str, int | None]]:
        """The same with their sizes in bytes; of a folder of this machine no further than what is recorded. Raises
        BBCError."""
        folder = self._folder
        if isinstance(folder, Path):
            try:
                return [*_in(folder, ""), *_in(folder / UNFINISHED, f"{UNFINISHED}/")]
            except OSError as error:
                raise BBCError(f"{self}: cannot be read: {error.strerror or error}") from None
        with suppress(MissingFileError):
            return [(one.name, one.size) for one in persistent(lambda: storage.list_folder(folder))]
        return []

    def settings(self) -> dict[str, Any] | None:
        """Those of the unfinished archive that is there; None where there is none, or where they cannot be read."""
        try:
            found = parse_line(persistent(lambda: storage.read_bytes(self._records / _SETTINGS)).removesuffix(b"\n"))
        except MissingFileError:
            return None
        return found if isinstance(found, dict) else None

    def begin(self, settings: Mapping[str, Any], resume: bool) -> None:
        """Make the folder. Without `resume` what is there of a sharded archive goes first, and its manifest before its
        shards.

        Raises:
            BBCError: it cannot be made, or another command on this machine writes into it.
        """
        if isinstance(self._folder, Path):
            self._make_folder(self._folder)
        self._is_ours = True
        if not resume:
            there = self._names()
            self._delete([name for name in there if name == MANIFEST])
            self._delete([name for name in there if name.startswith(f"{UNFINISHED}/") and not name.endswith(_LOCK)])
            self.remove_shards_from(0)
        self._write(self._records / _SETTINGS, json_line(settings), None)

    def _make_folder(self, folder: Path) -> None:
        try:
            if not folder.is_dir():
                folder.mkdir()
                self._made = True
            (folder / UNFINISHED).mkdir(exist_ok=True)
            descriptor = os.open(folder / UNFINISHED / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise BBCError(f"{self}: cannot be written: {error.strerror or error}") from None
        is_ours = True
        with suppress(OSError):  # there are no locks here
            is_ours = try_lock(descriptor)
        if not is_ours:
            os.close(descriptor)
            raise BBCError(f"{self}: another command is writing it; try again later")
        self._lock = descriptor

    def remove_shards_from(self, number: int) -> None:
        """Delete the shards of that number and of greater ones. Raises BBCError."""
        is_shard = re.compile(rf"{re.escape(self.name)}-(\d{{5,7}}){re.escape(SUFFIX)}").fullmatch
        self._delete([name for name in self._names() if (found := is_shard(name)) and int(found[1]) >= number])

    def _delete(self, names: Sequence[str]) -> None:
        """Delete files, by their paths in the folder. Raises BBCError."""
        _each(lambda name: persistent(lambda: storage.remove(self._folder / name)), names)

    def end(self, forget: bool = True) -> None:
        """Others may write.

        Args:
            forget: where nothing was made, leave nothing. Not where processes may still write into it.
        """
        if not self._is_ours:
            return
        self._is_ours = False
        if self._lock is not None:
            unlock(self._lock)
            os.close(self._lock)
            self._lock = None
        with suppress(BBCError, OSError):
            there = self._names()
            left = {f"{UNFINISHED}/{name}" for name in ((_LOCK, _SETTINGS) if forget else (_LOCK,))}
            records = [name for name in there if name.startswith(f"{UNFINISHED}/")]
            if set(records) <= left:
                self._delete(records)
                if isinstance(self._folder, Path):
                    (self._folder / UNFINISHED).rmdir()
                    if self._made:
                        self._folder.rmdir()

    @contextmanager
    def new(self, file: str, permissions: Callable[[], Permissions | None]) -> Iterator[BinaryIO]:
        """A file that is there when the block ends well; one that has the name is replaced. It can be read, too.

        For a URL it lies in the temporary folder of this machine until it is sent.

        Args:
            permissions: as of `new_file`.
        """
        place = self._folder / file
        if isinstance(place, Path):
            with new_file(place, True, permissions) as its:
                yield its
            return
        with tempfile.TemporaryFile() as local:
            yield local
            persistent(lambda: _send(local, place))

    def write_record(self, number: int, data: bytes, shard: str | None) -> None:
        """Record a shard. Who may not read its file may not read the record either.

        Args:
            shard: its file; None where there is none.
        """
        its = None if shard is None or isinstance(self._folder, Url) else permissions_of(self._folder / shard)
        self._write(self._records / f"{number:05}.json", data, its)

    def _write(self, place: Place, data: bytes, permissions: Permissions | None) -> None:
        """Raises BBCError."""
        if isinstance(place, Path):
            write_file(place, data, True, permissions)
            return
        persistent(lambda: _put(data, place))

    def records(self) -> dict[int, bytes]:
        """What is recorded, by the numbers of the shards. Raises BBCError."""
        names = [name.partition("/")[2] for name in self._names() if name.startswith(f"{UNFINISHED}/")]
        numbers = [(int(match[1]), name) for name in names if (match := _RECORD.fullmatch(name))]
        found = _each(lambda one: persistent(lambda: storage.read_bytes(self._records / one[1])), numbers)
        return {number: data for (number, _), data in zip(numbers, found, strict=True)}

    def sizes(self) -> dict[str, int | None]:
        """Bytes of the files in the folder. Raises BBCError."""
        return {name: size for name, size in self._listed() if "/" not in name}

    def finish(self, manifest: bytes, shards: Iterable[str]) -> None:
        """Write the manifest, with the permissions that all shards have, and forget the records. Raises BBCError."""
        permissions = None
        if isinstance(self._folder, Path):
            try:
                for file in shards:
                    permissions = shared(permissions, permissions_of(self._folder / file))
            except OSError as error:
                raise BBCError(f"{self}: cannot be read: {error.strerror or error}") from None
        self._write(self._folder / MANIFEST, manifest, permissions)
        self.forget_records()

    def forget_records(self) -> None:
        """Delete them; those that cannot be deleted are in nobody's way."""
        with suppress(BBCError):
            self._delete([name for name in self._names() if _RECORD.fullmatch(name.removeprefix(f"{UNFINISHED}/"))])


def _in(folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
    """What is in a folder, but for what a process works on. Raises OSError."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if not is_temporary(entry.name) and (prefix or entry.name != UNFINISHED):
                yield f"{prefix}{entry.name}", entry.stat(follow_symlinks=False).st_size


def _send(local: BinaryIO, url: Place) -> None:
    local.seek(0)
    with storage.new_file(url, True) as out:
        shutil.copyfileobj(local, out, storage.PART_BYTES)


def _put(data: bytes, url: Place) -> None:
    with storage.new_file(url, True) as out:
        out.write(data)


def _each(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """The function of each item, of several at a time."""
    if len(items) < 2:
        return list(map(function, items))
    with ThreadPoolExecutor(min(AT_ONCE, len(items))) as pool:
        return list(pool.map(function, items))
