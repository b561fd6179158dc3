"""bbc report: the page of a training run, which `bbc train` writes at its end, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bbcompress.cli.group import main
from bbcompress.cli.messages import say, tell
from bbcompress.cli.options import NamedPath, force_option, output_option, path_argument, quiet_option
from bbcompress.cli.progress import set_up_notices
from bbcompress.errors import BBCError

if TYPE_CHECKING:
    from bbcompress.training.datasets import Dataset

NAME = "report.html"
"""Of the page in a run's folder."""
IMAGES, STEPS = 64, "0,1,2,5,10"
LEAST_IMAGES = 4


@main.command()
@path_argument("run", "RUN")
@output_option("The page to write. [default: RUN/report.html]")
@click.option("--images", metavar="N", type=click.IntRange(1), default=IMAGES, show_default=True,
              help="Measure the model on the first N training and N held-out images.")  # fmt: skip
@click.option("-K", "--steps", "k", metavar="LIST", default=STEPS, show_default=True,
              help="Numbers and ranges of refinement steps for the rate against K and time.")  # fmt: skip
@click.option("--data-dir", metavar="DIR", help="Where data sets lie. [default: the run's]")
@click.option("--tensorboard", metavar="DIR", type=NamedPath(),
              help="Write the same scalars and pictures there, for TensorBoard; needs its writer.")  # fmt: skip
@force_option
@quiet_option
def report(
    run: str,
    output: str | None,
    images: int,
    k: str,
    data_dir: str | None,
    tensorboard: Path | None,
    force: bool,
    quiet: bool,
) -> None:
    """Write the page of a training run: curves of both phases, KL by latent, samples from the prior, reconstructions
    and their bits, the rate against K and time, and how the run was made.

    RUN is the folder of a training run; of one that is not finished the page has the curves. The pictures and figures
    of the model are those of its exact integers, so that PyTorch is not needed. bbc train writes this page at its end.
    """
    from bbcompress.bench.schedule import parse_k
    from bbcompress.system.output import HTML, refuse_other_kind, refuse_target
    from bbcompress.system.storage import local_path

    set_up_notices(quiet)
    folder = Path(run)
    target = folder / NAME if output is None else local_path(output)
    steps = parse_k(k)
    if tensorboard is not None:
        from bbcompress.pages.tensorboard import writer_class

        writer_class()
    if output is not None:
        refuse_other_kind(target, HTML, "a report is a page of HTML")
        refuse_target(target, force)
    write_report(folder, target, images, steps, data_dir, tensorboard)
    if not quiet:
        say(f"{run} -> {target}")


def write_report(
    folder: Path,
    target: Path,
    images: int,
    k: tuple[int, ...],
    data_dir: str | None = None,
    tensorboard: Path | None = None,
    dataset: Callable[[], Dataset] | None = None,
) -> None:
    """Write the page of a run, in place of an earlier one. Raises BBCError.

    dataset: gives the run's data, if they are loaded elsewhere.
    """
    from bbcompress.errors import DataError, ModelError
    from bbcompress.pages.report import html
    from bbcompress.pages.run_figures import figures_of, open_run
    from bbcompress.system.output import write_file

    found = open_run(folder)
    try:
        figures, why_not = figures_of(found, images, k, data_dir, dataset), ""
    except (DataError, ModelError) as error:  # the curves need neither
        figures, why_not = None, str(error)
    if tensorboard is not None:
        from bbcompress.pages.tensorboard import write_events

        write_events(found, figures, tensorboard)
    write_file(target, html(found, figures, why_not), True)


def report_at_end(folder: Path, dataset: Callable[[], Dataset], quiet: bool, minutes: float | None = None) -> None:
    """The page of a run that has just finished. Of a run that was to take so many minutes fewer images are measured."""
    from bbcompress.bench.schedule import parse_k

    images = IMAGES if minutes is None else min(max(round(minutes), LEAST_IMAGES), IMAGES)
    with told_where_it_fails("the report could not be written"):
        write_report(folder, folder / NAME, images, parse_k(STEPS), dataset=dataset)
        if not quiet:
            tell(f"{folder / NAME} shows the run")


@contextmanager
def told_where_it_fails(what: str) -> Iterator[None]:
    """What comes after a training tells in one line what went wrong with it, a fault of its own too, and fails nothing:
    the model is there."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, BBCError) else f"{type(error).__name__}: "
        tell(f"note: {what}: {kind}{' '.join(str(error).split())}")
