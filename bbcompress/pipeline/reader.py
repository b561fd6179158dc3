"""Files of bbc to their images, of an archive group by group."""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

from bbcompress.archive.embedded import ModelPlace
from bbcompress.archive.file import BBCFile
from bbcompress.archive.group import Group
from bbcompress.archive.names import MAX_LISTED
from bbcompress.archive.opening import open_file
from bbcompress.archive.search import Tail, TailKind
from bbcompress.archive.times import utc
from bbcompress.codecs.costs import GroupCosts
from bbcompress.codecs.fallback.kept import ANY_SIZE, KeptFile, is_kept
from bbcompress.codecs.groups import Content, decode_content
from bbcompress.codecs.progress import Progress
from bbcompress.errors import BBCError, FormatError, ImageError, LimitError, ModelError, PreviewError, RegionError
from bbcompress.images.image import PixelImage, samples_of
from bbcompress.images.metadata import Metadata, decode_metadata, names_of
from bbcompress.images.pictures import preview_picture
from bbcompress.images.region import Decoded, Region, Wanted
from bbcompress.images.write import write_image
from bbcompress.lazy import cached_property
from bbcompress.limits import DEFAULT_LIMITS, Limits
from bbcompress.models.cache import Models
from bbcompress.models.zoo import CarriedModel
from bbcompress.pipeline.kept import Kept
from bbcompress.pipeline.listing import (
    GroupFacts,
    ImageInfo,
    ListEntry,
    Same,
    colours_of,
    describe_group,
    describe_models,
    facts_of,
    models_of,
)
from bbcompress.pipeline.options import open_models
from bbcompress.pipeline.totals import Totals
from bbcompress.system.jobs import Work, Workers
from bbcompress.text import count_of

T = TypeVar("T")

_log = logging.getLogger(__name__)

CACHED_SUBPIXELS = 1 << 26
"""Most sub-pixels of the groups that a reader keeps decoded, beside the one read last: a byte or two each."""


@dataclass(frozen=True)
class GroupResult(Generic[T]):
    """A group of a file that was decoded, or turned out to be damaged or above a limit.

    number: of the group, from 0. positions: of those of its images that were wanted. results: theirs, in this order;
    empty where there is an error. error: why the group could not be decoded.
    """

    number: int
    positions: Sequence[int]
    results: Sequence[T]
    error: BBCError | None = None


