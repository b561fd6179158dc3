"""Section "Images in parts" of docs/format.md."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .container import Group, read_group_start
from .fallback import MODES, Picture
from .index import read_positions
from .primitives import Cursor, check

PARTS = {2: ["L", "L"], 5: ["RGB", "L"]}


def read_parts(group: Group, read: Callable[[Group], list[Picture]]) -> list[Picture]:
    """Images in parts: the images of a group. read: gives those of a group that is not in parts."""
    assert group.header.parts is not None
    cursor = Cursor(group.payload)
    found: list[list[Picture]] = [[] for _ in range(group.count)]
    for mode in PARTS[group.header.parts]:
        pictures: list[Picture] = []
        while len(pictures) < group.count:
            inner = Cursor(cursor.take(cursor.varint()))
            part = read_group_start(inner)
            check(part.header.parts is None and not part.header.metadata, "a part with parts or metadata")
            check(len(pictures) + part.count <= group.count, "too many images of a part")
            part.payload = inner.rest()
            pictures += read(part)
        check(all(one.file is None and not one.transparency for one in pictures), "a part that is no plain image")
        check(all(one.mode == mode for one in pictures), "the mode of a part")
        positions = read_positions(cursor, group.count) if group.count > 1 else [0]
        for position, picture in zip(positions, pictures, strict=True):
            found[position].append(picture)
    cursor.end()
    for first, second in found:
        check(first.samples.shape[:2] == second.samples.shape[:2], "parts of different sizes")
    mode = MODES[group.header.parts]
    return [Picture(mode, np.dstack([part.samples for part in parts])) for parts in found]
