"""Plots of a report, as files."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from bbcompress.bench.report import Report, heading
from bbcompress.errors import NEEDS_MATPLOTLIB, BBCError

FORMATS = (".png", ".svg")
SVG_SALT = "bbc"
"""Of the ids inside an SVG, which would be random without it."""


def plot(report: Report, kind: str) -> bytes:
    """BPD over the time to compress and over that to decompress an image, a line an encoder, as a file.

    Args:
        kind: png or svg; an SVG of the same report has the same bytes.

    Raises:
        BBCError: matplotlib is missing.
    """

    def draw(axes: Any, direction: str) -> None:
        for encoder in report.schedule.encoders:
            rows = [row for row in report.rows if row.encoder == encoder]
            x = [1000 * min(getattr(row, direction)) for row in rows]
            y = [row.bpd for row in rows]
            axes.plot(x, y, marker="o", markersize=4, label=encoder)
            for row, place in zip(rows, zip(x, y, strict=True), strict=True):
                axes.annotate(f"K={row.k}", place, xytext=(4, 4), textcoords="offset points", fontsize=7)
        axes.set_xlabel(f"milliseconds an image to {direction}")
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)

    return two_panels(heading(report), "whole-file bits per dimension", (11, 4.5), kind, draw)


def two_panels(title: str, label: str, size: tuple[float, float], kind: str, draw: Callable[[Any, str], None]) -> bytes:
    """A file of two plots beside each other, whose vertical axis has the label: of compress and of decompress.

    Args:
        size: width and height in inches.
        draw: is called with the axes of each and which of the two it is.

    Raises:
        BBCError: matplotlib is missing.
    """
    make_figure = figure_class()
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": SVG_SALT, "svg.fonttype": "none"}):
        figure = make_figure(figsize=size, layout="constrained")
        figure.suptitle(title, parse_math=False)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, direction in zip(panels, ("compress", "decompress"), strict=True):
            draw(axes, direction)
        panels[0].set_ylabel(label)
        panels[0].legend()
        out = io.BytesIO()
        figure.savefig(out, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return out.getvalue()


def figure_class() -> Any:
    """matplotlib's Figure.

    Raises:
        BBCError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "matplotlib":
            raise
        raise BBCError(f"a plot {NEEDS_MATPLOTLIB}") from None
    return Figure
