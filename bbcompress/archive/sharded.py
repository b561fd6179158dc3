"""Sharded archives: a manifest and the archives that it names, read like one archive. See docs/format.md."""

from __future__ import annotations

import hashlib
import io
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import accumulate
from typing import Any, BinaryIO, TypeVar

from bbcompress.archive.container import ArchiveFile
from bbcompress.archive.embedded import EmbeddedModel, ModelPlace
from bbcompress.archive.file import Accounting, BBCFile
from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.manifest import Manifest, Shard
from bbcompress.archive.names import Lazy, name_key
from bbcompress.archive.search import Tail
from bbcompress.archive.segments import GroupEntry, shifted
from bbcompress.errors import BBCError, FormatError
from bbcompress.lazy import cached_property
from bbcompress.limits import DEFAULT_LIMITS, Limits

OPEN_SHARDS = 16
"""Shards that are open at once, with their indexes in memory: those that were used last."""

_AT_ONCE = 1 << 20

_OTHER_NAMES = "it has other names than the manifest says"

Item = TypeVar("Item")


class ShardSource(io.BytesIO):
    """The bytes of a manifest as a file, and the shards that lie beside it."""

    def __init__(self, manifest: bytes, name: str, open_shard: Callable[[str], BinaryIO]) -> None:
        """name: of the manifest. open_shard: gives the seekable file of a shard by its name; it raises OSError or
        BBCError."""
        super().__init__(manifest)
        self.name = name
        self._open_shard = open_shard
        self._opened: set[BinaryIO] = set()

    def open(self, file: str) -> BinaryIO:
        """A shard; it is closed with the manifest, or by `drop`.

        Raises:
            FormatError: it is not there, or cannot be read.
        """
        try:
            opened = self._open_shard(file)
        except (OSError, BBCError) as error:
            reason = getattr(error, "strerror", None) or error
            raise FormatError(f"the shard {file} cannot be read: {reason}") from None
        self._opened.add(opened)
        return opened

    def drop(self, opened: BinaryIO) -> None:
        """Close a shard."""
        self._opened.discard(opened)
        opened.close()

    def close(self) -> None:
        """Close all."""
        while self._opened:
            self._opened.pop().close()
        super().close()


class LostShard(BBCFile):
    """Stands for a shard that cannot be read, with as many images as the manifest says, in one group that is lost."""

    is_archive = True
    tail = Tail()

    def __init__(self, shard: Shard, reason: str) -> None:
        self._count, self.fault = shard.images, reason
        self.unread = shard.bytes
        self.groups = [GroupEntry(0, shard.bytes, shard.images, None, range(shard.images))]

    @property
    def image_count(self) -> int:
        """As the manifest says."""
        return self._count

    @property
    def names(self) -> Sequence[str | None]:
        """None is known."""
        return _Nothing(self._count)

    @property
    def times(self) -> Sequence[int | None]:
        """None is known."""
        return _Nothing(self._count)

    def find(self, name: str) -> int | None:
        """No name is known."""
        return None

    def locate(self, position: int) -> tuple[int, int]:
        """As of `BBCFile`."""
        return 0, range(self._count)[position]

    def read_group(self, number: int) -> Group:
        """Raises FormatError."""
        raise FormatError(str(self.fault))

    def read_header(self, number: int) -> GroupHeader:
        """Raises FormatError."""
        raise FormatError(str(self.fault))

    def preview(self, position: int) -> None:
        """As of `BBCFile`; there is none."""
        _ = range(self._count)[position]

    def accounting_of(self, metadata: int, payloads: int) -> Accounting:
        """Nothing of it is known."""
        return Accounting(metadata=metadata, payloads=payloads)


