"""Compress and decompress from Python: what the command line does, without its words."""

from __future__ import annotations

import io
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from bbcompress import arguments
from bbcompress.errors import BBCError, FormatError
from bbcompress.images.formats.registry import kind_of, why_not_written, written_kinds
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.pillow import from_pillow
from bbcompress.limits import MAX_PIXELS, READER_K, Limits
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.extraction import Extraction
from bbcompress.pipeline.loader import ImageLoader
from bbcompress.pipeline.options import OptionKeywords, Options, Summary, open_models
from bbcompress.pipeline.packing import Packing, check_output
from bbcompress.pipeline.reader import Reader
from bbcompress.pipeline.sources import open_place
from bbcompress.pipeline.targets import for_images
from bbcompress.system import storage
from bbcompress.system.storage import address_of
from bbcompress.text import warn_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

NumpyArray = np.ndarray[Any, Any]
AnyImage = PixelImage | NumpyArray | Image.Image
"""What can be compressed."""


def as_image(image: AnyImage) -> PixelImage:
    """An image of Pillow or an array, as `from_pillow` and `from_array` take them. Raises ImageError."""
    if isinstance(image, PixelImage):
        return image
    return from_pillow(image) if isinstance(image, Image.Image) else from_array(image)


def limits_of(max_pixels: object, max_steps: object) -> Limits:
    """The limits that a Python program gives. Raises BBCError."""
    return Limits(arguments.integer("max_pixels", max_pixels, 1), arguments.integer("max_steps", max_steps, 0))


@arguments.checked
def compress(
    image: AnyImage | str | Path, k: int | None = None, pixels: bool = False, **options: Unpack[OptionKeywords]
) -> bytes:
    """The bytes of the file of one image.

    image: an image of Pillow; or an array (height, width) or (height, width, samples) of bool, uint8 or uint16, as
        `from_array` takes it; or a `PixelImage`. Its metadata is kept, too. Or the path or URL of an image file, which
        is kept as it is, byte for byte, where it is smaller than its pixels are when they are coded.
    k: steps that refine the posterior (K of the paper's Algorithm 2, Eqs. 20 and 21), 0 to 1000; they cost time on
        both sides, and make files of photographs half a percent smaller. A small image by itself has none. None leaves
        them to the effort; the default effort takes none.
    pixels: code the pixels of a file also where it is smaller as it is.
    options: further ones, as in `Options`, such as `effort`, 1 to 9: how much time is spent to make the file small.

    Raises:
        ImageError: it is no image, or nothing can keep it exactly. ModelError: a chosen model is missing.
        BBCError: an option is out of range. CallError, which is also a TypeError: there is no such option.
    """
    compressor, only_pixels = Compressor(Options.of(k, options, ("pixels",))), arguments.flag("pixels", pixels)
    if not isinstance(image, str | PathLike):
        data, summary = compressor.lone(as_image(image))
        warn_of(summary.notes)
        return data
    path = storage.argument("image", image)
    loader = ImageLoader(max_pixels=compressor.options.max_pixels, pixels=only_pixels)
    ((picture, file),) = loader.read(path, str(path))
    data, summary = compressor.lone(picture, None, file, path.suffix)
    kept = [str(path)] * len(summary.kept)
    warn_of([*(line.removeprefix("note: ") for line in loader.notes(summary.size, kept)), *summary.notes])
    return data


@arguments.checked
def decompress(
    data: bytes,
    model: str | Path | None = None,
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
    max_steps: int = READER_K,
) -> NumpyArray:
    """The pixels of the file of one image: (height, width), or (height, width, samples); bool, uint8 or uint16.

    Of a palette image these are indices; `bbcompress.open` gives the palette and all else. model, device, max_pixels,
    max_steps: as of `bbcompress.open`.

    Raises:
        FormatError: it is damaged, no file of bbc, or an archive. ModelError: the model that it names is missing.
        LimitError: its K is above the limit.
    """
    limits = limits_of(max_pixels, max_steps)
    reader = Reader(io.BytesIO(arguments.data(data)), open_models(arguments.model(model), device), limits)
    if reader.is_archive:
        raise FormatError("this is an archive of several images")
    _, image = next(reader.images())
    return image.pixels


