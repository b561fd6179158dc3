"""Learning that was asked for, of models that cannot."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.read import read_image
from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options

DIGITS = Path(__file__).resolve().parents[1] / "data" / "digits" / "binary"


def digits(count: int) -> list[PixelImage]:
    return [read_image(DIGITS / f"{number:04}.png") for number in range(count)]


def notes(images: list[PixelImage], **options: Any) -> list[str]:
    summary = Compressor(Options(verify=False, **options)).archive([(None, image) for image in images], io.BytesIO())
    return summary.notes


@pytest.mark.parametrize("model", ["mnist-binary-local", None])
def test_a_model_that_cannot_learn(model: str | None) -> None:
    found = notes(digits(3), model=model, learn=True)
    assert found == ["3 of 3 images are coded without learning: the model mnist-binary-local cannot learn from them"]
    assert notes(digits(3), model=model) == []
    assert notes(digits(3), model=model, learn=False) == []


def test_a_lone_image_of_a_model_that_learns_between_batches() -> None:
    _, summary = Compressor(Options(model="mnist-binary", learn=True, verify=False)).lone(digits(1)[0])
    assert summary.notes == ["the image is coded without learning: the model mnist-binary cannot learn from it"]


def test_models_that_learn_and_the_fallback_need_no_note() -> None:
    assert notes(digits(40), model="mnist-binary", learn=True) == []
    assert notes([from_array(np.zeros((5, 5), np.uint8))], learn=True) == []
