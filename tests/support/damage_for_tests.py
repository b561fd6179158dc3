"""Small files of every kind, what may come of them once they are damaged, and ways to damage them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
from models_for_tests import models_in

from bbcompress.archive.container import ArchiveFile
from bbcompress.errors import BBCError
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.metadata import EXIF, TEXT, Record
from bbcompress.images.read import read_image
from bbcompress.models.cache import Models
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Item, Options
from bbcompress.pipeline.reader import Reader

DATA = Path(__file__).resolve().parents[1] / "data"
MASKS = (0x01, 0x80, 0xFF)

Content = list[tuple[str | None, PixelImage]]


def compressor_of(k: int | None = None, models: Models | None = None) -> Compressor:
    """What makes the files: with the tiny models, where no others are given."""
    return Compressor(Options(k=k), models or models_in())


def reader_of(data: bytes | bytearray, models: Models | None = None, keep_going: bool = False) -> Reader:
    """What reads them, with the same models."""
    return Reader(io.BytesIO(data), models or models_in(), keep_going=keep_going)


def content(data: bytes, models: Models | None = None) -> Content:
    """All that is in a file. Raises BBCError."""
    reader = reader_of(data, models)
    found = dict(reader.images())
    return [(name, found[position]) for position, name in enumerate(reader.names)]


def check(damaged: bytes, expected: Content) -> bool:
    """The file gives just the expected images, or a BBCError of one line; says whether the former."""
    try:
        found = content(damaged)
    except BBCError as error:
        assert str(error)
        assert "\n" not in str(error)
        return False
    assert found == expected
    return True


def digits(kind: str, *numbers: int) -> list[PixelImage]:
    return [read_image(DATA / "digits" / kind / f"{number:04}.png") for number in numbers]


def lone(image: PixelImage, models: Models | None = None) -> bytes:
    return compressor_of(models=models).lone(image)[0]


def annotated(image: PixelImage, text: bytes) -> PixelImage:
    return replace(image, metadata=(Record(EXIF, b"MM\0*"), Record(TEXT, b"Comment\0" + text)))


def archive(k: int = 0) -> bytes:
    """Five binary digits, one image that no model fits, names."""
    file = io.BytesIO()
    images = [*digits("binary", *range(3)), from_array(np.arange(12, dtype=np.uint8).reshape(3, 4))]
    images += digits("binary", 3, 4)
    named = [(f"{number}.png" if number else "first é.png", image) for number, image in enumerate(images)]
    compressor_of(k).archive(named, file)
    return file.getvalue()


def archive_with_metadata() -> bytes:
    """Two of three digits have some."""
    file = io.BytesIO()
    first, second, third = digits("binary", 5, 6, 7)
    named = [("a", annotated(first, b"one")), ("b", second), ("c", annotated(third, b"two"))]
    compressor_of().archive(named, file)
    return file.getvalue()


def grown() -> tuple[bytes, bytes]:
    """An archive with times, and what adding to it twice made of it."""
    images = [*digits("binary", *range(3)), from_array(np.arange(12, dtype=np.uint8).reshape(3, 4))]
    file = io.BytesIO()
    compressor_of().archive([Item(f"{n}.png", image, 10**9 + n // 2) for n, image in enumerate(images)], file)
    first = file.getvalue()
    for name, times in (("more", (7, 7)), ("last", (-(1 << 34), 1 << 36))):
        added = [Item(f"{name}/{n}.png", images[n], time) for n, time in enumerate(times)]
        compressor_of().add(added, ArchiveFile(file), file)
    return first, file.getvalue()


def large(segments: int = 3, images: int = 8, side: int = 24) -> bytes:
    """An archive to which was added, of some 30 kB: segments of three groups each, stored and coded, with names."""
    file = io.BytesIO()
    random = np.random.default_rng(0)
    for segment in range(segments):
        items = []
        for number in range(images):
            name = f"{segment}/{random.integers(1 << 62):x}-{number}.png"
            shape = (side, side, 3) if number % 3 else (side + 9, 2 * side)
            items.append(Item(name, from_array(random.integers(0, 256, shape, np.uint8)), 10**9 + number))
        items += [Item(f"{segment}/digit-{n}.png", image, 7) for n, image in enumerate(digits("binary", *range(5)))]
        if segment:
            compressor_of().add(items, ArchiveFile(file), file)
        else:
            compressor_of().archive(items, file)
    return file.getvalue()


BLOCK_FAULTS: dict[str, Callable[[bytes, int, int, Random], bytes]] = {
    "burst": lambda data, at, size, random: data[:at] + random.randbytes(len(data[at : at + size])) + data[at + size :],
    "zeros": lambda data, at, size, _: data[:at] + bytes(len(data[at : at + size])) + data[at + size :],
    "cut out": lambda data, at, size, _: data[:at] + data[at + size :],
    "cut off": lambda data, at, size, _: data[:at],
    "doubled": lambda data, at, size, _: data[: at + size] + data[at:],
    "inserted": lambda data, at, size, random: data[:at] + random.randbytes(size) + data[at:],
    "swapped": lambda data, at, size, random: _swapped(data, at, random.randrange(len(data)), size),
}
"""What happens to blocks of a file: its bytes, the block's first byte and its size to other bytes."""


