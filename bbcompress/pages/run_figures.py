"""What a training run has to show: its log, and what its exact model makes of held-out images.

Everything is computed by the integers of the exported model, so that it needs no PyTorch, and is what files have.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bbcompress.bench.measure import describe_machine, kernels_compiled_at_once
from bbcompress.bench.report import Data, Report, Row
from bbcompress.bench.schedule import Schedule
from bbcompress.codecs.bitsback import BitsBack
from bbcompress.codecs.groups import decode_images, encode_images
from bbcompress.codecs.rate import net_bits
from bbcompress.codecs.refinement import refine
from bbcompress.codecs.settings import CodingSettings
from bbcompress.coder.ans import HEAD_MIN, Message
from bbcompress.errors import BBCError, ModelError
from bbcompress.exact.arithmetic import exact_arithmetic
from bbcompress.exact.backend import NumpyBackend
from bbcompress.exact.tables import VALUE_BITS, bin_edges
from bbcompress.images.image import PixelImage
from bbcompress.images.kinds import Kind
from bbcompress.limits import ENCODERS, MAX_K, Limits
from bbcompress.models.base import Model
from bbcompress.models.cache import Models
from bbcompress.models.checkpoint import load as load_model
from bbcompress.models.local import ExactLocalVAE
from bbcompress.models.registry import model_of
from bbcompress.models.strips import Canvas, Strips
from bbcompress.models.zoo import Zoo
from bbcompress.training.datasets import Dataset, load

NumpyArray = np.ndarray[Any, Any]

SHOWN = 8
"""Images that are reconstructed."""
SAMPLES = 64
TRAVERSED, STEPS = 6, np.linspace(-2.5, 2.5, 9)
"""Latents that are gone along, and their values."""
DRAWS = 24
"""Draws of p(x|z) whose mean is shown; of models whose pixels see each other, one."""
RECONSTRUCTED_K = (0, 10)
SAMPLE_SUBPIXELS = 1 << 18
"""Of local models fewer samples are drawn, as each pixel takes long."""


@dataclass(frozen=True)
class Run:
    """A training run on the disk.

    Attributes:
        log: a line an epoch. metrics, card: None of a run that is not finished, or not exported.
    """

    folder: Path
    config: dict[str, Any]
    log: list[dict[str, Any]]
    metrics: dict[str, Any] | None
    card: dict[str, Any] | None

    @property
    def name(self) -> str:
        """Of its model."""
        return str(self.config.get("name") or self.folder.name)


@dataclass(frozen=True)
class Reconstruction:
    """An image, and for each encoder and K what its posterior's mean decodes to, and the bits that the image takes."""

    image: NumpyArray
    decoded: dict[tuple[str, int], tuple[NumpyArray, float]]


@dataclass(frozen=True)
class ModelFigures:
    """What the exact model of a run makes of images, which have levels uint8 (H, W, C).

    Attributes:
        rates: net bits per dimension by encoder and part, `train` and `test`.
        counts: how many images each part has.
        kl: bits of each latent in the mean, by the encoder rha.
        traversals: a row of images for each of the latents with the most bits, and its number.
    """

    levels: int
    rates: dict[tuple[str, str], float]
    counts: dict[str, int]
    kl: NumpyArray
    samples: list[NumpyArray]
    reconstructions: list[Reconstruction]
    traversals: list[tuple[int, list[NumpyArray]]]
    rate: Report


def open_run(folder: Path) -> Run:
    """A run, finished or not: of a log to which a line is just being added, the whole ones.

    Raises:
        BBCError: there is none, or what it says of itself is damaged.
    """
    options, log = folder / "config.json", folder / "train.jsonl"
    if not options.is_file() or not log.is_file():
        raise BBCError(f"{folder}: is not the folder of a training run")
    try:
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [_object_of(line) for line in lines if line.endswith("\n")]
        config, metrics, card = (_object_of(path.read_text(encoding="utf-8")) if path.is_file() else None
                                 for path in (options, folder / "metrics.json", folder / "card.json"))  # fmt: skip
        if config is None or not {"architecture", "data", "data_dir", "binary"} <= config.keys():
            raise ValueError(f"{options.name} lacks options")
    except (OSError, ValueError) as error:
        raise BBCError(f"{folder}: its log or options cannot be read: {error}") from None
    return Run(folder, config, whole, metrics, card)


