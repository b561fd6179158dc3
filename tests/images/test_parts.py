"""Images with alpha as images of their colours and their alpha."""

import numpy as np
import pytest

from bbcompress.errors import ImageError
from bbcompress.images.image import PixelImage, from_array
from bbcompress.images.parts import PARTS, joined, parts_of


@pytest.mark.parametrize("mode", PARTS)
def test_all_samples_come_back(mode: str) -> None:
    samples = {"LA": 2, "RGBA": 4}[mode]
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, samples), dtype=np.uint8)
    pixels[1, :, -1] = 0
    image = PixelImage(mode, pixels)
    parts = parts_of(image)
    assert tuple(part.mode for part in parts) == PARTS[mode]
    assert np.array_equal(parts[-1].pixels, pixels[..., -1])
    assert joined(mode, parts) == image


def test_parts_that_do_not_fit_are_refused() -> None:
    grey, colours = from_array(np.zeros((2, 3), np.uint8)), from_array(np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(ImageError, match="modes L, L are no image of mode RGBA"):
        joined("RGBA", [grey, grey])
    with pytest.raises(ImageError, match="different sizes"):
        joined("LA", [grey, from_array(np.zeros((3, 2), np.uint8))])
    with pytest.raises(ImageError):
        joined("RGBA", [colours, PixelImage("L", grey.pixels, transparency=b"\0\0")])
