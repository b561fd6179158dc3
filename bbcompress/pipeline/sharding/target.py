"""The folder into which a sharded archive is written, and what is recorded there until it is finished."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from bbcompress.archive.manifest import MANIFEST, json_line, parse_line
from bbcompress.archive.signature import SUFFIX
from bbcompress.errors import BBCError, OutputExistsError
from bbcompress.system.locks import try_lock, unlock
from bbcompress.system.output import new_file, write_file
from bbcompress.system.permissions import Permissions, permissions_of, shared
from bbcompress.system.temporary import is_temporary

UNFINISHED = "unfinished"
"""The folder in the target that holds a record for each shard that is there, until the manifest is."""

_SETTINGS, _LOCK = "settings.json", "lock"
_RECORD = re.compile(r"(\d{5,7})\.json")


class Target:
    """A folder for shards and their manifest. Every file appears as a whole, or not at all."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._folder = Path(place)
        self._records = self._folder / UNFINISHED
        self._lock: int | None = None
        self._made = False

    @property
    def name(self) -> str:
        """With which the names of the shards begin."""
        return self._folder.resolve().name.removesuffix(SUFFIX)

    def check(self, force: bool, resume: bool) -> None:
        """Raises OutputExistsError where there is something that may not be overwritten, and is not to be resumed."""
        folder = self._folder
        if folder.exists() and not folder.is_dir():
            raise OutputExistsError(f"{self.place} is a file, and the shards need a folder")
        if not folder.parent.is_dir():
            raise BBCError(f"{self.place}: there is no folder {folder.parent}")
        if force or not folder.is_dir():
            return
        if (folder / MANIFEST).exists():
            raise OutputExistsError(f"{self.place} holds a sharded archive", command="--force replaces it")
        if self._records.exists():
            if not resume:
                advice = "--resume goes on with it, --force begins anew"
                raise OutputExistsError(f"{self.place} holds an unfinished sharded archive", command=advice)
        elif others := [path.name for path in folder.iterdir() if not is_temporary(path.name)]:
            raise OutputExistsError(f"{self.place} holds other files, such as {min(others)}: shards need a new folder")

    def settings(self) -> dict[str, Any] | None:
        """Those of the unfinished archive that is there; None where there is none, or where they cannot be read."""
        try:
            found = parse_line((self._records / _SETTINGS).read_bytes().removesuffix(b"\n"))
        except OSError:
            return None
        return found if isinstance(found, dict) else None

    def begin(self, settings: Mapping[str, Any], resume: bool) -> None:
        """Make the folder. Without `resume` what is there of a sharded archive goes first, and its manifest before its
        shards.

        Raises:
            BBCError: it cannot be made, or another command writes into it.
        """
        try:
            if not self._folder.is_dir():
                self._folder.mkdir()
                self._made = True
            self._records.mkdir(exist_ok=True)
            self._lock = self._locked()
            if not resume:
                (self._folder / MANIFEST).unlink(missing_ok=True)
                for path in self._records.iterdir():
                    if path.name != _LOCK:
                        path.unlink()
                self.remove_shards_from(0)
        except OSError as error:
            raise self._cannot(error) from None
        write_file(self._records / _SETTINGS, json_line(settings), True)

    def _locked(self) -> int:
        """The descriptor of the file that is locked. Raises OSError, BBCError where it is locked already."""
        descriptor = os.open(self._records / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        is_ours = True
        with suppress(OSError):  # there are no locks here
            is_ours = try_lock(descriptor)
        if not is_ours:
            os.close(descriptor)
            raise BBCError(f"{self.place}: another command is writing it; try again later")
        return descriptor

    def end(self, forget: bool = True) -> None:
        """Others may write.

        Args:
            forget: where nothing was made, leave nothing. Not where processes may still write into it.
        """
        if self._lock is None:
            return
        unlock(self._lock)
        os.close(self._lock)
        self._lock = None
        with suppress(OSError):
            left = {path.name for path in self._records.iterdir()}
            if left <= ({_LOCK, _SETTINGS} if forget else {_LOCK}):
                self._forget()
                if self._made:
                    self._folder.rmdir()

    def _forget(self) -> None:
        """Delete the records. Raises OSError."""
        for path in list(self._records.iterdir()):
            path.unlink()
        self._records.rmdir()

    def remove_shards_from(self, number: int) -> None:
        """Delete the shards of that number and of greater ones. Raises BBCError."""
        is_shard = re.compile(rf"{re.escape(self.name)}-(\d{{5,7}})\.bbc").fullmatch
        try:
            for path in list(self._folder.iterdir()):
                found = is_shard(path.name)
                if found and int(found[1]) >= number:
                    path.unlink()
        except OSError as error:
            raise self._cannot(error) from None

    def new(self, file: str, permissions: Callable[[], Permissions | None]) -> AbstractContextManager[BinaryIO]:
        """A file that gets its name when the block ends well; one that has the name is replaced. It can be read, too.

        Args:
            permissions: as of `new_file`.
        """
        return new_file(self._folder / file, True, permissions)

    def write_record(self, number: int, data: bytes, shard: str | None) -> None:
        """Record a shard. Who may not read its file may not read the record either.

        Args:
            shard: its file; None where there is none.
        """
        permissions = None if shard is None else permissions_of(self._folder / shard)
        write_file(self._records / f"{number:05}.json", data, True, permissions)

    def records(self) -> dict[int, bytes]:
        """What is recorded, by the numbers of the shards. Raises BBCError."""
        found: dict[int, bytes] = {}
        try:
            for path in self._records.iterdir() if self._records.is_dir() else ():
                if match := _RECORD.fullmatch(path.name):
                    found[int(match[1])] = path.read_bytes()
        except OSError as error:
            raise self._cannot(error) from None
        return found

    def size(self, file: str) -> int | None:
        """Bytes of a file; None where there is none."""
        try:
            return (self._folder / file).stat().st_size
        except OSError:
            return None

    def finish(self, manifest: bytes, shards: Iterable[str]) -> None:
        """Write the manifest, with the permissions that all shards have, and forget the records. Raises BBCError."""
        permissions = None
        try:
            for file in shards:
                permissions = shared(permissions, permissions_of(self._folder / file))
        except OSError as error:
            raise self._cannot(error) from None
        write_file(self._folder / MANIFEST, manifest, True, permissions)
        self.forget_records()

    def forget_records(self) -> None:
        """Delete them; those that cannot be deleted are in nobody's way."""
        with suppress(OSError):
            for path in list(self._records.iterdir()):
                if path.name != _LOCK:
                    path.unlink()

    def _cannot(self, error: OSError) -> BBCError:
        return BBCError(f"{self.place}: cannot be written: {error.strerror or error}")
