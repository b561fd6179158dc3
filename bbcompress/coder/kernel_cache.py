"""The decorators of the loops that numba compiles, and what becomes of the compiled code.

`kernel` and `inline` are the package's only way to numba, which is imported when a kernel is first compiled or loaded:
a lone digit is coded by the interpreter in less time than that takes.

numba's own cache (read in numba/core/caching.py, 0.68) is not used. It unpickles its files and runs the machine code
in them without a checksum. It saves an index before the data that it names and numbers data files without a lock, so
that two processes may leave an entry that names the other's machine code. It does not see that a helper inlined from
another module has changed. And all libraries of a process share its one setting of where it is.

Here each kernel is one file, kept by `kernel_files`. What the machine code depends on stands in the name of the file's
directory (the package's sources, the interpreter, numba, llvmlite and the processor) and in its digest (the signature,
numba's target, the source of the kernel's own module). numba's configuration stays as it is. Of numba's interior this
takes the attribute `Dispatcher._cache`, the two methods by which `CompileResult` is pickled, and the runtime that
compiled code needs. With a version of numba where one of them is missing or fails, each process compiles its kernels.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import logging
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bbcompress.errors import BBCError
from bbcompress.system import kernel_files
from bbcompress.system.kernel_files import Place
from bbcompress.system.threads import ThreadLock

MAX_INTERPRETED = 4096
"""Symbols that a kernel may code in a process before it is compiled."""

_F = TypeVar("_F", bound=Callable[..., Any])
_log = logging.getLogger(__name__)


def prepare() -> bool:
    """Choose the directory of compiled kernels; say whether there was none in it yet.

    The answer is the same at each call in a process. Imports numba (0.2 s), whose version is a part of the directory's
    name, and nothing else slow.
    """
    return _prepared()[1]


def place() -> Place:
    """Where this process's compiled kernels are; imports numba."""
    return _prepared()[0]


def directory() -> Path | None:
    """The directory that holds this process's compiled kernels; None where there is no safe one. Imports numba."""
    return place().path


_compiling = ThreadLock()


class Kernel:
    """A loop that numba compiles when it is worth it: cached on disk, releasing the GIL, IEEE arithmetic as written.

    Call it with one set of argument types only (uint64 heads, uint32 words, int64 for all else, C-contiguous,
    aligned and writable arrays): each further one costs compile time and load time, and see above. Pass
    tables as arguments: an array that is a global becomes a constant of the machine code, and the cache would
    not see it change.
    """

    def __init__(self, function: Callable[..., Any], error_model: str = "python", interpretable: bool = True) -> None:
        """error_model: numba's. With "numpy" a float divided by zero is infinity, so that loops can be vectorised.
        interpretable: whether Python can run it; a kernel that calls what is `builtin` is always compiled."""
        functools.update_wrapper(self, function)
        self._function = function
        self._error_model = error_model
        self._compiled: Callable[..., Any] | None = None
        self._interpreted = 0
        self._interpretable = interpretable

    def __call__(self, *args: Any) -> Any:
        """Run it compiled."""
        if self._compiled is None:
            with _compiling:  # threads that call it at once compile it once: numba has a lock for each of its functions
                self._compiled = self._compiled or self._for_numba()
        return self._compiled(*args)

    def _for_numba(self) -> Callable[..., Any]:
        """The function that numba compiles, or takes from the files, when it is called."""
        _announce()
        decorate = _numba().njit(nogil=True, fastmath=False, error_model=self._error_model, no_cfunc_wrapper=True)
        compiled: Callable[..., Any] = decorate(_with_compiled_helpers(self._function))
        if hasattr(compiled, "_cache"):  # else NUMBA_DISABLE_JIT is set
            compiled._cache = _CompiledFiles(self._function)
        return compiled

    def for_symbols(self, n: int) -> Callable[..., Any]:
        """What to run for n symbols: Python's interpreter for the first few thousand, as loading numba takes longer.

        The result is the same: both do the same operations on the same 64-bit integers.
        """
        return self if self.pays_for(n) else self._function

    def expect(self, n: int) -> None:
        """Say that there are n symbols in many calls to come, so that not even the first of these are interpreted."""
        if n > MAX_INTERPRETED:
            self._interpreted = n

    def pays_for(self, n: int) -> bool:
        """Whether n symbols more are worth compiling or loading the kernel; from then on all are."""
        if self._compiled is None:
            self._interpreted += n
        return self._compiled is not None or not self._interpretable or self._interpreted > MAX_INTERPRETED


def kernel(function: Callable[..., Any]) -> Kernel:
    """Make a `Kernel`; nothing is compiled before its first call."""
    return Kernel(function)


def float_kernel(function: Callable[..., Any]) -> Kernel:
    """The same for loops of floats whose divisors are never 0: they can be vectorised, without a check of each one."""
    return Kernel(function, "numpy")


def compiled_kernel(function: Callable[..., Any]) -> Kernel:
    """The same for loops that call what is `builtin`."""
    return Kernel(function, interpretable=False)


def inline(function: _F) -> _F:
    """Mark a small function that kernels call; compiled as a part of each."""
    function.__dict__["compiled_with_kernels"] = True
    return function


