"""A contact sheet of a file: a small picture of each image, with its name, size and bits, sorted as one likes."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator
from typing import BinaryIO

from PIL import Image

from bbcompress.codecs.costs import bits_by_image
from bbcompress.codecs.progress import Progress
from bbcompress.errors import PreviewError
from bbcompress.images.image import PixelImage
from bbcompress.images.pictures import preview_picture
from bbcompress.images.preview import viewed
from bbcompress.pages.page import begin, end, text
from bbcompress.pages.pictures import fitted, png, webp
from bbcompress.pipeline.names import number_name
from bbcompress.pipeline.reader import Reader
from bbcompress.text import count_of

SIDE = 144
"""Longest side of a small picture, in pixels."""
SHARP_SIDE = 64
"""Images with no longer side are shown as they are, each pixel a square."""
SCRIPTS = ("sheet.js",)

CONTROLS = """<div class="controls">
<label for="order">Sort by <select id="order">
<option value="0">place in the file</option><option value="name">name</option><option value="1">pixels</option>
<option value="2">bytes</option><option value="3">bits a pixel</option></select></label>
<button id="turn" type="button" aria-pressed="false">Largest first</button>
<label class="wide" for="find">Find <input id="find" type="search" placeholder="a part of a name"></label>
<output id="count" for="find"></output>
</div>"""


def write_sheet(
    file: BinaryIO,
    reader: Reader,
    title: str,
    size: int,
    only: Collection[int] | None = None,
    progress: Progress | None = None,
) -> int:
    """Write the sheet of a file of so many bytes, group by group, so that memory does not grow with their number; the
    number of images.

    Args:
        only: positions of the images that are wanted; groups without any are not read.
        progress: called with the number of pixels newly done.

    Raises:
        FormatError, ModelError, LimitError: as of `Reader.read_group`.
    """
    count = reader.image_count if only is None else len(only)
    lead = text(f"{count_of(count)}, a file of {size:,} bytes")
    file.write(begin(f"Images of {title}", SCRIPTS, lead).encode())
    file.write(f'<section>\n<h2 class="unseen">Images</h2>\n{CONTROLS}\n<ul class="sheet" id="sheet">\n'.encode())
    for number, positions in enumerate(reader.groups):
        wanted = [index for index, position in enumerate(positions) if only is None or position in only]
        if wanted:
            for item in _items(reader, number, positions, wanted, title, progress):
                file.write(item.encode())
    file.write(f"</ul>\n<noscript><p>The pictures need JavaScript.</p></noscript>\n</section>\n{end(SCRIPTS)}".encode())
    return count


def _items(
    reader: Reader,
    number: int,
    positions: Collection[int],
    wanted: Collection[int],
    title: str,
    progress: Progress | None,
) -> Iterator[str]:
    """The images of a group as items of the list. An image that is a group of its own and has a preview is not decoded:
    what it takes is the group's payload."""
    if len(positions) == 1 and (item := _from_preview(reader, number, next(iter(positions)), title)) is not None:
        yield item
        return
    content, costs = reader.read_costs(number, progress)
    bits = bits_by_image(reader.file.read_group(number), costs).tolist()
    places = list(positions)
    for index in wanted:
        found, position = content[index], places[index]
        image = found if isinstance(found, PixelImage) else found.image()
        yield item_of(_name(reader, position, title), image, position, bits[index])


def _from_preview(reader: Reader, number: int, position: int, title: str) -> str | None:
    """The image of a group of one as an item, by its preview; None where it has none, or a damaged one, or is small."""
    try:
        preview = reader.file.preview(position)
        size = None if preview is None else reader.image_info(position)[0][0]
        if preview is None or size is None or max(size) <= SHARP_SIDE:
            return None
        shown = fitted(preview_picture(preview), SIDE)
    except PreviewError:
        return None
    bits = 8.0 * len(reader.file.read_group(number).payload)
    return _item(_name(reader, position, title), size, shown, position, bits)


def _name(reader: Reader, position: int, title: str) -> str:
    name = reader.names[position]
    if name is not None:
        return name
    return number_name(position, reader.image_count) if reader.is_archive else title


def item_of(name: str, image: PixelImage, position: int, bits: float) -> str:
    """An image that takes so many bits, as an item of the list."""
    return _item(name, image.size, fitted(viewed(image), SIDE), position, bits)


def _item(name: str, size: tuple[int, int], shown: Image.Image, position: int, bits: float) -> str:
    """The same of an image of this width and height, by a picture of it."""
    sharp = max(size) <= SHARP_SIDE
    data, form = (png(shown), "png") if sharp else (webp(shown), "webp")
    pixels = size[0] * size[1]
    source = f"{form};base64,{base64.b64encode(data).decode('ascii')}"
    factor = max(1, SIDE // max(shown.size)) if sharp else 1
    kind = ' class="pixelated"' if sharp else ""
    label = text(name)
    return (
        f'<li data-v="{position} {pixels} {bits / 8:.1f} {bits / pixels:.4f}"><img alt="{label}" data-s="{source}" '
        f'width="{shown.width * factor}" height="{shown.height * factor}"{kind}><b title="{label}">{label}</b>'
        f"<span>{size[0]} &times; {size[1]}</span><span>{bits / 8:,.0f} bytes</span>"
        f"<span>{bits / pixels:.2f} bpp</span></li>\n"
    )
