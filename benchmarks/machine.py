"""What every results file says of where it was made: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bbcompress.system.machine import package_versions, processor_name

HERE = Path(__file__).resolve().parent
PACKAGES = ("bbcompress", "numpy", "numba", "pillow", "imagecodecs")


def environment(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """Machine, the versions of those packages that are installed, and the commit of the code."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "packages": package_versions(packages),
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
