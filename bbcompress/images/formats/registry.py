"""The image formats that are read and written: what each has to say of itself, and where all of them are found.

A format is one module of this package, or a package where it takes several. Its `FORMAT` is all that the rest knows of
it. A declaration imports neither numpy nor Pillow: the command line lists the formats without them. Its functions are
in a module that is imported `later`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bbcompress.errors import ImageError

if TYPE_CHECKING:
    from bbcompress.images.image import PixelImage


@dataclass(frozen=True)
class Pictures:
    """The images of a file: how many there are, and an iterator that reads one after the other."""

    count: int
    images: Iterator[PixelImage]


def _refuse(image: PixelImage, kind: str) -> bytes:
    raise ImageError(f"{kind} is a format that is only read")


def later(module: str, name: str) -> Callable[..., Any]:
    """A function of a module, which is imported when it is called."""

    def call(*given: Any) -> Any:
        return getattr(import_module(module), name)(*given)

    return call


@dataclass(frozen=True)
class ImageFormat:
    """An image format.

    Attributes:
        name: Pillow's.
        magic: a regular expression, in which a point is any byte, of the first bytes of its files; it looks at no more
            than `signatures.START_BYTES`, and matches no file of another format.
        suffixes: those of its files, in lower case; in a folder, files of other suffixes are left out.
        read: gives the images of a file (all of its bytes, the most pixels of an image) that begins as `magic` says,
            each exactly, with its metadata; the size is checked before memory is taken for pixels. It raises ImageError
            for damage, and for what would not be kept exactly: its text is the end of a sentence about the file.
            Whatever else it raises is taken for damage.
        written: the kinds of files that `write` makes, and the suffixes of each; a new file gets the first. Empty for a
            format that is only read.
        write: gives a file (an image, one of the kinds) from which the same image is read, the same bytes each time. It
            raises ImageError where the format cannot hold the image.
        read_back: whether a file that was written is read again and compared; that of another library is.
    """

    name: str
    magic: bytes
    suffixes: tuple[str, ...]
    read: Callable[[bytes, int], Pictures]
    written: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    write: Callable[[PixelImage, str], bytes] = _refuse
    read_back: bool = True


@cache
def image_formats() -> tuple[ImageFormat, ...]:
    """All formats, ordered by the names of their modules."""
    package = import_module(__package__)
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    modules = (import_module(f"{__package__}.{name}") for name in names if name != "registry")
    return tuple(module.FORMAT for module in modules)


def image_suffixes() -> frozenset[str]:
    """The suffixes of image files, in lower case and with their point."""
    return frozenset(suffix for form in image_formats() for suffix in form.suffixes)


@cache
def written_kinds() -> Mapping[str, ImageFormat]:
    """The kinds of files that are written, in order of their names, and the format of each."""
    return dict(sorted((kind, form) for form in image_formats() for kind in form.written))


def kind_of(suffix: str) -> str | None:
    """The kind of the files that are written under a suffix, a point before it or not; None if there is none."""
    wanted = "." + suffix.lower().removeprefix(".")
    return next((kind for kind, form in written_kinds().items() if wanted in form.written[kind]), None)


def why_not_written(asked: str) -> str:
    """The end of a message on a format, or a suffix, that was asked for and is not written: why, where that is JPEG."""
    suffix = "." + asked.lower().removeprefix(".")
    is_jpeg = any(form.name == "JPEG" and suffix in form.suffixes for form in image_formats())
    return "; JPEG would change the pixels" if is_jpeg else ""


def default_kind(mode: str | None) -> str:
    """PNG, or TIFF for images of a mode that PNG cannot hold, which is CMYK. None: it is not known, and so not that."""
    return "tiff" if mode == "CMYK" else "png"