class Reader:
    """A file of bbc, opened: `names`, and the images group by group, or one by its name or position.

    file: its groups as bytes.
    """

    def __init__(
        self,
        file: BinaryIO,
        models: Models | None = None,
        limits: Limits = DEFAULT_LIMITS,
        keep_going: bool = False,
    ) -> None:
        """file: seekable; it stays open and is not closed here. models: None for those that are installed, on the CPU.
        keep_going: find what is left of an archive whose end or indexes are damaged.

        Raises:
            FormatError: it is no file of bbc, or damaged. ModelError: as `Compressor`.
        """
        self._stream, self._limits = file, limits
        self._opened = [0, 0]  # images and pixels of the groups begun
        self._decoded: Kept[list[PixelImage]] = Kept(CACHED_SUBPIXELS)
        self._contents: Kept[list[Content]] = Kept(CACHED_SUBPIXELS)
        self._infos: Kept[_GroupInfo] = Kept(MAX_LISTED)
        self.file = open_file(file, limits, keep_going)
        self._models = (models or open_models()).carrying(carried_models(self.file))
        self._tell_of_tail()

    def _tell_of_tail(self) -> None:
        if line := tail_note(self.tail, self.is_archive):
            _log.warning("%s", line)

    @property
    def tail(self) -> Tail:
        """What stands behind the images, and is left out; zeros behind a lone image of a model are seen
        once it is decoded."""
        return self.file.tail

    @property
    def is_archive(self) -> bool:
        """Whether it is an archive, not a lone image."""
        return self.file.is_archive

    @property
    def image_count(self) -> int:
        """Number of images."""
        return self.file.image_count

    @property
    def names(self) -> Sequence[str | None]:
        """Names of the images by position, None for images without one."""
        return self.file.names

    @property
    def times(self) -> Sequence[int | None]:
        """When the images were modified, in seconds since 1970, by position; None where the file does not say."""
        return self.file.times

    @cached_property
    def groups(self) -> Sequence[Sequence[int]]:
        """The positions of the images of each group; a lone image is a group of one."""
        return [entry.positions for entry in self.file.groups]

    def expected_pixels(self) -> int | None:
        """Pixels of all images, as far as the groups that `images` has begun let expect; None before the first."""
        images, pixels = self._opened
        return pixels * self.image_count // images if images else None

    def read(self, position: int) -> PixelImage:
        """The image at a position. Of an archive only its group is read; groups are kept for the next calls, as long as
        they have no more than `CACHED_SUBPIXELS`.

        Raises:
            IndexError: there is none. FormatError: its group is damaged. ModelError: its model is missing. LimitError:
            its K is above the limit.
        """
        number, index = self.file.locate(position)
        images = self._decoded.get(number)
        if images is None:
            images = self.read_group(number)
            self._decoded.put(number, images, sum(image.samples for image in images))
        return images[index]

    def read_region(
        self, position: int, region: Region, progress: Progress | None = None, decoded: Decoded | None = None
    ) -> PixelImage:
        """A region of the image at a position. Where the image is coded in blocks, those are decoded that the region
        touches, and those from which a model learns for them; and none where the image is still there.

        Args:
            progress: called with the number of pixels newly decoded.
            decoded: counts what is decoded.

        Raises:
            As :meth:`read`. RegionError: the region is not within the image.
        """
        decoded = Decoded() if decoded is None else decoded
        number, index = self.file.locate(position)
        images = self._decoded.get(number)
        if images is not None:
            return images[index].region(region)
        (image,) = self._decode(self.file.read_group(number), progress, wanted=Wanted(index, region, decoded))
        return image if isinstance(image, PixelImage) else image.image()

    def each_region(
        self,
        region: Region,
        function: Callable[[Content, str | None], T],
        about: Callable[[int], str | None],
        only: Container[int] | None = None,
        progress: Progress | None = None,
        decoded: Decoded | None = None,
    ) -> Iterator[GroupResult[T | RegionError]]:
        """What `function` makes of the same region of images, group by group as of :meth:`each_content`; and the error
        in the place of images in which the region is not. A group of which several images are wanted is decoded whole.

        about: of a position what `function` gets beside the image, if that is not of a kept file.
        decoded: counts what is decoded.
        """
        decoded = Decoded() if decoded is None else decoded
        for number, entry in enumerate(self.file.groups):
            positions = [at for at in entry.positions if only is None or at in only]
            if not positions:
                continue
            try:
                if len(positions) > 1 and self._decoded.get(number) is None:
                    images = self.read_group(number, progress)
                    self._decoded.put(number, images, sum(image.samples for image in images))
                    decoded.add(Decoded.of_one(sum(image.width * image.height for image in images)))
                results: list[T | RegionError] = []
                for position in positions:
                    try:
                        image = self.read_region(position, region, progress, decoded)
                    except RegionError as error:
                        results.append(error)
                    else:
                        is_kept_file = self.mode_and_kept(position)[1] is not None
                        results.append(function(image, None if is_kept_file else about(position)))
                yield GroupResult(number, positions, results)
            except (FormatError, ModelError, LimitError) as error:
                yield GroupResult(number, positions, [], error)

    def read_content(self, position: int) -> Content:
        """The image at a position, or the file that is kept as it is in its place. Groups are kept for the next calls,
        and errors raised, as of :meth:`read`."""
        number, index = self.file.locate(position)
        content = self._contents.get(number)
        if content is None:
            content = self._decode(self.file.read_group(number))
            size = sum(len(one.data) if isinstance(one, KeptFile) else one.samples for one in content)
            self._contents.put(number, content, size)
        return content[index]

    def forget(self) -> None:
        """Free the memory of what was decoded."""
        self._decoded.clear()
        self._contents.clear()
        self._infos.clear()

    def read_group(self, number: int, progress: Progress | None = None) -> list[PixelImage]:
        """The images of a group.

        progress: called with the number of pixels newly done.

        Raises:
            IndexError: there is none. FormatError: it is damaged. ModelError: its model is missing. LimitError: its K
            is above the limit.
        """
        content = self._decode(self.file.read_group(number), progress)
        return [one if isinstance(one, PixelImage) else one.image() for one in content]

    def read_costs(self, number: int, progress: Progress | None = None) -> tuple[list[Content], GroupCosts]:
        """What a group holds, and what its messages spend on each pixel; it takes about twice as long as to decode it.
        Errors as of :meth:`read_group`."""
        costs = GroupCosts()
        return self._decode(self.file.read_group(number), progress, costs), costs

    def _decode(
        self,
        group: Group,
        progress: Progress | None = None,
        costs: GroupCosts | None = None,
        wanted: Wanted | None = None,
    ) -> list[Content]:
        told = [progress]  # once: of padding behind the message several decodings may take off
        before = None if wanted is None else replace(wanted.decoded)

        def decode(group: Group) -> list[Content]:
            if wanted is not None and before is not None:
                wanted.decoded.go_back_to(before)
            progress = told.pop() if told else None
            return decode_content(group, self._models, self._limits, progress, costs=costs, wanted=wanted)

        tail = self.tail
        content = self.file.decode(group, decode)
        if self.tail != tail:
            self._tell_of_tail()
        return content

    def kept_file(self, position: int) -> KeptFile | None:
        """The file that is kept as it is in place of the image at a position; None where there are pixels.

        Raises:
            IndexError: there is none. FormatError: its group is damaged.
        """
        number, index = self.file.locate(position)
        group = self.file.read_group(number)
        item = group.items[index] if group.header.fallback else b""
        return KeptFile.decode(item, self._limits.pixels) if is_kept(item) else None

    def image_info(self, position: int) -> tuple[ImageInfo, Metadata]:
        """Size, mode and metadata of the image at a position, none of which takes decoding it, unless it is in a file
        that is kept as it is.

        Raises:
            IndexError: there is none. FormatError: its group is damaged.
        """
        number, index = self.file.locate(position)
        info = self._info_of(number)
        image_info, metadata = info[index]
        if index in info.kept:
            decoded = self._decoded.get(number)
            file = self.kept_file(position) if decoded is None else None
            metadata = decoded[index].metadata if decoded is not None else () if file is None else file.image().metadata
        return image_info, metadata

    def mode_and_kept(self, position: int) -> tuple[str | None, str | None]:
        """The mode of the image at a position, None where only a model that is not installed could tell; and the usual
        suffix of the file that is kept as it is in its place, None where there are pixels.

        Raises:
            IndexError: there is none. FormatError: its group is damaged.
        """
        number, index = self.file.locate(position)
        info = self._info_of(number)
        return info.images[index][1], info.kept.get(index)

    def _info_of(self, number: int) -> _GroupInfo:
        """What is known of a group; read once, as long as not many others are asked for."""
        info = self._infos.get(number)
        if info is None:
            info = self._read_info(number)
            self._infos.put(number, info, info.size)
        return info

    def _read_info(self, number: int) -> _GroupInfo:
        group = self.file.read_group(number)
        metadata = decode_metadata(group.metadata, group.header.count) if group.metadata else None
        items = group.items if group.header.fallback else []
        kept = {index: KeptFile.decode(item, ANY_SIZE).suffix for index, item in enumerate(items) if is_kept(item)}
        return _GroupInfo(self.facts(group).images, metadata, kept)

    def facts(self, group: Group) -> GroupFacts:
        """What is known of the images of a group before they are decoded. Raises FormatError."""
        return facts_of(group.header, lambda: group, self._models.zoo, self._limits)

    def images(self, progress: Progress | None = None) -> Iterator[tuple[int, PixelImage]]:
        """Position and image of all images, decoded group by group.

        Raises:
            FormatError: a group is damaged. ModelError: its model is missing. LimitError: its K is above the limit.
        """
        for done in self.each(_same, progress=progress):
            if done.error is not None:
                raise done.error
            yield from zip(done.positions, done.results, strict=True)

    def each(
        self,
        function: Callable[[PixelImage], T],
        only: Container[int] | None = None,
        jobs: int = 1,
        progress: Progress | None = None,
    ) -> Iterator[GroupResult[T]]:
        """What `function` makes of the images, group by group in the order of the file; of damaged groups the error.

        only: positions of the images that are wanted; groups without any are not read.
        jobs: processes that share the groups; of several, `function` and its results are pickled.
        """
        yield from self.each_content(_OfImage(function), None, only, jobs, progress)

    def each_content(
        self,
        function: Callable[[Content, str | None], T],
        about: Callable[[int], str | None] | None = None,
        only: Container[int] | None = None,
        jobs: int = 1,
        progress: Progress | None = None,
    ) -> Iterator[GroupResult[T]]:
        """The same, but files that are kept as they are come as such, and are not decoded.

        about: of a position what `function` gets beside the image or file; None for nothing.
        """
        self._opened = [0, 0]
        groups = self.file.groups
        sent: deque[tuple[int, Sequence[int]]] = deque()

        def tasks() -> Iterator[_Task]:
            for number, entry in enumerate(groups):
                indices = None if only is None else [index for index, at in enumerate(entry.positions) if at in only]
                if indices != []:
                    positions = entry.positions if indices is None else [entry.positions[at] for at in indices]
                    sent.append((number, positions))
                    its = Same(None, len(positions)) if about is None else list(map(about, positions))
                    yield self._task(number, indices, its, progress is not None)

        if jobs > 1 and len(groups) > 1:
            make = partial(_work_of_a_process, self._models, self._limits, function)
        else:
            make = partial(_work, self._decode, function)
        with Workers(jobs, make, self._cost) as workers:
            for results in workers.map(tasks(), progress):
                number, positions = sent.popleft()
                if isinstance(results, BBCError):
                    yield GroupResult(number, positions, [], results)
                else:
                    yield GroupResult(number, positions, results)

    def _cost(self, task: _Task) -> int:
        """About how many sub-pixels a task has."""
        if isinstance(task, BBCError):
            return 0
        try:
            return sum(count * _subpixels(info) for info, count in self.facts(task[0]).counted)
        except FormatError:  # which comes up again where it is decoded
            return 0

    def _task(self, number: int, indices: list[int] | None, about: Sequence[str | None], watched: bool) -> _Task:
        try:
            group = self.file.read_group(number)
            if watched:
                self._begin(group)
        except FormatError as error:
            return error
        return group, indices, about

    def _begin(self, group: Group) -> None:
        """Take up the size of a group's images, as far as it is known."""
        for (size, _), count in self.facts(group).counted:
            if size is not None:
                self._opened[0] += count
                self._opened[1] += count * size[0] * size[1]

    def entries(self, with_colours: bool = False) -> Iterator[ListEntry]:
        """What is known of each image without decoding any, by position.

        with_colours: say `colours` of each, for which the groups that have any are read to their ends.
        """
        groups: dict[int, _Listed] = {}
        names, times = self.file.names, self.file.times
        for position in range(self.image_count):
            number, index = self.file.locate(position)
            if number not in groups:
                groups[number] = self._listed(number, with_colours)
            group = groups[number]
            size, mode = group.images[index]
            yield ListEntry(
                names[position],
                size,
                mode,
                group.coders[index],
                group.k,
                times[position],
                group.bytes[index],
                group.metadata[index],
                group.colours[index],
            )

    def _listed(self, number: int, with_colours: bool) -> _Listed:
        """What is told of each image of a group."""
        entry = self.file.groups[number]
        read = cache(lambda: self.file.read_group(number))
        try:
            header = self.file.read_header(number)
            facts = facts_of(header, read, self._models.zoo, self._limits)
            coders = facts.coders if isinstance(facts.coders, Same) else list(facts.coders)
            sizes: Sequence[int | None] = Same(entry.length if entry.count == 1 else None, entry.count)
            metadata: Sequence[tuple[str, ...]] = Same((), entry.count)
            if header.fallback:
                sizes = list(map(len, read().items))
            if header.has_metadata:
                with suppress(FormatError):  # the header alone said the rest
                    records = decode_metadata(read().metadata, entry.count)
                    metadata = [tuple(sorted(names_of(its))) for its in records]
            colours: Sequence[str | None] = Same(None, entry.count)
            if with_colours and (header.parts is not None or header.learning is not None):
                with suppress(FormatError):
                    colours = colours_of(read(), self._limits)
            return _Listed(coders, facts.k, facts.images, sizes, metadata, colours)
        except FormatError:
            none = Same(None, entry.count)
            return _Listed(none, 0, Same((None, None), entry.count), none, Same((), entry.count), none)

    @property
    def file_size(self) -> int:
        """Bytes of the file, with what is behind its images; of a sharded archive those of all its files."""
        size = self.file.size
        return self._stream.seek(0, os.SEEK_END) if size is None else size

    def coders(self) -> dict[str, int]:
        """How many images each coder took, as `ListEntry` names them; those of damaged groups are left out."""
        found: Counter[str] = Counter()
        for number in range(len(self.file.groups)):
            with suppress(FormatError):
                coders = self.facts(self.file.read_group(number)).coders
                found.update({coders.item: len(coders)} if isinstance(coders, Same) else coders)
        return dict(sorted(found.items()))

    def carried_faults(self) -> list[str]:
        """What is wrong with the models that the file carries, a line each; they are read for it."""
        faults = []
        for entry in self._models.zoo.carried:
            try:
                _ = entry.weights
            except ModelError as error:
                faults.append(f"{error} (id {entry.id.hex()[:8]})")
        return faults

    def preview_faults(self) -> list[str]:
        """What is wrong with the previews in the file, a line each; all are read for it."""
        faults = []
        for entry in self.file.groups:
            for position in entry.positions:
                try:
                    if (preview := self.file.preview(position)) is not None:
                        preview_picture(preview)
                except PreviewError as error:
                    faults.append(f"{error} (image {position})")
                    break  # mostly it is that of the whole group
        return faults

    def png_bytes(self, jobs: int = 1, progress: Progress | None = None) -> int | None:
        """What PNGs of all images would take, without their metadata; None where one cannot hold an image.

        Raises:
            FormatError: a group is damaged. ModelError: its model is missing. LimitError: its K is above the limit.
        """
        total = 0
        is_known = True
        for done in self.each(_png_size, None, jobs, progress):
            if done.error is not None:
                raise done.error
            is_known = is_known and None not in done.results
            total += sum(size or 0 for size in done.results)
        return total if is_known else None

    def describe(self) -> dict[str, Any]:
        """What is in the file and what each part cost in bytes, as JSON values; no image is decoded.

        Raises:
            FormatError: a group is damaged.
        """
        groups, totals = [], Totals()
        used: Counter[bytes] = Counter()
        metadata = payloads = 0
        for number in range(len(self.file.groups)):  # read once, and one at a time
            group = self.file.read_group(number)
            facts = self.facts(group)
            groups.append(describe_group(group, facts, self._limits))
            used += models_of(group.header, facts)
            metadata += len(group.metadata)
            payloads += len(group.payload)
            for info, count in facts.counted:
                totals.count(info, count)
            if group.metadata:
                with suppress(FormatError):
                    for records in decode_metadata(group.metadata, group.header.count):
                        totals.count_metadata(records)
        accounting, span = self.file.accounting_of(metadata, payloads), self.file.time_span
        return {
            "format": 1,
            "archive": self.is_archive,
            "images": self.image_count,
            "bytes": accounting.total,
            "parts": {name: value for name, value in asdict(accounting).items() if value},
            "groups": groups,
            "models": describe_models(used, self.file.models, self._models.zoo),
            "times": None if span is None else list(map(utc, span)),
            "totals": totals.described(accounting.total),
            **self.file.description(),
        }


