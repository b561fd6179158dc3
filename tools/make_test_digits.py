"""Make tests/data/digits: the first hundred test images of MNIST as PNG files, binary and grey.

    python tools/make_test_digits.py t10k-images-idx3-ubyte.gz [OUT]

Binary is grey > 127, stored as the grey levels 0 and 255.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from bbcompress.training.datasets import BINARY_THRESHOLD, read_idx

COUNT = 100


def main() -> None:
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    default = Path(__file__).resolve().parents[1] / "tests" / "data" / "digits"
    out = Path(sys.argv[2]) if len(sys.argv) == 3 else default
    grey = read_idx(Path(sys.argv[1]))[:COUNT]
    binary = np.where(grey > BINARY_THRESHOLD, 255, 0).astype(np.uint8)
    for name, images in (("binary", binary), ("grey", grey)):
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        for index, pixels in enumerate(images):
            Image.fromarray(pixels).save(folder / f"{index:04}.png", optimize=True)


if __name__ == "__main__":
    main()
