"""Compressed strips and tiles of a TIFF, followed to where their codes end: what is behind belongs to no pixel."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from typing import Any

import numpy as np

from bbcompress.coder.kernel_cache import Kernel
from bbcompress.errors import ImageError
from bbcompress.images.formats.jpeg.scans import run_for
from bbcompress.images.formats.tiff import fax
from bbcompress.images.formats.tiff.fax_kernels import follow_fax
from bbcompress.images.formats.tiff.kernels import SPARE_BYTES, follow_lzw, follow_packbits

LZW, PACKBITS, LZMA, ZSTD = 5, 32773, 34925, 50000
_ZSTD_START = b"\x28\xb5\x2f\xfd"
_RUN = 1  # a kind of zstd's blocks
_MOST_ASKED = 1 << 12
"""Frames of zstd without a stated size that are decompressed once more: that takes long for small ones."""
_AT_ONCE = 1 << 20


Holds = Callable[[bytes, int], bool]
"""Whether a strip, as a library decompresses it, holds so many bytes."""


def is_more_to_ask(compression: int, strips: list[bytes]) -> bool:
    """Whether there are strips that `is_more` does not ask for, of those that only a library knows the length of.

    These are all of the old LZW, and more than so many of zstd.
    """
    if compression == LZW:
        return any(map(_is_old_lzw, strips))
    return compression == ZSTD and sum(not _counted(strip) for strip in strips) > _MOST_ASKED


def _counted(strip: bytes) -> int:
    """Bytes in which a frame of zstd says how many it holds."""
    flags = strip[4]
    return (flags >> 5 & 1, 2, 4, 8)[flags >> 6]


def is_more(compression: int, strips: list[bytes], sizes: list[int], holds: Holds) -> bool:
    """Whether strips that a library has decompressed hold more, other than zeros, than so many bytes in each.

    Raises:
        ImageError: one is cut short, which libraries do not always say.
    """
    if compression == LZMA:
        return any([_is_more_lzma(strip, size) for strip, size in zip(strips, sizes, strict=True)])
    if compression == ZSTD:
        asked = 0
        more = False
        for strip, size in zip(strips, sizes, strict=True):
            more |= _is_more_zstd(strip, size)
            if not _counted(strip) and asked < _MOST_ASKED:
                asked += 1
                more |= holds(strip, size + 1)
        return more
    if compression == LZW:
        chosen = [number for number, strip in enumerate(strips) if not _is_old_lzw(strip)]
        strips, sizes = [strips[number] for number in chosen], [sizes[number] for number in chosen]
        return bool(strips) and _is_more(follow_lzw, strips, sizes, np.zeros(4096, np.int64))
    return compression == PACKBITS and _is_more(follow_packbits, strips, sizes)


def _is_old_lzw(strip: bytes) -> bool:
    """Whether it is of the first programs, which had the last bit of a byte first."""
    return len(strip) > 1 and strip[0] == 0 and bool(strip[1] & 1)


def is_more_fax(kind: int, width: int, strips: list[bytes], rows: list[int]) -> bool:
    """The same for strips of fax codes: of a kind that `fax_kernels` has, of so many rows each."""
    places = np.zeros(width + 8, np.int64), np.zeros(width + 8, np.int64)
    return _is_more(follow_fax, strips, rows, width, kind, *fax.tables(), *places)


def _is_more(kernel: Kernel, strips: list[bytes], sizes: list[int], *others: Any) -> bool:
    joined = b"".join((*strips, bytes(SPARE_BYTES)))
    lengths = np.array([len(strip) for strip in strips], np.int64)
    ends = np.cumsum(lengths)
    stops = np.empty(len(strips), np.int64)
    data = np.array(bytearray(joined), np.uint8)
    arguments = (data, ends - lengths, ends, np.array(sizes, np.int64), stops, *others)
    run_for(kernel, len(joined))(*arguments)
    if bool((stops == -1).any()):
        raise ImageError("is cut short or damaged: a strip or tile lacks pixels")
    if bool((stops == -2).any()):
        return True
    behind = zip(stops.tolist(), ends.tolist(), strict=True)
    return any(joined.count(0, stop, end) < end - stop for stop, end in behind)


def _is_more_lzma(strip: bytes, size: int) -> bool:
    """Of a stream of xz."""
    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    left = size
    try:
        part = stream.decompress(strip, min(left + 1, _AT_ONCE))
        while True:
            left -= len(part)
            if left < 0:
                return True
            if stream.eof:
                break
            if stream.needs_input:
                raise ImageError("is cut short or damaged: a strip or tile does not end")
            part = stream.decompress(b"", min(left + 1, _AT_ONCE))
    except lzma.LZMAError as error:
        raise ImageError("is damaged: a strip or tile cannot be decompressed") from error
    if left > 0:
        raise ImageError("is cut short or damaged: a strip or tile has too few bytes")
    return bool(stream.unused_data.strip(b"\0"))


def _is_more_zstd(strip: bytes, size: int) -> bool:
    """Of a frame of zstd, as far as it says how many bytes it holds."""
    if not strip.startswith(_ZSTD_START) or len(strip) < 6:
        raise ImageError("is damaged: a strip or tile cannot be decompressed")
    flags = strip[4]
    single = flags >> 5 & 1
    at = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
    counted = _counted(strip)
    content = int.from_bytes(strip[at : at + counted], "little") + (256 if counted == 2 else 0)
    at += counted
    while at + 3 <= len(strip):
        header = int.from_bytes(strip[at : at + 3], "little")
        at += 3 + (1 if header >> 1 & 3 == _RUN else header >> 3)
        if header & 1:
            at += 4 * (flags >> 2 & 1)
            if at <= len(strip):
                return (counted > 0 and content > size) or bool(strip[at:].strip(b"\0"))
            break
    raise ImageError("is cut short or damaged: a strip or tile does not end")
