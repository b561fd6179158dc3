"""Images as exact arrays: reading files through Pillow without losing a bit, writing them, two levels."""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from bbcompress import png
from bbcompress.errors import ImageError

MAX_PIXELS = 1 << 28
"""Default limit of width times height."""

MAX_SIDE = 1 << 24

FORMATS = ("PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG")
"""Pillow's names of the formats that are read."""

BAND_PIXELS = 1 << 22
"""Images of more pixels are read, written and compared in bands of rows, to save copies of all pixels."""

Pixels = npt.NDArray[Any]

# Mode: type of a sample, samples of a pixel.
_MODES: dict[str, tuple[type[np.generic], int]] = {
    "1": (np.bool_, 1),
    "L": (np.uint8, 1),
    "LA": (np.uint8, 2),
    "P": (np.uint8, 1),
    "RGB": (np.uint8, 3),
    "RGBA": (np.uint8, 4),
    "CMYK": (np.uint8, 4),
    "I;16": (np.uint16, 1),
}
_KEY_BYTES = {"1": 2, "L": 2, "I;16": 2, "RGB": 6}

# What Pillow calls metadata that a PixelImage does not hold, and what we call it.
_METADATA = {
    "icc_profile": "ICC profile",
    "exif": "EXIF",
    "xmp": "XMP",
    "XML:com.adobe.xmp": "XMP",
    "Raw profile type exif": "EXIF",
    "comment": "text",
    "gamma": "colour space",
    "srgb": "colour space",
    "chromaticity": "colour space",
}

