"""Compress and decompress from Python: what the command line does, without its words."""

from __future__ import annotations

import io
import logging
import os
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Generic, NamedTuple, TypeVar

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from bbcompress.archive.blocks import CodingSettings
from bbcompress.archive.container import (
    Accounting,
    ArchiveReader,
    ArchiveWriter,
    build_lone,
    is_archive,
    lone_accounting,
    parse_lone,
    split_items,
)
from bbcompress.archive.groups import (
    ModelCache,
    decode_images,
    encode_fallback,
    encode_images,
    image_kinds,
    prefers_fallback,
    with_metadata,
)
from bbcompress.archive.header import GREY, MAX_GROUP_IMAGES, GroupHeader, Kind
from bbcompress.codecs.fallback import Progress, decode_item, item_size
from bbcompress.codecs.refinement import MAX_STEPS
from bbcompress.errors import BBCError, FormatError, ImageError, ModelError
from bbcompress.exact.backend import Backend, NumpyBackend, TorchBackend
from bbcompress.images import MAX_PIXELS, PixelImage, from_array
from bbcompress.jobs import Work, Workers
from bbcompress.listing import Listed, Looks, coded_looks, stored_looks
from bbcompress.metadata import Metadata, decode_metadata
from bbcompress.models.vae import ENCODERS
from bbcompress.models.zoo import ModelEntry, Zoo
from bbcompress.pillow_images import from_pillow
from bbcompress.signals import held_back

GROUP_SUBPIXELS = 1 << 22
"""A group is written once its images have so many sub-pixels, bytes of metadata included."""

WAITING_SUBPIXELS = 1 << 26
"""Where the images of all groups that wait have so many, the largest is written: what bounds memory."""

SAMPLE = 24
"""Images of a group on which models are compared."""

FALLBACK = "fallback"
NOT_VERIFIED = "the pixels did not come back from what was coded; nothing was written; please report this"
NumpyArray = np.ndarray[Any, Any]
AnyImage = PixelImage | NumpyArray | Image.Image
"""What can be compressed."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How to compress.

    model: a model's folder, a directory of models or an installed model's name; None chooses by what an image is.
    steps: K of the paper's Algorithm 2 (Eqs. 20 and 21), 0 to 1000. encoder: `rha`, trained by reverse half-asleep
    inference (Eq. 17), or `baseline`, trained by the ELBO (Eq. 1). learning_rate: of the K steps, 1e-6 to 1, None for
    the model's own. binary: refuse images of more than two levels. verify: decode what was written before it counts.
    device: `cpu` or one of torch's. jobs: processes that share the groups of an archive; the bytes are the same for any
    number (a program that asks for several guards what it does by `if __name__ == "__main__"`, as `multiprocessing`
    wants). max_pixels: of an image.

    Raises:
        BBCError: a value is out of range.
    """

    model: str | Path | None = None
    steps: int = 0
    encoder: str = "rha"
    learning_rate: float | None = None
    binary: bool = False
    verify: bool = True
    device: str = "cpu"
    jobs: int = 1
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if not 0 <= self.steps <= MAX_STEPS:
            raise BBCError(f"K must be 0 to {MAX_STEPS}")
        if self.encoder not in ENCODERS:
            raise BBCError(f"there is no encoder {self.encoder!r}; choose {' or '.join(ENCODERS)}")
        if self.learning_rate is not None and not 1e-6 <= self.learning_rate <= 1:
            raise BBCError("the learning rate must be 1e-6 to 1")
        if self.jobs < 1:
            raise BBCError("the number of jobs must be at least 1")

    @property
    def coding(self) -> CodingSettings:
        """What the codecs need to know."""
        rate = None if self.learning_rate is None else round(self.learning_rate * 1e6)
        return CodingSettings(self.encoder, self.steps, rate)


