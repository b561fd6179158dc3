"""Export of `local` models: their torch modules become exact layers, and what that costs is measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.rate import code_bits, draw, net_bits
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.layers import ACTIVATION_BITS, SINGLE_LIMIT, LinearWeights
from bbcompress.exact.mixture import LocalBernoulli, LocalLikelihood, LogisticMixture
from bbcompress.exact.tables import VALUE_BITS
from bbcompress.limits import ENCODERS
from bbcompress.models.base import RHO_BITS, Z_BITS, Layers
from bbcompress.models.local import ExactLocalVAE, LocalWeights
from bbcompress.models.neighbourhood import RADIUS
from bbcompress.models.pixel_network import BINARY_GAIN, PIXEL_BITS, input_count
from bbcompress.models.strips import Strips
from bbcompress.training.architectures.base import RunOptions
from bbcompress.training.architectures.local.network import (
    ACTIVATION_TOP,
    CONSTANT_MIDDLE,
    FEATURE_LIMIT,
    PIXEL_UNIT,
    Images,
    LocalVAE,
    gather,
)
from bbcompress.training.datasets import Dataset
from bbcompress.training.quantisation.calibrate import (
    calibrate,
    choose_direct_bits,
    choose_prior_bits,
    coding_settings,
    rates_by_steps,
    usual_encoder,
)
from bbcompress.training.quantisation.quantise import (
    DEFAULT_DIRECT_BITS,
    DEFAULT_LEARNING_RATE,
    DEFAULT_PRIOR_BITS,
    linears_of,
    quantise_linear,
    quantise_network,
)
from bbcompress.training.quantisation.samples import QUICK_IMAGES, calibration_strips, measured_strips

NumpyArray = np.ndarray[Any, Any]

HIDDEN_LIMIT = round(ACTIVATION_TOP * (1 << ACTIVATION_BITS))
PIXEL_LIMIT = round(ACTIVATION_TOP * (1 << PIXEL_BITS))
MOST_WEIGHT_BITS = 14
MOST_SCALE = 64.0
MOST_FINER = 4
HEADROOM = 2.0
"""What is left above the largest activation that was seen."""
BATCH = 8192
DIRECT_UNITS = 12
RATES = (60_000, 30_000, 15_000, 7_000, 3_000)


def export_local(
    run: Path, baseline: LocalVAE, rha: LocalVAE, config: RunOptions, about: dict[str, Any], data: Dataset
) -> LocalWeights:
    """The exact model of a finished run, calibrated, with its card.

    Settings are calibrated on the last held-out images of one size, or on training crops where images have any size;
    figures are those of the first held-out images.

    Args:
        run: the run's directory.
        about: what the card says beside figures.
        data: what it was trained on.

    Raises:
        ModelError: a model is missing or damaged.
    """
    if config.minutes is None:
        strips = calibration_strips(data, baseline.shape.tile)
        measured = measured_strips(data, baseline.shape.tile)
        weights = calibrate(finest(baseline, rha, strips[: max(1, len(strips) // 4)]), strips, DIRECT_UNITS, RATES)
    else:
        strips = calibration_strips(data, baseline.shape.tile, 1, QUICK_IMAGES)
        measured = measured_strips(data, baseline.shape.tile, 1, QUICK_IMAGES)
        few = strips[: max(1, len(strips) // 4)]
        weights = _settled(finest(baseline, rha, few), few, about.get("init", {}).get("settings"))
    shape = baseline.shape
    card = {
        **about,
        "shape": None if shape.image is None else list(shape.image),
        "channels": shape.channels,
        "likelihood": weights.likelihood,
        "architecture": f"local, {'-'.join(map(str, shape.trunk))}-{shape.head}, {shape.latents} latents a tile",
        **({"fast": True} if config.fast else {}),
        "settings": coding_settings(weights),
        **figures(weights, {"baseline": baseline, "rha": rha}, measured),
    }
    return replace(weights, card=card)


def _settled(weights: LocalWeights, x: Strips, settings: Mapping[str, Any] | None) -> LocalWeights:
    """The same networks with the coding settings of the model that the run began with, else with those that few tiles
    tell."""
    if settings is not None and len(settings["direct_bits"]) == weights.latents:
        return replace(
            weights,
            prior_bits=int(settings["prior_bits"]),
            direct_bits=tuple(int(bits) for bits in settings["direct_bits"]),
            learning_rate=round(settings["learning_rate"] * 1e6),
        )
    weights = replace(weights, prior_bits=choose_prior_bits(weights, x))
    return replace(weights, direct_bits=choose_direct_bits(weights, x))


def quantise_local(
    baseline: LocalVAE,
    rha: LocalVAE,
    largest: list[NumpyArray] | None = None,
    finer: tuple[int, ...] = (),
) -> LocalWeights:
    """The exact model of a generative part with its two encoders, with uncalibrated coding settings.

    Args:
        largest: see `largest_activations`; with it hidden units are scaled to fill their range, which lets the weights
            behind them have a finer grid.
        finer: for each hidden layer, by how many bits its own weights' grid shall be finer than its largest unit would
            have it; units whose sums are too large for that are scaled down.
    """
    s = baseline.shape
    likelihood: LocalLikelihood = LocalBernoulli() if s.binary else LogisticMixture(s.mixtures)
    pixel_limit = BINARY_GAIN if s.binary else 255
    feature_limit = round(FEATURE_LIMIT * (1 << PIXEL_BITS))
    feature_bits = np.full(s.cells**2 * s.features, PIXEL_BITS)
    decoder = quantise_network(linears_of(baseline.decoder), Z_BITS, feature_bits, HIDDEN_LIMIT, feature_limit)
    ((main, heads_bias),) = linears_of(baseline.heads)
    across = np.zeros((s.channels * s.head, s.channels - 1))
    for channel in range(1, s.channels):
        layer = baseline.across[channel]
        across[channel * s.head : (channel + 1) * s.head, :channel] = layer.weight.detach().double().numpy()  # type: ignore[operator]
    hidden = [*linears_of(baseline.trunk), (np.concatenate([main, across], axis=1), heads_bias)]
    outputs = [linears_of(nn.Sequential(module))[0] for module in baseline.outputs]
    limit = np.repeat([pixel_limit, feature_limit], [input_count(s.channels, s.centred), s.features])
    layers: list[LinearWeights] = []
    for index, (weight, bias) in enumerate(hidden):
        if largest is not None:
            scale = _fill(weight, bias, limit, largest[index], finer[index] if finer else 0)
            weight *= scale[:, None]
            bias *= scale
            if index + 1 < len(hidden):
                hidden[index + 1][0][:, : len(scale)] /= scale
            else:
                for channel, (behind, _) in enumerate(outputs):
                    behind[:, : s.head] /= scale[channel * s.head : (channel + 1) * s.head]
        layers.append(_single(weight, bias, limit))
        limit = np.full(len(bias), PIXEL_LIMIT)
        if index + 2 == len(hidden):
            limit = np.append(limit, np.full(s.channels - 1, pixel_limit))
    # small layers, and the ones whose grid counts: they may take float64
    output_layers = [
        quantise_linear(weight, bias, PIXEL_BITS, likelihood.out_bits(), relu=False) for weight, bias in outputs
    ]
    return LocalWeights(
        channels=s.channels,
        mixtures=0 if s.binary else s.mixtures,
        tile=s.tile,
        image=s.image,
        cell=s.cell,
        features=s.features,
        patch=s.patch,
        pool=s.pool,
        centred=s.centred,
        stride=4 if s.image is None else 2 if s.channels == 3 else 1,
        prior_bits=DEFAULT_PRIOR_BITS,
        direct_bits=(DEFAULT_DIRECT_BITS,) * s.latents,
        learning_rate=DEFAULT_LEARNING_RATE,
        decoder=decoder,
        trunk=tuple(layers[:-1]),
        heads=layers[-1],
        outputs=tuple(output_layers),
        encoders={"baseline": _encoder(baseline), "rha": _encoder(rha)},
    )


def _fill(weight: NumpyArray, bias: NumpyArray, limit: NumpyArray, largest: NumpyArray, finer: int) -> NumpyArray:
    """Factors of a layer's units, (outputs,): their largest activation comes near the top of the grid, as far as no
    unit's bound then exceeds the largest bound of the layer over 2^finer."""
    bound = np.abs(weight) @ (limit / (1 << PIXEL_BITS)) + np.abs(bias)
    room = ACTIVATION_TOP / np.maximum(HEADROOM * largest, 1e-3)
    most = bound.max() / 2**finer / np.maximum(bound, 1e-9)
    factors: NumpyArray = np.minimum(np.clip(room, 1.0, MOST_SCALE), most)
    return factors


