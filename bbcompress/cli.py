"""The command line: options in, one line out; no logic of its own.

numpy, numba, Pillow and torch are imported inside the commands: `bbc --help` needs none of them.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bbcompress import __version__
from bbcompress.errors import BBCError, ModelError
from bbcompress.signals import Terminated, termination_raises

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from bbcompress.api import Compressor, Done, Item, Reader, Summary
    from bbcompress.bench import Row
    from bbcompress.codecs.fallback import Progress
    from bbcompress.images import PixelImage
    from bbcompress.intake import Intake


BAR_AFTER = 0.5
"""Seconds of work after which a progress bar appears."""

WRITTEN_FORMATS = ("png", "tiff", "webp", "bmp", "gif", "ppm", "pgm", "pbm")
"""As in `writers`, which takes numpy and Pillow."""

INTERRUPTED, TERMINATED = 130, 143
"""Exit statuses, as shells give them to what a signal ends: 128 and its number."""


class _Group(click.Group):
    """Reports errors of bbc as one line on stderr and exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with termination_raises():
                return super().invoke(ctx)
        except BBCError as error:
            click.echo(f"bbc: error: {error}", err=True)
            ctx.exit(error.exit_code)
        except OSError as error:
            if error.errno == errno.EPIPE:  # click ends quietly then
                raise
            place = f"{error.filename}: " if error.filename else ""
            click.echo(f"bbc: error: {place}{error.strerror or error}", err=True)
            ctx.exit(1)
        except MemoryError:
            click.echo("bbc: error: there is not enough memory", err=True)
            ctx.exit(1)
        except (KeyboardInterrupt, Terminated) as signal:
            click.echo("bbc: interrupted", err=True)
            ctx.exit(TERMINATED if isinstance(signal, Terminated) else INTERRUPTED)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="bbc")
def main() -> None:
    """Compress images without loss by variational auto-encoders and bits-back coding."""


def _complete_path(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell completes names of files itself."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def _complete_model(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of installed models, else folders."""
    from click.shell_completion import CompletionItem

    from bbcompress.models.zoo import Zoo

    try:
        names = sorted({entry.name for entry in Zoo(None).entries if entry.name.startswith(incomplete)})
    except BBCError:  # of a damaged card; no place to say so
        names = []
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="dir")]