@dataclass
class Summary:
    """What was written: images, sub-pixels, bytes, and how many images each coder took (by model or `fallback`)."""

    images: int = 0
    subpixels: int = 0
    size: int = 0
    coders: dict[str, int] = field(default_factory=dict)

    @property
    def bits_per_dimension(self) -> float:
        """Whole-file bits a sub-pixel."""
        return 8 * self.size / max(self.subpixels, 1)

    def count(self, coder: str, images: int, subpixels: int) -> None:
        """Add so many images, of so many sub-pixels in all, that `coder` took."""
        self.images += images
        self.subpixels += subpixels
        self.coders[coder] = self.coders.get(coder, 0) + images


class Item(NamedTuple):
    """An image of an archive: its name, and when it was modified, in whole seconds since 1970; None for neither."""

    name: str | None
    image: PixelImage
    time: int | None = None


def backend_for(device: str) -> Backend:
    """numpy for the CPU, torch for other devices. Raises BBCError where the device cannot be used."""
    if device == "cpu":
        return NumpyBackend()
    try:
        backend = TorchBackend(device)
        backend.numpy(backend.asarray(np.zeros(1)))  # torch looks for the device only when it is used
        return backend
    except ModuleNotFoundError:
        raise BBCError(f"device {device} needs PyTorch: pip install torch") from None
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise BBCError(f"device {device} cannot be used: {reason}") from None


