"""Which images go into which shard: a function of the source and of the size of shards, and of nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bbcompress.archive.manifest import MAX_SHARDS, json_line, shard_file
from bbcompress.archive.names import name_key
from bbcompress.codecs.progress import Progress
from bbcompress.errors import BBCError
from bbcompress.images.measure import estimated_pixels
from bbcompress.pipeline.sources import Source
from bbcompress.system import storage
from bbcompress.system.retries import StorageError, persistent
from bbcompress.system.storage import Place, address_of

MAX_SHARD_IMAGES = 1 << 18
"""The names of a shard are listed in memory where one of its images is looked for."""

MEASURED_AT_ONCE = 512


class Measured(NamedTuple):
    """A file of the source. given: by itself, not met in a folder. pixels: estimated. size: in bytes. time: when it was
    modified, in nanoseconds since 1970; 0 where it cannot be looked at."""

    name: str
    place: str
    given: bool
    pixels: int
    size: int
    time: int


@dataclass(frozen=True)
class Plan:
    """A shard that is to be made.

    Attributes:
        number: of the shard, from 0.
        file: its name.
        sources: in the order of their names.
        digest: of the sources and of all settings that change the bytes of the shard.
    """

    number: int
    file: str
    sources: tuple[Measured, ...]
    digest: str

    @property
    def pixels(self) -> int:
        """About how many there are."""
        return sum(source.pixels for source in self.sources)


class Measuring(NamedTuple):
    """Files of which the pixels are to be estimated; frames: of all pictures of each."""

    sources: Sequence[Source]
    frames: bool


def measuring(sources: Sequence[Source], frames: bool) -> list[Measuring]:
    """The files in the order of their names, some in each task."""
    ordered = sorted(sources, key=lambda source: name_key(source.name))
    starts = range(0, len(ordered), MEASURED_AT_ONCE)
    return [Measuring(ordered[start : start + MEASURED_AT_ONCE], frames) for start in starts]


def files_of(task: Measuring) -> int:
    """How many files a task has."""
    return len(task.sources)


def measure(task: Measuring, progress: Progress | None = None) -> list[Measured]:
    """The files with their sizes. One that cannot be read has one pixel: it comes up again where its shard is made.

    Raises:
        BBCError: storage fails.
    """
    return [_measured(source, task.frames) for source in task.sources]


def _measured(source: Source, frames: bool) -> Measured:
    pixels, size, time = 1, 0, 0
    try:
        pixels, size, time = persistent(lambda: _look_at(source.path, frames))
    except StorageError:
        raise
    except (OSError, BBCError):
        pass
    return Measured(source.name, address_of(source.path), source.given, pixels, size, time)


def _look_at(place: Place, frames: bool) -> tuple[int, int, int]:
    """Pixels, bytes and time of a file. Raises OSError, BBCError."""
    if isinstance(place, Path):
        status = place.stat()
        size, time = status.st_size, status.st_mtime_ns
    else:
        found = storage.look_up(place)
        size, time = found.size or 0, 10**9 * (found.modified or 0)
    with storage.open_to_read(place) as file:
        return estimated_pixels(file, size, frames), size, time


def cut(measured: Sequence[Measured], name: str, shard_pixels: int, settings: Mapping[str, Any]) -> list[Plan]:
    """The shards of files that are in the order of their names. A shard is closed before the image with which it would
    be larger than `shard_pixels`; so only one of a single image is.

    Raises:
        BBCError: there would be too many shards.
    """
    plans = []
    for number, sources in enumerate(_runs(measured, shard_pixels)):
        if number == MAX_SHARDS:
            raise BBCError(f"there would be more than {MAX_SHARDS} shards; --shard-size makes them larger")
        plans.append(Plan(number, shard_file(name, number), sources, _digest(sources, settings)))
    return plans


def _runs(measured: Sequence[Measured], shard_pixels: int) -> Iterator[tuple[Measured, ...]]:
    run: list[Measured] = []
    pixels = 0
    for source in measured:
        if run and (pixels + source.pixels > shard_pixels or len(run) == MAX_SHARD_IMAGES):
            yield tuple(run)
            run, pixels = [], 0
        run.append(source)
        pixels += source.pixels
    if run:
        yield tuple(run)


def _digest(sources: Sequence[Measured], settings: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json_line(dict(sorted(settings.items()))))
    for source in sources:
        digest.update(json_line({"name": source.name, "size": source.size, "time": source.time}))
    return digest.hexdigest()