@dataclass(frozen=True)
class _Listed:
    """What is told of each image of a group, and the K of all."""

    coders: Sequence[str | None]
    k: int
    images: Sequence[ImageInfo]
    bytes: Sequence[int | None]
    metadata: Sequence[tuple[str, ...]]
    colours: Sequence[str | None]


@dataclass(frozen=True)
class _GroupInfo:
    """Size and mode of each image of a group, and their metadata; and of files that are kept as they are, which say
    their metadata themselves, the usual suffixes by their places in the group."""

    images: Sequence[ImageInfo]
    metadata: tuple[Metadata, ...] | None
    kept: Mapping[int, str]

    @property
    def size(self) -> int:
        """How many things are listed, in memory."""
        listed = 1 if isinstance(self.images, Same) else len(self.images)
        return listed if self.metadata is None else listed + sum(1 + len(records) for records in self.metadata)

    def __getitem__(self, index: int) -> tuple[ImageInfo, Metadata]:
        return self.images[index], () if self.metadata is None else self.metadata[index]


def carried_models(file: BBCFile) -> list[CarriedModel]:
    """The models that an opened file carries."""
    return [CarriedModel(place.id, partial(_files_of, place)) for place in file.models]


def _files_of(place: ModelPlace) -> tuple[bytes, bytes]:
    """Weights and card. Raises FormatError where they are damaged."""
    model = place.read()
    return model.weights, model.card


