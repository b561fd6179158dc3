"""Where the images of a run come from: the files of a directory, or an archive."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from PIL import Image

from bbcompress.archive.manifest import MANIFEST
from bbcompress.errors import BBCError, DataError, ImageError
from bbcompress.images.image import PixelImage, samples_of
from bbcompress.images.read import read_image
from bbcompress.pipeline.names import number_name
from bbcompress.pipeline.reader import Reader
from bbcompress.pipeline.sources import LeftOut, Skipped, find_images, open_place, readable
from bbcompress.system import storage
from bbcompress.system.storage import Place, address_of

_log = logging.getLogger(__name__)


class SourceImage(NamedTuple):
    """An image. position: in the order of all. label: what errors call it. read: gives it; raises DataError."""

    position: int
    name: str
    label: str
    read: Callable[[], PixelImage]


class ImageSource(Protocol):
    """Images, one by one.

    Attributes:
        count: how many there are.
        reasons: of files that cannot be read, a line each.
    """

    count: int
    reasons: list[str]

    def pixel_bytes(self) -> int:
        """About how many bytes their pixels take."""

    def __iter__(self) -> Iterator[SourceImage]:
        """Raises DataError where nothing can be read any more."""


def source_of(path: Place, leave_out: bool) -> ImageSource:
    """The images of a directory, or of an archive. Raises DataError.

    Args:
        leave_out: files of a directory that cannot be read are left out; else they are errors.
    """
    try:
        return ArchiveImages(path) if is_archive(path) else DirectoryImages(path, leave_out)
    except BBCError as error:
        raise _about(path, error) from error


def _about(path: Place, error: BBCError) -> DataError:
    """The error, which names what it is about."""
    line = str(error)
    return DataError(line if str(path) in line else f"{path}: {line}")


def is_archive(path: Place) -> bool:
    """Whether this is no directory of images: a file of bbc, or the directory or the URL of a sharded archive."""
    if isinstance(path, Path):
        return path.is_file() or (path / MANIFEST).is_file()
    return not storage.is_folder(path) or storage.exists(path / MANIFEST)


class DirectoryImages:
    """The images of a directory and those below it, in the order of their paths."""

    def __init__(self, path: Place, leave_out: bool) -> None:
        left_out, skipped = LeftOut(), Skipped() if leave_out else None
        self._found = find_images([address_of(path)], left_out, skipped)
        for line in left_out.lines():
            _log.warning("%s", line)
        self.count = len(self._found)
        self.reasons = list(skipped.reasons) if skipped else []

    def pixel_bytes(self) -> int:
        """As their headers say it."""
        total = 0
        for source in self._found:
            try:
                with storage.open_to_read(source.path) as file, warnings.catch_warnings(), Image.open(file) as image:
                    warnings.simplefilter("ignore")
                    total += image.width * image.height * len(image.getbands())
            except Exception:  # Pillow need not know it; this is an estimate
                continue
        return total

    def __iter__(self) -> Iterator[SourceImage]:
        for position, source in enumerate(self._found):
            yield SourceImage(position, source.name, str(source.path), lambda path=source.path: _read(path))  # type: ignore[misc]


def _read(path: Place) -> PixelImage:
    try:
        return read_image(readable(path), str(path))
    except ImageError as error:
        raise DataError(str(error)) from error


class ArchiveImages:
    """The images of a file of bbc or a sharded archive. Each group is decoded once, in the order of the file."""

    def __init__(self, path: Place) -> None:
        self._path = path
        self.reasons: list[str] = []
        with open_place(path) as file:
            self.count = Reader(file).image_count

    def pixel_bytes(self) -> int:
        """As the archive lists them; of models that are not installed nothing is known."""
        with open_place(self._path) as file:
            sizes = ((entry.size, entry.mode) for entry in Reader(file).entries())
            return sum(size[0] * size[1] * samples_of(mode) for size, mode in sizes if size and mode)

    def __iter__(self) -> Iterator[SourceImage]:
        try:
            with open_place(self._path) as file:
                reader = Reader(file)
                names = reader.names
                for position, image in reader.images():
                    name = names[position] or number_name(position, self.count)
                    yield SourceImage(position, name, f"{self._path}: {name}", lambda its=image: its)  # type: ignore[misc]
        except DataError:
            raise
        except BBCError as error:
            raise _about(self._path, error) from error
