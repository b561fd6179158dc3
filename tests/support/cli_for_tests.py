"""Commands run in this process, as most tests of the command line do."""

from __future__ import annotations

from click.testing import CliRunner, Result

from bbcompress.cli import main


def run(*arguments: str, status: int = 0, data: bytes | None = None) -> Result:
    """What a command gives that ends with this status. data: on stdin."""
    result = CliRunner().invoke(main, arguments, input=data, prog_name="bbc")
    assert result.exit_code == status, (result.output, result.exception)
    return result


def errors(result: Result) -> list[str]:
    """The lines on stderr, but for the notice that comes once."""
    return [line for line in result.stderr.splitlines() if not line.startswith("bbc: compiling kernels")]