def builtin(make: Callable[[Any], Any]) -> Any:
    """Mark a function that makes, of the module numba, what kernels call by its own name: machine code for which there
    is no Python, so that such kernels only run where numba `compiles`."""
    make.__dict__["makes_for_kernels"] = True
    return make


def compiles() -> bool:
    """Whether numba compiles kernels, and does not have Python run them all."""
    return not _numba().config.DISABLE_JIT


def _with_compiled_helpers(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with the `inline` and `builtin` functions that it names replaced by what numba can call.

    Nothing but kernels calls these: they have no wrappers for Python and C, which would take a quarter of the time.
    """
    scope = dict(function.__globals__)
    for name in function.__code__.co_names:
        if getattr(scope.get(name), "compiled_with_kernels", False):
            decorate = _numba().njit(nogil=True, fastmath=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)
            scope[name] = decorate(_with_compiled_helpers(scope[name]))
        elif getattr(scope.get(name), "makes_for_kernels", False):
            importlib.import_module("numba.extending")
            scope[name] = scope[name](_numba())
    copy = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__)
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy


class _CompiledFiles:
    """The compiled forms of a kernel on the disk, as numba asks for them, in place of its `FunctionCache`.

    Whatever goes wrong, the kernel is compiled anew. The logger has a line for it, at the level INFO.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        code = function.__code__
        self._module = function.__module__
        self._name = "".join(letter for letter in function.__qualname__ if letter not in "<>")
        self._line = code.co_firstlineno
        self._source = _digest_of(code.co_filename)
        path = directory()
        self.cache_path = None if path is None or self._source is None else str(path)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """numba's `CompileResult` for the signature; None where it has to be compiled."""
        if self.cache_path is None:
            return None
        try:
            # all that kept machine code needs of `target.refresh()`, which loads what compiling needs and takes 0.2 s
            importlib.import_module("numba.core.runtime").rtsys.initialize(target)
            path, key = self._place_of(signature, target.codegen())
            data = kernel_files.read(path, key)
            if data is None:
                return None
            result = importlib.import_module("numba.core.compiler").CompileResult
            return result._rebuild(target, *pickle.loads(data))
        except Exception as error:
            _log.info("kernel %s cannot be loaded: %r", self._name, error)
            return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep what numba has compiled, where that can be kept."""
        if self.cache_path is None:
            return
        try:
            if result.lifted or result.library.has_dynamic_globals:  # as numba's own cache refuses
                return
            data = importlib.import_module("numba.core.serialize").dumps(result._reduce())
            path, key = self._place_of(signature, result.codegen)
            try:
                kernel_files.write(path, key, data)
            except OSError as error:
                # On Windows a file cannot be replaced while another process reads it; then it is whole already.
                if kernel_files.read(path, key) is None:
                    _warn_not_kept(self.cache_path, error.strerror or str(error))
        except Exception as error:
            _log.info("kernel %s cannot be kept: %r", self._name, error)

    def enable(self) -> None: ...
    def disable(self) -> None: ...
    def flush(self) -> None: ...

    def _place_of(self, signature: Any, codegen: Any) -> tuple[Path, bytes]:
        """The file of a signature, and what its code depends on beyond what its directory's name says."""
        assert self.cache_path is not None
        key = repr((self._module, self._name, self._line, self._source, signature, codegen.magic_tuple())).encode()
        file = f"{self._name}-{hashlib.sha256(key).hexdigest()[:16]}{kernel_files.SUFFIX}"
        return Path(self.cache_path) / file, key


@functools.cache
def _announce() -> None:
    """Say, once, that kernels are about to be compiled, unless they are only to be loaded."""
    if prepare():
        fault = place().fault
        how = f"takes seconds, in each run: {fault}" if fault else "once, takes seconds"
        _log.warning("compiling kernels (%s)", how)


@functools.cache
def _warn_not_kept(path: str, reason: str) -> None:
    _log.warning("compiled kernels cannot be kept in %s: %s", path, reason)


def _numba() -> Any:
    """numba, which has no type stubs, imported late.

    Raises BBCError where its list of the processor's features is none, at which LLVM would end the process.
    """
    numba = importlib.import_module("numba")
    features = numba.config.CPU_FEATURES or ""
    if not all(part.startswith(("+", "-")) for part in features.split(",") if part):
        raise BBCError(f"NUMBA_CPU_FEATURES must be a list such as +avx2,-fma, not {features!r}")
    return numba


@functools.cache
def _digest_of(source: str) -> str | None:
    """Of a Python source file; None where it cannot be read, as in a zip file."""
    try:
        return hashlib.sha256(Path(source).read_bytes()).hexdigest()
    except OSError:
        return None


@functools.cache
def _prepared() -> tuple[Place, bool]:
    found = kernel_files.directory(_directory_name())
    return found, found.path is None or next(kernel_files.kernels(found.path), None) is None


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
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        key.update(hashlib.sha256(source.read_bytes()).digest())
    return f"numba-{numba.__version__}-{key.hexdigest()[:16]}"
