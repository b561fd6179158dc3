"""Write craystack_messages.json: messages that craystack made, which bbcompress.coder.ans must make and read.

Needs craystack on the path, github.com/j-towns/craystack at commit 992e14d1ecedb1de56eba041bc2d7b72d1084ef3.
Only its rans.py is used, and loaded as a file: the package imports autograd, which is not needed here. Run

    python tests/golden/make_craystack_messages.py PATH_OF_CRAYSTACK_CHECKOUT

Each case is a message of random heads, onto which whole steps of one symbol per lane were pushed in turn. A
step is [precision, starts, freqs]; `first` and `last` are the flattened message before and after, big-endian
words in hex.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

CASES = [  # seed, lanes, steps, precisions taken in turn
    (1, 1, 60, [16]),
    (2, 2, 40, [1]),
    (3, 4, 40, [8, 16, 24]),
    (4, 7, 20, [12, 24, 1, 23]),
    (5, 16, 15, [16]),
    (6, 33, 6, [24]),
    (7, 1, 0, [8]),
]


def load_rans(checkout: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("rans", checkout / "craystack" / "rans.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_case(rans: Any, seed: int, lanes: int, n_steps: int, precisions: list[int]) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    heads = rng.integers(1 << 31, 1 << 63, lanes, dtype=np.uint64)
    heads[0] = [1 << 31, (1 << 63) - 1][seed % 2]
    message = heads, ()
    first = rans.flatten(message)
    steps = []
    for i in range(n_steps):
        precision = precisions[i % len(precisions)]
        total = 1 << precision
        # Frequencies of all sizes: also 1, total - 1 and, with the certain symbol, total.
        freqs = np.minimum(2 ** rng.uniform(0, precision, lanes), total - 1).astype(np.int64)
        freqs[rng.random(lanes) < 0.1] = [1, total - 1, total][i % 3]
        starts = rng.integers(0, total - freqs + 1)
        message = rans.push(message, starts.astype(np.uint64), freqs.astype(np.uint64), precision)
        steps.append([precision, starts.tolist(), freqs.tolist()])
    return {
        "lanes": lanes,
        "first": first.astype(">u4").tobytes().hex(),
        "steps": steps,
        "last": rans.flatten(message).astype(">u4").tobytes().hex(),
    }


def main() -> None:
    rans = load_rans(Path(sys.argv[1]))
    cases = [make_case(rans, *case) for case in CASES]
    target = Path(__file__).with_name("craystack_messages.json")
    target.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")
    print(f"{target}: {len(cases)} messages")


if __name__ == "__main__":
    main()
