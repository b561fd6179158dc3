"""What inputs are worth that the pixel network of `photo` cannot make by itself: results/local-inputs.json.

    python benchmarks/local_inputs.py --photos DIR [--foreign DIR] [--steps N] [--count N] [--variants NAME ...]
        [--tune] [--runs DIR] [--out DIR] [--quick]

A prototype in float32, which writes no file of bbc. The network gets more columns in its first layer, zero at first:

* errors: what its own distributions were wrong by at six neighbours, and where in them the levels lay;
* least squares: a prediction of each channel by least squares over a window of decoded pixels (`least_squares.py`), and
  by how much it was wrong nearby. A channel's own layers see the one that knows the pixel's earlier channels, too.

Each is fine-tuned from the shipped weights for equally many steps on the same pixels, and so is a control without them.
Then held-out photographs of the folder, and photographs of elsewhere, are measured without and with learning by the
rule of the codec: the wavefront, units of 128 pixels, a step of Adam after each. z is the shipped encoder's, and is not
counted: it is alike in all. Weights are not rounded; the shipped ones are measured by the exact codec, too.

With `--runs`, a run that was broken off goes on: what is trained or measured is kept.

`--tune` compares how a start for learning is trained: plainly, as the control, or along units of an image while the
network learns from them (first order, as FOMAML), for as many processor seconds.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import least_squares
import numpy as np
import torch
import torch.nn.functional as F
from machine import environment
from PIL import Image
from torch import Tensor

from bbcompress.codecs.learned import RATE, UNIT, strips_and_features
from bbcompress.exact.arithmetic import exact_arithmetic
from bbcompress.exact.backend import NumpyBackend
from bbcompress.models.checkpoint import load
from bbcompress.models.learning_network import units_of
from bbcompress.models.local import ExactLocalVAE, LocalWeights
from bbcompress.models.pixel_network import PIXEL_BITS
from bbcompress.models.shipped import shipped_model_folders
from bbcompress.models.strips import Strips
from bbcompress.training.architectures.local.network import (
    ACTIVATION_TOP,
    PIXEL_UNIT,
    Images,
    LocalShape,
    LocalVAE,
    gather,
)
from bbcompress.training.architectures.local.restore import restore_local, shape_of
from bbcompress.training.folder import HELD_OUT_EVERY
from bbcompress.training.likelihoods import LogisticMixture

RESULTS = Path(__file__).resolve().parent / "results"
NEIGHBOURS = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))
"""(dy, dx) of the pixels whose errors are inputs: a patch needs two rows above, two columns before and one behind."""
ERROR_UNIT, ERROR_TOP = 16.0, 4.0
"""Levels a unit of the inputs that are errors, and the most units."""
VARIANTS = {"control": "", "least squares": "l", "both": "el", "errors": "e"}
CROP = 192, 256
"""Height and width of what is measured."""
TRAINED = 128, 192
"""Height and width of the crops that are trained on: one of each photograph, half of them at half their size."""
PATCH = 8
PATCHES = 32
"""A step of training sees so many patches, of so many pixels a side."""
PEAK_RATE, WARM_UP = 1e-3, 50
INNER = 48
"""Units of a crop along which the network learns in a step of training through learning."""
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="photographs to train on; every tenth is held out")
    parser.add_argument("--foreign", type=Path, help="photographs of elsewhere, which are only measured")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--count", type=int, default=6, help="most images of each folder that are measured")
    parser.add_argument("--runs", type=Path, help="where trained weights are kept: what is there is not trained again")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--tune", action="store_true", help="measure training through learning, too")
    parser.add_argument("--quick", action="store_true", help="a few steps and small crops, to see that it runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    start = environment(("bbcompress", "numpy", "numba", "pillow", "torch"))
    steps, crop, trained = (3, (64, 64), (64, 64)) if args.quick else (args.steps, CROP, TRAINED)
    model = Model.shipped()
    paths = sorted(path for path in args.photos.iterdir() if path.is_file())
    held_out = paths[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]  # `photo` has not been trained on these
    trained_on, data = [path for path in paths if path not in held_out], None
    networks: dict[str, Network] = {}
    seconds: dict[str, float] = {}
    plans = [(name, VARIANTS[name], False) for name in args.variants]
    if args.tune:
        plans.append(("through learning", "", True))
    for name, parts, through in plans:
        networks[name], seconds[name] = Network.of(model, parts), 0.0
        kept = args.runs / f"{name.replace(' ', '-')}.pt" if args.runs else None
        if kept is not None and kept.exists():
            state = torch.load(kept)
            networks[name].load(state["weights"])
            seconds[name] = state["seconds"]
            continue
        data = data or Crops.of(model, trained_on, trained)
        if through:
            seconds[name] = train_through(networks[name], data, seconds["control"])
        else:
            seconds[name] = train(networks[name], data, steps, name)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"weights": networks[name].weights, "seconds": seconds[name]}, kept)
    networks["shipped"] = Network.of(model, "")
    about = {
        "environment": start,
        "model": "photo",
        "quick": args.quick,
        "schedule": {
            "steps": steps,
            "pixels a step": PATCHES * PATCH**2,
            "crops": len(trained_on),
            "crop": list(trained),
            "rate": PEAK_RATE,
            "units a step, through learning": INNER,
        },
        "learning": {"rate": RATE, "unit": UNIT},
        "measured crop": list(crop),
        "training seconds": {name: round(value, 1) for name, value in seconds.items()},
        "multiply-adds": {name: multiply_adds(network) for name, network in networks.items()},
    }
    args.out.mkdir(parents=True, exist_ok=True)
    out = args.out / "local-inputs.json"
    chosen = to_measure(held_out, args.foreign, args.count)
    images = [middle(path, crop) for _, path in chosen]
    rows = measured_before(out, about, [path.name for _, path in chosen]) if args.runs else []
    if not rows:
        rows = [
            {"name": path.name, "origin": origin, "size": list(crop[::-1]), **exactly(model, pixels)}
            for (origin, path), pixels in zip(chosen, images, strict=True)
        ]
    crops, names = Crops(images, model), []
    for name, network in networks.items():
        for way in WAYS:
            if name in rows[0][way]:
                continue
            for row, bits in zip(rows, coded(network, crops, way == "learned"), strict=True):
                row[way][name] = round(bits / images[0].size, 5)
        names.append(name)
        means = {origin: mean_of([row for row in rows if row["origin"] == origin], names) for origin in ORIGINS}
        print(name, json.dumps(means), flush=True)
        out.write_text(json.dumps({**about, "mean": means, "rows": rows}, indent=1) + "\n")  # of as many as there are
    print(f"written: {out}")


ORIGINS = "held out", "elsewhere"


def measured_before(out: Path, about: Row, names: list[str]) -> list[Row]:
    """The rows of a run that was broken off, of the same images and schedule; else none."""
    if not out.exists():
        return []
    found = json.loads(out.read_text())
    same = all(found[key] == about[key] for key in ("quick", "schedule", "measured crop", "learning"))
    rows: list[Row] = found["rows"]
    return rows if same and [row["name"] for row in rows] == names else []


def to_measure(held_out: list[Path], foreign: Path | None, count: int) -> list[tuple[str, Path]]:
    """Origin and path of at most so many photographs of each origin."""
    elsewhere = [] if foreign is None else sorted(path for path in foreign.iterdir() if path.is_file())
    return [
        (origin, path)
        for origin, paths in zip(ORIGINS, (held_out, elsewhere), strict=True)
        for path in paths[:: max(1, len(paths) // count)][:count]
    ]


def middle(path: Path, size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """The middle of a photograph, uint8 (H, W, 3)."""
    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    top, left = ((side - wanted) // 2 for side, wanted in zip(pixels.shape, size, strict=False))
    return np.ascontiguousarray(pixels[top : top + size[0], left : left + size[1]])


# The model


@dataclass
class Model:
    """`photo` as it is shipped, and its network in floats."""

    exact: ExactLocalVAE
    shape: LocalShape
    pixel_weights: dict[str, Tensor]

    @classmethod
    def shipped(cls) -> Model:
        """The shipped model."""
        weights = load(next(folder for folder in shipped_model_folders() if folder.name == "photo"))
        assert isinstance(weights, LocalWeights)
        shape = shape_of(weights)
        vae = restore_local(weights, shape)[0]
        return cls(ExactLocalVAE(weights, NumpyBackend()), shape, pixel_weights(vae))

    def strips(self, pixels: np.ndarray[Any, Any]) -> tuple[Strips, np.ndarray[Any, Any]]:
        """Strips of an image, and the features of its cells at the z that the codec takes, on their grid."""
        return strips_and_features(self.exact, pixels)


def pixel_weights(vae: LocalVAE) -> dict[str, Tensor]:
    """The weights of a model's pixel network, by the names that `Network` gives them."""
    named = {}
    linears = [layer for layer in (*vae.trunk, *vae.heads) if isinstance(layer, torch.nn.Linear)]
    for number, layer in enumerate(linears):
        named[f"w{number}"], named[f"b{number}"] = layer.weight.detach(), layer.bias.detach()
    for channel in range(vae.shape.channels):
        across, output = vae.across[channel], vae.outputs[channel]
        assert isinstance(across, torch.nn.Linear) and isinstance(output, torch.nn.Linear)
        named[f"across{channel}"] = across.weight.detach()[:, :channel]
        named[f"w out{channel}"], named[f"b out{channel}"] = output.weight.detach(), output.bias.detach()
    return named


