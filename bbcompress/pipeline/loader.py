"""Image files on their way into a .bbc file: read one by one, and what there is to say of them when all is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import chain

from bbcompress.codecs.kept import SourceFile
from bbcompress.errors import ImageError
from bbcompress.images.image import PixelImage
from bbcompress.images.metadata import OF_PACKING, names_of
from bbcompress.images.read import read_frames, read_image, read_pictures
from bbcompress.limits import MAX_PIXELS
from bbcompress.pipeline.sources import read_file
from bbcompress.system.retries import persistent
from bbcompress.system.storage import Place, Url
from bbcompress.text import count_of

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
        return [f"note: stripped from {count_of(self._images)}: {names}"] if self._images else []


class ImageLoader:
    """Reads images, and counts.

    size: bytes of the files read so far. pixels: of their images.
    """

    def __init__(
        self,
        strip: bool = False,
        frames: bool = False,
        max_pixels: int = MAX_PIXELS,
        verbose: bool = False,
        pixels: bool = False,
    ) -> None:
        """strip: leave out all metadata. frames: take each picture of animations, and each page, as an image.
        max_pixels: most of an image. verbose: the notes also name what says only how the pixels are packed. pixels:
        keep no file in place of its pixels; where metadata is left out none is kept either."""
        self.size = self.pixels = 0
        self._may_keep = not (pixels or strip)
        self._strip, self._frames, self._max_pixels = strip, frames, max_pixels
        self._unsaid: frozenset[str] = frozenset() if verbose else OF_PACKING
        self._lost: list[tuple[str, tuple[str, ...]]] = []
        self._stripped = Stripped()
        self._jpegs: list[str] = []
        self._pictures: dict[str, int] = {}
        self._more: dict[str, str] = {}

    def read(self, source: Place | bytes, label: str) -> Iterator[tuple[PixelImage, SourceFile | None]]:
        """The image of a file, or all of its images where these are wanted; each with the file where that may be kept
        in place of the pixels. One of several images that may be kept is read as its first image.

        Args:
            label: what errors call it.

        Raises:
            ImageError: as `read_image`, and where the file changes while it is read. StorageError: a URL cannot be
            reached.
        """
        if isinstance(source, Url):
            url = source
            data = persistent(lambda: read_file(url, label))  # a network that fails is no fault of the image
        else:
            data = source if isinstance(source, bytes) else read_file(source, label)
        if data.startswith(_APPLE_DOUBLE):
            raise ImageError(f"{label}: is an AppleDouble file, in which macOS keeps what belongs to another")
        images, file = self._images(data, label)
        for number, image in enumerate(images):
            if number == 0:
                self.size += len(data)
                if data.startswith(_JPEG_START):
                    self._jpegs.append(label)
                    self._more[label] = "is a JPEG, of which only the pixels are kept"
            self.pixels += image.width * image.height
            lost = tuple(name for name in image.lost if name not in self._unsaid)
            if lost:
                self._more.setdefault(label, f"has more than is kept ({', '.join(lost)})")
            if self._strip:
                self._stripped.add({*names_of(image.metadata), *image.lost} - self._unsaid)
                yield image.without_metadata(), None
            else:
                if lost:
                    self._lost.append((label, lost))
                yield image, file

    def _images(self, data: bytes, label: str) -> tuple[Iterable[PixelImage], SourceFile | None]:
        """The images of a file that are wanted, and the file where it may be kept in place of the only one."""
        most = self._max_pixels
        if not self._may_keep:
            return read_frames(data, label, most) if self._frames else [read_image(data, label, most)], None
        count, images = read_pictures(data, label, most)
        if count > 1 and self._frames:
            return images, None
        first = next(images)
        if count > 1:
            for _ in images:  # what is damaged is not kept either
                pass
            self._pictures[label] = count
        return [first], SourceFile(data, must_stay=count > 1)

    def read_named(
        self, name: str, source: Place | bytes, label: str
    ) -> Iterator[tuple[str, PixelImage, SourceFile | None]]:
        """The images of a file with their names in an archive: its own, or of several images `its own/0000.png`, ...;
        each with the file where that may be kept in place of the pixels.

        Raises:
            ImageError: as `read_image`.
        """
        images = self.read(source, label)
        first, second = next(images), next(images, None)
        if second is None:
            yield name, *first
            return
        for number, (image, _) in enumerate(chain((first, second), images)):
            yield f"{name}/{number:04}.png", image, None

    def more_than_pixels(self, kept: Collection[str]) -> dict[str, str]:
        """Of files that hold more than is in the .bbc file, by their labels, what that is.

        Args:
            kept: labels of the files that are in it as they are.
        """
        return {label: more for label, more in self._more.items() if label not in kept}

    def notes(self, size: int, kept: Collection[str] = ()) -> list[str]:
        """What the user should know, a line each.

        Args:
            size: of the .bbc file, in bytes.
            kept: labels of the files that are in it as they are.
        """
        lost = Counter(name for label, names in self._lost if label not in kept for name in names)
        lines = [f"note: {kind} of {count_of(count)} not kept" for kind, count in lost.items()]
        if whole := {label: names for label, names in self._lost if label in kept}:
            some = "1 file is kept as it is" if len(whole) == 1 else f"{len(whole)} files are kept as they are"
            which = ", ".join(sorted({name for names in whole.values() for name in names}))
            lines.append(f"note: {some}, with what is not kept where pixels are coded: {which}")
        lines += self._stripped.notes()
        if several := [label for label in self._pictures if label in kept]:
            some = f"{several[0]} has {self._pictures[several[0]]} pictures and is"
            if len(several) > 1:
                some = f"{len(several)} files of several pictures, such as {several[0]}, are"
            lines.append(f"note: {some} kept as it is; its pixels are those of the first picture (--frames takes each)")
        jpegs = [label for label in self._jpegs if label not in kept]
        if jpegs and size > self.size:
            what = jpegs[0] if len(jpegs) == 1 else f"{len(jpegs)} JPEGs are among the images"
            lines.append(f"warning: {what}: {size} bytes are more than before ({self.size}): a JPEG's pixels are kept")
        return lines
