"""Where the bits of an image go: a figure as PNG, and a page."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bbcompress.images.preview import viewed
from bbcompress.pages.page import json_block, page, picture, section, table, text
from bbcompress.pages.pictures import HeatMap, averaged, fitted, legend, png
from bbcompress.pipeline.explaining import Explanation
from bbcompress.text import escaped

MOST_SIDE = 2048
"""Longest side of the image, and of its map, in a figure."""
MOST_PAGE_SIDE = 1400
"""The same on a page, which holds both in its text."""
LEAST_SIDE, LEAST_PAGE_SIDE = 336, 672
"""Smaller images are shown with each pixel as a square."""
SCRIPTS = ("explain.js",)

_MARGIN, _GAP, _TEXT, _BOLD, _LINE, _LEAST_WIDTH = 24, 12, 15, 19, 23, 684
_INK, _SOFT, _GROUND = (29, 34, 38), (91, 101, 109), (255, 255, 255)


def figure(found: Explanation, title: str) -> bytes:
    """The image beside the map of its bits, with what each part of the file takes, as PNG."""
    shown = [fitted(viewed(found.image), MOST_SIDE, LEAST_SIDE)]
    heat = None
    if found.bits is not None:
        heat = HeatMap.of(averaged(found.bits, MOST_SIDE))
        shown.append(heat.picture().convert("RGB").resize(shown[0].size, Image.Resampling.NEAREST))
    width, height = shown[0].size
    inner = max(len(shown) * width + (len(shown) - 1) * _GAP, _LEAST_WIDTH)
    notes = _wrapped(found.unknown, inner) if found.unknown else []
    lines = [_line(part) for part in _rows(found)]
    top = _MARGIN + 2 * _LINE + _GAP
    below = top + height + (_GAP if heat is None else _LINE + 2 * _GAP)
    canvas = Image.new("RGB", (inner + 2 * _MARGIN, below + (len(lines) + len(notes)) * _LINE + _MARGIN), _GROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN), _cut(title, inner, _BOLD), _INK, _font(_BOLD))
    draw.text((_MARGIN, _MARGIN + _LINE + 4), _cut(_summary(found), inner), _SOFT, _font())
    for number, one in enumerate(shown):
        canvas.paste(one, (_MARGIN + number * (width + _GAP), top), one if one.mode == "RGBA" else None)
    if heat is not None:
        last = f"{heat.most:.2f} or more bits a pixel"
        right, row = _MARGIN + inner - round(_font().getlength(last)), top + height + _GAP
        draw.text((right, row), last, _SOFT, _font())
        canvas.paste(legend().convert("RGB").resize((200, _TEXT)), (right - 210, row + 2))
        draw.text((right - 220, row), "0", _SOFT, _font(), anchor="ra")
    for number, note in enumerate(notes):
        draw.text((_MARGIN, below + number * _LINE), note, _INK, _font())
    for number, (name, size, remark) in enumerate(lines, len(notes)):
        row = below + number * _LINE
        draw.text((_MARGIN, row), name, _INK, _font())
        draw.text((_MARGIN + 330, row), size, _INK, _font(), anchor="ra")
        draw.text((_MARGIN + 350, row), _cut(remark, inner - 350), _SOFT, _font())
    return png(canvas)


@cache
def _font(size: int = _TEXT) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _cut(content: str, width: int, size: int = _TEXT) -> str:
    """Text that is no wider; of longer text the beginning."""
    content = escaped(content)
    if _font(size).getlength(content) <= width:
        return content
    while content and _font(size).getlength(content + "...") > width:
        content = content[:-1]
    return content + "..."


def _wrapped(content: str, width: int) -> list[str]:
    """Text in lines that are no wider."""
    lines = [""]
    for word in escaped(content).split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _font().getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _rows(found: Explanation) -> Iterator[tuple[str, float, str]]:
    """The parts of the file, and all of it."""
    yield from ((part.name, part.bits, part.note) for part in found.parts)
    yield "the file", 8.0 * found.file_bytes, ""


def _line(row: tuple[str, float, str]) -> tuple[str, str, str]:
    name, bits, note = row
    return name, f"{bits / 8:,.1f} bytes", note


def _summary(found: Explanation) -> str:
    """What coded an image and what it takes, in a line."""
    image = found.image
    size = f"{image.width} x {image.height} pixels, mode {image.mode}"
    how = ", ".join([found.coder, *found.settings])
    return f"{size}; {how}; {found.bits_per_pixel:.3f} bits a pixel"


def html(found: Explanation, title: str) -> bytes:
    """The page of an image."""
    return page(f"Where the bits of {title} go", _content(found), SCRIPTS, text(_summary(found)))


def _content(found: Explanation) -> Iterator[str]:
    image = found.image
    shown = fitted(viewed(image), MOST_PAGE_SIDE, LEAST_PAGE_SIDE)
    kind = "pixelated" if shown.width > image.width else ""
    below = picture(png(shown), "png", shown.size, f"the image, {image.width} by {image.height} pixels", kind)
    if found.bits is None:
        yield section("The image", below, f'<p class="note">{text(found.unknown)}</p>')
    else:
        heat = HeatMap.of(averaged(found.bits, MOST_PAGE_SIDE))
        over = picture(
            png(heat.picture()),
            "png",
            shown.size,
            f"map of the bits of each pixel, from 0, dark, to {heat.most:.2f} or more, light",
            "over pixelated",
        )
        facts = {"most": heat.most, "width": image.width, "height": image.height}
        bar = picture(png(legend()), "png", (256, 1), "the colours of the map, from few bits to many")
        yield section(
            "Bits at each pixel",
            '<div class="controls"><label class="wide" for="cut">Image <input id="cut" type="range" min="0" max="100" '
            'value="50"> Map</label><output id="place" for="cut">Point at a pixel to read its bits</output></div>',
            f'<div class="stage">{below}{over}<span class="edge"></span></div>',
            f'<div class="legend"><span>0</span>{bar}<span>{heat.most:.2f} bits or more</span></div>',
            f'<p class="note">{_of_map(found)} {text(found.unknown)}</p>',
            json_block("map-facts", facts),
        )
    total = 8.0 * found.file_bytes
    rows = [(n, f"{b / 8:,.1f}", f"{100 * b / total:.2f} %", note) for n, b, note in _rows(found)]
    yield section(
        "What each part takes",
        table(
            "The parts add up to the size of the file.",
            ("Part", "Bytes", "Share", "What it is"),
            rows,
            numbers=(1, 2),
            last_is_total=True,
        ),
    )


def _of_map(found: Explanation) -> str:
    """What the map shows, and how its bits are spread."""
    bits = found.bits
    assert bits is not None
    tenth = np.sort(bits, axis=None)[::-1][: max(1, bits.size // 10)]
    share = 100 * float(tenth.sum(dtype=np.float64)) / max(float(bits.sum(dtype=np.float64)), 1e-9)
    words = "Each pixel's bits are what it takes to decode it, with an even share of the z of its tile."
    return f"{words} The dearest tenth of the pixels takes {share:.0f} % of the bits."
