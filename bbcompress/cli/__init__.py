"""The command line: options in, one line out; no logic of its own.

numpy, numba, Pillow and torch are imported inside the commands: `bbc --help` needs none of them.
"""

from bbcompress.cli import (  # noqa: F401
    bench,
    completion,
    compress,
    decompress,
    desktop,
    doctor,
    explain,
    inspect,
    models,
    report,
    runs,
    sheet,
    thumbnail,
    train,
)
from bbcompress.cli.group import main

__all__ = ["main"]