# Pillow's limit of pixels and Python's warning filters belong to the process: one reader at a time sets them.
_pillow_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class PixelImage:
    """An image of one of Pillow's modes 1, L, LA, P, RGB, RGBA, CMYK, I;16.

    pixels: (height, width), or (height, width, samples) for modes of several samples; bool for mode 1, uint16
        for I;16, else uint8. A writable array is copied; what is kept is read-only.
    palette: for mode P the colours, three bytes each, at least as many as the pixels use; else empty.
    transparency: for mode P the alpha of the first colours, the others being opaque; for modes 1, L, I;16 and
        RGB the value that is transparent, two big-endian bytes a sample; empty for none.
    lost: kinds of metadata that the source had and that are not kept; left out when images are compared.

    ImageError where these do not fit each other, or a side is 0 or above 2^24.
    """

    mode: str
    pixels: Pixels
    palette: bytes = b""
    transparency: bytes = b""
    lost: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise ImageError(f"images of mode {self.mode} are not supported")
        dtype, samples = _MODES[self.mode]
        shape = self.pixels.shape
        if self.pixels.dtype != dtype or len(shape) < 2 or shape[2:] != (() if samples == 1 else (samples,)):
            raise ImageError(f"an array of {self.pixels.dtype} {shape} is no image of mode {self.mode}")
        if not all(1 <= side <= MAX_SIDE for side in shape[:2]):
            raise ImageError(f"an image of {shape[1]}x{shape[0]} is empty or too large")
        if self.mode == "P":
            colours = len(self.palette) // 3
            fits = int(self.pixels.max()) < colours <= 256 and len(self.transparency) <= colours
            if len(self.palette) % 3 or not fits:
                raise ImageError("the palette does not fit the pixels")
        elif self.palette or len(self.transparency) not in (0, _KEY_BYTES.get(self.mode, 0)):
            raise ImageError(f"an image of mode {self.mode} has no such palette or transparency")
        if self.pixels.flags.writeable or not self.pixels.flags.c_contiguous:
            pixels = np.array(self.pixels, order="C")
            pixels.flags.writeable = False
            object.__setattr__(self, "pixels", pixels)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PixelImage):
            return NotImplemented
        return (
            (self.mode, self.palette, self.transparency) == (other.mode, other.palette, other.transparency)
            and self.pixels.shape == other.pixels.shape
            and all(map(np.array_equal, _bands(self.pixels), _bands(other.pixels)))
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height

    @property
    def samples(self) -> int:
        """Sub-pixels of the image, what bits per dimension are counted by."""
        return int(self.pixels.size)

    @property
    def plain(self) -> bool:
        """Whether mode and pixels are all that there is: neither palette nor transparency beside them."""
        return not (self.palette or self.transparency)


@dataclass(frozen=True)
class BinaryView:
    """An image of two levels: `bits` (height, width), 0 or 1 in uint8, and the levels that they stand for."""

    mode: str
    levels: tuple[int, int]
    bits: npt.NDArray[np.uint8]

    def image(self) -> PixelImage:
        """The image that this is a view of."""
        if self.mode == "1":
            return PixelImage("1", self.bits.astype(np.bool_))
        return PixelImage(self.mode, np.array(self.levels, dtype=np.uint8)[self.bits])


def from_array(array: Pixels) -> PixelImage:
    """An image from an array (h, w) or (h, w, samples).

    bool is mode 1, uint16 I;16; uint8 is L, with 2, 3 or 4 samples LA, RGB or RGBA. ImageError for others.
    """
    array = np.asarray(array)
    modes = {mode: _MODES[mode] for mode in ("1", "L", "LA", "RGB", "RGBA", "I;16")}
    for mode, (dtype, samples) in modes.items():
        if array.dtype == dtype and array.ndim >= 2 and array.shape[2:] == (() if samples == 1 else (samples,)):
            return PixelImage(mode, array)
    raise ImageError(f"an array of {array.dtype} {array.shape} is no image")


def _bands(pixels: Pixels) -> Iterator[Pixels]:
    """The pixels in parts of whole rows, about `BAND_PIXELS` in each."""
    rows = max(1, BAND_PIXELS // pixels.shape[1])
    return (pixels[top : top + rows] for top in range(0, len(pixels), rows))


def two_levels(pixels: npt.NDArray[np.uint8]) -> tuple[int, int] | None:
    """The two values, low and high, of (h, w) grey pixels that have no more than two, else None.

    Of one value v: (0, 255) where v is one of these, else (v, v).
    """
    low, high = int(pixels.min()), int(pixels.max())
    if low == high:
        return (0, 255) if low in (0, 255) else (low, low)
    return (low, high) if all(bool(np.all((part == low) | (part == high))) for part in _bands(pixels)) else None


def binary_view(image: PixelImage) -> BinaryView | None:
    """An image of mode 1, or of mode L with at most two levels, as bits; None for any other."""
    if not image.plain:
        return None
    if image.mode == "1":
        return BinaryView("1", (0, 1), image.pixels.astype(np.uint8))  # no view: Pillow's true is 255
    levels = two_levels(image.pixels) if image.mode == "L" else None
    if levels is None:
        return None
    # Of one level both bits mean it; 0 then, as most of MNIST is.
    high = image.pixels == levels[1] if levels[0] < levels[1] else np.zeros(image.pixels.shape, np.bool_)
    return BinaryView("L", levels, high.view(np.uint8))


def metadata_lost(image: PixelImage) -> tuple[str, ...]:
    """Kinds of metadata (ICC profile, EXIF, text, ...) that the source had and `image` does not hold."""
    return image.lost


def read_image(
    source: str | PathLike[str] | bytes,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    formats: Sequence[str] = FORMATS,
) -> PixelImage:
    """Read an image file, given by its path or its bytes, exactly.

    name: what errors call it; the path where None.
    formats: Pillow's names of those allowed.

    ImageError, one line, for what cannot be read, is damaged, animated, of several pages, above `max_pixels`
    or of a kind that would not be kept exactly.
    """
    if isinstance(source, bytes):
        data = source
        name = name or "the image"
    else:
        name = name or str(source)
        try:
            with open(source, "rb") as file:
                data = file.read()
        except (OSError, ValueError) as fault:
            reason = getattr(fault, "strerror", None) or fault
            raise ImageError(f"{name}: cannot be read: {reason}") from fault
    if not data:
        raise ImageError(f"{name}: is empty")
    try:
        return _read(data, max_pixels, formats)
    except ImageError as fault:
        raise ImageError(f"{name}: {fault}") from fault
    except MemoryError:
        raise ImageError(f"{name}: there is not enough memory for it") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"{name}: has more pixels than the limit of {max_pixels}") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name}: is not an image of a known format") from None
    except Exception as fault:  # Pillow's readers raise nearly anything on damaged files
        reason = " ".join(str(fault).split())[:120]
        raise ImageError(f"{name}: is not a readable image" + (f" ({reason})" if reason else "")) from fault


