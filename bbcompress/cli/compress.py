"""bbc compress and bbc add."""

from __future__ import annotations

import io
import os
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bbcompress.cli.group import main
from bbcompress.cli.inputs import about, echo_notes
from bbcompress.cli.messages import say, tell
from bbcompress.cli.options import (
    coding_options,
    compressor_and_loader,
    force_option,
    output_option,
    path_argument,
    quiet_option,
    skip_option,
)
from bbcompress.cli.progress import progress, set_up_notices
from bbcompress.errors import BBCError, ImageError, OutputExistsError

if TYPE_CHECKING:
    from bbcompress.pipeline.loader import ImageLoader
    from bbcompress.pipeline.options import Item, Summary
    from bbcompress.pipeline.sources import Skipped
    from bbcompress.system.output import Tightened, Times
    from bbcompress.system.permissions import Permissions


@main.command()
@path_argument("inputs", "INPUT...", nargs=-1, required=True)
@output_option("The file to write; - is stdout. [default: image.bbc beside one image]")
@skip_option
@coding_options
@force_option
@quiet_option
def compress(
    inputs: tuple[str, ...], output: str | None, skip: bool | None, force: bool, quiet: bool, **coding: Any
) -> None:
    """Compress an image, or folders and several images into one archive.

    Each INPUT is an image, a folder of images, or - for an image on stdin. The images of one folder are named by their
    paths in it; those of several inputs begin with the folder's own name, and with those above it where two folders
    have the same.
    """
    from bbcompress.images.read import load_file
    from bbcompress.pipeline import sources as files
    from bbcompress.system.output import new_file, refuse_existing, write_file, write_standard_output

    lone = len(inputs) == 1 and not Path(inputs[0]).is_dir()
    if not lone and output is None:
        raise click.UsageError("several images and folders need -o OUT.bbc")
    if not lone and "-" in inputs:
        raise click.UsageError("- cannot be one of several inputs")
    target = _compress_target(inputs[0], output)
    if target is not None:
        for place in inputs:
            if not lone and Path(place).is_dir() and files.is_inside(target, Path(place)):
                raise OutputExistsError(f"{target} would lie in {place}, which is being compressed: write it elsewhere")
        if lone and files.SameFile(target)(Path(inputs[0])):
            raise OutputExistsError(f"{target} is the image, and the output")
        refuse_existing(target, force)
    set_up_notices(quiet)
    compressor, loader = compressor_and_loader(**coding)
    if lone:
        source = load_file(files.open_standard_input(), "-")[0] if inputs[0] == "-" else Path(inputs[0])
        reading = _Reading([("image" if inputs[0] == "-" else Path(inputs[0]).name, source, inputs[0])], None, loader)
    else:
        reading = _find(inputs, loader, skip, target)
    images = iter(reading)
    if lone:  # but with --frames it may hold several
        first, second = next(images), next(images, None)
        lone = second is None
        images = chain([first], [] if second is None else [second], images)
    with progress("compress", quiet, reading.expected_pixels) as advance:
        if lone:
            image = next(images)
            with about(inputs[0], ImageError):
                data, summary = compressor.lone(image.image, advance)
        elif target is None:
            buffer = io.BytesIO()
            summary = compressor.archive(images, buffer, advance)
            data = buffer.getvalue()
        else:
            with new_file(target, force, lambda: reading.permissions) as file:
                summary = compressor.archive(images, file, advance)
    if target is None:
        write_standard_output(data)
    elif lone:
        write_file(target, data, force, reading.permissions, reading.times)
    if not quiet:
        echo_notes([*reading.notes(summary.size), *(f"note: {note}" for note in summary.notes)])
        line = _compressed(inputs, target, loader.size, summary)
        say(f"{line}{reading.count_skipped()}", err=target is None)
    reading.tell_of_skipped()


@main.command()
@path_argument("archive", "ARCHIVE.bbc")
@path_argument("inputs", "INPUT...", nargs=-1, required=True)
@skip_option
@coding_options
@quiet_option
def add(archive: str, inputs: tuple[str, ...], skip: bool | None, quiet: bool, **coding: Any) -> None:
    """Add images and folders to an archive, behind what is there.

    Nothing of it is rewritten: if anything goes wrong, the archive is what it was. Names are those that bbc compress
    gives, and may not occur twice.
    """
    from bbcompress.archive.container import ArchiveReader, both_file_and_folder
    from bbcompress.archive.search import refuse_unknown
    from bbcompress.limits import Limits
    from bbcompress.system.output import Tightened, open_to_add

    if not Path(archive).exists():
        raise BBCError(f"{archive}: no such file; bbc compress makes an archive")
    set_up_notices(quiet)
    compressor, loader = compressor_and_loader(**coding)
    reading = _find(inputs, loader, skip, Path(archive))
    with open_to_add(Path(archive)) as file:
        with about(archive):
            reader = ArchiveReader(file, Limits(coding["max_pixels"]))
            refuse_unknown(reader.tail)
        for name, _, label in reading.found:
            if reader.find(name) is not None:
                raise BBCError(f"{label}: there is an image of the name {name!r} in {archive} already")
            if (inside := reader.find_inside(name)) is not None:
                raise both_file_and_folder(name, inside).of(label)
        if (size := reader.tail.size) and not quiet:
            what = "of an unfinished addition" if reader.unfinished else "behind the archive, all zero,"
            tell(f"note: {size} bytes {what} are cut off")
        with (
            Tightened(file, Path(archive)) as tightened,
            progress("add", quiet, reading.expected_pixels) as advance,
        ):
            summary = compressor.add(reading.tightening(tightened), reader, file, advance)
        if not quiet and (note := tightened.note()):
            tell(f"note: {note}")
    if not quiet:
        echo_notes([*reading.notes(summary.size), *(f"note: {note}" for note in summary.notes)])
        say(f"{_compressed(inputs, Path(archive), loader.size, summary)}{reading.count_skipped()}")
    reading.tell_of_skipped()


