"""A trainer that knows nothing of the model, its checkpoints, log and progress display."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor

from bbcompress.errors import ModelError, TrainingError
from bbcompress.escaping import escaped
from bbcompress.training.checkpoints.atomic import remove_strays, replacing
from bbcompress.training.checkpoints.parts import is_manifest, read_parts, remove_stray_parts, write_parts
from bbcompress.training.distributed import mean_of_processes, processes

AVERAGE_EVERY = 8  # steps; averaging at each would cost about as much as Adam
SHOW_EVERY = 20  # steps
RISE_STEPS = 100  # steps in which a decaying learning rate rises to its value
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


class Reporter:
    """Progress on stderr: a bar on a terminal, a line an epoch elsewhere, nothing when quiet."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def open(self) -> None:
        """Show the bar where there is a terminal."""
        if self._console.is_terminal and not self._quiet:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                TextColumn("{task.fields[bpd]}"), console=self._console,
            )  # fmt: skip
            self._bar.start()

    def close(self) -> None:
        """Give the terminal back."""
        if self._bar is not None:
            self._bar.stop()

    def begin(self, phase: str, total: int, done: int) -> None:
        """A phase of `total` steps starts, `done` of which are behind it."""
        if self._bar is not None:
            for task in self._bar.task_ids:
                self._bar.remove_task(task)
            self._task = self._bar.add_task(phase, total=total, completed=done, bpd="")

    @property
    def wants_steps(self) -> bool:
        """Whether step() shows anything."""
        return self._bar is not None

    def step(self, done: int, bpd: float) -> None:
        """`done` steps of the phase are behind; bpd is the epoch's running mean."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, bpd=f"{bpd:.4f} bpd")

    def line(self, text: str) -> None:
        """A plain line, above the bar if there is one."""
        if not self._quiet:
            self._console.print(escaped(text), markup=False)


@contextmanager
def reporting(quiet: bool = False) -> Iterator[Reporter]:
    """A reporter whose bar ends with the block."""
    reporter = Reporter(quiet)
    reporter.open()
    try:
        yield reporter
    finally:
        reporter.close()


# --- Training ------------------------------------------------------------------------------------


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
        before_step: Callable[[float], None] | None = None,
        buffers: Iterable[Tensor] = (),
    ) -> None:
        self.decay_epochs = decay_epochs
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
        return math.ceil(len(self.data) / self.batch)

    def run_epoch(self, reporter: Reporter) -> float:
        """Train for one epoch; returns the mean loss in the reported unit.

        Raises TrainingError if it is not finite.
        """
        self.epoch += 1
        generator = self._generator()
        order = torch.randperm(len(self.data), generator=generator, device=self.data.device)
        total = torch.zeros((), dtype=torch.float64, device=self.data.device)
        seen = 0
        for start in range(0, len(order), self.batch):
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
                reporter.step(self.steps, total.item() / seen * self.unit)
        mean = mean_of_processes(total).item() / seen
        if not math.isfinite(mean):
            raise TrainingError(f"the loss is not finite in epoch {self.epoch} of phase {self.phase}: lower --lr")
        return mean * self.unit

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
        if self.decay_epochs:
            done = self.steps / (self.decay_epochs * self.steps_per_epoch)
            rate = self.lr * min(1.0, (self.steps + 1) / RISE_STEPS) * max(1 - done, LAST_RATE)
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
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what state_dict() gave for a trainer of the same parameters."""
        self.epoch, self.steps = state["epoch"], state["steps"]
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
    """Copy tensors into tensors of the same shapes. Raises ModelError where they are not."""
    if [t.shape for t in targets] != [s.shape for s in sources]:
        raise ModelError("the checkpoint belongs to a model of another shape")
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)


# --- Files ---------------------------------------------------------------------------------------


def save_checkpoint(state: dict[str, Any], path: Path, part_size: int = 0) -> None:
    """Write a checkpoint such that `path` is always a whole one, the old or the new.

    part_size: in MiB; then it is cut into parts of at most that size and `path` names them (see `parts`). 0: one file.
    """
    try:
        if part_size:
            content = io.BytesIO()  # torch makes errors of its own of what a file raises
            torch.save(state, content)
            manifest = write_parts(path, content.getbuffer(), part_size << 20)
            with replacing(path) as temporary:
                temporary.write_text(manifest)
        else:
            with replacing(path) as temporary:
                torch.save(state, temporary)
    finally:
        _remove_left_over(path)


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint and its parts, if it is there, and what a process that was killed left of it."""
    path.unlink(missing_ok=True)
    _remove_left_over(path)


def _remove_left_over(path: Path) -> None:
    """Remove the parts that `path` does not name, and files that were to become it."""
    remove_strays(path)
    remove_stray_parts(path)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint, whole or in parts.

    Raises ModelError if it or a part is missing, damaged or something else, or cannot be read.
    """
    try:
        source = read_parts(path) if is_manifest(path) else path
        state = torch.load(source, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such training checkpoint") from None
    except OSError as error:
        raise ModelError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from None
    except (ModelError, MemoryError):
        raise
    except Exception as error:  # the unpickler meets rubbish with errors of every kind
        raise ModelError(f"{path}: not a training checkpoint, or a damaged one") from error
    if not isinstance(state, dict) or "format" not in state:
        raise ModelError(f"{path}: not a training checkpoint")
    return state


def save_json(value: object, path: Path) -> None:
    """Write a JSON file such that `path` is always a whole one."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


class Log:
    """A file of JSON lines, one an epoch."""

    def __init__(self, path: Path, keep: int = 0) -> None:
        """Go on after the first `keep` lines of the file; later ones are dropped."""
        self.path = path
        lines = path.read_text().splitlines(keepends=True)[:keep] if path.exists() else []
        with replacing(path) as temporary:
            temporary.write_text("".join(lines))
        self.lines = len(lines)

    def append(self, **fields: object) -> None:
        """Add a line."""
        with self.path.open("a") as file:
            file.write(json.dumps(fields) + "\n")
        self.lines += 1
