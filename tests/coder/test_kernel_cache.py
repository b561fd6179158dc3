"""Compiled kernels: damaged, foreign or planted files are never loaded, and nothing but time is lost."""

from __future__ import annotations

import itertools
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bbcompress import compress
from bbcompress.coder import ans_kernels, kernel_cache
from bbcompress.coder.kernel_cache import Kernel, kernel
from bbcompress.exact import distribution_kernels, mixture_kernels
from bbcompress.models import network_kernels
from bbcompress.system import kernel_files
from bbcompress.system.jobs import Workers
from bbcompress.system.kernel_files import KEPT_UNUSED, Place

ROOT = Path(__file__).parents[2]
OTHER = 12345
"""A user that is neither root nor the one who runs the tests."""

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no owners and modes")
needs_root = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can give files to another user"
)


def flip(x: int) -> int:
    """A kernel that is compiled in some 50 ms."""
    return x ^ 90


def run_flip() -> Any:
    """Run it in a kernel of its own, as a new process would; give numba's function."""
    flipping = Kernel(flip)
    assert flipping(7) == 93
    return flipping._compiled


def was_loaded(compiled: Any) -> bool:
    hits, misses = sum(compiled.stats.cache_hits.values()), sum(compiled.stats.cache_misses.values())
    assert hits + misses == 1
    return bool(hits)


def forget() -> None:
    """Let this process choose its place anew, as a new process would."""
    for remembered in (
        kernel_files.place,
        kernel_cache._prepared,
        kernel_cache._announce,
        kernel_cache._warn_not_kept,
    ):
        remembered.cache_clear()
    kernel_files.share(None)


@pytest.fixture(autouse=True)
def chosen_anew() -> Iterator[None]:
    forget()
    yield
    forget()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty private directory, NUMBA_CACHE_DIR, in which kernels are kept."""
    path = tmp_path.resolve() / "cache"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(path))
    forget()
    return path


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory for temporary files; nothing can be kept anywhere else."""
    temporary = tmp_path.resolve() / "tmp"
    temporary.mkdir()
    wall = tmp_path / "wall"
    wall.write_bytes(b"not a directory")
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(wall))
    monkeypatch.setenv("HOME", str(wall))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    forget()
    return temporary


def files_in(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, bytes, bytes]]:
    """The path, key and content of each file that is written from now on."""
    calls = []
    write = kernel_files.write

    def writes(path: Path, key: bytes, content: bytes) -> None:
        calls.append((path, key, content))
        write(path, key, content)

    monkeypatch.setattr(kernel_files, "write", writes)
    return calls


# Damage


