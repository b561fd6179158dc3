"""Items of the fallback: images that no model codes, or none codes smaller. See docs/format.md.

An item is of one of the codecs of `codecs.CODECS`, or made of such items. Samples of 16 bits may be stored as two
images, one of their high and one of their low bytes. Large
images are cut into bands of rows, so that a codec never needs more memory than for one band.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from bbcompress.codecs.fallback.codecs import (
    BANDS,
    BYTE_DIFFERENCES,
    BYTES,
    CODECS,
    DEEP,
    HAS_TRANSPARENCY,
    KEPT,
    MODE_CODES,
    check_pixels,
    encode_png,
    encode_raw,
    mode_of,
    start_of,
)
from bbcompress.codecs.fallback.kept import ANY_SIZE, KeptFile, is_kept, kept_size
from bbcompress.codecs.progress import Progress
from bbcompress.errors import BBCError, FormatError, ImageError
from bbcompress.images.image import PixelImage
from bbcompress.images.region import Decoded, Region, Wanted
from bbcompress.limits import MAX_PIXELS, MAX_SIDE
from bbcompress.wire import ByteReader, varint

MAX_ITEM_PIXELS = 1 << 24
"""Most pixels of raw, PNG and WebP; what has more is cut into bands. WebP takes a few bytes for any number of pixels of
one colour, so this alone bounds what a forged item makes a reader allocate."""

BAND_PIXELS = 1 << 22
"""About so many pixels are in a band; a choice of the writer."""

KEPT_NAME = "kept"
"""What is told of files that are kept as they are, before their format."""

_BYTE_MODES = {"I;16": "L", "LA;16": "LA", "RGB;16": "RGB", "RGBA;16": "RGBA"}


def encode_item(image: PixelImage, progress: Progress | None = None, deep: bool = True) -> bytes:
    """The image, without metadata, in the fewest bytes of what codecs there are, above `MAX_ITEM_PIXELS` in bands.

    deep: whether the codec for samples of 16 bits is one of them, which takes longer than the others together, and
    readers a hundred times as long.
    Only what decodes to the same image is taken; what libraries wrote is tried here. ImageError where nothing does.
    """
    image = image.without_metadata()
    if image.width * image.height > MAX_ITEM_PIXELS:
        return _encode_bands(image, progress, deep)
    item = _encode_whole(image, deep)
    if progress is not None:
        progress(image.width * image.height)
    return item


def png_item(image: PixelImage) -> bytes:
    """The image as a PNG, or raw where PNG cannot hold it: quickly, and hardly ever the fewest bytes."""
    try:
        return encode_png(image.without_metadata())
    except (BBCError, OSError, ValueError):
        return encode_raw(image)


def _encode_whole(image: PixelImage, deep: bool = True) -> bytes:
    candidates = []
    for encode in (*(codec.encode for codec in CODECS.values() if deep or codec.code != DEEP), _encode_bytes):
        try:
            candidates.append(encode(image))
        except (BBCError, OSError, ValueError):  # this codec cannot hold the image, or was not built into Pillow
            continue
    for item in sorted(candidates, key=len):
        try:
            if item[0] == DEEP or decode_item(item, image.width * image.height) == image:
                return item
        except FormatError:
            continue
    raise ImageError(f"an image of mode {image.mode} and {image.width}x{image.height} pixels cannot be stored")


def decode_item(item: bytes, max_pixels: int = MAX_PIXELS, progress: Progress | None = None) -> PixelImage:
    """The image of an item. FormatError for anything that :func:`encode_item` and `encode_kept` do not write.

    The size is checked against `max_pixels` before anything is decoded.
    """
    if item[:1] == bytes([BANDS]):
        return _decode_bands(ByteReader(item, "a stored image"), max_pixels, progress)
    if is_kept(item):
        image = KeptFile.decode(item, max_pixels).image()
    else:
        image = _decode_whole(ByteReader(item, "a stored image"), min(max_pixels, MAX_ITEM_PIXELS))
    if progress is not None:
        progress(image.width * image.height)
    return image


def decode_region_of_item(
    item: bytes, wanted: Wanted, max_pixels: int = MAX_PIXELS, progress: Progress | None = None
) -> PixelImage:
    """The region that is wanted of the image of an item: of one in bands those are decoded that it touches, else all of
    it. Metadata is that of kept files.

    Raises:
        FormatError: as of :func:`decode_item`. RegionError: the region is not within the image.
    """
    width, height = item_size(item)
    wanted.region.check(height, width)
    if item[:1] == bytes([BANDS]):
        return _decode_bands(ByteReader(item, "a stored image"), max_pixels, progress, wanted)
    image = decode_item(item, max_pixels, progress)
    wanted.decoded.add(Decoded.of_one(image.width * image.height))
    return image.region(wanted.region)


def item_size(item: bytes) -> tuple[int, int]:
    """Width and height that an item says it has; nothing is decoded. FormatError where it says none."""
    reader = ByteReader(item, "a stored image")
    codec = reader.take(2)[0]
    if codec in CODECS:
        return CODECS[codec].size(reader)
    if codec == KEPT:
        return kept_size(reader)
    if codec == BANDS:
        return reader.varint(MAX_SIDE, "the width"), reader.varint(MAX_SIDE, "the height")
    if codec in (BYTES, BYTE_DIFFERENCES):
        part = reader.take(reader.varint(reader.remaining, "the length of the high bytes"))
        if part and part[0] in CODECS:
            return item_size(part)
    raise FormatError("a stored image is of a codec that this version does not know")


def item_codec(item: bytes) -> str:
    """What stores the image of an item: raw, PNG, WebP or deep, two of them where its parts differ, or `kept` with the
    format of the file; nothing is decoded.

    FormatError where it is damaged.
    """
    if is_kept(item):
        return f"{KEPT_NAME} {KeptFile.decode(item, ANY_SIZE).form.name}"
    return " and ".join(sorted(_codecs_of(item, (*CODECS, BYTES, BYTE_DIFFERENCES, BANDS))))


def _codecs_of(item: bytes, allowed: Collection[int]) -> set[str]:
    reader = ByteReader(item, "a stored image")
    codec = reader.take(2)[0]
    found: set[str] = set()
    if codec not in allowed:
        raise FormatError("a stored image is of a codec that this version does not know")
    if codec in CODECS:
        return {CODECS[codec].name}
    if codec == BANDS:
        reader.varint(MAX_SIDE, "the width")
        reader.varint(reader.varint(MAX_SIDE, "the height"), "the height of a band")
        while reader.remaining:
            band = reader.take(reader.varint(reader.remaining, "the length of a band"))
            found |= _codecs_of(band, (*CODECS, BYTES, BYTE_DIFFERENCES))
        return found
    high = reader.take(reader.varint(reader.remaining, "the length of the high bytes"))
    return _codecs_of(high, CODECS) | _codecs_of(reader.rest(), CODECS)


def item_mode(item: bytes) -> str:
    """The mode that an item says its image has; nothing is decoded. FormatError where it says none."""
    return mode_of(ByteReader(item, "a stored image").take(2)[1])


def _decode_whole(reader: ByteReader, max_pixels: int) -> PixelImage:
    codec, code = reader.byte(), reader.byte()
    mode = mode_of(code)
    if codec not in CODECS and codec not in _OF_TWO:
        raise FormatError("a stored image is of a codec that this version does not know")
    decode = CODECS[codec].decode if codec in CODECS else _OF_TWO[codec]
    try:
        image = decode(reader, mode, bool(code & HAS_TRANSPARENCY), max_pixels)
    except ImageError as fault:
        raise FormatError(f"a stored image is damaged: {fault}") from fault
    if (image.mode, bool(image.transparency)) != (mode, bool(code & HAS_TRANSPARENCY)):
        raise FormatError("a stored image is not of the mode that it says")
    return image


def _encode_bands(image: PixelImage, progress: Progress | None, deep: bool) -> bytes:
    rows = max(1, BAND_PIXELS // image.width)
    out = io.BytesIO()  # grows in place
    out.write(start_of(BANDS, image) + varint(image.width) + varint(image.height) + varint(rows))
    for top in range(0, image.height, rows):
        band = PixelImage(image.mode, image.pixels[top : top + rows], image.palette, image.transparency)
        item = _encode_whole(band, deep)
        out.write(varint(len(item)) + item)
        if progress is not None:
            progress(band.width * band.height)
    return out.getvalue()


def _decode_bands(
    reader: ByteReader, max_pixels: int, progress: Progress | None, wanted: Wanted | None = None
) -> PixelImage:
    start = reader.take(2)
    width, height = reader.varint(MAX_SIDE, "the width"), reader.varint(MAX_SIDE, "the height")
    check_pixels(width, height, max_pixels)
    rows = reader.varint(height, "the height of a band")
    if width * height <= MAX_ITEM_PIXELS or rows < 1 or (rows > 1 and rows * width > MAX_ITEM_PIXELS):
        raise FormatError(f"a stored image of {width}x{height} pixels may not be cut into bands of {rows} rows")
    region = Region.whole(height, width) if wanted is None else wanted.region
    decoded = Decoded(pixels=width * height)
    first: PixelImage | None = None
    for top in range(0, height, rows):
        shape = (min(rows, height - top), width)
        item = reader.take(reader.varint(reader.remaining, "the length of a band"))
        decoded.parts += 1
        if not region.touches(top, 0, *shape):
            continue
        decoded.touched += 1
        decoded.decoded_pixels += shape[0] * shape[1]
        if item[1:2] != start[1:]:
            raise FormatError("a band of a stored image is not of the image's mode")
        band = _decode_whole(ByteReader(item, "a band of a stored image"), shape[0] * shape[1])
        if band.pixels.shape[:2] != shape:
            raise FormatError(f"a band of a stored image has {band.width}x{band.height} pixels")
        if first is None:  # only now: what is no image costs no memory
            first = band
            pixels = np.empty((region.height, region.width, *band.pixels.shape[2:]), band.pixels.dtype)
        if (band.palette, band.transparency) != (first.palette, first.transparency):
            raise FormatError("the bands of a stored image differ in palette or transparency")
        region.paste(pixels, top, 0, band.pixels)
        if progress is not None:
            progress(shape[0] * shape[1])
    reader.finish()
    if wanted is not None:
        wanted.decoded.add(decoded)
    pixels.flags.writeable = False
    return replace(band, pixels=pixels)


def _encode_bytes(image: PixelImage) -> bytes:
    """The high bytes of 16-bit samples as an image of 8 bits, then the low ones, or what these differ by."""
    if not image.mode.endswith(";16") or not image.plain:
        raise ValueError("the samples have one byte, or a transparency of two")
    mode = _BYTE_MODES[image.mode]
    high, low = (image.pixels >> 8).astype(np.uint8), image.pixels.astype(np.uint8)
    codec = BYTES
    if np.array_equal(high, low):  # 8 bits, spread over 16
        codec, low = BYTE_DIFFERENCES, np.zeros_like(low)
    part = _encode_whole(PixelImage(mode, high))
    return start_of(codec, image) + varint(len(part)) + part + _encode_whole(PixelImage(mode, low))


def _decode_bytes(reader: ByteReader, mode: str, transparent: bool, max_pixels: int) -> PixelImage:
    if mode not in _BYTE_MODES or transparent:
        raise FormatError(f"a stored image of mode {mode} has no two images of bytes")
    high_item = reader.take(reader.varint(reader.remaining, "the length of the high bytes"))
    start = bytes([MODE_CODES[_BYTE_MODES[mode]]])
    parts = []
    for item in (high_item, reader.rest()):
        if not item or item[0] not in CODECS or item[1:2] != start:
            raise FormatError("the bytes of a stored image are not stored as an image of bytes")
        parts.append(_decode_whole(ByteReader(item, "the bytes of a stored image"), max_pixels).pixels)
    high, low = parts
    if high.shape != low.shape:
        raise FormatError("the high and low bytes of a stored image are of different sizes")
    return PixelImage(mode, high.astype(np.uint16) << 8 | low)


def _decode_differences(reader: ByteReader, mode: str, transparent: bool, max_pixels: int) -> PixelImage:
    stored = _decode_bytes(reader, mode, transparent, max_pixels)
    high = stored.pixels >> 8
    return replace(stored, pixels=high << 8 | (stored.pixels + high & 0xFF))


_OF_TWO: dict[int, Callable[[ByteReader, str, bool, int], PixelImage]] = {
    BYTES: _decode_bytes,
    BYTE_DIFFERENCES: _decode_differences,
}
"""What decodes items of two items."""
