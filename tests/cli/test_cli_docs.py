"""docs/cli.md is what the commands say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bbcompress.cli import main

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_what_the_tool_makes(tmp_path: Path) -> None:
    out = tmp_path / "cli.md"
    subprocess.run([sys.executable, ROOT / "tools" / "make_cli_docs.py", out], check=True)
    made = out.read_text(encoding="utf-8")
    assert made == (ROOT / "docs" / "cli.md").read_text(encoding="utf-8"), "run tools/make_cli_docs.py"
    subprocess.run([sys.executable, ROOT / "tools" / "make_man_page.py", tmp_path / "bbc.1"], check=True)
    manual = (tmp_path / "bbc.1").read_text(encoding="utf-8")
    assert manual == (ROOT / "docs" / "bbc.1").read_text(encoding="utf-8"), "run tools/make_man_page.py"
    for name, command in main.commands.items():
        assert f"\n## bbc {name}\n" in made
        for parameter in command.params:
            assert all(option in made for option in parameter.opts if option.startswith("-"))
