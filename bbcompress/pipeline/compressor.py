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

from bbcompress.archive.container import ArchiveFile, ArchiveWriter
from bbcompress.archive.embedded import EmbeddedModel
from bbcompress.archive.extras import Extras, suffix_fault
from bbcompress.archive.group import Group
from bbcompress.archive.header import MAX_GROUP_IMAGES
from bbcompress.archive.lone import build_lone, parse_lone
from bbcompress.archive.previews import encode_lone_preview
from bbcompress.archive.search import refuse_unknown
from bbcompress.archive.signature import MAGIC, SUFFIX
from bbcompress.codecs.blocks import MAX_LEARNED_PIXELS
from bbcompress.codecs.choose import SOLID_IMAGE_PIXELS, Fit, cost_of_reading, fit_of
from bbcompress.codecs.fallback.kept import is_kept
from bbcompress.codecs.groups import decode_images
from bbcompress.codecs.kept import LONE_MARGIN, Files, SourceFile, keep_smaller, kept, surely_smaller
from bbcompress.codecs.parts import choose_in_parts
from bbcompress.codecs.progress import Passes, Progress
from bbcompress.codecs.ways import Coded, group_size
from bbcompress.errors import BBCError, FormatError, ImageError
from bbcompress.images.formats.registry import default_kind, kind_of
from bbcompress.images.image import PixelImage, binary_view, bits_of
from bbcompress.images.preview import preview_of
from bbcompress.limits import READER_K, Limits
from bbcompress.models.cache import Models
from bbcompress.pipeline.embedding import Embedding, LeftOut
from bbcompress.pipeline.options import PREVIEW_BYTES, Item, Options, Summary, is_fallback, open_models
from bbcompress.pipeline.reader import Reader
from bbcompress.system.jobs import Work, Workers
from bbcompress.system.signals import held_back

GROUP_SUBPIXELS = 1 << 22
"""A group is written once its images have so many sub-pixels, bytes of metadata included, or the files that may be
kept so many bytes."""

SOLID_PIXELS = {False: 1 << 22, True: MAX_LEARNED_PIXELS - SOLID_IMAGE_PIXELS}
"""The same in pixels of groups that learn from image to image, by whether they are to be `solid`: with the last image
they stay below what the format allows."""

WAITING_SUBPIXELS = 1 << 26
"""Where the images of all groups that wait have so many, the largest is written: what bounds memory."""

NOT_VERIFIED = "the pixels did not come back from what was coded; nothing was written; please report this"


