"""Other lossless formats beside which bbc is measured: PNG and WebP by Pillow, JPEG XL by imagecodecs."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

_log = logging.getLogger(__name__)

NumpyArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Peer:
    """Another coder with one setting: pixels to the bytes of a file, and back."""

    coder: str
    setting: str
    encode: Callable[[NumpyArray], bytes]
    decode: Callable[[bytes], NumpyArray]

    @property
    def label(self) -> str:
        """Coder and setting, as in a legend."""
        return f"{self.coder} {self.setting}".rstrip()


def peers() -> list[Peer]:
    """PNG and WebP, and JPEG XL where imagecodecs is installed; where it is not a line logged says so."""

    def pillow(form: str, **options: Any) -> Callable[[NumpyArray], bytes]:
        def encode(pixels: NumpyArray) -> bytes:
            out = io.BytesIO()
            Image.fromarray(pixels).save(out, form, **options)
            return out.getvalue()

        return encode

    def decode(data: bytes) -> NumpyArray:
        return np.asarray(Image.open(io.BytesIO(data)))

    found = [
        Peer("PNG", "", pillow("PNG", optimize=True), decode),
        Peer("WebP", "m6", pillow("WEBP", lossless=True, exact=True, method=6, quality=75), decode),
    ]
    try:
        import imagecodecs
    except ModuleNotFoundError:
        _log.warning("JPEG XL is left out: it needs imagecodecs (pip install imagecodecs)")
        return found

    def jpeg_xl(effort: int) -> Peer:
        def encode(pixels: NumpyArray) -> bytes:
            return bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, effort=effort))

        return Peer("JPEG XL", f"e{effort}", encode, imagecodecs.jpegxl_decode)

    return [*found, jpeg_xl(7), jpeg_xl(9)] if imagecodecs.JPEGXL.available else found
