"""Data sets that several runs of a process train on, read once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from bbcompress.training.config import TrainingConfig
from bbcompress.training.datasets import Dataset, load


def data_of(config: TrainingConfig) -> Callable[[], Dataset]:
    """What gives a configuration's data, for `train`; what was read for an earlier one is given again."""
    return lambda: _loaded(config.data, binary=config.binary, any_size=config.any_size, grey=config.grey)


@cache
def _loaded(data: str, **options: Any) -> Dataset:
    return load(data, "", quiet=True, **options)
