"""One shard: its images read, packed and written, and what is known of it then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from time import monotonic, process_time
from typing import Any

from bbcompress.archive.manifest import Shard, Unread, json_line, parse_line, shard_of
from bbcompress.archive.sharded import sha256_of
from bbcompress.codecs.kept import SourceFile
from bbcompress.codecs.progress import Progress
from bbcompress.errors import BBCError, FormatError, ImageError, MissingImageError, ModelError
from bbcompress.images.image import PixelImage
from bbcompress.models.zoo import Zoo
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.loader import ImageLoader
from bbcompress.pipeline.options import Options
from bbcompress.pipeline.packing import Reading
from bbcompress.pipeline.sharding.plan import Plan
from bbcompress.pipeline.sharding.target import Target
from bbcompress.pipeline.sources import Skipped, archive_time, read_file
from bbcompress.system.retries import StorageError, persistent
from bbcompress.system.storage import Place, place_of
from bbcompress.version import __version__


@dataclass(frozen=True)
class Loading:
    """How images are read, as of `ImageLoader`. skip: as of `Skipped`."""

    strip: bool = False
    frames: bool = False
    pixels: bool = False
    verbose: bool = False
    skip: bool | None = None


@dataclass(frozen=True)
class ShardTask:
    """A shard that is to be made, with all that a process needs to know for it."""

    plan: Plan
    target: str
    options: Options
    loading: Loading
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class ShardResult:
    """A shard that was made.

    Attributes:
        digest: of its plan.
        shard: what the manifest says of it; None where none of its images could be read, so that there is no file.
        unread: the files that could not be read.
        models: the names of the models that code it or are in it, by their ids.
        notes: what the user should know, a line each.
        coders, subpixels: as of `Summary`.
        bytes_before: of the files that were read.
        seconds: that it took. processor_seconds: of the process that made it.
    """

    digest: str
    shard: Shard | None
    unread: tuple[Unread, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    coders: Mapping[str, int] = field(default_factory=dict)
    subpixels: int = 0
    bytes_before: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0

    def encode(self) -> bytes:
        """As a line of JSON."""
        return json_line({**asdict(self)})

    @staticmethod
    def decode(data: bytes) -> ShardResult:
        """Read what `encode` wrote.

        Raises:
            FormatError: it is damaged.
        """
        try:
            value: Any = parse_line(data.removesuffix(b"\n"))
            shard = None if value["shard"] is None else shard_of(value["shard"])
            unread = tuple(Unread(str(one["name"]), str(one["reason"])) for one in value["unread"])
            given = {**value, "shard": shard, "unread": unread, "notes": tuple(value["notes"])}
            result = ShardResult(**given)
        except (TypeError, KeyError, AttributeError):
            raise FormatError("the record of a shard is damaged") from None
        if result.encode() != data:
            raise FormatError("the record of a shard is damaged")
        return result


class _Unread(Skipped):
    """Takes down which file each reason is of."""

    def __init__(self, asked: bool | None, plan: Plan) -> None:
        super().__init__(asked)
        self._plan = plan
        self._current = plan.sources[0]
        self.files: list[Unread] = []

    def found(self) -> Iterator[tuple[str, Place, str]]:
        """Name, path and label of each file, one by one."""
        for source in self._plan.sources:
            self._current = source
            place = place_of(source.place)
            yield source.name, place, str(place)

    def time_of(self, _: Place) -> int | None:
        """That of the file, as it was when it was measured; None where that is not known."""
        return archive_time(self._current.time // 10**9) if self._current.time else None

    def take(self, error: ImageError, given: bool, but: str = "") -> None:
        if isinstance(error, MissingImageError):  # it was there when the source was listed
            raise StorageError(str(error))
        super().take(error, given, but)
        reason = self.reasons[-1].removeprefix(f"{place_of(self._current.place)}: ")
        self.files.append(Unread(self._current.name, reason))


class _Loader(ImageLoader):
    """Reads a file again where storage fails."""

    def read(self, source: Place | bytes, label: str) -> Iterator[tuple[PixelImage, SourceFile | None]]:
        if not isinstance(source, bytes):
            place = source
            source = persistent(lambda: read_file(place, label))
        return super().read(source, label)


@lru_cache(maxsize=1)
def _compressor(options: Options, models: tuple[str, ...]) -> Compressor:
    """Of this process: its models are loaded once.

    Args:
        models: the ids of those that are asked for.

    Raises:
        ModelError: others lie here.
    """
    if models and chosen_models(options) != list(models):
        raise ModelError(f"the models in {options.model} are not those that the command has found there")
    return Compressor(options)


def chosen_models(options: Options) -> list[str] | None:
    """The ids of the models that are asked for, sorted; None where none are. Raises ModelError."""
    return None if options.model is None else sorted(entry.id.hex() for entry in Zoo(options.model).chosen)


def make_shard(task: ShardTask, progress: Progress | None = None) -> ShardResult:
    """Pack and write a shard, and then its record. The file is there as a whole, or not at all.

    Raises:
        ImageError: an image cannot be kept exactly, or cannot be read where none may be left out. BBCError: the shard
            cannot be written, an image is gone, or this process is not one that can do the work.
    """
    start = monotonic(), process_time()
    plan, target, loading = task.plan, Target(task.target), task.loading
    _check_process(task, target)
    compressor = _compressor(task.options, tuple(task.settings["model"] or ()))
    loader = _Loader(loading.strip, loading.frames, task.options.max_pixels, loading.verbose, pixels=loading.pixels)
    unread = _Unread(loading.skip, plan)
    given = {str(place_of(source.place)) for source in plan.sources if source.given}
    reading = Reading(unread.found(), None, loader, (), unread, given, unread.time_of)
    try:
        with target.new(plan.file, lambda: reading.permissions) as file:
            summary = compressor.archive(reading, file, progress)
            reader = compressor.reader(file)
            description = reader.describe()  # which reads it all again, and compares the checksums
            names = reader.file.name_span
            assert names is not None  # every source has one
            shard = Shard(
                plan.file,
                summary.images,
                len(reader.file.groups),
                loader.pixels,
                summary.size,
                sha256_of(file),
                *names,
                tuple(sorted(model["id"] for model in description["models"] if model["images"])),
                tuple(sorted(model["id"] for model in description["models"] if model["bytes"] is not None)),
            )
    except ImageError:
        if len(unread.files) < len(plan.sources):
            raise
        result = ShardResult(plan.digest, None, tuple(unread.files))
    except MemoryError:
        raise BBCError(f"{plan.file}: there is not enough memory for it") from None
    else:
        notes = [*reading.notes(summary), *(f"note: {note}" for note in (*summary.notes, *summary.missing_models))]
        result = ShardResult(
            plan.digest,
            shard,
            tuple(unread.files),
            {model["id"]: model["name"] for model in description["models"]},
            tuple(notes),
            dict(sorted(summary.coders.items())),
            summary.subpixels,
            loader.size,
        )
    seconds = round(monotonic() - start[0], 3), round(process_time() - start[1], 3)
    result = replace(result, seconds=seconds[0], processor_seconds=seconds[1])
    target.write_record(plan.number, result.encode(), plan.file if result.shard else None)
    return result


def _check_process(task: ShardTask, target: Target) -> None:
    """Raises BBCError where this process would make something else, or elsewhere, than what the command asks for."""
    if (wanted := task.settings["bbc"]) != __version__:
        raise BBCError(f"a worker has bbc {__version__}, and the command {wanted}: install the same version")
    if target.settings() != task.settings:
        raise BBCError(f"a worker does not see what is in {target}: it needs the same file system, or URLs")


def resumed(plan: Plan, record: bytes | None, size: int | None) -> ShardResult | None:
    """A shard that was made before; None where it is to be made.

    Args:
        record: what is recorded of it; None for nothing.
        size: bytes of its file; None where there is none.
    """
    if record is None:
        return None
    try:
        result = ShardResult.decode(record)
    except FormatError:
        return None
    has_file = result.shard is None or (result.shard.file == plan.file and result.shard.bytes == size)
    return result if result.digest == plan.digest and has_file else None
