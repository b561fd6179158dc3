"""Files of bbc to their images, of an archive group by group."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, BinaryIO, Generic, TypeVar

from bbcompress.archive.container import (
    Accounting,
    ArchiveReader,
    check_magic,
    is_archive,
)
from bbcompress.archive.group import Group
from bbcompress.archive.header import GroupHeader
from bbcompress.archive.lone import LoneImage, OtherBytesError
from bbcompress.archive.names import MAX_LISTED
from bbcompress.archive.search import Tail, TailKind
from bbcompress.codecs.fallback.items import item_codec, item_size
from bbcompress.codecs.groups import decode_images
from bbcompress.codecs.mixed import mixed_sizes
from bbcompress.codecs.progress import Progress
from bbcompress.codecs.ways import FALLBACK
from bbcompress.errors import BBCError, FormatError, LimitError, ModelError
from bbcompress.images.image import PixelImage, samples_of
from bbcompress.images.metadata import Metadata, decode_metadata
from bbcompress.lazy import cached_property
from bbcompress.limits import DEFAULT_LIMITS, Limits
from bbcompress.models.cache import Models
from bbcompress.pipeline.kept import Kept
from bbcompress.pipeline.listing import ImageInfo, ListEntry, coded_info, mixed_info, stored_info
from bbcompress.pipeline.options import open_models, stored_by
from bbcompress.system.jobs import Work, Workers

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
    """A file of bbc, opened: `names`, and the images group by group, or one by its name or position."""

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
        self._models = models or open_models()
        self._limits = limits
        self.archive: ArchiveReader | None = None
        self._lone: LoneImage | None = None
        self._opened = [0, 0]  # images and pixels of the groups begun
        self._decoded: Kept[list[PixelImage]] = Kept(CACHED_SUBPIXELS)
        self._infos: Kept[_GroupInfo] = Kept(MAX_LISTED)
        self._open(file, keep_going)
        self._tell_of_tail()

    def _tell_of_tail(self) -> None:
        if line := tail_note(self.tail, self.is_archive):
            _log.warning("%s", line)

    def _open(self, file: BinaryIO, keep_going: bool) -> None:
        file.seek(0)
        start = file.read(3)
        try:
            check_magic(start)  # before what may be a large file of something else is read
            if not is_archive(start):
                file.seek(0)
                self._lone = LoneImage.parse(file.read(), self._limits)
                return
        except FormatError as fault:
            if not keep_going:
                raise
            try:  # its first bytes may be what is damaged
                self.archive = ArchiveReader(file, self._limits, keep_going)
            except FormatError:
                raise fault from None
            return
        self.archive = ArchiveReader(file, self._limits, keep_going)

    @property
    def tail(self) -> Tail:
        """What stands behind the images, and is left out; zeros behind a lone image of a model are seen
        once it is decoded."""
        if self.archive is not None:
            return self.archive.tail
        return Tail() if self._lone is None else self._lone.tail

    @property
    def is_archive(self) -> bool:
        """Whether it is an archive, not a lone image."""
        return self.archive is not None

    @property
    def image_count(self) -> int:
        """Number of images."""
        return 1 if self.archive is None else self.archive.image_count

    @property
    def names(self) -> Sequence[str | None]:
        """Names of the images by position, None for images without one."""
        return [None] if self.archive is None else self.archive.names

    def expected_pixels(self) -> int | None:
        """Pixels of all images, as far as the groups that `images` has begun let expect; None before the first."""
        images, pixels = self._opened
        return pixels * self.image_count // images if images else None

    @property
    def times(self) -> Sequence[int | None]:
        """When the images were modified, in seconds since 1970, by position; None where the file does not say."""
        return [None] if self.archive is None else self.archive.times

    def find(self, name: str) -> int | None:
        """The position of the image of that name, None if there is none."""
        return None if self.archive is None else self.archive.find(name)

    def read(self, position: int) -> PixelImage:
        """The image at a position. Of an archive only its group is read; groups are kept for the next calls, as long as
        they have no more than `CACHED_SUBPIXELS`.

        Raises:
            IndexError: there is none. FormatError: its group is damaged. ModelError: its model is missing. LimitError:
            its K is above the limit.
        """
        number, index = self.locate(position)
        images = self._decoded.get(number)
        if images is None:
            images = self.read_group(number)
            self._decoded.put(number, images, sum(image.samples for image in images))
        return images[index]

    def forget(self) -> None:
        """Free the memory of what was decoded."""
        self._decoded.clear()
        self._infos.clear()

    @cached_property
    def groups(self) -> Sequence[Sequence[int]]:
        """The positions of the images of each group; a lone image is a group of one."""
        return [range(1)] if self.archive is None else [entry.positions for entry in self.archive.groups]

    def locate(self, position: int) -> tuple[int, int]:
        """The group of the image at a position, and its place in it. Raises IndexError if there is none."""
        return (0, range(1)[position]) if self.archive is None else self.archive.locate(position)

    def read_group(self, number: int) -> list[PixelImage]:
        """The images of a group.

        Raises:
            IndexError: there is none. FormatError: it is damaged. ModelError: its model is missing. LimitError: its K
            is above the limit.
        """
        if self.archive is None:
            range(1)[number]
            return [self._decode_lone(None)]
        return decode_images(self.archive.read_group(number), self._models, self._limits)

    def _decode_lone(self, progress: Progress | None) -> PixelImage:
        if self._lone is None:
            raise FormatError("the file is empty")
        told = [progress]  # once: of padding behind the message several decodings may take off

        def decode(group: Group) -> PixelImage:
            tell = told.pop() if told else None
            return decode_images(group, self._models, self._limits, tell)[0]

        try:
            lone, image = self._lone.decode(decode)
        except OtherBytesError:
            raise
        except FormatError as error:
            raise FormatError(f"{error}, or the file has other bytes behind its image") from error
        if lone is not self._lone:
            self._lone = lone
            self._tell_of_tail()
        return image

    def image_info(self, position: int) -> tuple[ImageInfo, Metadata]:
        """Size, mode and metadata of the image at a position, none of which takes decoding it.

        Raises:
            IndexError: there is none. FormatError: its group is damaged.
        """
        number, index = self.locate(position)
        info = self._infos.get(number)
        if info is None:
            info = self._read_info(number)
            self._infos.put(number, info, info.size)
        return info[index]

    def _read_info(self, number: int) -> _GroupInfo:
        group = self._group(number)
        header = group.header
        metadata = decode_metadata(group.metadata, header.count) if group.metadata else None
        if header.is_mixed:
            return _GroupInfo(mixed_info(group, self._models.zoo, self._limits), metadata)
        if not header.fallback:
            return _GroupInfo(coded_info(header, self._models.zoo), metadata)
        return _GroupInfo(stored_info(group.items), metadata)

    def __getitem__(self, name: str) -> PixelImage:
        """The image of that name, as :meth:`read` gives it. Raises KeyError if there is none."""
        position = self.find(name)
        if position is None:
            raise KeyError(name)
        return self.read(position)

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
        self._opened = [0, 0]
        if self.archive is None:
            if only is None or 0 in only:
                yield self._lone_result(function, progress)
            return
        sent: deque[tuple[int, Sequence[int]]] = deque()

        def tasks(archive: ArchiveReader) -> Iterator[_Task]:
            for number, entry in enumerate(archive.groups):
                indices = None if only is None else [index for index, at in enumerate(entry.positions) if at in only]
                if indices != []:
                    sent.append(
                        (number, entry.positions if indices is None else [entry.positions[at] for at in indices])
                    )
                    yield self._task(archive, number, indices, progress is not None)

        make = partial(_on_groups, self._models, function, self._limits)
        with Workers(jobs, make, self._cost) as workers:
            for results in workers.map(tasks(self.archive), progress):
                number, positions = sent.popleft()
                if isinstance(results, BBCError):
                    yield GroupResult(number, positions, [], results)
                else:
                    yield GroupResult(number, positions, results)

    def _cost(self, task: _Task) -> int:
        """About how many sub-pixels a task has."""
        if isinstance(task, BBCError):
            return 0
        group, header = task[0], task[0].header
        if not header.fallback and not header.is_mixed:
            return header.count * _subpixels(coded_info(header, self._models.zoo))
        try:
            if header.is_mixed:
                return sum(map(_subpixels, mixed_info(group, self._models.zoo, self._limits)))
            return sum(map(_subpixels, stored_info(group.items)))
        except FormatError:  # which comes up again where it is decoded
            return 0

    def _lone_result(self, function: Callable[[PixelImage], T], progress: Progress | None) -> GroupResult[T]:
        try:
            group = self._group(0)
            if progress is not None:
                self._begin(group)
            image = self._decode_lone(progress)
        except (FormatError, ModelError, LimitError) as error:
            return GroupResult(0, [0], [], error)
        return GroupResult(0, [0], [function(image)])

    def _task(self, archive: ArchiveReader, number: int, indices: list[int] | None, watched: bool) -> _Task:
        try:
            group = archive.read_group(number)
            if watched:
                self._begin(group)
        except FormatError as error:
            return error
        return group, indices

    def entries(self) -> Iterator[ListEntry]:
        """What is known of each image without decoding any, by position."""
        if self.archive is None:
            group, header = self._group(0), self._group(0).header
            (image_info,) = stored_info([group.payload]) if header.fallback else [coded_info(header, self._models.zoo)]
            coder = stored_by(group.payload) if header.fallback else self.model_name(header)
            yield ListEntry(None, *image_info, coder, header.k, None)
            return
        groups: dict[int, tuple[list[str] | str | None, int, list[ImageInfo] | ImageInfo]] = {}
        names, times = self.archive.names, self.archive.times
        for position in range(self.image_count):
            number, index = self.archive.locate(position)
            if number not in groups:
                groups[number] = self._group_info(self.archive, number)
            coders, k, info = groups[number]
            its_coder = coders[index] if isinstance(coders, list) else coders
            size, mode = info[index] if isinstance(info, list) else info
            yield ListEntry(names[position], size, mode, its_coder, k, times[position])

    def _group_info(
        self, archive: ArchiveReader, number: int
    ) -> tuple[list[str] | str | None, int, list[ImageInfo] | ImageInfo]:
        """What coded the images of a group, or each; its K; how the images look, or each."""
        try:
            header = archive.read_header(number)
            if not header.fallback and not header.is_mixed:
                return self.model_name(header), header.k, coded_info(header, self._models.zoo)
            group = archive.read_group(number)
            if header.is_mixed:
                looks = mixed_info(group, self._models.zoo, self._limits)
                return self.model_name(header), header.k, looks
            items = group.items
            return list(map(stored_by, items)), 0, stored_info(items)
        except FormatError:
            return None, 0, (None, None)

    def _begin(self, group: Group) -> None:
        """Take up the size of a group's images, if its header or payload, or each stored image, says it."""
        header = group.header
        if header.fallback:
            sizes = [item_size(item) for item in group.items]
        elif header.is_mixed:
            sizes = mixed_sizes(group, self._limits)
        else:
            sizes = [] if header.size is None else [header.size] * header.count
        self._opened[0] += len(sizes)
        self._opened[1] += sum(width * height for width, height in sizes)

    def describe(self) -> dict[str, Any]:
        """What is in the file and what each part cost in bytes, as JSON values; no image is decoded.

        Raises:
            FormatError: a group is damaged.
        """
        groups = []
        metadata = payloads = 0
        for number in range(len(self.groups)):  # read once, and one at a time
            group = self._group(number)
            groups.append(self._describe_group(group))
            metadata += len(group.metadata)
            payloads += len(group.payload)
        if self.archive is not None:
            accounting = self.archive.accounting_of(metadata, payloads)
        else:
            accounting = Accounting() if self._lone is None else self._lone.accounting()
        return {
            "format": 1,
            "archive": self.is_archive,
            "images": self.image_count,
            "bytes": accounting.total,
            "parts": {name: value for name, value in asdict(accounting).items() if value},
            "groups": groups,
        }

    def _group(self, number: int) -> Group:
        if self.archive is not None:
            return self.archive.read_group(number)
        if self._lone is None:
            raise FormatError("the file is empty")
        return self._lone.group

    def _describe_group(self, group: Group) -> dict[str, Any]:
        header, size = group.header, len(group.payload)
        description: dict[str, Any] = {"model": self.model_name(header), "images": header.count, "bytes": size}
        if header.fallback:
            items = group.items
            return {**description, "stored": dict(sorted(Counter(map(item_codec, items)).items()))}
        coding: dict[str, Any] = {"encoder": header.encoder, "K": header.k}
        if header.learning is not None:
            coding = {"learning": asdict(header.learning)}
        if header.blocks:
            if header.size is None:
                return {**description, **coding}
            return {**description, **coding, "width": header.size[0], "height": header.size[1]}
        coding["direct"] = header.direct
        return {**description, **coding, "batches": list(header.batches), "lanes": header.lanes}

    def model_name(self, header: GroupHeader) -> str:
        """The name of the model that a group was coded with, its id where it is not installed."""
        if header.fallback:
            return FALLBACK
        try:
            return self._models.zoo.named(header.model)[0].name
        except ModelError:
            return f"{header.model.hex()}... (not installed)"


