"""bbc bench."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from bbcompress.cli.group import main
from bbcompress.cli.messages import say
from bbcompress.cli.options import NamedPath, force_option, model_option, path_argument, quiet_option
from bbcompress.cli.progress import set_up_notices

if TYPE_CHECKING:
    from bbcompress.bench.efforts import Point
    from bbcompress.bench.report import Row


@main.command()
@path_argument("paths", "[PATH]...", nargs=-1)
@click.option("--data", type=click.Choice(["mnist", "mnist-binary", "cifar10"]), help="Test images of a data set.")
@click.option("--data-dir", metavar="DIR", default="data", show_default=True, help="Where data sets lie.")
@click.option("--images", metavar="N", type=click.IntRange(1),
              help="Take only the first N. [default: 1000 of a data set, else all]")  # fmt: skip
@click.option("-e", "--efforts", metavar="LIST",
              help="Efforts, such as 1..9 or 1,3,5, in place of K and encoders: size against processor time, beside "
              "PNG, WebP and, where imagecodecs is installed, JPEG XL.")  # fmt: skip
@click.option("-K", "--steps", "k", metavar="LIST", default="0..10", show_default=True,
              help="Numbers and ranges of refinement steps, such as 0,1,5 or 0..10,20.")  # fmt: skip
@click.option("--encoders", metavar="LIST", default="baseline,rha", show_default=True, help="Of rha and baseline.")
@model_option
@click.option("--lr", "--learning-rate", type=click.FloatRange(1e-6, 1),
              help="Learning rate of the K steps. [default: the model's own]")  # fmt: skip
@click.option("--repeat", metavar="N", type=click.IntRange(1), default=1, show_default=True,
              help="Measure N times; best and median are shown.")  # fmt: skip
@click.option("--json", "json_file", metavar="FILE", type=NamedPath(), help="Write all of it as JSON.")
@click.option("--plot", "plots", metavar="FILE", type=NamedPath(), multiple=True,
              help="Plot it, .png or .svg; may be given several times. Needs matplotlib.")  # fmt: skip
@click.option("--html", "page", metavar="FILE", type=NamedPath(),
              help="Write a page with both plots, whose points say what they are, and the table.")  # fmt: skip
@force_option
@quiet_option
def bench(
    paths: tuple[str, ...],
    data: str | None,
    data_dir: str,
    images: int | None,
    efforts: str | None,
    k: str,
    encoders: str,
    model: str | None,
    lr: float | None,
    repeat: int,
    json_file: Path | None,
    plots: tuple[Path, ...],
    page: Path | None,
    force: bool,
    quiet: bool,
) -> None:
    """Measure size against time for each effort, or each encoder and K, on your own images or a data set.

    Each PATH is an image or a folder of images. All of them are written to one archive, which is read back and
    compared; times are of a process that has loaded models and kernels. Each setting is told on stderr once it is
    measured.
    """
    from bbcompress.bench.efforts import format_efforts, measure_efforts, plot_efforts
    from bbcompress.bench.measure import load_data, measure
    from bbcompress.bench.outputs import check_targets, write, write_files
    from bbcompress.bench.report import format_report
    from bbcompress.bench.schedule import Schedule, parse_efforts, parse_encoders, parse_k

    schedule = Schedule(parse_encoders(encoders), parse_k(k), model, lr, repeat)
    chosen = () if efforts is None else parse_efforts(efforts)
    if chosen:
        _refuse_beside_efforts()
    check_targets(json_file, plots, force, page)
    set_up_notices(quiet)
    outputs = [*(path for path in (json_file, page) if path is not None), *plots]
    loaded = load_data(paths, data, data_dir, images, quiet, outputs)
    if chosen:
        by_effort = measure_efforts(loaded, chosen, model, progress=None if quiet else _echo_point)
        write_files(by_effort.as_json(), partial(plot_efforts, by_effort), json_file, plots, force)
        text = format_efforts(by_effort)
    else:
        report = measure(loaded, schedule, None if quiet else _echo_row)
        write(report, json_file, plots, force)
        text = format_report(report)
    if page is not None:
        from bbcompress.pages.bench import html_of_efforts, html_of_report
        from bbcompress.system.output import write_file

        write_file(page, html_of_efforts(by_effort) if chosen else html_of_report(report), force)
    if not quiet:
        for line in text.splitlines():
            say(line)


def _refuse_beside_efforts() -> None:
    """Raises UsageError where an option is given that means nothing beside efforts."""
    context = click.get_current_context()
    for name, option in (("k", "-K"), ("encoders", "--encoders"), ("lr", "--lr"), ("repeat", "--repeat")):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"{option} cannot be given with --efforts")


def _echo_point(point: Point) -> None:
    from bbcompress.bench.efforts import format_point

    say(format_point(point), err=True)


def _echo_row(row: Row) -> None:
    from bbcompress.bench.report import format_row

    say(format_row(row), err=True)
