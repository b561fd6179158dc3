"""Images as exact arrays with their metadata: reading files without losing a bit, two levels."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from bbcompress.errors import ImageError
from bbcompress.images import decoders, signatures
from bbcompress.images.decoders import check_size
from bbcompress.images.formats import apng, bmp, gif, jpeg, netpbm, png, png_metadata, tiff, webp
from bbcompress.images.metadata import (
    CHUNK_BEFORE_PIXELS,
    CHUNKS,
    LEVELS,
    Metadata,
    Record,
    fault,
    levels_of,
    levels_record,
    names_of,
)
from bbcompress.limits import MAX_PIXELS, MAX_SIDE

_AT_ONCE = 1 << 20
"""Bytes of a file whose size is not known that are read at once."""

MAX_FILE_BYTES = 1 << 32
"""Most bytes of an image file. What is no image is told from its first bytes, and not read on."""

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
        if not isinstance(self.pixels, np.ndarray):
            raise ImageError(f"pixels must be an array, not a {type(self.pixels).__name__}")
        dtype, samples = _MODES[self.mode]
        if self.pixels.dtype != dtype and self.pixels.dtype.newbyteorder("=") == dtype:
            object.__setattr__(self, "pixels", self.pixels.astype(dtype))
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
            if kind == LEVELS and not self._has_levels(levels_of(Record(kind, data))):
                return "has a number of levels that is not that of the pixels"
        return None

    def _has_levels(self, maximum: int) -> bool:
        """Whether the pixels are those of a file whose samples go up to a maximum, and the mode does not say that."""
        if self.mode == "P":
            colours = len(self.palette) // 3
            depth = png.depth_of_levels("P", maximum)
            return depth is not None and colours <= maximum + 1 and depth != png.depth_of_colours(colours)
        dtype = _MODES[self.mode][0]
        if dtype == np.bool_ or self.mode == "CMYK" or levels_record(self.mode, maximum) is None:
            return False
        full = 65535 if dtype == np.uint16 else 255
        if full % maximum or maximum >= full or (full > 255 >= maximum):
            return False
        return not any(bool((part % part.dtype.type(full // maximum)).any()) for part in _bands(self.pixels))

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
    """An image from an array (h, w) or (h, w, samples), of any byte order and strides.

    bool is mode 1; uint8 is L, with 2, 3 or 4 samples LA, RGB or RGBA; uint16 is I;16, LA;16, RGB;16 or RGBA;16.
    ImageError for others.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise ImageError("a masked array is no image: its mask would be lost; its filled() has none")
    if isinstance(array, str | bytes | PathLike):
        raise ImageError(f"{array!r:.60} is no image; bbcompress.read_image() reads a file")
    what = f"a {type(array).__name__}"
    try:
        array = np.asarray(array)
    except MemoryError:
        raise
    except Exception as error:  # what is asked for its array may raise anything
        raise ImageError(f"{what} is no array: {' '.join(str(error).split())[:120]}") from error
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    for mode, (dtype, samples) in _MODES.items():
        if mode in ("P", "CMYK"):  # of the same arrays as L and RGBA
            continue
        if array.dtype == dtype and array.ndim >= 2 and array.shape[2:] == (() if samples == 1 else (samples,)):
            return PixelImage(mode, array)
    wanted = "images are (height, width) or (height, width, 1 to 4 samples), of bool (1 sample), uint8 or uint16"
    raise ImageError(f"an array of {array.dtype} {array.shape} is no image: {wanted}")


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
    with _named_errors(name):
        return _read(data, max_pixels, formats)