def _path_argument(name: str, metavar: str, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An argument of files, which are looked at in the command: errors are to be ours."""
    return click.argument(name, metavar=metavar, shell_complete=_complete_path, **settings)


def _model_option(command: Callable[..., Any]) -> Callable[..., Any]:
    text = "A model's folder, a folder of models, or the name of an installed model."
    return click.option("-m", "--model", metavar="MODEL", shell_complete=_complete_model, help=text)(command)


def _device_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--device", default="cpu", show_default=True, help="cpu, or cuda with PyTorch.")(command)


_force_option = click.option("-f", "--force", is_flag=True, help="Overwrite what exists.")
_quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")


_jobs_option = click.option("-j", "--jobs", metavar="N", type=click.IntRange(1),
                            help="Processes that share an archive's groups. [default: processors, to 8]")  # fmt: skip
_max_pixels_option = click.option("--max-pixels", metavar="N", type=click.IntRange(1), default=1 << 28,
                                  show_default=True, help="Refuse images of more pixels.")  # fmt: skip
_only_option = click.option("--only", metavar="PATTERN", multiple=True,
                            help="Only images whose name or path fits, such as 'a*.png'; may be repeated.")  # fmt: skip

_CODING_OPTIONS = (
    _model_option,
    click.option("-K", "--steps", type=click.IntRange(0, 1000), default=0, show_default=True,
                 help="Refinement steps of the posterior: smaller and slower."),
    click.option("--encoder", type=click.Choice(["rha", "baseline"]), default="rha", show_default=True,
                 help="Which of a model's encoders."),
    click.option("--lr", "learning_rate", type=click.FloatRange(1e-6, 1),
                 help="Learning rate of the K steps. [default: the model's own]"),
    click.option("--binary", is_flag=True, help="Refuse images of more than two levels; nothing is ever thresholded."),
    click.option("--frames", is_flag=True, help="Take each picture of an animation, and each page, as an image."),
    click.option("--strip", is_flag=True, help="Leave out metadata (EXIF, ICC profile, text, ...)."),
    click.option("--no-verify", is_flag=True, help="Do not decode what was coded before it counts."),
    _device_option,
    _jobs_option,
    _max_pixels_option,
)  # fmt: skip


def _coding_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of what compresses."""
    for option in reversed(_CODING_OPTIONS):
        command = option(command)
    return command


def _coder(
    frames: bool, strip: bool, no_verify: bool, jobs: int | None, **options: Any
) -> tuple[Compressor, Intake]:
    """What compresses and what reads, by these options."""
    from bbcompress.api import Compressor, Options
    from bbcompress.intake import Intake

    jobs = _jobs(jobs, options["device"])
    return Compressor(Options(verify=not no_verify, jobs=jobs, **options)), Intake(strip, frames, options["max_pixels"])


def _jobs(asked: int | None, device: str) -> int:
    """Processes to share the work; one for an accelerator, unless more are asked for."""
    from bbcompress.jobs import default_jobs

    return asked or (default_jobs() if device == "cpu" else 1)


@main.command()
@_path_argument("inputs", "INPUT...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    shell_complete=_complete_path,
    help="The file to write; - is stdout. [default: image.bbc beside one image]",
)
@_coding_options
@_force_option
@_quiet_option
def compress(inputs: tuple[str, ...], output: str | None, force: bool, quiet: bool, **coding: Any) -> None:
    """Compress an image, or folders and several images into one archive.

    Each INPUT is an image, a folder of images, or - for an image on stdin.
    """
    from bbcompress import files

    lone = len(inputs) == 1 and not Path(inputs[0]).is_dir()
    if not lone and output is None:
        raise click.UsageError("several images and folders need -o OUT.bbc")
    if not lone and "-" in inputs:
        raise click.UsageError("- cannot be one of several inputs")
    target = _compress_target(inputs[0], output)
    if target is not None:
        files.refuse_existing(target, force)
    _set_up_notices(quiet)
    compressor, intake = _coder(**coding)
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
    with _progress("compress", quiet, reading.expected_pixels) as advance:
        if lone:
            data, summary = compressor.lone(next(images).image, advance)
        elif target is None:
            buffer = io.BytesIO()
            summary = compressor.archive(images, buffer, advance)
            data = buffer.getvalue()
        else:
            with files.new_file(target, force) as file:
                summary = compressor.archive(images, file, advance)
    if target is None:
        files.write_standard_output(data)
    elif lone:
        files.write_file(target, data, force)
    if not quiet:
        for note in reading.notes(summary.size):
            click.echo(f"bbc: {note}", err=True)
        click.echo(_compressed(inputs, target, intake.size, summary), err=target is None)


@main.command()
@_path_argument("file", "FILE.bbc")
@click.option("-o", "--output", metavar="OUT", shell_complete=_complete_path,
              help="The image, or for an archive the folder, to write; - is stdout.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(WRITTEN_FORMATS),
              help="Of the images written. [default: by OUT, else png, or tiff for what png cannot hold]")  # fmt: skip
@click.option("--strip", is_flag=True, help="Leave out metadata (EXIF, ICC profile, text, ...).")
@_only_option
@click.option("--keep-going", is_flag=True, help="Bring out what is not damaged, name what is lost, and exit with 1.")
@_model_option
@_device_option
@_jobs_option
@_max_pixels_option
@_force_option
@_quiet_option
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
    force: bool,
    quiet: bool,
) -> None:
    """Bring back the images of a file; a format that would lose anything of one is refused."""
    from bbcompress import files
    from bbcompress.intake import Stripped

    stripped = Stripped()
    with _open(file, model, device, quiet, max_pixels, keep_going) as reader:
        if not reader.is_archive:
            if only:
                raise BBCError("--only is for archives, and this is a lone image")
            target = _decompress_target(file, output, f".{form or 'png'}")
            if output is not None and target is not None:
                form = _format_of(target, form)
            if target is not None:
                files.refuse_existing(target, force)
            with _progress("decompress", quiet, reader.expected_pixels) as advance:
                _, image = next(reader.images(advance))
                data, suffix, left_out = _as_file(image, form, strip)
                stripped.add(left_out)
            if target is None:
                files.write_standard_output(data)
            else:
                if output is None:
                    target = target.with_suffix(suffix)
                files.write_file(target, data, force)
            if not quiet:
                _echo_notes(stripped.notes())
                click.echo(
                    f"{file} -> {target or 'stdout'}  {image.width}x{image.height} {image.mode}",
                    err=target is None,
                )
            return
        folder = _decompress_target(file, output, "")
        if folder is None:
            raise click.UsageError("say with -o which folder to write")
        names = files.image_names(reader.names, f".{form or 'png'}")
        wanted, times = files.select(reader.names, only), reader.times
        lost: list[Done[Any]] = []
        count = 0
        with (
            files.NewFolder(folder, force) as new,
            _progress("decompress", quiet, reader.expected_pixels) as advance,
        ):
            new.check(names if wanted is None else [names[position] for position in wanted])
            as_file = partial(_as_file, form=form, strip=strip)
            positions = None if wanted is None else frozenset(wanted)
            for done in reader.each(as_file, positions, _jobs(jobs, device), advance):
                if done.error is not None:
                    if not keep_going:
                        raise type(done.error)(f"{done.error}; --keep-going brings out what is not damaged")
                    lost.append(done)
                for position, (data, suffix, left_out) in zip(done.positions, done.results, strict=False):
                    stripped.add(left_out)
                    name = names[position] if form else names[position][: -len(".png")] + suffix
                    new.write(name, data, times[position])
                    count += 1
            if keep_going and not count:
                raise BBCError("nothing can be brought out")
        if not quiet:
            _echo_notes(stripped.notes())
            click.echo(f"{file} -> {folder}  {_images(count)}")
        damaged = _tell_of_damage(reader, lost, err=True)
    if damaged:
        click.get_current_context().exit(1)