def _png_size(image: PixelImage) -> int | None:
    try:
        return len(write_image(image.without_metadata(), "png")[0])
    except ImageError:
        return None


def tail_note(tail: Tail, archive: bool = True) -> str:
    """A line that says what stands behind the images of a file; empty if nothing does."""
    if tail.kind is TailKind.UNFINISHED:
        images = f", with {count_of(tail.images)} in them" if tail.images else ""
        return f"{tail.size} bytes of an unfinished addition at its end are left out{images}"
    if tail.size:
        kind = ", all zero," if tail.kind is TailKind.PADDING else ""
        return f"{tail.size} bytes behind the {'archive' if archive else 'image'}{kind} are passed over"
    return ""


def _subpixels(info: ImageInfo) -> int:
    """Of an image that looks so; 0 where its size is not known."""
    size, mode = info
    return 0 if size is None else size[0] * size[1] * samples_of(mode or "L")


_Task = tuple[Group, "list[int] | None", Sequence["str | None"]] | BBCError
"""A group, which of its images are wanted (None for all), and what goes with each; or why it cannot be read."""


class _Decode(Protocol):
    def __call__(self, group: Group, *, progress: Progress | None) -> list[Content]: ...


def _work(decode: _Decode, function: Callable[[Content, str | None], T]) -> Work[_Task, list[T] | BBCError]:
    def work(task: _Task, progress: Progress) -> list[T] | BBCError:
        if isinstance(task, BBCError):
            return task
        group, indices, about = task
        try:
            content = decode(group, progress=progress)
            wanted = content if indices is None else [content[index] for index in indices]
            return [function(one, its) for one, its in zip(wanted, about, strict=True)]
        except (FormatError, ModelError, LimitError) as error:
            return error

    return work


def _work_of_a_process(
    models: Models, limits: Limits, function: Callable[[Content, str | None], T]
) -> Work[_Task, list[T] | BBCError]:
    return _work(partial(decode_content, models=models, limits=limits), function)


@dataclass(frozen=True)
class _OfImage(Generic[T]):
    """What is done with images, of kept files with those that they hold."""

    function: Callable[[PixelImage], T]

    def __call__(self, content: Content, _: str | None) -> T:
        image = content if isinstance(content, PixelImage) else content.image()
        return self.function(image)


def _same(image: PixelImage) -> PixelImage:
    return image
