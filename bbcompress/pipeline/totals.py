"""What the images of a file are without compression, and what metadata they have; none is decoded."""

from __future__ import annotations

from typing import Any

import numpy as np

from bbcompress.errors import FormatError
from bbcompress.images.image import MODES
from bbcompress.images.metadata import names_of
from bbcompress.pipeline.reader import Reader


def totals_of(reader: Reader, size: int) -> dict[str, Any]:
    """What all images of a file of so many bytes come to, as JSON values.

    Returns:
        `raw_bytes` of the pixels, a bit each of mode 1; `ratio` of these to the size of the file;
        `bits_per_dimension`. All are None where a size or mode is not known, as of a model that is not installed.
        `metadata`: the number of images that have it, by its name.
    """
    bits: int | None = 0
    samples = 0
    for entry in reader.entries():
        if bits is None or entry.size is None or entry.mode is None:
            bits = None
            continue
        dtype, channels = MODES[entry.mode]
        here = entry.size[0] * entry.size[1] * channels
        samples += here
        bits += here * (1 if dtype is np.bool_ else 8 * np.dtype(dtype).itemsize)
    metadata: dict[str, int] = {}
    for positions in reader.groups:
        for position in positions:
            try:
                _, records = reader.image_info(position)
            except FormatError:
                continue
            for name in names_of(records):
                metadata[name] = metadata.get(name, 0) + 1
    known = bits is not None and samples > 0
    return {
        "raw_bytes": (bits + 7) // 8 if bits is not None else None,
        "ratio": bits / 8 / size if bits is not None and known else None,
        "bits_per_dimension": 8 * size / samples if known else None,
        "metadata": dict(sorted(metadata.items())),
    }