def _as_file(image: PixelImage, form: str | None, strip: bool) -> tuple[bytes, str, tuple[str, ...]]:
    """An image as the bytes of a file, its suffix, and the names of the metadata that is left out."""
    from bbcompress.metadata import names_of
    from bbcompress.writers import write_image

    if strip:
        return (*write_image(image.without_metadata(), form), names_of(image.metadata))
    return (*write_image(image, form), ())


def _echo_notes(notes: list[str]) -> None:
    for note in notes:
        click.echo(f"bbc: {note}", err=True)


def _tell_of_damage(reader: Reader, lost: list[Done[Any]], err: bool) -> bool:
    """A line for each thing that is damaged, and for each image that is lost; whether there is any."""
    from bbcompress.files import list_names, shown

    archive = reader.archive
    if archive is not None and archive.fault is not None:
        click.echo(f"bbc: {archive.fault}; names are lost, {archive.unread} bytes cannot be made out", err=err)
    names = list_names(reader.names) if lost else []
    for done in lost:
        click.echo(f"bbc: group {done.number} is lost ({done.error})", err=err)
        for position in done.positions:
            name = names[position]
            click.echo(f"bbc: lost: {f'image {position}' if name is None else shown(name)}", err=err)
    return bool(lost) or (archive is not None and archive.fault is not None)


@main.command()
@_path_argument("archive", "ARCHIVE.bbc")
@_path_argument("inputs", "INPUT...", nargs=-1, required=True)
@_coding_options
@_quiet_option
def add(archive: str, inputs: tuple[str, ...], quiet: bool, **coding: Any) -> None:
    """Add images and folders to an archive, behind what is there.

    Nothing of it is rewritten: if anything goes wrong, the archive is what it was. Names may not occur twice.
    """
    from bbcompress import files
    from bbcompress.archive.container import ArchiveReader

    if not Path(archive).exists():
        raise BBCError(f"{archive}: no such file; bbc compress makes an archive")
    _set_up_notices(quiet)
    compressor, intake = _coder(**coding)
    reading = _find(inputs, intake)
    with files.open_to_add(Path(archive)) as file:
        with _about(archive):
            reader = ArchiveReader(file, coding["max_pixels"])
        for name, _, label in reading.found:
            if reader.find(name) is not None:
                raise BBCError(f"{label}: there is an image of the name {name!r} in {archive} already")
        if reader.unfinished and not quiet:
            click.echo(f"bbc: note: {reader.unfinished} bytes of an unfinished addition are cut off", err=True)
        with _progress("add", quiet, reading.expected_pixels) as advance:
            summary = compressor.add(reading, reader, file, advance)
    if not quiet:
        for note in reading.notes(summary.size):
            click.echo(f"bbc: {note}", err=True)
        click.echo(_compressed(inputs, Path(archive), intake.size, summary))


