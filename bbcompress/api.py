"""Compress and decompress from Python: what the command line does, without its words."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from bbcompress import arguments
from bbcompress.errors import FormatError
from bbcompress.escaping import escaped
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.pillow import from_pillow
from bbcompress.limits import MAX_PIXELS, READER_STEPS, Limits
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import OptionKeywords, Options, open_models
from bbcompress.pipeline.reader import Reader

if TYPE_CHECKING:
    from typing_extensions import Unpack

NumpyArray = np.ndarray[Any, Any]
AnyImage = PixelImage | NumpyArray | Image.Image
"""What can be compressed."""


def as_image(image: AnyImage) -> PixelImage:
    """An image of Pillow or an array, as `from_pillow` and `from_array` take them. Raises ImageError."""
    if isinstance(image, PixelImage):
        return image
    return from_pillow(image) if isinstance(image, Image.Image) else from_array(image)


def limits_of(max_pixels: object, max_steps: object) -> Limits:
    """The limits that a Python program gives. Raises BBCError."""
    return Limits(arguments.integer("max_pixels", max_pixels, 1), arguments.integer("max_steps", max_steps, 0))


@arguments.checked
def compress(image: AnyImage, k: int = 4, **options: Unpack[OptionKeywords]) -> bytes:
    """The bytes of the file of one image.

    image: an image of Pillow; or an array (height, width) or (height, width, samples) of bool, uint8 or uint16, as
        `from_array` takes it; or a `PixelImage`. Its metadata is kept, too.
    k: steps that refine the posterior (K of the paper's Algorithm 2, Eqs. 20 and 21), 0 to 1000; they cost time on both
        sides. A small image by itself is coded directly and has none.
    options: further ones, as in `Options`.

    Raises:
        ImageError: it is no image, or nothing can keep it exactly. ModelError: a chosen model is missing.
        BBCError: an option is out of range. CallError, which is also a TypeError: there is no such option.
    """
    data, summary = Compressor(Options.of(k, options)).lone(as_image(image))
    for note in summary.notes:
        warnings.warn(escaped(note), stacklevel=3)
    return data


@arguments.checked
def decompress(
    data: bytes,
    model: str | Path | None = None,
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
    max_steps: int = READER_STEPS,
) -> NumpyArray:
    """The pixels of the file of one image: (height, width), or (height, width, samples); bool, uint8 or uint16.

    Of a palette image these are indices; `bbcompress.open` gives the palette and all else. model, device, max_pixels,
    max_steps: as of `bbcompress.open`.

    Raises:
        FormatError: it is damaged, no file of bbc, or an archive. ModelError: the model that it names is missing.
        LimitError: its K is above the limit.
    """
    limits = limits_of(max_pixels, max_steps)
    reader = Reader(io.BytesIO(arguments.data(data)), open_models(arguments.model(model), device), limits)
    if reader.is_archive:
        raise FormatError("this is an archive of several images")
    _, image = next(reader.images())
    return image.pixels
