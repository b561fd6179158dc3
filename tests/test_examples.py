"""The scripts of examples/ run as they stand there."""

from __future__ import annotations

import re
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures_for_tests import quick_calibration  # noqa: F401
from torch_for_tests import needs_torch

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "tests" / "data" / "digits" / "grey"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a script with arguments, as the command line does; gives what it prints."""

    def run(name: str, *arguments: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_bits_back_costs_what_x_does(example: Callable[..., str]) -> None:
    found = re.findall(r"([0-9.]+)(?: bits a level)?$", example("bits_back.py"), re.MULTILINE)
    coded, least, twice = map(float, found)
    assert least < coded < least + 0.02
    assert twice > least + 0.5


@needs_torch
def test_an_archive_is_read_in_batches(example: Callable[..., str], tmp_path: Path) -> None:
    count = len(list(DIGITS.iterdir()))
    lines = example("archive_and_read.py", DIGITS, tmp_path / "set.bbc").splitlines()
    assert lines[0].startswith(f"{count} images: ")
    sizes = [int(size) for line in lines if (size := line.partition(", 1, 28, 28)")[0].removeprefix("(")).isdigit()]
    assert sum(sizes) == count
    assert lines[-1] == "0000.png (28, 28)"


@needs_torch
@pytest.mark.usefixtures("quick_calibration")
@pytest.mark.filterwarnings("ignore:the model:UserWarning")  # trained for one epoch, it codes no image
def test_an_own_model_is_compared(example: Callable[..., str], tmp_path: Path) -> None:
    shots = tmp_path / "shots"
    shots.mkdir()
    for path in sorted(DIGITS.iterdir())[:12]:
        shutil.copy(path, shots)
    printed = example("train_and_compare.py", shots, shots, tmp_path / "run", "1")
    titles = [line.partition(":")[0] for line in printed.splitlines()]
    assert titles[-4:] == ["baseline", "rha", "shipped models", "own model"]


def test_each_example_is_tested() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{path.name}"' in text for path in (ROOT / "examples").glob("*.py"))
