"""A source becomes a sharded archive: listed, cut, packed shard by shard, and named by a manifest at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bbcompress.archive.manifest import Manifest, Unread, is_shard_prefix
from bbcompress.codecs.progress import Progress
from bbcompress.errors import BBCError, ImageError, OutputExistsError
from bbcompress.limits import SHARD_PIXELS
from bbcompress.pipeline.names import odd_names
from bbcompress.pipeline.options import Options, Summary
from bbcompress.pipeline.sharding.engine import Engine
from bbcompress.pipeline.sharding.plan import Plan, cut, files_of, measure, measuring
from bbcompress.pipeline.sharding.shard import Loading, ShardResult, ShardTask, chosen_models, make_shard, resumed
from bbcompress.pipeline.sharding.target import Target
from bbcompress.pipeline.sources import LeftOut, Skipped, Source, find_images, is_inside
from bbcompress.system import storage
from bbcompress.system.retries import persistent
from bbcompress.system.storage import Place, place_of
from bbcompress.text import count_of, some_of
from bbcompress.version import __version__

RESUME = "--resume goes on from there"


@dataclass(frozen=True)
class ShardEvent:
    """Something became of a shard.

    Attributes:
        status: `done`, `resumed` (it was there already) or `failed`.
        file: the name of the shard.
        result: of one that is there.
        error: of one that is not.
    """

    status: str
    file: str
    result: ShardResult | None = None
    error: BBCError | None = None


class ShardedPacking:
    """Files and folders on their way into a sharded archive.

    Attributes:
        summary: of all shards. unread: what is in none of them. bytes_before: of the files that were read.
        made: shards that are there. planned: shards that there are to be; None as long as they are not cut.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        target: str,
        options: Options,
        loading: Loading,
        shard_pixels: int | None = None,
        force: bool = False,
        resume: bool = False,
    ) -> None:
        """inputs: as of `find_images`. target: the folder of the shards. shard_pixels: None for what was asked for
        before, where that is resumed, or else for the default.

        Raises:
            OutputExistsError: the target is there, or inside an input. BBCError: shards cannot have its name, or what
            is there was begun with other settings. ModelError: a model that was asked for is missing.
        """
        self._inputs, self._target, self._loading, self._options = inputs, Target(target), loading, options
        for place in map(place_of, inputs):
            if is_inside(self._target.place, place) and _is_folder(place):
                what = f"{self._target} would lie in {place}"
                raise OutputExistsError(f"{what}, which is being compressed: write it elsewhere")
        if not is_shard_prefix(self._target.name):
            raise BBCError(f"{self._target}: the names of shards cannot begin so; write into a folder of another name")
        self._target.check(force, resume)
        before = self._target.settings() if resume and not force else None
        self._resume = before is not None
        if shard_pixels is None:
            shard_pixels = SHARD_PIXELS if before is None else before.get("shard_pixels", SHARD_PIXELS)
        self._shard_pixels = shard_pixels
        self._settings = _settings(options, loading, shard_pixels)
        if before is not None:
            _compare(str(self._target), before, self._settings)
        self.summary = Summary()
        self.unread: list[Unread] = []
        self.bytes_before = self.made = 0
        self.planned: int | None = None
        self._notes: list[str] = []
        self._total: int | None = None
        self.manifest: Manifest | None = None

    def expected_pixels(self) -> int | None:
        """Pixels of all images; None as long as they are not measured."""
        return self._total

    def write(self, engine: Engine, tell: Callable[[ShardEvent], object], progress: Progress | None = None) -> Manifest:
        """Make what is not there yet, and the manifest.

        Args:
            engine: runs the work.
            tell: called for each shard.

        Raises:
            BBCError: a shard failed. Those that are there stay, and are not made again with `resume`.
        """
        plans = self._plan(engine)
        self.planned = len(plans)
        self._total = sum(plan.pixels for plan in plans)
        try:
            self._target.begin(self._settings, self._resume)
            return self._write(engine, plans, tell, progress)
        finally:
            self._target.end(forget=not engine.goes_on)

    def _write(
        self,
        engine: Engine,
        plans: Sequence[Plan],
        tell: Callable[[ShardEvent], object],
        progress: Progress | None,
    ) -> Manifest:
        results: dict[int, ShardResult] = {}
        records = self._target.records() if self._resume else {}
        sizes = self._target.sizes() if self._resume else {}
        for plan in plans:
            result = resumed(plan, records.get(plan.number), sizes.get(plan.file))
            if result is not None:
                results[plan.number] = result
                self.made += 1
                if progress is not None:
                    progress(plan.pixels)
                tell(ShardEvent("resumed", plan.file, result))
        if self._resume:
            self._target.remove_shards_from(len(plans))
        left = [plan for plan in plans if plan.number not in results]
        try:
            failed = self._make(engine, left, results, tell, progress)
        except BBCError as error:  # of the engine
            raise self._failure("", error, resumes=engine.goes_on) from None
        if failed:
            others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            raise self._failure(failed[0][0], failed[0][1], others)
        self.manifest = self._finish([results[plan.number] for plan in plans])
        return self.manifest

    def _plan(self, engine: Engine) -> list[Plan]:
        """The shards. Raises as `find_images`."""
        sources, left_out, skipped = persistent(self._find)
        self.unread += [Unread("", reason) for reason in skipped.reasons]
        self._notes += [f"note: {line}" for line in (*left_out.lines(), *odd_names([one.name for one in sources]))]
        tasks = measuring(sources, self._loading.frames)
        measured = {}
        for number, result in engine.run(measure, tasks, files_of):
            if isinstance(result, BBCError):
                raise result
            measured[number] = result
        files = [one for number in range(len(tasks)) for one in measured[number]]
        return cut(files, self._target.name, self._shard_pixels, self._settings)

    def _find(self) -> tuple[list[Source], LeftOut, Skipped]:
        left_out, skipped = LeftOut(), Skipped(self._loading.skip)
        return find_images(self._inputs, left_out, skipped), left_out, skipped

    def _make(
        self,
        engine: Engine,
        plans: Sequence[Plan],
        results: dict[int, ShardResult],
        tell: Callable[[ShardEvent], object],
        progress: Progress | None,
    ) -> list[tuple[str, BBCError]]:
        """Make shards; which of them failed, and why."""
        failed = []
        options = replace(self._options, jobs=engine.jobs)
        tasks = [ShardTask(plan, self._target.address, options, self._loading, self._settings) for plan in plans]
        for number, result in engine.run(make_shard, tasks, _pixels_of, progress):
            plan = plans[number]
            if isinstance(result, BBCError):
                tell(ShardEvent("failed", plan.file, error=result))
                failed.append((plan.file, result))
                if isinstance(result, ImageError) and self._loading.skip is False:
                    break  # none may be left out: whatever the others are, it is over
                continue
            results[plan.number] = result
            self.made += 1
            tell(ShardEvent("done", plan.file, result))
        return failed

    def _failure(self, file: str, error: BBCError, others: str = "", resumes: bool = False) -> BBCError:
        """The error, with the name of the shard that it is about, and how to go on."""
        line = error.for_command_line
        line = line if file in line else f"{file}: {line}"
        there = f"; {self._target} has {count_of(self.made, 'shard')} so far" if self.made else ""
        return type(error)(f"{line}{others}{there}", command=RESUME if self.made or resumes else "")

    def _finish(self, results: Sequence[ShardResult]) -> Manifest:
        shards = [result.shard for result in results if result.shard is not None]
        for result in results:
            self.unread += result.unread
        if not shards:
            self._target.forget_records()
            raise ImageError(f"no image can be read: {some_of(self.unread, between='; ')}")
        models = {identity: name for result in results for identity, name in result.models.items()}
        manifest = Manifest(self._target.name, shards, self.unread, models, self._settings)
        data = manifest.encode()
        Manifest.decode(data)  # its limits are known before it is written
        self._target.finish(data, [shard.file for shard in shards])
        self._sum(results, len(data))
        return manifest

    def _sum(self, results: Sequence[ShardResult], manifest_bytes: int) -> None:
        coders: Counter[str] = Counter()
        for result in results:
            coders.update(result.coders)
            self.bytes_before += result.bytes_before
            self.summary.subpixels += result.subpixels
            if result.shard is not None:
                self.summary.images += result.shard.images
                self.summary.size += result.shard.bytes
        self.summary.size += manifest_bytes
        self.summary.coders = dict(sorted(coders.items()))
        self._notes += _notes_of(results)

    @property
    def notes(self) -> list[str]:
        """What the user should know, a line each."""
        return self._notes


