"""Pixels of many images in one file that is mapped into memory: what is not looked at takes none."""

from __future__ import annotations

import mmap
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from bbcompress.errors import DataError

Pixels = npt.NDArray[np.uint8]

ALIGNMENT = 3
"""Images begin at multiples of so many samples: as pixels of one channel or of three they can be counted."""


class PackedImages(Sequence[Pixels]):
    """Images (H, W) or (H, W, 3), uint8, of one flat array.

    Attributes:
        flat: samples of all of them and of others, (n,), n a multiple of 3.
        starts: where each begins in it, multiples of 3.
        shapes: of each.
    """

    def __init__(self, file: PixelFile, starts: Sequence[int], shapes: Sequence[tuple[int, ...]]) -> None:
        self._file = file
        self.flat = file.map()
        self.starts = list(starts)
        self.shapes = list(shapes)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> Pixels: ...
    @overload
    def __getitem__(self, index: slice) -> PackedImages: ...
    def __getitem__(self, index: int | slice) -> Pixels | PackedImages:
        if isinstance(index, slice):
            return PackedImages(self._file, self.starts[index], self.shapes[index])
        start, shape = self.starts[index], self.shapes[index]
        return self.flat[start : start + int(np.prod(shape))].reshape(shape)

    def __add__(self, other: PackedImages) -> PackedImages:
        """These images, and others of the same file behind them."""
        return PackedImages(self._file, self.starts + other.starts, self.shapes + other.shapes)

    def mapped(self, function: Callable[[Pixels], Pixels]) -> PackedImages:
        """These images with other samples, as many, in a file of their own beside this one.

        Raises:
            DataError: the disk is full, for example.
        """
        file = PixelFile(self._file.folder)
        starts = [file.append(function(image)) for image in self]
        return PackedImages(file, starts, self.shapes)

    def let_go(self) -> None:
        """Have the system take back the memory of what was looked at; it is read again when it is needed."""
        self._file.let_go()


class PixelFile:
    """A file without a name that images are appended to; it is gone with the process, however that ends."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: where its bytes lie; None is the system's place for temporary files.

        Raises:
            DataError: no file can be made there.
        """
        self.folder = folder
        with self._told():
            # without a buffer: what could not be written would be written again when the file is closed
            self._file = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._size = 0
        self._map: mmap.mmap | None = None

    def append(self, pixels: Pixels) -> int:
        """Write an image; gives where it begins.

        Raises:
            DataError: the disk is full, for example.
        """
        start = self._size
        self._write(np.ascontiguousarray(pixels).data.cast("B"))
        self._write(memoryview(bytes(-pixels.size % ALIGNMENT)))
        return start

    def _write(self, data: memoryview) -> None:
        with self._told():
            while data:
                written = self._file.write(data)
                self._size += written
                data = data[written:]

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the operating system within the block are told with the place."""
        try:
            yield
        except OSError as error:
            place = self.folder or tempfile.gettempdir()
            raise DataError(f"{place}: the pixels cannot be written there: {error.strerror or error}") from None

    def map(self) -> Pixels:
        """All that was written, (n,); nothing may be appended any more."""
        if self._map is None:
            self._map = mmap.mmap(self._file.fileno(), self._size)
        return np.frombuffer(self._map, np.uint8)

    def let_go(self) -> None:
        """See `PackedImages`."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
