"""What the images of a file are without compression, and what metadata they have; none is decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bbcompress.images.image import bits_of, samples_of
from bbcompress.images.metadata import Metadata, names_of
from bbcompress.pipeline.listing import ImageInfo


def source_bytes(names: Sequence[str | None], source: Path) -> tuple[int, int]:
    """The bytes of the files that a file of bbc was made of, and how many of its images have none there.

    Args:
        names: of its images. source: the folder that has their files by these names; or the file of the only image.
    """
    if source.is_dir():
        paths = [None if name is None else source / name for name in names]
    else:
        paths = [source, *[None] * (len(names) - 1)]
    found = [path.stat().st_size for path in paths if path is not None and path.is_file()]
    return sum(found), len(names) - len(found)


class Totals:
    """What all images of a file come to."""

    def __init__(self) -> None:
        self._bits = self._samples = 0
        self._is_known = True
        self._metadata: Counter[str] = Counter()

    def count(self, info: ImageInfo, images: int) -> None:
        """Add so many images of this size and mode."""
        size, mode = info
        if size is None or mode is None:
            self._is_known = False
            return
        pixels = images * size[0] * size[1]
        self._samples += pixels * samples_of(mode)
        self._bits += pixels * bits_of(mode)

    def count_metadata(self, records: Metadata) -> None:
        """Add the metadata of an image."""
        self._metadata.update(names_of(records))

    def described(self, size: int) -> dict[str, Any]:
        """The totals of a file of so many bytes, as JSON values.

        Returns:
            `raw_bytes` of the pixels, a bit each of mode 1; `ratio` of these to the size of the file;
            `bits_per_dimension`. All are None where a size or mode is not known, as of a model that is not installed.
            `metadata`: the number of images that have it, by its name.
        """
        has_samples = self._is_known and self._samples > 0
        return {
            "raw_bytes": (self._bits + 7) // 8 if self._is_known else None,
            "ratio": self._bits / 8 / size if has_samples else None,
            "bits_per_dimension": 8 * size / self._samples if has_samples else None,
            "metadata": dict(sorted(self._metadata.items())),
        }
