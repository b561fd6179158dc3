"""Rates of learning: code lengths of photographs, each learned from by itself, and all of them in a row.

    python benchmarks/learning_rate.py NAME=DIR ... --rates N,N,... [--model FOLDER] [--crop W H] [--out RESULT.json]

Bits per sub-pixel of the pixels without z of the middle of each photograph, in the exact integers that are coded:
alone, from the model's weights, and in a row, each from where the one before ended, as most images of an archive begin.
Rates are millionths. Never to be run on test sets, since a rate is chosen by what comes out. The results are
benchmarks/results/learning-rate.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment
from photographs import middle

from bbcompress.codecs.learned import UNIT, strips_and_features
from bbcompress.exact.arithmetic import exact_arithmetic
from bbcompress.exact.backend import NumpyBackend
from bbcompress.images.read import read_image
from bbcompress.models.checkpoint import load
from bbcompress.models.local import ExactLocalVAE, LocalWeights
from bbcompress.models.shipped import shipped_model_folders

RESULTS = Path(__file__).resolve().parent / "results" / "learning-rate.json"
Pixels = np.ndarray[Any, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", metavar="NAME=DIR")
    parser.add_argument("--rates", type=lambda text: [int(rate) for rate in text.split(",")], required=True)
    parser.add_argument("--model", type=Path, help="the shipped photo where it is not given")
    parser.add_argument("--crop", type=int, nargs=2, default=[512, 384], metavar=("W", "H"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    weights = load(args.model or next(folder for folder in shipped_model_folders() if folder.name == "photo"))
    if not isinstance(weights, LocalWeights):
        raise SystemExit(f"{args.model}: not a local model")
    found: dict[str, Any] = {"environment": environment(), "id": weights.id.hex()[:8], "crop": args.crop, "unit": UNIT}
    folders = found["folders"] = {}
    for name, _, folder in (words.partition("=") for words in args.photos):
        crops = [middle(read_image(path), args.crop).pixels for path in sorted(Path(folder).iterdir())]
        folders[name] = {"photographs": len(crops), "alone": {}, "row": {}}
        for rate in args.rates:
            folders[name]["alone"][rate], folders[name]["row"][rate] = (
                round(bits(weights, crops, rate, in_row), 5) for in_row in (False, True)
            )
            print(name, rate, *(folders[name][way][rate] for way in ("alone", "row")), flush=True)
    args.out.write_text(json.dumps(found, indent=1) + "\n")


def bits(weights: LocalWeights, crops: Sequence[Pixels], rate: int, in_row: bool) -> float:
    """Bits per sub-pixel of all crops."""
    vae, total = ExactLocalVAE(weights, NumpyBackend()), 0.0
    with exact_arithmetic():
        parameters = vae.parameters(rate)
        for pixels in crops:
            x, features = strips_and_features(vae, pixels)
            if not in_row:
                parameters = vae.parameters(rate)
            total += float(vae.learning_coder(parameters, UNIT, 1).lengths(features, x).sum()) / 2**30
    return total / sum(pixels.size for pixels in crops)


if __name__ == "__main__":
    main()
