"""From a file of bbc to image files in a folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bbcompress.archive.manifest import MANIFEST
from bbcompress.codecs.fallback.kept import KeptFile
from bbcompress.codecs.progress import Progress
from bbcompress.errors import BBCError, FormatError, ImageError, LimitError, MissingModelError, OutputExistsError
from bbcompress.images.formats.registry import default_kind, image_suffixes, kind_of
from bbcompress.images.image import PixelImage
from bbcompress.images.metadata import names_of
from bbcompress.images.read import read_image
from bbcompress.images.region import Decoded, Region
from bbcompress.images.write import write_image
from bbcompress.limits import STANDARD_STREAM
from bbcompress.pipeline.loader import Stripped
from bbcompress.pipeline.names import NameLimits, image_names, lone_name, select, simple_name
from bbcompress.pipeline.reader import GroupResult, Reader
from bbcompress.pipeline.sources import SameFile
from bbcompress.system.output import NewFolder, Times, times_of
from bbcompress.system.permissions import Permissions, permissions_of
from bbcompress.system.storage import Url, place_of
from bbcompress.text import count_of, some_of

RENAMED = 10
"""Images that a line names of those that came out under other names than theirs."""


class Extraction:
    """The images of a file on their way into a folder, all of them or those that are wanted.

    written: the path of each image by its position. size: bytes of these files. lost: groups that could not be decoded.
    decoded: what was decoded for a region.
    """

    def __init__(
        self,
        reader: Reader,
        folder: Path,
        file: str,
        form: str | None = None,
        only: Sequence[str] = (),
        strip: bool = False,
        force: bool = False,
        check: bool = False,
        region: Region | None = None,
    ) -> None:
        """file: the path or URL of the reader's file, or `-`. form: of the images, None for the default of each. only:
        patterns of names, as `select` takes them. force: files that are there are overwritten. check: read each file
        back before it is written, as `as_file` does. region: of each image, in place of all of it.

        Raises BBCError where a pattern fits no image.
        """
        self.written: dict[int, Path] = {}
        self.lost: list[GroupResult[Any]] = []
        self.size = 0
        self._reader, self._folder, self._file, self._force = reader, folder, file, force
        self._names: Sequence[str | None] = reader.names if reader.is_archive else [place_of(file).stem]
        self._wanted = select(self._names, only)
        self._file_names = _FileNames(reader, self._names, form, strip or region is not None, NameLimits.of(folder))
        self._region = region
        self.decoded = Decoded()
        self._as_file = partial(as_file_or_why_not, form=form, strip=strip, check=check)
        self._left_out = LeftOutNotes()

    def write(self, progress: Progress | None = None, jobs: int = 1, keep_going: bool = False) -> None:
        """Decode and write; the files have their names when all of them are on the disk.

        Args:
            keep_going: bring out what is not damaged, as long as that is anything.

        Raises:
            FormatError, ModelError, LimitError: a group cannot be decoded. ImageError: the format does not hold an
            image. OutputExistsError: a file is there. BBCError: it cannot be written.
        """
        reader, names, wanted = self._reader, self._file_names, self._wanted
        is_file = SameFile(place_of(self._file))
        with NewFolder(self._folder, self._force, attributes_of(self._file)[0]) as new:
            names.check(new, range(reader.image_count) if wanted is None else wanted)
            positions = None if wanted is None else frozenset(wanted)
            for group in self._groups(positions, jobs, progress):
                if group.error is not None:
                    self._take_error(group, keep_going)
                for position, result in zip(group.positions, group.results, strict=False):
                    if isinstance(result, ImageError):
                        raise result.of(f"{self._file}: {self._names[position] or f'image {position}'}")
                    self._left_out.add(result)
                    data, suffix = result.data, result.suffix
                    name = names(position, suffix)
                    if self._force and is_file(self._folder / name):
                        raise OutputExistsError(f"{self._folder / name} is the file, and one of the outputs")
                    written = new.write(name, data, reader.times[position])
                    names.written(position, suffix, written)
                    self.written[position] = self._folder / written
                    self.size += len(data)
            refused = [group.error for group in self.lost if isinstance(group.error, LimitError)]
            if not self.written and refused and len(refused) == len(self.lost):
                raise refused[0]
            if keep_going and not self.written:
                raise BBCError(f"{self._file}: nothing can be brought out")

    def _groups(
        self, positions: Container[int] | None, jobs: int, progress: Progress | None
    ) -> Iterator[GroupResult[ImageFile | ImageError]]:
        own = self._file_names.own_suffix
        if self._region is None:
            return self._reader.each_content(self._as_file, own, positions, jobs, progress)
        return self._reader.each_region(self._region, self._as_file, own, positions, progress, self.decoded)

    def _take_error(self, group: GroupResult[Any], keep_going: bool) -> None:
        """Take down a group that is lost, or raise its error."""
        error = group.error
        if error is not None and not keep_going:
            if isinstance(error, LimitError | MissingModelError):  # whose own advice helps
                raise error
            raise type(error)(error.args[0], command="--keep-going brings out what is not damaged")
        self.lost.append(group)

    @property
    def others(self) -> int:
        """Images whose files, which were kept, are not those that are written."""
        return self._left_out.others

    def notes(self) -> list[str]:
        """What the user should know, a line each."""
        return [line.removeprefix("note: ") for line in (*self._left_out.notes(), *self._file_names.notes())]


def attributes_of(file: str) -> tuple[Permissions | None, Times | None]:
    """Permissions and times of a file, or of a folder's manifest, which what is brought out of it gets; none of stdin,
    pipes and URLs."""
    path = place_of(file)
    if isinstance(path, Path) and os.path.isdir(path):
        path = path / MANIFEST
    if file == STANDARD_STREAM or isinstance(path, Url) or not os.path.isfile(path):
        return None, None
    return permissions_of(path), times_of(path)


def suffix_of(reader: Reader, position: int, form: str | None, own: str | None, strip: bool = False) -> str:
    """The suffix of the file that the image at a position becomes, if that can hold it; it is not decoded.

    Args:
        form: the kind of file that is asked for.
        own: the suffix of the image's name, None where it has no name.
        strip: whether metadata is left out, so that no file is as it was kept.

    Raises:
        FormatError: the file is damaged or above a limit.
    """
    if form is not None:
        return f".{form}"
    mode, usual = reader.mode_and_kept(position)
    if usual is not None and not strip:
        return usual if own is None else own
    if usual is None and own is not None and kind_of(own) is not None:
        return own
    return f".{default_kind(mode)}"


class _FileNames:
    """The names of the files that the images of an archive become; those of two formats differ by their suffixes."""

    def __init__(
        self, reader: Reader, names: Sequence[str | None], form: str | None, strip: bool, limits: NameLimits
    ) -> None:
        """names: of the images. form: of all files, None for the default of each image. strip: as of `suffix_of`."""
        self._reader, self._own, self._form, self._limits = reader, names, form, limits
        self._strip = strip
        self._suffix = None if reader.is_archive else reader.file.suffix
        self._names: dict[str | None, list[str]] = {}  # by suffix; None: of the suffixes that are of no image
        self._renamed: list[str] = []

    def __call__(self, position: int, suffix: str) -> str:
        """Of the image at a position, whose file gets this suffix."""
        if not self._reader.is_archive:
            return lone_name(self._own[position] or "", suffix, self._limits)
        suffix = suffix.lower()
        known = suffix in image_suffixes()
        if (key := suffix if known else None) not in self._names:  # else each of many suffixes would take a list
            suffixes = suffix if known else [(self.own_suffix(at) or "").lower() for at in range(len(self._own))]
            self._names[key] = image_names(self._own, suffixes, self._limits)
        return self._names[key][position]

    def own_suffix(self, position: int) -> str | None:
        """The suffix of the name of the image at a position; None where it has no name."""
        if not self._reader.is_archive:
            return self._suffix
        name = self._own[position]
        return None if name is None else Path(name).suffix

    def written(self, position: int, suffix: str, name: str) -> None:
        """Take down under which name an image came out, where that is not its own with this suffix."""
        its_own = self._own[position]
        if its_own is None:
            return
        simple = simple_name(its_own, suffix.lower()) if self._reader.is_archive else f"{its_own}{suffix}"
        if name != simple:
            self._renamed.append(f"{its_own} is {name}")

    def notes(self) -> list[str]:
        """What the user should know: no line, or one."""
        if not self._renamed:
            return []
        images, some = count_of(len(self._renamed)), some_of(self._renamed, RENAMED)
        return [f"note: {images} could not have the own name with the new suffix: {some}"]

    def check(self, new: NewFolder, positions: Iterable[int]) -> None:
        """Raises OutputExistsError if one of the files exists and may not be overwritten."""
        for position in positions:
            own = self.own_suffix(position)
            usual = f".{self._form or 'png'}" if self._form or own is None or kind_of(own) is None else own
            read = self._form is None and own is not None and kind_of(own) is None  # it may be kept as it is
            try:
                new.check([self(position, self._deeper(position, usual) if read else usual)])
            except OutputExistsError:  # unless the image becomes another file; that takes reading its group
                if read or (suffix := self._deeper(position, usual)) == usual:
                    raise
                new.check([self(position, suffix)])

    def _deeper(self, position: int, usual: str) -> str:
        """The suffix of the file that the image at a position becomes, as its group says it."""
        with suppress(FormatError):
            return suffix_of(self._reader, position, self._form, self.own_suffix(position), self._strip)
        return usual


@dataclass(frozen=True)
class ImageFile:
    """What an image is written as.

    Attributes:
        data: the bytes of the file.
        suffix: of its name.
        size, mode: of the image.
        stripped: names of the metadata that was left out on demand.
        lost: names of what a file that was kept says, and this one does not.
        is_other: whether the file that was kept is another one.
    """

    data: bytes
    suffix: str
    size: tuple[int, int]
    mode: str
    stripped: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    is_other: bool = False


class LeftOutNotes:
    """Counts the images from which something is left out where they are written.

    others: images whose files, which were kept, are not those that are written.
    """

    def __init__(self) -> None:
        self.others = 0
        self._stripped = Stripped()
        self._lost: Counter[str] = Counter()

    def add(self, file: ImageFile) -> None:
        """One more image."""
        self._stripped.add(file.stripped)
        self._lost.update(file.lost)
        self.others += file.is_other

    def notes(self) -> list[str]:
        """What the user should know, a line each."""
        lines = [
            f"note: only the .bbc file has the {name} of {count_of(count)}"
            for name, count in sorted(self._lost.items())
        ]
        return [*lines, *self._stripped.notes()]


def as_file(
    image: PixelImage | KeptFile, own: str | None, form: str | None, strip: bool, check: bool = False
) -> ImageFile:
    """An image as a file: of one that is kept as it is this file, unless another kind or no metadata is asked for.

    Args:
        own: the suffix of the image's name, None where it has none. The file is of this kind, if `form` asks for no
            other and it can hold the image.
        check: read the bytes back, where the image must come out as it was.

    Raises:
        ImageError: the format cannot hold the image. FormatError: a kept file is damaged.
    """
    lost: tuple[str, ...] = ()
    is_other = isinstance(image, KeptFile)
    if isinstance(image, KeptFile):
        kept = image
        if not strip and (form is None or kept.is_of(form)):
            suffix = f".{form}" if form is not None else kept.suffix if own is None else own
            return ImageFile(kept.data, suffix, kept.size, kept.mode)
        image, count = kept.first()
        names = (() if strip else image.lost) + (("further pictures",) if count > 1 else ())
        lost = tuple(dict.fromkeys(names))
        own = None
    stripped = tuple({**dict.fromkeys(names_of(image.metadata)), **dict.fromkeys(image.lost)}) if strip else ()
    image = image.without_metadata() if strip else image
    data, suffix = _written(image, own, form)
    if check and read_image(data, "the file", image.width * image.height) != image:
        raise ImageError(f"the image did not come back from its {suffix} file; nothing was written or deleted")
    return ImageFile(data, suffix, image.size, image.mode, stripped, lost, is_other)


def _written(image: PixelImage, own: str | None, form: str | None) -> tuple[bytes, str]:
    """The image as a file and its suffix; arguments as of :func:`as_file`."""
    kind = kind_of(own) if own is not None and form is None else None
    if own is not None and kind is not None:
        with suppress(ImageError):  # this kind cannot hold it
            return write_image(image, kind)[0], own
    return write_image(image, form)


def as_file_or_why_not(
    image: PixelImage | KeptFile, own: str | None, form: str | None, strip: bool, check: bool
) -> ImageFile | ImageError:
    """The same, or the error: which image it is of is not known here."""
    try:
        return as_file(image, own, form, strip, check)
    except ImageError as error:
        return error
