"""Twice the input costs less than three times the processor time, for the worst inputs of each reader."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from costs_for_tests import check_cost
from workloads import WORKLOADS, Workload, cost


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_cost_grows_no_faster_than_the_input(workload: Workload, tmp_path: Path) -> None:
    folders = (tmp_path / str(number) for number in count())

    def at(n: int) -> list[float]:
        return [cost(workload, n, next(folders))]

    check_cost(lambda: at(2 * workload.n), lambda: at(workload.n), 3)
