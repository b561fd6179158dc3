"""bbc bench."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bbcompress.cli.group import main
from bbcompress.cli.messages import say
from bbcompress.cli.options import force_option, model_option, path_argument, quiet_option
from bbcompress.cli.progress import set_up_notices

if TYPE_CHECKING:
    from bbcompress.bench.report import Row


@main.command()
@path_argument("paths", "[PATH]...", nargs=-1)
@click.option("--data", type=click.Choice(["mnist", "mnist-binary", "cifar10"]), help="Test images of a data set.")
@click.option("--data-dir", metavar="DIR", default="data", show_default=True, help="Where data sets lie.")
@click.option("--images", metavar="N", type=click.IntRange(1),
              help="Take only the first N. [default: 1000 of a data set, else all]")  # fmt: skip
@click.option("-K", "--steps", "k", metavar="LIST", default="0..10", show_default=True,
              help="Numbers and ranges of refinement steps, such as 0,1,5 or 0..10,20.")  # fmt: skip
@click.option("--encoders", metavar="LIST", default="baseline,rha", show_default=True, help="Of rha and baseline.")
@model_option
@click.option("--lr", "--learning-rate", type=click.FloatRange(1e-6, 1),
              help="Learning rate of the K steps. [default: the model's own]")  # fmt: skip
@click.option("--repeat", metavar="N", type=click.IntRange(1), default=1, show_default=True,
              help="Measure N times; best and median are shown.")  # fmt: skip
@click.option("--json", "json_file", metavar="FILE", type=click.Path(path_type=Path), help="Write all of it as JSON.")
@click.option("--plot", "plots", metavar="FILE", type=click.Path(path_type=Path), multiple=True,
              help="Plot it, .png or .svg; may be given several times. Needs matplotlib.")  # fmt: skip
@force_option
@quiet_option
def bench(
    paths: tuple[str, ...],
    data: str | None,
    data_dir: str,
    images: int | None,
    k: str,
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
    from bbcompress.bench.measure import load_data, measure
    from bbcompress.bench.outputs import check_targets, write
    from bbcompress.bench.report import format_report
    from bbcompress.bench.schedule import Schedule, parse_encoders, parse_k

    schedule = Schedule(parse_encoders(encoders), parse_k(k), model, lr, repeat)
    check_targets(json_file, plots, force)
    set_up_notices(quiet)
    outputs = [*([] if json_file is None else [json_file]), *plots]
    loaded = load_data(paths, data, data_dir, images, quiet, outputs)
    watched = not quiet and sys.stderr is not None and sys.stderr.isatty()
    report = measure(loaded, schedule, _echo_row if watched else None)
    write(report, json_file, plots, force)
    if not quiet:
        for line in format_report(report).splitlines():
            say(line)


def _echo_row(row: Row) -> None:
    from bbcompress.bench.report import format_row

    say(format_row(row), err=True)
