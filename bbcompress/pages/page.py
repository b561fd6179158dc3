"""The one look of all pages: a self-contained HTML file that asks the network for nothing.

Style and scripts lie in `assets/` and are written into the page. Its policy names their hashes, so that a browser runs
and applies these and no others, whatever the names in a file of images are.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from bbcompress.text import escaped
from bbcompress.version import __version__

ASSETS = Path(__file__).resolve().parent / "assets"


def text(value: object) -> str:
    """Text for a page: what HTML takes for markup is escaped, and so are characters that cannot be shown."""
    return escape(escaped(str(value)), quote=True)


def begin(title: str, scripts: Sequence[str] = (), lead: str = "") -> str:
    """A page up to its content. scripts: names of files of `assets/`, which run when the page is there. lead: a line of
    HTML below the title."""
    style = _asset("page.css")
    policy = [
        "default-src 'none'",
        "img-src data:",
        f"style-src '{_hash(style)}'",
        f"script-src {' '.join(repr(_hash(_asset(name))) for name in scripts)}" if scripts else "script-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "\n".join([
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(policy)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f'<meta name="generator" content="bbc {__version__}">',
        '<link rel="icon" href="data:,">',
        f"<title>{text(title)}</title>",
        f"<style>{style}</style>",
        "</head>",
        "<body>",
        "<header>",
        f"<h1>{text(title)}</h1>",
        *([f'<p class="lead">{lead}</p>'] if lead else []),
        "</header>",
        "<main>\n",
    ])  # fmt: skip


def end(scripts: Sequence[str] = ()) -> str:
    """A page after its content; scripts as of `begin`."""
    parts = [
        "</main>",
        f"<footer>Made by bbc {__version__}. This page is one file: it loads nothing.</footer>",
        *(f"<script>{_asset(name)}</script>" for name in scripts),
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def page(title: str, content: Iterable[str], scripts: Sequence[str] = (), lead: str = "") -> bytes:
    """A whole page of pieces of HTML."""
    return (begin(title, scripts, lead) + "\n".join(content) + "\n" + end(scripts)).encode()


def table(
    caption: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[object]],
    numbers: Sequence[int] = (),
    last_is_total: bool = False,
) -> str:
    """A table of texts, the first of each row its heading. numbers: columns that stand on the right."""
    kinds = [' class="number"' if column in numbers else "" for column in range(len(heads))]

    def cell(column: int, value: object) -> str:
        kind = kinds[column]
        return f"<td{kind}>{text(value)}</td>" if column else f'<th scope="row"{kind}>{text(value)}</th>'

    head = "".join(f'<th scope="col"{kind}>{text(value)}</th>' for kind, value in zip(kinds, heads, strict=True))
    lines = [f"<tr>{''.join(cell(*item) for item in enumerate(row))}</tr>" for row in rows]
    if last_is_total:
        lines[-1] = lines[-1].replace("<tr>", '<tr class="total">', 1)
    body = "\n".join(lines)
    return (
        f'<div class="scrolled" role="region" aria-label="{text(caption)}" tabindex="0"><table>'
        f"<caption>{text(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def section(title: str, *content: str) -> str:
    """A part of a page under its own heading."""
    return "\n".join(["<section>", f"<h2>{text(title)}</h2>", *content, "</section>"])


def picture(data: bytes, form: str, size: tuple[int, int], alternative: str, kind: str = "") -> str:
    """An image of these bytes, of a format such as png. alternative: what it shows, for those who do not see it."""
    source = f"data:image/{form};base64,{base64.b64encode(data).decode('ascii')}"
    marked = f' class="{kind}"' if kind else ""
    return f'<img src="{source}" width="{size[0]}" height="{size[1]}" alt="{text(alternative)}"{marked}>'


def json_block(name: str, value: Any) -> str:
    """Data for a script, which finds it by the name."""
    data = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{data}</script>'


@cache
def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8").strip()


def _hash(content: str) -> str:
    """As a policy names the content of an element."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode("ascii")
