"""Small files of every kind, what may come of them once they are damaged, and ways to damage them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

from bbcompress.archive.container import ArchiveReader
from bbcompress.archive.groups import ModelCache
from bbcompress.compressor import Compressor
from bbcompress.errors import BBCError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.images import PixelImage, from_array, read_image
from bbcompress.metadata import EXIF, TEXT, Record
from bbcompress.models.zoo import Zoo
from bbcompress.options import Item, Options
from bbcompress.reader import Reader

DATA = Path(__file__).resolve().parent / "data"
MODELS = DATA / "models"
MASKS = (0x01, 0x80, 0xFF)

Content = list[tuple[str | None, PixelImage]]


@contextmanager
def one_cache(models: Path = MODELS) -> Iterator[None]:
    """The models are loaded once for all files, not once for each."""
    cache = ModelCache(Zoo(models), NumpyBackend())
    with mock.patch("bbcompress.options.ModelCache", lambda *_: cache):
        yield


def content(data: bytes) -> Content:
    """All that is in a file. Raises BBCError."""
    reader = Reader(io.BytesIO(data))
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


def lone(image: PixelImage) -> bytes:
    return Compressor().lone(image)[0]


def annotated(image: PixelImage, text: bytes) -> PixelImage:
    return replace(image, metadata=(Record(EXIF, b"MM\0*"), Record(TEXT, b"Comment\0" + text)))


def archive(steps: int = 0) -> bytes:
    """Five binary digits, one image that no model fits, names."""
    file = io.BytesIO()
    images = [*digits("binary", *range(3)), from_array(np.arange(12, dtype=np.uint8).reshape(3, 4))]
    images += digits("binary", 3, 4)
    named = [(f"{number}.png" if number else "first é.png", image) for number, image in enumerate(images)]
    Compressor(Options(steps=steps)).archive(named, file)
    return file.getvalue()


def archive_with_metadata() -> bytes:
    """Two of three digits have some."""
    file = io.BytesIO()
    first, second, third = digits("binary", 5, 6, 7)
    named = [("a", annotated(first, b"one")), ("b", second), ("c", annotated(third, b"two"))]
    Compressor().archive(named, file)
    return file.getvalue()


def grown() -> tuple[bytes, bytes]:
    """An archive with times, and what adding to it twice made of it."""
    images = [*digits("binary", *range(3)), from_array(np.arange(12, dtype=np.uint8).reshape(3, 4))]
    file = io.BytesIO()
    Compressor().archive([Item(f"{n}.png", image, 10**9 + n // 2) for n, image in enumerate(images)], file)
    first = file.getvalue()
    for name, times in (("more", (7, 7)), ("last", (-(1 << 34), 1 << 36))):
        added = [Item(f"{name}/{n}.png", images[n], time) for n, time in enumerate(times)]
        Compressor().add(added, ArchiveReader(file), file)
    return first, file.getvalue()


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