class ShardedFile(BBCFile):
    """A sharded archive. Shards are opened when something of them is asked for, and a few stay open.

    The names of the images of a shard lie between those that the manifest says, so that a name is looked for in one
    shard alone.

    Attributes:
        manifest: what is known of the shards.
    """

    is_archive = True
    framing = "a shard"

    def __init__(self, source: ShardSource, limits: Limits = DEFAULT_LIMITS, keep_going: bool = False) -> None:
        """keep_going: look at all shards, and go on with what is left of them.

        Raises:
            FormatError: the manifest is damaged.
        """
        self._source, self._limits, self._keep_going = source, limits, keep_going
        self.manifest = Manifest.decode(source.getvalue())
        self.tail = Tail()
        self._opened: OrderedDict[int, tuple[BBCFile, BinaryIO | None]] = OrderedDict()
        shards = self.manifest.shards
        counts = [(shard.images, shard.groups) for shard in shards]
        if keep_going:
            faults = []
            for number in range(len(shards)):
                shard = self.shard(number)
                counts[number] = shard.image_count, len(shard.groups)
                self.unread += shard.unread
                if shard.fault is not None:
                    file = shards[number].file
                    faults.append(shard.fault if file in shard.fault else f"{file}: {shard.fault}")
                self.duplicate = self.duplicate or shard.duplicate
            if faults:
                others = f", and {len(faults) - 1} of the others are damaged, too" if len(faults) > 1 else ""
                self.fault = f"{faults[0]}{others}"
        self._starts = [0, *accumulate(images for images, _ in counts)]
        self._first_groups = [0, *accumulate(groups for _, groups in counts)]
        self.groups = _Groups(self, self._first_groups)
        self.models = [self._carried(identity) for identity in self._carriers]

    def shard(self, number: int) -> BBCFile:
        """A shard of the manifest; while it is not asked for it may be closed.

        Raises:
            FormatError: it is not there, damaged, or not the one that the manifest names.
        """
        if number in self._opened:
            self._opened.move_to_end(number)
            return self._opened[number][0]
        shard, stream = self.manifest.shards[number], None
        try:
            stream = self._source.open(shard.file)
            opened: BBCFile = self._open(shard, stream)
        except FormatError as error:
            if stream is not None:
                self._source.drop(stream)
                stream = None
                error = error.of(shard.file)
            if not self._keep_going:
                raise error from None
            opened = LostShard(shard, str(error))
        self._opened[number] = opened, stream
        if len(self._opened) > OPEN_SHARDS:
            _, (_, oldest) = self._opened.popitem(last=False)
            if oldest is not None:
                self._source.drop(oldest)
        return opened

    def _open(self, shard: Shard, stream: BinaryIO) -> BBCFile:
        """Raises FormatError."""
        if (size := stream.seek(0, os.SEEK_END)) != shard.bytes and not self._keep_going:
            raise FormatError(f"it has {size} bytes, the manifest says {shard.bytes}")
        opened = ArchiveFile(stream, self._limits, self._keep_going)
        span = opened.name_span
        if self._keep_going:  # of some images the names may be lost
            least, greatest = map(name_key, span or (shard.first, shard.last))
            if least < name_key(shard.first) or greatest > name_key(shard.last):
                raise FormatError(_OTHER_NAMES)
            return opened
        for what, has, says in (
            ("images", opened.image_count, shard.images),
            ("groups", len(opened.groups), shard.groups),
        ):
            if has != says:
                raise FormatError(f"it has {has} {what}, the manifest says {says}")
        if span != (shard.first, shard.last):
            raise FormatError(_OTHER_NAMES)
        return opened

    @cached_property
    def _carriers(self) -> dict[str, int]:
        """The number of a shard that carries a model, by the model's id."""
        found: dict[str, int] = {}
        for number, shard in enumerate(self.manifest.shards):
            for identity in shard.carried:
                found.setdefault(identity, number)
        return found

    def _carried(self, identity: str) -> ModelPlace:
        def read() -> EmbeddedModel:
            places = self.shard(self._carriers[identity]).models
            place = next((place for place in places if place.id.hex() == identity), None)
            if place is None:
                raise FormatError(f"the model {identity[:8]} is not in the shard that is to carry it")
            return place.read()

        return ModelPlace(bytes.fromhex(identity), 0, 0, read)

    @property
    def image_count(self) -> int:
        """Images of all shards."""
        return self._starts[-1]

    @property
    def names(self) -> Sequence[str | None]:
        """As of `BBCFile`; a shard is opened when a name of it is asked for."""
        return _OfImages(self, self._starts, _names_of)

    @property
    def times(self) -> Sequence[int | None]:
        """As of `BBCFile`."""
        return _OfImages(self, self._starts, _times_of)

    @property
    def time_span(self) -> tuple[int, int] | None:
        """As of `BBCFile`; all shards are opened."""
        spans = [span for shard in self._all() if (span := shard.time_span) is not None]
        return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None

    def _all(self) -> Iterator[BBCFile]:
        return map(self.shard, range(len(self.manifest.shards)))

    def find(self, name: str) -> int | None:
        """As of `BBCFile`; one shard is opened, or none."""
        number = bisect_right(self._first_names, name_key(name)) - 1
        if number < 0 or name_key(name) > name_key(self.manifest.shards[number].last):
            return None
        position = self.shard(number).find(name)
        return None if position is None else self._starts[number] + position

    @cached_property
    def _first_names(self) -> list[str]:
        return [name_key(shard.first) for shard in self.manifest.shards]

    def locate(self, position: int) -> tuple[int, int]:
        """As of `BBCFile`."""
        number, within = _place(self._starts, range(self.image_count)[position])
        group, index = self.shard(number).locate(within)
        return self._first_groups[number] + group, index

    def group_entry(self, number: int) -> GroupEntry:
        """One of `groups`."""
        shard, within = _place(self._first_groups, number)
        entry = self.shard(shard).groups[within]
        return replace(entry, positions=shifted(entry.positions, self._starts[shard]))

    def read_group(self, number: int) -> Group:
        """As of `BBCFile`."""
        shard, within = _place(self._first_groups, range(len(self.groups))[number])
        with self._of_shard(shard):
            return self.shard(shard).read_group(within)

    def read_header(self, number: int) -> GroupHeader:
        """As of `BBCFile`."""
        shard, within = _place(self._first_groups, range(len(self.groups))[number])
        with self._of_shard(shard):
            return self.shard(shard).read_header(within)

    def preview(self, position: int) -> bytes | None:
        """As of `BBCFile`."""
        shard, within = _place(self._starts, range(self.image_count)[position])
        with self._of_shard(shard):
            return self.shard(shard).preview(within)

    def _of_shard(self, number: int) -> _OfShard:
        return _OfShard(self.manifest.shards[number].file)

    def accounting_of(self, metadata: int, payloads: int) -> Accounting:
        """As of `BBCFile`; all shards are opened."""
        total = Accounting(manifest=len(self._source.getvalue()))
        for shard in self._all():
            total = total + shard.accounting_of(0, 0)
        headers = total.group_headers - metadata - payloads
        return replace(total, group_headers=headers, metadata=metadata, payloads=payloads)

    @property
    def size(self) -> int:
        """Bytes of the manifest and its shards."""
        return len(self._source.getvalue()) + sum(shard.bytes for shard in self.manifest.shards)

    def faults(self) -> Iterator[str]:
        """What the manifest says otherwise than the files of the shards; all of them are read."""
        for shard in self.manifest.shards:
            try:
                stream = self._source.open(shard.file)
                try:
                    digest = sha256_of(stream)
                finally:
                    self._source.drop(stream)
            except FormatError as error:
                yield str(error)
                continue
            if digest != shard.sha256:
                yield f"{shard.file} is not the file that the manifest names: its SHA-256 is another one"

    def description(self) -> dict[str, Any]:
        """As of `BBCFile`: the shards, what is in none of them, and the settings."""
        manifest = self.manifest
        shards = [{**asdict(shard), "models": list(shard.models), "carried": list(shard.carried)}
                  for shard in manifest.shards]  # fmt: skip
        return {"shards": shards, "unread": list(map(asdict, manifest.unread)), "settings": dict(manifest.settings)}


