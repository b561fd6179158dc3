"""Export of the mlp: its torch modules become exact layers, and what that costs is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.rate import code_bits, draw, net_bits
from bbcompress.errors import ModelError
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.distributions import LIKELIHOODS, ExactLikelihood
from bbcompress.exact.tables import VALUE_BITS
from bbcompress.limits import ENCODERS
from bbcompress.models.base import RHO_BITS, Z_BITS, Layers
from bbcompress.models.mlp import ExactMLPVAE, MLPWeights
from bbcompress.models.strips import Canvas, Strips
from bbcompress.training.architectures.base import RunOptions
from bbcompress.training.architectures.mlp.network import MLPVAE
from bbcompress.training.datasets import Dataset
from bbcompress.training.quantisation.calibrate import (
    DIRECT_STRIPS,
    calibrate,
    coding_settings,
    rates_by_steps,
    usual_encoder,
)
from bbcompress.training.quantisation.quantise import (
    DEFAULT_DIRECT_BITS,
    DEFAULT_LEARNING_RATE,
    DEFAULT_PRIOR_BITS,
    NumpyArray,
    float_code_bits,
    linears_of,
    quantise_network,
    to_exact,
)
from bbcompress.training.quantisation.samples import QUICK_DIRECT, QUICK_IMAGES

CALIBRATION_IMAGES = 1000
EVALUATION_IMAGES = 10_000


def export_mlp(
    run: Path, baseline: MLPVAE, rha: MLPVAE, config: RunOptions, about: dict[str, Any], data: Dataset
) -> MLPWeights:
    """The exact model of a finished run, calibrated, with its card.

    Settings are calibrated on the last 1000 held-out images where there are 2000 or more, else on training images, so
    that figures for the first thousand rest on no choice made with them; in a run that has a time on a few of these.

    Args:
        run: the run's directory.
        about: what the card says beside figures.
        data: what it was trained on.

    Raises:
        ModelError: a model is missing or damaged.
    """
    if not isinstance(data.train, np.ndarray) or not isinstance(data.test, np.ndarray):
        raise ModelError("an mlp of images of several sizes cannot be exported")
    weights = quantise(baseline, rha, config.name)
    some, measured, direct = CALIBRATION_IMAGES, EVALUATION_IMAGES, DIRECT_STRIPS
    if config.minutes is not None:
        some, measured, direct = QUICK_IMAGES, QUICK_IMAGES, QUICK_DIRECT
    enough = len(data.test) >= 2 * CALIBRATION_IMAGES
    calibration = data.test[-some:] if enough else data.train[:some]
    weights = calibrate(weights, _strips(calibration, weights), direct)
    evaluation = _strips(data.test[:measured], weights)
    card = {
        **about,
        "shape": list(weights.shape),
        "likelihood": weights.likelihood,
        "architecture": f"mlp, {config.hidden} hidden units, {weights.latents} latents",
        "settings": coding_settings(weights),
        **evaluation_figures(weights, {"baseline": baseline, "rha": rha}, evaluation),
    }
    return replace(weights, card=card)


def evaluation_figures(weights: MLPWeights, models: dict[str, MLPVAE], x: Strips) -> dict[str, Any]:
    """Net rates on images x in bits per dimension, and what exact arithmetic costs.

    The loss compares the exact code length with the float32 one of the very same z, image by image, so that it is
    not hidden by the noise of sampling.
    """
    vae = ExactMLPVAE(weights, NumpyBackend())
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
        values = vae.prior.values(z) * 2.0**-VALUE_BITS
        floating = float_code_bits(models[encoder], x.canvas.images.reshape(len(x), -1), values).mean()
        figures["net_rate"][encoder] = round(float(net_bits(codec, x, 4).mean()) / weights.dimensions, 5)
        figures["exact_arithmetic_loss"][encoder] = round(float(exact / floating - 1), 6)
        steps = rates_by_steps(weights, x[:1000], encoder, weights.learning_rate, 10)
        figures.setdefault("net_rate_by_K_first_1000", {})[encoder] = [round(r / weights.dimensions, 5) for r in steps]
    figures["encoder"] = usual_encoder(figures["net_rate"])
    return figures


def _strips(images: NumpyArray, weights: MLPWeights) -> Strips:
    return Strips.all_of(Canvas.of(images.reshape(len(images), *weights.shape, 1), weights.tile))


def quantise(baseline: MLPVAE, rha: MLPVAE, name: str = "") -> MLPWeights:
    """The exact model of a decoder with its two encoders, with uncalibrated coding settings."""
    shape, latents, dimensions = baseline.shape, baseline.latents, baseline.dimensions
    likelihood = LIKELIHOODS[baseline.likelihood.name]
    decoder = linears_of(baseline.decoder)
    to_exact(*decoder[-1], baseline.likelihood)
    return MLPWeights(
        shape=shape,
        likelihood=likelihood.name,
        prior_bits=DEFAULT_PRIOR_BITS,
        direct_bits=(DEFAULT_DIRECT_BITS,) * latents,
        learning_rate=DEFAULT_LEARNING_RATE,
        decoder=quantise_network(decoder, Z_BITS, likelihood.out_bits(dimensions)),
        encoders={"baseline": _encoder(baseline, likelihood), "rha": _encoder(rha, likelihood)},
        card={"name": name},
    )


def _encoder(model: MLPVAE, likelihood: ExactLikelihood) -> Layers:
    linears = linears_of(model.encoder)
    linears[0][0][:] /= likelihood.levels - 1  # pixels come as integers
    return quantise_network(linears, 0, np.repeat(np.array([Z_BITS, RHO_BITS], np.int64), model.latents))
