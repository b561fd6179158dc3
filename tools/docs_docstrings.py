"""Docstrings for `make docs`: arguments that are described in sentences stay sentences."""

from __future__ import annotations

import re
from typing import Any

import griffe

CONTINUED = re.compile(r"^([a-z_]\w*(?:, [a-z_]\w*)*: .*(?:\n    .*)+)", re.MULTILINE)


class Sentences(griffe.Extension):  # type: ignore[misc]
    """Take back the indentation behind `name: what it is`: the parser would make a box of it."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Change the docstring of a module, class or function."""
        if obj.docstring is not None:
            obj.docstring.value = CONTINUED.sub(lambda found: found[1].replace("\n    ", "\n"), obj.docstring.value)
