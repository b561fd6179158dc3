"""bbc desktop: files of bbc in file managers."""

from __future__ import annotations

import os

from bbcompress.cli.group import CommandGroup, main
from bbcompress.cli.messages import say, tell
from bbcompress.cli.options import quiet_option


@main.group(cls=CommandGroup)
def desktop() -> None:
    """Let desktops of Linux show files of bbc: their type, and thumbnails in file managers.

    All is written into the user's folder of data ($XDG_DATA_HOME, or else ~/.local/share), and names the bbc that is
    run here.
    """


@desktop.command()
@quiet_option
def install(quiet: bool) -> None:
    """Put a type, a thumbnailer and an application for files of bbc in place, or anew."""
    from bbcompress.pipeline.desktop import data_folder, entries
    from bbcompress.pipeline.desktop import install as put

    folder = data_folder(os.environ)
    notes = put(folder)
    if not quiet:
        for note in notes:
            tell(f"note: {note}")
        for name in entries([""]):
            say(f"{folder / name}")


@desktop.command()
@quiet_option
def uninstall(quiet: bool) -> None:
    """Delete what install has put in place."""
    from bbcompress.pipeline.desktop import data_folder
    from bbcompress.pipeline.desktop import uninstall as delete

    folder = data_folder(os.environ)
    gone, notes = delete(folder)
    if not quiet:
        for note in notes:
            tell(f"note: {note}")
        for path in gone:
            say(f"deleted: {path}")
        if not gone:
            say(f"nothing of bbc is in {folder}")