@main.command("list")
@_path_argument("file", "FILE.bbc")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_only_option
@_model_option
@_max_pixels_option
def list_images(file: str, as_json: bool, only: tuple[str, ...], model: str | None, max_pixels: int) -> None:
    """List the images of a file: size in pixels, mode, what coded it, time (UTC), name; none is decoded."""
    from bbcompress import files

    with _open(file, model, "cpu", True, max_pixels) as reader:
        files.list_names(reader.names)
        wanted = files.select(reader.names, only)
        chosen = None if wanted is None else frozenset(wanted)
        rows = []
        for position, entry in enumerate(reader.entries()):
            if chosen is not None and position not in chosen:
                continue
            size = "?" if entry.size is None else f"{entry.size[0]}x{entry.size[1]}"
            time = None if entry.time is None else _utc(entry.time)
            if as_json:
                width, height = entry.size or (None, None)
                rows.append({"name": entry.name, "width": width, "height": height, "mode": entry.mode,
                             "coder": entry.coder, "time": time})  # fmt: skip
                continue
            name = f"(image {position})" if entry.name is None else files.shown(entry.name)
            coder = entry.coder or "(damaged)"
            click.echo(f"{size:>11}  {entry.mode or '?':7}  {coder:18}  {time or '-':20}  {name}")
        if as_json:
            click.echo(json.dumps(rows, indent=2))


def _utc(seconds: int) -> str:
    """A time in seconds since 1970, as ISO 8601 has it."""
    return (datetime(1970, 1, 1) + timedelta(seconds=seconds)).isoformat() + "Z"


@main.command()
@_path_argument("file", "FILE.bbc")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_model_option
def info(file: str, as_json: bool, model: str | None) -> None:
    """Say what is in a file and what each part cost in bytes; no image is decoded."""
    from bbcompress.files import list_names

    with _open(file, model, "cpu", quiet=True) as reader:
        facts = reader.facts()
        if as_json:
            click.echo(json.dumps({"file": file, **facts, "names": list_names(reader.names)}, indent=2))
            return
    kind = "archive" if facts["archive"] else "lone image"
    click.echo(f"{file}: {kind}, {_images(facts['images'])}, {facts['bytes']} bytes")
    for name, value in facts["parts"].items():
        click.echo(f"  {name.replace('_', ' '):14} {value:>10}")
    for group in facts["groups"]:
        line = f"  {_images(group['images'])} by {group['model']}: {group['bytes']} bytes"
        if "width" in group:
            line += f", {group['width']}x{group['height']} pixels, encoder {group['encoder']}, K = {group['K']}"
        elif "encoder" in group:
            line += f", {group['direct']} coded directly"
            if group["batches"]:
                line += f", the rest with encoder {group['encoder']}, K = {group['K']}"
        click.echo(line)


@main.command()
@_path_argument("file", "FILE.bbc")
@_model_option
@_device_option
@_jobs_option
@_max_pixels_option
@_quiet_option
def test(file: str, model: str | None, device: str, jobs: int | None, max_pixels: int, quiet: bool) -> None:
    """Decode a file and check it, group by group; nothing is written. Exit with 1 if anything is damaged."""
    lost: list[Done[Any]] = []
    good: list[Done[Any]] = []
    with _open(file, model, device, quiet, max_pixels, keep_going=True) as reader:
        with _progress("test", quiet, reader.expected_pixels) as advance:
            for done in reader.each(_nothing, None, _jobs(jobs, device), advance):
                if done.error is not None and (not reader.is_archive or isinstance(done.error, ModelError)):
                    raise done.error
                (good if done.error is None else lost).append(done)
        if reader.is_archive and not quiet:
            for done in good:
                click.echo(f"group {done.number}: {_images(len(done.positions))}, as they were")
        damaged = _tell_of_damage(reader, lost, err=True)
        unfinished = 0 if reader.archive is None else reader.archive.unfinished
        if damaged:
            raise BBCError(f"damaged: {len(lost)} of {len(reader.archive.groups) if reader.archive else 1} groups")
        if unfinished:
            raise BBCError(f"all images are as they were, but there are {unfinished} bytes of an unfinished addition")
        if not quiet:
            click.echo(f"{file}: {_images(reader.image_count)}, all as they were")


