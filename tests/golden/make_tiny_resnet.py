"""Write data/models/tiny-resnet, a residual VAE for the golden streams, and data/resnet, images that it has drawn.

    python tests/golden/make_tiny_resnet.py

The model is random, made from integers alone; so nothing but images of its own is coded by it, and these are kept as
files. It is not a default model: it has to be chosen. What exists is kept, for the streams need it as it is.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "support"))

from models_for_tests import sampled_strips, tiny_resnet  # noqa: E402

from bbcompress.images.formats.png.convert import write_png  # noqa: E402
from bbcompress.images.image import PixelImage  # noqa: E402
from bbcompress.models.checkpoint import save  # noqa: E402

CARD = {
    "name": "tiny-resnet",
    "default": False,
    "shape": None,
    "channels": 3,
    "likelihood": "channel_logistic",
    "data": "none: random integers",
    "licence": "CC BY 4.0, the bbc authors",
}
SIZES = {
    # height, width; tiles have 8 x 8 pixels
    "tile": (7, 6),
    "odd-0": (13, 21),
    "odd-1": (13, 21),
    "odd-2": (13, 21),
}


def main() -> None:
    """Write what is not there."""
    weights = tiny_resnet(prior_bits=9)
    model = TESTS / "data" / "models" / "tiny-resnet"
    if not model.exists():
        save(replace(weights, card=CARD), model)
    folder = TESTS / "data" / "resnet"
    folder.mkdir(exist_ok=True)
    for seed, (name, (height, width)) in enumerate(SIZES.items()):
        path = folder / f"{name}.png"
        if not path.exists():
            pixels = sampled_strips(weights, 1, height, width, seed=seed).canvas.images[0]
            path.write_bytes(write_png(PixelImage("RGB", pixels), optimize=True))


if __name__ == "__main__":
    main()
