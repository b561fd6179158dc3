"""Section "Blocks" of docs/format.md."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .checkpoint import Checkpoint
from .message import Begin, Coding, read_message
from .primitives import Cursor, check, varint

Array = npt.NDArray[Any]
LONGEST = 1024


def read_blocks(
    data: bytes, coding: Coding, checkpoint: Checkpoint, begin: Begin, x: Array, checked: bytes, longest: int = LONGEST
) -> None:
    """Blocks: the messages of a group's blocks, into x."""
    images, height, width, channels = x.shape
    check(images == 1 or x.size <= 2**24, "too many sub-pixels in a group")
    tile = checkpoint.settings["tile"]
    places = [(y, x) for y in cuts(height, tile, longest) for x in cuts(width, tile, longest)]
    cursor = Cursor(data)
    for number, (rows, columns) in enumerate(places):
        count = images * -(-(rows.stop - rows.start) // tile)
        lanes, direct, batches = read_strip_layout(cursor, count)
        last = number == len(places) - 1
        message = cursor.rest() if last else cursor.take(cursor.varint())
        block = np.zeros((images, rows.stop - rows.start, columns.stop - columns.start, channels), np.int64)
        model, learn = begin()
        of_block = replace(coding, lanes=lanes, direct=direct, batches=batches, learn=learn)
        read_message(message, of_block, checkpoint, model, list(block), checked + varint(number))
        x[:, rows, columns] = block


def read_strip_layout(cursor: Cursor, count: int) -> tuple[int, int, list[int]]:
    """Blocks: lanes, strips coded directly, and batches of strips."""
    lanes, direct = cursor.varint(1, 1024), cursor.varint(0, count)
    batches: list[int] = []
    while direct + sum(batches) < count:
        batches.append(cursor.varint(1, count - direct - sum(batches)))
    return lanes, direct, batches


def cuts(length: int, tile: int, longest: int) -> list[slice]:
    """Blocks: rows or columns of each."""
    count = -(-length // longest)
    side = tile * -(-length // (tile * count))
    return [slice(start, min(start + side, length)) for start in range(0, length, side)]
