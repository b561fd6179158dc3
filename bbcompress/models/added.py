"""Where models lie that the user has added: one folder for all programs of this user, and in it a folder a model."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bbcompress.models.checkpoint import WEIGHTS_FILE


def added_models_folder() -> Path | None:
    """By the system's convention for data of programs; it need not be there. None where there is no home directory."""
    try:
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            base = Path(local) if local else Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Application Support"
        else:
            xdg = os.environ.get("XDG_DATA_HOME", "")
            base = Path(xdg) if os.path.isabs(xdg) else Path.home() / ".local" / "share"
    except (OSError, RuntimeError):
        return None
    return base / "bbcompress" / "models"


def added_model_folders() -> list[Path]:
    """The folders of the models that were added, sorted by name."""
    folder = added_models_folder()
    try:
        return [] if folder is None else sorted(path.parent for path in folder.glob(f"*/{WEIGHTS_FILE}"))
    except OSError:
        return []
