"""Pillow's decoders, opened so that nothing the rest of the program sets in Pillow changes what they do.

`Image.open` refuses or warns by a limit of pixels that belongs to the process, and so do some of its readers; a program
that embeds us may set it, from any thread. Here the size is checked by whoever opens, before anything is decoded.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import ImageFile, JpegImagePlugin, WebPImagePlugin

from bbcompress.errors import ImageError

_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}


class _SlowStart(io.BytesIO):
    """Gives less than is asked for at first, as a pipe may: of so few bytes Pillow's WebP reads no size, which it would
    compare with its limit."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(16 if self.tell() == 0 and size == 30 else size)


@contextmanager
def opened(data: bytes, form: str, max_pixels: int) -> Iterator[ImageFile.ImageFile]:
    """Pillow's reader of a file of that format, not loaded yet.

    Raises:
        ImageError: the image has more than `max_pixels`.
    """
    with _READERS[form](_SlowStart(data) if form == "WEBP" else io.BytesIO(data)) as file:
        check_size(file.width, file.height, max_pixels)
        yield file


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raises ImageError above the limit."""
    if width * height > max_pixels:
        raise ImageError(f"has more pixels than the limit of {max_pixels}")