class Network:
    """The pixel network in floats, with more inputs; parts: "e" for errors, "l" for least squares, both or neither."""

    def __init__(self, weights: dict[str, Tensor], parts: str, shape: LocalShape) -> None:
        self.weights = weights
        self.parts = parts
        self.shape = shape

    @classmethod
    def of(cls, model: Model, parts: str) -> Network:
        """The shipped weights, and columns of zeros for what is new."""
        weights, shape = {name: value.clone() for name, value in model.pixel_weights.items()}, model.shape
        errors, predictions = 2 * shape.channels * len(NEIGHBOURS), 2 * shape.channels
        more = errors * ("e" in parts) + predictions * ("l" in parts)
        weights["w0"] = F.pad(weights["w0"], (0, more))
        if "l" in parts:
            for channel in range(shape.channels):
                for name in (f"across{channel}", f"w out{channel}"):
                    weights[name] = F.pad(weights[name], (0, 1))
        return cls(weights, parts, shape)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take trained weights."""
        self.weights = weights

    def copy(self, count: int | None = None) -> Network:
        """An independent network that learns, or so many of them in one."""
        copied = {}
        for name, value in self.weights.items():
            more = value if count is None else value.expand(count, *value.shape)
            copied[name] = more.detach().clone().requires_grad_()
        found = copy.copy(self)
        found.load(copied)
        return found

    @property
    def learned(self) -> list[Tensor]:
        """All weights but those that nothing uses."""
        return [value for value in self.weights.values() if value.numel()]

    def parameters(self, pixels: Pixels, errors: Tensor | None) -> Tensor:
        """The mixtures' parameters of all channels, (C ... N, 3 M + 2), the first channel's first.

        pixels: (..., N), where weights may have the same leading dimensions: each image has a network of its own.
        errors: (..., N, neighbours, 2 C), see `wrong_by`; None where the network has no such inputs.
        """
        w, width = self.weights, self.shape.head
        x = [pixels.inputs]
        if errors is not None:
            x.append(errors.flatten(-2))
        if "l" in self.parts:
            x.append(pixels.predictions)
        h = torch.cat(x, dim=-1)
        for layer in range(len(self.shape.trunk)):
            h = self.activation(_linear(h, w[f"w{layer}"], w[f"b{layer}"]), layer)
        last = len(self.shape.trunk)
        heads = _linear(h, w[f"w{last}"], w[f"b{last}"])
        found = []
        for channel in range(self.shape.channels):
            seen = pixels.earlier[..., :channel]
            if "l" in self.parts:
                seen = torch.cat([seen, pixels.informed[..., channel : channel + 1]], dim=-1)
            total = heads[..., channel * width : (channel + 1) * width]
            if seen.shape[-1]:
                total = total + seen @ w[f"across{channel}"].mT
            h = torch.cat([total.clamp(0, ACTIVATION_TOP), seen], dim=-1)
            found.append(_linear(h, w[f"w out{channel}"], w[f"b out{channel}"]))
        return torch.stack(found).flatten(0, -2)

    def activation(self, sums: Tensor, layer: int) -> Tensor:
        """What the next layer gets of the sums of a layer of the trunk, of their shape."""
        return sums.clamp(0, ACTIVATION_TOP)

    def nats(self, pixels: Pixels, errors: Tensor | None) -> Tensor:
        """-ln p of pixels, (..., N)."""
        params, sizes = self.parameters(pixels, errors), pixels.levels.shape[:-1]
        return -LogisticMixture.log_prob(params, *pixels.flat()).view(self.shape.channels, *sizes).sum(0)

    @torch.no_grad()
    def wrong_by(self, pixels: Pixels, errors: Tensor | None) -> Tensor:
        """Of pixels, (..., N, 2 C): levels less the means of their mixtures, and where in these they lay, -1 to 1."""
        params, sizes = self.parameters(pixels, errors), pixels.levels.shape[:-1]
        return wrong_by(params, *pixels.flat()).view(2 * self.shape.channels, *sizes).movedim(0, -1)


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """W x + b of (..., N, inputs) by (..., outputs, inputs)."""
    return x @ weight.mT + bias[..., None, :]


def wrong_by(params: Tensor, reference: Tensor, level: Tensor) -> Tensor:
    """(2, N) of levels (N,): see `Network.wrong_by`; errors in units of `ERROR_UNIT`."""
    m = (params.shape[1] - 2) // 3
    masses = torch.softmax(params[:, : m + 2], dim=1)
    means = LogisticMixture.MEAN_UNIT * params[:, m + 2 : 2 * m + 2]
    centred = (level - reference)[:, None] - means
    scale = LogisticMixture.SMALLEST_SCALE * torch.exp(params[:, 2 * m + 2 :].clamp(0, LogisticMixture.LOG_SCALE_TOP))
    middle_means = (reference[:, None] + means).clamp(0, 255)
    mean = (masses[:, :m] * middle_means).sum(1) + 255 * masses[:, m + 1]
    below = (masses[:, :m] * torch.sigmoid(centred / scale)).sum(1) + masses[:, m] * (0.5 + 0.5 * (level > 0))
    below = below + 0.5 * masses[:, m + 1] * (level == 255)
    return torch.stack([((level - mean) / ERROR_UNIT).clamp(-ERROR_TOP, ERROR_TOP), 2 * below - 1])


def multiply_adds(network: Network) -> int:
    """Of a pixel, forwards; for its errors those that make a mean and a place from a mixture."""
    total = sum(value.numel() for name, value in network.weights.items() if not name.startswith("b"))
    return total + ("e" in network.parts) * 4 * network.shape.mixtures * network.shape.channels


# Pixels


@dataclass
class Pixels:
    """What the network sees of pixels, (..., N, values) each.

    earlier: levels less references, in units of 64 levels. predictions: by least squares and what these were wrong by,
    inputs of the first layer; informed: those that know the pixel's earlier channels, in units of 64 levels.
    """

    inputs: Tensor
    references: Tensor
    levels: Tensor
    earlier: Tensor
    predictions: Tensor
    informed: Tensor

    def __getitem__(self, rows: slice | Tensor) -> Pixels:
        return Pixels(*(getattr(self, name)[..., rows, :] for name in self.__dataclass_fields__))

    def by_image(self, count: int) -> Pixels:
        """The same in so many equal parts, (count, N, values)."""
        return Pixels(*(getattr(self, name).unflatten(0, (count, -1)) for name in self.__dataclass_fields__))

    def flat(self) -> tuple[Tensor, Tensor]:
        """References and levels of all channels, the first channel's first."""
        return self.references.movedim(-1, 0).flatten(), self.levels.movedim(-1, 0).flatten()


