"""bbc explain: where the bits of an image go."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from bbcompress.archive.signature import MAGIC, SUFFIX
from bbcompress.cli.group import main
from bbcompress.cli.inputs import about, echo_notes, open_file
from bbcompress.cli.messages import say
from bbcompress.cli.options import (
    coding_options,
    compressor_of,
    force_option,
    loader_of,
    max_steps_option,
    only_option,
    output_option,
    path_argument,
    quiet_option,
)
from bbcompress.cli.progress import progress, set_up_notices
from bbcompress.errors import BBCError
from bbcompress.text import redacted

if TYPE_CHECKING:
    from bbcompress.pipeline.explaining import Explanation
    from bbcompress.pipeline.reader import Reader


@main.command()
@path_argument("image", "IMAGE")
@output_option("The figure to write, a PNG: the image beside the map of its bits.")
@click.option("--html", "page", metavar="PAGE", help="Write a page with both, a slider between them and the table.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@only_option
@coding_options
@max_steps_option
@force_option
@quiet_option
def explain(
    image: str,
    output: str | None,
    page: str | None,
    as_json: bool,
    only: tuple[str, ...],
    max_steps: int,
    force: bool,
    quiet: bool,
    **coding: Any,
) -> None:
    """Show where the bits of an image go: how many each pixel takes, and what z, headers and checks take.

    IMAGE is a file of bbc, of an archive the one image that --only names, or an image file: that is coded in memory as
    bbc compress would, by the same options. The figures are the costs of what is in the file, and add up to its size.
    The image's group is decoded, and its costs are computed once more: about twice the time of decompressing it.

    A file that is kept as it is, and an image that PNG or WebP stores, has no map: their codes are not of pixels.
    """
    from bbcompress.system.output import HTML, PNG, refuse_other_kind, refuse_target, write_file
    from bbcompress.system.storage import local_path, place_of, refuse_source

    targets = [local_path(target) for target in (output, page) if target is not None]
    if output is not None:
        refuse_other_kind(targets[0], PNG, "the figure is a PNG")
    if page is not None:
        refuse_other_kind(targets[-1], HTML, "the page is one of HTML")
    if len({*targets}) < len(targets):
        raise click.UsageError("-o and --html name the same file")
    for target in targets:
        refuse_source(target, place_of(image), "image")
        refuse_target(target, force)
    set_up_notices(quiet)
    with _opened(image, max_steps, quiet, coding) as reader:
        from bbcompress.pipeline.explaining import explain

        with about(image, BBCError):
            position = _position(reader, only)
        with about(image), progress("explain", quiet, lambda: None) as advance:
            found = explain(reader, position, advance)
    own = place_of(image).name
    title = own if found.name is None else f"{found.name} in {own}"
    if output is not None:
        from bbcompress.pages.explain import figure

        write_file(targets[0], figure(found, title), force)
    if page is not None:
        from bbcompress.pages.explain import html

        write_file(targets[-1], html(found, title), force)
    if as_json:
        click.echo(json.dumps(_json(image, found), indent=2))
    elif not quiet:
        _say(title, found)


@contextmanager
def _opened(image: str, max_steps: int, quiet: bool, coding: dict[str, Any]) -> Iterator[Reader]:
    """A reader of the file, or of what an image file becomes. Raises BBCError."""
    from bbcompress.archive.sharded import ShardSource
    from bbcompress.pipeline.packing import Packing
    from bbcompress.pipeline.sources import open_place
    from bbcompress.system.storage import place_of

    place = place_of(image)
    with open_place(place) as file:
        is_bbc = isinstance(file, ShardSource) or file.read(1) == MAGIC[:1] or place.suffix == SUFFIX
    if is_bbc:
        with open_file(image, coding["model"], coding["device"], quiet, coding["max_pixels"], max_steps) as reader:
            yield reader
        return
    from bbcompress.limits import MAX_K, Limits
    from bbcompress.pipeline.options import open_models
    from bbcompress.pipeline.reader import Reader

    packing = Packing([image], None, compressor_of(**coding), loader_of(**coding))
    with progress("compress", quiet, packing.expected_pixels) as advance:
        summary = packing.write(advance)
    assert packing.data is not None
    if not quiet:
        echo_notes(packing.notes(summary))
    with about(image):
        models = open_models(coding["model"], coding["device"])
        yield Reader(io.BytesIO(packing.data), models, Limits(coding["max_pixels"], MAX_K))


def _position(reader: Reader, only: tuple[str, ...]) -> int:
    """Of the one image that is meant. Raises BBCError."""
    from bbcompress.pipeline.names import select

    chosen = select(reader.names, only)
    positions = list(range(reader.image_count)) if chosen is None else chosen
    if len(positions) != 1:
        what = f"--only {' '.join(only)} fits {len(positions)}" if only else f"it holds {len(positions)}"
        raise BBCError(f"{what} images: name one by --only NAME")
    return positions[0]


def _say(title: str, found: Explanation) -> None:
    image = found.image
    how = ", ".join([found.coder, *found.settings])
    say(f"{title}: {image.width}x{image.height} {image.mode}, {found.bits_per_pixel:.3f} bits a pixel ({how})")
    for part in found.parts:
        share = 100 * part.bits / (8 * found.file_bytes)
        say(f"  {part.name:26} {part.bits / 8:>12.1f} bytes  {share:6.2f} %  {part.note}".rstrip())
    say(f"  {'the file':26} {found.file_bytes:>12.1f} bytes")
    if found.unknown:
        say(f"  {'no map' if found.bits is None else 'the map is not whole'}: {found.unknown}")


def _json(image: str, found: Explanation) -> dict[str, Any]:
    return {
        "file": redacted(image),
        "name": found.name,
        "width": found.image.width,
        "height": found.image.height,
        "mode": found.image.mode,
        "coder": found.coder,
        "settings": list(found.settings),
        "bits_per_pixel": found.bits_per_pixel,
        "map": found.bits is not None,
        "parts": [{"name": part.name, "bits": part.bits, "note": part.note} for part in found.parts],
        "bytes": found.file_bytes,
    }