def write_png(image: PixelImage, optimize: bool = False) -> bytes:
    """A PNG that reads back as the same image; the same bytes each time. ImageError for CMYK.

    optimize: smaller and slower; needs more memory.
    """
    if image.mode == "CMYK":
        raise ImageError("PNG cannot hold CMYK")
    if not optimize and image.width * image.height > BAND_PIXELS and png.can_write(image.mode):
        return png.write_pixels(image.mode, image.pixels, image.transparency)
    out = io.BytesIO()
    transparency: bytes | int | tuple[int, ...] | None = None
    if image.mode == "P":
        transparency = image.transparency or None
    elif image.transparency:
        key = struct.unpack(f">{len(image.transparency) // 2}H", image.transparency)
        transparency = key if image.mode == "RGB" else key[0]
    options: dict[str, Any] = {} if transparency is None else {"transparency": transparency}
    _to_pillow(image).save(out, "PNG", optimize=optimize, **options)
    return out.getvalue()


def write_tiff(image: PixelImage) -> bytes:
    """A deflated TIFF that reads back as the same image. ImageError for a palette or transparency."""
    if not image.plain:
        raise ImageError("a TIFF would lose the palette or the transparency")
    out = io.BytesIO()
    _to_pillow(image).save(out, "TIFF", compression="tiff_adobe_deflate")
    return out.getvalue()


def write_image(image: PixelImage) -> tuple[bytes, str]:
    """The image as a file, and its suffix: a PNG, for CMYK a TIFF."""
    return (write_tiff(image), ".tiff") if image.mode == "CMYK" else (write_png(image), ".png")


def _to_pillow(image: PixelImage) -> Image.Image:
    if image.mode == "1":
        return Image.frombytes("1", image.size, np.packbits(image.pixels, axis=1))
    little_endian = image.pixels.astype(image.pixels.dtype.newbyteorder("<"), copy=False)
    made = Image.frombytes(image.mode, image.size, little_endian)
    if image.mode == "P":
        made.putpalette(image.palette, "RGB")
    return made


