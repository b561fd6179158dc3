"""Small images of many sizes, such as icons and thumbnails: groups, rates, and what they cost."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from costs_for_tests import check_cost

import bbcompress
from bbcompress.codecs.ways import FALLBACK
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.read import read_image
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options, open_models
from bbcompress.pipeline.reader import Reader

PHOTO = Path(__file__).parents[1] / "data" / "photos" / "landscape.png"


@pytest.fixture(scope="module")
def compressor() -> Compressor:
    """With the model for photographs."""
    return Compressor(Options(model="photo"))


def crops(count: int, least: int, most: int) -> list[PixelImage]:
    """Pieces of a photograph with sides from `least` to `most` pixels."""
    pixels, random = read_image(PHOTO).pixels, np.random.default_rng(0)
    pieces = []
    for _ in range(count):
        height, width = random.integers(least, most + 1, 2)
        top, left = random.integers(0, pixels.shape[0] - height + 1), random.integers(0, pixels.shape[1] - width + 1)
        pieces.append(from_array(pixels[top : top + height, left : left + width]))
    return pieces


def drawings(count: int) -> list[PixelImage]:
    """Squares on grounds of one colour, of many sizes."""
    random = np.random.default_rng(1)
    found = []
    for _ in range(count):
        height, width = random.integers(16, 48, 2)
        pixels = np.empty((height, width, 3), np.uint8)
        pixels[:] = random.integers(0, 256, 3)
        pixels[4:12, 2:9] = random.integers(0, 256, 3)
        found.append(from_array(pixels))
    return found


def archive(compressor: Compressor, images: Sequence[PixelImage]) -> io.BytesIO:
    file = io.BytesIO()
    compressor.archive([(f"{number}.png", image) for number, image in enumerate(images)], file)
    return file


def test_photographs_and_drawings_of_many_sizes_are_two_groups(compressor: Compressor) -> None:
    """Each is coded by what suits it, and the names are those of the images."""
    photographs, drawn = crops(8, 12, 40), drawings(8)
    images = [image for pair in zip(drawn, photographs, strict=True) for image in pair]
    reader = Reader(archive(compressor, images))
    assert {reader.names[position]: image for position, image in reader.images()} == {
        f"{n}.png": i for n, i in enumerate(images)
    }
    assert {group["model"]: group["images"] for group in reader.describe()["groups"]} == {"photo": 8, FALLBACK: 8}
    entries = list(reader.entries())
    assert [entry.size for entry in entries] == [image.size for image in images]
    coders = ["photo" if entry.coder == "photo" else str(entry.coder)[: len(FALLBACK)] for entry in entries]
    assert coders == [FALLBACK, "photo"] * 8
    assert [reader.image_info(place)[0] for place in range(16)] == [(image.size, "RGB") for image in images]


def test_a_group_of_many_sizes_is_smaller_than_its_images_alone(compressor: Compressor) -> None:
    images = crops(5, 12, 24)
    alone = sum(len(archive(compressor, [image]).getvalue()) for image in images)
    assert len(archive(compressor, images).getvalue()) < alone


def seconds(compressor: Compressor, images: Sequence[PixelImage]) -> tuple[float, float]:
    """Processor seconds to compress images and to read them."""
    start = time.process_time()
    file = archive(compressor, images)
    middle = time.process_time()
    assert len(list(Reader(file, open_models("photo")).images())) == len(images)
    return middle - start, time.process_time() - middle


def test_many_sizes_cost_no_more_than_one(compressor: Compressor) -> None:
    """As many images of one size, which is a little more than the mean: compressing and reading (the benchmark
    small_images.py has the figures)."""
    one_size, many_sizes = crops(24, 28, 28), crops(24, 16, 32)
    seconds(compressor, crops(3, 8, 9))  # kernels are compiled
    check_cost(lambda: seconds(compressor, many_sizes), lambda: seconds(compressor, one_size), 1.6)


def test_a_small_photograph_is_learned_from() -> None:
    """From 48 x 48 pixels on, by a model that is trained to begin learning with."""
    pixels = read_image(PHOTO).pixels[20:68, 30:78]
    usual, frozen, learned = (len(bbcompress.compress(pixels, learn=learn)) for learn in (None, False, True))
    assert usual == learned < frozen