def _swapped(data: bytes, one: int, other: int, size: int) -> bytes:
    first, second = sorted((min(one, len(data) - size), min(other, len(data) - size)))
    if first + size > second:
        return data
    between = data[first + size : second]
    return data[:first] + data[second : second + size] + between + data[first : first + size] + data[second + size :]


def block_damages(data: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """So many faults of blocks of 512 and 4096 bytes, of each kind in turn, at places of any kind: half of them at a
    multiple of the size, as on a disk."""
    random = Random(seed)
    kinds = list(BLOCK_FAULTS)
    for number in range(count):
        kind, size = kinds[number % len(kinds)], random.choice([512, 4096])
        at = random.randrange(len(data))
        damaged = BLOCK_FAULTS[kind](data, at - at % size if random.random() < 0.5 else at, size, random)
        if damaged != data:
            yield kind, damaged


RIGHT, REFUSED_ALL, LOUD, NOTED, CUT = "right", "refused", "fewer, with an error", "fewer, with a note", "cut off"


def block_outcome(damaged: bytes, original: bytes, expected: Content) -> str:
    """What comes of reading a damaged archive: all images, a refusal, fewer with errors, fewer with a note alone.

    Apart from these: what is cut off just where a segment ends, which is an archive as well. Raises AssertionError for
    other images or names.
    """
    try:
        reader = reader_of(damaged)
        done = list(reader.each(lambda image: image))
    except BBCError as error:
        assert str(error) and "\n" not in str(error)
        return REFUSED_ALL
    found = {position: image for one in done for position, image in zip(one.positions, one.results, strict=False)}
    for position, image in found.items():
        assert (reader.names[position], image) == expected[position]
    if len(found) == len(expected):
        return RIGHT
    if any(one.error is not None for one in done):
        return LOUD
    return CUT if damaged == original[: len(damaged)] else NOTED


FILES: dict[str, Callable[[], bytes]] = {
    "archive": archive,
    "archive, K = 2": lambda: archive(2),
    "lone binary": lambda: lone(digits("binary", 0)[0]),
    "archive with metadata": archive_with_metadata,
    "lone binary with metadata": lambda: lone(annotated(digits("binary", 8)[0], b"hello")),
    "lone binary with packed metadata": lambda: lone(annotated(digits("binary", 8)[0], bytes(range(32, 64)) * 5)),
    "lone fallback of 16 bits": lambda: lone(from_array(np.arange(24, dtype=np.uint16).reshape(2, 3, 4) * 2500)),
    "lone binary of other levels": lambda: lone(from_array(digits("binary", 1)[0].pixels // 255 + 7)),
    "lone grey": lambda: lone(digits("grey", 2)[0]),
    "lone fallback, raw": lambda: lone(from_array(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))),
    "lone fallback, WebP": lambda: lone(from_array(np.full((9, 30, 3), 200, np.uint8))),
    "lone fallback, PNG": lambda: lone(PixelImage("P", np.eye(30, dtype=np.uint8), palette=bytes(6))),
}
"""Files that are quickly read: by the models of two levels and of grey, and by the fallbacks."""
