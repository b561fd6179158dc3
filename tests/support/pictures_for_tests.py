"""Pictures that are trained on and measured by the tests of benchmarks."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image


def picture(seed: int, height: int = 64, width: int = 64) -> np.ndarray[Any, Any]:
    """Smooth colours with some noise, uint8 (height, width, 3)."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return np.clip(np.rint(smooth + random.normal(0, 3, smooth.shape)), 0, 255).astype(np.uint8)
