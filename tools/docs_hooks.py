"""What `make docs` adds to docs/: the README as the first page, and other files of the repository that pages link to.

A link out of docs/ leads to that file's page, or its picture, where it has one on the site; of other files, such as
modules, the name stays, without a link.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    **{name: name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")},
}
"""Files outside docs/ that are pages, and where on the site."""
PICTURES = "benchmarks/results/"
LINK = re.compile(r"(!?\[(?:[^\]\[]|\[[^\]]*\])*\])\(([^)\s#]+)(#[^)\s]*)?\)")

BRACKETS = re.compile(r"(?<![\\!`\w])\[([^\]\[`]*)\](?![(\[:])")
"""Brackets that are no link, such as `[default: 0]`, which a plugin would take for one."""


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add pages and pictures of the rest of the repository."""
    for source, target in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=text))
    for picture in sorted((ROOT / PICTURES).glob("*.png")):
        files.append(File.generated(config, f"{PICTURES}{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with links that lead to places of the site, in its text and not in its code."""
    here = page.file.src_uri
    source = next((name for name, target in PAGES.items() if target == here), f"docs/{here}")
    blocks = re.split(r"(^```[\s\S]*?^```|(?:^    [^\n]*\n)+)", markdown, flags=re.MULTILINE)
    for number in range(0, len(blocks), 2):
        blocks[number] = LINK.sub(lambda link: _on_the_site(link, source, here), blocks[number])
        blocks[number] = BRACKETS.sub(r"\\[\1\\]", blocks[number])
    return "".join(blocks)


def _on_the_site(link: re.Match[str], source: str, here: str) -> str:
    """A link of a file of the repository, as the page `here` of the site has it."""
    label, target, anchor = link[1], link[2], link[3] or ""
    if "://" in target or target.startswith("mailto:"):
        return link[0]
    file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if file in PAGES:
        place = PAGES[file]
    elif file.startswith("docs/") and (ROOT / file).is_file():
        place = file.removeprefix("docs/")
    elif file.startswith(PICTURES) and file.endswith(".png"):
        place = file
    else:
        name = label.lstrip("!")[1:-1]
        return name if name.startswith("`") else f"`{name}`"
    return f"{label}({posixpath.relpath(place, posixpath.dirname(here) or '.')}{anchor})"
