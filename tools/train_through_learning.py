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
import io
import math
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bbcompress.codecs.learned import RATE, UNIT, strips_and_features
from bbcompress.errors import BBCError
from bbcompress.exact.arithmetic import exact_arithmetic
from bbcompress.exact.backend import NumpyBackend
from bbcompress.models.checkpoint import load, save
from bbcompress.models.local import ExactLocalVAE, LocalWeights
from bbcompress.models.pixel_network import PIXEL_BITS
from bbcompress.system.signals import Terminated, signals_raise
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
from bbcompress.training.card import image_credits
from bbcompress.training.checkpoints.atomic import replacing
from bbcompress.training.datasets import Dataset, load_directory
from bbcompress.training.likelihoods import LogisticMixture
from bbcompress.training.origin import Origin
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
DIVERGED = math.log(256)
"""Nats a sub-pixel that are more than any network takes that knows something."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=_place)
    parser.add_argument("photos", type=_place)
    parser.add_argument("out", type=_place)
    parser.add_argument("--seconds", type=_positive, required=True, help="processor seconds of all threads")
    parser.add_argument("--lr", type=_positive, default=7e-4, help="learning rate of the weights that all begin with")
    parser.add_argument("--seed", type=_whole(0), default=0, help="of the crops")
    parser.add_argument("--threads", type=_whole(1), default=1, help="of torch")
    parser.add_argument("--compile", action="store_true", help="use torch.compile, which needs a C++ compiler")
    parser.add_argument("--resume", action="store_true", help="go on from OUT/state.pt")
    args = parser.parse_args()
    try:
        with signals_raise():
            _train(args)
    except (BBCError, OSError) as error:
        raise SystemExit(str(error)) from None
    except (KeyboardInterrupt, Terminated):
        goes_on = "; --resume goes on with it" if (Path(args.out) / "state.pt").exists() else ""
        raise SystemExit(f"{args.out}: interrupted{goes_on}") from None


def _place(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("a name is empty")
    return text


def _positive(text: str) -> float:
    with suppress(ValueError):
        if 0 < (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"{text}: not a number above 0")


def _whole(least: int) -> Callable[[str], int]:
    def parsed(text: str) -> int:
        with suppress(ValueError):
            if least <= (value := int(text)) < 1 << 31:
                return value
        raise argparse.ArgumentTypeError(f"{text}: not a whole number of at least {least}")

    return parsed


def _train(args: argparse.Namespace) -> None:
    model, out = Path(args.model), Path(args.out)
    weights = load(model)
    if not isinstance(weights, LocalWeights) or weights.image is not None:
        raise SystemExit(f"{model}: not a local model for images of any size")
    vaes = restore_local(weights, shape_of(weights))
    network = PixelNetwork(vaes[0], args.compile)
    state = State(weights.id.hex(), network.start)
    place = _place_of_state(model, out, args.resume)
    if args.resume:
        state.load(place)
        if state.seconds >= args.seconds and (out / "card.json").exists():
            raise SystemExit(f"{out}: has trained for {state.seconds:.0f} s already; nothing is to be done")
    torch.set_num_threads(args.threads)
    data = load_directory(place_of(args.photos), any_size=True, grey=weights.channels == 1, leave_out=True)
    if data.channels != weights.channels:
        kinds = {1: "grey", 3: "RGB"}
        raise SystemExit(
            f"{args.photos}: its images are {kinds[data.channels]}, and the model is for {kinds[weights.channels]} ones"
        )
    out.mkdir(parents=True, exist_ok=True)
    crops = Crops(weights, data.train, np.random.default_rng([args.seed, state.steps]))
    state.commands.append(_command(args))
    try:
        train_through(network, crops, args.seconds, args.lr, state, lambda: state.save(place))
    except (KeyboardInterrupt, Terminated):
        state.save(place)
        raise
    for vae in vaes:
        network.write(state.average[0], vae)
    trained = exported(weights, vaes, data, _about(args, weights, data, state))
    save(trained, out)
    print(f"{state.steps} steps of {STREAMS} x {UNIT} pixels")
    held_out = list(measured_strips(data, weights.tile).canvas.images)
    before, after = (learned_bits(found, held_out) for found in (weights, trained))
    print(f"held-out pictures with learning: {before:.4f} bits before, {after:.4f} now" + " (worse)" * (after > before))


def _place_of_state(model: Path, out: Path, resume: bool) -> Path:
    """Where the state of a run lies.

    Raises:
        SystemExit: the folder is none, or holds what this run must not replace; or there is no state to go on from.
    """
    place = out / "state.pt"
    if out.exists() and not out.is_dir():
        raise SystemExit(f"{out}: is not a folder")
    if out.exists() and out.samefile(model):
        raise SystemExit(f"{out}: is the model that is trained; give another folder")
    if resume and not place.exists():
        raise SystemExit(f"{out}: there is no run to go on with")
    if place.exists() and not resume:
        raise SystemExit(f"{out}: holds a run; --resume goes on with it")
    if not resume and any((out / name).exists() for name in ("card.json", "model.safetensors")):
        raise SystemExit(f"{out}: holds a model; give another folder")
    return place


def _about(args: argparse.Namespace, before: LocalWeights, data: Dataset, state: State) -> dict[str, Any]:
    """What the card says of how the model was made."""
    origin = Origin(Path(args.model).name, before, bool(before.card.get("fast")))
    folder = Path(args.photos)
    credits = image_credits(folder) if folder.is_dir() else {}
    return {
        "name": Path(args.out).resolve().name,
        "data": data.name,
        "data_licence": "see data_credits" if credits else "the user's own",
        **({"data_credits": credits} if credits else {}),
        "init": origin.facts,
        "commands": state.commands,
    }


def _command(args: argparse.Namespace) -> str:
    """What the card says of this run: of absolute paths only the last part, since others do not have the rest."""
    options = f"--seconds {args.seconds:g} --lr {args.lr:g}" + f" --seed {args.seed}" * bool(args.seed)
    options += f" --threads {args.threads}" * (args.threads > 1) + " --compile" * args.compile
    paths = [Path(part) for part in (args.model, args.photos, args.out)]
    places = shlex.join(path.name if path.is_absolute() else str(path) for path in paths)
    return f"python tools/train_through_learning.py {places} {options}" + " --resume" * bool(args.resume)


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
    """What a run that goes on needs: the weights that all begin with, their average, and how far it came.

    Attributes:
        model: id of the model that is trained. commands: those that brought it here.
    """

    def __init__(self, model: str, start: Tensor) -> None:
        self.model = model
        self.start = start.clone()[None]
        self.average, self.outer = self.start.clone(), Adam(self.start)
        self.steps, self.seconds = 0, 0.0
        self.commands: list[str] = []

    @property
    def tensors(self) -> dict[str, Tensor]:
        outer = {"mean": self.outer.mean, "square": self.outer.square, "clock": self.outer.steps}
        return {"start": self.start, "average": self.average, **outer}

    def save(self, place: Path) -> None:
        told = {"model": self.model, "steps": self.steps, "seconds": self.seconds, "commands": self.commands}
        file = io.BytesIO()
        torch.save({**self.tensors, **told}, file)
        with replacing(place) as temporary:
            temporary.write_bytes(file.getvalue())

    def load(self, place: Path) -> None:
        """Raises: SystemExit: it is damaged, or of another model."""
        try:
            found = torch.load(place, weights_only=True)
            model, commands = str(found["model"]), [str(command) for command in found["commands"]]
            steps, seconds = int(found["steps"]), float(found["seconds"])
            tensors = {name: found[name].float().reshape(tensor.shape) for name, tensor in self.tensors.items()}
            whole = steps >= 0 and 0 <= seconds < math.inf and all(t.isfinite().all() for t in tensors.values())
        except Exception:  # torch says by many kinds of exceptions that a file is none of its own
            model, whole = self.model, False
        if model != self.model:
            raise SystemExit(f"{place}: of another model (id {model[:8]})")
        if not whole:
            raise SystemExit(f"{place}: is damaged")
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
        self.steps, self.seconds, self.commands = steps, seconds, commands


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

    Raises:
        SystemExit: the weights diverged.
    """
    start = state.start
    streams, rows = [crops.draw() for _ in range(STREAMS)], start.repeat(STREAMS, 1)
    inner = Adam(rows)
    begin, kept, told, total = time.process_time() - state.seconds, state.seconds, state.steps, 0.0
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
        total += (mean := float(nats.detach().mean()))
        if not mean < DIVERGED * network.shape.channels:
            raise SystemExit(f"the weights diverged at step {state.steps}; give a smaller --lr")
        state.seconds = time.process_time() - begin
        if state.steps % REPORT_EVERY == 0:
            bits = total / (state.steps - told) / math.log(2) / network.shape.channels
            print(f"step {state.steps}: {bits:.4f} bits, {state.seconds:.0f} s", flush=True)
            told, total = state.steps, 0.0
        if state.seconds >= kept + SAVE_EVERY:
            keep()
            kept = state.seconds
    keep()


