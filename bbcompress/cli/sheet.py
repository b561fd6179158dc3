"""bbc sheet: a contact sheet of a file."""

from __future__ import annotations

from bbcompress.cli.group import main
from bbcompress.cli.inputs import about, open_file
from bbcompress.cli.messages import say
from bbcompress.cli.options import (
    device_option,
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
from bbcompress.text import count_of


@main.command()
@path_argument("file", "FILE.bbc")
@output_option("The page to write. [default: FILE.html]")
@only_option
@model_option
@device_option
@max_pixels_option
@max_steps_option
@force_option
@quiet_option
def sheet(
    file: str,
    output: str | None,
    only: tuple[str, ...],
    model: str | None,
    device: str,
    max_pixels: int,
    max_steps: int,
    force: bool,
    quiet: bool,
) -> None:
    """Write a contact sheet of a file: a page with a small picture of each image, its name, size in pixels, bytes and
    bits a pixel, to be sorted and searched.

    All images are decoded, group by group, and what each takes is computed once more, since images that are coded
    together have no bytes of their own: about twice the time of decompressing the file. Memory holds one group at a
    time. The page grows by some 0.5 to 5 kB an image.
    """
    from bbcompress.pages.sheet import write_sheet
    from bbcompress.pipeline.names import select
    from bbcompress.pipeline.targets import beside
    from bbcompress.system.output import HTML, new_file, refuse_other_kind, refuse_target
    from bbcompress.system.storage import local_path, place_of, refuse_source

    path = place_of(file)
    target = beside(path, ".html") if output is None else local_path(output)
    refuse_source(target, path, "file")
    refuse_other_kind(target, HTML, "a sheet is a page of HTML")
    refuse_target(target, force)
    set_up_notices(quiet)
    with open_file(file, model, device, quiet, max_pixels, max_steps) as reader:
        with about(file, BBCError):
            chosen = select(reader.names, only)
        with new_file(target, force) as out, progress("sheet", quiet, lambda: None) as advance:
            wanted = None if chosen is None else frozenset(chosen)
            count = write_sheet(out, reader, path.name, reader.file_size, wanted, advance)
            size = out.tell()
    if not quiet:
        say(f"{file} -> {target}  {count_of(count)}, {size} bytes")
