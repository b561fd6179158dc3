"""Rate against processor seconds of other shapes of the pixel network of `photo`: results/shapes.json.

    python benchmarks/shapes.py --photos DIR [--steps N] [--rate R] [--count N] [--variants NAME ...] [--runs DIR]
        [--out DIR] [--quick]

Networks of each shape are trained in float32 from random weights, all in the same steps on the same pixels, and all
without z. Then the middles of held-out photographs are measured without and with learning by the rule of the codec, as
in `local_inputs.py`: the wavefront, units of 128 pixels, a step of Adam after each. No file of bbc is written. The
shape that is shipped is trained from two seeds: what these differ by says which differences mean nothing.

Seconds are those of the exact codec that learns, with random weights of the shape: units forwards, their lengths,
backwards, and steps of Adam. There z has its 32 features, and they count among the multiply-adds. A linear layer of few
units between trunk and heads is timed as one with ReLUs, which the codec has.

Photographs of the folder are trained on, each at its size or at half of it; every tenth is held out, and measured.

With `--runs`, a run that was broken off goes on where it was last kept.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from local_inputs import (
    WARM_UP,
    WAYS,
    Network,
    Pixels,
    PlainCrops,
    coded,
    middle,
    pixel_weights,
    rate_at,
    seen_of,
)
from machine import environment
from PIL import Image
from torch import Tensor

from bbcompress.codecs.blocks import strips_of
from bbcompress.codecs.learned import RATE, UNIT
from bbcompress.exact.arithmetic import exact_arithmetic
from bbcompress.exact.backend import NumpyBackend
from bbcompress.models.local import ExactLocalVAE
from bbcompress.training.architectures.local.export import quantise_local
from bbcompress.training.architectures.local.network import Images, LocalShape, LocalVAE
from bbcompress.training.folder import HELD_OUT_EVERY

RESULTS = Path(__file__).resolve().parent / "results"
BATCH = 1024
"""Pixels a step of training."""
STEPS, PEAK = 500, 4e-3
CROP = 192, 256
"""Height and width of what is measured."""
TIMED = 96, 192
"""Height and width of what the exact codec is timed on."""
ROUNDS = 3
KEEP_EVERY = 50
CHANNELS = "RGB"
Row = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """A shape of the pixel network, and the seed of its first weights.

    rank: units of a linear layer between trunk and heads; 0 for none. head: units of each channel's own layer. order:
    of the channels, the first first.
    """

    trunk: tuple[int, ...] = (160, 160)
    rank: int = 0
    head: int = 64
    mixtures: int = 5
    order: str = CHANNELS
    seed: int = 0

    @property
    def shape(self) -> LocalShape:
        """Of the model in which the network is, with the features of z that `photo` has."""
        trunk = (*self.trunk, self.rank) if self.rank else self.trunk
        return replace(PHOTO, trunk=trunk, head=self.head, mixtures=self.mixtures)

    def multiply_adds(self) -> int:
        """Of a pixel, forwards, with z's features."""
        return sum(value.numel() for name, value in self.weights().items() if not name.startswith("b"))

    def weights(self) -> dict[str, Tensor]:
        """Random weights of the pixel network, with columns for z's features, the last of the first layer."""
        return pixel_weights(LocalVAE(self.shape, torch.Generator().manual_seed(self.seed)))


PHOTO = LocalShape(
    channels=3,
    binary=False,
    tile=64,
    image=None,
    latents=16,
    cell=64,
    features=32,
    decoder=(64,),
    trunk=(160, 160),
    head=64,
    mixtures=5,
    patch=4,
    pool=1,
    patch_hidden=(48, 48),
    encoder_hidden=(64,),
    centred=True,
)
"""The shape of `photo`."""

