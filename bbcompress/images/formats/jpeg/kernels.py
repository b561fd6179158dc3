"""Compiled loops over the scans of a JPEG: they follow its codes, and keep nothing of the pixels.

data: bytes of a scan, without markers and stuffing, `SPARE_BYTES` more at the end. starts, ends: of its parts between
restart markers, in bytes. interval: blocks (or MCUs) of a part. tables: one behind the other, `TABLE_SIZE` entries for
each; an entry stands for the next 16 bits: 256 times the length of the code that they begin with, and its symbol;
0 where they begin with none.

Each kernel returns how many whole bytes are left behind the last codes, or -1 where the codes are none, or go beyond
their part. A block has at most 64 symbols of 31 bits, so that nothing is read behind the spare bytes.
"""

from __future__ import annotations

from typing import Any

from bbcompress.coder.kernel_cache import inline, kernel

SPARE_BYTES = 512
TABLE_SIZE = 1 << 16


@inline
def peek(data: Any, bit: int) -> int:
    """The 16 bits that begin there."""
    at = bit >> 3
    return (((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]) >> (8 - (bit & 7))) & 0xFFFF  # type: ignore[no-any-return]


@kernel
def follow_sequential(
    data: Any, starts: Any, ends: Any, interval: int, mcus: int, dc: Any, ac: Any, tables: Any
) -> int:
    """A scan of a sequential JPEG.

    Args:
        dc, ac: of each block of an MCU, where its tables begin.
    """
    extra = 0
    for part in range(len(starts)):
        bit = starts[part] * 8
        end = ends[part] * 8
        count = min(interval, mcus)
        mcus -= count
        for _ in range(count):
            for block in range(len(dc)):
                code = tables[dc[block] + peek(data, bit)]
                if code == 0 or code & 0xF0:
                    return -1
                bit += (code >> 8) + (code & 15)
                k = 1
                while k < 64:
                    code = tables[ac[block] + peek(data, bit)]
                    if code == 0:
                        return -1
                    run, size = (code >> 4) & 15, code & 15
                    bit += (code >> 8) + size
                    if size == 0 and run < 15:
                        if run > 0:
                            return -1
                        break  # the end of the block
                    k += run + 1
                    if k > 64:
                        return -1
                if bit > end:
                    return -1
        extra += (end - bit) >> 3
    return extra


@kernel
def follow_dc(data: Any, starts: Any, ends: Any, interval: int, mcus: int, dc: Any, refines: int, tables: Any) -> int:
    """A scan of the first coefficients of a progressive JPEG.

    Args:
        refines: 1 where it adds a bit to each, else 0.
    """
    extra = 0
    for part in range(len(starts)):
        bit = starts[part] * 8
        end = ends[part] * 8
        count = min(interval, mcus)
        mcus -= count
        if refines == 1:
            bit += count * len(dc)
            count = 0
            if bit > end:
                return -1
        for _ in range(count):
            for block in range(len(dc)):
                code = tables[dc[block] + peek(data, bit)]
                if code == 0 or code & 0xF0:
                    return -1
                bit += (code >> 8) + (code & 15)
                if bit > end:
                    return -1
        extra += (end - bit) >> 3
    return extra


@kernel
def follow_ac(
    data: Any, starts: Any, ends: Any, interval: int, blocks: int, first: int, last: int, refines: int, known: Any,
    table: Any,
) -> int:  # fmt: skip
    """A scan of the coefficients `first` to `last` of a component of a progressive JPEG.

    Args:
        refines: 1 where it adds a bit to each, else 0.
        known: of each block (int64) the coefficients that are not 0 yet, coefficient k as bit k - 1; those of this scan
            are added.
    """
    extra = 0
    number = 0
    for part in range(len(starts)):
        bit = starts[part] * 8
        end = ends[part] * 8
        stop = min(blocks, number + interval)
        run_of_ends = 0
        while number < stop:
            mask = known[number]
            k = first
            while run_of_ends == 0 and k <= last:
                code = table[peek(data, bit)]
                if code == 0:
                    return -1
                run, size = (code >> 4) & 15, code & 15
                bit += code >> 8
                if size == 0 and run < 15:
                    run_of_ends = (1 << run) + (peek(data, bit) >> (16 - run))
                    bit += run
                    break
                if refines == 0:
                    bit += size
                    k += run
                    if k > last:
                        return -1
                else:
                    if size > 1:
                        return -1
                    bit += size
                    while k <= last:
                        if (mask >> (k - 1)) & 1:
                            bit += 1
                        elif run == 0:
                            break
                        else:
                            run -= 1
                        k += 1
                    if k > last and size == 1:
                        return -1
                if size > 0:
                    mask |= 1 << (k - 1)
                k += 1
            if run_of_ends > 0:
                if refines == 1:
                    while k <= last:
                        bit += (mask >> (k - 1)) & 1
                        k += 1
                run_of_ends -= 1
            if bit > end:
                return -1
            known[number] = mask
            number += 1
        if run_of_ends > 0:
            return -1
        extra += (end - bit) >> 3
    return extra
