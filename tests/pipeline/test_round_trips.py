"""Images of any mode, size, palette, transparency and metadata through files of bbc: the same ones come back."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_strategies import image_metadata, images
from models_for_tests import models_in

from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.metadata import CHUNK_BEFORE_PIXELS, Metadata
from bbcompress.images.read import read_image
from bbcompress.images.write import write_image
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.reader import Reader

DATA = Path(__file__).resolve().parents[1] / "data"


def back(data: bytes) -> list[PixelImage]:
    reader = Reader(io.BytesIO(data), models_in())
    found = dict(reader.images())
    return [found[position] for position in range(reader.image_count)]


@settings(max_examples=60)
@given(images())
def test_lone(image: PixelImage) -> None:
    data, _ = Compressor(models=models_in()).lone(image)
    assert back(data) == [image]
    bare, _ = Compressor(models=models_in()).lone(image.without_metadata())
    assert bare == data if not image.metadata else len(bare) < len(data)
    assert read_image(write_image(back(data)[0])[0]) == image


@settings(max_examples=25)
@given(st.lists(images(), min_size=1, max_size=6))
def test_archives(several: list[PixelImage]) -> None:
    file = io.BytesIO()
    Compressor(models=models_in()).archive([(f"{number}.png", image) for number, image in enumerate(several)], file)
    assert back(file.getvalue()) == several


@settings(max_examples=15)
@given(st.lists(image_metadata, min_size=2, max_size=4))
def test_what_models_code_keeps_its_metadata(found: list[Metadata]) -> None:
    """Digits of one group, each with its own; the messages are those of the digits without."""
    digits = [read_image(DATA / "digits" / "binary" / f"{number:04}.png") for number in range(len(found))]
    kept = [tuple(record for record in records if record.kind != CHUNK_BEFORE_PIXELS) for records in found]
    annotated = [replace(digit, metadata=records) for digit, records in zip(digits, kept, strict=True)]
    files = []
    for several in (digits, annotated):
        file = io.BytesIO()
        summary = Compressor(models=models_in()).archive([(None, image) for image in several], file)
        assert set(summary.coders) == {"tiny-binary"}
        files.append(file)
    assert back(files[1].getvalue()) == annotated
    plain, other = (Reader(file, models_in()).file for file in files)
    assert plain.read_group(0).payload == other.read_group(0).payload


@pytest.mark.parametrize("mode", ["RGB;16", "LA"])
def test_sides_that_no_webp_has(mode: str) -> None:
    shape = (2, 16400, 3) if mode == "RGB;16" else (16400, 1, 2)
    pixels = np.random.default_rng(0).integers(0, 9, shape).astype(np.uint16 if mode == "RGB;16" else np.uint8)
    image = from_array(pixels)
    assert image.mode == mode
    assert back(Compressor(models=models_in()).lone(image)[0]) == [image]
