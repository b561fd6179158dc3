"""BPD against measured time on given images, the paper's Figures 7 and 8: archives are written, read back and compared.

Times are of one warm process, from pixels in memory to a file and back: model loading, kernel compilation and the
reading of image files are not in them, the choice among several models is.
"""

from __future__ import annotations

import io
import json
import os
import platform
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bbcompress.archive.container import ArchiveReader
from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.blocks import blocks_of
from bbcompress.codecs.choose import FALLBACK
from bbcompress.codecs.groups import decode_images
from bbcompress.codecs.rate import net_bits
from bbcompress.coder import kernel_cache
from bbcompress.errors import NEEDS_MATPLOTLIB, BBCError, FormatError, OutputExistsError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.images.image import PixelImage, binary_view
from bbcompress.images.kinds import kinds_of
from bbcompress.images.read import read_image
from bbcompress.limits import ENCODERS, MAX_STEPS, Limits
from bbcompress.models.base import Model
from bbcompress.models.cache import Models
from bbcompress.models.strips import Canvas, Strips
from bbcompress.models.zoo import Zoo
from bbcompress.pipeline import sources as files
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options, Summary, is_fallback
from bbcompress.system import output
from bbcompress.system.machine import package_versions, processor_name
from bbcompress.training import datasets
from bbcompress.version import __version__

DATA_SETS = {"mnist": ("mnist", False), "mnist-binary": ("mnist", True), "cifar10": ("cifar10", False)}
"""What `datasets.load` calls them, and whether they are made binary."""

DATA_SET_IMAGES = 1000
"""Test images of a data set that are taken where no number is given."""

NET_SAMPLES = 4
"""Draws of z whose mean the net rate is."""

WARM_UP_IMAGES, WARM_UP_PIXELS = 8, 1 << 20
"""Images of each kind to warm up on: so many, or fewer of so many pixels."""

PLOT_FORMATS = (".png", ".svg")
SVG_SALT = "bbc"
"""Of the ids inside an SVG, which would be random without it."""

NamedImages = Sequence[tuple[str, PixelImage]]
NumpyArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Data:
    """What is measured on. name: what it is, for headings. images: with their names, in the archive's order."""

    name: str
    images: NamedImages

    @property
    def subpixels(self) -> int:
        """Sub-pixels of all images, what bits per dimension are counted by."""
        return sum(image.samples for _, image in self.images)


@dataclass(frozen=True)
class Schedule:
    """What is measured: each of `encoders` with each number of `steps` K, `repeats` times; the rest as in `Options`.

    Raises:
        BBCError: a value is out of range.
    """

    encoders: tuple[str, ...] = ("baseline", "rha")
    steps: tuple[int, ...] = tuple(range(11))
    model: str | None = None
    learning_rate: float | None = None
    repeats: int = 1

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise BBCError("the number of repeats must be at least 1")
        for encoder, steps in product(self.encoders, self.steps):
            self.options(encoder, steps)

    def options(self, encoder: str, steps: int) -> Options:
        """How the archive of one row is compressed."""
        return Options(self.model, steps, encoder, self.learning_rate, verify=False)


@dataclass(frozen=True)
class Row:
    """One encoder with one K.

    size: bytes of the file. bpd, net_bpd: whole-file and net bits per sub-pixel; the latter None where several models,
    the fallback or images of several sizes were at work. compress, decompress: seconds an image, a number a repeat.
    coders: images by what coded them. groups: what the headers of the file's groups say. load: the machine's load
    average after it, the highest of the repeats.
    """

    encoder: str
    steps: int
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
            "K": self.steps,
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

    def row(self, encoder: str, steps: int) -> Row | None:
        """The row of an encoder and K, None where it was not measured."""
        return next((row for row in self.rows if (row.encoder, row.steps) == (encoder, steps)), None)

    def gain(self, encoder: str) -> float | None:
        """By which share of the file at K = 0 that of the largest K is smaller; None where one of them is missing."""
        first, last = self.row(encoder, 0), self.row(encoder, max(self.schedule.steps))
        return None if first is None or last is None or last.steps == 0 else 1 - last.size / first.size

    def catching_up(self) -> tuple[Row, Row | None] | None:
        """The row of `rha` at K = 0 and the row of the smallest K with which `baseline` gives no larger file, None
        where it never does (Figure 8). None where one of the encoders was not measured so."""
        target = self.row("rha", 0)
        if target is None or "baseline" not in self.schedule.encoders:
            return None
        reached = (row for row in self.rows if row.encoder == "baseline" and row.size <= target.size)
        return target, min(reached, key=lambda row: row.steps, default=None)

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
                "K": list(schedule.steps),
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
            reached = None if row is None else {"K": row.steps, **_extra_times(target, row)}
            result["baseline_reaches_rha_at_K_0"] = reached
        return result


