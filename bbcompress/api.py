"""Compress and decompress from Python: what the command line does, without its words."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

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
from bbcompress.images import PixelImage, from_array
from bbcompress.models.vae import ENCODERS
from bbcompress.models.zoo import ModelEntry, Zoo

GROUP_SUBPIXELS = 1 << 22
"""A group is written once its images have so many sub-pixels, bytes of metadata included."""

SAMPLE = 24
"""Images of a group on which models are compared."""

FALLBACK = "fallback"
NOT_VERIFIED = "the pixels did not come back from what was coded; nothing was written; please report this"
NumpyArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Options:
    """How to compress.

    model: a model's folder, a directory of models or an installed model's name; None chooses by what an image is.
    steps: K. encoder: `rha` or `baseline`. learning_rate: of the K steps, None for the model's own. binary: refuse
    images of more than two levels. verify: decode what was written before it counts. device: `cpu` or one of torch's.

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

    def __post_init__(self) -> None:
        if not 0 <= self.steps <= MAX_STEPS:
            raise BBCError(f"K must be 0 to {MAX_STEPS}")
        if self.encoder not in ENCODERS:
            raise BBCError(f"there is no encoder {self.encoder!r}; choose {' or '.join(ENCODERS)}")
        if self.learning_rate is not None and not 1e-6 <= self.learning_rate <= 1:
            raise BBCError("the learning rate must be 1e-6 to 1")

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

    def count(self, coder: str, images: Iterable[PixelImage]) -> None:
        """Add images that `coder` took."""
        for image in images:
            self.images += 1
            self.subpixels += image.samples
            self.coders[coder] = self.coders.get(coder, 0) + 1


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
        data = build_lone(header, payload)
        if self.options.verify:
            _verify(lambda: [_decode_lone(data, self._models, work)], [image])
        work.finish()
        summary = Summary(size=len(data))
        summary.count(coder, [image])
        return data, summary

    def archive(
        self,
        images: Iterable[tuple[str | None, PixelImage]],
        file: BinaryIO,
        progress: Progress | None = None,
    ) -> Summary:
        """Write images with their names as one archive; groups are written as they fill.

        Raises:
            ImageError: an image cannot be kept exactly. BBCError: a name is not allowed or occurs twice, or some images
                have none.
        """
        start = file.tell()
        writer, summary = ArchiveWriter(file), Summary()
        waiting: dict[_Key, list[_Waiting]] = {}
        sizes: dict[_Key, int] = {}
        named: bool | None = None
        for position, (name, image) in enumerate(images):
            named = name is not None if named is None else named
            if named != (name is not None):
                raise BBCError("either all images of an archive have names or none has")
            key = self._key(image, name)
            group = waiting.setdefault(key, [])
            group.append((position, name, image))
            sizes[key] = sizes.get(key, 0) + image.samples + sum(record.cost for record in image.metadata)
            if sizes[key] >= GROUP_SUBPIXELS or len(group) == MAX_GROUP_IMAGES:
                del sizes[key]
                self._write_group(writer, key, waiting.pop(key), summary, progress)
        for key, group in waiting.items():
            self._write_group(writer, key, group, summary, progress)
        if not summary.images:
            raise ImageError("there is no image to compress")
        writer.close()
        summary.size = file.tell() - start
        return summary

    def _write_group(
        self,
        writer: ArchiveWriter,
        key: _Key,
        group: list[_Waiting],
        summary: Summary,
        progress: Progress | None,
    ) -> None:
        positions, names, images = zip(*group, strict=True)
        work = _Work(images, progress)
        coder, header, payload = self._encode(images, key, work)
        if self.options.verify:
            _verify(lambda: decode_images(header, payload, self._models, progress=work), list(images))
        writer.add_group(header, payload, None if names[0] is None else names, positions)
        summary.count(coder, images)
        work.finish()

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


class Reader:
    """A file of bbc, opened: `names`, and the images group by group."""

    def __init__(self, file: BinaryIO, model: str | Path | None = None, device: str = "cpu") -> None:
        """file: seekable; it stays open and is not closed here. model: as in `Options`.

        Raises:
            FormatError: it is no file of bbc, or damaged. ModelError, BBCError: as `Compressor`.
        """
        self._models = ModelCache(Zoo(model), backend_for(device))
        file.seek(0)
        start = file.read(3)
        file.seek(0)
        self.archive: ArchiveReader | None = None
        self._lone = b""
        self._opened = [0, 0]  # images and pixels of the groups begun
        if is_archive(start):
            self.archive = ArchiveReader(file)
        else:
            self._lone = file.read()
            parse_lone(self._lone)

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

    def images(self, progress: Progress | None = None) -> Iterator[tuple[int, PixelImage]]:
        """Position and image of all images, decoded group by group.

        Raises:
            FormatError: a group is damaged. ModelError: its model is missing.
        """
        self._opened = [0, 0]
        if self.archive is None:
            header, payload = parse_lone(self._lone)
            if progress is not None:
                self._begin(header, [payload])
            yield 0, _decode_lone(self._lone, self._models, progress)
            return
        for number, entry in enumerate(self.archive.groups):
            header, payload = self.archive.read_group(number)
            if progress is not None:
                self._begin(header, split_items(payload, header.count) if header.fallback else [])
            images = decode_images(header, payload, self._models, progress=progress)
            yield from zip(entry.positions, images, strict=True)

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
        if self.archive is None:
            return [parse_lone(self._lone)]
        return [self.archive.read_group(number) for number in range(len(self.archive.groups))]

    def _accounting(self) -> Accounting:
        return lone_accounting(self._lone) if self.archive is None else self.archive.accounting()

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


def _verify(decode: Callable[[], list[PixelImage]], images: list[PixelImage]) -> None:
    """Raises BBCError unless `decode` gives the images."""
    try:
        same = decode() == images
    except FormatError:
        same = False
    if not same:
        raise BBCError(NOT_VERIFIED)


def _decode_lone(data: bytes, models: ModelCache, progress: Progress | None = None) -> PixelImage:
    header, payload = parse_lone(data)
    if header.fallback:
        return with_metadata(header, [decode_item(payload, progress=progress)])[0]
    (image,) = decode_images(header, payload, models, progress=progress)
    return image


def _pixels(images: Iterable[PixelImage]) -> int:
    return sum(image.width * image.height for image in images)


def compress(image: PixelImage | NumpyArray, k: int = 0, **options: Any) -> bytes:
    """The file of one image or array ((H, W), (H, W, 3) or (H, W, 4) of uint8).

    Further options as in `Options`. Raises BBCError.
    """
    image = image if isinstance(image, PixelImage) else from_array(image)
    return Compressor(Options(steps=k, **options)).lone(image)[0]


def decompress(data: bytes, model: str | Path | None = None) -> NumpyArray:
    """The pixels of the file of one image, as `PixelImage` holds them. Raises BBCError, for an archive too."""
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


_Waiting = tuple[int, str | None, PixelImage]
"""Position, name and image of what waits to be written."""


@dataclass(frozen=True)
class _Key:
    """What images of a group share: kind, size and the models that fit them; no model means the fallback."""

    kind: Kind
    entries: tuple[ModelEntry, ...]
    shape: tuple[int, int] | None
