"""Image files on their way into a .bbc file: read one by one, and what there is to say of them when all is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path

from bbcompress.errors import ImageError
from bbcompress.images.image import PixelImage
from bbcompress.images.metadata import OF_PACKING, names_of
from bbcompress.images.read import read_frames, read_image
from bbcompress.limits import MAX_PIXELS
from bbcompress.pipeline.sources import read_file

_JPEG_START = b"\xff\xd8\xff"
_APPLE_DOUBLE = b"\0\5\x16\7"


class Stripped:
    """Counts the images from which metadata is left out."""

    def __init__(self) -> None:
        self._images = 0
        self._names: set[str] = set()

    def add(self, names: Collection[str]) -> None:
        """One more image, of which these are left out."""
        self._images += bool(names)
        self._names.update(names)

    def notes(self) -> list[str]:
        """What the user should know: no line, or one."""
        names = ", ".join(sorted(self._names))
        return [f"note: stripped from {_images(self._images)}: {names}"] if self._images else []


class ImageLoader:
    """Reads images, and counts.

    size: bytes of the files read so far. pixels: of their images. more_than_kept: of files that hold more than is kept
    of them, by their labels, what that is.
    """

    def __init__(
        self, strip: bool = False, frames: bool = False, max_pixels: int = MAX_PIXELS, verbose: bool = False
    ) -> None:
        """strip: leave out all metadata. frames: take each picture of animations, and each page, as an image.
        max_pixels: most of an image. verbose: the notes also name what says only how the pixels are packed."""
        self.size = self.pixels = 0
        self._strip, self._frames, self._max_pixels = strip, frames, max_pixels
        self._unsaid: frozenset[str] = frozenset() if verbose else OF_PACKING
        self._lost: Counter[str] = Counter()
        self._stripped = Stripped()
        self._jpegs: list[str] = []
        self.more_than_kept: dict[str, str] = {}

    def read(self, source: Path | bytes, label: str) -> Iterator[PixelImage]:
        """The image of a file, or all of its images where these are wanted.

        Args:
            label: what errors call it.

        Raises:
            ImageError: as `read_image`, and where the file changes while it is read.
        """
        data = source if isinstance(source, bytes) else read_file(source, label)
        if data.startswith(_APPLE_DOUBLE):
            raise ImageError(f"{label}: is an AppleDouble file, in which macOS keeps what belongs to another")
        most = self._max_pixels
        images = read_frames(data, label, most) if self._frames else [read_image(data, label, most)]
        for number, image in enumerate(images):
            if number == 0:
                self.size += len(data)
                if data.startswith(_JPEG_START):
                    self._jpegs.append(label)
                    self.more_than_kept[label] = "is a JPEG, of which only the pixels are kept"
            self.pixels += image.width * image.height
            if lost := [name for name in image.lost if name not in self._unsaid]:
                self.more_than_kept.setdefault(label, f"has more than is kept ({', '.join(lost)})")
            if self._strip:
                self._stripped.add({*names_of(image.metadata), *image.lost} - self._unsaid)
                yield image.without_metadata()
            else:
                self._lost.update(name for name in image.lost if name not in self._unsaid)
                yield image

    def read_named(self, name: str, source: Path | bytes, label: str) -> Iterator[tuple[str, PixelImage]]:
        """The images of a file with their names in an archive: its own, or of several images `its own/0000.png`, ...

        Raises:
            ImageError: as `read_image`.
        """
        images = self.read(source, label)
        first, second = next(images), next(images, None)
        if second is None:
            yield name, first
            return
        for number, image in enumerate(chain((first, second), images)):
            yield f"{name}/{number:04}.png", image

    def notes(self, size: int) -> list[str]:
        """What the user should know, a line each.

        Args:
            size: of the .bbc file, in bytes.
        """
        lines = [f"note: {kind} of {_images(count)} not kept" for kind, count in self._lost.items()]
        lines += self._stripped.notes()
        if self._jpegs and size > self.size:
            what = self._jpegs[0] if len(self._jpegs) == 1 else f"{len(self._jpegs)} JPEGs are among the images"
            lines.append(f"warning: {what}: {size} bytes are more than before ({self.size}): a JPEG's pixels are kept")
        return lines


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"
