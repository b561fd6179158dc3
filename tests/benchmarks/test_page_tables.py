"""Tables of benchmarks/README.md are those of the measured figures."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("markers", "function", "arguments"),
    [
        ("inputs", "inputs_tables.inputs", ()),
        ("shapes", "shapes_tables.shapes", ()),
        ("weights", "weights_tables.weights", ()),
        ("weights through", "weights_tables.weights", ("weights-through",)),
        ("weights further", "weights_tables.weights", ("weights-further",)),
        ("learning rates", "learning_rate_tables.learning_rates", ()),
        ("small photographs", "small_photographs_tables.small_photographs", ()),
    ],
)
def test_the_page_has_the_table_of_the_results(
    markers: str, function: str, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    module, _, name = function.partition(".")
    page = (BENCHMARKS / "README.md").read_text()
    found = page.partition(f"<!-- {markers} -->")[2].partition(f"<!-- end {markers} -->")[0]
    assert found == f"\n{getattr(importlib.import_module(module), name)(*arguments)}\n"
