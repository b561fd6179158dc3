"""bbc runs: what is there, from the small files of each run, damaged and unfinished ones among them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bbcompress.cli import main


def bbc(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def write(folder: Path, config: dict[str, Any], **files: Any) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architecture": "local", "data": "shots", **config}))
    for name, content in files.items():
        suffix = "jsonl" if name == "train" else "json"
        text = "\n".join(map(json.dumps, content)) if name == "train" else json.dumps(content)
        (folder / f"{name}.{suffix}").write_text(text)


def metrics(baseline: float, rha: float) -> dict[str, Any]:
    return {
        "test_images": 13, "baseline_test_bpd": baseline, "rha_test_bpd": rha, "seconds": {"vae": 90.0, "rha": 30.0},
    }  # fmt: skip


def test_runs_are_listed_and_compared(tmp_path: Path) -> None:
    worse = {"name": "worse", "init": "photo"}
    write(tmp_path / "a", worse, metrics=metrics(2.6, 2.61), worth={"gain": -0.012})
    (tmp_path / "a/model.safetensors").write_bytes(b"")
    write(tmp_path / "b", {"name": "better"}, metrics=metrics(2.5, 2.52))
    lines = [
        {"phase": "vae", "epoch": 1, "test_bpd": 3.0},
        {"phase": "vae", "epoch": 2, "test_bpd": 2.9, "test_bpd_averaged": 2.8},
        {"phase": "vae", "epoch": 3},
    ]
    write(tmp_path / "c", {"name": "stopped", "binary": True}, train=lines)
    write(tmp_path / "d", {"name": "begun", "data": "a"})
    (tmp_path / "other").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.json").write_text("{")
    result = bbc("runs", tmp_path, "--json")
    assert result.exit_code == 0
    found = {run["name"]: run for run in json.loads(result.stdout)}
    assert list(found) == ["begun", "better", "worse", "stopped"]
    assert found["worse"]["state"] == "finished"
    assert (found["worse"]["minutes"], found["worse"]["gain"], found["worse"]["init"]) == (2.0, -0.012, "photo")
    assert (found["better"]["state"], found["better"]["baseline"]) == ("not exported", 2.5)
    assert (found["stopped"]["state"], found["stopped"]["test"]) == ("vae, epoch 3", 2.8)
    assert (found["begun"]["state"], found["begun"]["test"]) == ("begun", None)
    text = bbc("runs", tmp_path).stdout.splitlines()
    assert len(text) == 5
    assert text[0].split()[:2] == ["run", "architecture"]
    assert "2.5000" in text[2] and "-1.2 %" in text[3] and "2.8000" in text[4]


def test_a_run_by_itself_and_none(tmp_path: Path) -> None:
    write(tmp_path / "a", {}, metrics=metrics(2.6, 2.6))
    (run,) = json.loads(bbc("runs", tmp_path / "a", "--json").stdout)
    assert run["name"] == "a"
    (tmp_path / "empty").mkdir()
    result = bbc("runs", tmp_path / "empty")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "there is no run in" in result.stderr
    assert json.loads(bbc("runs", tmp_path / "empty", "--json").stdout) == []
    missing = bbc("runs", tmp_path / "none")
    assert (missing.exit_code, missing.stderr.count("\n")) == (1, 1)


def test_where_nothing_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = bbc("runs")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "bbc: there is no run in runs\n")
    assert json.loads(bbc("runs", "--json").stdout) == []
    write(tmp_path / "runs/a", {}, metrics=metrics(2.6, 2.6))
    assert [run["name"] for run in json.loads(bbc("runs", "--json").stdout)] == ["a"]
    (tmp_path / "b").write_text("")
    assert bbc("runs", "b").exit_code == 1


def test_names_do_not_steer_the_terminal(tmp_path: Path) -> None:
    write(tmp_path / "a", {"data": "\x1b[31mred"}, metrics=metrics(2.6, 2.6))
    assert "\x1b" not in bbc("runs", tmp_path).stdout


def test_torch_is_not_needed(tmp_path: Path) -> None:
    write(tmp_path / "a", {}, metrics=metrics(2.6, 2.6))
    code = (
        "import sys; from bbcompress.cli import main; "
        f"main(['runs', {str(tmp_path)!r}], standalone_mode=False); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
