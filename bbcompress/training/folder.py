"""The images of a directory or archive that can be trained on, decoded one by one into a file of pixels."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bbcompress.errors import DataError
from bbcompress.images.image import PixelImage, two_levels
from bbcompress.system.storage import Place
from bbcompress.text import count_of, some_of
from bbcompress.training.pixels import PackedImages, PixelFile, Pixels
from bbcompress.training.sources import source_of

_log = logging.getLogger(__name__)

HELD_OUT_EVERY = 10
LARGE = 64 << 20
"""Bytes of pixels; of a file that is larger the user is told before it is written."""


@dataclass(frozen=True)
class _Stored:
    """An image of the file: its name in the directory, its shape, where its pixels begin, and whether all of them are
    black or white."""

    name: str
    shape: tuple[int, ...]
    start: int
    is_binary: bool


class Folder:
    """8-bit grey and RGB images of a directory and those below it, in the order of their paths; or of a file of bbc or
    a sharded archive, in its order.

    Those of a directory are found and read as `bbc compress` does it. What is no image, or leads out of the directory,
    is left out, and a line logged says so. Of an archive each group is decoded once, and no file of an image is
    written.

    Attributes:
        path: of the directory or archive.
        images: those that can be used.
    """

    def __init__(
        self,
        path: Place,
        grey: bool = False,
        leave_out: bool = False,
        place: Path | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """grey: RGB images become grey. leave_out: images that cannot be used are left out and named, else the first
        of them is an error. place: where the file of pixels lies. tell: is told how large it becomes.

        Raises:
            DataError: a missing directory, an image that cannot be used, or the file cannot be written.
        """
        if isinstance(path, Path) and not path.exists():
            raise DataError(f"{path}: no such data set or directory (data sets: mnist, cifar10)")
        self.path = path
        self.images: list[_Stored] = []
        self._leave_out = leave_out
        found = source_of(path, leave_out)
        if tell is not None and (size := found.pixel_bytes()) >= LARGE:
            tell(f"the pixels of {count_of(found.count)} are written to a file of {size / 1e6:.0f} MB "
                 f"in {place}, which is gone at the end")  # fmt: skip
        self._file = PixelFile(place)
        stored: list[tuple[int, _Stored]] = []
        for position, name, label, read in found:
            try:
                pixels = _pixels_of(read(), label, grey)
            except DataError as error:
                if not leave_out:
                    raise
                found.reasons.append(str(error))
                continue
            if not leave_out and stored and pixels.ndim != len(stored[0][1].shape):
                raise DataError(f"{path}: grey and colour images are mixed (at {name})")
            is_binary = pixels.ndim == 2 and two_levels(pixels) == (0, 255)
            stored.append((position, _Stored(name, pixels.shape, self._file.append(pixels), is_binary)))
        self.images = [image for _, image in sorted(stored, key=lambda one: one[0])]
        self._tell_left_out("cannot be used", found.reasons)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return (self.path.resolve() if isinstance(self.path, Path) else self.path).name

    def _tell_left_out(self, why: str, names: Sequence[str]) -> None:
        if names:
            _log.warning("%s left out, %s: %s", count_of(len(names)), why, some_of(names, between="; "))

    def keep(self, wanted: Callable[[tuple[int, ...]], bool], why: str) -> None:
        """Leave out images of other shapes.

        Args:
            why: what is said of them.
        """
        self._tell_left_out(why, [image.name for image in self.images if not wanted(image.shape)])
        self.images = [image for image in self.images if wanted(image.shape)]

    def keep_one_kind(self) -> None:
        """Leave out grey images where most are colour, and the other way round."""
        kinds = Counter(len(image.shape) for image in self.images)
        if len(kinds) > 1:
            most = max(kinds, key=lambda dimensions: (kinds[dimensions], dimensions))
            self.keep(
                lambda shape: len(shape) == most,
                "grey, and most are in colours" if most == 3 else "in colours, and most are grey",
            )

    @property
    def is_binary(self) -> bool:
        """Whether all images are black and white."""
        return all(image.is_binary for image in self.images)

    def split(self, any_size: bool, least: int = 1) -> tuple[Pixels | PackedImages, Pixels | PackedImages]:
        """Training and held-out images, every 10th of all; at least one where some may be left out.

        Args:
            any_size: they may differ in size; else they are arrays (N, H, W) or (N, H, W, 3).
            least: the fewest pixels a side.

        Raises:
            DataError: too few images, or images of different sizes where that is not asked for.
        """
        if self._leave_out:
            self.keep_one_kind()
            if any_size:
                self.keep(lambda shape: min(shape[:2]) >= least, f"of fewer than {least} pixels a side")
            elif self.images:
                ((most, _),) = Counter(image.shape for image in self.images).most_common(1)
                size = "x".join(map(str, most[1::-1]))
                self.keep(lambda shape: shape == most, f"of another size than {size}")
        needed = 2 if self._leave_out else HELD_OUT_EVERY
        if len(self.images) < needed:
            raise DataError(f"{self.path}: {count_of(len(self.images))}; at least {needed} are needed")
        first = self.images[0]
        for image in self.images:
            if not any_size and image.shape != first.shape:
                sizes = " and ".join("x".join(map(str, i.shape[1::-1])) for i in (first, image))
                raise DataError(f"{self.path}: images of different sizes ({sizes} at {image.name})")
        test = [image for index, image in enumerate(self.images) if self._is_held_out(index)]
        train = [image for index, image in enumerate(self.images) if not self._is_held_out(index)]
        parts = [PackedImages(self._file, [i.start for i in part], [i.shape for i in part]) for part in (train, test)]
        if any_size:
            return parts[0], parts[1]
        return np.stack(list(parts[0])), np.stack(list(parts[1]))

    def _is_held_out(self, index: int) -> bool:
        if len(self.images) < HELD_OUT_EVERY:
            return index == len(self.images) - 1
        return index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1


def _pixels_of(image: PixelImage, label: str, grey: bool) -> Pixels:
    """The pixels of an 8-bit grey or RGB image.

    Raises:
        DataError: the image is of another kind; none is cut down to these.
    """
    if image.transparency or image.mode not in ("1", "L", "RGB"):
        what = f"mode {image.mode}" + " with a transparent colour" * bool(image.transparency)
        raise DataError(f"{label}: not an 8-bit grey or RGB image ({what})")
    if image.mode == "1":
        return np.where(image.pixels, np.uint8(255), np.uint8(0))
    if image.mode == "RGB" and grey:
        return np.asarray(Image.fromarray(image.pixels).convert("L"))
    return image.pixels
