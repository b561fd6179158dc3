"""bbc compress and bbc add."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
from bbcompress.errors import BBCError

if TYPE_CHECKING:
    from bbcompress.pipeline.options import Summary


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
    from bbcompress.pipeline.packing import Packing, check_output, is_lone
    from bbcompress.system.output import write_standard_output

    if not is_lone(inputs) and output is None:
        raise click.UsageError("several images and folders need -o OUT.bbc")
    if len(inputs) > 1 and "-" in inputs:
        raise click.UsageError("- cannot be one of several inputs")
    target = _compress_target(inputs[0], output)
    check_output(inputs, target, force)
    set_up_notices(quiet)
    packing = Packing(inputs, target, *compressor_and_loader(**coding), skip, force)
    with progress("compress", quiet, packing.expected_pixels) as advance:
        summary = packing.write(advance)
    if packing.data is not None:
        write_standard_output(packing.data)
    if not quiet:
        echo_notes(packing.notes(summary))
        line = _compressed(inputs, target, packing.size, summary)
        say(f"{line}{_count_skipped(packing.skipped)}", err=target is None)
    _tell_of_skipped(packing.skipped)


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
    from bbcompress.pipeline.packing import find
    from bbcompress.system.output import Tightened, open_to_add

    if not Path(archive).exists():
        raise BBCError(f"{archive}: no such file; bbc compress makes an archive")
    set_up_notices(quiet)
    compressor, loader = compressor_and_loader(**coding)
    reading = find(inputs, loader, skip, Path(archive))
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
        say(f"{_compressed(inputs, Path(archive), loader.size, summary)}{_count_skipped(reading.skipped)}")
    _tell_of_skipped(reading.skipped)


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


def _count_skipped(reasons: Sequence[str]) -> str:
    """What the line about all files says of those that could not be read."""
    return f"  {len(reasons)} file{'s' * (len(reasons) != 1)} skipped" if reasons else ""


def _tell_of_skipped(reasons: Sequence[str]) -> None:
    """A line for each file that could not be read; if there is one, the command ends with status 1."""
    for reason in reasons:
        tell(f"skipped: {reason}")
    if reasons:
        click.get_current_context().exit(1)
