"""The manifest of a sharded archive: a line of JSON for each shard. See docs/format.md, "Sharded archives".

The images of a shard are listed in its own index. So the manifest grows with the shards, not with the images.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, TypeVar

from bbcompress.archive.container import MAX_ARCHIVE_IMAGES
from bbcompress.archive.names import MAX_NAME_BYTES, name_key, new_name_fault
from bbcompress.archive.signature import SUFFIX
from bbcompress.errors import FormatError

MANIFEST = "manifest.jsonl"
"""The name of the manifest in the folder of its shards."""

FORMAT, VERSION = "bbc shards", 1

START = f'{{"format":"{FORMAT}"'.encode()
"""The first bytes of every manifest."""

MAX_SHARDS = 1 << 20
MAX_UNREAD = 1 << 20
MAX_LINE_BYTES = 1 << 17
"""More than the two longest names of a shard take, and its models."""

MAX_MANIFEST_BYTES = 1 << 29
MAX_NUMBER = 1 << 53
"""Most pixels or bytes of a shard: every reader of JSON knows such numbers exactly."""

MAX_MODELS = 1 << 8

Record = TypeVar("Record")


@dataclass(frozen=True)
class Shard:
    """An archive that is a part of a sharded one.

    Attributes:
        file: its name in the folder of the manifest.
        images, groups, pixels, bytes: what it holds, and its size.
        sha256: of the file, in hexadecimal digits.
        first, last: the least and the greatest of its images' names, by `name_key`.
        models: the ids of the models that code it, in hexadecimal digits, sorted.
        carried: those of the models that are in the file, sorted.
    """

    file: str
    images: int
    groups: int
    pixels: int
    bytes: int
    sha256: str
    first: str
    last: str
    models: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unread:
    """A file that was to be an image and could not be read: its name, empty where it can have none, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}" if self.name else self.reason


@dataclass(frozen=True)
class Manifest:
    """What is known of a sharded archive before any shard is opened.

    Attributes:
        name: with which the names of its shards begin.
        shards: in the order of their images, which is that of `name_key`.
        unread: what is in no shard.
        models: the names of the models by their ids, in hexadecimal digits.
        settings: with which it was made, as JSON values; readers do not need them.
    """

    name: str
    shards: Sequence[Shard]
    unread: Sequence[Unread]
    models: Mapping[str, str]
    settings: Mapping[str, Any]

    @property
    def image_count(self) -> int:
        """Images of all shards."""
        return sum(shard.images for shard in self.shards)

    def encode(self) -> bytes:
        """The bytes of the manifest; there is one way to write it."""
        head = {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "shards": len(self.shards),
            "images": self.image_count,
            "pixels": sum(shard.pixels for shard in self.shards),
            "bytes": sum(shard.bytes for shard in self.shards),
            "unread": len(self.unread),
            "models": dict(sorted(self.models.items())),
            "settings": dict(sorted(self.settings.items())),
        }
        lines = [head, *map(asdict, self.shards), *map(asdict, self.unread)]
        body = b"".join(map(json_line, lines))
        return body + json_line({"sha256": hashlib.sha256(body).hexdigest()})

    @staticmethod
    def decode(data: bytes) -> Manifest:
        """Read what `encode` wrote; every other form is refused.

        Raises:
            FormatError: it is damaged, above a limit, or of another version.
        """
        if len(data) > MAX_MANIFEST_BYTES:
            raise _fault(f"has {len(data)} bytes, the limit is {MAX_MANIFEST_BYTES}")
        lines = _lines(data)
        head = next(lines)
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise FormatError("the file is not a manifest of shards")
        if head.get("version") != VERSION:
            raise FormatError(f"the manifest is of version {head.get('version')}, this program reads version {VERSION}")
        counts = [head.get("shards"), head.get("unread")]
        if not _is_number(counts[0], 1, MAX_SHARDS) or not _is_number(counts[1], 0, MAX_UNREAD):
            raise _fault("has a number of shards or of unread files that is not allowed")
        shards = [_record(Shard, next(lines, None)) for _ in range(head["shards"])]
        unread = [_record(Unread, next(lines, None)) for _ in range(head["unread"])]
        end = next(lines, None)
        if not isinstance(end, dict) or next(lines, None) is not None:
            raise _fault("has more or fewer lines than it says")
        models, settings = head.get("models"), head.get("settings")
        if not isinstance(models, dict) or len(models) > MAX_MODELS or not isinstance(settings, dict):
            raise _fault("has no models or settings")
        manifest = Manifest(str(head.get("name")), shards, unread, models, settings)
        if end.get("sha256") != hashlib.sha256(data[: data.rstrip(b"\n").rfind(b"\n") + 1]).hexdigest():
            raise _fault("has another checksum than its lines")
        manifest._check()
        try:
            same = manifest.encode() == data
        except (ValueError, RecursionError):
            same = False
        if not same:
            raise _fault("is not written in the one way that is allowed")
        return manifest

    def _check(self) -> None:
        """Raises FormatError where something is not as it must be."""
        if not is_shard_prefix(self.name):
            raise _fault("has a name that is not allowed")
        for number, shard in enumerate(self.shards):
            _check_shard(shard, self.models)
            if not shard.file.startswith(f"{self.name}-"):
                raise _fault(f"has another file than {self.name}-... as shard {number}")
        if len({shard.file for shard in self.shards}) != len(self.shards):
            raise _fault("names a shard twice")
        for one, other in pairwise(self.shards):
            if name_key(one.last) >= name_key(other.first) or other.first.startswith(f"{one.last}/"):
                raise _fault(f"has the names of {one.file} and {other.file} in another order than it must")
        used = {identity for shard in self.shards for identity in (*shard.models, *shard.carried)}
        if used != set(self.models):
            raise _fault("has other models than its shards")
        for name in self.models.values():
            _check_text(name, "a model")
        for unread in self.unread:
            _check_text(unread.name, "an unread file")
            _check_text(unread.reason, "a reason")


