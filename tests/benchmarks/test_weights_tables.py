"""The table of other weights is that of the measured figures."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_the_page_has_the_table_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    page = (BENCHMARKS / "README.md").read_text()
    found = page.partition("<!-- weights -->")[2].partition("<!-- end weights -->")[0]
    assert found == f"\n{importlib.import_module('weights_tables').weights()}\n"
