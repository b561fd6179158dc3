"""Section "Index" of docs/format.md."""

from __future__ import annotations

from .names import read_names
from .primitives import Cursor, check, unzigzag
from .times import read_times


def read_index(data: bytes) -> tuple[list[tuple[int, int]], list[int], list[bytes] | None, list[int] | None]:
    """Index: length and images of each group; positions, names and times of the images."""
    cursor = Cursor(data)
    sizes = [(cursor.varint(7), cursor.varint(0, 2**20)) for _ in range(cursor.varint(1, 2**22))]
    for place, (_, images) in enumerate(sizes):
        behind = sizes[place + 1][1] if place + 1 < len(sizes) else 0
        check(images > 0 or behind > 0, "previews that are not before a group")
    count = sum(images for _, images in sizes)
    check(count <= 2**31, "too many images")
    names = read_names(cursor, count)
    positions = read_positions(cursor, count)
    times = None if cursor.at == len(data) else read_times(cursor, count)
    cursor.end()
    return sizes, positions, names, times


def read_positions(cursor: Cursor, count: int) -> list[int]:
    """Index: positions, group by group."""
    form = cursor.byte()
    check(form <= 2, "a reserved form of positions")
    if form == 0:
        return list(range(count))
    packed = Cursor(cursor.packed(4 * count)) if form == 2 else cursor
    positions: list[int] = []
    for _ in range(count):
        positions.append((positions[-1] + 1 if positions else 0) + unzigzag(packed.varint()))
    if form == 2:
        packed.end()
    check(sorted(positions) == list(range(count)), "positions that are not each once")
    return positions
