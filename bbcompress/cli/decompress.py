"""bbc decompress and bbc test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from bbcompress.cli.group import main
from bbcompress.cli.inputs import about, echo_notes, open_file, tell_of_damage
from bbcompress.cli.messages import say, tell
from bbcompress.cli.options import (
    crop_option,
    device_option,
    force_option,
    jobs_for,
    jobs_option,
    max_pixels_option,
    max_steps_option,
    model_option,
    one_output,
    only_option,
    output_folder_option,
    output_option,
    path_argument,
    quiet_option,
    refuse_unsafe_removal,
    remove_option,
    stdout_option,
)
from bbcompress.cli.progress import progress
from bbcompress.cli.several import Several
from bbcompress.errors import BBCError, ImageError, LimitError, ModelError
from bbcompress.images.formats.registry import kind_of, why_not_written, written_kinds
from bbcompress.limits import STANDARD_STREAM
from bbcompress.system.storage import Place, Url, place_of
from bbcompress.text import count_of, some_of

if TYPE_CHECKING:
    from bbcompress.codecs.fallback.kept import KeptFile
    from bbcompress.images.image import PixelImage
    from bbcompress.images.region import Decoded, Region
    from bbcompress.pipeline.extraction import ImageFile
    from bbcompress.pipeline.reader import GroupResult, Reader
    from bbcompress.pipeline.targets import Outputs

    _Choice = click.Choice[str]
else:
    _Choice = click.Choice  # before click 8.2 it is not generic


class _Format(_Choice):
    """The name of a format that is written, or one of its suffixes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        kind = kind_of(value)
        if kind is None:
            self.fail(f"{value!r} is none of {', '.join(self.choices)}{why_not_written(value)}", param, ctx)
        return kind


@main.command()
@path_argument("files", "FILE.bbc...", nargs=-1, required=True)
@output_option("The image, or for an archive the folder, to write; - is stdout. An image goes into an existing folder.")
@output_folder_option
@stdout_option
@remove_option
@click.option("--format", "form", type=_Format(tuple(written_kinds())),
              help="Of the images written. [default: by OUT or the image's name, else png, or tiff for what png cannot "
              "hold; a kept file as it is]")  # fmt: skip
