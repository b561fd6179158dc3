"""Rate against processor time by effort, beside other lossless formats: files are written, read back and compared.

Times are of one warm process with all of its threads, from pixels in memory to a file and back: model loading, kernel
compilation, verification and the reading of image files are not in them.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from bbcompress.bench.measure import describe_machine, kernels_compiled_at_once
from bbcompress.bench.peers import Peer, peers
from bbcompress.bench.plot import Label, caption, two_panels
from bbcompress.bench.report import Data
from bbcompress.errors import BBCError
from bbcompress.images.image import PixelImage
from bbcompress.limits import LEAST_EFFORT
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options
from bbcompress.text import count_of
from bbcompress.version import __version__

BBC = "bbc"
WARM_UP_SIDE = 144
"""Of the corner of an image that is coded before times are taken, in pixels."""


@dataclass(frozen=True)
class Point:
    """One setting of one coder on all images.

    Attributes:
        setting: its effort, or method.
        size: bytes of all files.
        bpd: their bits per sub-pixel.
        compress, decompress: processor seconds per megapixel.
        coders: images by what coded them, of bbc alone.
    """

    coder: str
    setting: str
    size: int
    bpd: float
    compress: float
    decompress: float
    coders: dict[str, int]

    @property
    def label(self) -> str:
        """Coder and setting, as in a legend."""
        return f"{self.coder} {self.setting}".rstrip()


@dataclass(frozen=True)
class EffortReport:
    """What was measured. alone: whether each image was a file of its own, of bbc too. model: that was asked for."""

    data: Data
    machine: dict[str, Any]
    alone: bool
    points: list[Point]
    model: str | None = None

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        data = {"name": self.data.name, "images": len(self.data.images), "subpixels": self.data.subpixels}
        return {
            "bbcompress": __version__,
            "data": data,
            "each_image_a_file": self.alone,
            "machine": self.machine,
            "results": [asdict(point) for point in self.points],
        }


def measure_efforts(
    data: Data,
    efforts: Sequence[int],
    model: str | None = None,
    alone: bool = False,
    progress: Callable[[Point], None] | None = None,
) -> EffortReport:
    """Write, read back and compare all images with each effort, as one archive or `alone`, and each by other coders.

    Other coders are measured where all images are grey or RGB of 8 bits. progress: called with each point.

    Raises:
        BBCError: images did not come back as they were, or cannot be compressed.
    """
    machine, points = describe_machine(), []
    compressor = Compressor(Options(model, verify=False, embed_model=False))
    with kernels_compiled_at_once():
        _warm_up(data, efforts, compressor)
        for point in _points(data, efforts, compressor, alone):
            points.append(point)
            if progress is not None:
                progress(point)
    return EffortReport(data, machine, alone, points, model)


def _points(data: Data, efforts: Sequence[int], compressor: Compressor, alone: bool) -> Iterator[Point]:
    pixels = sum(image.width * image.height for _, image in data.images) / 1e6
    groups = [[named] for named in data.images] if alone else [list(data.images)]
    for effort in efforts:
        size, compress, decompress, coders = _by_bbc(groups, effort, compressor, alone)
        rate = 8 * size / data.subpixels
        yield Point(BBC, str(effort), size, rate, compress / pixels, decompress / pixels, coders)
    if all(image.mode in ("L", "RGB") and image.plain for _, image in data.images):
        for peer in peers():
            size, compress, decompress = _by_peer([image for _, image in data.images], peer)
            rate = 8 * size / data.subpixels
            yield Point(peer.coder, peer.setting, size, rate, compress / pixels, decompress / pixels, {})


def _by_bbc(
    groups: Sequence[Sequence[tuple[str, PixelImage]]], effort: int, compressor: Compressor, alone: bool
) -> tuple[int, float, float, dict[str, int]]:
    """Bytes, processor seconds to write and to read, images by what coded them."""
    compressor.options = replace(compressor.options, effort=effort)
    size, compress, decompress = 0, 0.0, 0.0
    coders: dict[str, int] = {}
    for named in groups:
        begin = time.process_time()
        if alone:
            data, summary = compressor.lone(named[0][1])
        else:
            out = io.BytesIO()
            summary = compressor.archive(named, out)
            data = out.getvalue()
        middle = time.process_time()
        back = dict(compressor.reader(io.BytesIO(data)).images())
        compress, decompress = compress + middle - begin, decompress + time.process_time() - middle
        if [back.get(position) for position in range(len(named))] != [image for _, image in named]:
            raise BBCError(f"effort {effort}: the images did not come back as they were; please report this")
        size += len(data)
        for name, count in summary.coders.items():
            coders[name] = coders.get(name, 0) + count
    return size, compress, decompress, coders


def _by_peer(images: Sequence[PixelImage], peer: Peer) -> tuple[int, float, float]:
    size, compress, decompress = 0, 0.0, 0.0
    for image in images:
        begin = time.process_time()
        data = peer.encode(image.pixels)
        middle = time.process_time()
        back = peer.decode(data)
        compress, decompress = compress + middle - begin, decompress + time.process_time() - middle
        if back.ndim > image.pixels.ndim:  # WebP makes RGB of grey
            back = back[..., 0]
        if not np.array_equal(back, image.pixels):
            raise BBCError(f"{peer.label}: an image did not come back as it was")
        size += len(data)
    return size, compress, decompress


def _warm_up(data: Data, efforts: Sequence[int], compressor: Compressor) -> None:
    """Load models, and compile what coding takes, on a corner of an image of each mode: at the least effort, which may
    be that of quick models, and at the most, whose ways are the most."""
    learn = True if max(efforts) > LEAST_EFFORT else None
    for image in {image.mode: image for _, image in data.images}.values():
        corner = replace(image, pixels=np.ascontiguousarray(image.pixels[:WARM_UP_SIDE, :WARM_UP_SIDE]))
        for effort, forced in product({min(efforts), max(efforts)}, {None, learn}):
            compressor.options = replace(compressor.options, learn=forced)
            _by_bbc([[("corner", corner)]], effort, compressor, alone=True)
    compressor.options = replace(compressor.options, learn=None)


def format_point(point: Point) -> str:
    """A point as a line."""
    return (
        f"{point.label:12} {point.size:>12} bytes  {point.bpd:7.4f} bits/dim  {point.compress:9.3f} to compress"
        f"  {point.decompress:9.3f} to decompress  {', '.join(f'{n} by {name}' for name, n in point.coders.items())}"
    ).rstrip()


def heading(report: EffortReport) -> str:
    """What was measured, as a line."""
    count = len(report.data.images)
    how = "each a file" if report.alone else "of bbc one archive"
    return f"{report.data.name}: {count_of(count)}, {how}; processor seconds per megapixel"


def format_efforts(report: EffortReport) -> str:
    """A heading, and a line each point."""
    return "\n".join([heading(report), *map(format_point, report.points)])


def plot_efforts(report: EffortReport, kind: str) -> bytes:
    """Rate over processor seconds per megapixel to compress and to decompress, as a file; a line a coder, the others in
    grey.

    kind: png or svg. Raises BBCError where matplotlib is missing.
    """

    def draw(axes: Any, direction: str) -> list[Label]:
        names, labels = [], []
        for coder in dict.fromkeys(point.coder for point in report.points):
            points = [point for point in report.points if point.coder == coder]
            own = coder == BBC
            colour = "C0" if own else "0.45"
            places = [(max(getattr(point, direction), 1e-3), point.bpd) for point in points]
            line = {"marker": "o", "linestyle": "-"} if own else {"marker": "s", "linestyle": "--"}
            axes.plot(*zip(*places, strict=True), markersize=5, color=colour, **line)
            alone = len(points) == 1
            names.append(Label(points[0].label if alone else coder, max(places), colour, bold=True))
            if not alone:
                labels += [Label(point.setting, place, colour) for point, place in zip(points, places, strict=True)]
        axes.set_xscale("log")
        axes.set_xlabel(f"processor seconds per megapixel to {direction}")
        axes.grid(alpha=0.3, which="both")
        return names + labels

    best = reference(report)
    told = how_measured(report)
    whole = best.bpd, best.label
    return two_panels(heading(report), told, "whole-file bits per sub-pixel", whole, (11, 5.2), kind, draw)


def how_measured(report: EffortReport) -> str:
    """By which model, on which machine, when and how something was measured."""
    processor = report.machine.get("processor", "an unknown processor")
    return f"{processor}; {caption(report.machine, report.model, 'processor time of all threads')}"


def reference(report: EffortReport) -> Point:
    """What is 100 per cent: the best of the other formats, or the first effort where there are none."""
    others = [point for point in report.points if point.coder != BBC]
    return min(others, key=lambda point: point.bpd) if others else report.points[0]