def _is_folder(place: Place) -> bool:
    return persistent(lambda: storage.is_folder(place))


def _pixels_of(task: ShardTask) -> int:
    return task.plan.pixels


def _notes_of(results: Sequence[ShardResult]) -> Iterator[str]:
    """The notes of all shards: what several say is said once, with the first of them and the number of the others."""
    shards: dict[str, list[str]] = {}
    for result in results:
        if result.shard is not None:
            for note in result.notes:
                shards.setdefault(note, []).append(result.shard.file)
    for note, files in shards.items():
        kind, _, text = note.partition(": ")
        others = f" and {count_of(len(files) - 1, 'other shard')}" if len(files) > 1 else ""
        yield f"{kind}: {files[0]}{others}: {text}"


def _compare(target: str, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises BBCError where what is to be resumed was begun with other settings."""
    for name in {**now, **before}:
        if (name in before) != (name in now) or before[name] != now[name]:
            was = f"{name} was {before.get(name)}, and is {now.get(name)} now"
            raise BBCError(f"{target} was begun with other settings: {was}", command="--force begins anew")


def _settings(options: Options, loading: Loading, shard_pixels: int) -> dict[str, Any]:
    """All that decides about the bytes of shards, beside the images: JSON values. Raises ModelError."""
    side = options.coding.block_side
    return {
        "bbc": __version__,
        "shard_pixels": shard_pixels,
        "model": chosen_models(options),
        "effort": options.effort,
        "k": options.k,
        "encoder": options.encoder,
        "learning_rate": None if options.learning_rate is None else round(options.learning_rate * 1e6),
        "learn": options.learn,
        "solid": options.solid,
        **({} if side is None else {"block_size": side}),
        "binary": options.binary,
        "max_pixels": options.max_pixels,
        "embed_model": options.embed_model,
        "preview": options.preview,
        "strip": loading.strip,
        "frames": loading.frames,
        "pixels": loading.pixels,
    }