VARIANTS = {
    "photo's shape": Variant(),
    "photo's shape, another seed": Variant(seed=1),
    "3 components": Variant(mixtures=3),
    "8 components": Variant(mixtures=8),
    "heads of rank 64": Variant(rank=64),
    "heads of rank 48": Variant(rank=48),
    "heads of rank 32": Variant(rank=32),
    "trunk 160-96": Variant(trunk=(160, 96)),
    "trunk 160-64": Variant(trunk=(160, 64)),
    "heads of 32": Variant(head=32),
    "order G, R, B": Variant(order="GRB"),
    "order G, B, R": Variant(order="GBR"),
    "trunk 256": Variant(trunk=(256,)),
    "trunk 224-96": Variant(trunk=(224, 96)),
    "trunk 128-128-128": Variant(trunk=(128, 128, 128)),
    "trunk 112-112-112-112": Variant(trunk=(112, 112, 112, 112)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="photographs to train on; every tenth is held out")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--rate", type=float, default=PEAK, help="of Adam, at the peak")
    parser.add_argument("--count", type=int, default=4, help="most held-out photographs that are measured")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--runs", type=Path, help="where a run is kept that may be broken off")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="a few steps and small crops, to see that it runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    steps, crop, timed = (3, (32, 64), (32, 64)) if args.quick else (args.steps, CROP, TIMED)
    found = {
        "environment": environment(("bbcompress", "numpy", "numba", "pillow", "torch")),
        "quick": args.quick,
        "schedule": {"steps": steps, "pixels a step": BATCH, "rate": args.rate, "warm up": WARM_UP},
        "learning": {"rate": RATE, "unit": UNIT},
        "measured crop": list(crop),
        "timed crop": list(timed),
    }
    paths = sorted(path for path in args.photos.iterdir() if path.is_file())
    held_out = paths[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    measured = held_out[:: max(1, len(held_out) // args.count)][: args.count]
    chosen = {name: VARIANTS[name] for name in args.variants}
    trained_on = [path for path in paths if path not in held_out]
    networks = trained(chosen, trained_on, steps, args.rate, args.runs / "shapes.pt" if args.runs else None)
    seconds = exact_seconds(chosen, middle(measured[0], timed))
    crops = PlainCrops([middle(path, crop) for path in measured], PHOTO)
    found |= {"trained on": len(trained_on), "measured": [path.name for path in measured]}
    rows: dict[str, Row] = {}
    args.out.mkdir(parents=True, exist_ok=True)
    for name, network in networks.items():
        variant, sub_pixels = chosen[name], crops.tiles[0].size
        rows[name] = {
            **asdict(variant),
            "multiply-adds": variant.multiply_adds(),
            "exact, seconds a megapixel": round(seconds[variant.shape], 3),
        }
        for way in WAYS:
            rows[name][way] = [round(bits / sub_pixels, 5) for bits in coded(network, crops, way == "learned")]
        print(name, *(round(sum(rows[name][way]) / len(measured), 4) for way in WAYS), flush=True)
        (args.out / "shapes.json").write_text(json.dumps({**found, "shapes": rows}, indent=1) + "\n")


# The networks


class Shaped(Network):
    """A pixel network of a variant in floats, without z's features, with random weights."""

    def __init__(self, variant: Variant) -> None:
        weights = variant.weights()
        weights["w0"] = weights["w0"][:, : PHOTO.inputs]
        super().__init__(weights, "", variant.shape)
        self._linear_layer = len(variant.trunk) if variant.rank else None
        self._order = [CHANNELS.index(channel) for channel in variant.order]

    def activation(self, sums: Tensor, layer: int) -> Tensor:
        """The layer of few units is linear."""
        return sums if layer == self._linear_layer else super().activation(sums, layer)

    def nats(self, pixels: Pixels, errors: Tensor | None) -> Tensor:
        """-ln p of pixels, (..., N), whose channels are red, green and blue."""
        return super().nats(in_order(pixels, self._order), errors)


def in_order(pixels: Pixels, order: Sequence[int]) -> Pixels:
    """The same with their channels in another order."""
    if list(order) == sorted(order):
        return pixels
    channels, inputs = list(order), pixels.inputs
    return replace(
        pixels,
        inputs=inputs.view(*inputs.shape[:-1], -1, len(channels))[..., channels].flatten(-2),
        references=pixels.references[..., channels],
        levels=pixels.levels[..., channels],
        earlier=pixels.earlier[..., channels],
    )


# Training


def trained(
    variants: dict[str, Variant], paths: Sequence[Path], steps: int, rate: float, kept: Path | None
) -> dict[str, Network]:
    """Networks of the variants after so many steps, each of which all take on the same pixels."""
    networks: dict[str, Network] = {name: Shaped(variant).copy() for name, variant in variants.items()}
    optimisers = {name: torch.optim.Adam(network.learned, fused=True) for name, network in networks.items()}
    done = 0
    if kept is not None and kept.exists():
        state = torch.load(kept)
        if (state["steps"], state["rate"], list(state["networks"])) != (steps, rate, list(networks)):
            raise SystemExit(f"{kept} is of another run")
        done = state["done"]
        for name, network in networks.items():
            for value, was in zip(network.learned, state["networks"][name], strict=True):
                value.data.copy_(was)
            optimisers[name].load_state_dict(state["optimisers"][name])
    images = photographs(paths) if done < steps else None
    begin, total = time.process_time(), dict.fromkeys(networks, 0.0)
    for step in range(done, steps):
        assert images is not None
        pixels = random_pixels(images, step)
        for name, network in networks.items():
            for group in optimisers[name].param_groups:
                group["lr"] = rate_at(step / steps, step, rate)
            loss = network.nats(pixels, None).mean()
            optimisers[name].zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimisers[name].step()
            total[name] += loss.item() / math.log(2) / PHOTO.channels
        if (step + 1) % KEEP_EVERY == 0:
            print(f"step {step + 1}, {time.process_time() - begin:.0f} s of the processor, bits since the last:")
            print(", ".join(f"{name} {bits / KEEP_EVERY:.4f}" for name, bits in total.items()), flush=True)
            total = dict.fromkeys(networks, 0.0)
            if kept is not None:
                keep(kept, {"steps": steps, "rate": rate, "done": step + 1}, networks, optimisers)
    return networks


def keep(path: Path, about: Row, networks: dict[str, Network], optimisers: dict[str, torch.optim.Adam]) -> None:
    """Write what a run needs to go on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: [value.detach() for value in network.learned] for name, network in networks.items()}
    states = {name: optimiser.state_dict() for name, optimiser in optimisers.items()}
    new = path.with_suffix(".new")
    torch.save({**about, "networks": weights, "optimisers": states}, new)
    new.replace(path)


def photographs(paths: Sequence[Path]) -> Images:
    """Photographs, every second one at half its size."""
    found = []
    for number, path in enumerate(paths):
        with Image.open(path) as opened:
            whole = opened.convert("RGB")
        found.append(np.asarray(whole.reduce(2) if number % 2 else whole))
    return Images(found, PHOTO.tile)


def random_pixels(images: Images, step: int) -> Pixels:
    """The pixels of a step: each of a random photograph, all of which are as likely, at a random place."""
    generator = torch.Generator().manual_seed(step)
    number = torch.randint(len(images.heights), (BATCH,), generator=generator)
    place = torch.rand(2, BATCH, generator=generator)
    y, x = ((side[number] * part).long() for side, part in zip((images.heights, images.widths), place, strict=True))
    return seen_of(images, number, y, x, PHOTO)


# The exact codec


def exact_seconds(variants: dict[str, Variant], pixels: np.ndarray[Any, Any]) -> dict[LocalShape, float]:
    """Processor seconds a megapixel of the exact codec that learns, by shape: the middle of some rounds, which take the
    shapes in turn."""
    models = {variant.shape: exact_model(variant) for variant in variants.values()}
    found: dict[LocalShape, list[float]] = {shape: [] for shape in models}
    for number in range(ROUNDS + 1):
        for shape, model in models.items():
            seconds, _ = exactly(model, pixels)
            if number:  # the first compiles
                found[shape].append(1e6 * seconds / (pixels.shape[0] * pixels.shape[1]))
    return {shape: median(values) for shape, values in found.items()}


def exact_model(variant: Variant, vae: LocalVAE | None = None) -> ExactLocalVAE:
    """The exact twin of a model, else of one of the variant's shape with random weights."""
    vae = vae or LocalVAE(variant.shape, torch.Generator().manual_seed(variant.seed))
    return ExactLocalVAE(quantise_local(vae, vae), NumpyBackend())


def exactly(model: ExactLocalVAE, pixels: np.ndarray[Any, Any], stride: int = 1) -> tuple[float, float]:
    """Processor seconds and bits of the pixels of an image, at z = 0; with stride 0 the model does not learn."""
    x = strips_of([pixels], model.weights.tile)
    with exact_arithmetic():
        features = model.features(np.zeros((len(x), model.weights.latents), np.int64))
        begin = time.process_time()
        bits = float(model.learning_coder(model.parameters(RATE), UNIT, stride).lengths(features, x).sum()) / 2**30
    return time.process_time() - begin, bits


if __name__ == "__main__":
    main()
