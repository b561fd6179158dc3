"""Images as exact arrays with their metadata: reading files without losing a bit, two levels."""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from bbcompress import bmp, file_metadata, netpbm, png, png_metadata, tiff
from bbcompress.errors import ImageError
from bbcompress.metadata import CHUNK_BEFORE_PIXELS, CHUNKS, Metadata, fault, names_of

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
    "LA;16": (np.uint16, 2),
    "RGB;16": (np.uint16, 3),
    "RGBA;16": (np.uint16, 4),
}
_KEY_BYTES = {"1": 2, "L": 2, "I;16": 2, "RGB": 6, "RGB;16": 6}

# Pillow's limit of pixels and Python's warning filters belong to the process: one reader at a time sets them.
_pillow_lock = threading.Lock()


def samples_of(mode: str) -> int:
    """Samples of each pixel of a mode. KeyError if there is no such mode."""
    return _MODES[mode][1]


@dataclass(frozen=True, eq=False)
class PixelImage:
    """An image of one of Pillow's modes 1, L, LA, P, RGB, RGBA, CMYK, I;16, or LA;16, RGB;16, RGBA;16, which it lacks.

    pixels: (height, width), or (height, width, samples) for modes of several samples; bool for mode 1, uint16
        for those of 16 bits, else uint8. A writable array is copied; what is kept is read-only.
    palette: for mode P the colours, three bytes each, at least as many as the pixels use; else empty.
    transparency: for mode P the alpha of the first colours, the others being opaque; for modes 1, L, I;16, RGB and
        RGB;16 the value that is transparent, two big-endian bytes a sample; empty for none.
    metadata: what the source said beside the pixels, ordered by kind.
    lost: names of metadata that the source had and that are not kept; left out when images are compared.

    ImageError where these do not fit each other, or a side is 0 or above 2^24.
    """

    mode: str
    pixels: Pixels
    palette: bytes = b""
    transparency: bytes = b""
    lost: tuple[str, ...] = ()
    metadata: Metadata = ()

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
        if reason := fault(self.metadata) or self._chunk_fault():
            raise ImageError(f"the metadata {reason}")
        if self.pixels.flags.writeable or not self.pixels.flags.c_contiguous:
            pixels = np.array(self.pixels, order="C")
            pixels.flags.writeable = False
            object.__setattr__(self, "pixels", pixels)

    def _chunk_fault(self) -> str | None:
        """Why a PNG chunk cannot be metadata of an image of this mode, None if all can."""
        for kind, data in self.metadata:
            if kind == CHUNK_BEFORE_PIXELS and self.mode != "P":
                return "has a chunk behind a palette, of an image that has none"
            if kind in CHUNKS and data[:4] == b"PLTE" and not self.mode.startswith("RGB"):
                return "has a suggested palette of an image that is not RGB"
        return None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PixelImage):
            return NotImplemented
        return (
            (self.mode, self.palette, self.transparency) == (other.mode, other.palette, other.transparency)
            and self.metadata == other.metadata
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

    def without_metadata(self) -> PixelImage:
        """The image alone."""
        return replace(self, metadata=(), lost=()) if self.metadata or self.lost else self


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

    bool is mode 1; uint8 is L, with 2, 3 or 4 samples LA, RGB or RGBA; uint16 is I;16, LA;16, RGB;16 or RGBA;16.
    ImageError for others.
    """
    array = np.asarray(array)
    for mode, (dtype, samples) in _MODES.items():
        if mode in ("P", "CMYK"):  # of the same arrays as L and RGBA
            continue
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
    data, name = load_file(source, name)
    with _named_errors(name, max_pixels):
        return _read(data, max_pixels, formats)


def read_frames(
    source: str | PathLike[str] | bytes, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> Iterator[PixelImage]:
    """Read all pages of a TIFF, or all pictures of an animation as they are seen, one by one; of other files the image.

    ImageError as from :func:`read_image`, but for animations and pages.
    """
    data, name = load_file(source, name)
    frames: tiff.TiffReader | _Frames | None
    with _named_errors(name, max_pixels):
        if tiff.is_tiff(data):
            frames = tiff.TiffReader(data, max_pixels)
            count = len(frames)
        else:
            count = _frame_count(data, max_pixels)
            frames = _Frames(data, max_pixels) if count > 1 else None
    if frames is None:
        yield read_image(data, name, max_pixels)
        return
    for number in range(count):
        with _named_errors(name, max_pixels):
            image = _as_image(frames.read(number)) if isinstance(frames, tiff.TiffReader) else frames.read(number)
        yield image


def load_file(source: str | PathLike[str] | bytes, name: str | None = None) -> tuple[bytes, str]:
    """The bytes of a file and what to call it. ImageError where it cannot be read or is empty."""
    if isinstance(source, bytes):
        data = source
        name = name or "the image"
    else:
        name = name or str(source)
        try:
            with open(source, "rb") as file:
                data = file.read()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ImageError(f"{name}: cannot be read: {reason}") from error
    if not data:
        raise ImageError(f"{name}: is empty")
    return data, name


@contextmanager
def _named_errors(name: str, max_pixels: int) -> Iterator[None]:
    """Whatever goes wrong in reading, as one line about the file."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except MemoryError:
        raise ImageError(f"{name}: there is not enough memory for it") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"{name}: has more pixels than the limit of {max_pixels}") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name}: is not an image of a known format") from None
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        reason = " ".join(str(error).split())[:120]
        raise ImageError(f"{name}: is not a readable image" + (f" ({reason})" if reason else "")) from error


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


