"""The worst inputs that are known of each reader, and how their cost in processor time grows with their size."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bbcompress.errors import BBCError
from bbcompress.images import from_array, read_image
from bbcompress.writers import write_png

REPEATS = 3


@dataclass(frozen=True)
class Workload:
    """An input that grows.

    n: the size at which the cost is measured, and at twice it; large enough for some tens of milliseconds.
    prepare: takes a size and an empty folder, makes the input, and returns the function whose cost is measured.
    unit: what n counts.
    """

    name: str
    n: int
    unit: str
    prepare: Callable[[int, Path], Callable[[], object]]


def cost(workload: Workload, n: int, folder: Path) -> float:
    """Processor seconds (user and system, of this process) of the workload at size n: the least of `REPEATS` runs."""
    folder.mkdir(parents=True)
    run = workload.prepare(n, folder)
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return min(seconds)


def reading(data: bytes) -> Callable[[], object]:
    """A function that reads the bytes of an image file; that it is refused is no error here."""

    def run() -> None:
        with suppress(BBCError):
            read_image(data)

    return run


def _chunks_of_a_png(n: int, _: Path) -> Callable[[], object]:
    chunk = b"tEXtA\0"
    text = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    image = write_png(from_array(np.zeros((4, 4), np.uint8)))
    return reading(image[:33] + n * text + image[33:])


WORKLOADS = [
    Workload("PNG, short texts", 20_000, "chunks", _chunks_of_a_png),
]
