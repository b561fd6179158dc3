"""What a bug report should say of an installation: versions, machine, exactness, compiled kernels, models.

torch is not imported unless GPUs are asked for, nothing is compiled, and what fails is a part of the answer: whoever
asks may have a broken installation. The user's home directory is shown as `~`.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bbcompress.errors import NEEDS_TORCH, BBCError
from bbcompress.system.machine import package_versions, processor_name
from bbcompress.system.threads import processors
from bbcompress.version import __version__

if TYPE_CHECKING:
    from bbcompress.exact.backend import Backend

PACKAGES = ("numpy", "numba", "llvmlite", "pillow", "safetensors", "torch")


def examine(model: str | Path | None = None, gpu: bool = False) -> dict[str, Any]:
    """Look at everything; the answer can be written as JSON.

    Args:
        model: as for `Zoo`, to look at models that are not installed as well.
        gpu: look at GPUs, too, for which torch is imported.

    Returns:
        `bbc`, `python`, `packages`, `system`, `processor`, `processors` (that may be used, of how many), `blas`,
        `arithmetic`, `kernel_cache`, `models`, `gpu` (None where it was not asked for) and `sound`: whether all
        arithmetic is exact, all models are right and numba works. Where something could not be looked at, or is wrong,
        its `fault` is a line that says why, else None.
    """
    arithmetic = _guarded(_arithmetic)
    models = _guarded(lambda: {"installed": _models(model)})
    gpus = _guarded(_gpus) if gpu else None
    cache = _guarded(_kernel_cache)
    needed = (arithmetic, models, *models.get("installed", ()), *((gpus, *gpus.get("devices", ())) if gpus else ()))
    found = {
        "bbc": __version__,
        "python": platform.python_version(),
        "packages": package_versions(PACKAGES),
        "system": platform.platform(),
        "processor": processor_name(),
        "processors": [processors(), os.cpu_count()],
        "blas": _guarded(_blas),
        "arithmetic": arithmetic,
        "kernel_cache": cache,
        "models": models,
        "gpu": gpus,
        "sound": all(part["fault"] is None for part in needed) and "kept" in cache,
    }
    shown: dict[str, Any] = _with_tilde(found, _homes())
    return shown


def _guarded(look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What it finds, with the `fault` None unless it says one; where it fails, its error as the fault."""
    try:
        return {"fault": None, **look()}
    except BBCError as error:
        return {"fault": str(error)}
    except Exception as error:  # of a broken installation, any: to find these is what this is for
        return {"fault": f"{type(error).__name__}: {error}".partition("\n")[0]}


def _arithmetic() -> dict[str, Any]:
    from bbcompress.exact.backend import NumpyBackend

    return _probed(NumpyBackend())


def _probed(backend: Backend) -> dict[str, Any]:
    from bbcompress.exact.backend import probe

    probe(backend)
    return {"exact": True}


def _blas() -> dict[str, Any]:
    import numpy  # noqa: F401 - which brings its BLAS
    from threadpoolctl import threadpool_info

    names = {"library": "internal_api", "version": "version", "architecture": "architecture", "threads": "num_threads"}
    libraries = [entry for entry in threadpool_info() if entry.get("user_api") == "blas"]
    return {"libraries": [{ours: entry.get(its) for ours, its in names.items()} for entry in libraries]}


def _kernel_cache() -> dict[str, Any]:
    """`path` of this version's kernels, `kernels` and `bytes` in it, `bytes_of_all_versions`, `writable`; `kept` says
    whether it outlives the process, else `fault` says why not."""
    from bbcompress.coder import kernel_cache
    from bbcompress.system import kernel_files

    place = kernel_cache.place()
    found: dict[str, Any] = {"fault": place.fault, "kept": place.fault is None, "path": None, "writable": False}
    if place.path is not None:
        sizes = [_size(path) for path in kernel_files.kernels(place.path)]
        everything = [_size(path) for path in place.path.parent.rglob("*")]
        found |= {
            "path": str(place.path),
            "writable": os.access(place.path, os.W_OK | os.X_OK),
            "kernels": len(sizes),
            "bytes": sum(sizes),
            "bytes_of_all_versions": sum(everything),
        }
    return found


def _models(chosen: str | Path | None) -> list[dict[str, Any]]:
    from bbcompress.models.zoo import ModelEntry, Zoo

    def look_at(entry: ModelEntry) -> dict[str, Any]:
        identity = entry.weights.id  # which is compared with the card's
        return {"name": entry.name, "id": identity.hex(), "default": entry.is_default}

    return [
        {"name": entry.folder.name, "folder": str(entry.folder), **_guarded(partial(look_at, entry))}
        for entry in Zoo(chosen).entries
    ]


def _gpus() -> dict[str, Any]:
    try:
        import torch
    except ModuleNotFoundError:
        raise BBCError(f"looking at GPUs {NEEDS_TORCH}") from None

    from bbcompress.pipeline.options import backend_for

    names = {f"cuda:{number}": torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())}
    if torch.backends.mps.is_available():
        names["mps"] = "Apple GPU"

    def look_at(device: str) -> dict[str, Any]:
        return _probed(backend_for(device))

    devices = [{"device": device, "name": name, **_guarded(partial(look_at, device))} for device, name in names.items()]
    return {"cuda": torch.version.cuda, "devices": devices}


def _size(path: Path) -> int:
    """0 of what is no file, or is gone by now."""
    try:
        return path.lstat().st_size if path.is_file() else 0
    except OSError:
        return 0


def _homes() -> list[str]:
    """The paths of the user's home directory, longest first."""
    try:
        home = Path.home()
        paths = {os.fspath(path) for path in (home, home.resolve()) if path != path.parent}
    except (OSError, RuntimeError):
        return []
    return sorted(paths, key=len, reverse=True)


def _with_tilde(value: Any, homes: list[str]) -> Any:
    """A copy in which the home directories in all texts are `~`."""
    if isinstance(value, dict):
        return {key: _with_tilde(item, homes) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_tilde(item, homes) for item in value]
    if isinstance(value, str):
        for home in homes:
            value = re.sub(rf"(?<![\w./\\-]){re.escape(home)}(?![\w.-])", "~", value)
    return value
