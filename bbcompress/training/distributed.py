"""Training on several processes or machines: what each does of a batch, and where they meet.

Started by torchrun, `bbc train` trains one model on all its processes:

    torchrun --nproc-per-node 2 -m bbcompress train --architecture resnet ...
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        -m bbcompress train --architecture resnet --device cuda --out SHARED ...

They talk by gloo with --device cpu, by nccl with --device cuda, where each takes the card of its LOCAL_RANK. --batch is
the batch of all of them together, and the losses are those of one process up to rounding: every process draws the noise
of the whole batch from the same generator and keeps that of its own rows, batch norm takes the statistics of the whole
batch, and gradients are those of its mean. So a run may be resumed with another number of processes. The first process
alone evaluates, logs, saves and exports; the others have to see the run's directory to resume. With --max-restarts the
run goes on by itself where a process has died (see `elastic`).
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.parallel import DistributedDataParallel

from bbcompress.errors import TrainingError
from bbcompress.training.elastic import meeting_place

PATIENCE = timedelta(hours=2)
"""How long a process waits for another: the first evaluates alone. The death of one ends the others at once."""

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """What process `rank` of `size` does of a batch that all of them know: every size-th row of it."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that evaluates, logs and saves."""
        return self.rank == 0

    def of(self, *parts: Tensor) -> Tensor:
        """This process's rows of each part (B_i, ...) of a batch, one part after the other."""
        own = [part[self.rank :: self.size].contiguous() for part in parts]
        return own[0] if len(own) == 1 else torch.cat(own)

    def spread(self, own: Tensor, total: int) -> Tensor:
        """`own` = of(x) in its places in a batch of `total` rows, zero elsewhere."""
        if self.size == 1:
            return own
        batch = own.new_zeros(total, *own.shape[1:])
        batch[self.rank :: self.size] = own
        return batch

    def mean(self, own: Tensor, total: int) -> Tensor:
        """A scalar whose mean over the processes is that of a batch of `total` values, given one's own of them."""
        return own.mean() if self.size == 1 else own.sum() * (self.size / total)


ALONE = Share()
"""All of it: the only process there is."""


# --- The group of processes ----------------------------------------------------------------------


@contextmanager
def joined(device: str) -> Iterator[Share]:
    """Within it the processes that torchrun started are one group; gives this one's share, ALONE without torchrun.

    A group that there is already is used and left open.

    Args:
        device: `cpu` or `cuda`, which is this process's own card within the block.

    Raises:
        TrainingError: the processes cannot meet, or one of them has gone.
    """
    if dist.is_available() and dist.is_initialized():
        yield Share(dist.get_rank(), dist.get_world_size())
        return
    try:
        rank, size = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    except ValueError as error:
        raise TrainingError(f"RANK, WORLD_SIZE and LOCAL_RANK must be numbers: {error}") from None
    if size == 1:
        yield ALONE
        return
    kind, _, number = device.partition(":")
    if number:
        raise TrainingError(f"--device {kind}, without a number: each of several processes takes a device of its own")
    if kind == "cuda":
        _take_card(local_rank)
    try:
        store = meeting_place(rank, size, PATIENCE)
        group: dict[str, Any] = {} if store is None else {"store": store, "rank": rank, "world_size": size}
        dist.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=PATIENCE, **group)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"the processes of the training cannot meet: {_first_line(error)}") from error
    try:
        yield Share(rank, size)
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            atexit.register(_end, 1)
            raise TrainingError("another process of the training has ended or cannot be reached") from error
        raise
    # not after an error: the others might never come
    dist.destroy_process_group()


def is_first() -> bool:
    """Whether this process is the first of those that torchrun started, or the only one: the one that writes."""
    return os.environ.get("RANK", "0") == "0"


