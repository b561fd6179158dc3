"""Write data/models/tiny-local, a local model for the golden streams, and data/local, images that it has drawn.

    python tests/golden/make_tiny_local.py

The model is random, made from integers alone; so nothing but images of its own is coded by it, and these are kept as
files. It is not a default model: it has to be chosen. What exists is kept, for the streams need it as it is.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "support"))

from models_for_tests import sampled_strips, tiny_local  # noqa: E402

from bbcompress.images.formats.png.convert import write_png  # noqa: E402
from bbcompress.images.image import PixelImage  # noqa: E402
from bbcompress.models.checkpoint import save  # noqa: E402

CARD = {
    "name": "tiny-local",
    "default": False,
    "shape": None,
    "channels": 3,
    "likelihood": "logistic_mixture",
    "data": "none: random integers",
    "licence": "CC BY 4.0, the bbc authors",
}
SIZES = {
    # height, width; a side above 1024 makes several blocks
    "pixel": (1, 1),
    "small": (3, 5),
    "middle-0": (20, 30),
    "middle-1": (20, 30),
    "middle-2": (20, 30),
    "long": (2, 1030),
}


def main() -> None:
    """Write what is not there."""
    weights = tiny_local(cell=4, prior_bits=9)
    model = TESTS / "data" / "models" / "tiny-local"
    if not model.exists():
        save(replace(weights, card=CARD), model)
    folder = TESTS / "data" / "local"
    folder.mkdir(exist_ok=True)
    for seed, (name, (height, width)) in enumerate(SIZES.items()):
        path = folder / f"{name}.png"
        if not path.exists():
            pixels = sampled_strips(weights, 1, height, width, seed=seed).canvas.images[0]
            path.write_bytes(write_png(PixelImage("RGB", pixels), optimize=True))


if __name__ == "__main__":
    main()
