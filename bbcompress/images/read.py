"""Image files read as exact images: without losing a bit, or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import BinaryIO

from bbcompress import arguments
from bbcompress.errors import BBCError, ImageError, MissingImageError
from bbcompress.images.formats.registry import Pictures, image_formats
from bbcompress.images.image import PixelImage
from bbcompress.images.signatures import START_BYTES, format_of, why_not
from bbcompress.limits import MAX_FILE_BYTES, MAX_PIXELS

_AT_ONCE = 1 << 20
"""Bytes of a file whose size is not known that are read at once."""


AnySource = str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""What an image file is read from: its path, its bytes, or an open binary file."""


@arguments.checked
def read_image(
    source: AnySource,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    formats: Sequence[str] | None = None,
) -> PixelImage:
    """Read an image file exactly.

    ImageError, one line, for what cannot be read, is damaged, animated, of several pages, above `max_pixels`
    or of a kind that would not be kept exactly. BBCError: another argument is wrong.

    Args:
        source: its path, its bytes, or an open binary file, of which the rest is read.
        name: what errors call it; the path where None.
        formats: Pillow's names of those allowed; None for all that are read.
    """
    most = arguments.integer("max_pixels", max_pixels, 1)
    known = [form.name for form in image_formats()]
    if formats is not None and (isinstance(formats, str) or not set(formats) <= set(known)):
        raise BBCError(f"formats must be some of {', '.join(known)}, not {arguments.shown(formats)}")
    data, name = load_file(source, name)
    with _named_errors(name):
        return _read(data, most, formats)


@arguments.checked
def read_frames(source: AnySource, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Iterator[PixelImage]:
    """Read all pages of a TIFF, or all pictures of an animation as they are seen, one by one; of other files the image.

    The arguments, and ImageError, are as of `read_image`, but for animations and pages.
    """
    return read_pictures(source, name, arguments.integer("max_pixels", max_pixels, 1))[1]


def read_pictures(
    source: AnySource, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> tuple[int, Iterator[PixelImage]]:
    """The number of the images of a file, and these one by one, as `read_frames` gives them.

    Raises:
        ImageError: as `read_frames`.
    """
    data, name = load_file(source, name)
    with _named_errors(name):
        found = _parse(data, max_pixels)
    return found.count, _one_by_one(found.images, name)


def read_first(source: AnySource, name: str, max_pixels: int = MAX_PIXELS) -> tuple[PixelImage, int]:
    """The first image of a file, as `read_frames` gives it, and the number of all.

    Raises:
        ImageError: as `read_frames`, but for damage in the other images.
    """
    count, images = read_pictures(source, name, max_pixels)
    return next(images), count


def _one_by_one(images: Iterator[PixelImage], name: str) -> Iterator[PixelImage]:
    while True:
        with _named_errors(name):
            image = next(images, None)
        if image is None:
            return
        yield image


def load_file(source: AnySource, name: str | None = None) -> tuple[bytes, str]:
    """The bytes of an image file, or of what is left of an open one, and what to call it.

    Of what does not begin as an image of a format that is read only the beginning is read.

    Raises:
        ImageError: it cannot be read, is empty, is no image, or has more than `MAX_FILE_BYTES`.
    """
    try:
        if isinstance(source, bytes | bytearray | memoryview):
            name = name or "the image"
            data = bytes(source)
        elif isinstance(source, str | PathLike):
            name = name or str(source)
            with open(source, "rb") as file:
                data = _load(file, name)
        elif callable(getattr(source, "read", None)):
            name = name or "the image"
            arguments.no_text_file("source", source)
            data = _load(source, name)
        else:
            raise ImageError(f"source must be a path, bytes or a binary file, not a {type(source).__name__}")
    except (OSError, ValueError) as error:
        if isinstance(error, BBCError):
            raise
        reason = getattr(error, "strerror", None) or error
        kind = MissingImageError if isinstance(error, FileNotFoundError) else ImageError
        raise kind(f"{name}: cannot be read: {reason}") from error
    if not data:
        raise ImageError(f"{name}: is empty")
    return data, name


def _load(file: BinaryIO, name: str) -> bytes:
    start = file.read(START_BYTES)
    if not isinstance(start, bytes):
        raise ImageError(f"source must be a binary file: read() gives {arguments.shown(start)}")
    if start and format_of(start) is None:
        raise ImageError(f"{name}: {why_not(start)}")
    size = _size_of(file)
    too_large = size is not None and size > MAX_FILE_BYTES
    parts, left = [start], 0 if len(start) < START_BYTES or too_large else MAX_FILE_BYTES + 1 - len(start)
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


def _read(data: bytes, max_pixels: int, formats: Sequence[str] | None) -> PixelImage:
    found = _parse(data, max_pixels, formats)
    if found.count > 1:
        message, advice = f"is animated or has several pages, {found.count} of them", "takes each as an image"
        raise ImageError(message, python=f"bbcompress.read_frames() {advice}", command=f"--frames {advice}")
    return next(found.images)


def _parse(data: bytes, max_pixels: int, formats: Sequence[str] | None = None) -> Pictures:
    """The images of a file; what they have in common is looked at already."""
    found = format_of(data)
    if found is None:
        raise ImageError(why_not(data))
    if formats is not None and found.name not in formats:
        raise ImageError(f"is not an image of a format that is read here, but {found.name}")
    return found.read(data, max_pixels)
