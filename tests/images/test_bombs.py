"""Images that claim, or unpack to, far more than they should: refused, or read, in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("a process cannot tell its peak memory here", allow_module_level=True)

from bombs_worker import BOMBS, MAX_PIXELS

WORKER = Path(__file__).resolve().parents[1] / "support" / "bombs_worker.py"
MOST_MB = 100
"""An image of so many pixels as are allowed takes 16 MB at least; records of metadata may take as much."""

READ = {"PNG of one pixel with much data", "PNG, zTXt", "PNG, iTXt", "PNG, iCCP", "PNG, many zTXt"}
READ |= {"TIFF tag of many values", "TIFF tag of many numbers", "TIFF of endless pages"}
"""Their pixels are sound; what is too much beside these is left out."""


def test_bombs_cost_little_memory() -> None:
    done = subprocess.run([sys.executable, str(WORKER)], capture_output=True, text=True, check=True, timeout=300)
    found = {name: (error, memory) for name, error, memory in map(json.loads, done.stdout.splitlines())}
    assert found.keys() == BOMBS.keys()
    for name, (error, memory) in found.items():
        assert memory < MOST_MB, name
        assert bool(error) == (name not in READ), (name, error)
        assert not error or (error.startswith("it: ") and len(error.splitlines()) == 1)
    assert f"the limit of {MAX_PIXELS}" in found["PNG above the limit"][0]
