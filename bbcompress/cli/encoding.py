"""bbc compress and bbc add."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bbcompress.cli.group import main
from bbcompress.cli.inputs import about, echo_notes
from bbcompress.cli.messages import say, tell
from bbcompress.cli.options import (
    coding_options,
    complete_path,
    compressor_and_intake,
    force_option,
    path_argument,
    quiet_option,
)
from bbcompress.cli.progress import progress, set_up_notices
from bbcompress.errors import BBCError, ImageError

if TYPE_CHECKING:
    from bbcompress.intake import Intake
    from bbcompress.options import Item, Summary


@main.command()
@path_argument("inputs", "INPUT...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    shell_complete=complete_path,
    help="The file to write; - is stdout. [default: image.bbc beside one image]",
)
@coding_options
@force_option
@quiet_option
def compress(inputs: tuple[str, ...], output: str | None, force: bool, quiet: bool, **coding: Any) -> None:
    """Compress an image, or folders and several images into one archive.

    Each INPUT is an image, a folder of images, or - for an image on stdin.
    """
    from bbcompress import files
    from bbcompress.output import new_file, refuse_existing, write_file, write_standard_output

    lone = len(inputs) == 1 and not Path(inputs[0]).is_dir()
    if not lone and output is None:
        raise click.UsageError("several images and folders need -o OUT.bbc")
    if not lone and "-" in inputs:
        raise click.UsageError("- cannot be one of several inputs")
    target = _compress_target(inputs[0], output)
    if target is not None:
        refuse_existing(target, force)
    set_up_notices(quiet)
    compressor, intake = compressor_and_intake(**coding)
    if lone:
        source = files.read_standard_input() if inputs[0] == "-" else Path(inputs[0])
        reading = _Reading([("image" if inputs[0] == "-" else Path(inputs[0]).name, source, inputs[0])], None, intake)
    else:
        reading = _find(inputs, intake)
    images = iter(reading)
    if lone:  # but with --frames it may hold several
        first, second = next(images), next(images, None)
        lone = second is None
        images = chain([first], [] if second is None else [second], images)
    with progress("compress", quiet, reading.expected_pixels) as advance:
        if lone:
            data, summary = compressor.lone(next(images).image, advance)
        elif target is None:
            buffer = io.BytesIO()
            summary = compressor.archive(images, buffer, advance)
            data = buffer.getvalue()
        else:
            with new_file(target, force) as file:
                summary = compressor.archive(images, file, advance)
    if target is None:
        write_standard_output(data)
    elif lone:
        write_file(target, data, force)
    if not quiet:
        echo_notes(reading.notes(summary.size))
        say(_compressed(inputs, target, intake.size, summary), err=target is None)


@main.command()
@path_argument("archive", "ARCHIVE.bbc")
@path_argument("inputs", "INPUT...", nargs=-1, required=True)
@coding_options
@quiet_option
def add(archive: str, inputs: tuple[str, ...], quiet: bool, **coding: Any) -> None:
    """Add images and folders to an archive, behind what is there.

    Nothing of it is rewritten: if anything goes wrong, the archive is what it was. Names may not occur twice.
    """
    from bbcompress.archive.container import ArchiveReader
    from bbcompress.output import open_to_add

    if not Path(archive).exists():
        raise BBCError(f"{archive}: no such file; bbc compress makes an archive")
    set_up_notices(quiet)
    compressor, intake = compressor_and_intake(**coding)
    reading = _find(inputs, intake)
    with open_to_add(Path(archive)) as file:
        with about(archive):
            reader = ArchiveReader(file, coding["max_pixels"])
        for name, _, label in reading.found:
            if reader.find(name) is not None:
                raise BBCError(f"{label}: there is an image of the name {name!r} in {archive} already")
        if reader.unfinished and not quiet:
            tell(f"note: {reader.unfinished} bytes of an unfinished addition are cut off")
        with progress("add", quiet, reading.expected_pixels) as advance:
            summary = compressor.add(reading, reader, file, advance)
    if not quiet:
        echo_notes(reading.notes(summary.size))
        say(_compressed(inputs, Path(archive), intake.size, summary))


def _compress_target(source: str, output: str | None) -> Path | None:
    """Where to write; None is stdout."""
    from bbcompress.files import SUFFIX

    if output == "-" or (output is None and source == "-"):
        return None
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


def _find(inputs: tuple[str, ...], intake: Intake) -> _Reading:
    """The images of files and folders."""
    from bbcompress import files
    from bbcompress.file_names import odd_names

    left_out = files.LeftOut()
    found = files.find_images(inputs, left_out)
    notes = [*left_out.lines(), *odd_names([name for name, _ in found])]
    size = sum(path.stat().st_size for _, path in found)
    return _Reading([(name, path, str(path)) for name, path in found], size, intake, notes)


class _Reading:
    """The images of files, read one by one, and about how many pixels all of them have, by the size of the files."""

    def __init__(
        self,
        found: Sequence[tuple[str, Path | bytes, str]],
        size: int | None,
        intake: Intake,
        notes: Sequence[str] = (),
    ) -> None:
        """found: the name, source and label of each file. size: bytes of all files; None for a single one. notes: a
        line for each thing that is odd about them."""
        self.found, self._size, self._intake, self._notes = found, size, intake, notes

    def __iter__(self) -> Iterator[Item]:
        from bbcompress.files import modified
        from bbcompress.options import Item

        for name, source, label in self.found:
            for its_name, image in self._intake.read_named(name, source, label):
                try:
                    time = modified(source) if isinstance(source, Path) else None
                except OSError as error:
                    raise ImageError(f"{label}: cannot be read: {error.strerror or error}") from None
                yield Item(its_name, image, time)

    def notes(self, size: int) -> list[str]:
        """What the user should know, a line each. size: of what was written, in bytes."""
        return [*(f"note: {note}" for note in self._notes), *self._intake.notes(size)]

    def expected_pixels(self) -> int | None:
        """None as long as none was read."""
        read = self._intake
        return round(read.pixels * (self._size or read.size) / read.size) if read.size else None
