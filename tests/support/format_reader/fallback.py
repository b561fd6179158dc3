"""Section "Fallback item" of docs/format.md."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from .deep import read_deep
from .png import Array, read_png
from .primitives import Cursor, FormatError, check

MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK", "LA;16", "RGB;16", "RGBA;16"]
CHANNELS = [1, 1, 2, 1, 3, 4, 1, 4, 2, 3, 4]
PNG_KINDS = {
    "1": (0, [1]),
    "L": (0, [2, 4, 8]),
    "LA": (4, [8]),
    "P": (3, [1, 2, 4, 8]),
    "RGB": (2, [8]),
    "RGBA": (6, [8]),
    "I;16": (0, [16]),
    "CMYK": (6, [8]),
    "LA;16": (4, [16]),
    "RGB;16": (2, [16]),
    "RGBA;16": (6, [16]),
}
KEY_BYTES = {"1": 2, "L": 2, "I;16": 2, "RGB": 6, "RGB;16": 6}
RAW, PNG, WEBP, BANDS, BYTES, DIFFERENCES, KEPT, DEEP = range(1, 9)
MOST_PIXELS = 2**24


@dataclass
class Picture:
    """An image: samples of shape (height, width) or (height, width, channels)."""

    mode: str
    samples: Array
    palette: bytes = b""
    transparency: bytes = b""
    file: bytes | None = None
    """The file that is kept in place of the image."""


def read_item(
    data: bytes, allowed: tuple[int, ...] = (RAW, PNG, WEBP, BANDS, BYTES, DIFFERENCES, KEPT, DEEP)
) -> Picture:
    """Fallback item: codec, mode and data."""
    cursor = Cursor(data)
    codec, number = cursor.byte(), cursor.byte()
    transparent, number = number >= 0x80, number & 0x7F
    check(codec in allowed, "a codec that cannot stand here")
    check(number < len(MODES), "a reserved mode")
    mode = MODES[number]
    if codec == RAW:
        picture = read_raw(cursor, mode, transparent)
    elif codec == PNG:
        picture = read_png_item(cursor.rest(), mode)
    elif codec == WEBP:
        check(not transparent, "a WebP with a transparency")
        picture = read_webp(cursor.rest(), mode)
    elif codec == BANDS:
        return read_bands(cursor, mode, transparent)
    elif codec == DEEP:
        check(mode.endswith(";16") and not transparent, "a mode that is not deep")
        width, height = cursor.varint(1, 2**24), cursor.varint(1, 2**24)
        check(width * height <= MOST_PIXELS, "an image that has to be in bands")
        picture = Picture(mode, shaped(read_deep(cursor, width, height, CHANNELS[number])))
    elif codec == KEPT:
        return read_kept(cursor, mode, transparent)
    else:
        check(not transparent, "bytes of an image with a transparency")
        picture = read_bytes(cursor, mode, codec == DIFFERENCES)
    check_palette(picture, transparent)
    height, width = picture.samples.shape[:2]
    check(width * height <= MOST_PIXELS, "an image that has to be in bands")
    return picture


def check_palette(picture: Picture, transparent: bool) -> None:
    """Fallback item: palette and transparency fit the mode and the samples."""
    check(bool(picture.transparency) == transparent, "the transparency of an item")
    if picture.mode == "P":
        colours = len(picture.palette) // 3
        check(int(picture.samples.max()) < colours and len(picture.transparency) <= colours, "the palette of an item")
    else:
        check(not picture.palette, "a palette of another mode than P")
        check(len(picture.transparency) in (0, KEY_BYTES.get(picture.mode, 0)), "the transparency of an item")


def read_raw(cursor: Cursor, mode: str, transparent: bool) -> Picture:
    """Fallback item: raw."""
    width, height = cursor.varint(1, 2**24), cursor.varint(1, 2**24)
    check(width * height <= MOST_PIXELS, "an image that has to be in bands")
    palette = cursor.take(3 * cursor.varint(1, 256)) if mode == "P" else b""
    transparency = cursor.take(cursor.varint(1, 256)) if transparent else b""
    channels = CHANNELS[MODES.index(mode)]
    data = cursor.rest()
    if mode == "1":
        check(len(data) == (width * height + 7) // 8, "the length of a raw item")
        bits = np.unpackbits(np.frombuffer(data, np.uint8))
        check(not bits[width * height :].any(), "the unused bits of a raw item")
        samples: Array = bits[: width * height] == 1
    else:
        kind = np.dtype("<u2" if mode.endswith(";16") else "u1")
        check(len(data) == width * height * channels * kind.itemsize, "the length of a raw item")
        samples = np.frombuffer(data, kind)
    return Picture(mode, shaped(samples.reshape(height, width, channels)), palette, transparency)


def shaped(samples: Array) -> Array:
    """Fallback item: samples without the axis of a single channel."""
    return samples[:, :, 0] if samples.shape[2] == 1 else samples


def read_png_item(data: bytes, mode: str) -> Picture:
    """Fallback item: PNG."""
    colour, depth, samples, palette, transparency = read_png(data)
    check(colour == PNG_KINDS[mode][0] and depth in PNG_KINDS[mode][1], "a PNG of another mode")
    samples = shaped(samples)
    if mode == "1":
        samples = samples == 1
    elif mode == "L":
        samples = samples * np.uint8(255 // (2**depth - 1))
    return Picture(mode, samples, palette, transparency)


def read_webp(data: bytes, mode: str) -> Picture:
    """Fallback item: WebP, the bit stream in its RIFF container, decoded by Pillow."""
    from PIL import Image

    chunk = b"VP8L" + len(data).to_bytes(4, "little") + data + b"\0" * (len(data) % 2)
    file = b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk
    samples = np.asarray(Image.open(io.BytesIO(file)).convert("RGBA"))
    check(mode in ("L", "LA", "RGB", "RGBA", "CMYK"), "a mode that no WebP has")
    says_alpha = int.from_bytes(data[1:5], "little") >> 28 & 1
    check(mode != "RGB" or not says_alpha, "an RGB WebP with alpha")
    grey = samples[:, :, :1] == samples[:, :, 1:3]
    check(mode not in ("L", "LA") or bool(grey.all()), "a grey WebP with colours")
    chosen = {"L": [0], "LA": [0, 3], "RGB": [0, 1, 2], "RGBA": [0, 1, 2, 3], "CMYK": [0, 1, 2, 3]}[mode]
    return Picture(mode, shaped(samples[:, :, chosen]))


def read_kept(cursor: Cursor, mode: str, transparent: bool) -> Picture:
    """Fallback item: a kept file, whose image Pillow decodes."""
    from PIL import Image

    width, height = cursor.varint(1, 2**24), cursor.varint(1, 2**24)
    check(width * height <= 2**28, "too many pixels")
    data = cursor.rest()
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise FormatError("a kept file that is no image") from error
    check((image.size, image.mode) == ((width, height), mode), "the image of a kept file is another one")
    palette = bytes(image.getpalette("RGB") or []) if mode == "P" else b""
    alpha = image.info.get("transparency")
    transparency = b"\xff" * alpha + b"\0" if mode == "P" and isinstance(alpha, int) else alpha or b""
    check(bool(transparency) == transparent, "the transparency of a kept file")
    return Picture(mode, np.asarray(image), palette, transparency, data)


def read_bands(cursor: Cursor, mode: str, transparent: bool) -> Picture:
    """Fallback item: bands."""
    width, height = cursor.varint(1, 2**24), cursor.varint(1, 2**24)
    rows = cursor.varint(1, height)
    check(width * height > MOST_PIXELS and rows * width <= MOST_PIXELS, "the size of bands")
    bands = []
    for top in range(0, height, rows):
        bands.append(read_item(cursor.take(cursor.varint()), (RAW, PNG, WEBP, BYTES, DIFFERENCES, DEEP)))
        same = bands[-1].mode, bands[-1].palette, bands[-1].transparency
        check(same == (mode, bands[0].palette, bands[0].transparency), "a band of another kind")
        check(bands[-1].samples.shape[:2] == (min(rows, height - top), width), "the size of a band")
    cursor.end()
    check(bool(bands[0].transparency) == transparent, "the transparency of an item")
    samples = np.concatenate([band.samples for band in bands])
    return Picture(mode, samples, bands[0].palette, bands[0].transparency)


def read_bytes(cursor: Cursor, mode: str, differences: bool) -> Picture:
    """Fallback item: bytes and byte differences."""
    check(mode.endswith(";16"), "bytes of samples that have one")
    high = read_item(cursor.take(cursor.varint()), (RAW, PNG, WEBP))
    low = read_item(cursor.rest(), (RAW, PNG, WEBP))
    half = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[CHANNELS[MODES.index(mode)]]
    check((high.mode, low.mode) == (half, half), "the modes of the bytes")
    check(high.samples.shape == low.samples.shape and not high.transparency + low.transparency, "the two bytes")
    bottom = low.samples + high.samples if differences else low.samples  # modulo 256, as bytes are
    return Picture(mode, high.samples.astype(np.uint16) * 256 + bottom)
