"""Twice the input costs less than three times the processor time, for the worst inputs of each reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from workloads import WORKLOADS, Workload, cost


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_cost_grows_no_faster_than_the_input(workload: Workload, tmp_path: Path) -> None:
    for attempt in range(3):  # a busy machine may disturb one of the two
        once, twice = (cost(workload, factor * workload.n, tmp_path / f"{attempt}-{factor}") for factor in (1, 2))
        if twice < 3 * max(once, 0.01):
            return
    pytest.fail(f"{workload.n} {workload.unit}: {once:.3f} s, twice as many: {twice:.3f} s")
