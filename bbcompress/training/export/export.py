"""Export: torch modules become exact layers, and what that costs is measured."""

from __future__ import annotations

import csv
import math
import platform
import shlex
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import nn

import bbcompress
from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.rate import code_bits, draw, net_bits
from bbcompress.errors import ModelError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import LIKELIHOODS, DiscretisedLogistic, Likelihood
from bbcompress.exact.layers import ACTIVATION_BITS, ACTIVATION_LIMIT, EXACT_LIMIT, GRADIENT_LIMIT, LinearWeights
from bbcompress.exact.tables import VALUE_BITS
from bbcompress.models.checkpoint import save
from bbcompress.models.vae import ENCODERS, RHO_BITS, VAE, Z_BITS, Layers, ModelWeights, VAEWeights
from bbcompress.training.architectures.mlp import MLPVAE
from bbcompress.training.datasets import load
from bbcompress.training.export.calibrate import calibrate, rates_by_steps
from bbcompress.training.objectives import REVERSE_HALF_ASLEEP, ImageVAE
from bbcompress.training.run import DEFAULTS, PHASE_RHA, TrainingConfig, load_trained, option, usual_name
from bbcompress.training.trainer import load_checkpoint

CALIBRATION_IMAGES = 1000
EVALUATION_IMAGES = 10_000
NOT_OF_THE_MODEL = ("data", "data_dir", "threads", "device", "evaluate_every", "keep_every", "part_size")
"""Options that a card's command line does without, or names by itself."""
WEIGHTS_LICENCE = "CC BY 4.0, the bbc authors"
DATA_NOTES = {
    "mnist": "MNIST, 60000 training images (LeCun, Cortes, Burges; CC BY-SA 3.0)",
    "cifar10": "CIFAR-10, 50000 training images (Krizhevsky, 2009)",
}


def export_run(out_dir: str | Path, data_dir: str | None = None) -> ModelWeights:
    """Turn a finished run into an exact checkpoint in the same folder, calibrated, with its card.

    data_dir: where mnist or cifar10 lie now; None is where they lay in training.
    Settings are calibrated on the last 1000 held-out images where there are 2000 or more, else on training images, so
    that figures for the first thousand rest on no choice made with them.

    Raises:
        ModelError: the run is not finished, or a network cannot be made exact. DataError: its data are gone.
    """
    out = Path(out_dir)
    baseline, rha, config, metrics = load_trained(out)
    config = replace(config, data_dir=data_dir or config.data_dir)
    if config.architecture == "local":
        from bbcompress.training.export.local import export_local

        local = export_local(baseline, rha, config, {**card_facts(out, config), "training": metrics})
        save(local, out)
        return local
    if config.architecture == "resnet":
        from bbcompress.training.export.resnet import export_resnet, training_log

        facts = {**card_facts(out, config), "training": metrics}
        resnet = export_resnet(baseline, rha, config, facts, training_log(out))
        save(resnet, out)
        return resnet
    data = load(config.data, config.data_dir, config.binary, True, config.any_size, config.grey)
    if not isinstance(data.train, np.ndarray) or not isinstance(data.test, np.ndarray):
        raise ModelError(f"{out}: an mlp of images of several sizes")
    held_out = data.test.reshape(len(data.test), -1)
    if len(held_out) >= 2 * CALIBRATION_IMAGES:
        calibration = held_out[-CALIBRATION_IMAGES:]
    else:
        calibration = data.train[:CALIBRATION_IMAGES].reshape(-1, baseline.dimensions)
    weights = calibrate(quantise(baseline, rha, config.name), calibration)
    evaluation = held_out[:EVALUATION_IMAGES]
    card = {
        **card_facts(out, config),
        "shape": list(weights.shape),
        "likelihood": weights.likelihood,
        "architecture": f"mlp, {config.hidden} hidden units, {weights.latents} latents",
        "training": metrics,
        "settings": coding_settings(weights),
        **evaluation_figures(weights, {"baseline": baseline, "rha": rha}, evaluation),
    }
    weights = replace(weights, card=card)
    save(weights, out)
    return weights


