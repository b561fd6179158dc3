"""Rectangles of images, and how much is decoded to get one."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from bbcompress import arguments
from bbcompress.errors import BBCError, RegionError
from bbcompress.limits import MAX_SIDE

if TYPE_CHECKING:
    import numpy as np

    NumpyArray = np.ndarray[Any, Any]

_TEXT = re.compile(r"([0-9]{1,9}),([0-9]{1,9}),([0-9]{1,9}),([0-9]{1,9})", re.ASCII)


@dataclass(frozen=True)
class Region:
    """A rectangle of an image, in pixels.

    left, top: of its upper left pixel, from 0.

    Raises:
        BBCError: it is empty, or larger than images are.
    """

    left: int
    top: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if not all(0 <= start < MAX_SIDE for start in (self.left, self.top)):
            raise BBCError(f"the region {self} begins at no pixel of an image: X and Y are 0 to {MAX_SIDE - 1}")
        if not all(1 <= side <= MAX_SIDE for side in (self.width, self.height)):
            raise BBCError(f"the region {self} is empty or too large: width and height are 1 to {MAX_SIDE}")

    @staticmethod
    def parse(text: str) -> Region:
        """The region of a text X,Y,W,H.

        Raises:
            BBCError: it says none.
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise BBCError(f"{text[:80]!r} is no region: it must be X,Y,W,H, four whole numbers such as 0,0,640,480")
        return Region(*map(int, found.groups()))

    @staticmethod
    def of_integers(left: Any, top: Any, width: Any, height: Any) -> Region:
        """The region of numbers that a Python program passes. Raises BBCError where they say none."""
        sides = {"left": left, "top": top, "width": width, "height": height}
        return Region(*(arguments.integer(name, value) for name, value in sides.items()))

    @staticmethod
    def whole(height: int, width: int) -> Region:
        """All of an image."""
        return Region(0, 0, width, height)

    def __str__(self) -> str:
        return f"{self.left},{self.top},{self.width},{self.height}"

    @property
    def stem(self) -> str:
        """What names of files say of it."""
        return f"{self.left}-{self.top}-{self.width}x{self.height}"

    def check(self, height: int, width: int) -> None:
        """Raises RegionError unless it lies in an image of that size."""
        if self.left + self.width > width or self.top + self.height > height:
            raise RegionError(f"the region {self} is not within the image, which is {width}x{height} pixels")

    def touches(self, top: int, left: int, height: int, width: int) -> bool:
        """Whether it has a pixel of a rectangle at that place."""
        return (
            top < self.top + self.height
            and self.top < top + height
            and left < self.left + self.width
            and self.left < left + width
        )

    def of(self, pixels: NumpyArray) -> NumpyArray:
        """The region of an array whose first axes are rows and columns."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]

    def paste(self, into: NumpyArray, top: int, left: int, pixels: NumpyArray) -> None:
        """Put what the region has of a rectangle at that place into an array of the region's pixels."""
        first_row, first_column = max(top, self.top), max(left, self.left)
        end_row = min(top + pixels.shape[0], self.top + self.height)
        end_column = min(left + pixels.shape[1], self.left + self.width)
        if first_row < end_row and first_column < end_column:
            into[first_row - self.top : end_row - self.top, first_column - self.left : end_column - self.left] = pixels[
                first_row - top : end_row - top, first_column - left : end_column - left
            ]


@dataclass
class Decoded:
    """How much was decoded to get regions: parts of groups that can be decoded by themselves, and their pixels.

    touched: parts that the regions have pixels of. learned_from: others, from whose pixels a model had to learn first.
    parts, pixels: of all groups that were looked into. decoded_pixels: of those parts that were decoded.
    """

    touched: int = 0
    learned_from: int = 0
    parts: int = 0
    decoded_pixels: int = 0
    pixels: int = 0

    @staticmethod
    def of_one(pixels: int) -> Decoded:
        """Of what can only be decoded as a whole, and was."""
        return Decoded(1, 0, 1, pixels, pixels)

    def add(self, other: Decoded) -> None:
        """Count what another one has counted, too."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def go_back_to(self, before: Decoded) -> None:
        """Count anew from what was counted before."""
        for field in fields(self):
            setattr(self, field.name, getattr(before, field.name))

    def __str__(self) -> str:
        if not self.parts:
            return "decoded nothing: the images were decoded before"
        others = f", and {self.learned_from} from which these learn" if self.learned_from else ""
        share = 100 * self.decoded_pixels / self.pixels
        return (
            f"decoded {self.touched + self.learned_from} of {self.parts} blocks, {share:.1f} % of the pixels: "
            f"{self.touched} that the region touches{others}"
        )


@dataclass
class Wanted:
    """A region of one image of a group, and how much is decoded for it.

    index: of the image in the group.
    """

    index: int
    region: Region
    decoded: Decoded