class Compressor:
    """Images to the bytes of files, with one choice of options; models are loaded once."""

    def __init__(self, options: Options | None = None, models: Models | None = None) -> None:
        """models: in place of those that the options name.

        Raises ModelError if the chosen model does not exist, BBCError for a bad device."""
        self.options = options or Options()
        self._models = models or open_models(self.options.model, self.options.device)
        k = READER_K if self.options.k is None else self.options.k
        self._limits = Limits(self.options.max_pixels, k)

    def lone(
        self,
        image: PixelImage,
        progress: Progress | None = None,
        file: SourceFile | None = None,
        suffix: str | None = None,
    ) -> tuple[bytes, Summary]:
        """The file of one image.

        file: from which it was read, where it may be kept in place of the pixels. suffix: of the file, with its point.
        The file of bbc says it where an image of the default suffix would not have it.

        Raises:
            ImageError: nothing can keep the image exactly.
        """
        fit = replace(self._fit(image), solid=False)
        embedded: list[EmbeddedModel] = []

        def complete(group: Group) -> bytes:
            its = None if suffix is None or suffix_fault(suffix) or not _says(group, suffix) else suffix
            return build_lone(replace(group, extras=Extras(its, tuple(embedded))), self._limits)

        def decode(group: Group, progress: Progress) -> list[PixelImage]:
            return self._decode(parse_lone(complete(group), self._limits), progress)

        def size(group: Group) -> int:
            return len(build_lone(group, self._limits))

        if file is not None and self._stays(image, file, fit, LONE_MARGIN):
            coded = self._keep([image], [file], progress, decode)
        else:
            (coded,) = self._choose([image], fit, [file], progress, decode, size)
        data = complete(coded.group)
        embedding = Embedding(self._models.zoo, self.options.embed_model)
        embedding.use(coded)
        embedded, left_out = embedding.choose(len(data))
        data = complete(coded.group) if embedded else data
        summary = Summary()
        preview = self._preview_of(image) if self._may_have_preview(image) else None
        if preview is not None and self._takes_preview(coded.group, 0, preview, len(data), file):
            block = encode_lone_preview(preview)
            data = b"".join([MAGIC, block, data[len(MAGIC) :]])
            summary.previews, summary.preview_bytes = 1, len(block)
        summary.size = len(data)
        self._tell_of_models(summary, embedded, left_out)
        summary.count(coded, image.samples, [0])
        self._note_of_model(summary, int(not fit.entries))
        self._note_of_learning(summary)
        _note_of_k(summary, coded.k)
        return data, summary

    def reader(self, file: BinaryIO) -> Reader:
        """A reader of what was written, by the same models and limits. Raises FormatError."""
        return Reader(file, self._models, self._limits)

    def archive(
        self,
        images: Iterable[Item | tuple[str | None, PixelImage]],
        file: BinaryIO,
        progress: Progress | None = None,
        after: ArchiveFile | None = None,
    ) -> Summary:
        """Write images with their names, and times if they have any, as one archive; groups are written as they fill.

        Args:
            after: what the file holds so far, whose last segment they become.

        Raises:
            ImageError: an image cannot be kept exactly. BBCError: a name is not allowed or occurs twice, or some images
                have none.
        """
        start = file.tell()
        writer = ArchiveWriter(file, self._limits, after, partial(_sync, file) if after is not None else lambda: None)
        summary = Summary()
        embedding = Embedding(
            self._models.zoo, self.options.embed_model, () if after is None else {place.id for place in after.models}
        )
        sent: deque[_Sent] = deque()
        unfit = k = 0

        def tasks() -> Iterator[_Task]:
            for fit, group in self._groups(images):
                previews = [self._preview_of(it.image) if self._may_have_preview(it.image) else None for _, it in group]
                sent.append(_Sent.of(group, bool(fit.entries), previews))
                yield [item.image for _, item in group], fit, [item.file for _, item in group]

        make = partial(_group_coder, self.options, self._models) if self.options.jobs > 1 else lambda: self._code
        with Workers(self.options.jobs, make, _samples) as workers:
            for parts in workers.map(tasks(), progress):
                waited = sent.popleft()
                for coded in parts:
                    part, group = waited.part(coded.indices), coded.group
                    previews = self._previews_for(group, part)
                    summary.previews += sum(preview is not None for preview in previews)
                    summary.preview_bytes += writer.add_group(
                        group, part.names, part.positions, part.times, previews=previews
                    )
                    k = max(k, coded.k)
                    embedding.use(coded)
                    summary.count(coded, sum(part.subpixels), part.positions)
                unfit += 0 if waited.fits else len(waited.positions)
        if not summary.images:
            raise ImageError("there is no image to compress")
        embedded, left_out = embedding.choose(file.tell())
        for model in embedded:
            writer.add_model(model)
        writer.close()
        self._tell_of_models(summary, embedded, left_out)
        self._note_of_model(summary, unfit)
        self._note_of_learning(summary)
        _note_of_k(summary, k)
        summary.size = file.tell() - start
        return summary

    def add(
        self,
        images: Iterable[Item | tuple[str | None, PixelImage]],
        archive: ArchiveFile,
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
        try:
            file.truncate(end)
            file.seek(end)
            summary = self.archive(images, file, progress, archive)
            _sync(file)
        except BaseException:
            with held_back():
                _cut(file, end)
            raise
        return summary

    def _may_have_preview(self, image: PixelImage) -> bool:
        """Whether an image may get a preview, before it is coded."""
        asked = self.options.preview
        return image.width * image.height * bits_of(image.mode) >= 8 * PREVIEW_BYTES if asked is None else asked

    def _preview_of(self, image: PixelImage) -> bytes | None:
        """Raises BBCError where there is none, and one is asked for."""
        preview = preview_of(image)
        if preview is None and self.options.preview:
            raise BBCError("a preview cannot be made: Pillow was built without WebP, in which previews are")
        return preview

    def _takes_preview(self, group: Group, index: int, preview: bytes, size: int, file: SourceFile | None) -> bool:
        """Whether an image of a group, which takes about so many bytes, has a preview in the file. Without a word there
        is none beside a kept file, nor one that makes an image larger than the file from which it comes."""
        if self.options.preview is not None:
            return self.options.preview
        if size < PREVIEW_BYTES or (file is not None and size + len(preview) > len(file.data)):
            return False
        return not group.header.fallback or not is_kept(group.items[index])

    def _previews_for(self, group: Group, sent: _Sent) -> list[bytes | None]:
        """The previews of a group that was coded."""
        total = sum(sent.subpixels)
        return [
            preview
            if preview is not None
            and self._takes_preview(group, index, preview, len(group.payload) * samples // total, file)
            else None
            for index, (preview, samples, file) in enumerate(
                zip(sent.previews, sent.subpixels, sent.files, strict=True)
            )
        ]

    def _tell_of_models(self, summary: Summary, embedded: Sequence[EmbeddedModel], left_out: Sequence[LeftOut]) -> None:
        """Take down which models the file carries, and which ones it lacks."""
        for model in embedded:
            name = self._models.zoo.named(model.id)[0].name
            summary.embedded[name] = len(model.encode())
        summary.missing_models += [model.note() for model in left_out]

    def _note_of_learning(self, summary: Summary) -> None:
        """Say which images are coded without learning, though it was asked for."""
        if not self.options.learn or not summary.frozen:
            return
        count, names = sum(summary.frozen.values()), sorted(summary.frozen)
        some = "the image is" if summary.images == 1 else f"{count} of {summary.images} images are"
        models = f"the model {names[0]}" if len(names) == 1 else f"the models {', '.join(names)}"
        summary.notes.append(
            f"{some} coded without learning: {models} cannot learn from {'it' if summary.images == 1 else 'them'}"
        )

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

    def _groups(self, images: Iterable[Item | tuple[str | None, PixelImage]]) -> Iterator[tuple[Fit, list[_Waiting]]]:
        """The images in groups of one fit: each as soon as it is full, or the largest where many wait."""
        waiting: dict[Fit, list[_Waiting]] = {}
        sizes: dict[Fit, int] = {}
        total = 0
        expected: tuple[bool, bool] | None = None
        for position, given in enumerate(images):
            item = Item(*given)
            has = item.name is not None, item.time is not None
            expected = expected or has
            if has != expected:
                raise BBCError("either all images of an archive have names, and times, or none has")
            fit = self._fit(item.image, item.name)
            group = waiting.setdefault(fit, [])
            group.append((position, item))
            cost = item.image.samples + sum(record.cost for record in item.image.metadata)
            cost = max(cost, 0 if item.file is None else len(item.file.data))  # either is written
            sizes[fit] = sizes.get(fit, 0) + cost
            total += cost
            most = SOLID_PIXELS[self.options.solid] * fit.kind.channels if fit.solid else GROUP_SUBPIXELS
            full = sizes[fit] >= most or len(group) == MAX_GROUP_IMAGES
            if full or total >= WAITING_SUBPIXELS:
                largest = fit if full else max(sizes, key=sizes.__getitem__)
                total -= sizes.pop(largest)
                yield largest, waiting.pop(largest)
        yield from waiting.items()

    def _fit(self, image: PixelImage, name: str | None = None) -> Fit:
        """What decides with which other images an image is coded. Raises ImageError, ModelError."""
        if image.width * image.height > self.options.max_pixels:
            raise ImageError(f"{name or 'the image'} has more pixels than the limit of {self.options.max_pixels}")
        if self.options.binary and binary_view(image) is None:
            message = f"{name or 'the image'} is not grey of two levels"
            raise ImageError(message, python="binary=True allows no others", command="--binary allows no others")
        return fit_of(image, self._models, self.options.coding)

    def _code(self, waited: _Task, progress: Progress | None) -> list[Coded]:
        """Images that wait together, or the files of some, as the groups that are smallest. Raises BBCError if they do
        not come back."""
        images, fit, files = waited
        stay = [index for index, image in enumerate(images) if self._stays(image, files[index], fit, 1)]
        if not stay:
            return self._choose(images, fit, files, progress)
        staying = [file for index in stay if (file := files[index]) is not None]
        coded = [self._keep([images[index] for index in stay], staying, progress).within(stay)]
        if others := sorted(set(range(len(images))) - set(stay)):
            some = [images[index] for index in others]
            its_files = [files[index] for index in others]
            coded += [part.within(others) for part in self._choose(some, fit, its_files, progress)]
        return coded

    def _keep(
        self,
        images: Sequence[PixelImage],
        files: Sequence[SourceFile],
        progress: Progress | None,
        decode: Callable[[Group, Progress], list[PixelImage]] | None = None,
    ) -> Coded:
        """The files as they are, from which the images have come again."""
        passes = Passes(images, progress)
        passes.plan(images, 1)
        coded = kept(images, files)
        self._verify(coded, images, decode, passes.of(1))
        passes.finish()
        return coded

    def _stays(self, image: PixelImage, file: SourceFile | None, fit: Fit, margin: float) -> bool:
        return surely_smaller(image, file, fit, self._models, self.options.coding.usual, margin)

    def _choose(
        self,
        images: Sequence[PixelImage],
        fit: Fit,
        files: Files,
        progress: Progress | None,
        decode: Callable[[Group, Progress], list[PixelImage]] | None = None,
        size_of: Callable[[Group], int] = group_size,
    ) -> list[Coded]:
        """The smallest groups of the images, or of their files, verified: `decode`, if not that of groups, has given
        them again."""
        passes = Passes(images, progress)
        cost = cost_of_reading(fit, self._models, self.options.coding)
        if self.options.verify:
            passes.plan(images, cost)
        groups = choose_in_parts(images, fit, self._models, self.options.coding, passes, size_of)
        groups = [keep_smaller(coded, images, files) for coded in groups]
        for coded in groups:
            self._verify(coded, images, decode, passes.of(cost))
        passes.finish()
        return groups

    def _verify(
        self,
        coded: Coded,
        images: Sequence[PixelImage],
        decode: Callable[[Group, Progress], list[PixelImage]] | None,
        progress: Progress,
    ) -> None:
        """Raises BBCError unless the images come back, where that is to be tried."""
        if self.options.verify:
            decoded = partial(decode or self._decode, coded.group, progress)
            _verify(decoded, [images[at] for at in coded.indices])

    def _decode(self, group: Group, progress: Progress) -> list[PixelImage]:
        return decode_images(group, self._models, self._limits, progress)


def _note_of_k(summary: Summary, k: int) -> None:
    """Say where K, or the largest of several, is above what readers take by themselves."""
    if k > READER_K:
        summary.notes.append(
            f"K is {k}: those who read it have to allow so many steps, by --max-steps {k}, from Python by "
            f"max_steps={k}; without it the limit is {READER_K}"
        )


def _verify(decode: Callable[[], list[PixelImage]], images: list[PixelImage]) -> None:
    """Raises BBCError unless `decode` gives the images."""
    try:
        same = decode() == images
    except FormatError:
        same = False
    if not same:
        raise BBCError(NOT_VERIFIED)


def _says(group: Group, suffix: str) -> bool:
    """Whether the file of one image says the suffix of its source: where this is kept, or where it is the suffix of
    files that are written, and not that which they have without a word. That of bbc is none of an image."""
    if suffix.lower() == SUFFIX:
        return False
    is_default = kind_of(suffix) in (None, default_kind(None))
    return not is_default or (group.header.fallback and any(map(is_kept, group.alone().items)))


_Task = tuple[Sequence[PixelImage], Fit, Files]
"""Images of a fit that wait together, and their files."""


def _samples(waited: _Task) -> int:
    return sum(image.samples for image in waited[0])


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
    previews: Sequence[bytes | None]
    files: Files

    @staticmethod
    def of(group: Sequence[_Waiting], fits: bool, previews: Sequence[bytes | None]) -> _Sent:
        names = [item.name for _, item in group if item.name is not None]
        times = [item.time for _, item in group if item.time is not None]
        subpixels = [item.image.samples for _, item in group]
        positions, files = [position for position, _ in group], [item.file for _, item in group]
        return _Sent(positions, names or None, times or None, subpixels, fits, previews, files)

    def part(self, indices: Sequence[int]) -> _Sent:
        """The same of some of the images."""
        names = None if self.names is None else [self.names[index] for index in indices]
        times = None if self.times is None else [self.times[index] for index in indices]
        positions, subpixels = ([values[index] for index in indices] for values in (self.positions, self.subpixels))
        previews, files = [self.previews[index] for index in indices], [self.files[index] for index in indices]
        return _Sent(positions, names, times, subpixels, self.fits, previews, files)


def _group_coder(options: Options, models: Models) -> Work[_Task, list[Coded]]:
    return Compressor(options, models)._code


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