@contextmanager
def _opened(data: bytes, max_pixels: int, formats: Sequence[str]) -> Iterator[Image.Image]:
    with _strict_pillow(max_pixels), Image.open(io.BytesIO(data), formats=tuple(formats)) as file:
        if file.width * file.height > max_pixels:
            raise Image.DecompressionBombError
        yield file


def _read(data: bytes, max_pixels: int, formats: Sequence[str]) -> PixelImage:
    if data.startswith(png.PNG_SIGNATURE) and "PNG" in formats:
        return _read_png(png.parse_png(data), max_pixels)
    if tiff.is_tiff(data) and "TIFF" in formats:
        source = tiff.TiffReader(data, max_pixels)
        if len(source) > 1:
            raise _several(len(source))
        return _as_image(source.read(0))
    if bmp.is_bmp(data) and "BMP" in formats:
        return _as_image(bmp.read_image(data, max_pixels))
    with _opened(data, max_pixels, formats) as file:
        frames = _frames(file)
        if frames > 1:
            raise _several(frames)
        return _read_opened(file, data)


def _as_image(found: tiff.TiffImage | bmp.BmpImage) -> PixelImage:
    return PixelImage(found.mode, found.pixels, found.palette, b"", found.lost, found.metadata)


def _several(frames: int) -> ImageError:
    return ImageError(f"is animated or has several pages, {frames} of them; --frames takes each as an image")


def _frames(file: Image.Image) -> int:
    """How many images a file has. Of photographs with a preview beside them (MPO) the first alone is one."""
    return 1 if file.format == "MPO" else int(getattr(file, "n_frames", 1))


def _frame_count(data: bytes, max_pixels: int) -> int:
    if bmp.is_bmp(data):
        return 1
    if data.startswith(png.PNG_SIGNATURE):
        return png.frame_count(png.parse_png(data))
    with _opened(data, max_pixels, FORMATS) as file:
        return _frames(file)


class _Frames:
    """The pictures of a file that has several: read in turn, each costs no more than itself."""

    def __init__(self, data: bytes, max_pixels: int) -> None:
        self._data, self._max_pixels = data, max_pixels
        with _strict_pillow(max_pixels):
            self._file = Image.open(io.BytesIO(data), formats=FORMATS)
            if self._file.format == "PNG":
                source = png.parse_png(data)
                if source.bit_depth == 16:
                    raise ImageError("is an animation of 16 bits a sample, which is not supported")
                found, lost = png_metadata.read_metadata(source)
                self._metadata = tuple(record for record in found if record.kind not in CHUNKS)
                lost += names_of(record for record in found if record.kind in CHUNKS)
            else:
                self._metadata, lost = file_metadata.read_metadata(self._file, data)
            self._lost = tuple(sorted({*lost, "times of the frames"}))

    def read(self, number: int) -> PixelImage:
        """One of them; of an animation as it is seen, when what it changes is put together with those before."""
        file = self._file
        with _strict_pillow(self._max_pixels):
            file.seek(number)
            if file.width * file.height > self._max_pixels:
                raise Image.DecompressionBombError
            if file.format == "PNG":
                image = from_array(np.asarray(file.convert("RGBA")))
            else:
                image = _read_pixels(file, self._data)
            return replace(image, metadata=self._metadata, lost=self._lost)


