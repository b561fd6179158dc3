"""Runs a target under atheris (https://github.com/google/atheris), which is built on libFuzzer.

    python tests/fuzz/fuzz_container.py tests/fuzz/corpus/container [-max_total_time=SECONDS] [other flags of libFuzzer]

New inputs go into the first folder that is named. An input that is a finding is written to `crash-...`, `timeout-...`
or `oom-...` in the current folder; `python tests/fuzz/fuzz_container.py FILE` runs it again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from random import Random

SECONDS, MEGABYTES = 20, 2000
"""Most that an input may take: of time, and of memory the whole process."""

MAX_BYTES = 1 << 14

TESTS = Path(__file__).resolve().parents[1]

PACKAGE = TESTS.parent / "bbcompress"


def kernels() -> list[str]:
    """The modules of what Numba compiles, which must stay as it is."""
    paths = (path.relative_to(PACKAGE.parent) for path in sorted(PACKAGE.rglob("*kernels.py")))
    return [".".join(path.with_suffix("").parts) for path in paths]


def fuzz(target: str, mutated: str) -> None:
    """Fuzz the target of that name. mutated: the function of `fuzz_structure` that changes its inputs."""
    import atheris

    sys.path.insert(0, str(TESTS / "support"))
    with atheris.instrument_imports(["bbcompress"], kernels()):
        targets, structure, damage = map(import_module, ("fuzz_targets", "fuzz_structure", "damage_for_tests"))
    change: Callable[..., bytes] = getattr(structure, mutated)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        return change(data, lambda part: bytes(atheris.Mutate(part, len(part) + 32)), Random(seed))[:most]

    limits = [f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={MAX_BYTES}"]
    atheris.Setup([sys.argv[0], *limits, *sys.argv[1:]], targets.TARGETS[target], custom_mutator=mutate)
    for make in damage.FILES.values():  # models are loaded and kernels compiled before the first input, not in it
        targets.decode(make())
    atheris.Fuzz()
