"""Archives whose models learn from image to image: which images share a group, and what becomes of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models_for_tests import sampled_strips, tiny_local

from bbcompress.codecs import choose, learned
from bbcompress.images.image import PixelImage
from bbcompress.models.checkpoint import save
from bbcompress.pipeline import compressor
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options, open_models
from bbcompress.pipeline.reader import Reader

SIZES = [(30, 40), (40, 30), (30, 40), (5, 6), (36, 36), (30, 40)]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model for which all images of the tests are large but those of 5 x 6 pixels."""
    monkeypatch.setattr(choose, "MIXED_PIXELS", 100)
    monkeypatch.setattr(choose, "SOLID_IMAGE_PIXELS", 2_000)
    monkeypatch.setattr(compressor, "SOLID_PIXELS", {False: 3_000, True: 9_000})
    monkeypatch.setattr(learned, "LEAST_PIXELS", 100)
    save(tiny_local(), tmp_path / "tiny")
    return tmp_path / "tiny"


def photographs() -> list[tuple[str, PixelImage]]:
    """Images that the model has drawn, so that it codes them in fewer bytes than the fallback."""
    drawn = [sampled_strips(tiny_local(), 1, *size, seed=number).canvas.images[0] for number, size in enumerate(SIZES)]
    return [(f"{number}.png", PixelImage("RGB", pixels)) for number, pixels in enumerate(drawn)]


def groups_of(images: list[tuple[str, PixelImage]], **options: Any) -> list[tuple[int, bool]]:
    """Images of each group of the archive, and whether it learns; all of them have come back."""
    file = io.BytesIO()
    Compressor(Options(**options)).archive(images, file)
    reader = Reader(file, open_models(options["model"], "cpu"))
    assert [reader.read(position) for position in range(len(images))] == [image for _, image in images]
    return [(group["images"], "learning" in group) for group in reader.describe()["groups"]]


def test_images_of_several_sizes_share_a_group_that_learns(model: Path) -> None:
    found = groups_of(photographs(), model=model, learn=True, solid=False)
    assert sorted(found) == [(1, True), (2, True), (3, True)]  # the small one by itself


def test_solid_groups_are_larger_and_the_default(model: Path) -> None:
    found = groups_of(photographs(), model=model, learn=True)
    assert (5, True) in found


def test_frozen_groups_are_of_one_size(model: Path) -> None:
    found = groups_of(photographs(), model=model, learn=False)
    assert not any(learns for _, learns in found)


def test_groups_that_are_better_frozen_are_of_one_size(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "expected_gain", lambda *_: -1.0)
    found = groups_of(photographs(), model=model)
    assert not any(learns for _, learns in found)
    assert sum(count for count, _ in found) == len(SIZES)


def test_large_images_learn_by_themselves(model: Path) -> None:
    image = sampled_strips(tiny_local(), 1, 50, 50).canvas.images[0]
    items = [*photographs()[:2], ("large.png", PixelImage("RGB", image.astype(np.uint8)))]
    assert sorted(groups_of(items, model=model, learn=True)) == [(1, True), (2, True)]
