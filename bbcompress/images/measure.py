"""How many pixels a file has, by its first bytes: an estimate for sharing work, which decides nothing else."""

from __future__ import annotations

import warnings
from typing import BinaryIO

from PIL import Image

from bbcompress.images.signatures import START_BYTES, format_of

_SIDE_BITS = 14
"""Of a WebP's picture that is not extended."""


def estimated_pixels(file: BinaryIO, size: int, frames: bool = False) -> int:
    """The pixels of the image of a file, of a damaged or unknown one about as many as it has bytes; at least one.

    Of most formats only the header is read. The same file gives the same number (with the same Pillow, where the file
    is damaged).

    Args:
        file: seekable, at its beginning.
        size: bytes of the file.
        frames: count all pictures of the file; for that more of it may be read.
    """
    start = file.read(START_BYTES)
    form = format_of(start)
    if form is None:
        return max(1, size)
    try:
        pixels = None if form.name != "WEBP" or frames else _of_webp(start)
        return max(1, _of_header(file, form.name, frames) if pixels is None else pixels)
    except Exception:  # Pillow's readers raise nearly anything on damaged files
        return max(1, size)


def _of_header(file: BinaryIO, name: str, frames: bool) -> int:
    Image.init()
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.OPEN[name][0](file, "") as image:
            count = getattr(image, "n_frames", 1) if frames else 1
            return image.width * image.height * count


def _of_webp(start: bytes) -> int | None:
    """Pillow would read all of a WebP. None where its first chunk does not say the size."""
    kind, body = start[12:16], start[20:30]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(body[at : at + 3], "little") for at in (4, 7))
    elif kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        width, height = (1 + (bits >> at) % (1 << _SIDE_BITS) for at in (0, _SIDE_BITS))
    elif kind == b"VP8 ":
        width, height = (int.from_bytes(body[at : at + 2], "little") % (1 << _SIDE_BITS) for at in (6, 8))
    else:
        return None
    return width * height
