"""No text of a file or a command line steers a terminal, whatever prints it."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import pytest
from click.testing import CliRunner
from fixtures_for_tests import empty_folder  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st

import bbcompress
from bbcompress.cli import main
from bbcompress.cli.progress import set_up_notices
from bbcompress.errors import BBCError
from bbcompress.text import count_of, escaped, some_of, warn_of

PACKAGE = Path(bbcompress.__file__).parent
EVIL = "\x1b[31m\u202egnp.\r\n\x9b2J\udcff\u2028"
HARMLESS = r"\x1b[31m\u202egnp.\r\n\x9b2J\udcff\u2028"


def test_some_of_many() -> None:
    assert some_of("abc") == "a, b, c" and some_of("abcd") == "a, b, c, ..." and some_of([]) == ""
    assert some_of([1, Path("b"), 3], 2, "; ") == "1; b; ..."


@given(st.text(st.characters(categories=None)))  # surrogates, too: so Python has bytes that are no UTF-8
def test_what_is_escaped_can_be_printed(text: str) -> None:
    safe = escaped(text)
    assert safe.isprintable()
    assert escaped(safe) == safe
    assert text == safe or not text.isprintable()


def test_escapes() -> None:
    assert escaped("Übung 日本 \\ %s") == "Übung 日本 \\ %s"
    assert escaped(EVIL) == HARMLESS
    assert escaped("\U000e0041") == r"\U000e0041"


def test_errors_are_one_line_without_control_characters() -> None:
    assert str(BBCError(f"{EVIL}: is no image")) == f"{HARMLESS}: is no image"
    assert str(BBCError()) == ""


def test_notices_are_escaped(caplog: pytest.LogCaptureFixture) -> None:
    set_up_notices(quiet=False)
    (handler,) = logging.getLogger("bbcompress").handlers
    record = logging.LogRecord("bbcompress", logging.WARNING, "", 0, "a %s", (EVIL,), None)
    assert handler.format(record) == f"bbc: a {HARMLESS}"


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize(
    "arguments",
    [
        ("compress", EVIL[:-2]),
        ("compress", EVIL[:-2], "a", "-o", "x.bbc"),
        ("compress", ".", "-o", "../x.bbc", "-m", EVIL[:-2]),
        ("add", EVIL[:-2], "a"),
        ("decompress", EVIL[:-2]),
        ("decompress", "a", EVIL[:-2]),
        ("list", EVIL[:-2]),
        ("info", EVIL[:-2]),
        ("test", EVIL[:-2]),
        ("models", "-m", EVIL[:-2]),
        (EVIL[:-2],),
        ("test", f"--{EVIL[:-2]}"),
        ("bench", EVIL[:-2]),
    ],
)
def test_arguments_in_messages(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, arguments, prog_name="bbc", color=True)
    assert result.exit_code in (1, 2)
    assert "gnp" in result.stderr
    assert all(line.isprintable() for line in result.stderr.splitlines())
    assert len(result.stderr.splitlines()) <= 4  # of which three say how the command is used


RAW = {"cli/messages.py", "cli/completion.py"}
"""Where text is printed as it is: the one place that escapes it, and what shells read, which has no names."""


def test_everything_that_is_printed_is_escaped() -> None:
    """Only JSON, which escapes by itself, is printed elsewhere."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or place in RAW:
                continue
            text = ast.unparse(node)
            if text.startswith(("print(", "click.echo(", "click.secho(", "warnings.warn(", "sys.stderr.write(")):
                found.append((place, text))
    wrong = [one for one in found if not one[1].startswith(("click.echo(json.dumps(", "warnings.warn(escaped("))]
    assert not wrong
    assert len(found) >= 3


def test_counts() -> None:
    assert [count_of(0), count_of(1), count_of(2, "file")] == ["0 images", "1 image", "2 files"]


def test_warnings_are_those_of_the_caller() -> None:
    with pytest.warns(UserWarning, match=r"^a\\nb$") as told:
        warn_of(["a\nb"], stacklevel=2)
    assert told[0].filename == __file__