def damaged(data: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """The bytes damaged at 200 places: bits flipped, bytes overwritten, cut off, zeroed from there or for a sector."""
    places = [0, len(data) - 1, len(data) - 32, len(data) - 33, *rng.integers(0, len(data), 196).tolist()]
    for number, place in enumerate(places):
        kind = number % 5
        changed = bytearray(data)
        if kind == 0:
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            changed[place : place + 16] = rng.bytes(len(changed[place : place + 16]))
        elif kind == 2:
            del changed[place:]
        elif kind == 3:
            changed[place:] = bytes(len(changed) - place)
        else:
            changed[place : place + 512] = bytes(len(changed[place : place + 512]))
        if changed == data:
            changed[place] ^= 255
        yield bytes(changed)


def test_a_damaged_file_is_compiled_anew_in_silence(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "bbcompress")
    assert not was_loaded(run_flip())
    assert [record.message for record in caplog.records] == ["compiling kernels (once, takes seconds)"]
    (file,) = files_in(cache)
    whole = file.read_bytes()
    assert was_loaded(run_flip())
    caplog.clear()
    count = 0
    for data in itertools.islice(damaged(whole, np.random.default_rng(0)), 20):  # the next test takes all 200
        file.write_bytes(data)
        assert not was_loaded(run_flip())
        count += 1
        assert count % 10 or was_loaded(run_flip())  # the new one
    assert count == 20
    assert not caplog.records
    assert files_in(cache) == [file]

    caplog.set_level(logging.INFO, "bbcompress")
    file.write_bytes(b"")
    run_flip()
    assert [record.message for record in caplog.records] == [f"{file} is damaged; the kernel is compiled anew"]


def test_what_is_expected_is_not_interpreted_at_all() -> None:
    loop = kernel_cache.Kernel(lambda: None)
    loop.expect(kernel_cache.MAX_INTERPRETED)
    assert not loop.pays_for(1)
    loop.expect(kernel_cache.MAX_INTERPRETED + 1)
    assert loop.pays_for(1)


@pytest.mark.filterwarnings("ignore:the model tiny-.* does not code")
def test_each_file_of_the_real_kernels_at_200_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that compressing uses, from where they are kept for this user; none is compiled here if they are."""
    if kernel_cache.directory() is None:
        pytest.skip("no directory of this machine is this user's alone")
    modules = (ans_kernels, network_kernels, distribution_kernels, mixture_kernels)
    for loop in [value for module in modules for value in vars(module).values() if isinstance(value, Kernel)]:
        monkeypatch.setattr(loop, "_compiled", None)
    monkeypatch.setattr(kernel_cache, "MAX_INTERPRETED", -1)
    keys: dict[Path, bytes] = {}
    read = kernel_files.read

    def reads(path: Path, key: bytes) -> bytes | None:
        keys[path] = key
        return read(path, key)

    monkeypatch.setattr(kernel_files, "read", reads)
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    for name, array in (("tiny-grey", pixels), ("tiny-binary", pixels > 127), ("tiny-local", np.dstack([pixels] * 3))):
        compress(array, k=1, model=ROOT / "tests" / "data" / "models" / name)
    assert len(keys) >= 6
    for path, key in keys.items():
        assert read(path, key) is not None
        copy = tmp_path / path.parent.name / path.name  # the digest is of these names
        copy.parent.mkdir(exist_ok=True)
        for number, data in enumerate(damaged(path.read_bytes(), np.random.default_rng(0))):
            copy.write_bytes(data)
            assert read(copy, key) is None, (path.name, number)
        shutil.copy(path, copy)
        assert read(copy, key) is not None


def test_what_does_not_fit_is_never_unpickled(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte of a file counts, and it fits in its own place alone."""
    path, key, content = cache / "kernel.nbc", b"key", np.random.default_rng(0).bytes(500)
    kernel_files.write(path, key, content)
    assert kernel_files.read(path, key) == content
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert kernel_files.read(path, key) is None
        path.write_bytes(whole[:place])
        assert kernel_files.read(path, key) is None
    path.write_bytes(whole + b"\0")
    assert kernel_files.read(path, key) is None
    path.write_bytes(whole)
    assert kernel_files.read(path, b"another key") is None
    (cache / "below").mkdir()
    for other in (cache / "other.nbc", cache / "below" / "kernel.nbc"):
        shutil.copy(path, other)
        assert kernel_files.read(other, key) is None
    assert kernel_files.read(path, key) == content
    monkeypatch.setattr(kernel_files, "MAX_BYTES", len(whole) - 1)
    assert kernel_files.read(path, key) is None


def test_one_that_numba_cannot_take_back_is_compiled_anew(
    cache: Path, stored: list[tuple[Path, bytes, bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    run_flip()
    (path, key, _) = stored[0]
    caplog.set_level(logging.INFO, "bbcompress")
    for content in (b"", b"no pickle", pickle.dumps(()), pickle.dumps([None] * 9)):
        kernel_files.write(path, key, content)
        assert not was_loaded(run_flip())
        assert was_loaded(run_flip())
    assert len([record for record in caplog.records if "cannot be loaded" in record.message]) == 4


@pytest.mark.parametrize("lacking", ["_reduce", "_rebuild"])
def test_a_numba_of_another_interior(lacking: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core.compiler import CompileResult

    run_flip()
    monkeypatch.delattr(CompileResult, lacking)
    shutil.rmtree(next(cache.rglob("numba-*"))) if lacking == "_reduce" else None
    for _ in range(2):
        assert not was_loaded(run_flip())


def test_without_compiling(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    run_flip()
    assert not files_in(cache)


def test_a_kernel_whose_source_has_changed_is_another(cache: Path, tmp_path: Path) -> None:
    source = tmp_path / "changing.py"
    for factor in (2, 3):
        source.write_text(f"def times(x):\n    return {factor} * x\n")
        kernel_cache._digest_of.cache_clear()
        scope: dict[str, Any] = {"__name__": "changing"}
        exec(compile(source.read_text(), source, "exec"), scope)
        for loaded in (False, True):
            times = kernel(scope["times"])
            assert times(5) == 5 * factor
            assert was_loaded(times._compiled) == loaded
    source.unlink()  # nobody knows what it was
    kernel_cache._digest_of.cache_clear()
    times = kernel(scope["times"])
    assert times(5) == 15 and not was_loaded(times._compiled)


def test_numbas_configuration_is_left_alone(cache: Path, tmp_path: Path) -> None:
    """Another library's functions are cached where they would be without bbc."""
    (tmp_path / "library.py").write_text(
        "import numba\n@numba.njit(cache=True)\ndef double(x):\n    return 2 * x\n", encoding="utf-8"
    )
    script = """
import numba
before = {name: value for name, value in vars(numba.config).items() if name.isupper()}
from bbcompress.coder.kernel_cache import Kernel, directory
from test_kernel_cache import flip
assert Kernel(flip)(7) == 93
assert {name: value for name, value in vars(numba.config).items() if name.isupper()} == before
from library import double
assert double(4) == 8
print(double.stats.cache_path)
"""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "coder", tmp_path)))
    environment["XDG_CACHE_HOME"] = str(cache)
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()) == tmp_path / "__pycache__"
    assert list((tmp_path / "__pycache__").glob("library.double*.nbi"))


# Other users


class Plant:
    """What makes a directory when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def planted(stored: list[tuple[Path, bytes, bytes]], mark: Path) -> Path:
    """Put a pickle with the right digest in the place of the kernel; give its path."""
    run_flip()
    path, key, _ = stored[-1]
    kernel_files.write(path, key, pickle.dumps(Plant(mark)))
    forget()
    return path


def leaves_no_mark(mark: Path) -> Place:
    """The kernel is compiled, and kept elsewhere; gives where."""
    assert not was_loaded(run_flip())
    assert not mark.exists()
    return kernel_cache.place()


def test_a_planted_pickle_would_be_loaded_from_ones_own_directory(
    cache: Path, tmp_path: Path, stored: list[tuple[Path, bytes, bytes]]
) -> None:
    """The control: nothing but the directory's owner and mode stands between such a file and its being run."""
    planted(stored, tmp_path / "mark")
    run_flip()
    assert (tmp_path / "mark").is_dir()


def test_a_planted_pickle_with_a_wrong_digest(
    cache: Path, tmp_path: Path, stored: list[tuple[Path, bytes, bytes]]
) -> None:
    path = planted(stored, tmp_path / "mark")
    path.write_bytes(pickle.dumps(Plant(tmp_path / "mark")) + bytes(32))
    leaves_no_mark(tmp_path / "mark")


@posix
@pytest.mark.parametrize("mode", [0o775, 0o707, 0o1777])
@pytest.mark.parametrize("level", [0, 1])
def test_a_planted_pickle_in_a_directory_that_others_can_write(
    mode: int, level: int, cache: Path, tmp_path: Path, stored: list[tuple[Path, bytes, bytes]]
) -> None:
    """It lies in a private directory, so that it can be replaced by a new one."""
    path = planted(stored, tmp_path / "mark")
    path.parents[level].chmod(mode)
    assert leaves_no_mark(tmp_path / "mark") == Place(path.parent)
    assert path.parents[level].stat().st_mode & 0o777 == 0o700
    assert files_in(cache) == [path]  # all else is removed
    forget()
    assert was_loaded(run_flip())


@posix
@pytest.mark.parametrize("level", [0, 1])
def test_a_planted_pickle_behind_a_link(
    level: int, cache: Path, tmp_path: Path, stored: list[tuple[Path, bytes, bytes]]
) -> None:
    path = planted(stored, tmp_path / "mark")
    shared = tmp_path / "shared"
    path.parents[level].rename(shared)
    path.parents[level].symlink_to(shared)
    shared.chmod(0o777)
    planted_ones = files_in(shared)
    assert leaves_no_mark(tmp_path / "mark") == Place(path.parent)
    assert path.parent.resolve() == path.parent
    assert files_in(shared) == planted_ones  # which are not ours to remove


@posix
def test_a_planted_pickle_below_a_directory_that_others_can_write(
    cache: Path, nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    stored: list[tuple[Path, bytes, bytes]],
) -> None:  # fmt: skip
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    planted(stored, tmp_path / "mark")
    link = tmp_path / "link"  # nor through a link
    link.symlink_to(cache)
    for mode in (0o777, 0o770):
        cache.chmod(mode)
        for way in (cache, link):
            monkeypatch.setenv("NUMBA_CACHE_DIR", str(way))
            forget()
            where = leaves_no_mark(tmp_path / "mark")
            assert where.path is not None and where.path.is_relative_to(nowhere)
            assert str(where.fault).startswith(f"{cache} can be written by other users; ")


@needs_root
@pytest.mark.parametrize("variable", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"])
@pytest.mark.parametrize("level", [-1, 0, 1, 2])
def test_a_planted_pickle_in_a_directory_of_another_user(
    variable: str, level: int, nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    stored: list[tuple[Path, bytes, bytes]],
) -> None:  # fmt: skip
    """Of the file itself, of its directory, of one above: as under sudo, with the other user's variables."""
    home = tmp_path.resolve() / "home"
    home.mkdir()
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setenv(variable, str(home))
    forget()
    path = planted(stored, tmp_path / "mark")
    os.chown(path if level < 0 else path.parents[level], OTHER, OTHER)
    where = leaves_no_mark(tmp_path / "mark")
    if level < 2:
        assert where == Place(path.parent)
    else:
        assert where.path is not None and where.path.is_relative_to(nowhere)
        assert f"{path.parents[level]} belongs to another user" in str(where.fault)


@posix
def test_a_planted_file_that_is_no_plain_one_of_this_user_alone(
    cache: Path, tmp_path: Path, stored: list[tuple[Path, bytes, bytes]]
) -> None:
    path = planted(stored, tmp_path / "mark")
    path.chmod(0o666)
    leaves_no_mark(tmp_path / "mark")
    assert path.stat().st_mode & 0o777 == 0o600  # another one
    path = planted(stored, tmp_path / "mark")
    path.rename(tmp_path / path.name)
    path.symlink_to(tmp_path / path.name)
    leaves_no_mark(tmp_path / "mark")
    assert not path.is_symlink()
    for make in (os.mkfifo, os.mkdir):  # neither is waited for, nor in the way
        path.unlink()
        make(path)
        leaves_no_mark(tmp_path / "mark")


@posix
def test_a_home_of_another_user_is_left_as_it_is(
    tmp_path: Path, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    assert kernel_files.place().fault is not None
    assert not list(home.iterdir())
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))  # as that of services is
    forget()
    assert kernel_files.place().fault == "there is no home directory"
    assert not (tmp_path / "missing").exists()


# Places that cannot be written


@posix
def test_a_temporary_directory_is_private_and_its_name_unknown(nowhere: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "bbcompress")
    names = set()
    for _ in range(2):
        assert not was_loaded(run_flip())
        assert was_loaded(run_flip())
        where = kernel_files.place()
        assert where.path is not None and where.path.parent == nowhere
        assert where.path.stat().st_mode & 0o777 == 0o700
        names.add(where.path.name)
        forget()
    assert len(names) == 2
    messages = {record.message for record in caplog.records}
    assert len(messages) == 1 and messages.pop().startswith("compiling kernels (takes seconds, in each run: ")


@posix
def test_where_no_temporary_directory_is_safe_nothing_is_kept(nowhere: Path) -> None:
    nowhere.chmod(0o777)
    for _ in range(2):
        assert not was_loaded(run_flip())
    assert kernel_cache.directory() is None
    assert not list(nowhere.iterdir())


@posix
def test_a_home_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there already is loaded."""
    home = Path(tempfile.mkdtemp()).resolve()
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    user = os.geteuid()
    if user == 0:  # whom no mode keeps from writing
        assert not was_loaded(run_flip())  # numba is imported: root may be the only one who can read it
        shutil.rmtree(home / ".cache")
        os.chown(home, OTHER, OTHER)
        os.seteuid(OTHER)
    try:
        home.chmod(0o500)
        forget()
        assert not was_loaded(run_flip())
        where = kernel_files.place()
        assert where.path is not None and not where.path.is_relative_to(home)
        assert where.fault == f"{home}/.cache/bbcompress cannot be made: Permission denied"
        home.chmod(0o700)
        forget()
        assert not was_loaded(run_flip())
        assert kernel_cache.place().fault is None
        for path in home.rglob("*"):
            path.chmod(0o500 if path.is_dir() else 0o400)
        forget()
        assert was_loaded(run_flip())
    finally:
        for path in (home, *home.rglob("*")):
            path.chmod(0o700)
        os.seteuid(user)
        shutil.rmtree(home)


SCRIPT = """
import hashlib, sys
from bbcompress.coder import kernel_cache
assert "numba" not in sys.modules
first = kernel_cache.prepare()
import numpy as np
from bbcompress.coder.ans import Message
rng = np.random.default_rng(0)
message = Message.empty(3)
values = rng.integers(0, 256, 2 * kernel_cache.MAX_INTERPRETED)
message.push_uniform(values, 8)
data = message.to_bytes()
assert (message.pop_uniform(len(values), 8) == values).all()
assert message == Message.empty(3)
print(int(first), kernel_cache.directory(), hashlib.sha256(data).hexdigest())
"""
COMPILING = "compiling kernels (once, takes seconds)\n"


def start(before: str = "", **environment: str) -> subprocess.Popen[str]:
    """A process that pushes and pops symbols by two kernels; `before` is what it does first."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "XDG_"))}
    env = {**kept, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-c", before + SCRIPT]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], *expected: str) -> tuple[bool, Path, str]:
    """Whether it was a first run, the directory of the kernels, the hash of the message."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert err in (expected or ("", COMPILING))
    first, directory, data = out.split()
    return first == "1", Path(directory), data


def test_first_runs_at_once_and_damage(tmp_path: Path) -> None:
    base = {"NUMBA_CACHE_DIR": str(tmp_path)}
    generic = {**base, "NUMBA_CPU_NAME": "generic"}
    results = [finish(process) for process in [start(**(generic if i % 2 else base)) for i in range(4)]]
    assert len({data for _, _, data in results}) == 1
    assert len({directory for _, directory, _ in results}) == 2
    assert all(directory.is_relative_to(tmp_path.resolve()) for _, directory, _ in results)

    compiled = [(path, path.stat().st_mtime_ns) for path in files_in(tmp_path)]
    assert len(compiled) == 4 and all(path.suffix == ".nbc" for path, _ in compiled)  # nothing unfinished
    for environment in (base, generic):
        first, _, data = finish(start(**environment), "")
        assert not first and data == results[0][2]
    assert [(path, path.stat().st_mtime_ns) for path in files_in(tmp_path)] == compiled

    for path, _ in compiled:  # all kinds of damage at once; compiled anew without a word, and the same bytes
        whole = path.read_bytes()
        path.write_bytes(next(damage for damage in damaged(whole, np.random.default_rng(len(whole)))))
    first, _, data = finish(start(**base), "")
    assert not first and data == results[0][2]


def test_a_file_that_cannot_be_replaced(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on Windows, while another process reads it: that is told only where there is no whole file now."""
    run_flip()
    (file,) = files_in(cache)
    whole = file.read_bytes()
    read = kernel_files.read
    reads: list[bytes | None] = [None]  # it was not there yet when this process looked

    def read_later(path: Path, key: bytes) -> bytes | None:
        return reads.pop() if reads else read(path, key)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(kernel_files, "read", read_later)
    monkeypatch.setattr(os, "replace", refuse)
    caplog.set_level(logging.WARNING, "bbcompress")
    caplog.clear()
    assert not was_loaded(run_flip())
    assert not caplog.records and files_in(cache) == [file]
    file.write_bytes(whole[:-1])
    for _ in range(2):
        assert not was_loaded(run_flip())
    told = f"compiled kernels cannot be kept in {file.parent}: Access is denied"
    assert [record.message for record in caplog.records] == [told]
    assert files_in(cache) == [file]


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="there is no limit to the size of files")
def test_a_full_disk_and_a_killed_process(tmp_path: Path) -> None:
    base = {"NUMBA_CACHE_DIR": str(tmp_path)}
    small = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))\n"
    full = start(small, **base)
    told = f"{COMPILING}compiled kernels cannot be kept in {{}}: File too large\n"
    killed = start("import os, signal; os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n", **base)
    directory = tmp_path.resolve() / "bbcompress" / kernel_cache._directory_name()
    _, where, data = finish(full, told.format(directory))
    assert where == directory
    killed.communicate(timeout=300)
    assert killed.returncode == -signal.SIGKILL
    (unfinished,) = files_in(tmp_path)
    assert ".nbc.tmp." in unfinished.name
    assert finish(start(**base), COMPILING) == (True, directory, data)
    assert len(files_in(tmp_path)) == 3
    # It goes a day later, with the first run that looks.
    for path in (unfinished, directory):
        os.utime(path, (0, time.time() - 2 * 86400))
    assert finish(start(**base), "") == (False, directory, data)
    assert len(files_in(tmp_path)) == 2 and unfinished not in files_in(tmp_path)