@dataclass(frozen=True)
class _GroupInfo:
    """What is known of the images of a group without decoding them: how each looks, or all, and their metadata."""

    info: list[ImageInfo] | ImageInfo
    metadata: tuple[Metadata, ...] | None

    @property
    def size(self) -> int:
        """How many images are listed, in memory."""
        listed = len(self.info) if isinstance(self.info, list) else 1
        return listed if self.metadata is None else listed + sum(1 + len(records) for records in self.metadata)

    def __getitem__(self, index: int) -> tuple[ImageInfo, Metadata]:
        image_info = self.info[index] if isinstance(self.info, list) else self.info
        return image_info, () if self.metadata is None else self.metadata[index]


def tail_note(tail: Tail, archive: bool = True) -> str:
    """A line that says what stands behind the images of a file; empty if nothing does."""
    if tail.kind is TailKind.UNFINISHED:
        images = f", with {tail.images} image{'s' * (tail.images != 1)} in them" if tail.images else ""
        return f"{tail.size} bytes of an unfinished addition at its end are left out{images}"
    if tail.size:
        kind = ", all zero," if tail.kind is TailKind.PADDING else ""
        return f"{tail.size} bytes behind the {'archive' if archive else 'image'}{kind} are passed over"
    return ""


def _subpixels(info: ImageInfo) -> int:
    """Of an image that looks so; 0 where its size is not known."""
    size, mode = info
    return 0 if size is None else size[0] * size[1] * samples_of(mode or "L")


_Task = tuple[Group, "list[int] | None"] | BBCError
"""A group, and which of its images are wanted (None for all); or why it cannot be read."""


def _on_groups(models: Models, function: Callable[[PixelImage], T], limits: Limits) -> Work[_Task, list[T] | BBCError]:
    def work(task: _Task, progress: Progress) -> list[T] | BBCError:
        if isinstance(task, BBCError):
            return task
        group, indices = task
        try:
            images = decode_images(group, models, limits, progress)
        except (FormatError, ModelError, LimitError) as error:
            return error
        return [function(image) for image in (images if indices is None else [images[index] for index in indices])]

    return work


def _same(image: PixelImage) -> PixelImage:
    return image