def finest(baseline: LocalVAE, rha: LocalVAE, x: Strips) -> LocalWeights:
    """The exact model whose -log2 p(x|z) on strips x is the smallest: grids are chosen layer after layer."""
    largest = largest_activations(baseline, x)

    def measure(finer: tuple[int, ...]) -> tuple[float, LocalWeights]:
        weights = quantise_local(baseline, rha, largest, finer)
        vae = ExactLocalVAE(weights, NumpyBackend())
        codec = BitsBack(vae, "baseline", 0, weights.learning_rate)
        z = draw(codec.posterior(x), np.random.default_rng(0))
        return float(vae.lengths(codec.model.prior.values(z), x).sum()), weights

    finer = [0] * len(largest)
    best = measure(tuple(finer))
    for layer in range(len(finer)):
        for bits in range(1, MOST_FINER + 1):
            tried = measure((*finer[:layer], bits, *finer[layer + 1 :]))
            if tried[0] >= best[0]:
                break
            best, finer[layer] = tried, bits
    return best[1]


@torch.no_grad()
def largest_activations(model: LocalVAE, x: Strips) -> list[NumpyArray]:
    """The largest activation of each unit of the trunk's layers and of the heads on strips x at the posterior means."""
    tiles = torch.from_numpy(np.concatenate([tile for tile in x.tiles() if tile.shape[1:3] == (model.shape.tile,) * 2]))
    mu = torch.cat([model.encode(tiles[i : i + 128])[0] for i in range(0, len(tiles), 128)])
    found: list[torch.Tensor] = []
    for context, references, levels, features in _batches(model, x, mu.numpy()):
        activations, h = [], torch.cat([context, features], dim=1)
        for module in model.trunk:
            h = module(h)
            if not isinstance(module, nn.Linear):
                activations.append(h)
        h = h.clamp(0, ACTIVATION_TOP)
        activations.append(h)
        heads, earlier = model.heads(h), (levels.float() - references) / PIXEL_UNIT
        for channel in range(1, model.shape.channels):
            columns = slice(channel * model.shape.head, (channel + 1) * model.shape.head)
            heads[:, columns] += model.across[channel](earlier[:, :channel])
        activations.append(heads)
        largest = [a.amax(0).clamp(0, ACTIVATION_TOP) for a in activations]
        found = largest if not found else [torch.maximum(a, b) for a, b in zip(found, largest, strict=True)]
    return [a.double().numpy() for a in found]


