"""Why single images explode in a residual VAE with batch norm, and what helps: benchmarks/results/norms.json.

    python benchmarks/study/norms.py [--data-dir DIR] [--parts PART ...] [--model NAME] [--threads N] [--quick]
                                     [--out FILE]

cause: the shipped model, its integers read as the float32 numbers that they stand for, so that nothing is clamped.
Which of the first test images costs most, and how many deviations of the training images the outputs of each layer are
off for it, with running statistics and with those of a batch. remedies: the same model and image, with clamps that were
not there in training. training: small VAEs of a part of the training images by norm, same seed and steps; what can be
changed without training is changed in that with batch norm. A run of some parts keeps the results of the others.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.rate import net_bits
from bbcompress.exact.backend import NumpyBackend
from bbcompress.models.checkpoint import load
from bbcompress.models.resnet import ExactResNetVAE, ResNetWeights
from bbcompress.models.strips import Canvas, Strips
from bbcompress.training.architectures.resnet.export import quantise_resnet
from bbcompress.training.architectures.resnet.network import (
    BATCH,
    BATCH_NORM_MOMENTUM,
    CLAMP,
    CLAMPED,
    ResNetShape,
    ResNetVAE,
)
from bbcompress.training.architectures.resnet.restore import channels_of, convolutions, norm_of, restore_resnet
from bbcompress.training.datasets import load_cifar10
from bbcompress.training.distributed import BatchNorm2d
from bbcompress.training.evaluation import elbo_terms
from bbcompress.training.objectives import bits_per_dimension, negative_elbo
from bbcompress.training.reporter import Reporter
from bbcompress.training.trainer import Trainer, buffers_of, seeded_generator

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

import machine  # noqa: E402

ROOT = HERE.parents[1]
PARTS = ("cause", "remedies", "training")
BASELINE = "baseline"
AT_ONCE = 50
SEARCHED, STATISTICS, ORDINARY = 1000, 200, 60
"""First test images that are searched, training images of whose channels statistics are, first test images whose mean
is given."""
WIDTH, BLOCKS, IMAGES, EPOCHS, LR, MINIBATCH, AVERAGE = 32, 2, 6_000, 4, 3e-3, 50, 0.999
TESTED = 1000
GROUPS = 8
FLOOR = 0.1
"""Of the running variance, as a share of the median of a layer's channels."""
Z_LIMIT, RHO_LIMIT = 16.0, 6.0
"""The clamps of mu and rho that the integers have."""
PACKAGES = ("bbcompress", "torch", "numpy")
Rows = np.ndarray[Any, Any]
Model = ResNetVAE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--model", default="cifar10-resnet")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=IMAGES, help="of the part training")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the part training")
    parser.add_argument("--quick", action="store_true", help="a few images and steps, to see that it works")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "norms.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data = load_cifar10(args.data_dir)
    train, test = np.asarray(data.train), np.asarray(data.test)
    if args.quick:
        train, test = train[:200], test[:60]
    results = json.loads(args.out.read_text()) if args.out.exists() else {"results": {}, "environments": {}}
    shipped = cast(ResNetWeights, load(ROOT / "models" / args.model))
    found: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "cause": lambda: iter([{"model": args.model, **cause(shipped, train, test)}]),
        "remedies": lambda: iter(
            [{"model": args.model, **remedies(shipped, test, results["results"]["cause"]["image"])}]
        ),
        "training": lambda: training(train[: args.images], test, args.epochs),
    }
    for part in args.parts:
        environment = machine.environment(PACKAGES)
        for so_far in found[part]():  # what is there is kept, whatever ends the script
            results["results"][part] = so_far
            results["environments"][part] = environment
            args.out.write_text(json.dumps(results, indent=1) + "\n")


# --- Models --------------------------------------------------------------------------------------


def floats_of(weights: ResNetWeights) -> Model:
    """A model of float32 numbers that the integers stand for, without their clamps; batch norm is part of the
    convolutions, and its layers only add the bias."""
    shape = ResNetShape((weights.tile,) * 2, len(weights.decoder[0].bias), channels_of(weights), weights.blocks)
    models = ResNetVAE(shape, norm=BATCH), ResNetVAE(shape, norm=BATCH)
    restore_resnet(weights, models, norm_of(weights))
    return models[0].eval().requires_grad_(False)


