"""Four times the input costs less than eight times the processor time, for the worst inputs of each reader.

A cost that grows with the input is then four times the other, and one that grows with its square 16 times: caches that
become too small, and whatever else the machine does, may double a cost, or halve it, and do not decide.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from costs_for_tests import check_cost
from workloads import WORKLOADS, Workload, cost


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_cost_grows_no_faster_than_the_input(workload: Workload, tmp_path: Path) -> None:
    folders = (tmp_path / str(number) for number in count())

    def at(n: int, repeats: int) -> list[float]:
        return [cost(workload, n, next(folders), repeats)]

    # The larger input costs the most, and runs again only where its first cost is too high.
    check_cost(lambda: at(2 * workload.n, 1), lambda: at(workload.n // 2, 3), 8)