def leave() -> None:
    """End this process with status 0 if torchrun started it as one of several, else do nothing: to be called when all
    is written. Where the interpreter tears down what is left of a group's threads, torch now and then aborts."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        _end(0)


def _end(status: int) -> None:
    """End the process without the interpreter's teardown."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _take_card(number: int) -> None:
    try:
        torch.cuda.set_device(number)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"--device cuda: there is no card {number}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def processes() -> int:
    """How many processes are joined."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def wait() -> None:
    """Go on when every process has come here."""
    if processes() > 1:
        dist.barrier()


def from_first(value: T) -> T:
    """The first process's value, a plain one, in all of them."""
    if processes() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def from_all(value: T) -> list[T]:
    """Every process's value, plain ones, by rank in all of them."""
    if processes() == 1:
        return [value]
    values: list[Any] = [None] * processes()
    dist.all_gather_object(values, value)
    return values


def mean_of_processes(value: Tensor) -> Tensor:
    """The mean of the processes' values."""
    if processes() == 1:
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / processes()


# --- Losses and batch norm -----------------------------------------------------------------------


class _LossOf(nn.Module):
    """A loss as a module that holds the model it trains, as DistributedDataParallel wants it."""

    def __init__(self, model: nn.Module, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Tensor, *, generator: torch.Generator) -> Tensor:
        return self.loss(batch, generator=generator)


def parallel(loss: Callable[..., Tensor], model: nn.Module) -> Callable[..., Tensor]:
    """The loss, its gradients being the mean of all processes' in those parameters of the model that require them.

    The processes start with the parameters of the first.
    """
    if processes() == 1:
        return loss
    return DistributedDataParallel(_LossOf(model, loss))


class BatchNorm2d(nn.BatchNorm2d):
    """torch's batch norm whose batch is that of all processes; torch's own SyncBatchNorm does not run on a CPU.

    The shares of the processes may differ in size, and be empty.
    """

    def __init__(self, channels: int, momentum: float) -> None:
        super().__init__(channels, momentum=momentum)
        self.share_of_batch = momentum

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if not self.training or processes() == 1:
            return super().forward(input)
        mean, variance, count = _statistics(input)
        unbiased = variance * count / (count - 1).clamp_min(1)
        for running, value in ((self.running_mean, mean), (self.running_var, unbiased)):
            cast(Tensor, running).lerp_(value.float(), self.share_of_batch)
        cast(Tensor, self.num_batches_tracked).add_(1)
        return cast(
            Tensor,
            _Normalise.apply(  # type: ignore[no-untyped-call]
                input, self.weight, self.bias, mean.float(), variance.float(), count.float(), self.eps
            ),
        )


@torch.no_grad()
def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance of each channel (C,) over the batches (B, C, H, W) of all processes, and how many
    values they are of; float64."""
    count = x.numel() // x.shape[1]
    mean = variance = x.new_zeros(x.shape[1], dtype=torch.float64)
    if count:
        # var_mean first: sums of squares in float32 would cancel
        variance, mean = (t.double() for t in torch.var_mean(x.float(), (0, 2, 3), correction=0))
    sums = torch.cat([count * mean, count * (variance + mean.square()), mean.new_full((1,), count)])
    dist.all_reduce(sums)
    total = sums[-1]
    mean, square = (sums[:-1] / total).chunk(2)
    return mean, (square - mean.square()).clamp_min(0), total


class _Normalise(torch.autograd.Function):
    """Batch norm by given statistics, its gradient that of statistics which all processes' batches made."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, count: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(variance + eps), count)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse, count = ctx.saved_tensors
        gradient = gradient.float()
        normal = (x.float() - _by_channel(mean)) * _by_channel(inverse)
        of_bias = gradient.sum((0, 2, 3))
        of_weight = (gradient * normal).sum((0, 2, 3))
        sums = torch.cat([of_bias, of_weight])
        dist.all_reduce(sums)
        mean_gradient, mean_product = (_by_channel(part) for part in (sums / count).chunk(2))
        of_x = (gradient - mean_gradient - normal * mean_product) * _by_channel(weight * inverse)
        return of_x.to(x.dtype), of_weight, of_bias, None, None, None, None


def _by_channel(values: Tensor) -> Tensor:
    """(C,) as (C, 1, 1)."""
    return values[:, None, None]