def _norms(model: Model) -> dict[str, BatchNorm2d]:
    """The batch norms by their place, in the order of the data's way."""
    names = {module: name for name, module in model.named_modules()}
    found = {}
    for part, network in (("encoder", model.encoder), ("decoder", model.decoder)):
        for _, norm in convolutions(network):
            if norm is not None:
                found[f"{part} {names[norm].split('.', 1)[1]}"] = cast(BatchNorm2d, norm)
    return found


def _variance(norm: nn.BatchNorm2d) -> Tensor:
    return cast(Tensor, norm.running_var)


@contextmanager
def hooked(modules: dict[str, Any], hook: Callable[[str, Tensor], Tensor | None]) -> Iterator[None]:
    """Within it the hook sees the output of each module, and may give another one."""
    handles = [
        module.register_forward_hook(lambda _, __, output, name=name: hook(name, output))
        for name, module in modules.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def clamped_posterior(model: Model) -> Iterator[None]:
    """Within it mu and rho have the clamps that the integers have."""
    plain = model.encode

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        mu, sigma = plain(x)
        return mu.clamp(-Z_LIMIT, Z_LIMIT), sigma.clamp(max=float(nn.functional.softplus(torch.tensor(RHO_LIMIT))))

    model.encode = encode  # type: ignore[method-assign]
    try:
        yield
    finally:
        del model.encode


def clamped_relus(model: Model, limit: float) -> Any:
    """Within it the ReLUs behind batch norm end at the limit."""
    norms = {name: norm for name, norm in _norms(model).items() if "narrow" not in name}
    return hooked(norms, lambda _, output: output.clamp(max=limit))


# --- Measurements --------------------------------------------------------------------------------


@torch.no_grad()
def bits_of(model: Model, images: Rows) -> Rows:
    """The negative ELBO of each image in bits per sub-pixel, float32, one draw of z; float64 (N,)."""
    parts = []
    for start in range(0, len(images), AT_ONCE):
        x = rows_of(images[start : start + AT_ONCE])
        noise = torch.randn(len(x), model.latents, generator=seeded_generator(x.device, "norms", start))
        nll, kl = elbo_terms(model, x, noise)
        parts.append((nll + kl).double() * bits_per_dimension(model.dimensions))
    return torch.cat(parts).numpy()


def integer_bits(weights: ResNetWeights, images: Rows) -> Rows:
    """The same of the integers that are coded."""
    codec = BitsBack(ExactResNetVAE(weights, NumpyBackend()), BASELINE, 0, weights.learning_rate)
    x = Strips.all_of(Canvas.of(images, weights.tile))
    return np.asarray(net_bits(codec, x, 1) / images[0].size)


def rows_of(images: Rows) -> Tensor:
    """Images as a model takes them."""
    return torch.from_numpy(images.reshape(len(images), -1).copy())


def stripes() -> Rows:
    """Checks and stripes of two saturated colours, 1 to 8 pixels wide: (24, 32, 32, 3)."""
    y, x = np.mgrid[:32, :32]
    pairs = (((0, 0, 0), (255, 255, 255)), ((255, 0, 255), (0, 255, 0)))
    patterns = [p // width % 2 for width in (1, 2, 4, 8) for p in (x, y)]
    patterns += [(x // width + y // width) % 2 for width in (1, 2, 4, 8)]
    return np.stack([np.where(p[..., None] == 1, a, b).astype(np.uint8) for p in patterns for a, b in pairs])


def summary(bits: Rows) -> dict[str, float]:
    """Mean and maximum."""
    return {"mean": float(bits.mean()), "largest": float(bits.max())}


# --- The cause -----------------------------------------------------------------------------------


@torch.no_grad()
def cause(weights: ResNetWeights, train: Rows, test: Rows) -> dict[str, Any]:
    """The worst of the test images, and by batch norm how far its outputs are from those of training images."""
    model = floats_of(weights)
    searched = test[:SEARCHED]
    posteriors = [model.encode(rows_of(searched[i : i + AT_ONCE])) for i in range(0, len(searched), AT_ONCE)]
    mu = torch.cat([part[0].abs().amax(1) for part in posteriors])
    sigma = torch.cat([part[1].amax(1) for part in posteriors])
    worst = int(mu.argmax())
    means, deviations = statistics(model, train[:STATISTICS])
    norms = _norms(model)

    def deviations_of(images: Rows) -> dict[str, Tensor]:
        """For the last of the images: deviations of each channel's farthest output, by norm."""
        found: dict[str, Tensor] = {}

        def look(name: str, output: Tensor) -> None:
            off = (output[-1].double() - means[name][:, None, None]) / deviations[name][:, None, None]
            found[name] = off.abs().amax((1, 2))

        with hooked(norms, look):
            model.decode(model.encode(rows_of(images))[0])
        return found

    image = test[worst : worst + 1]
    by_running = deviations_of(image)
    bits = bits_of(model, image)[0]
    typical = deviations_of(test[:1])
    # with the statistics of a batch each norm's outputs get mean and deviation of those of training images
    batch = np.concatenate([train[: MINIBATCH - 1], image])
    for name, norm in norms.items():
        norm.weight.copy_(deviations[name])
        norm.bias.copy_(means[name])
    model.train()
    momenta = {norm: norm.momentum for norm in norms.values()}
    for norm in momenta:
        norm.momentum = 0.0
    by_batch = deviations_of(batch)
    of_batch = bits_of(model, batch)
    layers = {
        name: {
            "channels": len(off),
            "least_deviation_of_a_channel": float(deviations[name].min()),
            "channel": int(off.argmax()),
            "its_deviation": float(deviations[name][off.argmax()]),
            "deviations": float(off.max()),
            "deviations_of_median_channel": float(off.median()),
            "deviations_with_statistics_of_a_batch": float(by_batch[name].max()),
            "of_median_channel_with_statistics_of_a_batch": float(by_batch[name].median()),
            "of_median_channel_of_the_first_image": float(typical[name].median()),
        }
        for name, off in by_running.items()
    }
    return {
        "searched": len(searched),
        "statistics_of": min(STATISTICS, len(train)),
        "batch": MINIBATCH,
        "image": worst,
        "largest_mu": float(mu[worst]),
        "median_of_largest_mu": float(mu.median()),
        "largest_sigma": float(sigma[worst]),
        "bits": float(bits),
        "bits_with_statistics_of_a_batch": float(of_batch[-1]),
        "others_with_statistics_of_a_batch": float(of_batch[:-1].mean()),
        "layers": layers,
    }


@torch.no_grad()
def statistics(model: Model, images: Rows) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Mean and deviation of each channel's outputs of the batch norms over images, by norm, float64 (C,)."""
    sums: dict[str, Tensor] = {}

    def add(name: str, output: Tensor) -> None:
        x = output.double().transpose(0, 1).flatten(1)
        part = torch.stack([x.sum(1), x.square().sum(1), torch.full((len(x),), x.shape[1], dtype=torch.float64)])
        sums[name] = sums.get(name, torch.zeros(())) + part

    with hooked(_norms(model), add):
        for start in range(0, len(images), AT_ONCE):
            model.decode(model.encode(rows_of(images[start : start + AT_ONCE]))[0])
    means = {name: total / count for name, (total, _, count) in sums.items()}
    return means, {name: (sq / n - means[name].square()).sqrt() for name, (_, sq, n) in sums.items()}


def remedies(weights: ResNetWeights, test: Rows, worst: int) -> dict[str, Any]:
    """Clamps in the finished model: the image that costs most, and the first test images."""
    model = floats_of(weights)
    images = np.concatenate([test[:ORDINARY], test[worst : worst + 1]])

    def told(bits: Rows) -> dict[str, float]:
        return {"worst": float(bits[-1]), "others": float(bits[:-1].mean())}

    found = {"as it is": told(bits_of(model, images))}
    with clamped_posterior(model):
        found["mu and rho clamped as the integers have them"] = told(bits_of(model, images))
    for limit in (16.0, CLAMP):
        with clamped_relus(model, limit):
            found[f"ReLUs behind batch norm end at {limit:g}"] = told(bits_of(model, images))
    found["the integers that are coded"] = told(integer_bits(weights, images))
    return {"image": worst, "images": ORDINARY, "bits": found}


# --- Training ------------------------------------------------------------------------------------


def training(train: Rows, test: Rows, epochs: int) -> Iterator[dict[str, Any]]:
    """Small VAEs by norm: what has been measured so far, after each."""
    norms: dict[str, Any] = {}
    found = {
        "hidden": WIDTH, "blocks": BLOCKS, "images": len(train), "epochs": epochs, "lr": LR, "batch": MINIBATCH,
        "average": AVERAGE, "momentum": BATCH_NORM_MOMENTUM, "tested": min(TESTED, len(test)), "coded": ORDINARY,
        "norms": norms,
    }  # fmt: skip
    batch = trained(train, epochs, BATCH)
    norms["batch norm"] = figures(batch, test)
    yield found
    norms[f"batch norm, ReLUs end at {CLAMP:g}"] = figures(trained(train, epochs, CLAMPED), test)
    yield found
    with clamped_posterior(batch):
        norms["batch norm, mu and rho clamped as the integers have them"] = figures(batch, test, exact=False)
    floored = copy.deepcopy(batch)
    for norm in _norms(floored).values():
        _variance(norm).clamp_(min=FLOOR * float(_variance(norm).median()))
    norms[f"batch norm, running variance at least {FLOOR:g} of a layer's median"] = figures(floored, test)
    norms["batch norm, statistics of all training images"] = figures(with_whole_statistics(batch, train), test)
    yield found
    norms[f"group norm, {GROUPS} groups"] = figures(trained(train, epochs, BATCH, grouped=True), test, exact=False)
    yield found


def trained(train: Rows, epochs: int, norm: str, grouped: bool = False) -> Model:
    """A small VAE of the training images by the ELBO; grouped: with group norm in place of batch norm."""
    shape = ResNetShape((train.shape[1], train.shape[2]), WIDTH, blocks=BLOCKS)
    model = ResNetVAE(shape, seeded_generator(torch.device("cpu"), "norms"), norm)
    for name, module in list(model.named_modules()):
        if grouped and isinstance(module, BatchNorm2d):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, nn.GroupNorm(GROUPS, WIDTH))
    model.train()
    trainer = Trainer(
        model.parameters(), partial(negative_elbo, model), rows_of(train), phase="vae", lr=LR, batch=MINIBATCH,
        average=AVERAGE, buffers=buffers_of(model), unit=bits_per_dimension(model.dimensions),
    )  # fmt: skip
    for _ in range(epochs):
        bits = trainer.run_epoch(Reporter(quiet=True))
        print(f"{'group' if grouped else norm}: epoch {trainer.epoch}, {bits:.4f}", file=sys.stderr, flush=True)
    trainer.use_averages()
    return model.eval().requires_grad_(False)


@torch.no_grad()
def with_whole_statistics(model: Model, train: Rows) -> Model:
    """The model with means over batches of all training images in place of running statistics."""
    whole = copy.deepcopy(model)
    for norm in _norms(whole).values():
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean
    whole.train()
    for start in range(0, len(train), MINIBATCH):
        mu, sigma = whole.encode(rows_of(train[start : start + MINIBATCH]))
        noise = torch.randn(mu.shape, generator=seeded_generator(mu.device, "norms", start))
        whole.decode(mu + sigma * noise)
    return whole.eval()


def figures(model: Model, test: Rows, exact: bool = True) -> dict[str, Any]:
    """What a small VAE is worth: bits per sub-pixel of test images and of stripes, and those of its integers."""
    found: dict[str, Any] = {
        "test": summary(bits_of(model, test[:TESTED])),
        "stripes": summary(bits_of(model, stripes())),
    }
    if exact:
        weights = quantise_resnet(model, model)
        found["integers"] = summary(integer_bits(weights, test[:ORDINARY]))
        found["integers_of_stripes"] = summary(integer_bits(weights, stripes()))
    return found


if __name__ == "__main__":
    main()
