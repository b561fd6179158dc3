"""The images on which settings are chosen, and those on which a card's figures are measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bbcompress.models.strips import Canvas, Strips
from bbcompress.training.datasets import Dataset

NumpyArray = np.ndarray[Any, Any]

CROP = 256
"""Side of the squares of large images on which settings are chosen and figures taken."""
CROPS = 8
CALIBRATION_CROPS = 3
SMALL_IMAGES = 200
"""How many images of one size settings are chosen on."""
MEASURED_IMAGES = 1000
QUICK_IMAGES, QUICK_DIRECT = 32, 2
"""In a run that has a time settings are chosen on so many images of one size, or on one crop, and so are figures taken;
so many of them are coded directly."""


def calibration_strips(data: Dataset, tile: int, crops: int = CALIBRATION_CROPS, images: int = SMALL_IMAGES) -> Strips:
    """What settings are chosen on, apart from `measured_strips`.

    Args:
        crops: most squares of images of any size. images: most images of one size.
    """
    if data.any_size:
        return Strips.all_of(Canvas.of(_crops(data.train[::2], crops, tile), tile))
    return Strips.all_of(Canvas.of(_with_channels(np.asarray(data.test[-images:])), tile))


def measured_strips(data: Dataset, tile: int, crops: int = CROPS, images: int = MEASURED_IMAGES) -> Strips:
    """What a card's figures are of; `crops` and `images` as in `calibration_strips`."""
    if data.any_size:
        return Strips.all_of(Canvas.of(_crops(data.test, crops, tile), tile))
    return Strips.all_of(Canvas.of(_with_channels(np.asarray(data.test[:images])), tile))


def _crops(images: NumpyArray | Sequence[NumpyArray], most: int, tile: int) -> NumpyArray:
    """The middles of the first images that are large enough, (N, side, side, C): `CROP`, or as many whole tiles as the
    largest image holds where none is so large."""
    crops = []
    side = min(CROP, max(min(image.shape[:2]) for image in images))
    side -= side % tile  # the export looks at whole tiles
    for image in images:
        height, width = image.shape[:2]
        if min(height, width) >= side:
            top, left = (height - side) // 2, (width - side) // 2
            crops.append(image[top : top + side, left : left + side])
        if len(crops) == most:
            break
    return _with_channels(np.stack(crops))


def _with_channels(images: NumpyArray) -> NumpyArray:
    return images.reshape(*images.shape[:3], -1)