def _nothing(_: PixelImage) -> None:
    """An image was decoded; that is all."""


@main.command()
@_model_option
def models(model: str | None) -> None:
    """List the models that are installed: name, id, data, rate, size."""
    from bbcompress.models.zoo import Zoo

    for entry in Zoo(model).entries:
        try:
            card = entry.card
            size = sum(path.stat().st_size for path in entry.folder.iterdir())
            rates = card.get("net_rate")
            rate = rates.get("rha") if isinstance(rates, dict) else None
            text = f"{entry.name:18} {entry.id.hex()[:8]}  {card.get('data', '?')!s:16}"
            text += f"  {f'{rate:.4f}' if isinstance(rate, float) else '?'} bits/dim  {size / 1e6:.1f} MB"
            text += "" if entry.is_default else "  (only with -m)"
        except (BBCError, OSError) as error:
            click.echo(f"{entry.folder}: {error}", err=True)
            continue
        click.echo(text)  # outside: a reader that has had enough is no fault of the model


@main.command()
@_path_argument("paths", "[PATH]...", nargs=-1)
@click.option("--data", type=click.Choice(["mnist", "mnist-binary", "cifar10"]), help="Test images of a data set.")
@click.option("--data-dir", metavar="DIR", default="data", show_default=True, help="Where data sets lie.")
@click.option("--images", metavar="N", type=click.IntRange(1),
              help="Take only the first N. [default: 1000 of a data set, else all]")  # fmt: skip
@click.option("-K", "--steps", metavar="LIST", default="0..10", show_default=True,
              help="Numbers and ranges of refinement steps, such as 0,1,5 or 0..10,20.")  # fmt: skip
@click.option("--encoders", metavar="LIST", default="baseline,rha", show_default=True, help="Of rha and baseline.")
@_model_option
@click.option("--lr", "--learning-rate", type=click.FloatRange(1e-6, 1),
              help="Learning rate of the K steps. [default: the model's own]")  # fmt: skip
@click.option("--repeat", metavar="N", type=click.IntRange(1), default=1, show_default=True,
              help="Measure N times; best and median are shown.")  # fmt: skip
@click.option("--json", "json_file", metavar="FILE", type=click.Path(path_type=Path), help="Write all of it as JSON.")
@click.option("--plot", "plots", metavar="FILE", type=click.Path(path_type=Path), multiple=True,
              help="Plot it, .png or .svg; may be given several times. Needs matplotlib.")  # fmt: skip
@_force_option
@_quiet_option
def bench(
    paths: tuple[str, ...],
    data: str | None,
    data_dir: str,
    images: int | None,
    steps: str,
    encoders: str,
    model: str | None,
    lr: float | None,
    repeat: int,
    json_file: Path | None,
    plots: tuple[Path, ...],
    force: bool,
    quiet: bool,
) -> None:
    """Measure size against time for each encoder and K, on your own images or a data set.

    Each PATH is an image or a folder of images. All of them are written to one archive, which is read back and
    compared; times are of a process that has loaded models and kernels.
    """
    from bbcompress import bench

    schedule = bench.Schedule(bench.parse_encoders(encoders), bench.parse_steps(steps), model, lr, repeat)
    bench.check_targets(json_file, plots, force)
    _set_up_notices(quiet)
    loaded = bench.load_data(paths, data, data_dir, images, quiet)
    watched = not quiet and sys.stderr is not None and sys.stderr.isatty()
    report = bench.measure(loaded, schedule, _echo_row if watched else None)
    bench.write(report, json_file, plots, force)
    if not quiet:
        click.echo(bench.format_report(report))


def _echo_row(row: Row) -> None:
    from bbcompress.bench import format_row

    click.echo(format_row(row), err=True)


@contextmanager
def _about(file: str) -> Iterator[None]:
    """Errors begin with the name of the file."""
    try:
        yield
    except BBCError as error:
        raise type(error)(f"{file}: {error}") from None
    except MemoryError:
        raise BBCError(f"{file}: there is not enough memory for it") from None


