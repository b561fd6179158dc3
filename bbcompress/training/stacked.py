"""Several runs of the paper's small VAE trained as one: on a GPU they take little longer than one of them.

What a study trains differs in seed, decoder or a number of the objective. Their weights are stacked, so that a layer of
all members is one batched product, and each step of Adam is a step of each member by itself. A finished member leaves
what a run of `bbc train` leaves, but the exported model.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bbcompress.errors import OutputExistsError, TrainingError
from bbcompress.training.architectures.base import PHASE_RHA, PHASE_VAE
from bbcompress.training.architectures.mlp.network import MLPVAE
from bbcompress.training.architectures.mlp.task import MLPTask
from bbcompress.training.checkpoints.checkpoint import save_checkpoint
from bbcompress.training.checkpoints.log import Log, save_json
from bbcompress.training.config import OF_DECODER, TrainingConfig
from bbcompress.training.datasets import Dataset
from bbcompress.training.evaluation import OPTIMAL
from bbcompress.training.finished import CHECKPOINTS, save_finished, state_of
from bbcompress.training.likelihoods import Likelihood
from bbcompress.training.objectives import (
    DENOISING,
    bits_per_dimension,
    denoising,
    elbo_per_image,
    negative_elbo,
    standard_normal,
)
from bbcompress.training.reporter import Reporter, reporting
from bbcompress.training.run import FINAL_SAMPLES
from bbcompress.training.trained import BASELINE, RHA, open_run
from bbcompress.training.trainer import Loss, Trainer, seeded_generator

ROWS_AT_ONCE = 20_000  # of an evaluation, all members together
OF_MEMBERS = {"seed", "sigma", "name"}  # in what options they may differ


# --- Models --------------------------------------------------------------------------------------


class StackedLinear(nn.Module):
    """One linear layer for each of E members: (E, B, inputs) -> (E, B, outputs)."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers])[:, None])

    def forward(self, x: Tensor) -> Tensor:
        """(E, B, inputs) -> (E, B, outputs)."""
        return torch.baddbmm(self.bias, x, self.weight)

    @torch.no_grad()
    def unstack(self, member: int, layer: nn.Linear) -> None:
        """Copy a member's weights into a layer of the same sizes."""
        layer.weight.copy_(self.weight[member].T)
        layer.bias.copy_(self.bias[member, 0])


class StackedVAE(nn.Module):
    """E VAEs of the same sizes as one `ImageVAE`.

    Rows are image after image, and for each of them member after member: row b E + e is what member e sees of the b-th
    image of a batch of B E rows. So what takes the first half of a batch takes that of each member.
    """

    def __init__(self, members: Sequence[MLPVAE]) -> None:
        super().__init__()
        first = members[0]
        self.members = len(members)
        self.latents = first.latents
        self.dimensions = first.dimensions
        self.binary = first.binary
        self.likelihood: Likelihood = first.likelihood
        self.compute_dtype = torch.float32
        self.encoder = _stack([member.encoder for member in members])
        self.decoder = _stack([member.decoder for member in members])

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z|x), (B E, Z) both, for levels x (B E, D) of any dtype."""
        pixels = x.to(torch.float32)
        mu, rho = self._run(self.encoder, pixels if self.binary else pixels / 255).chunk(2, dim=1)
        return mu, F.softplus(rho)

    def decode(self, z: Tensor) -> Tensor:
        """Parameters of p(x|z) (B E, D * parameters_per_pixel), for z (B E, Z)."""
        return self._run(self.decoder, z)

    def _run(self, network: nn.Sequential, rows: Tensor) -> Tensor:
        by_member = rows.view(-1, self.members, rows.shape[1]).transpose(0, 1)
        outputs: Tensor = network(by_member)
        return outputs.transpose(0, 1).flatten(0, 1)

    def unstack(self, number: int, member: MLPVAE) -> None:
        """Copy a member's weights into a model of its own."""
        for stack, network in ((self.encoder, member.encoder), (self.decoder, member.decoder)):
            for layers, layer in zip(stack, network, strict=True):
                if isinstance(layers, StackedLinear) and isinstance(layer, nn.Linear):
                    layers.unstack(number, layer)


def _stack(networks: Sequence[nn.Sequential]) -> nn.Sequential:
    columns = zip(*networks, strict=True)
    return nn.Sequential(*(StackedLinear(c) if isinstance(c[0], nn.Linear) else nn.ReLU() for c in columns))


