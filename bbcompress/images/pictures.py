"""Small pictures, by Pillow alone: a thumbnail from a preview takes no arrays."""

from __future__ import annotations

import io
import warnings

from PIL import Image
from PIL.WebPImagePlugin import WebPImageFile

from bbcompress.errors import PreviewError
from bbcompress.limits import MAX_PREVIEW_SIDE


def smaller(picture: Image.Image, most_side: int) -> Image.Image:
    """A copy of a picture with no side above the limit."""
    small = picture.copy()
    small.thumbnail((most_side, most_side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return small


def preview_picture(data: bytes) -> Image.Image:
    """The picture of a preview, in Pillow's mode RGB or RGBA.

    Raises:
        PreviewError: it is no WebP of one picture, or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with WebPImageFile(io.BytesIO(data)) as picture:  # `Image.open` would import all formats
                if max(picture.size) > MAX_PREVIEW_SIDE or getattr(picture, "n_frames", 1) > 1:
                    raise PreviewError(f"the preview is damaged: it is larger than {MAX_PREVIEW_SIDE} pixels a side")
                return picture.convert("RGBA" if "A" in picture.getbands() else "RGB")
    except PreviewError:
        raise
    except Exception as error:  # whatever Pillow makes of foreign bytes
        raise PreviewError("the preview is damaged: it is no WebP") from error


class _PNG(io.BytesIO):
    """Pillow imports the module of this suffix alone; for a name of a format it would import five."""

    name = "picture.png"


def png_of(picture: Image.Image) -> bytes:
    """A picture as PNG."""
    out = _PNG()
    picture.save(out)
    return out.getvalue()
