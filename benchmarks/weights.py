"""Other weights of shipped models: code lengths of photographs that none was trained on.

    python benchmarks/weights.py NAME=FOLDER ... --photos DIR [--crop W H]

Each FOLDER holds a checkpoint of a local model, for example one of an earlier commit (`git archive COMMIT`). Bits per
sub-pixel of the pixels without z, of the middle of each photograph, in the exact integers that are coded: `frozen`, and
`learned` as the default effort learns, each photograph from the checkpoint's weights. Models of one channel take the
photographs as grey. The results are benchmarks/results/weights.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment
from photographs import middle
from PIL import Image

from bbcompress.codecs.learned import RATE, UNIT, strips_and_features
from bbcompress.exact.arithmetic import exact_arithmetic
from bbcompress.exact.backend import NumpyBackend
from bbcompress.images.read import read_image
from bbcompress.models.checkpoint import load
from bbcompress.models.local import ExactLocalVAE, LocalWeights

RESULTS = Path(__file__).resolve().parent / "results" / "weights.json"
STRIDES = {"frozen": 0, "learned": 1}
"""Of the units that are learned from."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--crop", type=int, nargs=2, default=[512, 384], metavar=("W", "H"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    paths = sorted(args.photos.iterdir())
    found: dict[str, Any] = {"environment": environment(), "crop": args.crop, "learning": [RATE, UNIT]}
    found["photographs"], found["models"] = [path.name for path in paths], {}
    for name, folder in (words.split("=", 1) for words in args.models):
        weights = load(Path(folder))
        if not isinstance(weights, LocalWeights):
            raise SystemExit(f"{folder}: not a local model")
        rows = [bits(weights, middle(read_image(path), args.crop).pixels) for path in paths]
        found["models"][name] = {"id": weights.id.hex()[:8], **{way: [row[way] for row in rows] for way in rows[0]}}
        print(name, {way: round(float(np.mean(found["models"][name][way])), 4) for way in rows[0]}, flush=True)
        args.out.write_text(json.dumps(found, indent=1) + "\n")


def bits(weights: LocalWeights, pixels: np.ndarray[Any, Any]) -> dict[str, float]:
    """Bits per sub-pixel of an image, without z, frozen and learning."""
    if weights.channels == 1:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))
    vae = ExactLocalVAE(weights, NumpyBackend())
    x, features = strips_and_features(vae, pixels)
    found = {}
    for way, stride in STRIDES.items():
        with exact_arithmetic():
            coder = vae.learning_coder(vae.parameters(RATE), UNIT, stride)
            found[way] = round(float(coder.lengths(features, x).sum()) / 2**30 / pixels.size, 5)
    return found


if __name__ == "__main__":
    main()
