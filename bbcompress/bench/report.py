"""What was measured, as JSON values and as lines of text."""

from __future__ import annotations

import io
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bbcompress.bench.schedule import Schedule
from bbcompress.images.image import PixelImage
from bbcompress.pipeline.options import is_fallback
from bbcompress.text import count_of
from bbcompress.version import __version__

NET_SAMPLES = 4
"""Draws of z whose mean the net rate is."""

NamedImages = Sequence[tuple[str, PixelImage]]


@dataclass(frozen=True)
class Data:
    """What is measured on.

    Attributes:
        name: what it is, for headings.
        images: with their names, in the archive's order.
    """

    name: str
    images: NamedImages

    @property
    def subpixels(self) -> int:
        """Sub-pixels of all images, what bits per dimension are counted by."""
        return sum(image.samples for _, image in self.images)


@dataclass(frozen=True)
class Row:
    """One encoder with one K.

    Attributes:
        size: bytes of the file.
        bpd, net_bpd: whole-file and net bits per sub-pixel; the latter None where several models, the fallback or
            images of several sizes were at work.
        compress, decompress: seconds an image, a number a repeat.
        coders: images by what coded them.
        groups: what the headers of the file's groups say.
        load: the machine's load average after it, the highest of the repeats.
    """

    encoder: str
    k: int
    size: int
    bpd: float
    net_bpd: float | None
    compress: tuple[float, ...]
    decompress: tuple[float, ...]
    coders: dict[str, int]
    groups: list[dict[str, Any]]
    load: float | None

    def as_json(self) -> dict[str, Any]:
        """JSON values; of times also best and median."""
        times = {"compress_seconds_per_image": self.compress, "decompress_seconds_per_image": self.decompress}
        return {
            "encoder": self.encoder,
            "K": self.k,
            "bytes": self.size,
            "bits_per_subpixel": self.bpd,
            **({} if self.net_bpd is None else {"net_bits_per_subpixel": self.net_bpd}),
            **{
                name: {"best": min(seconds), "median": statistics.median(seconds), "all": list(seconds)}
                for name, seconds in times.items()
            },
            "coders": self.coders,
            "groups": self.groups,
            "load_average": self.load,
        }


@dataclass(frozen=True)
class Report:
    """What was measured, and what follows from it."""

    data: Data
    schedule: Schedule
    machine: dict[str, Any]
    rows: list[Row]

    def row(self, encoder: str, k: int) -> Row | None:
        """The row of an encoder and K, None where it was not measured."""
        return next((row for row in self.rows if (row.encoder, row.k) == (encoder, k)), None)

    def gain(self, encoder: str) -> float | None:
        """By which share of the file at K = 0 that of the largest K is smaller; None where one of them is missing."""
        first, last = self.row(encoder, 0), self.row(encoder, max(self.schedule.k))
        return None if first is None or last is None or last.k == 0 else 1 - last.size / first.size

    def catching_up(self) -> tuple[Row, Row | None] | None:
        """The row of `rha` at K = 0 and the row of the smallest K with which `baseline` gives no larger file, None
        where it never does (Figure 8). None where one of the encoders was not measured so."""
        target = self.row("rha", 0)
        if target is None or "baseline" not in self.schedule.encoders:
            return None
        reached = (row for row in self.rows if row.encoder == "baseline" and row.size <= target.size)
        return target, min(reached, key=lambda row: row.k, default=None)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        schedule = self.schedule
        shapes = Counter(f"{image.width}x{image.height} {image.mode}" for _, image in self.data.images)
        result: dict[str, Any] = {
            "bbcompress": __version__,
            "data": {
                "name": self.data.name,
                "images": len(self.data.images),
                "subpixels": self.data.subpixels,
                "shapes": dict(shapes),
            },
            "schedule": {
                "encoders": list(schedule.encoders),
                "K": list(schedule.k),
                "model": schedule.model,
                "learning_rate": schedule.learning_rate,
                "repeats": schedule.repeats,
                "net_samples": NET_SAMPLES,
            },
            "machine": self.machine,
            "results": [row.as_json() for row in self.rows],
            "gain_of_largest_K": {encoder: self.gain(encoder) for encoder in schedule.encoders},
        }
        if (found := self.catching_up()) is not None:
            target, row = found
            reached = None if row is None else {"K": row.k, **_extra_times(target, row)}
            result["baseline_reaches_rha_at_K_0"] = reached
        return result