class Compressor:
    """Images to the bytes of files, with one choice of options; models are loaded once."""

    def __init__(self, options: Options | None = None) -> None:
        """Raises ModelError if the chosen model does not exist, BBCError for a bad device."""
        self.options = options or Options()
        self._models = ModelCache(Zoo(self.options.model), backend_for(self.options.device))

    def lone(self, image: PixelImage, progress: Progress | None = None) -> tuple[bytes, Summary]:
        """The file of one image. Raises ImageError where nothing can keep it exactly."""
        work = _Work([image], progress)
        coder, header, payload = self._encode([image], self._key(image), work)
        if header.fallback:
            (payload,) = split_items(payload, 1)
        data = build_lone(header, payload, self.options.max_pixels)
        if self.options.verify:
            _verify(lambda: [_decode_lone(data, self._models, work, self.options.max_pixels)], [image])
        work.finish()
        summary = Summary(size=len(data))
        summary.count(coder, 1, image.samples)
        return data, summary

    def archive(
        self,
        images: Iterable[Item | tuple[str | None, PixelImage]],
        file: BinaryIO,
        progress: Progress | None = None,
    ) -> Summary:
        """Write images with their names, and times if they have any, as one archive; groups are written as they fill.

        Raises:
            ImageError: an image cannot be kept exactly. BBCError: a name is not allowed or occurs twice, or some images
                have none.
        """
        start = file.tell()
        summary = self._write(ArchiveWriter(file, self.options.max_pixels), images, progress)
        summary.size = file.tell() - start
        return summary

    def add(
        self,
        images: Iterable[Item | tuple[str | None, PixelImage]],
        archive: ArchiveReader,
        file: BinaryIO,
        progress: Progress | None = None,
    ) -> Summary:
        """Write images behind those of `archive`, which was read from `file`, in the place of an unfinished addition.

        They are all there, and on the disk, when this returns; whatever ends it otherwise, the archive is what it was.

        Raises:
            As :meth:`archive`. BBCError: the archive has an image of the name.
        """
        end = file.seek(0, os.SEEK_END) - archive.unfinished
        sync = partial(_sync, file)
        try:
            file.truncate(end)
            file.seek(end)
            summary = self._write(ArchiveWriter(file, self.options.max_pixels, archive, sync), images, progress)
            sync()
            summary.size = file.tell() - end
        except BaseException:
            with held_back():
                _cut(file, end)
            raise
        return summary

    def _write(
        self,
        writer: ArchiveWriter,
        images: Iterable[Item | tuple[str | None, PixelImage]],
        progress: Progress | None,
    ) -> Summary:
        summary = Summary()
        sent: deque[_Sent] = deque()

        def tasks() -> Iterator[list[PixelImage]]:
            for group in self._groups(images):
                sent.append(_Sent.of(group))
                yield [item.image for _, item in group]

        make = partial(_group_coder, self.options) if self.options.jobs > 1 else lambda: self._code
        with Workers(self.options.jobs, make, _samples) as workers:
            for coder, header, payload in workers.map(tasks(), progress):
                group = sent.popleft()
                writer.add_group(header, payload, group.names, group.positions, group.times)
                summary.count(coder, len(group.positions), group.subpixels)
        if not summary.images:
            raise ImageError("there is no image to compress")
        writer.close()
        return summary

    def _groups(self, images: Iterable[Item | tuple[str | None, PixelImage]]) -> Iterator[list[_Waiting]]:
        """The images in groups of one kind and size: each as soon as it is full, or the largest where many wait."""
        waiting: dict[_Key, list[_Waiting]] = {}
        sizes: dict[_Key, int] = {}
        total = 0
        facts: tuple[bool, bool] | None = None
        for position, given in enumerate(images):
            item = Item(*given)
            has = item.name is not None, item.time is not None
            facts = facts or has
            if has != facts:
                raise BBCError("either all images of an archive have names, and times, or none has")
            key = self._key(item.image, item.name)
            group = waiting.setdefault(key, [])
            group.append((position, item))
            cost = item.image.samples + sum(record.cost for record in item.image.metadata)
            sizes[key] = sizes.get(key, 0) + cost
            total += cost
            full = sizes[key] >= GROUP_SUBPIXELS or len(group) == MAX_GROUP_IMAGES
            if full or total >= WAITING_SUBPIXELS:
                largest = key if full else max(sizes, key=sizes.__getitem__)
                total -= sizes.pop(largest)
                yield waiting.pop(largest)
        yield from waiting.values()

    def _code(self, images: Sequence[PixelImage], progress: Progress | None) -> tuple[str, GroupHeader, bytes]:
        """A group of images: what coded them, header and payload. Raises BBCError if they do not come back."""
        work = _Work(images, progress)
        key = self._key(images[0])
        with _few_threads(len(images), any(entry.weights.shape is None for entry in key.entries)):
            coder, header, payload = self._encode(images, key, work)
            if self.options.verify:
                _verify(lambda: self._decode(header, payload, work), list(images))
        work.finish()
        return coder, header, payload

    def _decode(self, header: GroupHeader, payload: bytes, progress: Progress) -> list[PixelImage]:
        return decode_images(header, payload, self._models, progress=progress, max_pixels=self.options.max_pixels)

    def _key(self, image: PixelImage, name: str | None = None) -> _Key:
        """What decides with which other images an image is coded. Raises ImageError, ModelError."""
        kinds = image_kinds(image)
        if self.options.binary and (not kinds or kinds[0][1] != 2):
            raise ImageError(f"{name or 'the image'} is not grey of two levels, the only kind that --binary allows")
        shape = (image.height, image.width)
        for channels, levels, kind in kinds:
            if entries := self._models.zoo.candidates(shape, channels, levels):
                return _Key(kind, tuple(entries), shape)
        return _Key(GREY, (), None)

    def _encode(self, images: Sequence[PixelImage], key: _Key, work: _Work) -> tuple[str, GroupHeader, bytes]:
        """The smallest coding of images of one kind: what coded them, header and payload."""
        best: tuple[str, GroupHeader, bytes] | None = None
        entries = self._preferred(images, key)
        work.passes = max(1, len(entries)) + self.options.verify
        for entry in entries:
            header, payload = encode_images(self._models.vae(entry), images, key.kind, self.options.coding, work)
            if best is None or len(payload) < len(best[2]):
                best = (entry.name, header, payload)
        if best is None or prefers_fallback(images, len(best[2])):
            header, payload = encode_fallback(images, work if best is None else None)
            if best is None or len(payload) < len(best[2]):
                best = (FALLBACK, header, payload)
        return best

    def _preferred(self, images: Sequence[PixelImage], key: _Key) -> Sequence[ModelEntry]:
        """The models that are worth trying: of several, for a large group, the one that is best on a sample of it."""
        if len(key.entries) < 2 or len(images) <= SAMPLE:
            return key.entries
        sample = images[:: len(images) // SAMPLE]

        def size(entry: ModelEntry) -> int:
            return len(encode_images(self._models.vae(entry), sample, key.kind, self.options.coding)[1])

        return [min(key.entries, key=size)]


@dataclass(frozen=True)
class Done(Generic[T]):
    """A group of a file that was decoded, or turned out to be damaged.

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
        model: str | Path | None = None,
        device: str = "cpu",
        max_pixels: int = MAX_PIXELS,
        keep_going: bool = False,
    ) -> None:
        """file: seekable; it stays open and is not closed here. model: as in `Options`. max_pixels: of an image.
        keep_going: find what is left of an archive whose end or indexes are damaged.

        Raises:
            FormatError: it is no file of bbc, or damaged. ModelError, BBCError: as `Compressor`.
        """
        self._choice = model, device
        self._models = ModelCache(Zoo(model), backend_for(device))
        self._max_pixels = max_pixels
        file.seek(0)
        start = file.read(3)
        file.seek(0)
        self.archive: ArchiveReader | None = None
        self._lone = b""
        self._opened = [0, 0]  # images and pixels of the groups begun
        self._last: tuple[int, list[PixelImage]] = -1, []
        if is_archive(start):
            self._open_archive(file, keep_going)
            return
        self._lone = file.read()
        try:
            parse_lone(self._lone, max_pixels)
        except FormatError as fault:
            if not keep_going:
                raise
            try:  # its first bytes may be what is damaged
                self._open_archive(file, keep_going)
            except FormatError:
                raise fault from None

    def _open_archive(self, file: BinaryIO, keep_going: bool) -> None:
        self.archive = ArchiveReader(file, self._max_pixels, keep_going)
        if self.archive.unfinished:
            _log.warning("%d bytes of an unfinished addition at its end are left out", self.archive.unfinished)

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
        """The image at a position. Of an archive only its group is read, and kept for the next call.

        Raises:
            IndexError: there is none. FormatError: its group is damaged. ModelError: its model is missing.
        """
        if self.archive is None:
            range(1)[position]
            return _decode_lone(self._lone, self._models, None, self._max_pixels)
        number, place = self.archive.place(position)
        if self._last[0] != number:
            self._last = number, self.read_group(number)
        return self._last[1][place]

    @property
    def groups(self) -> Sequence[Sequence[int]]:
        """The positions of the images of each group; a lone image is a group of one."""
        return [range(1)] if self.archive is None else [entry.positions for entry in self.archive.groups]

    def place(self, position: int) -> tuple[int, int]:
        """The group of the image at a position, and its place in it. Raises IndexError if there is none."""
        return (0, range(1)[position]) if self.archive is None else self.archive.place(position)

    def read_group(self, number: int) -> list[PixelImage]:
        """The images of a group.

        Raises:
            IndexError: there is none. FormatError: it is damaged. ModelError: its model is missing.
        """
        if self.archive is None:
            range(1)[number]
            return [_decode_lone(self._lone, self._models, None, self._max_pixels)]
        header, payload = self.archive.read_group(number)
        return decode_images(header, payload, self._models, max_pixels=self._max_pixels)

    def look(self, position: int) -> tuple[Looks, Metadata]:
        """Size, mode and metadata of the image at a position, none of which takes decoding it.

        Raises:
            IndexError: there is none. FormatError: its group is damaged.
        """
        number, place = self.place(position)
        header, payload = self._group(number)
        items = split_items(payload, header.count) if header.fallback and self.is_archive else [payload]
        look = stored_looks(items[place : place + 1])[0] if header.fallback else coded_looks(header, self._models.zoo)
        metadata = () if header.metadata is None else decode_metadata(header.metadata, header.count)[place]
        return look, metadata

    def __getitem__(self, name: str) -> PixelImage:
        """The image of that name, as :meth:`read` gives it. Raises KeyError if there is none."""
        position = self.find(name)
        if position is None:
            raise KeyError(name)
        return self.read(position)

    def images(self, progress: Progress | None = None) -> Iterator[tuple[int, PixelImage]]:
        """Position and image of all images, decoded group by group.

        Raises:
            FormatError: a group is damaged. ModelError: its model is missing.
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
    ) -> Iterator[Done[T]]:
        """What `function` makes of the images, group by group in the order of the file; of damaged groups the error.

        only: positions of the images that are wanted; groups without any are not read.
        jobs: processes that share the groups; of several, `function` and its results are pickled.
        """
        self._opened = [0, 0]
        if self.archive is None:
            if only is None or 0 in only:
                yield self._lone_done(function, progress)
            return
        sent: deque[tuple[int, Sequence[int]]] = deque()

        def tasks(archive: ArchiveReader) -> Iterator[_Task]:
            for number, entry in enumerate(archive.groups):
                places = None if only is None else [place for place, at in enumerate(entry.positions) if at in only]
                if places != []:
                    sent.append((number, entry.positions if places is None else [entry.positions[at] for at in places]))
                    yield self._task(archive, number, places, progress is not None)

        if jobs == 1:
            make = partial(_on_groups, self._models, function, self._max_pixels)
        else:
            make = partial(_in_a_process, *self._choice, function, self._max_pixels)
        with Workers(jobs, make, self._worth) as workers:
            for results in workers.map(tasks(self.archive), progress):
                number, positions = sent.popleft()
                if isinstance(results, BBCError):
                    yield Done(number, positions, [], results)
                else:
                    yield Done(number, positions, results)

    def _worth(self, task: _Task) -> int:
        """About how many pixels a task has."""
        if isinstance(task, BBCError):
            return 0
        header, payload, _ = task
        if not header.fallback:
            width, height = coded_looks(header, self._models.zoo)[0] or (0, 0)
            return header.count * width * height
        try:
            return sum(width * height for width, height in map(item_size, split_items(payload, header.count)))
        except FormatError:  # which comes up again where it is decoded
            return 0

    def _lone_done(self, function: Callable[[PixelImage], T], progress: Progress | None) -> Done[T]:
        try:
            header, payload = parse_lone(self._lone, self._max_pixels)
            if progress is not None:
                self._begin(header, [payload])
            image = _decode_lone(self._lone, self._models, progress, self._max_pixels)
        except (FormatError, ModelError) as error:
            return Done(0, [0], [], error)
        return Done(0, [0], [function(image)])

    def _task(self, archive: ArchiveReader, number: int, places: list[int] | None, watched: bool) -> _Task:
        try:
            header, payload = archive.read_group(number)
            if watched:
                self._begin(header, split_items(payload, header.count) if header.fallback else [])
        except FormatError as error:
            return error
        return header, payload, places

    def entries(self) -> Iterator[Listed]:
        """What is known of each image without decoding any, by position."""
        if self.archive is None:
            header, payload = parse_lone(self._lone, self._max_pixels)
            (look,) = stored_looks([payload]) if header.fallback else [coded_looks(header, self._models.zoo)]
            yield Listed(None, *look, self.model_name(header), None)
            return
        groups: dict[int, tuple[str | None, list[Looks] | Looks]] = {}
        names, times = self.archive.names, self.archive.times
        for position in range(self.image_count):
            number, place = self.archive.place(position)
            if number not in groups:
                groups[number] = self._group_looks(self.archive, number)
            coder, looks = groups[number]
            size, mode = looks[place] if isinstance(looks, list) else looks
            yield Listed(names[position], size, mode, coder, times[position])

    def _group_looks(self, archive: ArchiveReader, number: int) -> tuple[str | None, list[Looks] | Looks]:
        try:
            header = archive.read_header(number)
            if not header.fallback:
                return self.model_name(header), coded_looks(header, self._models.zoo)
            header, payload = archive.read_group(number)
            return FALLBACK, stored_looks(split_items(payload, header.count))
        except FormatError:
            return None, (None, None)

    def _begin(self, header: GroupHeader, items: Sequence[bytes]) -> None:
        """Take up the size of a group's images, if its header, or that of each stored image, says it."""
        if header.fallback:
            sizes = [item_size(item) for item in items]
        else:
            sizes = [] if header.size is None else [header.size] * header.count
        self._opened[0] += len(sizes)
        self._opened[1] += sum(width * height for width, height in sizes)

    def facts(self) -> dict[str, Any]:
        """What is in the file and what each part cost in bytes, as JSON values; no image is decoded.

        Raises:
            FormatError: a group is damaged.
        """
        accounting = self._accounting()
        return {
            "format": 1,
            "archive": self.is_archive,
            "images": self.image_count,
            "bytes": accounting.total,
            "parts": {name: value for name, value in asdict(accounting).items() if value},
            "groups": [self._group_facts(header, len(payload)) for header, payload in self._groups()],
        }

    def _groups(self) -> list[tuple[GroupHeader, bytes]]:
        return [self._group(number) for number in range(1 if self.archive is None else len(self.archive.groups))]

    def _group(self, number: int) -> tuple[GroupHeader, bytes]:
        if self.archive is None:
            return parse_lone(self._lone, self._max_pixels)
        return self.archive.read_group(number)

    def _accounting(self) -> Accounting:
        return lone_accounting(self._lone, self._max_pixels) if self.archive is None else self.archive.accounting()

    def _group_facts(self, header: GroupHeader, size: int) -> dict[str, Any]:
        facts = {"model": self.model_name(header), "images": header.count, "bytes": size}
        if header.fallback:
            return facts
        coding = {"encoder": header.encoder, "K": header.steps}
        if header.blocks and header.size is not None:
            return {**facts, **coding, "width": header.size[0], "height": header.size[1]}
        coding["direct"] = header.direct
        return {**facts, **coding, "batches": list(header.batches), "lanes": header.lanes}

    def model_name(self, header: GroupHeader) -> str:
        """The name of the model that a group was coded with, its id where it is not installed."""
        if header.fallback:
            return FALLBACK
        try:
            return self._models.zoo.named(header.model)[0].name
        except ModelError:
            return f"{header.model.hex()}... (not installed)"


