"""bbc decompress and bbc test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bbcompress.cli.group import main
from bbcompress.cli.inputs import about, count_of, echo_notes, open_file, tell_of_damage
from bbcompress.cli.messages import say
from bbcompress.cli.options import (
    device_option,
    force_option,
    jobs_for,
    jobs_option,
    max_pixels_option,
    max_steps_option,
    model_option,
    only_option,
    output_option,
    path_argument,
    quiet_option,
)
from bbcompress.cli.progress import progress
from bbcompress.errors import BBCError, ImageError, LimitError, ModelError, OutputExistsError
from bbcompress.images.formats.registry import kind_of, written_kinds

if TYPE_CHECKING:
    from bbcompress.images.image import PixelImage
    from bbcompress.pipeline.reader import GroupResult, Reader

WRITTEN_FORMATS = ("png", "tiff", "webp", "bmp", "gif", "ppm", "pgm", "pbm")
"""As in `writers`, which takes numpy and Pillow."""


@main.command()
@path_argument("file", "FILE.bbc")
@output_option("The image, or for an archive the folder, to write; - is stdout.")
@click.option("--format", "form", type=click.Choice(tuple(written_kinds())),
              help="Of the images written. [default: by OUT, else png, or tiff for what png cannot hold]")  # fmt: skip
@click.option("--strip", is_flag=True, help="Leave out metadata (EXIF, ICC profile, text, ...).")
@only_option
@click.option("--keep-going", is_flag=True, help="Bring out what is not damaged, name what is lost, and exit with 1.")
@model_option
@device_option
@jobs_option
@max_pixels_option
@max_steps_option
@force_option
@quiet_option
def decompress(
    file: str,
    output: str | None,
    form: str | None,
    strip: bool,
    only: tuple[str, ...],
    keep_going: bool,
    model: str | None,
    device: str,
    jobs: int | None,
    max_pixels: int,
    max_steps: int,
    force: bool,
    quiet: bool,
) -> None:
    """Bring back the images of a file; a format that would lose anything of one is refused."""
    from bbcompress.pipeline.extraction import Extraction, as_file, attributes_of, suffix_of
    from bbcompress.pipeline.loader import Stripped
    from bbcompress.pipeline.sources import SameFile
    from bbcompress.system.output import refuse_existing, write_file, write_standard_output

    with open_file(file, model, device, quiet, max_pixels, max_steps, keep_going) as reader:
        if not reader.is_archive:
            if only:
                raise BBCError(f"{file}: --only is for archives, and this is a lone image")
            target = _decompress_target(file, output, "" if output is not None else suffix_of(reader, 0, form))
            if output is not None and target is not None:
                form = _format_of(target, form)
            if target is not None:
                if SameFile(target)(Path(file)):
                    raise OutputExistsError(f"{target} is the file, and the output")
                refuse_existing(target, force)
            with progress("decompress", quiet, reader.expected_pixels) as advance:
                _, image = next(reader.images(advance))
                with about(file, ImageError):
                    data, suffix, left_out = as_file(image, form, strip)
                stripped = Stripped()
                stripped.add(left_out)
            if target is None:
                write_standard_output(data)
            else:
                if output is None:
                    target = target.with_suffix(suffix)
                write_file(target, data, force, *attributes_of(file))
            if not quiet:
                echo_notes(stripped.notes())
                say(
                    f"{file} -> {target or 'stdout'}  {image.width}x{image.height} {image.mode}",
                    err=target is None,
                )
            return
        folder = _decompress_target(file, output, "")
        if folder is None:
            raise click.UsageError("say with -o which folder to write")
        with about(file, BBCError):
            extraction = Extraction(reader, folder, file, form, only, strip, force)
        with progress("decompress", quiet, reader.expected_pixels) as advance:
            extraction.write(advance, jobs_for(jobs, device), keep_going)
        if not quiet:
            echo_notes([f"note: {note}" for note in extraction.notes()])
            say(f"{file} -> {folder}  {count_of(len(extraction.written))}")
        damaged = tell_of_damage(reader, extraction.lost)
    if damaged:
        click.get_current_context().exit(1)


@main.command()
@path_argument("file", "FILE.bbc")
@model_option
@device_option
@jobs_option
@max_pixels_option
@max_steps_option
@quiet_option
def test(
    file: str, model: str | None, device: str, jobs: int | None, max_pixels: int, max_steps: int, quiet: bool
) -> None:
    """Decode a file and check it, group by group; nothing is written.

    Exit with 1 if anything is damaged, or if there are bytes behind the last image that are not all zero.
    """
    from bbcompress.archive.search import TailKind

    lost: list[GroupResult[Any]] = []
    good: list[GroupResult[Any]] = []
    with open_file(file, model, device, quiet, max_pixels, max_steps, keep_going=True) as reader:
        with progress("test", quiet, reader.expected_pixels) as advance:
            for done in reader.each(_nothing, None, jobs_for(jobs, device), advance):
                about_all = not reader.is_archive or isinstance(done.error, ModelError | LimitError)
                if done.error is not None and about_all:
                    raise done.error
                (good if done.error is None else lost).append(done)
        if reader.is_archive and not quiet:
            for done in good:
                say(f"group {done.number}: {count_of(len(done.positions))}, as they were")
        damaged = tell_of_damage(reader, lost)
        if damaged:
            raise BBCError(f"{file}: damaged: {_what_is_damaged(reader, len(lost))}")
        size, unfinished = reader.tail.size, reader.tail.kind is TailKind.UNFINISHED
        if size and reader.tail.kind is not TailKind.PADDING:
            what = "of an unfinished addition" if unfinished else "behind them that are not bbc's"
            raise BBCError(f"{file}: all images are as they were, but there are {size} bytes {what}")
        if not quiet:
            say(f"{file}: {count_of(reader.image_count)}, all as they were")


def _what_is_damaged(reader: Reader, lost: int) -> str:
    """Of an archive of which something is: groups, what holds them together, or both."""
    archive = reader.archive
    groups = f"{lost} of {1 if archive is None else len(archive.groups)} groups"
    if archive is not None and archive.fault is None and archive.duplicate is not None:
        return f"{groups}, and two images have one name" if lost else "two images have one name"
    if archive is None or archive.fault is None:
        return groups
    others = f"and {groups} that were found" if lost else "but no group that was found"
    return f"a prefix, index or footer, {others}"


def _nothing(_: PixelImage) -> None:
    """An image was decoded; that is all."""


def _format_of(target: Path, form: str | None) -> str | None:
    """The format of an image that is written there. Raises BBCError where the name says one that is not written."""
    named = kind_of(target.suffix)
    if named is None and target.suffix:
        raise BBCError(f"{target}: images are written as {', '.join(written_kinds())}")
    if form is not None and named not in (None, form):
        raise BBCError(f"{target}: its name says {named}, --format {form}")
    return form or named


def _decompress_target(source: str, output: str | None, suffix: str) -> Path | None:
    from bbcompress.archive.signature import SUFFIX

    if output == "-" or (output is None and source == "-"):
        return None
    if output is not None:
        return Path(output)
    path = Path(source)
    if path.suffix.lower() != SUFFIX:
        raise click.UsageError(f"{source} does not end with {SUFFIX}; say with -o what to write")
    return path.with_suffix(suffix)
