"""Reads images that claim, or unpack to, far more than they should, and prints what came of each and its memory.

Run by test_bombs.py in a process of its own: most of the memory is Pillow's, and only the process knows of it.
"""

from __future__ import annotations

import io
import json
import resource
import struct
import sys
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

from bbcompress.errors import ImageError
from bbcompress.images.formats.png.file import PNG_SIGNATURE
from bbcompress.images.read import read_frames, read_image

MAX_PIXELS = 1 << 24
INFLATED = 200 << 20


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


@cache
def deflated(size: int) -> bytes:
    """So many zeros; never all of them in memory."""
    stream = zlib.compressobj()
    return b"".join(stream.compress(bytes(1 << 20)) for _ in range(size >> 20)) + stream.flush()


def png(width: int, height: int, *chunks: bytes, pixels: bytes = zlib.compress(b"\0\0")) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"".join([PNG_SIGNATURE, chunk(b"IHDR", header), *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b"")])


def gif(screen: int, frame: int) -> bytes:
    start = b"GIF89a" + struct.pack("<HHBBB", screen, screen, 0xF0, 0, 0) + bytes(6)
    return start + b"," + struct.pack("<HHHHB", 0, 0, frame, frame, 0) + b"\x02\x02\x44\x01\x00;"


def tiff(width: int, height: int, *more: tuple[int, int, int, int], strip: int = 8) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, strip), *more]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted({tag[0]: tag for tag in tags}.values()))
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries) // 12) + entries + bytes(4)


def circle() -> bytes:
    """A TIFF whose first page is its next one, too."""
    return tiff(1, 1)[:-4] + struct.pack("<I", 8)


def bmp(width: int, height: int, compression: int = 0, colours: int = 0) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, 0, 1, 1, colours, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(info), 0, 0, 54) + info + bytes(100)


def webp(sides: int, *, extended: bool = False) -> bytes:
    if extended:
        side = struct.pack("<I", sides - 1)[:3]
        body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + side + side
    else:
        stream = b"\x2f" + ((sides - 1) << 14 | (sides - 1)).to_bytes(4, "little") + bytes(8)
        body = b"WEBPVP8L" + struct.pack("<I", len(stream)) + stream + b"\0" * (len(stream) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg(side: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "JPEG")
    data = bytearray(out.getvalue())
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", side, side)
    return bytes(data)


BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG header": lambda: png((1 << 31) - 1, (1 << 31) - 1),
    "PNG above the limit": lambda: png(4097, 4096, pixels=deflated(17 << 20)),
    "PNG with less data than pixels": lambda: png(4096, 4096),
    "PNG of one pixel with much data": lambda: png(1, 1, pixels=deflated(INFLATED)),
    "PNG, zTXt": lambda: png(1, 1, chunk(b"zTXt", b"Comment\0\0" + deflated(INFLATED))),
    "PNG, iTXt": lambda: png(1, 1, chunk(b"iTXt", b"Comment\0\1\0\0\0" + deflated(INFLATED))),
    "PNG, iCCP": lambda: png(1, 1, chunk(b"iCCP", b"icc\0\0" + deflated(INFLATED))),
    "PNG, many zTXt": lambda: png(1, 1, *[chunk(b"zTXt", b"Comment\0\0" + deflated(15 << 20))] * 40),
    "PNG, many frames": lambda: png(1, 1, chunk(b"acTL", struct.pack(">II", (1 << 31) - 1, 0))),
    "GIF screen": lambda: gif(65535, 65535),
    "GIF frame": lambda: gif(1, 65535),
    "TIFF header": lambda: tiff((1 << 31) - 1, (1 << 31) - 1),
    "TIFF above the limit": lambda: tiff(4097, 4096),
    "TIFF strip": lambda: tiff(4096, 4096, strip=(1 << 32) - 1),
    "TIFF tag of many values": lambda: tiff(1, 1, (270, 2, (1 << 32) - 1, 8)),
    "TIFF tag of many numbers": lambda: tiff(1, 1, (65000, 12, (1 << 32) - 1, 8)),
    "TIFF of endless pages": circle,
    "TIFF of many samples": lambda: tiff(4096, 4096, (277, 3, 1, 65535)),
    "BMP header": lambda: bmp((1 << 31) - 1, (1 << 31) - 1),
    "BMP above the limit": lambda: bmp(4097, -4096),
    "BMP of many colours": lambda: bmp(1, 1, colours=(1 << 32) - 1),
    "WebP": lambda: webp(16384),
    "WebP, extended": lambda: webp(1 << 24, extended=True),
    "PGM header": lambda: b"P5 2147483647 2147483647 255\n",
    "PPM of 16 bits": lambda: b"P6 4097 4096 65535\n" + bytes(100),
    "PPM of 16 bits without data": lambda: b"P6 4096 4096 65535\n" + bytes(100),
    "PPM of long numbers": lambda: b"P5 " + b"9" * 100_000 + b" 1 255\n",
    "PPM of text": lambda: b"P3 4096 4096 65535\n" + b"1 " * 1000,
    "JPEG": lambda: jpeg(65500),
}


def peak() -> float:
    """Most memory of the process until now, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1000 if sys.platform != "darwin" else 1e6)


def good_files() -> None:
    """What is loaded once: Pillow's formats."""
    for form in ("PNG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "JPEG"):
        out = io.BytesIO()
        Image.fromarray(np.zeros((64, 64), np.uint8)).convert("RGB").save(out, form)
        read_image(out.getvalue())


def main() -> None:
    good_files()
    for name, make in BOMBS.items():
        data = make()
        before, error = peak(), ""
        try:
            read_image(data, "it", MAX_PIXELS)
            list(zip(range(3), read_frames(data, "it", MAX_PIXELS), strict=False))
        except ImageError as fault:
            error = str(fault)
        print(json.dumps([name, error, round(peak() - before, 1)]))


if __name__ == "__main__":
    main()