# --- What to measure -----------------------------------------------------------------------------


def parse_steps(text: str) -> tuple[int, ...]:
    """The numbers of a list of numbers and ranges such as `0..10,20`, ascending, each once. Raises BBCError."""
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,9})\s*(?:\.\.\s*([0-9]{1,9})\s*)?", part)
        if match is None:
            raise BBCError(f"-K {text}: give numbers and ranges, such as 0..10 or 0,1,5 or 0..10,20")
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise BBCError(f"-K {text}: the range {part.strip()} ends before it begins")
        if last > MAX_STEPS:
            raise BBCError(f"-K {text}: K must be 0 to {MAX_STEPS}")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def parse_encoders(text: str) -> tuple[str, ...]:
    """The encoders of a list such as `baseline,rha`, each once. Raises BBCError."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in ENCODERS:
            raise BBCError(f"--encoders {text}: there is no encoder {name!r}; choose from {','.join(ENCODERS)}")
    return names


def load_data(
    paths: Sequence[str],
    data_set: str | None,
    data_dir: str,
    count: int | None = None,
    quiet: bool = False,
    outputs: Sequence[Path] = (),
) -> Data:
    """The images of files and folders, or the test images of one of DATA_SETS; only the first `count` of them.

    Raises:
        BBCError: neither or both are given. ImageError, DataError: they cannot be read. OutputExistsError: one is among
            the outputs.
    """
    if bool(paths) == (data_set is not None):
        raise BBCError(f"give either images and folders or --data {'|'.join(DATA_SETS)}")
    if data_set is None:
        found = files.find_images(paths)[:count]
        for is_output in map(files.SameFile, outputs):
            for source in found:
                if is_output(source.path):
                    raise OutputExistsError(f"{source.path} is one of the images, and an output")
        named = [(name, read_image(path, str(path)).without_metadata()) for name, path, _ in found]
        name = paths[0] if len(paths) == 1 else f"{len(paths)} inputs"
        return Data(name.encode("utf-8", "replace").decode(), named)
    known, binary = DATA_SETS[data_set]
    pixels = datasets.load(known, data_dir, binary, quiet).test[: count or DATA_SET_IMAGES]
    mode, scale = "RGB" if known == "cifar10" else "L", np.uint8(255 if binary else 1)
    named = [(f"{number:04}.png", PixelImage(mode, image * scale)) for number, image in enumerate(pixels)]
    return Data(f"{data_set} (test)", named)


def check_targets(json_file: Path | None, plots: Sequence[Path], force: bool) -> None:
    """Raises BBCError where what shall be written at the end could not be, so that nothing is measured in vain."""
    targets = [*([] if json_file is None else [json_file]), *plots]
    for path in targets:
        if path in plots and path.suffix.lower() not in PLOT_FORMATS:
            raise BBCError(f"{path}: a plot's name ends with {' or '.join(PLOT_FORMATS)}")
        if not path.parent.is_dir():
            raise BBCError(f"{path}: there is no folder {path.parent}")
        output.refuse_existing(path, force)
    if len(set(targets)) < len(targets):
        raise BBCError("each file needs a name of its own")
    if plots:
        _figure_class()


# --- Measuring -----------------------------------------------------------------------------------


def measure(data: Data, schedule: Schedule, progress: Callable[[Row], None] | None = None) -> Report:
    """Write, read back and compare an archive of all images for each encoder and K.

    All rows are measured before the first is repeated, so that a busy machine is no burden on a few rows only.
    progress: called with each row as it is done, and as often as it is repeated.

    Raises:
        BBCError: images did not come back as they were, or cannot be compressed.
    """
    machine = describe_machine()
    bench = _Bench(data, schedule)
    rows: list[Row] = []
    with _kernels_compiled_at_once():
        bench.warm_up()
        for repeat, (number, (encoder, steps)) in product(
            range(schedule.repeats), enumerate(product(schedule.encoders, schedule.steps))
        ):
            if repeat:
                rows[number] = bench.repeat(rows[number])
            else:
                rows.append(bench.row(encoder, steps))
            if progress is not None:
                progress(rows[number])
    return Report(data, schedule, machine, rows)


class _Bench:
    """Measures row by row; models are loaded once."""

    def __init__(self, data: Data, schedule: Schedule) -> None:
        self._images, self._schedule = data.images, schedule
        self._subpixels = data.subpixels
        self._compressor = Compressor(schedule.options(schedule.encoders[0], schedule.steps[0]))
        self._models = Models(Zoo(schedule.model), NumpyBackend())

    def warm_up(self) -> None:
        """Load all models that fit the images and whatever coding with and without K steps needs."""
        steps = [k for k in self._schedule.steps if k]
        few = sorted({min(self._schedule.steps), *steps[:1]})
        for images in self._samples():
            for encoder, k in product(self._schedule.encoders, few):
                with tempfile.TemporaryFile() as file:  # has no name that could be left behind
                    self._compress(images, encoder, k, file)
                    self._read_back(images, f"{encoder}, K = {k}", file)

    def _samples(self) -> Iterator[NamedImages]:
        """A few small images for each choice of models."""
        kinds: dict[object, list[tuple[str, PixelImage]]] = {}
        for name, image in sorted(self._images, key=lambda named: named[1].samples):
            shape = image.height, image.width
            fitting = [
                (kind.channels, kind.is_binary, *(entry.id for entry in self._models.zoo.candidates(shape, kind)))
                for kind in kinds_of(image)
            ]
            sample = kinds.setdefault(tuple(fitting), [])
            pixels = sum(other.width * other.height for _, other in sample)
            if len(sample) < WARM_UP_IMAGES and pixels < WARM_UP_PIXELS:
                sample.append((name, image))
        return iter(kinds.values())

    def row(self, encoder: str, steps: int) -> Row:
        """Measure one row. Raises BBCError where the images do not come back."""
        with tempfile.TemporaryFile() as file:
            compress, decompress, summary = self._times(encoder, steps, file)
            size = os.fstat(file.fileno()).st_size
            groups = self._describe_groups(file)
        return Row(
            encoder,
            steps,
            size,
            8 * size / self._subpixels,
            self._net_rate(groups, encoder, steps),
            (compress,),
            (decompress,),
            dict(sorted(summary.coders.items())),
            groups,
            _load_average(),
        )

    def repeat(self, row: Row) -> Row:
        """The row with the times of another archive beside its own. Raises BBCError as `row`."""
        with tempfile.TemporaryFile() as file:
            compress, decompress, _ = self._times(row.encoder, row.steps, file)
        loads = [load for load in (row.load, _load_average()) if load is not None]
        return replace(
            row,
            compress=(*row.compress, compress),
            decompress=(*row.decompress, decompress),
            load=max(loads, default=None),
        )

    def _times(self, encoder: str, steps: int, file: BinaryIO) -> tuple[float, float, Summary]:
        """Seconds an image for an archive of all images and back, through an empty file."""
        compress, summary = self._compress(self._images, encoder, steps, file)
        decompress = self._read_back(self._images, f"{encoder}, K = {steps}", file)
        return compress / len(self._images), decompress / len(self._images), summary

    def _compress(self, images: NamedImages, encoder: str, steps: int, file: BinaryIO) -> tuple[float, Summary]:
        """Seconds that writing the archive took, and what was written."""
        self._compressor.options = self._schedule.options(encoder, steps)
        begin = time.perf_counter()
        summary = self._compressor.archive(images, file)
        file.flush()
        return time.perf_counter() - begin, summary

    def _read_back(self, images: NamedImages, what: str, file: BinaryIO) -> float:
        """Seconds that reading the archive took, comparisons excluded. Raises BBCError where an image differs."""
        try:
            begin = time.perf_counter()
            reader = ArchiveReader(file)
            seconds = time.perf_counter() - begin
            same = list(reader.names) == [name for name, _ in images]
            for number, entry in enumerate(reader.groups):
                begin = time.perf_counter()
                decoded = decode_images(reader.read_group(number), self._models, Limits(steps=MAX_STEPS))
                seconds += time.perf_counter() - begin
                same = same and decoded == [images[position][1] for position in entry.positions]
        except FormatError:
            same = False
        if not same:
            raise BBCError(f"{what}: the images did not come back from the file as they were; please report this")
        return seconds

    def _describe_groups(self, file: BinaryIO) -> list[dict[str, Any]]:
        """What the headers of the groups say, as JSON values."""
        reader = ArchiveReader(file)
        groups: list[dict[str, Any]] = []
        for number in range(len(reader.groups)):
            group = reader.read_group(number)
            header, size = group.header, len(group.payload)
            if header.fallback:
                groups.append({"model": FALLBACK, "images": header.count, "bytes": size})
                continue
            entry = self._models.zoo.named(header.model)[0]
            rate = header.learning_rate or entry.weights.learning_rate
            groups.append(
                {
                    "model": entry.name,
                    "id": entry.id.hex(),
                    "images": header.count,
                    "bytes": size,
                    "encoder": header.encoder,
                    "K": header.steps,
                    "learning_rate": rate / 1e6 if header.steps else None,
                    **({} if header.blocks else {"direct": header.direct, "batches": list(header.batches)}),
                }
            )
        return groups

    def _net_rate(self, groups: list[dict[str, Any]], encoder: str, steps: int) -> float | None:
        """Net bits per sub-pixel, where one model coded all images and they are of one size."""
        ids = {group.get("id") for group in groups}
        if len(ids) > 1 or None in ids or len({image.pixels.shape for _, image in self._images}) > 1:
            return None
        vae = self._models.model(self._models.zoo.named(bytes.fromhex(groups[0]["id"]))[0])
        rate = self._schedule.options(encoder, steps).coding.learning_rate or vae.weights.learning_rate
        codec = BitsBack(vae, encoder, steps, rate)
        total = 0.0
        for x in _model_inputs(vae, [image for _, image in self._images]):
            for start in range(0, len(x), codec.compute_batch):  # bounds the memory
                part = x[start : start + codec.compute_batch]
                total += float(net_bits(codec, part, NET_SAMPLES, seed=start).sum())
        return total / self._subpixels


def _model_inputs(vae: Model, images: Sequence[PixelImage]) -> Iterator[Strips]:
    """Images of one size as the model codes them: their strips, or those of each block."""
    weights = vae.weights
    views = [binary_view(image) for image in images] if weights.levels == 2 else []
    pixels = np.stack([view.bits for view in views if view] if views else [image.pixels for image in images])
    pixels = pixels.reshape(*pixels.shape[:3], -1)
    if weights.shape is not None:
        yield Strips.all_of(Canvas.of(pixels, weights.tile))
    else:
        height, width = pixels.shape[1:3]
        for block in blocks_of(height, width, weights.tile):
            part = np.stack([block.of(image) for image in pixels])
            yield Strips.all_of(Canvas.of(part, weights.tile))


@contextmanager
def _kernels_compiled_at_once() -> Iterator[None]:
    """No kernel is interpreted for its first symbols, lest it be compiled while a row is timed."""
    before = kernel_cache.MAX_INTERPRETED
    kernel_cache.MAX_INTERPRETED = -1
    try:
        yield
    finally:
        kernel_cache.MAX_INTERPRETED = before


def describe_machine() -> dict[str, Any]:
    """Processor, cores, system, versions and load average."""
    return {
        "processor": processor_name(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": package_versions(("numpy", "numba", "pillow")),
        "load_average": _load_average(),
    }


def _load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


# --- Showing it ----------------------------------------------------------------------------------


def format_row(row: Row) -> str:
    """A row as a line."""
    return (
        f"{row.encoder}, K = {row.steps}: {row.size} bytes, {row.bpd:.4f} bits/dim, "
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
        table.add_row(row.encoder, str(row.steps), str(row.size), f"{row.bpd:.4f}", *net, *times, coders)
    console = Console(file=io.StringIO(), width=width, color_system=None, markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join([_heading(report), *lines, *format_findings(report)])


def format_findings(report: Report) -> list[str]:
    """What follows from the rows, and what a reader has to know of them, as lines."""
    lines = []
    largest = max(report.schedule.steps)
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
                f"baseline reaches {size}, with K = {row.steps}: {extra['compress_extra']:+.1%} time to compress, "
                f"{extra['decompress_extra']:+.1%} to decompress"
            )
    count = len(report.data.images)
    by_fallback = [sum(count for name, count in row.coders.items() if is_fallback(name)) for row in report.rows]
    if any(by_fallback):
        lowest, highest = min(by_fallback), max(by_fallback)
        some = str(lowest) if lowest == highest else f"{lowest} to {highest}"
        lines.append(f"note: the fallback took {some} of {count} images; encoder and K are nothing to it")
    alone = max(_images_alone(row) for row in report.rows)
    if alone:
        lines.append(f"note: {alone} of {count} images, alone of their size, were coded without encoder and K")
    load, cores = max((row.load or 0 for row in report.rows), default=0), report.machine["cores"]
    if cores and load > cores + 1:
        lines.append(f"note: the load average was up to {load:.1f} on {cores} cores: times are those of a busy machine")
    return lines


def _images_alone(row: Row) -> int:
    """Images that were coded directly, without the row's encoder and K, as no other was in their group."""
    asked = row.encoder, row.steps
    return sum(
        group["images"] for group in row.groups if "encoder" in group and (group["encoder"], group["K"]) != asked
    )


