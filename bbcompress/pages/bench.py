"""The page of a benchmark: rate against time, with the points told, and the table."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from bbcompress.bench.efforts import BBC, EffortReport, Point, how_measured, reference
from bbcompress.bench.efforts import heading as heading_of_efforts
from bbcompress.bench.plot import caption, repeats_in_words
from bbcompress.bench.report import Report, Row, format_findings
from bbcompress.bench.report import heading as heading_of_report
from bbcompress.pages.charts import SCRIPTS, Chart, Series, drawn
from bbcompress.pages.page import page, section, table, text

DIRECTIONS = ("compress", "decompress")


def html_of_report(report: Report) -> bytes:
    """The page of rates by encoder and K."""
    lead = text(
        f"{heading_of_report(report)}; {caption(report.machine, report.schedule.model, repeats_in_words(report))}"
    )
    return page("Rate against time, by encoder and K", _report(report), SCRIPTS, lead)


def html_of_efforts(report: EffortReport) -> bytes:
    """The page of rates by effort, beside other formats."""
    lead = text(f"{heading_of_efforts(report)}; {how_measured(report)}")
    return page("Rate against time, by effort", _efforts(report), SCRIPTS, lead)


def _report(report: Report) -> Iterator[str]:
    for direction in DIRECTIONS:
        yield section(f"To {direction}", drawn(chart_of_report(report, direction)))
    heads = ["Encoder", "K", "Bytes", "Bits/dim", "Net", "Compress, ms", "Decompress, ms", "Coded by"]
    rows = [
        (row.encoder, row.k, f"{row.size:,}", f"{row.bpd:.4f}", "" if row.net_bpd is None else f"{row.net_bpd:.4f}",
         _times(row.compress), _times(row.decompress), _coders(row.coders))
        for row in report.rows
    ]  # fmt: skip
    what = "Milliseconds an image; the median, and the range, where it was measured several times."
    notes = "".join(f'<p class="note">{text(line)}</p>' for line in format_findings(report))
    yield section("All figures", table(what, heads, rows, numbers=range(1, 7)), notes)


def chart_of_report(report: Report, direction: str, unit: str = "milliseconds") -> Chart:
    """Bits per dimension over the time an image takes in a direction, a line an encoder. unit: of which time."""
    series = []
    for number, encoder in enumerate(report.schedule.encoders):
        rows = [row for row in report.rows if row.encoder == encoder]
        times = [[1000 * seconds for seconds in getattr(row, direction)] for row in rows]
        series.append(
            Series(
                encoder,
                [(statistics.median(time), row.bpd) for time, row in zip(times, rows, strict=True)],
                f"c{number}",
                [f"K={row.k}" for row in rows],
                [_told(row, statistics.median(time), direction) for time, row in zip(times, rows, strict=True)],
                [(min(time), max(time)) for time in times] if report.schedule.repeats > 1 else (),
                marked=True,
            )
        )
    first = report.rows[0]
    return Chart(
        f"Bits per dimension against {unit} an image to {direction}, by encoder and K",
        f"{unit} an image to {direction}",
        "whole-file bits per dimension",
        series,
        percent_of=(first.bpd, f"{first.encoder}, K={first.k}"),
    )


def _told(row: Row, time: float, direction: str) -> str:
    return (
        f"{row.encoder}, K = {row.k}\n{row.bpd:.4f} bits/dim, {row.size:,} bytes\n{time:.3f} ms an image to {direction}"
    )


def _times(seconds: Sequence[float]) -> str:
    median = f"{1000 * statistics.median(seconds):.3f}"
    return median if len(seconds) == 1 else f"{median} ({1000 * min(seconds):.3f} to {1000 * max(seconds):.3f})"


def _coders(coders: dict[str, int]) -> str:
    return ", ".join(f"{count} by {name}" for name, count in coders.items())


def _efforts(report: EffortReport) -> Iterator[str]:
    for direction in DIRECTIONS:
        yield section(f"To {direction}", drawn(chart_of_efforts(report, direction)))
    heads = ["Coder", "Bytes", "Bits per sub-pixel", "Compress, s", "Decompress, s", "Coded by"]
    rows = [
        (point.label, f"{point.size:,}", f"{point.bpd:.4f}", f"{point.compress:.3f}", f"{point.decompress:.3f}",
         _coders(point.coders))
        for point in report.points
    ]  # fmt: skip
    yield section("All figures", table("Processor seconds per megapixel.", heads, rows, numbers=range(1, 5)))


def chart_of_efforts(report: EffortReport, direction: str) -> Chart:
    """Bits per sub-pixel over processor seconds per megapixel in a direction: bbc, and others in grey."""
    series = []
    for coder in dict.fromkeys(point.coder for point in report.points):
        points = [point for point in report.points if point.coder == coder]
        own = coder == BBC
        series.append(
            Series(
                coder if own or len(points) > 1 else points[0].label,
                [(_seconds(point, direction), point.bpd) for point in points],
                "c0" if own else "grey",
                [point.setting for point in points] if len(points) > 1 or own else (),
                [_told_of_point(point, direction) for point in points],
                dashed=not own,
                marked=True,
            )
        )
    best = reference(report)
    return Chart(
        f"Bits per sub-pixel against processor seconds per megapixel to {direction}: bbc by effort, and other formats",
        f"processor seconds per megapixel to {direction}",
        "whole-file bits per sub-pixel",
        series,
        x_is_log=True,
        percent_of=(best.bpd, best.label),
    )


def _seconds(point: Point, direction: str) -> float:
    return max(float(getattr(point, direction)), 1e-3)


def _told_of_point(point: Point, direction: str) -> str:
    name = f"{point.coder}, effort {point.setting}" if point.coder == BBC else point.label
    time = f"{getattr(point, direction):.3f} s per megapixel to {direction}"
    return f"{name}\n{point.bpd:.4f} bits per sub-pixel, {point.size:,} bytes\n{time}"
