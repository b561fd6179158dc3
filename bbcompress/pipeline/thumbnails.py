"""Thumbnails of images of files: from the preview, or by decoding. Nothing slow is imported for the former."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from bbcompress.archive.previews import read_lone_preview
from bbcompress.archive.signature import MAGIC
from bbcompress.errors import FormatError, PreviewError
from bbcompress.images.pictures import preview_picture, smaller

if TYPE_CHECKING:
    from PIL import Image

    from bbcompress.codecs.progress import Progress
    from bbcompress.pipeline.reader import Reader

_log = logging.getLogger(__name__)

LARGE_PIXELS = 1 << 20
"""An image of more pixels is decoded for its thumbnail only with a word."""


def chosen(only: Sequence[str]) -> Callable[[Sequence[str | None]], int]:
    """What gives the position of the first image, or of the first whose name fits one of the patterns."""
    from bbcompress.pipeline.names import select

    return lambda names: (select(names, only) or [0])[0]


def of_lone_file(path: str, side: int) -> Image.Image | None:
    """A thumbnail with no side above a limit, from the preview of a file of one image. None for whatever else is at the
    path, and for what cannot be read: the other functions say what is wrong.

    File managers ask for many, one after the other, so that this takes hardly longer than to start Python.
    """
    with suppress(OSError, ValueError, FormatError), open(path, "rb") as file:
        if file.read(len(MAGIC)) == MAGIC:
            found = read_lone_preview(file)
            if found is not None and found.data is not None:
                return smaller(preview_picture(found.data), side)
    return None


def from_preview(file: BinaryIO, side: int, only: Sequence[str] = ()) -> Image.Image | None:
    """A thumbnail with no side above a limit, from the preview of an image of a file; None where there is none, or
    where it is damaged, which a notice says.

    Args:
        only: patterns of names, of which the first image of an archive is taken that fits.

    Raises:
        FormatError: it is no file of bbc, or damaged as a whole. BBCError: a pattern fits no name.
    """
    from bbcompress.archive.thumbnail import read_preview

    try:
        data = read_preview(file, chosen(only))
        return None if data is None else smaller(preview_picture(data), side)
    except PreviewError as error:
        _log.warning("%s; the image is decoded in its place", error)
        return None


def by_decoding(reader: Reader, side: int, only: Sequence[str] = (), progress: Progress | None = None) -> Image.Image:
    """The same, of the decoded image.

    Raises:
        As `Reader.read_group`. BBCError: a pattern fits no name.
    """
    from bbcompress.images.preview import upright, viewed
    from bbcompress.images.region import Region

    position = chosen(only)(reader.names) if reader.is_archive else 0
    size = reader.image_info(position)[0][0]
    if size is None:  # which takes its model to know
        image = reader.read(position)
    else:
        width, height = size
        if width * height > LARGE_PIXELS:
            _log.warning("all %.1f megapixels of the image are decoded for it", width * height / 1e6)
        image = reader.read_region(position, Region.whole(height, width), progress)  # not all of its group
    return upright(smaller(viewed(image), side), image)
