"""Pillow's decoders, opened so that nothing the rest of the program sets in Pillow changes what they do.

`Image.open` refuses or warns by a limit of pixels that belongs to the process, and so do some of its readers; a program
that embeds us may set it, from any thread. Here the size is checked by whoever opens, before anything is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import ImageFile

from bbcompress.errors import ImageError


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