@contextmanager
def _strict_pillow(max_pixels: int) -> Iterator[None]:
    """Pillow under our limit of pixels, its other warnings silent. Leaves Pillow's own limit as it was."""
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _read(data: bytes, max_pixels: int, formats: Sequence[str]) -> PixelImage:
    source = png.parse_png(data) if data.startswith(png.PNG_SIGNATURE) else None
    if source is not None and source.width * source.height > max_pixels:
        raise Image.DecompressionBombError
    in_bands = source is not None and source.mode is not None and source.width * source.height > BAND_PIXELS
    if source is not None and not in_bands:
        png.check_length(source)
    bit_depth = 8 if source is None else source.bit_depth
    with _strict_pillow(max_pixels), Image.open(io.BytesIO(data), formats=tuple(formats)) as file:
        if file.width * file.height > max_pixels:
            raise Image.DecompressionBombError
        multi_picture = file.format == "MPO"  # photographs with a preview beside them: the first is the image
        if getattr(file, "is_animated", False) and not multi_picture:
            raise ImageError("is animated or has several pages, which is not supported")
        if file.format == "TIFF":
            _check_tiff(file)
        if file.format == "PPM":
            _check_ppm(data)
        lost = _metadata(file) + (("further pictures",) if multi_picture else ())
        mode = file.mode
        pixels: Pixels
        if source is not None and in_bands:
            pixels = png.read_pixels(source)
        elif mode.startswith("I;16") or (mode == "I" and (bit_depth == 16 or file.format == "PPM")):
            # PPM's 16-bit grey, and that of PNG in old Pillows, comes in 32 bits.
            mode, pixels = "I;16", _array(file, np.uint16)
        elif mode in _MODES:
            pixels = _array(file, _MODES[mode][0])
        else:
            raise ImageError(f"is of mode {mode}, which is not supported")
        palette = _palette(file, pixels) if mode == "P" else b""
        transparency = _transparency(mode, file.info.get("transparency"), bit_depth, len(palette) // 3)
    return PixelImage(mode, pixels, palette, transparency, lost)


def _array(file: Image.Image, dtype: type[np.generic]) -> Pixels:
    """The pixels of an opened file, read-only; numpy gets those of a large one in bands."""
    file.load()
    rows = max(1, BAND_PIXELS // file.width)
    if file.height <= rows:
        pixels = np.asarray(file).astype(dtype, copy=False)
    else:
        pixels = np.empty((file.height, *np.asarray(file.crop((0, 0, file.width, 1))).shape[1:]), dtype)
        for top in range(0, file.height, rows):
            pixels[top : top + rows] = np.asarray(file.crop((0, top, file.width, min(top + rows, file.height))))
    pixels.flags.writeable = False
    return pixels


def _palette(file: Image.Image, pixels: Pixels) -> bytes:
    """The colours of a mode P file, filled up with black to those that its pixels use."""
    if file.palette is None or file.palette.mode != "RGB":
        raise ImageError("has a palette of a kind that is not supported")
    palette = bytes(file.getpalette("RGB") or [])[: 3 * 256]
    return palette.ljust(3 * (int(pixels.max()) + 1), b"\0")


def _transparency(mode: str, value: object, bit_depth: int, colours: int) -> bytes:
    """Pillow's `info["transparency"]` as PixelImage has it."""
    if value is None:
        return b""
    if mode == "P":
        alpha = b"\xff" * value + b"\0" if isinstance(value, int) else value
        if isinstance(alpha, bytes):
            return alpha[:colours].rstrip(b"\xff")
    elif mode == "RGB" and isinstance(value, tuple) and len(value) == 3:
        return struct.pack(">3H", *(sample & 0xFF for sample in value))
    elif mode in ("1", "L", "I;16") and isinstance(value, int):
        if mode == "1":
            value = int(value != 0)
        if mode == "L":  # the pixels of 2 and 4 bits have been scaled to 8, the value has not
            value = (value & (1 << bit_depth) - 1) * (255 // ((1 << bit_depth) - 1))
        return struct.pack(">H", value)
    raise ImageError("has a transparency of a kind that is not supported")


def _metadata(file: Image.Image) -> tuple[str, ...]:
    found = {_METADATA[key] for key, value in file.info.items() if key in _METADATA and value not in (None, b"")}
    other = [value for key, value in file.info.items() if key not in _METADATA]
    if file.format == "PNG" and any(isinstance(value, str) for value in other):
        found.add("text")
    if file.format in ("PNG", "TIFF") and "dpi" in file.info:
        found.add("resolution")
    return tuple(sorted(found))


def _check_tiff(file: Image.Image) -> None:
    """Refuse samples that Pillow would cut to 8 bits, or leave out."""
    tags: Any = getattr(file, "tag_v2", {})
    bits = tags.get(258, (1,))
    bits = bits if isinstance(bits, tuple) else (bits,)
    if max(bits) > 8 and file.mode in _MODES and file.mode != "I;16":
        raise ImageError(f"has {max(bits)} bits per sample in mode {file.mode}, which is not supported")
    if tags.get(277, 1) > len(file.getbands()):
        raise ImageError("has more samples per pixel than its colours and alpha, which is not supported")


def _check_ppm(data: bytes) -> None:
    """Refuse a PPM or PGM whose samples Pillow would scale with rounding, or cut to 8 bits."""
    tokens = re.sub(rb"#[^\r\n]*", b"", data[:65536]).split(None, 4)
    if tokens[0] in (b"P1", b"P4", b"Pf"):
        return
    maximum = int(tokens[3])
    colour = tokens[0] in (b"P3", b"P6")
    full = 255 if maximum <= 255 or colour else 65535
    if full % maximum:
        raise ImageError(f"counts its samples up to {maximum}, which is not supported")
