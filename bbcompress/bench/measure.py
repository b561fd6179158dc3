"""BPD against measured time on given images, the paper's Figures 7 and 8: archives are written, read back and compared.

Times are of one warm process, from pixels in memory to a file and back: model loading, kernel compilation and the
reading of image files are not in them, the choice among several models is.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bbcompress.archive.container import ArchiveFile
from bbcompress.bench.report import NET_SAMPLES, Data, NamedImages, Report, Row
from bbcompress.bench.schedule import Schedule
from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.blocks import blocks_of
from bbcompress.codecs.groups import decode_images
from bbcompress.codecs.rate import net_bits
from bbcompress.codecs.ways import FALLBACK, PARTS_NAME
from bbcompress.coder import kernel_cache
from bbcompress.errors import BBCError, FormatError, OutputExistsError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.images.image import PixelImage, binary_view
from bbcompress.images.kinds import kinds_of
from bbcompress.images.read import read_image
from bbcompress.limits import MAX_K, Limits
from bbcompress.models.base import Model
from bbcompress.models.cache import Models
from bbcompress.models.strips import Canvas, Strips
from bbcompress.models.zoo import Zoo
from bbcompress.pipeline import sources as files
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Summary
from bbcompress.system.machine import package_versions, processor_name
from bbcompress.training import datasets

DATA_SETS = {"mnist": ("mnist", False), "mnist-binary": ("mnist", True), "cifar10": ("cifar10", False)}
"""What `datasets.load` calls them, and whether they are made binary."""

DATA_SET_IMAGES = 1000
"""Test images of a data set that are taken where no number is given."""

WARM_UP_IMAGES, WARM_UP_PIXELS = 8, 1 << 20
"""Images of each kind to warm up on: so many, or fewer of so many pixels."""


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
        named = [(name, read_image(files.readable(path), str(path)).without_metadata()) for name, path, _ in found]
        name = paths[0] if len(paths) == 1 else f"{len(paths)} inputs"
        return Data(name.encode("utf-8", "replace").decode(), named)
    known, binary = DATA_SETS[data_set]
    pixels = datasets.load(known, data_dir, binary, quiet).test[: count or DATA_SET_IMAGES]
    mode, scale = "RGB" if known == "cifar10" else "L", np.uint8(255 if binary else 1)
    named = [(f"{number:04}.png", PixelImage(mode, image * scale)) for number, image in enumerate(pixels)]
    return Data(f"{data_set} (test)", named)


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
    with kernels_compiled_at_once():
        bench.warm_up()
        for repeat, (number, (encoder, k)) in product(
            range(schedule.repeats), enumerate(product(schedule.encoders, schedule.k))
        ):
            if repeat:
                rows[number] = bench.repeat(rows[number])
            else:
                rows.append(bench.row(encoder, k))
            if progress is not None:
                progress(rows[number])
    return Report(data, schedule, machine, rows)


class _Bench:
    """Measures row by row; models are loaded once."""

    def __init__(self, data: Data, schedule: Schedule) -> None:
        self._images, self._schedule = data.images, schedule
        self._subpixels = data.subpixels
        self._compressor = Compressor(schedule.options(schedule.encoders[0], schedule.k[0]))
        self._models = Models(Zoo(schedule.model), NumpyBackend())

    def warm_up(self) -> None:
        """Load all models that fit the images and whatever coding with and without K steps needs."""
        refined = [k for k in self._schedule.k if k]
        few = sorted({min(self._schedule.k), *refined[:1]})
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

    def row(self, encoder: str, k: int) -> Row:
        """Measure one row. Raises BBCError where the images do not come back."""
        with tempfile.TemporaryFile() as file:
            compress, decompress, summary = self._times(encoder, k, file)
            size = os.fstat(file.fileno()).st_size
            groups = self._describe_groups(file)
        return Row(
            encoder,
            k,
            size,
            8 * size / self._subpixels,
            self._net_rate(groups, encoder, k),
            (compress,),
            (decompress,),
            dict(sorted(summary.coders.items())),
            groups,
            _load_average(),
        )

    def repeat(self, row: Row) -> Row:
        """The row with the times of another archive beside its own. Raises BBCError as `row`."""
        with tempfile.TemporaryFile() as file:
            compress, decompress, _ = self._times(row.encoder, row.k, file)
        loads = [load for load in (row.load, _load_average()) if load is not None]
        return replace(
            row,
            compress=(*row.compress, compress),
            decompress=(*row.decompress, decompress),
            load=max(loads, default=None),
        )

    def _times(self, encoder: str, k: int, file: BinaryIO) -> tuple[float, float, Summary]:
        """Seconds an image for an archive of all images and back, through an empty file."""
        compress, summary = self._compress(self._images, encoder, k, file)
        decompress = self._read_back(self._images, f"{encoder}, K = {k}", file)
        return compress / len(self._images), decompress / len(self._images), summary

    def _compress(self, images: NamedImages, encoder: str, k: int, file: BinaryIO) -> tuple[float, Summary]:
        """Seconds that writing the archive took, and what was written."""
        self._compressor.options = self._schedule.options(encoder, k)
        begin = time.perf_counter()
        summary = self._compressor.archive(images, file)
        file.flush()
        return time.perf_counter() - begin, summary

    def _read_back(self, images: NamedImages, what: str, file: BinaryIO) -> float:
        """Seconds that reading the archive took, comparisons excluded. Raises BBCError where an image differs."""
        try:
            begin = time.perf_counter()
            reader = ArchiveFile(file)
            seconds = time.perf_counter() - begin
            same = list(reader.names) == [name for name, _ in images]
            for number, entry in enumerate(reader.groups):
                begin = time.perf_counter()
                decoded = decode_images(reader.read_group(number), self._models, Limits(k=MAX_K))
                seconds += time.perf_counter() - begin
                same = same and decoded == [images[position][1] for position in entry.positions]
        except FormatError:
            same = False
        if not same:
            raise BBCError(f"{what}: the images did not come back from the file as they were; please report this")
        return seconds

    def _describe_groups(self, file: BinaryIO) -> list[dict[str, Any]]:
        """What the headers of the groups say, as JSON values."""
        reader = ArchiveFile(file)
        groups: list[dict[str, Any]] = []
        for number in range(len(reader.groups)):
            group = reader.read_group(number)
            header, size = group.header, len(group.payload)
            if not header.by_model:
                name = FALLBACK if header.fallback else PARTS_NAME
                groups.append({"model": name, "images": header.count, "bytes": size})
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
                    "K": header.k,
                    "learning_rate": rate / 1e6 if header.k else None,
                    **({} if header.blocks else {"direct": header.direct, "batches": list(header.batches)}),
                }
            )
        return groups

    def _net_rate(self, groups: list[dict[str, Any]], encoder: str, k: int) -> float | None:
        """Net bits per sub-pixel, where one model coded all images and they are of one size."""
        ids = {group.get("id") for group in groups}
        if len(ids) > 1 or None in ids or len({image.pixels.shape for _, image in self._images}) > 1:
            return None
        vae = self._models.model(self._models.zoo.named(bytes.fromhex(groups[0]["id"]))[0])
        rate = self._schedule.options(encoder, k).coding.learning_rate or vae.weights.learning_rate
        codec = BitsBack(vae, encoder, k, rate)
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
def kernels_compiled_at_once() -> Iterator[None]:
    """No kernel is interpreted for its first symbols, lest it be compiled while a row is timed."""
    before = kernel_cache.MAX_INTERPRETED
    kernel_cache.MAX_INTERPRETED = -1
    try:
        yield
    finally:
        kernel_cache.MAX_INTERPRETED = before


def describe_machine() -> dict[str, Any]:
    """Processor, cores, system, versions, load average and today's date."""
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
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
