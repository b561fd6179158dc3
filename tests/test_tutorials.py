"""The commands of the tutorial on photographs run one after the other."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from bbcompress.cli import main

ROOT = Path(__file__).resolve().parents[1]


def test_photographs(no_models: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "models" / "photo", tmp_path / "models" / "photo")
    monkeypatch.setenv("BBC_MODELS", str(tmp_path / "models"))
    Path("shots").mkdir()
    with Image.open(ROOT / "tests" / "data" / "photos" / "landscape.png") as picture:
        for number in range(3):
            picture.convert("RGB").crop((20 * number, 40, 20 * number + 32, 64)).save(f"shots/{number}.png")
        picture.convert("RGB").crop((90, 40, 122, 64)).save("new.png")
    text = (ROOT / "docs" / "tutorials" / "photographs.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    \$ bbc (.*)$", text, re.MULTILINE)
    for line in commands:
        result = CliRunner().invoke(main, shlex.split(line))
        assert result.exit_code == 0, (line, result.output)
    assert len(commands) == 11
    assert [path.name for path in sorted(Path("back").iterdir())] == ["0.png", "1.png", "2.png"]
    assert [path.name for path in Path("some").iterdir()] == ["1.png"]
    assert Path("heat.png").stat().st_size and Path("sheet.html").stat().st_size


def test_commands_of_all_pages_have_the_options_that_they_name() -> None:
    """Most are run by a test of their page; those that take minutes are only parsed."""
    pages = [ROOT / "README.md", *(path for path in (ROOT / "docs").rglob("*.md") if path.name != "cli.md")]
    command_line = re.compile(r"^    (?:\$ )?bbc (.*)$", re.MULTILINE)
    lines = [line for page in pages for line in command_line.findall(page.read_text(encoding="utf-8"))]
    assert len(lines) > 80
    for line in lines:
        command: click.Command = main
        arguments = shlex.split(line, comments=True)
        context = click.Context(command, info_name="bbc")
        while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
            found = command.get_command(context, arguments[0])
            assert found is not None, line
            context = click.Context(found, parent=context, info_name=arguments.pop(0))
            command = found
        command.make_parser(context).parse_args(arguments)
