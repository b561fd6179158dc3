"""From image files and folders to one file of bbc."""

from __future__ import annotations

import io
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

from bbcompress.codecs.progress import Progress
from bbcompress.errors import BBCError, FormatError, ImageError, OutputExistsError
from bbcompress.images.read import load_file
from bbcompress.limits import STANDARD_STREAM
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.loader import ImageLoader
from bbcompress.pipeline.names import odd_names
from bbcompress.pipeline.options import Item, Summary
from bbcompress.pipeline.removal import Removal
from bbcompress.pipeline.sources import (
    LeftOut,
    Skipped,
    find_images,
    is_inside,
    modified,
    open_standard_input,
)
from bbcompress.system import storage
from bbcompress.system.output import Tightened, Times, times_of, write_file
from bbcompress.system.permissions import Permissions, permissions_of, shared
from bbcompress.system.storage import Place, Url, place_of


def is_lone(inputs: Sequence[str]) -> bool:
    """Whether the inputs are a single file, whose image becomes the file of one image."""
    return len(inputs) == 1 and not storage.is_folder(place_of(inputs[0]))


def check_output(inputs: Sequence[str], target: Place | None, force: bool) -> None:
    """Raises OutputExistsError where the target may not be overwritten, or lies among the inputs; BBCError where it
    cannot be written."""
    if target is None:
        return
    lone = is_lone(inputs)
    for place in map(place_of, inputs):
        if not lone and is_inside(target, place) and storage.is_folder(place):
            raise OutputExistsError(f"{target} would lie in {place}, which is being compressed: write it elsewhere")
    if lone:
        storage.refuse_source(target, place_of(inputs[0]), "image")
    storage.refuse_target(target, force)


