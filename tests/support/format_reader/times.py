"""Section "Times" of docs/format.md."""

from __future__ import annotations

from .primitives import Cursor, check, unzigzag


def read_times(cursor: Cursor, count: int) -> list[int]:
    """Times, in the order of the positions."""
    form, times = cursor.byte(), [0]
    check(form in (1, 2), "a reserved form of times")
    if form == 1:
        while len(times) <= count:
            time = times[-1] + unzigzag(cursor.varint())
            times += [time] * cursor.varint(1, count + 1 - len(times))
    else:
        packed = Cursor(cursor.packed(6 * count))
        for _ in range(count):
            times.append(times[-1] + unzigzag(packed.varint()))
        packed.end()
    check(all(-(2**35) <= time < 2**37 for time in times), "a time beyond its limits")
    return times[1:]
