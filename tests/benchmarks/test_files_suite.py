"""Test images of others: what the benchmark says of some that are kept, refused, or would be wrong."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbcompress.pipeline.compressor import Compressor
from bbcompress.pipeline.options import Options

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"


@pytest.fixture(autouse=True)
def path_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts put the tests' folders in front."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("files_suite")


@pytest.fixture
def compressor() -> Compressor:
    return Compressor(Options(model=DATA / "models", verify=False))


def test_png_suite(suite: Any, compressor: Compressor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("basn0g01", "basi2c16", "tbbn3p08", "xs1n0g01"):
        shutil.copy(DATA / "pngsuite" / f"{name}.png", tmp_path)
    expected = json.loads((DATA / "pngsuite" / "rgba.json").read_text())
    monkeypatch.setattr(suite, "SUITE", tmp_path)
    for seen, outcome in ((expected, "kept"), ({**expected, "basi2c16": "another"}, "wrong")):
        (tmp_path / "rgba.json").write_text(json.dumps(seen))
        rows = {row.name: row for row in suite.png_suite(compressor)}
        assert [rows[name].outcome for name in ("basn0g01", "tbbn3p08", "xs1n0g01")] == ["kept", "kept", "refused"]
        assert rows["basi2c16"].outcome == outcome
        assert rows["basi2c16"].mode == "RGB;16" and rows["tbbn3p08"].coder == "PNG"
        assert rows["xs1n0g01"].why and rows["basn0g01"].coded_size > 0


def test_folders(suite: Any, compressor: Compressor, tmp_path: Path) -> None:
    picture = Image.fromarray(np.arange(60, dtype=np.uint8).reshape(6, 10))
    (tmp_path / "in").mkdir()
    picture.save(tmp_path / "in" / "one.png")
    picture.save(tmp_path / "two.gif", save_all=True, append_images=[picture.rotate(180)])
    (tmp_path / "bad.bmp").write_bytes(b"BM, and nothing else")
    (tmp_path / "notes.txt").write_text("no image")
    rows = {row.name: row for row in suite.folder(tmp_path, compressor, 1000)}
    assert {name: row.outcome for name, row in rows.items()} == {
        "in/one.png": "kept", "two.gif": "kept", "bad.bmp": "refused"
    }  # fmt: skip
    assert rows["two.gif"].frames == 2 and "several pages" in rows["two.gif"].why
    assert suite.summary(list(rows.values()))["by_suffix"][".bmp"] == {"refused": 1}


def test_what_does_not_come_back_is_wrong(suite: Any, compressor: Compressor, monkeypatch: pytest.MonkeyPatch) -> None:
    path = DATA / "pngsuite" / "basn0g01.png"
    other = compressor.lone(suite.read_image(DATA / "pngsuite" / "basn2c08.png"))[0]
    monkeypatch.setattr(suite, "code", lambda *_: (other, "raw"))
    row = suite.check(path, "it", compressor)
    assert (row.outcome, row.why) == ("wrong", "did not come back")


def test_tables_of_the_committed_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    text = importlib.import_module("robustness_tables").robustness()
    assert text in (ROOT / "benchmarks" / "README.md").read_text()
    results = ROOT / "benchmarks" / "results"
    suites = json.loads((results / "files-suite.json").read_text())["suites"]
    assert suites and all(suite["summary"]["wrong"] == 0 for suite in suites.values())
    assert json.loads((results / "faults.json").read_text())["bad"] == []
