"""Pillow opens and saves .bbc files, once :func:`register_pillow` has made them known to it.

Pillow finds no plugins outside of its own package: those of others register themselves, as pillow-heif does.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import IO, Any, BinaryIO, cast

from PIL import Image, ImageFile, ImageSequence

from bbcompress.archive.signature import MAGIC, MIME, PILLOW_FORMAT, SUFFIX
from bbcompress.errors import FormatError
from bbcompress.images.image import PixelImage
from bbcompress.images.pillow import bare_pillow, check_mode, from_pillow, info_of, texts_of, transparency_of
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options
from bbcompress.pipeline.reader import Reader
from bbcompress.text import warn_of

_METADATA = ("icc_profile", "exif", "xmp", "dpi", "comment")
"""Options of `save` that stand for what `info` says."""

_OPTIONS = tuple(field.name for field in fields(Options) if field.name != "binary")


def register_pillow() -> None:
    """Make .bbc files known to Pillow: `Image.open` and `save` then take them as those of its own formats.

    Calling it again changes nothing.
    """
    Image.register_open(PILLOW_FORMAT, BBCImageFile, _accepts)
    Image.register_save(PILLOW_FORMAT, save)
    Image.register_save_all(PILLOW_FORMAT, save_all)
    Image.register_extension(PILLOW_FORMAT, SUFFIX)
    Image.register_mime(PILLOW_FORMAT, MIME)


def _accepts(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


class BBCImageFile(ImageFile.ImageFile):
    """A .bbc file opened by Pillow: a lone image, or an archive, whose images are frames (`n_frames`, `seek`).

    Size, mode and metadata are there at once, pixels, palette and `info["transparency"]` after `load`. `text` has the
    texts, as those of Pillow's PNGs do; of an archive, `info["name"]` is the frame's name.

    Raises:
        ImageError: an image is of a mode that Pillow lacks. ModelError: the model it takes is missing.
        FormatError: the pixels are damaged, when they are loaded. (What is no file of bbc, Pillow calls unidentified.)
    """

    format = PILLOW_FORMAT
    format_description = "bbc, lossless by learned models"

    def _open(self) -> None:
        file = cast(BinaryIO, self.fp)
        try:
            self._reader = Reader(file)
            self.n_frames = self._reader.image_count
            self.is_animated = self.n_frames > 1
            self._look(0)
        except FormatError as error:
            raise SyntaxError(str(error)) from error  # Pillow's word for a file of another kind
        if self._reader.is_archive:
            self._fp = file  # stays open for the other frames

    def _look(self, frame: int) -> None:
        """Take up all that can be had of a frame without decoding it."""
        (size, mode), metadata = self._reader.image_info(frame)
        if size is None or mode is None:  # the model could tell: without it this raises
            image = self._reader.read(frame)
            size, mode = image.size, image.mode
        check_mode(mode)
        self._frame = frame
        self._size, self._mode = size, mode
        self.info = {}
        self.info.update(info_of(metadata))
        self.text = texts_of(metadata)
        if (name := self._reader.names[frame]) is not None:
            self.info["name"] = name
        self.tile = [ImageFile._Tile(PILLOW_FORMAT, (0, 0, *size), 0, mode)]  # says that pixels are to be loaded, here

    def load(self) -> Any:
        """Decode the frame if that was not done. Raises FormatError, ModelError."""
        if self.tile:
            image = self._reader.read(self._frame)
            made = bare_pillow(image)
            self.im, self.palette = made.im, made.palette
            if image.transparency:
                self.info["transparency"] = transparency_of(image)
            self.tile = []
            if self.fp is not None and self._exclusive_fp and not self._reader.is_archive:
                self.fp.close()
        return super().load()

    @property
    def has_transparency_data(self) -> bool:
        """Whether there is alpha or a transparency, which is known when the frame is loaded."""
        self.load()
        return super().has_transparency_data

    def verify(self) -> None:
        """Decode the frame and check it. Raises FormatError, ModelError."""
        self._reader.read(self._frame)
        super().verify()

    def seek(self, frame: int) -> None:
        """Go to an image of an archive. Raises EOFError where there is none."""
        if self._seek_check(frame):
            self._look(frame)
            Image._decompression_bomb_check(self.size)

    def tell(self) -> int:
        """The number of the frame, from 0."""
        return self._frame


def save(image: Image.Image, file: IO[bytes], name: str | bytes = "") -> None:
    """The file of one image, of several frames the current one.

    Options of Pillow's `save`: those of `Options` by their names, such as `k`, `model` and `encoder`;
    `icc_profile`, `exif`, `xmp`, `dpi` and `comment` in place of what `info` says, None for none.
    """
    given = image.encoderinfo
    data, summary = _compressor(given).lone(_taken(image, given))
    warn_of(summary.notes, stacklevel=3)
    file.write(data)


def save_all(image: Image.Image, file: IO[bytes], name: str | bytes = "") -> None:
    """An archive of all frames of the image and of those of `append_images`, without names; options as of `save`."""
    given = image.encoderinfo
    out = io.BytesIO()
    summary = _compressor(given).archive(((None, _taken(frame, given)) for frame in _frames(image)), out)
    warn_of(summary.notes, stacklevel=3)
    file.write(out.getvalue())


def _frames(image: Image.Image) -> Iterator[Image.Image]:
    for one in (image, *image.encoderinfo.get("append_images", ())):
        yield from ImageSequence.Iterator(one)


def _compressor(given: Mapping[str, Any]) -> Compressor:
    options = {name: given[name] for name in _OPTIONS if name in given}
    return Compressor(Options(**options))


def _taken(image: Image.Image, given: Mapping[str, Any]) -> PixelImage:
    taken = from_pillow(image, {name: given[name] for name in _METADATA if name in given})
    if taken.lost:
        warn_of([f"not kept: {', '.join(taken.lost)}"], stacklevel=3)
    return taken
