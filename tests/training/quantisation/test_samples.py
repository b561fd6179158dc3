"""The images that settings are chosen on and figures are taken of."""

from __future__ import annotations

import numpy as np
import pytest

from bbcompress.models.strips import Strips
from bbcompress.training.datasets import Dataset
from bbcompress.training.quantisation.samples import calibration_strips, measured_strips

TILE = 64


@pytest.mark.parametrize(
    ("sizes", "side", "count"),
    [([(100, 90), (70, 200), (64, 64)], 64, 3), ([(150, 140), (64, 400)], 128, 1), ([(300, 257), (256, 256)], 256, 2)],
)
def test_squares_are_whole_tiles(sizes: list[tuple[int, int]], side: int, count: int) -> None:
    """Of images too small for the usual squares as many whole tiles are taken as fit, as the export looks at no
    others."""
    images = [np.full((*size, 3), number, np.uint8) for number, size in enumerate(sizes)]
    data = Dataset("sizes", images, images)
    x = measured_strips(data, TILE)
    assert x.canvas.images.shape == (count, side, side, 3)
    assert whole_tiles(x) == count * (side // TILE) ** 2
    assert whole_tiles(calibration_strips(data, TILE)) > 0


def whole_tiles(x: Strips) -> int:
    return sum(len(tile) for tile in x.tiles() if tile.shape[1:3] == (TILE, TILE))
