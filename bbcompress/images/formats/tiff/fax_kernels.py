"""A compiled loop over fax codes (T.4 and T.6): it follows them row by row, and keeps nothing but where colours change.

data, starts, ends: as in `kernels`. rows: of each strip. stops: gets for each strip where its codes end, an end of
the block included, or -1 where these are none, or go beyond the strip.

width: pixels of a row. kind: one of `ROWS_ALONE` (TIFF's compression 2), `LINES`, `LINES_AND_DIFFERENCES` (3) and
`DIFFERENCES` (4). white, black: of the next 13 bits the run that they begin with, and 65536 times the length of its
code; 0 where they begin with none. before, now: room for `width` + 8 places.
"""

from __future__ import annotations

from typing import Any

from bbcompress.coder.kernel_cache import inline, kernel

ROWS_ALONE, LINES, LINES_AND_DIFFERENCES, DIFFERENCES = range(4)
SPARE_BYTES = 8


@inline
def peek(data: Any, bit: int) -> int:
    """The 16 bits that begin there."""
    at = bit >> 3
    return (((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]) >> (8 - (bit & 7))) & 0xFFFF  # type: ignore[no-any-return]


@inline
def follow_run(data: Any, bit: int, end: int, table: Any) -> tuple[int, int]:
    """Behind the codes of a run, and its length; -1 for none."""
    total = 0
    while bit <= end:
        entry = table[peek(data, bit) >> 3]
        if entry == 0:
            return -1, 0
        bit += entry >> 16
        run = entry & 0xFFFF
        total += run
        if run < 64:
            return bit, total
    return -1, 0


@inline
def follow_end_of_line(data: Any, bit: int, end: int) -> int:
    """Behind eleven zeros or more, and a one; -1 where they do not stand there."""
    start = bit
    while bit < end and peek(data, bit) < 0x8000:
        bit += 1
    return bit + 1 if bit < end and bit - start >= 11 else -1


@inline
def follow_alone(data: Any, bit: int, end: int, width: int, white: Any, black: Any, now: Any) -> int:
    """Behind a row of runs; now: gets where colours change. -1 where the codes are none of a row."""
    a = 0
    count = 0
    while a < width:
        bit, run = follow_run(data, bit, end, white if count & 1 == 0 else black)
        a += run
        if bit < 0 or a > width:
            return -1
        now[count] = a
        count += 1
        if count > width + 1:  # runs of nothing, again and again
            return -1
    for number in range(4):
        now[count + number] = width
    return bit


@inline
def follow_differences(data: Any, bit: int, end: int, width: int, white: Any, black: Any, before: Any, now: Any) -> int:
    """Behind a row that is told by its differences from the one before, as :func:`follow_alone`."""
    a = -1
    count = 0
    b = 0  # the first change of that row behind a, to the other colour, is its change number b
    while a < width:
        if bit > end or count > width + 1:
            return -1
        code = peek(data, bit)
        shift = 9
        if code >= 0x8000:
            bit += 1
            shift = 0
        elif code >= 0x4000:
            bit += 3
            shift = 1 if code >= 0x6000 else -1
        elif code >= 0x2000:
            start = max(a, 0)
            bit, first = follow_run(data, bit + 3, end, white if count & 1 == 0 else black)
            if bit < 0:
                return -1
            bit, second = follow_run(data, bit, end, black if count & 1 == 0 else white)
            a = start + first + second
            if bit < 0 or a > width:
                return -1
            now[count] = start + first
            now[count + 1] = a
            count += 2
        elif code >= 0x1000:
            bit += 4
            a = before[b + 1]
        elif code >= 0x0800:
            bit += 6
            shift = 2 if code >= 0x0C00 else -2
        elif code >= 0x0400:
            bit += 7
            shift = 3 if code >= 0x0600 else -3
        else:
            return -1
        if shift < 9:
            place = before[b] + shift
            if place < a or place < 0 or place > width:
                return -1
            a = place
            now[count] = a
            count += 1
            b = b - 1 if b > 0 else 1
        while before[b] <= a and before[b] < width:
            b += 2
    for number in range(4):
        now[count + number] = width
    return bit


@kernel
def follow_fax(
    data: Any, starts: Any, ends: Any, rows: Any, stops: Any, width: int, kind: int, white: Any, black: Any,
    before: Any, now: Any,
) -> None:  # fmt: skip
    """Strips of fax codes; see above."""
    for strip in range(len(starts)):
        bit = starts[strip] * 8
        end = ends[strip] * 8
        for number in range(4):
            before[number] = width
        for _ in range(rows[strip]):
            differs = kind == 3
            if kind == 0:
                bit = (bit + 7) >> 3 << 3
            elif kind < 3:
                bit = follow_end_of_line(data, bit, end)
                if bit < 0:
                    break
                if kind == 2:
                    differs = peek(data, bit) < 0x8000
                    bit += 1
            if differs:
                bit = follow_differences(data, bit, end, width, white, black, before, now)
            else:
                bit = follow_alone(data, bit, end, width, white, black, now)
            if bit < 0 or bit > end:
                bit = -1
                break
            before, now = now, before
        while bit >= 0 and kind > 0:
            behind = follow_end_of_line(data, bit, end)
            if behind < 0:
                break
            bit = behind + (1 if kind == 2 else 0)
        stops[strip] = -1 if bit < 0 else min((bit + 7) >> 3, end >> 3)