def least_squares_inputs(pixels: np.ndarray[Any, Any]) -> tuple[Tensor, Tensor]:
    """Of an image, uint8 (H, W, C): inputs of the first layer, (H W, 2 C), and informed predictions, (H W, C)."""
    before, after, errors = least_squares.predictions(pixels)
    height, width, channels = pixels.shape
    around = np.abs(np.pad(errors, ((2, 0), (2, 1), (0, 0))))
    nearby = sum(around[2 + dy : 2 + dy + height, 2 + dx : 2 + dx + width] for dy, dx in NEIGHBOURS) / len(NEIGHBOURS)
    columns = np.concatenate([np.clip(before / ERROR_UNIT, -ERROR_TOP, ERROR_TOP), np.log2(1 + nearby) / 2], axis=2)
    return (
        torch.from_numpy(columns.reshape(-1, 2 * channels).astype(np.float32)),
        torch.from_numpy(np.clip(after, -255, 255).reshape(-1, channels) / np.float32(PIXEL_UNIT)),
    )


def seen_of(images: Images, number: Tensor, y: Tensor, x: Tensor, shape: LocalShape) -> Pixels:
    """Pixels y, x of images `number`, (N,) each, with their neighbours and earlier channels alone."""
    context, references, levels = gather(images, number, y, x, shape)
    nothing = context[:, :0]
    return Pixels(context, references, levels.float(), (levels - references) / PIXEL_UNIT, nothing, nothing)