def shard_file(name: str, number: int) -> str:
    """The name of a shard's file."""
    return f"{name}-{number:05}{SUFFIX}"


def is_shard_prefix(name: str) -> bool:
    """Whether the names of shards may begin so."""
    return "/" not in name and new_name_fault(shard_file(name, MAX_SHARDS)) is None and not name.startswith(".")


def json_line(value: Mapping[str, Any]) -> bytes:
    """A line of JSON, in the one way in which bbc writes it: ASCII, without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode() + b"\n"


def parse_line(line: bytes) -> Any:
    """The value of a line of JSON; None for what is none, or is too long."""
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _lines(data: bytes) -> Iterator[Any]:
    """The value of each line; that which is none of JSON is None, which no record is."""
    if not data.endswith(b"\n"):
        raise _fault("is cut short")
    start = 0
    while start < len(data):
        end = data.index(b"\n", start)
        yield parse_line(data[start:end])
        start = end + 1


def _record(kind: Callable[..., Record], value: object) -> Record:
    """A record of a line. Raises FormatError."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(value, dict) or list(value) != names:
        raise _fault("has a line that is not as it must be")
    return kind(**{name: tuple(its) if isinstance(its, list) else its for name, its in value.items()})


def shard_of(value: object) -> Shard:
    """A shard of the JSON values of its line. Raises FormatError."""
    shard = _record(Shard, value)
    _check_shard(shard, None)
    return shard


def _check_shard(shard: Shard, models: Mapping[str, str] | None) -> None:
    """Raises FormatError where a shard is not as it must be."""
    if not isinstance(shard.file, str) or not re.fullmatch(rf".+-\d{{5,7}}{re.escape(SUFFIX)}", shard.file):
        raise _fault("names a shard that cannot be one")
    if "/" in shard.file or new_name_fault(shard.file):
        raise _fault("names a shard that cannot be one")
    numbers = (shard.images, shard.groups, shard.pixels, shard.bytes)
    if not all(_is_number(number, 1, MAX_NUMBER) for number in numbers) or not (
        shard.groups <= shard.images <= MAX_ARCHIVE_IMAGES
    ):
        raise _fault(f"has numbers of {shard.file} that are not allowed")
    if not _is_hash(shard.sha256):
        raise _fault(f"has no checksum of {shard.file}")
    for name in (shard.first, shard.last):
        if not isinstance(name, str) or new_name_fault(name):
            raise _fault(f"has a name of an image of {shard.file} that is not allowed")
    if name_key(shard.first) > name_key(shard.last):
        raise _fault(f"has the names of {shard.file} in another order than it must")
    for ids in (shard.models, shard.carried):
        if not isinstance(ids, tuple) or len(ids) > MAX_MODELS or not all(map(_is_hash, ids)):
            raise _fault(f"has models of {shard.file} that are not allowed")
        if list(ids) != sorted(set(ids)) or (models is not None and not set(ids) <= set(models)):
            raise _fault(f"has models of {shard.file} that are not allowed")


def _check_text(text: object, what: str) -> None:
    if not isinstance(text, str) or len(text) > 2 * MAX_NAME_BYTES:
        raise _fault(f"has a text of {what} that is not allowed")


def _is_number(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _fault(what: str) -> FormatError:
    return FormatError(f"the manifest is damaged: it {what}")
