"""Export of the residual VAE: batch norm folds into convolutions, these become exact; what that costs is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.rate import code_bits, draw, net_bits
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import ExactChannelLogistic
from bbcompress.exact.layers import ACTIVATION_BITS, ACTIVATION_LIMIT
from bbcompress.exact.tables import VALUE_BITS
from bbcompress.limits import ENCODERS
from bbcompress.models.base import RHO_BITS, Z_BITS
from bbcompress.models.resnet import MAX_TILE, PIXEL_BITS, STRIDE, Convolutions, ExactResNetVAE, ResNetWeights
from bbcompress.models.strips import Strips
from bbcompress.training.architectures.base import PHASE_VAE, RunOptions
from bbcompress.training.architectures.resnet.network import CLAMP, ClampedReLU, ResidualBlock, ResNetShape, ResNetVAE
from bbcompress.training.checkpoints.checkpoint import load_checkpoint
from bbcompress.training.datasets import Dataset
from bbcompress.training.quantisation.calibrate import calibrate, coding_settings, rates_by_steps, usual_encoder
from bbcompress.training.quantisation.quantise import (
    DEFAULT_DIRECT_BITS,
    DEFAULT_PRIOR_BITS,
    float_code_bits,
    quantise_convolution,
    to_exact,
)
from bbcompress.training.quantisation.samples import QUICK_DIRECT, QUICK_IMAGES, calibration_strips, measured_strips

NumpyArray = np.ndarray[Any, Any]

PAPER_LEARNING_RATE = 1000
"""Of K-step refinement, in units of 1e-6."""
DIRECT_IMAGES = 12
REFINED_IMAGES = 64
"""On which the rate of the K steps is chosen and rates by K are measured: ten steps of a wide network take long."""
RATES = (100_000, 60_000, 30_000, 15_000, 7_000, 3_000, 1_000)


def export_resnet(
    run: Path, baseline: ResNetVAE, rha: ResNetVAE, config: RunOptions, about: dict[str, Any], data: Dataset
) -> ResNetWeights:
    """The exact model of a finished run, calibrated, with its card.

    Settings are calibrated on the last held-out images, figures are those of the first; in a run that has a time both
    are of few.

    Args:
        run: the run's directory.
        about: what the card says beside figures.
        data: what it was trained on.

    Raises:
        ModelError: a model is missing or damaged.
    """
    shape = baseline.shape
    weights = quantise_resnet(baseline, rha)
    if config.minutes is None:
        strips, measured = calibration_strips(data, weights.tile), measured_strips(data, weights.tile)
        weights = calibrate(weights, strips, DIRECT_IMAGES, RATES, REFINED_IMAGES)
    else:
        strips = calibration_strips(data, weights.tile, images=QUICK_IMAGES)
        measured = measured_strips(data, weights.tile, images=QUICK_IMAGES)
        weights = calibrate(weights, strips, QUICK_DIRECT, RATES, QUICK_DIRECT)
    side = weights.latent_side
    card = {
        **about,
        "default": False,
        "shape": None,
        "channels": weights.channels,
        "likelihood": weights.likelihood,
        "architecture": f"resnet, C = {shape.width}, {shape.blocks} residual blocks, "
        f"{shape.latents} x {side} x {side} latents a tile of {weights.tile} x {weights.tile}",
        "test_curve": test_curve(training_log(run)),
        "settings": coding_settings(weights),
        **figures(weights, {"baseline": baseline, "rha": rha}, measured),
    }
    return replace(weights, card=card)


def training_log(run: Path) -> list[dict[str, Any]]:
    """The lines of a finished run's log, those of the run which it went on from first."""
    source = Path(load_checkpoint(run / "training.pt")["source"])
    earlier = source if source.is_dir() else source.parent
    lines = [json.loads(line) for line in (run / "train.jsonl").read_text().splitlines()]
    if source.name and (earlier / "training.pt").exists():
        lines = [line for line in training_log(earlier) if line["phase"] == PHASE_VAE] + lines
    return lines


def test_curve(log: list[dict[str, Any]]) -> dict[str, list[list[float]]]:
    """Epoch and held-out bits per dimension of each phase's averaged weights, where they were looked at."""
    curve: dict[str, list[list[float]]] = {}
    for line in log:
        figure = line.get("test_bpd_averaged", line.get("test_bpd"))
        if figure is not None:
            curve.setdefault(line["phase"], []).append([line["epoch"], round(figure, 5)])
    return curve


