"""Telling how far work on images has come, however many passes over their pixels it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bbcompress.images.image import PixelImage

Progress = Callable[[int], None]
"""Called, from the calling thread, with the number of pixels that are newly done."""


class Passes:
    """Tells of each pixel of some images once, when its share of all planned passes is done: models that are compared,
    verification. A pass may cost more than another, and may go over some of the images only."""

    def __init__(self, images: Sequence[PixelImage], progress: Progress | None) -> None:
        self._pixels = pixels_of(images)
        self._progress = progress
        self._planned = self._worked = self._told = 0

    def plan(self, images: Sequence[PixelImage], cost: int) -> None:
        """There will be a pass of so much over these images. All passes are planned before the first begins."""
        self._planned += cost * pixels_of(images)

    def of(self, cost: int) -> Progress:
        """What a pass of so much, which was planned, is to tell of its pixels."""

        def told(pixels: int) -> None:
            self._worked += pixels * cost
            self._tell(min(self._pixels, self._pixels * self._worked // max(1, self._planned)))

        return told

    def finish(self) -> None:
        """All passes are done."""
        self._tell(self._pixels)

    def _tell(self, done: int) -> None:
        if self._progress is not None and done > self._told:
            self._progress(done - self._told)
            self._told = done


def pixels_of(images: Sequence[PixelImage]) -> int:
    """Pixels of all of them."""
    return sum(image.width * image.height for image in images)