def read_frames(
    source: str | PathLike[str] | bytes, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> Iterator[PixelImage]:
    """Read all pages of a TIFF, or all pictures of an animation as they are seen, one by one; of other files the image.

    ImageError as from :func:`read_image`, but for animations and pages.
    """
    data, name = load_file(source, name)
    with _named_errors(name):
        _, images = _parse(data, max_pixels)
    while True:
        with _named_errors(name):
            image = next(images, None)
        if image is None:
            return
        yield image


def load_file(source: str | PathLike[str] | bytes | BinaryIO, name: str | None = None) -> tuple[bytes, str]:
    """The bytes of an image file, or of what is left of an open one, and what to call it.

    Of what does not begin as an image of a format that is read only the beginning is read.

    Raises:
        ImageError: it cannot be read, is empty, is no image, or has more than `MAX_FILE_BYTES`.
    """
    try:
        if isinstance(source, bytes):
            name = name or "the image"
            data = source
        elif isinstance(source, str | PathLike):
            name = name or str(source)
            with open(source, "rb") as file:
                data = _load(file, name)
        elif callable(getattr(source, "read", None)):
            name = name or "the image"
            data = _load(source, name)
        else:
            raise ImageError(f"source must be a path, bytes or a binary file, not a {type(source).__name__}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name}: cannot be read: {reason}") from error
    if not data:
        raise ImageError(f"{name}: is empty")
    return data, name


def _load(file: BinaryIO, name: str) -> bytes:
    start = file.read(signatures.START_BYTES)
    if start and signatures.format_of(start) is None:
        raise ImageError(f"{name}: {signatures.why_not(start)}")
    size = _size_of(file)
    too_large = size is not None and size > MAX_FILE_BYTES
    parts, left = [start], 0 if len(start) < signatures.START_BYTES or too_large else MAX_FILE_BYTES + 1 - len(start)
    # A read of n bytes takes memory for all n: so no more are asked for than there may be.
    at_once = _AT_ONCE if size is None else max(size, _AT_ONCE)
    while left and (part := file.read(min(left, at_once))):
        parts.append(part)
        left -= len(part)
    if too_large or sum(map(len, parts)) > MAX_FILE_BYTES:
        raise ImageError(f"{name}: has more than {MAX_FILE_BYTES} bytes, which no image of the formats read here needs")
    return b"".join(parts)


def _size_of(file: BinaryIO) -> int | None:
    """The size of a regular file in bytes; None for a pipe and the like, and for what is no file of the system."""
    try:
        found = os.fstat(file.fileno())
    except (OSError, AttributeError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


@contextmanager
def _named_errors(name: str) -> Iterator[None]:
    """Whatever goes wrong in reading, as one line about the file."""
    try:
        yield
    except ImageError as error:
        raise error.of(name) from error
    except MemoryError:
        raise ImageError(f"{name}: there is not enough memory for it") from None
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        reason = " ".join(str(error).split())[:120]
        raise ImageError(f"{name}: is not a readable image" + (f" ({reason})" if reason else "")) from error


def _read(data: bytes, max_pixels: int, formats: Sequence[str]) -> PixelImage:
    count, images = _parse(data, max_pixels, formats)
    if count > 1:
        message, advice = f"is animated or has several pages, {count} of them", "takes each as an image"
        raise ImageError(message, python=f"bbcompress.read_frames() {advice}", command=f"--frames {advice}")
    return next(images)


def _parse(data: bytes, max_pixels: int, formats: Sequence[str] = FORMATS) -> tuple[int, Iterator[PixelImage]]:
    """How many images a file has, and these, one by one: what they have in common is looked at already."""
    form = signatures.format_of(data)
    if form is None:
        raise ImageError(signatures.why_not(data))
    if form not in formats:
        raise ImageError(f"is not an image of a format that is read here, but {form}")
    return _PARSERS[form](data, max_pixels)


def _parse_png(data: bytes, max_pixels: int) -> tuple[int, Iterator[PixelImage]]:
    source = png.parse_png(data)
    check_size(source.width, source.height, max_pixels)
    animation = apng.parse_apng(source)
    if animation is not None:
        return animation.count, _png_frames(animation)
    return 1, _once(lambda: _read_png(source))


def _once(read: Callable[[], PixelImage]) -> Iterator[PixelImage]:
    yield read()


def _png_frames(animation: apng.Apng) -> Iterator[PixelImage]:
    source = animation.source
    found, lost = png_metadata.read_metadata(source)
    for pixels, native in apng.read_pictures(animation):
        mode = source.mode if native else _mode_of(pixels)
        metadata = found if mode == source.mode else tuple(filter(_is_of_any_mode, found))
        names = {*lost, *names_of(set(found) - set(metadata)), *animation.lost}
        palette = b""
        if mode == "P":
            palette, metadata = _png_palette(source, pixels, metadata, names)
        yield PixelImage(mode, pixels, palette, b"", tuple(sorted(names)), metadata)


def _parse_jpeg(data: bytes, max_pixels: int) -> tuple[int, Iterator[PixelImage]]:
    source = jpeg.parse_jpeg(data, max_pixels)

    def read() -> PixelImage:
        with decoders.opened(source.image, "JPEG", max_pixels) as file:
            return replace(_image_of(file), metadata=source.metadata, lost=source.lost)

    return 1, _once(read)


def _parse_webp(data: bytes, max_pixels: int) -> tuple[int, Iterator[PixelImage]]:
    source = webp.parse_webp(data)
    check_size(source.width, source.height, max_pixels)

    def read() -> Iterator[PixelImage]:
        with decoders.opened(source.image, "WEBP", max_pixels) as file:
            lost = tuple(sorted({*source.lost, *([_TIMES] if source.frames > 1 else [])}))
            for number in range(source.frames):
                file.seek(number)
                yield replace(_image_of(file), metadata=source.metadata, lost=lost)

    return source.frames, read()


def _parse_gif(data: bytes, max_pixels: int) -> tuple[int, Iterator[PixelImage]]:
    source = gif.parse_gif(data)
    check_size(source.width, source.height, max_pixels)

    def read() -> Iterator[PixelImage]:
        for mode, pixels, palette, transparency, lost in gif.read_pictures(source):
            names = {*source.lost, *lost, *([_TIMES] if len(source.pictures) > 1 else [])}
            pixels.flags.writeable = False
            yield PixelImage(mode, pixels, palette, transparency, tuple(sorted(names)), source.metadata)

    return len(source.pictures), read()


def _parse_netpbm(data: bytes, max_pixels: int) -> tuple[int, Iterator[PixelImage]]:
    starts, behind = netpbm.parse_netpbm(data)

    def read() -> Iterator[PixelImage]:
        for start in starts:
            picture = netpbm.parse_picture(data, start)
            check_size(picture.width, picture.height, max_pixels)
            pixels, more = netpbm.read_pixels(data, picture)
            lost = {*picture.lost, *behind, *(["data behind the image"] if more else [])}
            yield PixelImage(picture.mode, pixels, b"", b"", tuple(sorted(lost)), picture.metadata)

    return len(starts), read()


def _parse_tiff(data: bytes, max_pixels: int) -> tuple[int, Iterator[PixelImage]]:
    source = tiff.TiffReader(data, max_pixels)
    return len(source), (_as_image(source.read(number)) for number in range(len(source)))


def _parse_bmp(data: bytes, max_pixels: int) -> tuple[int, Iterator[PixelImage]]:
    return 1, _once(lambda: _as_image(bmp.read_image(data, max_pixels)))


def _as_image(found: tiff.TiffImage | bmp.BmpImage) -> PixelImage:
    return PixelImage(found.mode, found.pixels, found.palette, b"", found.lost, found.metadata)


_TIMES = "times of the frames"
_PARSERS: dict[str, Callable[[bytes, int], tuple[int, Iterator[PixelImage]]]] = {
    "PNG": _parse_png,
    "JPEG": _parse_jpeg,
    "WEBP": _parse_webp,
    "GIF": _parse_gif,
    "PPM": _parse_netpbm,
    "TIFF": _parse_tiff,
    "BMP": _parse_bmp,
}


def _mode_of(pixels: Pixels) -> str:
    """The mode of pixels of colours, with alpha or without."""
    samples = pixels.shape[2] if pixels.ndim > 2 else 1
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[samples]
    return mode if pixels.dtype == np.uint8 else "I;16" if mode == "L" else f"{mode};16"


def _is_of_any_mode(record: Record) -> bool:
    """Whether what a PNG says means the same when its pixels become others."""
    return record.kind != LEVELS and (record.kind not in CHUNKS or record.data[:4] in _OF_ANY_MODE)


_OF_ANY_MODE = frozenset(b"cHRM cICP cLLI gAMA mDCV oFFs pCAL sCAL sRGB sTER tIME".split())


def _read_png(source: png.Png) -> PixelImage:
    names: set[str] = set()
    pixels = png.read_pixels(source, names)
    metadata, lost = png_metadata.read_metadata(source)
    palette = b""
    if source.mode == "P":
        palette, metadata = _png_palette(source, pixels, metadata, names)
    transparency, left_out = _png_transparency(source, len(palette) // 3)
    names.update(lost, left_out, png_metadata.names_of_frames(source))
    return PixelImage(source.mode, pixels, palette, transparency, tuple(sorted(names)), metadata)


def _png_palette(source: png.Png, pixels: Pixels, metadata: Metadata, names: set[str]) -> tuple[bytes, Metadata]:
    """The palette, filled up where pixels use more, and the metadata that fits it. names: gets what is not kept."""
    palette, filled = _filled_up(source.palette, pixels)
    if filled:
        names.add("number of colours")
    colours = len(palette) // 3
    usual = png.depth_of_colours(colours)
    if colours > 1 << source.bit_depth or usual == source.bit_depth:
        metadata = tuple(record for record in metadata if record.kind != LEVELS)
        if usual != source.bit_depth:
            names.add("bit depth")
    return palette, metadata


def _png_transparency(source: png.Png, colours: int) -> tuple[bytes, tuple[str, ...]]:
    """The tRNS chunk as PixelImage has it, and the names of what is left out."""
    mode, stored = source.mode, source.transparency
    if stored is None:
        return b"", ()
    if mode == "P":
        lost = ("transparency of colours that are none",) if len(stored) > colours or not stored else ()
        return stored[:colours], lost
    if mode not in _KEY_BYTES:
        return b"", ("transparent colour beside alpha",)
    if len(stored) != _KEY_BYTES[mode]:
        raise ImageError("is damaged: its transparent colour is not one")
    found = struct.unpack(f">{len(stored) // 2}H", stored)
    values = [value & (1 << source.bit_depth) - 1 for value in found]
    unused = ("unused bits of the transparency",) if list(found) != values else ()
    return struct.pack(f">{len(values)}H", *(value * source.scale for value in values)), unused


def _image_of(file: Image.Image) -> PixelImage:
    """The image of a file that Pillow has opened, without its metadata."""
    if file.mode not in _MODES:
        raise ImageError(f"is of mode {file.mode}, which is not supported")
    return _with_colours(file, file.mode, _array(file, _MODES[file.mode][0]))


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
        first = _band_of(file, 0, rows)
        pixels = np.empty((file.height, *first.shape[1:]), dtype)
        pixels[:rows] = first
        for top in range(rows, file.height, rows):
            pixels[top : top + rows] = _band_of(file, top, min(top + rows, file.height))
    pixels.flags.writeable = False
    return pixels


def _band_of(file: Image.Image, top: int, bottom: int) -> Pixels:
    """Rows of a loaded file. It is `crop` that compares them with Pillow's limit; this copies the same pixels."""
    size, box = (file.width, bottom - top), (0, top, file.width, bottom)
    return np.asarray(file.resize(size, Image.Resampling.NEAREST, box))


def _palette(file: Image.Image, pixels: Pixels) -> bytes:
    if file.palette is None or file.palette.mode != "RGB":
        raise ImageError("has a palette of a kind that is not supported")
    return _filled_up(bytes(file.getpalette("RGB") or [])[: 3 * 256], pixels)[0]


def _filled_up(palette: bytes, pixels: Pixels) -> tuple[bytes, bool]:
    """A palette, filled up with black to the colours that the pixels use, and whether that was needed."""
    filled = palette.ljust(3 * (int(pixels.max()) + 1), b"\0")
    return filled, len(filled) > len(palette)


def _transparency(mode: str, value: object, colours: int) -> bytes:
    """Pillow's `info["transparency"]` as PixelImage has it."""
    if value is None:
        return b""
    if mode == "P":
        alpha = b"\xff" * value + b"\0" if isinstance(value, int) else value
        if isinstance(alpha, bytes):
            return alpha[:colours]
    elif mode == "RGB" and isinstance(value, tuple) and len(value) == 3:
        return struct.pack(">3H", *(sample & 0xFF for sample in value))
    elif mode in ("1", "L") and isinstance(value, int):
        return struct.pack(">H", int(value != 0) if mode == "1" else value & 0xFF)
    elif mode == "I;16" and isinstance(value, int):
        return struct.pack(">H", value & 0xFFFF)
    raise ImageError("has a transparency of a kind that is not supported")