def quantise_resnet(baseline: ResNetVAE, rha: ResNetVAE) -> ResNetWeights:
    """The exact model of a decoder with its two encoders, with uncalibrated coding settings."""
    shape, tile = baseline.shape, tile_of(baseline.shape)
    return ResNetWeights(
        tile=tile,
        blocks=shape.blocks,
        prior_bits=DEFAULT_PRIOR_BITS,
        direct_bits=(DEFAULT_DIRECT_BITS,) * (shape.latents * (tile // STRIDE) ** 2),
        learning_rate=PAPER_LEARNING_RATE,
        decoder=_decoder(baseline),
        encoders={"baseline": _encoder(baseline), "rha": _encoder(rha)},
    )


def tile_of(shape: ResNetShape) -> int:
    """The side of a tile: that of the training images, the smaller one where they are not square, within the limit."""
    return min(*shape.image, MAX_TILE)


def _encoder(model: ResNetVAE) -> Convolutions:
    out_bits = np.repeat(np.array([Z_BITS, RHO_BITS], np.int64), model.shape.latents)
    return _quantise_chain(list(folded(model.encoder)), PIXEL_BITS, out_bits)


def _decoder(model: ResNetVAE) -> Convolutions:
    layers = list(folded(model.decoder))
    weight, bias, *_ = layers[-1]
    to_exact(weight, bias, model.likelihood)
    return _quantise_chain(layers, Z_BITS, ExactChannelLogistic().out_bits())


Folded = tuple[NumpyArray, NumpyArray, nn.Conv2d | nn.ConvTranspose2d, nn.ReLU | None]
"""Weight (outputs, inputs, k, k) and bias of a convolution with its batch norm, float64, its module, and the ReLU that
follows within the same exact layer, None where there is none."""


def folded(network: nn.Sequential) -> Iterator[Folded]:
    """The convolutions of a network, each with the batch norm behind it in its evaluation mode."""
    modules = list(network)
    for index, module in enumerate(modules):
        if isinstance(module, ResidualBlock):
            yield *_fold(module.wide, module.wide_norm), module.wide, module.relu
            yield *_fold(module.narrow, module.narrow_norm), module.narrow, None
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            norm = modules[index + 1] if index + 1 < len(modules) else None
            has_norm = isinstance(norm, nn.BatchNorm2d)
            behind = modules[index + 2 :] if has_norm else modules[index + 1 :]
            relu = behind[0] if behind and isinstance(behind[0], nn.ReLU) else None
            yield *_fold(module, norm if isinstance(norm, nn.BatchNorm2d) else None), module, relu


def _fold(module: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d | None) -> tuple[NumpyArray, NumpyArray]:
    weight = module.weight.detach().double().numpy().copy()
    if isinstance(module, nn.ConvTranspose2d):
        weight = weight.swapaxes(0, 1).copy()
    bias = np.zeros(len(weight)) if module.bias is None else module.bias.detach().double().numpy().copy()
    if norm is not None:
        mean, variance = norm.running_mean, norm.running_var
        if mean is None or variance is None:
            raise TypeError("a batch norm without running statistics")
        gain = norm.weight.detach().double().numpy() / np.sqrt(variance.double().numpy() + norm.eps)
        weight *= gain[:, None, None, None]
        bias = (bias - mean.double().numpy()) * gain + norm.bias.detach().double().numpy()
    return weight, bias


def _quantise_chain(layers: list[Folded], in_bits: int, out_bits: NumpyArray) -> Convolutions:
    exact = []
    for index, (weight, bias, module, relu) in enumerate(layers):
        last = index == len(layers) - 1
        bits = out_bits if last else np.full(len(bias), ACTIVATION_BITS, np.int64)
        limit = round(CLAMP * 2**ACTIVATION_BITS) if isinstance(relu, ClampedReLU) else ACTIVATION_LIMIT
        exact.append(quantise_convolution(weight, bias, module, in_bits, bits, relu is not None, limit))
        in_bits = ACTIVATION_BITS
    return tuple(exact)


def figures(weights: ResNetWeights, models: dict[str, ResNetVAE], x: Strips) -> dict[str, Any]:
    """Net rates on strips x in bits per sub-pixel, the KL in them, and what exact arithmetic costs.

    The loss compares the exact code length with the float32 one of the very same z; only where an image is one tile.
    """
    vae, canvas = ExactResNetVAE(weights, NumpyBackend()), x.canvas
    unit = 1 / (x.pixel_count * weights.channels)
    found: dict[str, Any] = {
        "evaluated_on": f"first {canvas.count} held-out images",
        "net_rate": {},
        "kl": {},
        "weight_bits": [layer.weight_bits for layer in weights.decoder],
    }
    part = x[: min(REFINED_IMAGES, max(1, len(x) // 4))]
    for encoder in ENCODERS:
        codec = BitsBack(vae, encoder, 0, weights.learning_rate)
        posterior = codec.posterior(x)
        z = draw(posterior, np.random.default_rng(0))
        exact = code_bits(codec, x, posterior, z)
        likelihood = vae.lengths(codec.model.prior.values(z), x) / 2.0**30
        found["net_rate"][encoder] = round(float(net_bits(codec, x, 4).sum()) * unit, 5)
        found["kl"][encoder] = round(float((exact - likelihood).sum()) * unit, 5)
        if canvas.height == canvas.width == weights.tile:
            rows = canvas.images.reshape(len(x), -1)
            floating = float_code_bits(models[encoder], rows, codec.model.prior.values(z) * 2.0**-VALUE_BITS)
            loss = float(exact.mean() / floating.mean() - 1)
            found.setdefault("exact_arithmetic_loss", {})[encoder] = round(loss, 6)
        steps = rates_by_steps(weights, part, encoder, weights.learning_rate, 10)
        rows_of_z = part.row_count
        found.setdefault(f"net_rate_by_K_first_{len(part)}_strips", {})[encoder] = [
            round(rate * rows_of_z / (part.pixel_count * weights.channels), 5) for rate in steps
        ]
    found["encoder"] = usual_encoder(found["net_rate"])
    return found
