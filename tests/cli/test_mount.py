"""`bbc mount`: what it refuses; that it mounts is tested with the page on storage, where FUSE is installed."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401

import bbcompress as bbc
from bbcompress.cli import main
from bbcompress.system.signals import SIGNALS

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")


def mount(*arguments: str) -> str:
    """The one line that it ends with."""
    result = CliRunner().invoke(main, ["mount", *arguments], prog_name="bbc")
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    return line.removeprefix("bbc: error: ")


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.fuse", None)
    line = mount("a.bbc", "folder")
    assert line.startswith("bbc mount needs FUSE (") and "pip install 'bbcompress[remote]' fusepy" in line


def test_wrong_use_mounts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec")
    mounted = []
    unhandled = [signal.getsignal(number) for number in SIGNALS[1:]]

    def run(system: Any, path: str, folder: str) -> None:
        mounted.append((system.ls(path, detail=False), system.info("a.png")["size"] > 0, folder))
        assert [signal.getsignal(number) for number in SIGNALS[1:]] == unhandled  # FUSE takes those that nobody handles
        raise RuntimeError(1)

    module = ModuleType("fsspec.fuse")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fsspec.fuse", module)
    bbc.write("a.bbc", {"a.png": np.zeros((3, 4), np.uint8)}, effort=1)
    Path("folder").mkdir()
    Path("full").mkdir()
    Path("full/x").touch()
    assert mount("a.bbc", "full") == "full: is not empty"
    assert mount("a.bbc", "no") == "no: cannot be listed: No such file or directory"
    assert mount("full/x", "folder") == "full/x: the file is not a .bbc file"
    assert mount("b.bbc", "folder") == "b.bbc: cannot be read: No such file or directory"
    assert mounted == []
    assert mount("-q", "a.bbc", "folder") == "folder: cannot be mounted (FUSE says 1)"
    assert mounted == [(["a.png"], True, "folder")]
