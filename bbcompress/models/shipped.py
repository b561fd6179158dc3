"""Where the shipped checkpoints lie: inside the installed package, or in the checkout that it runs from."""

from __future__ import annotations

from pathlib import Path

from bbcompress.models.checkpoint import WEIGHTS_FILE

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_model_folders() -> list[Path]:
    """The folders of the shipped models, sorted by name.

    A wheel carries them as package data in `bbcompress/_models`; a checkout, an unpacked sdist and an
    editable install have them in `models` beside the package.
    """
    directories = [_PACKAGE / "_models"]
    if (_PACKAGE.parent / "pyproject.toml").is_file():  # else `models` would be somebody else's
        directories.append(_PACKAGE.parent / "models")
    for directory in directories:
        folders = sorted(path.parent for path in directory.glob(f"*/{WEIGHTS_FILE}"))
        if folders:
            return folders
    return []
