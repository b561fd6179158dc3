"""Train the pixel network of a local model for learning: where it shall begin, not how it shall code.

    python tools/train_through_learning.py MODEL PHOTOS OUT --seconds N [--lr R] [--seed N] [--resume]

MODEL is a folder with a checkpoint of a local model for images of any size; PHOTOS is a directory or an archive of
photographs, which are read, and every tenth of which is left out, as `bbc train` does it. Many crops are coded side by
side, each by a network of its own that begins with the model's weights and learns from unit to unit as the codec
learns. The gradients that these networks meet, taken together, move the weights that all begin with, and the networks
move along: a first-order method as first-order MAML and Reptile are. The lengths of crops are spread evenly in their
logarithm, so that beginnings count as much as what comes late. z, its encoders and its features stay as they are. OUT
gets the checkpoint, its card with figures measured anew, and meanwhile `state.pt`, which `--resume` goes on from; the
crops then begin anew.
"""

from __future__ import annotations

import argparse
import math
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bbcompress.codecs.learned import RATE, UNIT, strips_and_features
from bbcompress.errors import BBCError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.models.checkpoint import load, save
from bbcompress.models.local import ExactLocalVAE, LocalWeights
from bbcompress.models.pixel_network import PIXEL_BITS
from bbcompress.system.storage import place_of
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
from bbcompress.training.checkpoints.atomic import replacing
from bbcompress.training.datasets import Dataset, load_directory
from bbcompress.training.likelihoods import LogisticMixture
from bbcompress.training.quantisation.samples import calibration_strips, measured_strips

