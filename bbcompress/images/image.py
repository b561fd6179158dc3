"""Images as exact arrays with their metadata, and those of two levels as bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from bbcompress import arguments
from bbcompress.errors import ImageError
from bbcompress.images.metadata import (
    CHUNK_BEFORE_PIXELS,
    CHUNKS,
    LEVELS,
    Metadata,
    Record,
    depth_of_colours,
    depth_of_levels,
    fault,
    levels_of,
    levels_record,
)
from bbcompress.images.region import Region
from bbcompress.limits import MAX_SIDE

BAND_PIXELS = 1 << 22
"""Images of more pixels are read, written and compared in bands of rows, to save copies of all pixels."""

Pixels = npt.NDArray[Any]

MODES: dict[str, tuple[type[np.generic], int]] = {
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
"""Of each mode the type of a sample, and the samples of a pixel."""

KEY_BYTES = {"1": 2, "L": 2, "I;16": 2, "RGB": 6, "RGB;16": 6}
"""Bytes of the value that is transparent, in the modes that may have one."""


def samples_of(mode: str) -> int:
    """Samples of each pixel of a mode.

    Raises:
        KeyError: there is no such mode.
    """
    return MODES[mode][1]


def bits_of(mode: str) -> int:
    """Bits of each pixel of a mode without compression.

    Raises:
        KeyError: there is no such mode.
    """
    dtype, samples = MODES[mode]
    return samples * (1 if dtype is np.bool_ else 8 * np.dtype(dtype).itemsize)


@arguments.checked_class
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

    Raises:
        ImageError: the parts do not fit each other, or a side is 0 or above 2^24.
    """

    mode: str
    pixels: Pixels
    palette: bytes = b""
    transparency: bytes = b""
    lost: tuple[str, ...] = ()
    metadata: Metadata = ()

    def __post_init__(self) -> None:
        if not isinstance(self.mode, str) or self.mode not in MODES:
            raise ImageError(f"images of mode {self.mode} are not supported")
        for name, value in (("palette", self.palette), ("transparency", self.transparency)):
            if not isinstance(value, bytes):
                raise ImageError(f"the {name} must be bytes, not {arguments.shown(value)}")
        for name, given, kind in (("metadata", self.metadata, Record), ("lost", self.lost, str)):
            if not isinstance(given, tuple | list) or not all(isinstance(part, kind) for part in given):
                raise ImageError(f"{name} must be a tuple of {kind.__name__}, not {arguments.shown(given)}")
        if not isinstance(self.pixels, np.ndarray):
            raise ImageError(f"pixels must be an array, not a {type(self.pixels).__name__}")
        dtype, samples = MODES[self.mode]
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
        elif self.palette or len(self.transparency) not in (0, KEY_BYTES.get(self.mode, 0)):
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
            depth = depth_of_levels("P", maximum)
            return depth is not None and colours <= maximum + 1 and depth != depth_of_colours(colours)
        dtype = MODES[self.mode][0]
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

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Pixels:
        """The pixels, for `np.asarray`: read-only, unless a copy is asked for; a palette image's are indices."""
        if copy is False and dtype is not None and np.dtype(dtype) != self.pixels.dtype:
            raise ValueError(f"pixels of {self.pixels.dtype} become {np.dtype(dtype)} only by a copy")
        return np.array(self.pixels, dtype) if copy else np.asarray(self.pixels, dtype)

    def __repr__(self) -> str:
        metadata = f", {len(self.metadata)} metadata records" if self.metadata else ""
        return f"<PixelImage {self.width}x{self.height} {self.mode}{metadata}>"

    def crop(self, left: int, top: int, width: int, height: int) -> PixelImage:
        """A region of the image: the pixels from a column and a row on, with its palette and metadata.

        Raises:
            BBCError: the region is empty. RegionError: it is not within the image.
        """
        return self.region(Region.of_integers(left, top, width, height))

    def region(self, region: Region) -> PixelImage:
        """The same. Raises RegionError where the region is not within the image."""
        region.check(self.height, self.width)
        return replace(self, pixels=region.of(self.pixels))

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


@arguments.checked
def from_array(array: Pixels) -> PixelImage:
    """An image from an array (h, w) or (h, w, samples), of any byte order and strides.

    bool is mode 1; uint8 is L, with 2, 3 or 4 samples LA, RGB or RGBA; uint16 is I;16, LA;16, RGB;16 or RGBA;16.

    Raises:
        ImageError: the array is no image.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise ImageError(
            "a masked array is no image, for its mask would be lost; its filled() gives an array without one"
        )
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
    for mode, (dtype, samples) in MODES.items():
        if mode in ("P", "CMYK"):  # of the same arrays as L and RGBA
            continue
        if array.dtype == dtype and array.ndim >= 2 and array.shape[2:] == (() if samples == 1 else (samples,)):
            return PixelImage(mode, array)
    wanted = "images are (height, width) or (height, width, 1 to 4 samples), of bool (1 sample), uint8 or uint16"
    raise ImageError(f"an array of {array.dtype} {array.shape} is no image: {wanted}")


def band_rows(width: int) -> int:
    """Rows of a band of images of that width."""
    return max(1, BAND_PIXELS // width)


def _bands(pixels: Pixels) -> Iterator[Pixels]:
    """The pixels in parts of whole rows, about `BAND_PIXELS` in each."""
    rows = band_rows(pixels.shape[1])
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
