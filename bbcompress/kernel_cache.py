"""Where compiled kernels are kept, and the decorators that compile them.

`kernel` and `inline` are the package's only way to numba, which is imported when a kernel is first compiled or loaded:
a lone digit is coded by the interpreter in less time than that takes.

numba's own cache is sound only within limits (read in numba/core/caching.py, 0.68). Its files are written
whole and renamed, but the index is saved before the data that it names, and data files are numbered without a
lock. So two processes that save one function under different keys (CPU, signature) may leave an entry that
names the other's machine code, and a reader may meet a new index with old data after an upgrade. Nor does it
see that a helper inlined from another module has changed. All of this goes away when a directory only ever
holds one version of each function: the directory's name has the hash of the kernels' sources, the
interpreter, numba, llvmlite and the CPU in it, and every kernel is called with one signature only.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import importlib
import logging
import os
import shutil
import stat
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

MAX_INTERPRETED = 4096
"""Symbols that a kernel may code in a process before it is compiled."""

_F = TypeVar("_F", bound=Callable[..., Any])
_log = logging.getLogger(__name__)


def prepare() -> bool:
    """Choose the cache directory and tell numba; say whether nothing has been compiled into it yet.

    The answer is that of the process's first call.
    The directory lies in `NUMBA_CACHE_DIR` where that is set, else in the user's cache directory, else, where
    neither can be written, in a private temporary one. Imports numba (0.2 s) and nothing else slow.
    """
    path, first_run = _prepared()
    # Again at each call: numba re-reads its configuration when a NUMBA_ variable has changed.
    _numba().config.CACHE_DIR = str(path)
    return first_run


def directory() -> Path:
    """The directory that holds this process's compiled kernels."""
    return _prepared()[0]


class Kernel:
    """A loop that numba compiles when it is worth it: cached on disk, releasing the GIL, IEEE arithmetic as written.

    Call it with one set of argument types only (uint64 heads, uint32 words, int64 for all else, C-contiguous,
    aligned and writable arrays): each further one costs compile time and load time, and see above. Pass
    tables as arguments: an array that is a global becomes a constant of the machine code, and the cache would
    not see it change.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._compiled: Callable[..., Any] | None = None
        self._interpreted = 0

    def __call__(self, *args: Any) -> Any:
        """Run it compiled."""
        if self._compiled is None:
            if prepare():
                _announce()
            self._compiled = _numba().njit(cache=True, nogil=True, fastmath=False)(
                _with_compiled_helpers(self._function)
            )
        return self._compiled(*args)

    def for_symbols(self, n: int) -> Callable[..., Any]:
        """What to run for n symbols: Python's interpreter for the first few thousand, as loading numba takes longer.

        The result is the same: both do the same operations on the same 64-bit integers.
        """
        return self if self.pays_for(n) else self._function

    def pays_for(self, n: int) -> bool:
        """Whether n symbols more are worth compiling or loading the kernel."""
        if self._compiled is None and self._interpreted + n <= MAX_INTERPRETED:
            self._interpreted += n
            return False
        return True


def kernel(function: Callable[..., Any]) -> Kernel:
    """Make a `Kernel`; nothing is compiled before its first call."""
    return Kernel(function)


def inline(function: _F) -> _F:
    """Mark a small function that kernels call; compiled as a part of each."""
    function.__dict__["compiled_with_kernels"] = True
    return function


def _with_compiled_helpers(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with the `inline` functions that it names replaced by what numba can call."""
    scope = dict(function.__globals__)
    for name in function.__code__.co_names:
        if getattr(scope.get(name), "compiled_with_kernels", False):
            scope[name] = _numba().njit(nogil=True, fastmath=False)(_with_compiled_helpers(scope[name]))
    copy = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__)
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy


@functools.cache
def _announce() -> None:
    _log.warning("compiling kernels (once, takes seconds)")


def _numba() -> Any:
    """numba, which has no type stubs, imported late."""
    return importlib.import_module("numba")


@functools.cache
def _prepared() -> tuple[Path, bool]:
    name = _directory_name()
    for base in (os.environ.get("NUMBA_CACHE_DIR"), _user_cache()):
        if base:
            path = Path(base).absolute() / "bbcompress" / name
            if _writable(path):
                break
    else:
        path = _temporary_base() / name
        path.mkdir(parents=True, exist_ok=True)
    return path, next(path.rglob("*.nbi"), None) is None


def _directory_name() -> str:
    """numba's version and a hash of all that the machine code depends on."""
    numba, llvm = _numba(), importlib.import_module("llvmlite.binding")
    config = numba.config
    key = hashlib.sha256()
    for part in (
        importlib.import_module("llvmlite").__version__,
        sys.implementation.cache_tag,
        llvm.get_process_triple(),
        config.CPU_NAME or llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten() if config.CPU_FEATURES is None else config.CPU_FEATURES,
    ):
        key.update(f"{part}\n".encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        key.update(hashlib.sha256(source.read_bytes()).digest())
    return f"numba-{numba.__version__}-{key.hexdigest()[:16]}"


def _user_cache() -> Path | None:
    """The user's cache directory by the system's convention; None where it has none."""
    try:
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            return Path(local) if local else Path.home() / "AppData" / "Local"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches"
        xdg = os.environ.get("XDG_CACHE_HOME", "")
        return Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache"
    except RuntimeError:  # no home directory
        return None


def _writable(path: Path) -> bool:
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError:
        return False
    return True


def _temporary_base() -> Path:
    """A temporary directory that nobody else can write: a cache holds code that will be run."""
    if sys.platform == "win32":  # the temporary directory is the user's own
        return Path(tempfile.gettempdir()) / "bbcompress"
    shared = Path(tempfile.gettempdir()) / f"bbcompress-{os.getuid()}"
    try:
        shared.mkdir(mode=0o700, exist_ok=True)
        info = shared.lstat()
        if stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid() and not info.st_mode & 0o022:
            return shared
    except OSError:
        pass
    private = tempfile.mkdtemp(prefix="bbcompress-")
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    return Path(private)