def _read_png(source: png.Png, max_pixels: int) -> PixelImage:
    if source.width * source.height > max_pixels:
        raise Image.DecompressionBombError
    frames = png.frame_count(source)
    if frames > 1:
        raise _several(frames)
    pixels = png.read_pixels(source)
    palette = _filled_up(source.palette, pixels) if source.mode == "P" else b""
    transparency = _png_transparency(source, len(palette) // 3)
    metadata, lost = png_metadata.read_metadata(source)
    return PixelImage(source.mode, pixels, palette, transparency, lost, metadata)


def _png_transparency(source: png.Png, colours: int) -> bytes:
    """The tRNS chunk as PixelImage has it; what is left out are bits beyond the depth of a sample."""
    mode, stored = source.mode, source.transparency
    if mode == "P":
        return stored[:colours].rstrip(b"\xff")
    if mode not in _KEY_BYTES or not stored:
        return b""  # it has alpha: a colour that is transparent beside it has no meaning
    if len(stored) != _KEY_BYTES[mode]:
        raise ImageError("is damaged: its transparent colour is not one")
    values = [value & (1 << source.bit_depth) - 1 for value in struct.unpack(f">{len(stored) // 2}H", stored)]
    return struct.pack(f">{len(values)}H", *(value * source.scale for value in values))


def _read_opened(file: Image.Image, data: bytes) -> PixelImage:
    """The image of a file that Pillow has opened, and not loaded yet."""
    metadata, lost = file_metadata.read_metadata(file, data)
    if file.format == "MPO":
        lost += ("further pictures",)
    return replace(_read_pixels(file, data), metadata=metadata, lost=lost)


def _read_pixels(file: Image.Image, data: bytes) -> PixelImage:
    """The same without what it says beside the pixels."""
    wide_ppm = file.format == "PPM" and netpbm.check_samples(data)
    mode = file.mode
    pixels: Pixels
    if wide_ppm:
        mode, pixels = "RGB;16", netpbm.read_colour(data)
    elif mode.startswith("I;16") or (mode == "I" and file.format == "PPM"):  # PPM's 16-bit grey comes in 32 bits
        mode, pixels = "I;16", _array(file, np.uint16)
    elif mode in _MODES:
        pixels = _array(file, _MODES[mode][0])
    else:
        raise ImageError(f"is of mode {mode}, which is not supported")
    return _with_colours(file, mode, pixels)


def pixels_of(image: Image.Image) -> PixelImage:
    """Pixels, palette and transparency of an image that Pillow has in memory or has opened, without its metadata.

    ImageError, one line, for modes that are not supported.
    """
    mode = "I;16" if image.mode.startswith("I;16") else image.mode
    if mode not in _MODES:
        raise ImageError(f"images of mode {mode} are not supported; Pillow's convert() makes others of them")
    return _with_colours(image, mode, _array(image, _MODES[mode][0]))


def _with_colours(file: Image.Image, mode: str, pixels: Pixels) -> PixelImage:
    """The image of these pixels, with palette and transparency as Pillow has them."""
    palette = _palette(file, pixels) if mode == "P" else b""
    transparency = _transparency(mode, file.info.get("transparency"), len(palette) // 3)
    return PixelImage(mode, pixels, palette, transparency)


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
    if file.palette is None or file.palette.mode != "RGB":
        raise ImageError("has a palette of a kind that is not supported")
    return _filled_up(bytes(file.getpalette("RGB") or [])[: 3 * 256], pixels)


def _filled_up(palette: bytes, pixels: Pixels) -> bytes:
    """A palette, filled up with black to the colours that the pixels use."""
    return palette.ljust(3 * (int(pixels.max()) + 1), b"\0")


def _transparency(mode: str, value: object, colours: int) -> bytes:
    """Pillow's `info["transparency"]` as PixelImage has it."""
    if value is None:
        return b""
    if mode == "P":
        alpha = b"\xff" * value + b"\0" if isinstance(value, int) else value
        if isinstance(alpha, bytes):
            return alpha[:colours].rstrip(b"\xff")
    elif mode == "RGB" and isinstance(value, tuple) and len(value) == 3:
        return struct.pack(">3H", *(sample & 0xFF for sample in value))
    elif mode in ("1", "L") and isinstance(value, int):
        return struct.pack(">H", int(value != 0) if mode == "1" else value & 0xFF)
    elif mode == "I;16" and isinstance(value, int):
        return struct.pack(">H", value & 0xFFFF)
    raise ImageError("has a transparency of a kind that is not supported")
