"""Compiled loops over compressed strips of a TIFF: where their codes end, which no library tells.

data: the strips one behind the other, and `SPARE_BYTES` more. starts, ends: of each strip, in bytes. sizes: the bytes
that each has when it is decompressed. stops: gets for each where the codes of these bytes end, or -1 where they go
beyond the strip, or are none, or -2 where they give more bytes than that.
"""

from __future__ import annotations

from typing import Any

from bbcompress.coder.kernel_cache import kernel

SPARE_BYTES = 8
_CLEAR, _END, _FIRST = 256, 257, 258
_CODES = 4096


@kernel
def follow_packbits(data: Any, starts: Any, ends: Any, sizes: Any, stops: Any) -> None:
    """PackBits: a count, and one byte that is repeated or so many bytes."""
    for strip in range(len(starts)):
        at = starts[strip]
        end = ends[strip]
        left = sizes[strip]
        while left > 0 and at < end:
            count = data[at]
            if count < 128:
                left -= count + 1
                at += count + 2
            elif count > 128:
                left -= 257 - count
                at += 2
            else:
                at += 1
        stops[strip] = -1 if left > 0 or at > end else -2 if left < 0 else at


@kernel
def follow_lzw(data: Any, starts: Any, ends: Any, sizes: Any, stops: Any, lengths: Any) -> None:
    """LZW with the first bit of a byte first.

    Args:
        lengths: room for the lengths of all `_CODES` strings.
    """
    for strip in range(len(starts)):
        bit = starts[strip] * 8
        end = ends[strip] * 8
        left = sizes[strip]
        free, width, before = _FIRST, 9, 0
        while True:
            if bit + width > end:
                if left > 0:
                    bit = -8
                break
            at = bit >> 3
            code = ((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]) >> (24 - width - (bit & 7))
            code &= (1 << width) - 1
            if left <= 0 and code != _END:
                break
            bit += width
            if code == _END:
                if left > 0:
                    bit = -8
                break
            if code == _CLEAR:
                free, width, before = _FIRST, 9, 0
                continue
            if before == 0 or code < _CLEAR:
                length = 1
            elif code < free:
                length = lengths[code]
            else:
                length = before + 1
            if code > free or (before == 0 and code > _CLEAR):
                bit = -8
                break
            if before > 0 and free < _CODES:
                lengths[free] = before + 1
                free += 1
                if free >= (1 << width) - 1 and width < 12:
                    width += 1
            before = length
            left -= length
        stops[strip] = -1 if bit < 0 else -2 if left < 0 else (bit + 7) >> 3