class PlainCrops:
    """Crops of one size, of whose pixels the network sees the neighbours and the earlier channels alone."""

    def __init__(self, pixels: Sequence[np.ndarray[Any, Any]], shape: LocalShape) -> None:
        """pixels: uint8 (H, W, C) each."""
        self.height, self.width, _ = pixels[0].shape
        self.shape = shape
        self.images = Images(list(pixels), shape.tile)
        self.tiles = pixels

    def pixels(self, number: Tensor, y: Tensor, x: Tensor) -> Pixels:
        """Pixels y, x of crops `number`, (N,) each."""
        return seen_of(self.images, number, y, x, self.shape)


class Crops(PlainCrops):
    """Crops of one size with all that the networks see of their pixels: z's features and least squares, too."""

    def __init__(self, pixels: Sequence[np.ndarray[Any, Any]], model: Model) -> None:
        super().__init__(pixels, model.shape)
        found = [model.strips(crop) for crop in pixels]
        self.features = torch.stack([torch.from_numpy(features) for _, features in found]) / (1 << PIXEL_BITS)
        self.cells = torch.empty(self.height * self.width, dtype=torch.int64)  # of the lowest strip first
        self.cells[torch.from_numpy(wavefront(self.height, self.width)[0])] = torch.from_numpy(
            found[0][0].wavefront(model.shape.cell).cells
        )
        both = [least_squares_inputs(crop) for crop in pixels]
        self.predictions, self.informed = (torch.cat(parts) for parts in zip(*both, strict=True))

    @classmethod
    def of(cls, model: Model, paths: Sequence[Path], size: tuple[int, int]) -> Crops:
        """A crop of each photograph at a random place, half of them at half their size."""
        random, found = np.random.default_rng(0), []
        for number, path in enumerate(paths):
            with Image.open(path) as opened:
                whole = opened.convert("RGB")
            pixels = np.asarray(whole.reduce(2) if number % 2 else whole)
            top, left = (random.integers(pixels.shape[axis] - size[axis] + 1) for axis in (0, 1))
            found.append(np.ascontiguousarray(pixels[top : top + size[0], left : left + size[1]]))
        return cls(found, model)

    def pixels(self, number: Tensor, y: Tensor, x: Tensor) -> Pixels:
        """Pixels y, x of crops `number`, (N,) each."""
        plain = super().pixels(number, y, x)
        features = self.features[number, self.cells[y * self.width + x]]
        place = number * (self.height * self.width) + y * self.width + x
        inputs = torch.cat([plain.inputs, features], dim=1)
        return replace(plain, inputs=inputs, predictions=self.predictions[place], informed=self.informed[place])


