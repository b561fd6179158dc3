"""Files of images that are kept as they are, byte for byte: items of the fallback. See docs/format.md.

The file gives the pixels, as its format is read everywhere else; the item says before what they will be, so that
nobody takes memory for them, or lists them, by what another library makes of the file.
"""

from __future__ import annotations

from dataclasses import dataclass

from bbcompress.codecs.fallback.codecs import HAS_TRANSPARENCY, KEPT, check_pixels, mode_of, start_of
from bbcompress.errors import FormatError, ImageError
from bbcompress.images.formats.registry import ImageFormat
from bbcompress.images.image import PixelImage
from bbcompress.images.read import read_first
from bbcompress.images.signatures import format_of
from bbcompress.limits import MAX_PIXELS, MAX_SIDE
from bbcompress.wire import ByteReader, varint

ANY_SIZE = MAX_SIDE**2
"""Pixels for those who do not decode an image: no limit."""


@dataclass(frozen=True)
class KeptFile:
    """A file that is kept.

    Attributes:
        data: its bytes.
        mode, size: those of its image, or of the first of several; width and height.
        is_transparent: whether this has a transparency, as of `PixelImage`.
        form: the format, by the first bytes.
    """

    data: bytes
    mode: str
    size: tuple[int, int]
    is_transparent: bool
    form: ImageFormat

    @staticmethod
    def of(data: bytes, image: PixelImage) -> KeptFile:
        """The file from which an image was read.

        Raises:
            ImageError: it is of no format that is read.
        """
        form = format_of(data)
        if form is None:
            raise ImageError("is not an image of a known format")
        return KeptFile(data, image.mode, image.size, bool(image.transparency), form)

    @staticmethod
    def decode(item: bytes, max_pixels: int = MAX_PIXELS) -> KeptFile:
        """The file of an item; its image is not decoded.

        Raises:
            FormatError: the item is none of a kept file, of a format that is not known, or above the limit of pixels.
        """
        reader = ByteReader(item, "a kept file")
        codec, code = reader.take(2)
        if codec != KEPT:
            raise FormatError("a stored image is not a kept file")
        mode = mode_of(code)
        size = kept_size(reader)
        check_pixels(*size, max_pixels)
        data = reader.rest()
        form = format_of(data)
        if form is None:
            raise FormatError("a kept file is of a format that this version does not read")
        return KeptFile(data, mode, size, bool(code & HAS_TRANSPARENCY), form)

    def image(self) -> PixelImage:
        """The image, or the first of several, with its metadata. Errors as of :meth:`first`."""
        return self.first()[0]

    def first(self) -> tuple[PixelImage, int]:
        """The same, and how many there are. The image has no more pixels than `size`, whose limit `decode` checks.

        Raises:
            FormatError: the file is damaged, or its image is not what the item says.
        """
        try:
            image, count = read_first(self.data, "the kept file", self.size[0] * self.size[1])
        except ImageError as fault:
            raise FormatError(str(fault)) from fault
        if (image.mode, image.size, bool(image.transparency)) != (self.mode, self.size, self.is_transparent):
            raise FormatError("the image of a kept file is not what is said of it")
        return image, count

    def is_of(self, kind: str) -> bool:
        """Whether it is surely of a kind of files that are written, of which a format may have several."""
        return [*self.form.written] == [kind]

    @property
    def suffix(self) -> str:
        """The usual one of the format."""
        return self.form.suffixes[0]


def encode_kept(data: bytes, image: PixelImage) -> bytes:
    """The item of a file, from which this image was read."""
    return b"".join([start_of(KEPT, image), varint(image.width), varint(image.height), data])


def kept_size(reader: ByteReader) -> tuple[int, int]:
    """Width and height, as what follows the codec and mode of an item says. Raises FormatError."""
    width, height = reader.varint(MAX_SIDE, "the width"), reader.varint(MAX_SIDE, "the height")
    if not width * height:
        raise FormatError("the image of a kept file is empty")
    return width, height


def is_kept(item: bytes) -> bool:
    """Whether an item of the fallback is a kept file."""
    return item[:1] == bytes([KEPT])
