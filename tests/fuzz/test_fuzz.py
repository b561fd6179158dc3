"""The fuzz targets on the kept corpus, on mutations of it, and, where atheris is installed, some seconds under it."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest
from damage_for_tests import FILES, grown
from fuzz_runner import PACKAGE, kernels
from fuzz_structure import mutated_file, mutated_manifest, mutated_model, mutated_png, take_apart
from fuzz_targets import TARGETS, container

from bbcompress.archive.container import ArchiveFile
from bbcompress.archive.manifest import Manifest
from bbcompress.errors import FormatError

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
PNG_SUITE = HERE.parent / "data" / "pngsuite"
MUTATIONS = {
    "container": (mutated_file, 600),
    "decode": (mutated_file, 80),
    "images": (mutated_png, 400),
    "manifest": (mutated_manifest, 200),
    "model": (mutated_model, 600),
}
MAX_CORPUS_BYTES = 300_000
MAX_INPUT_BYTES = 1 << 14


def inputs(target: str) -> list[bytes]:
    """The corpus; for images with PngSuite, which is not kept twice."""
    paths = sorted((CORPUS / target).iterdir()) + sorted(PNG_SUITE.glob("*.png") if target == "images" else [])
    return [path.read_bytes() for path in paths]


def test_the_corpus_is_small_and_named_by_content() -> None:
    paths = [path for target in TARGETS for path in (CORPUS / target).iterdir()]
    assert sum(path.stat().st_size for path in paths) <= MAX_CORPUS_BYTES
    for path in paths:
        assert path.name == hashlib.sha1(path.read_bytes()).hexdigest()  # libFuzzer's names


@pytest.mark.parametrize("target", TARGETS)
def test_corpus(target: str) -> None:
    for data in inputs(target):
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_mutations_of_the_corpus(target: str) -> None:
    """The same ones in each run; atheris finds more."""
    random = Random(target)
    kept = inputs(target)
    change, count = MUTATIONS[target]

    def mutate(data: bytes) -> bytes:
        start = random.randrange(len(data) + 1)
        end = min(len(data), start + random.choice([0, 1, 1, 1, 4, 16]))
        new = random.choice([b"", random.randbytes(1), random.randbytes(6), bytes(b ^ 64 for b in data[start:end])])
        return data[:start] + new + data[end:]

    for _ in range(count):
        TARGETS[target](change(random.choice(kept), mutate, random)[:MAX_INPUT_BYTES])


def test_files_are_taken_apart_and_joined() -> None:
    for data in (FILES["archive"](), FILES["archive with metadata"](), *grown()):
        parts = take_apart(data)
        assert not any(isinstance(group, bytes) for part in parts for group in part.groups)
        assert b"".join(part.join() for part in parts) == data


def test_mutations_get_behind_the_checksums() -> None:
    """Of many changed archives all checksums fit, and yet they are others."""
    random, data, fits = Random(0), FILES["archive with metadata"](), 0
    for _ in range(100):
        changed = mutated_file(data, lambda part: part[:-1] + bytes([random.randrange(256)]), random)
        with suppress(FormatError):
            ArchiveFile(io.BytesIO(changed)).accounting()
            fits += changed != data
    assert fits > 10


def test_mutations_of_manifests_get_behind_the_checks() -> None:
    """Many are manifests, and other ones."""
    random, fits = Random(0), 0
    data = max(inputs("manifest"), key=len)
    for _ in range(100):
        changed = mutated_manifest(data, lambda part: part[:-1] + bytes([random.randrange(48, 123)]), random)
        with suppress(FormatError):
            Manifest.decode(changed)
            fits += changed != data
    assert fits > 10


def test_a_target_finds_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    data = FILES["lone fallback, raw"]()
    container(data)
    monkeypatch.setattr("fuzz_targets.build_lone", lambda *_: b"")
    with pytest.raises(AssertionError, match="the same"):
        container(data)


def test_what_numba_compiles_is_not_instrumented() -> None:
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if "\n@kernel\n" in path.read_text(encoding="utf-8"):
            assert name in kernels()
    assert {"bbcompress.coder.ans_kernels", "bbcompress.images.formats.tiff.fax_kernels"} <= set(kernels())


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed (pip install --group fuzz)")
@pytest.mark.parametrize("target", TARGETS)
def test_some_seconds_of_fuzzing(target: str, tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / f"fuzz_{target}.py"), str(tmp_path), str(CORPUS / target)]
    command += ["-max_total_time=3", "-timeout=1000"]  # no test asserts a time, and other work may take the processors
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done" in done.stderr