def _heading(report: Report) -> str:
    count = len(report.data.images)
    return f"{report.data.name}: {count} image{'s' * (count != 1)}; {report.machine['processor']}"


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


# --- Writing it ----------------------------------------------------------------------------------


def write(report: Report, json_file: Path | None, plots: Sequence[Path], force: bool) -> None:
    """Write the report as JSON and as plots, PNG or SVG by their names. Raises BBCError."""
    contents = {path: plot(report, path.suffix.lower()[1:]) for path in plots}
    if json_file is not None:
        contents[json_file] = (json.dumps(report.as_json(), indent=1) + "\n").encode()
    for path, data in contents.items():
        output.write_file(path, data, force)


def plot(report: Report, kind: str) -> bytes:
    """BPD over the time to compress and over that to decompress an image, a line an encoder, as a file.

    kind: png or svg; an SVG of the same report has the same bytes. Raises BBCError where matplotlib is missing.
    """
    figure_class = _figure_class()
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": SVG_SALT, "svg.fonttype": "none"}):
        figure = figure_class(figsize=(11, 4.5), layout="constrained")
        figure.suptitle(_heading(report), parse_math=False)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, direction in zip(panels, ("compress", "decompress"), strict=True):
            for encoder in report.schedule.encoders:
                rows = [row for row in report.rows if row.encoder == encoder]
                x = [1000 * min(getattr(row, direction)) for row in rows]
                y = [row.bpd for row in rows]
                axes.plot(x, y, marker="o", markersize=4, label=encoder)
                for row, place in zip(rows, zip(x, y, strict=True), strict=True):
                    axes.annotate(f"K={row.steps}", place, xytext=(4, 4), textcoords="offset points", fontsize=7)
            axes.set_xlabel(f"milliseconds an image to {direction}")
            axes.set_xlim(left=0)
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("whole-file bits per dimension")
        panels[0].legend()
        out = io.BytesIO()
        figure.savefig(out, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return out.getvalue()


def _figure_class() -> Any:
    """matplotlib's Figure. Raises BBCError where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "matplotlib":
            raise
        raise BBCError(f"a plot {NEEDS_MATPLOTLIB}") from None
    return Figure
