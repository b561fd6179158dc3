"""What processes of a cluster do in tests in place of `make_shard`: they find this module by its name."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from bbcompress.codecs.progress import Progress
from bbcompress.pipeline.sharding.shard import ShardResult, ShardTask, make_shard


def _first_time(task: ShardTask) -> bool:
    """Whether no process has begun this task before."""
    try:
        Path(f"{task.target}-{task.plan.number}.begun").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def make_shard_killed_once(task: ShardTask, progress: Progress | None = None) -> ShardResult:
    """The process is killed when it first makes the second shard."""
    if task.plan.number == 1 and _first_time(task):
        os.kill(os.getpid(), signal.SIGKILL)
    return make_shard(task, progress)


def make_shard_failing_once(task: ShardTask, progress: Progress | None = None) -> ShardResult:
    """Something unexpected is raised when the second shard is made first."""
    if task.plan.number == 1 and _first_time(task):
        raise ZeroDivisionError("of a test")
    return make_shard(task, progress)
