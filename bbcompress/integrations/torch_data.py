"""Archives as data sets of PyTorch, read group by group by any number of loader workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, Sampler

from bbcompress import arguments
from bbcompress.collection import Archive
from bbcompress.errors import BBCError
from bbcompress.images.image import PixelImage
from bbcompress.images.pillow import to_pillow
from bbcompress.limits import MAX_PIXELS, READER_K
from bbcompress.system import storage
from bbcompress.system.storage import Url


@arguments.checked_class
class ArchiveDataset(Dataset[Any]):
    """The images of a file of bbc by their positions; each process that reads opens the file for itself.

    Reading an image decodes its whole group, and groups are kept in memory up to a bound: with `GroupBatchSampler`
    each is decoded once in an epoch, in random order about once for each image.
    """

    def __init__(
        self,
        path: str | Path,
        transform: Callable[[Image.Image], Any] | None = None,
        names: bool = False,
        model: str | Path | None = None,
        device: str = "cpu",
        max_pixels: int = MAX_PIXELS,
        max_steps: int = READER_K,
    ) -> None:
        """transform: what makes an item of an image of Pillow, as for torchvision's data sets; None gives the pixels
        as a tensor (samples, height, width) of bool, uint8 or uint16, of palette images the indices.
        names: give pairs of the item and the image's name. model, device, max_pixels, max_steps: as of
        `bbcompress.open`.

        Raises:
            FormatError: it is no file of bbc, or damaged. ModelError: a chosen model is missing. BBCError: the file
            cannot be read.
        """
        if transform is not None and not callable(transform):
            raise BBCError(f"transform must be a function of an image, not {arguments.shown(transform)}")
        place = storage.argument("path", path)
        self.path = place if isinstance(place, Url) else place.absolute()
        self.transform = transform
        self._names, self._choice = arguments.flag("names", names), (model, device, max_pixels, max_steps)
        self._opened: tuple[int, Archive] | None = None
        self.groups = list(self.archive.groups)
        """The positions of the images of each group."""
        self._count = len(self.archive)

    @property
    def archive(self) -> Archive:
        """The file, as this process has opened it: of one from before a fork, both would move the place in it."""
        if self._opened is None or self._opened[0] != os.getpid():
            self.close()
            self._opened = os.getpid(), Archive(storage.address_of(self.path), *self._choice)
        return self._opened[1]

    def close(self) -> None:
        """Close the file in this process. It is opened again when an image is read."""
        if self._opened is not None:
            self._opened[1].close()
            self._opened = None

    def __del__(self) -> None:
        if "_opened" in self.__dict__:  # else the file was never opened
            self.close()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, position: int) -> Any:
        """An image, transformed.

        Raises:
            ImageError: there is a transform, and Pillow has no images of the mode.
            IndexError: there is no such image.
            FormatError, ModelError, LimitError: as `Archive.read`.
        """
        archive = self.archive
        image = archive.read(position)
        item = pixels_tensor(image) if self.transform is None else self.transform(to_pillow(image))
        return (item, archive.name(position)) if self._names else item

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def pixels_tensor(image: PixelImage) -> torch.Tensor:
    """The pixels as a tensor (samples, height, width) of bool, uint8 or uint16."""
    pixels = image.pixels if image.pixels.ndim == 3 else image.pixels[:, :, None]
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))


@arguments.checked_class
class GroupBatchSampler(Sampler[list[int]]):
    """Batches of positions in which groups stay together, for `DataLoader(dataset, batch_sampler=...)`.

    Groups are dealt to as many streams as there are loader workers, evenly by their images, and batches come from the
    streams in turn, as the loader hands them out: so each group is decoded by one worker. The batches at the end, when
    streams are used up, may go to another.
    """

    def __init__(
        self,
        dataset: ArchiveDataset,
        batch_size: int,
        workers: int = 1,
        shuffle: bool = True,
        drop_last: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        """batch_size: images a batch; the last of each stream may have fewer, unless `drop_last`.
        workers: `num_workers` of the loader. shuffle: the groups, and the images in each; another way in each epoch.
        generator: for that; None seeds one from PyTorch's, as its own samplers do.

        Raises:
            BBCError: batch_size is below 1, or workers below 0; or another argument is wrong.
        """
        if not isinstance(dataset, ArchiveDataset):
            raise BBCError(f"dataset must be an ArchiveDataset, not {arguments.shown(dataset)}")
        self._batch_size = batch_size = arguments.integer("batch_size", batch_size, 1)
        workers = arguments.integer("workers", workers, 0)
        self._shuffle, self._drop_last = arguments.flag("shuffle", shuffle), arguments.flag("drop_last", drop_last)
        self._generator = generator
        self._streams: list[list[Sequence[int]]] = [[] for _ in range(max(1, workers))]
        counts = [0] * len(self._streams)
        largest_first = sorted(dataset.groups, key=len, reverse=True) if workers > 1 else dataset.groups
        for group in largest_first:
            least = counts.index(min(counts))
            counts[least] += len(group)
            self._streams[least].append(group)
        self._batches = sum(count // batch_size if drop_last else -(-count // batch_size) for count in counts)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        generator = self._generator
        if generator is None and self._shuffle:
            generator = torch.Generator()
            generator.manual_seed(int(torch.empty((), dtype=torch.int64).random_().item()))
        for batches in zip_longest(*(self._stream(groups, generator) for groups in self._streams)):
            yield from (batch for batch in batches if batch is not None)

    def _stream(self, groups: list[Sequence[int]], generator: torch.Generator | None) -> Iterator[list[int]]:
        batch: list[int] = []
        for number in self._order(len(groups), generator):
            for index in self._order(len(groups[number]), generator):
                batch.append(groups[number][index])
                if len(batch) == self._batch_size:
                    yield batch
                    batch = []
        if batch and not self._drop_last:
            yield batch

    def _order(self, count: int, generator: torch.Generator | None) -> list[int]:
        return torch.randperm(count, generator=generator).tolist() if self._shuffle else list(range(count))
