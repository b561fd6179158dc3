"""What a bug report is to say, also of a broken installation."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fixtures_for_tests import tiny_models  # noqa: F401
from models_for_tests import MODELS

from bbcompress.cli import main
from bbcompress.coder import kernel_cache
from bbcompress.exact.backend import NumpyBackend
from bbcompress.system import kernel_files

pytestmark = pytest.mark.usefixtures("tiny_models", "own_cache")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ada lovelace"
    path.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(path))
    return path


@pytest.fixture
def own_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are kept in the home directory."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(home / "cache"))
    for remembered in (kernel_files.place, kernel_cache._prepared):
        monkeypatch.setattr(kernel_files if remembered is kernel_files.place else kernel_cache,
                            remembered.__name__, remembered.__wrapped__)  # fmt: skip


def doctor(*options: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *options], catch_exceptions=False)


def found(*options: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(doctor("--json", *options).output)
    return answer


def test_all_is_well_in_about_ten_lines(home: Path) -> None:
    result = doctor()
    lines = result.output.splitlines()
    assert result.exit_code == 0 and len(lines) == 9
    assert f"numpy {np.__version__}" in lines[0] and "numba " in lines[0]
    assert "arithmetic: exact" in lines
    directory = kernel_cache.directory()
    assert directory is not None and f"compiled kernels: ~/cache/bbcompress/{directory.name}" in lines
    count = len(list(MODELS.iterdir()))
    assert any(line.startswith(f"models: {count} of {count} are right: tiny-") for line in lines)
    assert str(home) not in result.output


def test_json_has_the_same(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(MODELS, home / "models")
    monkeypatch.setenv("BBC_MODELS", str(home / "models"))
    directory = kernel_cache.directory()
    assert directory is not None
    (directory / "kernel.nbc").write_bytes(bytes(1000))
    (directory / "kernel.nbc.tmp.x").write_bytes(bytes(10))
    (directory.parent / "another").mkdir()
    (directory.parent / "another" / "kernel.nbc").write_bytes(bytes(500))
    answer = found()
    assert answer["sound"] and answer["gpu"] is None
    cache = answer["kernel_cache"]
    assert cache["kept"] and cache["writable"] and cache["fault"] is None
    assert (cache["kernels"], cache["bytes"], cache["bytes_of_all_versions"]) == (1, 1000, 1510)
    models = answer["models"]["installed"]
    assert {model["folder"] for model in models} == {f"~/models/{path.name}" for path in (home / "models").iterdir()}
    assert all(len(model["id"]) == 64 and model["fault"] is None for model in models)
    assert answer["blas"]["libraries"] and answer["arithmetic"]["exact"]
    assert home.name not in json.dumps(answer)


def test_a_damaged_model(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(MODELS, home / "models")
    card = home / "models" / "tiny-grey" / "card.json"
    text = json.loads(card.read_text())
    card.write_text(json.dumps({**text, "id": 64 * "0"}))
    result = doctor("-m", str(home / "models"))
    assert result.exit_code == 1
    assert "  tiny-grey is not: ~/models/tiny-grey/model.safetensors is damaged" in result.output
    assert not found("-m", str(home / "models"))["sound"]
    result = doctor("-m", "nothing")
    assert result.exit_code == 1 and "models: there is no model nothing" in result.output


def test_arithmetic_that_is_not_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = NumpyBackend.matmul
    monkeypatch.setattr(NumpyBackend, "matmul", lambda self, a, b: exact(self, a, b) + 1)
    result = doctor()
    assert result.exit_code == 1 and "arithmetic: this machine's float64 matrix product is not exact" in result.output


def test_a_broken_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    result = doctor()
    assert result.exit_code == 1 and "\ncompiled kernels: ModuleNotFoundError: import of numba" in result.output


def test_kernels_that_cannot_be_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "wall").write_bytes(b"")
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(home / "wall"))
    monkeypatch.setattr(kernel_files, "_user_cache", lambda: None)
    result = doctor()
    assert result.exit_code == 0
    assert "  compiled in each run: ~/wall/bbcompress cannot be made: " in result.output


def test_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    assert found("--gpu")["gpu"]["fault"] is None
    # One that there is not: what torch says of it is a line.
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 100)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"Accelerator {number}")
    result = doctor("--gpu")
    assert result.exit_code == 1
    assert "GPU: 100 found" in result.output.splitlines()
    assert "  cuda:99, Accelerator 99: device cuda:99 cannot be used: " in result.output
    monkeypatch.setitem(sys.modules, "torch", None)
    result = doctor("--gpu")
    assert result.exit_code == 1 and "GPU: looking at GPUs " in result.output
