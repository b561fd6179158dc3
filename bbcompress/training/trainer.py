"""A trainer that knows nothing of the model: Adam on a loss, averaged weights, a state that can be saved."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from bbcompress.errors import ModelError, TrainingError
from bbcompress.training.clock import Clock
from bbcompress.training.distributed import mean_of_processes, processes
from bbcompress.training.reporter import Reporter

AVERAGE_EVERY = 8  # steps; averaging at each would cost about as much as Adam
SHOW_EVERY = 20  # steps
RISE_STEPS = 100  # steps in which a decaying learning rate rises to its value
RISE_SHARE = 0.05
"""Share of the time in which it rises at most, where a training has a time."""
ROUND_STEPS = 50
"""Steps of an epoch where a training has a time: its rows are drawn at random, as often as that takes."""
LAST_RATE = 0.02  # of a decaying learning rate, as a share of its value


class Loss(Protocol):
    """Maps a batch of data rows to the scalar to minimise, taking its randomness from the generator."""

    def __call__(self, batch: Tensor, *, generator: torch.Generator) -> Tensor:
        """The loss of a batch (B, ...), a scalar. Of several processes each is given the whole batch; the loss is the
        mean of what they return, and it is they who make its gradients the same in all (`parallel`)."""


def seeded_generator(device: torch.device, *words: object) -> torch.Generator:
    """A generator on the device, seeded with a hash of the words."""
    return torch.Generator(device).manual_seed(_seed(*words))


def _seed(*words: object) -> int:
    digest = hashlib.sha256(" ".join(map(str, words)).encode()).digest()
    return int.from_bytes(digest[:4], "little")  # 32 bits: torch's CPU generator uses no more


# --- Display -------------------------------------------------------------------------------------


class Trainer:
    """Minimises a loss by Adam over shuffled batches, one epoch at a time, with an average of the weights.

    parameters: what is trained.
    buffers: what else changes as the model runs, averaged and saved as parameters are (statistics of batch norm).
    loss: called with a batch (B, ...) of rows of `data`.
    average: decay a step of the exponential moving average of the weights; 0 is off. Early on it is the plain
        mean of recent weights, so that the start is forgotten soon.
    unit: factor from the loss to what is reported.
    decay_epochs: the learning rate rises for 100 steps and then falls linearly until the end of that many epochs; 0
        leaves it constant.
    clock: the time that the training may take, in place of epochs: the learning rate follows it likewise. An epoch has
        `ROUND_STEPS` steps then, or fewer where the time is over.
    before_step: called before each step with the share of these epochs that is done.

    All randomness of an epoch comes from a generator seeded by (seed, phase, epoch), so a trainer restored
    after an epoch goes on bit for bit as one that never stopped (on a CPU, with the same number of threads). On a GPU
    the steps of whole batches are replays of one CUDA graph: small networks would wait for their kernels' launches.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        loss: Loss,
        data: Tensor,
        *,
        phase: str,
        lr: float,
        batch: int,
        average: float = 0.0,
        seed: int = 0,
        unit: float = 1.0,
        decay_epochs: int = 0,
        clock: Clock | None = None,
        before_step: Callable[[float], None] | None = None,
        buffers: Iterable[Tensor] = (),
    ) -> None:
        self.decay_epochs = decay_epochs
        self.clock = clock
        self.before_step = before_step
        trained = list(parameters)
        self.parameters = trained + list(buffers)
        self.loss = loss
        self.data = data
        self.phase = phase
        self.lr = lr
        self.batch = batch
        self.average = average
        self.seed = seed
        self.unit = unit
        self.epoch = 0
        self.steps = 0
        self.averages = [p.detach().clone() for p in self.parameters] if average else []
        self.graph = _StepGraph() if data.is_cuda and processes() == 1 else None
        if self.graph is None:
            self.optimiser = torch.optim.Adam(trained, lr=lr, fused=True)
        else:  # a rate that may change between replays is a tensor
            rate = torch.tensor(lr, device=data.device)
            self.optimiser = torch.optim.Adam(trained, lr=rate, fused=True, capturable=True)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, the last of which may be smaller."""
        if self.clock is not None:
            return ROUND_STEPS
        return math.ceil(len(self.data) / self.batch)

    def run_epoch(self, reporter: Reporter) -> float:
        """Train for one epoch; returns the mean loss in the reported unit.

        Raises:
            TrainingError: the loss is not finite.
        """
        self.epoch += 1
        generator = self._generator()
        order = self._order(generator)
        total = torch.zeros((), dtype=torch.float64, device=self.data.device)
        seen = 0
        for start in range(0, len(order), self.batch):
            if self.clock is not None and start and not self.clock.left:
                break
            rows = order[start : start + self.batch]
            self._begin_step()
            if self.graph is None or len(rows) < self.batch:
                loss = self._step(rows, generator)
            else:
                loss = self.graph.step(self._step, rows, generator)
            self.steps += 1
            if self.steps < AVERAGE_EVERY:  # a training too short for averages keeps what it learnt
                copy_all(self.averages, self.parameters[: len(self.averages)])
            elif self.averages and self.steps % AVERAGE_EVERY == 0:
                self._update_averages()
            total += loss * len(rows)
            seen += len(rows)
            if reporter.wants_steps and self.steps % SHOW_EVERY == 0:
                done = self.steps if self.clock is None else round(self.clock.spent)
                reporter.step(done, total.item() / seen * self.unit)
        mean = mean_of_processes(total).item() / seen
        if not math.isfinite(mean):
            raise TrainingError(f"the loss is not finite in epoch {self.epoch} of phase {self.phase}: lower --lr")
        return mean * self.unit

    def _order(self, generator: torch.Generator) -> Tensor:
        """The rows of an epoch: all of them once, or as many as a round takes, each drawn from all."""
        if self.clock is None:
            return torch.randperm(len(self.data), generator=generator, device=self.data.device)
        size = (ROUND_STEPS * self.batch,)
        return torch.randint(len(self.data), size, generator=generator, device=self.data.device)

    def _generator(self) -> torch.Generator:
        """What this epoch draws from; a graph has one of its own, seeded anew each epoch."""
        words = ("epoch", self.seed, self.phase, self.epoch)
        if self.graph is None:
            return seeded_generator(self.data.device, *words)
        if self.graph.generator is None:
            self.graph.generator = torch.Generator(self.data.device)
        return self.graph.generator.manual_seed(_seed(*words))

    def _step(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """A step of Adam on those rows of the data; returns the loss."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(self.data[rows], generator=generator)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.detach()

    def _begin_step(self) -> None:
        if self.decay_epochs or self.clock is not None:
            risen = (self.steps + 1) / RISE_STEPS
            if self.clock is not None:
                done = self.clock.share
                risen = max(risen, done / RISE_SHARE)
            else:
                done = self.steps / (self.decay_epochs * self.steps_per_epoch)
            rate = self.lr * min(1.0, risen) * max(1 - done, LAST_RATE)
            for group in self.optimiser.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate
            if self.before_step is not None:
                self.before_step(min(done, 1.0))

    @torch.no_grad()
    def _update_averages(self) -> None:
        updates = self.steps // AVERAGE_EVERY
        decay = min(self.average**AVERAGE_EVERY, (1 + updates) / (10 + updates))
        torch._foreach_lerp_(self.averages, self.parameters, 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the parameters hold their averages (themselves if averaging is off)."""
        with torch.no_grad():
            raw = [p.clone() for p in self.parameters] if self.averages else []
            for parameter, average in zip(self.parameters, self.averages, strict=False):
                parameter.copy_(average)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.parameters, raw, strict=False):
                    parameter.copy_(value)

    def use_averages(self) -> None:
        """Set the parameters to their averages, for good."""
        with torch.no_grad():
            for parameter, average in zip(self.parameters, self.averages, strict=False):
                parameter.copy_(average)

    def state_dict(self) -> dict[str, Any]:
        """All that load_state_dict() needs to go on as if nothing had happened."""
        return {
            "epoch": self.epoch,
            "steps": self.steps,
            "parameters": [p.detach() for p in self.parameters],
            "averages": self.averages,
            "optimiser": self._optimiser_state(self.optimiser.state_dict(), self.lr, False),
            **({} if self.clock is None else {"clock": {"seconds": self.clock.seconds, "spent": self.clock.spent}}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what state_dict() gave for a trainer of the same parameters."""
        self.epoch, self.steps = state["epoch"], state["steps"]
        if "clock" in state:
            self.clock = Clock(**state["clock"])
        copy_all(self.parameters, state["parameters"])
        copy_all(self.averages, state["averages"])
        group = self.optimiser.param_groups[0]
        self.optimiser.load_state_dict(
            self._optimiser_state(state["optimiser"], group["lr"], bool(group["capturable"]))
        )

    @staticmethod
    def _optimiser_state(state: dict[str, Any], lr: float | Tensor, capturable: bool) -> dict[str, Any]:
        """An optimiser's state with that rate: checkpoints are the same whether or not a graph made the steps."""
        groups = [{**group, "lr": lr, "capturable": capturable} for group in state["param_groups"]]
        return {**state, "param_groups": groups}


class _StepGraph:
    """Training steps as replays of one CUDA graph, captured from the fourth on; the ones before it warm up."""

    WARM_UP = 3

    def __init__(self) -> None:
        self.generator: torch.Generator | None = None
        self._steps = 0
        self._graph: Any = None

    def step(
        self, step: Callable[[Tensor, torch.Generator], Tensor], rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """What `step` gives for rows; always as many, always the same step and generator."""
        self._steps += 1
        if self._steps <= self.WARM_UP:
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                loss = step(rows, generator)
            torch.cuda.current_stream().wait_stream(side)
            return loss
        if self._graph is None:
            self._rows = rows.clone()
            self._graph = torch.cuda.CUDAGraph()
            self._graph.register_generator_state(generator)
            with torch.cuda.graph(self._graph):  # runs nothing
                self._loss = step(self._rows, generator)
        self._rows.copy_(rows)
        self._graph.replay()
        return self._loss


def buffers_of(module: Any) -> list[Tensor]:
    """What batch norm keeps."""
    return [buffer for buffer in module.buffers() if buffer.is_floating_point()]


def weights_of(module: Any) -> list[Tensor]:
    """What a trainer of the module averages and saves, in its order."""
    return [*module.parameters(), *buffers_of(module)]


@torch.no_grad()
def copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copy tensors into tensors of the same shapes.

    Raises:
        ModelError: their shapes differ.
    """
    if [t.shape for t in targets] != [s.shape for s in sources]:
        raise ModelError("the checkpoint belongs to a model of another shape")
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)


# --- Files ---------------------------------------------------------------------------------------
