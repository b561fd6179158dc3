"""The tables of docs/scale.md are those that are computed from the measured figures."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    return importlib.import_module("scale")


def test_the_page_has_the_tables_of_the_results(scale: Any) -> None:
    results = json.loads((ROOT / "benchmarks" / "results" / "cluster.json").read_text())
    page = (ROOT / "docs" / "scale.md").read_text().partition(scale.MARKERS[0])[2].partition(scale.MARKERS[1])[0]
    expected = [scale.measured(results), scale.projected(results), scale.where(results)]
    assert page == "\n" + "\n\n".join(expected) + "\n"


def test_numbers_are_those_that_people_read(scale: Any) -> None:
    assert [scale.amount(value) for value in (0.1234, 12.34, 999, 1000, 123456, 10**9)] == [
        "0.123", "12.3", "999", "1 x 10^3", "1.2 x 10^5", "1 x 10^9"]  # fmt: skip
    assert [scale.size(value) for value in (500, 1234, 5.6e7, 3.2e8, 7e12)] == [
        "0.5 kB", "1.2 kB", "56 MB", "320 MB", "7000 GB"]  # fmt: skip


def test_shards_are_counted_as_they_are_cut(scale: Any) -> None:
    assert scale.shards_of(10**7, 28 * 28) == -(-(10**7) // 85598)
    assert scale.shards_of(100, 12_000_000) == 20
    assert scale.shards_of(7, 10**9) == 7
