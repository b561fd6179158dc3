"""Images to the bytes of files."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO

from bbcompress.archive.container import ArchiveReader, ArchiveWriter, build_lone, split_items
from bbcompress.archive.group import Group
from bbcompress.archive.header import GREY, MAX_GROUP_IMAGES, Kind
from bbcompress.archive.search import refuse_unknown
from bbcompress.codecs.blocks import BLOCK_SIDE
from bbcompress.codecs.fallback import Progress
from bbcompress.codecs.groups import (
    arranged,
    decode_images,
    decode_lone,
    encode_fallback,
    encode_images,
    fallback_wins,
    image_kinds,
    is_mixed,
    prefers_fallback,
)
from bbcompress.errors import BBCError, FormatError, ImageError
from bbcompress.images.image import PixelImage
from bbcompress.limits import READER_STEPS
from bbcompress.models.zoo import ModelEntry
from bbcompress.pipeline.options import FALLBACK, Item, Options, Summary, is_fallback, open_models
from bbcompress.system.jobs import Work, Workers
from bbcompress.system.signals import held_back

GROUP_SUBPIXELS = 1 << 22
"""A group is written once its images have so many sub-pixels, bytes of metadata included."""

WAITING_SUBPIXELS = 1 << 26
"""Where the images of all groups that wait have so many, the largest is written: what bounds memory."""

SAMPLE = 24
"""Images of a group on which models are compared."""

MIXED_PIXELS = 1 << 16
"""Images of at most so many pixels join a group of several sizes: alone, each would take far longer than its pixels."""

NOT_VERIFIED = "the pixels did not come back from what was coded; nothing was written; please report this"


class Compressor:
    """Images to the bytes of files, with one choice of options; models are loaded once."""

    def __init__(self, options: Options | None = None) -> None:
        """Raises ModelError if the chosen model does not exist, BBCError for a bad device."""
        self.options = options or Options()
        self._models = open_models(self.options.model, self.options.device)

    def lone(self, image: PixelImage, progress: Progress | None = None) -> tuple[bytes, Summary]:
        """The file of one image. Raises ImageError where nothing can keep it exactly."""
        work = _Work([image], progress)
        coded = self._encode([image], self._key(image), work)
        group = coded.group
        if group.header.fallback:
            (item,) = split_items(group.payload, 1)
            group = replace(group, payload=item)
        data = build_lone(group, self.options.max_pixels)
        if self.options.verify:
            limits = self.options.max_pixels, self.options.steps
            _verify(lambda: [decode_lone(data, self._models, work, *limits)], [image])
        work.finish()
        summary = Summary(size=len(data))
        summary.count(coded.coder, 1, image.samples, [group.payload])
        self._note_of_model(summary, int(not self._key(image).entries))
        _note_of_steps(summary, group.header.steps)
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
        """Write images behind those of `archive`, which was read from `file`, in the place of an unfinished addition or
        of zeros.

        They are all there, and on the disk, when this returns; whatever ends it otherwise, the archive is what it was.

        Raises:
            As :meth:`archive`. BBCError: the archive has an image of the name, or other bytes behind it.
        """
        refuse_unknown(archive.tail)
        end = archive.content_end
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
        unfit = steps = 0

        def tasks() -> Iterator[list[PixelImage]]:
            for group in self._groups(images):
                sent.append(_Sent.of(group, bool(self._key(group[0][1].image).entries)))
                yield [item.image for _, item in group]

        make = partial(_group_coder, self.options) if self.options.jobs > 1 else lambda: self._code
        with Workers(self.options.jobs, make, _samples) as workers:
            for parts in workers.map(tasks(), progress):
                waited = sent.popleft()
                for coded in parts:
                    part, group = waited.part(coded.indices), coded.group
                    writer.add_group(group, part.names, part.positions, part.times)
                    items = split_items(group.payload, group.header.count) if group.header.fallback else ()
                    steps = max(steps, group.header.steps)
                    summary.count(coded.coder, len(part.positions), sum(part.subpixels), items)
                unfit += 0 if waited.fits else len(waited.positions)
        if not summary.images:
            raise ImageError("there is no image to compress")
        writer.close()
        self._note_of_model(summary, unfit)
        _note_of_steps(summary, steps)
        return summary

    def _note_of_model(self, summary: Summary, unfit: int) -> None:
        """Say where models that were asked for coded nothing, or not all. unfit: images that none of them fits."""
        chosen = self._models.zoo.chosen
        if not chosen:
            return
        one = len(chosen) == 1
        lines = []
        if unfit:
            some = "the image" if summary.images == 1 else f"{unfit} of {summary.images} images"
            lines.append(f"{'does not fit' if one else 'fits'} {some}, of another kind or size")
        if unfit < summary.images and all(map(is_fallback, summary.coders)):
            some = "the image" if summary.images == 1 else "any of the others" if unfit else "any image"
            lines.append(f"{'does not code' if one else 'codes'} {some} in fewer bytes than the fallback")
        what = f"the model {chosen[0].name}" if one else f"none of the models in {self.options.model}"
        summary.notes += [f"{what} {line}" for line in lines]

    def _groups(self, images: Iterable[Item | tuple[str | None, PixelImage]]) -> Iterator[list[_Waiting]]:
        """The images in groups of what `_key` says: each as soon as it is full, or the largest where many wait."""
        waiting: dict[_Key, list[_Waiting]] = {}
        sizes: dict[_Key, int] = {}
        total = 0
        expected: tuple[bool, bool] | None = None
        for position, given in enumerate(images):
            item = Item(*given)
            has = item.name is not None, item.time is not None
            expected = expected or has
            if has != expected:
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

    def _code(self, images: Sequence[PixelImage], progress: Progress | None) -> list[_Coded]:
        """Images that wait together, as one group, or as two where the fallback is better for some of small images of
        several sizes. Raises BBCError if they do not come back."""
        work = _Work(images, progress)
        key = self._key(images[0])
        parts = []
        for indices, its_key in self._parts(images, key):
            part = [images[index] for index in indices]
            coded = self._encode(part, its_key, work)
            if self.options.verify:
                decode = partial(self._decode, coded.group, work)
                _verify(decode, [part[index] for index in coded.indices])
            parts.append(replace(coded, indices=[indices[index] for index in coded.indices]))
        work.finish()
        return parts

    def _parts(self, images: Sequence[PixelImage], key: _Key) -> list[tuple[Sequence[int], _Key]]:
        """Which images are coded together, and by what."""
        everything = range(len(images))
        if not key.entries or not is_mixed(images):
            return [(everything, key)]
        wins = fallback_wins(self._models.vae(key.entries[0]), images, key.kind, self.options.coding)
        parts = [[index for index in everything if wins[index] == stored] for stored in (False, True)]
        return [(part, its_key) for part, its_key in zip(parts, (key, _Key(GREY, (), None)), strict=True) if part]

    def _decode(self, group: Group, progress: Progress) -> list[PixelImage]:
        limits = {"max_pixels": self.options.max_pixels, "max_steps": self.options.steps}
        return decode_images(group, self._models, progress=progress, **limits)

    def _key(self, image: PixelImage, name: str | None = None) -> _Key:
        """What decides with which other images an image is coded. Raises ImageError, ModelError."""
        if image.width * image.height > self.options.max_pixels:
            raise ImageError(f"{name or 'the image'} has more pixels than the limit of {self.options.max_pixels}")
        kinds = image_kinds(image)
        if self.options.binary and (not kinds or kinds[0][1] != 2):
            message = f"{name or 'the image'} is not grey of two levels"
            raise ImageError(message, python="binary=True allows no others", command="--binary allows no others")
        shape = (image.height, image.width)
        for channels, levels, kind in kinds:
            if entries := self._models.zoo.candidates(shape, channels, levels):
                mixed = image.width * image.height <= MIXED_PIXELS and max(shape) <= BLOCK_SIDE
                if mixed and all(entry.input_spec["shape"] is None for entry in entries):
                    return _Key(kind, tuple(entries), None)
                return _Key(kind, tuple(entries), shape)
        return _Key(GREY, (), None)

    def _encode(self, images: Sequence[PixelImage], key: _Key, work: _Work) -> _Coded:
        """The smallest coding of images of one kind."""
        best: _Coded | None = None
        entries = self._preferred(images, key)
        work.passes = max(1, len(entries)) + self.options.verify
        for entry in entries:
            vae, coding = self._models.vae(entry), self.options.coding
            order, direct = arranged(vae, images, key.kind, coding)
            ordered = [images[index] for index in order]
            group = encode_images(vae, ordered, key.kind, coding, work, direct)
            if best is None or len(group.payload) < len(best.group.payload):
                best = _Coded(entry.name, group, order)
        if best is None or prefers_fallback(images, len(best.group.payload)):
            group = encode_fallback(images, work if best is None else None)
            if best is None or len(group.payload) < len(best.group.payload):
                best = _Coded(FALLBACK, group, range(len(images)))
        return best

    def _preferred(self, images: Sequence[PixelImage], key: _Key) -> Sequence[ModelEntry]:
        """The models that are worth trying: of several, for a large group, the one that is best on a sample of it."""
        if len(key.entries) < 2 or len(images) <= SAMPLE:
            return key.entries
        sample = images[:: len(images) // SAMPLE]

        def size(entry: ModelEntry) -> int:
            return len(encode_images(self._models.vae(entry), sample, key.kind, self.options.coding).payload)

        return [min(key.entries, key=size)]


def _note_of_steps(summary: Summary, steps: int) -> None:
    """Say where K, or the largest of several, is above what readers take by themselves."""
    if steps > READER_STEPS:
        summary.notes.append(
            f"K is {steps}: those who read it have to allow so many steps, by --max-steps {steps}, from Python by "
            f"max_steps={steps}; without it the limit is {READER_STEPS}"
        )


def _verify(decode: Callable[[], list[PixelImage]], images: list[PixelImage]) -> None:
    """Raises BBCError unless `decode` gives the images."""
    try:
        same = decode() == images
    except FormatError:
        same = False
    if not same:
        raise BBCError(NOT_VERIFIED)


def _samples(images: Iterable[PixelImage]) -> int:
    return sum(image.samples for image in images)


def _pixels(images: Iterable[PixelImage]) -> int:
    return sum(image.width * image.height for image in images)


class _Work:
    """Tells of each pixel of some images once, however many passes there are: models to compare, verification."""

    def __init__(self, images: Sequence[PixelImage], progress: Progress | None) -> None:
        self.pixels = _pixels(images)
        self.passes = 1
        self._progress = progress
        self._worked = self._reported = 0

    def __call__(self, pixels: int) -> None:
        """A pass is done with so many more."""
        self._worked += pixels
        self._tell(min(self.pixels, self._worked // self.passes))

    def finish(self) -> None:
        """All passes are done."""
        self._tell(self.pixels)

    def _tell(self, done: int) -> None:
        if self._progress is not None and done > self._reported:
            self._progress(done - self._reported)
            self._reported = done


_Waiting = tuple[int, Item]
"""What waits to be written, and its position."""


@dataclass(frozen=True)
class _Sent:
    """What is kept of a group of images while it is coded."""

    positions: list[int]
    names: list[str] | None
    times: list[int] | None
    subpixels: list[int]
    fits: bool

    @staticmethod
    def of(group: Sequence[_Waiting], fits: bool) -> _Sent:
        names = [item.name for _, item in group if item.name is not None]
        times = [item.time for _, item in group if item.time is not None]
        subpixels = [item.image.samples for _, item in group]
        return _Sent([position for position, _ in group], names or None, times or None, subpixels, fits)

    def part(self, indices: Sequence[int]) -> _Sent:
        """The same of some of the images."""
        names = None if self.names is None else [self.names[index] for index in indices]
        times = None if self.times is None else [self.times[index] for index in indices]
        positions, subpixels = ([values[index] for index in indices] for values in (self.positions, self.subpixels))
        return _Sent(positions, names, times, subpixels, self.fits)


@dataclass(frozen=True)
class _Coded:
    """A group: what coded it, and which of the images that waited together it holds, in its order."""

    coder: str
    group: Group
    indices: Sequence[int]


def _group_coder(options: Options) -> Work[list[PixelImage], list[_Coded]]:
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
    """What images of a group share: kind, size and the models that fit them; no model means the fallback. No size means
    that they may have several."""

    kind: Kind
    entries: tuple[ModelEntry, ...]
    shape: tuple[int, int] | None
