from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from fixtures_for_tests import calibrate_quickly

DIGITS = Path(__file__).resolve().parents[1] / "data" / "digits" / "binary"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small training run of binary digits, with its exact model and its page."""
    pytest.importorskip("torch")
    from bbcompress.cli import main

    out = tmp_path_factory.mktemp("runs") / "digits"
    words = ["train", "--data", DIGITS, "--binary", "--latents", "3", "--hidden", "8", "--batch", "30", "--epochs", "6",
             "--encoder-epochs", "5", "--threads", "1", "-o", out, "--name", "<b>digits</b>"]  # fmt: skip
    with pytest.MonkeyPatch.context() as changed:
        calibrate_quickly(changed)
        result = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert f"{out / 'report.html'} shows the run" in result.output
    assert json.loads((out / "card.json").read_text(encoding="utf-8"))["name"] == "<b>digits</b>"
    return out
