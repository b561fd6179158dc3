"""Shell completion: commands, options, models and files, and the scripts that make a shell ask for them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cases_for_tests import one_test_of
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from fixtures_for_tests import tiny_models  # noqa: F401

from bbcompress.cli import main

DATA = Path(__file__).resolve().parents[1] / "data"


pytestmark = pytest.mark.usefixtures("tiny_models")


def completions(*words: str) -> list[tuple[str, str]]:
    """What is offered for the last of the words behind `bbc`: kind and value."""
    asked = ShellComplete(main, {}, "bbc", "_BBC_COMPLETE")
    return [(item.type, str(item.value)) for item in asked.get_completions(list(words[:-1]), words[-1])]


def test_commands_and_options() -> None:
    assert completions("de") == [("plain", "decompress"), ("plain", "desktop")]
    assert ("plain", "--keep-going") in completions("decompress", "--k")
    assert completions("compress", "--encoder", "") == [("plain", "rha"), ("plain", "baseline")]
    assert completions("completion", "z") == [("plain", "zsh")]


@one_test_of(
    "words",
    [
        ("compress",),
        ("compress", "a.png"),
        ("compress", "-o"),
        ("decompress",),
        ("decompress", "--output"),
        ("add",),
        ("add", "a.bbc"),
        ("add", "a.bbc", "b.png"),
        ("list",),
        ("info",),
        ("test",),
        ("bench",),
        ("bench", "--json"),
        ("evaluate",),
    ],
)
def test_files_are_the_shells(words: tuple[str, ...]) -> None:
    assert completions(*words, "x") == [("file", "x")]


def test_models_are_those_installed_or_folders() -> None:
    assert completions("compress", "-m", "tiny-")[:2] == [("plain", "tiny-binary"), ("plain", "tiny-grey")]
    assert completions("list", "--model", "runs/") == [("dir", "runs/")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0 and f"_BBC_COMPLETE={shell}_complete" in result.output


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_by_the_script() -> None:
    command = f"{sys.executable} -m bbcompress"
    program = f"""
bbc() {{ {command} "$@"; }}
eval "$(bbc completion bash)"
complete -p bbc
env() {{ local name; for name in "${{@:1:3}}"; do local -x "$name"; done; "${{@:4}}"; }}
COMP_WORDS=(bbc decomp) COMP_CWORD=1
_bbc_completion bbc
echo "${{COMPREPLY[@]}}"
"""
    result = subprocess.run(["bash", "--norc", "-c", program], capture_output=True, text=True)
    assert result.stdout.splitlines() == ["complete -o nosort -F _bbc_completion bbc", "decompress"], result.stderr
