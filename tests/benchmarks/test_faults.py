"""The table of faults: every kind of damage is tried, and what comes of it is told apart."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage_for_tests import FILES, content, grown, lone

from bbcompress.archive.signature import ADDING
from bbcompress.images.image import from_array

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    return importlib.import_module("faults")


def test_all_kinds_of_damage_to_one_file(faults: Any) -> None:
    report = faults.run(4, {"raw": FILES["lone fallback, raw"]})
    assert report["bad"] == [] and report["by_fault"].keys() == faults.FAULTS.keys()
    assert all(sum(counts.values()) > 2 for counts in report["by_fault"].values())
    assert report["tried"] == sum(sum(counts.values()) for counts in report["by_fault"].values()) > 200
    assert report["by_file"]["raw"]["refused"] > 150


def test_outcomes(faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, other = FILES["lone fallback, raw"](), lone(from_array(np.zeros((1, 2, 3), np.uint8)))
    first, whole = grown()
    assert faults.outcome(raw, raw, content(raw), "cut short") == ("exact", "")
    assert faults.outcome(raw[:-1], raw, content(raw), "cut short") == ("refused", "")
    assert faults.outcome(first, whole, content(whole), "cut short") == ("beginning", "")
    assert faults.outcome(whole[: len(first) + 9], whole, content(whole), "a byte 00") == ("refused", "")
    broken_off = first + ADDING + whole[len(first) + 3 : len(first) + 9]
    assert faults.outcome(broken_off, whole, content(whole), "a byte 00") == ("beginning", "")
    assert faults.outcome(other, raw, content(raw), "cut short") == ("wrong", "other images")
    assert faults.outcome(other, raw, content(raw), "forged, checksums fit") == ("another sound file", "")

    def fail(data: bytes) -> None:
        raise ValueError("odd")

    monkeypatch.setattr(faults, "content", fail)
    assert faults.outcome(raw, raw, [], "cut short") == ("crashed", "ValueError: odd")
