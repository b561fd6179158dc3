"""The grid of direct coding is found with few searches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from bbcompress.models.strips import Canvas, Strips
from bbcompress.training.architectures.mlp.export import quantise
from bbcompress.training.architectures.mlp.network import MLPVAE
from bbcompress.training.quantisation import calibrate


@pytest.mark.parametrize("strips", [1, 2, 24, 50])
def test_the_best_grid_is_found_without_trying_all_on_all(strips: int, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = [MLPVAE((4, 4), 6, 7, False, torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    weights = quantise(networks[0], networks[1])
    pixels = np.random.default_rng(0).integers(0, 256, (strips, 4, 4, 1)).astype(np.uint8)
    x = Strips.all_of(Canvas.of(pixels, weights.tile))
    grids: set[tuple[int, ...]] = set()
    calls: list[tuple[int, ...]] = []

    class Codec:
        best = 0

        def __init__(self, model: Any) -> None:
            self.bits = model.weights.direct_bits
            grids.add(self.bits)

        def length(self, x: Strips) -> float:
            assert len(x) == 1
            calls.append(self.bits)
            worse: int = abs(sum(self.bits) - Codec.best)
            return 1000.0 + worse + float(np.mean(x.canvas.images))

    monkeypatch.setattr(calibrate, "DirectCodec", Codec)
    calibrate.choose_direct_bits(weights, x)
    assert len(grids) > 3
    for best in sorted(grids):
        Codec.best = sum(best)
        calls.clear()
        assert sum(calibrate.choose_direct_bits(weights, x)) == sum(best)
        assert len(calls) <= len(grids) + 3.5 * strips
