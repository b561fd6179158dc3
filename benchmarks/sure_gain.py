"""How far a trial of learning is from what learning saves: results/sure-gain.json.

    python benchmarks/sure_gain.py --photos DIR [--every N]

Of every Nth photograph of a folder, as it is, at half its size, and with some noise, `photo` codes the middle without
and with learning. Where a trial expects a gain of at least `sure_gain` (`codecs/effort.py`), the writer believes it.
Never to be run on test sets, since a threshold was chosen by what comes out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment
from PIL import Image

from bbcompress.codecs.effort import LADDER
from bbcompress.codecs.learned import can_learn, expected_gain
from bbcompress.codecs.settings import CodingSettings
from bbcompress.codecs.ways import ByModel, group_size
from bbcompress.images.image import from_array
from bbcompress.images.kinds import kinds_of
from bbcompress.limits import DEFAULT_EFFORT
from bbcompress.pipeline.options import open_models

RESULTS = Path(__file__).resolve().parent / "results"
WIDTH, HEIGHT = 512, 384
NOISE = 2.5
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--every", type=int, default=20)
    args = parser.parse_args()
    start = environment()
    rows = []
    for path in sorted(args.photos.iterdir())[:: args.every]:
        with Image.open(path) as opened:
            photograph = opened.convert("RGB")
        for name, changed in CHANGES.items():
            rows.append({"name": path.name, "as": name, **measured(middle(changed(photograph)))})
            print(rows[-1], flush=True)
    out = RESULTS / "sure-gain.json"
    sure = LADDER[DEFAULT_EFFORT].sure_gain
    believed = [row["actual"] for row in rows if row["expected"] >= sure]
    found = {
        "environment": start,
        "sure_gain": sure,
        "images": len(rows),
        "believed": len(believed),
        "least gain where believed": min(believed, default=None),
        "largest error": max(row["expected"] - row["actual"] for row in rows),
        "rows": rows,
    }
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written: {out}")


def half(photograph: Image.Image) -> Image.Image:
    """At half the size, by the mean of each square of four pixels."""
    return photograph.reduce(2)


def noisy(photograph: Image.Image) -> Image.Image:
    """With normal noise that is alike in each run."""
    pixels = np.asarray(photograph).astype(float)
    noise = np.random.default_rng(0).normal(0, NOISE, pixels.shape)
    return Image.fromarray(np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {"it is": lambda image: image, "half": half, "noisy": noisy}


def middle(photograph: Image.Image) -> Image.Image:
    """At most so many pixels of the middle."""
    left, top = max(0, photograph.width - WIDTH) // 2, max(0, photograph.height - HEIGHT) // 2
    return photograph.crop((left, top, min(photograph.width, left + WIDTH), min(photograph.height, top + HEIGHT)))


def measured(photograph: Image.Image) -> Row:
    """What the trial expects, what learning saves, and processor seconds of the trial and of both ways."""
    image = from_array(np.asarray(photograph))
    models = open_models("photo", "cpu")
    entry, kind = models.zoo.chosen[0], kinds_of(image)[0]
    model = models.model(entry)
    assert can_learn(model)
    clock = [time.process_time()]
    expected = expected_gain(model, [kind.pixels(image)])
    clock.append(time.process_time())
    sizes = []
    for settings in (CodingSettings(), CodingSettings(learn=True)):
        sizes.append(group_size(ByModel(entry, models, kind, settings).encode([image], _untold).group))
        clock.append(time.process_time())
    return {
        "pixels": image.width * image.height,
        "expected": round(expected, 4),
        "actual": round(1 - sizes[1] / sizes[0], 4),
        "seconds": [round(after - before, 2) for before, after in pairwise(clock)],
    }


def _untold(_: int) -> None:
    """Nobody wants to know how far it is."""


if __name__ == "__main__":
    main()
