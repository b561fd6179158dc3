"""docs/formats.md names tests that there are, in each row; or `-` for what a libjpeg may or may not have."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PAGE = TESTS.parent / "docs" / "formats.md"


def test_every_row_names_tests_that_there_are() -> None:
    sources = [path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py")]
    defined = {name for source in sources for name in re.findall(r"^def (test_\w+)", source, re.MULTILINE)}
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    heads = {line for line, following in pairwise(lines) if following.startswith("|---")}
    rows = [line for line in lines if line.startswith("| ") and line not in heads]
    assert rows
    for row in rows:
        named = set(re.findall(r"\b(test_\w+)\b(?!\.py)", row))
        assert (named or row.endswith("| - |")) and named <= defined, row
