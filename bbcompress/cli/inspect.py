"""bbc list and bbc info: what is there; no image is decoded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bbcompress.cli.group import main
from bbcompress.cli.inputs import about, open_file
from bbcompress.cli.messages import human, say, size_of
from bbcompress.cli.options import max_pixels_option, model_option, only_option, path_argument
from bbcompress.cli.progress import progress
from bbcompress.cli.several import Several
from bbcompress.errors import BBCError
from bbcompress.limits import READER_K
from bbcompress.text import count_of, redacted

if TYPE_CHECKING:
    from bbcompress.pipeline.reader import Reader


@main.command("list")
@path_argument("files", "FILE.bbc...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: of several files, an entry for each.")
@only_option
@model_option
@max_pixels_option
@click.option("-v", "--verbose", is_flag=True, help="Also say whose decoder's colours a model that learns knows.")
def list_images(
    files: tuple[str, ...], as_json: bool, only: tuple[str, ...], model: str | None, max_pixels: int, verbose: bool
) -> None:
    """List the images of files: size in pixels, mode, what coded it, bytes and how many times fewer they are than those
    of the pixels, time (UTC), name, metadata; none is decoded. Images that are coded together have no bytes of their
    own.

    What coded it is the name of a model, with the K of its group where that is not 0, or "fallback" and which of raw,
    PNG, WebP and deep (16 bits) stores the image, or "kept" and the format of a file that is kept as it is. Of an image
    with alpha it may be two of these, for the colours and for the alpha.

    With -v, and in the JSON as "colours", it also says out of which decoder an image came, such as that of JPEG or
    Photo CD, where the model that learned from it was told to spend no bits on other colours.
    """
    several = Several(files)
    found = []
    for file in files:
        with several.one(file), open_file(file, model, "cpu", False, max_pixels) as reader:
            if not as_json and not several.alone:
                say(f"{file}:")
            rows = _rows(reader, file, only, as_json, verbose)
            found.append({"file": redacted(file), "images": rows})
    if as_json:
        several.print_json([entry["images"] for entry in found] if several.alone else found)
    several.end()


def _rows(reader: Reader, file: str, only: tuple[str, ...], as_json: bool, verbose: bool) -> list[dict[str, Any]]:
    """The images of a file, printed a line each; or given back, for JSON."""
    from bbcompress.archive.times import utc
    from bbcompress.pipeline.names import list_names, select

    with about(file, BBCError):
        list_names(reader.names)  # raises where there are too many; entries are told one by one
        wanted = select(reader.names, only)
    chosen = None if wanted is None else frozenset(wanted)
    rows = []
    for position, entry in enumerate(reader.entries(with_colours=as_json or verbose)):
        if chosen is not None and position not in chosen:
            continue
        size = "?" if entry.size is None else f"{entry.size[0]}x{entry.size[1]}"
        time = None if entry.time is None else utc(entry.time)
        if as_json:
            width, height = entry.size or (None, None)
            rows.append({"name": entry.name, "width": width, "height": height, "mode": entry.mode,
                         "coder": entry.coder, "K": entry.k, "time": time, "bytes": entry.bytes,
                         "raw_bytes": entry.raw_bytes, "metadata": list(entry.metadata),
                         "colours": entry.colours})  # fmt: skip
            continue
        name = f"(image {position})" if entry.name is None else entry.name
        coder = f"{entry.coder or '(damaged)'}{f', K = {entry.k}' if entry.k else ''}"
        its = "-" if entry.bytes is None else size_of(entry.bytes)
        ratio = "-" if not entry.bytes or entry.raw_bytes is None else f"{entry.raw_bytes / entry.bytes:.2f}x"
        metadata = f"  [{', '.join(entry.metadata)}]" if entry.metadata else ""
        metadata += f"  colours of {entry.colours}" if entry.colours else ""
        say(f"{size:>11}  {entry.mode or '?':7}  {coder:18}  {its:>7}  {ratio:>8}  {time or '-':20}  {name}{metadata}")
    return rows


@main.command()
@path_argument("files", "FILE.bbc...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: of several files, a list.")
@click.option(
    "--source",
    metavar="PATH",
    type=click.Path(exists=True, path_type=Path),
    help="What the file was made of, an image or a folder: say how much smaller the file is.",
)
@click.option("--png", is_flag=True, help="Decode the images, too, and say how many bytes PNGs of them would take.")
@model_option
@max_pixels_option
def info(
    files: tuple[str, ...], as_json: bool, source: Path | None, png: bool, model: str | None, max_pixels: int
) -> None:
    """Say what is in files and what each part cost in bytes; no image is decoded unless --png is given.

    Of each model that is needed it says whether it is installed, in the file or missing. How large the files were that
    it was made of is not in a file: --source names them, where they are still there. Nor is the effort, but what came
    of it is: the model, its encoder, K, and how it learns.

    The ratio is that of the pixels without compression to the file. Of images that the fallback stores it says how many
    are raw, PNG, WebP and deep (16 bits): "stored" in the JSON; and which files are kept as they are: "kept". Images
    with alpha may be in parts, which are listed below their group: "parts".
    """
    from bbcompress.pipeline.names import list_names
    from bbcompress.pipeline.totals import source_bytes

    if source is not None and len(files) > 1:
        raise click.UsageError("--source is for one file")
    several = Several(files)
    found = []
    for file in files:
        with several.one(file), open_file(file, model, "cpu", False, max_pixels, READER_K) as reader:
            with about(file, BBCError):
                names = list_names(reader.names) if as_json else []
            description = reader.describe()
            if source is not None:
                totals = zip(("source_bytes", "source_missing"), source_bytes(reader.names, source), strict=True)
                description["totals"] |= totals
            if png:
                with progress("png", as_json, reader.expected_pixels) as advance:
                    description["totals"]["png_bytes"] = reader.png_bytes(1, advance)
            if as_json:
                found.append({"file": redacted(file), **description, "names": names})
            else:
                _say_info(file, description)
    if as_json:
        several.print_json(found)
    several.end()


def _say_info(file: str, description: dict[str, Any]) -> None:
    kind = "archive" if description["archive"] else "lone image"
    size = description["bytes"]
    say(f"{file}: {kind}, {count_of(description['images'])}, {size} bytes{human(size)}")
    totals = description["totals"]
    if totals["ratio"] is not None:
        raw = totals["raw_bytes"]
        rate = f"{totals['bits_per_dimension']:.4f} bits/dim"
        say(f"  without compression {raw} bytes{human(raw)}: {totals['ratio']:.2f}x, {rate}")
    if "source_bytes" in totals:
        its, missing = totals["source_bytes"], totals["source_missing"]
        ratio = f"{count_of(missing)} not found there" if missing else f"{its / size:.2f}x"
        say(f"  source {its} bytes{human(its)}: {ratio}")
    if "png_bytes" in totals:
        png = totals["png_bytes"]
        say("  as PNG it cannot be" if png is None else f"  as PNG {png} bytes{human(png)}: {png / size:.2f}x")
    if description["times"]:
        say(f"  modified: {' to '.join(dict.fromkeys(description['times']))}")
    if totals["metadata"]:
        say(f"  metadata: {', '.join(f'{name} of {count_of(count)}' for name, count in totals['metadata'].items())}")
    for shard in description.get("shards", ()):
        say(f"  shard {shard['file']}: {count_of(shard['images'])}, {shard['bytes']} bytes")
    for unread in description.get("unread", ()):
        say(f"  not in it: {unread['name']}{': ' * bool(unread['name'])}{unread['reason']}")
    for name, value in description["parts"].items():
        say(f"  {name.replace('_', ' '):14} {value:>10}")
    for model in description["models"]:
        say(f"  model {_model(model)}")
    for group in description["groups"]:
        _say_group(group)


def _model(model: dict[str, Any]) -> str:
    """A model, and where it is."""
    places = ["installed"] * model["installed"]
    places += [f"in the file, {model['bytes']} bytes"] * (model["bytes"] is not None)
    where = " and ".join(places) or "missing: give it with -m, in BBC_MODELS or by bbc models add"
    unused = "" if model["images"] else ", not needed"
    fault = "" if model["fault"] is None else f" ({model['fault']})"
    name = "" if model["name"] is None else f"{model['name']} "
    return f"{name}{model['id'][:8]}: {where}{unused}{fault}"


def _say_group(group: dict[str, Any], indent: str = "  ") -> None:
    """What coded a group, a line for itself and each of its parts."""
    if kept := group.get("kept"):
        say(f"{indent}{_kept(kept)}, {group['kept_bytes']} bytes")
        if "stored" not in group:
            return
    stored = group.get("stored", {})
    which = f" {next(iter(stored))}" if len(stored) == 1 else ""
    images = sum(stored.values()) or group["images"]
    way = "in" if "parts" in group else "by"
    line = f"{indent}{count_of(images)} {way} {group['model']}{which}: {group['bytes']} bytes"
    if len(stored) > 1:
        line += f", {', '.join(f'{count} by {codec}' for codec, count in stored.items())}"
    learning = group.get("learning")
    if learning is not None and not learning["batches"]:
        size = f"{group['width']}x{group['height']} pixels" if "width" in group else "of several sizes"
        line += f", {size}, learning at a rate of {learning['rate'] / 1e6:g} every {learning['unit']} pixels"
        if learning["lattices"]:
            line += f", colours of {_colours(learning['colours'], group['images'])}"
    elif "encoder" in group and "direct" not in group:  # of blocks, which have layouts of their own
        size = f"{group['width']}x{group['height']} pixels" if "width" in group else "of several sizes"
        line += f", {size}, encoder {group['encoder']}, K = {group['K']}"
    elif "encoder" in group:
        line += f", {group['direct']} coded directly"
        if group["batches"]:
            line += f", the rest with encoder {group['encoder']}, K = {group['K']}"
    if learning is not None and learning["batches"]:
        line += f", learning between batches at a rate of {learning['rate'] / 1e6:g} every {learning['unit']} z"
    if "block_size" in group:
        line += f", block size {group['block_size']}"
    say(line)
    for name, part in zip(("colours", "alpha"), group.get("parts", ()), strict=False):
        say(f"{indent}  {name}:")
        for its in part:
            _say_group(its, f"{indent}    ")


def _colours(decoders: dict[str, int], images: int) -> str:
    """The decoders whose colours a model knows, and of how many images where that does not go without saying."""
    if decoders == {next(iter(decoders)): images}:
        return next(iter(decoders))
    return " and ".join(f"{name} in {count_of(count)}" for name, count in decoders.items())


def _kept(formats: dict[str, int]) -> str:
    """Which files are kept as they are."""
    count = sum(formats.values())
    if count == 1:
        return f"kept as it is: {next(iter(formats))}"
    return f"{count} files kept as they are: {', '.join(f'{number} {name}' for name, number in formats.items())}"
