"""A file in parts of limited size, named by a manifest that stands in the file's place.

The manifest is JSON: a format word, and each part's name, size and SHA-256. Parts lie beside it, `NAME.TOKEN.NNN`, with
another token at each write: so the parts that a manifest names stay as they are until another has replaced it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

from bbcompress.errors import ModelError

FORMAT = "bbc checkpoint in parts, 1"


def write_parts(path: Path, content: memoryview, size: int) -> str:
    """Write content in parts of at most `size` bytes; gives the manifest, which the caller puts at `path`."""
    token = secrets.token_hex(4)
    parts: list[dict[str, Any]] = []
    for start in range(0, len(content), size):
        piece = content[start : start + size]
        part = path.with_name(f"{path.name}.{token}.{len(parts):03}")
        with part.open("xb") as file:
            file.write(piece)
            file.flush()
            os.fsync(file.fileno())  # before the manifest gets its name
        parts.append({"name": part.name, "bytes": len(piece), "sha256": hashlib.sha256(piece).hexdigest()})
    return json.dumps({"format": FORMAT, "parts": parts}, indent=2) + "\n"


def is_manifest(path: Path) -> bool:
    """Whether the file is no checkpoint itself but may be a manifest.

    Raises:
        OSError: the operating system reports an error.
    """
    with path.open("rb") as file:
        return file.read(1) == b"{"


def read_parts(path: Path) -> io.BytesIO:
    """The content of the file whose manifest stands at `path`.

    Raises:
        ModelError: the file is no manifest, or a part is missing or damaged.
    """
    content = io.BytesIO()
    for part in _named_in(path):
        file = path.parent / part["name"]
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            raise ModelError(f"{file}: this part of {path.name} is missing") from None
        if len(data) != part["bytes"] or hashlib.sha256(data).hexdigest() != part["sha256"]:
            raise ModelError(f"{file}: this part of {path.name} is damaged")
        content.write(data)
    content.seek(0)
    return content


def remove_stray_parts(path: Path) -> None:
    """Remove the parts of `path` that it does not name: of an earlier write, or of one that did not end."""
    try:
        named = {part["name"] for part in _named_in(path)} if path.exists() and is_manifest(path) else set()
    except ModelError:  # then better too many than too few
        return
    pattern = re.compile(re.escape(path.name) + r"\.[0-9a-f]{8}\.\d{3,}")
    for file in path.parent.iterdir():
        if pattern.fullmatch(file.name) and file.name not in named:
            file.unlink(missing_ok=True)


def _named_in(path: Path) -> list[dict[str, Any]]:
    try:
        manifest = json.loads(path.read_text())
        parts = [{key: kind(part[key]) for key, kind in _FIELDS.items()} for part in manifest["parts"]]
        known = manifest["format"] == FORMAT and all(Path(part["name"]).name == part["name"] for part in parts)
    except (ValueError, TypeError, KeyError):
        known = False
    if not known:
        raise ModelError(f"{path}: not a training checkpoint, or a damaged one")
    return parts


_FIELDS: dict[str, type] = {"name": str, "bytes": int, "sha256": str}