def sha256_of(file: BinaryIO) -> str:
    """Of a whole file, in hexadecimal digits."""
    digest = hashlib.sha256()
    file.seek(0)
    while part := file.read(_AT_ONCE):
        digest.update(part)
    return digest.hexdigest()


class _OfShard:
    """Errors within the block begin with the name of a shard."""

    def __init__(self, file: str) -> None:
        self._file = file

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, FormatError) and not str(error).startswith((self._file, "the shard ")):
            raise error.of(self._file) from None


def _place(starts: Sequence[int], position: int) -> tuple[int, int]:
    """The shard in which a position lies, and where in it."""
    number = bisect_right(starts, position) - 1
    return number, position - starts[number]


def _names_of(shard: BBCFile) -> Sequence[str | None]:
    return shard.names


def _times_of(shard: BBCFile) -> Sequence[int | None]:
    return shard.times


class _Groups(Lazy[GroupEntry]):
    """The groups of all shards."""

    def __init__(self, file: ShardedFile, starts: Sequence[int]) -> None:
        self._file, self._count = file, starts[-1]

    def __len__(self) -> int:
        return self._count

    def _at(self, index: int) -> GroupEntry:
        return self._file.group_entry(index)


class _OfImages(Lazy["Item | None"]):
    """What all images have, by position."""

    def __init__(
        self, file: ShardedFile, starts: Sequence[int], items_of: Callable[[BBCFile], Sequence[Item | None]]
    ) -> None:
        self._file, self._starts, self._items_of = file, starts, items_of
        self._last: tuple[int, Sequence[Item | None]] = -1, ()

    def __len__(self) -> int:
        return self._starts[-1]

    def _at(self, index: int) -> Item | None:
        number, within = _place(self._starts, index)
        if self._last[0] != number:  # most callers go along, and the items of a shard stay when it is closed
            self._last = number, self._items_of(self._file.shard(number))
        return self._last[1][within]


class _Nothing(Lazy[None]):
    """None, so many times."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def _at(self, index: int) -> None:
        return None
