"""The two gaps of the paper's models, and what wins them back in real files: results/gaps.json, .png and .svg.

    python benchmarks/gaps.py [--data DIR] [--cifar DIR] [--steps N] [--models NAME ...]     # measures, and draws
    python benchmarks/gaps.py --redraw

Of each of the shipped models that are the paper's (binary and grey MNIST, CIFAR-10): the negative ELBO of its integers
on training and on test images, by the encoder that the ELBO trained and by optimal inference. That is so many K steps
from there, and as many at a third of the rate; for each image the better end counts. What test images take more than
training images by optimal inference is the gap of the generative model; what they take more by the encoder than by
optimal inference is the amortised inference gap (the paper's Section 2). Images are taken at equal distances from all.

Beside that: bytes of the same test images as one group of an archive by that model, read back and compared, with
half-asleep training, K steps and learning between batches added one after the other.
"""

from __future__ import annotations

import argparse
import json
from collections import deque
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment

from bbcompress.bench.plot import figure_class
from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.blocks import strips_of
from bbcompress.codecs.groups import decode_images, encode_images
from bbcompress.codecs.rate import code_bits, draw, net_bits
from bbcompress.codecs.refinement import posterior_of, refinements
from bbcompress.codecs.settings import CodingSettings
from bbcompress.images.image import from_array
from bbcompress.models.base import Model
from bbcompress.models.cache import Models
from bbcompress.models.strips import Strips
from bbcompress.models.zoo import ModelEntry
from bbcompress.pipeline.options import open_models
from bbcompress.training.datasets import load

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DRAWS = 4
"""Of z, of which a rate is the mean."""
SMALL_STEP = 3
"""By so much the second rate of optimal inference is smaller."""
FILES = {
    "encoder of the ELBO": CodingSettings("baseline"),
    "half-asleep encoder": CodingSettings("rha"),
    "half-asleep, K = 10": CodingSettings("rha", 10),
    "half-asleep, K = 10, learning": CodingSettings("rha", 10, learn_between=True),
}
COLOURS = ("#5f6b7a", "#c98b2b", "#b23a48")
OURS = "#0b6e4f"
Row = dict[str, Any]
NumpyArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """A model, its data, and how many images are measured."""

    model: str
    title: str
    data: str
    count: int


