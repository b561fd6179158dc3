"""Section "Groups of several sizes" of docs/format.md."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .blocks import read_strip_layout
from .checkpoint import Checkpoint
from .message import Coding, Model, read_message
from .primitives import Cursor, check

Array = npt.NDArray[Any]


def read_several_sizes(
    data: bytes, coding: Coding, checkpoint: Checkpoint, model: Model, count: int, channels: int, checked: bytes
) -> list[Array]:
    """Groups of several sizes: its images."""
    check(2 <= count <= 2**16, "the number of images of several sizes")
    cursor = Cursor(data)
    sizes = read_sizes(cursor, count)
    check(len(set(sizes)) > 1, "images of several sizes that have one")
    check(sum(width * height for width, height in sizes) * channels <= 2**24, "too many sub-pixels in a group")
    checked += data[: cursor.at]
    tile = checkpoint.settings["tile"]
    layout = read_strip_layout(cursor, sum(-(-height // tile) for _, height in sizes))
    coding = replace(coding, lanes=layout[0], direct=layout[1], batches=layout[2], together=True)
    images = [np.zeros((height, width, channels), np.int64) for width, height in sizes]
    read_message(cursor.rest(), coding, checkpoint, model, images, checked)
    return images


def read_sizes(cursor: Cursor, count: int, side: int = 1024, most: int = 4) -> list[tuple[int, int]]:
    """Groups of several sizes: width and height of each image. most: bytes of a packed block for each."""
    form = cursor.byte()
    check(form <= 1, "a reserved form of sizes")
    listed = Cursor(cursor.packed(most * count)) if form == 1 else cursor
    sizes = [(listed.varint(1, side), listed.varint(1, side)) for _ in range(count)]
    if form == 1:
        listed.end()
    return sizes
