"""bbc thumbnail: a small picture of an image of a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bbcompress.cli.group import main
from bbcompress.cli.inputs import about, open_file, open_stream
from bbcompress.cli.messages import say
from bbcompress.cli.options import (
    force_option,
    max_pixels_option,
    max_steps_option,
    model_option,
    only_option,
    output_option,
    path_argument,
    quiet_option,
)
from bbcompress.cli.progress import progress, set_up_notices
from bbcompress.errors import BBCError
from bbcompress.limits import STANDARD_STREAM

if TYPE_CHECKING:
    from bbcompress.system.storage import Place

SIDE = 256
"""Longest side of a thumbnail, in pixels, unless another is asked for."""


@main.command()
@path_argument("file", "FILE.bbc")
@click.option("-s", "--size", "side", metavar="N", type=click.IntRange(1, 4096), default=SIDE, show_default=True,
              help="Longest side, in pixels; nothing is made larger than it is.")  # fmt: skip
@output_option("The PNG to write; - is stdout. [default: FILE-thumbnail.png]")
@only_option
@click.option("--decode", is_flag=True, help="Decode the image also where there is a preview: sharper, and slow.")
@model_option
@max_pixels_option
@max_steps_option
@force_option
@quiet_option
def thumbnail(
    file: str,
    side: int,
    output: str | None,
    only: tuple[str, ...],
    decode: bool,
    model: str | None,
    max_pixels: int,
    max_steps: int,
    force: bool,
    quiet: bool,
) -> None:
    """Write a small picture of an image: from the preview in the file, which has at most 256 pixels a side, or else by
    decoding all of the image, which of a large one takes as long as decompressing it.

    Of an archive it is the first image, or the first one that --only chooses.
    """
    from bbcompress.images.pictures import png_of
    from bbcompress.pipeline.thumbnails import by_decoding, from_preview, of_lone_file
    from bbcompress.system.output import (
        PNG,
        refuse_other_kind,
        refuse_source,
        refuse_target,
        write_file,
        write_standard_output,
    )

    target = None if output == STANDARD_STREAM else _target(file, output)
    if target is not None:
        place = _place(file)
        if isinstance(place, Path) and file != STANDARD_STREAM:
            refuse_source(target, place, "file")
        refuse_other_kind(target, PNG, "a thumbnail is a PNG")
        refuse_target(target, force)
    set_up_notices(quiet)
    picture = None if decode or only else of_lone_file(file, side)
    if picture is None:
        with open_stream(file) as stream, about(file, BBCError):
            picture = None if decode else from_preview(stream, side, only)
            if picture is None:
                with (
                    open_file(file, model, "cpu", quiet, max_pixels, max_steps, stream=stream) as reader,
                    progress("thumbnail", quiet, lambda: None) as advance,
                ):
                    picture = by_decoding(reader, side, only, advance)
    data = png_of(picture)
    if target is None:
        write_standard_output(data)
    else:
        write_file(target, data, force)
    if not quiet:
        say(f"{file} -> {target or 'stdout'}  {picture.width}x{picture.height}", err=target is None)


def _target(file: str, output: str | None) -> Path:
    """Where the thumbnail of a file goes: beside it, of a URL into the current folder. Raises BBCError."""
    if output is None:
        from bbcompress.pipeline.targets import beside

        return beside(Path("image") if file == STANDARD_STREAM else _place(file), "-thumbnail.png")
    place = _place(output)
    if isinstance(place, Path):
        return place
    from bbcompress.system.storage import local_path

    return local_path(output)


def _place(text: str) -> Place:
    """The place that a text stands for. What URLs take is imported for them alone."""
    if "://" not in text:
        return Path(text)
    from bbcompress.system.storage import place_of

    return place_of(text)
