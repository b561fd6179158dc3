"""Archives as data sets: items, several loader workers, groups that stay with one of them."""

from __future__ import annotations

import gc
import os
import pickle
from collections import defaultdict
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases_for_tests import one_test_of
from PIL import Image
from torch.utils.data import DataLoader, get_worker_info

import bbcompress as bbc
from bbcompress.images.image import PixelImage
from bbcompress.pipeline import compressor

COUNT = 23


def shaped(number: int, width: int = 6) -> PixelImage:
    return bbc.from_array(np.full((5, width, 3), number, np.uint8))


@pytest.fixture
def path(no_models: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of images of one size in groups of 4, each of the colour of its number. No model is installed."""
    monkeypatch.setattr(compressor, "GROUP_SUBPIXELS", 4 * 5 * 6 * 3)
    bbc.write(tmp_path / "set.bbc", {f"{number}.png": shaped(number) for number in range(COUNT)})
    return tmp_path / "set.bbc"


def of_worker(image: Image.Image) -> tuple[int, int]:
    """The colour of an image, and which worker has it."""
    worker = get_worker_info()
    return image.getpixel((0, 0))[0], -1 if worker is None else worker.id  # type: ignore[index]


def test_items(path: Path) -> None:
    dataset = bbc.ArchiveDataset(path)
    assert len(dataset) == COUNT and len(dataset.groups) == 6
    assert dataset[3].shape == (3, 5, 6) and dataset[3].dtype == torch.uint8 and (dataset[3] == 3).all()
    assert bbc.ArchiveDataset(path, of_worker, names=True)[7] == ((7, -1), "7.png")
    with pytest.raises(IndexError):
        dataset[COUNT]


@pytest.mark.parametrize(
    ("pixels", "shape", "kind"),
    [
        (np.eye(3, 4, dtype=np.bool_), (1, 3, 4), torch.bool),
        (np.ones((3, 4), np.uint16), (1, 3, 4), torch.uint16),
        (np.ones((3, 4, 2), np.uint8), (2, 3, 4), torch.uint8),
    ],
)
def test_pixels_without_a_transform(
    pixels: np.ndarray, shape: tuple[int, ...], kind: torch.dtype, tmp_path: Path
) -> None:
    (tmp_path / "x.bbc").write_bytes(bbc.compress(pixels))
    item = bbc.ArchiveDataset(tmp_path / "x.bbc")[0]
    assert item.shape == shape and item.dtype == kind
    assert np.array_equal(item.numpy(), pixels.reshape(3, 4, -1).transpose(2, 0, 1))


def test_a_transform_of_a_mode_that_pillow_lacks(tmp_path: Path) -> None:
    (tmp_path / "x.bbc").write_bytes(bbc.compress(np.ones((3, 4, 3), np.uint16)))
    with pytest.raises(bbc.ImageError, match="RGB;16"):
        bbc.ArchiveDataset(tmp_path / "x.bbc", of_worker)[0]


def test_a_pickled_data_set_opens_the_file_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    dataset = bbc.ArchiveDataset(path.name, of_worker)
    assert dataset[0] == (0, -1)
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(dataset))[5] == (5, -1)


def test_a_forked_process_has_a_file_of_its_own(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = bbc.ArchiveDataset(path)
    before = dataset.archive
    assert dataset.archive is before
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert dataset.archive is not before
    with pytest.raises(bbc.BBCError, match="closed"):
        before.read(0)


def test_a_data_set_closes_its_file(path: Path) -> None:
    """When it is told, or goes; and opens it again where it is wanted."""
    dataset = bbc.ArchiveDataset(path)
    assert (dataset[1] == 1).all()
    dataset.close()
    dataset.close()
    assert (dataset[2] == 2).all()
    del dataset
    gc.collect()


@pytest.mark.parametrize("shuffle", [False, True])
def test_several_workers_read_all_of_it(path: Path, shuffle: bool) -> None:
    dataset = bbc.ArchiveDataset(path, of_worker, names=True)
    assert dataset[0] == ((0, -1), "0.png")  # opened before the workers are forked
    sampler = bbc.GroupBatchSampler(dataset, 3, workers=2, shuffle=shuffle)
    batches = list(DataLoader(dataset, batch_sampler=sampler, num_workers=2))
    assert len(batches) == len(sampler)
    seen, workers = {}, defaultdict(set)
    for (colours, ids), names in batches:
        for colour, worker, name in zip(colours.tolist(), ids.tolist(), names, strict=True):
            seen[colour] = name
            workers[next(n for n, group in enumerate(dataset.groups) if colour in group)].add(worker)
    assert seen == {number: f"{number}.png" for number in range(COUNT)}
    assert all(len(ids) == 1 for ids in workers.values())
    assert {worker for ids in workers.values() for worker in ids} == {0, 1}


def batches_of(sampler: bbc.GroupBatchSampler) -> list[list[int]]:
    batches = list(sampler)
    assert len(batches) == len(sampler)
    return batches


@one_test_of("workers", [0, 1, 2, 5, 9])
@one_test_of("batch_size", [1, 3, 4, 100])
def test_batches_hold_each_image_once_and_groups_together(path: Path, batch_size: int, workers: int) -> None:
    dataset = bbc.ArchiveDataset(path)
    sampler = bbc.GroupBatchSampler(dataset, batch_size, workers)
    batches = batches_of(sampler)
    assert sorted(position for batch in batches for position in batch) == list(range(COUNT))
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    whole = batches_of(bbc.GroupBatchSampler(dataset, batch_size, workers, drop_last=True))
    assert all(len(batch) == batch_size for batch in whole)
    if workers < 2:
        order = [position // 4 for batch in batches for position in batch]
        assert len([1 for left, right in pairwise(order) if left != right]) == 5


def test_order_is_the_files_or_random_as_the_generator_says(path: Path) -> None:
    dataset = bbc.ArchiveDataset(path)
    assert list(chain(*batches_of(bbc.GroupBatchSampler(dataset, 5, shuffle=False)))) == list(range(COUNT))
    sampler = bbc.GroupBatchSampler(dataset, 5, 2)
    torch.manual_seed(1)
    first, second = batches_of(sampler), batches_of(sampler)
    assert first != second
    torch.manual_seed(1)
    assert batches_of(sampler) == first
    seeded = [bbc.GroupBatchSampler(dataset, 5, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
    assert batches_of(seeded[0]) == batches_of(seeded[1]) != batches_of(seeded[1])


def test_arguments_out_of_range_are_refused(path: Path) -> None:
    dataset = bbc.ArchiveDataset(path)
    for size, workers in ((0, 1), (1, -1), ("8", 1), (1.5, 1)):
        with pytest.raises(bbc.BBCError, match="whole number of at least"):
            bbc.GroupBatchSampler(dataset, size, workers)  # type: ignore[arg-type]
    wrong: Any = [
        (lambda: bbc.ArchiveDataset(3), "path must be"),  # type: ignore[arg-type]
        (lambda: bbc.ArchiveDataset(path, transform=3), "transform must be"),  # type: ignore[arg-type]
        (lambda: bbc.ArchiveDataset(path, name=True), "no option 'name'"),  # type: ignore[call-arg]
        (lambda: bbc.GroupBatchSampler(path, 3), "dataset must be"),  # type: ignore[arg-type]
        (lambda: bbc.GroupBatchSampler(dataset, 3, shufle=True), "no option 'shufle'"),  # type: ignore[call-arg]
    ]
    for call, message in wrong:
        with pytest.raises(bbc.BBCError, match=message):
            call()
    with pytest.raises(bbc.BBCError, match="cannot be read"):
        bbc.ArchiveDataset(path.with_name("none.bbc"))
