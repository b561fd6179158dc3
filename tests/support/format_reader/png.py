"""The PNGs of section "Fallback item" of docs/format.md."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from .primitives import Cursor, check

Array = npt.NDArray[Any]
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def read_png(data: bytes) -> tuple[int, int, Array, bytes, bytes]:
    """Fallback item: PNG; colour type, depth, samples (height, width, channels), palette and transparency."""
    cursor = Cursor(data)
    chunks: dict[bytes, bytes] = {}
    while cursor.at < len(data):
        length = int.from_bytes(cursor.take(4), "big")
        name, content = cursor.take(4), cursor.take(length)
        check(zlib.crc32(name + content) == int.from_bytes(cursor.take(4), "big"), "the CRC of a PNG chunk")
        chunks[name] = chunks.get(name, b"") + content
    check(set(chunks) <= {b"IHDR", b"PLTE", b"tRNS", b"IDAT"}, "a PNG with more than its pixels need")
    width, height = int.from_bytes(chunks[b"IHDR"][:4], "big"), int.from_bytes(chunks[b"IHDR"][4:8], "big")
    depth, colour, _, _, interlace = chunks[b"IHDR"][8:]
    samples = np.zeros((height, width, CHANNELS[colour]), np.uint16 if depth == 16 else np.uint8)
    filtered = Cursor(zlib.decompress(chunks[b"IDAT"]))
    for y, x, down, across in PASSES if interlace else [(0, 0, 1, 1)]:
        part = samples[y::down, x::across]
        if part.size:
            part[:] = unfilter(filtered, part.shape, depth)
    return colour, depth, samples, chunks.get(b"PLTE", b""), chunks.get(b"tRNS", b"")


def unfilter(filtered: Cursor, shape: tuple[int, ...], depth: int) -> Array:
    """Fallback item: PNG, the samples of an image, or of a pass of it."""
    height, width, channels = shape
    row_bytes, step = (width * channels * depth + 7) // 8, max(1, channels * depth // 8)
    above, rows = bytearray(row_bytes), []
    for _ in range(height):
        kind, row = filtered.byte(), bytearray(filtered.take(row_bytes))
        for i in range(row_bytes):
            a, b, c = (row[i - step] if i >= step else 0), above[i], (above[i - step] if i >= step else 0)
            paeth = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            row[i] = (row[i] + (0, a, b, (a + b) // 2, paeth)[kind]) % 256
        rows.append(row)
        above = row
    data = np.frombuffer(b"".join(rows), np.uint8).reshape(height, row_bytes)
    if depth == 16:
        return data.view(">u2").reshape(height, width, channels)
    if depth < 8:
        bits = np.unpackbits(data, axis=1).reshape(height, -1, depth)
        data = (bits @ (1 << np.arange(depth)[::-1])).astype(np.uint8)
    return data[:, : width * channels].reshape(height, width, channels)