_Task = tuple[GroupHeader, bytes, "list[int] | None"] | BBCError
"""A group, and which of its images are wanted (None for all); or why it cannot be read."""


def _on_groups(
    models: ModelCache, function: Callable[[PixelImage], T], max_pixels: int
) -> Work[_Task, list[T] | BBCError]:
    def work(task: _Task, progress: Progress) -> list[T] | BBCError:
        if isinstance(task, BBCError):
            return task
        header, payload, places = task
        try:
            with _few_threads(header.count, header.blocks):
                images = decode_images(header, payload, models, progress=progress, max_pixels=max_pixels)
        except (FormatError, ModelError) as error:
            return error
        return [function(image) for image in (images if places is None else [images[place] for place in places])]

    return work


def _in_a_process(
    model: str | Path | None, device: str, function: Callable[[PixelImage], T], max_pixels: int
) -> Work[_Task, list[T] | BBCError]:
    return _on_groups(ModelCache(Zoo(model), backend_for(device)), function, max_pixels)


def _few_threads(images: int, any_size: bool) -> AbstractContextManager[object]:
    """Without BLAS' threads for groups of several images of a model of one size: its products are small, and threads
    slow them down. Models of any size have large ones, and share out their blocks themselves."""
    return threadpool_limits(1, user_api="blas") if images > 1 and not any_size else nullcontext()


