"""The files that a report is written to."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bbcompress.bench.plot import FORMATS, figure_class, plot
from bbcompress.bench.report import Report
from bbcompress.errors import BBCError
from bbcompress.system import output


def check_targets(json_file: Path | None, plots: Sequence[Path], force: bool, page: Path | None = None) -> None:
    """Raises BBCError where what shall be written at the end could not be, so that nothing is measured in vain."""
    targets = [*(path for path in (json_file, page) if path is not None), *plots]
    for path in targets:
        if path in plots and path.suffix.lower() not in FORMATS:
            raise BBCError(f"{path}: a plot's name ends with {' or '.join(FORMATS)}")
        output.refuse_target(path, force)
    if len(set(targets)) < len(targets):
        raise BBCError("each file needs a name of its own")
    if plots:
        figure_class()


def write(report: Report, json_file: Path | None, plots: Sequence[Path], force: bool) -> None:
    """Write the report as JSON and as plots, PNG or SVG by their names.

    Raises:
        BBCError: an argument is not allowed, or the work cannot be done.
    """
    write_files(report.as_json(), partial(plot, report), json_file, plots, force)


def write_files(
    values: dict[str, Any], draw: Callable[[str], bytes], json_file: Path | None, plots: Sequence[Path], force: bool
) -> None:
    """Write values as JSON, and what `draw` gives for png and svg to the plots, by their names.

    Raises:
        BBCError: a file cannot be written.
    """
    contents = {path: draw(path.suffix.lower()[1:]) for path in plots}
    if json_file is not None:
        contents[json_file] = (json.dumps(values, indent=1) + "\n").encode()
    for path, data in contents.items():
        output.write_file(path, data, force)