@posix
def test_the_temporary_directory_goes_with_its_process(tmp_path: Path) -> None:
    wall = tmp_path / "file"
    wall.write_text("not a directory")
    temporary = tmp_path.resolve() / "tmp"
    temporary.mkdir()
    process = start(NUMBA_CACHE_DIR=str(wall), XDG_CACHE_HOME=str(wall), HOME=str(wall), TMPDIR=str(temporary))
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    first, directory, _ = out.split()
    assert first == "1" and Path(directory).is_relative_to(temporary)
    reason = f"{wall}/bbcompress cannot be made: Not a directory"
    assert err == f"compiling kernels (takes seconds, in each run: {reason})\n"
    assert not list(temporary.iterdir())


def tell_place() -> Callable[[int, Callable[[int], None]], str]:
    """Work that gives the place of its process, and whether it had to compile there."""
    return lambda number, _: f"{kernel_files.place().path} {was_loaded(run_flip())} {os.getpid()}"


@posix
def test_processes_share_the_temporary_directory(nowhere: Path) -> None:
    """Else each would compile all kernels for itself."""
    run_flip()
    with Workers(2, tell_place) as workers:
        told = [line.split() for line in workers.map(range(3))]
    assert {(place, loaded) for place, loaded, _ in told} == {(str(kernel_files.place().path), "True")}
    assert str(os.getpid()) not in {pid for _, _, pid in told}
    assert list(nowhere.iterdir()) == [kernel_files.place().path]  # which their end does not take away


