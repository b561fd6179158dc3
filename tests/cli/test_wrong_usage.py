"""What each wrong usage of the command line is answered with: wrong_usage.txt has the line and the exit status.

The file is written anew by `python tests/cli/test_wrong_usage.py`. Read what changed there: each line has to tell
someone who sees bbc for the first time what to do.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from click.testing import CliRunner
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from models_for_tests import MODELS

import bbcompress as bbc
from bbcompress.cli import main

TABLE = Path(__file__).with_name("wrong_usage.txt")
DIGITS = Path(__file__).resolve().parents[1] / "data" / "digits" / "binary"
NOTICE = "bbc: compiling kernels"


def put_files() -> None:
    """What the commands of the table name, in the working directory."""
    for folder in ("set", "empty"):
        Path(folder).mkdir()
    for number, path in enumerate(("a.png", "b.png", "set/c.png")):
        shutil.copy(DIGITS / f"{number:04}.png", path)
    bbc.write("set.bbc", {"c.png": bbc.read_image("set/c.png")}, model=MODELS / "tiny-binary")
    bbc.write("carries.bbc", {"c.png": bbc.read_image("set/c.png")}, model=MODELS / "tiny-binary", embed_model=True)
    lone = bbc.compress(bbc.read_image("a.png"), model=MODELS / "tiny-binary")
    Path("lone.bbc").write_bytes(lone)
    Path("cut.bbc").write_bytes(lone[:-9])
    Path("stored.bbc").write_bytes(bbc.compress(np.arange(64, dtype=np.uint8).reshape(8, 8))[:-9])
    Path("half.bbc").write_bytes(Path("set.bbc").read_bytes()[:-30])


def contents() -> dict[str, bytes | None]:
    """All files and folders of the working directory."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in Path().rglob("*")}


def answer(command: str) -> str:
    """Exit status and stderr of a command that is used wrongly: it prints nothing, and leaves what was there."""
    before = contents()
    result = CliRunner().invoke(main, shlex.split(command)[1:], prog_name="bbc")
    assert isinstance(result.exception, SystemExit), result.exception
    assert (result.stdout_bytes, contents()) == (b"", before)
    prefix = "bbc: error: "
    (line,) = (line for line in result.stderr.splitlines() if not line.startswith(NOTICE))
    assert line.startswith(prefix)
    return f"{result.exit_code} {line.removeprefix(prefix)}"


def table() -> list[tuple[str, str]]:
    """Commands, and the answers that they ought to have."""
    lines = [line for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
    return [(line.removeprefix("$ "), lines[at + 1]) for at, line in enumerate(lines) if line.startswith("$ ")]


@pytest.mark.usefixtures("tiny_models", "empty_folder")
def test_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", os.path.abspath("home"))
    put_files()
    expected = table()
    assert len(expected) >= 40
    assert [(command, answer(command)) for command, _ in expected] == expected


def test_each_line_can_be_read_by_itself() -> None:
    """A wrong use says where to read on; and no line has words that only programs know."""
    for command, line in table():
        status, _, text = line.partition(" ")
        assert status in ("1", "2"), command
        assert (status == "2") == text.endswith("--help')"), command
        for word in ("Errno", "Traceback", "None", "NoneType", "deserializ", "integer range", "float range"):
            assert word not in text, command


def _write_anew() -> None:
    head = [line for line in TABLE.read_text().splitlines() if line.startswith("#")]
    commands = [command for command, _ in table()]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        variables = {"BBC_MODELS": str(MODELS), "XDG_DATA_HOME": f"{folder}/home"}
        shipped = mock.patch("bbcompress.models.zoo.shipped_model_folders", list)
        with mock.patch.dict(os.environ, variables), shipped:
            put_files()
            TABLE.write_text("\n".join([*head, *(f"\n$ {command}\n{answer(command)}" for command in commands), ""]))


if __name__ == "__main__":
    _write_anew()