def format_row(row: Row) -> str:
    """A row as a line."""
    return (
        f"{row.encoder}, K = {row.k}: {row.size} bytes, {row.bpd:.4f} bits/dim, "
        f"{_milliseconds(row.compress)} ms an image to compress, {_milliseconds(row.decompress)} to decompress"
    )


def format_report(report: Report, width: int = 160) -> str:
    """A heading, the table and what follows from it, as lines of at most `width` characters."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style=None)
    for title in ("encoder", *_headings(report)):
        table.add_column(title, justify="left" if title in ("encoder", "coded by") else "right", no_wrap=True)
    for row in report.rows:
        net = [] if not _has_net(report) else ["" if row.net_bpd is None else f"{row.net_bpd:.4f}"]
        times = [_milliseconds(row.compress), _milliseconds(row.decompress)]
        if report.schedule.repeats > 1:
            times = [f"{best} ({1000 * statistics.median(seconds):.3f})"
                     for best, seconds in zip(times, (row.compress, row.decompress), strict=True)]  # fmt: skip
        coders = ", ".join(f"{count} by {name}" for name, count in row.coders.items())
        table.add_row(row.encoder, str(row.k), str(row.size), f"{row.bpd:.4f}", *net, *times, coders)
    console = Console(file=io.StringIO(), width=width, color_system=None, markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join([heading(report), *lines, *format_findings(report)])


def format_findings(report: Report) -> list[str]:
    """What follows from the rows, and what a reader has to know of them, as lines."""
    lines = []
    largest = max(report.schedule.k)
    for encoder in report.schedule.encoders:
        gain = report.gain(encoder)
        if gain is not None:
            lines.append(f"{encoder}: {0 - gain:+.2%} bytes with K = {largest} against K = 0")
    if (found := report.catching_up()) is not None:
        target, row = found
        size = f"rha's size at K = 0, {target.size} bytes"
        if row is None:
            lines.append(f"baseline does not reach {size}")
        else:
            extra = _extra_times(target, row)
            lines.append(
                f"baseline reaches {size}, with K = {row.k}: {extra['compress_extra']:+.1%} time to compress, "
                f"{extra['decompress_extra']:+.1%} to decompress"
            )
    count = len(report.data.images)
    by_fallback = [sum(count for name, count in row.coders.items() if is_fallback(name)) for row in report.rows]
    if any(by_fallback):
        lowest, highest = min(by_fallback), max(by_fallback)
        some = str(lowest) if lowest == highest else f"{lowest} to {highest}"
        lines.append(f"note: the fallback took {some} of {count} images; encoder and K do not change its size or time")
    alone = max(_images_alone(row) for row in report.rows)
    if alone:
        lines.append(f"note: {alone} of {count} images, alone of their size, were coded without encoder and K")
    load, cores = max((row.load or 0 for row in report.rows), default=0), report.machine["cores"]
    if cores and load > cores + 1:
        lines.append(f"note: the load average was up to {load:.1f} on {cores} cores: times are those of a busy machine")
    return lines


def _images_alone(row: Row) -> int:
    """Images that were coded directly, without the row's encoder and K, as no other was in their group."""
    asked = row.encoder, row.k
    return sum(
        group["images"] for group in row.groups if "encoder" in group and (group["encoder"], group["K"]) != asked
    )


def heading(report: Report) -> str:
    """What was measured on, and by which processor."""
    count = len(report.data.images)
    return f"{report.data.name}: {count_of(count)}; {report.machine['processor']}"


def _headings(report: Report) -> list[str]:
    best = " (median)" if report.schedule.repeats > 1 else ""
    net = ["net"] if _has_net(report) else []
    return ["K", "bytes", "bits/dim", *net, f"compress ms{best}", f"decompress ms{best}", "coded by"]


def _has_net(report: Report) -> bool:
    return any(row.net_bpd is not None for row in report.rows)


def _milliseconds(seconds: Sequence[float]) -> str:
    return f"{1000 * min(seconds):.3f}"


def _extra_times(target: Row, row: Row) -> dict[str, float]:
    """By which shares of the times of `target` those of `row` are longer, best times of both."""
    return {
        "compress_extra": min(row.compress) / min(target.compress) - 1,
        "decompress_extra": min(row.decompress) / min(target.decompress) - 1,
    }
