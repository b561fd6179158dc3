"""Images and their metadata, drawn by hypothesis."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bbcompress.images.image import PixelImage
from bbcompress.images.metadata import (
    CHUNK_AFTER,
    CHUNK_BEFORE_PALETTE,
    CHUNK_BEFORE_PIXELS,
    EXIF,
    ICC,
    INTERNATIONAL_TEXT,
    PER_INCH,
    PER_METRE,
    PIXEL_ASPECT,
    PROFILE_NAME,
    RESOLUTION,
    TEXT,
    XMP,
    XMP_KEYWORD,
    Metadata,
    Record,
    resolution,
)

LARGEST = 100 * ((1 << 32) - 1)
"""Most that a ratio of a resolution may have above or below its line."""

SAMPLES = {"LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "LA;16": 2, "RGB;16": 3, "RGBA;16": 4}
MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "LA;16", "RGB;16", "RGBA;16"]
KEYS = {"1": 1, "L": 255, "I;16": 65535, "RGB": 255, "RGB;16": 65535}

keywords = st.binary(min_size=1, max_size=79).filter(lambda key: b"\0" not in key)
plain = st.binary(max_size=20).filter(lambda text: b"\0" not in text)
profile_names = plain.filter(lambda name: name != PROFILE_NAME)  # which stands for none
numbers = st.integers(1, LARGEST)
ratios = st.tuples(st.integers(1, 300), st.integers(1, 10)) | st.tuples(numbers, numbers)
records = st.one_of(
    st.builds(lambda name, data: Record(ICC, name + b"\0" + data), profile_names, st.binary(min_size=1, max_size=50)),
    st.builds(Record, st.sampled_from([EXIF, XMP]), st.binary(max_size=50)),
    st.builds(lambda key, text: Record(TEXT, key + b"\0" + text), keywords, st.binary(max_size=50)),
    st.builds(
        lambda *parts: Record(INTERNATIONAL_TEXT, b"\0".join(parts)),
        keywords.filter(lambda key: key != XMP_KEYWORD),
        plain,
        plain,
        st.binary(max_size=50),
    ),
    st.builds(resolution, st.sampled_from([PIXEL_ASPECT, PER_METRE, PER_INCH]), ratios, ratios),
    st.builds(
        lambda kind, name, data: Record(kind, name + data),
        st.integers(CHUNK_BEFORE_PALETTE, CHUNK_AFTER),
        st.sampled_from([b"gAMA", b"tIME", b"juNk"]),
        st.binary(max_size=20),
    ),
)


def in_order(found: list[Record]) -> Metadata:
    """The records as those of one image: by kind, with one resolution at most."""
    once = [record for record in found if record.kind == RESOLUTION][1:]
    return tuple(sorted((record for record in found if record not in once), key=lambda record: record.kind))


image_metadata = st.lists(records, max_size=5).map(in_order)


@st.composite
def images(draw: st.DrawFn, with_metadata: bool = True) -> PixelImage:
    """An image of any mode, palette, transparency and metadata."""
    mode = draw(st.sampled_from(MODES))
    samples = SAMPLES.get(mode, 1)
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9))) + ((samples,) if samples > 1 else ())
    dtype = np.bool_ if mode == "1" else np.uint16 if mode.endswith(";16") else np.uint8
    colours = draw(st.sampled_from([1, 2, 3, 4, 16, 17, 256])) if mode == "P" else 0
    elements = st.integers(0, colours - 1) if mode == "P" else None
    pixels = draw(arrays.arrays(dtype, shape, elements=elements))
    transparency = b""
    if mode == "P":
        transparency = draw(st.binary(max_size=colours)).rstrip(b"\xff")
    elif mode in KEYS and draw(st.booleans()):
        key = draw(st.lists(st.integers(0, KEYS[mode]), min_size=samples, max_size=samples))
        transparency = struct.pack(f">{samples}H", *key)
    palette = draw(st.binary(min_size=3 * colours, max_size=3 * colours))
    metadata = draw(image_metadata) if with_metadata else ()
    if mode != "P":
        metadata = tuple(record for record in metadata if record.kind != CHUNK_BEFORE_PIXELS)
    return PixelImage(mode, pixels, palette, transparency, metadata=metadata)