# What is old


@posix
def test_directories_that_nobody_uses_are_removed(cache: Path) -> None:
    run_flip()
    base, used = cache / "bbcompress", kernel_cache.directory()
    assert used is not None
    long_ago = time.time() - KEPT_UNUSED - 3600

    def make(name: str, age: float = 3600) -> Path:
        path = base / name
        (path / "below").mkdir(parents=True)
        (path / "below" / "kernel.nbc").write_bytes(b"machine code")
        os.utime(path, (0, time.time() - KEPT_UNUSED - age))
        return path

    gone = [
        make("numba-0.60.0-0123456789abcdef"),
        make("numba-0.61.0dev0+12.gabc-0123456789abcdef"),
        make("numba-0.60.0-0123456789abcde0.removed-" + 32 * "0", -KEPT_UNUSED),  # its removal was interrupted
    ]
    kept = [
        make("numba-0.60.0-1123456789abcdef", -3600),
        make("numba-0.60.0-0123456789abcde"),
        make("numba-0.60.0"),
        make("photographs"),
        make("numba-0.60.0-0123456789abcdef.bak"),
    ]
    file = base / "numba-0.60.0-2123456789abcdef"
    file.write_bytes(b"")
    os.utime(file, (0, long_ago))
    link = base / "numba-0.60.0-3123456789abcdef"
    link.symlink_to(make("linked"))
    os.utime(link, (0, long_ago), follow_symlinks=False)
    (gone[0] / "below" / "link").symlink_to(base / "linked")

    os.utime(used)
    forget()
    run_flip()
    assert all(path.is_dir() for path in gone)  # not at each run
    os.utime(used, (0, time.time() - 86400 - 10))
    forget()
    assert was_loaded(run_flip())
    assert time.time() - used.stat().st_mtime < 3600  # and it counts as used
    assert not any(path.exists() for path in gone)
    left = {*kept, file, link, base / "linked", used}
    assert set(base.iterdir()) == left
    assert (base / "linked" / "below" / "kernel.nbc").exists()