def exported(
    before: LocalWeights, vaes: tuple[LocalVAE, LocalVAE], data: Dataset, about: dict[str, Any]
) -> LocalWeights:
    """The exact model, with the settings of the one before, what `about` says and figures of held-out pictures."""
    weights = replace(
        finest(*vaes, calibration_strips(data, before.tile, GRID_CROPS)),
        prior_bits=before.prior_bits,
        direct_bits=before.direct_bits,
        learning_rate=before.learning_rate,
    )
    measured = figures(weights, dict(zip(("baseline", "rha"), vaes, strict=True)), measured_strips(data, before.tile))
    kept = {name: value for name, value in before.card.items() if name not in ("note", "data_credits")}
    return replace(weights, card={**kept, **about, **measured})


def learned_bits(weights: LocalWeights, pictures: Sequence[Pixels]) -> float:
    """Bits per sub-pixel of pictures without z, each learned from as the codec does it, in exact integers."""
    vae = ExactLocalVAE(weights, NumpyBackend())
    total = 0.0
    for pixels in pictures:
        x, features = strips_and_features(vae, pixels)
        with exact_arithmetic():
            total += float(vae.learning_coder(vae.parameters(RATE), UNIT, 1).lengths(features, x).sum()) / 2**30
    return total / sum(pixels.size for pixels in pictures)


if __name__ == "__main__":
    main()