# Training


def train(network: Network, data: Crops, steps: int, name: str) -> float:
    """Fine-tune on random patches; gives the processor seconds. Which patches does not depend on the network."""
    generator, begin = torch.Generator().manual_seed(0), time.process_time()
    learning = network.copy()
    optimiser = torch.optim.Adam(learning.learned, lr=PEAK_RATE)
    total = 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step / steps, step)
        loss = patch_loss(learning, data, generator)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += loss.item()
        if (step + 1) % 100 == 0:
            bits = total / 100 / math.log(2) / network.shape.channels
            print(f"{name}: step {step + 1}, {bits:.4f} bits, {time.process_time() - begin:.0f} s", flush=True)
            total = 0.0
    network.load({key: value.detach() for key, value in learning.weights.items()})
    return time.process_time() - begin


def rate_at(done: float, step: int, peak: float = PEAK_RATE) -> float:
    """Of Adam: from nothing to the peak in the first steps, and to nothing along a cosine."""
    return peak * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * done))


def patch_loss(network: Network, data: Crops, generator: torch.Generator) -> Tensor:
    """Mean -ln p of the pixels of random patches. Where the network sees errors, those are of a pass without any."""
    before, above, behind = 2, 2, 1
    number = torch.randint(len(data.tiles), (PATCHES,), generator=generator)
    top = torch.randint(above, data.height - PATCH + 1, (PATCHES,), generator=generator)
    left = torch.randint(before, data.width - PATCH - behind + 1, (PATCHES,), generator=generator)
    if "e" not in network.parts:
        above = before = behind = 0
    rows, columns = torch.arange(-above, PATCH), torch.arange(-before, PATCH + behind)
    y = (top[:, None, None] + rows[:, None]).expand(-1, -1, len(columns)).flatten()
    x = (left[:, None, None] + columns).expand(-1, len(rows), -1).flatten()
    pixels = data.pixels(number.repeat_interleave(len(rows) * len(columns)), y, x)
    if "e" not in network.parts:
        return network.nats(pixels, None).mean()
    nothing = torch.zeros(len(y), len(NEIGHBOURS), 2 * network.shape.channels)
    found = network.wrong_by(pixels, nothing).view(PATCHES, len(rows), len(columns), -1)
    seen = [
        found[:, above + dy : above + dy + PATCH, before + dx : before + dx + PATCH].flatten(0, 2)
        for dy, dx in NEIGHBOURS
    ]
    inner = torch.arange(len(y)).view(PATCHES, len(rows), len(columns))
    inner = inner[:, above:, before : before + PATCH].flatten()
    return network.nats(pixels[inner], torch.stack(seen, dim=1)).mean()


