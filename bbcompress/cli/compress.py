"""bbc compress and bbc add."""

from __future__ import annotations

import os
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from bbcompress.cli.group import main
from bbcompress.cli.inputs import about, echo_notes
from bbcompress.cli.messages import human, say, tell
from bbcompress.cli.options import (
    coding_options,
    compressor_of,
    force_option,
    loader_of,
    not_empty,
    one_output,
    output_folder_option,
    output_option,
    path_argument,
    quiet_option,
    refuse_unsafe_removal,
    remove_option,
    skip_option,
    stdout_option,
)
from bbcompress.cli.progress import progress, set_up_notices
from bbcompress.cli.several import Several
from bbcompress.cli.sharded import compress_sharded
from bbcompress.errors import BBCError
from bbcompress.limits import MOST_SHARD_PIXELS, STANDARD_STREAM
from bbcompress.text import count_of, some_of

if TYPE_CHECKING:
    from bbcompress.pipeline.compressor import Compressor
    from bbcompress.pipeline.options import Summary
    from bbcompress.pipeline.targets import Outputs
    from bbcompress.system.storage import Place


@main.command()
@path_argument("inputs", "INPUT...", nargs=-1, required=True)
@output_option(
    "The file to write, an archive of several images; - is stdout. An existing folder is as of --output-dir."
)
@output_folder_option
@stdout_option
@remove_option
@skip_option
@coding_options
@click.option("--shard-size", "shard_pixels", metavar="PIXELS", type=click.IntRange(1, MOST_SHARD_PIXELS),
              help="Write a sharded archive: the folder OUT of archives that have about so many pixels each, and their "
              "manifest.")  # fmt: skip
@click.option("--cluster", metavar="ADDRESS", callback=not_empty,
              help="Let a cluster of dask.distributed make the shards, by the address of its scheduler, such as "
              "tcp://host:8786; or local, for --jobs processes that end with the command.")  # fmt: skip
@click.option("--resume", "goes_on", is_flag=True,
              help="Go on with a sharded archive that was not finished; shards that are there are not made "
              "again.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True,
              help="Print JSON: of several outputs, a list; of a sharded archive a line for each shard, and a last "
              "one.")  # fmt: skip
@force_option
@quiet_option
def compress(
    inputs: tuple[str, ...],
    output: str | None,
    output_dir: str | None,
    to_stdout: bool,
    remove: bool,
    skip: bool | None,
    shard_pixels: int | None,
    cluster: str | None,
    goes_on: bool,
    as_json: bool,
    force: bool,
    quiet: bool,
    **coding: Any,
) -> None:
    """Compress images, each into a file beside it, and folders, each into an archive.

    Each INPUT is an image, a folder of images, or - for an image on stdin: a.png becomes a.bbc, the folder set becomes
    set.bbc. With -o OUT.bbc all inputs become one file, an archive where they are several images or a folder. The
    images of one folder are named by their paths in it; those of several inputs begin with the folder's own name, and
    with those above it where two folders have the same.

    INPUT and OUT may be URLs, such as s3://bucket/set. Without -o what is made of a URL goes into the current folder.

    A file that is smaller than its coded pixels, as most JPEGs are, is kept as it is, byte for byte; --pixels codes the
    pixels all the same.

    With --shard-size or --cluster the images become a sharded archive, which the other commands read like one file;
    docs/scale.md says when that is worth it. The shards are the same whatever processes make them.

    --rm leaves what cannot be deleted safely, and says why: symbolic links, files that changed meanwhile, and files of
    which more than pixels and metadata would be lost, such as JPEGs with --pixels. Folders are never deleted.
    """
    from bbcompress.pipeline.packing import check_output
    from bbcompress.pipeline.targets import (
        Outputs,
        is_for_files,
        made_folder,
        packed_target,
        plan,
        refuse_foreign_suffix,
    )
    from bbcompress.system.storage import place_of

    output = one_output(output, output_dir, to_stdout)
    if len(inputs) > 1 and STANDARD_STREAM in inputs:
        raise click.UsageError("- cannot be one of several inputs")
    if shard_pixels is not None or cluster is not None or goes_on:
        if output is None or STANDARD_STREAM in (output, *inputs):
            raise click.UsageError("a sharded archive is a folder made of files: say with -o which one to write")
        if remove:
            raise click.UsageError("--rm deletes nothing where a sharded archive is made")
        compress_sharded(inputs, output, shard_pixels, cluster, goes_on, skip, as_json, force, quiet, coding)
        return
    if inputs == (STANDARD_STREAM,) and output is None and output_dir is None:
        output = STANDARD_STREAM
    if as_json and output == STANDARD_STREAM:
        raise click.UsageError("--json is printed to stdout, and cannot stand beside a file there")
    found: list[dict[str, Any]] | None = [] if as_json else None
    if remove:
        refuse_unsafe_removal(output, inputs, no_verify=coding["no_verify"], strip=coding["strip"])
    if output is not None and output != STANDARD_STREAM:
        if is_for_files(place_of(output)):
            output, output_dir = None, output
        elif output.endswith(("/", os.sep)):
            raise BBCError(f"{output} is a folder: name the file to write")
        else:
            check_output(inputs, place_of(output), force)
            refuse_foreign_suffix(output)
    if output is not None:
        work = _Compression(inputs, skip, force, quiet, remove, found, coding)
        work.compress(inputs, None if output == STANDARD_STREAM else place_of(output))
        work.end(alone=True)
        return
    folder = None if output_dir is None else place_of(output_dir)
    if inputs == (STANDARD_STREAM,):
        raise click.UsageError("say with -o which file to write")
    work = _Compression(inputs, skip, force, quiet, remove, found, coding)
    sources = work.several.that_allow(lambda source: packed_target(source, folder))
    jobs, repeated = plan(sources, lambda source: packed_target(source, folder))
    outputs = Outputs(inputs)
    if repeated and not quiet:
        tell(f"note: {count_of(len(repeated), 'input')} given again and taken once: {some_of(repeated)}")
    with made_folder(folder):
        for source, target in jobs:
            with work.several.one(source):
                work.compress([source], target, outputs)
    if len(jobs) > 1 and not quiet and not as_json:
        work.say_total()
    work.end(alone=work.several.alone)