def _same(image: PixelImage) -> PixelImage:
    return image


def _verify(decode: Callable[[], list[PixelImage]], images: list[PixelImage]) -> None:
    """Raises BBCError unless `decode` gives the images."""
    try:
        same = decode() == images
    except FormatError:
        same = False
    if not same:
        raise BBCError(NOT_VERIFIED)


def _decode_lone(
    data: bytes, models: ModelCache, progress: Progress | None = None, max_pixels: int = MAX_PIXELS
) -> PixelImage:
    header, payload = parse_lone(data, max_pixels)
    if header.fallback:
        return with_metadata(header, [decode_item(payload, max_pixels, progress)])[0]
    (image,) = decode_images(header, payload, models, progress=progress)
    return image


def _samples(images: Iterable[PixelImage]) -> int:
    return sum(image.samples for image in images)


def _pixels(images: Iterable[PixelImage]) -> int:
    return sum(image.width * image.height for image in images)


def as_image(image: AnyImage) -> PixelImage:
    """An image of Pillow or an array, as `from_pillow` and `from_array` take them. Raises ImageError."""
    if isinstance(image, PixelImage):
        return image
    return from_pillow(image) if isinstance(image, Image.Image) else from_array(image)


def compress(image: AnyImage, k: int = 4, **options: Any) -> bytes:
    """The bytes of the file of one image.

    image: an image of Pillow; or an array (height, width) or (height, width, samples) of bool, uint8 or uint16, as
        `from_array` takes it; or a `PixelImage`. Its metadata is kept, too.
    k: steps that refine the posterior (K of the paper's Algorithm 2, Eqs. 20 and 21), 0 to 1000; they cost time on both
        sides. A small image by itself is coded directly and has none.
    options: further ones, as in `Options`.

    Raises:
        ImageError: it is no image, or nothing can keep it exactly. ModelError: a chosen model is missing.
        BBCError: an option is out of range.
    """
    return Compressor(Options(steps=k, **options)).lone(as_image(image))[0]