Pixels = np.ndarray[Any, Any]
STREAMS = 32
"""Crops that are coded side by side."""
AREAS = 2048, 140_000
"""Pixels of a crop: fewest and most."""
CHUNK = 32
"""Units whose inputs are gathered at once."""
WARM_UP = 100
LAST_RATE = 0.02
AVERAGE = 0.998
"""Decay a step of the averaged weights."""
GRID_CROPS = 12
"""Crops on which the grids of the exact weights are chosen."""
BETAS, EPSILON = (0.9, 0.999), 1e-8
REPORT_EVERY = 500
SAVE_EVERY = 60.0
"""Processor seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("photos")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=_positive, required=True, help="processor seconds of all threads")
    parser.add_argument("--lr", type=_positive, default=7e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="use torch.compile, which needs a C++ compiler")
    parser.add_argument("--resume", action="store_true", help="go on from OUT/state.pt")
    args = parser.parse_args()
    try:
        _train(args)
    except (BBCError, OSError) as error:
        raise SystemExit(str(error)) from None


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: not a number above 0")
    return value


def _train(args: argparse.Namespace) -> None:
    weights = load(args.model)
    if not isinstance(weights, LocalWeights) or weights.image is not None:
        raise SystemExit(f"{args.model}: not a local model for images of any size")
    if args.out.exists() and args.out.samefile(args.model):
        raise SystemExit(f"{args.out}: is the model that is trained; give another folder")
    place = args.out / "state.pt"
    if place.exists() and not args.resume:
        raise SystemExit(f"{place}: an unfinished or finished run; --resume goes on with it")
    torch.set_num_threads(args.threads)
    data = load_directory(place_of(args.photos), any_size=True, grey=weights.channels == 1, leave_out=True)
    if data.channels != weights.channels:
        raise SystemExit(f"{args.photos}: images of {data.channels} channels, the model has {weights.channels}")
    vaes = restore_local(weights, shape_of(weights))
    network = PixelNetwork(vaes[0], args.compile)
    state = State(network.start)
    if args.resume:
        state.load(place)
    args.out.mkdir(parents=True, exist_ok=True)
    crops = Crops(weights, data.train, np.random.default_rng([args.seed, state.steps]))
    train_through(network, crops, args.seconds, args.lr, state, lambda: state.save(place))
    for vae in vaes:
        network.write(state.average[0], vae)
    save(exported(weights, vaes, data, _command(args)), args.out)
    print(f"{state.steps} steps of {STREAMS} x {UNIT} pixels")


def _command(args: argparse.Namespace) -> str:
    """What the card says of this run: only the last parts of paths, which others do not have."""
    options = f"--seconds {args.seconds:g} --lr {args.lr:g}" + f" --seed {args.seed}" * bool(args.seed)
    options += f" --threads {args.threads}" * (args.threads > 1) + " --compile" * args.compile
    places = " ".join(Path(part).name for part in (args.model, args.photos, args.out))
    return f"python tools/train_through_learning.py {places} {options}"


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

    def __init__(self, weights: LocalWeights, pictures: Pixels | Sequence[Pixels], random: np.random.Generator) -> None:
        self.vae, self.shape = ExactLocalVAE(weights, NumpyBackend()), shape_of(weights)
        self.pictures = pictures
        areas = np.array([math.prod(picture.shape[:2]) for picture in pictures], dtype=np.float64)
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
                pixels = picture[top : top + size[0], left : left + size[1]]
                return Crop(self.vae, self.shape, pixels.reshape(*pixels.shape[:2], -1).copy())


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


class State:
    """What a run that goes on needs: the weights that all begin with, their average, and how far it came."""

    def __init__(self, start: Tensor) -> None:
        self.start = start.clone()[None]
        self.average, self.outer = self.start.clone(), Adam(self.start)
        self.steps, self.seconds = 0, 0.0

    def save(self, place: Path) -> None:
        with replacing(place) as temporary:
            torch.save({**self._tensors(), "steps": self.steps, "seconds": self.seconds}, temporary)

    def load(self, place: Path) -> None:
        """Raises: SystemExit: there is none, it is damaged, or it is of another network."""
        try:
            found = torch.load(place, weights_only=True)
            if {name: found[name].shape for name in self._tensors()} != {
                n: t.shape for n, t in self._tensors().items()
            }:
                raise SystemExit(f"{place}: of a network of other sizes")
            for name, tensor in self._tensors().items():
                tensor.copy_(found[name])
            self.steps, self.seconds = int(found["steps"]), float(found["seconds"])
        except (OSError, EOFError, RuntimeError, KeyError, AttributeError, pickle.UnpicklingError) as error:
            raise SystemExit(f"{place}: cannot be read ({error})") from None

    def _tensors(self) -> dict[str, Tensor]:
        outer = {"mean": self.outer.mean, "square": self.outer.square, "clock": self.outer.steps}
        return {"start": self.start, "average": self.average, **outer}


def train_through(
    network: PixelNetwork,
    crops: Crops,
    seconds: float,
    lr: float,
    state: State,
    keep: Callable[[], None] = lambda: None,
) -> None:
    """Move the state's weights until the run has taken so many processor seconds.

    Args:
        keep: saves the state; called now and then, and at the end.
    """
    start = state.start
    streams, rows = [crops.draw() for _ in range(STREAMS)], start.repeat(STREAMS, 1)
    inner = Adam(rows)
    begin, kept, total = time.process_time() - state.seconds, state.seconds, 0.0
    while (done := state.seconds / seconds) < 1:
        seen = [torch.stack(parts) for parts in zip(*(stream.unit() for stream in streams), strict=True)]
        leaf = rows.detach().requires_grad_()
        nats = network.nats(leaf, *seen)
        (gradient,) = torch.autograd.grad(nats.sum(), leaf)
        rows += inner.change(gradient, RATE * 1e-6)
        change = state.outer.change(
            gradient.mean(0, keepdim=True), lr * min(1.0, (state.steps + 1) / WARM_UP) * max(1 - done, LAST_RATE)
        )
        start += change
        rows += change
        for number, stream in enumerate(streams):
            if stream.done:
                streams[number], rows[number] = crops.draw(), start[0]
                inner.forget(number)
        state.steps += 1
        state.average.lerp_(start, max(1 - AVERAGE, 1 / (state.steps + 1)))
        total += float(nats.detach().mean())
        state.seconds = time.process_time() - begin
        if state.steps % REPORT_EVERY == 0:
            bits = total / REPORT_EVERY / math.log(2) / network.shape.channels
            print(f"step {state.steps}: {bits:.4f} bits, {state.seconds:.0f} s", flush=True)
            total = 0.0
        if state.seconds >= kept + SAVE_EVERY:
            keep()
            kept = state.seconds
    keep()


def exported(before: LocalWeights, vaes: tuple[LocalVAE, LocalVAE], data: Dataset, command: str) -> LocalWeights:
    """The exact model, with the settings and the card of the one before and figures of held-out pictures."""
    weights = replace(
        finest(*vaes, calibration_strips(data, before.tile, GRID_CROPS)),
        prior_bits=before.prior_bits,
        direct_bits=before.direct_bits,
        learning_rate=before.learning_rate,
    )
    measured = figures(weights, dict(zip(("baseline", "rha"), vaes, strict=True)), measured_strips(data, before.tile))
    card = {**before.card, "commands": [*before.card.get("commands", []), command], **measured}
    return replace(weights, card=card)


if __name__ == "__main__":
    main()
