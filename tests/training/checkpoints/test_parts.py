from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbcompress.errors import ModelError
from bbcompress.training.checkpoints.parts import is_manifest, read_parts, remove_stray_parts, write_parts


def write(path: Path, content: bytes, size: int) -> list[Path]:
    """The parts' paths, in order."""
    path.write_text(write_parts(path, memoryview(content), size))
    return [path.parent / part["name"] for part in json.loads(path.read_text())["parts"]]


@settings(max_examples=50)
@given(content=st.binary(max_size=100), size=st.integers(1, 40))
def test_parts_are_full_but_the_last_and_come_back(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, size: int
) -> None:
    path = tmp_path_factory.mktemp("parts") / "c.pt"
    parts = write(path, content, size)
    assert [part.read_bytes() for part in parts] == [content[i : i + size] for i in range(0, len(content), size)]
    assert is_manifest(path)
    assert read_parts(path).read() == content
    remove_stray_parts(path)
    assert set(path.parent.iterdir()) == {path, *parts}


def test_a_missing_or_damaged_part_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    parts = write(path, b"0123456789", 4)
    for damage in (b"4568", b"456", b""):
        parts[1].write_bytes(damage)
        with pytest.raises(ModelError, match=f"{parts[1].name}.* damaged"):
            read_parts(path)
    parts[1].unlink()
    with pytest.raises(ModelError, match=f"{parts[1].name}.* missing"):
        read_parts(path)


def test_only_parts_that_are_not_named_are_stray(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    old = write(path, b"0123456789", 4)
    manifest = path.read_text()
    new = write(path, b"abcdefghij", 4)
    others = [tmp_path / name for name in ("c.pt.txt", "c.pt.01234567.tmp", "d.pt.01234567.000", "xc.pt.01234567.000")]
    for other in others:
        other.touch()
    path.write_text(manifest)
    remove_stray_parts(path)
    assert set(tmp_path.iterdir()) == {path, *old, *others}
    assert not any(part.exists() for part in new)
    path.write_text("{")  # damaged: who knows what it named
    remove_stray_parts(path)
    assert all(part.exists() for part in old)
    path.unlink()
    remove_stray_parts(path)
    assert set(tmp_path.iterdir()) == set(others)


@pytest.mark.parametrize(
    "manifest",
    [
        "{",
        "[]",
        "{}",
        '{"format": "another", "parts": []}',
        '{"format": "bbc checkpoint in parts, 1", "parts": [{"name": "../secret", "bytes": 1, "sha256": ""}]}',
        '{"format": "bbc checkpoint in parts, 1", "parts": [{"name": "c.pt.01234567.000"}]}',
        '{"format": "bbc checkpoint in parts, 1", "parts": 7}',
    ],
)
def test_what_is_no_manifest(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "c.pt").write_text(manifest)
    with pytest.raises(ModelError, match="not a training checkpoint"):
        read_parts(tmp_path / "c.pt")
