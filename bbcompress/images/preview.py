"""Images as people see them, and previews of them: small pictures that files carry."""

from __future__ import annotations

import io
import warnings
from contextlib import suppress

import numpy as np
from PIL import Image, features

from bbcompress.images.image import PixelImage
from bbcompress.images.metadata import EXIF
from bbcompress.images.pictures import smaller
from bbcompress.images.pillow import to_pillow

SIDE = 256
"""Longest side of a preview, in pixels: that of a large thumbnail on desktops."""
SIDES = SIDE, 192, 128, 64, 16
"""Tried one after the other where a preview takes too many bytes."""
WRITTEN_BYTES = 3072
"""Most bytes of a preview that is written."""
QUALITIES = 10, 80
"""Least and most quality of its WebP, as Pillow counts it."""

_ORIENTATION = 0x112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def viewed(image: PixelImage) -> Image.Image:
    """An image as people see it, in Pillow's mode RGB or RGBA; of 16 bits a sample the high ones."""
    if image.mode.endswith(";16"):
        eight = "L" if image.mode == "I;16" else image.mode.removesuffix(";16")
        image = PixelImage(eight, (image.pixels >> 8).astype(np.uint8))
    picture = to_pillow(image.without_metadata())
    alpha = "A" in image.mode or bool(image.transparency)
    return picture.convert("RGBA" if alpha else "RGB")


def upright(picture: Image.Image, image: PixelImage) -> Image.Image:
    """A picture of an image, turned as the image's EXIF says that it is to be looked at."""
    for kind, data in image.metadata:
        if kind == EXIF:
            exif = Image.Exif()
            with suppress(Exception), warnings.catch_warnings():  # of what another program wrote
                warnings.simplefilter("ignore")
                exif.load(data)
                turn = _TURNS.get(exif.get(_ORIENTATION, 1))
                return picture if turn is None else picture.transpose(turn)
    return picture


def preview_of(image: PixelImage, most_bytes: int = WRITTEN_BYTES) -> bytes | None:
    """A preview of an image: a lossy WebP, upright, of the best quality that keeps it within the bytes. None where
    Pillow was built without WebP, or where there is none of so few bytes.

    Its bytes depend on the release of Pillow and libwebp.
    """
    if not features.check("webp"):
        return None
    picture = upright(smaller(viewed(image), SIDE), image)
    for side in SIDES:
        small = smaller(picture, side)
        best = _encoded(small, QUALITIES[0])
        if len(best) > most_bytes:
            continue
        low, high = QUALITIES[0], QUALITIES[1] + 1  # of the least quality known to fit, and one above all
        while high - low > 1:
            quality = (low + high) // 2
            data = _encoded(small, quality)
            if len(data) <= most_bytes:
                low, best = quality, data
            else:
                high = quality
        return best
    return None


def _encoded(picture: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=quality, method=4)
    return out.getvalue()