def _encoder(model: LocalVAE) -> tuple[Layers, Layers]:
    s = model.shape
    linears = linears_of(model.patch_layers)
    if not s.binary:  # pixels come as integers
        weight, bias = linears[0]
        bias -= weight.sum(axis=1) * (CONSTANT_MIDDLE / PIXEL_UNIT)
        weight /= PIXEL_UNIT
    layers, in_bits = [], 0
    for weight, bias in linears:
        layers.append(quantise_linear(weight, bias, in_bits, np.full(len(bias), ACTIVATION_BITS), True, HIDDEN_LIMIT))
        in_bits = ACTIVATION_BITS
    bits = np.repeat(np.array([Z_BITS, RHO_BITS], np.int64), s.latents)
    return tuple(layers), quantise_network(linears_of(model.encoder_layers), ACTIVATION_BITS, bits, HIDDEN_LIMIT)


def _single(weight: NumpyArray, bias: NumpyArray, limit: NumpyArray) -> LinearWeights:
    """A hidden layer of the pixel network on the finest grid on which its sums stay below 2^24, exact in float32."""
    for weight_bits in range(MOST_WEIGHT_BITS, 0, -1):
        layer = LinearWeights(
            weight=np.rint(np.ldexp(weight, weight_bits)).astype(np.int64),
            bias=np.rint(np.ldexp(bias, weight_bits + PIXEL_BITS)).astype(np.int64),
            weight_bits=weight_bits,
            in_bits=PIXEL_BITS,
            out_bits=np.full(len(bias), PIXEL_BITS, np.int64),
            relu=True,
            limit=PIXEL_LIMIT,
        )
        if layer.largest_sum(limit) < SINGLE_LIMIT:
            break
    return layer


