"""Evaluation of training runs: bounds on the likelihood, and what overfitting of encoder and decoder costs each.

Paper, Section 2: what a VAE loses from training to test images is the gap of its generative model and the amortised
inference gap, that of its encoder. Optimal inference, an encoder trained on the very test images, tells them apart.
"""

from __future__ import annotations

import copy
import hashlib
import math
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from bbcompress.errors import TrainingError
from bbcompress.text import escaped
from bbcompress.training.architectures.registry import ARCHITECTURES
from bbcompress.training.config import TrainingConfig
from bbcompress.training.datasets import Dataset
from bbcompress.training.objectives import TINY, bits_per_dimension, gaussian_kl
from bbcompress.training.reporter import Reporter, reporting
from bbcompress.training.trained import BASELINE, TrainedRun, TrainedVAE, open_run
from bbcompress.training.trainer import Trainer, seeded_generator
from bbcompress.version import __version__

BATCH = 500  # images evaluated at once
TRAIN_SAMPLES, TEST_SAMPLES = 1, 4
OPTIMAL = "optimal"


Model = TypeVar("Model", bound=TrainedVAE)


# --- Bounds --------------------------------------------------------------------------------------


def elbo_terms(model: TrainedVAE, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """-log p(x|z) and KL(q(z|x) || p(z)) of each image in nats, (B,) both, for x (B, ...).

    Their sum is the negative ELBO (paper Eq. 1): analytic KL, one sample of z by standard normal noise (B, Z).
    """
    mu, sigma = model.encode(x)
    return -model.likelihood.log_prob(model.decode(mu + sigma * noise), x), gaussian_kl(mu, sigma)


def log_importance_weight(model: TrainedVAE, x: Tensor, mu: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    """log p(x, z) - log q(z|x) in nats, float64 (B,), for z = mu + sigma * noise; mu, sigma, noise (B, Z)."""
    z = mu + sigma * noise
    log_likelihood = model.likelihood.log_prob(model.decode(z), x).double()
    ratio = 0.5 * (noise.double().square() - z.double().square()) + torch.log(sigma.double().clamp_min(TINY))
    return log_likelihood + ratio.sum(1)


@torch.no_grad()
def elbo_figures(
    model: TrainedVAE, x: Tensor, samples: int, generator: torch.Generator, reporter: Reporter | None = None
) -> dict[str, float]:
    """Mean negative ELBO `bpd` of x (N, ...) and its parts `kl_bpd` and `nll_bpd` (-log p(x|z)), in bits per dimension.

    samples: draws of z an image. In float32 and with the running statistics of batch norm, as `evaluate`, whose value
    for the same generator `bpd` is. Raises TrainingError if it is not finite.
    """
    reporter = reporter or Reporter(quiet=True)
    reporter.begin("ELBO", samples * len(x), 0)
    unit = bits_per_dimension(model.dimensions)
    totals = torch.zeros(2, dtype=torch.float64, device=x.device)
    done = 0
    with _evaluating(model):
        for _ in range(samples):
            for rows in _batches(x):
                terms = elbo_terms(model, rows, _standard_normal(rows, model, generator))
                totals += torch.stack([term.double().sum() for term in terms])
                done += len(rows)
                if reporter.wants_steps:
                    reporter.step(done, totals.sum().item() / done * unit)
    nll, kl = (_finite(total / done * unit) for total in totals.tolist())
    return {"bpd": kl + nll, "kl_bpd": kl, "nll_bpd": nll}


@torch.no_grad()
def importance_bound(
    model: TrainedVAE, x: Tensor, n: int, generator: torch.Generator, reporter: Reporter | None = None
) -> float:
    """Mean of -log2 1/n sum_k p(x, z_k) / q(z_k|x) over x (N, ...), z_k ~ q(z|x), in bits per dimension.

    The bound of importance weighted auto-encoders (Burda et al. 2016, Eq. 8): the negative ELBO for n = 1, and falling
    towards -log2 p(x) as n grows, but for noise. Weights are summed in float64, draw by draw: memory does not grow with
    n. Raises TrainingError if it is not finite.
    """
    reporter = reporter or Reporter(quiet=True)
    reporter.begin(f"IWAE, {n} draws", n * len(x), 0)
    total, seen, done = 0.0, 0, 0
    unit = bits_per_dimension(model.dimensions)
    with _evaluating(model):
        for rows in _batches(x):
            mu, sigma = model.encode(rows)
            log_sum = torch.full((len(rows),), -math.inf, dtype=torch.float64, device=x.device)
            for _ in range(n):
                noise = _standard_normal(rows, model, generator)
                log_sum = torch.logaddexp(log_sum, log_importance_weight(model, rows, mu, sigma, noise))
                done += len(rows)
                if reporter.wants_steps:
                    reporter.step(done, total / seen * unit if seen else math.nan)
            total -= (log_sum - math.log(n)).sum().item()
            seen += len(rows)
    return _finite(total / seen * unit)


def optimal_encoder(
    model: Model,
    x: Tensor,
    epochs: int,
    lr: float,
    *,
    batch: int = 100,
    average: float = 0.0,
    seed: int = 0,
    reporter: Reporter | None = None,
) -> Model:
    """Optimal inference (paper Eq. 9): a copy of the model whose encoder is trained by the ELBO on x (N, ...) itself.

    By Adam, in float32; the decoder is frozen, and batch norm keeps its running statistics. average: decay a step of
    the averaged weights, which the copy has at the end; 0 is off. Raises TrainingError if the loss is not finite.
    """
    reporter = reporter or Reporter(quiet=True)
    optimal = copy.deepcopy(model)
    optimal.train(False)
    optimal.compute_dtype = torch.float32
    optimal.generative.requires_grad_(False)
    optimal.encoder.requires_grad_(True)
    trainer = Trainer(
        optimal.encoder.parameters(), partial(_mean_negative_elbo, optimal), x, phase=OPTIMAL, lr=lr, batch=batch,
        average=average, seed=seed, unit=bits_per_dimension(model.dimensions),
    )  # fmt: skip
    reporter.begin(OPTIMAL, epochs * trainer.steps_per_epoch, 0)
    while trainer.epoch < epochs:
        started = time.monotonic()
        bpd = trainer.run_epoch(reporter)
        if not reporter.wants_steps:
            seconds = time.monotonic() - started
            reporter.line(f"{OPTIMAL} {trainer.epoch}/{epochs}  bpd {bpd:.5f}  {seconds:.1f} s")
    trainer.use_averages()
    optimal.encoder.requires_grad_(False)
    return optimal


def _batches(x: Tensor) -> Iterator[Tensor]:
    for start in range(0, len(x), BATCH):
        yield x[start : start + BATCH]


def _mean_negative_elbo(model: TrainedVAE, x: Tensor, generator: torch.Generator) -> Tensor:
    nll, kl = elbo_terms(model, x, _standard_normal(x, model, generator))
    return (nll + kl).mean()


def _standard_normal(x: Tensor, model: TrainedVAE, generator: torch.Generator) -> Tensor:
    return torch.randn(len(x), model.latents, generator=generator, device=x.device)


@contextmanager
def _evaluating(model: TrainedVAE) -> Iterator[None]:
    """Within it the model computes in float32 and batch norm uses its running statistics."""
    compute_dtype, training = model.compute_dtype, model.training
    model.compute_dtype = torch.float32
    model.train(False)
    try:
        yield
    finally:
        model.compute_dtype = compute_dtype
        model.train(training)


def _finite(bpd: float) -> float:
    if not math.isfinite(bpd):
        raise TrainingError("the model's likelihood of these images is not finite")
    return bpd


# --- Runs ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EvaluationOptions:
    """What `bbc evaluate` is asked for.

    data, data_dir: None is the run's own; images: at most so many of each part, the first ones; samples: draws of z an
    image, None is 4 of test and 1 of training images; optimal: epochs of optimal inference, 0 is none; lr, batch: of
    these, None is the paper's rate for the architecture and the run's batch; importance: draws of the IWAE bound, 0 is
    none; threads: None leaves torch's choice.
    """

    data: str | None = None
    data_dir: str | None = None
    images: int | None = None
    samples: int | None = None
    optimal: int = 0
    lr: float | None = None
    batch: int | None = None
    importance: int = 0
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None

    def __post_init__(self) -> None:
        """Raises TrainingError for values that make no sense."""
        least = {"images": 1, "samples": 1, "optimal": 0, "batch": 1, "importance": 0, "threads": 1}
        for name, minimum in least.items():
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise TrainingError(f"--{name} cannot be {value}")
        if self.lr is not None and not self.lr > 0:
            raise TrainingError(f"--lr cannot be {self.lr}")
        if not self.optimal and (self.lr is not None or self.batch is not None):
            raise TrainingError(f"--{'lr' if self.batch is None else 'batch'} is for --optimal")


def evaluate_run(
    path: str | Path,
    options: EvaluationOptions | None = None,
    quiet: bool = False,
    dataset: Dataset | None = None,
    optimal: TrainedVAE | None = None,
) -> dict[str, Any]:
    """All figures of a run in bits per dimension, with what they were measured on, as plain values.

    path: the directory of a run, or a checkpoint in it. dataset: the data, if they are loaded already. optimal: optimal
    inference for the run, if it has been trained already as the options say. `encoders` holds for each encoder its ELBO
    on training and test images, by the same noise, and from these:

    * generalisation_gap: test less train;
    * amortised_inference_gap (paper Eq. 8): test less the test ELBO of optimal inference.

    generative_model_gap is what is left to the generative model: the test ELBO of optimal inference less the training
    ELBO of the baseline encoder, which is taken to be optimal on its training images (paper, Section 2.1). For the
    baseline encoder both gaps add up to its generalisation gap.

    Raises ModelError, DataError, TrainingError.
    """
    options = options or EvaluationOptions()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    run = open_run(
        path, data=options.data, data_dir=options.data_dir, images=options.images, device=options.device, quiet=quiet,
        dataset=dataset,
    )  # fmt: skip
    clock = _Clock()
    with reporting(quiet) as reporter:
        encoders = {name: _measure(model, run, options, name, clock, reporter) for name, model in run.models.items()}
        schedule: dict[str, Any] = {}
        if options.optimal:
            schedule = _schedule(run.config, options)
            if optimal is None:
                with clock.of("optimal"):
                    optimal = optimal_encoder(
                        run.models[BASELINE], run.test, options.optimal, schedule["lr"], batch=schedule["batch"],
                        average=schedule["average"], seed=options.seed, reporter=reporter,
                    )  # fmt: skip
            encoders[OPTIMAL] = _measure(optimal, run, options, OPTIMAL, clock, reporter)
    result: dict[str, Any] = {"encoders": encoders}
    _add_gaps(result)
    return {
        "checkpoint": {
            "path": str(run.checkpoint),
            "sha256": _digest(run.checkpoint),
            "phase": run.phase,
            "epoch": run.epoch,
        },
        # where the data lie on one machine is nobody else's business
        "config": {name: value for name, value in asdict(run.config).items() if name != "data_dir"},
        "data": {
            "name": run.data,
            "rows": "tiles" if run.config.architecture == "local" else "images",
            "train": len(run.train),
            "test": len(run.test),
            "dimensions": run.models[BASELINE].dimensions,
        },
        **result,
        "options": asdict(options),
        "samples": {part: _samples(options, part) for part in ("train", "test")},
        **({"optimal_schedule": schedule} if schedule else {}),
        "seconds": clock.seconds,
        "versions": {
            "bbc": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "machine": _machine(options.device),
    }


def _measure(
    model: TrainedVAE, run: TrainedRun, options: EvaluationOptions, name: str, clock: _Clock, reporter: Reporter
) -> dict[str, Any]:
    """The figures of an encoder; optimal inference has none of training images."""
    figures: dict[str, Any] = {}
    for part, rows in (("train", run.train), ("test", run.test)):
        if name == OPTIMAL and part == "train":
            continue
        with clock.of(f"{name}_{part}"):
            noise = seeded_generator(rows.device, "evaluate", options.seed, part)
            figures[part] = elbo_figures(model, rows, _samples(options, part), noise, reporter)
        reporter.line(f"{name} encoder, {part}: negative ELBO {figures[part]['bpd']:.5f} bits per dimension")
    if options.importance:
        with clock.of(f"{name}_importance"):
            noise = seeded_generator(run.test.device, "evaluate", options.seed, "importance")
            bound = importance_bound(model, run.test, options.importance, noise, reporter)
        figures["importance_bpd"] = bound
        reporter.line(f"{name} encoder, test: IWAE bound {bound:.5f} bits per dimension")
    return figures


def _samples(options: EvaluationOptions, part: str) -> int:
    return options.samples or (TRAIN_SAMPLES if part == "train" else TEST_SAMPLES)


def _schedule(config: TrainingConfig, options: EvaluationOptions) -> dict[str, Any]:
    """Of optimal inference; what is not given is as in the run's phase rha."""
    return {
        "optimiser": "Adam",
        "epochs": options.optimal,
        "lr": options.lr or ARCHITECTURES[config.architecture].optimal_lr,
        "batch": options.batch or config.batch,
        "average": config.average,
        "seed": options.seed,
    }


def _add_gaps(result: dict[str, Any]) -> None:
    """Add the differences that `evaluate_run` tells of."""
    encoders = result["encoders"]
    optimal = encoders.get(OPTIMAL)
    for name, figures in encoders.items():
        if name == OPTIMAL:
            continue
        figures["generalisation_gap"] = figures["test"]["bpd"] - figures["train"]["bpd"]
        if optimal is not None:
            figures["amortised_inference_gap"] = figures["test"]["bpd"] - optimal["test"]["bpd"]
    if optimal is not None:
        result["generative_model_gap"] = optimal["test"]["bpd"] - encoders[BASELINE]["train"]["bpd"]


class _Clock:
    """Seconds of each part of the work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Time the block."""
        started = time.monotonic()
        yield
        self.seconds[part] = round(time.monotonic() - started, 2)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _machine(device: str) -> dict[str, Any]:
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device,
    }


# --- The table -----------------------------------------------------------------------------------


def table(evaluation: dict[str, Any]) -> Table:
    """What `evaluate_run` gave, for people: a column for each encoder."""
    data, encoders = evaluation["data"], evaluation["encoders"]
    what = f"{data['name']}: {data['train']} training and {data['test']} test {data['rows']}"
    grid = Table(title="Bits per dimension", caption=escaped(what), title_justify="left", caption_justify="left")
    grid.add_column("")
    for name in encoders:
        grid.add_column(name, justify="right")
    for part in ("train", "test"):
        for key, text in (("bpd", f"-ELBO, {part}"), ("kl_bpd", "  KL"), ("nll_bpd", "  -log p(x|z)")):
            grid.add_row(text, *(_shown(figures.get(part, {}).get(key)) for figures in encoders.values()))
    rows = {
        "importance_bpd": f"IWAE bound, test, {evaluation['options']['importance']} draws",
        "generalisation_gap": "generalisation gap (test - train)",
        "amortised_inference_gap": "amortised inference gap (test - optimal)",
    }
    for key, text in rows.items():
        if key in encoders[BASELINE]:
            grid.add_row(text, *(_shown(figures.get(key)) for figures in encoders.values()))
    if "generative_model_gap" in evaluation:
        shown = {BASELINE: evaluation["generative_model_gap"]}
        grid.add_row("generative model gap (optimal - train)", *(_shown(shown.get(name)) for name in encoders))
    return grid


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.5f}"
