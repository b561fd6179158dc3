"""The scripts of examples/ run as they stand there."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "tests" / "data" / "digits" / "grey"


def example(name: str, *arguments: str | Path) -> str:
    """What a script prints."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bits_back_costs_what_x_does() -> None:
    found = re.findall(r"([0-9.]+)(?: bits a level)?$", example("bits_back.py"), re.MULTILINE)
    coded, least, twice = map(float, found)
    assert least < coded < least + 0.02
    assert twice > least + 0.5


def test_an_archive_is_read_in_batches(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    count = len(list(DIGITS.iterdir()))
    lines = example("archive_and_read.py", DIGITS, tmp_path / "set.bbc").splitlines()
    assert lines[0].startswith(f"{count} images: ")
    sizes = [int(size) for line in lines if (size := line.partition(", 1, 28, 28)")[0].removeprefix("(")).isdigit()]
    assert sum(sizes) == count
    assert lines[-1] == "0000.png (28, 28)"


@pytest.mark.filterwarnings("ignore:the model:UserWarning")  # trained for one epoch, it codes no image
def test_an_own_model_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its settings are calibrated on one image, which would take minutes otherwise."""
    pytest.importorskip("torch")
    from bbcompress.training.architectures.mlp import export

    quick = partial(export.calibrate, direct=1, rates=(20_000,), refined=1)  # type: ignore[attr-defined]
    monkeypatch.setattr(export, "calibrate", lambda weights, x, *_, **__: quick(weights, x[:4]))
    shots = tmp_path / "shots"
    shots.mkdir()
    for path in sorted(DIGITS.iterdir())[:12]:
        shutil.copy(path, shots)
    main = runpy.run_path(str(ROOT / "examples" / "train_and_compare.py"))["main"]
    main(str(shots), str(shots), str(tmp_path / "run"), "1")
    titles = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert titles[-4:] == ["baseline", "rha", "shipped models", "own model"]


def test_each_example_is_tested() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{path.name}"' in text for path in (ROOT / "examples").glob("*.py"))
