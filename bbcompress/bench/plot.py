"""Plots of a report, as files for papers: labels beside lines and points, none over another, and what was measured."""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bbcompress.bench.report import Report, heading
from bbcompress.errors import NEEDS_MATPLOTLIB, BBCError

FORMATS = (".png", ".svg")
SVG_SALT = "bbc"
"""Of the ids inside an SVG, which would be random without it."""
DPI = 150
DISTANCES = (5, 11, 18, 27, 40)
"""Of a label from its point, in points of type: the first at which there is room."""
SIDES = ((1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))
"""Where a label may be, seen from its point."""


@dataclass(frozen=True)
class Label:
    """Words that belong to a point of a plot."""

    words: str
    place: tuple[float, float]
    colour: str
    bold: bool = False


Draw = Callable[[Any, str], Sequence[Label]]
"""Draws on the axes of a direction, and says which labels the plot is to have: those of lines first."""


def plot(report: Report, kind: str) -> bytes:
    """BPD over the time to compress and over that to decompress an image, a line an encoder, as a file. Of several
    repeats the median is drawn, and a bar from the best to the worst.

    Args:
        kind: png or svg; an SVG of the same report has the same bytes.

    Raises:
        BBCError: matplotlib is missing.
    """

    def draw(axes: Any, direction: str) -> list[Label]:
        names, labels = [], []
        for number, encoder in enumerate(report.schedule.encoders):
            rows = [row for row in report.rows if row.encoder == encoder]
            times = [[1000 * seconds for seconds in getattr(row, direction)] for row in rows]
            places = [(statistics.median(time), row.bpd) for time, row in zip(times, rows, strict=True)]
            colour = f"C{number}"
            axes.plot(*zip(*places, strict=True), marker="o", markersize=4, color=colour)
            if report.schedule.repeats > 1:
                axes.hlines([y for _, y in places], list(map(min, times)), list(map(max, times)), color=colour)
            names.append(Label(encoder, max(places), colour, bold=True))
            labels += [Label(f"K={row.k}", place, colour) for row, place in zip(rows, places, strict=True)]
        axes.set_xlabel(f"milliseconds an image to {direction}")
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        return names + labels

    first = report.rows[0]
    whole = first.bpd, f"{first.encoder}, K={first.k}"
    told = caption(report.machine, report.schedule.model, repeats_in_words(report))
    return two_panels(heading(report), told, "whole-file bits per dimension", whole, (11, 4.8), kind, draw)


def repeats_in_words(report: Report) -> str:
    """What is drawn of the times."""
    repeats = report.schedule.repeats
    return f"median of {repeats} repeats, bars from best to worst" if repeats > 1 else "measured once"


def caption(machine: dict[str, Any], model: str | None, how: str) -> str:
    """By which model, on which machine and when something was measured, and how."""
    parts = [f"model {model}" if model else "models as installed", f"{machine.get('cores', '?')} cores"]
    parts += [str(machine["date"])] if "date" in machine else []
    return "; ".join([*parts, how])


def two_panels(
    title: str,
    told: str,
    label: str,
    whole: tuple[float, str],
    size: tuple[float, float],
    kind: str,
    draw: Draw,
) -> bytes:
    """A file of two plots beside each other, whose vertical axis has the label: of compress and of decompress.

    Args:
        told: what stands below them.
        whole: what is 100 per cent on the axis on the right, and its name.
        size: width and height in inches.

    Raises:
        BBCError: matplotlib is missing.
    """
    make_figure = figure_class()
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with rc_context({"svg.hashsalt": SVG_SALT, "svg.fonttype": "none"}):
        figure = make_figure(figsize=size, layout="constrained", dpi=DPI)
        figure.suptitle(title, parse_math=False)
        figure.supxlabel(told, fontsize=8, color="0.35", parse_math=False)
        panels = figure.subplots(1, 2, sharey=True)
        wanted = [draw(axes, direction) for axes, direction in zip(panels, ("compress", "decompress"), strict=True)]
        panels[0].set_ylabel(label)
        value, name = whole
        for axes in panels:
            axes.axhline(value, color="0.6", linewidth=0.8, linestyle=":")
            axes.margins(x=0.12)
        percent = panels[1].secondary_yaxis(
            "right", functions=(lambda rate: 100 * rate / value, lambda share: share * value / 100)
        )
        percent.set_ylabel(f"per cent of {name}", parse_math=False)
        figure.draw_without_rendering()
        renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
        for axes, labels in zip(panels, wanted, strict=True):
            _place(axes, labels, renderer)
        out = io.BytesIO()
        figure.savefig(out, format=kind, dpi=DPI, metadata={"Date": None} if kind == "svg" else None)
    return out.getvalue()


def _place(axes: Any, labels: Sequence[Label], renderer: Any) -> None:
    """Write labels beside their points, inside the frame and none over another or over a point; one for which there is
    no room is left out."""
    frame = axes.get_window_extent(renderer)
    spots = [axes.transData.transform(label.place) for label in labels]
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in spots]
    for label in labels:
        words = axes.annotate(
            label.words, label.place, xytext=(0, 0), textcoords="offset points", fontsize=8, color=label.colour,
            fontweight="bold" if label.bold else "normal", parse_math=False,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )  # fmt: skip
        words.set_in_layout(False)
        for box in (_moved(words, side, distance, renderer) for distance in DISTANCES for side in SIDES):
            left, bottom, right, top = box
            inside = left > frame.x0 and right < frame.x1 and bottom > frame.y0 and top < frame.y1
            if inside and not any(left < r and l < right and bottom < t and b < top for l, b, r, t in taken):  # noqa: E741
                taken.append(box)
                break
        else:
            words.remove()


def _moved(words: Any, side: tuple[int, int], distance: float, renderer: Any) -> tuple[float, float, float, float]:
    """Where a label is that was moved to a side of its point: left, bottom, right and top in pixels."""
    across, up = side
    words.set_horizontalalignment({1: "left", 0: "center", -1: "right"}[across])
    words.set_verticalalignment({1: "bottom", 0: "center", -1: "top"}[up])
    words.set_position((across * distance, up * distance))
    box = words.get_window_extent(renderer)
    return box.x0, box.y0, box.x1, box.y1


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
