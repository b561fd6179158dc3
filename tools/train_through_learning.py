"""Train the pixel network of a local model for learning: where it shall begin, not how it shall code.

    python tools/train_through_learning.py MODEL PHOTOS OUT --seconds N [--lr R] [--seed N]

MODEL is a folder with a checkpoint of a local model for images of any size; PHOTOS holds photographs, every tenth of
which is left out, as `bbc train` leaves it out. Many crops are coded side by side, each by a network of its own that
begins with the model's weights and learns from unit to unit as the codec learns. The gradients that these networks
meet, taken together, move the weights that all begin with, and the networks move along: a first-order method as
first-order MAML and Reptile are. The lengths of crops are spread evenly in their logarithm, so that beginnings count
as much as what comes late. z, its encoders and its features stay as they are. OUT gets the checkpoint, its card with
figures measured anew.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bbcompress.codecs.learned import RATE, UNIT, strips_and_features
from bbcompress.exact.backend import NumpyBackend
from bbcompress.models.checkpoint import load, save
from bbcompress.models.local import ExactLocalVAE, LocalWeights
from bbcompress.models.pixel_network import PIXEL_BITS
from bbcompress.models.strips import Canvas, Strips
from bbcompress.training.architectures.local.export import figures, finest
from bbcompress.training.architectures.local.network import (
    PIXEL_UNIT,
    Images,
    LocalShape,
    LocalVAE,
    clamped_relu,
    gather,
)
from bbcompress.training.architectures.local.restore import restore_local, shape_of
from bbcompress.training.folder import HELD_OUT_EVERY
from bbcompress.training.likelihoods import LogisticMixture

Pixels = np.ndarray[Any, Any]
STREAMS = 32
"""Crops that are coded side by side."""
AREAS = 2048, 140_000
"""Pixels of a crop: fewest and most."""
LEAST_SIDE = 16
CHUNK = 32
"""Units whose inputs are gathered at once."""
WARM_UP = 100
LAST_RATE = 0.02
AVERAGE = 0.998
"""Decay a step of the averaged weights."""
SIDE = 4
"""Tiles a side of the middles of pictures on which the exact model is measured."""
BETAS, EPSILON = (0.9, 0.999), 1e-8
REPORT_EVERY = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, required=True, help="processor seconds of all threads")
    parser.add_argument("--lr", type=float, default=7e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="use torch.compile, which needs a C++ compiler")
    args = parser.parse_args()
    weights = load(args.model)
    if not isinstance(weights, LocalWeights) or weights.image is not None:
        raise SystemExit(f"{args.model}: not a local model for images of any size")
    torch.set_num_threads(args.threads)
    pictures = read_pictures(args.photos, weights.channels)
    vaes = restore_local(weights, shape_of(weights))
    network = PixelNetwork(vaes[0], args.compile)
    crops = Crops(weights, pictures[0], np.random.default_rng(args.seed))
    trained, steps = train_through(network, crops, args.seconds, args.lr)
    for vae in vaes:
        network.write(trained, vae)
    args.out.mkdir(parents=True, exist_ok=True)
    save(exported(weights, vaes, pictures), args.out)
    print(f"{steps} steps of {STREAMS} x {UNIT} pixels")


def read_pictures(folder: Path, channels: int) -> tuple[list[Pixels], list[Pixels]]:
    """Pictures that are trained on, and those that are held out, uint8 (H, W, C) each."""
    found: tuple[list[Pixels], list[Pixels]] = ([], [])
    for number, path in enumerate(sorted(folder.iterdir())):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB" if channels == 3 else "L"))
        found[number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1].append(pixels.reshape(*pixels.shape[:2], channels))
    return found


class PixelNetwork:
    """The pixel network as a function of its weights, which lie in one row for each of many networks."""

    def __init__(self, vae: LocalVAE, compiled: bool = False) -> None:
        self.shape: LocalShape = vae.shape
        self.sizes = [parameter.shape for parameter in _learned(vae)]
        self.start = torch.cat([parameter.detach().flatten() for parameter in _learned(vae)])
        self.nats = torch.compile(self._nats) if compiled else self._nats

    def write(self, row: Tensor, vae: LocalVAE) -> None:
        """Give a model the weights of a row."""
        parts = torch.split(row, [size.numel() for size in self.sizes])
        with torch.no_grad():
            for parameter, part in zip(_learned(vae), parts, strict=True):
                parameter.copy_(part.view(parameter.shape))

    def _nats(self, rows: Tensor, inputs: Tensor, references: Tensor, levels: Tensor) -> Tensor:
        """Mean -ln p of a unit's pixels by each network, (S,).

        rows: (S, weights). inputs: (S, N, values), neighbours and features. references, levels: (S, N, C).
        """
        s = self.shape
        parts = torch.split(rows, [size.numel() for size in self.sizes], dim=1)
        weights = iter([part.view(len(rows), *size) for part, size in zip(parts, self.sizes, strict=True)])

        def linear(x: Tensor) -> Tensor:
            weight, bias = next(weights), next(weights)
            return torch.baddbmm(bias[:, None], x, weight.mT)

        h = inputs
        for _ in s.trunk:
            h = clamped_relu(linear(h))
        heads = linear(h)
        earlier = (levels - references) / PIXEL_UNIT
        total = torch.zeros(levels.shape[0] * levels.shape[1])
        for channel in range(s.channels):
            own = heads[..., channel * s.head : (channel + 1) * s.head]
            if channel:
                own = own + earlier[..., :channel] @ next(weights).mT
            params = linear(torch.cat([clamped_relu(own), earlier[..., :channel]], dim=2))
            total = total - LogisticMixture.log_prob(
                params.flatten(0, 1), references[..., channel].flatten(), levels[..., channel].flatten()
            )
        return total.view(levels.shape[:2]).mean(1)


def _learned(vae: LocalVAE) -> list[Tensor]:
    """Weights and biases of the pixel network in the order in which it uses them."""
    found = [parameter for layer in (*vae.trunk, *vae.heads) for parameter in layer.parameters()]
    for channel in range(vae.shape.channels):
        found += [*vae.across[channel].parameters()] if channel else []
        found += [*vae.outputs[channel].parameters()]
    return found


class Crops:
    """Random crops of pictures, as they are coded by a model: in the order of the wavefront, unit by unit."""

    def __init__(self, weights: LocalWeights, pictures: Sequence[Pixels], random: np.random.Generator) -> None:
        self.vae, self.shape = ExactLocalVAE(weights, NumpyBackend()), shape_of(weights)
        self.pictures = [picture for picture in pictures if min(picture.shape[:2]) >= LEAST_SIDE]
        areas = np.array([picture.shape[0] * picture.shape[1] for picture in self.pictures], dtype=np.float64)
        self.shares = areas / areas.sum()
        self.random = random

    def draw(self) -> Crop:
        """A crop of at least one unit: pictures by their areas, areas evenly in their logarithm."""
        while True:
            picture = self.pictures[self.random.choice(len(self.pictures), p=self.shares)]
            area = math.exp(self.random.uniform(*np.log(AREAS)))
            height = math.sqrt(area) * math.exp(self.random.uniform(-0.4, 0.4))
            size = [min(round(side), most) for side, most in zip((height, area / height), picture.shape, strict=False)]
            if size[0] * size[1] >= UNIT:
                top, left = (
                    self.random.integers(most - side + 1) for side, most in zip(size, picture.shape, strict=False)
                )
                return Crop(
                    self.vae, self.shape, np.ascontiguousarray(picture[top : top + size[0], left : left + size[1]])
                )


class Crop:
    """What the pixel network sees of a crop, unit by unit; pixels behind the last whole unit are left out."""

    def __init__(self, vae: ExactLocalVAE, shape: LocalShape, pixels: Pixels) -> None:
        strips, features = strips_and_features(vae, pixels)
        wave = strips.wavefront(shape.cell)
        self.units = len(wave.indices) // UNIT
        canvas = strips.canvas
        y, x = np.divmod((wave.indices - canvas.indices(0, 0, 0)) // shape.channels, canvas.pitch)
        self._places = torch.from_numpy(y), torch.from_numpy(x)
        self._cells = torch.from_numpy(np.asarray(wave.cells, dtype=np.int64))
        self._features = torch.from_numpy(features.reshape(-1, shape.features)).float() / (1 << PIXEL_BITS)
        self._images, self._shape = Images([pixels], shape.tile), shape
        self._at = self._first = self._end = 0

    @property
    def done(self) -> bool:
        return self._at == self.units

    def unit(self) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs (UNIT, values), references and levels (UNIT, C) of the next unit."""
        if self._at == self._end:
            self._first, self._end = self._end, min(self._end + CHUNK, self.units)
            rows = slice(self._first * UNIT, self._end * UNIT)
            y, x = (places[rows] for places in self._places)
            context, references, levels = gather(self._images, torch.zeros_like(y), y, x, self._shape)
            self._chunk = torch.cat([context, self._features[self._cells[rows]]], dim=1), references, levels.float()
        begin = (self._at - self._first) * UNIT
        self._at += 1
        inputs, references, levels = (values[begin : begin + UNIT] for values in self._chunk)
        return inputs, references, levels