@contextmanager
def _open(
    file: str, model: str | None, device: str, quiet: bool, max_pixels: int = 1 << 28, keep_going: bool = False
) -> Iterator[Reader]:
    from bbcompress import files
    from bbcompress.api import Reader

    try:
        stream = files.open_input(file)
    except OSError as error:
        raise BBCError(f"{file}: cannot be read: {error.strerror or error}") from None
    _set_up_notices(quiet)
    with stream, _about(file):
        yield Reader(stream, model, device, max_pixels, keep_going)


def _compress_target(source: str, output: str | None) -> Path | None:
    """Where to write; None is stdout."""
    from bbcompress.files import SUFFIX

    if output == "-" or (output is None and source == "-"):
        return None
    return Path(output) if output is not None else Path(source).with_suffix(SUFFIX)


def _format_of(target: Path, form: str | None) -> str | None:
    """The format of an image that is written there. Raises BBCError where the name says one that is not written."""
    from bbcompress.writers import format_of

    named = format_of(target.suffix)
    if named is None and target.suffix:
        raise BBCError(f"{target}: images are written as {', '.join(WRITTEN_FORMATS)}")
    if form is not None and named not in (None, form):
        raise BBCError(f"{target}: its name says {named}, --format {form}")
    return form or named


def _decompress_target(source: str, output: str | None, suffix: str) -> Path | None:
    from bbcompress.files import SUFFIX

    if output == "-" or (output is None and source == "-"):
        return None
    if output is not None:
        return Path(output)
    path = Path(source)
    if path.suffix.lower() != SUFFIX:
        raise click.UsageError(f"{source} does not end with {SUFFIX}; say with -o what to write")
    return path.with_suffix(suffix)


def _compressed(inputs: tuple[str, ...], target: Path | None, size: int, summary: Summary) -> str:
    """The one line that compress prints."""
    what = inputs[0] if len(inputs) == 1 else f"{len(inputs)} inputs"
    coders = ", ".join(
        name if summary.images == 1 else f"{count} by {name}" for name, count in sorted(summary.coders.items())
    )
    ratio = f"{size / summary.size:.2f}x"
    rate = f"{summary.bits_per_dimension:.4f} bits/dim"
    return f"{what} -> {target or 'stdout'}  {size} -> {summary.size} bytes  {ratio}  {rate}  ({coders})"


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"