def _object_of(text: str) -> dict[str, Any]:
    """A JSON object. Raises ValueError where it is none."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"{text.strip()[:20]!r} is no object of JSON")
    return value


def figures_of(
    run: Run,
    images: int,
    k: Sequence[int],
    data_dir: str | None = None,
    dataset: Callable[[], Dataset] | None = None,
) -> ModelFigures:
    """What the run's model makes of so many images of each part of its data.

    Args:
        k: numbers of refinement steps of which size and time are measured.
        data_dir: where data sets lie now; None is where they lay in training.
        dataset: gives the run's data, if they are loaded elsewhere.

    Raises:
        ModelError: the run has no exact model. DataError: its data are gone.
    """
    if not (run.folder / "model.safetensors").is_file():
        raise ModelError(f"{run.folder}: the run has no exact model yet; bbc train --resume finishes it")
    model = model_of(load_model(run.folder), NumpyBackend())
    data = _data_of(run, data_dir) if dataset is None else dataset()
    parts = {part: _pieces(getattr(data, part), model, images) for part in ("train", "test")}
    with exact_arithmetic():
        strips = {part: _strips(model, pieces) for part, pieces in parts.items()}
        codec = partial(BitsBack, model, learning_rate=model.weights.learning_rate)
        rates = {
            (encoder, part): float(net_bits(codec(encoder=encoder, k=0), x, 2).sum()) / parts[part].size
            for encoder in ENCODERS
            for part, x in strips.items()
        }
        posterior = codec(encoder=ENCODERS[0], k=0).posterior(strips["test"])
        kl = _kl(posterior.mu, posterior.sigma)
        return ModelFigures(
            model.weights.levels,
            rates,
            {part: len(pieces) for part, pieces in parts.items()},
            kl,
            _samples(model, parts["test"].shape[1:]),
            _reconstructions(model, parts["test"][:SHOWN]),
            _traversals(model, parts["test"][:1], kl),
            _rate(model, _named(run.name, parts["test"], data), Schedule(k=tuple(k), model=str(run.folder))),
        )


def _data_of(run: Run, data_dir: str | None) -> Dataset:
    """The data of a run with these options, of which those that came later may be missing."""
    binary, any_size, grey, leave_out = (
        bool(run.config.get(name)) for name in ("binary", "any_size", "grey", "leave_out")
    )  # fmt: skip
    place = data_dir or run.config["data_dir"]
    return load(run.config["data"], place, binary, True, any_size, grey, leave_out, run.folder)


def _pieces(images: Any, model: Model, count: int) -> NumpyArray:
    """The first images, or their middles of one size, no larger than a tile, levels uint8 (N, H, W, C)."""
    some = [image.reshape(*image.shape[:2], -1) for image in images[:count]]
    if model.weights.shape is not None:
        return np.stack(some)
    height, width = (min(model.weights.tile, *(image.shape[axis] for image in some)) for axis in (0, 1))
    pieces = []
    for image in some:
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        pieces.append(image[top : top + height, left : left + width])
    return np.stack(pieces)


def _strips(model: Model, pixels: NumpyArray) -> Strips:
    """Images, each of one tile."""
    return Strips.all_of(Canvas.of(pixels, model.weights.tile))


def _named(name: str, pixels: NumpyArray, data: Dataset) -> Data:
    """The images as a benchmark takes them."""
    scale = np.uint8(255 if data.binary else 1)
    shown = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    mode = "L" if pixels.shape[-1] == 1 else "RGB"
    images = [(f"{number:04}.png", PixelImage(mode, one * scale)) for number, one in enumerate(shown)]
    return Data(f"{name}, held-out images", images)


def _rate(model: Model, data: Data, schedule: Schedule) -> Report:
    """Size and processor time of the images as one group by the model, for each encoder and K.

    `bbc bench` measures what files become, which is the fallback's where that is smaller; here it is the model's.

    Raises:
        BBCError: the images did not come back.
    """
    images = [image for _, image in data.images]
    kind = Kind.default(model.weights.channels, model.weights.levels)
    models = Models(Zoo(schedule.model), NumpyBackend())
    machine, rows = describe_machine(), []
    with kernels_compiled_at_once():
        for k in {min(schedule.k), max(schedule.k)}:  # what has to be compiled is, before it counts
            few = encode_images(model, images, kind, CodingSettings(k=k))
            decode_images(few, models, Limits(k=MAX_K))
        for encoder, k in product(schedule.encoders, schedule.k):
            begin = time.process_time()
            group = encode_images(model, images, kind, CodingSettings(encoder, k))
            middle = time.process_time()
            back = decode_images(group, models, Limits(k=MAX_K))
            end = time.process_time()
            if back != images:
                raise BBCError(f"{encoder}, K = {k}: the images did not come back as they were; please report this")
            size = len(group.header.encode_group()) + len(group.payload)
            times = (middle - begin) / len(images), (end - middle) / len(images)
            coders = {model.weights.name: len(images)}
            rate = 8 * size / data.subpixels
            rows.append(Row(encoder, k, size, rate, None, times[:1], times[1:], coders, [], None))
    return Report(data, schedule, machine, rows)


def _kl(mu: NumpyArray, sigma: NumpyArray) -> NumpyArray:
    """KL(q(z|x) || p(z)) of each latent in bits, the mean over images, (Z,); mu and sigma in units of 2^-24."""
    m, s = mu / float(1 << VALUE_BITS), sigma / float(1 << VALUE_BITS)
    nats: NumpyArray = 0.5 * (m * m + s * s - 1.0) - np.log(s)
    found: NumpyArray = nats.mean(axis=0) / np.log(2.0)
    return found


def _random(bits: int, seed: int) -> Message:
    """A message of at least so many random bits: what is popped from it is a draw."""
    random = np.random.default_rng(seed)
    return Message([HEAD_MIN], random.integers(1 << 32, size=bits // 32 + 2, dtype=np.uint32))


def _drawn(model: Model, z: NumpyArray, shape: tuple[int, ...], seed: int = 0) -> NumpyArray:
    """What z (N, Z), bins of the prior, decode to: the mean of some draws of p(x|z), uint8 (N, H, W, C)."""
    draws = 1 if isinstance(model, ExactLocalVAE) else DRAWS
    height, width, channels = shape
    canvas = Canvas(len(z) * draws, height, width, channels, model.weights.tile)
    x = Strips.all_of(canvas)
    values = model.prior.values(np.repeat(z, draws, axis=0))
    model.likelihood(values).pop(_random(24 * canvas.inner.size, seed), x)
    scale = 255.0 / (model.weights.levels - 1)
    means: NumpyArray = scale * canvas.images.reshape(len(z), draws, *shape).mean(axis=1)
    found: NumpyArray = np.round(means).astype(np.uint8)
    return found


def _samples(model: Model, shape: tuple[int, ...]) -> list[NumpyArray]:
    """Draws of z ~ p(z) and then x."""
    count = SAMPLES
    if isinstance(model, ExactLocalVAE):
        count = max(4, min(SAMPLES, SAMPLE_SUBPIXELS // int(np.prod(shape))))
    z = model.prior.pop(_random(24 * count * model.weights.latents, 1), count)
    return list(_drawn(model, z, shape))


def _bins(model: Model, mu: NumpyArray) -> NumpyArray:
    """The prior's bins in which values in units of 2^-24 lie."""
    found: NumpyArray = np.searchsorted(bin_edges(model.prior.bits), mu, "right")
    return found


