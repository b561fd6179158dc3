"""What a command imports: torch takes seconds, and most commands do without."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bbcompress.cli import MODULES, main

DIGIT = Path(__file__).resolve().parent / "data" / "digits" / "binary" / "0000.png"

MAX_BYTES_BY_MODEL = 64
"""A digit that a model coded is smaller; the fallback needs 98 bytes for 784 bits."""

PROGRAM = """
import json, sys
from bbcompress.__main__ import run
try:
    run()
finally:
    with open("modules.json", "w") as file:
        json.dump(sorted(sys.modules), file)
"""


def imported_by(folder: Path, *arguments: str) -> set[str]:
    """The modules in memory when `bbc ARGUMENTS` ends, run in `folder`."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(json.loads((folder / "modules.json").read_text()))


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_slow(option: str, tmp_path: Path) -> None:
    assert not {"torch", "numba", "numpy", "PIL"} & imported_by(tmp_path, option)


@pytest.mark.parametrize("command", ["compress", "decompress", "train", "explain"])
def test_help_of_a_command_imports_nothing_slow(command: str, tmp_path: Path) -> None:
    assert not {"torch", "numba", "numpy", "PIL"} & imported_by(tmp_path, command, "--help")


def test_compress_and_decompress_never_import_torch(tmp_path: Path) -> None:
    (tmp_path / "digit.png").write_bytes(DIGIT.read_bytes())
    for arguments in (("compress", "digit.png", "-K", "1"), ("decompress", "digit.bbc", "-o", "back.png")):
        modules = imported_by(tmp_path, *arguments)
        assert {"numpy", "PIL"} <= modules  # the list is that of the process that did the work
        assert "torch" not in modules
    assert (tmp_path / "digit.bbc").stat().st_size < MAX_BYTES_BY_MODEL


def test_a_thumbnail_from_a_preview_imports_nothing_slow(tmp_path: Path) -> None:
    """Of a file of one image, and of one of many: file managers ask for one after the other."""
    streams = Path(__file__).resolve().parent / "golden" / "streams"
    for name, only in (("lone-preview", ()), ("previews", ("--only", "b1.png"))):
        modules = imported_by(tmp_path, "thumbnail", str(streams / f"{name}.bbc"), *only, "-o", f"{name}.png")
        assert "PIL" in modules and (tmp_path / f"{name}.png").exists()
        assert not {"torch", "numba", "numpy", "fsspec", "multiprocessing", "rich"} & modules
        assert not {"bbcompress.models", "bbcompress.codecs", "bbcompress.pipeline.reader"} & modules
        assert "bbcompress.cli.thumbnail" in modules
        slow = {"bbcompress.cli.compress", "subprocess", "hashlib", "concurrent.futures"}
        assert only or not slow & modules


def test_each_command_is_in_the_module_that_is_imported_for_it() -> None:
    assert {name: command.callback.__module__ for name, command in main.commands.items() if command.callback} == {
        name: f"bbcompress.cli.{module}" for module, names in MODULES.items() for name in names
    }


def test_doctor_imports_torch_for_gpus_alone(tmp_path: Path) -> None:
    modules = imported_by(tmp_path, "doctor")
    assert "numba" in modules and "torch" not in modules