def card_facts(out: Path, config: TrainingConfig) -> dict[str, Any]:
    """What a card says of how a model was made."""
    folder = Path(config.data)
    credits = image_credits(folder) if folder.is_dir() else {}
    return {
        "name": config.name,
        "default": True,
        "data": config.data + (", binary (grey > 127)" if config.binary else ", as grey" if config.grey else ""),
        "data_licence": DATA_NOTES.get(config.data, "see data_credits" if credits else "the user's own"),
        **({"data_credits": credits} if credits else {}),
        "licence": WEIGHTS_LICENCE,
        **objective_facts(config),
        "commands": training_commands(out),
        "made_with": {
            "bbc": bbcompress.__version__,
            "torch": torch.__version__,
            "machine": platform.machine(),
        },
    }


def objective_facts(config: TrainingConfig) -> dict[str, str]:
    """`objective`: what the encoder `rha` was trained by, such as `denoising (alpha 0.5, sigma 0.1)`, and before it
    `wake-sleep` where both networks were by it; nothing if all is as usual."""
    options = asdict(config)
    # neither has it where a run that was begun with an older bbc, and has its classes, is exported by this module
    if options.get("objective") == getattr(TrainingConfig, "objective", None):
        return {}
    second = config.objective_in(PHASE_RHA)
    steps = [config.objective] if config.objective != second else []
    if config.encoder_epochs:
        of_it = [f"{name} {options[name]:g}" for name in ("alpha", "sigma") if options[name] is not None]
        steps.append(second + (f" ({', '.join(of_it)})" if of_it else ""))
    return {"objective": ", then ".join(steps)} if steps else {}


def image_credits(folder: Path) -> dict[str, dict[str, int]]:
    """Images of a directory by source and licence, from the columns `split`, `source` and `licence` of a MANIFEST.csv
    beside it whose split has the directory's name; empty without one."""
    manifest = folder.resolve().parent / "MANIFEST.csv"
    credits: dict[str, dict[str, int]] = {}
    if manifest.is_file():
        with manifest.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row.get("split") == folder.resolve().name:
                    licences = credits.setdefault(row.get("source") or "unknown", {})
                    licence = row.get("licence") or "unknown"
                    licences[licence] = licences.get(licence, 0) + 1
    return credits


def coding_settings(weights: ModelWeights) -> dict[str, Any]:
    """The calibrated settings, as a card has them."""
    return {
        "prior_bits": weights.prior_bits,
        "direct_bits": list(weights.direct_bits),
        "learning_rate": weights.learning_rate / 1e6,
    }


def training_commands(run: Path) -> list[str]:
    """The command lines that made a finished run, that of the run which it went on from first: one after the other they
    can be run as they stand, wherever these runs lay."""
    chain: list[tuple[TrainingConfig, str]] = []
    folder: Path | None = run
    while folder is not None:
        state = load_checkpoint(folder / "training.pt")
        chain.insert(0, (TrainingConfig(**state["config"]), state["source"]))
        earlier = _folder_and_file(state["source"])[0]
        folder = earlier if state["source"] and (earlier / "training.pt").exists() else None
    files = [_folder_and_file(source)[1] for _, source in chain]
    commands: list[str] = []
    places: list[str] = []
    for number, ((config, source), file) in enumerate(zip(chain, files, strict=True)):
        start = str(PurePosixPath(places[-1], file)) if places else source
        place = _place(config, start, places)
        keeps = number + 1 < len(files) and files[number + 1] != ""
        commands.append(training_command(config, start, place, keeps))
        places.append(place)
    return commands


def training_command(config: TrainingConfig, source: str = "", out: str = "", keeps: bool = False) -> str:
    """The command line of one run: the options that differ from the defaults.

    source: what `--from` named; out: the run's directory, none is `runs/NAME`, or another one if the source is there;
    keeps: whether the copies of its checkpoint are needed.
    """
    start = _portable(source)
    out = out or _place(config, start)
    usual = TrainingConfig(data=config.data, binary=config.binary)
    words = ["bbc", "train", *(["--from", start] if start else []), "--data", config.data]
    if config.architecture != "mlp":
        usual = TrainingConfig(
            **{
                **DEFAULTS[config.architecture],
                "data": config.data,
                "architecture": config.architecture,
                "binary": config.binary,
            }
        )
        words += ["--architecture", config.architecture]
    for name in (f.name for f in fields(config)):
        value = getattr(config, name)
        left_out = name in NOT_OF_THE_MODEL and not (keeps and name == "keep_every")
        if left_out or value in (None, getattr(usual, name)):
            continue
        words += [option(name)] if value is True else [option(name), str(value)]
    if config.binary and "--binary" not in words:
        words.append("--binary")
    if out != _usual_place(config, start):
        words += ["--out", out]
    return shlex.join(words)


