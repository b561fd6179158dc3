"""bbc decompress and bbc test."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
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
from bbcompress.errors import BBCError, FormatError, ImageError, LimitError, ModelError, OutputExistsError
from bbcompress.images.formats.registry import default_kind, kind_of, written_kinds

if TYPE_CHECKING:
    from bbcompress.images.image import PixelImage
    from bbcompress.pipeline.names import NameLimits
    from bbcompress.pipeline.reader import GroupResult, Reader
    from bbcompress.system.output import NewFolder, Times
    from bbcompress.system.permissions import Permissions

RENAMED = 10
"""Images that a line names of those that came out under other names than theirs."""


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
    from bbcompress.pipeline.loader import Stripped
    from bbcompress.pipeline.names import NameLimits, select
    from bbcompress.pipeline.sources import SameFile
    from bbcompress.system.output import NewFolder, refuse_existing, write_file, write_standard_output

    stripped = Stripped()
    with open_file(file, model, device, quiet, max_pixels, max_steps, keep_going) as reader:
        if not reader.is_archive:
            if only:
                raise BBCError(f"{file}: --only is for archives, and this is a lone image")
            target = _decompress_target(file, output, "" if output is not None else _suffix(reader, 0, form))
            if output is not None and target is not None:
                form = _format_of(target, form)
            if target is not None:
                if SameFile(target)(Path(file)):
                    raise OutputExistsError(f"{target} is the file, and the output")
                refuse_existing(target, force)
            with progress("decompress", quiet, reader.expected_pixels) as advance:
                _, image = next(reader.images(advance))
                with about(file, ImageError):
                    data, suffix, left_out = _as_file(image, form, strip)
                stripped.add(left_out)
            if target is None:
                write_standard_output(data)
            else:
                if output is None:
                    target = target.with_suffix(suffix)
                write_file(target, data, force, *_attributes(file))
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
        name_of = _FileNames(reader, form, NameLimits.of(folder))
        with about(file, BBCError):
            wanted, times = select(reader.names, only), reader.times
        lost: list[GroupResult[Any]] = []
        count = 0
        is_file = SameFile(Path(file))
        with (
            NewFolder(folder, force, _attributes(file)[0]) as new,
            progress("decompress", quiet, reader.expected_pixels) as advance,
        ):
            name_of.check(new, range(reader.image_count) if wanted is None else wanted)
            as_file = partial(_as_file_or_why_not, form=form, strip=strip)
            positions = None if wanted is None else frozenset(wanted)
            for done in reader.each(as_file, positions, jobs_for(jobs, device), advance):
                if done.error is not None:
                    if not keep_going:
                        if isinstance(done.error, LimitError):
                            raise done.error
                        advice = "--keep-going brings out what is not damaged"
                        raise type(done.error)(done.error.args[0], command=advice)
                    lost.append(done)
                for position, result in zip(done.positions, done.results, strict=False):
                    if isinstance(result, ImageError):
                        raise result.of(f"{file}: {reader.names[position] or f'image {position}'}")
                    data, suffix, left_out = result
                    stripped.add(left_out)
                    name = name_of(position, suffix)
                    if force and is_file(folder / name):
                        raise OutputExistsError(f"{folder / name} is the file, and one of the outputs")
                    written = new.write(name, data, times[position])
                    name_of.written(position, suffix, written)
                    count += 1
            refused = [done.error for done in lost if isinstance(done.error, LimitError)]
            if not count and refused and len(refused) == len(lost):
                raise refused[0]
            if keep_going and not count:
                raise BBCError(f"{file}: nothing can be brought out")
        if not quiet:
            echo_notes([*stripped.notes(), *name_of.notes()])
            say(f"{file} -> {folder}  {count_of(count)}")
        damaged = tell_of_damage(reader, lost)
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


def _attributes(file: str) -> tuple[Permissions | None, Times | None]:
    """Permissions and times of a file, which what is brought out of it gets; none of stdin and pipes."""
    from bbcompress.system.output import times_of
    from bbcompress.system.permissions import permissions_of

    path = Path(file)
    if file == "-" or not path.is_file():
        return None, None
    return permissions_of(path), times_of(path)


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


def _suffix(reader: Reader, position: int, form: str | None) -> str:
    """The suffix of the file that the image at a position becomes; it is not decoded. Raises FormatError."""
    if form is None:
        (_, mode), _ = reader.image_info(position)
        form = default_kind(mode)
    return f".{form}"


class _FileNames:
    """The names of the files that the images of an archive become; those of two formats differ by their suffixes."""

    def __init__(self, reader: Reader, form: str | None, limits: NameLimits) -> None:
        """form: of all files, None for the default of each image."""
        self._reader, self._form, self._limits = reader, form, limits
        self._names: dict[str, list[str]] = {}
        self._renamed: list[str] = []

    def __call__(self, position: int, suffix: str) -> str:
        """Of the image at a position, whose file gets this suffix."""
        from bbcompress.pipeline.names import image_names

        if suffix not in self._names:
            self._names[suffix] = image_names(self._reader.names, suffix, self._limits)
        return self._names[suffix][position]

    def written(self, position: int, suffix: str, name: str) -> None:
        """Take down under which name an image came out, where that is not its own with this suffix."""
        from bbcompress.pipeline.names import simple_name

        its_own = self._reader.names[position]
        if its_own is not None and name != simple_name(its_own, suffix):
            self._renamed.append(f"{its_own} is {name}")

    def notes(self) -> list[str]:
        """What the user should know: no line, or one."""
        if not self._renamed:
            return []
        some = f"{', '.join(self._renamed[:RENAMED])}{', ...' * (len(self._renamed) > RENAMED)}"
        return [f"note: {count_of(len(self._renamed))} could not have the own name with the new suffix: {some}"]

    def check(self, new: NewFolder, positions: Iterable[int]) -> None:
        """Raises OutputExistsError if one of the files exists and may not be overwritten."""
        usual = f".{self._form or 'png'}"
        for position in positions:
            try:
                new.check([self(position, usual)])
            except OutputExistsError:  # unless the image becomes another file; that takes reading its group
                suffix = usual
                with suppress(FormatError):
                    suffix = _suffix(self._reader, position, self._form)
                if suffix == usual:
                    raise
                new.check([self(position, suffix)])


def _as_file(image: PixelImage, form: str | None, strip: bool) -> tuple[bytes, str, tuple[str, ...]]:
    """An image as the bytes of a file, its suffix, and the names of the metadata that is left out."""
    from bbcompress.images.metadata import names_of
    from bbcompress.images.write import write_image

    if strip:
        return (*write_image(image.without_metadata(), form), names_of(image.metadata))
    return (*write_image(image, form), ())


def _as_file_or_why_not(
    image: PixelImage, form: str | None, strip: bool
) -> tuple[bytes, str, tuple[str, ...]] | ImageError:
    """The same, or the error: which image it is of is not known here."""
    try:
        return _as_file(image, form, strip)
    except ImageError as error:
        return error


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
