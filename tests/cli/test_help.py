"""What the help says, and what a wrong word is answered with."""

from __future__ import annotations

import inspect

import click
import pytest
from click.testing import CliRunner

from bbcompress.cli import main
from bbcompress.cli.help import OPTION_GROUPS, SECTIONS
from bbcompress.cli.messages import human, size_of


def shown(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(main, arguments, prog_name="bbc")
    assert result.exit_code == status, result.output
    return result.output


def test_every_command_has_its_place() -> None:
    names = [name for lines in SECTIONS.values() for name in lines]
    assert sorted(names) == sorted(main.commands)
    text = shown("--help")
    positions = [text.index(f"\n{heading}:\n") for heading in (*SECTIONS, "Examples", "Exit status")]
    assert positions == sorted(positions)
    assert "..." not in text.partition("[ARGS]...")[2] and all(f"  {name} " in text for name in names)
    assert text.count("\n  bbc ") == 5


def test_help_of_a_command_by_both_ways() -> None:
    for name in main.commands:
        assert shown("help", name) == shown(name, "--help")
    assert shown("help") == shown("--help")


def test_every_option_is_shown_once_under_a_heading() -> None:
    known = {name for names in OPTION_GROUPS.values() for name in names.split()}
    for name, command in main.commands.items():
        text = shown(name, "--help")
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert text.count(f"{parameter.opts[-1]}") >= 1
                assert parameter.name in known, f"{name}: {parameter.name} has no heading in bbcompress/cli/help.py"
    text = shown("compress", "-h")
    assert text.index("Input and output:") < text.index("Model and coding:") < text.index("Messages:")
    assert inspect.cleandoc(main.commands["compress"].help or "")


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["comprss"], "compress"),
        (["help", "lst"], "list"),
        (["compress", "x", "--stp", "3"], "--steps"),
        (["infos", "x"], "info"),
    ],
)
def test_the_near_word_is_suggested(arguments: list[str], near: str) -> None:
    text = shown(*arguments, status=2)
    assert text.count("\n") == 1 and near in text.partition("(try ")[0].replace(arguments[0], "", 1)


def test_nothing_is_like_it() -> None:
    assert shown("qqqq", status=2) == "bbc: error: there is no command 'qqqq' (try 'bbc --help')\n"


def test_sizes_as_people_read_them() -> None:
    sizes = [0, 999, 1000, 1234, 9949, 9951, 999_499, 999_501, 5_600_000, 10**10, 2 * 10**12]
    expected = ["0 B", "999 B", "1.0 kB", "1.2 kB", "9.9 kB", "10 kB", "999 kB", "1.0 MB", "5.6 MB", "10 GB", "2000 GB"]
    assert list(map(size_of, sizes)) == expected
    assert (human(999), human(12, 1500)) == ("", " (12 B -> 1.5 kB)")
