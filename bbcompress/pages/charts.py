"""Charts as SVG, in two widths, of which a page shows the one that fits: lines with their names at their ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, isfinite, log10

from bbcompress.pages.page import text

WIDE, NARROW = (1000, 440), (380, 340)
SCRIPTS = ("chart.js",)
_LEFT, _TOP, _BOTTOM, _FONT = 62, 16, 46, 13
_PERCENT = 56
"""Room for the numbers of an axis on the right, or more where they are long."""
_AXIS = 30
"""Room left of the numbers of the axis on the left, for its name, and between them and the frame."""
_GLYPH = 0.58
"""Width of a letter, about, of the size of the font."""

Place = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A line of points.

    Attributes:
        name: written where the line ends.
        points: (x, y).
        colour: a class of the style: c0 to c4, or grey.
        labels: of each point, written beside it where there is room; empty for none.
        told: what is told of each point where one points at it; empty for none.
        spread: of each point its lowest and highest x, drawn as a bar; empty for none.
        dashed, marked: whether the line is dashed, and points have marks.
    """

    name: str
    points: Sequence[Place]
    colour: str = "c0"
    labels: Sequence[str] = ()
    told: Sequence[str] = ()
    spread: Sequence[Place] = ()
    dashed: bool = False
    marked: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines in a frame.

    Attributes:
        title: what it shows, for those who do not see it too.
        gap: two series between which the room is shaded, by their numbers.
        percent_of: the y that is 100 per cent on an axis on the right, and what it is; None for no such axis.
        bars: draw the points of the first series as bars from 0.
        x_is_whole: only whole numbers stand below it, as of epochs.
    """

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    x_is_log: bool = False
    gap: tuple[int, int] | None = None
    percent_of: tuple[float, str] | None = None
    bars: bool = False
    note: str = ""
    x_is_whole: bool = False


def drawn(chart: Chart) -> str:
    """The chart as a figure of a page."""
    both = "".join(
        f'<div class="{kind}">{_Drawing(chart, *size).svg()}</div>'
        for kind, size in (("if-wide", WIDE), ("if-narrow", NARROW))
    )
    note = f"<figcaption>{text(chart.note)}</figcaption>" if chart.note else ""
    return f'<figure class="chart">{both}{note}</figure>'


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from low to high, at most so many or few more."""
    if not high > low:
        return [low]
    raw = (high - low) / max(1, most)
    unit = 10.0 ** floor(log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw * 0.999)
    first = ceil(low / step - 1e-9)
    return [number * step for number in range(first, floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Numbers 1, 2 and 5 times a power of ten from low to high; of the powers alone where these are too many."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [factor * 10.0**power for power in powers for factor in factors]
        found = [value for value in found if low * 0.999 <= value <= high * 1.001]
        if len(found) <= most:
            return found
    return found[:: ceil(len(found) / most)]


def short(value: float) -> str:
    """A number of an axis."""
    if value == 0:
        return "0"
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e5 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def told_apart(values: Sequence[float]) -> list[str]:
    """The numbers of an axis whose steps are even: with as many decimals as their steps have where they would
    otherwise be written alike, or as if their steps were not even."""
    words = [short(value) for value in values]
    if len(values) < 2 or not (1e-6 <= max(map(abs, values)) < 1e9):
        return words
    step = values[1] - values[0]
    exact = [f"{value:.{max(0, -floor(log10(step) + 1e-9))}f}" for value in values]
    return words if all(float(one) == float(other) for one, other in zip(words, exact, strict=True)) else exact


@dataclass
class _Drawing:
    """A chart of one width. Places are in pixels from the top left."""

    chart: Chart
    width: int
    height: int
    _taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        chart = self.chart
        points = [point for series in chart.series for point in series.points]
        xs = [x for x, _ in points] + [x for series in chart.series for pair in series.spread for x in pair]
        ys = [y for _, y in points]
        if chart.percent_of is not None:
            ys.append(chart.percent_of[0])
        self.low_x, self.high_x = _span(xs, chart.x_is_log)
        self.low_y, self.high_y = _span(ys, False)
        if chart.bars:
            self.low_y = 0.0
            self.low_x, self.high_x = min(xs) - 0.6, max(xs) + 0.6
        longest = max((len(series.name) for series in chart.series), default=0)
        self.right = 14 if chart.bars else min(longest * _FONT * _GLYPH + 14, 0.3 * self.width)
        self.rows = ticks(self.low_y, self.high_y, 5)
        self.left = max(_LEFT, _AXIS + max(map(_wide, told_apart(self.rows)), default=0.0))
        self.shares: list[float] = []
        self.percent = 0.0
        if chart.percent_of is not None:
            whole = chart.percent_of[0]
            self.shares = ticks(100 * self.low_y / whole, 100 * self.high_y / whole, 5)
            longest = max((len(share) for share in told_apart(self.shares)), default=0)
            self.percent = max(_PERCENT, _wide("0" * longest + " %") + 12)
            self.right += self.percent

    def x(self, value: float) -> float:
        low, high = self.low_x, self.high_x
        if self.chart.x_is_log:
            value, low, high = log10(max(value, low)), log10(low), log10(high)
        return self.left + (value - low) / (high - low) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        return (
            self.height - _BOTTOM - (value - self.low_y) / (self.high_y - self.low_y) * (self.height - _BOTTOM - _TOP)
        )

    def svg(self) -> str:
        parts = [*self._axes(), *self._gap(), *(self._bars() if self.chart.bars else self._lines())]
        role = "group" if any(series.told for series in self.chart.series) and not self.chart.bars else "img"
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="{role}" aria-label="{text(self.chart.title)}">'
            f"{''.join(parts)}</svg>"
        )

    def _axes(self) -> Iterator[str]:
        left, right = self.left, self.width - self.right
        top, bottom = _TOP, self.height - _BOTTOM
        for value, number in zip(self.rows, told_apart(self.rows), strict=True):
            y = self.y(value)
            yield f'<line class="grid" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield _words(left - 8, y + 4, number, "end")
        room = max(2, int((right - left) / 62))
        if not self.chart.bars:
            columns = (log_ticks if self.chart.x_is_log else ticks)(self.low_x, self.high_x, room)
            if self.chart.x_is_whole:
                columns = [value for value in columns if abs(value - round(value)) < 1e-9]
            numbers = list(map(short, columns)) if self.chart.x_is_log else told_apart(columns)
            for value, number in zip(columns, numbers, strict=True):
                x = self.x(value)
                yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'
                yield _words(x, bottom + 18, number, "middle")
        yield _words((left + right) / 2, self.height - 6, self.chart.x_label, "middle", "axis")
        middle = (top + bottom) / 2
        yield (
            f'<text class="axis" transform="rotate(-90 14 {middle:.1f})" x="14" y="{middle:.1f}" '
            f'text-anchor="middle">{text(self.chart.y_label)}</text>'
        )
        if self.chart.percent_of is not None:
            whole, what = self.chart.percent_of
            x = self.width - self.percent + 4
            for value, number in zip(self.shares, told_apart(self.shares), strict=True):
                yield _words(x + 4, self.y(value * whole / 100) + 4, f"{number} %", "start")
            y = self.y(whole)
            yield f'<line class="whole" x1="{left:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            words = f"100 %: {what}"
            self._place(x - 4 - _wide(words), y - 6, words)
            yield _words(x - 4, y - 6, words, "end")

    def _gap(self) -> Iterator[str]:
        if self.chart.gap is None:
            return
        first, second = (self.chart.series[number].points for number in self.chart.gap)
        if len(first) > 1 and len(second) > 1:
            low = max(min(first)[0], min(second)[0])
            high = min(max(first)[0], max(second)[0])
            both = [[point for point in points if low <= point[0] <= high] for points in (first, second)]
            outline = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in [*both[0], *reversed(both[1])])
            yield f'<polygon class="gap" points="{outline}"/>'

    def _bars(self) -> Iterator[str]:
        series = self.chart.series[0]
        wide = max(1.5, 0.75 * (self.x(1) - self.x(0)))
        for number, (x, y) in enumerate(series.points):
            top, left = self.y(max(y, 0.0)), self.x(x) - wide / 2
            told = f' data-t="{_lines_of(series.told[number])}"' if series.told else ""
            yield (
                f'<rect class="{series.colour}" x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" '
                f'height="{max(self.y(0) - top, 0.5):.1f}"{told}/>'
            )
            if series.labels and (wide > 14 or number % ceil(16 / wide) == 0):
                yield _words(self.x(x), self.height - _BOTTOM + 18, series.labels[number], "middle")

    def _lines(self) -> Iterator[str]:
        points: list[str] = []
        for series in self.chart.series:
            places = [(self.x(x), self.y(y)) for x, y in series.points]
            for x, y in places:
                self._taken.append((x - 4, y - 4, x + 4, y + 4))
            if len(places) > 1:
                path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
                yield f'<path class="{series.colour}{" dashed" if series.dashed else ""}" d="{path}"/>'
            for (low, high), (_, y) in zip(series.spread, places, strict=False):
                yield (
                    f'<line class="{series.colour}" x1="{self.x(low):.1f}" x2="{self.x(high):.1f}" y1="{y:.1f}" '
                    f'y2="{y:.1f}"/>'
                )
            if series.marked or len(places) == 1:
                for number, (x, y) in enumerate(places):
                    told = ""
                    if series.told:
                        words = _lines_of(series.told[number])
                        told = f' data-t="{words}" aria-label="{words}" role="img" tabindex="0"'
                    points.append(f'<circle class="{series.colour}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"{told}/>')
        yield from points
        yield from self._names()
        for series in self.chart.series:
            for label, (x, y) in zip(series.labels, series.points, strict=False):
                yield from self._beside(self.x(x), self.y(y), label, series.colour)

    def _names(self) -> Iterator[str]:
        """The names of the lines, behind their last points, none over another."""
        ends = []
        for series in self.chart.series:
            if series.points:
                x, y = max(series.points)
                ends.append((self.y(y) + 4, self.x(x) + 9, series))
        limit = self.width - self.percent
        for y, x, series in sorted(ends, key=lambda end: end[:2]):
            wide = _wide(series.name)
            x = min(x, limit - wide - 2)
            while not self._is_free(x, y, wide) and y < self.height - _BOTTOM:
                y += 2
            self._place(x, y, series.name)
            yield _words(x, y, series.name, "start", f"name {series.colour}")

    def _beside(self, x: float, y: float, label: str, colour: str) -> Iterator[str]:
        """A label beside a point, where there is room; else none, as the point itself tells."""
        wide = _wide(label)
        for left, base in (
            (x + 7, y - 6), (x - wide - 7, y - 6), (x + 7, y + 15), (x - wide - 7, y + 15), (x - wide / 2, y - 9),
            (x - wide / 2, y + 19),
        ):  # fmt: skip
            inside = left > self.left and left + wide < self.width and _TOP + 10 < base < self.height - _BOTTOM
            if inside and self._is_free(left, base, wide):
                self._place(left, base, label)
                yield _words(left, base, label, "start", f"point {colour}")
                return

    def _is_free(self, left: float, base: float, wide: float) -> bool:
        top, right, bottom = base - _FONT + 1, left + wide, base + 3
        return not any(left < r and l < right and top < b and t < bottom for l, t, r, b in self._taken)  # noqa: E741

    def _place(self, left: float, base: float, label: str) -> None:
        self._taken.append((left, base - _FONT + 1, left + _wide(label), base + 3))


def _span(values: Sequence[float], is_log: bool) -> tuple[float, float]:
    """The range of an axis: that of the values, and some room."""
    finite = [value for value in values if isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if is_log:
        return low / 1.3, high * 1.3
    room = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    return (max(0.0, low - room) if low >= 0 else low - room), high + room


def _lines_of(told: str) -> str:
    """What is told, of several lines, as a value of an attribute."""
    return "&#10;".join(map(text, told.split("\n")))


def _wide(label: str) -> float:
    return len(label) * _FONT * _GLYPH


def _words(x: float, y: float, content: str, anchor: str, kind: str = "") -> str:
    marked = f' class="{kind}"' if kind else ""
    return f'<text{marked} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text(content)}</text>'