@arguments.checked
def pack(
    paths: str | Path | Sequence[str | Path],
    output: str | Path,
    overwrite: bool = False,
    skip_unreadable: bool | None = None,
    frames: bool = False,
    strip: bool = False,
    pixels: bool = False,
    k: int | None = None,
    **options: Unpack[OptionKeywords],
) -> Summary:
    """Compress files and folders as `bbc compress` does: an image alone into the file of one image, folders and several
    images into an archive.

    paths: images, and folders of images, by their paths or URLs. output: the file to write, by its path or URL.
    overwrite: replace a file that is there.
    skip_unreadable: leave out files that cannot be read, or raise ImageError where there is one; None leaves out those
        met in folders. The notes of the summary name each. frames: take each picture of an animation, and each page,
        as an image. strip: leave out metadata. pixels: code the pixels also of files that are smaller as they are, and
        would be kept so. k: as of `compress`. options: further ones, as in `Options`.

    Raises:
        ImageError: an image cannot be read or kept exactly, or there is none. OutputExistsError: the output is there,
        or among the images. ModelError: a chosen model is missing. BBCError: an option is out of range, or the file
        cannot be written.
    """
    inputs = _inputs(paths)
    target, force = storage.argument("output", output), arguments.flag("overwrite", overwrite)
    skip = None if skip_unreadable is None else arguments.flag("skip_unreadable", skip_unreadable)
    flags = arguments.flag("strip", strip), arguments.flag("frames", frames)
    only_pixels = arguments.flag("pixels", pixels)
    check_output(inputs, target, force)
    compressor = Compressor(Options.of(k, options, ("overwrite", "skip_unreadable", "frames", "strip", "pixels")))
    loader = ImageLoader(*flags, compressor.options.max_pixels, pixels=only_pixels)
    packing = Packing(inputs, target, compressor, loader, skip, force)
    summary = packing.write()
    notes = [line.removeprefix("note: ") for line in packing.notes(summary)]
    summary.notes = [*notes, *(f"skipped: {reason}" for reason in packing.skipped)]
    warn_of(summary.notes)
    return summary


def _inputs(paths: Any) -> list[str]:
    """The paths of a Python program. Raises BBCError."""
    if isinstance(paths, str | PathLike):
        paths = [paths]
    if isinstance(paths, Sequence) and not paths:
        raise BBCError("paths is empty: it must have one or more images or folders")
    if isinstance(paths, bytes) or not isinstance(paths, Sequence):
        raise BBCError(f"paths must be those of one or more images or folders, not {arguments.shown(paths)}")
    return [address_of(storage.argument("a path", path)) for path in paths]


@arguments.checked
def extract(
    archive: str | Path,
    folder: str | Path,
    only: str | Sequence[str] = (),
    format: str | None = None,
    strip: bool = False,
    overwrite: bool = False,
    jobs: int = 1,
    model: str | Path | None = None,
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
    max_steps: int = READER_K,
) -> list[Path]:
    """Write the images of a file of bbc into a folder, as `bbc decompress` does; the paths of their files, by position.

    The file of one image becomes a file of its name. only: patterns of names, such as `"a*.png"`, of the images that
    are wanted. format: of the files, such as `"png"`; None for that which each image's name or kind asks for. strip:
    leave out metadata. overwrite: replace files that are there. jobs: processes that share the groups. model, device,
    max_pixels, max_steps: as of `bbcompress.open`.

    Raises:
        FormatError: the file is damaged, or none of bbc. ModelError: a model that it names is missing. LimitError: its
        K is above the limit. ImageError: the format does not hold an image as it is. OutputExistsError: a file is
        there. BBCError: a pattern fits no image, an argument is out of range, or a file cannot be read or written.
    """
    source, target = storage.argument("archive", archive), for_images(storage.argument("folder", folder))
    patterns = [only] if isinstance(only, str) else list(only)
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise BBCError(f"only must be patterns of names, not {arguments.shown(only)}")
    form = None if format is None else kind_of(f".{str(format).lower()}")
    if format is not None and form is None:
        kinds, asked = ", ".join(written_kinds()), arguments.shown(format)
        raise BBCError(f"format must be one of {kinds}, not {asked}{why_not_written(str(format))}")
    flags = arguments.flag("strip", strip), arguments.flag("overwrite", overwrite)
    limits, jobs = limits_of(max_pixels, max_steps), arguments.integer("jobs", jobs, 1)
    with open_place(source) as file:
        reader = Reader(file, open_models(arguments.model(model), device), limits)
        extraction = Extraction(reader, target, address_of(source), form, patterns, *flags)
        extraction.write(jobs=jobs)
    warn_of(extraction.notes())
    return [extraction.written[position] for position in sorted(extraction.written)]