class Adam:
    """Adam on rows of weights, each with a clock of its own."""

    def __init__(self, rows: Tensor) -> None:
        self.mean, self.square, self.steps = torch.zeros_like(rows), torch.zeros_like(rows), torch.zeros(len(rows), 1)

    def change(self, gradient: Tensor, rate: float) -> Tensor:
        """What is added to the rows."""
        self.steps += 1
        self.mean.lerp_(gradient, 1 - BETAS[0])
        self.square.lerp_(gradient * gradient, 1 - BETAS[1])
        mean, square = (
            sums / (1 - beta**self.steps) for sums, beta in zip((self.mean, self.square), BETAS, strict=True)
        )
        return mean / square.sqrt_().add_(EPSILON) * -rate

    def forget(self, row: int) -> None:
        """Begin one row anew."""
        for values in (self.mean, self.square, self.steps):
            values[row] = 0


def train_through(network: PixelNetwork, crops: Crops, seconds: float, lr: float) -> tuple[Tensor, int]:
    """The averaged weights after so many processor seconds, (weights,), and the number of steps."""
    start = network.start.clone()[None]
    average, outer = start.clone(), Adam(start)
    streams, rows = [crops.draw() for _ in range(STREAMS)], start.repeat(STREAMS, 1)
    inner = Adam(rows)
    begin, steps, total = time.process_time(), 0, 0.0
    while (done := (time.process_time() - begin) / max(seconds, 1e-9)) < 1:
        seen = [torch.stack(parts) for parts in zip(*(stream.unit() for stream in streams), strict=True)]
        leaf = rows.detach().requires_grad_()
        nats = network.nats(leaf, *seen)
        (gradient,) = torch.autograd.grad(nats.sum(), leaf)
        rows += inner.change(gradient, RATE * 1e-6)
        change = outer.change(
            gradient.mean(0, keepdim=True), lr * min(1.0, (steps + 1) / WARM_UP) * max(1 - done, LAST_RATE)
        )
        start += change
        rows += change
        for number, stream in enumerate(streams):
            if stream.done:
                streams[number], rows[number] = crops.draw(), start[0]
                inner.forget(number)
        steps += 1
        average.lerp_(start, max(1 - AVERAGE, 1 / (steps + 1)))
        total += float(nats.detach().mean())
        if steps % REPORT_EVERY == 0:
            bits = total / REPORT_EVERY / math.log(2) / network.shape.channels
            print(f"step {steps}: {bits:.4f} bits, {time.process_time() - begin:.0f} s", flush=True)
            total = 0.0
    return average[0], steps


def exported(
    before: LocalWeights, vaes: tuple[LocalVAE, LocalVAE], pictures: tuple[list[Pixels], list[Pixels]]
) -> LocalWeights:
    """The exact model, with the settings and the card of the one before and figures of held-out pictures."""
    few, measured = (_middles(some, most, before.tile) for some, most in zip(pictures, (3, 8), strict=True))
    weights = replace(
        finest(*vaes, few),
        prior_bits=before.prior_bits,
        direct_bits=before.direct_bits,
        learning_rate=before.learning_rate,
    )
    card = {**before.card, **figures(weights, dict(zip(("baseline", "rha"), vaes, strict=True)), measured)}
    return replace(weights, card=card)


def _middles(pictures: Sequence[Pixels], most: int, tile: int) -> Strips:
    side = SIDE * tile
    large = [picture for picture in pictures if min(picture.shape[:2]) >= side][:most]
    places = [((picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2) for picture in large]
    crops = [picture[y : y + side, x : x + side] for picture, (y, x) in zip(large, places, strict=True)]
    return Strips.all_of(Canvas.of(np.stack(crops), tile))


if __name__ == "__main__":
    main()
