"""bbc mount: the images of a file as files in a folder, by FUSE."""

from __future__ import annotations

from pathlib import Path

import click

from bbcompress.cli.group import main
from bbcompress.cli.messages import tell
from bbcompress.cli.options import (
    NamedPath,
    max_pixels_option,
    max_steps_option,
    model_option,
    path_argument,
    quiet_option,
)
from bbcompress.cli.progress import set_up_notices
from bbcompress.errors import BBCError
from bbcompress.system.signals import signals_left


@main.command()
@path_argument("file", "FILE.bbc")
@click.argument("folder", metavar="FOLDER", type=NamedPath())
@model_option
@max_pixels_option
@max_steps_option
@quiet_option
def mount(file: str, folder: Path, model: str | None, max_pixels: int, max_steps: int, quiet: bool) -> None:
    """Show the images of an archive as files in an empty folder, to read alone, until Ctrl-C, SIGTERM or
    fusermount -u FOLDER.

    Files are made when they are read; listing a folder decodes its images, since their sizes are told. It needs FUSE,
    which Linux has, fusepy and libfuse2.
    """
    try:
        from fsspec.fuse import run
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise BBCError(
            f"bbc mount needs FUSE ({reason}): pip install 'bbcompress[remote]' fusepy, and of the system libfuse2"
        ) from None
    from bbcompress.integrations.filesystem import BBCFileSystem
    from bbcompress.system.storage import address_of, place_of

    set_up_notices(quiet)
    try:
        if any(folder.iterdir()):
            raise BBCError(f"{folder}: is not empty")
    except OSError as error:
        raise BBCError(f"{folder}: cannot be listed: {error.strerror or error}") from None
    system = BBCFileSystem(
        address_of(place_of(file)), model=model, max_pixels=max_pixels, max_steps=max_steps, sizes=True
    )
    system.ls("")  # what is wrong with the file is said here, not by what reads the folder
    if not quiet:
        tell(f"{file} is in {folder}; Ctrl-C ends that")
    try:
        with signals_left():  # to FUSE, which unmounts then
            run(system, "", str(folder))
    except RuntimeError as error:
        raise BBCError(f"{folder}: cannot be mounted (FUSE says {error})") from None
