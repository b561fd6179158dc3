"""Tables of benchmarks/README.md are those of the measured figures."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize("name", ["inputs", "shapes", "weights"])
def test_the_page_has_the_table_of_the_results(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    page = (BENCHMARKS / "README.md").read_text()
    found = page.partition(f"<!-- {name} -->")[2].partition(f"<!-- end {name} -->")[0]
    assert found == f"\n{getattr(importlib.import_module(f'{name}_tables'), name)()}\n"


def test_the_page_has_the_table_of_training_through_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    page = (BENCHMARKS / "README.md").read_text()
    found = page.partition("<!-- weights through -->")[2].partition("<!-- end weights through -->")[0]
    assert found == f"\n{importlib.import_module('weights_tables').weights('weights-through')}\n"