@torch.no_grad()
def evaluate_each(model: StackedVAE, data: Tensor, samples: int, generator: torch.Generator) -> list[float]:
    """Each member's mean negative ELBO in bits per dimension over all of data (N, D), as `evaluate` has it.

    All members see the same noise.
    """
    batch = max(1, ROWS_AT_ONCE // model.members)
    total = torch.zeros(model.members, dtype=torch.float64, device=data.device)
    for _ in range(samples):
        for start in range(0, len(data), batch):
            x = data[start : start + batch]
            noise = standard_normal(len(x), model, generator, x.device).repeat_interleave(model.members, 0)
            elbos = elbo_per_image(model, x.repeat_interleave(model.members, 0), noise)
            total -= elbos.view(-1, model.members).double().sum(0)
    return (total / (samples * len(data)) * bits_per_dimension(model.dimensions)).tolist()


@contextmanager
def fast_products() -> Iterator[None]:
    """Within it a GPU may round the factors of float32 matrix products to 10 bits (TensorFloat-32)."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


class StackedTrainer(Trainer):
    """A trainer of the encoders, or of all of a stack: each member takes the images in an order of its own.

    Args:
        data: the images (N, D) that all see.
        loss: as of one model, for rows as `StackedVAE` has them.
    """

    def __init__(
        self, model: StackedVAE, trained: nn.Module, loss: Loss, data: Tensor, seed: int, **options: Any
    ) -> None:
        self._images = data
        self._of_rows = loss
        self._members = model.members
        generator = seeded_generator(torch.device("cpu"), "orders", seed)
        orders = [torch.randperm(len(data), generator=generator) for _ in range(model.members)]
        # the sum of the members' losses: each has the gradient that it would have alone
        unit = bits_per_dimension(model.dimensions) / model.members
        super().__init__(
            trained.parameters(), self._sum, torch.stack(orders, 1).to(data.device), seed=seed, unit=unit, **options
        )

    def _sum(self, batch: Tensor, *, generator: torch.Generator) -> Tensor:
        return self._of_rows(self._images[batch.flatten()], generator=generator) * self._members

    def run_epoch(self, reporter: Reporter) -> float:
        """As of one model; returns the members' mean loss."""
        with fast_products():
            return super().run_epoch(reporter)


# --- Runs ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """A run to be: its options, its directory and, for an encoder alone, the checkpoint that has its decoder."""

    config: TrainingConfig
    out: Path
    start: Path | None = None


def train_together(members: Sequence[Member], data: Dataset, quiet: bool = False) -> None:
    """Train runs of the mlp as `train` would each of them, up to random numbers: VAEs alone, or encoders alone.

    data: that of all. Each directory gets config.json, train.jsonl, metrics.json, training.pt and the checkpoints that
    --keep-every keeps. The seconds in them are those of all members together. None of them can be resumed.
    Without members it does nothing.
    Raises TrainingError for runs that do not go together, OutputExistsError where there is a run already, ModelError
    for a start that is none.
    """
    if not members:
        return
    first = members[0].config
    _refuse_unfit(members)
    for member in members:
        if any((member.out / name).exists() for name in CHECKPOINTS):
            raise OutputExistsError(f"{member.out}: holds a run already; choose another directory")
    models = [_model(member, data) for member in members]
    phase = PHASE_VAE if members[0].start is None else PHASE_RHA
    task = MLPTask(first, data)
    stack = StackedVAE(models)
    if phase == PHASE_VAE:
        trained: nn.Module = stack
        (loss, _), lr, epochs = task.of_both(stack), first.lr, first.epochs
    else:
        trained = stack.encoder
        stack.decoder.requires_grad_(False)
        loss, lr, epochs = _encoder_loss(task, stack, members), first.encoder_lr, first.encoder_epochs
    trainer = StackedTrainer(stack, trained, loss, task.data, seed=first.seed, phase=phase, lr=lr, batch=first.batch)
    for member in members:
        member.out.mkdir(parents=True, exist_ok=True)
        save_json(asdict(member.config), member.out / "config.json")
    logs = [Log(member.out / "train.jsonl") for member in members]
    seconds = 0.0
    with reporting(quiet) as reporter:
        reporter.begin(f"{len(members)} x {phase}", epochs * trainer.steps_per_epoch, 0)
        while trainer.epoch < epochs:
            started = time.monotonic()
            mean = trainer.run_epoch(reporter)
            seconds += time.monotonic() - started
            _after_epoch(members, models, stack, trainer, task, logs, epochs, seconds)
            reporter.line(f"{len(members)} x {phase} {trainer.epoch}/{epochs}  loss {mean:.5f}  {seconds:.1f} s")
    _conclude(members, models, stack, task, seconds)


def _refuse_unfit(members: Sequence[Member]) -> None:
    """Raises TrainingError for runs that cannot be trained together."""
    first = members[0].config
    alone = {member.start is not None for member in members}
    own = OF_MEMBERS | ({"epochs"} if alone == {True} else set())
    shared = tuple(field.name for field in fields(TrainingConfig) if field.name not in own)
    different = {name for member in members for name in first.differences(member.config, shared)}
    if different:
        raise TrainingError(f"runs that differ in {', '.join(sorted(different))} cannot be trained together")
    if (first.architecture, first.average, first.decay, first.precision) != ("mlp", 0.0, False, "float32"):
        raise TrainingError("only float32 runs of the mlp with constant rates and no averages are trained together")
    if len(alone) > 1 or (alone == {False} and first.encoder_epochs):
        raise TrainingError("VAEs without second encoders, or encoders alone, are trained together")


def _model(member: Member, data: Dataset) -> MLPVAE:
    """A member's model on its device, as it begins."""
    if member.start is None:
        return MLPTask(member.config, data).build()
    run = open_run(member.start, device=member.config.device, dataset=data)
    model = cast(MLPVAE, run.models[BASELINE])
    if run.config.differences(member.config, OF_DECODER):
        raise TrainingError(f"{member.start}: a model of other options than those of {member.out}")
    return model.requires_grad_(True)


def _encoder_loss(task: MLPTask, stack: StackedVAE, members: Sequence[Member]) -> Loss:
    """The loss of phase rha, in denoising with the sigma of each member."""
    if task.config.objective != DENOISING:
        return task.of_encoder(stack)[0]
    alpha = task.config.alpha or 0.0
    sigmas = torch.tensor([member.config.sigma for member in members], device=task.data.device)

    def loss(batch: Tensor, *, generator: torch.Generator) -> Tensor:
        sigma = sigmas.repeat(len(batch) // len(sigmas))[:, None]
        return denoising(stack, batch, alpha, sigma, generator)

    return loss


def _after_epoch(
    members: Sequence[Member],
    models: Sequence[MLPVAE],
    stack: StackedVAE,
    trainer: Trainer,
    task: MLPTask,
    logs: Sequence[Log],
    epochs: int,
    seconds: float,
) -> None:
    """Evaluate, tell and keep what is due after the trainer's epoch."""
    config, epoch = members[0].config, trainer.epoch
    bpds: list[float] = []
    if config.evaluate_every and (epoch % config.evaluate_every == 0 or epoch == epochs):
        bpds = evaluate_each(stack, task.test_data, 1, seeded_generator(task.data.device, "test"))
    for number, log in enumerate(logs):
        figures = {"test_bpd": bpds[number]} if bpds else {}
        objective = config.objective_in(trainer.phase)
        log.append(phase=trainer.phase, objective=objective, epoch=epoch, **figures, learning_rate=trainer.lr)
    if trainer.phase == PHASE_VAE and config.keep_every and epoch % config.keep_every == 0:
        for number, (member, model) in enumerate(zip(members, models, strict=True)):
            stack.unstack(number, model)
            parameters = [p.detach() for p in model.parameters()]
            state = {
                **state_of(member.config, "", task.shape, {PHASE_VAE: seconds, PHASE_RHA: 0.0}),
                "phase": trainer.phase,
                "trainer": {"epoch": epoch, "steps": trainer.steps, "parameters": parameters, "averages": []},
            }  # fmt: skip
            save_checkpoint(state, member.out / f"epoch-{epoch:04}.pt", member.config.part_size)


def _conclude(
    members: Sequence[Member], models: Sequence[MLPVAE], stack: StackedVAE, task: MLPTask, seconds: float
) -> None:
    """Evaluate both encoders of each member and write what a finished run has."""
    encoders: dict[str, list[dict[str, Tensor]]] = {}
    figures: dict[str, list[float]] = {}
    of_vae = members[0].start is None
    begun = stack if of_vae else StackedVAE(models)
    for name, which in ((BASELINE, begun), (RHA, stack)):
        figures[name] = evaluate_each(which, task.test_data, FINAL_SAMPLES, seeded_generator(task.data.device, "final"))
        encoders[name] = []
        for number, model in enumerate(models):
            which.unstack(number, model)
            encoders[name].append({key: value.clone() for key, value in model.encoder.state_dict().items()})
    spent = {PHASE_VAE: seconds if of_vae else 0.0, PHASE_RHA: 0.0 if of_vae else seconds}
    for number, (member, model) in enumerate(zip(members, models, strict=True)):
        metrics = {
            "test_images": len(task.test_data), "test_samples": FINAL_SAMPLES,
            **{f"{name}_test_bpd": values[number] for name, values in figures.items()},
            "seconds": {phase: round(value, 1) for phase, value in spent.items()}, "together": len(members),
        }  # fmt: skip
        networks = {"decoder": model.decoder.state_dict(), **{name: of[number] for name, of in encoders.items()}}
        save_finished(member.out, member.config, str(member.start or ""), task.shape, networks, metrics, spent)


def optimal_encoders(
    models: Sequence[MLPVAE], x: Tensor, epochs: int, lr: float, *, batch: int = 100, seed: int = 0, quiet: bool = False
) -> list[MLPVAE]:
    """Optimal inference (paper Eq. 9) for several models at once: copies as `optimal_encoder` makes each.

    Raises:
        TrainingError: the loss is not finite.
    """
    stack = StackedVAE(models)
    stack.decoder.requires_grad_(False)
    loss = partial(negative_elbo, stack)
    trainer = StackedTrainer(stack, stack.encoder, loss, x, seed=seed, phase=OPTIMAL, lr=lr, batch=batch)
    with reporting(quiet) as reporter:
        reporter.begin(OPTIMAL, epochs * trainer.steps_per_epoch, 0)
        while trainer.epoch < epochs:
            trainer.run_epoch(reporter)
    optimal = [copy.deepcopy(model).requires_grad_(False) for model in models]
    for number, model in enumerate(optimal):
        stack.unstack(number, model)
    return optimal