def _folder_and_file(source: str) -> tuple[Path, str]:
    """The directory of the run that `--from` named, and the name of the checkpoint in it, none for training.pt."""
    path = Path(source)
    if path.suffix != ".pt":
        return path, ""
    return path.parent, "" if path.name == "training.pt" else path.name


def _portable(source: str) -> str:
    """What `--from` named, as another machine may have it: a place elsewhere becomes one in `runs`."""
    path = Path(source)
    if not path.is_absolute() and ".." not in path.parts:
        return source
    folder, file = _folder_and_file(source)
    return str(PurePosixPath("runs", folder.name, file))


def _usual_place(config: TrainingConfig, start: str) -> str:
    """The directory of a run that is given none."""
    return f"runs/{config.name or usual_name(config, bool(start))}"


def _place(config: TrainingConfig, start: str, others: Sequence[str] = ()) -> str:
    """The directory of a run: its usual one, but neither that of its `start` nor one of the others."""
    place = _usual_place(config, start)
    second = config.objective_in(PHASE_RHA)
    while place in (*others, _folder_and_file(start)[0].as_posix()):
        place += "-rha" if second == REVERSE_HALF_ASLEEP else f"-{second}"
    return place


def evaluation_figures(weights: VAEWeights, models: dict[str, MLPVAE], x: NumpyArray) -> dict[str, Any]:
    """Net rates on images x, uint8 (N, D), in bits per dimension, and what exact arithmetic costs.

    The loss compares the exact code length with the float32 one of the very same z, image by image, so that it is
    not hidden by the noise of sampling.
    """
    vae = VAE(weights, NumpyBackend())
    figures: dict[str, Any] = {
        "evaluated_on": f"{len(x)} held-out images",
        "net_rate": {},
        "exact_arithmetic_loss": {},
    }
    for encoder in ENCODERS:
        codec = BitsBack(vae, encoder, 0, weights.learning_rate)
        posterior = codec.posterior(x)
        z = draw(posterior, np.random.default_rng(0))
        exact = code_bits(codec, x, posterior, z).mean()
        values = vae.bins.medians(z) * 2.0**-VALUE_BITS
        floating = float_code_bits(models[encoder], x, values).mean()
        figures["net_rate"][encoder] = round(float(net_bits(codec, x, 4).mean()) / weights.dimensions, 5)
        figures["exact_arithmetic_loss"][encoder] = round(float(exact / floating - 1), 6)
        steps = rates_by_steps(weights, x[:1000], encoder, weights.learning_rate, 10)
        figures.setdefault("net_rate_by_K_first_1000", {})[encoder] = [round(r / weights.dimensions, 5) for r in steps]
    return figures


@torch.no_grad()
def float_code_bits(model: ImageVAE, x: NumpyArray, z: NumpyArray) -> NumpyArray:
    """-log2 p(x|z) - log2 p(z) + log2 q(z|x) of images x (N, D) at z (N, Z) by the float32 networks, (N,)."""
    parts = []
    for start in range(0, len(x), 500):
        pixels = torch.from_numpy(x[start : start + 500].copy())
        latents = torch.from_numpy(z[start : start + 500].astype(np.float32))
        mu, sigma = model.encode(pixels)
        nats = -model.likelihood.log_prob(model.decode(latents), pixels).double()
        nats += _log_normal(latents, mu, sigma) - _log_normal(latents, torch.zeros(()), torch.ones(()))
        parts.append(nats.numpy() / math.log(2))
    return np.concatenate(parts)


