"""bbc runs: training runs beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bbcompress.cli.group import main
from bbcompress.cli.messages import say, tell
from bbcompress.cli.options import NamedPath, complete_path


@main.command()
@click.argument(
    "directory", metavar="[DIR]", required=False, type=NamedPath(), shell_complete=complete_path,
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(directory: Path | None, as_json: bool) -> None:
    """List the training runs in a directory, runs/ unless another is given, and compare them.

    Of each: its name, architecture and data, the model that it began with, bits per dimension of the held-out images
    by the encoders `baseline` and `rha` (of a run that is not finished the last figure), minutes of training, how many
    fewer bytes its model took than the best other, and whether it is finished or where it stopped. Runs on the same
    data stand together, the best first.
    """
    from bbcompress.training.runs import DEFAULT_FOLDER, find_runs

    default = Path(DEFAULT_FOLDER)  # bbc train makes it
    found = [] if directory is None and not default.exists() else find_runs(directory or default)
    if as_json:
        click.echo(json.dumps([run.as_dict() for run in found], indent=2))
        return
    if not found:
        tell(f"there is no run in {directory or default}")
        return
    header = ("run", "architecture", "data", "from", "held out", "baseline", "rha", "minutes", "gain", "state")
    rows = [header] + [
        (
            run.folder,
            run.architecture,
            run.data,
            run.init or "-",
            "-" if run.images is None else str(run.images),
            _figure(run.test if run.baseline is None else run.baseline),
            _figure(run.rha),
            "-" if run.minutes is None else f"{run.minutes:.1f}",
            "-" if run.gain is None else f"{100 * run.gain:+.1f} %",
            run.state,
        )
        for run in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    for row in rows:
        say("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _figure(bpd: float | None) -> str:
    return "-" if bpd is None else f"{bpd:.4f}"
