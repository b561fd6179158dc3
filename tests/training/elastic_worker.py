"""A process of test_elastic.py: runs bbc as torchrun starts it, and dies where the test says.

    elastic_worker.py NOTES DEATHS ARGUMENT...

DEATHS has a JSON list of [start, rank, phase, epoch]: in that start by torchrun that process kills itself in the middle
of that epoch; or before it has done anything, where the list has [start, rank, "", 0]. In NOTES each process writes a
line for each epoch that it begins.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from unittest.mock import patch

START, RANK = int(os.environ["TORCHELASTIC_RESTART_COUNT"]), int(os.environ["RANK"])
if [START, RANK, "", 0] in json.loads(sys.argv[2]):  # here, as the imports below take seconds
    os.kill(os.getpid(), signal.SIGKILL)

from torch import Generator, Tensor  # noqa: E402

from bbcompress.__main__ import run as bbc  # noqa: E402
from bbcompress.training import run  # noqa: E402
from bbcompress.training.reporter import Reporter  # noqa: E402
from bbcompress.training.trainer import Trainer  # noqa: E402


def main(notes: Path, deaths: list[list[object]]) -> None:
    run_epoch, step = Trainer.run_epoch, Trainer._step
    steps = 0

    def noting(trainer: Trainer, reporter: Reporter) -> float:
        nonlocal steps
        steps = 0
        with notes.open("a") as file:
            file.write(json.dumps([START, RANK, trainer.phase, trainer.epoch + 1]) + "\n")
        return run_epoch(trainer, reporter)

    def dying(trainer: Trainer, rows: Tensor, generator: Generator) -> Tensor:
        nonlocal steps
        steps += 1
        if steps == 2 and [START, RANK, trainer.phase, trainer.epoch] in deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(trainer, rows, generator)

    patch.object(Trainer, "run_epoch", noting).start()
    patch.object(Trainer, "_step", dying).start()
    run.train = partial(run.train, save_seconds=0)  # a checkpoint after each epoch


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
    del sys.argv[1:3]
    bbc()