CASES = (
    Case("mnist-binary", "binary MNIST", "mnist", 2000),
    Case("mnist-grey", "grey MNIST", "mnist", 2000),
    Case("cifar10-resnet", "CIFAR-10", "cifar10", 200),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data", help="where MNIST is")
    parser.add_argument("--cifar", default="data", help="where CIFAR-10 is")
    parser.add_argument("--steps", type=int, default=100, help="of optimal inference, at each of its two rates")
    parser.add_argument("--models", nargs="+", choices=[case.model for case in CASES], help="others keep their results")
    parser.add_argument("--redraw", action="store_true")
    args = parser.parse_args()
    out = RESULTS / "gaps.json"
    found: dict[str, Row] = json.loads(out.read_text()) if out.exists() else {}
    where = {"mnist": args.data, "cifar10": args.cifar}
    for case in () if args.redraw else CASES:
        if args.models is None or case.model in args.models:
            start = environment()
            row = measured(case, where[case.data], args.steps)
            found[case.model] = {"environment": start, "steps": args.steps, **row}
            out.write_text(json.dumps(found, indent=1) + "\n")
    figure = drawn([found[case.model] for case in CASES if case.model in found])
    for suffix in ("png", "svg"):
        figure.savefig(out.with_suffix(f".{suffix}"), dpi=150)
    print(f"written: {out}")


def measured(case: Case, data_dir: str, steps: int) -> Row:
    """Rates of a model in bits per sub-pixel."""
    data = load(case.data, data_dir, binary=case.model == "mnist-binary", quiet=True)
    models = open_models(case.model, "cpu")
    entry = models.zoo.chosen[0]
    model = models.model(entry)
    codec = BitsBack(model, "baseline", 0, model.weights.learning_rate)
    row: Row = {"title": case.title, "images": case.count}
    optimal: dict[str, NumpyArray] = {}
    for name, all_images in (("train", data.train), ("test", data.test)):
        images = np.asarray(all_images[:: len(all_images) // case.count])[: case.count]
        x = strips_of(list(images), model.weights.tile)
        optimal[name] = optimal_bits(model, codec, x, steps) / images[0].size
        row[f"{name}, encoder"] = float(net_bits(codec, x, DRAWS).mean()) / images[0].size
        row[f"{name}, optimal"] = float(optimal[name].mean())
    row["generative gap"] = row["test, optimal"] - row["train, optimal"]
    row["its standard error"] = sqrt(sum(bits.var(ddof=1) / len(bits) for bits in optimal.values()))
    row["inference gap"] = row["test, encoder"] - row["test, optimal"]
    row["files"] = {name: group_bits(entry, models, images, settings) for name, settings in FILES.items()}
    print(json.dumps(row), flush=True)
    return row


def optimal_bits(model: Model, codec: BitsBack, x: Strips, steps: int) -> NumpyArray:
    """Net bits of each image by optimal inference: the better of where K steps end at two rates."""
    rate, found = model.weights.learning_rate, []
    for start in range(0, len(x), codec.compute_batch):
        part = x[start : start + codec.compute_batch]
        ends = []
        for of_steps in (rate, max(1, rate // SMALL_STEP)):
            (state,) = deque(refinements(model, part, codec.encoder, steps, of_steps), maxlen=1)
            posterior, random = posterior_of(model, *state), np.random.default_rng(start)
            ends.append(
                np.mean([code_bits(codec, part, posterior, draw(posterior, random)) for _ in range(DRAWS)], axis=0)
            )
        found.append(np.min(ends, axis=0))
    return np.concatenate(found)


def group_bits(entry: ModelEntry, models: Models, images: NumpyArray, settings: CodingSettings) -> float:
    """Bits per sub-pixel of a group of images by a model, which come back."""
    white = np.uint8(255 if images.max() == 1 else 1)
    pictures = [from_array(image * white) for image in images]
    group = encode_images(models.model(entry), pictures, entry.kind, settings)
    if decode_images(group, models) != pictures:
        raise SystemExit("the pixels did not come back")
    return 8 * (len(group.header.encode_group()) + len(group.payload)) / images.size


def drawn(rows: list[Row]) -> Any:
    """A panel for each model: its rate on test images in three parts, and its files above."""
    figure = figure_class()(figsize=(10.5, 3.7), layout="constrained")
    for axes, row in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows, strict=True):
        draw_model(axes, row)
    return figure


def draw_model(axes: Any, row: Row) -> None:
    """From the bottom to the top: what the ELBO says, and what files take."""
    generative, inference = row["generative gap"], row["inference gap"]
    shown, known = row["train, optimal"] - 1.5 * (generative + inference), row["train, optimal"]
    left = 0.0
    for width, colour in zip((known, generative, inference), COLOURS, strict=True):
        axes.barh(0, width, left=left, height=0.62, color=colour)
        left += width
    axes.text((shown + known) / 2, 0, "training images", ha="center", va="center", fontsize=7.5, color="white")
    ends = {"ha": "right", "x": known + generative}, {"ha": "left", "x": known + generative}
    gaps = (f"generative \ngap {generative:.4f} ", f" inference\n gap {inference:.4f}")
    for words, place, colour in zip(gaps, ends, COLOURS[1:], strict=True):
        axes.text(y=-0.42, s=words, va="top", fontsize=7.5, color=colour, **place)
    labels = ["ELBO of\ntest images"]
    for number, (name, bits) in enumerate(row["files"].items(), 1):
        axes.barh(number, bits, height=0.62, color=OURS, alpha=0.45 + 0.18 * (number - 1))
        axes.text(bits, number, f" {bits:.4f}", ha="left", va="center", fontsize=8)
        labels.append(name.replace(", ", ",\n", 1))
    most = max(row["test, encoder"], *row["files"].values())
    axes.set_xlim(shown, shown + 1.2 * (most - shown))
    axes.set_ylim(-1.1, len(row["files"]) + 0.5)
    axes.set_yticks(range(len(labels)), labels, fontsize=7.5)
    axes.set_title(f"{row['title']}, {row['images']} images", fontsize=10, loc="left")
    axes.set_xlabel("bits per sub-pixel, not from 0", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


if __name__ == "__main__":
    main()
