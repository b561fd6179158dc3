"""Images as files of lossless formats, from which the same image is read, with its metadata; or not at all."""

from __future__ import annotations

import numpy as np

from bbcompress.errors import ImageError
from bbcompress.images.formats.registry import default_kind, written_kinds
from bbcompress.images.image import PixelImage
from bbcompress.images.metadata import names_of
from bbcompress.images.read import read_image


def write_image(image: PixelImage, kind: str | None = None) -> tuple[bytes, str]:
    """The image as a file, and its suffix.

    Args:
        image: it is not changed.
        kind: one of `registry.written_kinds`, None for the default.

    Raises:
        ImageError: the format would lose anything of the image, metadata included; one line that says what.
    """
    instead = default_kind(image.mode)
    chosen = kind or instead
    form = written_kinds()[chosen]
    try:
        data = form.write(image, chosen)
        if form.read_back:
            _check(image, data, form.name)
    except ImageError as error:
        hint = f"; {instead.upper()} can hold it" if instead != chosen else ""
        raise ImageError(f"{error}{hint}") from error
    return data, form.written[chosen][0]


def _check(image: PixelImage, data: bytes, form: str) -> None:
    """ImageError where a file that was written is not the image any more: it says what would be lost."""
    try:
        back = read_image(data, "this format", image.width * image.height, (form,))
    except ImageError as error:
        raise ImageError(f"this format cannot hold the image ({error})") from error
    if back == image:
        return
    lost = set(names_of(set(image.metadata) ^ set(back.metadata)))
    if back.mode != image.mode:
        lost.add(f"mode {image.mode}")
    elif back.transparency != image.transparency:
        lost.add("transparency")
    elif back.palette != image.palette:
        lost.add("palette")
    elif back.pixels.shape != image.pixels.shape or not np.array_equal(back.pixels, image.pixels):
        lost.add("pixels")
    raise ImageError(f"this format would lose or change: {', '.join(sorted(lost or {'metadata'}))}")
