"""What a run says of itself in JSON: whole files, and a log of a line an epoch."""

from __future__ import annotations

import json
from pathlib import Path

from bbcompress.training.checkpoints.atomic import replacing


def save_json(value: object, path: Path) -> None:
    """Write a JSON file such that `path` is always a whole one."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


class Log:
    """A file of JSON lines, one an epoch."""

    def __init__(self, path: Path, keep: int = 0) -> None:
        """Go on after the first `keep` lines of the file; later ones are dropped."""
        self.path = path
        lines = path.read_text().splitlines(keepends=True)[:keep] if path.exists() else []
        with replacing(path) as temporary:
            temporary.write_text("".join(lines))
        self.lines = len(lines)

    def append(self, **fields: object) -> None:
        """Add a line."""
        with self.path.open("a") as file:
            file.write(json.dumps(fields) + "\n")
        self.lines += 1
