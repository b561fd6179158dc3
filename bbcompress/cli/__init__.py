"""The command line: options in, one line out; no logic of its own.

numpy, numba, Pillow and torch are imported inside the commands: `bbc --help` needs none of them. `main` is the group of
all commands, and imports the modules of all when it is asked for; `group_with` imports what one command needs.
"""

from __future__ import annotations

TYPE_CHECKING = False  # that of `typing`, which is as slow as all else that `bbc` imports before it minds Ctrl-C
if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

    from bbcompress.cli.group import main

__all__ = ["main"]

MODULES = {
    "compress": ("compress", "add"),
    "decompress": ("decompress", "test"),
    "inspect": ("list", "info"),
    "explain": ("explain",),
    "sheet": ("sheet",),
    "thumbnail": ("thumbnail",),
    "mount": ("mount",),
    "models": ("models",),
    "train": ("train", "evaluate"),
    "runs": ("runs",),
    "report": ("report",),
    "bench": ("bench",),
    "doctor": ("doctor",),
    "desktop": ("desktop",),
    "completion": ("completion", "help"),
}
"""The commands of each module."""

_NEED_ALL = ("completion", "help")
"""Commands about the others."""


def group_with(arguments: Sequence[str]) -> click.Group:
    """The group of commands, with the one that the arguments of `bbc` begin with, or all where they begin otherwise."""
    from importlib import import_module

    from bbcompress.cli.group import main

    command = arguments[0] if arguments else ""
    its = [module for module, commands in MODULES.items() if command in commands and command not in _NEED_ALL]
    for module in its or MODULES:
        import_module(f"{__name__}.{module}")
    return main


def __getattr__(name: str) -> click.Group:
    if name != "main":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return group_with(())