class Packing:
    """Files and folders on their way into one file of bbc.

    data: the file's bytes, where they are not written. The output is to be checked before.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        target: Place | None,
        compressor: Compressor,
        loader: ImageLoader,
        skip: bool | None = None,
        force: bool = False,
    ) -> None:
        """inputs: `-` alone is stdin. target: None for no file, but `data`. skip: as of `Skipped`.

        Raises:
            ImageError: a path is none of a file or folder, or no image is found. OutputExistsError: the target is
            among the images.
        """
        self.data: bytes | None = None
        self._summary = Summary()
        self._lone_data: bytes | None = None
        self._inputs, self._target, self._force = inputs, target, force
        self._compressor, self._loader = compressor, loader
        self._lone = is_lone(inputs)
        if self._lone:
            (name,) = inputs
            piped = name == STANDARD_STREAM
            place = place_of(name)
            source = load_file(open_standard_input(), name)[0] if piped else place
            self._reading = Reading([("image" if piped else place.name, source, str(place))], None, loader)
        else:
            self._reading = find(inputs, loader, skip, target)
        self.expected_pixels = self._reading.expected_pixels

    @property
    def size(self) -> int:
        """Bytes of the files that were read so far."""
        return self._loader.size

    @property
    def skipped(self) -> list[str]:
        """Why each file that could not be read is left out."""
        return self._reading.skipped

    def write(self, progress: Progress | None = None) -> Summary:
        """Read, compress and write all.

        Raises:
            ImageError: an image cannot be read or is not supported.
            ModelError: a model is missing or damaged.
            OutputExistsError: an output exists and may not be overwritten.
            BBCError: the file cannot be written, or what was coded does not come back.
        """
        reading, images = self._reading, iter(self._reading)
        if self._lone:  # but with all pictures of a file it may be several images
            first, second = next(images), next(images, None)
            if second is None:
                try:
                    suffix = None if self._inputs[0] == STANDARD_STREAM else place_of(self._inputs[0]).suffix
                    data, self._summary = self._compressor.lone(first.image, progress, first.file, suffix)
                except ImageError as error:
                    raise error.of(self._inputs[0]) from None
                except MemoryError:
                    raise BBCError(f"{self._inputs[0]}: there is not enough memory for it") from None
                self._put(data)
                return self._summary
            images = chain([first, second], images)
        if self._target is None:
            buffer = io.BytesIO()
            self._summary = self._compressor.archive(images, buffer, progress)
            self.data = buffer.getvalue()
            return self._summary
        with storage.new_file(self._target, self._force, lambda: reading.permissions) as file:
            self._summary = self._compressor.archive(images, file, progress)
            return self._summary

    def _put(self, data: bytes) -> None:
        """Write the file of one image."""
        if self._target is None:
            self.data = data
        elif isinstance(self._target, Url):
            with storage.new_file(self._target, self._force) as file:
                file.write(data)
        else:
            self._lone_data = data
            write_file(self._target, data, self._force, self._reading.permissions, self._reading.times)

    def notes(self, summary: Summary) -> list[str]:
        """What the user should know, a line each. Of models that are not in the file of one image nothing is said."""
        notes = [*summary.notes, *(() if self._lone else summary.missing_models)]
        return [*self._reading.notes(summary), *(f"note: {note}" for note in notes)]

    def remove_sources(self) -> list[str]:
        """Delete the files whose images are in the file that was written; a line for each that is not deleted.

        What was written is read from the disk before: its checksums are to be right there.

        Raises:
            FormatError: what was written is damaged.
        """
        if not isinstance(self._target, Path):
            raise BBCError("sources are not deleted where the output is not a file of this machine")
        if self._lone_data is not None:  # of which the file alone has no checksum
            if self._target.read_bytes() != self._lone_data:
                raise FormatError(f"{self._target}: is not on the disk as it was written")
        else:
            with self._target.open("rb") as file:
                self._compressor.reader(file).describe()
        return self._reading.remove(self._summary)


def find(inputs: Sequence[str], loader: ImageLoader, skip: bool | None, output: Place | None) -> Reading:
    """The images of files and folders, which the output cannot be among.

    Args:
        skip: as of `Skipped`.
    """
    left_out = LeftOut()
    skipped = Skipped(skip)
    found = find_images(inputs, left_out, skipped, output)
    notes = [*left_out.lines(), *odd_names([source.name for source in found])]
    size = 0
    for source in found:
        with suppress(BBCError):  # which comes up again where it is read
            size += storage.look_up(source.path).size or 0
    given = {str(source.path) for source in found if source.given}
    return Reading([(name, path, str(path)) for name, path, _ in found], size, loader, notes, skipped, given)


class Reading:
    """The images of files, read one by one, and about how many pixels all of them have, by the size of the files."""

    def __init__(
        self,
        found: Iterable[tuple[str, Place | bytes, str]],
        size: int | None,
        loader: ImageLoader,
        notes: Sequence[str] = (),
        skipped: Skipped | None = None,
        given: Container[str] = (),
        time_of: Callable[[Place], int | None] | None = None,
    ) -> None:
        """`permissions` are those that the files read so far share, `times` those of the last one.

        Args:
            found: the name, source and label of each file.
            size: bytes of all files; None for a single one.
            notes: a line for each thing that is odd about them.
            skipped: gets those that cannot be read; without it that is an error.
            given: labels of those that were given by themselves.
            time_of: gives the time of a file; None is `modified`.
        """
        self.found, self._size, self._loader, self._notes = found, size, loader, notes
        self._skipped, self._given, self._time_of = skipped, given, time_of or modified
        self.permissions: Permissions | None = None
        self.times: Times | None = None
        self._removal = Removal()
        self._whole: list[tuple[Path, str]] = []  # files of which all images were read, and their labels
        self._labels: list[str] = []  # of the file that each image is of

    def __iter__(self) -> Iterator[Item]:
        count = 0
        for name, source, label in self.found:
            items, taken = self._items(name, source, label), 0
            while True:
                try:
                    item = next(items, None)
                except ImageError as error:
                    if self._skipped is None:
                        raise
                    but = f"; its first {taken} pictures are taken" if taken else ""
                    self._skipped.take(error, label in self._given, but)
                    break
                if item is None:
                    if isinstance(source, Path):
                        self._whole.append((source, label))
                    break
                taken += 1
                yield item
            count += taken
        if not count and self._skipped is not None and self._skipped.reasons:
            raise ImageError(f"no image can be read: {self._skipped.some()}")

    def _items(self, name: str, source: Place | bytes, label: str) -> Iterator[Item]:
        """The images of one file."""
        if isinstance(source, Path):
            with suppress(OSError):  # which comes up again where it is read
                self._removal.take(source)
        for its_name, image, file in self._loader.read_named(name, source, label):
            time = None
            try:
                if not isinstance(source, bytes):
                    time = self._time_of(source)
                if isinstance(source, Path):
                    self._look_at(source)
            except BBCError as error:  # of a URL
                raise ImageError(str(error)) from None
            except OSError as error:
                raise ImageError(f"{label}: cannot be read: {error.strerror or error}") from None
            self._labels.append(label)
            yield Item(its_name, image, time, file)

    @property
    def skipped(self) -> list[str]:
        """Why each file that could not be read is left out."""
        return [] if self._skipped is None else self._skipped.reasons

    def _look_at(self, source: Path) -> None:
        """Take up the permissions and times of a file.

        Raises:
            OSError: the operating system reports an error.
        """
        self.permissions = shared(self.permissions, permissions_of(source))
        self.times = times_of(source)

    def remove(self, summary: Summary) -> list[str]:
        """Delete the files that were read to their ends; a line for each that is not deleted, which says why.

        Args:
            summary: of what was written.
        """
        more = self._loader.more_than_pixels(self._kept(summary))
        kept = {path: more[label] for path, label in self._whole if label in more}
        return self._removal.remove([path for path, _ in self._whole], kept)

    def _kept(self, summary: Summary) -> set[str]:
        """Labels of the files that were written as they are."""
        return {self._labels[position] for position in summary.kept}

    def tightening(self, archive: Tightened) -> Iterator[Item]:
        """The images; before each is there, the archive has no permissions that its file has not."""
        for item in self:
            archive.to(self.permissions, item.name or "an image")
            yield item

    def notes(self, summary: Summary) -> list[str]:
        """What the user should know, a line each.

        Args:
            summary: of what was written.
        """
        lines = self._loader.notes(summary.size, self._kept(summary))
        return [*(f"note: {note}" for note in self._notes), *lines]

    def expected_pixels(self) -> int | None:
        """None as long as none was read."""
        read = self._loader
        return round(read.pixels * (self._size or read.size) / read.size) if read.size else None