def _log_normal(z: torch.Tensor, mu: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """log N(z; mu, sigma^2) in nats, summed over the latents, without the constant; float64 (B,)."""
    return (-0.5 * ((z - mu) / sigma).double().square() - torch.log(sigma.double())).sum(1)


WEIGHT_LIMIT = (1 << 15) - 1
MAX_WEIGHT_BITS = 30
DEFAULT_PRIOR_BITS = 10
DEFAULT_DIRECT_BITS = 3
DEFAULT_LEARNING_RATE = 5000  # the paper's 5e-3
NumpyArray = np.ndarray[Any, Any]


def finest_weight_bits(weight: NumpyArray) -> int:
    """Fractional bits of weights (outputs, inputs, ...): the most with which the largest fits 16 bits and the backward
    sums, over all but the inputs, stay exact."""
    largest = float(np.abs(weight).max()) or 1.0
    per_input = float(np.abs(weight).sum(axis=(0, *range(2, weight.ndim))).max()) or 1.0
    bits = min(math.log2(WEIGHT_LIMIT / largest), math.log2(0.99 * EXACT_LIMIT / GRADIENT_LIMIT / per_input))
    return min(math.floor(bits), MAX_WEIGHT_BITS)


def quantise_linear(
    weight: NumpyArray, bias: NumpyArray, in_bits: int, out_bits: NumpyArray, relu: bool, limit: int = ACTIVATION_LIMIT
) -> LinearWeights:
    """Nearest integers of a layer's float64 weights, 16 bits each, on the finest grid where the largest fits and where
    the backward sums stay exact."""
    weight_bits = finest_weight_bits(weight)
    return LinearWeights(
        weight=np.rint(np.ldexp(weight, weight_bits)).astype(np.int64),
        bias=np.rint(np.ldexp(bias, weight_bits + in_bits)).astype(np.int64),
        weight_bits=weight_bits,
        in_bits=in_bits,
        out_bits=out_bits.astype(np.int64),
        relu=relu,
        limit=limit,
    )


def quantise_network(
    linears: list[tuple[NumpyArray, NumpyArray]],
    in_bits: int,
    out_bits: NumpyArray,
    hidden_limit: int = ACTIVATION_LIMIT,
    limit: int = ACTIVATION_LIMIT,
) -> Layers:
    """Exact layers of a chain of (weight, bias) with ReLU between them; the limits clamp hidden units and outputs."""
    layers = []
    for index, (weight, bias) in enumerate(linears):
        last = index == len(linears) - 1
        bits = out_bits if last else np.full(len(bias), ACTIVATION_BITS, np.int64)
        layers.append(quantise_linear(weight, bias, in_bits, bits, not last, limit if last else hidden_limit))
        in_bits = ACTIVATION_BITS
    return tuple(layers)


def quantise(baseline: MLPVAE, rha: MLPVAE, name: str = "") -> VAEWeights:
    """The exact model of a decoder with its two encoders, with uncalibrated coding settings."""
    shape, latents, dimensions = baseline.shape, baseline.latents, baseline.dimensions
    likelihood = LIKELIHOODS[baseline.likelihood.name]
    decoder = linears_of(baseline.decoder)
    if isinstance(likelihood, DiscretisedLogistic):  # o of mean = 255 o becomes that of mean = 256 o, u is in levels
        weight, bias = decoder[-1]
        weight[:dimensions] *= 255 / 256
        bias[:dimensions] *= 255 / 256
        bias[dimensions:] += math.log(255)
    return VAEWeights(
        shape=shape,
        likelihood=likelihood.name,
        prior_bits=DEFAULT_PRIOR_BITS,
        direct_bits=(DEFAULT_DIRECT_BITS,) * latents,
        learning_rate=DEFAULT_LEARNING_RATE,
        decoder=quantise_network(decoder, Z_BITS, likelihood.out_bits(dimensions)),
        encoders={"baseline": _encoder(baseline, likelihood), "rha": _encoder(rha, likelihood)},
        card={"name": name},
    )


def _encoder(model: MLPVAE, likelihood: Likelihood) -> Layers:
    linears = linears_of(model.encoder)
    linears[0][0][:] /= likelihood.levels - 1  # pixels come as integers
    return quantise_network(linears, 0, np.repeat(np.array([Z_BITS, RHO_BITS], np.int64), model.latents))


def linears_of(network: nn.Sequential) -> list[tuple[NumpyArray, NumpyArray]]:
    """Copies of weight and bias, float64, of each linear layer."""
    return [
        (module.weight.detach().double().numpy().copy(), module.bias.detach().double().numpy().copy())
        for module in network
        if isinstance(module, nn.Linear)
    ]