def train_through(network: Network, data: Crops, seconds: float) -> float:
    """Fine-tune for so many processor seconds for learning: the network learns along the first units of a random crop,
    and the start moves along the mean of the gradients of all of them (first order)."""
    random, begin = np.random.default_rng(0), time.process_time()
    start = network.copy()
    optimiser = torch.optim.Adam(start.learned, lr=PEAK_RATE)
    places = torch.from_numpy(wavefront(data.height, data.width)[0])
    number_of_units = len(places) // UNIT
    step = 0
    while (done := (time.process_time() - begin) / max(seconds, 1e-9)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = rate_at(done, step)
        first = int(random.integers(max(1, number_of_units - INNER + 1)))
        rows = places[first * UNIT : (first + INNER) * UNIT]
        crop = torch.full((len(rows),), int(random.integers(len(data.tiles))))
        pixels = data.pixels(crop, rows // data.width, rows % data.width)
        inner = Network({key: value.detach() for key, value in start.weights.items()}, "", start.shape).copy()
        stepper = torch.optim.Adam(inner.learned, lr=RATE * 1e-6, fused=True)
        total = [torch.zeros_like(value) for value in inner.learned]
        units = range(0, len(rows), UNIT)
        for unit in units:
            stepper.zero_grad()
            inner.nats(pixels[slice(unit, unit + UNIT)], None).mean().backward()  # type: ignore[no-untyped-call]
            for sums, value in zip(total, inner.learned, strict=True):
                assert value.grad is not None
                sums += value.grad
            stepper.step()
        for value, sums in zip(start.learned, total, strict=True):
            value.grad = sums / len(units)
        optimiser.step()
        step += 1
    print(f"through learning: {step} steps", flush=True)
    network.load({key: value.detach() for key, value in start.weights.items()})
    return time.process_time() - begin


# Measuring


def wavefront(height: int, width: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Places of the pixels of an image in the order of decoding, and where the steps of the wavefront begin and end."""
    steps = (4 * np.arange(height)[:, None] + np.arange(width)).reshape(-1)
    counts = np.bincount(steps)
    return np.argsort(steps, kind="stable"), np.concatenate([[0], np.cumsum(counts[counts > 0])]).astype(np.int64)


def exactly(model: Model, pixels: np.ndarray[Any, Any]) -> Row:
    """Bits per sub-pixel of an image by the exact codec, frozen and learning, with its processor seconds, and those of
    the least squares."""
    found: Row = {way: {} for way in WAYS}
    x, features = model.strips(pixels)
    for stride, way in enumerate(WAYS):
        begin = time.process_time()
        with exact_arithmetic():
            coder = model.exact.learning_coder(model.exact.parameters(RATE), UNIT, stride)
            bits = float(coder.lengths(features, x).sum()) / 2**30 / pixels.size
        found[way]["exact"] = round(bits, 5)
        found[f"exact, {way}, seconds"] = round(time.process_time() - begin, 3)
    begin = time.process_time()
    least_squares.predictions(pixels)
    found["least squares, seconds"] = round(time.process_time() - begin, 3)
    return found


def coded(network: Network, crops: PlainCrops, learns: bool) -> list[float]:
    """Bits of each crop: all begin with the same weights, and what the network learns from each is its own."""
    count = len(crops.tiles)
    order, bounds = wavefront(crops.height, crops.width)
    places = torch.from_numpy(order)
    number, where = torch.arange(count).repeat_interleave(len(places)), places.repeat(count)
    pixels = crops.pixels(number, where // crops.width, where % crops.width).by_image(count)
    network = network.copy(count)
    if learns:
        optimiser = torch.optim.Adam(network.learned, lr=RATE * 1e-6, fused=True)
    errors, steps = ErrorMap(crops, places) if "e" in network.parts else None, bounds.tolist()
    total = torch.zeros(count, dtype=torch.float64)
    for begin, end in pairwise(units_of(bounds, UNIT).tolist()):
        seen = None
        if errors is not None:
            for first, last in pairwise([step for step in steps[_at(steps, begin) :] if step <= end]):
                rows = slice(first, last)
                errors.put(rows, network.wrong_by(pixels[rows], errors.of(rows)))
            seen = errors.of(slice(begin, end))
        with torch.set_grad_enabled(learns):
            nats = network.nats(pixels[slice(begin, end)], seen)
        total += nats.detach().double().sum(1)
        if learns:
            optimiser.zero_grad()
            nats.mean(1).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return [value / math.log(2) for value in total.tolist()]


def _at(steps: list[int], begin: int) -> int:
    return int(np.searchsorted(steps, begin))


class ErrorMap:
    """What networks were wrong by at the pixels of images that they have seen; nothing elsewhere."""

    def __init__(self, crops: PlainCrops, places: Tensor) -> None:
        """places: of each image's pixels, in the order of decoding."""
        width = crops.width + 3
        self._own = (places // crops.width + 2) * width + places % crops.width + 2
        moved = torch.tensor([dy * width + dx for dy, dx in NEIGHBOURS])
        self._seen = self._own[:, None] + moved
        self._values = torch.zeros(len(crops.tiles), (crops.height + 2) * width, 2 * crops.shape.channels)

    def put(self, rows: slice, values: Tensor) -> None:
        """Of pixels of the order, (images, N, 2 C)."""
        self._values[:, self._own[rows]] = values

    def of(self, rows: slice) -> Tensor:
        """(images, N, neighbours, 2 C) of their neighbours."""
        return self._values[:, self._seen[rows]]


def mean_of(rows: list[Row], names: list[str]) -> Row:
    """Means over images of one size."""
    if not rows:
        return {}
    names = ["exact", *names]
    return {way: {name: round(sum(row[way][name] for row in rows) / len(rows), 5) for name in names} for way in WAYS}


WAYS = "frozen", "learned"


if __name__ == "__main__":
    main()