def _set_up_notices(quiet: bool) -> None:
    """Notices of the library, such as that kernels are being compiled, as lines of ours."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("bbc: %(message)s"))
    logger = logging.getLogger("bbcompress")
    logger.handlers = [handler]
    logger.setLevel(logging.ERROR if quiet else logging.WARNING)


def _find(inputs: tuple[str, ...], intake: Intake) -> _Reading:
    """The images of files and folders."""
    from bbcompress import files

    left_out = files.LeftOut()
    found = files.find_images(inputs, left_out)
    notes = [*left_out.lines(), *files.odd_names([name for name, _ in found])]
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
        from bbcompress.api import Item
        from bbcompress.files import modified

        for name, source, label in self.found:
            for its_name, image in self._intake.read_named(name, source, label):
                yield Item(its_name, image, modified(source) if isinstance(source, Path) else None)

    def notes(self, size: int) -> list[str]:
        """What the user should know, a line each. size: of what was written, in bytes."""
        return [*(f"note: {note}" for note in self._notes), *self._intake.notes(size)]

    def expected_pixels(self) -> int | None:
        """None as long as none was read."""
        read = self._intake
        return round(read.pixels * (self._size or read.size) / read.size) if read.size else None


@contextmanager
def _progress(title: str, quiet: bool, total: Callable[[], int | None]) -> Iterator[Progress | None]:
    """On a terminal, a progress bar as soon as the work turns out to be long; yields what tells it of pixels done.

    total: gives how many there are, as far as is known; it is asked again and again.
    """
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    bar = _Bar(title, total)
    try:
        yield bar.advance
    finally:
        bar.close()


class _Bar:
    """Share done, pixels a second, time left. A timer makes it appear: the work may take long to tell of a pixel."""

    def __init__(self, title: str, total: Callable[[], int | None]) -> None:
        self._title, self._total = title, total
        self._done = 0
        self._begin = time.monotonic()
        self._show: Callable[[], None] | None = None
        self._hide: Callable[[], None] | None = None
        self._timer = threading.Timer(BAR_AFTER, self._appear)
        self._timer.daemon = True
        self._timer.start()

    def advance(self, pixels: int) -> None:
        """So many more are done."""
        self._done += pixels
        if self._show is not None:
            self._show()

    def close(self) -> None:
        """The bar is gone, or never comes."""
        self._timer.cancel()
        self._timer.join()
        if self._hide is not None:
            self._hide()

    def _appear(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = ("{task.description}", BarColumn(), "{task.percentage:>3.0f} %", "{task.fields[rate]}", "left:")
        bar = Progress(
            *(TextColumn(column) if isinstance(column, str) else column for column in columns),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        task = bar.add_task(self._title, total=None, rate="")

        def show() -> None:
            total = self._total()
            rate = self._done / (time.monotonic() - self._begin)
            text = f"{rate / 1e6:.2f} Mpixel/s" if rate >= 1e5 else f"{rate / 1e3:.2f} kpixel/s"
            bar.update(task, completed=self._done, total=max(total, self._done) if total else None, rate=text)

        bar.start()
        self._hide = bar.stop
        self._show = show
        show()


@main.command()
@click.option("--architecture", type=click.Choice(["mlp", "resnet", "local"]), help="Of the model. [default: mlp]")
@click.option("--data", metavar="mnist|cifar10|DIR", help="Data set, or directory of images. [default: binary MNIST]")
@click.option("--any-size", is_flag=True, help="The directory's images may differ in size (local models).")
@click.option("--grey", is_flag=True, help="Make the directory's colour images grey.")
@click.option("--binary", is_flag=True, help="Train on binary pixels: grey > 127.")
@click.option("--data-dir", metavar="DIR", help="Where data sets lie or are downloaded to. [default: data]")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Directory of the run. [default: runs/NAME]")
@click.option("--name", help="Name of the model. [default: from the data set]")
@click.option(
    "--objective",
    metavar="NAME",
    type=click.Choice(["elbo", "sleep", "reverse-sleep", "reverse-half-asleep", "denoising", "wake-sleep"]),
    help="Of phase 2, the decoder frozen: elbo, sleep, reverse-sleep, reverse-half-asleep or denoising. Or wake-sleep, "
    "in place of the ELBO in phase 1, with reverse-half-asleep in phase 2. [default: reverse-half-asleep]",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1),
    help="Share of model samples in reverse-half-asleep, of noisy images in denoising. [default: 0.5]",
)
@click.option(
    "--sigma", type=click.FloatRange(0), help="Of the noise in denoising; pixels have [0, 1]. [default: 0.1]"
)
@click.option(
    "--samples",
    type=click.Choice(["prior", "aggregate"]),
    help="Where the z of model samples come from: the prior, or the posteriors of training images. "
    "[default: prior; resnet: aggregate]",
)
@click.option("--epochs", type=click.IntRange(1), help="Epochs of phase 1. [default: 100; resnet: 500]")
@click.option("--encoder-epochs", type=click.IntRange(0), help="Epochs of phase 2, 0: none. [default: 100]")
@click.option(
    "--lr", type=click.FloatRange(0, min_open=True), help="Of phase 1. [default: 3e-4; resnet: 5e-4; local: 2e-3]"
)
@click.option(
    "--encoder-lr",
    type=click.FloatRange(0, min_open=True),
    help="Of phase 2. [default: 3e-4; resnet: 1e-5; local: 5e-4]",
)
@click.option("--batch", type=click.IntRange(1), help="Images a step. [default: 100]")
@click.option(
    "--latents",
    type=click.IntRange(1),
    help="Latent variables, of a resnet their channels. [default: 16; grey mlp: 32; resnet: 4]",
)
@click.option(
    "--hidden",
    type=click.IntRange(1),
    help="Width of hidden layers. [default: 500; resnet: 256; local: its preset's]",
)
@click.option("--blocks", type=click.IntRange(1), help="Residual blocks in each network of a resnet. [default: 2]")
@click.option(
    "--average",
    type=click.FloatRange(0, 1, max_open=True),
    help="Decay a step of the averaged weights, 0: none. [default: 0.999]",
)
@click.option("--decay", is_flag=True, help="Let the learning rates fall to nothing, as always in local models.")
@click.option("--compile", is_flag=True, help="Use torch.compile, for resnet and local; needs a C++ compiler.")
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), help="Of matrix products. [default: float32]")
@click.option("--seed", type=int, help="Seed of all randomness. [default: 0]")
@click.option("--device", help="cpu or cuda. [default: cpu]")
@click.option("--threads", type=click.IntRange(1), help="CPU threads. [default: torch's choice]")
@click.option(
    "--keep-every",
    type=click.IntRange(0),
    help="Keep a copy of the checkpoint after so many epochs of the VAE, 0: none. [default: 0; resnet: 100]",
)
@click.option(
    "--part-size",
    metavar="MIB",
    type=click.IntRange(1),
    help="Write checkpoints in parts of at most so many MiB. [default: in one file]",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run, with the options it was begun with.")
@click.option(
    "--from",
    "from_checkpoint",
    metavar="CHECKPOINT",
    type=click.Path(exists=True, path_type=Path),
    help="Phase 2 alone, for the decoder of another run (its directory or checkpoint).",
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def train(out: Path | None, resume: bool, from_checkpoint: Path | None, quiet: bool, **options: Any) -> None:
    """Train a VAE, and a second encoder for its decoder.

    Phase 1 trains decoder and encoder by the ELBO; phase 2 goes on with a copy of the encoder by another objective, the
    decoder frozen.
    """
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    try:
        from bbcompress.training import run
        from bbcompress.training.distributed import leave
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise BBCError("training needs PyTorch: pip install torch") from error

    try:
        config, out = run.configure(given, out, resume, from_checkpoint)
        run.train(config, out, resume, from_checkpoint, quiet)
    except KeyboardInterrupt:
        raise BBCError("interrupted; go on with --resume") from None
    leave()


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script by which a shell completes commands, options, models and files.

    \b
    In ~/.bashrc:                    eval "$(bbc completion bash)"
    In ~/.zshrc, behind compinit:    eval "$(bbc completion zsh)"
    For fish, once:                  bbc completion fish > ~/.config/fish/completions/bbc.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    if made is None:
        raise BBCError(f"there is no completion for {shell} in this version of click")
    click.echo(made(main, {}, "bbc", "_BBC_COMPLETE").source())


@main.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--data", metavar="mnist|cifar10|DIR", help="Data set, or directory of images. [default: the run's]")
@click.option("--data-dir", metavar="DIR", help="Where data sets lie or are downloaded to. [default: the run's]")
@click.option("--images", type=click.IntRange(1), help="Only the first N training and N test images. [default: all]")
@click.option("--samples", type=click.IntRange(1), help="Draws of z an image. [default: 4; of training images 1]")
@click.option("--optimal", metavar="EPOCHS", type=click.IntRange(0), default=0,
              help="Train an encoder on the test images themselves: gives the amortised inference gap.")  # fmt: skip
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Of --optimal. [default: 5e-4; resnet: 1e-5]")
@click.option("--batch", type=click.IntRange(1), help="Images a step of --optimal. [default: the run's]")
@click.option("--importance", metavar="N", type=click.IntRange(0), default=0,
              help="IWAE bound of N draws on the test images, tighter than the ELBO.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all randomness.")
@_device_option
@click.option("--threads", type=click.IntRange(1), help="CPU threads. [default: torch's choice]")
@click.option("--json", "json_file", metavar="FILE", type=click.Path(path_type=Path), help="Write all figures as JSON.")
@_force_option
@_quiet_option
def evaluate(run: Path, json_file: Path | None, force: bool, quiet: bool, **options: Any) -> None:
    """Say what a trained VAE reaches on its training and test images, and where the difference comes from.

    RUN is the directory of a training run, or a checkpoint in it. The rates are those of the networks as trained,
    not of files.
    """
    from rich.console import Console

    from bbcompress import files

    try:
        from bbcompress.training.evaluation import EvaluationOptions, evaluate_run, table
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise BBCError("evaluation needs PyTorch: pip install torch") from error

    if json_file is not None:
        files.refuse_existing(json_file, force)
    figures = evaluate_run(run, EvaluationOptions(**options), quiet)
    if json_file is not None:
        files.write_file(json_file, (json.dumps(figures, indent=2) + "\n").encode(), force)
    if not quiet:
        Console().print(table(figures))