def figures(weights: LocalWeights, models: dict[str, LocalVAE], x: Strips) -> dict[str, Any]:
    """Net rates on strips x in bits per sub-pixel, the KL in them, and what exact arithmetic costs.

    The loss compares the exact -log2 p(x|z) with the float32 one of the very same z.
    """
    vae = ExactLocalVAE(weights, NumpyBackend())
    unit = 1 / (x.pixel_count * weights.channels)
    canvas = x.canvas
    found: dict[str, Any] = {
        "evaluated_on": f"{canvas.count} held-out images of {canvas.height}x{canvas.width}",
        "net_rate": {},
        "kl": {},
        "weight_bits": [layer.weight_bits for layer in (*weights.trunk, weights.heads, *weights.outputs)],
    }
    for encoder in ENCODERS:
        codec = BitsBack(vae, encoder, 0, weights.learning_rate)
        posterior = codec.posterior(x)
        z = draw(posterior, np.random.default_rng(0))
        exact = vae.lengths(codec.model.prior.values(z), x).sum() / 2**30
        total = code_bits(codec, x, posterior, z).sum()
        found["net_rate"][encoder] = round(float(net_bits(codec, x, 4).sum()) * unit, 5)
        found["kl"][encoder] = round(float(total - exact) * unit, 5)
        if encoder == "baseline":
            floating = float_bits(models[encoder], x, codec.model.prior.values(z) * 2.0**-VALUE_BITS)
            found["exact_arithmetic_loss"] = round(float(exact / floating - 1), 6)
        part = x[: max(1, len(x) // 4)]
        steps = rates_by_steps(weights, part, encoder, weights.learning_rate, 10)
        found.setdefault("net_rate_by_K", {})[encoder] = [
            round(r * part.row_count / (part.pixel_count * weights.channels), 5) for r in steps
        ]
    found["encoder"] = usual_encoder(found["net_rate"])
    return found


@torch.no_grad()
def float_bits(model: LocalVAE, x: Strips, z: NumpyArray) -> float:
    """-log2 p(x|z) of all of x at z (tiles, Z) by the float32 network."""
    total = sum(float(model.log_likelihood(*batch).double().sum()) for batch in _batches(model, x, z))
    return -total / math.log(2)


def _batches(model: LocalVAE, x: Strips, z: NumpyArray) -> Iterator[tuple[torch.Tensor, ...]]:
    """Inputs, references, levels and features of all pixels of x at z (tiles, Z)."""
    canvas, s = x.canvas, model.shape
    images = Images(list(canvas.images), s.tile)
    features = model.features(torch.from_numpy(z.astype(np.float32))).flatten(0, 1)
    wave = x.wavefront(s.cell)
    number, rest = np.divmod(wave.indices // canvas.channels, (canvas.height + RADIUS) * canvas.pitch)
    y, column = np.divmod(rest, canvas.pitch)
    for start in range(0, len(number), BATCH):
        rows = slice(start, start + BATCH)
        image, down, across = (torch.from_numpy(a[rows]) for a in (number, y - RADIUS, column - RADIUS))
        context, references, levels = gather(images, image, down, across, s)
        yield context, references, levels, features[torch.from_numpy(wave.cells[rows])]
