"""Small local models of torch, of all kinds, and images for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bbcompress.training.architectures.local.network import LocalShape, LocalVAE

SHAPE = LocalShape(
    channels=3, binary=False, tile=8, image=None, latents=2, cell=4, features=3, decoder=(6,), trunk=(8, 7), head=5,
    mixtures=2, patch=4, pool=1, patch_hidden=(5, 6), encoder_hidden=(7,), centred=True,
)  # fmt: skip
SHAPES = {
    "rgb": SHAPE,
    "grey": replace(SHAPE, channels=1, cell=8),
    "grey from levels": replace(SHAPE, channels=1, centred=False),
    "binary": replace(SHAPE, channels=1, binary=True, centred=False),
    "rgb, one size": replace(SHAPE, image=(8, 8), pool=2, encoder_hidden=()),
}
shapes = pytest.mark.parametrize("kind", SHAPES)


def noise(shape: LocalShape, *sizes: tuple[int, int]) -> list[Any]:
    random = np.random.default_rng(0)
    top = 2 if shape.binary else 256
    return [random.integers(0, top, (h, w, shape.channels)).astype(np.uint8) for h, w in sizes]


def smooth(shape: LocalShape, *sizes: tuple[int, int]) -> list[Any]:
    """Images that a centred model of random weights does not find impossible."""
    random = np.random.default_rng(1)
    if shape.binary:
        return noise(shape, *sizes)
    images = []
    for height, width in sizes:
        y, x = np.mgrid[0:height, 0:width]
        plane = 90 + 2 * x + 3 * y
        images.append((plane[:, :, None] + random.integers(-9, 10, (height, width, shape.channels))).astype(np.uint8))
    return images


def model_of(shape: LocalShape, seed: int = 0) -> LocalVAE:
    model = LocalVAE(shape, torch.Generator().manual_seed(seed))
    return model.eval().requires_grad_(False)