class _Compression:
    """Files that a command writes: what they have in common."""

    def __init__(
        self,
        inputs: Sequence[str],
        skip: bool | None,
        force: bool,
        quiet: bool,
        remove: bool,
        found: list[dict[str, Any]] | None,
        coding: dict[str, Any],
    ) -> None:
        """Raises BBCError where an option cannot be met."""
        self.several = Several(inputs)
        self._skip, self._force, self._remove, self._found = skip, force, remove, found
        self._quiet = quiet or found is not None
        self._coding = coding
        self._compressor: Compressor | None = None
        self._written = self._before = self._after = 0

    def compress(self, inputs: Sequence[str], target: Place | None, outputs: Outputs | None = None) -> None:
        """Write one file, say so, and delete what it was made of where that is asked for. Raises BBCError."""
        with self.several.recorded(self._found, inputs=list(inputs), output=str(target)) as entry:
            self._compress(inputs, target, outputs, entry)

    def end(self, alone: bool) -> None:
        """Print the JSON that is asked for, of a single output not as a list, and end the command."""
        if self._found is not None:
            self.several.print_json(self._found, alone)
        self.several.end()

    def _compress(
        self, inputs: Sequence[str], target: Place | None, outputs: Outputs | None, entry: dict[str, Any]
    ) -> None:
        from bbcompress.pipeline.packing import Packing, check_output
        from bbcompress.system.output import write_standard_output

        start = monotonic()
        check_output(inputs, target, self._force)
        if outputs is not None and target is not None:
            outputs.check(target)
        set_up_notices(self._quiet)
        loader = loader_of(**self._coding)
        if self._compressor is None:
            self._compressor = compressor_of(**self._coding)
        packing = Packing(inputs, target, self._compressor, loader, self._skip, self._force)
        with progress("compress", self._quiet, packing.expected_pixels) as advance:
            summary = packing.write(advance)
        if outputs is not None and target is not None:
            outputs.written(target)
        if packing.data is not None:
            write_standard_output(packing.data)
        self._written += 1
        self._before += packing.size
        self._after += summary.size
        entry |= _facts(summary, packing.size, packing.notes(summary), packing.skipped, start)
        if not self._quiet:
            notes = [*packing.notes(summary), *(f"tried: {line}" for line in summary.tried if self._coding["verbose"])]
            echo_notes(self._named(notes, inputs))
            line = _compressed(inputs, target, packing.size, summary)
            say(f"{line}{_count_skipped(packing.skipped)}", err=target is None)
        if _tell_of_skipped(packing.skipped):
            self.several.fail()
        if self._remove:
            for line in packing.remove_sources():
                tell(f"not deleted: {line}")
                self.several.fail()

    def say_total(self) -> None:
        """A line on all files that were written."""
        if self._written:
            sizes = f"{self._before} -> {self._after} bytes"
            say(f"{self._written} files  {sizes}{human(self._before, self._after)}  {self._before / self._after:.2f}x")

    def _named(self, notes: Sequence[str], inputs: Sequence[str]) -> list[str]:
        """Notes, with the name of what they are about where the command has several."""
        if self.several.alone or len(inputs) > 1:
            return list(notes)
        kinds = (note.partition(": ") for note in notes)
        return [f"{kind}: {inputs[0]}: {text}" for kind, _, text in kinds]