@click.option("--strip", is_flag=True, help="Leave out metadata (EXIF, ICC profile, text, ...).")
@only_option
@crop_option
@click.option("--keep-going", is_flag=True, help="Bring out what is not damaged, name what is lost, and exit with 1.")
@model_option
@device_option
@jobs_option
@max_pixels_option
@max_steps_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON: of several files, a list.")
@force_option
@click.option("-v", "--verbose", is_flag=True, help="Say how much was decoded for --crop.")
@quiet_option
def decompress(
    files: tuple[str, ...],
    output: str | None,
    output_dir: str | None,
    to_stdout: bool,
    remove: bool,
    only: tuple[str, ...],
    region: Region | None,
    keep_going: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Bring back the images of files; a format that would lose anything of one is refused.

    a.bbc becomes a.png, a.webp or the like as the image was, the very file where that was kept, or the folder a where
    it is an archive; with --crop X,Y,W,H it becomes a-X-Y-WxH.png, or the folder a-X-Y-WxH. --rm deletes only a file
    all of whose images are written, and read back as they were; a file that was kept has to be written as it is.

    FILE.bbc may be a URL, such as s3://bucket/set.bbc. Without -o its images go into the current folder.
    """
    from bbcompress.pipeline.targets import Outputs, made_folder, plan

    output = one_output(output, output_dir, to_stdout)
    if len(files) > 1 and output is not None:
        raise click.UsageError("of several files the images go beside them, or into --output-dir DIR")
    if len(files) > 1 and STANDARD_STREAM in files:
        raise click.UsageError("- cannot be one of several files")
    if files == (STANDARD_STREAM,) and output is None and output_dir is None:
        output = STANDARD_STREAM
    if as_json and output == STANDARD_STREAM:
        raise click.UsageError("--json is printed to stdout, and cannot stand beside an image there")
    if remove:
        unsafe = {"only": bool(only), "crop": bool(region), "strip": options["strip"], "keep_going": keep_going}
        refuse_unsafe_removal(output, files, **unsafe)
    folder = None if output_dir is None else place_of(output_dir)
    found: list[dict[str, Any]] | None = [] if as_json else None
    work = _Decompression(files, remove, only, region, keep_going, found, **options)
    if output is not None:
        work.decompress(files[0], output, None)
        work.end()
        return
    jobs, repeated = plan(work.several.that_allow(_check_suffix), lambda file: _beside(file, folder, region))
    outputs = Outputs(files)
    if repeated and not options["quiet"]:
        tell(f"note: {count_of(len(repeated), 'file')} given again and taken once: {some_of(repeated)}")
    with made_folder(folder):
        for file, place in jobs:
            with work.several.one(file):
                work.decompress(file, None, place, outputs)
    work.end()


class _Decompression:
    """Files whose images a command brings back: what they have in common."""

    def __init__(
        self,
        files: Sequence[str],
        remove: bool,
        only: tuple[str, ...],
        region: Region | None,
        keep_going: bool,
        found: list[dict[str, Any]] | None,
        form: str | None,
        strip: bool,
        model: str | None,
        device: str,
        jobs: int | None,
        max_pixels: int,
        max_steps: int,
        force: bool,
        verbose: bool,
        quiet: bool,
    ) -> None:
        self.several = Several(files)
        self._region, self._verbose = region, verbose
        self._remove, self._only, self._keep_going, self._form, self._strip = remove, only, keep_going, form, strip
        self._jobs, self._device, self._force, self._quiet = jobs, device, force, quiet or found is not None
        self._found = found
        self._open = partial(
            open_file,
            model=model,
            device=device,
            quiet=self._quiet,
            max_pixels=max_pixels,
            max_steps=max_steps,
            keep_going=keep_going,
        )

    def decompress(self, file: str, output: str | None, place: Place | None, outputs: Outputs | None = None) -> None:
        """Write the images of a file, say so, and delete it where that is asked for.

        output: as of -o. place: without it, of the image but for its suffix, or of an archive's folder. Raises
        BBCError.
        """
        with self.several.recorded(self._found, file=file) as entry:
            self._decompress(file, output, place, outputs, entry)

    def _end_if_alone(self) -> None:
        """End the command where this was its only file, unless that has to print something."""
        if self._found is None:
            self.several.end_if_alone()

    def end(self) -> None:
        """Print the JSON that is asked for, and end the command."""
        if self._found is not None:
            self.several.print_json(self._found)
        self.several.end()

    def _decompress(
        self, file: str, output: str | None, place: Place | None, outputs: Outputs | None, entry: dict[str, Any]
    ) -> None:
        from bbcompress.pipeline.removal import Removal

        start = monotonic()
        removal = Removal()
        if self._remove:
            with suppress(OSError):  # which comes up again where it is opened
                removal.take(Path(file))
        with self._open(file) as reader:
            if self._remove and reader.file.size is not None:
                raise BBCError(f"{file}: --rm deletes a file, and a sharded archive is several")
            if reader.is_archive:
                damaged, others = self._archive(reader, file, output, place, outputs, entry)
            else:
                damaged, others = False, self._lone(reader, file, output, place, outputs, entry)
            tail = reader.tail.size
            if self._found is not None:
                size, written = reader.file_size, entry["bytes_after"]
                entry |= {"bytes_before": size, "ratio": written / size, "coders": reader.coders()}
        entry["seconds"] = round(monotonic() - start, 3)
        if damaged:
            self.several.fail()
            self._end_if_alone()
        elif self._remove:
            path = Path(file)
            kept = {path: f"has {tail} bytes behind its images"} if tail else {}
            if others:
                kept[path] = f"keeps the files of {count_of(others)} as they are, which were not written so"
            for line in removal.remove([path], kept):
                tell(f"not deleted: {line}")
                self.several.fail()
                self._end_if_alone()

    def _lone(
        self,
        reader: Reader,
        file: str,
        output: str | None,
        place: Place | None,
        outputs: Outputs | None,
        entry: dict[str, Any],
    ) -> int:
        """How many kept files were not written as they are."""
        from bbcompress.images.region import Decoded
        from bbcompress.pipeline.extraction import LeftOutNotes, as_file_or_why_not, attributes_of, suffix_of
        from bbcompress.pipeline.targets import is_for_files
        from bbcompress.system import storage
        from bbcompress.system.output import write_file, write_standard_output

        if self._only:
            raise BBCError(f"{file}: --only is for archives, and this is a lone image")
        form = self._form
        if output is not None and output != STANDARD_STREAM and is_for_files(place_of(output)):
            stem = place_of("image" if file == STANDARD_STREAM else file).stem
            place, output = place_of(output) / _stem_of(stem, self._region), None
        if output is not None:
            target = None if output == STANDARD_STREAM else place_of(output)
            if target is not None:
                form = _format_of(target, form, None if self._strip or self._region else reader.kept_file(0))
        else:
            assert place is not None
            no_file = self._strip or self._region is not None
            target = _with_suffix(place, suffix_of(reader, 0, form, reader.file.suffix, no_file))
        if target is not None:
            storage.refuse_source(target, place_of(file), "file")
            storage.refuse_target(target, self._force)
            if outputs is not None:
                outputs.check(target)
        decoded = Decoded()
        expected = reader.expected_pixels if self._region is None else lambda: decoded.decoded_pixels
        with progress("decompress", self._quiet, expected) as advance:
            write = partial(as_file_or_why_not, form=form, strip=self._strip, check=self._remove)
            own = partial(_always, reader.file.suffix if output is None else None)
            groups: Iterator[GroupResult[ImageFile | ImageError]]
            if self._region is None:
                groups = reader.each_content(write, own, None, 1, advance)
            else:
                groups = reader.each_region(self._region, write, own, None, advance, decoded)
            (done,) = groups
            if done.error is not None:
                raise done.error
            (written,) = done.results
            if isinstance(written, ImageError):
                raise written.of(file)
            notes = LeftOutNotes()
            notes.add(written)
        if target is None:
            write_standard_output(written.data)
        else:
            if output is None and place is not None:
                target = _with_suffix(place, written.suffix)
            if isinstance(target, Url):
                with storage.new_file(target, self._force) as out:
                    out.write(written.data)
            else:
                write_file(target, written.data, self._force, *attributes_of(file))
            if outputs is not None:
                outputs.written(target)
        entry |= {"output": str(target), "images": 1, "bytes_after": len(written.data)}
        self._tell_of_decoded(file, decoded, entry)
        if not self._quiet:
            echo_notes(notes.notes())
            width, height = written.size
            say(f"{file} -> {target or 'stdout'}  {width}x{height} {written.mode}", err=target is None)
        return notes.others

    def _tell_of_decoded(self, file: str, decoded: Decoded, entry: dict[str, Any]) -> None:
        """Say how much was decoded for a region."""
        if self._region is not None:
            entry["decoded"] = asdict(decoded)
            if self._verbose and not self._quiet:
                tell(f"{file}: {decoded}")

    def _archive(
        self,
        reader: Reader,
        file: str,
        output: str | None,
        place: Place | None,
        outputs: Outputs | None,
        entry: dict[str, Any],
    ) -> tuple[bool, int]:
        """Whether anything was damaged, and how many kept files were not written as they are."""
        from bbcompress.pipeline.extraction import Extraction
        from bbcompress.pipeline.targets import for_images, refuse_name_of_a_file

        if output == STANDARD_STREAM:
            raise click.UsageError("an archive becomes a folder: say with -o which folder to write")
        asked = place if output is None else place_of(output)
        assert asked is not None
        if output is not None:
            refuse_name_of_a_file(asked)
        folder = for_images(asked)
        if outputs is not None:
            outputs.check(folder)
        with about(file, BBCError):
            extraction = Extraction(
                reader, folder, file, self._form, self._only, self._strip, self._force, self._remove, self._region
            )
        expected = reader.expected_pixels if self._region is None else lambda: extraction.decoded.decoded_pixels
        with progress("decompress", self._quiet, expected) as advance:
            extraction.write(advance, jobs_for(self._jobs, self._device), self._keep_going)
        if outputs is not None:
            outputs.written(folder)
        entry |= {"output": str(folder), "images": len(extraction.written), "bytes_after": extraction.size}
        self._tell_of_decoded(file, extraction.decoded, entry)
        if not self._quiet:
            echo_notes([f"note: {note}" for note in extraction.notes()])
            say(f"{file} -> {folder}  {count_of(len(extraction.written))}")
        damaged = tell_of_damage(reader, extraction.lost)
        if damaged:
            entry["error"] = f"{file}: {_what_is_missing(reader, extraction.lost)}"
        return damaged, extraction.others


@main.command()
@path_argument("files", "FILE.bbc...", nargs=-1, required=True)
@model_option
@device_option
@jobs_option
@max_pixels_option
@max_steps_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON: of several files, a list.")
@quiet_option
def test(
    files: tuple[str, ...],
    as_json: bool,
    model: str | None,
    device: str,
    jobs: int | None,
    max_pixels: int,
    max_steps: int,
    quiet: bool,
) -> None:
    """Decode files and check them, group by group; nothing is written.

    Exit with 1 if anything is damaged, or if there are bytes behind the last image that are not all zero.
    """
    several = Several(files)
    found: list[dict[str, Any]] | None = [] if as_json else None
    for file in files:
        with (
            several.one(file),
            several.recorded(found, file=file, images=None) as entry,
            open_file(file, model, device, quiet, max_pixels, max_steps, keep_going=True) as reader,
        ):
            entry["images"] = reader.image_count
            _test(reader, file, jobs_for(jobs, device), quiet or as_json)
    if found is not None:
        several.print_json(found)
    several.end()


def _test(reader: Reader, file: str, jobs: int, quiet: bool) -> None:
    """Decode all of a file. Raises BBCError if anything is damaged."""
    from bbcompress.archive.search import TailKind

    lost: list[GroupResult[Any]] = []
    good: list[GroupResult[Any]] = []
    with progress("test", quiet, reader.expected_pixels) as advance:
        for done in reader.each(_nothing, None, jobs, advance):
            about_all = not reader.is_archive or isinstance(done.error, ModelError | LimitError)
            if done.error is not None and about_all:
                raise done.error
            (good if done.error is None else lost).append(done)
    if reader.is_archive and not quiet:
        for done in good:
            count = len(done.positions)
            say(f"group {done.number}: {count_of(count)}, as {'it was' if count == 1 else 'they were'}")
    damaged = tell_of_damage(reader, lost)
    if damaged:
        raise BBCError(f"{file}: damaged: {_what_is_damaged(reader, len(lost))}")
    if faults := [*reader.file.faults(), *reader.carried_faults(), *reader.preview_faults()]:
        raise BBCError(f"{file}: all images are as they were, but {faults[0]}")
    size, unfinished = reader.tail.size, reader.tail.kind is TailKind.UNFINISHED
    if size and reader.tail.kind is not TailKind.PADDING:
        what = "of an unfinished addition" if unfinished else "behind them that are not bbc's"
        raise BBCError(f"{file}: all images are as they were, but there are {size} bytes {what}")
    if not quiet:
        count = reader.image_count
        say(f"{file}: {count_of(count)}, {'as it was' if count == 1 else 'all as they were'}")


def _what_is_damaged(reader: Reader, lost: int) -> str:
    """Of an archive of which something is: groups, what holds them together, or both."""
    file = reader.file
    groups = f"{lost} of {len(file.groups)} groups"
    if file.fault is None and file.duplicate is not None:
        return f"{groups}, and two images have one name" if lost else "two images have one name"
    if file.fault is None:
        return groups
    others = f"and {groups} that were found" if lost else "but no group that was found"
    return f"{file.framing}, {others}"


def _what_is_missing(reader: Reader, lost: Sequence[GroupResult[Any]]) -> str:
    """Of an archive of which not all was brought out, be it since it is damaged or since a limit or a model forbids."""
    if lost and reader.file.fault is None and reader.file.duplicate is None:
        return f"{sum(len(done.positions) for done in lost)} of {count_of(reader.image_count)} not brought out"
    return f"damaged: {_what_is_damaged(reader, len(lost))}"


def _nothing(_: PixelImage) -> None:
    """An image was decoded; that is all."""


def _format_of(target: Place, form: str | None, kept: KeptFile | None) -> str | None:
    """The format of an image that is written there. Raises BBCError where the name says one that is not written.

    kept: the file that is kept in place of the image, whose name the target may have.
    """
    named = kind_of(target.suffix)
    if form is None and kept is not None:
        its_own = target.suffix.lower() in kept.form.suffixes if named is None else kept.is_of(named)
        if its_own:
            return None
    if named is None and target.suffix:
        raise BBCError(f"{target}: images are written as {', '.join(written_kinds())}{why_not_written(target.suffix)}")
    if form is not None and named not in (None, form):
        raise BBCError(f"{target}: its name says {named}, but --format says {form}")
    return form or named


def _check_suffix(file: str) -> None:
    """Raises UsageError where a name does not say what the image is to be called."""
    from bbcompress.archive.signature import SUFFIX

    if place_of(file).suffix.lower() != SUFFIX:
        raise click.UsageError(f"{file} does not end with {SUFFIX}; say with -o what to write")


def _beside(file: str, folder: Place | None, region: Region | None) -> Place:
    """Where the image of a file goes, but for its suffix, or the images of an archive: beside it, of a URL into the
    current folder, or into the given one."""
    from bbcompress.pipeline.targets import place_beside

    path = place_of(file)
    return (place_beside(path) if folder is None else folder) / _stem_of(path.stem, region)


def _stem_of(stem: str, region: Region | None) -> str:
    """The name, without suffix, of what is made of a file of that stem."""
    return stem if region is None else f"{stem}-{region.stem}"


def _always(suffix: str | None, _: int) -> str | None:
    return suffix


def _with_suffix(place: Place, suffix: str) -> Place:
    from bbcompress.pipeline.names import NameLimits, lone_name

    if isinstance(place, Url):
        return Url(f"{place.address}{suffix}")
    return place.with_name(lone_name(place.name, suffix, NameLimits.of(place.parent)))
