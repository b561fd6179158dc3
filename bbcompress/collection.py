"""Files of bbc for Python programs: archives as mappings of names to images, and writing them."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path, PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, SupportsIndex, overload

from bbcompress import arguments
from bbcompress.api import AnyImage, as_image, limits_of
from bbcompress.archive.container import ArchiveFile
from bbcompress.archive.times import FIRST_TIME, LAST_TIME
from bbcompress.errors import BBCError, ImageError
from bbcompress.images.image import PixelImage
from bbcompress.images.region import Region
from bbcompress.limits import MAX_PIXELS, READER_K, Limits
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.listing import ListEntry
from bbcompress.pipeline.names import number_name
from bbcompress.pipeline.options import Item, OptionKeywords, Options, Summary, open_models
from bbcompress.pipeline.reader import Reader
from bbcompress.pipeline.sources import open_place
from bbcompress.pipeline.targets import to_add_to
from bbcompress.system import output, storage
from bbcompress.text import count_of, warn_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

Named = Mapping[str, AnyImage]
Entries = Iterable[tuple[str | None, AnyImage] | tuple[str | None, AnyImage, int | None]]
"""Images with their names, and times, in whole seconds since 1970."""


@arguments.checked_class
class Archive(Mapping[str, PixelImage]):
    """A file of bbc as a mapping of names to images, in the order in which they were put in.

    A lookup reads and decodes the group of the image, and no other; groups are kept for the next lookups as long as
    they have no more than `reader.CACHED_SUBPIXELS`. `images` decodes all of them once, in the order of the file.
    Images without names are found by their position, in digits as `bbc decompress` writes it: "00000", "00001", ...;
    where a named image has the same digits, these are its name alone. A lone image has the name of its file without the
    suffix.

    Use it in a `with` block, or close it. One thread at a time. A closed one raises BBCError, whatever it is asked.
    """

    def __init__(
        self,
        file: str | Path | BinaryIO,
        model: str | Path | None = None,
        device: str = "cpu",
        max_pixels: int = MAX_PIXELS,
        max_steps: int = READER_K,
    ) -> None:
        """file: its path or URL, of a sharded archive that of its folder or its manifest, or a seekable binary file,
        which is not closed here. model: as in `Options`.
        max_pixels: width times height above which an image is refused. max_steps: the limit of K, the refinement steps
        that a file asks for; a group above it is not decoded.

        Raises:
            FormatError: it is no file of bbc, or damaged. ModelError: a chosen model is missing.
            BBCError: it cannot be read, or the device cannot be used.
        """
        self._own: BinaryIO | None = None
        self._closed = False
        limits = limits_of(max_pixels, max_steps)
        if isinstance(file, str | PathLike):
            place = storage.argument("file", file)
            file = self._own = open_place(place)
            self._lone_name = place.stem
        else:
            self._lone_name = Path(str(getattr(file, "name", "image"))).stem
        self._file: BinaryIO = arguments.binary_file(file)
        try:
            self._reader = Reader(self._file, open_models(arguments.model(model), device), limits)
        except BaseException:
            if self._own is not None:
                self._own.close()
            raise

    def __len__(self) -> int:
        return self._open_reader.image_count

    def __iter__(self) -> Iterator[str]:
        return (self.name(position) for position in range(len(self)))

    def __contains__(self, name: object) -> bool:
        _ = self._open_reader
        return self._position(name) is not None

    def __getitem__(self, name: str | PurePath | SupportsIndex) -> PixelImage:
        """The image of a name, which may be a path, as where it is written; or at a position, as :meth:`read` takes it,
        of which negative ones count from the end.

        Raises KeyError if there is none of the name, IndexError if there is none at the position; FormatError,
        ModelError, LimitError as :meth:`read`.
        """
        return self.read(self._place(name))

    def _place(self, name: str | PurePath | SupportsIndex) -> int:
        """Where the image of a name, or at a position, stands. Raises KeyError if there is none of the name."""
        if isinstance(name, SupportsIndex) and not isinstance(name, bool):
            return operator.index(name)
        position = self._position(name)
        if position is None:
            raise KeyError(name)
        return position

    def read(self, position: int) -> PixelImage:
        """The image at a position, from 0.

        Raises:
            IndexError: there is none. FormatError: its group is damaged; others may be read. ModelError: the model
            that it takes is missing. LimitError: its K is above the limit. BBCError: the archive, or its file, is
            closed.
        """
        return self._open_reader.read(arguments.integer("position", position))

    def crop(self, name: str | PurePath | SupportsIndex, left: int, top: int, width: int, height: int) -> PixelImage:
        """A region of the image of a name, or at a position: the pixels from column `left` and row `top` on, with the
        image's palette and metadata.

        An image with a side above 1024, or above the `block_size` with which it was written, is mostly coded in blocks.
        Then those are decoded that the region touches, and, where a model learned from the image, its first block; in
        an archive also the first and the last block of each image before it from which the model learned. An image that
        an earlier lookup has left in memory is cropped.

        Raises:
            KeyError, IndexError, FormatError, ModelError, LimitError: as of a lookup. BBCError: the region is empty.
            RegionError: it is not within the image.
        """
        region = Region.of_integers(left, top, width, height)
        return self._open_reader.read_region(self._place(name), region)

    def images(self) -> Iterator[tuple[str, PixelImage]]:
        """Names and images, each group decoded once: the fast way to all of them.

        Raises:
            FormatError, ModelError, LimitError: as :meth:`read`.
        """
        return self._named(self._open_reader.images())

    def _named(self, images: Iterator[tuple[int, PixelImage]]) -> Iterator[tuple[str, PixelImage]]:
        while (found := next(images, None)) is not None:
            yield self.name(found[0]), found[1]
            _ = self._open_reader  # may be closed meanwhile

    def name(self, position: int) -> str:
        """The name of the image at a position. Raises IndexError if there is none."""
        reader, position = self._open_reader, arguments.integer("position", position)
        position = range(len(self))[position]
        name = reader.names[position]
        if name is not None:
            return name
        return number_name(position, len(self)) if reader.is_archive else self._lone_name

    def time(self, position: int) -> int | None:
        """When the image at a position was modified, in whole seconds since 1970; None if the file does not say."""
        return self._open_reader.times[arguments.integer("position", position)]

    def entries(self) -> Iterator[ListEntry]:
        """What is known of each image without decoding any, by position, as `bbc list` shows it: size, mode, what coded
        it, bytes, metadata, and the decoder from whose colours the model learned. Of a damaged group it says less.
        """
        return self._open_reader.entries(with_colours=True)

    def info(self) -> dict[str, Any]:
        """What is in the file and what each part cost in bytes, as `bbc info --json` shows it; no image is decoded.

        Raises FormatError: a group is damaged.
        """
        return self._open_reader.describe()

    @property
    def groups(self) -> Sequence[Sequence[int]]:
        """The positions of the images that are coded together, for each group in the order of the file."""
        return self._open_reader.groups

    def _position(self, name: object) -> int | None:
        """Where the image of a name stands, None if there is none."""
        if isinstance(name, PurePath):
            name = arguments.image_name(name)
        return self._find(name) if isinstance(name, str) else None

    def _find(self, name: str) -> int | None:
        reader = self._open_reader
        if not reader.is_archive:
            return 0 if name == self._lone_name else None
        position = reader.file.find(name)
        if position is None and name.isascii() and name.isdigit() and len(name) <= 18:
            position = int(name)  # of an image without name
        return position if position is not None and position < len(self) and self.name(position) == name else None

    @property
    def _open_reader(self) -> Reader:
        """Raises BBCError where the archive, or its file, is closed."""
        if self._closed or getattr(self._file, "closed", False):
            raise BBCError("the archive is closed")
        return self._reader

    def close(self) -> None:
        """Close the file, if it was opened here, and forget what was decoded."""
        self._closed = True
        self._reader.forget()
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> Archive:
        _ = self._open_reader
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {count_of(self._reader.image_count)}{', closed' * self._closed}>"


@arguments.checked
def open(  # the word of `PIL.Image.open` and `zipfile`, used as `bbcompress.open`
    file: str | Path | BinaryIO,
    model: str | Path | None = None,
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
    max_steps: int = READER_K,
) -> Archive:
    """Open a file of bbc, an archive or a lone image, as a mapping of names to images; see :class:`Archive`."""
    return Archive(file, model, device, max_pixels, max_steps)


@overload  # of a union mypy would not say what the values of a dict are to be
def write(
    path: str | Path, images: Named, k: int | None = None, overwrite: bool = False, **options: Unpack[OptionKeywords]
) -> Summary: ...
@overload
def write(
    path: str | Path,
    images: Entries,
    k: int | None = None,
    overwrite: bool = False,
    **options: Unpack[OptionKeywords],
) -> Summary: ...
@arguments.checked
def write(
    path: str | Path,
    images: Named | Entries,
    k: int | None = None,
    overwrite: bool = False,
    **options: Unpack[OptionKeywords],
) -> Summary:
    """Write images as an archive, which gets its name when all of it is on the disk.

    images: a mapping of names to images, or pairs of name and image, or triples with a time in whole seconds since
        1970; taken one by one, so a generator will do. Images are as `compress` takes them. Names are relative paths
        with `/`, each once; either all are None or none is.
    k: refinement steps, as of `compress`. overwrite: replace a file that is there. options: as in `Options`.

    Raises:
        OutputExistsError: there is such a file. ImageError: an image is none, or there are none. BBCError: a name is
        not allowed, an option is out of range, or the file cannot be written.
    """
    place, force = storage.argument("path", path), arguments.flag("overwrite", overwrite)
    compressor, items = Compressor(Options.of(k, options, ("overwrite",))), _items(images)
    with storage.new_file(place, force) as file:
        summary = compressor.archive(items, file)
    warn_of(summary.notes)
    return summary


@overload
def add(path: str | Path, images: Named, k: int | None = None, **options: Unpack[OptionKeywords]) -> Summary: ...
@overload
def add(path: str | Path, images: Entries, k: int | None = None, **options: Unpack[OptionKeywords]) -> Summary: ...
@arguments.checked
def add(path: str | Path, images: Named | Entries, k: int | None = None, **options: Unpack[OptionKeywords]) -> Summary:
    """Add images to an archive, behind what is there; the arguments are those of :func:`write`.

    All of them are there when this returns; whatever ends it otherwise, the archive is what it was.

    Raises:
        As :func:`write`. FormatError: the archive is damaged. BBCError: it is not there, something else is being added
        to it, or it has an image of the name.
    """
    place = to_add_to(storage.argument("path", path))
    compressor, items = Compressor(Options.of(k, options)), _items(images)
    with output.open_to_add(place) as file:
        summary = compressor.add(items, ArchiveFile(file, Limits(compressor.options.max_pixels)), file)
    warn_of(summary.notes)
    return summary


def _items(images: Named | Entries) -> Iterator[Item]:
    """The images. Raises BBCError where they are none, at once or when it is the turn of one."""
    if isinstance(images, str | bytes) or not isinstance(images, Iterable):
        raise BBCError(f"images must be a mapping of names to images, or pairs of them, not {arguments.shown(images)}")
    return _checked(images.items() if isinstance(images, Mapping) else images)


def _checked(entries: Iterable[Any]) -> Iterator[Item]:
    try:
        for entry in entries:
            if not isinstance(entry, tuple | list) or not 2 <= len(entry) <= 3:
                what = arguments.shown(entry)
                raise BBCError(f"images must be pairs of a name and an image, or triples with a time, not {what}")
            name, image, *time = entry
            name = arguments.image_name(name)
            if time and time[0] is not None:
                time = [arguments.integer("the time of an image", time[0], FIRST_TIME, LAST_TIME)]
            yield Item(name, as_image(image), *time)
    except BBCError:
        raise
    except OSError as error:  # of what makes the images: it may open files
        place = "an image" if error.filename is None else error.filename
        raise ImageError(f"{place}: cannot be read: {error.strerror or error}") from error