@main.command()
@path_argument("archive", "ARCHIVE.bbc")
@path_argument("inputs", "INPUT...", nargs=-1, required=True)
@skip_option
@coding_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@quiet_option
def add(archive: str, inputs: tuple[str, ...], skip: bool | None, as_json: bool, quiet: bool, **coding: Any) -> None:
    """Add images and folders to an archive, behind what is there.

    Nothing of it is rewritten: if anything goes wrong, the archive is what it was. Names are those that bbc compress
    gives, and may not occur twice.
    """
    several = Several([archive])
    found: list[dict[str, Any]] | None = [] if as_json else None
    with several.recorded(found, inputs=list(inputs), output=archive) as entry:
        if _add(archive, inputs, skip, quiet or as_json, coding, entry):
            several.fail()
    if found is not None:
        several.print_json(found)
    several.end()


def _add(
    archive: str,
    inputs: Sequence[str],
    skip: bool | None,
    quiet: bool,
    coding: dict[str, Any],
    entry: dict[str, Any],
) -> bool:
    """Add to an archive and say so; whether files were skipped. Raises BBCError."""
    from bbcompress.archive.container import ArchiveFile, both_file_and_folder
    from bbcompress.archive.search import refuse_unknown
    from bbcompress.limits import Limits
    from bbcompress.pipeline.packing import find
    from bbcompress.pipeline.targets import to_add_to
    from bbcompress.system.output import Tightened, open_to_add
    from bbcompress.system.storage import is_missing, place_of

    start = monotonic()
    path = to_add_to(place_of(archive))
    if is_missing(path):
        raise BBCError(f"{archive}: no such file; bbc compress makes an archive")
    set_up_notices(quiet)
    compressor, loader = compressor_of(**coding), loader_of(**coding)
    reading = find(inputs, loader, skip, path)
    with open_to_add(path) as file:
        with about(archive):
            reader = ArchiveFile(file, Limits(coding["max_pixels"]))
            refuse_unknown(reader.tail)
        notes = []
        for name, _, label in reading.found:
            if reader.find(name) is not None:
                raise BBCError(f"{label}: there is an image of the name {name!r} in {archive} already")
            if (inside := reader.find_inside(name)) is not None:
                raise both_file_and_folder(name, inside).of(label)
        if size := reader.tail.size:
            what = "of an unfinished addition" if reader.unfinished else "behind the archive, all zero,"
            notes.append(f"note: {size} bytes {what} are cut off")
        with (
            Tightened(file, path) as tightened,
            progress("add", quiet, reading.expected_pixels) as advance,
        ):
            summary = compressor.add(reading.tightening(tightened), reader, file, advance)
        if note := tightened.note():
            notes.append(f"note: {note}")
    notes += reading.notes(summary)
    notes += [f"note: {note}" for note in (*summary.notes, *summary.missing_models)]
    entry |= _facts(summary, loader.size, notes, reading.skipped, start)
    if not quiet:
        echo_notes(notes)
        echo_notes([f"tried: {line}" for line in summary.tried if coding["verbose"]])
        say(f"{_compressed(inputs, path, loader.size, summary)}{_count_skipped(reading.skipped)}")
    return _tell_of_skipped(reading.skipped)


def _facts(summary: Summary, size: int, notes: Sequence[str], skipped: Sequence[str], start: float) -> dict[str, Any]:
    """What `--json` says of a file that was written. size: bytes of the files that came in. start: when it began."""
    return {
        "images": summary.images,
        "bytes_before": size,
        "bytes_after": summary.size,
        "ratio": size / summary.size,
        "bits_per_dimension": summary.bits_per_dimension,
        "coders": dict(sorted(summary.coders.items())),
        "models": summary.embedded,
        "previews": {"images": summary.previews, "bytes": summary.preview_bytes},
        "notes": [note.removeprefix("note: ") for note in notes],
        "skipped": skipped,
        "seconds": round(monotonic() - start, 3),
    }


def _compressed(inputs: Sequence[str], target: Place | None, size: int, summary: Summary) -> str:
    """The one line that compress prints."""
    what = inputs[0] if len(inputs) == 1 else f"{len(inputs)} inputs"
    coders = ", ".join(
        name if summary.images == 1 else f"{count} by {name}" for name, count in sorted(summary.coders.items())
    )
    ratio = f"{size / summary.size:.2f}x"
    rate = f"{summary.bits_per_dimension:.4f} bits/dim"
    sizes = f"{size} -> {summary.size} bytes{human(size, summary.size)}"
    return f"{what} -> {target or 'stdout'}  {sizes}  {ratio}  {rate}  ({coders})"


def _count_skipped(reasons: Sequence[str]) -> str:
    """What the line about all files says of those that could not be read."""
    return f"  {count_of(len(reasons), 'file')} skipped" if reasons else ""


def _tell_of_skipped(reasons: Sequence[str]) -> bool:
    """A line for each file that could not be read; whether there is one: the command ends with status 1 then."""
    for reason in reasons:
        tell(f"skipped: {reason}")
    return bool(reasons)