@needs_root
def test_an_old_directory_of_another_user_stays(cache: Path) -> None:
    other = cache / "numba-0.60.0-0123456789abcdef"
    other.mkdir()
    os.chown(other, OTHER, OTHER)
    os.utime(other, (0, 0))
    kernel_files.remove_unused(cache, kernel_files._OF_A_VERSION)
    assert other.is_dir()


def test_a_directory_that_is_removed_under_a_process(cache: Path) -> None:
    """It compiles, keeps nothing, and says so in the log alone where it is asked."""
    run_flip()
    shutil.rmtree(cache / "bbcompress")
    for _ in range(2):
        assert not was_loaded(run_flip())
    forget()
    assert not was_loaded(run_flip())
    assert was_loaded(run_flip())


def test_threads_compile_a_kernel_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are there when the first one makes what numba compiles."""
    made, flipping, all_there = [], Kernel(flip), threading.Barrier(4)
    for_numba = Kernel._for_numba

    def counted(self: Kernel) -> Callable[..., Any]:
        made.append(self)
        return for_numba(self)

    def run(value: int) -> int:
        all_there.wait()
        return int(flipping(value))

    monkeypatch.setattr(Kernel, "_for_numba", counted)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == [90, 91, 88, 89]
    assert made == [flipping] and len(flipping._compiled.signatures) == 1  # type: ignore[union-attr]