def _compress_target(source: str, output: str | None) -> Path | None:
    """Where to write; None is stdout."""
    from bbcompress.archive.signature import SUFFIX

    if output == "-" or (output is None and source == "-"):
        return None
    if output is not None and output.endswith(("/", os.sep)):
        raise BBCError(f"{output} is a folder: name the file to write")
    return Path(output) if output is not None else Path(source).with_suffix(SUFFIX)


def _compressed(inputs: tuple[str, ...], target: Path | None, size: int, summary: Summary) -> str:
    """The one line that compress prints."""
    what = inputs[0] if len(inputs) == 1 else f"{len(inputs)} inputs"
    coders = ", ".join(
        name if summary.images == 1 else f"{count} by {name}" for name, count in sorted(summary.coders.items())
    )
    ratio = f"{size / summary.size:.2f}x"
    rate = f"{summary.bits_per_dimension:.4f} bits/dim"
    return f"{what} -> {target or 'stdout'}  {size} -> {summary.size} bytes  {ratio}  {rate}  ({coders})"


def _find(inputs: tuple[str, ...], loader: ImageLoader, skip: bool | None, output: Path | None) -> _Reading:
    """The images of files and folders, which the output cannot be among. skip: as of `files.Skipped`."""
    from bbcompress.pipeline import sources as files
    from bbcompress.pipeline.names import odd_names

    left_out = files.LeftOut()
    skipped = files.Skipped(skip)
    found = files.find_images(inputs, left_out, skipped, output)
    notes = [*left_out.lines(), *odd_names([source.name for source in found])]
    size = 0
    for source in found:
        with suppress(OSError):  # which comes up again where it is read
            size += source.path.stat().st_size
    given = {str(source.path) for source in found if source.given}
    return _Reading([(name, path, str(path)) for name, path, _ in found], size, loader, notes, skipped, given)


class _Reading:
    """The images of files, read one by one, and about how many pixels all of them have, by the size of the files."""

    def __init__(
        self,
        found: Sequence[tuple[str, Path | bytes, str]],
        size: int | None,
        loader: ImageLoader,
        notes: Sequence[str] = (),
        skipped: Skipped | None = None,
        given: Container[str] = (),
    ) -> None:
        """found: the name, source and label of each file. size: bytes of all files; None for a single one. notes: a
        line for each thing that is odd about them. skipped: gets those that cannot be read; without it that is an
        error. given: labels of those that were given by themselves.

        `permissions` are those that the files read so far share, `times` those of the last one."""
        self.found, self._size, self._loader, self._notes = found, size, loader, notes
        self._skipped, self._given = skipped, given
        self.permissions: Permissions | None = None
        self.times: Times | None = None

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
                    break
                taken += 1
                yield item
            count += taken
        if not count and self._skipped is not None and self._skipped.reasons:
            raise ImageError(f"no image can be read: {self._skipped.some()}")

    def _items(self, name: str, source: Path | bytes, label: str) -> Iterator[Item]:
        """The images of one file."""
        from bbcompress.pipeline.options import Item
        from bbcompress.pipeline.sources import modified

        for its_name, image in self._loader.read_named(name, source, label):
            time = None
            try:
                if isinstance(source, Path):
                    time = modified(source)
                    self._look_at(source)
            except OSError as error:
                raise ImageError(f"{label}: cannot be read: {error.strerror or error}") from None
            yield Item(its_name, image, time)

    def count_skipped(self) -> str:
        """What the line about all files says of those that could not be read."""
        count = 0 if self._skipped is None else len(self._skipped.reasons)
        return f"  {count} file{'s' * (count != 1)} skipped" if count else ""

    def tell_of_skipped(self) -> None:
        """A line for each file that could not be read; if there is one, the command ends with status 1."""
        if self._skipped is not None and self._skipped.reasons:
            for reason in self._skipped.reasons:
                tell(f"skipped: {reason}")
            click.get_current_context().exit(1)

    def _look_at(self, source: Path) -> None:
        """Take up the permissions and times of a file. Raises OSError."""
        from bbcompress.system.output import times_of
        from bbcompress.system.permissions import permissions_of, shared

        self.permissions = shared(self.permissions, permissions_of(source))
        self.times = times_of(source)

    def tightening(self, archive: Tightened) -> Iterator[Item]:
        """The images; before each is there, the archive has no permissions that its file has not."""
        for item in self:
            archive.to(self.permissions, item.name or "an image")
            yield item

    def notes(self, size: int) -> list[str]:
        """What the user should know, a line each. size: of what was written, in bytes."""
        return [*(f"note: {note}" for note in self._notes), *self._loader.notes(size)]

    def expected_pixels(self) -> int | None:
        """None as long as none was read."""
        read = self._loader
        return round(read.pixels * (self._size or read.size) / read.size) if read.size else None
