"""A folder of images into one archive, and batches for PyTorch out of it, without unpacking it.

    python examples/archive_and_read.py FOLDER set.bbc

PyTorch is needed: pip install 'bbcompress[train]'. The images have to have one size and kind, as a batch of tensors
wants it; `transform=` of `ArchiveDataset` is the place to crop others.
"""

from __future__ import annotations

import sys

from torch.utils.data import DataLoader

import bbcompress as bbc


def main(folder: str, archive: str) -> None:
    """Write the archive, and read it in both ways."""
    summary = bbc.pack(folder, archive)
    print(f"{summary.images} images: {summary.bits_per_dimension:.3f} bits per sub-pixel")

    dataset = bbc.ArchiveDataset(archive, names=True)
    sampler = bbc.GroupBatchSampler(dataset, batch_size=16, workers=2)  # each group is decoded once in an epoch
    for images, names in DataLoader(dataset, batch_sampler=sampler, num_workers=2):
        print(tuple(images.shape), f"mean level {images.float().mean():.1f}", names[0])

    with bbc.open(archive) as images_by_name:  # or one image, by its name
        name = next(iter(images_by_name))
        print(name, images_by_name[name].pixels.shape)


if __name__ == "__main__":
    main(*sys.argv[1:])