def _reconstructions(model: Model, pixels: NumpyArray) -> list[Reconstruction]:
    x, rate = _strips(model, pixels), model.weights.learning_rate
    decoded: list[dict[tuple[str, int], tuple[NumpyArray, float]]] = [{} for _ in pixels]
    for encoder in ENCODERS:
        for k in RECONSTRUCTED_K:
            bits = net_bits(BitsBack(model, encoder, k, rate), x, 4)
            shown = _drawn(model, _bins(model, refine(model, x, encoder, k, rate).mu), pixels.shape[1:])
            for its, image, size in zip(decoded, shown, bits.tolist(), strict=True):
                its[encoder, k] = image, size
    scale = np.uint8(255 // (model.weights.levels - 1))
    return [Reconstruction(image * scale, its) for image, its in zip(pixels, decoded, strict=True)]


def _traversals(model: Model, pixels: NumpyArray, kl: NumpyArray) -> list[tuple[int, list[NumpyArray]]]:
    """From the posterior's mean of an image along the latents that hold the most bits."""
    x = _strips(model, pixels)
    mu = refine(model, x, ENCODERS[0], 0, model.weights.learning_rate).mu
    found = []
    for latent in np.argsort(-kl)[:TRAVERSED].tolist():
        along = np.repeat(mu, len(STEPS), axis=0)
        along[:, latent] = np.round(STEPS * float(1 << VALUE_BITS))
        found.append((latent, list(_drawn(model, _bins(model, along), pixels.shape[1:]))))
    return found
