"""Speed of the ANS coder: millions of symbols a second, on one core, by number of lanes.

    python benchmarks/coder_speed.py [--symbols N] [--out FILE.json]

Each figure is the best of five runs, checks of the arguments included.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment

from bbcompress.coder.ans import Message

PRECISION = 16
ALPHABET = 256
RUNS = 5


def best_seconds(prepare: Callable[[], Message], action: Callable[[Message], Any]) -> float:
    """The shortest time of `action` on a fresh message; one run before compiles the kernel."""
    action(prepare())
    times = []
    for _ in range(RUNS):
        message = prepare()
        begin = time.perf_counter()
        action(message)
        times.append(time.perf_counter() - begin)
    return min(times)


def measure(lanes: int, n: int) -> dict[str, float]:
    """Millions of symbols a second of each operation."""
    rng = np.random.default_rng(0)
    total = 1 << PRECISION
    freq1 = rng.integers(1, total, n)
    bits = (rng.integers(0, total, n) < freq1).astype(np.int64)
    inner = np.sort(rng.choice(np.arange(1, total), ALPHABET - 1, replace=False))
    cdf = np.concatenate([[0], inner, [total]])
    symbols = np.searchsorted(cdf, rng.integers(0, total, n), side="right") - 1
    starts, freqs = cdf[symbols], np.diff(cdf)[symbols]

    empty = Message.empty(lanes)
    pushed, pushed_bits, pushed_uniform = empty.copy(), empty.copy(), empty.copy()
    pushed.push(starts, freqs, PRECISION)
    pushed_bits.push_bernoulli(bits, freq1, PRECISION)
    pushed_uniform.push_uniform(symbols, 8)
    seconds = {
        "push": best_seconds(empty.copy, lambda m: m.push(starts, freqs, PRECISION)),
        "pop_cdf": best_seconds(pushed.copy, lambda m: m.pop_cdf(cdf, PRECISION, n)),
        "push_bernoulli": best_seconds(empty.copy, lambda m: m.push_bernoulli(bits, freq1, PRECISION)),
        "pop_bernoulli": best_seconds(pushed_bits.copy, lambda m: m.pop_bernoulli(freq1, PRECISION)),
        "pop_uniform": best_seconds(pushed_uniform.copy, lambda m: m.pop_uniform(n, 8)),
    }
    return {name: round(n / s / 1e6, 1) for name, s in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=400_000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    results = {lanes: measure(lanes, args.symbols) for lanes in (1, 4, 16, 64)}
    print("lanes  " + "  ".join(f"{name:>14}" for name in results[1]) + "  (million symbols/s)")
    for lanes, row in results.items():
        print(f"{lanes:5}  " + "  ".join(f"{value:14.1f}" for value in row.values()))
    if args.out:
        report = {
            "environment": environment(("bbcompress", "numpy", "numba", "llvmlite")),
            "symbols": args.symbols,
            "million_symbols_per_second": results,
        }
        args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
