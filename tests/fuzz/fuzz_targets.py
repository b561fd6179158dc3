"""What is fuzzed, without a fuzzer: bytes are read, and anything but a result or a one-line BBCError is a finding."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from models_for_tests import models_in

from bbcompress.archive.container import ArchiveFile
from bbcompress.archive.file import BBCFile
from bbcompress.archive.lone import LoneFile, build_lone, parse_lone
from bbcompress.archive.manifest import MANIFEST, Manifest
from bbcompress.archive.names import name_fault
from bbcompress.archive.sharded import ShardedFile, ShardSource
from bbcompress.errors import BBCError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.images.image import PixelImage
from bbcompress.images.metadata import decode_metadata
from bbcompress.images.read import read_frames, read_image
from bbcompress.limits import Limits
from bbcompress.models.checkpoint import parse
from bbcompress.models.memory import refuse_large
from bbcompress.models.registry import model_of
from bbcompress.models.strips import Canvas, Strips
from bbcompress.pipeline.reader import Reader

MAX_PIXELS = 1 << 16
LIMITS = Limits(MAX_PIXELS)
"""So that an input is quickly done with: what is above is refused like anything too large."""

MODEL_MEMORY = 64 << 20
"""Bytes that a model of a few kilobytes may take, beside a multiple of its own."""

LISTED = 100
"""Images that are looked at where an archive claims many."""

SHARDED = Path(__file__).resolve().parents[1] / "golden" / "sharded"
"""The shards beside which a manifest is read."""

MANIFEST_MEMORY = 4 << 20
"""Bytes that a manifest and its shards may take, beside a multiple of its own."""

STEPS = 500
"""An input with more refinement steps, of all images together, is no finding: that many, a file may well ask for."""

Target = Callable[[bytes], None]


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except BBCError as error:
        assert str(error) and "\n" not in str(error), "an error of no line, or of several"


def container(data: bytes) -> None:
    """A .bbc file is opened, listed and read, but nothing is decoded."""
    with _refusals():
        group = parse_lone(data, LIMITS)
        assert build_lone(group, LIMITS) == data, "two files say the same"
        assert LoneFile(data, LIMITS).accounting().total == len(data)
        if group.metadata:
            decode_metadata(group.metadata, 1)
    for keep_going in (False, True):
        with _refusals():
            _look_into(ArchiveFile(io.BytesIO(data), LIMITS, keep_going), len(data))


def _look_into(archive: ArchiveFile, size: int) -> None:
    _look_at_images(archive)
    for number, entry in islice(enumerate(archive.groups), LISTED):
        assert 0 <= entry.offset <= entry.offset + entry.length <= size
        with _refusals():
            archive.read_header(number)
        with _refusals():
            group = archive.read_group(number)
            assert group.header.count == entry.count == len(entry.positions)
            if group.metadata:
                decode_metadata(group.metadata, group.header.count)
    for carried in archive.models:
        assert 0 < carried.start < carried.end <= size
        with _refusals():
            embedded = carried.read()
            assert embedded.id == carried.id
            _ = embedded.card, embedded.weights
    if archive.fault is None:
        with _refusals():
            assert archive.accounting().total == size


def _look_at_images(archive: BBCFile) -> None:
    names, times = archive.names, archive.times
    assert len(names) == len(times) == archive.image_count
    for position in islice(range(archive.image_count), LISTED):
        name = names[position]
        number, place = archive.locate(position)
        assert archive.groups[number].positions[place] == position
        _ = times[position]
        if name is not None:
            assert name_fault(name) is None
            assert archive.duplicate is not None or archive.find(name) == position


@cache
def _shards() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in SHARDED.glob("*.bbc")}


def _shard(file: str) -> BinaryIO:
    """A shard of the golden archive; no other file may be asked for but those of its folder."""
    assert file == Path(file).name and not set(file) & set("/\\:?#"), "a file elsewhere"
    if file not in _shards():
        raise FileNotFoundError(file)
    return io.BytesIO(_shards()[file])


def manifest(data: bytes) -> None:
    """A manifest is read, and then the shards that it names, as they are; memory has a limit."""
    _shards()
    tracemalloc.start()
    try:
        with _refusals():
            read = Manifest.decode(data)
            assert read.encode() == data, "two manifests say the same"
        for keep_going in (False, True):
            source = ShardSource(data, MANIFEST, _shard)
            with _refusals():
                archive = ShardedFile(source, LIMITS, keep_going)
                for number in range(len(archive.manifest.shards)):
                    with _refusals():
                        archive.shard(number)
                with _refusals():
                    _look_at_images(archive)
                for number, entry in islice(enumerate(archive.groups), LISTED):
                    with _refusals():
                        assert archive.read_group(number).header.count == entry.count == len(entry.positions)
                with _refusals():
                    list(islice(archive.faults(), LISTED))
                with _refusals():
                    archive.accounting()
                archive.description()
            source.close()
        assert tracemalloc.get_traced_memory()[1] < MANIFEST_MEMORY + 300 * len(data), "too much memory"
    finally:
        tracemalloc.stop()


def decode(data: bytes) -> None:
    """A .bbc file is decoded; what is damaged, as far as it can be."""
    for keep_going in (False, True):
        whole = False
        with _refusals():
            reader = Reader(io.BytesIO(data), models_in(), LIMITS, keep_going)
            whole = not keep_going
            with _refusals():
                list(islice(reader.entries(), LISTED))
            if _steps(reader) > STEPS:
                return
            for done in reader.each(_area):
                assert len(done.results) == (0 if done.error else len(done.positions))
                assert all(area <= MAX_PIXELS for area in done.results)
                with _refusals():
                    if done.error is not None:
                        raise done.error
        if whole:  # there is nothing to salvage
            break


def _steps(reader: Reader) -> int:
    """Refinement steps of all images of a file, as its headers say."""
    steps = 0
    for number in range(len(reader.groups)):
        with _refusals():
            header = reader.file.read_header(number)
            steps += header.k * header.count
    return steps


def _area(image: PixelImage) -> int:
    return image.width * image.height


def image_file(data: bytes) -> None:
    """An image file is read, its frames too."""
    with _refusals():
        image = read_image(data, "it", MAX_PIXELS)
        assert _area(image) <= MAX_PIXELS
    with _refusals():
        for image in islice(read_frames(data, "it", MAX_PIXELS), 4):
            assert _area(image) <= MAX_PIXELS


def model(data: bytes) -> None:
    """The weights of a checkpoint are read as a file carries them, and the networks made; memory has a limit."""
    tracemalloc.start()
    try:
        with _refusals():
            weights = parse(data, b"", "the model in the file", "its card")
            refuse_large(weights)
            built = model_of(weights, NumpyBackend())
            canvas = Canvas(1, *(weights.shape or (3, 5)), weights.channels, weights.tile)
            built.encode(built.prepare(Strips.all_of(canvas)), "rha")
        assert tracemalloc.get_traced_memory()[1] < MODEL_MEMORY + 300 * len(data), "too much memory"
    finally:
        tracemalloc.stop()


TARGETS: dict[str, Target] = {
    "container": container,
    "decode": decode,
    "images": image_file,
    "manifest": manifest,
    "model": model,
}
