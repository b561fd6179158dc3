"""Pillow's decoders, opened so that nothing the rest of the program sets in Pillow changes what they do.

`Image.open` refuses or warns by a limit of pixels that belongs to the process, and so do some of its readers; a program
that embeds us may set it, from any thread. Here the size is checked by whoever opens, before anything is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile

from bbcompress.errors import ImageError
from bbcompress.images.image import Pixels, band_rows


@contextmanager
def opened(reader: type[ImageFile.ImageFile], data: BinaryIO, max_pixels: int) -> Iterator[ImageFile.ImageFile]:
    """A reader of Pillow's with a file of its format, not loaded yet.

    Raises:
        ImageError: the image has more than `max_pixels`.
    """
    with reader(data) as file:
        check_size(file.width, file.height, max_pixels)
        yield file


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raises ImageError above the limit."""
    if width * height > max_pixels:
        raise ImageError(f"has more pixels than the limit of {max_pixels}")


def pixels_in(file: Image.Image, dtype: type[np.generic] | None = None) -> Pixels:
    """The pixels of an opened file, read-only; numpy gets those of a large one in bands.

    Args:
        dtype: what they become; None for Pillow's own.
    """
    file.load()
    rows = band_rows(file.width)
    if file.height <= rows:
        pixels = np.asarray(file)
        pixels = pixels if dtype is None else pixels.astype(dtype, copy=False)
    else:
        first = _band_of(file, 0, rows)
        pixels = np.empty((file.height, *first.shape[1:]), dtype or first.dtype)
        pixels[:rows] = first
        for top in range(rows, file.height, rows):
            pixels[top : top + rows] = _band_of(file, top, min(top + rows, file.height))
    pixels.flags.writeable = False
    return pixels


def _band_of(file: Image.Image, top: int, bottom: int) -> Pixels:
    """Rows of a loaded file. It is `crop` that compares them with Pillow's limit; this copies the same pixels."""
    size, box = (file.width, bottom - top), (0, top, file.width, bottom)
    return np.asarray(file.resize(size, Image.Resampling.NEAREST, box))