def decompress(data: bytes, model: str | Path | None = None) -> NumpyArray:
    """The pixels of the file of one image: (height, width), or (height, width, samples); bool, uint8 or uint16.

    Of a palette image these are indices; `bbcompress.open` gives the palette and all else. model: as in `Options`.

    Raises:
        FormatError: it is damaged, no file of bbc, or an archive. ModelError: the model that it names is missing.
    """
    reader = Reader(io.BytesIO(data), model)
    if reader.is_archive:
        raise FormatError("this is an archive of several images")
    _, image = next(reader.images())
    return image.pixels


class _Work:
    """Tells of each pixel of some images once, however many passes there are: models to compare, verification."""

    def __init__(self, images: Sequence[PixelImage], progress: Progress | None) -> None:
        self.pixels = _pixels(images)
        self.passes = 1
        self._progress = progress
        self._worked = self._told = 0

    def __call__(self, pixels: int) -> None:
        """A pass is done with so many more."""
        self._worked += pixels
        self._tell(min(self.pixels, self._worked // self.passes))

    def finish(self) -> None:
        """All passes are done."""
        self._tell(self.pixels)

    def _tell(self, done: int) -> None:
        if self._progress is not None and done > self._told:
            self._progress(done - self._told)
            self._told = done


_Waiting = tuple[int, Item]
"""What waits to be written, and its position."""


@dataclass(frozen=True)
class _Sent:
    """What is kept of a group of images while it is coded."""

    positions: list[int]
    names: list[str] | None
    times: list[int] | None
    subpixels: int

    @staticmethod
    def of(group: Sequence[_Waiting]) -> _Sent:
        names = [item.name for _, item in group if item.name is not None]
        times = [item.time for _, item in group if item.time is not None]
        subpixels = sum(item.image.samples for _, item in group)
        return _Sent([position for position, _ in group], names or None, times or None, subpixels)


def _group_coder(options: Options) -> Work[list[PixelImage], tuple[str, GroupHeader, bytes]]:
    return Compressor(options)._code


def _sync(file: BinaryIO) -> None:
    """What was written is on the disk, if that is where the file is."""
    file.flush()
    with suppress(io.UnsupportedOperation):
        os.fsync(file.fileno())


def _cut(file: BinaryIO, end: int) -> None:
    """End the file there; first without what is not written yet, for which there may be no room."""
    for _ in range(2):
        with suppress(OSError):
            os.ftruncate(file.fileno(), end)
        with suppress(OSError):
            file.flush()
    file.truncate(end)
    _sync(file)


@dataclass(frozen=True)
class _Key:
    """What images of a group share: kind, size and the models that fit them; no model means the fallback."""

    kind: Kind
    entries: tuple[ModelEntry, ...]
    shape: tuple[int, int] | None
