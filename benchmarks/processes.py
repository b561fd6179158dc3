"""What a process costs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any


def cost(command: list[str], **settings: Any) -> dict[str, float]:
    """Seconds of the processor and on the clock, and peak memory in MiB, of a process. It ends the benchmark where it
    fails.

    Args:
        settings: as of `subprocess.Popen`.
    """
    begin = time.perf_counter()
    child = subprocess.Popen(command, **settings)
    _, status, usage = os.wait4(child.pid, 0)
    clock = time.perf_counter() - begin
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(command)}: status {child.returncode}")
    return {
        "processor_s": round(usage.ru_utime + usage.ru_stime, 2),
        "clock_s": round(clock, 2),
        "peak_mib": round(usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)),
    }
