"""The examples of the page on storage run as they stand there, with a server of S3."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures_for_tests import empty_folder, tiny_models  # noqa: F401
from stores import s3_store

import bbcompress as bbc
from bbcompress.images.read import read_image
from bbcompress.integrations.filesystem import BBCFileSystem

PAGE = Path(__file__).resolve().parents[1] / "docs" / "storage.md"

pytestmark = pytest.mark.usefixtures("tiny_models", "empty_folder")


def examples() -> list[str]:
    """The blocks of Python, without their indentation."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks if "    $" not in block]


def test_the_examples() -> None:
    hills = np.arange(24, dtype=np.uint8).reshape(4, 6)
    bbc.write("photos.bbc", {"hills.png": hills, "more.png": hills}, effort=1)
    names: dict[str, Any] = {}
    with s3_store("bucket") as store:
        bbc.write(f"{store.url}/photos.bbc", {"hills.png": hills}, effort=1)
        for block in examples():
            if "datasets" not in block and "fuse" not in block:
                exec(block, names)
        for system in BBCFileSystem._cache.values():
            system.close()
        BBCFileSystem.clear_instance_cache()
    assert {"archive", "image", "data", "batches"} <= names.keys()
    assert np.array_equal(np.asarray(names["image"]), np.stack([hills] * 3, axis=2))


def block_of(library: str) -> str:
    """The only block that names a library."""
    (block,) = (block for block in examples() if library in block)
    return block


def test_hugging_face_datasets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    pytest.importorskip("datasets", minversion="5", exc_type=ImportError)
    shades = {f"{kind}/{shade}.png": np.full((3, 4), shade, np.uint8) for shade, kind in enumerate(("cat", "dog"))}
    names: dict[str, Any] = {}
    with s3_store("bucket") as store:
        bbc.write(f"{store.url}/classes.bbc", shades, effort=1)
        exec(block_of("datasets"), names)
    found = {names["images"].features["label"].int2str(row["label"]): row["image"] for row in names["images"]}
    assert {kind: np.asarray(image)[0, 0] for kind, image in found.items()} == {"cat": 0, "dog": 1}


def test_a_mounted_folder() -> None:
    unmount = shutil.which("fusermount3") or shutil.which("fusermount")
    try:
        import fuse  # noqa: F401
    except (ImportError, OSError):
        pytest.skip("needs fusepy and libfuse2")
    if unmount is None or not os.access("/dev/fuse", os.W_OK):
        pytest.skip("nothing can be mounted here")
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    bbc.write("photos.bbc", {"deep/a.png": image}, effort=1)
    Path("folder").mkdir()
    with subprocess.Popen([sys.executable, "-c", f"import fsspec\n{block_of('fuse')}"]) as process:
        try:
            while not os.path.ismount("folder") and process.poll() is None:
                time.sleep(0.05)
            assert [path.as_posix() for path in Path("folder").rglob("*.*")] == ["folder/deep/a.png"]
            assert np.array_equal(read_image("folder/deep/a.png").pixels, image)
            with pytest.raises(OSError, match="Read-only"):
                Path("folder/new.png").touch()
        finally:
            subprocess.run([unmount, "-u", "folder"], check=False)
            if not os.path.ismount("folder"):
                process.wait(60)
            process.kill()
