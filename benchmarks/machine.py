"""What every results file says of where it was made: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGES = ("bbcompress", "numpy", "numba", "pillow", "imagecodecs")


def environment(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """Machine, the versions of those packages that are installed, and the commit of the code."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "packages": found,
        "commit": commit(),
    }


def commit() -> str:
    """The commit of the code: of the checkout, or what `git archive` has written; empty if there is neither."""
    exported = (HERE / "commit.txt").read_text().strip()
    if not exported.startswith("$"):
        return exported
    try:
        found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    except OSError:
        return ""
    return found.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
