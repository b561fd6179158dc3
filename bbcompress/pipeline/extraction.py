"""From a file of bbc to image files in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from bbcompress.codecs.progress import Progress
from bbcompress.errors import BBCError, FormatError, ImageError, LimitError, OutputExistsError
from bbcompress.images.formats.registry import default_kind
from bbcompress.images.image import PixelImage
from bbcompress.images.metadata import names_of
from bbcompress.images.read import read_image
from bbcompress.images.write import write_image
from bbcompress.pipeline.loader import Stripped
from bbcompress.pipeline.names import NameLimits, image_names, select, simple_name
from bbcompress.pipeline.reader import GroupResult, Reader
from bbcompress.pipeline.sources import SameFile
from bbcompress.system.output import NewFolder, Times, times_of
from bbcompress.system.permissions import Permissions, permissions_of

RENAMED = 10
"""Images that a line names of those that came out under other names than theirs."""


class Extraction:
    """The images of a file on their way into a folder, all of them or those that are wanted.

    written: the path of each image by its position. lost: groups that could not be decoded.
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
    ) -> None:
        """file: the path of the reader's file, or `-`. form: of the images, None for the default of each. only:
        patterns of names, as `select` takes them. force: files that are there are overwritten. check: read each file
        back before it is written, as `as_file` does.

        Raises BBCError where a pattern fits no image.
        """
        self.written: dict[int, Path] = {}
        self.lost: list[GroupResult[Any]] = []
        self._reader, self._folder, self._file, self._force = reader, folder, file, force
        self._names: Sequence[str | None] = reader.names if reader.is_archive else [Path(file).stem]
        self._wanted = select(self._names, only)
        self._file_names = _FileNames(reader, self._names, form, NameLimits.of(folder))
        self._as_file = partial(_as_file_or_why_not, form=form, strip=strip, check=check)
        self._stripped = Stripped()

    def write(self, progress: Progress | None = None, jobs: int = 1, keep_going: bool = False) -> None:
        """Decode and write; the files have their names when all of them are on the disk.

        Args:
            keep_going: bring out what is not damaged, as long as that is anything.

        Raises:
            FormatError, ModelError, LimitError: a group cannot be decoded. ImageError: the format does not hold an
            image. OutputExistsError: a file is there. BBCError: it cannot be written.
        """
        reader, names, wanted = self._reader, self._file_names, self._wanted
        is_file = SameFile(Path(self._file))
        with NewFolder(self._folder, self._force, attributes_of(self._file)[0]) as new:
            names.check(new, range(reader.image_count) if wanted is None else wanted)
            positions = None if wanted is None else frozenset(wanted)
            for group in reader.each(self._as_file, positions, jobs, progress):
                if group.error is not None:
                    self._take_error(group, keep_going)
                for position, result in zip(group.positions, group.results, strict=False):
                    if isinstance(result, ImageError):
                        raise result.of(f"{self._file}: {self._names[position] or f'image {position}'}")
                    data, suffix, left_out = result
                    self._stripped.add(left_out)
                    name = names(position, suffix)
                    if self._force and is_file(self._folder / name):
                        raise OutputExistsError(f"{self._folder / name} is the file, and one of the outputs")
                    written = new.write(name, data, reader.times[position])
                    names.written(position, suffix, written)
                    self.written[position] = self._folder / written
            refused = [group.error for group in self.lost if isinstance(group.error, LimitError)]
            if not self.written and refused and len(refused) == len(self.lost):
                raise refused[0]
            if keep_going and not self.written:
                raise BBCError(f"{self._file}: nothing can be brought out")

    def _take_error(self, group: GroupResult[Any], keep_going: bool) -> None:
        """Take down a group that is lost, or raise its error."""
        error = group.error
        if error is not None and not keep_going:
            if isinstance(error, LimitError):
                raise error
            raise type(error)(error.args[0], command="--keep-going brings out what is not damaged")
        self.lost.append(group)

    def notes(self) -> list[str]:
        """What the user should know, a line each."""
        return [line.removeprefix("note: ") for line in (*self._stripped.notes(), *self._file_names.notes())]


def attributes_of(file: str) -> tuple[Permissions | None, Times | None]:
    """Permissions and times of a file, which what is brought out of it gets; none of stdin and pipes."""
    path = Path(file)
    if file == "-" or not path.is_file():
        return None, None
    return permissions_of(path), times_of(path)


def suffix_of(reader: Reader, position: int, form: str | None) -> str:
    """The suffix of the file that the image at a position becomes; it is not decoded.

    Raises:
        FormatError: the file is damaged or above a limit.
    """
    if form is None:
        (_, mode), _ = reader.image_info(position)
        form = default_kind(mode)
    return f".{form}"


class _FileNames:
    """The names of the files that the images of an archive become; those of two formats differ by their suffixes."""

    def __init__(self, reader: Reader, names: Sequence[str | None], form: str | None, limits: NameLimits) -> None:
        """names: of the images. form: of all files, None for the default of each image."""
        self._reader, self._own, self._form, self._limits = reader, names, form, limits
        self._names: dict[str, list[str]] = {}
        self._renamed: list[str] = []

    def __call__(self, position: int, suffix: str) -> str:
        """Of the image at a position, whose file gets this suffix."""
        if suffix not in self._names:
            self._names[suffix] = image_names(self._own, suffix, self._limits)
        return self._names[suffix][position]

    def written(self, position: int, suffix: str, name: str) -> None:
        """Take down under which name an image came out, where that is not its own with this suffix."""
        its_own = self._own[position]
        if its_own is not None and name != simple_name(its_own, suffix):
            self._renamed.append(f"{its_own} is {name}")

    def notes(self) -> list[str]:
        """What the user should know: no line, or one."""
        if not self._renamed:
            return []
        some = f"{', '.join(self._renamed[:RENAMED])}{', ...' * (len(self._renamed) > RENAMED)}"
        images = f"{len(self._renamed)} image{'s' * (len(self._renamed) != 1)}"
        return [f"note: {images} could not have the own name with the new suffix: {some}"]

    def check(self, new: NewFolder, positions: Iterable[int]) -> None:
        """Raises OutputExistsError if one of the files exists and may not be overwritten."""
        usual = f".{self._form or 'png'}"
        for position in positions:
            try:
                new.check([self(position, usual)])
            except OutputExistsError:  # unless the image becomes another file; that takes reading its group
                suffix = usual
                with suppress(FormatError):
                    suffix = suffix_of(self._reader, position, self._form)
                if suffix == usual:
                    raise
                new.check([self(position, suffix)])


def as_file(
    image: PixelImage, form: str | None, strip: bool, check: bool = False
) -> tuple[bytes, str, tuple[str, ...]]:
    """An image as the bytes of a file, its suffix, and the names of the metadata that is left out.

    Args:
        check: read the bytes back, where the image must come out as it was.

    Raises:
        ImageError: the format cannot hold the image.
    """
    kept, left_out = (image.without_metadata(), names_of(image.metadata)) if strip else (image, ())
    data, suffix = write_image(kept, form)
    if check and read_image(data, "the file", image.width * image.height) != kept:
        raise ImageError(f"the image did not come back from its {suffix} file; nothing was written or deleted")
    return data, suffix, left_out


def _as_file_or_why_not(
    image: PixelImage, form: str | None, strip: bool, check: bool
) -> tuple[bytes, str, tuple[str, ...]] | ImageError:
    """The same, or the error: which image it is of is not known here."""
    try:
        return as_file(image, form, strip, check)
    except ImageError as error:
        return error
