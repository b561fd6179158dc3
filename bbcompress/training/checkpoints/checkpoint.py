"""Training checkpoints: dictionaries of plain values and tensors, in one file or in parts."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from bbcompress.errors import ModelError
from bbcompress.training.checkpoints.atomic import remove_strays, replacing
from bbcompress.training.checkpoints.parts import is_manifest, read_parts, remove_stray_parts, write_parts


def save_checkpoint(state: dict[str, Any], path: Path, part_size: int = 0) -> None:
    """Write a checkpoint such that `path` is always a whole one, the old or the new.

    Args:
        part_size: in MiB; then it is cut into parts of at most that size and `path` names them (see `parts`). 0: one
            file.
    """
    try:
        if part_size:
            content = io.BytesIO()  # torch makes errors of its own of what a file raises
            torch.save(state, content)
            manifest = write_parts(path, content.getbuffer(), part_size << 20)
            with replacing(path) as temporary:
                temporary.write_text(manifest)
        else:
            with replacing(path) as temporary:
                torch.save(state, temporary)
    finally:
        _remove_left_over(path)


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint and its parts, if it is there, and what a process that was killed left of it."""
    path.unlink(missing_ok=True)
    _remove_left_over(path)


def _remove_left_over(path: Path) -> None:
    """Remove the parts that `path` does not name, and files that were to become it."""
    remove_strays(path)
    remove_stray_parts(path)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint, whole or in parts.

    Raises:
        ModelError: the checkpoint or a part of it is missing, damaged, something else or unreadable.
    """
    try:
        source = read_parts(path) if is_manifest(path) else path
        state = torch.load(source, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such training checkpoint") from None
    except OSError as error:
        raise ModelError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from None
    except (ModelError, MemoryError):
        raise
    except Exception as error:  # the unpickler meets rubbish with errors of every kind
        raise ModelError(f"{path}: not a training checkpoint, or a damaged one") from error
    if not isinstance(state, dict) or "format" not in state:
        raise ModelError(f"{path}: not a training checkpoint")
    return state
